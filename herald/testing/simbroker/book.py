"""The broker's own book on disk: account, orders, deals, positions, events. Who reads it needs no broker.

Everything a client was told has been committed before; what is written here survives the death of the broker at any
instruction. `BookView` reads a book from outside and can check it against itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Book", "BookView", "Deal", "Entry", "Holding", "LogEntry", "State"]

WORKING = ("accepted", "partial")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY, asked TEXT NOT NULL, tag TEXT NOT NULL, working INTEGER NOT NULL,
    changed INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS orders_by_tag ON orders (tag);
CREATE INDEX IF NOT EXISTS orders_by_asked ON orders (asked);
CREATE INDEX IF NOT EXISTS orders_working ON orders (number) WHERE working = 1;
CREATE TABLE IF NOT EXISTS deals (number INTEGER PRIMARY KEY, time INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS deals_by_time ON deals (time);
CREATE TABLE IF NOT EXISTS positions (ticket INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL);
"""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An order of the broker.

    Attributes:
        number: The ticket.
        asked: The client tag of the request; nobody but the book's owner sees it.
        tag: The client tag as the broker shows it; another one where it altered it.
        symbol: The instrument.
        side: 1 buys, -1 sells.
        size: Lots.
        type: ``market``, ``limit`` or ``stop``.
        price: Limit or stop price; None of a market order.
        stop_loss: Level of the stop that protects what it opens, or None.
        take_profit: Level of the target, or None.
        time_in_force: ``gtc``, ``day``, ``gtd``, ``ioc`` or ``fok``.
        expires: When it stops working, nanoseconds UTC; None while it is withdrawn.
        reduce_only: It never opens or adds.
        position: Ticket of the position it closes; 0 for none.
        parent: Number of the order whose position it protects; 0 for none.
        parent_tag: Tag of that order.
        status: ``accepted``, ``partial``, ``filled``, ``cancelled``, ``expired`` or ``rejected``.
        filled: Lots traded.
        average: Mean price of those; 0 while there are none.
        placed: When it was taken, nanoseconds UTC.
        changed: When it last changed.
        code: Of a refusal.
        text: The same in words.
        then: Price of the limit order that a triggered stop becomes; None of a plain stop.
    """

    number: int
    asked: str
    tag: str
    symbol: str
    side: int
    size: float
    type: str
    price: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    time_in_force: str = "gtc"
    expires: int | None = None
    reduce_only: bool = False
    position: int = 0
    parent: int = 0
    parent_tag: str = ""
    status: str = "accepted"
    filled: float = 0.0
    average: float = 0.0
    placed: int
    changed: int
    code: str = ""
    text: str = ""
    then: float | None = None

    @property
    def is_working(self) -> bool:
        """Return whether it may still trade."""
        return self.status in WORKING

    @property
    def remaining(self) -> float:
        """Return the lots not yet traded."""
        return round(self.size - self.filled, 8)

    def shown(self) -> Entry:
        """Return what a client may see of it."""
        return msgspec.structs.replace(self, asked="")


class Deal(msgspec.Struct, frozen=True, kw_only=True):
    """An execution.

    Attributes:
        number: Its number.
        order: Number of the order that traded.
        tag: That order's client tag as the broker shows it; empty of an order that the broker made itself.
        symbol: The instrument.
        side: 1 bought, -1 sold.
        size: Lots.
        price: Quote currency per unit.
        profit: Of the part it closed, account currency.
        fee: Commission, account currency.
        position: Ticket of the position it changed.
        time: Nanoseconds UTC.
        busts: Number of the deal that it takes back; 0 for an ordinary one.
        type: Type of the order that traded.
        parent: Number of the order whose position that order protects; 0 for none.
        parent_tag: Tag of that one.
        entry: ``in`` opened or added, ``out`` closed, ``inout`` turned the position, ``out_by`` closed it by another one.
        swap: Interest that the closed part had gathered, account currency.
    """

    number: int
    order: int
    tag: str
    symbol: str
    side: int
    size: float
    price: float
    profit: float
    fee: float
    position: int
    time: int
    busts: int = 0
    type: str = ""
    parent: int = 0
    parent_tag: str = ""
    entry: str = ""
    swap: float = 0.0


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """An open position.

    Attributes:
        ticket: Number of the order that opened it.
        tag: That order's client tag as the broker shows it.
        symbol: The instrument.
        size: Lots, signed.
        average: Mean price.
        realized: Profit of what was closed of it, quote currency.
        opened: When, nanoseconds UTC.
        swap: Interest gathered so far, account currency; it is paid with the deals that close.
        changed: When it last changed, nanoseconds UTC.
    """

    ticket: int
    tag: str
    symbol: str
    size: float
    average: float
    realized: float
    opened: int
    swap: float = 0.0
    changed: int = 0


class LogEntry(msgspec.Struct, frozen=True, array_like=True):
    """One line of the broker's news: *body* is an `Entry` (kind ``order``) or a `Deal` (kind ``deal``)."""

    sequence: int
    kind: str
    body: msgspec.Raw


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the account has besides orders and positions.

    Attributes:
        id: Of this book, so that a client notices that it talks to another one.
        start: Balance before the first deal.
        balance: Balance now, account currency.
        next_order: Number of the next order.
        next_deal: Number of the next deal.
        origin: When prices begin, nanoseconds UTC.
        mode: ``hedging`` or ``netting``; a book never changes it.
    """

    id: str
    start: float
    balance: float
    next_order: int = 1_000_001
    next_deal: int = 1
    origin: int = 0
    mode: str = "hedging"


_encode = msgspec.json.Encoder().encode
_entry = msgspec.json.Decoder(Entry).decode
_deal = msgspec.json.Decoder(Deal).decode
_holding = msgspec.json.Decoder(Holding).decode


class Book:
    """The writer's side: one process, one thread.

    Attributes:
        state: The account.
        working: Working orders by number, oldest first.
        holdings: Open positions by ticket, oldest first.
    """

    def __init__(self, path: Path | str, fresh: State) -> None:
        """Open the book at *path*, or begin one with *fresh*.

        Raises:
            ValueError: The book is of another mode, or no book at all.
        """
        self.path = Path(path)
        self._is_writing = False
        self._sql = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            self._open(fresh)
        except sqlite3.DatabaseError as error:
            self._sql.close()
            raise ValueError(f"{self.path} is no book of a simulated broker ({error}); name another file") from None

    def _open(self, fresh: State) -> None:
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.execute("PRAGMA synchronous = NORMAL")
        self._sql.execute("PRAGMA busy_timeout = 5000")
        self._sql.executescript(_SCHEMA)
        if self.get("state") is None:
            self.put("state", fresh)
        self._load()
        if self.state.mode != fresh.mode:
            self._sql.close()
            raise ValueError(f"the account in {self.path} is a {self.state.mode} account, not {fresh.mode}; name another file")

    def _load(self) -> None:
        self.state = msgspec.json.decode(self.get("state") or b"", type=State)
        rows = self._sql.execute("SELECT body FROM orders WHERE working = 1 ORDER BY number").fetchall()
        self.working: dict[int, Entry] = {one.number: one for one in (_entry(body) for (body,) in rows)}
        rows = self._sql.execute("SELECT body FROM positions ORDER BY ticket").fetchall()
        self.holdings: dict[int, Holding] = {one.ticket: one for one in (_holding(body) for (body,) in rows)}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is written inside, or nothing of it; one inside another is part of it."""
        if self._is_writing:
            yield
            return
        self._sql.execute("BEGIN IMMEDIATE")
        self._is_writing = True
        try:
            yield
            self.put("state", self.state)
            self._sql.execute("COMMIT")
        except BaseException:
            self._sql.rollback()  # harmless where SQLite did it by itself
            self._load()
            raise
        finally:
            self._is_writing = False

    def close(self) -> None:
        """Close the file."""
        self._sql.close()

    def get(self, key: str) -> str | None:
        """Return a note, as JSON; None where there is none."""
        row = self._sql.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, value: Any) -> None:
        """Keep a note."""
        self._sql.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, _encode(value).decode()))

    # --- writing ----------------------------------------------------------------------------------

    def number_order(self) -> int:
        """Return the number of a new order."""
        number = self.state.next_order
        self.state = msgspec.structs.replace(self.state, next_order=number + 1)
        return number

    def number_deal(self) -> int:
        """Return the number of a new deal."""
        number = self.state.next_deal
        self.state = msgspec.structs.replace(self.state, next_deal=number + 1)
        return number

    def keep_order(self, entry: Entry) -> None:
        """Write *entry*, new or changed."""
        if entry.is_working:
            self.working[entry.number] = entry
        else:
            self.working.pop(entry.number, None)
        row = (entry.number, entry.asked, entry.tag, entry.is_working, entry.changed, _encode(entry))
        self._sql.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?)", row)

    def keep_deal(self, deal: Deal) -> None:
        """Write *deal* and let the balance follow; a number that is there already is an error."""
        self._sql.execute("INSERT INTO deals VALUES (?, ?, ?)", (deal.number, deal.time, _encode(deal)))
        balance = round(self.state.balance + deal.profit + deal.swap - deal.fee, 8)
        self.state = msgspec.structs.replace(self.state, balance=balance)

    def keep_holding(self, holding: Holding) -> None:
        """Write *holding*; one without size is gone."""
        if holding.size == 0:
            self.holdings.pop(holding.ticket, None)
            self._sql.execute("DELETE FROM positions WHERE ticket = ?", (holding.ticket,))
        else:
            self.holdings[holding.ticket] = holding
            self._sql.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (holding.ticket, _encode(holding)))

    def tell(self, time: int, kind: str, body: bytes) -> None:
        """Append a line of news."""
        self._sql.execute("INSERT INTO events (time, kind, body) VALUES (?, ?, ?)", (time, kind, body))

    # --- reading ----------------------------------------------------------------------------------

    def order(self, number: int) -> Entry | None:
        """Return the order with *number*, None where there is none."""
        row = self._sql.execute("SELECT body FROM orders WHERE number = ?", (number,)).fetchone()
        return None if row is None else _entry(row[0])

    def first_asked(self, tag: str) -> Entry | None:
        """Return the first order that was asked for with *tag*, None where there is none."""
        row = self._sql.execute("SELECT body FROM orders WHERE asked = ? ORDER BY number LIMIT 1", (tag,)).fetchone()
        return None if row is None else _entry(row[0])

    def over(self, since: int, until: int) -> list[Entry]:
        """Return the orders that do not work any more and changed last in ``[since, until]``, oldest first."""
        rows = self._sql.execute(
            "SELECT body FROM orders WHERE working = 0 AND changed >= ? AND changed <= ? ORDER BY number", (since, until)
        )
        return [_entry(body) for (body,) in rows]

    def tagged(self, tag: str, since: int) -> list[Entry]:
        """Return the orders that show *tag* and were placed or changed at or after *since*, oldest first."""
        rows = self._sql.execute("SELECT body FROM orders WHERE tag = ? AND changed >= ? ORDER BY number", (tag, since))
        return [_entry(body) for (body,) in rows]

    def deals(self, since: int, after: int, limit: int) -> list[Deal]:
        """Return at most *limit* deals at or after *since* with a number above *after*, in order."""
        rows = self._sql.execute(
            "SELECT body FROM deals WHERE number > ? AND time >= ? ORDER BY number LIMIT ?", (after, since, limit)
        )
        return [_deal(body) for (body,) in rows]

    def deal(self, number: int) -> Deal | None:
        """Return the deal with *number*, None where there is none."""
        row = self._sql.execute("SELECT body FROM deals WHERE number = ?", (number,)).fetchone()
        return None if row is None else _deal(row[0])

    def busted(self, number: int) -> bool:
        """Return whether a deal was taken back already."""
        rows = self._sql.execute("SELECT body FROM deals WHERE number > ?", (number,))
        return any(_deal(body).busts == number for (body,) in rows)

    def news(self, after: int, limit: int) -> list[LogEntry]:
        """Return at most *limit* lines of news after line *after*."""
        rows = self._sql.execute(
            "SELECT sequence, kind, body FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        )
        return [LogEntry(sequence, kind, msgspec.Raw(body)) for sequence, kind, body in rows]

    def forget_news(self, after: int) -> None:
        """Take back the lines after line *after*, which nobody can have read: they are of this transaction."""
        self._sql.execute("DELETE FROM events WHERE sequence > ?", (after,))

    def last_news(self) -> int:
        """Return the number of the last line of news, 0 where there is none."""
        return int(self._sql.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()[0])


class BookView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in a book at one moment, read from its file.

    Attributes:
        state: The account.
        orders: All orders, oldest first.
        deals: All deals, oldest first.
        positions: Open positions, oldest first.
        events: The news, oldest first: (sequence, kind, number of the order or deal).
    """

    state: State
    orders: tuple[Entry, ...]
    deals: tuple[Deal, ...]
    positions: tuple[Holding, ...]
    events: tuple[tuple[int, str, int], ...]

    @classmethod
    def read(cls, path: Path | str) -> BookView:
        """Return the book at *path*; whether its broker lives does not matter.

        Raises:
            FileNotFoundError: There is no such file.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"there is no book at {path}; start a broker on it first")
        with closing(sqlite3.connect(path, isolation_level=None)) as sql:
            sql.execute("PRAGMA busy_timeout = 5000")
            sql.execute("BEGIN")  # one moment for all tables
            (state,) = sql.execute("SELECT value FROM meta WHERE key = 'state'").fetchone()
            return cls(
                state=msgspec.json.decode(state, type=State),
                orders=tuple(_entry(body) for (body,) in sql.execute("SELECT body FROM orders ORDER BY number")),
                deals=tuple(_deal(body) for (body,) in sql.execute("SELECT body FROM deals ORDER BY number")),
                positions=tuple(_holding(body) for (body,) in sql.execute("SELECT body FROM positions ORDER BY ticket")),
                events=tuple(
                    (sequence, kind, msgspec.json.decode(body)["number"])
                    for sequence, kind, body in sql.execute("SELECT sequence, kind, body FROM events ORDER BY sequence")
                ),
            )

    def tagged(self, tag: str) -> tuple[Entry, ...]:
        """Return the orders that were asked for with *tag*, whatever tag the broker shows."""
        return tuple(one for one in self.orders if one.asked == tag)

    def held(self) -> dict[str, float]:
        """Return the lots held by symbol, long and short added up; symbols that add up to 0 are left out."""
        held: dict[str, float] = {}
        for one in self.positions:
            held[one.symbol] = round(held.get(one.symbol, 0.0) + one.size, 8)
        return {symbol: size for symbol, size in held.items() if size}

    def verify(self) -> list[str]:
        """Return what in the book contradicts itself, one line each; nothing is the answer one wants.

        Orders are laid beside their deals, positions beside the sum of the deals by ticket and by symbol, the balance
        beside profits and fees.
        """
        return [*self._wrong_orders(), *self._wrong_positions(), *self._wrong_money()]

    def _wrong_orders(self) -> Sequence[str]:
        traded: dict[int, float] = {}
        taken_back = {one.busts for one in self.deals if one.busts}
        for deal in self.deals:
            if not deal.busts and deal.number not in taken_back:
                traded[deal.order] = round(traded.get(deal.order, 0.0) + deal.size, 8)
        numbers = {one.number for one in self.orders}
        lone = [one for one in self.deals if one.order not in numbers]
        wrong = [f"deal {one.number} belongs to order {one.order}, which is not there" for one in lone]
        for one in self.orders:
            if abs(traded.get(one.number, 0.0) - one.filled) > 1e-9:
                wrong.append(f"order {one.number} has {one.filled:g} filled, its deals {traded.get(one.number, 0.0):g}")
            if one.filled > one.size + 1e-9:
                wrong.append(f"order {one.number} is filled beyond its size: {one.filled:g} of {one.size:g}")
            if (one.status == "filled") != (one.filled >= one.size - 1e-9) and one.status != "cancelled":
                wrong.append(f"order {one.number} is {one.status} with {one.filled:g} of {one.size:g} filled")
        return wrong

    def _wrong_positions(self) -> Sequence[str]:
        by_ticket: dict[int, float] = {}
        for deal in self.deals:
            by_ticket[deal.position] = round(by_ticket.get(deal.position, 0.0) + deal.side * deal.size, 8)
        held = {one.ticket: one.size for one in self.positions}
        tickets = sorted(by_ticket.keys() | held.keys())
        return [
            f"position {ticket} holds {held.get(ticket, 0.0):g}, its deals add up to {by_ticket.get(ticket, 0.0):g}"
            for ticket in tickets
            if abs(by_ticket.get(ticket, 0.0) - held.get(ticket, 0.0)) > 1e-9
        ]

    def _wrong_money(self) -> Sequence[str]:
        balance = self.state.start + sum(one.profit + one.swap - one.fee for one in self.deals)
        if abs(balance - self.state.balance) > 1e-6 * max(1.0, abs(balance)):
            return [f"the balance is {self.state.balance:g}; profits and fees make it {balance:g}"]
        return []
