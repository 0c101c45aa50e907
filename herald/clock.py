"""Time as one number: nanoseconds since 1970-01-01 UTC, and the clocks that tell it."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from typing import Protocol

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "Clock",
    "SimClock",
    "WallClock",
    "day_start",
    "format_time",
    "next_day_start",
    "parse_time",
    "stopwatch",
]

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

stopwatch = time.perf_counter
"""Seconds from an arbitrary start, the finest there are; for measuring what takes microseconds, never for deciding anything."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def now(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Return after *seconds* have passed on this clock."""


class WallClock:
    """The clock of the machine."""

    def now(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; unaffected by changes of the wall clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread for *seconds*."""
        time.sleep(seconds)


class SimClock:
    """A clock that stands still until it is set, for backtests and tests."""

    def __init__(self, now: int = 0) -> None:
        """Start at *now*, nanoseconds UTC."""
        self._now = now

    def now(self) -> int:
        """Return the time last set, nanoseconds UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return the same time in seconds."""
        return self._now / SECOND

    def sleep(self, seconds: float) -> None:
        """Move the clock forward by *seconds* without waiting."""
        self._now += round(seconds * SECOND)

    def set(self, now: int) -> None:
        """Move the clock to *now*, nanoseconds UTC."""
        self._now = now


def parse_time(text: str) -> int:
    """Return the time that an ISO 8601 date or date-time states.

    Args:
        text: ``2024-03-01``, ``2024-03-01T10:15``, ``2024-03-01 10:15:00.5Z``, ``2024-03-01T10:15+02:00``;
            UTC where no offset is written.

    Returns:
        Nanoseconds since 1970-01-01 UTC, exact to the microsecond.

    Raises:
        ValueError: *text* is no such date.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1_000


def format_time(at: int) -> str:
    """Return *at* (nanoseconds UTC) as ``2024-03-01T10:15:00Z``, with a fraction only where there is one."""
    seconds, rest = divmod(at, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else text + "Z"


def day_start(at: int, hour: int, zone: tzinfo) -> int:
    """Return the last moment at or before *at* when clocks in *zone* showed *hour* o'clock, nanoseconds UTC.

    Args:
        at: Nanoseconds UTC.
        hour: 0 to 23; where the hour is skipped in spring, the first moment after the gap counts, where it comes
            twice in autumn, the first.
        zone: Such as ``ZoneInfo("America/New_York")``.
    """
    day = (_EPOCH + timedelta(seconds=at // SECOND)).astimezone(zone).date()
    start = _on_the_clock(day, hour, zone)
    return start if start <= at else _on_the_clock(day - timedelta(days=1), hour, zone)


def next_day_start(at: int, hour: int, zone: tzinfo) -> int:
    """Return the first moment after *at* when clocks in *zone* show *hour* o'clock; see `day_start`."""
    day = (_EPOCH + timedelta(seconds=at // SECOND)).astimezone(zone).date()
    start = _on_the_clock(day, hour, zone)
    return start if start > at else _on_the_clock(day + timedelta(days=1), hour, zone)


def _on_the_clock(day: date, hour: int, zone: tzinfo) -> int:
    since = datetime.combine(day, time_of_day(hour), zone) - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND
