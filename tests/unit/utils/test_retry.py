"""Retry: one engine behind the function, the decorator, the policy and the async forms."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from herald.errors import (
    AmbiguousError,
    CircuitOpenError,
    HeraldError,
    NotConnected,
    NotSent,
    RateLimitedError,
    RejectedError,
    TransientError,
    WaitTimeout,
)
from herald.testing import FakeClock
from herald.utils.circuit_breaker import CircuitBreaker
from herald.utils.retry import (
    Retrier,
    RetryBudget,
    RetryPolicy,
    exponential_backoff,
    exponential_backoff_async,
    remaining_seconds,
)


class Flaky:
    """Raises the given errors one after the other, then answers; remembers when it was called."""

    def __init__(self, clock: FakeClock, *errors: BaseException) -> None:
        self.clock = clock
        self.errors = list(errors)
        self.times: list[float] = []

    def __call__(self) -> str:
        self.times.append(self.clock.monotonic())
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    @property
    def calls(self) -> int:
        return len(self.times)

    @property
    def delays(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]


class Runner:
    """Runs a function with retry the plain or the async way, on a fake clock that sleeping moves."""

    def __init__(self, asynchronous: bool, clock: FakeClock) -> None:
        self.asynchronous = asynchronous
        self.clock = clock

    def __call__(self, fn: Callable[[], Any], max_retries: int = 5, initial_delay: float = 1.0, **more: Any) -> Any:
        more = {"clock": self.clock.monotonic, "sleep": self.clock.sleep, "random": random.Random(1), **more}
        if not self.asynchronous:
            return exponential_backoff(fn, max_retries, initial_delay, **more)

        async def target() -> Any:
            return fn()

        return asyncio.run(exponential_backoff_async(target, max_retries, initial_delay, **more))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(0)


@pytest.fixture(params=[False, True], ids=["plain", "async"])
def run(request: pytest.FixtureRequest, clock: FakeClock) -> Runner:
    return Runner(request.param, clock)


def notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


def failures(count: int) -> list[BaseException]:
    return [ConnectionError(str(one)) for one in range(count)]


# --- how often


def test_a_success_is_returned_at_once(run: Runner, clock: FakeClock) -> None:
    fn = Flaky(clock)

    assert ("answer", 1, 0.0) == (run(fn), fn.calls, clock.monotonic())


def test_what_fails_for_a_moment_is_called_again(run: Runner, clock: FakeClock) -> None:
    fn = Flaky(clock, *failures(3))

    assert ("answer", 4) == (run(fn), fn.calls)


@pytest.mark.parametrize("max_retries", [0, 1, 5])
def test_at_most_one_call_and_max_retries_more_and_the_last_error_itself(run: Runner, clock: FakeClock, max_retries: int) -> None:
    errors = failures(10)
    fn = Flaky(clock, *errors)

    with pytest.raises(ConnectionError) as caught:
        run(fn, max_retries)

    assert 1 + max_retries == fn.calls
    assert errors[max_retries] is caught.value
    assert caught.value.__cause__ is None


def test_the_note_says_how_often_and_how_long_and_why_no_more(clock: FakeClock) -> None:
    with pytest.raises(ConnectionError) as caught:
        Runner(False, clock)(Flaky(clock, *failures(10)), 2, jitter=False)

    assert ["retry: gave up after 3 attempts in 3 s: max_retries is 2"] == notes(caught.value)


def test_an_error_that_is_raised_for_years_does_not_collect_notes(clock: FakeClock) -> None:
    kept = ConnectionError("closed")
    kept.add_note("broker: main")

    for _ in range(50):
        with pytest.raises(ConnectionError):
            Runner(False, clock)(Flaky(clock, kept), 0)

    assert 4 == len(notes(kept))
    assert "broker: main" == notes(kept)[0]


def test_an_error_that_takes_no_note_is_still_raised_itself(clock: FakeClock) -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        """Refuses every new attribute."""

        code: int

        def add_note(self, note: str) -> None:
            raise AttributeError(note)

    with pytest.raises(Frozen):
        Runner(False, clock)(Flaky(clock, Frozen(1)), 0)


# --- what is repeated


@pytest.mark.parametrize(
    "error",
    [
        CircuitOpenError("broker", 1.0),
        RateLimitedError("broker", 1.0),
        RejectedError("10019", "no money"),
        AmbiguousError("time-out"),
        NotConnected("call connect() first"),
        WaitTimeout("too long"),
        HeraldError("on purpose"),
    ],
)
@pytest.mark.parametrize("rule", [Exception, lambda error: True])
def test_an_error_of_herald_that_is_not_transient_is_never_repeated(
    run: Runner, clock: FakeClock, error: HeraldError, rule: Any
) -> None:
    fn = Flaky(clock, error)

    with pytest.raises(type(error)) as caught:
        run(fn, retry_on=rule)

    assert (1, error) == (fn.calls, caught.value)
    assert f"{type(error).__name__} is not repeated" in notes(error)[-1]


@pytest.mark.parametrize("error", [TransientError("busy"), NotSent("no route")])
def test_a_transient_error_is_repeated(run: Runner, clock: FakeClock, error: HeraldError) -> None:
    fn = Flaky(clock, error)

    assert ("answer", 2) == (run(fn, retry_on=TransientError), fn.calls)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_who_interrupts_is_obeyed_at_once(clock: FakeClock, error: type[BaseException]) -> None:
    fn = Flaky(clock, error())

    with pytest.raises(error) as caught:
        Runner(False, clock)(fn, retry_on=BaseException)

    assert (1, []) == (fn.calls, notes(caught.value))


def test_a_cancelled_task_is_not_repeated(clock: FakeClock) -> None:
    began = 0

    async def hangs() -> None:
        nonlocal began
        began += 1
        await asyncio.Event().wait()

    async def scene() -> None:
        task = asyncio.ensure_future(exponential_backoff_async(hangs, retry_on=BaseException, sleep=clock.sleep))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())

    assert 1 == began


@pytest.mark.parametrize("rule", [OSError, (OSError, KeyError), lambda error: isinstance(error, OSError)])
def test_only_what_the_rule_names_is_repeated(run: Runner, clock: FakeClock, rule: Any) -> None:
    fn = Flaky(clock, OSError(), ValueError("a mistake"))

    with pytest.raises(ValueError, match="a mistake"):
        run(fn, retry_on=rule)

    assert 2 == fn.calls


def test_a_rule_that_raises_means_no(clock: FakeClock) -> None:
    fn = Flaky(clock, OSError("original"))
    retrier = Retrier(RetryPolicy(), retry_on=lambda error: 1 / 0 > 1, clock=clock.monotonic, sleep=clock.sleep)

    with pytest.raises(OSError, match="original"):
        retrier.call(fn)

    assert (1, 1) == (fn.calls, retrier.statistics().callback_errors)


# --- how late


def test_without_jitter_the_delay_doubles_up_to_its_bound(run: Runner, clock: FakeClock) -> None:
    fn = Flaky(clock, *failures(6))

    run(fn, 6, 1.0, max_delay=10, jitter=False)

    assert [1, 2, 4, 8, 10, 10] == fn.delays


@pytest.mark.parametrize("factor", [1.0, 1.3, 2.0, 3.0])
def test_equal_jitter_stays_in_the_upper_half_and_never_falls(clock: FakeClock, factor: float) -> None:
    firsts = set()
    for seed in range(20):
        delays: list[float] = []
        settings: dict[str, Any] = {"factor": factor, "max_delay": 20, "random": random.Random(seed), "sleep": delays.append}

        Runner(False, clock)(Flaky(clock, *failures(8)), 8, 1.0, **settings)

        assert sorted(delays) == delays
        bounds = [min(20, factor**attempt) for attempt in range(8)]
        assert all(bound / 2 <= delay < bound for bound, delay in zip(bounds, delays, strict=True))
        firsts.add(delays[0])

    assert 20 == len(firsts)


def test_full_jitter_uses_the_whole_bound(clock: FakeClock) -> None:
    policy = RetryPolicy(initial_delay=2.0)

    shares = [policy.delay(0, draw) for draw in (0.0, 0.25, 0.5)] + [policy.delay(3, 0.5)]

    assert [0.0, 0.5, 1.0, 8.0] == shares


@pytest.mark.parametrize(("jitter", "expected"), [("equal", [30.0, 45.0]), (False, [60.0, 60.0])])
def test_the_largest_bound_holds_for_any_attempt_without_overflow(jitter: Any, expected: list[float]) -> None:
    policy = RetryPolicy(jitter=jitter)

    assert expected == [policy.delay(10**6, 0.0), policy.delay(7, 0.5)]


def test_delays_without_a_generator_given_differ_between_callers(clock: FakeClock) -> None:
    delays = set()
    for _ in range(5):
        fn = Flaky(clock, OSError())
        exponential_backoff(fn, clock=clock.monotonic, sleep=clock.sleep)
        delays.add(fn.delays[0])

    assert len(delays) > 1


def test_the_wait_that_an_error_asks_for_wins(run: Runner, clock: FakeClock) -> None:
    class Throttled(Exception):
        retry_after = 90

    fn = Flaky(clock, Throttled(), OSError())

    run(fn, max_delay=60, jitter=False)

    assert [90, 2] == fn.delays


@pytest.mark.parametrize("retry_after", [math.nan, -1, "soon", None, True])
def test_a_wait_that_makes_no_sense_is_not_obeyed(run: Runner, clock: FakeClock, retry_after: Any) -> None:
    error = OSError()
    error.retry_after = retry_after  # type: ignore[attr-defined]
    fn = Flaky(clock, error)

    run(fn, initial_delay=3, jitter=False)

    assert [3] == fn.delays


def test_an_endless_wait_means_never(run: Runner, clock: FakeClock) -> None:
    error = OSError()
    error.retry_after = math.inf  # type: ignore[attr-defined]
    fn = Flaky(clock, error)

    with pytest.raises(OSError):
        run(fn)

    assert 1 == fn.calls


def test_a_breaker_further_in_that_opens_ends_the_repetitions(clock: FakeClock) -> None:
    breaker = CircuitBreaker(2, 60, clock=clock.monotonic)
    fn = Flaky(clock, *failures(9))

    with pytest.raises(CircuitOpenError):
        Runner(False, clock)(lambda: breaker.call(fn), 5)

    assert 2 == fn.calls


# --- deadline


def test_nobody_sleeps_past_the_deadline(run: Runner, clock: FakeClock) -> None:
    fn = Flaky(clock, *failures(9))

    with pytest.raises(ConnectionError) as caught:
        run(fn, 9, 1.0, jitter=False, deadline=10)

    assert ([0, 1, 3, 7], 7) == (fn.times, clock.monotonic())  # the next delay, 8 s, would end at 15 s
    assert "the next delay of 8 s would reach the deadline, 3 s away" in notes(caught.value)[-1]


def test_a_call_that_outlasts_the_deadline_is_the_last(run: Runner, clock: FakeClock) -> None:
    def hangs() -> None:
        clock.advance(11)
        raise OSError

    with pytest.raises(OSError) as caught:
        run(hangs, deadline=10)

    assert "1 attempt in 11 s" in notes(caught.value)[-1]
    assert "0 s away" in notes(caught.value)[-1]


def test_a_wait_asked_for_beyond_the_deadline_ends_it(run: Runner, clock: FakeClock) -> None:
    error = OSError()
    error.retry_after = 10  # type: ignore[attr-defined]

    with pytest.raises(OSError):
        run(Flaky(clock, error), deadline=10)

    assert 0 == clock.monotonic()


def test_the_call_can_ask_how_much_time_is_left(run: Runner, clock: FakeClock) -> None:
    left: list[float | None] = []

    def fn() -> None:
        left.append(remaining_seconds())
        if len(left) == 1:
            clock.advance(2)
            raise OSError

    run(fn, deadline=10, jitter=False)

    assert [10, 7] == left
    assert remaining_seconds() is None


def test_the_nearest_of_nested_deadlines_counts(run: Runner, clock: FakeClock) -> None:
    left: list[float | None] = []
    outer = RetryPolicy(deadline=4, jitter=False)
    fn = Flaky(clock, *failures(9))

    def inner() -> None:
        left.append(remaining_seconds())
        Runner(False, clock)(innermost, deadline=100, jitter=False)

    def innermost() -> str:
        left.append(remaining_seconds())
        return fn()

    with pytest.raises(ConnectionError):
        outer.run(inner, retry_on=(), clock=clock.monotonic, sleep=clock.sleep)

    assert [4, 4, 3, 1] == left
    assert remaining_seconds() is None


def test_a_coroutine_that_nobody_finishes_can_be_closed_from_anywhere(clock: FakeClock) -> None:
    class Pause:
        def __await__(self) -> Any:
            yield

    async def target() -> None:
        await Pause()

    running = exponential_backoff_async(target, deadline=5, clock=clock.monotonic)
    contextvars.copy_context().run(running.send, None)

    running.close()

    assert inspect.CORO_CLOSED == inspect.getcoroutinestate(running)


# --- callbacks


def test_the_callback_gets_the_number_of_the_repetition_and_the_error_before_the_delay(run: Runner, clock: FakeClock) -> None:
    seen: list[tuple[int, str, float]] = []
    fn = Flaky(clock, *failures(9))

    with pytest.raises(ConnectionError):
        run(fn, 2, jitter=False, on_retry=lambda attempt, error: seen.append((attempt, str(error), clock.monotonic())))

    assert [(1, "0", 0.0), (2, "1", 1.0)] == seen


def test_the_callback_of_a_policy_gets_the_delay_too(clock: FakeClock) -> None:
    seen: list[tuple[int, str, float]] = []
    policy = RetryPolicy(jitter=False)

    def listener(attempt: int, error: Exception, delay: float) -> None:
        seen.append((attempt, str(error), delay))

    policy.run(Flaky(clock, *failures(2)), retry_on=OSError, on_retry=listener, clock=clock.monotonic, sleep=clock.sleep)

    assert [(1, "0", 1.0), (2, "1", 2.0)] == seen


def test_a_callback_of_the_function_that_raises_is_ignored(run: Runner, clock: FakeClock) -> None:
    assert "answer" == run(Flaky(clock, OSError()), on_retry=lambda attempt, error: 1 / 0)


def test_a_callback_that_raises_breaks_nothing(clock: FakeClock) -> None:
    def broken(attempt: int, error: Exception, delay: float) -> None:
        raise ZeroDivisionError

    retrier = Retrier(RetryPolicy(), retry_on=OSError, on_retry=broken, clock=clock.monotonic, sleep=clock.sleep)

    answer = retrier.call(Flaky(clock, OSError(), OSError()))

    assert ("answer", 2) == (answer, retrier.statistics().callback_errors)


def test_what_the_sleep_raises_passes_through(run: Runner, clock: FakeClock) -> None:
    class Stopping(Exception):
        """The worker stops."""

    def stop(seconds: float) -> None:
        raise Stopping

    fn = Flaky(clock, *failures(9))

    with pytest.raises(Stopping) as caught:
        run(fn, sleep=stop)

    assert (1, None) == (fn.calls, caught.value.__context__)


def test_an_async_callback_is_refused(clock: FakeClock) -> None:
    async def callback(*args: object) -> None: ...

    with pytest.raises(TypeError, match="on_retry"):
        exponential_backoff(Flaky(clock), on_retry=callback)
    with pytest.raises(TypeError, match="on_retry"):
        Retrier(RetryPolicy(), retry_on=OSError, on_retry=callback)


# --- decorators and async functions


def test_the_decorator_repeats_with_arguments_and_keeps_the_name(clock: FakeClock) -> None:
    flaky = Flaky(clock, OSError())

    @exponential_backoff(max_retries=3, clock=clock.monotonic, sleep=clock.sleep)
    def price(symbol: str, *, fn: int) -> tuple[str, str, int]:
        """Return a price."""
        return flaky(), symbol, fn

    assert ("answer", "EURUSD", 2) == price("EURUSD", fn=2)
    assert ("price", "Return a price.", 2) == (price.__name__, price.__doc__, flaky.calls)


def test_the_decorator_awaits_an_async_function(clock: FakeClock) -> None:
    flaky = Flaky(clock, OSError())

    @exponential_backoff(clock=clock.monotonic, sleep=clock.sleep)
    async def price(symbol: str) -> tuple[str, str]:
        await asyncio.sleep(0)
        return flaky(), symbol

    assert inspect.iscoroutinefunction(price)
    assert ("answer", "EURUSD") == asyncio.run(price("EURUSD"))
    assert "price" == price.__name__


def test_each_call_of_a_decorated_function_starts_anew(clock: FakeClock) -> None:
    calls: list[float] = []

    @exponential_backoff(max_retries=2, jitter=False, clock=clock.monotonic, sleep=clock.sleep)
    def fails() -> None:
        calls.append(clock.monotonic())
        raise OSError

    for _ in range(2):
        with pytest.raises(OSError):
            fails()

    assert [0, 1, 3, 3, 4, 6] == calls


def test_a_generator_cannot_be_repeated() -> None:
    def plain() -> Any:
        yield 1

    async def asynchronous() -> Any:
        yield 1

    for fn in (plain, asynchronous):
        with pytest.raises(TypeError, match="generator"):
            exponential_backoff()(fn)


async def fetch() -> str:
    return "answer"


@pytest.mark.parametrize("fn", [fetch, lambda: fetch()])
def test_an_async_function_in_the_plain_form_is_an_error_that_names_the_remedy(fn: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="exponential_backoff_async"):
        exponential_backoff(fn)


def test_a_plain_function_in_the_async_form_is_an_error_that_names_the_remedy(clock: FakeClock) -> None:
    with pytest.raises(TypeError, match="use exponential_backoff or"):
        asyncio.run(exponential_backoff_async(Flaky(clock)))  # type: ignore[arg-type]


def test_a_number_instead_of_a_function_is_an_error_that_names_the_remedy() -> None:
    with pytest.raises(TypeError, match=r"fn must be a function, not 3; as a decorator write @exponential_backoff\(max_retries="):
        exponential_backoff(3)  # type: ignore[call-overload]


def test_async_delays_leave_the_loop_to_others_by_default() -> None:
    flaky = Flaky(FakeClock(0), OSError())
    order: list[str] = []

    async def target() -> str:
        order.append("try")
        return flaky()

    async def other() -> None:
        order.append("other")

    async def scene() -> str:
        running = asyncio.ensure_future(exponential_backoff_async(target, initial_delay=0.001))
        await asyncio.sleep(0)
        await other()
        return await running

    assert "answer" == asyncio.run(scene())
    assert ["try", "other", "try"] == order


def test_an_async_sleep_is_awaited(clock: FakeClock) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)
        waits.append(seconds)

    flaky = Flaky(clock, OSError())

    async def target() -> str:
        return flaky()

    asyncio.run(exponential_backoff_async(target, jitter=False, clock=clock.monotonic, sleep=sleep))

    assert [1.0] == waits


def test_the_plain_form_sleeps_on_the_machine_by_default() -> None:
    flaky = Flaky(FakeClock(0), OSError())
    began = time.monotonic()

    exponential_backoff(flaky, 1, 0.01, jitter=False)

    assert time.monotonic() - began >= 0.01


# --- budget


def test_in_an_outage_a_budget_keeps_the_calls_below_eleven_tenths(clock: FakeClock) -> None:
    budget = RetryBudget()
    fn = Flaky(clock, *failures(10_000))
    retrier = Retrier(RetryPolicy(), retry_on=OSError, budget=budget, clock=clock.monotonic, sleep=clock.sleep)

    for _ in range(1000):
        with pytest.raises(ConnectionError):
            retrier.call(fn)

    assert fn.calls / 1000 <= 1.1
    assert 1020 == fn.calls  # 100 tokens pay 20 repetitions
    assert (20, 0.0) == (budget.statistics().granted, budget.tokens)


def test_without_a_budget_the_same_outage_is_multiplied_by_six(clock: FakeClock) -> None:
    fn = Flaky(clock, *failures(10_000))

    for _ in range(10):
        with pytest.raises(ConnectionError):
            Runner(False, clock)(fn)

    assert 60 == fn.calls


def test_a_spent_budget_raises_the_error_itself_and_says_so(run: Runner, clock: FakeClock) -> None:
    budget = RetryBudget(capacity=5, cost=5)
    error = OSError("second")

    with pytest.raises(OSError) as caught:
        run(Flaky(clock, OSError("first"), error), budget=budget)

    assert error is caught.value
    assert "the retry budget is spent" in notes(error)[-1]
    assert (1, 1) == (budget.statistics().granted, budget.statistics().refused)


def test_only_a_success_at_the_first_try_refunds_and_never_beyond_the_capacity(run: Runner, clock: FakeClock) -> None:
    budget = RetryBudget(capacity=20, cost=5, refund=3)

    tokens = []
    for errors in ([], [OSError()], [], []):
        run(Flaky(clock, *errors), budget=budget)
        tokens.append(budget.tokens)

    assert [20, 15, 18, 20] == tokens


def test_no_token_is_spent_where_the_deadline_forbids_the_repetition(run: Runner, clock: FakeClock) -> None:
    budget = RetryBudget()

    with pytest.raises(OSError):
        run(Flaky(clock, OSError()), initial_delay=5, budget=budget, deadline=1)

    assert 100 == budget.tokens


def test_threads_share_one_budget_to_the_last_token(clock: FakeClock) -> None:
    budget = RetryBudget(capacity=1000, cost=1, refund=0)
    granted: list[bool] = []
    together = threading.Barrier(8)

    def spend() -> None:
        together.wait(30)
        granted.extend([budget.spend() for _ in range(500)])

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (1000, 3000) == (granted.count(True), granted.count(False))
    assert (1000, 3000, 0.0) == (budget.statistics().granted, budget.statistics().refused, budget.statistics().tokens)


# --- the storm


def storm(jitter: Any, seed: int) -> int:
    """Return the most repetitions in any 100 ms when 200 clients fail together, 5 tries each."""
    generator = random.Random(seed)
    times: list[float] = []
    for _ in range(200):
        clock = FakeClock(0)
        fn = Flaky(clock, *failures(9))
        policy = RetryPolicy(max_retries=4, jitter=jitter)
        with pytest.raises(ConnectionError):
            policy.run(fn, retry_on=OSError, clock=clock.monotonic, sleep=clock.sleep, random=generator)
        times += fn.times[1:]
    times.sort()
    return max(sum(start <= other < start + 0.1 for other in times[at : at + 201]) for at, start in enumerate(times))


def test_full_jitter_spreads_a_storm_that_without_it_returns_in_step() -> None:
    assert 200 == storm(False, 0)
    assert max(storm("full", seed) for seed in range(3)) <= 40


# --- policy, retrier, statistics


def test_a_policy_runs_a_function_and_a_deadline_of_the_call_replaces_its_own(clock: FakeClock) -> None:
    policy = RetryPolicy(jitter=False, deadline=100)
    fn = Flaky(clock, *failures(9))

    with pytest.raises(ConnectionError):
        policy.run(fn, retry_on=OSError, deadline=2, clock=clock.monotonic, sleep=clock.sleep)

    assert 2 == fn.calls
    assert 100 == policy.deadline
    with pytest.raises(ValueError, match="deadline"):
        policy.run(fn, retry_on=OSError, deadline=-1)


def test_a_policy_is_a_frozen_value() -> None:
    policy = RetryPolicy(max_retries=2)

    with pytest.raises(AttributeError):
        policy.max_retries = 3  # type: ignore[misc]
    assert (RetryPolicy(max_retries=2), hash(RetryPolicy(max_retries=2)), "full") == (policy, hash(policy), policy.jitter)


def test_statistics_tell_how_calls_ended(run: Runner, clock: FakeClock) -> None:
    budget = RetryBudget(capacity=20, cost=5, refund=0)
    retrier = Retrier(
        RetryPolicy(max_retries=2, jitter=False, deadline=50),
        retry_on=OSError,
        budget=budget,
        clock=clock.monotonic,
        sleep=clock.sleep,
    )

    def end(*errors: BaseException) -> None:
        fn = Flaky(clock, *errors)

        async def target() -> str:
            return fn()

        with contextlib.suppress(OSError, ValueError):
            asyncio.run(retrier.call_async(target)) if run.asynchronous else retrier.call(fn)

    throttled = OSError()
    throttled.retry_after = 99  # type: ignore[attr-defined]
    end()
    end(OSError())  # recovered after 1 s
    end(ValueError())  # final
    end(*failures(3))  # exhausted after 1 s + 2 s
    end(throttled)  # out of time
    end(OSError())  # recovered after 1 s
    end(OSError())  # out of budget

    seen = retrier.statistics()

    assert (7, 1, 2, 1, 1, 1, 1) == (
        seen.calls,
        seen.first_try,
        seen.recovered,
        seen.final,
        seen.exhausted,
        seen.out_of_time,
        seen.out_of_budget,
    )
    assert (4, 5.0, 0) == (seen.retries, seen.delay_seconds, seen.callback_errors)


def test_one_retrier_serves_many_threads_without_mixing_their_calls() -> None:
    retrier = Retrier(RetryPolicy(max_retries=2, initial_delay=0.0), retry_on=OSError, sleep=lambda seconds: None)
    together = threading.Barrier(8)
    counts: list[int] = []

    def work() -> None:
        together.wait(30)
        for _ in range(100):
            fn = Flaky(FakeClock(0), *failures(9))
            with pytest.raises(ConnectionError):
                retrier.call(fn)
            counts.append(fn.calls)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [3] * 800 == counts
    assert (800, 1600) == (retrier.statistics().exhausted, retrier.statistics().retries)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("max_retries", value) for value in (-1, 1.5, math.nan, True, None)],
        *[("initial_delay", value) for value in (-1, math.nan, math.inf, "1")],
        *[("factor", value) for value in (0.9, -2, math.nan, math.inf)],
        *[("max_delay", value) for value in (-1, math.nan, math.inf, 0.5)],
        *[("jitter", value) for value in ("none", True, 0.5)],
        *[("deadline", value) for value in (0, -1, math.nan, math.inf)],
        *[("retry_on", value) for value in ("OSError", [OSError], (OSError, 1), int)],
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name_and_value(clock: FakeClock, name: str, value: Any) -> None:
    fn = Flaky(clock)

    with pytest.raises(ValueError, match=name) as caught:
        exponential_backoff(fn, **{name: value})

    assert repr(value) in str(caught.value)
    assert 0 == fn.calls


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("capacity", value) for value in (0, -1, math.nan, math.inf)],
        *[("cost", value) for value in (0, -1, math.nan, 101)],
        *[("refund", value) for value in (-1, math.nan)],
    ],
)
def test_a_budget_out_of_its_range_is_refused_by_name_and_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        RetryBudget(**{name: value})

    assert repr(value) in str(caught.value)
