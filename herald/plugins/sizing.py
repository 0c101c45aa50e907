"""Position sizing: how many lots a request gets that states none.

Money is account currency at the last prices, costs are not counted. Sizes are not rounded here; the engine
rounds them toward zero to the instrument's step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from herald.clock import DAY
from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Intent, RiskView, Sizer
from herald.errors import OrderError
from herald.indicators import Atr

__all__ = [
    "Fixed",
    "FixedSettings",
    "PercentEquity",
    "PercentEquitySettings",
    "PercentRisk",
    "PercentRiskSettings",
    "VolatilityTarget",
    "VolatilityTargetSettings",
    "herald_sizers",
]

_YEAR = 365.25 * DAY

# Wilder's average never forgets; after 20 lengths what came before weighs exp(-20), which no step of a size shows.
_ATR_LENGTHS = 20


def _lot_value(intent: Intent, view: RiskView) -> float:
    """Return what one lot is worth at the price of *intent*, account currency."""
    value = view.instrument(intent.symbol).contract_size * intent.price * view.rate(intent.symbol)
    if not (value > 0 and math.isfinite(value)):
        raise OrderError(f"one lot of {intent.symbol} cannot be valued at price {intent.price!r}; wait for its first bar")
    return value


class FixedSettings(Settings):
    """Settings of `Fixed`."""

    size: float = Field(gt=0)
    """Lots."""


class Fixed:
    """Always the same size."""

    def __init__(self, settings: FixedSettings, services: Services) -> None:
        """Keep the size."""
        self._size = settings.size

    def size(self, intent: Intent, view: RiskView) -> float:
        """Return the configured lots."""
        return self._size


class PercentEquitySettings(Settings):
    """Settings of `PercentEquity`."""

    fraction: float = Field(gt=0)
    """Part of the equity to put into the position."""
    leverage: float = Field(1.0, gt=0)
    """How many times that part the position is worth."""


class PercentEquity:
    """A position worth a fraction of the equity."""

    def __init__(self, settings: PercentEquitySettings, services: Services) -> None:
        """Keep the settings."""
        self._share = settings.fraction * settings.leverage

    def size(self, intent: Intent, view: RiskView) -> float:
        """Return lots worth fraction x leverage x equity.

        Raises:
            OrderError: The symbol has no price or no conversion rate yet.
        """
        return max(self._share * view.account.equity, 0.0) / _lot_value(intent, view)


class PercentRiskSettings(Settings):
    """Settings of `PercentRisk`; at most one of *stop_points* and *stop_atr*."""

    fraction: float = Field(gt=0, lt=1)
    """Part of the equity that is lost when the stop is reached."""
    stop_points: float | None = Field(None, gt=0)
    """Distance of the stop where a request states none, in price steps."""
    stop_atr: float | None = Field(None, gt=0)
    """The same, in average true ranges of the symbol's finest series."""
    atr_length: int = Field(14, ge=1)
    """Bars of the average true range."""

    @model_validator(mode="after")
    def _one_distance(self) -> Self:
        if self.stop_points is not None and self.stop_atr is not None:
            raise ValueError("stop_points and stop_atr exclude each other; keep one")
        return self


