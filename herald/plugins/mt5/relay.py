"""``herald mt5 serve``: a door that stays open in front of a terminal process that may hang.

The package holds its whole process while a terminal thinks, so the process cannot be asked to give up. The relay stands in front
of it, lets one client in at a time, and hands requests to the process. It kills the process and starts another one when a request
is past its deadline, when a client goes away while its request is unanswered, when a client asks for it, and when it has ended.
The client's connection ends with the process that it spoke to: whoever comes next knows that everything begins anew.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from herald.clock import Clock
from herald.errors import ConfigError, ConnectorError, NotSent, Problem
from herald.plugins.mt5 import server
from herald.plugins.mt5.client import MOST, greeted
from herald.plugins.mt5.process import TerminalProcess

__all__ = ["serve_forever", "token_of"]

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 0.25
"""So much later than the client its relay gives up: the client's own error comes first."""
_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.2, 30.0


def token_of(path: Path) -> str:
    """Return the token in a file; one that is not there is made, readable by its owner only.

    Raises:
        ConfigError: The file cannot be read or made, others may read it, or its token can be guessed.
    """
    try:
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32) + "\n")
        token = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _wrong(path, str(error), "name a file that can be read or made") from error
    if sys.platform != "win32" and mode & 0o077:
        raise _wrong(path, "other users of this machine can read it", f"run: chmod 600 {path}")
    try:
        server.check_token(token)
    except server.Refused as error:
        raise _wrong(
            path, f"it has {len(token)} characters, or too few different ones", "remove the file to have one made"
        ) from error
    return token


def _wrong(path: Path, what: str, hint: str) -> ConfigError:
    return ConfigError(str(path), [Problem("--token-file", what, hint)])


def serve_forever(
    *,
    listen: str,
    allow_remote: bool,
    token: str,
    python: Sequence[str],
    module: str,
    options: Mapping[str, Any],
    stop: threading.Event,
    clock: Clock,
    tell: Callable[[str], None],
) -> None:
    """Serve a terminal at a fixed address until *stop*.

    Args:
        listen: ``host:port``.
        allow_remote: It may be reached from other machines.
        token: What clients must know.
        python: See `TerminalProcess`.
        module: The same.
        options: The same.
        stop: Ends it.
        clock: The machine's; measures deadlines.
        tell: Given one line for everything that happens.

    Raises:
        ConfigError: It cannot listen there, or the terminal process does not start the first time.
    """
    try:
        sock = server.listen(listen, allow_remote)
    except server.Refused as error:
        raise ConfigError("herald mt5 serve", [Problem("--listen", str(error), "correct it")]) from error
    began = threading.Event()

    def pass_on(text: str) -> None:  # before that, it stands in the error
        if began.is_set():
            tell(text)

    process = TerminalProcess(clock=clock, python=python, module=module, options=options, tell=pass_on)
    relay = _Relay(sock, token, process, clock, tell)
    try:
        process.start(stop)
        began.set()
        tell(f"serving {module} at {server.address_of(sock)}, terminal process {process.pid}; Ctrl-C ends it")
        relay.run(stop)
    except NotSent as error:
        if not stop.is_set():
            raise ConfigError("herald mt5 serve", [Problem("--python", str(error), "correct --python or --module")]) from error
    finally:
        relay.close()
    tell("ended")


class _Over(Exception):
    """The client's visit is over; the text says why, where there is something to tell."""


class _Broken(Exception):
    """The terminal process must go; the text says why."""


