"""Call again what failed for a moment, ever later, and stop before that does harm.

::

    quotes = exponential_backoff(lambda: fetch("EURUSD"), max_retries=5, initial_delay=1.0)

    @exponential_backoff(max_retries=3, retry_on=TimeoutError, deadline=20)
    def fetch(symbol): ...                                  # an async def function works as well

    retrier = Retrier(RetryPolicy(), retry_on=TransientError, budget=RetryBudget())
    retrier.call(fetch, "EURUSD")                           # or: await retrier.call_async(fetch, "EURUSD")

All of them are one engine, and some rules hold in all of them:

- The first call and at most *max_retries* more.
- Never repeated: a `HeraldError` that is not a `TransientError` (an open circuit, a rejected order, an unknown outcome),
  whatever the caller's rule says; and ``BaseException``, such as ``KeyboardInterrupt`` or a cancelled task.
- The last error is raised itself, not wrapped, with a note that says how often it was tried and why no more.
- An error with a ``retry_after`` (seconds) is obeyed: that is the delay, however long; infinite means never.
- *deadline* bounds everything together: nobody sleeps past it. It cannot interrupt a call that hangs: hand
  `remaining_seconds` to the call as its time-out.
- What belongs to one call is kept in that call, so everything here may be used from many threads and tasks at once.

Repeat at one layer only: three layers of five tries each are 125 calls. And never repeat what may have taken effect and
must not take effect twice.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from threading import Lock
from types import CoroutineType, MappingProxyType
from typing import Any, Literal, NamedTuple, ParamSpec, TypeAlias, TypeVar, overload

import msgspec

from herald.errors import HeraldError, TransientError
from herald.utils._checks import above, at_least, whole
from herald.utils._rules import ErrorRule, checked_rule, matches

__all__ = [
    "Retrier",
    "RetryBudget",
    "RetryBudgetStatistics",
    "RetryPolicy",
    "RetryStatistics",
    "exponential_backoff",
    "exponential_backoff_async",
    "remaining_seconds",
]

P = ParamSpec("P")
R = TypeVar("R")

Jitter: TypeAlias = Literal["full", "equal", False]

RetryListener: TypeAlias = Callable[[int, Exception, float], object]

_NOTE = "retry: "
# An error object may be raised again and again for years (asyncio streams keep theirs); its notes must not pile up.
_MOST_NOTES = 3


# --- the policy


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how late to call again.

    Attributes:
        max_retries: Calls after the first, >= 0.
        initial_delay: Bound of the first delay, seconds, >= 0.
        factor: Growth of the bound per repetition, >= 1.
        max_delay: Largest bound, seconds, >= *initial_delay*.
        jitter: ``"full"``: a random share of the bound, which spreads many clients best. ``"equal"``: half the bound and a
            random share of the other half, never less than the delay before. ``False``: the bound.
        deadline: Seconds for all calls and delays together; None for no bound.

    Raises:
        ValueError: A value is out of its range.

    Source:
        M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """

    max_retries: int = 5
    initial_delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: Jitter = "full"
    deadline: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of their range."""
        whole("max_retries", self.max_retries, 0)
        at_least("initial_delay", self.initial_delay)
        at_least("factor", self.factor, 1.0)
        if at_least("max_delay", self.max_delay) < self.initial_delay:
            raise ValueError(f"max_delay must be at least initial_delay ({self.initial_delay:g}), not {self.max_delay!r}")
        if self.jitter is not False and self.jitter not in ("full", "equal"):
            raise ValueError(f"jitter must be 'full', 'equal' or False, not {self.jitter!r}")
        if self.deadline is not None:
            above("deadline", self.deadline)

    def bound(self, attempt: int) -> float:
        """Return the longest delay before repetition *attempt*, 0 for the first; seconds."""
        try:
            return min(self.max_delay, self.initial_delay * self.factor**attempt)
        except OverflowError:
            return self.max_delay

    def delay(self, attempt: int, draw: float) -> float:
        """Return how long to wait before a repetition.

        Args:
            attempt: Repetitions made so far, 0 for the first wait.
            draw: Random share in [0, 1), from the caller's generator.

        Returns:
            Seconds: in [0, bound) with full jitter, in [bound / 2, bound) with equal jitter, the bound without.
        """
        bound = self.bound(attempt)
        if self.jitter == "full":
            return draw * bound
        if self.jitter == "equal":
            return bound / 2 + draw * (bound / 2)
        return bound

    def run(
        self,
        fn: Callable[[], R],
        *,
        retry_on: ErrorRule,
        deadline: float | None = None,
        budget: RetryBudget | None = None,
        on_retry: RetryListener | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        random: Random | None = None,
    ) -> R:
        """Return what *fn* returns, calling it again as this policy says; see `Retrier` for the parameters.

        Args:
            fn: Called without arguments.
            retry_on: Which errors are worth another call; there is no default, because only the caller knows.
            deadline: Replaces the policy's.
            budget: Shared with other calls to the same target.
            on_retry: Called before each delay with the repetition, the error and the delay.
            clock: Seconds from an arbitrary start.
            sleep: Waits so many seconds.
            random: Draws the jitter.
        """
        policy = self if deadline is None else msgspec.structs.replace(self, deadline=deadline)
        retrier = Retrier(policy, retry_on=retry_on, budget=budget, on_retry=on_retry, clock=clock, sleep=sleep, random=random)
        return retrier.call(fn)


# --- the budget


class RetryBudgetStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a budget has granted since it was made.

    Attributes:
        capacity: Most tokens it holds.
        tokens: Tokens now.
        granted: Repetitions that it paid.
        refused: Repetitions that it could not pay.
    """

    capacity: float
    tokens: float
    granted: int
    refused: int


