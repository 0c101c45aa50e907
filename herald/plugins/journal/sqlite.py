"""A journal in one SQLite file: numbered records in a chain of hashes, kept by whole commits."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from herald.components import Services, Settings
from herald.errors import JournalError
from herald.model import Alert, Intended, ModifyIntended, Record, RunBegan
from herald.plugins.journal._layout import (
    LAYOUT,
    Meta,
    Snapshot,
    connect,
    create,
    hash_at,
    layout_of,
    migrate,
    read_meta,
    snapshots,
    transaction,
    walk,
    write_meta,
    write_snapshot,
)
from herald.plugins.journal._lock import WriterLock
from herald.plugins.journal._reserve import Reserve
from herald.plugins.journal._rows import columns, decode, encode, link
from herald.plugins.journal._troubles import TROUBLES, damaged, explain, is_full, is_io
from herald.plugins.journal._wal import unfinished
from herald.plugins.journal.copies import archive, copy_database

__all__ = ["JournalSettings", "SqliteJournal"]

_KEPT_SNAPSHOTS = 3
"""The newest counts; those before it are there in case it is damaged."""
_CHECKPOINT_PAGES = 256
"""Pages of the log after which they go to their places: few enough that a full disk still has room for them."""
_SHORT_CHECKPOINT_PAGES = 16
_TAIL = 200
"""Records at the end that are checked when a file is opened; the others are when they are read."""
_CHUNK = 10_000
_INSERT = "INSERT INTO records (number, kind, time, order_id, client_tag, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"


class JournalSettings(Settings):
    """Settings of `SqliteJournal`."""

    file: str = Field(default="journal.sqlite", min_length=1)
    """The file; relative to the state folder of ``[live]``. SQLite's log does not work over a network: name a local disk."""
    synchronous: Literal["full", "normal"] = "full"
    """``full``: a durable record survives a loss of power. ``normal``: the end of the process, but not always that."""
    reserve_bytes: int = Field(default=1_048_576, ge=0, le=1_073_741_824)
    """Room on the disk that is set aside, so that exits are still recorded when it is full; 0 for none."""


