"""Sums, extremes and means over the last n values, as columns; `herald.indicators.streams` gives the same bits.

Both cut the values into blocks of n. A window of n values then is the end of one block and the beginning
of the next, so that two running folds, one from each side of the cut, give every window: constant work a value,
and nothing is ever subtracted again, so that no error can pile up over a long series.

Means are taken of the distances from the first value of the newer block, which every window contains. A window of
equal prices therefore has exactly their mean and a variance of exactly 0, and the variance of any window of n
values keeps all but about log10(n) of the 15 digits of a float, however far the prices are from 0.

Source:
    M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels",
    Pattern Recognition Letters 13, 1992 (the two folds). T. Chan, G. Golub, R. LeVeque, "Algorithms for computing
    the sample variance", The American Statistician 37, 1983 (shifted data).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np

from herald.model import FloatArray

__all__ = ["rolling_fold", "rolling_mean", "rolling_moments", "rolling_weighted_mean"]

_Windows: TypeAlias = Callable[[FloatArray], Iterable[FloatArray]]
"""Takes a piece of the values, gives each answer for every window in it."""

_PIECE = 16_384
"""Values handled at a time, about: intermediate columns stay in the processor's cache."""

_SHORT = 16
"""Rows shorter than this are folded column by column: numpy's own loop costs too much for a few values."""


def _in_pieces(values: FloatArray, length: int, rows: int, windows: _Windows) -> list[FloatArray]:
    """Return what *windows* gives for every window of *values*, *rows* columns of shape (n,); NaN before the first.

    Each piece begins with the block before its own first one, so that the blocks lie as they would in the whole.
    """
    n = len(values)
    out = np.full((rows, n), math.nan)
    step = max(_PIECE // length, 1) * length
    for start in range(0, n, step):
        first = max(start - length, 0)
        piece = values[first : start + step]
        if len(piece) >= length:
            for row, answers in zip(out, windows(piece), strict=True):
                row[first + length - 1 : start + step] = answers
    return list(out)


def _table(values: FloatArray, length: int) -> FloatArray:
    """Return *values* as rows of *length*; the last row is filled up with what no window reads."""
    rows = -(-len(values) // length)
    table = np.full(rows * length, values[-1])
    table[: len(values)] = values
    return table.reshape(rows, length)


def _from_begin(table: FloatArray, ufunc: np.ufunc) -> FloatArray:
    """Return the folds of each row from its begin to every place."""
    if table.shape[1] >= _SHORT:
        return np.asarray(ufunc.accumulate(table, axis=1))
    folds = table.copy()
    for place in range(1, table.shape[1]):
        ufunc(folds[:, place - 1], table[:, place], out=folds[:, place])
    return folds


def _from_end(table: FloatArray, ufunc: np.ufunc) -> FloatArray:
    """Return the folds of each row from every place to its end."""
    return _from_begin(table[:, ::-1], ufunc)[:, ::-1]


def rolling_fold(values: FloatArray, length: int, ufunc: np.ufunc) -> FloatArray:
    """Return *ufunc* (``np.add``, ``np.maximum``, ``np.minimum``) over the last *length* values.

    Args:
        values: Shape (n,).
        length: Values in a window, >= 1.
        ufunc: Associative, of two arguments.

    Returns:
        Shape (n,); NaN at the first ``length - 1`` places.
    """

    def windows(piece: FloatArray) -> Iterable[FloatArray]:
        n = len(piece)
        table = _table(piece, length)
        begun = _from_begin(table, ufunc).ravel()
        ended = _from_end(table, ufunc).ravel()
        answers = ufunc(ended[: n - length + 1], begun[length - 1 : n])
        answers[::length] = begun[length - 1 : n : length]  # a window that is one whole block
        yield answers

    return _in_pieces(values, length, 1, windows)[0]


class _Distances:
    """The values as distances from the first value of the newer block of each window."""

    def __init__(self, values: FloatArray, length: int) -> None:
        table = _table(values, length)
        base = table[:, :1]
        self._places = slice(length - 1, len(values))
        self.newer = table - base
        self.older = np.zeros_like(table)
        self.older[:-1] = table[:-1] - base[1:]
        self.base = np.repeat(base.ravel(), length)[self._places]

    def join(self, older: FloatArray, newer: FloatArray) -> FloatArray:
        """Return the sum of both parts of every window; *older* holds what its block adds from each place on."""
        older[:, 0] = 0.0  # such a window is one whole block, which *newer* has
        joined: FloatArray = older.ravel()[: len(self.base)] + newer.ravel()[self._places]
        return joined


def rolling_moments(values: FloatArray, length: int) -> tuple[FloatArray, FloatArray]:
    """Return mean and population variance of the last *length* values, each of shape (n,); NaN before."""

    def windows(piece: FloatArray) -> Iterable[FloatArray]:
        parts = _Distances(piece, length)
        means = parts.join(_from_end(parts.older, np.add), _from_begin(parts.newer, np.add)) / length
        older, newer = parts.older * parts.older, parts.newer * parts.newer
        squares = parts.join(_from_end(older, np.add), _from_begin(newer, np.add)) / length
        yield parts.base + means
        yield np.maximum(squares - means * means, 0.0)

    mean, variance = _in_pieces(values, length, 2, windows)
    return mean, variance


def rolling_mean(values: FloatArray, length: int) -> FloatArray:
    """Return the mean of the last *length* values, shape (n,); NaN before."""

    def windows(piece: FloatArray) -> Iterable[FloatArray]:
        parts = _Distances(piece, length)
        yield parts.base + parts.join(_from_end(parts.older, np.add), _from_begin(parts.newer, np.add)) / length

    return _in_pieces(values, length, 1, windows)[0]


def rolling_weighted_mean(values: FloatArray, length: int) -> FloatArray:
    """Return the mean with weights 1, 2, ..., *length* (the last value), shape (n,); NaN before."""
    place = np.arange(float(length))
    weights = length * (length + 1) / 2

    def windows(piece: FloatArray) -> Iterable[FloatArray]:
        parts = _Distances(piece, length)
        sums, moments = _from_begin(parts.newer, np.add), _from_begin(place * parts.newer, np.add)
        older = _from_end(_from_end(parts.older, np.add), np.add)
        yield parts.base + parts.join(older, (length - place) * sums + moments) / weights

    return _in_pieces(values, length, 1, windows)[0]
