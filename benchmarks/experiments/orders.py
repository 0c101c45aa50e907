"""What reaches a dead broker under every order of the layers."""

from __future__ import annotations

import contextlib
import functools
import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments import rivals
from experiments.cases import layers
from experiments.rivals import LIBRARIES, Failed
from experiments.storms import Virtual
from herald.clock import SimClock
from herald.contracts import Call, Operation
from herald.errors import ConfigError, ConnectorError, TransientError
from herald.host.plan import load_plan
from herald.live.chain import compose

ORDERS = tuple(itertools.permutations(("retry", "circuit_breaker", "rate_limiter")))


def dead_broker(order: Sequence[str], calls: int = 10) -> tuple[int, int]:
    """Return how many of *calls*, one a second, reach a dead broker through Herald's layers, and how many were not counted."""
    clock = SimClock()
    made = layers(order, clock)
    limiter: Any = made[order.index("rate_limiter")]
    return _reached(
        lambda broker: functools.partial(compose(made, broker), Call(Operation.QUOTE, ("EURUSD",))),
        lambda: limiter.limiter.statistics().allowed,
        lambda: clock.sleep(1.0),
        calls,
        ConnectorError,
        TransientError("no route"),
    )


def dead_broker_rivals(order: Sequence[str], calls: int = 10) -> tuple[int, int]:
    """Return the same for tenacity, pybreaker and limits."""
    import limits

    clock = Virtual()
    counted = 0

    class Limited(Exception):
        pass

    def compose_rivals(broker: Callable[[Any], Any]) -> Callable[[], Any]:
        module: Any = LIBRARIES["pybreaker"]
        breaker = module.CircuitBreaker()
        tenacity: Any = LIBRARIES["tenacity"]
        repeat = tenacity.retry(
            stop=tenacity.stop_after_attempt(6),
            wait=tenacity.wait_random_exponential(multiplier=1, max=60),
            retry=tenacity.retry_if_exception_type(Failed),
            reraise=True,
            sleep=clock.sleep,
        )
        limiter, item = (
            limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage()),
            limits.RateLimitItemPerMinute(600),
        )

        def limit(fn: Callable[[], Any]) -> Callable[[], Any]:
            def guarded() -> Any:
                nonlocal counted
                if not limiter.hit(item):
                    raise Limited
                counted += 1
                return fn()

            return guarded

        wrap: dict[str, Callable[[Any], Any]] = {
            "retry": repeat,
            "circuit_breaker": lambda fn: functools.partial(breaker.call, fn),
            "rate_limiter": limit,
        }
        fn: Callable[[], Any] = functools.partial(broker, None)
        for name in reversed(order):
            fn = wrap[name](fn)
        return fn

    with rivals.wall_clock(lambda: 1.7e9 + clock.now):
        return _reached(compose_rivals, lambda: counted, lambda: clock.sleep(1.0), calls, Exception, Failed())


def _reached(
    chain: Callable[[Callable[[Any], Any]], Callable[[], Any]],
    counted: Callable[[], int],
    second: Callable[[], None],
    calls: int,
    expected: type[Exception],
    error: Exception,
) -> tuple[int, int]:
    reached = uncounted = before = 0

    def broker(_: Any) -> None:
        nonlocal reached, uncounted, before
        reached += 1
        now = counted()
        uncounted += now == before
        before = now
        raise error.with_traceback(None)

    guarded = chain(broker)
    for _ in range(calls):
        with contextlib.suppress(expected):
            guarded()
        second()
    return reached, uncounted


def verdict(order: Sequence[str]) -> str:
    """Return what ``herald check`` says of a config with this order."""
    listed = ", ".join(f'{{ use = "{name}" }}' for name in order)
    text = (
        f'[connectors.main]\nuse = "synthetic"\nprices = {{ EURUSD = 1.1 }}\nmiddleware = [{listed}]\n'
        '[strategies.trend]\nuse = "strategies.sma_cross"\nsymbols = ["EURUSD"]\ntimeframe = "1h"\n'
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "order.toml"
        file.write_text(text, encoding="utf-8")
        try:
            load_plan(file)
        except ConfigError as error:
            return "refused: " + ", ".join(one.what.rpartition("(")[2].rstrip(")") for one in error.problems)
    return "accepted"
