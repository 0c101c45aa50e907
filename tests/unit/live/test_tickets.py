"""Accounts that keep every trade apart: what is closed is named by its ticket, and nobody else's is touched."""

from __future__ import annotations

from typing import Any

import msgspec

from herald.live.messages import SendOrder
from herald.model import OrderRequest, OrderStatus, OrderType, Side
from tests.unit.live.stand import INSTRUMENTS, Stand


def hold(stand: Stand, *sizes: float, first: int = 1) -> None:
    """Buy (negative: sell) *sizes*, each of which gets ticket T1, T2 ..."""
    for number, size in enumerate(sizes, first):
        name = stand.buy(size, tag=str(number)) if size > 0 else stand.sell(-size, limit=1.2, tag=str(number))
        stand.accept(name, f"b{number}")
        stand.fill(number, name, abs(size), position=f"T{number}")
    stand.worker.take()


def sent(stand: Stand) -> list[tuple[str, str | None, float, bool]]:
    return [
        (job.request.id, job.request.position, job.request.size, job.request.reduce_only) for job in stand.worker.take(SendOrder)
    ]


def test_one_ticket_is_closed_by_one_order_of_the_same_name() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.3)

    name = stand.close()

    assert [(name, "T1", 0.3, True)] == sent(stand)
    assert ("T1",) == stand.ctx.position("EURUSD").tickets


def test_a_close_of_several_tickets_is_several_orders_oldest_first() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.3, 0.2, 0.1)

    name = stand.sell(0.4, reduce_only=True)

    assert [(f"{name}.1", "T1", 0.3, True), (f"{name}.2", "T2", 0.1, True)] == sent(stand)
    assert "denied" not in [str(order.status) for order in stand.engine.orders.values()]
    assert 0.2 == round(sum(o.remaining for o in stand.ctx.orders() if o.request.position == "T2") + 0.1, 10)


def test_what_is_being_closed_is_not_closed_again() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.3, 0.2)

    first = stand.sell(0.3, reduce_only=True)
    second = stand.sell(0.2, reduce_only=True)

    assert [(first, "T1", 0.3, True), (second, "T2", 0.2, True)] == sent(stand)


def test_fills_by_ticket_leave_the_others_open() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.3, 0.2)
    name = stand.sell(0.4, reduce_only=True)
    stand.fill(11, f"{name}.1", 0.3, position="T1")
    stand.fill(12, f"{name}.2", 0.1, position="T2")

    assert (0.1, {"T2": 0.1}) == (stand.size(), stand.ledger.books["trend", "EURUSD"].tickets)
    assert ["filled", "filled"] == [stand.status(f"{name}.1"), stand.status(f"{name}.2")]


def test_a_market_order_through_zero_closes_tickets_and_opens_the_rest() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.3)

    name = stand.sell(0.5, stop_loss=1.2)

    jobs = stand.worker.take(SendOrder)
    assert [(f"{name}.1", "T1", 0.3, None), (f"{name}.2", None, 0.2, 1.2)] == [
        (job.request.id, job.request.position, job.request.size, job.request.stop_loss) for job in jobs
    ]


def test_an_order_that_waits_and_may_open_is_left_as_it_is() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.3)

    name = stand.sell(0.2, limit=1.3)

    assert [(name, None, 0.2, False)] == sent(stand)


def test_exits_that_wait_share_the_tickets() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.1, 0.1)

    one = stand.sell(0.1, limit=1.3, reduce_only=True)
    two = stand.sell(0.1, limit=1.4, reduce_only=True)
    three = stand.sell(0.2, limit=1.5, reduce_only=True)

    expected = [(one, "T1", 0.1, True), (two, "T2", 0.1, True), (f"{three}.1", "T1", 0.1, True), (f"{three}.2", "T2", 0.1, True)]
    assert expected == sent(stand)


def test_a_withdrawal_of_what_became_several_orders_withdraws_all_of_them() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.1, 0.1)
    order = stand.ctx.sell("EURUSD", 0.2, limit=1.3, reduce_only=True)
    stand.go()
    for part in (1, 2):
        stand.accept(f"{order.id}.{part}", f"x{part}")
    stand.worker.take()

    stand.ctx.cancel(order)
    stand.go()

    assert [f"{order.id}.1", f"{order.id}.2"] == [job.order_id for job in stand.worker.take()]


def test_netting_and_simulated_accounts_are_asked_once() -> None:
    for stand in (Stand(), Stand(hedging=True, simulated=True)):
        hold(stand, 0.3, 0.2)

        name = stand.close()

        assert [(name, None, 0.5, True)] == sent(stand)


def test_a_position_beyond_the_largest_order_is_closed_by_several(monkeypatch: Any) -> None:
    monkeypatch.setitem(INSTRUMENTS, "EURUSD", msgspec.structs.replace(INSTRUMENTS["EURUSD"], max_size=0.2))
    stand = Stand()
    hold(stand, 0.2, 0.2, 0.1)

    refused = stand.sell(0.6)
    name = stand.close()

    assert "size_too_large" == stand.order(refused).code
    assert [(f"{name}.1", None, 0.2, True), (f"{name}.2", None, 0.2, True), (f"{name}.3", None, 0.1, True)] == sent(stand)


