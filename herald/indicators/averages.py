"""Averages of the price: simple, exponential, weighted, and weighted by volume."""

from __future__ import annotations

import math
import operator

import numpy as np

from herald.indicators.base import Indicator
from herald.indicators.checks import column_of, price_of, whole
from herald.indicators.smoothing import Recursive, exponential, recursive
from herald.indicators.streams import RollingFold, RollingMean, RollingWeightedMean
from herald.indicators.windows import rolling_fold, rolling_mean, rolling_weighted_mean
from herald.model import Bar, BarSeries, FloatArray

__all__ = ["Ema", "Sma", "Vwap", "Wma"]


class Sma(Indicator):
    """Simple moving average: the mean of the last *length* prices.

    Attributes:
        value: In the source's unit; NaN for the first ``length - 1`` bars.

    Source:
        TA-Lib ``SMA``.
    """

    def __init__(self, length: int, source: str = "close") -> None:
        """Start without a bar.

        Args:
            length: Bars, >= 1.
            source: open, high, low, close, volume, hl2, hlc3 or ohlc4.

        Raises:
            ValueError: *length* or *source* cannot be used.
        """
        self.length = whole("length", length)
        self.source = source
        self.value = math.nan
        self._price = price_of(source)
        self._mean = RollingMean(length)

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new mean."""
        self.value = self._mean.push(self._price(bar))
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return the mean at every bar."""
        return {"value": rolling_mean(column_of(series, self.source), self.length)}


class Ema(Indicator):
    """Exponential moving average: moves by 2 / (length + 1) of the distance to each new price.

    The first average is the mean of the first *length* prices.

    Attributes:
        value: In the source's unit; NaN for the first ``length - 1`` bars.

    Source:
        TA-Lib ``EMA`` (its default seed).
    """

    def __init__(self, length: int, source: str = "close") -> None:
        """Start without a bar.

        Args:
            length: Bars, >= 1.
            source: open, high, low, close, volume, hl2, hlc3 or ohlc4.

        Raises:
            ValueError: *length* or *source* cannot be used.
        """
        self.length = whole("length", length)
        self.source = source
        self.value = math.nan
        self._price = price_of(source)
        self._average = Recursive(length, exponential(length))

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new average."""
        self.value = self._average.push(self._price(bar))
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return the average at every bar."""
        return {"value": recursive(column_of(series, self.source), self.length, exponential(self.length))}


class Wma(Indicator):
    """Weighted moving average: the last price weighs *length*, the one before it one less, and so on down to 1.

    Attributes:
        value: In the source's unit; NaN for the first ``length - 1`` bars.

    Source:
        TA-Lib ``WMA``.
    """

    def __init__(self, length: int, source: str = "close") -> None:
        """Start without a bar.

        Args:
            length: Bars, >= 1.
            source: open, high, low, close, volume, hl2, hlc3 or ohlc4.

        Raises:
            ValueError: *length* or *source* cannot be used.
        """
        self.length = whole("length", length)
        self.source = source
        self.value = math.nan
        self._price = price_of(source)
        self._mean = RollingWeightedMean(length)

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new mean."""
        self.value = self._mean.push(self._price(bar))
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return the mean at every bar."""
        return {"value": rolling_weighted_mean(column_of(series, self.source), self.length)}


class Vwap(Indicator):
    """Volume-weighted average price of the last *length* bars; the price of a bar is (high + low + close) / 3.

    It rolls, it does not begin anew each day.

    Attributes:
        value: Quote currency per unit; NaN for the first ``length - 1`` bars, where nothing was traded, and while the
            volume of one of these bars is unknown.

    Source:
        S. Berkowitz, D. Logue, E. Noser, "The Total Cost of Transactions on the NYSE", Journal of Finance 43, 1988
        (the mean), over a rolling window.
    """

    def __init__(self, length: int) -> None:
        """Start without a bar.

        Args:
            length: Bars, >= 1.

        Raises:
            ValueError: *length* cannot be used.
        """
        self.length = whole("length", length)
        self.value = math.nan
        self._price = price_of("hlc3")
        self._turnover = RollingFold(length, operator.add)
        self._volume = RollingFold(length, operator.add)

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new mean."""
        turnover = self._turnover.push(self._price(bar) * bar.volume)
        volume = self._volume.push(bar.volume)
        self.value = turnover / volume if volume > 0 else math.nan
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return the mean at every bar."""
        turnover = rolling_fold(column_of(series, "hlc3") * series.volume, self.length, np.add)
        volume = rolling_fold(series.volume, self.length, np.add)
        value = np.full(len(series), math.nan)
        np.divide(turnover, volume, out=value, where=volume > 0)
        return {"value": value}
