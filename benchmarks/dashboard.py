"""The dashboard in a browser: how soon it is painted, what it takes of a core, and whether it grows.

A made-up run of twenty symbols sends news ten times a second, as a busy one would: quotes of every symbol, a state a second, a bar of every
symbol a minute, fills and lines of the log. First paint is the browser's own figure on a page that was never loaded before. What the
browser takes is the processor time of all its processes. Then an hour of such news is sent as quickly as the page keeps up with it
(six times as fast), while the size of the JavaScript heap (after a collection) and the number of nodes are noted.

Run: ``python benchmarks/dashboard.py`` (about a quarter of an hour), ``--quick`` for two minutes. Needs chromium, on Linux.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import CDPSession, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from herald.clock import SECOND  # noqa: E402
from herald.model import Bar, Charted, Fill, Side  # noqa: E402
from tests.e2e.dashboard import MINUTE, NOW, Site, line, make_state, open_dashboard, quotes  # noqa: E402

SYMBOLS = tuple(f"SYM{number:02}" for number in range(20))
TICKS = 100  # of the kernel in a second


def processor_seconds(root: int) -> float:
    """Return the processor time of the browser's processes, the children of *root* and theirs."""
    parents: dict[int, int] = {}
    times: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parents[number] = int(fields[1])
        times[number] = (int(fields[11]) + int(fields[12])) / TICKS
    found, more = {root}, True
    while more:
        fresh = {number for number, parent in parents.items() if parent in found} - found
        found |= fresh
        more = bool(fresh)
    names = {number for number in found if "chrom" in Path(f"/proc/{number}/comm").read_text().lower()} if found else set()
    return sum(times[number] for number in names if number in times)


def send(site: Site, step: int) -> None:
    """Send a tenth of a second's news."""
    more: dict[str, object] = {"quotes": quotes(SYMBOLS, step)}
    now = NOW + step * SECOND // 10
    if step % 10 == 0:
        more["state"] = make_state(SYMBOLS, time=now, equity=10_000.0 + step % 977)
    if step % 50 == 0:
        more["fills"] = [Fill(f"f{step}", f"trend-{step}", SYMBOLS[step % 20], Side.BUY, 0.1, 1.1, 0.0, "USD", now)]
        more["said"] = [line(step, f"something happened for the {step}th time")]
    if step % 600 == 0 and step:
        more["bars"] = [
            Charted(
                Bar(symbol, NOW + step // 600 * MINUTE, 60 * SECOND, 1.1, 1.101, 1.099, 1.1005, 100.0),
                "1m",
                {"sma(10)": 1.1, "rsi(14)": 50.0},
            )
            for symbol in SYMBOLS
        ]
    site.tell(**more)


def size_of(session: CDPSession) -> tuple[float, int]:
    """Return (MiB of the heap after a collection, nodes)."""
    session.send("HeapProfiler.collectGarbage")
    told = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return told["JSHeapUsedSize"] / 1_048_576, int(told["Nodes"])


def main() -> None:
    """Print the figures."""
    quick = "--quick" in sys.argv
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("no chromium on the PATH; install it")
    with sync_playwright() as play, tempfile.TemporaryDirectory() as name, Site(Path(name), SYMBOLS) as site:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        paints = []
        for _ in range(3 if quick else 7):
            opened = open_dashboard(browser, site.address)
            paints.append(
                opened.page.evaluate(
                    "new Promise((done) => new PerformanceObserver((list) => done(list.getEntriesByName('first-contentful-paint')[0]"
                    ".startTime)).observe({ type: 'paint', buffered: true }))"
                )
            )
            opened.close()
        print(f"first contentful paint    {statistics.median(paints):6.0f} ms   ({min(paints):.0f} to {max(paints):.0f})")
        opened = open_dashboard(browser, site.address, key=site.key)
        session = opened.page.context.new_cdp_session(opened.page)
        session.send("Performance.enable")

        step, seconds = 0, 10.0 if quick else 30.0
        for phase in ("warm", "measured"):
            began, used = time.perf_counter(), processor_seconds(os.getpid())
            while time.perf_counter() - began < (5.0 if phase == "warm" else seconds):
                send(site, step)
                step += 1
                opened.page.wait_for_timeout(95.0)
            taken = time.perf_counter() - began
            share = (processor_seconds(os.getpid()) - used) / taken
        print(f"20 symbols, 10 updates/s  {share:6.0%} of a core, all processes of the browser")
        sizes = [size_of(session)]
        end = step + (6_000 if quick else 36_000)
        while step < end:
            for _ in range(20):
                send(site, step)
                step += 1
            opened.page.wait_for_timeout(300.0)
            if (end - step) % (1_200 if quick else 3_600) < 20:
                sizes.append(size_of(session))
        first, half, last = sizes[1], sizes[len(sizes) // 2], sizes[-1]
        print(
            f"heap over {(end - step + (6_000 if quick else 36_000)) / 600:.0f} minutes      "
            + " ".join(f"{mib:.1f}" for mib, _ in sizes)
            + " MiB"
        )
        print("nodes                     " + " ".join(str(nodes) for _, nodes in sizes))
        print(
            f"from the second to the last: {last[0] - first[0]:+.1f} MiB, {last[1] - first[1]:+d} nodes; "
            f"within the second half: {last[0] - half[0]:+.1f} MiB, {last[1] - half[1]:+d} nodes; complaints: {len(opened.complaints)}"
        )
        browser.close()


if __name__ == "__main__":
    main()
