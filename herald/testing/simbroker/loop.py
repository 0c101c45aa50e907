"""One thread that waits for sockets and for times: what the simulated broker and the fault proxy run on."""

from __future__ import annotations

import heapq
import selectors
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from herald.clock import Clock, WallClock

__all__ = ["Loop", "listen", "reset"]

T = TypeVar("T")

_LINGER = "hh" if sys.platform == "win32" else "ii"
"""Layout of the system's ``struct linger``."""
_LONGEST_WAIT = 0.5
"""Seconds after which the loop looks at its clock again in any case: a clock that a test moves wakes nobody."""


class Loop:
    """Calls back when a socket is ready or a time has come; everything it calls runs in its one thread.

    Attributes:
        clock: Decides when a time has come.
        turned: Called after every turn of the loop, for work that depends on the time; may be replaced before `start`.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        """Tell the time by *clock*, the machine's own where there is none."""
        self.clock: Clock = WallClock() if clock is None else clock
        self.turned: Callable[[], None] = lambda: None
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._asked: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._is_running = False
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain)

    # --- from other threads -----------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Run in a thread of its own, called *name*."""
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Make the loop look at its clock; call it after moving a clock by hand."""
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            return  # it is about to wake anyway
        except OSError:
            return  # it is closed

    def call(self, action: Callable[[], T]) -> T:
        """Run *action* in the loop's thread and return its answer, or raise what it raised.

        Raises:
            RuntimeError: The loop has ended.
        """
        if self._thread is None or threading.current_thread() is self._thread:
            return action()
        answer: list[T] = []
        errors: list[BaseException] = []
        done = threading.Event()

        def run() -> None:
            try:
                answer.append(action())
            except BaseException as error:  # handed to the thread that asked
                errors.append(error)
            done.set()

        self._asked.append(run)
        self.wake()
        while self._is_closed or not done.wait(_LONGEST_WAIT):
            if self._is_closed and not done.is_set():
                raise RuntimeError("the loop has ended; nothing can be asked of it any more")
            if done.is_set():
                break
        if errors:
            raise errors[0]
        return answer[0]

    def stop(self) -> None:
        """End the loop and wait for its thread; twice is harmless."""
        self._stopping = True
        self.wake()
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join()
        if not self._is_running:
            self._close()

    # --- in the loop's thread ---------------------------------------------------------------------

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Call *action* once the clock's monotonic time reaches *time*, seconds; equal times in the order of the calls."""
        self._count += 1
        heapq.heappush(self._timers, (time, self._count, action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call *action* in *seconds*; in the next turn where that is 0."""
        self.at(self.clock.monotonic() + seconds, action)

    def watch(self, sock: socket.socket, action: Callable[[int], None], *, read: bool = True, write: bool = False) -> None:
        """Call ``action(mask)`` while *sock* can be read or written, as stated; neither means: not at all."""
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        known = self._selector.get_map().get(sock) if sock.fileno() >= 0 else None
        if known is None:
            if events:
                self._selector.register(sock, events, action)
        elif not events:
            self._selector.unregister(sock)
        elif known.events != events:
            self._selector.modify(sock, events, action)

    def forget(self, sock: socket.socket) -> None:
        """Watch *sock* no more; call it before closing."""
        if sock.fileno() >= 0 and sock in self._selector.get_map():
            self._selector.unregister(sock)

    def run(self) -> None:
        """Turn until `stop`."""
        self._is_running = True
        try:
            while not self._stopping:
                self.turn()
        finally:
            self._is_running = False
            self._close()

    def _close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._selector.close()
            self._waker.close()
            self._woken.close()

    def turn(self) -> None:
        """Wait for the next thing to happen and let it happen."""
        for key, mask in self._selector.select(self._wait()):
            key.data(mask)
        while self._asked:
            self._asked.popleft()()
        now = self.clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        self.turned()

    def _wait(self) -> float:
        if not self._timers:
            return _LONGEST_WAIT
        return min(max(self._timers[0][0] - self.clock.monotonic(), 0.0), _LONGEST_WAIT)

    def _drain(self, mask: int) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            return


def listen(host: str, port: int, *, backlog: int = 128) -> socket.socket:
    """Return a listening socket that does not block.

    Args:
        host: Address to bind, such as ``127.0.0.1``.
        port: 0 takes any that is free.
        backlog: Connections that may wait to be accepted; 0 takes the port and refuses everybody.

    Raises:
        OSError: The port is taken.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    _reuse(sock)
    try:
        sock.bind((host, port))
        if backlog:
            sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _reuse(sock: socket.socket) -> None:
    """Let a port be bound again at once after its owner died; on Windows the option would let two own it."""
    if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def reset(sock: socket.socket) -> None:
    """Close *sock* so that its peer sees "connection reset by peer", not a clean end."""
    with suppress(OSError):  # it is gone already; closing is all that is left
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))
    sock.close()
