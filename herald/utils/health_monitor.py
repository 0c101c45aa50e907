"""Know whether a connection is alive, and bring it back when it is not.

::

    monitor = ConnectionHealthMonitor(connector, check_interval=30)
    monitor.health_check()                 # a HealthReport: true when healthy
    monitor.tick()                         # in a loop: checks and reconnects when that is due, never waits
    with monitor: ...                      # or in a thread of its own

The connector needs ``ping()`` that returns or raises, or ``is_connected()`` that says. Where it has ``connect()``, or
*reconnect* is given, a connection that is lost (*max_failures* checks failed in a row, or a call was reported to have
failed and the check that followed did too) is made again, at once and then ever later with a random share of the wait,
until it stands. Healthy it is only after *on_reconnect* - subscribe again, compare the books - has returned.

Nothing waits on the caller's side: `tick` returns at once where nothing is due, and a check takes as long as a ping.
No thread is started but by `start`. A ping that hangs cannot be interrupted from outside; with *check_timeout* the check
is made in a helper thread, counts as failed after that time, and no second one is made while the first still hangs.
"""

from __future__ import annotations

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
from herald.utils._checks import above, whole
from herald.utils.retry import RetryPolicy

__all__ = ["ConnectionHealthMonitor", "HealthReport", "HealthState", "HealthStatistics"]


