"""The SQLite journal: what it refuses, what it finds, what it survives."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

import herald.plugins.journal._layout as layout
import herald.plugins.journal.sqlite as module
from herald.errors import JournalError
from herald.model import (
    Alert,
    Alerted,
    CancelIntended,
    Event,
    Intended,
    ModifyIntended,
    OrderRequest,
    Record,
    RunBegan,
    Side,
)
from herald.plugins.journal import JournalFile, JournalSettings, SqliteJournal, herald_validate, verify
from herald.plugins.journal._rows import KINDS
from herald.testing import FakeClock, make_services
from herald.testing.contracts.journal import sample_records

Open = Callable[..., SqliteJournal]


def alerts(count: int, first: int = 1) -> list[Record]:
    return [Alerted(number, "a", f"text {number}") for number in range(first, first + count)]


def intended(number: int, *, reduce_only: bool = False, size: float = 0.1) -> Intended:
    request = OrderRequest(
        f"trend-{number:06d}", "trend", "TEST", Side.BUY, size, reduce_only=reduce_only, client_tag=f"tag{number}"
    )
    return Intended(number, "connectors.main", request, 1)


@pytest.fixture
def told() -> list[Event]:
    """Return what the journal told the observers."""
    return []


@pytest.fixture
def open_journal(tmp_path: Path, told: list[Event]) -> Iterator[Open]:
    opened = []

    def build(file: str = "journal.sqlite", **settings: Any) -> SqliteJournal:
        services = make_services("journal", clock=FakeClock(), emit=told.append, base=str(tmp_path))
        opened.append(SqliteJournal(JournalSettings(file=file, **{"reserve_bytes": 4_096} | settings), services))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


@pytest.fixture
def kept(open_journal: Open, tmp_path: Path) -> Path:
    """Return a closed journal of ten records, with a snapshot of the first six."""
    journal = open_journal()
    journal.append(alerts(6))
    journal.snapshot(b"six")
    journal.append(alerts(4, 7))
    journal.close()
    return tmp_path / "journal.sqlite"


def change(path: Path, *statements: str) -> None:
    """Change a closed journal behind its back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def codes(told: list[Event]) -> list[str]:
    return [event.code for event in told if isinstance(event, Alert)]


# --- the file


def test_nothing_is_touched_before_the_first_use(open_journal: Open, tmp_path: Path) -> None:
    open_journal("state/journal.sqlite").close()

    assert [] == list(tmp_path.iterdir())


def test_the_default_file_lies_in_the_state_folder_which_is_made(tmp_path: Path) -> None:
    services = replace(make_services("journal", clock=FakeClock(), base=str(tmp_path)), state="state")
    journal = SqliteJournal(JournalSettings(reserve_bytes=4_096), services)

    journal.append(alerts(1))
    journal.close()

    assert (tmp_path / "state" / "journal.sqlite").is_file()


def test_a_missing_folder_is_not_made_where_its_parent_is_missing_too(open_journal: Open, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"there is no folder '.*mount.state' for the journal; create it"):
        open_journal("mount/state/journal.sqlite").append(alerts(1))

    assert [] == list(tmp_path.iterdir())


def test_a_closed_journal_is_one_file_with_lock_and_reserve(kept: Path) -> None:
    assert ["journal.sqlite", "journal.sqlite.lock", "journal.sqlite.reserve"] == sorted(
        one.name for one in kept.parent.iterdir()
    )
    assert 4_096 == (kept.parent / "journal.sqlite.reserve").stat().st_size


def test_a_closed_journal_refuses_everything(open_journal: Open) -> None:
    journal = open_journal()
    journal.close()

    for use in (lambda: journal.id, lambda: journal.append([]), lambda: journal.read(), journal.latest):
        with pytest.raises(JournalError, match="is closed; open it again"):
            use()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty, which a journal never is; restore a backup"),
        (b"time,price\n1,2\n" * 100, "is no journal: it is not a SQLite file"),
        (b"SQLite format 3\0" + bytes(4_000), "is no journal: it is not a SQLite file"),
    ],
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    content: bytes, words: str, open_journal: Open, tmp_path: Path
) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)

    with pytest.raises(JournalError, match=words):
        open_journal().append(alerts(1))

    assert content == path.read_bytes()


def test_a_database_of_somebody_else_is_refused(open_journal: Open, tmp_path: Path) -> None:
    change(tmp_path / "journal.sqlite", "CREATE TABLE records (number INTEGER)")

    with pytest.raises(JournalError, match="is a SQLite file but no journal of Herald's; name another file"):
        open_journal().append(alerts(1))


