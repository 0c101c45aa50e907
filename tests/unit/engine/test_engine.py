"""The engine's promises to strategies, exits, risk checks and observers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from herald.clock import HOUR, SimClock
from herald.contracts import Close, Context, Denial, Protect, Services, Strategy
from herald.engine.book import BookState, Ledger
from herald.engine.engine import Engine
from herald.engine.feed import Feed
from herald.engine.risk import EquityTrack, View
from herald.errors import DataError, OrderError
from herald.indicators.base import Indicator
from herald.live.market import QuotedMarket
from herald.model import (
    Bar,
    BarSeries,
    Fill,
    FloatArray,
    Instrument,
    Note,
    ObserverMuted,
    Order,
    OrderDenied,
    RunStarted,
    RunStopped,
    StrategyFailed,
    SystemEvent,
    Timeframe,
    Timer,
)
from herald.results import RunResult
from herald.runtime import StrategySetup, simulate
from herald.runtime.building import enlist
from herald.testing import FakeRiskView

H1 = Timeframe(3_600)
Action = Callable[[Context], object]


def bars(closes: list[float], symbol: str = "X", first: int = 1, span: int = HOUR) -> BarSeries:
    """Return flat bars, each at its close; bar k ends at ``(first + k) * span``."""
    column = np.array(closes, float)
    return BarSeries(symbol, span, (np.arange(len(closes)) + first) * span, column, column, column, column)


def terms(symbol: str = "X", **more: Any) -> Instrument:
    return Instrument(symbol=symbol, **{"quote": "USD", "price_step": 0.01, "size_step": 0.1, "min_size": 0.1} | more)


class Script(Strategy[Mapping[Any, Action]]):
    """Calls what the settings hold for ``n`` (number of the bar), ``"start"``, ``"stop"``, ``"timer"`` and ``"fill"``."""

    def warmup(self) -> int:
        return int(self.settings.get("warmup", 0))  # type: ignore[call-overload]

    def _do(self, key: Any, ctx: Context) -> None:
        if key in self.settings:
            self.settings[key](ctx)

    def on_start(self, ctx: Context) -> None:
        self.bars: list[Bar] = []
        self._do("start", ctx)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars.append(bar)
        self._do(len(self.bars) - 1, ctx)

    def on_timer(self, timer: Timer, ctx: Context) -> None:
        self._do("timer", ctx)

    def on_fill(self, fill: Fill, ctx: Context) -> None:
        self._do("fill", ctx)

    def on_stop(self, ctx: Context) -> None:
        self._do("stop", ctx)


def setup(
    actions: Mapping[Any, Any] | None = None, name: str = "s", symbols: tuple[str, ...] = ("X",), **more: Any
) -> StrategySetup:
    services = Services(name, SimClock(), random.Random(0))
    return StrategySetup(name, Script(actions or {}, services), symbols, more.pop("timeframes", (H1,)), **more)


def run(setups: list[StrategySetup] | StrategySetup, *series: BarSeries, **options: Any) -> RunResult:
    data = series or (bars([10.0] * 6),)
    options.setdefault("on_stop", "leave")
    known = {one.symbol: terms(one.symbol) for one in data}
    return simulate(setups if isinstance(setups, list) else [setups], data, known, **options)


def boom(ctx: Context) -> None:
    raise RuntimeError("boom")


class Ear:
    """Remembers events of some types."""

    def __init__(self, *events: type) -> None:
        self.events: tuple[type, ...] = events
        self.heard: list[Any] = []

    def observe(self, event: Any) -> None:
        self.heard.append(event)

    def close(self) -> None:
        pass


class Check:
    def __init__(self, answer: Callable[[Any, Any], Denial | None], *, exempts: bool = True) -> None:
        self.check = answer
        self.exempts_reductions = exempts


class Rule:
    def __init__(self, answer: Callable[..., Close | Protect | None]) -> None:
        self.answer = answer

    def check(self, position: Any, event: Any, ctx: Context) -> Close | Protect | None:
        return self.answer(position, event, ctx)


# --- strategies -----------------------------------------------------------------------------------


def test_on_bar_begins_when_warmup_bars_are_known() -> None:
    one = setup({"warmup": 3})

    run(one, bars([1, 2, 3, 4]))

    assert [3.0, 4.0] == [bar.close for bar in one.strategy.bars]


def test_bars_before_start_warm_up_and_are_not_delivered() -> None:
    one = setup({"warmup": 3, 0: lambda ctx: seen.append(ctx.closes("X", 3).tolist())})
    seen: list[list[float]] = []

    result = run(one, bars([1, 2, 3, 4, 5]), start=3 * HOUR)

    assert [[2.0, 3.0, 4.0]] == seen
    assert [4 * HOUR, 5 * HOUR] == result.equity.time.tolist()


def test_strategy_of_several_series_waits_for_all_of_them() -> None:
    one = setup({"warmup": 2}, symbols=("X", "Y"))

    run(one, bars([1, 2, 3, 4]), bars([7, 8], "Y", first=3))

    assert [("X", 4.0), ("Y", 8.0)] == [(bar.symbol, bar.close) for bar in one.strategy.bars]


def test_bars_of_one_time_are_all_known_before_any_is_delivered() -> None:
    seen = []
    one = setup(
        {n: lambda ctx: seen.append((float(ctx.closes("X", 1)[0]), float(ctx.closes("Y", 1)[0]))) for n in range(4)},
        symbols=("X", "Y"),
    )

    run(one, bars([1, 2]), bars([7, 8], "Y"))

    assert [(1, 7), (1, 7), (2, 8), (2, 8)] == seen


def test_strategies_are_called_in_config_order_for_each_series() -> None:
    order: list[str] = []
    a = setup({n: lambda ctx: order.append("a") for n in range(9)}, "a", ("X", "Y"))
    b = setup({n: lambda ctx: order.append("b") for n in range(9)}, "b", ("X",))

    run([a, b], bars([1]), bars([2], "Y"))

    assert ["a", "b", "a"] == order


def test_asking_for_more_bars_than_are_known_stops_the_strategy_with_a_remedy() -> None:
    result = run(setup({0: lambda ctx: ctx.closes("X", 5)}))

    assert "failed" == result.status
    assert "asks for 5 bars of 'X' and 1 are known; return more from warmup()" in result.errors[0]


def test_history_is_read_only_and_ends_now() -> None:
    seen: list[FloatArray] = []
    run(setup({2: lambda ctx: seen.append(ctx.closes("X", 2))}), bars([1, 2, 3, 4]))

    assert [2.0, 3.0] == seen[0].tolist()
    with pytest.raises(ValueError, match="read-only"):
        seen[0][0] = 9


def test_unknown_symbol_is_named_with_a_remedy() -> None:
    result = run(setup({0: lambda ctx: ctx.buy("ZZZ", 1)}))

    assert "strategies.s: does not trade 'ZZZ'; add it to its symbols and timeframe in the config" in result.errors[0]


def test_failed_strategy_stops_its_entries_are_cancelled_and_the_others_go_on() -> None:
    a = setup({0: lambda ctx: ctx.buy("X", 1, limit=5), 1: boom}, "a")
    b = setup({3: lambda ctx: ctx.buy("X", 1)}, "b")

    result = run([a, b])

    assert "failed" == result.status
    assert 2 == len(a.strategy.bars)
    assert {"a-000001": "cancelled", "b-000001": "filled"} == {order.id: str(order.status) for order in result.orders}
    assert "strategy 'a' was stopped at 1970-01-01T02:00:00Z: RuntimeError: boom (test_engine.py, line" in result.errors[0]


def test_failed_strategy_is_not_called_again_at_the_same_time() -> None:
    one = setup({0: boom}, symbols=("X", "Y"))

    run(one, bars([1, 2]), bars([7, 8], "Y"))

    assert [("X", 1.0)] == [(bar.symbol, bar.close) for bar in one.strategy.bars]


def test_protection_of_a_failed_strategy_stays() -> None:
    one = setup({0: lambda ctx: ctx.buy("X", 1, stop_loss=9), 2: boom})

    result = run(one, bars([10, 10, 10, 10, 8]))

    assert [10.0, 8.0] == [fill.price for fill in result.fills]


@pytest.mark.parametrize("hook", ["start", "stop", "timer", "fill"])
def test_failure_in_any_callback_is_a_failure_of_the_run(hook: str) -> None:
    actions: dict[Any, Any] = {hook: boom}
    if hook == "timer":
        actions["start"] = lambda ctx: ctx.at(2 * HOUR)
    if hook == "fill":
        actions[0] = lambda ctx: ctx.buy("X", 1)

    result = run(setup(actions))

    assert ("failed", 1) == (result.status, len(result.failures))


def test_timer_fires_with_the_first_event_at_or_after_its_time_and_before_on_bar() -> None:
    order: list[Any] = []
    actions = {"start": lambda ctx: ctx.at(2 * HOUR + 1, "x"), "timer": lambda ctx: order.append(("timer", ctx.now // HOUR))}
    actions |= {n: lambda ctx: order.append(("bar", ctx.now // HOUR)) for n in range(4)}  # type: ignore[dict-item]

    run(setup(actions), bars([1, 2, 3, 4]))

    assert [("bar", 1), ("bar", 2), ("timer", 3), ("bar", 3), ("bar", 4)] == order


def test_timer_set_while_running_fires() -> None:
    fired: list[int] = []
    run(setup({1: lambda ctx: ctx.at(4 * HOUR), "timer": lambda ctx: fired.append(ctx.now // HOUR)}), bars([1, 2, 3, 4, 5]))

    assert [4] == fired


class Close_(Indicator):
    """The close."""

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        return {"value": series.close}


def test_indicator_added_while_running_is_current_at_once_and_stays_so() -> None:
    held: list[Close_] = []
    seen: list[float] = []
    actions: dict[Any, Action] = {1: lambda ctx: (held.append(ctx.indicator(Close_(), "X")), seen.append(held[0].value))}
    actions |= {n: lambda ctx: seen.append(held[0].value) for n in (2, 3)}

    run(setup(actions), bars([1, 2, 3, 4]))

    assert [2.0, 3.0, 4.0] == seen


def test_target_counts_the_position_and_working_orders() -> None:
    answers: list[Any] = []

    def twice(ctx: Context) -> None:
        answers.append(ctx.target("X", 1.0))
        answers.append(ctx.target("X", 1.0))
        answers.append(ctx.target("X", 3.0))

    result = run(setup({0: twice}))

    assert [1.0, 2.0] == [fill.size for fill in result.fills]
    assert answers[1] is None


def test_close_also_withdraws_working_entries() -> None:
    actions = {0: lambda ctx: (ctx.buy("X", 1), ctx.buy("X", 1, limit=5)), 2: lambda ctx: (ctx.close("X"), ctx.close("X"))}

    result = run(setup(actions))

    assert ["filled", "cancelled", "filled"] == [str(order.status) for order in result.orders]
    assert () == result.positions


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda ctx: ctx.buy("X", 0.05), "size_too_small"),
        (lambda ctx: ctx.buy("X", 101), "size_too_large"),
        (lambda ctx: ctx.buy("X", -1), "size_too_small"),
        (lambda ctx: ctx.buy("X"), "no_size"),
        (lambda ctx: ctx.sell("X", 1, reduce_only=True), "nothing_to_reduce"),
        (lambda ctx: ctx.buy("X", 1, limit=float("nan")), "invalid_price"),
        (lambda ctx: ctx.buy("X", 1, stop=-1.0), "invalid_price"),
        (lambda ctx: ctx.buy("X", 1, stop_loss=11), "invalid_stop_loss"),
        (lambda ctx: ctx.sell("X", 1, stop_loss=9), "invalid_stop_loss"),
        (lambda ctx: ctx.buy("X", 1, limit=8, take_profit=7.5), "invalid_take_profit"),
        (lambda ctx: ctx.buy("X", 1, limit=8, time_in_force="gtd"), "invalid_expiry"),
        (lambda ctx: ctx.buy("X", 1, limit=8, time_in_force="gtd", expires=5), "invalid_expiry"),
        (lambda ctx: ctx.buy("X", 1, stop=12, time_in_force="ioc"), "invalid_time_in_force"),
    ],
)
def test_impossible_request_is_denied_with_a_code_and_does_not_raise(ask: Action, code: str) -> None:
    def asks(ctx: Context) -> None:
        answers.append(ask(ctx))

    answers: list[Any] = []

    result = simulate([setup({0: asks})], [bars([10.0] * 4)], {"X": terms(max_size=100.0)})

    assert ("completed", ()) == (result.status, result.fills)
    assert ("denied", code) == (str(answers[0].status), answers[0].code)
    assert answers[0].reason


def test_first_refusal_of_the_checks_stands_and_names_its_code() -> None:
    checks = (("a", Check(lambda request, view: None)), ("b", Check(lambda request, view: Denial("b_code", "b says no"))))

    result = run(setup({0: lambda ctx: ctx.buy("X", 1)}, checks=checks))

    assert ("b_code", "b says no") == (result.orders[0].code, result.orders[0].reason)


def test_check_that_raises_refuses() -> None:
    result = run(setup({0: lambda ctx: ctx.buy("X", 1)}, checks=(("risk[0]", Check(lambda request, view: 1 / 0)),)))  # type: ignore[arg-type, return-value]

    assert ("check_failed", "risk[0] raised ZeroDivisionError: division by zero") == (
        result.orders[0].code,
        result.orders[0].reason,
    )
    assert "completed" == result.status


@pytest.mark.parametrize(("exempts", "sizes"), [(True, [1.0, 1.0]), (False, [1.0])])
def test_reduction_is_exempt_only_from_checks_that_say_so(exempts: bool, sizes: list[float]) -> None:
    check = Check(lambda request, view: Denial("no", "sells are refused") if request.side < 0 else None, exempts=exempts)

    result = run(setup({0: lambda ctx: ctx.buy("X", 1), 2: lambda ctx: ctx.sell("X", 1)}, checks=(("c", check),)))

    assert sizes == [fill.size for fill in result.fills]


def test_order_that_turns_a_position_is_not_a_reduction() -> None:
    check = Check(lambda request, view: Denial("no", "sells are refused") if request.side < 0 else None)

    result = run(setup({0: lambda ctx: ctx.buy("X", 1), 2: lambda ctx: ctx.sell("X", 1.1)}, checks=(("c", check),)))

    assert [1.0] == [fill.size for fill in result.fills]


def test_two_reductions_together_must_not_turn_the_position_unchecked() -> None:
    check = Check(lambda request, view: Denial("no", "sells are refused") if request.side < 0 else None)

    result = run(
        setup({0: lambda ctx: ctx.buy("X", 1), 2: lambda ctx: (ctx.sell("X", 0.7), ctx.sell("X", 0.7))}, checks=(("c", check),))
    )

    assert [1.0, 0.7] == [fill.size for fill in result.fills]


def test_view_tells_equity_peak_and_equity_at_a_time() -> None:
    seen: list[tuple[float, ...]] = []

    def look(request: Any, view: Any) -> None:
        seen.append((view.equity_peak(), view.equity_at(2 * HOUR), view.account.equity, view.orders_since(1 * HOUR)))

    # Bought 10 lots at 10 with the second bar; 12, then 9.
    one = setup({0: lambda ctx: ctx.buy("X", 10), 3: lambda ctx: ctx.buy("X", 1)}, checks=(("c", Check(look)),))
    run(one, bars([10, 10, 12, 9, 9]))

    assert [(10_000, 10_000, 10_000, 0), (10_020, 10_000, 9_990, 1)] == seen


# --- exits ----------------------------------------------------------------------------------------


def test_first_close_in_order_wins_and_no_second_is_sent_while_it_works() -> None:
    rules = (("a", Rule(lambda *_: None)), ("b", Rule(lambda *_: Close("b_reason"))), ("c", Rule(lambda *_: Close("c_reason"))))

    result = run(setup({0: lambda ctx: ctx.buy("X", 1)}, exits=rules))

    assert ["", "b_reason"] == [order.request.tag for order in result.orders]


def test_share_closes_a_part() -> None:
    rules = (("a", Rule(lambda position, event, ctx: Close("part", 0.5) if position.size == 2 else None)),)

    result = run(setup({0: lambda ctx: ctx.buy("X", 2)}, exits=rules))

    assert [2.0, 1.0] == [fill.size for fill in result.fills]


def test_tightest_protection_wins_and_never_loosens() -> None:
    levels = {2: 8.0, 3: 9.0, 4: 7.0}
    rules = (
        ("a", Rule(lambda position, event, ctx: Protect("loose", stop_loss=5.0))),
        ("b", Rule(lambda position, event, ctx: Protect("tight", stop_loss=levels.get(event.time // HOUR)))),
    )

    result = run(setup({0: lambda ctx: ctx.buy("X", 1)}, exits=rules), bars([10, 10, 10, 10, 10, 8.5]))

    stops = [order for order in result.orders if order.request.parent]
    assert [9.0] == [order.request.stop for order in stops]
    assert (8.5, "tight") == (result.fills[-1].price, result.trades[0].exit_tag)


def test_protection_grows_with_the_position() -> None:
    rules = (("a", Rule(lambda position, event, ctx: Protect("p", stop_loss=9.0))),)

    result = run(
        setup({0: lambda ctx: ctx.buy("X", 1), 2: lambda ctx: ctx.buy("X", 2)}, exits=rules), bars([10, 10, 10, 10, 10, 8])
    )

    assert (3.0, 8.0) == (result.fills[-1].size, result.fills[-1].price)


def test_exit_rule_that_raises_stops_its_strategy_and_the_other_rules_go_on() -> None:
    rules = (
        ("bad", Rule(lambda *_: 1 / 0)),
        ("good", Rule(lambda position, event, ctx: Close("good") if event.close < 10 else None)),
    )  # type: ignore[arg-type, return-value]

    result = run(setup({0: lambda ctx: ctx.buy("X", 1)}, exits=rules), bars([10, 10, 10, 9, 9]))

    assert ("failed", "good") == (result.status, result.trades[0].exit_tag)


def test_exit_rule_may_not_place_orders() -> None:
    result = run(setup({0: lambda ctx: ctx.buy("X", 1)}, exits=(("r", Rule(lambda p, e, ctx: ctx.buy("X", 1))),)))  # type: ignore[arg-type, return-value]

    assert "an exit rule may not place orders; return Close or Protect" in result.errors[0]


# --- observers ------------------------------------------------------------------------------------


def test_observer_hears_only_what_it_lists_and_a_base_stands_for_all_below_it() -> None:
    everything, orders = Ear(SystemEvent), Ear(Order)
    one = setup({0: lambda ctx: (ctx.log("hello"), ctx.buy("X", 1), ctx.buy("X"))})

    run(one, observers={"everything": everything, "orders": orders})

    assert [RunStarted, Note, OrderDenied, RunStopped] == [type(event) for event in everything.heard]
    assert ["accepted", "filled"] == [str(order.status) for order in orders.heard]


def test_observer_may_hear_bars_before_strategies_do() -> None:
    ear = Ear(Bar)
    counts: list[int] = []

    run(setup({n: lambda ctx: counts.append(len(ear.heard)) for n in range(3)}), bars([1, 2, 3]), observers={"ear": ear})

    assert [1, 2, 3] == counts


def test_observer_that_fails_ten_times_in_a_row_is_muted_and_that_is_said() -> None:
    class Broken(Ear):
        def observe(self, event: Any) -> None:
            self.heard.append(event)
            raise RuntimeError("broken")

    broken, witness = Broken(Bar), Ear(ObserverMuted)

    run(setup(), bars([1.0] * 20), observers={"broken": broken, "witness": witness})

    assert 10 == len(broken.heard)
    assert [("broken", "RuntimeError: broken")] == [(event.observer, event.error) for event in witness.heard]


def test_failure_event_carries_the_traceback() -> None:
    ear = Ear(StrategyFailed)

    run(setup({0: boom}), observers={"ear": ear})

    assert "in boom" in ear.heard[0].traceback


# --- the run --------------------------------------------------------------------------------------


def test_dates_outside_the_data_say_what_there_is() -> None:
    with pytest.raises(DataError, match=r"no bars from 2000-01-01T00:00:00Z to the end: the data ends its bars between 1970"):
        run(setup(), start=946_684_800_000_000_000)


def test_equity_has_one_value_a_moment_and_ends_at_the_account() -> None:
    result = run(setup({0: lambda ctx: ctx.buy("X", 1)}), bars([10, 10, 11]), bars([5, 5], "Y", first=2, span=HOUR + HOUR // 2))

    assert [1.0, 2.0, 3.0, 4.5] == (result.equity.time / HOUR).tolist()
    assert result.account["equity"] == result.equity.equity[-1] == 10_001.0


def test_no_thread_is_started() -> None:
    import threading

    seen: list[int] = []
    before = threading.active_count()
    run(setup({0: lambda ctx: seen.append(threading.active_count())}))

    assert [before] == seen


def test_interrupt_keeps_what_was_done() -> None:
    import signal

    def interrupt(ctx: Context) -> None:
        signal.raise_signal(signal.SIGINT)

    result = run(setup({0: lambda ctx: ctx.buy("X", 1), 5: interrupt}), bars([10.0] * 10_000))

    assert "interrupted" == result.status
    assert 1 == len(result.fills)
    assert len(result.equity.time) < 10_000


def test_bad_request_type_of_the_engine_is_refused() -> None:
    from herald.engine.market import Market

    ledger, market = Ledger(1.0), Market({}, {}, "USD", {}, [], 0)
    view = View(ledger, market, {}, lambda: None, EquityTrack(ledger, market, lambda: np.empty(0, np.int64)))  # type: ignore[arg-type, return-value]
    engine = Engine(ledger, market, [], view, lambda: None)  # type: ignore[arg-type, return-value]

    with pytest.raises(OrderError, match="the engine takes no Note"):
        engine.step(Note(0, "s", "text"))


# --- going on after a failure -----------------------------------------------------------------------


class Reviver:
    """An observer of bars that lets a strategy go on when its time has come."""

    events: tuple[type, ...] = (Bar,)

    def __init__(self, name: str, time: int) -> None:
        self.name, self.time = name, time
        self.answers: list[bool] = []

    def observe(self, event: Bar) -> None:
        if event.time == self.time:
            self.answers += [self.engine.revive(self.name), self.engine.revive(self.name)]

    def close(self) -> None:
        pass


def stepped(strategy: StrategySetup, reviver: Reviver, count: int = 6, held: float = 0.0) -> Any:
    """Take flat bars one by one through an engine that *reviver* may ask to revive the strategy."""
    from herald.engine.book import Ledger
    from herald.engine.engine import Engine
    from herald.engine.risk import EquityTrack, View

    feed, known = Feed("X", HOUR), {"X": terms()}
    market = QuotedMarket({"X": feed}, known, "USD", {}, ("X",), 10**18)
    ledger = Ledger(1_000.0)
    view = View(ledger, market, known, lambda: FakeRiskView().account, EquityTrack(ledger, market, lambda: feed.series(0).time))
    engine = Engine(ledger, market, [feed], view, lambda: FakeRiskView().account)
    reviver.engine = engine  # type: ignore[attr-defined]
    engine.observe({"reviver": reviver}, [Bar])
    enlist(engine, strategy, known, [feed], view)
    engine.start()
    for runner in engine.runners:
        if not runner.failed and runner.warmup == 0:
            engine.admit(runner)
    if held:
        ledger.books["s", "X"].load(BookState("s", "X", held, 10.0, 0.0, 0.0, 1, 0.0, "", ""))
    series = bars([10.0] * count)
    for index in range(count):
        engine.step(series.bar(index))
    return engine


def test_a_failed_strategy_goes_on_when_somebody_says_so() -> None:
    failing = setup({1: boom})
    reviver = Reviver("s", 4 * HOUR)

    engine = stepped(failing, reviver)

    # Bar 2 raised; the observer hears bar 4 before the strategy does.
    assert [1, 2, 4, 5, 6] == [bar.time // HOUR for bar in failing.strategy.bars]  # type: ignore[attr-defined]
    assert [True, False] == reviver.answers
    assert 1 == len(engine.failures)


def test_a_strategy_that_failed_while_it_started_is_started_again() -> None:
    tries: list[int] = []

    def start(ctx: Context) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("not yet")

    failing = setup({"start": start, "warmup": 2})

    stepped(failing, Reviver("s", 4 * HOUR))

    assert [4, 5, 6] == [bar.time // HOUR for bar in failing.strategy.bars]  # type: ignore[attr-defined]
    assert 2 == len(tries)


def test_one_that_fails_again_stays_stopped_and_unknown_names_change_nothing() -> None:
    failing = setup({"start": boom})
    reviver, nobody = Reviver("s", 4 * HOUR), Reviver("t", 4 * HOUR)

    engine = stepped(failing, reviver)
    stepped(setup(), nobody)

    assert [False, False] == reviver.answers == nobody.answers
    assert 3 == len(engine.failures)


def test_its_exit_rules_that_raised_are_asked_again() -> None:
    asked: list[int] = []

    def answer(position: Any, event: Any, ctx: Context) -> None:
        asked.append(event.time // HOUR)
        if len(asked) == 1:
            raise RuntimeError("planted")

    watched = setup({}, exits=(("rule", Rule(answer)),))
    stepped(watched, Reviver("s", 4 * HOUR), held=1.0)

    assert [1, 5, 6] == asked
