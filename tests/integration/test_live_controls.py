"""The controls of live runs against a broker that misbehaves on cue: clocks, disks, accounts, positions of others, exits."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from herald.clock import WallClock
from herald.components import component
from herald.errors import ConfigError, JournalError
from herald.host.plan import load_plan
from herald.live.state import StateFile
from herald.model import Alerted, Order, OrderRequest, Side, StateSet
from herald.plugins.journal.sqlite import JournalSettings, SqliteJournal
from herald.plugins.simbroker import SimBrokerConnector, SimBrokerSettings
from herald.results import RunResult
from herald.runtime.live import LiveRun
from herald.testing import make_services
from herald.testing.faultproxy import FaultProxy, Toxic
from herald.testing.simbroker import SimBroker

PATIENCE = 20.0

STRATEGY = '''
"""Does nothing; the tests act for it."""

from herald import Settings, Strategy, component, hookimpl


class Fields(Settings):
    pass


class Idle(Strategy):
    pass


@hookimpl
def herald_strategies():
    yield component("idle", Fields, Idle, "For tests.")
'''

LIVE = """
[herald]
mode    = "live"
on_stop = "leave"

[plugins]
paths        = ["."]
require_lock = false

[connectors.main]
use             = "simbroker"
address         = "{address}"
poll_seconds    = 0.02
account_seconds = 0.2
timeout_seconds = 1.0

[strategies.trend]
use       = "idle"
symbols   = ["EURUSD"]
timeframe = "1m"

[[risk]]
use     = "risk.duplicate_order"
seconds = 0.001
[[risk]]
use  = "risk.max_order_size"
lots = 1.0
[[risk]]
use      = "risk.max_daily_loss"
fraction = 0.5
[[risk]]
use      = "risk.max_drawdown"
fraction = 0.5

