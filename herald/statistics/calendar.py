"""From moments to days, months and years: the data's own calendar.

A day is the UTC day in which a bar happened. Moments are ends of bars, so midnight belongs to the day that it ends:
the last hour of a Friday does not make a Saturday.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from herald.clock import DAY
from herald.model import FloatArray, IntArray

__all__ = ["DAYS_PER_YEAR", "DailyReturns", "PeriodReturns", "daily_returns", "day_ends", "period_returns"]

DAYS_PER_YEAR = 365.25
"""The Julian year; with it a calendar of all days has 365.25 periods and one of five-day weeks 260.9."""


@dataclass(frozen=True, slots=True)
class DailyReturns:
    """The return of every day that has moments.

    Attributes:
        day: Days since 1970-01-01, shape (n,), increasing.
        value: The value at the end of each day, shape (n,).
        returns: Growth since the end of the day before, or since the initial value, shape (n,); NaN after a value
            that is not positive.
        periods_per_year: Number of days divided by the years from the first day to the last; NaN without a day.
    """

    day: IntArray
    value: FloatArray
    returns: FloatArray
    periods_per_year: float


@dataclass(frozen=True, slots=True)
class PeriodReturns:
    """The return of every month or year that has days.

    Attributes:
        period: ``2024-03`` or ``2024``, in order.
        returns: Growth since the end of the period before, shape (n,); NaN after a value that is not positive.
    """

    period: tuple[str, ...]
    returns: FloatArray


def day_ends(time: IntArray) -> IntArray:
    """Return the index of the last moment of every day.

    Args:
        time: Moments, nanoseconds UTC, increasing, shape (n,).
    """
    if len(time) == 0:
        return np.zeros(0, np.int64)
    days = (time - 1) // DAY
    return np.append(np.flatnonzero(days[1:] != days[:-1]), len(time) - 1)


def daily_returns(time: IntArray, values: FloatArray, initial: float) -> DailyReturns:
    """Return the daily returns of an account or a price.

    Args:
        time: Moments, nanoseconds UTC, increasing, shape (n,).
        values: The value at each, shape (n,).
        initial: The value before the first moment.
    """
    ends = day_ends(time)
    days = (time[ends] - 1) // DAY
    value = values[ends]
    years = (int(days[-1]) - int(days[0]) + 1) / DAYS_PER_YEAR if len(days) else float("nan")
    return DailyReturns(days, value, _growth(initial, value), len(days) / years)


def period_returns(daily: DailyReturns, initial: float, unit: str) -> PeriodReturns:
    """Return the growth of every month or year.

    Args:
        daily: The days.
        initial: The value before the first day.
        unit: ``month`` or ``year``.
    """
    if len(daily.day) == 0:
        return PeriodReturns((), np.zeros(0))
    periods = daily.day.astype("datetime64[D]").astype("datetime64[M]" if unit == "month" else "datetime64[Y]")
    ends = np.append(np.flatnonzero(periods[1:] != periods[:-1]), len(periods) - 1)
    return PeriodReturns(tuple(str(each) for each in periods[ends]), _growth(initial, daily.value[ends]))


def _growth(initial: float, value: FloatArray) -> FloatArray:
    before = np.concatenate(([initial], value[:-1])) if len(value) else value
    known = before > 0
    return np.where(known, value / np.where(known, before, 1.0) - 1.0, np.nan)
