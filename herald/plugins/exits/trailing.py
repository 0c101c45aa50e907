"""A stop that follows the best price since the entry and never moves back."""

from __future__ import annotations

import math

from pydantic import Field

from herald.components import Services
from herald.contracts import Close, Context, Protect
from herald.model import Bar, Position, Quote
from herald.plugins.exits.distance import AtrPool, DistanceSettings, distance
from herald.plugins.exits.memory import Memory, is_after_entry

__all__ = ["TrailingStop", "TrailingStopSettings"]


class TrailingStopSettings(DistanceSettings):
    """Settings of `TrailingStop`; the distance is between the best price since the entry and the stop."""

    activation: float = Field(0.0, ge=0)
    """Profit that the best price must have reached before the stop is set, in the unit of the distance; 0 sets it at once."""


class _Trail:
    """The best price and the stop of one position."""

    __slots__ = ("active", "best", "stop")

    def __init__(self) -> None:
        self.best = math.nan
        self.stop = math.nan
        self.active = False


class TrailingStop:
    """Keeps a stop at a distance behind the best price since the entry.

    A range-based distance follows the present range, but the stop still never loosens. Of the bar in which the
    entry filled at a limit or a stop only the close counts, since its extremes may lie before the entry.
    """

    def __init__(self, settings: TrailingStopSettings, services: Services) -> None:
        """Keep the distance."""
        self._settings = settings
        self._unit = settings.points or settings.fraction or settings.atr or math.nan
        self._atr = AtrPool(settings.atr_length)
        self._trails: Memory[_Trail] = Memory(_Trail)

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | Protect | None:
        """Return the stop, or a close where the price is beyond it."""
        if not isinstance(event, Bar):
            return None
        trail = self._trails.of(position)
        sign = 1 if position.size > 0 else -1
        extreme = event.close
        if is_after_entry(event, position):
            extreme = event.high if sign > 0 else event.low
        if math.isnan(trail.best) or sign * (extreme - trail.best) > 0:
            trail.best = extreme
        gap = distance(self._settings, position, ctx, self._atr)
        if math.isnan(gap):
            return None
        if not trail.active:
            needed = gap * self._settings.activation / self._unit
            trail.active = sign * (trail.best - position.average_price) >= needed or self._settings.activation == 0
            if not trail.active:
                return None
        stop = trail.best - sign * gap
        if math.isnan(trail.stop) or sign * (stop - trail.stop) > 0:
            trail.stop = stop
        if sign * (event.close - trail.stop) <= 0:
            return Close("trailing_stop")
        if trail.stop <= 0:
            return None
        return Protect("trailing_stop", stop_loss=trail.stop)