def test_tickets_survive_a_restart() -> None:
    from herald.live.recovery import recover
    from tests.unit.live.test_recovery import Records

    stand = Stand(hedging=True)
    hold(stand, 0.3, 0.2)
    from herald.engine.book import Ledger

    ledger = Ledger(1.0)
    recover(Records(stand.spool.records), ledger, INSTRUMENTS)

    book = ledger.books["trend", "EURUSD"]
    assert {"T1": 0.3, "T2": 0.2} == book.tickets == book.state().tickets


# --- protection that Herald keeps -------------------------------------------------------------------


def protect(stand: Stand, level: float) -> None:
    """Do what an exit rule that wants a stop makes the exit desk do."""
    book = stand.ledger.books["trend", "EURUSD"]
    stand.engine.exits._protect(book, OrderType.STOP, level, "guard")
    stand.go()


def stops(stand: Stand) -> list[tuple[str | None, float, float | None]]:
    return sorted(
        (order.request.position or "", round(order.remaining, 10), order.request.stop)
        for order in stand.ctx.orders("EURUSD")
        if order.request.parent
    )


def confirm(stand: Stand) -> None:
    """Let the broker have every order and every change of one."""
    for order in stand.ctx.orders("EURUSD"):
        if order.request.parent and not order.broker_id:
            stand.accept(order.id, f"x{order.id}")
    for name in list(stand.desk._changes):
        stand.outcome(name, None, "modify")


def test_every_ticket_has_its_own_stop_and_new_ones_get_theirs() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.3, 0.2)
    protect(stand, 1.05)
    confirm(stand)
    assert [("T1", 0.3, 1.05), ("T2", 0.2, 1.05)] == stops(stand)

    hold(stand, 0.1, first=3)
    protect(stand, 1.06)
    confirm(stand)

    assert [("T1", 0.3, 1.06), ("T2", 0.2, 1.06), ("T3", 0.1, 1.06)] == stops(stand)


def test_a_stop_follows_its_ticket_and_ends_with_it() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.3, 0.2)
    protect(stand, 1.05)
    confirm(stand)
    name = stand.sell(0.4, reduce_only=True)
    stand.fill(11, f"{name}.1", 0.3, position="T1")
    stand.fill(12, f"{name}.2", 0.1, position="T2")
    stand.go()

    protect(stand, 1.05)
    confirm(stand)
    gone = [order.id for order in stand.ctx.orders() if order.request.position == "T1"]
    for order in gone:
        stand.outcome(order, OrderStatus.CANCELLED, "cancel")

    assert [1] == [len(gone)]
    assert ("T2", 0.1, 1.05) in stops(stand)


def test_the_stop_of_a_closed_position_is_withdrawn() -> None:
    for hedging in (False, True):
        stand = Stand(hedging=hedging)
        hold(stand, 0.3)
        protect(stand, 1.05)
        confirm(stand)
        (stop,) = [order.id for order in stand.ctx.orders() if order.request.parent]
        name = stand.close()
        stand.worker.take()

        stand.fill(11, name, 0.3, position="T1" if hedging else "")
        stand.go()

        assert [stop] == [job.order_id for job in stand.worker.take()]


def test_one_stop_is_still_one_order_on_a_netting_account() -> None:
    stand = Stand()
    hold(stand, 0.3)
    protect(stand, 1.05)
    confirm(stand)
    hold(stand, 0.2, first=2)
    protect(stand, 1.05)
    confirm(stand)

    assert [("", 0.5, 1.05)] == stops(stand)


# --- reconciliation ---------------------------------------------------------------------------------


def test_somebody_elses_trade_the_other_way_is_no_mismatch_where_trades_have_owners() -> None:
    from herald.live.messages import Snapshot
    from herald.model import Position
    from tests.unit.live.stand import TABLE, account

    stand = Stand(hedging=True, external="ignore", settle_seconds=1.0)
    hold(stand, 0.3)
    both = (Position("EURUSD", 0.3, 1.1, 0.0, 1, ("T1",)), Position("EURUSD", -0.2, 1.1, 0.0, 1, ("T9",)))
    for _ in range(4):
        stand.reconciler.snapshot(TABLE, Snapshot(stand.clock.now(), account(), both, (), ()))
        stand.clock.advance(2.0)

    assert [] == stand.reductions
    assert {("main", "EURUSD"): -0.2} == stand.reconciler.external
    own = (Position("EURUSD", 0.1, 1.1, 0.0, 1, ("T1",)), Position("EURUSD", 0.2, 1.1, 0.0, 1, ("T9",)))
    for _ in range(4):
        stand.reconciler.snapshot(TABLE, Snapshot(stand.clock.now(), account(), own, (), ()))
        stand.clock.advance(2.0)
    # Netted it could be theirs and ours; by tickets somebody closed a part of ours.
    assert 1 == len(stand.reductions)
    assert "position_mismatch" in stand.reductions[0]


def test_the_request_of_a_part_is_a_request_of_the_strategy() -> None:
    stand = Stand(hedging=True)
    hold(stand, 0.1, 0.1)
    name = stand.close()

    parts = [order.request for order in stand.ctx.orders() if order.id.startswith(name)]

    assert [("trend", Side.SELL, "", True)] * 2 == [(one.strategy, one.side, one.parent, one.reduce_only) for one in parts]
    assert len({one.client_tag for one in parts}) == 2
    assert isinstance(parts[0], OrderRequest)
