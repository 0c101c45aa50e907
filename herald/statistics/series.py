"""Statistics of a series of periodic returns.

Every function takes simple (not logarithmic) returns per period, shape (n,), dimensionless; NaN marks a period
whose return is unknown. Unknown periods are left out of means and counts of deviations and count as 0 where
returns are compounded. A number that cannot be formed is NaN, a ratio over nothing is infinite; no call warns.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from herald.model import FloatArray

__all__ = [
    "alpha_beta",
    "annual_return",
    "annual_volatility",
    "cagr",
    "calmar",
    "downside_risk",
    "expected_shortfall",
    "kurtosis",
    "max_drawdown",
    "omega",
    "returns",
    "sharpe",
    "skew",
    "sortino",
    "tail_ratio",
    "total_return",
    "value_at_risk",
]

Rate: TypeAlias = float | FloatArray
"""One return for every period, or one return a period."""


def returns(values: ArrayLike) -> FloatArray:
    """Return the growth from each value to the next, as a fraction of the former.

    Args:
        values: Account values or prices, shape (n,).

    Returns:
        ``values[i + 1] / values[i] - 1``, shape (n - 1,); NaN after a value that is not positive.
    """
    series = np.asarray(values, np.float64)
    before, after = series[:-1], series[1:]
    known = before > 0
    return np.where(known, after / np.where(known, before, 1.0) - 1.0, math.nan)


def total_return(series: FloatArray) -> float:
    """Return ``prod(1 + r) - 1``, the growth over all periods; 0 for no period."""
    with np.errstate(all="ignore"):
        return float(np.prod(1.0 + _filled(series)) - 1.0)


def max_drawdown(series: FloatArray) -> float:
    """Return the deepest fall from a peak, <= 0: ``min(E / max(E so far) - 1)`` with ``E = prod(1 + r)``.

    The account stands at 1 before the first return, so a loss from the start counts. NaN for no period.

    Source:
        empyrical (Quantopian), ``max_drawdown``.
    """
    if len(series) == 0:
        return math.nan
    with np.errstate(all="ignore"):
        growth = np.concatenate(([1.0], np.cumprod(1.0 + _filled(series))))
    peaks = np.maximum.accumulate(growth)
    return float(np.min(growth / peaks - 1.0))


def annual_return(series: FloatArray, periods: float = 252.0) -> float:
    """Return the yearly compound growth: ``prod(1 + r) ** (periods / n) - 1``.

    *n* counts unknown periods too. An account that lost everything, or more, has -1; no period has NaN.

    Args:
        series: Returns.
        periods: Periods a year.

    Source:
        empyrical (Quantopian), ``annual_return``.
    """
    n = len(series)
    if n == 0:
        return math.nan
    return _compound(total_return(series) + 1.0, periods / n)


def cagr(initial: float, final: float, years: float) -> float:
    """Return the compound annual growth rate: ``(final / initial) ** (1 / years) - 1``.

    Args:
        initial: Value at the start, > 0.
        final: Value at the end; -1 is returned where it is not positive.
        years: Time between, years; NaN is returned where it or *initial* is not positive.
    """
    if years <= 0 or initial <= 0:
        return math.nan
    return _compound(final / initial, 1.0 / years)


def annual_volatility(series: FloatArray, periods: float = 252.0) -> float:
    """Return ``std(r, ddof=1) * sqrt(periods)``; NaN for fewer than two known periods.

    Source:
        empyrical (Quantopian), ``annual_volatility``.
    """
    return _deviation(_known(series)) * math.sqrt(periods)


def sharpe(series: FloatArray, risk_free: Rate = 0.0, periods: float = 252.0) -> float:
    """Return ``mean(r - risk_free) / std(r - risk_free, ddof=1) * sqrt(periods)``.

    Args:
        series: Returns.
        risk_free: Return per period (not per year) of lending without risk; a number or one a period.
        periods: Periods a year.

    Returns:
        Infinite, with the sign of the mean, where the excess never changes; NaN where it is always 0 or fewer than
        two periods are known.

    Source:
        W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management, 1994.
    """
    excess = _known(series - risk_free)
    if len(excess) < 2:
        return math.nan
    return _ratio(float(excess.mean()), _deviation(excess)) * math.sqrt(periods)


def sortino(series: FloatArray, required: Rate = 0.0, periods: float = 252.0) -> float:
    """Return ``mean(r - required) * periods / downside_risk(r)``.

    Args:
        series: Returns.
        required: Least acceptable return per period; a number or one a period.
        periods: Periods a year.

    Returns:
        Infinite where no return fell short and their mean did not equal *required*; NaN where fewer than two periods
        are known.

    Source:
        F. A. Sortino and L. N. Price, "Performance Measurement in a Downside Risk Framework", Journal of Investing, 1994.
    """
    excess = _known(series - required)
    if len(excess) < 2:
        return math.nan
    return _ratio(float(excess.mean()) * periods, downside_risk(excess, 0.0, periods))


def downside_risk(series: FloatArray, required: Rate = 0.0, periods: float = 252.0) -> float:
    """Return ``sqrt(mean(min(r - required, 0) ** 2)) * sqrt(periods)``; NaN for no known period.

    Source:
        empyrical (Quantopian), ``downside_risk``.
    """
    short = np.minimum(_known(series - required), 0.0)
    return math.sqrt(float(np.mean(short * short))) * math.sqrt(periods) if len(short) else math.nan


def calmar(series: FloatArray, periods: float = 252.0) -> float:
    """Return ``annual_return / |max_drawdown|``; NaN without a drawdown.

    Source:
        T. W. Young, "Calmar Ratio: A Smoother Tool", Futures, 1991 (here over the whole series).
    """
    depth = max_drawdown(series)
    return annual_return(series, periods) / -depth if depth < 0 else math.nan


def omega(series: FloatArray, required_annual: float = 0.0, periods: float = 252.0, risk_free: Rate = 0.0) -> float:
    """Return ``sum(max(x, 0)) / sum(max(-x, 0))`` with ``x = r - risk_free - threshold``.

    Args:
        series: Returns.
        required_annual: Least acceptable return per year; the threshold per period is
            ``(1 + required_annual) ** (1 / periods) - 1``.
        periods: Periods a year.
        risk_free: Return per period of lending without risk.

    Returns:
        >= 0; NaN where nothing fell short, fewer than two periods are known, or *required_annual* <= -1.

    Source:
        C. Keating and W. F. Shadwick, "A Universal Performance Measure", Journal of Performance Measurement, 2002.
    """
    if required_annual <= -1.0:
        return math.nan
    excess = _known(series - risk_free) - ((1.0 + required_annual) ** (1.0 / periods) - 1.0)
    below = -float(excess[excess < 0].sum())
    return float(excess[excess > 0].sum()) / below if below > 0 and len(excess) >= 2 else math.nan


def alpha_beta(series: FloatArray, benchmark: FloatArray, risk_free: Rate = 0.0, periods: float = 252.0) -> tuple[float, float]:
    """Return Jensen's alpha per year and beta against *benchmark*.

    ``beta = cov(r, b) / var(b)``; ``alpha = (1 + mean((r - rf) - beta * (b - rf))) ** periods - 1``, both over the
    periods in which *series* and *benchmark* are known.

    Args:
        series: Returns.
        benchmark: Returns of the market in the same periods, shape (n,).
        risk_free: Return per period of lending without risk; a number or one a period.
        periods: Periods a year.

    Returns:
        (alpha, beta); NaN where fewer than two periods are known or *benchmark* never changes.

    Source:
        M. C. Jensen, "The Performance of Mutual Funds in the Period 1945-1964", Journal of Finance, 1968.
    """
    mine, market = series - risk_free, benchmark - risk_free
    both = ~(np.isnan(mine) | np.isnan(market))
    mine, market = mine[both], market[both]
    if len(mine) < 2:
        return math.nan, math.nan
    away = market - market.mean()
    variance = float(np.mean(away * away))
    if variance < 1e-30:  # a benchmark that stands still, give or take rounding
        return math.nan, math.nan
    beta = float(np.mean(away * mine)) / variance
    return _compound(1.0 + float(np.mean(mine - beta * market)), periods), beta


def value_at_risk(series: FloatArray, cutoff: float = 0.05) -> float:
    """Return the *cutoff* quantile of the returns, linearly interpolated; a loss is negative. NaN for no known period."""
    known = _known(series)
    return float(np.quantile(known, cutoff)) if len(known) else math.nan


def expected_shortfall(series: FloatArray, cutoff: float = 0.05) -> float:
    """Return the mean of the worst returns: the lowest ``floor((n - 1) * cutoff) + 1`` of them.

    NaN for no known period.

    Source:
        empyrical (Quantopian), ``conditional_value_at_risk``.
    """
    known = np.sort(_known(series))
    return float(known[: int((len(known) - 1) * cutoff) + 1].mean()) if len(known) else math.nan


def skew(series: FloatArray) -> float:
    """Return ``m3 / m2 ** 1.5`` of the central moments (biased); NaN where the returns do not vary."""
    return _moment(series, 3, 1.5)


def kurtosis(series: FloatArray) -> float:
    """Return the excess over a normal distribution, ``m4 / m2 ** 2 - 3`` (biased); NaN where the returns do not vary."""
    return _moment(series, 4, 2.0) - 3.0


def tail_ratio(series: FloatArray) -> float:
    """Return ``|95th percentile| / |5th percentile|``: how gains at the edge compare with losses there.

    Infinite where the 5th percentile is 0 and the 95th is not; NaN where both are or no period is known.

    Source:
        empyrical (Quantopian), ``tail_ratio``.
    """
    known = _known(series)
    if len(known) == 0:
        return math.nan
    low, high = np.quantile(known, (0.05, 0.95))
    return _ratio(abs(float(high)), abs(float(low)))


def _known(series: FloatArray) -> FloatArray:
    return series[~np.isnan(series)]


def _filled(series: FloatArray) -> FloatArray:
    return np.where(np.isnan(series), 0.0, series)


def _deviation(known: FloatArray) -> float:
    """Return the sample deviation; exactly 0 for equal values, whose computed mean may miss them by a bit."""
    if len(known) < 2:
        return math.nan
    return 0.0 if known.min() == known.max() else float(known.std(ddof=1))


def _ratio(above: float, below: float) -> float:
    if below == 0:
        return math.nan if above == 0 or math.isnan(above) else math.copysign(math.inf, above)
    return above / below


def _compound(growth: float, power: float) -> float:
    if math.isnan(growth):
        return math.nan
    if growth <= 0:
        return -1.0
    exponent = math.log(growth) * power
    return math.inf if exponent > 700 else math.expm1(exponent)  # exp(700) is near the largest double


def _moment(series: FloatArray, order: int, power: float) -> float:
    known = _known(series)
    if len(known) < 2 or known.min() == known.max():
        return math.nan
    away = known - known.mean()
    spread = float(np.mean(away * away))
    # Squares of the tiniest deviations can vanish altogether.
    return float(np.mean(away**order)) / spread**power if spread**power > 0 else math.nan
