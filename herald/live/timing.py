"""How long the loop, the desk and the journal take; there is one of these only in a run that is measured."""

from __future__ import annotations

from herald.clock import stopwatch
from herald.contracts import Histogram, Metrics
from herald.model import OrderRequest, OrderType

__all__ = ["Times"]

_MOST = 10_000
"""Orders whose execution is waited for; one that is older counts no more."""


class Times:
    """Takes the times of one run, seconds.

    Attributes:
        began: When the message under way was taken, by `herald.clock.stopwatch`; 0.0 between messages.
        message: How long the engine and the desk took for a message.
        lag: How late the loop came to what it does once a second.
        commit: How long the journal took to keep what waited.
    """

    __slots__ = ("_asked", "_fills", "_orders", "began", "commit", "lag", "message")

    def __init__(self, metrics: Metrics) -> None:
        """Make the handles."""
        self.began = 0.0
        self.message: Histogram = metrics.histogram("message_seconds", "Time that the engine took for a message of a connector.")
        self.lag: Histogram = metrics.histogram("event_loop_lag_seconds", "How late the loop came to what is due every second.")
        self.commit: Histogram = metrics.histogram("journal_commit_seconds", "Time that the journal took for one commit.")
        self._orders: Histogram = metrics.histogram(
            "tick_to_order_seconds", "From taking a message until an order because of it is with its connector's worker."
        )
        text = "From the decision to trade until the first execution is in the books, by the type of the order."
        self._fills = {kind: metrics.histogram("order_to_fill_seconds", text, {"type": str(kind)}) for kind in OrderType}
        self._asked: dict[str, tuple[float, OrderType]] = {}

    def asked(self, request: OrderRequest) -> None:
        """Note that an order is about to go, from the engine's thread."""
        asked = self._asked
        if len(asked) >= _MOST:
            del asked[next(iter(asked))]
        asked[request.id] = stopwatch(), request.type

    def sent(self, began: float) -> None:
        """Note that the order whose message was taken at *began* is with its worker; 0.0 where no message caused it."""
        if began:
            self._orders.observe(stopwatch() - began)

    def filled(self, order_id: str) -> None:
        """Note an execution; the first of an order counts."""
        known = self._asked.pop(order_id, None)
        if known is not None:
            began, kind = known
            self._fills[kind].observe(stopwatch() - began)

    def ended(self, order_id: str) -> None:
        """Note that an order trades no more."""
        self._asked.pop(order_id, None)
