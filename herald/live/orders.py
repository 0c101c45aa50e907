"""Intent, commit, send, outcome: the way of every order, and the way back of what the broker says about it.

All of it happens in the engine's thread. An order leaves for its worker only after the journal has its intent; from
that moment on nobody may say that it was not sent. What the broker says is translated into Herald's own names and handed
to the engine, once, whatever the order in which it arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from herald.clock import Clock
from herald.contracts import Cancel, Capabilities, Command, Modify, Submit
from herald.engine.engine import Engine
from herald.live.messages import Ask, CancelOrder, ChangeOrder, Found, Job, Outcome, SendOrder
from herald.live.recovery import Past
from herald.live.spool import Spool
from herald.model import (
    Alert,
    CancelIntended,
    Fill,
    Intended,
    ModifyIntended,
    Order,
    OrderChanged,
    OrderDenied,
    OrderRequest,
    OrderStatus,
    Traded,
)

__all__ = ["Account", "Desk", "Unresolved"]

_ENDS = frozenset({OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED, OrderStatus.DENIED})
_UNSENT = frozenset({OrderStatus.PENDING, OrderStatus.SENT, OrderStatus.UNKNOWN})
_ASK_SECONDS = 1.0
"""Between two questions after an order whose fate is unknown."""


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
    """

    table: str
    worker: _Worker
    capabilities: Capabilities
    generation: Callable[[], int]


class Unresolved(msgspec.Struct):
    """An order of which nobody knows whether the broker has it.

    Attributes:
        order_id: The order.
        since: When that became so, nanoseconds UTC.
        next_ask: When to ask again, nanoseconds UTC.
        absent: Times at which the broker was asked after the settle window and did not know it, nanoseconds UTC.
    """

    order_id: str
    since: int
    next_ask: int
    absent: list[int]


