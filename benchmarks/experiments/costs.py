"""What a call costs: CPU time beside a bare call, medians of rounds in which every subject takes its turn."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

QUICK = "--quick" in sys.argv
ROUNDS = 5 if QUICK else 7
SLICE = 0.008 if QUICK else 0.04
"""CPU seconds of one timing."""

Runner = Callable[[int], float]
"""Makes so many calls and returns the CPU seconds they took."""


def bare() -> int:
    return 1


async def bare_async() -> int:
    return 1


def plainly(fn: Callable[[], object]) -> Runner:
    def run(n: int) -> float:
        begun = time.process_time()
        for _ in itertools.repeat(None, n):
            fn()
        return time.process_time() - begun

    return run


def awaiting(fn: Callable[[], Awaitable[object]]) -> Runner:
    async def loop(n: int) -> float:
        begun = time.process_time()
        for _ in itertools.repeat(None, n):
            await fn()
        return time.process_time() - begun

    return lambda n: asyncio.run(loop(n))


def limited(make: Callable[[], Callable[[], bool]], room: int) -> Runner:
    """Return a run of calls that are all allowed: a new limiter whenever one has no room left."""

    def run(n: int) -> float:
        seconds = 0.0
        while n > 0:
            allow, batch = make(), min(n, room)
            begun = time.process_time()
            for _ in itertools.repeat(None, batch):
                allow()
            seconds += time.process_time() - begun
            n -= batch
        return seconds

    return run


def limited_async(make: Callable[[], Callable[[], Awaitable[bool]]], room: int) -> Runner:
    async def loop(n: int) -> float:
        seconds = 0.0
        while n > 0:
            allow, batch = make(), min(n, room)
            begun = time.process_time()
            for _ in itertools.repeat(None, batch):
                await allow()
            seconds += time.process_time() - begun
            n -= batch
        return seconds

    return lambda n: asyncio.run(loop(n))


def enough(run: Runner) -> int:
    """Return how many calls take about one slice."""
    n = 1
    while (seconds := run(n)) < SLICE / 4:
        n *= 4
    return max(n, round(n * SLICE / seconds))


def costs(cases: dict[str, Runner], base: Runner) -> dict[str, tuple[float, float]]:
    """Return microseconds a call and the ratio to *base*, medians over rounds in which all take their turn."""
    counts = {name: enough(run) for name, run in cases.items()}
    per_base = enough(base)
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        before = base(per_base) / per_base
        for name, run in cases.items():
            each = run(counts[name]) / counts[name]
            after = base(per_base) / per_base
            seen[name].append((each * 1e6, each / ((before + after) / 2)))
            before = after
    return {
        name: (statistics.median(us for us, _ in pairs), statistics.median(r for _, r in pairs)) for name, pairs in seen.items()
    }
