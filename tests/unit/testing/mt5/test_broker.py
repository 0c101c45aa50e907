"""What the simulated terminal's broker does with orders, worked out by hand; clock and prices stand still in each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import herald.testing.mt5.terminal as mt5

NOON = 1_772_625_600.0  # Wednesday, 4 March 2026, noon UTC: 14:00 on the server's clock
SYMBOL = {"name": "EURUSD", "currency_base": "EUR", "price": 1.1, "volatility": 0.0, "spread": 10}  # 1.10000 / 1.10010
Configure = Callable[..., None]


@pytest.fixture
def terminal() -> Iterator[Configure]:
    def configure(symbol: dict[str, Any] | None = None, **options: Any) -> None:
        known = {"start": NOON, "time_scale": 1e-9, "commission": 0.0, "history_days": 0.01}
        mt5.configure(known | {"symbols": [SYMBOL | (symbol or {})]} | options)
        assert mt5.initialize()

    yield configure
    mt5.shutdown()


def deal(side: int = 0, volume: float = 1.0, **fields: Any) -> Any:
    request = {"action": 1, "symbol": "EURUSD", "type": side, "volume": volume, "price": 1.1001 if side == 0 else 1.1}
    return mt5.order_send(request | fields)


def pending(kind: int, price: float, **fields: Any) -> Any:
    return mt5.order_send(
        {"action": 5, "symbol": "EURUSD", "type": kind, "volume": 1.0, "price": price, "type_filling": 2} | fields
    )


def test_a_round_trip_costs_the_spread_and_the_commission(terminal: Configure) -> None:
    terminal(commission=3.5)
    opened = deal(0)
    deal(1, position=opened.order)

    # 10 points of 0.00001 on 100,000 units are 10 dollars; twice 3.50 besides.
    assert 100_000.0 - 10.0 - 7.0 == pytest.approx(mt5.account_info().balance)
    assert [(0, 0.0, -3.5), (1, -10.0, -3.5)] == [
        (one.entry, one.profit, one.commission) for one in mt5.history_deals_get(1, 2**31 - 1) if one.type < 2
    ]


def test_margin_is_the_value_through_the_leverage(terminal: Configure) -> None:
    terminal(leverage=50)
    deal(0, 2.0)

    # A long position is valued at the bid: 2 * 100,000 * 1.1 / 50.
    assert 4_400.0 == pytest.approx(mt5.account_info().margin)
    assert 2_200.2 == pytest.approx(mt5.order_calc_margin(0, "EURUSD", 1.0, 1.1001))
    assert 100.0 == pytest.approx(mt5.order_calc_profit(0, "EURUSD", 1.0, 1.1, 1.101))


@pytest.mark.parametrize(("weekday_days", "nights"), [(0, 3), (1, 1), (2, 1), (3, 0)])
def test_swap_is_paid_for_every_night_and_thrice_on_the_day_of_the_symbol(
    terminal: Configure, tmp_path: Path, weekday_days: int, nights: int
) -> None:
    book = str(tmp_path / "book.sqlite")
    begin = NOON + weekday_days * 86_400
    terminal(start=begin, book=book)
    deal(0)
    mt5.shutdown()
    mt5._state.broker.book.close()
    mt5._state.broker._lock.release()
    terminal(start=begin + 86_400, book=book)

    # -6.5 points of a dollar each; Wednesday's night counts for the weekend too, Saturday's for nothing.
    assert [-6.5 * nights] == [one.swap for one in mt5.positions_get()]


def test_the_server_is_two_hours_ahead_in_winter_and_three_in_summer(terminal: Configure) -> None:
    terminal()
    winter = mt5.symbol_info_tick("EURUSD").time
    terminal(start=NOON + 30 * 86_400)  # 3 April; New York changed on 8 March, Europe on the 29th
    summer = mt5.symbol_info_tick("EURUSD").time

    assert 2 * 3_600 == pytest.approx(winter - NOON, abs=2)
    assert 3 * 3_600 == pytest.approx(summer - NOON - 30 * 86_400, abs=2)


def test_an_opposite_deal_reduces_closes_and_turns_on_a_netting_account(terminal: Configure) -> None:
    terminal(margin_mode="netting")
    deal(0, 2.0)
    deal(1, 0.5)
    reduced = mt5.positions_get()
    deal(1, 2.0)
    turned = mt5.positions_get()

    assert [(0, 1.5)] == [(one.type, one.volume) for one in reduced]
    assert [(1, 0.5, 1.1)] == [(one.type, one.volume, one.price_open) for one in turned]
    assert [0, 1, 2] == [one.entry for one in mt5.history_deals_get(1, 2**31 - 1) if one.type < 2]


def test_an_opposite_deal_opens_another_position_on_a_hedging_account_and_both_close_one_another(terminal: Configure) -> None:
    terminal()
    one, other = deal(0, 2.0), deal(1, 0.5)
    answer = mt5.order_send({"action": 10, "position": one.order, "position_by": other.order})

    assert 10009 == answer.retcode
    assert [(0, 1.5)] == [(each.type, each.volume) for each in mt5.positions_get()]
    # Bought at 1.1001, closed at the other's 1.1: ten points on half a lot.
    assert 100_000.0 - 5.0 == pytest.approx(mt5.account_info().balance)
    assert [0, 0, 3, 3] == [each.entry for each in mt5.history_deals_get(1, 2**31 - 1) if each.type < 2]


@pytest.mark.parametrize(("filling", "retcode", "volume", "left"), [(0, 10006, 0.0, 0), (1, 10010, 0.4, 0), (2, 10010, 0.4, 1)])
def test_what_the_market_has_too_little_of_is_refused_cut_or_left_working(
    terminal: Configure, filling: int, retcode: int, volume: float, left: int
) -> None:
    terminal({"liquidity": 0.4, "trade_exemode": 3}, margin_mode="exchange")

    answer = deal(0, 1.0, type_filling=filling)

    assert (retcode, volume, left) == (answer.retcode, answer.volume, len(mt5.orders_get()))


@pytest.mark.parametrize(
    ("filling_mode", "filling", "retcode"), [(1, 0, 10009), (1, 1, 10030), (2, 0, 10030), (2, 1, 10009), (3, 2, 10030)]
)
def test_a_filling_policy_that_the_symbol_does_not_have_is_refused(
    terminal: Configure, filling_mode: int, filling: int, retcode: int
) -> None:
    terminal({"filling_mode": filling_mode})

    assert retcode == deal(type_filling=filling).retcode


def test_levels_and_prices_keep_their_distance(terminal: Configure) -> None:
    terminal({"trade_stops_level": 50})

    assert 10016 == deal(sl=1.0996).retcode  # 40 points below the bid
    assert 10009 == deal(sl=1.0995).retcode  # 50
    assert 10016 == deal(tp=1.1004).retcode
    assert 10015 == pending(2, 1.0997).retcode  # 40 points below the ask
    assert 10009 == pending(2, 1.0996).retcode


def test_what_is_frozen_cannot_be_changed_or_withdrawn(terminal: Configure) -> None:
    terminal({"trade_freeze_level": 50})
    near, far = pending(2, 1.0997), pending(2, 1.09)

    assert 10029 == mt5.order_send({"action": 8, "order": near.order}).retcode
    assert 10009 == mt5.order_send({"action": 8, "order": far.order}).retcode


def test_nothing_trades_outside_the_session(terminal: Configure) -> None:
    terminal({"sessions": {"3": [[0, 13 * 60]]}}, history_days=0.1)  # Wednesday until 13:00 of the server; it is 14:00

    assert 10018 == deal().retcode


@pytest.mark.parametrize(
    ("symbol", "fields", "retcode"),
    [
        ({}, {"volume": 0.015}, 10014),
        ({}, {"volume": 200.0}, 10014),
        ({"volume_limit": 0.5}, {"volume": 0.6}, 10034),
        ({}, {"volume": 99.0}, 10019),
        ({"trade_mode": 0}, {}, 10017),
        ({"trade_mode": 2}, {}, 10043),
        ({"trade_mode": 3}, {}, 10044),
        ({"trade_exemode": 1}, {"price": 1.2, "type_filling": 0}, 10004),
        ({}, {"position": 7}, 10036),
        ({}, {"type_time": 2, "expiration": 1}, 10022),
    ],
)
def test_every_refusal_has_its_code(terminal: Configure, symbol: dict[str, Any], fields: dict[str, Any], retcode: int) -> None:
    terminal(symbol, balance=10_000.0)

    assert retcode == deal(**fields).retcode
    assert () == mt5.positions_get()


def test_more_than_there_is_cannot_be_closed_and_the_oldest_goes_first_where_that_is_the_rule(terminal: Configure) -> None:
    terminal(fifo_close=True)
    first, second = deal(0), deal(0)

    assert 10038 == deal(1, 1.5, position=first.order).retcode
    assert 10045 == deal(1, 1.0, position=second.order).retcode
    assert 10009 == deal(1, 1.0, position=first.order).retcode


def test_the_worst_position_is_closed_at_the_stop_out(terminal: Configure, tmp_path: Path) -> None:
    book = str(tmp_path / "book.sqlite")
    terminal(book=book, balance=1_200.0)
    deal(0, 1.0)  # margin 1,100
    mt5.shutdown()
    mt5._state.broker.book.close()
    mt5._state.broker._lock.release()
    # The leverage falls: margin 5,500, level 22 % of it, below 50.
    terminal(book=book, balance=1_200.0, leverage=20)

    assert () == mt5.positions_get()
    assert 6 == [one for one in mt5.history_deals_get(1, 2**31 - 1) if one.type < 2][-1].reason


def test_comments_are_cut_or_replaced_where_the_broker_does_so(terminal: Configure) -> None:
    terminal(faults=[{"kind": "comment", "length": 4}])
    deal(comment="abcdefgh", magic=7)

    (held,) = mt5.positions_get()
    assert ("abcd", 7) == (held.comment, held.magic)


def test_history_that_is_late_shows_up_later(terminal: Configure) -> None:
    terminal(faults=[{"kind": "late_history", "seconds": 60.0}])
    deal()

    assert [] == [one for one in mt5.history_deals_get(1, 2**31 - 1) if one.type < 2]
    assert 1 == len(mt5.positions_get())


def test_a_fault_that_is_switched_on_again_hits_again(terminal: Configure, tmp_path: Path) -> None:
    control, fault = tmp_path / "faults.json", '[{"kind": "retcode", "code": 10018, "calls": ["order_send"], "times": 1}]'
    terminal(control=str(control))
    found = []
    for text in (fault, "[]", fault):
        control.write_text(text, encoding="utf-8")
        found.append((deal().retcode, deal().retcode))

    assert [(10018, 10009), (10009, 10009), (10018, 10009)] == found
