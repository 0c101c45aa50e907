"""One event in, requests out: the same engine in a backtest, on paper and live.

It has no thread, no clock and does no I/O. Strategies, exits, risk checks and observers are called from here
and from nowhere else.
"""

from __future__ import annotations

import heapq
import math
import operator
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from herald.contracts import Cancel, Command, Intent, Modify, Observer, Sizer, Strategy, Submit
from herald.engine.book import Book, Ledger
from herald.engine.context import StrategyContext, Terms
from herald.engine.exits import FOREIGN, ExitDesk
from herald.engine.feed import Feed
from herald.engine.market import Market
from herald.engine.risk import MESSAGES_KEPT, Gate, View
from herald.errors import HeraldError, OrderError
from herald.indicators.base import Indicator
from herald.model import (
    Account,
    Bar,
    Event,
    Fill,
    Moment,
    Note,
    ObserverMuted,
    Order,
    OrderDenied,
    OrderRequest,
    OrderStatus,
    OrderType,
    Quote,
    Side,
    StrategyFailed,
    TimeInForce,
    Timer,
)
from herald.utils.redaction import redact

__all__ = ["Engine", "Runner", "overridden"]

_PENDING, _ACCEPTED, _FILLED, _DENIED = OrderStatus.PENDING, OrderStatus.ACCEPTED, OrderStatus.FILLED, OrderStatus.DENIED
_MARKET = OrderType.MARKET
_MUTE_AFTER = 10
_NOTHING: Any = None
"""Stands in the list of commands for "look again"; never leaves the engine's own loops."""


def overridden(objects: Iterable[object], base: type, method: str) -> tuple[Callable[..., None], ...]:
    """Return the bound *method* of each object whose class replaces the one in *base*."""
    return tuple(getattr(o, method) for o in objects if getattr(type(o), method) is not getattr(base, method))


class Runner:
    """A strategy in the engine, with what belongs to it.

    Attributes:
        name: In the config.
        strategy: The instance.
        context: What it sees.
        books: By symbol, in config order.
        feeds: Its series, in config order.
        sizer: Sizes its requests that state none, or None.
        gate: Its risk checks: the global ones, then its own.
        warmup: Bars each feed must have before ``on_bar``.
        warm: Whether they have them.
        failed: Whether it was stopped.
        started: Whether its ``on_start`` and ``warmup`` went well.
    """

    __slots__ = (
        "books",
        "context",
        "failed",
        "feeds",
        "gate",
        "name",
        "on_bar",
        "on_fill",
        "on_order",
        "orders",
        "prefix",
        "sizer",
        "started",
        "strategy",
        "warm",
        "warmup",
    )

    def __init__(
        self,
        name: str,
        strategy: Strategy[Any],
        context: StrategyContext,
        books: dict[str, Book],
        feeds: tuple[Feed, ...],
        sizer: Sizer | None,
        gate: Gate,
    ) -> None:
        """Bind the callbacks that the strategy really overrides."""
        self.name = name
        self.strategy = strategy
        self.context = context
        self.books = books
        self.feeds = feeds
        self.sizer = sizer
        self.gate = gate
        self.warmup = 0
        self.warm = False
        self.failed = False
        self.started = False
        self.orders = 0
        self.prefix = f"{name}-"
        self.on_bar = next(iter(overridden([strategy], Strategy, "on_bar")), None)
        self.on_order = next(iter(overridden([strategy], Strategy, "on_order")), None)
        self.on_fill = next(iter(overridden([strategy], Strategy, "on_fill")), None)


def _idle(bar: Bar, context: object) -> None:
    """Stand in for the ``on_bar`` of a strategy that was stopped."""


