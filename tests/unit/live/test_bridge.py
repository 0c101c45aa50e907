"""An async connector behind an ordinary face."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from typing import Any

import pytest

from herald.contracts import AsyncConnector, Capabilities, Connector
from herald.errors import AmbiguousError, NotConnected, TransientError
from herald.live.bridge import bridge
from herald.model import OrderRequest, Quote, Side

REQUEST = OrderRequest("trend-000001", "trend", "EURUSD", Side.BUY, 0.1)


class Pushing:
    """A broker that pushes quotes from a task of its own."""

    def __init__(self) -> None:
        self.inbox: deque[Quote] = deque()
        self.task: asyncio.Task[None] | None = None
        self.is_open = False
        self.hangs: set[str] = set()

    async def _maybe_hang(self, name: str) -> None:
        if name in self.hangs:
            await asyncio.sleep(3_600)

    async def connect(self) -> None:
        self.is_open = True
        self.task = asyncio.get_running_loop().create_task(self._push())

    async def _push(self) -> None:
        for number in range(10_000):
            self.inbox.append(Quote("EURUSD", number, 1.0, 1.1))
            await asyncio.sleep(0)

    async def disconnect(self) -> None:
        self.is_open = False

    async def ping(self) -> None:
        await self._maybe_hang("ping")
        if not self.is_open:
            raise NotConnected("call connect() first")

    def capabilities(self) -> Capabilities:
        return Capabilities(streaming=True)

    async def submit(self, request: OrderRequest) -> str:
        await self._maybe_hang("submit")
        return f"42 {request.id}"

    async def poll(self) -> Any:
        await asyncio.sleep(0)
        news = tuple(self.inbox)
        self.inbox.clear()
        return news

    def __getattr__(self, name: str) -> Any:
        async def answer(*args: Any) -> tuple[str, tuple[Any, ...]]:
            return name, args

        return answer


@pytest.fixture
def broker() -> Pushing:
    return Pushing()


def test_every_method_of_a_connector_is_there(broker: Pushing) -> None:
    bridged = bridge(broker)  # type: ignore[arg-type]
    names = [name for name, _ in inspect.getmembers(Connector, inspect.isfunction) if not name.startswith("_")]

    assert [] == [name for name in names if not callable(getattr(bridged, name, None))]
    asynchronous = {name for name, member in inspect.getmembers(AsyncConnector) if inspect.iscoroutinefunction(member)}
    assert set(names) - {"capabilities"} == asynchronous


def test_answers_come_back_with_their_arguments(broker: Pushing) -> None:
    bridged: Any = bridge(broker)  # type: ignore[arg-type]

    assert "42 trend-000001" == bridged.submit(REQUEST)
    assert ("quote", ("EURUSD",)) == bridged.quote("EURUSD")
    assert ("find", ("tag", 7)) == bridged.find("tag", 7)
    assert ("bars", ("EURUSD", "1h", None, 5)) == bridged.bars("EURUSD", "1h", None, 5)
    bridged.disconnect()


def test_errors_come_as_they_are(broker: Pushing) -> None:
    bridged = bridge(broker)  # type: ignore[arg-type]

    with pytest.raises(NotConnected, match="call connect"):
        bridged.ping()
    bridged.disconnect()


def test_what_is_pushed_between_polls_is_found_by_a_poll(broker: Pushing) -> None:
    bridged = bridge(broker)  # type: ignore[arg-type]
    bridged.connect()

    seen = [quote.time for _ in range(50) for quote in bridged.poll()]  # type: ignore[union-attr]

    assert len(seen) > 20
    assert list(range(len(seen))) == seen
    bridged.disconnect()


def test_a_question_that_takes_too_long_may_be_asked_again_and_an_order_is_in_doubt(broker: Pushing) -> None:
    broker.hangs = {"ping", "submit"}
    bridged = bridge(broker, timeout_seconds=0.05)  # type: ignore[arg-type]
    bridged.connect()

    with pytest.raises(TransientError, match=r"no answer within 0\.05 s"):
        bridged.ping()
    with pytest.raises(AmbiguousError, match=r"no answer within 0\.05 s"):
        bridged.submit(REQUEST)
    bridged.disconnect()


def test_disconnecting_ends_its_tasks_and_it_can_be_connected_again(broker: Pushing) -> None:
    bridged = bridge(broker)  # type: ignore[arg-type]
    bridged.connect()
    first = broker.task

    bridged.disconnect()
    bridged.connect()

    assert first is not None
    assert first.cancelled() or first.done()
    bridged.ping()
    bridged.disconnect()


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_senseless_time_out_is_refused(broker: Pushing, seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout_seconds must be positive"):
        bridge(broker, timeout_seconds=seconds)  # type: ignore[arg-type]
