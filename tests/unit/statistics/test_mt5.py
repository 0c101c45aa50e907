"""The tester's report of an account of seven trades, every figure worked out by hand or by the standard library."""

from __future__ import annotations

import math
import statistics as stdlib

import numpy as np
import pytest

from herald.clock import HOUR
from herald.model import BarSeries, Fill, Side
from herald.statistics import LABELS, MT5_LINES, mt5_report, summary
from tests.runs import MONDAY, make_result, make_trade

# Deposit 1000. Balance after each trade: 900, 950, 1200, 1500, 1380, 1360, 1450.
NET = [-100.0, 50.0, 250.0, 300.0, -120.0, -20.0, 90.0]
BALANCE = [900.0, 950.0, 1200.0, 1500.0, 1380.0, 1360.0, 1450.0]
EQUITY = [880.0, 960.0, 1200.0, 1520.0, 1370.0, 1300.0, 1450.0]
EXPOSURE = [1000.0, 0.0, 4000.0, 8000.0, 0.0, 2000.0, 0.0]
SIDES = [Side.SELL, Side.BUY, Side.BUY, Side.SELL, Side.BUY, Side.SELL, Side.BUY]
HELD = [2, 1, 3, 1, 1, 1, 5]  # hours, until the end of the day's only bar
# Each trade has ten units from 100; the bar's extremes give what was open at best and at worst, in money.
HIGH = [112.0, 106.0, 130.0, 101.0, 103.0, 104.0, 110.0]
LOW = [98.0, 99.0, 97.0, 68.0, 85.0, 99.0, 96.0]
MFE = [20.0, 60.0, 300.0, 320.0, 30.0, 10.0, 100.0]
MAE = [-120.0, -10.0, -30.0, -10.0, -150.0, -40.0, -40.0]


def report() -> dict[str, str]:
    ends = MONDAY + 24 * HOUR * np.arange(1, 8, dtype=np.int64)
    flat = np.full(7, 100.0)
    trades = [
        make_trade(net, side=side, size=10.0, entry=24 * day - held, leave=24 * day)
        for day, (net, side, held) in enumerate(zip(NET, SIDES, HELD, strict=True), 1)
    ]
    result = make_result(
        EQUITY, cash=1000.0, trades=trades, hours=range(24, 192, 24), balance=np.array(BALANCE), exposure=EXPOSURE, leverage=10.0,
        bars=BarSeries("TEST", HOUR, ends, flat, np.array(HIGH), np.array(LOW), flat),
        fills=tuple(Fill(str(i), "trend-000001", "TEST", Side.BUY, 10.0, 100.0, 0.0, "USD", MONDAY) for i in range(14)),
    )  # fmt: skip
    return {line.name: text for line, text in mt5_report(summary(result))}


