"""``herald mt5 serve``: a door that stays open in front of a terminal process that may hang.

The package holds its whole process while a terminal thinks, so the process cannot be asked to give up. The relay stands in front
of it: it hands bytes to and fro without reading them, and when a client goes away while its question is unanswered - which is
what Herald does at a deadline - it kills the process and starts another one. The next client finds a terminal that answers.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from herald.clock import Clock
from herald.errors import ConfigError, NotSent, Problem
from herald.plugins.mt5 import server
from herald.plugins.mt5.process import TerminalProcess

__all__ = ["Relay", "token_of"]


def token_of(path: Path) -> str:
    """Return the token in a file; one that is not there is made, readable by its owner only.

    Raises:
        ConfigError: The file cannot be read or made, or has no token.
    """
    try:
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(16) + "\n", encoding="ascii")
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(str(path), [Problem("--token-file", str(error), "name a file that can be read or made")]) from error
    if len(token) < server.MIN_TOKEN:
        what = f"has a token of {len(token)} characters"
        raise ConfigError(str(path), [Problem("--token-file", what, f"write at least {server.MIN_TOKEN}, or remove the file")])
    return token


class Relay:
    """Serves one client after the other; others wait at the terminal process, which tells them who is served."""

    def __init__(self, sock: socket.socket, process: TerminalProcess, clock: Clock, tell: Callable[[str], None]) -> None:
        """Stand before *process* and listen at *sock*."""
        self._sock = sock
        self._process = process
        self._clock = clock
        self._tell = tell
        self._lock = threading.Lock()
        self._stop = False
        sock.settimeout(0.2)

    def run(self, stop: threading.Event) -> None:
        """Go on until *stop*; the process is started again whenever it has ended."""
        wait = 0.2
        while not stop.is_set():
            if not self._process.is_alive:
                try:
                    self._process.start()
                    wait = 0.2
                    self._tell(f"the terminal process runs as {self._process.pid}")
                except NotSent as error:
                    self._tell(f"{error}; trying again in {wait:g} s")
                    if stop.wait(wait):
                        break
                    wait = min(wait * 2, 30.0)
                    continue
            try:
                client, _ = self._sock.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve, args=(client,), name="herald-mt5-relay", daemon=True).start()
        self._stop = True
        self._process.kill()

    def _serve(self, client: socket.socket) -> None:
        """Hand bytes to and fro until one side closes."""
        host, _, port = self._process.address.rpartition(":")
        pid = self._process.pid
        try:
            terminal = socket.create_connection((host, int(port)), timeout=2.0)
        except (OSError, ValueError):
            client.close()
            return
        for one in (client, terminal):
            one.settimeout(None)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked = threading.Event()  # a question is on its way and nothing came back since

        def answer() -> None:
            with suppress(OSError):
                while data := terminal.recv(1 << 16):
                    asked.clear()
                    client.sendall(data)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

        thread = threading.Thread(target=answer, name="herald-mt5-relay", daemon=True)
        thread.start()
        with suppress(OSError):
            while data := client.recv(1 << 16):
                asked.set()
                terminal.sendall(data)
        is_hung = asked.is_set()
        for one in (client, terminal):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        thread.join(1.0)
        with self._lock:
            if is_hung and not self._stop and self._process.pid == pid and self._process.is_alive:
                self._tell("a client gave up waiting for an answer; the terminal process is killed and started again")
                self._process.kill()