def test_a_folder_in_place_of_the_file_is_refused(open_journal: Open, tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").mkdir()

    with pytest.raises(JournalError, match=r"journal '.*journal\.sqlite' (is a folder|cannot be used)"):
        open_journal().append(alerts(1))


def test_a_file_of_a_newer_herald_is_refused(kept: Path, open_journal: Open) -> None:
    change(kept, "PRAGMA user_version = 3")

    with pytest.raises(JournalError, match="written by a newer Herald: it has layout 3, this one knows 1 to 2; update Herald"):
        open_journal().latest()
    with pytest.raises(JournalError, match="newer Herald"):
        verify(kept)


def test_a_record_of_a_newer_herald_is_named(kept: Path, open_journal: Open) -> None:
    body = msgspec.msgpack.encode({"type": "Foretold", "time": 1})
    with closing(sqlite3.connect(kept, isolation_level=None)) as connection:
        meta = layout.read_meta(connection, kept)
        digest = layout.link(meta.head_hash, 11, body)
        connection.execute("INSERT INTO records VALUES (11, 'Foretold', 1, NULL, NULL, ?, ?)", (body, digest))
        layout.write_meta(connection, meta._replace(head=11, head_hash=digest))

    with pytest.raises(
        JournalError, match=r"record 11 of journal .*: Invalid value 'Foretold'.*; it is of a newer Herald: update"
    ):
        list(open_journal().read())


def test_a_log_without_its_file_is_not_taken_for_a_new_journal(open_journal: Open, tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite-wal").write_bytes(b"x" * 100)

    with pytest.raises(JournalError, match=r"is gone, but its log 'journal\.sqlite-wal' is there; put the file back"):
        open_journal().append(alerts(1))


@pytest.mark.parametrize("size", [100, 4_096, 5_000, 20_000])
def test_a_file_that_was_cut_off_is_refused(size: int, kept: Path, open_journal: Open) -> None:
    with open(kept, "rb+") as file:
        file.truncate(size)

    with pytest.raises(JournalError, match="restore a backup"):
        list(open_journal().read())


def test_a_second_process_is_refused_and_told_who_has_it(open_journal: Open, tmp_path: Path) -> None:
    open_journal().append(alerts(1))
    code = (
        "import sys; from herald.plugins.journal import *; from herald.testing import make_services\n"
        "SqliteJournal(JournalSettings(file='journal.sqlite'), make_services(base=sys.argv[1])).append([])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, encoding="utf-8", check=False)

    last = done.stderr.splitlines()[-1]
    assert f"is in use by process {os.getpid()} since 2024-01-01T00:00:00Z; stop that run first" in last


def test_two_in_one_process_exclude_each_other_until_one_closes(open_journal: Open) -> None:
    first, second = open_journal(), open_journal()
    first.append(alerts(1))

    with pytest.raises(JournalError, match="is in use by process"):
        second.append(alerts(1))
    first.close()

    assert 2 == second.append(alerts(1))


def test_a_link_to_the_file_is_the_same_journal(open_journal: Open, tmp_path: Path) -> None:
    open_journal().append(alerts(1))
    try:
        (tmp_path / "link.sqlite").symlink_to(tmp_path / "journal.sqlite")
    except OSError as error:
        pytest.skip(f"this system makes no links: {error}")

    with pytest.raises(JournalError, match="is in use by process"):
        open_journal("link.sqlite").append(alerts(1))


def test_a_refused_start_leaves_the_lock_to_others(kept: Path, open_journal: Open) -> None:
    whole = kept.read_bytes()
    kept.write_bytes(b"")
    with pytest.raises(JournalError):
        open_journal().latest()
    kept.write_bytes(whole)

    assert (6, b"six") == open_journal().latest()


def test_another_program_that_writes_is_named_as_the_reason(
    kept: Path, open_journal: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "_BUSY_SECONDS", 0.01)
    journal = open_journal()
    journal.append(alerts(1))
    with closing(sqlite3.connect(kept, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="is locked by another program, such as a viewer of databases; close that"):
            journal.append(alerts(1))
        other.execute("ROLLBACK")

        assert 12 == journal.append(alerts(1))


# --- records


def test_numbers_of_numpy_are_kept_as_numbers(open_journal: Open) -> None:
    journal = open_journal()
    journal.append([intended(1, size=np.float64(0.25))])  # type: ignore[arg-type]

    ((_, record),) = journal.read()

    assert isinstance(record, Intended)
    assert (float, 0.25) == (type(record.request.size), record.request.size)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (object(), "object is no kind of record; there are AccountSeen, Adopted, Alerted"),
        (OrderRequest("a-1", "a", "TEST", Side.BUY, 1.0), "OrderRequest is no kind of record"),
        (Alerted(1, None, ""), "Alerted cannot be kept: Expected `str`"),  # type: ignore[arg-type]
        (Alerted(2**63, "a", ""), "time 9223372036854775808"),
        (Alerted(2**70, "a", ""), "Alerted cannot be kept"),
        (intended(1, size=1j), "Intended cannot be kept: complex 1j cannot be kept"),  # type: ignore[arg-type]
    ],
)
def test_what_could_not_be_read_again_is_refused(record: Any, words: str, open_journal: Open) -> None:
    journal = open_journal()

    with pytest.raises(JournalError, match=f"nothing of this was kept in journal .*{words}"):
        journal.append([*alerts(1), record])

    assert 0 == journal.append([])


def test_reading_from_a_negative_number_is_a_mistake(open_journal: Open) -> None:
    with pytest.raises(ValueError, match="after -1 is no number of a record; 0 reads all"):
        open_journal().read(-1)


@pytest.mark.parametrize(
    ("synchronous", "durable", "expected"), [("full", True, 2), ("full", False, 1), ("normal", True, 1), ("normal", False, 1)]
)
def test_only_a_durable_commit_waits_for_the_disk(synchronous: str, durable: bool, expected: int, open_journal: Open) -> None:
    journal = open_journal(synchronous=synchronous)

    journal.append(alerts(1), durable=durable)

    assert journal._connection is not None
    assert (expected,) == journal._connection.execute("PRAGMA synchronous").fetchone()


def test_an_empty_durable_append_carries_what_went_before_to_the_disk(open_journal: Open, spy: Spy) -> None:
    journal = open_journal()
    journal.append(alerts(1), durable=False)
    before = spy.count("COMMIT")

    journal.append([])
    journal.append([])

    assert [1, "PRAGMA synchronous = FULL"] == [spy.count("COMMIT") - before, spy.statements[-4]]


# --- tampering

_SWAP = (
    "UPDATE records SET number = -1 WHERE number = 4",
    "UPDATE records SET number = 4 WHERE number = 5",
    "UPDATE records SET number = 5 WHERE number = -1",
)
_INSERTED = (
    "UPDATE records SET number = -number WHERE number > 5",
    "INSERT INTO records SELECT 6, kind, time, order_id, client_tag, body, hash FROM records WHERE number = 5",
    "UPDATE records SET number = 1 - number WHERE number < 0",
)


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (("UPDATE records SET body = (SELECT body FROM records WHERE number = 2) WHERE number = 3",), "record 3 is not what"),
        (("UPDATE records SET hash = randomblob(16) WHERE number = 3",), "record 3 is not what"),
        (("UPDATE records SET body = 'text' WHERE number = 3",), "record 3 is not what"),
        (("DELETE FROM records WHERE number IN (4, 5)",), "records 4 to 5 are missing"),
        (("DELETE FROM records WHERE number = 1",), "it should hold records 1 to 10 and holds 2 to 10"),
        (("DELETE FROM records WHERE number = 10",), "it should hold records 1 to 10 and holds 1 to 9"),
        (_SWAP, "record 4 is not what"),
        (_INSERTED, "record 6 is not what"),
        (("UPDATE meta SET head = 9",), "does not match its checksum"),
        (("UPDATE meta SET id = 'another'",), "does not match its checksum"),
        (("UPDATE meta SET head = 'x'",), "is not what was written"),
        (("DELETE FROM meta",), "what it says of itself is gone"),
        (("UPDATE records SET order_id = 'a' WHERE number = 3",), "record 3 is listed under what it does not say"),
        (("UPDATE records SET time = 5 WHERE number = 3",), "record 3 is listed under what it does not say"),
        (("UPDATE snapshots SET state = x'00'",), "the snapshot of record 6 is not what was written"),
    ],
)
def test_verify_finds_every_change_and_names_the_place(statements: tuple[str, ...], words: str, kept: Path) -> None:
    before = verify(kept)
    change(kept, *statements)

    found = verify(kept)

    assert () == before.problems
    assert any(words in one for one in found.problems), found.problems


