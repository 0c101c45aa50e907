"""The same client at a real broker: a process of its own behind a proxy that spoils the line, sixty seconds in one.

It checks the model of the virtual leg. Both legs play the same condensed timelines, with faults of line and broker only.
"""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faultlines import Timeline
from trader import Operator, SaneLoop, order_request
from trial import Trial, layers_of

from herald.clock import WallClock
from herald.contracts import Capabilities, HistoryConnector
from herald.errors import HeraldError, NotConnected, RejectedError
from herald.live.chain import GuardedConnector
from herald.live.messages import Ask, Found, Outcome, SendOrder
from herald.live.worker import Pace, Worker, WorkerClock
from herald.model import OrderStatus
from herald.plugins.simbroker import SimBrokerConnector, SimBrokerSettings
from herald.research.chaos import PacedClock
from herald.testing import make_services
from herald.testing.faultproxy import FaultProxy, Toxic, length_prefixed
from herald.testing.simbroker import Fault, SimBroker
from herald.testing.simbroker.terms import OPERATIONS

__all__ = ["play_for_real"]


class RealLine(HistoryConnector):
    """The reference connector, with the count of the experiment and its rule of who may log in."""

    def __init__(self, inside: SimBrokerConnector, line: Timeline, clock: PacedClock, fresh: Callable[[], None], by_hand: bool):
        self._inside = inside
        self._line = line
        self._clock = clock
        self._fresh = fresh
        self._by_hand = by_hand
        self._epoch: int | None = None
        self.is_open = False
        self.troubled_calls = 0

    @property
    def is_dead(self) -> bool:
        """Return whether the other side has ended the session."""
        return self._epoch is not None and self._line.epoch(self._clock.monotonic()) != self._epoch

    def capabilities(self) -> Capabilities:
        return self._inside.capabilities()

    def connect(self) -> None:
        if self.is_dead and self._by_hand:
            raise NotConnected("the session is gone; a person must log in")
        self._troubled(False)
        self._inside.disconnect()
        self._inside.connect()
        self._epoch, self.is_open = self._line.epoch(self._clock.monotonic()), True

    def disconnect(self) -> None:
        self.is_open = False
        self._inside.disconnect()

    def _troubled(self, dead: bool) -> None:
        at = self._clock.monotonic()
        self.troubled_calls += bool(dead or self._line.active("outage", at) or self._line.active("hang", at))

    def _ask(self, method: Callable[..., Any], *args: Any) -> Any:
        self._troubled(not self.is_open or self.is_dead)
        try:
            return method(*args)
        except RejectedError:
            raise
        except HeraldError as error:
            if "busy" not in str(error):
                self.is_open = False
            raise

    def ping(self) -> None:
        self._ask(self._inside.ping)

    def account(self) -> Any:
        return self._ask(self._inside.account)

    def positions(self) -> Any:
        return self._ask(self._inside.positions)

    def open_orders(self) -> Any:
        return self._ask(self._inside.open_orders)

    def fills(self, since: int) -> Any:
        return self._ask(self._inside.fills, since)

    def find(self, client_tag: str, since: int) -> Any:
        return self._ask(self._inside.find, client_tag, since)

    def subscribe(self, feeds: Any) -> None:
        self._ask(self._inside.subscribe, feeds)

    def submit(self, request: Any) -> str:
        return str(self._ask(self._inside.submit, request))

    def poll(self) -> Any:
        news = self._ask(self._inside.poll)
        self._fresh()
        return news