class RetryBudget:
    """Tokens that all callers of one target share, so that an outage is not multiplied by repetitions.

    A repetition takes *cost* tokens, a call that succeeds at the first try gives *refund* back. While the target works,
    a few failures are repeated freely; when it is down, the tokens end and every caller makes one call only.

    Args:
        capacity: Tokens at the start and at most, > 0.
        cost: Tokens per repetition, > 0 and at most *capacity*.
        refund: Tokens per first-try success, >= 0.

    Raises:
        ValueError: A parameter is out of its range.
    """

    def __init__(self, capacity: float = 100, cost: float = 5, refund: float = 1) -> None:
        """Start full."""
        self._capacity = above("capacity", capacity)
        self._cost = above("cost", cost)
        if cost > capacity:
            raise ValueError(f"cost must be at most capacity ({capacity:g}), not {cost!r}: no repetition could be paid")
        self._refund = at_least("refund", refund)
        self._tokens = float(capacity)
        self._granted = 0
        self._refused = 0
        self._lock = Lock()

    @property
    def tokens(self) -> float:
        """Tokens now."""
        return self._tokens

    def spend(self) -> bool:
        """Pay one repetition; return False, and take nothing, where the tokens do not suffice."""
        with self._lock:
            if self._tokens < self._cost:
                self._refused += 1
                return False
            self._tokens -= self._cost
            self._granted += 1
            return True

    def refund(self) -> None:
        """Give back what a success at the first try is worth."""
        if self._tokens >= self._capacity:
            return  # the usual case, so it is kept cheap; a token spent this very moment is not missed
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + self._refund)

    def statistics(self) -> RetryBudgetStatistics:
        """Return what was granted so far."""
        with self._lock:
            return RetryBudgetStatistics(
                capacity=self._capacity, tokens=self._tokens, granted=self._granted, refused=self._refused
            )


# --- how much time is left


class _Deadline(NamedTuple):
    until: float
    clock: Callable[[], float]
    outer: _Deadline | None

    def remaining(self) -> float:
        left = self.until - self.clock()
        return left if self.outer is None else min(left, self.outer.remaining())


