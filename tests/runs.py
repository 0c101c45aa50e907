"""Runs for the tests of statistics, run folders and reports: small ones by hand, a long one through the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from herald.clock import HOUR
from herald.contracts import Context, Strategy
from herald.model import Bar, BarSeries, Fill, Instrument, Note, Order, OrderRequest, OrderStatus, Position, Side, Trade
from herald.results import EquityCurve, RunResult
from herald.simulator.costs import Costs
from herald.testing.market import make_walk
from herald.testing.run import run_strategy

MONDAY = 1_704_067_200_000_000_000
"""2024-01-01T00:00Z."""


@dataclass(frozen=True)
class FakeOrigin:
    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True)
class FakePlan:
    """What a run folder keeps of a plan."""

    source: str = "conf/my demo.toml"
    seed: int = 7
    plugins: Sequence[FakeOrigin] = (FakeOrigin("strategies", "herald-trading", "0.1.0"),)
    config: Mapping[str, Any] = field(
        default_factory=lambda: {
            "herald": {"api": 1, "mode": "backtest"},
            "strategies": {"trend": {"use": "strategies.sma_cross", "fast": 3, "slow": 9}},
            "risk": [{"use": "risk.max_order_size", "lots": 5.0}],
        }
    )

    def to_dict(self) -> Mapping[str, Any]:
        return self.config


def make_trade(net: float = 10.0, *, entry: int = 0, leave: int = 1, side: Side = Side.BUY, **terms: Any) -> Trade:
    """Return a trade of one unit at 100; *entry* and *leave* are hours after `MONDAY`."""
    fees = terms.pop("fees", 0.0)
    size = terms.pop("size", 1.0)
    gross = net + fees
    return Trade(
        strategy=terms.pop("strategy", "trend"),
        symbol=terms.pop("symbol", "TEST"),
        side=side,
        size=size,
        entry_time=MONDAY + entry * HOUR,
        entry_price=100.0,
        exit_time=MONDAY + leave * HOUR,
        exit_price=100.0 + side * gross / size,
        gross=gross,
        fees=fees,
        entry_order="trend-000001",
        exit_order="trend-000002",
        **terms,
    )


def make_bars(rows: Sequence[tuple[float, float, float, float]], symbol: str = "TEST") -> BarSeries:
    """Return hourly bars (open, high, low, close) from `MONDAY` on."""
    columns = np.array(rows, np.float64).reshape(len(rows), 4).T
    time = MONDAY + HOUR * np.arange(1, len(rows) + 1, dtype=np.int64)
    return BarSeries(symbol, HOUR, time, *columns)


def make_result(
    equity: Sequence[float],
    *,
    cash: float = 100.0,
    trades: Sequence[Trade] = (),
    hours: Sequence[int] | None = None,
    bars: BarSeries | None = None,
    **terms: Any,
) -> RunResult:
    """Return a result whose account stood at *equity* at *hours* after `MONDAY` (1, 2, 3 ... unless given)."""
    time = MONDAY + HOUR * np.array(range(1, len(equity) + 1) if hours is None else hours, np.int64)
    worth = np.array(equity, np.float64)
    if bars is None:
        flat = np.full(len(time), 100.0)
        bars = BarSeries("TEST", HOUR, time, flat, flat, flat, flat)
    return RunResult(
        status=terms.pop("status", "completed"),
        errors=terms.pop("errors", ()),
        mode="backtest",
        currency="USD",
        cash=cash,
        leverage=terms.pop("leverage", 10.0),
        orders=terms.pop("orders", ()),
        fills=terms.pop("fills", ()),
        trades=tuple(trades),
        equity=EquityCurve(
            time, worth, terms.pop("balance", worth), np.array(terms.pop("exposure", np.zeros(len(time))), np.float64)
        ),
        positions=terms.pop("positions", ()),
        market={bars.symbol: bars},
        instruments={bars.symbol: make_terms(bars.symbol)},
        **terms,
    )


def make_terms(symbol: str = "TEST", quote: str = "USD", contract_size: float = 1.0) -> Instrument:
    return Instrument(symbol=symbol, quote=quote, price_step=0.01, size_step=0.01, min_size=0.01, contract_size=contract_size)


def make_full_result(tag: str = "cross", symbol: str = "TEST") -> RunResult:
    """Return a result with one of everything a run folder keeps."""
    ask = OrderRequest("trend-000001", "trend", symbol, Side.BUY, 1.0, limit=99.5, stop_loss=98.0, tag=tag, expires=MONDAY + 1)
    filled = Order(ask, OrderStatus.FILLED, MONDAY + HOUR, "77", 1.0, 99.5)
    denied = Order(ask, OrderStatus.DENIED, MONDAY + 2 * HOUR, code="max_daily_loss", reason='too much, "really"\nsecond line')
    fill = Fill("1", "trend-000001", symbol, Side.BUY, 1.0, 99.5, 0.1, "USD", MONDAY + HOUR + 123_456_789, -0.05)
    trade = make_trade(5.0, entry=1, leave=3, fees=0.2, symbol=symbol, entry_tag=tag, exit_tag=tag)
    return make_result(
        [100.0, 104.0, 103.0, 105.0],
        trades=[trade],
        bars=make_bars([(100, 101, 99, 100.5), (100.5, 106, 100, 105), (105, 105.5, 104, 105), (105, 105, 104, 105)], symbol),
        orders=(filled, denied),
        fills=(fill,),
        notes=(Note(MONDAY + HOUR, "trend", f"a note with {tag}"),),
        positions=(("trend", Position(symbol, -2.0, 104.5, 5.0, MONDAY + 3 * HOUR)),),
        account={"balance": 105.0, "equity": 105.0, "margin_used": math.nan},
    )


class Flip(Strategy[None]):
    """Holds one lot, long or short by the mean of the last *length* closes; a tag that tries to be HTML."""

    length = 20
    tag = "</script><img src=x onerror=alert(1)>"

    def on_start(self, ctx: Context) -> None:
        self.closes: list[float] = []
        self.side = 0

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.closes = [*self.closes[1 - self.length :], bar.close]
        if len(self.closes) < self.length:
            return
        side = 1 if bar.close > sum(self.closes) / self.length else -1
        if side != self.side:
            self.side = side
            ctx.target(bar.symbol, float(side), tag=self.tag)


def run_flip(n: int, symbol: str = "TEST") -> RunResult:
    """Return a real run of `Flip` over *n* hours of a random walk; its last position stays open."""
    walk = make_walk(n, symbol=symbol, volatility=0.002)
    return run_strategy(Flip, None, walk, name="flip", costs=Costs(spread_points=10, commission_per_lot=0.01)).result
