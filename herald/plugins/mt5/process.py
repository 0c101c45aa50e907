"""The terminal process as a child of Herald: started, watched, killed, and started again."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from herald.clock import Clock
from herald.errors import ConfigError, NotSent, Problem
from herald.plugins.mt5 import server

__all__ = ["TerminalProcess", "serve_forever"]

_SERVER = Path(__file__).with_name("server.py")


class TerminalProcess:
    """A `server.py` of one's own.

    Attributes:
        address: Where it listens, ``host:port``; empty while it does not run.
        token: What its client must know.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        python: Sequence[str] = (),
        module: str = "MetaTrader5",
        options: Mapping[str, Any] | None = None,
        token: str = "",
        listen: str = "127.0.0.1:0",
        allow_remote: bool = False,
        tell: Callable[[str], None] = lambda text: None,
        start_seconds: float = 20.0,
    ) -> None:
        """Start later.

        Args:
            clock: Measures how long the start takes.
            python: The Python to run it with, as a command; this one unless given.
            module: Has the package's functions; see `server.py`.
            options: For a module that takes some.
            token: A fresh one unless given.
            listen: Where; port 0 for any.
            allow_remote: It may listen where other machines reach it.
            tell: Given every line that it says, from a thread.
            start_seconds: Longest time until it listens.
        """
        self.address = ""
        self.token = token or secrets.token_hex(16)
        self._clock = clock
        self._command = [
            *(python or (sys.executable,)),
            str(_SERVER),
            "--listen",
            listen,
            "--module",
            module,
            "--module-options",
            json.dumps(dict(options or {})),
            *(("--allow-remote",) if allow_remote else ()),
        ]
        self._tell = tell
        self._start_seconds = start_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._said: deque[str] = deque(maxlen=20)
        self._threads: list[threading.Thread] = []

    @property
    def pid(self) -> int:
        """Return the number of the process; 0 while there is none."""
        return 0 if self._child is None else self._child.pid

    @property
    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it and wait until it listens; nothing happens where it runs.

        Raises:
            NotSent: It cannot be started, or ended at once; what it said stands in the message.
        """
        if self.is_alive and self.address:
            return
        self.kill()
        self._said.clear()
        listening = threading.Event()
        env = {**os.environ, "HERALD_MT5_TOKEN": self.token, "PYTHONUNBUFFERED": "1"}
        try:
            if sys.platform == "win32":
                child = subprocess.Popen(  # noqa: S603 - the command is the config's
                    self._command,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                    creationflags=subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP,
                )  # fmt: skip
            else:
                # A group of its own: Ctrl-C is for Herald, which still needs the terminal to wind down.
                child = subprocess.Popen(  # noqa: S603 - the command is the config's
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, process_group=0
                )
        except OSError as error:
            raise NotSent(f"the terminal process cannot be started: {self._command[0]}: {error}; correct python") from error
        self._child = child
        for stream, read in ((child.stdout, self._read_out), (child.stderr, self._read_words)):
            thread = threading.Thread(target=read, args=(stream, listening), name="herald-mt5-output", daemon=True)
            thread.start()
            self._threads.append(thread)
        end = self._clock.monotonic() + self._start_seconds
        while not listening.wait(0.01):
            if child.poll() is not None:
                for thread in self._threads:
                    thread.join(1.0)
                said = "; ".join(self._said) or f"it ended with {child.returncode}"
                self.kill()
                raise NotSent(f"the terminal process did not start: {said}")
            if self._clock.monotonic() >= end:
                self.kill()
                raise NotSent(f"the terminal process did not listen within {self._start_seconds:g} s; see python and module")

    def _read_out(self, stream: IO[bytes], listening: threading.Event) -> None:
        with suppress(OSError, ValueError):
            for line in stream:
                try:
                    told = json.loads(line)
                    self.address = str(told["listening"])
                    listening.set()
                except (ValueError, KeyError, TypeError):
                    self._hear(line)

    def _read_words(self, stream: IO[bytes], listening: threading.Event) -> None:
        with suppress(OSError, ValueError):
            for line in stream:
                self._hear(line)

    def _hear(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip().removeprefix("herald mt5 server: ")
        if text:
            self._said.append(text)
            self._tell(text)

    def kill(self) -> None:
        """End it at once, whatever it is doing, and wait until it is gone; nothing happens where there is none."""
        child, self._child, self.address = self._child, None, ""
        if child is None:
            return
        with suppress(OSError):  # it may be gone already
            child.kill()
        with suppress(subprocess.TimeoutExpired):
            child.wait(5.0)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        for thread in self._threads:
            thread.join(1.0)
        self._threads.clear()

    def restart(self) -> None:
        """Kill it and start it again.

        Raises:
            NotSent: It does not start.
        """
        self.kill()
        self.start()


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
    """Serve a terminal at a fixed address until *stop*: whenever its process ends or hangs it is started again.

    Args:
        listen: ``host:port``.
        allow_remote: It may be reached from other machines.
        token: What clients must know.
        python: See `TerminalProcess`.
        module: The same.
        options: The same.
        stop: Ends it.
        clock: Measures how long a start takes.
        tell: Given one line for everything that happens.

    Raises:
        ConfigError: It cannot listen there.
    """
    from herald.plugins.mt5.relay import Relay

    try:
        sock = server.listen(listen, allow_remote)
    except server.Refused as error:
        raise ConfigError("herald mt5 serve", [Problem("--listen", str(error), "correct it")]) from error
    host, port = sock.getsockname()[:2]
    process = TerminalProcess(clock=clock, python=python, module=module, options=options, token=token, tell=tell)
    tell(f"serving the terminal at {host}:{port}; Ctrl-C ends it")
    try:
        Relay(sock, process, clock, tell).run(stop)
    finally:
        process.kill()
        sock.close()
