"""What a control server costs the run beside it, and how many reads it answers: figure L5.

The trading loop is that of ``latency.py``: 200 quotes a second, each answered with an order, delays counted from when a quote was due. It runs
in turn without a control server, with one that nobody asks, and with one that fifty keys read from at 1,000 requests a second (positions,
orders, state, strategies), five times over: medians, because one run on a shared machine says little. What is read comes from a process of its own, over kept connections, paced, so that a slow
answer makes none of the next ones later than they were due. Then reads alone, as fast as they come, and one key past its limit.

The server is a process of its own so that it can have a core of its own. Where Linux lets it, the run is therefore kept on the first core
and everything else - the server, whoever reads - on the others, in all three alike: on a machine of two cores the reader, which stands for
other machines, would otherwise be measured as part of the run. What the reader takes is printed. ``--shared`` lets the system place all.

Run: ``python benchmarks/control.py`` (about four minutes).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from latency import run

from herald.clock import WallClock
from herald.plugins.control.access import KEYS_NAME, KeyFile

PORT = 18_787
CONTROL = f'\n[[services]]\nuse = "control"\nport = {PORT}\nrequests_per_minute = 6000000\n'
LIMITED = f'\n[[services]]\nuse = "control"\nport = {PORT}\nrequests_per_minute = 600\n'
PATHS = ("positions", "orders", "state", "strategies")
KEYS = 50


async def read_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, key: str) -> int:
    """Ask for *path* and return the status."""
    writer.write(f"GET /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(head[9:12])


async def is_up() -> None:
    """Return when the server takes a connection."""
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", PORT)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit("the control server is not there")


async def load(keys: list[str], rate: float, seconds: float) -> dict[str, Any]:
    """Read at *rate* (0: as fast as it goes) for *seconds* with sixteen connections; return counts and delays."""
    statuses: dict[int, int] = {}
    delays: list[float] = []
    began = time.perf_counter()
    due = iter(range(10**9))

    async def work(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        while True:
            turn = next(due)
            at = began + turn / rate if rate else time.perf_counter()
            if at - began >= seconds or time.perf_counter() - began >= seconds + 2:
                break
            wait = at - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            status = await read_one(reader, writer, PATHS[turn % len(PATHS)], keys[turn % len(keys)])
            statuses[status] = statuses.get(status, 0) + 1
            delays.append(time.perf_counter() - at)
        writer.close()

    await asyncio.gather(*(work(number) for number in range(16)))
    taken = time.perf_counter() - began
    p50, p99 = np.percentile(delays, [50, 99]) * 1e3
    return {
        "statuses": statuses,
        "rate": sum(statuses.values()) / taken,
        "p50": p50,
        "p99": p99,
        "cpu": time.process_time() / taken,
    }


def reading(
    rate: float, seconds: float, count: int, out: list[dict[str, Any]], move: Callable[[], None]
) -> Callable[[Path], None]:
    """Return what starts a reader beside a run, whose figures end up in *out*; *move* gives it its cores."""

    def start(folder: Path) -> None:
        file = KeyFile(folder / "state" / KEYS_NAME, WallClock().now)
        keys = [file.add(f"k{number}", "viewer", "test")[0] for number in range(count)]
        command = [sys.executable, __file__, "--load", str(rate), str(seconds)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out.append({"process": process})
        assert process.stdin is not None
        move()
        process.stdin.write(json.dumps(keys).encode())
        process.stdin.close()

    return start


def finished(out: list[dict[str, Any]]) -> dict[str, Any]:
    process = out[-1]["process"]
    found: dict[str, Any] = json.loads(process.stdout.read())
    process.wait()
    return found


def split_cores() -> Callable[[], None]:
    """Keep this process on the first core; return what moves its children to the others, and does nothing where that cannot be."""
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    if len(cores) < 2 or "--shared" in sys.argv:
        return lambda: None
    os.sched_setaffinity(0, cores[:1])

    def move() -> None:
        tasks = Path("/proc/self/task")
        for child in {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}:
            for thread in Path(f"/proc/{child}/task").iterdir():
                with suppress(OSError):  # it is gone already
                    os.sched_setaffinity(int(thread.name), cores[1:])

    return move


def main() -> None:
    """Print the figures."""
    if "--load" in sys.argv:
        rate, seconds = map(float, sys.argv[2:4])
        keys = json.load(sys.stdin)
        if hasattr(os, "nice"):
            os.nice(10)
        asyncio.run(is_up())
        print(json.dumps(asyncio.run(load(keys, rate, seconds))))
        return
    rounds, seconds = 5, 12.0
    move = split_cores()
    out: list[dict[str, Any]] = []
    rows: dict[str, list[np.ndarray]] = {"without": [], "asked by nobody": [], "1,000 reads/s, 50 keys": []}
    paced: list[dict[str, Any]] = []
    for _ in range(rounds):
        rows["without"].append(run(rate=200, seconds=seconds)["decision"])
        rows["asked by nobody"].append(run(rate=200, seconds=seconds, more=CONTROL, beside=lambda folder: move())["decision"])
        reader = reading(1_000, seconds - 5, KEYS, out, move)  # it is through before the run is
        rows["1,000 reads/s, 50 keys"].append(run(rate=200, seconds=seconds, more=CONTROL, beside=reader)["decision"])
        paced.append(finished(out))
    base = np.median([np.percentile(delays, 99) for delays in rows["without"]])
    for name, found in rows.items():
        p50, p99 = (np.array([np.percentile(delays, share) for delays in found]) for share in (50, 99))
        print(
            f"decision, {name:24} p50 {np.median(p50):7.1f}   p99 {np.median(p99):7.1f} µs   {np.median(p99) / base:5.2f} of that without"
            f"   (medians of {rounds} runs; p99 {p99.min():.0f} to {p99.max():.0f})"
        )
    for one in paced:
        print(
            f"reads beside it: {one['rate']:,.0f}/s, p50 {one['p50']:.1f} ms, p99 {one['p99']:.1f} ms, {one['statuses']}; "
            f"the reader takes {one['cpu']:.0%} of a core"
        )
    run(rate=1, seconds=10.0, more=CONTROL, beside=reading(0, 4.0, KEYS, out, move))
    fast = finished(out)
    print(f"reads alone, as fast as they come: {fast['rate']:,.0f}/s, p50 {fast['p50']:.1f} ms, p99 {fast['p99']:.1f} ms")
    run(rate=1, seconds=10.0, more=LIMITED, beside=reading(200, 4.0, 1, out, move))
    limited = finished(out)["statuses"]
    print(f"one key that may ask 600 times a minute and asks 800 times in 4 s: {limited}; exact would be 640 answered")


if __name__ == "__main__":
    main()
