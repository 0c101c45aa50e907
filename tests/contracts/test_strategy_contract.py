"""Every built-in strategy keeps the rules of `StrategyContract`."""

from __future__ import annotations

from collections.abc import Sequence

from herald.contracts import Intent, RiskView
from herald.model import BarSeries
from herald.plugins.strategies import (
    BollingerReversion,
    BollingerReversionSettings,
    DonchianBreakout,
    DonchianBreakoutSettings,
    MomentumRotation,
    MomentumRotationSettings,
    RsiReversion,
    RsiReversionSettings,
    SmaCross,
    SmaCrossSettings,
)
from herald.testing import StrategyContract, StrategyRun, run_strategy


class Half:
    """Half a lot, always."""

    def size(self, intent: Intent, view: RiskView) -> float:
        return 0.5


class Sized(StrategyContract):
    """The same rules for a strategy that states no size."""

    def run(self, bars: Sequence[BarSeries], seed: int = 0) -> StrategyRun:
        return run_strategy(self.strategy, self.settings, bars, seed=seed, sizer=Half())


class TestSmaCross(StrategyContract):
    strategy, settings = SmaCross, SmaCrossSettings(fast=5, slow=20, size=0.1)
    symbols = ("ONE", "TWO")


class TestSmaCrossSized(Sized):
    strategy, settings = SmaCross, SmaCrossSettings(fast=5, slow=20, long_only=True)


class TestRsiReversion(StrategyContract):
    strategy, settings = RsiReversion, RsiReversionSettings(length=7, size=0.1)
    symbols = ("ONE", "TWO")


class TestRsiReversionSized(Sized):
    strategy, settings = RsiReversion, RsiReversionSettings(length=7)


class TestBollingerReversion(StrategyContract):
    strategy, settings = BollingerReversion, BollingerReversionSettings(size=0.1)
    symbols = ("ONE", "TWO")


class TestBollingerReversionSized(Sized):
    strategy, settings = BollingerReversion, BollingerReversionSettings(long_only=True)


class TestDonchianBreakout(StrategyContract):
    strategy, settings = DonchianBreakout, DonchianBreakoutSettings(size=0.1)
    symbols = ("ONE", "TWO")


class TestDonchianBreakoutSized(Sized):
    strategy, settings = DonchianBreakout, DonchianBreakoutSettings(entry=10, leave=30)


class TestMomentumRotation(StrategyContract):
    strategy, settings = MomentumRotation, MomentumRotationSettings(lookback=10, top=2, every=5, size=0.1)
    symbols = ("ONE", "TWO", "THREE", "FOUR")


class TestMomentumRotationSized(Sized):
    strategy, settings = MomentumRotation, MomentumRotationSettings(lookback=10, top=2, every=5)
    symbols = ("ONE", "TWO", "THREE")
