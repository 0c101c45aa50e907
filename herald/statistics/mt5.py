"""The report of the MetaTrader 5 strategy tester: its lines in its order, from the numbers of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from herald.statistics.display import display
from herald.statistics.summary import Statistic

__all__ = ["MT5_LINES", "Mt5Line", "mt5_report"]


@dataclass(frozen=True, slots=True)
class Mt5Line:
    """One line of the tester's report.

    Attributes:
        name: What the tester calls it.
        keys: The statistics it shows, the second in brackets; none for what a run has not got.
        meaning: How it is made.
        differs: Why the tester may show another figure for the same trades; empty where it does not.
    """

    name: str
    keys: tuple[str, ...]
    meaning: str
    differs: str = ""


_BAR_ENDS = "looked at when bars end; the tester looks at every tick, so its fall can be deeper"
_WHOLE = "the tester shows a whole number"
_ENTRY_COSTS = "entry costs count with the trade that they opened; the tester books them when they are paid"

MT5_LINES = (
    Mt5Line(
        "History Quality", ("history_quality",),
        "bars that are there / bars that fit between the first and the last of each UTC day, all symbols",
        "the tester judges one-minute bars, and calls some that are there wrong",
    ),
    Mt5Line("Bars", ("bars",), "bars of the finest time frame, all symbols"),
    Mt5Line("Ticks", (), "ticks that were modelled", "a run on bars goes through the prices of each bar and models none"),
    Mt5Line("Symbols", ("symbols",), "number of symbols that were traded or watched"),
    Mt5Line("Initial Deposit", ("initial_deposit",), "balance before the first trade"),
    Mt5Line("Withdrawal", (), "money that was taken out", "a strategy cannot take any out"),
    Mt5Line("Total Net Profit", ("total_net_profit",), "gross profit + gross loss: all closed trades after fees and swap"),
    Mt5Line("Gross Profit", ("gross_profit",), "sum of the trades won, after fees and swap", _ENTRY_COSTS),
    Mt5Line("Gross Loss", ("gross_loss",), "sum of the trades lost, after fees and swap; negative", _ENTRY_COSTS),
    Mt5Line(
        "Balance Drawdown Absolute", ("balance_drawdown_absolute",),
        "initial deposit - lowest balance, never below 0",
        "looked at when bars end; the tester looks after every deal",
    ),
    Mt5Line(
        "Balance Drawdown Maximal", ("balance_drawdown_maximal", "balance_drawdown_maximal_fraction"),
        "largest fall of the balance from a peak by money, and that fall as a share of its peak",
        "looked at when bars end; the tester looks after every deal",
    ),
    Mt5Line(
        "Balance Drawdown Relative", ("balance_drawdown_relative", "balance_drawdown_relative_amount"),
        "largest fall of the balance from a peak by share of that peak, and that fall in money",
        "looked at when bars end; the tester looks after every deal",
    ),
    Mt5Line(
        "Equity Drawdown Absolute", ("equity_drawdown_absolute",), "initial deposit - lowest equity, never below 0", _BAR_ENDS,
    ),
    Mt5Line(
        "Equity Drawdown Maximal", ("equity_drawdown_maximal", "equity_drawdown_maximal_fraction"),
        "largest fall of equity from a peak by money, and that fall as a share of its peak", _BAR_ENDS,
    ),
    Mt5Line(
        "Equity Drawdown Relative", ("equity_drawdown_relative", "equity_drawdown_relative_amount"),
        "largest fall of equity from a peak by share of that peak, and that fall in money", _BAR_ENDS,
    ),
    Mt5Line("Profit Factor", ("profit_factor",), "gross profit / abs(gross loss)"),
    Mt5Line("Recovery Factor", ("recovery_factor",), "total net profit / maximal drawdown of the balance"),
    Mt5Line(
        "AHPR", ("ahpr",),
        "arithmetic mean of balance after a trade / balance before it, and the same as a change in percent",
    ),
    Mt5Line(
        "GHPR", ("ghpr",),
        "geometric mean of the same, (final balance / initial deposit) ** (1 / trades), and the same as a change in percent",
    ),
    Mt5Line("Expected Payoff", ("expected_payoff",), "total net profit / trades"),
    Mt5Line(
        "Sharpe Ratio", ("sharpe",),
        "mean(daily return) / standard deviation(daily return, ddof = 1) * sqrt(trading days a year), risk-free rate 0",
        "yearly in both; the tester samples equity in its own way, and before build 3210 it showed (AHPR - 1) / deviation",
    ),
    Mt5Line(
        "LR Correlation", ("lr_correlation",),
        "correlation of the balance after each trade, the deposit first, with the number of the trade",
    ),
    Mt5Line(
        "LR Standard Error", ("lr_standard_error",),
        "sqrt(sum((balance - fitted straight line) ** 2) / (points - 2)), in money",
    ),
    Mt5Line("Margin Level", ("margin_level",), "lowest equity / margin while something was held", _BAR_ENDS),
    Mt5Line(
        "Z-Score", ("z_score",),
        "(N * (R - 0.5) - P) / sqrt(P * (P - N) / (N - 1)); N trades, R runs of wins or losses, P = 2 * won * lost; "
        "in brackets the share of a normal distribution nearer to its mean than that",
    ),
    Mt5Line("OnTester Result", (), "what an MQL5 program's OnTester returned", "Herald runs no MQL5 program"),
    Mt5Line("Total Trades", ("total_trades",), "closing deals, each against the average entry price"),
    Mt5Line("Total Deals", ("total_deals",), "fills, those that open included", "the tester may split a deal by liquidity"),
    Mt5Line("Short Trades (won %)", ("short_trades", "short_trades_won"), "trades that were sold first, and the share won"),
    Mt5Line("Long Trades (won %)", ("long_trades", "long_trades_won"), "trades that were bought first, and the share won"),
    Mt5Line(
        "Profit Trades (% of total)", ("profit_trades", "profit_trades_fraction"), "trades with a profit after fees and swap",
    ),
    Mt5Line("Loss Trades (% of total)", ("loss_trades", "loss_trades_fraction"), "trades with a loss after fees and swap"),
    Mt5Line("Largest Profit Trade", ("largest_profit_trade",), "best trade after fees and swap"),
    Mt5Line("Largest Loss Trade", ("largest_loss_trade",), "worst trade after fees and swap"),
    Mt5Line("Average Profit Trade", ("average_profit_trade",), "gross profit / profit trades"),
    Mt5Line("Average Loss Trade", ("average_loss_trade",), "gross loss / loss trades"),
    Mt5Line(
        "Maximum consecutive wins ($)", ("max_consecutive_wins", "max_consecutive_wins_profit"),
        "longest series of profit trades, and its profit",
    ),
    Mt5Line(
        "Maximum consecutive losses ($)", ("max_consecutive_losses", "max_consecutive_losses_profit"),
        "longest series of loss trades, and its loss",
    ),
    Mt5Line(
        "Maximal consecutive profit (count)", ("maximal_consecutive_profit", "maximal_consecutive_profit_count"),
        "largest profit of a series of profit trades, and their number",
    ),
    Mt5Line(
        "Maximal consecutive loss (count)", ("maximal_consecutive_loss", "maximal_consecutive_loss_count"),
        "largest loss of a series of loss trades, and their number",
    ),
    Mt5Line("Average consecutive wins", ("average_consecutive_wins",), "mean length of a series of profit trades", _WHOLE),
    Mt5Line("Average consecutive losses", ("average_consecutive_losses",), "mean length of a series of loss trades", _WHOLE),
    Mt5Line(
        "Correlation (Profits,MFE)", ("correlation_profits_mfe",),
        "Pearson; MFE is the largest open profit of a trade, by the highs and lows of its bars", "the tester goes by ticks",
    ),
    Mt5Line(
        "Correlation (Profits,MAE)", ("correlation_profits_mae",),
        "Pearson; MAE is the largest open loss of a trade, by the highs and lows of its bars", "the tester goes by ticks",
    ),
    Mt5Line("Correlation (MFE,MAE)", ("correlation_mfe_mae",), "Pearson", "the tester goes by ticks"),
    Mt5Line("Minimal position holding time", ("min_holding_seconds",), "shortest time from entry to exit"),
    Mt5Line("Maximal position holding time", ("max_holding_seconds",), "longest time from entry to exit"),
    Mt5Line("Average position holding time", ("average_holding_seconds",), "mean time from entry to exit"),
)  # fmt: skip
"""Every line of the tester's report, in its order."""


