"""The circuit breaker, row by row of what other breakers get wrong, plain and async."""

from __future__ import annotations

import asyncio
import functools
import math
import random
import re
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from herald.errors import CircuitOpenError, HeraldError, NotSent, RateLimitedError, RejectedError, TransientError
from herald.testing import FakeClock
from herald.utils.circuit_breaker import CircuitBreaker, CircuitMode, CircuitSnapshot, CircuitState

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
WAIT = 30.0  # bound of every wait for another thread; never reached unless something is broken


class Broken(Exception):
    """The other side failed."""


class Ignored(Exception):
    """No evidence either way."""


def fail(error: BaseException | None = None) -> None:
    raise error or Broken("down")


def ok(value: object = "answer") -> object:
    return value


class Caller:
    """Calls a breaker the plain or the async way, so that one test states the behaviour of both."""

    def __init__(self, asynchronous: bool) -> None:
        self.asynchronous = asynchronous

    def __call__(self, breaker: CircuitBreaker, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not self.asynchronous:
            return breaker.call(fn, *args, **kwargs)

        async def target(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return fn(*args, **kwargs)

        return asyncio.run(breaker.call_async(target, *args, **kwargs))

    def fails(self, breaker: CircuitBreaker, times: int = 1, error: type[BaseException] = Broken) -> None:
        for _ in range(times):
            with pytest.raises(error):
                self(breaker, fail, error("down"))


@pytest.fixture(params=[False, True], ids=["plain", "async"])
def call(request: pytest.FixtureRequest) -> Caller:
    return Caller(request.param)


@pytest.fixture
def plain() -> Caller:
    return Caller(False)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def made(clock: FakeClock, threshold: int = 3, timeout: float = 60.0, **more: Any) -> CircuitBreaker:
    return CircuitBreaker(threshold, timeout, "broker", clock=clock.monotonic, **more)


def opened(clock: FakeClock, call: Caller, **more: Any) -> CircuitBreaker:
    breaker = made(clock, **more)
    call.fails(breaker, 3)
    return breaker


# --- closed, and opening


def test_a_closed_circuit_hands_on_arguments_and_result(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock)

    answer = call(breaker, lambda *args, **kwargs: (args, kwargs), 1, 2, fn=3, breaker=4)

    assert ((1, 2), {"fn": 3, "breaker": 4}) == answer
    assert (True, False, 0, 0.0) == (breaker.is_closed, breaker.is_open, breaker.failure_count, breaker.retry_after)


def test_failures_in_a_row_open_the_circuit_and_the_last_one_is_raised_itself(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock)
    last = Broken("third")
    call.fails(breaker, 2)

    with pytest.raises(Broken) as caught:
        call(breaker, fail, last)

    assert last is caught.value
    assert (OPEN, True, 3, 60.0) == (breaker.state, breaker.is_open, breaker.failure_count, breaker.retry_after)


def test_alternating_failures_and_successes_never_open(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock)

    for _ in range(6):
        call.fails(breaker)
        call(breaker, ok)

    assert CLOSED is breaker.state
    assert 0 == breaker.failure_count


def test_an_open_circuit_refuses_without_calling(call: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, call)
    reached: list[int] = []
    clock.advance(20.5)

    with pytest.raises(CircuitOpenError) as caught:
        call(breaker, reached.append, 1)

    assert [] == reached
    assert "circuit breaker 'broker' is OPEN; retry in 39.5 s" == str(caught.value)
    assert re.search("Circuit breaker.*is OPEN", str(caught.value), re.IGNORECASE)
    assert ("broker", 39.5) == (caught.value.name, pytest.approx(caught.value.retry_after, abs=1e-6))
    assert "down" == str(caught.value.last_error)
    assert isinstance(caught.value, HeraldError)


def test_each_refusal_is_a_new_exception_with_a_short_traceback(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain)
    seen: list[CircuitOpenError] = []

    for _ in range(1000):
        with pytest.raises(CircuitOpenError) as caught:
            breaker.call(ok)
        seen.append(caught.value)

    assert 1000 == len({id(one) for one in seen})
    assert len(traceback.extract_tb(seen[-1].__traceback__)) <= 5


def test_calls_of_a_closed_circuit_run_side_by_side(plain: Caller, clock: FakeClock) -> None:
    # Every call waits until all eight are inside: under a lock they would never meet.
    breaker = made(clock)
    together = threading.Barrier(8)
    threads = [threading.Thread(target=breaker.call, args=(together.wait, WAIT)) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)

    assert not together.broken
    assert 8 == breaker.statistics().successes


# --- half-open


def test_after_the_timeout_one_successful_trial_closes(call: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, call)
    clock.advance(60)

    due = (breaker.state, breaker.retry_after)
    answer = call(breaker, ok)

    assert (OPEN, 0.0) == due  # looking changes nothing
    assert ("answer", CLOSED, 0) == (answer, breaker.state, breaker.failure_count)


def test_a_moment_before_the_timeout_the_circuit_still_refuses(call: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, call)
    clock.advance(59.99)

    with pytest.raises(CircuitOpenError):
        call(breaker, ok)


def test_a_failed_trial_opens_again_for_the_whole_timeout(call: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, call)
    clock.advance(60)

    call.fails(breaker)

    assert (OPEN, 60.0) == (breaker.state, breaker.retry_after)


def test_threads_at_a_half_open_circuit_one_inside_the_others_refused_at_once() -> None:
    # 64 threads x 1,000 cycles. The trial stays inside until the 63 others have been refused: if one of them were let in
    # or queued behind the trial, nobody would come to 63 and the wait would fail.
    threads, cycles = 64, 1000
    now = 0.0
    breaker = CircuitBreaker(1, 1.0, "broker", clock=lambda: now)
    lock = threading.Lock()
    all_refused = threading.Event()
    inside = refused = 0
    wrong: list[tuple[int, int]] = []

    def reopen() -> None:
        nonlocal now, inside, refused
        if breaker.generation and (inside, refused) != (1, threads - 1):
            wrong.append((inside, refused))
        inside = refused = 0
        all_refused.clear()
        breaker.open()
        now += 1.0

    def trial() -> bool:
        nonlocal inside
        with lock:
            inside += 1
        return all_refused.wait(WAIT)

    start = threading.Barrier(threads, action=reopen)
    waits: list[bool] = []

    def work() -> None:
        nonlocal refused
        for _ in range(cycles):
            start.wait(WAIT)
            try:
                waits.append(breaker.call(trial))
            except CircuitOpenError:
                with lock:
                    refused += 1
                    if refused == threads - 1:
                        all_refused.set()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [] == wrong
    assert (1, threads - 1) == (inside, refused)
    assert [True] * cycles == waits
    assert cycles * (threads - 1) == breaker.statistics().rejected


def test_tasks_at_a_half_open_circuit_one_inside_the_others_refused_at_once(clock: FakeClock) -> None:
    breaker = made(clock, 1)
    breaker.open()
    clock.advance(60)

    async def scene() -> list[object]:
        release = asyncio.Event()
        trial = asyncio.ensure_future(breaker.call_async(release.wait))
        await asyncio.sleep(0)
        others = await asyncio.gather(*(breaker.call_async(release.wait) for _ in range(63)), return_exceptions=True)
        release.set()
        return [await trial, *others]

    results = asyncio.run(scene())

    assert results[0] is True
    assert [CircuitOpenError] * 63 == [type(one) for one in results[1:]]
    assert CLOSED is breaker.state


def test_a_refusal_while_the_trial_runs_says_when_its_permit_ends(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain, half_open_timeout=7)
    clock.advance(60)

    def meanwhile() -> tuple[float, CircuitState]:
        with pytest.raises(CircuitOpenError, match="is OPEN; retry in 7 s"):
            breaker.call(ok)
        return breaker.retry_after, breaker.state

    retry_after, state = breaker.call(meanwhile)

    assert (7.0, HALF_OPEN) == (pytest.approx(retry_after), state)


def test_more_trials_at_once_and_more_successes_where_asked(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain, half_open_max_calls=2, success_threshold=3)
    clock.advance(60)

    def outer() -> None:
        def inner() -> None:
            with pytest.raises(CircuitOpenError):
                breaker.call(ok)

        breaker.call(inner)

    breaker.call(outer)
    after_two = breaker.state
    breaker.call(ok)

    assert (HALF_OPEN, CLOSED) == (after_two, breaker.state)


def test_a_permit_whose_holder_never_returns_expires_and_its_late_answer_decides_nothing(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain, half_open_timeout=10)
    clock.advance(60)
    states = []

    def hangs() -> None:
        clock.advance(9.5)
        with pytest.raises(CircuitOpenError):
            breaker.call(ok)
        clock.advance(0.5)
        with pytest.raises(Broken):
            breaker.call(fail)  # the next trial, which fails
        states.append(breaker.state)

    breaker.call(hangs)

    assert [OPEN, OPEN] == [*states, breaker.state]
    assert 1 == breaker.statistics().late


def test_a_late_failure_of_an_expired_trial_does_not_hurt_the_trial_that_replaced_it(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain, half_open_timeout=10, success_threshold=2)
    clock.advance(60)

    def hangs() -> None:
        clock.advance(10)
        breaker.call(ok)
        fail()

    with pytest.raises(Broken):
        breaker.call(hangs)

    assert HALF_OPEN is breaker.state


def test_half_open_is_left_by_one_trial_whatever_the_least_traffic_of_the_window(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, window_calls=100, min_calls=100)
    breaker.open()
    clock.advance(60)

    breaker.call(ok)

    assert CLOSED is breaker.state


# --- generations


def test_a_call_begun_before_the_opening_that_succeeds_during_half_open_is_ignored(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, 1)

    def old() -> CircuitState:
        plain.fails(breaker)
        clock.advance(60)
        with pytest.raises(KeyboardInterrupt):
            breaker.call(fail, KeyboardInterrupt())
        return breaker.state

    state = breaker.call(old)

    assert (HALF_OPEN, HALF_OPEN) == (state, breaker.state)
    assert 1 == breaker.statistics().late


def test_an_old_async_success_ends_while_the_trial_is_inside_and_decides_nothing(clock: FakeClock) -> None:
    breaker = made(clock, 1)

    async def scene() -> list[CircuitState]:
        old_may_end, trial_may_end = asyncio.Event(), asyncio.Event()
        old = asyncio.ensure_future(breaker.call_async(old_may_end.wait))
        await asyncio.sleep(0)
        breaker.open()
        clock.advance(60)
        trial = asyncio.ensure_future(breaker.call_async(trial_may_end.wait))
        await asyncio.sleep(0)
        states = [breaker.state]
        old_may_end.set()
        await old
        states.append(breaker.state)
        trial_may_end.set()
        await trial
        return [*states, breaker.state]

    assert [HALF_OPEN, HALF_OPEN, CLOSED] == asyncio.run(scene())


def test_an_old_failure_does_not_count_after_the_circuit_has_closed_again(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, 1)

    def old() -> None:
        breaker.open()
        clock.advance(60)
        breaker.call(ok)
        fail()

    with pytest.raises(Broken):
        breaker.call(old)

    assert (CLOSED, 0) == (breaker.state, breaker.failure_count)


def test_an_older_success_does_not_clear_the_failures_of_a_newer_generation(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock)

    def old() -> None:
        breaker.reset()
        plain.fails(breaker, 2)

    breaker.call(old)

    assert 2 == breaker.failure_count


# --- what an outcome says


@pytest.mark.parametrize("rule", [Ignored, (Ignored, KeyError), lambda error: isinstance(error, Ignored)])
def test_an_ignored_error_neither_counts_nor_clears(call: Caller, clock: FakeClock, rule: Any) -> None:
    breaker = made(clock, ignore=rule)

    call.fails(breaker, 2)
    call.fails(breaker, 1, Ignored)
    before = breaker.state
    call.fails(breaker, 1)

    assert (CLOSED, OPEN) == (before, breaker.state)


def test_an_ignored_error_of_a_trial_gives_the_permit_back(call: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, call, ignore=Ignored)
    clock.advance(60)

    call.fails(breaker, 1, Ignored)
    after_ignored = breaker.state
    call(breaker, ok)  # somebody else becomes the trial at once

    assert (HALF_OPEN, CLOSED) == (after_ignored, breaker.state)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_who_gives_up_says_nothing_of_the_other_side(plain: Caller, clock: FakeClock, error: type[BaseException]) -> None:
    breaker = made(clock, 1, counts=BaseException)

    plain.fails(breaker, 3, error)
    closed = breaker.state
    breaker.open()
    clock.advance(60)
    plain.fails(breaker, 3, error)

    assert (CLOSED, HALF_OPEN, 6) == (closed, breaker.state, breaker.statistics().ignored)


def test_a_cancelled_task_is_neutral_and_gives_its_permit_back(clock: FakeClock) -> None:
    breaker = made(clock, 1)
    breaker.open()
    clock.advance(60)

    async def scene() -> CircuitState:
        trial = asyncio.ensure_future(breaker.call_async(asyncio.Event().wait))
        await asyncio.sleep(0)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        state = breaker.state
        await breaker.call_async(asyncio.sleep, 0)
        return state

    assert (HALF_OPEN, CLOSED) == (asyncio.run(scene()), breaker.state)
    assert 1 == breaker.statistics().ignored


def test_an_error_that_does_not_count_is_an_answer_and_so_a_success(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock, counts=(TransientError, ConnectionError))
    call.fails(breaker, 2, TransientError)

    with pytest.raises(RejectedError):
        call(breaker, fail, RejectedError("10019", "no money"))

    assert 0 == breaker.failure_count
    call.fails(breaker, 3, NotSent)
    assert OPEN is breaker.state


@pytest.mark.parametrize("error", [CircuitOpenError("inner", 5.0), RateLimitedError("inner", 5.0)])
@pytest.mark.parametrize("counts", [Exception, TransientError])
def test_a_refusal_from_further_in_is_neutral(
    call: Caller, clock: FakeClock, error: HeraldError, counts: type[Exception]
) -> None:
    breaker = made(clock, 1, counts=counts)
    breaker.open()
    clock.advance(60)

    with pytest.raises(type(error)):
        call(breaker, fail, error)

    assert HALF_OPEN is breaker.state


def test_a_result_can_count_as_a_failure(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock, 2, result_counts=lambda result: result == "busy")

    answers = [call(breaker, ok, "busy"), call(breaker, ok, "busy")]

    assert (["busy", "busy"], OPEN) == (answers, breaker.state)


def test_a_predicate_that_raises_leaves_the_outcome_as_python_sees_it(call: Caller, clock: FakeClock) -> None:
    def broken(_: object) -> bool:
        raise ZeroDivisionError

    breaker = made(clock, 1, counts=broken, ignore=broken, result_counts=broken)

    answer = call(breaker, ok)
    closed = breaker.state
    call.fails(breaker)

    assert ("answer", CLOSED, OPEN) == (answer, closed, breaker.state)
    assert 3 == breaker.statistics().callback_errors


# --- async functions and decorators


async def fetch(symbol: str) -> str:
    """Return a quote."""
    await asyncio.sleep(0)
    return f"{symbol} 1.1"


@pytest.mark.parametrize("mode", list(CircuitMode))
@pytest.mark.parametrize("fn", [fetch, lambda symbol: fetch(symbol), functools.partial(fetch)])
def test_an_async_function_given_to_call_is_an_error_that_names_the_remedy(
    clock: FakeClock, fn: Callable[[str], Any], mode: CircuitMode
) -> None:
    breaker = made(clock, 1, mode=mode)

    with pytest.raises(TypeError, match=r"await breaker\.call_async"):
        breaker.call(fn, "EURUSD")

    assert CLOSED is breaker.state


def test_a_trial_that_was_given_the_wrong_kind_of_function_gives_its_permit_back(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain)
    clock.advance(60)

    with pytest.raises(TypeError, match="call_async"):
        breaker.call(fetch, "EURUSD")
    with pytest.raises(TypeError, match="call"):
        asyncio.run(breaker.call_async(ok))  # type: ignore[arg-type]
    breaker.call(ok)

    assert CLOSED is breaker.state


@pytest.mark.parametrize("mode", list(CircuitMode))
def test_a_plain_function_given_to_call_async_is_an_error_that_names_the_remedy(clock: FakeClock, mode: CircuitMode) -> None:
    breaker = made(clock, 1, mode=mode)

    with pytest.raises(TypeError, match=r"use call\(\)"):
        asyncio.run(breaker.call_async(ok))  # type: ignore[arg-type]

    assert CLOSED is breaker.state


def test_an_async_call_awaits_any_awaitable(clock: FakeClock) -> None:
    breaker = made(clock)

    async def scene() -> str:
        return await breaker.call_async(lambda: asyncio.ensure_future(fetch("EURUSD")))

    assert "EURUSD 1.1" == asyncio.run(scene())


def test_a_breaker_decorates_plain_and_async_functions(clock: FakeClock) -> None:
    breaker = made(clock, 1)

    @breaker
    def price(symbol: str) -> str:
        """Return a price."""
        raise Broken(symbol)

    guarded = breaker(fetch)
    first = asyncio.run(guarded("EURUSD"))
    with pytest.raises(Broken):
        price("EURUSD")

    assert ("EURUSD 1.1", "price", "Return a price.", "fetch") == (first, price.__name__, price.__doc__, guarded.__name__)
    with pytest.raises(CircuitOpenError):
        price("EURUSD")
    with pytest.raises(CircuitOpenError):
        asyncio.run(guarded("EURUSD"))


# --- listeners


def test_the_listener_sees_each_change_in_order_and_the_counters_that_led_to_it(call: Caller, clock: FakeClock) -> None:
    seen: list[tuple[CircuitState, CircuitState, int, int]] = []

    def listener(state: CircuitState) -> None:
        seen.append((state, breaker.state, breaker.failure_count, breaker.statistics().openings))

    breaker = made(clock, on_change=listener)

    call.fails(breaker, 3)
    clock.advance(60)
    call(breaker, ok)
    breaker.reset()  # no change, no event

    assert [(OPEN, OPEN, 3, 1), (HALF_OPEN, HALF_OPEN, 3, 1), (CLOSED, CLOSED, 0, 1)] == seen


def test_a_listener_that_raises_is_counted_and_the_original_error_raised(call: Caller, clock: FakeClock) -> None:
    def broken(state: CircuitState) -> None:
        raise ZeroDivisionError(state)

    breaker = made(clock, on_change=broken)

    call.fails(breaker, 3)

    assert (OPEN, 1) == (breaker.state, breaker.statistics().callback_errors)


def test_a_listener_may_use_the_breaker_and_its_own_changes_are_told_after_this_one(plain: Caller, clock: FakeClock) -> None:
    seen: list[CircuitState] = []

    def listener(state: CircuitState) -> None:
        if state is OPEN:
            breaker.reset()
        seen.append(state)

    breaker = made(clock, on_change=listener)

    plain.fails(breaker, 3)

    assert ([OPEN, CLOSED], CLOSED) == (seen, breaker.state)


def test_an_interrupted_listener_does_not_silence_the_next_change(plain: Caller, clock: FakeClock) -> None:
    seen: list[CircuitState] = []

    def listener(state: CircuitState) -> None:
        seen.append(state)
        if len(seen) == 1:
            raise KeyboardInterrupt

    breaker = made(clock, on_change=listener)

    with pytest.raises(KeyboardInterrupt):
        breaker.open()
    breaker.reset()

    assert [OPEN, CLOSED] == seen


def test_another_thread_is_not_held_by_a_slow_listener_and_its_change_is_told_after(plain: Caller, clock: FakeClock) -> None:
    entered, release = threading.Event(), threading.Event()
    seen: list[CircuitState] = []

    def listener(state: CircuitState) -> None:
        entered.set()
        assert release.wait(WAIT)
        seen.append(state)

    breaker = made(clock, on_change=listener)
    thread = threading.Thread(target=breaker.open)
    thread.start()
    assert entered.wait(WAIT)

    breaker.reset()  # returns although the listener is still busy with the opening
    told_meanwhile = list(seen)
    release.set()
    thread.join(WAIT)

    assert ([], [OPEN, CLOSED]) == (told_meanwhile, seen)


# --- windows and slow calls


def test_a_window_of_calls_opens_by_the_rate_of_failures(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock, window_calls=10, failure_rate=0.5, min_calls=4)

    call.fails(breaker, 3)
    few = breaker.state  # three calls decide nothing
    call(breaker, ok)

    assert (CLOSED, OPEN) == (few, breaker.state)


def test_a_window_of_calls_forgets_the_oldest(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, window_calls=4, failure_rate=0.5)
    plain.fails(breaker, 1)
    for _ in range(3):
        breaker.call(ok)
    full = breaker.statistics()

    breaker.call(ok)
    plain.fails(breaker, 1)

    assert (4, 0.25) == (full.window_calls, full.window_failure_rate)
    assert (CLOSED, 4, 0.25) == (breaker.state, breaker.statistics().window_calls, breaker.statistics().window_failure_rate)


def test_a_window_of_seconds_forgets_with_time(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, window_seconds=10, failure_rate=0.5, min_calls=4)
    plain.fails(breaker, 3)

    clock.advance(11)
    breaker.call(ok)
    plain.fails(breaker, 1)
    later = breaker.statistics()
    breaker.call(ok)
    plain.fails(breaker, 1)

    assert (CLOSED, 2, 0.5) == (later.state, later.window_calls, later.window_failure_rate)
    assert OPEN is breaker.state


def test_a_window_of_seconds_set_back_by_a_day_starts_again(plain: Caller) -> None:
    now = 100_000.0
    breaker = CircuitBreaker(window_seconds=10, min_calls=2, clock=lambda: now)
    plain.fails(breaker, 1)

    now -= 86_400
    breaker.call(ok)

    assert (1, 0.0) == (breaker.statistics().window_calls, breaker.statistics().window_failure_rate)


def test_threads_that_record_in_another_order_than_they_read_the_clock_share_the_newest_step() -> None:
    now = 100.0
    breaker = CircuitBreaker(window_seconds=10, clock=lambda: now)
    breaker.call(ok)

    now -= 0.5
    breaker.call(ok)

    assert 2 == breaker.statistics().window_calls


def slow(clock: FakeClock, seconds: float, then: Callable[[], object] = ok) -> object:
    clock.advance(seconds)
    return then()


def test_slow_calls_open_by_their_rate(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock, window_calls=4, slow_call_seconds=2, slow_rate=0.5)

    for seconds in (2.5, 0.5, 0.5):
        call(breaker, slow, clock, seconds)
    before = breaker.state
    call(breaker, slow, clock, 3)

    assert (CLOSED, OPEN) == (before, breaker.state)
    assert 2 == breaker.statistics().slow


def test_a_slow_trial_fails_where_slowness_opens(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, window_calls=4, slow_call_seconds=2, slow_rate=0.5)
    breaker.open()
    clock.advance(60)

    breaker.call(slow, clock, 3)

    assert OPEN is breaker.state


def test_a_slow_trial_succeeds_where_slowness_is_only_counted(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain, slow_call_seconds=2)
    clock.advance(60)

    breaker.call(slow, clock, 3)

    assert (CLOSED, 1) == (breaker.state, breaker.statistics().slow)


@pytest.mark.parametrize("window", [{"window_calls": 2}, {"window_seconds": 10}])
def test_slow_calls_leave_the_window_like_the_others(plain: Caller, clock: FakeClock, window: dict[str, int]) -> None:
    breaker = made(clock, slow_call_seconds=2, slow_rate=1.0, **window)
    breaker.call(slow, clock, 3)
    clock.advance(11)

    breaker.call(ok)
    breaker.call(ok)

    assert (2, 0.0) == (breaker.statistics().window_calls, breaker.statistics().window_slow_rate)


def test_slow_calls_and_slow_failures_are_only_counted_without_a_rate(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, 1, slow_call_seconds=2)

    breaker.call(slow, clock, 3)
    with pytest.raises(Broken):
        breaker.call(slow, clock, 3, fail)
    clock.advance(60)
    with pytest.raises(KeyboardInterrupt):
        breaker.call(slow, clock, 3, functools.partial(fail, KeyboardInterrupt()))

    assert (2, 1, 1, 1) == tuple(getattr(breaker.statistics(), one) for one in ("slow", "successes", "failures", "ignored"))


# --- how long it stays open


def test_the_open_time_is_a_function_of_the_attempt_and_starts_over_after_closing(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, 1, open_seconds=lambda attempt: 10.0 * 2**attempt)
    lasting = []

    for _ in range(3):
        plain.fails(breaker)
        lasting.append(breaker.retry_after)
        clock.advance(breaker.retry_after)
    breaker.call(ok)
    plain.fails(breaker)
    lasting.append(breaker.retry_after)

    assert [20, 40, 80, 20] == pytest.approx(lasting, abs=1e-5)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0, None])
