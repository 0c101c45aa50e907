"""A paper or live run of a Plan: build, connect, recover, run until told to stop, and say what happened."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import msgspec

from herald import model
from herald.clock import DAY, SECOND, Clock, SimClock, WallClock, format_time
from herald.contracts import (
    AuditTrail,
    Call,
    Connector,
    Journal,
    MetricsStore,
    Middleware,
    Observer,
    Service,
    Services,
    Standing,
    Strategy,
)
from herald.engine.book import Ledger
from herald.engine.engine import Engine
from herald.engine.feed import Feed
from herald.engine.risk import EquityTrack, View
from herald.errors import (
    AuditError,
    ConfigError,
    HeraldError,
    LeaseError,
    NotConnected,
    NotSupported,
    PermitError,
    Problem,
    TransientError,
)
from herald.host.audit import mark_audited, operator
from herald.host.plan import EXTERNAL, MANUAL, Plan, Planned, load_plan
from herald.live.chain import GuardedConnector
from herald.live.chronicle import Chronicle
from herald.live.crashpoints import crash_point
from herald.live.driver import Driver, Housekeeping
from herald.live.lease import AccountLease
from herald.live.market import QuotedMarket
from herald.live.moments import Assembler
from herald.live.orders import Account as DeskAccount
from herald.live.orders import Desk
from herald.live.paper import PaperBook, PaperConnector
from herald.live.reconcile import Reconciler
from herald.live.recovery import Past, missing_books, recover
from herald.live.spool import Spool
from herald.live.state import ACCOUNT, Change, StateFile, TokenOffice, TradingState, scope_of
from herald.live.supervise import Heartbeat
from herald.live.tags import client_tag
from herald.live.timing import Times
from herald.live.worker import Pace, Worker, WorkerClock
from herald.model import (
    Account,
    AccountMode,
    Alert,
    Event,
    Instrument,
    OrderRequest,
    Quote,
    Record,
    RunBegan,
    RunEnded,
    RunStarted,
    RunStopped,
    StateChanged,
    StateSet,
    Timeframe,
    describe,
)
from herald.results import EquityCurve, RunResult
from herald.runtime.building import Builder, Outlet, StrategySetup, costs_of, enlist, seeded, series_of, setup_of
from herald.runtime.control import RunControl
from herald.runtime.measures import LiveMeasures
from herald.simulator.broker import FillRules, Intrabar

__all__ = ["LiveRun", "Surround", "Task"]


_SWITCH_SECONDS = 0.000_2
_MEASURE_SECONDS = 5.0
"""Between two looks at the space that is left."""

Surround: TypeAlias = Callable[[str, Connector, Clock, Callable[[Event], None]], tuple[Connector, Sequence[Middleware]]]
"""From a table, its connector inside the layers of the file, the clock they wait on and where events go: the source of
prices of the paper account, and the layers around that account, outermost first."""


class Facts:
    """What the gate may know of a live run; the view asks it."""

    def __init__(self, run: LiveRun) -> None:
        """Answer for *run*."""
        self._run = run

    def trading_state(self, strategy: str, symbol: str) -> str:
        """Return what passes there, ``REDUCING`` also for a halt that lets exits through."""
        return str(self._run.state.trading.passing(strategy, symbol).value)

    def is_ready(self, symbol: str) -> bool:
        """Return whether the symbol's connector is connected and reconciled, and no abandoned entry may turn up there."""
        run = self._run
        return run.table_of[symbol] in run.reconciler.ready and not any(name == symbol for _, name in run.desk.blocked)

    def standing(self) -> Standing:
        """Return how the run stands."""
        return self._run.standing

    def last_quote(self, symbol: str) -> Quote | None:
        """Return the last quote."""
        return self._run.market.quotes.get(symbol)


class _DoorOf:
    """The last step before an order leaves: the permission is good once, and for the state that holds now."""

    def __init__(self, office: TokenOffice, state: StateFile, lease: AccountLease | None) -> None:
        self._office = office
        self._state = state
        self._lease = lease
        self._before_send = crash_point("before_send")

    def open(self, call: Call) -> None:
        """Use up the permission of *call*."""
        request: OrderRequest = call.args[-1]
        try:
            if self._lease is not None:
                self._lease.check()
        except LeaseError as error:
            raise PermitError("lease_lost", str(error)) from error
        generation = self._state.check()
        denial = self._state.trading.denial(request)
        if denial is not None:  # also what no check was asked about, such as protection that an exit places
            raise PermitError(denial.code, denial.text)
        self._office.redeem(call.permit, request, generation)
        self._before_send()

    def give_back(self, call: Call) -> None:
        """Make it valid again."""
        self._office.give_back(call.permit)


class Task(StrEnum):
    """What a run is for."""

    TRADE = "trade"
    RECONCILE = "reconcile"
    """Compare the account with the journal, and end."""
    CANCEL = "cancel"
    """Withdraw every working order, and end."""
    FLATTEN = "flatten"
    """The same, and close every position."""


