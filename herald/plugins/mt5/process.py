"""The terminal process as a child of Herald: started, killed, and started again."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from herald.clock import Clock
from herald.errors import NotSent

__all__ = ["NotStarted", "TerminalProcess"]

_SERVER = Path(__file__).with_name("server.py")
_WORDS = 20
"""Lines that are kept of what it said, for the message when it does not start."""


class NotStarted(NotSent):
    """The terminal process does not run; nothing was asked of a terminal.

    Attributes:
        code: Why, as the process states it: ``module``, ``options``, ``bridge``; ``python`` where the command cannot be run;
            empty where it said nothing, or was too slow.
    """

    def __init__(self, text: str, code: str = "") -> None:
        """Keep the code."""
        super().__init__(text)
        self.code = code


class TerminalProcess:
    """A `server.py` of one's own.

    It ends with Herald, however Herald ends: it reads its standard input, which closes then; and a call that holds it up ends
    it at the call's deadline.

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
        tell: Callable[[str], None] = lambda text: None,
        start_seconds: float = 20.0,
    ) -> None:
        """Start later.

        Args:
            clock: Measures how long the start takes.
            python: The Python to run it with, as a command, such as ``("wine", "python.exe")``; this one unless given.
            module: Has the package's functions; see `server.py`.
            options: For a module that takes some.
            tell: Given every line that it says, from a thread.
            start_seconds: Longest time until it listens.
        """
        self.address = ""
        self.token = secrets.token_hex(32)
        self._clock = clock
        self._command = [
            *(python or (sys.executable,)),
            str(_SERVER),
            "--listen",
            "127.0.0.1:0",
            "--module",
            module,
            "--module-options",
            json.dumps(dict(options or {})),
        ]
        self._tell = tell
        self._start_seconds = start_seconds
        self._child: _Child | None = None

    @property
    def pid(self) -> int:
        """Return the number of the process; 0 while there is none."""
        return 0 if self._child is None else self._child.popen.pid

    @property
    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._child is not None and self._child.popen.poll() is None

    def start(self, stop: threading.Event | None = None) -> None:
        """Start it and wait until it listens; nothing happens where it runs.

        Args:
            stop: Gives up waiting.

        Raises:
            NotStarted: It cannot be started, or ended at once; what it said stands in the message.
        """
        if self.is_alive and self.address:
            return
        self.kill()
        try:
            child = self._child = _Child(self._command, self.token, self._tell)
        except (OSError, ValueError) as error:
            what = f"the terminal process cannot be started: {self._command[0]}: {error}; correct python"
            raise NotStarted(what, "python") from error
        end = self._clock.monotonic() + self._start_seconds
        try:
            while not child.listens.wait(0.02):
                if child.popen.poll() is not None:
                    child.finish(1.0)
                    said = "; ".join(child.said) or f"it ended with exit code {child.popen.returncode} and said nothing"
                    raise NotStarted(f"the terminal process did not start: {said}", child.refused)
                if self._clock.monotonic() >= end or (stop is not None and stop.is_set()):
                    what = f"the terminal process did not listen within {self._start_seconds:g} s; see python and module"
                    raise NotStarted(what)
        except BaseException:
            self.kill()
            raise
        self.address = child.address

    def kill(self) -> None:
        """End it at once, whatever it is doing, and wait until it is gone; nothing happens where there is none."""
        child, self._child, self.address = self._child, None, ""
        if child is not None:
            child.kill()

    def restart(self) -> None:
        """Kill it and start it again.

        Raises:
            NotStarted: It does not start.
        """
        self.kill()
        self.start()


class _Child:
    """One run of it.

    Attributes:
        popen: The process.
        address: Where it listens, once *listens* is set.
        listens: It does.
        refused: Why it will not, as `server.Refused` has it; empty where it does, or did not say.
        said: Its last lines.
    """

    def __init__(self, command: Sequence[str], token: str, tell: Callable[[str], None]) -> None:
        self.address = ""
        self.refused = ""
        self.listens = threading.Event()
        self.said: deque[str] = deque(maxlen=_WORDS)
        self._tell = tell
        env = {**os.environ, "HERALD_MT5_TOKEN": token, "PYTHONUNBUFFERED": "1"}
        if sys.platform == "win32":
            self.popen = subprocess.Popen(  # noqa: S603 - the command is the config's
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                creationflags=subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP,
            )  # fmt: skip
        else:
            # A group of its own: Ctrl-C is for Herald, which still needs the terminal to wind down.
            self.popen = subprocess.Popen(  # noqa: S603 - the command is the config's
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, process_group=0
            )
        self._threads = [
            threading.Thread(target=read, args=(stream,), name="herald-mt5-output", daemon=True)
            for stream, read in ((self.popen.stdout, self._read_address), (self.popen.stderr, self._read_words))
        ]
        for thread in self._threads:
            thread.start()

    def _read_address(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError), stream:
            for line in stream:
                try:
                    told = json.loads(line)
                    if "refused" in told:  # the words come as an error too
                        self.refused = str(told["code"])
                        continue
                    self.address = str(told["listening"])
                    self.listens.set()
                except (ValueError, KeyError, TypeError):
                    self._hear(line)

    def _read_words(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError), stream:
            for line in stream:
                self._hear(line)

    def _hear(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip().removeprefix("herald mt5 server: ")
        if text:
            self.said.append(text)
            self._tell(text)

    def kill(self) -> None:
        with suppress(OSError):  # it may be gone already
            if sys.platform == "win32":
                self.popen.kill()
            else:
                os.killpg(self.popen.pid, signal.SIGKILL)  # with what it started: the command may be a script around Python
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(5.0)
        if self.popen.stdin is not None:
            with suppress(OSError):
                self.popen.stdin.close()
        self.finish(0.5)

    def finish(self, seconds: float) -> None:
        """Wait until its last words are read; not for long, since a daemon of Wine's may hold the other end of the pipe."""
        for thread in self._threads:
            thread.join(seconds)
