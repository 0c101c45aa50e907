"""Protective levels that stand still: a stop loss and a take profit."""

from __future__ import annotations

import math

from pydantic import Field

from herald.components import Services
from herald.contracts import Close, Context, Protect
from herald.model import Bar, Note, OrderType, Position, Quote
from herald.plugins.exits.distance import AtrPool, DistanceSettings, distance
from herald.plugins.exits.memory import Memory

__all__ = ["StopLoss", "StopLossSettings", "TakeProfit", "TakeProfitSettings", "initial_risk"]


class StopLossSettings(DistanceSettings):
    """Settings of `StopLoss`."""


class _Level:
    """The level of one position, NaN until it is known."""

    __slots__ = ("price", "waited")

    def __init__(self) -> None:
        self.price = math.nan
        self.waited = 0  # bars without a stop to measure the risk by


class StopLoss:
    """A stop at a fixed distance from the average entry price.

    It is set at the end of the first bar of the position (ATR: the range known then). Where that bar has
    closed beyond the level already, the position is closed at market. Adding to the position does not move it.
    """

    def __init__(self, settings: StopLossSettings, services: Services) -> None:
        """Keep the distance."""
        self._settings = settings
        self._atr = AtrPool(settings.atr_length)
        self._levels: Memory[_Level] = Memory(_Level)

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | Protect | None:
        """Return the stop, or a close where the price is beyond it."""
        if not isinstance(event, Bar):
            return None
        level = self._levels.of(position)
        sign = 1 if position.size > 0 else -1
        if math.isnan(level.price):
            level.price = position.average_price - sign * distance(self._settings, position, ctx, self._atr)
            if math.isnan(level.price):
                return None
        if sign * (event.close - level.price) <= 0:
            return Close("stop_loss")
        if level.price <= 0:
            return None  # a price cannot fall that far
        return Protect("stop_loss", stop_loss=level.price)


class TakeProfitSettings(DistanceSettings):
    """Settings of `TakeProfit`; state exactly one of *points*, *fraction*, *atr* and *risk_multiple*."""

    risk_multiple: float | None = Field(None, gt=0)
    """In multiples of the distance between the entry and the first stop loss that protects the position."""

    @classmethod
    def _choices(cls) -> tuple[str, ...]:
        return ("points", "fraction", "atr", "risk_multiple")


class TakeProfit:
    """A profit target at a fixed distance from the average entry price; see `StopLoss` for when it is set.

    With *risk_multiple* it is set as soon as the position has a protective stop, whoever placed it.
    """

    def __init__(self, settings: TakeProfitSettings, services: Services) -> None:
        """Keep the distance."""
        self._settings = settings
        self._services = services
        self._atr = AtrPool(settings.atr_length)
        self._levels: Memory[_Level] = Memory(_Level)

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | Protect | None:
        """Return the target, or a close where the price is beyond it."""
        if not isinstance(event, Bar):
            return None
        level = self._levels.of(position)
        sign = 1 if position.size > 0 else -1
        if math.isnan(level.price):
            level.price = position.average_price + sign * self._distance(position, ctx, level)
            if math.isnan(level.price):
                return None
        if sign * (event.close - level.price) >= 0:
            return Close("take_profit")
        if level.price <= 0:
            return None
        return Protect("take_profit", take_profit=level.price)

    def _distance(self, position: Position, ctx: Context, level: _Level) -> float:
        multiple = self._settings.risk_multiple
        if multiple is None:
            return distance(self._settings, position, ctx, self._atr)
        risk = initial_risk(position, ctx)
        if math.isnan(risk):
            level.waited += 1
            if level.waited == 2:  # a stop that an exit rule sets is seen one bar after the entry
                self._services.emit(unprotected(position, ctx, self._services.name))
        return multiple * risk


def initial_risk(position: Position, ctx: Context) -> float:
    """Return the distance from the entry to the nearest protective stop, quote currency per unit; NaN without one."""
    sign = 1 if position.size > 0 else -1
    stops = [
        sign * (position.average_price - order.request.stop)
        for order in ctx.orders(position.symbol)
        if order.request.reduce_only and order.request.type is OrderType.STOP and order.request.stop is not None
    ]
    return min((risk for risk in stops if risk > 0), default=math.nan)


def unprotected(position: Position, ctx: Context, name: str) -> Note:
    """Return the line that tells why a multiple of the risk does nothing."""
    what = f"{name}: the position in {position.symbol} has no stop loss, so there is no risk to multiply"
    return Note(ctx.now, ctx.strategy, f"{what}; state stop_loss with the order or list exits.stop_loss")
