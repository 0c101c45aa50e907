from __future__ import annotations

import pytest

from herald.contracts import Cache
from herald.host.discovery import discover
from herald.host.registry import Registry
from herald.testing import CacheContract, FakeClock, make_services


class TestMemory(CacheContract):
    @pytest.fixture
    def cache(self, clock: FakeClock) -> Cache:
        component = Registry(discover()).find("cache", "cache.memory").component
        built: Cache = component.build(component.settings(max_size=16), make_services("caches.shared", clock=clock))
        return built

    def test_it_is_bounded(self, cache: Cache) -> None:
        for number in range(100):
            cache.set(str(number), number, 10.0)

        kept = [number for number in range(100) if cache.get(str(number)) == number]

        assert list(range(84, 100)) == kept
