"""The thread that owns a connector: lanes, reconnecting, and what comes of an order."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from herald.clock import SECOND, WallClock
from herald.components import Services
from herald.contracts import Call, Capabilities, Handler, HistoryConnector
from herald.errors import (
    AmbiguousError,
    CircuitOpenError,
    HeraldError,
    NotConnected,
    NotSent,
    NotSupported,
    PermitError,
    RateLimitedError,
    RejectedError,
    TransientError,
)
from herald.live.chain import GuardedConnector
from herald.live.messages import Acknowledge, Ask, CancelOrder, ChangeOrder, Found, Look, Outcome, SendOrder, Snapshot
from herald.live.worker import Pace, Worker, WorkerClock
from herald.model import Account, AccountMode, Disconnected, OrderRequest, OrderStatus, Quote, Side, Timeframe
from herald.plugins.health_monitor import HealthMonitorLayer, HealthMonitorSettings
from herald.testing import FakeClock

PATIENCE = 20.0
NEVER = float("inf")
ACCOUNT = Account(
    id="1", server="s", real=False, currency="USD", mode=AccountMode.NETTING, balance=1.0, equity=1.0,
    margin_used=0.0, margin_free=1.0, leverage=1.0, time=0,
)  # fmt: skip


def request(number: int, *, reduce_only: bool = False) -> OrderRequest:
    return OrderRequest(
        f"trend-{number:06d}", "trend", "EURUSD", Side.BUY, 0.1, reduce_only=reduce_only, client_tag=f"tag{number}"
    )


def send(number: int, *, reduce_only: bool = False) -> SendOrder:
    return SendOrder(request(number, reduce_only=reduce_only), None, NEVER)


class Broker(HistoryConnector):
    """Does what it is told; notes what it was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing: dict[str, list[HeraldError]] = {}
        self.news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.gate: dict[str, threading.Event] = {}
        self.inside = threading.Event()
        self.quotes = True

    def _do(self, name: str, detail: str = "") -> None:
        self.asked.append(f"{name} {detail}".strip())
        if name in self.gate:
            self.inside.set()
            assert self.gate[name].wait(PATIENCE)
        if self.failing.get(name):
            raise self.failing[name].pop(0)

    def connect(self) -> None:
        self._do("connect")

    def disconnect(self) -> None:
        self._do("disconnect")

    def capabilities(self) -> Capabilities:
        return Capabilities(trading=True, streaming=True)

    def subscribe(self, feeds: Any) -> None:
        self._do("subscribe", str(len(feeds)))
        if not self.quotes and any(timeframe is None for _, timeframe in feeds):
            raise NotSupported("no quotes here")

    def account(self) -> Account:
        self._do("account")
        return ACCOUNT

    def positions(self) -> Any:
        return ()

    def open_orders(self) -> Any:
        return ()

    def fills(self, since: int) -> Any:
        self._do("fills", str(since))
        return ()

    def find(self, client_tag: str, since: int) -> Any:
        self._do("find", client_tag)
        return ()

    def poll(self) -> Any:
        self._do("poll")
        out = []
        while not self.news.empty():
            out.append(self.news.get())
        return out

    def submit(self, request: OrderRequest) -> str:
        self._do("submit", request.id)
        return "42"

    def modify(self, broker_id: str, request: OrderRequest) -> None:
        self._do("modify", broker_id)

    def cancel(self, broker_id: str) -> None:
        self._do("cancel", broker_id)


class Stand:
    """A worker around a broker, and what it delivers."""

    def __init__(self, layers: Any = (), **pace: Any) -> None:
        self.broker = Broker()
        self.told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        clock = WorkerClock(WallClock())
        layers = [make(clock) for make in layers]
        feeds = [("EURUSD", Timeframe(60)), ("EURUSD", None)]
        options = {"poll_seconds": 3_600.0, "account_seconds": 0.0} | pace
        guarded = GuardedConnector("connectors.main", self.broker, layers)
        self.worker = Worker(
            "main", guarded, lambda worker, message: self.told.put(message), clock, feeds, Pace(**options), random.Random(1)
        )

    def next(self, kind: type) -> Any:
        while True:
            message = self.told.get(timeout=PATIENCE)
            if isinstance(message, kind):
                return message

    def ready(self) -> Stand:
        self.worker.start()
        self.next(Snapshot)
        return self


@pytest.fixture
def make() -> Iterator[Callable[..., Stand]]:
    stands: list[Stand] = []

    def build(*layers: Any, **pace: Any) -> Stand:
        stands.append(Stand(layers, **pace))
        return stands[-1]

    yield build
    for stand in stands:
        for gate in stand.broker.gate.values():
            gate.set()
        if stand.worker.is_alive:
            assert stand.worker.stop(PATIENCE)


