"""Rehearse a bad day: a paper run whose broker stumbles by a script, and the proof that nothing was lost or doubled.

The layers of each connector are moved around the whole paper account, where they would be around a broker, and the fault
layer stands innermost: prices, questions and orders pass the same chain and meet the same faults. The run has a folder of
its own, so that neither the user's paper account nor his journal is touched. Afterwards the faults are over, a second start
reconciles as a user's would, and the journal is compared with the book of the paper account, order by order and fill by fill.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from herald.clock import Clock, WallClock
from herald.components import component
from herald.contracts import Call, Connector, Handler, Middleware, Operation, Services
from herald.errors import HeraldError, NotFound
from herald.host.plan import Plan, Planned
from herald.live.chain import GuardedConnector
from herald.live.paper import PaperBook
from herald.model import (
    CallRepeated,
    CircuitChanged,
    Connected,
    DataEnded,
    Disconnected,
    Event,
    FaultInjected,
    Fill,
    Intended,
    Order,
    OrderChanged,
    OrderStatus,
    Traded,
)
from herald.plugins.faults import SCRIPTS, FaultsLayer, FaultsSettings
from herald.plugins.journal.sqlite import JournalSettings, SqliteJournal
from herald.runtime.building import Builder, seeded
from herald.runtime.live import LiveRun, Task

__all__ = ["ChaosReport", "Comparison", "PacedClock", "compare", "rehearse"]

RECORDED_PACE = 20.0
"""Seconds of a script in one of the wall's where the data is recorded."""
_SETTLE_SECONDS = 120.0
"""How long after the script orders may stay in doubt before that counts as a failure."""
_CALM_SECONDS = 2.0
_AGAIN_SECONDS = 15.0
"""How long the start afterwards may take to agree with the broker, seconds of the wall; there are no faults any more."""
_BELIEVED = frozenset({OrderStatus.SENT, OrderStatus.ACCEPTED, OrderStatus.PARTIAL, OrderStatus.FILLED})
_DISBELIEVED = frozenset({OrderStatus.DENIED, OrderStatus.REJECTED, OrderStatus.ABANDONED})
_DOUBT = frozenset({OrderStatus.PENDING, OrderStatus.UNKNOWN})


