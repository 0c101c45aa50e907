"""Days, months and years of the data's own calendar."""

from __future__ import annotations

import math

import numpy as np
import pytest

from herald.clock import DAY, HOUR
from herald.statistics import daily_returns, day_ends, period_returns

MONDAY = 1_704_067_200_000_000_000  # 2024-01-01T00:00Z


def test_midnight_belongs_to_the_day_that_it_ends() -> None:
    time = MONDAY + HOUR * np.array([23, 24, 25, 48, 49])

    assert [1, 3, 4] == day_ends(time).tolist()


def test_no_moment_has_no_day() -> None:
    assert [] == day_ends(np.zeros(0, np.int64)).tolist()
    assert math.isnan(daily_returns(np.zeros(0, np.int64), np.zeros(0), 100.0).periods_per_year)


def test_daily_return_is_from_the_last_value_of_one_day_to_that_of_the_next() -> None:
    time = MONDAY + HOUR * np.array([1, 24, 30, 48])

    daily = daily_returns(time, np.array([90.0, 110.0, 100.0, 121.0]), 100.0)

    assert [0.1, 0.1] == pytest.approx(daily.returns.tolist())


def test_five_days_a_week_make_261_periods_a_year() -> None:
    days = [day for day in range(364) if day % 7 < 5]  # 52 weeks, Monday to Friday
    time = MONDAY + DAY * np.array([day + 1 for day in days])

    daily = daily_returns(time, np.full(len(days), 100.0), 100.0)

    # 260 days over the 362 from the first Monday to the last Friday.
    assert pytest.approx(260 / (362 / 365.25)) == daily.periods_per_year


def test_seven_days_a_week_make_a_whole_year() -> None:
    daily = daily_returns(MONDAY + DAY * np.arange(1, 401), np.full(400, 100.0), 100.0)

    assert pytest.approx(365.25) == daily.periods_per_year


def test_months_and_years_compound_their_days() -> None:
    # 30 and 31 January, 1 February 2024 and 2 January 2025.
    time = MONDAY + DAY * np.array([30, 31, 32, 368])
    daily = daily_returns(time, np.array([105.0, 110.0, 99.0, 198.0]), 100.0)

    by_month = period_returns(daily, 100.0, "month")
    by_year = period_returns(daily, 100.0, "year")

    assert ("2024-01", "2024-02", "2025-01") == by_month.period
    assert [0.1, -0.1, 1.0] == pytest.approx(by_month.returns.tolist())
    assert ("2024", "2025") == by_year.period
    assert [-0.01, 1.0] == pytest.approx(by_year.returns.tolist())


def test_growth_after_a_lost_account_is_unknown() -> None:
    daily = daily_returns(MONDAY + DAY * np.arange(1, 4), np.array([0.0, 50.0, 55.0]), 100.0)

    assert -1.0 == daily.returns[0]
    assert math.isnan(daily.returns[1])
    assert pytest.approx(0.1) == daily.returns[2]
