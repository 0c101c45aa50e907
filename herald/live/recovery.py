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
from herald.engine.risk import MESSAGES_KEPT
from herald.errors import JournalError
from herald.live.chronicle import Chronicle
from herald.live.crashpoints import crash_point
from herald.model import (
    Account,
    AccountSeen,
    Adopted,
    CancelIntended,
    Fill,
    Instrument,
    Intended,
    ModifyIntended,
    Order,
    OrderChanged,
    OrderRequest,
    OrderStatus,
    RunBegan,
    StateSet,
    Trade,
    Traded,
)

__all__ = ["Past", "missing_books", "recover"]

_KEPT_ORDERS = 2_000
_KEPT_FILLS = 20_000
"""Ended orders and execution ids that a snapshot keeps: what a broker may still mention, with a wide margin."""


_NO_OUTCOME = "no outcome is recorded"


class Past(msgspec.Struct):
    """Everything of earlier runs that a new one must know.

    Attributes:
        balance: Of the ledger, account currency; None where there was no run yet.
        books: Every book that was ever used.
        orders: Orders by id: all that are not ended, and the last that are.
        tables: Connector of each order, by id.
        numbers: Highest number of an order, by strategy.
        seen: (connector, fill id) of the executions known, oldest first.
        fills_after: Time of the last execution up to which none is missing, by connector, nanoseconds UTC.
        config: Hash of the configuration of the last run.
        accounts: (server, number) of the account, by connector.
        positions: (connector, ticket, order that opened it) on hedging accounts, oldest first.
        changing: Orders that were about to be changed, and nobody knows whether they were.
        cancelling: The same of orders that were about to be withdrawn.
        sent: When the last requests went out, by order id, oldest first, nanoseconds UTC.
        changed: When the last changes and withdrawals went out, oldest first, the same.
        fills: The last executions that a snapshot stands for; risk checks count them.
        trades: The last round trips, the same.
        touched: When a person last resumed a scope, nanoseconds UTC, by scope.
        generation: Of the trading state, as far as its changes are recorded here.
        covered: Number of the last record that the snapshot stands for, from which this was read; 0 for none.
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
    positions: list[tuple[str, str, str]] = []
    changing: list[str] = []
    cancelling: list[str] = []
    sent: dict[str, int] = {}
    changed: list[int] = []
    fills: list[Fill] = []
    trades: list[Trade] = []
    touched: dict[str, int] = {}
    generation: int = 0
    covered: int = 0

    def trimmed(self) -> Past:
        """Return the same without what nobody will ask for again."""
        # The broker names protection after what it protects, and tells of positions by what opened them.
        named = {order.request.parent for order in self.orders.values() if order.is_working}
        named |= {book.entry_order for book in self.books if book.size}
        ended = [name for name, order in self.orders.items() if not order.is_working and name not in named]
        for name in ended[:-_KEPT_ORDERS]:
            del self.orders[name]
            self.tables.pop(name, None)
        self.sent = dict(list(self.sent.items())[-_KEPT_ORDERS:])
        self.fills, self.trades = self.fills[-_KEPT_ORDERS:], self.trades[-_KEPT_ORDERS:]
        self.changed = self.changed[-MESSAGES_KEPT:]
        self.seen = self.seen[-_KEPT_FILLS:]
        self.positions = [one for one in self.positions if one[2] in self.orders]
        return self


def recover(journal: Journal, ledger: Ledger, instruments: Mapping[str, Instrument], chronicle: Chronicle | None = None) -> Past:
    """Return what *journal* knows and bring the books of *ledger* to where they were.

    Args:
        journal: Of this run; only read.
        ledger: Without fills; its books are made as they are needed.
        instruments: Terms by symbol.
        chronicle: Puts the executions in their order, and may go on to do so.

    Raises:
        JournalError: It cannot be read, or it speaks of a symbol whose terms are not known.
    """
    passed = crash_point("in_recovery")
    latest = journal.latest()
    past, number = Past(), 0
    if latest is not None:
        number, state = latest
        try:
            past = msgspec.msgpack.decode(state, type=Past)
        except ValueError as error:
            raise JournalError(f"the snapshot of the journal cannot be read: {error}; restore a backup") from error
        for book in past.books:
            ledger.load(book, _terms(instruments, book.symbol, book.strategy))
        ledger.fills.update({fill.id: fill for fill in past.fills})
        ledger.trades.extend(past.trades)
    opened = past.balance is not None
    if past.balance is not None:
        ledger.cash = ledger.balance = past.balance
    replay = _Replay(past, ledger, instruments, opened, Chronicle(ledger) if chronicle is None else chronicle)
    for _, record in journal.read(number):
        passed()
        replay.take(record)
    for order in past.orders.values():
        if order.status in (OrderStatus.PENDING, OrderStatus.SENT):  # from a snapshot: its intent may have been carried out
            doubted = msgspec.structs.replace(order, status=OrderStatus.UNKNOWN, code="no_outcome", reason=_NO_OUTCOME)
            past.orders[order.id] = doubted
    past.seen = list(replay.seen)
    past.covered = number
    past.changing, past.cancelling = list(replay.changing), list(replay.cancelling)
    past.balance = ledger.balance
    return past


class _Replay:
    """Applies the records behind a snapshot."""

    def __init__(
        self, past: Past, ledger: Ledger, instruments: Mapping[str, Instrument], opened: bool, chronicle: Chronicle
    ) -> None:
        self._chronicle = chronicle
        self.seen = dict.fromkeys(past.seen)
        self.changing = dict.fromkeys(past.changing)
        self.cancelling = dict.fromkeys(past.cancelling)
        self._past = past
        self._ledger = ledger
        self._instruments = instruments
        self._has_balance = opened  # else the first statement of every account says what the books began with
        self._opened: set[str] = set()
        self._told: dict[str, int] = dict(past.fills_after)

    def take(self, record: Any) -> None:
        """Apply one record."""
        past = self._past
        match record:
            case Intended(connector=table, request=request):
                # From here on it may be at the broker; only what follows can say otherwise.
                past.sent.setdefault(request.id, record.time)
                known = past.orders.get(request.id)
                fresh = Order(request, OrderStatus.UNKNOWN, record.time) if known is None else known
                past.orders[request.id] = msgspec.structs.replace(
                    fresh, status=OrderStatus.UNKNOWN, time=record.time, code="no_outcome", reason=_NO_OUTCOME
                )
                past.tables[request.id] = table
                _count(past, request)
            case ModifyIntended(request=request):
                past.changed.append(record.time)
                self.changing[request.id] = None
            case CancelIntended(order_id=name):
                past.changed.append(record.time)
                self.cancelling[name] = None
            case OrderChanged(connector=table, order=order):
                past.orders[order.id] = order
                past.tables[order.id] = table
                _count(past, order.request)
                if not order.is_working:
                    self.changing.pop(order.id, None)
                    self.cancelling.pop(order.id, None)
            case Traded(connector=table, fill=fill):
                self._trade(table, fill, record)
            case Adopted(strategy=strategy, symbol=symbol, size=size, price=price, opened=opened, tickets=tickets, profit=profit):
                book = self._ledger.add(strategy, _terms(self._instruments, symbol, strategy))
                self._ledger.adopt(book, size, price, opened, tickets, profit, record.time)
                self._chronicle.forget(book)
            case AccountSeen(connector=table, account=account):
                self._see(table, account)
            case StateSet(scope=scope, state=state, generation=generation):
                past.generation = max(past.generation, generation)
                if state == "ACTIVE":
                    past.touched[scope] = record.time
            case RunBegan(config=config):
                past.config = config

    def _see(self, table: str, account: Account) -> None:
        """Take a statement of an account, behind which stands everything that a list of executions held."""
        past, ledger = self._past, self._ledger
        past.accounts[table] = (account.server, account.id)
        past.fills_after[table] = self._told.get(table, 0)
        if not self._has_balance and table not in self._opened:
            before = ledger.balance if self._opened else 0.0
            ledger.cash = ledger.balance = before + account.balance
            self._opened.add(table)

    def _trade(self, table: str, fill: Fill, record: Traded) -> None:
        """Apply an execution, once, to its book and its order."""
        if (table, fill.id) in self.seen:
            return
        self.seen[table, fill.id] = None
        self._told[table] = max(self._told.get(table, 0), fill.time)
        past, ledger = self._past, self._ledger
        order = past.orders.get(fill.order_id)
        if order is None:
            return  # somebody else's
        request = order.request
        book = ledger.add(request.strategy, _terms(self._instruments, request.symbol, request.strategy))
        local = fill if fill.id not in ledger.fills else msgspec.structs.replace(fill, id=f"{table}/{fill.id}")
        rate, time = record.rate, record.time
        self._chronicle.take(local, request, book, rate, time, lambda: ledger.apply(local, request, book, rate, time))
        past.orders[order.id] = order.with_fill(fill)
        if fill.position and not request.reduce_only:
            past.positions.append((table, fill.position, order.id))


def _count(past: Past, request: OrderRequest) -> None:
    """Remember the highest number among the orders of a strategy: a number is never used twice."""
    strategy, _, rest = request.id.rpartition("-")
    digits = rest.partition(".")[0]
    if strategy == request.strategy and digits.isdecimal():
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