def test_verify_counts_and_gives_the_head(kept: Path, open_journal: Open) -> None:
    found = verify(kept)

    number, digest = open_journal().head
    assert (1, 10, 10, 1, "journal") == (found.first, found.last, found.count, found.snapshots, found.role)
    assert (number, digest) == (found.last, found.head_hash)


def test_verify_goes_on_behind_a_bad_record_and_counts_the_rest(kept: Path) -> None:
    change(kept, "UPDATE records SET body = x'00' WHERE number IN (2, 7)")

    problems = verify(kept).problems

    assert [
        "record 2 is not what was written, or not in its place",
        "record 7 is not what was written, or not in its place",
    ] == list(problems)


def test_a_list_of_problems_ends(kept: Path, open_journal: Open) -> None:
    open_journal().append(alerts(100))
    change(kept, "UPDATE records SET body = x'00'")

    problems = verify(kept).problems

    assert (51, "and 60 more") == (len(problems), problems[-1])


def test_a_chain_computed_anew_is_found_by_a_head_that_was_noted(kept: Path) -> None:
    noted = verify(kept)
    forge(kept, 5, msgspec.msgpack.encode(Alerted(5, "a", "never happened")))

    assert () == verify(kept).problems
    assert ("record 10 is not the one whose hash was noted",) == verify(kept, (10, noted.head_hash)).problems
    assert () == verify(kept, (4, hash_of(kept, 4))).problems