class LiveRun:
    """One paper or live run.

    Attributes:
        plan: What is run.
        state: What may be traded.
        engine: Decides.
        desk: Sends.
        reconciler: Compares.
        market: Last known prices.
        driver: The loop.
        standing: How journal, disk, clock and account stand.
        table_of: Connector by symbol.
        health: Last state that a layer or the watch over a worker told, by name; with a display only.
        audit: Records privileged acts before they are done; None where nothing is audited.
        manual_of: Name of the books of what a person trades, by connector; empty where no service lets one trade.
        metrics: What the run measures; None where it measures nothing.
    """

    engine: Engine
    desk: Desk
    reconciler: Reconciler
    market: QuotedMarket
    driver: Driver

    def __init__(
        self,
        plan: Plan,
        *,
        demo_only: bool = False,
        tick: Callable[[LiveRun], None] | None = None,
        in_memory: bool = False,
        task: Task = Task.TRADE,
        holds_lease: bool = False,
        dry: bool = False,
        world: Clock | None = None,
        broker_layers: Surround | None = None,
        observers: Mapping[str, Observer] = MappingProxyType({}),
    ) -> None:
        """Prepare; nothing is built or connected yet.

        Args:
            plan: For mode ``paper`` or ``live``.
            demo_only: Refuse an account with real money, whatever the file says.
            tick: Called about once a second from the engine's thread, for a display.
            in_memory: Keep the paper account's book in memory; for tests.
            task: What to do; without trading no strategy is asked anything.
            dry: Write nothing to the journal.
            holds_lease: The caller has the account's lease already, as a watchdog has.
            world: The clock that connectors wait on; the machine's unless given. One that runs faster says by ``pace`` how much.
            broker_layers: Moves the layers of a connector around the whole paper account, and more with them; for rehearsals.
            observers: Observers besides those of the file.
        """
        self.plan = plan
        self.standing = Standing()
        self.audit: AuditTrail | None = None
        self.metrics: MetricsStore | None = None
        self._measures: LiveMeasures | None = None
        self._doubt = ""
        self.table_of: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        self.folder = Path(plan.base) / plan.config.live.state
        self._demo_only = demo_only
        self._tick = tick
        self._in_memory = in_memory
        self._task = task
        self._holds_lease = holds_lease
        self._dry = dry
        self._last_change = 0
        self._begun: set[tuple[str, int]] = set()
        self._before = 0, 0
        self._ended: set[str] = set()
        self._world = world or WallClock()
        self._broker_layers = broker_layers
        self._observers = observers
        self._outlet = Outlet()
        self._errors: list[str] = []
        self._generation = 0
        self.state = StateFile(self.folder, self._world)
        self._office = TokenOffice()
        self._leases: dict[str, AccountLease] = {}
        self._news: list[Event] = []
        self._heartbeat = Heartbeat.from_environment(self._world)
        self._next_measure = 0.0
        self._next_flatten = 0.0
        self.health: dict[str, str] = {}
        self._adopter_of: dict[str, str] = {}  # name of the books of positions of others, by connector
        self.manual_of: dict[str, str] = {}
        self._control: RunControl | None = None
        self._services: dict[str, tuple[Planned[Service], Service]] = {}
        self._reloading = threading.Lock()
        self._strange: dict[str, str] = {}  # connectors that lead to another account than at the start, and what differs

    # --- building ---------------------------------------------------------------------------------

    def run(self, stop: Callable[[], bool]) -> RunResult:
        """Run until *stop* says so, or recorded data is over; return what happened.

        Raises:
            ConfigError: Something cannot be built, or the account is not the one that the file names.
            JournalError: The journal cannot be used, or the config changed under open positions.
            LeaseError: The account belongs to another process.
            ConnectorError: The first connection fails.
        """
        interval = sys.getswitchinterval()
        # A thread that computes keeps the others waiting for five milliseconds otherwise, and here every order waits.
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            return self._run(stop)
        finally:
            sys.setswitchinterval(interval)

    def _run(self, stop: Callable[[], bool]) -> RunResult:
        plan, live = self.plan, self.plan.config.live
        with ExitStack() as stack:
            clocks = {table: WorkerClock(self._world) for table in self._tables()}
            is_measured = self._task is Task.TRADE and not self._dry
            build = Builder(plan, self._world, self._outlet.emit, self._world, is_measured=is_measured)
            self.metrics = build.metrics
            if self.metrics is not None:
                stack.callback(self.metrics.close)
            raw = {table: build.connector(table, clocks[table]) for table in clocks}
            for connector in raw.values():
                self._patiently(connector.connect)
                stack.callback(connector.disconnect)
            lockstep = all(connector.capabilities().lockstep for connector in raw.values())
            books = self._paper_books(raw)
            begins = [connector.capabilities().starts_at for connector in raw.values()]
            played = [book.played() for book in books.values()]  # a replay goes on where an earlier run of it ended
            clock: Clock = SimClock(max(*begins, *played, 0)) if lockstep else self._world
            asked = self._patient(raw)
            wanted, known = series_of(plan, asked, self._currency(asked))
            self.table_of = {symbol: table for (symbol, _), table in wanted.items()}
            instruments = {symbol: known[symbol] for symbol in self.table_of}
            feeds, series = self._feeds(asked, wanted, instruments, clock)
            self._take_leases(asked, stack)
            connectors = self._brokers(raw, books, instruments, feeds, clock, clocks)
            accounts = {table: connector.account() for table, connector in self._patient(connectors).items()}
            observers = dict(self._observers)
            if plan.metrics is not None and self.metrics is not None:
                observers[plan.metrics.name] = self.metrics
            if plan.audit is not None and not (self._dry or self._in_memory):
                self.audit = self._audited(build(plan.audit, clock=self._world), stack)
                observers[plan.audit.name] = self.audit
            if plan.services and self._task is Task.TRADE and not self._dry:
                self._control = RunControl(self, self._world)
                observers["the control of the run"] = self._control
                stack.callback(self._control.close)
            for part in plan.observers:
                observers[part.name] = build(part, clock=clock)
                stack.callback(observers[part.name].close)
            part_of_journal = plan.journal
            if part_of_journal is None:
                raise ConfigError(plan.source, [Problem("journal", "is missing", 'write [journal] use = "journal.sqlite"')])

            def open_journal() -> Journal:
                opened: Journal = build(part_of_journal, clock=self._world)
                return _ReadOnly(opened) if self._dry else opened

            journal = open_journal()
            setups = [setup_of(one, plan.risk, lambda part: build(part, clock=clock), plan.seed) for one in plan.strategies]
            setups += self._adopters(build, clock) + self._persons(build, clock)
            past = self._assemble(setups, feeds, instruments, accounts, observers, clock, journal)
            self._connect_up(connectors, clocks, journal, open_journal, clock, past, lockstep)
            if self._control is not None:
                stack.callback(self._stop_services)
                self._control.may_reload(lambda: self._reload(build))
                self._services = {part.name: (part, build(part, clock=self._world)) for part in plan.services}
            # From here on the workers own the connectors; leases and observers are given up when they have stopped.
            with stack.pop_all():
                try:
                    status = self._go(stop, lockstep)
                finally:
                    left = self.driver.stop(live.stop_seconds)
            self._errors += [f"{what} did not stop in time" for what in left]
            return self._result(status, accounts, instruments, series)

    def _audited(self, audit: AuditTrail, stack: ExitStack) -> AuditTrail:
        """Record that a run begins, without which it does not, and how it ends.

        Raises:
            AuditError: It cannot be recorded.
        """
        plan, who = self.plan, operator()
        stack.callback(audit.close)
        what = f"{self._task.value} {plan.mode} {Path(plan.source).resolve()}"
        lock = Path(plan.base, plan.config.plugins.lock)
        locked = hashlib.sha256(lock.read_bytes()).hexdigest()[:16] if lock.is_file() else "none"
        audit.record(who, "run.begin", what, "", f"config {_digest(plan)[:16]}, plugin lock {locked}")
        mark_audited(self.folder, plan.source)

        def end(kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
            with suppress(AuditError):  # it is over in any case
                audit.record(who, "run.end", what, "", "done" if error is None else f"failed: {type(error).__name__}: {error}")

        stack.push(end)
        return audit

    def _stop_services(self) -> None:
        with self._reloading:
            services, self._services = self._services, {}
        for _, service in services.values():
            service.stop()

    def _reload(self, build: Builder) -> str:
        """Read the file again and start services anew whose settings changed; say what else would need another start.

        Raises:
            HeraldError: The file is wrong now; then nothing changes.
        """
        fresh = load_plan(self.plan.source, mode=self.plan.mode)
        before, after = self.plan.to_dict(), fresh.to_dict()
        others = sorted(table for table in after if table not in ("services", "secrets") and after[table] != before.get(table))
        known = {name: part for name, (part, _) in self._services.items()}
        wanted = {part.name: part for part in fresh.services}
        changed = [
            name
            for name in {**known, **wanted}
            if name not in wanted or name not in known or wanted[name].settings != known[name].settings
            or wanted[name].use != known[name].use
        ]  # fmt: skip
        if changed:
            # Beside the caller, who may be one of them: it gets its answer first.
            threading.Thread(target=self._replace_services, args=(build, wanted, changed), name="reload", daemon=True).start()
        said = f"starting anew: {', '.join(changed)}" if changed else "no service changed"
        return f"{said}; needs another start of the run: {', '.join(others)}" if others else said

    def _replace_services(self, build: Builder, wanted: Mapping[str, Planned[Service]], changed: Sequence[str]) -> None:
        """Stop what changed and start it as it is now; what cannot be started is told, and the run goes on without it."""
        self._world.sleep(0.5)
        with self._reloading:
            for name in changed:
                _, old = self._services.pop(name, (None, None))
                if old is not None:
                    old.stop()
                if name not in wanted or self._control is None:
                    continue
                try:
                    service = build(wanted[name], clock=self._world)
                    service.start(self._control)
                    self._services[name] = wanted[name], service
                except Exception as error:  # it may be a plugin's; the run must not end for it
                    text = " ".join(f"{name} does not start: {error}".split())
                    self.driver.post(Alert(self.engine.now, "reload_failed", text))

    def _watch_audit(self, audit: AuditTrail) -> None:
        """Write what waits, and let nothing add to a position while decisions cannot be recorded."""
        audit.tick()
        if audit.trouble and self.state.effective("", "") is TradingState.ACTIVE:
            self.reduce(f"audit_unavailable: {audit.trouble}")
        if audit.doubt != self._doubt:
            self._doubt = audit.doubt
            if audit.doubt:
                self.desk.alert("audit_unsealed", audit.doubt)

    def _adopters(self, build: Builder, clock: Clock) -> list[StrategySetup]:
        """Return the books that take over positions of others, each under the exits of the file; one a connector."""
        plan = self.plan
        if plan.mode != "live" or plan.config.live.external != "adopt":
            return []
        return self._undecided(EXTERNAL, self._adopter_of, build, clock)

    def _persons(self, build: Builder, clock: Clock) -> list[StrategySetup]:
        """Return the books of what a person trades through a service, under the exits and checks of the file."""
        return self._undecided(MANUAL, self.manual_of, build, clock) if self.plan.services else []

    def _undecided(self, called: str, names: dict[str, str], build: Builder, clock: Clock) -> list[StrategySetup]:
        """Return books of which no strategy decides, one a connector, and note their names by connector."""
        plan = self.plan
        setups: list[StrategySetup] = []
        for table in self._tables():
            # Later ones name their connector; the first, mostly the only one, is called what it is.
            name = f"{called}_{table}" if setups else called
            names[table] = name
            feeds = plan.feeds(table)
            setups.append(
                StrategySetup(
                    name,
                    _Nobody(None, Services(name, clock, seeded(plan.seed, name))),
                    tuple(dict.fromkeys(symbol for symbol, _ in feeds)),
                    tuple(dict.fromkeys(timeframe for _, timeframe in feeds)),
                    checks=tuple((part.name, build(part, clock=clock)) for part in plan.risk),
                    exits=tuple((part.name, build(part, clock=clock)) for part in plan.exits),
                )
            )
        return setups

    def _tables(self) -> list[str]:
        return list(dict.fromkeys(strategy.connector for strategy in self.plan.strategies))

    def _patiently(self, action: Callable[[], None]) -> None:
        """Do *action* again while it fails for the moment, as long as the file allows."""
        end = self._world.monotonic() + self.plan.config.live.connect_seconds
        while True:
            try:
                action()
                return
            except (ConfigError, NotSupported):
                raise
            except HeraldError:
                if self._world.monotonic() >= end:
                    raise
                self._world.sleep(0.2)

    def _patient(self, connectors: Mapping[str, Connector]) -> dict[str, Connector]:
        """Return *connectors* as they are asked while the run starts, when no worker looks after them yet."""
        return {table: cast("Connector", _Patient(one, self._patiently)) for table, one in connectors.items()}

    def _paper_books(self, connectors: Mapping[str, Connector]) -> dict[str, PaperBook]:
        """Open the book of every paper account; there is none in live mode."""
        if self.plan.mode == "live":
            return {}
        return {table: PaperBook(None if self._in_memory else self.folder / f"paper-{table}.sqlite") for table in connectors}

    def _currency(self, connectors: Mapping[str, Connector]) -> str:
        """Return the currency of the account: the file's on paper, the broker's live."""
        if self.plan.mode == "paper":
            return self.plan.config.account.currency
        return next(iter(connectors.values())).account().currency

    def _feeds(
        self,
        connectors: Mapping[str, Connector],
        wanted: Mapping[tuple[str, Timeframe], str],
        instruments: Mapping[str, Instrument],
        clock: Clock,
    ) -> tuple[list[Feed], dict[Feed, int]]:
        """Return every series, warm, and how many bars of each are history."""
        costs = costs_of(self.plan)
        feeds: list[Feed] = []
        history: dict[Feed, int] = {}
        count = self.plan.config.live.warmup_bars
        for (symbol, timeframe), table in wanted.items():
            spread = 0.0 if costs.spread_data else costs.spread_points * instruments[symbol].price_step
            feed = Feed(symbol, timeframe.span, spread)
            for bar in self._history(connectors[table], symbol, timeframe, count, clock.now()):
                feed.append(bar)
            feeds.append(feed)
            history[feed] = feed.count
        return feeds, history

    def _history(self, connector: Connector, symbol: str, timeframe: Timeframe, count: int, now: int) -> Sequence[Any]:
        if not connector.capabilities().history or count == 0 or now == 0:
            return ()
        # Weekends and holidays: twice the span and a week more hold the bars that are asked for.
        start = now - 2 * count * timeframe.span - 7 * DAY
        try:
            series = connector.bars(symbol, timeframe, start, now)
        except NotSupported:
            return ()
        return [series.bar(index) for index in range(max(len(series) - count, 0), len(series))]

    def _brokers(
        self,
        connectors: Mapping[str, Connector],
        books: Mapping[str, PaperBook],
        instruments: Mapping[str, Instrument],
        feeds: Sequence[Feed],
        clock: Clock,
        waits: Mapping[str, WorkerClock],
    ) -> dict[str, GuardedConnector]:
        """Return what orders go to: the connectors themselves, or in paper mode an account beside each."""
        plan, config = self.plan, self.plan.config
        if plan.mode == "live":
            return {
                table: _behind(connector, _DoorOf(self._office, self.state, self._leases.get(table)))
                for table, connector in connectors.items()
            }
        brokers: dict[str, GuardedConnector] = {}
        for table, connector in connectors.items():
            door = _DoorOf(self._office, self.state, self._leases.get(table))
            prices: Connector = connector
            layers: Sequence[Middleware] = ()
            if self._broker_layers is not None:
                prices, layers = self._broker_layers(table, connector, waits[table], self._outlet.emit)
            paper = PaperConnector(
                prices,
                books[table],
                [(feed.symbol, Timeframe(feed.span // SECOND)) for feed in feeds if self.table_of[feed.symbol] == table],
                [(one.name, symbol) for one in plan.strategies if one.connector == table for symbol in one.symbols],
                instruments,
                clock,
                cash=config.backtest.cash,
                currency=config.account.currency,
                leverage=config.account.leverage,
                mode=AccountMode(config.account.mode),
                costs=costs_of(plan),
                rules=FillRules(Intrabar(config.backtest.intrabar), config.backtest.participation),
                conversions=config.conversions.symbols,
                max_age=round(config.conversions.max_age_seconds * 1e9),
                opened=self._world.now(),
            )
            for feed in feeds:
                if self.table_of[feed.symbol] == table:
                    paper.warm(feed)
            brokers[table] = GuardedConnector(f"connectors.{table}", paper, layers, door)
        return brokers

    def _take_leases(self, connectors: Mapping[str, Connector], stack: ExitStack) -> None:
        """Take every account for this process, after making sure that it is the one that the file names.

        Raises:
            ConfigError: It is another account.
            LeaseError: It belongs to another process.
        """
        names = {table: ("paper", str((self.folder / table).resolve())) for table in connectors}
        if self.plan.mode == "live":
            problems = []
            for table, connector in connectors.items():
                account = connector.account()
                twin = next((one for one in connectors if names[one] == (account.server, account.id)), None)
                if twin is not None:
                    what = f"trades account {account.id!r} at {account.server!r}, as connector {twin} does"
                    problems.append(Problem(f"connectors.{table}", what, "let one connector trade an account"))
                names[table] = (account.server, account.id)
                problems += pin_problems(self.plan, table, account, demo_only=self._demo_only)
            if problems:
                raise ConfigError(self.plan.source, problems)
        if self._holds_lease:
            return
        self._leases = {table: AccountLease(server, account, self._world) for table, (server, account) in names.items()}
        for lease in self._leases.values():
            lease.acquire(self.plan.mode, str(Path(self.plan.source).resolve()))
            stack.callback(lease.release)

    def _assemble(
        self,
        setups: Sequence[StrategySetup],
        feeds: Sequence[Feed],
        instruments: Mapping[str, Instrument],
        accounts: Mapping[str, Account],
        observers: Mapping[str, Observer],
        clock: Clock,
        journal: Journal,
    ) -> Past:
        """Make the engine and bring it to where the journal says it was."""
        config = self.plan.config
        marks: dict[str, Feed] = {}
        for feed in feeds:
            if feed.symbol not in marks or feed.span < marks[feed.symbol].span:
                marks[feed.symbol] = feed
        self._accounts = dict(accounts)
        currency = next(iter(accounts.values())).currency
        ledger = Ledger(sum(account.balance for account in accounts.values()))
        traded = list(dict.fromkeys(symbol for setup in setups for symbol in setup.symbols))
        max_age = round(config.conversions.max_age_seconds * 1e9)
        self.market = QuotedMarket(marks, instruments, currency, config.conversions.symbols, traded, max_age)
        track = EquityTrack(ledger, self.market, lambda: self.driver.moments.view())
        view = View(ledger, self.market, instruments, self.account, track)
        view.live = Facts(self)
        self.engine = Engine(ledger, self.market, feeds, view, self.account)
        self.engine.now = clock.now()
        listener: dict[str, Observer] = {"the live view": _Listener(self._news, self.health)} if self._tick is not None else {}
        kinds = [kind for kind in vars(model).values() if isinstance(kind, type)]
        self.engine.observe({**observers, **listener}, kinds)
        self._outlet.attach(self.engine.emit)
        for setup in setups:
            enlist(self.engine, setup, instruments, feeds, view)
        self._chronicle = Chronicle(ledger)
        past = recover(journal, ledger, instruments, self._chronicle)
        crash_point("after_recovery")()
        for table, account in accounts.items():
            kept = past.accounts.get(table)
            if kept is not None and kept != (account.server, account.id):
                now = f"connector {table} is {account.id!r} at {account.server!r} now"
                what = f"it was kept for account {kept[1]!r} at {kept[0]!r}, and {now}"
                hint = "bring that account back, or begin a new journal: move the old one away"
                raise ConfigError(self.plan.source, [Problem("journal", what, hint)])
        known = {(setup.name, symbol) for setup in setups for symbol in setup.symbols}
        for book in missing_books(ledger, known):
            what = (
                f"strategy {book.strategy!r} holds {book.size:g} lots of {book.symbol}, and the file does not trade it any more"
            )
            problem = Problem("strategies", what, "put it back, or close the position under the old file first")
            raise ConfigError(self.plan.source, [problem])
        for order in past.orders.values():
            request = order.request
            if order.is_working and (request.strategy, request.symbol) not in known:
                what = f"order {order.id} of strategy {request.strategy!r} in {request.symbol} is {order.status}, and the file "
                what += "does not trade it any more"
                hint = "put it back, or withdraw the order under the old file first"
                raise ConfigError(self.plan.source, [Problem("strategies", what, hint)])
        return past

    def news(self, after: int) -> list[str]:
        """Return one line for every event of the run worth a look, behind the first *after* of them."""
        return [f"{format_time(event.time // SECOND * SECOND)}  {describe(event)}" for event in self._news[after:]]

    def account(self) -> Account:
        """Return the account as last stated; several are added up in the currency of the first."""
        stated = [self.driver.account.get(table, first) for table, first in self._accounts.items()]
        if len(stated) == 1:
            return stated[0]
        return msgspec.structs.replace(
            stated[0],
            balance=sum(one.balance for one in stated),
            equity=sum(one.equity for one in stated),
            margin_used=sum(one.margin_used for one in stated),
            margin_free=sum(one.margin_free for one in stated),
            time=max(one.time for one in stated),
        )

    def _connect_up(
        self,
        connectors: Mapping[str, GuardedConnector],
        clocks: Mapping[str, WorkerClock],
        journal: Journal,
        open_journal: Callable[[], Journal],
        clock: Clock,
        past: Past,
        lockstep: bool,
    ) -> None:
        """Make desk, reconciler, driver and workers, and bring the orders of earlier runs back."""
        plan, live = self.plan, self.plan.config.live
        engine = self.engine
        times = None if self.metrics is None else Times(self.metrics)
        self.spool = Spool(open_journal, self._journal_trouble, times)
        desks: dict[str, DeskAccount] = {}
        route = {strategy.name: strategy.connector for strategy in plan.strategies}
        self.desk = Desk(
            engine,
            self.spool,
            _Times(clock, self._world),
            desks,
            route,
            lambda table, outcome: self.driver.put(table, outcome),
            self._permit,
            request_seconds=live.request_seconds,
            chronicle=self._chronicle,
            times=times,
        )
        route |= {name: table for names in (self._adopter_of, self.manual_of) for table, name in names.items()}
        self.reconciler = Reconciler(engine, self.desk, desks, self.table_of, clock, live.external, self.reduce, self._adopter_of)
        keys = [(feed.symbol, feed.span) for feed in engine.feeds]
        housekeeping = Housekeeping(live.reconcile_seconds, live.stall_seconds, tick=self._second)
        self.driver = Driver(
            engine,
            self.desk,
            self.reconciler,
            self.spool,
            clock,
            Assembler(keys, live.bar_grace_seconds),
            past,
            housekeeping,
            self._world.monotonic,
            lockstep=lockstep,
            pace=getattr(self._world, "pace", 1.0),
            times=times,
        )
        self.desk.fills_after = dict(past.fills_after)
        for table, connector in connectors.items():
            poll_seconds, account_seconds = plan.paces[table]
            pace = Pace(poll_seconds, 0.0 if lockstep else account_seconds, lockstep=lockstep)
            mine = [feed for feed in engine.feeds if self.table_of[feed.symbol] == table]
            feeds: list[tuple[str, Timeframe | None]] = [(feed.symbol, Timeframe(feed.span // SECOND)) for feed in mine]
            if not lockstep:
                feeds += [(symbol, None) for symbol in dict.fromkeys(feed.symbol for feed in mine)]
            worker = Worker(
                table,
                connector,
                self.driver.deliver,
                clocks[table],
                feeds,
                pace,
                seeded(plan.seed, f"worker.{table}"),
                fills_after=self.desk.since(table),
                recognise=self._recogniser(table),
            )
            if lockstep:
                clocks[table].now = clock.now
            self.workers[table] = worker
            hedging = self._accounts[table].mode is AccountMode.HEDGING
            desks[table] = DeskAccount(table, worker, connector.capabilities(), lambda: self._generation, hedging)
        if self.metrics is not None:
            self._measures = LiveMeasures(
                self.metrics,
                plan.mode,
                engine,
                self.desk,
                self.reconciler,
                self.driver,
                self.spool,
                self.workers,
                self.state,
                lambda: {**self._accounts, **self.driver.account},
                clock,
                self._world,
            )
        ids = {table: account.id for table, account in self._accounts.items()}
        journal_id = journal.id  # asked once: the journal belongs to its thread from then on, which may close and reopen it

        def seal(request: OrderRequest) -> tuple[OrderRequest, object]:
            if not request.client_tag:
                tag = client_tag(journal_id, ids[route[request.strategy]], request.id)
                request = msgspec.structs.replace(request, client_tag=tag)
            return request, self._permit(request)

        engine.seal = seal
        engine.split = self.desk.parts
        self._bring_back(past)
        self._journal = journal
        versions = {origin.distribution: origin.version for origin in plan.plugins}
        self.spool.start(journal)
        self.spool.write((RunBegan(clock.now(), plan.mode, _digest(plan), versions, os.getpid()),), durable=True)

    def _recogniser(self, table: str) -> Callable[[Account], str]:
        """Return what looks at every statement of an account: is it still the one with which the run began?"""
        wanted = self._accounts[table]
        told: set[str] = set()

        def recognise(account: Account) -> str:
            differences = [
                f"{name} is {getattr(account, name)!r} and was {getattr(wanted, name)!r}"
                for name in ("id", "server", "real", "currency", "mode")
                if getattr(account, name) != getattr(wanted, name)
            ]
            if not differences:
                self._strange.pop(table, None)
                return ""
            text = f"connector {table} leads to another account: {', '.join(differences)}; nothing is sent to it"
            self._strange[table] = text
            # From the worker's thread, before anybody else hears of the connection: what waits to be sent must not go there.
            self.state.halt_account("herald", text)
            if text not in told:
                told.add(text)
                self.driver.post(Alert(account.time, "account_mismatch", text))
            return text

        return recognise

    def _bring_back(self, past: Past) -> None:
        """Give the engine the orders of earlier runs."""
        engine = self.engine
        self._past = past
        self._last_change = past.generation
        self._note_touched()
        by_name = {runner.name: runner for runner in engine.runners}
        self._before = len(engine.ledger.fills), len(engine.ledger.trades)
        self._ended = {order.id for order in past.orders.values() if not order.is_working}
        for name, number in past.numbers.items():
            if name in by_name:
                by_name[name].orders = number
        for order in past.orders.values():
            runner = by_name.get(order.request.strategy)
            if runner is None or order.request.symbol not in runner.books:
                continue
            engine.orders[order.id] = order
            if order.is_working:
                runner.books[order.request.symbol].working[order.id] = order
        engine.view.remember(past.sent, engine.orders, past.changed)
        self.state.check()
        resumed = max((one.time for one in self.state.trading.history if one.state is TradingState.ACTIVE), default=0)
        self.desk.remember(past, resumed)

    def _permit(self, request: OrderRequest) -> object:
        return self._office.issue(request, self._generation)

    # --- running ----------------------------------------------------------------------------------

    def _go(self, stop: Callable[[], bool], lockstep: bool) -> str:
        """Start, run and stop; return the status."""
        engine, driver = self.engine, self.driver
        self._generation = self.state.check()
        # What was changed while nothing ran is recorded now; `remember` has seen to orders already.
        self._record(self.state.trading.since(self._last_change))
        if self._task is Task.TRADE:
            engine.start()
            for runner in engine.runners:
                if all(feed.count >= runner.warmup for feed in runner.feeds):
                    engine.admit(runner)
        else:
            driver.is_trading = False
        driver.start(self.workers)
        if self._control is not None:
            self._control.tick()
            for _, service in self._services.values():
                try:
                    service.start(self._control)
                except ConfigError as error:
                    raise ConfigError(self.plan.source, error.problems) from error
        tables = set(self.workers)
        ready = driver.run(lambda: stop() or tables <= self.reconciler.ready, self.plan.config.live.connect_seconds)
        if not ready:
            missing = ", ".join(sorted(tables - self.reconciler.ready))
            self._errors.append(f"connector {missing} was not ready within {self.plan.config.live.connect_seconds:g} s")
            return "failed"
        self._carry_out()
        if self._task is not Task.TRADE:
            return self._act()
        driver.trade()
        engine.emit(RunStarted(engine.now, self.plan.mode))
        driver.run(lambda: stop() or bool(self._errors) or (lockstep and driver.ended >= tables))
        interrupted = stop() and not driver.ended >= tables
        engine.stop()
        # Strategies have had their last word; while orders are withdrawn and positions closed, none may ask for more.
        driver.is_trading = lockstep
        self._wind_down()
        status = "failed" if self._errors or engine.failures else "interrupted" if interrupted else "completed"
        engine.emit(RunStopped(engine.now, status))
        if self._measures is not None:
            self._measures.take(self.standing)  # what the run leaves behind, whenever the last second was
        self.spool.write((RunEnded(engine.now, status),), durable=True)
        return status

    def _second(self) -> None:
        """Look after the heartbeat, the disk, the clocks, the trading state and the display."""
        if self._heartbeat is not None:
            self._heartbeat.beat()
        if self.audit is not None:
            self._watch_audit(self.audit)
        self._measure()
        if self._measures is not None:
            self._measures.take(self.standing)
        generation = self.state.check()
        if generation != self._generation:
            self._changed(generation)
        elif self.state.trading.scopes:
            self._carry_out()
        if self._control is not None:
            self._control.tick()
        if self._tick is not None:
            self._tick(self)

    def look_at_state(self) -> None:
        """Notice at once what somebody changed in the trading state; in the engine's thread."""
        generation = self.state.check()
        if generation != self._generation:
            self._changed(generation)

    def now(self) -> int:
        """Return the time of the run, nanoseconds UTC."""
        return max(self.engine.now, self.driver.time)

    def fills(self) -> Sequence[Any]:
        """Return the fills of this run so far, oldest first."""
        return list(self.engine.ledger.fills.values())[self._before[0] :]

    def stated(self, table: str) -> Account:
        """Return the account of a connector as it was stated at the start."""
        return self._accounts[table]

    def _measure(self) -> None:
        """See how the journal, its disk and the clocks stand."""
        standing, now = self.standing, self._world.monotonic()
        free = standing.disk_free
        if now >= self._next_measure:
            self._next_measure = now + _MEASURE_SECONDS
            free = _free_bytes(Path(getattr(self._journal, "path", None) or self.folder))
        fields = {
            "journal": self.spool.is_writable,
            "disk_free": free,
            "clock_skew": max((worker.clock_skew for worker in self.workers.values()), default=0.0),
            "pinned": not self._strange,
        }
        if any(getattr(standing, name) != value for name, value in fields.items()):
            self.standing = msgspec.structs.replace(standing, **fields)

    def _changed(self, generation: int) -> None:
        """Carry out what changed in the trading state."""
        fresh = self.state.trading.since(self._last_change)
        self._record(fresh)
        for change in fresh:
            if change.state is TradingState.ACTIVE:
                self.desk.blocked.clear()
                kind, _, name = change.scope.partition(":")
                if kind == "strategy" and self.engine.revive(name):
                    self.desk.alert("strategy_resumed", f"strategy {name!r} goes on: {change.why}")
        if not fresh and self.state.trading.trouble:
            self.desk.alert("state_unreadable", self.state.trading.trouble)
        self._generation = generation
        self._carry_out()

    def _record(self, changes: Sequence[Change]) -> None:
        """Keep *changes* of the trading state, tell them, and note which strategies a person has looked after."""
        past, engine = self._past, self.engine
        for change in changes:
            self._last_change = past.generation = change.generation
            # By the clock of the executions, which is the broker's or that of recorded data, and not that of a command.
            traded = next((fill.time for fill in reversed(engine.ledger.fills.values())), 0)
            now, state = max(engine.now, traded), str(change.state.value)
            self.spool.write((StateSet(now, change.scope, state, change.generation, change.who, change.why),))
            engine.emit(StateChanged(now, change.scope, state, change.who, change.why))
            if change.state is TradingState.ACTIVE:
                past.touched[change.scope] = now
        self._note_touched()

    def _note_touched(self) -> None:
        """Tell the checks when a person last looked after each strategy."""
        touched = self._past.touched
        by_name = {one.name: max(touched.get(ACCOUNT, 0), touched.get(scope_of(one.name), 0)) for one in self.engine.runners}
        known = {name: time for name, time in by_name.items() if time}
        if known != self.standing.touched:
            self.standing = msgspec.structs.replace(self.standing, touched=known)

    def _carry_out(self) -> None:
        """Do what somebody who stopped trading has asked for and nobody has done yet."""
        for change in self.state.trading.pending():
            begun = change.scope, change.generation
            if begun not in self._begun:
                self._begun.add(begun)
                self._withdraw(change.scope)
            if change.flatten:
                self._flatten(change.scope)
            # Not before it is so: a run that dies in between leaves the rest to the next one.
            if not self._remains(change):
                self.state.mark_done(change, "run", "carried out")
                self._generation = self.state.check()

    def _remains(self, change: Change) -> bool:
        """Return whether orders or positions are left that *change* wanted gone."""
        for book in self._books(change.scope):
            if change.flatten and book.size:
                return True
            if any(not (order.request.reduce_only and book.size) for order in book.working.values()):
                return True
        return False

    def _act(self) -> str:
        """Do what was asked for instead of trading; the connectors are ready."""
        if self._task is Task.RECONCILE:
            # An order in doubt is a finding only when its settle window is over.
            self.driver.run(lambda: not self.desk.unresolved, self.plan.config.live.connect_seconds)
            return "completed"
        self._withdraw(ACCOUNT)
        self.desk.dispatch(self.engine.take())
        books = self._books(ACCOUNT)

        def done() -> bool:
            if self._task is Task.FLATTEN:
                self._flatten_on()
            return not any(book.working or (book.size and self._task is Task.FLATTEN) for book in books)

        if not self.driver.run(done, self.plan.config.live.stop_seconds):
            self._errors.append("orders or positions were left; look at the account")
            return "failed"
        return "completed"

    def findings(self) -> list[str]:
        """Return what a comparison with the broker found, one line each; none where both agree."""
        strange = self.reconciler.external.items()
        found = [f"order {name} is in doubt: the broker may or may not have it" for name in self.desk.unresolved]
        found += [f"entry {name} in {symbol} was given up and may yet turn up" for (_, symbol), name in self.desk.blocked.items()]
        found += [f"{size:+g} {symbol} on {table} are not Herald's" for (table, symbol), size in strange if size]
        found += [f"{one.side.name} {one.size:g} {one.symbol} at {one.price:g} was nobody's order" for one in self.desk.external]
        for one in self.state.trading.scopes.values():
            found.append(f"{one.scope} is {one.state} since {format_time(one.time)} by {one.who}: {one.why}")
        return found

    def _books(self, scope: str) -> Sequence[Any]:
        kind, _, name = scope.partition(":")
        return [
            book
            for book in self.engine.ledger.books.values()
            if kind == ACCOUNT or (kind == "strategy" and book.strategy == name) or (kind == "symbol" and book.symbol == name)
        ]

    def _withdraw(self, scope: str, *, entries_only: bool = False) -> None:
        """Withdraw the working orders of a scope; protection stays while its position does."""
        for book in self._books(scope):
            for order in list(book.working.values()):
                if not (order.request.reduce_only and (entries_only or book.size)):
                    self.engine.cancel(order.request.id)

    def _flatten(self, scope: str) -> None:
        """Close every position of a scope at market, unless that is under way."""
        for book in self._books(scope):
            if book.size and not any(_closes(order) for order in book.working.values()):
                self.engine.close_book(book, "flatten")

    def _flatten_on(self) -> None:
        """Close everything, and once a second what an order opened that was on its way when that began."""
        now = self._world.monotonic()
        if now >= self._next_flatten:
            self._next_flatten = now + 1.0
            self._flatten(ACCOUNT)
            self.desk.dispatch(self.engine.take())

    def _wind_down(self) -> None:
        """Apply ``on_stop`` and give it the time that the file allows."""
        how = self.plan.config.herald.on_stop
        if how == "leave":
            return
        self._withdraw(ACCOUNT, entries_only=True)
        self.desk.dispatch(self.engine.take())
        books = self._books(ACCOUNT)

        def done() -> bool:
            if how == "flatten":
                self._flatten_on()
            entries = any(not o.request.reduce_only for book in books for o in book.working.values())
            return not entries and not (how == "flatten" and any(book.size for book in books))

        if not self.driver.run(done, self.plan.config.live.stop_seconds):
            left = [f"{book.size:g} {book.symbol}" for book in books if book.size and how == "flatten"]
            what = f"positions left open: {', '.join(left)}" if left else "orders could not be withdrawn in time"
            self.desk.alert("stop_incomplete", what)

    def reduce(self, why: str) -> None:
        """Allow nothing but reductions from now on, and call a person."""
        code, _, text = why.partition(": ")
        if not text:
            code, text = "reducing", why
        self.desk.alert(code, text)
        self.state.set(ACCOUNT, TradingState.REDUCING, "herald", text)

    def _journal_trouble(self, text: str) -> None:
        """Note that the journal failed; from its thread."""
        self.standing = msgspec.structs.replace(self.standing, journal=False)
        self.driver.post(Alert(self.engine.now, "journal_unavailable", text))

    # --- the end ----------------------------------------------------------------------------------

    def _result(
        self, status: str, accounts: Mapping[str, Account], instruments: Mapping[str, Instrument], history: Mapping[Feed, int]
    ) -> RunResult:
        engine, driver = self.engine, self.driver
        ledger = engine.ledger
        moments = driver.moments.view()
        worth = ledger.revalue(moments, self.market.columns)
        fills, trades = self._before  # what earlier runs did is theirs
        account = self.account()
        errors = (
            *self._errors,
            *(f"strategy {one.strategy!r} was stopped at {format_time(one.time)}: {one.error}" for one in engine.failures),
        )
        for column in (moments, *worth.values()):
            column.flags.writeable = False
        return RunResult(
            status=status,
            errors=errors,
            mode=self.plan.mode,
            currency=account.currency,
            cash=ledger.cash,
            leverage=account.leverage,
            orders=tuple(order for order in engine.orders.values() if order.id not in self._ended),
            fills=tuple(ledger.fills.values())[fills:],
            trades=tuple(ledger.trades)[trades:],
            equity=EquityCurve(moments, worth["equity"], worth["balance"], worth["exposure"]),
            positions=tuple((book.strategy, book.position) for book in ledger.open_books()),
            market={
                feed.symbol: feed.series(feed.count - history[feed])
                for feed in self.market.feeds.values()
                if feed.count > history[feed]
            },
            instruments=dict(instruments),
            failures=tuple(engine.failures),
            notes=tuple(engine.notes),
            account={
                "balance": account.balance,
                "equity": account.equity,
                "margin_used": account.margin_used,
                "margin_free": account.margin_free,
                "cash": account.balance,
            },
        )


class _Nobody(Strategy[None]):
    """Decides nothing: the strategy of positions that somebody else opened."""


class _Patient:
    """A connector that connects and asks again where a question fails for the moment."""

    def __init__(self, connector: Connector, patiently: Callable[[Callable[[], None]], None]) -> None:
        self._connector = connector
        self._patiently = patiently

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the patient form of a method."""
        method = getattr(self._connector, name)

        def ask(*args: Any) -> Any:
            answers = []

            def again() -> None:
                self._connector.connect()
                answers.append(method(*args))

            try:
                return method(*args)
            except (TransientError, NotConnected):
                self._patiently(again)
            return answers[-1]

        return ask


class _ReadOnly:
    """A journal that is read and not written; what would be written only counts."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.id = journal.id
        self.path = getattr(journal, "path", None)
        self.read, self.latest, self.close = journal.read, journal.latest, journal.close
        self._count = 0

    def append(self, records: Sequence[Record], *, durable: bool = True) -> int:
        """Count *records*."""
        self._count += len(records)
        return self._count

    def snapshot(self, state: bytes) -> None:
        """Keep nothing."""


class _Listener:
    """An observer that keeps what a person may want to see."""

    events: tuple[type, ...] = (model.Fill, model.Order, model.SystemEvent)

    def __init__(self, news: list[Event], health: dict[str, str]) -> None:
        self._keep = news.append
        self._health = health

    def observe(self, event: Event) -> None:
        """Keep *event* where it is worth a line."""
        if isinstance(event, model.HealthChanged | model.CircuitChanged):
            self._health[event.name] = str(event.state)
        if type(event) is not model.Order or event.status in _WORTH_A_LINE:
            self._keep(event)

    def close(self) -> None:
        """Do nothing."""


_WORTH_A_LINE = (model.OrderStatus.REJECTED, model.OrderStatus.UNKNOWN, model.OrderStatus.ABANDONED)


def _free_bytes(place: Path) -> float:
    """Return the bytes that are left where *place* is or will be; 0 where nobody can tell, for then nothing can be kept."""
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return float(shutil.disk_usage(place if place.is_dir() else place.parent).free)
    except OSError:
        return 0.0


def _digest(plan: Plan) -> str:
    """Return a hash of the resolved configuration, whatever source its secrets come from and whoever looks at the run."""
    told = {table: one for table, one in plan.to_dict().items() if table not in ("secrets", "services")}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _closes(order: model.Order) -> bool:
    """Return whether a working order closes its position at market."""
    request = order.request
    return request.reduce_only and request.type is model.OrderType.MARKET and not request.parent


class _Times:
    """The time of the run with the seconds of the world: an order's deadline passes in real time."""

    def __init__(self, clock: Clock, world: Clock) -> None:
        self.now = clock.now
        self.monotonic = world.monotonic
        self.sleep = world.sleep


def _behind(connector: Connector, door: Any) -> GuardedConnector:
    """Return *connector* with a door; its layers stay outside the door."""
    if isinstance(connector, GuardedConnector):
        return connector.with_door(door)
    return GuardedConnector("connector", connector, (), door)


def pin_problems(plan: Plan, table: str, account: Account, *, demo_only: bool) -> list[Problem]:
    """Return why *account* is not the one that the file names."""
    live = plan.config.live
    where = f"live.accounts.{table}" if table in live.accounts else "live"
    problems = []
    number, server, real = live.pin(table)
    for key, stated, found in (("account", number, account.id), ("server", server, account.server), ("real", real, account.real)):
        if stated != found:
            what = f"the file says {stated!r}, connector {table} reports {found!r}"
            problems.append(Problem(f"{where}.{key}", what, "log in to the right account, or correct the file"))
    if demo_only and account.real:
        problems.append(
            Problem("live.real", f"connector {table} trades real money, and only a demo was asked for", "use a demo account")
        )
    return problems
