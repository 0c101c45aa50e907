"""Exit rules in a run: from the rule's answer to the fill. A point is 0.01; every price is worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herald.components import Settings
from herald.contracts import Close, Context, ExitRule, Protect, Strategy
from herald.model import Bar, OrderStatus
from herald.plugins.exits import herald_exits
from herald.testing import ExitStand, StrategyRun, make_bars, make_instrument, make_services, run_strategy

COMPONENTS = {component.name: component for component in herald_exits()}
INSTRUMENT = make_instrument(price_step=0.01, size_step=0.1, min_size=0.1)


class OnceSettings(Settings):
    size: float = 1.0
    stop_loss: float | None = None


class Once(Strategy[OnceSettings]):
    """Enters at market on the first bar and never again."""

    def on_start(self, ctx: Context) -> None:
        self.done = False

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not self.done:
            self.done = True
            ask = ctx.buy if self.settings.size > 0 else ctx.sell
            ask(bar.symbol, abs(self.settings.size), stop_loss=self.settings.stop_loss)


def rule(name: str, **settings: Any) -> ExitRule:
    component = COMPONENTS[name]
    return component.build(component.settings(**settings), make_services(f"exits.{name}"))


def run(rows: list[Any], *rules: ExitRule, size: float = 1.0, stop_loss: float | None = None) -> StrategyRun:
    bars = make_bars([(100, 100, 100, 100), *rows])
    return run_strategy(
        Once, OnceSettings(size=size, stop_loss=stop_loss), bars, instruments=[INSTRUMENT], exits=rules, on_stop="leave"
    )


def exits(result: StrategyRun) -> list[tuple[float, float, str]]:
    return [(trade.size, trade.exit_price, trade.exit_tag) for trade in result.trades]


def test_a_stop_loss_works_from_the_bar_after_the_entry() -> None:
    result = run([(100, 101, 99, 100), (100, 100, 97.5, 98.5)], rule("stop_loss", points=200))

    assert [(1.0, 98.0, "stop_loss")] == exits(result)


def test_a_gap_through_the_stop_fills_at_the_open() -> None:
    result = run([(100, 101, 99, 100), (97, 97.5, 96, 97)], rule("stop_loss", points=200))

    assert [(1.0, 97.0, "stop_loss")] == exits(result)


def test_a_take_profit_fills_at_its_level() -> None:
    result = run([(100, 101, 99, 100), (100, 103.5, 100, 103)], rule("take_profit", points=300))

    assert [(1.0, 103.0, "take_profit")] == exits(result)


def test_a_take_profit_of_twice_the_risk_measures_the_bracket_stop() -> None:
    # entry 100, bracket stop 98: the target is 104
    result = run([(100, 101, 99, 100), (100, 104.5, 100, 104)], rule("take_profit", risk_multiple=2), stop_loss=98.0)

    assert [(1.0, 104.0, "take_profit")] == exits(result)


def test_a_trailing_stop_follows_and_fills() -> None:
    # best 101 -> stop 98; best 105 -> stop 102; touched on the third bar
    rows = [(100, 101, 99.5, 100.5), (100.5, 105, 100, 104), (104, 104.5, 101, 103)]

    assert [(1.0, 102.0, "trailing_stop")] == exits(run(rows, rule("trailing_stop", points=300)))


def test_a_trailing_stop_of_a_short_follows_and_fills() -> None:
    rows = [(100, 100.5, 99, 99.5), (99.5, 100, 95, 96), (96, 99, 95.5, 97)]

    assert [(1.0, 98.0, "trailing_stop")] == exits(run(rows, rule("trailing_stop", points=300), size=-1.0))


def test_parts_are_closed_at_the_levels_and_the_stop_shrinks_with_the_position() -> None:
    levels = [{"points": 100, "share": 0.5}, {"points": 200, "share": 0.3}]
    rows = [
        (100, 101, 99.5, 100.8),  # level 1 touched: half is closed at the next open
        (100.7, 102, 100.5, 101.5),  # level 2 touched: 0.3 at the next open
        (101.4, 101.5, 100, 100.5),
        (100.5, 100.5, 97, 97.5),  # the stop at 98 closes what is left: 0.2
    ]

    result = run(rows, rule("profit_target", levels=levels), rule("stop_loss", points=200))

    assert [(0.5, 100.7, "profit_target"), (0.3, 101.4, "profit_target"), (0.2, 98.0, "stop_loss")] == exits(result)
    assert result.result.positions == ()
    assert not [order for order in result.orders if order.status is OrderStatus.DENIED]


def test_time_and_size_of_a_time_based_exit() -> None:
    # filled on the open of the first row; the second row is the second bar held; closed on the third's open
    result = run([(100, 101, 99, 100), (100, 101, 99, 100.5), (100.25, 101, 99, 100)], rule("time_based", max_bars=2))

    assert [(1.0, 100.25, "time_based")] == exits(result)


def test_the_first_close_in_file_order_wins() -> None:
    rows = [(100, 102, 97, 97.5), (97.5, 98, 97, 97)]
    fast, held = rule("adverse_movement", points=300, window_bars=1), rule("time_based", max_bars=1)

    first = exits(run(rows, fast, held))
    fast, held = rule("adverse_movement", points=300, window_bars=1), rule("time_based", max_bars=1)
    second = exits(run(rows, held, fast))

    assert [(1.0, 97.5, "adverse_movement")] == first
    assert [(1.0, 97.5, "time_based")] == second


def test_the_tightest_of_two_stops_rules() -> None:
    rows = [(100, 101, 99.5, 100.5), (100.5, 100.5, 98, 98.5)]

    result = run(rows, rule("stop_loss", points=500), rule("trailing_stop", points=200))

    assert [(1.0, 99.0, "trailing_stop")] == exits(result)


def test_a_range_based_stop_asks_for_its_indicator_in_the_run() -> None:
    quiet = [(100.0, 101.0, 99.0, 100.0)] * 20

    result = run([*quiet, (100, 100, 95, 96)], rule("stop_loss", atr=2, atr_length=5))

    assert [(1.0, 96.0, "stop_loss")] == exits(result)  # the range is 2 on every bar, so the stop is at 100 - 4


# --- properties -----------------------------------------------------------------------------------

MOVES = st.lists(st.tuples(st.integers(-200, 200), st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=40)


def rows_of(moves: list[tuple[int, int, int]], sign: int) -> list[tuple[float, float, float, float]]:
    """Return bars around 100 from steps in cents; *sign* -1 mirrors them at 100."""
    rows = []
    price = 0
    for change, above, below in moves:
        opened, price = price, price + change
        high, low = max(opened, price) + above, min(opened, price) - below
        values = [opened, high, low, price] if sign > 0 else [-opened, -low, -high, -price]
        rows.append(tuple(100 + value / 100 for value in values))
    return rows  # type: ignore[return-value]


def answers(name: str, rows: list[tuple[float, float, float, float]], sign: int, **terms: Any) -> list[tuple[str, float] | None]:
    """Return what a rule says to one position; levels as signed distances from 100, in the position's favour."""
    stand = ExitStand(rule(name, **terms), instrument=INSTRUMENT)
    stand.hold(float(sign), 100.0)
    result: list[tuple[str, float] | None] = []
    for answer in stand.bars(rows):
        if isinstance(answer, Protect):
            level = answer.stop_loss if answer.stop_loss is not None else answer.take_profit
            assert level is not None
            result.append((answer.reason, round(sign * (level - 100), 6)))
        else:
            result.append((answer.reason, round(answer.share, 6)) if isinstance(answer, Close) else None)
    return result


