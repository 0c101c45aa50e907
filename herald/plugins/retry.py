"""Repeat what failed for a moment and may be repeated; see `herald.utils.retry`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Self

from pydantic import Field, model_validator

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Call, Handler, Middleware, Operation, PlanView, Problem
from herald.errors import NotSent, TransientError
from herald.model import CallRepeated
from herald.utils.retry import Retrier, RetryBudget, RetryPolicy

__all__ = ["RetryLayer", "RetrySettings", "herald_middleware", "herald_validate"]


class RetrySettings(Settings):
    """Settings of `RetryLayer`."""

    max_retries: int = Field(default=5, ge=0)
    """Repetitions after the first try."""
    initial_delay: float = Field(default=1.0, gt=0)
    """Bound of the first wait, seconds; a random share of it is waited ("full jitter")."""
    factor: float = Field(default=2.0, ge=1)
    """Growth of the bound from one wait to the next."""
    max_delay: float = Field(default=60.0, gt=0)
    """Largest bound, seconds."""
    deadline_seconds: float | None = Field(default=None, gt=0)
    """Most seconds for all tries of one call together; no bound where it is not set."""
    budget: float = Field(default=100.0, gt=0)
    """Tokens that repetitions of all calls share: each takes 5, each first success gives 1 back."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_delay < self.initial_delay:
            raise ValueError(
                f"max_delay ({self.max_delay:g}) is below initial_delay ({self.initial_delay:g}); change one of them"
            )
        return self


class RetryLayer:
    """Repeats a call whose failure had no effect.

    `TransientError` is repeated where the operation may be repeated; `NotSent` always, for it proves that nothing left.
    An order whose fate is not known is never repeated, and neither is a refusal.
    """

    def __init__(self, settings: RetrySettings, services: Services) -> None:
        """Make the policy of one connector."""
        policy = RetryPolicy(
            max_retries=settings.max_retries,
            initial_delay=settings.initial_delay,
            factor=settings.factor,
            max_delay=settings.max_delay,
            deadline=settings.deadline_seconds,
        )
        self._services = services
        self._repeated = services.metrics.counter("retries_total", "Repeated calls.", {"component": services.name})
        self.budget = RetryBudget(settings.budget)
        # One for each operation, so that a repetition can say what is repeated; the budget is everybody's.
        self._retriers = {
            operation: Retrier(
                policy,
                retry_on=TransientError if operation.repeatable else NotSent,
                budget=self.budget,
                on_retry=partial(self._told, operation.method),
                clock=services.clock.monotonic,
                sleep=services.clock.sleep,
                random=services.random,
            )
            for operation in Operation
        }

    def __call__(self, call: Call, proceed: Handler) -> object:
        """Make the call, again where that is safe."""
        return self._retriers[call.operation].call(proceed, call)

    def _told(self, method: str, attempt: int, error: BaseException, delay: float) -> None:
        self._repeated.add()
        text = " ".join(f"{type(error).__name__}: {error}".split())
        services = self._services
        services.emit(CallRepeated(services.clock.now(), services.name, method, attempt, delay, text))


@hookimpl
def herald_middleware() -> Iterable[Component[Middleware]]:
    """Offer the layer."""
    yield component("retry", RetrySettings, RetryLayer, "Repeat what failed for a moment and may be repeated.")


_WHY = {
    "circuit_breaker": (
        "retry-inside-breaker",
        "the breaker sees one failure where the broker was called several times, and opens late",
    ),
    "rate_limiter": (
        "retry-inside-limiter",
        "the limiter counts one call where the broker gets several, and its limit is broken",
    ),
}


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Refuse an order of layers in which repetitions pass the breaker or the limiter unseen."""
    for connector in plan.chosen("connector"):
        table = connector.name.partition(".")[2]
        layers = plan.layers(table)
        uses = [layer.use for layer in layers]
        for place, layer in enumerate(layers):
            if layer.use != "retry":
                continue
            for outer, (name, why) in _WHY.items():
                if outer in uses[:place]:
                    what = f"stands inside {outer}: {why} ({name})"
                    yield Problem(layer.name, what, f"list retry before {outer}")
            if uses.count("retry") > 1 and place != uses.index("retry"):
                what = "is listed twice: the repetitions multiply (retry-twice)"
                yield Problem(layer.name, what, "keep one")
