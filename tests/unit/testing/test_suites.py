"""The suites bite: each rule is broken on purpose by a component, and the test of that rule fails."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from herald.components import Services, Settings, component
from herald.contracts import (
    Capabilities,
    Close,
    Context,
    Denial,
    ExitRule,
    HistoryConnector,
    Observer,
    Protect,
    RiskCheck,
    RiskView,
    Strategy,
)
from herald.model import Bar, BarSeries, Event, Fill, OrderRequest, Position, Quote, Side, Timeframe
from herald.testing import (
    ConnectorContract,
    ExitRuleContract,
    ObserverContract,
    RiskCheckContract,
    StrategyContract,
    make_bars,
    make_walk,
)


class Nothing(Settings):
    pass


def failing(suite: object) -> set[str]:
    """Run every rule of *suite* that takes no fixture; return the names of those that fail."""
    names = [name for name in dir(suite) if name.startswith("test_")]
    result = set()
    for name in names:
        try:
            getattr(suite, name)()
        except (Exception, pytest.fail.Exception):
            result.add(name.removeprefix("test_"))
    return result


# --- strategies -----------------------------------------------------------------------------------


class Fine(Strategy[Nothing]):
    def warmup(self) -> int:
        return 3

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.target(bar.symbol, 1.0 if bar.close > ctx.closes(bar.symbol, 3).mean() else -1.0)


class Peeking(Fine):
    """Reads past the end of the view that it was given."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        view = ctx.closes(bar.symbol, 1)
        whole = view.base if view.base is not None else view
        later = whole[whole.tolist().index(bar.close) + 1 :]
        ctx.target(bar.symbol, 1.0 if len(later) and later[0] > bar.close else -1.0)


class Counting(Fine):
    """Keeps state outside of itself, so no two runs are alike."""

    count = 0

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        type(self).count += 1
        ctx.target(bar.symbol, float(type(self).count))


class Reading(Fine):
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        Path(__file__).read_text(encoding="utf-8")
        super().on_bar(bar, ctx)


class Calling(Fine):
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        socket.socket().close()
        super().on_bar(bar, ctx)


class Impatient(Fine):
    def warmup(self) -> int:
        return 1


class Idle(Strategy[Nothing]):
    pass


def strategy_suite(kind: type[Strategy[Any]], settings: Settings | None = None) -> StrategyContract:
    class Suite(StrategyContract):
        length = 60

    Suite.strategy, Suite.settings = kind, settings or Nothing()
    return Suite()


LOOK_AHEAD = {"requests_do_not_depend_on_later_bars", "requests_do_not_depend_on_other_futures"}


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Fine, set()),
        (Peeking, LOOK_AHEAD),
        (Counting, {*LOOK_AHEAD, "same_seed_gives_the_same_requests"}),
        (Reading, {"it_touches_nothing_outside_the_context"}),
        (Calling, {"it_touches_nothing_outside_the_context"}),
        (Idle, {"it_asks_for_something"}),
    ],
)
def test_strategy_suite_finds(kind: type[Strategy[Any]], broken: set[str]) -> None:
    assert broken == failing(strategy_suite(kind))


def test_strategy_suite_finds_a_warmup_that_is_too_short() -> None:
    assert "warmup_is_enough" in failing(strategy_suite(Impatient))


def test_strategy_suite_finds_settings_that_json_changes() -> None:
    class Odd(Settings):
        value: Any = None

    assert {"settings_survive_json"} == failing(strategy_suite(Fine, Odd(value=(1, 2))))


# --- risk checks ----------------------------------------------------------------------------------


class Sound:
    exempts_reductions = False

    def __init__(self, settings: Nothing, services: Services) -> None:
        pass

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        return self.refuse(request.size) if request.size > 1 else None

    def refuse(self, size: float) -> Denial:
        return Denial("too_large", f"{size} lots; the limit is 1")


class Blind(Sound):
    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        return None


class Forgetful(Sound):
    calls = 0

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        type(self).calls += 1
        return super().check(request, view) if type(self).calls % 3 else self.refuse(type(self).calls)


class Meddling(Sound):
    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        view.sent.append(view.now)  # type: ignore[attr-defined]
        return super().check(request, view)


class Mumbling(Sound):
    def refuse(self, size: float) -> Denial:
        return Denial("too_large", "no")


class Shouting(Sound):
    def refuse(self, size: float) -> Denial:
        return Denial("Too large!", f"{size} lots; the limit is 1")


class Undecided(Sound):
    exempts_reductions = None  # type: ignore[assignment]


def risk_suite(build: Callable[[Any, Services], RiskCheck]) -> RiskCheckContract:
    class Suite(RiskCheckContract):
        settings = Nothing()
        allowed = (OrderRequest("a-1", "a", "TEST", Side.BUY, 1.0),)
        refused = (OrderRequest("a-2", "a", "TEST", Side.BUY, 2.0), OrderRequest("a-3", "a", "TEST", Side.SELL, 3.0))

    Suite.component = component("one", Nothing, build)
    return Suite()


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Sound, set()),
        (Blind, {"it_refuses_what_it_should_and_nothing_else"}),
        (Meddling, {"it_changes_nothing"}),
        (Mumbling, {"its_text_names_the_limit_and_the_value"}),
        (Shouting, {"its_code_is_a_stable_word"}),
        (Undecided, {"it_says_whether_reductions_pass"}),
    ],
)
def test_risk_suite_finds(kind: Callable[[Any, Services], RiskCheck], broken: set[str]) -> None:
    assert broken == failing(risk_suite(kind))


