"""The client of the terminal process: answers, deadlines, and what is known of a request when something breaks."""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from herald.clock import WallClock
from herald.errors import NotSent
from herald.plugins.mt5 import server
from herald.plugins.mt5.client import TerminalClient, TerminalRaised, TerminalRefused, TerminalSilent
from herald.plugins.mt5.process import TerminalProcess
from herald.plugins.mt5.records import RATES, BookInfo, OrderSendResult, Tick, TradeRequest

CLOCK = WallClock()
TOKEN = "0123456789abcdef" * 2
PACKAGE = Path(__file__).with_name("package")


@pytest.fixture(scope="module")
def process() -> Iterator[TerminalProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PACKAGE))
        made = TerminalProcess(clock=CLOCK, module="fake_terminal")
        made.start()
        yield made
        made.kill()


@pytest.fixture
def client(process: TerminalProcess) -> Iterator[TerminalClient]:
    process.start()
    made = TerminalClient(process.address, process.token, clock=CLOCK)
    reach(made)
    yield made
    made.close()


def reach(client: TerminalClient) -> None:
    """Open it once the one before it has been shown out."""
    end = time.monotonic() + 5.0
    while True:
        try:
            client.open()
        except TerminalRefused:
            assert time.monotonic() < end
            time.sleep(0.01)
        else:
            return


class Scripted:
    """A server that greets as it should, and then does what the test says."""

    def __init__(self, work: Callable[[socket.socket], None], greet: bool = True) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, args=(work, greet), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[socket.socket], None], greet: bool) -> None:
        with suppress(OSError, server.Gone):
            sock, _ = self._sock.accept()
            with sock:
                if greet:
                    server.greet(sock, TOKEN)
                    server.admit(sock)
                work(sock)

    def close(self) -> None:
        self._sock.close()
        self._thread.join(5.0)
        assert not self._thread.is_alive()


@pytest.fixture
def scripted() -> Iterator[Callable[..., TerminalClient]]:
    made: list[Any] = []

    def make(work: Callable[[socket.socket], None], greet: bool = True) -> TerminalClient:
        one = Scripted(work, greet)
        client = TerminalClient(one.address, TOKEN, clock=CLOCK, connect_timeout=1.0)
        made.extend((client, one))
        return client

    yield make
    for each in made:
        each.close()


# --- answers


def test_a_record_arrives_with_every_bit(client: TerminalClient) -> None:
    tick = client.call("symbol_info_tick", "X", seconds=5.0).value

    assert isinstance(tick, Tick)
    assert math.isnan(tick.ask)
    assert tick.last == -math.inf
    assert (tick.volume, tick.time_msc, tick.bid) == (2**64 - 1, 2**53 + 1, 1.1)


def test_records_in_records_and_tuples_of_records_arrive(client: TerminalClient) -> None:
    sent = client.call("order_send", {"symbol": "X", "volume": 0.25, "magic": 2**62 + 1}, seconds=5.0).value

    assert isinstance(sent, OrderSendResult)
    assert isinstance(sent.request, TradeRequest)
    assert (sent.request.magic, sent.request.volume, sent.request.symbol) == (2**62 + 1, 0.25, "X")
    book = client.call("market_book_get", "X", seconds=5.0).value
    assert book == (BookInfo(1, 1.5, 2, 2.0), BookInfo(2, 1.25, 3, 3.0))


def test_arrays_arrive_packed_and_read_only(client: TerminalClient) -> None:
    rates = client.call("copy_rates_from_pos", "X", 1, 0, 1_000, seconds=5.0).value

    assert rates.dtype == RATES
    assert rates.dtype.itemsize == 60
    assert len(rates) == 1_000
    assert not rates.flags.writeable
    assert (rates[7]["time"], rates[7]["spread"], rates[7]["real_volume"]) == (420, 3, 2**63 + 7)
    assert len(client.call("copy_rates_from_pos", "X", 1, 0, 0, seconds=5.0).value) == 0


def test_nothing_and_none_are_told_apart(client: TerminalClient) -> None:
    assert client.call("positions_get", symbol="X", seconds=5.0).value == ()
    none = client.call("symbol_info_tick", "NONE", seconds=5.0)
    assert (none.value, none.code, none.text) == (None, -4, "Terminal: Not found")