class _Relay:
    """Serves one client after the other."""

    def __init__(
        self, sock: socket.socket, token: str, process: TerminalProcess, clock: Clock, tell: Callable[[str], None]
    ) -> None:
        self._sock = sock
        self._door = server.Door(sock, token, tell)
        self._process = process
        self._clock = clock
        self._tell = tell
        self._terminal: socket.socket | None = None
        self._wait = _WAIT_SECONDS

    def close(self) -> None:
        with suppress(OSError):  # wakes the thread that accepts
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._kill()
        while (found := self._door.take(0.0)) is not None:
            found[0].close()

    def run(self, stop: threading.Event) -> None:
        threading.Thread(target=self._door.run, name="herald-mt5-door", daemon=True).start()
        while not stop.is_set():
            terminal = self._ready(stop)
            if terminal is None:
                continue
            found = self._door.take(_LOOK_SECONDS)
            if found is None:
                continue
            client, name = found
            self._tell(f"the client at {name} is served")
            broken = ""
            try:
                self._serve(client, terminal, stop)
            except _Over as error:
                self._tell(f"the client at {name} is gone{error}")
            except _Broken as error:
                broken = str(error)
            finally:
                client.close()
                self._door.leave()
            if broken and not stop.is_set():
                self._tell(f"{broken}; the terminal process is killed and started again")
                self._kill()

    def _ready(self, stop: threading.Event) -> socket.socket | None:
        """Return the connection to a process that runs; start it where it does not."""
        if self._terminal is not None and self._process.is_alive and not server.speaks(self._terminal, 0.0):
            return self._terminal
        if self._terminal is not None:
            self._tell("the terminal process has ended; it is started again")
            self._kill()
        try:
            self._process.start(stop)
            self._terminal = greeted(self._process.address, self._process.token, self._clock, 5.0)
        except ConnectorError as error:
            self._kill()
            if not stop.is_set():
                self._door.closed = f"its terminal process does not start: {error}"
                self._tell(f"{error}; trying again in {self._wait:g} s")
            while (found := self._door.take(0.0)) is not None:
                found[0].close()
                self._door.leave()
            stop.wait(self._wait)
            self._wait = min(self._wait * 2, _LONGEST_WAIT_SECONDS)
            return None
        self._door.closed = ""
        self._wait = _WAIT_SECONDS
        return self._terminal

    def _kill(self) -> None:
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None
        self._process.kill()

    def _serve(self, client: socket.socket, terminal: socket.socket, stop: threading.Event) -> None:
        """Hand requests to the process and answers back.

        Raises:
            _Over: The client has gone, or speaks something else.
            _Broken: The process must be killed.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(terminal, selectors.EVENT_READ)
            while not stop.is_set():
                ready = {key.fileobj for key, _ in selector.select(_LOOK_SECONDS)}
                if terminal in ready:
                    raise _Broken("the terminal process has ended by itself")
                if client not in ready:
                    continue
                try:
                    body = server.receive(client, server.MAX_REQUEST)
                    if body is None:
                        raise _Over("")
                    number, function, _, _, seconds = server.read_request(body)
                except (server.Gone, OSError) as error:
                    raise _Over(f": {error}") from error
                if function == "$bye":
                    raise _Over("")
                if function == "$restart":
                    self._restart(client, number, stop)
                try:
                    server.send(terminal, body)
                    bodies = self._answer(selector, client, terminal, function, seconds, stop)
                except (_Broken, OSError, server.Gone) as error:
                    with suppress(OSError):
                        client.settimeout(1.0)
                        server.send(client, json.dumps([number, "lost", str(error)]).encode())
                    raise _Broken(str(error)) from error
                try:
                    client.settimeout(server.FRAME_SECONDS + len(bodies[-1]) / 100_000)
                    server.send(client, *bodies)
                except OSError as error:
                    raise _Over(f": {error}") from error

    def _answer(
        self,
        selector: selectors.BaseSelector,
        client: socket.socket,
        terminal: socket.socket,
        function: str,
        seconds: float,
        stop: threading.Event,
    ) -> list[bytes]:
        """Return the frames of an answer.

        Raises:
            _Broken: There is none, or nobody who waits for it.
        """
        end = self._clock.monotonic() + seconds + _GRACE_SECONDS
        while True:
            left = end - self._clock.monotonic()
            if left <= 0:
                raise _Broken(f"{function} took longer than {seconds:g} s")
            if stop.is_set():
                raise _Broken(f"stopped while {function} was under way")
            ready = {key.fileobj for key, _ in selector.select(min(left, _LOOK_SECONDS))}
            if terminal in ready:
                break
            if client in ready:  # nobody speaks before the answer: it has closed
                raise _Broken(f"the client gave up waiting for {function}")
        bodies = [server.receive(terminal, MOST, end, self._clock.monotonic)]
        if bodies[0] is not None and len(bodies[0]) < server.MAX_HELLO and b'"$"' in bodies[0]:
            value = json.loads(bodies[0])[2]
            if isinstance(value, dict) and value.get("$") in ("rates", "ticks"):
                bodies.append(server.receive(terminal, MOST, end, self._clock.monotonic))
        whole = [body for body in bodies if body is not None]
        if len(whole) < len(bodies):
            raise _Broken(f"the terminal process ended during {function}")
        return whole

    def _restart(self, client: socket.socket, number: int, stop: threading.Event) -> None:
        """Do what the client asks for, tell it, and end its visit.

        Raises:
            _Over: Always.
        """
        self._kill()
        running = self._ready(stop) is not None
        answer = [number, "ok", None, [1, "Success"]] if running else [number, "refused", self._door.closed]
        with suppress(OSError):
            client.settimeout(1.0)
            server.send(client, json.dumps(answer).encode())
        raise _Over(": it asked for another terminal process")
