"""The journal's thread: nothing happens before it is kept."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from herald.errors import JournalError
from herald.live.spool import Spool
from herald.model import Alerted, Record

PATIENCE = 20.0


def record(number: int) -> Alerted:
    return Alerted(number, "test", "a record")


class Journal:
    """Keeps records in memory; a lock holds it up, a set of times makes it fail."""

    id = "memory"

    def __init__(self) -> None:
        self.batches: list[tuple[list[int], bool]] = []
        self.refused: set[int] = set()
        self.hold = threading.Lock()
        self.closed = 0

    def append(self, records: Sequence[Record], *, durable: bool = True) -> int:
        with self.hold:
            if self.refused & {one.time for one in records}:
                raise JournalError("no room")
            self.batches.append(([one.time for one in records], durable))
            return sum(len(times) for times, _ in self.batches)

    def close(self) -> None:
        self.closed += 1

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def spool(journal: Journal, trouble: list[str] | None = None) -> Spool:
    made = Spool(lambda: journal, ([] if trouble is None else trouble).append)  # type: ignore[arg-type, return-value]
    made.start(journal)  # type: ignore[arg-type]
    return made


def test_what_follows_happens_after_the_record_is_kept_and_in_order() -> None:
    journal, seen = Journal(), []
    one = spool(journal)

    for number in range(50):
        one.write((record(number),), durable=True, kept=lambda number=number: seen.append((number, len(journal.batches) > 0)))  # type: ignore[misc]
    assert one.stop(PATIENCE)

    assert [(number, True) for number in range(50)] == seen
    assert list(range(50)) == [time for times, _ in journal.batches for time in times]
    assert 50 == one.number


def test_what_waits_shares_one_commit() -> None:
    journal = Journal()
    one = spool(journal)
    with journal.hold:
        for number in range(100):
            one.write((record(number),), durable=number == 60)

    assert one.stop(PATIENCE)
    assert len(journal.batches) <= 3
    assert any(durable for _, durable in journal.batches)


def test_what_cannot_be_kept_does_not_happen_and_the_rest_does() -> None:
    journal, kept, failed, trouble = Journal(), [], [], []
    journal.refused = {2}
    one = spool(journal, trouble)
    with journal.hold:
        for number in range(4):
            one.write(
                (record(number),),
                kept=lambda number=number: kept.append(number),
                failed=lambda text, number=number: failed.append((number, text)),
            )  # type: ignore[misc]

    assert one.stop(PATIENCE)
    assert [0, 1, 3] == sorted(kept)
    assert [(2, "no room")] == failed
    assert trouble
    assert "no room" == trouble[0]


def test_it_is_writable_again_after_the_next_commit() -> None:
    journal = Journal()
    journal.refused = {1}
    one = spool(journal)
    done = threading.Event()
    one.write((record(1),), failed=lambda text: done.set())
    assert done.wait(PATIENCE)
    assert not one.is_writable

    again = threading.Event()
    one.write((record(2),), kept=again.set)

    assert again.wait(PATIENCE)
    assert one.is_writable
    assert one.stop(PATIENCE)


def test_work_happens_between_two_commits() -> None:
    journal, seen = Journal(), []
    one = spool(journal)
    with journal.hold:
        one.write((record(1),))
        one.run(lambda _: seen.append(len(journal.batches)))
        one.write((record(2),))

    assert one.stop(PATIENCE)
    assert [1] == seen
    assert 2 == len(journal.batches)


def test_stopping_keeps_what_waits_and_closes_the_journal() -> None:
    journal = Journal()
    one = spool(journal)
    one.write((record(1),))

    assert one.stop(PATIENCE)
    assert [([1], False)] == journal.batches
    assert 1 == journal.closed


@pytest.mark.parametrize("durable", [True, False])
def test_nothing_to_keep_still_lets_what_follows_happen(durable: bool) -> None:
    journal, done = Journal(), threading.Event()
    one = spool(journal)

    one.write((), durable=durable, kept=done.set)

    assert done.wait(PATIENCE)
    assert one.stop(PATIENCE)
    assert [] == journal.batches


# --- a journal that cannot be written for a while -------------------------------------------------


class Failing(Journal):
    """Refuses everything while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = threading.Event()
        self.tried = threading.Semaphore(0)

    def append(self, records: Sequence[Record], *, durable: bool = True) -> int:
        self.tried.release()
        if self.fails.is_set():
            raise JournalError("no room")
        return super().append(records, durable=durable)


def tried(journal: Failing, times: int = 1) -> None:
    for _ in range(times):
        assert journal.tried.acquire(timeout=PATIENCE)


def test_facts_that_cannot_be_kept_are_kept_later_in_order_and_before_what_came_later() -> None:
    journal = Failing()
    journal.fails.set()
    one = spool(journal)
    for number in range(3):
        one.write((record(number),))
        tried(journal)
    journal.fails.clear()
    done = threading.Event()

    one.write((record(3),), kept=done.set)

    assert done.wait(PATIENCE)
    assert [0, 1, 2, 3] == [time for times, _ in journal.batches for time in times]
    assert one.is_writable
    assert one.stop(PATIENCE)


def test_what_follows_a_fact_happens_when_it_is_kept_at_last() -> None:
    journal, seen = Failing(), threading.Event()
    journal.fails.set()
    one = spool(journal)
    one.write((record(1),), kept=seen.set)
    tried(journal)
    early = seen.is_set()
    journal.fails.clear()

    assert seen.wait(PATIENCE)
    assert not early
    assert one.stop(PATIENCE)


def test_what_is_owed_is_tried_again_although_nothing_else_is_to_be_kept() -> None:
    journal = Failing()
    journal.fails.set()
    one = spool(journal)
    one.write((record(1),))
    tried(journal, 2)

    journal.fails.clear()
    tried(journal)

    assert one.stop(PATIENCE)
    assert [([1], False)] == journal.batches


def test_an_intent_is_refused_while_facts_are_owed() -> None:
    journal, failed = Failing(), []
    journal.fails.set()
    one = spool(journal)
    one.write((record(1),))
    tried(journal)

    told = threading.Event()
    one.write((record(2),), durable=True, failed=lambda text: (failed.append(text), told.set()))

    assert told.wait(PATIENCE)
    assert ["no room"] == failed
    journal.fails.clear()
    assert one.stop(PATIENCE)
    assert [1] == [time for times, _ in journal.batches for time in times]


def test_a_wait_for_the_queue_is_not_held_up_by_what_is_owed() -> None:
    journal, passed = Failing(), threading.Event()
    journal.fails.set()
    one = spool(journal)
    one.write((record(1),))

    one.write((), kept=passed.set)

    assert passed.wait(PATIENCE)
    journal.fails.clear()
    assert one.stop(PATIENCE)


def test_a_fact_that_can_never_be_kept_does_not_hold_up_the_others() -> None:
    class Picky(Journal):
        def append(self, records: Sequence[Record], *, durable: bool = True) -> int:
            if any(one.time == 1 for one in records):
                raise JournalError("it has no such time") from ValueError("no such time")
            return super().append(records, durable=durable)

    journal, trouble = Picky(), []
    one = spool(journal, trouble)
    one.write((record(1),))
    done = threading.Event()
    one.write((record(2),), kept=done.set)

    assert done.wait(PATIENCE)
    assert one.stop(PATIENCE)
    assert [2] == [time for times, _ in journal.batches for time in times]
    assert any(text.startswith("given up: ") for text in trouble)
