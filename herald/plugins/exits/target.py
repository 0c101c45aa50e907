"""Take profit in parts, at several levels."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from herald.components import Services, Settings
from herald.contracts import Close, Context, Protect
from herald.model import Bar, OrderType, Position, Quote
from herald.plugins.exits.distance import AtrPool, DistanceSettings, distance
from herald.plugins.exits.levels import initial_risk, unprotected
from herald.plugins.exits.memory import Memory, is_after_entry

__all__ = ["LevelSettings", "ProfitTarget", "ProfitTargetSettings"]

_DUST = 1e-9  # shares such as 0.1 + 0.2 + 0.7 do not add up to exactly 1


class LevelSettings(DistanceSettings):
    """One level; state exactly one of *points*, *fraction*, *atr* and *r*."""

    r: float | None = Field(None, gt=0)
    """In multiples of the distance between the entry and the first stop loss that protects the position."""
    share: float = Field(gt=0, le=1)
    """Part of the original position to close here."""

    @classmethod
    def _choices(cls) -> tuple[str, ...]:
        return ("points", "fraction", "atr", "r")


class ProfitTargetSettings(Settings):
    """Settings of `ProfitTarget`."""

    levels: tuple[LevelSettings, ...] = Field(min_length=1)
    """Such as ``[{ r = 1, share = 0.5 }, { r = 2, share = 0.5 }]``."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        total = sum(level.share for level in self.levels)
        if total > 1 + _DUST:
            raise ValueError(f"the shares of the levels add up to {total:g}; they may be 1 at most")
        return self


class _Progress:
    """How far one position got; sizes in lots."""

    __slots__ = ("due", "held", "original", "prices", "reached", "rest", "risk", "waited")

    def __init__(self) -> None:
        self.held = 0.0  # at the last bar
        self.original = 0.0  # the largest size so far
        self.prices: list[float] = []  # of each level, NaN until it is known
        self.reached: set[int] = set()
        self.due = 0.0  # still to be closed
        self.rest = 0.0  # what rounding left undone
        self.risk = math.nan
        self.waited = 0


class ProfitTarget:
    """Closes a share of the original position at each level, once.

    A level is reached when the price has touched it within a bar that lies after the entry; the part is closed at
    market then, on the next bar. The original position is the largest it has been. A share is rounded down to
    the instrument's steps and the rest is left for the next level; the level that completes the shares to 1
    closes all there is.
    """

    def __init__(self, settings: ProfitTargetSettings, services: Services) -> None:
        """Keep the levels."""
        self._levels = settings.levels
        self._services = services
        self._atr = {level.atr_length: AtrPool(level.atr_length) for level in settings.levels}
        self._progress: Memory[_Progress] = Memory(_Progress)

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | Protect | None:
        """Return a close of the part that is due."""
        if not isinstance(event, Bar):
            return None
        progress = self._progress.of(position)
        held = abs(position.size)
        if held < progress.held:
            progress.due = max(round(progress.due - (progress.held - held), 10), 0.0)
        progress.held = held
        progress.original = max(progress.original, held)
        self._locate(progress, position, ctx)
        instrument = ctx.instrument(position.symbol)
        fresh = self._fresh(progress, position, event)
        if fresh:
            progress.reached |= fresh
            share = sum(self._levels[index].share for index in fresh)
            wanted = share * progress.original + progress.rest
            part = instrument.round_size(wanted)
            progress.rest = wanted - part
            progress.due = round(progress.due + part, 10)
            if sum(self._levels[index].share for index in progress.reached) >= 1 - _DUST:
                progress.due = held
        due = min(progress.due, held)
        if due <= 0 or (due < instrument.min_size and due < held) or _is_closing(position, ctx):
            return None
        return Close("profit_target", due / held)

    def _fresh(self, progress: _Progress, position: Position, bar: Bar) -> set[int]:
        """Return the levels that *bar* has reached for the first time."""
        sign = 1 if position.size > 0 else -1
        best = bar.close
        if is_after_entry(bar, position):
            best = bar.high if sign > 0 else bar.low
        return {
            index for index, price in enumerate(progress.prices) if index not in progress.reached and sign * (best - price) >= 0
        }

    def _locate(self, progress: _Progress, position: Position, ctx: Context) -> None:
        """Find the price of every level that is not known yet."""
        if not progress.prices:
            progress.prices = [math.nan] * len(self._levels)
        if math.isnan(progress.risk) and any(level.r is not None for level in self._levels):
            progress.risk = initial_risk(position, ctx)
            progress.waited += 1
            if math.isnan(progress.risk) and progress.waited == 2:
                self._services.emit(unprotected(position, ctx, self._services.name))
        sign = 1 if position.size > 0 else -1
        for index, level in enumerate(self._levels):
            if math.isnan(progress.prices[index]):
                if level.r is not None:
                    reach = level.r * progress.risk
                else:
                    reach = distance(level, position, ctx, self._atr[level.atr_length])
                progress.prices[index] = position.average_price + sign * reach


def _is_closing(position: Position, ctx: Context) -> bool:
    """Return whether a part is being closed already."""
    return any(
        order.request.reduce_only and order.request.type is OrderType.MARKET and not order.request.parent
        for order in ctx.orders(position.symbol)
    )
