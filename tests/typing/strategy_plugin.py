"""A plugin as an author writes it; mypy --strict must accept every line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_type

from herald import (
    Bar,
    Close,
    Component,
    Context,
    Denial,
    ExitRule,
    Fill,
    Order,
    Position,
    Protect,
    Quote,
    RiskCheck,
    RiskView,
    Services,
    Settings,
    Strategy,
    component,
    hookimpl,
)
from herald.indicators import Sma
from herald.model import OrderRequest
from herald.testing import make_bars, run_strategy


class TypedSettings(Settings):
    """The keys of the strategy's table."""

    length: int = 20
    """Bars in the average."""
    size: float = 0.1
    """Lots to hold."""


class Typed(Strategy[TypedSettings]):
    """Long above the mean, flat below."""

    def warmup(self) -> int:
        assert_type(self.settings, TypedSettings)
        return self.settings.length

    def on_start(self, ctx: Context) -> None:
        self.mean = ctx.indicator(Sma(self.settings.length), ctx.symbols[0])
        assert_type(self.mean, Sma)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        assert_type(bar.close, float)
        order = ctx.target(bar.symbol, self.settings.size if bar.close > self.mean.value else 0.0)
        assert_type(order, Order | None)

    def on_fill(self, fill: Fill, ctx: Context) -> None:
        ctx.log(f"{fill.symbol} at {fill.price}")


class Nothing(Settings):
    """No keys."""


class Never:
    """Refuses everything."""

    exempts_reductions = True

    def __init__(self, settings: Nothing, services: Services) -> None:
        self.name = services.name

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        return Denial("never", f"{self.name} refuses {request.symbol}")


class AtOnce:
    """Closes everything on the next bar."""

    def __init__(self, settings: Nothing, services: Services) -> None:
        self.name = services.name

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | Protect | None:
        return Close("at_once") if position.size else None


@hookimpl
def herald_strategies() -> Iterable[Component[Strategy[Any]]]:
    """Offer the strategy."""
    yield component("typed", TypedSettings, Typed, "Long above the mean, flat below.")


@hookimpl
def herald_risk_checks() -> Iterable[Component[RiskCheck]]:
    """Offer the check."""
    yield component("never", Nothing, Never, "Refuse everything.")


@hookimpl
def herald_exits() -> Iterable[Component[ExitRule]]:
    """Offer the exit."""
    yield component("at_once", Nothing, AtOnce, "Close everything.")


def run() -> list[float]:
    """Return the sizes of the fills of a short run."""
    done = run_strategy(Typed, TypedSettings(length=3), make_bars([10, 11, 12, 9]))
    return [fill.size for fill in done.fills]
