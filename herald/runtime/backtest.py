"""A backtest of a Plan, or of strategies and series in memory: build, run, and say what happened."""

from __future__ import annotations

import gc
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from herald import model
from herald.clock import DAY, SimClock, format_time
from herald.contracts import Connector, Observer
from herald.engine.backtest import Backtest
from herald.engine.book import Ledger
from herald.engine.engine import Engine
from herald.engine.feed import Feed
from herald.engine.market import Market
from herald.engine.risk import EquityTrack, View
from herald.errors import DataError
from herald.host.plan import Plan
from herald.model import (
    Account,
    AccountMode,
    BarSeries,
    FloatArray,
    Instrument,
    IntArray,
    OrderRequest,
    RunStarted,
    RunStopped,
    Side,
)
from herald.results import EquityCurve, RunResult
from herald.runtime.building import Builder, Outlet, StrategySetup, costs_of, enlist, series_of, setup_of
from herald.runtime.measures import Bystander, measure_backtest
from herald.simulator.broker import FillRules, Intrabar, Simulator
from herald.simulator.costs import Costs

__all__ = ["Progress", "Stage", "assemble", "run_backtest", "simulate"]

Progress = Callable[[float], None]
"""Receives the finished fraction of a run, 0 to 1."""

_EVENTS = tuple(kind for kind in vars(model).values() if isinstance(kind, type) and kind.__module__.startswith("herald.model"))


def run_backtest(plan: Plan, progress: Progress | None = None) -> RunResult:
    """Run the backtest that *plan* describes.

    Args:
        plan: A checked configuration.
        progress: Told the finished fraction now and then.

    Returns:
        What happened. A strategy that raised makes the status ``failed``; Ctrl-C makes it ``interrupted``.

    Raises:
        ConfigError: An instrument lacks a term, or a currency cannot be converted.
        DataError: Bars are missing or defective.
    """
    clock = SimClock()
    outlet = Outlet()
    build = Builder(plan, clock, outlet.emit)
    with ExitStack() as stack:
        if build.metrics is not None:
            stack.callback(build.metrics.close)
        connectors: dict[str, Connector] = {}
        for name in dict.fromkeys(strategy.connector for strategy in plan.strategies):
            connector = build.connector(name)
            connectors[name] = connector
            connector.connect()
            stack.callback(connector.disconnect)
        data = _load(plan, connectors)
        observers: dict[str, Observer] = {}
        if plan.metrics is not None and build.metrics is not None:
            observers[plan.metrics.name] = Bystander(build.metrics)
        for part in plan.observers:
            observers[part.name] = build(part)
            stack.callback(observers[part.name].close)
        config = plan.config
        result = simulate(
            [setup_of(strategy, plan.risk, build, plan.seed) for strategy in plan.strategies],
            data.series,
            data.instruments,
            cash=config.backtest.cash,
            currency=config.account.currency,
            leverage=config.account.leverage,
            mode=AccountMode(config.account.mode),
            costs=costs_of(plan),
            rules=FillRules(Intrabar(config.backtest.intrabar), config.backtest.participation),
            start=config.backtest.start_at,
            end=config.backtest.end_at,
            conversions=config.conversions.symbols,
            max_age=round(config.conversions.max_age_seconds * 1e9),
            on_stop=config.herald.on_stop,
            observers=observers,
            clock=clock,
            outlet=outlet,
            progress=progress,
        )
        if build.metrics is not None:
            measure_backtest(build.metrics, result)
        return result


