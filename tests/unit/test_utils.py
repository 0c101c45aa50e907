"""The promised call forms of `herald.utils`, word for word, and what each mechanism promises in a sentence.

The details of each mechanism stand in ``tests/unit/utils``.
"""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

import herald.utils
from herald.errors import CircuitOpenError, HeraldError, NotConnected, RejectedError, TransientError, WaitTimeout
from herald.testing.clock import FakeClock
from herald.utils import (
    CircuitBreaker,
    CircuitState,
    ConnectionHealthMonitor,
    RateLimiterRegistry,
    RetryPolicy,
    SlidingWindowRateLimiter,
    SmartCache,
    TokenBucketRateLimiter,
    exponential_backoff,
    exponential_backoff_async,
)

ROOT = Path(__file__).resolve().parents[2]
LONG = 30.0


class Flaky:
    """A function that fails as often as it is told to and then answers."""

    def __init__(self, failures: int, error: BaseException | None = None) -> None:
        self.left = failures
        self.calls = 0
        self.error = error or TransientError("no route to the broker")

    def __call__(self) -> str:
        self.calls += 1
        if self.left > 0:
            self.left -= 1
            raise self.error
        return "answer"


class Connector:
    """A connector as a script may have one: it pings and connects."""

    def __init__(self) -> None:
        self.up = True
        self.connects = 0

    def ping(self) -> None:
        if not self.up:
            raise NotConnected("gone")

    def connect(self) -> None:
        self.connects += 1
        self.up = True


# --- word for word

FORMS = """
from herald.utils import CircuitBreaker, exponential_backoff, ConnectionHealthMonitor, SmartCache, SlidingWindowRateLimiter

answers = []
fn = lambda *args: answers.append(args) or "called"
args = (1, 2)
f = lambda: answers.append("f") or "tried"
key = "EURUSD"
fetch = lambda: answers.append("fetch") or 1.1

class connector:
    @staticmethod
    def ping():
        answers.append("ping")

called = CircuitBreaker(failure_threshold=5, timeout=60, name="mt5_api").call(fn, *args)
tried = exponential_backoff(lambda: f(), max_retries=5, initial_delay=1.0)
report = ConnectionHealthMonitor(connector, check_interval=30).health_check()
value = SmartCache(ttl_seconds=5).get_or_fetch(key, fetch)
allowed = SlidingWindowRateLimiter(max_calls=100, window_seconds=60).allow_request()
"""


def test_the_promised_call_forms_run_word_for_word() -> None:
    found: dict[str, Any] = {}

    exec(FORMS, found)

    assert ("called", "tried", 1.1, True) == tuple(found[name] for name in ("called", "tried", "value", "allowed"))
    assert found["report"]
    assert [(1, 2), "f", "ping", "fetch"] == found["answers"]


def test_the_promised_call_forms_run_in_a_script_of_their_own() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", FORMS], capture_output=True, encoding="utf-8", check=False)

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from herald.utils.circuit_breaker import CircuitBreaker", "CircuitBreaker"),
        ("from herald.utils.circuit_breaker import CircuitState", "CircuitState"),
        ("from herald.utils.retry import exponential_backoff", "exponential_backoff"),
        ("from herald.utils.health_monitor import ConnectionHealthMonitor", "ConnectionHealthMonitor"),
        ("from herald.utils.cache import SmartCache", "SmartCache"),
        ("from herald.utils.rate_limiter import SlidingWindowRateLimiter", "SlidingWindowRateLimiter"),
        ("from herald.utils.rate_limiter import TokenBucketRateLimiter", "TokenBucketRateLimiter"),
    ],
)
def test_each_is_found_in_its_own_module_too(line: str, name: str) -> None:
    found: dict[str, Any] = {}

    exec(line, found)

    assert found[name] is getattr(herald.utils, name)


def test_the_face_has_every_name_and_refuses_others() -> None:
    assert all(getattr(herald.utils, name) is not None for name in herald.utils.__all__)
    assert set(herald.utils.__all__) == set(dir(herald.utils))
    with pytest.raises(AttributeError, match=r"module 'herald.utils' has no attribute 'Circus'"):
        herald.utils.Circus


HEAVY = ("numpy", "pydantic", "pluggy", "asyncio", "cryptography", "loguru", "click", "rich", "concurrent", "ssl", "logging")


@pytest.mark.parametrize("names", ["CircuitBreaker", "*"])
def test_no_framework_is_loaded(names: str) -> None:
    program = f"from herald.utils import {names}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", cwd=ROOT, check=True)
    loaded = json.loads(done.stdout)

    assert [] == [name for name in loaded if name.partition(".")[0] in HEAVY]
    own = {name for name in loaded if name.startswith("herald.")}
    assert {"herald.errors", "herald.utils", "herald.utils.circuit_breaker"} <= own
    assert all(name in {"herald.errors", "herald.clock"} or name.startswith("herald.utils") for name in own)
    assert (names == "*") == ("herald.utils.cache" in own)


