"""The account beside the books: news is taken, differences are believed only when they stay, nothing is made up."""

from __future__ import annotations

import math

import pytest

from herald.live.messages import Ask, Look
from herald.live.tags import client_tag
from herald.model import Fill, Order, OrderRequest, OrderStatus, Side
from tests.unit.live.stand import TABLE, Stand

ACCEPTED = OrderStatus.ACCEPTED


def holding(stand: Stand, size: float = 0.1) -> str:
    name = stand.buy(size)
    stand.accept(name, "b1")
    stand.fill(1, name, size)
    stand.worker.take()
    return name


def deal(number: int, order: str, size: float = 0.1, side: Side = Side.BUY, time: int = 5) -> Fill:
    return Fill(str(number), order, "EURUSD", side, size, 1.1, 0.0, "USD", time)


def believed(stand: Stand, **seen: object) -> None:
    """Show the same account until its difference is believed."""
    for _ in range(3):
        stand.snapshot(**seen)  # type: ignore[arg-type]
        stand.clock.advance(6.0)


# --- ready ----------------------------------------------------------------------------------------


def test_an_account_that_agrees_is_ready_with_the_first_look() -> None:
    stand = Stand()
    holding(stand)

    assert stand.snapshot({"EURUSD": 0.1})
    assert {TABLE} == stand.reconciler.ready
    assert math.inf == stand.reconciler.next_look


def test_executions_that_are_news_are_taken_before_positions_are_compared() -> None:
    stand = Stand()
    name = stand.buy()
    stand.accept(name)

    ready = stand.snapshot({"EURUSD": 0.1}, fills=[deal(1, f"tag-{name}")])

    assert (True, 0.1, "filled") == (ready, stand.size(), stand.status(name))


def test_executions_are_taken_in_the_order_in_which_they_happened() -> None:
    stand = Stand()
    one, two = stand.buy(0.1), stand.sell(0.1)

    stand.snapshot(fills=[deal(2, f"tag-{two}", side=Side.SELL, time=9), deal(1, f"tag-{one}", time=5)])

    assert ["1", "2"] == list(stand.ledger.fills)


def test_an_order_in_doubt_does_not_keep_the_account_from_being_ready() -> None:
    stand = Stand()
    name = stand.buy()
    stand.lose(name)

    assert stand.snapshot()
    assert name in stand.desk.unresolved


def test_a_lost_connection_is_not_ready_until_the_next_look() -> None:
    stand = Stand()
    stand.snapshot()

    stand.reconciler.lost(TABLE)
    lost = set(stand.reconciler.ready)

    assert set() == lost
    assert stand.snapshot(first=True)


def test_a_list_of_executions_moves_the_point_from_which_the_next_is_asked_for() -> None:
    stand = Stand()
    name = stand.buy()
    stand.accept(name)

    stand.snapshot({"EURUSD": 0.1}, fills=[deal(1, f"tag-{name}", time=500 * 10**9)])
    stand.desk.look(TABLE)

    assert [440 * 10**9] == [job.since for job in stand.worker.take(Look)]


# --- differences ----------------------------------------------------------------------------------


def test_a_difference_is_looked_at_again_soon_and_then_less_often() -> None:
    stand = Stand()
    stand.buy()  # on its way: nothing is believed while it is
    waits = []
    for _ in range(8):
        stand.snapshot({"EURUSD": 0.1})
        waits.append(round(stand.reconciler.next_look - stand.clock.monotonic(), 3))

    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0] == waits
    assert set() == stand.reconciler.ready


def test_it_looks_when_the_time_has_come_and_again_where_no_answer_comes() -> None:
    stand = Stand()
    stand.snapshot({"EURUSD": 0.1})
    stand.worker.take()

    stand.reconciler.look_again(stand.clock.monotonic())
    early = stand.worker.take(Look)
    stand.clock.advance(0.11)
    stand.reconciler.look_again(stand.clock.monotonic())

    assert ([], 1) == (early, len(stand.worker.take(Look)))
    assert stand.clock.monotonic() < stand.reconciler.next_look < math.inf


