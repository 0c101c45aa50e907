"""How soon a monitor knows of a loss and of its end, and whom it keeps waiting."""

from __future__ import annotations

import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from experiments.caches import LONGEST
from experiments.storms import Virtual
from herald.clock import WallClock
from herald.errors import ConnectorError, TransientError
from herald.plugins.simbroker import SimBrokerConnector, SimBrokerSettings
from herald.testing import make_services
from herald.testing.faultproxy import FaultProxy, Toxic
from herald.testing.simbroker import SimBroker
from herald.utils import ConnectionHealthMonitor, HealthState


class Down:
    """A broker that is down from *start* to *end*, virtual seconds."""

    def __init__(self, clock: Virtual, start: float, end: float) -> None:
        self.clock, self.start, self.end = clock, start, end

    def ping(self) -> None:
        if self.start <= self.clock.now < self.end:
            raise TransientError("no route")

    connect = ping


def losses(make: Callable[..., ConnectionHealthMonitor], *, reported: bool, cycles: int = 50) -> tuple[float, float]:
    """Return the 95th percentiles of seconds until a loss is known, and until it is over after the broker is back.

    A worker ticks ten times a second and makes a call a second, whose failure it reports unless told otherwise.
    """
    known, over = [], []
    for seed in range(cycles):
        random, clock = Random(seed), Virtual()
        broker = Down(clock, start := random.uniform(60, 90), end := start + random.uniform(120, 240))
        monitor = make(broker, clock=clock.monotonic, random=random)
        lost = back = math.inf
        for step in range(5_000):
            clock.now = step / 10
            if reported and step % 10 == 0:
                try:
                    broker.ping()
                except TransientError as error:
                    monitor.report_failure(error)
            monitor.tick()
            if monitor.state is HealthState.LOST:
                lost = min(lost, clock.now)
            elif clock.now >= end and lost < math.inf:
                back = clock.now
                break
        known.append(lost - start)
        over.append(back - end)
    place = math.ceil(0.95 * cycles) - 1
    return sorted(known)[place], sorted(over)[place]


def blocked_by_ticks(seconds: float = 0.3) -> tuple[float, float]:
    """Return the median and the 99th percentile of the milliseconds that a tick takes while a ping hangs."""
    release, hangs = threading.Event(), threading.Event()

    class Hanging:
        def ping(self) -> None:
            hangs.set()
            release.wait(LONGEST)

    monitor = ConnectionHealthMonitor(Hanging(), 0.001, check_timeout=0.05, initial_delay=0.001, max_delay=0.01)
    taken = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        monitor.tick()
        taken.append((time.perf_counter() - begun) * 1e3)
        time.sleep(0.001)
    release.set()
    assert hangs.is_set()
    taken.sort()
    return statistics.median(taken), taken[math.ceil(0.99 * len(taken)) - 1]


def over_a_socket(kind: str, cycles: int = 5, outage: float = 4.0) -> tuple[float, float]:
    """Return the longest seconds until a loss is known, and until it is over after the network is back.

    A worker calls a broker in another process ten times a second through a proxy that fails in the way *kind*, waits a
    second for answers, and reconnects as often as a live run does. *kind* is that of a `Toxic`.
    """
    known, over = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        SimBroker.start(Path(folder) / "book.sqlite") as broker,
        FaultProxy(broker.address) as proxy,
    ):
        settings = SimBrokerSettings(address=proxy.address, token=broker.terms.token, timeout_seconds=1.0)
        connector = SimBrokerConnector(settings, make_services("connectors.main", clock=WallClock()))
        monitor = ConnectionHealthMonitor(connector, max_delay=3.0)

        def turn() -> HealthState:
            if monitor.state is not HealthState.LOST:
                try:
                    connector.account()
                except ConnectorError as error:
                    monitor.report_failure(error)
            monitor.tick()
            if monitor.state is not HealthState.LOST:
                time.sleep(0.1)
            return monitor.state

        def until(state: HealthState, end: float) -> float:
            begun = time.perf_counter()
            while turn() is not state:
                if time.perf_counter() - begun > end:
                    return math.inf
                time.sleep(0.001)
            return time.perf_counter() - begun

        connector.connect()
        until(HealthState.HEALTHY, LONGEST)
        for _ in range(cycles):
            toxic = proxy.add(Toxic(kind=kind))
            begun = time.perf_counter()
            known.append(until(HealthState.LOST, LONGEST))
            while time.perf_counter() - begun < outage:
                turn()
                time.sleep(0.001)
            proxy.remove(toxic)
            over.append(until(HealthState.HEALTHY, LONGEST))
        connector.disconnect()
    return max(known), max(over)
