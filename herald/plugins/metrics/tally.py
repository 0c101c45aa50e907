"""Count what happens in a run, from its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from herald.clock import Clock
from herald.contracts import Counter, Gauge, Metrics
from herald.model import (
    Alert,
    CircuitChanged,
    Connected,
    Disconnected,
    Event,
    Fill,
    HealthChanged,
    ObserverMuted,
    Order,
    OrderDenied,
    OrderStatus,
    RunStarted,
    RunStopped,
    Side,
    StateChanged,
    StrategyFailed,
)

__all__ = ["Tally"]

_DENIED, _REJECTED = OrderStatus.DENIED, OrderStatus.REJECTED


class _Link:
    """How a connection fared.

    Attributes:
        is_up: It stands.
        since: When it came to that, seconds of the monotonic clock.
        up, down: Seconds that it stood and that it did not, without the time since.
        failures, repairs: How often it was lost and came back.
    """

    __slots__ = ("down", "failures", "handles", "is_up", "repairs", "since", "up")

    def __init__(self, since: float, handles: dict[str, Any]) -> None:
        self.is_up = False
        self.since = since
        self.up = self.down = 0.0
        self.failures = self.repairs = 0
        self.handles = handles


class Tally:
    """Counts events; the handles of what has happened before are kept, so that an event costs one look-up.

    Attributes:
        events: What it counts.
    """

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        """Count with handles of *metrics*; *clock* measures how long a connection stands."""
        self._metrics = metrics
        self._monotonic = clock.monotonic
        self._counters: dict[tuple[str, ...], Counter] = {}
        # What is counted for every order and fill finds its handle without a label being put together.
        self._orders: dict[tuple[str, OrderStatus], Counter] = {}
        self._fills: dict[tuple[str, str, Side], tuple[Counter, Counter]] = {}
        self._status: dict[str, OrderStatus] = {}  # of the orders that work
        self._links: dict[str, _Link] = {}
        self._take: dict[type, Callable[[Any], None]] = {
            Order: self._order,
            Fill: self._fill,
            OrderDenied: self._denied,
            Alert: lambda event: self._count("alerts_total", "Alerts for a person, by code.", code=event.code),
            Connected: self._connected,
            Disconnected: self._disconnected,
            CircuitChanged: lambda event: self._count(
                "circuit_changes_total", "Changes of a circuit breaker.", component=event.name, state=event.state.lower()
            ),
            HealthChanged: lambda event: self._count(
                "health_changes_total", "Changes of a connector's health.", component=event.name, state=event.state
            ),
            StateChanged: lambda event: self._count(
                "trading_state_changes_total", "Changes of what may be traded.", scope=event.scope, state=event.state.lower()
            ),
            StrategyFailed: lambda event: self._count(
                "strategy_failures_total", "Strategies that raised and were stopped.", strategy=event.strategy
            ),
            ObserverMuted: lambda event: self._count(
                "observers_muted_total", "Observers that failed too often and are no longer called.", observer=event.observer
            ),
            RunStarted: lambda event: self._running.set(1.0),
            RunStopped: lambda event: self._running.set(0.0),
        }
        self.events = tuple(self._take)
        self._running: Gauge = metrics.gauge("running", "1 while the run trades, 0 before and after.")

    def observe(self, event: Event) -> None:
        """Count *event*."""
        self._take[type(event)](event)

    def _count(self, name: str, text: str, **labels: str) -> None:
        key = (name, *labels.values())
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._metrics.counter(name, text, labels)
        counter.add()

    # --- orders -----------------------------------------------------------------------------------

    def _order(self, order: Order) -> None:
        """Count an order when it comes to another status, not when it is told again."""
        request, status = order.request, order.status
        if status is _DENIED:
            return  # what is denied is told besides
        if order.is_working:
            if self._status.get(request.id) is status:
                return
            self._status[request.id] = status
        else:
            self._status.pop(request.id, None)
        counter = self._orders.get((request.strategy, status))
        if counter is None:
            labels = {"strategy": request.strategy, "status": str(status)}
            counter = self._metrics.counter("orders_total", "Orders that came to a status.", labels)
            self._orders[request.strategy, status] = counter
        counter.add()
        if status is _REJECTED:
            text = "Orders that the broker refused, by its code."
            self._count("rejections_total", text, strategy=request.strategy, code=order.code)

    def _fill(self, fill: Fill) -> None:
        key = fill.order_id.rpartition("-")[0], fill.symbol, fill.side
        handles = self._fills.get(key)
        if handles is None:
            labels = {"strategy": key[0], "symbol": fill.symbol, "side": fill.side.name.lower()}
            count = self._metrics.counter("fills_total", "Executions.", labels)
            handles = self._fills[key] = count, self._metrics.counter("traded_lots_total", "Lots traded.", labels)
        handles[0].add()
        handles[1].add(fill.size)

    def _denied(self, event: OrderDenied) -> None:
        order = event.order
        text = "Requests that were refused before they were sent, by the code of the check."
        self._count("denials_total", text, strategy=order.request.strategy, code=order.code)

    # --- connections ------------------------------------------------------------------------------

    def _link(self, connector: str) -> _Link:
        link = self._links.get(connector)
        if link is None:
            labels, metrics = {"connector": connector}, self._metrics
            handles = {
                "lost": metrics.counter("disconnects_total", "Connections lost.", labels),
                "back": metrics.counter("reconnects_total", "Connections that came back.", labels),
                "mtbf": metrics.gauge("connector_mtbf_seconds", "Mean time that a connection stood before it was lost.", labels),
                "mttr": metrics.gauge("connector_mttr_seconds", "Mean time until a lost connection was back.", labels),
            }
            link = self._links[connector] = _Link(self._monotonic(), handles)
        return link

    def _connected(self, event: Connected) -> None:
        link = self._link(event.connector)
        if link.is_up:
            return
        now = self._monotonic()
        if link.failures:
            link.repairs += 1
            link.down += now - link.since
            link.handles["back"].add()
            link.handles["mttr"].set(link.down / link.repairs)
        link.is_up, link.since = True, now

    def _disconnected(self, event: Disconnected) -> None:
        link = self._link(event.connector)
        if not link.is_up:
            return
        now = self._monotonic()
        link.failures += 1
        link.up += now - link.since
        link.is_up, link.since = False, now
        link.handles["lost"].add()
        link.handles["mtbf"].set(link.up / link.failures)
