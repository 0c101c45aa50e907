"""Know whether a connector is alive, before an order finds out; see `herald.utils.health_monitor`."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Call, Handler, Middleware, Operation
from herald.errors import AmbiguousError, CircuitOpenError, NotConnected, RateLimitedError, TransientError
from herald.model import HealthChanged
from herald.utils.health_monitor import ConnectionHealthMonitor, HealthReport, HealthState

__all__ = ["HealthMonitorLayer", "HealthMonitorSettings", "herald_middleware"]

# A member of an enum is looked up by a Python call before 3.12; every call to a broker would pay it.
_CONNECT = Operation.CONNECT


class HealthMonitorSettings(Settings):
    """Settings of `HealthMonitorLayer`."""

    check_interval: float = Field(default=30.0, gt=0)
    """Seconds between checks while nothing else is known; after a failed call the next check follows at once."""
    max_failures: int = Field(default=3, ge=1)
    """Failed checks in a row that mean: the connection is lost."""
    window: int = Field(default=20, ge=1)
    """Checks over which latency is averaged."""


class HealthMonitorLayer:
    """Watches every call and pings between them; tells when the connection is lost and when it is back.

    A call that fails because the broker cannot be reached makes the next check due at once, so a dead connection is
    known within moments and not within an interval. A tick that finds the connection lost says so by `NotConnected`: whoever
    owns the connector connects again.
    """

    def __init__(self, settings: HealthMonitorSettings, services: Services) -> None:
        """Make the monitor of one connector."""
        self._services = services
        self._up = services.metrics.gauge("connector_healthy", "1 healthy, 0 not.", {"component": services.name})
        self._pings = services.metrics.histogram("ping_seconds", "Time of a ping.", {"component": services.name})
        self._proceed: Handler | None = None
        self._state = ""
        self._is_heard = True
        self.monitor = ConnectionHealthMonitor(
            self,
            settings.check_interval,
            max_failures=settings.max_failures,
            window=settings.window,
            clock=services.clock.monotonic,
            random=services.random,
        )

    def __call__(self, call: Call, proceed: Handler) -> object:
        """Pass the call and learn from how it ends."""
        try:
            answer = proceed(call)
        except (TransientError, AmbiguousError, NotConnected) as error:
            self.monitor.report_failure(error)
            raise
        if call.operation is _CONNECT:
            self.monitor.report_success()
            self._tell("healthy", "")
        return answer

    def tick(self, proceed: Handler) -> None:
        """Check the connection where a check is due.

        Raises:
            NotConnected: The connection is lost: as many checks as that takes have failed in a row.
        """
        self._proceed = proceed
        if not self.monitor.should_check:
            return
        report = self.monitor.health_check()
        self._learn(report)

    def ping(self) -> None:
        """Ask the connector inside; what the monitor calls."""
        if self._proceed is None:
            return
        self._is_heard = True
        try:
            self._proceed(Call(Operation.PING))
        except (CircuitOpenError, RateLimitedError):
            self._is_heard = False  # a layer inside kept it from being asked
            raise

    def _learn(self, report: HealthReport) -> None:
        if report.healthy:
            self._pings.observe(report.latency)
            self._tell("healthy", "")
        elif self.monitor.state is HealthState.LOST:
            pings = "a ping" if report.failures == 1 else f"{report.failures} pings"
            text = f"no answer to {pings}: {report.error}"
            self._tell("lost", text)
            if self._is_heard:
                raise NotConnected(f"the connection is lost: {text}")
        else:
            self._tell("failing", str(report.error))

    def _tell(self, state: str, text: str) -> None:
        if state != self._state:
            self._state = state
            self._up.set(1.0 if state == "healthy" else 0.0)
            connector = self._services.name.partition(".middleware")[0]
            self._services.emit(HealthChanged(self._services.clock.now(), connector, state, text))


@hookimpl
def herald_middleware() -> Iterable[Component[Middleware]]:
    """Offer the layer."""
    yield component("health_monitor", HealthMonitorSettings, HealthMonitorLayer, "Know whether a connector is alive.")