class Engine:
    """The state of a run and its one entry, `step`.

    Attributes:
        now: Time of the event being handled, nanoseconds UTC.
        ledger: Books and balance.
        market_data: Last known prices.
        feeds: Every series, in config order.
        runners: Every strategy, in config order.
        commands: What is to go to the broker, in order; the driver empties it.
        timers: Heap of (time, sequence, strategy, tag).
        restless: The feeds gained an indicator or the engine a timer: a loop that walks ahead must look again.
        exits: The exit desk.
        orders: Every order of the run in its last state, by id.
        sent: Times of the requests that went out, nanoseconds UTC.
        changed: Times of the changes and withdrawals that went out, the same; only the last ones.
        view: What risk checks and sizers look at.
        failures: Strategies that were stopped.
        notes: Lines that strategies wrote.
        split: Makes of a request that passed the gate the orders that the broker needs for it; None in a backtest.
        seal: Gives a request that passed the gate its name at the broker and a permission to be sent; None in a backtest.
    """

    def __init__(self, ledger: Ledger, market: Market, feeds: Sequence[Feed], view: View, account: Callable[[], Account]) -> None:
        """Set up an engine without strategies.

        Args:
            ledger: Books and balance.
            market: Last known prices.
            feeds: Every series, in config order.
            view: What risk checks look at.
            account: Returns the account as its broker states it.
        """
        self.now = 0
        self.ledger = ledger
        self.market_data = market
        self.feeds = tuple(feeds)
        self.runners: list[Runner] = []
        self.commands: list[Command] = []
        self.timers: list[tuple[int, int, str, str]] = []
        self.restless = False
        self.exits = ExitDesk(self, self._rule_failed)
        self.orders: dict[str, Order] = {}
        self.failures: list[StrategyFailed] = []
        self.notes: list[Note] = []
        self.account = account
        self.seal: Callable[[OrderRequest], tuple[OrderRequest, object]] | None = None
        self.split: Callable[[OrderRequest], Sequence[OrderRequest]] | None = None
        self.sent = view.sent
        self._went = view.went
        self.changed = view.changed
        self.view = view
        view.desk = self
        self._by_name: dict[str, Runner] = {}
        self._by_key = {(feed.symbol, feed.span): feed for feed in feeds}
        self._quoted: dict[str, list[Runner]] = {}
        self._parts: dict[str, tuple[str, ...]] = {}
        self._timer_count = 0
        self._observers: dict[type, tuple[Callable[[Event], None], ...]] = {}
        self._strikes: dict[Callable[[Event], None], int] = {}
        self._names: dict[Callable[[Event], None], str] = {}

    # --- setting up -------------------------------------------------------------------------------

    def observe(self, observers: Mapping[str, Observer], kinds: Iterable[type]) -> None:
        """Compile which observer hears which event type.

        Args:
            observers: By instance name, in config order.
            kinds: Every concrete event type there is.
        """
        for name, observer in observers.items():
            self._names[observer.observe] = name
        for kind in kinds:
            wanted = tuple(o.observe for o in observers.values() if issubclass(kind, tuple(o.events)))
            if wanted:
                self._observers[kind] = wanted
        if Bar in self._observers:
            for feed in self.feeds:
                feed.handlers.append((self._emit_bar, None))

    @property
    def hears_orders(self) -> bool:
        """Return whether a strategy or an observer wants every change of an order."""
        return Order in self._observers or any(runner.on_order is not None for runner in self.runners)

    def add(self, runner: Runner) -> None:
        """Add a strategy; the order of the calls is the order of the callbacks."""
        self.runners.append(runner)
        self._by_name[runner.name] = runner
        if overridden([runner.strategy], Strategy, "on_quote"):
            for symbol in runner.books:
                self._quoted.setdefault(symbol, []).append(runner)

    def start(self) -> None:
        """Call ``on_start`` and ``warmup`` of every strategy; then those with bars enough are admitted."""
        for runner in self.runners:
            self._start(runner)

    def _start(self, runner: Runner) -> None:
        try:
            runner.strategy.on_start(runner.context)
            runner.warmup = _bars(runner.strategy.warmup())
            runner.started = True
        except FOREIGN as error:
            self.fail(runner, error)

    def admit(self, runner: Runner) -> None:
        """Let *runner* receive bars from now on."""
        runner.warm = True
        if runner.on_bar is None or runner.failed:
            return
        for feed in runner.feeds:
            # Config order: behind the handlers of the strategies that come before it.
            earlier = {id(other.context) for other in self.runners[: self.runners.index(runner)]}
            place = sum(1 for _, context in feed.handlers if context is None or id(context) in earlier)
            feed.handlers.insert(place, (runner.on_bar, runner.context))

    # --- the step ---------------------------------------------------------------------------------

    def step(self, event: Event) -> Sequence[Command]:
        """Take one event; return what is to go to the broker because of it."""
        if type(event) is Fill:
            self.on_fill(event)
        elif type(event) is Order:
            self.on_order(event)
        elif type(event) is Moment:
            self.enter(event.time, event.bars)
        elif type(event) is Bar:
            self.enter(event.time, (event,))
        elif type(event) is Quote:
            self.on_quote(event)
        else:
            raise OrderError(f"the engine takes no {type(event).__name__}")
        return self.take()

    def take(self) -> Sequence[Command]:
        """Return what is to go to the broker, and forget it."""
        commands = [command for command in self.commands if command is not _NOTHING]
        self.commands.clear()
        return commands

    def advance(self, time: int) -> None:
        """Let time pass without a price: deliver the timers that are due at *time*, nanoseconds UTC."""
        if time > self.now:
            self.now = time
        self.fire()

    def on_quote(self, quote: Quote) -> None:
        """Let a quote happen, then decide: exits, due timers, then ``on_quote`` in config order."""
        if quote.time > self.now:
            self.now = quote.time
        self.market_data.take(quote)
        if Quote in self._observers:
            self.emit(quote)
        if self.exits.watches:
            self.exits.quoted(quote)
        if self.timers and self.timers[0][0] <= self.now:
            self.fire()
        for runner in self._quoted.get(quote.symbol, ()):
            if runner.warm and not runner.failed:
                self._call(runner, runner.strategy.on_quote, quote)

    def enter(self, time: int, bars: Sequence[Bar]) -> None:
        """Let all bars that end at *time* happen, then decide."""
        self.now = time
        feeds = [self._by_key[bar.symbol, bar.span] for bar in bars]
        for feed, bar in zip(feeds, bars, strict=True):
            if feed.preloaded:
                feed.count += 1
            else:
                feed.append(bar)
        for runner in self.runners:
            if not runner.warm and all(feed.count >= runner.warmup for feed in runner.feeds):
                self.admit(runner)
        if self.exits.watches:
            self.exits.run(bars)
        if self.timers and self.timers[0][0] <= time:
            self.fire()
        for feed, bar in zip(feeds, bars, strict=True):
            for on_bar, context in feed.handlers:
                try:
                    on_bar(bar, context)
                except FOREIGN as error:
                    self.fail_context(context, error)

    def on_order(self, order: Order) -> None:
        """Take an order as the broker states it."""
        request = order.request
        name = request.id
        self.orders[name] = order
        runner = self._by_name[request.strategy]
        working = runner.books[request.symbol].working
        if order.status is _ACCEPTED or order.is_working:
            working[name] = order
        else:
            working.pop(name, None)
        if Order in self._observers:
            self.emit(order)
        if runner.on_order is not None and not runner.failed:
            self._call(runner, runner.on_order, order)

    def on_fill(self, fill: Fill) -> None:
        """Take a fill; one that was taken before changes nothing."""
        name = fill.order_id
        before = self.orders[name]
        request = before.request
        runner = self._by_name[request.strategy]
        book = runner.books[request.symbol]
        market = self.market_data
        if not self.ledger.apply(fill, request, book, market.rate(fill.symbol) if market.converts else 1.0, self.now):
            return
        if fill.size == request.size and not before.filled:
            self.orders[name] = order = Order(request, _FILLED, fill.time, before.broker_id or name, fill.size, fill.price)
            book.working.pop(name, None)
        else:
            self.orders[name] = order = before.with_fill(fill)
            if order.is_working:
                book.working[name] = order
            else:
                book.working.pop(name, None)
        if Order in self._observers:
            self.emit(order)
        if Fill in self._observers:
            self.emit(fill)
        if runner.on_order is not None and not runner.failed:
            self._call(runner, runner.on_order, order)
        if runner.on_fill is not None and not runner.failed:
            self._call(runner, runner.on_fill, fill)

    def fire(self) -> None:
        """Deliver every timer that is due."""
        timers = self.timers
        while timers and timers[0][0] <= self.now:
            _, _, name, tag = heapq.heappop(timers)
            runner = self._by_name[name]
            if not runner.failed:
                timer = Timer(self.now, name, tag)
                self.emit(timer)
                self._call(runner, runner.strategy.on_timer, timer)

    def stop(self) -> None:
        """Call ``on_stop`` of every strategy that still runs."""
        for runner in self.runners:
            if not runner.failed:
                try:
                    runner.strategy.on_stop(runner.context)
                except FOREIGN as error:
                    self.fail(runner, error)

    # --- failures ---------------------------------------------------------------------------------

    def _call(self, runner: Runner, callback: Callable[..., None], event: object) -> None:
        try:
            callback(event, runner.context)
        except FOREIGN as error:
            self.fail(runner, error)

    def fail_context(self, context: object, error: BaseException) -> None:
        """Stop the strategy that owns *context*."""
        for runner in self.runners:
            if runner.context is context:
                self.fail(runner, error)
                return
        raise error

    def fail(self, runner: Runner, error: BaseException) -> None:
        """Stop a strategy that raised: no more calls, resting entries cancelled; its exits go on."""
        runner.failed = True
        for feed in runner.feeds:
            handlers = feed.handlers
            for index, (_, context) in enumerate(handlers):
                if context is runner.context:
                    handlers[index] = (_idle, context)
        for book in runner.books.values():
            for order in list(book.working.values()):
                if not order.request.reduce_only:
                    self.cancel(order.request.id)
        if isinstance(error, HeraldError):
            text = " ".join(str(error).split())
        else:
            text = f"{type(error).__name__}: {error}".strip().rstrip(":")
        told = redact(f"{text}{_place(error)}"), redact("".join(traceback.format_exception(error)))
        event = StrategyFailed(self.now, runner.name, *told)
        self.failures.append(event)
        self.emit(event)

    def revive(self, strategy: str) -> bool:
        """Let a strategy go on that was stopped because it raised; return whether it was and now does.

        It goes on as the failure left it; one that failed while it started is started again. Its exit rules that raised are
        asked again, too.
        """
        runner = self._by_name.get(strategy)
        if runner is None or not runner.failed:
            return False
        runner.failed = False
        self.exits.mend(strategy)
        if not runner.started:
            self._start(runner)
        if runner.failed:
            return False
        was_admitted = runner.on_bar is None
        for feed in runner.feeds:
            for index, (_, context) in enumerate(feed.handlers):
                if context is runner.context and runner.on_bar is not None:
                    feed.handlers[index] = (runner.on_bar, context)
                    was_admitted = True
        if not was_admitted:  # it failed before it had bars enough
            runner.warm = False
            if all(feed.count >= runner.warmup for feed in runner.feeds):
                self.admit(runner)
        return True

    def _rule_failed(self, strategy: str, rule: str, error: BaseException) -> None:
        error.add_note(f"raised by the exit rule {rule}")
        runner = self._by_name[strategy]
        self.fail(runner, error)

    # --- what contexts ask ------------------------------------------------------------------------

    def market(self, book: Book, side: Side, size: float, tag: str) -> Order:
        """Check a plain market order of *size* lots (whole steps) and queue it; the common request, kept short."""
        runner = self._by_name[book.strategy]
        runner.orders = number = runner.orders + 1
        name = runner.prefix + str(number).zfill(6)  # half the time of a format specification
        request = OrderRequest(name, book.strategy, book.symbol, side, size, _MARKET, tag=tag)
        instrument = book.instrument
        if size < instrument.min_size or size > instrument.max_size or self.market_data.converts:
            refusal = self._invalid(request, book)
            if refusal is not None:
                return self._deny(request, *refusal)
        gate = runner.gate
        if gate.checks:
            denial = gate.ask(request, gate.exempts and size <= -book.size * side)
            if denial is not None:
                return self._deny(request, denial.code, denial.text)
        return self._queue(request, book, True)

    def request(self, book: Book, side: Side, size: float | None, kind: OrderType, terms: Terms, tag: str) -> Order:
        """Check a request and queue it; see `herald.contracts.Context.buy`."""
        runner = self._by_name[book.strategy]
        runner.orders += 1
        name = f"{runner.prefix}{runner.orders:06d}"
        if size is None:
            size, refusal = self._size(runner, book, side, terms)
            if refusal is not None:
                return self._deny(OrderRequest(name, book.strategy, book.symbol, side, 0.0, kind, tag=tag), *refusal)
        request = OrderRequest(
            name,
            book.strategy,
            book.symbol,
            side,
            book.lots(size),
            kind,
            _rounded(terms.limit, book),
            _rounded(terms.stop, book),
            _rounded(terms.stop_loss, book),
            _rounded(terms.take_profit, book),
            terms.time_in_force,
            terms.expires,
            terms.reduce_only,
            None,
            tag,
            terms.parent,
        )
        refusal = self._invalid(request, book) or self._impossible(request)
        if refusal is not None:
            return self._deny(request, *refusal)
        return self._pass(runner, book, request)

    def _pass(self, runner: Runner, book: Book, request: OrderRequest) -> Order:
        """Send a possible request through the gate; what passes is queued for the broker."""
        gate = runner.gate
        if gate.checks and not request.parent:  # protection is never refused
            may_reduce = gate.exempts and (request.reduce_only or request.size <= -book.size * request.side)
            denial = gate.ask(request, may_reduce)
            if denial is not None:
                return self._deny(request, denial.code, denial.text)
        return self._queue(request, book, False)

    def _queue(self, request: OrderRequest, book: Book, plain: bool) -> Order:
        """Let a request go to the broker."""
        permit = None
        if self.seal is not None:
            if self.split is not None:
                parts = self.split(request)
                if len(parts) > 1:
                    return self._queue_parts(request, parts, book)
                request = parts[0]
            request, permit = self.seal(request)
        name, now = request.id, self.now
        self.orders[name] = book.working[name] = order = Order(request, _PENDING, now)
        self.sent.append(now)
        self._went.append(name)
        self.commands.append(Submit(request, plain, permit))
        return order

    def _queue_parts(self, request: OrderRequest, parts: Sequence[OrderRequest], book: Book) -> Order:
        """Let a request go as several orders; return it as the one order that was asked for, which is not one at the broker."""
        split, self.split = self.split, None
        try:
            self._parts[request.id] = tuple(self._queue(part, book, False).id for part in parts)
        finally:
            self.split = split
        return Order(request, _PENDING, self.now)

    def _size(self, runner: Runner, book: Book, side: Side, terms: Terms) -> tuple[float, tuple[str, str] | None]:
        """Ask the sizer; return lots, or the refusal."""
        if runner.sizer is None:
            return 0.0, ("no_size", f"strategy {runner.name!r} states no size and has no sizing in the config")
        price = terms.limit if terms.limit is not None else terms.stop
        if price is None:
            price = self.market_data.ask(book.symbol) if side > 0 else self.market_data.bid(book.symbol)
        try:
            size = runner.sizer.size(Intent(book.strategy, book.symbol, side, price, terms.stop_loss), self.view)
        except OrderError as error:
            return 0.0, ("no_size", str(error))
        if not (size > 0 and math.isfinite(size)):
            return 0.0, ("no_size", f"the sizer answers {size!r} lots of {book.symbol}")
        return min(size, book.instrument.max_size), None

    def _deny(self, request: OrderRequest, code: str, text: str) -> Order:
        order = Order(request, _DENIED, self.now, code=code, reason=text)
        self.orders[request.id] = order
        self.emit(OrderDenied(self.now, order))
        return order

    def _invalid(self, request: OrderRequest, book: Book) -> tuple[str, str] | None:
        """Return (code, text) of what makes *request* impossible, or None."""
        size = request.size
        instrument = book.instrument
        if size < instrument.min_size or size <= 0:
            closes = size > 0 and request.side * book.size < 0 and size == abs(book.size)
            if not closes:
                return "size_too_small", f"{size} lots of {book.symbol} is below the smallest order, {instrument.min_size}"
        if size > instrument.max_size and not (request.side * book.size < 0 and size <= abs(book.size)):
            return "size_too_large", f"{size} lots of {book.symbol} is above the largest order, {instrument.max_size}"
        if request.reduce_only and request.side * book.size >= 0:
            return "nothing_to_reduce", f"a reduce-only order needs an opposite position in {book.symbol}"
        stale = self.market_data.stale(book.symbol, self.now)
        if stale and not request.reduce_only:
            return "no_rate", f"{book.symbol} cannot be valued in account currency: {stale}"
        return None

    def _impossible(self, request: OrderRequest) -> tuple[str, str] | None:
        """Return (code, text) of what is wrong with the prices or the time of *request*."""
        for name in ("limit", "stop", "stop_loss", "take_profit"):
            level = getattr(request, name)
            if level is not None and not (level > 0 and math.isfinite(level)):
                return "invalid_price", f"{name} of {level!r} is not a price"
        if request.time_in_force is TimeInForce.GTD and (request.expires is None or request.expires <= self.now):
            return "invalid_expiry", "a GTD order needs expires, later than now"
        if request.time_in_force in (TimeInForce.IOC, TimeInForce.FOK) and request.stop is not None:
            return "invalid_time_in_force", f"a {request.type} order waits for its stop; {request.time_in_force} cannot wait"
        reference = request.limit if request.limit is not None else request.stop
        if reference is None:
            reference = self.market_data.price(request.symbol)
        side = request.side
        if request.stop_loss is not None and side * (reference - request.stop_loss) <= 0:
            return "invalid_stop_loss", f"stop_loss {request.stop_loss} is not on the losing side of {reference}"
        if request.take_profit is not None and side * (request.take_profit - reference) <= 0:
            return "invalid_take_profit", f"take_profit {request.take_profit} is not on the winning side of {reference}"
        return None

    def close_book(self, book: Book, tag: str) -> Order:
        """Ask to close what *book* holds at market, past every check that spares reductions."""
        side = Side.SELL if book.size > 0 else Side.BUY
        return self.request(book, side, abs(book.size), _MARKET, Terms(reduce_only=True), tag)

    def cancel(self, order_id: str) -> None:
        """Queue the withdrawal of a working order; nothing happens where it is gone already."""
        for part in self._parts.get(order_id, ()):
            self.cancel(part)
        order = self.orders.get(order_id)
        if order is not None and order.is_working:
            self._count_change()
            self.commands.append(Cancel(order.request))

    def modify(self, order: Order, request: OrderRequest) -> Order:
        """Check changed terms and queue them; see `herald.contracts.Context.modify`."""
        current = self.orders.get(order.request.id, order)
        book = self.ledger.books[request.strategy, request.symbol]
        request = msgspec.structs.replace(
            request,
            size=book.instrument.round_size(request.size),
            limit=_rounded(request.limit, book),
            stop=_rounded(request.stop, book),
            stop_loss=_rounded(request.stop_loss, book),
            take_profit=_rounded(request.take_profit, book),
        )
        refusal: tuple[str, str] | None = None
        if not current.is_working:
            refusal = "not_working", f"order {current.id} is {current.status}"
        elif request.size <= current.filled:
            refusal = "invalid_size", f"{current.filled} lots of order {current.id} are filled already"
        elif not request.parent:
            refusal = self._invalid(request, book) or self._impossible(request)
            if refusal is None:
                denial = self._by_name[book.strategy].gate.ask(request, may_reduce=True)
                refusal = None if denial is None else (denial.code, denial.text)
        if refusal is not None:
            denied = Order(request, _DENIED, self.now, code=refusal[0], reason=refusal[1])
            self.emit(OrderDenied(self.now, denied))
            return denied
        permit = None
        if self.seal is not None:
            request, permit = self.seal(request)
        self._count_change()
        self.commands.append(Modify(request, permit))
        return msgspec.structs.replace(current, request=request)

    def _count_change(self) -> None:
        """Note that one more change or withdrawal goes out; the oldest ones are forgotten."""
        changed = self.changed
        changed.append(self.now if not changed or self.now > changed[-1] else changed[-1])
        if len(changed) >= 2 * MESSAGES_KEPT:
            del changed[:-MESSAGES_KEPT]

    def set_timer(self, strategy: str, time: int, tag: str) -> None:
        """Remember to call ``on_timer`` with the first event at or after *time*."""
        self._timer_count += 1
        heapq.heappush(self.timers, (time, self._timer_count, strategy, tag))
        self._stir()

    def _stir(self) -> None:
        """Make a loop that watches only `commands` stop and look again."""
        self.restless = True
        self.commands.append(_NOTHING)

    def attach(self, feed: Feed, indicator: Indicator) -> None:
        """Keep *indicator* current over *feed*."""
        feed.attach(indicator)
        self._stir()

    def note(self, strategy: str, text: str) -> None:
        """Hand a line of a strategy to the observers."""
        note = Note(self.now, strategy, text)
        self.notes.append(note)
        self.emit(note)

    # --- observers --------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Hand *event* to the observers that list its type; one that fails ten times in a row is muted."""
        for observe in self._observers.get(type(event), ()):
            try:
                observe(event)
                if self._strikes:
                    self._strikes.pop(observe, None)
            except FOREIGN as error:
                self._strike(observe, error)

    def _emit_bar(self, bar: Bar, context: object) -> None:
        self.emit(bar)

    def _strike(self, observe: Callable[[Event], None], error: BaseException) -> None:
        strikes = self._strikes[observe] = self._strikes.get(observe, 0) + 1
        if strikes < _MUTE_AFTER:
            return
        for kind, observers in list(self._observers.items()):
            self._observers[kind] = tuple(o for o in observers if o != observe)
        self.emit(ObserverMuted(self.now, self._names[observe], f"{type(error).__name__}: {error}"))