def test_it_connects_subscribes_and_looks_at_the_account(make: Callable[..., Stand]) -> None:
    stand = make()
    stand.worker.start()

    snapshot = stand.next(Snapshot)

    assert snapshot.first
    assert ["connect", "subscribe 2", "account", "fills 0"] == stand.broker.asked[:4]
    assert stand.worker.is_connected


def test_a_connector_without_quotes_is_asked_for_bars_alone(make: Callable[..., Stand]) -> None:
    stand = make()
    stand.broker.quotes = False
    stand.ready()

    assert ["connect", "subscribe 2", "subscribe 1"] == stand.broker.asked[:3]


def test_what_the_broker_tells_is_delivered(make: Callable[..., Stand]) -> None:
    stand = make(poll_seconds=0.001).ready()
    quote = Quote("EURUSD", 1, 1.0, 1.1)
    stand.broker.news.put(quote)

    assert quote is stand.next(Quote)


def test_a_failed_connection_is_made_again(make: Callable[..., Stand]) -> None:
    stand = make()
    stand.broker.failing["connect"] = [NotSent("refused"), NotSent("refused")]
    stand.worker.start()

    assert "connecting failed: refused" == stand.next(Disconnected).text
    assert stand.next(Snapshot).first
    assert 3 == stand.broker.asked.count("connect")


@pytest.mark.parametrize(("error", "failures"), [(NotConnected("reset"), 1), (TransientError("busy"), 3)])
def test_a_lost_connection_is_told_and_made_again(make: Callable[..., Stand], error: HeraldError, failures: int) -> None:
    stand = make(poll_seconds=0.001).ready()
    stand.broker.failing["poll"] = [error] * failures

    lost = stand.next(Disconnected)

    assert str(error) in lost.text
    assert stand.next(Snapshot).first
    assert 2 == stand.broker.asked.count("connect")


def test_a_poll_that_fails_once_loses_nothing(make: Callable[..., Stand]) -> None:
    stand = make(poll_seconds=0.001).ready()
    stand.broker.failing["poll"] = [TransientError("busy")]
    quote = Quote("EURUSD", 1, 1.0, 1.1)
    stand.broker.news.put(quote)

    assert quote is stand.next(Quote)
    assert 1 == stand.broker.asked.count("connect")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (None, OrderStatus.ACCEPTED, ""),
        (RejectedError("10019", "no money"), OrderStatus.REJECTED, "10019"),
        (AmbiguousError("no reply"), OrderStatus.UNKNOWN, "no_answer"),
        (TransientError("busy"), OrderStatus.UNKNOWN, "connector_error"),
        (NotSent("refused"), OrderStatus.DENIED, "not_sent"),
        (NotConnected("no"), OrderStatus.DENIED, "not_connected"),
        (CircuitOpenError("b", 1.0), OrderStatus.DENIED, "circuit_open"),
        (RateLimitedError("l", 1.0), OrderStatus.DENIED, "rate_limited"),
        (PermitError("token_used", "used"), OrderStatus.DENIED, "token_used"),
        (NotSupported("never"), OrderStatus.DENIED, "not_supported"),
    ],
)
def test_what_comes_of_an_order(make: Callable[..., Stand], error: HeraldError | None, status: OrderStatus, code: str) -> None:
    stand = make().ready()
    if error is not None:
        stand.broker.failing["submit"] = [error]

    stand.worker.put(send(1))
    outcome = stand.next(Outcome)

    assert ("trend-000001", "submit", status, code) == (outcome.order_id, outcome.action, outcome.status, outcome.code)
    assert ("42" if error is None else "") == outcome.broker_id


def test_an_order_that_waited_too_long_is_not_sent(make: Callable[..., Stand]) -> None:
    stand = make().ready()

    stand.worker.put(SendOrder(request(1), None, expires=0.0))

    assert (OrderStatus.DENIED, "too_late") == ((outcome := stand.next(Outcome)).status, outcome.code)
    assert not any(one.startswith("submit") for one in stand.broker.asked)


def test_cancels_and_protective_exits_overtake_entries_and_entries_overtake_questions(make: Callable[..., Stand]) -> None:
    stand = make()
    stand.broker.gate["find"] = threading.Event()
    stand.ready()
    stand.worker.put(Ask("trend-000000", "tag0", 0))
    assert stand.broker.inside.wait(PATIENCE)
    begin = len(stand.broker.asked)
    for job in (Look(7), send(1), send(2, reduce_only=True), CancelOrder("9", "trend-000003")):
        stand.worker.put(job)

    stand.broker.gate["find"].set()
    stand.next(Found)
    for _ in range(3):
        stand.next(Outcome)
    stand.next(Snapshot)

    assert ["submit trend-000002", "cancel 9", "submit trend-000001", "account", "fills 7"] == stand.broker.asked[begin:]


