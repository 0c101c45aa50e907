"""A whole run derived by hand: every order, fill, denial and timer, in order, to the number."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from herald.clock import HOUR, SimClock
from herald.contracts import Close, Context, Services, Strategy
from herald.model import Bar, BarSeries, Fill, Instrument, Order, OrderDenied, RunStarted, RunStopped, Timeframe, Timer
from herald.runtime import StrategySetup, simulate
from herald.simulator.costs import Costs

# Bars 1 to 7 end at 01:00 to 07:00: open, high, low, close (bid). The spread is 2 points of 0.01, the commission 0.5 a lot.
ROWS = [
    (10.00, 10.10, 9.90, 10.00),
    (10.00, 10.20, 9.95, 10.10),
    (10.20, 10.50, 10.10, 10.40),
    (10.40, 10.45, 9.70, 9.80),
    (9.80, 9.90, 9.60, 9.70),
    (9.70, 9.75, 9.10, 9.20),
    (9.30, 9.40, 9.00, 9.10),
]

# Lots of 10 units. By hand:
#  01:00  asks for 2 at market with a stop loss at 9.75 and a target at 10.45; asks for 0.05, which is below the smallest order
#  02:00  filled at the open 10.00 + 0.02 = 10.02, fee 1.00; the bracket rests; the bar reaches neither level
#  03:00  high 10.50 reaches the target: 10.45, fee 1.00; the stop loss is cancelled.
#         profit (10.45 - 10.02) * 2 * 10 = 8.60, balance 1000 + 8.60 - 2.00 = 1006.60. Asks to sell 1 at a stop of 9.72.
#  04:00  low 9.70 reaches 9.72: short 1 at 9.72, fee 0.50; a timer for 05:30 is set
#  05:00  nothing
#  06:00  the timer (05:30) fires; the exit rule closes because the close is 9.20
#  07:00  bought back at the open 9.30 + 0.02 = 9.32, fee 0.50; profit (9.72 - 9.32) * 1 * 10 = 4.00, balance 1009.60
EXPECTED = [
    "00:00 started",
    "01:00 denied s-000002 size_too_small",
    "01:00 s-000001 accepted 0/2",
    "01:00 s-000001 filled 2/2 @10.02",
    "01:00 fill 1 s-000001 +2 @10.02 fee 1",
    "01:00 s-000001.sl accepted 0/2",
    "01:00 s-000001.tp accepted 0/2",
    "03:00 s-000001.tp filled 2/2 @10.45",
    "03:00 fill 2 s-000001.tp -2 @10.45 fee 1",
    "03:00 s-000001.sl cancelled 0/2",
    "03:00 s-000003 accepted 0/1",
    "04:00 s-000003 filled 1/1 @9.72",
    "04:00 fill 3 s-000003 -1 @9.72 fee 0.5",
    "06:00 timer late",
    "06:00 s-000004 accepted 0/1",
    "06:00 s-000004 filled 1/1 @9.32",
    "06:00 fill 4 s-000004 +1 @9.32 fee 0.5",
    "07:00 stopped completed",
]


class Story(Strategy[None]):
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        hour = bar.time // HOUR
        if hour == 1:
            ctx.buy("X", 2, stop_loss=9.75, take_profit=10.45)
            ctx.buy("X", 0.05)
        elif hour == 3:
            ctx.sell("X", 1, stop=9.72)
        elif hour == 4:
            ctx.at(5 * HOUR + HOUR // 2, "late")


class BelowNineThirty:
    def check(self, position: Any, event: Any, ctx: Context) -> Close | None:
        return Close("low") if event.close < 9.3 and position.size < 0 else None


class Scribe:
    events: tuple[type, ...] = (Order, Fill, OrderDenied, Timer, RunStarted, RunStopped)

    def __init__(self) -> None:
        self.lines: list[str] = []

    def observe(self, event: Any) -> None:
        match event:
            case Order():
                price = "" if event.filled == 0 else f" @{event.average_price:g}"
                text = f"{event.id} {event.status} {event.filled:g}/{event.request.size:g}{price}"
            case Fill():
                text = f"fill {event.id} {event.order_id} {event.side * event.size:+g} @{event.price:g} fee {event.fee:g}"
            case OrderDenied():
                text = f"denied {event.order.id} {event.order.code}"
            case Timer():
                text = f"timer {event.tag}"
            case RunStarted():
                text = "started"
            case RunStopped():
                text = f"stopped {event.status}"
        self.lines.append(f"{event.time // HOUR:02}:00 {text}")

    def close(self) -> None:
        pass


def test_run_derived_by_hand() -> None:
    table = np.array(ROWS).T
    series = BarSeries("X", HOUR, (np.arange(len(ROWS)) + 1) * HOUR, *table)
    terms = Instrument(symbol="X", quote="USD", price_step=0.01, size_step=0.01, min_size=0.1, contract_size=10.0)
    story = Story(None, Services("s", SimClock(), random.Random(0)))
    scribe = Scribe()

    result = simulate(
        [StrategySetup("s", story, ("X",), (Timeframe(3600),), exits=(("exit", BelowNineThirty()),))],
        [series],
        {"X": terms},
        cash=1_000.0,
        costs=Costs(spread_points=2, commission_per_lot=0.5),
        observers={"scribe": scribe},
        start=0,
    )

    assert EXPECTED == scribe.lines
    assert [8.6 - 2.0, 4.0 - 1.0] == [round(trade.net, 10) for trade in result.trades]
    assert 1_009.6 == round(result.account["balance"], 10)
    # Equity at the ends of the bars: 02:00 is 1000 - 1 + (10.10 - 10.02) * 20; 04:00 values the short at 9.80 + 0.02.
    assert [1000.0, 1000.6, 1006.6, 1005.1, 1006.1, 1011.1, 1009.6] == [round(value, 10) for value in result.equity.equity]
