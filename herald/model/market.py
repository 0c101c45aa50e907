"""Prices: one bar, one quote, and the columns of a whole series."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from herald.clock import SECOND

__all__ = ["Bar", "BarSeries", "FloatArray", "IntArray", "Quote", "Timeframe"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

_WEEK = 604_800 * SECOND
_MONDAY = 4 * 86_400 * SECOND
"""1970-01-01 was a Thursday: whole weeks are counted from the Monday after it."""

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Timeframe(msgspec.Struct, frozen=True, order=True):
    """The length of a bar.

    Attributes:
        seconds: Length, seconds, > 0.
    """

    seconds: int

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Return the time frame written as ``15m``, ``4h``, ``1d``, ``1w``, or as MetaTrader's ``M15``, ``H4``, ``D1``.

        Raises:
            ValueError: *text* is not a count and a unit.
        """
        lower = text.strip().lower()
        unit, count = (lower[-1:], lower[:-1]) if lower[:1].isdecimal() else (lower[:1], lower[1:])
        if unit not in _UNITS or not count.isdecimal() or len(count) > 9 or int(count) == 0:
            raise ValueError(f"unknown time frame {text!r}; write a count and a unit, such as 15m, 1h, 1d or 1w")
        return cls(int(count) * _UNITS[unit])

    @property
    def span(self) -> int:
        """Return the length in nanoseconds."""
        return self.seconds * SECOND

    def __str__(self) -> str:
        """Return the shortest form, such as ``15m`` or ``1d``."""
        for unit in ("w", "d", "h", "m"):
            count, rest = divmod(self.seconds, _UNITS[unit])
            if rest == 0:
                return f"{count}{unit}"
        return f"{self.seconds}s"


class Bar(msgspec.Struct, frozen=True, gc=False):
    """Prices of one stretch of time, delivered when it is over.

    Attributes:
        symbol: The instrument.
        time: The **end** of the bar, when it becomes known; nanoseconds UTC.
        span: Length, nanoseconds; the bar began at ``time - span``.
        open: First price, quote currency per unit; bars of a quoted market are bid prices.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: In the source's own unit (ticks for MetaTrader); NaN where unknown.
    """

    symbol: str
    time: int
    span: int
    open: float
    high: float
    low: float
    close: float
    volume: float = math.nan


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The best bid and ask at one instant.

    Attributes:
        symbol: The instrument.
        time: When it was quoted, nanoseconds UTC.
        bid: Price at which one can sell, quote currency per unit.
        ask: Price at which one can buy.
        bid_size: Size at the bid, lots; NaN where unknown.
        ask_size: Size at the ask, lots; NaN where unknown.
    """

    symbol: str
    time: int
    bid: float
    ask: float
    bid_size: float = math.nan
    ask_size: float = math.nan

    @property
    def mid(self) -> float:
        """Return the middle of bid and ask."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> float:
        """Return ask minus bid, quote currency per unit."""
        return self.ask - self.bid


