"""Positions and cash from fills: one book a strategy and symbol, one ledger an account."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

import msgspec
import numpy as np

from herald.model import Fill, FloatArray, Instrument, IntArray, Order, OrderRequest, Position, Side, Trade

__all__ = ["Book", "BookState", "Ledger"]

_MANY = 32
"""Open books from which on it is quicker to value them by symbol than one after the other."""
_STALE = 4_096
"""Changes of books after which the sums by symbol are added up anew."""

_Marks: TypeAlias = Callable[[str, IntArray], tuple[FloatArray, FloatArray, FloatArray | None]]
"""Gives bid, ask and rate of a symbol at moments; see `Ledger.revalue`."""

_FLAT = math.nan
_BUY, _SELL = Side.BUY, Side.SELL


class BookState(msgspec.Struct, frozen=True):
    """A book as a value, for a run that goes on after a restart; the fields are those of `Book`."""

    strategy: str
    symbol: str
    size: float
    average_price: float
    realized: float
    cash: float
    opened: int
    entry_fees: float
    entry_order: str
    entry_tag: str
    tickets: dict[str, float] = {}


class Book:
    """What one strategy holds of one symbol, and its working orders.

    A closing fill is settled against the average entry price, so the profits of the trades add up to the
    realised profit at every instant.

    Attributes:
        strategy: Owner.
        symbol: The instrument.
        key: (strategy, symbol).
        instrument: Its terms.
        size: Lots, signed.
        average_price: Mean entry price; NaN when flat.
        realized: Profit closed so far, quote currency, before fees.
        cash: Minus the cost of everything bought plus the proceeds of everything sold, quote currency,
            before fees; ``cash + size * price * contract_size`` is the whole profit at *price*.
        working: Working orders by id, oldest first.
        entry_fees: Fees paid for what is held, account currency.
        swap: Interest that what is held has gathered and nobody has paid yet, account currency.
        changes: Time of every fill, nanoseconds UTC.
        sizes: Lots after each of them.
        entries: Average price after each of them.
        stale: Whether `position` must be made anew.
        parts: Size steps in a lot; 0 where that is no whole number.
        contract: Units in a lot.
        tickets: Lots, signed, by the broker's ticket, oldest first; of accounts that keep every trade apart.
    """

    __slots__ = (
        "_asked",
        "_entry_order",
        "_entry_tag",
        "_lots",
        "_opened",
        "_position",
        "average_price",
        "cash",
        "changes",
        "contract",
        "entries",
        "entry_fees",
        "instrument",
        "key",
        "parts",
        "realized",
        "size",
        "sizes",
        "stale",
        "strategy",
        "swap",
        "symbol",
        "tickets",
        "working",
    )

    def __init__(self, strategy: str, instrument: Instrument) -> None:
        """Start flat."""
        self.strategy = strategy
        self.symbol = instrument.symbol
        self.key = (strategy, instrument.symbol)
        self.instrument = instrument
        self.size = 0.0
        self.average_price = _FLAT
        self.realized = 0.0
        self.cash = 0.0
        self.working: dict[str, Order] = {}
        # Arrays, not a list of tuples: a run keeps many, the collector need not look at them, and numpy takes them as they are.
        self.changes = array("q")
        self.sizes = array("d")
        self.entries = array("d")
        self._position = Position(instrument.symbol)
        self.stale = False
        self.parts = instrument.steps_per_lot
        self._asked = self._lots = 0.0
        self.contract = instrument.contract_size
        self._opened = 0
        self.entry_fees = 0.0
        self.swap = 0.0
        self._entry_order = ""
        self._entry_tag = ""
        self.tickets: dict[str, float] = {}

    @property
    def position(self) -> Position:
        """Return the position as a value."""
        if self.stale:
            tickets = tuple(self.tickets)
            self._position = Position(self.symbol, self.size, self.average_price, self.realized, self._opened, tickets)
            self.stale = False
        return self._position

    def state(self) -> BookState:
        """Return the book as a value."""
        return BookState(
            self.strategy,
            self.symbol,
            self.size,
            self.average_price,
            self.realized,
            self.cash,
            self._opened,
            self.entry_fees,
            self._entry_order,
            self._entry_tag,
            dict(self.tickets),
        )

    def load(self, state: BookState) -> None:
        """Become what *state* says."""
        self.size = state.size
        self.average_price = state.average_price
        self.realized = state.realized
        self.cash = state.cash
        self._opened = state.opened
        self.entry_fees = state.entry_fees
        self._entry_order = state.entry_order
        self._entry_tag = state.entry_tag
        self.tickets = dict(state.tickets)
        self.stale = True

    def note(self, time: int) -> None:
        """Remember what the book holds from *time* on."""
        self.changes.append(time)
        self.sizes.append(self.size)
        self.entries.append(self.average_price)

    def hold(self, ticket: str, change: float) -> None:
        """Note that the position with *ticket* changed by *change* lots, signed."""
        held = self.snap(self.tickets.get(ticket, 0.0) + change)
        if held:
            self.tickets[ticket] = held
        else:
            self.tickets.pop(ticket, None)

    def lots(self, size: float) -> float:
        """Return *size* rounded toward zero to whole steps; see `Instrument.round_size`."""
        if size == self._asked:
            return self._lots  # strategies ask for the same size again and again
        parts = self.parts
        try:
            if parts:
                steps = size * parts
                lots = int(steps + (1e-9 if steps > 0 else -1e-9) * (1 + abs(steps))) / parts
            else:
                lots = self.instrument.round_size(size)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"size must be a finite number of lots, not {size!r}") from None
        if lots != lots:
            raise ValueError(f"size must be a finite number of lots, not {size!r}")
        self._asked, self._lots = size, lots
        return lots

    def snap(self, size: float) -> float:
        """Return *size*, a sum of whole steps, without the binary dust of the addition."""
        parts = self.parts
        return round(size * parts) / parts if parts else round(size, 10)

    def reduce(self, fill: Fill, request: OrderRequest, after: float, rate: float) -> Trade:
        """Close what *fill* closes and, where it is larger, open the rest the other way.

        Args:
            fill: An execution against the position.
            request: What was asked for.
            after: The position behind it, lots.
            rate: Account currency per unit of quote currency.
        """
        held, price, size = self.size, fill.price, fill.size
        entry = self.average_price
        if held > 0:
            side, lots, gain = _BUY, held, price - entry
        else:
            side, lots, gain = _SELL, -held, entry - price
        closed = size if size < lots else lots
        profit = gain * closed * self.contract
        self.realized += profit
        entry_fees = exit_fees = 0.0
        if self.entry_fees or fill.fee:
            entry_fees = self.entry_fees * closed / lots
            exit_fees = fill.fee * closed / size
        trade = Trade(
            self.strategy,
            self.symbol,
            side,
            closed,
            self._opened,
            entry,
            fill.time,
            price,
            profit * rate,
            entry_fees + exit_fees,
            self._entry_order,
            request.id,
            self._entry_tag,
            request.tag,
            fill.swap,
        )
        if self.swap:
            self.swap = round(self.swap * (1 - closed / lots), 10)
        if after * held > 0:
            self.entry_fees -= entry_fees
        elif after == 0:
            self.average_price = _FLAT
            self._opened = 0
        else:
            self.begin(fill, request, fill.fee - exit_fees)
        return trade

    def begin(self, fill: Fill, request: OrderRequest, fee: float) -> None:
        """Open the position, or what is left of a fill that turned it."""
        self.average_price = fill.price
        self._opened = fill.time
        self.entry_fees = fee
        self._entry_order = request.id
        self._entry_tag = request.tag


class _Prices(Protocol):
    """The last known prices."""

    @property
    def converts(self) -> bool:
        """Return whether any symbol is quoted in another currency than the account's."""

    def rate(self, symbol: str) -> float:
        """Return account currency per unit of the symbol's quote currency."""

    def sides(self, symbols: Iterable[str]) -> tuple[list[float], list[float]]:
        """Return bid and ask of every symbol."""

    def open_profit(self, books: Iterable[Book], but: Book | None = None) -> float:
        """Return the open profit of *books* without *but*, account currency."""