def test_recorded_data_keeps_the_order_in_which_things_were_asked(make: Callable[..., Stand]) -> None:
    stand = make(lockstep=True)
    stand.broker.gate["submit"] = threading.Event()
    stand.ready()
    stand.worker.put(send(1))
    assert stand.broker.inside.wait(PATIENCE)
    for job in (send(2), CancelOrder("9", "trend-000003"), send(4, reduce_only=True)):
        stand.worker.put(job)

    stand.broker.gate["submit"].set()
    outcomes = [stand.next(Outcome).order_id for _ in range(4)]

    assert ["trend-000001", "trend-000002", "trend-000003", "trend-000004"] == outcomes


def test_recorded_data_waits_until_everything_delivered_is_dealt_with(make: Callable[..., Stand]) -> None:
    stand = make(lockstep=True, poll_seconds=0.001).ready()
    stand.broker.news.put(Quote("EURUSD", 1, 1.0, 1.1))
    before = stand.broker.asked.count("poll")

    stand.worker.put(Acknowledge(1))  # the snapshot
    stand.next(Quote)
    stand.broker.news.put(Quote("EURUSD", 2, 1.0, 1.1))
    with pytest.raises(queue.Empty):
        stand.told.get(timeout=0.1)
    stand.worker.put(Acknowledge(2))

    assert 2 == stand.next(Quote).time
    assert before == 0


def test_a_wait_of_a_layer_lets_a_cancel_through(make: Callable[..., Stand]) -> None:
    waiting = threading.Event()

    class Slow:
        def __init__(self, clock: WorkerClock) -> None:
            self.clock = clock

        def __call__(self, call: Call, proceed: Handler) -> object:
            if call.operation.method == "submit":
                waiting.set()
                self.clock.sleep(0.3)
            return proceed(call)

    stand = make(Slow).ready()
    stand.worker.put(send(1))
    assert waiting.wait(PATIENCE)
    stand.worker.put(CancelOrder("9", "trend-000009"))

    assert ["trend-000009", "trend-000001"] == [stand.next(Outcome).order_id for _ in range(2)]


def test_a_wait_of_a_layer_ends_at_once_when_the_run_stops(make: Callable[..., Stand]) -> None:
    waiting = threading.Event()

    class Patient:
        def __init__(self, clock: WorkerClock) -> None:
            self.clock = clock

        def __call__(self, call: Call, proceed: Handler) -> object:
            if call.operation.method == "submit":
                waiting.set()
                self.clock.sleep(3_600)
            return proceed(call)

    stand = make(Patient).ready()
    stand.worker.put(send(1))
    assert waiting.wait(PATIENCE)

    assert stand.worker.stop(PATIENCE)
    assert (OrderStatus.DENIED, "not_connected") == ((outcome := stand.next(Outcome)).status, outcome.code)


def test_stopping_does_what_waits_and_disconnects(make: Callable[..., Stand]) -> None:
    stand = make()
    stand.broker.gate["submit"] = threading.Event()
    stand.ready()
    stand.worker.put(send(1))
    assert stand.broker.inside.wait(PATIENCE)
    stand.worker.put(send(2))
    threading.Timer(0.05, stand.broker.gate["submit"].set).start()

    assert stand.worker.stop(PATIENCE)
    assert ["submit trend-000001", "submit trend-000002", "disconnect"] == stand.broker.asked[-3:]


def test_a_call_that_is_under_way_can_be_seen_from_outside(make: Callable[..., Stand]) -> None:
    stand = make()
    stand.broker.gate["submit"] = threading.Event()
    stand.ready()
    assert 0.0 == stand.worker.busy_since
    stand.worker.put(send(1))
    assert stand.broker.inside.wait(PATIENCE)

    assert stand.worker.busy_since > 0
    stand.broker.gate["submit"].set()
    stand.next(Outcome)
    assert 0.0 == stand.worker.busy_since


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(None, None, ""), (RejectedError("7", "no"), None, "7"), (AmbiguousError("?"), OrderStatus.UNKNOWN, "no_answer")],
)
def test_what_comes_of_a_change(make: Callable[..., Stand], error: HeraldError | None, status: Any, code: str) -> None:
    stand = make().ready()
    if error is not None:
        stand.broker.failing["modify"] = [error]

    stand.worker.put(ChangeOrder("42", request(1), None, NEVER))
    outcome = stand.next(Outcome)

    assert ("modify", status, code) == (outcome.action, outcome.status, outcome.code)


