"""A scripted paper run that measures itself: with fills, denials, refusals, a lost connection, an open breaker and failures."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from herald.host.plan import load_plan
from herald.live.state import ACCOUNT, TradingState
from herald.runtime.live import LiveRun

__all__ = ["MeasuredRun", "family", "parse", "run_scripted"]

PLUGIN = '''
"""Strategies and an observer that do what the script says, and an error where it says so."""

from herald import Bar, Settings, Strategy, component, hookimpl
from herald.model import Alert


class Fields(Settings):
    pass


class Scripted(Strategy):
    """Trades now and then, asks for too much now and then."""

    def on_start(self, ctx):
        self.bars = 0
        self.resting = None

    def on_bar(self, bar, ctx):
        self.bars += 1
        step = self.bars % 40
        if step == 1:
            ctx.buy(bar.symbol, 0.1, stop_loss=bar.close * 0.99, take_profit=bar.close * 1.01)
        elif step == 5:
            ctx.buy(bar.symbol, 50.0)                       # more than the check allows
        elif step == 7 and self.resting is None:
            self.resting = ctx.buy(bar.symbol, 0.1, limit=bar.close * 0.5)
        elif step == 27:                                    # all that the account can pay for now, and not at that price
            ctx.buy(bar.symbol, int(ctx.account.equity * 30 / bar.close / 1_000) / 100, stop=bar.close * 1.005)
        elif step == 39:
            for order in ctx.orders(bar.symbol):
                ctx.cancel(order)
        elif step == 11:
            ctx.buy(bar.symbol, 0.1, limit=bar.close * 1.001)
        elif step == 13:
            ctx.buy(bar.symbol, 0.1, stop=bar.close * 0.999)
        elif step == 25:
            ctx.close(bar.symbol)
        elif step == 22:
            self.services.emit(Alert(bar.time, "scripted", "somebody should look"))


class Broken(Strategy):
    """Raises at its tenth bar."""

    def on_start(self, ctx):
        self.bars = 0

    def on_bar(self, bar, ctx):
        self.bars += 1
        if self.bars == 10:
            raise ValueError("as the script says")


class Deaf:
    """Fails at every bar, until it is muted."""

    events = (Bar,)

    def __init__(self, settings, services):
        pass

    def observe(self, event):
        raise ValueError("as the script says")

    def close(self):
        pass


@hookimpl
def herald_strategies():
    yield component("trades", Fields, Scripted, "For tests.")
    yield component("breaks", Fields, Broken, "For tests.")


@hookimpl
def herald_observers():
    yield component("deaf", Fields, Deaf, "For tests.")
'''

FILE = """
[herald]
mode = "paper"
seed = 3

[plugins]
paths = ["."]

[connectors.history]
use        = "synthetic"
prices     = { EURUSD = 1.1, GBPUSD = 1.3 }
volatility = 0.002
seed       = 5
end        = 2020-02-01
middleware = []

[connectors.main]
use          = "replay"
source       = "history"
start        = 2020-01-03
speed        = 9_000
poll_seconds = 0.01
middleware = [
    { use = "metrics" },
    { use = "cache" },
    { use = "health_monitor", check_interval = 0.2, max_failures = 2 },
    { use = "retry", max_retries = 1, initial_delay = 0.01 },
    { use = "circuit_breaker", failure_threshold = 2, timeout = 0.2 },
    { use = "rate_limiter", wait_seconds = 1.0 },
    { use = "faults", faults = [
        { kind = "reset", operations = ["poll"], after_seconds = 0.7, calls = 1 },
        { kind = "reset", operations = ["poll"], after_seconds = 1.5, lasts_seconds = 1.5 },
        { kind = "down", operations = ["connect", "ping"], after_seconds = 1.5, lasts_seconds = 1.5 },
    ] },
]

[strategies.script]
use       = "scripted.trades"
connector = "main"
symbols   = ["EURUSD"]
timeframe = "1m"
[strategies.broken]
use       = "scripted.breaks"
connector = "main"
symbols   = ["GBPUSD"]
timeframe = "1m"

[[observers]]
use = "scripted.deaf"

[[risk]]
use  = "risk.max_order_size"
lots = 10.0
[[risk]]
use      = "risk.price_collar"
fraction = 0.9
[[risk]]
use      = "risk.working_notional"
fraction = 1000.0
[[risk]]
use            = "risk.max_exposure"
total_fraction = 1000.0
[[risk]]
use      = "risk.max_daily_loss"
fraction = 0.9
[[risk]]
use      = "risk.max_drawdown"
fraction = 0.9

[live]
state         = "state"
warmup_bars   = 100

[metrics]
file         = "metrics.prom"
file_seconds = 1.0
"""

Series = dict[tuple[str, frozenset[tuple[str, str]]], list[float]]


@dataclass(frozen=True)
class MeasuredRun:
    """What a scripted run showed.

    Attributes:
        samples: Values of every series in the order in which they were seen, by name and labels; with the ``herald_``.
        kinds: counter, gauge or histogram, by name.
        texts: What each name says is measured.
        expositions: The text as it was, in order.
        file: What the file held at the end.
        status: Of the run.
    """

    samples: Series
    kinds: dict[str, str]
    texts: dict[str, str]
    expositions: list[bytes]
    file: bytes
    status: str

    @property
    def labels(self) -> dict[str, set[str]]:
        """Names of the labels of every metric, without ``le``, by name as it is stated in ``# TYPE``."""
        found: dict[str, set[str]] = {name: set() for name in self.kinds}
        for series, labels in self.samples:
            found[family(series, self.kinds)] |= {name for name, _ in labels} - {"le"}
        return found

    def last(self, name: str, **labels: str) -> float:
        """Return the last value of a series."""
        return self.samples[f"herald_{name}", frozenset(labels.items())][-1]

    def ever(self, name: str, **labels: str) -> list[float]:
        """Return every value of a series."""
        return self.samples[f"herald_{name}", frozenset(labels.items())]


def family(series: str, kinds: dict[str, str]) -> str:
    """Return the name under which ``# TYPE`` states a series."""
    return series if series in kinds else re.sub(r"_(bucket|count|sum)$", "", series)


def parse(text: bytes, samples: Series, kinds: dict[str, str], texts: dict[str, str]) -> None:
    """Add what an exposition says."""
    for line in text.decode().splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
        elif line.startswith("# HELP"):
            _, _, name, words = line.split(" ", 3)
            texts[name] = words
        else:
            series, _, value = line.rpartition(" ")
            name, _, inner = series.partition("{")
            labels = frozenset(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', inner))
            samples[name, labels].append(float(value))


def run_scripted(folder: Path, seconds: int = 7) -> MeasuredRun:
    """Run the script in *folder* for about so many seconds."""
    (folder / "scripted.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "run.toml").write_text(FILE, encoding="utf-8")
    seen: list[bytes] = []

    def tick(run: LiveRun) -> None:
        assert run.metrics is not None
        seen.append(run.metrics.expose())
        if len(seen) == seconds - 1:
            run.state.set(ACCOUNT, TradingState.REDUCING, "test", "as the script says")

    run = LiveRun(load_plan(folder / "run.toml", environ={}), tick=tick)
    result = run.run(lambda: len(seen) >= seconds)
    assert run.metrics is not None
    seen.append(run.metrics.expose())
    samples: Series = defaultdict(list)
    kinds: dict[str, str] = {}
    texts: dict[str, str] = {}
    for one in seen:
        parse(one, samples, kinds, texts)
    return MeasuredRun(dict(samples), kinds, texts, seen, (folder / "metrics.prom").read_bytes(), result.status)
