"""Checks of what an indicator is made with, and the prices it can follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import attrgetter

from herald.model import Bar, BarSeries, FloatArray

__all__ = ["column_of", "factor", "price_of", "whole"]

_FIELDS = ("open", "high", "low", "close", "volume")
_MEANS = {"hl2": ("high", "low"), "hlc3": ("high", "low", "close"), "ohlc4": ("open", "high", "low", "close")}


def whole(name: str, number: int, least: int = 1) -> int:
    """Return *number* if it can be a count of bars.

    Raises:
        ValueError: It is no whole number, or below *least*.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ValueError(f"{name} is {number!r}; give a whole number of bars, {least} or more")
    return number


def factor(name: str, number: float) -> float:
    """Return *number* as a float if it can be a multiple of a distance.

    Raises:
        ValueError: It is not finite and above 0.
    """
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} is {number!r}; give a finite number above 0")
    return float(number)


def price_of(source: str) -> Callable[[Bar], float]:
    """Return the function that takes *source* from a bar.

    Args:
        source: A field (open, high, low, close, volume), or the mean ``hl2``, ``hlc3`` (the typical price) or ``ohlc4``.

    Raises:
        ValueError: There is no such price.
    """
    if source == "hl2":
        return lambda bar: (bar.high + bar.low) / 2
    if source == "hlc3":
        return lambda bar: (bar.high + bar.low + bar.close) / 3
    if source == "ohlc4":
        return lambda bar: (bar.open + bar.high + bar.low + bar.close) / 4
    if source not in _FIELDS:
        raise ValueError(f"source is {source!r}; give one of {', '.join((*_FIELDS, *_MEANS))}")
    return attrgetter(source)


def column_of(series: BarSeries, source: str) -> FloatArray:
    """Return *source* of every bar, shape (n,); see `price_of`."""
    if source not in _MEANS:
        column: FloatArray = getattr(series, source)
        return column
    first, *rest = (getattr(series, name) for name in _MEANS[source])
    for column in rest:
        first = first + column
    mean: FloatArray = first / (len(rest) + 1)
    return mean
