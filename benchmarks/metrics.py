"""What metrics cost: one observation, a backtest that is measured beside one that is not, and the text that is scraped.

An observation is timed beside a bare call of an empty method, in the same run, per call, best of nine batches. The backtest is the bundled
demo (nine years of GBPUSD hours), CPU time, with and without ``[metrics]`` in turn: the ratio of the best of each, as a shared machine only ever
adds to a time, and how far single pairs lie apart.
The text is rendered for as many series as a run with ten connectors and a hundred symbols has.

Run: ``python benchmarks/metrics.py`` (about a minute), ``--quick`` for a look.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from herald.host.plan import load_plan
from herald.plugins.metrics import MetricsSettings, make_store
from herald.runtime import run_backtest
from herald.testing import make_services

CALLS = 200_000


class Bare:
    """Something that does nothing with one number."""

    def take(self, value: float = 1.0) -> None:
        """Do nothing."""


def nanoseconds(work: Callable[[float], object], batches: int) -> float:
    """Return the time of one call of *work*, the best of *batches*."""
    timer = timeit.Timer("work(0.001)", globals={"work": work})
    return min(timer.repeat(batches, CALLS)) / CALLS * 1e9


def seconds(file: Path) -> float:
    """Return the CPU time of a backtest of *file*, loading left out."""
    plan = load_plan(file, environ={})
    began = time.process_time()
    run_backtest(plan)
    return time.process_time() - began


def backtests(folder: Path, pairs: int) -> list[tuple[float, float]]:
    """Return (time without metrics, time with), a pair after the other."""
    text = (files("herald") / "demo" / "demo.toml").read_text(encoding="utf-8")
    (data,) = Path(str(files("herald") / "demo")).glob("GBPUSD*.csv.gz")
    text = text.replace(data.name, data.as_posix())
    plain, measured = folder / "plain.toml", folder / "measured.toml"
    plain.write_text(text, encoding="utf-8")
    measured.write_text(text + "\n[metrics]\n", encoding="utf-8")
    seconds(plain), seconds(measured)  # warm: imports, the cache of the data
    times = []
    for number in range(pairs):
        first, second = (plain, measured) if number % 2 else (measured, plain)
        taken = {first: seconds(first), second: seconds(second)}
        times.append((taken[plain], taken[measured]))
    return times


def main() -> None:
    """Print the figures."""
    quick = "--quick" in sys.argv
    batches, pairs = (3, 3) if quick else (9, 80)
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(MetricsSettings(max_series=100_000), make_services())
        labels = {"component": "connectors.main"}
        bare = nanoseconds(Bare().take, batches)
        costs = {
            "counter": nanoseconds(store.counter("bench_total", "Calls.", labels).add, batches),
            "gauge": nanoseconds(store.gauge("bench_level", "Level.", labels).set, batches),
            "histogram": nanoseconds(store.histogram("bench_seconds", "Times.", labels).observe, batches),
        }
        for symbol in range(100):
            for name in ("lots", "profit", "exposure", "age_seconds"):
                store.gauge(f"bench_{name}", "Of a symbol.", {"symbol": f"S{symbol}"}).set(1.0)
        for connector in range(10):
            for operation in range(12):
                called = {"connector": f"c{connector}", "operation": f"o{operation}"}
                store.histogram("bench_call_seconds", "Calls.", called).observe(0.01)
        size = len(store.expose())
        rendered = statistics.median(timeit.repeat(store.expose, number=1, repeat=5 if quick else 21)) * 1e3
        times = backtests(Path(folder), pairs)
    print(f"a bare call                     {bare:8.0f} ns")
    for name, cost in costs.items():
        print(f"one observation, {name:<14} {cost:8.0f} ns   {cost / bare:5.1f} bare calls")
    best = min(time for _, time in times) / min(time for time, _ in times)
    ratios = [measured / plain for plain, measured in times]
    print(
        f"backtest with metrics / without {best:8.3f}      best of {pairs}; single pairs {min(ratios):.3f} to {max(ratios):.3f}"
    )
    print(f"text of {size / 1024:.0f} KiB                  {rendered:8.1f} ms")
    print(json.dumps({"bare_ns": bare, **{f"{n}_ns": c for n, c in costs.items()}, "backtest": best, "expose_ms": rendered}))


if __name__ == "__main__":
    main()
