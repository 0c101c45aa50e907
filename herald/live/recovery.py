"""What a run was when it ended, from its journal: books, orders, counters, and which executions it knows.

A snapshot says what the records up to it amount to; the records behind it are applied one by one. Nothing of it is
guessed: an intent without an outcome is an order of which nobody knows whether the broker has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from herald.contracts import Journal
from herald.engine.book import Book, BookState, Ledger
from herald.errors import JournalError
from herald.model import (
    AccountSeen,
    Fill,
    Instrument,
    Intended,
    Order,
    OrderChanged,
    OrderRequest,
    OrderStatus,
    RunBegan,
    Traded,
)

__all__ = ["Past", "missing_books", "recover"]

_KEPT_ORDERS = 2_000
_KEPT_FILLS = 20_000
"""Ended orders and execution ids that a snapshot keeps: what a broker may still mention, with a wide margin."""


class Past(msgspec.Struct):
    """Everything of earlier runs that a new one must know.

    Attributes:
        balance: Of the ledger, account currency; None where there was no run yet.
        books: Every book that was ever used.
        orders: Orders by id: all that are not ended, and the last that are.
        tables: Connector of each order, by id.
        numbers: Highest number of an order, by strategy.
        seen: (connector, fill id) of the executions known, oldest first.
        fills_after: Latest time of an execution, by connector, nanoseconds UTC.
        config: Hash of the configuration of the last run.
        accounts: (server, number) of the account, by connector.
    """

    balance: float | None = None
    books: list[BookState] = []
    orders: dict[str, Order] = {}
    tables: dict[str, str] = {}
    numbers: dict[str, int] = {}
    seen: list[tuple[str, str]] = []
    fills_after: dict[str, int] = {}
    config: str = ""
    accounts: dict[str, tuple[str, str]] = {}

    def trimmed(self) -> Past:
        """Return the same without what nobody will ask for again."""
        ended = [name for name, order in self.orders.items() if not order.is_working]
        for name in ended[:-_KEPT_ORDERS]:
            del self.orders[name]
            self.tables.pop(name, None)
        self.seen = self.seen[-_KEPT_FILLS:]
        return self


def recover(journal: Journal, ledger: Ledger, instruments: Mapping[str, Instrument]) -> Past:
    """Return what *journal* knows and bring the books of *ledger* to where they were.

    Args:
        journal: Of this run; only read.
        ledger: Without fills; its books are made as they are needed.
        instruments: Terms by symbol.

    Raises:
        JournalError: It cannot be read, or it speaks of a symbol whose terms are not known.
    """
    latest = journal.latest()
    past, number = Past(), 0
    if latest is not None:
        number, state = latest
        try:
            past = msgspec.msgpack.decode(state, type=Past)
        except msgspec.DecodeError as error:
            raise JournalError(f"the snapshot of the journal cannot be read: {error}; restore a backup") from error
        for book in past.books:
            ledger.load(book, _terms(instruments, book.symbol, book.strategy))
        if past.balance is not None:
            ledger.balance = past.balance
    seen = set(past.seen)
    for _, record in journal.read(number):
        _apply(past, record, ledger, instruments, seen)
    past.balance = ledger.balance
    return past


def _apply(past: Past, record: Any, ledger: Ledger, instruments: Mapping[str, Instrument], seen: set[tuple[str, str]]) -> None:
    match record:
        case Intended(connector=table, request=request):
            # From here on it may be at the broker; only what follows can say otherwise.
            past.orders[request.id] = Order(
                request, OrderStatus.UNKNOWN, record.time, code="no_outcome", reason="no outcome is recorded"
            )
            past.tables[request.id] = table
            _count(past, request)
        case OrderChanged(connector=table, order=order):
            past.orders[order.id] = order
            past.tables[order.id] = table
            _count(past, order.request)
        case Traded(connector=table, fill=fill, rate=rate):
            if (table, fill.id) in seen:
                return
            seen.add((table, fill.id))
            past.seen.append((table, fill.id))
            past.fills_after[table] = max(past.fills_after.get(table, 0), fill.time)
            mine = past.orders.get(fill.order_id)
            if mine is not None:
                _trade(past, ledger, instruments, table, mine, fill, rate, record.time)
        case AccountSeen(connector=table, account=account):
            past.accounts[table] = (account.server, account.id)
        case RunBegan(config=config):
            past.config = config


def _trade(
    past: Past,
    ledger: Ledger,
    instruments: Mapping[str, Instrument],
    table: str,
    order: Order,
    fill: Fill,
    rate: float,
    now: int,
) -> None:
    """Apply an execution to its book and its order."""
    request = order.request
    book = ledger.add(request.strategy, _terms(instruments, request.symbol, request.strategy))
    local = fill if fill.id not in ledger.fills else msgspec.structs.replace(fill, id=f"{table}/{fill.id}")
    ledger.apply(local, request, book, rate, now)
    past.orders[order.id] = order.with_fill(fill)


def _count(past: Past, request: OrderRequest) -> None:
    """Remember the highest number among the orders of a strategy: a number is never used twice."""
    strategy, _, rest = request.id.rpartition("-")
    digits = rest.partition(".")[0]
    if strategy == request.strategy and digits.isdigit():
        past.numbers[strategy] = max(past.numbers.get(strategy, 0), int(digits))


def _terms(instruments: Mapping[str, Instrument], symbol: str, strategy: str) -> Instrument:
    terms = instruments.get(symbol)
    if terms is None:
        raise JournalError(
            f"the journal has orders of strategy {strategy!r} in {symbol}, which the config does not trade any more; "
            "put it back, or begin a new journal once the account is flat"
        )
    return terms


def missing_books(ledger: Ledger, known: set[tuple[str, str]]) -> list[Book]:
    """Return the open books that belong to no (strategy, symbol) of *known*: the config changed under them."""
    return [book for book in ledger.open_books() if book.key not in known]
