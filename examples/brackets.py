"""Herald as a library: break-outs with a stop loss and a target, on prices made up from a seed. Run: python examples/brackets.py"""

from random import Random

import numpy as np

from herald import Bar, BarSeries, Context, Instrument, Services, Settings, Strategy, Timeframe, TimeInForce
from herald.clock import SimClock, format_time
from herald.runtime import StrategySetup, simulate

HOUR = Timeframe.parse("1h")


class BreakoutSettings(Settings):
    lookback: int = 24
    """Bars whose range is broken."""
    risk: float = 0.002
    """Distance of the stop loss, as a fraction of the price; the target is twice as far."""


class Breakout(Strategy[BreakoutSettings]):
    """Each day at midnight: a stop order above the range of the last day, with a bracket, good for the day."""

    def warmup(self) -> int:
        return self.settings.lookback

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if bar.time % (24 * HOUR.span) or ctx.position(bar.symbol).size or ctx.orders(bar.symbol):
            return
        entry = float(ctx.highs(bar.symbol, self.settings.lookback).max())
        distance = entry * self.settings.risk
        ctx.buy(
            bar.symbol,
            0.1,
            stop=entry,
            stop_loss=entry - distance,
            take_profit=entry + 2 * distance,
            time_in_force=TimeInForce.DAY,
        )


def prices(n: int, seed: int) -> BarSeries:
    """Return a random walk of *n* hours."""
    draw = np.random.default_rng(seed)
    close = 1.1 * np.exp(np.cumsum(draw.normal(0, 0.001, n)))
    opens = np.concatenate(([1.1], close[:-1]))
    high = np.maximum(opens, close) * (1 + np.abs(draw.normal(0, 0.0004, n)))
    low = np.minimum(opens, close) * (1 - np.abs(draw.normal(0, 0.0004, n)))
    time = (np.arange(n, dtype=np.int64) + 1) * HOUR.span
    return BarSeries("EURUSD", HOUR.span, time, opens, high, low, close)


def main() -> None:
    euro = Instrument(
        symbol="EURUSD", base="EUR", quote="USD", price_step=0.00001, size_step=0.01, min_size=0.01, contract_size=100_000.0
    )
    strategy = Breakout(BreakoutSettings(), Services("breakout", SimClock(), Random(1)))
    setup = StrategySetup("breakout", strategy, ("EURUSD",), (HOUR,))

    result = simulate([setup], [prices(5_000, seed=3)], {"EURUSD": euro})

    wins = [trade for trade in result.trades if trade.net > 0]
    print(
        f"{len(result.trades)} trades, {len(wins)} of them won, {result.account['balance'] - result.cash:+.2f} {result.currency}"
    )
    for trade in result.trades[:3]:
        print(
            f"  {format_time(trade.entry_time)}  {trade.entry_price:.5f} -> {trade.exit_price:.5f}  {trade.exit_tag:11} {trade.net:+8.2f}"
        )


if __name__ == "__main__":
    main()
