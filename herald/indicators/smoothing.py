"""Recursive averages that begin with a plain mean: the exponential one and Wilder's."""

from __future__ import annotations

import math

import numpy as np

from herald.model import FloatArray

__all__ = ["Recursive", "exponential", "recursive", "wilder"]

_PIECE = 8_192
"""Values that exist as Python floats at a time: they stay in the processor's cache."""


def exponential(length: int) -> float:
    """Return the weight of the newest value in an exponential average of *length* bars: 2 / (length + 1)."""
    return 2 / (length + 1)


def wilder(length: int) -> float:
    """Return the weight of the newest value in Wilder's average of *length* bars: 1 / length."""
    return 1 / length


def recursive(values: FloatArray, length: int, weight: float) -> FloatArray:
    """Return the average that moves by *weight* of the distance to each new value.

    Args:
        values: Shape (n,).
        length: Values whose mean is the first average, >= 1.
        weight: In (0, 1], dimensionless.

    Returns:
        Shape (n,); NaN at the first ``length - 1`` places.
    """
    out = np.full(len(values), math.nan)
    if len(values) < length:
        return out
    total = 0.0  # not sum(): since Python 3.12 it rounds otherwise than a running sum does
    for value in values[:length].tolist():
        total += value
    out[length - 1] = average = total / length
    for start in range(length, len(values), _PIECE):
        piece: list[float] = values[start : start + _PIECE].tolist()
        out[start : start + _PIECE] = [average := average + weight * (value - average) for value in piece]
    return out


class Recursive:
    """One value at a time; see `recursive`."""

    def __init__(self, length: int, weight: float) -> None:
        """Start empty."""
        self._length = length
        self._weight = weight
        self._count = 0
        self._total = 0.0
        self._average = math.nan

    def push(self, value: float) -> float:
        """Take the next value and return the average; NaN until there are enough."""
        if self._count >= self._length:
            self._average = self._average + self._weight * (value - self._average)
            return self._average
        self._count += 1
        self._total += value
        if self._count == self._length:
            self._average = self._total / self._length
        return self._average
