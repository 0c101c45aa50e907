"""A simulated day in one go: does anything grow that should not?

A paper run as `herald paper` makes it, with the SQLite journal and a clock whose seconds pass faster: 20 symbols with a quote a second
(1.73 million in a day), some 5,000 orders, and 200 lost connections. Every simulated quarter of an hour the process is looked at:
resident memory, file descriptors, threads, objects the collector knows, and how long the engine took for a second of quotes.

What a day leaves behind on purpose grows with it, in memory too: an order and a fill are kept until the run ends. It is counted apart:
memory is fitted against time and against the number of orders together, and the goal is for the part that time alone explains
(Theil-Sen slopes after a warm-up of two hours, with a bootstrap interval; the part of an order is stated beside it).

Goals (RELIABILITY L3): at most 1 MiB a simulated day at the upper end of the 95 % interval, no more descriptors and threads, and the
99th percentile of a second's work in the last quarter at most 10 % above that of the second quarter.

Run: ``python benchmarks/soak.py`` (a few minutes), ``--hours 4`` for a part of a day, ``--days 7`` for a week.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import tempfile
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from herald.clock import WallClock
from herald.host.plan import load_plan
from herald.research.chaos import PacedClock
from herald.runtime.live import LiveRun

PLUGIN = '''
"""Twenty symbols with a quote a second each, whose connection is lost now and then; and a strategy that trades now and then."""

import random

from herald import HistoryConnector, Instrument, Quote, Settings, Strategy, component, hookimpl
from herald.contracts import Capabilities
from herald.errors import NotConnected
from herald.model import DataEnded

START = 1_700_000_000_000_000_000
SYMBOLS = [f"S{number:02d}" for number in range(20)]


class DaySettings(Settings):
    seconds: int
    lost: int


class Day(HistoryConnector):
    def __init__(self, settings, services):
        self.seconds = settings.seconds
        self.every = settings.seconds // (settings.lost + 1) if settings.lost else settings.seconds + 1
        self.second = 0
        self.is_open = self.has_ended = False
        self.random = random.Random(7)
        self.prices = [100.0 + number for number in range(len(SYMBOLS))]

    def capabilities(self):
        return Capabilities(history=True, streaming=True, lockstep=True, starts_at=START)

    def connect(self):
        self.is_open = True

    def disconnect(self):
        self.is_open = False

    def instruments(self):
        return [Instrument(symbol=s, quote="USD", price_step=0.01, size_step=0.01, min_size=0.01) for s in SYMBOLS]

    def subscribe(self, feeds):
        pass

    def poll(self):
        if not self.is_open:
            raise NotConnected("the line is down")
        if self.second >= self.seconds:
            if self.has_ended:
                return ()
            self.has_ended = True
            return (DataEnded(START + self.second * 1_000_000_000, "day"),)
        self.second += 1
        if self.second % self.every == 0:
            self.is_open = False
            raise NotConnected("the line broke")
        now, draw, prices = START + self.second * 1_000_000_000, self.random.random, self.prices
        quotes = []
        for place, symbol in enumerate(SYMBOLS):
            price = prices[place] = max(prices[place] + (draw() - 0.5) * 0.02, 50.0)
            quotes.append(Quote(symbol, now, price, price + 0.01))
        return quotes


class Fields(Settings):
    every: int


class Flip(Strategy):
    def on_start(self, ctx):
        self.count = 0

    def on_quote(self, quote, ctx):
        self.count += 1
        if self.count % self.settings.every:
            return
        (ctx.close(quote.symbol) if ctx.position(quote.symbol).size else ctx.buy(quote.symbol, 0.01))


@hookimpl
def herald_connectors():
    yield component("day", DaySettings, Day)


@hookimpl
def herald_strategies():
    yield component("flip", Fields, Flip)
'''

CONFIG = """
[herald]
mode = "paper"
[plugins]
paths = ["."]
[connectors.day]
use     = "soak_day.day"
seconds = {seconds}
lost    = {lost}
poll_seconds = 0.000_001
[strategies.flip]
use       = "soak_day.flip"
symbols   = [{symbols}]
timeframe = "1m"
every     = {every}
[[risk]]
use   = "risk.max_orders_per_minute"
limit = 100_000
per_second = 100_000
per_day = 100_000
[[risk]]
use        = "risk.repeated_execution"
executions = 1_000_000
[[risk]]
use   = "risk.consecutive_losses"
limit = 1_000_000
[live]
warmup_bars = 0
"""


class Watch:
    """Looks at the process every so many seconds of the data."""

    def __init__(self, seconds: int) -> None:
        """Look some hundred times in *seconds*."""
        self.every = max(seconds // 96, 60)
        self.next = self.every
        self.rows: list[tuple[float, ...]] = []

    def look(self, run: LiveRun, second: int) -> None:
        """Note the state of the process at *second* of the data."""
        if second < self.next:
            return
        self.next += self.every
        gc.collect()
        orders = len(run.engine.orders)
        self.rows.append(
            (second, orders, _resident(), len(os.listdir("/proc/self/fd")), threading.active_count(), len(gc.get_objects()))
        )


def _resident() -> float:
    """Return the resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(seconds: int, orders: int, lost: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Play *seconds*; return what was seen, the milliseconds of every second's work, and the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "soak_day.py").write_text(PLUGIN, encoding="utf-8")
        symbols = ", ".join(f'"S{number:02d}"' for number in range(20))
        text = CONFIG.format(seconds=seconds, lost=lost, symbols=symbols, every=max(seconds * 20 // orders, 1))
        (folder / "h.toml").write_text(text, encoding="utf-8")
        os.environ["XDG_STATE_HOME"] = name
        run = LiveRun(load_plan(folder / "h.toml"), world=PacedClock(WallClock(), 200.0))
        watch = Watch(seconds)
        work = array("d")
        wrapped: list[bool] = []
        begun = 1_700_000_000

        def stop() -> bool:
            if not wrapped and hasattr(run, "driver") and hasattr(run, "engine"):
                wrapped.append(True)
                handle, clock = run.driver.handle, time.thread_time
                now = [0, 0.0]

                def timed(table: str, message: Any) -> None:
                    start = clock()
                    handle(table, message)
                    spent = clock() - start
                    second = getattr(message, "time", 0) // 1_000_000_000 - begun
                    if second > now[0]:
                        if now[0]:
                            work.append(now[1] * 1e3)
                            watch.look(run, now[0])
                        now[0], now[1] = second, 0.0
                    now[1] += spent

                run.driver.handle = timed  # type: ignore[method-assign]
            return False

        result = run.run(stop)
        return np.array(watch.rows), np.array(work), result


def theil_sen(x: np.ndarray, y: np.ndarray) -> float:
    """Return the median of the slopes between all pairs of points."""
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] - x[first]
    return float(np.median((y[second] - y[first])[apart > 0] / apart[apart > 0]))


def growth(time_of: np.ndarray, value: np.ndarray) -> tuple[float, float]:
    """Return what *value* grows by in a day, and the upper end of its 95 % interval."""
    draw = random.Random(1)
    slope = theil_sen(time_of, value)
    drawn = []
    for _ in range(300):
        pick = np.sort(np.array([draw.randrange(len(value)) for _ in value]))
        if len(np.unique(pick)) > 3:
            drawn.append(theil_sen(time_of[pick], value[pick]))
    return slope * 86_400, float(np.percentile(drawn, 97.5)) * 86_400


def main() -> int:
    """Play, print, compare with the goals; return 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--days", type=float, default=1.0)
    given = parser.parse_args()
    seconds = int(given.hours * 3_600) or int(given.days * 86_400)
    share = seconds / 86_400
    missed = []

    print(f"{seconds:,} s of 20 symbols, {round(5_000 * share):,} orders, {round(200 * share)} lost connections")
    begun = time.perf_counter()
    rows, work, result = soak(seconds, round(5_000 * share), round(200 * share))
    print(f"played in {time.perf_counter() - begun:.0f} s; {len(result.fills):,} fills, status {result.status}")
    warm = rows[:, 0] > min(7_200, seconds / 4)
    after = rows[warm]
    with_orders, upper = growth(after[:, 0], after[:, 2])
    # What orders alone leave behind: as many in a tenth of the time.
    dense, _, _ = soak(seconds // 10, round(5_000 * share), 0)
    tail = dense[len(dense) // 8 :]
    an_order = theil_sen(tail[:, 1], tail[:, 2]) * 1024
    by_orders = an_order / 1024 * (after[-1, 1] - after[0, 1]) / (after[-1, 0] - after[0, 0]) * 86_400
    print(
        f"memory          {with_orders:8.2f} MiB a day, of which {by_orders:.2f} are orders and fills ({an_order:.1f} KiB each)"
    )
    rest, rest_upper = with_orders - by_orders, upper - by_orders
    print(f"  beside them   {rest:8.2f} MiB a day, 95 % below {rest_upper:.2f}   goal 1")
    if rest_upper > 1.0:
        missed.append(f"memory grows by up to {rest_upper:.2f} MiB a day beside orders")
    for name, column in (("descriptors", 3), ("threads", 4)):
        slope = theil_sen(after[:, 0], after[:, column]) * 86_400
        print(f"{name:15} {slope:8.2f} a day, {after[0, column]:.0f} at first and {after[-1, column]:.0f} at last   goal 0")
        if slope > 0:
            missed.append(f"{name} grow by {slope:.2f} a day")
    quarters = np.array_split(work, 4)
    early, late = (float(np.percentile(one, 99)) for one in (quarters[1], quarters[3]))
    drift = late / early - 1
    print(
        f"a second's work {early:8.3f} ms at the 99th percentile in the second quarter, {late:.3f} in the last: {drift:+.1%}   goal +10 %"
    )
    if drift > 0.10:
        missed.append(f"a second's work became {drift:.1%} slower at its 99th percentile")
    for line in missed:
        print("MISSED:", line)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
