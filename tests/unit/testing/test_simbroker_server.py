"""The simulated broker over a socket: its protocol, its logins, its control, its bad habits."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from herald.testing import FakeClock
from herald.testing.simbroker import BookView, Control, Fault, FlakyBroker, Refusal, Server, Symbol, flaky_broker, make_terms
from herald.testing.simbroker.wire import MAX_FRAME, encode

CALM = (Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.0),)
PATIENCE = 20.0


class Raw:
    """A client that can say anything."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.number = 0

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self) -> list[Any]:
        (length,) = struct.unpack(">I", self._exactly(4))
        message: list[Any] = json.loads(self._exactly(length))
        return message

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            assert part, "the broker closed the connection"
            data += part
        return data

    def ask(self, operation: str, **given: Any) -> list[Any]:
        self.number += 1
        self.send(encode([self.number, operation, given]))
        return self.read()

    def ends(self) -> bool:
        """Return whether the connection ends without another byte."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[FlakyBroker]:
    with flaky_broker(book=tmp_path / "book.sqlite", symbols=CALM, history_days=0.01) as running:
        yield running


@pytest.fixture
def client(broker: FlakyBroker) -> Iterator[Callable[..., Raw]]:
    made: list[Raw] = []

    def connect(*, login: bool = True) -> Raw:
        made.append(Raw(broker.address))
        if login:
            assert made[-1].ask("hello", version=1, token=broker.token)[1]
        return made[-1]

    yield connect
    for one in made:
        one.sock.close()


def order(tag: str, **fields: Any) -> dict[str, Any]:
    return {"tag": tag, "symbol": "EURUSD", "side": 1, "size": 0.1, **fields}


def kinds(client: Raw) -> list[tuple[str, int]]:
    """Return (kind, number) of all news."""
    return [(kind, body["number"]) for _, kind, body in client.ask("poll", after=0)[2]["news"]]


# --- frames


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 0),
        struct.pack(">I", MAX_FRAME + 1),
        struct.pack(">I", 3) + b"\xff\xfe\xfd",
        struct.pack(">I", 2) + b"{}",
        encode([1, "ping"]),
        encode(["1", "ping", {}]),
        encode([1, "ping", []]),
    ],
)
def test_what_is_no_request_closes_the_connection_and_is_counted(
    broker: FlakyBroker, client: Callable[..., Raw], data: bytes
) -> None:
    bad, good = client(), client()

    bad.send(data)

    assert bad.ends()
    assert 1 == broker.control.counts()["bad_frames"]
    assert good.ask("ping")[1]


def test_frame_may_arrive_in_pieces(client: Callable[..., Raw]) -> None:
    one = client()
    data = encode([9, "ping", {}]) + encode([10, "ping", {}])

    for byte in data:
        one.send(bytes([byte]))

    assert [9, 10] == [one.read()[0], one.read()[0]]


def test_nobody_is_served_before_hello(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client(login=False)

    one.send(encode([1, "account", {}]))

    assert one.ends()
    assert 1 == broker.control.counts()["bad_frames"]


def test_stranger_cannot_make_the_broker_hold_a_large_frame(client: Callable[..., Raw]) -> None:
    one = client(login=False)

    one.send(struct.pack(">I", 5_000))

    assert one.ends()


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("version", {"version": 2}),
        ("bad_token", {"token": "wrong"}),
        ("bad_token", {"token": 5}),
        ("bad_token", {"role": "control"}),
        ("bad_token", {"role": "god"}),
        ("unknown_account", {"account": "7"}),
    ],
)
def test_wrong_login_is_answered_and_closed(
    broker: FlakyBroker, client: Callable[..., Raw], code: str, given: dict[str, Any]
) -> None:
    one = client(login=False)

    answer = one.ask("hello", **{"version": 1, "token": broker.token, **given})

    assert (False, code) == (answer[1], answer[2]["code"])
    assert one.ends()
    assert 1 == broker.control.counts()["refused_logins"]


def test_trading_client_cannot_control(client: Callable[..., Raw]) -> None:
    answer = client().ask("set_price", symbol="EURUSD", bid=2.0)

    assert (False, "unknown_operation") == (answer[1], answer[2]["code"])


@pytest.mark.parametrize("given", [{}, {"tag": "a"}, order("a", side="buy"), order("a", size=None), order("a", colour="red")])
def test_request_with_wrong_fields_is_refused_and_the_connection_stands(
    client: Callable[..., Raw], given: dict[str, Any]
) -> None:
    one = client()

    answer = one.ask("submit", **given)

    assert (False, "bad_request") == (answer[1], answer[2]["code"])
    assert one.ask("ping")[1]


def test_client_that_does_not_read_is_cut_off_and_the_others_are_served(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    deaf, good = client(), client()
    deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for index in range(300):
        good.ask("submit", **order(f"t{index}", type="limit", price=1.0))

    def ask_for_ever() -> None:
        while True:
            deaf.send(encode([1, "orders", {}]) * 50)  # some 100 kB of answer each

    with pytest.raises(ConnectionError):
        ask_for_ever()

    assert good.ask("ping")[1]
    assert 1 == broker.control.clients()


# --- the control


def test_control_moves_time(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    before = one.ask("ping")[2]["time"]

    broker.control.advance(3_600.0)

    assert one.ask("ping")[2]["time"] - before >= 3_600 * 10**9


def test_control_sets_prices_and_orders_trade_by_them(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    number = one.ask("submit", **order("a", type="limit", price=1.0))[2]["order"]

    broker.control.set_price("EURUSD", 0.9, 0.95)

    assert {"bid": 0.9, "ask": 0.95} == {name: one.ask("quote", symbol="EURUSD")[2][name] for name in ("bid", "ask")}
    assert [("order", number), ("deal", 1), ("order", number)] == kinds(one)


def test_control_freezes_prices(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.freeze()
    before = one.ask("quote", symbol="EURUSD")

    broker.control.advance(60.0)
    frozen = one.ask("quote", symbol="EURUSD")
    broker.control.freeze(on=False)

    assert before[2] == frozen[2]
    assert one.ask("quote", symbol="EURUSD")[2]["time"] > frozen[2]["time"]


def test_control_disconnects_everybody_but_itself(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()

    count = broker.control.disconnect_all()

    assert 1 == count
    assert one.ends()
    assert 0 == broker.control.clients()


@pytest.mark.parametrize(
    ("operation", "given", "code"),
    [
        ("set_faults", {"faults": [{"kind": "none"}]}, "bad_request"),
        ("set_faults", {"faults": [{"kind": "partial", "share": 2.0}]}, "bad_request"),
        ("advance", {"seconds": -1.0}, "bad_request"),
        ("advance", {}, "bad_request"),
        ("set_price", {"symbol": "NONE", "bid": 1.0}, "unknown_symbol"),
        ("bust", {"deal": 5}, "unknown_deal"),
        ("fly", {}, "unknown_operation"),
    ],
)
def test_control_is_told_what_it_said_wrong(broker: FlakyBroker, operation: str, given: dict[str, Any], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        broker.control.ask(operation, **given)

    assert code == refused.value.code


def test_control_needs_its_own_token(broker: FlakyBroker) -> None:
    control = Control(broker.address, broker.token)

    with pytest.raises(Refusal) as refused:
        control.clients()

    control.close()
    assert "bad_token" == refused.value.code


# --- bad habits of the book


def test_second_request_with_a_tag_is_another_order_unless_ids_are_idempotent(client: Callable[..., Raw]) -> None:
    one = client()

    first, second = one.ask("submit", **order("a"))[2], one.ask("submit", **order("a"))[2]

    assert first["order"] != second["order"]
    assert 2 == len(one.ask("find", tag="a", since=0)[2])


def test_idempotent_broker_answers_a_second_request_with_the_first_result(tmp_path: Path) -> None:
    with flaky_broker(book=tmp_path / "b.sqlite", symbols=CALM, history_days=0.01, idempotent=True) as broker:
        one = Raw(broker.address)
        one.ask("hello", version=1, token=broker.token)
        first, second = one.ask("submit", **order("a"))[2], one.ask("submit", **order("a"))[2]
        refused, again = one.ask("submit", **order("b", size=0.001)), one.ask("submit", **order("b"))
        one.sock.close()

    assert (first["order"], False, True) == (second["order"], first["repeated"], second["repeated"])
    assert refused[1:] == again[1:]
    assert 1 == len(BookView.read(tmp_path / "b.sqlite").deals)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("duplicate_event", ["order", "order", "deal", "deal", "order", "order"]),
        ("lost_event", []),
        ("ack_after_fill", ["deal", "order", "order"]),
    ],
)
def test_news_is_told_twice_never_or_in_another_order(
    broker: FlakyBroker, client: Callable[..., Raw], kind: Any, expected: list[str]
) -> None:
    one = client()
    broker.control.set_faults(Fault(kind=kind, operations=("submit",)))

    one.ask("submit", **order("a"))

    assert expected == [kind for kind, _ in kinds(one)]
    assert 1 == len(one.ask("deals")[2])


def test_late_news_comes_when_its_time_has_come(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="late_event", seconds=8.0, operations=("submit",)))
    one.ask("submit", **order("a"))
    before = kinds(one)

    broker.control.advance(8.0)

    assert ([], ["order", "deal", "order"]) == (before, [kind for kind, _ in kinds(one)])


def test_reordered_news_comes_after_what_happens_next(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="reordered_event", operations=("submit",), times=1))

    first = one.ask("submit", **order("a"))[2]["order"]
    second = one.ask("submit", **order("b", type="limit", price=1.0))[2]["order"]

    assert [second, first, 1, first] == [number for _, number in kinds(one)]


def test_order_can_be_refused_after_it_was_accepted(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="reject_later", seconds=3.0, code="off_quotes"))
    answer = one.ask("submit", **order("a"))

    broker.control.advance(3.0)

    (found,) = one.ask("find", tag="a", since=0)[2]
    assert (True, "accepted") == (answer[1], answer[2]["status"])
    assert ("rejected", "off_quotes", 0.0) == (found["status"], found["code"], found["filled"])


def test_order_can_trade_in_parts(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="partial", share=0.3, seconds=5.0))
    answer = one.ask("submit", **order("a", size=1.0))

    broker.control.advance(5.0)
    one.ask("ping")

    assert "partial" == answer[2]["status"]
    assert [0.3, 0.7] == [deal["size"] for deal in one.ask("deals")[2]]


def test_cancelled_order_can_trade_all_the_same(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="fill_after_cancel", seconds=1.0, share=1.0))
    number = one.ask("submit", **order("a", type="limit", price=1.0))[2]["order"]
    answer = one.ask("cancel", order=number)
    between = one.ask("find", tag="a", since=0)[2][0]["status"]

    broker.control.advance(1.0)
    one.ask("ping")

    assert (True, "cancelled") == (answer[2]["was_working"], between)
    assert "filled" == one.ask("find", tag="a", since=0)[2][0]["status"]


def test_part_can_trade_in_the_moment_of_the_cancel(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="partial_cancel", share=0.5))
    number = one.ask("submit", **order("a", size=0.4, type="limit", price=1.0))[2]["order"]

    one.ask("cancel", order=number)

    (found,) = one.ask("find", tag="a", since=0)[2]
    assert ("cancelled", 0.2) == (found["status"], found["filled"])


@pytest.mark.parametrize(("fields", "shown"), [({"length": 3}, "abc"), ({"text": "[sl]"}, "[sl]"), ({}, "")])
def test_broker_can_alter_the_client_tag_and_its_book_knows_the_true_one(
    broker: FlakyBroker, client: Callable[..., Raw], tmp_path: Path, fields: dict[str, Any], shown: str
) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="altered_tag", **fields))

    one.ask("submit", **order("abcdef"))

    assert [] == one.ask("find", tag="abcdef", since=0)[2]
    (entry,) = BookView.read(tmp_path / "book.sqlite").tagged("abcdef")
    assert shown == entry.tag


def test_no_client_sees_the_true_tag_of_an_altered_one(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="altered_tag", text="x"))
    one.ask("submit", **order("abcdef", type="limit", price=1.0))

    seen = [one.ask("orders"), one.ask("find", tag="x", since=0), one.ask("poll", after=0)]

    assert "abcdef" not in json.dumps(seen)


def test_order_can_be_missing_from_the_lists_for_a_while(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="unlisted", seconds=5.0))
    one.ask("submit", **order("a", type="limit", price=1.0))
    before = (one.ask("find", tag="a", since=0)[2], one.ask("orders")[2])

    broker.control.advance(5.0)

    assert ([], []) == before
    assert 1 == len(one.ask("find", tag="a", since=0)[2]) == len(one.ask("orders")[2])


def test_request_is_executed_although_its_client_is_gone(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    gone, other = client(), client()
    broker.control.set_faults(Fault(kind="execution_delay", operations=("submit",), seconds=8.0))
    gone.send(encode([2, "submit", order("a")]))
    gone.sock.close()
    before = other.ask("find", tag="a", since=0)[2]

    broker.control.advance(8.0)

    assert [] == before
    assert 1 == len(other.ask("find", tag="a", since=0)[2])


# --- when faults hit


def test_fault_skips_and_counts(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="refuse", operations=("ping",), skip=1, times=2))

    assert [True, False, False, True] == [one.ask("ping")[1] for _ in range(4)]


def test_fault_begins_and_ends_by_the_clock(broker: FlakyBroker, client: Callable[..., Raw]) -> None:
    one = client()
    broker.control.set_faults(Fault(kind="refuse", after_seconds=100.0, lasts_seconds=100.0))
    answers = []
    for _ in range(3):
        answers.append(one.ask("ping")[1])
        broker.control.advance(100.0)

    assert [True, False, True] == answers


def test_same_seed_hits_the_same_requests(tmp_path: Path) -> None:
    patterns = []
    for run in range(2):
        faults = (Fault(kind="refuse", chance=0.5),)
        with flaky_broker(book=tmp_path / f"{run}.sqlite", symbols=CALM, history_days=0.01, seed=3, faults=faults) as broker:
            one = Raw(broker.address)
            one.ask("hello", version=1, token=broker.token)
            patterns.append([one.ask("ping")[1] for _ in range(40)])
            one.sock.close()

    assert patterns[0] == patterns[1]
    assert {True, False} == set(patterns[0])


def test_script_takes_one_entry_a_request_and_waits_for_one_that_it_concerns(tmp_path: Path) -> None:
    script = ["ok", Fault(kind="refuse", code="later"), Fault(kind="partial"), Fault(kind="refuse", code="no")]
    with flaky_broker(script, book=tmp_path / "b.sqlite", symbols=CALM, history_days=0.01) as broker:
        one = Raw(broker.address)
        one.ask("hello", version=1, token=broker.token)
        pings = [one.ask("ping")[1] for _ in range(3)]
        status = one.ask("submit", **order("a"))[2]["status"]
        after = [one.ask("ping")[1] for _ in range(2)]
        one.sock.close()

    assert [True, False, True] == pings
    assert "partial" == status
    assert [False, True] == after


# --- the server itself


def test_server_follows_the_clock_that_it_is_given(tmp_path: Path) -> None:
    clock = FakeClock("2024-05-06T07:08")
    terms = make_terms(tmp_path / "b.sqlite", symbols=CALM, history_days=0.01)
    with Server(terms, tmp_path / "b.sqlite", clock=clock) as server:
        one = Raw(server.address)
        one.ask("hello", version=1, token=terms.token)
        clock.advance(5)
        time = one.ask("ping")[2]["time"]
        one.sock.close()

    assert clock.now() == time


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org"])
def test_server_serves_its_own_machine_only(tmp_path: Path, host: str) -> None:
    with pytest.raises(ValueError, match="must be a loopback address"):
        Server(make_terms(tmp_path / "b.sqlite"), tmp_path / "b.sqlite", host=host)


def test_two_books_have_two_tokens(tmp_path: Path) -> None:
    first, second = make_terms(tmp_path / "a"), make_terms(tmp_path / "b")

    assert 4 == len({first.token, first.control_token, second.token, second.control_token})


def test_stopping_twice_and_without_a_start_is_harmless(tmp_path: Path) -> None:
    server = Server(make_terms(tmp_path / "b.sqlite"), tmp_path / "b.sqlite")

    server.stop()
    server.stop()

    assert [] == BookView.read(tmp_path / "b.sqlite").verify()
