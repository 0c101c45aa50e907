"""Follow the trend: long while a fast average is above a slow one, short (or out) while it is below."""

from __future__ import annotations

from pydantic import Field, model_validator

from herald.components import Settings
from herald.contracts import Context, Strategy
from herald.indicators import Sma
from herald.model import Bar
from herald.plugins.strategies.holding import hold

__all__ = ["SmaCross", "SmaCrossSettings"]


class SmaCrossSettings(Settings):
    """Settings of `SmaCross`."""

    fast: int = Field(10, ge=1)
    """Bars in the fast average."""
    slow: int = Field(50, ge=2)
    """Bars in the slow average, more than fast."""
    long_only: bool = False
    """Stay out instead of going short."""
    size: float | None = Field(None, gt=0)
    """Lots to hold; without it the configured sizer decides."""

    @model_validator(mode="after")
    def _fast_is_faster(self) -> SmaCrossSettings:
        if self.fast >= self.slow:
            raise ValueError(f"fast ({self.fast}) is not below slow ({self.slow}); swap them or make slow larger")
        return self


class SmaCross(Strategy[SmaCrossSettings]):
    """Turns when the averages cross, and takes the side they are on when the run begins."""

    def warmup(self) -> int:
        """Return the bars that the slow average needs."""
        return self.settings.slow

    def on_start(self, ctx: Context) -> None:
        """Ask for both averages of every symbol."""
        fast, slow = self.settings.fast, self.settings.slow
        self._averages = {name: (ctx.indicator(Sma(fast), name), ctx.indicator(Sma(slow), name)) for name in ctx.symbols}
        self._side = dict.fromkeys(ctx.symbols, 0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Turn where the sign of fast minus slow has changed; equal averages change nothing."""
        fast, slow = self._averages[bar.symbol]
        side = 1 if fast.value > slow.value else -1 if fast.value < slow.value else 0
        if side and side != self._side[bar.symbol]:
            self._side[bar.symbol] = side
            hold(ctx, bar.symbol, max(side, 0) if self.settings.long_only else side, self.settings.size)