def test_risk_suite_finds_an_answer_that_depends_on_more_than_the_request() -> None:
    assert "it_is_pure" in failing(risk_suite(Forgetful))


# --- observers ------------------------------------------------------------------------------------


class Listening:
    events: tuple[type, ...] = (Fill,)

    def __init__(self, settings: Nothing, services: Services) -> None:
        self.closed = 0

    def observe(self, event: Event) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


class Deaf(Listening):
    events = ()


class Choosy(Listening):
    events = (Fill, Bar)

    def observe(self, event: Event) -> None:
        assert isinstance(event, Fill)


class Once(Listening):
    def close(self) -> None:
        super().close()
        if self.closed > 1:
            raise RuntimeError("closed already")


class Strange(Listening):
    events = (Fill, str)


def observer_suite(build: Callable[[Any, Services], Observer]) -> ObserverContract:
    class Suite(ObserverContract):
        settings = Nothing()

    Suite.component = component("one", Nothing, build)
    return Suite()


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Listening, set()),
        (Choosy, {"it_survives_every_type_it_lists", "it_changes_no_event"}),
        (Once, {"closing_twice_is_harmless"}),
        (Strange, {"it_lists_event_types"}),
    ],
)
def test_observer_suite_finds(kind: Callable[[Any, Services], Observer], broken: set[str]) -> None:
    assert broken == failing(observer_suite(kind))


def test_observer_suite_finds_one_that_listens_to_nothing() -> None:
    assert "it_lists_event_types" in failing(observer_suite(Deaf))


# --- exit rules -----------------------------------------------------------------------------------


class Steady:
    def __init__(self, settings: Nothing, services: Services) -> None:
        self.seen = 0

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | Protect | None:
        self.seen += 1
        return self.answer(position, event)

    def answer(self, position: Position, event: Bar | Quote) -> Close | Protect | None:
        return Protect("steady", stop_loss=position.average_price * (0.5 if position.size > 0 else 1.5))


class Silent(Steady):
    def answer(self, position: Position, event: Bar | Quote) -> Close | Protect | None:
        return None


class Loosening(Steady):
    def answer(self, position: Position, event: Bar | Quote) -> Close | Protect | None:
        return Protect("loose", stop_loss=event.close * 0.9) if isinstance(event, Bar) else None


class Greedy(Steady):
    def answer(self, position: Position, event: Bar | Quote) -> Close | Protect | None:
        return Close("greedy", 1.5)


class Remembering(Steady):
    def answer(self, position: Position, event: Bar | Quote) -> Close | Protect | None:
        return Close("late") if self.seen > 50 else None


class BarsOnly(Steady):
    def answer(self, position: Position, event: Bar | Quote) -> Close | Protect | None:
        assert isinstance(event, Bar)
        return super().answer(position, event)


def exit_suite(build: Callable[[Any, Services], ExitRule]) -> ExitRuleContract:
    class Suite(ExitRuleContract):
        settings = Nothing()

    Suite.component = component("one", Nothing, build)
    return Suite()


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Steady, set()),
        (Silent, {"it_answers"}),
        (Loosening, {"a_stop_never_loosens"}),
        (Greedy, {"answers_are_well_formed"}),
        (Remembering, {"a_new_position_starts_afresh"}),
        (BarsOnly, {"quotes_are_taken"}),
    ],
)
def test_exit_suite_finds(kind: Callable[[Any, Services], ExitRule], broken: set[str]) -> None:
    assert broken == failing(exit_suite(kind))


# --- connectors -----------------------------------------------------------------------------------


class Walking(HistoryConnector):
    """Has one symbol."""

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        if symbol != "TEST":
            return super().bars(symbol, timeframe, start, end)
        return make_walk(40, timeframe=timeframe).between(start, end)


class Late(Walking):
    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        return super().bars(symbol, timeframe, start, None)


class Empty(Walking):
    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        return super().bars("TEST", timeframe, start, end) if symbol == "TEST" else make_bars([], symbol=symbol)


class Vague(Walking):
    def positions(self) -> tuple[()]:  # type: ignore[override]
        return ()


class Boastful(Walking):
    def capabilities(self) -> Capabilities:
        return Capabilities()


class Mutable(Walking):
    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        series = super().bars(symbol, timeframe, start, end)
        series.close = series.close.copy()
        return series


def broken_rules(kind: type[HistoryConnector]) -> Iterable[str]:
    class Suite(ConnectorContract):
        symbol = "TEST"

    suite = Suite()
    for name in (name for name in dir(suite) if name.startswith("test_")):
        methods = ["positions", "submit"] if name == "test_what_it_cannot_do_is_refused" else [""]
        for method in methods:
            try:
                getattr(suite, name)(kind(), *([method] if method else []))
            except (Exception, pytest.fail.Exception):
                yield name.removeprefix("test_")


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Walking, []),
        (Late, ["an_unfinished_bar_is_not_delivered", "bars_lie_in_the_range_asked_for"]),
        (Empty, ["an_unknown_symbol_is_an_error"]),
        (Vague, ["what_it_cannot_do_is_refused"]),
        (Boastful, ["it_says_that_it_has_history"]),
        (Mutable, ["columns_are_read_only"]),
    ],
)
def test_connector_suite_finds(kind: type[HistoryConnector], broken: list[str]) -> None:
    assert broken == list(broken_rules(kind))
