"""Checks of what would be held: lots, value, margin and credit, counts of orders and positions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Self

from pydantic import Field, model_validator

from herald.components import Services, Settings
from herald.contracts import Denial, RiskView
from herald.model import Order, OrderRequest, Side, Usage

__all__ = [
    "ExposureSettings",
    "FreeMargin",
    "FreeMarginSettings",
    "MaxExposure",
    "MaxOpenOrders",
    "MaxOpenPositions",
    "MaxPosition",
    "OpenOrdersSettings",
    "OpenPositionsSettings",
    "PositionSettings",
    "WorkingNotional",
    "WorkingNotionalSettings",
]

# Lots are whole steps kept to ten decimals; anything smaller than this is the dust of adding them.
_DUST = 1e-9
_BUY = Side.BUY


def _entries(orders: Iterable[Order], request: OrderRequest) -> list[Order]:
    """Return the working orders that may open or add to a position, without the one that *request* changes."""
    return [
        order for order in orders if not order.request.reduce_only and not order.request.parent and order.request.id != request.id
    ]


class PositionSettings(Settings):
    """Settings of `MaxPosition`; state at least one limit."""

    limit: float | None = Field(None, gt=0)
    """Most lots, long or short, that one strategy may hold of one symbol."""
    symbol_gross: float | None = Field(None, gt=0)
    """Most lots that all strategies together may hold of one symbol, longs and shorts added up."""
    symbol_net: float | None = Field(None, gt=0)
    """The same with longs and shorts set off against each other."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.limit is None and self.symbol_gross is None and self.symbol_net is None:
            raise ValueError("no limit is given; set limit, symbol_gross or symbol_net")
        return self


class MaxPosition:
    """Limits the position of a book, as it would be once every working order in the same direction had filled."""

    exempts_reductions = True

    def __init__(self, settings: PositionSettings, services: Services) -> None:
        """Keep the limits."""
        self._limit = settings.limit
        self._gross = settings.symbol_gross
        self._net = settings.symbol_net

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the book, or all books of the symbol, would pass a limit."""
        side, symbol = request.side, request.symbol
        way = "long" if side is Side.BUY else "short"
        if self._limit is not None:
            waiting = sum(
                order.remaining
                for order in _entries(view.working(request.strategy, symbol), request)
                if order.request.side is side
            )
            after = side * view.position(request.strategy, symbol).size + waiting + request.size
            if not after <= self._limit + _DUST:
                text = f"{request.strategy!r} would be {way} {after:.10g} lots of {symbol}; the limit is {self._limit:.10g}"
                return Denial("max_position", text)
        if self._gross is not None:
            gross = _possible_lots(request, view)[symbol]
            if not gross <= self._gross + _DUST:
                text = f"all strategies would hold {gross:.10g} lots of {symbol}; the limit is {self._gross:.10g} (symbol_gross)"
                return Denial("max_position", text)
        if self._net is not None:
            net = side * sum(position.size for _, position in view.positions() if position.symbol == symbol) + request.size
            for order in _entries(view.working(None, symbol), request):
                if order.request.side is side:
                    net += order.remaining
            if not net <= self._net + _DUST:
                text = f"all strategies would be {way} {net:.10g} lots of {symbol}; the limit is {self._net:.10g} (symbol_net)"
                return Denial("max_position", text)
        return None

    def usage(self, view: RiskView) -> Sequence[Usage]:
        """Return what the largest position holds of each limit; what waits to be filled does not count here."""
        books: dict[tuple[str, str], float] = {}
        gross: dict[str, float] = {}
        net: dict[str, float] = {}
        for strategy, position in view.positions():
            symbol, size = position.symbol, position.size
            books[strategy, symbol] = abs(size)
            gross[symbol] = gross.get(symbol, 0.0) + abs(size)
            net[symbol] = net.get(symbol, 0.0) + size
        largest = (
            ("one strategy in one symbol, lots", books.values(), self._limit),
            ("all strategies in one symbol, lots", gross.values(), self._gross),
            ("all strategies in one symbol, net lots", map(abs, net.values()), self._net),
        )
        return [Usage("max_position", text, max(held, default=0.0), limit) for text, held, limit in largest if limit is not None]


class ExposureSettings(Settings):
    """Settings of `MaxExposure`; state at least one limit."""

    symbol_amount: float | None = Field(None, gt=0)
    """Most that the positions in one symbol may be worth, account currency."""
    symbol_fraction: float | None = Field(None, gt=0)
    """The same as a fraction of equity; 2.0 is twice the equity."""
    total_amount: float | None = Field(None, gt=0)
    """Most that all positions together may be worth, account currency."""
    total_fraction: float | None = Field(None, gt=0)
    """The same as a fraction of equity: the leverage of the account."""
    net_amount: float | None = Field(None, gt=0)
    """Most that all positions may be worth, longs and shorts set off against each other, account currency."""
    net_fraction: float | None = Field(None, gt=0)
    """The same as a fraction of equity."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("no limit is given; set symbol_fraction, symbol_amount, total_fraction, total_amount or a net limit")
        return self


