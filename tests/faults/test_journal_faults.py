"""The journal on a bad day: torn files, killed writers, a full disk, a disk that fails; all of it real.

The oracle is independent of the file: record *n* of a test's journal is a function of *n*, so that whatever is read can be
compared with what was written.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from herald.errors import JournalError
from herald.model import Alerted, Record
from herald.plugins.journal import JournalSettings, SqliteJournal, verify
from herald.testing import make_services

TORN = 1_000


def record(number: int) -> Record:
    return Alerted(number, f"code{number}", "text " * (number % 40))


def open_journal(folder: Path) -> SqliteJournal:
    return SqliteJournal(JournalSettings(file="j.sqlite", reserve_bytes=0, synchronous="normal"), make_services(base=str(folder)))


# --- torn writes


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Sequence[tuple[dict[str, bytes], int]]:
    """Return files as kills at three moments leave them, and how many records each holds.

    The first has everything in the log, the second most in the file, the third half and half and a snapshot.
    """
    found = []
    for before, after in ((0, 150), (290, 1), (120, 120)):
        folder = tmp_path_factory.mktemp("crashed")
        journal = open_journal(folder)
        number = 0
        for goal, is_last in ((before, False), (before + after, True)):
            while number < goal:
                count = min(1 + number % 9, goal - number)
                number = journal.append([record(number + each + 1) for each in range(count)], durable=number % 2 == 0)
            if not is_last and number:
                journal.snapshot(b"state" * 50)
                assert journal._connection is not None
                journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        found.append(({name: (folder / name).read_bytes() for name in ("j.sqlite", "j.sqlite-wal")}, number))
        journal.close()
    return found


def damage(data: bytes, draw: random.Random) -> bytes:
    """Return *data* cut off, with bits turned over, or with a stretch of it zero or repeated."""
    kind = draw.choice(("cut", "cut", "bit", "bits", "zeros", "stale"))
    at = draw.randrange(len(data))
    if kind == "cut":
        return data[:at]
    changed = bytearray(data)
    if kind == "zeros":
        changed[at : at + 512] = bytes(len(changed[at : at + 512]))
    elif kind == "stale":  # a sector that was not written still has what another had before
        source = draw.randrange(len(data))
        piece = data[source : source + 512][: len(data) - at]
        changed[at : at + len(piece)] = piece
    else:
        for place in {at} if kind == "bit" else {draw.randrange(len(data)) for _ in range(8)}:
            changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of memory where there is one: a thousand files need no disk that is waited for."""
    disk = Path("/dev/shm")
    if not (disk.is_dir() and os.access(disk, os.W_OK)):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=disk) as name:
        yield Path(name)


def read_all(folder: Path, seed: int) -> tuple[list[tuple[int, Record]], str]:
    """Return what a journal yields, and the error it ends with; one without goes on where it ends."""
    found: list[tuple[int, Record]] = []
    journal = open_journal(folder)
    try:
        latest = journal.latest()
        for each in journal.read():
            found.append(each)
        assert latest is None or (latest[1] == b"state" * 50 and latest[0] <= len(found)), seed
        assert len(found) + 1 == journal.append([record(len(found) + 1)]), seed
        journal.close()
    except JournalError as error:
        return found, str(error)
    finally:
        journal.close()
    return found, ""


def test_a_torn_file_gives_a_right_prefix_or_an_error_and_never_a_wrong_record(
    crashed: Sequence[tuple[dict[str, bytes], int]], memory: Path
) -> None:
    outcomes: dict[str, int] = {"whole": 0, "prefix": 0, "error": 0}
    for seed in range(TORN):
        draw = random.Random(seed)
        files, written = crashed[seed % len(crashed)]
        torn = draw.choice(("j.sqlite-wal", "j.sqlite-wal", "j.sqlite"))
        for name, data in files.items():
            (memory / name).write_bytes(damage(data, draw) if name == torn and data else data)
        (memory / "j.sqlite-shm").unlink(missing_ok=True)

        found, text = read_all(memory, seed)

        outcomes["error" if text else "whole" if len(found) == written else "prefix"] += 1
        assert "\n" not in text, seed
        assert [(number, record(number)) for number in range(1, len(found) + 1)] == found, seed

    # Damage of every sort was met: the figures are far below what any run gives, and above nothing.
    assert min(outcomes.values()) > TORN // 50, outcomes


# --- killed writers

