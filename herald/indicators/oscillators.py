"""Indicators that swing: relative strength, convergence of two averages, place within the range."""

from __future__ import annotations

import math

import numpy as np

from herald.indicators.base import Indicator
from herald.indicators.checks import column_of, price_of, whole
from herald.indicators.ranges import share
from herald.indicators.smoothing import Recursive, exponential, recursive, wilder
from herald.indicators.streams import RollingFold, RollingMean
from herald.indicators.windows import rolling_fold, rolling_mean
from herald.model import Bar, BarSeries, FloatArray

__all__ = ["Macd", "Rsi", "Stochastic"]


class Rsi(Indicator):
    """Relative strength index: the share of the gains in all changes, both smoothed by Wilder's rule.

    The first averages are the means of the changes of bars 1 to *length*.

    Attributes:
        value: 0 to 100; NaN for the first *length* bars; 0 as long as the price has never changed.

    Source:
        J. W. Wilder, "New Concepts in Technical Trading Systems", 1978; TA-Lib ``RSI``.
    """

    def __init__(self, length: int = 14, source: str = "close") -> None:
        """Start without a bar.

        Args:
            length: Changes in the averages, >= 1.
            source: open, high, low, close, volume, hl2, hlc3 or ohlc4.

        Raises:
            ValueError: *length* or *source* cannot be used.
        """
        self.length = whole("length", length)
        self.source = source
        self.value = math.nan
        self._price = price_of(source)
        self._gain = Recursive(length, wilder(length))
        self._loss = Recursive(length, wilder(length))
        self._previous: float | None = None

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new index."""
        price = self._price(bar)
        previous, self._previous = self._previous, price
        if previous is not None:
            change = price - previous
            gain, loss = self._gain.push(max(change, 0.0)), self._loss.push(max(-change, 0.0))
            self.value = 100 * gain / (gain + loss) if gain + loss != 0 else 0.0
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return the index at every bar."""
        change = np.diff(column_of(series, self.source))
        gain = recursive(np.maximum(change, 0.0), self.length, wilder(self.length))
        loss = recursive(np.maximum(-change, 0.0), self.length, wilder(self.length))
        value = np.full(len(series), math.nan)
        value[1:] = share(gain, gain + loss)
        return {"value": value}


class Macd(Indicator):
    """Moving average convergence and divergence: a fast exponential average minus a slow one.

    Each average begins with the mean of its own first prices, so the slow one is there from bar ``slow - 1`` on, and
    the signal, an exponential average of the difference, begins with the mean of the first *signal* differences.
    TA-Lib's ``MACD`` begins both averages at the same bar instead; its numbers converge to these.

    Attributes:
        value: Fast minus slow, the source's unit; NaN for the first ``slow - 1`` bars.
        signal: NaN for the first ``slow + signal - 2`` bars.
        histogram: Value minus signal, likewise.

    Source:
        G. Appel, "Technical Analysis: Power Tools for Active Investors", 2005.
    """

    outputs = ("value", "signal", "histogram")

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9, source: str = "close") -> None:
        """Start without a bar.

        Args:
            fast: Bars of the fast average, >= 1.
            slow: Bars of the slow average, more than *fast*.
            signal: Differences in the signal, >= 1.
            source: open, high, low, close, volume, hl2, hlc3 or ohlc4.

        Raises:
            ValueError: A length or *source* cannot be used.
        """
        self.lengths = (whole("fast", fast), whole("slow", slow, fast + 1), whole("signal", signal))
        self.source = source
        self.value = self.signal = self.histogram = math.nan
        self._price = price_of(source)
        self._fast, self._slow, self._signal = (Recursive(length, exponential(length)) for length in self.lengths)

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new difference."""
        price = self._price(bar)
        self.value = self._fast.push(price) - self._slow.push(price)
        if not math.isnan(self.value):
            self.signal = self._signal.push(self.value)
            self.histogram = self.value - self.signal
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return difference, signal and histogram at every bar."""
        price = column_of(series, self.source)
        fast, slow, signal = self.lengths
        value = recursive(price, fast, exponential(fast)) - recursive(price, slow, exponential(slow))
        line = np.full(len(value), math.nan)
        line[slow - 1 :] = recursive(value[slow - 1 :], signal, exponential(signal))
        return {"value": value, "signal": line, "histogram": value - line}


class Stochastic(Indicator):
    """Where the close is between the lowest low and the highest high of the last *length* bars.

    The raw place (%K) is averaged over *smooth* bars, which gives the slow %K, and that over *signal* bars, which
    gives %D; both by plain means.

    Attributes:
        value: Slow %K, 0 to 100; NaN for the first ``length + smooth - 2`` bars; a bar counts 0 where there is no range.
        d: %D, 0 to 100; NaN for ``signal - 1`` bars more.

    Source:
        G. Lane, "Lane's Stochastics", Technical Analysis of Stocks & Commodities, 1984; TA-Lib ``STOCH``.
    """

    outputs = ("value", "d")

    def __init__(self, length: int = 14, smooth: int = 3, signal: int = 3) -> None:
        """Start without a bar.

        Args:
            length: Bars of the range, >= 1.
            smooth: Bars of the slow %K, >= 1; 1 leaves the raw one.
            signal: Bars of %D, >= 1.

        Raises:
            ValueError: A length cannot be used.
        """
        self.lengths = (whole("length", length), whole("smooth", smooth), whole("signal", signal))
        self.value = self.d = math.nan
        self._high = RollingFold(length, max)
        self._low = RollingFold(length, min)
        self._slow = RollingMean(smooth)
        self._signal = RollingMean(signal)

    def update(self, bar: Bar) -> float:
        """Take one more bar and return the new slow %K."""
        high, low = self._high.push(bar.high), self._low.push(bar.low)
        if not math.isnan(high):
            self.value = self._slow.push(100 * (bar.close - low) / (high - low) if high != low else 0.0)
        if not math.isnan(self.value):
            self.d = self._signal.push(self.value)
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return slow %K and %D at every bar."""
        length, smooth, signal = self.lengths
        value, d = np.full((2, len(series)), math.nan)
        high = rolling_fold(series.high, length, np.maximum)[length - 1 :]
        low = rolling_fold(series.low, length, np.minimum)[length - 1 :]
        value[length - 1 :] = rolling_mean(share(series.close[length - 1 :] - low, high - low), smooth)
        first = length + smooth - 2
        d[first:] = rolling_mean(value[first:], signal)
        return {"value": value, "d": d}
