"""Statistics of a list of trades, from the profit of each.

Every function takes net profits in the order in which the trades were closed, shape (n,), account currency (or any
unit, where the result is a ratio). A profit of exactly 0 is neither won nor lost. Without the trades that a number
needs it is NaN; a ratio over no loss is infinite. No call warns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from herald.model import FloatArray, IntArray

__all__ = [
    "Streak",
    "Streaks",
    "ahpr",
    "correlation",
    "expectancy",
    "ghpr",
    "holding_period_returns",
    "kelly",
    "payoff",
    "profit_factor",
    "recovery_factor",
    "regression",
    "sqn",
    "streaks",
    "trade_sharpe",
    "win_rate",
    "z_score",
]


@dataclass(frozen=True, slots=True)
class Streak:
    """Trades in a row that were all won or all lost.

    Attributes:
        count: Their number; 0 where there is none.
        profit: Their sum; negative for losses.
    """

    count: int
    profit: float


@dataclass(frozen=True, slots=True)
class Streaks:
    """The streaks of a list of trades; where several are equal the first one counts.

    Attributes:
        longest_win: The streak with the most won trades.
        longest_loss: The streak with the most lost trades.
        richest_win: The streak of won trades with the largest profit.
        poorest_loss: The streak of lost trades with the largest loss.
        average_win: Mean number of trades in a streak of won ones; NaN where there is none.
        average_loss: Mean number of trades in a streak of lost ones; NaN where there is none.
    """

    longest_win: Streak
    longest_loss: Streak
    richest_win: Streak
    poorest_loss: Streak
    average_win: float
    average_loss: float


def win_rate(profits: FloatArray) -> float:
    """Return the share of trades that were won, 0 to 1."""
    return float(np.mean(profits > 0)) if len(profits) else math.nan


def profit_factor(profits: FloatArray) -> float:
    """Return ``sum of profits / |sum of losses|``; infinite without a loss, NaN without either."""
    return _ratio(float(profits[profits > 0].sum()), -float(profits[profits < 0].sum()))


def payoff(profits: FloatArray) -> float:
    """Return ``mean profit of won trades / |mean loss of lost trades|``; infinite without a loss, NaN without a win."""
    won, lost = profits[profits > 0], profits[profits < 0]
    if len(won) == 0:
        return math.nan
    return float(won.mean()) / -float(lost.mean()) if len(lost) else math.inf


def expectancy(profits: FloatArray) -> float:
    """Return the mean profit of a trade, ``win rate * mean win + loss rate * mean loss``."""
    return float(profits.mean()) if len(profits) else math.nan


def sqn(profits: FloatArray) -> float:
    """Return the System Quality Number, ``sqrt(n) * mean / std`` (ddof 1); NaN for fewer than two trades.

    Infinite, with the sign of the mean, where all trades are equal.

    Source:
        V. K. Tharp, "The Definitive Guide to Position Sizing", 2008 (without his cap of n at 100).
    """
    if len(profits) < 2:
        return math.nan
    deviation = 0.0 if profits.min() == profits.max() else float(profits.std(ddof=1))
    return _ratio(math.sqrt(len(profits)) * float(profits.mean()), deviation)


def kelly(profits: FloatArray) -> float:
    """Return the fraction of capital to risk for the fastest growth, ``W - (1 - W) / R``.

    *W* is the share of won trades and *R* the payoff. NaN without a won trade, *W* without a lost one.

    Source:
        J. L. Kelly, "A New Interpretation of Information Rate", Bell System Technical Journal, 1956.
    """
    rate, ratio = win_rate(profits), payoff(profits)
    return rate - (1.0 - rate) / ratio


def recovery_factor(profit: float, maximal_drawdown: float) -> float:
    """Return ``net profit / maximal drawdown``, both money; infinite without a drawdown, NaN without either.

    Source:
        MQL5 reference, ``STAT_RECOVERY_FACTOR``: by the maximal drawdown of the balance.
    """
    return _ratio(profit, maximal_drawdown)


def holding_period_returns(profits: FloatArray, deposit: float) -> FloatArray:
    """Return the balance after each trade over the balance before it, shape (n,).

    NaN from the trade on that found no money left.

    Args:
        profits: Net profits.
        deposit: Balance before the first trade, > 0.
    """
    balance = _balance(profits, deposit)
    alive = np.minimum.accumulate(balance[:-1]) > 0
    return np.where(alive, balance[1:] / np.where(alive, balance[:-1], 1.0), math.nan)


def ahpr(profits: FloatArray, deposit: float) -> float:
    """Return the arithmetic mean of the holding period returns; 1 is no change.

    Source:
        R. Vince, "The Mathematics of Money Management", 1992; shown by the MetaTrader 5 tester.
    """
    known = holding_period_returns(profits, deposit)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan


def ghpr(profits: FloatArray, deposit: float) -> float:
    """Return the geometric mean of the holding period returns, ``(final / deposit) ** (1 / n)``; 1 is no change.

    0 where the final balance is not positive.

    Source:
        R. Vince, "The Mathematics of Money Management", 1992; shown by the MetaTrader 5 tester.
    """
    n = len(profits)
    if n == 0:
        return math.nan
    return float(max(0.0, (deposit + float(profits.sum())) / deposit) ** (1.0 / n))


def trade_sharpe(profits: FloatArray, deposit: float) -> float:
    """Return ``(AHPR - 1) / std`` of the holding period returns (ddof 1), not annualised, risk-free 0.

    Source:
        MetaQuotes, "Mathematics in Trading: How to Estimate Trade Results", 2007.
    """
    known = holding_period_returns(profits, deposit)
    known = known[~np.isnan(known)]
    if len(known) < 2:
        return math.nan
    deviation = 0.0 if known.min() == known.max() else float(known.std(ddof=1))
    return _ratio(float(known.mean()) - 1.0, deviation)


def regression(profits: FloatArray, deposit: float) -> tuple[float, float]:
    """Return LR correlation and LR standard error of the balance after each trade.

    The balance, the deposit first, is fitted by a straight line over the number of the trade. The correlation is
    Pearson's between balance and number, in [-1, 1]; the error is ``sqrt(sum(deviation ** 2) / (points - 2))``,
    account currency.

    Args:
        profits: Net profits.
        deposit: Balance before the first trade.

    Returns:
        (correlation, error); NaN where fewer than two trades are there; the correlation is NaN too where the
        balance never changes.

    Source:
        MetaTrader 5 help, "Testing Report".
    """
    if len(profits) < 2:
        return math.nan, math.nan
    balance = _balance(profits, deposit)
    number = np.arange(len(balance), dtype=np.float64)
    away = number - number.mean()
    slope = float(away @ balance) / float(away @ away)
    rest = balance - balance.mean() - slope * away
    return correlation(number, balance), math.sqrt(float(rest @ rest) / (len(balance) - 2))


def z_score(profits: FloatArray) -> float:
    """Return by how many deviations the number of runs misses that of independent trades.

    ``Z = (N * (R - 0.5) - P) / sqrt(P * (P - N) / (N - 1))`` with ``P = 2 * won * lost``, *R* the number of runs of
    won or lost trades and *N* their count. Negative: wins follow wins and losses losses. NaN for fewer than three
    trades, or where the formula has no value.

    Source:
        R. Vince, "The Mathematics of Money Management", 1992; shown by the MetaTrader 5 tester.
    """
    signs = np.sign(profits[profits != 0])
    n = len(signs)
    if n < 3:
        return math.nan
    won = int(np.count_nonzero(signs > 0))
    runs = 1 + int(np.count_nonzero(signs[1:] != signs[:-1]))
    p = 2.0 * won * (n - won)
    under = p * (p - n) / (n - 1)
    return (n * (runs - 0.5) - p) / math.sqrt(under) if under > 0 else math.nan


def correlation(first: FloatArray, second: FloatArray) -> float:
    """Return Pearson's correlation over the pairs that are known, in [-1, 1].

    NaN for fewer than two pairs or where one side does not vary.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    x, y = first[both], second[both]
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    under = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    return max(-1.0, min(1.0, float(x @ y) / under)) if under > 0 else math.nan


