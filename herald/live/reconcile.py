"""The journal and the broker: what is true, after a start, after a lost connection, and every minute.

A snapshot of the account is laid beside the books. Executions that are news are taken like any other. What differs after
that is looked at again before it is believed, because an execution may be on its way; then it is somebody else's
position, or a mismatch. A mismatch stops everything that adds to positions and calls a person; no trade is ever made up
to mend it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from herald.clock import Clock
from herald.engine.book import Book
from herald.engine.engine import Engine
from herald.live.crashpoints import crash_point
from herald.live.messages import Snapshot
from herald.live.orders import Account, Desk
from herald.live.tags import is_client_tag
from herald.model import Order, OrderStatus, Position

__all__ = ["External", "Reconciler"]

External = Literal["ignore", "adopt", "refuse"]
"""What is done about positions that no book explains."""

_FIRST_SECONDS, _LONGEST_SECONDS = 0.1, 5.0
"""Between two looks at what does not agree: soon at first, then less often."""
_BELIEVED_SECONDS = 5.0
"""A difference must have lasted as long as an order may take to be listed, but no longer than this."""
_DUST = 1e-9
_NEVER = math.inf


class _Difference:
    """What the broker holds of one symbol beyond the books, since when, and how many executions were known then."""

    __slots__ = ("since", "size", "taken")

    def __init__(self, size: float, since: float, taken: int) -> None:
        self.size = size
        self.since = since
        self.taken = taken


class Reconciler:
    """Compares snapshots of accounts with the books.

    Attributes:
        external: Lots, signed, that no book explains, by (connector, symbol).
        ready: Connectors whose account agrees with the books, so far as was looked, or differs in a way that was told.
        next_look: When `look_again` has something to do, seconds of the monotonic clock; infinite while there is nothing.
    """

    def __init__(
        self,
        engine: Engine,
        desk: Desk,
        accounts: Mapping[str, Account],
        symbols: Mapping[str, str],
        clock: Clock,
        policy: External,
        reduce: Callable[[str], None],
        adopters: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Prepare.

        Args:
            engine: Its ledger is compared.
            desk: Takes executions and orders.
            accounts: Connectors by table.
            symbols: Table of the connector, by symbol.
            clock: Tells the time of the run.
            policy: What to do about positions that no book explains.
            reduce: Allows nothing but reductions from now on, for the reason given.
            adopters: Name of the books that take over positions of others, by table; where the policy is to adopt them.
        """
        self.external: dict[tuple[str, str], float] = {}
        self.ready: set[str] = set()
        self.next_look = _NEVER
        self._engine = engine
        self._desk = desk
        self._accounts = accounts
        self._symbols = symbols
        self._clock = clock
        self._policy = policy
        self._reduce = reduce
        self._adopters = adopters
        self._doubts: dict[tuple[str, str], _Difference] = {}
        self._mismatches: dict[tuple[str, str], float] = {}
        self._absent: dict[str, int] = {}  # protection that a snapshot did not list, and how many more looked for it
        self._looks: dict[str, tuple[float, float]] = {}  # (when to look again, how long to wait after that), by connector
        self._seen, self._filled = crash_point("reconcile_seen"), crash_point("reconcile_filled")
        self._told: set[tuple[str, str, str]] = set()

    def lost(self, table: str) -> None:
        """The connection is gone: nothing is known until the next snapshot."""
        self.ready.discard(table)

    def snapshot(self, table: str, seen: Snapshot) -> bool:
        """Take a snapshot; return whether the connector became ready by it."""
        self._seen()
        for fill in sorted(seen.fills, key=lambda one: one.time):
            self._desk.fill(table, fill)
        self._desk.listed(table, seen.fills)
        self._filled()
        known = {order.broker_id for order in seen.orders}
        strangers = []
        for order in seen.orders:
            self._desk.order(table, order)
            tag = order.request.client_tag
            if is_client_tag(tag) and not self._desk.knows(table, order):
                strangers.append(order)
        self._check_strangers(table, strangers)
        complete = self._check_working(table, seen, known)
        agrees = self._check_positions(table, seen)
        if agrees and complete:
            self._looks.pop(table, None)
        else:
            _, wait = self._looks.get(table, (0.0, _FIRST_SECONDS))
            self._looks[table] = self._clock.monotonic() + wait, min(2 * wait, _LONGEST_SECONDS)
        self.next_look = min((at for at, _ in self._looks.values()), default=_NEVER)
        # An order in doubt does not keep the connector from being ready; entries in its symbol wait for it.
        if agrees and table not in self.ready:
            self.ready.add(table)
            return True
        return False

    def look_again(self, now: float) -> None:
        """Look at every account that did not agree and whose time has come; *now* is seconds of the monotonic clock."""
        for table, (at, wait) in self._looks.items():
            if now >= at:
                self._desk.look(table)
                self._looks[table] = now + wait, wait  # should the answer get lost
        self.next_look = min((at for at, _ in self._looks.values()), default=_NEVER)

    def _check_strangers(self, table: str, strangers: list[Order]) -> None:
        """Orders that some Herald sent and this journal does not know: its journal is not the one they belong to."""
        if strangers and self._once(table, "", "own_tags"):
            names = ", ".join(order.broker_id for order in strangers[:3])
            self._reduce(
                f"unknown_orders: the broker has orders of Herald's ({names}) that this journal does not know: it is not the "
                "journal they were sent under; restore that one, or withdraw them and resume"
            )

    def _check_working(self, table: str, seen: Snapshot, known: set[str]) -> bool:
        """Look after every order that should be working and is not listed; return whether none must be looked for again."""
        complete = True
        for name, order in self._working():
            if order.status not in _CONFIRMED or order.broker_id in known or self._desk.account_of(name).table != table:
                self._absent.pop(name, None)
            elif order.request.client_tag:
                self._desk.miss(name)
            else:
                # The broker's own protection, which nobody can ask for: twice not there is not there.
                looks = self._absent[name] = self._absent.get(name, 0) + 1
                complete = complete and looks >= _LOOKS
                if looks >= _LOOKS:
                    del self._absent[name]
                    self._desk.gone(table, name, seen.time)
        return complete

    def _working(self) -> list[tuple[str, Order]]:
        """Return every working order."""
        return [pair for book in self._engine.ledger.books.values() for pair in book.working.items()]

    # --- positions --------------------------------------------------------------------------------

    def _check_positions(self, table: str, seen: Snapshot) -> bool:
        """Return whether the account holds what the books hold, and what is known to be somebody else's."""
        held = _net(seen.positions)
        own = self._own(table)
        agrees = True
        for symbol in sorted({*held, *own, *(one for of, one in self.external if of == table)}):
            key = (table, symbol)
            beyond = held.get(symbol, 0.0) - own.get(symbol, 0.0)
            difference = beyond - self.external.get(key, 0.0)
            if abs(difference) < _DUST:
                self._doubts.pop(key, None)
                self._mismatches.pop(key, None)
                continue
            if abs(difference - self._mismatches.get(key, 0.0)) < _DUST:
                continue  # told, and nothing but reductions is sent until a person has looked
            # An execution between two questions makes a difference that is none; nothing of it is left when the next
            # snapshot knows of no other execution and still differs.
            now, taken = self._clock.monotonic(), self._desk.taken.get(key, 0)
            doubt = self._doubts.get(key)
            if doubt is None or abs(doubt.size - difference) >= _DUST or doubt.taken != taken:
                self._doubts[key] = _Difference(difference, now, taken)
                agrees = False
                continue
            lasts = min(self._accounts[table].capabilities.settle_seconds, _BELIEVED_SECONDS)
            if now - doubt.since < lasts or self._moving(symbol):
                agrees = False
                continue
            del self._doubts[key]
            self._believe(table, symbol, held.get(symbol, 0.0), own.get(symbol, 0.0), round(beyond, 10), seen.positions)
        return agrees

    def _own(self, table: str) -> dict[str, float]:
        """Return what the books hold on a connector, lots by symbol."""
        own: dict[str, float] = {}
        for book in self._engine.ledger.open_books():
            if self._symbols.get(book.symbol) == table:
                own[book.symbol] = own.get(book.symbol, 0.0) + book.size
        return own

    def _moving(self, symbol: str) -> bool:
        """Return whether an order in *symbol* is on its way, whose execution could explain a difference."""
        return any(order.request.symbol == symbol and order.status in _ON_THEIR_WAY for _, order in self._working())

    def _explains(self, table: str, symbol: str, held: float, own: float, positions: Sequence[Position]) -> bool:
        """Return whether what the account holds can be what the books hold and something of somebody else's."""
        tickets = self._tickets(table, symbol)
        if self._accounts[table].hedging and tickets:  # every trade has its owner
            mine = sum(one.size for one in positions if one.symbol == symbol and tickets.intersection(one.tickets))
            return abs(mine - own) < _DUST
        return own == 0 or (held * own > 0 and abs(held) >= abs(own) - _DUST)

    def _believe(self, table: str, symbol: str, held: float, own: float, beyond: float, positions: Sequence[Position]) -> None:
        """Decide about a difference that stayed."""
        adopted = self._engine.ledger.books.get((self._adopters.get(table, ""), symbol))
        if adopted is not None:
            own = round(own - adopted.size, 10)
        if not self._explains(table, symbol, held, own, positions):
            self._mismatches[table, symbol] = beyond - self.external.get((table, symbol), 0.0)
            self._reduce(
                f"position_mismatch: the broker holds {held:g} lots of {symbol}, the books {own:g}; find out who closed or "
                "turned the position, correct it at the broker, and resume"
            )
            return
        if adopted is not None:
            self._adopt(table, adopted, round(held - own, 10), held, positions)
            return
        self.external[table, symbol] = beyond
        if beyond == 0:
            self._desk.alert("external_closed", f"the position in {symbol} that was not Herald's is closed")
        elif self._policy == "refuse":
            self._reduce(f"external_position: {beyond:g} lots of {symbol} are not Herald's; close them, or set [live] external")
        else:
            why = ": the file does not trade it" if self._policy == "adopt" else ""
            self._desk.alert("external_position", f"{beyond:g} lots of {symbol} are not Herald's and are left alone{why}")

    def _tickets(self, table: str, symbol: str) -> set[str]:
        """Return the tickets of the strategies' books in a symbol."""
        adopter = self._adopters.get(table)
        books = [one for one in self._engine.ledger.books.values() if one.symbol == symbol and one.strategy != adopter]
        return {ticket for book in books for ticket in book.tickets}

    def _adopt(self, table: str, book: Book, size: float, held: float, positions: Sequence[Position]) -> None:
        """Let *book* hold *size* lots: what the account holds beyond the strategies' books."""
        of_symbol = [one for one in positions if one.symbol == book.symbol]
        tickets: dict[str, float] = {}
        if self._accounts[table].hedging:
            mine = self._tickets(table, book.symbol)
            of_symbol = [one for one in of_symbol if not mine.intersection(one.tickets)]
            tickets = {ticket: one.size for one in of_symbol for ticket in one.tickets[:1]}
        cost = sum(one.size * one.average_price for one in of_symbol)
        if not tickets:  # one position for all: what is not the strategies' part of it
            others = [one for one in self._engine.ledger.open_books() if one.symbol == book.symbol and one is not book]
            cost -= sum(one.size * one.average_price for one in others)
        price = cost / size if size else math.nan
        if size and not 0 < price < math.inf:
            price = self._engine.market_data.price(book.symbol)
        known = book.position.opened if book.size * size > 0 else 0
        opened = known or min((one.opened for one in of_symbol if one.opened), default=0) or self._clock.now()
        self._desk.adopt(table, book, size, price, opened, tickets)

    def _once(self, table: str, symbol: str, what: str) -> bool:
        key = (table, symbol, what)
        if key in self._told:
            return False
        self._told.add(key)
        return True


_LOOKS = 2
"""Snapshots in a row that must miss an order before it is gone: one may have raced with its placement."""
_CONFIRMED = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIAL})
_ON_THEIR_WAY = frozenset({OrderStatus.PENDING, OrderStatus.SENT, OrderStatus.UNKNOWN})


def _net(positions: Sequence[Position]) -> dict[str, float]:
    """Return lots by symbol, long and short added up."""
    held: dict[str, float] = {}
    for position in positions:
        held[position.symbol] = held.get(position.symbol, 0.0) + position.size
    return held
