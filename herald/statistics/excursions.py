"""How far the price went for and against every trade while it was open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from herald.model import BarSeries, FloatArray, Instrument, IntArray, Trade

__all__ = ["Excursions", "excursions", "trade_rates"]


@dataclass(frozen=True, slots=True)
class Excursions:
    """Largest open profit and loss of every trade, account currency, before fees.

    Attributes:
        favourable: Maximum favourable excursion (MFE), >= 0, shape (n,).
        adverse: Maximum adverse excursion (MAE), <= 0, shape (n,).
    """

    favourable: FloatArray
    adverse: FloatArray


def excursions(
    trades: Sequence[Trade], market: Mapping[str, BarSeries], instruments: Mapping[str, Instrument], currency: str
) -> Excursions:
    """Return MFE and MAE of every trade, at the resolution of the bars.

    The highest high and the lowest low of the bars that overlap the trade are compared with its entry price; entry
    and exit price count too, so a trade within one bar has at least those. Prices are the data's own (bid); the
    account's conversion rate is the one at which the trade was settled.

    Args:
        trades: In any order.
        market: Bars by symbol; a symbol that is missing has entry and exit price only.
        instruments: Terms by symbol.
        currency: Of the account.

    Source:
        J. Sweeney, "Maximum Adverse Excursion", 1997.
    """
    n = len(trades)
    entry = np.array([trade.entry_price for trade in trades], np.float64)
    leave = np.array([trade.exit_price for trade in trades], np.float64)
    side = np.array([int(trade.side) for trade in trades], np.float64)
    entered = np.array([trade.entry_time for trade in trades], np.int64)
    left = np.array([trade.exit_time for trade in trades], np.int64)
    worth = trade_rates(trades, instruments, currency)
    high, low = np.maximum(entry, leave), np.minimum(entry, leave)
    for symbol, at in _by_symbol(trades).items():
        worth[at] *= np.array([trades[i].size for i in at]) * instruments[symbol].contract_size
        bars = market.get(symbol)
        if bars is None or len(bars) == 0:
            continue
        first = np.searchsorted(bars.time, entered[at], side="right")
        after = np.searchsorted(bars.time - bars.span, left[at], side="left")
        held = first < after
        rows, first, after = at[held], first[held], after[held]
        if len(rows):
            high[rows] = np.maximum(high[rows], _between(np.maximum, bars.high, -math.inf, first, after))
            low[rows] = np.minimum(low[rows], _between(np.minimum, bars.low, math.inf, first, after))
    up, down = (high - entry) * worth, (low - entry) * worth
    is_long = side > 0
    return Excursions(np.where(is_long, up, -down), np.where(is_long, down, -up)) if n else Excursions(up, down)


def trade_rates(trades: Sequence[Trade], instruments: Mapping[str, Instrument], currency: str) -> FloatArray:
    """Return account currency per unit of quote currency at which every trade was settled, shape (n,).

    It follows from the trade's own profit and prices. A trade that closed where it was opened takes the rate of the
    nearest trade in its symbol that tells one; where none does it is 1 for an instrument quoted in the account
    currency and NaN otherwise.

    Args:
        trades: In any order.
        instruments: Terms by symbol.
        currency: Of the account.
    """
    rates = np.full(len(trades), math.nan)
    for symbol, at in _by_symbol(trades).items():
        instrument = instruments[symbol]
        if instrument.quote == currency:
            rates[at] = 1.0
            continue
        move = np.array([(t.exit_price - t.entry_price) * t.side * t.size for t in (trades[i] for i in at)])
        gross = np.array([trades[i].gross for i in at])
        told = np.flatnonzero((move != 0) & (gross != 0))
        if len(told) == 0:
            continue
        place = np.clip(np.searchsorted(told, np.arange(len(at))), 0, len(told) - 1)
        source = told[place]
        rates[at] = gross[source] / (move[source] * instrument.contract_size)
    return rates


def _by_symbol(trades: Sequence[Trade]) -> dict[str, IntArray]:
    groups: dict[str, list[int]] = {}
    for index, trade in enumerate(trades):
        groups.setdefault(trade.symbol, []).append(index)
    return {symbol: np.array(indexes, np.int64) for symbol, indexes in groups.items()}


def _between(best: np.ufunc, column: FloatArray, edge: float, first: IntArray, after: IntArray) -> FloatArray:
    """Return the best of ``column[first:after]`` for every pair; none is empty."""
    bounds = np.column_stack((first, after)).ravel()
    found: FloatArray = best.reduceat(np.append(column, edge), bounds)
    return found[::2]
