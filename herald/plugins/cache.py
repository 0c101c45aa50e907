"""Answer again what was asked a moment ago; see `herald.utils.cache`.

The layer keeps answers that may be kept: prices, bars and terms of instruments. The component ``cache.memory`` is a
cache of its own that several layers may share under a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import Field, field_validator

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import MISSING, Cache, Call, Handler, Middleware, Operation, PlanView, Problem
from herald.utils.cache import SmartCache

__all__ = [
    "CacheLayer",
    "CacheSettings",
    "MemoryCache",
    "MemoryCacheSettings",
    "herald_caches",
    "herald_middleware",
    "herald_validate",
]

_CACHEABLE = tuple(one.method for one in Operation if one.cacheable)


class CacheSettings(Settings):
    """Settings of `CacheLayer`."""

    ttl_seconds: dict[str, float] = Field(default_factory=lambda: {"quote": 0.2, "bars": 5.0, "instruments": 3600.0})
    """How long each kind of answer is kept: quote, bars, instruments; a kind that is not named is not kept."""
    max_size: int = Field(default=1024, ge=1)
    """Most answers kept; the one not asked for longest goes first."""
    stale_if_error_seconds: float | None = Field(default=None, gt=0)
    """How long after its time an answer still serves while the broker fails; never a quote. Not at all where not set."""
    store: str | None = None
    """Name of a cache of ``[caches]`` to keep answers in, instead of one of its own."""

    @field_validator("ttl_seconds")
    @classmethod
    def _known(cls, kinds: dict[str, float]) -> dict[str, float]:
        for kind, seconds in kinds.items():
            if kind not in _CACHEABLE:
                raise ValueError(f"{kind!r} cannot be kept; there are {', '.join(_CACHEABLE)}")
            if not seconds > 0:
                raise ValueError(f"{kind} must be kept for more than 0 seconds, not {seconds!r}; leave it out instead")
        return kinds


class CacheLayer:
    """Answers from memory while an answer is fresh; one question at a time goes to the broker.

    What a connector answers is shared by everybody who asked, so answers must be values that nobody changes, as
    Herald's are.
    """

    def __init__(self, settings: CacheSettings, services: Services) -> None:
        """Make the cache of one connector, or take the shared one."""
        self._name = services.name.partition(".middleware")[0]
        self._ttl = settings.ttl_seconds
        labels = {"component": services.name}
        self._asked = services.metrics.counter("cache_requests_total", "Calls that a cache could answer.", labels)
        self._missed = services.metrics.counter("cache_misses_total", "Those that it could not, and passed on.", labels)
        self._shared = services.cache(settings.store) if settings.store is not None else None
        clock = services.clock.monotonic
        self.cache: SmartCache[Any, Any] = SmartCache(max_size=settings.max_size, clock=clock)
        self._forgiving: SmartCache[Any, Any] = SmartCache(
            max_size=settings.max_size, clock=clock, stale_if_error_seconds=settings.stale_if_error_seconds
        )

    def __call__(self, call: Call, proceed: Handler) -> object:
        """Answer from the cache, or go on and keep the answer."""
        operation = call.operation
        seconds = self._ttl.get(operation.method) if operation.cacheable else None
        if seconds is None:
            return proceed(call)
        self._asked.add()
        if self._shared is not None:
            return self._from_shared(self._shared, call, proceed, seconds)
        # A stale price must never pass for a price; stale bars and terms are told by their own times.
        cache = self.cache if operation is Operation.QUOTE else self._forgiving
        return cache.get_or_fetch(call, lambda: self._fetch(call, proceed), ttl_seconds=seconds)

    def _fetch(self, call: Call, proceed: Handler) -> object:
        self._missed.add()
        return proceed(call)

    def _from_shared(self, cache: Cache, call: Call, proceed: Handler, seconds: float) -> object:
        key = f"{self._name}:{call.operation.method}:{call.args!r}"
        answer = cache.get(key)
        if answer is MISSING:
            answer = self._fetch(call, proceed)
            cache.set(key, answer, seconds)
        return answer


class MemoryCacheSettings(Settings):
    """Settings of `MemoryCache`."""

    max_size: int = Field(default=10_000, ge=1)
    """Most values kept; the one not asked for longest goes first."""


class MemoryCache:
    """A cache in the memory of this process."""

    def __init__(self, settings: MemoryCacheSettings, services: Services) -> None:
        """Start empty."""
        self._values: SmartCache[str, object] = SmartCache(max_size=settings.max_size, clock=services.clock.monotonic)

    def get(self, key: str) -> object:
        """Return the value of *key*, or MISSING."""
        return self._values.get(key, MISSING)

    def set(self, key: str, value: object, ttl_seconds: float) -> None:
        """Keep *value* for *ttl_seconds*."""
        self._values.set(key, value, ttl_seconds)

    def delete(self, key: str) -> None:
        """Forget *key*."""
        self._values.delete(key)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()


@hookimpl
def herald_middleware() -> Iterable[Component[Middleware]]:
    """Offer the layer."""
    yield component("cache", CacheSettings, CacheLayer, "Answer again what was asked a moment ago.")


@hookimpl
def herald_caches() -> Iterable[Component[Cache]]:
    """Offer the cache."""
    yield component("memory", MemoryCacheSettings, MemoryCache, "A cache in the memory of this process.")


_WHY: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "circuit_breaker": ("cache-inside-breaker", "a kept answer is refused while the circuit is open"),
        "rate_limiter": ("cache-inside-limiter", "a kept answer costs a call of the limit"),
    }
)


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Refuse an order of layers in which a kept answer cannot serve."""
    for connector in plan.chosen("connector"):
        layers = plan.layers(connector.name.partition(".")[2])
        uses = [layer.use for layer in layers]
        for place, layer in enumerate(layers):
            for outer, (name, why) in _WHY.items():
                if layer.use == "cache" and outer in uses[:place]:
                    yield Problem(layer.name, f"stands inside {outer}: {why} ({name})", f"list cache before {outer}")
