"""Stop calling what keeps failing, and find out with single trial calls when it is back.

::

    breaker = CircuitBreaker(failure_threshold=5, timeout=60, name="mt5_api")
    breaker.call(fetch, "EURUSD")               # or: await breaker.call_async(fetch, "EURUSD")

CLOSED: calls go through; *failure_threshold* failures in a row (or the rate of a window) open the circuit. OPEN: every
call is refused at once with `CircuitOpenError`, until *timeout* seconds have passed. HALF_OPEN: a trial call goes through
and the others are still refused, never queued; its success closes the circuit, its failure opens it again.

What a call says about the other side:

=============================================  ==========  ==============================================================
outcome                                        is          because
=============================================  ==========  ==============================================================
returns                                        a success   unless *result_counts* says that this result is a failure
raises what *counts* names                     a failure
raises what *ignore* names                     neutral     it is no evidence; a trial gives its permit back
raises `CircuitOpenError`, `RateLimitedError`  neutral     the call was refused further in and never left
raises any other ``Exception``                 a success   the other side answered (an order it rejects, for instance)
``KeyboardInterrupt``, a cancelled task, ...   neutral     the caller gave up; nothing is known of the other side
=============================================  ==========  ==============================================================

Every call belongs to the *generation* of the circuit in which it began: what began before the last change of state is
counted in the statistics and decides nothing, so an old success cannot close a circuit that opened after it.

The lock is never held while a call, a predicate, the clock or a listener runs. A callback that raises is counted and
otherwise ignored.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from threading import Lock
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar, cast

from herald.errors import CircuitOpenError, RateLimitedError
from herald.utils._checks import above, at_least, whole
from herald.utils._circuit import TOLERANCE, CircuitMode, CircuitSnapshot, CircuitState, CircuitStatistics, Permit, Phase
from herald.utils._rules import ErrorRule, checked_rule, matches
from herald.utils._windows import CallWindow, LastCalls, LastSeconds

__all__ = ["CircuitBreaker", "CircuitMode", "CircuitSnapshot", "CircuitState", "CircuitStatistics"]

P = ParamSpec("P")
R = TypeVar("R")


class CircuitBreaker:
    """Refuses calls to what keeps failing; one object for threads and tasks alike.

    Args:
        failure_threshold: Failures in a row that open the circuit, >= 1. Not used where a window is given.
        timeout: Seconds that the circuit stays open before the first trial, > 0.
        name: Stands in the messages.
        counts: What is a failure: an exception class, a tuple of them, or a predicate on the exception. An exception that
            it does not name is a *success*: the other side answered.
        ignore: What is neither; same forms. Asked first.
        result_counts: Predicate on a result; true means that the call failed although it returned.
        half_open_max_calls: Trial calls at the same time.
        success_threshold: Successful trials that close the circuit.
        half_open_timeout: Seconds after which a trial that has not come back loses its permit, so that a holder that
            died cannot keep the circuit half-open for ever; *timeout* unless given.
        window_calls: Open by the rate of failures among the last so many calls.
        window_seconds: Open by the rate among the calls of the last so many seconds; moves in steps of a tenth.
            At most one of the two windows.
        failure_rate: Share of failures in the window that opens the circuit, in (0, 1].
        min_calls: The rates decide nothing before the window holds so many calls; 10 unless given, or *window_calls* where
            that is smaller.
        slow_call_seconds: A call that takes at least as long is counted as slow.
        slow_rate: Share of slow calls in the window that opens the circuit, in (0, 1]; a slow trial then fails. Slow calls
            are only counted unless given.
        open_seconds: Seconds to stay open as a function of the attempt (1 for the first opening since the circuit was last
            closed, then 2, ...), instead of *timeout*.
        open_jitter: Each opening lasts longer by a random share of itself, uniform in [0, *open_jitter*], so that many
            clients do not try again together.
        ramp_seconds: After successful trials, stay HALF_OPEN for so long and let a share of the calls through that grows
            evenly from *ramp_start* to all; the rules of CLOSED apply. 0 closes at once.
        ramp_start: First share of the ramp, in (0, 1].
        mode: Whether the breaker acts at all.
        clock: Seconds from an arbitrary start; should be monotonic.
        random: Draws the jitter.
        on_change: Called with the new state after each change, in the order of the changes, by whichever thread is
            there; counters still show what led to the change. Called from no lock, so it may use the breaker.

    Raises:
        ValueError: A parameter is out of its range, or does not go with another.
        TypeError: *on_change* is an ``async def`` function.
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        timeout: float = 60.0,
        name: str = "circuit",
        *,
        counts: ErrorRule = Exception,
        ignore: ErrorRule = (),
        result_counts: Callable[[Any], bool] | None = None,
        half_open_max_calls: int = 1,
        success_threshold: int = 1,
        half_open_timeout: float | None = None,
        window_calls: int | None = None,
        window_seconds: float | None = None,
        failure_rate: float = 0.5,
        min_calls: int | None = None,
        slow_call_seconds: float | None = None,
        slow_rate: float | None = None,
        open_seconds: Callable[[int], float] | None = None,
        open_jitter: float = 0.0,
        ramp_seconds: float = 0.0,
        ramp_start: float = 0.1,
        mode: CircuitMode = CircuitMode.NORMAL,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        on_change: Callable[[CircuitState], object] | None = None,
    ) -> None:
        """Start CLOSED."""
        self.name = name
        self._failure_threshold = whole("failure_threshold", failure_threshold)
        self._timeout = above("timeout", timeout)
        self._counts = checked_rule("counts", counts)
        self._ignore = checked_rule("ignore", ignore)
        self._result_counts = result_counts
        self._half_open_max_calls = whole("half_open_max_calls", half_open_max_calls)
        self._success_threshold = whole("success_threshold", success_threshold)
        self._half_open_timeout = timeout if half_open_timeout is None else above("half_open_timeout", half_open_timeout)
        self._window = _window(window_calls, window_seconds)
        self._failure_rate = _rate("failure_rate", failure_rate)
        self._min_calls = _min_calls(min_calls, window_calls)
        self._slow_call_seconds = None if slow_call_seconds is None else above("slow_call_seconds", slow_call_seconds)
        self._slow_rate = None if slow_rate is None else _rate("slow_rate", slow_rate)
        if slow_rate is not None and (self._window is None or slow_call_seconds is None):
            raise ValueError(f"slow_rate {slow_rate!r} needs slow_call_seconds and a window (window_calls or window_seconds)")
        self._open_seconds = open_seconds
        self._open_jitter = at_least("open_jitter", open_jitter)
        self._ramp_seconds = at_least("ramp_seconds", ramp_seconds)
        self._ramp_start = _rate("ramp_start", ramp_start)
        self._mode = CircuitMode(mode)
        self._clock = clock
        self._random = Random() if random is None else random
        if inspect.iscoroutinefunction(on_change):
            raise TypeError(f"on_change {on_change!r} is an async function; give a plain one")
        self._on_change = on_change

        # Whether a success needs more than a counter.
        self._plain = self._window is None and self._slow_call_seconds is None and result_counts is None
        self._lock = Lock()
        self._failures = 0
        self._last_error: BaseException | None = None
        self._totals = dict.fromkeys(("failures", "ignored", "rejected", "slow", "late", "suppressed", "callback_errors"), 0)
        self._successes = 0  # by itself, because every good call counts it
        self._entries = dict.fromkeys(CircuitState, 0)
        self._seconds = dict.fromkeys(CircuitState, 0.0)
        self._changes: deque[CircuitState] = deque()
        self._telling = False
        self._phase = Phase(0, CircuitState.CLOSED, clock(), 0, self._mode)
        self._entered = self._phase.since

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r} {self.state}>"

    # --- calling

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what ``fn(*args, **kwargs)`` returns, unless the circuit is open.

        Raises:
            CircuitOpenError: The call was refused; *fn* was not called.
            TypeError: *fn* is an ``async def`` function; nothing of it has run.
            BaseException: What *fn* raised, itself.
        """
        phase = self._phase
        permit = None
        if not phase.free:
            if phase.bypassed:
                return _no_coroutine(fn, fn(*args, **kwargs))
            phase, permit = self._admit()
        started = 0.0 if self._plain else self._clock()
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            self._raised(phase, permit, started, error)
            raise
        if type(result) is CoroutineType:
            self._settle(phase, permit, _NEUTRAL, False, None)
            _no_coroutine(fn, result)
        self._returned(phase, permit, started, result)
        return result

    async def call_async(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what ``await fn(*args, **kwargs)`` returns, unless the circuit is open.

        Raises:
            CircuitOpenError: The call was refused; *fn* was not called.
            TypeError: *fn* returns nothing that can be awaited.
            BaseException: What *fn* raised, itself; a cancelled task is neutral.
        """
        phase = self._phase
        permit = None
        if not (phase.free or phase.bypassed):
            phase, permit = self._admit()
        started = 0.0 if self._plain else self._clock()
        try:
            awaitable = fn(*args, **kwargs)
            if not (type(awaitable) is CoroutineType or inspect.isawaitable(awaitable)):
                raise _NotAwaitable(f"{fn!r} returned nothing to await; use call() for a plain function")
            result = await awaitable
        except BaseException as error:
            self._raised(phase, permit, started, error)
            raise
        self._returned(phase, permit, started, result)
        return result

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Return *fn* guarded by this breaker: the object is a decorator for plain and ``async def`` functions."""
        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await self.call_async(fn, *args, **kwargs)

            return cast("Callable[P, R]", guarded_async)

        @functools.wraps(fn)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.call(fn, *args, **kwargs)

        return guarded

    # --- looking

    @property
    def state(self) -> CircuitState:
        """The state now. An OPEN circuit becomes HALF_OPEN when the first trial call goes through, not by being looked at."""
        return self._phase.state

    @property
    def is_open(self) -> bool:
        """Whether the state is OPEN."""
        return self._phase.state is CircuitState.OPEN

    @property
    def is_closed(self) -> bool:
        """Whether the state is CLOSED."""
        return self._phase.state is CircuitState.CLOSED

    @property
    def mode(self) -> CircuitMode:
        """Whether the breaker acts on what it sees."""
        return self._mode

    @property
    def generation(self) -> int:
        """Number of the current generation; rises with every change of state and every reset."""
        return self._phase.number

    @property
    def failure_count(self) -> int:
        """Failures in a row; those that opened the circuit stay until it is closed or reset."""
        return self._failures

    @property
    def retry_after(self) -> float:
        """Seconds until a call may go through: 0 where it may now, infinite where the circuit is isolated.

        While all trials are under way, the time until the first of their permits expires; the trial may end sooner.
        """
        now = self._clock()
        with self._lock:
            return self._retry_after(now)

    def statistics(self) -> CircuitStatistics:
        """Return what the breaker has seen so far."""
        now = self._clock()
        with self._lock:
            phase = self._phase
            seconds = dict(self._seconds)
            seconds[phase.state] += max(0.0, now - self._entered)
            window = self._window
            if window is not None:
                window.forget(now)
            return CircuitStatistics(
                name=self.name,
                state=phase.state,
                mode=self._mode,
                generation=phase.number,
                failure_count=self._failures,
                retry_after=self._retry_after(now),
                successes=self._successes,
                **self._totals,
                openings=self._entries[CircuitState.OPEN],
                half_openings=self._entries[CircuitState.HALF_OPEN],
                closings=self._entries[CircuitState.CLOSED],
                seconds_closed=seconds[CircuitState.CLOSED],
                seconds_open=seconds[CircuitState.OPEN],
                seconds_half_open=seconds[CircuitState.HALF_OPEN],
                window_calls=0 if window is None else window.calls,
                window_failure_rate=0.0 if window is None else window.failure_rate(),
                window_slow_rate=0.0 if window is None else window.slow_rate(),
            )

    # --- steering

    def reset(self) -> None:
        """Close the circuit and forget every failure; calls under way decide nothing any more."""
        self._start_over(CircuitState.CLOSED)

    def open(self, seconds: float | None = None) -> None:
        """Open the circuit by hand for *seconds* (*timeout* unless given), then let a trial through as usual.

        Raises:
            ValueError: *seconds* is not a finite number above 0.
        """
        self._start_over(CircuitState.OPEN, self._timeout if seconds is None else above("seconds", seconds))

    def isolate(self) -> None:
        """Open the circuit by hand until `reset`: no trial, and no health probe closes it."""
        self._start_over(CircuitState.OPEN, isolated=True)

    def set_mode(self, mode: CircuitMode) -> None:
        """Change whether the breaker acts on what it sees, and start over CLOSED."""
        self._start_over(CircuitState.CLOSED, mode=CircuitMode(mode))

    def report_healthy(self, generation: int | None = None) -> bool:
        """Close an open circuit because a health probe has found the other side well; begin its ramp where there is one.

        Args:
            generation: `generation` as it was when the probe began. A probe that is older than the last opening proves
                nothing about it and is ignored.

        Returns:
            Whether the circuit was open or half-open and is no longer.
        """
        now = self._clock()
        with self._lock:
            phase = self._phase
            stale = generation is not None and generation != phase.number
            if phase.state is CircuitState.CLOSED or phase.isolated or phase.ramp_since is not None or stale:
                return False
            if phase.state is CircuitState.OPEN and self._ramp_seconds:
                self._enter(CircuitState.HALF_OPEN, now, attempt=phase.attempt)
            self._recover(now)
        self._tell()
        return True

    def snapshot(self) -> CircuitSnapshot:
        """Return what `restore` needs to go on after a restart, so that a broker that was down is not hammered."""
        now = self._clock()
        with self._lock:
            phase = self._phase
            return CircuitSnapshot(
                state=phase.state,
                remaining_seconds=phase.left(now) if phase.state is CircuitState.OPEN and not phase.isolated else 0.0,
                isolated=phase.isolated,
                failure_count=self._failures,
                attempt=phase.attempt,
            )

    def restore(self, snapshot: CircuitSnapshot) -> None:
        """Go on where *snapshot* was taken; a half-open circuit comes back OPEN with its trial due at once.

        Raises:
            ValueError: *snapshot* holds a negative or endless number.
        """
        remaining = at_least("remaining_seconds", snapshot.remaining_seconds)
        failures = whole("failure_count", snapshot.failure_count, 0)
        attempt = whole("attempt", snapshot.attempt, 0)
        if CircuitState(snapshot.state) is CircuitState.CLOSED:
            self._start_over(CircuitState.CLOSED, failures=failures)
        else:
            self._start_over(CircuitState.OPEN, remaining, attempt=attempt, isolated=snapshot.isolated, failures=failures)

    # --- before a call

    def _admit(self) -> tuple[Phase, Permit | None]:
        """Return the generation and, for a trial, the permit of a call that may go through; raise where it may not."""
        now = self._clock()
        with self._lock:
            phase = self._phase
            if phase.state is CircuitState.OPEN and phase.left(now) <= 0.0:
                phase = self._enter(CircuitState.HALF_OPEN, now, attempt=phase.attempt)
            if phase.ramp_since is not None and now - phase.ramp_since >= self._ramp_seconds:
                phase = self._enter(CircuitState.CLOSED, now)
            permit = None
            if phase.state is CircuitState.OPEN:
                admitted = False
            elif phase.state is CircuitState.CLOSED:
                admitted = True
            elif phase.ramp_since is not None:
                admitted = self._ramp_admits(phase, phase.ramp_since, now)
            else:
                permit = self._permit(phase, now)
                admitted = permit is not None
            if not admitted:
                self._totals["rejected"] += 1
                retry_after = self._retry_after(now)
                if phase.ramp_since is not None:
                    retry_after = max(0.0, phase.ramp_since + self._ramp_seconds - now)
                last_error = self._last_error
        if self._changes:
            self._tell()
        if not admitted:
            raise CircuitOpenError(self.name, retry_after, last_error)
        return phase, permit

    def _ramp_admits(self, phase: Phase, since: float, now: float) -> bool:
        # Each call adds the share of the moment; a whole one is spent on letting a call through. Without chance, so the
        # share is exact and a test can count.
        phase.ramp_since = since = min(since, now)  # the clock may have been set back
        done = (now - since) / self._ramp_seconds
        phase.credit += self._ramp_start + (1.0 - self._ramp_start) * done
        if phase.credit < 1.0:
            return False
        phase.credit -= 1.0
        return True

    def _permit(self, phase: Phase, now: float) -> Permit | None:
        latest = now + self._half_open_timeout
        if len(phase.permits) >= self._half_open_max_calls:
            for permit in phase.permits:
                permit.expires = min(permit.expires, latest)  # the clock may have been set back
            phase.permits = [permit for permit in phase.permits if permit.expires - now > TOLERANCE]
            if len(phase.permits) >= self._half_open_max_calls:
                return None
        permit = Permit(latest)
        phase.permits.append(permit)
        return permit

    def _retry_after(self, now: float) -> float:
        phase = self._phase
        if phase.state is CircuitState.OPEN:
            return phase.left(now)
        if phase.state is CircuitState.HALF_OPEN and len(phase.permits) >= self._half_open_max_calls:
            return max(0.0, min(permit.expires for permit in phase.permits) - now)
        return 0.0

    # --- after a call

    def _raised(self, phase: Phase, permit: Permit | None, started: float, error: BaseException) -> None:
        slow = False
        if not isinstance(error, Exception) or isinstance(error, _NEVER_EVIDENCE) or self._matches(self._ignore, error):
            outcome = _NEUTRAL
        else:
            outcome = _FAILURE if self._matches(self._counts, error, unknown=True) else _SUCCESS
        if outcome is not _NEUTRAL and self._slow_call_seconds is not None:
            slow = self._clock() - started >= self._slow_call_seconds
        self._settle(phase, permit, outcome, slow, error)

    def _returned(self, phase: Phase, permit: Permit | None, started: float, result: object) -> None:
        if self._plain and phase.free:
            with self._lock:
                self._successes += 1
                if phase is not self._phase:
                    self._totals["late"] += 1
                elif self._failures:
                    self._failures = 0
                    self._last_error = None
            return
        slow = self._slow_call_seconds is not None and self._clock() - started >= self._slow_call_seconds
        failed = False
        if self._result_counts is not None:
            try:
                failed = bool(self._result_counts(result))
            except Exception:
                self._count_callback_error()
        self._settle(phase, permit, _FAILURE if failed else _SUCCESS, slow, None)

    def _settle(self, phase: Phase, permit: Permit | None, outcome: str, slow: bool, error: BaseException | None) -> None:
        if phase.bypassed:
            return
        now = self._clock()
        opened = None
        with self._lock:
            if outcome is _SUCCESS:
                self._successes += 1
            else:
                self._totals[outcome] += 1
            self._totals["slow"] += slow
            if phase is not self._phase or (permit is not None and permit not in phase.permits):
                self._totals["late"] += 1
                return
            if permit is not None:
                phase.permits.remove(permit)
            if outcome is _NEUTRAL:
                return
            failed = outcome is _FAILURE
            if failed:
                self._failures += 1
                self._last_error = error
            elif self._failures and permit is None:
                self._failures = 0
                self._last_error = None
            if permit is not None:
                opened = self._judge_trial(phase, now, failed or (slow and self._slow_rate is not None))
            elif self._trips(now, failed, slow):
                opened = self._trip(now)
            elif phase.ramp_since is not None and now - phase.ramp_since >= self._ramp_seconds:
                self._enter(CircuitState.CLOSED, now)
        if opened is not None:
            self._set_open_time(opened)
        if self._changes:
            self._tell()

    def _judge_trial(self, phase: Phase, now: float, failed: bool) -> Phase | None:
        if failed:
            return self._trip(now)
        phase.successes += 1
        if phase.successes >= self._success_threshold and phase.ramp_since is None:
            self._recover(now)
        return None

    def _trips(self, now: float, failed: bool, slow: bool) -> bool:
        window = self._window
        if window is None:
            return failed and self._failures >= self._failure_threshold
        window.record(now, failed, slow)
        if window.calls < self._min_calls:
            return False
        too_slow = self._slow_rate is not None and window.slow_rate() >= self._slow_rate
        return too_slow or window.failure_rate() >= self._failure_rate

    # --- changing state; the lock is held

    def _enter(self, state: CircuitState, now: float, *, attempt: int = 0) -> Phase:
        old = self._phase
        self._seconds[old.state] += max(0.0, now - self._entered)
        self._entered = now
        self._phase = phase = Phase(old.number + 1, state, now, attempt, self._mode)
        if state is CircuitState.CLOSED:
            self._forget()
        if state is not old.state:
            self._entries[state] += 1
            if self._on_change is not None:
                self._changes.append(state)
        return phase

    def _trip(self, now: float) -> Phase | None:
        if self._mode is CircuitMode.METRICS_ONLY and self._phase.state is CircuitState.CLOSED:
            self._totals["suppressed"] += 1
            self._forget()
            return None
        phase = self._enter(CircuitState.OPEN, now, attempt=self._phase.attempt + 1)
        phase.seconds = self._timeout  # until open_seconds, which must not be called here, has said otherwise
        return phase

    def _recover(self, now: float) -> None:
        phase = self._phase
        if not self._ramp_seconds:
            self._enter(CircuitState.CLOSED, now)
            return
        phase.ramp_since = now
        self._forget()

    def _forget(self) -> None:
        self._failures = 0
        self._last_error = None
        if self._window is not None:
            self._window.clear()

    def _start_over(
        self,
        state: CircuitState,
        seconds: float = 0.0,
        *,
        attempt: int | None = None,
        isolated: bool = False,
        failures: int | None = None,
        mode: CircuitMode | None = None,
    ) -> None:
        now = self._clock()
        with self._lock:
            if mode is not None:
                self._mode = mode
            if attempt is None:
                attempt = 0 if state is CircuitState.CLOSED else self._phase.attempt + 1
            phase = self._enter(state, now, attempt=attempt)
            phase.seconds = seconds
            phase.isolated = isolated
            if failures is not None:
                self._failures = failures
        self._tell()

    # --- calling back; the lock is not held

    def _matches(self, rule: ErrorRule, error: Exception, *, unknown: bool = False) -> bool:
        """Return whether *rule* names *error*; *unknown* where the predicate itself fails."""
        try:
            return matches(rule, error)
        except Exception:
            self._count_callback_error()
            return unknown

    def _set_open_time(self, phase: Phase) -> None:
        seconds = self._timeout
        if self._open_seconds is not None:
            try:
                seconds = above("open_seconds", self._open_seconds(phase.attempt))
            except Exception:
                self._count_callback_error()
        if self._open_jitter:
            seconds *= 1.0 + self._open_jitter * self._random.random()
        with self._lock:
            phase.seconds = seconds  # harmless where the circuit has moved on: nobody looks at an old phase

    def _tell(self) -> None:
        """Call the listener for every change that waits; one thread at a time, so that the order is kept."""
        while True:
            with self._lock:
                # Somebody else is telling, perhaps this very thread further out: it will take ours along.
                if self._telling or not self._changes or self._on_change is None:
                    return
                state = self._changes.popleft()
                self._telling = True
            try:
                self._on_change(state)
            except Exception:
                self._count_callback_error()
            finally:
                with self._lock:
                    self._telling = False

    def _count_callback_error(self) -> None:
        with self._lock:
            self._totals["callback_errors"] += 1


_SUCCESS = "successes"
_FAILURE = "failures"
_NEUTRAL = "ignored"


class _NotAwaitable(TypeError):
    """A plain function was given to `CircuitBreaker.call_async`."""


_NEVER_EVIDENCE = (CircuitOpenError, RateLimitedError, _NotAwaitable)


def _no_coroutine(fn: object, result: R) -> R:
    if isinstance(result, CoroutineType):
        result.close()  # nothing of it has run; closed, Python does not warn that nobody awaited it
        raise TypeError(f"{fn!r} is an async function; use `await breaker.call_async(fn, ...)`")
    return result


def _rate(name: str, value: float) -> float:
    if at_least(name, value) > 1.0 or value == 0.0:
        raise ValueError(f"{name} must be a share above 0 and at most 1, not {value!r}")
    return value


def _window(calls: int | None, seconds: float | None) -> CallWindow | None:
    if calls is not None and seconds is not None:
        raise ValueError(f"give window_calls or window_seconds, not both: {calls!r}, {seconds!r}")
    if calls is not None:
        return LastCalls(whole("window_calls", calls))
    return None if seconds is None else LastSeconds(above("window_seconds", seconds))


def _min_calls(min_calls: int | None, window_calls: int | None) -> int:
    if min_calls is None:
        return min(10, window_calls or 10)
    if window_calls is not None and whole("min_calls", min_calls) > window_calls:
        raise ValueError(f"min_calls must be at most window_calls ({window_calls}), not {min_calls!r}: it would never be reached")
    return whole("min_calls", min_calls)
