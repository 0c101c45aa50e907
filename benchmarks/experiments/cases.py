"""The calls that are timed: each library by the cheapest form that it documents; each answer is checked first."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from experiments import rivals
from experiments.costs import Runner, awaiting, bare, bare_async, limited, limited_async, plainly
from experiments.rivals import LIBRARIES, Failed, cachetools_caches
from herald.clock import SimClock, WallClock
from herald.contracts import Connector, Middleware, Services
from herald.host.discovery import discover
from herald.host.registry import Registry
from herald.live.chain import GuardedConnector
from herald.utils import (
    ConnectionHealthMonitor,
    Retrier,
    RetryBudget,
    RetryPolicy,
    SlidingWindowRateLimiter,
    SmartCache,
    TokenBucketRateLimiter,
    exponential_backoff,
)

FOREVER = 1e6
LAYERS = ("cache", "health_monitor", "retry", "circuit_breaker", "rate_limiter")
REGISTRY = Registry(discover())


def breaker_cases() -> tuple[dict[str, Runner], dict[str, Runner]]:
    """Return each closed breaker by the cheapest form that it documents."""
    plain: dict[str, Runner] = {}
    awaited: dict[str, Runner] = {}
    for name, kind in rivals.breakers().items():
        made = kind(5, FOREVER)
        guarded = getattr(made, "guarded", None)
        fn = guarded(bare) if guarded else functools.partial(made.plain, bare)
        assert fn() == 1, name
        plain[name] = plainly(fn)
        if not kind.has_async:
            continue
        made = kind(5, FOREVER, "async")
        guarded = getattr(made, "guarded", None)
        coroutine = guarded(bare_async) if guarded else functools.partial(made.awaited, bare_async)
        assert asyncio.run(_one(coroutine)) == 1, name
        awaited[name] = awaiting(coroutine)
    return plain, awaited


async def _one(fn: Callable[[], Awaitable[Any]]) -> Any:
    return await fn()


def retry_cases() -> tuple[dict[str, Runner], dict[str, Runner]]:
    retrier = Retrier(RetryPolicy(), retry_on=Failed, budget=RetryBudget())
    forms: dict[str, tuple[Any, Any]] = {
        "herald Retrier.call": (functools.partial(retrier.call, bare), functools.partial(retrier.call_async, bare_async)),
        "herald @exponential_backoff": (exponential_backoff()(bare), exponential_backoff()(bare_async)),
    }
    if LIBRARIES["tenacity"]:
        forms["tenacity"] = (rivals.tenacity_retry(6, "full")(bare), rivals.tenacity_retry(6, "full")(bare_async))
    if LIBRARIES["stamina"]:
        forms["stamina"] = (rivals.stamina_retry(6)(bare), rivals.stamina_retry(6)(bare_async))
    for name, (fn, coroutine) in forms.items():
        assert fn() == asyncio.run(_one(coroutine)) == 1, name
    return {name: plainly(fn) for name, (fn, _) in forms.items()}, {name: awaiting(fn) for name, (_, fn) in forms.items()}


def limiter_cases(room: int = 1_000) -> tuple[dict[str, Runner], dict[str, Runner]]:
    makes: dict[str, Callable[[], Callable[[], bool]]] = {
        "herald sliding window": lambda: SlidingWindowRateLimiter(room, FOREVER).allow_request,
        "herald token bucket": lambda: TokenBucketRateLimiter(1 / FOREVER, room).allow_request,
    }
    makes_async: dict[str, Callable[[], Callable[[], Awaitable[bool]]]] = {
        "herald sliding window": lambda: SlidingWindowRateLimiter(room, FOREVER).acquire_async,
        "herald token bucket": lambda: TokenBucketRateLimiter(1 / FOREVER, room).acquire_async,
    }
    if LIBRARIES["limits"]:
        import limits.aio

        for name, kind in (("moving window", "MovingWindowRateLimiter"), ("fixed window", "FixedWindowRateLimiter")):
            makes[f"limits {name}"] = functools.partial(_limits, limits, kind, room)
            makes_async[f"limits {name}"] = functools.partial(_limits, limits.aio, kind, room)
    for name, make in makes.items():
        allow = make()
        assert [allow() for _ in range(room + 1)] == [True] * room + [False], name
    for name, make_async in makes_async.items():
        if name.startswith("limits"):
            assert asyncio.run(_answers(make_async(), room + 1)) == [True] * room + [False], name
        else:
            assert asyncio.run(_answers(functools.partial(make_async(), 0.0), room + 1)) == [True] * room + [False], name
    return (
        {name: limited(make, room) for name, make in makes.items()},
        {name: limited_async(make, room) for name, make in makes_async.items()},
    )


async def _answers(fn: Callable[[], Awaitable[bool]], n: int) -> list[bool]:
    return [await fn() for _ in range(n)]


def _limits(module: Any, kind: str, room: int) -> Any:
    import limits

    limiter = getattr(module.strategies, kind)(module.storage.MemoryStorage())
    return functools.partial(limiter.hit, limits.RateLimitItemPerHour(room), "bench")


def cache_cases() -> tuple[dict[str, Runner], dict[str, Runner]]:
    """Return a hit of each cache."""
    cache: SmartCache[str, int] = SmartCache(FOREVER)
    forms: dict[str, Callable[[], int]] = {"herald SmartCache": lambda: cache.get_or_fetch("EURUSD", bare)}
    for name, _, guarded in cachetools_caches(lambda _: 1):
        forms[name] = functools.partial(guarded, "EURUSD")
    for name, fn in forms.items():
        assert fn() == fn() == 1, name

    async def hit() -> int:
        return await cache.get_or_fetch_async("EURUSD", bare_async)

    assert asyncio.run(_one(hit)) == 1
    return {name: plainly(fn) for name, fn in forms.items()}, {"herald SmartCache": awaiting(hit)}


def monitor_cases() -> dict[str, Runner]:
    class Up:
        def ping(self) -> None:
            pass

    monitor = ConnectionHealthMonitor(Up(), FOREVER)
    assert monitor.health_check()
    assert monitor.tick() is None
    return {
        "herald tick(), nothing due": plainly(monitor.tick),
        "herald report_success()": plainly(monitor.report_success),
        "herald health_check()": plainly(monitor.health_check),
    }


class FastClock(WallClock):
    """The clock of the machine, a million times faster: the default limit of 600 calls a minute never refuses."""

    def monotonic(self) -> float:
        return time.monotonic() * 1e6


class NoOp:
    """A connector that does nothing; it counts how often it was reached."""

    def __init__(self) -> None:
        self.reached = 0

    def poll(self) -> tuple[int, ...]:
        self.reached += 1
        return (7,)

    def __getattr__(self, name: str) -> Any:
        return self._answer

    def _answer(self, *_: object) -> int:
        self.reached += 1
        return 7


def layers(names: Sequence[str], clock: Any) -> list[Middleware]:
    """Return layers with their default settings, built as the runtime builds them."""
    built = []
    for number, name in enumerate(names):
        found = REGISTRY.find("middleware", name).component
        place = f"connectors.main.middleware[{number}]"
        built.append(found.build(found.settings(), Services(place, clock, Random(number))))
    return built


def onion(names: Sequence[str], clock: Any) -> tuple[GuardedConnector, NoOp]:
    inside = NoOp()
    connector: Connector = inside  # type: ignore[assignment]
    return GuardedConnector("connectors.main", connector, layers(names, clock)), inside


def onion_cases() -> dict[str, Runner]:
    cases: dict[str, Runner] = {}
    for label, names, clock in (
        ("no layer: account()", (), WallClock()),
        ("five layers: account()", LAYERS, FastClock()),
        ("five layers: poll(), uncounted by the limiter", LAYERS, WallClock()),
        ("five layers: quote(), a hit of the cache", LAYERS, SimClock()),
    ):
        connector, inside = onion(names, clock)
        fn: Callable[[], Any] = connector.account
        if "poll" in label:
            fn = connector.poll
        elif "quote" in label:
            fn = functools.partial(connector.quote, "EURUSD")
        answers = [fn() for _ in range(1_000)]
        assert set(answers) == ({(7,)} if "poll" in label else {7}), label
        assert inside.reached == (1 if "quote" in label else 1_000), (label, inside.reached)
        cases[label] = plainly(fn)
    return cases