def test_an_open_time_that_makes_no_sense_leaves_the_timeout(plain: Caller, clock: FakeClock, wrong: Any) -> None:
    breaker = made(clock, 1, open_seconds=lambda attempt: wrong)

    plain.fails(breaker)

    assert (60.0, 1) == (breaker.retry_after, breaker.statistics().callback_errors)


def test_jitter_lengthens_the_open_time_within_its_share(plain: Caller) -> None:
    times = []
    for seed in range(50):
        breaker = CircuitBreaker(1, 10.0, open_jitter=0.5, random=random.Random(seed), clock=lambda: 0.0)
        plain.fails(breaker)
        times.append(breaker.retry_after)

    assert 10.0 <= min(times) < 11.0
    assert 14.0 < max(times) <= 15.0


def test_a_clock_set_back_delays_the_trial_by_no_more_than_the_timeout(plain: Caller) -> None:
    now = 1e6
    breaker = CircuitBreaker(1, 60.0, clock=lambda: now)
    plain.fails(breaker)

    now -= 86_400
    left = breaker.retry_after
    now += 60
    breaker.call(ok)

    assert (60.0, CLOSED) == (left, breaker.state)


def test_a_clock_set_back_does_not_lengthen_a_permit(plain: Caller) -> None:
    now = 1e6
    breaker = CircuitBreaker(1, 60.0, half_open_timeout=5.0, clock=lambda: now)
    plain.fails(breaker)
    now += 60

    def hangs() -> CircuitState:
        nonlocal now
        now -= 86_400
        with pytest.raises(CircuitOpenError):
            breaker.call(ok)
        now += 5
        breaker.call(ok)
        return breaker.state

    assert CLOSED is breaker.call(hangs)


