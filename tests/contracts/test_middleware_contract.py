from __future__ import annotations

from typing import Any

from herald.components import Component, Settings
from herald.host.discovery import discover
from herald.host.registry import Registry
from herald.testing import MiddlewareContract


def component(name: str) -> tuple[Component[Any], type[Settings]]:
    found = Registry(discover()).find("middleware", name).component
    return found, found.settings


class TestCache(MiddlewareContract):
    component, _settings = component("cache")
    settings = _settings()


class TestCircuitBreaker(MiddlewareContract):
    component, _settings = component("circuit_breaker")
    settings = _settings()


class TestFaults(MiddlewareContract):
    component, _settings = component("faults")
    settings = _settings(faults=[{"kind": "down", "after_seconds": 1e9}])


class TestHealthMonitor(MiddlewareContract):
    component, _settings = component("health_monitor")
    settings = _settings()


class TestMetrics(MiddlewareContract):
    component, _settings = component("metrics")
    settings = _settings()


class TestRateLimiter(MiddlewareContract):
    component, _settings = component("rate_limiter")
    settings = _settings()


class TestRetry(MiddlewareContract):
    component, _settings = component("retry")
    settings = _settings()


def test_every_layer_that_herald_ships_is_held_to_the_rules() -> None:
    registry = Registry(discover())
    for found in discover():
        if found.distribution == "herald-trading":
            registry.load(found.name)
    tested = {
        value.component.name
        for value in globals().values()
        if isinstance(value, type) and issubclass(value, MiddlewareContract) and value is not MiddlewareContract
    }

    assert {one.component.name for one in registry.of_kind("middleware")} == tested
