"""What the gate costs: every check by itself, and the whole of `essential` with the checks that a config must state.

The requests go through a real run: three strategies trade two symbols with limit and market orders, brackets and reductions, over a
random walk, and every request passes every check. On the way each check is asked three times with the engine's own view, and the
fastest of the three counts, so that one pause of the machine is not the check's; the whole gate is asked once and every answer
counts, in the time of the thread: other programs are not the gate's.

A check must cost at most 2 microseconds in the middle, and the whole gate at most 20 at its 99th percentile (RELIABILITY T6).
The first request after new prices pays for valuing the account at every moment since the last one; the second line asks again at
the same prices. What all checks share (account, positions, working orders) is looked up once a request: that is in the
figures of the gate, not in those of the checks. The last line is a plain loop of the same length: its spread is the machine's.

Run: ``python benchmarks/gate.py`` (about half a minute).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

from herald import Bar, Context, Strategy, Timeframe
from herald.contracts import Denial, RiskCheck, RiskView, Standing
from herald.engine.risk import Gate, View
from herald.model import OrderRequest, Quote
from herald.plugins.risk import herald_risk_checks, herald_risk_profiles
from herald.runtime import StrategySetup, simulate
from herald.testing import make_instrument, make_services, make_walk

GOAL_CHECK_NS, GOAL_GATE_NS = 2_000, 20_000
# Nothing here is ever refused: a refusal would end the gate early.
LOOSE: dict[str, dict[str, Any]] = {
    "max_order_size": {"lots": 100.0, "notional": 1e9},
    "max_position": {"limit": 1e6},
    "max_exposure": {"total_fraction": 1e6, "symbol_fraction": 1e6},
    "max_daily_loss": {"fraction": 1.0},
    "max_drawdown": {"fraction": 1.0},
    "max_open_orders": {"limit": 1_000},
    "max_open_positions": {"limit": 1_000},
    "max_orders_per_minute": {"limit": 10_000, "per_second": 10_000, "per_day": 1_000_000},
    "order_to_fill_ratio": {"ratio": 1e6},
    "repeated_execution": {"executions": 1_000},
    "consecutive_losses": {"limit": 1_000_000},
    "strategy_budget": {"amount": 1e12},
    "price_collar": {"fraction": 0.9},
    "tradable": {"blackout": ["Sat 22:55-23:10"], "zone": "America/New_York"},
    "self_cross": {"orders": "allow", "positions": "allow"},
}


class Facts:
    """A live run in which everything is as it should be."""

    fine = Standing()

    def standing(self) -> Standing:
        """Return how it stands."""
        return self.fine

    def trading_state(self, strategy: str, symbol: str) -> str:
        """Return that everything may be traded."""
        return "ACTIVE"

    def is_ready(self, symbol: str) -> bool:
        """Return that the connector is ready."""
        return True

    def last_quote(self, symbol: str) -> Quote | None:
        """Return that there are only bars."""
        return None


class Busy(Strategy[int]):
    """Asks for something every bar, so that books, orders and fills pile up as on a busy day."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Trade around what is held."""
        draw = ctx.random
        symbol = bar.symbol
        for order in ctx.orders(symbol):
            ctx.cancel(order)
        held = ctx.position(symbol).size
        if held and draw.random() < 0.3:
            ctx.close(symbol)
        elif draw.random() < 0.5:
            ctx.buy(symbol, draw.randrange(1, 50) / 100, limit=round(bar.close * (1 - draw.random() / 100), 5))
        else:
            ctx.target(symbol, draw.randrange(-50, 50) / 100)