class MaxExposure:
    """Limits what positions are worth at the last prices.

    Every book counts with its absolute value, so a long and a short of two strategies do not cancel; only in the net limits
    they do. Working entry orders count as if filled, each book in the direction that is worse; for the net limits, those in
    the direction of the request.
    """

    exempts_reductions = True

    def __init__(self, settings: ExposureSettings, services: Services) -> None:
        """Keep the limits."""
        self._symbol = settings.symbol_amount, settings.symbol_fraction, "symbol_fraction"
        self._total = settings.total_amount, settings.total_fraction, "total_fraction"
        self._net = settings.net_amount, settings.net_fraction, "net_fraction"
        amounts, fractions = zip(self._symbol[:2], self._total[:2], strict=True)
        self._amount = min((one for one in amounts if one is not None), default=math.inf)
        self._fraction = min((one for one in fractions if one is not None), default=math.inf)
        self._is_gross = any(limit is not None for limit in (*self._symbol[:2], *self._total[:2]))
        self._is_net = any(limit is not None for limit in self._net[:2])

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the exposure would pass a limit."""
        if self._is_gross and not self._is_far(request, view):
            worth = {symbol: abs(view.notional(symbol, held)) for symbol, held in _possible_lots(request, view).items()}
            refusal = _exceeds(f"exposure in {request.symbol}", worth[request.symbol], self._symbol, view) or _exceeds(
                "total exposure", sum(worth.values()), self._total, view
            )
            if refusal is not None:
                return refusal
        return _exceeds("net exposure", _net_worth(request, view), self._net, view) if self._is_net else None

    def usage(self, view: RiskView) -> Sequence[Usage]:
        """Return what positions are worth at the last prices; what waits to be filled does not count here."""
        gross: dict[str, float] = {}
        net: dict[str, float] = {}
        for _, position in view.positions():
            symbol, size = position.symbol, position.size
            gross[symbol] = gross.get(symbol, 0.0) + abs(view.notional(symbol, size))
            net[symbol] = net.get(symbol, 0.0) + size
        account = view.account
        worth = abs(sum(view.notional(symbol, size) for symbol, size in net.items()))
        found = []
        for text, used, (amount, fraction, _) in (
            ("worth in one symbol", max(gross.values(), default=0.0), self._symbol),
            ("worth of all positions", sum(gross.values()), self._total),
            ("worth of all positions, net", worth, self._net),
        ):
            limits = [*([amount] if amount is not None else []), *([fraction * account.equity] if fraction is not None else [])]
            found += [Usage("max_exposure", f"{text}, {account.currency}", used, min(limits))] if limits else []
        return found

    def _is_far(self, request: OrderRequest, view: RiskView) -> bool:
        """Return whether even the sum of everything held and asked for keeps every limit: a shortcut past the exact sum."""
        limit = self._amount
        if self._fraction < math.inf:
            limit = min(limit, self._fraction * view.account.equity)
        lots = {request.symbol: request.size}
        for _, position in view.positions():
            symbol = position.symbol
            lots[symbol] = lots.get(symbol, 0.0) + abs(position.size)
        for order in view.entries():
            asked = order.request
            lots[asked.symbol] = lots.get(asked.symbol, 0.0) + asked.size
        total = 0.0
        for symbol, size in lots.items():
            total += view.notional(symbol, size)
        return 0 <= total <= limit


def _exceeds(what: str, value: float, limits: tuple[float | None, float | None, str], view: RiskView) -> Denial | None:
    amount, fraction, name = limits
    if amount is not None and not value <= amount:
        text = f"{what} would be {value:.2f} {view.account.currency}; the limit is {amount:.2f}"
        return Denial("max_exposure", text)
    if fraction is not None:
        account = view.account
        if not value <= fraction * account.equity:
            limit = f"{fraction * account.equity:.2f} ({name} {fraction:g} of equity {account.equity:.2f})"
            return Denial("max_exposure", f"{what} would be {value:.2f} {account.currency}; the limit is {limit}")
    return None


def _net_worth(request: OrderRequest, view: RiskView) -> float:
    """Return what all books would be worth in the direction of the request, if it and its like filled."""
    side = request.side
    lots = {request.symbol: side * request.size}
    for _, position in view.positions():
        lots[position.symbol] = lots.get(position.symbol, 0.0) + position.size
    for order in _entries(view.entries(), request):
        asked = order.request
        if asked.side is side:
            lots[asked.symbol] = lots.get(asked.symbol, 0.0) + side * order.remaining
    return side * sum(view.notional(symbol, size) for symbol, size in lots.items())


def _possible_lots(request: OrderRequest, view: RiskView) -> dict[str, float]:
    """Return by symbol the lots that its books may come to hold, the request included; longs and shorts added up."""
    key = request.strategy, request.symbol
    # By book: what is held, and what would be bought and sold.
    books: dict[tuple[str, str], list[float]] = {key: [0.0, 0.0, 0.0]}
    for strategy, position in view.positions():
        books[strategy, position.symbol] = [position.size, 0.0, 0.0]
    books[key][1 if request.side is _BUY else 2] = request.size
    for order in view.entries():
        asked = order.request
        if asked.id == request.id:
            continue
        book = books.setdefault((asked.strategy, asked.symbol), [0.0, 0.0, 0.0])
        book[1 if asked.side is _BUY else 2] += asked.size - order.filled
    lots: dict[str, float] = {}
    for (_, symbol), (held, up, down) in books.items():
        lots[symbol] = lots.get(symbol, 0.0) + max(abs(held), abs(held + up), abs(held - down))
    return lots


class FreeMarginSettings(Settings):
    """Settings of `FreeMargin`."""

    fraction: float = Field(0.0, ge=0, lt=1)
    """Least free margin behind the order, as a fraction of equity."""
    amount: float = Field(0.0, ge=0)
    """The same in account currency; the larger of both rules."""


class FreeMargin:
    """Refuses entries for which the margin is lacking, and those that would leave too little of it.

    Working entries count as if each were filled and added to a position.
    """

    exempts_reductions = True

    def __init__(self, settings: FreeMarginSettings, services: Services) -> None:
        """Keep the limits."""
        self._fraction = settings.fraction
        self._amount = settings.amount

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the free margin would fall below the limit."""
        account = view.account
        held = view.position(request.strategy, request.symbol).size
        added = abs(held + request.side * request.size) - abs(held)
        lots = {request.symbol: added if added > 0 else 0.0}
        for order in view.entries():
            asked = order.request
            if asked.id != request.id:
                lots[asked.symbol] = lots.get(asked.symbol, 0.0) + asked.size - order.filled
        needed = 0.0
        for symbol, size in lots.items():
            needed += _margin(symbol, size, account.leverage, view)
        least = max(self._fraction * account.equity, self._amount)
        left = account.margin_free - needed
        if left >= least:
            return None
        free = f"{account.margin_free:.2f} {account.currency} of margin are free and {needed:.2f} needed for it and what works"
        return Denial("free_margin", f"{free}; {left:.2f} would be left, and the limit is {least:.2f}")


