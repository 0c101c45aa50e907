"""What a check remembers of a list that only grows, so that it need not read all of it for every request.

The memory is a shortcut and never an input: it is compared with the view each time, and where the view tells another past, it is
thrown away and everything is read again. The answer follows from (request, view) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from herald.contracts import RiskView

__all__ = ["Growing", "strategy_of"]

T = TypeVar("T")


class Growing(Generic[T]):
    """Hands out what a list of a view gained since it was last asked for."""

    def __init__(self, ask: Callable[[RiskView, int], Sequence[T]], time_of: Callable[[T], int]) -> None:
        """Remember nothing.

        Args:
            ask: Returns what happened at or after a time (nanoseconds UTC), oldest first.
            time_of: Returns when one of them happened.
        """
        self._ask = ask
        self._time_of = time_of
        self._floor = 0
        self._time = 0
        self._last: Sequence[T] = ()

    def news(self, view: RiskView, floor: int = 0) -> tuple[bool, Sequence[T]]:
        """Return (whether to forget what was handed out before, what is new), oldest first.

        Args:
            view: Whose list it is.
            floor: What happened before this time does not count, nanoseconds UTC.
        """
        known = len(self._last)
        anew = not known or floor != self._floor
        if not anew:
            found = self._ask(view, self._time)
            if len(found) == known and found[-1] == self._last[-1]:
                return False, ()
            anew = list(found[:known]) != list(self._last)
        if anew:
            known = 0
            found = self._ask(view, floor)
        self._floor = floor
        self._last = ()
        if found:
            # What became known late has an earlier time: the list is told from where its latest time stands first.
            times = list(map(self._time_of, found))
            self._time = max(times)
            self._last = found[times.index(self._time) :]
        return anew, found[known:]


def strategy_of(order_id: str) -> str:
    """Return the strategy that an order's id names: ``my-trend-000017.sl`` is an order of ``my-trend``."""
    return order_id.rpartition("-")[0]
