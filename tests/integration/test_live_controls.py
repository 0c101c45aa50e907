"""The controls of live runs against a broker that misbehaves on cue: clocks, disks, accounts, positions of others, exits."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from herald.components import component
from herald.host.plan import load_plan
from herald.model import Order
from herald.plugins.simbroker import SimBrokerConnector, SimBrokerSettings
from herald.results import RunResult
from herald.runtime.live import LiveRun
from herald.testing import make_services
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


def stranger(broker: SimBroker) -> SimBrokerConnector:
    """Return a second client of the same account, which is not Herald."""
    settings = SimBrokerSettings(address=broker.address, token=broker.terms.token)
    one = component("simbroker", SimBrokerSettings, SimBrokerConnector).build(settings, make_services())
    one.connect()
    return one


def held(broker: SimBroker, symbol: str = "EURUSD") -> float:
    return round(sum(one.size for one in broker.book().positions if one.symbol == symbol), 8)


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