class BarSeries:
    """Bars of one symbol and time frame as columns, each read-only and of shape (n,).

    Attributes:
        symbol: The instrument.
        span: Length of a bar, nanoseconds.
        time: End of each bar, nanoseconds UTC, strictly increasing.
        open, high, low, close: Prices, quote currency per unit.
        volume: In the source's own unit; NaN where unknown.
        spread: Ask minus bid, quote currency per unit, or None where the source has none.
    """

    __slots__ = ("close", "high", "low", "open", "span", "spread", "symbol", "time", "volume")

    def __init__(
        self,
        symbol: str,
        span: int,
        time: IntArray,
        open: FloatArray,  # noqa: A002 - the field's own word
        high: FloatArray,
        low: FloatArray,
        close: FloatArray,
        volume: FloatArray | None = None,
        spread: FloatArray | None = None,
    ) -> None:
        """Take the columns as read-only views; arrays of the right type are not copied.

        Raises:
            ValueError: Lengths differ, or times do not strictly increase.
        """
        self.symbol = symbol
        self.span = span
        self.time = _column(time, np.int64)
        n = len(self.time)
        self.open = _column(open, np.float64)
        self.high = _column(high, np.float64)
        self.low = _column(low, np.float64)
        self.close = _column(close, np.float64)
        self.volume = _column(np.full(n, math.nan) if volume is None else volume, np.float64)
        self.spread = None if spread is None else _column(spread, np.float64)
        for name in ("open", "high", "low", "close", "volume", "spread"):
            column = getattr(self, name)
            if column is not None and column.shape != (n,):
                raise ValueError(f"{name} of {symbol!r} has shape {column.shape}, time has ({n},)")
        if n > 1 and not bool(np.all(self.time[1:] > self.time[:-1])):
            raise ValueError(f"times of {symbol!r} do not strictly increase")

    def __len__(self) -> int:
        """Return the number of bars."""
        return len(self.time)

    def __getitem__(self, part: slice) -> BarSeries:
        """Return the bars of a slice, as views."""
        return BarSeries(
            self.symbol,
            self.span,
            self.time[part],
            self.open[part],
            self.high[part],
            self.low[part],
            self.close[part],
            self.volume[part],
            None if self.spread is None else self.spread[part],
        )

    def bar(self, index: int) -> Bar:
        """Return the bar at *index* as a value."""
        return Bar(
            self.symbol,
            int(self.time[index]),
            self.span,
            float(self.open[index]),
            float(self.high[index]),
            float(self.low[index]),
            float(self.close[index]),
            float(self.volume[index]),
        )

    def between(self, start: int | None, end: int | None) -> BarSeries:
        """Return the bars that end in ``(start, end]``, nanoseconds UTC; None is no bound."""
        low = 0 if start is None else int(np.searchsorted(self.time, start, side="right"))
        high = len(self) if end is None else int(np.searchsorted(self.time, end, side="right"))
        return self[low:high]

    def resample(self, timeframe: Timeframe, offset: int = 0) -> BarSeries:
        """Return the same prices in longer bars.

        A new bar takes its open from the first bar that begins within it, the highest high, the lowest low, the last
        close, the sum of the volumes and the **smallest** spread, as MetaTrader does; a stretch without bars makes none.

        Args:
            timeframe: Length of the new bars, a multiple of this one's.
            offset: Where the grid begins after UTC midnight, nanoseconds; weeks begin on a Monday.

        Raises:
            ValueError: *timeframe* is no multiple of this series' span.
        """
        span = timeframe.span
        anchor = offset + (_MONDAY if span % _WEEK == 0 else 0)
        starts = self.time - self.span - anchor
        return self.group(timeframe, starts - starts % span + anchor + span)

    def group(self, timeframe: Timeframe, ends: IntArray) -> BarSeries:
        """Return the bars that share an entry of *ends* as one bar each; see `resample` for the prices.

        Args:
            timeframe: Length of the new bars, a multiple of this one's.
            ends: End of the new bar that each bar belongs to, shape (n,), nanoseconds UTC, never falling.

        Raises:
            ValueError: *timeframe* is no multiple of this series' span, or *ends* falls.
        """
        if self.span <= 0 or timeframe.span % self.span:
            mine = Timeframe(self.span // SECOND)
            raise ValueError(f"bars of {mine} do not make bars of {timeframe}: it is not a multiple")
        if len(self) == 0:
            none = np.empty(0)
            return BarSeries(self.symbol, timeframe.span, self.time, none, none, none, none, none, self.spread)
        first = np.flatnonzero(np.concatenate(([True], ends[1:] != ends[:-1])))
        last = np.concatenate((first[1:], [len(self)])) - 1
        return BarSeries(
            self.symbol,
            timeframe.span,
            ends[first],
            self.open[first],
            np.maximum.reduceat(self.high, first),
            np.minimum.reduceat(self.low, first),
            self.close[last],
            np.add.reduceat(self.volume, first),
            None if self.spread is None else np.minimum.reduceat(self.spread, first),
        )


def _column(values: Any, dtype: type) -> NDArray[Any]:
    view: NDArray[Any] = np.ascontiguousarray(values, dtype=dtype).view()
    view.flags.writeable = False
    return view
