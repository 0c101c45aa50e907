"""The thread that owns one connector: nobody else calls it, and it does nothing else.

Jobs wait in lanes: cancels and protective exits overtake entries, orders overtake questions. Between jobs the worker
polls, lets the layers tick, asks for the account now and then, and connects again when the connection is lost. What it
learns goes to the engine through one function, `deliver`; it decides nothing about money.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from herald.clock import SECOND, Clock
from herald.errors import (
    AmbiguousError,
    CircuitOpenError,
    ConnectorError,
    HeraldError,
    NotConnected,
    NotSent,
    NotSupported,
    PermitError,
    RateLimitedError,
    RejectedError,
)
from herald.live.chain import GuardedConnector
from herald.live.crashpoints import crash_point
from herald.live.messages import (
    Acknowledge,
    Ask,
    CancelOrder,
    ChangeOrder,
    Found,
    Job,
    Look,
    Outcome,
    SendOrder,
    Snapshot,
)
from herald.model import Account, Disconnected, Event, OrderStatus, Timeframe
from herald.utils.redaction import redact
from herald.utils.retry import RetryPolicy

__all__ = ["Message", "Pace", "Worker", "WorkerClock"]

Message: TypeAlias = "Event | Outcome | Snapshot | Found"
"""What a worker delivers."""

_URGENT, _ORDERS, _QUESTIONS, _LAST = 0, 1, 2, 3
_SOON = RetryPolicy(initial_delay=0.5, max_delay=3.0)
_LATER = RetryPolicy(initial_delay=0.5, max_delay=30.0)
_LONG = 40
"""Attempts after which an outage is a long one: about a minute. Until then a broker that is back is noticed within three
seconds; from then on one that is down is spared."""
_NESTED = 2
"""How deep a waiting job may be interrupted by others: enough for a cancel during the wait of an entry's wait."""

_NEVER_LEFT = {
    CircuitOpenError: "circuit_open",
    RateLimitedError: "rate_limited",
    NotConnected: "not_connected",
    NotSent: "not_sent",
}
"""Errors that prove an order never left, by the code of the denial."""


class Pace:
    """How often a worker does what nobody asked it to; seconds.

    Attributes:
        poll_seconds: Between two polls.
        account_seconds: Between two questions for the account; 0 never asks.
        lockstep: Poll only after the engine has dealt with everything that was delivered, for a replay.
        give_up: Failed polls in a row that mean: the connection is lost.
    """

    __slots__ = ("account_seconds", "give_up", "lockstep", "poll_seconds")

    def __init__(
        self, poll_seconds: float = 0.25, account_seconds: float = 5.0, *, lockstep: bool = False, give_up: int = 3
    ) -> None:
        """State the pace."""
        self.poll_seconds = poll_seconds
        self.account_seconds = account_seconds
        self.lockstep = lockstep
        self.give_up = give_up


class WorkerClock:
    """The clock that a connector and its layers wait on: a wait lets more urgent jobs of the same worker through."""

    def __init__(self, clock: Clock) -> None:
        """Tell the time by *clock*; wait as `wait` says once a worker is there, and for a job as `rest` says."""
        self._clock = clock
        self.now = clock.now
        self.monotonic = clock.monotonic
        self.wait: Callable[[float], None] = clock.sleep
        pace = float(getattr(clock, "pace", 1.0))  # seconds of a clock that runs faster than the wall's, in one of the wall's
        self.rest: Callable[[threading.Condition, float], object] = lambda wake, seconds: wake.wait(seconds / pace)

    def sleep(self, seconds: float) -> None:
        """Wait without holding up what is more urgent.

        Raises:
            NotConnected: The run stops.
        """
        self.wait(seconds)