WRITER = """
import os, random, select, signal, sys, time
from pathlib import Path
from herald.errors import JournalError
from herald.model import Alerted
from herald.plugins.journal import JournalSettings, SqliteJournal, verify
from herald.testing import make_services

folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
draw = random.Random(seed)

def record(number):
    return Alerted(number, f"code{number}", "text " * (number % 40))

def open_journal():
    return SqliteJournal(JournalSettings(file="j.sqlite", reserve_bytes=4096), make_services(base=str(folder)))

def write(pipe, draw):
    journal = open_journal()
    latest = journal.latest()
    number = latest[0] if latest else 0
    for number, _ in journal.read(number):
        pass
    while True:
        count = draw.randrange(1, 12)
        last = journal.append([record(number + each) for each in range(1, count + 1)], durable=draw.random() < 0.5)
        assert last == number + count, (last, number, count)
        number = last
        os.write(pipe, b"%d\\n" % number)
        if draw.random() < 0.1:
            journal.snapshot(b"%d" % number)
        if draw.random() < 0.05 and journal.latest():
            journal.compact(keep_archive=draw.random() < 0.5)

acknowledged = 0
for turn in range(kills):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write(writer, random.Random(f"{seed}:{turn}"))
        except BaseException as error:
            os.write(2, f"writer: {type(error).__name__}: {error}\\n".encode())
            os._exit(3)
    os.close(writer)
    received = b""
    end = None
    while end is None or time.monotonic() < end:
        if select.select([reader], [], [], 60 if end is None else max(end - time.monotonic(), 0))[0]:
            piece = os.read(reader, 65536)
            if not piece:
                break
            received += piece
            if end is None:  # it is under way: from here on it may die at any instruction
                end = time.monotonic() + draw.random() * 0.03
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the writer ended by itself: {status}"
    while piece := os.read(reader, 65536):
        received += piece
    os.close(reader)
    complete = received[: received.rfind(b"\\n") + 1].split()
    acknowledged = max(acknowledged, int(complete[-1]) if complete else 0)

    found = verify(folder / "j.sqlite")
    assert found.problems == (), found
    assert found.last >= acknowledged, (turn, found.last, acknowledged)
    journal = open_journal()
    latest = journal.latest()
    assert latest is None or latest[1] == b"%d" % latest[0], latest
    number = journal.first - 1
    for number, kept in journal.read(number):
        assert kept == record(number), (turn, number)
    assert number == found.last
    journal.close()
print(acknowledged)
"""


