"""Every statistic of one rich run against a second computation: plain loops, the standard library, SciPy, empyrical.

Nothing here calls `herald.statistics` but `summary` itself, and a key without a second computation fails.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby, pairwise

import empyrical
import msgspec
import numpy as np
import pytest
from scipy import stats

from herald.model import BarSeries, Order, OrderStatus, Side, Trade
from herald.results import EquityCurve, RunResult
from herald.statistics import LABELS, Statistic, summary
from herald.testing.market import make_walk
from tests.runs import make_terms, make_trade, run_flip

SECOND = 1_000_000_000
STATUSES = [OrderStatus.CANCELLED] * 2 + [OrderStatus.EXPIRED] * 3 + [OrderStatus.REJECTED] * 4 + [OrderStatus.DENIED] * 5


@cache
def run() -> RunResult:
    """Return 60 days of the engine, with a second symbol that begins later, trades in it, and orders of every kind."""
    base = run_flip(1_440)
    late = make_walk(700, symbol="LATE", start="2024-01-20", price=50.0, volatility=0.004, seed=5)
    extra = [late_trade(late, 3 * n, 3 * n + 1 + n % 5, Side(1 - 2 * (n % 2))) for n in range(40)]
    trades = sorted([*base.trades, *extra], key=lambda trade: trade.exit_time)
    profit = np.array([sum(trade.net for trade in extra if trade.exit_time <= at) for at in base.equity.time.tolist()])
    curve = EquityCurve(base.equity.time, base.equity.equity + profit, base.equity.balance + profit, base.equity.exposure)
    return replace(
        base,
        trades=tuple(trades),
        equity=curve,
        market={**base.market, "LATE": late},
        instruments={**base.instruments, "LATE": make_terms("LATE", contract_size=10.0)},
        orders=(*base.orders, *(with_status(base.orders[0], status) for status in STATUSES)),
    )


def late_trade(bars: BarSeries, entry: int, leave: int, side: Side) -> Trade:
    opened, closed = float(bars.close[entry]), float(bars.close[leave])
    terms = {"entry_time": int(bars.time[entry]), "entry_price": opened, "exit_time": int(bars.time[leave]), "exit_price": closed}
    gross = side * (closed - opened) * 10.0 * 2.0
    return msgspec.structs.replace(make_trade(symbol="LATE", side=side), size=2.0, gross=gross, fees=0.03, **terms)


def with_status(order: Order, status: OrderStatus) -> Order:
    return msgspec.structs.replace(order, status=status)


def iso(ns: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // SECOND)).strftime("%Y-%m-%dT%H:%M:%SZ")


def day_of(ns: int) -> int:
    return (ns - 1) // (86_400 * SECOND)


def last_of_each_day(values: Sequence[float]) -> dict[int, float]:
    return {day_of(at): value for at, value in zip(run().equity.time.tolist(), values, strict=True)}


def daily() -> np.ndarray:
    values = [run().cash, *last_of_each_day(run().equity.equity.tolist()).values()]
    return np.array([after / before - 1 for before, after in pairwise(values)])


def periods() -> float:
    days = list(last_of_each_day(run().equity.equity.tolist()))
    return len(days) / ((days[-1] - days[0] + 1) / 365.25)


def market_daily() -> np.ndarray:
    """Return the mean growth of the symbols on each day; a symbol that begins that day grows from its first open."""
    found = []
    ends: dict[int, int] = {day_of(at): at for at in run().equity.time.tolist()}
    last: dict[str, float] = {}
    for end in ends.values():
        growth = []
        for symbol, bars in run().market.items():
            known = [close for at, close in zip(bars.time.tolist(), bars.close.tolist(), strict=True) if at <= end]
            if known:
                before = last.get(symbol, float(bars.open[0]))
                # The first day of the run has nothing to grow from but the open, as any symbol's first day.
                growth.append(known[-1] / before - 1)
                last[symbol] = known[-1]
        found.append(sum(growth) / len(growth))
    return np.array(found)


def monthly() -> list[float]:
    values = last_of_each_day(run().equity.equity.tolist())
    month = lambda day: (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m")  # noqa: E731
    ends = [run().cash] + [[values[day] for day in days][-1] for _, days in groupby(values, key=month)]
    return [after / before - 1 for before, after in pairwise(ends)]


def begin() -> int:
    return min(int(bars.time[0]) - bars.span for bars in run().market.values())


def falls(values: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Yield (fall in money, peak) at every value, the deposit first."""
    peak = -math.inf
    for value in [run().cash, *values]:
        peak = max(peak, value)
        yield peak - value, peak


