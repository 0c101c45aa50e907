"""Herald at the genuine package: client, terminal process on the Windows Python, package, pipe, and a simulated terminal behind it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import herald.testing.mt5.terminal as terminal
from herald.clock import SECOND, WallClock
from herald.contracts import Connector
from herald.errors import AmbiguousError, HeraldError, NotConnected, NotSent
from herald.model import Fill, OrderRequest, OrderStatus, OrderType, Side, Timeframe
from herald.plugins.mt5.client import TerminalClient, TerminalRefused, TerminalSilent
from herald.plugins.mt5.connector import MT5Connector
from herald.plugins.mt5.process import TerminalProcess
from herald.plugins.mt5.settings import MT5Settings
from herald.testing import ConnectorContract, make_services
from tests.mt5.fixed import RATES, FixedTerminal
from tests.mt5.genuine.harness import Pipe, environment, pipe, python
from tests.mt5.standin import StandIn

pytestmark = [pytest.mark.mt5_genuine, pytest.mark.usefixtures("genuine")]

OPTIONS = {"balance": 50_000.0, "history_days": 6.0, "tick_seconds": 5.0}
CLOCK = WallClock()
_ENVIRONMENT = environment()


@pytest.fixture(autouse=True)
def _windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what Herald starts find the Windows Python's prefix."""
    for name in set(os.environ) - set(_ENVIRONMENT):
        monkeypatch.delenv(name)
    for name, value in _ENVIRONMENT.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    terminal.configure(OPTIONS)
    assert terminal.initialize()
    standin = StandIn(terminal)
    yield standin
    standin.close()
    terminal.shutdown()
    assert [] == standin.failures


@pytest.fixture(scope="module")
def opened(standin: StandIn, genuine: None) -> Iterator[Pipe]:
    with pipe(standin) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _well(standin: StandIn) -> Iterator[None]:
    """Leave a healthy terminal behind."""
    yield
    standin.faults.slow, standin.faults.status, standin.faults.die_after, standin.faults.die_before = {}, {}, set(), set()


@pytest.fixture(scope="module")
def process(opened: Pipe) -> Iterator[TerminalProcess]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _ENVIRONMENT.items():
            patch.setenv(name, value)
        process = TerminalProcess(clock=CLOCK, python=python())
        process.start()
        yield process
        process.kill()


def until(found: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Return the first answer that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.05)
    raise AssertionError("nothing came of it")


def entered(client: TerminalClient) -> bool:
    """Return whether the process lets *client* in; it may not have seen yet that the one before has left."""
    try:
        client.open()
    except TerminalRefused as error:
        if "one at a time" not in str(error):
            raise
        return False
    return True


@pytest.fixture
def client(process: TerminalProcess, opened: Pipe) -> Iterator[TerminalClient]:
    process.start()
    client = TerminalClient(process.address, process.token, clock=CLOCK)
    until(lambda: entered(client))
    assert client.call("initialize", opened.path, timeout=2_000, seconds=20.0).value is True
    yield client
    client.close()


def values(record: Any) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in record.__struct_fields__)


def test_every_kind_of_answer_crosses_the_bridge_unchanged(client: TerminalClient) -> None:
    names = ("terminal_info", "account_info")
    assert [tuple(getattr(terminal, name)()) for name in names] == [
        values(client.call(name, seconds=5.0).value) for name in names
    ]
    symbols = client.call("symbols_get", seconds=5.0).value
    assert [each.name for each in terminal.symbols_get()] == [each.name for each in symbols]
    since, until = 1, 2_000_000_000
    assert [tuple(each) for each in terminal.history_deals_get(since, until)] == [
        values(each) for each in client.call("history_deals_get", since, until, seconds=5.0).value
    ]
    rates = client.call("copy_rates_from_pos", "EURUSD", 16385, 1, 50, seconds=5.0).value
    assert rates.tobytes() == terminal.copy_rates_from_pos("EURUSD", 16385, 1, 50).tobytes()
    nothing = client.call("symbol_info", "nope", seconds=5.0)
    assert (None, -4, "Terminal: Not found") == (nothing.value, nothing.code, nothing.text)


def test_a_package_that_hangs_is_left_at_the_deadline_and_started_again(
    client: TerminalClient, process: TerminalProcess, standin: StandIn, opened: Pipe
) -> None:
    standin.faults.slow = {"account_info": 8.0}

    began = time.monotonic()
    with pytest.raises(TerminalSilent, match="account_info"):
        client.call("account_info", seconds=0.5)
    waited = time.monotonic() - began
    standin.faults.slow = {}
    began = time.monotonic()
    process.restart()
    client.address = process.address
    client.open()
    assert client.call("initialize", opened.path, timeout=2_000, seconds=20.0).value is True
    again = time.monotonic() - began

    print(f"a hung call was left after {waited:.2f} s; killed, started and connected again after {again:.2f} s")
    assert 0.4 < waited < 2.0
    assert again < 30.0  # starting a Windows program takes as long as it takes


