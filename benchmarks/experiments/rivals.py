"""The libraries beside which `resilience.py` measures Herald, each behind the form that its own documentation shows.

Nothing is made better or worse here: one short class or function a library, so that one experiment can ask all of them.
What is not installed is None in `LIBRARIES`, and every table leaves it out.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import importlib
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version
from types import ModuleType
from typing import Any

import herald.utils

NAMES = ("tenacity", "stamina", "pybreaker", "circuitbreaker", "purgatory", "cachetools", "limits")


def load(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


LIBRARIES = {name: load(name) for name in NAMES}


def missing() -> list[str]:
    return [name for name, module in LIBRARIES.items() if module is None]


def versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name, module in LIBRARIES.items() if module is not None)


# --- the wall clock -------------------------------------------------------------------------------

_ROOTS = (*NAMES, "herald")


@contextlib.contextmanager
def wall_clock(tell: Callable[[], float]) -> Iterator[None]:
    """Let *tell* say the wall time to everybody who reads it; the monotonic clock runs on, as when a clock is set.

    ``time.time`` is replaced in the module ``time`` and wherever a library took it by name, ``datetime.now`` likewise.
    """

    class Moved(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.datetime.fromtimestamp(tell(), tz)

    fakes: dict[int, Any] = {id(time.time): tell, id(time.time_ns): lambda: int(tell() * 1e9), id(datetime.datetime): Moved}
    undo: list[tuple[Any, str, Any]] = []
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in _ROOTS]
    for module in [time, *modules]:
        for name, value in list(vars(module).items()):
            if id(value) in fakes:
                undo.append((module, name, value))
    try:
        for module, name, value in undo:
            setattr(module, name, fakes[id(value)])
        yield
    finally:
        for module, name, value in undo:
            setattr(module, name, value)


def stepped(seconds: float) -> contextlib.AbstractContextManager[None]:
    """Set the wall clock by *seconds*."""
    real = time.time
    return wall_clock(lambda: real() + seconds)


# --- circuit breakers -----------------------------------------------------------------------------


class Failed(Exception):
    """Says that the other side is down."""


class Ignored(Exception):
    """Says nothing about the other side."""


class Breaker:
    """A breaker in one of two modes; in ``async`` a plain call is made in an event loop of the calling thread."""

    has_async = True
    refusals: tuple[type[BaseException], ...] = ()

    def __init__(self, threshold: int, timeout: float, mode: str = "sync") -> None:
        self.mode = mode
        self._runners = threading.local()

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        raise NotImplementedError

    def plain(self, fn: Callable[[], Any]) -> Any:
        raise NotImplementedError

    async def awaited(self, fn: Callable[[], Awaitable[Any]]) -> Any:
        raise NotImplementedError

    def call(self, fn: Callable[[], Any]) -> Any:
        if self.mode == "sync":
            return self.plain(fn)

        async def made() -> Any:
            return fn()

        with asyncio.Runner() as runner:
            return runner.run(self.awaited(made))


class Herald(Breaker):
    make: Callable[..., Any] = herald.utils.CircuitBreaker

    def __init__(self, threshold: int, timeout: float, mode: str = "sync") -> None:
        from herald.errors import CircuitOpenError

        super().__init__(threshold, timeout, mode)
        self.refusals = (CircuitOpenError,)
        # A trial may hang for as long as an experiment wants it to.
        self.breaker = type(self).make(threshold, timeout, ignore=Ignored, half_open_timeout=60)
        self.plain = self.breaker.call  # type: ignore[method-assign]
        self.awaited = self.breaker.call_async  # type: ignore[method-assign]

    @property
    def state(self) -> str:
        return str(self.breaker.state).lower().replace("_", "-")


class Pybreaker(Breaker):
    has_async = False  # it knows tornado's coroutines only

    def __init__(self, threshold: int, timeout: float, mode: str = "sync") -> None:
        super().__init__(threshold, timeout, mode)
        module: Any = LIBRARIES["pybreaker"]
        self.refusals = (module.CircuitBreakerError,)
        self.breaker = module.CircuitBreaker(fail_max=threshold, reset_timeout=timeout, exclude=[Ignored])
        self.plain = self.breaker.call  # type: ignore[method-assign]

    @property
    def state(self) -> str:
        return str(self.breaker.current_state)


class Circuitbreaker(Breaker):
    """By its decorator: its method ``call`` does not look whether the circuit is open."""

    def __init__(self, threshold: int, timeout: float, mode: str = "sync") -> None:
        super().__init__(threshold, timeout, mode)
        module: Any = LIBRARIES["circuitbreaker"]
        self.refusals = (module.CircuitBreakerError,)
        self.breaker = module.CircuitBreaker(threshold, timeout, expected_exception=_is_failure, name=f"bench-{id(self)}")

    @property
    def state(self) -> str:
        return str(self.breaker.state).replace("_", "-")

    def guarded(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = self.breaker(fn)
        return made

    def plain(self, fn: Callable[[], Any]) -> Any:
        return self.guarded(fn)()

    async def awaited(self, fn: Callable[[], Awaitable[Any]]) -> Any:
        async def made() -> Any:
            return await fn()

        return await self.guarded(made)()


def _is_failure(kind: type[BaseException], _: BaseException) -> bool:
    return issubclass(kind, Exception) and not issubclass(kind, Ignored)


class Purgatory(Breaker):
    def __init__(self, threshold: int, timeout: float, mode: str = "sync") -> None:
        super().__init__(threshold, timeout, mode)
        from purgatory.domain.model import OpenedState

        module: Any = LIBRARIES["purgatory"]
        self.refusals = (OpenedState,)
        kind = module.SyncCircuitBreakerFactory if mode == "sync" else module.AsyncCircuitBreakerFactory
        self.factory = kind(default_threshold=threshold, default_ttl=timeout, exclude=[Ignored])
        self._context: Any = None

    @property
    def state(self) -> str:
        return {"opened": "open", "half-opened": "half-open"}.get(self._context.state, str(self._context.state))

    def guarded(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = self.factory("bench")(fn)
        return made

    def plain(self, fn: Callable[[], Any]) -> Any:
        breaker = self.factory.get_breaker("bench")
        self._context = breaker.context
        with breaker:
            return fn()

    async def awaited(self, fn: Callable[[], Awaitable[Any]]) -> Any:
        breaker = await self.factory.get_breaker("bench")
        self._context = breaker.context
        async with breaker:
            return await fn()


def breakers() -> dict[str, type[Breaker]]:
    kinds = {"herald": Herald, "pybreaker": Pybreaker, "circuitbreaker": Circuitbreaker, "purgatory": Purgatory}
    return {name: kind for name, kind in kinds.items() if name == "herald" or LIBRARIES[name] is not None}


# --- caches -----------------------------------------------------------------------------------------


def cachetools_caches(fetch: Callable[[str], Any], ttl: float = 1e6) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name, the cache and the guarded *fetch* of both forms of cachetools that are safe among threads."""
    if not LIBRARIES["cachetools"]:
        return
    import cachetools

    for word, safe in (("lock", threading.Lock()), ("condition", threading.Condition())):
        cache: Any = cachetools.TTLCache(1024, ttl)
        yield f"cachetools {word}=", cache, cachetools.cached(cache, **{word: safe})(fetch)


