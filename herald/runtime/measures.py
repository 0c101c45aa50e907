"""What a run measures of itself, besides what its components count; nothing of this runs without ``[metrics]``.

A paper or live run looks once a second, from the engine's thread, at what changes without an event. A backtest tells what
came of it when it is over.
"""

from __future__ import annotations

import math
import platform
import threading
from collections.abc import Callable, Iterable, Mapping

from herald.clock import SECOND, Clock
from herald.contracts import Gauge, Metrics, MetricsStore, Standing
from herald.engine.engine import Engine
from herald.live.driver import Driver
from herald.live.orders import Desk
from herald.live.reconcile import Reconciler
from herald.live.spool import Spool
from herald.live.state import ACCOUNT, StateFile, TradingState
from herald.live.worker import Worker
from herald.model import Account, Bar, Fill, Moment, Order, Quote, Trade
from herald.results import RunResult
from herald.utils._process import installed_version, resident_bytes

__all__ = ["Bystander", "LiveMeasures", "measure_backtest"]

_FREQUENT = (Account, Bar, Fill, Moment, Order, Quote)
"""What happens so often that a backtest would be slower for telling it."""
_LEVELS: Mapping[TradingState, float] = {TradingState.ACTIVE: 0.0, TradingState.REDUCING: 1.0, TradingState.HALTED: 2.0}
_ACCOUNT = ("balance", "equity", "margin_used", "margin_free")
_LOTS = "What a strategy holds, long above 0 and short below."
_REALIZED = "Profit of closed trades after fees and swap, account currency; of earlier runs of the same journal, too."
_MEMORY_SECONDS = 10.0
"""Between two looks at the memory, which is asked of the operating system."""