def test_what_comes_of_a_cancel(make: Callable[..., Stand]) -> None:
    stand = make().ready()
    stand.broker.failing["cancel"] = [TransientError("busy")]

    stand.worker.put(CancelOrder("42", "trend-000001"))
    failed = stand.next(Outcome)
    stand.worker.put(CancelOrder("42", "trend-000001"))
    done = stand.next(Outcome)

    assert (OrderStatus.UNKNOWN, "connector_error") == (failed.status, failed.code)
    assert (OrderStatus.CANCELLED, "") == (done.status, done.code)


@pytest.mark.parametrize(
    ("took", "off", "tells", "skew"),
    [(3.0, 0.0, True, 0.0), (3.0, -3.0, True, 0.0), (3.0, -4.5, True, 1.5), (3.0, 2.0, True, 2.0), (0.0, 9.0, False, 0.0)],
)
def test_clocks_differ_by_what_the_time_of_a_call_cannot_explain(took: float, off: float, tells: bool, skew: float) -> None:
    clock = FakeClock()

    class Timed(Broker):
        def capabilities(self) -> Capabilities:
            return Capabilities(trading=True, broker_time=tells)

        def account(self) -> Account:
            clock.advance(took)
            return msgspec.structs.replace(ACCOUNT, time=clock.now() + round(off * SECOND))

    guarded = GuardedConnector("connectors.main", Timed())
    worker = Worker("main", guarded, lambda *_: None, WorkerClock(clock), (), Pace(), random.Random(1))

    worker.turn()

    assert worker.is_connected
    assert skew == worker.clock_skew


def test_nothing_is_sent_to_an_account_that_was_not_recognised() -> None:
    clock, broker = FakeClock(), Broker()
    told: list[Any] = []
    wrong = ["another account"]
    worker = Worker(
        "main", GuardedConnector("connectors.main", broker), lambda _, message: told.append(message), WorkerClock(clock), (),
        Pace(), random.Random(1), recognise=lambda account: wrong[0],
    )  # fmt: skip

    for job in (send(1), send(2, reduce_only=True), CancelOrder("7", "trend-000003")):
        worker.put(job)
        worker.turn()  # serves the job, then connects, then finds the account wrong
        clock.advance(60.0)

    assert not worker.is_connected
    assert not [one for one in broker.asked if one.partition(" ")[0] in ("submit", "cancel", "fills")]
    assert ["not_connected"] * 3 == [one.code for one in told if isinstance(one, Outcome)]
    assert not [one for one in told if isinstance(one, Snapshot)]
    wrong[0] = ""
    worker.turn()
    worker.put(send(4))
    worker.turn()
    assert "submit trend-000004" in broker.asked


def dead_session(layers: Any = (), **broker: Any) -> tuple[Broker, Worker, list[Any], FakeClock]:
    """Return a broker whose polls never fail and whose pings do, and its worker."""
    clock, told = FakeClock(), []

    class Deaf(Broker):
        alive = True

        def ping(self) -> None:
            self._do("ping")
            if not self.alive:
                raise TransientError("no answer to ping")

        def connect(self) -> None:
            self._do("connect")
            self.alive = True

        def poll(self) -> Any:
            if broker.get("polls", True):
                return super().poll()
            raise NotSupported("no polls here")

    deaf = Deaf()
    made = [one(clock) for one in layers]
    worker = Worker(
        "main", GuardedConnector("connectors.main", deaf, made), lambda _, message: told.append(message), WorkerClock(clock), (),
        Pace(1.0, 0.0), random.Random(1),
    )  # fmt: skip
    return deaf, worker, told, clock


def monitored(clock: FakeClock) -> Any:
    settings = HealthMonitorSettings(check_interval=10, max_failures=2)
    return HealthMonitorLayer(settings, Services("connectors.main.middleware[0]", clock, random.Random(1)))


@pytest.mark.parametrize("polls", [True, False])
def test_a_session_that_the_health_monitor_takes_for_lost_is_made_again(polls: bool) -> None:
    broker, worker, told, clock = dead_session([monitored], polls=polls)
    worker.turn()
    broker.alive = False  # type: ignore[attr-defined]
    broker.asked.clear()

    for _ in range(60):
        clock.advance(1.0)
        worker.turn()

    assert 1 == broker.asked.count("connect")
    (lost,) = [one for one in told if isinstance(one, Disconnected)]
    assert "the connection is lost: no answer to " in lost.text
    assert worker.is_connected
    assert broker.alive  # type: ignore[attr-defined]


def test_what_was_polled_counts_though_the_tick_after_it_finds_the_connection_lost() -> None:
    broker, worker, told, clock = dead_session([monitored])
    worker.turn()
    broker.alive = False  # type: ignore[attr-defined]
    quote = Quote("EURUSD", 1, 1.1, 1.2)

    while not any(isinstance(one, Disconnected) for one in told):
        broker.news.put(quote)
        clock.advance(1.0)
        worker.turn()

    assert broker.asked.count("poll") == len([one for one in told if one == quote]) > 5
