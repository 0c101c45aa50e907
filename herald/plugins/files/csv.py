"""Format ``csv``: columns of text with a header, and the header-less exports whose columns are known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from herald.components import Services
from herald.contracts import ParsedBars
from herald.plugins.files.delimited import Layout, find_separator, read_rows, split_line
from herald.plugins.files.names import find_fields, has_names, is_metatrader
from herald.plugins.files.refusal import refuse
from herald.plugins.files.settings import TextSettings
from herald.plugins.files.unpack import decode

__all__ = ["CsvFormat"]

_BAR = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}
# Exports without a header that can be told by their first line, each cell in full.
_HEADERLESS: tuple[tuple[tuple[str, ...], Mapping[str, int]], ...] = (
    # MetaTrader 4 history export: 2013.11.29,12:00,1.36171,1.36183,1.35966,1.36066,3593
    (
        (r"\d{4}\.\d\d\.\d\d", r"\d\d:\d\d", *[r"\d+(\.\d+)?"] * 4, r"\d+"),
        {"date": 0, "time": 1, "open": 2, "high": 3, "low": 4, "close": 5, "volume": 6},
    ),
    # HistData generic ASCII minutes: 20200101 170000;1.121200;1.121210;1.121170;1.121200;0
    ((r"\d{8} \d{6}", *[r"\d+(\.\d+)?"] * 4, r"\d+"), {"time": 0, **_BAR}),
    # Binance klines: open time, open, high, low, close, volume, close time, quote volume, trades, two taker volumes, 0
    (
        (r"\d{13}|\d{16}", *[r"\d+(\.\d+)?"] * 5, r"\d{13}|\d{16}", r"\d+(\.\d+)?", r"\d+", *[r"\d+(\.\d+)?"] * 3),
        {"time": 0, **_BAR},
    ),
)


class CsvFormat:
    """Reads text with one bar a line."""

    def __init__(self, settings: TextSettings | None = None, services: Services | None = None) -> None:
        """Take what the config says about the columns; nothing means: find out."""
        self._settings = TextSettings() if settings is None else settings

    def claims(self, name: str, head: str) -> bool:
        """Return whether it is text at all; this is the format of last resort."""
        return not head.startswith("PAR1") and not any(ord(char) < 9 for char in head.replace("\x00", ""))

    def parse(self, name: str, data: bytes) -> ParsedBars:
        """Return what the file holds; see `herald.contracts.DataFormat`."""
        lines = decode(data).split("\n")
        first = next((index for index, line in enumerate(lines) if line.strip()), None)
        if first is None:
            raise refuse(0, "empty_file", "is empty", "fetch or export the data again")
        while not lines[-1].strip():
            lines.pop()
        return read_rows(lines, self._layout(lines, first))

    def _layout(self, lines: Sequence[str], first: int) -> Layout:
        settings = self._settings
        separator = find_separator(lines[first:], settings.separator)
        cells = split_line(lines[first], separator)
        by_position = bool(settings.columns) and all(isinstance(place, int) for place in settings.columns.values())
        points = False
        if has_names(cells):
            fields, skip = find_fields(cells, settings.columns), first + 1
            points = is_metatrader(cells)
            if "spread" in fields and not points and "spread" not in settings.columns:
                del fields["spread"]  # a spread in no stated unit is not used
        elif by_position:
            fields, skip = find_fields([""] * len(cells), settings.columns), first
        else:
            fields, skip = dict(_known_export(cells, first + 1)), first
        return Layout(separator, fields, len(cells), skip, settings.decimal, settings.date_format, points)


def _known_export(cells: Sequence[str], row: int) -> Mapping[str, int]:
    for patterns, fields in _HEADERLESS:
        if len(cells) == len(patterns) and all(
            re.fullmatch(pattern, cell.strip()) for pattern, cell in zip(patterns, cells, strict=True)
        ):
            return fields
    raise refuse(
        row,
        "no_header",
        f"the file has no header: its first line is {','.join(cells)[:60]!r}",
        "write one, such as time,open,high,low,close,volume, or set columns = { time = 1, open = 2, ... } by position",
    )