def test_the_clock_of_the_machine_plays_no_part(monkeypatch: pytest.MonkeyPatch, plain: Caller) -> None:
    hour = 3600.0
    breaker = CircuitBreaker(1, 600.0)
    short = CircuitBreaker(1, 1e-9)
    plain.fails(breaker)
    plain.fails(short)

    monkeypatch.setattr(time, "time", lambda: hour * 24 * 365 * 100)
    with pytest.raises(CircuitOpenError):
        breaker.call(ok)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    short.call(ok)

    assert CLOSED is short.state


# --- ramp


def test_a_ramp_lets_a_growing_share_through_and_then_closes(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain, ramp_seconds=10, ramp_start=0.1)
    clock.advance(60)
    breaker.call(ok)
    shares = []
    waits = []

    for _ in range(10):
        passed = 0
        for _ in range(100):
            try:
                breaker.call(ok)
                passed += 1
            except CircuitOpenError as refused:
                waits.append(refused.retry_after)
        shares.append(passed)
        clock.advance(1)
    ramping = breaker.state
    breaker.call(ok)

    assert [10, 19, 28, 37, 46, 55, 64, 73, 82, 91] == pytest.approx(shares, abs=1.01)  # 0.1 + 0.9 t / 10, of 100
    assert (HALF_OPEN, CLOSED) == (ramping, breaker.state)
    assert (1.0, 10.0) == pytest.approx((min(waits), max(waits)))  # until the ramp ends