class _Sums:
    """What many books hold, added up by symbol: what is long has one price, and so has what is short."""

    def __init__(self, books: Iterable[Book]) -> None:
        self._changed: dict[tuple[str, str], Book] = {book.key: book for book in books}
        # By book: units (lots times units in a lot, signed) and what they cost.
        self._parts: dict[tuple[str, str], tuple[float, float]] = {}
        # By symbol: units that are long, units that are short (negative), and what both cost.
        self._sums: dict[str, list[float]] = {}
        self._age = 0

    def touch(self, book: Book) -> None:
        """Take note that *book* changed; looked at when somebody asks."""
        self._changed[book.key] = book

    def _refresh(self) -> None:
        self._age += len(self._changed)
        for key, book in self._changed.items():
            units = book.size * book.contract
            part = (units, units * book.average_price) if units else (0.0, 0.0)
            self._add(key[1], *self._parts.get(key, (0.0, 0.0)), -1.0)
            self._add(key[1], *part, 1.0)
            self._parts[key] = part
        self._changed.clear()
        if self._age >= _STALE:  # so many small errors of rounding may have come together
            self._age = 0
            self._sums = {symbol: [0.0, 0.0, 0.0] for symbol in self._sums}
            for (_, symbol), part in self._parts.items():
                self._add(symbol, *part, 1.0)

    def _add(self, symbol: str, units: float, cost: float, sign: float) -> None:
        sums = self._sums.setdefault(symbol, [0.0, 0.0, 0.0])
        sums[units < 0] += sign * units
        sums[2] += sign * cost

    def profit(self, prices: _Prices) -> float:
        """Return the open profit of all books, account currency; NaN where a price is not known that is needed."""
        if self._changed:
            self._refresh()
        total = 0.0
        for (symbol, (long, short, cost)), bid, ask in zip(self._sums.items(), *prices.sides(self._sums), strict=True):
            if long or short:
                profit = (long and long * bid) + (short and short * ask) - cost
                total += profit * prices.rate(symbol) if prices.converts else profit
        return total


