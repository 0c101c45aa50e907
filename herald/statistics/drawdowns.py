"""Falls of an account from its peaks: how deep, how long, in money and as a fraction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from herald.model import FloatArray, IntArray

__all__ = ["DrawdownPeriods", "MoneyDrawdown", "drawdown", "drawdown_periods", "money_drawdown", "ulcer_index"]


@dataclass(frozen=True, slots=True)
class DrawdownPeriods:
    """Every stretch below a peak, oldest first; arrays of shape (m,).

    Attributes:
        start: Index of the peak.
        trough: Index of the deepest point, the first where there are several.
        end: Index of the first value that reaches the peak again; the last index where none does.
        depth: Fall at the trough as a fraction of the peak, > 0.
        is_recovered: Whether the peak was reached again.
    """

    start: IntArray
    trough: IntArray
    end: IntArray
    depth: FloatArray
    is_recovered: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def __len__(self) -> int:
        """Return the number of periods."""
        return len(self.start)

    def durations(self, time: IntArray) -> IntArray:
        """Return how long each lasted, from peak to recovery (or the end), in the unit of *time*, shape (m,)."""
        return time[self.end] - time[self.start]


@dataclass(frozen=True, slots=True)
class MoneyDrawdown:
    """Drawdown as the MetaTrader 5 tester states it.

    Attributes:
        absolute: How far the value went below the initial one, >= 0.
        maximal: Largest fall from a peak in money, >= 0.
        maximal_fraction: That fall as a fraction of its peak.
        relative: Largest fall as a fraction of its peak, >= 0.
        relative_amount: That fall in money.
    """

    absolute: float
    maximal: float
    maximal_fraction: float
    relative: float
    relative_amount: float


def drawdown(equity: FloatArray) -> FloatArray:
    """Return the fall from the running peak at each value, as a fraction of the peak.

    Args:
        equity: Account value, shape (n,), account currency; the first is > 0.

    Returns:
        Shape (n,), dimensionless, >= 0; 0 at every new peak, above 1 where the account is in debt.
    """
    peaks = np.maximum.accumulate(equity)
    return (peaks - equity) / peaks


def drawdown_periods(equity: FloatArray) -> DrawdownPeriods:
    """Return every stretch in which *equity* is below its running peak.

    Args:
        equity: Account value, shape (n,); the first is > 0.
    """
    below = drawdown(equity)
    is_under = np.concatenate(([False], below > 0, [False]))
    edges = np.flatnonzero(is_under[1:] != is_under[:-1])
    first, after = edges[::2], edges[1::2]
    last = len(equity) - 1
    # A stable sort by depth inside each stretch would be slower than a plain maximum a stretch: there are few.
    trough = np.array([a + int(np.argmax(below[a:b])) for a, b in zip(first, after, strict=True)], np.int64)
    return DrawdownPeriods(
        start=first - 1,
        trough=trough,
        end=np.minimum(after, last),
        depth=below[trough],
        is_recovered=after <= last,
    )


def money_drawdown(values: FloatArray) -> MoneyDrawdown:
    """Return absolute, maximal and relative drawdown of a balance or equity.

    Args:
        values: Account value, shape (n,), n >= 1; the first is the initial deposit, > 0.

    Source:
        MetaTrader 5 help, "Testing Report": ``absolute = deposit - lowest`` (never below 0), maximal by money,
        relative by fraction.
    """
    peaks = np.maximum.accumulate(values)
    falls = peaks - values
    fractions = falls / peaks
    by_money, by_fraction = int(np.argmax(falls)), int(np.argmax(fractions))
    return MoneyDrawdown(
        absolute=float(values[0] - values.min()),
        maximal=float(falls[by_money]),
        maximal_fraction=float(fractions[by_money]),
        relative=float(fractions[by_fraction]),
        relative_amount=float(falls[by_fraction]),
    )


def ulcer_index(equity: FloatArray) -> float:
    """Return ``sqrt(mean(drawdown ** 2))`` as a fraction; NaN for no value.

    Source:
        P. G. Martin and B. B. McCann, "The Investor's Guide to Fidelity Funds", 1989 (there in percent).
    """
    if len(equity) == 0:
        return math.nan
    below = drawdown(equity)
    return math.sqrt(float(np.mean(below * below)))
