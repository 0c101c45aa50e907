"""What every kind of component does, and the small values that pass between components and Herald.

A component is written against these and nothing else. All methods are synchronous. The engine calls
strategies, sizers, exits, risk checks and observers from one thread; a connector is called by its own
worker only.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec

from herald.clock import Clock
from herald.errors import NotSupported, Problem
from herald.indicators.base import Indicator
from herald.model import (
    Account,
    AccountMode,
    Act,
    Bar,
    BarSeries,
    Charted,
    Done,
    Event,
    Fill,
    FloatArray,
    Instrument,
    Order,
    OrderRequest,
    OrderType,
    PlanInfo,
    Position,
    Quote,
    Record,
    RunState,
    Series,
    Side,
    Timeframe,
    TimeInForce,
    Timer,
    Trade,
    Usage,
)

__all__ = [
    "MISSING",
    "AsyncConnector",
    "AuditTrail",
    "BookView",
    "Cache",
    "Call",
    "Cancel",
    "Capabilities",
    "Close",
    "Command",
    "Connector",
    "Context",
    "Control",
    "Counter",
    "DataFormat",
    "Defect",
    "Denial",
    "ExitRule",
    "Gauge",
    "Handler",
    "Histogram",
    "HistoryConnector",
    "Intent",
    "Journal",
    "Limit",
    "Metrics",
    "MetricsStore",
    "Middleware",
    "Modify",
    "NoMetrics",
    "Observer",
    "Operation",
    "ParsedBars",
    "PlanView",
    "PlannedView",
    "Problem",
    "Protect",
    "RiskCheck",
    "RiskProfile",
    "RiskView",
    "SecretSource",
    "Service",
    "Services",
    "Sizer",
    "Standing",
    "Strategy",
    "Submit",
    "Subscription",
    "check_metric",
]

Kind = TypeVar("Kind", bound=Indicator)
S = TypeVar("S")


# --- values ---------------------------------------------------------------------------------------


class Submit(msgspec.Struct, frozen=True, gc=False):
    """Send this request to the broker.

    Attributes:
        request: What is asked.
        plain: It is a market order, good till cancelled, with nothing attached; a hint for shortcuts.
        permit: The gate's permission to send it, good for one sending; None in a backtest.
    """

    request: OrderRequest
    plain: bool = False
    permit: object = None


class Modify(msgspec.Struct, frozen=True, gc=False):
    """Replace the terms of the working order with the same id.

    Attributes:
        request: The order as it shall be.
        permit: The gate's permission; None in a backtest.
    """

    request: OrderRequest
    permit: object = None


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Withdraw the working order that this request made."""

    request: OrderRequest


Command: TypeAlias = Submit | Modify | Cancel


class Denial(msgspec.Struct, frozen=True):
    """Why a risk check refuses a request.

    Attributes:
        code: Stable and documented, such as ``max_position``; users filter and alert by it.
        text: One line that names the limit and the value.
    """

    code: str
    text: str


class Close(msgspec.Struct, frozen=True):
    """An exit rule closes (part of) a position at market.

    Attributes:
        reason: Becomes the order's tag, such as ``time_based``.
        share: Part of the position as it is now, in (0, 1].
    """

    reason: str
    share: float = 1.0


class Protect(msgspec.Struct, frozen=True):
    """An exit rule wants protective levels on a position; they tighten and never loosen.

    Attributes:
        reason: Becomes the tag of the order that fills.
        stop_loss: Price, or None to leave that side as it is.
        take_profit: Price, or None to leave that side as it is.
    """

    reason: str
    stop_loss: float | None = None
    take_profit: float | None = None


class Intent(msgspec.Struct, frozen=True):
    """A request that states no size, as a sizer sees it.

    Attributes:
        strategy: Who asks.
        symbol: The instrument.
        side: Direction.
        price: Where it would fill as far as is known: its limit or stop, else the last price.
        stop_loss: The protective stop it states, or None.
    """

    strategy: str
    symbol: str
    side: Side
    price: float
    stop_loss: float | None


