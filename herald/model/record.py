"""What the journal keeps of a paper or live run: what was about to be done with money, and what came of it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from herald.model.account import Account
from herald.model.order import Fill, Order, OrderRequest

__all__ = [
    "AccountSeen",
    "Adopted",
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


class Adopted(RecordBase, frozen=True, tag=True):
    """What a book holds that somebody else's trades fill: a position that Herald did not open and looks after.

    Attributes:
        connector: Table of the connector.
        strategy: Name of the book.
        symbol: The instrument.
        size: Lots, signed, that it holds from now on; 0 where the position is gone.
        price: Mean entry price as the broker states it.
        opened: When it was opened, nanoseconds UTC.
        tickets: Lots, signed, by ticket, on a hedging account.
        profit: Of what others closed of it since, at the price of that moment, account currency.
    """

    connector: str
    strategy: str
    symbol: str
    size: float
    price: float
    opened: int
    tickets: dict[str, float] = {}
    profit: float = 0.0


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
    RunBegan
    | RunEnded
    | Intended
    | ModifyIntended
    | CancelIntended
    | OrderChanged
    | Traded
    | Adopted
    | AccountSeen
    | StateSet
    | Alerted
)
"""Everything a journal may hold; encoded as it stands, told apart by its tag."""
