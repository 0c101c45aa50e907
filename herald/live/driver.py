"""The live loop: one thread takes what workers deliver, lets the engine decide, and sends what it asks for.

The loop does no I/O. Prices, orders and executions come in through one queue; orders go out through the journal's
thread to the workers. Once a second it looks after what happens without a message: timers, orders in doubt, the trading
state, a worker that hangs.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from herald.clock import Clock, stopwatch
from herald.contracts import Journal
from herald.engine.engine import Engine
from herald.live.crashpoints import crash_point
from herald.live.messages import Acknowledge, Found, Outcome, Snapshot
from herald.live.moments import Assembler, Moments
from herald.live.orders import Desk
from herald.live.reconcile import Reconciler
from herald.live.recovery import Past
from herald.live.spool import Spool
from herald.live.timing import Times
from herald.live.worker import Message, Worker
from herald.model import (
    Account,
    AccountSeen,
    Alert,
    Alerted,
    Bar,
    Connected,
    DataEnded,
    Disconnected,
    Fill,
    HealthChanged,
    Moment,
    Order,
    Quote,
    SystemEvent,
)
from herald.utils.redaction import redact_packed

__all__ = ["Driver", "Errand", "Housekeeping"]


class Errand(NamedTuple):
    """Something that somebody outside wants done in the engine's thread."""

    work: Callable[[], None]


class Housekeeping:
    """What the driver does without a message, and how often; seconds.

    Attributes:
        reconcile_seconds: Between two snapshots of an account.
        stall_seconds: A call of a connector that takes longer is reported.
        snapshot_records: Records after which the journal gets a snapshot.
        tick: Called once a second with the driver, for whatever the run adds.
    """

    __slots__ = ("reconcile_seconds", "snapshot_records", "stall_seconds", "tick")

    def __init__(
        self,
        reconcile_seconds: float = 60.0,
        stall_seconds: float = 30.0,
        snapshot_records: int = 10_000,
        tick: Callable[[], None] | None = None,
    ) -> None:
        """State the intervals."""
        self.reconcile_seconds = reconcile_seconds
        self.stall_seconds = stall_seconds
        self.snapshot_records = snapshot_records
        self.tick = tick


