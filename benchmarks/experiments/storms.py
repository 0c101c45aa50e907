"""What reaches a broker that is down: the storm of many clients, and a caller through an outage; in virtual time."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from experiments import rivals
from experiments.rivals import LIBRARIES, Failed
from herald.utils import Retrier, RetryBudget, RetryPolicy


class Virtual:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


Guard = Callable[[Callable[[], Any], Virtual, Random], Any]
"""Calls a function in virtual time, again as it sees fit."""


def herald_guard(jitter: Any, tries: int, **policy: Any) -> Guard:
    def guard(fn: Callable[[], Any], time_: Virtual, random: Random) -> Any:
        made = RetryPolicy(max_retries=tries - 1, jitter=jitter, **policy)
        return Retrier(made, retry_on=Failed, clock=time_.monotonic, sleep=time_.sleep, random=random).call(fn)

    return guard


def storm_guards(tries: int = 5) -> dict[str, Guard]:
    guards = {
        "herald, no jitter": herald_guard(False, tries),
        "herald, equal jitter": herald_guard("equal", tries),
        "herald, full jitter": herald_guard("full", tries),
    }
    if LIBRARIES["tenacity"]:
        for label, jitter in (("no jitter", "none"), ("jitter added", "added"), ("full jitter", "full")):
            guards[f"tenacity, {label}"] = lambda fn, time_, _, jitter=jitter: rivals.tenacity_retry(tries, jitter, time_.sleep)(
                fn
            )()
    if LIBRARIES["stamina"]:

        def stamina(fn: Callable[[], Any], time_: Virtual, _: Random) -> Any:
            with rivals.sleeping(time_.sleep):
                return rivals.stamina_retry(tries)(fn)()

        guards["stamina, jitter added"] = stamina
    return guards


def storm(guard: Guard, seed: int = 0, clients: int = 200) -> int:
    """Return the most calls in any 100 ms after *clients* have failed at the same moment and try again."""
    times: list[float] = []
    for client in range(clients):
        own, clock = [], Virtual()

        def call(own: list[float] = own, clock: Virtual = clock) -> None:
            own.append(clock.now)
            raise Failed

        with contextlib.suppress(Failed):
            guard(call, clock, Random(f"{seed}:{client}"))
        assert len(own) == 5, len(own)
        times += own[1:]  # the first is the failure that all have in common
    return peak(sorted(times), 0.1)


def peak(times: Sequence[float], window: float) -> int:
    """Return the most *times* in any half-open span of *window* seconds."""
    first = most = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - window:
            first += 1
        most = max(most, last - first + 1)
    return most


def outage_guards() -> dict[str, Callable[[], Guard]]:
    def budget() -> Guard:
        shared = RetryBudget()

        def guard(fn: Callable[[], Any], time_: Virtual, random: Random) -> Any:
            policy = RetryPolicy()
            return Retrier(policy, retry_on=Failed, budget=shared, clock=time_.monotonic, sleep=time_.sleep, random=random).call(
                fn
            )

        return guard

    made: dict[str, Callable[[], Guard]] = {
        "herald, with its budget": budget,
        "herald, without a budget": lambda: herald_guard("full", 6),
    }
    rest = storm_guards(6)
    for name in ("tenacity, full jitter", "stamina, jitter added"):
        if name in rest:
            made[name] = functools.partial(rest.__getitem__, name)
    return made


def outage(make: Callable[[], Guard], seconds: float = 600.0) -> float:
    """Return calls that reach a broker that is down per call of the user, who calls ten times a second.

    Each of ten callers makes a call a second, or later where its last one took longer.
    """
    guard = make()
    asked = reached = 0
    callers = [(Virtual(), Random(number)) for number in range(10)]
    for number, (clock, _) in enumerate(callers):
        clock.now = number / 10

    def call() -> None:
        nonlocal reached
        reached += 1
        raise Failed

    # Whoever is earliest goes next; a call that sleeps is made whole, which is as good, since the broker stays down.
    while (turn := min(callers, key=lambda one: one[0].now))[0].now < seconds:
        clock, random = turn
        begun = clock.now
        asked += 1
        with contextlib.suppress(Failed):
            guard(call, clock, random)
        clock.now = max(clock.now, begun + 1.0)
    return reached / asked
