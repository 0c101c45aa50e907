"""Checks of how the run stands: what may be traded, the connector, the journal, disk and clock, the account."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from herald.components import Services, Settings
from herald.contracts import Denial, RiskView
from herald.model import OrderRequest, OrderStatus

__all__ = [
    "ModeLock",
    "ModeLockSettings",
    "Ready",
    "ReadySettings",
    "StandingCheck",
    "StandingSettings",
    "TradingState",
    "TradingStateSettings",
]

_UNKNOWN = OrderStatus.UNKNOWN


class TradingStateSettings(Settings):
    """Settings of `TradingState`: none."""


class TradingState:
    """Refuses everything while HALTED, and what does not reduce a position while REDUCING."""

    exempts_reductions = False

    def __init__(self, settings: TradingStateSettings, services: Services) -> None:
        """There is nothing to keep."""

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the state forbids the request; an unknown word counts as HALTED."""
        state = view.trading_state(request.strategy, request.symbol)
        if state == "ACTIVE":
            return None
        where = f"of {request.strategy!r} in {request.symbol}"
        if state == "REDUCING":
            if view.reduces(request):
                return None
            return Denial("trading_state", f"trading {where} is REDUCING: only what makes a position smaller passes")
        return Denial("trading_state", f"trading {where} is {state}: nothing passes")


class ReadySettings(Settings):
    """Settings of `Ready`."""

    unknown: Literal["book", "symbol"] = "book"
    """An order of unknown fate blocks entries of its strategy in its symbol, or of every strategy in its symbol."""


class Ready:
    """Refuses entries while the connector is not ready, or while nobody knows what became of an order there."""

    exempts_reductions = True

    def __init__(self, settings: ReadySettings, services: Services) -> None:
        """Keep how far an unknown order reaches."""
        self._whole_symbol = settings.unknown == "symbol"

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the answer of the broker could not be trusted."""
        symbol = request.symbol
        if not view.is_ready(symbol):
            return Denial(
                "ready", f"the connector of {symbol} is not ready: not connected, not reconciled, or its circuit is open"
            )
        for order in view.working(None if self._whole_symbol else request.strategy, symbol):
            if order.status is _UNKNOWN:
                return Denial("ready", f"order {order.request.id} in {symbol} is UNKNOWN; entries wait until it is found")
        return None


class StandingSettings(Settings):
    """Settings of `StandingCheck`."""

    min_disk_bytes: float = Field(100e6, ge=0)
    """Least free space where the journal lies, bytes."""
    max_clock_skew_seconds: float = Field(2.0, gt=0)
    """Largest difference between the machine's clock and the broker's, seconds."""


class StandingCheck:
    """Refuses entries while records cannot be kept, the disk is nearly full, or the clock is wrong."""

    exempts_reductions = True

    def __init__(self, settings: StandingSettings, services: Services) -> None:
        """Keep the limits."""
        self._disk = settings.min_disk_bytes
        self._skew = settings.max_clock_skew_seconds

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the run does not stand as it must."""
        standing = view.standing
        if not standing.journal:
            return Denial("standing", "the journal cannot be written; entries wait until it can")
        if not standing.disk_free >= self._disk:
            return Denial("standing", f"{standing.disk_free:.0f} bytes are free for the journal; the limit is {self._disk:.0f}")
        if not standing.clock_skew <= self._skew:
            text = f"the machine's clock and the broker's differ by {standing.clock_skew:g} s; the limit is {self._skew:g} s"
            return Denial("standing", text)
        return None


class ModeLockSettings(Settings):
    """Settings of `ModeLock`; the pin of ``[live]`` holds in any case."""

    account: str | None = None
    """Number of the only account that may be traded."""
    server: str | None = None
    """The broker's server of that account."""
    real: bool | None = None
    """Whether real money may be at stake there."""


class ModeLock:
    """Refuses everything on another account than the one that the config names."""

    exempts_reductions = False

    def __init__(self, settings: ModeLockSettings, services: Services) -> None:
        """Keep the pin."""
        stated = (("account", "id", settings.account), ("server", "server", settings.server), ("real", "real", settings.real))
        self._pins = tuple(pin for pin in stated if pin[2] is not None)

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the account is another one."""
        if not view.standing.pinned:
            return Denial("mode_lock", "the broker's account is not the one that [live] names; nothing passes")
        if self._pins:
            account = view.account
            for key, name, wanted in self._pins:
                found = getattr(account, name)
                if found != wanted:
                    return Denial("mode_lock", f"{key} is {found!r}, and the check is pinned to {wanted!r}; nothing passes")
        return None
