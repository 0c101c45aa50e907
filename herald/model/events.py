"""What happens in a run. Bars, quotes, orders, fills and accounts are events themselves."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from herald.model.account import Account
from herald.model.market import Bar, Quote
from herald.model.order import Fill, Order

__all__ = [
    "Event",
    "Moment",
    "Note",
    "ObserverMuted",
    "OrderDenied",
    "RunStarted",
    "RunStopped",
    "StrategyFailed",
    "SystemEvent",
    "Timer",
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


class Moment(msgspec.Struct, frozen=True):
    """All bars that end at one time, in config order; the engine takes them together.

    Attributes:
        time: Their common end, nanoseconds UTC.
        bars: One bar a series.
    """

    time: int
    bars: tuple[Bar, ...]


Event: TypeAlias = Bar | Quote | Order | Fill | Account | SystemEvent | Moment
