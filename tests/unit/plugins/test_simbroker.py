"""The connector of the simulated broker: what it says of every failure, over a real socket."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from herald.clock import SECOND, WallClock
from herald.contracts import Capabilities, Connector
from herald.errors import (
    AmbiguousError,
    DataError,
    HeraldError,
    NotConnected,
    NotSent,
    NotSupported,
    RejectedError,
    TransientError,
)
from herald.model import (
    AccountMode,
    Bar,
    Event,
    Fill,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Quote,
    Side,
    Timeframe,
    TimeInForce,
)
from herald.plugins import simbroker
from herald.testing import ConnectorContract, FakeClock, make_services
from herald.testing.simbroker import Fault, FlakyBroker, Symbol, flaky_broker

CALM = (
    Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.0),
    Symbol(symbol="GBPUSD", base="GBP", price=1.3, digits=5, volatility=0.0),
)
SHORT = 0.05
"""Seconds after which a call whose answer never comes gives up."""
MINUTE = Timeframe.parse("1m")


def build(broker: FlakyBroker, **settings: Any) -> simbroker.SimBrokerConnector:
    (component,) = simbroker.herald_connectors()
    given = {"address": broker.address, "token": broker.token, "timeout_seconds": 10.0, **settings}
    made = component.build(component.settings(**given), make_services("connectors.main", clock=WallClock()))
    assert isinstance(made, simbroker.SimBrokerConnector)
    return made


def request(id: str = "trend-000001", side: Side = Side.BUY, size: float = 0.1, **fields: Any) -> OrderRequest:
    return OrderRequest(id, "trend", "EURUSD", side, size, **fields)


def limit(id: str = "trend-000001", price: float = 1.0, **fields: Any) -> OrderRequest:
    return request(id, type=OrderType.LIMIT, limit=price, **fields)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as open_things:
        yield open_things


@pytest.fixture
def start(stack: ExitStack, tmp_path: Path) -> Callable[..., FlakyBroker]:
    """Start a broker."""

    def call(**changes: Any) -> FlakyBroker:
        terms = {"symbols": CALM, "history_days": 0.02, **changes}
        return stack.enter_context(flaky_broker(book=tmp_path / "book.sqlite", **terms))

    return call


@pytest.fixture
def broker(start: Callable[..., FlakyBroker]) -> FlakyBroker:
    return start()


@pytest.fixture
def connect(stack: ExitStack) -> Callable[..., simbroker.SimBrokerConnector]:
    """Return a connector that is connected."""

    def call(broker: FlakyBroker, **settings: Any) -> simbroker.SimBrokerConnector:
        made = build(broker, **settings)
        stack.callback(made.disconnect)
        made.connect()
        return made

    return call


@contextmanager
def impatient(one: simbroker.SimBrokerConnector) -> Iterator[None]:
    """Let calls of *one* give up quickly; only those whose answer never comes, for a slow machine is no fault."""
    patient = one._settings
    one._settings = patient.model_copy(update={"timeout_seconds": SHORT})
    try:
        yield
    finally:
        one._settings = patient


CALLS: dict[str, Callable[[Connector], object]] = {
    "ping": lambda one: one.ping(),
    "instruments": lambda one: one.instruments(),
    "account": lambda one: one.account(),
    "positions": lambda one: one.positions(),
    "orders": lambda one: one.open_orders(),
    "find": lambda one: one.find("x", 0),
    "deals": lambda one: one.fills(0),
    "quote": lambda one: one.quote("EURUSD"),
    "bars": lambda one: one.bars("EURUSD", MINUTE, None, None),
    "poll": lambda one: one.poll(),
    "submit": lambda one: one.submit(request()),
    "modify": lambda one: one.modify("1000001", request()),
    "cancel": lambda one: one.cancel("1000001"),
}
CHANGES = ("submit", "modify", "cancel")


# --- failures


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("kind", ["lost_reply", "hang", "reset", "garbage", "half_frame", "misaddressed", "slow_drip"])
def test_answer_that_does_not_come_is_ambiguous_for_changes_and_transient_for_questions(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector], operation: str, kind: Any
) -> None:
    one = connect(broker)
    broker.control.set_faults(Fault(kind=kind, operations=(operation,), seconds=0.01))
    waits = impatient(one) if kind in ("lost_reply", "hang", "slow_drip") else nullcontext()

    with waits, pytest.raises(HeraldError, match=f"no answer to {operation}: .*the connection was closed") as failed:
        CALLS[operation](one)

    assert (AmbiguousError if operation in CHANGES else TransientError) is type(failed.value)


@pytest.mark.parametrize("kind", ["lost_reply", "garbage", "misaddressed", "reset"])
def test_connection_is_closed_after_an_answer_that_did_not_come(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector], kind: Any
) -> None:
    one = connect(broker)
    broker.control.set_faults(Fault(kind=kind, times=1))
    with impatient(one) if kind == "lost_reply" else nullcontext(), pytest.raises(TransientError):
        one.ping()

    with pytest.raises(NotConnected, match="account was not sent"):
        one.account()

    one.connect()
    assert "1001" == one.account().id


def test_late_answer_is_never_taken_for_that_of_another_call(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)
    broker.control.set_faults(Fault(kind="reply_delay", operations=("quote",), seconds=60.0, times=1))
    with impatient(one), pytest.raises(TransientError):
        one.quote("EURUSD")
    one.connect()

    broker.control.advance(60.0)

    assert "GBPUSD" == one.quote("GBPUSD").symbol


def test_bytes_that_nobody_asked_for_close_the_connection_before_anything_is_sent(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)
    (peer,) = [peer for peer in broker.server._peers if peer.role == "trade"]
    broker.server.loop.call(lambda: broker.server._write(peer, b"stray"))
    peer_sees = one._line._socket
    assert peer_sees is not None
    peer_sees.settimeout(10.0)
    peer_sees.recv(1, socket.MSG_PEEK)  # until it has arrived

    with pytest.raises(NotSent, match="sent what nobody asked for; nothing was sent"):
        one.submit(request())

    assert "submit" not in broker.control.counts()


def test_order_on_a_connection_that_the_broker_has_closed_was_not_sent(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)
    broker.control.disconnect_all()
    sock = one._line._socket
    assert sock is not None
    sock.settimeout(10.0)
    with pytest.raises(ConnectionResetError):
        sock.recv(1)  # until the news of it has arrived

    with pytest.raises(NotSent, match="nothing was sent"):
        one.submit(request())

    with pytest.raises(NotConnected):
        one.submit(request())
    assert "submit" not in broker.control.counts()


@pytest.mark.parametrize("operation", CALLS)
def test_every_call_before_connect_raises_not_connected(broker: FlakyBroker, operation: str) -> None:
    with pytest.raises(NotConnected, match=r"call connect\(\) first"):
        CALLS[operation](build(broker))


def test_broker_that_is_not_there_was_not_sent_anything(broker: FlakyBroker) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and not listening
        address = f"127.0.0.1:{nobody.getsockname()[1]}"

        with pytest.raises(NotSent, match=f"no connection to the broker at {address}"):
            build(broker, address=address).connect()


def test_host_that_cannot_be_one_is_told_like_any_that_is_not_there(broker: FlakyBroker) -> None:
    with pytest.raises(NotSent, match="no connection to the broker at"):
        build(broker, address=f"{'a' * 70}..b:5").connect()


def test_login_without_an_answer_is_transient_and_leaves_no_connection(broker: FlakyBroker) -> None:
    broker.control.set_faults(Fault(kind="hang", operations=("hello",)))
    one = build(broker, timeout_seconds=SHORT)

    with pytest.raises(TransientError, match="no answer to hello"):
        one.connect()

    with pytest.raises(NotConnected):
        one.ping()


def test_refused_login_is_rejected_with_its_code_and_leaves_no_connection(broker: FlakyBroker) -> None:
    broker.control.set_faults(Fault(kind="refuse", operations=("hello",), code="maintenance", text="back on Monday"))
    one = build(broker)

    with pytest.raises(RejectedError, match="back on Monday") as refused:
        one.connect()

    assert "maintenance" == refused.value.code
    with pytest.raises(NotConnected):
        one.ping()


@pytest.mark.parametrize(("code", "settings"), [("bad_token", {"token": "wrong"}), ("unknown_account", {"account": "7"})])
def test_wrong_token_or_account_is_rejected(broker: FlakyBroker, code: str, settings: dict[str, str]) -> None:
    with pytest.raises(RejectedError) as refused:
        build(broker, **settings).connect()

    assert code == refused.value.code
    assert "wrong" not in str(refused.value)


@pytest.mark.parametrize("operation", CALLS)
def test_refusal_is_rejected_with_its_code_and_the_connection_stands(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector], operation: str
) -> None:
    one = connect(broker)
    broker.control.set_faults(Fault(kind="refuse", operations=(operation,), code="no", text="not today", times=1))

    with pytest.raises(RejectedError, match="not today") as refused:
        CALLS[operation](one)

    assert "no" == refused.value.code
    one.ping()


def test_busy_broker_did_nothing_and_may_be_asked_again(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)
    broker.control.set_faults(Fault(kind="refuse", code="busy", times=1))

    with pytest.raises(TransientError, match="busy"):
        one.submit(request())

    assert [] == list(one.find("trend-000001", 0))


def test_slow_drip_cannot_stretch_a_call(broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]) -> None:
    one = connect(broker)
    broker.control.set_faults(Fault(kind="slow_drip", seconds=0.02))  # each byte is quicker than the time-out
    clock = WallClock()
    begin = clock.monotonic()

    with impatient(one), pytest.raises(TransientError, match="timed out"):
        one.bars("EURUSD", MINUTE, None, None)

    assert clock.monotonic() - begin < 10.0  # the whole answer would take 1,500 x 0.02 s and more


@pytest.mark.parametrize(
    "body", [b"[1, true]", b'["1", true, {}]', b'[1, true, {"order": "x"}]', b'[1, false, {"code": 5}]', b"{}"]
)
def test_answer_of_another_shape_is_no_answer(stack: ExitStack, broker: FlakyBroker, body: bytes) -> None:
    ours, theirs = socket.socketpair()
    stack.callback(ours.close)
    stack.callback(theirs.close)
    one = build(broker)
    one._line._socket = ours
    theirs.sendall(len(body).to_bytes(4, "big") + body)
    one._line._check_quiet = lambda sock: None  # type: ignore[method-assign]

    with pytest.raises(AmbiguousError, match="no answer to submit"):
        one.submit(request())


def test_interrupted_call_closes_the_connection(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = connect(broker)

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(one._line, "_receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        one.ping()
    monkeypatch.undo()

    with pytest.raises(NotConnected):
        one.ping()


# --- orders


def test_order_goes_under_its_client_tag_and_is_found_by_it(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)

    number = one.submit(request(client_tag="abcdefgh23"))

    (found,) = one.find("abcdefgh23", 0)
    assert (number, OrderStatus.FILLED, "abcdefgh23") == (found.broker_id, found.status, found.request.client_tag)
    assert [] == list(one.find("trend-000001", 0))


def test_order_without_a_client_tag_goes_under_its_id(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)
    one.submit(limit())

    assert ["trend-000001"] == [order.request.client_tag for order in one.open_orders()]


def test_order_is_stated_as_it_was_asked_for(broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]) -> None:
    one = connect(broker)
    until = one.account().time + 3600 * SECOND
    asked = limit(
        price=1.05, size=0.3, stop_loss=1.0, take_profit=1.2, time_in_force=TimeInForce.GTD, expires=until, client_tag="tag"
    )

    number = one.submit(asked)

    (stated,) = one.open_orders()
    expected = OrderRequest(
        "tag",
        "",
        "EURUSD",
        Side.BUY,
        0.3,
        OrderType.LIMIT,
        limit=1.05,
        stop_loss=1.0,
        take_profit=1.2,
        time_in_force=TimeInForce.GTD,
        expires=until,
        client_tag="tag",
    )
    assert (expected, number, OrderStatus.ACCEPTED) == (stated.request, stated.broker_id, stated.status)
    assert math.isnan(stated.average_price)


def test_stop_limit_orders_are_not_supported_and_not_sent(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)

    with pytest.raises(NotSupported, match="no stop_limit orders"):
        one.submit(request(type=OrderType.STOP_LIMIT, stop=1.2, limit=1.3))

    assert "submit" not in broker.control.counts()


def test_order_can_be_changed_and_withdrawn(broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]) -> None:
    one = connect(broker)
    number = one.submit(limit(price=1.0))

    one.modify(number, limit(price=1.01, size=0.2))
    changed = one.open_orders()[0].request
    one.cancel(number)

    assert (1.01, 0.2) == (changed.limit, changed.size)
    assert () == one.open_orders()


@pytest.mark.parametrize("broker_id", ["1000001", "no-such-order", "", "²"])
def test_withdrawing_an_order_that_is_gone_or_never_was_is_success(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector], broker_id: str
) -> None:
    connect(broker).cancel(broker_id)

    assert 1 == broker.control.counts()["cancel"]


@pytest.mark.parametrize("ticket", ["5", "no-ticket", "0"])
def test_closing_a_ticket_that_does_not_exist_opens_nothing(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector], ticket: str
) -> None:
    one = connect(broker)

    with pytest.raises(RejectedError):
        one.submit(request(side=Side.SELL, position=ticket))

    assert () == one.positions()


def test_position_is_closed_by_its_ticket(broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]) -> None:
    one = connect(broker)
    one.submit(request("trend-000001"))
    one.submit(request("trend-000002"))
    kept, closed = one.positions()

    one.submit(request("trend-000003", Side.SELL, position=closed.tickets[0], reduce_only=True))

    assert (kept,) == one.positions()
    assert closed.tickets[0] == one.fills(0)[-1].position


def test_executions_name_the_client_tag_and_count_from_a_time(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)
    one.submit(request("trend-000001", client_tag="first"))
    broker.control.advance(10.0)
    one.submit(request("trend-000002", client_tag="second"))

    first, second = one.fills(0)

    assert ("first", "second") == (first.order_id, second.order_id)
    assert (Side.BUY, 0.1, 1.1001, "USD") == (first.side, first.size, first.price, first.fee_currency)
    assert (second,) == one.fills(first.time + 1)
    assert (first, second) == one.fills(first.time)


def test_executions_come_in_pages(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = connect(broker)
    for index in range(7):
        one.submit(request(f"trend-{index:06d}"))
    monkeypatch.setattr(simbroker, "_PAGE", 3)

    assert [str(number) for number in range(1, 8)] == [fill.id for fill in one.fills(0)]


def test_protective_orders_are_named_after_the_order_that_they_protect(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)

    one.submit(request(stop_loss=1.0, take_profit=1.2, client_tag="tag"))

    stop, target = one.open_orders()
    assert ("tag.sl", "tag", OrderType.STOP, 1.0) == (stop.id, stop.request.parent, stop.request.type, stop.request.stop)
    assert ("tag.tp", "tag", OrderType.LIMIT, 1.2) == (
        target.id,
        target.request.parent,
        target.request.type,
        target.request.limit,
    )
    assert stop.request.reduce_only
    assert target.request.reduce_only
    assert ("", "") == (stop.request.client_tag, target.request.client_tag)


def test_taken_back_execution_comes_as_one_the_other_way_round(
    start: Callable[..., FlakyBroker], connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    broker = start(commission=2.0)
    one = connect(broker)
    one.submit(request(client_tag="tag"))
    broker.control.bust(1)

    done, undone = one.fills(0)

    assert (done.side, done.size, done.price, done.fee) == (-undone.side, undone.size, undone.price, -undone.fee)
    assert ("tag", "2") == (undone.order_id, undone.id)
    assert () == one.positions()


def test_wrong_number_in_the_answer_is_put_right_by_the_client_tag(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)
    broker.control.set_faults(Fault(kind="wrong_id"))

    wrong = one.submit(limit(client_tag="tag"))

    (found,) = one.find("tag", 0)
    assert wrong != found.broker_id
    one.cancel(wrong)  # no error, and nothing withdrawn
    assert (found.broker_id,) == tuple(order.broker_id for order in one.open_orders())


def test_order_whose_answer_was_lost_is_found_by_its_client_tag(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)
    broker.control.set_faults(Fault(kind="lost_reply", operations=("submit",), times=1))
    with impatient(one), pytest.raises(AmbiguousError):
        one.submit(request(client_tag="tag"))

    one.connect()

    assert [OrderStatus.FILLED] == [order.status for order in one.find("tag", 0)]


def test_order_accepted_eight_seconds_late_is_not_found_before_and_is_after(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(broker)
    broker.control.set_faults(Fault(kind="execution_delay", operations=("submit",), seconds=8.0, times=1))
    with impatient(one), pytest.raises(AmbiguousError):
        one.submit(request(client_tag="tag"))
    one.connect()
    before = one.find("tag", 0)

    broker.control.advance(8.0)

    assert () == before
    assert [OrderStatus.FILLED] == [order.status for order in one.find("tag", 0)]


# --- the account


@pytest.mark.parametrize("mode", list(AccountMode))
def test_account_is_stated_with_its_mode(
    start: Callable[..., FlakyBroker], connect: Callable[..., simbroker.SimBrokerConnector], mode: AccountMode
) -> None:
    one = connect(start(mode=mode.value, real=True, balance=5_000.0))

    account = one.account()

    assert (mode, True, "1001", "Sim-Demo", "USD", 5_000.0, 5_000.0) == (
        account.mode,
        account.real,
        account.id,
        account.server,
        account.currency,
        account.balance,
        account.equity,
    )


def test_netting_account_names_no_tickets_in_its_executions(
    start: Callable[..., FlakyBroker], connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    one = connect(start(mode="netting"))
    one.submit(request("trend-000001"))
    one.submit(request("trend-000002", Side.SELL, 0.3))

    (position,) = one.positions()

    assert -0.2 == position.size
    assert ["", ""] == [fill.position for fill in one.fills(0)]


def test_capabilities_are_careful_before_the_login_and_what_the_broker_says_after(
    start: Callable[..., FlakyBroker], connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    broker = start(idempotent=True, settle_seconds=0.25, mode="netting")
    before = build(broker).capabilities()
    one = connect(broker)

    after = one.capabilities()
    one.disconnect()

    assert (False, 30.0) == (before.idempotent_ids, before.settle_seconds)
    assert (
        after
        == one.capabilities()
        == Capabilities(
            trading=True,
            history=True,
            streaming=True,
            order_types=frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP}),
            modes=frozenset({AccountMode.NETTING}),
            idempotent_ids=True,
            brackets=True,
            modify=True,
            broker_time=True,
            settle_seconds=0.25,
        )
    )


# --- prices and news


def test_only_the_symbols_of_the_settings_are_offered(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    both, one = connect(broker), connect(broker, symbols=["GBPUSD"])

    assert ["EURUSD", "GBPUSD"] == [instrument.symbol for instrument in both.instruments()]
    assert ["GBPUSD"] == [instrument.symbol for instrument in one.instruments()]


def test_symbol_that_the_broker_lacks_is_an_error_that_names_it(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    with pytest.raises(DataError, match="no symbol 'GBPUDS'; it has EURUSD, GBPUSD"):
        connect(broker, symbols=["GBPUDS"]).instruments()


def test_bars_come_in_pages(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = connect(broker)
    until = one.account().time
    whole = one.bars("EURUSD", MINUTE, None, until)
    monkeypatch.setattr(simbroker, "_PAGE", len(whole))  # as if the first answer had been a full page

    again = one.bars("EURUSD", MINUTE, None, until)

    assert len(whole) > 20
    assert whole.time.tolist() == again.time.tolist()


@pytest.mark.parametrize("feed", [("NONE", MINUTE), ("NONE", None), ("EURUSD", Timeframe.parse("1w"))])
def test_feed_that_the_broker_does_not_have_is_refused_when_it_is_asked_for(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector], feed: tuple[str, Timeframe | None]
) -> None:
    with pytest.raises(RejectedError, match=feed[0]):
        connect(broker).subscribe([feed])


def test_poll_delivers_each_bar_and_quote_once(
    start: Callable[..., FlakyBroker], connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    broker = start(clock=FakeClock())
    one = connect(broker)
    one.subscribe([("EURUSD", MINUTE), ("GBPUSD", MINUTE), ("EURUSD", None)])
    one.poll()
    broker.control.advance(120.0)

    events = one.poll()

    bars = [event for event in events if isinstance(event, Bar)]
    assert ["EURUSD", "GBPUSD", "EURUSD", "GBPUSD"] == [bar.symbol for bar in bars]
    assert bars[0].time == bars[1].time == bars[2].time - MINUTE.span
    assert ["EURUSD"] == [event.symbol for event in events if isinstance(event, Quote)]
    assert () == one.poll()


def test_poll_that_fails_loses_nothing(broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]) -> None:
    one = connect(broker)
    one.submit(request(client_tag="tag"))
    broker.control.set_faults(Fault(kind="garbage", operations=("poll",), times=2))
    for _ in range(2):
        with pytest.raises(TransientError):
            one.poll()
        one.connect()

    events = one.poll()

    assert [Order, Fill, Order] == [type(event) for event in events]
    assert () == one.poll()


def test_news_of_the_time_without_a_connection_is_delivered_after_it(
    start: Callable[..., FlakyBroker], connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    broker = start(clock=FakeClock())
    one, other = connect(broker), connect(broker)
    one.subscribe([("EURUSD", MINUTE)])
    one.poll()
    one.disconnect()
    other.submit(request(client_tag="tag"))
    broker.control.advance(60.0)

    one.connect()

    assert [Order, Fill, Order, Bar] == [type(event) for event in one.poll()]


def test_news_from_before_the_first_connection_is_not_delivered(
    broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]
) -> None:
    connect(broker).submit(request())

    assert () == connect(broker).poll()


def test_long_news_comes_in_several_polls(broker: FlakyBroker, connect: Callable[..., simbroker.SimBrokerConnector]) -> None:
    one = connect(broker)
    for index in range(400):
        one.submit(request(f"trend-{index:06d}", size=0.01))

    events: list[Event] = []
    polls = 0
    while new := one.poll():
        events += new
        polls += 1

    assert 2 == polls
    assert [str(number) for number in range(1, 401)] == [event.id for event in events if isinstance(event, Fill)]


# --- settings


@pytest.mark.parametrize("address", ["", "localhost", ":5005", "localhost:", "localhost:0", "localhost:70000", "localhost:x"])
def test_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no address; write host:port"):
        simbroker.SimBrokerSettings(address=address, token="t")  # type: ignore[arg-type]


def test_token_is_in_no_text_of_the_settings() -> None:
    settings = simbroker.SimBrokerSettings(address="localhost:5", token="hush-hush")  # type: ignore[arg-type]

    assert "hush-hush" not in f"{settings!r} {settings} {settings.model_dump()}"


# --- the rules of every connector


class TestContract(ConnectorContract):
    symbol = "EURUSD"
    timeframe = "1m"

    @pytest.fixture
    def connector(self, tmp_path: Path) -> Iterator[Connector]:
        wild = (Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.0002),)
        path = tmp_path / "book.sqlite"
        with flaky_broker(book=path, clock=FakeClock(), symbols=wild, history_days=0.02, seed=7) as broker:
            made = build(broker)
            yield made
            made.disconnect()
