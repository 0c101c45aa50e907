"""Every rule of docs/fill-rules.md, derived by hand; a test's name begins with the rule it checks."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from herald.clock import DAY, HOUR
from herald.errors import ConfigError, DataError
from herald.model import AccountMode, Timeframe, TimeInForce
from herald.model.instrument import SwapMode
from herald.runtime import simulate
from herald.simulator.broker import FillRules, Intrabar
from herald.simulator.costs import Costs

from .conftest import HOURLY, Runner, deals, instrument, script, series, states

FLAT = (10.0, 10.0, 10.0, 10.0)
WORSE, BETTER, OHLC, NEAREST = (FillRules(way) for way in Intrabar)
ROOT = Path(__file__).parents[3]


# --- when and at what price -----------------------------------------------------------------------


def test_f1_nothing_fills_on_the_bar_it_was_decided_on(run: Runner) -> None:
    rows = [(10, 12, 8, 11), (13, 14, 12, 13)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, limit=9)})  # bar 0 itself traded at 9

    assert [] == deals(result)
    assert {"s-000001": "accepted"} == states(result)


def test_f1_what_is_asked_for_in_on_fill_waits_for_the_bar_after(run: Runner) -> None:
    rows = [FLAT, (11, 11, 11, 11), (12, 12, 12, 12)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1), -1: lambda ctx: ctx.position("X").size > 0 and ctx.close("X")})

    assert [("s-000001", 1, 1.0, 11.0), ("s-000002", -1, 1.0, 12.0)] == deals(result)


def test_f2_market_order_fills_at_the_next_open(run: Runner) -> None:
    rows = [FLAT, (11, 13, 9, 12)]

    result = run(rows, {0: lambda ctx: ctx.sell("X", 2)})

    assert [("s-000001", -1, 2.0, 11.0)] == deals(result)


@pytest.mark.parametrize(("side", "opening", "price"), [("buy", 12.5, 12.5), ("buy", 12, 12), ("sell", 7.5, 7.5)])
def test_f3_gap_through_a_stop_fills_at_the_open(run: Runner, side: str, opening: float, price: float) -> None:
    rows = [FLAT, (opening, 13, 7, 10)]

    result = run(rows, {0: lambda ctx: getattr(ctx, side)("X", 1, stop=12 if side == "buy" else 8)})

    assert price == result.fills[0].price


@pytest.mark.parametrize(
    ("side", "limit", "bar", "price"),
    [
        ("buy", 9, (8, 11, 7, 10), 8.0),  # the open is better
        ("buy", 9, (9, 11, 9, 10), 9.0),
        ("buy", 9, (10, 11, 8, 10), 9.0),  # reached inside the bar
        ("buy", 9, (10, 11, 9.01, 10), None),
        ("sell", 11, (12, 13, 11, 12), 12.0),
        ("sell", 11, (10, 11, 9, 10), 11.0),
        ("sell", 11, (10, 10.99, 9, 10), None),
    ],
)
def test_f4_limit_fills_at_its_price_or_better(
    run: Runner, side: str, limit: float, bar: tuple[float, ...], price: float | None
) -> None:
    result = run([FLAT, bar], {0: lambda ctx: getattr(ctx, side)("X", 1, limit=limit)})

    assert ([] if price is None else [price]) == [fill.price for fill in result.fills]


@pytest.mark.parametrize(
    ("side", "stop", "bar", "price"),
    [
        ("buy", 11, (10, 11.5, 9, 10), 11.0),
        ("buy", 11, (10, 10.99, 9, 10), None),
        ("sell", 9, (10, 11, 8.5, 10), 9.0),
        ("sell", 9, (10, 11, 9.01, 10), None),
    ],
)
def test_f5_stop_fills_at_its_price_inside_the_bar(
    run: Runner, side: str, stop: float, bar: tuple[float, ...], price: float | None
) -> None:
    result = run([FLAT, bar], {0: lambda ctx: getattr(ctx, side)("X", 1, stop=stop)})

    assert ([] if price is None else [price]) == [fill.price for fill in result.fills]


@pytest.mark.parametrize(("rules", "name", "price"), [(WORSE, "s-000001.sl", 9.0), (BETTER, "s-000001.tp", 11.0)])
def test_f6_bar_that_touches_stop_and_target(run: Runner, rules: FillRules, name: str, price: float) -> None:
    rows = [FLAT, FLAT, (10, 11.5, 8.5, 10)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, stop_loss=9, take_profit=11)}, rules=rules)

    assert [("s-000001", 1, 1.0, 10.0), (name, -1, 1.0, price)] == deals(result)


def test_f6_stop_orders_fill_before_limit_orders_unless_better_is_assumed(run: Runner) -> None:
    rows = [FLAT, (10, 11.5, 8.5, 10)]

    def both(ctx):  # type: ignore[no-untyped-def]
        ctx.buy("X", 1, limit=9)
        ctx.buy("X", 1, stop=11)

    assert ["s-000002", "s-000001"] == [deal[0] for deal in deals(run(rows, {0: both}, rules=WORSE))]
    assert ["s-000001", "s-000002"] == [deal[0] for deal in deals(run(rows, {0: both}, rules=BETTER))]


def test_f7_bracket_of_an_entry_at_the_open_can_fill_on_the_same_bar(run: Runner) -> None:
    rows = [FLAT, (10, 12, 9.5, 11)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, stop_loss=9, take_profit=11.5)})

    assert [("s-000001", 1, 1.0, 10.0), ("s-000001.tp", -1, 1.0, 11.5)] == deals(result)
    assert "cancelled" == states(result)["s-000001.sl"]


def test_f7_bracket_of_a_short_lies_the_other_way(run: Runner) -> None:
    rows = [FLAT, FLAT, (10, 11, 10, 10.5)]

    result = run(rows, {0: lambda ctx: ctx.sell("X", 1, stop_loss=10.8, take_profit=9)})

    assert [("s-000001", -1, 1.0, 10.0), ("s-000001.sl", 1, 1.0, 10.8)] == deals(result)


def test_f7_bracket_has_the_size_that_filled(run: Runner) -> None:
    rows = [FLAT, (10, 10, 10, 10, 4), (10, 10, 10, 10, 1), (10, 10, 8, 9, 100)]
    rules = FillRules(participation=0.5)

    result = run(rows, {0: lambda ctx: ctx.buy("X", 2.5, stop_loss=9)}, rules=rules)

    assert [2.0, 0.5, 2.5] == [fill.size for fill in result.fills]
    assert ["s-000001", "s-000001", "s-000001.sl"] == [fill.order_id for fill in result.fills]


LIMIT_ENTRY = {0: lambda ctx: ctx.buy("X", 1, limit=9, stop_loss=8, take_profit=11)}
STOP_ENTRY = {0: lambda ctx: ctx.buy("X", 1, stop=11, stop_loss=9, take_profit=12)}


@pytest.mark.parametrize(
    ("actions", "bar", "rules", "exit_order"),
    [
        # Down to the limit at 9 and on to 8: the stop loss lies behind the entry, so it is certain.
        (LIMIT_ENTRY, (10, 10.5, 7.5, 9), WORSE, "sl"),
        (LIMIT_ENTRY, (10, 10.5, 7.5, 9), BETTER, "sl"),
        # The high of 11.5 may have come before the low of 8.5: the target is not certain.
        (LIMIT_ENTRY, (10, 11.5, 8.5, 10), WORSE, None),
        (LIMIT_ENTRY, (10, 11.5, 8.5, 10), BETTER, "tp"),
        # It ended above the target, and it was at 9 before: certain.
        (LIMIT_ENTRY, (10, 11.5, 8.5, 11.2), WORSE, "tp"),
        # Up to the stop at 11 and on to 12: the target is certain.
        (STOP_ENTRY, (10, 12.5, 9.5, 11), WORSE, "tp"),
        # The low of 8.5 may have come before the entry.
        (STOP_ENTRY, (10, 11.5, 8.5, 11), WORSE, "sl"),
        (STOP_ENTRY, (10, 11.5, 8.5, 11), BETTER, None),
        # It ended below the stop loss: certain.
        (STOP_ENTRY, (10, 11.5, 8.5, 8.8), BETTER, "sl"),
    ],
)
def test_f8_bracket_born_inside_the_bar(run: Runner, actions, bar, rules, exit_order) -> None:  # type: ignore[no-untyped-def]
    result = run([FLAT, bar], actions, rules=rules)

    exits = [fill.order_id for fill in result.fills[1:]]
    assert ([] if exit_order is None else [f"s-000001.{exit_order}"]) == exits


@pytest.mark.parametrize(
    ("rules", "bar", "exit_order"),
    [
        (OHLC, (10, 11.5, 8.5, 10), "tp"),  # high first
        (NEAREST, (10, 11.5, 8.5, 10), "tp"),  # equally near: high first
        (NEAREST, (10, 12, 8.5, 10), "sl"),  # the low is nearer
        (NEAREST, (10, 11.2, 8.5, 10), "tp"),  # the high is nearer
    ],
)
def test_f9_path_decides_which_of_two_levels_comes_first(run: Runner, rules, bar, exit_order) -> None:  # type: ignore[no-untyped-def]
    rows = [FLAT, FLAT, bar]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, stop_loss=9, take_profit=11)}, rules=rules)

    assert f"s-000001.{exit_order}" == result.fills[-1].order_id


def test_f9_bracket_born_on_the_path_fills_on_the_rest_of_it(run: Runner) -> None:
    # Open 10, high 11 first, then down to 8.5 (entry at 9), then up to the close of 9.8 (target at 9.5).
    rows = [FLAT, (10, 11, 8.5, 9.8)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, limit=9, stop_loss=8, take_profit=9.5)}, rules=OHLC)

    assert [("s-000001", 1, 1.0, 9.0), ("s-000001.tp", -1, 1.0, 9.5)] == deals(result)


def test_f10_protection_is_cancelled_when_the_position_is_closed_by_something_else(run: Runner) -> None:
    rows = [FLAT] * 4

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, stop_loss=9, take_profit=11), 2: lambda ctx: ctx.close("X")})

    assert {"s-000001": "filled", "s-000001.sl": "cancelled", "s-000001.tp": "cancelled", "s-000002": "filled"} == states(result)


def test_f10_protection_is_cancelled_when_the_position_turns(run: Runner) -> None:
    rows = [FLAT] * 4

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, stop_loss=9), 2: lambda ctx: ctx.target("X", -1)})

    assert "cancelled" == states(result)["s-000001.sl"]
    assert -1.0 == result.positions[0][1].size


def test_f10_brackets_of_two_entries_end_one_by_one(run: Runner) -> None:
    rows = [FLAT, FLAT, FLAT, (10, 11.5, 10, 11)]

    def second(ctx):  # type: ignore[no-untyped-def]
        ctx.buy("X", 1, stop_loss=9, take_profit=12)

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, stop_loss=9, take_profit=11), 1: second})

    ends = states(result)
    assert ("filled", "cancelled") == (ends["s-000001.tp"], ends["s-000001.sl"])
    assert ("accepted", "accepted") == (ends["s-000002.tp"], ends["s-000002.sl"])


@pytest.mark.parametrize("force", [TimeInForce.IOC, TimeInForce.FOK])
def test_f11_limit_that_the_open_does_not_reach_is_cancelled(run: Runner, force: TimeInForce) -> None:
    rows = [FLAT, (10, 10, 8, 9)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, limit=9, time_in_force=force)})

    assert ([], {"s-000001": "cancelled"}) == (deals(result), states(result))


@pytest.mark.parametrize(("force", "sizes"), [(TimeInForce.IOC, [2.0]), (TimeInForce.FOK, [])])
def test_f11_ioc_takes_a_part_and_fok_does_not(run: Runner, force: TimeInForce, sizes: list[float]) -> None:
    rows = [FLAT, (10, 10, 10, 10, 4), FLAT]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 3, time_in_force=force)}, rules=FillRules(participation=0.5))

    assert sizes == [fill.size for fill in result.fills]
    assert {"s-000001": "cancelled"} == states(result)


def test_f12_day_order_ends_at_midnight_utc() -> None:
    # Bars end at 22:00, 23:00, 00:00 and 01:00; the order is placed at 22:00 and ends with the third bar.
    rows = [FLAT, FLAT, FLAT, (10, 10, 8, 9)]
    setup = script({0: lambda ctx: ctx.buy("X", 1, limit=9, time_in_force=TimeInForce.DAY)})

    result = simulate([setup], [series(rows, first=22)], {"X": instrument()}, on_stop="leave")

    assert ([], {"s-000001": "expired"}) == (deals(result), states(result))
    assert DAY == result.orders[0].time


def test_f12_day_order_still_fills_on_the_last_bar_of_its_day() -> None:
    rows = [FLAT, FLAT, (10, 10, 8, 9), FLAT]
    setup = script({0: lambda ctx: ctx.buy("X", 1, limit=9, time_in_force=TimeInForce.DAY)})

    result = simulate([setup], [series(rows, first=22)], {"X": instrument()}, on_stop="leave")

    assert [("s-000001", 1, 1.0, 9.0)] == deals(result)


@pytest.mark.parametrize(("bar", "status"), [((9, 10, 8, 9), "filled"), ((10, 10, 8, 9), "expired")])
def test_f12_on_a_bar_that_goes_on_past_the_end_only_the_open_counts(run: Runner, bar, status) -> None:  # type: ignore[no-untyped-def]
    end = HOUR + HOUR // 2  # half-way through the second bar

    result = run([FLAT, bar], {0: lambda ctx: ctx.buy("X", 1, limit=9, time_in_force=TimeInForce.GTD, expires=end)})

    assert {"s-000001": status} == states(result)


def test_f13_reduce_only_never_turns_a_position(run: Runner) -> None:
    rows = [FLAT] * 4

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1), 1: lambda ctx: ctx.sell("X", 3, reduce_only=True)})

    assert [1.0, 1.0] == [fill.size for fill in result.fills]
    assert () == result.positions
    assert "cancelled" == states(result)["s-000002"]


def test_f13_reduce_only_with_nothing_to_reduce_is_cancelled_when_its_turn_comes(run: Runner) -> None:
    rows = [FLAT] * 5

    def two(ctx):  # type: ignore[no-untyped-def]
        ctx.sell("X", 1, limit=12, reduce_only=True)
        ctx.sell("X", 1)

    result = run([*rows, (10, 13, 10, 12)], {0: lambda ctx: ctx.buy("X", 1), 2: two})

    assert ("cancelled", "nothing_to_reduce") == (str(result.orders[1].status), result.orders[1].code)


@pytest.mark.parametrize(
    ("policy", "status", "held"), [("leave", "accepted", 1.0), ("cancel", "cancelled", 1.0), ("flatten", "cancelled", 0.0)]
)
def test_f14_what_happens_after_the_last_bar(run: Runner, policy: str, status: str, held: float) -> None:
    rows = [FLAT, FLAT, (10, 11, 10, 11)]

    result = run(rows, {0: lambda ctx: (ctx.buy("X", 1), ctx.buy("X", 1, limit=5))}, on_stop=policy)

    assert status == states(result)["s-000002"]
    assert held == sum(position.size for _, position in result.positions)
    if policy == "flatten":
        assert (11.0, "end_of_run") == (result.trades[0].exit_price, result.trades[0].exit_tag)


@pytest.mark.parametrize(
    ("limit", "bars", "price"),
    [
        (11.2, [(10, 12, 9, 10)], 11.0),  # triggered at 11, which the limit allows
        (11.2, [(11.1, 12, 9, 10)], 11.1),  # gapped to 11.1, still allowed
        (11.2, [(12, 13, 11, 12)], 11.2),  # opened beyond the limit and came back to it
        (11.2, [(12, 13, 11.5, 12)], None),
        (10.5, [(10, 12, 9, 10)], None),  # 11 is worse than 10.5: it waits ...
        (10.5, [(10, 12, 9, 11.5), (11, 11, 10.4, 11)], 10.5),  # ... and fills on a later bar
    ],
)
def test_f15_stop_limit(run: Runner, limit: float, bars, price) -> None:  # type: ignore[no-untyped-def]
    result = run([FLAT, *bars], {0: lambda ctx: ctx.buy("X", 1, stop=11, limit=limit)})

    assert ([] if price is None else [price]) == [fill.price for fill in result.fills]


def test_f16_bar_fills_at_most_its_share_oldest_order_first(run: Runner) -> None:
    rows = [FLAT, (10, 10, 10, 10, 50), (11, 11, 11, 11, 50), (12, 12, 12, 12, 50)]

    def two(ctx):  # type: ignore[no-untyped-def]
        ctx.buy("X", 7)
        ctx.buy("X", 5)

    result = run(rows, {0: two}, rules=FillRules(participation=0.1))

    assert [
        ("s-000001", 1, 5.0, 10.0),
        ("s-000001", 1, 2.0, 11.0),
        ("s-000002", 1, 3.0, 11.0),
        ("s-000002", 1, 2.0, 12.0),
    ] == deals(result)
    assert pytest.approx((5 * 10 + 2 * 11) / 7) == result.orders[0].average_price


def test_f16_unknown_volume_is_refused(run: Runner) -> None:
    with pytest.raises(DataError, match="participation"):
        run([(*FLAT, math.nan)], {}, rules=FillRules(participation=0.1))


def test_f17_fill_callback_sees_the_bar_before_and_the_position_after(run: Runner) -> None:
    rows = [FLAT, (11, 11, 11, 11), (12, 12, 12, 12)]
    seen = []

    run(
        rows,
        {0: lambda ctx: ctx.buy("X", 1), -1: lambda ctx: seen.append((float(ctx.closes("X", 1)[0]), ctx.position("X").size))},
    )

    assert [(10.0, 1.0)] == seen


def test_f18_orders_are_matched_on_the_finest_series() -> None:
    hours = [(10, 10, 10, 10)] * 4 + [(12, 12, 12, 12), (13, 13, 13, 13), (13, 13, 13, 13), (13, 13, 13, 13)]
    fours = [(10, 10, 10, 10), (12, 13, 12, 13)]
    setup = script({4: lambda ctx: ctx.buy("X", 1)}, timeframes=(HOURLY, Timeframe(4 * 3600)))
    data = [series(hours), series(fours, span=4 * HOUR)]

    result = simulate([setup], data, {"X": instrument()}, on_stop="leave")

    # Bars heard: four hours, the first four-hour bar (fifth call, at 04:00), so the fill is at 05:00's open.
    assert [("s-000001", 1, 1.0, 12.0)] == deals(result)
    assert 4 * HOUR == result.fills[0].time


def test_f19_fill_time_is_the_begin_of_the_bar_for_the_open_and_its_end_otherwise(run: Runner) -> None:
    rows = [FLAT, (10, 10, 10, 10), (10, 12, 10, 11)]

    result = run(rows, {0: lambda ctx: (ctx.buy("X", 1), ctx.buy("X", 1, stop=11))})

    assert [1 * HOUR, 3 * HOUR] == [fill.time for fill in result.fills]


def test_f20_cancelled_order_does_not_meet_the_next_bar(run: Runner) -> None:
    rows = [FLAT, FLAT, (8, 8, 8, 8)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, limit=9), 1: lambda ctx: ctx.cancel(ctx.orders("X")[0])})

    assert ([], {"s-000001": "cancelled"}) == (deals(result), states(result))


def test_f20_modified_order_fills_at_its_new_price_and_keeps_its_place(run: Runner) -> None:
    rows = [FLAT, FLAT, (10, 10, 9.4, 9.5)]

    def two(ctx):  # type: ignore[no-untyped-def]
        ctx.buy("X", 1, limit=8)
        ctx.buy("X", 1, limit=9.5)

    result = run(rows, {0: two, 1: lambda ctx: ctx.modify(ctx.orders("X")[0], limit=9.5, size=2)})

    assert [("s-000001", 1, 2.0, 9.5), ("s-000002", 1, 1.0, 9.5)] == deals(result)


# --- what it costs --------------------------------------------------------------------------------


def test_c1_buyer_pays_the_spread_and_seller_does_not(run: Runner) -> None:
    rows = [FLAT] * 4

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1), 1: lambda ctx: ctx.sell("X", 1)}, costs=Costs(spread_points=5))

    assert [10.05, 10.0] == [fill.price for fill in result.fills]
    assert pytest.approx(-0.05) == result.trades[0].net


@pytest.mark.parametrize(("low", "filled"), [(8.96, False), (8.95, True)])
def test_c1_buy_limit_is_reached_by_the_ask(run: Runner, low: float, filled: bool) -> None:
    rows = [FLAT, (10, 10, low, 10)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1, limit=9)}, costs=Costs(spread_points=5))

    assert filled == bool(result.fills)


def test_c1_stop_loss_of_a_short_is_reached_by_the_ask(run: Runner) -> None:
    rows = [FLAT, FLAT, (10, 10.96, 10, 10)]

    result = run(rows, {0: lambda ctx: ctx.sell("X", 1, stop_loss=11)}, costs=Costs(spread_points=5))

    assert [10.0, 11.0] == [fill.price for fill in result.fills]


def test_c2_spread_comes_from_the_data_where_it_is_asked_for(run: Runner) -> None:
    rows = [(*FLAT, 100, 0.01), (*FLAT, 100, 0.25)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 1)}, costs=Costs(spread_data=True))

    assert 10.25 == result.fills[0].price


def test_c2_data_without_a_spread_is_refused() -> None:
    bars = series([FLAT])
    bars.spread = None

    with pytest.raises(DataError, match="no spread column"):
        simulate([script({})], [bars], {"X": instrument()}, costs=Costs(spread_data=True))


@pytest.mark.parametrize(
    ("costs", "price"),
    [
        (Costs(slippage_points=3), 11.03),
        (Costs(slippage_range=0.1), 11.0 + 0.1 * 4),
        (Costs(slippage_impact=0.1), 11.0 + 11.0 * 0.1 * (20 / 100) ** 2),
    ],
)
def test_c3_market_orders_slip(run: Runner, costs: Costs, price: float) -> None:
    rows = [FLAT, (11, 13, 9, 12, 100)]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 20)}, costs=costs)

    assert pytest.approx(price) == result.fills[0].price


def test_c3_stop_orders_slip_and_limit_orders_do_not(run: Runner) -> None:
    rows = [FLAT, (10, 12, 8, 10)]

    result = run(rows, {0: lambda ctx: (ctx.buy("X", 1, stop=11), ctx.buy("X", 1, limit=9))}, costs=Costs(slippage_points=2))

    assert [11.02, 9.0] == [fill.price for fill in result.fills]


@pytest.mark.parametrize(
    ("costs", "fee"),
    [
        (Costs(commission_per_lot=3.5), 7.0),
        (Costs(commission_per_unit=0.01), 2.0),
        (Costs(commission_fraction=0.001), 0.001 * 2 * 100 * 10),
        (Costs(commission_per_lot=0.1, commission_minimum=1.5), 1.5),
        (Costs(commission_per_lot=1, commission_per_unit=0.01, commission_fraction=0.001), 2 + 2 + 2),
    ],
)
def test_c4_commission(run: Runner, costs: Costs, fee: float) -> None:
    rows = [FLAT, FLAT]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 2)}, costs=costs, instrument=instrument(contract_size=100))

    assert pytest.approx(fee) == result.fills[0].fee
    assert pytest.approx(10_000 - fee) == result.account["balance"]


def test_c4_minimum_is_paid_once_an_order(run: Runner) -> None:
    rows = [FLAT, (*FLAT, 10), (*FLAT, 10), (*FLAT, 10)]
    costs = Costs(commission_per_unit=0.5, commission_minimum=2)

    result = run(rows, {0: lambda ctx: ctx.buy("X", 7)}, costs=costs, rules=FillRules(participation=0.3))

    # 3, 3 and 1 units: 1.5 is below the minimum of 2; 6 units cost 3.0, 7 units 3.5.
    assert [2.0, 1.0, 0.5] == [fill.fee for fill in result.fills]


def test_c5_profit_in_another_currency_is_converted_at_the_last_known_rate() -> None:
    yen = instrument("XJPY", quote="JPY")
    dollar = instrument("USDJPY", base="USD", quote="JPY")
    rows = [(100, 100, 100, 100), (100, 100, 100, 100), (110, 110, 110, 110), (110, 110, 110, 110)]
    rates = [(100, 100, 100, 100), (100, 100, 100, 100), (125, 125, 125, 125), (200, 200, 200, 200)]
    setup = script({0: lambda ctx: ctx.buy("XJPY", 5), 2: lambda ctx: ctx.close("XJPY")}, symbols=("XJPY",))

    result = simulate([setup], [series(rows, "XJPY"), series(rates, "USDJPY")], {"XJPY": yen, "USDJPY": dollar})

    # Bought at 100, sold at the open of the fourth bar (110) while the last known rate is 125 yen a dollar.
    assert pytest.approx(10 * 5 / 125) == result.trades[0].gross
    # Open profit at the end of the third bar: 10 * 5 yen at 125.
    assert pytest.approx(10_000 + 50 / 125) == result.equity.equity[2]


def test_c5_cross_through_a_third_currency() -> None:
    terms = {
        "XCHF": instrument("XCHF", quote="CHF"),
        "EURCHF": instrument("EURCHF", base="EUR", quote="CHF"),
        "EURUSD": instrument("EURUSD", base="EUR", quote="USD"),
    }
    rows = [(100, 100, 100, 100), (100, 100, 100, 100), (110, 110, 110, 110)]
    data = [
        series(rows, "XCHF"),
        series([(0.8, 0.8, 0.8, 0.8)] * 3, "EURCHF"),
        series([(1.2, 1.2, 1.2, 1.2)] * 3, "EURUSD"),
    ]
    setup = script({0: lambda ctx: ctx.buy("XCHF", 1)}, symbols=("XCHF",))

    result = simulate([setup], data, terms)

    # 10 francs of profit are 10 / 0.8 euros, and those times 1.2 dollars.
    assert pytest.approx(10_000 + 10 / 0.8 * 1.2) == result.account["equity"]


def test_c5_missing_conversion_is_refused() -> None:
    with pytest.raises(ConfigError, match="no instrument converts JPY into the account currency USD"):
        simulate([script({})], [series([FLAT])], {"X": instrument(quote="JPY")})


def test_c5_request_is_denied_while_the_rate_is_unknown_or_too_old() -> None:
    yen = instrument("XJPY", quote="JPY")
    dollar = instrument("USDJPY", base="USD", quote="JPY")
    setup = script({0: lambda ctx: ctx.buy("XJPY", 1), 3: lambda ctx: ctx.buy("XJPY", 1)}, symbols=("XJPY",))
    late = series([(100, 100, 100, 100)], "USDJPY", first=2)

    result = simulate([setup], [series([FLAT] * 5, "XJPY"), late], {"XJPY": yen, "USDJPY": dollar}, max_age=HOUR, on_stop="leave")

    assert [("denied", "no_rate")] * 2 == [(str(order.status), order.code) for order in result.orders]


@pytest.mark.parametrize(("size", "status"), [(30.0, "filled"), (30.01, "rejected")])
def test_c6_margin_must_not_exceed_the_equity(run: Runner, size: float, status: str) -> None:
    rows = [FLAT, FLAT]

    # 30 lots of 100 units at 10 are 30,000; at a leverage of 3 they need 10,000.
    result = run(rows, {0: lambda ctx: ctx.buy("X", size)}, leverage=3.0, instrument=instrument(contract_size=100))

    assert {"s-000001": status} == states(result)
    assert ("" if status == "filled" else "no_money") == result.orders[0].code


def test_c6_reducing_needs_no_margin(run: Runner) -> None:
    rows = [FLAT, FLAT, (5.1, 5.1, 5.1, 5.1), (5.1, 5.1, 5.1, 5.1)]

    # 1,900 units at 10 on a leverage of 2: after the fall to 5.1 the equity is 690, the margin 9,500.
    result = run(rows, {0: lambda ctx: ctx.buy("X", 1900), 2: lambda ctx: ctx.sell("X", 100)}, leverage=2.0)

    assert {"s-000001": "filled", "s-000002": "filled"} == states(result)


def test_c6_fixed_margin_of_the_instrument(run: Runner) -> None:
    rows = [FLAT, FLAT]

    result = run(rows, {0: lambda ctx: ctx.buy("X", 2)}, instrument=instrument(margin=1000.0, contract_size=10.0))

    assert (2000.0, 8000.0) == (result.account["margin_used"], result.account["margin_free"])


@pytest.mark.parametrize(("mode", "used"), [(AccountMode.NETTING, 10.0), (AccountMode.HEDGING, 30.0)])
def test_c6_books_of_one_symbol_are_netted_or_not(mode: AccountMode, used: float) -> None:
    long = script({0: lambda ctx: ctx.buy("X", 2)}, "long")
    short = script({0: lambda ctx: ctx.sell("X", 1)}, "short")

    result = simulate([long, short], [series([FLAT, FLAT])], {"X": instrument()}, leverage=1.0, mode=mode)

    assert used == result.account["margin_used"]


def test_c7_short_positions_are_valued_at_the_ask(run: Runner) -> None:
    rows = [FLAT, (10, 10, 9, 9)]

    result = run(rows, {0: lambda ctx: ctx.sell("X", 1)}, costs=Costs(spread_points=20))

    assert pytest.approx(10_000 + 10 - 9.2) == result.equity.equity[-1]
    assert pytest.approx(result.account["equity"]) == result.equity.equity[-1]


def test_c8_a_night_costs_the_swap_of_the_lots(run: Runner) -> None:
    # The first of January 1970 was a Thursday: its night counts once. Filled at 21:00, closed at 02:00; 5 points of 0.01 a lot.
    terms = instrument(swap_long=-5.0, swap_mode=SwapMode.POINTS)

    result = run([FLAT] * 30, {20: lambda ctx: ctx.buy("X", 3), 25: lambda ctx: ctx.close("X")}, instrument=terms)

    assert [pytest.approx(-0.15)] == [trade.swap for trade in result.trades]
    assert pytest.approx(10_000 - 0.15) == result.equity.equity[-1]


# --- the page itself ------------------------------------------------------------------------------


def test_every_numbered_rule_has_a_test() -> None:
    rules = set(re.findall(r"^\*\*([FC]\d+)\.", (ROOT / "docs" / "fill-rules.md").read_text(encoding="utf-8"), re.MULTILINE))
    tested = {name.split("_")[1].upper() for name in globals() if re.match(r"test_[fc]\d+_", name)}

    assert len(rules) >= 27
    assert rules == tested
