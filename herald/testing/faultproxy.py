"""A TCP proxy between a client and its server that spoils what passes, by hand or by a script.

    with FaultProxy("127.0.0.1:5005", splitter=length_prefixed) as proxy:
        connector = build(address=proxy.address)
        toxic = proxy.add(Toxic(kind="latency", seconds=0.02, jitter_seconds=0.01))
        ...
        proxy.remove(toxic)

``up`` is the way from the client to the server, ``down`` the way back. What a toxic does to connections it does to those
that exist when it is added and to those that come while it is there; taking it away repairs no connection that it broke.
"""

from __future__ import annotations

import random
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal, TypeAlias

import msgspec

from herald.clock import Clock, WallClock
from herald.testing.simbroker.loop import Loop, listen, reset
from herald.testing.simbroker.wire import length_prefixed

__all__ = ["FaultProxy", "ProxyCounts", "Scheduled", "Splitter", "Toxic", "length_prefixed", "lines"]

Splitter: TypeAlias = Callable[[bytearray], int]
"""Returns how many bytes the first frame of a stream has, 0 while that cannot be told yet."""

_CHUNK = 65_536
_BACKLOG = 1 << 20
"""Bytes that may wait in one direction before the proxy stops reading, as a full pipe would."""
_BIND_TRIES = 100


class Toxic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to spoil a connection.

    ====================  ===========================================================================================
    ``latency``           Everything is *seconds* late (and up to *jitter_seconds* more); the order stays.
    ``bandwidth``         At most *rate* bytes a second.
    ``black_hole``        What comes is swallowed; connections stand.
    ``half_open``         The server's end is closed and the client is not told: its connection stands, and nothing answers.
    ``reset``             Connections are reset, new ones as soon as they are accepted.
    ``down``              Connections are reset and new ones refused, as if nobody listened.
    ``silent``            New connections are accepted and go nowhere; after *seconds*, if not 0, they are closed.
    ``slicer``            Passed on in pieces of *size* bytes, *seconds* apart.
    ``slow_drip``         The same with one byte at a time.
    ``limit_data``        After *size* bytes in the direction, counted from its beginning, the connection is closed.
    ``garbage``           *size* bytes that mean nothing come before the next that pass; *times* times.
    ``lost_reply``        The next frame is dropped; *times* times. Needs a splitter, like the two that follow.
    ``duplicate_reply``   The next frame comes twice; *times* times.
    ``reorder_replies``   The next frame waits until another has passed, or *seconds* are over; *times* times.
    ====================  ===========================================================================================

    Attributes:
        kind: See the table.
        direction: ``up``, ``down`` or ``both``. Those from ``lost_reply`` on, and ``garbage``, mean ``down`` unless ``up``.
        seconds: See the table.
        jitter_seconds: Of ``latency``, drawn evenly.
        rate: Bytes a second, > 0.
        size: Bytes, >= 1.
        times: How often; None for as long as it is there.
        chance: Share of the frames or pieces that it hits.
    """

    kind: Literal[
        "bandwidth",
        "black_hole",
        "down",
        "duplicate_reply",
        "garbage",
        "half_open",
        "latency",
        "limit_data",
        "lost_reply",
        "reorder_replies",
        "reset",
        "silent",
        "slicer",
        "slow_drip",
    ]
    direction: Literal["up", "down", "both"] = "both"
    seconds: float = 0.0
    jitter_seconds: float = 0.0
    rate: float = 1_000_000.0
    size: int = 16
    times: int | None = 1
    chance: float = 1.0

    def __post_init__(self) -> None:
        for name in ("seconds", "jitter_seconds"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} of {self.kind!r} must be 0 or more and finite, not {getattr(self, name)!r}")
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"rate of {self.kind!r} must be positive and finite, not {self.rate!r}")
        if self.size < 1:
            raise ValueError(f"size of {self.kind!r} must be 1 or more, not {self.size!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times of {self.kind!r} must be 1 or more, or None, not {self.times!r}")
        if not 0 < self.chance <= 1:
            raise ValueError(f"chance of {self.kind!r} must lie in (0, 1], not {self.chance!r}")

    @property
    def needs_frames(self) -> bool:
        """Return whether it deals with frames rather than bytes."""
        return self.kind in ("duplicate_reply", "lost_reply", "reorder_replies")

    def goes(self, direction: str) -> bool:
        """Return whether it spoils *direction*, ``up`` or ``down``."""
        if self.direction == "both" and (self.needs_frames or self.kind == "garbage"):
            return direction == "down"
        return self.direction in ("both", direction)


class Scheduled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a script adds a toxic, and takes it away again.

    Attributes:
        toxic: What to add.
        at_seconds: So long after the start; None where *at_call* says when.
        at_call: Just before this frame from a client is passed on, 1 is the first (with a splitter; without one, this piece).
        lasts_seconds: How long it stays; None for ever.
    """

    toxic: Toxic
    at_seconds: float | None = None
    at_call: int | None = None
    lasts_seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.at_seconds is None) == (self.at_call is None):
            raise ValueError(
                f"state either at_seconds or at_call of {self.toxic.kind!r}, not {self.at_seconds!r} and {self.at_call!r}"
            )
        if self.at_seconds is not None and not self.at_seconds >= 0:
            raise ValueError(f"at_seconds of {self.toxic.kind!r} must be 0 or more, not {self.at_seconds!r}")
        if self.at_call is not None and self.at_call < 1:
            raise ValueError(f"at_call of {self.toxic.kind!r} must be 1 or more, not {self.at_call!r}")
        if self.lasts_seconds is not None and not self.lasts_seconds > 0:
            raise ValueError(f"lasts_seconds of {self.toxic.kind!r} must be positive, not {self.lasts_seconds!r}")


