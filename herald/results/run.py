"""What a run leaves behind, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from herald.model import BarSeries, Fill, FloatArray, Instrument, IntArray, Note, Order, Position, StrategyFailed, Trade

__all__ = ["EquityCurve", "RunResult"]


@dataclass(frozen=True, slots=True)
class EquityCurve:
    """The account at every moment of the run; arrays of shape (n,), read-only, account currency.

    Attributes:
        time: Moments (ends of bars), nanoseconds UTC, strictly increasing.
        equity: Balance plus open profit, every position valued at the price it would close at.
        balance: Starting cash plus realised profit less fees.
        exposure: Sum of the absolute notional of all positions.
    """

    time: IntArray
    equity: FloatArray
    balance: FloatArray
    exposure: FloatArray


@dataclass(frozen=True, slots=True)
class RunResult:
    """Everything a run produced.

    Attributes:
        status: ``completed``, ``failed`` (a strategy or the engine raised) or ``interrupted``.
        errors: One line each for what went wrong.
        mode: ``backtest``, ``paper`` or ``live``.
        currency: Account currency.
        cash: Starting balance, account currency.
        leverage: Of the account.
        orders: Every order in its last state, in the order of the requests.
        fills: In the order in which they happened.
        trades: Closed round trips, by exit.
        equity: The account over time.
        positions: (strategy, position) still open at the end.
        market: The finest series of every symbol, as traded.
        instruments: Terms of every symbol.
        failures: Strategies that were stopped.
        notes: Lines that strategies wrote.
        account: balance, equity, margin_used, margin_free and cash (sum of all fills) at the end.
    """

    status: str
    errors: tuple[str, ...]
    mode: str
    currency: str
    cash: float
    leverage: float
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    trades: tuple[Trade, ...]
    equity: EquityCurve
    positions: tuple[tuple[str, Position], ...]
    market: Mapping[str, BarSeries]
    instruments: Mapping[str, Instrument]
    failures: tuple[StrategyFailed, ...] = ()
    notes: tuple[Note, ...] = ()
    account: Mapping[str, float] = field(default_factory=dict)
