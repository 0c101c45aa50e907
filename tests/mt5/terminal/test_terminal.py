"""A real terminal on a demo account: ``pytest -m mt5_terminal tests/mt5``, by hand, on Windows; see CONTRIBUTING.md.

The account comes from ``HERALD_MT5_PATH``, ``_LOGIN``, ``_PASSWORD``, ``_SERVER`` and, where EURUSD has another name there, ``_SYMBOL``.
Everything here refuses an account that is not a demo account. The last tests open and close the smallest position there is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from herald.clock import DAY, SECOND, WallClock
from herald.contracts import Connector
from herald.model import Fill, OrderRequest, OrderStatus, OrderType, Side, Timeframe
from herald.plugins.mt5.connector import MT5Connector
from herald.plugins.mt5.settings import MT5Settings
from herald.testing import ConnectorContract, make_services

pytestmark = pytest.mark.mt5_terminal

# Read while the tests are collected: fixtures hide the machine's own variables from them.
GIVEN = {key: os.environ.get(f"HERALD_MT5_{key.upper()}") for key in ("path", "login", "password", "server")}
SYMBOL = os.environ.get("HERALD_MT5_SYMBOL", "EURUSD")
CLOCK = WallClock()


def build() -> MT5Connector:
    missing = [f"HERALD_MT5_{key.upper()}" for key, value in GIVEN.items() if not value]
    if missing:
        pytest.skip(f"{', '.join(missing)} not set: no terminal to test with")
    settings = MT5Settings.model_validate(GIVEN | {"login": int(GIVEN["login"] or 0), "symbols": (SYMBOL,)})
    return MT5Connector(settings, make_services("connectors.main", clock=CLOCK))


@pytest.fixture
def connected() -> Iterator[MT5Connector]:
    made = build()
    made.connect()
    try:
        if made.account().real:
            pytest.fail("this account has real money; these tests trade, and only on a demo account")
        yield made
    finally:
        made.disconnect()


class TestContract(ConnectorContract):
    symbol: ClassVar[str] = SYMBOL

    @pytest.fixture
    def connector(self) -> Iterator[Connector]:
        made = build()
        yield made
        made.disconnect()


def until(found: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return the first answer that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.25)
    raise AssertionError("nothing came of it")


def request(connector: MT5Connector, number: int, side: Side = Side.BUY, **terms: Any) -> OrderRequest:
    (instrument,) = connector.instruments()
    tag = f"hterm{CLOCK.now() // SECOND % 10**9:09d}{number}"
    return OrderRequest(f"trend-{number:06}", "trend", SYMBOL, side, instrument.min_size, client_tag=tag, **terms)


def test_the_clock_of_the_server_is_known_and_everything_may_be_traded(connected: MT5Connector) -> None:
    assert "" == connected.trouble()
    assert abs(CLOCK.now() - connected.quote(SYMBOL).time) < 120 * SECOND


def test_history_pages_past_one_answer(connected: MT5Connector) -> None:
    bars = connected.bars(SYMBOL, Timeframe.parse("1m"), CLOCK.now() - 60 * DAY, CLOCK.now())

    assert len(bars) > 30_000


def test_a_limit_order_far_away_rests_and_is_withdrawn(connected: MT5Connector) -> None:
    price = round(connected.quote(SYMBOL).bid * 0.9, 5)

    broker_id = connected.submit(request(connected, 1, type=OrderType.LIMIT, limit=price))
    until(lambda: [one for one in connected.open_orders() if one.broker_id == broker_id and one.status is OrderStatus.ACCEPTED])
    connected.cancel(broker_id)

    until(lambda: not [one for one in connected.open_orders() if one.broker_id == broker_id])


def test_the_smallest_position_is_opened_found_again_and_closed(connected: MT5Connector) -> None:
    def fills() -> list[Fill]:
        return [event for event in connected.poll() if isinstance(event, Fill)]

    opening = request(connected, 2)
    connected.submit(opening)
    (entry,) = until(fills)
    (found,) = until(lambda: connected.find(opening.client_tag, CLOCK.now() - DAY))
    connected.submit(request(connected, 3, Side.SELL, reduce_only=True))
    (leave,) = until(fills)

    assert OrderStatus.FILLED == found.status
    assert (Side.BUY, Side.SELL, entry.size) == (entry.side, leave.side, leave.size)
