"""What it costs to have MetaTrader 5 in a process of its own: one call, and ten thousand bars.

The same module is called in one process, across the bridge, and across the bridge behind ``herald mt5 serve``. It answers at once, so
that what is measured is the way and not the terminal. Where Wine is set up (``python tests/mt5/wine/setup.py``), the same again with
the module in a Windows Python.

Goals, medians on the loopback: a call at most 1 ms, 10,000 bars at most 25 ms.

Run: ``python benchmarks/mt5_bridge.py`` (ten seconds, half a minute with Wine).
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from herald.clock import WallClock
from herald.plugins.mt5.client import TerminalClient
from herald.plugins.mt5.process import TerminalProcess
from herald.plugins.mt5.relay import serve_forever

CALLS, ARRAYS, BARS = 2_000, 100, 10_000
CALL_GOAL_MS, BARS_GOAL_MS = 1.0, 25.0

MODULE = f"""
import collections
import json
import statistics
import time

import numpy as np

Tick = collections.namedtuple("Tick", "time bid ask last volume time_msc flags volume_real")
TICK = Tick(1700000000, 1.09871, 1.09883, 0.0, 0, 1700000000123, 6, 0.0)
RATES = np.zeros({BARS}, [("time", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8"),
                          ("tick_volume", "<u8"), ("spread", "<i4"), ("real_volume", "<u8")])
RATES["time"] = np.arange({BARS}) * 60
RATES["close"] = np.linspace(1.0, 2.0, {BARS})


def last_error():
    return (1, "Success")


def symbol_info_tick(symbol):
    return TICK


def copy_rates_from_pos(symbol, timeframe, start, count):
    return RATES[start:start + count].copy()


def median_ms(call, count):
    call()
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e3


if __name__ == "__main__":
    print(json.dumps([median_ms(lambda: symbol_info_tick("EURUSD"), {CALLS}),
                      median_ms(lambda: copy_rates_from_pos("EURUSD", 1, 0, {BARS}), {ARRAYS})]))
"""


BOOT = """
import os
import runpy
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def check(client: TerminalClient) -> None:
    """Fail where what arrives is not what was sent."""
    rates = client.call("copy_rates_from_pos", "EURUSD", 1, 0, BARS, seconds=5.0).value
    assert np.array_equal(rates["time"], np.arange(BARS) * 60)
    assert np.array_equal(rates["close"], np.linspace(1.0, 2.0, BARS))
    assert client.call("symbol_info_tick", "EURUSD", seconds=5.0).value.time_msc == 1700000000123


def across(client: TerminalClient, median_ms: Callable[[Callable[[], object], int], float]) -> tuple[float, float]:
    """Return the medians of a call and of the bars, milliseconds."""
    check(client)
    return (
        median_ms(lambda: client.call("symbol_info_tick", "EURUSD", seconds=5.0), CALLS),
        median_ms(lambda: client.call("copy_rates_from_pos", "EURUSD", 1, 0, BARS, seconds=5.0), ARRAYS),
    )


def bridged(module: ModuleType, python: Sequence[str]) -> tuple[float, float]:
    """Measure a process of one's own."""
    process = TerminalProcess(clock=WallClock(), python=python, module="bridge_bench", start_seconds=60.0)
    try:
        process.start()
        client = TerminalClient(process.address, process.token, clock=WallClock())
        client.open()
        return across(client, module.median_ms)
    finally:
        process.kill()


def served(module: ModuleType, python: Sequence[str]) -> tuple[float, float]:
    """Measure a served one."""
    told: list[str] = []
    stop = threading.Event()
    token = secrets.token_hex(32)
    terms = {"listen": "127.0.0.1:0", "allow_remote": False, "token": token, "python": python, "module": "bridge_bench"}
    thread = threading.Thread(
        target=serve_forever, kwargs={**terms, "options": {}, "stop": stop, "clock": WallClock(), "tell": told.append}
    )
    thread.start()
    try:
        while not told:
            time.sleep(0.01)
        client = TerminalClient(told[0].split(" at ")[1].split(",")[0], token, clock=WallClock())
        client.open()
        return across(client, module.median_ms)
    finally:
        stop.set()
        thread.join()


def leg(name: str, module: ModuleType, python: Sequence[str], script: str) -> bool:
    """Measure and print one Python; return whether the goals are met."""
    done = subprocess.run([*(python or [sys.executable]), script], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    figures = {"in one process": json.loads(done.stdout)}
    figures["across the bridge"] = bridged(module, python)
    figures["behind a served one"] = served(module, python)
    good = True
    for how, (call, bars) in figures.items():
        verdict = ""
        if how == "across the bridge":
            good = call <= CALL_GOAL_MS and bars <= BARS_GOAL_MS
            verdict = f"   {'pass' if good else 'FAIL'}: goals {CALL_GOAL_MS:g} ms and {BARS_GOAL_MS:g} ms"
        print(f"{name:<16} {how:<20} a call {call:8.4f} ms   {BARS:,} bars {bars:7.3f} ms{verdict}")
    return good


def main() -> int:
    """Measure and print; return 1 where a goal is missed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bridge_bench.py"
        path.write_text(MODULE, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("bridge_bench", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        os.environ["PYTHONPATH"] = folder
        good = leg("this Python", module, (), str(path))

        setup_path = Path(__file__).resolve().parents[1] / "tests" / "mt5" / "wine" / "setup.py"
        spec = importlib.util.spec_from_file_location("wine_setup", setup_path)
        assert spec is not None
        assert spec.loader is not None
        setup = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(setup)
        root = setup.folder()
        if sys.platform != "linux" or setup.probe(root) != setup.FOUND:
            print("Wine is not set up here; python tests/mt5/wine/setup.py does it")
        else:
            os.environ.update(setup.wine_environment(root))
            # An embeddable Python looks at no PYTHONPATH.
            (Path(folder) / "boot.py").write_text(BOOT, encoding="utf-8")
            boot = "Z:" + folder.replace("/", "\\") + "\\boot.py"
            good &= leg("Windows Python", module, (*setup.python_command(root), boot), "Z:" + str(path).replace("/", "\\"))
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