class SqliteJournal:
    """Keeps records in a SQLite file, which is opened when it is first used.

    Every commit is whole or not at all. After one has failed the handle is given up: the file is opened anew, what the
    failed commit may have left is removed, and the last record must be the one that was acknowledged last. On a full disk
    a reserve is set free, from which everything is kept that does not add to a position.

    One thread at a time may use it, and closes it only when no other is inside.

    Attributes:
        path: The file.
    """

    def __init__(self, settings: JournalSettings, services: Services) -> None:
        """Name the file; nothing is touched yet."""
        self.path = Path(services.base, services.state, settings.file).resolve()
        self._settings = settings
        self._clock = services.clock
        self._emit = services.emit
        self._lock = WriterLock(self.path, services.clock)
        self._reserve = Reserve(self.path, settings.reserve_bytes)
        self._connection: sqlite3.Connection | None = None
        self._meta: Meta | None = None
        self._is_closed = False
        self._is_short = False
        self._is_soft = False
        self._level = ""

    @property
    def id(self) -> str:
        """Return 32 hexadecimal digits, made when the file was; a backup and a restored file have the same."""
        return self._ready()[1].id

    @property
    def head(self) -> tuple[int, str]:
        """Return (number, hash) of the last record; whoever notes it elsewhere can tell later that nothing was changed."""
        meta = self._ready()[1]
        return meta.head, meta.head_hash.hex()

    @property
    def first(self) -> int:
        """Return the number of the first record that is here, or will be: 1, unless the journal was compacted."""
        return self._ready()[1].base + 1

    @property
    def is_short(self) -> bool:
        """Return whether the disk is full and only what reduces positions is kept."""
        return self._is_short

    # --- writing ----------------------------------------------------------------------------------

    def append(self, records: Sequence[Record], *, durable: bool = True) -> int:
        """Add *records* with one commit; return the number of the last of the journal.

        Args:
            records: In order; all are kept or none.
            durable: Everything appended so far survives a loss of power when this returns. Otherwise it survives the
                end of this process, however it comes, and a loss of power once a durable one follows.

        Raises:
            JournalError: They cannot be kept; none of them counts.
        """
        batch = tuple(records)
        _, meta = self._ready()
        if self._is_short and not _is_safe(batch):
            self._end_shortness()
        try:
            rows, after = self._rows(batch, meta)
        except ValueError as error:
            raise JournalError(f"nothing of this was kept in journal {str(self.path)!r}: {error}") from error
        try:
            return self._keep(rows, after, durable)
        except TROUBLES as error:
            was_full = self._was_full(error)
            failure = explain(error, self.path)
            failure.__cause__ = error
            self._give_up()
        if was_full and _is_safe(batch):
            return self._keep_from_reserve(rows, after, durable, failure)
        with contextlib.suppress(JournalError):  # the next use says what is wrong with it
            self._ready()
        raise failure

    def snapshot(self, state: bytes) -> None:
        """Keep *state* as what all records so far amount to.

        Raises:
            JournalError: It cannot be kept.
        """
        connection, meta = self._ready()
        if self._is_short:
            self._end_shortness()
        try:
            self._synchronize(True)
            with transaction(connection):
                write_snapshot(connection, Snapshot(meta.head, self._clock.now(), meta.head_hash, bytes(state)))
                connection.execute(
                    "DELETE FROM snapshots WHERE number NOT IN (SELECT number FROM snapshots ORDER BY number DESC LIMIT ?)",
                    (_KEPT_SNAPSHOTS,),
                )
            self._is_soft = False
        except TROUBLES as error:
            self._give_up()
            raise explain(error, self.path) from error

    def compact(self, keep_after: int | None = None, *, keep_archive: bool = True) -> Path | None:
        """Move the records up to a number out of the file; reading then begins behind them, the chain is still checked.

        Args:
            keep_after: The last record to move; the last that the newest snapshot covers where it is None.
            keep_archive: Put them into a file beside, ``NAME.FIRST-LAST``, which can be shown and verified like a journal;
                else they are gone.

        Returns:
            The archive; None where nothing was moved or it was not wanted.

        Raises:
            ValueError: *keep_after* is beyond the newest snapshot, without which nobody would know what they amount to.
            JournalError: It cannot be done; what was not moved is where it was.
        """
        connection, meta = self._ready()
        latest = self.latest()
        covered = 0 if latest is None else latest[0]
        last = covered if keep_after is None else keep_after
        if not 0 <= last <= covered:
            raise ValueError(f"keep_after {last!r} must be from 0 to {covered}, the last record that a snapshot covers")
        if last <= meta.base:
            return None
        try:
            target = archive(connection, meta, last, self.path) if keep_archive else None
            self._synchronize(True)
            while meta.base < last:
                base = min(meta.base + _CHUNK, last)
                digest = hash_at(connection, meta, base)
                if digest is None:
                    raise damaged(self.path, f"record {base} is missing")
                meta = meta._replace(base=base, base_hash=digest)
                with transaction(connection):
                    connection.execute("DELETE FROM records WHERE number <= ?", (base,))
                    # A snapshot of before could not be followed up any more.
                    connection.execute("DELETE FROM snapshots WHERE number < ?", (base,))
                    write_meta(connection, meta)
                self._meta, self._is_soft = meta, False
        except TROUBLES as error:
            self._give_up()
            raise explain(error, self.path) from error
        return target

    def close(self) -> None:
        """Write what is open and close; a second call does nothing.

        Raises:
            JournalError: The last records could not be written through to the disk; it is closed all the same.
        """
        if self._is_closed:
            return
        try:
            if self._is_soft:
                self.append((), durable=True)
        finally:
            self._is_closed = True
            self._give_up()
            if self._is_short:
                self._reserve.fill()  # closing gave the room of the log back: keep it for the next run, if it is enough
            self._lock.release()

    # --- reading ----------------------------------------------------------------------------------

    def read(self, after: int = 0) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) of every record behind number *after*, in order; each is checked against its hash.

        Raises:
            ValueError: *after* is negative.
            JournalError: It cannot be read, is damaged there, or those records were moved to an archive.
        """
        if after < 0:
            raise ValueError(f"after {after!r} is no number of a record; 0 reads all")
        connection, meta = self._ready()
        if after < meta.base:
            raise JournalError(
                f"records {after + 1} to {meta.base} are not in journal {str(self.path)!r} any more: it was compacted; "
                f"read from {meta.base}, or look into the archives beside it"
            )
        return ((number, decode(body, number, self.path)) for number, body in walk(connection, meta, after, self.path))

    def latest(self) -> tuple[int, bytes] | None:
        """Return (number of the last record it covers, state) of the newest snapshot that is whole, or None.

        Raises:
            JournalError: None is whole, and the records that it stood for are not here any more.
        """
        connection, meta = self._ready()
        bad = 0
        try:
            for found in snapshots(connection):
                fits = found.seal() == found.stored_seal and meta.base <= found.number <= meta.head
                if fits and hash_at(connection, meta, found.number) == found.hash:
                    if bad:
                        self._tell("journal_damaged", f"{bad} newer snapshot(s) of {str(self.path)!r} are damaged and not used")
                    return found.number, found.state
                bad += 1
        except TROUBLES as error:
            raise explain(error, self.path) from error
        if meta.base:
            raise damaged(self.path, f"it has no whole snapshot, and the records up to {meta.base} were moved away")
        if bad:
            self._tell("journal_damaged", f"every snapshot of {str(self.path)!r} is damaged; all records are read")
        return None

    # --- opening, failing, opening again ----------------------------------------------------------

    def _ready(self) -> tuple[sqlite3.Connection, Meta]:
        """Return the handle and where the journal stands; open it where it is not open, or was given up."""
        if self._is_closed:
            raise JournalError(f"journal {str(self.path)!r} is closed; open it again")
        if self._connection is not None and self._meta is not None:
            return self._connection, self._meta
        try:
            try:
                return self._open()
            except TROUBLES as error:
                # A start on a disk without a byte left: even to read, SQLite wants a little room beside the file.
                self._give_up()
                if not (self._was_full(error) and self._reserve.release()):
                    raise
                self._is_short = True
                opened = self._open()
                self._tell_full()
                return opened
        except BaseException as error:
            self._give_up()
            self._release_unused()
            if isinstance(error, TROUBLES):
                raise explain(error, self.path) from error
            raise

    def _release_unused(self) -> None:
        if self._meta is None:  # it never was open: nobody waits for a close that gives the lock back
            self._lock.release()

    def _open(self) -> tuple[sqlite3.Connection, Meta]:
        expected = self._meta
        self._take_place(is_first=expected is None)
        torn = unfinished(self.path) if expected is None else (0, 0)
        connection = self._connection = connect(self.path, "rw")
        self._level = ""
        pages = _SHORT_CHECKPOINT_PAGES if self._is_short else _CHECKPOINT_PAGES
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise JournalError(
                f"the disk of journal {str(self.path)!r} cannot keep SQLite's log beside it (a network share?); "
                "name a file on a disk of this machine"
            )
        connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: an fsync that reaches the disk
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        self._synchronize(True)
        if layout_of(connection, self.path) < LAYOUT:
            self._migrate(connection)
        meta = read_meta(connection, self.path)
        if meta.role != "journal":
            raise JournalError(f"{str(self.path)!r} is an archive of records, not a journal; name the journal itself")
        self._write_through(connection, is_first=expected is None, torn=torn, head=meta.head)
        if expected is None:
            for _ in walk(connection, meta, max(meta.base, meta.head - _TAIL), self.path):
                pass
            if not self._is_short and not self._reserve.fill():
                self._is_short = True
                self._tell("journal_disk_full", f"the disk of {str(self.path)!r} has no room for the reserve: {_ONLY_EXITS}")
        else:
            meta = self._without_ghosts(connection, meta, expected)
        self._meta = meta
        return connection, meta

    def _take_place(self, *, is_first: bool) -> None:
        """Make sure that the file is there and nobody else writes it."""
        folder = self.path.parent
        if not folder.is_dir():
            if not folder.parent.is_dir():
                raise JournalError(f"there is no folder {str(folder)!r} for the journal; create it, or correct [journal] file")
            folder.mkdir(exist_ok=True)
        self._lock.acquire()
        if self.path.exists():
            return
        log = self.path.with_name(self.path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise JournalError(
                f"journal {str(self.path)!r} is gone, but its log {log.name!r} is there; put the file back, "
                "restore a backup, or delete the log to begin anew"
            )
        if not is_first:
            raise JournalError(f"journal {str(self.path)!r} was removed while it was in use; put it back, or restore a backup")
        create(self.path, None, self._clock.now())

    def _migrate(self, connection: sqlite3.Connection) -> None:
        kept = self.path.with_name(f"{self.path.name}.layout-{layout_of(connection, self.path)}")
        if not kept.exists():
            copy_database(connection, kept)
        migrate(connection, self.path)

    def _write_through(self, connection: sqlite3.Connection, *, is_first: bool, torn: tuple[int, int], head: int) -> None:
        """Bring the log to its place and report what a crash cut off."""
        if self._is_short and self._growth(connection) > self._settings.reserve_bytes // 2:
            return  # there is room for a few more commits in the log, or for this, not for both
        try:
            _, taken, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if not (self._is_short or is_full(error)):
                raise
            return  # the log itself is whole, and there is no room to move it
        if not is_first and taken != moved and not self._is_short:
            # After a failed write to the disk the system may show pages that are not on it. Only pages that were written
            # again, to their places, are.
            raise JournalError(f"journal {str(self.path)!r} cannot be written through while another program reads it; try again")
        frames, rest = torn
        if frames > max(taken, 0) or rest:
            self._tell(
                "journal_recovered",
                f"the last commit to {str(self.path)!r} was cut off by a crash and dropped: "
                f"{frames - max(taken, 0)} pages and {rest} bytes; the last whole record is {head}",
            )

    def _growth(self, connection: sqlite3.Connection) -> int:
        """Return by how much the file grows when the log is brought to its place, bytes."""
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size - self.path.stat().st_size)

    def _without_ghosts(self, connection: sqlite3.Connection, meta: Meta, expected: Meta) -> Meta:
        """Remove what a failed commit left, after making sure that everything that was acknowledged is there."""
        if meta.id != expected.id or hash_at(connection, meta, expected.head) != expected.head_hash:
            raise damaged(self.path, f"record {expected.head}, which was acknowledged, is not there any more")
        if meta.head > expected.head:
            meta = meta._replace(head=expected.head, head_hash=expected.head_hash)
            with transaction(connection):
                connection.execute("DELETE FROM records WHERE number > ?", (expected.head,))
                write_meta(connection, meta)
        return meta

    def _give_up(self) -> None:
        """Close the handle; what it was doing is unknown from here on."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*TROUBLES):
                connection.close()

    # --- one commit -------------------------------------------------------------------------------

    def _rows(self, batch: Sequence[Record], meta: Meta) -> tuple[list[tuple[Any, ...]], Meta]:
        """Return the rows of *batch* and where the journal will stand."""
        number, digest = meta.head, meta.head_hash
        rows = []
        for record in batch:
            number += 1
            body = encode(record)
            digest = link(digest, number, body)
            found = columns(record)
            if not -(2**63) <= found.time < 2**63:
                raise ValueError(f"{found.kind} has time {found.time}, which is no nanosecond since 1970")
            rows.append((number, *found, body, digest))
        return rows, meta._replace(head=number, head_hash=digest)

    def _keep(self, rows: list[tuple[Any, ...]], after: Meta, durable: bool) -> int:
        connection, _ = self._ready()
        if not rows and not (durable and self._is_soft):
            return after.head
        self._synchronize(durable)
        with transaction(connection):
            connection.executemany(_INSERT, rows)
            # Even without rows: only a commit that writes something reaches the disk, and all before it with it.
            write_meta(connection, after)
        self._meta = after
        self._is_soft = not durable
        return after.head

    def _synchronize(self, durable: bool) -> None:
        level = "FULL" if durable and self._settings.synchronous == "full" else "NORMAL"
        if level != self._level and self._connection is not None:
            self._connection.execute(f"PRAGMA synchronous = {level}")
            self._level = level

    # --- a full disk ------------------------------------------------------------------------------

    def _keep_from_reserve(self, rows: list[tuple[Any, ...]], after: Meta, durable: bool, failure: JournalError) -> int:
        """Set the reserve free and try once more."""
        was_short, self._is_short = self._is_short, True
        if not self._reserve.release() and was_short:
            raise failure
        try:
            number = self._keep(rows, after, durable)
        except TROUBLES as error:
            self._give_up()
            raise explain(error, self.path) from error
        if not was_short:
            self._tell_full()
        return number

    def _end_shortness(self) -> None:
        """Set the reserve aside again, or refuse."""
        if not self._reserve.fill():
            raise JournalError(f"the disk of journal {str(self.path)!r} is full: {_ONLY_EXITS}; make room on it")
        self._is_short = False
        if self._connection is not None:
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        self._tell("journal_disk_free", f"the disk of {str(self.path)!r} has room again, the reserve is set aside")

    def _was_full(self, error: BaseException) -> bool:
        return is_full(error) or (is_io(error) and self._reserve.is_disk_full())

    def _tell_full(self) -> None:
        self._tell("journal_disk_full", f"the disk of {str(self.path)!r} is full, the reserve is in use: {_ONLY_EXITS}")

    def _tell(self, code: str, text: str) -> None:
        self._emit(Alert(self._clock.now(), code, text))


_ONLY_EXITS = "only exits, cancels and what comes of them are kept until there is room"


def _is_safe(batch: Sequence[Record]) -> bool:
    """Return whether nothing in *batch* begins something or adds to a position."""
    return not any(
        isinstance(record, RunBegan) or (isinstance(record, Intended | ModifyIntended) and not record.request.reduce_only)
        for record in batch
    )
