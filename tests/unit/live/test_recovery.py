"""What a run was when it ended, from its journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest

from herald.engine.book import BookState, Ledger
from herald.errors import JournalError
from herald.live.recovery import Past, missing_books, recover
from herald.model import (
    AccountSeen,
    Adopted,
    CancelIntended,
    Fill,
    Intended,
    ModifyIntended,
    Order,
    OrderChanged,
    OrderRequest,
    OrderStatus,
    Record,
    Side,
    StateSet,
    Traded,
)
from tests.unit.live.stand import INSTRUMENTS, TABLE, account


class Records:
    """A journal in memory."""

    id = "memory"

    def __init__(self, records: Sequence[Record], snapshot: tuple[int, bytes] | None = None) -> None:
        self.records = list(records)
        self.state = snapshot

    def read(self, after: int = 0) -> Iterator[tuple[int, Record]]:
        return iter(list(enumerate(self.records, 1))[after:])

    def latest(self) -> tuple[int, bytes] | None:
        return self.state

    def append(self, records: Sequence[Record], *, durable: bool = True) -> int:
        raise AssertionError("recovery writes nothing")

    def snapshot(self, state: bytes) -> None:
        raise AssertionError("recovery writes nothing")

    def close(self) -> None:
        raise AssertionError("recovery does not own the journal")


def request(number: int = 1, side: Side = Side.BUY, size: float = 0.1, symbol: str = "EURUSD") -> OrderRequest:
    name = f"trend-{number:06d}"
    return OrderRequest(name, "trend", symbol, side, size, client_tag=f"tag-{name}")


def intent(number: int = 1, side: Side = Side.BUY, size: float = 0.1) -> Intended:
    return Intended(10, TABLE, request(number, side, size), 1)


def changed(number: int, status: OrderStatus, filled: float = 0.0) -> OrderChanged:
    return OrderChanged(20, TABLE, Order(request(number), status, 20, f"b{number}", filled, 1.1 if filled else float("nan")))


def traded(
    number: int, order: int = 1, side: Side = Side.BUY, size: float = 0.1, price: float = 1.1, time: int = 0, position: str = ""
) -> Traded:
    name = f"trend-{order:06d}"
    fill = Fill(str(number), name, "EURUSD", side, size, price, 0.0, "USD", time or 100 + number, position=position)
    return Traded(30, TABLE, fill)


def recovered(*records: Record, snapshot: Past | None = None, at: int = 0, cash: float = 5_000.0) -> tuple[Past, Ledger]:
    ledger = Ledger(cash)
    state = None if snapshot is None else (at, msgspec.msgpack.encode(snapshot))
    return recover(Records(records, state), ledger, INSTRUMENTS), ledger


def test_an_empty_journal_leaves_everything_as_it_is() -> None:
    past, ledger = recovered()

    assert ({}, 5_000.0, 5_000.0) == (past.orders, ledger.balance, past.balance)


def test_an_intent_without_an_outcome_is_an_unknown_order() -> None:
    past, _ = recovered(intent())

    order = past.orders["trend-000001"]
    assert ("unknown", "no_outcome", TABLE) == (str(order.status), order.code, past.tables["trend-000001"])
    assert {"trend": 1} == past.numbers


def test_changes_and_withdrawals_of_earlier_runs_count_with_those_of_a_snapshot() -> None:
    kept = Past(balance=5_000.0, changed=[3, 4])

    past, _ = recovered(
        intent(), ModifyIntended(11, TABLE, "b1", request()), CancelIntended(12, TABLE, "b1", "trend-000001"), snapshot=kept
    )

    assert [3, 4, 11, 12] == past.changed


def test_what_a_person_resumed_and_how_far_changes_are_recorded_is_known_again() -> None:
    kept = Past(balance=5_000.0, touched={"account": 5}, generation=2)

    past, _ = recovered(
        StateSet(6, "strategy:trend", "HALTED", 3, "x", "y"),
        StateSet(7, "strategy:trend", "ACTIVE", 4, "x", "y"),
        StateSet(8, "account", "REDUCING", 5, "x", "y"),
        snapshot=kept,
    )

    assert ({"account": 5, "strategy:trend": 7}, 5) == (past.touched, past.generation)


def test_an_adopted_position_is_held_again_as_it_was_last() -> None:
    _, ledger = recovered(
        AccountSeen(1, TABLE, account(5_000.0)),
        Adopted(40, TABLE, "external", "EURUSD", 0.3, 1.1, 7, {"T9": 0.3}),
        Adopted(50, TABLE, "external", "EURUSD", 0.2, 1.1, 7, {"T9": 0.2}, 25.0),
    )

    book = ledger.books["external", "EURUSD"]
    assert (0.2, 1.1, 7, {"T9": 0.2}, 5_025.0) == (
        book.size, book.average_price, book.position.opened, book.tickets, ledger.balance,
    )  # fmt: skip
    assert [book] == ledger.open_books()
    # what it is worth in all, at 1.2: 0.2 lots of 100,000 from 1.1
    assert abs(book.cash + book.size * 1.2 * book.contract - 2_000.0) < 1e-6


def test_a_position_that_is_gone_is_not_adopted_any_more() -> None:
    _, ledger = recovered(
        Adopted(40, TABLE, "external", "EURUSD", 0.3, 1.1, 7), Adopted(50, TABLE, "external", "EURUSD", 0.0, 0.0, 0)
    )

    assert [] == ledger.open_books()
    assert 0.0 == ledger.books["external", "EURUSD"].size


def test_an_order_is_where_it_was_last() -> None:
    past, _ = recovered(intent(), changed(1, OrderStatus.ACCEPTED))

    assert ("accepted", "b1") == (str(past.orders["trend-000001"].status), past.orders["trend-000001"].broker_id)


def test_an_order_that_was_sent_again_is_unknown_again_and_keeps_what_it_traded() -> None:
    past, _ = recovered(intent(), changed(1, OrderStatus.PARTIAL, 0.05), intent())

    order = past.orders["trend-000001"]
    assert ("unknown", 0.05, "b1") == (str(order.status), order.filled, order.broker_id)


def test_an_execution_counts_once() -> None:
    past, ledger = recovered(intent(), traded(1), traded(1))

    assert 0.1 == ledger.books["trend", "EURUSD"].size
    assert [(TABLE, "1")] == past.seen
    assert "filled" == str(past.orders["trend-000001"].status)


def test_an_execution_between_its_record_and_that_of_its_order_counts_once() -> None:
    filled = OrderChanged(31, TABLE, Order(request(), OrderStatus.FILLED, 31, "b1", 0.1, 1.1))

    _, before = recovered(intent(), traded(1))
    _, after = recovered(intent(), traded(1), filled)

    assert 0.1 == before.books["trend", "EURUSD"].size == after.books["trend", "EURUSD"].size


def test_an_execution_of_somebody_else_is_known_and_changes_no_book() -> None:
    past, ledger = recovered(traded(1, order=9))

    assert {} == ledger.books
    assert [(TABLE, "1")] == past.seen


def test_executions_that_were_heard_out_of_order_are_put_in_order() -> None:
    _, ledger = recovered(
        intent(1), intent(2, Side.SELL), intent(3),
        traded(1, 1, price=1.0, time=100), traded(3, 3, price=1.2, time=300), traded(2, 2, Side.SELL, price=1.1, time=200),
    )  # fmt: skip

    book = ledger.books["trend", "EURUSD"]
    assert (0.1, 1.2) == (book.size, book.average_price)
    assert book.realized == pytest.approx(0.1 * 0.1 * 100_000)


def test_the_first_statement_of_the_account_is_what_the_books_began_with() -> None:
    # The broker's balance of now, 5,000, already holds what the journal is about to tell: +1,000.
    _, ledger = recovered(
        AccountSeen(1, TABLE, account(4_000.0)), intent(1), traded(1, price=1.0), intent(2, Side.SELL),
        traded(2, 2, Side.SELL, price=1.1), AccountSeen(2, TABLE, account(5_000.0)),
    )  # fmt: skip

    assert ledger.balance == pytest.approx(5_000.0)
    assert 4_000.0 == ledger.cash


def test_a_snapshot_is_where_the_records_behind_it_go_on() -> None:
    book = BookState("trend", "EURUSD", 0.1, 1.0, 0.0, -10_000.0, 50, 0.0, "trend-000001", "")
    order = Order(request(), OrderStatus.FILLED, 5, "b1", 0.1, 1.0)
    snapshot = Past(balance=7_000.0, books=[book], orders={order.id: order}, seen=[(TABLE, "1")], numbers={"trend": 1})

    past, ledger = recovered(
        intent(1), traded(1, price=1.0), intent(2, Side.SELL), traded(2, 2, Side.SELL, price=1.2), snapshot=snapshot, at=2
    )

    assert 0.0 == ledger.books["trend", "EURUSD"].size
    assert (7_000.0, 9_000.0) == (ledger.cash, pytest.approx(ledger.balance))
    assert {"trend": 2} == past.numbers


def test_it_says_up_to_which_record_the_snapshot_stands() -> None:
    without, _ = recovered(intent())
    behind, _ = recovered(intent(), intent(2), snapshot=Past(balance=1.0, covered=77), at=1)

    assert (0, 1) == (without.covered, behind.covered)


def test_an_order_that_was_on_its_way_at_a_snapshot_is_unknown() -> None:
    order = Order(request(), OrderStatus.PENDING, 5)

    past, _ = recovered(snapshot=Past(balance=1.0, orders={order.id: order}), at=0)

    assert "unknown" == str(past.orders[order.id].status)


def test_the_list_of_executions_has_no_gap_up_to_the_last_statement_of_the_account() -> None:
    seen = AccountSeen(1, TABLE, account())

    complete, _ = recovered(intent(), traded(1, time=100), seen)
    told, _ = recovered(intent(), traded(1, time=100), seen, traded(2, time=900))
    never, _ = recovered(intent(), traded(1, time=100))

    assert ({TABLE: 100}, {TABLE: 100}, {}) == (complete.fills_after, told.fills_after, never.fills_after)


def test_cancels_and_changes_without_an_outcome_are_remembered_until_the_order_ends() -> None:
    change, cancel = ModifyIntended(15, TABLE, "b1", request()), CancelIntended(16, TABLE, "b1", "trend-000001")

    open_, _ = recovered(intent(), changed(1, OrderStatus.ACCEPTED), change, cancel)
    ended, _ = recovered(intent(), changed(1, OrderStatus.ACCEPTED), change, cancel, changed(1, OrderStatus.CANCELLED))

    assert (["trend-000001"], ["trend-000001"]) == (open_.changing, open_.cancelling)
    assert ([], []) == (ended.changing, ended.cancelling)


def test_a_position_of_a_hedging_account_is_known_by_the_order_that_opened_it() -> None:
    past, _ = recovered(intent(), traded(1, position="p1"))

    assert [(TABLE, "p1", "trend-000001")] == past.positions


def test_numbers_of_protection_do_not_count_beyond_their_parents() -> None:
    child = msgspec.structs.replace(request(7), id="trend-000007.sl", parent="trend-000007")

    past, _ = recovered(OrderChanged(1, TABLE, Order(child, OrderStatus.ACCEPTED, 1)))

    assert {"trend": 7} == past.numbers


def test_a_symbol_that_is_not_traded_any_more_is_named() -> None:
    order = Intended(1, TABLE, request(symbol="XAUUSD"), 1)
    fill = msgspec.structs.replace(traded(1).fill, symbol="XAUUSD")

    with pytest.raises(JournalError, match="strategy 'trend' in XAUUSD, which the config does not trade any more"):
        recovered(order, Traded(2, TABLE, fill))


def test_a_snapshot_that_cannot_be_read_says_what_to_do() -> None:
    with pytest.raises(JournalError, match="snapshot of the journal cannot be read.*restore a backup"):
        recover(Records([], (0, b"\xff")), Ledger(1.0), INSTRUMENTS)


def test_old_orders_are_forgotten_but_not_those_that_something_is_named_after() -> None:
    ended = {f"trend-{n:06d}": Order(request(n), OrderStatus.FILLED, n) for n in range(1, 3_001)}
    child = msgspec.structs.replace(request(2), id="trend-000002.sl", parent="trend-000002")
    orders = ended | {child.id: Order(child, OrderStatus.ACCEPTED, 1)}
    book = BookState("trend", "EURUSD", 0.1, 1.0, 0.0, 0.0, 5, 0.0, "trend-000003", "")
    past = Past(
        orders=orders, tables=dict.fromkeys(orders, TABLE), books=[book], seen=[(TABLE, str(n)) for n in range(30_000)],
        positions=[(TABLE, "p1", "trend-000001"), (TABLE, "p3", "trend-000003")],
    ).trimmed()  # fmt: skip

    assert "trend-000001" not in past.orders
    assert {"trend-000002", "trend-000003", "trend-000002.sl", "trend-003000"} <= past.orders.keys()
    assert 2_003 == len(past.orders) == len(past.tables)
    assert [(TABLE, "p3", "trend-000003")] == past.positions
    assert (20_000, (TABLE, "29999")) == (len(past.seen), past.seen[-1])


def test_books_that_the_config_does_not_know_are_named() -> None:
    _, ledger = recovered(intent(), traded(1))

    assert [] == missing_books(ledger, {("trend", "EURUSD")})
    assert ["trend"] == [book.strategy for book in missing_books(ledger, {("other", "EURUSD")})]