class Ledger:
    """All books of one account and its balance.

    Attributes:
        books: By (strategy, symbol), in config order.
        balance: Starting cash plus realised profit and paid swap less fees, account currency.
        swap: Interest that open positions have gathered, account currency; part of the equity, and of the balance once paid.
        catch_up: Lets positions gather what they have until the last known prices; None where nothing costs a swap.
        trades: Closed round trips, in order.
        fills: Applied fills by id, in order.
        open: The books that are not flat, in the order in which they opened.
    """

    def __init__(self, cash: float) -> None:
        """Start with *cash*, account currency."""
        self.cash = cash
        self.balance = cash
        self.books: dict[tuple[str, str], Book] = {}
        self.fills: dict[str, Fill] = {}
        self.trades: list[Trade] = []
        self.open: dict[tuple[str, str], Book] = {}
        self._times = array("q")
        self._balances = array("d")
        self.swap = 0.0
        self.catch_up: Callable[[], None] | None = None
        self._swap_times = array("q")
        self._swaps = array("d")
        self._by_symbol: _Sums | None = None

    def add(self, strategy: str, instrument: Instrument) -> Book:
        """Open the book of a strategy and symbol, or return the one there is."""
        key = (strategy, instrument.symbol)
        book = self.books.get(key)
        if book is None:
            book = self.books[key] = Book(strategy, instrument)
        return book

    def load(self, state: BookState, instrument: Instrument) -> Book:
        """Open the book that *state* describes, as it was; nothing of it counts as traded in this run."""
        book = self.add(state.strategy, instrument)
        book.load(state)
        if book.size:
            self.open[book.key] = book
            book.note(state.opened)
        if self._by_symbol is not None:
            self._by_symbol.touch(book)
        return book

    def apply(self, fill: Fill, request: OrderRequest, book: Book, rate: float, now: int) -> bool:
        """Take a fill; return False where it was taken before.

        Args:
            fill: The execution.
            request: What was asked for.
            book: The order's book.
            rate: Account currency per unit of the symbol's quote currency.
            now: The engine's time, nanoseconds UTC.
        """
        if fill.id in self.fills:
            return False
        self.fills[fill.id] = fill
        size, price, fee = fill.size, fill.price, fill.fee
        balance = self.balance - fee
        held = book.size
        change = size if fill.side > 0 else -size
        parts = book.parts
        after = round((held + change) * parts) / parts if parts else round(held + change, 10)
        if held == 0:
            book.begin(fill, request, fee)
            self.open[book.key] = book
        elif held * change > 0:
            book.average_price = (book.average_price * held + price * change) / after
            book.entry_fees += fee
        else:
            gathered = book.swap
            trade = book.reduce(fill, request, after, rate)
            self.trades.append(trade)
            balance += trade.gross
            if after == 0:
                del self.open[book.key]
            if gathered:
                self._gather(book.swap - gathered, now)
        if fill.swap:
            balance += fill.swap
        book.size = after
        book.cash -= change * price * book.contract
        book.stale = True
        if self._by_symbol is not None:
            self._by_symbol.touch(book)
        if fill.position:
            book.hold(fill.position, change)
        book.changes.append(now)
        book.sizes.append(after)
        book.entries.append(book.average_price)
        self.balance = balance
        self._times.append(now)
        self._balances.append(balance)
        return True

    def charge(self, book: Book, amount: float, time: int) -> None:
        """Let what *book* holds gather *amount* of interest, account currency, at *time*, nanoseconds UTC."""
        book.swap = round(book.swap + amount, 10)
        self._gather(amount, time)

    def state_swap(self, amount: float, time: int) -> None:
        """Take what a broker says that all open positions have gathered, account currency, at *time*, nanoseconds UTC."""
        if amount != self.swap:
            self._gather(amount - self.swap, time)

    def _gather(self, amount: float, time: int) -> None:
        self.swap = round(self.swap + amount, 10)
        times, swaps = self._swap_times, self._swaps
        place = bisect_right(times, time)
        times.insert(place, time)
        swaps.insert(place, round((swaps[place - 1] if place else 0.0) + amount, 10))
        for later in range(place + 1, len(times)):  # of one symbol nights may be asked about after those of another
            swaps[later] = round(swaps[later] + amount, 10)

    def adopt(
        self, book: Book, size: float, price: float, opened: int, tickets: Mapping[str, float], profit: float, now: int
    ) -> None:
        """Let *book* hold what somebody else's trades made of it; no trade of its own comes of that.

        Args:
            book: Of positions that Herald did not open.
            size: Lots, signed; 0 for none any more.
            price: Mean entry price.
            opened: When it was opened, nanoseconds UTC.
            tickets: Lots, signed, by ticket.
            profit: Of what others closed of it, account currency.
            now: The engine's time, nanoseconds UTC.
        """
        before = book.state()
        worth = size * price * book.contract if size else 0.0
        book.load(
            BookState(
                book.strategy, book.symbol, size, price if size else _FLAT, before.realized, before.realized - worth,
                opened if size else 0, 0.0, "", "", dict(tickets),
            )
        )  # fmt: skip
        self.open.pop(book.key, None)
        if size:
            self.open[book.key] = book
        if self._by_symbol is not None:
            self._by_symbol.touch(book)
        book.note(now)
        self.balance += profit
        self._times.append(now)
        self._balances.append(self.balance)

    def open_books(self) -> list[Book]:
        """Return every book that is not flat, in config order."""
        if len(self.open) < 2:
            return list(self.open.values())
        return [book for book in self.books.values() if book.size != 0]

    def open_profit(self, prices: _Prices, but: Book | None = None) -> float:
        """Return the open profit of all books without *but* at the last prices, account currency."""
        if len(self.open) < _MANY:
            return prices.open_profit(self.open_books() if but is None else self.open.values(), but)
        if self._by_symbol is None:
            self._by_symbol = _Sums(self.open.values())
        profit = self._by_symbol.profit(prices)
        return profit if but is None else profit - prices.open_profit((but,))

    def revalue(self, moments: IntArray, marks: _Marks) -> Mapping[str, FloatArray]:
        """Return the account at many moments at once.

        Args:
            moments: Increasing times, nanoseconds UTC, shape (n,).
            marks: Gives bid, ask (the same array where there is no spread) and rate (account currency per quote
                currency; None where they are the same) of a symbol at moments, each of shape (n,).

        Returns:
            ``equity``, ``balance`` and ``exposure``, each of shape (n,), account currency.
        """
        if self.catch_up is not None:
            self.catch_up()
        n = len(moments)
        equity, balance, exposure = np.empty(n), np.empty(n), np.zeros(n)
        for start in range(0, n, _PIECE):
            piece = slice(start, start + _PIECE)
            balance[piece] = _steps(moments[piece], self._times, (self._balances, self.cash))[0]
            equity[piece] = balance[piece]
            if self._swap_times:
                equity[piece] += _steps(moments[piece], self._swap_times, (self._swaps, 0.0))[0]
            for book in self.books.values():
                if book.changes:
                    _value(book, moments[piece], marks, equity[piece], exposure[piece])
        return {"equity": equity, "balance": balance, "exposure": exposure}