class _Run:
    def __init__(
        self,
        line: Timeline,
        mechanisms: frozenset[str],
        terms: dict[str, Any],
        operator: Operator,
        seed: int,
        broker: SimBroker,
        proxy: FaultProxy,
    ) -> None:
        self._line, self._mechanisms, self._operator, self._seed = line, mechanisms, operator, seed
        self._terms, self._broker, self._proxy = terms["experiment"], broker, proxy
        self._start_seconds = terms["mechanism"]["start_seconds"]
        self._pace = terms["real"]["pace"]
        self._timeout = terms["mechanism" if "T" in mechanisms else "baseline"]["timeout_seconds"]
        self.clock = PacedClock(WallClock(), self._pace)
        self._lock = threading.Lock()
        self._fresh_at = 0.0
        self._gaps: list[tuple[float, float]] = []
        self._asked: dict[int, float] = {}
        self._confirmed: dict[int, float] = {}
        self._refused: set[int] = set()
        self._doubts: dict[int, float] = {}
        self._troubled = 0
        self._worker: Worker | None = None
        self._loop: SaneLoop | None = None
        self._starts = 0

    def _begin(self) -> None:
        self._starts += 1
        settings = SimBrokerSettings(
            address=self._proxy.address,
            token=self._broker.terms.token,  # type: ignore[arg-type]
            timeout_seconds=self._timeout / self._pace,
            connect_timeout_seconds=self._timeout / self._pace,
        )
        inside = SimBrokerConnector(settings, make_services("connectors.main", clock=WallClock()))
        self._real = RealLine(inside, self._line, self.clock, self._fresh, "H" not in self._mechanisms)
        waits = WorkerClock(self.clock)
        layers = layers_of(self._mechanisms, waits, self._seed * 1_000 + self._starts)
        connector = GuardedConnector("connectors.main", self._real, layers)
        read = self._terms["read_seconds"]
        self._worker = self._loop = None
        if self._mechanisms & {"L", "H"}:
            generator = random.Random(f"{self._seed}:{self._starts}:worker")
            self._worker = Worker("main", connector, self._deliver, waits, [("EURUSD", None)], Pace(read, 0.0), generator)
            if "L" not in self._mechanisms:
                waits.wait = self.clock.sleep
            self._worker.start()
        else:
            self._loop = SaneLoop(connector, self._real, self.clock, self._told, read)

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.stop(30.0)
        self._real.disconnect()
        self._troubled += self._real.troubled_calls

    def _fresh(self) -> None:
        now = self.clock.monotonic()
        if now - self._fresh_at > self._terms["read_late_seconds"]:
            self._gaps.append((self._fresh_at, now))
        self._fresh_at = now

    def _told(self, number: int, what: str) -> None:
        with self._lock:
            if what == "done":
                self._confirmed.setdefault(number, self.clock.monotonic())
            elif what == "failed":
                self._refused.add(number)

    def _deliver(self, worker: Worker, message: Any) -> None:
        if isinstance(message, Outcome):
            number = int(message.order_id[2:])
            if message.status in (OrderStatus.ACCEPTED, OrderStatus.REJECTED):  # a refusal is an answer
                self._told(number, "done")
            elif message.status is OrderStatus.UNKNOWN:
                self._doubts[number] = 0.0
            else:
                self._told(number, "failed")
        elif isinstance(message, Found) and message.orders:
            self._told(int(message.order_id[2:]), "done")

    def run(self) -> Trial:
        clock, terms = self.clock, self._terms
        player = threading.Thread(target=self._play, name="faults", daemon=True)
        self._begin()
        player.start()
        number, next_order, visits = 0, terms["order_seconds"], 0
        repair: float | None = None
        restarted = 0.0
        while (now := clock.monotonic()) < self._line.seconds:
            if now >= next_order:
                number += 1
                next_order += terms["order_seconds"]
                self._asked[number] = now
                if self._worker is not None:
                    self._worker.put(SendOrder(order_request(number), None, now + 10.0))
                elif self._loop is not None:
                    self._loop.want(number)
            for doubt, asked in list(self._doubts.items()):
                if doubt in self._confirmed or now - self._asked[doubt] > terms["order_late_seconds"]:
                    del self._doubts[doubt]
                elif now - asked >= 1.0 and self._worker is not None:
                    self._doubts[doubt] = now
                    request = order_request(doubt)
                    self._worker.put(Ask(request.id, request.client_tag, 0))
            since = max(self._fresh_at, restarted)
            if now - since <= self._operator.alarm_seconds:
                repair = None
            elif repair is None:
                visits += 1
                repair = since + self._operator.alarm_seconds + self._operator.takes()
            elif now >= repair:
                if self._line.active("outage", now) is not None:
                    repair = now + self._operator.retry_seconds
                else:
                    self._end()
                    clock.sleep(self._start_seconds)
                    self._begin()
                    restarted, repair = clock.monotonic(), None
            wait = self._loop.turn() if self._loop is not None else 0.5
            clock.sleep(max(min(wait, 0.5), 0.02))
        self._end()
        player.join()
        end = self._line.seconds
        if end - self._fresh_at > terms["read_late_seconds"]:
            self._gaps.append((self._fresh_at, end))
        return self._trial(visits)

    def _trial(self, visits: int) -> Trial:
        late = self._terms["order_late_seconds"]
        asked = {number: at for number, at in self._asked.items() if at <= self._line.seconds - late}
        failed = sum(number not in self._confirmed or self._confirmed[number] - at > late for number, at in asked.items())
        book = self._broker.book()
        counts = {number: len(book.tagged(order_request(number).client_tag)) for number in self._asked}
        wrong = (
            sum(count > 1 for count in counts.values()) + sum(counts[number] > 0 for number in self._refused) + len(book.verify())
        )
        return Trial(self._gaps, len(asked), failed, self._troubled, wrong, visits)

    def _play(self) -> None:
        """Let the timeline happen to the proxy and the broker."""
        moments: list[tuple[float, int, Callable[[], None]]] = []
        control, proxy, pace = self._broker.control, self._proxy, self._pace
        for place, one in enumerate(self._line.stretches):
            lasts = max((one.end - one.start) / pace, 1e-3)
            if one.kind == "drop":
                moments.append((one.start, place, lambda: proxy.reset_all() and None))
            elif one.kind in ("hang", "outage"):
                toxic = Toxic(kind="black_hole" if one.kind == "hang" else "down")
                held: list[int] = []
                moments.append((one.start, place, lambda toxic=toxic, held=held: held.append(proxy.add(toxic))))  # type: ignore[misc]
                moments.append((one.end, place, lambda held=held: proxy.remove(held.pop())))  # type: ignore[misc]
            else:
                fault = (
                    Fault(kind="refuse", code="busy", text="busy", lasts_seconds=lasts)
                    if one.kind == "blip"
                    else Fault(kind="reply_delay", operations=OPERATIONS, seconds=one.extra / pace, lasts_seconds=lasts)
                )
                moments.append((one.start, place, lambda fault=fault: control.add_faults(fault)))  # type: ignore[misc]
        for at, _, happen in sorted(moments, key=lambda one: one[:2]):
            self.clock.sleep(max(at - self.clock.monotonic(), 0.0))
            happen()


def play_for_real(line: Timeline, mechanisms: frozenset[str], terms: dict[str, Any], seed: int) -> Trial:
    """Play a condensed *line* to one combination, in real time over real sockets; *terms* are the registered ones."""
    operator = Operator(seed, "A", terms["operator"])
    with (
        tempfile.TemporaryDirectory(prefix="herald-mtbf-") as folder,
        SimBroker.start(Path(folder, "book.sqlite"), mode="netting", idempotent=False) as broker,
        FaultProxy(broker.address, splitter=length_prefixed) as proxy,
    ):
        return _Run(line, mechanisms, terms, operator, seed, broker, proxy).run()
