"""What a strategy sees and may ask; see `herald.contracts.Context`."""

from __future__ import annotations

import random
from typing import Protocol, TypeVar

import msgspec

from herald.engine.book import Book
from herald.engine.feed import Feed
from herald.errors import ConfigError, DataError, OrderError, Problem
from herald.indicators.base import Indicator
from herald.model import (
    Account,
    BarSeries,
    FloatArray,
    Instrument,
    Order,
    OrderRequest,
    OrderType,
    Position,
    Side,
    Timeframe,
    TimeInForce,
)

__all__ = ["Desk", "ExitContext", "StrategyContext"]

Kind = TypeVar("Kind", bound=Indicator)
_BUY, _SELL = Side.BUY, Side.SELL
_MARKET = OrderType.MARKET
_GTC = TimeInForce.GTC


class Desk(Protocol):
    """The engine, as far as a context needs it."""

    now: int

    def account(self) -> Account:
        """Return the account, valued at the last prices."""

    def market(self, book: Book, side: Side, size: float, tag: str) -> Order:
        """Check a plain market order and queue it."""

    def request(self, book: Book, side: Side, size: float | None, kind: OrderType, terms: Terms, tag: str) -> Order:
        """Check a request and queue it."""

    def cancel(self, order_id: str) -> None:
        """Queue the withdrawal of a working order."""

    def modify(self, order: Order, request: OrderRequest) -> Order:
        """Check changed terms and queue them."""

    def set_timer(self, strategy: str, time: int, tag: str) -> None:
        """Remember a time."""

    def note(self, strategy: str, text: str) -> None:
        """Hand a line to the observers."""

    def attach(self, feed: Feed, indicator: Indicator) -> None:
        """Keep an indicator current."""


class Terms(msgspec.Struct, frozen=True, gc=False):
    """The rarer terms of a request."""

    limit: float | None = None
    stop: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires: int | None = None
    reduce_only: bool = False
    parent: str = ""


_REDUCE = Terms(reduce_only=True)


