"""What a run measures of itself, besides what its components count; nothing of this runs without ``[metrics]``."""

from __future__ import annotations

from herald.contracts import MetricsStore
from herald.model import Account, Bar, Fill, Moment, Order, Quote
from herald.results import RunResult

__all__ = ["Bystander", "measure_backtest"]

_FREQUENT = (Account, Bar, Fill, Moment, Order, Quote)
"""What happens so often that a backtest would be slower for telling it."""


class Bystander:
    """A store of metrics as a backtest lets it listen: to what happens seldom. Orders and fills it hears at the end.

    Attributes:
        events: What it hears.
    """

    def __init__(self, store: MetricsStore) -> None:
        """Pass on what *store* wants to hear and happens seldom."""
        self.events = tuple(kind for kind in store.events if not issubclass(kind, _FREQUENT))
        self.observe = store.observe

    def close(self) -> None:
        """Do nothing; the store is closed by whoever built it."""


def measure_backtest(store: MetricsStore, result: RunResult) -> None:
    """Let *store* know what came of a backtest: orders, in their last state, fills, and the account."""
    wanted = tuple(store.events)
    for events in (result.orders, result.fills):
        for event in events:
            if isinstance(event, wanted):
                store.observe(event)
