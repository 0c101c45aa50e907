"""Executions in the order in which they happened, whatever the order in which they were heard.

What a position cost and what was earned depends on the order of its executions. One that is heard late is therefore put
in its place: the book goes back to where it was then, and what followed is applied again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from herald.engine.book import Book, BookState, Ledger
from herald.model import Fill, OrderRequest, Trade

__all__ = ["Chronicle"]

_KEPT = 1_000
"""Executions of a book that a late one may still be put before."""


class _Step(msgspec.Struct):
    """One execution: what was applied, the book before it, and what it did to the account."""

    fill: Fill
    request: OrderRequest
    rate: float
    before: BookState
    gain: float = 0.0
    trades: list[Trade] = []

    @property
    def place(self) -> tuple[int, int]:
        """Return where it belongs: by time, and by its number where the broker counts."""
        return self.fill.time, int(self.fill.id) if self.fill.id.isdecimal() else 0


class Chronicle:
    """Watches executions being applied to the books of a ledger and mends their order."""

    def __init__(self, ledger: Ledger) -> None:
        """Begin without a past."""
        self._ledger = ledger
        self._steps: dict[tuple[str, str], list[_Step]] = {}

    def take(self, fill: Fill, request: OrderRequest, book: Book, rate: float, now: int, apply: Callable[[], object]) -> bool:
        """Let *apply* apply a fill; return whether it was heard late and the book had to be mended.

        Args:
            fill: The execution, under the name that the ledger knows it by.
            request: What was asked for.
            book: Of the order.
            rate: Account currency per unit of the symbol's quote currency.
            now: Time of the engine, nanoseconds UTC.
            apply: Applies it to the ledger.
        """
        step = _Step(fill, request, rate, book.state())
        self._watch(step, apply)
        steps = self._steps.setdefault(book.key, [])
        place = len(steps)
        while place and steps[place - 1].place > step.place:
            place -= 1
        late = place < len(steps)
        steps.insert(place, step)
        if late:
            self._mend(book, steps, place, now)
        if len(steps) > 2 * _KEPT:
            del steps[:-_KEPT]
        return late

    def forget(self, book: Book) -> None:
        """Let what was applied to *book* stand as it is: it was set to something else than its executions make of it."""
        self._steps.pop(book.key, None)

    def _watch(self, step: _Step, apply: Callable[[], object]) -> None:
        """Apply a step and note what it did."""
        ledger = self._ledger
        balance, trades = ledger.balance, len(ledger.trades)
        apply()
        step.gain, step.trades = ledger.balance - balance, ledger.trades[trades:]

    def _mend(self, book: Book, steps: list[_Step], place: int, now: int) -> None:
        """Take everything from *place* on back and apply it again in order."""
        ledger, again = self._ledger, steps[place:]
        undone = {id(trade) for step in again for trade in step.trades}
        ledger.trades[:] = [trade for trade in ledger.trades if id(trade) not in undone]
        for step in again:
            ledger.balance -= step.gain
            ledger.fills.pop(step.fill.id, None)
        # The late one saw the book as it is now; those behind it saw it before.
        book.load(again[1].before)
        ledger.open.pop(book.key, None)
        if book.size:
            ledger.open[book.key] = book
        for step in again:
            step.before = book.state()
            self._watch(step, lambda step=step: ledger.apply(step.fill, step.request, book, step.rate, now))  # type: ignore[misc]