class RiskProfile(msgspec.Struct, frozen=True):
    """A named list of risk checks that a config may take over and amend.

    Attributes:
        name: What ``[risk_profile] use`` says behind the plugin's name.
        summary: One line.
        checks: (full name, settings) of each check, in order.
    """

    name: str
    summary: str
    checks: tuple[tuple[str, dict[str, Any]], ...]


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a connector can do.

    Attributes:
        trading: It accepts orders.
        history: ``bars`` works.
        streaming: ``subscribe`` and ``poll`` deliver prices.
        order_types: Accepted order types.
        modes: Account modes it may report.
        idempotent_ids: The broker refuses a second request with the same client id.
        own_ids: Its id of an order is the request's id, so an order can be changed before it is confirmed.
        brackets: Stop loss and take profit may be attached to an order.
        modify: Working orders can be changed in place.
        order_events: ``poll`` tells every change of an order; without it Herald concludes from the answers to its calls.
        settle_seconds: After this long an order that is not listed was not accepted.
        lockstep: It plays recorded data and waits for the engine: polls may follow one another without a pause.
        starts_at: Where recorded data begins, nanoseconds UTC; 0 for the present, or where that is not known.
        simulated: Its account is Herald's own: it takes a reduction of any size, and ends protection with the position.
        broker_time: ``Account.time`` is what the broker's own clock showed when it answered, so that clocks can be compared.
    """

    trading: bool = False
    history: bool = False
    streaming: bool = False
    order_types: frozenset[OrderType] = frozenset()
    modes: frozenset[AccountMode] = frozenset()
    idempotent_ids: bool = False
    own_ids: bool = False
    brackets: bool = False
    modify: bool = False
    order_events: bool = False
    settle_seconds: float = 0.0
    lockstep: bool = False
    starts_at: int = 0
    broker_time: bool = False
    simulated: bool = False


class Defect(msgspec.Struct, frozen=True):
    """One thing wrong in a data file.

    Attributes:
        row: Line of the file, 1 is the first; 0 for the file as a whole.
        code: Stable name, such as ``high_below_low``.
        text: What is wrong, with the value.
        remedy: What to do about it.
    """

    row: int
    code: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ParsedBars:
    """What a data format read from one file, before any check of its sense.

    Attributes:
        symbol: As the file states it; empty where it does not.
        row: Line of the file of each bar, shape (n,), 1 is the first line.
        start: **Start** of each bar, shape (n,), nanoseconds of the file's own clock (as if it were UTC).
        open, high, low, close: Shape (n,), quote currency per unit; NaN where the cell could not be read.
        volume: Shape (n,) or None.
        spread: Shape (n,), quote currency per unit, or None; see *spread_points*.
        spread_points: *spread* is in points (price steps) and still has to be multiplied.
        zoned: *start* is true UTC already: the file states its zone.
        defects: What could not be read, in row order; their rows are not among the columns.
        symbols: Symbol of each bar, shape (n,) of str, where one file holds several; None otherwise.
    """

    symbol: str
    row: Any
    start: Any
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray | None = None
    spread: FloatArray | None = None
    spread_points: bool = False
    zoned: bool = False
    defects: tuple[Defect, ...] = ()
    symbols: Any = None


# --- what a component may use ---------------------------------------------------------------------


class Counter(Protocol):
    """A number that only grows."""

    def add(self, value: float = 1.0) -> None:
        """Add *value*, >= 0."""


class Gauge(Protocol):
    """A number that goes up and down."""

    def set(self, value: float) -> None:
        """Set the number."""


class Histogram(Protocol):
    """A distribution of values, such as seconds."""

    def observe(self, value: float) -> None:
        """Count one value."""


class Metrics(Protocol):
    """Makes handles to metrics; a component asks for them once, when it is built.

    Names are ``[a-z][a-z0-9_]*`` with the unit last (``ping_seconds``); a counter, and nothing else, ends in ``_total``.
    Whoever shows them puts ``herald_`` before. *text* says what is counted; labels are fixed for the handle, and their values
    must be few: a symbol or a code, never the id of an order. The same name and labels give the same metric.
    """

    def counter(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Counter:
        """Return the counter *name*."""

    def gauge(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Gauge:
        """Return the gauge *name*."""

    def histogram(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Histogram:
        """Return the histogram *name*."""


_METRIC_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_METRIC_ENDINGS = ("_bucket", "_count", "_created", "_sum")
"""What Prometheus itself appends to the name of a distribution."""


def check_metric(name: str, labels: Mapping[str, str] | None, *, is_counter: bool) -> None:
    """Refuse a metric that could not be shown; every implementation of `Metrics` asks this first.

    Raises:
        ValueError: *name* or a label is no name, or *name* has an ending that stands for something else.
    """
    for one in (name, *(labels or ())):
        if not _METRIC_NAME.match(one):
            raise ValueError(f"{one!r} is no name of a metric or label; use small letters, digits and _")
    if is_counter != name.endswith("_total"):
        hint = f"call it {name}_total" if is_counter else "make it a counter, or call it otherwise"
        raise ValueError(f"metric {name!r}: a counter, and nothing else, ends in _total; {hint}")
    if name.endswith(_METRIC_ENDINGS):
        raise ValueError(f"metric {name!r}: the endings {', '.join(_METRIC_ENDINGS)} are Prometheus' own; choose another")
    if {"le", "quantile"} & set(labels or ()):
        raise ValueError(f"metric {name!r}: the labels le and quantile are Prometheus' own; choose another")


class _Nothing:
    """A handle that counts nothing."""

    def add(self, value: float = 1.0) -> None:
        """Do nothing."""

    def set(self, value: float) -> None:
        """Do nothing."""

    def observe(self, value: float) -> None:
        """Do nothing."""


class NoMetrics:
    """The metrics of a run without a metrics component: nothing is counted, but names and labels are checked."""

    def counter(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Counter:
        """Check *name* and *labels*; return a handle that does nothing."""
        check_metric(name, labels, is_counter=True)
        return _Nothing()

    def gauge(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Gauge:
        """Check *name* and *labels*; return a handle that does nothing."""
        check_metric(name, labels, is_counter=False)
        return _Nothing()

    def histogram(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Histogram:
        """Check *name* and *labels*; return a handle that does nothing."""
        check_metric(name, labels, is_counter=False)
        return _Nothing()


def _no_emit(event: Event) -> None:
    """Drop the event; the default of a component built outside a run."""


def _no_cache(name: str) -> Cache:
    """Refuse: a component built outside a run has no caches."""
    raise NotSupported(f"there is no cache {name!r} outside a run; add [caches.{name}] to the config")


def _no_connector(name: str) -> Connector:
    """Refuse: a component built outside a run has no other connectors."""
    raise NotSupported(f"there is no connector {name!r} outside a run; add [connectors.{name}] to the config")


@dataclass(frozen=True, slots=True)
class Services:
    """What a component may use of the runtime; the same fields for every kind.

    Attributes:
        name: The instance, such as ``connectors.main`` or ``risk[0]``.
        clock: ``now()`` in nanoseconds UTC, ``monotonic()`` in seconds.
        random: Seeded from the config's seed and *name*.
        emit: Hand an event to the observers; thread-safe, never blocks.
        base: Folder that relative paths of the config start from.
        state: Folder of what must survive a restart, relative to *base*; empty for *base* itself.
        cache_folder: Folder for files that can be made again.
        formats: The data formats of the loaded plugins by full name, such as ``files.mt5``.
        metrics: Makes counters, gauges and histograms; without a metrics component they count nothing.
        cache: Returns the cache that ``[caches.NAME]`` describes, by its name.
        connector: Returns the connector that ``[connectors.NAME]`` describes, inside its layers, for a connector that builds on
            it; to other kinds of component it is refused, because whoever holds a connector holds its password.
    """

    name: str
    clock: Clock
    random: random.Random
    emit: Callable[[Event], None] = _no_emit
    base: str = "."
    cache_folder: str = ".herald-cache"
    formats: Mapping[str, DataFormat] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=NoMetrics)
    cache: Callable[[str], Cache] = _no_cache
    connector: Callable[[str], Connector] = _no_connector
    state: str = ""


# --- connectors -----------------------------------------------------------------------------------


class Connector(Protocol):
    """A broker or a source of prices.

    ``connect`` and ``disconnect`` may be called twice. Everything else raises ``NotConnected`` before
    ``connect``, ``NotSupported`` for what the connector does not offer (never an empty answer), and turns
    the broker's failures into the classes of `herald.errors`.
    """

    def connect(self) -> None:
        """Open the connection."""

    def disconnect(self) -> None:
        """Close the connection."""

    def ping(self) -> None:
        """Return if the other side answers; raise otherwise."""

    def capabilities(self) -> Capabilities:
        """Return what this connector can do."""

    def instruments(self) -> Sequence[Instrument]:
        """Return the terms of every symbol on offer, as far as they are known."""

    def account(self) -> Account:
        """Return the account as the broker states it."""

    def positions(self) -> Sequence[Position]:
        """Return the open positions."""

    def open_orders(self) -> Sequence[Order]:
        """Return the working orders."""

    def subscribe(self, feeds: Sequence[tuple[str, Timeframe | None]]) -> None:
        """Ask for bars of (symbol, time frame), or quotes where the time frame is None."""

    def quote(self, symbol: str) -> Quote:
        """Return the last quote."""

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the finished bars that end in ``(start, end]``, nanoseconds UTC; None is no bound."""

    def submit(self, request: OrderRequest) -> str:
        """Send an order; return the broker's id."""

    def modify(self, broker_id: str, request: OrderRequest) -> None:
        """Change a working order to *request*."""

    def cancel(self, broker_id: str) -> None:
        """Withdraw an order; one that is gone already is success."""

    def find(self, client_tag: str, since: int) -> Sequence[Order]:
        """Return the orders with this client tag since a time, working or not."""

    def fills(self, since: int) -> Sequence[Fill]:
        """Return the executions since a time, nanoseconds UTC."""

    def poll(self) -> Sequence[Event]:
        """Return what is new; nothing means nothing new."""


