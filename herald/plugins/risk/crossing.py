"""The check of orders that would meet each other."""

from __future__ import annotations

import math
from typing import Literal

from herald.components import Services, Settings
from herald.contracts import Denial, RiskView
from herald.model import Alert, OrderRequest, OrderType, Side

__all__ = ["SelfCross", "SelfCrossSettings"]

_MARKET, _LIMIT = OrderType.MARKET, OrderType.LIMIT


class SelfCrossSettings(Settings):
    """Settings of `SelfCross`."""

    orders: Literal["allow", "warn", "deny"] = "warn"
    """What happens to an entry that would trade with an own working order."""
    positions: Literal["allow", "warn", "deny"] = "allow"
    """What happens to an entry against the position of another strategy in the same symbol."""


class SelfCross:
    """Warns of entries that trade against oneself, or refuses them.

    A warning is an `herald.model.Alert` with the code ``self_cross``; the entry goes on to the next check.
    """

    exempts_reductions = True

    def __init__(self, settings: SelfCrossSettings, services: Services) -> None:
        """Keep what to do."""
        self._orders = settings.orders
        self._positions = settings.positions
        self._emit = services.emit

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where one is wanted; emit a warning where that is wanted."""
        if self._orders != "allow":
            text = self._meets(request, view)
            if text:
                if self._orders == "deny":
                    return Denial("self_cross", text)
                self._emit(Alert(view.now, "self_cross", text))
        if self._positions != "allow":
            text = self._opposes(request, view)
            if text:
                if self._positions == "deny":
                    return Denial("self_cross", text)
                self._emit(Alert(view.now, "self_cross", text))
        return None

    def _meets(self, request: OrderRequest, view: RiskView) -> str:
        """Return which working order *request* would trade with."""
        kind = request.type
        if kind is not _MARKET and kind is not _LIMIT:
            return ""  # a stop waits for the market to come to it
        side, price = request.side, math.nan
        for order in view.working(None, request.symbol):
            other = order.request
            if other.side is side or other.id == request.id or (other.type is not _LIMIT and other.type is not _MARKET):
                continue
            if math.isnan(price):
                price = self._reach(request, view)
            theirs = other.limit
            if theirs is None or not side * (price - theirs) < 0:
                there = f"at {theirs:.10g}" if theirs is not None else "at market"
                mine = f"{side.name} {request.size:.10g} {request.symbol} of {request.strategy!r} at {price:.10g}"
                return f"{mine} would trade with {other.id}, {other.side.name} {order.remaining:.10g} {there}"
        return ""

    def _reach(self, request: OrderRequest, view: RiskView) -> float:
        """Return up to which price *request* would trade now."""
        if request.limit is not None:
            return request.limit
        quote = view.last_quote(request.symbol)
        if quote is None:
            return view.price(request.symbol)
        return quote.ask if request.side is Side.BUY else quote.bid

    def _opposes(self, request: OrderRequest, view: RiskView) -> str:
        """Return which strategy holds the opposite."""
        for strategy, position in view.positions():
            if position.symbol == request.symbol and strategy != request.strategy and position.size * request.side < 0:
                mine = f"{request.side.name} {request.size:.10g} {request.symbol} of {request.strategy!r}"
                return f"{mine} is against {position.size:.10g} lots of {strategy!r}"
        return ""
