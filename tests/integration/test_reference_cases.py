"""Backtests whose right answers others have published (backtrader's own tests, reproduced by an independent simulator).

The prices are GPL data that may not be copied into this project; they are read from ``../shared`` where that exists.
`WHERE` says which test meets each case of the collection. Every case can be expressed, and only one figure is met in other
words: backtrader takes the margin of an open futures contract out of *cash*, which in Herald is the free margin.
"""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from herald.clock import DAY, SimClock, format_time, parse_time
from herald.contracts import Context, Services, Strategy
from herald.indicators import Sma
from herald.model import Bar, BarSeries, Instrument, Timeframe
from herald.results import RunResult
from herald.runtime import StrategySetup, simulate
from herald.simulator.costs import Costs

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
PRICES = SHARED / "reference" / "backtrader_2006-day-001.csv"

needs_shared = pytest.mark.skipif(not PRICES.exists(), reason="the prices (GPL) are not part of the repository")


WHERE = {
    "DEV-IND-01": "tests/unit/indicators/test_published.py",
    "DEV-MET-01": "tests/unit/statistics/test_series.py",
    "DEV-BT-01": "tests/integration/test_reference_cases.py",
    "DEV-BT-02": "tests/integration/test_reference_cases.py",
    "DEV-DATA-01": "tests/unit/model/test_market.py",
}
"""The test that reproduces each case."""


class Cross(Strategy[None]):
    """Buy one when the close crosses above its 15-bar mean, close when it crosses below; the first mean only sets the sign."""

    def warmup(self) -> int:
        return 15

    def on_start(self, ctx: Context) -> None:
        self.mean = ctx.indicator(Sma(15), "INDEX")
        self.sign = 0

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        distance = bar.close - self.mean.value
        sign = (distance > 0) - (distance < 0)
        if sign and self.sign and sign != self.sign:
            if sign > 0 and ctx.position("INDEX").size == 0:
                ctx.buy("INDEX", 1)
            elif sign < 0:
                ctx.close("INDEX")
        self.sign = sign or self.sign


def case(name: str) -> dict[str, Any]:
    cases = json.loads((SHARED / "reference" / "cases_dev.json").read_text(encoding="utf-8"))["cases"]
    return next(one for one in cases if one["id"] == name)


def run(costs: Costs, **terms: Any) -> RunResult:
    with PRICES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    time = np.array([parse_time(row["Date"]) + DAY for row in rows])
    columns = (np.array([float(row[name]) for row in rows]) for name in ("Open", "High", "Low", "Close"))
    series = BarSeries("INDEX", DAY, time, *columns)
    assert 255 == len(series)
    values: dict[str, Any] = {"quote": "USD", "price_step": 0.01, "size_step": 1, "min_size": 1} | terms
    setup = StrategySetup("cross", Cross(None, Services("cross", SimClock(), random.Random(0))), ("INDEX",), (Timeframe(86_400),))
    instrument = Instrument(symbol="INDEX", **values)
    return simulate([setup], [series], {"INDEX": instrument}, cash=10_000.0, leverage=1.0, costs=costs, on_stop="leave")


@needs_shared
def test_stock_like() -> None:
    expected = case("DEV-BT-01")["expected"]

    result = run(Costs())

    fills = [{"date": format_time(fill.time)[:10], "side": fill.side.name, "price": fill.price} for fill in result.fills]
    assert expected["fills"] == fills
    assert expected["final_equity"] == pytest.approx(result.account["equity"], abs=1e-9)
    assert expected["final_cash"] == pytest.approx(result.account["cash"], abs=1e-9)
    assert expected["open_position_at_end"] == result.positions[0][1].size
    assert expected["final_equity"] == pytest.approx(result.equity.equity[-1], abs=1e-9)


@needs_shared
def test_futures_like() -> None:
    expected = case("DEV-BT-02")["expected"]

    result = run(Costs(commission_per_lot=2.0), contract_size=10.0, margin=1_000.0)

    assert 23 == len(result.fills)
    assert expected["final_equity"] == pytest.approx(result.account["equity"], abs=1e-9)
    # There, the margin of the open contract is taken from cash and profit is paid in daily: what Herald calls free margin.
    assert expected["final_cash"] == pytest.approx(result.account["margin_free"], abs=1e-9)


@needs_shared
def test_every_case_of_the_collection_is_met_somewhere() -> None:
    cases = json.loads((SHARED / "reference" / "cases_dev.json").read_text(encoding="utf-8"))["cases"]

    assert set(WHERE) == {one["id"] for one in cases}
    assert [] == [file for file in WHERE.values() if not (ROOT / file).is_file()]


@needs_shared
def test_the_copy_of_the_metrics_is_the_case_itself() -> None:
    copy = json.loads((ROOT / "tests" / "data" / "empyrical_metrics.json").read_text(encoding="utf-8"))

    assert case("DEV-MET-01") == copy
