"""Sizes worked out by hand."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from herald.contracts import Intent, Sizer
from herald.errors import OrderError
from herald.model import Side
from herald.plugins.sizing import herald_sizers
from herald.testing import FakeRiskView, make_bars, make_instrument, make_services

COMPONENTS = {component.name: component for component in herald_sizers()}


def build(name: str, **settings: Any) -> Sizer:
    component = COMPONENTS[name]
    return component.build(component.settings(**settings), make_services())


def intent(side: Side = Side.BUY, price: float = 100.0, stop_loss: float | None = None) -> Intent:
    return Intent("trend", "TEST", side, price, stop_loss)


FX = make_instrument(base="GBP", contract_size=100_000.0)


def test_fixed_is_always_the_same() -> None:
    assert build("fixed", size=0.3).size(intent(), FakeRiskView(equity=1.0)) == 0.3


def test_percent_equity_buys_for_that_part_of_the_equity() -> None:
    # 0.5 x 10,000 / 100 = 50 units
    assert build("percent_equity", fraction=0.5).size(intent(), FakeRiskView()) == pytest.approx(50.0, rel=1e-12)


def test_percent_equity_counts_leverage_contract_and_rate() -> None:
    # 0.5 x 10 x 10,000 = 50,000; one lot is 100,000 x 1.25 x 0.8 = 100,000
    view = FakeRiskView(instruments=[FX], rates={"TEST": 0.8})

    assert build("percent_equity", fraction=0.5, leverage=10).size(intent(price=1.25), view) == pytest.approx(0.5, rel=1e-12)


def test_percent_equity_of_a_lost_account_is_nothing() -> None:
    assert build("percent_equity", fraction=0.5).size(intent(), FakeRiskView(equity=-1.0)) == 0.0


def test_percent_equity_needs_a_price() -> None:
    with pytest.raises(OrderError, match="one lot of TEST cannot be valued at price nan; wait for its first bar"):
        build("percent_equity", fraction=0.5).size(intent(price=math.nan), FakeRiskView())


@pytest.mark.parametrize(("side", "stop"), [(Side.BUY, 1.2450), (Side.SELL, 1.2550)])
def test_percent_risk_loses_that_part_at_the_stop(side: Side, stop: float) -> None:
    # 0.01 x 10,000 = 100 to lose; one lot loses 0.005 x 100,000 = 500
    view = FakeRiskView(instruments=[FX])

    assert build("percent_risk", fraction=0.01).size(intent(side, 1.25, stop), view) == pytest.approx(0.2, rel=1e-9)


def test_percent_risk_states_the_loss_in_account_currency() -> None:
    view = FakeRiskView(instruments=[FX], rates={"TEST": 0.5})

    assert build("percent_risk", fraction=0.01).size(intent(Side.BUY, 1.25, 1.2450), view) == pytest.approx(0.4, rel=1e-9)


def test_percent_risk_falls_back_on_points() -> None:
    # 200 points of 0.00001 = 0.002; one lot loses 200
    view = FakeRiskView(instruments=[FX])

    assert build("percent_risk", fraction=0.01, stop_points=200).size(intent(price=1.25), view) == pytest.approx(0.5, rel=1e-9)


def test_percent_risk_prefers_the_stated_stop() -> None:
    sizer = build("percent_risk", fraction=0.01, stop_points=1)

    assert sizer.size(intent(stop_loss=90.0), FakeRiskView()) == pytest.approx(10.0, rel=1e-12)


def test_percent_risk_falls_back_on_the_average_true_range() -> None:
    # every bar reaches 1 above and below a constant close: the range is 2 everywhere, so 3 ranges are 6
    bars = make_bars([(100.0, 101.0, 99.0, 100.0)] * 40)
    view = FakeRiskView(series=[bars])

    sizer = build("percent_risk", fraction=0.06, stop_atr=3, atr_length=14)

    assert sizer.size(intent(), view) == pytest.approx(600 / 6, rel=1e-9)


def test_percent_risk_without_any_stop_says_what_to_do() -> None:
    with pytest.raises(OrderError, match="needs a stop loss for TEST; state stop_loss with the order, or set stop_points"):
        build("percent_risk", fraction=0.01).size(intent(), FakeRiskView())


@pytest.mark.parametrize(("side", "stop"), [(Side.BUY, 100.0), (Side.BUY, 101.0), (Side.SELL, 99.0)])
def test_percent_risk_refuses_a_stop_on_the_wrong_side(side: Side, stop: float) -> None:
    with pytest.raises(OrderError, match="is not on the losing side"):
        build("percent_risk", fraction=0.01).size(intent(side, 100.0, stop), FakeRiskView())


def test_percent_risk_refuses_a_range_that_is_not_known_yet() -> None:
    view = FakeRiskView(series=[make_bars([100.0] * 5)])

    with pytest.raises(OrderError, match=r"ATR\(14\) of TEST needs more than 5 bars; return more from warmup"):
        build("percent_risk", fraction=0.01, stop_atr=2).size(intent(), view)


def test_percent_risk_takes_one_fallback() -> None:
    with pytest.raises(ValidationError, match="stop_points and stop_atr exclude each other"):
        COMPONENTS["percent_risk"].settings(fraction=0.01, stop_points=1, stop_atr=1)


def test_volatility_target_gives_the_position_that_volatility() -> None:
    closes = [100.0, 102.0, 101.0, 103.0, 100.0, 104.0]
    view = FakeRiskView(series=[make_bars(closes, timeframe="1d")])
    returns = [after / before - 1 for before, after in pairwise(closes)]
    yearly = statistics.stdev(returns) * math.sqrt(365.25)  # daily bars without gaps

    size = build("volatility_target", annual_volatility=0.2, lookback=5).size(intent(), view)

    assert size * 100.0 * yearly == pytest.approx(0.2 * 10_000, rel=1e-9)


def test_volatility_target_counts_the_bars_of_a_year_from_their_spacing() -> None:
    closes = [100.0, 102.0, 101.0, 103.0, 100.0, 104.0]
    sizes = [
        build("volatility_target", annual_volatility=0.2, lookback=5).size(
            intent(), FakeRiskView(series=[make_bars(closes, timeframe=timeframe)])
        )
        for timeframe in ("1h", "4h")
    ]

    assert sizes[1] / sizes[0] == pytest.approx(2.0, rel=1e-9)  # a fourth of the bars, half the volatility


def test_volatility_target_keeps_below_its_leverage() -> None:
    view = FakeRiskView(series=[make_bars([100.0, 100.001, 100.0, 100.001, 100.0])])

    size = build("volatility_target", annual_volatility=0.2, lookback=4, max_leverage=3).size(intent(), view)

    assert size == pytest.approx(300.0, rel=1e-12)  # 3 x 10,000 / 100


def test_volatility_target_needs_its_bars() -> None:
    view = FakeRiskView(series=[make_bars([100.0, 101.0])])

    with pytest.raises(OrderError, match="needs 3 bars of TEST and 2 are known; return more from warmup"):
        build("volatility_target", annual_volatility=0.2, lookback=2).size(intent(), view)


def test_volatility_target_refuses_a_price_that_does_not_move() -> None:
    view = FakeRiskView(series=[make_bars([100.0] * 10)])

    with pytest.raises(OrderError, match="do not vary"):
        build("volatility_target", annual_volatility=0.2, lookback=5).size(intent(), view)