def forge(path: Path, number: int, body: bytes) -> None:
    """Do what the chain cannot find: replace a record and compute every hash from there on."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        meta = layout.read_meta(connection, path)
        connection.execute("UPDATE records SET body = ? WHERE number = ?", (body, number))
        digest = layout.hash_at(connection, meta, number - 1)
        assert digest is not None
        for each, content in connection.execute("SELECT number, body FROM records WHERE number >= ?", (number,)).fetchall():
            digest = layout.link(digest, each, content)
            connection.execute("UPDATE records SET hash = ? WHERE number = ?", (digest, each))
        layout.write_meta(connection, meta._replace(head_hash=digest))
        connection.execute("DELETE FROM snapshots")


def hash_of(path: Path, number: int) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT hex(hash) FROM records WHERE number = ?", (number,)).fetchone()[0])


def test_reading_yields_what_is_right_and_stops_at_what_is_not(kept: Path, open_journal: Open) -> None:
    open_journal().append(alerts(300, 11))
    change(kept, "UPDATE records SET body = x'00' WHERE number = 5")

    with JournalFile(kept) as file:
        records = file.read()
        assert [1, 2, 3, 4] == [next(records)[0] for _ in range(4)]
        with pytest.raises(JournalError, match="record 5 is not what was written; restore a backup with `herald restore BACKUP"):
            next(records)
        assert list(range(6, 311)) == [number for number, _ in file.read(5)]


def test_a_bad_record_near_the_end_refuses_the_start(kept: Path, open_journal: Open) -> None:
    change(kept, "UPDATE records SET body = x'00' WHERE number = 9")

    with pytest.raises(JournalError, match="is damaged: record 9 is not what was written"):
        open_journal().append(alerts(1))


# --- snapshots and compaction


def test_three_snapshots_are_kept(kept: Path, open_journal: Open) -> None:
    journal = open_journal()
    for number in range(5):
        journal.append(alerts(1))
        journal.snapshot(f"{number}".encode())
    journal.close()

    assert 3 == verify(kept).snapshots


def test_a_damaged_snapshot_is_told_and_the_one_before_is_used(kept: Path, open_journal: Open, told: list[Event]) -> None:
    journal = open_journal()
    journal.snapshot(b"ten")
    journal.close()
    change(kept, "UPDATE snapshots SET state = x'00' WHERE number = 10")

    assert (6, b"six") == open_journal().latest()
    assert ["journal_damaged"] == codes(told)


def test_without_a_whole_snapshot_all_records_are_read(kept: Path, open_journal: Open, told: list[Event]) -> None:
    change(kept, "UPDATE snapshots SET hash = x'00'")

    assert open_journal().latest() is None
    assert ["journal_damaged"] == codes(told)


def test_without_a_whole_snapshot_a_compacted_journal_is_damaged(kept: Path, open_journal: Open) -> None:
    journal = open_journal()
    journal.compact()
    journal.close()
    change(kept, "UPDATE snapshots SET state = 5")

    with pytest.raises(JournalError, match="it has no whole snapshot, and the records up to 6 were moved away"):
        open_journal().latest()


def test_compaction_moves_records_to_an_archive_that_verifies(kept: Path, open_journal: Open) -> None:
    journal = open_journal()
    archive = journal.compact()
    journal.append(alerts(1, 11))
    journal.close()

    assert archive is not None
    assert "journal.sqlite.000000001-000000006" == archive.name
    old, new = verify(archive), verify(kept)
    assert ((), "archive", 1, 6, 6) == (old.problems, old.role, old.first, old.last, old.count)
    assert ((), "journal", 7, 11, 5) == (new.problems, new.role, new.first, new.last, new.count)
    assert old.id == new.id


def test_looking_into_a_compacted_journal_begins_behind_what_was_moved(kept: Path, open_journal: Open) -> None:
    open_journal().compact(4)

    with JournalFile(kept) as file:
        assert list(range(5, 11)) == [number for number, _ in file.read()]
        assert list(range(5, 11)) == [number for number, _ in file.find()]


def test_reading_what_was_moved_away_is_refused(kept: Path, open_journal: Open) -> None:
    journal = open_journal()
    journal.compact()

    assert (6, b"six") == journal.latest()
    assert [7, 8, 9, 10] == [number for number, _ in journal.read(6)]
    with pytest.raises(JournalError, match="records 1 to 6 are not in journal .* any more: it was compacted; read from 6"):
        journal.read()


def test_compaction_without_an_archive_deletes(kept: Path, open_journal: Open) -> None:
    journal = open_journal()

    assert journal.compact(keep_archive=False) is None
    assert [7, 8, 9, 10] == [number for number, _ in journal.read(6)]
    assert [] == list(kept.parent.glob("*.0*"))


def test_compaction_goes_on_where_it_stopped(kept: Path, open_journal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 2)
    journal = open_journal()
    journal.append(alerts(7, 11))
    journal.snapshot(b"seventeen")
    journal.compact(5)

    assert journal.compact(5) is None
    archive = journal.compact()

    assert archive is not None
    assert (6, 17) == (verify(archive).first, verify(archive).last)
    journal.close()
    assert () == verify(kept).problems


def test_records_that_no_snapshot_covers_are_never_moved(kept: Path, open_journal: Open) -> None:
    with pytest.raises(ValueError, match="keep_after 7 must be from 0 to 6, the last record that a snapshot covers"):
        open_journal().compact(7)


def test_an_archive_is_no_journal_to_write_to(kept: Path, open_journal: Open) -> None:
    journal = open_journal()
    archive = journal.compact()
    assert archive is not None

    with pytest.raises(JournalError, match="is an archive of records, not a journal"):
        open_journal(archive.name).append(alerts(1))


# --- an older layout


def first_layout(path: Path, records: list[Record]) -> None:
    """Write a file as layout 1 did, hashes by hand."""
    name = "0123456789abcdef0123456789abcdef"

    def digest(data: bytes, person: bytes = b"herald-journal") -> bytes:
        return hashlib.blake2b(data, digest_size=16, person=person).digest()

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            f"""
            PRAGMA application_id = {0x48524C4A}; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;
            CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, role TEXT NOT NULL,
                created INTEGER NOT NULL, base INTEGER NOT NULL, base_hash BLOB NOT NULL, head INTEGER NOT NULL,
                head_hash BLOB NOT NULL, seal BLOB NOT NULL);
            CREATE TABLE records (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);
            CREATE INDEX records_by_kind ON records (kind);
            CREATE TABLE snapshots (number INTEGER PRIMARY KEY, time INTEGER NOT NULL, hash BLOB NOT NULL,
                state BLOB NOT NULL, seal BLOB NOT NULL);
            """
        )
        start = last = digest(name.encode())
        for number, record in enumerate(records, 1):
            body = msgspec.msgpack.encode(record)
            last = digest(last + number.to_bytes(8, "big") + body)
            row = (number, type(record).__name__, body, last)
            connection.execute("INSERT INTO records VALUES (?, ?, ?, ?)", row)
        text = f"{name}\0journal\0{7}\0{0}\0{len(records)}\0".encode()
        seal = digest(text + start + last, b"herald-meta")
        row2 = (name, "journal", 7, 0, start, len(records), last, seal)
        connection.execute("INSERT INTO meta VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", row2)


def test_a_file_of_layout_1_is_brought_up_to_date_and_kept_as_it_was(open_journal: Open, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first_layout(path, list(sample_records()))
    journal = open_journal()

    number = journal.append([intended(2)])
    journal.close()

    assert (12, "0123456789abcdef0123456789abcdef", ()) == (number, verify(path).id, verify(path).problems)
    with JournalFile(path) as file:
        assert [3, 5, 6, 7, 8] == [one for one, _ in file.find(order="trend-000001")]
        assert [12] == [one for one, _ in file.find(order="tag2")]
    with closing(sqlite3.connect(tmp_path / "journal.sqlite.layout-1")) as old:
        assert (1, 11) == old.execute("SELECT user_version, (SELECT count(*) FROM records) FROM pragma_user_version").fetchone()


def test_looking_into_a_file_of_layout_1_does_not_change_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first_layout(path, list(sample_records()))
    before = path.read_bytes()

    found = verify(path)
    with JournalFile(path) as file:
        orders = [number for number, _ in file.find(kinds=("Intended",))]

    assert ((), 11, [3]) == (found.problems, found.count, orders)
    assert before == path.read_bytes()


def test_a_migration_that_fails_leaves_the_file_as_it_was(open_journal: Open, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first_layout(path, list(sample_records()))
    change(path, "UPDATE records SET body = x'c1' WHERE number = 9")

    with pytest.raises(JournalError, match="record 9 of journal .* cannot be read"):
        open_journal().latest()

    with closing(sqlite3.connect(path)) as old:
        assert (1,) == old.execute("PRAGMA user_version").fetchone()
        assert 4 == len(old.execute("SELECT * FROM records LIMIT 1").fetchone())


# --- a disk that fails


class Failing:
    """A connection whose next commits fail, before or after they were carried out."""

    def __init__(self, inner: sqlite3.Connection, spy: Spy) -> None:
        self._inner = inner
        self._spy = spy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def execute(self, statement: str, *values: Any) -> Any:
        self._spy.statements.append(statement)
        if statement == "COMMIT" and self._spy.failures:
            failure, is_done = self._spy.failures.pop(0)
            if callable(failure):
                failure = failure()
            if failure is not None:
                if is_done:
                    self._inner.execute(statement)
                raise failure
        return self._inner.execute(statement, *values)


class Spy:
    """Counts the connections and statements of a journal, and lets commits fail."""

    def __init__(self) -> None:
        self.connections: list[sqlite3.Connection] = []
        self.statements: list[str] = []
        self.failures: list[tuple[Any, bool]] = []

    def count(self, statement: str) -> int:
        return self.statements.count(statement)


def failure(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    return error


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    found = Spy()

    def connect(path: Path, mode: Any) -> Failing:
        connection = layout.connect(path, mode)
        found.connections.append(connection)
        return Failing(connection, found)

    monkeypatch.setattr(module, "connect", connect)
    return found


@pytest.mark.parametrize("is_done", [False, True], ids=["not carried out", "carried out"])
def test_after_a_failed_commit_the_handle_is_given_up_and_nothing_of_it_is_left(
    is_done: bool, open_journal: Open, spy: Spy
) -> None:
    journal = open_journal()
    journal.append(alerts(2))
    spy.failures.append((failure("SQLITE_IOERR_FSYNC"), is_done))

    with pytest.raises(JournalError, match=r"the disk of journal .* failed \(SQLITE_IOERR_FSYNC\), nothing of this was kept"):
        journal.append(alerts(3, 90))

    assert 3 == journal.append(alerts(1, 3))
    assert [1, 2, 3] == [record.time for _, record in journal.read()]
    assert 2 == len(spy.connections)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        spy.connections[0].execute("SELECT 1")


def test_a_journal_that_lost_what_it_acknowledged_is_not_used_any_more(open_journal: Open, spy: Spy, tmp_path: Path) -> None:
    journal = open_journal()
    journal.append(alerts(2))
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "older")) as target:
        source.backup(target)
    journal.append(alerts(1, 3))

    def lose() -> Exception:
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink()
        os.replace(tmp_path / "older", path)
        return failure("SQLITE_IOERR_WRITE")

    if os.name == "nt":
        pytest.skip("Windows deletes no file that is open")
    spy.failures.append((lose, False))
    with pytest.raises(JournalError, match="SQLITE_IOERR_WRITE"):
        journal.append(alerts(1))

    with pytest.raises(JournalError, match="record 3, which was acknowledged, is not there any more"):
        journal.append(alerts(1))


def test_a_snapshot_that_fails_leaves_the_journal_usable(open_journal: Open, spy: Spy) -> None:
    journal = open_journal()
    journal.append(alerts(2))
    spy.failures.append((failure("SQLITE_IOERR_WRITE"), False))

    with pytest.raises(JournalError, match="SQLITE_IOERR_WRITE"):
        journal.snapshot(b"two")

    assert journal.latest() is None
    assert 3 == journal.append(alerts(1))


def test_closing_tells_when_the_tail_did_not_reach_the_disk(open_journal: Open, spy: Spy) -> None:
    journal = open_journal()
    journal.append(alerts(1), durable=False)
    spy.failures.append((failure("SQLITE_IOERR_FSYNC"), False))

    with pytest.raises(JournalError, match="SQLITE_IOERR_FSYNC"):
        journal.close()

    assert 1 == open_journal().append([])


@pytest.fixture
def full(spy: Spy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Return a disk that is full from ``begins`` on, but for the reserve."""
    disk = SimpleNamespace(is_full=False, free=10**9)

    def fails() -> Exception | None:
        has_room = not disk.is_full or not (tmp_path / "journal.sqlite.reserve").exists()
        return None if has_room else failure("SQLITE_FULL")

    spy.failures.extend((fails, False) for _ in range(1_000))
    usage = lambda _: SimpleNamespace(free=0 if disk.is_full else disk.free)  # noqa: E731
    monkeypatch.setattr("herald.plugins.journal._reserve.shutil.disk_usage", usage)
    return disk