class ProxyCounts(msgspec.Struct, frozen=True):
    """What passed.

    Attributes:
        connections: Accepted so far.
        is_open: Connections that stand now.
        calls: Frames (without a splitter: pieces) from clients.
        up: Bytes passed on to the server.
        down: Bytes passed on to clients.
        swallowed: Bytes and frames' bytes that were dropped.
    """

    connections: int
    is_open: int
    calls: int
    up: int
    down: int
    swallowed: int


def lines(buffer: bytearray) -> int:
    """Return how many bytes the first line of *buffer* has, its end included; a `Splitter` for protocols of lines."""
    return buffer.find(b"\n") + 1


class _Set:
    """A toxic that is there, and how often it still hits."""

    def __init__(self, toxic: Toxic) -> None:
        self.toxic = toxic
        self.left = toxic.times


class _Held:
    """A frame that waits for another to pass."""

    def __init__(self, frame: bytes) -> None:
        self.frame = frame


class _Pipe:
    """One direction of a connection."""

    def __init__(self, direction: str, splitter: Splitter | None) -> None:
        self.direction = direction
        self.queue: deque[tuple[float, bytes]] = deque()
        self.waiting = 0
        self.last_due = 0.0
        self.passed = 0
        self.armed: float | None = None  # when the loop comes back to it
        self.ends = False
        self.is_cut = False
        self.splitter = splitter
        self.partial = bytearray()
        self.already = 0  # bytes of `partial` that were passed on before a toxic wanted whole frames
        self.held: _Held | None = None


class _Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket | None, splitter: Splitter | None) -> None:
        self.client = client
        self.server = server
        self.up = _Pipe("up", splitter)
        self.down = _Pipe("down", splitter)
        self.is_open = True
        self.is_connecting = server is not None
        self.reads = {"client": True, "server": True}


