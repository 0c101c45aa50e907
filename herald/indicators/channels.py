"""Bands around the price: Bollinger's, Donchian's channel, and the Supertrend line."""

from __future__ import annotations

import math

import numpy as np

from herald.indicators.base import Indicator
from herald.indicators.checks import column_of, factor, price_of, whole
from herald.indicators.ranges import Atr
from herald.indicators.streams import RollingFold, RollingMoments
from herald.indicators.windows import rolling_fold, rolling_moments
from herald.model import Bar, BarSeries, FloatArray

__all__ = ["Bollinger", "Donchian", "Supertrend"]

_PIECE = 8_192
"""Bars that exist as Python floats at a time: they stay in the processor's cache."""


class Bollinger(Indicator):
    """Bollinger bands: a mean, and bands a number of standard deviations away from it.

    The deviation is that of the population (divided by *length*, not by ``length - 1``).

    Attributes:
        value: The mean of the last *length* prices, the source's unit; NaN for the first ``length - 1`` bars.
        upper: Mean plus *width* deviations, likewise.
        lower: Mean minus *width* deviations, likewise.

    Source:
        J. Bollinger, "Bollinger on Bollinger Bands", 2001; TA-Lib ``BBANDS``.
    """

    outputs = ("value", "upper", "lower")

    def __init__(self, length: int = 20, width: float = 2.0, source: str = "close") -> None:
        """Start without a bar.

        Args:
            length: Bars, >= 2.
            width: Distance of the bands, standard deviations, > 0.
            source: open, high, low, close, volume, hl2, hlc3 or ohlc4.

        Raises:
            ValueError: An argument cannot be used.
        """
        self.length = whole("length", length, 2)
        self.width = factor("width", width)
        self.source = source
        self.value = self.upper = self.lower = math.nan
        self._price = price_of(source)
        self._moments = RollingMoments(length)

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new mean."""
        self.value = self._moments.push(self._price(bar))
        if not math.isnan(self.value):
            reach = self.width * math.sqrt(self._moments.variance)
            self.upper, self.lower = self.value + reach, self.value - reach
        else:
            self.upper = self.lower = math.nan
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return mean and bands at every bar."""
        mean, variance = rolling_moments(column_of(series, self.source), self.length)
        reach = self.width * np.sqrt(variance)
        return {"value": mean, "upper": mean + reach, "lower": mean - reach}


class Donchian(Indicator):
    """Donchian channel: the highest high and the lowest low of the last *length* bars, the current one included.

    A close can thus never be outside its own channel; a breakout is a close outside the channel of the bar before.

    Attributes:
        value: The middle of the channel, quote currency per unit; NaN for the first ``length - 1`` bars.
        upper: Highest high, likewise.
        lower: Lowest low, likewise.

    Source:
        R. Donchian's four-week rule; TA-Lib ``MAX`` and ``MIN``.
    """

    outputs = ("value", "upper", "lower")

    def __init__(self, length: int = 20) -> None:
        """Start without a bar.

        Args:
            length: Bars, >= 1.

        Raises:
            ValueError: *length* cannot be used.
        """
        self.length = whole("length", length)
        self.value = self.upper = self.lower = math.nan
        self._high = RollingFold(length, max)
        self._low = RollingFold(length, min)

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new middle."""
        self.upper, self.lower = self._high.push(bar.high), self._low.push(bar.low)
        self.value = (self.upper + self.lower) / 2
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return middle and bounds at every bar."""
        upper = rolling_fold(series.high, self.length, np.maximum)
        lower = rolling_fold(series.low, self.length, np.minimum)
        return {"value": (upper + lower) / 2, "upper": upper, "lower": lower}


class Supertrend(Indicator):
    """Supertrend: a line under a rising price or over a falling one, which follows and never steps back.

    Both bands are the middle of the bar plus or minus *multiplier* average true ranges. The upper one only falls and
    the lower one only rises, until a close passes it. The line is the lower band while the close stays above it, and
    changes to the upper band when it does not; likewise the other way. It starts on the side of the first close.

    Attributes:
        value: The line, quote currency per unit; NaN for the first *length* bars.
        direction: 1.0 while the line is under the price, -1.0 while it is over it, likewise.

    Source:
        O. Seban's Supertrend, in the form and with the published values of Stock.Indicators (D. Skender).
    """

    outputs = ("value", "direction")

    def __init__(self, length: int = 10, multiplier: float = 3.0) -> None:
        """Start without a bar.

        Args:
            length: True ranges in the average, >= 1.
            multiplier: Distance of the bands, average true ranges, > 0.

        Raises:
            ValueError: An argument cannot be used.
        """
        self.length = whole("length", length)
        self.multiplier = factor("multiplier", multiplier)
        self.value = self.direction = math.nan
        self._atr = Atr(length)
        self._line = _Line()

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new line."""
        reach = self.multiplier * self._atr.update(bar)
        if not math.isnan(reach):
            self.value, self.direction = self._line.step((bar.high + bar.low) / 2, reach, bar.close)
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return line and direction at every bar."""
        columns = np.full((2, len(series)), math.nan)
        reach = self.multiplier * Atr(self.length).compute(series)["value"]
        inputs = (column_of(series, "hl2"), reach, series.close)
        step = _Line().step
        for start in range(self.length, len(series), _PIECE):
            part = slice(start, start + _PIECE)
            columns[:, part] = np.array(list(map(step, *(column[part].tolist() for column in inputs)))).T
        return dict(zip(self.outputs, columns, strict=True))


class _Line:
    """What the Supertrend line remembers from bar to bar."""

    __slots__ = ("close", "lower", "rising", "upper")

    def __init__(self) -> None:
        self.upper = self.lower = self.close = math.nan
        self.rising = True

    def step(self, middle: float, reach: float, close: float) -> tuple[float, float]:
        """Take the next bar and return (line, direction)."""
        upper, lower = middle + reach, middle - reach
        if math.isnan(self.close):  # the first bar
            self.rising = close >= middle
            self.upper, self.lower = upper, lower
        else:
            if upper < self.upper or self.close > self.upper:
                self.upper = upper
            if lower > self.lower or self.close < self.lower:
                self.lower = lower
        self.close = close
        self.rising = close > (self.lower if self.rising else self.upper)
        return (self.lower, 1.0) if self.rising else (self.upper, -1.0)
