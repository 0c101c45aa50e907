"""Copies of a journal: backup while it runs, restore, and archives of what was compacted."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from herald.clock import Clock, WallClock
from herald.errors import JournalError
from herald.plugins.journal._layout import (
    Meta,
    connect,
    create,
    hash_at,
    read_meta,
    remove,
    sync_folder,
    transaction,
    walk,
    write_meta,
)
from herald.plugins.journal._lock import WriterLock
from herald.plugins.journal._troubles import TROUBLES, damaged, explain
from herald.plugins.journal.inspection import Verified, verify

__all__ = ["archive", "backup", "copy_database", "restore"]

_PAGE_ROWS = 10_000
_COLUMNS = "number, kind, time, order_id, client_tag, body, hash"  # by name: in a file of an older layout they stand otherwise


def copy_database(connection: sqlite3.Connection, target: Path) -> None:
    """Copy a whole database to the file *target*, as it is at one moment, and put it on disk."""
    partial = target.with_name(target.name + ".partial")
    remove(partial)
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            connection.backup(copy)  # in one step: writers go on beside it, and nothing of theirs is half in it
            # One file that may be read from anywhere, instead of one with a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
        _sync(partial)
        os.replace(partial, target)
        sync_folder(target.parent)
    except BaseException:
        remove(partial)
        raise


def backup(source: Path, target: Path) -> Verified:
    """Copy a journal, which may be in use, and check the copy: every record, hash and index, and how many there are.

    Args:
        source: The journal.
        target: The file to make, or a folder to make ``NAME-LAST.sqlite`` in.

    Returns:
        What the copy holds.

    Raises:
        JournalError: *source* is damaged, *target* exists or cannot be written, or the copy is not right; then there is none.
    """
    source, target = source.resolve(), target.resolve()
    try:
        with closing(connect(source, "ro")) as connection:
            before = read_meta(connection, source)
            if target.is_dir():
                target = target / f"{source.stem}-{before.head:09d}.sqlite"
            _refuse(target)
            copy_database(connection, target)
            found = verify(target)
            with closing(connect(target, "ro")) as copy:
                after = read_meta(copy, target)
                same = after.id == before.id and after.head >= before.head
                same = same and hash_at(copy, after, before.head) == before.head_hash
    except TROUBLES as error:
        raise explain(error, target if getattr(error, "filename", None) else source) from error
    if found.problems or not same:
        remove(target)
        what = found.problems[0] if found.problems else "the copy does not hold the same records"
        raise JournalError(f"the backup of {str(source)!r} was not kept: {what}; look with `herald journal verify {source}`")
    return found


def restore(source: Path, target: Path, clock: Clock | None = None) -> tuple[Verified, Path | None]:
    """Put a backup in the place of a journal that is not in use.

    Args:
        source: The backup.
        target: The journal; one that is there is renamed to ``NAME.replaced-N``.
        clock: Tells when it was; the machine's unless given.

    Returns:
        What was restored, and where the journal that was there is now.

    Raises:
        JournalError: *source* is damaged or no journal, or *target* is in use or cannot be written; then it is as it was.
    """
    source, target = source.resolve(), target.resolve()
    if source == target:
        raise JournalError(f"{str(source)!r} cannot be restored onto itself; name the journal that it shall replace")
    found = verify(source)
    if found.problems:
        raise JournalError(f"backup {str(source)!r} is damaged: {found.problems[0]}; take an older one")
    if found.role != "journal":
        raise JournalError(f"{str(source)!r} is an archive of records, not a backup; name a backup")
    if not target.parent.is_dir():
        raise JournalError(f"there is no folder {str(target.parent)!r}; create it, or correct the path")
    lock = WriterLock(target, clock or WallClock())
    fresh = target.with_name(target.name + ".restored")
    try:
        lock.acquire()
        with closing(connect(source, "ro")) as connection:
            copy_database(connection, fresh)
        if verify(fresh).head_hash != found.head_hash:
            raise damaged(fresh, "the copy does not hold what the backup holds")
        replaced = _move_aside(target)
        os.replace(fresh, target)
        sync_folder(target.parent)
    except TROUBLES as error:
        raise explain(error, target) from error
    finally:
        remove(fresh)
        lock.release()
    return found, replaced


def _move_aside(target: Path) -> Path | None:
    """Rename a journal with its log, which must never meet another file of the same name."""
    present = [suffix for suffix in ("-wal", "-shm", "") if target.with_name(target.name + suffix).exists()]
    if not present:
        return None
    number = 1
    while (aside := target.with_name(f"{target.name}.replaced-{number}")).exists():
        number += 1
    for suffix in present:
        os.replace(target.with_name(target.name + suffix), aside.with_name(aside.name + suffix))
    return aside if "" in present else None


def archive(connection: sqlite3.Connection, meta: Meta, last: int, path: Path) -> Path:
    """Copy the records of *path* up to *last* to a file beside it and check it; return the file."""
    digest = hash_at(connection, meta, last)
    if digest is None:
        raise damaged(path, f"record {last} is missing")
    target = path.with_name(f"{path.name}.{meta.base + 1:09d}-{last:09d}")
    partial = target.with_name(target.name + ".partial")
    try:
        create(partial, meta._replace(role="archive", head=meta.base, head_hash=meta.base_hash), meta.created)
        number = meta.base
        with closing(connect(partial, "rw")) as copy:
            while rows := connection.execute(
                f"SELECT {_COLUMNS} FROM records WHERE number > ? AND number <= ? ORDER BY number LIMIT ?",  # noqa: S608 - names
                (number, last, _PAGE_ROWS),
            ).fetchall():
                number = rows[-1][0]
                with transaction(copy):
                    copy.executemany(f"INSERT INTO records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608 - names
            with transaction(copy):
                whole = meta._replace(role="archive", head=last, head_hash=digest)
                write_meta(copy, whole)
            for _ in walk(copy, whole, whole.base, path):
                pass
        _sync(partial)
        os.replace(partial, target)
        sync_folder(target.parent)
    finally:
        remove(partial)
    return target


def _refuse(target: Path) -> None:
    if target.exists():
        raise JournalError(f"{str(target)!r} is there already and is not overwritten; name another file, or delete it")
    if not target.parent.is_dir():
        raise JournalError(f"there is no folder {str(target.parent)!r}; create it, or correct the path")


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
