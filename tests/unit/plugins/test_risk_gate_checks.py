"""The checks of state, terms, repeats, margin and losses: at their limits, just past them, and where they must not speak."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from herald.clock import HOUR, MINUTE, SECOND, parse_time
from herald.contracts import Denial, RiskCheck, Standing
from herald.model import Fill, Instrument, Order, OrderRequest, OrderStatus, OrderType, Quote, Side, TimeInForce, Trade
from herald.plugins.risk import herald_risk_checks
from herald.testing import FakeRiskView, make_bars, make_services

COMPONENTS = {component.name: component for component in herald_risk_checks()}
NOW = parse_time("2024-01-02T12:00")  # a Tuesday
LIMIT, STOP = OrderType.LIMIT, OrderType.STOP


def build(name: str, **settings: Any) -> RiskCheck:
    component = COMPONENTS[name]
    return component.build(component.settings(**settings), make_services())


def request(
    side: Side = Side.BUY,
    size: float = 1.0,
    *,
    id: str = "trend-000009",
    strategy: str = "trend",
    symbol: str = "TEST",
    **terms: Any,
) -> OrderRequest:
    return OrderRequest(id, strategy, symbol, side, size, **terms)


def working(
    side: Side, size: float, *, id: str = "trend-000001", status: OrderStatus = OrderStatus.ACCEPTED, **terms: Any
) -> Order:
    return Order(request(side, size, id=id, **terms), status, 0)


def terms(**changes: Any) -> Instrument:
    return Instrument(symbol="TEST", quote="USD", price_step=0.01, size_step=0.01, min_size=0.01, **changes)


def passes(check: RiskCheck, asked: OrderRequest, **view: Any) -> bool:
    return check.check(asked, FakeRiskView(now=NOW, **view)) is None


def text(denial: Denial | None) -> str:
    assert denial is not None
    return denial.text


# --- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "entry", "exit"), [("ACTIVE", True, True), ("REDUCING", False, True), ("HALTED", False, False)]
)
def test_a_state_lets_pass(state: str, entry: bool, exit: bool) -> None:
    check, view = build("trading_state"), {"held": {("trend", "TEST"): 1.0}, "states": {"trend": state}}

    assert entry == passes(check, request(), **view)
    assert exit == passes(check, request(Side.SELL, 1.0), **view)


def test_an_unknown_order_blocks_its_book_or_the_whole_symbol() -> None:
    unknown = {"orders": [working(Side.BUY, 1.0, status=OrderStatus.UNKNOWN)]}

    assert not passes(build("ready"), request(), **unknown)
    assert passes(build("ready"), request(strategy="other"), **unknown)
    assert passes(build("ready"), request(symbol="ELSE"), **unknown)
    assert not passes(build("ready", unknown="symbol"), request(strategy="other"), **unknown)


@pytest.mark.parametrize(
    ("standing", "fine"),
    [
        (Standing(disk_free=1_000.0, clock_skew=2.0), True),
        (Standing(disk_free=999.0), False),
        (Standing(clock_skew=2.01), False),
        (Standing(disk_free=float("nan")), False),
        (Standing(clock_skew=float("nan")), False),
        (Standing(journal=False), False),
    ],
)
def test_standing_is_compared_with_its_limits(standing: Standing, fine: bool) -> None:
    assert fine == passes(build("standing", min_disk_bytes=1_000), request(), standing=standing)


def test_a_pin_of_its_own_is_compared_with_the_account() -> None:
    assert passes(build("mode_lock", account="fake", server="herald", real=False), request())
    assert not passes(build("mode_lock", account="other"), request())
    assert not passes(build("mode_lock", real=True), request())
    assert "account is 'fake', and the check is pinned to 'other'" in text(
        build("mode_lock", account="other").check(request(), FakeRiskView())
    )


# --- terms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"size": 0.0}, "is not a positive number"),
        ({"size": float("nan")}, "is not a positive number"),
        ({"size": 5.01}, "above the largest order, 5 lots"),
        ({"size": 0.005}, "below the smallest order, 0.01 lots"),
        ({"size": 0.015}, "no whole number of steps of 0.01 lots"),
        ({"type": LIMIT}, "a limit order has limit None and stop None"),
        ({"type": STOP, "stop": 1.0, "limit": 1.0}, "a stop order has limit 1.0 and stop 1.0"),
        ({"stop": 1.0, "stop_loss": 1.0}, "a market order has limit None and stop 1.0"),
        ({"type": LIMIT, "limit": float("inf")}, "limit inf of TEST is not a price"),
        ({"type": LIMIT, "limit": 99.005}, "limit 99.005 of TEST is no whole number of steps of 0.01"),
        ({"take_profit": -1.0}, "take_profit -1.0 of TEST is not a price"),
        ({"time_in_force": TimeInForce.GTD}, "works until nothing"),
        ({"time_in_force": TimeInForce.GTD, "expires": NOW}, "works until 2024-01-02T12:00:00Z, and now is 2024-01-02T12:00:00Z"),
    ],
)
def test_a_wrong_term_is_named(asked: dict[str, Any], words: str) -> None:
    denial = build("valid_terms").check(request(**asked), FakeRiskView(now=NOW, instruments=[terms(max_size=5.0)]))

    assert words in text(denial)


def test_the_rest_of_a_position_may_be_closed_however_small() -> None:
    view = {"held": {("trend", "TEST"): 0.005}, "instruments": [terms()]}
    small = Instrument(symbol="TEST", quote="USD", price_step=0.01, size_step=0.001, min_size=0.01)

    assert passes(build("valid_terms"), request(Side.SELL, 0.005), **{**view, "instruments": [small]})
    assert not passes(build("valid_terms"), request(Side.BUY, 0.005), **{**view, "instruments": [small]})


@pytest.mark.parametrize(
    ("asked", "fine"),
    [
        # bid 100.00, ask 100.10, ten steps of 0.01 at least
        (request(stop_loss=99.90), True),
        (request(stop_loss=99.91), False),
        (request(take_profit=100.10), True),
        (request(take_profit=100.09), False),
        (request(Side.SELL, stop_loss=100.20), True),
        (request(Side.SELL, stop_loss=100.19), False),
        (request(type=LIMIT, limit=100.00), True),
        (request(type=LIMIT, limit=100.01), False),
        (request(Side.SELL, type=LIMIT, limit=100.10), True),
        (request(Side.SELL, type=LIMIT, limit=100.09), False),
        (request(type=STOP, stop=100.20, stop_loss=100.10), True),
        (request(type=STOP, stop=100.20, stop_loss=100.11), False),
    ],
)
def test_levels_keep_their_distance_from_the_market_or_the_pending_price(asked: OrderRequest, fine: bool) -> None:
    near = [terms(stops_level=10)]

    assert fine == passes(build("valid_terms"), asked, instruments=near, quotes=[Quote("TEST", NOW, 100.0, 100.1)])


def test_an_order_near_the_market_is_frozen() -> None:
    frozen = [terms(freeze_level=10)]
    changed = request(id="trend-000001", type=LIMIT, limit=98.0)

    def fine(limit: float) -> bool:
        return passes(build("valid_terms"), changed, instruments=frozen, orders=[working(Side.BUY, 1.0, type=LIMIT, limit=limit)])

    assert [True, False] == [fine(99.89), fine(99.90)]


@pytest.mark.parametrize(
    ("mode", "answers"),
    [
        ("full", [True, True, True]),
        ("long_only", [True, False, True]),
        ("short_only", [False, True, True]),
        ("close_only", [False, False, True]),
        ("disabled", [False, False, False]),
    ],
)
def test_a_trade_mode_lets_pass(mode: str, answers: list[bool]) -> None:
    view = {"instruments": [terms(trade_mode=mode)], "held": {("trend", "TEST"): 1.0}}
    closing = request(Side.SELL, 1.0)

    asked = [request(), request(Side.SELL, 2.0), closing]
    assert answers == [passes(build("tradable"), one, **view) for one in asked]


@pytest.mark.parametrize(
    ("time", "fine"),
    [
        # 09:30-16:00 in New York is 14:30-21:00 UTC in winter, 13:30-20:00 in summer (from 2024-03-10 on)
        ("2024-03-08T14:29:59", False),
        ("2024-03-08T14:30", True),
        ("2024-03-08T21:00", False),
        ("2024-03-11T13:30", True),
        ("2024-03-11T13:29:59", False),
        ("2024-03-09T15:00", False),
    ],
)
def test_hours_follow_the_clocks_of_their_zone(time: str, fine: bool) -> None:
    shares = [terms(sessions=("Mon-Fri 09:30-16:00",), session_zone="America/New_York")]

    assert fine == (build("tradable").check(request(), FakeRiskView(now=time, instruments=shares)) is None)


def test_a_blackout_of_a_date_ends_when_it_says() -> None:
    check = build("tradable", blackout=["2024-03-08T08:25/2024-03-08T08:40"], zone="America/New_York")

    times = ["2024-03-08T13:24:59", "2024-03-08T13:25", "2024-03-08T13:39:59", "2024-03-08T13:40"]
    assert [True, False, False, True] == [check.check(request(), FakeRiskView(now=time)) is None for time in times]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("tradable", {"blackout": ["Mondays"]}, "is no weekly window"),
        ("tradable", {"blackout": ["2024-03-08T08:40/2024-03-08T08:25"]}, "ends before it begins"),
        ("tradable", {"blackout": ["2024-13-08/2024-03-08"]}, "is no window"),
        ("tradable", {"zone": "Mars/Olympus"}, "unknown time zone"),
        ("repeated_execution", {"since": "yesterday"}, "is no time; write 2024"),
        ("strategy_budget", {"strategies": {"trend": -1.0}}, "strategies.trend must be greater than 0"),
        ("self_cross", {"orders": "shout"}, "'allow', 'warn' or 'deny'"),
        ("order_to_fill_ratio", {"ratio": 0.5}, "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        COMPONENTS[name].settings(**settings)


@pytest.mark.parametrize(
    ("bid", "ask", "fine"), [(100.0, 101.0, True), (100.0, 101.01, False), (100.0, 99.99, False), (float("nan"), 1.0, False)]
)
def test_a_quote_that_cannot_be_is_refused(bid: float, ask: float, fine: bool) -> None:
    assert fine == passes(build("stale_price"), request(), quotes=[Quote("TEST", NOW, bid, ask)])


def test_a_quote_is_stale_after_seconds_and_a_bar_when_the_next_is_overdue() -> None:
    check = build("stale_price")
    quote = [Quote("TEST", NOW, 100.0, 100.1)]
    bars = [make_bars([100.0])]

    assert passes(check, request(), quotes=quote, price_times={"TEST": NOW - 5 * SECOND})
    assert not passes(check, request(), quotes=quote, price_times={"TEST": NOW - 5 * SECOND - 1})
    assert passes(check, request(), series=bars, price_times={"TEST": NOW - HOUR - 5 * SECOND})
    assert not passes(check, request(), series=bars, price_times={"TEST": NOW - HOUR - 5 * SECOND - 1})
    assert not passes(check, request(), prices={})


def test_a_reduce_only_request_counts_a_closing_order_on_its_way_but_no_resting_exit() -> None:
    check, leave = build("reduce_only"), request(Side.SELL, 1.0, reduce_only=True)
    held = {("trend", "TEST"): 1.0}

    assert passes(check, leave, held=held)
    assert passes(check, leave, held=held, orders=[working(Side.SELL, 1.0, type=LIMIT, limit=120.0)])
    assert not passes(check, leave, held=held, orders=[working(Side.SELL, 0.5)])
    assert not passes(check, request(Side.BUY, 1.0, reduce_only=True), held=held)
    assert passes(check, request(Side.BUY, 0.5, reduce_only=True), held={("trend", "TEST"): -0.5})


# --- repeats --------------------------------------------------------------------------------------


def sent(*asked: tuple[int, OrderRequest]) -> dict[str, Any]:
    return {"requests": list(asked), "sent": [time for time, _ in asked]}


def test_a_duplicate_is_one_within_the_window_only() -> None:
    check = build("duplicate_order")
    first = request(id="trend-000001")

    assert not passes(check, request(), **sent((NOW - 2 * SECOND + 1, first)))
    assert passes(build("duplicate_order"), request(), **sent((NOW - 2 * SECOND, first)))


@pytest.mark.parametrize(
    "other",
    [request(Side.SELL), request(size=1.1), request(symbol="ELSE"), request(strategy="other"), request(type=LIMIT, limit=9.0)],
)
def test_other_terms_are_no_duplicate(other: OrderRequest) -> None:
    assert passes(build("duplicate_order"), other, **sent((NOW, request(id="trend-000001"))))


def test_an_id_is_used_once_unless_its_order_is_changed() -> None:
    old = sent((1, request(id="trend-000009", size=5.0)))

    assert not passes(build("duplicate_order"), request(), **old)
    assert passes(build("duplicate_order"), request(), **old, orders=[working(Side.BUY, 5.0, id="trend-000009")])


def executed(times: list[int], strategy: str = "trend", symbol: str = "TEST", order: str = "") -> list[Fill]:
    return [
        Fill(f"{strategy}{symbol}{n}", order or f"{strategy}-{n:06d}", symbol, Side.BUY, 0.1, 100.0, 0.0, "USD", time)
        for n, time in enumerate(times)
    ]


def test_executions_disable_their_strategy_for_ever_and_no_other() -> None:
    check = build("repeated_execution", executions=3, seconds=10)
    burst = executed([1 * SECOND, 2 * SECOND, 10 * SECOND, 5_000 * SECOND])

    assert not passes(check, request(), fills=burst)
    assert passes(check, request(strategy="tren"), fills=burst)
    assert "3 executions in 10 s at 1970-01-01T00:00:10Z" in text(check.check(request(), FakeRiskView(fills=burst)))


def test_executions_just_apart_or_in_other_symbols_or_of_one_order_do_not_disable() -> None:
    check = build("repeated_execution", executions=3, seconds=10)
    times = [1 * SECOND, 2 * SECOND, 11 * SECOND]

    assert passes(check, request(), fills=executed(times))
    assert passes(check, request(), fills=[*executed([1, 2]), *executed([3], symbol="ELSE")])
    assert passes(check, request(), fills=executed([1, 2, 3], order="trend-000001"))


def test_a_person_enables_a_strategy_by_writing_since() -> None:
    burst = executed([NOW - 3, NOW - 2, NOW - 1])

    assert not passes(build("repeated_execution", executions=3, since="2024-01-02T11:59"), request(), fills=burst)
    assert passes(build("repeated_execution", executions=3, since="2024-01-02T12:00Z"), request(), fills=burst)


def test_a_person_enables_a_strategy_by_resuming_it() -> None:
    check = build("repeated_execution", executions=3)
    burst = executed([NOW - 30, NOW - 20, NOW - 10])

    def standing(**touched: int) -> Standing:
        return Standing(touched=touched)

    assert not passes(check, request(), fills=burst)
    assert passes(check, request(), fills=burst, standing=standing(trend=NOW - 30))
    assert not passes(check, request(), fills=burst, standing=standing(trend=NOW - 31))
    assert not passes(check, request(), fills=burst, standing=standing(other=NOW))
    assert passes(check, request(), fills=[*burst, *executed([NOW - 5, NOW - 4])], standing=standing(trend=NOW - 10))
    assert not passes(check, request(), fills=[*burst, *executed([NOW - 5, NOW - 4, NOW - 3])], standing=standing(trend=NOW - 10))


def test_a_check_that_grew_with_a_run_answers_like_a_fresh_one() -> None:
    grown = build("repeated_execution", executions=3, seconds=10)
    fills = executed([5 * SECOND, 1 * SECOND, 30 * SECOND, 30 * SECOND, 35 * SECOND, 29 * SECOND, 80 * SECOND])

    for count in range(len(fills) + 1):
        view = FakeRiskView(fills=fills[:count])
        fresh = build("repeated_execution", executions=3, seconds=10)
        assert (fresh.check(request(), view) is None) == (grown.check(request(), view) is None), count


def test_a_check_that_meets_another_past_forgets_the_first() -> None:
    check = build("repeated_execution", executions=2, seconds=10)

    assert not passes(check, request(), fills=executed([1, 2]))
    assert passes(check, request(), fills=executed([7]))
    assert passes(check, request())
    assert not passes(check, request(), fills=executed([1, 2]))


def test_orders_of_a_tag_are_children_of_one_parent_for_a_while() -> None:
    check = build("max_orders_per_parent", per_tag=2, tag_seconds=60)
    children = sent(*((NOW - age, request(id=f"trend-00000{n}", tag="big")) for n, age in enumerate([MINUTE, 2, 1])))

    assert not passes(check, request(tag="big"), **children)
    assert passes(check, request(tag="other"), **children)
    assert passes(check, request(tag="big", symbol="ELSE"), **children)
    assert passes(build("max_orders_per_parent", per_tag=3, tag_seconds=60), request(tag="big"), **children)


def test_orders_and_fills_are_compared_within_the_window() -> None:
    check = build("order_to_fill_ratio", ratio=2, min_orders=4, window_seconds=60)
    orders = {"sent": [NOW - MINUTE, *[NOW - 1] * 4]}

    assert not passes(check, request(), **orders, fills=executed([NOW - MINUTE, NOW - 1, NOW - 1]))
    assert passes(check, request(), **orders, fills=executed([NOW - 1] * 3))
    assert passes(build("order_to_fill_ratio", ratio=2, min_orders=5, window_seconds=60), request(), **orders)


# --- losses ---------------------------------------------------------------------------------------


def closed(net: float, time: int, strategy: str = "trend") -> Trade:
    return Trade(strategy, "TEST", Side.BUY, 1.0, 0, 100.0, time, 99.0, net, 0.0, "a", "b")


def test_losses_in_a_row_pause_their_strategy() -> None:
    check = build("consecutive_losses", limit=2, pause_seconds=60)
    last = NOW - MINUTE + 1

    assert not passes(check, request(), trades=[closed(-1.0, 1), closed(-1.0, last)])
    assert passes(check, request(), trades=[closed(-1.0, 1), closed(-1.0, last - 1)])
    assert passes(check, request(), trades=[closed(-1.0, 1), closed(0.0, 2), closed(-1.0, last)])
    assert passes(check, request(strategy="other"), trades=[closed(-1.0, 1), closed(-1.0, last)])


def test_a_budget_counts_what_is_closed_and_what_is_open() -> None:
    trades = [closed(-30.0, 1), closed(-500.0, 1, "other")]

    def fine(amount: float, price: float, **settings: Any) -> bool:
        view = FakeRiskView(now=NOW, trades=trades, held={("trend", "TEST"): 10.0}, prices={"TEST": 100.0})
        position = view.position("trend", "TEST")
        view.prices["TEST"] = price
        view.positions = lambda: [("trend", position)]  # type: ignore[method-assign]
        return build("strategy_budget", amount=amount, **settings).check(request(), view) is None

    assert [True, False] == [fine(50.01, 98.0), fine(50.0, 98.0)]  # 30 closed, 20 open
    assert [True, False] == [fine(20.01, 98.0, period="day"), fine(20.0, 98.0, period="day")]
    assert [False, True] == [fine(1e9, 98.0, strategies={"trend": 50.0}), fine(1.0, 98.0, strategies={"trend": 51.0})]


# --- margin, credit, crossing ---------------------------------------------------------------------


def test_free_margin_counts_what_an_order_adds_and_what_works() -> None:
    # 10,000 free, leverage 10: 10 a lot at 100
    check = build("free_margin")
    view = {"leverage": 10.0, "orders": [working(Side.BUY, 400.0, type=LIMIT, limit=90.0)], "held": {("trend", "TEST"): -100.0}}

    assert passes(check, request(Side.SELL, 600.0), **view)
    assert not passes(check, request(Side.SELL, 601.0), **view)
    assert passes(check, request(Side.BUY, 800.0), **view)  # it closes 100 and opens 700, 600 more than were held
    assert not passes(check, request(Side.BUY, 801.0), **view)


def test_free_margin_uses_a_fixed_margin_of_the_instrument() -> None:
    fixed = {"instruments": [terms(margin=1_000.0)]}

    assert passes(build("free_margin", fraction=0.5), request(size=5.0), **fixed)
    assert not passes(build("free_margin", amount=5_001.0), request(size=5.0), **fixed)


def test_working_notional_is_limited_by_what_the_account_carries() -> None:
    view = {"equity": 100.0, "leverage": 10.0}

    assert passes(build("working_notional"), request(size=10.0), **view)
    assert not passes(build("working_notional"), request(size=10.01), **view)
    assert not passes(build("working_notional", fraction=5.0), request(size=5.01), **view)
    assert not passes(build("working_notional"), request(size=1.0), prices={})


def test_net_limits_set_longs_off_against_shorts() -> None:
    view = {"held": {("a", "TEST"): 5.0, ("b", "TEST"): -4.0}}

    assert passes(build("max_position", symbol_net=2.0), request(), **view)
    assert not passes(build("max_position", symbol_net=2.0), request(size=1.1), **view)
    assert passes(build("max_position", symbol_gross=10.0), request(), **view)
    assert not passes(build("max_position", symbol_gross=10.0), request(size=1.1), **view)
    assert passes(build("max_exposure", net_amount=200.0), request(), **view)
    assert not passes(build("max_exposure", net_amount=200.0), request(size=1.1), **view)


def test_entries_against_another_strategy_may_be_refused() -> None:
    check = build("self_cross", orders="allow", positions="deny")

    assert not passes(check, request(), held={("other", "TEST"): -1.0})
    assert passes(check, request(), held={("trend", "TEST"): -1.0, ("other", "TEST"): 1.0, ("x", "ELSE"): -1.0})


def test_orders_that_do_not_meet_do_not_cross() -> None:
    check = build("self_cross", orders="deny")
    above = {"orders": [working(Side.SELL, 1.0, type=LIMIT, limit=101.0)]}

    assert passes(check, request(), **above)
    assert passes(check, request(type=STOP, stop=101.0), **above)
    assert passes(check, request(Side.SELL), **above)
    assert not passes(check, request(), **above, quotes=[Quote("TEST", NOW, 100.0, 101.0)])


# --- the collar -----------------------------------------------------------------------------------


def test_a_collar_of_true_ranges() -> None:
    # ranges 4 and 6: the second bar reaches from the close before it, 104, down to 98; their mean is 5
    bars = make_bars([(100, 100, 100, 100), (101, 104, 100, 104), (100, 100, 98, 100)])
    check = build("price_collar", atr=2.0, atr_bars=2)

    assert passes(check, request(type=LIMIT, limit=90.0), series=[bars])
    assert not passes(check, request(type=LIMIT, limit=89.99), series=[bars])
    assert not passes(check, request(type=LIMIT, limit=100.0), series=[bars[1:]])
    assert passes(check, request())


def test_entries_wait_after_a_large_move_and_exits_do_not() -> None:
    bars = {"series": [make_bars([100.0, 100.0, 103.0])], "prices": {"TEST": 103.0}}

    assert passes(build("price_collar", move_fraction=0.03, move_bars=2), request(), **bars)
    check = build("price_collar", move_fraction=0.029, move_bars=2)
    assert not passes(check, request(), **bars)
    assert passes(check, request(Side.SELL), **bars, held={("trend", "TEST"): 1.0})


def test_orders_a_second_and_a_day_are_counted_too() -> None:
    check = build("max_orders_per_minute", limit=100, per_second=2, per_day=4)

    assert passes(check, request(), sent=[NOW - SECOND, NOW])
    assert not passes(check, request(), sent=[NOW - SECOND + 1, NOW])
    assert not passes(check, request(), sent=[NOW - 24 * HOUR + 1, NOW - HOUR, NOW - HOUR, NOW - HOUR])


def test_changes_and_withdrawals_count_as_messages_and_not_as_orders() -> None:
    check = build("max_orders_per_minute", limit=3, messages_per_second=3, messages_per_minute=5, messages_per_day=6)

    assert passes(check, request(), sent=[NOW, NOW], changed=[NOW - SECOND, NOW - SECOND])
    assert not passes(check, request(), sent=[NOW], changed=[NOW - SECOND + 1, NOW])
    assert not passes(check, request(), sent=[NOW], changed=[NOW - MINUTE + 1] * 4)
    assert passes(check, request(), sent=[NOW], changed=[NOW - MINUTE] * 4)
    assert not passes(check, request(), sent=[NOW], changed=[NOW - 24 * HOUR + 1] * 5)
    denial = check.check(request(), FakeRiskView(now=NOW, changed=[NOW] * 3))
    assert "3 orders, changes and withdrawals went out in the last 1 s; the limit is 3" == text(denial)


def test_messages_and_fills_are_compared_where_that_is_asked_for() -> None:
    check = build("order_to_fill_ratio", ratio=100, message_ratio=3, min_orders=4, window_seconds=60)

    assert not passes(check, request(), sent=[NOW - 1] * 2, changed=[NOW - 1] * 4, fills=executed([NOW - 1] * 2))
    assert passes(check, request(), sent=[NOW - 1] * 2, changed=[NOW - 1] * 3, fills=executed([NOW - 1] * 2))
    assert passes(check, request(), sent=[NOW - 1], changed=[NOW - 1] * 2)
    assert passes(build("order_to_fill_ratio", ratio=100), request(), sent=[NOW - 1], changed=[NOW - 1] * 900)


def test_a_limit_of_messages_larger_than_what_is_known_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 50000"):
        build("max_orders_per_minute", limit=1, messages_per_day=50_001)
