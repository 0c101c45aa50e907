"""Checks of what was lost: since the day began, since the best moment of the run, by one strategy, and in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from herald.clock import SECOND, day_start, format_time, next_day_start
from herald.components import Services, Settings
from herald.contracts import Denial, RiskView
from herald.model import OrderRequest, Trade, Usage
from herald.plugins.risk._past import Growing

__all__ = [
    "BudgetSettings",
    "ConsecutiveLosses",
    "ConsecutiveSettings",
    "DailyLossSettings",
    "DrawdownSettings",
    "MaxDailyLoss",
    "MaxDrawdown",
    "StrategyBudget",
]


def _closed(view: RiskView, time: int) -> Sequence[Trade]:
    return view.trades_since(time)


def _closed_at(trade: Trade) -> int:
    return trade.exit_time


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}; write an IANA name, such as UTC or America/New_York") from error
    return name


class _Days:
    """Tells when the present day began; finding that is slow, so it is kept for the day."""

    def __init__(self, hour: int, zone: str) -> None:
        self._hour = hour
        self._zone = ZoneInfo(zone)
        self._day = 0, 0

    def start(self, now: int) -> int:
        """Return the last moment when clocks showed the hour, nanoseconds UTC."""
        start, end = self._day
        if not start <= now < end:
            hour = self._hour
            start, end = self._day = day_start(now, hour, self._zone), next_day_start(now, hour, self._zone)
        return start


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
        return _known_zone(name)

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
        self._days = _Days(settings.hour, settings.zone)

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the day's loss has reached the limit."""
        start = self._days.start(view.now)
        before = view.equity_at(start)
        account = view.account
        loss = before - account.equity
        fraction = self._settings.fraction
        limit, by_amount = self._bound(before)
        if loss < limit:
            return None
        name = "amount" if by_amount else f"fraction {fraction:g} of {before:.2f}"
        text = f"the loss since {format_time(start)} is {loss:.2f} {account.currency}; the limit is {limit:.2f} ({name})"
        return Denial("max_daily_loss", text)

    def usage(self, view: RiskView) -> Sequence[Usage]:
        """Return how much of the day's allowed loss is used."""
        before = view.equity_at(self._days.start(view.now))
        account = view.account
        text = f"loss of the day, {account.currency}"
        return (Usage("max_daily_loss", text, max(before - account.equity, 0.0), self._bound(before)[0]),)

    def _bound(self, before: float) -> tuple[float, bool]:
        """Return the limit where the day began with the equity *before*, and whether it is the stated amount."""
        fraction, amount = self._settings.fraction, self._settings.amount
        limit = math.inf if fraction is None else fraction * before
        return (amount, True) if amount is not None and amount < limit else (limit, False)


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

    def usage(self, view: RiskView) -> Sequence[Usage]:
        """Return how far the equity is below its peak."""
        equity = view.account.equity
        peak = max(view.equity_peak(), equity)
        return (Usage("max_drawdown", "fall from the peak, fraction", 1 - equity / peak, self._limit),) if peak > 0 else ()


class ConsecutiveSettings(Settings):
    """Settings of `ConsecutiveLosses`."""

    limit: int = Field(5, ge=1)
    """So many losing round trips of one strategy in a row stop its entries ..."""
    pause_seconds: float = Field(86_400.0, gt=0)
    """... for so many seconds from the end of the last one; the next loss behind them stops it again."""


class ConsecutiveLosses:
    """Lets a strategy that does nothing but lose rest for a while."""

    exempts_reductions = True

    def __init__(self, settings: ConsecutiveSettings, services: Services) -> None:
        """Keep the limits."""
        self._limit = settings.limit
        self._pause = round(settings.pause_seconds * SECOND)
        self._past: Growing[Trade] = Growing(_closed, _closed_at)
        self._losses: dict[str, tuple[int, int]] = {}

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the strategy's last trades were all losses, and the last one is not long ago."""
        losses = self._losses
        anew, news = self._past.news(view)
        if anew:
            losses.clear()
        for trade in news:
            count = losses.get(trade.strategy, (0, 0))[0] + 1 if trade.net < 0 else 0
            losses[trade.strategy] = count, trade.exit_time
        count, last = losses.get(request.strategy, (0, 0))
        if count < self._limit or view.now >= last + self._pause:
            return None
        until = format_time(last + self._pause)
        text = f"{request.strategy!r} lost {count} times in a row; the limit is {self._limit}, and it pauses until {until}"
        return Denial("consecutive_losses", text)


class BudgetSettings(Settings):
    """Settings of `StrategyBudget`; state *amount*, *fraction* or *strategies*."""

    amount: float | None = Field(None, gt=0)
    """Loss allowed to each strategy, account currency."""
    fraction: float | None = Field(None, gt=0, le=1)
    """The same as a fraction of the account's equity when the period began; with both, the smaller rules."""
    strategies: dict[str, float] = Field(default_factory=dict)
    """Loss allowed to single strategies by name, account currency; it replaces the other limits for them."""
    period: Literal["day", "run"] = "run"
    """What was closed since the day or the run began counts; what is open counts whole."""
    hour: int = Field(0, ge=0, le=23)
    """When a day begins, on the clocks of *zone*."""
    zone: str = "UTC"
    """IANA name of the zone, such as ``America/New_York``."""

    @field_validator("zone")
    @classmethod
    def _known(cls, name: str) -> str:
        return _known_zone(name)

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.amount is None and self.fraction is None and not self.strategies:
            raise ValueError("no limit is given; set amount, fraction or strategies")
        for name, amount in self.strategies.items():
            if not amount > 0:
                raise ValueError(f"strategies.{name} must be greater than 0, not {amount!r}")
        return self


class StrategyBudget:
    """Refuses entries of a strategy that has lost what it was given, open profit included."""

    exempts_reductions = True

    def __init__(self, settings: BudgetSettings, services: Services) -> None:
        """Keep the limits."""
        self._amount = settings.amount
        self._fraction = settings.fraction
        self._own = dict(settings.strategies)
        self._daily = settings.period == "day"
        self._days = _Days(settings.hour, settings.zone)
        self._past: Growing[Trade] = Growing(_closed, _closed_at)
        self._realized: dict[str, float] = {}

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the strategy's loss has reached its limit."""
        strategy = request.strategy
        floor = self._days.start(view.now) if self._daily else 0
        limit, name = self._limit(strategy, view, floor)
        if limit == math.inf:
            return None
        realized = self._realized
        anew, news = self._past.news(view, floor)
        if anew:
            realized.clear()
        for trade in news:
            realized[trade.strategy] = realized.get(trade.strategy, 0.0) + trade.net
        profit = realized.get(strategy, 0.0)
        for owner, position in view.positions():
            if owner == strategy:
                symbol = position.symbol
                profit += position.unrealized(view.price(symbol), view.instrument(symbol)) * view.rate(symbol)
        if -profit < limit:
            return None
        text = f"the loss of {strategy!r} is {-profit:.2f} {view.account.currency}; the limit is {limit:.2f} ({name})"
        return Denial("strategy_budget", text)

    def _limit(self, strategy: str, view: RiskView, floor: int) -> tuple[float, str]:
        """Return the loss that *strategy* is allowed, and the setting that says so."""
        own = self._own.get(strategy)
        if own is not None:
            return own, "strategies"
        limit, name = math.inf, ""
        if self._fraction is not None:
            limit, name = self._fraction * view.equity_at(floor), "fraction"
        if self._amount is not None and self._amount < limit:
            limit, name = self._amount, "amount"
        return limit, name
