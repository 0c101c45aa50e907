"""A terminal that hangs, and what everybody else notices of it.

One run with two connectors: MetaTrader 5 with the simulated terminal, and a connector that delivers a quote every ten milliseconds.
How long its quotes take to the strategy is measured while the terminal answers and while it hangs in a call that never ends; and how
long it is from the hang to the next price of the terminal, time-out included.

Goals: the 99th percentile of the other connector at most doubles; a terminal that hung is back within 3 s of its deadline.

Run: ``python benchmarks/mt5_hang.py`` (about half a minute).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from herald.host.plan import load_plan
from herald.runtime.live import LiveRun

PHASE, DEADLINE, GOAL, BACK_GOAL = 8.0, 1.0, 2.0, 3.0
PLUGIN = '''
"""A connector with a quote every ten milliseconds, and a strategy that looks how late it comes."""

from time import perf_counter

from herald import HistoryConnector, Instrument, Quote, Settings, Strategy, component, hookimpl
from herald.contracts import Capabilities

DELAYS, SEEN = [], []


class Fields(Settings):
    pass


class Steady(HistoryConnector):
    def __init__(self, settings, services):
        self.clock, self.due = services.clock, 0.0

    def capabilities(self):
        return Capabilities(history=True, streaming=True)

    def instruments(self):
        return [Instrument(symbol="OTHER", quote="USD", price_step=0.01, size_step=0.01, min_size=0.01)]

    def subscribe(self, feeds):
        self.due = perf_counter()

    def poll(self):
        now = perf_counter()
        if now < self.due:
            return ()
        self.due = max(self.due + 0.01, now - 0.05)
        return [Quote("OTHER", self.clock.now(), 100.0, now)]


class Look(Strategy):
    def on_quote(self, quote, ctx):
        now = perf_counter()
        if quote.symbol == "OTHER":
            DELAYS.append((now, now - quote.ask))
        else:
            SEEN.append(now)


@hookimpl
def herald_connectors():
    yield component("steady", Fields, Steady)


@hookimpl
def herald_strategies():
    yield component("look", Fields, Look)
'''
CONFIG = """
[herald]
mode = "paper"
[plugins]
paths = ["."]
[connectors.main]
use             = "mt5"
module          = "herald.testing.mt5.terminal"
module_options  = {{ tick_seconds = 0.1, history_days = 0.01, control = '{control}' }}
timeout_seconds = {deadline}
poll_seconds    = 0.02
[connectors.other]
use          = "hang_bench.steady"
poll_seconds = 0.001
[strategies.one]
use       = "hang_bench.look"
connector = "main"
symbols   = ["EURUSD"]
timeframe = "1m"
[strategies.two]
use       = "hang_bench.look"
connector = "other"
symbols   = ["OTHER"]
timeframe = "1m"
[live]
warmup_bars = 0
"""


def main() -> int:
    """Measure and print; return 1 where a goal is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        control = folder / "faults.json"
        control.write_text("[]", encoding="utf-8")
        (folder / "hang_bench.py").write_text(PLUGIN, encoding="utf-8")
        (folder / "h.toml").write_text(CONFIG.format(control=control.as_posix(), deadline=DEADLINE), encoding="utf-8")
        os.environ["XDG_STATE_HOME"] = name
        run = LiveRun(load_plan(folder / "h.toml"))
        module = next(one for one in list(sys.modules.values()) if hasattr(one, "DELAYS") and hasattr(one, "SEEN"))
        marks: list[float] = []

        def stop() -> bool:
            now = time.perf_counter()
            if not marks:
                if len(module.SEEN) > 5 and len(module.DELAYS) > 100:
                    marks.append(now)
            elif len(marks) == 1 and now - marks[0] >= PHASE:
                marks.append(now)
                # Every second price is a hang, as long as the phase lasts.
                control.write_text(
                    json.dumps([{"kind": "slow", "calls": ["symbol_info_tick"], "seconds": 60.0, "skip": 20}]), encoding="utf-8"
                )
            elif len(marks) == 2 and now - marks[1] >= PHASE:
                marks.append(now)
                control.write_text("[]", encoding="utf-8")
            return len(marks) == 3 and now - marks[2] >= 4.0

        run.run(stop)
        begin, hang, over = marks
        times, delays = np.array(module.DELAYS).T
        calm, hung = ((times >= a) & (times < b) for a, b in ((begin, hang), (hang, over)))
        before, during = (float(np.percentile(delays[one], 99)) * 1e6 for one in (calm, hung))
        seen = np.array(module.SEEN)
        gaps = np.diff(seen[seen >= begin])
        worst = float(gaps.max())
    print(
        f"delay of the other connector, p99: {before:.0f} µs, {during:.0f} µs while the terminal hangs: {during / before:.2f} times   goal {GOAL:g}"
    )
    back = worst - DEADLINE
    print(f"longest time without a price of the terminal: {worst:.2f} s, {back:.2f} s behind the deadline   goal {BACK_GOAL:g}")
    return int(during / before > GOAL or back > BACK_GOAL)


if __name__ == "__main__":
    raise SystemExit(main())