def underwater() -> list[tuple[float, float]]:
    """Return (depth, seconds) of every stretch below a peak."""
    found = []
    peak, since, worst = run().cash, begin(), 0.0
    for at, value in zip(run().equity.time.tolist(), run().equity.equity.tolist(), strict=True):
        if value >= peak:
            if worst:
                found.append((worst, (at - since) / SECOND))
            peak, since, worst = value, at, 0.0
        else:
            worst = max(worst, (peak - value) / peak)
    return [*found, (worst, (int(run().equity.time[-1]) - since) / SECOND)] if worst else found


def profits() -> list[float]:
    return [trade.gross - trade.fees for trade in run().trades]


def won() -> list[float]:
    return [profit for profit in profits() if profit > 0]


def lost() -> list[float]:
    return [profit for profit in profits() if profit < 0]


def shares() -> list[float]:
    units = {symbol: terms.contract_size for symbol, terms in run().instruments.items()}
    return [(t.gross - t.fees) / (t.entry_price * t.size * units[t.symbol]) for t in run().trades]


def rows(sign: int) -> list[list[float]]:
    """Return the series of won (1) or lost (-1) trades."""
    return [list(group) for key, group in groupby(profits(), key=lambda p: math.copysign(1, p)) if key == sign]


def balances() -> list[float]:
    found = [run().cash]
    for profit in profits():
        found.append(found[-1] + profit)
    return found


def growths() -> list[float]:
    known = balances()
    return [after / before for before, after in pairwise(known)]


@cache
def reach() -> tuple[list[float], list[float]]:
    """Return MFE and MAE by looking at every bar of every trade."""
    best, worst = [], []
    for t in run().trades:
        bars, units = run().market[t.symbol], t.size * run().instruments[t.symbol].contract_size
        seen = (bars.time > t.entry_time) & (bars.time - bars.span < t.exit_time)
        prices = [t.entry_price, t.exit_price, *bars.high[seen], *bars.low[seen]]
        moves = [int(t.side) * (price - t.entry_price) * units for price in prices]
        best.append(max(moves))
        worst.append(min(moves))
    return best, worst


def held() -> list[float]:
    return [(trade.exit_time - trade.entry_time) / SECOND for trade in run().trades]


def won_of(side: Side) -> float:
    group = [trade.net > 0 for trade in run().trades if trade.side is side]
    return sum(group) / len(group)


def z() -> float:
    runs, n = len(rows(1)) + len(rows(-1)), len(profits())
    x = 2 * len(won()) * len(lost())
    return (n * (runs - 0.5) - x) / math.sqrt(x * (x - n) / (n - 1))


def expected_bars() -> int:
    count = 0
    for bars in run().market.values():
        for _, group in groupby(bars.time.tolist(), key=day_of):
            times = list(group)
            count += (times[-1] - times[0]) // bars.span + 1
    return count


def equity() -> list[float]:
    return run().equity.equity.tolist()


def balance() -> list[float]:
    return run().equity.balance.tolist()


def years() -> float:
    return (int(run().equity.time[-1]) - begin()) / SECOND / 86_400 / 365.25


def annual() -> float:
    return float(empyrical.annual_return(daily(), annualization=periods()))


def deepest(values: Sequence[float], by_money: bool) -> tuple[float, float]:
    return max(falls(values), key=lambda each: each[0] if by_money else each[0] / each[1])


def spread(bars: int) -> float:
    return float(run().equity.exposure[bars])


