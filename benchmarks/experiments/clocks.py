"""What it does to each mechanism that the wall clock is set by a day."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from typing import Any

from experiments import rivals
from experiments.breakers import DAY, TIMEOUT, clock_back, clock_forward
from experiments.rivals import LIBRARIES, Failed, cachetools_caches
from herald.utils import (
    ConnectionHealthMonitor,
    Retrier,
    RetryPolicy,
    SlidingWindowRateLimiter,
    SmartCache,
    TokenBucketRateLimiter,
)

Limiters = dict[str, Callable[[int], Callable[[], bool]]]
"""Limiters of three calls in so many seconds, by name."""


def clock_effects() -> dict[str, tuple[str, str]]:
    """Return for each mechanism what a step of the wall clock by a day forwards and backwards does to it."""
    found: dict[str, tuple[str, str]] = {}
    for name, kind in rivals.breakers().items():
        make = functools.partial(kind, mode="sync")
        found[f"breaker: {name}"] = (
            "none" if clock_forward(make) == "stays open" else "lets calls through",
            "none" if clock_back(make) == "recovers" else "stays open",
        )
    makes = limiter_makes()
    forward, back = limiters_forward(makes), limiters_back(makes)
    for name in makes:
        found[f"limiter: {name}"] = (forward[name], back[name])
    found["cache: herald SmartCache"] = _cache_steps(lambda ttl: SmartCache[str, int](ttl).get_or_fetch)
    for name, _, _ in list(cachetools_caches(lambda _: 1)):
        found[f"cache: {name}"] = _cache_steps(functools.partial(_cachetools_get, name))
    found["retry, deadline: herald"] = _retry_steps(_herald_deadline)
    if LIBRARIES["tenacity"]:
        found["retry, deadline: tenacity"] = _retry_steps(_tenacity_deadline)
    if LIBRARIES["stamina"]:
        found["retry, deadline: stamina"] = _retry_steps(_stamina_deadline)
    found["monitor: herald"] = _monitor_steps()
    return found


def limiter_makes() -> Limiters:
    """Return limiters of three calls in so many seconds, by name."""
    makes: Limiters = {
        "herald sliding window": lambda seconds: SlidingWindowRateLimiter(3, seconds).allow_request,
        "herald token bucket": lambda seconds: TokenBucketRateLimiter(3 / seconds, 3).allow_request,
    }
    if LIBRARIES["limits"]:

        def made(kind: str, seconds: int) -> Callable[[], bool]:
            import limits

            limiter = getattr(limits.strategies, kind)(limits.storage.MemoryStorage())
            return functools.partial(limiter.hit, limits.RateLimitItemPerSecond(3, seconds), "bench")

        makes["limits moving window"] = functools.partial(made, "MovingWindowRateLimiter")
        makes["limits fixed window"] = functools.partial(made, "FixedWindowRateLimiter")
    return makes


def limiters_forward(makes: Limiters) -> dict[str, str]:
    """Return what each full limiter of three calls a minute makes of a step forwards."""
    full = {name: _full(make(60)) for name, make in makes.items()}
    with rivals.stepped(DAY):
        return {name: "forgets its calls" if allow() else "none" for name, allow in full.items()}


def limiters_back(makes: Limiters) -> dict[str, str]:
    """Return what each full limiter of three calls a second makes of a step backwards, when the second is over."""
    full = {name: _full(make(1)) for name, make in makes.items()}
    with rivals.stepped(-DAY):
        time.sleep(1.05)
        return {name: "none" if allow() else "refuses for a day" for name, allow in full.items()}


def _full(allow: Callable[[], bool]) -> Callable[[], bool]:
    while allow():
        pass
    return allow


def _cache_steps(make: Callable[[float], Callable[[str, Callable[[], int]], int]]) -> tuple[str, str]:
    get = make(60.0)
    get("EURUSD", lambda: 1)
    with rivals.stepped(DAY):
        forward = "none" if get("EURUSD", lambda: 2) == 1 else "forgets"
    get = make(TIMEOUT)
    get("EURUSD", lambda: 1)
    with rivals.stepped(-DAY):
        time.sleep(TIMEOUT * 1.5)
        back = "none" if get("EURUSD", lambda: 2) == 2 else "serves what is out of date"
    return forward, back


def _cachetools_get(name: str, ttl: float) -> Callable[[str, Callable[[], int]], int]:
    fetches: list[Callable[[], int]] = []
    (guarded,) = [fn for one, _, fn in cachetools_caches(lambda _: fetches[-1](), ttl) if one == name]

    def get(key: str, fetch: Callable[[], int]) -> int:
        fetches.append(fetch)
        return int(guarded(key))

    return get


def _retry_steps(run: Callable[[float, Callable[[], None]], int]) -> tuple[str, str]:
    """Step the clock in the first try of a call with a deadline."""
    answers = []
    # A deadline of 60 s must not end at once; one of a tenth of a second must end soon, which twenty tries are not.
    for seconds, step in ((60.0, DAY), (0.1, -DAY)):
        with contextlib.ExitStack() as stack:
            tries = run(seconds, functools.partial(stack.enter_context, rivals.stepped(step)))
        answers.append(("none" if tries == 3 else "gives up at once") if step > 0 else ("none" if tries < 20 else "goes on"))
    return answers[0], answers[1]


def _counting(step: Callable[[], Any]) -> tuple[list[None], Callable[[], None]]:
    tries: list[None] = []

    def call() -> None:
        tries.append(None)
        if len(tries) == 1:
            step()
        raise Failed

    return tries, call


def _herald_deadline(seconds: float, step: Callable[[], Any]) -> int:
    tries, call = _counting(step)
    policy = RetryPolicy(max_retries=2 if seconds > 1 else 30, initial_delay=0.01, factor=1.0, jitter=False, deadline=seconds)
    with contextlib.suppress(Failed):
        Retrier(policy, retry_on=Failed).call(call)
    return len(tries)


def _tenacity_deadline(seconds: float, step: Callable[[], Any]) -> int:
    tries, call = _counting(step)
    module: Any = LIBRARIES["tenacity"]
    stop = module.stop_after_delay(seconds) | module.stop_after_attempt(3 if seconds > 1 else 31)
    with contextlib.suppress(Failed):
        module.retry(stop=stop, wait=module.wait_fixed(0.01), reraise=True)(call)()
    return len(tries)


def _stamina_deadline(seconds: float, step: Callable[[], Any]) -> int:
    tries, call = _counting(step)
    module: Any = LIBRARIES["stamina"]
    with contextlib.suppress(Failed):
        module.instrumentation.set_on_retry_hooks([])
        module.retry(
            on=Failed, attempts=3 if seconds > 1 else 31, timeout=seconds, wait_initial=0.01, wait_jitter=0, wait_exp_base=1
        )(call)()
    return len(tries)


def _monitor_steps() -> tuple[str, str]:
    class Up:
        def ping(self) -> None:
            pass

    monitor = ConnectionHealthMonitor(Up(), 60.0)
    monitor.health_check()
    with rivals.stepped(DAY):
        forward = "checks at once" if monitor.should_check else "none"
    monitor = ConnectionHealthMonitor(Up(), TIMEOUT)
    monitor.health_check()
    with rivals.stepped(-DAY):
        time.sleep(TIMEOUT * 1.5)
        back = "none" if monitor.should_check else "checks no more"
    return forward, back
