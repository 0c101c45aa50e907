"""The bars of one symbol in one file, on the file's clock and in UTC, not yet judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from herald.clock import DAY, SECOND
from herald.contracts import ParsedBars
from herald.errors import DataError
from herald.model import BarSeries, FloatArray, IntArray, Timeframe
from herald.plugins.files.clock import FileClock
from herald.plugins.files.settings import ZoneStep

__all__ = ["Table", "make_tables"]

_MONDAY = 4 * DAY
"""1970-01-01 was a Thursday."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of shape (n,); prices in quote currency per unit, times in nanoseconds.

    Attributes:
        symbol: As the file states it; empty where it does not.
        row: Line of the file.
        wall: Start of each bar on the file's clock.
        start: The same in UTC.
        skipped: Which of these times never happened.
        span: Length of a bar; 0 where it cannot be told.
        clock: What the file's times are read by.
    """

    symbol: str
    row: IntArray
    wall: IntArray
    start: IntArray
    skipped: NDArray[np.bool_]
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray | None
    spread: FloatArray | None
    spread_points: bool
    span: int
    clock: FileClock

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.row)

    def only(self, kept: NDArray[np.bool_]) -> Table:
        """Return the rows that *kept* marks."""
        return replace(
            self,
            row=self.row[kept],
            wall=self.wall[kept],
            start=self.start[kept],
            skipped=self.skipped[kept],
            open=self.open[kept],
            high=self.high[kept],
            low=self.low[kept],
            close=self.close[kept],
            volume=None if self.volume is None else self.volume[kept],
            spread=None if self.spread is None else self.spread[kept],
        )

    def series(self, symbol: str) -> BarSeries:
        """Return the bars as *symbol*; the table has no defects.

        Raises:
            DataError: The spread is in points, and the size of a point cannot be told from the prices.
        """
        spread = self.spread
        if spread is not None and self.spread_points:
            spread = spread * self._point()
        time = self.clock.bar_ends(self.wall, self.start, self.span)
        return BarSeries(symbol, self.span, time, self.open, self.high, self.low, self.close, self.volume, spread)

    def resampled(self, symbol: str, timeframe: Timeframe) -> BarSeries:
        """Return longer bars that begin where the file's clock says: its hours, its days, its Mondays."""
        span = timeframe.span
        anchor = _MONDAY if span % (7 * DAY) == 0 else 0
        return self.series(symbol).group(timeframe, self.clock.groups(self.start, span, anchor))

    def _point(self) -> float:
        # MetaTrader writes all digits of a price, so the finest digit in use is the point.
        for digits in range(9):
            columns = (self.open, self.high, self.low, self.close)
            if all(bool((np.abs(np.round(column, digits) - column) <= 1e-11 * column).all()) for column in columns):
                return float(10.0**-digits)
        raise DataError("the spread is in points, and the prices have no fixed number of digits; remove the column")


def make_tables(parsed: ParsedBars, zone: Sequence[ZoneStep], timeframe: Timeframe | None, label_end: bool) -> tuple[Table, ...]:
    """Return the tables of a file, one a symbol, in the order in which the symbols appear.

    Args:
        parsed: What the format read.
        zone: The file's clock; of no effect where the file states its zone.
        timeframe: Length of the bars, or None to take the most common spacing.
        label_end: The file's times are the ends of the bars.
    """
    wall = np.asarray(parsed.start, dtype=np.int64)
    if len(wall) == 0:
        return ()
    clock = FileClock((ZoneStep(zone="UTC"),) if parsed.zoned else zone, int(wall.min()), int(wall.max()))
    tables = []
    for symbol, rows in _by_symbol(parsed):
        times = wall[rows]
        span = _spacing(times) if timeframe is None else timeframe.span
        begins = times - span if label_end else times
        start, skipped = clock.to_utc(begins)
        tables.append(
            Table(
                symbol,
                np.asarray(parsed.row)[rows],
                begins,
                start,
                skipped,
                parsed.open[rows],
                parsed.high[rows],
                parsed.low[rows],
                parsed.close[rows],
                None if parsed.volume is None else parsed.volume[rows],
                None if parsed.spread is None else parsed.spread[rows],
                parsed.spread_points,
                span,
                clock,
            )
        )
    return tuple(tables)


def _by_symbol(parsed: ParsedBars) -> list[tuple[str, slice | IntArray]]:
    if parsed.symbols is None:
        return [(parsed.symbol, slice(None))]
    names, first, codes = np.unique(parsed.symbols, return_index=True, return_inverse=True)
    return [(str(names[code]), np.flatnonzero(codes == code)) for code in np.argsort(first).tolist()]


def _spacing(times: IntArray) -> int:
    steps = times[1:] - times[:-1]
    steps = steps[steps > 0]
    if len(steps) == 0:
        return 0
    values, counts = np.unique(steps, return_counts=True)
    span = int(values[np.argmax(counts)])
    return span if span % SECOND == 0 else 0
