"""The edges of the rules of docs/fill-rules.md, derived by hand: what only touches, what is exactly enough, and who listens.

A plain market order of a strategy that hears no orders is filled on a shorter way than the orders of one that does; what both
must agree on is asked of both (`quiet`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from herald.clock import HOUR, SimClock
from herald.contracts import Context, Services, Strategy
from herald.errors import DataError
from herald.model import Bar, BarSeries, Instrument, Order, TimeInForce
from herald.results import RunResult
from herald.runtime import StrategySetup, simulate
from herald.simulator.broker import FillRules, Intrabar, Simulator
from herald.simulator.costs import Costs

from .conftest import HOURLY, Action, Row, Runner, deals, instrument, script, series, states

FLAT = (10.0, 10.0, 10.0, 10.0)
HUNDRED = (100.0, 100.0, 100.0, 100.0)
WORSE, BETTER, OHLC, NEAREST = (FillRules(way) for way in Intrabar)


class Quiet(Strategy[Mapping[int, Action]]):
    """Calls what the settings hold for the number of the bar of its first symbol, and listens to nothing."""

    def on_start(self, ctx: Context) -> None:
        self.count = -1

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if bar.symbol == "X":
            self.count += 1
            action = self.settings.get(self.count)
            if action is not None:
                action(ctx)


class Attentive(Quiet):
    """The same, and hears of its orders."""

    def on_order(self, order: Order, ctx: Context) -> None:
        pass


def play(quiet: bool, actions: Mapping[int, Action], *data: BarSeries, **options: Any) -> RunResult:
    """Run the actions over series, the first of which is X's; *terms* are further instruments."""
    terms: dict[str, Instrument] = {"X": instrument(), "Y": instrument("Y")} | options.pop("terms", {})
    names = tuple(one.symbol for one in data if one.symbol in {"X", "Y"})
    strategy = (Quiet if quiet else Attentive)(actions, Services("s", SimClock(), None))  # type: ignore[arg-type]
    options.setdefault("on_stop", "leave")
    return simulate([StrategySetup("s", strategy, names, (HOURLY,))], list(data), terms, **options)


both = pytest.mark.parametrize("quiet", [True, False])


# --- whoever listens ------------------------------------------------------------------------------


@both
def test_c1_c3_c4_plain_orders_open_turn_and_close_at_the_same_cost(quiet: bool) -> None:
    data = series([FLAT, (11, 13, 9, 12), (12, 13, 11, 12), (11, 11, 11, 11)])
    actions: dict[int, Action] = {0: lambda c: c.target("X", 2), 1: lambda c: c.target("X", -3), 2: lambda c: c.target("X", 0)}
    costs = Costs(spread_points=20, slippage_points=3, commission_per_lot=2)

    result = play(quiet, actions, data, costs=costs)

    # Bought at 11 + 0.20 + 0.03, sold at 12 - 0.03, bought back at 11 + 0.20 + 0.03; 2 a lot.
    assert [("s-000001", 1, 2.0, 11.23), ("s-000002", -1, 5.0, 11.97), ("s-000003", 1, 3.0, 11.23)] == deals(result)
    assert [4.0, 10.0, 6.0] == [fill.fee for fill in result.fills]
    assert ["1", "2", "3"] == [fill.id for fill in result.fills]
    assert [HOUR, 2 * HOUR, 3 * HOUR] == [fill.time for fill in result.fills]
    assert pytest.approx(10_000 + 2 * 0.74 + 3 * 0.74 - 20) == result.account["balance"]


@both
def test_c1_price_of_a_buyer_has_no_dust_of_the_addition(quiet: bool) -> None:
    data = series([FLAT, (10.1, 10.1, 10.1, 10.1)])

    result = play(quiet, {0: lambda ctx: ctx.target("X", 1)}, data, costs=Costs(spread_points=20))

    assert 10.1 + 0.2 != 10.3
    assert 10.3 == result.fills[0].price


