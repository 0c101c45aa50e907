"""The broker of the experiment, the sane client it is compared with, and the person who repairs what stays broken.

Nothing of Herald is copied here: layers, worker and watchdog are the real ones, and this is only what stands around them.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from faultlines import Timeline

from herald.clock import SECOND
from herald.contracts import Capabilities, HistoryConnector
from herald.errors import (
    AmbiguousError,
    ConnectorError,
    HeraldError,
    NotConnected,
    NotSent,
    RejectedError,
    TransientError,
)
from herald.model import Account, AccountMode, Order, OrderRequest, OrderStatus, Quote, Side

__all__ = ["Broker", "Line", "Operator", "ProcessEnds", "SaneLoop", "VirtualClock", "order_request"]

_ACCOUNT = Account(
    id="1", server="experiment", real=False, currency="USD", mode=AccountMode.NETTING, balance=1e4, equity=1e4,
    margin_used=0.0, margin_free=1e4, leverage=30.0, time=0,
)  # fmt: skip


def order_request(number: int) -> OrderRequest:
    """Return the order of one minute; every second one only reduces, as protection does."""
    side = Side.SELL if number % 2 else Side.BUY
    return OrderRequest(f"o-{number}", "trial", "EURUSD", side, 0.1, reduce_only=bool(number % 2), client_tag=f"t{number}")


class ProcessEnds(BaseException):
    """The trading process is gone in the middle of whatever it did; nothing may catch that."""


class VirtualClock:
    """Time that passes when somebody waits, and calls what is due meanwhile."""

    def __init__(self) -> None:
        self.time = 0.0
        self.ends_at = math.inf  # when the process that waits is gone
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def now(self) -> int:
        """Return nanoseconds."""
        return round(self.time * SECOND)

    def monotonic(self) -> float:
        """Return seconds."""
        return self.time

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call *call* at *time*."""
        self._count += 1
        heapq.heappush(self._events, (time, self._count, call))

    def forget(self) -> None:
        """Drop everything that was to be called."""
        self._events.clear()

    def sleep(self, seconds: float) -> None:
        """Let *seconds* pass.

        Raises:
            ProcessEnds: The process does not live that long.
        """
        end = self.time + seconds
        while self._events and self._events[0][0] <= min(end, self.ends_at):
            at, _, call = heapq.heappop(self._events)
            self.time = max(self.time, at)
            call()
        self._to(end)

    def rest(self, wake: object, seconds: float) -> None:
        """Let time pass until something happens, at most *seconds*."""
        end = self.time + seconds
        if self._events and self._events[0][0] <= min(end, self.ends_at):
            at, _, call = heapq.heappop(self._events)
            self.time = max(self.time, at)
            call()
        else:
            self._to(end)

    def _to(self, end: float) -> None:
        if end >= self.ends_at:
            self.time, self.ends_at = max(self.time, self.ends_at), math.inf
            raise ProcessEnds
        self.time = end


class Broker:
    """What is on the other side of the line: a book that knows nothing of idempotent ids, and the faults of a timeline.

    Attributes:
        book: How often an order was executed, by client tag.
        troubled_calls: Calls made while the broker was down or silent or the session was dead.
    """

    def __init__(self, line: Timeline, clock: VirtualClock, call_seconds: float) -> None:
        self.line = line
        self.clock = clock
        self.call_seconds = call_seconds
        self.book: Counter[str] = Counter()
        self.troubled_calls = 0

    def is_down(self) -> bool:
        """Return whether nobody can log in now."""
        return self.line.active("outage", self.clock.time) is not None


