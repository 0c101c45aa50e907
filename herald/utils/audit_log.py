"""An append-only log of who did what, chained by keyed hashes, so that whoever changes it later is found out.

One line of JSON a record, the last member its HMAC-SHA256, which covers the record and, through the one before it, all
earlier ones. Without the key nobody can make a line that fits. A chain alone cannot show that its end was cut off:
therefore its head is noted, every so often, in a second file of the same kind, which belongs somewhere else. A log that does
not reach its last note is not gone on with, and where the notes are gone the log itself says so from then on.

Several processes may append to one log; each append is one write under a lock of the system.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from herald.clock import Clock
from herald.errors import AuditError, WaitTimeout
from herald.utils.file_lock import FileLock
from herald.utils.hash_chain import HashChain
from herald.utils.redaction import protect, redact

__all__ = ["AuditLog", "AuditRecord", "Head", "Row", "Verified", "read_audit", "read_audit_key", "segments", "verify_audit"]

_WAIT_SECONDS = 2.0
"""An append takes microseconds; who holds the lock longer hangs."""
_TAIL = 65_536
"""Bytes at the end of a file in which its last two lines are looked for; no record is longer than half of it."""
_LONGEST = 4_000
"""Characters of one field."""
_MAC = b',"mac":"'
_BINARY = getattr(os, "O_BINARY", 0)
TORN = "audit.torn"
CONTINUED = "audit.continued"
UNNOTED = "audit.unnoted"
_UNNOTED = UNNOTED.encode()


class AuditRecord(msgspec.Struct, frozen=True):
    """One line.

    Attributes:
        number: From 1, without a gap.
        time: Nanoseconds UTC.
        who: Person, command, or part of Herald.
        act: What kind of act, such as ``resume`` or ``order.denied``.
        what: What it was done to.
        why: The reason given; may be empty.
        result: ``asked``, ``done``, ``failed: ...`` or what came of it.
    """

    number: int
    time: int
    who: str
    act: str
    what: str
    why: str
    result: str


class Head(msgspec.Struct, frozen=True):
    """How far a log went at one moment.

    Attributes:
        number: Of the note itself, from 1.
        time: Nanoseconds UTC.
        records: Number of the last record of the log.
        head: Its hash, hex.
    """

    number: int
    time: int
    records: int
    head: str


class Verified(msgspec.Struct, frozen=True):
    """What a check found.

    Attributes:
        records: How many records are right, counted from the first that is there.
        first: Number of the first.
        head: Number of the last right one.
        hash: Its hash, hex.
        sealed: Number of the last record that a note elsewhere vouches for; 0 where there is none.
        torn: Writes that a crash cut short; each was noted when the log went on.
        problem: What is wrong, one line; empty where nothing is.
    """

    records: int
    first: int
    head: int
    hash: str
    sealed: int
    torn: int
    problem: str


Row: TypeAlias = tuple[int, str, str, str, str, str]
"""time, who, act, what, why and result of an `AuditRecord`."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AuditRecord).decode
_decode_head = msgspec.json.Decoder(Head).decode


