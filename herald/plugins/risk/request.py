"""Checks of the request itself: its size and value, its price, and how many were sent before it."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from herald.clock import MINUTE, SECOND
from herald.components import Services, Settings
from herald.contracts import Denial, RiskView
from herald.model import OrderRequest, OrderType

__all__ = [
    "CollarSettings",
    "MaxOrderSize",
    "MaxOrdersPerMinute",
    "OrderRateSettings",
    "OrderSizeSettings",
    "PriceCollar",
]


class OrderSizeSettings(Settings):
    """Settings of `MaxOrderSize`; state *lots*, *notional* or both."""

    lots: float | None = Field(None, gt=0)
    """Largest order, lots."""
    notional: float | None = Field(None, gt=0)
    """Largest value of an order at its limit or stop, else at the last price; account currency."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.lots is None and self.notional is None:
            raise ValueError("no limit is given; set lots or notional")
        return self


class MaxOrderSize:
    """Limits one order, whatever it is for: a guard against slips of the keyboard and of arithmetic."""

    exempts_reductions = False

    def __init__(self, settings: OrderSizeSettings, services: Services) -> None:
        """Keep the limits."""
        self._lots = settings.lots
        self._notional = settings.notional

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the order is too large."""
        size, symbol = request.size, request.symbol
        if self._lots is not None and not size <= self._lots:
            text = f"the order is for {size:.10g} lots of {symbol}; the limit is {self._lots:.10g}"
            return Denial("max_order_size", text)
        if self._notional is not None:
            stated = request.limit if request.limit is not None else request.stop
            price = view.price(symbol) if stated is None else stated
            value = size * view.instrument(symbol).contract_size * price * view.rate(symbol)
            if not value <= self._notional:
                worth = f"the order of {size:.10g} lots of {symbol} is worth {value:.2f} {view.account.currency}"
                return Denial("max_order_size", f"{worth}; the limit is {self._notional:.2f}")
        return None


class CollarSettings(Settings):
    """Settings of `PriceCollar`; state *fraction*, *max_age_seconds* or both."""

    fraction: float | None = Field(None, gt=0)
    """Largest distance of a limit or stop price from the last price, as a fraction of the last price."""
    max_age_seconds: float | None = Field(None, gt=0)
    """Oldest last price on which a market order may be sent, seconds."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.fraction is None and self.max_age_seconds is None:
            raise ValueError("no limit is given; set fraction or max_age_seconds")
        return self


class PriceCollar:
    """Refuses prices that cannot be meant."""

    exempts_reductions = False

    def __init__(self, settings: CollarSettings, services: Services) -> None:
        """Keep the limits."""
        self._fraction = settings.fraction
        self._max_age = settings.max_age_seconds

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where a stated price is far off, or the price a market order relies on is old."""
        last = view.price(request.symbol)
        if self._fraction is not None:
            for name, price in (("limit", request.limit), ("stop", request.stop)):
                if price is not None and not abs(price - last) <= self._fraction * last:
                    distance = f"{name} {price:.10g} is {abs(price - last) / last:.4f} from the last price {last:.10g}"
                    return Denial("price_collar", f"{distance} of {request.symbol}; the limit is {self._fraction:g}")
        if self._max_age is not None and request.type is OrderType.MARKET:
            known = view.price_time(request.symbol)
            age = (view.now - known) / SECOND
            if not known:
                return Denial("price_collar", f"{request.symbol} has no price yet; the limit of its age is {self._max_age:g} s")
            if age > self._max_age:
                return Denial(
                    "price_collar", f"the last price of {request.symbol} is {age:g} s old; the limit is {self._max_age:g} s"
                )
        return None


class OrderRateSettings(Settings):
    """Settings of `MaxOrdersPerMinute`."""

    limit: int = Field(ge=1)
    """Most orders sent within any 60 seconds, over all strategies."""


class MaxOrdersPerMinute:
    """Limits how fast orders go out."""

    exempts_reductions = True

    def __init__(self, settings: OrderRateSettings, services: Services) -> None:
        """Keep the limit."""
        self._limit = settings.limit

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the last 60 seconds have seen orders enough."""
        sent = view.orders_since(view.now - MINUTE + 1)  # an order exactly a minute ago has left the window
        if sent < self._limit:
            return None
        return Denial("max_orders_per_minute", f"{sent} orders went out in the last 60 s; the limit is {self._limit}")