_DEADLINE: contextvars.ContextVar[_Deadline | None] = contextvars.ContextVar("herald_retry_deadline", default=None)


def remaining_seconds() -> float | None:
    """Return how long the call that is being repeated around this point may still take.

    A connector deep inside hands it to its socket as time-out, so that one hanging try cannot use up the time of all.
    Known to the thread or task that makes the call and to tasks that it starts, not to other threads.

    Returns:
        Seconds, >= 0, the least of all deadlines around; None where there is none.
    """
    deadline = _DEADLINE.get()
    return None if deadline is None else max(0.0, deadline.remaining())


# --- the engine


# Why there is no further repetition; the fields of `RetryStatistics` that count it.
_FINAL, _EXHAUSTED, _OUT_OF_TIME, _OUT_OF_BUDGET = "final", "exhausted", "out_of_time", "out_of_budget"
_NO_STOPS: Mapping[str, int] = MappingProxyType(dict.fromkeys((_FINAL, _EXHAUSTED, _OUT_OF_TIME, _OUT_OF_BUDGET), 0))


class RetryStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a `Retrier` has seen since it was made.

    Attributes:
        calls: Calls that returned or were given up, however often they were tried; a cancelled one did neither.
        first_try: Calls that succeeded at once.
        recovered: Calls that succeeded after repetitions.
        final: Calls given up because the error is not to be repeated.
        exhausted: Calls given up after *max_retries* repetitions.
        out_of_time: Calls given up because the next delay would have reached the deadline.
        out_of_budget: Calls given up because the budget could not pay.
        retries: Repetitions decided on, over all calls.
        delay_seconds: Delays decided on, over all calls.
        callback_errors: Exceptions raised by *on_retry* or by the rule; otherwise ignored.
    """

    calls: int
    first_try: int
    recovered: int
    final: int
    exhausted: int
    out_of_time: int
    out_of_budget: int
    retries: int
    delay_seconds: float
    callback_errors: int


class Retrier:
    """Calls functions again as a policy says; made once, used for any number of calls, threads and tasks.

    Args:
        policy: How often and how late.
        retry_on: Which errors are worth another call: a class, several, or a function that is asked. A function
            that raises means no.
        budget: Shared by all callers of one target.
        on_retry: Called with the number of the repetition, from 1, the error and the delay in seconds, before each delay.
            An ``Exception`` that it raises is counted and otherwise ignored.
        clock: Seconds from an arbitrary start; should be monotonic.
        sleep: Waits so many seconds; what it raises (because a worker stops, say) passes through. In `call_async`
            ``time.sleep`` stands for ``asyncio.sleep``, and what another one returns is awaited where it can be.
        random: Draws the jitter.

    Raises:
        ValueError: *retry_on* is no rule.
        TypeError: *on_retry* is an ``async def`` function.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        retry_on: ErrorRule,
        budget: RetryBudget | None = None,
        on_retry: RetryListener | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        random: Random | None = None,
    ) -> None:
        """Check the rule and the callback."""
        self.policy = policy
        self.budget = budget
        self._rule = checked_rule("retry_on", retry_on)
        self._on_retry = on_retry
        _check_listener(on_retry)
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._lock = Lock()
        self._first_try = 0
        self._recovered = 0
        self._stops = dict(_NO_STOPS)
        self._retries = 0
        self._delay_seconds = 0.0
        self._callback_errors = 0

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what ``fn(*args, **kwargs)`` returns at the first try that succeeds.

        Raises:
            TypeError: *fn* is an ``async def`` function; nothing of it has run.
            BaseException: The last error of *fn*, itself.
        """
        attempts = _Attempts(self)
        try:
            while True:
                try:
                    result = fn(*args, **kwargs)
                except Exception as error:
                    delay = attempts.failed(error)
                    if delay is None:
                        raise
                else:
                    break
                self._sleep(delay)
        finally:
            attempts.end()
        if isinstance(result, CoroutineType):
            result.close()  # nothing of it has run; closed, Python does not warn that nobody awaited it
            raise TypeError(f"{fn!r} is an async function; use exponential_backoff_async or Retrier.call_async and await it")
        attempts.succeeded()
        return result

    async def call_async(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what ``await fn(*args, **kwargs)`` returns at the first try that succeeds.

        Raises:
            TypeError: *fn* returns nothing that can be awaited.
            BaseException: The last error of *fn*, itself.
        """
        attempts = _Attempts(self)
        try:
            while True:
                try:
                    awaitable = fn(*args, **kwargs)
                    result = await awaitable if inspect.isawaitable(awaitable) else _NOTHING
                except Exception as error:
                    delay = attempts.failed(error)
                    if delay is None:
                        raise
                else:
                    break
                await self._sleep_async(delay)
        finally:
            attempts.end()
        if result is _NOTHING:
            raise TypeError(f"{fn!r} returned nothing to await; use exponential_backoff or Retrier.call for a plain function")
        attempts.succeeded()
        return result

    def statistics(self) -> RetryStatistics:
        """Return what was seen so far."""
        with self._lock:
            return RetryStatistics(
                calls=self._first_try + self._recovered + sum(self._stops.values()),
                first_try=self._first_try,
                recovered=self._recovered,
                **self._stops,
                retries=self._retries,
                delay_seconds=self._delay_seconds,
                callback_errors=self._callback_errors,
            )

    # --- for one call; the lock is never held while anything of the caller's runs

    async def _sleep_async(self, delay: float) -> None:
        import asyncio  # not at the top: only who awaits pays for loading it, and has done so already

        pause = asyncio.sleep(delay) if self._sleep is time.sleep else self._sleep(delay)
        if inspect.isawaitable(pause):
            await pause

    def _wants(self, error: Exception) -> bool:
        if isinstance(error, HeraldError) and not isinstance(error, TransientError):
            return False
        try:
            return matches(self._rule, error)
        except Exception:
            self._count_callback_error()
            return False

    def _draw(self) -> float:
        if self._random is None:
            self._random = Random()  # made late, because seeding it costs more than a call that needs none
        return self._random.random()

    def _tell(self, attempt: int, error: Exception, delay: float) -> None:
        if self._on_retry is None:
            return
        try:
            self._on_retry(attempt, error, delay)
        except Exception:
            self._count_callback_error()

    def _count_callback_error(self) -> None:
        with self._lock:
            self._callback_errors += 1