class Meter:
    """A check that measures the others and refuses nothing."""

    exempts_reductions = False

    def __init__(self, checks: Sequence[tuple[str, RiskCheck]], whole: Sequence[tuple[str, RiskCheck]]) -> None:
        """Measure each of *checks*, and *whole* as one gate."""
        self.checks = checks
        self.times: dict[str, list[int]] = {name: [] for name, _ in checks}
        self.whole = whole
        self.gate: Gate | None = None
        self.gate_times: list[int] = []
        self.again_times: list[int] = []
        self.working: list[int] = []

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Ask and measure."""
        assert isinstance(view, View)
        view.live = Facts()
        if self.gate is None:
            self.gate = Gate(self.whole, view)
        clock = time.thread_time_ns
        start = clock()
        answer = self.gate.ask(request, False)
        self.gate_times.append(clock() - start)
        assert answer is None, answer
        start = clock()
        answer = self.gate.ask(request, False)
        self.again_times.append(clock() - start)
        clock = time.perf_counter_ns
        assert answer is None, answer
        self.working.append(len(view.working()))
        view.hold()
        for name, check in self.checks:
            best = 10**9
            for _ in range(3):
                start = clock()
                answer = check.check(request, view)
                best = min(best, clock() - start)
            assert answer is None, (name, answer)
            self.times[name].append(best)
        view.release()
        return None


def built() -> list[tuple[str, RiskCheck]]:
    """Return every check with limits that nothing reaches."""
    return [
        (one.name, one.build(one.settings(**LOOSE.get(one.name, {})), make_services(one.name))) for one in herald_risk_checks()
    ]


def main() -> int:
    """Measure and print; return 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=1_000)
    bars = parser.parse_args().bars
    (live,) = [profile for profile in herald_risk_profiles() if profile.name == "live"]
    wanted = [use.partition(".")[2] for use, _ in live.checks]
    checks = dict(built())
    meter = Meter(built(), [(name, checks[name]) for name in wanted])
    symbols = ("AAA", "BBB")
    series = [make_walk(bars, symbol=symbol, timeframe="1m", volatility=0.0005) for symbol in symbols]
    setups = [
        StrategySetup(
            f"busy{number}",
            Busy(number, make_services(f"busy{number}", seed=number)),
            symbols,
            (Timeframe(60),),
            checks=(("meter", meter),),
            random=make_services(f"draw{number}", seed=number).random,
        )
        for number in range(3)
    ]
    result = simulate(setups, series, {symbol: make_instrument(symbol) for symbol in symbols}, cash=1e9)
    assert not result.failures, result.failures[0].traceback
    assert len(meter.gate_times) > 2 * bars

    working = statistics.mean(meter.working)
    print(f"{len(meter.gate_times)} requests, {len(result.fills)} fills, {working:.1f} working orders on average; microseconds")
    print(f"{'check':<24}{'p50':>8}{'p99':>8}")
    slow = []
    for name, times in meter.times.items():
        p50, p99 = _percentiles(times)
        print(f"{name:<24}{p50 / 1e3:8.2f}{p99 / 1e3:8.2f}")
        if p50 > GOAL_CHECK_NS:
            slow.append(f"{name} costs {p50 / 1e3:.2f} in the middle; the goal is {GOAL_CHECK_NS / 1e3:g}")
    p50, p99 = _percentiles(meter.gate_times)
    print(f"{f'whole gate ({len(wanted)})':<24}{p50 / 1e3:8.2f}{p99 / 1e3:8.2f}")
    if p99 > GOAL_GATE_NS:
        slow.append(f"the whole gate costs {p99 / 1e3:.2f} at its 99th percentile; the goal is {GOAL_GATE_NS / 1e3:g}")
    p50, p99 = _percentiles(meter.again_times)
    print(f"{'  at the same prices':<24}{p50 / 1e3:8.2f}{p99 / 1e3:8.2f}")
    p50, p99 = _percentiles(_control(p50))
    print(f"{'  a plain loop as long':<24}{p50 / 1e3:8.2f}{p99 / 1e3:8.2f}")
    for line in slow:
        print("MISSED:", line)
    return 1 if slow else 0


def _control(wanted: float) -> list[int]:
    """Return the times of a loop that takes about *wanted* nanoseconds and does nothing: how steady the machine is."""
    clock = time.thread_time_ns

    def loop(turns: int) -> float:
        total = 0.0
        for turn in range(turns):
            total += turn * 0.5
        return total

    start = clock()
    loop(100_000)
    turns = max(round(wanted * 100_000 / (clock() - start)), 1)
    times = []
    for _ in range(5_000):
        start = clock()
        loop(turns)
        times.append(clock() - start)
    return times


def _percentiles(times: Sequence[int]) -> tuple[float, float]:
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


if __name__ == "__main__":
    raise SystemExit(main())