class _ChainFile:
    """Lines of JSON in one file, each chained to the one before it; the caller sees to it that one process writes at a time."""

    def __init__(self, path: Path, chain: HashChain, name: bytes) -> None:
        self.path = path
        self._name = str(path)
        self.chain = chain
        self.number = 0
        self.last = b""  # the body of the last line
        self.hash = self.start = chain.start(name)
        self.size = 0
        self.torn = b""  # the beginning of a line that was never finished
        self.glue = b""  # ends that line, where it has no end
        self._descriptor: int | None = None
        self._inode: tuple[int, int] = (0, 0)

    def catch_up(self) -> None:
        """Find out where the file ends; cheap where nobody else has written.

        Raises:
            AuditError: Its last record is not what was written.
            OSError: It cannot be opened or read.
        """
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            self.close()
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o600)
            found = os.fstat(self._descriptor)
            self.size, self.torn, self.glue = 0, b"", b""
            self._inode = found.st_dev, found.st_ino
            return
        inode = found.st_dev, found.st_ino
        if self._descriptor is not None and inode == self._inode and found.st_size == self.size:
            return
        if os.name != "nt" and stat.S_IMODE(found.st_mode) & 0o077:
            raise AuditError(f"others may read or write {str(self.path)!r}; chmod 600 it, and find out who wrote to it")
        self.close()
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | _BINARY | getattr(os, "O_NOFOLLOW", 0))
        known, self._inode = self.number, inode
        self.read_end()
        if self.size and self.number < known:
            raise AuditError(
                f"{str(self.path)!r} went back from record {known} to {self.number}: its end was cut off; find out by whom"
            )

    def read_end(self) -> None:
        """Learn number and hash of the last record.

        Raises:
            AuditError: It is not what was written.
        """
        with open(self.path, "rb") as file:
            self.size = file.seek(0, os.SEEK_END)
            file.seek(max(self.size - _TAIL, 0))
            tail = file.read(_TAIL)
        whole, _, rest = tail.rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        if self.size > _TAIL:
            lines = lines[1:]  # the first one may have lost its beginning
        self.glue = b"\n" if rest else b""
        lines += [rest] if rest else []  # which may be a whole record that only lacks its end
        torn: list[bytes] = []
        while lines and _parsed(lines[-1]) is None:
            torn.insert(0, lines.pop())
        self.torn = b"\n".join(torn)
        rows = [row for row in map(_parsed, lines) if row is not None]
        if not rows:
            if self.size > _TAIL:
                raise AuditError(f"the end of {str(self.path)!r} cannot be read; herald audit verify says more")
            return
        number, body, mac = rows[-1]
        # Without the record before it the last one cannot be checked; then it is as right as the whole log is.
        try:
            before = bytes.fromhex(rows[-2][2].decode()) if len(rows) > 1 else self.start if number == 1 else None
            is_right = before is None or self.chain.link(before, number, body).hex() == mac.decode()
            self.number, self.hash, self.last = number, bytes.fromhex(mac.decode()), body
        except ValueError:
            is_right = False
        if not is_right:
            raise AuditError(f"record {number} of {str(self.path)!r} is not what was written; herald audit verify says more")

    def line(self, body: bytes) -> bytes:
        """Return the line of the next record, whose JSON is *body*, and count it."""
        self.number += 1
        self.hash = self.chain.link(self.hash, self.number, body)
        return body[:-1] + _MAC + self.hash.hex().encode() + b'"}\n'

    def write(self, data: bytes, *, durable: bool) -> None:
        """Append *data*, whole lines, with one write; call `catch_up` before.

        Raises:
            OSError: It could not be written as a whole; the next `catch_up` finds out what is there.
        """
        descriptor = self._descriptor
        if descriptor is None:
            raise OSError(f"{str(self.path)!r} is not open")
        before, self.size = self.size, -1
        written = os.write(descriptor, data)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} bytes were written")
        if durable:
            os.fsync(descriptor)
        self.size = before + len(data)

    def sync(self) -> None:
        """See to it that what was written survives a loss of power.

        Raises:
            OSError: It may not.
        """
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def forget(self) -> None:
        """Nobody knows how much of the last write is there: let the next `catch_up` find out."""
        self.close()
        self.number, self.hash = 0, self.start

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class AuditLog:
    """Appends to a log; any thread of any process may, one at a time.

    Attributes:
        path: The file.
        trouble: Why the last append failed; empty where it did not.
        seal_trouble: Why the head could not be noted elsewhere; empty where it could.
    """

    def __init__(
        self,
        path: Path,
        key: bytes,
        clock: Clock,
        *,
        heads: Path | None = None,
        seal_seconds: float = 60.0,
        seal_records: int = 1_000,
        rotate_bytes: int = 67_108_864,
    ) -> None:
        """Append to *path*; nothing is touched yet.

        Args:
            path: The file; older ones beside it carry the number of their last record in their names.
            key: At least 16 bytes, 32 are usual.
            clock: Stamps records and waits for other writers.
            heads: File that gets the head; None for none.
            seal_seconds: How long after a record its head is noted at the latest, if `tick` is called.
            seal_records: After how many records it is.
            rotate_bytes: Size at which a new file begins.
        """
        self.path = path
        self.trouble = ""
        self.seal_trouble = ""
        self._clock = clock
        self._mutex = threading.Lock()
        self._lock_path = path.with_name(path.name + ".lock")
        self._file = _ChainFile(path, HashChain.keyed(key), b"herald-audit")
        self._heads = None if heads is None else _ChainFile(heads, HashChain.keyed(key), b"herald-audit-heads")
        self._rotate_bytes = rotate_bytes
        self._seal_seconds = seal_seconds
        self._seal_records = seal_records
        self._sealed = 0
        self._sealed_at = clock.monotonic()
        self._is_known = False
        self._is_new = False

    @property
    def head(self) -> tuple[int, str]:
        """Return (number, hash) of the last record that this object knows of."""
        return self._file.number, self._file.hash.hex()

    def append(self, who: str, act: str, what: str, why: str = "", result: str = "", *, durable: bool = False) -> int:
        """Add one record and return its number; with *durable* it survives a loss of power when this returns.

        Raises:
            AuditError: It could not be kept; what depends on it must not happen.
        """
        return self.extend([(self._clock.now(), who, act, what, why, result)], durable=durable)

    def extend(self, rows: Sequence[Row], *, durable: bool = False) -> int:
        """Add records with one write, all or none of them, and return the number of the last.

        Raises:
            AuditError: They could not be kept.
        """
        with self._mutex:
            try:
                if not self._is_known:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(self._lock_path) as lock:
                    lock.acquire(self._clock, _WAIT_SECONDS)
                    number = self._extend(rows, durable=durable)
                    if self._heads is not None and (self._is_new or number - self._sealed >= self._seal_records):
                        self._seal(self._heads)  # of a new log at once: whoever finds it without notes knows that there were some
                        self._is_new = False
            except (OSError, WaitTimeout) as error:
                self.trouble = f"the audit log {str(self.path)!r} cannot be written: {_said(error)}"
                raise AuditError(f"{self.trouble}; see to its disk and its permissions") from error
            except AuditError as error:
                self.trouble = str(error)
                raise
            self.trouble = ""
            return number

    def tick(self) -> None:
        """Note the head elsewhere where it is time to; what goes wrong stands in `seal_trouble`."""
        if self._heads is None or self._file.number == self._sealed:
            return
        if self._clock.monotonic() - self._sealed_at >= self._seal_seconds:
            self.seal()

    def seal(self) -> None:
        """Note the head elsewhere now; what goes wrong stands in `seal_trouble`."""
        if self._heads is None or not self._is_known:
            return
        with self._mutex:
            try:
                with FileLock(self._lock_path) as lock:
                    lock.acquire(self._clock, _WAIT_SECONDS)
                    self._file.catch_up()
                    self._seal(self._heads)
            except (OSError, WaitTimeout, AuditError) as error:
                self.seal_trouble = f"the head of the audit log cannot be noted: {_said(error)}"

    def close(self) -> None:
        """Note the head and close; may be called twice."""
        if self._file.number > self._sealed:
            self.seal()
        for one in (self._file, self._heads):
            if one is not None:
                one.close()

    # --- inside, under the lock -------------------------------------------------------------------

    def _extend(self, rows: Sequence[Row], *, durable: bool) -> int:
        file = self._file
        file.catch_up()
        unnoted = "" if self._is_known else self._compare()
        self._is_known = True
        if file.size > self._rotate_bytes and not (file.torn or file.glue):
            self._put_aside()
        data = b""
        if not file.size:
            data = self._begin()
            self._is_new = not data
        elif file.torn:
            # A line that was cut off stays, and the next record says so: nothing is ever taken out of the log.
            data = file.glue + self._own(TORN, _digest(file.torn), "a write was cut short", "kept")
        else:
            data = file.glue
        file.torn = file.glue = b""
        if unnoted:
            data += self._own(UNNOTED, unnoted, "no head is noted there", "the notes begin anew")
        try:
            data += b"".join(map(self._line, rows))
            file.write(data, durable=durable)
        except BaseException:
            file.forget()
            raise
        return file.number

    def _compare(self) -> str:
        """Compare the end of the log that is there with the last note; return the name of the notes where they are gone.

        Raises:
            AuditError: The log is not the one whose head was noted, or its end is missing.
        """
        file, heads = self._file, self._heads
        if heads is None or not file.size:
            return ""
        if not heads.path.exists():
            return heads.path.name
        try:
            heads.catch_up()
            note = _decode_head(heads.last) if heads.number else None
        except (OSError, AuditError, msgspec.DecodeError):
            return ""  # to note the next head fails as well, and is told
        if note is None or note.records < file.number or (note.records, note.head) == (file.number, file.hash.hex()):
            return ""
        what = "is another one" if note.records == file.number else f"is not there: the log ends at {file.number}"
        raise AuditError(
            f"record {note.records} of {str(self.path)!r}, which was noted in {heads.path.name!r}, {what}; keep both, find out"
            " who changed them, and begin a new log with a new key"
        )

    def _own(self, act: str, what: str, why: str, result: str) -> bytes:
        return self._line((self._clock.now(), "herald", act, what, why, result))

    def _line(self, row: Row) -> bytes:
        time, *texts = row
        return self._file.line(_encode(AuditRecord(self._file.number + 1, time, *map(_plain, texts))))

    def _begin(self) -> bytes:
        """Go on where the last file ended; refuse to begin a new log where there was one."""
        older = [one for one in segments(self.path) if one != self.path]
        if older:
            last = _ChainFile(older[-1], self._file.chain, b"herald-audit")
            last.read_end()
            self._file.number, self._file.hash = last.number, last.hash
            return self._own(CONTINUED, older[-1].name, "", f"{last.number}:{last.hash.hex()}")
        heads = self._heads
        if self._file.number or (heads is not None and heads.path.exists() and heads.path.stat().st_size):
            raise AuditError(
                f"the audit log {str(self.path)!r} is gone, though there was one; bring it back, or put away what is left of it"
                " and begin anew"
            )
        return b""

    def _put_aside(self) -> None:
        """Begin a new file; where the system does not let the old one be renamed, go on in it."""
        file = self._file
        old = file.path.with_name(f"{file.path.stem}.{file.number:012d}{file.path.suffix}")
        file.close()
        with contextlib.suppress(OSError):
            os.rename(file.path, old)
            file.number = 0
        file.catch_up()

    def _seal(self, heads: _ChainFile) -> None:
        try:
            heads.path.parent.mkdir(parents=True, exist_ok=True)
            heads.catch_up()
            if heads.torn:
                os.truncate(heads.path, heads.size - len(heads.torn) - (not heads.glue))
                heads.close()
                heads.catch_up()
            self._file.sync()  # a note outlives no record
            note = Head(heads.number + 1, self._clock.now(), self._file.number, self._file.hash.hex())
            glue, heads.glue = heads.glue, b""
            heads.write(glue + heads.line(_encode(note)), durable=True)
        except OSError as error:
            heads.forget()
            self.seal_trouble = f"the head of the audit log cannot be noted in {str(heads.path)!r}: {_said(error)}"
        except AuditError as error:
            self.seal_trouble = str(error)
        else:
            self.seal_trouble = ""
            self._sealed = self._file.number
        self._sealed_at = self._clock.monotonic()


