"""Bet on the return to the mean: enter when a close leaves the Bollinger bands, close when it is back at the middle."""

from __future__ import annotations

from pydantic import Field

from herald.components import Settings
from herald.contracts import Context, Strategy
from herald.indicators import Bollinger
from herald.model import Bar
from herald.plugins.strategies.holding import hold

__all__ = ["BollingerReversion", "BollingerReversionSettings"]


class BollingerReversionSettings(Settings):
    """Settings of `BollingerReversion`."""

    length: int = Field(20, ge=2)
    """Bars of the mean and the deviation."""
    width: float = Field(2.0, gt=0)
    """Distance of the bands from the mean, standard deviations."""
    long_only: bool = False
    """Never go short."""
    size: float | None = Field(None, gt=0)
    """Lots to hold; without it the configured sizer decides."""


class BollingerReversion(Strategy[BollingerReversionSettings]):
    """Buys below the lower band, sells above the upper one, closes at the mean."""

    def warmup(self) -> int:
        """Return the bars that the bands need."""
        return self.settings.length

    def on_start(self, ctx: Context) -> None:
        """Ask for the bands of every symbol."""
        length, width = self.settings.length, self.settings.width
        self._bands = {name: ctx.indicator(Bollinger(length, width), name) for name in ctx.symbols}
        self._zone = dict.fromkeys(ctx.symbols, 0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Enter on the bar that leaves the bands, not on those that stay outside; otherwise look whether to close."""
        bands, held = self._bands[bar.symbol], ctx.position(bar.symbol).size
        zone = 1 if bar.close < bands.lower else -1 if bar.close > bands.upper else 0
        entered, self._zone[bar.symbol] = zone != self._zone[bar.symbol], zone
        if entered and zone and not (self.settings.long_only and zone < 0):
            hold(ctx, bar.symbol, zone, self.settings.size)
        elif (held > 0 and bar.close >= bands.value) or (held < 0 and bar.close <= bands.value):
            ctx.close(bar.symbol)
