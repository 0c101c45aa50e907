"""Follow breakouts: enter outside the channel of the last bars, close outside a shorter channel on the other side."""

from __future__ import annotations

import math

from pydantic import Field

from herald.components import Settings
from herald.contracts import Context, Strategy
from herald.indicators import Donchian
from herald.model import Bar
from herald.plugins.strategies.holding import hold

__all__ = ["DonchianBreakout", "DonchianBreakoutSettings"]


class DonchianBreakoutSettings(Settings):
    """Settings of `DonchianBreakout`."""

    entry: int = Field(20, ge=1)
    """Bars of the channel that a close must leave to enter."""
    leave: int = Field(10, ge=1)
    """Bars of the channel that a close must leave, against the position, to close it."""
    long_only: bool = False
    """Never go short."""
    size: float | None = Field(None, gt=0)
    """Lots to hold; without it the configured sizer decides."""


class DonchianBreakout(Strategy[DonchianBreakoutSettings]):
    """Compares each close with the channels as they were one bar before; see `herald.indicators.Donchian`."""

    def warmup(self) -> int:
        """Return the bars that both channels need; the first bar after them can be compared with them."""
        return max(self.settings.entry, self.settings.leave)

    def on_start(self, ctx: Context) -> None:
        """Ask for both channels of every symbol."""
        entry, leave = self.settings.entry, self.settings.leave
        self._channels = {
            name: (ctx.indicator(Donchian(entry), name), ctx.indicator(Donchian(leave), name)) for name in ctx.symbols
        }
        # Nothing is above infinity: the first bar of a symbol only shows where its channels are.
        self._before = dict.fromkeys(ctx.symbols, (math.inf, -math.inf, math.inf, -math.inf))

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Enter or turn where the close is outside the long channel, else look whether to close."""
        entry, leave = self._channels[bar.symbol]
        top, bottom, leave_top, leave_bottom = self._before[bar.symbol]
        self._before[bar.symbol] = (entry.upper, entry.lower, leave.upper, leave.lower)
        held = ctx.position(bar.symbol).size
        if bar.close > top and held <= 0:
            hold(ctx, bar.symbol, 1, self.settings.size)
        elif bar.close < bottom and held >= 0 and not self.settings.long_only:
            hold(ctx, bar.symbol, -1, self.settings.size)
        elif (held > 0 and bar.close < leave_bottom) or (held < 0 and bar.close > leave_top):
            ctx.close(bar.symbol)
