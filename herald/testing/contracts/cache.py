"""The rules of a cache."""

from __future__ import annotations

import threading

import pytest

from herald.contracts import MISSING, Cache
from herald.testing.clock import FakeClock

__all__ = ["CacheContract"]


class CacheContract:
    """Subclass it as ``TestX`` and override `cache`.

    A cache whose time cannot be moved by a test overrides `let_pass` as well.
    """

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return the clock that the cache reads."""
        return FakeClock()

    @pytest.fixture
    def cache(self, clock: FakeClock) -> Cache:
        """Return an empty cache that reads *clock*."""
        raise pytest.UsageError(f"{type(self).__name__} must override the fixture `cache`")

    def let_pass(self, clock: FakeClock, seconds: float) -> None:
        """Let *seconds* pass for the cache."""
        clock.advance(seconds)

    def test_what_is_set_comes_back(self, cache: Cache) -> None:
        """``get`` returns the value that was set last."""
        cache.set("a", 1, 10.0)
        cache.set("a", 2, 10.0)

        assert cache.get("a") == 2

    def test_what_is_absent_is_missing(self, cache: Cache) -> None:
        """An unknown key is `MISSING`, not None."""
        assert MISSING is cache.get("a")

    @pytest.mark.parametrize("value", [None, 0, 0.0, "", (), False], ids=repr)
    def test_values_that_look_like_nothing_are_values(self, cache: Cache, value: object) -> None:
        """None and every other false value survive."""
        cache.set("a", value, 10.0)

        assert value == cache.get("a")

    def test_a_value_lives_for_its_time_and_not_a_tick_longer(self, cache: Cache, clock: FakeClock) -> None:
        """It is there until just before the end of its time and gone at the end."""
        cache.set("a", 1, 10.0)
        self.let_pass(clock, 9.5)
        before = cache.get("a")
        self.let_pass(clock, 0.5)

        assert (before, cache.get("a")) == (1, MISSING)

    def test_setting_again_starts_its_time_again(self, cache: Cache, clock: FakeClock) -> None:
        """A new value has a time of its own."""
        cache.set("a", 1, 10.0)
        self.let_pass(clock, 8.0)
        cache.set("a", 2, 10.0)
        self.let_pass(clock, 8.0)

        assert cache.get("a") == 2

    def test_deleting_forgets_and_twice_is_harmless(self, cache: Cache) -> None:
        """``delete`` of what is not there does nothing."""
        cache.set("a", 1, 10.0)
        cache.delete("a")
        cache.delete("a")

        assert MISSING is cache.get("a")

    def test_clearing_forgets_everything(self, cache: Cache) -> None:
        """Nothing is left."""
        for key in "abc":
            cache.set(key, key, 10.0)

        cache.clear()

        assert [cache.get(key) for key in "abc"] == [MISSING] * 3

    def test_keys_do_not_touch_each_other(self, cache: Cache) -> None:
        """Keys that look alike are different keys."""
        cache.set("a:1", "one", 10.0)
        cache.set("a:10", "ten", 10.0)
        cache.delete("a:1")

        assert cache.get("a:10") == "ten"

    def test_many_threads_may_use_it_together(self, cache: Cache) -> None:
        """Sets, gets and deletes from several threads end without an error and without a wrong value."""
        failures: list[str] = []
        barrier = threading.Barrier(4)

        def work(number: int) -> None:
            barrier.wait()
            for turn in range(200):
                key = f"{turn % 7}"
                cache.set(key, key, 10.0)
                found = cache.get(key)
                if found is not MISSING and found != key:
                    failures.append(f"{number}: {key} became {found!r}")
                if turn % 3 == 0:
                    cache.delete(key)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert failures == []
        assert not any(thread.is_alive() for thread in threads)