def _parsed(line: bytes) -> tuple[int, bytes, bytes] | None:
    """Return (number, body, hash in hex) of a line; None where it is none of ours."""
    number = line[10 : line.find(b",")]
    if line[:10] != b'{"number":' or line[-74:-66] != _MAC or line[-2:] != b'"}' or not number.isdigit() or len(number) > 18:
        return None
    return int(number), line[:-74] + b"}", line[-66:-2]


def _plain(text: str) -> str:
    """Return *text* without secrets, on one line and of bounded length, without what JSON in UTF-8 cannot hold."""
    text = redact(text)
    if text.isascii() and text.isprintable() and len(text) <= _LONGEST:
        return text  # nearly always; what follows costs five times as much
    return " ".join(text.split())[:_LONGEST].encode("utf-8", "replace").decode()


def _digest(fragment: bytes) -> str:
    return f"{len(fragment)} bytes, sha256 {hashlib.sha256(fragment).hexdigest()}"


def _said(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


# --- reading --------------------------------------------------------------------------------------


def segments(path: Path) -> list[Path]:
    """Return the files of the log *path*, oldest first; the last is *path* itself."""
    older = path.parent.glob(f"{path.stem}.{'[0-9]' * 12}{path.suffix}")
    return [*sorted(older), *([path] if path.exists() else [])]


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield (line without its end, whether it has one)."""
    with open(path, "rb") as file:
        for line in file:
            yield (line[:-1], True) if line.endswith(b"\n") else (line, False)


def read_audit(path: Path, left_out: list[str] | None = None) -> Iterator[AuditRecord]:
    """Yield every record of the log *path* that can be read; whether they are right only `verify_audit` tells.

    Args:
        path: The log.
        left_out: Gets file and line of what is no record.

    Raises:
        AuditError: There is no such log.
        OSError: It cannot be read.
    """
    files = segments(path)
    if not files:
        raise AuditError(f"there is no audit log {str(path)!r}; correct the path")
    for one in files:
        for number, (line, _) in enumerate(_lines(one), 1):
            try:
                yield _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                if left_out is not None:
                    left_out.append(f"{one.name}, line {number}")


def verify_audit(path: Path, key: bytes, heads: Path | None = None, expect: tuple[int, str] | None = None) -> Verified:
    """Check every record of the log *path* against the chain, and the chain against what was noted elsewhere.

    Args:
        path: The log.
        key: As it was written with.
        heads: File with the noted heads; None for none.
        expect: A record's number and hash that somebody noted.

    Raises:
        AuditError: There is no such log.
        OSError: It cannot be read.
    """
    files = segments(path)
    if not files and (heads is None or not heads.exists()):
        raise AuditError(f"there is no audit log {str(path)!r}; correct the path")
    chain = HashChain.keyed(key)
    noted, problem = _noted(chain, heads)
    if expect is not None and noted.setdefault(*expect) != expect[1]:
        problem = problem or f"record {expect[0]} was noted with two hashes"
    walk = _Walk(chain, noted)
    for one in files:
        if not walk.problem:
            walk.read(one)
    walk.finish(path.name)
    begun = max((one for one in walk.unnoted if one <= min(noted, default=one)), default=0)
    if begun and not problem and (expect is None or expect[0] < begun):
        what = f"the notes begin anew with record {begun}, so whether something was cut off before it does not show"
        problem = (
            f"{heads.name if heads is not None else path.name}: {what}; if you know why, --expect a head that you noted since"
        )
    return Verified(
        walk.count, walk.first, walk.number, walk.previous.hex(), max(noted, default=0), walk.torn, walk.problem or problem
    )


class _Walk:
    """Goes through the lines of a log, file by file."""

    def __init__(self, chain: HashChain, noted: dict[int, str]) -> None:
        self.chain = chain
        self.noted = dict(noted)
        self.number = self.count = self.first = self.torn = 0
        self.previous = chain.start(b"herald-audit")
        self.fragment: bytes | None = None
        self.unnoted: list[int] = []
        self.problem = ""

    def read(self, path: Path) -> None:
        """Check the lines of *path*; stop at the first that is wrong."""
        link, noted, name = self.chain.link, self.noted, path.name
        for line, is_whole in _lines(path):
            row = _parsed(line) if is_whole else None
            number = self.number + 1
            if (row is None or self.fragment is not None) and not self._tear(line, row, name):
                return
            if row is None:
                continue
            if not self.count and row[0] != 1 and not self._continue(row, name):
                return
            if not self.count:
                self.first = number = row[0]
            found = link(self.previous, number, row[1])
            text = found.hex()
            if row[0] != number or text.encode() != row[2]:
                self.problem = f"{name}: record {number} is not what was written, or was moved, added or left out"
                return
            self.previous, self.number = found, number
            self.count += 1
            if _UNNOTED in row[1] and self._record(row).act == UNNOTED:
                self.unnoted.append(number)
            if number in noted and noted.pop(number) != text:
                self.problem = f"{name}: record {number} is not the one that was noted elsewhere"
                return

    def finish(self, name: str) -> None:
        """Say what is missing at the end."""
        if self.problem:
            return
        if self.fragment is not None:
            self.problem = f"{name}: behind record {self.number} stands a line that was cut off"
            # The next append notes it; as long as nobody has, it may be a crash or the work of somebody.
        late = [number for number in self.noted if number > self.number]
        if late:
            what = f"record {max(late)} was noted elsewhere, and the log ends at {self.number}: its end was cut off"
            self.problem = f"{name}: {what}"
        elif self.noted and not self.problem:
            self.problem = f"{name}: record {min(self.noted)} was noted elsewhere and is not here; older files are missing"

    def _tear(self, line: bytes, row: tuple[int, bytes, bytes] | None, name: str) -> bool:
        """Take a line that is no record, or the record behind such a line; return whether that can be."""
        if row is None:
            self.fragment = line if self.fragment is None else self.fragment + b"\n" + line
            return True
        if self.fragment is None or self._record(row).act != TORN or self._record(row).what != _digest(self.fragment):
            self.problem = f"{name}: behind record {self.number} stands a line that is no record"
            return False
        self.fragment = None
        self.torn += 1
        return True

    def _continue(self, row: tuple[int, bytes, bytes], name: str) -> bool:
        """Begin in the middle: with a record that says, under the key, what came before it."""
        record = self._record(row)
        number, _, last = record.result.partition(":")
        if record.act != CONTINUED or number != str(row[0] - 1):
            self.problem = f"{name}: it begins with record {row[0]}; what is before it is missing"
            return False
        try:
            self.number, self.previous = row[0] - 1, bytes.fromhex(last)
        except ValueError:
            self.previous = b""  # nothing fits to it
        for each in [one for one in self.noted if one < row[0]]:
            del self.noted[each]
        return True

    @staticmethod
    def _record(row: tuple[int, bytes, bytes]) -> AuditRecord:
        try:
            return _decode(row[1])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return AuditRecord(0, 0, "", "", "", "", "")


def _noted(chain: HashChain, heads: Path | None) -> tuple[dict[int, str], str]:
    """Return hash by record number as noted in *heads*, and what is wrong with the notes."""
    if heads is None or not heads.exists():
        return {}, "" if heads is None else f"{heads.name}: there is none, so a cut end would not show"
    noted: dict[int, str] = {}
    previous = chain.start(b"herald-audit-heads")
    for number, (line, is_whole) in enumerate(_lines(heads), 1):
        row = _parsed(line)
        if row is None:
            # A crash while it was written may leave half a note at the end; the one before it counts.
            return noted, "" if noted and not is_whole else f"{heads.name}: line {number} is no note"
        previous = chain.link(previous, number, row[1])
        if row[0] != number or previous.hex().encode() != row[2]:
            return noted, f"{heads.name}: note {number} is not what was written, or was moved, added or left out"
        try:
            note = _decode_head(row[1])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return noted, f"{heads.name}: note {number} is of another Herald"
        if noted.setdefault(note.records, note.head) != note.head:
            return noted, f"{heads.name}: record {note.records} was noted with two hashes"
    return noted, ""


def read_audit_key(path: Path) -> bytes:
    """Return the key in the file *path*: 64 hexadecimal digits, for its owner alone.

    Raises:
        AuditError: It is no key, or others may read it.
        FileNotFoundError: There is none.
        OSError: It cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with open(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        data = file.read(1_000)
    if os.name != "nt" and stat.S_IMODE(found.st_mode) & 0o077:
        raise AuditError(f"others may read the key {str(path)!r}; chmod 600 it, and better begin a new log with a new key")
    try:
        key = bytes.fromhex(data.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise AuditError(f"{str(path)!r} holds no key: 64 hexadecimal digits")
    protect(key.hex())
    return key
