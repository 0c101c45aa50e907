"""The way of an order and the way back: nothing is lost, nothing counts twice, whatever the order of the news."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herald.live.messages import Ask, CancelOrder, ChangeOrder, Look, SendOrder
from herald.live.recovery import Past
from herald.model import (
    Alerted,
    CancelIntended,
    Fill,
    Intended,
    ModifyIntended,
    Order,
    OrderChanged,
    OrderRequest,
    OrderStatus,
    OrderType,
    Side,
    Traded,
)
from tests.unit.live.stand import TABLE, Stand

ACCEPTED, CANCELLED, FILLED, REJECTED = OrderStatus.ACCEPTED, OrderStatus.CANCELLED, OrderStatus.FILLED, OrderStatus.REJECTED
UNKNOWN = OrderStatus.UNKNOWN


# --- out ------------------------------------------------------------------------------------------


def test_an_order_reaches_its_worker_only_after_its_intent_is_kept() -> None:
    stand = Stand()
    stand.spool.holding = []

    name = stand.buy()
    before = list(stand.worker.jobs)
    (kept,) = stand.spool.holding
    kept()

    assert [name] == [record.request.id for record in stand.spool.of(Intended)]
    assert [] == before
    assert [name] == [job.request.id for job in stand.worker.take(SendOrder)]


def test_an_order_whose_intent_cannot_be_kept_is_denied_and_not_sent() -> None:
    stand = Stand()
    stand.spool.trouble = "the disk is full"

    name = stand.buy()
    ((table, outcome),) = stand.inbox
    stand.spool.trouble = ""
    stand.desk.outcome(table, outcome)

    assert [] == stand.worker.jobs
    assert ("denied", "journal_unavailable") == (stand.status(name), stand.order(name).code)


def test_the_name_at_the_broker_is_part_of_the_intent() -> None:
    stand = Stand()

    name = stand.buy()

    assert f"tag-{name}" == stand.spool.of(Intended)[0].request.client_tag


# --- back: confirmations and executions -----------------------------------------------------------


def test_a_confirmed_order_has_its_ticket_in_the_journal() -> None:
    stand = Stand()
    name = stand.buy()

    stand.accept(name, "b1")

    changed = stand.spool.of(OrderChanged)[-1].order
    assert ("accepted", "b1") == (str(changed.status), changed.broker_id)


def test_an_execution_counts_once_however_often_it_is_told() -> None:
    stand = Stand()
    name = stand.buy()
    stand.accept(name)

    answers = [stand.fill(7, name) for _ in range(3)]

    assert [True, False, False] == answers
    assert 0.1 == stand.size()
    assert 1 == len(stand.spool.of(Traded))


def test_an_execution_before_its_confirmation_counts_and_the_ticket_is_learnt_later() -> None:
    stand = Stand()
    name = stand.buy()

    stand.fill(1, name)
    stand.accept(name, "b1")

    assert ("filled", "b1", 0.1) == (stand.status(name), stand.order(name).broker_id, stand.size())


def test_an_order_filled_in_part_before_its_confirmation_stays_partial() -> None:
    stand = Stand()
    name = stand.buy(0.2)

    stand.fill(1, name, 0.05)
    stand.accept(name, "b1")

    assert ("partial", 0.05) == (stand.status(name), stand.order(name).filled)


def test_parts_may_come_in_any_order() -> None:
    stand = Stand()
    name = stand.buy(0.3)
    stand.accept(name)

    stand.fill(2, name, 0.1, 1.2)
    stand.fill(1, name, 0.2, 1.1)

    assert "filled" == stand.status(name)
    assert stand.order(name).average_price == pytest.approx((0.2 * 1.1 + 0.1 * 1.2) / 0.3)
    assert stand.size() == pytest.approx(0.3)


def test_an_execution_after_a_cancel_counts_and_somebody_is_told() -> None:
    stand = Stand()
    name = stand.buy(0.2, limit=1.0)
    stand.accept(name)
    stand.desk.order(TABLE, stand.stated(name, CANCELLED))

    stand.fill(1, name, 0.1, 1.0)

    assert ("cancelled", 0.1, 0.1) == (stand.status(name), stand.order(name).filled, stand.size())
    assert ["late_fill"] == stand.alerts


def test_a_refused_order_is_rejected_with_the_brokers_code() -> None:
    stand = Stand()
    name = stand.buy()

    stand.outcome(name, REJECTED, code="no_money", text="not enough")

    assert ("rejected", "no_money") == (stand.status(name), stand.order(name).code)


def test_a_refusal_after_an_execution_changes_nothing() -> None:
    stand = Stand()
    name = stand.buy()
    stand.fill(1, name)

    stand.outcome(name, REJECTED, code="late", text="too late")

    assert "filled" == stand.status(name)


def test_a_trade_that_is_taken_back_makes_the_position_smaller() -> None:
    stand = Stand()
    name = stand.buy(0.2)
    stand.accept(name)
    stand.fill(1, name, 0.2)

    stand.fill(2, name, 0.2, side=Side.SELL)

    assert 0.0 == stand.size()
    assert ["trade_taken_back"] == stand.alerts


def test_an_execution_of_nobodys_order_is_kept_told_and_changes_no_book() -> None:
    stand = Stand()

    taken = stand.fill(1, "somebody")

    assert not taken
    assert (0.0, ["external_fill"]) == (stand.size(), stand.alerts)
    assert 1 == len(stand.spool.of(Traded))
    assert ["1"] == [fill.id for fill in stand.desk.external]


def test_alerts_are_kept_in_the_journal() -> None:
    stand = Stand()

    stand.fill(1, "somebody")

    assert ["external_fill"] == [record.code for record in stand.spool.of(Alerted)]


# --- orders in doubt ------------------------------------------------------------------------------


def doubted(stand: Stand, *, exit_of: float = 0.0, **terms: Any) -> str:
    """Return an order of which nobody knows whether it arrived."""
    if exit_of:
        entry = stand.buy(exit_of)
        stand.accept(entry)
        stand.fill(1, entry, exit_of)
        name = stand.close()
    else:
        name = stand.buy(**terms)
    stand.lose(name)
    stand.worker.take()
    return name


def test_an_order_without_an_answer_is_unknown_and_asked_about_at_once() -> None:
    stand = Stand()
    name = doubted(stand)

    stand.desk.chase(stand.clock.monotonic())

    assert ("unknown", ["order_unknown"]) == (stand.status(name), stand.alerts)
    assert [name] == [job.order_id for job in stand.worker.take(Ask)]
    assert stand.clock.monotonic() < stand.desk.next_ask < math.inf


def test_questions_keep_their_distance() -> None:
    stand = Stand()
    doubted(stand)

    for _ in range(10):
        stand.desk.chase(stand.clock.monotonic())
        stand.clock.advance(0.25)

    assert 3 == len(stand.worker.take(Ask))


def test_an_unknown_order_that_is_found_works_and_is_not_sent_again() -> None:
    stand = Stand()
    name = doubted(stand, limit=1.0)

    stand.found(name, stand.stated(name, ACCEPTED, "b1"))

    assert ("accepted", "b1") == (stand.status(name), stand.order(name).broker_id)
    assert {} == stand.desk.unresolved
    assert [] == stand.worker.take(SendOrder)


def test_an_unknown_order_that_was_refused_is_rejected() -> None:
    stand = Stand()
    name = doubted(stand)

    stand.found(name, stand.stated(name, REJECTED))

    assert "rejected" == stand.status(name)
    assert {} == stand.desk.unresolved


def test_an_unknown_order_that_traded_stays_in_doubt_until_its_executions_are_listed() -> None:
    stand = Stand()
    name = doubted(stand)

    stand.found(name, stand.stated(name, FILLED, filled=0.1))
    looks = stand.worker.take(Look)
    stand.fill(1, name)

    assert 1 == len(looks)
    assert ("filled", 0.1, {}) == (stand.status(name), stand.size(), stand.desk.unresolved)


def absent(stand: Stand, name: str, seconds: float) -> None:
    """Let the broker say twice that it does not know an order, *seconds* apart."""
    stand.found(name)
    stand.clock.advance(seconds)
    stand.found(name)


def test_an_entry_is_given_up_after_its_settle_window_and_never_sent_again() -> None:
    stand = Stand(settle_seconds=10.0)
    name = doubted(stand)

    absent(stand, name, 10.0)

    assert "abandoned" == stand.status(name)
    assert [] == stand.worker.take(SendOrder)
    assert {("trend", "EURUSD"): name} == stand.desk.blocked
    assert ["order_unknown", "order_abandoned"] == stand.alerts


def test_nothing_is_decided_within_the_settle_window() -> None:
    stand = Stand(settle_seconds=10.0)
    name = doubted(stand)

    absent(stand, name, 9.9)

    assert "unknown" == stand.status(name)
    assert name in stand.desk.unresolved


def test_one_answer_is_not_enough_without_a_settle_window() -> None:
    stand = Stand(settle_seconds=0.0)
    name = doubted(stand)

    stand.found(name)
    first = stand.status(name)
    stand.found(name)

    assert ("unknown", "abandoned") == (first, stand.status(name))


def test_the_settle_window_begins_with_the_first_answer_not_with_the_doubt() -> None:
    stand = Stand(settle_seconds=10.0)
    name = doubted(stand)
    stand.clock.advance(3_600.0)  # the broker was away for an hour, or the wall clock jumped

    absent(stand, name, 5.0)

    assert "unknown" == stand.status(name)


def test_a_question_asked_before_the_window_was_over_does_not_end_it() -> None:
    from herald.live.messages import Found

    stand = Stand(settle_seconds=10.0)
    name = doubted(stand)
    stand.found(name)
    asked = stand.clock.monotonic() + 5.0
    stand.clock.advance(20.0)

    stand.desk.found(TABLE, Found(stand.clock.now(), name, (), asked))

    assert "unknown" == stand.status(name)


def test_an_order_that_is_seen_in_between_begins_its_window_anew() -> None:
    stand = Stand(settle_seconds=10.0)
    name = doubted(stand)
    stand.found(name)
    stand.clock.advance(8.0)
    stand.found(name, stand.stated(name, FILLED, filled=0.1))
    stand.clock.advance(8.0)

    stand.found(name)

    assert "unknown" == stand.status(name)


def test_a_broker_that_knows_its_tags_is_sent_an_absent_order_again_under_the_same_tag() -> None:
    stand = Stand(settle_seconds=10.0, idempotent_ids=True)
    name = doubted(stand)

    absent(stand, name, 10.0)

    (job,) = stand.worker.take(SendOrder)
    assert (f"tag-{name}", "permit again") == (job.request.client_tag, job.permit)
    assert [name, name] == [record.request.id for record in stand.spool.of(Intended)]
    assert ("pending", {}) == (stand.status(name), stand.desk.unresolved)


def test_an_exit_that_is_absent_is_sent_again_on_any_broker() -> None:
    stand = Stand(settle_seconds=10.0)
    name = doubted(stand, exit_of=0.1)

    absent(stand, name, 10.0)

    (job,) = stand.worker.take(SendOrder)
    assert (name, True) == (job.request.id, job.request.reduce_only)


def test_an_order_that_was_to_be_withdrawn_is_not_sent_again() -> None:
    stand = Stand(settle_seconds=10.0, idempotent_ids=True)
    name = doubted(stand)
    stand.cancel(name)

    absent(stand, name, 10.0)

    assert "abandoned" == stand.status(name)
    assert [] == stand.worker.take(SendOrder)


def test_a_late_execution_of_an_abandoned_entry_is_taken_and_unblocks() -> None:
    stand = Stand(settle_seconds=10.0)
    name = doubted(stand)
    absent(stand, name, 10.0)

    stand.fill(1, name)

    assert ("filled", 0.1, {}) == (stand.status(name), stand.size(), stand.desk.blocked)
    assert "late_fill" == stand.alerts[-1]


@pytest.mark.parametrize("status", [ACCEPTED, REJECTED, CANCELLED, OrderStatus.EXPIRED])
def test_an_abandoned_entry_that_turns_up_is_what_the_broker_says(status: OrderStatus) -> None:
    stand = Stand(settle_seconds=10.0)
    name = doubted(stand)
    absent(stand, name, 10.0)

    stand.desk.order(TABLE, stand.stated(name, status))

    assert (str(status), {}) == (stand.status(name), stand.desk.blocked)


def test_two_living_orders_of_one_name_call_a_person() -> None:
    stand = Stand()
    name = doubted(stand, limit=1.0)

    stand.found(name, stand.stated(name, ACCEPTED, "b1"), stand.stated(name, ACCEPTED, "b2"))

    assert "order_duplicated" in stand.alerts


def test_a_refused_repetition_does_not_end_the_order_that_lives() -> None:
    stand = Stand()
    name = doubted(stand, limit=1.0)

    stand.found(name, stand.stated(name, REJECTED, "b2"), stand.stated(name, ACCEPTED, "b1"))

    assert "accepted" == stand.status(name)


def test_an_answer_about_an_order_that_nobody_knows_is_ignored() -> None:
    stand = Stand()

    stand.found("other-000001")

    assert [] == stand.alerts


# --- cancels --------------------------------------------------------------------------------------


def test_a_cancel_before_the_confirmation_waits_for_the_ticket() -> None:
    stand = Stand()
    name = stand.buy(limit=1.0)
    stand.cancel(name)
    before = stand.worker.take(CancelOrder)

    stand.accept(name, "b1")

    assert [] == before
    assert ["b1"] == [job.broker_id for job in stand.worker.take(CancelOrder)]
    assert ["", "b1"] == [record.broker_id for record in stand.spool.of(CancelIntended)]


def test_a_cancel_of_an_unknown_order_is_sent_once_it_is_found() -> None:
    stand = Stand()
    name = doubted(stand, limit=1.0)
    stand.cancel(name)

    stand.found(name, stand.stated(name, ACCEPTED, "b1"))

    assert ["b1"] == [job.broker_id for job in stand.worker.take(CancelOrder)]


def working(stand: Stand, **terms: Any) -> str:
    name = stand.buy(**({"limit": 1.0} | terms))
    stand.accept(name, "b1")
    stand.worker.take()
    return name


def test_a_cancel_is_believed_when_the_broker_says_what_became_of_the_order() -> None:
    stand = Stand()
    name = working(stand)
    stand.cancel(name)
    stand.outcome(name, CANCELLED, "cancel")

    stand.desk.chase(stand.clock.monotonic())
    asked = stand.worker.take(Ask)
    stand.found(name, stand.stated(name, CANCELLED, "b1"))

    assert 1 == len(asked)
    assert "cancelled" == stand.status(name)


def test_an_order_that_was_filled_in_the_moment_of_its_cancel_is_filled() -> None:
    stand = Stand()
    name = working(stand)
    stand.cancel(name)
    stand.fill(1, name)
    stand.outcome(name, CANCELLED, "cancel")

    assert ("filled", 0.1) == (stand.status(name), stand.size())


def test_a_cancel_whose_fate_is_unknown_is_sent_again_while_the_order_works() -> None:
    stand = Stand()
    name = working(stand)
    stand.cancel(name)
    stand.worker.take()
    stand.outcome(name, UNKNOWN, "cancel", code="no_answer", text="no answer")

    stand.found(name, stand.stated(name, ACCEPTED, "b1"))

    assert ["b1"] == [job.broker_id for job in stand.worker.take(CancelOrder)]
    assert ["cancel_failed"] == stand.alerts


def test_a_cancel_is_given_up_after_five_attempts() -> None:
    stand = Stand()
    name = working(stand)
    stand.cancel(name)
    sent = 1

    for _ in range(20):
        stand.outcome(name, UNKNOWN, "cancel", code="no_answer", text="no answer")
        stand.worker.take()
        stand.found(name, stand.stated(name, ACCEPTED, "b1"))
        sent += len(stand.worker.take(CancelOrder))

    assert 5 <= sent <= 20
    assert "accepted" == stand.status(name)


def test_a_refused_cancel_is_not_repeated() -> None:
    stand = Stand()
    name = working(stand)
    stand.cancel(name)
    stand.worker.take()
    stand.outcome(name, None, "cancel", code="frozen", text="too near the market")

    stand.found(name, stand.stated(name, ACCEPTED, "b1"))

    assert [] == stand.worker.take(CancelOrder)


def test_a_cancel_that_an_earlier_run_meant_to_send_is_sent() -> None:
    before = Stand()
    name = working(before)
    past = Past(orders={name: before.order(name)}, tables={name: TABLE}, cancelling=[name])
    stand = Stand(past=past)

    stand.desk.order(TABLE, stand.stated(name, ACCEPTED, "b1"))

    assert ["b1"] == [job.broker_id for job in stand.worker.take(CancelOrder)]


# --- changes --------------------------------------------------------------------------------------


def change(stand: Stand, name: str, limit: float) -> None:
    stand.ctx.modify(stand.order(name), limit=limit)
    stand.go()


def test_a_change_before_the_confirmation_is_denied() -> None:
    stand = Stand()
    name = stand.buy(limit=1.0)
    stand.worker.take()

    change(stand, name, 1.05)

    assert ["not_working"] == [outcome.code for _, outcome in stand.inbox]
    assert [] == stand.worker.take(ChangeOrder)


def test_a_change_is_on_record_before_it_is_sent_and_holds_once_confirmed() -> None:
    stand = Stand()
    name = working(stand)

    change(stand, name, 1.05)
    stand.outcome(name, None, "modify")

    assert [1.05] == [record.request.limit for record in stand.spool.of(ModifyIntended)]
    assert 1.05 == stand.order(name).request.limit


def test_a_refused_change_leaves_the_terms() -> None:
    stand = Stand()
    name = working(stand)

    change(stand, name, 1.05)
    stand.outcome(name, None, "modify", code="bad_price", text="no")

    assert 1.0 == stand.order(name).request.limit


def test_a_change_whose_fate_is_unknown_is_looked_up_until_it_must_have_arrived() -> None:
    stand = Stand(settle_seconds=10.0)
    name = working(stand)
    change(stand, name, 1.05)
    stand.outcome(name, UNKNOWN, "modify", code="no_answer", text="no answer")

    stand.found(name, stand.stated(name, ACCEPTED, "b1"))
    early = stand.order(name).request.limit
    stand.clock.advance(10.0)
    stand.found(name, stand.stated(name, ACCEPTED, "b1", limit=1.05))
    stand.worker.take()
    stand.clock.advance(10.0)
    stand.desk.chase(stand.clock.monotonic())

    assert (1.0, 1.05) == (early, stand.order(name).request.limit)
    assert [] == stand.worker.take(Ask)


def test_an_order_that_ends_while_its_change_is_in_doubt_is_asked_about_no_more() -> None:
    stand = Stand()
    name = working(stand)
    change(stand, name, 1.05)
    stand.outcome(name, UNKNOWN, "modify", code="no_answer", text="no answer")
    stand.fill(1, name)

    stand.desk.chase(stand.clock.monotonic())

    assert [] == stand.worker.take(Ask)
    assert math.inf == stand.desk.next_ask


def test_a_change_of_an_earlier_run_is_taken_as_the_broker_states_it() -> None:
    before = Stand()
    name = working(before)
    stand = Stand(past=Past(orders={name: before.order(name)}, tables={name: TABLE}, changing=[name]))

    stand.desk.order(TABLE, stand.stated(name, ACCEPTED, "b1", limit=1.05))

    assert 1.05 == stand.order(name).request.limit
    assert "trend" == stand.order(name).request.strategy


# --- protection that the broker makes -------------------------------------------------------------


def entered(stand: Stand, **fields: Any) -> str:
    name = stand.buy(0.1, stop_loss=1.09)
    stand.accept(name, "b1")
    stand.fill(1, name, 0.1, **fields)
    return name


def test_protection_is_named_after_what_it_protects() -> None:
    stand = Stand()
    name = entered(stand)

    stand.desk.order(TABLE, stand.protection(name, ACCEPTED, "b2"))

    child = stand.order(f"{name}.sl")
    assert ("trend", name, "accepted") == (child.request.strategy, child.request.parent, str(child.status))


def test_protection_that_is_stated_again_keeps_its_name_and_takes_its_level() -> None:
    stand = Stand()
    name = entered(stand)
    stand.desk.order(TABLE, stand.protection(name, ACCEPTED, "b2"))

    stand.desk.order(TABLE, stand.protection(name, ACCEPTED, "b2", level=1.095))

    child = stand.order(f"{name}.sl").request
    assert (f"{name}.sl", "trend", 1.095) == (child.id, child.strategy, child.stop)


def test_protection_that_trades_closes_the_position() -> None:
    stand = Stand()
    name = entered(stand)
    stand.desk.order(TABLE, stand.protection(name, ACCEPTED, "b2"))

    stand.fill(2, f"tag-{name}.sl", side=Side.SELL)

    assert (0.0, "filled") == (stand.size(), stand.status(f"{name}.sl"))
    assert [] == stand.alerts


@pytest.mark.parametrize("named", ["tag-trend-000001.sl", "b1.sl"])
def test_protection_that_traded_while_nobody_listened_is_known_by_its_name(named: str) -> None:
    stand = Stand()
    name = entered(stand)

    stand.fill(2, named, 0.1, 1.09, side=Side.SELL)

    child = stand.order(f"{name}.sl")
    assert (0.0, "filled", True) == (stand.size(), str(child.status), child.request.reduce_only)
    assert f"{name}.sl" in [record.order.id for record in stand.spool.of(OrderChanged)]


def test_protection_that_is_known_by_its_ticket_alone_is_found() -> None:
    stand = Stand()
    name = entered(stand)
    stand.desk.order(TABLE, stand.protection(name, ACCEPTED, "b2"))

    stand.fill(2, "b2", side=Side.SELL)

    assert (0.0, "filled") == (stand.size(), stand.status(f"{name}.sl"))


def test_old_news_of_protection_that_ended_is_not_believed() -> None:
    stand = Stand()
    name = entered(stand)
    stand.desk.order(TABLE, stand.protection(name, ACCEPTED, "b2"))
    stand.desk.order(TABLE, stand.protection(name, CANCELLED, "b2"))

    stand.desk.order(TABLE, stand.protection(name, ACCEPTED, "b2"))
    old = stand.status(f"{name}.sl")
    stand.desk.order(TABLE, stand.protection(name, ACCEPTED, "b3"))

    assert ("cancelled", "accepted") == (old, stand.status(f"{name}.sl"))


def test_a_position_that_somebody_closes_by_its_ticket_belongs_to_the_strategy_that_opened_it() -> None:
    stand = Stand()
    name = entered(stand, position="p1")

    stand.fill(2, "manual", 0.04, side=Side.SELL, position="p1")

    assert stand.size() == pytest.approx(0.06)
    assert ("filled", "filled") == (stand.status(name), stand.status(f"{name}.x2"))
    assert ["closed_outside"] == stand.alerts


def test_a_ticket_is_remembered_by_the_next_run() -> None:
    before = Stand()
    name = entered(before, position="p1")
    past = Past(orders={name: before.order(name)}, tables={name: TABLE}, positions=[(TABLE, "p1", name)])
    stand = Stand(past=past)

    stand.fill(2, "manual", 0.1, side=Side.SELL, position="p1")

    assert f"{name}.x2" in stand.engine.orders


# --- what earlier runs left -----------------------------------------------------------------------


def left(status: OrderStatus, name: str = "trend-000001", time: int = 5) -> Past:
    request = OrderRequest(name, "trend", "EURUSD", Side.BUY, 0.1, client_tag=f"tag-{name}")
    return Past(orders={name: Order(request, status, time)}, tables={name: TABLE})


def test_an_intent_without_an_outcome_is_in_doubt_from_the_start() -> None:
    stand = Stand(past=left(UNKNOWN))

    stand.desk.chase(stand.clock.monotonic())

    assert ["tag-trend-000001"] == [job.client_tag for job in stand.worker.take(Ask)]


def test_an_order_of_an_earlier_run_is_known_by_its_tag() -> None:
    stand = Stand(past=left(UNKNOWN))

    stand.fill(1, "tag-trend-000001")

    assert ("filled", 0.1) == (stand.status("trend-000001"), stand.size())


def test_an_execution_of_an_earlier_run_does_not_count_again() -> None:
    past = left(UNKNOWN)
    past.seen = [(TABLE, "1")]
    stand = Stand(past=past)

    assert not stand.fill(1, "trend-000001")
    assert 0.0 == stand.size()


@pytest.mark.parametrize(("resumed", "blocks"), [(0, True), (5, False), (9, False)])
def test_an_abandoned_entry_blocks_after_a_restart_until_a_person_has_resumed(resumed: int, blocks: bool) -> None:
    stand = Stand(past=left(OrderStatus.ABANDONED), resumed=resumed)

    assert blocks == bool(stand.desk.blocked)


def test_orders_of_strategies_that_are_gone_are_left_alone() -> None:
    past = left(UNKNOWN)
    stand = Stand()

    stand.desk.remember(past)
    stand.desk.chase(stand.clock.monotonic())

    assert {} == stand.desk.unresolved


def test_executions_are_listed_from_before_the_last_that_is_known_without_a_gap() -> None:
    past = left(FILLED)
    past.fills_after = {TABLE: 100 * 10**9}
    stand = Stand(past=past)

    stand.fill(1, "trend-000001", time=500 * 10**9)  # told, but an earlier one may not have been
    told = stand.desk.since(TABLE)
    stand.desk.listed(TABLE, [Fill("2", "", "EURUSD", Side.BUY, 0.1, 1.1, 0.0, "USD", 400 * 10**9)])

    assert (40 * 10**9, 340 * 10**9) == (told, stand.desk.since(TABLE))


# --- any order of delivery ------------------------------------------------------------------------


class Oracle:
    """Position, average price and profit of executions in the order in which they happened, from first principles."""

    def __init__(self, fills: list[tuple[int, float, float]]) -> None:
        self.size = self.average = self.profit = 0.0
        for side, lots, price in fills:
            closing = min(lots, abs(self.size)) if side * self.size < 0 else 0.0
            self.profit += (price - self.average) * closing * (1 if self.size > 0 else -1) * 100_000
            self.size = round(self.size + side * closing, 8)
            opening = round(lots - closing, 8)
            if opening:
                self.average = (self.average * abs(self.size) + price * opening) / (abs(self.size) + opening)
                self.size = round(self.size + side * opening, 8)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, int, float, float]], list[int]]:
    """Return executions as (order, side, lots, price) in the order in which they happened, and an order of delivery."""
    count = draw(st.integers(1, 5))
    sides = [draw(st.sampled_from([1, -1])) for _ in range(count)]
    parts = [draw(st.lists(st.integers(1, 30), min_size=1, max_size=4)) for _ in range(count)]
    order = draw(st.permutations([number for number in range(count) for _ in parts[number]]))
    left = [list(one) for one in parts]
    happened = [
        (number, sides[number], left[number].pop() / 100, draw(st.integers(90_000, 110_000)) / 100_000) for number in order
    ]
    places = list(range(len(happened)))
    delivered = draw(st.permutations(places + draw(st.lists(st.sampled_from(places), max_size=6))))
    return happened, list(delivered)


def compare_with_oracle(happened: list[tuple[int, int, float, float]], delivered: list[int]) -> None:
    """Deliver what happened in that order, and compare books and orders with those of first principles."""
    stand = Stand()
    totals: dict[int, float] = {}
    for number, _, lots, _ in happened:
        totals[number] = totals.get(number, 0.0) + lots
    names = {}
    for number, side, _, _ in happened:
        if number not in names:
            names[number] = (stand.buy if side > 0 else stand.sell)(round(totals[number], 2))
    oracle = Oracle([(side, lots, price) for _, side, lots, price in happened])

    for place in delivered:
        number, _, lots, price = happened[place]
        stand.fill(place + 1, names[number], lots, price, time=1_000 + place)

    book = stand.ledger.books["trend", "EURUSD"]
    assert stand.size() == pytest.approx(oracle.size, abs=1e-9)
    assert book.realized == pytest.approx(oracle.profit, abs=1e-6)
    assert stand.ledger.balance == pytest.approx(10_000.0 + oracle.profit, abs=1e-6)
    assert sum(trade.gross for trade in stand.ledger.trades) == pytest.approx(oracle.profit, abs=1e-6)
    if oracle.size:
        assert book.average_price == pytest.approx(oracle.average, rel=1e-9)
    assert {"filled"} == {stand.status(name) for name in names.values()}
    for number, name in names.items():
        mine = [(lots, price) for one, _, lots, price in happened if one == number]
        mean = sum(lots * price for lots, price in mine) / sum(lots for lots, _ in mine)
        assert stand.order(name).average_price == pytest.approx(mean, rel=1e-9)
    assert len(happened) == len(stand.spool.of(Traded))


@given(histories())
@settings(max_examples=300, deadline=None)
def test_any_order_of_delivery_gives_the_same_position_price_and_profit(
    history: tuple[list[tuple[int, int, float, float]], list[int]],
) -> None:
    compare_with_oracle(*history)


def drawn(draw: random.Random) -> tuple[list[tuple[int, int, float, float]], list[int]]:
    """Return what `histories` draws, from a generator that is quick enough for a hundred thousand."""
    sides = [draw.choice((1, -1)) for _ in range(draw.randint(1, 5))]
    left = [[draw.randint(1, 30) for _ in range(draw.randint(1, 4))] for _ in sides]
    order = [number for number, parts in enumerate(left) for _ in parts]
    draw.shuffle(order)
    happened = [(number, sides[number], left[number].pop() / 100, draw.randint(90_000, 110_000) / 100_000) for number in order]
    delivered = list(range(len(happened)))
    delivered += draw.choices(delivered, k=draw.randint(0, 6))
    draw.shuffle(delivered)
    return happened, delivered


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_thousand_histories_agree_with_the_oracle(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(25_000):
        happened, delivered = drawn(draw)
        try:
            compare_with_oracle(happened, delivered)
        except BaseException:
            print(f"happened = {happened}\ndelivered = {delivered}")
            raise


@given(histories(), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_a_run_that_dies_anywhere_and_hears_everything_again_has_the_same_books(
    history: tuple[list[tuple[int, int, float, float]], list[int]], died: int
) -> None:
    from herald.engine.book import Ledger
    from herald.live.chronicle import Chronicle
    from herald.live.recovery import recover
    from tests.unit.live.stand import INSTRUMENTS
    from tests.unit.live.test_recovery import Records

    happened, delivered = history
    stand = Stand()
    names = {}
    for number, side, _, _ in happened:
        if number not in names:
            size = round(sum(lots for one, _, lots, _ in happened if one == number), 2)
            names[number] = (stand.buy if side > 0 else stand.sell)(size)
    for place in delivered:
        number, _, lots, price = happened[place]
        stand.fill(place + 1, names[number], lots, price, time=1_000 + place)
    intents = [record for record in stand.spool.records if isinstance(record, Intended)]
    rest = [record for record in stand.spool.records if not isinstance(record, Intended)]

    ledger = Ledger(10_000.0)
    past = recover(Records([*intents, *rest[:died]]), ledger, INSTRUMENTS, Chronicle(ledger))
    again = Records([*intents, *rest[:died], *stand.spool.of(Traded)])
    whole = Ledger(10_000.0)
    recover(again, whole, INSTRUMENTS)

    book = stand.ledger.books["trend", "EURUSD"]
    assert len(past.seen) <= len(happened)
    assert whole.books["trend", "EURUSD"].size == pytest.approx(book.size, abs=1e-9)
    assert whole.balance == pytest.approx(stand.ledger.balance, abs=1e-6)
    assert OrderType.MARKET is intents[0].request.type
