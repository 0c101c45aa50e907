"""Bars of one time, put together: a strategy sees every symbol's bar of a time, or is told which is late."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from herald.model import Bar, IntArray, Moment

__all__ = ["Assembler", "Moments"]


class Moments:
    """Times that only grow, as an array that is not made anew for every question."""

    def __init__(self) -> None:
        """Start with none."""
        self._times = np.zeros(1024, np.int64)
        self._count = 0

    def append(self, time: int) -> None:
        """Add the next time, nanoseconds UTC."""
        if self._count == len(self._times):
            self._times = np.concatenate([self._times, np.zeros(self._count, np.int64)])
        self._times[self._count] = time
        self._count += 1

    def view(self) -> IntArray:
        """Return all times so far, shape (n,), read-only."""
        view = self._times[: self._count]
        view.flags.writeable = False
        return view


class Assembler:
    """Collects bars by the time at which they end.

    A moment is complete when every series whose bars end at that time has delivered; what is missing is waited for until
    the grace is over, counted from the first bar of that time. Series that have nothing for a whole session (another
    market's holiday) therefore delay the others by the grace at most.
    """

    def __init__(self, series: Sequence[tuple[str, int]], grace_seconds: float) -> None:
        """Expect bars of *series*, (symbol, span in nanoseconds) in config order; wait *grace_seconds* for late ones."""
        self._series = {key: place for place, key in enumerate(series)}
        self._grace = grace_seconds
        self._open: dict[int, dict[tuple[str, int], Bar]] = {}
        self._since: dict[int, float] = {}
        self._last: dict[tuple[str, int], int] = {}
        self._done = 0

    def add(self, bar: Bar, now: float) -> tuple[list[Moment], Bar | None]:
        """Take a bar.

        Args:
            bar: A finished bar.
            now: Seconds of a monotonic clock.

        Returns:
            Moments that are complete by it, and the bar itself where it comes too late or was there already.
        """
        key = (bar.symbol, bar.span)
        if key not in self._series or bar.time <= max(self._last.get(key, 0), self._done):
            return [], bar
        self._last[key] = bar.time
        self._open.setdefault(bar.time, {})[key] = bar
        self._since.setdefault(bar.time, now)
        return self._ready(now), None

    def due(self, now: float) -> list[Moment]:
        """Return the moments whose grace is over at *now*."""
        return self._ready(now)

    def _ready(self, now: float) -> list[Moment]:
        ready = []
        for time in sorted(self._open):
            if not self._is_complete(time) and now - self._since[time] < self._grace:
                break  # a later moment must not overtake an earlier one
            bars = self._open.pop(time)
            del self._since[time]
            self._done = time
            ready.append(Moment(time, tuple(bars[key] for key in sorted(bars, key=self._series.__getitem__))))
        return ready

    def _is_complete(self, time: int) -> bool:
        have = self._open[time]
        return all(key in have or time % key[1] for key in self._series)