[live]
account           = "1001"
server            = "Sim-Demo"
real              = false
warmup_bars       = 0
reconcile_seconds = 0.5
connect_seconds   = 15.0
"""

Steps = Iterator[Callable[[], Any]]


@pytest.fixture(params=["netting", "hedging"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimBroker]:
    with SimBroker.start(
        tmp_path / "book.sqlite", mode=request.param, tick_seconds=0.05, settle_seconds=0.3, history_days=0.001
    ) as one:
        yield one


@pytest.fixture
def netting(tmp_path: Path) -> Iterator[SimBroker]:
    with SimBroker.start(
        tmp_path / "book.sqlite", mode="netting", tick_seconds=0.05, settle_seconds=0.3, history_days=0.001
    ) as one:
        yield one


def live_file(broker: SimBroker, folder: Path, more: str = "", **changes: str) -> Path:
    (folder / "idle.py").write_text(STRATEGY, encoding="utf-8")
    text = LIVE.format(address=broker.address)
    for old, new in changes.values():
        assert old in text, old
        text = text.replace(old, new)
    file = folder / "live.toml"
    file.write_text(text + more, encoding="utf-8")
    return file


def drive(broker: SimBroker, file: Path, steps: Callable[[LiveRun], Steps], *, seconds: float = PATIENCE) -> RunResult:
    """Run *file*; whenever what *steps* yielded last is so, let it go on; stop when it is through.

    *steps* is called in the engine's thread, between two messages.
    """
    environ = {"HERALD_CONNECTORS__MAIN__TOKEN": broker.terms.token}
    run = LiveRun(load_plan(file, environ=environ))
    going = steps(run)
    end = time.monotonic() + seconds
    waiting: list[Callable[[], Any]] = [lambda: run.driver.is_trading and "EURUSD" in run.market.quotes]
    late: list[str] = []

    def stop() -> bool:
        while waiting[0]():
            try:
                waiting[0] = next(going)
            except StopIteration:
                return True
        if time.monotonic() > end:
            late.append(f"line {going.gi_frame.f_lineno}")  # type: ignore[attr-defined]
        return bool(late)

    result = run.run(stop)
    assert not late, (f"the run never got where the test waits for it: {late[0]}", result.orders, result.errors)
    return result


def ctx_of(run: LiveRun, name: str = "trend") -> Any:
    (runner,) = [one for one in run.engine.runners if one.name == name]
    return runner.context


@contextmanager
def stranger(broker: SimBroker) -> Iterator[SimBrokerConnector]:
    """Give a second client of the same account, which is not Herald."""
    settings = SimBrokerSettings(address=broker.address, token=broker.terms.token)
    one = component("simbroker", SimBrokerSettings, SimBrokerConnector).build(settings, make_services())
    one.connect()
    try:
        yield one
    finally:
        one.disconnect()


def held(broker: SimBroker, symbol: str = "EURUSD") -> float:
    return round(sum(one.size for one in broker.book().positions if one.symbol == symbol), 8)


class JournalReader:
    """What the journal of a run says."""

    def __init__(self, file: Path) -> None:
        journal = SqliteJournal(JournalSettings(file=str(file)), make_services())
        self.records = [record for _, record in journal.read()]
        journal.close()

    def changes(self) -> list[tuple[str, str, str]]:
        return [(one.scope, one.state, one.why) for one in self.records if isinstance(one, StateSet)]

    def alerts(self) -> list[str]:
        return [one.code for one in self.records if isinstance(one, Alerted)]


# --- check 16: disk, journal, clock ---------------------------------------------------------------


def test_a_disk_that_fills_up_holds_entries_and_no_exit(
    netting: SimBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [5e9]
    looked: list[str] = []

    def usage(path: Any) -> Any:
        looked.append(str(path))
        return shutil._ntuple_diskusage(1e12, 1e12 - free[0], free[0])  # type: ignore[attr-defined]

    monkeypatch.setattr("herald.runtime.live.shutil.disk_usage", usage)
    monkeypatch.setattr("herald.runtime.live._MEASURE_SECONDS", 0.1)
    orders: list[Order] = []

    def steps(run: LiveRun) -> Steps:
        yield lambda: run.standing.disk_free == 5e9
        orders.append(ctx_of(run).buy("EURUSD", 0.1))
        yield lambda: ctx_of(run).position("EURUSD").size == 0.1
        free[0] = 99e6
        yield lambda: run.standing.disk_free == 99e6
        orders.append(ctx_of(run).buy("EURUSD", 0.2))
        orders.append(ctx_of(run).close("EURUSD"))
        yield lambda: ctx_of(run).position("EURUSD").size == 0

    drive(netting, live_file(netting, tmp_path), steps)

    assert ["", "standing", ""] == [order.code for order in orders]
    assert "99000000 bytes are free for the journal; the limit is 100000000" == orders[1].reason
    assert {str((tmp_path / "state").resolve())} == set(looked)


def test_a_disk_that_cannot_be_looked_at_counts_as_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from herald.runtime import live

    assert live._free_bytes(tmp_path / "not" / "yet" / "there.sqlite") > 0

    def broken(path: Any) -> Any:
        raise OSError("gone")

    monkeypatch.setattr("herald.runtime.live.shutil.disk_usage", broken)
    assert 0.0 == live._free_bytes(tmp_path)


def test_a_broker_whose_clock_runs_ahead_gets_no_entries(netting: SimBroker, tmp_path: Path) -> None:
    orders: list[Order] = []

    def steps(run: LiveRun) -> Steps:
        yield lambda: run.engine.now and run.standing.clock_skew < 0.5
        orders.append(ctx_of(run).buy("EURUSD", 0.1))
        yield lambda: ctx_of(run).position("EURUSD").size == 0.1
        netting.control.advance(60.0)
        yield lambda: run.standing.clock_skew > 50
        orders.append(ctx_of(run).buy("EURUSD", 0.2))
        orders.append(ctx_of(run).close("EURUSD"))
        yield lambda: ctx_of(run).position("EURUSD").size == 0

    drive(netting, live_file(netting, tmp_path), steps)

    assert ["", "standing", ""] == [order.code for order in orders]
    assert orders[1].reason.startswith("the machine's clock and the broker's differ by ")


# --- a person looks after a strategy ----------------------------------------------------------------

FEW = """
[[risk]]
use        = "risk.repeated_execution"
executions = 2
seconds    = 600
"""


def test_a_strategy_that_traded_too_often_is_enabled_by_a_person_while_it_runs(
    netting: SimBroker, tmp_path: Path, clean_env: dict[str, str]
) -> None:
    file = live_file(netting, tmp_path, FEW)
    orders: list[Order] = []

    def buy(run: LiveRun, size: float) -> Callable[[], Any]:
        order = ctx_of(run).buy("EURUSD", size)
        orders.append(order)
        return lambda: run.engine.orders[order.id].filled == size

    def steps(run: LiveRun) -> Steps:
        yield buy(run, 0.1)
        yield buy(run, 0.2)
        buy(run, 0.3)
        command = [sys.executable, "-m", "herald", "resume", str(file), "--strategy", "trend", "--why", "a test"]
        done = subprocess.run(command, cwd=tmp_path, env=clean_env, capture_output=True, text=True, timeout=60, check=False)
        assert "strategy:trend is ACTIVE" in done.stdout, done.stderr
        yield lambda: "trend" in run.standing.touched
        yield buy(run, 0.4)

    def later(run: LiveRun) -> Steps:
        orders.clear()
        yield buy(run, 0.5)
        buy(run, 0.6)

    drive(netting, file, steps)
    assert ["", "", "repeated_execution", ""] == [order.code for order in orders]
    assert "herald resume --strategy" in orders[2].reason

    drive(netting, file, later)  # what was said is recorded: the first two do not count for the next run either
    assert ["", "repeated_execution"] == [order.code for order in orders]


@pytest.mark.long
def test_a_strategy_that_was_resumed_between_two_runs_is_enabled(netting: SimBroker, tmp_path: Path) -> None:
    file = live_file(netting, tmp_path, FEW)
    codes: list[str] = []

    def steps(run: LiveRun) -> Steps:
        for size in (0.1, 0.2):
            order = ctx_of(run).buy("EURUSD", size)
            codes.append(order.code)
            if not order.code:
                yield lambda name=order.id, lots=size: run.engine.orders[name].filled == lots  # type: ignore[misc]

    drive(netting, file, steps)
    drive(netting, file, steps)
    StateFile(tmp_path / "state", WallClock()).resume("strategy:trend", "test", "looked into it")
    drive(netting, file, steps)

    assert ["", "", "repeated_execution", "repeated_execution", "", ""] == codes


def test_a_strategy_that_failed_goes_on_when_a_person_resumes_it(netting: SimBroker, tmp_path: Path) -> None:
    def steps(run: LiveRun) -> Steps:
        (runner,) = run.engine.runners
        run.engine.fail(runner, RuntimeError("planted"))
        StateFile(tmp_path / "state", WallClock()).resume("strategy:trend", "test", "repaired")
        yield lambda: not runner.failed

    result = drive(netting, live_file(netting, tmp_path), steps)

    assert ["strategy 'trend' was stopped"] == [one.partition(" at ")[0] for one in result.errors]
    records = JournalReader(tmp_path / "state" / "journal.sqlite")
    assert [("strategy:trend", "ACTIVE", "repaired")] == records.changes()
    assert ["strategy_resumed"] == records.alerts()


# --- the account --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"account": "2002"}, "id is '2002' and was '1001'"),
        pytest.param({"server": "Sim-Live"}, "server is 'Sim-Live' and was 'Sim-Demo'", marks=pytest.mark.long),
        pytest.param({"real": True}, "real is True and was False", marks=pytest.mark.long),
    ],
)
def test_a_connection_that_leads_to_another_account_stops_everything(
    netting: SimBroker, tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    seen: dict[str, Any] = {}

    def steps(run: LiveRun) -> Steps:
        order = ctx_of(run).buy("EURUSD", 0.1)
        yield lambda: run.engine.orders[order.id].filled == 0.1
        netting.control.set_account(**changed)
        netting.control.disconnect_all()
        # In the same moment: what waits to be sent must not reach the other account.
        ctx_of(run).close("EURUSD")
        ctx_of(run).buy("EURUSD", 0.2)
        yield lambda: not run.standing.pinned
        seen["state"] = StateFile(tmp_path / "state", WallClock()).effective("trend", "EURUSD")
        seen["codes"] = [ctx_of(run).buy("EURUSD", 0.3).code, ctx_of(run).sell("EURUSD", 0.1).code]
        seen["deals"] = len(netting.book().deals)
        netting.control.set_account(account="1001", server="Sim-Demo", real=False)
        yield lambda: run.standing.pinned and run.reconciler.ready
        seen["back"] = ctx_of(run).sell("EURUSD", 0.1).code

    drive(netting, live_file(netting, tmp_path), steps)

    assert ("HALTED", ["mode_lock", "mode_lock"], 1) == (seen["state"].value, seen["codes"], seen["deals"])
    assert "trading_state" == seen["back"]  # until a person resumes
    assert 0.1 == held(netting)
    journal = JournalReader(tmp_path / "state" / "journal.sqlite")
    assert 1 == journal.alerts().count("account_mismatch")
    ((scope, state, why),) = journal.changes()
    assert ("account", "HALTED") == (scope, state)
    assert words in why


@pytest.mark.long
def test_an_account_that_changes_without_a_reconnect_is_noticed(netting: SimBroker, tmp_path: Path) -> None:
    def steps(run: LiveRun) -> Steps:
        yield lambda: True
        netting.control.set_account(account="2002")
        yield lambda: not run.standing.pinned

    drive(netting, live_file(netting, tmp_path), steps)

    assert ["account_mismatch"] == JournalReader(tmp_path / "state" / "journal.sqlite").alerts()


# --- accounts that keep every trade apart -------------------------------------------------------------

TWO = """
[strategies.other]
use       = "idle"
symbols   = ["EURUSD"]
timeframe = "1m"
"""
GUARD = '''
"""Wants a stop two percent below the entry, at every quote."""

from herald import Protect, Settings, component, hookimpl


class Fields(Settings):
    fraction: float = 0.02


class Guard:
    def __init__(self, settings, services):
        self.fraction = settings.fraction

    def check(self, position, event, ctx):
        sign = 1 if position.size > 0 else -1
        return Protect("guard", stop_loss=position.average_price * (1 - sign * self.fraction))


@hookimpl
def herald_exits():
    yield component("guard", Fields, Guard, "For tests.")
'''
EXITS = """
[[exits]]
use = "guard"
"""


def trade(run: LiveRun, side: int, size: float, name: str = "trend", **terms: Any) -> Callable[[], Any]:
    """Trade at market; return whether all of it is done."""
    ctx = ctx_of(run, name)
    before = ctx.position("EURUSD").size
    order = (ctx.buy if side > 0 else ctx.sell)("EURUSD", size, **terms)
    assert not order.code, order.reason
    return lambda: abs(ctx.position("EURUSD").size - (before + side * size)) < 1e-9


def by_tag(broker: SimBroker) -> list[float]:
    """Return the open positions of the account, oldest first."""
    return [one.size for one in broker.book().positions]


@pytest.fixture
def hedging(tmp_path: Path) -> Iterator[SimBroker]:
    with SimBroker.start(
        tmp_path / "book.sqlite", mode="hedging", tick_seconds=0.05, settle_seconds=0.3, history_days=0.001
    ) as one:
        yield one


def test_a_strategy_closes_its_own_tickets_and_nobody_elses(hedging: SimBroker, tmp_path: Path) -> None:
    file = live_file(hedging, tmp_path, TWO, external=("warmup_bars       = 0", 'warmup_bars       = 0\nexternal = "ignore"'))
    with stranger(hedging) as outside:
        outside.submit(OrderRequest("outside-1", "", "EURUSD", Side.BUY, 0.5))  # the oldest of all
    seen: list[list[float]] = []

    def steps(run: LiveRun) -> Steps:
        yield trade(run, 1, 0.3, "other")
        yield trade(run, 1, 0.1)
        yield trade(run, 1, 0.2)
        seen.append(by_tag(hedging))
        ctx_of(run).close("EURUSD")
        yield lambda: ctx_of(run).position("EURUSD").size == 0
        seen.append(by_tag(hedging))

    def next_run(run: LiveRun) -> Steps:  # tickets are known again after a restart
        yield trade(run, 1, 0.1)
        ctx_of(run, "other").target("EURUSD", -0.2)
        yield lambda: ctx_of(run, "other").position("EURUSD").size == -0.2
        seen.append(by_tag(hedging))

    drive(hedging, file, steps)
    drive(hedging, file, next_run)

    assert [[0.5, 0.3, 0.1, 0.2], [0.5, 0.3], [0.5, 0.1, -0.2]] == seen
    assert [] == hedging.book().verify()


def test_protection_that_herald_keeps_ends_with_what_it_protects(broker: SimBroker, tmp_path: Path) -> None:
    (tmp_path / "guard.py").write_text(GUARD, encoding="utf-8")

    def waiting() -> list[float]:
        return sorted(one.remaining for one in broker.book().orders if one.is_working)

    def steps(run: LiveRun) -> Steps:
        hedging = broker.book().state.mode == "hedging"
        yield trade(run, 1, 0.1)
        yield lambda: waiting() == [0.1]
        yield trade(run, 1, 0.2)
        yield lambda: waiting() == ([0.1, 0.2] if hedging else [0.3])
        ctx_of(run).close("EURUSD")
        yield lambda: ctx_of(run).position("EURUSD").size == 0
        yield lambda: waiting() == []
        yield lambda: not ctx_of(run).orders()

    drive(broker, live_file(broker, tmp_path, EXITS), steps)

    assert [] == broker.book().verify()


@pytest.mark.long
def test_a_stop_that_fills_closes_its_ticket_alone(hedging: SimBroker, tmp_path: Path) -> None:
    (tmp_path / "guard.py").write_text(GUARD, encoding="utf-8")

    def steps(run: LiveRun) -> Steps:
        hedging.control.set_price("EURUSD", 1.1)
        yield trade(run, 1, 0.1, "other")
        yield trade(run, 1, 0.2)
        yield lambda: 2 == sum(one.is_working for one in hedging.book().orders)
        hedging.control.set_price("EURUSD", 1.05)
        yield lambda: ctx_of(run).position("EURUSD").size == 0 == ctx_of(run, "other").position("EURUSD").size
        yield lambda: not ctx_of(run).orders() and not ctx_of(run, "other").orders()

    drive(hedging, live_file(hedging, tmp_path, TWO + EXITS), steps)

    assert [] == by_tag(hedging)
    assert [] == [one for one in hedging.book().orders if one.is_working]


def test_a_position_larger_than_the_largest_order_is_flattened(broker: SimBroker, tmp_path: Path) -> None:
    more = "[instruments.EURUSD]\nmax_size = 0.2\n"

    def steps(run: LiveRun) -> Steps:
        for size in (0.2, 0.15, 0.2):
            yield trade(run, 1, size)
        assert "size_too_large" == ctx_of(run).buy("EURUSD", 0.21).code
        StateFile(tmp_path / "state", WallClock()).halt_account("test", "flatten it", flatten=True)
        yield lambda: ctx_of(run).position("EURUSD").size == 0

    drive(broker, live_file(broker, tmp_path, more), steps)

    assert 0.0 == held(broker)
    assert [] == broker.book().verify()


# --- positions of others ------------------------------------------------------------------------------

ADOPT = {"external": ("warmup_bars       = 0", 'warmup_bars       = 0\nexternal = "adopt"')}


def stops(broker: SimBroker) -> list[tuple[float, float | None]]:
    return sorted((one.remaining, one.price) for one in broker.book().orders if one.is_working)


def test_a_position_of_others_is_adopted_and_closed_by_the_exits_of_the_file(broker: SimBroker, tmp_path: Path) -> None:
    (tmp_path / "guard.py").write_text(GUARD, encoding="utf-8")
    file = live_file(broker, tmp_path, EXITS, **ADOPT)
    broker.control.set_price("EURUSD", 1.1)
    seen: dict[str, Any] = {}

    def steps(run: LiveRun) -> Steps:
        yield trade(run, 1, 0.1)
        with stranger(broker) as outside:
            outside.submit(OrderRequest("outside-1", "", "EURUSD", Side.BUY, 0.2))
        yield lambda: ctx_of(run, "external").position("EURUSD").size == 0.2
        yield lambda: len(stops(broker)) == 2 and run.reconciler.ready
        seen["position"] = ctx_of(run, "external").position("EURUSD")
        seen["stops"] = stops(broker)
        seen["equity"] = run.account().equity

    def later(run: LiveRun) -> Steps:
        seen["again"] = ctx_of(run, "external").position("EURUSD")
        yield lambda: run.reconciler.ready
        broker.control.set_price("EURUSD", 1.05)
        yield lambda: ctx_of(run, "external").position("EURUSD").size == 0 == ctx_of(run).position("EURUSD").size

    drive(broker, file, steps)
    result = drive(broker, file, later)

    level = round(1.1001 * 0.98, 5)
    assert [(0.1, level), (0.2, level)] == seen["stops"]
    assert abs(seen["position"].average_price - 1.1001) < 1e-9
    assert seen["position"] == seen["again"]
    assert 0.0 == held(broker)
    assert {"trend", "external"} == {trade.strategy for trade in result.trades}
    book = broker.book()
    assert [] == book.verify() == [one for one in book.orders if one.is_working]
    alerts = JournalReader(tmp_path / "state" / "journal.sqlite").alerts()
    assert 1 == alerts.count("external_position")
    assert "position_mismatch" not in alerts


def test_what_others_do_with_an_adopted_position_is_followed(broker: SimBroker, tmp_path: Path) -> None:
    (tmp_path / "guard.py").write_text(GUARD, encoding="utf-8")
    broker.control.set_price("EURUSD", 1.1)

    def steps(run: LiveRun) -> Steps:
        ctx = ctx_of(run, "external")
        with stranger(broker) as outside:
            outside.submit(OrderRequest("outside-1", "", "EURUSD", Side.BUY, 0.3))
            yield lambda: ctx.position("EURUSD").size == 0.3
            yield lambda: [0.3] == [size for size, _ in stops(broker)]
            balance = run.engine.ledger.balance
            broker.control.set_price("EURUSD", 1.1051)
            yield lambda: run.market.quotes["EURUSD"].bid == 1.1051
            outside.submit(OrderRequest("outside-2", "", "EURUSD", Side.SELL, 0.1, reduce_only=True))
            yield lambda: ctx.position("EURUSD").size == 0.2
            # 0.1 lots of 100,000 earned 0.005, as far as anybody but the broker knows
            assert abs(run.engine.ledger.balance - balance - 50.0) < 1e-6
            yield lambda: [0.2] == [size for size, _ in stops(broker)]
            outside.submit(OrderRequest("outside-3", "", "EURUSD", Side.SELL, 0.2, reduce_only=True))
            yield lambda: ctx.position("EURUSD").size == 0
        yield lambda: not stops(broker)
        yield trade(run, 1, 0.1)

    drive(broker, live_file(broker, tmp_path, EXITS, **ADOPT), steps)

    assert "external_closed" in JournalReader(tmp_path / "state" / "journal.sqlite").alerts()
    assert "REDUCING" not in [state for _, state, _ in JournalReader(tmp_path / "state" / "journal.sqlite").changes()]


@pytest.mark.parametrize("policy", ["ignore", "refuse"])
def test_a_position_of_others_that_is_not_adopted_is_left_alone(broker: SimBroker, tmp_path: Path, policy: str) -> None:
    (tmp_path / "guard.py").write_text(GUARD, encoding="utf-8")
    changes = {"external": ("warmup_bars       = 0", f'warmup_bars       = 0\nexternal = "{policy}"')}
    codes: list[str] = []

    def steps(run: LiveRun) -> Steps:
        with stranger(broker) as outside:
            outside.submit(OrderRequest("outside-1", "", "EURUSD", Side.BUY, 0.3))
        yield lambda: run.reconciler.external.get(("main", "EURUSD")) == 0.3
        yield lambda: policy == "ignore" or run.state.effective("trend", "EURUSD").value == "REDUCING"
        codes.append(ctx_of(run).buy("EURUSD", 0.1).code)
        yield lambda: policy == "refuse" or ctx_of(run).position("EURUSD").size == 0.1

    drive(broker, live_file(broker, tmp_path, EXITS, **changes), steps)

    assert [{"ignore": "", "refuse": "trading_state"}[policy]] == codes
    assert 0.3 <= held(broker)


def test_adoption_without_exits_is_refused_before_anything_starts(netting: SimBroker, tmp_path: Path) -> None:
    more = TWO.replace("strategies.other", "strategies.external")

    with pytest.raises(ConfigError) as caught:
        load_plan(live_file(netting, tmp_path, more, **ADOPT), environ={})

    told = [str(problem) for problem in caught.value.problems]
    assert (
        'live.external: "adopt" puts positions of others under the exits of the file, and it has none; '
        'add [[exits]], or write external = "refuse"'
    ) in told
    assert ("strategies.external: 'external' is the name under which positions of others are adopted; choose another") in told


# --- a session that nobody answers ---------------------------------------------------------------------


@pytest.mark.long
def test_a_black_holed_session_is_made_again(netting: SimBroker, tmp_path: Path) -> None:
    with FaultProxy(netting.address) as proxy:
        address = (f"{netting.address}", proxy.address)
        file = live_file(netting, tmp_path, address=address)

        def steps(run: LiveRun) -> Steps:
            yield trade(run, 1, 0.1)
            hole = proxy.add(Toxic(kind="black_hole", direction="both"))
            yield lambda: not run.reconciler.ready
            proxy.remove(hole)  # the old connection stays dead; a new one is answered
            yield lambda: run.reconciler.ready
            yield trade(run, -1, 0.1)

        drive(netting, file, steps, seconds=40.0)

    assert 0.0 == held(netting)


def test_a_journal_that_failed_and_was_opened_again_takes_new_orders(
    netting: SimBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, fails = SqliteJournal.append, []

    def failing(self: SqliteJournal, records: Any, *, durable: bool = True) -> int:
        if fails:
            raise JournalError(fails.pop())
        return append(self, records, durable=durable)

    monkeypatch.setattr(SqliteJournal, "append", failing)

    def steps(run: LiveRun) -> Steps:
        yield trade(run, 1, 0.1)
        fails.append("planted")
        yield lambda: not fails and run.spool.is_writable and run.standing.journal
        yield trade(run, 1, 0.2)
        assert not run.engine.failures

    drive(netting, live_file(netting, tmp_path), steps)
    assert 0.3 == held(netting)
