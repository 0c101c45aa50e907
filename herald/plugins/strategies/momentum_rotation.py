"""Hold what has risen most: rank many symbols by their return, keep the best few, look again every so many bars."""

from __future__ import annotations

from pydantic import Field

from herald.components import Settings
from herald.contracts import Context, Strategy
from herald.model import Bar
from herald.plugins.strategies.holding import hold

__all__ = ["MomentumRotation", "MomentumRotationSettings"]


class MomentumRotationSettings(Settings):
    """Settings of `MomentumRotation`."""

    lookback: int = Field(60, ge=1)
    """Bars over which the return is measured."""
    top: int = Field(3, ge=1)
    """Symbols to hold; all where there are no more."""
    every: int = Field(20, ge=1)
    """Times with a bar of any symbol from one ranking to the next."""
    size: float | None = Field(None, gt=0)
    """Lots of each symbol held; without it the configured sizer decides when a symbol is bought."""


class MomentumRotation(Strategy[MomentumRotationSettings]):
    """Long the best symbols of its list."""

    def warmup(self) -> int:
        """Return the bars that a return over the lookback needs."""
        return self.settings.lookback + 1

    def on_start(self, ctx: Context) -> None:
        """Begin to count."""
        self._time = 0
        self._times = 0

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Rank at the first bar of a time that is due; by then the bars of all symbols of that time are known."""
        if bar.time == self._time:
            return
        self._time = bar.time
        if self._times % self.settings.every == 0:
            self._rotate(ctx)
        self._times += 1

    def _rotate(self, ctx: Context) -> None:
        """Sell what is not among the best, then buy what is and is not held; equal returns go by config order."""
        n = self.settings.lookback + 1
        gains = {symbol: ctx.closes(symbol, n)[-1] / ctx.closes(symbol, n)[0] for symbol in ctx.symbols}
        best = sorted(gains, key=gains.__getitem__, reverse=True)[: self.settings.top]
        for symbol in ctx.symbols:
            if symbol not in best:
                ctx.close(symbol)
        for symbol in best:
            hold(ctx, symbol, 1, self.settings.size)
