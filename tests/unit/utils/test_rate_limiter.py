"""What the rate limiters promise, one by one; nothing here waits."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from herald.errors import RateLimitedError
from herald.testing.clock import FakeClock
from herald.utils.rate_limiter import RateLimiterRegistry, SlidingWindowRateLimiter, TokenBucketRateLimiter

Limiter = SlidingWindowRateLimiter | TokenBucketRateLimiter
DAY = 86_400.0


def window(clock: FakeClock, max_calls: int = 2, window_seconds: float = 10.0, **more: Any) -> SlidingWindowRateLimiter:
    return SlidingWindowRateLimiter(max_calls, window_seconds, clock=clock.monotonic, sleep=clock.sleep, **more)


def bucket(clock: FakeClock, rate: float = 0.2, capacity: float = 2, **more: Any) -> TokenBucketRateLimiter:
    return TokenBucketRateLimiter(rate, capacity, clock=clock.monotonic, sleep=clock.sleep, **more)


both = pytest.mark.parametrize("make", [window, bucket])
Make = Callable[..., Limiter]


class SteppedClock:
    """A clock that does as it is told, backwards too."""

    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


# --- the window


def test_refused_request_is_not_counted() -> None:
    clock = FakeClock(0)
    limiter = window(clock)

    answers = [limiter.allow_request() for _ in range(3)]
    clock.advance(10)

    assert [True, True, False] == answers
    assert [True, True, False] == [limiter.allow_request() for _ in range(3)]


def test_a_call_leaves_the_window_to_the_tick() -> None:
    clock = FakeClock(0)
    limiter = window(clock, max_calls=1)
    limiter.allow_request()

    clock.set(9_999_999_999)
    before = limiter.allow_request()
    clock.set(10_000_000_000)

    assert (False, True) == (before, limiter.allow_request())


def test_the_window_slides_and_does_not_start_anew() -> None:
    clock = FakeClock(0)
    limiter = window(clock)
    allowed = []
    for second in range(24):
        clock.set(second * 1_000_000_000)
        if second in (0, 3) or second >= 4:
            allowed += [second] if limiter.allow_request() else []

    assert [0, 3, 10, 13, 20, 23] == allowed


def test_wait_time_says_when_the_same_call_is_allowed_and_counts_nothing() -> None:
    clock = FakeClock(0)
    limiter = window(clock)
    free = limiter.wait_time()
    limiter.allow_request()
    clock.advance(4)
    limiter.allow_request()

    waits = (free, limiter.wait_time(), limiter.wait_time(2))
    clock.advance(6)

    assert (0.0, 6.0, 10.0) == waits
    assert (0.0, 4.0) == (limiter.wait_time(), limiter.wait_time(2))


def test_a_weight_takes_so_many_places_of_the_window() -> None:
    clock = FakeClock(0)
    limiter = window(clock, max_calls=10)

    answers = [limiter.allow_request(weight) for weight in (4, 5, 2, 1, 1)]

    assert [True, True, False, True, False] == answers


def test_a_zero_wall_clock_is_a_time_like_any_other() -> None:
    limiter = SlidingWindowRateLimiter(1, 1.0, clock=lambda: -5.0)

    assert [True, False] == [limiter.allow_request(), limiter.allow_request()]


# --- the bucket


def test_a_bucket_starts_full_and_refills_steadily() -> None:
    clock = FakeClock(0)
    limiter = bucket(clock, rate=2, capacity=4)

    burst = [limiter.allow_request() for _ in range(5)]
    clock.advance(1)
    later = [limiter.allow_request() for _ in range(3)]

    assert [True] * 4 + [False] == burst
    assert [True, True, False] == later


def test_a_bucket_never_holds_more_than_its_capacity() -> None:
    clock = FakeClock(0)
    limiter = bucket(clock, rate=2, capacity=4)

    clock.advance(1_000)

    assert 4 == sum(limiter.allow_request() for _ in range(10))


def test_a_bucket_may_start_empty_and_counts_time_from_its_making() -> None:
    clock = FakeClock(0)
    limiter = bucket(clock, rate=1, capacity=5, initial=0)

    at_once = limiter.allow_request()
    clock.advance(2)

    assert not at_once
    assert [True, True, False] == [limiter.allow_request() for _ in range(3)]


def test_a_bucket_says_how_long_its_tokens_take() -> None:
    clock = FakeClock(0)
    limiter = bucket(clock, rate=4, capacity=8, initial=1)

    assert (0.0, 0.25, 1.75) == (limiter.wait_time(), limiter.wait_time(2), limiter.wait_time(8))


def test_a_token_that_rounding_hides_is_there() -> None:
    clock = FakeClock(100_100_000_000)  # 100.2 - 100.1 is less than a tenth in floats
    limiter = bucket(clock, rate=10, capacity=1, initial=0)

    clock.set(100_200_000_000)

    assert limiter.allow_request()


def test_what_rounding_lends_does_not_add_up() -> None:
    clock = FakeClock(0)
    limiter = bucket(clock, rate=1, capacity=1)
    allowed = 0
    for call in range(20_001):
        clock.set(call * 999_999_999)  # each a billionth of a token early
        allowed += limiter.allow_request()

    assert allowed <= 1 + 20_000 * 0.999999999


# --- both


@both
def test_a_reserve_is_left_to_urgent_calls(make: Make) -> None:
    limiter = make(FakeClock(0), 10 if make is window else 1.0, 10, reserve=0.2)

    ordinary = sum(limiter.allow_request() for _ in range(20))
    urgent = sum(limiter.allow_request(urgent=True) for _ in range(20))

    assert (8, 2) == (ordinary, urgent)


@both
def test_urgent_calls_may_use_everything_and_others_never_touch_the_reserve(make: Make) -> None:
    limiter = make(FakeClock(0), 10 if make is window else 1.0, 10, reserve=0.2)

    for _ in range(5):
        limiter.allow_request(urgent=True)

    assert 3 == sum(limiter.allow_request() for _ in range(10))
    assert limiter.wait_time() > 0
    assert 0 == limiter.wait_time(urgent=True)


@both
def test_the_wait_of_an_ordinary_call_reckons_with_the_reserve(make: Make) -> None:
    clock = FakeClock(0)
    limiter = make(clock, 10 if make is window else 0.1, 10, reserve=0.2)
    for _ in range(10):
        limiter.allow_request(urgent=True)
        clock.advance(0.5)

    wait = limiter.wait_time(2)
    clock.advance(wait)

    assert limiter.allow_request(2)
    assert not limiter.allow_request()


@both
def test_acquire_waits_on_the_injected_sleep_until_there_is_room(make: Make) -> None:
    clock = FakeClock(0)
    limiter = make(clock)

    answers = [limiter.acquire() for _ in range(3)]

    assert [True, True, True] == answers
    assert (10.0 if make is window else 5.0) == clock.monotonic()


@both
def test_acquire_gives_up_at_once_where_the_room_cannot_come_in_time(make: Make) -> None:
    clock = FakeClock(0)
    limiter = make(clock)
    limiter.allow_request(2)

    assert not limiter.acquire(timeout=4.9)
    assert 0.0 == clock.monotonic()
    assert limiter.acquire(timeout=10)


@both
def test_a_timeout_of_zero_only_tries(make: Make) -> None:
    limiter = make(FakeClock(0))

    assert [True, True, False] == [limiter.acquire(0) for _ in range(3)]


@both
def test_a_caller_overtaken_while_it_slept_waits_again_within_its_timeout(make: Make) -> None:
    clock = FakeClock(0)
    stolen = []

    def sleep(seconds: float) -> None:
        clock.advance(seconds)
        if len(stolen) < 3:
            stolen.append(limiter.allow_request(2) or limiter.allow_request())

    limiter = make(clock)
    limiter.allow_request(2)
    limiter._sleep = sleep

    assert not limiter.acquire(timeout=12)
    assert clock.monotonic() <= 12


@both
def test_a_sleep_that_raises_ends_the_wait_and_nothing_is_counted(make: Make) -> None:
    class Cancelled(Exception):
        pass

    def sleep(seconds: float) -> None:
        raise Cancelled

    clock = FakeClock(0)
    limiter = make(clock)
    limiter.allow_request(2)
    limiter._sleep = sleep

    with pytest.raises(Cancelled):
        limiter.acquire()
    clock.advance(10)

    assert limiter.allow_request(2)


def test_a_sleep_too_short_to_move_the_clock_is_not_asked_for() -> None:
    clock = FakeClock(0)
    limiter = bucket(clock, rate=1e5, capacity=1, initial=0.999998)  # 2e-11 seconds short; the clock counts nanoseconds

    assert limiter.acquire()
    assert 1e-6 == clock.monotonic()


@both
def test_acquire_async_waits_without_blocking(make: Make) -> None:
    clock = FakeClock(0)

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    limiter = make(clock, sleep_async=sleep)

    async def main() -> list[bool]:
        return [await limiter.acquire_async() for _ in range(3)] + [await limiter.acquire_async(1, 2)]

    assert [True, True, True, False] == asyncio.run(main())


def test_acquire_async_sleeps_on_the_event_loop_by_default() -> None:
    limiter = TokenBucketRateLimiter(200, 1)

    async def main() -> bool:
        return all([await limiter.acquire_async() for _ in range(4)])

    assert asyncio.run(main())
    assert limiter.statistics().waits >= 1


def test_a_cancelled_task_has_counted_nothing() -> None:
    clock = FakeClock(0)

    async def main() -> bool:
        asleep = asyncio.Event()

        async def sleep(seconds: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

        limiter = window(clock, sleep_async=sleep)
        limiter.allow_request(2)
        task = asyncio.create_task(limiter.acquire_async())
        await asleep.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        clock.advance(10)
        return limiter.allow_request(2)

    assert asyncio.run(main())


@both
def test_require_raises_with_the_name_and_the_time_to_come_back(make: Make) -> None:
    limiter = make(FakeClock(0), name="orders")
    limiter.require(2)

    with pytest.raises(RateLimitedError, match="'orders' refuses") as caught:
        limiter.require()

    assert limiter.wait_time() == caught.value.retry_after
    assert 1 == limiter.statistics().refused


@both
def test_statistics_are_a_value(make: Make) -> None:
    clock = FakeClock(0)
    limiter = make(clock, name="quotes")
    limiter.allow_request(urgent=True)
    limiter.allow_request()
    limiter.allow_request()
    used = limiter.statistics().used
    limiter.acquire()
    limiter.acquire(0.1, 2)

    found = limiter.statistics()

    assert 1.0 == used
    assert ("quotes", 3, 1, 2, 1) == (found.name, found.allowed, found.urgent, found.refused, found.waits)
    assert found.waited_seconds == pytest.approx(clock.monotonic())
    with pytest.raises(AttributeError):
        found.allowed = 0  # type: ignore[misc]


@both
def test_a_limiter_is_idle_once_all_is_free_again(make: Make) -> None:
    clock = FakeClock(0)
    limiter = make(clock)
    fresh = limiter.idle
    limiter.allow_request()
    used = limiter.idle
    clock.advance(10)

    assert (True, False, True) == (fresh, used, limiter.idle)


# --- clocks


@both
@pytest.mark.parametrize("step", [-DAY, -3_600.0, -0.5])
def test_a_clock_that_goes_back_neither_starves_nor_lets_more_through(make: Make, step: float) -> None:
    clock = SteppedClock(1_000_000.0)
    limiter = make(FakeClock(0))
    limiter._clock = clock
    if isinstance(limiter, TokenBucketRateLimiter):
        limiter._filled_at = clock.at
    limiter.allow_request(2)

    clock.at += step
    at_the_step = limiter.allow_request()
    wait = limiter.wait_time(2)
    clock.at += 10

    assert not at_the_step
    assert wait == pytest.approx(10.0, abs=1e-6)
    assert [True, True, False] == [limiter.allow_request() for _ in range(3)]


@both
def test_whatever_call_is_the_first_to_see_the_clock_go_back_sees_it(make: Make) -> None:
    clock = SteppedClock(1_000.0)
    limiter = make(FakeClock(0))
    limiter._clock = clock
    if isinstance(limiter, TokenBucketRateLimiter):
        limiter._filled_at = clock.at
    limiter.allow_request(2)

    waits = []
    for ask in (limiter.wait_time, lambda: limiter.statistics().used, limiter.wait_time):
        clock.at -= 100
        waits.append(ask())

    assert (1.0, waits[0]) == (waits[1], waits[2])


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_the_wall_clock_has_no_say(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    limiters: list[Limiter] = [SlidingWindowRateLimiter(1, 3_600), TokenBucketRateLimiter(1 / 3_600, 1)]
    before = [limiter.allow_request() for limiter in limiters]

    wall = time.time()
    monkeypatch.setattr(time, "time", lambda: wall + step)
    monkeypatch.setattr(time, "time_ns", lambda: int((wall + step) * 1e9))

    assert [True, True] == before
    assert [False, False] == [limiter.allow_request() for limiter in limiters]
    assert all(3_500 < limiter.wait_time() <= 3_600 for limiter in limiters)


# --- threads


@both
def test_sixteen_threads_together_get_no_more_than_one(make: Make) -> None:
    limiter = make(FakeClock(0), 1_000 if make is window else 0.001, 1_000)
    barrier = threading.Barrier(16)
    allowed = [0] * 16

    def work(place: int) -> None:
        barrier.wait()
        allowed[place] = sum(limiter.allow_request() for _ in range(200))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1_000 == sum(allowed)
    assert (1_000, 2_200) == (limiter.statistics().allowed, limiter.statistics().refused)


@both
def test_sixteen_threads_that_wait_are_never_over_the_limit_in_any_window(make: Make) -> None:
    told = threading.local()

    def clock() -> float:
        told.last = time.monotonic()
        return float(told.last)

    limiter = SlidingWindowRateLimiter(20, 0.05, clock=clock) if make is window else TokenBucketRateLimiter(400, 20, clock=clock)
    stamps: list[float] = []

    def work() -> None:
        for _ in range(5):
            assert limiter.acquire()
            stamps.append(told.last)  # the last time this thread was told is the one at which it was let through

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    stamps.sort()
    assert 80 == len(stamps) == limiter.statistics().allowed
    if make is window:
        assert all(stamps[place] + 0.05 <= stamps[place + 20] for place in range(60))
    else:
        spans = itertools.combinations(range(80), 2)
        assert all(last - first + 1 <= 20 + 400 * (stamps[last] - stamps[first]) + 1e-5 for first, last in spans)


# --- one limiter a key


def test_a_registry_gives_each_key_a_limiter_of_its_own() -> None:
    clock = FakeClock(0)
    limiters = RateLimiterRegistry(lambda key: window(clock, 1, 10, name=str(key)))

    answers = [limiters.allow_request(key) for key in ("a", "b", "a", "b")]

    assert [True, True, False, False] == answers
    assert limiters.get("a") is limiters.get("a")
    assert "b" == limiters.get("b").name
    assert 10.0 == limiters.wait_time("a")


def test_one_key_that_waits_does_not_block_another() -> None:
    asleep, wake = threading.Event(), threading.Event()
    clock = FakeClock(0)

    def sleep(seconds: float) -> None:
        asleep.set()
        assert wake.wait(30)
        clock.advance(seconds)

    limiters = RateLimiterRegistry(lambda key: SlidingWindowRateLimiter(1, 10, clock=clock.monotonic, sleep=sleep))
    limiters.acquire("a")
    thread = threading.Thread(target=limiters.acquire, args=("a",))
    thread.start()
    assert asleep.wait(30)

    other = limiters.acquire("b")
    wake.set()
    thread.join()

    assert other
    assert 2 == limiters.get("a").statistics().allowed


def test_a_registry_drops_an_idle_limiter_before_one_in_use() -> None:
    clock = FakeClock(0)
    limiters = RateLimiterRegistry(lambda key: window(clock, 1, 10), max_size=2)
    limiters.allow_request("old")
    limiters.get("idle")

    limiters.allow_request("new")

    assert 2 == len(limiters)
    assert not limiters.allow_request("old")
    found = limiters.statistics()
    assert (2, 3, 1, 0) == (found.size, found.created, found.evicted, found.evicted_in_use)


def test_a_registry_says_when_it_had_to_drop_a_limiter_in_use() -> None:
    clock = FakeClock(0)
    limiters = RateLimiterRegistry(lambda key: window(clock, 1, 10), max_size=2)

    for key in ("a", "b", "a", "c"):
        limiters.allow_request(key)

    assert 1 == limiters.statistics().evicted_in_use
    assert not limiters.allow_request("a")  # asked for again, so b was the one not asked for longest


def test_two_threads_that_meet_a_new_key_share_one_limiter() -> None:
    clock = FakeClock(0)
    barrier = threading.Barrier(2)

    def factory(key: object) -> SlidingWindowRateLimiter:
        barrier.wait(30)
        return window(clock, 1, 10)

    limiters = RateLimiterRegistry(factory)
    found: list[SlidingWindowRateLimiter] = []
    threads = [threading.Thread(target=lambda: found.append(limiters.get("a"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found[0] is found[1]
    assert (1, 1) == (limiters.statistics().size, limiters.statistics().created)


def test_a_registry_waits_async_too() -> None:
    clock = FakeClock(0)
    limiters = RateLimiterRegistry(lambda key: window(clock, 1, 10))

    async def main() -> tuple[bool, bool]:
        return await limiters.acquire_async("a", 0), await limiters.acquire_async("a", 0)

    assert (True, False) == asyncio.run(main())


# --- bad input

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_calls", value) for value in (0, -1, 1.5, True, NAN)]
    + [("window_seconds", value) for value in (0, -1.0, NAN, INF, "1", True)]
    + [("reserve", value) for value in (-0.1, 1.0, NAN, INF)],
)
def test_a_window_names_the_bad_parameter_and_its_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        SlidingWindowRateLimiter(**{name: value})

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rate", value) for value in (0, -1.0, NAN, INF)]
    + [("capacity", value) for value in (0, 0.5, -1, NAN, INF)]
    + [("initial", value) for value in (-1, 6, NAN, INF)]
    + [("reserve", value) for value in (-0.1, 1.0, NAN)],
)
def test_a_bucket_names_the_bad_parameter_and_its_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        TokenBucketRateLimiter(**{"rate": 1, "capacity": 5, name: value})

    assert repr(value) in str(caught.value)


@both
@pytest.mark.parametrize("weight", [0, -1, 1.5, NAN, INF, "2"])
def test_a_weight_that_is_no_whole_number_is_refused(make: Make, weight: Any) -> None:
    limiter = make(FakeClock(0))

    for ask in (limiter.allow_request, limiter.wait_time, lambda one: limiter.acquire(None, one)):
        with pytest.raises(ValueError, match="weight must be"):
            ask(weight)


@both
def test_a_weight_that_could_never_be_allowed_is_refused(make: Make) -> None:
    limiter = make(FakeClock(0), 10 if make is window else 1.0, 10, reserve=0.2, name="orders")

    assert limiter.wait_time(10, urgent=True) == 0
    with pytest.raises(ValueError, match=r"weight must be at most 8 \(2 of 10 are kept for urgent calls\), not 9: 'orders'"):
        limiter.allow_request(9)
    with pytest.raises(ValueError, match="weight must be at most 10, not 11"):
        limiter.acquire(weight=11, urgent=True)


@both
@pytest.mark.parametrize("timeout", [-1, NAN, INF, "1"])
def test_a_bad_timeout_is_refused(make: Make, timeout: Any) -> None:
    limiter = make(FakeClock(0))

    with pytest.raises(ValueError, match="timeout must be a finite number of at least 0"):
        limiter.acquire(timeout)
    with pytest.raises(ValueError, match="timeout"):
        asyncio.run(limiter.acquire_async(timeout))


def test_a_reserve_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="reserve 0.2 of max_calls 1 leaves no call"):
        SlidingWindowRateLimiter(1, 10, reserve=0.2)
    with pytest.raises(ValueError, match="reserve 0.6 of capacity 2 leaves no token"):
        TokenBucketRateLimiter(1, 2, reserve=0.6)


def test_a_reserve_is_rounded_up_but_not_by_the_noise_of_floats() -> None:
    limiter = SlidingWindowRateLimiter(100, 10, reserve=0.07)  # 0.07 * 100 is 7.000000000000001

    assert 93 == sum(limiter.allow_request() for _ in range(100))


def test_a_registry_refuses_a_size_below_one() -> None:
    with pytest.raises(ValueError, match="max_size must be a whole number of at least 1, not 0"):
        RateLimiterRegistry(lambda key: SlidingWindowRateLimiter(), max_size=0)
