"""Orders: what is asked, how far it got, and what was traded."""

from __future__ import annotations

import math
from enum import IntEnum, StrEnum

import msgspec

from herald.errors import OrderError

__all__ = ["Fill", "Order", "OrderRequest", "OrderStatus", "OrderType", "Side", "TimeInForce"]


class Side(IntEnum):
    """The direction of a trade; ``side * size`` is the signed size."""

    BUY = 1
    SELL = -1


class OrderType(StrEnum):
    """When an order may be filled."""

    __hash__ = str.__hash__  # the hash of Enum is a Python call, paid on every look-up in the order path

    MARKET = "market"
    """At once, at the price there is."""
    LIMIT = "limit"
    """At the limit price or better."""
    STOP = "stop"
    """As a market order once the stop price is reached."""
    STOP_LIMIT = "stop_limit"
    """As a limit order once the stop price is reached."""


class TimeInForce(StrEnum):
    """How long an order works."""

    GTC = "gtc"
    """Until cancelled."""
    DAY = "day"
    """Until the end of the UTC day in which it was placed."""
    GTD = "gtd"
    """Until the request's ``expires``."""
    IOC = "ioc"
    """At the next opportunity, whatever is possible; the rest is cancelled."""
    FOK = "fok"
    """At the next opportunity, wholly or not at all."""


class OrderStatus(StrEnum):
    """How far an order got."""

    __hash__ = str.__hash__  # see OrderType

    PENDING = "pending"
    """Accepted by Herald, not yet sent."""
    SENT = "sent"
    """On its way; no answer yet."""
    ACCEPTED = "accepted"
    """Working at the broker."""
    PARTIAL = "partial"
    """Working, part of it filled."""
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    """Refused by the broker."""
    DENIED = "denied"
    """Refused by Herald before it was sent; ``Order.code`` says by which check."""
    UNKNOWN = "unknown"
    """It may or may not have reached the broker."""
    ABANDONED = "abandoned"
    """An UNKNOWN order that policy gave up on."""


_WORKING = frozenset({OrderStatus.PENDING, OrderStatus.SENT, OrderStatus.ACCEPTED, OrderStatus.PARTIAL, OrderStatus.UNKNOWN})
_ENDS = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED, OrderStatus.UNKNOWN})
_FILLED, _PARTIAL = OrderStatus.FILLED, OrderStatus.PARTIAL
_NEXT = {
    OrderStatus.PENDING: _ENDS | {OrderStatus.SENT, OrderStatus.ACCEPTED, OrderStatus.PARTIAL, OrderStatus.DENIED},
    OrderStatus.SENT: _ENDS | {OrderStatus.ACCEPTED, OrderStatus.PARTIAL, OrderStatus.DENIED},
    OrderStatus.ACCEPTED: _ENDS | {OrderStatus.PARTIAL, OrderStatus.ACCEPTED},
    OrderStatus.PARTIAL: _ENDS | {OrderStatus.PARTIAL},
    OrderStatus.UNKNOWN: _ENDS | {OrderStatus.ACCEPTED, OrderStatus.PARTIAL, OrderStatus.ABANDONED},
}


