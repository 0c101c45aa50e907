"""Measure every call of a connector: how many, how they end, how long they take."""

from __future__ import annotations

from herald.components import Services, Settings
from herald.contracts import Call, Counter, Handler, Histogram
from herald.errors import (
    AmbiguousError,
    CircuitOpenError,
    HeraldError,
    NotConnected,
    NotSent,
    NotSupported,
    PermitError,
    RateLimitedError,
    RejectedError,
    TransientError,
)

__all__ = ["MetricsLayer", "MetricsLayerSettings"]

_OUTCOMES = {
    NotSent: "not_sent",
    TransientError: "transient",
    AmbiguousError: "ambiguous",
    RejectedError: "rejected",
    NotConnected: "not_connected",
    CircuitOpenError: "circuit_open",
    RateLimitedError: "rate_limited",
    PermitError: "denied",
    NotSupported: "not_supported",
    HeraldError: "error",
}
"""How a call ended, by the class of its error; a class stands before those that it derives from."""


class MetricsLayerSettings(Settings):
    """The layer has no settings."""


class MetricsLayer:
    """Counts the calls that pass it, by operation and outcome, and how long they took.

    Outside the other layers it shows what the engine sees: waits, repetitions and answers from a cache included. Inside
    ``retry`` it would count every attempt.
    """

    def __init__(self, settings: MetricsLayerSettings, services: Services) -> None:
        """Make the handles of one connector."""
        self._connector = services.name.split(".")[1] if "." in services.name else services.name
        self._metrics = services.metrics
        self._monotonic = services.clock.monotonic
        # Made when they are first needed: a connector is seldom asked everything that can be asked.
        self._handles: dict[tuple[str, type[BaseException] | None], tuple[Counter, Histogram]] = {}

    def __call__(self, call: Call, proceed: Handler) -> object:
        """Pass the call, and take note of how it ends."""
        began = self._monotonic()
        kind: type[BaseException] | None = None
        try:
            return proceed(call)
        except BaseException as error:
            kind = type(error)
            raise
        finally:
            seconds = self._monotonic() - began
            known = self._handles.get((call.operation.method, kind))
            calls, times = known or self._made(call.operation.method, kind)
            calls.add()
            times.observe(seconds)

    def _made(self, operation: str, kind: type[BaseException] | None) -> tuple[Counter, Histogram]:
        labels = {"connector": self._connector, "operation": operation}
        outcome = "ok" if kind is None else next((name for one, name in _OUTCOMES.items() if issubclass(kind, one)), "error")
        handles = self._handles[operation, kind] = (
            self._metrics.counter(
                "connector_calls_total", "Calls of a connector, by how they ended.", {**labels, "outcome": outcome}
            ),
            self._metrics.histogram(
                "connector_call_seconds", "Time of a call, with everything that its layers did about it.", labels
            ),
        )
        return handles
