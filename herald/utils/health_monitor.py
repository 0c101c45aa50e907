"""Know whether a connection is alive, and bring it back when it is not.

::

    monitor = ConnectionHealthMonitor(connector, check_interval=30)
    monitor.health_check()                 # a HealthReport: true when healthy
    monitor.tick()                         # in a loop: checks and reconnects when that is due, never sleeps
    with monitor: ...                      # or in a thread of its own

The connector needs ``ping()`` that returns or raises, or ``is_connected()`` that says. Where it has ``connect()``, or
*reconnect* is given, a connection that is lost is made again: at once, and then ever later with a random share of the
wait, until it stands. Lost means that *max_failures* checks failed in a row, or that a call was reported to have failed and
the check which that made due failed too. A failed check is repeated after *initial_delay* and not after a whole interval.
Healthy is a connection that came back only after a ping, and after *on_reconnect* - subscribe again, compare the books -
has returned.

Nothing waits on the caller's side: `tick` returns at once where nothing is due. What is due runs in the thread that calls:
a check takes as long as a ping, an attempt as long as ``connect`` and *on_reconnect*. Nothing of that can be interrupted
from outside. With *check_timeout* the ping is made in a helper thread, so the connector must bear that: `tick` then only
starts it and collects the outcome at a later call, `health_check` waits no longer than the time-out, a ping that takes
longer counts as failed, and no second one is made while it hangs; its thread stays until the ping returns. Attempts to
reconnect are not bounded that way: give ``connect`` a time-out of its own. No thread but these is started, except by `start`.
"""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from random import Random
from types import TracebackType
from typing import Any

import msgspec

from herald.errors import NotConnected, WaitTimeout
from herald.utils._checks import above, at_least, whole
from herald.utils.retry import RetryPolicy

__all__ = ["ConnectionHealthMonitor", "HealthReport", "HealthState", "HealthStatistics"]

# Pings that hang at the same time. A connection that was made again is asked again although an old ping still hangs;
# where that hangs too, over and over, there must be an end to the threads.
_MOST_HANGING = 4


class HealthState(StrEnum):
    """What is known of a connection."""

    UNKNOWN = "unknown"
    """Nobody has looked yet."""
    HEALTHY = "healthy"
    """The last check succeeded."""
    FAILING = "failing"
    """The last check failed; the connection does not count as lost yet."""
    LOST = "lost"
    """The connection counts as lost until a check succeeds and ``on_reconnect`` has returned."""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one check or of one attempt to reconnect; true when healthy.

    Attributes:
        healthy: Whether the other side answered.
        latency: How long that took, seconds.
        failures: Failed checks in a row, this one included.
        checked_at: When it was made, seconds of the monitor's clock.
        error: Why it failed; None where it did not.
    """

    healthy: bool
    latency: float
    failures: int
    checked_at: float
    error: BaseException | None = None

    def __bool__(self) -> bool:
        """Return whether the connection is healthy."""
        return self.healthy


class HealthStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a monitor has seen since it was made.

    Attributes:
        checks: Checks made.
        failures: Of these, failed.
        losses: How often the connection was lost.
        reconnects: How often it was made again.
        failed_reconnects: Attempts at that which failed.
        callback_errors: Calls of ``on_change`` that raised; the monitor goes on.
        uptime: Share of the time since the first check in which it was not lost, in [0, 1]; 1 before. A loss begins with
            the first failure of its row, not when the last one proved it.
        mtbf_seconds: Mean time up per loss, seconds; infinity before the first.
        mttr_seconds: Mean time from a loss to its end, seconds; 0 before the first end.
        mean_latency: Mean time of the last successful checks, seconds; 0 before the first.
    """

    checks: int
    failures: int
    losses: int
    reconnects: int
    failed_reconnects: int
    callback_errors: int
    uptime: float
    mtbf_seconds: float
    mttr_seconds: float
    mean_latency: float