class PercentRisk:
    """A position that loses a fraction of the equity when its stop is reached."""

    def __init__(self, settings: PercentRiskSettings, services: Services) -> None:
        """Keep the settings."""
        self._settings = settings

    def size(self, intent: Intent, view: RiskView) -> float:
        """Return fraction x equity / (what one lot loses from the entry to the stop).

        Raises:
            OrderError: There is no stop and no setting in its place, or it is on the wrong side.
        """
        distance = self._distance(intent, view)
        loss = distance * view.instrument(intent.symbol).contract_size * view.rate(intent.symbol)
        if not (loss > 0 and math.isfinite(loss)):
            raise OrderError(
                f"what one lot of {intent.symbol} loses over {distance:.10g} cannot be valued; wait for its first bar"
            )
        return max(self._settings.fraction * view.account.equity, 0.0) / loss

    def _distance(self, intent: Intent, view: RiskView) -> float:
        """Return how far the stop is from the entry, quote currency per unit."""
        settings = self._settings
        if intent.stop_loss is not None:
            distance = intent.side * (intent.price - intent.stop_loss)
            if distance <= 0:
                what = f"stop_loss {intent.stop_loss!r} is not on the losing side of {intent.price!r}"
                raise OrderError(f"{what}; a {intent.side.name.lower()} needs it on the other")
            return distance
        if settings.stop_points is not None:
            return settings.stop_points * view.instrument(intent.symbol).price_step
        if settings.stop_atr is not None:
            series = view.history(intent.symbol, _ATR_LENGTHS * settings.atr_length)
            reach = float(Atr(settings.atr_length).compute(series)["value"][-1]) if len(series) else math.nan
            if math.isnan(reach):
                needed = f"ATR({settings.atr_length}) of {intent.symbol} needs more than {len(series)} bars"
                raise OrderError(f"{needed}; return more from warmup()")
            return settings.stop_atr * reach
        raise OrderError(
            f"percent_risk needs a stop loss for {intent.symbol}; state stop_loss with the order, or set stop_points or stop_atr"
        )


class VolatilityTargetSettings(Settings):
    """Settings of `VolatilityTarget`."""

    annual_volatility: float = Field(gt=0)
    """Standard deviation of the position's profit over a year, as a fraction of equity."""
    lookback: int = Field(60, ge=2)
    """Returns of the symbol's finest series that are measured."""
    max_leverage: float | None = Field(None, gt=0)
    """Most that the position may be worth, times equity; None for no bound."""


class VolatilityTarget:
    """A position whose profit would vary by a fraction of the equity over a year.

    The volatility of the symbol is the sample standard deviation of the last *lookback* close-to-close returns,
    times the square root of the bars in a year. Those are counted by the calendar: the time that the same bars
    took, nights and weekends included, says how many fit into 365.25 days.
    """

    def __init__(self, settings: VolatilityTargetSettings, services: Services) -> None:
        """Keep the settings."""
        self._settings = settings

    def size(self, intent: Intent, view: RiskView) -> float:
        """Return target x equity / (annual volatility x what one lot is worth).

        Raises:
            OrderError: Fewer than lookback + 1 bars are known, or the price has not moved.
        """
        settings = self._settings
        series = view.history(intent.symbol, settings.lookback + 1)
        if len(series) <= settings.lookback:
            what = f"volatility_target needs {settings.lookback + 1} bars of {intent.symbol} and {len(series)} are known"
            raise OrderError(f"{what}; return more from warmup() or lower lookback")
        returns = np.diff(series.close) / series.close[:-1]
        per_year = settings.lookback * _YEAR / float(series.time[-1] - series.time[0])
        volatility = float(np.std(returns, ddof=1)) * math.sqrt(per_year)
        if not volatility > 0:
            raise OrderError(
                f"the last {settings.lookback} returns of {intent.symbol} do not vary, so no size has the volatility asked for"
            )
        share = settings.annual_volatility / volatility
        if settings.max_leverage is not None:
            share = min(share, settings.max_leverage)
        return share * max(view.account.equity, 0.0) / _lot_value(intent, view)


@hookimpl
def herald_sizers() -> Iterable[Component[Sizer]]:
    """Offer the four rules."""
    yield component("fixed", FixedSettings, Fixed, "Always the same lots.")
    yield component("percent_equity", PercentEquitySettings, PercentEquity, "Worth a fraction of the equity.")
    yield component("percent_risk", PercentRiskSettings, PercentRisk, "Loses a fraction of the equity at the stop.")
    yield component("volatility_target", VolatilityTargetSettings, VolatilityTarget, "Varies by a fraction of the equity a year.")
