"""What the cache promises, one by one; threads and tasks meet at events, never by sleeping."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from herald.errors import CircuitOpenError, WaitTimeout
from herald.testing.clock import FakeClock
from herald.utils.cache import SmartCache

DAY = 86_400.0
LONG = 30.0  # seconds; nothing here takes as long unless it hangs


def cache_of(clock: FakeClock | None = None, **more: Any) -> SmartCache[Any, Any]:
    return SmartCache(clock=(clock or FakeClock(0)).monotonic, **more)


class Source:
    """Answers with how often it was asked, or raises what it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: BaseException | None = None

    def __call__(self) -> int:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.asked

    async def later(self) -> int:
        return self()


class Slow:
    """A fetch that says when it has begun and returns when it is let go."""

    def __init__(self, answer: Any = "slow") -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.answer = answer

    def __call__(self) -> Any:
        self.begun.set()
        assert self.go.wait(LONG)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class Worker(threading.Thread):
    """A thread that keeps what its call returned or raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.call, self.answer, self.error = call, None, None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.call()
        except BaseException as error:
            self.error = error

    def outcome(self) -> Any:
        self.join(LONG)
        assert not self.is_alive(), "somebody waits for ever"
        if self.error is not None:
            raise self.error
        return self.answer


@pytest.fixture
def leader() -> Iterator[Callable[..., tuple[Slow, Worker]]]:
    """Return what starts a fetch in a thread and comes back once it has begun."""
    made: list[Slow] = []

    def lead(cache: SmartCache[Any, Any], key: Any = "k", answer: Any = "slow") -> tuple[Slow, Worker]:
        slow = Slow(answer)
        made.append(slow)
        worker = Worker(lambda: cache.get_or_fetch(key, slow))
        assert slow.begun.wait(LONG)
        return slow, worker

    yield lead
    for slow in made:
        slow.go.set()


Lead = Callable[..., tuple[Slow, Worker]]


def until_waits(cache: SmartCache[Any, Any], count: int) -> None:
    """Return once *count* callers wait for somebody else's fetch."""
    pause = threading.Event()
    for _ in range(10_000):
        if cache.stats.waits >= count:
            return
        pause.wait(0.003)
    raise AssertionError("they never came to wait")


async def until_waits_async(cache: SmartCache[Any, Any], count: int) -> None:
    """Do what `until_waits` does in an event loop."""
    for _ in range(10_000):
        if cache.stats.waits >= count:
            return
        await asyncio.sleep(0.003)
    raise AssertionError("they never came to wait")


# --- time


def test_a_value_is_fetched_once_and_answers_until_its_time_is_over() -> None:
    clock, source = FakeClock(0), Source()
    cache = cache_of(clock, ttl_seconds=5)

    first = cache.get_or_fetch("k", source)
    clock.set(4_999_999_999)
    last = cache.get_or_fetch("k", source)
    clock.set(5_000_000_000)

    assert (1, 1, 2) == (first, last, cache.get_or_fetch("k", source))


def test_a_value_s_time_begins_when_its_fetch_ends() -> None:
    clock = FakeClock(0)
    cache = cache_of(clock, ttl_seconds=5)

    cache.get_or_fetch("k", lambda: clock.advance(3))
    clock.advance(4)

    assert "k" in cache


def test_a_call_and_a_set_may_name_a_time_of_their_own() -> None:
    clock = FakeClock(0)
    cache = cache_of(clock, ttl_seconds=5)
    cache.get_or_fetch("short", lambda: 1, ttl_seconds=1)
    cache.set("long", 2, 10)
    cache.set("usual", 3)

    clock.advance(1)
    after_1 = [cache.get(key) for key in ("short", "long", "usual")]
    clock.advance(4)

    assert [None, 2, 3] == after_1
    assert [None, 2, None] == [cache.get(key) for key in ("short", "long", "usual")]


def test_a_value_may_live_for_ever() -> None:
    clock = FakeClock(0)
    cache = cache_of(clock, ttl_seconds=math.inf)
    cache.set("k", 1)

    clock.advance(1000 * DAY)

    assert 1 == cache.get("k")


