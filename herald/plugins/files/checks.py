"""What cannot be right in bars: one defect a row (a lost decimal point: one a cell), each with its remedy."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from herald.clock import format_time
from herald.contracts import Defect
from herald.model import FloatArray, Timeframe
from herald.plugins.files.names import PRICES
from herald.plugins.files.table import Table

__all__ = ["find_defects", "longest_rise", "runs"]

_DUST = 1e-9
"""Relative; adjusted prices are quotients, and their last digits differ between the cells of a row."""
_NEIGHBOURS = 5
"""Rows before and after whose median says what a price is about."""
_SPIKE = 5.0
"""A price this many times its neighbours is looked at."""
_NEAR = 0.2
"""How far from a power of ten a lost decimal point may be; prices move less within a few bars."""
_COPIES = 10
"""So many rows in a row with one price and one volume were copied; real volume differs."""


def find_defects(table: Table) -> list[Defect]:
    """Return the defects of a table of one symbol, in row order.

    A row with a defect in its prices is not judged by further rules that follow from it.
    """
    found: list[Defect] = []
    blank = _blank(table, found)
    scale = _lost_points(table, blank, found)
    sound = ~(blank | scale)
    _out_of_range(table, sound, found)
    _volumes(table, ~blank, found)
    _copies(table, found)
    _times(table, found)
    return sorted(found, key=lambda defect: defect.row)


def _prices(table: Table) -> Mapping[str, FloatArray]:
    return {"open": table.open, "high": table.high, "low": table.low, "close": table.close}


def _blank(table: Table, found: list[Defect]) -> NDArray[np.bool_]:
    prices = _prices(table)
    lowest = np.minimum(np.minimum(table.open, table.high), np.minimum(table.low, table.close))
    total = table.open + table.high + table.low + table.close
    wrong = ~((lowest > 0) & np.isfinite(total))
    for index in np.flatnonzero(wrong).tolist():
        row = int(table.row[index])
        cells = {name: float(prices[name][index]) for name in PRICES}
        empty = [name for name, value in cells.items() if np.isnan(value)]
        endless = [name for name, value in cells.items() if np.isinf(value)]
        zero = [name for name, value in cells.items() if value == 0]
        negative = [name for name, value in cells.items() if value < 0 and np.isfinite(value)]
        if empty:
            found.append(Defect(row, "empty_price", f"{_list(empty)} empty", "fill in the price or remove the row"))
        elif endless:
            found.append(Defect(row, "infinite_price", f"{_list(endless)} infinite", "correct or remove the row"))
        elif negative:
            text = f"{negative[0]} {cells[negative[0]]!r} is negative"
            found.append(Defect(row, "negative_price", text, "correct or remove the row"))
        else:
            found.append(Defect(row, "zero_price", f"{_list(zero)} 0", "remove the row: 0 stands for no price"))
    return wrong


def _list(names: list[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _lost_points(table: Table, blank: NDArray[np.bool_], found: list[Defect]) -> NDArray[np.bool_]:
    wrong = np.zeros(len(table), dtype=np.bool_)
    good = np.flatnonzero(~blank)
    if len(good) < 3:
        return wrong
    matrix = np.stack([values[good] for values in _prices(table).values()])
    high, low = matrix.max(axis=0), matrix.min(axis=0)
    # A row is looked at only if it is wide, or far from the row before or after: in sound data that is none.
    jump = np.maximum(high[1:], high[:-1]) > _SPIKE * np.minimum(low[1:], low[:-1])
    suspects = high > _SPIKE * low
    suspects[1:] |= jump
    suspects[:-1] |= jump
    usual = np.median(matrix, axis=0) if bool(suspects.any()) else high
    for at in np.flatnonzero(suspects).tolist():
        around = np.concatenate((usual[max(0, at - _NEIGHBOURS) : at], usual[at + 1 : at + 1 + _NEIGHBOURS]))
        level = float(np.median(around))
        for name, value in zip(PRICES, matrix[:, at].tolist(), strict=True):
            ratio = value / level
            power = round(float(np.log10(ratio)))
            if not 1 / _SPIKE < ratio < _SPIKE and power and abs(ratio / 10.0**power - 1) < _NEAR:
                wrong[good[at]] = True
                text = f"{name} {value!r} is {10 ** abs(power)} times {'too large' if power > 0 else 'too small'}"
                remedy = f"it lost its decimal point: write {value / 10.0**power:.6g}"
                found.append(Defect(int(table.row[good[at]]), "decimal_lost", f"{text} beside its neighbours", remedy))
    return wrong


def _out_of_range(table: Table, sound: NDArray[np.bool_], found: list[Defect]) -> None:
    room = table.high * _DUST
    top, floor = table.high + room, table.low - room
    crossed = sound & (table.high < table.low)
    rules = (
        ("high_below_low", crossed, "high", table.high, "below low", table.low),
        ("open_outside", sound & ~crossed & (table.open > top), "open", table.open, "above high", table.high),
        ("open_outside", sound & ~crossed & (table.open < floor), "open", table.open, "below low", table.low),
        ("close_outside", sound & ~crossed & (table.close > top), "close", table.close, "above high", table.high),
        ("close_outside", sound & ~crossed & (table.close < floor), "close", table.close, "below low", table.low),
    )
    for code, rows, name, values, relation, limits in rules:
        for index in np.flatnonzero(rows).tolist():
            text = f"{name} {float(values[index])!r} is {relation} {float(limits[index])!r}"
            found.append(Defect(int(table.row[index]), code, text, "correct or remove the row"))


def _volumes(table: Table, sound: NDArray[np.bool_], found: list[Defect]) -> None:
    if table.volume is None:
        return
    wrong = (table.volume < 0) | np.isinf(table.volume)  # not a number means unknown, which is fine
    for index in np.flatnonzero(wrong & sound).tolist():
        text = f"volume {float(table.volume[index]):g} is no volume"
        found.append(Defect(int(table.row[index]), "bad_volume", text, "correct the cell, or leave it empty where it is unknown"))


def _copies(table: Table, found: list[Defect]) -> None:
    if table.volume is None or len(table) < _COPIES:
        return
    flat = (table.high == table.low) & (table.open == table.close) & (table.open == table.high) & (table.volume > 0)
    same = flat[1:] & flat[:-1] & (table.close[1:] == table.close[:-1]) & (table.volume[1:] == table.volume[:-1])
    for begin, end in runs(same):
        count = end - begin + 1  # a run of equal pairs is one row longer
        if count < _COPIES:
            continue
        price, volume = float(table.close[begin]), float(table.volume[begin])
        text = f"one of {count} rows in a row with every price {price!r} and volume {volume:g}"
        rows = table.row[begin : end + 1].tolist()
        found.extend(Defect(row, "copied_row", text, "fetch these rows again or remove them") for row in rows)


def _times(table: Table, found: list[Defect]) -> None:
    time = table.start
    for index in np.flatnonzero(table.skipped).tolist():
        text = f"{_wall(table, index)} does not exist in the file's zone: clocks were put forward over it"
        found.append(Defect(int(table.row[index]), "time_skipped", text, "state the zone that the file was written in"))
    step = time[1:] - time[:-1]
    if bool((step <= 0).any()):
        if len(step) > 1 and bool((step < 0).all()):
            row = int(table.row[1])
            found.append(Defect(row, "newest_first", "rows run from the newest to the oldest", "turn the file around"))
            return
        _out_of_order(table, found)
    elif table.span:
        # A bar that begins before the last one is over: ticks, or two time frames in one file.
        wall = table.wall[1:] - table.wall[:-1]
        for index in np.flatnonzero((step < table.span) & (wall < table.span)).tolist():
            frame = Timeframe(table.span // 1_000_000_000)
            text = f"{_wall(table, index + 1)} begins before the {frame} bar of row {int(table.row[index])} is over"
            remedy = "keep one time frame in a file, or state timeframe"
            found.append(Defect(int(table.row[index + 1]), "bars_overlap", text, remedy))


def _out_of_order(table: Table, found: list[Defect]) -> None:
    times = table.start.tolist()
    kept = longest_rise(times)
    seen = {times[index] for index in kept}
    keeps = set(kept)
    for index, at in enumerate(times):
        if index in keeps:
            continue
        row, text = int(table.row[index]), _wall(table, index)
        remedy = "remove the row, or state the file's zone if its clock was put back"
        if at in seen:
            found.append(Defect(row, "time_repeated", f"{text} is there already", remedy))
        else:
            found.append(Defect(row, "time_goes_back", f"{text} is out of order", f"sort the file or {remedy}"))


def _wall(table: Table, index: int) -> str:
    return format_time(int(table.wall[index]))[:-1]


def longest_rise(values: list[int]) -> list[int]:
    """Return the positions of a longest strictly rising part; of equal values the first is kept.

    Source:
        Patience sorting; M. Fredman, "On computing the length of longest increasing subsequences", 1975.
    """
    tails: list[int] = []
    places: list[int] = []
    before = [-1] * len(values)
    for index, value in enumerate(values):
        place = bisect_left(tails, value)
        if place == len(tails):
            tails.append(value)
            places.append(index)
        elif tails[place] != value:
            tails[place], places[place] = value, index
        else:
            continue
        before[index] = places[place - 1] if place else -1
    chain = []
    at = places[-1] if places else -1
    while at >= 0:
        chain.append(at)
        at = before[at]
    return chain[::-1]


def runs(marks: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of every stretch of true marks, end excluded."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marks, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
