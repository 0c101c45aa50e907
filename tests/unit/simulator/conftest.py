"""A scripted strategy on hand-made bars: what the tests of the fill rules run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from herald.clock import HOUR, SimClock
from herald.contracts import Context, Services, Strategy
from herald.model import Bar, BarSeries, Fill, Instrument, Order, Timeframe
from herald.results import RunResult
from herald.runtime import StrategySetup, simulate

Row = tuple[float, ...]
Action = Callable[[Context], object]
HOURLY = Timeframe(3600)


def instrument(symbol: str = "X", **terms: Any) -> Instrument:
    """Return a plain instrument: one unit a lot, steps of a cent and a hundredth lot."""
    values = {"quote": "USD", "price_step": 0.01, "size_step": 0.01, "min_size": 0.01, "contract_size": 1.0} | terms
    return Instrument(symbol=symbol, **values)


def series(rows: Sequence[Row], symbol: str = "X", span: int = HOUR, first: int = 1) -> BarSeries:
    """Return bars from (open, high, low, close[, volume[, spread]]) rows; bar k ends at ``(first + k) * span``."""
    table = np.array([tuple(row) + (100.0, 0.0)[len(row) - 4 :] for row in rows], float).T
    time = (np.arange(len(rows), dtype=np.int64) + first) * span
    return BarSeries(symbol, span, time, *table[:4], table[4], table[5])


class Script(Strategy[Mapping[int, Action]]):
    """Calls what the settings hold for the number of the bar (0 is the first), and remembers what it hears."""

    def on_start(self, ctx: Context) -> None:
        self.count = -1
        self.heard: list[Order | Fill] = []
        self.on_fill_action: Callable[[Fill, Context], object] | None = None

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.count += 1
        action = self.settings.get(self.count)
        if action is not None:
            action(ctx)

    def on_order(self, order: Order, ctx: Context) -> None:
        self.heard.append(order)

    def on_fill(self, fill: Fill, ctx: Context) -> None:
        self.heard.append(fill)
        if self.settings.get(-1) is not None:
            self.settings[-1](ctx)


def script(actions: Mapping[int, Action], name: str = "s", symbols: tuple[str, ...] = ("X",), **more: Any) -> StrategySetup:
    """Return a scripted strategy."""
    services = Services(name, SimClock(), None)  # type: ignore[arg-type]
    return StrategySetup(name, Script(actions, services), symbols, more.pop("timeframes", (HOURLY,)), **more)


Runner = Callable[..., RunResult]


@pytest.fixture
def run() -> Runner:
    """Run a script over rows; keyword arguments go to `simulate`."""

    def call(rows: Sequence[Row], actions: Mapping[int, Action], **options: Any) -> RunResult:
        terms = options.pop("instrument", instrument())
        options.setdefault("on_stop", "leave")
        return simulate([script(actions)], [series(rows)], {"X": terms}, **options)

    return call


def deals(result: RunResult) -> list[tuple[str, int, float, float]]:
    """Return (order id, side, size, price) of every fill."""
    return [(fill.order_id, int(fill.side), fill.size, fill.price) for fill in result.fills]


def states(result: RunResult) -> dict[str, str]:
    """Return the last status of every order."""
    return {order.id: str(order.status) for order in result.orders}
