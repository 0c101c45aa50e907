"""All numbers of a run in one flat table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from herald.clock import SECOND, format_time
from herald.model import BarSeries, FloatArray, OrderStatus
from herald.statistics import drawdowns, series, trades
from herald.statistics.calendar import DAYS_PER_YEAR, DailyReturns, daily_returns, day_ends, period_returns
from herald.statistics.excursions import excursions, trade_rates
from herald.statistics.labels import LABELS
from herald.statistics.outcome import Outcome

__all__ = ["Statistic", "summary"]

Statistic: TypeAlias = float | int | str | None
"""One number of a summary; None is a number that the run does not define, ``"inf"`` one without bound."""

_YEAR_SECONDS = DAYS_PER_YEAR * 86_400
_RISK_FREE = 0.0


def summary(result: Outcome) -> dict[str, Statistic]:
    """Return every statistic of a run, in the order of `herald.statistics.LABELS`.

    Fractions are fractions (0.02, never 2 percent), lengths of time are seconds, times ISO 8601 UTC. A number that
    the run does not define (a mean of no trades) is None; a ratio over no loss is the text ``inf``, so that the table
    is JSON as it stands. Returns are daily and annualised by the data's own calendar, which ``periods_per_year``
    states; the risk-free rate is 0.

    Args:
        result: A finished, failed or interrupted run; `herald.results.RunResult`.
    """
    start = _start(result)
    moments = result.equity.time
    end = int(moments[-1]) if len(moments) else start
    daily = daily_returns(moments, result.equity.equity, result.cash)
    found: dict[str, Statistic] = {}
    found |= _run(result, start, end, daily)
    found |= _account(result, start, end, daily)
    found |= _risk(result, daily)
    found |= _drawdowns(result, start)
    found |= _trades(result)
    found |= _orders(result)
    found["recovery_factor"] = trades.recovery_factor(
        _number(found["total_net_profit"]), _number(found["balance_drawdown_maximal"])
    )
    depth = _number(found["max_drawdown"])
    found["calmar"] = _number(found["annual_return"]) / -depth if depth < 0 else math.nan
    return {key: _plain(found[key]) for key in LABELS}


def _run(result: Outcome, start: int, end: int, daily: DailyReturns) -> dict[str, Statistic]:
    return {
        "start": format_time(start) if len(daily.day) else None,
        "end": format_time(end) if len(daily.day) else None,
        "duration_seconds": (end - start) / SECOND,
        "symbols": ", ".join(result.market),
        "currency": result.currency,
        "bars": sum(len(bars) for bars in result.market.values()),
        "history_quality": _history_quality(result.market),
        "days": len(daily.day),
        "periods_per_year": daily.periods_per_year,
        "risk_free": _RISK_FREE,
    }


def _account(result: Outcome, start: int, end: int, daily: DailyReturns) -> dict[str, Statistic]:
    curve, cash = result.equity, result.cash
    final = float(curve.equity[-1]) if len(curve.time) else cash
    balance = float(curve.balance[-1]) if len(curve.time) else cash
    return {
        "initial_deposit": cash,
        "final_equity": final,
        "final_balance": balance,
        "equity_peak": max(cash, float(curve.equity.max())) if len(curve.time) else cash,
        "open_profit": final - balance,
        "total_return": final / cash - 1.0,
        "buy_and_hold_return": _buy_and_hold(result.market),
        "annual_return": series.annual_return(daily.returns, daily.periods_per_year),
        "cagr": series.cagr(cash, final, (end - start) / SECOND / _YEAR_SECONDS),
        "commissions": math.fsum(fill.fee for fill in result.fills),
        "swaps": math.fsum(fill.swap for fill in result.fills),
        "exposure_time": float(np.mean(curve.exposure > 0)) if len(curve.time) else math.nan,
        "volume": math.fsum(fill.size for fill in result.fills),
    }


def _risk(result: Outcome, daily: DailyReturns) -> dict[str, Statistic]:
    each, periods = daily.returns, daily.periods_per_year
    known = each[~np.isnan(each)]
    alpha, beta = series.alpha_beta(each, _benchmark(result), _RISK_FREE, periods)
    months = period_returns(daily, result.cash, "month").returns
    months = months[~np.isnan(months)]
    return {
        "annual_volatility": series.annual_volatility(each, periods),
        "sharpe": series.sharpe(each, _RISK_FREE, periods),
        "sortino": series.sortino(each, _RISK_FREE, periods),
        "downside_risk": series.downside_risk(each, _RISK_FREE, periods),
        "omega": series.omega(each, 0.0, periods),
        "alpha": alpha,
        "beta": beta,
        "value_at_risk": series.value_at_risk(each),
        "expected_shortfall": series.expected_shortfall(each),
        "skew": series.skew(each),
        "kurtosis": series.kurtosis(each),
        "tail_ratio": series.tail_ratio(each),
        "best_day": _highest(known),
        "worst_day": _lowest(known),
        "winning_days": float(np.mean(known > 0)) if len(known) else math.nan,
        "best_month": _highest(months),
        "worst_month": _lowest(months),
    }


def _drawdowns(result: Outcome, start: int) -> dict[str, Statistic]:
    curve = result.equity
    time = np.concatenate(([start], curve.time))
    equity = np.concatenate(([result.cash], curve.equity))
    periods = drawdowns.drawdown_periods(equity)
    lengths = periods.durations(time) / SECOND
    by_balance = drawdowns.money_drawdown(np.concatenate(([result.cash], curve.balance)))
    by_equity = drawdowns.money_drawdown(equity)
    found: dict[str, Statistic] = {
        "max_drawdown": -by_equity.relative,
        "average_drawdown": -float(periods.depth.mean()) if len(periods) else 0.0,
        "max_drawdown_duration_seconds": float(lengths.max()) if len(periods) else 0.0,
        "average_drawdown_duration_seconds": float(lengths.mean()) if len(periods) else 0.0,
        "ulcer_index": drawdowns.ulcer_index(equity),
        "margin_level": _margin_level(result),
    }
    for name, falls in (("balance", by_balance), ("equity", by_equity)):
        found[f"{name}_drawdown_absolute"] = falls.absolute
        found[f"{name}_drawdown_maximal"] = falls.maximal
        found[f"{name}_drawdown_maximal_fraction"] = falls.maximal_fraction
        found[f"{name}_drawdown_relative"] = falls.relative
        found[f"{name}_drawdown_relative_amount"] = falls.relative_amount
    return found


def _trades(result: Outcome) -> dict[str, Statistic]:
    closed = result.trades
    profit = np.array([trade.net for trade in closed], np.float64)
    is_long = np.array([trade.side > 0 for trade in closed], np.bool_)
    held = np.array([trade.exit_time - trade.entry_time for trade in closed], np.int64) / SECOND
    won, lost = profit[profit > 0], profit[profit < 0]
    share = _trade_returns(result, profit)
    best = trades.streaks(profit)
    lr_correlation, lr_error = trades.regression(profit, result.cash)
    reach = excursions(closed, result.market, result.instruments, result.currency)
    n = len(profit)
    return {
        "total_net_profit": float(won.sum()) + float(lost.sum()),
        "gross_profit": float(won.sum()),
        "gross_loss": float(lost.sum()),
        "total_trades": n,
        "total_deals": len(result.fills),
        "win_rate": trades.win_rate(profit),
        "profit_trades": len(won),
        "profit_trades_fraction": len(won) / n if n else math.nan,
        "loss_trades": len(lost),
        "loss_trades_fraction": len(lost) / n if n else math.nan,
        "long_trades": int(is_long.sum()),
        "long_trades_won": trades.win_rate(profit[is_long]),
        "short_trades": n - int(is_long.sum()),
        "short_trades_won": trades.win_rate(profit[~is_long]),
        "largest_profit_trade": _highest(won),
        "largest_loss_trade": _lowest(lost),
        "average_profit_trade": float(won.mean()) if len(won) else math.nan,
        "average_loss_trade": float(lost.mean()) if len(lost) else math.nan,
        "expected_payoff": trades.expectancy(profit),
        "profit_factor": trades.profit_factor(profit),
        "payoff_ratio": trades.payoff(profit),
        "best_trade": _highest(share),
        "worst_trade": _lowest(share),
        "average_trade": series.annual_return(share, 1.0),
        "expectancy": trades.expectancy(share),
        "sqn": trades.sqn(profit),
        "kelly": trades.kelly(profit),
        "ahpr": trades.ahpr(profit, result.cash),
        "ghpr": trades.ghpr(profit, result.cash),
        "trade_sharpe": trades.trade_sharpe(profit, result.cash),
        "lr_correlation": lr_correlation,
        "lr_standard_error": lr_error,
        "z_score": trades.z_score(profit),
        "max_consecutive_wins": best.longest_win.count,
        "max_consecutive_wins_profit": best.longest_win.profit,
        "max_consecutive_losses": best.longest_loss.count,
        "max_consecutive_losses_profit": best.longest_loss.profit,
        "maximal_consecutive_profit": best.richest_win.profit,
        "maximal_consecutive_profit_count": best.richest_win.count,
        "maximal_consecutive_loss": best.poorest_loss.profit,
        "maximal_consecutive_loss_count": best.poorest_loss.count,
        "average_consecutive_wins": best.average_win,
        "average_consecutive_losses": best.average_loss,
        "correlation_profits_mfe": trades.correlation(profit, reach.favourable),
        "correlation_profits_mae": trades.correlation(profit, reach.adverse),
        "correlation_mfe_mae": trades.correlation(reach.favourable, reach.adverse),
        "average_mfe": trades.expectancy(reach.favourable),
        "average_mae": trades.expectancy(reach.adverse),
        "min_holding_seconds": _lowest(held),
        "max_holding_seconds": _highest(held),
        "average_holding_seconds": float(held.mean()) if n else math.nan,
    }


def _orders(result: Outcome) -> dict[str, Statistic]:
    ends = Counter(order.status for order in result.orders)
    return {
        "orders": len(result.orders),
        "orders_filled": ends[OrderStatus.FILLED],
        "orders_cancelled": ends[OrderStatus.CANCELLED] + ends[OrderStatus.EXPIRED],
        "orders_rejected": ends[OrderStatus.REJECTED],
        "orders_denied": ends[OrderStatus.DENIED],
        "open_positions": len(result.positions),
    }


def _start(result: Outcome) -> int:
    """Return when the first bar began, nanoseconds UTC; 0 where there is none."""
    begins = [int(bars.time[0]) - bars.span for bars in result.market.values() if len(bars)]
    if begins:
        return min(begins)
    return int(result.equity.time[0]) if len(result.equity.time) else 0


def _history_quality(market: Mapping[str, BarSeries]) -> float:
    """Return the share of bars that are there between the first and the last of each day; 1 for longer time frames."""
    expected = 0
    for bars in market.values():
        ends = day_ends(bars.time)
        starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
        expected += int(np.sum((bars.time[ends] - bars.time[starts]) // bars.span + 1))
    return sum(len(bars) for bars in market.values()) / expected if expected else math.nan


def _buy_and_hold(market: Mapping[str, BarSeries]) -> float:
    growth = [float(bars.close[-1]) / float(bars.open[0]) - 1.0 for bars in market.values() if len(bars) and bars.open[0] > 0]
    return sum(growth) / len(growth) if growth else math.nan


def _benchmark(result: Outcome) -> FloatArray:
    """Return the mean daily return of the symbols on the days of the account; NaN where none has a price."""
    ends = result.equity.time[day_ends(result.equity.time)]
    total, count = np.zeros(len(ends)), np.zeros(len(ends))
    for bars in result.market.values():
        if len(bars) == 0:
            continue
        prices = np.concatenate(([math.nan], bars.close))
        at = np.searchsorted(bars.time, ends, side="right")
        last = prices[at]
        before = np.concatenate(([math.nan], last[:-1]))
        # Where a symbol begins its first price is its open.
        before = np.where(np.isnan(before) & ~np.isnan(last), bars.open[0], before)
        known = before > 0
        total += np.where(known, last / np.where(known, before, 1.0) - 1.0, 0.0)
        count += known
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def _margin_level(result: Outcome) -> float:
    """Return the lowest equity over margin; NaN where an instrument has its own margin or nothing was held."""
    if any(instrument.margin for instrument in result.instruments.values()):
        return math.nan
    held = result.equity.exposure > 0
    if not held.any():
        return math.nan
    return float(np.min(result.equity.equity[held] / (result.equity.exposure[held] / result.leverage)))


def _trade_returns(result: Outcome, profit: FloatArray) -> FloatArray:
    """Return profit over notional at entry of every trade whose rate is known, shape (m,)."""
    rates = trade_rates(result.trades, result.instruments, result.currency)
    units = np.array(
        [trade.size * trade.entry_price * result.instruments[trade.symbol].contract_size for trade in result.trades], np.float64
    )
    notional = units * rates
    known = notional > 0
    return profit[known] / notional[known]


def _highest(values: FloatArray) -> float:
    return float(values.max()) if len(values) else math.nan


def _lowest(values: FloatArray) -> float:
    return float(values.min()) if len(values) else math.nan


def _number(value: Statistic) -> float:
    assert isinstance(value, (int, float))  # noqa: S101 - set a few lines above
    return float(value)


def _plain(value: Statistic) -> Statistic:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)