@settings(max_examples=40, deadline=None)
@given(moves=MOVES)
@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("stop_loss", {"points": 155.5}),
        ("take_profit", {"points": 155.5}),
        ("trailing_stop", {"points": 155.5, "activation": 50.25}),
        ("adverse_movement", {"points": 155.5, "window_bars": 3}),
        ("profit_target", {"levels": [{"points": 55.5, "share": 0.5}, {"points": 111.1, "share": 0.5}]}),
    ],
)
def test_a_short_on_mirrored_prices_is_treated_like_a_long(
    name: str, terms: dict[str, Any], moves: list[tuple[int, int, int]]
) -> None:
    assert answers(name, rows_of(moves, 1), 1, **terms) == answers(name, rows_of(moves, -1), -1, **terms)


@settings(max_examples=60, deadline=None)
@given(moves=MOVES, sign=st.sampled_from([1, -1]))
def test_a_trailing_stop_is_the_best_price_so_far_less_the_distance(moves: list[tuple[int, int, int]], sign: int) -> None:
    rows = rows_of(moves, 1)

    actual = answers("trailing_stop", rows, sign, points=150)

    best = -1e9
    for row, answer in zip(rows, actual, strict=True):
        best = max(best, sign * (row[1 if sign > 0 else 2] - 100))
        beyond = sign * (row[3] - 100) - (best - 1.5)
        if abs(beyond) > 1e-9:  # a close exactly on the stop may round either way
            assert answer == ("trailing_stop", pytest.approx(best - 1.5 if beyond > 0 else 1.0, abs=1e-5))