class Prepared(FixedTerminal):
    """A terminal that thinks of nothing: what is measured is the way to it and back."""

    bars = np.zeros(10_000, RATES)

    def copy_rates_from_pos(self, *args: Any) -> Any:
        return self.bars[: args[3]]


def test_timings_are_printed(client: TerminalClient) -> None:
    def median(call: Callable[[], object], count: int) -> float:
        found = []
        for _ in range(count):
            began = time.perf_counter()
            call()
            found.append(time.perf_counter() - began)
        return statistics.median(found) * 1_000

    prepared = StandIn(Prepared())
    with pipe(prepared) as opened:
        assert client.call("initialize", opened.path, timeout=2_000, seconds=20.0).value is True
        ping = median(lambda: client.call("$ping", seconds=5.0), 300)
        tick = median(lambda: client.call("symbol_info_tick", "EURUSD", seconds=5.0), 300)
        many = median(lambda: client.call("copy_rates_from_pos", "EURUSD", 1, 0, 10_000, seconds=60.0), 20)
        count = len(client.call("copy_rates_from_pos", "EURUSD", 1, 0, 10_000, seconds=60.0).value)
    prepared.close()

    print(f"bridge to the genuine package, medians: $ping {ping:.2f} ms, tick {tick:.2f} ms, {count:,} bars {many:.1f} ms")
    assert 10_000 == count
    assert ping < 50.0
    assert many < 1_000.0


class Patient(MT5Connector):
    """Tries again while the process has not seen yet that the client before has left, as a run does."""

    def connect(self) -> None:
        end = time.monotonic() + 10.0
        while True:
            try:
                return super().connect()
            except NotSent as error:
                if "one at a time" not in str(error) or time.monotonic() >= end:
                    raise
                time.sleep(0.05)


def connector(process: TerminalProcess, opened: Pipe, **terms: Any) -> MT5Connector:
    stated = {
        "address": process.address,
        "token": process.token,
        "path": opened.path,
        "timeout_seconds": 15.0,
        "connect_seconds": 5.0,
    }
    settings = MT5Settings.model_validate(
        stated | {"symbols": ("EURUSD",), "server_zone": "ny+7", "login": 1001, "server": "Sim-Demo"} | terms
    )
    return Patient(settings, make_services("connectors.main", clock=CLOCK))


class TestContract(ConnectorContract):
    symbol = "EURUSD"
    timeframe = "1h"

    @pytest.fixture
    def connector(self, process: TerminalProcess, opened: Pipe) -> Iterator[Connector]:
        process.start()
        made = connector(process, opened)
        yield made
        made.disconnect()


@pytest.fixture
def connected(process: TerminalProcess, opened: Pipe) -> Iterator[MT5Connector]:
    process.start()
    made = connector(process, opened)
    made.connect()
    yield made
    made.disconnect()


def request(number: int, side: Side = Side.BUY, size: float = 0.2, **terms: Any) -> OrderRequest:
    return OrderRequest(f"trend-{number:06}", "trend", "EURUSD", side, size, client_tag=terms.pop("tag"), **terms)


def test_account_instruments_and_quotes_are_the_terminals(connected: MT5Connector) -> None:
    account, (instrument,), quote = connected.account(), connected.instruments(), connected.quote("EURUSD")

    told, tick = terminal.account_info(), terminal.symbol_info_tick("EURUSD")
    assert (str(told.login), told.server, False, told.currency) == (account.id, account.server, account.real, account.currency)
    assert ("EURUSD", 1e-5, 0.01, 100_000.0) == (
        instrument.symbol, pytest.approx(instrument.price_step), instrument.size_step, instrument.contract_size,
    )  # fmt: skip
    assert 0 < quote.ask - quote.bid < 0.01
    assert abs(quote.bid - tick.bid) < 0.01
    assert abs(CLOCK.now() - quote.time) < 60 * SECOND  # the server's clock is hours ahead
    assert connected.trouble() == ""


def test_bars_end_in_the_past_and_are_those_of_the_terminal(connected: MT5Connector) -> None:
    bars = connected.bars("EURUSD", Timeframe.parse("1h"), CLOCK.now() - 24 * 3600 * SECOND, CLOCK.now())

    assert 20 <= len(bars) <= 24
    assert bars.time[-1] <= CLOCK.now()
    assert set(bars.close.tolist()) <= set(terminal.copy_rates_from_pos("EURUSD", 16385, 0, 30)["close"].tolist())
    assert bool(np.all(np.diff(bars.time) >= 3600 * SECOND))


