"""How many calls a limiter lets through in any window."""

from __future__ import annotations

import functools
from collections.abc import Callable
from random import Random
from typing import Any

from experiments import rivals
from experiments.rivals import LIBRARIES
from experiments.storms import Virtual, peak
from herald.utils import SlidingWindowRateLimiter, TokenBucketRateLimiter


def most_allowed(allow: Callable[[], bool], clock: Virtual, window: float, seed: int = 0, calls: int = 3_000) -> int:
    """Return the most calls that a limiter lets through in any *window*, asked in bursts at random times."""
    random, allowed = Random(seed), []
    for _ in range(calls):
        if allow():
            allowed.append(clock.now)
        clock.sleep(random.expovariate(10.0) if random.random() < 0.05 else 0.001)
    return peak(allowed, window)


def limiter_peaks(limit: int = 100, window: float = 60.0) -> dict[str, int]:
    found: dict[str, int] = {}

    def run(name: str, make: Callable[[Virtual], Callable[[], bool]], calls: int = 60_000) -> None:
        clock = Virtual()
        with rivals.wall_clock(lambda: 1.7e9 + clock.now):
            found[name] = most_allowed(make(clock), clock, window, calls=calls)

    run("herald sliding window", lambda clock: SlidingWindowRateLimiter(limit, window, clock=clock.monotonic).allow_request)
    run("herald token bucket", lambda clock: TokenBucketRateLimiter(limit / window, limit, clock=clock.monotonic).allow_request)
    if LIBRARIES["limits"]:
        run("limits moving window", lambda _: _limits_minute("MovingWindowRateLimiter", limit))
        run("limits fixed window", lambda _: _limits_minute("FixedWindowRateLimiter", limit))
    return found


def _limits_minute(kind: str, limit: int) -> Any:
    import limits

    limiter = getattr(limits.strategies, kind)(limits.storage.MemoryStorage())
    return functools.partial(limiter.hit, limits.RateLimitItemPerMinute(limit), "bench")