def streaks(profits: FloatArray) -> Streaks:
    """Return the longest and the largest streaks of won and of lost trades."""
    if len(profits) == 0:
        nothing = Streak(0, 0.0)
        return Streaks(nothing, nothing, nothing, nothing, math.nan, math.nan)
    signs = np.sign(profits)
    starts = np.concatenate(([0], np.flatnonzero(signs[1:] != signs[:-1]) + 1))
    counts = np.diff(np.concatenate((starts, [len(profits)])))
    sums = np.add.reduceat(profits, starts)
    won, lost = signs[starts] > 0, signs[starts] < 0
    return Streaks(
        longest_win=_best(counts[won], sums[won], counts[won]),
        longest_loss=_best(counts[lost], sums[lost], counts[lost]),
        richest_win=_best(counts[won], sums[won], sums[won]),
        poorest_loss=_best(counts[lost], sums[lost], -sums[lost]),
        average_win=float(counts[won].mean()) if won.any() else math.nan,
        average_loss=float(counts[lost].mean()) if lost.any() else math.nan,
    )


def _best(counts: IntArray, sums: FloatArray, by: FloatArray | IntArray) -> Streak:
    if len(counts) == 0:
        return Streak(0, 0.0)
    at = int(np.argmax(by))
    return Streak(int(counts[at]), float(sums[at]))


def _balance(profits: FloatArray, deposit: float) -> FloatArray:
    return np.concatenate(([deposit], deposit + np.cumsum(profits)))


def _ratio(above: float, below: float) -> float:
    if below == 0:
        return math.nan if above == 0 else math.copysign(math.inf, above)
    return above / below
