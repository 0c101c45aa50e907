"""One trial in virtual time: a timeline played to one combination of mechanisms, and what was counted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from faultlines import Timeline
from trader import Broker, Line, Operator, ProcessEnds, SaneLoop, VirtualClock, order_request

from herald.contracts import Middleware, Services
from herald.live.chain import GuardedConnector
from herald.live.messages import Ask, Found, Outcome, SendOrder
from herald.live.worker import Pace, Worker, WorkerClock
from herald.model import OrderStatus
from herald.plugins.circuit_breaker import CircuitBreakerLayer, CircuitBreakerSettings
from herald.plugins.health_monitor import HealthMonitorLayer, HealthMonitorSettings
from herald.plugins.retry import RetryLayer, RetrySettings

__all__ = ["MECHANISMS", "Counts", "Trial", "counted", "layers_of", "overlap", "play"]

MECHANISMS = {
    "T": "time-outs: 2 s a call instead of 10",
    "L": "lanes: a worker serves exits while a layer waits",
    "R": "retry",
    "C": "circuit breaker",
    "H": "event-driven reconnect: health monitor and worker",
    "P": "supervised restart",
    "F": "second source",
}
_CALM, _AHEAD = 12.0, 6.0
"""Seconds after a trouble and before the next that are played; what lies between is only counted."""
_LONGEST_BUDGET = 100


class Trial(msgspec.Struct):
    """What one source went through.

    Attributes:
        gaps: (from, to) without a fresh price, seconds, of those longer than a read may be late.
        orders: Wanted.
        failed_orders: Of these, not known to be at the broker in time.
        troubled_calls: Calls made while the broker was down or silent or the session was dead.
        integrity: Orders doubled, or at the broker although their failure was told.
        operator: How often a person had to come.
    """

    gaps: list[tuple[float, float]]
    orders: int
    failed_orders: int
    troubled_calls: int
    integrity: int
    operator: int


class Counts(msgspec.Struct):
    """What is compared; over a whole timeline."""

    over_10: int
    over_60: int
    over_300: int
    failed_reads: int
    failed_orders: int
    downtime: float
    troubled_calls: int
    integrity: int
    operator: int

    @property
    def failed_operations(self) -> int:
        return self.failed_reads + self.failed_orders


def overlap(one: Sequence[tuple[float, float]], two: Sequence[tuple[float, float]], least: float) -> list[tuple[float, float]]:
    """Return the stretches of more than *least* seconds in which neither of two sources had a fresh price."""
    found, i, j = [], 0, 0
    while i < len(one) and j < len(two):
        start, end = max(one[i][0], two[j][0]), min(one[i][1], two[j][1])
        if end - start > least:
            found.append((start, end))
        if one[i][1] <= two[j][1]:
            i += 1
        else:
            j += 1
    return found


def counted(trial: Trial, terms: dict[str, Any], second: Trial | None = None) -> Counts:
    """Return the counts of a trial, with a *second* source where there is one."""
    late, thresholds = terms["read_late_seconds"], terms["thresholds"]
    gaps = trial.gaps if second is None else overlap(trial.gaps, second.gaps, late)
    over = [sum(end - start > threshold for start, end in gaps) for threshold in thresholds]
    return Counts(
        *over,
        failed_reads=sum(int(end) - int(start + late) for start, end in gaps),
        failed_orders=trial.failed_orders,
        downtime=sum(end - start for start, end in gaps if end - start > thresholds[0]),
        troubled_calls=trial.troubled_calls + (second.troubled_calls if second is not None else 0),
        integrity=trial.integrity,
        operator=trial.operator,
    )


def layers_of(mechanisms: Iterable[str], clock: Any, seed: int) -> list[Middleware]:
    """Return the real layers with Herald's defaults, in Herald's default order."""
    made: list[Middleware] = []

    def services(name: str) -> Services:
        return Services(f"connectors.main.{name}", clock, random.Random(f"{seed}:{name}"), lambda event: None)

    if "H" in mechanisms:
        made.append(HealthMonitorLayer(HealthMonitorSettings(), services("health_monitor")))
    if "R" in mechanisms:
        made.append(RetryLayer(RetrySettings(), services("retry")))
    if "C" in mechanisms:
        made.append(CircuitBreakerLayer(CircuitBreakerSettings(), services("circuit_breaker")))
    return made


class _Asked:
    """One order of the strategy."""

    def __init__(self, number: int, at: float) -> None:
        self.number = number
        self.at = at
        self.confirmed: float | None = None
        self.refused = False


class Play:
    """The trial while it goes on."""

    def __init__(
        self,
        line: Timeline,
        mechanisms: frozenset[str],
        downs: Sequence[tuple[float, float]],
        operator: Operator,
        experiment: dict[str, Any],
        timeouts: tuple[float, float],
        start_seconds: float,
        seed: int,
    ) -> None:
        self._line = line
        self._mechanisms = mechanisms
        self._downs = list(downs)
        self._operator = operator
        self._terms = experiment
        self._timeout = timeouts["T" in mechanisms]
        self._start_seconds = start_seconds
        self._seed = seed
        self._clock = VirtualClock()
        self._broker = Broker(line, self._clock, experiment["call_seconds"])
        self._fresh_at = 0.0
        self._gaps: list[tuple[float, float]] = []
        self._orders: list[_Asked] = []
        self._open: dict[int, _Asked] = {}
        self._skipped = 0
        self._next_order = experiment["order_seconds"]
        self._number = 0
        self._starts = 0
        self._visits = 0
        self._restarted_at = 0.0
        self._turn: Callable[[], float] | None = None
        self._want: Callable[[int], None] = lambda number: None
        self._is_idle: Callable[[], bool] = lambda: True
        self._budget: Callable[[], None] | None = None
        self._skip_reads: Callable[[float], int] = lambda seconds: 0

    # --- the process ------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start the trading process anew."""
        self._starts += 1
        clock, mechanisms = self._clock, self._mechanisms
        line = Line(self._broker, self._timeout, self._fresh, by_hand="H" not in mechanisms)
        waits = WorkerClock(clock)
        layers = layers_of(mechanisms, waits, self._seed * 1_000 + self._starts)
        connector = GuardedConnector("connectors.main", line, layers)
        budgets = [one.budget for one in layers if isinstance(one, RetryLayer)]
        self._budget = budgets[0].refund if budgets else None
        if mechanisms & {"L", "H"}:
            generator = random.Random(f"{self._seed}:{self._starts}:worker")
            pace = Pace(self._terms["read_seconds"], 0.0)
            worker = Worker("main", connector, self._deliver, waits, [("EURUSD", None)], pace, generator)
            waits.rest = clock.rest
            if "L" not in mechanisms:
                waits.wait = clock.sleep

            def want(number: int) -> None:
                worker.put(SendOrder(order_request(number), None, clock.time + 10.0))

            self._turn, self._want, self._ask = worker.turn, want, worker.put
            self._is_idle = lambda: worker.is_connected and not worker.backlog
            self._skip_reads = lambda seconds: 0
        else:
            loop = SaneLoop(connector, line, clock, self._told, self._terms["read_seconds"])
            self._turn, self._want, self._is_idle = loop.turn, loop.want, lambda: line.is_open
            # A breaker that opens and closes meanwhile is played; who only asks in vain is counted.
            self._skip_reads = loop.skip if "C" not in mechanisms else lambda seconds: 0

    def _fresh(self) -> None:
        """Note that a price has come."""
        now = self._clock.time
        if now - self._fresh_at > self._terms["read_late_seconds"]:
            self._gaps.append((self._fresh_at, now))
        self._fresh_at = now

    # --- orders -----------------------------------------------------------------------------------

    def _plan_order(self) -> None:
        self._clock.at(self._next_order, self._due)

    def _due(self) -> None:
        self._number += 1
        self._next_order += self._terms["order_seconds"]
        asked = _Asked(self._number, self._clock.time)
        self._orders.append(asked)
        if self._turn is not None:
            self._open[asked.number] = asked
            self._want(asked.number)
        self._plan_order()

    def _told(self, number: int, what: str) -> None:
        asked = self._open.pop(number)
        if what == "done":
            asked.confirmed = self._clock.time
        asked.refused = what == "failed"

    def _deliver(self, worker: Worker, message: Any) -> None:
        if isinstance(message, Outcome):
            number = int(message.order_id[2:])
            asked = self._open.get(number)
            if asked is None:
                return
            if message.status is OrderStatus.ACCEPTED:
                self._told(number, "done")
            elif message.status is OrderStatus.UNKNOWN:
                self._look_for(asked)
            else:
                self._told(number, "failed")
        elif isinstance(message, Found):
            number = int(message.order_id[2:])
            if message.orders and number in self._open:
                self._told(number, "done")

    def _look_for(self, asked: _Asked) -> None:
        """Ask after an order in doubt once a second, as the desk does, until it is too late to matter."""
        if asked.number not in self._open:
            return
        if self._clock.time - asked.at > self._terms["order_late_seconds"]:
            del self._open[asked.number]
            return
        request = order_request(asked.number)
        self._ask(Ask(request.id, request.client_tag, 0))
        self._clock.at(self._clock.time + 1.0, lambda: self._look_for(asked))

    # --- time -------------------------------------------------------------------------------------

    def run(self) -> Trial:
        """Play the whole timeline."""
        clock, end = self._clock, self._line.seconds
        self._plan_order()
        self._begin()
        repair: float | None = None
        while clock.time < end:
            clock.ends_at = self._downs[0][0] if self._downs else float("inf")
            try:
                assert self._turn is not None, "a process that is gone takes no turn"
                wait = self._turn()
                repair = self._visit(repair)
                if not self._jump() and not self._ask_in_vain(repair):
                    limit = end - clock.time if repair is None else min(end, repair) - clock.time
                    clock.rest(None, max(min(wait, limit), 1e-6))
            except ProcessEnds:
                back = self._downs.pop(0)[1]
                repair = None
                self._gone(back)
        if clock.time - self._fresh_at > self._terms["read_late_seconds"]:
            self._gaps.append((self._fresh_at, clock.time))
        return self._trial()

    def _gone(self, back: float) -> None:
        """Let time pass without a process; orders that are wanted meanwhile fail."""
        self._turn, self._open = None, {}
        self._clock.ends_at = float("inf")
        while self._downs and self._downs[0][0] <= back:
            self._downs.pop(0)
        self._clock.sleep(max(back - self._clock.time, 0.0))
        self._begin()

    def _visit(self, repair: float | None) -> float | None:
        """Return when the operator is there; None while nobody calls him."""
        now, operator = self._clock.time, self._operator
        since = max(self._fresh_at, self._restarted_at)
        if now - since <= operator.alarm_seconds:
            return None
        if repair is None:
            self._visits += 1
            return since + operator.alarm_seconds + operator.takes()
        if now < repair:
            return repair
        if self._broker.is_down():
            return now + operator.retry_seconds
        self._gone(now + self._start_seconds)
        self._restarted_at = self._clock.time
        return None

    def _jump(self) -> bool:
        """Skip a stretch in which nothing can go wrong; return whether there was one."""
        clock = self._clock
        before, after = self._line.quiet(clock.time)
        until = min(after - _AHEAD, clock.ends_at - _AHEAD, self._line.seconds)
        is_calm = clock.time - before > _CALM and clock.time - self._fresh_at < 2.0 and not self._open and self._is_idle()
        if not is_calm or until - clock.time < 30.0:
            return False
        skipped = max(0, int((until - self._next_order) // self._terms["order_seconds"]) + 1)
        self._skipped += skipped
        self._number += skipped + skipped % 2  # the next one stays what it would have been
        self._next_order += skipped * self._terms["order_seconds"]
        clock.forget()
        if self._budget is not None:  # every read that is skipped would have succeeded at the first try
            for _ in range(min(_LONGEST_BUDGET, int(until - clock.time))):
                self._budget()
        clock.time = self._fresh_at = until
        self._plan_order()
        return True

    def _ask_in_vain(self, repair: float | None) -> bool:
        """Skip the reads of a dead session until something else happens; return whether there were some."""
        clock = self._clock
        alarm = max(self._fresh_at, self._restarted_at) + self._operator.alarm_seconds if repair is None else repair
        until = min(alarm, self._next_order, clock.ends_at, self._line.seconds)
        reads = self._skip_reads(until - clock.time - 1.0)
        self._broker.troubled_calls += reads
        clock.time += reads * self._terms["read_seconds"]
        return reads > 0

    def _trial(self) -> Trial:
        late = self._terms["order_late_seconds"]
        asked = [one for one in self._orders if one.at <= self._line.seconds - late]
        failed = sum(one.confirmed is None or one.confirmed - one.at > late for one in asked)
        book = self._broker.book
        doubled = sum(count > 1 for count in book.values())
        false = sum(one.refused and book[order_request(one.number).client_tag] > 0 for one in self._orders)
        invented = sum(one.confirmed is not None and not book[order_request(one.number).client_tag] for one in self._orders)
        return Trial(
            self._gaps, len(asked) + self._skipped, failed, self._broker.troubled_calls, doubled + false + invented, self._visits
        )


def play(
    line: Timeline,
    mechanisms: frozenset[str],
    downs: Sequence[tuple[float, float]],
    operator: Operator,
    experiment: dict[str, Any],
    timeouts: tuple[float, float],
    start_seconds: float,
    seed: int,
) -> Trial:
    """Play *line* to one combination of mechanisms.

    Args:
        line: Of one source.
        mechanisms: Letters of `MECHANISMS`; ``P`` and ``F`` are in *downs* and in a second trial.
        downs: When the process is gone and back.
        operator: Who repairs.
        experiment: The registered terms.
        timeouts: Without and with mechanism ``T``, seconds.
        start_seconds: What a start takes.
        seed: Of jitter.
    """
    return Play(line, mechanisms, downs, operator, experiment, timeouts, start_seconds, seed).run()
