"""Backups of a journal in use, and what restoring one does to what is there."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import herald.plugins.journal.copies as module
from herald.errors import JournalError
from herald.model import Alerted
from herald.plugins.journal import JournalSettings, SqliteJournal, Verified, backup, restore, verify
from herald.testing import FakeClock, make_services

Open = Callable[..., SqliteJournal]


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Open]:
    opened = []

    def build(file: str = "j.sqlite") -> SqliteJournal:
        opened.append(SqliteJournal(JournalSettings(file=file, reserve_bytes=0), make_services(base=str(tmp_path))))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


@pytest.fixture
def journal(open_journal: Open) -> SqliteJournal:
    """Return a journal in use, of five records."""
    made = open_journal()
    made.append([Alerted(number, "a", "") for number in range(1, 6)])
    made.snapshot(b"five")
    return made


def files(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_a_backup_is_one_file_and_equal(journal: SqliteJournal, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()

    found = backup(journal.path, tmp_path / "copies" / "b.sqlite")

    assert (journal.id, 5, 1, journal.head[1], ()) == (found.id, found.count, found.snapshots, found.head_hash, found.problems)
    assert ["b.sqlite"] == files(tmp_path / "copies")


def test_a_backup_during_writes_is_a_whole_prefix(journal: SqliteJournal, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    stop, begun, last = threading.Event(), threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            last.append(journal.append([Alerted(1, "a", "x" * 500)] * 7, durable=False))
            if len(last) == 3:
                begun.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        assert begun.wait(60)
        copies = [backup(journal.path, tmp_path / "copies" / f"{number}.sqlite") for number in range(5)]
    finally:
        stop.set()
        writer.join(60)  # before anybody else uses the journal

    assert [()] * 5 == [one.problems for one in copies]
    assert sorted(one.last for one in copies) == [one.last for one in copies]
    assert all(one.count == one.last and (one.last - 5) % 7 == 0 for one in copies)
    assert copies[0].last >= 5 + 21
    assert last[-1] == verify(journal.path).last


def test_a_backup_of_a_damaged_journal_is_not_kept(journal: SqliteJournal, tmp_path: Path) -> None:
    journal.close()
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as connection:
        connection.execute("UPDATE records SET body = x'00' WHERE number = 3")
    before = files(tmp_path)

    with pytest.raises(
        JournalError, match="the backup of .* was not kept: record 3 is not what was written.*; look with `herald"
    ):
        backup(journal.path, tmp_path / "b.sqlite")

    assert before == [name for name in files(tmp_path) if not name.endswith(("-wal", "-shm"))]


def test_a_copy_that_is_not_right_is_not_kept(journal: SqliteJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(connection: sqlite3.Connection, target: Path) -> None:
        whole(connection, target)
        with open(target, "rb+") as file:
            file.truncate(12_288)

    whole = module.copy_database
    monkeypatch.setattr(module, "copy_database", cut)

    with pytest.raises(JournalError):
        backup(journal.path, tmp_path / "b.sqlite")


@pytest.mark.parametrize(
    ("name", "words"), [("j.sqlite", "is there already"), ("gone/b.sqlite", r"there is no folder '.*gone'; create it")]
)
def test_a_backup_goes_nowhere_it_must_not(name: str, words: str, journal: SqliteJournal, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=words):
        backup(journal.path, tmp_path / name)

    assert 6 == journal.append([Alerted(1, "a", "")])


def test_a_restored_journal_goes_on_under_its_own_id(journal: SqliteJournal, open_journal: Open, tmp_path: Path) -> None:
    backup(journal.path, tmp_path / "b.sqlite")
    journal.append([Alerted(6, "a", "lost")])
    name = journal.id
    journal.close()

    found, replaced = restore(tmp_path / "b.sqlite", journal.path)
    again = open_journal()

    assert (5, journal.path.with_name("j.sqlite.replaced-1")) == (found.last, replaced)
    assert (name, (5, b"five"), 6) == (again.id, again.latest(), again.append([Alerted(7, "a", "")]))


def test_a_restore_to_an_empty_place_replaces_nothing(journal: SqliteJournal, tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    backup(journal.path, tmp_path / "b.sqlite")

    _, replaced = restore(tmp_path / "b.sqlite", tmp_path / "fresh" / "j.sqlite", FakeClock())

    assert replaced is None
    assert ["j.sqlite", "j.sqlite.lock"] == files(tmp_path / "fresh")


def test_the_log_of_what_was_there_never_meets_the_restored_file(
    journal: SqliteJournal, open_journal: Open, tmp_path: Path
) -> None:
    backup(journal.path, tmp_path / "b.sqlite")
    journal.append([Alerted(6, "a", "only in the log")])
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(tmp_path / f"j.sqlite{suffix}", crashed)

    restore(tmp_path / "b.sqlite", crashed / "j.sqlite")

    assert {"j.sqlite.replaced-1", "j.sqlite.replaced-1-wal", "j.sqlite.replaced-1-shm"} <= set(files(crashed))
    assert 5 == len(list(open_journal("crashed/j.sqlite").read()))
    assert 6 == verify(crashed / "j.sqlite.replaced-1").last


def test_a_second_restore_replaces_nothing_of_the_first(journal: SqliteJournal, tmp_path: Path) -> None:
    backup(journal.path, tmp_path / "b.sqlite")
    journal.close()

    asides = [restore(tmp_path / "b.sqlite", journal.path)[1] for _ in range(2)]

    assert ["j.sqlite.replaced-1", "j.sqlite.replaced-2"] == [one.name for one in asides if one is not None]


def test_a_journal_in_use_is_not_replaced(journal: SqliteJournal, tmp_path: Path) -> None:
    backup(journal.path, tmp_path / "b.sqlite")

    with pytest.raises(JournalError, match="is in use by process"):
        restore(tmp_path / "b.sqlite", journal.path)

    assert 6 == journal.append([Alerted(1, "a", "")])


def test_a_damaged_backup_replaces_nothing(journal: SqliteJournal, tmp_path: Path) -> None:
    target = tmp_path / "b.sqlite"
    backup(journal.path, target)
    journal.close()
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("DELETE FROM records WHERE number = 2")
    before = journal.path.read_bytes()

    with pytest.raises(JournalError, match="backup .* is damaged: record 2 is missing; take an older one"):
        restore(target, journal.path)

    assert before == journal.path.read_bytes()


def test_a_copy_that_fails_leaves_the_journal_in_its_place(
    journal: SqliteJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(journal.path, tmp_path / "b.sqlite")
    journal.close()

    def wrong(path: Path) -> Verified:
        return verify(path) if path.name == "b.sqlite" else Verified(path=str(path))

    monkeypatch.setattr(module, "verify", wrong)
    with pytest.raises(JournalError, match="the copy does not hold what the backup holds"):
        restore(tmp_path / "b.sqlite", journal.path)

    assert ["b.sqlite", "j.sqlite", "j.sqlite.lock"] == files(tmp_path)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("b.sqlite", "b.sqlite", "cannot be restored onto itself"),
        ("b.sqlite", "gone/j.sqlite", "there is no folder"),
        ("text", "j2.sqlite", "is no journal"),
        ("archive", "j2.sqlite", "is an archive of records, not a backup"),
    ],
)
def test_a_restore_that_cannot_be_meant_is_refused(
    source: str, target: str, words: str, journal: SqliteJournal, tmp_path: Path
) -> None:
    backup(journal.path, tmp_path / "b.sqlite")
    (tmp_path / "text").write_text("hello", encoding="utf-8")
    archive = journal.compact()
    assert archive is not None
    archive.rename(tmp_path / "archive")

    with pytest.raises(JournalError, match=words):
        restore(tmp_path / source, tmp_path / target)

    assert not (tmp_path / "j2.sqlite").exists()
