"""Rehearse a bad day: spoil the calls of any connector, by a seeded script.

The layer stands innermost, where a network would be, so that every other layer sees what it would see of a broker that
stumbles. What happens to an order is told as a real failure would be: whether it arrived is not known.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Call, Handler, Middleware, Operation, PlanView, Problem
from herald.errors import AmbiguousError, NotConnected, RejectedError, TransientError
from herald.model import FaultInjected

__all__ = ["SCRIPTS", "Fault", "FaultsLayer", "FaultsSettings", "herald_middleware", "herald_validate"]

_OPERATIONS = tuple(one.method for one in Operation)
_POLL = Operation.POLL


class Fault(Settings):
    """One fault of a script.

    It is on for `lasts_seconds` after `after_seconds`, and again at random intervals of `every_seconds` on average; while
    it is on it hits calls of `operations` with `chance`.
    """

    kind: Literal[
        "latency", "slow_drip", "black_hole", "lost_reply", "reset", "down", "garbage", "duplicate", "reorder", "reject"
    ]
    """What happens: see the table in the documentation."""
    operations: tuple[str, ...] = ()
    """Methods of the connector that it hits, such as ``quote`` or ``submit``; all where none is named."""
    after_seconds: float = Field(default=0.0, ge=0)
    """When it begins, counted from the first call."""
    lasts_seconds: float | None = Field(default=None, gt=0)
    """How long it is on; for ever where it is not set."""
    every_seconds: float | None = Field(default=None, gt=0)
    """Mean time from one beginning to the next (drawn from an exponential distribution); once where it is not set."""
    chance: float = Field(default=1.0, gt=0, le=1)
    """Share of the calls that are hit while it is on."""
    calls: int | None = Field(default=None, ge=1)
    """Most calls that are hit in all; no bound where it is not set."""
    seconds: float = Field(default=0.0, ge=0)
    """Wait: of latency and slow_drip for each call, of black_hole and lost_reply before the caller gives up."""
    jitter_seconds: float = Field(default=0.0, ge=0)
    """Added to `seconds`, drawn evenly from zero to this."""

    @field_validator("operations")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in _OPERATIONS:
                raise ValueError(f"unknown operation {name!r}; there are {', '.join(_OPERATIONS)}")
        return names

    @model_validator(mode="after")
    def _repeats(self) -> Self:
        if self.every_seconds is not None and self.lasts_seconds is None:
            raise ValueError("every_seconds needs lasts_seconds: a fault that never ends cannot begin again; state both")
        return self


SCRIPTS: Mapping[str, tuple[Fault, ...]] = MappingProxyType(
    {
        "transient": (
            Fault(kind="reset", chance=0.02, operations=("quote", "bars", "account", "positions", "poll")),
            Fault(kind="latency", chance=0.05, seconds=0.2, jitter_seconds=0.8),
            Fault(kind="lost_reply", chance=0.01, operations=("submit", "modify", "cancel"), seconds=1.0),
        ),
        "session_drops": (
            Fault(kind="down", every_seconds=600.0, after_seconds=20.0, lasts_seconds=15.0),
            Fault(kind="black_hole", every_seconds=1_800.0, after_seconds=120.0, lasts_seconds=10.0, seconds=2.0),
            Fault(kind="lost_reply", chance=0.02, operations=("submit",), seconds=2.0),
        ),
        "outages": (
            Fault(kind="down", every_seconds=7_200.0, after_seconds=60.0, lasts_seconds=300.0),
            Fault(kind="latency", every_seconds=3_600.0, after_seconds=600.0, lasts_seconds=120.0, seconds=1.0),
        ),
        "noisy": (
            Fault(kind="duplicate", chance=0.2, operations=("poll", "fills")),
            Fault(kind="reorder", chance=0.2, operations=("poll", "fills")),
            Fault(kind="garbage", chance=0.01),
            Fault(kind="slow_drip", chance=0.02, seconds=0.5),
        ),
    }
)
"""The shipped scripts by name."""


class FaultsSettings(Settings):
    """Settings of `FaultsLayer`."""

    script: str | None = None
    """A shipped script: transient, session_drops, outages or noisy."""
    faults: tuple[Fault, ...] = ()
    """Faults of your own, after those of the script; the first that hits a call has it."""
    seed: int | None = None
    """Of the draws; the run's own where it is not set."""

    @field_validator("script")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in SCRIPTS:
            raise ValueError(f"unknown script {name!r}; there are {', '.join(SCRIPTS)}")
        return name

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.script is None and not self.faults:
            raise ValueError('it has nothing to do; write script = "session_drops", or a list of faults')
        return self


