"""The life cycle of a run: the one place where a Plan meets an engine, over history, on paper or live."""

from herald.runtime.backtest import Progress, Stage, assemble, run_backtest, simulate
from herald.runtime.building import StrategySetup

__all__ = ["Progress", "Stage", "StrategySetup", "assemble", "run_backtest", "simulate"]