def _margin(symbol: str, size: float, leverage: float, view: RiskView) -> float:
    """Return the margin of *size* lots (not signed), account currency."""
    fixed = view.instrument(symbol).margin
    return size * fixed * view.rate(symbol) if fixed else view.notional(symbol, size) / leverage


class WorkingNotionalSettings(Settings):
    """Settings of `WorkingNotional`."""

    amount: float | None = Field(None, gt=0)
    """Most that all working entries may be worth, the request included, account currency."""
    fraction: float | None = Field(None, gt=0)
    """The same as a fraction of equity; without both the limit is what the account can carry, equity times its leverage."""


class WorkingNotional:
    """Limits the credit that orders claim: whatever works counts whole, at once, whether or not it will ever fill."""

    exempts_reductions = True

    def __init__(self, settings: WorkingNotionalSettings, services: Services) -> None:
        """Keep the limits."""
        self._amount = settings.amount
        self._fraction = settings.fraction

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the working entries would be worth too much."""
        # Lots times price by symbol; what has no price of its own is worth the last one.
        symbol = request.symbol
        prices = {symbol: request.size * _price(request, view)}
        for order in view.entries():
            asked = order.request
            if asked.id != request.id:
                at = asked.limit if asked.limit is not None else asked.stop
                if at is None:
                    at = view.price(asked.symbol)
                prices[asked.symbol] = prices.get(asked.symbol, 0.0) + (asked.size - order.filled) * at
        value = 0.0
        for symbol, price in prices.items():
            value += price * view.instrument(symbol).contract_size * view.rate(symbol)
        limit, name = math.inf, "amount"
        if self._fraction is not None:
            limit, name = self._fraction * view.account.equity, f"fraction {self._fraction:g} of equity"
        elif self._amount is None:
            account = view.account
            limit, name = account.equity * account.leverage, f"equity times leverage {account.leverage:g}"
        if self._amount is not None and self._amount < limit:
            limit, name = self._amount, "amount"
        if value <= limit:
            return None
        what = f"working entries would be worth {value:.2f} {view.account.currency}"
        return Denial("working_notional", f"{what}; the limit is {limit:.2f} ({name})")


def _price(request: OrderRequest, view: RiskView) -> float:
    """Return the price that a request states, else the last one."""
    price = request.limit if request.limit is not None else request.stop
    return view.price(request.symbol) if price is None else price


class OpenOrdersSettings(Settings):
    """Settings of `MaxOpenOrders`."""

    limit: int = Field(ge=1)
    """Most orders that work at once, over all strategies; protective orders do not count."""


class MaxOpenOrders:
    """Limits how many orders work at once."""

    exempts_reductions = True

    def __init__(self, settings: OpenOrdersSettings, services: Services) -> None:
        """Keep the limit."""
        self._limit = settings.limit

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the limit is reached."""
        if len(view.working()) < self._limit:
            return None  # whatever they are
        count = sum(1 for order in view.working() if not order.request.parent and order.request.id != request.id)
        if count < self._limit:
            return None
        return Denial("max_open_orders", f"{count} orders are working; the limit is {self._limit}")

    def usage(self, view: RiskView) -> Sequence[Usage]:
        """Return how many orders work."""
        count = sum(1 for order in view.working() if not order.request.parent)
        return (Usage("max_open_orders", "working orders", count, self._limit),)


class OpenPositionsSettings(Settings):
    """Settings of `MaxOpenPositions`."""

    limit: int = Field(ge=1)
    """Most positions that are open at once, over all strategies; a flat book with a working entry counts."""


class MaxOpenPositions:
    """Limits how many books hold something or are about to."""

    exempts_reductions = True

    def __init__(self, settings: OpenPositionsSettings, services: Services) -> None:
        """Keep the limit."""
        self._limit = settings.limit

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where *request* would open one position too many."""
        positions = view.positions()
        if len(positions) + len(view.working()) < self._limit:
            return None  # however they overlap
        books = {(strategy, position.symbol) for strategy, position in positions}
        books |= {(order.request.strategy, order.request.symbol) for order in _entries(view.entries(), request)}
        if (request.strategy, request.symbol) in books or len(books) < self._limit:
            return None
        return Denial("max_open_positions", f"{len(books)} positions are open or about to be; the limit is {self._limit}")

    def usage(self, view: RiskView) -> Sequence[Usage]:
        """Return how many positions are open."""
        return (Usage("max_open_positions", "open positions", len(view.positions()), self._limit),)