def simulate(
    strategies: Sequence[StrategySetup],
    series: Sequence[BarSeries],
    instruments: Mapping[str, Instrument],
    *,
    cash: float = 10_000.0,
    currency: str = "USD",
    leverage: float = 30.0,
    mode: AccountMode = AccountMode.NETTING,
    costs: Costs | None = None,
    rules: FillRules | None = None,
    start: int | None = None,
    end: int | None = None,
    conversions: Mapping[str, str] | None = None,
    max_age: int = 7 * DAY,
    on_stop: str = "cancel",
    observers: Mapping[str, Observer] | None = None,
    clock: SimClock | None = None,
    outlet: Outlet | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Run strategies over series that are in memory: a backtest without a config.

    Args:
        strategies: In the order in which they are called.
        series: Every series they use, and those that convert currencies; in the order of events at one time.
        instruments: Terms of every symbol of *series*.
        cash: Starting balance, account currency.
        currency: Of the account.
        leverage: Of the account, >= 1.
        mode: Netting or hedging.
        costs: What trades cost; nothing unless given.
        rules: What is assumed inside a bar.
        start: Bars that end at or before are history only, nanoseconds UTC; None starts with the first bar.
        end: Last time that takes part, nanoseconds UTC; None takes all.
        conversions: Symbol that converts a currency, by currency.
        max_age: Oldest conversion price that is used, nanoseconds.
        on_stop: ``leave``, ``cancel`` or ``flatten`` what is open at the end.
        observers: By name.
        clock: Shows the run's time to components.
        outlet: Receives the engine's `emit`, for components that emit events.
        progress: Told the finished fraction now and then.

    Returns:
        What happened.

    Raises:
        ConfigError: A currency cannot be converted.
        DataError: There is no bar to run on, or the data lacks what the costs need.
    """
    costs = costs or Costs()
    rules = rules or FillRules()
    feeds = [_feed(one, instruments[one.symbol], costs, rules, start) for one in series]
    ends = [int(np.searchsorted(f.time, end, side="right")) if end is not None else len(f.time) for f in feeds]
    stage = assemble(
        strategies,
        feeds,
        instruments,
        moments=lambda: _entered(backtest, feeds),
        cash=cash,
        currency=currency,
        leverage=leverage,
        mode=mode,
        costs=costs,
        rules=rules,
        conversions=conversions or {},
        max_age=max_age,
        observers=observers or {},
    )
    engine, simulator, ledger, market = stage.engine, stage.simulator, stage.engine.ledger, stage.engine.market_data
    if outlet is not None:
        outlet.attach(engine.emit)
    first = min((int(f.time[f.count]) for f, stop in zip(feeds, ends, strict=True) if f.count < stop), default=None)
    if first is None:
        raise DataError(_nothing(series, start, end))
    engine.now = start if start is not None else first
    if clock is not None:
        clock.set(engine.now)
    engine.start()
    backtest = Backtest(engine, simulator, ends)
    engine.emit(RunStarted(engine.now, "backtest"))
    errors: list[str] = []
    with _interruptible() as stopping, _sparing():
        _run(engine, backtest, stopping, clock, progress, errors)
    engine.stop()
    _close_out(engine, simulator, on_stop)
    status = "interrupted" if backtest.interrupted else "failed" if errors or engine.failures else "completed"
    errors += [
        f"strategy {failure.strategy!r} was stopped at {format_time(failure.time)}: {failure.error}"
        for failure in engine.failures
    ]
    engine.emit(RunStopped(engine.now, status))
    moments = _entered(backtest, feeds)
    worth = ledger.revalue(moments, market.columns)
    account = simulator.account(engine.now)
    return RunResult(
        status=status,
        errors=tuple(errors),
        mode="backtest",
        currency=currency,
        cash=cash,
        leverage=leverage,
        orders=tuple(engine.orders.values()),
        fills=tuple(ledger.fills.values()),
        trades=tuple(ledger.trades),
        equity=EquityCurve(_frozen(moments), *(_frozen(worth[name]) for name in ("equity", "balance", "exposure"))),
        positions=tuple((book.strategy, book.position) for book in ledger.open_books()),
        market=_traded(series, market, start, moments),
        instruments=dict(instruments),
        failures=tuple(engine.failures),
        notes=tuple(engine.notes),
        account={
            "balance": account.balance,
            "equity": account.equity,
            "margin_used": account.margin_used,
            "margin_free": account.margin_free,
            "cash": _cash(ledger, market),
        },
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """An engine and the simulated broker it trades with."""

    engine: Engine
    simulator: Simulator


def assemble(
    strategies: Sequence[StrategySetup],
    feeds: Sequence[Feed],
    instruments: Mapping[str, Instrument],
    *,
    moments: Callable[[], IntArray],
    cash: float,
    currency: str,
    leverage: float,
    mode: AccountMode,
    costs: Costs,
    rules: FillRules,
    conversions: Mapping[str, str],
    max_age: int,
    observers: Mapping[str, Observer],
) -> Stage:
    """Put an engine, its strategies and a simulated broker together; the parameters are those of `simulate`.

    Args:
        strategies: In the order in which they are called.
        feeds: Every series, preloaded for the chunked loop or empty for `Engine.step`.
        instruments: Terms of every symbol.
        moments: Returns the times of all moments that are complete, nanoseconds UTC, increasing.
        cash: Starting balance, account currency.
        currency: Of the account.
        leverage: Of the account, >= 1.
        mode: Netting or hedging.
        costs: What trades cost.
        rules: What is assumed inside a bar.
        conversions: Symbol that converts a currency, by currency.
        max_age: Oldest conversion price that is used, nanoseconds.
        observers: By name.

    Returns:
        Both, ready for ``engine.start()``.
    """
    marks: dict[str, Feed] = {}
    for feed in feeds:
        if feed.symbol not in marks or feed.span < marks[feed.symbol].span:
            marks[feed.symbol] = feed
    ledger = Ledger(cash)
    traded = list(dict.fromkeys(symbol for setup in strategies for symbol in setup.symbols))
    market = Market(marks, instruments, currency, conversions, traded, max_age)

    def account() -> Account:
        return simulator.account(engine.now)

    view = View(ledger, market, instruments, account, EquityTrack(ledger, market, moments))
    engine = Engine(ledger, market, feeds, view, account)
    simulator = Simulator(
        ledger,
        market,
        engine.on_order,
        engine.on_fill,
        costs=costs,
        rules=rules,
        currency=currency,
        leverage=leverage,
        mode=mode,
        instruments=[instruments[symbol] for symbol in traded],
    )
    engine.observe(observers, _EVENTS)
    for setup in strategies:
        enlist(engine, setup, instruments, feeds, view)
    return Stage(engine, simulator)


def _feed(series: BarSeries, instrument: Instrument, costs: Costs, rules: FillRules, start: int | None) -> Feed:
    """Return *series* as a preloaded feed, checked for what the costs need."""
    if costs.spread_data and series.spread is None:
        raise DataError(
            f'costs.spread = "data", but the data of {series.symbol} has no spread column; set costs.spread_points instead'
        )
    if (costs.needs_volume or rules.participation is not None) and bool(np.isnan(series.volume).any()):
        raise DataError(f"the volume of {series.symbol} is not known for every bar; slippage_impact and participation need it")
    spread: FloatArray
    if costs.spread_data and series.spread is not None:
        spread = series.spread
    else:
        spread = np.broadcast_to(np.float64(costs.spread_points * instrument.price_step), (len(series),))
    feed = Feed(series.symbol, series.span)
    feed.preload(series, spread, int(np.searchsorted(series.time, start, side="right")) if start is not None else 0)
    return feed


@dataclass(frozen=True, slots=True)
class _Data:
    series: list[BarSeries]
    instruments: dict[str, Instrument]


def _load(plan: Plan, connectors: Mapping[str, Connector]) -> _Data:
    """Fetch every series the strategies use, and those that convert their currencies."""
    wanted, instruments = series_of(plan, connectors, plan.config.account.currency)
    end = plan.config.backtest.end_at
    series = [connectors[name].bars(symbol, timeframe, None, end) for (symbol, timeframe), name in wanted.items()]
    used = {one.symbol for one in series}
    return _Data(series, {symbol: instrument for symbol, instrument in instruments.items() if symbol in used})


def _nothing(series: Sequence[BarSeries], start: int | None, end: int | None) -> str:
    known = [one for one in series if len(one)]
    if not known:
        return f"there are no bars of {', '.join(one.symbol for one in series)}"
    first = min(int(one.time[0]) for one in known)
    last = max(int(one.time[-1]) for one in known)
    begins = "the beginning" if start is None else format_time(start)
    ends = "the end" if end is None else format_time(end)
    span = f"{format_time(first)} and {format_time(last)}"
    return f"no bars from {begins} to {ends}: the data ends its bars between {span}; change [backtest] start or end"


def _entered(backtest: Backtest, feeds: Sequence[Feed]) -> Any:
    """Return the moments whose bars have happened."""
    last = max((int(feed.time[feed.count - 1]) for feed in feeds if feed.count), default=0)
    return backtest.moments[: int(np.searchsorted(backtest.moments, last, side="right"))]


def _run(
    engine: Engine,
    backtest: Backtest,
    stopping: threading.Event,
    clock: SimClock | None,
    progress: Progress | None,
    errors: list[str],
) -> None:
    def between(fraction: float) -> bool:
        if clock is not None:
            clock.set(engine.now)
        if progress is not None:
            progress(fraction)
        return not stopping.is_set()

    backtest.run(between)
    if clock is not None:
        clock.set(engine.now)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a request to stop, so that what was done so far is kept; the second one ends the process."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: object) -> None:
        stopping.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _sparing() -> Iterator[None]:
    """Let the collector of cycles look at a run seldom: what a run keeps is values without cycles, and it keeps many.

    What exists already is set aside for the time of the run, so that a collection looks at new objects only; cycles that a
    strategy makes are still found, some hundred thousand objects later. Everything is as before when the run is over.
    """
    if not gc.isenabled() or gc.get_freeze_count():
        yield  # the program around has its own way with the collector
        return
    threshold = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_SELDOM, *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()


def _close_out(engine: Engine, simulator: Simulator, on_stop: str) -> None:
    """Apply ``on_stop`` to what is open after the last bar."""
    _send(engine, simulator)  # what was asked for in on_stop rests like the others
    if on_stop == "leave":
        return
    for book in engine.ledger.books.values():
        for order in list(book.working.values()):
            engine.cancel(order.request.id)
    _send(engine, simulator)
    if on_stop == "flatten":
        for book in list(engine.ledger.open_books()):
            side = Side.SELL if book.size > 0 else Side.BUY
            request = OrderRequest(
                f"{book.strategy}-end-{book.symbol}",
                book.strategy,
                book.symbol,
                side,
                abs(book.size),
                reduce_only=True,
                tag="end_of_run",
            )
            simulator.close_out(book, engine.now, request)


def _send(engine: Engine, simulator: Simulator) -> None:
    commands = engine.take()
    while commands:
        for command in commands:
            simulator.accept(command, engine.now)
        commands = engine.take()


def _cash(ledger: Ledger, market: Market) -> float:
    """Return starting cash plus the money of every fill: what a fully paid account would have left."""
    flows = sum(book.cash * market.rate(book.symbol) for book in ledger.books.values() if book.changes)
    return ledger.cash - math.fsum(fill.fee - fill.swap for fill in ledger.fills.values() if fill.fee or fill.swap) + flows


def _traded(series: Sequence[BarSeries], market: Market, start: int | None, moments: IntArray) -> dict[str, BarSeries]:
    """Return the bars of the run of each symbol's finest series."""
    if not len(moments):
        return {}
    last = int(moments[-1])
    return {one.symbol: one.between(start, last) for one in series if market.feeds[one.symbol].span == one.span}


def _frozen(column: Any) -> Any:
    view = column.view()
    view.flags.writeable = False
    return view


_SELDOM = 100_000
"""New objects between two collections of a run; some ten megabytes."""