class HealthState(StrEnum):
    """What is known of a connection."""

    UNKNOWN = "unknown"
    """Nobody has looked yet."""
    HEALTHY = "healthy"
    """The last check succeeded."""
    FAILING = "failing"
    """The last check failed; fewer than *max_failures* in a row."""
    LOST = "lost"
    """So many failed in a row that the connection counts as lost."""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one check; true when healthy.

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
        callback_errors: Callbacks that raised; the monitor goes on.
        uptime: Share of the time since the first check in which it was not lost, in [0, 1]; 1 before.
        mtbf_seconds: Mean time between losses, seconds; infinity before the first.
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
        connector: Has ``ping()`` or ``is_connected()``; ``connect()`` where it shall be connected again.
        check_interval: Seconds between checks while all is well, > 0.
        max_failures: Failed checks in a row that mean: lost, >= 1.
        reconnect: Makes the connection again; ``connector.connect`` where it has one and None is given.
        window: Successful checks over which latency is averaged, >= 1.
        check_timeout: Longest time of a check, seconds; a helper thread makes it then. As long as it takes where None.
        stale_seconds: Data older than this fails a check, whatever the ping says; needs `report_data`. No rule where None.
        initial_delay: Bound of the wait after the first failed attempt to reconnect, seconds.
        max_delay: Largest bound.
        clock: Seconds from an arbitrary start.
        random: Draws the share of each wait.
        on_change: Told every new `HealthState`.
        on_reconnect: Called after a connection was made again and before it counts as healthy; what it raises means that
            the attempt failed.

    Raises:
        ValueError: A number is out of its range.
        TypeError: *connector* has neither ``ping`` nor ``is_connected``.
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
        self._policy = RetryPolicy(initial_delay=above("initial_delay", initial_delay), max_delay=above("max_delay", max_delay))
        self._check = _checker(connector)
        self._reconnect = reconnect if reconnect is not None else getattr(connector, "connect", None)
        self._clock = clock
        self._random = Random(0) if random is None else random
        self._on_change = on_change
        self._on_reconnect = on_reconnect
        self._lock = threading.Lock()
        self._busy = False
        self._hanging: _Check | None = None
        self._state = HealthState.UNKNOWN
        self._report: HealthReport | None = None
        self._row = 0
        self._due = -float("inf")
        self._attempt = 0
        self._next_attempt = 0.0
        self._data_at: float | None = None
        self._first: float | None = None
        self._lost_at: float | None = None
        self._down = 0.0
        self._checks = self._failed = self._losses = self._reconnects = self._failed_reconnects = self._callback_errors = 0
        self._repairs = 0
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stopping = False

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
        """Whether a check or an attempt to reconnect is due."""
        now = self._clock()
        if self._state is HealthState.LOST and self._reconnect is not None:
            return now >= self._next_attempt
        return now >= self._due

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
                mtbf_seconds=(alive - down) / self._losses if self._losses else float("inf"),
                mttr_seconds=self._down / self._repairs if self._repairs else 0.0,
                mean_latency=sum(latencies) / len(latencies) if latencies else 0.0,
            )

    # --- looking ----------------------------------------------------------------------------------

    def health_check(self) -> HealthReport:
        """Check now, connect again where the connection is lost and that is due, and return the outcome."""
        report = self._checked()
        if self._state is HealthState.LOST and self._reconnect is not None and self._clock() >= self._next_attempt:
            return self._repaired(report)
        return report

    def tick(self) -> HealthReport | None:
        """Do what is due; return the outcome, or None where nothing was. Only one thread at a time does anything."""
        if not self.should_check:
            return None
        with self._lock:
            if self._busy:
                return None
            self._busy = True
        try:
            if self._state is HealthState.LOST and self._reconnect is not None:
                return self._repaired(self._report)
            return self.health_check()
        finally:
            self._busy = False

    def report_success(self) -> None:
        """Take the word of a call that succeeded: the connection is alive, and the next check can wait."""
        now = self._clock()
        with self._lock:
            self._row = 0
            self._due = now + self.check_interval
        self._becomes(HealthState.HEALTHY, now)

    def report_failure(self, error: BaseException | None = None) -> None:
        """Take the word of a call that failed: check at once instead of at the next interval.

        `NotConnected` is proof by itself: the connection is lost, and making it again is due at once.
        """
        now = self._clock()
        with self._lock:
            self._due = -float("inf")
        if isinstance(error, NotConnected) and self._state is not HealthState.LOST:
            with self._lock:
                self._row = max(self._row, self.max_failures)
                self._attempt, self._next_attempt = 0, now
            self._becomes(HealthState.LOST, now)
        self._wake.set()

    def report_data(self) -> None:
        """Note that fresh data came; see *stale_seconds*."""
        self._data_at = self._clock()

    def reset(self) -> None:
        """Forget failures and attempts: nobody has looked yet."""
        with self._lock:
            self._row = self._attempt = 0
            self._due = -float("inf")
        self._becomes(HealthState.UNKNOWN, self._clock())

    def _checked(self) -> HealthReport:
        begun = self._clock()
        error = self._ping()
        now = self._clock()
        if error is None and self._stale is not None and self._data_at is not None and now - self._data_at > self._stale:
            error = WaitTimeout(f"the last data came {now - self._data_at:.3g} s ago, and {self._stale:g} s are allowed")
        with self._lock:
            self._checks += 1
            if self._first is None:
                self._first = begun
            if error is None:
                self._row = 0
                self._latencies.append(max(now - begun, 0.0))
            else:
                self._failed += 1
                self._row += 1
            failures = self._row
            self._due = now + (self.check_interval if error is None else min(self.check_interval, self._policy.initial_delay))
        report = HealthReport(
            healthy=error is None, latency=max(now - begun, 0.0), failures=failures, checked_at=begun, error=error
        )
        self._report = report
        if error is None:
            self._becomes(HealthState.HEALTHY, now)
        elif failures >= self.max_failures:
            if self._state is not HealthState.LOST:
                self._attempt, self._next_attempt = 0, now
            self._becomes(HealthState.LOST, now)
        else:
            self._becomes(HealthState.FAILING, now)
        return report

    def _ping(self) -> BaseException | None:
        if self._timeout is None:
            return _failure(self._check)
        if self._hanging is not None:
            if not self._hanging.done.is_set():
                return WaitTimeout("the last check still hangs; no second one is made")
            self._hanging = None
        check = _Check(self._check)
        if check.done.wait(self._timeout):
            return check.error
        self._hanging = check
        return WaitTimeout(f"no answer to a check within {self._timeout:g} s")

    def _repaired(self, before: HealthReport | None) -> HealthReport:
        """Try to connect again; return the outcome as a report."""
        begun = self._clock()
        error = _failure(self._reconnect) if self._reconnect is not None else NotConnected("nothing makes it again")
        if error is None and self._on_reconnect is not None:
            error = _failure(self._on_reconnect)
        now = self._clock()
        with self._lock:
            if error is None:
                self._reconnects += 1
                self._row = self._attempt = 0
                self._due = now + self.check_interval
                self._data_at = None
            else:
                self._failed_reconnects += 1
                self._next_attempt = now + self._policy.delay(self._attempt, self._random.random())
                self._attempt += 1
            failures = self._row
        report = HealthReport(
            healthy=error is None, latency=max(now - begun, 0.0), failures=failures, checked_at=begun, error=error
        )
        self._report = report
        if error is None:
            self._becomes(HealthState.HEALTHY, now)
        return report

    def _becomes(self, state: HealthState, now: float) -> None:
        with self._lock:
            before, self._state = self._state, state
            if self._first is None:
                self._first = now
            if state is HealthState.LOST and before is not HealthState.LOST:
                self._losses += 1
                self._lost_at = now
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
        """Look after the connection in a thread of its own until `stop`; a second call does nothing."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="health-monitor", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread; return whether that came about within *timeout* seconds. Without one it does nothing."""
        thread = self._thread
        if thread is None:
            return True
        self._stopping = True
        self._wake.set()
        thread.join(timeout)
        self._thread = None
        return not thread.is_alive()

    def __enter__(self) -> ConnectionHealthMonitor:
        """Start the thread."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the thread."""
        self.stop()

    def _run(self) -> None:
        while not self._stopping:
            self.tick()
            now = self._clock()
            lost = self._state is HealthState.LOST and self._reconnect is not None
            due = self._next_attempt if lost else self._due
            self._wake.wait(min(max(due - now, 0.005), self.check_interval))
            self._wake.clear()


class _Check:
    """A check in a thread of its own."""

    def __init__(self, check: Callable[[], object]) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None
        self._check = check
        threading.Thread(target=self._run, name="health-check", daemon=True).start()

    def _run(self) -> None:
        self.error = _failure(self._check)
        self.done.set()


def _failure(action: Callable[[], object]) -> Exception | None:
    """Return what *action* raised, or None."""
    try:
        action()
    except Exception as error:
        return error
    return None


def _checker(connector: Any) -> Callable[[], object]:
    """Return what raises where *connector* is not alive."""
    ping: Callable[[], object] | None = getattr(connector, "ping", None)
    if callable(ping):
        return ping
    asked = getattr(connector, "is_connected", None)
    if not callable(asked):
        raise TypeError(f"{type(connector).__name__} has neither ping() nor is_connected(); give it one")

    def check() -> None:
        if not asked():
            raise NotConnected(f"{type(connector).__name__} says that it is not connected")

    return check
