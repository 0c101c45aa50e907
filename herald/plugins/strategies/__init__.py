"""Small reference strategies: to try Herald with, and to read before writing one."""

from collections.abc import Iterable
from typing import Any

from herald.components import Component, component, hookimpl
from herald.contracts import Strategy
from herald.plugins.strategies.bollinger_reversion import BollingerReversion, BollingerReversionSettings
from herald.plugins.strategies.donchian_breakout import DonchianBreakout, DonchianBreakoutSettings
from herald.plugins.strategies.momentum_rotation import MomentumRotation, MomentumRotationSettings
from herald.plugins.strategies.rsi_reversion import RsiReversion, RsiReversionSettings
from herald.plugins.strategies.sma_cross import SmaCross, SmaCrossSettings

__all__ = [
    "BollingerReversion",
    "BollingerReversionSettings",
    "DonchianBreakout",
    "DonchianBreakoutSettings",
    "MomentumRotation",
    "MomentumRotationSettings",
    "RsiReversion",
    "RsiReversionSettings",
    "SmaCross",
    "SmaCrossSettings",
    "herald_strategies",
]


@hookimpl
def herald_strategies() -> Iterable[Component[Strategy[Any]]]:
    """Offer the five strategies."""
    yield component("sma_cross", SmaCrossSettings, SmaCross, "Long while a fast average is above a slow one, else short.")
    yield component("rsi_reversion", RsiReversionSettings, RsiReversion, "Buy a low relative strength, sell a high one.")
    yield component("bollinger_reversion", BollingerReversionSettings, BollingerReversion, "Bet on the way back to the mean.")
    yield component("donchian_breakout", DonchianBreakoutSettings, DonchianBreakout, "Follow closes outside the channel.")
    yield component("momentum_rotation", MomentumRotationSettings, MomentumRotation, "Hold the best of many symbols.")