class FaultProxy:
    """The proxy; a context manager that ends it.

    Attributes:
        address: Where clients connect, ``host:port``.
        loop: What it runs on; ``loop.wake()`` after a clock was moved by hand.
    """

    def __init__(
        self,
        upstream: str,
        seed: int = 0,
        *,
        clock: Clock | None = None,
        script: Sequence[Scheduled] = (),
        splitter: Splitter | None = None,
    ) -> None:
        """Listen on a free port of this machine and pass everything on to *upstream*.

        Args:
            upstream: The server, ``host:port``; see `set_upstream`.
            seed: Of jitter, chance and garbage.
            clock: Decides when something is due; the machine's where there is none.
            script: Toxics that come and go by themselves, counted from now.
            splitter: Tells frames apart, such as `length_prefixed`; without one, toxics of frames are refused.

        Raises:
            ValueError: A toxic of the script needs a splitter.
        """
        self._upstream = _parsed(upstream)
        self._random = random.Random(seed)
        self._splitter = splitter
        for one in script:
            self._check(one.toxic)
        self.loop = Loop(clock)
        self._toxics: dict[int, _Set] = {}
        self._number = 0
        self._links: set[_Link] = set()
        self._connections = self._calls = self._up = self._down = self._swallowed = 0
        self._by_call = sorted((one for one in script if one.at_call is not None), key=lambda one: one.at_call or 0)
        self._listener: socket.socket | None = listen("127.0.0.1", 0)
        self._placeholder: socket.socket | None = None
        host, self._port = self._listener.getsockname()[:2]
        self.address = f"{host}:{self._port}"
        self.loop.watch(self._listener, self._accept)
        for one in script:
            if one.at_seconds is not None:
                self.loop.after(one.at_seconds, self._begins(one))

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to pass on, in a thread of its own."""
        self.loop.start("faultproxy")

    def stop(self) -> None:
        """Close everything; twice is harmless."""
        self.loop.stop()
        for link in list(self._links):
            self._close(link, forget=False)
        for sock in (self._listener, self._placeholder):
            if sock is not None:
                sock.close()
        self._listener = self._placeholder = None

    # --- from the test ----------------------------------------------------------------------------

    def add(self, toxic: Toxic) -> int:
        """Add *toxic*; return the number by which `remove` takes it away. It is in force when this returns.

        Raises:
            ValueError: It needs a splitter and there is none.
        """
        self._check(toxic)
        return self.loop.call(lambda: self._add(toxic))

    def remove(self, number: int) -> None:
        """Take a toxic away; one that is gone already is left alone."""
        self.loop.call(lambda: self._remove(number))

    def clear(self) -> None:
        """Take all toxics away."""
        self.loop.call(self._clear)

    def set_upstream(self, upstream: str) -> None:
        """Pass new connections on to another address."""
        parsed = _parsed(upstream)

        def change() -> None:
            self._upstream = parsed

        self.loop.call(change)

    def reset_all(self) -> int:
        """Reset the connections that stand; return how many there were."""
        return self.loop.call(self._reset_all)

    def counts(self) -> ProxyCounts:
        """Return what has passed so far."""
        return self.loop.call(
            lambda: ProxyCounts(self._connections, len(self._links), self._calls, self._up, self._down, self._swallowed)
        )

    def _check(self, toxic: Toxic) -> None:
        if toxic.needs_frames and self._splitter is None:
            raise ValueError(f"{toxic.kind!r} deals with frames; give the proxy a splitter, such as length_prefixed")

    # --- toxics -----------------------------------------------------------------------------------

    def _begins(self, one: Scheduled) -> Callable[[], None]:
        def begin() -> None:
            number = self._add(one.toxic)
            if one.lasts_seconds is not None:
                self.loop.after(one.lasts_seconds, lambda: self._remove(number))

        return begin

    def _add(self, toxic: Toxic) -> int:
        self._number += 1
        self._toxics[self._number] = _Set(toxic)
        if toxic.kind in ("reset", "down"):
            self._reset_all()
        if toxic.kind == "down":
            self._stop_listening()
        if toxic.kind == "half_open":
            for link in list(self._links):
                self._halve(link)
        return self._number

    def _remove(self, number: int) -> None:
        gone = self._toxics.pop(number, None)
        if gone is not None and gone.toxic.kind == "down" and not self._has("down"):
            self._listen_again()
        if gone is not None and gone.toxic.kind == "reorder_replies":
            for link in list(self._links):
                self._release(link)

    def _clear(self) -> None:
        for number in list(self._toxics):
            self._remove(number)

    def _has(self, kind: str) -> bool:
        return any(one.toxic.kind == kind for one in self._toxics.values())

    def _of(self, direction: str) -> list[_Set]:
        return [one for one in self._toxics.values() if one.toxic.goes(direction)]

    def _takes(self, one: _Set) -> bool:
        """Return whether a toxic that comes a stated number of times hits now, and count it."""
        if one.left == 0 or (one.toxic.chance < 1 and self._random.random() >= one.toxic.chance):
            return False
        if one.left is not None:
            one.left -= 1
        return True

    def _reset_all(self) -> int:
        links = list(self._links)
        for link in links:
            self._close(link, hard=True)
        return len(links)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self.loop.forget(self._listener)
            self._listener.close()
            self._listener = None
            # Bound and not listening: connections are refused, and nobody else gets the port meanwhile.
            self._placeholder = self._bound(listening=False)

    def _listen_again(self) -> None:
        if self._listener is None:
            if self._placeholder is not None:
                self._placeholder.close()
                self._placeholder = None
            self._listener = self._bound(listening=True)
            self.loop.watch(self._listener, self._accept)

    def _bound(self, *, listening: bool) -> socket.socket:
        for attempt in range(_BIND_TRIES):
            try:
                return listen("127.0.0.1", self._port, backlog=128 if listening else 0)
            except OSError:  # the system takes a moment to give the port back
                if attempt == _BIND_TRIES - 1:
                    raise
                WallClock().sleep(0.01)
        raise AssertionError("unreachable")

    # --- connections ------------------------------------------------------------------------------

    def _accept(self, mask: int) -> None:
        if self._listener is None:
            return
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # it went away again
        self._connections += 1
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._has("reset"):
            reset(client)
            return
        silent = next((one.toxic for one in self._toxics.values() if one.toxic.kind == "silent"), None)
        server: socket.socket | None = None
        if silent is None:
            server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            server.setblocking(False)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.connect_ex(self._upstream)
        link = _Link(client, server, self._splitter)
        self._links.add(link)
        if silent is not None and silent.seconds:
            self.loop.after(silent.seconds, lambda: self._close(link))
        self._watch(link)

    def _watch(self, link: _Link) -> None:
        """Tell the loop what this connection waits for."""
        if not link.is_open:
            return
        now = self.loop.clock.monotonic()
        up_due = bool(link.up.queue) and link.up.queue[0][0] <= now
        down_due = bool(link.down.queue) and link.down.queue[0][0] <= now
        reads = link.reads["client"] and link.up.waiting < _BACKLOG
        self.loop.watch(link.client, lambda mask: self._ready(link, "client"), read=reads, write=down_due)
        if link.server is not None:
            reads = not link.is_connecting and link.reads["server"] and link.down.waiting < _BACKLOG
            writes = link.is_connecting or up_due
            self.loop.watch(link.server, lambda mask: self._server_ready(link), read=reads, write=writes)

    def _server_ready(self, link: _Link) -> None:
        if link.is_connecting and link.server is not None:
            if link.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._close(link)  # the server is not there: the client sees its connection end
                return
            link.is_connecting = False
        self._ready(link, "server")

    def _close(self, link: _Link, *, hard: bool = False, forget: bool = True) -> None:
        if not link.is_open:
            return
        link.is_open = False
        self._links.discard(link)
        for sock in (link.client, link.server):
            if sock is not None:
                if forget:
                    self.loop.forget(sock)
                if hard:
                    reset(sock)
                else:
                    sock.close()

    def _halve(self, link: _Link) -> None:
        """Close the server's end; the client's stands and goes nowhere."""
        if link.server is not None:
            self.loop.forget(link.server)
            link.server.close()
            link.server = None
            link.down.queue.clear()
            link.up.queue.clear()

    def _ready(self, link: _Link, side: str) -> None:
        """Read and write whatever can be."""
        if link.is_open and link.reads[side]:
            self._read(link, side)
        if link.is_open:
            self._push(link)

    def _read(self, link: _Link, side: str) -> None:
        sock, pipe = (link.client, link.up) if side == "client" else (link.server, link.down)
        if sock is None or pipe.waiting >= _BACKLOG:
            return
        try:
            data = sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._close(link, hard=True)  # a reset is passed on as one
            return
        if data:
            self._take(link, pipe, data)
            return
        link.reads[side] = False
        if side == "client" and link.server is None:
            self._close(link)
        elif side == "server" and self._has("half_open"):
            self._halve(link)
        else:
            pipe.ends = True

    # --- what passes ------------------------------------------------------------------------------

    def _take(self, link: _Link, pipe: _Pipe, data: bytes) -> None:
        if pipe.splitter is None:
            if pipe.direction == "up":
                self._call(1)
            if link.is_open:
                self._pass(link, pipe, data)
            return
        pipe.partial += data
        frames: list[bytes] = []
        while True:
            size = pipe.splitter(pipe.partial)
            if not 0 < size <= len(pipe.partial):
                break
            frames.append(bytes(pipe.partial[:size]))
            del pipe.partial[:size]
        whole = any(one.toxic.needs_frames and one.left != 0 for one in self._of(pipe.direction)) or pipe.held is not None
        if pipe.direction == "up":
            # A script that waits for this call adds its toxic before the call is passed on.
            for frame in frames:
                self._call(1)
                if not link.is_open:
                    return
                self._frame(link, pipe, frame)
        else:
            for frame in frames:
                self._frame(link, pipe, frame)
        rest = len(pipe.partial)
        if link.is_open and not whole and rest > pipe.already:
            begun, pipe.already = pipe.already, rest
            self._pass(link, pipe, bytes(pipe.partial[begun:]))

    def _call(self, count: int) -> None:
        self._calls += count
        while self._by_call and (self._by_call[0].at_call or 0) <= self._calls:
            self._begins(self._by_call.pop(0))()

    def _frame(self, link: _Link, pipe: _Pipe, frame: bytes) -> None:
        """Pass a whole frame on, or do with it what a toxic says."""
        if pipe.already:
            rest, pipe.already = frame[pipe.already :], 0
            self._pass(link, pipe, rest)  # its beginning is gone already; nothing can be done to it any more
            return
        for one in self._of(pipe.direction):
            kind = one.toxic.kind
            if not one.toxic.needs_frames or (kind == "reorder_replies" and pipe.held is not None) or not self._takes(one):
                continue
            if kind == "lost_reply":
                self._swallowed += len(frame)
                return
            if kind == "duplicate_reply":
                self._pass(link, pipe, frame)
            else:
                self._hold(link, pipe, frame, one.toxic.seconds)
                return
        self._pass(link, pipe, frame)
        if pipe.held is not None:
            self._release(link)

    def _hold(self, link: _Link, pipe: _Pipe, frame: bytes, seconds: float) -> None:
        held = _Held(frame)
        pipe.held = held
        if seconds:
            self.loop.after(seconds, lambda: self._release(link, held))

    def _release(self, link: _Link, which: _Held | None = None) -> None:
        for pipe in (link.up, link.down):
            if pipe.held is not None and (which is None or pipe.held is which) and link.is_open:
                frame, pipe.held = pipe.held.frame, None
                self._pass(link, pipe, frame)
                self._push(link)

    def _pass(self, link: _Link, pipe: _Pipe, data: bytes) -> None:
        """Queue *data* for the other side, as late and in as many pieces as the toxics say."""
        now = self.loop.clock.monotonic()
        if link.server is None:
            self._swallowed += len(data)
            return
        pieces, delay, gap, rate = [data], 0.0, 0.0, 0.0
        for one in self._of(pipe.direction):
            toxic = one.toxic
            match toxic.kind:
                case "black_hole":
                    self._swallowed += len(data)
                    return
                case "latency":
                    delay += toxic.seconds + self._random.uniform(0.0, toxic.jitter_seconds)
                case "bandwidth":
                    rate = min(rate or toxic.rate, toxic.rate)
                case "slicer" | "slow_drip":
                    size = toxic.size if toxic.kind == "slicer" else 1
                    pieces = [part[at : at + size] for part in pieces for at in range(0, len(part), size)]
                    gap += toxic.seconds
                case "garbage":
                    if self._takes(one):
                        pieces.insert(0, bytes(self._random.randrange(128, 256) for _ in range(toxic.size)))
                case "limit_data":
                    left = toxic.size - pipe.passed
                    whole = b"".join(pieces)
                    if len(whole) >= left:
                        self._swallowed += len(whole) - max(left, 0)
                        pieces = [whole[: max(left, 0)]]
                        pipe.ends = pipe.is_cut = True
                case _:
                    continue
        # Never before what was queued earlier: latency with jitter keeps the order of the bytes.
        due = max(now + delay, pipe.last_due)
        for index, piece in enumerate(pieces):
            if rate:
                due += len(piece) / rate
            if index:
                due += gap
            pipe.queue.append((due, piece))
            pipe.waiting += len(piece)
            pipe.passed += len(piece)
            pipe.last_due = due

    def _push(self, link: _Link) -> None:
        """Write what is due; come back when more is."""
        for pipe, sock in ((link.up, link.server), (link.down, link.client)):
            if sock is None or (pipe is link.up and link.is_connecting):
                continue
            if not self._write(link, pipe, sock):
                return
        self._watch(link)

    def _write(self, link: _Link, pipe: _Pipe, sock: socket.socket) -> bool:
        """Write what is due of one direction; return whether the connection still stands."""
        now = self.loop.clock.monotonic()
        while pipe.queue and pipe.queue[0][0] <= now:
            due, piece = pipe.queue[0]
            try:
                sent = sock.send(piece)
            except BlockingIOError:
                return True
            except OSError:
                self._close(link, hard=True)
                return False
            pipe.waiting -= sent
            if pipe.direction == "up":
                self._up += sent
            else:
                self._down += sent
            if sent == len(piece):
                pipe.queue.popleft()
            else:
                pipe.queue[0] = (due, piece[sent:])
        if pipe.queue:
            self._arm(link, pipe, pipe.queue[0][0])
        elif pipe.ends:
            return self._finish(link, pipe, sock)
        return True

    def _arm(self, link: _Link, pipe: _Pipe, due: float) -> None:
        """Come back at *due*; once is enough."""
        if pipe.armed == due:
            return
        pipe.armed = due

        def come_back() -> None:
            if link.is_open:
                self._push(link)

        self.loop.at(due, come_back)

    def _finish(self, link: _Link, pipe: _Pipe, sock: socket.socket) -> bool:
        """Everything of a direction that has ended was written: pass its end on."""
        if pipe is link.down or pipe.is_cut or not link.reads["server"]:
            self._close(link)
            return False
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        pipe.ends = False
        return True


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and len(port) < 6):
        raise ValueError(f"{address!r} is no address; write host:port, such as 127.0.0.1:5005")
    return host, int(port)
