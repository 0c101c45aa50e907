"""A connector to the simulated broker of `herald.testing.simbroker`, and the example for authors of connectors.

What to learn from it. Every call has one deadline, from the first byte out to the last byte in. After anything unexpected
the connection is closed, because an answer that comes late must never be taken for that of the next call. And what
went wrong is said by where it went wrong:

- nothing was written: `NotSent`, which proves that the broker did not get it;
- something was written and no answer came: `AmbiguousError` where the broker may have acted, `TransientError` where it
  was only asked;
- the broker said no: `RejectedError` with its code;
- there is no connection: `NotConnected`. This connector never connects by itself: whoever uses it decides when.

A connector states orders and executions under the broker's names: the client tag where the broker keeps it, its own
number otherwise. Herald knows which of its orders that is.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from pydantic import AfterValidator, Field, SecretStr

from herald.clock import Clock
from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Capabilities, Connector
from herald.errors import (
    AmbiguousError,
    ConnectorError,
    DataError,
    NotConnected,
    NotSent,
    NotSupported,
    RejectedError,
    TransientError,
)
from herald.model import (
    Account,
    AccountMode,
    Bar,
    BarSeries,
    Event,
    Fill,
    Instrument,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Position,
    Quote,
    Side,
    Timeframe,
    TimeInForce,
)

__all__ = ["SimBrokerConnector", "SimBrokerSettings", "herald_connectors"]

T = TypeVar("T")

_VERSION = 1
_MAX_FRAME = 1 << 20
_PAGE = 5_000
"""Deals or bars that the broker gives at once; fewer mean that there are no more."""
_CHANGES = ("submit", "modify", "cancel")
"""Requests that change something at the broker: without an answer nobody knows whether they did."""
_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP})


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (host and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65_536):
        raise ValueError(f"{text!r} is no address; write host:port, such as 127.0.0.1:5005")
    return text


class SimBrokerSettings(Settings):
    """Settings of `SimBrokerConnector`."""

    address: Annotated[str, AfterValidator(_address)]
    """Where the broker listens, ``host:port``."""
    token: SecretStr
    """What the broker knows this client by."""
    account: str = ""
    """Number of the account; the login is refused if the broker has another one. Any where it is empty."""
    symbols: tuple[str, ...] = ()
    """Symbols to offer; all that the broker has where none is named."""
    timeout_seconds: float = Field(default=5.0, gt=0)
    """Longest time from sending a request to the end of its answer."""
    connect_timeout_seconds: float = Field(default=2.0, gt=0)
    """Longest time for a connection to come about; the login has `timeout_seconds` besides."""


# --- what the broker sends ------------------------------------------------------------------------


class _Greeting(msgspec.Struct):
    account: str
    currency: str
    mode: AccountMode
    idempotent: bool
    settle_seconds: float
    book: str
    sequence: int
    time: int


class _Entry(msgspec.Struct):
    number: int
    tag: str
    symbol: str
    side: Side
    size: float
    type: OrderType
    price: float | None
    stop_loss: float | None
    take_profit: float | None
    time_in_force: TimeInForce
    expires: int | None
    reduce_only: bool
    position: int
    parent: int
    parent_tag: str
    status: OrderStatus
    filled: float
    average: float
    changed: int
    code: str
    text: str


class _Deal(msgspec.Struct):
    number: int
    order: int
    tag: str
    symbol: str
    side: Side
    size: float
    price: float
    fee: float
    position: int
    time: int
    type: str = ""
    parent: int = 0
    parent_tag: str = ""


class _Holding(msgspec.Struct):
    ticket: int
    symbol: str
    size: float
    average: float
    realized: float
    opened: int


class _Candle(msgspec.Struct, array_like=True):
    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class _Refusal(msgspec.Struct):
    code: str
    text: str


class _Submitted(msgspec.Struct):
    order: int


class _News(msgspec.Struct):
    news: list[tuple[int, str, dict[str, Any]]]
    bars: list[tuple[str, int, _Candle]]
    quotes: list[Quote]
    time: int


# --- the line -------------------------------------------------------------------------------------


class _Line:
    """A connection on which one request after the other is answered; any failure closes it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._socket: socket.socket | None = None
        self._number = 0  # goes on over connections, so that no number is ever used twice

    @property
    def is_open(self) -> bool:
        """Return whether there is a connection, as far as is known."""
        return self._socket is not None

    def open(self, address: str, seconds: float) -> None:
        """Connect.

        Raises:
            NotSent: The broker is not there; nothing was said to anybody.
        """
        host, _, port = address.rpartition(":")
        try:
            self._socket = socket.create_connection((host, int(port)), timeout=seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, UnicodeError) as error:  # a name that cannot be one of a host is a UnicodeError
            self.close()
            raise NotSent(f"no connection to the broker at {address}: {_words(error)}") from error

    def close(self) -> None:
        """Close the connection, if there is one."""
        sock, self._socket = self._socket, None
        if sock is not None:
            with suppress(OSError):  # the other side may be gone; there is nothing to do about it
                sock.close()

    def ask(self, operation: str, given: dict[str, Any], answer: type[T], seconds: float) -> T:
        """Send a request and return its answer, all within *seconds*.

        Raises:
            NotConnected: There is no connection.
            NotSent: Nothing of the request left.
            AmbiguousError: No answer to a request that changes something.
            TransientError: No answer to a question; or the broker did nothing for now.
            RejectedError: The broker refused.
        """
        sock = self._socket
        if sock is None:
            raise NotConnected(f"not connected to the broker; {operation} was not sent; call connect() first")
        end = self._clock.monotonic() + seconds
        self._number += 1
        body = msgspec.json.encode([self._number, operation, given])
        try:
            self._send(sock, struct.pack(">I", len(body)) + body, end)
            number, is_good, result = self._receive(sock, end)
            if number != self._number:
                raise ConnectionError(f"the answer is to request {number!r}, not {self._number}")
            if not is_good:
                refusal = msgspec.convert(result, _Refusal)
            else:
                return msgspec.convert(result, answer)
        except NotSent:
            self.close()
            raise
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            self.close()
            lost = AmbiguousError if operation in _CHANGES else TransientError
            raise lost(f"no answer to {operation}: {_words(error)}; the connection was closed") from error
        except BaseException:
            self.close()  # interrupted half-way: what comes in later would be taken for another answer
            raise
        if refusal.code == "busy":
            raise TransientError(f"the broker is busy: {refusal.text}")
        raise RejectedError(refusal.code, refusal.text)

    def _send(self, sock: socket.socket, data: bytes, end: float) -> None:
        """Write *data*; `NotSent` says that not one byte of it went."""
        rest = memoryview(data)
        try:
            self._check_quiet(sock)
            while rest:
                sock.settimeout(self._left(end))
                rest = rest[sock.send(rest) :]
        except OSError as error:
            if len(rest) == len(data):
                raise NotSent(f"the connection to the broker is gone: {_words(error)}; nothing was sent") from error
            raise

    def _check_quiet(self, sock: socket.socket) -> None:
        """Find out before writing whether the other side has hung up; between calls nothing may come from it."""
        sock.setblocking(False)
        try:
            stray = sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        raise ConnectionError("the broker sent what nobody asked for" if stray else "the broker closed it")

    def _receive(self, sock: socket.socket, end: float) -> tuple[int, bool, Any]:
        (length,) = struct.unpack(">I", self._exactly(sock, 4, end))
        if not 0 < length <= _MAX_FRAME:
            raise ValueError(f"the answer claims to have {length} bytes")
        return msgspec.json.decode(self._exactly(sock, length, end), type=tuple[int, bool, Any])

    def _exactly(self, sock: socket.socket, count: int, end: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            sock.settimeout(self._left(end))
            part = sock.recv(count - len(data))
            if not part:
                raise ConnectionError("the broker closed the connection")
            data += part
        return bytes(data)

    def _left(self, end: float) -> float:
        """Return the time that is left, > 0, so that a slow drip cannot stretch a call."""
        left = end - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


def _words(error: BaseException) -> str:
    """Return an error as one line."""
    return " ".join((str(error) or type(error).__name__).split())


# --- the connector --------------------------------------------------------------------------------


class SimBrokerConnector:
    """Trades at a simulated broker."""

    def __init__(self, settings: SimBrokerSettings, services: Services) -> None:
        """Keep the settings; nothing is opened before `connect`."""
        self._settings = settings
        self._line = _Line(services.clock)
        self._greeting: _Greeting | None = None
        self._feeds: tuple[tuple[str, Timeframe | None], ...] = ()
        self._after = 0
        self._since = 0

    def _ask(self, operation: str, answer: type[T], **given: Any) -> T:
        return self._line.ask(operation, given, answer, self._settings.timeout_seconds)

    # --- connection -------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open the connection and log in; nothing happens where it stands already.

        Raises:
            NotSent: The broker cannot be reached.
            TransientError: It did not answer the login.
            RejectedError: It refused the login.
        """
        if self._line.is_open:
            return
        settings = self._settings
        self._line.open(settings.address, settings.connect_timeout_seconds)
        token = settings.token.get_secret_value()
        try:
            greeting = self._ask("hello", _Greeting, version=_VERSION, token=token, account=settings.account)
        except ConnectorError:
            self._line.close()
            raise
        if self._greeting is None or self._greeting.book != greeting.book:
            # News goes on where it was left, also over a lost connection; the news of another book is other news.
            self._after, self._since = greeting.sequence, greeting.time
        self._greeting = greeting

    def disconnect(self) -> None:
        """Close the connection; nothing happens where there is none."""
        self._line.close()

    def ping(self) -> None:
        """Return if the broker answers."""
        self._ask("ping", dict[str, Any])

    def capabilities(self) -> Capabilities:
        """Return what the broker can do; before the first login, what any of its kind can, with the most careful promises."""
        known = self._greeting
        return Capabilities(
            trading=True,
            history=True,
            streaming=True,
            order_types=_TYPES,
            modes=frozenset(AccountMode) if known is None else frozenset({known.mode}),
            idempotent_ids=known is not None and known.idempotent,
            brackets=True,
            modify=True,
            settle_seconds=30.0 if known is None else known.settle_seconds,
            broker_time=True,
        )

    # --- questions --------------------------------------------------------------------------------

    def instruments(self) -> Sequence[Instrument]:
        """Return the terms of the symbols of the settings, or of all.

        Raises:
            DataError: The broker lacks one of them.
        """
        known = {one.symbol: one for one in self._ask("instruments", list[Instrument])}
        for symbol in self._settings.symbols:
            if symbol not in known:
                raise DataError(f"the broker has no symbol {symbol!r}; it has {', '.join(known)}; correct the list symbols")
        return tuple(known[symbol] for symbol in self._settings.symbols or known)

    def account(self) -> Account:
        """Return the account as the broker states it."""
        return self._ask("account", Account)

    def positions(self) -> Sequence[Position]:
        """Return the open positions, one for each ticket."""
        return tuple(
            Position(one.symbol, one.size, one.average, one.realized, one.opened, (str(one.ticket),))
            for one in self._ask("positions", list[_Holding])
        )

    def open_orders(self) -> Sequence[Order]:
        """Return the working orders, protective ones included."""
        return tuple(_order(one) for one in self._ask("orders", list[_Entry]))

    def find(self, client_tag: str, since: int) -> Sequence[Order]:
        """Return the orders with this tag, working or over, that were placed or changed since a time."""
        return tuple(_order(one) for one in self._ask("find", list[_Entry], tag=client_tag, since=since))

    def fills(self, since: int) -> Sequence[Fill]:
        """Return the executions at or after a time, nanoseconds UTC."""
        fills: list[Fill] = []
        while True:
            after = int(fills[-1].id) if fills else 0
            page = self._ask("deals", list[_Deal], since=since, after=after, limit=_PAGE)
            fills += [self._fill(one) for one in page]
            if len(page) < _PAGE:
                return tuple(fills)

    # --- prices -----------------------------------------------------------------------------------

    def quote(self, symbol: str) -> Quote:
        """Return the last quote."""
        return self._ask("quote", Quote, symbol=symbol)

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the finished bars that end in ``(start, end]``, nanoseconds UTC; None is no bound."""
        candles: list[_Candle] = []
        while True:
            after = candles[-1].time if candles else start
            page = self._ask("bars", list[_Candle], symbol=symbol, seconds=timeframe.seconds, start=after, end=end)
            candles += page
            if len(page) < _PAGE:
                break
        columns = np.array([msgspec.structs.astuple(one)[1:] for one in candles], dtype=np.float64).reshape(-1, 5).T
        time = np.array([one.time for one in candles], dtype=np.int64)
        return BarSeries(symbol, timeframe.span, time, *columns)

    def subscribe(self, feeds: Sequence[tuple[str, Timeframe | None]]) -> None:
        """Let `poll` deliver these; what ended while there was no connection is delivered after it."""
        for symbol, timeframe in feeds:
            if timeframe is None:
                self.quote(symbol)
            else:  # a feed that the broker does not have is refused here, not in every poll
                now = self._since
                self._ask("bars", list[_Candle], symbol=symbol, seconds=timeframe.seconds, start=now, end=now)
        self._feeds = tuple(feeds)

    def poll(self) -> Sequence[Event]:
        """Return what is new: orders and executions in the broker's order, then bars by time, then quotes.

        The broker is told what was dealt with only by the next poll, so one that fails has lost nothing.
        """
        feeds = [(symbol, None if timeframe is None else timeframe.seconds) for symbol, timeframe in self._feeds]
        answer = self._ask("poll", _News, after=self._after, since=self._since, feeds=feeds)
        events: list[Event] = [self._event(kind, body) for _, kind, body in answer.news]
        bars = [_bar(symbol, seconds, one) for symbol, seconds, one in answer.bars]
        events += sorted(bars, key=lambda bar: bar.time)  # bars of one time stay in the order of the feeds
        events += answer.quotes
        # Only now: whatever failed above leaves everything to the next poll.
        self._after = max((sequence for sequence, _, _ in answer.news), default=self._after)
        self._since = answer.time
        return tuple(events)

    def _event(self, kind: str, body: dict[str, Any]) -> Event:
        try:
            return self._fill(msgspec.convert(body, _Deal)) if kind == "deal" else _order(msgspec.convert(body, _Entry))
        except msgspec.ValidationError as error:
            raise TransientError(f"news of the broker cannot be read: {_words(error)}") from error

    def _fill(self, deal: _Deal) -> Fill:
        known = self._greeting
        return Fill(
            id=str(deal.number),
            order_id=deal.tag or _protection(deal.type, deal.parent, deal.parent_tag) or str(deal.order),
            symbol=deal.symbol,
            side=deal.side,
            size=deal.size,
            price=deal.price,
            fee=deal.fee,
            fee_currency="" if known is None else known.currency,
            time=deal.time,
            position=str(deal.position) if known is not None and known.mode is AccountMode.HEDGING else "",
        )

    # --- orders -----------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> str:
        """Send an order under its client tag (its id where it has none); return the broker's number.

        Raises:
            NotSupported: The broker has no orders of this type.
            NotSent: It provably did not leave.
            AmbiguousError: It may have arrived.
            RejectedError: The broker refused it.
        """
        if request.type not in _TYPES:
            raise NotSupported(f"the broker has no {request.type} orders (order {request.id}); it has market, limit and stop")
        answer = self._ask(
            "submit",
            _Submitted,
            tag=request.client_tag or request.id,
            symbol=request.symbol,
            side=request.side,
            size=request.size,
            type=request.type,
            price=_price(request),
            stop_loss=request.stop_loss,
            take_profit=request.take_profit,
            time_in_force=request.time_in_force,
            expires=request.expires,
            reduce_only=request.reduce_only,
            position=0 if request.position is None else _number(request.position),
        )
        return str(answer.order)

    def modify(self, broker_id: str, request: OrderRequest) -> None:
        """Change a working order, or the protection of what it opened, to *request*.

        Raises:
            NotSent: It provably did not leave.
            AmbiguousError: It may have arrived.
            RejectedError: The broker refused it.
        """
        self._ask(
            "modify",
            dict[str, Any],
            order=_number(broker_id),
            size=request.size,
            price=_price(request),
            stop_loss=request.stop_loss,
            take_profit=request.take_profit,
            expires=request.expires,
        )

    def cancel(self, broker_id: str) -> None:
        """Withdraw an order; one that is gone already is success.

        Raises:
            NotSent: It provably did not leave.
            AmbiguousError: It may have arrived.
        """
        self._ask("cancel", dict[str, Any], order=_number(broker_id))


def _number(broker_id: str) -> int:
    """Return a ticket as the broker writes it; what cannot be one becomes -1, which names nothing, for 0 means "none"."""
    return (int(broker_id) if broker_id.isdecimal() else 0) or -1


def _price(request: OrderRequest) -> float | None:
    return request.stop if request.type is OrderType.STOP else request.limit


def _bar(symbol: str, seconds: int, one: _Candle) -> Bar:
    span = Timeframe(seconds).span
    return Bar(symbol, one.time, span, one.open, one.high, one.low, one.close, one.volume)


def _protection(kind: str, parent: int, parent_tag: str) -> str:
    """Return the name of a protective order, after what it protects; empty where it protects nothing."""
    return f"{parent_tag or parent}.{'sl' if kind == OrderType.STOP else 'tp'}" if parent else ""


def _order(entry: _Entry) -> Order:
    """Return an order of the broker's as Herald states it.

    A protective order that the broker made is named after the order that it protects, as Herald would name it.
    """
    is_stop = entry.type is OrderType.STOP
    parent = (entry.parent_tag or str(entry.parent)) if entry.parent else ""
    own = entry.tag or _protection(entry.type, entry.parent, entry.parent_tag) or str(entry.number)
    request = OrderRequest(
        id=own,
        strategy="",
        symbol=entry.symbol,
        side=entry.side,
        size=entry.size,
        type=entry.type,
        limit=entry.price if entry.type is OrderType.LIMIT else None,
        stop=entry.price if is_stop else None,
        stop_loss=entry.stop_loss,
        take_profit=entry.take_profit,
        time_in_force=entry.time_in_force,
        expires=entry.expires if entry.time_in_force is TimeInForce.GTD else None,
        reduce_only=entry.reduce_only,
        position=str(entry.position) if entry.position else None,
        parent=parent,
        client_tag=entry.tag,
    )
    return Order(
        request=request,
        status=entry.status,
        time=entry.changed,
        broker_id=str(entry.number),
        filled=entry.filled,
        average_price=entry.average if entry.filled else math.nan,
        code=entry.code,
        reason=entry.text,
    )


@hookimpl
def herald_connectors() -> Iterable[Component[Connector]]:
    """Offer the connector."""
    yield component("simbroker", SimBrokerSettings, SimBrokerConnector, "The simulated broker of herald.testing.simbroker.")