# --- retry ----------------------------------------------------------------------------------------


def tenacity_retry(tries: int, jitter: str | None, sleep: Callable[[float], Any] | None = None, initial: float = 1.0) -> Any:
    """Return tenacity's decorator with the delays of *jitter*: ``none``, ``full``, or ``added`` to a growing delay."""
    module: Any = LIBRARIES["tenacity"]
    wait = {
        "none": module.wait_exponential(multiplier=initial, max=60),
        "full": module.wait_random_exponential(multiplier=initial, max=60),
        "added": module.wait_exponential_jitter(initial=initial, max=60, jitter=1),
    }[jitter or "none"]
    options = {} if sleep is None else {"sleep": sleep}
    return module.retry(
        stop=module.stop_after_attempt(tries), wait=wait, retry=module.retry_if_exception_type(Exception), reraise=True, **options
    )


def stamina_retry(tries: int, initial: float = 1.0) -> Any:
    """Return stamina's decorator, with its own jitter of up to a second and without its time-out."""
    module: Any = LIBRARIES["stamina"]
    module.instrumentation.set_on_retry_hooks([])  # or each repetition is logged
    return module.retry(on=Exception, attempts=tries, timeout=None, wait_initial=initial, wait_max=60.0)


@contextlib.contextmanager
def sleeping(sleep: Callable[[float], Any]) -> Iterator[None]:
    """Let *sleep* stand for ``time.sleep``; stamina takes none of its own."""
    real = time.sleep
    time.sleep = sleep
    try:
        yield
    finally:
        time.sleep = real
