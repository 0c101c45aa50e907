"""The client of the terminal process: one question after the other, each with a deadline.

What went wrong is told by where it went wrong, because for an order that is all the difference:

- nothing of the request left, or not all of it, so that the server cannot have read it: `herald.errors.NotSent`;
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

__all__ = ["Reply", "TerminalClient", "TerminalRaised", "TerminalRefused", "TerminalSilent", "greeted"]

MOST = 1 << 28
"""Longest answer, bytes: four million bars."""


UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading an answer raises where it is none of Herald's."""


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
    """The server does not let this client in, or is no terminal process.

    Attributes:
        code: ``token``, ``version``, ``busy`` or ``down`` (its terminal process does not start), as the server states it;
            ``stranger`` where something else listens there.
    """

    def __init__(self, text: str, code: str) -> None:
        """Keep the code."""
        super().__init__(text)
        self.code = code


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
        self._socket = greeted(self.address, self._token, self._clock, self._connect_timeout)

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
        given = [_stated(one) for one in args], {key: _stated(one) for key, one in named.items()}
        body = json.dumps([self._number, name, *given, seconds]).encode()
        if len(body) > server.MAX_REQUEST:
            raise TerminalRaised("Refused", f"the arguments of {name} take {len(body)} bytes, more than {server.MAX_REQUEST}")
        is_sent = False
        try:
            if server.speaks(sock, 0.0):
                raise ConnectionError("the terminal process closed it")
            sock.settimeout(seconds)
            server.send(sock, body)
            is_sent = True
            answer = json.loads(_received(sock, MOST, self._clock, end))
            if answer[0] != self._number:
                raise ValueError(f"the answer is to request {answer[0]!r}, not {self._number}")
            if answer[1] == "lost":
                raise ConnectionError(str(answer[2]))
            if answer[1] == "ok":
                value = answer[2]
                is_array = isinstance(value, dict) and value.get("$") in ("rates", "ticks")
                raw = _received(sock, MOST, self._clock, end) if is_array else b""
                return Reply(_value(value, raw), int(answer[3][0]), str(answer[3][1]))
            if answer[1] not in ("raised", "refused"):
                raise ValueError(f"an answer of kind {answer[1]!r}")
            refusal = (str(answer[2]), str(answer[3])) if answer[1] == "raised" else ("Refused", str(answer[2]))
        except (OSError, *UNREADABLE) as error:
            self.close()
            if not is_sent:  # a frame that is not whole is not read
                raise NotSent(f"the connection to the terminal process is gone ({_words(error)}); {name} was not sent") from error
            raise TerminalSilent(f"the terminal gave no answer to {name} (limit {seconds:g} s): {_words(error)}") from error
        except BaseException:
            self.close()  # interrupted half-way: what comes later would be taken for another answer
            raise
        raise TerminalRaised(*refusal)

    def restart(self, seconds: float) -> None:
        """Have a served terminal process (`herald mt5 serve`) killed and started again; the connection is closed.

        Args:
            seconds: Longest time until it runs again.

        Raises:
            ConnectorError: As of `call`.
        """
        try:
            self.call("$restart", seconds=seconds)
        finally:
            self.close()


def greeted(address: str, token: str, clock: Clock, seconds: float) -> socket.socket:
    """Return a connection to a terminal process; both sides have shown that they know the token.

    Args:
        address: ``host:port``.
        token: What the server was started with.
        clock: Measures the deadline.
        seconds: Longest time for all of it.

    Raises:
        NotSent: Nobody is there.
        TerminalRefused: Somebody is, and does not serve this client; or it is no terminal process.
    """
    end = clock.monotonic() + seconds
    host, _, port = address.rpartition(":")
    try:
        if not 0 < int(port) < 65_536:  # the system takes it modulo 65536
            raise ValueError(f"{port} is no port")
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout=seconds)
    except (OSError, ValueError) as error:
        raise NotSent(f"no terminal process at {address}: {_words(error)}; start it, or correct address") from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.keep_alive(sock)
        ours = secrets.token_hex(16)
        server.send(sock, json.dumps({"herald_mt5": server.VERSION, "nonce": ours}).encode())
        told = _told(sock, address, clock, end)
        theirs, proof = str(told["nonce"]), str(told["proof"])
        if not hmac.compare_digest(proof.encode(), server.sign(token, "server", ours, theirs).encode()):
            what = f"the terminal process at {address} has another token; use the one that it was started with"
            raise TerminalRefused(what, "token")
        server.send(sock, json.dumps({"proof": server.sign(token, "client", theirs, ours)}).encode())
        _told(sock, address, clock, end)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        sock.close()
        what = f"what listens at {address} does not answer as a terminal process: {_words(error)}"
        raise TerminalRefused(f"{what}; check address", "stranger") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _told(sock: socket.socket, address: str, clock: Clock, end: float) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(_received(sock, server.MAX_HELLO, clock, end))
    if "refused" in told:
        raise TerminalRefused(f"the terminal process at {address} says: {told['refused']}", str(told.get("code", "")))
    return told


def _received(sock: socket.socket, most: int, clock: Clock, end: float) -> bytes:
    """Return the next frame; OSError where there is none before *end* on *clock*."""
    try:
        body = server.receive(sock, most, end, clock.monotonic)
    except server.Gone as error:
        raise ConnectionError(str(error)) from error
    if body is None:
        raise ConnectionError("the terminal process closed the connection")
    return body


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
