"""Risk checks: each refuses a request that would pass a limit, with a code that is its own name.

==========================  ====  =================================================================
code                        row   refuses
==========================  ====  =================================================================
``trading_state``           1     everything while HALTED, what does not reduce while REDUCING
``tradable``                2     unknown symbols; entries while the market is closed or blacked out
``valid_terms``             3     sizes and prices off their steps or bounds, levels too near
``max_order_size``          4     an order of more lots, or worth more, than the limit
``price_collar``            5     a price too far from the last one, entries after a large move
``stale_price``             6     entries on an old price, a crossed or an absurd quote
``max_position``            7     what would hold more lots than the limit, by strategy or symbol
``max_exposure``            7     what would be worth more than the limit, gross or net
``free_margin``             7     entries that leave too little free margin
``max_open_orders``         8     an order while as many as the limit are working
``max_open_positions``      8     opening one more position than the limit
``max_orders_per_parent``   8     one more child of the same event or of the same tag
``max_orders_per_minute``   9     an order or a change once enough went out in a second, a minute, a day
``order_to_fill_ratio``     9     orders while far more messages are sent than filled
``duplicate_order``         10    an order on the terms of one just sent; an id that was used
``repeated_execution``      11    entries of a strategy that traded too often in too short a time
``max_daily_loss``          12    entries once the day's loss has reached the limit
``max_drawdown``            12    entries once equity has fallen from its peak by the limit
``consecutive_losses``      12    entries of a strategy that only lost, for a while
``strategy_budget``         12    entries of a strategy that lost what it was given
``reduce_only``             13    a reduce-only request that would open, add to or turn a position
``self_cross``              14    entries that would trade with an own order (it warns unless told)
``ready``                   15    entries while the connector is not ready or an order is UNKNOWN
``standing``                16    entries without journal, disk or a right clock
``mode_lock``               17    everything on another account than the config's
``working_notional``        18    entries once working ones claim too much credit
==========================  ====  =================================================================

The row is that of the table of pre-trade checks in ``docs/risk.md``. A request that can only make a position smaller passes all
but ``trading_state`` (while HALTED), ``tradable`` (unknown symbols), ``valid_terms``, ``price_collar`` (stated prices),
``duplicate_order``, ``reduce_only`` and ``mode_lock``. What cannot be valued is refused.
"""

from collections.abc import Iterable

from herald.components import Component, component, hookimpl
from herald.contracts import RiskCheck, RiskProfile
from herald.plugins.risk.crossing import SelfCross, SelfCrossSettings
from herald.plugins.risk.exposure import (
    ExposureSettings,
    FreeMargin,
    FreeMarginSettings,
    MaxExposure,
    MaxOpenOrders,
    MaxOpenPositions,
    MaxPosition,
    OpenOrdersSettings,
    OpenPositionsSettings,
    PositionSettings,
    WorkingNotional,
    WorkingNotionalSettings,
)
from herald.plugins.risk.loss import (
    BudgetSettings,
    ConsecutiveLosses,
    ConsecutiveSettings,
    DailyLossSettings,
    DrawdownSettings,
    MaxDailyLoss,
    MaxDrawdown,
    StrategyBudget,
)
from herald.plugins.risk.profiles import PROFILES
from herald.plugins.risk.repeats import (
    DuplicateOrder,
    DuplicateSettings,
    MaxOrdersPerParent,
    OrderToFillRatio,
    ParentSettings,
    RatioSettings,
    RepeatedExecution,
    RepeatedSettings,
)
from herald.plugins.risk.request import (
    CollarSettings,
    MaxOrderSize,
    MaxOrdersPerMinute,
    OrderRateSettings,
    OrderSizeSettings,
    PriceCollar,
)
from herald.plugins.risk.state import (
    ModeLock,
    ModeLockSettings,
    Ready,
    ReadySettings,
    StandingCheck,
    StandingSettings,
    TradingState,
    TradingStateSettings,
)
from herald.plugins.risk.terms import (
    ReduceOnly,
    ReduceOnlySettings,
    StalePrice,
    StalePriceSettings,
    Tradable,
    TradableSettings,
    ValidTerms,
    ValidTermsSettings,
)

__all__ = ["herald_risk_checks", "herald_risk_profiles"]


@hookimpl
def herald_risk_checks() -> Iterable[Component[RiskCheck]]:
    """Offer the checks, in the order of the table."""
    yield component("trading_state", TradingStateSettings, TradingState, "Let pass only what the trading state allows.")
    yield component("tradable", TradableSettings, Tradable, "Refuse unknown symbols, closed markets and blackouts.")
    yield component("valid_terms", ValidTermsSettings, ValidTerms, "Refuse sizes and prices that the broker cannot accept.")
    yield component("max_order_size", OrderSizeSettings, MaxOrderSize, "Limit the lots or the value of one order.")
    yield component("price_collar", CollarSettings, PriceCollar, "Refuse prices far from the last, and old prices.")
    yield component("stale_price", StalePriceSettings, StalePrice, "Refuse entries on old, crossed or absurd prices.")
    yield component("max_position", PositionSettings, MaxPosition, "Limit the lots held of a symbol.")
    yield component("max_exposure", ExposureSettings, MaxExposure, "Limit the value of all positions, by symbol and in total.")
    yield component("free_margin", FreeMarginSettings, FreeMargin, "Keep some margin free behind every entry.")
    yield component("max_open_orders", OpenOrdersSettings, MaxOpenOrders, "Limit how many orders work at once.")
    yield component("max_open_positions", OpenPositionsSettings, MaxOpenPositions, "Limit how many positions are open at once.")
    yield component(
        "max_orders_per_parent", ParentSettings, MaxOrdersPerParent, "Limit the orders that one event or tag leads to."
    )
    yield component("max_orders_per_minute", OrderRateSettings, MaxOrdersPerMinute, "Limit the orders sent in a minute.")
    yield component("order_to_fill_ratio", RatioSettings, OrderToFillRatio, "Limit the orders sent for one fill.")
    yield component("duplicate_order", DuplicateSettings, DuplicateOrder, "Refuse what was just sent already.")
    yield component("repeated_execution", RepeatedSettings, RepeatedExecution, "Disable what trades faster than anybody watches.")
    yield component("max_daily_loss", DailyLossSettings, MaxDailyLoss, "Stop entries once a day has lost enough.")
    yield component("max_drawdown", DrawdownSettings, MaxDrawdown, "Stop entries once equity fell far enough from its peak.")
    yield component("consecutive_losses", ConsecutiveSettings, ConsecutiveLosses, "Let a strategy rest that only loses.")
    yield component("strategy_budget", BudgetSettings, StrategyBudget, "Stop a strategy that lost what it was given.")
    yield component("reduce_only", ReduceOnlySettings, ReduceOnly, "Refuse reduce-only requests that would turn a position.")
    yield component("self_cross", SelfCrossSettings, SelfCross, "Warn of orders that would trade with each other.")
    yield component("ready", ReadySettings, Ready, "Refuse entries while the connector is not ready.")
    yield component("standing", StandingSettings, StandingCheck, "Refuse entries without journal, disk or a right clock.")
    yield component("mode_lock", ModeLockSettings, ModeLock, "Refuse everything on the wrong account.")
    yield component("working_notional", WorkingNotionalSettings, WorkingNotional, "Limit the credit that working orders claim.")


@hookimpl
def herald_risk_profiles() -> Iterable[RiskProfile]:
    """Offer the three sets of limits to start from, and the two that runs with orders must have."""
    yield from PROFILES
