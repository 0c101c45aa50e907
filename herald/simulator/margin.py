"""What positions hold back of the account, kept current fill by fill."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Protocol

from herald.engine.book import Book
from herald.model import AccountMode

__all__ = ["Margins", "Marks"]


class Marks(Protocol):
    """The last known prices."""

    @property
    def converts(self) -> bool:
        """Return whether any symbol is quoted in another currency than the account's."""

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """Return lowest bid and highest ask of each symbol for a stretch to come; empty where nobody knows."""

    @property
    def era(self) -> int:
        """Return a number that changes with `bounds`."""

    def bid(self, symbol: str) -> float:
        """Return the price at which a long position would close; NaN before the first."""

    def ask(self, symbol: str) -> float:
        """Return the price at which a short position would close; NaN before the first."""

    def rate(self, symbol: str) -> float:
        """Return account currency per unit of the symbol's quote currency; NaN while unknown."""

    def price_time(self, symbol: str) -> int:
        """Return when the last price was known, nanoseconds UTC; 0 before the first."""

    def first_time(self, symbol: str, moment: int) -> int:
        """Return when the first price at or after *moment* was known, nanoseconds UTC; 0 while there is none."""

    def known_at(self, symbol: str, time: int) -> tuple[float, float]:
        """Return bid and rate as they were known at *time*, nanoseconds UTC."""

    def sides(self, symbols: Iterable[str]) -> tuple[list[float], list[float]]:
        """Return bid and ask of every symbol; NaN before the first price."""

    def open_profit(self, books: Iterable[Book], but: Book | None = None) -> float:
        """Return the open profit of *books* without *but*, account currency."""


class Margins:
    """The margin of all positions.

    A position holds ``|size| * contract_size * entry price / leverage``, or ``|size| * margin`` where its
    instrument has a fixed margin. On a netting account the books of one symbol are added up first, with
    their signs; on a hedging account each stands for itself.
    """

    def __init__(self, marks: Marks, leverage: float, mode: AccountMode) -> None:
        """Start without a position."""
        self._marks = marks
        self._leverage = leverage
        self._nets = mode is AccountMode.NETTING
        self._groups: dict[Hashable, dict[Hashable, float]] = {}
        self._totals: dict[Hashable, float] = {}
        self._symbols: dict[Hashable, str] = {}
        self._touched: dict[Hashable, Book] = {}
        self._books: dict[Hashable, Book] = {}
        self._floors: dict[Hashable, float] = {}
        self._era = marks.era

    def _amount(self, book: Book, size: float, price: float) -> float:
        """Return the signed margin of *size* lots entered at *price*, quote currency."""
        return size * (book.instrument.margin or price * book.contract / self._leverage)

    def touch(self, book: Book) -> None:
        """Take note that *book* is about to change; looked at when somebody asks."""
        self._touched[book.key] = book

    def _refresh(self) -> None:
        for book in self._touched.values():
            self._hold(book)
        self._touched.clear()

    def _hold(self, book: Book) -> None:
        group: Hashable = book.symbol if self._nets else book.key
        amounts = self._groups.setdefault(group, {})
        if book.size == 0:
            amounts.pop(book.key, None)
        else:
            amounts[book.key] = self._amount(book, book.size, book.average_price)
        self._books[book.key] = book
        self._floors[book.key] = self._floor(book)
        if amounts:
            self._totals[group] = sum(amounts.values())
            self._symbols[group] = book.symbol
        else:
            self._totals.pop(group, None)

    def used(self) -> float:
        """Return the margin of all positions, account currency."""
        if self._touched:
            self._refresh()
        if not self._marks.converts:
            return sum(map(abs, self._totals.values()))
        return sum(abs(total) * self._marks.rate(self._symbols[group]) for group, total in self._totals.items())

    def used_if(self, book: Book, size: float, price: float, rate: float) -> float:
        """Return the margin of all positions if *book* held *size* lots entered at *price*, account currency.

        Args:
            book: The book that would change.
            size: Lots, signed.
            price: Mean entry price, quote currency per unit.
            rate: Account currency per unit of the book's quote currency.
        """
        if self._touched:
            self._refresh()
        mine = self._amount(book, size, price)
        group: Hashable = book.symbol if self._nets else book.key
        amounts = self._groups.get(group)
        now = 0.0
        if amounts:
            now = abs(self._totals[group]) * rate
            mine += self._totals[group] - amounts.get(book.key, 0.0)
        return self.used() - now + abs(mine) * rate

    def _floor(self, book: Book) -> float:
        """Return what the open profit of *book* cannot fall below within the marks' bounds, quote currency."""
        size = book.size
        bounds = self._marks.bounds.get(book.symbol)
        if size == 0 or bounds is None:
            return 0.0 if size == 0 else -math.inf
        return ((bounds[0] if size > 0 else bounds[1]) - book.average_price) * size * book.contract

    def surely_carries(self, book: Book, size: float, price: float, worth: float) -> bool:
        """Return True where *book* can hold *size* lots at *price* whatever the others are worth now.

        The others count with the least they can be worth within the marks' bounds, so that a True is what the
        exact sum would say; a False says nothing.

        Args:
            book: The book that would change.
            size: Lots, signed.
            price: Mean entry price, quote currency per unit.
            worth: Balance plus what *book* itself is worth, account currency.
        """
        marks = self._marks
        if marks.converts or not marks.bounds:
            return False
        needed = self.used_if(book, size, price, 1.0)
        if marks.era != self._era:
            self._era = marks.era
            self._floors = {key: self._floor(held) for key, held in self._books.items()}
        floors = self._floors
        return needed <= worth + sum(floors.values()) - floors.get(book.key, 0.0)
