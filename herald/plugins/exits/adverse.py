"""Get out when the price runs against a position fast."""

from __future__ import annotations

import math
from collections import deque
from typing import Self

from pydantic import Field, model_validator

from herald.clock import SECOND
from herald.components import Services
from herald.contracts import Close, Context, Protect
from herald.errors import ConfigError, Problem
from herald.model import Bar, Position, Quote
from herald.plugins.exits.distance import AtrPool, DistanceSettings, distance
from herald.plugins.exits.memory import Memory, is_after_entry

__all__ = ["AdverseMovement", "AdverseMovementSettings"]


class AdverseMovementSettings(DistanceSettings):
    """Settings of `AdverseMovement`; state one distance and one window."""

    window_bars: int | None = Field(None, ge=1)
    """Bars within which the move happens, the present one included."""
    window_seconds: float | None = Field(None, gt=0)
    """Seconds within which it happens; at least one bar long."""

    @model_validator(mode="after")
    def _states_one_window(self) -> Self:
        if (self.window_bars is None) == (self.window_seconds is None):
            raise ValueError("state how fast the move is: set exactly one of window_bars and window_seconds")
        return self


class AdverseMovement:
    """Closes a position when, inside a window that ends now, the price moved against it by the distance.

    The move is measured from the best price since the window began, or since the entry where that was later, to
    the last close. Of the bar in which the entry filled at a limit or a stop only the close counts. Where a symbol
    has several series, the window counts bars of the finest.
    """

    def __init__(self, settings: AdverseMovementSettings, services: Services) -> None:
        """Keep distance and window."""
        self._settings = settings
        seconds = settings.window_seconds
        self._window = None if seconds is None else round(seconds * SECOND)
        self._atr = AtrPool(settings.atr_length)
        self._recent: Memory[deque[tuple[int, int, float]]] = Memory(lambda: deque(maxlen=settings.window_bars))

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | Protect | None:
        """Return a close where the price ran away."""
        if not isinstance(event, Bar):
            return None
        recent = self._recent.of(position)
        if recent and recent[0][0] != event.span:
            if recent[0][0] < event.span:
                return None
            recent.clear()
        if self._window is not None and event.span > self._window:
            what = f"window_seconds {self._settings.window_seconds:g} is shorter than a bar of {event.span / SECOND:g} s"
            raise ConfigError("config", [Problem("exits.adverse_movement", what, "use window_bars or a finer time frame")])
        sign = 1 if position.size > 0 else -1
        best = event.close
        if is_after_entry(event, position):
            best = event.high if sign > 0 else event.low
        recent.append((event.span, event.time, best))
        if self._window is not None:
            while recent[0][1] - event.span < event.time - self._window:
                recent.popleft()  # it began before the window did
        reference = max(sign * price for _, _, price in recent)
        limit = distance(self._settings, position, ctx, self._atr)
        if math.isnan(limit) or reference - sign * event.close < limit:
            return None
        return Close("adverse_movement")
