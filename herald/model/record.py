"""What the journal keeps of a paper or live run: what was about to be done with money, and what came of it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from herald.model.account import Account
from herald.model.order import Fill, Order, OrderRequest

__all__ = [
    "AccountSeen",
    "Alerted",
    "CancelIntended",
    "Intended",
    "ModifyIntended",
    "OrderChanged",
    "Record",
    "RecordBase",
    "RunBegan",
    "RunEnded",
    "StateSet",
    "Traded",
]


class RecordBase(msgspec.Struct, frozen=True, tag=True):
    """Base of every record.

    Attributes:
        time: When it was written, nanoseconds UTC.
    """

    time: int


class RunBegan(RecordBase, frozen=True, tag=True):
    """A run started.

    Attributes:
        mode: ``paper`` or ``live``.
        config: Hash of the resolved configuration, hex.
        versions: Version by distribution, Herald and every loaded plugin.
        process: Number of the process.
    """

    mode: str
    config: str
    versions: dict[str, str]
    process: int


class RunEnded(RecordBase, frozen=True, tag=True):
    """A run stopped in order; *status* is ``completed``, ``failed`` or ``interrupted``."""

    status: str


class Intended(RecordBase, frozen=True, tag=True):
    """An order is about to be sent; it may have been sent from the moment this is on disk.

    Attributes:
        connector: Table of the connector it goes to.
        request: What is asked; ``request.client_tag`` is its name at the broker.
        generation: Of the trading state under which it passed the gate.
    """

    connector: str
    request: OrderRequest
    generation: int


class ModifyIntended(RecordBase, frozen=True, tag=True):
    """A working order is about to be changed to *request*."""

    connector: str
    broker_id: str
    request: OrderRequest


class CancelIntended(RecordBase, frozen=True, tag=True):
    """A working order is about to be withdrawn."""

    connector: str
    broker_id: str
    order_id: str


class OrderChanged(RecordBase, frozen=True, tag=True):
    """An order got to another status."""

    connector: str
    order: Order


class Traded(RecordBase, frozen=True, tag=True):
    """An execution was learnt of; the same ``fill.id`` of one connector counts once.

    Attributes:
        connector: Table of the connector.
        fill: ``order_id`` is Herald's own where the order is.
        rate: Account currency per unit of the symbol's quote currency at that moment.
    """

    connector: str
    fill: Fill
    rate: float = 1.0


class AccountSeen(RecordBase, frozen=True, tag=True):
    """The account as its broker stated it."""

    connector: str
    account: Account


class StateSet(RecordBase, frozen=True, tag=True):
    """Somebody changed what may be traded.

    Attributes:
        scope: ``account``, ``strategy:NAME`` or ``symbol:NAME``.
        state: ``ACTIVE``, ``REDUCING`` or ``HALTED``.
        generation: Of the trading state from now on.
        who: Command, file, signal, watchdog or a component's name.
        why: The reason given; never empty.
    """

    scope: str
    state: str
    generation: int
    who: str
    why: str


class Alerted(RecordBase, frozen=True, tag=True):
    """Something a person must know; *code* is stable."""

    code: str
    text: str


Record: TypeAlias = (
    RunBegan | RunEnded | Intended | ModifyIntended | CancelIntended | OrderChanged | Traded | AccountSeen | StateSet | Alerted
)
"""Everything a journal may hold; encoded as it stands, told apart by its tag."""
