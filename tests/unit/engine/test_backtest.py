"""The loop over columns: what it does in a long stretch is what it does moment by moment."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from herald.clock import HOUR, SimClock
from herald.contracts import Close, Context, Services, Strategy
from herald.indicators.base import Indicator
from herald.model import Bar, BarSeries, Instrument, Timeframe, Timer
from herald.results import RunResult
from herald.runtime import StrategySetup, simulate

H1 = Timeframe(3_600)
SHORT, LONG = 10, 300
"""A loop is written out for a stretch of some length only; both ways must agree."""

lengths = pytest.mark.parametrize("n", [SHORT, LONG])


def bars(n: int, symbol: str = "X") -> BarSeries:
    """Return *n* hours whose close is their number."""
    closes = np.arange(1, n + 1, dtype=float)
    return BarSeries(symbol, HOUR, np.arange(1, n + 1) * HOUR, closes, closes, closes, closes)


class Hook(Strategy[dict[str, Callable[[int, Context], None]]]):
    """Remembers the numbers of its bars and calls what the settings hold for a callback."""

    def on_start(self, ctx: Context) -> None:
        self.seen: list[int] = []
        self._do("start", 0, ctx)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.seen.append(bar.time // HOUR)
        self._do("bar", bar.time // HOUR, ctx)

    def on_timer(self, timer: Timer, ctx: Context) -> None:
        self._do("timer", timer.time // HOUR, ctx)

    def _do(self, name: str, hour: int, ctx: Context) -> None:
        self.settings.get(name, lambda hour, ctx: None)(hour, ctx)


class Rule:
    """An exit rule made of a function of the hour and the position's symbol."""

    def __init__(self, answer: Callable[[int, str], Close | None]) -> None:
        self.answer = answer

    def check(self, position: Any, event: Any, ctx: Any) -> Close | None:
        return self.answer(event.time // HOUR, position.symbol)


def setup(name: str = "s", symbols: tuple[str, ...] = ("X",), exits: tuple[Any, ...] = (), **hooks: Any) -> StrategySetup:
    strategy = Hook(hooks, Services(name, SimClock(), random.Random(0)))
    return StrategySetup(name, strategy, symbols, (H1,), exits=exits)


def run(setups: list[StrategySetup], *series: BarSeries) -> RunResult:
    terms = {
        one.symbol: Instrument(symbol=one.symbol, quote="USD", price_step=0.01, size_step=0.1, min_size=0.1) for one in series
    }
    return simulate(setups, series, terms, on_stop="leave")


def boom_at(hour: int) -> Callable[[int, Context], None]:
    def act(now: int, ctx: Context) -> None:
        if now == hour:
            raise RuntimeError("boom")

    return act


def buy_at_first(hour: int, ctx: Context) -> None:
    if hour == 1:
        for symbol in ctx.symbols:
            ctx.buy(symbol, 1)


@lengths
def test_strategy_that_an_exit_rule_stopped_is_not_called_with_the_bar_of_that_moment(n: int) -> None:
    def check(hour: int, symbol: str) -> Close | None:
        if hour == 5:
            raise RuntimeError("boom")
        return None

    one = setup(bar=buy_at_first, exits=(("bad", Rule(check)),))
    run([one], bars(n))

    assert [1, 2, 3, 4] == one.strategy.seen


@lengths
def test_strategy_whose_timer_failed_is_not_called_with_the_bar_of_that_moment(n: int) -> None:
    one = setup(start=lambda hour, ctx: ctx.at(5 * HOUR), timer=boom_at(5))
    run([one], bars(n))

    assert [1, 2, 3, 4] == one.strategy.seen


@lengths
def test_others_go_on_where_an_exit_rule_stopped_a_strategy(n: int) -> None:
    def check(hour: int, symbol: str) -> Close | None:
        if hour == 5:
            raise RuntimeError("boom")
        return None

    one, other = setup("one", bar=buy_at_first, exits=(("bad", Rule(check)),)), setup("other", ("Y",))
    result = run([one, other], bars(n), bars(n, "Y"))

    assert list(range(1, n + 1)) == other.strategy.seen
    assert ["one"] == [failure.strategy for failure in result.failures]


@lengths
def test_moment_goes_on_behind_a_strategy_that_fails(n: int) -> None:
    setups = [setup("first"), setup("second", bar=boom_at(5)), setup("third", bar=boom_at(5)), setup("fourth")]
    run(setups, bars(n))

    assert [n, 5, 5, n] == [one.strategy.seen[-1] for one in setups]
    assert list(range(1, n + 1)) == setups[3].strategy.seen


@lengths
def test_rules_are_asked_once_a_bar_of_each_open_position_in_config_order(n: int) -> None:
    asked: list[tuple[str, int, str]] = []

    def rule(name: str) -> tuple[tuple[str, Rule], ...]:
        return (("r", Rule(lambda hour, symbol: asked.append((name, hour, symbol)))),)

    setups = [setup("b", ("Y", "X"), rule("b"), bar=buy_at_first), setup("a", ("X",), rule("a"), bar=buy_at_first), setup("idle")]
    run(setups, bars(n), bars(n, "Y"))

    assert [("b", 3, "Y"), ("b", 3, "X"), ("a", 3, "X")] == [one for one in asked if one[1] == 3]
    # Bought by the decision at 1, filled at the open of the bar that ends at 2.
    assert list(range(2, n + 1)) == [hour for name, hour, _ in asked if name == "a"]


@pytest.mark.parametrize("name", ["two words", "class", "x = 1; y"])
def test_output_of_an_indicator_that_is_no_attribute_name_is_refused(name: str) -> None:
    class Odd(Indicator):
        outputs = (name,)

    result = run([setup(start=lambda hour, ctx: ctx.indicator(Odd(), "X"))], bars(SHORT))

    assert f"outputs of Odd must be names of attributes, not {name!r}" in result.errors[0]


@lengths
def test_rule_closes_at_the_next_open(n: int) -> None:
    one = setup(bar=buy_at_first, exits=(("r", Rule(lambda hour, symbol: Close("out") if hour == 6 else None)),))
    result = run([one], bars(n))

    assert [(2.0, ""), (7.0, "out")] == [
        (fill.price, order.request.tag) for fill, order in zip(result.fills, result.orders, strict=True)
    ]