@both
def test_c4_fraction_of_a_notional_in_another_currency(quiet: bool) -> None:
    terms = {"X": instrument(quote="JPY"), "USDJPY": instrument("USDJPY", base="USD", quote="JPY")}
    data = [series([HUNDRED, HUNDRED]), series([(50.0, 50.0, 50.0, 50.0)] * 2, "USDJPY")]

    result = play(quiet, {0: lambda ctx: ctx.target("X", 3)}, *data, terms=terms, costs=Costs(commission_fraction=0.01))

    # 3 units at 100 yen are 6 dollars.
    assert pytest.approx(0.06) == result.fills[0].fee


@both
def test_the_shorter_way_is_the_one_that_is_asked(quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, the tests of both ways could ask one way twice."""
    taken: list[str] = []
    real = Simulator.straight
    monkeypatch.setattr(
        Simulator, "straight", lambda self, request, *rest: (taken.append(request.id), real(self, request, *rest))
    )

    play(quiet, {0: lambda ctx: ctx.target("X", 1)}, series([FLAT, FLAT]))

    assert (["s-000001"] if quiet else []) == taken


def test_c3_unknown_volume_is_fine_where_no_cost_asks_for_it(run: Runner) -> None:
    rows = [FLAT, (*FLAT, math.nan)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1)}, costs=Costs(slippage_points=1))

    assert [10.01] == [fill.price for fill in result.fills]
    with pytest.raises(DataError, match="volume"):
        run(rows, {}, costs=Costs(slippage_impact=0.1))


@pytest.mark.parametrize(
    ("volume", "share"),
    [(100.0, 0.2), (20.0, 1.0), (10.0, 1.0), (0.0, 1.0)],  # 2 lots of 10 units; never more than all of it
)
def test_c3_impact_goes_by_the_share_of_the_volume_in_units(run: Runner, volume: float, share: float) -> None:
    rows = [FLAT, (*FLAT, volume)]

    result = run(
        rows, {0: lambda ctx: ctx.buy("X", 2)}, costs=Costs(slippage_impact=0.1), instrument=instrument(contract_size=10)
    )

    assert pytest.approx(10 + 10 * 0.1 * share**2) == result.fills[0].price


# --- C6: exactly enough, and a hundredth of a lot more --------------------------------------------


@both
@pytest.mark.parametrize(("cash", "status"), [(1001.0, "filled"), (1000.99, "rejected")])
def test_c6_commission_is_paid_before_the_margin(quiet: bool, cash: float, status: str) -> None:
    costs = Costs(commission_per_lot=0.1)

    result = play(quiet, {0: lambda ctx: ctx.target("X", 10)}, series([HUNDRED, HUNDRED]), cash=cash, leverage=1.0, costs=costs)

    assert {"s-000001": status} == states(result)


@both
@pytest.mark.parametrize(
    ("price", "more", "status"),
    [
        # 1,000 of cash, 5 held at 100. At 200 the equity is 1,500 and 500 are bound; at 50 it is 750.
        (200.0, 5.0, "filled"),
        (200.0, 5.01, "rejected"),
        (50.0, 5.0, "filled"),
        (50.0, 5.01, "rejected"),
    ],
)
def test_c6_adding_counts_the_open_profit_and_the_entry_prices(quiet: bool, price: float, more: float, status: str) -> None:
    data = series([HUNDRED, HUNDRED, (price, price, price, price)])
    actions: dict[int, Action] = {0: lambda ctx: ctx.target("X", 5), 1: lambda ctx: ctx.target("X", 5 + more)}

    result = play(quiet, actions, data, cash=1000.0, leverage=1.0)

    assert status == states(result)["s-000002"]


@both
@pytest.mark.parametrize(("more", "status"), [(50.0, "filled"), (50.1, "rejected")])
def test_c6_profit_and_margin_are_those_of_the_units(quiet: bool, more: float, status: str) -> None:
    # As above at 200, with ten lots where there was one unit.
    data = series([HUNDRED, HUNDRED, (200.0, 200.0, 200.0, 200.0)])
    actions: dict[int, Action] = {0: lambda ctx: ctx.target("X", 50), 1: lambda ctx: ctx.target("X", 50 + more)}

    result = play(quiet, actions, data, terms={"X": instrument(contract_size=0.1)}, cash=1000.0, leverage=1.0)

    assert status == states(result)["s-000002"]


@both
@pytest.mark.parametrize(("sold", "status"), [(12.5, "filled"), (12.51, "rejected"), (5.0, "filled")])
def test_c6_turning_needs_the_margin_of_what_is_left_at_its_own_price(quiet: bool, sold: float, status: str) -> None:
    # 5 held at 100 and worth 200: the equity is 1,500, enough for 7.5 sold short at 200.
    data = series([HUNDRED, HUNDRED, (200.0, 200.0, 200.0, 200.0)])
    actions: dict[int, Action] = {0: lambda ctx: ctx.target("X", 5), 1: lambda ctx: ctx.target("X", 5 - sold)}

    result = play(quiet, actions, data, cash=1000.0, leverage=1.0)

    assert status == states(result)["s-000002"]


@both
def test_c6_position_can_be_closed_when_the_account_owes_money(quiet: bool) -> None:
    data = series([HUNDRED, HUNDRED, (40.0, 40.0, 40.0, 40.0)])
    actions: dict[int, Action] = {0: lambda ctx: ctx.target("X", 20), 1: lambda ctx: ctx.target("X", 0)}

    result = play(quiet, actions, data, cash=1000.0, leverage=2.0)

    # 20 lost 60 each: 200 more than there was.
    assert -200.0 == result.account["balance"]
    assert () == result.positions


@both
@pytest.mark.parametrize(
    ("price", "size", "status"),
    [
        # 1,000 of cash, 5 X held at 100 bind 500. What X is worth now counts, what it was bought at binds.
        (100.0, 5.0, "filled"),
        (100.0, 5.01, "rejected"),
        (200.0, 10.0, "filled"),
        (200.0, 10.01, "rejected"),
        (50.0, 2.5, "filled"),
        (50.0, 2.51, "rejected"),
    ],
)
def test_c6_other_symbols_bind_margin_and_lend_their_profit(quiet: bool, price: float, size: float, status: str) -> None:
    held = series([HUNDRED, (100.0, max(price, 100.0), min(price, 100.0), price), (price, price, price, price)])
    data = [held, series([HUNDRED] * 3, "Y")]
    actions: dict[int, Action] = {0: lambda ctx: ctx.target("X", 5), 1: lambda ctx: ctx.target("Y", size)}

    result = play(quiet, actions, *data, cash=1000.0, leverage=1.0)

    assert status == states(result)["s-000002"]


@both
@pytest.mark.parametrize(
    ("first", "more", "last"), [(10.0, None, "filled"), (10.01, None, "rejected"), (5.0, 5.0, "filled"), (5.0, 5.01, "rejected")]
)
def test_c6_margin_and_profit_in_another_currency(quiet: bool, first: float, more: float | None, last: str) -> None:
    terms = {"X": instrument(quote="JPY"), "USDJPY": instrument("USDJPY", base="USD", quote="JPY")}
    yen: Sequence[Row] = [(1e4, 1e4, 1e4, 1e4)] * 2 + [(2e4, 2e4, 2e4, 2e4)]
    data = [series(yen), series([HUNDRED] * 3, "USDJPY")]
    actions: dict[int, Action] = {0: lambda ctx: ctx.target("X", first)}
    if more is not None:
        actions[1] = lambda ctx: ctx.target("X", first + more)

    result = play(quiet, actions, *data, terms=terms, cash=1000.0, leverage=1.0)

    # 10,000 yen are 100 dollars. After the price has doubled, 5 held are worth 500 dollars more, and one costs 200.
    assert last == str(result.orders[-1].status)


# --- prices that only touch -----------------------------------------------------------------------


@pytest.mark.parametrize("rules", [WORSE, BETTER, OHLC, NEAREST])
@pytest.mark.parametrize(("side", "stop"), [("buy", 12.0), ("sell", 8.0)])
def test_f5_stop_is_reached_by_a_bar_that_only_touches_it(run: Runner, rules: FillRules, side: str, stop: float) -> None:
    result = run([FLAT, (10, 12, 8, 10)], {0: lambda ctx: getattr(ctx, side)("X", 1, stop=stop)}, rules=rules)

    assert [stop] == [fill.price for fill in result.fills]


@pytest.mark.parametrize("rules", [WORSE, OHLC])
@pytest.mark.parametrize(
    ("side", "terms", "opening"),
    [
        ("buy", {"stop": 12.0}, 12.0),
        ("sell", {"stop": 8.0}, 8.0),
        ("buy", {"limit": 9.0}, 9.0),
        ("sell", {"limit": 11.0}, 11.0),
    ],
)
def test_f3_f4_open_at_the_level_fills_when_the_bar_begins(
    run: Runner, rules: FillRules, side: str, terms: dict[str, float], opening: float
) -> None:
    rows = [FLAT, (opening, opening, opening, opening)]

    result = run(rows, {0: lambda ctx: getattr(ctx, side)("X", 1, **terms)}, rules=rules)

    assert [(opening, HOUR)] == [(fill.price, fill.time) for fill in result.fills]


def test_f8_close_exactly_at_the_target_was_reached_last(run: Runner) -> None:
    # Bought by the limit at 9; whether 11 was there before is unknown, but the bar ends on it.
    rows = [FLAT, (10, 11, 8.5, 11)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, limit=9, take_profit=11)}, rules=WORSE)

    assert [9.0, 11.0] == [fill.price for fill in result.fills]


def test_f8_close_exactly_at_the_stop_loss_was_reached_last(run: Runner) -> None:
    # Bought by the stop at 11; whether 9 was there before is unknown and would be worse, but the bar ends on it.
    rows = [FLAT, (10, 11.5, 9, 9)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, stop=11, stop_loss=9)}, rules=BETTER)

    assert [11.0, 9.0] == [fill.price for fill in result.fills]


def test_f8_close_exactly_at_the_levels_of_a_short_was_reached_last(run: Runner) -> None:
    target = run([FLAT, (10, 11.5, 9, 9)], {0: lambda ctx: ctx.sell("X", 1, limit=11, take_profit=9)}, rules=WORSE)
    stop = run([FLAT, (10, 11, 8.5, 11)], {0: lambda ctx: ctx.sell("X", 1, stop=9, stop_loss=11)}, rules=BETTER)

    assert [11.0, 9.0] == [fill.price for fill in target.fills]
    assert [9.0, 11.0] == [fill.price for fill in stop.fills]


def test_f8_close_at_the_levels_of_a_short_is_that_of_the_ask(run: Runner) -> None:
    costs = Costs(spread_points=50)
    # The bid of 8.6 that ends the bar is an ask of 9.1, so the target of 9 may have been there before the entry only.
    target = run(
        [FLAT, (10, 11.5, 8.5, 8.6)], {0: lambda ctx: ctx.sell("X", 1, limit=11, take_profit=9)}, rules=WORSE, costs=costs
    )
    # The bid of 10.5 that ends the bar is an ask of 11: the stop loss was reached last.
    stop = run([FLAT, (10, 10.6, 8.5, 10.5)], {0: lambda ctx: ctx.sell("X", 1, stop=9, stop_loss=11)}, rules=BETTER, costs=costs)

    assert [11.0] == [fill.price for fill in target.fills]
    assert [9.0, 11.0] == [fill.price for fill in stop.fills]


@pytest.mark.parametrize(("rules", "exit_price"), [(WORSE, 8.0), (BETTER, 11.0)])
def test_f8_bracket_of_a_limit_entry_whose_bar_touches_both(run: Runner, rules: FillRules, exit_price: float) -> None:
    rows = [FLAT, (10, 11.5, 7.5, 10)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, limit=9, stop_loss=8, take_profit=11)}, rules=rules)

    assert [9.0, exit_price] == [fill.price for fill in result.fills]


@pytest.mark.parametrize(("high", "filled"), [(10.5, True), (10.49, False)])
def test_f9_buy_stop_on_a_path_is_reached_by_the_ask(run: Runner, high: float, filled: bool) -> None:
    rows = [FLAT, (10, high, 9, 10)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, stop=11)}, rules=OHLC, costs=Costs(spread_points=50))

    assert ([11.0] if filled else []) == [fill.price for fill in result.fills]


@pytest.mark.parametrize(("low", "filled"), [(8.5, True), (8.51, False)])
def test_f9_buy_limit_on_a_path_is_reached_by_the_ask(run: Runner, low: float, filled: bool) -> None:
    rows = [FLAT, (10, 11, low, 10)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, limit=9)}, rules=OHLC, costs=Costs(spread_points=50))

    assert ([9.0] if filled else []) == [fill.price for fill in result.fills]


def test_f9_seller_on_a_path_deals_at_the_bid(run: Runner) -> None:
    rows = [FLAT, (10, 11, 9, 10)]
    actions: dict[int, Action] = {0: lambda ctx: (ctx.sell("X", 1, limit=11), ctx.sell("X", 1, stop=9))}

    result = run(rows, actions, rules=OHLC, costs=Costs(spread_points=50))

    assert [11.0, 9.0] == [fill.price for fill in result.fills]


# --- brackets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("terms", "children"), [({"take_profit": 12}, ["s-000001.tp"]), ({"stop_loss": 8}, ["s-000001.sl"])])
def test_f7_bracket_of_one_order(run: Runner, terms: dict[str, float], children: list[str]) -> None:
    result = run([FLAT, FLAT], {0: lambda ctx: ctx.buy("X", 1, **terms)})

    assert children == [order.request.id for order in result.orders if order.request.parent]


def test_f7_bracket_protects_what_is_held_where_the_entry_closed_something_first(run: Runner) -> None:
    actions: dict[int, Action] = {0: lambda ctx: ctx.sell("X", 1), 1: lambda ctx: ctx.buy("X", 3, stop_loss=8)}

    result = run([FLAT, FLAT, FLAT], actions)

    assert [2.0] == [order.request.size for order in result.orders if order.request.parent]


def test_f7_entry_that_only_closes_gets_no_bracket(run: Runner) -> None:
    actions: dict[int, Action] = {0: lambda ctx: ctx.sell("X", 1), 1: lambda ctx: ctx.buy("X", 1, stop_loss=8)}

    result = run([FLAT, FLAT, FLAT], actions)

    assert [] == [order for order in result.orders if order.request.parent]


def test_f10_stop_loss_that_an_older_order_made_idle_at_the_same_open_does_not_fill(run: Runner) -> None:
    actions: dict[int, Action] = {0: lambda ctx: (ctx.sell("X", 1, stop=8), ctx.buy("X", 1, stop_loss=8.5))}

    result = run([FLAT, FLAT, (7, 7, 7, 7)], actions)

    assert [("s-000002", 10.0), ("s-000001", 7.0)] == [(fill.order_id, fill.price) for fill in result.fills]
    assert "cancelled" == states(result)["s-000002.sl"]


def test_f7_bracket_grows_with_its_entry_and_the_strategy_hears_it() -> None:
    rows = [FLAT, (*FLAT, 10), (*FLAT, 10)]
    setup = script({0: lambda ctx: ctx.buy("X", 5, stop_loss=8)})

    simulate([setup], [series(rows)], {"X": instrument()}, rules=FillRules(participation=0.3), on_stop="leave")

    heard = [each for each in setup.strategy.heard if isinstance(each, Order) and each.request.parent]  # type: ignore[attr-defined]
    assert [("accepted", 3.0), ("accepted", 5.0)] == [(str(order.status), order.request.size) for order in heard]


# --- volume, expiry, the end ----------------------------------------------------------------------


def test_f16_volume_is_counted_in_units_and_the_average_price_in_lots(run: Runner) -> None:
    rows = [FLAT, (10, 10, 10, 10, 100), (11, 11, 11, 11, 100)]

    result = run(
        rows, {0: lambda ctx: ctx.buy("X", 8)}, rules=FillRules(participation=0.5), instrument=instrument(contract_size=10)
    )

    # Half of 100 units are 5 lots of 10.
    assert [(5.0, 10.0), (3.0, 11.0)] == [(fill.size, fill.price) for fill in result.fills]
    assert pytest.approx((5 * 10 + 3 * 11) / 8) == result.orders[0].average_price


def test_f20_cancelled_order_states_what_it_filled_and_at_which_average(run: Runner) -> None:
    orders: list[Order] = []
    rows = [FLAT, (10, 10, 10, 10, 10), (9, 9, 9, 9, 5), FLAT]
    actions: dict[int, Action] = {
        0: lambda ctx: orders.append(ctx.buy("X", 8, limit=10)),
        2: lambda ctx: ctx.cancel(orders[0]),
    }

    result = run(rows, actions, rules=FillRules(participation=0.4))

    (order,) = result.orders
    assert ("cancelled", 6.0) == (str(order.status), order.filled)
    assert pytest.approx((4 * 10 + 2 * 9) / 6) == order.average_price


def test_f16_rest_of_a_market_order_waits_for_the_next_open_on_a_path_too(run: Runner) -> None:
    rows = [FLAT, (10, 12, 8, 11, 10), (11, 12, 8, 10, 10)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 5)}, rules=FillRules(Intrabar.OHLC, participation=0.3))

    assert [(3.0, 10.0), (2.0, 11.0)] == [(fill.size, fill.price) for fill in result.fills]


def test_f11_fok_that_the_volume_just_fills(run: Runner) -> None:
    rows = [FLAT, (*FLAT, 10)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 3, time_in_force=TimeInForce.FOK)}, rules=FillRules(participation=0.3))

    assert {"s-000001": "filled"} == states(result)


def test_f12_bar_that_begins_at_the_end_does_not_fill_and_the_order_ended_then(run: Runner) -> None:
    # Bar 1 begins at the end of bar 0, which is 1 hour; the order ends in that moment.
    until = TimeInForce.GTD
    rows = [FLAT, FLAT, (9, 9, 9, 9)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, limit=9, time_in_force=until, expires=2 * HOUR)})

    assert [("expired", 2 * HOUR)] == [(str(order.status), order.time) for order in result.orders]


@pytest.mark.parametrize("until", [4, 5])
def test_f12_order_that_ended_in_a_gap_ended_then_and_not_with_the_bar_behind_it(until: int) -> None:
    columns = [np.array([10.0, 9.0])] * 4  # the second bar, from 5 to 6 o'clock, would fill it
    data = BarSeries("X", HOUR, np.array([1, 6], np.int64) * HOUR, *columns)
    request = {"limit": 9, "time_in_force": TimeInForce.GTD, "expires": until * HOUR}

    result = play(False, {0: lambda ctx: ctx.buy("X", 1, **request)}, data)

    assert [("expired", until * HOUR, 0.0)] == [(str(order.status), order.time, order.filled) for order in result.orders]


@pytest.mark.parametrize("rules", [WORSE, OHLC])
def test_f12_order_that_ends_with_the_bar_still_fills_inside_it(run: Runner, rules: FillRules) -> None:
    rows = [FLAT, (10, 10, 8, 9)]
    actions: dict[int, Action] = {0: lambda ctx: ctx.buy("X", 1, limit=9, time_in_force=TimeInForce.GTD, expires=2 * HOUR)}

    result = run(rows, actions, rules=rules)

    assert [9.0] == [fill.price for fill in result.fills]


def test_f13_what_a_reduce_only_order_cannot_reduce_ends_with_its_fill(run: Runner) -> None:
    actions: dict[int, Action] = {0: lambda ctx: ctx.buy("X", 3), 1: lambda ctx: ctx.sell("X", 5, reduce_only=True)}

    result = run([FLAT, FLAT, FLAT], actions)

    order = result.orders[1]
    assert ("cancelled", "nothing_to_reduce", 3.0, 2 * HOUR) == (str(order.status), order.code, order.filled, order.time)


@pytest.mark.parametrize(("side", "price"), [("buy", 10.0), ("sell", 10.5)])
def test_f14_flattening_a_short_position_pays_the_spread(run: Runner, side: str, price: float) -> None:
    result = run([FLAT, FLAT], {0: lambda ctx: getattr(ctx, side)("X", 1)}, on_stop="flatten", costs=Costs(spread_points=50))

    assert price == result.fills[-1].price


def test_f20_strategy_hears_of_its_modified_order() -> None:
    orders: list[Order] = []
    setup = script({0: lambda ctx: orders.append(ctx.buy("X", 1, limit=8)), 1: lambda ctx: ctx.modify(orders[0], limit=7)})

    simulate([setup], [series([FLAT, FLAT, FLAT])], {"X": instrument()}, on_stop="leave")

    heard = [each for each in setup.strategy.heard if isinstance(each, Order)]  # type: ignore[attr-defined]
    assert [("accepted", 8.0), ("accepted", 7.0)] == [(str(order.status), order.request.limit) for order in heard]