def test_an_execution_between_two_questions_is_no_mismatch() -> None:
    stand = Stand()
    entry = holding(stand)
    exit_ = stand.close()
    stand.accept(exit_, "b2")

    # Positions were listed before the exit traded, executions after it: the same difference every time, and none at all.
    for number in range(2, 30, 2):
        stand.snapshot({"EURUSD": 0.1}, fills=[deal(number, "tag-" + exit_, side=Side.SELL)])
        entry = stand.buy()
        stand.accept(entry)
        stand.fill(number + 1, entry)
        exit_ = stand.close()
        stand.accept(exit_)
        stand.clock.advance(6.0)

    assert [] == stand.reductions
    assert [] == [alert for alert in stand.alerts if alert.startswith("external")]


@pytest.mark.parametrize("status", ["pending", "unknown"])
def test_an_order_on_its_way_may_explain_a_difference(status: str) -> None:
    stand = Stand()
    name = stand.buy()
    if status == "unknown":
        stand.lose(name)

    believed(stand, positions={"EURUSD": 0.1})

    assert status == stand.status(name)
    assert ([], {}) == (stand.reductions, stand.reconciler.external)


def test_a_difference_that_was_not_there_long_enough_is_not_believed() -> None:
    stand = Stand(settle_seconds=10.0)
    for _ in range(10):
        stand.snapshot({"EURUSD": 0.1})
        stand.clock.advance(0.4)

    assert [] == stand.reductions


@pytest.mark.parametrize(
    ("policy", "reductions", "alert"), [("refuse", 1, None), ("ignore", 0, "left alone"), ("adopt", 0, "does not trade it")]
)
def test_a_position_of_somebody_else_is_treated_as_the_file_says(policy: str, reductions: int, alert: str | None) -> None:
    stand = Stand(external=policy)  # type: ignore[arg-type]

    believed(stand, positions={"EURUSD": -0.3})

    assert reductions == len(stand.reductions)
    assert {(TABLE, "EURUSD"): -0.3} == stand.reconciler.external
    assert {TABLE} == stand.reconciler.ready
    if alert is None:
        assert stand.reductions[0].startswith("external_position: -0.3 lots of EURUSD are not Herald's")
    else:
        assert ["external_position"] == stand.alerts
        assert alert in stand.hears.alerts[0].text


def test_more_than_the_books_hold_on_the_same_side_is_somebody_elses() -> None:
    stand = Stand(external="ignore")
    holding(stand)

    believed(stand, positions={"EURUSD": 0.25})

    assert 0.15 == stand.reconciler.external[TABLE, "EURUSD"]
    assert 0.1 == stand.size()


def test_a_position_of_somebody_else_is_told_once_and_its_end_too() -> None:
    stand = Stand(external="ignore")
    believed(stand, positions={"EURUSD": 0.3})
    believed(stand, positions={"EURUSD": 0.3})

    believed(stand)

    assert ["external_position", "external_closed"] == stand.alerts


@pytest.mark.parametrize("held", [0.0, 0.04, -0.1])
def test_less_than_the_books_hold_allows_nothing_but_reductions_and_makes_up_no_trade(held: float) -> None:
    stand = Stand(external="ignore")
    holding(stand)

    believed(stand, positions={"EURUSD": held} if held else {})
    believed(stand, positions={"EURUSD": held} if held else {})

    assert 1 == len(stand.reductions)
    assert stand.reductions[0].startswith(f"position_mismatch: the broker holds {held:g} lots of EURUSD, the books 0.1")
    assert 0.1 == stand.size()
    assert {TABLE} == stand.reconciler.ready, "exits must go on"


def test_a_mismatch_that_is_gone_and_comes_back_is_told_again() -> None:
    stand = Stand()
    holding(stand)
    believed(stand)
    stand.snapshot({"EURUSD": 0.1})

    believed(stand)

    assert 2 == len(stand.reductions)


# --- orders ---------------------------------------------------------------------------------------


