"""Statistics of trades, derived by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from herald.statistics import (
    Streak,
    ahpr,
    correlation,
    expectancy,
    ghpr,
    holding_period_returns,
    kelly,
    payoff,
    profit_factor,
    recovery_factor,
    regression,
    sqn,
    streaks,
    trade_sharpe,
    win_rate,
    z_score,
)

# Won 30 + 10 + 20 + 40 = 100 in four, lost 20 + 5 + 25 = 50 in three.
PROFITS = np.array([30.0, 10.0, -20.0, -5.0, 20.0, 40.0, -25.0])
NONE = np.zeros(0)


def test_win_rate_is_the_share_of_won_trades() -> None:
    assert pytest.approx(4 / 7) == win_rate(PROFITS)


def test_profit_factor_is_profits_over_losses() -> None:
    assert 2.0 == profit_factor(PROFITS)


def test_profit_factor_without_a_loss_is_infinite() -> None:
    assert math.inf == profit_factor(np.array([1.0]))


def test_payoff_is_the_mean_win_over_the_mean_loss() -> None:
    assert pytest.approx(25.0 / (50.0 / 3)) == payoff(PROFITS)


def test_expectancy_is_the_mean_profit() -> None:
    assert pytest.approx(50 / 7) == expectancy(PROFITS)


def test_kelly_is_wins_less_losses_over_the_payoff() -> None:
    # 4/7 - (3/7) / 1.5 = 2/7.
    assert pytest.approx(2 / 7) == kelly(PROFITS)


def test_kelly_without_a_loss_bets_the_win_rate() -> None:
    assert 1.0 == kelly(np.array([1.0, 2.0]))


def test_sqn_is_the_mean_over_its_error() -> None:
    # Mean 2, deviations -1, 0, 1: sample deviation 1.
    assert pytest.approx(math.sqrt(3) * 2) == sqn(np.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(("value", "expected"), [(2.0, math.inf), (-2.0, -math.inf)])
def test_sqn_of_equal_trades_is_infinite(value: float, expected: float) -> None:
    assert expected == sqn(np.full(3, value))


def test_recovery_factor_is_profit_over_drawdown() -> None:
    assert 2.5 == recovery_factor(50.0, 20.0)
    assert math.inf == recovery_factor(50.0, 0.0)
    assert math.isnan(recovery_factor(0.0, 0.0))


def test_holding_period_returns_compare_the_balance_after_and_before() -> None:
    # 100, 110, 99.
    assert [1.1, 0.9] == pytest.approx(holding_period_returns(np.array([10.0, -11.0]), 100.0).tolist())


def test_arithmetic_and_geometric_mean_of_holding_period_returns() -> None:
    profits = np.array([10.0, -11.0])

    assert pytest.approx(1.0) == ahpr(profits, 100.0)
    assert pytest.approx(math.sqrt(0.99)) == ghpr(profits, 100.0)


def test_a_ruined_account_has_a_geometric_mean_of_zero_and_no_later_returns() -> None:
    profits = np.array([-100.0, 50.0])

    assert 0.0 == ghpr(np.array([-150.0]), 100.0)
    assert [0.0] == [value for value in holding_period_returns(profits, 100.0).tolist() if not math.isnan(value)]


def test_trade_sharpe_is_mean_over_deviation_of_holding_period_returns() -> None:
    # 100, 110, 132: returns 1.1 and 1.2, mean 1.15, sample deviation 0.1 / sqrt(2).
    assert pytest.approx(0.15 / (0.1 / math.sqrt(2))) == trade_sharpe(np.array([10.0, 22.0]), 100.0)


def test_regression_of_a_straight_balance_is_perfect() -> None:
    found = regression(np.full(5, 10.0), 100.0)

    assert (1.0, 0.0) == pytest.approx(found, abs=1e-9)


def test_regression_of_a_falling_balance_is_negative() -> None:
    assert pytest.approx(-1.0) == regression(np.full(5, -3.0), 100.0)[0]


def test_regression_error_is_that_of_the_fitted_line() -> None:
    # Balance 0, 1, 0 at 0, 1, 2 (deposit 0): the line is flat at 1/3; squares 1/9 + 4/9 + 1/9 over 3 - 2 points.
    correlated, error = regression(np.array([1.0, -1.0]), 0.0)

    assert pytest.approx(0.0, abs=1e-12) == correlated
    assert pytest.approx(math.sqrt(6 / 9)) == error


def test_z_score_follows_its_formula() -> None:
    # + + - - + + -: N = 7, R = 4 runs, P = 2 * 4 * 3 = 24; (7 * 3.5 - 24) / sqrt(24 * 17 / 6).
    assert pytest.approx(0.5 / math.sqrt(68.0)) == z_score(PROFITS)


def test_wins_that_follow_wins_have_a_negative_z_score() -> None:
    assert z_score(np.array([1.0] * 10 + [-1.0] * 10)) < -3


def test_correlation_leaves_out_what_is_unknown() -> None:
    first, second = np.array([1.0, 2.0, math.nan, 3.0]), np.array([2.0, 4.0, 9.0, 6.0])

    assert pytest.approx(1.0) == correlation(first, second)


def test_correlation_with_a_constant_is_undefined() -> None:
    assert math.isnan(correlation(np.array([1.0, 2.0]), np.array([3.0, 3.0])))


def test_streaks_tell_the_longest_from_the_richest() -> None:
    # Runs: +30 +10 | -20 -5 | +20 +40 | -25.
    found = streaks(PROFITS)

    assert Streak(2, 40.0) == found.longest_win
    assert Streak(2, -25.0) == found.longest_loss
    assert Streak(2, 60.0) == found.richest_win
    assert Streak(2, -25.0) == found.poorest_loss
    assert 2.0 == found.average_win
    assert 1.5 == found.average_loss


def test_a_trade_of_nothing_ends_a_streak() -> None:
    found = streaks(np.array([1.0, 0.0, 1.0]))

    assert 1 == found.longest_win.count
    assert 0 == found.longest_loss.count
    assert math.isnan(found.average_loss)


@pytest.mark.parametrize(
    "found",
    [
        win_rate(NONE), profit_factor(NONE), payoff(NONE), expectancy(NONE), kelly(NONE), sqn(NONE), z_score(NONE),
        ahpr(NONE, 100.0), ghpr(NONE, 100.0), trade_sharpe(NONE, 100.0), regression(NONE, 100.0)[0],
        streaks(NONE).average_win, payoff(np.array([-1.0])), kelly(np.array([-1.0])), sqn(np.array([1.0])),
        z_score(np.array([1.0, 2.0, 3.0])),
    ],
)  # fmt: skip
def test_numbers_without_the_trades_they_need_are_undefined(found: float) -> None:
    assert math.isnan(found)