def test_what_the_package_raises_or_nobody_serves_is_an_error_and_the_connection_stays(client: TerminalClient) -> None:
    with pytest.raises(TerminalRaised, match="SystemError: .*OverflowError") as raised:
        client.call("symbol_info_tick", "SYSTEM", seconds=5.0)
    assert raised.value.kind == "SystemError"
    with pytest.raises(TerminalRaised, match="is no function of MetaTrader5"):
        client.call("configure", {}, seconds=5.0)
    with pytest.raises(TerminalRaised, match="more than 65536"):
        client.call("symbol_info_tick", "x" * 70_000, seconds=5.0)
    assert client.is_open
    assert client.call("version", seconds=5.0).value == (500, 4755, "20 Dec 2024")


def test_an_answer_that_cannot_be_told_leaves_an_order_open(client: TerminalClient) -> None:
    with pytest.raises(TerminalSilent, match="the answer of symbol_info_tick cannot be told"):
        client.call("symbol_info_tick", "UNSAYABLE", seconds=5.0)


def test_numbers_of_numpy_do_as_arguments(client: TerminalClient) -> None:
    assert len(client.call("copy_rates_from_pos", "X", np.int32(1), np.int64(0), np.uint16(5), seconds=5.0).value) == 5


# --- deadlines


def test_an_answer_that_is_late_is_given_up_at_the_deadline(process: TerminalProcess, client: TerminalClient) -> None:
    begun = time.monotonic()
    with pytest.raises(TerminalSilent, match=r"no answer to symbol_info_tick \(limit 0.3 s\)"):
        client.call("symbol_info_tick", "HANG", seconds=0.3)

    assert 0.3 <= time.monotonic() - begun < 0.8
    assert not client.is_open
    with pytest.raises(NotSent, match="no connection"):
        client.call("version", seconds=1.0)
    process.restart()


def test_an_answer_within_the_deadline_is_taken(client: TerminalClient) -> None:
    assert client.call("symbol_info_tick", "SLOW", seconds=5.0).code == 1


@pytest.mark.parametrize("part", [b"\x00\x00", struct.pack(">I", 5_000) + b"[1,"])
def test_an_answer_that_stops_half_way_is_given_up(scripted: Callable[..., TerminalClient], part: bytes) -> None:
    def work(sock: socket.socket) -> None:
        server.receive(sock, 1 << 16)
        sock.sendall(part)
        sock.recv(1)

    client = scripted(work)
    client.open()
    begun = time.monotonic()
    with pytest.raises(TerminalSilent, match="the time is over"):
        client.call("version", seconds=0.2)
    assert time.monotonic() - begun < 0.8


def test_an_answer_that_comes_byte_by_byte_does_not_move_the_deadline(scripted: Callable[..., TerminalClient]) -> None:
    def work(sock: socket.socket) -> None:
        server.receive(sock, 1 << 16)
        sock.sendall(struct.pack(">I", 5_000))
        for _ in range(100):
            sock.sendall(b"x")
            time.sleep(0.02)

    client = scripted(work)
    client.open()
    begun = time.monotonic()
    with pytest.raises(TerminalSilent):
        client.call("version", seconds=0.2)
    assert time.monotonic() - begun < 0.8


# --- what is known of a request


def test_a_connection_that_was_closed_before_is_proof_that_nothing_left(process: TerminalProcess, client: TerminalClient) -> None:
    process.kill()
    time.sleep(0.05)

    with pytest.raises(NotSent, match="order_send was not sent"):
        client.call("order_send", {"symbol": "X", "volume": 1.0}, seconds=5.0)