def test_the_first_call_after_the_ramp_finds_the_circuit_closed(call: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, call, ramp_seconds=10)
    clock.advance(60)
    call(breaker, ok)
    clock.advance(10)

    assert CLOSED is call(breaker, lambda: breaker.state)


def test_a_second_trial_that_succeeds_during_the_ramp_does_not_start_it_again(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain, ramp_seconds=10, half_open_max_calls=2)
    clock.advance(60)

    def second() -> None:
        breaker.call(ok)  # begins the ramp
        clock.advance(6)

    breaker.call(second)
    clock.advance(4)

    assert CLOSED is breaker.call(lambda: breaker.state)


def test_in_a_ramp_the_rules_of_a_closed_circuit_hold(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain, ramp_seconds=10, ramp_start=1.0)
    clock.advance(60)
    breaker.call(ok)

    plain.fails(breaker, 2)
    breaker.call(ok)
    plain.fails(breaker, 2)
    before = breaker.state
    plain.fails(breaker, 1)

    assert (HALF_OPEN, OPEN) == (before, breaker.state)


def test_a_call_that_outlasts_the_ramp_closes_it(call: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, call, ramp_seconds=10, ramp_start=1.0)
    clock.advance(60)
    call(breaker, ok)

    call(breaker, slow, clock, 11)

    assert CLOSED is breaker.state


