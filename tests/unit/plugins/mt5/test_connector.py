"""The connector over the whole way: its client, the terminal process, and the simulated terminal in it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from herald.clock import SECOND, WallClock
from herald.errors import AmbiguousError, ConfigError, DataError, HeraldError, NotConnected, NotSent, NotSupported, RejectedError
from herald.model import Event, Fill, Order, OrderStatus, OrderType, Quote, Side, Timeframe
from herald.plugins.mt5 import herald_validate
from herald.plugins.mt5.connector import MT5Connector
from herald.plugins.mt5.settings import MT5Settings
from herald.testing.contracts.connector import ConnectorContract
from tests.unit.plugins.mt5.trading import Calls, Make, news, order, tag


class TestMT5(ConnectorContract):
    symbol = "EURUSD"
    timeframe = "5m"

    @pytest.fixture
    def connector(self, make: Make) -> MT5Connector:
        return make()


@pytest.mark.parametrize("mode", ["hedging", "netting", "exchange"])
def test_a_position_is_opened_protected_and_closed(make: Make, mode: str) -> None:
    connector = make({"margin_mode": mode})
    connector.connect()
    connector.subscribe([("EURUSD", None)])
    filling = {"exchange": "netting"}.get(mode, mode)

    ticket = connector.submit(order(1, stop_loss=0.5))
    (opened,) = news(connector)
    connector.modify(ticket, order(1, stop_loss=0.6, take_profit=2.0))
    (held,) = connector.positions()
    closing = connector.submit(order(2, Side.SELL, reduce_only=True, position=held.tickets[0] if mode == "hedging" else None))
    (closed,) = news(connector)

    assert filling == connector.account().mode
    assert isinstance(opened, Fill)
    assert isinstance(closed, Fill)
    assert (tag(1), 0.1, Side.BUY, 0.35) == (opened.order_id, opened.size, opened.side, opened.fee)
    assert (tag(2), 0.1, Side.SELL) == (closed.order_id, closed.size, closed.side)
    assert (0.1, opened.price) == (held.size, held.average_price)
    assert opened.position == (ticket if mode == "hedging" else "")
    assert [] == list(connector.positions())
    assert [opened.id, closed.id] == [fill.id for fill in connector.fills(0)]
    assert ticket != closing


def test_a_waiting_order_is_changed_withdrawn_and_told(make: Make) -> None:
    connector = make()
    connector.connect()
    price = round(connector.quote("EURUSD").bid - 0.01, 5)

    ticket = connector.submit(order(1, type=OrderType.LIMIT, limit=price))
    (placed,) = news(connector)
    connector.modify(ticket, order(1, type=OrderType.LIMIT, limit=round(price - 0.001, 5)))
    (changed,) = news(connector)
    connector.cancel(ticket)
    (gone,) = news(connector)
    connector.cancel(ticket)

    assert isinstance(placed, Order)
    assert isinstance(changed, Order)
    assert isinstance(gone, Order)
    assert (OrderStatus.ACCEPTED, price, tag(1)) == (placed.status, placed.request.limit, placed.request.client_tag)
    assert round(price - 0.001, 5) == changed.request.limit
    assert OrderStatus.CANCELLED is gone.status
    assert [] == list(connector.open_orders())
    assert [OrderStatus.CANCELLED] == [one.status for one in connector.find(tag(1), 0)]


def test_an_order_whose_comment_the_broker_rewrote_is_found_by_its_magic_number(make: Make, tmp_path: Path) -> None:
    options = {"book": str(tmp_path / "book.sqlite"), "faults": [{"kind": "comment", "text": "promo"}]}
    first = make(options)
    first.connect()
    ticket = first.submit(order(1))
    first.disconnect()
    second = make(options)  # knows no ticket
    second.connect()

    (found,) = second.find(tag(1), 0)
    (fill,) = second.fills(0)

    assert (ticket, OrderStatus.FILLED) == (found.broker_id, found.status)
    assert ticket == fill.order_id  # the journal knows the ticket
    assert [] == list(second.find(tag(2), 0))


class Ahead(WallClock):
    """The machine's clock, which can be put forward."""

    ahead = 0.0

    def now(self) -> int:
        return super().now() + round(self.ahead * SECOND)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_a_poll_asks_for_what_is_new_and_everything_is_looked_at_after_a_connection_and_every_ten_minutes(
    make: Make, calls: Calls
) -> None:
    clock = Ahead()
    connector = make(clock=clock)
    connector.connect()
    connector.subscribe([("EURUSD", None)])
    told: list[Event] = []

    def polls(count: int) -> list[int]:
        """Return how many minutes back of the server's clock each of so many polls asked."""
        del calls[:]
        for _ in range(count):
            told.extend(news(connector, Fill))
        asked = [args for name, args, _ in calls if name == "history_deals_get"]
        shown = connector.server_clock.to_server(clock.now()) // SECOND
        assert count == len(asked)
        assert all(end >= shown + 2 * 86_400 for _, end in asked)
        return [round((shown - start) / 60) for start, _ in asked]

    day, close = 1_440, 90
    assert [close, close, close] == polls(3)  # a run that has just begun does not look behind its beginning
    for number in range(1, 6):
        connector.submit(order(number))
    assert [close] * 5 == polls(5)
    assert [tag(number) for number in range(1, 6)] == [fill.order_id for fill in told if isinstance(fill, Fill)]

    clock.ahead = 2 * 86_400.0
    assert [2 * day + close, close, close] == polls(3)  # the last full look is two days ago
    connector.disconnect()
    connector.connect()
    assert [day + close, close, close] == polls(3)
    clock.ahead += 590.0
    assert [close + 10] == polls(1)
    clock.ahead += 15.0
    assert [day + close, close] == polls(2)
    assert 5 == len(told)


