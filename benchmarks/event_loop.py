"""How fast the event loop is: ratios to a bare Python loop, taken in one run, CPU time, medians of five.

The workload is the strategy of ``examples/strategies/cross.py`` (the cross of a 10- and a 50-bar mean, by
``ctx.indicator``), its market orders filled at the next open, one risk check configured, equity and trades kept, run by
`herald.runtime` as installed. The prices are the bundled real GBPUSD hours, laid end to end forwards and backwards so that they join
without a jump. Before anything is timed, fills and final equity are compared with an independent numpy computation.

The bare loop is a ``for`` over a list of closes that calls one method, which keeps the same two means on deques.

A ratio is the median of five rounds. In each round the base (the bare loop, the shorter run, the one symbol) is measured before and
after the work and the work is compared with their mean, so that a machine that slows down meanwhile hurts both alike; the rates
beside a ratio are medians of their own, and need not divide to it.

Run: ``python benchmarks/event_loop.py`` (about half a minute), ``--quick`` for one figure.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from herald import Bar, BarSeries, Context, Fill, Instrument, RiskCheck, Services, Strategy, Timeframe
from herald.clock import SimClock
from herald.results import RunResult
from herald.runtime import StrategySetup, simulate

ROOT = Path(__file__).parents[1]
HOUR = Timeframe(3_600)
SIZE = 0.1
CASH = 1e6
ROUNDS = 5
FAST, SLOW = 10, 50


# --- the workload ---------------------------------------------------------------------------------


def prices(n: int, symbol: str = "GBPUSD", shift: int = 0) -> BarSeries:
    """Return *n* real bars: the bundled series there and back again, as often as needed, from bar *shift* on."""
    (source,) = Path(str(files("herald") / "demo")).glob("GBPUSD*.csv.gz")
    raw = np.loadtxt(source, delimiter=",", skiprows=1, usecols=(1, 2, 3, 4, 5))
    back = raw[::-1][:, [3, 1, 2, 0, 4]]  # run backwards, a bar opens at its close
    table = np.concatenate([raw, back])
    rows = (np.arange(n) + shift) % len(table)
    opens, high, low, close, volume = np.ascontiguousarray(table[rows].T)
    # A thousandth of a point of noise, so that no two means are exactly equal: whether an exact tie counts as above
    # would depend on the order in which floats were added.
    close = close + np.random.default_rng(shift).uniform(-1e-8, 1e-8, n)
    return BarSeries(symbol, HOUR.span, (np.arange(n, dtype=np.int64) + 1) * HOUR.span, opens, high, low, close, volume)


def instrument(symbol: str = "GBPUSD") -> Instrument:
    return Instrument(symbol=symbol, base="GBP", quote="USD", price_step=1e-5, size_step=0.01, min_size=0.01, contract_size=1e5)


def example() -> Any:
    spec = importlib.util.spec_from_file_location("cross_example", ROOT / "examples" / "strategies" / "cross.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def services(name: str) -> Services:
    return Services(name, SimClock(), Random(0))


def check() -> tuple[str, RiskCheck]:
    """Return the shipped check that limits the size of an order, built as the runtime builds it."""
    from herald.host.discovery import discover
    from herald.host.registry import Registry

    component = Registry(discover()).find("risk", "risk.max_order_size").component
    return "risk[0]", component.build(component.settings(lots=1.0), services("risk[0]"))


class OwnMeans(Strategy[Any]):
    """The same rule with the means kept by the strategy, on deques."""

    def on_start(self, ctx: Context) -> None:
        self.loop = Bare()
        self.above: bool | None = None

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        above = self.loop.on_close(bar.close)
        if above is not None and above is not self.above:
            if self.above is not None:
                ctx.target(bar.symbol, SIZE if above else -SIZE)
            self.above = above


class Bare:
    """What the bare loop calls."""

    def __init__(self) -> None:
        self.fast: deque[float] = deque(maxlen=FAST)
        self.slow: deque[float] = deque(maxlen=SLOW)
        self.fast_sum = self.slow_sum = 0.0

    def on_close(self, close: float) -> bool | None:
        fast, slow = self.fast, self.slow
        if len(fast) == FAST:
            self.fast_sum -= fast[0]
        if len(slow) == SLOW:
            self.slow_sum -= slow[0]
        fast.append(close)
        slow.append(close)
        self.fast_sum += close
        self.slow_sum += close
        if len(slow) < SLOW:
            return None
        return self.fast_sum / FAST > self.slow_sum / SLOW


class Never:
    """An exit rule that is asked and does nothing."""

    def check(self, position: Any, event: Any, ctx: Any) -> None:
        return None


class Counter:
    """An observer of fills."""

    events: tuple[type, ...] = (Fill,)

    def __init__(self) -> None:
        self.count = 0

    def observe(self, event: Any) -> None:
        self.count += 1

    def close(self) -> None:
        pass


# --- one measurement ------------------------------------------------------------------------------


def bare(series: BarSeries) -> float:
    closes = series.close.tolist()
    on_close = Bare().on_close
    begun = time.process_time()
    for close in closes:
        on_close(close)
    return time.process_time() - begun


def cross(series: list[BarSeries], *, own: bool = False, exits: bool = False, observer: bool = False) -> tuple[float, RunResult]:
    module = example()
    risk = (check(),)
    setups = []
    for number, one in enumerate(series):
        name = f"s{number}"
        strategy = OwnMeans(None, services(name)) if own else module.Cross(module.CrossSettings(size=SIZE), services(name))
        rules = (("exit", Never()),) if exits else ()
        setups.append(StrategySetup(name, strategy, (one.symbol,), (HOUR,), checks=risk, exits=rules))
    terms = {one.symbol: instrument(one.symbol) for one in series}
    observers = {"counter": Counter()} if observer else {}
    begun = time.process_time()
    result = simulate(setups, series, terms, cash=CASH, observers=observers)
    return time.process_time() - begun, result


def reference(series: BarSeries) -> tuple[list[float], float]:
    """Return the fill prices and the final equity of the same rule, by numpy and nothing of Herald's."""
    windows = np.lib.stride_tricks.sliding_window_view(series.close, SLOW)
    above = windows[:, -FAST:].mean(axis=1) > windows.mean(axis=1)
    turn = np.flatnonzero(above[1:] != above[:-1]) + SLOW  # bar at whose close the sign is new
    turn = turn[turn + 1 < len(series)]
    fills = series.open[turn + 1]
    held = np.where(above[turn - SLOW + 1], SIZE, -SIZE) * 1e5
    traded = np.diff(np.concatenate(([0.0], held)))
    return fills.tolist(), float(CASH - traded @ fills + (held[-1] if len(held) else 0.0) * series.close[-1])


