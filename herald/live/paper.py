"""A paper account: the prices of a real connector, the fills of the simulator, a book that survives a restart.

To everything outside it is a connector like any other, behind the same worker, journal and gate as a broker's. It fills
on quotes where there are quotes and on bars by the numbered fill rules where there are none.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from herald.clock import Clock
from herald.contracts import Cancel, Capabilities, Connector, Modify, Submit
from herald.engine.book import Book, Ledger
from herald.engine.feed import Feed
from herald.errors import ConnectorError, RejectedError
from herald.live.chain import GuardedConnector
from herald.live.market import QuotedMarket
from herald.model import (
    Account,
    AccountMode,
    Bar,
    BarSeries,
    Event,
    Fill,
    Instrument,
    Moment,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Position,
    Quote,
    Timeframe,
)
from herald.simulator.broker import FillRules, Simulator, Waiting
from herald.simulator.costs import Costs
from herald.utils.redaction import redact_packed

__all__ = ["PaperBook", "PaperConnector"]


_SERVER = "herald paper"


class _FillRow(msgspec.Struct, frozen=True):
    """A fill with what is needed to apply it again."""

    fill: Fill
    rate: float
    now: int


class PaperBook:
    """The file that a paper account lives in: orders, fills and what rests.

    It is the broker's book, not Herald's journal: it knows nothing of strategies beyond their names, and Herald asks it
    after a crash as it would ask a broker.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the book at *path*, or one in memory.

        Raises:
            ConnectorError: The file cannot be used.
        """
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            # The worker's thread uses it, and closes it; it is opened by whoever builds the worker.
            self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            for name in ("orders", "resting"):
                self._db.execute(f"CREATE TABLE IF NOT EXISTS {name} (id TEXT PRIMARY KEY, tag TEXT, time INTEGER, data BLOB)")
            self._db.execute("CREATE INDEX IF NOT EXISTS by_tag ON orders (tag)")
            self._db.execute("CREATE TABLE IF NOT EXISTS fills (number INTEGER PRIMARY KEY, time INTEGER, data BLOB)")
            self._db.execute("CREATE TABLE IF NOT EXISTS account (id TEXT)")
            self._db.execute("CREATE TABLE IF NOT EXISTS played (time INTEGER)")
            nights = "strategy TEXT, symbol TEXT, swap REAL, due INTEGER, PRIMARY KEY (strategy, symbol)"
            self._db.execute(f"CREATE TABLE IF NOT EXISTS nights ({nights})")
        except (sqlite3.Error, OSError) as error:
            raise ConnectorError(
                f"the paper account {str(path)!r} cannot be opened: {error}; move it away to begin anew"
            ) from error

    def __enter__(self) -> PaperBook:
        """Start a group of changes that count together."""
        self._db.execute("BEGIN")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Keep the group, or nothing of it after an error."""
        self._db.execute("COMMIT" if error is None else "ROLLBACK")

    def account_id(self, fresh: str) -> str:
        """Return the number of the account; *fresh* becomes it where the book is new."""
        found = self._db.execute("SELECT id FROM account").fetchone()
        if found is None:
            self._db.execute("INSERT INTO account VALUES (?)", (fresh,))
            return fresh
        return str(found[0])

    def played(self) -> int:
        """Return up to which time recorded data was played, nanoseconds UTC; 0 where none was."""
        found = self._db.execute("SELECT time FROM played").fetchone()
        return 0 if found is None else int(found[0])

    def play(self, time: int) -> None:
        """Note that recorded data was played up to *time*."""
        self._db.execute("DELETE FROM played")
        self._db.execute("INSERT INTO played VALUES (?)", (time,))

    def order(self, order: Order) -> None:
        """Keep an order in its last state."""
        data = redact_packed(msgspec.msgpack.encode(order))
        row = (order.id, order.request.client_tag, order.time, data)
        self._db.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", row)

    def fill(self, fill: Fill, rate: float, now: int) -> None:
        """Keep a fill."""
        row = (fill.time, redact_packed(msgspec.msgpack.encode(_FillRow(fill, rate, now))))
        self._db.execute("INSERT INTO fills (time, data) VALUES (?, ?)", row)

    def gathers(self, rows: Sequence[tuple[str, str, float, int]]) -> None:
        """Keep (strategy, symbol, swap gathered, end of the next night) of books, all of them or none."""
        kept = "INSERT OR REPLACE INTO nights VALUES (?, ?, ?, ?)"
        if self._db.in_transaction:
            self._db.executemany(kept, rows)
            return
        with self:
            self._db.executemany(kept, rows)

    def gathered(self) -> list[tuple[str, str, float, int]]:
        """Return what `gathers` kept."""
        return list(self._db.execute("SELECT strategy, symbol, swap, due FROM nights"))

    def rests(self, resting: Sequence[Waiting]) -> None:
        """Keep what rests, in the order of placement."""
        self._db.execute("DELETE FROM resting")
        rows = [
            (one.request.id, one.request.client_tag, place, redact_packed(msgspec.msgpack.encode(one)))
            for place, one in enumerate(resting)
        ]
        self._db.executemany("INSERT INTO resting VALUES (?, ?, ?, ?)", rows)

    def orders(self) -> list[Order]:
        """Return every order in its last state."""
        rows = self._db.execute("SELECT data FROM orders ORDER BY rowid")
        return [msgspec.msgpack.decode(data, type=Order) for (data,) in rows]

    def find(self, tag: str) -> list[Order]:
        """Return the orders with a client tag."""
        rows = self._db.execute("SELECT data FROM orders WHERE tag = ?", (tag,))
        return [msgspec.msgpack.decode(data, type=Order) for (data,) in rows]

    def fills(self, since: int) -> list[_FillRow]:
        """Return the fills at or after *since*, in order."""
        rows = self._db.execute("SELECT data FROM fills WHERE time >= ? ORDER BY number", (since,))
        return [msgspec.msgpack.decode(data, type=_FillRow) for (data,) in rows]

    def resting(self) -> list[Waiting]:
        """Return what rests, in the order of placement."""
        rows = self._db.execute("SELECT data FROM resting ORDER BY time")
        return [msgspec.msgpack.decode(data, type=Waiting) for (data,) in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class PaperConnector:
    """Prices of one connector, a simulated broker behind them."""

    def __init__(
        self,
        data: Connector,
        book: PaperBook,
        feeds: Sequence[tuple[str, Timeframe]],
        owners: Sequence[tuple[str, str]],
        instruments: Mapping[str, Instrument],
        clock: Clock,
        *,
        cash: float,
        currency: str,
        leverage: float,
        mode: AccountMode,
        costs: Costs,
        rules: FillRules,
        conversions: Mapping[str, str],
        max_age: int,
        opened: int = 0,
    ) -> None:
        """Set up the account as its book left it.

        Args:
            data: Where prices come from; its layers are around it.
            book: The account's file.
            feeds: (symbol, time frame) of every series; the finest of a symbol fills its orders.
            owners: (strategy, symbol) of every book, in config order; sums are made in this order.
            instruments: Terms of every symbol.
            clock: Tells the time of the run.
            cash: Starting balance of a new account, account currency.
            currency: Of the account.
            leverage: Of the account.
            mode: Netting or hedging.
            costs: What trades cost.
            rules: What is assumed inside a bar.
            conversions: Symbol that converts a currency, by currency.
            max_age: Oldest conversion price that is used, nanoseconds.
            opened: When a new account is opened, nanoseconds UTC.
        """
        self._data = data
        # The worker lets the layers around the account tick; those around the prices are for the account to look after.
        self._tick = data.tick if isinstance(data, GuardedConnector) else None
        self._book = book
        # Two accounts of one name must not be taken for each other: the moment it was opened tells them apart.
        self._id = book.account_id(f"paper-{opened:x}")
        self._clock = clock
        # Recorded data brings its own time: it is known here first, before the fills that it makes.
        self._set_time: Callable[[int], None] | None = getattr(clock, "set", None)
        self._currency = currency
        self._instruments = dict(instruments)
        self._feeds: dict[str, Feed] = {}
        for symbol, timeframe in feeds:
            known = self._feeds.get(symbol)
            if known is None or timeframe.span < known.span:
                spread = costs.spread_points * instruments[symbol].price_step
                self._feeds[symbol] = Feed(symbol, timeframe.span, 0.0 if costs.spread_data else spread)
        self._market = QuotedMarket(self._feeds, instruments, currency, conversions, list(self._feeds), max_age)
        self._ledger = Ledger(cash)
        for strategy, symbol in owners:
            self._ledger.add(strategy, instruments[symbol])
        self._out: list[Event] = []
        self._lockstep = data.capabilities().lockstep
        self._waiting: Event | None = None
        self._ahead: deque[Event] = deque()
        self._played = book.played() if self._lockstep else 0
        self._orders: dict[str, Order] = {}
        self._now = 0
        self._simulator = Simulator(
            self._ledger,
            self._market,
            self._on_order,
            self._on_fill,
            costs=costs,
            rules=rules,
            currency=currency,
            leverage=leverage,
            mode=mode,
            instruments=[instruments[symbol] for symbol in dict.fromkeys(symbol for _, symbol in owners)],
            on_charge=lambda: self._gathers(self._ledger.open_books()),
        )
        self._restore()

    def warm(self, feed: Feed) -> None:
        """Take the history of *feed* over, so that there is a price from the start."""
        mine = self._feeds.get(feed.symbol)
        if mine is not None and mine.span == feed.span and not mine.count:
            history = feed.series(feed.count)
            for index in range(len(history)):
                mine.append(history.bar(index))

    def _restore(self) -> None:
        for order in self._book.orders():
            self._orders[order.id] = order
        for row in self._book.fills(0):
            request = self._orders[row.fill.order_id].request
            self._ledger.apply(row.fill, request, self._its_book(request), row.rate, row.now)
        if self._simulator.swaps is not None:
            for strategy, symbol, swap, due in self._book.gathered():
                book = self._ledger.books.get((strategy, symbol))
                if book is not None and book.size:
                    self._ledger.charge(book, swap, 0)
                    self._simulator.swaps.resume(symbol, due)
        waiting = self._book.resting()
        for one in waiting:
            self._its_book(one.request)
        self._simulator.restore(waiting, len(self._ledger.fills))
        for order in self._orders.values():
            if order.is_working:
                self._its_book(order.request).working[order.id] = order

    def _its_book(self, request: OrderRequest) -> Book:
        instrument = self._instruments.get(request.symbol)
        if instrument is None:
            raise RejectedError("unknown_symbol", f"the paper account has no prices of {request.symbol!r}")
        return self._ledger.add(request.strategy, instrument)

    # --- the simulator's side ---------------------------------------------------------------------

    def _on_order(self, order: Order) -> None:
        self._orders[order.id] = order
        book = self._its_book(order.request)
        if order.is_working:
            book.working[order.id] = order
        else:
            book.working.pop(order.id, None)
        self._book.order(order)
        self._out.append(order)

    def _on_fill(self, fill: Fill) -> None:
        before = self._orders[fill.order_id]
        book = self._its_book(before.request)
        rate = self._market.rate(fill.symbol) if self._market.converts else 1.0
        self._ledger.apply(fill, before.request, book, rate, self._now)
        after = self._orders[fill.order_id] = before.after(fill)
        if after.status is OrderStatus.FILLED:
            book.working.pop(fill.order_id, None)
        else:
            book.working[fill.order_id] = after
        self._book.order(after)
        self._book.fill(fill, rate, self._now)
        self._gathers([book])
        # The account as it is with this execution, for whoever asks while he hears of it.
        self._out += [self.account(), fill]

    def _gathers(self, books: Sequence[Book]) -> None:
        """Keep what positions have gathered overnight."""
        swaps = self._simulator.swaps
        if swaps is not None:
            self._book.gathers([(one.strategy, one.symbol, one.swap, due) for one in books if (due := swaps.due(one.symbol))])

    def _keep(self) -> None:
        self._book.rests(self._simulator.waiting())

    # --- prices -----------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect the source of prices."""
        self._data.connect()

    def disconnect(self) -> None:
        """Disconnect the source of prices."""
        self._data.disconnect()

    def ping(self) -> None:
        """Ask the source of prices."""
        self._data.ping()

    def capabilities(self) -> Capabilities:
        """Return what the account can do: everything that the simulator can."""
        data = self._data.capabilities()
        return Capabilities(
            trading=True,
            history=data.history,
            streaming=data.streaming,
            lockstep=data.lockstep,
            order_types=frozenset(OrderType),
            modes=frozenset(AccountMode),
            idempotent_ids=True,
            own_ids=True,
            brackets=True,
            modify=True,
            order_events=True,
            simulated=True,
        )

    def instruments(self) -> Sequence[Instrument]:
        """Return the terms of every symbol."""
        return self._data.instruments()

    def subscribe(self, feeds: Sequence[tuple[str, Timeframe | None]]) -> None:
        """Ask the source of prices."""
        self._data.subscribe(feeds)

    def quote(self, symbol: str) -> Quote:
        """Return the last quote of the source."""
        return self._data.quote(symbol)

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the bars of the source."""
        return self._data.bars(symbol, timeframe, start, end)

    def poll(self) -> Sequence[Event]:
        """Return what is new: what the prices filled comes before the prices themselves.

        Recorded data waits for whoever trades: what an execution makes him ask for rests before the prices are told, as in
        a backtest. Live prices wait for nobody.
        """
        if self._tick is not None:
            self._tick()
        if self._lockstep:
            return self._step()
        out: list[Event] = []
        news = self._data.poll()
        with self._book:
            for event in news:
                self._match(event)
                out += self._taken()
                out += self._happen(event)
        return out or self._taken()

    def _step(self) -> Sequence[Event]:
        """Go one step: first what orders met, then what was asked for because of it, then the prices."""
        if self._out:
            return self._taken()
        if self._waiting is None:
            if not self._ahead:
                self._ahead.extend(self._data.poll())
            if not self._ahead:
                return ()
            event = self._ahead.popleft()
            if isinstance(event, Moment | Bar):
                if event.time <= self._played:
                    return ()  # an earlier run of this account has seen it
                self._played = event.time
            self._waiting = event
            with self._book:
                self._book.play(self._played)
                self._match(event)
            if self._out:
                return self._taken()
        event, self._waiting = self._waiting, None
        return self._happen(event)

    def _match(self, event: Event) -> None:
        """Fill what rests on the prices of *event*."""
        if isinstance(event, Moment):
            self._bars(event.time, event.bars)
        elif isinstance(event, Bar):
            self._bars(event.time, (event,))
        elif isinstance(event, Quote):
            self._quoted(event)
        if self._out:
            self._keep()

    def _happen(self, event: Event) -> list[Event]:
        """Let the prices of *event* be known; return it with the account as it is then."""
        if not isinstance(event, Moment | Bar):
            return [event]
        for bar in event.bars if isinstance(event, Moment) else (event,):
            if self._is_finest(bar):
                self._feeds[bar.symbol].append(bar)
        return [self.account(), event]

    def _is_finest(self, bar: Bar) -> bool:
        return bar.symbol in self._feeds and self._feeds[bar.symbol].span == bar.span

    def _taken(self) -> list[Event]:
        taken, self._out = self._out, []
        return taken

    def _bars(self, time: int, bars: Sequence[Bar]) -> None:
        """Fill what rests on the finest bars."""
        if self._set_time is not None:
            self._set_time(time)
        self._now = time
        for bar in filter(self._is_finest, bars):
            if bar.symbol in self._simulator.resting and bar.symbol not in self._market.quotes:
                spread = self._feeds[bar.symbol].fixed_spread
                prices = (bar.open, bar.high, bar.low, bar.close)
                self._simulator.match(bar.symbol, bar.time, bar.span, prices, bar.volume, spread)

    def _quoted(self, quote: Quote) -> None:
        self._now = quote.time
        if self._set_time is not None:
            self._set_time(quote.time)
        if quote.symbol not in self._feeds:
            return
        if self._simulator.swaps is not None:
            self._simulator.swaps.settle(quote.symbol, quote.time, quote.time)  # by the price before this one
        self._market.take(quote)
        if quote.symbol in self._simulator.resting:
            flat = (quote.bid,) * 4
            self._simulator.match(quote.symbol, quote.time, 0, flat, float("nan"), round(quote.ask - quote.bid, 10))

    # --- the account ------------------------------------------------------------------------------

    def account(self) -> Account:
        """Return the account, valued at the last prices."""
        account = self._simulator.account(self._now or self._clock.now())
        return msgspec.structs.replace(account, id=self._id, server=_SERVER)

    def positions(self) -> Sequence[Position]:
        """Return what is open, one position a symbol; what strategies hold of one symbol is added up."""
        held: dict[str, float] = {}
        for book in self._ledger.open_books():
            held[book.symbol] = round(held.get(book.symbol, 0.0) + book.size, 10)
        return [Position(symbol, size) for symbol, size in held.items() if size]

    def open_orders(self) -> Sequence[Order]:
        """Return the working orders, oldest first."""
        return [order for order in self._orders.values() if order.is_working]

    def submit(self, request: OrderRequest) -> str:
        """Take an order; the same one again is answered with what there is."""
        if request.id in self._orders:
            return request.id
        book = self._its_book(request)
        if request.position is not None:
            raise RejectedError("no_tickets", "the paper account keeps no tickets; leave position out")
        with self._book:
            self._ledger.add(request.strategy, book.instrument)
            self._simulator.accept(Submit(request), self._clock.now())
            self._keep()
        return request.id

    def modify(self, broker_id: str, request: OrderRequest) -> None:
        """Change a working order; one that is gone is left alone, as in a backtest."""
        order = self._orders.get(broker_id)
        if order is not None and order.is_working:
            self._change(Modify(request))

    def cancel(self, broker_id: str) -> None:
        """Withdraw an order; one that is gone already is success."""
        order = self._orders.get(broker_id)
        if order is not None and order.is_working:
            self._change(Cancel(order.request))

    def _change(self, command: Modify | Cancel) -> None:
        with self._book:
            self._simulator.accept(command, self._clock.now())
            self._keep()

    def find(self, client_tag: str, since: int) -> Sequence[Order]:
        """Return the orders with this client tag, working or not."""
        return self._book.find(client_tag)

    def fills(self, since: int) -> Sequence[Fill]:
        """Return the fills since a time."""
        return [row.fill for row in self._book.fills(since)]