class PacedClock:
    """The time of another clock, with seconds that pass *pace* times faster.

    Attributes:
        pace: Seconds of this clock in one of the other's.
    """

    def __init__(self, clock: Clock, pace: float) -> None:
        """Run *pace* times faster than *clock*; > 0.

        Raises:
            ValueError: *pace* is not above 0.
        """
        if not 0 < pace < float("inf"):
            raise ValueError(f"pace must be a number above 0, not {pace!r}")
        self.pace = pace
        self.now = clock.now
        self._clock = clock
        self._start = clock.monotonic()

    def monotonic(self) -> float:
        """Return seconds of this clock since it was made."""
        return (self._clock.monotonic() - self._start) * self.pace

    def sleep(self, seconds: float) -> None:
        """Wait *seconds* of this clock."""
        self._clock.sleep(seconds / self.pace)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal and the broker's own book say of the same orders.

    Attributes:
        intended: Orders that the journal meant to send.
        known: Of these, the ones the broker has.
        unknown: Orders that are still in doubt.
        abandoned: Entries that were given up.
        lost: What one side has and the other does not believe in, one line each.
        doubled: What was done or counted twice, one line each.
    """

    intended: int
    known: int
    unknown: int
    abandoned: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]


class ChaosReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a rehearsal.

    Attributes:
        script: Its name.
        seconds: How long the script ran, its own seconds.
        pace: Its seconds in one of the wall's.
        seed: Of its draws.
        status: How the run ended.
        asked: Calls that came to the broker, by operation.
        faults: Calls that were hit, by (kind, operation).
        failed: Calls that failed to Herald's worker in spite of all layers, by (operation, error).
        retries: Repeated calls.
        circuit_openings: How often a circuit opened.
        disconnects: How often the connection counted as lost.
        ready_seconds: From each of these to READY again, seconds of the script, ascending.
        sent: Orders that came to the broker.
        denied: Orders that did not leave, by code.
        fills: Executions in the broker's book.
        orders: Journal against book.
        findings: What a reconciliation afterwards still finds, and errors of the run.
    """

    script: str
    seconds: float
    pace: float
    seed: int
    status: str
    asked: dict[str, int]
    faults: dict[tuple[str, str], int]
    failed: dict[tuple[str, str], int]
    retries: int
    circuit_openings: int
    disconnects: int
    ready_seconds: tuple[float, ...]
    sent: int
    denied: dict[str, int]
    fills: int
    orders: Comparison
    findings: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Return whether nothing was lost, doubled or left in doubt."""
        orders = self.orders
        return not (orders.lost or orders.doubled or orders.unknown or self.findings or self.status == "failed")


class _Rehearsal:
    """Puts the faults where they belong and notes what happens; also an observer."""

    events: tuple[type, ...] = (CallRepeated, CircuitChanged, Connected, Disconnected, FaultInjected)

    def __init__(self, script: str, seed: int, clock: Clock) -> None:
        self._settings = FaultsSettings(script=script, seed=seed)
        self._clock = clock
        self.seen: list[tuple[float, Event]] = []
        self.asked: Counter[str] = Counter()
        self.failed: Counter[tuple[str, str]] = Counter()
        self.sent: set[str] = set()
        self.began: float | None = None
        self.is_over = False
        self.has_ended: set[str] = set()
        self.releases = False

    def around(
        self, table: str, connector: Connector, clock: Clock, emit: Callable[[Event], None]
    ) -> tuple[Connector, Sequence[Middleware]]:
        """Return the bare source of prices, and the layers around the paper account."""
        bare, layers = connector.parts() if isinstance(connector, GuardedConnector) else (connector, ())
        name = f"connectors.{table}.rehearsal"
        services = Services(name, clock, seeded(self._settings.seed or 0, name), emit)
        settings = self._settings.model_copy(update={"seed": None})  # connectors have days of their own
        return bare, (self._outermost(table), *layers, self._innermost(FaultsLayer(settings, services)))

    def _outermost(self, table: str) -> Middleware:
        held: list[Event] = []

        def outermost(call: Call, proceed: Handler) -> object:
            try:
                answer = proceed(call)
            except HeraldError as error:
                if self.began is not None:
                    self.failed[call.operation.method, type(error).__name__] += 1
                raise
            if call.operation is not Operation.POLL or not isinstance(answer, tuple):
                return answer
            # The end of recorded data would end the run; orders in doubt are settled before.
            held.extend(event for event in answer if isinstance(event, DataEnded))
            if not held:
                return answer
            self.has_ended.add(table)
            rest = tuple(event for event in answer if not isinstance(event, DataEnded))
            if self.releases and not rest:
                return (held.pop(),)
            return rest

        return outermost

    def _innermost(self, faults: FaultsLayer) -> Middleware:
        def broker(call: Call, proceed: Handler) -> object:
            if call.operation is Operation.SUBMIT:
                self.sent.add(call.args[0].id)
            return proceed(call)

        def innermost(call: Call, proceed: Handler) -> object:
            if self.began is None and call.operation is Operation.POLL:
                self.began = self._clock.monotonic()  # the day begins when the run has
            if self.began is None or self.is_over:
                return broker(call, proceed)
            self.asked[call.operation.method] += 1
            return faults(call, lambda passed: broker(passed, proceed))

        return innermost

    def observe(self, event: Event) -> None:
        """Note *event* with the second of the script."""
        self.seen.append((self._clock.monotonic(), event))

    def close(self) -> None:
        """Do nothing."""

    def elapsed(self) -> float:
        """Return the seconds of the script so far."""
        return 0.0 if self.began is None else self._clock.monotonic() - self.began

    def of(self, kind: type) -> list[Any]:
        """Return the events of one kind."""
        return [event for _, event in self.seen if isinstance(event, kind)]

    def ready_seconds(self) -> tuple[float, ...]:
        """Return how long each lost connection took to be READY again, ascending."""
        lost: dict[str, float] = {}
        took: list[float] = []
        for at, event in self.seen:
            if isinstance(event, Disconnected):
                lost.setdefault(event.connector, at)
            elif isinstance(event, Connected) and event.connector in lost:
                took.append(at - lost.pop(event.connector))
        return tuple(sorted(took))


class _Ending:
    """Says when the run may stop: the script is over, and nothing is in doubt any more."""

    def __init__(self, rehearsal: _Rehearsal, seconds: float, clock: Clock) -> None:
        self._rehearsal = rehearsal
        self._seconds = seconds
        self._clock = clock
        self._over_at: float | None = None
        self.seconds = 0.0

    def __call__(self, run: LiveRun) -> bool:
        rehearsal, now = self._rehearsal, self._clock.monotonic()
        has_ended = bool(run.workers) and rehearsal.has_ended >= set(run.workers)
        if self._over_at is None:
            if not has_ended and rehearsal.elapsed() < self._seconds:
                return False
            self._over_at, self.seconds = now, min(rehearsal.elapsed(), self._seconds)
            rehearsal.is_over = True
        calm = set(run.workers) <= run.reconciler.ready and not run.desk.unresolved
        if not (calm and now - self._over_at >= _CALM_SECONDS) and now - self._over_at < _SETTLE_SECONDS:
            return False
        rehearsal.releases = True
        return not has_ended


def rehearse(
    plan: Plan, script: str, *, seconds: float, seed: int | None = None, pace: float | None = None, clock: Clock | None = None
) -> ChaosReport:
    """Run *plan* on paper under a script of faults, and compare what it kept with what the broker has.

    Args:
        plan: For mode ``paper``.
        script: A shipped script; see `herald.plugins.faults.SCRIPTS`.
        seconds: Longest time, seconds of the script; recorded data may end it sooner.
        seed: Of the faults; the plan's own if None.
        pace: Seconds of the script in one of the wall's; 20 on recorded data and 1 on live prices if None.
        clock: The wall's.

    Raises:
        NotFound: There is no such script.
        HeraldError: The run cannot begin.
    """
    if script not in SCRIPTS:
        raise NotFound(f"there is no script {script!r}; there are {', '.join(sorted(SCRIPTS))}")
    seed = plan.seed if seed is None else seed
    wall = clock or WallClock()
    with _folder() as folder:
        pace = pace or (RECORDED_PACE if _is_recorded(plan, wall) else 1.0)
        world = PacedClock(wall, pace)
        own = _own(plan, folder, pace)
        rehearsal = _Rehearsal(script, seed, world)
        ending = _Ending(rehearsal, seconds, world)
        run = LiveRun(own, world=world, broker_layers=rehearsal.around, observers={"the rehearsal": rehearsal})
        result = run.run(lambda: ending(run))
        again = LiveRun(_own(plan, folder, 1.0, most=_AGAIN_SECONDS), task=Task.RECONCILE)
        second = again.run(lambda: False)
        findings = [*result.errors, *second.errors, *again.findings()]
        comparison, fills = _compared(own, folder, list(run.workers))
    openings = [one for one in rehearsal.of(CircuitChanged) if one.state == "open"]
    return ChaosReport(
        script=script,
        seconds=ending.seconds or rehearsal.elapsed(),
        pace=pace,
        seed=seed,
        status=result.status,
        asked=dict(rehearsal.asked),
        faults=dict(Counter((one.kind, one.operation) for one in rehearsal.of(FaultInjected))),
        failed=dict(rehearsal.failed),
        retries=len(rehearsal.of(CallRepeated)),
        circuit_openings=len(openings),
        disconnects=len(rehearsal.of(Disconnected)),
        ready_seconds=rehearsal.ready_seconds(),
        sent=len(rehearsal.sent),
        denied=dict(Counter(order.code for order in result.orders if order.status is OrderStatus.DENIED)),
        fills=fills,
        orders=comparison,
        findings=tuple(findings),
    )


@contextmanager
def _folder() -> Iterator[Path]:
    """Lend a folder; the system may hold a file of it a moment longer than the run, which is nobody's trouble."""
    folder = Path(tempfile.mkdtemp(prefix="herald-chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_recorded(plan: Plan, clock: Clock) -> bool:
    build = Builder(plan, clock, lambda event: None)
    tables = dict.fromkeys(strategy.connector for strategy in plan.strategies)
    return all(build.connector(table).capabilities().lockstep for table in tables)


def _own(plan: Plan, folder: Path, pace: float, most: float = math.inf) -> Plan:
    """Return *plan* with a state folder and a journal of its own, and as much real time to start and stop as it states."""
    live = plan.config.live
    patient = {"connect_seconds": min(live.connect_seconds * pace, most), "stop_seconds": live.stop_seconds * pace}
    config = plan.config.model_copy(update={"live": live.model_copy(update={"state": str(folder), **patient})})
    kept = component("journal.sqlite", JournalSettings, SqliteJournal, "The journal of a rehearsal.")
    origin = plan.journal.origin if plan.journal is not None else next(iter(plan.connectors.values())).origin
    journal: Planned[Any] = Planned("journal", "journal.sqlite", "journal", kept, JournalSettings(), origin)
    return replace(plan, config=config, journal=journal)


def _compared(plan: Plan, folder: Path, tables: Sequence[str]) -> tuple[Comparison, int]:
    services = Services("journal", WallClock(), seeded(0, "journal"), lambda event: None, plan.base, state=str(folder))
    journal = SqliteJournal(JournalSettings(), services)
    try:
        records = [record for _, record in journal.read(0)]
    finally:
        journal.close()
    orders: dict[str, list[Order]] = {}
    fills: dict[str, list[Fill]] = {}
    for table in tables:
        book = PaperBook(folder / f"paper-{table}.sqlite")
        orders[table] = book.orders()
        fills[table] = [row.fill for row in book.fills(0)]
        book.close()
    return compare(records, orders, fills), sum(map(len, fills.values()))


def compare(records: Sequence[object], orders: Mapping[str, Sequence[Order]], fills: Mapping[str, Sequence[Fill]]) -> Comparison:
    """Compare what a journal says with what the broker has.

    Args:
        records: Of the journal, oldest first.
        orders: Every order in the broker's book in its last state, by table of the connector.
        fills: Every execution in the broker's book, by table of the connector.
    """
    intended: dict[str, str] = {}
    last: dict[str, Order] = {}
    traded: Counter[tuple[str, str]] = Counter()
    for record in records:
        if isinstance(record, Intended):
            intended[record.request.id] = record.connector
        elif isinstance(record, OrderChanged):
            last[record.order.id] = record.order
        elif isinstance(record, Traded):
            traded[record.connector, record.fill.id] += 1
    book = {order.id: order for one in orders.values() for order in one}
    states = {name: last[name].status if name in last else OrderStatus.PENDING for name in intended}
    lost = [f"order {name} is {state} in the journal, and the broker has none" for name, state in states.items()
            if state in _BELIEVED and name not in book]  # fmt: skip
    lost += [f"order {name} is {state} in the journal, and the broker has it" for name, state in states.items()
             if state in _DISBELIEVED and name in book and book[name].status not in _DISBELIEVED]  # fmt: skip
    at_broker = Counter((table, fill.id) for table, one in fills.items() for fill in one)
    lost += [f"fill {name} of {table} is not in the journal" for table, name in at_broker if (table, name) not in traded]
    doubled = [f"fill {name} of {table} is {count} times in the journal" for (table, name), count in traded.items() if count > 1]
    doubled += [f"fill {name} of {table} is in the journal only" for table, name in traded if (table, name) not in at_broker]
    tags = Counter(order.request.client_tag for one in orders.values() for order in one if order.request.client_tag)
    doubled += [f"the broker has {count} orders with the tag {tag}" for tag, count in tags.items() if count > 1]
    return Comparison(
        intended=len(intended),
        known=sum(name in book for name in intended),
        unknown=sum(state in _DOUBT for state in states.values()),
        abandoned=sum(state is OrderStatus.ABANDONED for state in states.values()),
        lost=tuple(lost),
        doubled=tuple(doubled),
    )
