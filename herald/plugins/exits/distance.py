"""Distances from a price: in points, as a fraction of the entry price, or in average true ranges."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from herald.components import Settings
from herald.contracts import Context
from herald.indicators import Atr
from herald.model import Position

__all__ = ["AtrPool", "DistanceSettings", "distance"]


class DistanceSettings(Settings):
    """A distance; state exactly one of *points*, *fraction* and *atr*."""

    points: float | None = Field(None, gt=0)
    """In price steps of the instrument."""
    fraction: float | None = Field(None, gt=0)
    """As a fraction of the average entry price."""
    atr: float | None = Field(None, gt=0)
    """In average true ranges."""
    atr_length: int = Field(14, ge=1)
    """Bars of the average true range, on the strategy's first time frame."""

    @model_validator(mode="after")
    def _states_one_distance(self) -> Self:
        stated = [name for name in self._choices() if getattr(self, name) is not None]
        if len(stated) != 1:
            what = "no distance is given" if not stated else f"{' and '.join(stated)} exclude each other"
            raise ValueError(f"{what}; set exactly one of {', '.join(self._choices())}")
        return self

    @classmethod
    def _choices(cls) -> tuple[str, ...]:
        """Return the fields of which exactly one is stated."""
        return ("points", "fraction", "atr")


class AtrPool:
    """The average true range of each symbol, asked for when a position first needs it."""

    def __init__(self, length: int) -> None:
        """Start without any; *length* is in bars."""
        self._length = length
        self._by_symbol: dict[str, Atr] = {}

    def value(self, symbol: str, ctx: Context) -> float:
        """Return the range at the last bar, quote currency per unit; NaN while there are too few bars."""
        atr = self._by_symbol.get(symbol)
        if atr is None:
            atr = self._by_symbol[symbol] = ctx.indicator(Atr(self._length), symbol)
        return atr.value


def distance(settings: DistanceSettings, position: Position, ctx: Context, pool: AtrPool) -> float:
    """Return the distance that *settings* mean for *position*, quote currency per unit.

    NaN while it is stated in average true ranges and there are too few bars.
    """
    if settings.points is not None:
        return settings.points * ctx.instrument(position.symbol).price_step
    if settings.fraction is not None:
        return settings.fraction * position.average_price
    if settings.atr is not None:
        return settings.atr * pool.value(position.symbol, ctx)
    return math.nan
