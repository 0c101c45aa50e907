"""Rolling folds, means and moments: exact where they can be, and without drift."""

from __future__ import annotations

import math
import operator
import random
from fractions import Fraction

import numpy as np
import pytest

from herald.indicators.streams import RollingFold, RollingMean, RollingMoments, RollingWeightedMean
from herald.indicators.windows import rolling_fold, rolling_mean, rolling_moments, rolling_weighted_mean
from herald.model import FloatArray

NAN = math.nan


def walk(n: int, seed: int = 1) -> FloatArray:
    generator = np.random.default_rng(seed)
    return 100 * np.exp(np.cumsum(generator.normal(0, 0.01, n)))


def test_fold_over_few_values_is_what_one_counts_on_paper() -> None:
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0])

    np.testing.assert_array_equal(rolling_fold(values, 3, np.maximum), [NAN, NAN, 4, 4, 5, 9, 9])
    np.testing.assert_array_equal(rolling_fold(values, 3, np.minimum), [NAN, NAN, 1, 1, 1, 1, 2])
    np.testing.assert_array_equal(rolling_fold(values, 3, np.add), [NAN, NAN, 8, 6, 10, 15, 16])


def test_means_over_few_values_are_what_one_counts_on_paper() -> None:
    values = np.array([2.0, 4.0, 9.0, 1.0, 8.0])

    mean, variance = rolling_moments(values, 3)

    np.testing.assert_allclose(mean, [NAN, NAN, 5, 14 / 3, 6], rtol=1e-15)
    # 2 4 9: (9 + 1 + 16) / 3. 4 9 1: 98/3 - 196/9. 9 1 8: (9 + 25 + 4) / 3.
    np.testing.assert_allclose(variance, [NAN, NAN, 26 / 3, 98 / 9, 38 / 3], rtol=1e-14)
    np.testing.assert_allclose(rolling_mean(values, 3), mean, rtol=1e-15)
    # (2 + 2*4 + 3*9) / 6, (4 + 2*9 + 3*1) / 6, (9 + 2*1 + 3*8) / 6
    np.testing.assert_allclose(rolling_weighted_mean(values, 3), [NAN, NAN, 37 / 6, 25 / 6, 35 / 6], rtol=1e-15)


@pytest.mark.parametrize("length", [1, 2, 7, 15, 16, 40])
def test_windows_longer_than_the_values_give_nothing(length: int) -> None:
    values = walk(length - 1)

    assert np.isnan(rolling_mean(values, length)).all()
    assert np.isnan(rolling_weighted_mean(values, length)).all()
    assert np.isnan(rolling_fold(values, length, np.maximum)).all()
    assert all(np.isnan(column).all() for column in rolling_moments(values, length))


@pytest.mark.parametrize("length", [1, 2, 15, 16, 50, 1_000, 20_000])
def test_mean_does_not_drift_over_a_million_values(length: int) -> None:
    values = walk(1_000_000)

    mean = rolling_mean(values, length)

    # Exact rational arithmetic at a few places, the last ones among them.
    for end in (length, 500_000, 999_999, 1_000_000):
        exact = sum(map(Fraction, values[end - length : end].tolist())) / length
        assert abs(Fraction(float(mean[end - 1])) / exact - 1) < 1e-14


def test_mean_recovers_at_once_from_a_price_a_billion_times_as_high() -> None:
    values = np.concatenate(([1e12, 3e11], np.full(30, 0.001)))

    mean, variance = rolling_moments(values, 5)

    np.testing.assert_array_equal(mean[6:], 0.001)
    np.testing.assert_array_equal(variance[6:], 0.0)
    np.testing.assert_array_equal(rolling_mean(values, 5)[6:], 0.001)
    np.testing.assert_array_equal(rolling_weighted_mean(values, 5)[6:], 0.001)


def test_equal_prices_have_exactly_their_mean_and_no_variance() -> None:
    values = np.full(500, 0.1)

    mean, variance = rolling_moments(values, 7)

    np.testing.assert_array_equal(mean[6:], 0.1)
    np.testing.assert_array_equal(variance[6:], 0.0)


def test_variance_far_from_zero_keeps_its_digits() -> None:
    generator = random.Random(5)
    values = np.array([1e9 + generator.random() for _ in range(400)])

    _, variance = rolling_moments(values, 20)

    for end in range(20, 401, 19):
        window = list(map(Fraction, values[end - 20 : end].tolist()))
        mean = sum(window) / 20
        exact = sum((value - mean) ** 2 for value in window) / 20
        assert float(variance[end - 1]) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize("length", [1, 2, 4, 17])
def test_unknown_value_is_forgotten_when_it_leaves_the_window(length: int) -> None:
    values = walk(100)
    values[41] = NAN

    for column in (rolling_mean(values, length), rolling_fold(values, length, np.add), *rolling_moments(values, length)):
        assert list(range(41, 41 + length)) == (np.flatnonzero(np.isnan(column[length - 1 :])) + length - 1).tolist()


@pytest.mark.parametrize("length", [1, 2, 15, 16, 100, 16_384, 20_000])
def test_stream_gives_the_bits_of_the_columns_across_pieces(length: int) -> None:
    values = walk(40_000)
    plain = values.tolist()
    moments = RollingMoments(length)
    mean, weighted, total = RollingMean(length), RollingWeightedMean(length), RollingFold(length, operator.add)
    highest = RollingFold(length, max)

    pairs = [(moments.push(value), moments.variance) for value in plain]
    expected, variance = rolling_moments(values, length)

    np.testing.assert_array_equal([pair[0] for pair in pairs], expected)
    np.testing.assert_array_equal([pair[1] for pair in pairs][length - 1 :], variance[length - 1 :])
    np.testing.assert_array_equal([mean.push(value) for value in plain], rolling_mean(values, length))
    np.testing.assert_array_equal([weighted.push(value) for value in plain], rolling_weighted_mean(values, length))
    np.testing.assert_array_equal([total.push(value) for value in plain], rolling_fold(values, length, np.add))
    np.testing.assert_array_equal([highest.push(value) for value in plain], rolling_fold(values, length, np.maximum))


def test_extremes_of_a_long_window_need_constant_work_a_value() -> None:
    calls = 0

    def counted(left: float, right: float) -> float:
        nonlocal calls
        calls += 1
        return max(left, right)

    highest = RollingFold(1_000, counted)
    for value in range(10_000, 0, -1):  # falling prices: the worst case of a search from the old maximum on
        highest.push(float(value))

    assert calls <= 3 * 10_000
