"""What every kind of component does, and the small values that pass between components and Herald.

A component is written against these and nothing else. All methods are synchronous. The engine calls
strategies, sizers, exits, risk checks and observers from one thread; a connector is called by its own
worker only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from herald.clock import Clock
from herald.errors import NotSupported, Problem
from herald.indicators.base import Indicator
from herald.model import (
    Account,
    AccountMode,
    Bar,
    BarSeries,
    Event,
    Fill,
    FloatArray,
    Instrument,
    Order,
    OrderRequest,
    OrderType,
    Position,
    Quote,
    Side,
    Timeframe,
    TimeInForce,
    Timer,
)

__all__ = [
    "BookView",
    "Cancel",
    "Capabilities",
    "Close",
    "Command",
    "Connector",
    "Context",
    "DataFormat",
    "Defect",
    "Denial",
    "ExitRule",
    "HistoryConnector",
    "Intent",
    "Modify",
    "Observer",
    "ParsedBars",
    "PlanView",
    "PlannedView",
    "Problem",
    "Protect",
    "RiskCheck",
    "RiskProfile",
    "RiskView",
    "Services",
    "Sizer",
    "Strategy",
    "Submit",
]

Kind = TypeVar("Kind", bound=Indicator)
S = TypeVar("S")


# --- values ---------------------------------------------------------------------------------------


class Submit(msgspec.Struct, frozen=True, gc=False):
    """Send this request to the broker.

    Attributes:
        request: What is asked.
        plain: It is a market order, good till cancelled, with nothing attached; a hint for shortcuts.
    """

    request: OrderRequest
    plain: bool = False


class Modify(msgspec.Struct, frozen=True, gc=False):
    """Replace the terms of the working order with the same id; *request* is the order as it shall be."""

    request: OrderRequest


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
        brackets: Stop loss and take profit may be attached to an order.
        modify: Working orders can be changed in place.
        settle_seconds: After this long an order that is not listed was not accepted.
    """

    trading: bool = False
    history: bool = False
    streaming: bool = False
    order_types: frozenset[OrderType] = frozenset()
    modes: frozenset[AccountMode] = frozenset()
    idempotent_ids: bool = False
    brackets: bool = False
    modify: bool = False
    settle_seconds: float = 0.0


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


def _no_emit(event: Event) -> None:
    """Drop the event; the default of a component built outside a run."""


@dataclass(frozen=True, slots=True)
class Services:
    """What a component may use of the runtime; the same fields for every kind.

    Attributes:
        name: The instance, such as ``connectors.main`` or ``risk[0]``.
        clock: ``now()`` in nanoseconds UTC, ``monotonic()`` in seconds.
        random: Seeded from the config's seed and *name*.
        emit: Hand an event to the observers; thread-safe, never blocks.
        base: Folder that relative paths of the config start from.
        cache: Folder for files that can be made again.
        formats: The data formats of the loaded plugins by full name, such as ``files.mt5``.
    """

    name: str
    clock: Clock
    random: random.Random
    emit: Callable[[Event], None] = _no_emit
    base: str = "."
    cache: str = ".herald-cache"
    formats: Mapping[str, DataFormat] = field(default_factory=dict)


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

    def equity_peak(self) -> float:
        """Return the highest equity at any moment of the run so far."""

    def equity_at(self, time: int) -> float:
        """Return the equity at the last moment at or before *time*; the starting equity before the first."""

    def reduces(self, request: OrderRequest) -> bool:
        """Return whether *request* can only make the book's position smaller."""


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


class Observer(Protocol):
    """Hears what happens and changes nothing."""

    events: tuple[type, ...]
    """The event types it wants; a base such as ``SystemEvent`` stands for all below it."""

    def observe(self, event: Event) -> None:
        """Take note of *event*."""

    def close(self) -> None:
        """The run is over; may be called twice."""


# --- validation -----------------------------------------------------------------------------------


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
        """Return the components of one kind: connector, strategy, sizer, risk, exit or observer."""

    def feeds(self, connector: str) -> Sequence[tuple[str, Timeframe]]:
        """Return the (symbol, time frame) pairs that strategies take from a connector (its table name)."""
