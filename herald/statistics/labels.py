"""What every key of a summary is called, in which unit it stands and by which formula it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

__all__ = ["GROUPS", "LABELS", "Label", "Unit"]


class Unit(StrEnum):
    """How to read a number of a summary."""

    COUNT = "count"
    """A whole number of things."""
    FRACTION = "fraction"
    """0.02 is 2 percent."""
    LOTS = "lots"
    """Size in lots."""
    MONEY = "money"
    """Account currency."""
    NUMBER = "number"
    """Dimensionless."""
    SECONDS = "seconds"
    """A length of time."""
    TEXT = "text"
    """Words."""
    TIME = "time"
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Label:
    """How to show one statistic.

    Attributes:
        group: The heading under which it stands.
        label: Its name on screen.
        unit: How to read it.
        formula: How it is made, in one line.
    """

    group: str
    label: str
    unit: Unit
    formula: str


GROUPS = ("Run", "Result", "Risk and reward", "Drawdown", "Trades", "Streaks", "Excursions and holding", "Orders")
"""The headings, in order."""

_C, _F, _L, _M, _N, _S, _X, _T = (
    Unit.COUNT,
    Unit.FRACTION,
    Unit.LOTS,
    Unit.MONEY,
    Unit.NUMBER,
    Unit.SECONDS,
    Unit.TEXT,
    Unit.TIME,
)

_TABLE: Mapping[str, Mapping[str, tuple[str, Unit, str]]] = {
    "Run": {
        "start": ("Start", _T, "beginning of the first bar"),
        "end": ("End", _T, "end of the last bar"),
        "duration_seconds": ("Duration", _S, "end - start"),
        "symbols": ("Symbols", _X, "traded, in config order"),
        "currency": ("Account currency", _X, "in which every amount is stated"),
        "bars": ("Bars", _C, "of the finest time frame, all symbols"),
        "history_quality": (
            "History quality",
            _F,
            "bars / bars that fit between the first and the last bar of each UTC day, all symbols",
        ),
        "days": ("Trading days", _C, "UTC days that have bars; midnight belongs to the day it ends"),
        "periods_per_year": (
            "Periods a year",
            _N,
            "trading days / (calendar days from the first to the last, both included) * 365.25; used to annualise",
        ),
        "risk_free": ("Risk-free rate", _F, "assumed in Sharpe, Sortino, omega, alpha and beta"),
    },
    "Result": {
        "initial_deposit": ("Initial deposit", _M, "starting balance"),
        "final_equity": ("Final equity", _M, "balance + open profit and gathered swap at the end"),
        "final_balance": ("Final balance", _M, "deposit + realised profit + paid swap - fees"),
        "equity_peak": ("Equity peak", _M, "highest equity at the end of a bar, or the deposit"),
        "open_profit": ("Open profit", _M, "final equity - final balance"),
        "total_return": ("Return", _F, "final equity / initial deposit - 1"),
        "buy_and_hold_return": (
            "Buy and hold return",
            _F,
            "last close / first open - 1, mean of the symbols, without costs and leverage",
        ),
        "annual_return": ("Return a year", _F, "product of (1 + daily return) ** (periods a year / days) - 1"),
        "cagr": ("CAGR", _F, "(final equity / initial deposit) ** (1 / years) - 1, years = duration / 365.25 days"),
        "total_net_profit": ("Total net profit", _M, "gross profit + gross loss, closed trades after fees and swap"),
        "gross_profit": ("Gross profit", _M, "sum of the trades won, after fees and swap"),
        "gross_loss": ("Gross loss", _M, "sum of the trades lost, after fees and swap; negative"),
        "commissions": ("Commissions", _M, "sum of the fees of all fills"),
        "swaps": ("Swaps", _M, "sum of the interest for nights that all fills paid; negative where it cost"),
        "exposure_time": ("Time in the market", _F, "bar ends with an open position / all bar ends"),
        "volume": ("Volume traded", _L, "sum of the sizes of all fills"),
    },
    "Risk and reward": {
        "annual_volatility": ("Volatility a year", _F, "std(daily return, ddof = 1) * sqrt(periods a year)"),
        "sharpe": (
            "Sharpe ratio",
            _N,
            "mean(daily return) / std(daily return, ddof = 1) * sqrt(periods a year), risk-free 0",
        ),
        "sortino": (
            "Sortino ratio",
            _N,
            "mean(daily return) * periods a year / downside risk, required return 0",
        ),
        "downside_risk": ("Downside risk", _F, "sqrt(mean(min(daily return, 0) ** 2)) * sqrt(periods a year)"),
        "calmar": ("Calmar ratio", _N, "return a year / abs(maximum drawdown of equity at bar ends)"),
        "omega": ("Omega ratio", _N, "sum of daily gains / sum of daily losses, threshold 0"),
        "alpha": (
            "Alpha",
            _F,
            "(1 + mean(daily return - beta * daily return of buy and hold)) ** periods a year - 1",
        ),
        "beta": ("Beta", _N, "cov(daily return, that of buy and hold) / var(that of buy and hold)"),
        "value_at_risk": ("Value at risk, 5 % of days", _F, "5th percentile of the daily returns"),
        "expected_shortfall": ("Expected shortfall, 5 % of days", _F, "mean of the worst 5 % of the daily returns"),
        "skew": ("Skewness", _N, "m3 / m2 ** 1.5 of the daily returns"),
        "kurtosis": ("Kurtosis, excess", _N, "m4 / m2 ** 2 - 3 of the daily returns"),
        "tail_ratio": ("Tail ratio", _N, "abs(95th percentile) / abs(5th percentile) of the daily returns"),
        "best_day": ("Best day", _F, "highest daily return"),
        "worst_day": ("Worst day", _F, "lowest daily return"),
        "winning_days": ("Winning days", _F, "days with a return above 0 / days"),
        "best_month": ("Best month", _F, "highest return of a calendar month"),
        "worst_month": ("Worst month", _F, "lowest return of a calendar month"),
    },
    "Drawdown": {
        "max_drawdown": ("Max. drawdown", _F, "lowest of equity / peak so far - 1 at bar ends"),
        "average_drawdown": ("Average drawdown", _F, "mean depth of all drawdowns; negative"),
        "max_drawdown_duration_seconds": (
            "Longest drawdown",
            _S,
            "longest time from a peak to its recovery, or to the end",
        ),
        "average_drawdown_duration_seconds": ("Average drawdown length", _S, "mean of the same"),
        "ulcer_index": ("Ulcer index", _F, "sqrt(mean(drawdown ** 2)) at bar ends"),
        "balance_drawdown_absolute": (
            "Balance drawdown, absolute",
            _M,
            "deposit - lowest balance, never below 0",
        ),
        "balance_drawdown_maximal": (
            "Balance drawdown, maximal",
            _M,
            "largest fall of the balance from a peak, by money",
        ),
        "balance_drawdown_maximal_fraction": (
            "... of its peak",
            _F,
            "that fall / its peak",
        ),
        "balance_drawdown_relative": (
            "Balance drawdown, relative",
            _F,
            "largest fall of the balance from a peak, by fraction of the peak",
        ),
        "balance_drawdown_relative_amount": (
            "... in money",
            _M,
            "that fall in money",
        ),
        "equity_drawdown_absolute": (
            "Equity drawdown, absolute",
            _M,
            "deposit - lowest equity, never below 0",
        ),
        "equity_drawdown_maximal": (
            "Equity drawdown, maximal",
            _M,
            "largest fall of equity from a peak, by money",
        ),
        "equity_drawdown_maximal_fraction": (
            "... of its peak",
            _F,
            "that fall / its peak",
        ),
        "equity_drawdown_relative": (
            "Equity drawdown, relative",
            _F,
            "largest fall of equity from a peak, by fraction of the peak",
        ),
        "equity_drawdown_relative_amount": (
            "... in money",
            _M,
            "that fall in money",
        ),
        "recovery_factor": (
            "Recovery factor",
            _N,
            "total net profit / maximal balance drawdown",
        ),
        "margin_level": (
            "Lowest margin level",
            _F,
            "lowest of equity / margin at bar ends, margin = exposure / leverage",
        ),
    },
    "Trades": {
        "total_trades": ("Trades", _C, "closing fills, each against the average entry price"),
        "total_deals": ("Deals", _C, "fills"),
        "win_rate": ("Trades won", _F, "trades won / trades"),
        "profit_trades": ("Profit trades", _C, "trades with a profit after fees and swap"),
        "profit_trades_fraction": ("... of total", _F, "profit trades / trades"),
        "loss_trades": ("Loss trades", _C, "trades with a loss after fees and swap"),
        "loss_trades_fraction": ("... of total", _F, "loss trades / trades"),
        "long_trades": ("Long trades", _C, "trades that were bought first"),
        "long_trades_won": ("... won", _F, "long trades won / long trades"),
        "short_trades": ("Short trades", _C, "trades that were sold first"),
        "short_trades_won": ("... won", _F, "short trades won / short trades"),
        "largest_profit_trade": ("Largest profit trade", _M, "best trade after fees and swap"),
        "largest_loss_trade": ("Largest loss trade", _M, "worst trade after fees and swap"),
        "average_profit_trade": ("Average profit trade", _M, "gross profit / profit trades"),
        "average_loss_trade": ("Average loss trade", _M, "gross loss / loss trades"),
        "expected_payoff": ("Expected payoff", _M, "total net profit / trades"),
        "profit_factor": ("Profit factor", _N, "gross profit / abs(gross loss); inf without a loss"),
        "payoff_ratio": ("Payoff ratio", _N, "average profit trade / abs(average loss trade)"),
        "best_trade": ("Best trade", _F, "highest profit after fees and swap / notional at entry"),
        "worst_trade": ("Worst trade", _F, "lowest profit after fees and swap / notional at entry"),
        "average_trade": ("Average trade", _F, "geometric mean of 1 + profit after fees and swap / notional at entry, less 1"),
        "expectancy": ("Expectancy", _F, "mean of profit after fees and swap / notional at entry"),
        "sqn": ("SQN", _N, "sqrt(trades) * mean(profit) / std(profit, ddof = 1)"),
        "kelly": ("Kelly criterion", _F, "W - (1 - W) / R, W = trades won, R = payoff ratio"),
        "ahpr": ("AHPR", _N, "mean of balance after / balance before a trade"),
        "ghpr": ("GHPR", _N, "((deposit + total net profit) / deposit) ** (1 / trades)"),
        "trade_sharpe": ("Sharpe ratio of trades", _N, "(AHPR - 1) / std(balance after / before, ddof = 1)"),
        "lr_correlation": (
            "LR correlation",
            _N,
            "correlation of the balance after each trade with its number",
        ),
        "lr_standard_error": (
            "LR standard error",
            _M,
            "sqrt(sum((balance - fitted line) ** 2) / (points - 2))",
        ),
        "z_score": (
            "Z-score",
            _N,
            "(N * (R - 0.5) - P) / sqrt(P * (P - N) / (N - 1)), R runs of wins or losses, P = 2 * won * lost",
        ),
    },
    "Streaks": {
        "max_consecutive_wins": ("Most wins in a row", _C, "longest series of profit trades"),
        "max_consecutive_wins_profit": ("... profit", _M, "their sum"),
        "max_consecutive_losses": ("Most losses in a row", _C, "longest series of loss trades"),
        "max_consecutive_losses_profit": ("... loss", _M, "their sum"),
        "maximal_consecutive_profit": (
            "Largest profit in a row",
            _M,
            "largest sum of a series of profit trades",
        ),
        "maximal_consecutive_profit_count": ("... trades", _C, "their number"),
        "maximal_consecutive_loss": (
            "Largest loss in a row",
            _M,
            "largest sum of a series of loss trades",
        ),
        "maximal_consecutive_loss_count": ("... trades", _C, "their number"),
        "average_consecutive_wins": ("Wins in a row, average", _N, "mean length of a series"),
        "average_consecutive_losses": ("Losses in a row, average", _N, "mean length of a series"),
    },
    "Excursions and holding": {
        "correlation_profits_mfe": (
            "Correlation of profit and MFE",
            _N,
            "Pearson; MFE = largest open profit of a trade, from bar highs and lows",
        ),
        "correlation_profits_mae": (
            "Correlation of profit and MAE",
            _N,
            "Pearson; MAE = largest open loss of a trade (negative), from bar highs and lows",
        ),
        "correlation_mfe_mae": ("Correlation of MFE and MAE", _N, "Pearson"),
        "average_mfe": ("Average MFE", _M, "mean of the largest open profits"),
        "average_mae": ("Average MAE", _M, "mean of the largest open losses"),
        "min_holding_seconds": ("Shortest holding", _S, "shortest exit - entry"),
        "max_holding_seconds": ("Longest holding", _S, "longest exit - entry"),
        "average_holding_seconds": ("Average holding", _S, "mean of exit - entry"),
    },
    "Orders": {
        "orders": ("Orders", _C, "requests, denied ones included"),
        "orders_filled": ("... filled", _C, "wholly filled"),
        "orders_cancelled": ("... cancelled", _C, "cancelled or expired"),
        "orders_rejected": ("... rejected", _C, "refused by the broker"),
        "orders_denied": ("... denied", _C, "refused by a risk check"),
        "open_positions": ("Open positions", _C, "at the end"),
    },
}

LABELS: Mapping[str, Label] = MappingProxyType(
    {key: Label(group, *terms) for group, rows in _TABLE.items() for key, terms in rows.items()}
)
"""Every key of `herald.statistics.summary`, in its order."""