def verify(series: BarSeries, result: RunResult) -> None:
    fills, equity = reference(series)
    assert [fill.price for fill in result.fills] == fills, "fills differ from the independent computation"
    assert abs(result.equity.equity[-1] - equity) < 1e-6 * CASH, (result.equity.equity[-1], equity)
    assert len(result.equity.time) == len(series)
    assert len(result.trades) == len(fills) - 1


def measure(work: Callable[[], float], base: Callable[[], float]) -> tuple[float, float, float]:
    """Return the median seconds of both and the median ratio base / work.

    Each round measures the base before and after the work and compares the work with their mean, so that a machine that
    grows slower or faster meanwhile hurts both alike.
    """
    rounds = []
    for _ in range(ROUNDS):
        before, seconds, after = base(), work(), base()
        rounds.append((seconds, (before + after) / 2))
    return (
        statistics.median(seconds for seconds, _ in rounds),
        statistics.median(floor for _, floor in rounds),
        statistics.median(floor / seconds for seconds, floor in rounds),
    )


# --- the figures ----------------------------------------------------------------------------------


def rates(n: int, label: str, goal: float | None, **options: bool) -> float:
    series = prices(n)
    _, result = cross([series], **options)
    verify(series, result)
    seconds, floor, ratio = measure(lambda: cross([series], **options)[0], lambda: bare(series))
    wanted = "" if goal is None else f"   goal {goal:.2f}"
    print(
        f"{label:34} {n / seconds / 1e6:6.2f} M bars/s   bare {n / floor / 1e6:5.2f}   ratio {ratio:5.3f}{wanted}   ({len(result.fills):,} fills)"
    )
    return n / seconds


