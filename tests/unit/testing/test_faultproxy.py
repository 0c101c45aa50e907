"""The fault proxy between a client and a server that echoes, over real sockets."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from herald.clock import WallClock
from herald.testing import FakeClock
from herald.testing.faultproxy import FaultProxy, Scheduled, Toxic, length_prefixed, lines

PATIENCE = 20.0
SOON = 0.05
"""Seconds in which nothing must come."""


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.clients: list[socket.socket] = []
        self.threads: list[threading.Thread] = []
        self.arrived = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.start(self.accept)

    def start(self, target: Callable[..., None], *args: Any) -> None:
        self.threads.append(threading.Thread(target=target, args=args, daemon=True))
        self.threads[-1].start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.clients.append(client)
            self.arrived.release()
            self.start(self.serve, client)

    def serve(self, client: socket.socket) -> None:
        try:
            while data := client.recv(65_536):
                client.sendall(data)
        except OSError:
            pass
        self.ended.release()

    def hang_up(self) -> None:
        for client in self.clients:
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR) if hasattr(socket, "AF_UNIX") else None
        self.listener.close()
        for client in self.clients:
            client.close()
        for thread in self.threads:
            thread.join(PATIENCE)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as things:
        yield things


@pytest.fixture
def echo(stack: ExitStack) -> Echo:
    server = Echo()
    stack.callback(server.close)
    return server


@pytest.fixture
def proxy(stack: ExitStack, echo: Echo) -> Callable[..., FaultProxy]:
    def make(
        *, script: tuple[Scheduled, ...] = (), clock: Any = None, splitter: Any = length_prefixed, seed: int = 1
    ) -> FaultProxy:
        return stack.enter_context(FaultProxy(echo.address, seed, script=script, clock=clock, splitter=splitter))

    return make


@pytest.fixture
def connect(stack: ExitStack) -> Callable[[FaultProxy], socket.socket]:
    def call(proxy: FaultProxy) -> socket.socket:
        host, _, port = proxy.address.rpartition(":")
        sock = socket.create_connection((host, int(port)), timeout=PATIENCE)
        stack.callback(sock.close)
        return sock

    return call


Proxies = Callable[..., FaultProxy]
Connect = Callable[[FaultProxy], socket.socket]


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            return data
        data += part
    return data


def ask(sock: socket.socket, body: bytes) -> bytes:
    sock.sendall(frame(body))
    return exactly(sock, 4 + len(body))[4:]


def nothing_comes(sock: socket.socket) -> bool:
    sock.settimeout(SOON)
    try:
        return sock.recv(1) == b"never"
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE)


def is_reset(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b"never"
    except ConnectionResetError:
        return True


# --- without toxics


def test_idle_proxy_passes_everything_both_ways(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    sock = connect(one)
    data = bytes(index % 251 for index in range(3_000_000))
    sender = threading.Thread(target=sock.sendall, args=(data,))

    sender.start()
    back = exactly(sock, len(data))
    sender.join()

    assert data == back
    counts = one.counts()
    assert (len(data), len(data), 0, 1) == (counts.up, counts.down, counts.swallowed, counts.is_open)


def test_end_of_the_client_reaches_the_server_and_what_was_sent_before_comes_back(
    proxy: Proxies, connect: Connect, echo: Echo
) -> None:
    sock = connect(proxy())
    sock.sendall(b"last words")
    sock.shutdown(socket.SHUT_WR)

    assert b"last words" == exactly(sock, 10)
    assert echo.ended.acquire(timeout=PATIENCE)


def test_end_of_the_server_reaches_the_client(proxy: Proxies, connect: Connect, echo: Echo) -> None:
    sock = connect(proxy())
    ask(sock, b"x")

    echo.hang_up()

    assert b"" == sock.recv(1)


def test_server_that_is_not_there_ends_the_connection(stack: ExitStack, connect: Connect) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        one = stack.enter_context(FaultProxy(f"127.0.0.1:{nobody.getsockname()[1]}"))
        sock = connect(one)

        assert b"" == sock.recv(1)


def test_new_connections_go_to_a_new_upstream(proxy: Proxies, connect: Connect, stack: ExitStack, echo: Echo) -> None:
    other = Echo()
    stack.callback(other.close)
    one = proxy()
    old = connect(one)
    ask(old, b"x")

    one.set_upstream(other.address)
    ask(connect(one), b"y")

    assert b"z" == ask(old, b"z")
    assert (1, 1) == (len(echo.clients), len(other.clients))


# --- toxics of bytes


def test_latency_delays_each_way(proxy: Proxies, connect: Connect) -> None:
    one, clock = proxy(), WallClock()
    sock = connect(one)
    ask(sock, b"x")
    one.add(Toxic(kind="latency", seconds=0.02))
    begin = clock.monotonic()

    ask(sock, b"x")

    assert clock.monotonic() - begin >= 0.04


def test_latency_is_over_when_it_is_taken_away(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    number = one.add(Toxic(kind="latency", seconds=600.0))
    one.remove(number)

    assert b"x" == ask(connect(one), b"x")


def test_latency_follows_the_clock_that_is_given_and_keeps_the_order(proxy: Proxies, connect: Connect) -> None:
    clock = FakeClock()
    one = proxy(clock=clock)
    sock = connect(one)
    ask(sock, b"-")
    one.add(Toxic(kind="latency", seconds=5.0, jitter_seconds=5.0, direction="up"))
    words = [b"a", b"b", b"c", b"d"]
    for calls, word in enumerate(words, 2):
        sock.sendall(frame(word))
        wait_for(lambda calls=calls: one.counts().calls == calls)
    early = nothing_comes(sock)

    clock.advance(10.0)
    one.loop.wake()

    assert early
    assert words == [exactly(sock, 5)[4:] for _ in words]


def test_bandwidth_bounds_the_rate(proxy: Proxies, connect: Connect) -> None:
    one, clock = proxy(), WallClock()
    one.add(Toxic(kind="bandwidth", rate=100_000.0, direction="up"))
    sock = connect(one)
    begin = clock.monotonic()

    ask(sock, bytes(4_996))

    assert clock.monotonic() - begin >= 0.05  # 5,000 bytes at 100,000 a second


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_black_hole_swallows_and_the_connection_stands(proxy: Proxies, connect: Connect, direction: Any) -> None:
    one = proxy()
    sock = connect(one)
    ask(sock, b"x")
    number = one.add(Toxic(kind="black_hole", direction=direction))
    sock.sendall(frame(b"lost"))
    silent = nothing_comes(sock)
    up = one.counts().up

    one.remove(number)

    assert silent
    assert (direction == "down") == (up == 5 + 8)
    assert b"heard" == ask(sock, b"heard")


def test_reset_breaks_connections_that_stand_and_new_ones(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    old = connect(one)
    ask(old, b"x")

    one.add(Toxic(kind="reset"))

    assert is_reset(old)
    with pytest.raises(ConnectionResetError):
        connect(one).recv(1)  # the reset may come before connecting has ended


def test_down_refuses_until_it_is_taken_away(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    old = connect(one)
    ask(old, b"x")
    number = one.add(Toxic(kind="down"))

    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            connect(one)
    one.remove(number)

    assert is_reset(old)
    assert b"back" == ask(connect(one), b"back")


def test_silent_accepts_and_says_nothing(proxy: Proxies, connect: Connect, echo: Echo) -> None:
    one = proxy()
    one.add(Toxic(kind="silent"))
    sock = connect(one)

    sock.sendall(frame(b"hello?"))

    assert nothing_comes(sock)
    assert [] == echo.clients


def test_silent_hangs_up_after_its_time(proxy: Proxies, connect: Connect) -> None:
    clock = FakeClock()
    one = proxy(clock=clock)
    one.add(Toxic(kind="silent", seconds=30.0))
    sock = connect(one)
    sock.sendall(frame(b"x"))
    wait_for(lambda: one.counts().calls == 1)
    early = nothing_comes(sock)

    clock.advance(30.0)
    one.loop.wake()

    assert early
    assert b"" == sock.recv(1)


def test_half_open_connection_stands_and_goes_nowhere(proxy: Proxies, connect: Connect, echo: Echo) -> None:
    one = proxy()
    sock = connect(one)
    ask(sock, b"x")

    one.add(Toxic(kind="half_open"))
    gone = echo.ended.acquire(timeout=PATIENCE)
    sock.sendall(frame(b"anybody?"))

    assert gone
    assert nothing_comes(sock)


def test_half_open_hides_that_the_server_hung_up(proxy: Proxies, connect: Connect, echo: Echo) -> None:
    one = proxy()
    one.add(Toxic(kind="half_open"))
    sock = connect(one)
    ask(sock, b"x")

    echo.hang_up()
    echo.ended.acquire(timeout=PATIENCE)

    assert nothing_comes(sock)


@pytest.mark.parametrize(("kind", "size", "pieces"), [("slicer", 4, 3), ("slow_drip", 16, 9)])
def test_slices_come_one_after_the_other(proxy: Proxies, connect: Connect, kind: Any, size: int, pieces: int) -> None:
    one, clock = proxy(), WallClock()
    sock = connect(one)
    ask(sock, b"x")
    one.add(Toxic(kind=kind, size=size, seconds=0.01, direction="down"))
    begin = clock.monotonic()

    answer = ask(sock, b"12345")

    assert b"12345" == answer
    assert clock.monotonic() - begin >= (pieces - 1) * 0.01


def test_connection_ends_after_so_many_bytes(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    one.add(Toxic(kind="limit_data", size=7, direction="down"))
    sock = connect(one)

    sock.sendall(frame(b"0123456789"))

    assert frame(b"0123456789")[:7] == exactly(sock, 14)


def test_garbage_comes_before_the_answer_once(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    sock = connect(one)
    ask(sock, b"x")
    one.add(Toxic(kind="garbage", size=3))

    sock.sendall(frame(b"y"))
    noise, rest = exactly(sock, 3), exactly(sock, 5)

    assert all(byte >= 128 for byte in noise)
    assert frame(b"y") == rest
    assert b"z" == ask(sock, b"z")


def test_same_seed_makes_the_same_garbage(proxy: Proxies, connect: Connect) -> None:
    noises = []
    for seed in (5, 5, 6):
        one = proxy(seed=seed)
        one.add(Toxic(kind="garbage", size=16))
        sock = connect(one)
        sock.sendall(frame(b"x"))
        noises.append(exactly(sock, 16))

    assert noises[0] == noises[1] != noises[2]


# --- toxics of frames


def test_lost_reply_is_executed_and_not_answered(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    sock = connect(one)
    one.add(Toxic(kind="lost_reply"))

    sock.sendall(frame(b"lost"))
    sock.sendall(frame(b"next"))

    assert frame(b"next") == exactly(sock, 8)
    assert (16, 8) == (one.counts().up, one.counts().swallowed)


def test_duplicate_reply_comes_twice(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    sock = connect(one)
    one.add(Toxic(kind="duplicate_reply"))

    sock.sendall(frame(b"twin"))
    sock.sendall(frame(b"only"))

    assert [b"twin", b"twin", b"only"] == [exactly(sock, 8)[4:] for _ in range(3)]
    assert nothing_comes(sock)


def test_reordered_reply_comes_after_the_next(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    sock = connect(one)
    one.add(Toxic(kind="reorder_replies"))

    for word in (b"one", b"two", b"six"):
        sock.sendall(frame(word))

    assert [b"two", b"one", b"six"] == [exactly(sock, 7)[4:] for _ in range(3)]


def test_reply_that_waits_for_another_comes_when_its_time_is_over(proxy: Proxies, connect: Connect) -> None:
    clock = FakeClock()
    one = proxy(clock=clock)
    sock = connect(one)
    one.add(Toxic(kind="reorder_replies", seconds=2.0))
    sock.sendall(frame(b"one"))
    early = nothing_comes(sock)

    clock.advance(2.0)
    one.loop.wake()

    assert early
    assert frame(b"one") == exactly(sock, 7)


def test_reply_that_waits_comes_when_the_toxic_is_taken_away(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    sock = connect(one)
    number = one.add(Toxic(kind="reorder_replies"))
    sock.sendall(frame(b"one"))
    wait_for(lambda: one.counts().up == 7)
    early = nothing_comes(sock)

    one.remove(number)

    assert early
    assert frame(b"one") == exactly(sock, 7)


def test_toxic_leaves_a_frame_alone_whose_beginning_has_passed(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    sock = connect(one)
    sock.sendall(frame(b"half and half")[:6])
    begun = exactly(sock, 6)
    one.add(Toxic(kind="lost_reply"))

    sock.sendall(frame(b"half and half")[6:])
    rest = exactly(sock, 11)
    sock.sendall(frame(b"gone") + frame(b"here"))

    assert frame(b"half and half") == begun + rest
    assert frame(b"here") == exactly(sock, 8)


def test_frames_of_another_protocol_need_only_a_splitter(proxy: Proxies, connect: Connect) -> None:
    one = proxy(splitter=lines)
    sock = connect(one)
    one.add(Toxic(kind="lost_reply"))

    sock.sendall(b"lost\nfound\n")

    assert b"found\n" == exactly(sock, 6)


def test_toxic_of_frames_without_a_splitter_is_refused(proxy: Proxies) -> None:
    with pytest.raises(ValueError, match="'lost_reply' deals with frames; give the proxy a splitter"):
        proxy(splitter=None).add(Toxic(kind="lost_reply"))
    with pytest.raises(ValueError, match="deals with frames"):
        FaultProxy("127.0.0.1:1", script=[Scheduled(toxic=Toxic(kind="duplicate_reply"), at_seconds=0.0)])


# --- scripts


def test_script_of_calls_hits_the_call_that_it_names(proxy: Proxies, connect: Connect) -> None:
    one = proxy(script=(Scheduled(toxic=Toxic(kind="lost_reply"), at_call=2), Scheduled(toxic=Toxic(kind="reset"), at_call=4)))
    sock = connect(one)
    first = ask(sock, b"1")
    sock.sendall(frame(b"2"))

    third = ask(sock, b"3")
    sock.sendall(frame(b"4"))

    assert (b"1", b"3") == (first, third)
    assert is_reset(sock)


def test_script_of_times_comes_and_goes_by_the_clock(proxy: Proxies, connect: Connect) -> None:
    clock = FakeClock()
    one = proxy(clock=clock, script=(Scheduled(toxic=Toxic(kind="black_hole"), at_seconds=10.0, lasts_seconds=5.0),))
    sock = connect(one)
    before = ask(sock, b"1")
    clock.advance(10.0)
    one.loop.wake()
    wait_for(lambda: one.loop.call(lambda: len(one._toxics)) == 1)
    sock.sendall(frame(b"2"))
    during = nothing_comes(sock)

    clock.advance(5.0)
    one.loop.wake()
    wait_for(lambda: one.loop.call(lambda: len(one._toxics)) == 0)

    assert (b"1", True, b"3") == (before, during, ask(sock, b"3"))


def test_everything_can_be_taken_away_at_once(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    for kind in ("black_hole", "down", "lost_reply"):
        one.add(Toxic(kind=kind))  # type: ignore[arg-type]

    one.clear()
    one.remove(1)  # is gone already

    assert b"x" == ask(connect(one), b"x")


def test_connections_can_be_reset_by_hand(proxy: Proxies, connect: Connect) -> None:
    one = proxy()
    socks = [connect(one) for _ in range(3)]
    for sock in socks:
        ask(sock, b"x")

    count = one.reset_all()

    assert 3 == count
    assert all(is_reset(sock) for sock in socks)
    assert b"x" == ask(connect(one), b"x")


def test_storm_of_resets_leaves_no_connection_behind(proxy: Proxies, connect: Connect, echo: Echo) -> None:
    one = proxy()
    for _ in range(100):
        sock = connect(one)
        ask(sock, b"x")
        one.reset_all()
        sock.close()

    assert (100, 0) == (one.counts().connections, one.counts().is_open)
    assert all(echo.ended.acquire(timeout=PATIENCE) for _ in range(100))


# --- bad input


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seconds": -1.0}, "seconds of 'latency'"),
        ({"jitter_seconds": float("nan")}, "jitter_seconds of 'latency'"),
        ({"rate": 0.0}, "rate of 'latency' must be positive"),
        ({"size": 0}, "size of 'latency' must be 1 or more"),
        ({"times": 0}, "times of 'latency' must be 1 or more, or None"),
        ({"chance": 1.5}, "chance of 'latency' must lie in"),
    ],
)
def test_toxic_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Toxic(kind="latency", **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "either at_seconds or at_call"),
        ({"at_seconds": 1.0, "at_call": 1}, "either at_seconds or at_call"),
        ({"at_seconds": -1.0}, "at_seconds of 'reset' must be 0 or more"),
        ({"at_call": 0}, "at_call of 'reset' must be 1 or more"),
        ({"at_call": 1, "lasts_seconds": 0.0}, "lasts_seconds of 'reset' must be positive"),
    ],
)
def test_step_of_a_script_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Scheduled(toxic=Toxic(kind="reset"), **changes)


@pytest.mark.parametrize("address", ["", "localhost", "localhost:x"])
def test_upstream_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        FaultProxy(address)


def test_stopping_twice_is_harmless_and_afterwards_nothing_can_be_asked(proxy: Proxies) -> None:
    one = proxy()
    one.stop()
    one.stop()

    with pytest.raises(RuntimeError, match="the loop has ended"):
        one.counts()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until another thread has made *condition* true."""
    clock = WallClock()
    until = clock.monotonic() + PATIENCE
    while not condition():
        assert clock.monotonic() < until, "it never came about"
        clock.sleep(0.001)
