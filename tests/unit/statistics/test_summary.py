"""The table of all numbers, from runs small enough to follow by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from herald.clock import DAY
from herald.model import BarSeries, Side
from herald.statistics import GROUPS, LABELS, summary
from tests.runs import MONDAY, make_bars, make_full_result, make_result, make_trade, run_flip


def test_every_key_has_a_label_a_known_group_and_a_formula_in_the_same_order() -> None:
    found = summary(make_full_result())

    assert list(LABELS) == list(found)
    assert set(GROUPS) == {label.group for label in LABELS.values()}
    assert all(label.label and label.formula for label in LABELS.values())


def test_a_run_of_two_days_by_hand() -> None:
    # 100 -> 110 on Monday, 110 -> 99 on Tuesday.
    found = summary(make_result([105.0, 110.0, 120.0, 99.0], hours=[1, 24, 30, 48]))

    assert "2024-01-01T00:00:00Z" == found["start"]
    assert "2024-01-03T00:00:00Z" == found["end"]
    assert 172_800.0 == found["duration_seconds"]
    assert 2 == found["days"]
    assert 365.25 == found["periods_per_year"]
    assert pytest.approx(-0.01) == found["total_return"]
    assert (99.0, 120.0) == (found["final_equity"], found["equity_peak"])
    assert pytest.approx(-21 / 120) == found["max_drawdown"]
    assert pytest.approx(18 * 3600.0) == found["max_drawdown_duration_seconds"]
    # Daily returns +0.1 and -0.1: mean 0, sample deviation 0.1 * sqrt(2).
    assert pytest.approx(0.0, abs=1e-12) == found["sharpe"]
    assert pytest.approx(0.1 * math.sqrt(2) * math.sqrt(365.25)) == found["annual_volatility"]
    assert pytest.approx(0.99 ** (365.25 / 2) - 1) == found["annual_return"]
    assert pytest.approx(0.99 ** (365.25 / 2) - 1) == found["cagr"]
    assert (0.5, 0.1, -0.1) == pytest.approx((found["winning_days"], found["best_day"], found["worst_day"]))
    assert (1.0, 21.0) == (found["equity_drawdown_absolute"], found["equity_drawdown_maximal"])


def test_a_fall_from_the_first_bar_on_counts_as_drawdown() -> None:
    assert pytest.approx(-0.1) == summary(make_result([90.0, 95.0]))["max_drawdown"]


def test_trades_by_hand() -> None:
    trades = [
        make_trade(30.0, entry=0, leave=2, fees=1.0),
        make_trade(-10.0, entry=2, leave=3, side=Side.SELL),
        make_trade(20.0, entry=3, leave=9, side=Side.SELL),
    ]

    found = summary(make_result([130.0, 120.0, 140.0], trades=trades))

    assert (40.0, 50.0, -10.0) == (found["total_net_profit"], found["gross_profit"], found["gross_loss"])
    assert (3, 2, 1) == (found["total_trades"], found["profit_trades"], found["loss_trades"])
    assert (1, 1.0, 2, 0.5) == tuple(found[key] for key in ("long_trades", "long_trades_won", "short_trades", "short_trades_won"))
    assert (5.0, 2.5) == (found["profit_factor"], found["payoff_ratio"])
    assert (30.0, -10.0, 25.0, -10.0) == tuple(
        found[f"{which}_{kind}_trade"] for which in ("largest", "average") for kind in ("profit", "loss")
    )
    assert (3_600.0, 21_600.0, 10_800.0) == tuple(found[f"{which}_holding_seconds"] for which in ("min", "max", "average"))
    assert pytest.approx(40 / 3) == found["expected_payoff"]
    # 0.3, -0.1 and 0.2 of the notional of 100 at entry.
    assert pytest.approx(0.4 / 3) == found["expectancy"]
    assert pytest.approx((1.3 * 0.9 * 1.2) ** (1 / 3) - 1) == found["average_trade"]
    # Balance falls from 130 to 120: 10 of money.
    assert pytest.approx(4.0) == found["recovery_factor"]


def test_exposure_and_margin_by_hand() -> None:
    # In the market at two of four bar ends; margin is exposure / 10: 10 and 20 on equity 100 and 90.
    found = summary(make_result([100.0, 100.0, 90.0, 90.0], exposure=[0.0, 100.0, 200.0, 0.0], leverage=10.0))

    assert 0.5 == found["exposure_time"]
    assert 4.5 == found["margin_level"]


def test_history_quality_is_the_share_of_bars_that_are_there_within_each_day() -> None:
    # Monday 01:00 to 04:00 without 03:00: three of four. Tuesday 01:00 to 02:00: two of two. The night is no gap.
    found = summary(make_result([100.0] * 5, hours=[1, 2, 4, 25, 26]))

    assert pytest.approx(5 / 6) == found["history_quality"]


def test_daily_bars_have_no_gaps_within_a_day() -> None:
    time = MONDAY + DAY * np.array([1, 2, 5])
    one = np.ones(3)

    assert 1.0 == summary(make_result([1.0] * 3, bars=BarSeries("TEST", DAY, time, one, one, one, one)))["history_quality"]


def test_buy_and_hold_is_from_the_first_open_to_the_last_close() -> None:
    result = make_result([100.0, 100.0], bars=make_bars([(50, 60, 50, 60), (60, 80, 60, 75)]))

    assert 0.5 == summary(result)["buy_and_hold_return"]


def test_buy_and_hold_of_several_symbols_is_their_mean() -> None:
    up, down = make_bars([(100, 150, 100, 150)], "UP"), make_bars([(100, 100, 90, 90)], "DOWN")
    result = replace(make_result([100.0], bars=up), market={"UP": up, "DOWN": down})

    # +50 % and -10 %.
    assert pytest.approx(0.2) == summary(result)["buy_and_hold_return"]


def test_a_strategy_that_is_the_market_has_beta_one_and_no_alpha() -> None:
    closes = 100 + np.random.default_rng(1).normal(0, 1, 40).cumsum()
    time = MONDAY + DAY * np.arange(1, 41)
    opens = np.concatenate(([100.0], closes[:-1]))
    bars = BarSeries("TEST", DAY, time, opens, np.maximum(opens, closes), np.minimum(opens, closes), closes)

    found = summary(make_result(closes.tolist(), hours=[24 * (i + 1) for i in range(40)], bars=bars))

    assert pytest.approx(1.0) == found["beta"]
    assert pytest.approx(0.0, abs=1e-9) == found["alpha"]


def test_what_a_run_without_trades_does_not_define_is_none() -> None:
    found = summary(make_result([100.0, 100.0]))

    undefined = ("win_rate", "profit_factor", "expectancy", "sqn", "sharpe", "z_score", "ahpr", "lr_correlation", "margin_level")
    assert [None] * len(undefined) == [found[key] for key in undefined]
    assert (0, 0.0, 0.0) == (found["total_trades"], found["total_net_profit"], found["max_drawdown"])


def test_a_run_without_a_moment_has_a_summary() -> None:
    found = summary(make_result([]))

    assert (None, None, 0, 0) == (found["start"], found["end"], found["bars"], found["days"])
    assert 100.0 == found["final_equity"]


def test_a_ratio_over_no_loss_is_the_text_inf() -> None:
    assert "inf" == summary(make_result([110.0], trades=[make_trade(10.0)]))["profit_factor"]


@pytest.mark.parametrize(
    "result",
    [make_result([]), make_result([100.0]), make_result([0.0, -5.0]), make_result([110.0], trades=[make_trade(10.0)] * 3)],
    ids=["nothing", "one moment", "ruin", "only wins"],
)
def test_every_summary_is_plain_json(result: object) -> None:
    found = summary(result)  # type: ignore[arg-type]

    assert found == json.loads(json.dumps(found, allow_nan=False))


def test_a_run_through_the_engine_adds_up() -> None:
    result = run_flip(600)

    found = summary(result)

    profit = sum(trade.net for trade in result.trades)
    assert pytest.approx(profit) == found["total_net_profit"]
    assert pytest.approx(found["gross_profit"]) == found["total_net_profit"] - found["gross_loss"]  # type: ignore[operator]
    assert len(result.trades) == found["total_trades"] == found["long_trades"] + found["short_trades"]  # type: ignore[operator]
    assert len(result.fills) == found["total_deals"]
    assert pytest.approx(sum(fill.fee for fill in result.fills)) == found["commissions"]
    assert float(result.equity.equity[-1]) == found["final_equity"]
    # The largest open profit is at least the profit that was taken.
    assert found["average_mfe"] >= profit / len(result.trades)  # type: ignore[operator]
    assert found["average_mae"] <= 0  # type: ignore[operator]