class ConnectionHealthMonitor:
    """Watches one connection.

    Args:
        connector: Has ``ping()`` or ``is_connected()``; ``connect()`` where it shall be connected again. A ping that
            returns False has failed, one that returns anything else has not.
        check_interval: Seconds between checks while all is well, > 0.
        max_failures: Failed checks in a row that mean: lost, >= 1.
        reconnect: Makes the connection again; ``connector.connect`` where it has one and None is given.
        window: Successful checks over which latency is averaged, >= 1.
        check_timeout: Longest time of a ping, seconds; a helper thread makes it then. As long as it takes where None.
        stale_seconds: Data older than this fails a check, whatever the ping says; needs `report_data`. No rule where None.
        initial_delay: Wait before a failed check is repeated, and bound of the wait after the first failed attempt to
            reconnect, seconds.
        max_delay: Largest bound, seconds, at least *initial_delay*.
        clock: Seconds from an arbitrary start.
        random: Draws the share of each wait.
        on_change: Told every new `HealthState`, outside the lock; what it raises is counted.
        on_reconnect: Called after a lost connection answers again and before it counts as healthy; what it raises means
            that the attempt failed.

    Raises:
        ValueError: A number is out of its range.
        TypeError: *connector* has neither ``ping`` nor ``is_connected``, or an async one.
    """

    def __init__(
        self,
        connector: Any,
        check_interval: float = 30.0,
        *,
        max_failures: int = 3,
        reconnect: Callable[[], object] | None = None,
        window: int = 20,
        check_timeout: float | None = None,
        stale_seconds: float | None = None,
        initial_delay: float = 0.5,
        max_delay: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        on_change: Callable[[HealthState], object] | None = None,
        on_reconnect: Callable[[], object] | None = None,
    ) -> None:
        """Look at nothing yet."""
        self.check_interval = above("check_interval", check_interval)
        self.max_failures = whole("max_failures", max_failures)
        self._latencies: deque[float] = deque(maxlen=whole("window", window))
        self._timeout = None if check_timeout is None else above("check_timeout", check_timeout)
        self._stale = None if stale_seconds is None else above("stale_seconds", stale_seconds)
        self._first_delay = above("initial_delay", initial_delay)
        self._policy = RetryPolicy(initial_delay=initial_delay, max_delay=at_least("max_delay", max_delay, initial_delay))
        self._check = _checker(connector)
        self._reconnect: Callable[[], object] | None = reconnect if reconnect is not None else getattr(connector, "connect", None)
        self._clock = clock
        # Not seeded: processes that lose the same broker must not return together.
        self._random = Random() if random is None else random
        self._on_change = on_change
        self._on_reconnect = on_reconnect
        self._lock = threading.Lock()
        self._busy = False  # somebody checks or reconnects; nobody else does meanwhile
        self._own: int | None = None  # the thread that does; what it reports from within is known already
        self._flight: _Check | None = None  # a ping that a tick has started and not collected yet
        self._hanging: list[_Check] = []
        self._state = HealthState.UNKNOWN
        self._report: HealthReport | None = None
        self._row = 0
        self._row_since: float | None = None
        self._suspected = False  # a call was reported to have failed and no check has said otherwise
        self._told = self._heeded = 0  # failures reported, and those that the check under way can speak for
        self._due = -math.inf  # of the next check, or of the next attempt where the connection is lost
        self._attempt = 0
        self._data_at: float | None = None
        self._first: float | None = None
        self._lost_at: float | None = None
        self._down = 0.0
        self._checks = self._failed = self._losses = self._reconnects = self._failed_reconnects = self._callback_errors = 0
        self._repairs = 0
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._wake = threading.Event()

    # --- what is known ----------------------------------------------------------------------------

    @property
    def state(self) -> HealthState:
        """What is known of the connection."""
        return self._state

    @property
    def is_healthy(self) -> bool:
        """Whether the last check succeeded."""
        return self._state is HealthState.HEALTHY

    @property
    def report(self) -> HealthReport | None:
        """The outcome of the last check; None before the first."""
        return self._report

    @property
    def should_check(self) -> bool:
        """Whether there is something to do: a check, the outcome of one, or an attempt to reconnect."""
        return self._wait(self._clock()) <= 0.0

    def statistics(self) -> HealthStatistics:
        """Return what was seen so far."""
        now = self._clock()
        with self._lock:
            alive = 0.0 if self._first is None else max(now - self._first, 0.0)
            down = self._down + (0.0 if self._lost_at is None else max(now - self._lost_at, 0.0))
            latencies = list(self._latencies)
            return HealthStatistics(
                checks=self._checks,
                failures=self._failed,
                losses=self._losses,
                reconnects=self._reconnects,
                failed_reconnects=self._failed_reconnects,
                callback_errors=self._callback_errors,
                uptime=1.0 if not alive else max(1.0 - down / alive, 0.0),
                mtbf_seconds=max(alive - down, 0.0) / self._losses if self._losses else math.inf,
                mttr_seconds=self._down / self._repairs if self._repairs else 0.0,
                mean_latency=sum(latencies) / len(latencies) if latencies else 0.0,
            )

    # --- what others know -------------------------------------------------------------------------

    def report_success(self) -> None:
        """Take the word of a call that succeeded: the connection is alive, and the next check can wait.

        A lost connection that this monitor repairs is not healthy by that, since nobody has subscribed again: the next
        attempt is due at once.
        """
        if self._own == threading.get_ident():
            return
        now = self._clock()
        with self._lock:
            if self._state is HealthState.LOST and (self._reconnect or self._on_reconnect):
                self._attempt = 0
                self._due = -math.inf
                repairing = True
            else:
                self._settle(now)
                repairing = False
        if repairing:
            self._wake.set()
        else:
            self._becomes(HealthState.HEALTHY, now)

    def report_failure(self, error: BaseException | None = None) -> None:
        """Take the word of a call that failed: check at once, and where that fails too the connection is lost.

        `NotConnected` is proof by itself: the connection is lost, and making it again is due at once. While it is lost
        already, nothing changes, so that calls which fail meanwhile do not hurry the attempts.
        """
        if self._own == threading.get_ident():
            return
        now = self._clock()
        with self._lock:
            if self._state is HealthState.LOST:
                return
            self._told += 1
            self._suspected = True
            self._due = -math.inf
            if self._row_since is None:
                self._row_since = now
            proven = isinstance(error, NotConnected)
            if proven:
                self._row = max(self._row, self.max_failures)
                self._attempt = 0
        if proven:
            self._becomes(HealthState.LOST, now)
        self._wake.set()

    def report_data(self) -> None:
        """Note that fresh data came; see *stale_seconds*."""
        self._data_at = self._clock()

    def reset(self) -> None:
        """Forget failures and attempts: nobody has looked yet. The statistics go on."""
        with self._lock:
            self._row = self._attempt = 0
            self._row_since = None
            self._suspected = False
            self._due = -math.inf
            self._data_at = None
        self._becomes(HealthState.UNKNOWN, self._clock())

    # --- looking ----------------------------------------------------------------------------------

    def health_check(self) -> HealthReport:
        """Check now, reconnect where the connection is lost and an attempt is due, and return the outcome.

        While another thread does so, or from within a check, the outcome of the last check is returned instead.
        """
        if not self._enter():
            return self._report or _not_yet(self._clock())
        try:
            if self._may_repair(self._clock()):
                return self._repaired()
            flight, self._flight = self._flight, None
            begun, latency, error = self._ping(flight)
            report = self._learned(begun, latency, error)
            # The check that proved the loss makes the first attempt due.
            return self._repaired() if self._may_repair(self._clock()) else report
        finally:
            self._leave()

    def tick(self) -> HealthReport | None:
        """Do what is due; return the outcome, or None where there is none yet.

        Only one thread at a time does anything.
        """
        if self._wait(self._clock()) > 0.0 or not self._enter():
            return None
        try:
            now = self._clock()
            if self._flight is None:
                if self._may_repair(now):
                    return self._repaired()
                if self._timeout is not None and self._can_ping():
                    self._flight = _Check(self._check, self._clock, self._wake.set)
                    return None
                begun, latency, error = self._ping(None)
            else:
                flight, self._flight = self._flight, None
                begun, latency, error = self._collected(flight)
            report = self._learned(begun, latency, error)
            return self._repaired() if self._may_repair(self._clock()) else report
        finally:
            self._leave()

    def _enter(self) -> bool:
        with self._lock:
            if self._busy:
                return False
            self._busy = True
            if self._flight is None:
                self._heeded = self._told
        self._own = threading.get_ident()
        return True

    def _leave(self) -> None:
        self._own = None
        self._busy = False

    def _wait(self, now: float) -> float:
        """Return the seconds until there is something to do, <= 0 where there is."""
        flight = self._flight
        if flight is not None:
            return 0.0 if flight.done.is_set() else flight.begun + (self._timeout or 0.0) - now
        data_at = self._data_at
        if self._stale is not None and data_at is not None and self._state is HealthState.HEALTHY:
            return min(self._due, data_at + self._stale) - now
        return self._due - now

    def _may_repair(self, now: float) -> bool:
        return self._state is HealthState.LOST and self._reconnect is not None and now >= self._due

    def _can_ping(self) -> bool:
        """Return whether no ping hangs."""
        self._hanging = [one for one in self._hanging if not one.done.is_set()]
        return not self._hanging

    def _ping(self, flight: _Check | None, *, anew: bool = False) -> tuple[float, float, Exception | None]:
        """Ping and wait for the outcome; return when, how long it took, and what went wrong.

        Args:
            flight: A ping under way to wait for instead.
            anew: Whether to ping although another ping hangs, because the connection is another.
        """
        begun = self._clock()
        if self._timeout is None:
            error = _failure(self._check)
            return begun, max(self._clock() - begun, 0.0), error
        if flight is None:
            if not self._can_ping() and (not anew or len(self._hanging) >= _MOST_HANGING):
                return begun, 0.0, WaitTimeout(f"{len(self._hanging)} checks still hang; no further one is made")
            flight = _Check(self._check, self._clock, self._wake.set)
        flight.done.wait(self._timeout)
        return self._collected(flight)

    def _collected(self, flight: _Check) -> tuple[float, float, Exception | None]:
        if flight.done.is_set():
            return flight.begun, flight.latency, flight.error
        self._hanging.append(flight)
        error = WaitTimeout(f"no answer to a check within {self._timeout:g} s")
        return flight.begun, max(self._clock() - flight.begun, 0.0), error

    def _learned(self, begun: float, latency: float, error: Exception | None) -> HealthReport:
        """Take the outcome of a check; where the connection was lost and answers, call *on_reconnect* first."""
        now = self._clock()
        if error is None and self._stale is not None and self._data_at is not None and now - self._data_at >= self._stale:
            error = WaitTimeout(f"the last data came {now - self._data_at:.3g} s ago, and {self._stale:g} s are allowed")
        self._count(begun, latency, error)
        if error is None and self._state is HealthState.LOST:
            error = self._resume()
            now = self._clock()
        with self._lock:
            state = self._judge(begun, now, error)
        report = self._reported(begun, latency, error)
        self._becomes(state, now)
        return report

    def _judge(self, begun: float, now: float, error: Exception | None) -> HealthState:
        """Return what a check makes of the connection, and set when to look again; callers hold the lock."""
        if error is None:
            if self._heeded != self._told:
                return self._state  # a call failed after this check began; the next one is due already
            self._settle(now)
            return HealthState.HEALTHY
        if self._row_since is None:
            self._row_since = begun
        if self._state is HealthState.LOST:
            if self._reconnect is None:
                self._due = now + self._delay()
            return HealthState.LOST
        if not self._suspected and self._row < self.max_failures:
            self._due = now + min(self.check_interval, self._first_delay)
            return HealthState.FAILING
        self._attempt = 0
        self._due = now + (self._delay() if self._reconnect is None else 0.0)
        return HealthState.LOST

    def _repaired(self) -> HealthReport:
        """Try to reconnect: connect, ping, *on_reconnect*; return the outcome as a report."""
        begun, latency = self._clock(), 0.0
        error = None if self._reconnect is None else _failure(self._reconnect)
        if error is None:
            begun, latency, error = self._ping(None, anew=True)
            self._count(begun, latency, error)
        if error is None:
            error = self._resume()
        now = self._clock()
        with self._lock:
            if error is None:
                self._reconnects += 1
                self._data_at = None  # the new connection has its own time to bring some
                self._settle(now)
            else:
                self._failed_reconnects += 1
                self._due = now + self._delay()
        report = self._reported(begun, latency, error)
        if error is None:
            self._becomes(HealthState.HEALTHY, now)
        return report

    def _resume(self) -> Exception | None:
        return None if self._on_reconnect is None else _failure(self._on_reconnect)

    def _count(self, begun: float, latency: float, error: Exception | None) -> None:
        with self._lock:
            self._checks += 1
            if self._first is None:
                self._first = begun
            if error is None:
                self._latencies.append(latency)
            else:
                self._failed += 1
                self._row += 1

    def _settle(self, now: float) -> None:
        # All is well; callers hold the lock.
        self._row = self._attempt = 0
        self._row_since = None
        self._suspected = False
        self._due = now + self.check_interval

    def _delay(self) -> float:
        # Callers hold the lock.
        delay = self._policy.delay(self._attempt, self._random.random())
        self._attempt += 1
        return delay

    def _reported(self, begun: float, latency: float, error: Exception | None) -> HealthReport:
        report = HealthReport(healthy=error is None, latency=latency, failures=self._row, checked_at=begun, error=error)
        self._report = report
        return report

    def _becomes(self, state: HealthState, now: float) -> None:
        with self._lock:
            before, self._state = self._state, state
            if self._first is None:
                self._first = now
            if state is HealthState.LOST and before is not HealthState.LOST:
                self._losses += 1
                self._lost_at = max(self._first, now if self._row_since is None else self._row_since)
            elif before is HealthState.LOST and state is not HealthState.LOST and self._lost_at is not None:
                self._down += max(now - self._lost_at, 0.0)
                self._repairs += 1
                self._lost_at = None
        if state is not before and self._on_change is not None:
            try:
                self._on_change(state)
            except Exception:
                with self._lock:  # a listener that fails must not make a connection look dead
                    self._callback_errors += 1

    # --- a thread of its own ----------------------------------------------------------------------

    def start(self) -> None:
        """Look after the connection in a thread of its own until `stop`; a second call does nothing.

        Raises:
            WaitTimeout: The thread of the last `start` has not ended yet, because a check of it hangs.
        """
        if self._thread is not None:
            if not self._stopping.is_set():
                return
            if self._thread.is_alive():
                raise WaitTimeout("the monitor's last thread still hangs in a check; give the connector a time-out")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name="health-monitor", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread; return whether that came about within *timeout* seconds. Without one it does nothing.

        From within the thread, that is from a callback, it only asks for the end.
        """
        at_least("timeout", timeout)
        thread = self._thread
        if thread is None:
            return True
        self._stopping.set()
        self._wake.set()
        if thread is threading.current_thread():
            return False
        thread.join(timeout)
        if thread.is_alive():
            return False
        self._thread = None
        return True

    def __enter__(self) -> ConnectionHealthMonitor:
        """Start the thread."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the thread."""
        self.stop()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self.tick()
            # Never 0: another thread may be at what is due, and this one must not spin meanwhile.
            self._wake.wait(min(max(self._wait(self._clock()), 0.005), self.check_interval))
            self._wake.clear()


