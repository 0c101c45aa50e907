"""Five mechanisms against a world that stumbles, usable alone in any script; nothing of the framework is loaded."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from herald.utils.cache import CacheStatistics, SmartCache
    from herald.utils.circuit_breaker import CircuitBreaker, CircuitMode, CircuitSnapshot, CircuitState, CircuitStatistics
    from herald.utils.health_monitor import ConnectionHealthMonitor, HealthReport, HealthState, HealthStatistics
    from herald.utils.rate_limiter import (
        RateLimiter,
        RateLimiterRegistry,
        RateLimiterStatistics,
        RegistryStatistics,
        SlidingWindowRateLimiter,
        TokenBucketRateLimiter,
    )
    from herald.utils.retry import (
        Retrier,
        RetryBudget,
        RetryBudgetStatistics,
        RetryPolicy,
        RetryStatistics,
        exponential_backoff,
        exponential_backoff_async,
        remaining_seconds,
    )

__all__ = [
    "CacheStatistics",
    "CircuitBreaker",
    "CircuitMode",
    "CircuitSnapshot",
    "CircuitState",
    "CircuitStatistics",
    "ConnectionHealthMonitor",
    "HealthReport",
    "HealthState",
    "HealthStatistics",
    "RateLimiter",
    "RateLimiterRegistry",
    "RateLimiterStatistics",
    "RegistryStatistics",
    "Retrier",
    "RetryBudget",
    "RetryBudgetStatistics",
    "RetryPolicy",
    "RetryStatistics",
    "SlidingWindowRateLimiter",
    "SmartCache",
    "TokenBucketRateLimiter",
    "exponential_backoff",
    "exponential_backoff_async",
    "remaining_seconds",
]

_MODULES = {
    "CacheStatistics": "cache",
    "CircuitBreaker": "circuit_breaker",
    "CircuitMode": "circuit_breaker",
    "CircuitSnapshot": "circuit_breaker",
    "CircuitState": "circuit_breaker",
    "CircuitStatistics": "circuit_breaker",
    "ConnectionHealthMonitor": "health_monitor",
    "HealthReport": "health_monitor",
    "HealthState": "health_monitor",
    "HealthStatistics": "health_monitor",
    "RateLimiter": "rate_limiter",
    "RateLimiterRegistry": "rate_limiter",
    "RateLimiterStatistics": "rate_limiter",
    "RegistryStatistics": "rate_limiter",
    "Retrier": "retry",
    "RetryBudget": "retry",
    "RetryBudgetStatistics": "retry",
    "RetryPolicy": "retry",
    "RetryStatistics": "retry",
    "SlidingWindowRateLimiter": "rate_limiter",
    "SmartCache": "cache",
    "TokenBucketRateLimiter": "rate_limiter",
    "exponential_backoff": "retry",
    "exponential_backoff_async": "retry",
    "remaining_seconds": "retry",
}


def __getattr__(name: str) -> object:
    """Import the module of *name* when it is first asked for (PEP 562)."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)
