"""Intent, commit, send, outcome: the way of every order, and the way back of what the broker says about it.

All of it happens in the engine's thread. An order leaves for its worker only after the journal has its intent; from
that moment on nobody may say that it was not sent. What the broker says is translated into Herald's own names and handed
to the engine, once, whatever the order in which it arrives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from herald.clock import SECOND, Clock
from herald.contracts import Cancel, Capabilities, Command, Modify, Submit
from herald.engine.book import Book
from herald.engine.engine import Engine
from herald.live.chronicle import Chronicle
from herald.live.crashpoints import crash_point
from herald.live.messages import Ask, CancelOrder, ChangeOrder, Found, Job, Look, Outcome, SendOrder
from herald.live.recovery import Past
from herald.live.spool import Spool
from herald.live.timing import Times
from herald.model import (
    Adopted,
    Alert,
    Alerted,
    CancelIntended,
    Fill,
    Intended,
    ModifyIntended,
    Order,
    OrderChanged,
    OrderDenied,
    OrderRequest,
    OrderStatus,
    OrderStep,
    OrderType,
    Traded,
)

__all__ = ["Account", "Desk", "Unresolved"]

_ENDS = frozenset({OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED, OrderStatus.DENIED})
_UNSENT = frozenset({OrderStatus.PENDING, OrderStatus.SENT, OrderStatus.UNKNOWN})
_WORKS = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIAL})
_LONGEST_ASK_SECONDS, _SHORTEST_ASK_SECONDS = 1.0, 0.05
"""Between two questions after an order whose fate is unknown."""
_CANCELS = 5
"""Times that a cancel is sent whose fate is unknown, before it is left to a person."""
_OVERLAP = 60 * SECOND
"""How far before the last execution known a list of executions begins: a broker may list them late, and each counts once."""
_NEVER = math.inf
_replace = msgspec.structs.replace


class _Worker(Protocol):
    """A worker, as far as the desk needs it."""

    def put(self, job: Job) -> None:
        """Ask for *job*."""


class Account(msgspec.Struct):
    """One connector, as the desk sees it.

    Attributes:
        table: Its table in the config.
        worker: Takes its jobs.
        capabilities: What it can do.
        generation: Returns the generation of the trading state.
        hedging: It keeps every trade apart, under a ticket of its own.
    """

    table: str
    worker: _Worker
    capabilities: Capabilities
    generation: Callable[[], int]
    hedging: bool = False


class Unresolved(msgspec.Struct):
    """An order of which nobody knows whether the broker has it.

    Its settle window begins with the first answer that does not know the order: only from then on is it certain that the
    broker is there and reads what was sent. Wall clocks that step do not change it.

    Attributes:
        order_id: The order.
        next_ask: When to ask again, seconds of the monotonic clock.
        absent_since: When the broker first answered that it does not know it, the same; None where it has not yet, or
            knew it since.
    """

    order_id: str
    next_ask: float = 0.0
    absent_since: float | None = None


class Desk:
    """Sends what the engine asks for and brings back what comes of it.

    Attributes:
        unresolved: Orders whose fate is unknown, by id.
        next_ask: When `chase` has something to do, seconds of the monotonic clock; infinite while there is nothing.
        blocked: (strategy, symbol) in which an abandoned entry may still turn up; entries wait for a person.
        external: Fills that belong to no order of Herald's, oldest first.
        taken: Executions taken so far, by (connector, symbol), those of others included.
        fills_after: Time of the last execution up to which the broker's list is known without a gap, by connector,
            nanoseconds UTC.
    """

    def __init__(
        self,
        engine: Engine,
        spool: Spool,
        clock: Clock,
        accounts: Mapping[str, Account],
        route: Mapping[str, str],
        inbox: Callable[[str, Outcome], None],
        seal: Callable[[OrderRequest], object],
        *,
        request_seconds: float = 10.0,
        chronicle: Chronicle | None = None,
        times: Times | None = None,
    ) -> None:
        """Set up a desk without orders.

        Args:
            engine: Whose orders these are.
            spool: Keeps intents and outcomes.
            clock: Tells the time of the run.
            accounts: Connectors by table.
            route: Table of the connector, by strategy.
            inbox: Takes (table, outcome) from any thread, for `outcome` to be called in the engine's.
            seal: Makes the gate's permission for a request that is sent again.
            request_seconds: How long an order may wait to be sent.
            chronicle: Puts executions in their order; one that knows what earlier runs did.
            times: Told how long orders take; None where nobody measures.
        """
        self.unresolved: dict[str, Unresolved] = {}
        self.next_ask = _NEVER
        self.blocked: dict[tuple[str, str], str] = {}
        self.external: list[Fill] = []
        self.taken: dict[tuple[str, str], int] = {}
        self.fills_after: dict[str, int] = {}
        self._engine = engine
        self._spool = spool
        self._clock = clock
        self._accounts = accounts
        self._route = route
        self._inbox = inbox
        self._seal = seal
        self._request_seconds = request_seconds
        self._times = times
        self._chronicle = Chronicle(engine.ledger) if chronicle is None else chronicle
        self._by_tag: dict[str, str] = {}
        self._by_broker: dict[tuple[str, str], str] = {}
        self._by_position: dict[tuple[str, str], str] = {}
        self._seen: dict[tuple[str, str], None] = {}
        self._cancel_later: set[str] = set()
        self._cancels: dict[str, int] = {}
        self._changes: dict[str, OrderRequest] = {}
        self._missing: dict[str, Unresolved] = {}  # confirmed once and not found any more
        self._changed: dict[str, Unresolved] = {}  # nobody knows whether their change arrived
        self._before_intent = crash_point("before_intent")
        self._after_intent = crash_point("after_intent")
        self._before_outcome, self._after_outcome = crash_point("before_outcome"), crash_point("after_outcome")
        self._before_fill, self._mid_fill = crash_point("before_fill"), crash_point("mid_fill")
        self._after_fill, self._mid_partial = crash_point("after_fill"), crash_point("mid_partial")
        self._before_cancel = crash_point("before_cancel")
        self._before_resend, self._after_resend = crash_point("before_resend"), crash_point("after_resend")

    def account_of(self, order_id: str) -> Account:
        """Return the account that an order goes to."""
        return self._accounts[self._route[self._engine.orders[order_id].request.strategy]]

    def knows(self, table: str, stated: Order) -> bool:
        """Return whether an order that a broker states is one of Herald's."""
        return self._local(table, stated.request.id, stated.request.client_tag, stated.broker_id) is not None

    def remember(self, past: Past, resumed: int = 0) -> None:
        """Take over the orders and executions of earlier runs; what has no outcome is in doubt from the start.

        Args:
            past: What the journal knows; orders that the engine does not have are left out.
            resumed: When a person last allowed entries again, nanoseconds UTC: what was abandoned before blocks nobody.
        """
        self._seen = dict.fromkeys(past.seen)
        self.fills_after = dict(past.fills_after)
        for order in past.orders.values():
            request, table = order.request, past.tables.get(order.id, "")
            if order.id not in self._engine.orders:
                continue
            if request.client_tag:
                self._by_tag[request.client_tag] = order.id
            if order.broker_id:
                self._by_broker[table, order.broker_id] = order.id
            if order.status in _UNSENT:
                self._doubt(self.unresolved, order.id)
            elif order.status is OrderStatus.ABANDONED and order.time > resumed:
                self.blocked[request.strategy, request.symbol] = order.id
        for table, position, name in past.positions:
            if name in self._engine.orders:
                self._by_position[table, position] = name
        working = {name for name, order in self._engine.orders.items() if order.is_working}
        # What was about to be withdrawn is withdrawn, for twice does no harm; what was about to be changed is looked up.
        self._cancel_later = working.intersection(past.cancelling)
        for name in sorted(working.intersection(past.changing)):
            self._doubt(self._changed, name)

    def note(self, past: Past) -> None:
        """Bring what `remember` takes over up to date in *past*."""
        past.seen = list(self._seen)
        past.fills_after = dict(self.fills_after)
        past.positions = [(table, position, name) for (table, position), name in self._by_position.items()]
        past.changing = [*self._changes, *self._changed]
        past.cancelling = [*self._cancel_later, *self._cancels]

    def look(self, table: str) -> None:
        """Ask for a snapshot of the account, with every execution that might not be known yet."""
        self._accounts[table].worker.put(Look(self.since(table)))

    def since(self, table: str) -> int:
        """Return from when on executions of *table* are to be listed, nanoseconds UTC."""
        return max(self.fills_after.get(table, 0) - _OVERLAP, 0)

    def listed(self, table: str, fills: Sequence[Fill]) -> None:
        """Note that *fills*, all taken, are the broker's whole list up to the last of them."""
        # Told ones do not count: behind one that was told there may be an earlier one that was not.
        self.fills_after[table] = max((one.time for one in fills), default=self.fills_after.get(table, 0))

    # --- parts ------------------------------------------------------------------------------------

    def parts(self, request: OrderRequest) -> Sequence[OrderRequest]:
        """Return the orders that the broker needs for *request*; itself where one is enough.

        On an account that keeps every trade apart, what closes names the ticket that it closes, oldest first, because "reduce"
        alone could close somebody else's; what is left of a market order opens. A reduction that is larger than the largest
        order becomes several.
        """
        account = self._accounts[self._route[request.strategy]]
        book = self._engine.ledger.books[request.strategy, request.symbol]
        if account.capabilities.simulated or book.size * request.side >= 0 or request.position is not None:
            return (request,)
        if not (request.reduce_only or request.type is OrderType.MARKET):
            return (request,)  # whether it will close or open is not known before it trades
        pieces: list[tuple[str | None, float]] = []
        rest = request.size
        if account.hedging and book.tickets:
            for ticket, size in _free(book, request):
                part = book.snap(min(rest, size))
                if part > 0:
                    pieces.append((ticket, part))
                    rest = book.snap(rest - part)
            if request.reduce_only and pieces:
                rest = 0.0  # the rest is being closed already
        whole = [_replace(request, size=size, position=ticket, **_CLOSING) for ticket, size in pieces]
        largest = book.instrument.max_size
        if rest > 0 and (pieces or request.reduce_only or rest <= abs(book.size)):
            while rest > largest:
                whole.append(_replace(request, size=largest))
                rest = book.snap(rest - largest)
        if rest > 0:
            whole.append(_replace(request, size=rest))
        if len(whole) == 1:
            return whole
        return [_replace(one, id=f"{request.id}.{number}") for number, one in enumerate(whole, 1)]

    def _end_protection(self, account: Account, book: Book) -> None:
        """Withdraw the protection of what is closed; the broker knows it only as orders that wait."""
        if account.capabilities.simulated:
            return
        own = f"{book.strategy}:{book.symbol}"
        for order in list(book.working.values()):
            request = order.request
            closed = book.size * request.side >= 0 or (request.position is not None and request.position not in book.tickets)
            if request.parent == own and closed:
                self._engine.cancel(request.id)

    # --- positions of others ----------------------------------------------------------------------

    def adopt(self, table: str, book: Book, size: float, price: float, opened: int, tickets: Mapping[str, float]) -> None:
        """Let *book* hold a position that somebody else opened, changed or closed, and tell a person."""
        engine, held = self._engine, book.size
        profit = 0.0
        if held and (size * held <= 0 or abs(size) < abs(held)):
            # Others closed it, at a price that only they know; the books go on from the price of now.
            closed = held - size if size * held > 0 else held
            market = engine.market_data
            mark = market.bid(book.symbol) if held > 0 else market.ask(book.symbol)
            profit = (mark - book.average_price) * closed * book.contract * market.rate(book.symbol)
            profit = profit if math.isfinite(profit) else 0.0
        now = self._clock.now()
        self._spool.write((Adopted(now, table, book.strategy, book.symbol, size, price, opened, dict(tickets), profit),))
        engine.ledger.adopt(book, size, price, opened, tickets, profit, engine.now)
        self._chronicle.forget(book)
        self._end_protection(self._accounts[table], book)
        if size:
            self.alert(
                "external_position", f"{size:g} lots of {book.symbol} are not Herald's and are adopted as {book.strategy!r}"
            )
        else:
            self.alert("external_closed", f"the position in {book.symbol} that was not Herald's is closed")

    # --- out --------------------------------------------------------------------------------------

    def dispatch(self, commands: Sequence[Command]) -> None:
        """Let *commands* of the engine go, each behind the record of its intent."""
        for command in commands:
            if type(command) is Submit:
                self._submit(command)
            elif type(command) is Cancel:
                self._cancel(command.request.id)
            elif type(command) is Modify:
                self._modify(command)

    def _submit(self, command: Submit) -> None:
        self._before_intent()
        request = command.request
        account = self._accounts[self._route[request.strategy]]
        self._by_tag[request.client_tag] = request.id
        expires = self._clock.monotonic() + self._request_seconds
        job = SendOrder(request, command.permit, expires)
        record = Intended(self._clock.now(), account.table, request, account.generation())
        if self._times is not None:
            self._times.asked(request)
        self._engine.emit(OrderStep(self._engine.now, "intended", request))
        self._send(account, record, job, request.id, "submit")

    def _send(self, account: Account, record: Intended | ModifyIntended, job: Job, order_id: str, action: str) -> None:
        """Keep *record*; then hand *job* to the worker, or say that it was denied."""
        table, now, times = account.table, self._clock.now, self._times
        began = times.began if times is not None and action == "submit" else 0.0

        def kept() -> None:
            self._after_intent()
            account.worker.put(job)
            if type(job) is SendOrder:
                self._engine.emit(OrderStep(now(), "sent", job.request))
            if times is not None:
                times.sent(began)

        def failed(text: str) -> None:
            status = OrderStatus.DENIED if action == "submit" else None
            self._inbox(table, Outcome(now(), order_id, action, status, code="journal_unavailable", text=text))

        self._spool.write((record,), durable=True, kept=kept, failed=failed)

    def _modify(self, command: Modify) -> None:
        request = command.request
        account = self.account_of(request.id)
        broker_id = self._broker_id(account, request.id)
        if not broker_id:
            text = "the broker has not confirmed the order yet; change it once it has"
            self._inbox(account.table, Outcome(self._clock.now(), request.id, "modify", None, code="not_working", text=text))
            return
        self._changes[request.id] = request
        expires = self._clock.monotonic() + self._request_seconds
        job = ChangeOrder(broker_id, request, command.permit, expires)
        record = ModifyIntended(self._clock.now(), account.table, broker_id, request)
        self._send(account, record, job, request.id, "modify")

    def _cancel(self, order_id: str) -> None:
        order = self._engine.orders.get(order_id)
        if order is None or not order.is_working:
            self._cancels.pop(order_id, None)
            return
        self._before_cancel()
        account = self.account_of(order_id)
        broker_id = self._broker_id(account, order_id)
        record = CancelIntended(self._clock.now(), account.table, broker_id, order_id)
        if not broker_id:
            # Its ticket is not known yet; it is withdrawn as soon as it is, also by the next run.
            self._spool.write((record,))
            self._cancel_later.add(order_id)
            return
        self._cancels[order_id] = self._cancels.get(order_id, 0) + 1
        job = CancelOrder(broker_id, order_id)
        if account.capabilities.lockstep:  # recorded data has no hurry, and keeps the order of a backtest
            self._spool.write((record,), kept=lambda: account.worker.put(job), failed=lambda text: account.worker.put(job))
            return
        # A cancel only makes the account safer: it waits for no disk.
        self._spool.write((record,))
        account.worker.put(job)

    def _broker_id(self, account: Account, order_id: str) -> str:
        """Return the broker's id of an order, as far as it is known."""
        return self._engine.orders[order_id].broker_id or (order_id if account.capabilities.own_ids else "")

    # --- back -------------------------------------------------------------------------------------

    def outcome(self, table: str, outcome: Outcome) -> None:
        """Take what came of a job."""
        self._before_outcome()
        order = self._engine.orders.get(outcome.order_id)
        if order is None:
            return
        if outcome.broker_id:
            self._by_broker[table, outcome.broker_id] = order.id
        match outcome.action:
            case "submit":
                self._submitted(table, order, outcome)
            case "modify":
                self._modified(table, order, outcome)
            case _:
                self._cancelled(table, order, outcome)

    def _submitted(self, table: str, order: Order, outcome: Outcome) -> None:
        status = outcome.status
        if status is OrderStatus.ACCEPTED:
            known = _replace(order, broker_id=outcome.broker_id or order.broker_id)
            if self._accounts[table].capabilities.order_events:
                # The broker tells the rest by itself, in the order in which it happens there.
                self._becomes(table, known, quietly=True, kept=self._after_outcome)
            elif order.status in _UNSENT:
                works = OrderStatus.PARTIAL if order.filled else OrderStatus.ACCEPTED
                accepted = _replace(known, status=works, time=outcome.time, code="", reason="")
                self._becomes(table, accepted, kept=self._after_outcome)
            elif order.broker_id != known.broker_id:  # its fill was faster than its confirmation
                self._becomes(table, known, quietly=True, kept=self._after_outcome)
            self._settle(order.id)
            self._catch_up_cancel(order.id)
            return
        if status is None or order.status not in _UNSENT:
            return
        if status is OrderStatus.UNKNOWN:
            self.doubt(table, order, outcome.time, outcome.code, outcome.text)
            return
        self._cancel_later.discard(order.id)
        self._settle(order.id)
        ended = _replace(order, status=status, time=outcome.time, code=outcome.code, reason=outcome.text)
        self._becomes(table, ended, kept=self._after_outcome)
        if status is OrderStatus.DENIED:
            self._engine.emit(OrderDenied(outcome.time, ended))

    def doubt(self, table: str, order: Order, time: int, code: str, text: str) -> None:
        """Note that nobody knows whether the broker has *order*; it is looked for from now on."""
        self._doubt(self.unresolved, order.id)
        if order.status is not OrderStatus.UNKNOWN:
            unknown = _replace(order, status=OrderStatus.UNKNOWN, time=time, code=code, reason=text)
            self._becomes(table, unknown, kept=self._after_outcome)
            self.alert("order_unknown", f"order {order.id} may or may not be at the broker: {text}")

    def _doubt(self, doubts: dict[str, Unresolved], order_id: str) -> None:
        """Ask about an order, at once and until somebody is wiser."""
        if order_id not in doubts:
            doubts[order_id] = Unresolved(order_id)
            self.next_ask = 0.0

    def _modified(self, table: str, order: Order, outcome: Outcome) -> None:
        request = self._changes.pop(order.id, None)
        if outcome.status is OrderStatus.UNKNOWN:
            self.alert("change_unknown", f"the change of order {order.id} may or may not have reached the broker: {outcome.text}")
            self._doubt(self._changed, order.id)
            return
        if outcome.code:
            denied = Order(request or order.request, OrderStatus.DENIED, outcome.time, code=outcome.code, reason=outcome.text)
            self._engine.emit(OrderDenied(outcome.time, denied))
        elif request is not None and order.is_working and not self._accounts[table].capabilities.order_events:
            self._becomes(table, _replace(order, request=request, time=outcome.time))

    def _cancelled(self, table: str, order: Order, outcome: Outcome) -> None:
        if not order.is_working:
            self._cancels.pop(order.id, None)
            return
        if outcome.status is OrderStatus.CANCELLED and self._accounts[table].capabilities.order_events:
            return  # what came of it is told besides
        if outcome.status is not OrderStatus.CANCELLED:
            tries = self._cancels.get(order.id, 0)
            again = outcome.status is OrderStatus.UNKNOWN and tries < _CANCELS
            what = "is tried again" if again else "is given up"
            self.alert("cancel_failed", f"order {order.id} could not be withdrawn: {outcome.text}; it {what}")
            if again:
                self._cancel_later.add(order.id)
            else:
                self._cancels.pop(order.id, None)
        # "Gone" may mean withdrawn or filled a moment before: the broker says which.
        self._doubt(self._missing, order.id)

    def _catch_up_cancel(self, order_id: str) -> None:
        """Withdraw an order whose ticket was not known, or which is still there, when that was asked for."""
        if order_id in self._cancel_later:
            self._cancel_later.discard(order_id)
            self._cancel(order_id)

    def _ask(self, order_id: str) -> None:
        request = self._engine.orders[order_id].request
        self.account_of(order_id).worker.put(Ask(order_id, request.client_tag, 0))

    def order(self, table: str, stated: Order) -> None:
        """Take an order as the broker of *table* states it."""
        name = self._local(table, stated.request.id, stated.request.client_tag, stated.broker_id)
        if name is None:
            self._stranger(table, stated)
            return
        order = self._engine.orders[name]
        was = order.broker_id
        if stated.broker_id:
            self._by_broker[table, stated.broker_id] = name
            if not was:
                order = _replace(order, broker_id=stated.broker_id)
        if not order.is_working and order.status is not OrderStatus.ABANDONED:
            # An end is an end; what was traded besides comes as fills. Only protection may be placed anew under its name,
            # with a number of its own: the old one again is old news.
            fresh = stated.broker_id != was or self._accounts[table].capabilities.own_ids
            anew = stated.request.parent and stated.status is OrderStatus.ACCEPTED and fresh
            if anew and order.status is OrderStatus.CANCELLED:
                self._stranger(table, stated)
            return
        if stated.status in _ENDS:
            self._settle(name)
            ended = _replace(order, status=stated.status, time=stated.time, code=stated.code, reason=stated.reason)
            if stated.filled == order.filled:
                ended = _replace(ended, average_price=stated.average_price)
            self._becomes(table, ended)
        elif stated.status in _WORKS:
            self._settle(name)
            # How much is filled, the fills say; here only that the broker has the order, and on which terms.
            tells = self._accounts[table].capabilities.order_events
            terms = order.request
            if tells and stated.request.id == name:
                terms = stated.request
            elif terms.parent or tells or name in self._changed:
                terms = _terms(terms, stated.request)
            unsent = order.status in _UNSENT or order.status is OrderStatus.ABANDONED
            if tells or unsent or terms != order.request or not was:
                status = OrderStatus.PARTIAL if order.filled else OrderStatus.ACCEPTED
                average = stated.average_price if stated.filled == order.filled else order.average_price
                stated_order = _replace(order, request=terms, status=status, time=stated.time, average_price=average)
                self._becomes(table, stated_order)
            self._catch_up_cancel(name)

    def _stranger(self, table: str, stated: Order) -> None:
        """Take an order that Herald did not send: protection that the broker made of a bracket, or somebody else's."""
        request = stated.request
        name = self._local(table, request.parent, request.parent, request.parent) if request.parent else None
        if name is None:
            return
        parent = self._engine.orders[name].request
        # The broker names it after its parent's tag; here it is named after its parent: "trend-000017.sl".
        child = f"{name}.{request.id.rpartition('.')[2]}"
        mine = msgspec.structs.replace(request, id=child, parent=name, strategy=parent.strategy)
        self._by_broker[table, stated.broker_id] = child
        self._becomes(table, msgspec.structs.replace(stated, request=mine))

    def fill(self, table: str, fill: Fill) -> bool:
        """Take an execution; return whether it was new and Herald's own."""
        if (table, fill.id) in self._seen:
            return False
        self._before_fill()
        self._seen[table, fill.id] = None
        self.taken[table, fill.symbol] = self.taken.get((table, fill.symbol), 0) + 1
        name = self._owner(table, fill)
        local = fill.id if fill.id not in self._engine.ledger.fills else f"{table}/{fill.id}"
        market = self._engine.market_data
        rate = market.rate(fill.symbol) if market.converts and name is not None else 1.0
        stated = _replace(fill, order_id=name or fill.order_id)
        self._spool.write((Traded(self._clock.now(), table, stated, rate),))
        if name is None:
            self.external.append(fill)
            self.alert("external_fill", f"{fill.side.name} {fill.size:g} {fill.symbol} at {fill.price:g} is no order of Herald's")
            return False
        order = self._engine.orders[name]
        if fill.position and not order.request.reduce_only:
            self._by_position[table, fill.position] = name
        if fill.side is not order.request.side:
            self.alert("trade_taken_back", f"the broker took back {fill.size:g} {fill.symbol} of order {name}")
        elif not order.is_working:
            self.alert("late_fill", f"order {name} was {order.status} and still traded {fill.size:g} {fill.symbol}")
        self._mid_fill()
        self._settle(name)
        mine = _replace(fill, id=local, order_id=name)
        book = self._engine.ledger.books[order.request.strategy, order.request.symbol]
        now = self._engine.now
        if self._chronicle.take(mine, order.request, book, rate, now, lambda: self._engine.on_fill(mine)):
            self.alert("fill_out_of_order", f"an execution of order {name} was heard after later ones; the book is mended")
        if self._times is not None:
            self._times.filled(name)
        self._end_protection(self._accounts[table], book)
        order = self._engine.orders[name]
        self._spool.write((OrderChanged(self._clock.now(), table, order),), kept=self._after_fill)
        if order.status is OrderStatus.PARTIAL:
            self._mid_partial()
        return True

    def _owner(self, table: str, fill: Fill) -> str | None:
        """Return Herald's name of the order that an execution belongs to; None where it is somebody else's."""
        name = self._local(table, fill.order_id, fill.order_id, fill.order_id)
        if name is not None:
            return name
        parent, _, kind = fill.order_id.rpartition(".")
        name = self._local(table, parent, parent, parent) if parent else None
        if name is not None and kind in _PROTECTION:
            # Protection that the broker placed and executed while nobody listened.
            return self._closing(table, name, fill, f"{name}.{kind}", _PROTECTION[kind])
        if fill.position:
            # Somebody closed a position of Herald's by its ticket, which at some brokers is that of the order that opened it.
            name = self._by_position.get((table, fill.position)) or self._by_broker.get((table, fill.position))
            if name is not None and self._engine.orders[name].request.side is not fill.side:
                text = f"somebody closed {fill.size:g} {fill.symbol} of order {name} at the broker"
                self.alert("closed_outside", text)
                return self._closing(table, name, fill, f"{name}.x{fill.id}", OrderType.MARKET)
        return None

    def _closing(self, table: str, parent: str, fill: Fill, name: str, kind: OrderType) -> str:
        """Make an order, of which only its execution was heard, that closed what order *parent* opened; return its name."""
        opened = self._engine.orders[parent].request
        request = OrderRequest(
            name, opened.strategy, fill.symbol, fill.side, fill.size, kind,
            limit=fill.price if kind is OrderType.LIMIT else None, stop=fill.price if kind is OrderType.STOP else None,
            reduce_only=True, parent=parent,
        )  # fmt: skip
        self._becomes(table, Order(request, OrderStatus.ACCEPTED, fill.time))
        return name

    def _local(self, table: str, order_id: str, tag: str, broker_id: str) -> str | None:
        """Return Herald's name of an order that a broker names in one of its ways."""
        if order_id in self._engine.orders:
            return order_id
        found = self._by_tag.get(tag) or self._by_broker.get((table, broker_id))
        if found is None and "." in order_id:
            # The broker names protection after its parent's tag or number; here it is named after its parent.
            parent, _, kind = order_id.rpartition(".")
            own = self._by_tag.get(parent) or self._by_broker.get((table, parent))
            child = f"{own}.{kind}"
            found = child if own is not None and child in self._engine.orders else None
        return found

    def _becomes(self, table: str, order: Order, *, quietly: bool = False, kept: Callable[[], None] | None = None) -> None:
        """Let the engine and the journal know *order* as it is now."""
        if quietly:
            self._engine.orders[order.id] = order
        else:
            self._engine.on_order(order)
        if not order.is_working:
            self._forget(order.id)
            if self._times is not None:
                self._times.ended(order.id)
        self._spool.write((OrderChanged(self._clock.now(), table, order),), kept=kept)

    def _forget(self, order_id: str) -> None:
        """Ask no more about an order that has ended."""
        for doubts in (self._missing, self._changed):
            doubts.pop(order_id, None)
        self._cancel_later.discard(order_id)
        self._cancels.pop(order_id, None)

    def alert(self, code: str, text: str) -> None:
        """Tell a person, through the observers, and keep it."""
        now = self._clock.now()
        self._spool.write((Alerted(now, code, text),))
        self._engine.emit(Alert(now, code, text))

    # --- orders of which nobody knows -------------------------------------------------------------

    def _settle(self, order_id: str) -> None:
        """The broker knows the order: it is in no doubt any more."""
        self.unresolved.pop(order_id, None)
        self._missing.pop(order_id, None)
        request = self._engine.orders[order_id].request
        if self.blocked.get((request.strategy, request.symbol)) == order_id:
            del self.blocked[request.strategy, request.symbol]

    def chase(self, now: float) -> None:
        """Ask after every order in doubt whose time has come; *now* is seconds of the monotonic clock."""
        self.next_ask = _NEVER
        for doubts in (self.unresolved, self._missing, self._changed):
            for doubt in list(doubts.values()):
                order = self._engine.orders[doubt.order_id]
                if doubts is not self.unresolved and not order.is_working:
                    del doubts[doubt.order_id]
                    continue
                if now >= doubt.next_ask:
                    settle = self.account_of(doubt.order_id).capabilities.settle_seconds
                    doubt.next_ask = now + min(max(settle / 3, _SHORTEST_ASK_SECONDS), _LONGEST_ASK_SECONDS)
                    self._ask(doubt.order_id)
                self.next_ask = min(self.next_ask, doubt.next_ask)

    def miss(self, order_id: str) -> None:
        """Look for an order that was confirmed once and is not among the working ones any more."""
        self._doubt(self._missing, order_id)

    def gone(self, table: str, order_id: str, time: int) -> None:
        """Note that an order ended without a word: its fills would be known."""
        order = self._engine.orders[order_id]
        self._becomes(table, _replace(order, status=OrderStatus.CANCELLED, time=time, code="gone", reason=_GONE))

    def found(self, table: str, answer: Found) -> None:
        """Take what the broker knows under the tag of an order."""
        order = self._engine.orders.get(answer.order_id)
        if order is None:
            return
        if answer.orders:
            self._present(table, order.id, answer)
            return
        doubt = self.unresolved.get(order.id) or self._missing.get(order.id)
        if doubt is None:
            return
        if doubt.absent_since is None:  # one look may have raced with the order's arrival in the broker's lists
            doubt.absent_since = self._clock.monotonic()
            return
        account = self._accounts[table]
        if order.id in self._missing:
            if order.is_working:
                self.gone(table, order.id, answer.time)
            self._missing.pop(order.id, None)
        elif answer.asked - doubt.absent_since >= account.capabilities.settle_seconds:
            self._resolve_absent(account, order, answer.time)

    def _present(self, table: str, name: str, answer: Found) -> None:
        """Take the orders that the broker has under one tag."""
        for doubt in (self.unresolved.get(name), self._missing.get(name)):
            if doubt is not None:
                doubt.absent_since = None
        living = [one for one in answer.orders if one.status not in _ENDS]
        if len({one.broker_id for one in living}) > 1:
            numbers = ", ".join(one.broker_id for one in living)
            self.alert("order_duplicated", f"the broker has order {name} more than once ({numbers}); look at the account")
        for stated in living or answer.orders:
            self.order(table, stated)
        order = self._engine.orders[name]
        if max(one.filled for one in answer.orders) > order.filled:
            self.look(table)  # it traded, and nobody told
        elif not living or any(one.status in _WORKS for one in living):
            self._missing.pop(name, None)
        changed = self._changed.get(name)
        if changed is not None:
            if changed.absent_since is None:  # the change may be on its way: look again when it must have arrived
                changed.absent_since = self._clock.monotonic()
            elif answer.asked - changed.absent_since >= self._accounts[table].capabilities.settle_seconds:
                del self._changed[name]

    def _resolve_absent(self, account: Account, order: Order, time: int) -> None:
        """Decide about an order that the broker does not know after its settle window."""
        request = order.request
        if order.id in self._cancel_later:  # nobody wants it any more
            self._cancel_later.discard(order.id)
        elif account.capabilities.idempotent_ids or request.reduce_only:
            # The same tag again: a broker that has it answers with what it has. A protective exit may be repeated
            # because it names what it closes and can only make that smaller.
            self._before_resend()
            del self.unresolved[order.id]
            sent = _replace(order, status=OrderStatus.PENDING, time=time, code="", reason="")
            self._becomes(account.table, sent)
            self.alert("order_resent", f"order {order.id} never reached the broker and is sent again")
            self._submit(Submit(request, permit=self._seal(request)))
            self._after_resend()
            return
        del self.unresolved[order.id]
        self.blocked[request.strategy, request.symbol] = order.id
        text = "the broker does not know it"
        self._becomes(account.table, _replace(order, status=OrderStatus.ABANDONED, time=time, code="abandoned", reason=text))
        self.alert(
            "order_abandoned",
            f"entry {order.id} in {request.symbol} is given up: the broker does not know it; entries of "
            f"{request.strategy} there are blocked until it turns up or a person resumes",
        )