class Line(HistoryConnector):
    """A connector to the broker; like the reference connector it closes the connection after anything unexpected.

    Attributes:
        is_dead: The session was ended by the other side; where a person must log in, `connect` does not help.
    """

    def __init__(self, broker: Broker, timeout: float, fresh: Callable[[], None], *, by_hand: bool) -> None:
        self._broker = broker
        self._clock = broker.clock
        self._timeout = timeout
        self._fresh = fresh
        self._by_hand = by_hand
        self._epoch: int | None = None
        self.is_open = False
        self.is_dead = False

    def capabilities(self) -> Capabilities:
        return Capabilities(trading=True, streaming=True, settle_seconds=5.0)

    def connect(self) -> None:
        broker, at = self._broker, self._clock.time
        if self._epoch is not None and broker.line.epoch(at) != self._epoch:
            self.is_dead = True
        if self.is_dead and self._by_hand:
            raise NotConnected("the session is gone; a person must log in")
        troubled = broker.is_down() or broker.line.active("hang", at) is not None
        broker.troubled_calls += troubled
        if broker.is_down():
            self._clock.sleep(broker.call_seconds)
            raise NotSent("nobody listens")
        if broker.line.active("blip", at):
            self._clock.sleep(broker.call_seconds)
            raise NotSent("busy")
        slow = broker.line.active("slow", at)
        takes = broker.call_seconds + (slow.extra if slow else 0.0)
        if broker.line.active("hang", at) or takes > self._timeout:
            self._clock.sleep(self._timeout)
            raise TransientError("no answer to the login")
        self._clock.sleep(takes)
        self._epoch, self.is_open, self.is_dead = broker.line.epoch(self._clock.time), True, False

    def disconnect(self) -> None:
        self.is_open = False

    def _ask(self, act: Callable[[], Any], *, order: bool = False) -> Any:
        broker, at = self._broker, self._clock.time
        line = broker.line
        if self._epoch is not None and line.epoch(at) != self._epoch:
            self.is_dead, self.is_open = True, False
        if not self.is_open:
            broker.troubled_calls += 1
            raise NotConnected("there is no session")
        if line.active("hang", at):
            broker.troubled_calls += 1
            self._late(order)
        if line.active("blip", at):
            self._clock.sleep(broker.call_seconds)
            raise NotSent("the terminal is busy; nothing was sent")
        slow = line.active("slow", at)
        takes = broker.call_seconds + (slow.extra if slow else 0.0)
        if takes > self._timeout:
            act()  # it arrives all the same; only the answer is too late
            self._late(order)
        self._clock.sleep(takes)
        if line.epoch(self._clock.time) != self._epoch:
            self.is_dead, self.is_open = True, False
            if order and line.epoch(at + takes / 2) == self._epoch:
                act()
            raise (AmbiguousError if order else TransientError)("the connection was lost on the way")
        return act()

    def _late(self, order: bool) -> None:
        self._clock.sleep(self._timeout)
        self.is_open = False
        raise (AmbiguousError if order else TransientError)(f"no answer within {self._timeout:g} s")

    def ping(self) -> None:
        self._ask(lambda: None)

    def account(self) -> Account:
        return self._ask(lambda: _ACCOUNT)  # type: ignore[no-any-return]

    def positions(self) -> Sequence[Any]:
        return self._ask(lambda: ())  # type: ignore[no-any-return]

    def open_orders(self) -> Sequence[Order]:
        return self._ask(lambda: ())  # type: ignore[no-any-return]

    def fills(self, since: int) -> Sequence[Any]:
        return self._ask(lambda: ())  # type: ignore[no-any-return]

    def subscribe(self, feeds: object) -> None:
        self._ask(lambda: None)

    def poll(self) -> Sequence[Quote]:
        self._ask(lambda: None)
        self._fresh()
        return ()

    def submit(self, request: OrderRequest) -> str:
        def act() -> str:
            self._broker.book[request.client_tag] += 1
            return request.client_tag

        return self._ask(act, order=True)  # type: ignore[no-any-return]

    def find(self, client_tag: str, since: int) -> Sequence[Order]:
        def act() -> Sequence[Order]:
            if not self._broker.book[client_tag]:
                return ()
            request = order_request(int(client_tag[1:]))
            return (Order(request, OrderStatus.FILLED, self._clock.now(), broker_id=client_tag),)

        return self._ask(act)  # type: ignore[no-any-return]


class SaneLoop:
    """The client that Herald is compared with: one loop, everything caught, a time-out.

    After a time-out of its own it opens the connection again; while it has not been connected yet it tries every five
    seconds. A session that the other side ended needs a login, and that is the operator's.
    """

    def __init__(self, connector: Any, line: Any, clock: Any, told: Callable[[int, str], None], read_seconds: float) -> None:
        self._connector = connector
        self._line = line
        self._clock = clock
        self._told = told
        self._read_seconds = read_seconds
        self._orders: deque[int] = deque()
        self._was_open = False
        self._next = clock.monotonic()

    def want(self, number: int) -> None:
        """Ask for an order."""
        self._orders.append(number)

    def turn(self) -> float:
        """Do what is due; return the seconds until there is something to do."""
        if self._clock.monotonic() >= self._next:
            self._next = self._clock.monotonic() + self._read_seconds
            if self._line.is_open or self._open():
                self._read()
        while self._orders:
            self._send(self._orders.popleft())
        return self._next - self._clock.monotonic()

    def skip(self, seconds: float) -> int:
        """Return how many reads a dead session refuses in *seconds* from now, and go on behind them; 0 if it is not dead."""
        if not (self._was_open and self._line.is_dead) or self._orders or self._line.is_open:
            return 0
        reads = max(int(seconds / self._read_seconds), 0)
        self._next += reads * self._read_seconds
        return reads

    def _open(self) -> bool:
        if self._was_open and self._line.is_dead:
            self._read()  # it goes on asking, and catches what it gets
            return False
        try:
            self._connector.connect()
        except HeraldError:
            if not self._was_open:
                self._next = self._clock.monotonic() + 5.0
            return False
        self._was_open = True
        return True

    def _read(self) -> None:
        try:
            self._connector.poll()
        except ConnectorError:
            return

    def _send(self, number: int) -> None:
        try:
            self._connector.submit(order_request(number), None)
        except AmbiguousError:
            self._told(number, "unknown")
        except RejectedError:
            self._told(number, "done")  # a refusal is an answer, and nothing is wrong with the line
        except HeraldError:
            self._told(number, "failed")
        else:
            self._told(number, "done")


class Operator:
    """Repairs what does not repair itself; draws how long that takes, the same draws for everybody."""

    def __init__(self, seed: int, source: str, terms: dict[str, float]) -> None:
        self._random = random.Random(f"{seed}:operator:{source}")
        self._terms = terms
        self.alarm_seconds = terms["alarm_seconds"]
        self.retry_seconds = terms["retry_seconds"]

    def takes(self) -> float:
        """Return the seconds from the alarm to the repair."""
        return self._random.lognormvariate(math.log(self._terms["median_seconds"]), self._terms["sigma"])