class AsyncConnector(Protocol):
    """A connector whose methods are coroutines; `herald.bridge` makes an ordinary one of it. See `Connector`."""

    async def connect(self) -> None:
        """Open the connection."""

    async def disconnect(self) -> None:
        """Close the connection."""

    async def ping(self) -> None:
        """Return if the other side answers; raise otherwise."""

    def capabilities(self) -> Capabilities:
        """Return what this connector can do."""

    async def instruments(self) -> Sequence[Instrument]:
        """Return the terms of every symbol on offer."""

    async def account(self) -> Account:
        """Return the account as the broker states it."""

    async def positions(self) -> Sequence[Position]:
        """Return the open positions."""

    async def open_orders(self) -> Sequence[Order]:
        """Return the working orders."""

    async def subscribe(self, feeds: Sequence[tuple[str, Timeframe | None]]) -> None:
        """Ask for bars or quotes."""

    async def quote(self, symbol: str) -> Quote:
        """Return the last quote."""

    async def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the finished bars that end in ``(start, end]``."""

    async def submit(self, request: OrderRequest) -> str:
        """Send an order; return the broker's id."""

    async def modify(self, broker_id: str, request: OrderRequest) -> None:
        """Change a working order."""

    async def cancel(self, broker_id: str) -> None:
        """Withdraw an order; one that is gone already is success."""

    async def find(self, client_tag: str, since: int) -> Sequence[Order]:
        """Return the orders with this client tag since a time."""

    async def fills(self, since: int) -> Sequence[Fill]:
        """Return the executions since a time."""

    async def poll(self) -> Sequence[Event]:
        """Return what is new."""


