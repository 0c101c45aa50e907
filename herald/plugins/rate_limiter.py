"""Keep the calls to a connector under its broker's limit; see `herald.utils.rate_limiter`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Call, Handler, Middleware, Operation
from herald.errors import RateLimitedError
from herald.utils.rate_limiter import SlidingWindowRateLimiter, TokenBucketRateLimiter

__all__ = ["RateLimiterLayer", "RateLimiterSettings", "herald_middleware"]

# A member of an enum is looked up by a Python call before 3.12; every call to a broker would pay it.
_POLL = Operation.POLL


class RateLimiterSettings(Settings):
    """Settings of `RateLimiterLayer`."""

    max_calls: int = Field(default=600, ge=1)
    """Calls allowed in `window_seconds`."""
    window_seconds: float = Field(default=60.0, gt=0)
    """Length of the window."""
    kind: Literal["window", "bucket"] = "window"
    """``window``: never more than `max_calls` in any window; ``bucket``: that many at once, refilled evenly."""
    wait_seconds: float = Field(default=0.0, ge=0)
    """How long a call may wait for its turn before it is refused."""
    reserve: float = Field(default=0.2, ge=0, lt=1)
    """Share of the calls kept for cancels and for orders that only reduce."""
    count_polls: bool = False
    """Whether asking the connector what is new costs a call at the broker."""


class RateLimiterLayer:
    """Lets calls through while there is room, makes them wait a little, and refuses what would wait too long.

    A refused call never left, so `RateLimitedError` is safe to meet anywhere; its ``retry_after`` says when to come back.
    """

    def __init__(self, settings: RateLimiterSettings, services: Services) -> None:
        """Make the limiter of one connector."""
        self._name = services.name
        self._wait_seconds = settings.wait_seconds
        self._count_polls = settings.count_polls
        self._refused = services.metrics.counter(
            "rate_limited_total", "Calls refused by a rate limiter.", {"component": services.name}
        )
        self._waits = services.metrics.histogram(
            "rate_limiter_wait_seconds", "How long calls waited for their turn.", {"component": services.name}
        )
        self.limiter: SlidingWindowRateLimiter | TokenBucketRateLimiter
        clock = services.clock
        self._monotonic = clock.monotonic
        if settings.kind == "window":
            self.limiter = SlidingWindowRateLimiter(
                settings.max_calls,
                settings.window_seconds,
                reserve=settings.reserve,
                clock=clock.monotonic,
                sleep=clock.sleep,
            )
        else:
            self.limiter = TokenBucketRateLimiter(
                settings.max_calls / settings.window_seconds,
                settings.max_calls,
                reserve=settings.reserve,
                clock=clock.monotonic,
                sleep=clock.sleep,
            )

    def __call__(self, call: Call, proceed: Handler) -> object:
        """Take a place for the call, or refuse it."""
        if call.operation is _POLL and not self._count_polls:
            return proceed(call)
        urgent = call.is_urgent
        # Who does not wait is spared what waiting needs; it is half the cost of the layer.
        wait, limiter = self._wait_seconds, self.limiter
        if not (self._acquired(wait, urgent) if wait else limiter.allow_request(urgent=urgent)):
            self._refused.add()
            raise RateLimitedError(self._name, self.limiter.wait_time(urgent=urgent))
        return proceed(call)

    def _acquired(self, wait: float, urgent: bool) -> bool:
        """Wait up to *wait* seconds for a place; return whether there was one."""
        began = self._monotonic()
        has_place = self.limiter.acquire(wait, urgent=urgent)
        self._waits.observe(self._monotonic() - began)
        return has_place


@hookimpl
def herald_middleware() -> Iterable[Component[Middleware]]:
    """Offer the layer."""
    yield component("rate_limiter", RateLimiterSettings, RateLimiterLayer, "Keep calls under the broker's limit.")
