"""One file from disk to tables: unwrapped, read by the format that knows it, from the cache where it was read before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from herald.contracts import DataFormat, Defect, ParsedBars
from herald.errors import DataError
from herald.model import Timeframe
from herald.plugins.files.cache import ParsedCache
from herald.plugins.files.checks import find_defects
from herald.plugins.files.clock import spell_out
from herald.plugins.files.csv import CsvFormat
from herald.plugins.files.mt5 import Mt5Format
from herald.plugins.files.parquet import ParquetFormat
from herald.plugins.files.refusal import refuse
from herald.plugins.files.settings import FilesSettings, TextSettings, ZoneStep
from herald.plugins.files.table import Table, make_tables
from herald.plugins.files.unpack import unpack

__all__ = ["Reader", "Reading", "symbols_of", "without_defects"]

_LAST_RESORT = "files.csv"
"""Reads any text, so every other format is asked first."""
_OWN = (CsvFormat, Mt5Format, ParquetFormat)
"""Formats whose readings are kept: of a stranger's it is not known when they change."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one file holds.

    Attributes:
        path: The file.
        format: Full name of the format that read it.
        tables: Its symbols; empty where nothing could be read.
        defects: Everything wrong, in row order.
    """

    path: Path
    format: str
    tables: tuple[Table, ...]
    defects: tuple[Defect, ...]


class Reader:
    """Reads files as one connector's settings say."""

    def __init__(self, settings: FilesSettings, formats: Mapping[str, DataFormat], cache: ParsedCache | None) -> None:
        """Use *formats* by full name; none means the built-in ones. No *cache* means that every file is read anew."""
        self._settings = settings
        self._zone: tuple[ZoneStep, ...] = spell_out(settings.zone)
        self._timeframe = None if settings.timeframe is None else Timeframe.parse(settings.timeframe)
        self._formats = _in_order(settings, formats)
        self._cache = cache

    def read(self, path: Path) -> Reading:
        """Return what *path* holds, its defects beside it.

        Raises:
            DataError: Nothing can be read from it; `refusal.Unreadable` where the reason is a defect.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error}); check the path and its permissions") from error
        name, parsed = self._parse(path, data)
        tables = make_tables(parsed, self._zone, self._timeframe, self._settings.label == "end")
        defects = [*parsed.defects]
        for table in tables:
            defects.extend(find_defects(table))
        return Reading(path, name, tables, tuple(sorted(defects, key=lambda defect: defect.row)))

    def _parse(self, path: Path, data: bytes) -> tuple[str, ParsedBars]:
        key = self._key(path, data)
        if self._cache is not None:
            for name, known in self._formats.items():
                parsed = self._cache.load(f"{key}-{name}") if isinstance(known, _OWN) else None
                if parsed is not None:
                    return name, parsed
        plain, content = unpack(path.name, data)
        head = content[:4096].decode("utf-8", errors="replace")
        name, format_ = next(((name, each) for name, each in self._formats.items() if each.claims(plain, head)), ("", None))
        if format_ is None:
            text = f"no format reads this file; there are: {', '.join(self._formats)}"
            raise refuse(0, "no_format", text, "export it as CSV or Parquet, or install a plugin that reads it")
        parsed = format_.parse(plain, content)
        if self._cache is not None and isinstance(format_, _OWN):
            self._cache.store(f"{key}-{name}", parsed)
        return name, parsed

    def _key(self, path: Path, data: bytes) -> str:
        # A format may go by the file's name, so that is part of the question too.
        digest = hashlib.sha256(data)
        digest.update(path.name.encode())
        digest.update(_layout(self._settings).model_dump_json().encode())
        return digest.hexdigest()[:40]


def _layout(settings: FilesSettings) -> TextSettings:
    return TextSettings(
        columns=settings.columns,
        separator=settings.separator,
        decimal=settings.decimal,
        date_format=settings.date_format,
    )


def _in_order(settings: FilesSettings, formats: Mapping[str, DataFormat]) -> dict[str, DataFormat]:
    chosen = dict(formats) or {"files.mt5": Mt5Format(), "files.parquet": ParquetFormat(), _LAST_RESORT: CsvFormat()}
    layout = _layout(settings)
    if layout != TextSettings():
        # Columns, separator, decimal mark and dates are terms of a text file with a layout of its own.
        if _LAST_RESORT not in chosen:
            raise DataError(f"columns, separator, decimal and date_format go with {_LAST_RESORT}, not with {', '.join(chosen)}")
        return {_LAST_RESORT: CsvFormat(layout)}
    last = chosen.pop(_LAST_RESORT, None)
    return chosen if last is None else {**chosen, _LAST_RESORT: last}


def without_defects(reading: Reading) -> tuple[Table, ...]:
    """Return the tables without the rows that have a defect."""
    bad = np.array(sorted({defect.row for defect in reading.defects}), dtype=np.int64)
    return tuple(table.only(~np.isin(table.row, bad)) for table in reading.tables)


def symbols_of(tables: Sequence[Table]) -> list[str]:
    """Return the symbols that a file states."""
    return [table.symbol for table in tables if table.symbol]
