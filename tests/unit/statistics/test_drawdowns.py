"""Falls from the peak, derived by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from herald.statistics import drawdown, drawdown_periods, money_drawdown, ulcer_index

# Peaks 100, 120 and 150; falls to 90 (10 %), to 102 (15 %) and, unrecovered, to 135 (10 %).
EQUITY = np.array([100.0, 90.0, 95.0, 100.0, 120.0, 102.0, 108.0, 120.0, 150.0, 135.0, 141.0])


def test_drawdown_is_the_share_of_the_peak_that_is_missing() -> None:
    expected = [0.0, 0.1, 0.05, 0.0, 0.0, 0.15, 0.1, 0.0, 0.0, 0.1, 0.06]

    assert expected == pytest.approx(drawdown(EQUITY).tolist())


def test_periods_run_from_peak_to_recovery() -> None:
    periods = drawdown_periods(EQUITY)

    assert [0, 4, 8] == periods.start.tolist()
    assert [1, 5, 9] == periods.trough.tolist()
    assert [3, 7, 10] == periods.end.tolist()
    assert [0.1, 0.15, 0.1] == pytest.approx(periods.depth.tolist())
    assert [True, True, False] == periods.is_recovered.tolist()


def test_duration_is_the_time_from_peak_to_recovery_or_the_end() -> None:
    time = np.arange(len(EQUITY), dtype=np.int64) ** 2

    assert [9 - 0, 49 - 16, 100 - 64] == drawdown_periods(EQUITY).durations(time).tolist()


def test_a_rising_account_has_no_drawdown_period() -> None:
    assert 0 == len(drawdown_periods(np.array([1.0, 2.0, 3.0])))


def test_money_drawdown_tells_the_largest_fall_in_money_from_the_largest_in_percent() -> None:
    # From 100 to 80: 20 and 20 %. From 200 to 170: 30 and 15 %. The lowest is 20 below the deposit.
    found = money_drawdown(np.array([100.0, 80.0, 200.0, 170.0, 190.0]))

    assert 20.0 == found.absolute
    assert (30.0, 0.15) == pytest.approx((found.maximal, found.maximal_fraction))
    assert (0.2, 20.0) == pytest.approx((found.relative, found.relative_amount))


def test_an_account_that_never_falls_below_its_deposit_has_no_absolute_drawdown() -> None:
    assert 0.0 == money_drawdown(np.array([100.0, 120.0, 101.0])).absolute


def test_an_account_in_debt_has_lost_more_than_its_peak() -> None:
    assert pytest.approx(1.5) == money_drawdown(np.array([100.0, -50.0])).relative


def test_ulcer_index_is_the_root_of_the_mean_squared_drawdown() -> None:
    # Drawdowns 0, 0.1 and 0.2: sqrt((0 + 0.01 + 0.04) / 3).
    assert pytest.approx(math.sqrt(0.05 / 3)) == ulcer_index(np.array([100.0, 90.0, 80.0]))


def test_ulcer_index_of_nothing_is_undefined() -> None:
    assert math.isnan(ulcer_index(np.zeros(0)))