def test_jitter_only_shortens_a_time_and_is_drawn_for_each_value() -> None:
    clock = FakeClock(0)
    cache = cache_of(clock, ttl_seconds=100, ttl_jitter=0.5, random=Random(7))
    for key in range(200):
        cache.set(key, key)

    clock.advance(50)
    at_half = len([key for key in range(200) if key in cache])
    clock.advance(25)
    later = len([key for key in range(200) if key in cache])
    clock.advance(25)

    assert 200 - at_half <= 2
    assert 70 < later < 130
    assert 0 == len([key for key in range(200) if key in cache])


def test_two_caches_draw_different_jitter() -> None:
    ends = []
    for _ in range(2):
        cache = SmartCache[int, int](100, ttl_jitter=0.9, clock=lambda: 0.0)
        cache.set(1, 1)
        ends.append(cache._entries[1].expires)

    assert ends[0] != ends[1]


@pytest.mark.parametrize("step", [-DAY, -1.0])
def test_a_clock_that_goes_back_does_not_prolong_a_value(step: float) -> None:
    at = [100_000.0]
    cache: SmartCache[str, int] = SmartCache(5, clock=lambda: at[0])
    cache.set("k", 1)
    at[0] += 2

    assert cache.get("k") == 1
    at[0] += step
    still_there = cache.get_or_fetch("k", lambda: 2)
    at[0] += 3

    assert 1 == still_there
    assert 2 == cache.get_or_fetch("k", lambda: 2)


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_the_wall_clock_has_no_say(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    cache: SmartCache[str, int] = SmartCache(3_600)
    cache.set("k", 1)
    wall = time.time()

    monkeypatch.setattr(time, "time", lambda: wall + step)
    monkeypatch.setattr(time, "time_ns", lambda: int((wall + step) * 1e9))

    assert 1 == cache.get_or_fetch("k", lambda: 2)


def test_a_caller_may_refuse_values_beyond_an_age() -> None:
    clock, source = FakeClock(0), Source()
    cache = cache_of(clock, ttl_seconds=60, stale_if_error_seconds=60)
    cache.get_or_fetch("k", source)
    clock.advance(2)

    young = (cache.get("k", max_age_seconds=2.5), cache.get_or_fetch("k", source, max_age_seconds=2.5))
    old = cache.get("k", "too old", max_age_seconds=2)
    source.error = OSError("down")

    assert (1, 1) == young
    assert "too old" == old
    with pytest.raises(OSError, match="down"):  # an old price is no price, though this cache may serve stale values
        cache.get_or_fetch("k", source, max_age_seconds=2)
    assert 1 == cache.get_or_fetch("k", source)


# --- what is kept


@pytest.mark.parametrize("value", [None, 0, 0.0, "", False, (), math.nan])
def test_a_false_value_is_a_value(value: Any) -> None:
    cache, source = cache_of(), Source()

    cache.get_or_fetch("k", lambda: value)

    assert cache.get_or_fetch("k", source) is value
    assert cache.get("k", "none") is value
    assert 0 == source.asked


def test_a_key_that_nobody_set_gives_the_default() -> None:
    cache = cache_of()

    assert (None, 7) == (cache.get("k"), cache.get("k", 7))


def test_the_value_not_asked_for_longest_goes_first() -> None:
    cache = cache_of(max_size=3)
    for key in "abc":
        cache.set(key, key)

    cache.get("a")
    cache.get_or_fetch("b", Source())
    cache.set("d", "d")

    assert ["a", "b", "d"] == [key for key in "abcd" if key in cache]
    assert (3, 1) == (len(cache), cache.stats.evictions)


def test_setting_a_kept_key_again_drops_nothing() -> None:
    cache = cache_of(max_size=2)
    cache.set("a", 1)
    cache.set("b", 1)

    cache.set("a", 2)

    assert (2, 1, 0) == (cache.get("a"), cache.get("b"), cache.stats.evictions)


def test_delete_and_invalidate_forget_one_key_and_clear_all() -> None:
    cache = cache_of()
    for key in "abcd":
        cache.set(key, key)

    answers = (cache.delete("a"), cache.invalidate("b"), cache.delete("a"))
    left = [key for key in "abcd" if key in cache]
    cache.clear()

    assert (True, True, False) == answers
    assert ["c", "d"] == left
    assert 0 == len(cache)


def test_statistics_are_a_value() -> None:
    cache, source = cache_of(), Source()
    before = cache.statistics()
    for _ in range(4):
        cache.get_or_fetch("k", source)
    cache.get("other")

    found = cache.statistics()

    assert 0.0 == before.hit_rate
    assert (3, 2, 1, 0, 1) == (found.hits, found.misses, found.fetches, found.failures, found.size)
    assert 0.6 == found.hit_rate
    assert (3, 2) == (cache.hits, cache.misses)
    with pytest.raises(AttributeError):
        found.hits = 0  # type: ignore[misc]


# --- errors


def test_an_error_is_raised_itself_and_not_kept() -> None:
    cache, source = cache_of(), Source()
    source.error = CircuitOpenError("b", 1.0)

    with pytest.raises(CircuitOpenError) as caught:
        cache.get_or_fetch("k", source)
    source.error = None

    assert caught.value is not None
    assert 2 == cache.get_or_fetch("k", source)
    assert (2, 1) == (cache.stats.fetches, cache.stats.failures)


def test_an_error_is_kept_for_the_negative_time_where_there_is_one() -> None:
    clock, source = FakeClock(0), Source()
    cache = cache_of(clock, negative_ttl_seconds=2)
    source.error = OSError("down")

    for _ in range(5):
        with pytest.raises(OSError, match="down"):
            cache.get_or_fetch("k", source)
    asked = source.asked
    found = cache.get("k", "none"), "k" in cache
    clock.advance(2)
    source.error = None

    assert 1 == asked
    assert ("none", False) == found
    assert 2 == cache.get_or_fetch("k", source)


def test_a_kept_error_does_not_grow_with_every_raise() -> None:
    cache, source = cache_of(negative_ttl_seconds=2), Source()
    source.error = OSError("down")

    depths = []
    for _ in range(100):
        with pytest.raises(OSError, match="down") as caught:
            cache.get_or_fetch("k", source)
        depths.append(len(traceback.extract_tb(caught.value.__traceback__)))

    assert max(depths) <= 5


def test_a_value_out_of_date_serves_while_the_source_fails() -> None:
    clock, source = FakeClock(0), Source()
    cache = cache_of(clock, ttl_seconds=5, stale_if_error_seconds=10)
    cache.get_or_fetch("k", source)
    source.error = OSError("down")

    clock.advance(14)
    served = cache.get_or_fetch("k", source)
    gone = cache.get("k")
    clock.advance(1)

    assert (1, None) == (served, gone)
    assert 1 == cache.stats.stale
    with pytest.raises(OSError, match="down"):
        cache.get_or_fetch("k", source)


def test_a_failing_source_is_left_alone_for_the_negative_time_while_an_old_value_serves() -> None:
    clock, source = FakeClock(0), Source()
    cache = cache_of(clock, ttl_seconds=5, stale_if_error_seconds=100, negative_ttl_seconds=2)
    cache.get_or_fetch("k", source)
    source.error = OSError("down")
    clock.advance(5)

    answers = [cache.get_or_fetch("k", source) for _ in range(3)]
    asked = source.asked
    clock.advance(2)
    source.error = None

    assert ([1, 1, 1], 2) == (answers, asked)
    assert 3 == cache.get_or_fetch("k", source)
    assert 3 == cache.stats.stale


def test_a_base_exception_passes_through_and_keeps_nothing() -> None:
    cache, source = cache_of(negative_ttl_seconds=5, stale_if_error_seconds=5), Source()
    source.error = KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        cache.get_or_fetch("k", source)
    source.error = None

    assert 2 == cache.get_or_fetch("k", source)


# --- one fetch at a time


def test_fifty_threads_that_miss_together_fetch_once(leader: Lead) -> None:
    cache = cache_of()
    slow, first = leader(cache)
    source = Source()
    others = [Worker(lambda: cache.get_or_fetch("k", source)) for _ in range(49)]
    until_waits(cache, 49)

    slow.go.set()

    assert ["slow"] * 50 == [worker.outcome() for worker in (first, *others)]
    assert (0, 1, 49) == (source.asked, cache.stats.fetches, cache.stats.waits)


def test_five_hundred_tasks_that_miss_together_fetch_once() -> None:
    cache = cache_of()
    fetches = []

    async def fetch() -> str:
        fetches.append(1)
        await asyncio.sleep(0)
        return "slow"

    async def main() -> list[str]:
        return await asyncio.gather(*(cache.get_or_fetch_async("k", fetch) for _ in range(500)))

    assert ["slow"] * 500 == asyncio.run(main())
    assert 1 == len(fetches)


def test_a_task_waits_for_a_thread_that_fetches(leader: Lead) -> None:
    cache, source = cache_of(), Source()
    slow, first = leader(cache)

    async def main() -> Any:
        task = asyncio.create_task(cache.get_or_fetch_async("k", source.later))
        await until_waits_async(cache, 1)
        slow.go.set()
        return await task

    assert ("slow", "slow", 0) == (asyncio.run(main()), first.outcome(), source.asked)


def test_a_thread_waits_for_a_task_that_fetches() -> None:
    cache, source = cache_of(), Source()

    async def main() -> Any:
        go = asyncio.Event()

        async def fetch() -> str:
            await go.wait()
            return "slow"

        task = asyncio.create_task(cache.get_or_fetch_async("k", fetch))
        await asyncio.sleep(0)
        worker = Worker(lambda: cache.get_or_fetch("k", source))
        await until_waits_async(cache, 1)
        go.set()
        await task
        return await asyncio.to_thread(worker.outcome)

    assert ("slow", 0) == (asyncio.run(main()), source.asked)


def test_a_fetch_of_one_key_holds_no_other(leader: Lead) -> None:
    cache, source = cache_of(), Source()
    leader(cache)

    assert 1 == cache.get_or_fetch("other", source)
    cache.set("third", 3)
    assert 3 == cache.get("third")


def test_those_who_wait_get_the_error_of_the_leader_without_asking_again(leader: Lead) -> None:
    cache, source = cache_of(), Source()
    slow, first = leader(cache, answer=OSError("down"))
    others = [Worker(lambda: cache.get_or_fetch("k", source)) for _ in range(5)]
    until_waits(cache, 5)

    slow.go.set()

    for worker in (first, *others):
        with pytest.raises(OSError, match="down"):
            worker.outcome()
    assert 0 == source.asked


def test_those_who_wait_for_a_failing_fetch_share_the_value_out_of_date(leader: Lead) -> None:
    clock = FakeClock(0)
    cache = cache_of(clock, ttl_seconds=1, stale_if_error_seconds=9)
    cache.set("k", "old")
    clock.advance(1)
    slow, first = leader(cache, answer=OSError("down"))
    other = Worker(lambda: cache.get_or_fetch("k", Source()))
    picky = Worker(lambda: cache.get_or_fetch("k", Source(), max_age_seconds=0.5))
    until_waits(cache, 2)

    slow.go.set()

    assert ("old", "old") == (first.outcome(), other.outcome())
    with pytest.raises(OSError, match="down"):
        picky.outcome()
    assert 2 == cache.stats.stale


def test_another_takes_the_place_of_a_leader_that_was_interrupted(leader: Lead) -> None:
    cache, source = cache_of(), Source()
    slow, first = leader(cache, answer=SystemExit())
    others = [Worker(lambda: cache.get_or_fetch("k", source)) for _ in range(5)]
    until_waits(cache, 5)

    slow.go.set()

    assert [1] * 5 == [worker.outcome() for worker in others]
    assert 1 == source.asked
    with pytest.raises(SystemExit):
        first.outcome()


def test_another_takes_the_place_of_a_leader_whose_task_was_cancelled() -> None:
    cache, source = cache_of(), Source()

    async def main() -> list[int]:
        hangs = asyncio.create_task(cache.get_or_fetch_async("k", lambda: asyncio.Event().wait()))
        await asyncio.sleep(0)
        others = [asyncio.create_task(cache.get_or_fetch_async("k", source.later)) for _ in range(5)]
        await until_waits_async(cache, 5)
        hangs.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hangs
        return await asyncio.gather(*others)

    assert [1] * 5 == asyncio.run(main())
    assert 1 == source.asked


def test_a_cancelled_waiter_disturbs_nobody(leader: Lead) -> None:
    cache = cache_of()
    slow, first = leader(cache)

    async def main() -> str:
        waiters = [asyncio.create_task(cache.get_or_fetch_async("k", Source().later)) for _ in range(2)]
        await until_waits_async(cache, 2)
        waiters[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiters[0]
        slow.go.set()
        return str(await waiters[1])

    assert ("slow", "slow") == (asyncio.run(main()), first.outcome())


def test_a_waiter_whose_loop_is_closed_disturbs_nobody(leader: Lead) -> None:
    cache = cache_of()
    slow, first = leader(cache)
    loop = asyncio.new_event_loop()
    task = loop.create_task(cache.get_or_fetch_async("k", Source().later))
    while cache.stats.waits < 1:
        loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()

    slow.go.set()

    assert "slow" == first.outcome()
    gc.collect()


def test_a_fetch_that_ends_while_a_task_comes_to_wait_is_not_missed() -> None:
    cache = cache_of()
    flight = cache._board("k", 0, None, math.inf)[1]
    flight.end()

    assert asyncio.run(cache._join(flight, 0))


# --- fetches that hang


def test_nobody_is_held_by_a_fetch_that_hangs_beyond_the_timeout(leader: Lead) -> None:
    cache, source = cache_of(), Source()
    slow, first = leader(cache)

    with pytest.raises(WaitTimeout, match="no answer for 'k' within 0.02 s"):
        cache.get_or_fetch("k", source, timeout=0.02)
    with pytest.raises(TimeoutError):
        asyncio.run(cache.get_or_fetch_async("k", source.later, timeout=0.02))
    other = cache.get_or_fetch("other", source, timeout=0.02)
    slow.go.set()

    assert (1, "slow", 2) == (other, first.outcome(), cache.stats.timeouts)
    assert "slow" == cache.get("k")


def test_the_cache_bounds_a_wait_for_which_the_call_names_no_timeout(leader: Lead) -> None:
    cache = cache_of(wait_timeout_seconds=0.02)
    leader(cache)

    with pytest.raises(WaitTimeout, match="within 0.02 s"):
        cache.get_or_fetch("k", Source())
    with pytest.raises(WaitTimeout, match="within 0.02 s"):
        asyncio.run(cache.get_or_fetch_async("k", Source().later))


def test_a_wait_may_be_without_bound(leader: Lead) -> None:
    cache = cache_of(wait_timeout_seconds=None)
    slow, first = leader(cache)
    other = Worker(lambda: cache.get_or_fetch("k", Source()))
    task = Worker(lambda: asyncio.run(cache.get_or_fetch_async("k", Source().later)))
    until_waits(cache, 2)

    slow.go.set()

    assert ["slow"] * 3 == [one.outcome() for one in (first, other, task)]


def test_one_who_has_waited_long_enough_gets_a_value_out_of_date_where_that_may_serve(leader: Lead) -> None:
    clock = FakeClock(0)
    cache = cache_of(clock, ttl_seconds=1, stale_if_error_seconds=9)
    cache.set("k", "old")
    clock.advance(2)
    leader(cache)

    assert "old" == cache.get_or_fetch("k", Source(), timeout=0.01)
    assert "old" == asyncio.run(cache.get_or_fetch_async("k", Source().later, timeout=0.01))
    with pytest.raises(WaitTimeout):
        cache.get_or_fetch("k", Source(), timeout=0.01, max_age_seconds=1)


def test_a_task_s_own_fetch_is_cancelled_at_its_timeout_and_another_takes_its_place() -> None:
    cache, source = cache_of(), Source()
    cancelled = []

    async def hangs() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return 0

    async def main() -> int:
        first = asyncio.create_task(cache.get_or_fetch_async("k", hangs, timeout=0.02))
        await asyncio.sleep(0)
        other = asyncio.create_task(cache.get_or_fetch_async("k", source.later))
        with pytest.raises(WaitTimeout, match="no answer for 'k' within 0.02 s"):
            await first
        return await other

    assert 1 == asyncio.run(main())
    assert [True] == cancelled


def test_a_fetch_s_own_timeout_error_is_its_answer() -> None:
    cache, source = cache_of(), Source()
    source.error = TimeoutError("the broker is slow")

    with pytest.raises(TimeoutError, match="the broker is slow"):
        asyncio.run(cache.get_or_fetch_async("k", source.later, timeout=LONG))


def test_two_fetches_that_wait_for_each_other_come_to_an_end() -> None:
    cache = cache_of(wait_timeout_seconds=0.05)
    barrier = threading.Barrier(2)

    def fetch_through(other: str) -> Any:
        barrier.wait(LONG)
        return cache.get_or_fetch(other, lambda: "inner")

    workers = [
        Worker(lambda: cache.get_or_fetch("a", lambda: fetch_through("b"))),
        Worker(lambda: cache.get_or_fetch("b", lambda: fetch_through("a"))),
    ]

    ends: list[Any] = []
    for worker in workers:
        try:
            ends.append(worker.outcome())
        except WaitTimeout:
            ends.append(WaitTimeout)
    assert WaitTimeout in ends


# --- newer than the fetch


@pytest.mark.parametrize("answer", ["older", OSError("older")])
def test_what_is_set_during_a_fetch_wins(leader: Lead, answer: Any) -> None:
    cache = cache_of(negative_ttl_seconds=5)
    slow, first = leader(cache, answer=answer)

    cache.set("k", "newer")
    slow.go.set()
    if isinstance(answer, str):
        assert "older" == first.outcome()
    else:
        with pytest.raises(OSError, match="older"):
            first.outcome()

    assert "newer" == cache.get("k")


@pytest.mark.parametrize("forget", ["delete", "clear"])
def test_what_is_forgotten_during_a_fetch_stays_forgotten(leader: Lead, forget: str) -> None:
    cache, source = cache_of(), Source()
    slow, first = leader(cache)

    cache.delete("k") if forget == "delete" else cache.clear()
    asked_after = cache.get_or_fetch("k", source)  # does not wait for the fetch that began before
    slow.go.set()
    first.outcome()

    assert 1 == asked_after
    assert 1 == cache.get("k")


def test_an_interrupted_fetch_does_not_end_the_one_that_began_after_it(leader: Lead) -> None:
    cache = cache_of()
    slow, first = leader(cache, answer=SystemExit())
    cache.delete("k")
    newer, second = leader(cache, answer="newer")

    slow.go.set()
    with pytest.raises(SystemExit):
        first.outcome()
    other = Worker(lambda: cache.get_or_fetch("k", Source()))
    until_waits(cache, 1)
    newer.go.set()

    assert ("newer", "newer") == (second.outcome(), other.outcome())


# --- misuse


def test_a_fetch_that_asks_for_its_own_key_is_told_so() -> None:
    cache = cache_of()

    with pytest.raises(RuntimeError, match="the fetch of 'k' asks for 'k' itself"):
        cache.get_or_fetch("k", lambda: cache.get_or_fetch("k", lambda: 1))

    assert 1 == cache.get_or_fetch("k", lambda: 1)


def test_an_async_fetch_that_asks_for_its_own_key_is_told_so() -> None:
    cache, source = cache_of(), Source()

    async def fetch() -> int:
        return int(await cache.get_or_fetch_async("k", source.later))

    with pytest.raises(RuntimeError, match="the fetch of 'k' asks for 'k' itself"):
        asyncio.run(cache.get_or_fetch_async("k", fetch))


def test_a_fetch_that_runs_a_loop_which_asks_for_its_key_is_told_so() -> None:
    cache, source = cache_of(), Source()

    with pytest.raises(RuntimeError, match="asks for 'k' itself"):
        cache.get_or_fetch("k", lambda: asyncio.run(cache.get_or_fetch_async("k", source.later)))


def test_a_blocking_call_in_the_thread_of_a_task_that_fetches_is_told_so() -> None:
    cache = cache_of()

    async def main() -> None:
        hangs = asyncio.create_task(cache.get_or_fetch_async("k", lambda: asyncio.Event().wait()))
        await asyncio.sleep(0)
        try:
            with pytest.raises(RuntimeError, match="a task of this thread is fetching 'k'.*get_or_fetch_async"):
                cache.get_or_fetch("k", lambda: True)
        finally:
            hangs.cancel()
            await asyncio.gather(hangs, return_exceptions=True)

    asyncio.run(main())


def test_an_async_function_handed_to_the_blocking_call_is_refused_with_the_remedy() -> None:
    cache, source = cache_of(), Source()

    with pytest.raises(TypeError, match="fetch of 'k' is an async function; use await get_or_fetch_async"):
        cache.get_or_fetch("k", source.later)
    with pytest.raises(TypeError, match="fetch of 'k' returned a coroutine; use await get_or_fetch_async"):
        cache.get_or_fetch("k", lambda: source.later())
    gc.collect()  # a coroutine that nobody closed would warn here, and warnings are errors

    assert 1 == cache.get_or_fetch("k", source)


def test_a_blocking_function_handed_to_the_async_call_is_refused_with_the_remedy() -> None:
    cache, source = cache_of(negative_ttl_seconds=5), Source()

    with pytest.raises(TypeError, match=r"fetch of 'k' is no async function; use get_or_fetch\("):
        asyncio.run(cache.get_or_fetch_async("k", source))  # type: ignore[arg-type]

    assert 2 == asyncio.run(cache.get_or_fetch_async("k", source.later))


def test_an_async_call_is_answered_from_the_cache() -> None:
    cache, source = cache_of(), Source()

    async def main() -> list[int]:
        return [await cache.get_or_fetch_async("k", source.later) for _ in range(3)]

    assert [1, 1, 1] == asyncio.run(main())


def test_an_async_fetch_that_fails_is_answered_by_a_value_out_of_date() -> None:
    clock, source = FakeClock(0), Source()
    cache = cache_of(clock, ttl_seconds=1, stale_if_error_seconds=9)
    cache.set("k", "old")
    clock.advance(1)
    source.error = OSError("down")

    found = asyncio.run(cache.get_or_fetch_async("k", source.later))
    clock.advance(9)

    assert "old" == found
    with pytest.raises(OSError, match="down"):
        asyncio.run(cache.get_or_fetch_async("k", source.later))


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("name", "value"),
    [("ttl_seconds", value) for value in (0, -1.0, NAN, "5", True)]
    + [("max_size", value) for value in (0, -1, 1.5, NAN)]
    + [(name, value) for name in ("negative_ttl_seconds", "wait_timeout_seconds") for value in (0, -1.0, NAN, INF)]
    + [("stale_if_error_seconds", value) for value in (0, -1.0, NAN)]
    + [("ttl_jitter", value) for value in (-0.1, 1.0, NAN, INF)],
)
def test_a_bad_parameter_is_named_with_its_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        SmartCache(**{name: value})

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", ["ttl_seconds", "timeout", "max_age_seconds"])
@pytest.mark.parametrize("value", [0, -1.0, NAN])
def test_a_bad_parameter_of_a_call_is_named_with_its_value(name: str, value: Any) -> None:
    cache, source = cache_of(), Source()

    with pytest.raises(ValueError, match=f"{name} must be a number above 0, not {value!r}"):
        cache.get_or_fetch("k", source, **{name: value})
    with pytest.raises(ValueError, match=name):
        asyncio.run(cache.get_or_fetch_async("k", source.later, **{name: value}))

    assert 0 == source.asked


# --- many threads at random


def test_threads_that_fetch_set_and_forget_at_random_never_see_a_foreign_value() -> None:
    cache = cache_of(max_size=5)
    wrong: list[Any] = []
    barrier = threading.Barrier(8)

    def work(seed: int) -> None:
        random = Random(seed)
        barrier.wait(LONG)
        for _ in range(500):
            key = random.randrange(10)
            action = random.random()
            if action < 0.7:
                value = cache.get_or_fetch(key, lambda: key * 10)  # noqa: B023
            elif action < 0.85:
                cache.set(key, key * 10)
                value = cache.get(key, key * 10)
            else:
                cache.delete(key)
                continue
            if value != key * 10:
                wrong.append((key, value))

    workers = [Worker(lambda seed=seed: work(seed)) for seed in range(8)]  # type: ignore[misc]
    for worker in workers:
        worker.outcome()

    assert [] == wrong
    assert len(cache) <= 5
    assert {} == cache._flights
