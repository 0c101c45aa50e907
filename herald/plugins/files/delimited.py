"""Columns of text to bars: quick where every cell is sound, exact about the row where one is not."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress

import numpy as np

from herald.contracts import Defect, ParsedBars
from herald.model import FloatArray
from herald.plugins.files.names import PRICES
from herald.plugins.files.refusal import refuse
from herald.plugins.files.stamps import BAD, read_stamps

__all__ = ["Layout", "find_separator", "read_rows", "split_line"]

_CHUNK = 65_536
"""Lines split at a time; bounds the memory of cells as Python strings."""
_EMPTY = frozenset({"", "nan", "null", "na", "n/a", "none", "nil", "-"})
_NUMBERS = (*PRICES, "volume", "spread")


@dataclass(frozen=True, slots=True)
class Layout:
    """How one file is laid out.

    Attributes:
        separator: Character between cells.
        fields: Position of each field: time, date, symbol, open, high, low, close, volume, spread.
        width: Cells in a row.
        skip: Lines before the first row.
        decimal: Decimal mark.
        date_format: As for ``strptime``; empty to find out.
        spread_points: The spread is counted in points.
    """

    separator: str
    fields: Mapping[str, int]
    width: int
    skip: int = 1
    decimal: str = "."
    date_format: str = ""
    spread_points: bool = False


@dataclass(slots=True)
class _Columns:
    rows: list[int] = field(default_factory=list)
    text: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, list[FloatArray]] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)


def find_separator(lines: Sequence[str], chosen: str) -> str:
    """Return the character between cells: *chosen*, or the one of tab, semicolon, comma and bar that parts most lines alike."""
    if chosen:
        return chosen
    sample = [line for line in lines[:200] if line.strip()]
    best, most = ",", 0
    for mark in ("\t", ";", ",", "|"):
        counts = [line.count(mark) for line in sample]
        usual = max(set(counts), key=counts.count)
        alike = counts.count(usual)
        if usual >= 4 and alike > most:
            best, most = mark, alike
    return best


def split_line(line: str, separator: str) -> list[str]:
    """Return the cells of one line, quotes removed."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a cell of more letters than the csv module takes; no bar has one
        return line.split(separator)


def read_rows(lines: Sequence[str], layout: Layout) -> ParsedBars:
    """Return the bars of a file's lines.

    Raises:
        DataError: There are no rows, or the first row has not as many cells as the header has names.
    """
    columns = _Columns(text={name: [] for name in ("date", "time", "symbol") if name in layout.fields})
    columns.numbers = {name: [] for name in _NUMBERS if name in layout.fields}
    _check_width(lines, layout)
    for begin in range(layout.skip, len(lines), _CHUNK):
        _read_chunk(lines[begin : begin + _CHUNK], begin + 1, layout, columns)
    row = np.array(columns.rows, dtype=np.int64)
    numbers = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in columns.numbers.items()}
    if len(row) == 0:
        return _assemble(np.empty(0, dtype=np.int64), row, numbers, columns, layout, zoned=False)
    times = columns.text["time"]
    if "date" in columns.text:
        stamps = read_stamps(columns.text["date"], times, layout.date_format, int(row[0]))
    else:
        stamps = read_stamps(times, None, layout.date_format, int(row[0]))
    bad = stamps.time == BAD
    if bool(bad.any()):
        for index in np.flatnonzero(bad).tolist():
            written = " ".join(columns.text[name][index] for name in ("date", "time") if name in columns.text)
            remedy = "correct the row, or state date_format"
            text = f"{written!r} is not a time" if written.strip() else "the time is empty"
            columns.defects.append(Defect(int(row[index]), "bad_time", text, remedy))
        kept = ~bad
        columns.text = {name: list(compress(cells, kept)) for name, cells in columns.text.items()}
        numbers = {name: values[kept] for name, values in numbers.items()}
        return _assemble(stamps.time[kept], row[kept], numbers, columns, layout, zoned=stamps.zoned)
    return _assemble(stamps.time, row, numbers, columns, layout, zoned=stamps.zoned)