def test_no_deal_is_lost_or_told_twice_though_history_is_late_and_connections_break(make: Make, tmp_path: Path) -> None:
    control, book = tmp_path / "faults.json", tmp_path / "book.sqlite"
    connector = make({"control": str(control), "book": str(book)})
    connector.connect()
    control.write_text(json.dumps([{"kind": "late_history", "seconds": 1.0}]), encoding="utf-8")
    told: list[Any] = []
    for number in range(1, 7):
        connector.submit(order(number))
        told += news(connector, Fill)
        if number == 3:
            connector.disconnect()
            connector.connect()
    assert len(told) < 6  # some are still to come
    end = time.monotonic() + 5.0
    while time.monotonic() < end and len(told) < 6:
        told += news(connector, Fill)
    told += news(connector, Fill)

    assert [tag(number) for number in range(1, 7)] == [fill.order_id for fill in told]


def test_protection_that_the_server_executes_is_named_after_what_it_protects(make: Make, tmp_path: Path) -> None:
    symbols = [{"name": "EURUSD", "currency_base": "EUR", "price": 1.1, "volatility": 0.002}]
    connector = make({"symbols": symbols, "tick_seconds": 0.02, "history_days": 0.002, "book": str(tmp_path / "b.sqlite")})
    connector.connect()
    bid = connector.quote("EURUSD").bid
    connector.submit(order(1, stop_loss=round(bid - 0.004, 5), take_profit=round(bid + 0.004, 5)))
    end = time.monotonic() + 20
    fills: list[Any] = []
    while len(fills) < 2 and time.monotonic() < end:
        fills += news(connector, Fill)

    assert fills[1].order_id in (f"{tag(1)}.sl", f"{tag(1)}.tp")
    assert [] == list(connector.positions())


def test_orders_of_unknown_fate_are_ambiguous_and_the_terminal_is_started_again(make: Make, tmp_path: Path) -> None:
    control, book = tmp_path / "faults.json", tmp_path / "book.sqlite"
    connector = make({"control": str(control), "book": str(book)}, timeout_seconds=1.0)
    connector.connect()
    cases = [
        {"kind": "die_after", "calls": ["order_send"], "times": 1},
        {"kind": "lost", "calls": ["order_send"], "times": 1},
        {"kind": "lost_retcode", "calls": ["order_send"], "times": 1},
        {"kind": "slow", "calls": ["order_send"], "seconds": 3.0, "times": 1},
    ]
    taken = 0
    for number, fault in enumerate(cases, 1):
        control.write_text(json.dumps([fault]), encoding="utf-8")
        with pytest.raises(AmbiguousError):
            connector.submit(order(number))
        control.unlink()
        began = time.monotonic()
        connector.connect()
        taken += len(connector.find(tag(number), 0))

        assert time.monotonic() - began < 3.0
    # A slow call was killed before it was carried out; the others were carried out.
    assert 3 == taken
    assert 0.3 == pytest.approx(sum(position.size for position in connector.positions()))