EXIT = [intended(7, reduce_only=True)]


@pytest.mark.parametrize(
    "batch",
    [
        EXIT,
        [ModifyIntended(1, "connectors.main", "1", intended(7, reduce_only=True).request)],
        [CancelIntended(1, "connectors.main", "1", "trend-000001")],
        [record for record in sample_records() if not isinstance(record, RunBegan | Intended | ModifyIntended)],
    ],
    ids=["exit", "change of an exit", "cancel", "what happened"],
)
def test_on_a_full_disk_the_reserve_takes_what_adds_to_no_position(
    batch: list[Record], open_journal: Open, full: SimpleNamespace, told: list[Event], tmp_path: Path
) -> None:
    journal = open_journal()
    journal.append(alerts(2))
    full.is_full = True

    number = journal.append(batch)
    journal.append(batch)

    assert 2 + len(batch) == number
    assert 2 + 2 * len(batch) == len(list(journal.read()))
    assert journal.is_short
    assert ["journal_disk_full"] == codes(told)
    assert not (tmp_path / "journal.sqlite.reserve").exists()


@pytest.mark.parametrize(
    "record",
    [
        intended(1),
        ModifyIntended(1, "connectors.main", "1", intended(1).request),
        RunBegan(1, "live", "", {}, 1),
    ],
    ids=["entry", "change of an entry", "start of a run"],
)
def test_on_a_full_disk_nothing_is_kept_that_may_add_to_a_position(
    record: Record, open_journal: Open, full: SimpleNamespace, tmp_path: Path
) -> None:
    journal = open_journal()
    journal.append(alerts(2))
    full.is_full = True

    with pytest.raises(JournalError, match="the disk of journal .* is full, nothing of this was kept; make room on it"):
        journal.append([*EXIT, record])
    reserve_before = (tmp_path / "journal.sqlite.reserve").exists()
    journal.append(EXIT)
    with pytest.raises(JournalError, match="is full: only exits, cancels and what comes of them are kept until there is room"):
        journal.append([record])

    assert reserve_before
    assert 3 == len(list(journal.read()))