EXPECTED: dict[str, Callable[[], Statistic]] = {
    "start": lambda: iso(begin()),
    "end": lambda: iso(int(run().equity.time[-1])),
    "duration_seconds": lambda: years() * 365.25 * 86_400,
    "symbols": lambda: "TEST, LATE",
    "currency": lambda: "USD",
    "bars": lambda: 1_440 + 700,
    "history_quality": lambda: (1_440 + 700) / expected_bars(),
    "days": lambda: 60,
    "periods_per_year": periods,
    "risk_free": lambda: 0.0,
    "initial_deposit": lambda: run().cash,
    "final_equity": lambda: equity()[-1],
    "final_balance": lambda: balance()[-1],
    "equity_peak": lambda: max(run().cash, *equity()),
    "open_profit": lambda: equity()[-1] - balance()[-1],
    "total_return": lambda: equity()[-1] / run().cash - 1,
    "buy_and_hold_return": lambda: statistics.mean(float(b.close[-1] / b.open[0]) - 1 for b in run().market.values()),
    "annual_return": annual,
    "cagr": lambda: (equity()[-1] / run().cash) ** (1 / years()) - 1,
    "total_net_profit": lambda: sum(profits()),
    "gross_profit": lambda: sum(won()),
    "gross_loss": lambda: sum(lost()),
    "commissions": lambda: sum(fill.fee for fill in run().fills),
    "swaps": lambda: sum(fill.swap for fill in run().fills),
    "exposure_time": lambda: sum(each > 0 for each in run().equity.exposure) / 1_440,
    "volume": lambda: sum(fill.size for fill in run().fills),
    "annual_volatility": lambda: statistics.stdev(daily()) * math.sqrt(periods()),
    "sharpe": lambda: empyrical.sharpe_ratio(daily(), annualization=periods()),
    "sortino": lambda: empyrical.sortino_ratio(daily(), annualization=periods()),
    "downside_risk": lambda: empyrical.downside_risk(daily(), annualization=periods()),
    "calmar": lambda: annual() / max(fall / peak for fall, peak in falls(equity())),
    "omega": lambda: empyrical.omega_ratio(daily()),
    "alpha": lambda: empyrical.alpha_aligned(daily(), market_daily(), annualization=periods()),
    "beta": lambda: stats.linregress(market_daily(), daily()).slope,
    "value_at_risk": lambda: empyrical.value_at_risk(daily()),
    "expected_shortfall": lambda: empyrical.conditional_value_at_risk(daily()),
    "skew": lambda: stats.skew(daily()),
    "kurtosis": lambda: stats.kurtosis(daily()),
    "tail_ratio": lambda: empyrical.tail_ratio(daily()),
    "best_day": lambda: max(daily()),
    "worst_day": lambda: min(daily()),
    "winning_days": lambda: sum(each > 0 for each in daily()) / 60,
    "best_month": lambda: max(monthly()),
    "worst_month": lambda: min(monthly()),
    "max_drawdown": lambda: -max(fall / peak for fall, peak in falls(equity())),
    "average_drawdown": lambda: -statistics.mean(depth for depth, _ in underwater()),
    "max_drawdown_duration_seconds": lambda: max(seconds for _, seconds in underwater()),
    "average_drawdown_duration_seconds": lambda: statistics.mean(seconds for _, seconds in underwater()),
    "ulcer_index": lambda: math.sqrt(statistics.mean((fall / peak) ** 2 for fall, peak in falls(equity()))),
    "balance_drawdown_absolute": lambda: run().cash - min(run().cash, *balance()),
    "balance_drawdown_maximal": lambda: deepest(balance(), True)[0],
    "balance_drawdown_maximal_fraction": lambda: deepest(balance(), True)[0] / deepest(balance(), True)[1],
    "balance_drawdown_relative": lambda: deepest(balance(), False)[0] / deepest(balance(), False)[1],
    "balance_drawdown_relative_amount": lambda: deepest(balance(), False)[0],
    "equity_drawdown_absolute": lambda: run().cash - min(run().cash, *equity()),
    "equity_drawdown_maximal": lambda: deepest(equity(), True)[0],
    "equity_drawdown_maximal_fraction": lambda: deepest(equity(), True)[0] / deepest(equity(), True)[1],
    "equity_drawdown_relative": lambda: deepest(equity(), False)[0] / deepest(equity(), False)[1],
    "equity_drawdown_relative_amount": lambda: deepest(equity(), False)[0],
    "recovery_factor": lambda: sum(profits()) / deepest(balance(), True)[0],
    "margin_level": lambda: min(e * run().leverage / spread(n) for n, e in enumerate(equity()) if spread(n) > 0),
    "total_trades": lambda: len(profits()),
    "total_deals": lambda: len(run().fills),
    "win_rate": lambda: len(won()) / len(profits()),
    "profit_trades": lambda: len(won()),
    "profit_trades_fraction": lambda: len(won()) / len(profits()),
    "loss_trades": lambda: len(lost()),
    "loss_trades_fraction": lambda: len(lost()) / len(profits()),
    "long_trades": lambda: sum(trade.side is Side.BUY for trade in run().trades),
    "long_trades_won": lambda: won_of(Side.BUY),
    "short_trades": lambda: sum(trade.side is Side.SELL for trade in run().trades),
    "short_trades_won": lambda: won_of(Side.SELL),
    "largest_profit_trade": lambda: max(won()),
    "largest_loss_trade": lambda: min(lost()),
    "average_profit_trade": lambda: statistics.mean(won()),
    "average_loss_trade": lambda: statistics.mean(lost()),
    "expected_payoff": lambda: statistics.mean(profits()),
    "profit_factor": lambda: sum(won()) / -sum(lost()),
    "payoff_ratio": lambda: statistics.mean(won()) / -statistics.mean(lost()),
    "best_trade": lambda: max(shares()),
    "worst_trade": lambda: min(shares()),
    "average_trade": lambda: statistics.geometric_mean(1 + each for each in shares()) - 1,
    "expectancy": lambda: statistics.mean(shares()),
    "sqn": lambda: math.sqrt(len(profits())) * statistics.mean(profits()) / statistics.stdev(profits()),
    "kelly": lambda: (
        len(won()) / len(profits()) - len(lost()) / len(profits()) * -statistics.mean(lost()) / statistics.mean(won())
    ),
    "ahpr": lambda: statistics.mean(growths()),
    "ghpr": lambda: statistics.geometric_mean(growths()),
    "trade_sharpe": lambda: (statistics.mean(growths()) - 1) / statistics.stdev(growths()),
    "lr_correlation": lambda: statistics.correlation(range(len(balances())), balances()),
    "lr_standard_error": lambda: math.sqrt(
        np.polyfit(range(len(balances())), balances(), 1, full=True)[1][0] / (len(profits()) - 1)
    ),
    "z_score": z,
    "max_consecutive_wins": lambda: max(map(len, rows(1))),
    "max_consecutive_wins_profit": lambda: sum(max(rows(1), key=len)),
    "max_consecutive_losses": lambda: max(map(len, rows(-1))),
    "max_consecutive_losses_profit": lambda: sum(max(rows(-1), key=len)),
    "maximal_consecutive_profit": lambda: max(map(sum, rows(1))),
    "maximal_consecutive_profit_count": lambda: len(max(rows(1), key=sum)),
    "maximal_consecutive_loss": lambda: min(map(sum, rows(-1))),
    "maximal_consecutive_loss_count": lambda: len(min(rows(-1), key=sum)),
    "average_consecutive_wins": lambda: statistics.mean(map(len, rows(1))),
    "average_consecutive_losses": lambda: statistics.mean(map(len, rows(-1))),
    "correlation_profits_mfe": lambda: statistics.correlation(profits(), reach()[0]),
    "correlation_profits_mae": lambda: statistics.correlation(profits(), reach()[1]),
    "correlation_mfe_mae": lambda: statistics.correlation(*reach()),
    "average_mfe": lambda: statistics.mean(reach()[0]),
    "average_mae": lambda: statistics.mean(reach()[1]),
    "min_holding_seconds": lambda: min(held()),
    "max_holding_seconds": lambda: max(held()),
    "average_holding_seconds": lambda: statistics.mean(held()),
    "orders": lambda: len(run().orders),
    "orders_filled": lambda: sum(order.status == "filled" for order in run().orders),
    "orders_cancelled": lambda: 5,
    "orders_rejected": lambda: 4,
    "orders_denied": lambda: 5,
    "open_positions": lambda: 1,
}


@cache
def found() -> dict[str, Statistic]:
    return summary(run())


def test_the_run_is_rich_enough_to_tell_statistics_apart() -> None:
    numbers = [value for value in found().values() if isinstance(value, float) and value]

    assert all(math.isfinite(value) for value in numbers)
    assert None not in found().values()
    # Definitions that coincide on purpose: win rate and share of profit trades, payoff and so on.
    assert len(set(numbers)) >= 0.85 * len(numbers)


@pytest.mark.parametrize("key", LABELS)
def test_a_second_computation_agrees(key: str) -> None:
    expected = EXPECTED[key]()

    # Sums of some thousand numbers taken in another order: relative 1e-9.
    assert expected == (found()[key] if isinstance(expected, str) else pytest.approx(found()[key], rel=1e-9, abs=1e-12))