class Worker:
    """Owns one connector.

    Attributes:
        name: Table of the connector.
        busy_since: When the call that is under way began, seconds of the monotonic clock; 0.0 between calls. Read by others.
        is_connected: Whether the connection stands, as far as is known. Read by others.
        clock_skew: Seconds by which the broker's clock and the machine's provably differ, >= 0; 0.0 where the broker does not
            tell its time. Read by others.
    """

    def __init__(
        self,
        name: str,
        connector: GuardedConnector,
        deliver: Callable[[Worker, Message], None],
        clock: WorkerClock,
        feeds: Sequence[tuple[str, Timeframe | None]],
        pace: Pace,
        generator: random.Random,
        *,
        fills_after: int = 0,
        recognise: Callable[[Account], str] | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            name: Table of the connector.
            connector: Inside its layers.
            deliver: Takes what the worker learns; called from its thread.
            clock: What the connector and its layers wait on.
            feeds: What to subscribe to after every connection.
            pace: How often it polls.
            generator: Spreads the waits between attempts to connect.
            fills_after: From when on executions are listed after the first connection, nanoseconds UTC.
            recognise: Says what is wrong with an account that is not the one to be traded, empty where it is; called from the
                worker's thread with every statement. Nothing is sent to an account that was not recognised.
        """
        self.name = name
        self.busy_since = 0.0
        self.is_connected = False
        self.clock_skew = 0.0
        self._connector = connector
        self._deliver = deliver
        self._clock = clock
        self._feeds: tuple[tuple[str, Timeframe | None], ...] = tuple(feeds)
        self._pace = pace
        self._random = generator
        self._jobs: list[tuple[int, int, Job]] = []
        self._count = 0
        self._wake = threading.Condition()
        self._stopping = False
        self._depth = 0
        self._attempt = 0
        self._next_connect = 0.0
        self._next_poll = 0.0
        self._next_account = 0.0
        self._failed_polls = 0
        self._delivered = 0
        self._acknowledged = 0
        self._fills_after = fills_after
        self._recognise = recognise
        self._is_recognised = recognise is None
        self._connected, self._after_reply = crash_point("connected"), crash_point("after_reply")
        self._trouble: BaseException | None = None
        self._polls = True
        self._thread = threading.Thread(target=self._run, name=f"herald-{name}", daemon=True)
        clock.wait = self._idle

    # --- from other threads -----------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; it connects by itself."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Ask for *job*; from any thread, never blocks."""
        with self._wake:
            self._count += 1
            # Recorded data has no hurry: there, orders go out in the order in which they were asked for.
            lane = _ORDERS if self._pace.lockstep and not isinstance(job, Acknowledge) else _lane(job)
            heapq.heappush(self._jobs, (lane, self._count, job))
            self._wake.notify()

    def turn(self) -> float:
        """Do the most urgent job and whatever is due, for somebody who drives the worker instead of its thread.

        Returns:
            Seconds in which there is nothing to do unless somebody puts a job; 0 or less for none.
        """
        job = self._take(0.0)
        if job is not None:
            self._serve(job)
        self._turn()
        return 0.0 if self._jobs else self._until_due()

    def stop(self, timeout: float) -> bool:
        """Do the jobs that wait, disconnect and end; return whether that came about within *timeout* seconds."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def backlog(self) -> int:
        """Return how many jobs wait."""
        return len(self._jobs)

    @property
    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                job = self._take(self._until_due())
                if job is not None:
                    self._serve(job)
                elif self._stopping:
                    break
                if not self._stopping:
                    self._turn()
        except BaseException as error:  # the thread must not end without a word: orders wait for it
            self._trouble = error
            self._tell(Disconnected(self._clock.now(), self.name, f"its worker failed: {type(error).__name__}: {error}"))
            raise
        finally:
            self.is_connected = False
            try:
                self._connector.disconnect()
            except HeraldError as error:
                self._tell(Disconnected(self._clock.now(), self.name, f"disconnecting failed: {error}"))

    def _take(self, seconds: float, lanes: int = _LAST) -> Job | None:
        """Return the most urgent job of the first *lanes*, waiting up to *seconds* for one; None where there is none."""
        with self._wake:
            if not (self._jobs and self._jobs[0][0] <= lanes) and seconds > 0 and not self._stopping:
                self._clock.rest(self._wake, seconds)
            if self._jobs and self._jobs[0][0] <= lanes:
                return heapq.heappop(self._jobs)[2]
        return None

    def _until_due(self) -> float:
        """Return how long nothing needs to be done, seconds."""
        now = self._clock.monotonic()
        if not self.is_connected:
            return self._next_connect - now
        waits = [self._next_poll - now] if self._may_poll() or not self._polls else []
        if self._pace.account_seconds:
            waits.append(self._next_account - now)
        return min(waits, default=1.0)

    def _may_poll(self) -> bool:
        return self._polls and not (self._pace.lockstep and self._acknowledged < self._delivered)

    def _turn(self) -> None:
        """Do whatever is due."""
        now = self._clock.monotonic()
        if not self.is_connected:
            if now >= self._next_connect:
                self._connect()
            return
        if now >= self._next_poll and (self._may_poll() or not self._polls):
            self._poll(now)
        if self.is_connected and self._pace.account_seconds and now >= self._next_account:
            self._next_account = now + self._pace.account_seconds
            self._account()

    def _idle(self, seconds: float) -> None:
        """Wait for a layer, serving what is more urgent meanwhile.

        Raises:
            NotConnected: The run stops.
        """
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0:
            if self._stopping:
                raise NotConnected("the run stops; it was given up")
            job = self._take(left, _URGENT if self._depth == 0 else -1) if self._depth < _NESTED else None
            if job is not None:
                self._depth += 1
                busy = self.busy_since
                try:
                    self._serve(job)
                finally:
                    self._depth -= 1
                    self.busy_since = busy
            elif self._depth >= _NESTED:
                with self._wake:
                    self._clock.rest(self._wake, left)

    def _tell(self, message: Message) -> None:
        self._delivered += 1
        self._deliver(self, message)

    # --- connection -------------------------------------------------------------------------------

    def _connect(self) -> None:
        try:
            self._call(self._connector.connect)
            self._subscribe()
            self._connected()
            self.is_connected = True
            self._look(self._fills_after, first=True)
        except NotSupported as error:
            self._lose(f"{error}")
        except HeraldError as error:
            self._lose(f"connecting failed: {error}")
        else:
            self._attempt = self._failed_polls = 0
            self._next_poll = self._clock.monotonic()

    def _subscribe(self) -> None:
        """Ask for bars and quotes; for bars alone where there are no quotes to have."""
        try:
            self._call(self._connector.subscribe, self._feeds)
        except NotSupported:
            bars = tuple(feed for feed in self._feeds if feed[1] is not None)
            if bars == self._feeds:
                raise
            self._feeds = bars
            self._call(self._connector.subscribe, bars)

    def _lose(self, text: str) -> None:
        """Note that the connection is gone, and when to try again."""
        was, self.is_connected = self.is_connected, False
        self._is_recognised = self._recognise is None
        policy = _SOON if self._attempt < _LONG else _LATER
        delay = policy.delay(self._attempt, self._random.random())
        if was or self._attempt == 0:
            self._tell(Disconnected(self._clock.now(), self.name, text))
        self._attempt += 1
        self._next_connect = self._clock.monotonic() + delay
        try:
            self._connector.disconnect()
        except HeraldError:
            return  # it is gone anyway; what matters is told already

    def lost(self, text: str) -> None:
        """Take the word of a layer that the connection is gone; from the worker's own thread only."""
        if self.is_connected:
            self._lose(text)

    # --- what nobody asked for --------------------------------------------------------------------

    def _poll(self, now: float) -> None:
        self._next_poll = now + self._pace.poll_seconds
        try:
            events = self._call(self._connector.poll) if self._polls else ()
        except NotSupported:
            self._polls = False
            events = ()
        except NotConnected as error:
            self._lose(str(error))
            return
        except HeraldError as error:
            self._failed_polls += 1
            if self._failed_polls >= self._pace.give_up:
                self._lose(f"{self._failed_polls} polls failed in a row: {error}")
            return
        self._failed_polls = 0
        if events and self._pace.lockstep:
            self._next_poll = 0.0  # recorded data: the next moment may follow as soon as this one is dealt with
        for event in events:
            self._tell(event)
        self._tick()

    def _tick(self) -> None:
        """Let the layers look after the connection; one of them may find that it is gone, though no poll has failed."""
        try:
            self._call(self._connector.tick)
        except NotConnected as error:
            self._lose(str(error))
        except HeraldError:
            return  # what a layer could not do now it does later

    def _account(self) -> None:
        try:
            self._tell(self._stated())
        except NotSupported:
            self._next_account = float("inf")
        except NotConnected as error:
            self._lose(str(error))
        except HeraldError:
            return  # the next one will do; a poll that fails as well tells the rest

    def _stated(self) -> Account:
        """Return the account, and compare the clocks by it where the broker tells its time."""
        began = self._clock.now()
        account: Account = self._call(self._connector.account)
        if self._connector.capabilities().broker_time:
            # It answered between the two; only what lies outside is a difference of the clocks, however long it took.
            outside = max(began - account.time, account.time - self._clock.now(), 0)
            self.clock_skew = outside / SECOND
        if self._recognise is not None:
            wrong = self._recognise(account)
            if wrong:
                raise NotConnected(wrong)
            self._is_recognised = True
        return account

    def _send(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a method that changes something at the broker."""
        if not self._is_recognised:  # while the first question after a connection waits, urgent jobs are served
            raise NotConnected("nobody has looked yet which account this connection leads to; nothing was sent")
        return self._call(method, *args)

    # --- jobs -------------------------------------------------------------------------------------

    def _call(self, method: Callable[..., Any], *args: Any) -> Any:
        self.busy_since = self._clock.monotonic()
        try:
            return method(*args)
        finally:
            self.busy_since = 0.0

    def _serve(self, job: Job) -> None:
        match job:
            case SendOrder():
                self._submit(job)
            case CancelOrder():
                self._cancel(job)
            case ChangeOrder():
                self._modify(job)
            case Look(since=since):
                self._question(lambda: self._look(since))
            case Ask():
                self._question(lambda: self._find(job))
            case Acknowledge(number=number):
                self._acknowledged = max(self._acknowledged, number)

    def _question(self, ask: Callable[[], None]) -> None:
        """Ask; a question that fails is asked again by whoever needs the answer."""
        if not self.is_connected:
            return
        try:
            ask()
        except NotConnected as error:
            self._lose(str(error))
        except HeraldError:
            return

    def _look(self, since: int, *, first: bool = False) -> None:
        connector = self._connector
        time = self._clock.now()
        try:
            account = self._stated()
        except NotSupported:
            return  # a source of prices without an account has nothing to reconcile
        positions, orders = self._call(connector.positions), self._call(connector.open_orders)
        fills = self._call(connector.fills, since)
        # After the next connection the list begins where whoever asks now thinks it must.
        self._fills_after = since
        self._tell(Snapshot(time, account, positions, orders, fills, first))

    def _find(self, job: Ask) -> None:
        time, asked = self._clock.now(), self._clock.monotonic()
        orders = self._call(self._connector.find, job.client_tag, job.since)
        self._tell(Found(time, job.order_id, orders, asked))

    def _submit(self, job: SendOrder) -> None:
        request = job.request
        if self._clock.monotonic() > job.expires:
            self._end(request.id, "submit", OrderStatus.DENIED, "too_late", "it waited too long to be sent")
            return
        try:
            broker_id = self._send(self._connector.submit, request, job.permit)
        except HeraldError as error:
            self._end(request.id, "submit", *_fate(error))
        else:
            self._after_reply()
            self._end(request.id, "submit", OrderStatus.ACCEPTED, broker_id=broker_id)

    def _modify(self, job: ChangeOrder) -> None:
        if self._clock.monotonic() > job.expires:
            self._end(job.request.id, "modify", None, "too_late", "it waited too long to be sent")
            return
        try:
            self._send(self._connector.modify, job.broker_id, job.request, job.permit)
        except HeraldError as error:
            status, code, text = _fate(error)
            # A change that failed leaves the order where it was; one that is not known about is looked up.
            self._end(job.request.id, "modify", status if status is OrderStatus.UNKNOWN else None, code, text)
        else:
            self._end(job.request.id, "modify", None)

    def _cancel(self, job: CancelOrder) -> None:
        try:
            self._send(self._connector.cancel, job.broker_id)
        except HeraldError as error:
            status, code, text = _fate(error)
            # Anything but a refusal leaves it open whether the order is withdrawn; asking twice does no harm.
            self._end(job.order_id, "cancel", None if status is OrderStatus.REJECTED else OrderStatus.UNKNOWN, code, text)
        else:
            self._end(job.order_id, "cancel", OrderStatus.CANCELLED)

    def _end(
        self, order_id: str, action: str, status: OrderStatus | None, code: str = "", text: str = "", broker_id: str = ""
    ) -> None:
        self._tell(Outcome(self._clock.now(), order_id, action, status, broker_id, code, text))
        if code == "not_connected":
            self.lost(text)


def _lane(job: Job) -> int:
    """Return the lane of *job*: what makes the account safer first, questions last."""
    if isinstance(job, CancelOrder):
        return _URGENT
    if isinstance(job, SendOrder | ChangeOrder):
        return _URGENT if job.request.reduce_only else _ORDERS
    # What an acknowledgement stands behind must be done before it counts.
    return _LAST if isinstance(job, Acknowledge) else _QUESTIONS


def _fate(error: HeraldError) -> tuple[OrderStatus, str, str]:
    """Return (status, code, text) of an order whose sending raised *error*."""
    text = redact(" ".join(str(error).split()))
    if isinstance(error, PermitError):
        return OrderStatus.DENIED, error.code, text
    if isinstance(error, RejectedError):
        return OrderStatus.REJECTED, error.code, text
    for kind, code in _NEVER_LEFT.items():
        if isinstance(error, kind):
            return OrderStatus.DENIED, code, text
    if isinstance(error, NotSupported):
        return OrderStatus.DENIED, "not_supported", text
    if isinstance(error, AmbiguousError):
        return OrderStatus.UNKNOWN, "no_answer", text
    # Anything else says too little: an order that may have left is not known about until somebody has looked.
    return OrderStatus.UNKNOWN, "connector_error" if isinstance(error, ConnectorError) else "unexpected", text
