"""`herald chaos`: what it compares, and how it ends when it is called wrongly."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from herald.cli.chaos import chaos
from herald.model import Fill, Intended, Order, OrderChanged, OrderRequest, OrderStatus, Side, Traded
from herald.research.chaos import PacedClock, compare
from herald.testing import FakeClock


def request(name: str) -> OrderRequest:
    return OrderRequest(name, "trend", "EURUSD", Side.BUY, 0.1, client_tag=f"tag-{name}")


def order(name: str, status: OrderStatus = OrderStatus.FILLED) -> Order:
    return Order(request(name), status, 0)


def fill(name: str, of: str) -> Fill:
    return Fill(name, of, "EURUSD", Side.BUY, 0.1, 1.1, 0.0, "USD", 0)


def journal(name: str, status: OrderStatus | None, *fills: str) -> list[Any]:
    records: list[Any] = [Intended(0, "main", request(name), 1)]
    if status is not None:
        records.append(OrderChanged(0, "main", order(name, status)))
    return [*records, *(Traded(0, "main", fill(one, name), 1.0) for one in fills)]


def found(records: list[Any], orders: list[Order], *fills: Fill) -> tuple[int, int]:
    both = compare(records, {"main": orders}, {"main": list(fills)})
    return len(both.lost), len(both.doubled)


def test_a_journal_that_agrees_with_the_book_has_lost_and_doubled_nothing() -> None:
    records = journal("a", OrderStatus.FILLED, "1") + journal("b", OrderStatus.DENIED)

    both = compare(records, {"main": [order("a")]}, {"main": [fill("1", "a")]})

    assert ((), ()) == (both.lost, both.doubled)
    assert (2, 1, 0, 0) == (both.intended, both.known, both.unknown, both.abandoned)


@pytest.mark.parametrize("status", [OrderStatus.DENIED, OrderStatus.REJECTED, OrderStatus.ABANDONED])
def test_an_order_that_the_broker_has_and_the_journal_gave_up_is_lost(status: OrderStatus) -> None:
    assert (1, 0) == found(journal("a", status), [order("a", OrderStatus.ACCEPTED)])


def test_an_order_that_both_sides_refused_is_not_lost() -> None:
    assert (0, 0) == found(journal("a", OrderStatus.REJECTED), [order("a", OrderStatus.REJECTED)])


def test_an_order_that_the_journal_believes_in_and_the_broker_lacks_is_lost() -> None:
    assert (1, 0) == found(journal("a", OrderStatus.ACCEPTED), [])


def test_a_fill_that_the_journal_lacks_is_lost() -> None:
    assert (1, 0) == found(journal("a", OrderStatus.FILLED), [order("a")], fill("1", "a"))


def test_a_fill_counted_twice_and_one_that_never_was_are_doubled() -> None:
    assert (0, 1) == found(journal("a", OrderStatus.FILLED, "1", "1"), [order("a")], fill("1", "a"))
    assert (0, 1) == found(journal("a", OrderStatus.FILLED, "1", "2"), [order("a")], fill("1", "a"))


def test_two_orders_with_one_tag_are_doubled() -> None:
    twice = [order("a"), Order(OrderRequest("a2", "trend", "EURUSD", Side.BUY, 0.1, client_tag="tag-a"), OrderStatus.FILLED, 0)]

    assert (0, 1) == found(journal("a", OrderStatus.FILLED), twice)


@pytest.mark.parametrize("status", [None, OrderStatus.UNKNOWN])
def test_an_order_without_an_end_is_in_doubt(status: OrderStatus | None) -> None:
    assert 1 == compare(journal("a", status), {"main": []}, {"main": []}).unknown


def test_seconds_of_a_paced_clock_pass_faster() -> None:
    wall = FakeClock()
    clock = PacedClock(wall, 20.0)

    clock.sleep(10.0)

    assert 10.0 == pytest.approx(clock.monotonic())
    assert 0.5 == pytest.approx(wall.monotonic() - FakeClock().monotonic())


@pytest.mark.parametrize("pace", [0.0, -1.0, float("inf"), float("nan")])
def test_a_pace_that_is_none_is_refused(pace: float) -> None:
    with pytest.raises(ValueError, match="pace must be a number above 0"):
        PacedClock(FakeClock(), pace)


def test_a_script_that_does_not_exist_is_named_with_those_that_do() -> None:
    done = CliRunner().invoke(chaos, ["any.toml", "--script", "nope"])

    assert 2 == done.exit_code
    assert "there is no script 'nope'; there are noisy, outages, session_drops, transient" in done.output