def test_every_statistics_is_a_frozen_value() -> None:
    values: list[Any] = [
        CircuitBreaker().statistics(),
        ConnectionHealthMonitor(Connector()).statistics(),
        SmartCache[str, int]().statistics(),
        SlidingWindowRateLimiter().statistics(),
        TokenBucketRateLimiter(1, 1).statistics(),
        RateLimiterRegistry(lambda key: SlidingWindowRateLimiter()).statistics(),
    ]

    for value in values:
        assert isinstance(value, msgspec.Struct)
        with pytest.raises(AttributeError):
            setattr(value, value.__struct_fields__[0], None)


# --- the circuit breaker


def test_a_circuit_opens_after_the_threshold_and_refuses_without_calling() -> None:
    clock, flaky = FakeClock(0), Flaky(100)
    breaker = CircuitBreaker(failure_threshold=3, timeout=60, name="mt5_api", clock=clock.monotonic)
    for _ in range(3):
        with pytest.raises(TransientError):
            breaker.call(flaky)

    with pytest.raises(CircuitOpenError, match="circuit breaker 'mt5_api' is OPEN; retry in 60 s") as caught:
        breaker.call(flaky)

    assert (3, CircuitState.OPEN, 60.0) == (flaky.calls, breaker.state, caught.value.retry_after)
    assert flaky.error is caught.value.last_error


def test_an_open_circuit_lets_a_trial_through_after_its_time_and_closes() -> None:
    clock, flaky = FakeClock(0), Flaky(1)
    breaker = CircuitBreaker(failure_threshold=1, timeout=60, clock=clock.monotonic)
    with pytest.raises(TransientError):
        breaker.call(flaky)
    states = [breaker.state]

    clock.advance(60)
    breaker.call(lambda: states.append(breaker.state))

    assert [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED] == [*states, breaker.state]


def test_only_one_of_many_threads_tries_a_half_open_circuit_and_none_waits() -> None:
    clock = FakeClock(0)
    breaker = CircuitBreaker(failure_threshold=1, timeout=60, clock=clock.monotonic)
    with pytest.raises(TransientError):
        breaker.call(Flaky(1))
    clock.advance(60)
    begun, go = threading.Event(), threading.Event()

    def trial() -> None:
        begun.set()
        assert go.wait(LONG)

    thread = threading.Thread(target=breaker.call, args=(trial,))
    thread.start()
    assert begun.wait(LONG)
    refused = 0
    for _ in range(10):
        with pytest.raises(CircuitOpenError):
            breaker.call(lambda: None)
        refused += 1
    go.set()
    thread.join()

    assert 10 == refused
    assert CircuitState.CLOSED is breaker.state


def test_failures_that_do_not_come_in_a_row_open_nothing() -> None:
    breaker = CircuitBreaker(failure_threshold=3)
    for _ in range(6):
        with pytest.raises(TransientError):
            breaker.call(Flaky(1))
        breaker.call(Flaky(0))

    assert CircuitState.CLOSED is breaker.state


def test_reset_closes_a_circuit() -> None:
    breaker = CircuitBreaker(failure_threshold=1)
    with pytest.raises(TransientError):
        breaker.call(Flaky(1))

    breaker.reset()

    assert "answer" == breaker.call(Flaky(0))


# --- retry


def test_a_call_is_repeated_until_it_succeeds() -> None:
    clock, flaky = FakeClock(0), Flaky(2)

    answer = exponential_backoff(lambda: flaky(), max_retries=5, initial_delay=1.0, clock=clock.monotonic, sleep=clock.sleep)

    assert ("answer", 3) == (answer, flaky.calls)


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_max_retries_are_repetitions_after_the_first_call(retries: int) -> None:
    clock, flaky = FakeClock(0), Flaky(100)

    with pytest.raises(TransientError) as caught:
        exponential_backoff(flaky, max_retries=retries, clock=clock.monotonic, sleep=clock.sleep)

    assert 1 + retries == flaky.calls
    assert flaky.error is caught.value


def test_waits_grow_and_are_told_to_a_callback() -> None:
    waits: list[float] = []
    told: list[tuple[int, str]] = []
    clock = FakeClock(0)

    exponential_backoff(
        Flaky(4),
        max_retries=5,
        initial_delay=1.0,
        on_retry=lambda attempt, error: told.append((attempt, str(error))),
        clock=clock.monotonic,
        sleep=waits.append,
        random=Random(1),
    )

    assert sorted(waits) == waits
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, (1, 2, 4, 8), strict=True))
    assert [1, 2, 3, 4] == [attempt for attempt, _ in told]
    assert {"no route to the broker"} == {text for _, text in told}