def test_a_market_order_is_filled_and_told_once(connected: MT5Connector) -> None:
    held = {each.ticket for each in terminal.positions_get()}
    broker_id = connected.submit(request(1, tag="hd4rk2m7q5xj3w6v2a4b"))

    def fills() -> list[Fill]:
        return [event for event in connected.poll() if isinstance(event, Fill)]

    (fill,) = until(fills)
    (position,) = [each for each in terminal.positions_get() if each.ticket not in held]
    assert (Side.BUY, 0.2, position.price_open) == (fill.side, fill.size, fill.price)
    assert broker_id
    assert [] == fills()
    assert 1 == sum(one.order_id == fill.order_id for one in connected.fills(CLOCK.now() - 3600 * SECOND))


def test_a_limit_order_rests_is_changed_and_withdrawn(connected: MT5Connector) -> None:
    price = round(terminal.symbol_info_tick("EURUSD").bid - 0.05, 5)
    first = request(2, tag="hd4rk2m7q5xj3w6v2a4c", type=OrderType.LIMIT, limit=price)

    broker_id = connected.submit(first)
    (working,) = connected.open_orders()
    assert (price, OrderStatus.ACCEPTED) == (working.request.limit, working.status)

    connected.modify(broker_id, request(2, tag="hd4rk2m7q5xj3w6v2a4c", type=OrderType.LIMIT, limit=round(price - 0.001, 5)))
    (working,) = connected.open_orders()
    assert round(price - 0.001, 5) == pytest.approx(working.request.limit)

    connected.cancel(broker_id)
    connected.cancel(broker_id)
    assert () == tuple(connected.open_orders())


def test_an_order_that_was_carried_out_without_an_answer_is_in_doubt_and_found_again(
    connected: MT5Connector, standin: StandIn
) -> None:
    before = len(terminal.positions_get())
    standin.faults.die_after = {"order_send"}

    with pytest.raises(AmbiguousError):
        connected.submit(request(3, tag="hd4rk2m7q5xj3w6v2a4d"))

    standin.faults.die_after = set()
    assert before + 1 == len(terminal.positions_get())
    connected.connect()
    (found,) = until(lambda: connected.find("hd4rk2m7q5xj3w6v2a4d", CLOCK.now() - 3600 * SECOND))
    assert OrderStatus.FILLED == found.status
    assert before + 1 == len(terminal.positions_get())


def test_an_order_that_was_lost_before_it_arrived_is_in_doubt_and_not_found(connected: MT5Connector, standin: StandIn) -> None:
    before = len(terminal.positions_get())
    standin.faults.die_before = {"order_send"}

    with pytest.raises(AmbiguousError):
        connected.submit(request(4, tag="hd4rk2m7q5xj3w6v2a4e"))

    standin.faults.die_before = set()
    connected.connect()
    assert () == tuple(connected.find("hd4rk2m7q5xj3w6v2a4e", CLOCK.now() - 3600 * SECOND))
    assert before == len(terminal.positions_get())


def test_a_hung_order_is_left_at_the_deadline_and_found_in_a_new_process(opened: Pipe, standin: StandIn) -> None:
    made = MT5Connector(
        MT5Settings(
            python=tuple(python()),
            path=opened.path,
            symbols=("EURUSD",),
            server_zone="ny+7",
            timeout_seconds=2.0,
            connect_seconds=5.0,
        ),
        make_services("connectors.main", clock=CLOCK),
    )
    made.connect()
    try:
        standin.faults.slow = {"order_send": 4.0}
        began = time.monotonic()
        with pytest.raises(AmbiguousError):
            made.submit(request(5, tag="hd4rk2m7q5xj3w6v2a4f"))
        assert time.monotonic() - began < 4.0
        standin.faults.slow = {}

        made.connect()
        (found,) = until(lambda: made.find("hd4rk2m7q5xj3w6v2a4f", CLOCK.now() - 3600 * SECOND))
        assert OrderStatus.FILLED == found.status
    finally:
        made.disconnect()


def test_a_switched_off_api_is_named_before_and_after_an_order(connected: MT5Connector, standin: StandIn) -> None:
    standin.faults.status = {"order_send": -8}

    with pytest.raises(HeraldError, match=r"(?i)python api|-8"):
        connected.submit(request(6, tag="hd4rk2m7q5xj3w6v2a4g"))


def test_a_terminal_that_ends_is_a_lost_connection(process: TerminalProcess, standin: StandIn) -> None:
    with pipe(standin) as own:
        process.start()
        made = connector(process, own)
        made.connect()
        own.kill()

        with pytest.raises(NotConnected):
            made.account()
        made.disconnect()