def test_once_there_is_room_again_everything_is_kept_and_the_reserve_is_back(
    open_journal: Open, full: SimpleNamespace, told: list[Event], tmp_path: Path
) -> None:
    journal = open_journal()
    journal.append(alerts(1))
    full.is_full = True
    journal.append(EXIT)

    full.is_full = False
    journal.append([intended(1)])

    assert not journal.is_short
    assert 4_096 == (tmp_path / "journal.sqlite.reserve").stat().st_size
    assert ["journal_disk_full", "journal_disk_free"] == codes(told)


def test_a_disk_without_room_for_the_reserve_lets_no_run_begin(
    open_journal: Open, full: SimpleNamespace, told: list[Event]
) -> None:
    full.free = 5_000
    journal = open_journal()

    with pytest.raises(JournalError, match="only exits"):
        journal.append([RunBegan(1, "live", "", {}, 1)])

    assert ["journal_disk_full"] == codes(told)
    assert 1 == journal.append(EXIT)


# --- what a crash leaves


def test_a_commit_that_a_crash_cut_off_is_dropped_and_told(open_journal: Open, told: list[Event], tmp_path: Path) -> None:
    journal = open_journal()
    journal.append(alerts(3))
    journal.append(alerts(1, 4))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"journal.sqlite{suffix}", crashed)
    with open(crashed / "journal.sqlite-wal", "rb+") as file:
        file.truncate((crashed / "journal.sqlite-wal").stat().st_size - 100)

    again = open_journal("crashed/journal.sqlite")

    assert [1, 2, 3] == [record.time for _, record in again.read()]
    (alert,) = [one for one in told if isinstance(one, Alert)]
    assert "journal_recovered" == alert.code
    assert "was cut off by a crash and dropped" in alert.text
    assert alert.text.endswith("the last whole record is 3")


