"""The file: its tables, its one line about itself, its versions, and how it is opened and walked through."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from herald.errors import JournalError
from herald.plugins.journal._rows import chain_start, columns, decode, link
from herald.plugins.journal._troubles import TROUBLES, damaged, explain, missing

__all__ = [
    "LAYOUT",
    "Meta",
    "Snapshot",
    "connect",
    "create",
    "hash_at",
    "layout_of",
    "migrate",
    "read_meta",
    "snapshots",
    "sync_folder",
    "transaction",
    "walk",
    "write_meta",
    "write_snapshot",
]

LAYOUT = 2
"""Version of the tables; a file of an older one is brought up to date when a run opens it."""
_APPLICATION = 0x4852_4C4A  # "HRLJ", in the header of the file
_HEADER = b"SQLite format 3\0"
_PAGE_ROWS = 2_000
_BUSY_SECONDS = 2.0
"""How long another program may hold the file; readers of Herald's own never do."""

_TABLES = """
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, role TEXT NOT NULL, created INTEGER NOT NULL,
    base INTEGER NOT NULL, base_hash BLOB NOT NULL, head INTEGER NOT NULL, head_hash BLOB NOT NULL, seal BLOB NOT NULL
);
CREATE TABLE records (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, time INTEGER NOT NULL, order_id TEXT, client_tag TEXT,
    body BLOB NOT NULL, hash BLOB NOT NULL
);
CREATE TABLE snapshots (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL, hash BLOB NOT NULL, state BLOB NOT NULL, seal BLOB NOT NULL
);
"""
_INDEXES = """
CREATE INDEX records_by_kind ON records (kind);
CREATE INDEX records_by_order ON records (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX records_by_tag ON records (client_tag) WHERE client_tag IS NOT NULL;
"""


class Meta(NamedTuple):
    """What a journal says of itself.

    Attributes:
        id: Of the journal.
        role: ``journal``, or ``archive`` for records that were moved out of one.
        created: Nanoseconds UTC.
        base: Number of the last record that is not here any more; 0 where all are.
        base_hash: Its hash.
        head: Number of the last record.
        head_hash: Its hash.
    """

    id: str
    role: str
    created: int
    base: int
    base_hash: bytes
    head: int
    head_hash: bytes

    def seal(self) -> bytes:
        """Return what tells that none of this was changed by accident."""
        text = f"{self.id}\0{self.role}\0{self.created}\0{self.base}\0{self.head}\0".encode()
        return hashlib.blake2b(text + self.base_hash + self.head_hash, digest_size=16, person=b"herald-meta").digest()


class Snapshot(NamedTuple):
    """A snapshot as it is stored.

    Attributes:
        number: The last record it covers.
        time: When it was made, nanoseconds UTC.
        hash: Of that record.
        state: What the records amount to.
        stored_seal: As it stands in the file; equals `seal` unless the file is damaged.
    """

    number: int
    time: int
    hash: bytes
    state: bytes
    stored_seal: bytes = b""

    def seal(self) -> bytes:
        """Return what tells that none of this was changed by accident."""
        head = f"{self.number}\0{self.time}\0".encode()
        return hashlib.blake2b(head + self.hash + self.state, digest_size=16, person=b"herald-snapshot").digest()


# --- opening --------------------------------------------------------------------------------------


def connect(path: Path, mode: Literal["rw", "ro", "rwc"]) -> sqlite3.Connection:
    """Open *path*, an absolute path, and make sure it is a SQLite file of Herald's.

    Args:
        path: The file.
        mode: ``rw`` and ``ro`` never make a file; ``rwc`` does, and looks at nothing.

    Raises:
        JournalError: It is empty, no journal, or not there.
        sqlite3.Error: It cannot be opened.
    """
    if mode != "rwc":
        _look(path)
    connection = _open(path, f"?mode={mode}")
    try:
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        try:
            found = connection.execute("PRAGMA application_id").fetchone()[0]
        except sqlite3.OperationalError:
            # A folder that cannot be written lets nobody make the files that readers of a WAL file share; where there
            # is no WAL, nobody writes, and the file can be read without them.
            wal = path.with_name(path.name + "-wal")
            if mode != "ro" or (wal.exists() and wal.stat().st_size > 0):
                raise
            connection.close()
            connection = _open(path, "?mode=ro&immutable=1")
            found = connection.execute("PRAGMA application_id").fetchone()[0]
        if mode != "rwc" and found != _APPLICATION:
            raise JournalError(f"{str(path)!r} is a SQLite file but no journal of Herald's; name another file")
    except BaseException:
        connection.close()
        raise
    return connection


