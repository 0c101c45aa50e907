"""Small cases that can be followed on paper, first values, and arguments that are refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

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
)
from herald.model import BarSeries
from herald.testing import make_bars, make_walk

NAN = math.nan


def values(indicator: Indicator, bars: BarSeries, output: str = "value") -> list[float]:
    """Return one output as the stream gives it, after a look that the columns are the same."""
    stream = []
    for index in range(len(bars)):
        indicator.update(bars.bar(index))
        stream.append(getattr(indicator, output))
    np.testing.assert_array_equal(indicator.compute(bars)[output], stream)
    return stream


def known(stream: list[float]) -> list[float]:
    return [value for value in stream if not math.isnan(value)]


def test_exponential_average_begins_with_the_plain_mean() -> None:
    # Mean of 2, 4, 6 is 4; the weight is 2 / (3 + 1) = 1/2: 4 + (10 - 4)/2 = 7, 7 + (3 - 7)/2 = 5.
    assert [4.0, 7.0, 5.0] == known(values(Ema(3), make_bars([2, 4, 6, 10, 3])))


def test_weighted_average_weighs_the_last_price_most() -> None:
    # (1*2 + 2*4 + 3*6) / 6 = 28/6; (1*4 + 2*6 + 3*10) / 6 = 46/6
    assert pytest.approx([28 / 6, 46 / 6]) == known(values(Wma(3), make_bars([2, 4, 6, 10])))


def test_average_of_one_bar_is_the_price() -> None:
    bars = make_bars([2, 4, 6, 10, 3])

    for indicator in (Sma(1), Ema(1), Wma(1)):
        assert [2, 4, 6, 10, 3] == values(indicator, bars)


def test_strength_is_the_share_of_gains() -> None:
    # Changes +2, -1, +3, 0 with n = 2. Gains: (2+0)/2 = 1, (1+3)/2 = 2, (2+0)/2 = 1.
    # Losses: (0+1)/2 = 0.5, (0.5+0)/2 = 0.25, 0.125. Shares: 1/1.5, 2/2.25, 1/1.125.
    expected = [100 / 1.5, 200 / 2.25, 100 / 1.125]

    assert pytest.approx(expected) == known(values(Rsi(2), make_bars([10, 12, 11, 14, 14])))


def test_strength_is_full_without_a_loss_and_nothing_without_a_gain() -> None:
    assert [100.0] * 3 == known(values(Rsi(2), make_bars([1, 2, 3, 4, 5])))
    assert [0.0] * 3 == known(values(Rsi(2), make_bars([5, 4, 3, 2, 1])))


def test_true_range_counts_the_gap() -> None:
    # (high, low, close before): 12-11 with 10 before: 12 - 10 = 2. 9-8 with 11: 11 - 8 = 3. 10-7 with 8: 3.
    bars = make_bars([(10, 10, 10, 10), (11, 12, 11, 11), (9, 9, 8, 8), (8, 10, 7, 9)])

    assert [2.0, 3.0, 3.0] == known(values(Atr(1), bars))
    # n = 2: (2 + 3) / 2 = 2.5, then (2.5 + 3) / 2 = 2.75.
    assert [2.5, 2.75] == known(values(Atr(2), bars))


def test_directional_movement_takes_the_larger_side_only() -> None:
    # highs 10 12 13 12, lows 8 9 8 6, closes 9 11 9 7. Up moves +2 +1 -1, down moves -1 +1 +2.
    # Upward: 2, 0 (a draw), 0. Downward: 0, 0, 2. True ranges 3, 5, 6.
    bars = make_bars([(9, 10, 8, 9), (9, 12, 9, 11), (11, 13, 8, 9), (9, 12, 6, 7)])

    # n = 2, means: range 4, then 5; upward 1, then 0.5; downward 0, then 1.
    assert pytest.approx([25.0, 10.0]) == known(values(Adx(2), bars, "plus_di"))
    assert pytest.approx([0.0, 20.0]) == known(values(Adx(2), bars, "minus_di"))
    # Index: 100 * 25/25 = 100 and 100 * 10/30 = 33.3; its first value is their mean, at bar 3.
    assert pytest.approx([(100 + 100 / 3) / 2]) == known(values(Adx(2), bars))


def test_convergence_is_the_difference_of_two_averages_with_seeds_of_their_own() -> None:
    bars = make_bars([2, 4, 6, 10, 3, 8])

    macd = values(Macd(2, 3, 2), bars)
    signal = values(Macd(2, 3, 2), bars, "signal")

    # Fast (2/3): 3, 5, 25/3, 43/9, 187/27. Slow (1/2): 4, 7, 5, 6.5.
    lines = [5 - 4, 25 / 3 - 7, 43 / 9 - 5, 187 / 27 - 6.5]
    assert pytest.approx(lines) == known(macd)
    first = (lines[0] + lines[1]) / 2
    second = first + (lines[2] - first) * 2 / 3
    assert pytest.approx([first, second, second + (lines[3] - second) * 2 / 3]) == known(signal)


def test_bands_are_population_deviations_away() -> None:
    bars = make_bars([1, 3, 5])  # mean 3, variance ((-2)^2 + 0 + 2^2) / 3

    assert pytest.approx([3 + 2 * math.sqrt(8 / 3)]) == known(values(Bollinger(3), bars, "upper"))
    assert pytest.approx([3 - 0.5 * math.sqrt(8 / 3)]) == known(values(Bollinger(3, 0.5), bars, "lower"))


def test_stochastic_is_the_place_in_the_range() -> None:
    # Window of 2: (high 12, low 8, close 11): 75; (14, 10, 10): 0; (14, 9, 13): 80. Means of 2: 37.5, 40; of those: 38.75.
    bars = make_bars([(9, 10, 8, 9), (10, 12, 10, 11), (11, 14, 10, 10), (10, 13, 9, 13)])

    assert [37.5, 40.0] == known(values(Stochastic(2, 2, 2), bars))
    assert [38.75] == known(values(Stochastic(2, 2, 2), bars, "d"))


def test_channel_includes_the_current_bar() -> None:
    bars = make_bars([(9, 10, 8, 9), (10, 12, 10, 11), (11, 14, 10, 10)])

    assert [12.0, 14.0] == known(values(Donchian(2), bars, "upper"))
    assert [8.0, 10.0] == known(values(Donchian(2), bars, "lower"))
    assert [10.0, 12.0] == known(values(Donchian(2), bars))


def test_volume_weighs_the_typical_price() -> None:
    # Typical prices 9, 12; volumes 1, 3: (9 + 36) / 4.
    bars = make_bars([(9, 10, 8, 9, 1), (12, 13, 11, 12, 3)])

    assert [11.25] == known(values(Vwap(2), bars))


def test_average_of_nothing_traded_is_unknown_and_comes_back() -> None:
    bars = make_bars([(9, 9, 9, 9, 0), (9, 9, 9, 9, 0), (12, 12, 12, 12, 2), (6, 6, 6, 6, NAN), (5, 5, 5, 5, 1), (7, 7, 7, 7, 1)])

    np.testing.assert_array_equal(values(Vwap(2), bars), [NAN, NAN, 12.0, NAN, NAN, 6.0])


def test_supertrend_follows_and_never_steps_back_until_it_is_passed() -> None:
    # Every true range is 2, so with 1 bar and factor 1 the bands are the middle plus and minus 2.
    bars = make_bars(
        [
            (10, 11, 9, 10),
            (10, 11, 9, 10),  # first line; middle 10, close not below it: rising, at 8
            (11, 12, 10, 11),  # 9
            (10, 11.5, 9.5, 10),  # middle 10.5: 8.5 would step back; stays at 9
            (9.5, 10, 8, 8.5),  # closes below 9: falls, upper band min(12, 13, 12.5, 11) = 11
            (10, 10.5, 8.5, 10),  # upper would be 11.5; stays at 11
            (10.5, 11.6, 9.6, 11.5),  # closes above 11: rises; lower band is that of this bar, 10.6 - 2 = 8.6
        ]
    )

    assert pytest.approx([8.0, 9.0, 9.0, 11.0, 11.0, 8.6]) == known(values(Supertrend(1, 1.0), bars))
    assert [1.0, 1.0, 1.0, -1.0, -1.0, 1.0] == known(values(Supertrend(1, 1.0), bars, "direction"))


def test_supertrend_changes_sides_when_a_close_is_on_the_line() -> None:
    # Middle 10 and range 2: the line is 8; the second bar closes at 8 (range 2, middle 9: upper band 11).
    bars = make_bars([(10, 11, 9, 10), (10, 11, 9, 10), (10, 10, 8, 8)])

    assert [1.0, -1.0] == known(values(Supertrend(1, 1.0), bars, "direction"))
    assert [8.0, 11.0] == known(values(Supertrend(1, 1.0), bars))


@pytest.mark.parametrize(
    ("make", "output", "first"),
    [
        (lambda: Sma(20), "value", 19),
        (lambda: Ema(20), "value", 19),
        (lambda: Wma(20), "value", 19),
        (lambda: Vwap(20), "value", 19),
        (lambda: Rsi(14), "value", 14),
        (lambda: Macd(12, 26, 9), "value", 25),
        (lambda: Macd(12, 26, 9), "signal", 33),
        (lambda: Macd(12, 26, 9), "histogram", 33),
        (lambda: Bollinger(20), "upper", 19),
        (lambda: Atr(14), "value", 14),
        (lambda: Adx(14), "plus_di", 14),
        (lambda: Adx(14), "value", 27),
        (lambda: Stochastic(14, 3, 3), "value", 15),
        (lambda: Stochastic(14, 3, 3), "d", 17),
        (lambda: Donchian(20), "lower", 19),
        (lambda: Supertrend(10), "value", 10),
    ],
)
def test_first_value_comes_with_the_bar_that_the_docstring_names(make: Callable[[], Indicator], output: str, first: int) -> None:
    stream = values(make(), make_walk(60), output)

    assert [NAN] * first == pytest.approx(stream[:first], nan_ok=True)
    assert all(math.isfinite(value) for value in stream[first:])


ALL: list[Callable[[], Indicator]] = [
    lambda: Adx(5),
    lambda: Atr(5),
    lambda: Bollinger(5),
    lambda: Donchian(5),
    lambda: Ema(5),
    lambda: Macd(3, 5, 2),
    lambda: Rsi(5),
    lambda: Sma(5),
    lambda: Stochastic(5),
    lambda: Supertrend(5),
    lambda: Vwap(5),
    lambda: Wma(5),
]


@pytest.mark.parametrize("make", ALL)
def test_outputs_are_plain_attributes_that_the_engine_may_assign(make: Callable[[], Indicator]) -> None:
    indicator = make()

    for name in indicator.outputs:
        assert math.isnan(vars(indicator)[name])
        setattr(indicator, name, 1.5)
        assert 1.5 == getattr(indicator, name)
    assert "value" == indicator.outputs[0]


@pytest.mark.parametrize("make", ALL)
def test_update_returns_the_value_and_all_outputs_are_python_floats(make: Callable[[], Indicator]) -> None:
    indicator, bars = make(), make_walk(40)

    for index in range(len(bars)):
        returned = indicator.update(bars.bar(index))
        assert returned == indicator.value or math.isnan(indicator.value)
        assert {float} == {type(getattr(indicator, name)) for name in indicator.outputs}


@pytest.mark.parametrize("make", ALL)
def test_no_bars_give_empty_columns(make: Callable[[], Indicator]) -> None:
    indicator = make()

    columns = indicator.compute(make_bars([]))

    assert dict.fromkeys(indicator.outputs, (0,)) == {name: column.shape for name, column in columns.items()}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sma(0), "length is 0; give a whole number of bars, 1 or more"),
        (lambda: Ema(-3), "length is -3"),
        (lambda: Wma(2.5), "length is 2.5; give a whole number"),  # type: ignore[arg-type]
        (lambda: Rsi("14"), "length is '14'"),  # type: ignore[arg-type]
        (lambda: Atr(True), "length is True"),
        (lambda: Adx(0), "length is 0"),
        (lambda: Vwap(0), "length is 0"),
        (lambda: Donchian(0), "length is 0"),
        (lambda: Bollinger(1), "length is 1; give a whole number of bars, 2 or more"),
        (lambda: Bollinger(20, 0.0), "width is 0.0; give a finite number above 0"),
        (lambda: Supertrend(10, math.inf), "multiplier is inf"),
        (lambda: Supertrend(0), "length is 0"),
        (lambda: Macd(26, 12), "slow is 12; give a whole number of bars, 27 or more"),
        (lambda: Macd(signal=0), "signal is 0"),
        (lambda: Stochastic(smooth=0), "smooth is 0"),
        (lambda: Sma(3, "typical"), "source is 'typical'; give one of open, high, low, close, volume, hl2, hlc3, ohlc4"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make: Callable[[], Indicator], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        make()
