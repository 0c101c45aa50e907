"""What happens in a run. Bars, quotes, orders, fills and accounts are events themselves."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from herald.model.account import Account
from herald.model.market import Bar, Quote
from herald.model.order import Fill, Order, OrderRequest, OrderStatus

__all__ = [
    "Alert",
    "CallRepeated",
    "CircuitChanged",
    "Connected",
    "DataEnded",
    "Disconnected",
    "Event",
    "FaultInjected",
    "HealthChanged",
    "Moment",
    "Note",
    "ObserverMuted",
    "OrderDenied",
    "OrderStep",
    "RunStarted",
    "RunStopped",
    "StateChanged",
    "StrategyFailed",
    "SystemEvent",
    "Timer",
    "describe",
    "gravity",
]


class SystemEvent(msgspec.Struct, frozen=True):
    """Base of what happens to the run itself.

    Attributes:
        time: When, nanoseconds UTC.
    """

    time: int


class RunStarted(SystemEvent, frozen=True):
    """Everything is connected, warm and about to receive its first event."""

    mode: str


class RunStopped(SystemEvent, frozen=True):
    """The last event was handled; *status* is ``completed``, ``failed`` or ``interrupted``."""

    status: str


class Timer(SystemEvent, frozen=True):
    """A time a strategy asked for has come."""

    strategy: str
    tag: str


class Note(SystemEvent, frozen=True):
    """A line that a strategy wrote through ``ctx.log``."""

    strategy: str
    text: str


class OrderDenied(SystemEvent, frozen=True):
    """A request was refused before it was sent."""

    order: Order


class StrategyFailed(SystemEvent, frozen=True):
    """A strategy raised and was stopped; *error* is one line, *traceback* the whole story."""

    strategy: str
    error: str
    traceback: str


class ObserverMuted(SystemEvent, frozen=True):
    """An observer failed ten times in a row and is no longer called."""

    observer: str
    error: str


class Connected(SystemEvent, frozen=True):
    """A connector is connected, subscribed and reconciled: its orders may flow."""

    connector: str


class Disconnected(SystemEvent, frozen=True):
    """A connector lost its connection; nothing that would add to a position is sent until it is `Connected` again."""

    connector: str
    text: str


class DataEnded(SystemEvent, frozen=True):
    """A connector that plays recorded data has delivered all of it."""

    connector: str


class Alert(SystemEvent, frozen=True):
    """Something a person must know; *code* is stable."""

    code: str
    text: str


class StateChanged(SystemEvent, frozen=True):
    """What may be traded changed; see `herald.live.state`."""

    scope: str
    state: str
    who: str
    why: str


class CircuitChanged(SystemEvent, frozen=True):
    """A circuit breaker changed its state; *name* is its instance, *state* ``CLOSED``, ``OPEN`` or ``HALF_OPEN``."""

    name: str
    state: str


class HealthChanged(SystemEvent, frozen=True):
    """A connector became healthy or stopped being it; *state* is ``healthy``, ``failing``, ``lost`` or ``stalled``."""

    name: str
    state: str
    text: str = ""


class CallRepeated(SystemEvent, frozen=True):
    """A failed call of a connector is repeated; *attempt* counts the repetitions from 1, *delay* is the wait, seconds."""

    name: str
    operation: str
    attempt: int
    delay: float
    error: str


class FaultInjected(SystemEvent, frozen=True):
    """A rehearsal spoilt a call on purpose; *kind* is the fault, *operation* the method."""

    name: str
    kind: str
    operation: str


class Moment(msgspec.Struct, frozen=True):
    """All bars that end at one time, in config order; the engine takes them together.

    Attributes:
        time: Their common end, nanoseconds UTC.
        bars: One bar a series.
    """

    time: int
    bars: tuple[Bar, ...]


class OrderStep(msgspec.Struct, frozen=True):
    """A request of a paper or live run got one step further on its way to the broker; no status of an order tells this.

    Attributes:
        time: When; for ``intended`` that of the event which it answers, nanoseconds UTC.
        step: ``intended``: it passed every check and its intent is about to be kept. ``sent``: that is kept, and its
            connector's worker has it.
        request: What is asked.
    """

    time: int
    step: str
    request: OrderRequest


Event: TypeAlias = Bar | Quote | Order | Fill | Account | SystemEvent | Moment | OrderStep


def describe(event: Event) -> str:
    """Return *event* as one line for a person."""
    match event:
        case Fill():
            text = f"fill {event.side.name} {event.size:g} {event.symbol} at {event.price:.10g} ({event.order_id})"
        case OrderDenied(order=order):
            text = f"denied {order.id}: {order.code}: {order.reason}"
        case Order():
            text = f"order {event.id} is {event.status}: {event.reason}".removesuffix(": ")
        case OrderStep(request=request):
            text = f"order {request.id} is {event.step}"
        case Alert():
            text = f"ALERT {event.code}: {event.text}"
        case StateChanged():
            text = f"{event.scope} is {event.state} by {event.who}: {event.why}"
        case Connected():
            text = f"{event.connector} is connected"
        case Disconnected():
            text = f"{event.connector} is disconnected: {event.text}"
        case HealthChanged():
            text = f"{event.name} is {event.state}: {event.text}".removesuffix(": ")
        case CircuitChanged():
            text = f"{event.name} is {event.state}"
        case StrategyFailed():
            text = f"strategy {event.strategy} was stopped: {event.error}"
        case ObserverMuted():
            text = f"observer {event.observer} was muted: {event.error}"
        case CallRepeated():
            text = f"{event.name} repeats {event.operation}, attempt {event.attempt} in {event.delay:.1f} s: {event.error}"
        case FaultInjected():
            text = f"{event.name} injects {event.kind} into {event.operation}"
        case DataEnded():
            text = f"the data of {event.connector} is over"
        case RunStarted():
            text = f"the {event.mode} run trades"
        case RunStopped():
            text = f"the run ended: {event.status}"
        case Note():
            text = f"{event.strategy}: {event.text}"
        case Timer():
            text = f"timer of {event.strategy}: {event.tag}".removesuffix(": ")
        case _:
            text = type(event).__name__
    return " ".join(text.split())


_GRAVE = (Alert, StrategyFailed, ObserverMuted)
_DOUBTFUL = (OrderDenied, Disconnected, CallRepeated, FaultInjected)
_BAD_ORDERS = frozenset({OrderStatus.REJECTED, OrderStatus.UNKNOWN, OrderStatus.ABANDONED})


def gravity(event: Event) -> str:
    """Return how much *event* should worry a person: ``INFO``, ``WARNING`` or ``ERROR``."""
    if isinstance(event, _GRAVE):
        return "ERROR"
    if isinstance(event, _DOUBTFUL) or (isinstance(event, Order) and event.status in _BAD_ORDERS):
        return "WARNING"
    if isinstance(event, HealthChanged):
        return "INFO" if event.state == "healthy" else "WARNING"
    if isinstance(event, CircuitChanged):
        return "INFO" if event.state == "CLOSED" else "WARNING"
    if isinstance(event, StateChanged):
        return "INFO" if event.state == "ACTIVE" else "WARNING"
    if isinstance(event, RunStopped):
        return "ERROR" if event.status == "failed" else "INFO"
    return "INFO"
