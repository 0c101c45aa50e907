"""What a rule remembers of a position, and only as long as it is the same position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from herald.model import Bar, Position

__all__ = ["Memory", "is_after_entry"]

T = TypeVar("T")


class Memory(Generic[T]):
    """One note a symbol, thrown away when the position is another one: opened at another time, or turned."""

    def __init__(self, new: Callable[[], T]) -> None:
        """Start empty; *new* makes the note of a position that was not seen before."""
        self._new = new
        self._notes: dict[str, tuple[int, bool, T]] = {}

    def of(self, position: Position) -> T:
        """Return the note of *position*, a fresh one for a new position."""
        is_long = position.size > 0
        known = self._notes.get(position.symbol)
        if known is not None and known[0] == position.opened and known[1] is is_long:
            return known[2]
        note = self._new()
        self._notes[position.symbol] = position.opened, is_long, note
        return note


def is_after_entry(bar: Bar, position: Position) -> bool:
    """Return whether all of *bar* lies after the entry; otherwise only its close is known to."""
    return bar.time - bar.span >= position.opened
