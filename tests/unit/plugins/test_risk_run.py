"""Risk checks in a run: what they let through and what they stop."""

from __future__ import annotations

from typing import Any

from herald.components import Settings
from herald.contracts import Context, RiskCheck, Strategy
from herald.model import Bar
from herald.plugins.risk import herald_risk_checks
from herald.plugins.sizing import herald_sizers
from herald.testing import StrategyRun, make_bars, make_services, run_strategy

CHECKS = {component.name: component for component in herald_risk_checks()}
SIZERS = {component.name: component for component in herald_sizers()}


class StepSettings(Settings):
    targets: tuple[float, ...]


class Steps(Strategy[StepSettings]):
    """Asks for one target a bar."""

    def on_start(self, ctx: Context) -> None:
        self.left = list(self.settings.targets)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if self.left:
            ctx.target(bar.symbol, self.left.pop(0))


def check(name: str, **settings: Any) -> RiskCheck:
    component = CHECKS[name]
    return component.build(component.settings(**settings), make_services())


def run(targets: list[float], closes: list[float], *checks: RiskCheck, **options: Any) -> StrategyRun:
    settings = StepSettings(targets=tuple(targets))
    return run_strategy(Steps, settings, make_bars(closes, **options), checks=checks)


def codes(result: StrategyRun) -> list[str]:
    return [order.code for order in result.denials]


def test_position_grows_to_the_limit_and_no_further() -> None:
    result = run([0.5, 1.0, 1.5], [100.0] * 4, check("max_position", limit=1.0))

    assert [0.5, 0.5] == [fill.size for fill in result.fills]
    assert ["max_position"] == codes(result)


def test_a_loss_of_the_day_stops_entries_but_not_exits() -> None:
    # 100 lots at 100, then the price falls by 3: 300 of 10,000 are lost when 10 more are asked for
    closes = [100.0, 100.0, 97.0, 97.0, 97.0, 97.0]

    result = run([100.0, 100.0, 110.0, 0.0], closes, check("max_daily_loss", fraction=0.03))

    assert ["max_daily_loss"] == codes(result)
    assert [(1, 100.0), (-1, 100.0)] == [(fill.side, fill.size) for fill in result.fills]


def test_the_next_day_allows_entries_again() -> None:
    closes = [100.0, 100.0, 97.0, 97.0]

    result = run([100.0, 100.0, 110.0, 120.0], closes, check("max_daily_loss", fraction=0.03), start="2024-01-01T20:00")

    assert ["max_daily_loss"] == codes(result)  # at 23:00; at 24:00 a new day has begun


def test_drawdown_counts_open_profit() -> None:
    # up 1,000 to 11,000, back to 9,900: 10 % below the peak, 1 % below the start
    closes = [100.0, 100.0, 110.0, 99.0, 99.0]

    result = run([100.0, 100.0, 100.0, 101.0], closes, check("max_drawdown", fraction=0.1))

    assert ["max_drawdown"] == codes(result)


def test_exposure_counts_orders_that_still_wait() -> None:
    result = run([50.0, 150.0], [100.0] * 3, check("max_exposure", symbol_fraction=1.0))

    assert [50.0] == [fill.size for fill in result.fills]
    assert ["max_exposure"] == codes(result)


def test_a_sizer_and_a_stop_risk_the_stated_fraction() -> None:
    class Entry(Strategy[StepSettings]):
        def on_bar(self, bar: Bar, ctx: Context) -> None:
            if ctx.position(bar.symbol).size == 0 and not ctx.orders():
                ctx.buy(bar.symbol, stop_loss=98.0)

    component = SIZERS["percent_risk"]
    sizer = component.build(component.settings(fraction=0.01), make_services())
    bars = make_bars([(100, 100, 100, 100), (100, 100, 100, 100), (100, 100, 97, 97)])

    result = run_strategy(Entry, StepSettings(targets=()), bars, sizer=sizer)

    assert [50.0, 50.0] == [fill.size for fill in result.fills]  # 100 to lose, 2 a lot
    assert result.trades[0].net == -100.0
