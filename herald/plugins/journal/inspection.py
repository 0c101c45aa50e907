"""Looking into a journal, which may be in use: its records, filtered, and whether every one is as it was written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from herald.errors import JournalError
from herald.model import Record
from herald.plugins.journal._layout import (
    LAYOUT,
    Meta,
    connect,
    hash_at,
    layout_of,
    migrate,
    read_meta,
    snapshots,
    walk,
)
from herald.plugins.journal._rows import KINDS, columns, decode, link
from herald.plugins.journal._troubles import TROUBLES, damaged, explain, missing

__all__ = ["JournalFile", "Verified", "verify"]

_MOST = 50
"""Problems that are listed; a file with more is beyond a list."""
_PAGE_ROWS = 2_000


class JournalFile:
    """A journal as it was when it was opened; whoever writes it goes on writing. Closes at the end of a ``with``.

    Close it soon: until then SQLite cannot empty its log.

    Attributes:
        path: The file.
        meta: What the journal said of itself when it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Open *path*.

        Raises:
            JournalError: It is no journal, is damaged, or is of a newer Herald.
        """
        self.path = path.resolve()
        try:
            self._connection = _opened(self.path)
        except TROUBLES as error:
            raise explain(error, self.path) from error
        try:
            self._connection.execute("BEGIN")  # one moment of it, whatever is written or moved away meanwhile
            self.meta: Meta = read_meta(self._connection, self.path)
        except TROUBLES as error:
            self.close()
            raise explain(error, self.path) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> JournalFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._connection.close()

    def read(self, after: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) of every record behind *after*, else of all that are here; see `SqliteJournal.read`."""
        start = self.meta.base if after is None else max(after, self.meta.base)
        for number, body in walk(self._connection, self.meta, start, self.path):
            yield number, decode(body, number, self.path)

    def find(
        self,
        *,
        kinds: tuple[str, ...] = (),
        order: str | None = None,
        since: int | None = None,
        limit: int | None = None,
    ) -> list[tuple[int, Record]]:
        """Return the last records that fit, oldest first; each is checked against the one before it.

        Args:
            kinds: Names of kinds, such as ``Intended``; all where there are none.
            order: Id of an order, or its name at the broker.
            since: Nanoseconds UTC.
            limit: Most records; None for all.

        Raises:
            ValueError: There is no such kind.
            JournalError: A record that fits is not what was written.
        """
        where, values = self._where(kinds, order, since)
        query = (
            "SELECT r.number, r.body, r.hash, p.hash FROM records r LEFT JOIN records p ON p.number = r.number - 1 "  # noqa: S608 - conditions hold no values
            f"WHERE {where} ORDER BY r.number DESC LIMIT ?"
        )
        try:
            rows = self._connection.execute(query, (self.meta.head, *values, -1 if limit is None else limit)).fetchall()
        except TROUBLES as error:
            raise explain(error, self.path) from error
        found = []
        for number, body, stored, previous in reversed(rows):
            before = self.meta.base_hash if number == self.meta.base + 1 else previous
            if type(body) is not bytes or type(before) is not bytes or link(before, number, body) != stored:
                raise damaged(self.path, f"record {number} is not what was written")
            found.append((number, decode(body, number, self.path)))
        return found

    @staticmethod
    def _where(kinds: tuple[str, ...], order: str | None, since: int | None) -> tuple[str, list[Any]]:
        known = tuple(KINDS.values())
        for kind in kinds:
            if kind not in known:
                raise ValueError(f"there is no kind of record {kind!r}; there are {', '.join(known)}")
        conditions, values = ["r.number <= ?"], list[Any]()
        if kinds:
            conditions.append(f"r.kind IN ({', '.join('?' * len(kinds))})")
            values += kinds
        if order is not None:
            conditions.append("(r.order_id = ? OR r.client_tag = ?)")
            values += [order, order]
        if since is not None:
            conditions.append("r.time >= ?")
            values.append(since)
        return " AND ".join(conditions), values