def test_what_provably_did_not_leave_is_said_so(make: Make, tmp_path: Path) -> None:
    control = tmp_path / "faults.json"
    connector = make({"control": str(control)}, order_check=False)
    connector.connect()
    control.write_text(json.dumps([{"kind": "code", "code": -10001, "calls": ["order_send"]}]), encoding="utf-8")

    with pytest.raises(NotSent, match="nothing was sent"):
        connector.submit(order(1))
    with pytest.raises(NotConnected):
        connector.poll()
    control.unlink()
    connector.connect()

    assert [] == list(connector.positions())


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        ({"kind": "button"}, "not_permitted", "Algo Trading button"),
        ({"kind": "api"}, "not_permitted", "Python API"),
        ({"kind": "retcode", "code": 10018}, "market_closed", "market is closed"),
        ({"kind": "retcode", "code": 10019}, "no_money", "free margin"),
        ({"kind": "retcode", "code": 10024}, "too_many_requests", "rate limiter"),
        ({"kind": "retcode", "code": 10026}, "autotrading_off_server", "forbids automated trading"),
        ({"kind": "retcode", "code": 10004}, "requote", "decides anew"),
    ],
)
def test_a_refusal_has_its_own_code_and_says_what_to_do(make: Make, fault: dict[str, Any], code: str, says: str) -> None:
    connector = make({"faults": [fault]})
    connector.connect()

    with pytest.raises(RejectedError, match=says) as refused:
        connector.submit(order(1))

    assert code == refused.value.code


def test_a_requote_is_answered_at_a_new_price_within_the_budget(make: Make) -> None:
    connector = make({"faults": [{"kind": "retcode", "code": 10004, "times": 2, "calls": ["order_send"]}]}, requotes=2)
    connector.connect()

    assert connector.submit(order(1)).isdecimal()


def test_a_code_that_nobody_knows_leaves_the_order_in_doubt(make: Make) -> None:
    connector = make({"faults": [{"kind": "retcode", "code": 10999, "calls": ["order_send"]}]})
    connector.connect()

    with pytest.raises(AmbiguousError, match="10999"):
        connector.submit(order(1))


@pytest.mark.parametrize(
    ("filling", "execution"),
    [(1, 2), (2, 2), (3, 2), (0, 1), (0, 3), (2, 3)],
)
def test_the_filling_policy_suits_the_symbol(make: Make, filling: int, execution: int) -> None:
    symbols = [{"name": "EURUSD", "currency_base": "EUR", "price": 1.1, "filling_mode": filling, "trade_exemode": execution}]
    connector = make({"symbols": symbols})
    connector.connect()

    assert connector.submit(order(1)).isdecimal()


def test_terms_that_the_broker_does_not_take_are_refused_by_name(make: Make) -> None:
    symbols = [
        {"name": "EURUSD", "currency_base": "EUR", "price": 1.1, "trade_stops_level": 100, "volume_step": 0.1, "volume_min": 0.1}
    ]
    connector = make({"symbols": symbols})
    connector.connect()
    bid = connector.quote("EURUSD").bid

    for request, code in (
        (order(1, size=0.15), "invalid_volume"),
        (order(2, stop_loss=round(bid - 0.0005, 5)), "invalid_stops"),
        (order(3, type=OrderType.LIMIT, limit=round(bid - 0.0001, 5)), "invalid_price"),
    ):
        with pytest.raises(RejectedError) as refused:
            connector.submit(request)

        assert code == refused.value.code
    with pytest.raises(NotSupported):
        connector.submit(order(4, type=OrderType.STOP_LIMIT, limit=1.0, stop=1.0))