class _Attempts:
    """One call: decides after each failure whether and when to try again.

    It neither calls nor sleeps, so it serves the plain and the async engine alike.
    """

    __slots__ = ("_last_delay", "_made", "_retrier", "_started", "_token")

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier
        self._made = 0  # repetitions
        self._last_delay = 0.0
        self._started = started = retrier._clock()
        deadline = retrier.policy.deadline
        self._token: contextvars.Token[_Deadline | None] | None = None
        if deadline is not None:
            self._token = _DEADLINE.set(_Deadline(started + deadline, retrier._clock, _DEADLINE.get()))

    def failed(self, error: Exception) -> float | None:
        """Return the seconds until the next try; None where *error* is to be raised."""
        retrier = self._retrier
        pushback = _pushback(error)
        if pushback == math.inf or not retrier._wants(error):
            return self._give_up(error, _FINAL, f"{type(error).__name__} is not repeated")
        if self._made >= retrier.policy.max_retries:
            return self._give_up(error, _EXHAUSTED, f"max_retries is {retrier.policy.max_retries}")
        delay = self._delay() if pushback is None else pushback
        deadline = _DEADLINE.get()
        if deadline is not None and delay >= (left := deadline.remaining()):
            return self._give_up(
                error, _OUT_OF_TIME, f"the next delay of {delay:.3g} s would reach the deadline, {max(0.0, left):.3g} s away"
            )
        if retrier.budget is not None and not retrier.budget.spend():
            return self._give_up(error, _OUT_OF_BUDGET, "the retry budget is spent")
        self._made += 1
        with retrier._lock:
            retrier._retries += 1
            retrier._delay_seconds += delay
        retrier._tell(self._made, error, delay)
        return delay

    def succeeded(self) -> None:
        """Count a call that has returned."""
        retrier = self._retrier
        with retrier._lock:
            if self._made:
                retrier._recovered += 1
                return
            retrier._first_try += 1
        if retrier.budget is not None:
            retrier.budget.refund()

    def end(self) -> None:
        """Take the deadline of this call away again."""
        if self._token is not None:
            # A coroutine that nobody finishes is closed in whatever context there is; its own has gone with it.
            with contextlib.suppress(ValueError):
                _DEADLINE.reset(self._token)

    def _delay(self) -> float:
        policy = self._retrier.policy
        delay = policy.delay(self._made, self._retrier._draw() if policy.jitter else 0.0)
        if policy.jitter == "equal":
            # By itself it could fall at max_delay or with a factor below 2.
            self._last_delay = delay = max(delay, self._last_delay)
        return delay

    def _give_up(self, error: Exception, stop: str, why: str) -> float | None:
        retrier = self._retrier
        with retrier._lock:
            retrier._stops[stop] += 1
        calls = self._made + 1
        seconds = max(0.0, retrier._clock() - self._started)
        _add_note(error, f"{_NOTE}gave up after {calls} attempt{'' if calls == 1 else 's'} in {seconds:.3g} s: {why}")
        return None


