"""Checks of what would be held: lots a book, value by symbol and in total, counts of orders and positions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from herald.components import Services, Settings
from herald.contracts import Denial, RiskView
from herald.model import Order, OrderRequest, Side

__all__ = [
    "ExposureSettings",
    "MaxExposure",
    "MaxOpenOrders",
    "MaxOpenPositions",
    "MaxPosition",
    "OpenOrdersSettings",
    "OpenPositionsSettings",
    "PositionSettings",
]

# Lots are whole steps kept to ten decimals; anything smaller than this is the dust of adding them.
_DUST = 1e-9


def _entries(orders: Iterable[Order], request: OrderRequest) -> list[Order]:
    """Return the working orders that may open or add to a position, without the one that *request* changes."""
    return [
        order for order in orders if not order.request.reduce_only and not order.request.parent and order.request.id != request.id
    ]


class PositionSettings(Settings):
    """Settings of `MaxPosition`."""

    limit: float = Field(gt=0)
    """Most lots, long or short, that one strategy may hold of one symbol."""


class MaxPosition:
    """Limits the position of a book, as it would be once every working order in the same direction had filled."""

    exempts_reductions = True

    def __init__(self, settings: PositionSettings, services: Services) -> None:
        """Keep the limit."""
        self._limit = settings.limit

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the book would pass the limit."""
        side = request.side
        waiting = sum(
            order.remaining
            for order in _entries(view.working(request.strategy, request.symbol), request)
            if order.request.side is side
        )
        after = side * view.position(request.strategy, request.symbol).size + waiting + request.size
        if after <= self._limit + _DUST:
            return None
        way = "long" if side is Side.BUY else "short"
        text = f"{request.strategy!r} would be {way} {after:.10g} lots of {request.symbol}; the limit is {self._limit:.10g}"
        return Denial("max_position", text)


class ExposureSettings(Settings):
    """Settings of `MaxExposure`; state at least one limit."""

    symbol_amount: float | None = Field(None, gt=0)
    """Most that the positions in one symbol may be worth, account currency."""
    symbol_fraction: float | None = Field(None, gt=0)
    """The same as a fraction of equity; 2.0 is twice the equity."""
    total_amount: float | None = Field(None, gt=0)
    """Most that all positions together may be worth, account currency."""
    total_fraction: float | None = Field(None, gt=0)
    """The same as a fraction of equity."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if all(value is None for value in (self.symbol_amount, self.symbol_fraction, self.total_amount, self.total_fraction)):
            raise ValueError("no limit is given; set symbol_fraction, symbol_amount, total_fraction or total_amount")
        return self


class MaxExposure:
    """Limits what positions are worth at the last prices.

    Every book counts with its absolute value, so a long and a short of two strategies do not cancel. Working
    entry orders count as if filled, each book in the direction that is worse.
    """

    exempts_reductions = True

    def __init__(self, settings: ExposureSettings, services: Services) -> None:
        """Keep the limits."""
        self._symbol = settings.symbol_amount, settings.symbol_fraction, "symbol_fraction"
        self._total = settings.total_amount, settings.total_fraction, "total_fraction"

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the exposure would pass a limit."""
        lots = _possible_lots(request, view)
        worth = {symbol: abs(view.notional(symbol, held)) for symbol, held in lots.items()}
        account = view.account
        checks = (
            (f"exposure in {request.symbol}", worth[request.symbol], self._symbol),
            ("total exposure", sum(worth.values()), self._total),
        )
        for what, value, (amount, fraction, name) in checks:
            if amount is not None and not value <= amount:
                text = f"{what} would be {value:.2f} {account.currency}; the limit is {amount:.2f}"
                return Denial("max_exposure", text)
            if fraction is not None and not value <= fraction * account.equity:
                limit = f"{fraction * account.equity:.2f} ({name} {fraction:g} of equity {account.equity:.2f})"
                return Denial("max_exposure", f"{what} would be {value:.2f} {account.currency}; the limit is {limit}")
        return None


def _possible_lots(request: OrderRequest, view: RiskView) -> dict[str, float]:
    """Return by symbol the lots that its books may come to hold, the request included; longs and shorts added up."""
    held = {(strategy, position.symbol): position.size for strategy, position in view.positions()}
    up: dict[tuple[str, str], float] = {}
    down: dict[tuple[str, str], float] = {}
    orders = [(order.request, order.remaining) for order in _entries(view.working(), request)]
    for asked, size in [*orders, (request, request.size)]:
        side = up if asked.side is Side.BUY else down
        key = asked.strategy, asked.symbol
        side[key] = side.get(key, 0.0) + size
    lots: dict[str, float] = {}
    for key in dict.fromkeys([*held, *up, *down]):
        size = held.get(key, 0.0)
        worst = max(abs(size), abs(size + up.get(key, 0.0)), abs(size - down.get(key, 0.0)))
        lots[key[1]] = lots.get(key[1], 0.0) + worst
    return lots


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
        count = sum(1 for order in view.working() if not order.request.parent and order.request.id != request.id)
        if count < self._limit:
            return None
        return Denial("max_open_orders", f"{count} orders are working; the limit is {self._limit}")


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
        books = {(strategy, position.symbol) for strategy, position in view.positions()}
        books |= {(order.request.strategy, order.request.symbol) for order in _entries(view.working(), request)}
        if (request.strategy, request.symbol) in books or len(books) < self._limit:
            return None
        return Denial("max_open_positions", f"{len(books)} positions are open or about to be; the limit is {self._limit}")