class Driver:
    """Runs an engine on what workers deliver.

    Attributes:
        account: Last statement of each account, by table.
        moments: Times of the moments the engine has dealt with, nanoseconds UTC.
        handled: Messages dealt with, by worker.
        ended: Connectors whose recorded data is over.
        is_trading: Whether prices reach the strategies; until then they are only noted, and bars wait.
    """

    def __init__(
        self,
        engine: Engine,
        desk: Desk,
        reconciler: Reconciler,
        spool: Spool,
        clock: Clock,
        assembler: Assembler,
        past: Past,
        housekeeping: Housekeeping,
        seconds: Callable[[], float],
        *,
        lockstep: bool,
        pace: float = 1.0,
        times: Times | None = None,
    ) -> None:
        """Prepare; the workers follow in `start`.

        Args:
            engine: Set up and warm.
            desk: Its orders.
            reconciler: Compares the account with its books.
            spool: Keeps records.
            clock: Tells the time of the run; a `SimClock` is set to the time of every moment.
            assembler: Puts bars together.
            past: What earlier runs knew; brought up to date at each snapshot of the journal.
            housekeeping: What to do without a message.
            seconds: Real seconds that never go back; duties come round in real time, also where the data has its own.
            lockstep: Recorded data: the workers wait for the engine, and time is the data's.
            pace: Seconds of *seconds* in one of the wall's, > 0.
            times: Told how long messages take; None where nobody measures.
        """
        self.account: dict[str, Account] = {}
        self.moments = Moments()
        self.handled: dict[str, int] = {}
        self.ended: set[str] = set()
        self.is_stopping = False
        self.is_trading = lockstep
        self._engine = engine
        self._desk = desk
        self._reconciler = reconciler
        self._spool = spool
        self._clock = clock
        self._assembler = assembler
        self._past = past
        self._housekeeping = housekeeping
        self._lockstep = lockstep
        self._pace = pace
        self._times = times
        # (connector, message, whether the worker waits for it to be dealt with)
        self._inbox: queue.SimpleQueue[tuple[str, Message | Outcome | Errand, bool]] = queue.SimpleQueue()
        self._workers: dict[str, Worker] = {}
        self._seconds = seconds
        self._set_time: Callable[[int], None] | None = getattr(clock, "set", None) if lockstep else None
        self._kept = past.covered  # what runs that were killed left behind the last snapshot counts
        self._held: list[Moment] = []
        self._stopping, self._stopped = crash_point("stopping"), crash_point("stopped")
        self._before_snapshot, self._after_snapshot = crash_point("before_snapshot"), crash_point("after_snapshot")
        self._next_second = 0.0
        self._next_look: dict[str, float] = {}
        self._stalled: set[str] = set()
        self._told: dict[str, int] = {}

    # --- in ---------------------------------------------------------------------------------------

    def deliver(self, worker: Worker, message: Message) -> None:
        """Take what a worker learnt; from its thread."""
        self._inbox.put((worker.name, message, self._lockstep))

    def put(self, table: str, outcome: Outcome) -> None:
        """Take what came of an order elsewhere than in its worker; from any thread."""
        self._inbox.put((table, outcome, False))

    def post(self, event: SystemEvent) -> None:
        """Take an event that comes from no connector; from any thread."""
        self._inbox.put(("", event, False))

    def errand(self, work: Callable[[], None]) -> None:
        """Have *work* done in the engine's thread, and what it asks for sent; from any thread."""
        self._inbox.put(("", Errand(work), False))

    def start(self, workers: Mapping[str, Worker]) -> None:
        """Let *workers* (by table) run."""
        self._workers = dict(workers)
        for worker in workers.values():
            worker.start()

    @property
    def time(self) -> int:
        """Return the time of the run, nanoseconds UTC."""
        return self._clock.now()

    # --- the loop ---------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool], seconds: float | None = None) -> bool:
        """Go on until *until* says so, or *seconds* have passed; return whether it said so."""
        monotonic = self._seconds
        end = None if seconds is None else monotonic() + seconds
        get, desk, reconciler = self._inbox.get, self._desk, self._reconciler
        handle = self.handle if self._times is None else functools.partial(self._timed, self._times)
        while not until():
            now = monotonic()
            if end is not None and now >= end:
                return False
            if now >= self._next_second:
                if self._times is not None and self._next_second:
                    self._times.lag.observe(now - self._next_second)
                self._next_second = now + 1.0
                self._second(now)
            if now >= desk.next_ask:
                desk.chase(now)
            if now >= reconciler.next_look:
                reconciler.look_again(now)
            wait = min(self._next_second, desk.next_ask, reconciler.next_look)
            wait = (wait if end is None else min(wait, end)) - now
            try:
                table, message, waits = get(timeout=max(wait / self._pace, 0.001))
            except queue.Empty:
                continue
            handle(table, message)
            if waits:
                self._acknowledge(table)
        return True

    def handle(self, table: str, message: Any) -> None:
        """Deal with one message, and send what the engine asks for because of it."""
        kind = type(message)
        engine = self._engine
        if kind is Quote:
            if self._set_time is not None:
                self._set_time(message.time)
            if self.is_trading:
                engine.on_quote(message)
            else:
                engine.market_data.take(message)
        elif kind is Moment:
            if message.time > self._told.get(table, 0):  # a source may say a thing twice, or late
                self._told[table] = message.time
                self._moment(message)
        elif kind is Bar:
            self._bar(message)
        elif kind is Outcome:
            self._catch_up()
            self._desk.outcome(table, message)
        elif kind is Order:
            self._catch_up()
            self._desk.order(table, message)
        elif kind is Fill:
            self._catch_up()
            self._desk.fill(table, message)
        elif kind is Account:
            self._stated(table, message)
        elif kind is Found:
            self._desk.found(table, message)
        elif kind is Snapshot:
            self._snapshot(table, message)
        elif kind is Errand:
            self._catch_up()
            message.work()
        elif isinstance(message, SystemEvent):
            self._system(table, message)
        if engine.commands:
            self._desk.dispatch(engine.take())

    def _timed(self, times: Times, table: str, message: Any) -> None:
        """Deal with one message, and take the time."""
        times.began = began = stopwatch()
        self.handle(table, message)
        times.began = 0.0
        times.message.observe(stopwatch() - began)

    @property
    def backlog(self) -> int:
        """Return about how many messages wait."""
        return self._inbox.qsize()

    def _catch_up(self) -> None:
        """Let the engine know how late it is before it hears of an order."""
        now = self._clock.now()
        if now > self._engine.now:
            self._engine.now = now

    def _acknowledge(self, table: str) -> None:
        """Tell the worker that its message is dealt with, behind every order that came of it."""
        number = self.handled[table] = self.handled.get(table, 0) + 1
        worker = self._workers[table]
        self._spool.write((), kept=lambda: worker.put(Acknowledge(number)))

    def trade(self) -> None:
        """Let prices reach the strategies from now on: the books are what the broker says."""
        self.is_trading = True
        held, self._held = self._held, []
        for moment in held:
            self._moment(moment)
        if self._engine.commands:
            self._desk.dispatch(self._engine.take())

    def _moment(self, moment: Moment) -> None:
        if self._set_time is not None:
            self._set_time(moment.time)
        if not self.is_trading:
            self._held.append(moment)
            return
        self.moments.append(moment.time)
        self._engine.enter(moment.time, moment.bars)

    def _bar(self, bar: Bar) -> None:
        ready, late = self._assembler.add(bar, self._seconds())
        if late is not None:
            self._desk.alert("late_bar", f"a bar of {late.symbol} came too late and was left out")
        for moment in ready:
            self._moment(moment)

    def _snapshot(self, table: str, seen: Snapshot) -> None:
        self._stated(table, seen.account)
        if seen.first:
            self._reconciler.lost(table)
        is_ready = self._reconciler.snapshot(table, seen)
        # Behind its executions: whoever reads it later knows that none before them is missing.
        self._spool.write((AccountSeen(seen.time, table, seen.account),))
        if is_ready:
            self._engine.emit(Connected(self._clock.now(), table))

    def _stated(self, table: str, account: Account) -> None:
        self.account[table] = account
        self._engine.ledger.state_swap(sum(one.swap for one in self.account.values()), account.time)

    def _system(self, table: str, event: SystemEvent) -> None:
        if isinstance(event, Disconnected):
            self._reconciler.lost(table)
        elif isinstance(event, DataEnded):
            self.ended.add(table)
        elif isinstance(event, Alert):
            self._spool.write((Alerted(event.time, event.code, event.text),))
        self._engine.emit(event)

    # --- once a second ----------------------------------------------------------------------------

    def _second(self, now: float) -> None:
        housekeeping = self._housekeeping
        if not self._lockstep and self.is_trading:
            self._engine.advance(self._clock.now())
            for moment in self._assembler.due(now):
                self._moment(moment)
        for table, worker in self._workers.items():
            self._watch(table, worker, now)
        if housekeeping.tick is not None:
            housekeeping.tick()
        if self._engine.commands:
            self._desk.dispatch(self._engine.take())
        if self._spool.number - self._kept >= housekeeping.snapshot_records or self._spool.is_behind:
            self.keep()

    def _watch(self, table: str, worker: Worker, now: float) -> None:
        """Report a worker that hangs; ask for a snapshot where one is due."""
        since = worker.busy_since
        if since and now - since > self._housekeeping.stall_seconds:
            if table not in self._stalled:
                self._stalled.add(table)
                self._reconciler.lost(table)
                text = f"a call has taken {now - since:.0f} s and goes on"
                self._engine.emit(HealthChanged(self._clock.now(), f"connectors.{table}", "stalled", text))
        elif table in self._stalled:
            self._stalled.discard(table)
            self._engine.emit(HealthChanged(self._clock.now(), f"connectors.{table}", "healthy"))
            self._desk.look(table)
        if now >= self._next_look.setdefault(table, now + self._housekeeping.reconcile_seconds):
            self._next_look[table] = now + self._housekeeping.reconcile_seconds
            self._desk.look(table)

    def keep(self) -> None:
        """Give the journal a snapshot of what everything so far amounts to."""
        self._kept = self._spool.number
        ledger, engine = self._engine.ledger, self._engine
        past = self._past
        past.balance = ledger.balance
        past.books = [book.state() for book in ledger.books.values()]
        past.orders.update(engine.orders)
        past.tables.update({name: self._desk.account_of(name).table for name in engine.orders})
        past.sent = {request.id: time for time, request in self._engine.view.requests_since(0)}
        past.changed = list(engine.changed)
        past.fills, past.trades = list(ledger.fills.values()), list(ledger.trades)
        past.numbers.update({runner.name: runner.orders for runner in engine.runners})
        self._desk.note(past)
        past.accounts.update({table: (one.server, one.id) for table, one in self.account.items()})
        state = redact_packed(msgspec.msgpack.encode(past.trimmed()))
        self._spool.run(lambda journal: self._snapshot_of(journal, state))

    def _snapshot_of(self, journal: Journal, state: bytes) -> None:
        self._before_snapshot()
        journal.snapshot(state)
        self._after_snapshot()

    # --- the end ----------------------------------------------------------------------------------

    def stop(self, timeout: float) -> Sequence[str]:
        """Stop the workers and the journal; return what did not end in time."""
        self._stopping()
        drained = threading.Event()
        self._spool.write((), kept=drained.set, failed=lambda text: drained.set())
        drained.wait(timeout)  # what is on its way to a worker must reach it before it stops
        left = [f"connector {table}" for table, worker in self._workers.items() if not worker.stop(timeout)]
        # What workers said while they stopped still counts, but nobody may decide anything because of it: nothing that was
        # asked for now would be sent.
        self.is_trading = False
        while True:
            try:
                table, message, _ = self._inbox.get_nowait()
            except queue.Empty:
                break
            if type(message) is Found and not message.orders:
                continue  # what the broker does not have may have to be sent again: the next run asks, and can
            self.handle(table, message)
        self._engine.take()
        self._stopped()
        self.keep()
        if not self._spool.stop(timeout):
            left.append("the journal")
        return left