def resting(stand: Stand) -> str:
    name = stand.buy(limit=1.0)
    stand.accept(name, "b1")
    stand.worker.take()
    return name


def test_an_order_that_is_listed_is_left_alone() -> None:
    stand = Stand()
    name = resting(stand)

    stand.snapshot(orders=[stand.stated(name, ACCEPTED, "b1")])
    stand.desk.chase(stand.clock.monotonic())

    assert [] == stand.worker.take(Ask)


def test_an_order_that_is_not_listed_is_looked_for_and_gone_when_it_is_absent_twice() -> None:
    stand = Stand()
    name = resting(stand)
    stand.snapshot()
    stand.desk.chase(stand.clock.monotonic())
    asked = stand.worker.take(Ask)

    stand.found(name)
    once = stand.status(name)
    stand.found(name)

    assert [name] == [job.order_id for job in asked]
    assert ("accepted", "cancelled", "gone") == (once, stand.status(name), stand.order(name).code)
    assert math.inf > stand.desk.next_ask


def test_an_order_that_is_not_listed_and_found_working_goes_on() -> None:
    stand = Stand()
    name = resting(stand)
    stand.snapshot()

    stand.found(name)
    stand.found(name, stand.stated(name, ACCEPTED, "b1"))
    stand.found(name)

    assert "accepted" == stand.status(name)


def test_an_order_that_ended_while_nobody_listened_is_what_the_broker_says() -> None:
    stand = Stand()
    name = resting(stand)
    stand.snapshot()

    stand.found(name, stand.stated(name, OrderStatus.EXPIRED, "b1"))

    assert "expired" == stand.status(name)


def test_an_order_that_is_on_its_way_is_not_missed() -> None:
    stand = Stand()
    stand.buy(limit=1.0)
    stand.worker.take()

    stand.snapshot()
    stand.desk.chase(stand.clock.monotonic())

    assert [] == stand.worker.take(Ask)


def test_protection_that_is_not_listed_twice_is_gone() -> None:
    stand = Stand()
    name = stand.buy(stop_loss=1.05)
    stand.accept(name, "b1")
    stand.fill(1, name)
    child = f"{name}.sl"
    stand.snapshot({"EURUSD": 0.1}, orders=[stand.protection(name, ACCEPTED, "b2")])

    stand.snapshot({"EURUSD": 0.1})
    once, again = stand.status(child), stand.reconciler.next_look
    stand.snapshot({"EURUSD": 0.1})

    assert ("accepted", "cancelled") == (once, stand.status(child))
    assert again < math.inf, "it must be looked for again soon"


def test_protection_that_was_only_missed_once_goes_on() -> None:
    stand = Stand()
    name = stand.buy(stop_loss=1.05)
    stand.accept(name, "b1")
    stand.fill(1, name)
    listed = [stand.protection(name, ACCEPTED, "b2")]

    for orders in (listed, [], listed, [], listed):
        stand.snapshot({"EURUSD": 0.1}, orders=orders)

    assert "accepted" == stand.status(f"{name}.sl")


def test_an_order_of_another_journal_allows_nothing_but_reductions() -> None:
    stand = Stand()
    tag = client_tag("another journal", "1", "trend-000001")
    request = OrderRequest(tag, "", "EURUSD", Side.BUY, 0.1, client_tag=tag)

    for _ in range(3):
        stand.snapshot(orders=[Order(request, ACCEPTED, 1, "b9")])

    assert 1 == len(stand.reductions)
    assert stand.reductions[0].startswith("unknown_orders: the broker has orders of Herald")
    assert "it is not the journal they were sent under" in stand.reductions[0]


def test_an_order_of_somebody_else_is_left_alone() -> None:
    stand = Stand()
    request = OrderRequest("77", "", "EURUSD", Side.BUY, 0.1, client_tag="by hand")

    stand.snapshot(orders=[Order(request, ACCEPTED, 1, "b9")])

    assert ([], []) == (stand.reductions, stand.alerts)
    assert {} == stand.engine.orders
