"""A broker made of bars: it keeps orders and fills them by the numbered rules of ``docs/fill-rules.md``.

The numbers in comments (``F3``, ``C2``) are those rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from herald.clock import DAY
from herald.contracts import Cancel, Command, Modify, Submit
from herald.engine.book import Book, Ledger
from herald.errors import OrderError
from herald.model import (
    Account,
    AccountMode,
    Fill,
    Instrument,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from herald.simulator.costs import Costs
from herald.simulator.margin import Margins, Marks
from herald.simulator.swap import Swaps

__all__ = ["FillRules", "Intrabar", "Simulator", "Waiting"]

_BUY = Side.BUY
_MARKET, _LIMIT, _STOP, _STOP_LIMIT = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
_ACCEPTED, _PARTIAL, _CANCELLED = OrderStatus.ACCEPTED, OrderStatus.PARTIAL, OrderStatus.CANCELLED
_GTC = TimeInForce.GTC
_NEVER = 2**63 - 1


class Intrabar(StrEnum):
    """What is assumed of the way a price took inside a bar."""

    WORSE = "worse"
    """Where it matters, what is worse for the account."""
    BETTER = "better"
    """Where it matters, what is better for the account."""
    OHLC = "ohlc"
    """Open, high, low, close, in this order."""
    NEAREST = "nearest"
    """Open, then whichever of high and low is nearer to it, then the other, then close."""


@dataclass(frozen=True, slots=True)
class FillRules:
    """How the simulator treats what a bar does not say.

    Attributes:
        intrabar: The assumed way inside a bar.
        participation: Largest share of a bar's volume that one bar fills, in (0, 1]; None for no limit.
    """

    intrabar: Intrabar = Intrabar.WORSE
    participation: float | None = None


class _Resting(msgspec.Struct, gc=False):
    """An order that waits at the broker."""

    request: OrderRequest
    book: Book
    expires: int = _NEVER
    armed: bool = True
    """A stop-limit order works as a limit order only once its stop was reached."""
    filled: float = 0.0
    cost: float = 0.0
    """Sum of price times size of what was filled."""
    charged: float = 0.0
    """Commission taken so far."""
    since: OrderType | None = None
    """For a bracket born inside this bar: how its entry was filled."""
    spent: float = 0.0
    """Lots that the bracket's other order has closed already."""

    def order(self, status: OrderStatus, time: int, code: str = "", reason: str = "") -> Order:
        """Return the order as the broker states it."""
        average = self.cost / self.filled if self.filled else math.nan
        return Order(self.request, status, time, self.request.id, self.filled, average, code, reason)


class Waiting(msgspec.Struct, frozen=True):
    """An order that waits at the broker, as a value; the fields are those of its life between two bars.

    Attributes:
        request: What was asked.
        expires: When it ends, nanoseconds UTC.
        armed: Whether the stop of a stop-limit order was reached.
        filled: Lots filled so far.
        cost: Sum of price times size of those.
        charged: Commission taken so far, account currency.
        spent: Lots that the bracket's other order has closed already.
    """

    request: OrderRequest
    expires: int
    armed: bool
    filled: float
    cost: float
    charged: float
    spent: float


class _Bar(msgspec.Struct, gc=False):
    """The bar that is being matched."""

    time: int
    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    spread: float
    left: float = math.inf
    """Lots this bar can still fill."""