def test_retry_decorates_a_function_and_keeps_its_name() -> None:
    clock, flaky = FakeClock(0), Flaky(2)

    @exponential_backoff(max_retries=5, initial_delay=1.0, clock=clock.monotonic, sleep=clock.sleep)
    def quote() -> str:
        """Return a price."""
        return flaky()

    assert ("answer", "quote", "Return a price.") == (quote(), quote.__name__, quote.__doc__)


def test_an_answer_of_the_broker_is_never_repeated() -> None:
    for error in (RejectedError("10019", "no money"), CircuitOpenError("b", 1.0), HeraldError("no")):
        flaky = Flaky(1, error)
        with pytest.raises(type(error)):
            exponential_backoff(flaky, sleep=lambda seconds: None)
        assert 1 == flaky.calls


def test_retry_awaits_an_async_function() -> None:
    flaky = Flaky(2)

    async def quote() -> str:
        return flaky()

    async def main() -> str:
        return await exponential_backoff_async(quote, max_retries=5, initial_delay=0.001)

    assert ("answer", 3) == (asyncio.run(main()), flaky.calls)


def test_a_policy_waits_a_random_share_of_its_bound() -> None:
    policy = RetryPolicy(initial_delay=1.0)

    assert [0.0, 0.5, 2.0] == [policy.delay(0, 0.0), policy.delay(0, 0.5), policy.delay(2, 0.5)]


# --- the health monitor


def test_a_health_check_is_true_while_the_connector_answers() -> None:
    connector = Connector()
    monitor = ConnectionHealthMonitor(connector, check_interval=30)

    assert monitor.health_check()
    connector.up = False
    assert not monitor.health_check()


def test_a_lost_connection_is_made_again_after_the_threshold() -> None:
    connector = Connector()
    connector.up = False
    monitor = ConnectionHealthMonitor(connector, check_interval=30, max_failures=3, clock=FakeClock(0).monotonic)

    answers = [bool(monitor.health_check()) for _ in range(3)]

    assert ([False, False, True], 1) == (answers, connector.connects)


def test_a_call_that_failed_is_followed_by_a_check_at_once() -> None:
    clock, connector = FakeClock(0), Connector()
    monitor = ConnectionHealthMonitor(connector, check_interval=30, clock=clock.monotonic)
    monitor.tick()
    connector.up = False

    monitor.report_failure(TransientError("reset by peer"))
    report = monitor.tick()

    assert report
    assert (1, 0.0) == (connector.connects, clock.monotonic())


def test_a_monitor_tells_how_often_and_how_long_a_connection_was_down() -> None:
    clock, connector = FakeClock(0), Connector()
    monitor = ConnectionHealthMonitor(connector, check_interval=30, max_failures=1, clock=clock.monotonic)
    monitor.health_check()
    clock.advance(100)
    connector.up = False

    monitor.health_check()
    found = monitor.statistics()

    assert (1, 1, 100.0) == (found.losses, found.reconnects, found.mtbf_seconds)
    assert 1.0 == found.uptime


# --- the cache


def test_a_cache_fetches_once_within_the_time_of_a_value() -> None:
    clock, flaky = FakeClock(0), Flaky(0)
    cache = SmartCache[str, str](ttl_seconds=5, clock=clock.monotonic)

    for _ in range(10):
        cache.get_or_fetch("EURUSD", flaky)
    once = flaky.calls
    clock.advance(5)
    cache.get_or_fetch("EURUSD", flaky)

    assert (1, 2) == (once, flaky.calls)
    assert 9 / 11 == cache.stats.hit_rate


def test_fifty_threads_that_miss_at_once_make_one_fetch() -> None:
    cache = SmartCache[str, str](ttl_seconds=5)
    barrier, go = threading.Barrier(51), threading.Event()
    fetched: list[int] = []

    def fetch() -> str:
        fetched.append(1)
        assert go.wait(LONG)
        return "answer"

    def ask() -> None:
        barrier.wait(LONG)
        cache.get_or_fetch("EURUSD", fetch)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    barrier.wait(LONG)
    go.set()
    for thread in threads:
        thread.join()

    assert 1 == len(fetched)


def test_a_full_cache_drops_what_was_not_asked_for_longest() -> None:
    cache = SmartCache[str, int](max_size=2)
    cache.set("a", 1)
    cache.set("b", 2)
    cache.get("a")

    cache.set("c", 3)

    assert (1, None, 3) == (cache.get("a"), cache.get("b"), cache.get("c"))


def test_an_error_is_not_kept() -> None:
    cache, flaky = SmartCache[str, str](), Flaky(1)
    with pytest.raises(TransientError):
        cache.get_or_fetch("EURUSD", flaky)

    assert "answer" == cache.get_or_fetch("EURUSD", flaky)