def _open(path: Path, query: str) -> sqlite3.Connection:
    return sqlite3.connect(path.as_uri() + query, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _look(path: Path) -> None:
    name = f"journal {str(path)!r}"
    try:
        with open(path, "rb") as file:
            head = file.read(len(_HEADER))
    except FileNotFoundError:
        raise JournalError(f"{name} does not exist; correct the path") from None
    except IsADirectoryError:
        raise JournalError(f"{name} is a folder; name a file in it") from None
    if not head:
        raise JournalError(f"{name} is empty, which a journal never is; restore a backup, or delete it to begin anew")
    if head != _HEADER:
        raise JournalError(f"{name} is no journal: it is not a SQLite file; name another file, or restore a backup")


def create(path: Path, meta: Meta | None, created: int) -> Meta:
    """Make a new file without records at *path*, where there is none; nobody ever sees half of it.

    Args:
        path: The file.
        meta: What it says of itself; None for a journal with an id of its own.
        created: Nanoseconds UTC, for a new journal.
    """
    partial = path.with_name(path.name + ".new")
    remove(partial)
    try:
        with closing(connect(partial, "rwc")) as connection:
            # The journal mode of the partial file leaves no second file beside it, so that renaming moves all there is.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            if meta is None:
                # The id must never come twice, so it cannot come from the run's seeded numbers: SQLite draws from the system.
                name = str(connection.execute("SELECT lower(hex(randomblob(16)))").fetchone()[0])
                meta = Meta(name, "journal", created, 0, chain_start(name), 0, chain_start(name))
            with transaction(connection):
                for statement in (_TABLES + _INDEXES).split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {LAYOUT}")
                write_meta(connection, meta)
    except BaseException:
        remove(partial)  # on a full disk it would take room from others
        raise
    os.replace(partial, path)
    sync_folder(path.parent)
    return meta


def remove(path: Path) -> None:
    """Delete a database of ours and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put the new name of a file on disk as well, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep everything that is written inside, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# --- versions -------------------------------------------------------------------------------------


def layout_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables.

    Raises:
        JournalError: They are of a newer Herald.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if not 1 <= found <= LAYOUT:
        raise JournalError(
            f"journal {str(path)!r} was written by a newer Herald: it has layout {found}, this one knows 1 to {LAYOUT}; "
            "update Herald, or restore a backup of before"
        )
    return found


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables up to date, in one transaction; records and hashes stay what they are."""
    found = layout_of(connection, path)
    with transaction(connection):
        for step in _STEPS[found - 1 :]:
            step(connection, path)
        connection.execute(f"PRAGMA user_version = {LAYOUT}")


def _find_by_order(connection: sqlite3.Connection, path: Path) -> None:
    """Layout 1 knew records by number and kind only."""
    for column in ("time INTEGER NOT NULL DEFAULT 0", "order_id TEXT", "client_tag TEXT"):
        connection.execute(f"ALTER TABLE records ADD COLUMN {column}")
    number = 0
    while rows := connection.execute(
        "SELECT number, body FROM records WHERE number > ? ORDER BY number LIMIT ?", (number, _PAGE_ROWS)
    ).fetchall():
        found = [(*columns(decode(body, each, path))[1:], each) for each, body in rows]
        connection.executemany("UPDATE records SET time = ?, order_id = ?, client_tag = ? WHERE number = ?", found)
        number = rows[-1][0]
    connection.execute("DROP INDEX IF EXISTS records_by_kind")
    for statement in filter(str.strip, _INDEXES.split(";\n")):
        connection.execute(statement)


_STEPS: tuple[Callable[[sqlite3.Connection, Path], None], ...] = (_find_by_order,)


# --- reading and writing --------------------------------------------------------------------------


def read_meta(connection: sqlite3.Connection, path: Path) -> Meta:
    """Return what the journal says of itself.

    Raises:
        JournalError: It was changed, or the last record is not the one it names.
    """
    if connection.in_transaction:
        return _read_meta(connection, path)
    connection.execute("BEGIN")  # of one moment: somebody may be writing
    try:
        return _read_meta(connection, path)
    finally:
        connection.rollback()


def _read_meta(connection: sqlite3.Connection, path: Path) -> Meta:
    names = ", ".join(Meta._fields)
    row = connection.execute(f"SELECT {names}, seal FROM meta").fetchone()  # noqa: S608 - the names stand above
    if row is None:
        raise damaged(path, "what it says of itself is gone")
    *values, seal = row
    kinds = (str, str, int, int, bytes, int, bytes)
    if any(type(value) is not kind for value, kind in zip(values, kinds, strict=True)):
        raise damaged(path, "what it says of itself is not what was written")
    meta = Meta(*values)
    if meta.seal() != seal:
        raise damaged(path, "what it says of itself does not match its checksum")
    first, last = connection.execute("SELECT min(number), max(number) FROM records").fetchone()
    expected = (meta.base + 1, meta.head) if meta.head > meta.base else (None, None)
    if (first, last) != expected:
        there = "none" if last is None else f"{first} to {last}"
        stated = "none" if expected[0] is None else f"{expected[0]} to {expected[1]}"
        raise damaged(path, f"it should hold records {stated} and holds {there}")
    if hash_at(connection, meta, meta.head) != meta.head_hash:
        raise damaged(path, f"its last record, {meta.head}, is not the one it names")
    return meta


def write_meta(connection: sqlite3.Connection, meta: Meta) -> None:
    """Write what the journal says of itself."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", (*meta, meta.seal()))


def hash_at(connection: sqlite3.Connection, meta: Meta, number: int) -> bytes | None:
    """Return the stored hash of record *number*; None where there is none."""
    if number == meta.base:
        return meta.base_hash
    row = connection.execute("SELECT hash FROM records WHERE number = ?", (number,)).fetchone()
    return row[0] if row is not None and type(row[0]) is bytes else None


def walk(connection: sqlite3.Connection, meta: Meta, after: int, path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number, body) of every record behind *after*, each checked against the one before it.

    Raises:
        JournalError: A record is not what was written, or is missing; those before it are right.
    """
    if after > meta.head:
        return
    try:
        previous = hash_at(connection, meta, after)
        if previous is None:
            raise damaged(path, missing(after, after))
        number = after
        while True:
            rows = _page(connection, number)
            for found, body, stored in rows:
                number += 1
                if found != number:
                    raise damaged(path, missing(number, found - 1))
                if type(body) is not bytes or link(previous, number, body) != stored:
                    raise damaged(path, f"record {number} is not what was written")
                previous = stored
                yield number, body
            if len(rows) < _PAGE_ROWS:
                break
    except TROUBLES as error:
        raise explain(error, path) from error
    if number < meta.head:
        raise damaged(path, missing(number + 1, meta.head))


def _page(connection: sqlite3.Connection, number: int) -> list[tuple[int, Any, Any]]:
    # Whole pages, so that no statement is open while the caller writes.
    return connection.execute(
        "SELECT number, body, hash FROM records WHERE number > ? ORDER BY number LIMIT ?", (number, _PAGE_ROWS)
    ).fetchall()


def snapshots(connection: sqlite3.Connection) -> Iterator[Snapshot]:
    """Yield the snapshots, newest first."""
    numbers = connection.execute("SELECT number FROM snapshots ORDER BY number DESC").fetchall()
    for (number,) in numbers:
        row = connection.execute("SELECT number, time, hash, state, seal FROM snapshots WHERE number = ?", (number,)).fetchone()
        if row is not None and [int, int, bytes, bytes, bytes] == [type(value) for value in row]:
            yield Snapshot(*row)
        else:
            yield Snapshot(number, 0, b"", b"")


def write_snapshot(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    """Write *snapshot*, in place of one of the same number."""
    row = (snapshot.number, snapshot.time, snapshot.hash, snapshot.state, snapshot.seal())
    connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)", row)
