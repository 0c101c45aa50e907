"""Every built-in exit rule keeps the rules of `ExitRuleContract`."""

from __future__ import annotations

from typing import ClassVar

from herald.components import Component
from herald.contracts import ExitRule
from herald.plugins.exits import herald_exits
from herald.testing import ExitRuleContract

COMPONENTS = {component.name: component for component in herald_exits()}


class TestStopLoss(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["stop_loss"]
    settings = component.settings(fraction=0.05)


class TestStopLossInRanges(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["stop_loss"]
    settings = component.settings(atr=3)


class TestTakeProfit(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["take_profit"]
    settings = component.settings(fraction=0.05)


class TestTakeProfitOfTheRisk(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["take_profit"]
    settings = component.settings(risk_multiple=2)
    stop = 5.0


class TestTrailingStop(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["trailing_stop"]
    settings = component.settings(fraction=0.03, activation=0.01)


class TestTrailingStopInRanges(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["trailing_stop"]
    settings = component.settings(atr=2)


class TestProfitTarget(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["profit_target"]
    settings = component.settings(levels=[{"fraction": 0.02, "share": 0.5}, {"r": 1, "share": 0.25}])
    stop = 5.0


class TestTimeBased(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["time_based"]
    settings = component.settings(max_bars=40, end_of_day=17, friday_close=16, zone="America/New_York")


class TestAdverseMovement(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["adverse_movement"]
    settings = component.settings(fraction=0.02, window_bars=3)


class TestAdverseMovementInSeconds(ExitRuleContract):
    component: ClassVar[Component[ExitRule]] = COMPONENTS["adverse_movement"]
    settings = component.settings(fraction=0.02, window_seconds=10_800)


def test_every_built_in_rule_has_a_suite() -> None:
    suites = {value.component.name for name, value in globals().items() if name.startswith("Test")}

    assert set(COMPONENTS) == suites
