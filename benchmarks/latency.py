"""From a price to an order: how long the live run takes, and how many events one process digests.

A run as `herald live` makes it - worker, engine thread, journal thread, gate with the checks that every run has, tokens - with a
connector that delivers quotes at a steady pace and fills every order at once, and a strategy that answers each quote with an order.

- decision: from the worker's delivery of a quote to the engine's hand-over of the order to the journal's thread;
- whole: to the innermost call of the connector, behind journal and layers.

Quotes are due at fixed times, whatever the run does, and the delay counts from the time at which a quote was due to be delivered
(no coordinated omission). The journal keeps its records in memory, unless ``durable`` is printed: then it is the SQLite journal
with a commit that survives a loss of power.

Run: ``python benchmarks/latency.py`` (about a minute), ``--quick`` for one row.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from herald.host.plan import load_plan
from herald.runtime.live import LiveRun

PLUGIN = '''
"""A broker that never sleeps and a strategy that always wants something."""

from collections import deque
from time import perf_counter_ns

from herald import Fill, HistoryConnector, Instrument, Quote, Settings, Strategy, component, hookimpl
from herald.contracts import Capabilities
from herald.model import Account, AccountMode

STAMPS = {}
SEEN = [0]
BATCH = 500


class PulseSettings(Settings):
    rate: float
    symbol: str


class Pulse(HistoryConnector):
    def __init__(self, settings, services):
        self.period = int(1e9 / settings.rate) if settings.rate else 0
        self.symbol = settings.symbol
        self.clock = services.clock
        self.due = 0
        self.number = 0
        self.news = []
        self.whole = STAMPS.setdefault("whole", [])
        self.sent = STAMPS.setdefault("sent", {})

    def capabilities(self):
        return Capabilities(trading=True, streaming=True, modes=frozenset(AccountMode), order_events=False)

    def instruments(self):
        return [Instrument(symbol=self.symbol, quote="USD", price_step=0.01, size_step=0.01, min_size=0.01)]

    def account(self):
        return Account(id=self.symbol, server="bench", real=False, currency="USD", mode=AccountMode.NETTING, balance=1e9, equity=1e9,
                       margin_used=0.0, margin_free=1e9, leverage=100.0, time=self.clock.now())

    def positions(self):
        return ()

    def open_orders(self):
        return ()

    def fills(self, since):
        return ()

    def find(self, client_tag, since):
        return ()

    def subscribe(self, feeds):
        self.due = perf_counter_ns() + 200_000_000

    def poll(self):
        news, self.news = self.news, []
        if not self.period:  # as many as are dealt with
            if SEEN[0] < self.number:
                return news
            self.number += BATCH
            now = self.clock.now()
            return (*news, *(Quote(self.symbol, now, 100.0 + k % 7, 100.1 + k % 7) for k in range(BATCH)))
        if perf_counter_ns() < self.due:
            return news
        self.number += 1
        quote = Quote(self.symbol, self.clock.now(), 100.0 + self.number % 7, 100.1 + self.number % 7)
        STAMPS[id(quote)] = quote, perf_counter_ns()  # kept alive, so that no other takes its id
        self.due += self.period
        return (*news, quote)

    def submit(self, request):
        self.whole.append(perf_counter_ns() - int(request.tag))
        number = str(len(self.whole))
        price = self.number % 7 + 100.0
        self.news.append(Fill(number, request.client_tag, request.symbol, request.side, request.size, price, 0.0, "USD", self.clock.now()))
        return number


class Nothing(Settings):
    trades: bool = True


class Eager(Strategy):
    def on_start(self, ctx):
        self.seen = 0

    def on_quote(self, quote, ctx):
        self.seen += 1
        SEEN[0] += 1
        if self.settings.trades:
            _, stamp = STAMPS.pop(id(quote))
            (ctx.buy if self.seen % 2 else ctx.sell)(quote.symbol, 0.01, tag=str(stamp))


class Records:
    id = "in memory"

    def __init__(self, settings, services):
        self.count = 0

    def append(self, records, *, durable=True):
        self.count += len(records)
        return self.count

    def read(self, after=0):
        return iter(())

    def snapshot(self, state):
        pass

    def latest(self):
        return None

    def close(self):
        pass


@hookimpl
def herald_connectors():
    yield component("pulse", PulseSettings, Pulse)


@hookimpl
def herald_strategies():
    yield component("eager", Nothing, Eager)


@hookimpl
def herald_journals():
    yield component("records", Nothing, Records)
'''

CONFIG = """
[herald]
mode    = "live"
on_stop = "leave"
[plugins]
paths = ["."]
require_lock = false
{connectors}
{strategies}
[[risk]]
use        = "risk.max_orders_per_minute"
limit      = 100_000_000
per_second = 100_000_000
per_day    = 100_000_000
[[risk]]
use     = "risk.duplicate_order"
seconds = 1e-6
[[risk]]
use        = "risk.repeated_execution"
executions = 100_000_000
[[risk]]
use   = "risk.consecutive_losses"
limit = 100_000_000
[[risk]]
use  = "risk.max_order_size"
lots = 100.0
[[risk]]
use      = "risk.max_daily_loss"
fraction = 1.0
[[risk]]
use      = "risk.max_drawdown"
fraction = 1.0
[[risk]]
use      = "risk.price_collar"
fraction = 0.9
[journal]
use = "{journal}"
[live]
warmup_bars = 0
"""
CONNECTOR = """
[connectors.c{k}]
use          = "pulse_bench.pulse"
symbol       = "S{k}"
rate         = {rate}
poll_seconds = {poll}
middleware   = {layers}
[live.accounts.c{k}]
account = "S{k}"
server  = "bench"
real    = false
"""
STRATEGY = """
[strategies.s{k}]
use       = "pulse_bench.eager"
connector = "c{k}"
symbols   = ["S{k}"]
timeframe = "1m"
trades    = {trades}
"""
_POLL = 0.000_1
"""Seconds between two looks for a quote: as often as a connector can be asked without keeping the processor from the engine."""
LAYERS = (
    '[{ use = "health_monitor" }, { use = "retry" }, { use = "circuit_breaker" }, { use = "rate_limiter", max_calls = 100000 }]'
)


def run(
    *,
    rate: float,
    seconds: float,
    connectors: int = 1,
    durable: bool = False,
    trades: bool = True,
    more: str = "",
    beside: Callable[[Path], None] = lambda folder: None,
) -> dict[str, Any]:
    """Run for *seconds*; return the delays in microseconds and what was dealt with.

    *more* is added to the config; *beside* is called once with the run's folder when it trades.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pulse_bench.py").write_text(PLUGIN, encoding="utf-8")
        text = CONFIG.format(
            connectors="".join(
                CONNECTOR.format(k=k, rate=rate if k == 0 else 50, poll=_POLL if k == 0 else 0.01, layers=LAYERS)
                for k in range(connectors)
            ),
            strategies="".join(STRATEGY.format(k=k, trades=str(trades and k == 0).lower()) for k in range(connectors)),
            journal="journal.sqlite" if durable else "pulse_bench.records",
        )
        (folder / "h.toml").write_text(text + more, encoding="utf-8")
        os.environ["XDG_STATE_HOME"] = name
        live = LiveRun(load_plan(folder / "h.toml"))
        decisions: list[int] = []
        begun = [0.0]

        def watch(live: LiveRun) -> None:
            if not begun[0]:
                begun[0] = time.perf_counter()
                beside(folder)

        live._tick = watch
        end = time.perf_counter() + seconds + 1.0
        wrapped: list[bool] = []

        def stop() -> bool:
            if not wrapped and hasattr(live, "spool"):
                wrapped.append(True)
                write, now = live.spool.write, time.perf_counter_ns

                def timed(records: Any, **options: Any) -> None:
                    if records and type(records[0]).__name__ == "Intended":
                        decisions.append(now() - int(records[0].request.tag))
                    write(records, **options)

                live.spool.write = timed  # type: ignore[method-assign]
            return time.perf_counter() >= end

        gc.collect()
        live.run(stop)
        module = next(
            m for key, m in sys.modules.items() if key.endswith("pulse_bench") or (hasattr(m, "STAMPS") and hasattr(m, "Pulse"))
        )
        whole = list(module.STAMPS.get("whole", []))
        # The manual book is a runner, too, and sees nothing.
        seen = sum(getattr(runner.strategy, "seen", 0) for runner in live.engine.runners)
        for key in [key for key in sys.modules if "pulse_bench" in key]:
            del sys.modules[key]
    skip = len(decisions) // 10  # warm-up
    return {
        "decision": np.array(decisions[skip:]) / 1e3,
        "whole": np.array(whole[len(whole) // 10 :]) / 1e3,
        "seen": seen,
        "seconds": seconds,
    }


def show(label: str, delays: np.ndarray, goal: str = "") -> None:
    if not len(delays):
        print(f"{label:44} nothing measured")
        return
    p50, p99, p999 = np.percentile(delays, [50, 99, 99.9])
    print(f"{label:44} p50 {p50:8.1f}   p99 {p99:8.1f}   p99.9 {p999:8.1f} µs   ({len(delays):,} orders){goal}")


def main() -> None:
    quick = "--quick" in sys.argv
    seconds = 3.0 if quick else 8.0
    one = run(rate=200, seconds=seconds)
    show("decision, one connector, 200 orders/s", one["decision"], "   goal 25 / 150")
    show("whole path to the innermost call", one["whole"])
    if quick:
        return
    four = run(rate=200, seconds=seconds, connectors=4)
    show("decision, four connectors polling", four["decision"])
    show("whole path, four connectors polling", four["whole"])
    many = run(rate=2_000, seconds=seconds)
    show("decision, one connector, 2,000 orders/s", many["decision"], "   the goal's own rate")
    print(f"{'orders a second that got through':44} {len(many['whole']) / 0.9 / seconds:8,.0f}")
    durable = run(rate=200, seconds=seconds, durable=True)
    show("whole path, durable intents, 200/s", durable["whole"], "   goal 6,000 / 20,000")
    group = run(rate=4_000, seconds=seconds, durable=True)
    print(f"{'durable intents a second, group commit':44} {len(group['whole']) / 0.9 / seconds:8,.0f}   goal 2,000")
    flood = run(rate=0, seconds=seconds, trades=False)
    print(f"{'events a second through one process':44} {flood['seen'] / seconds:8,.0f}   goal 50,000")


if __name__ == "__main__":
    main()