def growth() -> None:
    long, short = prices(1_000_000), prices(100_000)
    _, _, ratio = measure(lambda: cross([long])[0], lambda: cross([short])[0])
    print(f"{'rate at 1,000,000 / at 100,000':34} {10 * ratio:6.2f}   goal 0.85")


def ten_symbols(n: int) -> None:
    series = [prices(n, f"GBPUSD{k}", shift=k * 997) for k in range(10)]
    _, result = cross(series)
    assert len(result.fills) > 10_000
    for number, each in enumerate(series):
        fills, _ = reference(each)
        mine = [fill.price for fill in result.fills if fill.order_id.startswith(f"s{number}-")]
        assert mine == fills, "fills differ from the independent computation"
    single = prices(n)
    seconds, alone, ratio = measure(lambda: cross(series)[0], lambda: cross([single])[0])
    rate, base = 10 * n / seconds, n / alone
    print(f"{'ten symbols':34} {rate / 1e6:6.2f} M bars/s   one  {base / 1e6:5.2f}   ratio {10 * ratio:5.3f}   goal 0.80")


def peak() -> int:
    """Return the most memory this process has held, bytes (Linux; elsewhere what the resource module says)."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024  # type: ignore[index]
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory(n: int) -> None:
    code = (
        "import sys; sys.path.insert(0, {here!r}); import event_loop as e; e.example(); e.check();"
        "base = e.peak(); series = e.prices({n}); e.cross([series]); print((e.peak() - base) / {n})"
    ).format(here=str(Path(__file__).parent), n=n)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    print(
        f"{'peak memory at ' + format(n, ','):34} {float(out):6.0f} bytes a bar above the interpreter with Herald imported   goal 300"
    )


def imports() -> None:
    def cpu(statement: str) -> float:
        before = os.times()
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    cpu("import herald.runtime")  # compiles what is not compiled yet
    everything = "import herald; [getattr(herald, name) for name in herald.__all__ if name not in ('load_plan', 'run_backtest')]"
    times = [(cpu("import herald"), cpu("import numpy"), cpu(everything)) for _ in range(ROUNDS)]
    lazy, base, whole = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{'import herald / import numpy':34} {lazy / base:6.2f}   goal 2.20   (every name of it used: {whole / base:.2f})")
    code = "import sys\nfrom herald.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\nprint({'numpy', 'pydantic'} & set(sys.modules), file=sys.stderr)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.strip()
    print(f"{'loaded by herald --help':34} {out} of numpy and pydantic   goal set()")


def demo() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"XDG_CACHE_HOME": folder}  # cold: without the cache of an earlier run
        begun = time.perf_counter()
        out = subprocess.run(
            [sys.executable, "-m", "herald", "demo", "--json", "--out", folder],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout
        seconds = time.perf_counter() - begun
        trades = json.loads(out)["statistics"]["total_trades"]
    print(f"{'herald demo, cold':34} {seconds:6.2f} s, report included ({trades:,} trades)   goal 5")


def main() -> None:
    rates(100_000, "100,000 bars", 0.45)
    if "--quick" in sys.argv:
        return
    rates(1_000_000, "1,000,000 bars", 0.40)
    growth()
    rates(100_000, "own means in the strategy", None, own=True)
    rates(100_000, "with one exit rule", None, exits=True)
    rates(100_000, "with one observer of fills", None, observer=True)
    ten_symbols(100_000)
    memory(1_000_000)
    imports()
    demo()


if __name__ == "__main__":
    main()
