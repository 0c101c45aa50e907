"""The client of the terminal process: one question after the other, each with a deadline.

What went wrong is told by where it went wrong, because for an order that is all the difference:

- nothing of the request left: `herald.errors.NotSent`;
- it left and no answer came in time, or the connection broke: `TerminalSilent`; the call may go on, and so may the order;
- the package raised, or the server does not serve that function: `TerminalRaised`.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from herald.clock import Clock
from herald.errors import ConnectorError, NotSent
from herald.plugins.mt5 import server
from herald.plugins.mt5.records import RATES, RECORDS, TICKS

__all__ = ["Reply", "TerminalClient", "TerminalRaised", "TerminalRefused", "TerminalSilent"]

_MOST = 1 << 28
"""Longest answer, bytes: four million bars."""


class TerminalSilent(ConnectorError):
    """The request left and was not answered; the connection is closed."""


class TerminalRaised(ConnectorError):
    """The package raised an exception instead of an answer: the arguments do not suit it.

    Attributes:
        kind: Name of the exception.
    """

    def __init__(self, kind: str, text: str) -> None:
        """Keep the kind."""
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class TerminalRefused(ConnectorError):
    """The server lets nobody in: a wrong token, another client, another version."""


class Reply(msgspec.Struct, frozen=True):
    """An answer of the package.

    Attributes:
        value: Records of `herald.plugins.mt5.records`, tuples of them, structured arrays, or plain values.
        code: Of ``last_error`` right after the call; 1 for success.
        text: The same in words.
    """

    value: Any
    code: int
    text: str


class TerminalClient:
    """A connection to the terminal process."""

    def __init__(self, address: str, token: str, *, clock: Clock, connect_timeout: float = 2.0) -> None:
        """Connect later.

        Args:
            address: ``host:port``.
            token: What the server was started with.
            clock: Measures the deadlines.
            connect_timeout: Longest time for the connection to come about and be greeted, seconds.
        """
        self.address = address
        self._token = token
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._socket: socket.socket | None = None
        self._number = 0

    @property
    def is_open(self) -> bool:
        """Return whether there is a connection, as far as is known."""
        return self._socket is not None

    def open(self) -> None:
        """Connect and let both sides show that they know the token.

        Raises:
            NotSent: Nobody is there.
            TerminalRefused: Somebody is, and does not serve this client; or it is no terminal process.
        """
        self.close()
        host, _, port = self.address.rpartition(":")
        try:
            sock = socket.create_connection((host.strip("[]"), int(port)), timeout=self._connect_timeout)
        except (OSError, UnicodeError, ValueError) as error:
            raise NotSent(f"no terminal process at {self.address}: {_words(error)}; start it, or correct address") from error
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._greet(sock)
        except (OSError, ValueError, KeyError, TypeError, server.Gone) as error:
            sock.close()
            what = f"what listens at {self.address} does not answer as a terminal process: {_words(error)}"
            raise TerminalRefused(f"{what}; check address") from error
        except BaseException:
            sock.close()
            raise
        self._socket = sock

    def _greet(self, sock: socket.socket) -> None:
        ours = secrets.token_hex(16)
        server.send(sock, json.dumps({"herald_mt5": server.VERSION, "nonce": ours}).encode())
        told = self._told(sock)
        theirs = str(told["nonce"])
        if not hmac.compare_digest(str(told["proof"]), server.sign(self._token, "server", ours, theirs)):
            raise TerminalRefused(
                f"the terminal process at {self.address} has another token; use the one that it was started with"
            )
        server.send(sock, json.dumps({"proof": server.sign(self._token, "client", theirs, ours)}).encode())
        self._told(sock)

    def _told(self, sock: socket.socket) -> dict[str, Any]:
        body = server.receive(sock, server.MAX_HELLO)
        if body is None:
            raise ValueError("it closed the connection")
        told: dict[str, Any] = json.loads(body)
        if "refused" in told:
            raise TerminalRefused(f"the terminal process at {self.address} says: {told['refused']}")
        return told

    def close(self) -> None:
        """Close the connection, if there is one."""
        sock, self._socket = self._socket, None
        if sock is not None:
            with suppress(OSError):
                sock.close()

    def call(self, name: str, *args: Any, seconds: float, **named: Any) -> Reply:
        """Call a function of the package and return its answer.

        Args:
            name: Of the function, such as ``account_info``.
            args: Its arguments in their order.
            seconds: Longest time from the first byte out to the last byte in.
            named: Its arguments by name.

        Raises:
            NotSent: Nothing left; there is no connection, or it broke before.
            TerminalSilent: The request left, and no answer came.
            TerminalRaised: The package raised, or does not have the function.
        """
        sock = self._socket
        if sock is None:
            raise NotSent(f"no connection to the terminal process; {name} was not sent")
        self._number += 1
        end = self._clock.monotonic() + seconds
        body = json.dumps([self._number, name, [_stated(one) for one in args], {key: _stated(one) for key, one in named.items()}])
        started = False
        try:
            frame = len(body.encode()).to_bytes(4, "big") + body.encode()
            sock.settimeout(seconds)
            started = sock.send(frame[:1]) > 0
            sock.sendall(frame[1:])
            answer = json.loads(self._receive(sock, end))
            if answer[0] != self._number:
                raise ValueError(f"the answer is to request {answer[0]!r}, not {self._number}")
            if answer[1] == "ok":
                value = answer[2]
                raw = self._receive(sock, end) if isinstance(value, dict) and value.get("$") in ("rates", "ticks") else b""
                return Reply(_value(value, raw), int(answer[3][0]), str(answer[3][1]))
        except (OSError, ValueError, TypeError, KeyError, IndexError, msgspec.ValidationError, server.Gone) as error:
            self.close()
            if not started:
                raise NotSent(f"the connection to the terminal process is gone ({_words(error)}); {name} was not sent") from error
            raise TerminalSilent(f"the terminal did not answer {name} within {seconds:g} s: {_words(error)}") from error
        except BaseException:
            self.close()  # interrupted half-way: what comes later would be taken for another answer
            raise
        if answer[1] == "raised":
            raise TerminalRaised(str(answer[2]), str(answer[3]))
        raise TerminalRaised("Refused", str(answer[2]))

    def _receive(self, sock: socket.socket, end: float) -> bytes:
        head = self._exactly(sock, 4, end)
        length = int.from_bytes(head, "big")
        if length > _MOST:
            raise ValueError(f"a frame of {length} bytes")
        return self._exactly(sock, length, end)

    def _exactly(self, sock: socket.socket, count: int, end: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            left = end - self._clock.monotonic()
            if left <= 0:
                raise TimeoutError("the time is over")
            sock.settimeout(left)
            part = sock.recv(min(count - len(data), 1 << 18))
            if not part:
                raise ConnectionError("the terminal process closed the connection")
            data += part
        return bytes(data)


def _stated(value: Any) -> Any:
    """Return an argument as the server reads it back; NumPy's numbers are not the package's."""
    return server.encode(value)[0] if not isinstance(value, dict) else {key: server.encode(one)[0] for key, one in value.items()}


def _value(told: Any, raw: bytes) -> Any:
    """Return the value that the server told."""
    if not isinstance(told, dict):
        return told
    kind = told["$"]
    body: Any = told.get("v")
    if kind in ("rates", "ticks"):
        found = np.frombuffer(raw, RATES if kind == "rates" else TICKS)
        if len(found) != told["n"]:
            raise ValueError(f"{len(found)} records, not {told['n']}")
        return found
    if kind == "int":
        return int(body)
    if kind == "float":
        return float(body)
    if kind == "dict":
        return {str(key): _value(one, b"") for key, one in body.items()}
    if kind == "tuple":
        return tuple(_value(one, b"") for one in body)
    if kind.startswith("tuple:"):
        return tuple(_record(kind[6:], one) for one in body)
    return _record(kind, body)


def _record(name: str, fields: list[Any]) -> Any:
    return msgspec.convert([_value(one, b"") for one in fields], RECORDS[name])


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