class HistoryConnector:
    """Base for connectors that only have history: give it ``instruments`` and ``bars``."""

    def connect(self) -> None:
        """Do nothing; there is nothing to open."""

    def disconnect(self) -> None:
        """Do nothing; there is nothing to close."""

    def ping(self) -> None:
        """Return; files are always there or fail when they are read."""

    def capabilities(self) -> Capabilities:
        """Return: history, nothing else."""
        return Capabilities(history=True)

    def instruments(self) -> Sequence[Instrument]:
        """Return the terms of every symbol on offer, as far as they are known."""
        return ()

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the finished bars that end in ``(start, end]``."""
        raise NotSupported(f"{type(self).__name__} has no bars of {symbol!r} {timeframe}")

    def _refuse(self, what: str) -> NotSupported:
        return NotSupported(f"{type(self).__name__} has history only; it cannot {what}; name a broker's connector")

    def account(self) -> Account:
        """Raise NotSupported."""
        raise self._refuse("report an account")

    def positions(self) -> Sequence[Position]:
        """Raise NotSupported."""
        raise self._refuse("report positions")

    def open_orders(self) -> Sequence[Order]:
        """Raise NotSupported."""
        raise self._refuse("report orders")

    def subscribe(self, feeds: Sequence[tuple[str, Timeframe | None]]) -> None:
        """Raise NotSupported."""
        raise self._refuse("deliver live prices")

    def quote(self, symbol: str) -> Quote:
        """Raise NotSupported."""
        raise self._refuse("quote a price")

    def submit(self, request: OrderRequest) -> str:
        """Raise NotSupported."""
        raise self._refuse("take an order")

    def modify(self, broker_id: str, request: OrderRequest) -> None:
        """Raise NotSupported."""
        raise self._refuse("change an order")

    def cancel(self, broker_id: str) -> None:
        """Raise NotSupported."""
        raise self._refuse("cancel an order")

    def find(self, client_tag: str, since: int) -> Sequence[Order]:
        """Raise NotSupported."""
        raise self._refuse("find an order")

    def fills(self, since: int) -> Sequence[Fill]:
        """Raise NotSupported."""
        raise self._refuse("report fills")

    def poll(self) -> Sequence[Event]:
        """Raise NotSupported."""
        raise self._refuse("deliver events")


# --- layers around a connector --------------------------------------------------------------------


class Operation(Enum):
    """A method of a connector, with what a layer needs to know of it.

    Attributes:
        method: Its name.
        repeatable: Repeating it changes nothing; only orders and their changes are not.
        cacheable: Its answer may be kept for a while; the key is the operation with its arguments.
    """

    CONNECT = ("connect", True, False)
    PING = ("ping", True, False)
    ACCOUNT = ("account", True, False)
    POSITIONS = ("positions", True, False)
    OPEN_ORDERS = ("open_orders", True, False)
    SUBSCRIBE = ("subscribe", True, False)
    FIND = ("find", True, False)
    FILLS = ("fills", True, False)
    POLL = ("poll", True, False)
    INSTRUMENTS = ("instruments", True, True)
    QUOTE = ("quote", True, True)
    BARS = ("bars", True, True)
    CANCEL = ("cancel", True, False)
    SUBMIT = ("submit", False, False)
    MODIFY = ("modify", False, False)

    __hash__ = object.__hash__  # the hash of Enum is a Python call, paid by every layer that looks something up

    def __init__(self, method: str, repeatable: bool, cacheable: bool) -> None:
        """Keep what the value states."""
        self.method = method
        self.repeatable = repeatable
        self.cacheable = cacheable


class Call(NamedTuple):
    """One call of a connector as a value, on its way through the layers.

    Attributes:
        operation: The method.
        args: Its arguments, in order.
        permit: The gate's permission to send this order; layers hand it on and cannot use it. No part of what is asked.
    """

    operation: Operation
    args: tuple[Any, ...] = ()
    permit: object = None

    @property
    def is_urgent(self) -> bool:
        """Whether it can only make the account safer: a cancel, or an order that only reduces."""
        if self.operation is _SUBMIT:
            return bool(self.args) and getattr(self.args[0], "reduce_only", False) is True
        return self.operation is _CANCEL


# A member of an enum is looked up by a Python call before 3.12; every call to a broker would pay it.
_SUBMIT, _CANCEL = Operation.SUBMIT, Operation.CANCEL


Handler: TypeAlias = Callable[[Call], object]
"""What a layer calls to go on: the next layer, or the connector."""


class Middleware(Protocol):
    """A layer around a connector: sees every call on its way in and every answer or error on its way out.

    It calls ``proceed(call)`` once to go on, not at all to answer itself, or again to repeat - an operation that is not
    ``repeatable`` only after `NotSent`. It may have a method ``tick(proceed)``, which its worker calls between polls, for
    what must happen without a call; one that raises `NotConnected` makes the worker connect again.
    """

    def __call__(self, call: Call, proceed: Handler) -> object:
        """Return the answer to *call*, or raise one of the errors of `herald.errors`."""


class _Missing(Enum):
    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing.MISSING
"""What `Cache.get` answers where there is nothing; None is a value like any other."""


class Cache(Protocol):
    """Keeps values for a while; usable from any thread."""

    def get(self, key: str) -> object:
        """Return the value of *key*, or `MISSING` where there is none or its time is over."""

    def set(self, key: str, value: object, ttl_seconds: float) -> None:
        """Keep *value* for *ttl_seconds*, > 0; what it replaces is gone."""

    def delete(self, key: str) -> None:
        """Forget *key*; one that is not there is left alone."""

    def clear(self) -> None:
        """Forget everything."""


class DataFormat(Protocol):
    """Reads one kind of file with bars."""

    def claims(self, name: str, head: str) -> bool:
        """Return whether a file of this name (compression suffix removed) and first 4,096 characters is of this kind."""

    def parse(self, name: str, data: bytes) -> ParsedBars:
        """Return what the file holds.

        Args:
            name: For messages.
            data: The whole file, decompressed.

        Raises:
            DataError: Nothing can be read from it: empty, no header where one is needed, not of this kind.
        """


# --- strategies -----------------------------------------------------------------------------------


class Context(Protocol):
    """What a strategy sees and may ask; an exit rule sees the same and may only look.

    A symbol that the strategy does not list in its config raises ``ConfigError``; asking for more bars
    than are known raises ``DataError``.
    """

    @property
    def now(self) -> int:
        """The time of the event being handled, nanoseconds UTC."""

    @property
    def strategy(self) -> str:
        """The strategy's name in the config."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the strategy, in config order."""

    @property
    def account(self) -> Account:
        """The account, valued at the last prices."""

    @property
    def random(self) -> random.Random:
        """The strategy's own generator, seeded from the config."""

    def instrument(self, symbol: str) -> Instrument:
        """Return the terms of *symbol*."""

    def position(self, symbol: str) -> Position:
        """Return what this strategy holds of *symbol*."""

    def orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        """Return this strategy's working orders, oldest first."""

    def opens(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* opening prices, shape (n,), oldest first, read-only; the last is the current bar's."""

    def highs(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* highs; see `opens`."""

    def lows(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* lows; see `opens`."""

    def closes(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* closing prices; see `opens`."""

    def volumes(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* volumes; see `opens`."""

    def bars(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> BarSeries:
        """Return the last *n* bars as columns."""

    def indicator(self, indicator: Kind, symbol: str, timeframe: Timeframe | None = None) -> Kind:
        """Return *indicator*, from now on kept current over *symbol*; ask in ``on_start``."""

    def buy(
        self,
        symbol: str,
        size: float | None = None,
        *,
        limit: float | None = None,
        stop: float | None = None,
        stop_loss: float | None = None,
        take_profit: float | None = None,
        time_in_force: TimeInForce = TimeInForce.GTC,
        expires: int | None = None,
        reduce_only: bool = False,
        tag: str = "",
    ) -> Order:
        """Ask to buy.

        Args:
            symbol: The instrument.
            size: Lots; None asks the configured sizer.
            limit: Makes it a limit order (with *stop*: a stop-limit order).
            stop: Makes it a stop order.
            stop_loss: Price of a protective stop to place once filled.
            take_profit: Price of a profit target to place once filled.
            time_in_force: How long it works.
            expires: End of a GTD order, nanoseconds UTC.
            reduce_only: Never opens, adds to or turns a position.
            tag: Free text, kept with the order.

        Returns:
            The order: PENDING, or DENIED or REJECTED with the reason. A refusal does not raise.
        """

    def sell(
        self,
        symbol: str,
        size: float | None = None,
        *,
        limit: float | None = None,
        stop: float | None = None,
        stop_loss: float | None = None,
        take_profit: float | None = None,
        time_in_force: TimeInForce = TimeInForce.GTC,
        expires: int | None = None,
        reduce_only: bool = False,
        tag: str = "",
    ) -> Order:
        """Ask to sell; see `buy`."""

    def target(self, symbol: str, size: float, tag: str = "") -> Order | None:
        """Trade at market so that the position becomes *size* (signed lots), counting working orders.

        Returns:
            The order, or None where nothing is to be done.
        """

    def close(self, symbol: str, tag: str = "") -> Order | None:
        """Close this strategy's position at market and cancel its working entries in *symbol*; None when flat."""

    def cancel(self, order: Order) -> None:
        """Withdraw a working order; one that is gone already is left alone."""

    def modify(
        self,
        order: Order,
        *,
        size: float | None = None,
        limit: float | None = None,
        stop: float | None = None,
        stop_loss: float | None = None,
        take_profit: float | None = None,
    ) -> Order:
        """Change the stated terms of a working order; None leaves a term as it is.

        Returns:
            The order as it shall be, or DENIED with the reason, the working order unchanged.
        """

    def at(self, time: int, tag: str = "") -> None:
        """Ask for ``on_timer`` at *time* (nanoseconds UTC), with the first event at or after it."""

    def log(self, text: str) -> None:
        """Write a line to the observers."""


class Strategy(Generic[S]):
    """Base of a strategy: override what is needed, ask through ``ctx``, touch nothing else.

    Attributes:
        settings: The strategy's own settings, checked.
        services: What it may use of the runtime.
    """

    def __init__(self, settings: S, services: Services) -> None:
        """Keep the settings; a subclass that overrides this calls it."""
        self.settings = settings
        self.services = services

    def warmup(self) -> int:
        """Return how many bars of each series must be known before the first ``on_bar``."""
        return 0

    def on_start(self, ctx: Context) -> None:
        """Prepare: ask for indicators, set timers."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Decide; *bar* has just ended."""

    def on_quote(self, quote: Quote, ctx: Context) -> None:
        """Decide on a quote."""

    def on_order(self, order: Order, ctx: Context) -> None:
        """Learn that an order of this strategy changed its status."""

    def on_fill(self, fill: Fill, ctx: Context) -> None:
        """Learn that an order of this strategy traded; the position has changed already."""

    def on_timer(self, timer: Timer, ctx: Context) -> None:
        """A time asked for with ``ctx.at`` has come."""

    def on_stop(self, ctx: Context) -> None:
        """The run ends; orders asked for here are not sent any more in a backtest."""


# --- sizing, exits, risk --------------------------------------------------------------------------


class BookView(Protocol):
    """Positions and working orders, read-only."""

    def position(self, strategy: str, symbol: str) -> Position:
        """Return what one strategy holds of one symbol."""

    def positions(self) -> Sequence[tuple[str, Position]]:
        """Return (strategy, position) for every open position, in config order."""

    def working(self, strategy: str | None = None, symbol: str | None = None) -> Sequence[Order]:
        """Return the working orders, oldest first."""


class RiskView(BookView, Protocol):
    """What a risk check or a sizer may look at; amounts are in account currency."""

    @property
    def now(self) -> int:
        """The time of the event being handled, nanoseconds UTC."""

    @property
    def account(self) -> Account:
        """The account, valued at the last prices."""

    def entries(self) -> Sequence[Order]:
        """Return the working orders that may open or add to a position: neither reduce-only nor protection."""

    def instrument(self, symbol: str) -> Instrument:
        """Return the terms of *symbol*."""

    def price(self, symbol: str) -> float:
        """Return the last known price, quote currency per unit; NaN before the first."""

    def price_time(self, symbol: str) -> int:
        """Return when that price was known, nanoseconds UTC; 0 before the first."""

    def rate(self, symbol: str) -> float:
        """Return account currency per unit of the symbol's quote currency, at the last prices."""

    def notional(self, symbol: str, size: float) -> float:
        """Return the value of *size* lots (signed) at the last price, account currency."""

    def history(self, symbol: str, n: int) -> BarSeries:
        """Return up to *n* last bars of the symbol's finest series, oldest first; fewer where fewer are known."""

    def orders_since(self, time: int) -> int:
        """Return how many requests went to the broker at or after *time*, over all strategies."""

    def messages_since(self, time: int) -> int:
        """Return how many messages went to the broker at or after *time*: requests, changes and withdrawals together.

        Of changes and withdrawals the last 50,000 are known.
        """

    def equity_peak(self) -> float:
        """Return the highest equity at any moment of the run so far."""

    def equity_at(self, time: int) -> float:
        """Return the equity at the last moment at or before *time*; the starting equity before the first."""

    def reduces(self, request: OrderRequest) -> bool:
        """Return whether *request* can only make the book's position smaller."""

    @property
    def standing(self) -> Standing:
        """How the run stands: journal, disk, clock and account."""

    def trading_state(self, strategy: str, symbol: str) -> str:
        """Return ``ACTIVE``, ``REDUCING`` or ``HALTED``: the strictest of the account, the strategy and the symbol."""

    def is_ready(self, symbol: str) -> bool:
        """Return whether the symbol's connector is connected and reconciled, and no circuit of it is open."""

    def last_quote(self, symbol: str) -> Quote | None:
        """Return the last quote; None where the symbol has only bars."""

    def requests_since(self, time: int) -> Sequence[tuple[int, OrderRequest]]:
        """Return (time, request) of every order that went to the broker at or after *time*, oldest first."""

    def fills_since(self, time: int) -> Sequence[Fill]:
        """Return the executions at or after *time*, oldest first."""

    def trades_since(self, time: int) -> Sequence[Trade]:
        """Return the round trips closed at or after *time*, oldest first, over all strategies."""


class Standing(msgspec.Struct, frozen=True):
    """How a paper or live run stands, as far as a check may care; in a backtest everything is as it should be.

    Attributes:
        journal: Records can be kept.
        disk_free: Bytes left where the journal lies.
        clock_skew: Seconds by which the machine's clock and the broker's differ, >= 0.
        pinned: The account that the broker reports is the one the config names.
        touched: When a person last looked after a strategy and resumed it, nanoseconds UTC, by strategy.
    """

    journal: bool = True
    disk_free: float = math.inf
    clock_skew: float = 0.0
    pinned: bool = True
    touched: Mapping[str, int] = {}


class Sizer(Protocol):
    """Decides the size of a request that states none."""

    def size(self, intent: Intent, view: RiskView) -> float:
        """Return lots, >= 0 and not yet rounded; 0 asks for no order.

        Raises:
            OrderError: The intent lacks what the rule needs, such as a stop loss.
        """


class ExitRule(Protocol):
    """Watches one strategy's open positions; built once a strategy, so it may remember by symbol."""

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | Protect | None:
        """Return what to do with *position*, now that *event* is known; None for nothing.

        Asked once a bar of each series of the symbol, in file order; the first `Close` wins.
        """


class RiskCheck(Protocol):
    """Refuses requests; pure in (request, view)."""

    exempts_reductions: bool
    """A request that can only reduce a position is not asked about. Validity checks set this to False."""

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return why *request* is refused, or None."""


@runtime_checkable
class Limit(Protocol):
    """What a risk check may offer besides: how much of its limit is used, for people who look on."""

    def usage(self, view: RiskView) -> Sequence[Usage]:
        """Return how much of each limit is used now; nothing where it cannot be told."""


class Journal(Protocol):
    """Keeps records on disk, in order, for ever; used from one thread.

    Every record is numbered from 1. A snapshot says what the records up to a number amount to, so that nobody has to read
    them again. It may have an attribute ``path``, the file that it writes: a run looks after the space that is left there.
    """

    @property
    def id(self) -> str:
        """Made once when the journal is; survives backup and restore."""

    def append(self, records: Sequence[Record], *, durable: bool = True) -> int:
        """Add *records*; return the number of the last.

        With *durable* everything appended so far survives a loss of power when this returns; without it, a crash of
        the machine (not of the process) may lose the tail.

        Raises:
            JournalError: They cannot be kept: a full disk, a file that cannot be written; none of them counts.
        """

    def read(self, after: int = 0) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) of every record behind number *after*, in order."""

    def snapshot(self, state: bytes) -> None:
        """Keep *state* as what all records so far amount to."""

    def latest(self) -> tuple[int, bytes] | None:
        """Return (number of the last record it covers, state) of the newest snapshot, or None."""

    def close(self) -> None:
        """Write what is open and close; may be called twice."""


class Observer(Protocol):
    """Hears what happens and changes nothing."""

    events: tuple[type, ...]
    """The event types it wants; a base such as ``SystemEvent`` stands for all below it."""

    def observe(self, event: Event) -> None:
        """Take note of *event*."""

    def close(self) -> None:
        """The run is over; may be called twice."""


class MetricsStore(Metrics, Observer, Protocol):
    """Keeps what a run measures: what components count through its handles, and what it hears as an observer.

    It is built before every other component, so that all of them can ask it for handles.
    """

    def expose(self) -> bytes:
        """Return every metric in Prometheus' text format 0.0.4; called from any thread, also while others count."""


class AuditTrail(Observer, Protocol):
    """Keeps who did what in a way that shows later changes; hears a run like an observer, and is asked before privileged acts."""

    @property
    def trouble(self) -> str:
        """Why decisions about orders cannot be recorded at present; empty where they can."""

    @property
    def doubt(self) -> str:
        """Why a cut end of the record would not show at present; empty where it would."""

    def record(self, who: str, act: str, what: str, why: str = "", result: str = "") -> None:
        """Keep a privileged act for good before it is done, or what came of it.

        Args:
            who: Person, command or part of Herald.
            act: Its kind, such as ``resume``.
            what: What it is done to.
            why: The reason given.
            result: ``asked`` before it is done, ``done`` or ``failed: ...`` after it.

        Raises:
            AuditError: It cannot be kept; the act must not happen, unless it stops something.
        """

    def tick(self) -> None:
        """Write what waits; called about once a second. Failures stand in `trouble` and `doubt`."""


class SecretSource(Protocol):
    """Knows secrets by name; asked when a component is built whose settings say ``secret:NAME``, and never by a component."""

    def get(self, name: str) -> str | None:
        """Return the value of *name*; None where this source has none.

        Raises:
            SecretError: It cannot be asked; then no later source is asked either.
        """

    def place(self, name: str) -> str:
        """Return where *name* is looked for, for a message; the source has been asked before."""


# --- validation -----------------------------------------------------------------------------------


class Subscription(Protocol):
    """What happened since somebody looked, bounded: a slow reader loses the oldest news and is told how many.

    Attributes:
        lost: Events that were dropped because nobody took them in time.
    """

    lost: int

    def take(self, seconds: float = 0.0) -> list[Event | Charted]:
        """Return what happened since the last call, oldest first; wait up to *seconds* for the first.

        A bar comes as `Charted`, with the indicators over it. Of quotes only the last one of every symbol is kept.
        """

    def close(self) -> None:
        """Hear nothing any more."""


class Control(Protocol):
    """A run, as a service sees and steers it; every method may be called from any thread but the engine's."""

    def state(self) -> RunState:
        """Return how the run stood within the last second."""

    def series(self, bars: int) -> Sequence[Series]:
        """Return the last *bars* bars of every series of the run, with the indicators over them.

        Raises:
            WaitTimeout: The run does not answer.
        """

    def plan(self) -> PlanInfo:
        """Return what is run."""

    def fills(self) -> Sequence[Fill]:
        """Return the fills of this run so far, oldest first."""

    def subscribe(self, size: int = 10_000) -> Subscription:
        """Return what happens from now on, at most *size* events at a time."""

    def metrics(self) -> bytes:
        """Return every metric in Prometheus' text format; empty where nothing is measured."""

    def do(self, act: Act, who: str, why: str) -> Done:
        """Do *act* in the name of *who*, through the same checks as every strategy, and return what came of it.

        Nothing happens that cannot be recorded first, but stops: those are recorded afterwards.
        Refusals are answers, never exceptions.
        """


class Service(Protocol):
    """Something that looks at a run from outside, or steers it; it must not do work in the run's own threads."""

    def start(self, control: Control) -> None:
        """Begin; return at once. Called when the run's connectors are known, before it trades.

        Raises:
            ConfigError: It cannot work; then the run does not begin.
        """

    def stop(self) -> None:
        """End, within a few seconds; it may be called twice, and without `start`."""


class PlannedView(Protocol):
    """One component that the config chose."""

    @property
    def name(self) -> str:
        """The instance: ``connectors.main``, ``risk[0]``."""

    @property
    def use(self) -> str:
        """The full component name, such as ``risk.max_position``."""

    @property
    def settings(self) -> Any:
        """Its checked settings."""


class PlanView(Protocol):
    """A whole configuration after every table was checked by itself."""

    @property
    def mode(self) -> str:
        """``backtest``, ``paper`` or ``live``."""

    @property
    def base(self) -> str:
        """The folder of the config file."""

    def chosen(self, kind: str) -> Sequence[PlannedView]:
        """Return the components of one kind: connector, middleware, cache, strategy, sizer, risk, exit or observer."""

    def feeds(self, connector: str) -> Sequence[tuple[str, Timeframe]]:
        """Return the (symbol, time frame) pairs that strategies take from a connector (its table name)."""

    def layers(self, connector: str) -> Sequence[PlannedView]:
        """Return the middleware of a connector (its table name), outermost first."""
