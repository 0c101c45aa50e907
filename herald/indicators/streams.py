"""Sums, extremes and means over the last n values, one value at a time; the twins of `herald.indicators.windows`.

Every addition is the one that the columns make, in the same order, so that a backtest, which takes columns, and a
live run, which takes bars, see the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate

__all__ = ["RollingFold", "RollingMean", "RollingMoments", "RollingWeightedMean"]


class RollingFold:
    """One value at a time; see `rolling_fold`."""

    def __init__(self, length: int, function: Callable[[float, float], float]) -> None:
        """Start empty; *function* is ``max``, ``min`` or ``operator.add``."""
        self._length = length
        self._function = function
        self._block: list[float] = []
        self._ended: list[float] = []
        self._begun = math.nan

    def push(self, value: float) -> float:
        """Take the next value and return the fold of the last ones; NaN until there are enough."""
        block = self._block
        if len(block) == self._length:
            self._ended = _folds_to_end(block, self._function)
            block.clear()
        self._begun = self._function(self._begun, value) if block else value
        block.append(value)
        if len(block) == self._length:
            return self._begun
        return self._function(self._ended[len(block)], self._begun) if self._ended else math.nan


class _Stream:
    """What the means share: the block that is being filled, and the cut before it."""

    def __init__(self, length: int) -> None:
        """Start empty; *length* is the number of values in a window."""
        self._length = length
        self._block: list[float] = []
        self._whole = False
        self._base = math.nan

    def push(self, value: float) -> float:
        """Take the next value and return the mean of the last ones; NaN until there are enough."""
        block = self._block
        if len(block) == self._length:
            self._whole = True
            self._turn([old - value for old in block])
            block.clear()
        if not block:
            self._base = value
        place = len(block)
        block.append(value)
        mean = self._mean(place, value - self._base)
        return mean if self._whole or place == self._length - 1 else math.nan

    def _turn(self, older: list[float]) -> None:
        """Begin a block; *older* are the values of the one before, as distances from the new first value."""
        raise TypeError(f"{type(self).__name__} must define _turn")

    def _mean(self, place: int, distance: float) -> float:
        """Take the value at *place* of the block and return the mean of the window that ends there."""
        raise TypeError(f"{type(self).__name__} must define _mean")


class RollingMean(_Stream):
    """One value at a time; see `rolling_mean`."""

    def __init__(self, length: int) -> None:
        """Start empty."""
        super().__init__(length)
        self._ended = [0.0] * (length + 1)
        self._begun = 0.0

    def _turn(self, older: list[float]) -> None:
        self._ended = [*_folds_to_end(older, _add), 0.0]

    def _mean(self, place: int, distance: float) -> float:
        self._begun = self._begun + distance if place else distance
        return self._base + (self._ended[place + 1] + self._begun) / self._length


class RollingMoments(RollingMean):
    """One value at a time; see `rolling_moments`.

    Attributes:
        variance: Population variance of the last values; of no meaning while `push` returns NaN.
    """

    def __init__(self, length: int) -> None:
        """Start empty."""
        super().__init__(length)
        self.variance = math.nan
        self._ended_squares = [0.0] * (length + 1)
        self._begun_squares = 0.0

    def _turn(self, older: list[float]) -> None:
        super()._turn(older)
        self._ended_squares = [*_folds_to_end([one * one for one in older], _add), 0.0]

    def _mean(self, place: int, distance: float) -> float:
        square = distance * distance
        self._begun = self._begun + distance if place else distance
        self._begun_squares = self._begun_squares + square if place else square
        mean = (self._ended[place + 1] + self._begun) / self._length
        squares = (self._ended_squares[place + 1] + self._begun_squares) / self._length
        self.variance = max(squares - mean * mean, 0.0)
        return self._base + mean


class RollingWeightedMean(_Stream):
    """One value at a time; see `rolling_weighted_mean`."""

    def __init__(self, length: int) -> None:
        """Start empty."""
        super().__init__(length)
        self._weights = length * (length + 1) / 2
        self._ended = [0.0] * (length + 1)
        self._sum = self._moment = 0.0

    def _turn(self, older: list[float]) -> None:
        self._ended = [*_folds_to_end(_folds_to_end(older, _add), _add), 0.0]

    def _mean(self, place: int, distance: float) -> float:
        moment = place * distance
        self._sum = self._sum + distance if place else distance
        self._moment = self._moment + moment if place else moment
        newer = (self._length - place) * self._sum + self._moment
        return self._base + (self._ended[place + 1] + newer) / self._weights


def _add(left: float, right: float) -> float:
    return left + right


def _folds_to_end(values: list[float], function: Callable[[float, float], float]) -> list[float]:
    """Return the folds from every place to the end."""
    folds = list(accumulate(reversed(values), function))
    folds.reverse()
    return folds