_PIECE = 16_384
"""Moments that are valued at a time: the columns in between stay in the processor's cache."""


def _value(book: Book, moments: IntArray, marks: _Marks, equity: FloatArray, exposure: FloatArray) -> None:
    """Add what *book* is worth at each moment to *equity* and *exposure*."""
    size, entry = _steps(moments, book.changes, (book.sizes, 0.0), (book.entries, _FLAT))
    held = np.flatnonzero(size)
    if not len(held):
        return
    first, last = int(held[0]), int(held[-1])
    # A slice is a view where an index array would copy; a strategy that is always in the market has one.
    at = slice(first, last + 1) if last - first + 1 == len(held) else held
    bid, ask, rate = marks(book.symbol, moments)
    lots = size[at]
    price = bid[at]
    if ask is not bid:
        price = np.where(lots > 0, price, ask[at])
    worth = lots * book.contract
    if rate is not None:
        worth *= rate[at]
    equity[at] += (price - entry[at]) * worth
    exposure[at] += np.abs(worth * price)


def _steps(moments: IntArray, times: array[int], *columns: tuple[array[float], float]) -> list[FloatArray]:
    """Return, at each moment, the numbers of the last change that is not later.

    Args:
        moments: Increasing, nanoseconds UTC, shape (n,), n >= 1.
        times: Of the changes, nanoseconds UTC, increasing.
        columns: The numbers after each change, and the one before the first.
    """
    first = bisect_right(times, int(moments[0]))
    last = bisect_right(times, int(moments[-1]), first)
    before = [numbers[first - 1] if first else start for numbers, start in columns]
    if first == last:
        return [np.full(len(moments), value) for value in before]
    starts = np.searchsorted(moments, np.array(times[first:last]), side="left")
    lengths = np.diff(starts, prepend=0, append=len(moments))
    return [
        np.repeat(np.concatenate(([value], numbers[first:last])), lengths)
        for value, (numbers, _) in zip(before, columns, strict=True)
    ]
