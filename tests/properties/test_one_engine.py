"""One engine: the chunked loop and `Engine.step`, one event at a time, leave the same log to the byte."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from herald.clock import HOUR, SimClock
from herald.contracts import Close, Context, Denial, Protect, RiskView, Services, Strategy
from herald.engine.backtest import moments_of
from herald.engine.feed import Feed
from herald.indicators.base import Indicator
from herald.model import (
    AccountMode,
    Bar,
    BarSeries,
    Event,
    Fill,
    FloatArray,
    Instrument,
    Moment,
    Order,
    OrderDenied,
    OrderRequest,
    Position,
    StrategyFailed,
    Timeframe,
    TimeInForce,
    Timer,
)
from herald.model.instrument import SwapMode
from herald.runtime import StrategySetup, assemble, simulate
from herald.simulator.broker import FillRules, Intrabar
from herald.simulator.costs import Costs

CASH = 100_000.0
H1, H4 = Timeframe(3_600), Timeframe(4 * 3_600)


class Last(Indicator):
    """The close and the high, so that a second output is exercised."""

    outputs = ("value", "top")

    def __init__(self) -> None:
        self.top = float("nan")

    def update(self, bar: Bar) -> float:
        self.value, self.top = bar.close, bar.high
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        return {"value": series.close, "top": series.high}


class Mean(Indicator):
    """Mean of the last three closes."""

    def __init__(self) -> None:
        self.closes: list[float] = []

    def update(self, bar: Bar) -> float:
        self.closes = [*self.closes[-2:], bar.close]
        self.value = sum(self.closes) / 3 if len(self.closes) == 3 else float("nan")
        return self.value

    def compute(self, series: BarSeries) -> dict[str, FloatArray]:
        out = np.full(len(series), np.nan)
        for i in range(2, len(series)):
            out[i] = sum(series.close[i - 2 : i + 1].tolist()) / 3
        return {"value": out}


class Wild(Strategy[dict[str, Any]]):
    """Does anything that a strategy may do, by its own random numbers."""

    def warmup(self) -> int:
        return int(self.settings["warmup"])

    def on_start(self, ctx: Context) -> None:
        self.seen: list[float] = []
        self.last = [ctx.indicator(Last(), symbol) for symbol in ctx.symbols]
        self.mean = ctx.indicator(Mean(), ctx.symbols[0])
        ctx.at(30 * HOUR, "early")

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        draw = ctx.random
        price, step = bar.close, draw.uniform(0.1, 2.0)
        self.seen += [one.top for one in self.last]
        if draw.random() > 0.6:
            return
        ctx.log(f"{bar.symbol} {bar.span} {self.mean.value!r} {len(self.seen)} {ctx.account.equity!r}")
        size = draw.choice([0.1, 0.5, 1.0, 3.0])
        terms: dict[str, Any] = {
            "time_in_force": draw.choice(list(TimeInForce)),
            "expires": ctx.now + draw.randint(1, 9) * HOUR,
            "tag": "wild",
        }
        side = draw.choice([ctx.buy, ctx.sell])
        up = step if side == ctx.buy else -step
        match draw.randint(0, 11):
            case 0:
                ctx.target(bar.symbol, draw.choice([-1.0, 0.0, 1.0]))
            case 1:
                side(bar.symbol, size)
            case 2:
                side(bar.symbol, size, stop_loss=price - up, take_profit=price + up)
            case 3:
                side(bar.symbol, size, limit=price - up, **terms)
            case 4:
                side(bar.symbol, size, stop=price + up, stop_loss=price - up, **terms)
            case 5:
                side(bar.symbol, size, limit=price - up, stop_loss=price - 3 * up, take_profit=price + up)
            case 6:
                side(bar.symbol, size, stop=price + up, limit=price + 2 * up)
            case 7:
                side(bar.symbol, size, reduce_only=True)
            case 8:
                ctx.close(bar.symbol)
            case 9 if ctx.orders():
                ctx.cancel(draw.choice(ctx.orders()))
            case 10 if ctx.orders():
                order = draw.choice(ctx.orders())
                if order.request.limit is not None:
                    ctx.modify(order, limit=order.request.limit + draw.uniform(-1, 1))
            case _:
                ctx.at(ctx.now + draw.randint(0, 5) * HOUR, "later")

    def on_fill(self, fill: Fill, ctx: Context) -> None:
        ctx.log(f"fill {ctx.closes(fill.symbol, 1)[0]!r} {ctx.position(fill.symbol).size} {self.mean.value!r}")
        if ctx.random.random() < 0.2:
            ctx.target(fill.symbol, 0.0)

    def on_order(self, order: Order, ctx: Context) -> None:
        if ctx.random.random() < 0.02:
            ctx.buy(order.request.symbol, 0.1, limit=1.0, time_in_force=TimeInForce.DAY)

    def on_timer(self, timer: Timer, ctx: Context) -> None:
        ctx.sell(ctx.symbols[0], 0.2, tag=timer.tag)
        if self.settings.get("fails") and ctx.now > 250 * HOUR:
            raise RuntimeError("planned")


class Quiet(Wild):
    """Hears neither fills nor orders."""

    on_fill = Strategy.on_fill
    on_order = Strategy.on_order


class Plain(Quiet):
    """Turns its position at market and nothing else, so that the loop may go straight."""

    def on_start(self, ctx: Context) -> None:
        self.last = []

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if ctx.random.random() < 0.3:
            ctx.target(bar.symbol, ctx.random.choice([-1.0, 0.0, 0.5, 1.0]))


class Trail:
    """Protects two below the close, and closes at times."""

    def check(self, position: Position, event: Any, ctx: Context) -> Close | Protect | None:
        if event.close > event.open + 1.2:
            return Close("jump", 0.5 if event.high > event.close + 0.3 else 1.0)
        sign = 1 if position.size > 0 else -1
        return Protect("trail", stop_loss=event.close - sign * 2.0, take_profit=event.close + sign * 4.0)


class Sized:
    """Looks at equity now, at its peak and a day ago."""

    exempts_reductions = True

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        if view.equity_peak() - view.account.equity > 1_500 and view.equity_at(view.now - 24 * HOUR) < view.account.equity:
            return Denial("lost", "too much is lost")
        return Denial("size", "too large") if request.size > 2.0 else None


class Log:
    """Writes every order, fill, denial, timer and failure as bytes."""

    events: tuple[type, ...] = (Order, Fill, OrderDenied, Timer, StrategyFailed)

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def observe(self, event: Event) -> None:
        if isinstance(event, StrategyFailed):
            event = StrategyFailed(event.time, event.strategy, event.error, "")
        self.lines.append(type(event).__name__.encode() + msgspec.json.encode(event))

    def close(self) -> None:
        pass


def walk(seed: int, symbol: str, n: int, *, holes: float) -> BarSeries:
    generator = np.random.default_rng([seed, len(symbol), ord(symbol[-1])])
    close = np.round(100 + np.cumsum(generator.normal(0, 0.7, n)), 2)
    opens = np.round(np.concatenate(([100.0], close[:-1])) + generator.normal(0, 0.2, n), 2)
    high = np.round(np.maximum(opens, close) + np.abs(generator.normal(0, 0.4, n)), 2)
    low = np.round(np.minimum(opens, close) - np.abs(generator.normal(0, 0.4, n)), 2)
    keep = generator.random(n) >= holes
    time = (np.arange(n, dtype=np.int64) + 1) * HOUR
    columns = (time, opens, high, low, close, generator.integers(1, 9, n).astype(float))
    return BarSeries(symbol, HOUR, *(column[keep] for column in columns))


def instruments() -> dict[str, Instrument]:
    terms = {"price_step": 0.01, "size_step": 0.1, "min_size": 0.1, "contract_size": 10.0}
    return {
        "AAA": Instrument(symbol="AAA", quote="USD", swap_long=-40.0, swap_short=15.0, swap_mode=SwapMode.POINTS, **terms),
        "BBB": Instrument(
            symbol="BBB", quote="EUR", swap_long=-90.0, swap_short=30.0, swap_mode=SwapMode.INTEREST_CURRENT,
            swap_zone="America/New_York+6:30", **terms,
        ),
        "EURUSD": Instrument(symbol="EURUSD", base="EUR", quote="USD", **terms),
    }  # fmt: skip


def setups(seed: int, kind: type[Wild], *, fails: bool) -> list[StrategySetup]:
    services = Services("x", SimClock(), random.Random(0))
    checks = (("risk", Sized()),)
    one = kind({"warmup": 7, "fails": fails}, services)
    two = kind({"warmup": 3}, services)
    rules = (("exit", Trail()),)
    return [
        StrategySetup("one", one, ("AAA", "BBB"), (H1, H4), checks=checks, exits=rules, random=random.Random(f"{seed}one")),
        StrategySetup("two", two, ("AAA",), (H1,), checks=checks, random=random.Random(f"{seed}two")),
    ]


def step_by_step(strategies: Sequence[StrategySetup], series: Sequence[BarSeries], **options: Any) -> tuple[list[bytes], Any]:
    """Run the same through `Engine.step`: appended bars, streaming indicators, no chunk, no shortcut."""
    log = Log()
    spread = options["costs"].spread_points * 0.01
    feeds = [Feed(one.symbol, one.span, spread) for one in series]
    done: list[int] = []
    stage = assemble(
        strategies,
        feeds,
        instruments(),
        moments=lambda: np.array(done, np.int64),
        observers={"log": log},
        cash=CASH,
        currency="USD",
        leverage=30.0,
        conversions={},
        max_age=10**18,
        **options,
    )
    engine, broker = stage.engine, stage.simulator
    preloaded = [Feed(one.symbol, one.span) for one in series]
    for feed, one in zip(preloaded, series, strict=True):
        feed.preload(one, np.zeros(len(one)), 0)
    times = moments_of(preloaded, [len(one) for one in series])
    rows = [dict(zip(one.time.tolist(), range(len(one)), strict=True)) for one in series]

    def send() -> None:
        commands = engine.take()
        while commands:
            for command in commands:
                broker.accept(command, engine.now)
            commands = engine.take()

    engine.now = int(times[0])
    engine.start()
    send()
    for time in times.tolist():
        engine.now = time
        bars = [(feed, one.bar(row[time])) for feed, one, row in zip(feeds, series, rows, strict=True) if time in row]
        for feed, bar in bars:
            if bar.symbol in broker.resting and engine.market_data.feeds[bar.symbol] is feed:
                broker.match(bar.symbol, time, bar.span, (bar.open, bar.high, bar.low, bar.close), bar.volume, spread)
        send()
        done.append(time)
        engine.commands.extend(engine.step(Moment(time, tuple(bar for _, bar in bars))))
        send()
    return log.lines, engine


CASES = [(seed, way, kind) for seed in range(4) for way in Intrabar for kind in (Wild, Quiet)]


@pytest.mark.parametrize(("seed", "way", "kind"), CASES)
def test_chunks_and_steps_leave_the_same_log(seed: int, way: Intrabar, kind: type[Wild]) -> None:
    holes = (0.0, 0.3)[seed % 2]
    a, b = walk(seed, "AAA", 400, holes=holes), walk(seed, "BBB", 400, holes=holes)
    series = [a, a.resample(H4), b, b.resample(H4), walk(seed, "EURUSD", 400, holes=0.0)]
    options = {
        "mode": AccountMode.NETTING if seed < 2 else AccountMode.HEDGING,
        "costs": Costs(spread_points=seed * 4, commission_per_lot=1.0, slippage_points=seed),
        "rules": FillRules(way, 0.9 if seed == 3 else None),
    }
    fails = seed == 2
    chunked = Log()

    result = simulate(
        setups(seed, kind, fails=fails),
        series,
        instruments(),
        observers={"log": chunked},
        on_stop="leave",
        max_age=10**18,
        cash=CASH,
        **options,
    )
    lines, engine = step_by_step(setups(seed, kind, fails=fails), series, **options)

    assert len(result.fills) > 150
    assert {"filled", "cancelled", "denied", "expired"} <= {str(order.status) for order in result.orders}
    assert {"stop_loss", "take_profit", "trail", "jump"} <= {order.request.tag for order in result.orders}
    assert lines == chunked.lines
    assert [note.text for note in engine.notes] == [note.text for note in result.notes]
    assert fails == bool(result.failures)


@pytest.mark.parametrize("seed", range(6))
def test_the_straight_way_leaves_the_same_orders_as_steps(seed: int) -> None:
    """One series and one quiet strategy take every shortcut of the loop, with no observer there to stop them."""
    series = [walk(seed, "AAA", 3_000, holes=0.1)]
    options = {
        "mode": AccountMode.NETTING,
        "costs": Costs(spread_points=seed, commission_per_lot=float(seed), slippage_range=0.01 * seed),
        "rules": FillRules(),
    }

    def setup() -> list[StrategySetup]:
        plain = Plain({"warmup": seed}, Services("x", SimClock(), random.Random(0)))
        return [StrategySetup("one", plain, ("AAA",), (H1,), checks=(("risk", Sized()),), random=random.Random(seed))]

    result = simulate(setup(), series, instruments(), on_stop="leave", cash=CASH, **options)
    _, engine = step_by_step(setup(), series, **options)

    assert len(result.fills) > 200
    assert msgspec.json.encode(result.fills) == msgspec.json.encode(tuple(engine.ledger.fills.values()))
    assert msgspec.json.encode(result.orders) == msgspec.json.encode(tuple(engine.orders.values()))
    assert msgspec.json.encode(result.trades) == msgspec.json.encode(tuple(engine.ledger.trades))
