"""An async connector as an ordinary one: its worker's thread gets an event loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from herald.contracts import AsyncConnector, Capabilities, Connector
from herald.errors import AmbiguousError, TransientError
from herald.model import Account, BarSeries, Event, Fill, Instrument, Order, OrderRequest, Position, Quote, Timeframe

__all__ = ["bridge"]

T = TypeVar("T")


def bridge(connector: AsyncConnector, timeout_seconds: float = 10.0) -> Connector:
    """Return *connector* as one that a worker can call.

    Every method runs to its end on an event loop that belongs to the calling thread. What the connector pushes from its
    own tasks lands where its ``poll`` finds it; between calls the loop stands still, so ``poll`` is also what lets those
    tasks go on.

    Args:
        connector: The async one.
        timeout_seconds: Longest time a method may take, > 0. A question that takes longer raises `TransientError`, an
            order or its change `AmbiguousError`.

    Raises:
        ValueError: *timeout_seconds* is not positive.
    """
    if not timeout_seconds > 0:
        raise ValueError(f"timeout_seconds must be positive, not {timeout_seconds!r}")
    return _Bridge(connector, timeout_seconds)


class _Bridge:
    """Runs coroutines of an async connector to their end."""

    def __init__(self, connector: AsyncConnector, timeout_seconds: float) -> None:
        self._connector = connector
        self._timeout = timeout_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    def _run(self, coroutine: Coroutine[Any, Any, T], *, changes: bool = False) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        try:
            return self._loop.run_until_complete(asyncio.wait_for(coroutine, self._timeout))
        except TimeoutError as error:
            text = f"no answer within {self._timeout:g} s"
            raise (AmbiguousError(text) if changes else TransientError(text)) from error

    def connect(self) -> None:
        self._run(self._connector.connect())

    def disconnect(self) -> None:
        try:
            self._run(self._connector.disconnect())
        finally:
            if self._loop is not None:
                self._end(self._loop)
                self._loop = None

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what the connector left running, and close the loop."""
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def ping(self) -> None:
        self._run(self._connector.ping())

    def capabilities(self) -> Capabilities:
        return self._connector.capabilities()

    def instruments(self) -> Sequence[Instrument]:
        return self._run(self._connector.instruments())

    def account(self) -> Account:
        return self._run(self._connector.account())

    def positions(self) -> Sequence[Position]:
        return self._run(self._connector.positions())

    def open_orders(self) -> Sequence[Order]:
        return self._run(self._connector.open_orders())

    def subscribe(self, feeds: Sequence[tuple[str, Timeframe | None]]) -> None:
        self._run(self._connector.subscribe(feeds))

    def quote(self, symbol: str) -> Quote:
        return self._run(self._connector.quote(symbol))

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        return self._run(self._connector.bars(symbol, timeframe, start, end))

    def submit(self, request: OrderRequest) -> str:
        return self._run(self._connector.submit(request), changes=True)

    def modify(self, broker_id: str, request: OrderRequest) -> None:
        self._run(self._connector.modify(broker_id, request), changes=True)

    def cancel(self, broker_id: str) -> None:
        self._run(self._connector.cancel(broker_id))

    def find(self, client_tag: str, since: int) -> Sequence[Order]:
        return self._run(self._connector.find(client_tag, since))

    def fills(self, since: int) -> Sequence[Fill]:
        return self._run(self._connector.fills(since))

    def poll(self) -> Sequence[Event]:
        return self._run(self._connector.poll())
