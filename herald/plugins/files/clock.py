"""The clock that a file was written by: its wall time to UTC and back, whole columns at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from herald.clock import DAY, HOUR, SECOND
from herald.model import IntArray
from herald.plugins.files.settings import ZoneStep, wall_time

__all__ = ["FileClock", "spell_out"]

BoolArray = NDArray[np.bool_]

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_PROBE = 5 * DAY
"""Zones are looked at this often; none has kept an offset for a shorter time (Morocco's Ramadan weeks are the shortest)."""


def spell_out(zone: str | Sequence[ZoneStep]) -> tuple[ZoneStep, ...]:
    """Return the setting ``zone`` as a list of steps."""
    return (ZoneStep(zone=zone),) if isinstance(zone, str) else tuple(zone)


class _Zone:
    """One zone as arrays: *offsets[k]* (ns) holds from UTC time *starts[k]*; the first start is the beginning of time."""

    def __init__(self, name: str, low: int, high: int) -> None:
        self.name = name
        zone = ZoneInfo(name)

        def offset(at: int) -> int:
            moment = (_EPOCH_UTC + timedelta(seconds=at // SECOND)).astimezone(zone)
            delta = moment.utcoffset() or timedelta()
            return (delta.days * 86_400 + delta.seconds) * SECOND

        at = low // SECOND * SECOND
        starts, offsets = [np.iinfo(np.int64).min // 2], [offset(at)]
        while at < high:
            after = at + _PROBE
            if offset(after) != offsets[-1]:
                left, right = at, after  # the change lies in (left, right]; whole seconds are exact
                while right - left > SECOND:
                    middle = (left + right) // 2 // SECOND * SECOND
                    left, right = (middle, right) if offset(middle) == offsets[-1] else (left, middle)
                starts.append(right)
                offsets.append(offset(right))
                after = right
            at = after
        self.starts = np.array(starts, dtype=np.int64)
        self.offsets = np.array(offsets, dtype=np.int64)

    def to_utc(self, wall: IntArray) -> tuple[IntArray, BoolArray, BoolArray]:
        """Return (UTC by the first reading, which rows have a second reading, which rows never happened)."""
        ends = np.concatenate((self.starts[1:] + self.offsets[:-1], [np.iinfo(np.int64).max]))
        part = np.searchsorted(ends, wall, side="right")
        utc = wall - self.offsets[part]
        skipped = utc < self.starts[part]
        after = np.minimum(part + 1, len(self.starts) - 1)
        twice = (after > part) & (wall - self.offsets[after] >= self.starts[after])
        return utc, twice, skipped

    def second_reading(self, wall: IntArray) -> IntArray:
        """Return UTC of times that occur twice, read after the clock went back."""
        ends = self.starts[1:] + self.offsets[:-1]
        return wall - self.offsets[np.searchsorted(ends, wall, side="right") + 1]

    def to_wall(self, utc: IntArray) -> IntArray:
        """Return the wall time of UTC times."""
        return utc + self.offsets[np.searchsorted(self.starts, utc, side="right") - 1]


class FileClock:
    """Converts the times of one file; all times are nanoseconds, wall times as if they were UTC."""

    def __init__(self, steps: Sequence[ZoneStep], low: int, high: int) -> None:
        """Prepare *steps* for wall times from *low* to *high*."""
        self._untils = np.array([_nanoseconds(wall_time(step.until)) for step in steps if step.until is not None], dtype=np.int64)
        self._zones = [_Zone(step.zone, low - 2 * DAY, high + 10 * DAY) for step in steps]

    def to_utc(self, wall: IntArray) -> tuple[IntArray, BoolArray]:
        """Return UTC and which times never happened, because the clock was put forward over them.

        Where the clock was put back, an hour occurs twice. The rows say which pass is meant: times of that hour
        that do not go on from the row before belong to the second pass; an hour written once is the first.
        """
        utc = np.empty_like(wall)
        skipped = np.zeros(len(wall), dtype=np.bool_)
        step = np.searchsorted(self._untils, wall, side="right")
        for index, zone in enumerate(self._zones):
            rows = np.flatnonzero(step == index)
            if len(rows) == 0:
                continue
            utc[rows], twice, skipped[rows] = zone.to_utc(wall[rows])
            second = _second_pass(wall, rows[twice])
            utc[second] = zone.second_reading(wall[second])
        return utc, skipped

    def to_wall(self, utc: IntArray) -> IntArray:
        """Return the wall time of UTC times."""
        wall = self._zones[0].to_wall(utc)
        for until, zone in zip(self._untils, self._zones[1:], strict=True):
            later = zone.to_wall(utc)
            wall = np.where(later >= until, later, wall)
        return wall

    def bar_ends(self, wall: IntArray, utc: IntArray, span: int) -> IntArray:
        """Return when bars of *span* end that begin at *wall* (which is *utc*).

        Up to an hour a bar lasts its span. A longer one ends where its clock says so: the day on which clocks
        are put forward has 23 hours.
        """
        return utc + span if span <= HOUR else self.to_utc(wall + span)[0]

    def groups(self, utc: IntArray, span: int, anchor: int) -> IntArray:
        """Return the end of the longer bar, aligned to the wall clock, that bars beginning at *utc* belong to."""
        wall = self.to_wall(utc)
        begin = wall - (wall - anchor) % span
        return utc - (wall - begin) + span if span <= HOUR else np.maximum.accumulate(self.to_utc(begin + span)[0])


def _second_pass(wall: IntArray, twice: IntArray) -> IntArray:
    # Few rows are ambiguous (an hour a year), so a loop does.
    second: list[int] = []
    for row in twice.tolist():
        if row == 0:
            continue
        step = int(wall[row] - wall[row - 1])
        if -2 * HOUR < step <= 0 or (second and second[-1] == row - 1 and step < 2 * HOUR):
            second.append(row)
    return np.array(second, dtype=np.int64)


def _nanoseconds(moment: datetime) -> int:
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1_000