@pytest.mark.parametrize(
    ("options", "settings", "says"),
    [
        ({}, {"password": "wrong1"}, "refused the login of account 1001"),
        ({}, {"server": "Other-Demo"}, "refused the login of account 1001 at 'Other-Demo'"),
        ({"otp": True}, {}, "one-time password"),
        ({}, {"path": "C:\\nowhere\\terminal64.exe"}, "there is no terminal at 'C:\\\\nowhere"),
        ({"faults": [{"kind": "account", "code": 7}]}, {}, "another program may have switched the terminal"),
        ({}, {"module": "no_such_module"}, "no module 'no_such_module'"),
        ({}, {"python": ("/no/such/python",)}, "cannot be started: /no/such/python"),
        ({"nonsense": 1}, {}, "module_options"),
    ],
)
def test_a_connection_that_cannot_be_says_why_and_what_to_do(
    make: Make, options: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    connector = make(options, **settings)

    with pytest.raises(HeraldError) as wrong:
        connector.connect()

    text = str(wrong.value) + "".join(
        f"{one.what} {one.hint}" for one in (wrong.value.problems if isinstance(wrong.value, ConfigError) else ())
    )
    assert says in text, text
    assert "Traceback" not in text


def test_a_terminal_without_its_server_is_waited_for(make: Make) -> None:
    connector = make({"faults": [{"kind": "offline"}]}, connect_seconds=0.5)

    with pytest.raises(NotSent, match="not connected to the trade server"):
        connector.connect()


def test_a_symbol_that_is_not_there_names_what_is_near(make: Make) -> None:
    connector = make({"symbols": [{"name": "EURUSD.r", "currency_base": "EUR", "price": 1.1}]}, symbols=())
    connector.connect()

    with pytest.raises(DataError, match=r"no symbol 'EURUSD'; it has EURUSD\.r; correct it, or set suffix or names"):
        connector.quote("EURUSD")


@pytest.mark.parametrize("settings", [{"suffix": ".r"}, {"names": {"EURUSD": "EURUSD.r"}}])
def test_the_brokers_names_are_its_own(make: Make, settings: dict[str, Any]) -> None:
    connector = make({"symbols": [{"name": "EURUSD.r", "currency_base": "EUR", "price": 1.1}]}, **settings)
    connector.connect()
    connector.submit(order(1))

    assert ["EURUSD"] == [one.symbol for one in connector.instruments()]
    assert ["EURUSD"] == [one.symbol for one in connector.positions()]
    assert ["EURUSD"] == [one.symbol for one in connector.fills(0)]


def test_a_symbol_outside_the_market_watch_is_put_there_and_waited_for(make: Make) -> None:
    connector = make({}, symbols=())
    connector.connect()

    assert connector.quote("USDJPY").bid > 100


@pytest.mark.parametrize("zone", ["ny+7", "Europe/Athens", "UTC"])
def test_times_are_utc_whatever_the_servers_clock(make: Make, zone: str) -> None:
    connector = make({"server_zone": zone})
    connector.connect()
    connector.subscribe([("EURUSD", None)])
    (quote,) = news(connector, Quote)
    bars = connector.bars("EURUSD", Timeframe(60), None, None)
    now = time.time_ns()

    assert isinstance(quote, Quote)
    assert abs(now - quote.time) < 5 * SECOND
    assert 0 <= now - int(bars.time[-1]) < 61 * SECOND
    assert "" == connector.trouble()


def test_a_zone_that_the_ticks_contradict_stops_trading(make: Make) -> None:
    connector = make({"server_zone": "ny+7"}, server_zone="+09:00")
    connector.connect()

    with pytest.raises(RejectedError, match="correct server_zone"):
        connector.submit(order(1))


def test_without_a_fresh_tick_the_clock_cannot_be_determined_and_nothing_is_traded(make: Make) -> None:
    connector = make({"faults": [{"kind": "stale"}], "start": time.time() - 20_000, "time_scale": 0.001})
    connector.connect()

    assert "ny+7" in connector.trouble() or "server_zone" in connector.trouble()
    with pytest.raises(HeraldError, match="clock"):
        connector.submit(order(1))


def test_bars_come_once_each_and_only_when_they_are_over(make: Make) -> None:
    connector = make({"tick_seconds": 0.2, "start": time.time() // 60 * 60 - 3_600, "time_scale": 1.0, "server_zone": "ny+7"})
    connector.connect()
    whole = connector.bars("EURUSD", Timeframe(60), None, None)

    assert bool((whole.time % (60 * SECOND) == 0).all())
    assert bool((whole.time[1:] > whole.time[:-1]).all())


def test_two_accounts_on_one_terminal_are_refused() -> None:
    class Chosen:
        def __init__(self, name: str, **settings: Any) -> None:
            self.name, self.use, self.settings = name, "mt5", MT5Settings(**settings)

    class Plan:
        def __init__(self, *parts: Chosen) -> None:
            self.parts = parts

        def chosen(self, kind: str) -> tuple[Chosen, ...]:
            return self.parts

    same = Plan(Chosen("connectors.one", login=1), Chosen("connectors.two", login=2))
    apart = Plan(Chosen("connectors.one", login=1, path="C:/a"), Chosen("connectors.two", login=2, path="C:/b"))

    (problem,) = herald_validate(same)  # type: ignore[arg-type]
    assert "connectors.two.path" == problem.where
    assert [] == list(herald_validate(apart))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"address": "somewhere"}, "write host:port"),
        ({"address": "127.0.0.1:5005"}, "token is missing"),
        ({"password": "x", "login": None}, "password is stated without login"),
        ({"server_zone": "Atlantis"}, "is no zone"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MT5Settings(**({"login": 1} | settings))
