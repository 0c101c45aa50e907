"""How far a bar reaches, and how much of it has a direction: average true range and directional movement."""

from __future__ import annotations

import math

import numpy as np

from herald.indicators.base import Indicator
from herald.indicators.checks import whole
from herald.indicators.smoothing import Recursive, recursive, wilder
from herald.model import Bar, BarSeries, FloatArray

__all__ = ["Adx", "Atr", "share", "true_range", "true_ranges"]


def true_range(bar: Bar, previous_close: float) -> float:
    """Return the range of *bar*, the gap from the close before it included; quote currency per unit."""
    return max(bar.high, previous_close) - min(bar.low, previous_close)


def true_ranges(series: BarSeries) -> FloatArray:
    """Return the true range of every bar but the first, shape (n - 1,)."""
    before = series.close[:-1]
    ranges: FloatArray = np.maximum(series.high[1:], before) - np.minimum(series.low[1:], before)
    return ranges


def share(part: FloatArray, total: FloatArray) -> FloatArray:
    """Return 100 * part / total, shape (n,): percent; 0 where *total* is 0."""
    percent: FloatArray = np.divide(100 * part, total, out=np.zeros(len(part)), where=total != 0)
    return percent


class Atr(Indicator):
    """Average true range, smoothed by Wilder's rule; the first is the mean of the true ranges of bars 1 to *length*.

    Attributes:
        value: Quote currency per unit; NaN for the first *length* bars (the first bar has no true range).

    Source:
        J. W. Wilder, "New Concepts in Technical Trading Systems", 1978; TA-Lib ``ATR``.
    """

    def __init__(self, length: int = 14) -> None:
        """Start without a bar.

        Args:
            length: True ranges in the average, >= 1.

        Raises:
            ValueError: *length* cannot be used.
        """
        self.length = whole("length", length)
        self.value = math.nan
        self._average = Recursive(length, wilder(length))
        self._previous: float | None = None

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new average."""
        if self._previous is not None:
            self.value = self._average.push(true_range(bar, self._previous))
        self._previous = bar.close
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return the average at every bar."""
        value = np.full(len(series), math.nan)
        value[1:] = recursive(true_ranges(series), self.length, wilder(self.length))
        return {"value": value}


class Adx(Indicator):
    """Average directional index: how one-sided the movement of highs and lows is, whatever its direction.

    All three sums and the index itself are smoothed by Wilder's rule and begin with the plain mean of their first
    *length* values, as in Wilder's own tables. TA-Lib's ``ADX`` begins one value short; its numbers converge to these.

    Attributes:
        value: The index, 0 to 100; NaN for the first ``2 * length - 1`` bars.
        plus_di: Share of upward movement in the true range, percent; NaN for the first *length* bars, 0 without range.
        minus_di: Share of downward movement, likewise.

    Source:
        J. W. Wilder, "New Concepts in Technical Trading Systems", 1978.
    """

    outputs = ("value", "plus_di", "minus_di")

    def __init__(self, length: int = 14) -> None:
        """Start without a bar.

        Args:
            length: Bars of each average, >= 1.

        Raises:
            ValueError: *length* cannot be used.
        """
        self.length = whole("length", length)
        self.value = self.plus_di = self.minus_di = math.nan
        weight = wilder(length)
        self._range = Recursive(length, weight)
        self._plus = Recursive(length, weight)
        self._minus = Recursive(length, weight)
        self._index = Recursive(length, weight)
        self._previous: Bar | None = None

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new index."""
        previous, self._previous = self._previous, bar
        if previous is None:
            return self.value
        up, down = bar.high - previous.high, previous.low - bar.low
        reach = self._range.push(true_range(bar, previous.close))
        plus = self._plus.push(up if up > down and up > 0 else 0.0)
        minus = self._minus.push(down if down > up and down > 0 else 0.0)
        if not math.isnan(reach):
            self.plus_di = 100 * plus / reach if reach != 0 else 0.0
            self.minus_di = 100 * minus / reach if reach != 0 else 0.0
            both = self.plus_di + self.minus_di
            self.value = self._index.push(100 * abs(self.plus_di - self.minus_di) / both if both != 0 else 0.0)
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return index and both shares at every bar."""
        value, plus_di, minus_di = columns = np.full((3, len(series)), math.nan)
        length, weight = self.length, wilder(self.length)
        if len(series) > length:
            up, down = np.diff(series.high), -np.diff(series.low)
            reach = recursive(true_ranges(series), length, weight)[length - 1 :]
            plus = recursive(np.where((up > down) & (up > 0), up, 0.0), length, weight)[length - 1 :]
            minus = recursive(np.where((down > up) & (down > 0), down, 0.0), length, weight)[length - 1 :]
            plus_di[length:], minus_di[length:] = share(plus, reach), share(minus, reach)
            plus, minus = plus_di[length:], minus_di[length:]
            value[length:] = recursive(share(np.abs(plus - minus), plus + minus), length, weight)
        return dict(zip(self.outputs, columns, strict=True))
