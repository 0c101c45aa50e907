"""Keep calls below a rate: an exact sliding window, a token bucket, and one limiter per key.

Every limiter answers the same four questions, and a refused call is never counted::

    limiter = SlidingWindowRateLimiter(max_calls=100, window_seconds=60)
    limiter.allow_request()      # True or False, never waits
    limiter.wait_time()          # seconds until the same call would be allowed
    limiter.acquire(timeout=5)   # waits; False where it would not come in time
    await limiter.acquire_async(timeout=5)

A share of the capacity can be kept for urgent calls, such as closing a position: with ``reserve=0.2`` an ordinary
call is refused where it would leave less than a fifth of the capacity free, and one with ``urgent=True`` is not.

Time is the injected clock's, by default monotonic, so that setting the clock of the machine changes nothing. Where the
injected clock goes back, time stands still for the step and runs on from there: nobody is let in early and nobody waits
for the clock to catch up. The clock is read while a lock is held, because the order of the stamps is what makes the
window exact; it must do nothing but tell the time.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from itertools import islice
from threading import Lock
from typing import Generic, Protocol, TypeVar

import msgspec

from herald.errors import RateLimitedError
from herald.utils._checks import above, at_least, share, whole

__all__ = [
    "RateLimiter",
    "RateLimiterRegistry",
    "RateLimiterStatistics",
    "RegistryStatistics",
    "SlidingWindowRateLimiter",
    "TokenBucketRateLimiter",
]

# A wait shorter than this may not move a clock that counts in floats or in whole nanoseconds, and would be asked for again.
_SHORTEST_SLEEP = 1e-6
# Tokens that rounding may hide. They are lent, not given: the bucket goes below zero by as much, so nothing adds up.
_ROUNDING = 1e-6
# How many of the oldest limiters a registry looks at for one that nobody would miss.
_LOOKED_AT = 16


class RateLimiterStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a limiter has done since it was made.

    Attributes:
        name: The limiter.
        allowed: Calls let through, urgent ones included.
        urgent: Calls let through that said ``urgent=True``.
        refused: Calls turned away: `allow_request` that answered False, and `acquire` that gave up.
        waits: Calls of `acquire` that had to wait.
        waited_seconds: What they asked to sleep in all, seconds.
        used: Share of the capacity in use now, in [0, 1].
    """

    name: str
    allowed: int
    urgent: int
    refused: int
    waits: int
    waited_seconds: float
    used: float


class RegistryStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry has done since it was made.

    Attributes:
        size: Limiters held now.
        created: Limiters made.
        evicted: Limiters dropped to keep the size; those of ``evicted_in_use`` included.
        evicted_in_use: Of these, limiters that still remembered calls; such a key starts anew, so it can exceed its rate
            once. Above 0 means: raise ``max_size``.
    """

    size: int
    created: int
    evicted: int
    evicted_in_use: int


class RateLimiter(Protocol):
    """What every limiter offers."""

    @property
    def idle(self) -> bool:
        """Whether the whole capacity is free, so that nothing is lost with this limiter."""

    def allow_request(self, weight: int = 1, *, urgent: bool = False) -> bool:
        """Return whether the call may be made now, and count it if so."""

    def wait_time(self, weight: int = 1, *, urgent: bool = False) -> float:
        """Return the seconds until the call would be allowed."""

    def acquire(self, timeout: float | None = None, weight: int = 1, *, urgent: bool = False) -> bool:
        """Wait until the call may be made; return False where *timeout* seconds would not do."""

    async def acquire_async(  # not asyncio.timeout: the answer may be known at once
        self,
        timeout: float | None = None,  # noqa: ASYNC109
        weight: int = 1,
        *,
        urgent: bool = False,
    ) -> bool:
        """Do what `acquire` does without blocking the event loop."""

    def require(self, weight: int = 1, *, urgent: bool = False) -> None:
        """Count the call, or raise `RateLimitedError` where it may not be made now."""

    def statistics(self) -> RateLimiterStatistics:
        """Return what the limiter has done so far."""


LimiterT = TypeVar("LimiterT", bound=RateLimiter)


class _Limiter(ABC):
    """Time that never goes back, the counters and the waiting; the rule itself is `_take`."""

    def __init__(
        self,
        name: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        sleep_async: Callable[[float], Awaitable[object]] | None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._sleep = sleep
        self._sleep_async = sleep_async
        self._lock = Lock()
        self._last = -math.inf  # the last time told, after the correction
        self._behind = 0.0  # seconds by which the clock has gone back in all
        self._allowed = self._urgent = self._refused = self._waits = 0
        self._waited = 0.0

    def _now(self) -> float:
        # Callers hold the lock.
        now = self._clock() + self._behind
        if now < self._last:
            self._behind += self._last - now
            return self._last
        self._last = now
        return now

    @abstractmethod
    def _take(self, weight: int, urgent: bool, *, take: bool = True, final: bool = False) -> float:
        """Return 0.0 and count the call if it may be made now, otherwise the seconds until it may.

        Without *take* nothing is counted; with *final* a refusal is, because the caller will not come back for it.
        """

    @abstractmethod
    def _used(self, now: float) -> float:
        """Return the share of the capacity in use, in [0, 1]; callers hold the lock."""

    @property
    def idle(self) -> bool:
        """Whether the whole capacity is free, so that nothing is lost with this limiter."""
        with self._lock:
            return self._used(self._now()) <= 0.0

    def wait_time(self, weight: int = 1, *, urgent: bool = False) -> float:
        """Return how long until the same call would be allowed, if nobody else calls meanwhile.

        Args:
            weight: What the call counts as, >= 1.
            urgent: Whether the call may use the reserve.

        Returns:
            Seconds, >= 0; 0 means now. Nothing is counted.

        Raises:
            ValueError: *weight* is no whole number of at least 1, or more than could ever be allowed.
        """
        return self._take(weight, urgent, take=False)

    def acquire(self, timeout: float | None = None, weight: int = 1, *, urgent: bool = False) -> bool:
        """Wait until the call may be made, and count it.

        Waiting callers are served as they come back from their sleep, which is not always the order in which they came.
        What the injected ``sleep`` raises ends the wait and passes through; nothing is counted then.

        Args:
            timeout: Longest wait, seconds, >= 0; None waits as long as it takes.
            weight: What the call counts as, >= 1.
            urgent: Whether the call may use the reserve.

        Returns:
            True when the call may be made. False, at once, when it cannot be allowed within *timeout*.

        Raises:
            ValueError: *timeout* is negative or not finite, or *weight* is impossible.
        """
        if timeout is not None:
            at_least("timeout", timeout)
        if self._take(weight, urgent) <= 0.0:
            return True
        deadline = self._deadline(timeout)
        waited = False
        while True:
            wait = self._take(weight, urgent)
            if wait <= 0.0:
                return True
            pause = self._pause(wait, deadline, waited)
            if pause is None:
                return False
            waited = True
            self._sleep(pause)

    async def acquire_async(  # not asyncio.timeout: the answer may be known at once
        self,
        timeout: float | None = None,  # noqa: ASYNC109
        weight: int = 1,
        *,
        urgent: bool = False,
    ) -> bool:
        """Do what `acquire` does without blocking the event loop; cancelling the task ends the wait, uncounted."""
        deadline = self._deadline(timeout)
        sleep: Callable[[float], Awaitable[object]]
        if self._sleep_async is None:
            from asyncio import sleep  # imported here: a script without asyncio need not load it
        else:
            sleep = self._sleep_async
        waited = False
        while True:
            wait = self._take(weight, urgent)
            if wait <= 0.0:
                return True
            pause = self._pause(wait, deadline, waited)
            if pause is None:
                return False
            waited = True
            await sleep(pause)

    def require(self, weight: int = 1, *, urgent: bool = False) -> None:
        """Do what `allow_request` does, but raise where it would answer False.

        Raises:
            RateLimitedError: The call is refused; ``retry_after`` is what `wait_time` says.
            ValueError: *weight* is impossible.
        """
        wait = self._take(weight, urgent, final=True)
        if wait > 0.0:
            raise RateLimitedError(self.name, wait)

    def statistics(self) -> RateLimiterStatistics:
        """Return what the limiter has done so far."""
        with self._lock:
            return RateLimiterStatistics(
                name=self.name,
                allowed=self._allowed,
                urgent=self._urgent,
                refused=self._refused,
                waits=self._waits,
                waited_seconds=self._waited,
                used=self._used(self._now()),
            )

    def _deadline(self, timeout: float | None) -> float:
        if timeout is None:
            return math.inf
        at_least("timeout", timeout)
        with self._lock:
            return self._now() + timeout

    def _pause(self, wait: float, deadline: float, waited: bool) -> float | None:
        """Return how long to sleep, or None where the call cannot come before *deadline*."""
        with self._lock:
            # Others can only make the wait longer, so a wait beyond the deadline is beyond it for certain.
            if self._now() + wait > deadline:
                self._refused += 1
                return None
            pause = max(wait, _SHORTEST_SLEEP)
            self._waits += not waited
            self._waited += pause
            return pause


class SlidingWindowRateLimiter(_Limiter):
    """At most *max_calls* in any span of *window_seconds*, exactly.

    A call leaves the window *window_seconds* after it was allowed, to the tick: with 2 calls in 10 s and calls at 0 and 3,
    the next ones are allowed at 10 and at 13. A ring keeps the end of the last *max_calls* calls, so a call costs the same
    however full the window is; a call of weight w takes w places.

    Args:
        max_calls: Calls (or weight) per window, >= 1.
        window_seconds: Length of the window, seconds, > 0.
        name: For messages and statistics.
        reserve: Share of *max_calls* that only urgent calls may use, in [0, 1); rounded up to whole calls.
        clock: Tells monotonic seconds.
        sleep: What `acquire` waits with; may raise to end the wait.
        sleep_async: What `acquire_async` waits with; None is `asyncio.sleep`.

    Raises:
        ValueError: A parameter is out of range, or *reserve* leaves no call to anybody else.
    """

    def __init__(
        self,
        max_calls: int = 100,
        window_seconds: float = 60.0,
        *,
        name: str = "rate limiter",
        reserve: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        sleep_async: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        """Check the parameters and start with an empty window."""
        super().__init__(name, clock, sleep, sleep_async)
        self.max_calls = whole("max_calls", max_calls)
        self.window_seconds = above("window_seconds", window_seconds)
        # Rounded up, but not because 0.07 * 100 is 7.000000000000001.
        self._kept = math.ceil(max_calls * share("reserve", reserve) - 1e-9)
        if self._kept >= max_calls:
            raise ValueError(f"reserve {reserve!r} of max_calls {max_calls} leaves no call that is not urgent")
        # When each of the last max_calls calls leaves the window; the oldest stands at _oldest.
        self._ends = [-math.inf] * max_calls
        self._oldest = 0

    def allow_request(self, weight: int = 1, *, urgent: bool = False) -> bool:
        """Return whether the call may be made now, and count it if so; a refused call is not counted.

        Args:
            weight: What the call counts as, >= 1.
            urgent: Whether the call may use the reserve.

        Raises:
            ValueError: *weight* is no whole number of at least 1, or more than could ever be allowed.
        """
        if weight != 1:
            return self._take(weight, urgent, final=True) <= 0.0
        kept = 0 if urgent else self._kept
        # The everyday case, written out: this is on the path of every call to a broker.
        with self._lock:
            now = self._clock() + self._behind
            if now < self._last:
                self._behind += self._last - now
                now = self._last
            else:
                self._last = now
            oldest = self._oldest
            if self._ends[oldest + kept - self.max_calls] > now:  # a negative index comes round, as the ring does
                self._refused += 1
                return False
            self._ends[oldest] = now + self.window_seconds
            oldest += 1
            self._oldest = 0 if oldest == self.max_calls else oldest
            self._allowed += 1
            self._urgent += urgent
            return True

    def _take(self, weight: int, urgent: bool, *, take: bool = True, final: bool = False) -> float:
        kept = 0 if urgent else self._kept
        if weight.__class__ is not int or weight != 1:
            whole("weight", weight)
            if weight > self.max_calls - kept:
                raise ValueError(_too_heavy(self.name, weight, self.max_calls, kept))
        with self._lock:
            now = self._clock() + self._behind
            if now < self._last:
                now = self._now()
            self._last = now
            # The call fits once so many of the oldest have left that it and the reserve find room.
            end = self._ends[(self._oldest + kept + weight - 1) % self.max_calls]
            if end > now:
                self._refused += final
                return end - now
            if take:
                leaves = now + self.window_seconds
                for _ in range(weight):
                    self._ends[self._oldest] = leaves
                    self._oldest = (self._oldest + 1) % self.max_calls
                self._allowed += 1
                self._urgent += urgent
            return 0.0

    @property
    def idle(self) -> bool:
        """Whether the window is empty, so that nothing is lost with this limiter."""
        with self._lock:
            return self._ends[self._oldest - 1] <= self._now()  # the newest stands before the oldest

    def _used(self, now: float) -> float:
        return sum(end > now for end in self._ends) / self.max_calls


class TokenBucketRateLimiter(_Limiter):
    """*rate* calls a second in the long run, and up to *capacity* at once.

    The bucket starts full and refills steadily; in any span of L seconds at most ``capacity + rate * L`` calls are allowed.
    Only the level and its time are kept, and the level is worked out when it is asked for, which is what the generic cell
    rate algorithm (GCRA) does with a time in place of a level; so there is no separate GCRA limiter.

    Args:
        rate: Tokens that arrive, per second, > 0.
        capacity: Most tokens the bucket holds, >= 1.
        initial: Tokens at the start, in [0, *capacity*]; None is *capacity*.
        name: For messages and statistics.
        reserve: Share of *capacity* that only urgent calls may use, in [0, 1).
        clock: Tells monotonic seconds.
        sleep: What `acquire` waits with; may raise to end the wait.
        sleep_async: What `acquire_async` waits with; None is `asyncio.sleep`.

    Raises:
        ValueError: A parameter is out of range, or *reserve* leaves no whole token to anybody else.

    Source:
        ITU-T Recommendation I.371, "Traffic control and congestion control in B-ISDN" (the GCRA).
    """

    def __init__(
        self,
        rate: float,
        capacity: float,
        *,
        initial: float | None = None,
        name: str = "rate limiter",
        reserve: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        sleep_async: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        """Check the parameters and fill the bucket."""
        super().__init__(name, clock, sleep, sleep_async)
        self.rate = above("rate", rate)
        self.capacity = at_least("capacity", capacity, 1.0)
        if initial is not None and at_least("initial", initial) > capacity:
            raise ValueError(f"initial must be at most capacity {capacity!r}, not {initial!r}")
        self._kept = capacity * share("reserve", reserve)
        if capacity - self._kept < 1.0 - _ROUNDING:
            raise ValueError(f"reserve {reserve!r} of capacity {capacity!r} leaves no token that is not urgent")
        self._tokens = float(capacity if initial is None else initial)
        self._filled_at = self._now()

    def allow_request(self, weight: int = 1, *, urgent: bool = False) -> bool:
        """Return whether the call may be made now, and take its tokens if so; a refused call takes none.

        Args:
            weight: Tokens that the call takes, >= 1.
            urgent: Whether the call may use the reserve.

        Raises:
            ValueError: *weight* is no whole number of at least 1, or more than could ever be allowed.
        """
        return self._take(weight, urgent, final=True) <= 0.0

    def _take(self, weight: int, urgent: bool, *, take: bool = True, final: bool = False) -> float:
        kept = 0.0 if urgent else self._kept
        if weight.__class__ is not int or weight != 1:
            whole("weight", weight)
            if weight > self.capacity - kept + _ROUNDING:
                raise ValueError(_too_heavy(self.name, weight, self.capacity, kept))
        with self._lock:
            now = self._clock() + self._behind
            if now < self._last:
                now = self._now()
            self._last = now
            tokens = self._tokens + (now - self._filled_at) * self.rate
            if tokens > self.capacity:
                tokens = self.capacity
            missing = weight + kept - tokens
            if missing > _ROUNDING:
                self._refused += final
                return missing / self.rate
            if take:
                self._tokens = tokens - weight
                self._filled_at = now
                self._allowed += 1
                self._urgent += urgent
            return 0.0

    def _level(self, now: float) -> float:
        return min(self.capacity, self._tokens + (now - self._filled_at) * self.rate)

    def _used(self, now: float) -> float:
        return min(1.0, max(0.0, 1.0 - self._level(now) / self.capacity))


class RateLimiterRegistry(Generic[LimiterT]):
    """One limiter per key (an account, a symbol, an address), in bounded memory.

    Keys share nothing but the table: while one key's caller waits, all others go on. Beyond *max_size* keys the least
    recently used one leaves whose limiter is idle, where there is one among the oldest; otherwise the least recently used
    one leaves with what it remembers, and ``evicted_in_use`` counts it::

        limiters = RateLimiterRegistry(lambda key: SlidingWindowRateLimiter(10, 1.0, name=f"account {key}"), max_size=500)
        limiters.get("4711").allow_request()

    Args:
        factory: Makes the limiter of a key; called outside the lock, now and then twice for one key, of which one is used.
        max_size: Most limiters held, >= 1.

    Raises:
        ValueError: *max_size* is out of range.
    """

    def __init__(self, factory: Callable[[Hashable], LimiterT], max_size: int = 1024) -> None:
        """Check the parameters and start empty."""
        self._factory = factory
        self.max_size = whole("max_size", max_size)
        self._lock = Lock()
        self._limiters: OrderedDict[Hashable, LimiterT] = OrderedDict()
        self._created = self._evicted = self._evicted_in_use = 0

    def __len__(self) -> int:
        return len(self._limiters)

    def get(self, key: Hashable) -> LimiterT:
        """Return the limiter of *key*, made on first use."""
        with self._lock:
            found = self._limiters.get(key)
            if found is not None:
                self._limiters.move_to_end(key)
                return found
        made = self._factory(key)
        with self._lock:
            limiter = self._limiters.setdefault(key, made)
            self._limiters.move_to_end(key)
            self._created += limiter is made
            spare = len(self._limiters) > self.max_size
        if spare:
            self._evict(key)
        return limiter

    def allow_request(self, key: Hashable, weight: int = 1, *, urgent: bool = False) -> bool:
        """Return whether the call of *key* may be made now, and count it if so."""
        return self.get(key).allow_request(weight, urgent=urgent)

    def wait_time(self, key: Hashable, weight: int = 1, *, urgent: bool = False) -> float:
        """Return the seconds until the call of *key* would be allowed."""
        return self.get(key).wait_time(weight, urgent=urgent)

    def acquire(self, key: Hashable, timeout: float | None = None, weight: int = 1, *, urgent: bool = False) -> bool:
        """Wait until the call of *key* may be made; return False where *timeout* seconds would not do."""
        return self.get(key).acquire(timeout, weight, urgent=urgent)

    async def acquire_async(
        self,
        key: Hashable,
        timeout: float | None = None,  # noqa: ASYNC109
        weight: int = 1,
        *,
        urgent: bool = False,
    ) -> bool:
        """Do what `acquire` does without blocking the event loop."""
        return await self.get(key).acquire_async(timeout, weight, urgent=urgent)

    def statistics(self) -> RegistryStatistics:
        """Return what the registry has done so far."""
        with self._lock:
            return RegistryStatistics(
                size=len(self._limiters),
                created=self._created,
                evicted=self._evicted,
                evicted_in_use=self._evicted_in_use,
            )

    def _evict(self, newest: Hashable) -> None:
        # Whether a limiter is idle is asked outside the lock: a stranger's limiter may take its time over the answer.
        with self._lock:
            oldest = [pair for pair in islice(self._limiters.items(), _LOOKED_AT) if pair[0] != newest]
        unused = [key for key, limiter in oldest if limiter.idle]
        with self._lock:
            while len(self._limiters) > self.max_size:
                key = next((one for one in unused if one in self._limiters), None)
                if key is None:
                    key = next(iter(self._limiters))
                    self._evicted_in_use += 1
                del self._limiters[key]
                self._evicted += 1


def _too_heavy(name: str, weight: int, capacity: float, kept: float) -> str:
    urgent = f" ({kept:g} of {capacity:g} are kept for urgent calls)" if kept else ""
    return f"weight must be at most {capacity - kept:g}{urgent}, not {weight!r}: {name!r} could never allow it"
