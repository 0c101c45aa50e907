"""Limiters against models of their own: lists of what was let through, counted anew at each call, in whole numbers."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from herald.utils.rate_limiter import SlidingWindowRateLimiter, TokenBucketRateLimiter

# Quarters of a second: sums of them are exact in floats, so that the models may count in whole numbers.
TICK = 0.25
WEIGHTS = st.integers(1, 4)
STEPS = st.integers(0, 40)
BACK = st.sampled_from([1, 5, 14_400, 345_600])


class Time:
    """A clock that can go back, and the time that has truly passed; both in ticks."""

    def __init__(self) -> None:
        self.shown = 1_000_000
        self.passed = 0

    def __call__(self) -> float:
        return self.shown * TICK

    def advance(self, ticks: int) -> None:
        self.shown += ticks
        self.passed += ticks

    def sleep(self, seconds: float) -> None:
        # The smallest number of whole ticks that is long enough.
        self.advance(-int(-seconds // TICK))


class WindowMachine(RuleBasedStateMachine):
    """What was let through in the last window, as a plain list."""

    @initialize(max_calls=st.integers(4, 9), window=st.integers(1, 30), kept=st.integers(0, 3))
    def start(self, max_calls: int, window: int, kept: int) -> None:
        self.time = Time()
        self.max_calls, self.window, self.kept = max_calls, window, min(kept, max_calls - 1)
        self.limiter = SlidingWindowRateLimiter(
            max_calls, window * TICK, reserve=self.kept / max_calls, clock=self.time, sleep=self.time.sleep
        )
        self.calls: list[tuple[int, int]] = []
        self.counts = [0, 0]

    def used(self, at: int) -> int:
        return sum(weight for when, weight in self.calls if when <= at < when + self.window)

    def fits(self, weight: int, urgent: bool, at: int) -> bool:
        return self.used(at) + weight <= self.max_calls - (0 if urgent else self.kept)

    def possible(self, weight: int, urgent: bool) -> int:
        return min(weight, self.max_calls - (0 if urgent else self.kept))

    def wait(self, weight: int, urgent: bool) -> int:
        return next(ticks for ticks in range(self.window + 1) if self.fits(weight, urgent, self.time.passed + ticks))

    @rule(weight=WEIGHTS, urgent=st.booleans())
    def allow(self, weight: int, urgent: bool) -> None:
        weight = self.possible(weight, urgent)
        expected = self.fits(weight, urgent, self.time.passed)

        assert expected == self.limiter.allow_request(weight, urgent=urgent)
        if expected:
            self.calls.append((self.time.passed, weight))
        self.counts[not expected] += 1

    @rule(weight=WEIGHTS, urgent=st.booleans(), timeout=st.none() | STEPS)
    def acquire(self, weight: int, urgent: bool, timeout: int | None) -> None:
        weight = self.possible(weight, urgent)
        wait = self.wait(weight, urgent)
        expected = timeout is None or wait <= timeout
        before = self.time.passed

        assert expected == self.limiter.acquire(None if timeout is None else timeout * TICK, weight, urgent=urgent)
        assert (wait if expected else 0) == self.time.passed - before
        if expected:
            self.calls.append((self.time.passed, weight))
        self.counts[not expected] += 1

    @rule(weight=WEIGHTS, urgent=st.booleans())
    def ask(self, weight: int, urgent: bool) -> None:
        weight = self.possible(weight, urgent)

        assert self.wait(weight, urgent) * TICK == self.limiter.wait_time(weight, urgent=urgent)

    @rule(ticks=STEPS)
    def advance(self, ticks: int) -> None:
        self.time.advance(ticks)

    @rule(ticks=BACK)
    def step_back(self, ticks: int) -> None:
        self.limiter.wait_time()  # the limiter knows the time before the step, or it could not tell the step from a pause
        self.time.shown -= ticks
        self.limiter.wait_time()

    @invariant()
    def never_over_the_limit_in_any_window(self) -> None:
        if hasattr(self, "calls"):
            assert all(self.used(when) <= self.max_calls for when, _ in self.calls)

    @invariant()
    def the_statistics_are_the_model_s(self) -> None:
        if hasattr(self, "calls"):
            found = self.limiter.statistics()
            assert self.counts == [found.allowed, found.refused]
            assert self.used(self.time.passed) / self.max_calls == found.used
            assert (found.used == 0) == self.limiter.idle


class BucketMachine(RuleBasedStateMachine):
    """Tokens as exact fractions, and every span of what was let through."""

    @initialize(rate=st.integers(1, 12), per=st.integers(1, 12), capacity=st.integers(4, 9), kept=st.integers(0, 3))
    def start(self, rate: int, per: int, capacity: int, kept: int) -> None:
        self.time = Time()
        self.rate = Fraction(rate, per) / 4  # tokens a tick
        self.capacity, self.kept = capacity, Fraction(kept * capacity, 10)
        self.tokens = Fraction(capacity)
        self.limiter = TokenBucketRateLimiter(
            rate / per, capacity, reserve=kept / 10, clock=self.time, sleep=lambda seconds: self.doze(seconds)
        )
        self.calls: list[tuple[int, int]] = []

    def doze(self, seconds: float) -> None:
        before = self.time.passed
        self.time.sleep(seconds)
        self.refill(self.time.passed - before)

    def refill(self, ticks: int) -> None:
        self.tokens = min(Fraction(self.capacity), self.tokens + ticks * self.rate)

    def missing(self, weight: int, urgent: bool) -> Fraction:
        return weight + (0 if urgent else self.kept) - self.tokens

    def possible(self, weight: int, urgent: bool) -> int:
        return min(weight, int(self.capacity - (0 if urgent else self.kept)))

    def take(self, weight: int) -> None:
        self.tokens -= weight
        self.calls.append((self.time.passed, weight))

    @rule(weight=WEIGHTS, urgent=st.booleans())
    def allow(self, weight: int, urgent: bool) -> None:
        weight = self.possible(weight, urgent)
        # Fractions of these rates are no closer than 1/480 to a whole number unless they are one: rounding decides nothing.
        expected = self.missing(weight, urgent) <= 0

        assert expected == self.limiter.allow_request(weight, urgent=urgent)
        if expected:
            self.take(weight)

    @rule(weight=WEIGHTS, urgent=st.booleans())
    def acquire(self, weight: int, urgent: bool) -> None:
        weight = self.possible(weight, urgent)

        assert self.limiter.acquire(weight=weight, urgent=urgent)
        assert self.missing(weight, urgent) <= 0
        self.take(weight)

    @rule(weight=WEIGHTS, urgent=st.booleans())
    def ask(self, weight: int, urgent: bool) -> None:
        weight = self.possible(weight, urgent)
        wait = max(self.missing(weight, urgent), Fraction(0)) / self.rate * Fraction(TICK)

        assert abs(float(wait) - self.limiter.wait_time(weight, urgent=urgent)) < 1e-6

    @rule(ticks=STEPS)
    def advance(self, ticks: int) -> None:
        self.time.advance(ticks)
        self.refill(ticks)

    @rule(ticks=BACK)
    def step_back(self, ticks: int) -> None:
        self.limiter.wait_time()
        self.time.shown -= ticks
        self.limiter.wait_time()

    @invariant()
    def no_span_has_more_than_the_capacity_and_what_arrived(self) -> None:
        if hasattr(self, "calls") and self.calls:
            end, taken = self.calls[-1][0], 0
            for when, weight in reversed(self.calls):
                taken += weight
                assert taken <= self.capacity + self.rate * (end - when)


TestWindow = WindowMachine.TestCase
TestBucket = BucketMachine.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBucket.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
