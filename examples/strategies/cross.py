"""A strategy of one's own: the cross of two moving averages, in a folder that the config names."""

from collections.abc import Iterable
from typing import Any

from herald import Bar, Component, Context, Settings, Strategy, component, hookimpl
from herald.indicators import Sma


class CrossSettings(Settings):
    fast: int = 10
    """Bars in the fast average."""
    slow: int = 50
    """Bars in the slow average."""
    size: float = 0.1
    """Lots to hold, long or short."""


class Cross(Strategy[CrossSettings]):
    """Long while the fast average is above the slow one, short while it is below."""

    def warmup(self) -> int:
        return self.settings.slow

    def on_start(self, ctx: Context) -> None:
        (symbol,) = ctx.symbols
        self.fast = ctx.indicator(Sma(self.settings.fast), symbol)
        self.slow = ctx.indicator(Sma(self.settings.slow), symbol)
        self.above: bool | None = None

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        above = self.fast.value > self.slow.value
        if above is not self.above:
            if self.above is not None:  # the first bar only says which side we are on
                ctx.target(bar.symbol, self.settings.size if above else -self.settings.size)
            self.above = above


@hookimpl
def herald_strategies() -> Iterable[Component[Strategy[Any]]]:
    yield component("cross", CrossSettings, Cross, "Turn with the cross of two moving averages.")