class OrderRequest(msgspec.Struct, frozen=True, gc=False):
    """What a strategy asks of a broker.

    Attributes:
        id: Deterministic name, ``STRATEGY-NNNNNN``; a bracket's two orders add ``.sl`` and ``.tp``.
        strategy: Who asks; names the book that owns the fills.
        symbol: The instrument.
        side: Direction.
        size: Lots, > 0, a whole number of steps.
        type: When it may be filled.
        limit: Limit price, quote currency per unit; None unless *type* needs one.
        stop: Stop price; None unless *type* needs one.
        stop_loss: Price of the protective stop to place when this order fills; None for none.
        take_profit: Price of the profit target to place when this order fills; None for none.
        time_in_force: How long it works.
        expires: End of a GTD order, nanoseconds UTC; None otherwise.
        reduce_only: Never opens, adds to or turns a position.
        position: The broker's ticket to close on a hedging account; None for the book's position.
        tag: Free text of the strategy or the exit that asked.
        parent: The order whose fill this one protects; empty for none.
        client_tag: Its name at the broker, at most 20 characters; empty until it is sent.
    """

    id: str
    strategy: str
    symbol: str
    side: Side
    size: float
    type: OrderType = OrderType.MARKET
    limit: float | None = None
    stop: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires: int | None = None
    reduce_only: bool = False
    position: str | None = None
    tag: str = ""
    parent: str = ""
    client_tag: str = ""


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One execution.

    Attributes:
        id: The broker's name for it; the same id is applied once.
        order_id: The request's id; as a connector states it, the client tag where the broker keeps it, else the broker's
            number of the order, else empty.
        symbol: The instrument.
        side: Direction.
        size: Lots, > 0.
        price: Quote currency per unit.
        fee: Commission, in *fee_currency*, >= 0 where it costs.
        fee_currency: Usually the account currency.
        time: When it happened, nanoseconds UTC.
        swap: Interest charged with it, account currency.
        position: Ticket of the position that it opened or changed, on a hedging account; empty otherwise.
    """

    id: str
    order_id: str
    symbol: str
    side: Side
    size: float
    price: float
    fee: float
    fee_currency: str
    time: int
    swap: float = 0.0
    position: str = ""


class Order(msgspec.Struct, frozen=True, gc=False):
    """A request and how far it got; every change is a new value.

    Attributes:
        request: What was asked.
        status: How far it got.
        time: When it got there, nanoseconds UTC.
        broker_id: The broker's ticket; empty until there is one.
        filled: Lots traded so far.
        average_price: Mean price of those lots, quote currency per unit; NaN while *filled* is 0.
        code: Stable code of a refusal; empty otherwise.
        reason: The same in words.
    """

    request: OrderRequest
    status: OrderStatus
    time: int
    broker_id: str = ""
    filled: float = 0.0
    average_price: float = math.nan
    code: str = ""
    reason: str = ""

    @property
    def id(self) -> str:
        """Return the request's id."""
        return self.request.id

    @property
    def is_working(self) -> bool:
        """Return whether it may still be filled."""
        return self.status in _WORKING

    @property
    def remaining(self) -> float:
        """Return the lots not yet traded."""
        return round(self.request.size - self.filled, 10)

    def after(self, fill: Fill) -> Order:
        """Return this order with *fill* applied.

        Raises:
            OrderError: The order is at an end, or *fill* is larger than what remains.
        """
        before = self.filled
        filled = round(before + fill.size, 10)
        size = self.request.size
        if filled > size or self.status not in _WORKING:
            raise OrderError(f"order {self.id} is {self.status} with {before} of {size} filled; it cannot take {fill.size} more")
        average = fill.price if before == 0 else (self.average_price * before + fill.price * fill.size) / filled
        return Order(self.request, _FILLED if filled == size else _PARTIAL, fill.time, self.broker_id, filled, average)

    def with_fill(self, fill: Fill) -> Order:
        """Return this order with *fill* applied, whatever its status and size: what was traded was traded.

        A working order becomes PARTIAL or FILLED as in `after`; one that had ended keeps its status unless it is filled
        now. A broker that trades more than was asked for is believed, and so is one that takes a trade back: an execution
        the other way round makes less of what was filled.
        """
        before = self.filled
        if fill.side is not self.request.side:
            left = max(round(before - fill.size, 10), 0.0)
            status = _PARTIAL if left and self.status is _FILLED else self.status
            return Order(self.request, status, fill.time, self.broker_id, left, self.average_price, self.code, self.reason)
        filled = round(before + fill.size, 10)
        average = fill.price if before == 0 else (self.average_price * before + fill.price * fill.size) / filled
        if filled >= self.request.size:
            status = _FILLED
        else:
            status = _PARTIAL if self.status in _WORKING or self.status is OrderStatus.ABANDONED else self.status
        return Order(self.request, status, fill.time, self.broker_id, filled, average, self.code, self.reason)

    def with_status(self, status: OrderStatus, time: int, code: str = "", reason: str = "", broker_id: str = "") -> Order:
        """Return this order in another status.

        Raises:
            OrderError: It cannot go there from where it is.
        """
        if status not in _NEXT.get(self.status, ()):
            raise OrderError(f"order {self.id} cannot go from {self.status} to {status}")
        return Order(self.request, status, time, broker_id or self.broker_id, self.filled, self.average_price, code, reason)
