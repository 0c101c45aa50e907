"""From an event to a collector, through a real process that exports; and a collector that is down disturbs nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from herald.clock import WallClock
from herald.model import Connected, Event, Fill, HealthChanged, Order, OrderRequest, OrderStatus, OrderStep, RunStarted, Side
from herald.plugins.tracing import Tracing, TracingSettings
from herald.testing import make_services
from herald.utils.traces import read_seed, trace_id
from tests.unit.plugins.alerts.hook import wait_until
from tests.unit.plugins.tracing.collector import Collector

CLOCK = WallClock()


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Tracing] = []

    def make(said: list[Event] | None = None, **keys: Any) -> Tracing:
        emit = None if said is None else said.append
        made.append(Tracing(TracingSettings(**keys), make_services("observers[0]", clock=CLOCK, base=str(tmp_path), emit=emit)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def trade(tracing: Tracing, number: int = 1) -> str:
    name = f"trend-{number:06}"
    request = OrderRequest(name, "trend", "EURUSD", Side.BUY, 0.5)
    now = CLOCK.now()
    for event in (
        OrderStep(now, "intended", request),
        OrderStep(now, "sent", request),
        Order(request, OrderStatus.ACCEPTED, now, "77"),
        Order(request, OrderStatus.FILLED, now, "77", 0.5, 1.1),
        Fill("f1", name, "EURUSD", Side.BUY, 0.5, 1.1, 0.35, "USD", now),
    ):
        tracing.observe(event)
    return name


def test_a_collector_gets_one_trace_an_order_with_its_headers_and_who_sends_it(
    make: Any, collector: Collector, tmp_path: Path
) -> None:
    tracing = make(endpoint=collector.endpoint, headers={"X-Key": SecretStr("topsecret0815")}, service_name="desk")
    before = CLOCK.now()

    tracing.observe(Connected(CLOCK.now(), "main"))
    name = trade(tracing)
    tracing.close()

    assert ["risk", "intent", "acknowledgement", "fill", "order"] == [one.name for one in collector.spans]
    seed = read_seed(tmp_path)
    assert seed
    assert {trace_id(seed, name)} == {one.trace for one in collector.spans}
    (whole,) = [one for one in collector.spans if not one.parent]
    assert {whole.id} == {one.parent for one in collector.spans if one.parent}
    assert "order" == whole.name
    assert (name, "trend", "EURUSD", "buy", 0.5) == tuple(
        whole.attributes[f"herald.{key}"] for key in ("order", "strategy", "symbol", "side", "size")
    )
    assert before <= whole.begin <= whole.end <= CLOCK.now()
    assert "topsecret0815" == collector.headers[0]["x-key"]
    assert ("desk", str(tmp_path.resolve())) == (
        collector.resources[0]["service.name"],
        collector.resources[0]["service.instance.id"],
    )


def test_a_collector_that_is_down_is_told_of_once_and_so_is_its_return(make: Any, collector: Collector) -> None:
    said: list[Event] = []
    collector.is_down = True
    tracing = make(said, endpoint=collector.endpoint, timeout_seconds=0.3)

    trade(tracing, 1)
    assert wait_until(lambda: said)
    trade(tracing, 2)
    time.sleep(1.5)
    collector.is_down = False
    trade(tracing, 3)

    assert wait_until(lambda: len(said) == 2)
    assert ["unhealthy", "healthy"] == [one.state for one in said if isinstance(one, HealthChanged)]
    assert "trend-000003" in {one.attributes["herald.order"] for one in collector.spans}


def test_nobody_waits_for_a_collector_that_does_not_answer(make: Any) -> None:
    tracing = make(endpoint="http://127.0.0.1:9/v1/traces", timeout_seconds=1.0)
    trade(tracing, 0)

    began = time.perf_counter()
    for number in range(1, 1_001):
        trade(tracing, number)
    took = time.perf_counter() - began

    assert took / 5_000 < 50e-6, "an event costs its observer microseconds, whatever the collector does"
    began = time.monotonic()
    tracing.close()
    assert time.monotonic() - began < 10


def test_what_cannot_wait_is_dropped_and_told(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Event] = []
    tracing = make(said, endpoint="http://127.0.0.1:9/v1/traces", queue=100)
    for number in range(100):
        trade(tracing, number)

    assert wait_until(
        lambda: any("steps of orders were not traced" in one.text for one in said if isinstance(one, HealthChanged))
    )


def test_an_exporter_that_is_killed_is_started_again_and_the_next_orders_are_traced(make: Any, collector: Collector) -> None:
    import os
    import signal

    tracing = make(endpoint=collector.endpoint)
    trade(tracing, 1)
    assert wait_until(lambda: len(collector.spans) == 5)
    assert tracing._child is not None
    os.kill(tracing._child.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    assert wait_until(lambda: tracing._child.starts == 2 and tracing._child.pid)

    trade(tracing, 2)

    assert wait_until(lambda: len(collector.spans) == 10)


def test_a_backtest_is_not_traced_and_starts_nothing(make: Any, tmp_path: Path) -> None:
    tracing = make()

    tracing.observe(RunStarted(0, "backtest"))
    trade(tracing)
    tracing.close()

    assert tracing._thread is None
    assert [] == list(tmp_path.iterdir())


def test_a_run_that_never_traded_closes_at_once(make: Any) -> None:
    make().close()


def test_the_run_imports_nothing_of_opentelemetry() -> None:
    code = "import sys, herald.plugins.tracing as t; t._is_installed(); print([n for n in sys.modules if n.startswith(('opentelemetry.', 'requests'))])"

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "[]" == output.strip()
