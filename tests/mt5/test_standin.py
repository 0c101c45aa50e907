"""The stand-in terminal, spoken to without Wine: frames in, frames out, faults."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.mt5.fixed import FixedTerminal, record
from tests.mt5.standin import COMMANDS, Body, StandIn, pack_record, pack_text


class Client:
    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.link = socket.create_connection((host, int(port)), 5)
        self.stream = self.link.makefile("rb")

    def send(self, name: str, body: bytes = b"") -> None:
        frame = struct.pack("<I", COMMANDS[name]) + body
        self.link.sendall(struct.pack("<I", len(frame)) + frame)

    def ask(self, name: str, body: bytes = b"") -> tuple[int, bytes]:
        self.send(name, body)
        (size,) = struct.unpack("<I", self.stream.read(4))
        number, status = struct.unpack("<Ii", self.stream.read(8))
        assert COMMANDS[name] == number
        return status, self.stream.read(size - 8)


@pytest.fixture
def standin() -> Iterator[StandIn]:
    standin = StandIn(FixedTerminal())
    yield standin
    standin.close()
    assert [] == standin.failures


@pytest.fixture
def client(standin: StandIn) -> Iterator[Client]:
    client = Client(standin.address)
    yield client
    client.stream.close()
    client.link.close()


def test_the_handshake_tells_the_build_and_readiness(client: Client) -> None:
    assert (1, struct.pack("<I", 5430)) == client.ask("handshake", struct.pack("<I", 3) + pack_text("Python"))
    assert (1, struct.pack("<I", 2)) == client.ask("ready")


def test_a_record_is_laid_out_as_the_extension_expects(client: Client) -> None:
    status, payload = client.ask("symbol_info", pack_text("EURUSD"))

    assert (1, vars(record("SymbolInfo", 9, name="EURUSD"))) == (status, Body(payload).record("SymbolInfo"))


def test_a_request_is_read_whole(client: Client, standin: StandIn) -> None:
    request = record("TradeRequest", 1)

    client.ask("order_send", pack_record("TradeRequest", request))

    assert [vars(request)] == standin._module.requests


@pytest.mark.parametrize(("name", "body", "status"), [
    ("symbol_info", pack_text("nope"), -4),
    ("positions_ticket", struct.pack("<Q", 404), -4),
    ("market_book_add", pack_text("nope"), -4),
    ("login", struct.pack("<IQ", 0, 8) + pack_text("") + pack_text("Demo"), -4),
])  # fmt: skip
def test_what_is_not_there_is_a_status(client: Client, name: str, body: bytes, status: int) -> None:
    assert (status, b"") == client.ask(name, body)


def test_faults_are_a_status_or_the_end_of_the_connection(client: Client, standin: StandIn) -> None:
    standin.faults.status = {"account_info": -8}
    assert (-8, b"") == client.ask("account_info")

    standin.faults.die_after = {"order_send"}
    client.send("order_send", pack_record("TradeRequest", record("TradeRequest", 1)))

    assert b"" == client.stream.read(1)
    assert 1 == len(standin._module.requests)
    assert ["account_info", "order_send"] == standin.asked


def test_a_module_that_raises_is_a_failure_that_a_test_sees(client: Client, standin: StandIn) -> None:
    client.send("symbols_group", b"")

    assert b"" == client.stream.read(1)
    assert ["error"] == [type(each).__name__ for each in standin.failures]
    standin.failures.clear()