class _Schedule:
    """When one fault is on, and which calls it hits."""

    def __init__(self, fault: Fault, draw: random.Random) -> None:
        self.fault = fault
        self._draw = draw
        self._begins = fault.after_seconds
        self._left = fault.calls
        self._operations = frozenset(fault.operations or _OPERATIONS)

    def hits(self, call: Call, elapsed: float) -> bool:
        """Return whether the fault hits *call*, *elapsed* seconds after the first call of all."""
        fault = self.fault
        lasts, every = fault.lasts_seconds, fault.every_seconds
        while lasts is not None and every is not None and elapsed >= self._begins + lasts:
            self._begins += max(self._draw.expovariate(1.0 / every), lasts)
        if elapsed < self._begins or (lasts is not None and elapsed >= self._begins + lasts):
            return False
        if call.operation.method not in self._operations or self._left == 0:
            return False
        if fault.chance < 1.0 and self._draw.random() >= fault.chance:
            return False
        self._left = None if self._left is None else self._left - 1
        return True

    def wait(self) -> float:
        """Return how long this hit waits, seconds."""
        fault = self.fault
        return fault.seconds + (self._draw.uniform(0.0, fault.jitter_seconds) if fault.jitter_seconds else 0.0)

    def shuffled(self, events: list[Any]) -> list[Any]:
        """Return *events* in another order."""
        return self._draw.sample(events, len(events))


class FaultsLayer:
    """Spoils the calls that its script says."""

    def __init__(self, settings: FaultsSettings, services: Services) -> None:
        """Draw from the run's own numbers, unless a seed is stated."""
        self._services = services
        self._start: float | None = None
        self._unread: tuple[Any, ...] = ()
        source = services.random if settings.seed is None else random.Random(settings.seed)
        faults = (SCRIPTS[settings.script] if settings.script is not None else ()) + settings.faults
        self._schedules = tuple(_Schedule(fault, random.Random(source.getrandbits(64))) for fault in faults)

    def __call__(self, call: Call, proceed: Handler) -> object:
        """Go on, or let the first fault that hits have the call."""
        now = self._services.clock.monotonic()
        if self._start is None:
            self._start = now
        if self._unread and call.operation is _POLL:
            proceed = self._with_unread(proceed)
        for schedule in self._schedules:
            if schedule.hits(call, now - self._start):
                return self._spoil(schedule, call, proceed)
        return proceed(call)

    def _with_unread(self, proceed: Handler) -> Handler:
        """Return *proceed* with the news of polls whose answer got lost before its own: no connector lets go of news unread."""

        def go_on(call: Call) -> object:
            answer = proceed(call)
            before, self._unread = self._unread, ()
            return (*before, *answer) if isinstance(answer, tuple | list) else answer

        return go_on

    def _spoil(self, schedule: _Schedule, call: Call, proceed: Handler) -> object:
        kind, operation = schedule.fault.kind, call.operation
        clock = self._services.clock
        self._services.emit(FaultInjected(clock.now(), self._services.name, kind, operation.method))
        match kind:
            case "latency":
                clock.sleep(schedule.wait())
                return proceed(call)
            case "slow_drip":
                answer = proceed(call)
                clock.sleep(schedule.wait())
                return answer
            case "duplicate" | "reorder":
                return self._rearranged(kind, proceed(call), schedule)
            case "down":
                raise NotConnected(f"rehearsal: the broker is down, {operation.method} was not sent")
            case "reject":
                raise RejectedError("rehearsal", f"rehearsal: the broker refuses {operation.method}")
            case "lost_reply" | "garbage":
                answer = proceed(call)
                if operation is _POLL and isinstance(answer, tuple | list):
                    self._unread = tuple(answer)
        if kind in ("black_hole", "lost_reply"):
            clock.sleep(schedule.wait())
        text = {"garbage": "the answer cannot be read", "reset": "the connection was reset"}.get(kind, "no answer came")
        failure = TransientError if operation.repeatable else AmbiguousError
        raise failure(f"rehearsal: {text} to {operation.method}")

    def _rearranged(self, kind: str, answer: object, schedule: _Schedule) -> object:
        """Return a list of events twice over or in another order; any other answer as it is."""
        if not isinstance(answer, tuple | list):
            return answer
        events: list[Any] = list(answer)
        if kind == "duplicate":
            return tuple(events + events)
        return tuple(schedule.shuffled(events))


@hookimpl
def herald_middleware() -> Iterable[Component[Middleware]]:
    """Offer the layer."""
    yield component("faults", FaultsSettings, FaultsLayer, "Spoil calls by a script, to rehearse a bad day.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Refuse a rehearsal with real money, and one that other layers cannot see."""
    for connector in plan.chosen("connector"):
        layers = plan.layers(connector.name.partition(".")[2])
        for position, layer in enumerate(layers):
            if layer.use != "faults":
                continue
            if plan.mode == "live":
                yield Problem(layer.name, "faults are not injected into a live run", "remove it, or use paper mode")
            if position != len(layers) - 1:
                inner = layers[-1].use
                what = f"stands outside {inner}, which never sees its faults (faults-outside)"
                yield Problem(layer.name, what, "list it last")