class _Check:
    """A ping in a thread of its own."""

    def __init__(self, check: Callable[[], object], clock: Callable[[], float], tell: Callable[[], object]) -> None:
        self.done = threading.Event()
        self.error: Exception | None = None
        self.latency = 0.0
        self.begun = clock()
        self._check, self._clock, self._tell = check, clock, tell
        threading.Thread(target=self._run, name="health-check", daemon=True).start()

    def _run(self) -> None:
        self.error = _failure(self._check)
        self.latency = max(self._clock() - self.begun, 0.0)
        self.done.set()
        self._tell()


def _failure(action: Callable[[], object]) -> Exception | None:
    """Return what *action* raised, or None."""
    try:
        action()
    except Exception as error:
        return error
    return None


def _not_yet(now: float) -> HealthReport:
    error = NotConnected("the first check is still under way")
    return HealthReport(healthy=False, latency=0.0, failures=0, checked_at=now, error=error)


def _checker(connector: Any) -> Callable[[], object]:
    """Return what raises where *connector* is not alive."""
    name = type(connector).__name__
    method = next((one for one in ("ping", "is_connected") if callable(getattr(connector, one, None))), None)
    if method is None:
        raise TypeError(f"{name} has neither ping() nor is_connected(); give it one")
    asked: Callable[[], object] = getattr(connector, method)
    if inspect.iscoroutinefunction(asked):
        raise TypeError(f"{name}.{method} is an async function; the monitor needs one that blocks")

    def check() -> None:
        answer = asked()
        if answer is False or (method == "is_connected" and not answer):
            raise NotConnected(f"{name}.{method}() says that it is not connected")

    return check
