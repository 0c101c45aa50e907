"""Start a simulated broker beside a test, kill it, start it again on the same book, and tell it how to behave."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from herald.clock import Clock
from herald.errors import NotSupported
from herald.testing.simbroker.book import BookView
from herald.testing.simbroker.exchange import Refusal
from herald.testing.simbroker.server import Server
from herald.testing.simbroker.terms import Fault, FaultKind, Terms
from herald.testing.simbroker.wire import VERSION, decode, encode

__all__ = ["Control", "FlakyBroker", "SimBroker", "flaky_broker", "make_terms"]

_PATIENCE = 30.0
"""Seconds that a start or an answer may take on a slow machine."""


def make_terms(book: Path | str, **changes: Any) -> Terms:
    """Return the terms of a broker on *book*, with tokens of its own, so that two tests never trade with each other's.

    Args:
        book: File of the book.
        changes: Fields of `Terms`.
    """
    name = hashlib.blake2b(str(Path(book).absolute()).encode(), digest_size=8).hexdigest()
    return Terms(**{"token": f"trade-{name}", "control_token": f"control-{name}", **changes})


class Control:
    """A connection over which a broker is told how to behave; it connects by itself, and again when it must."""

    def __init__(self, address: str, token: str) -> None:
        """Control the broker at *address*, ``host:port``, with its control token."""
        self.address = address
        self._token = token
        self._sock: socket.socket | None = None
        self._number = 0

    def close(self) -> None:
        """Close the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def ask(self, operation: str, **given: Any) -> Any:
        """Return the answer to a request of the control.

        Raises:
            Refusal: The broker says no.
            OSError: It does not answer.
        """
        if self._sock is None:
            host, _, port = self.address.rpartition(":")
            self._sock = socket.create_connection((host, int(port)), timeout=_PATIENCE)
            self._call("hello", {"version": VERSION, "role": "control", "token": self._token})
        return self._call(operation, given)

    def _call(self, operation: str, given: Mapping[str, Any]) -> Any:
        sock = cast(socket.socket, self._sock)
        self._number += 1
        try:
            sock.sendall(encode([self._number, operation, given]))
            (length,) = struct.unpack(">I", _exactly(sock, 4))
            _, is_good, body = decode(_exactly(sock, length))
        except OSError:
            self.close()
            raise
        if not is_good:
            raise Refusal(body["code"], body["text"])
        return body

    def set_faults(self, *faults: Fault) -> None:
        """Replace everything that is set by *faults*; none at all makes it an honest broker."""
        self.ask("set_faults", faults=faults)

    def add_faults(self, *faults: Fault) -> None:
        """Set *faults* besides those that are set."""
        self.ask("add_faults", faults=faults)

    def add_script(self, *faults: Fault) -> None:
        """Let *faults* hit one request each, in this order."""
        self.ask("add_script", faults=faults)

    def set_price(self, symbol: str, bid: float | None, ask: float | None = None) -> None:
        """Set the price of *symbol* (*ask* at the usual spread where it is None); *bid* None lets it walk again."""
        self.ask("set_price", symbol=symbol, bid=bid, ask=ask)

    def freeze(self, on: bool = True) -> None:
        """Let no price change any more, or let them change again."""
        self.ask("freeze", on=on)

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass at the broker at once."""
        self.ask("advance", seconds=seconds)

    def set_account(self, **stated: str | bool) -> None:
        """Serve from now on as another ``account``, on another ``server``, or with ``real`` money."""
        self.ask("set_account", **stated)

    def disconnect_all(self) -> int:
        """Reset every connection of trading clients; return how many there were."""
        return int(self.ask("disconnect_all")["count"])

    def bust(self, deal: int) -> int:
        """Take a deal back; return the number of the deal that does so."""
        return int(self.ask("bust", deal=deal)["deal"])

    def counts(self) -> dict[str, int]:
        """Return how often what happened; see `Server`."""
        return cast("dict[str, int]", self.ask("status")["counts"])

    def clients(self) -> int:
        """Return how many trading clients are logged in."""
        return int(self.ask("status")["clients"])


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionError("the broker closed the connection")
        data += part
    return data


class SimBroker:
    """A broker in a process of its own; a context manager that ends it.

    Attributes:
        terms: Of the broker.
        path: File of the book.
        address: ``host:port``; it stays the same over `restart`.
        pid: Number of the process.
        control: Tells it how to behave.
    """

    def __init__(self, book: Path | str, terms: Terms | None = None, **changes: Any) -> None:
        """Prepare; nothing runs yet.

        Args:
            book: File of its book.
            terms: Of the broker; those of `make_terms` where there are none.
            changes: Fields of `Terms` that differ.
        """
        self.path = Path(book)
        base = make_terms(book) if terms is None else terms
        # Built anew, not replaced, so that changed fields are checked like any others.
        fields = {name: getattr(base, name) for name in base.__struct_fields__}
        self.terms = Terms(**{**fields, **changes})
        self.address = ""
        self.pid = 0
        self.control = Control("", self.terms.control_token)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, book: Path | str, terms: Terms | None = None, **changes: Any) -> SimBroker:
        """Return a broker that serves; the arguments are those of the class.

        Raises:
            RuntimeError: It did not start; the message holds what it said.
        """
        broker = cls(book, terms, **changes)
        broker._launch(0)
        return broker

    def _launch(self, port: int) -> None:
        command = [sys.executable, "-m", "herald.testing.simbroker", "--book", str(self.path), "--port", str(port)]
        command += ["--terms", "-", "--with-parent"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - this interpreter
        stdin, stdout = cast(Any, process.stdin), cast(Any, process.stdout)
        stdin.write(msgspec.json.encode(self.terms) + b"\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            code = process.wait()
            stdin.close()
            stdout.close()
            raise RuntimeError(f"the simulated broker ended with code {code} before it served; its error is above")
        ready = msgspec.json.decode(line)
        self._process = process
        self.address, self.pid = ready["address"], ready["pid"]
        self.control.close()
        self.control.address = self.address

    def __enter__(self) -> SimBroker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def is_alive(self) -> bool:
        """Return whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it without a chance to say or write anything (SIGKILL)."""
        self.control.close()
        if self._process is not None:
            self._process.kill()
        self._reap()

    def stop(self) -> None:
        """End it in order; twice is harmless."""
        self.control.close()
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()  # it ends with its parent's end of this pipe
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        self._reap()

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:
                        continue  # what was still to be written has nobody to read it

    def restart(self) -> None:
        """Kill it if it lives, and start it again on the same book and port."""
        port = int(self.address.rpartition(":")[2])
        self.kill()
        self._launch(port)

    def pause(self) -> None:
        """Stop the process as it is (SIGSTOP): connections stand and nothing answers. Not on Windows."""
        if sys.platform != "win32":
            os.kill(self.pid, signal.SIGSTOP)
        else:
            raise NotSupported("Windows cannot stop a process and let it go on")

    def resume(self) -> None:
        """Let a paused process go on."""
        if sys.platform != "win32":
            os.kill(self.pid, signal.SIGCONT)

    def book(self) -> BookView:
        """Return the book as it is on disk, whether the broker lives or not."""
        return BookView.read(self.path)


class FlakyBroker(NamedTuple):
    """A broker in this process, and how to control it.

    Attributes:
        server: The broker.
        address: ``host:port``.
        token: What a client says at ``hello``.
        control: Tells it how to behave.
    """

    server: Server
    address: str
    token: str
    control: Control


@contextmanager
def flaky_broker(
    script: Sequence[FaultKind | Fault] = (), *, book: Path | None = None, clock: Clock | None = None, **changes: Any
) -> Iterator[FlakyBroker]:
    """Serve, over a real socket from a thread of this process, as *script* says: one entry a request, then honestly.

    The recipe for tests of resilience::

        with flaky_broker(["ok", "lost_reply", Fault(kind="refuse", code="busy"), "garbage"]) as broker:
            connector = build(address=broker.address, token=broker.token, timeout_seconds=0.2)
            connector.connect()
            connector.ping()  # "ok"
            ...

    Args:
        script: Kinds of fault, or faults with their fields. An entry waits for a request that it concerns: ``partial`` for
            a ``submit``, a kind of transport for whatever comes after ``hello``.
        book: File of the book; one in a temporary folder where there is none.
        clock: Of the broker; the machine's where there is none.
        changes: Fields of `Terms`.
    """
    with tempfile.TemporaryDirectory(prefix="simbroker-") as folder:
        path = Path(folder) / "book.sqlite" if book is None else book
        terms = make_terms(path, **changes)
        server = Server(terms, path, clock=clock)
        server.add_script([Fault(kind=one) if isinstance(one, str) else one for one in script])
        control = Control(server.address, terms.control_token)
        with server:
            try:
                yield FlakyBroker(server, server.address, terms.token, control)
            finally:
                control.close()
