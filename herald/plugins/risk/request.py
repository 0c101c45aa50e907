"""Checks of the request itself: its size and value, its price, and how many were sent before it."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from herald.clock import DAY, MINUTE, SECOND
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
    """Limits one order that may add to a position: a guard against slips of the keyboard and of arithmetic.

    What only reduces cannot be larger than the position, and a position that outgrew the limit must not be kept open by it.
    """

    exempts_reductions = True

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
    """Settings of `PriceCollar`; state at least one of *fraction*, *atr*, *move_fraction* and *max_age_seconds*."""

    fraction: float | None = Field(None, gt=0)
    """Largest distance of a limit or stop price from the last price, as a fraction of the last price."""
    atr: float | None = Field(None, gt=0)
    """The same in average true ranges of the symbol's finest series."""
    atr_bars: int = Field(14, ge=1)
    """Bars that make the average; with fewer known, *atr* refuses every stated price."""
    move_fraction: float | None = Field(None, gt=0)
    """Largest move of the price over *move_bars*, as a fraction of where it began; entries wait after a larger one."""
    move_bars: int = Field(12, ge=1)
    """Length of that period, bars of the symbol's finest series."""
    max_age_seconds: float | None = Field(None, gt=0)
    """Oldest last price on which a market order may add to a position, seconds."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if all(value is None for value in (self.fraction, self.atr, self.move_fraction, self.max_age_seconds)):
            raise ValueError("no limit is given; set fraction, atr, move_fraction or max_age_seconds")
        return self


class PriceCollar:
    """Refuses prices that cannot be meant."""

    exempts_reductions = False

    def __init__(self, settings: CollarSettings, services: Services) -> None:
        """Keep the limits."""
        self._fraction = settings.fraction
        self._atr = settings.atr
        self._atr_bars = settings.atr_bars
        self._move = settings.move_fraction
        self._move_bars = settings.move_bars
        self._max_age = settings.max_age_seconds

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where a stated price is far off, or the price a market order relies on is old."""
        if request.type is OrderType.MARKET and self._max_age is None and self._move is None:
            return None
        last = view.price(request.symbol)
        if self._fraction is not None:
            for name, price in (("limit", request.limit), ("stop", request.stop)):
                if price is not None and not abs(price - last) <= self._fraction * last:
                    distance = f"{name} {price:.10g} is {abs(price - last) / last:.4f} from the last price {last:.10g}"
                    return Denial("price_collar", f"{distance} of {request.symbol}; the limit is {self._fraction:g}")
        if self._atr is not None and request.type is not OrderType.MARKET:
            refusal = self._out_of_range(request, view, last, self._atr)
            if refusal is not None:
                return refusal
        if self._move is not None and not view.reduces(request):
            before = view.history(request.symbol, self._move_bars + 1).close
            start = float(before[0]) if len(before) else math.nan
            if not abs(last - start) <= self._move * start:
                move = f"{request.symbol} went from {start:.10g} to {last:.10g} in {self._move_bars} bars"
                return Denial("price_collar", f"{move}; the limit is {self._move:g} of the former")
        if self._max_age is not None and request.type is OrderType.MARKET and not view.reduces(request):
            known = view.price_time(request.symbol)
            age = (view.now - known) / SECOND
            if not known:
                return Denial("price_collar", f"{request.symbol} has no price yet; the limit of its age is {self._max_age:g} s")
            if age > self._max_age:
                return Denial(
                    "price_collar", f"the last price of {request.symbol} is {age:g} s old; the limit is {self._max_age:g} s"
                )
        return None

    def _out_of_range(self, request: OrderRequest, view: RiskView, last: float, ranges: float) -> Denial | None:
        """Return a denial where a stated price is too many average true ranges away."""
        bars = view.history(request.symbol, self._atr_bars + 1)
        if len(bars) <= self._atr_bars:
            text = f"{len(bars)} bars of {request.symbol} are known; the limit needs a range over {self._atr_bars + 1}"
            return Denial("price_collar", text)
        before = bars.close[:-1]
        reach = float((np.maximum(bars.high[1:], before) - np.minimum(bars.low[1:], before)).mean())
        for name, price in (("limit", request.limit), ("stop", request.stop)):
            if price is not None and not abs(price - last) <= ranges * reach:
                far = f"{name} {price:.10g} is {abs(price - last):.10g} from the last price of {request.symbol}"
                return Denial("price_collar", f"{far}; the limit is {ranges:g} average true ranges of {reach:.10g}")
        return None


_MESSAGES = 50_000
"""Messages that a view knows of at least; a larger limit could not be held."""


class OrderRateSettings(Settings):
    """Settings of `MaxOrdersPerMinute`."""

    limit: int = Field(ge=1)
    """Most orders sent within any 60 seconds, over all strategies."""
    per_second: int | None = Field(None, ge=1)
    """Most orders sent within any second."""
    per_day: int | None = Field(None, ge=1)
    """Most orders sent within any 24 hours."""
    messages_per_second: int | None = Field(None, ge=1, le=_MESSAGES)
    """Most messages within any second: orders, changes of working orders and withdrawals together, over all strategies."""
    messages_per_minute: int | None = Field(None, ge=1, le=_MESSAGES)
    """Most messages within any 60 seconds."""
    messages_per_day: int | None = Field(None, ge=1, le=_MESSAGES)
    """Most messages within any 24 hours."""


class MaxOrdersPerMinute:
    """Limits how fast orders, and messages of all kinds, go out.

    Every message counts: an order, a change, a withdrawal, that of protection too. Refused are orders and changes that could
    add to a position; what only reduces passes, and a withdrawal is never asked about: a limit that kept somebody from
    getting out would be a danger of its own.

    Source:
        Commission Delegated Regulation (EU) 2017/589 (RTS 6), Article 15(1)(d): maximum messages limits for the submission,
        modification and cancellation of orders.
    """

    exempts_reductions = True

    def __init__(self, settings: OrderRateSettings, services: Services) -> None:
        """Keep the limits."""
        limits = ((SECOND, "1 s", settings.per_second), (MINUTE, "60 s", settings.limit), (DAY, "24 h", settings.per_day))
        self._limits = tuple((span, name, limit) for span, name, limit in limits if limit is not None)
        messages = (
            (SECOND, "1 s", settings.messages_per_second),
            (MINUTE, "60 s", settings.messages_per_minute),
            (DAY, "24 h", settings.messages_per_day),
        )
        self._messages = tuple((span, name, limit) for span, name, limit in messages if limit is not None)

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where a window that ends now has seen orders enough."""
        now = view.now
        for span, name, limit in self._limits:
            sent = view.orders_since(now - span + 1)  # an order exactly that long ago has left the window
            if sent >= limit:
                return Denial("max_orders_per_minute", f"{sent} orders went out in the last {name}; the limit is {limit}")
        for span, name, limit in self._messages:
            sent = view.messages_since(now - span + 1)
            if sent >= limit:
                what = f"{sent} orders, changes and withdrawals went out in the last {name}"
                return Denial("max_orders_per_minute", f"{what}; the limit is {limit}")
        return None