class Simulator:
    """Takes commands, keeps what rests, and turns bars into fills.

    Attributes:
        resting: Every order that waits, by symbol and id, in the order of placement; a symbol without one has no entry.
        swaps: What positions pay overnight; None where no instrument states a swap.
    """

    def __init__(
        self,
        ledger: Ledger,
        marks: Marks,
        on_order: Callable[[Order], None],
        on_fill: Callable[[Fill], None],
        *,
        costs: Costs,
        rules: FillRules,
        currency: str,
        leverage: float,
        mode: AccountMode,
        instruments: Iterable[Instrument] = (),
        on_charge: Callable[[], None] | None = None,
    ) -> None:
        """Set up an empty order book.

        Args:
            ledger: The account's books. *on_fill* applies the fills to it before it returns,
                so the simulator always sees the positions that its last fill made.
            marks: Last known prices and rates.
            on_order: Receives every change of an order at once.
            on_fill: Receives every fill at once.
            costs: What trades cost.
            rules: What is assumed inside a bar.
            currency: Of the account.
            leverage: Of the account, >= 1.
            mode: Netting or hedging.
            instruments: Terms of the traded symbols, for the swap that they state.
            on_charge: Told that positions were charged for a night.

        Raises:
            ConfigError: A swap is stated in a currency that is not known.
        """
        self.resting: dict[str, dict[str, _Resting]] = {}
        self._ledger = ledger
        self._marks = marks
        self._on_order = on_order
        self._on_fill = on_fill
        self._costs = costs
        self._rules = rules
        self._currency = currency
        self._leverage = leverage
        self._mode = mode
        self._slips = costs.has_slippage
        self._charges = costs.has_commission
        self._margins = Margins(marks, leverage, mode)
        swaps = Swaps(ledger, marks, instruments, currency, mode, on_charge)
        self.swaps = swaps if swaps else None
        if swaps:
            ledger.catch_up = swaps.catch_up
        self._matching = ""
        self._fills = 0

    # --- commands ---------------------------------------------------------------------------------

    def accept(self, command: Command, now: int) -> None:
        """Take a command at *now* (nanoseconds UTC); orders rest until the next bar of their symbol (F1)."""
        request = command.request
        if type(command) is Submit:
            resting = _Resting(request, self._ledger.books[request.strategy, request.symbol])
            if request.time_in_force is not _GTC:
                resting.expires = _expiry(request, now)
            if request.type is _STOP_LIMIT:
                resting.armed = False
            self._rest(resting, now)
            return
        waiting = self.resting.get(request.symbol, {}).get(request.id)
        if waiting is None:
            return  # it is gone already
        if type(command) is Cancel:
            self._end(waiting, _CANCELLED, now, "", "cancelled")
        elif type(command) is Modify:
            waiting.request = request
            waiting.expires = _expiry(request, now)
            self._on_order(waiting.order(_PARTIAL if waiting.filled else _ACCEPTED, now))

    def _rest(self, resting: _Resting, now: int) -> None:
        request = resting.request
        name = request.id
        orders = self.resting.get(request.symbol)
        if orders is None:
            self.resting[request.symbol] = {name: resting}
        else:
            orders[name] = resting
        self._on_order(Order(request, _ACCEPTED, now, name))

    def _remove(self, request: OrderRequest) -> None:
        orders = self.resting[request.symbol]
        del orders[request.id]
        # While a symbol is matched its orders stay where the loops over them look: a bracket may follow.
        if not orders and request.symbol != self._matching:
            del self.resting[request.symbol]

    def _end(self, resting: _Resting, status: OrderStatus, time: int, code: str, reason: str) -> None:
        self._remove(resting.request)
        self._on_order(resting.order(status, time, code, reason))

    # --- matching ---------------------------------------------------------------------------------

    def match(
        self,
        symbol: str,
        time: int,
        span: int,
        prices: tuple[float, float, float, float],
        volume: float,
        spread: float,
    ) -> None:
        """Fill what the bar of *symbol* that ends at *time* fills, oldest order first.

        Args:
            symbol: The instrument; it has at least one waiting order.
            time: End of the bar, nanoseconds UTC.
            span: Its length, nanoseconds.
            prices: Open, high, low, close: bid prices.
            volume: Of the bar; NaN where unknown.
            spread: Ask minus bid, quote currency per unit.
        """
        orders = self.resting[symbol]
        start = time - span
        bar = _Bar(time, start, *prices, volume, spread)
        if self._rules.participation is not None:
            contract = next(iter(orders.values())).book.instrument.contract_size
            bar.left = self._rules.participation * volume / contract
        self._matching = symbol
        swaps = self.swaps
        if swaps is not None:
            swaps.settle(symbol, start, time)  # C8: a night that ends when the bar begins is over before its first price
        self._at_open(orders, bar)
        if orders:
            if swaps is not None:
                swaps.settle(symbol, time - 1, time)
            if self._rules.intrabar in (Intrabar.WORSE, Intrabar.BETTER):
                self._inside(orders, bar, better=self._rules.intrabar is Intrabar.BETTER)
            else:
                self._along(orders, bar)
            for resting in list(orders.values()):
                resting.since = None
                if resting.expires <= time and resting.request.id in orders:  # F12
                    self._end(resting, OrderStatus.EXPIRED, time, "", "expired")
        self._matching = ""
        if not orders:
            del self.resting[symbol]

    def straight(
        self, request: OrderRequest, time: int, price: float, spread: float, reach: float, volume: float, end: int
    ) -> None:
        """Accept a plain market order and fill it on the next bar, in one go.

        The result is that of `accept` and `match` for a plain request, with no other order waiting, nobody listening
        to order events and no limit to what a bar fills; a third of the work.

        Args:
            request: The order.
            time: Start of the next bar, nanoseconds UTC.
            price: Its open (bid).
            spread: Ask minus bid.
            reach: Its high minus low.
            volume: Its volume.
            end: Its end, nanoseconds UTC.
        """
        book = self._ledger.books[request.strategy, request.symbol]
        if self.swaps is not None:
            self.swaps.settle(request.symbol, time, end)
        size = request.size
        change = -size
        if request.side > 0:
            change = size
            if spread:
                price = round(price + spread, 10)
        fee = 0.0
        if self._slips:
            price = round(price + request.side * self._costs.slip(price, size, reach, volume, book.instrument), 10)
        if self._charges:
            fee = self._costs.commission(size, price, self._marks.rate(request.symbol), book.instrument)
        held = book.size
        if held * change >= 0 or size > abs(held):
            lacking = self._lacking(book, change, price, fee)
            if lacking > 0:
                text = f"margin for {size} lots of {request.symbol} is missing {lacking:.2f} {self._currency}"
                self._on_order(Order(request, OrderStatus.REJECTED, time, request.id, code="no_money", reason=text))
                return
        swap = _paid(book, change) if book.swap else 0.0
        self._fills = number = self._fills + 1
        self._margins.touch(book)
        self._on_fill(Fill(str(number), request.id, request.symbol, request.side, size, price, fee, self._currency, time, swap))

    @property
    def is_thin(self) -> bool:
        """Return whether a bar may fill less than is asked for."""
        return self._rules.participation is not None

    def _at_open(self, orders: dict[str, _Resting], bar: _Bar) -> None:
        """Fill what the first price of the bar fills: F2, F3, F4, and the end of IOC and FOK orders (F11)."""
        queue = list(orders.values())
        for resting in queue:
            request = resting.request
            if resting.expires <= bar.start:
                if request.id in orders:
                    self._end(resting, OrderStatus.EXPIRED, resting.expires, "", "expired")
                continue
            price = bar.open + bar.spread if request.side is _BUY else bar.open
            kind = request.type
            if kind is _MARKET:
                fills = True
            elif kind is _STOP:
                fills = _beyond(request, price)
            elif resting.armed:
                fills = _within(request, price)
            elif _beyond(request, price):
                resting.armed = True  # from here on a limit order, which this price may fill at once
                fills = _within(request, price)
            else:
                fills = False
            # An order that the fill of an earlier one withdrew is still in the queue.
            if fills and (len(queue) == 1 or request.id in orders):
                queue.extend(self._fill(resting, price, bar, bar.start, _MARKET))
            if request.time_in_force is not _GTC and request.time_in_force in _AT_ONCE and request.id in orders:
                self._end(resting, _CANCELLED, bar.time, "", f"{request.time_in_force}: not filled at once")

    def _inside(self, orders: dict[str, _Resting], bar: _Bar, *, better: bool) -> None:
        """Fill what the range of the bar reaches, the worse (or the better) assumption first: F5-F8."""
        first = _LIMIT if better else _STOP
        queue = [resting for resting in orders.values() if self._reached(resting, bar, better)]
        queue.sort(key=lambda resting: resting.request.type is not first)  # stable: placement order within a kind
        while queue:
            resting = queue.pop(0)
            if resting.request.id not in orders:
                continue
            price, how = _touch(resting)
            if price is None:
                continue
            born = [child for child in self._fill(resting, price, bar, bar.time, how) if self._reached(child, bar, better)]
            born.sort(key=lambda child: child.request.type is not first)
            queue[:0] = born

    def _reached(self, resting: _Resting, bar: _Bar, better: bool) -> bool:
        """Return whether the range of the bar reaches the order's price, given what is known of the way."""
        request = resting.request
        if request.type is _MARKET or resting.expires < bar.time:
            return False  # a market order has only the open; the other ended somewhere inside the bar (F12)
        up = request.side is _BUY
        offset = bar.spread if up else 0.0
        if not resting.armed or request.type is _STOP:
            level = _price(request.stop)
            reached = bar.high + offset >= level if up else bar.low <= level
            certain = bar.close + offset >= level if up else bar.close <= level
        else:
            level = _price(request.limit)
            reached = bar.low + offset <= level if up else bar.high >= level
            certain = bar.close + offset <= level if up else bar.close >= level
        if not reached or resting.since is None or resting.since is _MARKET or certain:
            return reached
        # A bracket born inside this bar: was its price reached before or after the entry? (F8)
        is_stop = request.type is _STOP
        after = is_stop if resting.since is _LIMIT else not is_stop
        return after or (is_stop if not better else not is_stop)

    def _along(self, orders: dict[str, _Resting], bar: _Bar) -> None:
        """Walk open - extreme - extreme - close and fill what lies on the way, in that order (F9)."""
        up_first = self._rules.intrabar is Intrabar.OHLC or bar.high - bar.open <= bar.open - bar.low
        turns = (bar.high, bar.low, bar.close) if up_first else (bar.low, bar.high, bar.close)
        at = bar.open
        stuck: set[str] = set()  # what this bar has no volume left for
        for turn in turns:
            while True:
                nearest: _Resting | None = None
                best = math.inf
                for name, resting in orders.items():
                    level = None if name in stuck else _on_the_way(resting, at, turn, bar)
                    if level is not None and abs(level - at) < best:
                        nearest, best = resting, abs(level - at)
                if nearest is None:
                    break
                at = at + best if turn > at else at - best
                price, how = _touch(nearest)
                if price is not None:
                    self._fill(nearest, price, bar, bar.time, how)
                    stuck.add(nearest.request.id)
            at = turn

    # --- filling ----------------------------------------------------------------------------------

    def _fill(self, resting: _Resting, price: float, bar: _Bar, time: int, how: OrderType) -> Sequence[_Resting]:
        """Fill *resting* at *price* as far as it goes; return the bracket that was born.

        Args:
            resting: The order.
            price: Before slippage.
            bar: The bar that fills it.
            time: Stated in the fill.
            how: MARKET at the open, else the kind of trigger inside the bar.
        """
        request = resting.request
        book = resting.book
        side = request.side
        held = book.size
        size = request.size
        if resting.filled or request.reduce_only or bar.left < size:
            size = self._possible(resting, bar, time)
            if size == 0:
                return ()
        if self._slips and (request.type is _MARKET or request.type is _STOP):
            price = round(price + side * self._costs.slip(price, size, bar.high - bar.low, bar.volume, book.instrument), 10)
        elif bar.spread:
            price = round(price, 10)
        fee = 0.0
        if self._charges:
            rate = self._marks.rate(request.symbol)
            fee = self._costs.commission(resting.filled + size, price, rate, book.instrument) - resting.charged
            resting.charged += fee
        change = size if side > 0 else -size
        if held * change >= 0 or size > abs(held):
            lacking = self._lacking(book, change, price, fee)
            if lacking > 0:
                text = f"margin for {size} lots of {request.symbol} is missing {lacking:.2f} {self._currency}"
                self._end(resting, OrderStatus.REJECTED, time, "no_money", text)
                return ()
        swap = _paid(book, change) if book.swap else 0.0
        bar.left -= size
        self._fills = number = self._fills + 1
        resting.filled = filled = size if resting.filled == 0 else book.snap(resting.filled + size)
        resting.cost += price * size
        is_done = filled == request.size
        if is_done:
            self._remove(request)
        self._margins.touch(book)
        self._on_fill(Fill(str(number), request.id, request.symbol, side, size, price, fee, self._currency, time, swap))
        if self.resting:
            if request.reduce_only and not is_done and book.size == 0:
                self._end(resting, _CANCELLED, time, "nothing_to_reduce", "the position is closed already")
            self._withdraw(request, size, book, time)
        if request.stop_loss is None and request.take_profit is None:
            return ()
        return self._bracket(resting, how, time) if book.size * side > 0 else ()

    def _possible(self, resting: _Resting, bar: _Bar, time: int) -> float:
        """Return how many lots of an order the position and the bar's volume allow; 0 where none."""
        request = resting.request
        book = resting.book
        size = book.snap(request.size - resting.filled)
        if request.reduce_only:
            if book.size * request.side >= 0:
                self._end(resting, _CANCELLED, time, "nothing_to_reduce", "the position is closed already")
                return 0.0
            size = min(book.snap(size - resting.spent), abs(book.size))
        if size > bar.left:
            size = max(book.lots(bar.left), 0.0)
            if request.time_in_force is TimeInForce.FOK:
                return 0.0
        return size

    def _lacking(self, book: Book, change: float, price: float, fee: float) -> float:
        """Return how much money is missing to carry *change* more lots, account currency; at most 0 if none (C6)."""
        held = book.size
        after = held + change
        ledger = self._ledger
        marks = self._marks
        rate = marks.rate(book.symbol) if marks.converts else 1.0
        entry = price
        if self.swaps is not None:
            self.swaps.catch_up()
        worth = ledger.balance - fee + ledger.swap
        if held:
            worth += (price - book.average_price) * held * book.contract * rate
            if held * change > 0:
                entry = (book.average_price * held + price * change) / after
        if len(ledger.open) <= 1 and (held or not ledger.open):  # nothing else is open
            needed = abs(after) * rate * (book.instrument.margin or entry * book.contract / self._leverage)
        elif self._margins.surely_carries(book, after, entry, worth):
            return 0.0
        else:
            needed = self._margins.used_if(book, after, entry, rate)
            worth += ledger.open_profit(marks, book)
        lacking = needed - worth
        # Not a number means a rate or a price is unknown: such a trade is not carried.
        return lacking if lacking == lacking else math.inf

    def _withdraw(self, request: OrderRequest, size: float, book: Book, time: int) -> None:
        """Withdraw protection that has nothing left to protect (F10)."""
        if request.parent:
            for other in list(self.resting.get(request.symbol, {}).values()):
                if other.request.parent == request.parent and other.request.id != request.id and other.book is book:
                    other.spent = book.snap(other.spent + size)
                    if other.spent >= book.snap(other.request.size - other.filled):
                        self._end(other, _CANCELLED, time, "", f"{request.id} filled")
        held = book.size
        for other in list(self.resting.get(request.symbol, {}).values()):
            if other.request.parent and other.book is book and held * other.request.side >= 0:
                self._end(other, _CANCELLED, time, "", "the position is closed")

    def _bracket(self, entry: _Resting, how: OrderType, time: int) -> list[_Resting]:
        """Place stop loss and take profit of *entry* for what it has filled (F7)."""
        request = entry.request
        size = min(entry.filled, abs(entry.book.size))
        born = []
        for suffix, tag, kind, level in (
            ("sl", "stop_loss", _STOP, request.stop_loss),
            ("tp", "take_profit", _LIMIT, request.take_profit),
        ):
            if level is None:
                continue
            child = OrderRequest(
                f"{request.id}.{suffix}",
                request.strategy,
                request.symbol,
                Side(-request.side),
                size,
                kind,
                limit=level if kind is _LIMIT else None,
                stop=level if kind is _STOP else None,
                reduce_only=True,
                tag=tag,
                parent=request.id,
            )
            waiting = self.resting.get(child.symbol, {}).get(child.id)
            if waiting is not None:  # a later part of the same entry: the bracket grows
                waiting.request = child
                self._on_order(waiting.order(_PARTIAL if waiting.filled else _ACCEPTED, time))
            else:
                waiting = _Resting(child, entry.book, since=how)
                self._rest(waiting, time)
                born.append(waiting)
        return born

    # --- across a restart -------------------------------------------------------------------------

    def waiting(self) -> list[Waiting]:
        """Return what rests as values, in the order of placement, for a broker that outlives its process."""
        return [
            Waiting(one.request, one.expires, one.armed, one.filled, one.cost, one.charged, one.spent)
            for orders in self.resting.values()
            for one in orders.values()
        ]

    def restore(self, waiting: Sequence[Waiting], fills: int) -> None:
        """Let *waiting* rest again, without telling anybody; *fills* is how many fills there were, which numbers the next."""
        self._fills = fills
        for one in waiting:
            request = one.request
            resting = _Resting(
                request,
                self._ledger.books[request.strategy, request.symbol],
                one.expires,
                one.armed,
                one.filled,
                one.cost,
                one.charged,
                spent=one.spent,
            )
            self.resting.setdefault(request.symbol, {})[request.id] = resting
        for book in self._ledger.open_books():
            self._margins.touch(book)

    # --- the end ----------------------------------------------------------------------------------

    def close_out(self, book: Book, time: int, request: OrderRequest) -> None:
        """Close a book at the last known price, for ``on_stop = "flatten"`` (F14)."""
        if self.swaps is not None:
            self.swaps.settle(book.symbol, time, time)
        self.accept(Submit(request), time)
        price = self._marks.bid(book.symbol)
        spread = self._marks.ask(book.symbol) - price
        bar = _Bar(time, time, price, price, price, price, math.nan, spread)
        self._fill(
            self.resting[request.symbol][request.id], price + spread if request.side is _BUY else price, bar, time, _MARKET
        )

    def account(self, now: int) -> Account:
        """Return the account, valued at the last prices."""
        if self.swaps is not None:
            self.swaps.catch_up()
        worth = self._ledger.balance + self._ledger.swap + self._ledger.open_profit(self._marks)
        used = self._margins.used()
        return Account(
            id="simulated",
            server="herald",
            real=False,
            currency=self._currency,
            mode=self._mode,
            balance=self._ledger.balance,
            equity=worth,
            margin_used=used,
            margin_free=worth - used,
            leverage=self._leverage,
            time=now,
            swap=self._ledger.swap,
        )


