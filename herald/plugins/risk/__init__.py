"""Risk checks: each refuses a request that would pass a limit, with a code that is its own name.

==========================  =======================================================================
code                        refuses
==========================  =======================================================================
``max_order_size``          an order of more lots, or worth more, than the limit
``max_position``            what would make a book (strategy and symbol) hold more lots than the limit
``max_exposure``            what would make positions worth more than the limit, per symbol or in total
``max_open_orders``         an order while as many as the limit are working
``max_open_positions``      opening one more position than the limit
``max_daily_loss``          entries once the day's loss, open profit included, has reached the limit
``max_drawdown``            entries once equity has fallen from its peak by the limit
``price_collar``            a price too far from the last one, or a market order on an old price
``max_orders_per_minute``   an order once as many as the limit went out within the last 60 seconds
==========================  =======================================================================

A request that can only make a position smaller passes all of them, except ``max_order_size`` and
``price_collar``, which ask whether the request itself makes sense. What cannot be valued is refused.
"""

from collections.abc import Iterable

from herald.components import Component, component, hookimpl
from herald.contracts import RiskCheck, RiskProfile
from herald.plugins.risk.exposure import (
    ExposureSettings,
    MaxExposure,
    MaxOpenOrders,
    MaxOpenPositions,
    MaxPosition,
    OpenOrdersSettings,
    OpenPositionsSettings,
    PositionSettings,
)
from herald.plugins.risk.loss import DailyLossSettings, DrawdownSettings, MaxDailyLoss, MaxDrawdown
from herald.plugins.risk.profiles import PROFILES
from herald.plugins.risk.request import (
    CollarSettings,
    MaxOrderSize,
    MaxOrdersPerMinute,
    OrderRateSettings,
    OrderSizeSettings,
    PriceCollar,
)

__all__ = ["herald_risk_checks", "herald_risk_profiles"]


@hookimpl
def herald_risk_checks() -> Iterable[Component[RiskCheck]]:
    """Offer the nine checks."""
    yield component("max_order_size", OrderSizeSettings, MaxOrderSize, "Limit the lots or the value of one order.")
    yield component("max_position", PositionSettings, MaxPosition, "Limit the lots a strategy holds of a symbol.")
    yield component("max_exposure", ExposureSettings, MaxExposure, "Limit the value of all positions, by symbol and in total.")
    yield component("max_open_orders", OpenOrdersSettings, MaxOpenOrders, "Limit how many orders work at once.")
    yield component("max_open_positions", OpenPositionsSettings, MaxOpenPositions, "Limit how many positions are open at once.")
    yield component("max_daily_loss", DailyLossSettings, MaxDailyLoss, "Stop entries once a day has lost enough.")
    yield component("max_drawdown", DrawdownSettings, MaxDrawdown, "Stop entries once equity fell far enough from its peak.")
    yield component("price_collar", CollarSettings, PriceCollar, "Refuse prices far from the last, and old prices.")
    yield component("max_orders_per_minute", OrderRateSettings, MaxOrdersPerMinute, "Limit the orders sent in a minute.")


@hookimpl
def herald_risk_profiles() -> Iterable[RiskProfile]:
    """Offer the three sets of limits to start from."""
    yield from PROFILES
