"""The rules of a journal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from herald.clock import parse_time
from herald.contracts import Journal
from herald.errors import JournalError
from herald.model import (
    Account,
    AccountMode,
    AccountSeen,
    Adopted,
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
    Record,
    RunBegan,
    RunEnded,
    Side,
    StateSet,
    TimeInForce,
    Traded,
)

__all__ = ["JournalContract", "sample_records"]


def sample_records(at: int | None = None) -> tuple[Record, ...]:
    """Return one record of every kind, in the order of a short run.

    Args:
        at: Their time, nanoseconds UTC; the start of 2024 unless given.
    """
    time = parse_time("2024-01-01") if at is None else at
    request = OrderRequest(
        "trend-000001",
        "trend",
        "TEST",
        Side.BUY,
        0.1,
        OrderType.STOP_LIMIT,
        limit=100.5,
        stop=100.25,
        stop_loss=99.0,
        take_profit=103.0,
        time_in_force=TimeInForce.GTD,
        expires=time + 1,
        tag="entry – „nötig“",
        client_tag="abcdefghij234567xy",
    )
    account = Account(
        id="1",
        server="test",
        real=False,
        currency="USD",
        mode=AccountMode.HEDGING,
        balance=10_000.0,
        equity=10_010.0,
        margin_used=0.1,
        margin_free=10_009.9,
        leverage=30.0,
        time=time,
    )
    fill = Fill("f1", request.id, "TEST", Side.BUY, 0.04, 100.45, 0.35, "USD", time, swap=-0.01, position="77")
    order = Order(request, OrderStatus.SENT, time)
    return (
        RunBegan(time, "paper", "ab12", {"herald-trading": "1.2.3"}, 4_711),
        AccountSeen(time, "connectors.main", account),
        Intended(time, "connectors.main", request, 3),
        Adopted(time, "connectors.main", "external", "TEST", -0.3, 100.5, time - 5, {"77": -0.3}, 1.5),
        OrderChanged(time, "connectors.main", order.with_status(OrderStatus.ACCEPTED, time, broker_id="1001")),
        Traded(time, "connectors.main", fill, 1.25),
        ModifyIntended(time, "connectors.main", "1001", msgspec.structs.replace(request, limit=100.75)),
        CancelIntended(time, "connectors.main", "1001", request.id),
        StateSet(time, "symbol:TEST", "HALTED", 4, "command", "news {up}"),
        Alerted(time, "position_mismatch", "two\nlines"),
        RunEnded(time, "completed"),
    )


class JournalContract:
    """Subclass it as ``TestX`` and override `open_journal`."""

    def open_journal(self, folder: Path) -> Journal:
        """Return the journal of *folder*: a new one the first time, the same one afterwards."""
        raise pytest.UsageError(f"{type(self).__name__} must override the method `open_journal`")

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        """Return a new journal, which is closed after the test."""
        journal = self.open_journal(tmp_path)
        yield journal
        journal.close()

    def test_a_new_journal_is_empty(self, journal: Journal) -> None:
        """There is no record and no snapshot, but an id."""
        assert list(journal.read()) == []
        assert journal.latest() is None
        assert journal.id

    def test_numbers_begin_at_one_and_have_no_gaps(self, journal: Journal) -> None:
        """``append`` returns the number of the last record; ``read`` yields 1, 2, 3 and so on."""
        last = [journal.append(_alerts(count)) for count in (1, 3, 2)]

        assert last == [1, 4, 6]
        assert [number for number, _ in journal.read()] == [1, 2, 3, 4, 5, 6]

    def test_every_kind_of_record_comes_back_as_it_was(self, journal: Journal) -> None:
        """What is read is equal to what was appended, of the same type, every field of it."""
        records = sample_records()
        journal.append(records)

        found = [record for _, record in journal.read()]

        assert [type(record) for record in found] == [type(record) for record in records]
        # As bytes: the average price of an order without a fill is NaN, which equals nothing.
        assert [msgspec.msgpack.encode(record) for record in found] == [msgspec.msgpack.encode(record) for record in records]
        order = next(record.order for record in found if isinstance(record, OrderChanged))
        assert math.isnan(order.average_price)

    def test_records_come_in_the_order_in_which_they_were_appended(self, journal: Journal) -> None:
        """Neither their time nor whether they are durable changes it."""
        for time, durable in ((30, True), (10, False), (20, True), (5, False)):
            journal.append([Alerted(time, "a", "")], durable=durable)

        assert [record.time for _, record in journal.read()] == [30, 10, 20, 5]

    def test_nothing_appended_changes_nothing(self, journal: Journal) -> None:
        """An empty ``append`` returns the last number, 0 in a new journal."""
        first = journal.append([])
        journal.append(_alerts(2), durable=False)

        assert (first, journal.append([])) == (0, 2)
        assert len(list(journal.read())) == 2

    def test_an_append_that_fails_leaves_nothing(self, journal: Journal) -> None:
        """Where one record cannot be kept, none of the same ``append`` is, and the journal goes on."""
        journal.append(_alerts(1))
        wrong = Alerted("noon", "a", "")  # type: ignore[arg-type]
        with pytest.raises(JournalError):
            journal.append([*_alerts(2), wrong])

        assert journal.append(_alerts(1)) == 2
        assert [number for number, _ in journal.read()] == [1, 2]

    def test_reading_begins_behind_a_number(self, journal: Journal) -> None:
        """``read(n)`` yields record n + 1 first, and nothing where n is the last."""
        journal.append(_alerts(5))

        assert [number for number, _ in journal.read(3)] == [4, 5]
        assert list(journal.read(5)) == []
        assert list(journal.read(9)) == []

    def test_it_can_be_written_while_it_is_read(self, journal: Journal) -> None:
        """A reader that is not at the end does not stand in the way of an ``append``."""
        journal.append(_alerts(3))
        reader = journal.read()
        first = next(reader)

        journal.append(_alerts(2))

        assert [first[0], *[number for number, _ in reader]][:3] == [1, 2, 3]
        assert len(list(journal.read())) == 5

    def test_a_snapshot_stands_for_the_records_so_far(self, journal: Journal) -> None:
        """``latest`` returns the newest with the number it covers; the records behind it are the tail."""
        journal.append(_alerts(2))
        journal.snapshot(b"two")
        journal.append(_alerts(1))
        journal.snapshot(b"\0three")
        journal.append(_alerts(2))

        latest = journal.latest()

        assert latest == (3, b"\0three")
        assert [number for number, _ in journal.read(latest[0])] == [4, 5]

    def test_a_snapshot_may_be_made_again(self, journal: Journal) -> None:
        """Without a record in between, the newer one counts; one of an empty journal covers 0."""
        journal.snapshot(b"")
        assert journal.latest() == (0, b"")

        journal.snapshot(b"again")
        assert journal.latest() == (0, b"again")

    def test_what_was_kept_is_there_after_opening_again(self, tmp_path: Path) -> None:
        """Records, snapshot, numbers and id are the same, durable or not."""
        first = self.open_journal(tmp_path)
        name = first.id
        first.append(sample_records())
        first.snapshot(b"state")
        first.append(_alerts(3), durable=False)
        before = [(number, msgspec.msgpack.encode(record)) for number, record in first.read()]
        first.close()

        second = self.open_journal(tmp_path)
        try:
            assert second.id == name
            assert [(number, msgspec.msgpack.encode(record)) for number, record in second.read()] == before
            assert second.latest() == (len(sample_records()), b"state")
            assert second.append(_alerts(1)) == len(before) + 1
        finally:
            second.close()

    def test_two_journals_have_two_ids(self, tmp_path: Path) -> None:
        """The id is made anew for every journal, even for the same run at the same time."""
        names = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            journal = self.open_journal(tmp_path / name)
            names.append(journal.id)
            journal.close()

        assert len(set(names)) == 2

    def test_closing_twice_is_harmless(self, tmp_path: Path) -> None:
        """``close`` may be called twice, and before anything else."""
        unused, used = self.open_journal(tmp_path), self.open_journal(tmp_path)
        unused.close()
        unused.close()
        used.append(_alerts(1))

        used.close()
        used.close()

        again = self.open_journal(tmp_path)
        assert len(list(again.read())) == 1
        again.close()


def _alerts(count: int) -> list[Record]:
    return [Alerted(parse_time("2024-01-01") + number, "a", f"{number}") for number in range(count)]