class StrategyContext:
    """The context of one strategy."""

    __slots__ = ("_base", "_books", "_desk", "_feeds", "_random", "_strategy")

    def __init__(
        self,
        desk: Desk,
        strategy: str,
        books: dict[str, Book],
        feeds: dict[tuple[str, int], Feed],
        base: int,
        generator: random.Random,
    ) -> None:
        """Bind the engine and what belongs to the strategy.

        Args:
            desk: The engine.
            strategy: Name in the config.
            books: By symbol, in config order.
            feeds: By (symbol, span in nanoseconds).
            base: Span of the strategy's first time frame.
            generator: Its own random numbers.
        """
        self._desk = desk
        self._strategy = strategy
        self._books = books
        self._feeds = feeds
        self._base = base
        self._random = generator

    @property
    def now(self) -> int:
        """The time of the event being handled, nanoseconds UTC."""
        return self._desk.now

    @property
    def strategy(self) -> str:
        """The strategy's name in the config."""
        return self._strategy

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the strategy, in config order."""
        return tuple(self._books)

    @property
    def account(self) -> Account:
        """The account, valued at the last prices."""
        return self._desk.account()

    @property
    def random(self) -> random.Random:
        """The strategy's own generator."""
        return self._random

    def _book(self, symbol: str) -> Book:
        try:
            return self._books[symbol]
        except KeyError:
            raise self._unknown(f"does not trade {symbol!r}") from None

    def _feed(self, symbol: str, timeframe: Timeframe | None) -> Feed:
        span = self._base if timeframe is None else timeframe.span
        try:
            return self._feeds[symbol, span]
        except KeyError:
            what = repr(symbol) if timeframe is None else f"{symbol!r} {timeframe}"
            raise self._unknown(f"takes no bars of {what}") from None

    def _unknown(self, what: str) -> ConfigError:
        hint = "add it to its symbols and timeframe in the config"
        return ConfigError("config", [Problem(f"strategies.{self._strategy}", what, hint)])

    def instrument(self, symbol: str) -> Instrument:
        """Return the terms of *symbol*."""
        return self._book(symbol).instrument

    def position(self, symbol: str) -> Position:
        """Return what this strategy holds of *symbol*."""
        return self._book(symbol).position

    def orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        """Return this strategy's working orders, oldest first."""
        books = self._books.values() if symbol is None else (self._book(symbol),)
        return tuple(order for book in books for order in book.working.values())

    # --- history ----------------------------------------------------------------------------------

    def _known(self, symbol: str, n: int, timeframe: Timeframe | None) -> tuple[Feed, int, int]:
        feed = self._feed(symbol, timeframe)
        end = feed.count
        if not 0 < n <= end:
            if n < 1:
                raise ValueError(f"n must be a number of bars, 1 or more, not {n!r}: the last is the current one")
            raise DataError(
                f"strategy {self._strategy!r} asks for {n} bars of {symbol!r} and {end} are known; return more from warmup()"
            )
        return feed, end - n, end

    def opens(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* opening prices."""
        feed, start, end = self._known(symbol, n, timeframe)
        return feed.open[start:end]

    def highs(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* highs."""
        feed, start, end = self._known(symbol, n, timeframe)
        return feed.high[start:end]

    def lows(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* lows."""
        feed, start, end = self._known(symbol, n, timeframe)
        return feed.low[start:end]

    def closes(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* closing prices."""
        feed, start, end = self._known(symbol, n, timeframe)
        return feed.close[start:end]

    def volumes(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> FloatArray:
        """Return the last *n* volumes."""
        feed, start, end = self._known(symbol, n, timeframe)
        return feed.volume[start:end]

    def bars(self, symbol: str, n: int, timeframe: Timeframe | None = None) -> BarSeries:
        """Return the last *n* bars as columns."""
        return self._known(symbol, n, timeframe)[0].series(n)

    def indicator(self, indicator: Kind, symbol: str, timeframe: Timeframe | None = None) -> Kind:
        """Return *indicator*, from now on kept current over *symbol*."""
        self._desk.attach(self._feed(symbol, timeframe), indicator)
        return indicator

    # --- requests ---------------------------------------------------------------------------------

    def buy(
        self,
        symbol: str,
        size: float | None = None,
        *,
        limit: float | None = None,
        stop: float | None = None,
        stop_loss: float | None = None,
        take_profit: float | None = None,
        time_in_force: TimeInForce = _GTC,
        expires: int | None = None,
        reduce_only: bool = False,
        tag: str = "",
    ) -> Order:
        """Ask to buy; see `herald.contracts.Context.buy`."""
        terms = Terms(limit, stop, stop_loss, take_profit, TimeInForce(time_in_force), expires, reduce_only)
        return self._desk.request(self._book(symbol), _BUY, size, _kind(limit, stop), terms, tag)

    def sell(
        self,
        symbol: str,
        size: float | None = None,
        *,
        limit: float | None = None,
        stop: float | None = None,
        stop_loss: float | None = None,
        take_profit: float | None = None,
        time_in_force: TimeInForce = _GTC,
        expires: int | None = None,
        reduce_only: bool = False,
        tag: str = "",
    ) -> Order:
        """Ask to sell; see `herald.contracts.Context.buy`."""
        terms = Terms(limit, stop, stop_loss, take_profit, TimeInForce(time_in_force), expires, reduce_only)
        return self._desk.request(self._book(symbol), _SELL, size, _kind(limit, stop), terms, tag)

    def target(self, symbol: str, size: float, tag: str = "") -> Order | None:
        """Trade at market so that the position becomes *size*, counting working orders."""
        book = self._books.get(symbol) or self._book(symbol)
        change = book.lots(size) - book.size
        if book.working:
            change -= _pending(book)
        if change == 0:
            return None
        parts = book.parts
        change = round(change * parts) / parts if parts else round(change, 10)
        if change == 0:
            return None
        return self._desk.market(book, _BUY, change, tag) if change > 0 else self._desk.market(book, _SELL, -change, tag)

    def close(self, symbol: str, tag: str = "") -> Order | None:
        """Close the position at market and cancel working entries in *symbol*."""
        book = self._book(symbol)
        held = book.size
        closing = 0.0
        for order in list(book.working.values()):
            request = order.request
            if request.parent:
                continue
            if request.reduce_only and request.type is _MARKET:
                closing += order.remaining
            else:
                self._desk.cancel(request.id)
        size = book.snap(abs(held) - closing)
        if held == 0 or size <= 0:
            return None
        return self._desk.request(book, _SELL if held > 0 else _BUY, size, _MARKET, _REDUCE, tag)

    def cancel(self, order: Order) -> None:
        """Withdraw a working order; one that is gone already is left alone."""
        self._desk.cancel(order.request.id)

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
        """Change the stated terms of a working order; None leaves a term as it is."""
        stated = {"size": size, "limit": limit, "stop": stop, "stop_loss": stop_loss, "take_profit": take_profit}
        changes = {name: value for name, value in stated.items() if value is not None}
        return self._desk.modify(order, msgspec.structs.replace(order.request, **changes))

    def at(self, time: int, tag: str = "") -> None:
        """Ask for ``on_timer`` at *time*."""
        self._desk.set_timer(self._strategy, time, tag)

    def log(self, text: str) -> None:
        """Write a line to the observers."""
        self._desk.note(self._strategy, text)


class ExitContext(StrategyContext):
    """The same for an exit rule, which may look and not ask."""

    __slots__ = ()

    def _refuse(self) -> OrderError:
        return OrderError("an exit rule may not place orders; return Close or Protect")

    def buy(self, symbol: str, size: float | None = None, **terms: object) -> Order:
        """Raise OrderError."""
        raise self._refuse()

    def sell(self, symbol: str, size: float | None = None, **terms: object) -> Order:
        """Raise OrderError."""
        raise self._refuse()

    def target(self, symbol: str, size: float, tag: str = "") -> Order | None:
        """Raise OrderError."""
        raise self._refuse()

    def close(self, symbol: str, tag: str = "") -> Order | None:
        """Raise OrderError."""
        raise self._refuse()

    def cancel(self, order: Order) -> None:
        """Raise OrderError."""
        raise self._refuse()

    def modify(self, order: Order, **terms: float | None) -> Order:
        """Raise OrderError."""
        raise self._refuse()


def _kind(limit: float | None, stop: float | None) -> OrderType:
    """Return the order type that the stated prices make."""
    if stop is None:
        return _MARKET if limit is None else OrderType.LIMIT
    return OrderType.STOP if limit is None else OrderType.STOP_LIMIT


def _pending(book: Book) -> float:
    """Return the signed lots that the book's own working orders still may trade; protection does not count."""
    return sum(order.request.side * order.remaining for order in book.working.values() if not order.request.parent)