def _assemble(
    start: object, row: object, numbers: Mapping[str, FloatArray], columns: _Columns, layout: Layout, *, zoned: bool
) -> ParsedBars:
    symbols = columns.text.get("symbol")
    single = "" if not symbols or len(set(symbols)) > 1 else symbols[0].strip()
    return ParsedBars(
        symbol=single,
        row=row,
        start=start,
        open=numbers["open"],
        high=numbers["high"],
        low=numbers["low"],
        close=numbers["close"],
        volume=numbers.get("volume"),
        spread=numbers.get("spread"),
        spread_points=layout.spread_points and "spread" in numbers,
        zoned=zoned,
        defects=tuple(sorted(columns.defects, key=lambda defect: defect.row)),
        symbols=np.array([text.strip() for text in symbols]) if symbols and not single else None,
    )


def _check_width(lines: Sequence[str], layout: Layout) -> None:
    first = next((index for index in range(layout.skip, len(lines)) if lines[index].strip()), None)
    if first is None:
        raise refuse(layout.skip, "header_only", "there is a header and no row", "fetch or export the data again")
    cells = len(split_line(lines[first], layout.separator))
    if cells != layout.width and layout.skip:
        raise refuse(
            layout.skip,
            "ragged_header",
            f"the header has {layout.width} names and row {first + 1} has {cells} cell{'' if cells == 1 else 's'}",
            "write one name above each column; nothing is shifted to fit",
        )


def _read_chunk(lines: Sequence[str], first: int, layout: Layout, columns: _Columns) -> None:
    separator, width = layout.separator, layout.width
    rows = list(range(first, first + len(lines)))
    block = separator.join(lines)
    if '"' not in block and {line.count(separator) for line in lines} == {width - 1}:
        cells = block.split(separator)
        table: list[Sequence[str]] = [cells[index::width] for index in range(width)]
    else:
        rows, table = _split_with_care(lines, first, layout, columns)
    chosen = {name: table[place] for name, place in layout.fields.items()}
    try:
        numbers = {name: _floats(chosen[name], layout.decimal) for name in columns.numbers}
    except ValueError:
        rows, chosen, numbers = _numbers_with_care(rows, chosen, layout, columns)
    columns.rows.extend(rows)
    for name, values in numbers.items():
        columns.numbers[name].append(values)
    for name, texts in columns.text.items():
        texts.extend(chosen[name])


def _split_with_care(
    lines: Sequence[str], first: int, layout: Layout, columns: _Columns
) -> tuple[list[int], list[Sequence[str]]]:
    rows: list[int] = []
    kept: list[list[str]] = []
    for row, line in enumerate(lines, first):
        if not line.strip():
            continue
        cells = split_line(line, layout.separator) if '"' in line else line.split(layout.separator)
        if len(cells) == layout.width:
            rows.append(row)
            kept.append(cells)
            continue
        text = f"has {len(cells)} cell{'' if len(cells) == 1 else 's'} where {layout.width} belong"
        columns.defects.append(Defect(row, "ragged_row", text, "complete or remove the row"))
    return rows, [[cells[index] for cells in kept] for index in range(layout.width)]


def _floats(cells: Sequence[str], decimal: str) -> FloatArray:
    values = [float(cell) for cell in cells] if decimal == "." else [float(cell.replace(",", ".")) for cell in cells]
    # float() takes 1_000 for a number; a file that says so means something else.
    if any("_" in cell for cell in cells):
        raise ValueError("underscore in a number")
    return np.array(values)


def _numbers_with_care(
    rows: list[int], chosen: Mapping[str, Sequence[str]], layout: Layout, columns: _Columns
) -> tuple[list[int], dict[str, Sequence[str]], dict[str, FloatArray]]:
    values = {name: [_number(cell, layout.decimal) for cell in chosen[name]] for name in columns.numbers}
    kept: list[int] = []
    for index, row in enumerate(rows):
        wrong = [name for name in values if values[name][index] is None]
        if not wrong:
            kept.append(index)
            continue
        cell = chosen[wrong[0]][index]
        remedy = 'correct the cell, or set decimal = ","' if "," in cell and layout.decimal == "." else "correct the cell"
        columns.defects.append(Defect(row, "text_in_number", f"{wrong[0]} {cell!r} is not a number", remedy))
    texts: dict[str, Sequence[str]] = {name: [cells[index] for index in kept] for name, cells in chosen.items()}
    numbers = {name: np.array([column[index] for index in kept], dtype=np.float64) for name, column in values.items()}
    return [rows[index] for index in kept], texts, numbers


def _number(cell: str, decimal: str) -> float | None:
    # NaN for a cell that is empty, None for one that is no number.
    text = cell.strip()
    if text.lower() in _EMPTY:
        return math.nan
    try:
        return None if "_" in text else float(text if decimal == "." else text.replace(",", "."))
    except ValueError:
        return None