# --- by hand


def test_reset_closes_and_forgets(call: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, call)

    breaker.reset()

    assert (CLOSED, 0, 0.0) == (breaker.state, breaker.failure_count, breaker.retry_after)
    assert "answer" == call(breaker, ok)


def test_open_by_hand_lasts_as_long_as_said(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock)

    breaker.open(5)
    with pytest.raises(CircuitOpenError) as caught:
        call(breaker, ok)
    clock.advance(5)
    call(breaker, ok)

    assert caught.value.last_error is None
    assert CLOSED is breaker.state


def test_an_isolated_circuit_stays_open_until_reset(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock)
    breaker.isolate()
    clock.advance(86_400)

    with pytest.raises(CircuitOpenError, match="is OPEN; retry in inf s"):
        call(breaker, ok)
    probed = breaker.report_healthy()
    breaker.reset()

    assert (False, "answer") == (probed, call(breaker, ok))


@pytest.mark.parametrize("wait", [0, 60], ids=["open", "half-open"])
def test_a_healthy_probe_closes_at_once(plain: Caller, clock: FakeClock, wait: float) -> None:
    breaker = opened(clock, plain, ignore=Ignored)
    clock.advance(wait)
    if wait:
        plain.fails(breaker, 1, Ignored)

    closed = breaker.report_healthy()

    assert (True, CLOSED, False) == (closed, breaker.state, breaker.report_healthy())


