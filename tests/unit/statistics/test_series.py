"""Statistics of returns: the published values, an independent library, and the edges."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import empyrical
import numpy as np
import pytest

from herald.model import FloatArray
from herald.statistics import (
    alpha_beta,
    annual_return,
    annual_volatility,
    cagr,
    calmar,
    downside_risk,
    expected_shortfall,
    kurtosis,
    max_drawdown,
    omega,
    returns,
    sharpe,
    skew,
    sortino,
    tail_ratio,
    total_return,
    value_at_risk,
)

CASE = json.loads((Path(__file__).parents[2] / "data" / "empyrical_metrics.json").read_text(encoding="utf-8"))
TOLERANCE = CASE["tolerance"]


def column(name: str) -> FloatArray:
    return np.array([math.nan if value is None else value for value in CASE["series"][name]])


def compute(metric: str, args: dict[str, Any]) -> float | tuple[float, float]:
    series, periods = column(args["returns"]), args.get("periods", 252)
    match metric:
        case "max_drawdown":
            return max_drawdown(series)
        case "annual_return" | "annual_volatility" | "calmar":
            return {"annual_return": annual_return, "annual_volatility": annual_volatility, "calmar": calmar}[metric](
                series, periods
            )
        case "sharpe":
            return sharpe(series, column(args["risk_free"]) if "risk_free" in args else 0.0, periods)
        case "sortino":
            return sortino(series, 0.0, periods)
        case "downside_risk":
            return downside_risk(series, args.get("required", 0.0), periods)
        case "omega":
            return omega(series, args["required_annual"])
        case "alpha_beta":
            # "negative without its first value (aligned by date)"
            benchmark = column("negative")
            benchmark[0] = math.nan
            return alpha_beta(series, benchmark)
    raise AssertionError(f"the case has a metric this test does not know: {metric}")


@pytest.mark.parametrize("check", CASE["checks"], ids=[f"{n}-{each['metric']}" for n, each in enumerate(CASE["checks"])])
def test_published_values_are_reproduced(check: dict[str, Any]) -> None:
    expected = [float(value) for value in np.atleast_1d(check["expected"])]

    found = np.atleast_1d(compute(check["metric"], check["args"])).tolist()

    assert expected == pytest.approx(found, abs=TOLERANCE, rel=0)


RISK_FREE = 0.0001
PAIRS: dict[str, tuple[Callable[[FloatArray], float], Callable[[FloatArray], float]]] = {
    "total_return": (total_return, empyrical.cum_returns_final),
    "max_drawdown": (max_drawdown, empyrical.max_drawdown),
    "annual_return": (annual_return, empyrical.annual_return),
    "annual_volatility": (annual_volatility, empyrical.annual_volatility),
    "sharpe": (lambda r: sharpe(r, RISK_FREE), lambda r: empyrical.sharpe_ratio(r, RISK_FREE)),
    "sortino": (lambda r: sortino(r, RISK_FREE), lambda r: empyrical.sortino_ratio(r, RISK_FREE)),
    "downside_risk": (lambda r: downside_risk(r, RISK_FREE), lambda r: empyrical.downside_risk(r, RISK_FREE)),
    "calmar": (calmar, empyrical.calmar_ratio),
    "omega": (lambda r: omega(r, 0.05), lambda r: empyrical.omega_ratio(r, required_return=0.05)),
    "expected_shortfall": (expected_shortfall, empyrical.conditional_value_at_risk),
    "tail_ratio": (tail_ratio, empyrical.tail_ratio),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("seed", range(8))
def test_random_series_agree_with_empyrical(name: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    series = draw.normal(0.0003, 0.01, int(draw.integers(2, 400)))
    series[draw.random(len(series)) < (0.1 if seed % 2 else 0.0)] = math.nan
    ours, theirs = PAIRS[name]

    assert theirs(series) == pytest.approx(ours(series), rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(8))
def test_quantiles_and_moments_agree_with_empyrical_where_all_is_known(seed: int) -> None:
    from scipy import stats

    series = np.random.default_rng(seed).normal(0.0, 0.01, 50)

    assert empyrical.value_at_risk(series) == pytest.approx(value_at_risk(series), rel=1e-12)
    assert stats.skew(series) == pytest.approx(skew(series), rel=1e-9)
    assert stats.kurtosis(series) == pytest.approx(kurtosis(series), rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_alpha_and_beta_agree_with_empyrical(seed: int) -> None:
    draw = np.random.default_rng(seed)
    market = draw.normal(0.0, 0.01, 200)
    series = 0.5 * market + draw.normal(0.0, 0.005, 200)
    series[:3] = math.nan

    alpha, beta = alpha_beta(series, market, RISK_FREE)

    assert empyrical.beta_aligned(series, market, RISK_FREE) == pytest.approx(beta, rel=1e-9)
    assert empyrical.alpha_aligned(series, market, RISK_FREE) == pytest.approx(alpha, rel=1e-9)


def test_returns_are_the_growth_between_values() -> None:
    assert [0.1, -0.5] == pytest.approx(returns([100.0, 110.0, 55.0]).tolist())


def test_returns_after_a_lost_account_are_unknown() -> None:
    found = returns([100.0, -10.0, 50.0])

    assert pytest.approx(-1.1) == found[0]
    assert math.isnan(found[1])


def test_cagr_is_the_yearly_growth() -> None:
    # 100 to 121 in two years: 10 percent a year.
    assert pytest.approx(0.1) == cagr(100.0, 121.0, 2.0)


@pytest.mark.parametrize(("final", "expected"), [(0.0, -1.0), (-50.0, -1.0)])
def test_a_lost_account_has_a_growth_of_minus_one(final: float, expected: float) -> None:
    assert expected == cagr(100.0, final, 2.0)
    assert expected == annual_return(np.array([final / 100.0 - 1.0]), 252)


def test_cagr_over_no_time_is_undefined() -> None:
    assert math.isnan(cagr(100.0, 121.0, 0.0))


EVERY: dict[str, Callable[[FloatArray], float]] = {
    "annual_return": annual_return,
    "annual_volatility": annual_volatility,
    "calmar": calmar,
    "downside_risk": downside_risk,
    "expected_shortfall": expected_shortfall,
    "kurtosis": kurtosis,
    "max_drawdown": max_drawdown,
    "omega": omega,
    "sharpe": sharpe,
    "skew": skew,
    "sortino": sortino,
    "tail_ratio": tail_ratio,
    "value_at_risk": value_at_risk,
    "alpha": lambda r: alpha_beta(r, r)[0],
}


@pytest.mark.parametrize("name", EVERY)
def test_no_return_at_all_is_undefined(name: str) -> None:
    assert math.isnan(EVERY[name](np.zeros(0)))
    assert name in ("annual_return", "max_drawdown") or math.isnan(EVERY[name](np.full(3, math.nan)))


@pytest.mark.parametrize("name", ["sharpe", "sortino", "annual_volatility", "omega", "skew", "kurtosis", "alpha"])
def test_one_return_has_no_spread(name: str) -> None:
    assert math.isnan(EVERY[name](np.array([0.01])))


@pytest.mark.parametrize(("value", "expected"), [(0.01, math.inf), (-0.01, -math.inf)])
def test_sharpe_of_a_constant_return_is_infinite_with_its_sign(value: float, expected: float) -> None:
    assert expected == sharpe(np.full(7, value))


@pytest.mark.parametrize("name", ["sharpe", "sortino", "calmar", "omega", "tail_ratio", "skew", "kurtosis", "alpha"])
def test_ratios_of_an_account_that_never_moves_are_undefined(name: str) -> None:
    assert math.isnan(EVERY[name](np.zeros(9)))


def test_sortino_without_a_falling_return_is_infinite() -> None:
    assert math.inf == sortino(np.array([0.01, 0.02, 0.0]))


def test_omega_that_asks_for_ruin_is_undefined() -> None:
    assert math.isnan(omega(np.array([0.1, -0.1]), -1.0))


def test_growth_beyond_every_number_is_infinite() -> None:
    assert math.inf == annual_return(np.array([1e6]), 1e4)
