"""The journal and the broker: what is true, after a start, after a lost connection, and every minute.

A snapshot of the account is laid beside the books. Executions that are news are taken like any other. What differs after
that is looked at again before it is believed, because an execution may be on its way; then it is somebody else's
position, or a mismatch. A mismatch stops everything that adds to positions and calls a person; no trade is ever made up
to mend it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from herald.clock import Clock
from herald.engine.engine import Engine
from herald.live.messages import Ask, Look, Snapshot
from herald.live.orders import Account, Desk
from herald.live.tags import is_client_tag
from herald.model import Order, OrderStatus, Position

__all__ = ["External", "Reconciler"]

External = Literal["ignore", "adopt", "refuse"]
"""What is done about positions that no book explains."""

_LOOKS = 2
"""Snapshots in a row that must say the same before a difference is believed."""
_IN_FLIGHT = 2_000_000_000
"""An order younger than this may not be in the broker's lists yet, nanoseconds."""
_DUST = 1e-9


class _Difference:
    """What the broker holds of one symbol beyond the books, and how often that was seen in a row."""

    __slots__ = ("looks", "size")

    def __init__(self, size: float) -> None:
        self.size = size
        self.looks = 1


class Reconciler:
    """Compares snapshots of accounts with the books.

    Attributes:
        external: Lots, signed, that no book explains, by (connector, symbol).
        ready: Connectors whose account agrees with the books, so far as was looked.
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
        """
        self.external: dict[tuple[str, str], float] = {}
        self.ready: set[str] = set()
        self._engine = engine
        self._desk = desk
        self._accounts = accounts
        self._symbols = symbols
        self._clock = clock
        self._policy = policy
        self._reduce = reduce
        self._doubts: dict[tuple[str, str], _Difference] = {}
        self._told: set[tuple[str, str, str]] = set()

    def lost(self, table: str) -> None:
        """The connection is gone: nothing is known until the next snapshot."""
        self.ready.discard(table)

    def snapshot(self, table: str, seen: Snapshot) -> bool:
        """Take a snapshot; return whether the connector became ready by it."""
        for fill in sorted(seen.fills, key=lambda one: one.time):
            self._desk.fill(table, fill)
        known = {order.broker_id for order in seen.orders}
        strangers = []
        for order in seen.orders:
            self._desk.order(table, order)
            tag = order.request.client_tag
            if is_client_tag(tag) and not self._desk.knows(table, order):
                strangers.append(order)
        self._check_strangers(table, strangers)
        self._check_working(table, seen, known)
        agrees = self._check_positions(table, seen)
        if agrees and table not in self.ready and not self._in_doubt(table):
            self.ready.add(table)
            return True
        if not agrees or table not in self.ready:
            self._accounts[table].worker.put(Look(seen.time - _IN_FLIGHT))
        return False

    def _in_doubt(self, table: str) -> bool:
        return any(self._desk.account_of(name).table == table for name in self._desk.unresolved)

    def _check_strangers(self, table: str, strangers: list[Order]) -> None:
        """Orders that some Herald sent and this journal does not know: its journal is not the one they belong to."""
        if strangers and self._once(table, "", "own_tags"):
            names = ", ".join(order.broker_id for order in strangers[:3])
            self._reduce(
                f"the broker has orders of Herald's ({names}) that this journal does not know: it is not the journal they "
                "were sent under; restore that one, or withdraw them and resume"
            )

    def _check_working(self, table: str, seen: Snapshot, known: set[str]) -> None:
        """Look after every order that should be working and is not listed."""
        for name, order in list(self._engine.orders.items()):
            if not order.is_working or order.request.parent or self._desk.account_of(name).table != table:
                continue
            if order.status is OrderStatus.UNKNOWN or order.status is OrderStatus.PENDING:
                continue
            if order.broker_id not in known and seen.time - order.time > _IN_FLIGHT:
                self._accounts[table].worker.put(Ask(name, order.request.client_tag, 0))

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
                continue
            doubt = self._doubts.get(key)
            if doubt is None or abs(doubt.size - difference) >= _DUST:
                self._doubts[key] = _Difference(difference)
                agrees = False
                continue
            doubt.looks += 1
            if doubt.looks < _LOOKS or self._moving(table, symbol):
                agrees = False
                continue
            del self._doubts[key]
            self._believe(table, symbol, held.get(symbol, 0.0), own.get(symbol, 0.0), round(beyond, 10))
        return agrees

    def _own(self, table: str) -> dict[str, float]:
        """Return what the books hold on a connector, lots by symbol."""
        own: dict[str, float] = {}
        for book in self._engine.ledger.open_books():
            if self._symbols.get(book.symbol) == table:
                own[book.symbol] = own.get(book.symbol, 0.0) + book.size
        return own

    def _moving(self, table: str, symbol: str) -> bool:
        """Return whether an order in *symbol* is on its way, whose execution could explain a difference."""
        now = self._clock.now()
        return any(
            order.is_working
            and order.request.symbol == symbol
            and (order.status in (OrderStatus.PENDING, OrderStatus.SENT) or now - order.time < _IN_FLIGHT)
            for order in self._engine.orders.values()
        )

    def _believe(self, table: str, symbol: str, held: float, own: float, beyond: float) -> None:
        """Decide about a difference that stayed."""
        explained = own == 0 or (held * own > 0 and abs(held) >= abs(own) - _DUST)
        if not explained:
            self._reduce(
                f"position_mismatch: the broker holds {held:g} lots of {symbol}, the books {own:g}; find out who closed or "
                "turned the position, correct it at the broker, and resume"
            )
            return
        self.external[table, symbol] = beyond
        if beyond == 0:
            self._desk.alert("external_closed", f"the position in {symbol} that was not Herald's is closed")
        elif self._policy == "refuse":
            self._reduce(f"external_position: {beyond:g} lots of {symbol} are not Herald's; close them, or set [live] external")
        else:
            what = "adopted" if self._policy == "adopt" else "left alone"
            self._desk.alert("external_position", f"{beyond:g} lots of {symbol} are not Herald's and are {what}")

    def _once(self, table: str, symbol: str, what: str) -> bool:
        key = (table, symbol, what)
        if key in self._told:
            return False
        self._told.add(key)
        return True


def _net(positions: Sequence[Position]) -> dict[str, float]:
    """Return lots by symbol, long and short added up."""
    held: dict[str, float] = {}
    for position in positions:
        held[position.symbol] = held.get(position.symbol, 0.0) + position.size
    return held