def kill(folder: Path, kills: int, seed: int, env: dict[str, str]) -> int:
    """Kill a writer again and again; return how many records were acknowledged in all."""
    command = [sys.executable, "-c", WRITER, str(folder), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=env, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return int(done.stdout)


POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork; SQLite's own locks and log are the same there")


@POSIX
def test_every_acknowledged_record_survives_fifty_kills(tmp_path: Path, clean_env: dict[str, str]) -> None:
    assert kill(tmp_path, 50, 1, clean_env) > 200


@POSIX
@pytest.mark.long
def test_every_acknowledged_record_survives_three_hundred_kills(tmp_path: Path, clean_env: dict[str, str]) -> None:
    assert kill(tmp_path, 300, 2, clean_env) > 1_200


# --- a full or read-only disk of its own

PRELUDE = """
import os, sys
from pathlib import Path
from herald.errors import JournalError
from herald.model import Alerted, CancelIntended, Intended, OrderRequest, Side, Traded, Fill
from herald.plugins.journal import JournalSettings, SqliteJournal, backup, verify
from herald.testing import make_services

disk, told = Path(sys.argv[1]), []

def open_journal(**settings):
    return SqliteJournal(JournalSettings(file="j.sqlite", **settings), make_services(base=str(disk), emit=told.append))

def intent(number, reduce_only):
    request = OrderRequest(f"trend-{number:06d}", "trend", "TEST", Side.SELL, 0.1, reduce_only=reduce_only, client_tag=f"t{number}")
    return Intended(number, "connectors.main", request, 1)

def refused(action, words):
    try:
        action()
    except JournalError as error:
        assert words in str(error) and "\\n" not in str(error), error
        return
    raise AssertionError(f"not refused: {words}")
"""
FULL = (
    PRELUDE
    + """
journal = open_journal(reserve_bytes=524_288)
entries = 0
try:
    while entries < 100_000:
        journal.append([intent(entries + 1, False)])
        entries += 1
except JournalError as error:
    assert "is full, nothing of this was kept; make room on it" in str(error), error
assert 20 < entries < 100_000, entries
assert journal.append([]) == entries
refused(lambda: journal.append([intent(0, False)]), "full")
assert (disk / "j.sqlite.reserve").exists()

exits = 0
while exits < 500:  # each with a commit of its own, as they come when things go wrong
    exits += 1
    number = journal.append([intent(entries + exits, True)])
    assert number == entries + exits
refused(lambda: journal.append([intent(0, False)]), "only exits, cancels and what comes of them are kept until there is room")
refused(lambda: journal.snapshot(b"state"), "only exits")
assert journal.is_short and not (disk / "j.sqlite.reserve").exists()
assert [event.code for event in told] == ["journal_disk_full"], told


def check(journal):
    kept = [record.request.reduce_only for _, record in journal.read()]
    assert kept == [False] * entries + [True] * exits, (len(kept), entries, exits)

check(journal)
journal.close()
assert verify(disk / "j.sqlite").problems == ()
assert (disk / "j.sqlite.reserve").stat().st_size == 524_288  # the log was emptied, its room is kept for the next run

try:
    with open(disk / "more", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
except OSError:
    pass
assert os.statvfs(disk).f_bavail == 0
assert verify(disk / "j.sqlite").problems == ()
journal = open_journal(reserve_bytes=524_288)  # a restart: what is there can be read, exits still work, entries do not
check(journal)
refused(lambda: journal.append([intent(0, False)]), "full")
exits += 1
journal.append([intent(entries + exits, True)])
(disk / "filler").unlink()
(disk / "more").unlink()
assert journal.append([intent(1, False)]) == entries + exits + 1
assert not journal.is_short and (disk / "j.sqlite.reserve").stat().st_size == 524_288
assert verify(disk / "j.sqlite").problems == ()
journal.close()
print("entries", entries, "exits", exits)
"""
)
READ_ONLY = (
    PRELUDE
    + """
import subprocess
journal = open_journal(reserve_bytes=0)
journal.append([intent(1, False)])
journal.close()
(disk / "text").write_text("x")
subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
refused(lambda: open_journal(reserve_bytes=0).append([intent(2, False)]), "j.sqlite' cannot be ")
assert verify(disk / "j.sqlite").problems == ()
refused(lambda: backup(disk / "j.sqlite", disk / "b.sqlite"), "cannot be ")
print("refused")
"""
)


def on_a_disk(script: str, size: str, filler: int, folder: Path, env: dict[str, str]) -> str:
    """Run *script* with a disk of its own, of *size*, *filler* bytes of which are taken; return what it prints."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets no user mount a disk of its own (unshare -Urm)")
    (folder / "disk").mkdir()
    (folder / "script.py").write_text(script, encoding="utf-8")
    steps = f'mount -t tmpfs -o size={size} tmpfs "$1" && head -c {filler} /dev/zero > "$1/filler" && exec "$2" "$3" "$1"'
    command = [unshare, "-Urm", "sh", "-c", steps, "sh", str(folder / "disk"), sys.executable, str(folder / "script.py")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=env, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


@pytest.mark.parametrize(
    ("size", "filler"), [("2m", 800_000), ("4m", 900_000)], ids=["the log was never emptied", "the log was emptied before"]
)
def test_on_a_full_disk_entries_stop_and_exits_are_still_kept(
    size: str, filler: int, tmp_path: Path, clean_env: dict[str, str]
) -> None:
    out = on_a_disk(FULL, size, filler, tmp_path, clean_env)

    assert out.endswith("exits 501\n")


def test_a_read_only_disk_is_refused_for_writing_and_can_be_read(tmp_path: Path, clean_env: dict[str, str]) -> None:
    assert "refused\n" == on_a_disk(READ_ONLY, "2m", 0, tmp_path, clean_env)


# --- a disk that fails

FAILING = (
    PRELUDE
    + """
journal = open_journal(reserve_bytes=0)
kept, failed = [], 0
for number in range(1, 61):
    try:
        assert journal.append([intent(number, False)]) == len(kept) + 1
        kept.append(number)
    except JournalError as error:
        assert "\\n" not in str(error), error
        failed += 1
try:
    journal.close()
except JournalError:
    pass
print(len(kept), failed, *kept)
"""
)


def failing(inject: str, folder: Path, env: dict[str, str]) -> tuple[list[int], int]:
    """Write 60 records while calls of the system fail; return which were acknowledged, and how many were refused."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-qq", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace is not installed, or may not trace here: failures of the disk cannot be injected")
    (folder / "script.py").write_text(FAILING, encoding="utf-8")
    command = [strace, "-f", "-qq", "-o", os.devnull, "-e", "trace=fdatasync,pwrite64", "-e", f"inject={inject}"]
    command += [sys.executable, str(folder / "script.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=env, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    _, failed, *kept = map(int, done.stdout.split())
    return kept, failed


@pytest.mark.long
@pytest.mark.parametrize("first", [12, 25, 40])
@pytest.mark.parametrize(
    "inject",
    [
        "fdatasync:error=EIO:when={}",
        "fdatasync:error=EIO:when={}+5",
        "fdatasync:error=EIO:when={}+",
        "pwrite64:error=ENOSPC:when={}",
        "pwrite64:error=EIO:when={}+7",
        "pwrite64:error=ENOSPC:when={}+",
    ],
)
def test_what_was_acknowledged_on_a_failing_disk_is_there_afterwards(
    inject: str, first: int, tmp_path: Path, clean_env: dict[str, str]
) -> None:
    kept, failed = failing(inject.format(first), tmp_path, clean_env)

    found = open_journal(tmp_path)
    orders = [int(one.request.id.rpartition("-")[2]) for _, one in found.read()]  # type: ignore[union-attr]
    found.close()
    assert failed > 0
    assert 60 == len(kept) + failed
    assert kept == orders[: len(kept)]
    assert () == verify(tmp_path / "j.sqlite").problems
    # A disk that fails for good may keep the bytes of one commit that it said it had not kept: the order was not sent then,
    # and reconciliation finds so. It keeps none where the journal could be opened again after the failure.
    assert len(orders) - len(kept) <= (1 if inject.endswith("+") else 0)


def test_records_of_the_test_survive_their_own_encoding() -> None:
    assert record(7) == msgspec.msgpack.decode(msgspec.msgpack.encode(record(7)), type=Alerted)
