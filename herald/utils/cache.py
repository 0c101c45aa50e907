"""Keep answers for a while, and let one question at a time go to the source.

::

    cache = SmartCache(ttl_seconds=5)
    cache.get_or_fetch("EURUSD", lambda: fetch("EURUSD"))          # or: await cache.get_or_fetch_async(key, fetch)

- However many threads and tasks miss the same key together, one of them fetches and the others wait for it. A leader that
  raises hands its error to those who wait; one that is cancelled or interrupted lets another take its place; one that
  hangs holds nobody longer than *timeout*, or *wait_timeout_seconds* where a call names none.
- A value lives for its time to the tick and is gone at the end of it. At most *max_size* values are kept; the one that
  was not asked for longest goes first.
- Errors are not kept, unless *negative_ttl_seconds* says so. With *stale_if_error_seconds* a value that is out of date
  serves while the source fails; with both, the source is left alone for the negative time meanwhile.
- ``None`` and other false values are values.
- Whatever is set or deleted while a fetch is under way wins over what that fetch brings, and who asks afterwards does not
  get it.

The lock is held for moments and never while a fetch runs. The clock is read while it is held, so that no thread sees a
value from its own future; it must do nothing but tell the time. Where the clock goes back, time stands still for the step
and runs on from there. Waiting is done in real seconds, whatever the clock.
"""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

import msgspec

from herald.errors import WaitTimeout
from herald.utils._checks import above, share, whole

if TYPE_CHECKING:
    import asyncio  # loaded by those who call the async form, and by nobody else

__all__ = ["CacheStatistics", "SmartCache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")


class CacheStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a cache has done since it was made.

    Attributes:
        size: Values kept now, those out of date included.
        hits: Questions answered from the cache, kept errors included.
        misses: Questions that it could not answer.
        fetches: Calls of a fetch function.
        failures: Of these, calls that raised.
        waits: Questions that waited for somebody else's fetch.
        timeouts: Of these, questions that gave up.
        stale: Questions answered with a value out of date because the source failed.
        evictions: Values dropped for want of room.
    """

    size: int
    hits: int
    misses: int
    fetches: int
    failures: int
    waits: int
    timeouts: int
    stale: int
    evictions: int

    @property
    def hit_rate(self) -> float:
        """Share of the questions answered from the cache, in [0, 1]; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class _Entry:
    """A value, or an error that is kept, its time, and until when the source is left alone after the end of it."""

    __slots__ = ("error", "expires", "quiet_until", "stored", "value")

    def __init__(self, value: Any, stored: float, expires: float, error: Exception | None = None) -> None:
        self.value = value
        self.stored = stored
        self.expires = expires
        self.error = error
        self.quiet_until = -math.inf


class _Flight:
    """A fetch under way, and how those who wait for it learn its end."""

    __slots__ = ("abandoned", "done", "error", "stale", "task", "tasks", "thread", "trace", "value")

    def __init__(self, thread: int, task: object) -> None:
        self.thread = thread
        self.task = task  # the asyncio task that leads; None where a thread does
        self.done = threading.Event()
        self.tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self.value: Any = None
        self.error: Exception | None = None
        self.trace: TracebackType | None = None
        self.stale: _Entry | None = None  # what serves in place of the error
        self.abandoned = False  # its leader gave up; whoever waits may take its place

    def end(self) -> None:
        """Wake everybody who waits."""
        self.done.set()
        for loop, future in self.tasks:
            try:
                loop.call_soon_threadsafe(future.set_result, None)
            except RuntimeError:
                continue  # that loop is closed, so nobody waits in it any more


