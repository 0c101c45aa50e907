"""The exit desk: asks the rules of every open position and turns their answers into orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from herald.contracts import Close, Context, ExitRule, Protect
from herald.engine.book import Book
from herald.engine.context import Terms
from herald.errors import OrderError
from herald.model import Bar, Order, OrderRequest, OrderType, Quote, Side

__all__ = ["FOREIGN", "ExitDesk", "Watch"]

FOREIGN = (Exception, SystemExit)
"""What code that is not Herald's may raise without ending more than itself; ``sys.exit()`` in a strategy is a failure of it."""
_REDUCE = Terms(reduce_only=True)


class _Orders(Protocol):
    """The engine, as far as the exit desk needs it."""

    def request(self, book: Book, side: Side, size: float | None, kind: OrderType, terms: Terms, tag: str) -> Order:
        """Check a request and queue it."""

    def modify(self, order: Order, request: OrderRequest) -> Order:
        """Check changed terms and queue them."""


class Watch(msgspec.Struct):
    """The exit rules of one strategy.

    Attributes:
        strategy: Its name.
        context: What the rules may look at.
        books: Its books, in config order.
        rules: (instance name, rule), in config order; a rule that raised is taken out until its strategy goes on.
    """

    strategy: str
    context: Context
    books: tuple[Book, ...]
    rules: list[tuple[str, ExitRule]]
    every: tuple[tuple[str, ExitRule], ...] = ()

    def __post_init__(self) -> None:
        """Remember what was taken out later."""
        self.every = tuple(self.rules)


class ExitDesk:
    """Evaluates exit rules once a bar of each open position's symbol.

    The first `Close` in config order wins. Among `Protect` the tightest level wins, and a level never
    loosens. While a closing order works, no second is sent.
    """

    def __init__(self, orders: _Orders, failed: Callable[[str, str, BaseException], None]) -> None:
        """Work for an engine.

        Args:
            orders: The engine.
            failed: Told (strategy, rule, error) when a rule raises.
        """
        self.watches: list[Watch] = []
        self._orders = orders
        self._failed = failed

    def mend(self, strategy: str) -> None:
        """Ask every rule of *strategy* again, those that raised too."""
        for watch in self.watches:
            if watch.strategy == strategy:
                watch.rules = list(watch.every)

    def run(self, bars: Sequence[Bar]) -> None:
        """Ask every rule about every open position whose symbol has a bar in *bars*."""
        for watch in self.watches:
            for book in watch.books:
                if book.size != 0:
                    symbol = book.symbol
                    for bar in bars:
                        if bar.symbol == symbol:
                            self.check(watch, book, bar)

    def watched(self, symbols: Sequence[str]) -> list[tuple[Watch, Book, int]]:
        """Return whom `run` asks, in its order, where bars of these *symbols* come together.

        Returns:
            (watch, book, place of its bar), flat positions included.
        """
        return [
            (watch, book, place)
            for watch in self.watches
            for book in watch.books
            for place, symbol in enumerate(symbols)
            if symbol == book.symbol
        ]

    def quoted(self, quote: Quote) -> None:
        """Ask every rule about every open position in the symbol of *quote*."""
        for watch in self.watches:
            for book in watch.books:
                if book.size != 0 and book.symbol == quote.symbol:
                    self.check(watch, book, quote)

    def check(self, watch: Watch, book: Book, event: Bar | Quote) -> None:
        """Ask every rule of *watch* about the open position of *book* at *event* and send what they want."""
        position = book.position
        stop: float | None = None
        target: float | None = None
        stop_reason = target_reason = ""
        for name, rule in watch.rules:
            try:
                answer = rule.check(position, event, watch.context)
            except FOREIGN as error:  # the rule is taken out, its strategy stopped; the other rules go on
                watch.rules = [one for one in watch.rules if one[1] is not rule]
                self._failed(watch.strategy, name, error)
                continue
            if answer is None:
                continue
            if type(answer) is Close:
                if not _is_closing(book):
                    self._close(book, answer)
                return
            if type(answer) is Protect:
                is_long = position.size > 0
                level = answer.stop_loss
                if level is not None and (stop is None or (level > stop) == is_long):
                    stop, stop_reason = level, answer.reason
                level = answer.take_profit
                if level is not None and (target is None or (level < target) == is_long):
                    target, target_reason = level, answer.reason
        if (stop is None and target is None) or _is_closing(book):
            return
        if stop is not None:
            self._protect(book, OrderType.STOP, book.instrument.round_price(stop), stop_reason)
        if target is not None:
            self._protect(book, OrderType.LIMIT, book.instrument.round_price(target), target_reason)

    def _close(self, book: Book, answer: Close) -> None:
        size = abs(book.size)
        if answer.share < 1:
            # A share too small to trade closes nothing now; the rule asks again or the position ends otherwise.
            size = book.instrument.round_size(size * answer.share)
            if size < book.instrument.min_size:
                return
        self._orders.request(book, Side.SELL if book.size > 0 else Side.BUY, size, OrderType.MARKET, _REDUCE, answer.reason)

    def _protect(self, book: Book, kind: OrderType, level: float, reason: str) -> None:
        """Place or tighten the book's own protective order of one kind: one order, or one a ticket."""
        is_long = book.size > 0
        side = Side.SELL if is_long else Side.BUY
        parent = f"{book.strategy}:{book.symbol}"
        mine = [
            order
            for order in book.working.values()
            if order.request.parent == parent and order.request.type is kind and order.request.side is side
        ]
        size, covered = abs(book.size), 0.0
        for order in mine:
            request = order.request
            old = request.stop if kind is OrderType.STOP else request.limit
            if old is None:
                raise OrderError(f"{request.type} order {request.id} has no price")
            tighter = (level > old) == (is_long == (kind is OrderType.STOP)) and level != old
            wanted = size if len(mine) == 1 else round(order.remaining, 10)
            if request.position is not None:
                wanted = abs(book.tickets.get(request.position, 0.0))
            if not wanted:
                continue  # what it protected is closed; it is about to be withdrawn
            covered += wanted
            if tighter or round(order.remaining, 10) != wanted:
                price = level if tighter else old
                whole = book.snap(order.filled + wanted)
                self._orders.modify(order, _moved(request, kind, price, whole, reason if tighter else ""))
        missing = book.snap(size - covered)
        if missing > 0:
            stop, limit = (level, None) if kind is OrderType.STOP else (None, level)
            terms = Terms(limit, stop, reduce_only=True, parent=parent)
            self._orders.request(book, side, missing, kind, terms, reason)


def _is_closing(book: Book) -> bool:
    """Return whether a market order that reduces the position is on its way."""
    return bool(book.working) and any(
        order.request.reduce_only and order.request.type is OrderType.MARKET and not order.request.parent
        for order in book.working.values()
    )


def _moved(request: OrderRequest, kind: OrderType, level: float, size: float, reason: str) -> OrderRequest:
    tag = reason or request.tag
    if kind is OrderType.STOP:
        return msgspec.structs.replace(request, stop=level, size=size, tag=tag)
    return msgspec.structs.replace(request, limit=level, size=size, tag=tag)