def test_a_whole_log_of_a_crash_is_no_news(open_journal: Open, told: list[Event], tmp_path: Path) -> None:
    journal = open_journal()
    journal.append(alerts(3))
    (tmp_path / "crashed").mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"journal.sqlite{suffix}", tmp_path / "crashed")

    assert 3 == len(list(open_journal("crashed/journal.sqlite").read()))
    assert [] == told


# --- looking into it


@pytest.fixture
def sampled(open_journal: Open, tmp_path: Path) -> Iterator[JournalFile]:
    """Return a journal in use with one record of every kind and 20 entries."""
    journal = open_journal()
    journal.append(sample_records(1_000))
    journal.append([intended(number) for number in range(2, 22)])
    with JournalFile(tmp_path / "journal.sqlite") as file:
        yield file


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, list(range(1, 32))),
        ({"limit": 3}, [29, 30, 31]),
        ({"kinds": ("RunBegan", "RunEnded")}, [1, 11]),
        ({"order": "trend-000001"}, [3, 5, 6, 7, 8]),
        ({"order": "abcdefghij234567xy"}, [3, 5, 7]),
        ({"order": "trend-000001", "kinds": ("Traded",)}, [6]),
        ({"since": 1_000}, list(range(1, 12))),
        ({"order": "nobody"}, []),
    ],
)
def test_records_are_found_by_kind_order_and_time(terms: dict[str, Any], expected: list[int], sampled: JournalFile) -> None:
    assert expected == [number for number, _ in sampled.find(**terms)]


