"""What passes between a worker, the journal thread and the engine thread: values only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from herald.model import Account, Fill, Order, OrderRequest, OrderStatus, Position

__all__ = [
    "Acknowledge",
    "Ask",
    "CancelOrder",
    "ChangeOrder",
    "Found",
    "Job",
    "Look",
    "Outcome",
    "SendOrder",
    "Snapshot",
]


class SendOrder(msgspec.Struct, frozen=True, gc=False):
    """Send an order; what the engine's gate let through.

    Attributes:
        request: What is asked, with its client tag.
        permit: The gate's one-use permission for exactly this request.
        expires: When it is too late to send it, seconds of the worker's monotonic clock.
    """

    request: OrderRequest
    permit: object
    expires: float


class ChangeOrder(msgspec.Struct, frozen=True, gc=False):
    """Change a working order to *request*."""

    broker_id: str
    request: OrderRequest
    permit: object
    expires: float


class CancelOrder(msgspec.Struct, frozen=True, gc=False):
    """Withdraw a working order."""

    broker_id: str
    order_id: str


class Look(msgspec.Struct, frozen=True, gc=False):
    """Take a `Snapshot` of the account, now."""

    since: int


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Look for the order of one client tag."""

    order_id: str
    client_tag: str
    since: int


class Acknowledge(msgspec.Struct, frozen=True, gc=False):
    """The engine has dealt with everything delivered up to *number*."""

    number: int


Job: TypeAlias = SendOrder | ChangeOrder | CancelOrder | Look | Ask | Acknowledge
"""What a worker is asked to do."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What came of a job for one order.

    Attributes:
        time: When it was known, nanoseconds UTC.
        order_id: The order.
        action: ``submit``, ``modify`` or ``cancel``.
        status: Where the order is now; None where a change or a cancel leaves it where it was, UNKNOWN where nobody knows
            whether it did.
        broker_id: The broker's ticket, where one was given.
        code: Stable code of a refusal or of what is unknown.
        text: The same in words.
    """

    time: int
    order_id: str
    action: str
    status: OrderStatus | None
    broker_id: str = ""
    code: str = ""
    text: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    """The account as its broker states it, all asked for in one go.

    Attributes:
        time: When the questions began, nanoseconds UTC.
        account: Balance and margin.
        positions: Open positions.
        orders: Working orders.
        fills: Executions since the time asked for.
        first: It is the first after a connection was made.
    """

    time: int
    account: Account
    positions: Sequence[Position]
    orders: Sequence[Order]
    fills: Sequence[Fill]
    first: bool = False


class Found(msgspec.Struct, frozen=True):
    """The answer to `Ask`: every order the broker knows under the client tag, working or not.

    Attributes:
        time: When it was asked, nanoseconds UTC.
        order_id: The order.
        orders: What the broker knows.
        asked: When it was asked, seconds of the worker's monotonic clock.
    """

    time: int
    order_id: str
    orders: Sequence[Order]
    asked: float = 0.0