_NOTHING = object()


def _check_listener(on_retry: Callable[..., object] | None) -> None:
    # As inspect.iscoroutinefunction, at a tenth of its price: a policy checks it for every call.
    code = getattr(on_retry, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_COROUTINE:
        raise TypeError(f"on_retry {on_retry!r} is an async function; give a plain one")


def _without_delay(on_retry: Callable[[int, Exception], object] | None) -> RetryListener | None:
    """Return the listener of the plain function, which is promised two arguments, as the engine calls it."""
    _check_listener(on_retry)
    return None if on_retry is None else lambda attempt, error, delay: on_retry(attempt, error)


def _pushback(error: Exception) -> float | None:
    """Return the ``retry_after`` of *error*, None where it has none that means anything."""
    seconds = getattr(error, "retry_after", None)
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= 0:
        return seconds
    return None


def _add_note(error: Exception, note: str) -> None:
    try:
        error.add_note(note)
        own = [one for one in error.__notes__ if one.startswith(_NOTE)]
        if len(own) > _MOST_NOTES:
            error.__notes__.remove(own[0])
    except (AttributeError, TypeError):
        pass  # a frozen error takes no note; it must still be raised itself


# --- the plain function


@overload
def exponential_backoff(
    fn: Callable[[], R],
    max_retries: int = 5,
    initial_delay: float = 1.0,
    *,
    factor: float = 2.0,
    max_delay: float = 60.0,
    jitter: Jitter = "equal",
    retry_on: ErrorRule = Exception,
    on_retry: Callable[[int, Exception], object] | None = None,
    deadline: float | None = None,
    budget: RetryBudget | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    random: Random | None = None,
) -> R: ...


@overload
def exponential_backoff(
    fn: None = None,
    max_retries: int = 5,
    initial_delay: float = 1.0,
    *,
    factor: float = 2.0,
    max_delay: float = 60.0,
    jitter: Jitter = "equal",
    retry_on: ErrorRule = Exception,
    on_retry: Callable[[int, Exception], object] | None = None,
    deadline: float | None = None,
    budget: RetryBudget | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    random: Random | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def exponential_backoff(
    fn: Callable[[], Any] | None = None,
    max_retries: int = 5,
    initial_delay: float = 1.0,
    *,
    factor: float = 2.0,
    max_delay: float = 60.0,
    jitter: Jitter = "equal",
    retry_on: ErrorRule = Exception,
    on_retry: Callable[[int, Exception], object] | None = None,
    deadline: float | None = None,
    budget: RetryBudget | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    random: Random | None = None,
) -> Any:
    """Call *fn* now, and again where it fails, with growing delays; without *fn*, return a decorator that does so.

    The decorator is written with parentheses, ``@exponential_backoff()``, and serves plain and ``async def`` functions.

    Args:
        fn: Called without arguments.
        max_retries: Calls after the first, >= 0.
        initial_delay: Bound of the first delay, seconds, >= 0.
        factor: Growth of the bound per repetition, >= 1.
        max_delay: Largest bound, seconds, >= *initial_delay*.
        jitter: ``"equal"``: delays that never fall, each random in the upper half of its bound; ``"full"``: random below
            the bound; ``False``: the bound.
        retry_on: Which errors are worth another call: a class, several, or a function that is asked.
        on_retry: Called with the number of the repetition, from 1, and the error, before each delay; what it raises is
            ignored.
        deadline: Seconds for all calls and delays together.
        budget: Shared by all callers of one target.
        clock: Seconds from an arbitrary start.
        sleep: Waits so many seconds.
        random: Draws the jitter.

    Returns:
        What *fn* returns; without *fn*, a decorator.

    Raises:
        ValueError: A parameter is out of its range.
        TypeError: *fn* cannot be called, or is an ``async def`` function (use `exponential_backoff_async`).
        BaseException: The last error of *fn*, itself.
    """
    if fn is not None and not callable(fn):
        raise TypeError(f"fn must be a function, not {fn!r}; as a decorator write @exponential_backoff(max_retries=...)")
    policy = RetryPolicy(
        max_retries=max_retries,
        initial_delay=initial_delay,
        factor=factor,
        max_delay=max_delay,
        jitter=jitter,
        deadline=deadline,
    )
    retrier = Retrier(
        policy,
        retry_on=retry_on,
        budget=budget,
        on_retry=_without_delay(on_retry),
        clock=clock,
        sleep=sleep,
        random=random,
    )
    if fn is not None:
        return retrier.call(fn)
    return functools.partial(_decorated, retrier)


async def exponential_backoff_async(
    fn: Callable[[], Awaitable[R]],
    max_retries: int = 5,
    initial_delay: float = 1.0,
    *,
    factor: float = 2.0,
    max_delay: float = 60.0,
    jitter: Jitter = "equal",
    retry_on: ErrorRule = Exception,
    on_retry: Callable[[int, Exception], object] | None = None,
    deadline: float | None = None,
    budget: RetryBudget | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    random: Random | None = None,
) -> R:
    """Await ``fn()``, and again where it fails; otherwise as `exponential_backoff`, with ``asyncio.sleep``."""
    policy = RetryPolicy(
        max_retries=max_retries,
        initial_delay=initial_delay,
        factor=factor,
        max_delay=max_delay,
        jitter=jitter,
        deadline=deadline,
    )
    retrier = Retrier(
        policy,
        retry_on=retry_on,
        budget=budget,
        on_retry=_without_delay(on_retry),
        clock=clock,
        sleep=sleep,
        random=random,
    )
    return await retrier.call_async(fn)


def _decorated(retrier: Retrier, fn: Callable[P, Any]) -> Callable[P, Any]:
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"{fn!r} is a generator, which fails while it is iterated, not when it is called; it cannot be repeated")
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def repeated_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            return await retrier.call_async(fn, *args, **kwargs)

        return repeated_async

    @functools.wraps(fn)
    def repeated(*args: P.args, **kwargs: P.kwargs) -> Any:
        return retrier.call(fn, *args, **kwargs)

    return repeated