def test_a_probe_older_than_the_opening_proves_nothing(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock)
    before = breaker.generation
    plain.fails(breaker, 3)

    old = breaker.report_healthy(before)
    new = breaker.report_healthy(breaker.generation)

    assert (False, True, CLOSED) == (old, new, breaker.state)


def test_a_healthy_probe_begins_the_ramp_where_there_is_one(plain: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, plain, ramp_seconds=10)

    began = breaker.report_healthy()
    breaker.call(ok)
    with pytest.raises(CircuitOpenError):
        breaker.call(ok)

    assert (True, HALF_OPEN, False) == (began, breaker.state, breaker.report_healthy())


def test_metrics_only_counts_and_never_opens_by_itself(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock, mode=CircuitMode.METRICS_ONLY)

    call.fails(breaker, 7)
    seen = breaker.statistics()
    breaker.open()

    assert (CLOSED, 7, 2, 0) == (seen.state, seen.failures, seen.suppressed, seen.openings)
    with pytest.raises(CircuitOpenError):
        call(breaker, ok)
    clock.advance(60)
    call.fails(breaker)
    assert OPEN is breaker.state


def test_disabled_lets_everything_through_and_counts_nothing(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock)
    call.fails(breaker, 1)
    breaker.set_mode(CircuitMode.DISABLED)

    call.fails(breaker, 7)
    answer = call(breaker, ok)
    seen = breaker.statistics()
    breaker.isolate()

    assert ("answer", CLOSED, 1, 0, CircuitMode.DISABLED) == (answer, seen.state, seen.failures, seen.successes, breaker.mode)
    with pytest.raises(CircuitOpenError):
        call(breaker, ok)