class SmartCache(Generic[K, V]):
    """A bounded cache whose values have a time; usable from threads and tasks alike.

    Args:
        ttl_seconds: How long a value lives, > 0; counted from the end of its fetch. Infinity keeps it until room is needed.
        max_size: Most values kept, >= 1.
        negative_ttl_seconds: How long an error is kept and raised again instead of asking; not at all where None.
        stale_if_error_seconds: How long after its time a value still serves while the source fails, or while its fetch takes
            longer than the caller waits; not at all where None.
        ttl_jitter: Share of its time by which a value may end earlier, in [0, 1), so that values set together are not
            fetched together again.
        wait_timeout_seconds: Longest wait for somebody else's fetch where a call names none, seconds; without bound where
            None. It also ends the wait of two fetches for each other.
        clock: Seconds from an arbitrary start.
        random: Draws the jitter.

    Raises:
        ValueError: A parameter is out of its range.
    """

    def __init__(
        self,
        ttl_seconds: float = 5.0,
        *,
        max_size: int = 1024,
        negative_ttl_seconds: float | None = None,
        stale_if_error_seconds: float | None = None,
        ttl_jitter: float = 0.0,
        wait_timeout_seconds: float | None = 60.0,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        """Start empty."""
        self.ttl_seconds = above("ttl_seconds", ttl_seconds, endless=True)
        self.max_size = whole("max_size", max_size)
        self._negative = None if negative_ttl_seconds is None else above("negative_ttl_seconds", negative_ttl_seconds)
        self._stale = (
            None if stale_if_error_seconds is None else above("stale_if_error_seconds", stale_if_error_seconds, endless=True)
        )
        self._jitter = share("ttl_jitter", ttl_jitter)
        self._patience = None if wait_timeout_seconds is None else above("wait_timeout_seconds", wait_timeout_seconds)
        self._clock = clock
        # Not seeded: processes that start together must not draw the same jitter.
        self._random = Random() if random is None else random
        self._last = -math.inf  # the last time told, after the correction
        self._behind = 0.0  # seconds by which the clock has gone back in all
        self._entries: OrderedDict[K, _Entry] = OrderedDict()
        self._flights: dict[K, _Flight] = {}
        self._lock = threading.Lock()
        self._hits = self._misses = self._fetches = self._failures = 0
        self._waits = self._timeouts = self._served_stale = self._evictions = 0

    # --- plain use --------------------------------------------------------------------------------

    @overload
    def get(self, key: K, *, max_age_seconds: float | None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: D, *, max_age_seconds: float | None = None) -> V | D: ...
    def get(self, key: K, default: Any = None, *, max_age_seconds: float | None = None) -> Any:
        """Return the value of *key*, or *default* where there is none, its time is over, or it is older than asked."""
        oldest = math.inf if max_age_seconds is None else _age(max_age_seconds)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.error is None and self._answers(entry, self._now(), oldest):
                self._entries.move_to_end(key)
                self._hits += 1
                return entry.value
            self._misses += 1
            return default

    def set(self, key: K, value: V, ttl_seconds: float | None = None) -> None:
        """Keep *value* for *ttl_seconds*, or the cache's own time."""
        lives = self._lives(ttl_seconds)
        with self._lock:
            self._flights.pop(key, None)  # what a fetch under way brings is older than this
            now = self._now()
            self._put(key, _Entry(value, now, now + lives))

    def delete(self, key: K) -> bool:
        """Forget *key*; return whether there was something to forget."""
        with self._lock:
            self._flights.pop(key, None)
            return self._entries.pop(key, None) is not None

    invalidate = delete

    def clear(self) -> None:
        """Forget everything; the statistics go on."""
        with self._lock:
            self._flights.clear()
            self._entries.clear()

    def __len__(self) -> int:
        """Return how many values are kept, those out of date included."""
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        """Return whether there is a value of *key* whose time is not over."""
        with self._lock:
            entry = self._entries.get(cast("K", key))
            return entry is not None and entry.error is None and self._now() < entry.expires

    @property
    def hits(self) -> int:
        """Questions answered from the cache."""
        return self._hits

    @property
    def misses(self) -> int:
        """Questions that the cache could not answer."""
        return self._misses

    @property
    def stats(self) -> CacheStatistics:
        """What the cache has done so far."""
        return self.statistics()

    def statistics(self) -> CacheStatistics:
        """Return what the cache has done so far."""
        with self._lock:
            return CacheStatistics(
                size=len(self._entries),
                hits=self._hits,
                misses=self._misses,
                fetches=self._fetches,
                failures=self._failures,
                waits=self._waits,
                timeouts=self._timeouts,
                stale=self._served_stale,
                evictions=self._evictions,
            )

    # --- fetching ---------------------------------------------------------------------------------

    def get_or_fetch(
        self,
        key: K,
        fetch: Callable[[], V],
        *,
        ttl_seconds: float | None = None,
        timeout: float | None = None,
        max_age_seconds: float | None = None,
    ) -> V:
        """Return the value of *key*; where there is none, the first to miss fetches it and the others wait.

        Args:
            key: What is asked for.
            fetch: Called without arguments.
            ttl_seconds: How long its answer lives; the cache's own time unless given.
            timeout: Longest wait for somebody else's fetch, real seconds, > 0; *wait_timeout_seconds* unless given. It
                cannot interrupt a fetch of one's own.
            max_age_seconds: Oldest value that will do, > 0, whatever its own time and whether or not the source fails.

        Raises:
            WaitTimeout: Somebody else's fetch took longer; it goes on, and its answer will be kept.
            TypeError: *fetch* is an async function; use `get_or_fetch_async`.
            RuntimeError: *fetch* asks for the same key again, or a task of this thread's event loop is fetching it.
            Exception: What *fetch* raised. All who waited for it get the same object.
        """
        if max_age_seconds is None:
            entry = self._hit(key)
            if entry is not None:
                return entry.value  # type: ignore[no-any-return]
        if inspect.iscoroutinefunction(fetch):
            raise TypeError(f"fetch of {key!r} is an async function; use await get_or_fetch_async(...)")
        lives = self._lives(ttl_seconds)
        oldest = _age(max_age_seconds)
        limit = self._patience if timeout is None else above("timeout", timeout)
        end = math.inf if limit is None else time.monotonic() + limit
        thread = threading.get_ident()
        while True:
            entry, flight, leads = self._board(key, thread, None, oldest)
            if entry is not None:
                return cast("V", _answer(entry))
            if leads:
                return cast("V", self._lead(key, flight, fetch, lives, oldest))
            if flight.thread == thread:
                raise RuntimeError(_would_wait_for_ever(key, flight.task is None))
            if not flight.done.wait(None if end == math.inf else max(end - time.monotonic(), 0.0)):
                return cast("V", self._given_up(key, limit, oldest))
            if not flight.abandoned:
                return cast("V", self._landed(flight, oldest))

    async def get_or_fetch_async(
        self,
        key: K,
        fetch: Callable[[], Awaitable[V]],
        *,
        ttl_seconds: float | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - waiting and fetching end differently
        max_age_seconds: float | None = None,
    ) -> V:
        """Do what `get_or_fetch` does without blocking the event loop; *fetch* is an async function.

        *timeout* bounds the whole call here, a fetch of one's own included, which is cancelled then. A task that is
        cancelled while it fetches, by that or by somebody else, is replaced by one of those who wait.
        """
        if max_age_seconds is None:
            entry = self._hit(key)
            if entry is not None:
                return entry.value  # type: ignore[no-any-return]
        import asyncio

        lives = self._lives(ttl_seconds)
        oldest = _age(max_age_seconds)
        own = None if timeout is None else above("timeout", timeout)
        limit = self._patience if own is None else own
        start = time.monotonic()
        thread, task = threading.get_ident(), asyncio.current_task()
        while True:
            entry, flight, leads = self._board(key, thread, task, oldest)
            if entry is not None:
                return cast("V", _answer(entry))
            spent = time.monotonic() - start
            if leads:
                return cast("V", await self._lead_async(key, flight, fetch, lives, oldest, own, spent))
            # A thread that leads and runs an event loop in its fetch would wait for itself as well.
            if flight.thread == thread and (flight.task is task or flight.task is None):
                raise RuntimeError(_would_wait_for_ever(key, True))
            if not await self._join(flight, None if limit is None else max(limit - spent, 0.0)):
                return cast("V", self._given_up(key, limit, oldest))
            if not flight.abandoned:
                return cast("V", self._landed(flight, oldest))

    def _hit(self, key: K) -> _Entry | None:
        """Return the entry of *key* in the usual case: there is one, it is no error, and its time is not over."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.error is not None:
                return None
            now = self._clock() + self._behind
            if not self._last <= now < entry.expires:
                return None
            self._last = now
            self._entries.move_to_end(key)
            self._hits += 1
            return entry

    # --- one flight a key -------------------------------------------------------------------------

    def _board(self, key: K, thread: int, task: object, oldest: float) -> tuple[_Entry | None, _Flight, bool]:
        """Return an entry that answers, or the flight to wait for, or a new flight and True."""
        with self._lock:
            now = self._now()
            entry = self._entries.get(key)
            if entry is not None:
                if self._answers(entry, now, oldest):
                    self._entries.move_to_end(key)
                    self._hits += 1
                    return entry, _NO_FLIGHT, False
                if now < entry.quiet_until and self._serves(entry, now, oldest):
                    self._misses += 1
                    self._served_stale += 1
                    return entry, _NO_FLIGHT, False
            self._misses += 1
            flight = self._flights.get(key)
            if flight is not None:
                self._waits += 1
                return None, flight, False
            flight = self._flights[key] = _Flight(thread, task)
            self._fetches += 1
            return None, flight, True

    def _lead(self, key: K, flight: _Flight, fetch: Callable[[], Any], lives: float, oldest: float) -> Any:
        try:
            value = fetch()
        except Exception as error:
            self._crashed(key, flight, error)
            if flight.stale is None:
                raise
            return self._landed(flight, oldest)
        except BaseException:
            self._give_up(key, flight)
            raise
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that nobody awaited it
            self._give_up(key, flight)
            raise TypeError(f"fetch of {key!r} returned a coroutine; use await get_or_fetch_async(...)")
        return self._arrived(key, flight, value, lives)

    async def _lead_async(
        self,
        key: K,
        flight: _Flight,
        fetch: Callable[[], Any],
        lives: float,
        oldest: float,
        limit: float | None,
        spent: float,
    ) -> Any:
        import asyncio

        scope = asyncio.timeout(None if limit is None else max(limit - spent, 0.0))
        try:
            async with scope:
                coming = fetch()
                if not inspect.isawaitable(coming):
                    self._give_up(key, flight)
                    raise TypeError(f"fetch of {key!r} is no async function; use get_or_fetch(...), or asyncio.to_thread in it")
                value = await coming
        except Exception as error:
            if flight.abandoned:
                raise
            if scope.expired() and isinstance(error, TimeoutError):
                self._give_up(key, flight)
                return self._given_up(key, limit, oldest)
            self._crashed(key, flight, error)
            if flight.stale is None:
                raise
            return self._landed(flight, oldest)
        except BaseException:
            self._give_up(key, flight)
            raise
        return self._arrived(key, flight, value, lives)

    def _arrived(self, key: K, flight: _Flight, value: Any, lives: float) -> Any:
        with self._lock:
            if self._flights.get(key) is flight:  # nothing newer was set meanwhile
                del self._flights[key]
                now = self._now()
                self._put(key, _Entry(value, now, now + lives))
        flight.value = value
        flight.end()
        return value

    def _crashed(self, key: K, flight: _Flight, error: Exception) -> None:
        """End a fetch that raised, with the error and the value that serves in place of it, if there is one."""
        with self._lock:
            self._failures += 1
            now = self._now()
            is_current = self._flights.get(key) is flight
            if is_current:
                del self._flights[key]
            entry = self._entries.get(key)
            if entry is not None and self._serves(entry, now, math.inf):
                flight.stale = entry
            if is_current and self._negative is not None:
                if flight.stale is not None:
                    flight.stale.quiet_until = now + self._negative
                else:
                    self._put(key, _Entry(None, now, now + self._negative, error))
        flight.error, flight.trace = error, error.__traceback__
        flight.end()

    def _give_up(self, key: K, flight: _Flight) -> None:
        """End a fetch whose caller was interrupted or cancelled: somebody else may try."""
        with self._lock:
            self._failures += 1
            if self._flights.get(key) is flight:
                del self._flights[key]
        flight.abandoned = True
        flight.end()

    async def _join(self, flight: _Flight, limit: float | None) -> bool:
        """Wait in this event loop for the end of a flight, wherever its leader runs; return whether it came in time."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        flight.tasks.append((loop, future))
        if flight.done.is_set():
            return True  # it ended while this was written down
        await asyncio.wait((future,), timeout=limit)
        return future.done()

    def _given_up(self, key: K, limit: float | None, oldest: float) -> Any:
        """Answer one who has waited long enough: with a value out of date where that may serve."""
        with self._lock:
            self._timeouts += 1
            entry = self._entries.get(key)
            if entry is not None and self._serves(entry, self._now(), oldest):
                self._served_stale += 1
                return entry.value
        raise WaitTimeout(f"no answer for {key!r} within {limit:g} s; ask again, or allow a longer timeout")

    def _landed(self, flight: _Flight, oldest: float) -> Any:
        """Return or raise what a flight brought."""
        if flight.error is None:
            return flight.value
        entry = flight.stale
        if entry is not None:
            with self._lock:
                if self._now() - entry.stored < oldest:
                    self._served_stale += 1
                    return entry.value
        # Each who raises it would add its own frames to the same object for ever.
        raise flight.error.with_traceback(flight.trace)

    # --- keeping; callers hold the lock -----------------------------------------------------------

    def _now(self) -> float:
        now = self._clock() + self._behind
        if now < self._last:
            self._behind += self._last - now
            return self._last
        self._last = now
        return now

    @staticmethod
    def _answers(entry: _Entry, now: float, oldest: float) -> bool:
        # An age counts as reached at its end, as a time to live does.
        return now < entry.expires and (entry.error is not None or now - entry.stored < oldest)

    def _serves(self, entry: _Entry, now: float, oldest: float) -> bool:
        return (
            self._stale is not None and entry.error is None and now < entry.expires + self._stale and now - entry.stored < oldest
        )

    def _put(self, key: K, entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self.max_size:
            self._entries.popitem(last=False)
            self._evictions += 1

    def _lives(self, ttl_seconds: float | None) -> float:
        # Called without the lock.
        lives = self.ttl_seconds if ttl_seconds is None else above("ttl_seconds", ttl_seconds, endless=True)
        return lives * (1.0 - self._jitter * self._random.random()) if self._jitter else lives


_NO_FLIGHT = _Flight(0, None)
"""Stands where an entry answers and nobody flies; it is never ended."""


def _answer(entry: _Entry) -> Any:
    if entry.error is not None:
        raise entry.error.with_traceback(None)
    return entry.value


def _age(max_age_seconds: float | None) -> float:
    return math.inf if max_age_seconds is None else above("max_age_seconds", max_age_seconds)


def _would_wait_for_ever(key: object, itself: bool) -> str:
    if itself:
        return f"the fetch of {key!r} asks for {key!r} itself; it would wait for ever"
    return f"a task of this thread is fetching {key!r}; waiting here would stop it for ever: use await get_or_fetch_async(...)"
