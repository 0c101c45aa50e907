"""Bet against exhaustion: buy when the relative strength index falls too low, sell when it rises too high."""

from __future__ import annotations

from pydantic import Field, model_validator

from herald.components import Settings
from herald.contracts import Context, Strategy
from herald.indicators import Rsi
from herald.model import Bar
from herald.plugins.strategies.holding import hold

__all__ = ["RsiReversion", "RsiReversionSettings"]


class RsiReversionSettings(Settings):
    """Settings of `RsiReversion`; the levels are values of the index, 0 to 100."""

    length: int = Field(14, ge=1)
    """Bars of the index."""
    oversold: float = Field(30.0, gt=0, lt=100)
    """Buy when the index falls below."""
    leave: float = Field(50.0, gt=0, lt=100)
    """Close a long position at or above, a short one at or below."""
    overbought: float = Field(70.0, gt=0, lt=100)
    """Sell when the index rises above."""
    long_only: bool = False
    """Never go short."""
    size: float | None = Field(None, gt=0)
    """Lots to hold; without it the configured sizer decides."""

    @model_validator(mode="after")
    def _levels_rise(self) -> RsiReversionSettings:
        if not self.oversold < self.leave < self.overbought:
            raise ValueError("the levels do not rise; set oversold below leave and leave below overbought")
        return self


class RsiReversion(Strategy[RsiReversionSettings]):
    """Enters when the index leaves its usual range, closes when it is back in the middle."""

    def warmup(self) -> int:
        """Return the bars that the index needs: one more than changes."""
        return self.settings.length + 1

    def on_start(self, ctx: Context) -> None:
        """Ask for the index of every symbol."""
        self._rsi = {name: ctx.indicator(Rsi(self.settings.length), name) for name in ctx.symbols}
        self._zone = dict.fromkeys(ctx.symbols, 0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Enter on the bar that enters a zone, not on those that stay there; otherwise look whether to close."""
        want, rsi, held = self.settings, self._rsi[bar.symbol].value, ctx.position(bar.symbol).size
        zone = 1 if rsi < want.oversold else -1 if rsi > want.overbought else 0
        entered, self._zone[bar.symbol] = zone != self._zone[bar.symbol], zone
        if entered and zone and not (want.long_only and zone < 0):
            hold(ctx, bar.symbol, zone, want.size)
        elif (held > 0 and rsi >= want.leave) or (held < 0 and rsi <= want.leave):
            ctx.close(bar.symbol)
