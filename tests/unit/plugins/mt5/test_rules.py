"""What the connector owes to the ways of the package, rule by rule; ``docs/mt5-rules.md`` has the list of all rules.

Every test goes the whole way to a simulated terminal, and looks at what the package is asked.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from herald.clock import DAY, HOUR, SECOND
from herald.errors import AmbiguousError, ConfigError, DataError, HeraldError, NotConnected, NotSent, RejectedError
from herald.model import Fill, Order, OrderStatus, OrderType, Side, Timeframe, TimeInForce
from herald.model.instrument import SwapMode, TradeMode
from herald.plugins.mt5 import connector as module
from herald.plugins.mt5 import server
from herald.plugins.mt5.client import Reply, TerminalClient
from herald.plugins.mt5.clock import parse_zone
from herald.plugins.mt5.connector import MT5Connector
from tests.unit.plugins.mt5.trading import STILL, Calls, Make, news, order, tag


def names(calls: Calls) -> list[str]:
    return [name for name, _, _ in calls]


def sent(calls: Calls) -> list[dict[str, Any]]:
    return [args[0] for name, args, _ in calls if name == "order_send"]


def switch(control: Path, *faults: dict[str, Any]) -> None:
    scratch = control.with_suffix(".tmp")
    scratch.write_text(json.dumps(faults), encoding="utf-8")
    scratch.replace(control)


def by_hand(connector: MT5Connector, **request: Any) -> Any:
    """Send what a person at the terminal would."""
    return connector._call("order_send", request).value


# --- connection


def test_the_terminal_is_told_its_path_the_account_and_milliseconds(make: Make, calls: Calls) -> None:
    path = r"D:\MT5\terminal64.exe"
    connector = make({"path": path}, path=path, connect_seconds=20.0, portable=True)
    connector.connect()

    ((_, args, named),) = [one for one in calls if one[0] == "initialize"]
    known = {"login": 1001, "password": "secret", "server": "Sim-Demo"}
    assert ((), known | {"path": path, "timeout": 20_000, "portable": True}) == (args, named)
    assert int is type(named["timeout"])


def test_a_refused_connection_is_shut_down(make: Make, calls: Calls) -> None:
    connector = make(password="wrong1")
    with pytest.raises(ConfigError, match="refused the login"):
        connector.connect()

    assert ["initialize", "shutdown"] == names(calls)


def test_a_server_whose_name_the_package_cannot_take_is_a_wrong_setting(make: Make) -> None:
    connector = make(server="x" * 254)

    with pytest.raises(ConfigError, match="the package refuses a setting"):
        connector.connect()


def test_an_account_that_is_switched_under_way_is_not_traded_on(make: Make, calls: Calls, tmp_path: Path) -> None:
    control = tmp_path / "faults.json"
    connector = make({"control": str(control)})
    connector.connect()
    switch(control, {"kind": "account", "code": 7})
    says = "switched from demo account 1001 at 'Sim-Demo' to demo account 7 at 'Sim-Demo'"

    with pytest.raises(NotConnected, match=says):
        connector.submit(order(1))
    with pytest.raises(NotConnected, match=says):
        connector.account()
    with pytest.raises(NotConnected, match=says):
        connector.cancel("1")
    with pytest.raises(NotConnected, match=says):
        connector.modify("1", order(1, stop_loss=1.0))
    with pytest.raises(ConfigError, match="another program may have switched the terminal"):
        connector.connect()

    assert [] == sent(calls)


def test_a_run_goes_on_with_the_account_that_it_began_with_though_the_file_names_none(make: Make, tmp_path: Path) -> None:
    control = tmp_path / "faults.json"
    connector = make({"control": str(control)}, login=None, password=None, server=None)
    connector.connect()
    connector.disconnect()
    switch(control, {"kind": "account", "code": 7})

    with pytest.raises(ConfigError, match="logged in to demo account 7 at 'Sim-Demo', and this run began on demo account 1001"):
        connector.connect()


@pytest.mark.parametrize(("trade_mode", "is_real"), [(1, False), (2, True)])
def test_demo_contest_and_real_accounts_are_told_apart(make: Make, trade_mode: int, is_real: bool) -> None:
    connector = make({"trade_mode": trade_mode})
    connector.connect()

    assert is_real is connector.account().real


def test_five_flags_are_read_anew_before_every_order(make: Make, calls: Calls, tmp_path: Path) -> None:
    control = tmp_path / "faults.json"
    connector = make({"control": str(control)})
    connector.connect()
    says = {
        "button": "Algo Trading button of the terminal is off; press it",
        "api": "blocks trading through the Python API; clear that option",
        "offline": "no connection to the trade server",
        "investor": "does not let this account trade",
        "no_programs": "does not let programs trade",
    }

    for kind, text in says.items():
        switch(control, {"kind": kind})
        with pytest.raises(RejectedError, match=text) as refused:
            connector.submit(order(1))
        assert "not_permitted" == refused.value.code
    switch(control)

    assert [] == sent(calls)
    assert connector.submit(order(2)).isdecimal()


def test_after_a_lost_connection_symbols_are_selected_again(make: Make, calls: Calls) -> None:
    connector = make(symbols=())
    for _ in range(2):
        connector.connect()
        connector.subscribe([("USDJPY", None)])  # not in the Market Watch of a terminal that has just started

        assert connector.quote("USDJPY").bid > 100
        connector.disconnect()

    assert 2 == names(calls).count("symbol_select")


# --- results and errors


def test_nothing_is_an_empty_answer_and_a_deposit_is_no_trade(make: Make) -> None:
    connector = make()
    connector.connect()

    assert ([], [], []) == (list(connector.positions()), list(connector.open_orders()), list(connector.find(tag(1), 0)))
    deposits = connector._call("history_deals_get", 1, 2**31 - 1).value
    assert [2] == [deal.type for deal in deposits]
    assert [] == list(connector.fills(0))
    assert [] == news(connector)


def test_every_failure_of_a_send_is_known_to_have_left_nothing_or_is_in_doubt(make: Make, tmp_path: Path) -> None:
    control = tmp_path / "faults.json"
    connector = make({"control": str(control)}, order_check=False)
    connector.connect()
    expected = {
        -2: RejectedError,
        -8: RejectedError,
        -10001: NotSent,
        -10004: NotSent,
        -1: AmbiguousError,
        -10000: AmbiguousError,
        -10002: AmbiguousError,
        -10005: AmbiguousError,
    }

    found = {}
    for code in expected:
        switch(control, {"kind": "code", "code": code, "calls": ["order_send"]})
        with pytest.raises(HeraldError, match=str(code)) as wrong:
            connector.submit(order(1))
        found[code] = type(wrong.value)
        switch(control)
        connector.connect()

    assert expected == found
    assert [] == list(connector.positions())


# --- time


def test_every_date_is_a_whole_second_that_fits(make: Make, calls: Calls) -> None:
    connector = make()
    connector.connect()
    connector.subscribe([("EURUSD", Timeframe(60))])
    now = time.time_ns()

    for start, end in ((None, None), (0, None), (-5, now), (now - HOUR, now - 1), (now, now + DAY)):
        connector.bars("EURUSD", Timeframe(7 * 86_400), start, end)
    connector.bars("EURUSD", Timeframe(60), now - HOUR, now)
    connector.fills(0)
    connector.find(tag(1), 0)
    connector.poll()

    dates = [args[place] for name, args, _ in calls if args for place in server.DATED.get(name, ())]
    assert len(dates) > 10
    assert {int} == {type(one) for one in dates}
    assert all(1 <= one < 2**31 for one in dates)


def test_hours_without_prices_are_left_out_and_are_no_lost_connection(make: Make) -> None:
    now = time.time_ns()
    shown = (now + parse_zone("ny+7").offset(now)) // SECOND // 60 % 1_440
    closed, opened = (shown - 60) % 1_440, (shown - 30) % 1_440
    times = [(0, closed), (opened, 1_440)] if closed < opened else [(opened, closed)]
    connector = make({"symbols": [STILL | {"sessions": {str(day): times for day in range(7)}}]})
    connector.connect()
    connector.subscribe([("EURUSD", Timeframe(60))])

    bars = connector.bars("EURUSD", Timeframe(60), now - 2 * HOUR, None)

    steps = {int(after - before) // 60 // SECOND for before, after in itertools.pairwise(bars.time)}
    assert {1, 31} == steps
    assert isinstance(connector.poll(), tuple)
    connector.ping()


def test_orders_and_executions_carry_the_servers_millisecond_in_utc(make: Make) -> None:
    connector = make({"symbols": [STILL], "server_zone": "ny+7"})
    connector.connect()
    before = time.time_ns()
    connector.submit(order(1))
    told = [*news(connector, Fill), *connector.find(tag(1), 0)]
    after = time.time_ns()

    (deal,) = [one for one in connector._call("history_deals_get", 1, 2**31 - 1).value if one.type < 2]
    (done,) = connector._call("history_orders_get", 1, 2**31 - 1).value
    new_york = datetime.now(ZoneInfo("America/New_York")).utcoffset() or timedelta()
    ahead = round(new_york.total_seconds()) * SECOND + 7 * HOUR
    assert {type(one): one.time for one in told} == {
        Fill: deal.time_msc * 1_000_000 - ahead,
        Order: done.time_done_msc * 1_000_000 - ahead,
    }
    assert all(before - SECOND <= one.time <= after for one in told)


# --- symbols and prices


def test_a_name_that_is_too_long_for_the_package_is_an_unknown_symbol(make: Make) -> None:
    connector = make()
    connector.connect()

    with pytest.raises(DataError, match="the broker has no symbol 'XXXX"):
        connector.quote("X" * 40)


@pytest.mark.parametrize(("call", "code"), [("copy_rates_from_pos", -4), ("copy_rates_range", -1)])
def test_history_that_is_still_being_fetched_is_waited_for(make: Make, call: str, code: int) -> None:
    connector = make({"faults": [{"kind": "code", "code": code, "calls": [call], "times": 2}]})
    connector.connect()
    start = None if call == "copy_rates_from_pos" else time.time_ns() - HOUR

    assert len(connector.bars("EURUSD", Timeframe(60), start, None)) > 50


def test_a_long_range_is_asked_for_in_pieces_and_never_more_than_the_terminal_has(
    make: Make, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE_BARS", 1_440)
    connector = make({"maxbars": 50})
    connector.connect()
    now = time.time_ns()
    connector.bars("EURUSD", Timeframe(60), now - 5 * DAY - HOUR, now)
    last = connector.bars("EURUSD", Timeframe(60), None, None)

    pages = [args[2:] for name, args, _ in calls if name == "copy_rates_range"][:6]
    assert [86_400 - 1] * 5 == [end - start for start, end in pages[:5]]
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(pages))
    assert 48 <= len(last) <= 49
    assert {49} == {args[3] for name, args, _ in calls if name == "copy_rates_from_pos"}


def test_prices_go_out_on_the_tick_size_and_terms_come_in_by_it(make: Make, calls: Calls) -> None:
    index = {
        "name": "ES", "currency_base": "", "currency_profit": "USD", "price": 5_000.0, "digits": 2, "trade_tick_size": 0.25,
        "trade_contract_size": 50.0, "volume_min": 0.5, "volume_step": 0.5, "volume_max": 20.0, "trade_stops_level": 40,
        "trade_freeze_level": 7, "swap_mode": 1, "swap_long": -2.5, "swap_short": 0.5, "swap_rollover3days": 5,
        "trade_mode": 1, "volatility": 0.0,
    }  # fmt: skip
    connector = make({"symbols": [index]}, symbols=("ES",))
    connector.connect()
    (terms,) = connector.instruments()
    connector.submit(order(1, symbol="ES", size=0.5, type=OrderType.LIMIT, limit=4_990.13, stop_loss=4_900.11))

    (form,) = sent(calls)
    assert (4_990.25, 4_900.0) == (form["price"], form["sl"])
    assert (0.25, 0.5, 0.5, 20.0, 50.0) == (
        terms.price_step, terms.size_step, terms.min_size, terms.max_size, terms.contract_size,
    )  # fmt: skip
    # What MetaTrader states in points of 0.01 is stated in price steps here, which are 25 times as large.
    assert (1.6, 0.28, -0.1, 0.02) == pytest.approx((terms.stops_level, terms.freeze_level, terms.swap_long, terms.swap_short))
    assert (TradeMode.LONG_ONLY, SwapMode.POINTS, "Fri") == (terms.trade_mode, terms.swap_mode, terms.triple_swap_day)
    assert "America/New_York+7" == terms.swap_zone


def test_what_the_server_has_frozen_is_a_refusal_of_its_own(make: Make) -> None:
    connector = make({"symbols": [STILL | {"trade_freeze_level": 50}]})
    connector.connect()
    ticket = connector.submit(order(1, type=OrderType.LIMIT, limit=1.0997))

    for attempt in (
        lambda: connector.cancel(ticket),
        lambda: connector.modify(ticket, order(1, type=OrderType.LIMIT, limit=1.09)),
    ):
        with pytest.raises(RejectedError, match="too near to its price") as refused:
            attempt()
        assert "frozen" == refused.value.code


# --- orders


def test_a_request_has_the_types_lengths_and_price_that_the_package_takes(make: Make, calls: Calls) -> None:
    connector = make({"symbols": [STILL]}, magic=2**20 - 1, deviation_points=7)
    connector.connect()
    connector.submit(order(1, Side.BUY, size=1, stop_loss=1, take_profit=1.2))
    connector.submit(order(2, Side.SELL, size=1, stop_loss=1.2, take_profit=1))

    floats = {"volume", "price", "sl", "tp"}
    for number, form in enumerate(sent(calls), 1):
        assert {float} == {type(form[key]) for key in floats}
        assert {int} == {type(value) for key, value in form.items() if key not in floats | {"symbol", "comment"}}
        assert (1.1001 if number == 1 else 1.1, 7) == (form["price"], form["deviation"])
        assert (tag(number), True) == (form["comment"], len(form["comment"]) <= 29)
        assert 0 < form["magic"] < 2**53
        assert form["magic"] >> 32 == 2**20 - 1
        assert {"position", "expiration", "stoplimit"}.isdisjoint(form)
    assert 2 == len(sent(calls))


def test_the_terminal_checks_every_order_and_what_it_refuses_is_not_sent(make: Make, calls: Calls) -> None:
    connector = make({"symbols": [STILL]})
    connector.connect()
    with pytest.raises(RejectedError) as refused:
        connector.submit(order(1, size=0.015))
    assert ("invalid_volume", []) == (refused.value.code, sent(calls))
    connector.submit(order(2))

    asked = [(name, args[0]) for name, args, _ in calls if name in ("order_check", "order_send")]
    assert ["order_check", "order_check", "order_send"] == [name for name, _ in asked]
    assert asked[1][1] == asked[2][1]


def test_a_success_that_names_no_order_is_looked_for(make: Make) -> None:
    connector = make({"faults": [{"kind": "lost_retcode", "code": 10008, "calls": ["order_send"]}]})
    connector.connect()

    with pytest.raises(AmbiguousError, match="names no order"):
        connector.submit(order(1))

    assert [OrderStatus.FILLED] == [one.status for one in connector.find(tag(1), 0)]


def test_what_trades_in_part_is_told_by_its_deals(make: Make) -> None:
    connector = make({"symbols": [STILL], "faults": [{"kind": "partial", "share": 0.4}]})
    connector.connect()
    connector.submit(order(1, size=0.5, time_in_force=TimeInForce.IOC))
    with pytest.raises(RejectedError):
        connector.submit(order(2, size=0.5, time_in_force=TimeInForce.FOK))

    (fill,) = news(connector, Fill)
    assert isinstance(fill, Fill)
    assert (0.2, tag(1)) == (fill.size, fill.order_id)
    (found,) = connector.find(tag(1), 0)
    assert (0.2, OrderStatus.CANCELLED) == (found.filled, found.status)
    assert [0.2] == [one.size for one in connector.positions()]


def test_a_price_that_has_run_away_by_more_than_the_budget_is_not_taken(make: Make) -> None:
    wild = STILL | {"volatility": 0.001}  # a hundred points from one price to the next
    connector = make({"symbols": [wild], "tick_seconds": 0.05, "history_days": 0.001}, slippage_points=1)
    connector.connect()
    connector.subscribe([("EURUSD", None)])
    connector.poll()
    time.sleep(0.3)

    def both_ways() -> None:
        for number, side in ((1, Side.BUY), (2, Side.SELL)):
            connector.submit(order(number, side))

    with pytest.raises(RejectedError, match="slippage_points is 1") as refused:
        both_ways()  # the price went one way or the other
    assert "slippage" == refused.value.code


def test_an_order_ends_at_its_time_on_the_servers_clock(make: Make, calls: Calls) -> None:
    connector = make({"symbols": [STILL]})
    connector.connect()
    end = (time.time_ns() // SECOND + 3_600) * SECOND
    connector.submit(order(1, type=OrderType.LIMIT, limit=1.0, time_in_force=TimeInForce.GTD, expires=end))

    (form,) = sent(calls)
    assert (2, connector.server_clock.to_server(end) // SECOND) == (form["type_time"], form["expiration"])
    assert form["expiration"] != end // SECOND
    assert [end] == [one.request.expires for one in connector.open_orders()]


def test_a_change_of_one_level_sends_both(make: Make, calls: Calls) -> None:
    connector = make({"symbols": [STILL]})
    connector.connect()
    ticket = connector.submit(order(1, stop_loss=1.0, take_profit=1.2))
    connector.modify(ticket, order(1, stop_loss=1.05, take_profit=1.2))
    connector.modify(ticket, order(1, stop_loss=1.05))

    assert [(1.05, 1.2), (1.05, 0.0)] == [(one["sl"], one["tp"]) for one in sent(calls)[1:]]
    assert all(one["action"] == 6 and one["position"] for one in sent(calls)[1:])


def test_an_opposite_order_turns_the_position_of_a_netting_account(make: Make) -> None:
    connector = make({"symbols": [STILL], "margin_mode": "netting"})
    connector.connect()
    connector.submit(order(1))
    connector.submit(order(2, Side.SELL, size=0.3))

    assert [(Side.BUY, 0.1), (Side.SELL, 0.3)] == [(one.side, one.size) for one in news(connector, Fill) if isinstance(one, Fill)]
    assert [-0.2] == [pytest.approx(one.size) for one in connector.positions()]


def test_a_ticket_is_closed_in_part_and_never_by_more_than_it_has(make: Make, calls: Calls) -> None:
    connector = make({"symbols": [STILL]})
    connector.connect()
    ticket = connector.submit(order(1, size=0.3))
    connector.submit(order(2, Side.SELL, size=0.1, reduce_only=True, position=ticket))
    assert [(0.2, (ticket,))] == [(pytest.approx(one.size), one.tickets) for one in connector.positions()]
    with pytest.raises(RejectedError) as refused:
        connector.submit(order(3, Side.SELL, size=0.5, reduce_only=True, position=ticket))

    assert "invalid_close_volume" == refused.value.code
    assert int(ticket) == sent(calls)[1]["position"]


def test_a_reduction_without_a_ticket_closes_the_only_position_and_never_opens_another(make: Make, calls: Calls) -> None:
    connector = make({"symbols": [STILL]})
    connector.connect()
    with pytest.raises(RejectedError) as nothing:
        connector.submit(order(1, Side.SELL, reduce_only=True))
    connector.submit(order(2))
    connector.submit(order(3, Side.SELL, reduce_only=True))
    assert [] == list(connector.positions())
    connector.submit(order(4))
    connector.submit(order(5))
    with pytest.raises(RejectedError) as several:
        connector.submit(order(6, Side.SELL, reduce_only=True))

    assert ("position_closed", "no_ticket") == (nothing.value.code, several.value.code)
    assert [0.1, 0.1] == [one.size for one in connector.positions()]


def test_two_positions_that_a_person_closes_by_one_another_are_two_fills_of_their_tickets(make: Make) -> None:
    connector = make({"symbols": [STILL]})
    connector.connect()
    long, short = connector.submit(order(1, size=0.3)), connector.submit(order(2, Side.SELL, size=0.1))
    news(connector)
    answer = by_hand(connector, action=10, position=int(long), position_by=int(short))

    told = [one for one in news(connector, Fill) if isinstance(one, Fill)]
    assert 10009 == answer.retcode
    assert {(Side.SELL, 0.1, long), (Side.BUY, 0.1, short)} == {(one.side, one.size, one.position) for one in told}
    assert [(0.2, (long,))] == [(pytest.approx(one.size), one.tickets) for one in connector.positions()]
    assert [] == news(connector)


def test_a_position_that_a_person_has_closed_is_told_and_cannot_be_closed_again(make: Make) -> None:
    connector = make({"symbols": [STILL]})
    connector.connect()
    ticket = connector.submit(order(1))
    news(connector)
    answer = by_hand(connector, action=1, symbol="EURUSD", volume=0.1, type=1, price=1.1, position=int(ticket), type_filling=0)

    (closed,) = news(connector, Fill)
    assert isinstance(closed, Fill)
    assert (Side.SELL, str(answer.order), ticket) == (closed.side, closed.order_id, closed.position)
    with pytest.raises(RejectedError, match="closed already") as refused:
        connector.submit(order(2, Side.SELL, reduce_only=True, position=ticket))
    assert "position_closed" == refused.value.code


def test_a_position_whose_ticket_has_changed_is_closed_by_the_new_one(
    make: Make, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = make({"symbols": [STILL]})
    connector.connect()
    ticket = connector.submit(order(1))
    call = TerminalClient.call

    def reopened(client: TerminalClient, name: str, *args: Any, seconds: float, **named: Any) -> Reply:
        """Answer as after a swap that closed every position and opened it again: the identifier stays, the ticket does not."""
        if args and isinstance(args[0], dict) and "position" in args[0]:
            args = (args[0] | {"position": args[0]["position"] - 5_000},)
        wanted = named.pop("ticket", None) if name == "positions_get" else None
        reply = call(client, name, *args, seconds=seconds, **named)
        if name != "positions_get":
            return reply
        held = tuple(msgspec.structs.replace(one, ticket=one.ticket + 5_000) for one in reply.value)
        return Reply(tuple(one for one in held if wanted in (None, one.ticket)), reply.code, reply.text)

    monkeypatch.setattr(TerminalClient, "call", reopened)

    assert [(ticket,)] == [one.tickets for one in connector.positions()]
    connector.submit(order(2, Side.SELL, reduce_only=True, position=ticket))
    assert [] == list(connector.positions())


def test_protection_of_a_position_is_named_and_a_stop_out_is_nobodys_order(make: Make, tmp_path: Path) -> None:
    book = str(tmp_path / "book.sqlite")
    first = make({"symbols": [STILL], "book": book, "balance": 1_200.0})
    first.connect()
    ticket = first.submit(order(1, size=1.0))  # margin 1,100
    first.disconnect()
    second = make({"symbols": [STILL], "book": book, "balance": 1_200.0, "leverage": 20})  # margin 5,500: level 22 %
    second.connect()
    (closed,) = second.fills(time.time_ns() - 5 * SECOND)[-1:]

    assert (Side.SELL, 1.0, ticket) == (closed.side, closed.size, closed.position)
    assert closed.order_id.isdecimal()  # the server's own order
    assert [] == list(second.positions())


def test_orders_and_fills_say_what_they_are_worth(make: Make) -> None:
    connector = make({"symbols": [STILL]})
    connector.connect()
    connector.submit(order(1, type=OrderType.LIMIT, limit=1.0))
    (waiting,) = connector.open_orders()

    assert isinstance(waiting, Order)
    assert (0.0, True) == (waiting.filled, math.isnan(waiting.average_price))