# --- over a restart


def test_a_snapshot_holds_remaining_seconds_and_restores_on_another_clock(call: Caller, clock: FakeClock) -> None:
    breaker = opened(clock, call)
    clock.advance(45)

    text = msgspec.json.encode(breaker.snapshot())
    other = FakeClock("2031-05-05")
    restored = made(other)
    restored.restore(msgspec.json.decode(text, type=CircuitSnapshot))

    assert (OPEN, 15.0, 3) == (restored.state, pytest.approx(restored.retry_after, abs=1e-6), restored.failure_count)
    other.advance(15)
    assert "answer" == call(restored, ok)


def test_a_restored_circuit_goes_on_with_its_attempts(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, 1, open_seconds=lambda attempt: float(attempt))
    breaker.restore(CircuitSnapshot(state=OPEN, remaining_seconds=0.5, attempt=7))
    clock.advance(0.5)

    plain.fails(breaker)

    assert 8.0 == breaker.retry_after


def test_snapshots_of_the_other_states(plain: Caller, clock: FakeClock) -> None:
    breaker = made(clock, ignore=Ignored)
    plain.fails(breaker, 2)
    closed = breaker.snapshot()
    breaker.isolate()
    isolated = breaker.snapshot()
    breaker.open()
    clock.advance(60)
    plain.fails(breaker, 1, Ignored)
    half_open = breaker.snapshot()

    breaker.restore(isolated)
    after_isolated = breaker.retry_after
    breaker.restore(half_open)
    after_half_open = (breaker.state, breaker.retry_after)
    breaker.restore(closed)
    plain.fails(breaker, 1)

    assert CircuitSnapshot(state=CLOSED, failure_count=2) == closed
    assert (True, 0.0, math.inf) == (isolated.isolated, isolated.remaining_seconds, after_isolated)
    assert (OPEN, 0.0) == after_half_open
    assert OPEN is breaker.state  # two failures before the restart and one after


