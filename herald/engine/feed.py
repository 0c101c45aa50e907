"""One series as the engine knows it: columns, and how much of them is already history."""

from __future__ import annotations

import math
from collections.abc import Callable
from keyword import iskeyword
from typing import Any

import numpy as np

from herald.indicators.base import Indicator
from herald.model import Bar, BarSeries, FloatArray, IntArray

__all__ = ["Feed"]

_COLUMNS = ("open", "high", "low", "close", "volume", "spread")
_FIRST_CAPACITY = 1024


class Feed:
    """The bars of one (symbol, time frame), of which the first `count` have happened.

    In a backtest the columns are there from the start and only `count` moves; live, `append` adds to
    them. Readers cannot tell the difference: `window` ends at the last bar that has happened.

    Attributes:
        symbol: The instrument.
        span: Length of a bar, nanoseconds.
        count: Bars that have happened.
        time: End of each bar, nanoseconds UTC, shape (capacity,); only the first `count` may be read.
        open, high, low, close, volume: Likewise, read-only.
        spread: Ask minus bid, likewise, quote currency per unit.
        has_spread: Whether any bar has a spread.
        handlers: ``(on_bar, context)`` of every strategy that is warm, in config order; entries are
            replaced in place, so a loop over the list sees the change.
        indicators: What is kept current over this series.
    """

    __slots__ = (
        "_fixed_spread",
        "_preloaded",
        "_store",
        "close",
        "columns",
        "count",
        "handlers",
        "has_spread",
        "high",
        "indicators",
        "low",
        "open",
        "span",
        "spread",
        "symbol",
        "time",
        "volume",
    )

    def __init__(self, symbol: str, span: int, fixed_spread: float = 0.0) -> None:
        """Start empty, ready to append; *fixed_spread* (quote currency per unit) holds for appended bars."""
        self._fixed_spread = fixed_spread
        self.symbol = symbol
        self.span = span
        self.count = 0
        self.has_spread = True
        self.handlers: list[tuple[Callable[[Bar, Any], None], Any]] = []
        self.indicators: list[Indicator] = []
        self.columns: list[dict[str, FloatArray]] = []
        self._preloaded: BarSeries | None = None
        self._reserve(_FIRST_CAPACITY)

    def _reserve(self, capacity: int) -> None:
        """Make room for *capacity* bars, keeping what is there."""
        store: dict[str, np.ndarray[tuple[int], np.dtype[np.generic]]] = {"time": np.zeros(capacity, np.int64)}
        store |= {name: np.full(capacity, math.nan) for name in _COLUMNS}
        for name, column in store.items():
            if self.count:
                column[: self.count] = getattr(self, name)[: self.count]
            view = column.view()
            view.flags.writeable = False
            setattr(self, name, view)
        self._store = store

    def preload(self, series: BarSeries, spread: FloatArray, count: int) -> None:
        """Take a whole series of which the first *count* bars have happened; for a backtest.

        Args:
            series: The bars.
            spread: Ask minus bid of each bar, shape (n,), quote currency per unit.
            count: Bars that are history when the run starts.
        """
        self._preloaded = series
        self.count = count
        self.has_spread = bool(len(spread) and (spread[0] or np.any(spread)))
        self.time: IntArray = series.time
        self.open: FloatArray = series.open
        self.high: FloatArray = series.high
        self.low: FloatArray = series.low
        self.close: FloatArray = series.close
        self.volume: FloatArray = series.volume
        self.spread: FloatArray = spread

    @property
    def fixed_spread(self) -> float:
        """Return the spread of appended bars, quote currency per unit."""
        return self._fixed_spread

    @property
    def preloaded(self) -> bool:
        """Return whether the future is already in the columns."""
        return self._preloaded is not None

    def append(self, bar: Bar) -> None:
        """Add the next bar and bring every indicator up to it."""
        n = self.count
        if n == len(self.time):
            self._reserve(2 * n)
        store = self._store
        store["time"][n] = bar.time
        store["open"][n] = bar.open
        store["high"][n] = bar.high
        store["low"][n] = bar.low
        store["close"][n] = bar.close
        store["volume"][n] = bar.volume
        store["spread"][n] = self._fixed_spread
        self.count = n + 1
        for indicator in self.indicators:
            indicator.update(bar)

    def series(self, n: int) -> BarSeries:
        """Return the last *n* bars as columns; fewer where fewer have happened."""
        part = slice(max(self.count - n, 0), self.count)
        return BarSeries(
            self.symbol,
            self.span,
            self.time[part],
            self.open[part],
            self.high[part],
            self.low[part],
            self.close[part],
            self.volume[part],
            self.spread[part],
        )

    def attach(self, indicator: Indicator) -> None:
        """Keep *indicator* current from now on, as if it had seen every bar so far.

        Raises:
            ValueError: One of its ``outputs`` is no name that an attribute can have in Python source.
        """
        for name in indicator.outputs:
            if not name.isidentifier() or iskeyword(name):
                raise ValueError(f"outputs of {type(indicator).__name__} must be names of attributes, not {name!r}")
        self.indicators.append(indicator)
        if self._preloaded is None:
            history = self.series(self.count)
            for index in range(self.count):
                indicator.update(history.bar(index))
            return
        columns = indicator.compute(self._preloaded)
        self.columns.append(columns)
        if self.count:
            for name in indicator.outputs:
                setattr(indicator, name, float(columns[name][self.count - 1]))

    def outputs(self) -> list[tuple[Indicator, str, FloatArray]]:
        """Return (indicator, attribute, precomputed column) for everything to assign at each bar."""
        return [
            (indicator, name, columns[name])
            for indicator, columns in zip(self.indicators, self.columns, strict=True)
            for name in indicator.outputs
        ]