def _rounded(price: float | None, book: Book) -> float | None:
    if price is None or not math.isfinite(price):
        return price  # what is not a number is refused later, with its name
    return book.instrument.round_price(price)


def _bars(warmup: object) -> int:
    """Return what ``warmup()`` answered, if that is a number of bars."""
    count = operator.index(warmup) if hasattr(warmup, "__index__") and not isinstance(warmup, bool) else -1
    if count < 0:
        raise ValueError(f"warmup() must return a whole number of bars, 0 or more, not {warmup!r}")
    return count


_OWN = __file__.replace(chr(92), "/").rpartition("/engine/")[0] + "/"
"""Where Herald's own code lies."""


def _place(error: BaseException) -> str:
    """Return `` (file.py, line n)`` of the innermost line outside Herald that led to *error*; empty where there is none.

    What is wrong in a strategy shows where it called Herald, not where Herald noticed. An error that is not Herald's own and came
    from nowhere else is Herald's, or a built-in strategy's: then its own line is named.
    """
    frames = [(frame.filename.replace(chr(92), "/"), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    outside = [frame for frame in frames if not frame[0].startswith((_OWN, "<"))]
    if not outside and isinstance(error, HeraldError):
        return ""
    if not frames:
        return ""
    name, line = (outside or frames)[-1]
    return f" ({name.rsplit('/', 1)[-1]}, line {line})"
