"""Hold a long position while price is above its moving average."""

from collections.abc import Iterable
from typing import Any

from herald import Bar, Component, Context, Settings, Strategy, component, hookimpl


class SmaSettings(Settings):
    """The keys of the strategy's table."""

    length: int = 20
    """Bars in the average."""
    size: float = 0.1
    """Lots to hold."""


class Sma(Strategy[SmaSettings]):
    """Long above the mean, flat below."""

    def warmup(self) -> int:
        """Return the length of the average."""
        return self.settings.length

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Compare the close with the mean."""
        mean = ctx.closes(bar.symbol, self.settings.length).mean()
        ctx.target(bar.symbol, self.settings.size if bar.close > mean else 0.0)


@hookimpl
def herald_strategies() -> Iterable[Component[Strategy[Any]]]:
    """Offer the strategy."""
    yield component("sma", SmaSettings, Sma, "Long above the mean, flat below.")
