"""Checks of what was lost: since the day began, and since the best moment of the run."""

from __future__ import annotations

from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from herald.clock import day_start, format_time, next_day_start
from herald.components import Services, Settings
from herald.contracts import Denial, RiskView
from herald.model import OrderRequest

__all__ = ["DailyLossSettings", "DrawdownSettings", "MaxDailyLoss", "MaxDrawdown"]


class DailyLossSettings(Settings):
    """Settings of `MaxDailyLoss`; state *fraction*, *amount* or both, then the smaller limit rules."""

    fraction: float | None = Field(None, gt=0, le=1)
    """Loss allowed a day, as a fraction of the equity with which the day began."""
    amount: float | None = Field(None, gt=0)
    """Loss allowed a day, account currency."""
    hour: int = Field(0, ge=0, le=23)
    """When a day begins, on the clocks of *zone*."""
    zone: str = "UTC"
    """IANA name of the zone, such as ``America/New_York``."""

    @field_validator("zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {name!r}; write an IANA name, such as UTC or America/New_York") from error
        return name

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.fraction is None and self.amount is None:
            raise ValueError("no limit is given; set fraction or amount")
        return self


class MaxDailyLoss:
    """Refuses entries once the equity, open profit included, has fallen by the limit since the day began."""

    exempts_reductions = True

    def __init__(self, settings: DailyLossSettings, services: Services) -> None:
        """Keep the limits."""
        self._settings = settings
        self._zone = ZoneInfo(settings.zone)
        self._day = 0, 0  # start and end of the day last asked about; finding them is slow

    def _start(self, now: int) -> int:
        start, end = self._day
        if not start <= now < end:
            hour = self._settings.hour
            start, end = self._day = day_start(now, hour, self._zone), next_day_start(now, hour, self._zone)
        return start

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the day's loss has reached the limit."""
        start = self._start(view.now)
        before = view.equity_at(start)
        account = view.account
        loss = before - account.equity
        fraction, amount = self._settings.fraction, self._settings.amount
        limits = []
        if fraction is not None:
            limits.append((fraction * before, f"fraction {fraction:g} of {before:.2f}"))
        if amount is not None:
            limits.append((amount, "amount"))
        limit, name = min(limits)
        if loss < limit:
            return None
        text = f"the loss since {format_time(start)} is {loss:.2f} {account.currency}; the limit is {limit:.2f} ({name})"
        return Denial("max_daily_loss", text)


class DrawdownSettings(Settings):
    """Settings of `MaxDrawdown`."""

    fraction: float = Field(gt=0, le=1)
    """Largest fall of equity from its peak, as a fraction of the peak."""


class MaxDrawdown:
    """Refuses entries once the equity has fallen from its highest point by the limit."""

    exempts_reductions = True

    def __init__(self, settings: DrawdownSettings, services: Services) -> None:
        """Keep the limit."""
        self._limit = settings.fraction

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the drawdown has reached the limit."""
        account = view.account
        peak = max(view.equity_peak(), account.equity)
        if account.equity > (1 - self._limit) * peak:
            return None
        fall = f"equity {account.equity:.2f} {account.currency} is {1 - account.equity / peak:.4f} below its peak {peak:.2f}"
        return Denial("max_drawdown", f"{fall}; the limit is {self._limit:g}")
