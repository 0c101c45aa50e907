"""Ten connectors whose every answer takes 20 ms: asked by a run, and asked in turn.

A run gives each connector a worker of its own, so that they wait beside one another. The same ten connectors, called one after the
other in a loop, as a script would, are the other side; a price counts when the strategy, or the loop, has it.

Run: ``python benchmarks/connectors.py`` (about ten seconds).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from herald.host.plan import load_plan
from herald.runtime.live import LiveRun

COUNT, REPLY_SECONDS, SECONDS, GOAL = 10, 0.020, 4.0, 5.0

PLUGIN = f'''
"""A broker of one symbol that takes its time, and a strategy that counts."""

from time import sleep

from herald import HistoryConnector, Instrument, Quote, Settings, Strategy, component, hookimpl
from herald.contracts import Capabilities


class Fields(Settings):
    symbol: str = ""


class Slow(HistoryConnector):
    def __init__(self, settings, services):
        self.symbol = settings.symbol
        self.clock = services.clock
        self.number = 0

    def capabilities(self):
        return Capabilities(history=True, streaming=True)

    def instruments(self):
        return [Instrument(symbol=self.symbol, quote="USD", price_step=0.01, size_step=0.01, min_size=0.01)]

    def subscribe(self, feeds):
        pass

    def poll(self):
        sleep({REPLY_SECONDS})
        self.number += 1
        return [Quote(self.symbol, self.clock.now(), 100.0 + self.number % 7, 100.1 + self.number % 7)]


class Count(Strategy):
    def on_start(self, ctx):
        self.seen = 0

    def on_quote(self, quote, ctx):
        self.seen += 1


@hookimpl
def herald_connectors():
    yield component("slow", Fields, Slow)


@hookimpl
def herald_strategies():
    yield component("count", Fields, Count)
'''

HEAD = """
[herald]
mode = "paper"
[plugins]
paths = ["."]
[live]
warmup_bars = 0
"""
PART = """
[connectors.c{k}]
use          = "slow_bench.slow"
symbol       = "S{k}"
poll_seconds = 0.000_1
[strategies.s{k}]
use       = "slow_bench.count"
connector = "c{k}"
symbols   = ["S{k}"]
timeframe = "1m"
"""


def beside(folder: Path) -> float:
    """Return the prices a second that reach the strategies of a run."""
    run = LiveRun(load_plan(folder / "h.toml"))
    window: list[tuple[float, int]] = []

    def stop() -> bool:
        if not hasattr(run, "driver"):
            return False
        now = time.perf_counter()
        seen = sum(getattr(runner.strategy, "seen", 0) for runner in run.engine.runners)
        if not window and seen >= COUNT * 5:  # warm
            window.append((now, seen))
        if window and now - window[0][0] >= SECONDS:
            window.append((now, seen))
            return True
        return False

    run.run(stop)
    (start, first), (end, last) = window[:2]
    return (last - first) / (end - start)


def in_turn(module: ModuleType) -> float:
    """Return the prices a second that a loop over the same connectors gets."""
    from herald.testing import make_services

    connectors: list[Any] = [module.Slow(module.Fields(symbol=f"S{k}"), make_services(f"c{k}")) for k in range(COUNT)]
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        for connector in connectors:
            count += len(connector.poll())
    return count / (time.perf_counter() - start)


def main() -> int:
    """Measure and print; return 1 where the goal is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "slow_bench.py").write_text(PLUGIN, encoding="utf-8")
        (folder / "h.toml").write_text(HEAD + "".join(PART.format(k=k) for k in range(COUNT)), encoding="utf-8")
        os.environ["XDG_STATE_HOME"] = name
        together = beside(folder)
        module = next(one for one in list(sys.modules.values()) if hasattr(one, "Slow") and hasattr(one, "Count"))
        alone = in_turn(module)
    ratio = together / alone
    print(f"{COUNT} connectors, {REPLY_SECONDS * 1e3:g} ms a reply: {together:.0f} prices a second in a run, {alone:.0f} in turn")
    print(f"{ratio:.1f} times as many; the goal is {GOAL:g}")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