RETURNS = [after / before - 1 for before, after in zip([1000.0, *EQUITY], EQUITY, strict=False)]
# Trades won and lost in a row: 1 lost, 3 won, 2 lost, 1 won: R = 4, N = 7, P = 2 * 4 * 3 = 24.
Z = (7 * 3.5 - 24) / math.sqrt(24 * 17 / 6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("History Quality", "100.00 %"),  # one bar a day, and one fits between the first and the last
        ("Bars", "7"),
        ("Ticks", "-"),
        ("Symbols", "1"),
        ("Initial Deposit", "1,000.00"),
        ("Withdrawal", "-"),
        ("Total Net Profit", "450.00"),  # 690 - 240
        ("Gross Profit", "690.00"),  # 50 + 250 + 300 + 90
        ("Gross Loss", "-240.00"),  # 100 + 120 + 20
        ("Balance Drawdown Absolute", "100.00"),  # 1000 - 900
        ("Balance Drawdown Maximal", "140.00 (9.33 %)"),  # 1500 -> 1360, 140 / 1500
        ("Balance Drawdown Relative", "10.00 % (100.00)"),  # 1000 -> 900
        ("Equity Drawdown Absolute", "120.00"),  # 1000 - 880
        ("Equity Drawdown Maximal", "220.00 (14.47 %)"),  # 1520 -> 1300, 220 / 1520
        ("Equity Drawdown Relative", "14.47 % (220.00)"),
        ("Profit Factor", "2.8750"),  # 690 / 240
        ("Recovery Factor", "3.2143"),  # 450 / 140
        # 0.9, 95/90, 120/95, 1.25, 0.92, 136/138, 145/136: sum 7.44040 over 7.
        ("AHPR", "1.0629 (6.29 %)"),
        ("GHPR", "1.0545 (5.45 %)"),  # exp(ln(1.45) / 7) = exp(0.0530805)
        ("Expected Payoff", "64.29"),  # 450 / 7
        ("Sharpe Ratio", f"{stdlib.mean(RETURNS) / stdlib.stdev(RETURNS) * math.sqrt(365.25):.4f}"),  # a trade on every day
        # Deviations of 0..7 from 3.5 and of 1000, 900 ... from 1217.5: sums of products 42, 3520 and 400,550.
        ("LR Correlation", "0.8582"),  # 3520 / sqrt(42 * 400550)
        ("LR Standard Error", "132.63"),  # sqrt((400550 - 3520 ** 2 / 42) / 6)
        ("Margin Level", "190.00 %"),  # 1520 over 8000 / 10
        ("Z-Score", f"0.0606 ({(2 * stdlib.NormalDist().cdf(Z) - 1) * 100:.2f} %)"),  # 0.5 / sqrt(68)
        ("OnTester Result", "-"),
        ("Total Trades", "7"),
        ("Total Deals", "14"),
        ("Short Trades (won %)", "3 (33.33 %)"),  # the first, fourth and sixth; the fourth won
        ("Long Trades (won %)", "4 (75.00 %)"),
        ("Profit Trades (% of total)", "4 (57.14 %)"),
        ("Loss Trades (% of total)", "3 (42.86 %)"),
        ("Largest Profit Trade", "300.00"),
        ("Largest Loss Trade", "-120.00"),
        ("Average Profit Trade", "172.50"),  # 690 / 4
        ("Average Loss Trade", "-80.00"),  # 240 / 3
        ("Maximum consecutive wins ($)", "3 (600.00)"),  # 50 + 250 + 300
        ("Maximum consecutive losses ($)", "2 (-140.00)"),  # 120 + 20
        ("Maximal consecutive profit (count)", "600.00 (3)"),
        ("Maximal consecutive loss (count)", "-140.00 (2)"),
        ("Average consecutive wins", "2.0000"),  # (3 + 1) / 2
        ("Average consecutive losses", "1.5000"),  # (1 + 2) / 2
        ("Correlation (Profits,MFE)", f"{stdlib.correlation(NET, MFE):.4f}"),
        ("Correlation (Profits,MAE)", f"{stdlib.correlation(NET, MAE):.4f}"),
        ("Correlation (MFE,MAE)", f"{stdlib.correlation(MFE, MAE):.4f}"),
        ("Minimal position holding time", "1 h"),
        ("Maximal position holding time", "5 h"),
        ("Average position holding time", "2 h"),  # 14 hours in 7 trades
    ],
)
def test_a_line_of_the_tester(name: str, expected: str) -> None:
    assert expected == report()[name]


def test_every_line_of_the_tester_has_a_test_above_and_none_is_there_twice() -> None:
    (mark,) = test_a_line_of_the_tester.pytestmark  # type: ignore[attr-defined]

    assert [line.name for line in MT5_LINES] == [name for name, _ in mark.args[1]] == list(report())


def test_the_richest_series_need_not_be_the_longest() -> None:
    # Won 10, 10, 10 in a row and 50 alone; lost 5, 5 in a row and 40 alone.
    net = [10.0, 10.0, 10.0, -40.0, 50.0, -5.0, -5.0]
    found = {
        line.name: text
        for line, text in mt5_report(
            summary(make_result([100.0] * 7, trades=[make_trade(each, entry=i, leave=i + 1) for i, each in enumerate(net)]))
        )
    }

    assert "3 (30.00)" == found["Maximum consecutive wins ($)"]
    assert "50.00 (1)" == found["Maximal consecutive profit (count)"]
    assert "2 (-10.00)" == found["Maximum consecutive losses ($)"]
    assert "-40.00 (1)" == found["Maximal consecutive loss (count)"]


def test_a_run_without_a_trade_defines_no_mean_and_no_ratio() -> None:
    found = {line.name: text for line, text in mt5_report(summary(make_result([100.0, 100.0])))}

    for name in ("Profit Factor", "AHPR", "GHPR", "Z-Score", "Expected Payoff", "LR Correlation", "Margin Level"):
        assert "-" == found[name]
    assert ("0", "0 (-)") == (found["Total Trades"], found["Profit Trades (% of total)"])


def test_a_run_without_a_loss_has_profit_factors_without_bound() -> None:
    found = {line.name: text for line, text in mt5_report(summary(make_result([110.0], trades=[make_trade(10.0)])))}

    assert ("∞", "∞") == (found["Profit Factor"], found["Recovery Factor"])


def test_every_line_says_what_it_means_and_shows_statistics_that_exist() -> None:
    assert all(line.meaning for line in MT5_LINES)
    assert {key for line in MT5_LINES for key in line.keys} <= set(LABELS)
    assert all(line.differs for line in MT5_LINES if not line.keys)
