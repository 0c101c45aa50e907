"""The contract of an indicator: one bar at a time, or a whole series at once, with equal results."""

from __future__ import annotations

import math
from typing import ClassVar

from herald.model import Bar, BarSeries, FloatArray

__all__ = ["Indicator"]


class Indicator:
    """A number (or a few) that follows from the bars so far; one object serves one series.

    In a live run the engine calls `update` for each bar; in a backtest it calls `compute` once and
    assigns each bar's numbers to the attributes named in `outputs`. A strategy sees no difference:
    it reads the attributes.

    Attributes:
        outputs: Names of the attributes that hold the current numbers; the first is ``value``.
        value: The main number at the current bar; NaN until there are bars enough.
    """

    outputs: ClassVar[tuple[str, ...]] = ("value",)

    value: float = math.nan

    def update(self, bar: Bar) -> float:
        """Take one more bar, set every attribute in `outputs`, and return the new `value`."""
        raise TypeError(f"{type(self).__name__} must define update(bar)")

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        """Return every output at every bar of *series*, each of shape (n,).

        NaN where there are too few bars. Leaves the state that `update` keeps untouched.
        """
        raise TypeError(f"{type(self).__name__} must define compute(series)")