def test_an_unknown_kind_is_named(sampled: JournalFile) -> None:
    with pytest.raises(ValueError, match="there is no kind of record 'Intent'; there are AccountSeen, Adopted, Alerted"):
        sampled.find(kinds=("Intent",))


@pytest.mark.parametrize(
    ("terms", "index"),
    [({"kinds": ("Traded",)}, "records_by_kind"), ({"order": "a"}, "records_by_order"), ({"order": "a"}, "records_by_tag")],
)
def test_kind_order_and_tag_are_found_by_an_index(terms: dict[str, Any], index: str, sampled: JournalFile) -> None:
    where, values = sampled._where(terms.get("kinds", ()), terms.get("order"), None)
    plan = sampled._connection.execute(
        f"EXPLAIN QUERY PLAN SELECT r.number FROM records r WHERE {where} ORDER BY r.number DESC", (99, *values)
    ).fetchall()

    assert any(index in str(row) for row in plan), plan


def test_a_found_record_that_was_changed_is_refused(kept: Path) -> None:
    change(kept, "UPDATE records SET body = (SELECT body FROM records WHERE number = 2) WHERE number = 3")

    with JournalFile(kept) as file, pytest.raises(JournalError, match="record 3 is not what was written"):
        file.find()
    with JournalFile(kept) as file:
        assert [9, 10] == [number for number, _ in file.find(limit=2)]


def test_a_reader_sees_what_was_kept_and_does_not_stop_the_writer(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    journal.append(alerts(2))
    with JournalFile(tmp_path / "journal.sqlite") as file:
        journal.append(alerts(1, 3))

        assert [1, 2] == [number for number, _ in file.find()]
    with JournalFile(tmp_path / "journal.sqlite") as file:
        assert [1, 2, 3] == [number for number, _ in file.read()]


def test_a_reader_is_not_disturbed_by_a_compaction(kept: Path, open_journal: Open) -> None:
    journal = open_journal()
    with JournalFile(kept) as file:
        journal.compact()

        assert list(range(1, 11)) == [number for number, _ in file.read()]
        assert list(range(1, 11)) == [number for number, _ in file.find()]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"journal '.*gone\.sqlite' does not exist; correct the path"):
        JournalFile(tmp_path / "gone.sqlite")


# --- the plan


@pytest.mark.parametrize(
    ("mode", "synchronous", "expected"),
    [("live", "normal", 1), ("live", "full", 0), ("paper", "normal", 0), ("backtest", "normal", 0)],
)
def test_real_money_wants_records_that_survive_a_loss_of_power(mode: str, synchronous: str, expected: int) -> None:
    chosen = SimpleNamespace(
        name="journal", use="journal.sqlite", settings=JournalSettings.model_validate({"synchronous": synchronous})
    )
    plan: Any = SimpleNamespace(mode=mode, chosen=lambda kind: [chosen] if kind == "journal" else [])

    problems = list(herald_validate(plan))

    assert expected == len(problems)
    assert all("(journal-not-durable)" in one.what for one in problems)


def test_every_kind_of_record_has_a_sample_and_is_known() -> None:
    kinds = set(typing.get_args(Record))

    assert kinds == {type(one) for one in sample_records()}
    assert kinds == set(KINDS)
