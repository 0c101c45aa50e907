"""Every indicator against values that others have published for real prices."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from herald.indicators import Adx, Atr, Bollinger, Donchian, Ema, Indicator, Macd, Rsi, Sma, Stochastic, Supertrend
from herald.model import BarSeries
from herald.testing import make_bars

DATA = Path(__file__).parents[2] / "data"

TOLERANCE = 1e-6
"""Stated by the reference case DEV-IND-01; the file itself has 10 decimals."""


def rows() -> list[dict[str, str]]:
    with gzip.open(DATA / "indicators_SPY_502.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


ROWS = rows()
SPY = make_bars(
    [[float(row[name]) for name in ("open", "high", "low", "close", "volume")] for row in ROWS],
    symbol="SPY",
    timeframe="1d",
    start="2017-01-03",
)

# (column of the file, indicator, output): the values were computed in Excel by the Stock.Indicators project.
COLUMNS: list[tuple[str, Callable[[], Indicator], str]] = [
    ("sma20", lambda: Sma(20), "value"),
    ("ema20", lambda: Ema(20), "value"),
    ("rsi14", lambda: Rsi(14), "value"),
    ("tr", lambda: Atr(1), "value"),
    ("atr14", lambda: Atr(14), "value"),
    ("macd", Macd, "value"),
    ("macd_signal", Macd, "signal"),
    ("macd_hist", Macd, "histogram"),
    ("bb20_sma", lambda: Bollinger(20), "value"),
    ("bb20_upper", lambda: Bollinger(20), "upper"),
    ("bb20_lower", lambda: Bollinger(20), "lower"),
    ("stoch_k", Stochastic, "value"),
    ("stoch_d", Stochastic, "d"),
    ("pdi14", lambda: Adx(14), "plus_di"),
    ("mdi14", lambda: Adx(14), "minus_di"),
    ("adx14", lambda: Adx(14), "value"),
]

# DEV-IND-01 names single places; null there is NaN here.
SPOTS = [
    (19, {"sma20": 214.525, "ema20": 214.525, "rsi14": 56.207768, "atr14": 1.354733, "macd": None, "macd_signal": None}),
    (19, {"bb20_upper": 216.588749, "bb20_lower": 212.461251}),
    (50, {"sma20": 224.086, "ema20": 223.439657, "rsi14": 64.362585, "atr14": 1.354638}),
    (50, {"macd": 1.682685, "macd_signal": 1.910566, "bb20_upper": 226.353875, "bb20_lower": 221.818125}),
    (249, {"sma20": 255.55, "ema20": 255.387264, "rsi14": 70.936837, "atr14": 1.338074}),
    (249, {"macd": 2.235256, "macd_signal": 2.314107, "bb20_upper": 259.564175, "bb20_lower": 251.535825}),
    (501, {"sma20": 251.86, "ema20": 249.351897, "rsi14": 42.077324, "atr14": 6.149748}),
    (501, {"macd": -6.21977, "macd_signal": -5.856892, "bb20_upper": 273.700423, "bb20_lower": 230.019577}),
]


@pytest.mark.parametrize(("column", "make", "output"), COLUMNS, ids=[column for column, _, _ in COLUMNS])
def test_every_value_of_the_excel_sheets_is_met(column: str, make: Callable[[], Indicator], output: str) -> None:
    expected = np.array([float(row[column]) if row[column] else math.nan for row in ROWS])

    actual = make().compute(SPY)[output]

    assert np.isfinite(expected).sum() > 460
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE, equal_nan=True)


def test_deviation_is_that_of_the_population() -> None:
    expected = np.array([float(row["stddev10"]) if row["stddev10"] else math.nan for row in ROWS])

    bands = Bollinger(10, 1.0).compute(SPY)

    np.testing.assert_allclose(bands["upper"] - bands["value"], expected, rtol=0, atol=TOLERANCE, equal_nan=True)


@pytest.mark.parametrize(("index", "values"), SPOTS)
def test_spots_of_the_reference_case_are_met(index: int, values: dict[str, float | None]) -> None:
    sources = {column: (make, output) for column, make, output in COLUMNS}

    for column, expected in values.items():
        make, output = sources[column]
        actual = make().compute(SPY)[output][index]
        assert math.isnan(actual) if expected is None else actual == pytest.approx(expected, abs=TOLERANCE), column


# tests/indicators/s-z/SuperTrend/SuperTrend.Tests.cs of Stock.Indicators, on the same prices, with (14, 3).
@pytest.mark.parametrize(
    ("index", "line", "direction"),
    [(14, 210.6157, 1.0), (151, 232.8520, 1.0), (152, 237.6436, -1.0), (249, 253.8008, 1.0), (501, 250.7954, -1.0)],
)
def test_supertrend_of_stock_indicators_is_met(index: int, line: float, direction: float) -> None:
    columns = Supertrend(14, 3.0).compute(SPY)

    assert columns["value"][index] == pytest.approx(line, abs=5e-5)  # published with four decimals
    assert direction == columns["direction"][index]
    assert 488 == np.isfinite(columns["value"]).sum()


# tests/indicators/a-d/Donchian/Donchian.Tests.cs, with 20 bars *before* the one it stands at: one place later than here.
@pytest.mark.parametrize(
    ("index", "upper", "lower"),
    [(20, 217.02, 211.52), (249, 258.70, 249.87), (485, 274.39, 256.68), (501, 273.59, 229.42)],
)
def test_donchian_channel_of_stock_indicators_is_met_one_bar_earlier(index: int, upper: float, lower: float) -> None:
    columns = Donchian(20).compute(SPY)

    assert columns["upper"][index - 1] == pytest.approx(upper, abs=5e-5)
    assert columns["lower"][index - 1] == pytest.approx(lower, abs=5e-5)


def test_bands_of_the_stockcharts_sheet_are_met() -> None:
    with (DATA / "stockcharts_bbands.csv").open(encoding="utf-8", newline="") as file:
        sheet = list(csv.DictReader(file))
    bars = make_bars([float(row["Close"]) for row in sheet])

    columns = Bollinger(20, 2.0).compute(bars)

    for name, column in (("value", "MiddleBand"), ("upper", "HighBand"), ("lower", "LowBand")):
        expected = [float(row[column]) if row[column] else math.nan for row in sheet]
        # The sheet rounds prices and deviation to six decimals.
        np.testing.assert_allclose(columns[name], expected, rtol=0, atol=3e-6, equal_nan=True)


def test_reference_prices_are_the_ones_expected() -> None:
    assert isinstance(SPY, BarSeries)
    assert 502 == len(SPY)
    assert (212.61, 213.35, 211.52, 212.80) == (SPY.open[0], SPY.high[0], SPY.low[0], SPY.close[0])
