"""Every indicator that TA-Lib knows against TA-Lib, over real prices."""

from __future__ import annotations

import csv
import gzip
from importlib import resources

import numpy as np
import pytest
import talib

from herald.indicators import Adx, Atr, Bollinger, Donchian, Ema, Macd, Rsi, Sma, Stochastic, Vwap, Wma
from herald.model import BarSeries, FloatArray

BARS = 5_000

# TA-Lib carries running sums over the whole series; that is worth up to about 1e-11 of a price.
RELATIVE = 1e-9


def load() -> BarSeries:
    packed = resources.files("herald.demo").joinpath("GBPUSD_H1_2012-2022.csv.gz").read_bytes()
    lines = csv.reader(gzip.decompress(packed).decode("utf-8").splitlines())
    head = next(lines)
    names = [name.strip("<>").lower() for name in head]
    table = [row for row, _ in zip(lines, range(BARS), strict=False)]

    def column(*options: str) -> FloatArray:
        index = next(names.index(name) for name in options if name in names)
        return np.array([float(row[index]) for row in table])

    time = np.arange(1, BARS + 1) * 3_600_000_000_000
    prices = [column(name) for name in ("open", "high", "low", "close")]
    return BarSeries("GBPUSD", 3_600_000_000_000, time, *prices, column("volume", "tickvol", "tick_volume"))


GBP = load()
HIGH, LOW, CLOSE, VOLUME = (np.array(column) for column in (GBP.high, GBP.low, GBP.close, GBP.volume))


def same(expected: FloatArray, actual: FloatArray, first: int = 0) -> None:
    """Compare from *first* on; NaN must stand at the same places."""
    assert np.isfinite(expected[first:]).any()
    np.testing.assert_allclose(actual[first:], expected[first:], rtol=RELATIVE, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("length", [2, 3, 10, 50, 333])
def test_averages_are_those_of_talib(length: int) -> None:
    same(talib.SMA(CLOSE, length), Sma(length).compute(GBP)["value"])
    same(talib.EMA(CLOSE, length), Ema(length).compute(GBP)["value"])
    same(talib.WMA(CLOSE, length), Wma(length).compute(GBP)["value"])


@pytest.mark.parametrize(
    ("source", "price"),
    [
        ("open", np.array(GBP.open)),
        ("volume", VOLUME),
        ("hl2", talib.MEDPRICE(HIGH, LOW)),
        ("hlc3", talib.TYPPRICE(HIGH, LOW, CLOSE)),
        ("ohlc4", talib.AVGPRICE(np.array(GBP.open), HIGH, LOW, CLOSE)),
    ],
)
def test_sources_are_the_prices_of_talib(source: str, price: FloatArray) -> None:
    same(talib.SMA(price, 7), Sma(7, source).compute(GBP)["value"])
    same(talib.EMA(price, 7), Ema(7, source).compute(GBP)["value"])
    same(talib.RSI(price, 7), Rsi(7, source).compute(GBP)["value"])


@pytest.mark.parametrize("length", [2, 14, 100])
def test_wilders_indicators_are_those_of_talib(length: int) -> None:
    same(talib.RSI(CLOSE, length), Rsi(length).compute(GBP)["value"])
    same(talib.ATR(HIGH, LOW, CLOSE, length), Atr(length).compute(GBP)["value"])


@pytest.mark.parametrize("length", [5, 14])
def test_adx_is_that_of_talib_once_the_seed_is_forgotten(length: int) -> None:
    columns = Adx(length).compute(GBP)

    # Wilder's average keeps (1 - 1/n)^k of its seed: below 1e-13 of it after 32 n bars; the index is smoothed twice.
    forgotten = 80 * length
    same(talib.PLUS_DI(HIGH, LOW, CLOSE, length), columns["plus_di"], forgotten)
    same(talib.MINUS_DI(HIGH, LOW, CLOSE, length), columns["minus_di"], forgotten)
    same(talib.ADX(HIGH, LOW, CLOSE, length), columns["value"], forgotten)


@pytest.mark.parametrize("lengths", [(12, 26, 9), (3, 10, 16)])
def test_macd_is_that_of_talib_once_the_seed_is_forgotten(lengths: tuple[int, int, int]) -> None:
    fast, slow, signal = lengths
    columns = Macd(fast, slow, signal).compute(GBP)

    expected = talib.MACD(CLOSE, fast, slow, signal)

    # An exponential average keeps (1 - 2/(n+1))^k of its seed: below 1e-17 of a price after 20 (n+1) bars.
    forgotten = 20 * (max(lengths) + 1)
    for name, line in zip(("value", "signal", "histogram"), expected, strict=True):
        same(line, columns[name], forgotten)


@pytest.mark.parametrize(("length", "width"), [(2, 1.0), (20, 2.0), (100, 2.5)])
def test_bollinger_bands_are_those_of_talib(length: int, width: float) -> None:
    columns = Bollinger(length, width).compute(GBP)

    upper, middle, lower = talib.BBANDS(CLOSE, length, width, width)

    for name, line in (("upper", upper), ("value", middle), ("lower", lower)):
        same(line, columns[name])


@pytest.mark.parametrize("lengths", [(14, 3, 3), (5, 1, 4), (30, 10, 2)])
def test_stochastic_is_that_of_talib(lengths: tuple[int, int, int]) -> None:
    length, smooth, signal = lengths
    columns = Stochastic(length, smooth, signal).compute(GBP)

    slow, d = talib.STOCH(HIGH, LOW, CLOSE, length, smooth, 0, signal, 0)

    both = length + smooth + signal - 3  # TA-Lib hides %K until %D is there
    np.testing.assert_allclose(columns["value"][both:], slow[both:], rtol=RELATIVE, atol=1e-9)
    np.testing.assert_allclose(columns["d"], d, rtol=RELATIVE, atol=1e-9, equal_nan=True)
    assert both - signal + 1 == np.flatnonzero(np.isfinite(columns["value"]))[0]


@pytest.mark.parametrize("length", [2, 20, 55])
def test_donchian_channel_is_the_extremes_of_talib(length: int) -> None:
    columns = Donchian(length).compute(GBP)

    np.testing.assert_array_equal(columns["upper"], talib.MAX(HIGH, length))
    np.testing.assert_array_equal(columns["lower"], talib.MIN(LOW, length))
    same(talib.MIDPRICE(HIGH, LOW, length), columns["value"])


@pytest.mark.parametrize("length", [2, 24, 250])
def test_vwap_is_the_quotient_of_the_sums_of_talib(length: int) -> None:
    typical = talib.TYPPRICE(HIGH, LOW, CLOSE)

    expected = talib.SUM(typical * VOLUME, length) / talib.SUM(VOLUME, length)

    same(expected, Vwap(length).compute(GBP)["value"])


def test_flat_prices_give_what_talib_gives() -> None:
    flat = np.full(60, 1.25)
    time = np.arange(1, 61)
    bars = BarSeries("X", 1, time, flat, flat, flat, flat, flat)

    np.testing.assert_array_equal(Rsi(5).compute(bars)["value"], talib.RSI(flat, 5))
    np.testing.assert_array_equal(Atr(5).compute(bars)["value"], talib.ATR(flat, flat, flat, 5))
    np.testing.assert_array_equal(Adx(5).compute(bars)["value"], talib.ADX(flat, flat, flat, 5))
    np.testing.assert_array_equal(Stochastic(5, 2, 2).compute(bars)["d"], talib.STOCH(flat, flat, flat, 5, 2, 0, 2, 0)[1])
