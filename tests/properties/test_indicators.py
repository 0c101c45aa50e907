"""Both forms of every indicator are one: equal bits on any bars, without a look at what comes later."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herald.indicators import (
    Adx,
    Atr,
    Bollinger,
    Donchian,
    Ema,
    Indicator,
    Macd,
    Rsi,
    Sma,
    Stochastic,
    Supertrend,
    Vwap,
    Wma,
    channels,
    smoothing,
    windows,
)
from herald.indicators.windows import rolling_moments, rolling_weighted_mean
from herald.model import BarSeries, FloatArray
from herald.testing import make_bars

lengths = st.integers(1, 20)
sources = st.sampled_from(["open", "high", "low", "close", "volume", "hl2", "hlc3", "ohlc4"])
factors = st.floats(0.1, 5)

INDICATORS: dict[str, st.SearchStrategy[Callable[[], Indicator]]] = {
    "adx": st.builds(lambda n: lambda: Adx(n), lengths),
    "atr": st.builds(lambda n: lambda: Atr(n), lengths),
    "bollinger": st.builds(lambda n, w, s: lambda: Bollinger(n + 1, w, s), lengths, factors, sources),
    "donchian": st.builds(lambda n: lambda: Donchian(n), lengths),
    "ema": st.builds(lambda n, s: lambda: Ema(n, s), lengths, sources),
    "macd": st.builds(lambda n, k, m, s: lambda: Macd(n, n + k, m, s), lengths, lengths, lengths, sources),
    "rsi": st.builds(lambda n, s: lambda: Rsi(n, s), lengths, sources),
    "sma": st.builds(lambda n, s: lambda: Sma(n, s), lengths, sources),
    "stochastic": st.builds(lambda n, k, m: lambda: Stochastic(n, k, m), lengths, lengths, lengths),
    "supertrend": st.builds(lambda n, w: lambda: Supertrend(n, w), lengths, factors),
    "vwap": st.builds(lambda n: lambda: Vwap(n), lengths),
    "wma": st.builds(lambda n, s: lambda: Wma(n, s), lengths, sources),
}

prices = st.one_of(st.integers(1, 40).map(lambda ticks: ticks / 10), st.floats(1e-3, 1e6))
"""Few different prices, so that equal ones and flat bars are common, and any others."""


@st.composite
def series(draw: st.DrawFn) -> BarSeries:
    """Draw valid bars: the open and the close lie between low and high."""
    rows = draw(st.lists(st.tuples(prices, prices, prices, prices, st.sampled_from([0.0, 1.0, 2.5, 1e6])), max_size=70))
    return make_bars([(row[0], max(row[:4]), min(row[:4]), row[1], row[4]) for row in rows])


def small_pieces() -> patch.multiple:  # type: ignore[valid-type]
    """Let columns be computed in pieces so short that a few bars make many."""
    return patch.multiple(windows, _PIECE=7, _SHORT=4)


@pytest.mark.parametrize("name", INDICATORS)
@settings(max_examples=50)
@given(data=st.data())
def test_stream_and_columns_have_the_same_bits(name: str, data: st.DataObject) -> None:
    make, bars = data.draw(INDICATORS[name]), data.draw(series())
    indicator = make()

    with small_pieces(), patch.object(smoothing, "_PIECE", 7), patch.object(channels, "_PIECE", 7):
        in_pieces = make().compute(bars)
    whole = make().compute(bars)
    stream: dict[str, list[float]] = {output: [] for output in indicator.outputs}
    for index in range(len(bars)):
        indicator.update(bars.bar(index))
        for output, column in stream.items():
            column.append(getattr(indicator, output))

    assert list(indicator.outputs) == list(whole)
    for output, column in stream.items():
        np.testing.assert_array_equal(whole[output], column, err_msg=output)
        np.testing.assert_array_equal(in_pieces[output], column, err_msg=output)


@pytest.mark.parametrize("name", INDICATORS)
@settings(max_examples=30)
@given(data=st.data())
def test_later_bars_change_nothing(name: str, data: st.DataObject) -> None:
    make, bars = data.draw(INDICATORS[name]), data.draw(series())
    k = data.draw(st.integers(0, len(bars)))

    part, whole = make().compute(bars[:k]), make().compute(bars)

    for output, column in part.items():
        np.testing.assert_array_equal(column, whole[output][:k], err_msg=output)


@pytest.mark.parametrize("name", INDICATORS)
@settings(max_examples=15)
@given(data=st.data())
def test_computing_leaves_the_stream_alone(name: str, data: st.DataObject) -> None:
    make, bars, others = data.draw(INDICATORS[name]), data.draw(series()), data.draw(series())
    quiet, disturbed = make(), make()

    for index in range(len(bars)):
        quiet.update(bars.bar(index))
        disturbed.compute(others)
        disturbed.update(bars.bar(index))

    for output in quiet.outputs:
        np.testing.assert_array_equal(getattr(disturbed, output), getattr(quiet, output))


def known(column: FloatArray) -> FloatArray:
    return column[~np.isnan(column)]


@given(bars=series(), length=lengths)
def test_oscillators_stay_in_their_range(bars: BarSeries, length: int) -> None:
    columns = [
        Rsi(length).compute(bars)["value"],
        *Adx(length).compute(bars).values(),
        *Stochastic(length, 2, 3).compute(bars).values(),
    ]

    for column in columns:
        assert np.all((known(column) >= -1e-9) & (known(column) <= 100 + 1e-9))  # 1e-9: means of values up to 100


@given(bars=series(), length=lengths)
def test_channel_holds_the_bars_of_its_window(bars: BarSeries, length: int) -> None:
    columns = Donchian(length).compute(bars)

    for end in range(length, len(bars) + 1):
        assert max(bars.high[end - length : end]) == columns["upper"][end - 1]
        assert min(bars.low[end - length : end]) == columns["lower"][end - 1]


@given(values=st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=60), length=lengths)
def test_means_are_those_of_exact_arithmetic(values: list[float], length: int) -> None:
    column = np.array(values)
    mean, variance = rolling_moments(column, length)
    weighted = rolling_weighted_mean(column, length)

    for end in range(length, len(values) + 1):
        window = [Fraction(value) for value in values[end - length : end]]
        exact = sum(window) / length
        spread = sum((value - exact) ** 2 for value in window) / length
        weights = Fraction(length * (length + 1), 2)
        heavy = sum(place * value for place, value in enumerate(window, 1)) / weights
        # Distances are taken from a member of the window, so errors are relative to its largest value.
        largest = float(max(window))
        assert math.isclose(mean[end - 1], float(exact), rel_tol=0, abs_tol=1e-13 * largest)
        assert math.isclose(weighted[end - 1], float(heavy), rel_tol=0, abs_tol=1e-13 * largest)
        assert math.isclose(variance[end - 1], float(spread), rel_tol=1e-12, abs_tol=0)
