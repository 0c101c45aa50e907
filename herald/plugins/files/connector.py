"""The connector ``files``: history from files, exact or resampled from a finer file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from herald.clock import SECOND, format_time
from herald.components import Services
from herald.contracts import HistoryConnector
from herald.errors import DataError
from herald.model import BarSeries, Note, Timeframe
from herald.plugins.files.cache import ParsedCache
from herald.plugins.files.locate import Candidate, find_files
from herald.plugins.files.reading import Reader, Reading, symbols_of, without_defects
from herald.plugins.files.refusal import Unreadable, sentence
from herald.plugins.files.settings import FilesSettings
from herald.plugins.files.table import Table

__all__ = ["FilesConnector"]

_COLUMNS = ("time", "open", "high", "low", "close", "volume")


class FilesConnector(HistoryConnector):
    """Bars from files; ``bars`` reads a file when it is first asked for one of its symbols."""

    def __init__(self, settings: FilesSettings, services: Services) -> None:
        """Touch no file yet."""
        self._settings = settings
        self._services = services
        self._base = Path(services.base)
        self._reader: Reader | None = None
        self._tables: dict[Path, tuple[Table, ...]] = {}

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the finished bars that end in ``(start, end]``, nanoseconds UTC; None is no bound.

        Where no file has the time frame, the coarsest finer one that divides it is resampled; hours, days and weeks
        begin by the clock of the file.

        Raises:
            DataError: The symbol is in no file, the file has defects, no file is fine enough, or the dates lie wholly
                outside the data.
        """
        tables = self._find(symbol, timeframe)
        frames = sorted({table.span for table in tables}, reverse=True)
        span = next((span for span in frames if span and timeframe.span % span == 0), None)
        if span is None:
            there = ", ".join(str(Timeframe(each // SECOND)) for each in frames)
            raise DataError(f"no file of {symbol!r} makes bars of {timeframe}: there are {there}; ask for a multiple of these")
        chosen = [table for table in tables if table.span == span]
        exact = span == timeframe.span
        series = _join([table.series(symbol) if exact else table.resampled(symbol, timeframe) for table in chosen])
        return _cut(series, symbol, start, end)

    def _find(self, symbol: str, timeframe: Timeframe) -> list[Table]:
        candidates = find_files(self._settings, self._base, symbol, timeframe)
        found: list[Table] = []
        others: set[str] = set()
        for candidate in candidates:
            if found and not candidate.certain:
                break  # names that fit come first; the rest need not be opened
            tables = self._load(candidate.path)
            others.update(symbols_of(tables))
            table = _choose(tables, symbol, candidate, self._settings.symbol)
            if table is not None:
                found.append(self._known_span(table, candidate.path))
        if found:
            return found
        place = self._settings.path
        if others or self._settings.symbol:
            there = sorted(others or {self._settings.symbol})
            names = ", ".join(there[:20]) + (" ..." if len(there) > 20 else "")
            raise DataError(f"no symbol {symbol!r} in {place}; there are: {names}")
        raise DataError(
            f"no symbol {symbol!r} in {place}: neither the file's name nor a column says so; "
            f'correct the symbol, or state what the file holds with symbol = "..."'
        )

    def _load(self, path: Path) -> tuple[Table, ...]:
        if path in self._tables:
            return self._tables[path]
        if self._reader is None:
            cache = ParsedCache(self._base / self._services.cache_folder)
            self._reader = Reader(self._settings, self._services.formats, cache)
        try:
            reading = self._reader.read(path)
        except Unreadable as error:
            place = f"{path} {error}" if error.defect.row else f"{path}: {error}"
            raise DataError(f"{place} ('herald data check {path}' says more)") from error
        except DataError as error:
            raise DataError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
        if reading.defects:
            self._answer_defects(reading)
            self._tables[path] = without_defects(reading)
        else:
            self._tables[path] = reading.tables
        return self._tables[path]

    def _answer_defects(self, reading: Reading) -> None:
        first, count = reading.defects[0], len(reading.defects)
        if self._settings.defects == "refuse":
            tail = f"'herald data check {reading.path}' lists {'it' if count == 1 else f'all {count} defects'}"
            raise DataError(f'{reading.path} {sentence(first)}, or set defects = "drop"; {tail}')
        if any(defect.code == "newest_first" for defect in reading.defects):
            raise DataError(f"{reading.path} {sentence(first)}; dropping rows does not help")
        rows = len({defect.row for defect in reading.defects})
        text = f"{reading.path}: {rows} rows with defects left out, first {sentence(first)}"
        self._services.emit(Note(self._services.clock.now(), self._services.name, text))

    def _known_span(self, table: Table, path: Path) -> Table:
        if table.span == 0:
            raise DataError(f'{path} has too few rows to tell its time frame; set timeframe = "1h" or what it is')
        return table


def _choose(tables: Sequence[Table], symbol: str, candidate: Candidate, stated: str) -> Table | None:
    exact = next((table for table in tables if table.symbol == symbol), None)
    if exact is not None:
        return exact
    if not candidate.certain or len(tables) != 1:
        return None
    # The config or the file's name says so; a file with another symbol inside is not believed.
    return tables[0] if not tables[0].symbol or stated == symbol else None


def _join(parts: Sequence[BarSeries]) -> BarSeries | None:
    parts = sorted((part for part in parts if len(part)), key=lambda part: int(part.time[0]))
    if len(parts) < 2:
        return parts[0] if parts else None
    for before, after in pairwise(parts):
        if after.time[0] <= before.time[-1]:
            raise DataError(
                f"two files of {after.symbol!r} overlap: one ends {format_time(int(before.time[-1]))}, "
                f"the next begins {format_time(int(after.time[0]))}; keep one of them or name one path"
            )
    spreads = [part.spread for part in parts if part.spread is not None]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return BarSeries(
        parts[0].symbol,
        parts[0].span,
        **columns,
        spread=np.concatenate(spreads) if len(spreads) == len(parts) else None,
    )


def _cut(series: BarSeries | None, symbol: str, start: int | None, end: int | None) -> BarSeries:
    if series is None:
        raise DataError(f"every row of {symbol!r} has a defect; 'herald data check' lists them")
    first, last = int(series.time[0]), int(series.time[-1])
    if (start is not None and start >= last) or (end is not None and end < first):
        wanted = f"{'the beginning' if start is None else format_time(start)} to {'the end' if end is None else format_time(end)}"
        raise DataError(
            f"no bars of {symbol!r} from {wanted}: the data covers {format_time(first - series.span)} to {format_time(last)}; "
            f"ask for dates within"
        )
    return series if start is None and end is None else series.between(start, end)
