"""Exit rules: they watch open positions at the end of every bar and close or protect them.

==================== ==============================================================================
rule                 what it does
==================== ==============================================================================
``stop_loss``        a stop at a fixed distance from the entry
``take_profit``      a target at a fixed distance from the entry, or at a multiple of the risk
``trailing_stop``    a stop that follows the best price and never loosens
``profit_target``    closes parts of the position at several levels
``time_based``       closes what was held long enough, at a time of day, or before the weekend
``adverse_movement`` closes when the price runs against the position fast
==================== ==============================================================================

The rules see finished bars only: levels are first set at the end of the bar in which the position was opened, and
a rule that closes at market fills on the next bar. The name of the rule becomes the tag of the order.
"""

from collections.abc import Iterable

from herald.components import Component, component, hookimpl
from herald.contracts import ExitRule
from herald.plugins.exits.adverse import AdverseMovement, AdverseMovementSettings
from herald.plugins.exits.levels import StopLoss, StopLossSettings, TakeProfit, TakeProfitSettings
from herald.plugins.exits.target import ProfitTarget, ProfitTargetSettings
from herald.plugins.exits.timed import TimeBased, TimeBasedSettings
from herald.plugins.exits.trailing import TrailingStop, TrailingStopSettings

__all__ = ["herald_exits"]


@hookimpl
def herald_exits() -> Iterable[Component[ExitRule]]:
    """Offer the six rules."""
    yield component("stop_loss", StopLossSettings, StopLoss, "A stop at a fixed distance from the entry.")
    yield component("take_profit", TakeProfitSettings, TakeProfit, "A target at a fixed distance or multiple of the risk.")
    yield component("trailing_stop", TrailingStopSettings, TrailingStop, "A stop behind the best price; never loosens.")
    yield component("profit_target", ProfitTargetSettings, ProfitTarget, "Closes parts of the position at several levels.")
    yield component("time_based", TimeBasedSettings, TimeBased, "Closes by time held, time of day, or before the weekend.")
    yield component("adverse_movement", AdverseMovementSettings, AdverseMovement, "Closes when the price runs away fast.")