@pytest.mark.parametrize(
    ("snapshot", "name"),
    [
        (CircuitSnapshot(state=OPEN, remaining_seconds=math.nan), "remaining_seconds"),
        (CircuitSnapshot(state=OPEN, remaining_seconds=-1), "remaining_seconds"),
        (CircuitSnapshot(state=OPEN, failure_count=-1), "failure_count"),
        (CircuitSnapshot(state=OPEN, attempt=-1), "attempt"),
    ],
)
def test_a_snapshot_that_makes_no_sense_is_refused(clock: FakeClock, snapshot: CircuitSnapshot, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        made(clock).restore(snapshot)


# --- statistics and settings


def test_statistics_are_a_value_that_adds_up(call: Caller, clock: FakeClock) -> None:
    breaker = made(clock, ignore=Ignored)
    call(breaker, ok)
    clock.advance(5)
    call.fails(breaker, 1, Ignored)
    call.fails(breaker, 3)
    clock.advance(60)
    call.fails(breaker, 1, Ignored)
    breaker.open()
    with pytest.raises(CircuitOpenError):
        call(breaker, ok)
    clock.advance(60)
    call(breaker, ok)
    clock.advance(2)

    seen = breaker.statistics()

    assert (2, 3, 2, 1, 0) == (seen.successes, seen.failures, seen.ignored, seen.rejected, seen.late)
    assert (2, 2, 1, 5) == (seen.openings, seen.half_openings, seen.closings, seen.transitions)
    assert (7.0, 120.0, 0.0) == pytest.approx((seen.seconds_closed, seen.seconds_open, seen.seconds_half_open), abs=1e-5)
    assert (5, 0, 0.0) == (seen.generation, seen.window_calls, seen.window_failure_rate)
    with pytest.raises(AttributeError):
        seen.successes = 0  # type: ignore[misc]


def test_successes_from_many_threads_are_all_counted(clock: FakeClock) -> None:
    breaker = made(clock)
    threads = [threading.Thread(target=lambda: [breaker.call(ok) for _ in range(500)]) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 4000 == breaker.statistics().successes


def test_the_representation_names_the_breaker_and_its_state(clock: FakeClock) -> None:
    assert "<CircuitBreaker 'broker' CLOSED>" == repr(made(clock))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("failure_threshold", value) for value in (0, -1, 1.5, math.nan, True)],
        *[("timeout", value) for value in (0, -1, math.nan, math.inf, "60")],
        *[("half_open_timeout", value) for value in (0, -1, math.nan, math.inf)],
        *[("half_open_max_calls", value) for value in (0, -1)],
        *[("success_threshold", value) for value in (0, -1)],
        *[("window_calls", value) for value in (0, -1, math.inf)],
        *[("window_seconds", value) for value in (0, -1, math.nan, math.inf)],
        *[("failure_rate", value) for value in (0, -0.1, 1.1, math.nan)],
        *[("min_calls", value) for value in (0, -1)],
        *[("slow_call_seconds", value) for value in (0, -1, math.nan, math.inf)],
        *[("slow_rate", value) for value in (0, 2, math.nan)],
        *[("open_jitter", value) for value in (-0.1, math.nan, math.inf)],
        *[("ramp_seconds", value) for value in (-1, math.nan, math.inf)],
        *[("ramp_start", value) for value in (0, 1.5, math.nan)],
        *[("counts", value) for value in ("Exception", 1, (ValueError, "x"), int)],
        ("ignore", [ValueError]),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name_and_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        CircuitBreaker(**{name: value})

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window_calls": 5, "window_seconds": 5.0}, "not both"),
        ({"window_calls": 5, "min_calls": 6}, "min_calls must be at most window_calls"),
        ({"slow_rate": 0.5}, "slow_rate 0.5 needs slow_call_seconds and a window"),
        ({"slow_rate": 0.5, "slow_call_seconds": 1.0}, "slow_rate 0.5 needs"),
        ({"window_seconds": 5.0, "min_calls": 0}, "min_calls"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CircuitBreaker(**settings)


def test_an_async_listener_is_refused() -> None:
    async def listener(state: CircuitState) -> None: ...

    with pytest.raises(TypeError, match="on_change"):
        CircuitBreaker(on_change=listener)


def test_the_promised_defaults() -> None:
    breaker = CircuitBreaker()

    with pytest.raises(Broken):
        breaker.call(fail)
    for _ in range(3):
        with pytest.raises(Broken):
            breaker.call(fail)
    before = breaker.state
    with pytest.raises(Broken):
        breaker.call(fail)

    assert ("circuit", CLOSED, OPEN) == (breaker.name, before, breaker.state)
    assert 59.0 < breaker.retry_after <= 60.0
