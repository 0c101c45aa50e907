"""How often many misses of one key fetch, and what a cache saves."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from experiments.costs import costs, plainly
from experiments.rivals import cachetools_caches
from herald.utils import SmartCache

LONGEST = 10.0
"""Seconds after which a wait is given up; nothing here comes near them."""
FOREVER = 1e6


def in_threads(works: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"


def misses(get: Callable[[Callable[[], int]], int], callers: int = 50) -> int:
    """Return how often *callers* threads that miss one key together fetch it."""
    fetched: list[None] = []
    start = threading.Barrier(callers)
    answers: list[int] = []

    def fetch() -> int:
        fetched.append(None)
        time.sleep(0.05)
        return 1

    def client() -> None:
        start.wait(LONGEST)
        answers.append(get(fetch))

    in_threads([client] * callers)
    assert answers == [1] * callers, answers
    return len(fetched)


def misses_async(cache: SmartCache[Any, Any], callers: int = 50) -> int:
    """Return the same for tasks."""
    fetched: list[None] = []

    async def fetch() -> int:
        fetched.append(None)
        await asyncio.sleep(0.05)
        return 1

    async def clients() -> list[int]:
        return await asyncio.gather(*(cache.get_or_fetch_async("EURUSD", fetch) for _ in range(callers)))

    assert asyncio.run(clients()) == [1] * callers
    return len(fetched)


def misses_mixed(cache: SmartCache[Any, Any], callers: int = 50) -> int:
    """Return the same for threads and tasks that miss one key together."""
    counts: list[int] = []
    threads = threading.Thread(target=lambda: counts.append(misses(lambda fetch: cache.get_or_fetch("EURUSD", fetch), callers)))
    threads.start()
    counts.append(misses_async(cache, callers))
    threads.join(LONGEST)
    return sum(counts)


def cachetools_misses() -> dict[str, int]:
    """Return the same for threads and cachetools."""
    found = {}
    fetches: list[Callable[[], int]] = []
    for name, _, guarded in cachetools_caches(lambda _: fetches[0]()):

        def get(fetch: Callable[[], int], guarded: Any = guarded) -> int:
            fetches.append(fetch)  # all of them are the same
            return int(guarded("EURUSD"))

        found[name] = misses(get)
        fetches.clear()
    return found


def burn(seconds: float = 0.001) -> int:
    """Take so much CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return 1


def cached_ratios() -> dict[str, float]:
    """Return how many times longer a fetch of 1 ms takes than the same answer from each cache, CPU time."""
    cache: SmartCache[str, int] = SmartCache(FOREVER)
    forms: dict[str, Callable[[], int]] = {"herald SmartCache": lambda: cache.get_or_fetch("EURUSD", burn)}
    for name, _, guarded in cachetools_caches(lambda _: burn()):
        forms[name] = functools.partial(guarded, "EURUSD")
    for fn in forms.values():
        assert fn() == 1
    found = costs({name: plainly(fn) for name, fn in forms.items()}, plainly(burn))
    return {name: 1 / ratio for name, (_, ratio) in found.items()}