def mt5_report(numbers: Mapping[str, Statistic]) -> tuple[tuple[Mt5Line, str], ...]:
    """Return every line of the tester's report with its text, ``-`` where the run does not define it.

    Args:
        numbers: What `herald.statistics.summary` found.

    Source:
        MetaTrader 5 help, "Testing Report"; MQL5 reference, ``ENUM_STATISTICS``.
    """
    return tuple((line, _text(line, numbers)) for line in MT5_LINES)


def _text(line: Mt5Line, numbers: Mapping[str, Statistic]) -> str:
    if not line.keys:
        return "-"
    value = numbers.get(line.keys[0])
    if line.name == "Symbols":
        return str(len(value.split(", "))) if isinstance(value, str) and value else "-"
    shown = display(line.keys[0], value)
    if value is None:
        return shown
    if len(line.keys) > 1:
        return f"{shown} ({display(line.keys[1], numbers.get(line.keys[1]))})"
    in_brackets = _IN_BRACKETS.get(line.name)
    return f"{shown} ({in_brackets(value)})" if in_brackets is not None and isinstance(value, float) else shown


def _change(factor: float) -> str:
    return display("total_return", factor - 1.0)


def _confidence(score: float) -> str:
    return display("win_rate", math.erf(abs(score) / math.sqrt(2.0)))


_IN_BRACKETS: Mapping[str, Callable[[float], str]] = {"AHPR": _change, "GHPR": _change, "Z-Score": _confidence}
"""What the tester shows beside three figures and follows from them."""