def test_a_process_that_dies_during_a_call_leaves_it_open(client: TerminalClient) -> None:
    with pytest.raises(TerminalSilent, match="closed the connection|reset"):
        client.call("symbol_info_tick", "DIE", seconds=5.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"\xff",
        b"[" * 50_000,
        b"{}",
        b"[]",
        b"[1]",
        b'[2, "ok", null, [1, ""]]',
        b'[1, "what", null, [1, ""]]',
        b'[1, "ok", null]',
        b'[1, "ok", {"v": 1}, [1, ""]]',
        b'[1, "ok", {"$": "NoSuchRecord", "v": []}, [1, ""]]',
        b'[1, "ok", {"$": "Tick", "v": [1]}, [1, ""]]',
        b'[1, "ok", {"$": "Tick", "v": ["a", 1, 1, 1, 1, 1, 1, 1]}, [1, ""]]',
        b'[1, "ok", {"$": "int", "v": "x"}, [1, ""]]',
        b'[1, "ok", {"$": "rates", "n": 1}, [1, ""]]',
        b'[1, "lost", "it broke"]',
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_no_answer(scripted: Callable[..., TerminalClient], answer: bytes) -> None:
    def work(sock: socket.socket) -> None:
        server.receive(sock, 1 << 16)
        server.send(sock, answer)

    client = scripted(work)
    client.open()
    if answer == b'[1, "what", null, [1, ""]]':
        with pytest.raises(TerminalSilent, match="answer of kind 'what'"):
            client.call("version", seconds=2.0)
    else:
        with pytest.raises(TerminalSilent):
            client.call("version", seconds=2.0)
    assert not client.is_open


def test_words_that_nobody_asked_for_end_the_connection(scripted: Callable[..., TerminalClient]) -> None:
    said = threading.Event()

    def work(sock: socket.socket) -> None:
        server.send(sock, b'[1, "ok", null, [1, ""]]')
        said.set()
        sock.recv(1)

    client = scripted(work)
    client.open()
    assert said.wait(2.0)
    time.sleep(0.05)
    with pytest.raises(NotSent):
        client.call("version", seconds=2.0)


def test_an_interrupted_call_closes_the_connection(client: TerminalClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes later would be taken for the answer to the next request."""

    def interrupt(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("herald.plugins.mt5.client._received", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.call("version", seconds=2.0)
    assert not client.is_open


# --- who is there


def test_nobody_there_is_proof_that_nothing_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"

    with pytest.raises(NotSent, match=f"no terminal process at {address}: .*; start it, or correct address"):
        TerminalClient(address, TOKEN, clock=CLOCK).open()


@pytest.mark.parametrize("address", ["", "host", "host:port", "127.0.0.1:99999", "no.such.host.invalid:5005", "a" * 70 + ":1"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(NotSent, match="no terminal process at"):
        TerminalClient(address, TOKEN, clock=CLOCK).open()


@pytest.mark.parametrize(
    ("words", "text", "code"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "this is HTTP", "stranger"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "is more than 1024|this is TLS", "stranger"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "this is SSH", "stranger"),
        (b"", "closed the connection|reset", "stranger"),
        (struct.pack(">I", 2) + b"[]", "check address", "stranger"),
        (struct.pack(">I", 2) + b"{}", "check address", "stranger"),
        (struct.pack(">I", 27) + b'{"nonce": 1, "proof": "\xc3\xa9"}', "has another token", "token"),
        (struct.pack(">I", 19) + b'{"refused": "busy"}', "says: busy", ""),
        (struct.pack(">I", 36) + b'{"refused": "wait", "code": "busy"}  ', "says: wait", "busy"),
        (struct.pack(">I", 900) + b"[" * 900, "check address", "stranger"),
    ],
    ids=str,
)
def test_a_listener_that_is_no_terminal_process_is_named(
    scripted: Callable[..., TerminalClient], words: bytes, text: str, code: str
) -> None:
    def work(sock: socket.socket) -> None:
        server.receive(sock, 1 << 16)
        sock.sendall(words)

    client = scripted(work, greet=False)
    with pytest.raises(TerminalRefused, match=text) as wrong:
        client.open()
    assert code == wrong.value.code
    assert not client.is_open


def test_a_listener_that_says_nothing_is_not_waited_for(scripted: Callable[..., TerminalClient]) -> None:
    client = scripted(lambda sock: sock.recv(1 << 16) and sock.recv(1), greet=False)
    begun = time.monotonic()
    with pytest.raises(TerminalRefused, match="the time is over"):
        client.open()
    assert time.monotonic() - begun < 1.8


def test_a_server_that_only_repeats_what_it_heard_is_not_believed(scripted: Callable[..., TerminalClient]) -> None:
    """Without a role in what is signed, a proof of the client's could be handed back to it."""

    def work(sock: socket.socket) -> None:
        hello = json.loads(server.receive(sock, 1 << 16) or b"")
        proof = server.sign(TOKEN, "client", hello["nonce"], "b" * 32)
        server.send(sock, json.dumps({"nonce": "b" * 32, "proof": proof}).encode())
        sock.recv(1)

    with pytest.raises(TerminalRefused, match="has another token"):
        scripted(work, greet=False).open()
