"""Layers around a connector: every method becomes one value that goes down one chain.

A connector has a dozen methods; resilience should not have a dozen each. `GuardedConnector` is a connector like any
other; whoever holds it knows nothing of the layers, and the connector inside knows nothing of them either.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from herald.contracts import Call, Capabilities, Connector, Handler, Middleware, Operation
from herald.errors import AmbiguousError, ConnectorError, HeraldError, NotSent
from herald.model import Account, BarSeries, Event, Fill, Instrument, Order, OrderRequest, Position, Quote, Timeframe
from herald.utils.redaction import redact

__all__ = ["Door", "GuardedConnector", "compose"]


class Door(Protocol):
    """The last step before an order leaves: checks the gate's permission, which is good for one sending."""

    def open(self, call: Call) -> None:
        """Use up the permission of *call*.

        Raises:
            PermitError: It has none that is valid for exactly this request, now.
        """

    def give_back(self, call: Call) -> None:
        """Make the permission valid again: the order provably never left."""


def compose(layers: Sequence[Middleware], innermost: Handler) -> Handler:
    """Nest *layers* around *innermost*; the first layer is entered first.

    Args:
        layers: Outermost first.
        innermost: What the last layer goes on to.

    Returns:
        What a caller calls; *innermost* itself where there are no layers.
    """
    handler = innermost
    for layer in reversed(layers):
        handler = functools.partial(layer, proceed=handler)
    return handler


class GuardedConnector:
    """A connector inside its layers.

    What the connector raises that is not one of Herald's errors is a fault of the connector, and nobody knows what it
    means: for an order it becomes `AmbiguousError`, for everything else a plain `ConnectorError`, which nobody repeats.

    Attributes:
        name: The instance, such as ``connectors.main``; it stands in the messages.
        handler: Entry of the chain.
    """

    def __init__(self, name: str, connector: Connector, layers: Sequence[Middleware] = (), door: Door | None = None) -> None:
        """Nest *layers* (outermost first) around *connector*; where there is a *door*, no order leaves without a permit."""
        self.name = name
        self._connector = connector
        self._layers = tuple(layers)
        innermost = _innermost(name, connector, door)
        self.handler = compose(layers, innermost)
        self._ticks = _ticks(layers, innermost)

    def with_door(self, door: Door) -> GuardedConnector:
        """Return the same connector in the same layers, with *door* before it."""
        return GuardedConnector(self.name, self._connector, self._layers, door)

    def parts(self) -> tuple[Connector, tuple[Middleware, ...]]:
        """Return the bare connector and its layers, outermost first."""
        return self._connector, self._layers

    def tick(self) -> None:
        """Let every layer do what must happen without a call, the innermost first."""
        for tick in self._ticks:
            tick()

    def connect(self) -> None:
        """Open the connection."""
        self.handler(Call(Operation.CONNECT))

    def disconnect(self) -> None:
        """Close the connection; no layer may keep that from happening."""
        self._connector.disconnect()

    def ping(self) -> None:
        """Return if the other side answers."""
        self.handler(Call(Operation.PING))

    def capabilities(self) -> Capabilities:
        """Return what the connector can do; it knows that without asking anybody."""
        return self._connector.capabilities()

    def instruments(self) -> Sequence[Instrument]:
        """Return the terms of every symbol on offer."""
        return cast("Sequence[Instrument]", self.handler(Call(Operation.INSTRUMENTS)))

    def account(self) -> Account:
        """Return the account as the broker states it."""
        return cast("Account", self.handler(Call(Operation.ACCOUNT)))

    def positions(self) -> Sequence[Position]:
        """Return the open positions."""
        return cast("Sequence[Position]", self.handler(Call(Operation.POSITIONS)))

    def open_orders(self) -> Sequence[Order]:
        """Return the working orders."""
        return cast("Sequence[Order]", self.handler(Call(Operation.OPEN_ORDERS)))

    def subscribe(self, feeds: Sequence[tuple[str, Timeframe | None]]) -> None:
        """Ask for bars or quotes."""
        self.handler(Call(Operation.SUBSCRIBE, (tuple(feeds),)))

    def quote(self, symbol: str) -> Quote:
        """Return the last quote."""
        return cast("Quote", self.handler(Call(Operation.QUOTE, (symbol,))))

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the finished bars that end in ``(start, end]``."""
        return cast("BarSeries", self.handler(Call(Operation.BARS, (symbol, timeframe, start, end))))

    def submit(self, request: OrderRequest, permit: object = None) -> str:
        """Send an order; return the broker's id."""
        return cast("str", self.handler(Call(Operation.SUBMIT, (request,), permit)))

    def modify(self, broker_id: str, request: OrderRequest, permit: object = None) -> None:
        """Change a working order."""
        self.handler(Call(Operation.MODIFY, (broker_id, request), permit))

    def cancel(self, broker_id: str) -> None:
        """Withdraw an order."""
        self.handler(Call(Operation.CANCEL, (broker_id,)))

    def find(self, client_tag: str, since: int) -> Sequence[Order]:
        """Return the orders with this client tag since a time."""
        return cast("Sequence[Order]", self.handler(Call(Operation.FIND, (client_tag, since))))

    def fills(self, since: int) -> Sequence[Fill]:
        """Return the executions since a time."""
        return cast("Sequence[Fill]", self.handler(Call(Operation.FILLS, (since,))))

    def poll(self) -> Sequence[Event]:
        """Return what is new."""
        return cast("Sequence[Event]", self.handler(Call(Operation.POLL)))


def _innermost(name: str, connector: Connector, door: Door | None) -> Handler:
    """Return the handler that calls *connector* and lets out nothing but Herald's errors."""
    poll = Operation.POLL  # looked up once: before 3.12 that is a Python call
    methods: dict[Operation, Callable[..., Any]] = {one: getattr(connector, one.method) for one in Operation}

    def innermost(call: Call) -> object:
        operation, args, _ = call
        guard = None if operation.repeatable else door
        if guard is not None:
            guard.open(call)
        try:
            answer = methods[operation](*args)
            # A poll that is built while it is read could lose events to an error half way; a tuple cannot.
            return tuple(answer) if operation is poll else answer
        except NotSent:
            if guard is not None:
                guard.give_back(call)
            raise
        except HeraldError:
            raise
        except Exception as error:
            what = redact(f"{name}: {operation.method} raised {' '.join(f'{type(error).__name__}: {error}'.split())}")
            if operation.repeatable:
                raise ConnectorError(f"{what}; report it to the connector's author") from error
            raise AmbiguousError(f"{what}; whether the broker has the order is not known") from error

    return innermost


def _ticks(layers: Sequence[Middleware], innermost: Handler) -> tuple[Callable[[], None], ...]:
    """Return the ticks of those layers that have one, each bound to what is inside the layer; the innermost first."""
    handler, ticks = innermost, []
    for layer in reversed(layers):
        tick = getattr(layer, "tick", None)
        if tick is not None:
            ticks.append(functools.partial(tick, handler))
        handler = functools.partial(layer, proceed=handler)
    return tuple(ticks)