def test_a_fetch_that_never_returns_holds_nobody_beyond_the_timeout() -> None:
    cache = SmartCache[str, str]()
    begun, go = threading.Event(), threading.Event()

    def hangs() -> str:
        begun.set()
        go.wait(LONG)
        return "late"

    thread = threading.Thread(target=cache.get_or_fetch, args=("EURUSD", hangs))
    thread.start()
    assert begun.wait(LONG)

    with pytest.raises(WaitTimeout, match="EURUSD"):
        cache.get_or_fetch("EURUSD", lambda: "mine", timeout=0.01)
    other = cache.get_or_fetch("GBPUSD", lambda: "other", timeout=0.01)
    go.set()
    thread.join()

    assert ("other", "late") == (other, cache.get("EURUSD"))


# --- the rate limiters


def test_refused_request_is_not_counted() -> None:
    clock = FakeClock()
    limiter = SlidingWindowRateLimiter(max_calls=2, window_seconds=10, clock=clock.monotonic)

    answers = [limiter.allow_request() for _ in range(3)]
    clock.advance(10)

    assert [True, True, False] == answers
    assert limiter.allow_request()


def test_a_token_bucket_starts_full_and_refills() -> None:
    clock = FakeClock(0)
    limiter = TokenBucketRateLimiter(10, 5, clock=clock.monotonic)

    burst = sum(limiter.allow_request() for _ in range(10))
    clock.advance(0.2)

    assert (5, 2) == (burst, sum(limiter.allow_request() for _ in range(10)))


def test_acquire_waits_no_longer_than_it_may() -> None:
    clock = FakeClock(0)
    limiter = SlidingWindowRateLimiter(1, 10, clock=clock.monotonic, sleep=clock.sleep)

    assert [True, False, True] == [limiter.acquire(), limiter.acquire(timeout=9), limiter.acquire(timeout=10)]
    assert 10.0 == clock.monotonic()


def test_a_share_of_the_calls_can_be_kept_for_urgent_ones() -> None:
    limiter = SlidingWindowRateLimiter(10, 60, reserve=0.2)

    ordinary = sum(limiter.allow_request() for _ in range(20))

    assert (8, True) == (ordinary, limiter.allow_request(urgent=True))


# --- all together, and bad input


def test_the_five_work_together_around_a_plain_function() -> None:
    clock, flaky = FakeClock(0), Flaky(2)
    breaker = CircuitBreaker(failure_threshold=5, clock=clock.monotonic)
    limiter = SlidingWindowRateLimiter(100, 60, clock=clock.monotonic)
    cache = SmartCache[str, str](5, clock=clock.monotonic)
    monitor = ConnectionHealthMonitor(Connector(), clock=clock.monotonic)

    def attempt() -> str:
        limiter.require()
        return breaker.call(flaky)

    def fetch() -> str:
        return exponential_backoff(attempt, clock=clock.monotonic, sleep=clock.sleep)

    answers = {cache.get_or_fetch("EURUSD", fetch) for _ in range(5) if monitor.health_check()}

    assert {"answer"} == answers
    assert (3, 3) == (flaky.calls, limiter.statistics().allowed)


NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (CircuitBreaker, "failure_threshold", 0),
        (CircuitBreaker, "failure_threshold", -1),
        (CircuitBreaker, "timeout", 0),
        (CircuitBreaker, "timeout", -1.0),
        (CircuitBreaker, "timeout", NAN),
        (functools.partial(exponential_backoff, Flaky(0)), "max_retries", -1),
        (functools.partial(exponential_backoff, Flaky(0)), "initial_delay", -1.0),
        (functools.partial(exponential_backoff, Flaky(0)), "initial_delay", NAN),
        (functools.partial(ConnectionHealthMonitor, Connector()), "check_interval", 0),
        (functools.partial(ConnectionHealthMonitor, Connector()), "max_failures", 0),
        (SmartCache, "ttl_seconds", 0),
        (SmartCache, "ttl_seconds", NAN),
        (SmartCache, "max_size", 0),
        (SlidingWindowRateLimiter, "max_calls", 0),
        (SlidingWindowRateLimiter, "window_seconds", -1.0),
        (functools.partial(TokenBucketRateLimiter, 1), "capacity", 0),
        (functools.partial(TokenBucketRateLimiter, capacity=1), "rate", NAN),
    ],
)
def test_a_bad_parameter_is_named_with_its_value(make: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        make(**{name: value})

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        CircuitBreaker().call,
        lambda fn: exponential_backoff(fn, sleep=lambda seconds: None),
        lambda fn: SmartCache[str, Any]().get_or_fetch("EURUSD", fn),
    ],
)
def test_an_async_function_handed_to_a_blocking_call_is_refused_with_the_remedy(call: Any) -> None:
    async def quote() -> float:
        return 1.1

    with pytest.raises(TypeError, match=r"is an async function; use .*_async"):
        call(quote)