_AT_ONCE = frozenset({TimeInForce.IOC, TimeInForce.FOK})


def _expiry(request: OrderRequest, now: int) -> int:
    """Return when the order ends, nanoseconds UTC (F12)."""
    if request.time_in_force is TimeInForce.DAY:
        return (now // DAY + 1) * DAY
    if request.time_in_force is TimeInForce.GTD and request.expires is not None:
        return request.expires
    return _NEVER


def _paid(book: Book, change: float) -> float:
    """Return what is paid of the swap that *book* has gathered, where it changes by *change* lots."""
    held = book.size
    return round(book.swap * min(abs(change / held), 1.0), 10) if held * change < 0 else 0.0


def _price(level: float | None) -> float:
    """Return a level that the order's type guarantees to be there."""
    if level is None:
        raise OrderError("an order lacks the price that its type needs")
    return level


def _beyond(request: OrderRequest, price: float) -> bool:
    """Return whether *price* is at or past the order's stop."""
    if request.stop is None:
        return False
    return price >= request.stop if request.side is _BUY else price <= request.stop


def _within(request: OrderRequest, price: float) -> bool:
    """Return whether *price* is at the order's limit or better."""
    if request.limit is None:
        return False
    return price <= request.limit if request.side is _BUY else price >= request.limit


def _touch(resting: _Resting) -> tuple[float | None, OrderType]:
    """Return at which price an order whose level was reached inside a bar fills, and as what.

    A stop-limit order is armed here; where its limit is not met at the stop price it goes on resting.
    """
    request = resting.request
    if request.type is _STOP:
        return request.stop, _STOP
    if resting.armed:
        return request.limit, _LIMIT
    resting.armed = True
    stop = _price(request.stop)
    return (stop if _within(request, stop) else None), _STOP


def _on_the_way(resting: _Resting, at: float, turn: float, bar: _Bar) -> float | None:
    """Return the bid price between *at* and *turn* at which the order is reached; None where it is not."""
    request = resting.request
    if request.type is _MARKET or resting.expires < bar.time:
        return None
    up = request.side is _BUY
    as_stop = request.type is _STOP or not resting.armed
    level = _price(request.stop if as_stop else request.limit) - (bar.spread if up else 0.0)
    rising = up if as_stop else not up
    if rising:
        return max(level, at) if turn >= level and turn > at else None
    return min(level, at) if turn <= level and turn < at else None