def _opened(path: Path) -> sqlite3.Connection:
    """Open *path* for reading; one of an older layout as an up-to-date copy in memory."""
    connection = connect(path, "ro")
    try:
        if layout_of(connection, path) == LAYOUT:
            return connection
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.backup(copy)
        migrate(copy, path)
    except BaseException:
        connection.close()
        raise
    connection.close()
    return copy


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal holds, and what is wrong with it.

    Attributes:
        path: The file.
        id: Of the journal; empty where it cannot be told.
        role: ``journal`` or ``archive``.
        first: Number of the first record here.
        last: Number of the last.
        count: Records here.
        snapshots: Whole snapshots.
        head_hash: Hash of the last record, hex; who notes it elsewhere can tell later that nothing before it was changed.
        problems: What is wrong, one line each, in the order of the file; empty where nothing is.
    """

    path: str
    id: str = ""
    role: str = "journal"
    first: int = 0
    last: int = 0
    count: int = 0
    snapshots: int = 0
    head_hash: str = ""
    problems: tuple[str, ...] = ()


def verify(path: Path, expected: tuple[int, str] | None = None) -> Verified:
    """Read a whole journal, which may be in use, and check every record, hash, column, snapshot and index.

    Every edited, removed, added or moved record is found and named. The hashes hold no secret: whoever computes all of
    them anew from the edited record on is only found by a head that was noted elsewhere before.

    Args:
        path: The file.
        expected: (number, hash in hex) of a record, as it was noted before.

    Raises:
        JournalError: It cannot be opened, or is no journal.
    """
    path = path.resolve()
    try:
        with closing(_opened(path)) as connection:
            connection.execute("BEGIN")  # one moment of it, however long it takes
            return _verified(connection, path, expected)
    except TROUBLES as error:
        failure = explain(error, path)
        if "is damaged" not in str(failure):
            raise failure from error
        return Verified(path=str(path), problems=(" ".join(str(error).split()),))


def _verified(connection: sqlite3.Connection, path: Path, expected: tuple[int, str] | None) -> Verified:
    problems: list[str] = []
    try:
        meta = read_meta(connection, path)
    except JournalError as error:
        problems.append(str(error).partition("is damaged: ")[2].partition("; restore")[0] or str(error))
        row = connection.execute("SELECT id, role, created, base, base_hash, head, head_hash FROM meta").fetchone()
        if row is None or [str, str, int, int, bytes, int, bytes] != [type(value) for value in row]:
            return Verified(path=str(path), problems=tuple(problems))
        meta = Meta(*row)
    found = connection.execute("PRAGMA integrity_check(10)").fetchall()
    problems += [f"the tables do not fit together: {text}" for (text,) in found if text != "ok"]
    count, digest = _check_records(connection, meta, path, problems)
    if expected is not None and _hex(hash_at(connection, meta, expected[0])) != expected[1].lower():
        problems.append(f"record {expected[0]} is not the one whose hash was noted")
    whole = 0
    for one in snapshots(connection):
        if one.seal() == one.stored_seal and hash_at(connection, meta, one.number) == one.hash:
            whole += 1
        else:
            problems.append(f"the snapshot of record {one.number} is not what was written")
    return Verified(
        path=str(path),
        id=meta.id,
        role=meta.role,
        first=min(meta.base + 1, meta.head),
        last=meta.head,
        count=count,
        snapshots=whole,
        head_hash=digest.hex(),
        problems=_shortened(problems),
    )


def _check_records(connection: sqlite3.Connection, meta: Meta, path: Path, problems: list[str]) -> tuple[int, bytes]:
    """Add what is wrong with the records to *problems*; return their count and the last hash."""
    previous, number, count = meta.base_hash, meta.base, 0
    while rows := connection.execute(
        "SELECT number, body, hash, kind, time, order_id, client_tag FROM records WHERE number > ? ORDER BY number LIMIT ?",
        (number, _PAGE_ROWS),
    ).fetchall():
        for found, body, stored, *cells in rows:
            if found != number + 1:
                problems.append(missing(number + 1, found - 1))
            elif type(body) is not bytes or link(previous, found, body) != stored:
                problems.append(f"record {found} is not what was written, or not in its place")
            elif tuple(cells) != _columns(body, found, path, problems):
                problems.append(f"record {found} is listed under what it does not say")
            number, count = found, count + 1
            previous = stored if type(stored) is bytes else b""
    if (number, previous) != (meta.head, meta.head_hash):
        problems.append(f"the last record is {number} and should be {meta.head}, of the hash that was noted at its commit")
    return count, previous


def _columns(body: bytes, number: int, path: Path, problems: list[str]) -> tuple[Any, ...] | None:
    try:
        return tuple(columns(decode(body, number, path)))
    except JournalError as error:
        problems.append(str(error))
        return None


def _hex(digest: bytes | None) -> str:
    return "" if digest is None else digest.hex()


def _shortened(problems: list[str]) -> tuple[str, ...]:
    more = len(problems) - _MOST
    return tuple(problems if more <= 0 else [*problems[:_MOST], f"and {more} more"])
