"""Code that is not Herald's: what it may raise and return, and how its mistakes are named."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest

from herald.contracts import Context, Denial, Strategy
from herald.model import Bar, Fill, Order, Timer
from herald.runtime.building import misfit
from herald.testing import make_services
from tests.unit.engine.test_engine import Check, Ear, Rule, bars, run, setup


def leave(ctx: Context) -> None:
    sys.exit(3)


@pytest.mark.parametrize("hook", ["start", 1, "timer", "fill", "stop"])
def test_a_strategy_that_ends_the_process_ends_itself_and_no_other(hook: Any) -> None:
    actions: dict[Any, Any] = {hook: leave}
    if hook == "timer":
        actions["start"] = lambda ctx: ctx.at(1)
    if hook == "fill":
        actions[0] = lambda ctx: ctx.buy("X", 1)
    other = setup({4: lambda ctx: ctx.log("still here")}, "b")

    result = run([setup(actions, "a"), other], bars([10.0] * 6))

    assert ["a"] == [failure.strategy for failure in result.failures]
    assert "SystemExit: 3" in result.failures[0].error
    assert ["still here"] == [note.text for note in result.notes]


def test_several_series_go_on_behind_one_that_ends_the_process() -> None:
    two = (bars([10.0] * 6), bars([10.0] * 6, symbol="Y"))
    one, other = setup({2: leave}, "a", ("X", "Y")), setup({}, "b", ("X", "Y"))

    result = run([one, other], *two)

    assert ["a"] == [failure.strategy for failure in result.failures]
    assert 12 == len(other.strategy.bars)  # type: ignore[attr-defined]


def test_a_rule_a_check_and_an_observer_that_end_the_process_end_themselves() -> None:
    def away(*_: Any) -> None:
        sys.exit(1)

    class Bad(Ear):
        def observe(self, event: Any) -> None:
            sys.exit(2)

    entry = {0: lambda ctx: ctx.buy("X", 1)}
    ruled = run(setup(entry, exits=(("rule", Rule(away)),)))
    checked = run(setup(entry, checks=(("check", Check(away)),)))
    observed = run(setup(entry), observers={"ear": Bad(Bar)})

    assert "SystemExit: 1" in ruled.failures[0].error
    assert ["check_failed"] == [order.code for order in checked.orders]
    assert not observed.failures


SIZE = "size must be a finite number of lots, not "


@pytest.mark.parametrize(
    "ask",
    [
        lambda ctx: ctx.buy("X", math.nan),
        lambda ctx: ctx.sell("X", math.inf),
        lambda ctx: ctx.buy("X", "x"),
        lambda ctx: ctx.buy("X", [1]),
        lambda ctx: ctx.target("X", None),
        lambda ctx: ctx.target("X", math.nan),
        lambda ctx: ctx.target("X", -math.inf),
        lambda ctx: ctx.target("X", "2"),
    ],
)
def test_a_size_that_is_none_is_named_with_the_line_that_asked(ask: Callable[[Context], object]) -> None:
    result = run(setup({1: ask}))

    (failure,) = result.failures
    assert failure.error.startswith(f"ValueError: {SIZE}")
    assert "(test_foreign.py, line " in failure.error  # and not where Herald noticed


@pytest.mark.parametrize("n", [0, -1])
def test_a_number_of_bars_that_is_none_is_named(n: int) -> None:
    result = run(setup({1: lambda ctx: ctx.closes("X", n)}))

    assert f"n must be a number of bars, 1 or more, not {n}" in result.failures[0].error
    assert "warmup" not in result.failures[0].error


@pytest.mark.parametrize("answer", ["ten", -1, None, 2.5, True])
def test_a_warmup_that_is_no_number_of_bars_is_named(answer: Any) -> None:
    made = setup({})
    made.strategy.warmup = lambda: answer  # type: ignore[method-assign]

    result = run(made)

    expected = f"ValueError: warmup() must return a whole number of bars, 0 or more, not {answer!r}"
    assert expected in result.failures[0].error


# --- what build functions return ----------------------------------------------------------------------


class Good(Strategy[None]):
    pass


class Async(Strategy[None]):
    async def on_bar(self, bar: Bar, ctx: Context) -> None:  # type: ignore[override]
        pass


class Yields(Strategy[None]):
    def on_bar(self, bar: Bar, ctx: Context) -> Any:
        yield bar


class Mute:
    def check(self, request: Any, view: Any) -> Denial | None:
        return None


class Watcher:
    events: Any = (Fill, Order)

    def observe(self, event: Any) -> None:
        pass

    def close(self) -> None:
        pass


class Ticking(Watcher):
    events = "fills"


class Endless(Watcher):
    close = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "built", "words"),
    [
        ("strategy", Good(None, make_services()), ""),
        ("strategy", object(), "is no herald.Strategy; let its class inherit from it"),
        ("strategy", None, "is no herald.Strategy"),
        ("strategy", Good, "is no herald.Strategy"),
        ("strategy", Async(None, make_services()), "has an async on_bar(), which would never run; write a plain function"),
        ("strategy", Yields(None, make_services()), "yields in on_bar(), which would never run"),
        ("risk", Mute(), "does not say whether it spares reductions; state exempts_reductions = True or False"),
        ("risk", Timer, "has no method check()"),
        ("observer", Watcher(), ""),
        ("observer", Ticking(), "lists the events 'fills'; state events = (Fill, ...), a tuple of types"),
        ("observer", Endless(), "has no method close()"),
        ("exit", 7, "has no method check()"),
        ("sizer", Mute(), "has no method size()"),
        ("middleware", lambda call, proceed: None, ""),
        ("middleware", None, "has no method __call__()"),
        ("connector", Mute(), "has no method connect()"),
        ("anything else", None, ""),
    ],
)
def test_what_a_build_function_returns_is_looked_at(kind: str, built: object, words: str) -> None:
    found = misfit(kind, built)

    assert found.startswith(words) if words else found == ""
