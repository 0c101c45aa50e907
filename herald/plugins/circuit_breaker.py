"""Stop calling a connector that keeps failing; see `herald.utils.circuit_breaker`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pydantic import Field

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Call, Handler, Middleware, Operation
from herald.errors import AmbiguousError, CircuitOpenError, NotConnected, NotSupported, TransientError
from herald.model import CircuitChanged
from herald.utils.circuit_breaker import CircuitBreaker, CircuitState

__all__ = ["CircuitBreakerLayer", "CircuitBreakerSettings", "herald_middleware"]

# A member of an enum is looked up by a Python call before 3.12; every call to a broker would pay it.
_CONNECT = Operation.CONNECT

_LEVELS: Mapping[CircuitState, float] = MappingProxyType(
    {CircuitState.CLOSED: 0.0, CircuitState.HALF_OPEN: 0.5, CircuitState.OPEN: 1.0}
)


class CircuitBreakerSettings(Settings):
    """Settings of `CircuitBreakerLayer`."""

    failure_threshold: int = Field(default=5, ge=1)
    """Failures in a row that open the circuit."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds it stays open before one trial call is let through."""
    success_threshold: int = Field(default=1, ge=1)
    """Successful trial calls in a row that close it again."""
    half_open_max_calls: int = Field(default=1, ge=1)
    """Trial calls at a time; what comes besides is refused at once."""


class CircuitBreakerLayer:
    """Refuses calls at once while the connector keeps failing.

    A failure is what says that the broker cannot be reached: `TransientError`, `AmbiguousError` or `NotConnected`. A
    refusal is an answer, so it counts as a success of the connection. Opening the connection is the way back and always
    passes; when it succeeds, the circuit closes.
    """

    def __init__(self, settings: CircuitBreakerSettings, services: Services) -> None:
        """Make the breaker of one connector."""
        self._services = services
        self._level = services.metrics.gauge("circuit_open", "0 closed, 0.5 half open, 1 open.", {"component": services.name})
        self._refused = services.metrics.counter(
            "circuit_refused_total", "Calls refused by an open circuit.", {"component": services.name}
        )
        self.breaker = CircuitBreaker(
            settings.failure_threshold,
            settings.timeout,
            services.name,
            counts=(TransientError, AmbiguousError, NotConnected),
            ignore=NotSupported,  # nobody was asked
            success_threshold=settings.success_threshold,
            half_open_max_calls=settings.half_open_max_calls,
            clock=services.clock.monotonic,
            on_change=self._changed,
        )

    def __call__(self, call: Call, proceed: Handler) -> object:
        """Pass the call through the breaker."""
        if call.operation is _CONNECT:
            answer = proceed(call)
            self.breaker.report_healthy()
            return answer
        try:
            return self.breaker.call(proceed, call)
        except CircuitOpenError as error:
            if error.name == self.breaker.name:  # and not of a connector further in
                self._refused.add()
            raise

    def _changed(self, state: CircuitState) -> None:
        self._level.set(_LEVELS[state])
        self._services.emit(CircuitChanged(self._services.clock.now(), self._services.name, str(state.value)))


@hookimpl
def herald_middleware() -> Iterable[Component[Middleware]]:
    """Offer the layer."""
    yield component("circuit_breaker", CircuitBreakerSettings, CircuitBreakerLayer, "Fail fast while a broker is down.")