_GONE = "the broker has it no more"
_PROTECTION = {"sl": OrderType.STOP, "tp": OrderType.LIMIT}
"""Protective orders of a broker by the end of their names."""


_CLOSING: dict[str, Any] = {"reduce_only": True, "stop_loss": None, "take_profit": None}
"""Terms of an order that closes a position by its ticket."""


def _free(book: Book, request: OrderRequest) -> list[tuple[str, float]]:
    """Return (ticket, lots) of what *request* may close, oldest first: what others do not close already, then the rest."""
    held = {ticket: abs(size) for ticket, size in book.tickets.items() if size * request.side < 0}
    taken = dict.fromkeys(held, 0.0)
    for order in book.working.values():
        other = order.request
        if (
            other.position in taken
            and other.reduce_only
            and other.parent == request.parent
            # A market order is about to fill; one that waits is cut to what is left when it does.
            and (other.type is request.type if request.type is not OrderType.MARKET else other.type is OrderType.MARKET)
        ):
            taken[other.position] += order.remaining
    free = [(ticket, book.snap(max(size - taken[ticket], 0.0))) for ticket, size in held.items()]
    if request.type is OrderType.MARKET or request.parent:
        return free
    return free + [(ticket, book.snap(min(size, taken[ticket]))) for ticket, size in held.items()]


def _terms(known: OrderRequest, stated: OrderRequest) -> OrderRequest:
    """Return *known* with the terms that a change could have changed as the broker states them."""
    return _replace(
        known,
        size=stated.size,
        limit=stated.limit,
        stop=stated.stop,
        stop_loss=stated.stop_loss,
        take_profit=stated.take_profit,
        expires=stated.expires,
    )