class _Gauges:
    """Gauges by name and labels; each is asked for once."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known: dict[tuple[str, ...], Gauge] = {}

    def set(self, value: float, name: str, text: str, **labels: str) -> None:
        """Set a gauge; what is not known at present, such as a worth without a price, leaves it as it was."""
        if math.isnan(value):
            return
        key = (name, *labels.values())
        gauge = self._known.get(key)
        if gauge is None:
            gauge = self._known[key] = self._metrics.gauge(name, text, labels)
        gauge.set(value)


class LiveMeasures:
    """Puts into gauges how a paper or live run stands."""

    def __init__(
        self,
        store: MetricsStore,
        mode: str,
        engine: Engine,
        desk: Desk,
        reconciler: Reconciler,
        driver: Driver,
        spool: Spool,
        workers: Mapping[str, Worker],
        state: StateFile,
        accounts: Callable[[], Mapping[str, Account]],
        clock: Clock,
        world: Clock,
    ) -> None:
        """Look at these; none is changed.

        Args:
            store: Takes the measures.
            mode: paper or live.
            engine: Its books, prices and strategies.
            desk: Its orders.
            reconciler: Says which connectors are ready.
            driver: Its queue.
            spool: The journal's queue.
            workers: By connector.
            state: What may be traded.
            accounts: Returns the last statement of every account, by connector.
            clock: Tells the time of the run, by which prices have an age.
            world: Tells the time of the machine.
        """
        self._engine = engine
        self._desk = desk
        self._reconciler = reconciler
        self._driver = driver
        self._spool = spool
        self._workers = workers
        self._state = state
        self._accounts = accounts
        self._clock = clock
        self._world = world
        self._gauges = _Gauges(store)
        self._scopes = {ACCOUNT}
        self._profits: dict[tuple[str, str], float] = {}
        self._trades = 0
        self._last: Trade | None = None
        self._next_memory = 0.0
        _tell_build(self._gauges, mode)
        self._gauges.set(world.now() / SECOND, "start_timestamp_seconds", "When the run began, Unix time.")

    def take(self, standing: Standing) -> None:
        """Bring every gauge up to date; *standing* is how journal, disk and clocks are."""
        self._take_process(standing)
        self._take_connectors()
        self._take_trading()
        for table, account in self._accounts().items():
            _tell_account(self._gauges, table, account.currency, *(getattr(account, name) for name in _ACCOUNT))
        _tell_fall(self._gauges, self._engine.account().equity, self._engine.view.equity_peak())
        self._take_books()

    def _take_process(self, standing: Standing) -> None:
        tell, now = self._gauges.set, self._world.monotonic()
        tell(self._world.now() / SECOND, "heartbeat_timestamp_seconds", "When the engine was last known to go round, Unix time.")
        tell(self._driver.backlog, "inbox_messages", "Messages that wait for the engine.")
        tell(self._spool.backlog, "journal_backlog_entries", "Entries that wait for the journal.")
        tell(self._spool.number, "journal_records", "Number of the last record of the journal.")
        tell(standing.journal, "journal_writable", "1 while records can be kept.")
        tell(standing.disk_free, "disk_free_bytes", "Space left where the journal lies.")
        tell(standing.clock_skew, "clock_skew_seconds", "By how much the clocks of the machine and the broker differ.")
        tell(threading.active_count(), "threads", "Threads of the process.")
        if now >= self._next_memory:
            self._next_memory = now + _MEMORY_SECONDS
            size = resident_bytes()
            if size is not None:
                tell(size, "resident_memory_bytes", "Physical memory of the process.")

    def _take_connectors(self) -> None:
        tell, now, ready = self._gauges.set, self._world.monotonic(), self._reconciler.ready
        for table, worker in self._workers.items():
            since = worker.busy_since
            up = worker.is_connected and table in ready
            tell(up, "connector_ready", "1 while it is connected and its account agrees with the books.", connector=table)
            tell(worker.backlog, "worker_backlog_jobs", "Orders and questions that wait for the connector.", connector=table)
            busy = max(now - since, 0.0) if since else 0.0
            tell(busy, "worker_busy_seconds", "How long the call under way has taken; 0 between calls.", connector=table)

    def _take_trading(self) -> None:
        tell, engine, desk = self._gauges.set, self._engine, self._desk
        scopes = self._state.trading.scopes
        self._scopes |= scopes.keys()
        text = "What is kept back: 0 nothing, 1 what adds to a position, 2 everything."
        for scope in self._scopes:
            level = _LEVELS[scopes[scope].state] if scope in scopes else 0.0
            tell(level, "trading_restriction", text, scope=scope)
        for runner in engine.runners:
            tell(not runner.failed, "strategy_running", "0 once a strategy raised and was stopped.", strategy=runner.name)
        tell(len(desk.unresolved), "orders_unresolved", "Orders of which nobody knows whether the broker has them.")
        tell(len(desk.blocked), "entries_blocked", "Strategies and symbols in which a given-up entry may still turn up.")
        working = sum(len(book.working) for book in engine.ledger.books.values())
        tell(working, "orders_working", "Orders that may still be filled.")
        now = self._clock.now()
        for symbol in dict.fromkeys(book.symbol for book in engine.ledger.books.values()):
            known = engine.market_data.price_time(symbol)
            if known:
                age = max(now - known, 0) / SECOND
                tell(age, "price_age_seconds", "How old the last price of a symbol is.", symbol=symbol)

    def _take_books(self) -> None:
        tell, market, trades = self._gauges.set, self._engine.market_data, self._engine.ledger.trades
        if self._trades and trades[self._trades - 1 : self._trades] != [self._last]:
            self._trades = 0  # an execution that was heard late has changed what came after it
            self._profits.clear()
        _add_up(self._profits, trades[self._trades :])
        self._trades, self._last = len(trades), trades[-1] if trades else None
        for book in self._engine.ledger.books.values():
            labels = {"strategy": book.strategy, "symbol": book.symbol}
            rate = market.rate(book.symbol)
            exposure = profit = 0.0
            if book.size:
                mark = market.bid(book.symbol) if book.size > 0 else market.ask(book.symbol)
                exposure = abs(book.size) * book.contract * mark * rate
                profit = (mark - book.average_price) * book.size * book.contract * rate
            tell(book.size, "position_lots", _LOTS, **labels)
            tell(exposure, "position_exposure", "Worth of what a strategy holds, account currency.", **labels)
            tell(profit, "position_profit", "Open profit, account currency.", **labels)
            tell(self._profits.get(book.key, 0.0), "realized_profit", _REALIZED, **labels)


class Bystander:
    """A store of metrics as a backtest lets it listen: to what happens seldom. Orders and fills it hears at the end.

    Attributes:
        events: What it hears.
    """

    def __init__(self, store: MetricsStore) -> None:
        """Pass on what *store* wants to hear and happens seldom."""
        self.events = tuple(kind for kind in store.events if not issubclass(kind, _FREQUENT))
        self.observe = store.observe

    def close(self) -> None:
        """Do nothing; the store is closed by whoever built it."""


def measure_backtest(store: MetricsStore, result: RunResult) -> None:
    """Let *store* know what came of a backtest: orders in their last state, fills, and the account at the end."""
    observe, wanted = store.observe, tuple(store.events)
    happened: tuple[tuple[type, tuple[Order, ...] | tuple[Fill, ...]], ...] = ((Order, result.orders), (Fill, result.fills))
    for kind, events in happened:
        if issubclass(kind, wanted):
            for event in events:
                observe(event)
    gauges = _Gauges(store)
    _tell_build(gauges, result.mode)
    _tell_account(gauges, "simulator", result.currency, *(result.account[name] for name in _ACCOUNT))
    _tell_fall(gauges, result.account["equity"], max(float(result.equity.equity.max(initial=result.cash)), result.cash))
    for strategy, position in result.positions:
        labels = {"strategy": strategy, "symbol": position.symbol}
        gauges.set(position.size, "position_lots", _LOTS, **labels)
    profits: dict[tuple[str, str], float] = {}
    _add_up(profits, result.trades)
    for (strategy, symbol), profit in profits.items():
        gauges.set(profit, "realized_profit", _REALIZED, strategy=strategy, symbol=symbol)


def _add_up(profits: dict[tuple[str, str], float], trades: Iterable[Trade]) -> None:
    """Add what *trades* brought to *profits* by (strategy, symbol)."""
    for trade in trades:
        key = trade.strategy, trade.symbol
        profits[key] = profits.get(key, 0.0) + trade.net


def _tell_build(gauges: _Gauges, mode: str) -> None:
    labels = {"version": installed_version("herald-trading"), "python": platform.python_version(), "mode": mode}
    gauges.set(1.0, "build_info", "What runs; always 1.", **labels)


def _tell_account(
    gauges: _Gauges, table: str, currency: str, balance: float, equity: float, margin_used: float, margin_free: float
) -> None:
    labels = {"connector": table, "currency": currency}
    gauges.set(balance, "account_balance", "Balance as the broker states it, account currency.", **labels)
    gauges.set(equity, "account_equity", "Equity as the broker states it, account currency.", **labels)
    gauges.set(margin_used, "account_margin_used", "Margin in use, account currency.", **labels)
    gauges.set(margin_free, "account_margin_free", "Margin left, account currency.", **labels)


def _tell_fall(gauges: _Gauges, equity: float, peak: float) -> None:
    gauges.set(peak, "equity_peak", "Highest equity of the run, account currency.")
    fall = max(1.0 - equity / peak, 0.0) if peak > 0 else 0.0
    gauges.set(fall, "drawdown_ratio", "How far the equity is below its peak, as a fraction of the peak.")