class Desk:
    """Sends what the engine asks for and brings back what comes of it.

    Attributes:
        unresolved: Orders whose fate is unknown, by id.
        blocked: (strategy, symbol) in which an abandoned entry may still turn up; entries wait for a person.
        external: Fills that belong to no order of Herald's, oldest first.
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
        """
        self.unresolved: dict[str, Unresolved] = {}
        self.blocked: dict[tuple[str, str], str] = {}
        self.external: list[Fill] = []
        self._engine = engine
        self._spool = spool
        self._clock = clock
        self._accounts = accounts
        self._route = route
        self._inbox = inbox
        self._seal = seal
        self._request_seconds = request_seconds
        self._by_tag: dict[str, str] = {}
        self._by_broker: dict[tuple[str, str], str] = {}
        self._by_position: dict[tuple[str, str], str] = {}
        self._seen: dict[tuple[str, str], None] = {}
        self._cancel_later: set[str] = set()
        self._changes: dict[str, OrderRequest] = {}

    def account_of(self, order_id: str) -> Account:
        """Return the account that an order goes to."""
        return self._accounts[self._route[self._engine.orders[order_id].request.strategy]]

    def knows(self, table: str, stated: Order) -> bool:
        """Return whether an order that a broker states is one of Herald's."""
        return self._local(table, stated.request.id, stated.request.client_tag, stated.broker_id) is not None

    def seen(self) -> list[tuple[str, str]]:
        """Return (connector, fill id) of every execution taken, oldest first."""
        return list(self._seen)

    def remember(self, past: Past) -> None:
        """Take over the orders and executions of earlier runs; what has no outcome is in doubt from the start."""
        self._seen = dict.fromkeys(past.seen)
        for order in past.orders.values():
            request, table = order.request, past.tables.get(order.id, "")
            if request.client_tag:
                self._by_tag[request.client_tag] = order.id
            if order.broker_id:
                self._by_broker[table, order.broker_id] = order.id
            if order.status in _UNSENT:
                self.unresolved[order.id] = Unresolved(order.id, order.time, 0, [])
            elif order.status is OrderStatus.ABANDONED:
                self.blocked[request.strategy, request.symbol] = order.id

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
        request = command.request
        account = self._accounts[self._route[request.strategy]]
        self._by_tag[request.client_tag] = request.id
        expires = self._clock.monotonic() + self._request_seconds
        job = SendOrder(request, command.permit, expires)
        record = Intended(self._clock.now(), account.table, request, account.generation())
        self._send(account, record, job, request.id, "submit")

    def _send(self, account: Account, record: Intended | ModifyIntended, job: Job, order_id: str, action: str) -> None:
        """Keep *record*; then hand *job* to the worker, or say that it was denied."""
        table, now = account.table, self._clock.now

        def kept() -> None:
            account.worker.put(job)

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
            return
        account = self.account_of(order_id)
        broker_id = self._broker_id(account, order_id)
        if not broker_id:
            self._cancel_later.add(order_id)  # its ticket is not known yet; it is withdrawn as soon as it is
            return
        record = CancelIntended(self._clock.now(), account.table, broker_id, order_id)
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
            if self._accounts[table].capabilities.order_events:
                # The broker tells the rest by itself, in the order in which it happens there.
                self._becomes(table, msgspec.structs.replace(order, broker_id=outcome.broker_id), quietly=True)
            elif order.status in _UNSENT:
                self.unresolved.pop(order.id, None)
                self._becomes(table, order.with_status(OrderStatus.ACCEPTED, outcome.time, broker_id=outcome.broker_id))
            elif not order.broker_id:  # its fill was faster than its confirmation
                self._becomes(table, msgspec.structs.replace(order, broker_id=outcome.broker_id), quietly=True)
            if order.id in self._cancel_later:
                self._cancel_later.discard(order.id)
                self._cancel(order.id)
            return
        if status is None or order.status not in _UNSENT:
            return
        if status is OrderStatus.UNKNOWN:
            self.doubt(table, order, outcome.time, outcome.code, outcome.text)
            return
        self._cancel_later.discard(order.id)
        ended = order.with_status(status, outcome.time, outcome.code, outcome.text)
        self._becomes(table, ended)
        if status is OrderStatus.DENIED:
            self._engine.emit(OrderDenied(outcome.time, ended))

    def doubt(self, table: str, order: Order, time: int, code: str, text: str) -> None:
        """Note that nobody knows whether the broker has *order*; it is looked for from now on."""
        if order.id not in self.unresolved:
            self.unresolved[order.id] = Unresolved(order.id, time, time, [])
        if order.status is not OrderStatus.UNKNOWN:
            self._becomes(table, order.with_status(OrderStatus.UNKNOWN, time, code, text))
            self.alert("order_unknown", f"order {order.id} may or may not be at the broker: {text}")

    def _modified(self, table: str, order: Order, outcome: Outcome) -> None:
        request = self._changes.pop(order.id, None)
        if outcome.status is OrderStatus.UNKNOWN:
            self.alert("change_unknown", f"the change of order {order.id} may or may not have reached the broker: {outcome.text}")
            self._ask(order.id)
            return
        if outcome.code:
            denied = Order(request or order.request, OrderStatus.DENIED, outcome.time, code=outcome.code, reason=outcome.text)
            self._engine.emit(OrderDenied(outcome.time, denied))
        elif request is not None and order.is_working and not self._accounts[table].capabilities.order_events:
            self._becomes(table, msgspec.structs.replace(order, request=request, time=outcome.time))

    def _cancelled(self, table: str, order: Order, outcome: Outcome) -> None:
        if outcome.status is None:
            self.alert("cancel_failed", f"order {order.id} could not be withdrawn: {outcome.text}")
        if order.is_working and not (self._accounts[table].capabilities.order_events and outcome.status is not None):
            # "Gone" may mean withdrawn or filled a moment before: the broker says which.
            self._ask(order.id)

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
        if stated.broker_id:
            self._by_broker[table, stated.broker_id] = name
            if not order.broker_id:
                order = msgspec.structs.replace(order, broker_id=stated.broker_id)
        if not order.is_working and order.status is not OrderStatus.ABANDONED:
            # An end is an end; what was traded besides comes as fills. Only protection may be placed anew under its name.
            if stated.request.parent and stated.status is OrderStatus.ACCEPTED and order.status is OrderStatus.CANCELLED:
                self._stranger(table, stated)
            return
        if stated.status in _ENDS:
            self._settle(name)
            ended = order.with_status(stated.status, stated.time, stated.code, stated.reason)
            if stated.filled == order.filled:
                ended = msgspec.structs.replace(ended, average_price=stated.average_price)
            self._becomes(table, ended)
        elif stated.status is OrderStatus.ACCEPTED or stated.status is OrderStatus.PARTIAL:
            self._settle(name)
            # How much is filled, the fills say; here only that the broker has the order, and on which terms.
            tells = self._accounts[table].capabilities.order_events
            terms = stated.request if order.request.parent or tells else order.request
            if tells or order.status in _UNSENT or terms != order.request:
                status = OrderStatus.PARTIAL if order.filled else OrderStatus.ACCEPTED
                average = stated.average_price if stated.filled == order.filled else order.average_price
                self._becomes(
                    table,
                    msgspec.structs.replace(order, request=terms, status=status, time=stated.time, average_price=average),
                )

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
        self._seen[table, fill.id] = None
        name = self._local(table, fill.order_id, fill.order_id, fill.order_id)
        if name is None and fill.position:
            name = self._by_position.get((table, fill.position))
        local = fill.id if fill.id not in self._engine.ledger.fills else f"{table}/{fill.id}"
        market = self._engine.market_data
        rate = market.rate(fill.symbol) if market.converts and name is not None else 1.0
        stated = msgspec.structs.replace(fill, order_id=name or fill.order_id)
        self._spool.write((Traded(self._clock.now(), table, stated, rate),))
        if name is None:
            self.external.append(fill)
            self.alert("external_fill", f"{fill.side.name} {fill.size:g} {fill.symbol} at {fill.price:g} is no order of Herald's")
            return False
        order = self._engine.orders[name]
        if fill.position:
            self._by_position[table, fill.position] = name
        was_late = not order.is_working
        if was_late:
            self.alert("late_fill", f"order {name} was {order.status} and still traded {fill.size:g} {fill.symbol}")
        self._settle(name)
        self._engine.on_fill(msgspec.structs.replace(fill, id=local, order_id=name))
        self._spool.write((OrderChanged(self._clock.now(), table, self._engine.orders[name]),))
        return True

    def _local(self, table: str, order_id: str, tag: str, broker_id: str) -> str | None:
        """Return Herald's name of an order that a broker names in one of its ways."""
        if order_id in self._engine.orders:
            return order_id
        return self._by_tag.get(tag) or self._by_broker.get((table, broker_id))

    def _becomes(self, table: str, order: Order, *, quietly: bool = False) -> None:
        """Let the engine and the journal know *order* as it is now."""
        if quietly:
            self._engine.orders[order.id] = order
        else:
            self._engine.on_order(order)
        self._spool.write((OrderChanged(self._clock.now(), table, order),))

    def alert(self, code: str, text: str) -> None:
        """Tell a person, through the observers."""
        self._engine.emit(Alert(self._clock.now(), code, text))

    # --- orders of which nobody knows -------------------------------------------------------------

    def _settle(self, order_id: str) -> None:
        """The broker knows the order: it is in no doubt any more."""
        self.unresolved.pop(order_id, None)
        request = self._engine.orders[order_id].request
        if self.blocked.get((request.strategy, request.symbol)) == order_id:
            del self.blocked[request.strategy, request.symbol]

    def chase(self) -> None:
        """Ask after every order in doubt whose time has come."""
        now = self._clock.now()
        for doubt in list(self.unresolved.values()):
            if now >= doubt.next_ask:
                doubt.next_ask = now + round(_ASK_SECONDS * 1e9)
                self._ask(doubt.order_id)

    def found(self, table: str, answer: Found) -> None:
        """Take what the broker knows under the tag of an order."""
        doubt = self.unresolved.get(answer.order_id)
        order = self._engine.orders[answer.order_id]
        for stated in answer.orders:
            self.order(table, stated)
        if answer.orders or doubt is None:
            if not answer.orders and order.is_working and order.broker_id:
                # Confirmed once, and now neither working nor in the history: it ended, and its fills would say so.
                self._becomes(table, order.with_status(OrderStatus.CANCELLED, answer.time, "gone", "the broker has it no more"))
            return
        account = self._accounts[table]
        settled = answer.time - doubt.since >= account.capabilities.settle_seconds * 1e9
        if not settled:
            return
        doubt.absent.append(answer.time)
        if len(doubt.absent) >= 2:  # one look may have raced with the order's arrival in the broker's lists
            del self.unresolved[order.id]
            self._resolve_absent(account, order, answer.time)

    def _resolve_absent(self, account: Account, order: Order, time: int) -> None:
        """Decide about an order that the broker does not know after its settle window."""
        request = order.request
        if order.id in self._cancel_later:
            self._cancel_later.discard(order.id)
        elif account.capabilities.idempotent_ids or request.reduce_only:
            # The same tag again: a broker that has it answers with what it has. A protective exit may be repeated
            # because it names what it closes and can only make that smaller.
            sent = msgspec.structs.replace(order, status=OrderStatus.PENDING, time=time, code="", reason="")
            self._becomes(account.table, sent)
            self.alert("order_resent", f"order {order.id} never reached the broker and is sent again")
            self._submit(Submit(request, permit=self._seal(request)))
            return
        self.blocked[request.strategy, request.symbol] = order.id
        self._becomes(account.table, order.with_status(OrderStatus.ABANDONED, time, "abandoned", "the broker does not know it"))
        self.alert(
            "order_abandoned",
            f"entry {order.id} in {request.symbol} is given up: the broker does not know it; entries of "
            f"{request.strategy} there are blocked until it turns up or a person resumes",
        )
