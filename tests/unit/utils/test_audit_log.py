"""The audit log: whatever is done to it later is found, and whatever ends a write leaves a log that can be checked."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from herald.clock import WallClock
from herald.errors import AuditError
from herald.testing import FakeClock
from herald.utils.audit_log import AuditLog, Verified, read_audit, read_audit_key, segments, verify_audit
from herald.utils.hash_chain import HashChain

KEY = bytes(range(32))
MUTATIONS = 10_000


def open_log(folder: Path, **terms: object) -> AuditLog:
    clock = FakeClock()
    return AuditLog(folder / "audit.log", KEY, clock, **{"heads": folder / "audit.heads"} | terms)  # type: ignore[arg-type]


def fill(log: AuditLog, count: int, begin: int = 0) -> None:
    for number in range(begin, begin + count):
        log.append("trend", "order.filled", f"trend-{number:06d}: BUY 0.1 EURUSD", "sma cross", f"at 1.{number}")


def check(folder: Path, heads: str | None = "audit.heads") -> Verified:
    return verify_audit(folder / "audit.log", KEY, None if heads is None else folder / heads)


# --- writing and reading


def test_what_is_written_is_read_and_right(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    first = log.append("anna", "resume", "account", "the feed is back", "asked", durable=True)
    log.append("anna", "resume", "account", "the feed is back", "done")
    log.close()

    records = list(read_audit(tmp_path / "audit.log"))
    found = check(tmp_path)

    assert 1 == first
    assert [("anna", "resume", "asked"), ("anna", "resume", "done")] == [(one.who, one.act, one.result) for one in records]
    assert (2, 1, 2, 2, 0, "") == (found.records, found.first, found.head, found.sealed, found.torn, found.problem)
    assert log.head == (2, found.hash)


def test_a_line_is_json_and_one_line_whatever_is_said(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append("a\nb", 'x","mac":"', "\ud800 \x00", "é" * 9_000, "\u2028")
    fill(log, 1)
    log.close()

    lines = (tmp_path / "audit.log").read_bytes().split(b"\n")

    assert 3 == len(lines)
    assert "a b" == json.loads(lines[0])["who"]
    assert 4_000 == len(json.loads(lines[0])["why"])
    assert "" == check(tmp_path).problem


def test_several_writers_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"  # by a real clock: who waits for a note that goes to the disk must not wait too short
    logs = [AuditLog(path, KEY, WallClock(), heads=tmp_path / "audit.heads") for _ in range(4)]
    threads = [threading.Thread(target=fill, args=(log, 50)) for log in logs]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for log in logs:
        log.close()

    assert (200, "") == (check(tmp_path).records, check(tmp_path).problem)


def test_a_log_goes_on_in_a_later_process(tmp_path: Path) -> None:
    for begin in range(3):
        log = open_log(tmp_path)
        fill(log, 5, begin)
        log.close()

    assert (15, 15, "") == (check(tmp_path).records, check(tmp_path).sealed, check(tmp_path).problem)


def test_a_batch_is_written_as_a_whole(tmp_path: Path) -> None:
    log = open_log(tmp_path)

    assert 3 == log.extend([(number, "a", "b", "c", "d", "e") for number in range(3)])
    log.close()
    assert [0, 1, 2] == [one.time for one in read_audit(tmp_path / "audit.log")]
    assert "" == check(tmp_path).problem


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps permissions elsewhere")
def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 1)
    log.close()

    assert {0o600} == {one.stat().st_mode & 0o777 for one in tmp_path.glob("audit*")}
    (tmp_path / "audit.log").chmod(0o644)
    with pytest.raises(AuditError, match="others may read or write"):
        fill(open_log(tmp_path), 1)


# --- heads


def test_the_head_is_noted_after_so_many_records_and_so_many_seconds(tmp_path: Path) -> None:
    clock = FakeClock()
    log = AuditLog(tmp_path / "audit.log", KEY, clock, heads=tmp_path / "audit.heads", seal_seconds=60, seal_records=10)
    fill(log, 10)
    before = check(tmp_path).sealed
    fill(log, 1)
    after = check(tmp_path).sealed
    fill(log, 1)
    clock.advance(59)
    log.tick()
    early = check(tmp_path).sealed
    clock.advance(1)
    log.tick()

    assert (1, 11, 11, 12) == (before, after, early, check(tmp_path).sealed)


def test_a_cut_end_shows_by_the_note_and_only_by_it(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 20)
    log.close()
    path = tmp_path / "audit.log"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:15]))

    assert "record 20 was noted elsewhere, and the log ends at 15: its end was cut off" in check(tmp_path).problem
    assert "" == check(tmp_path, heads=None).problem
    assert "record 20 was noted" in verify_audit(path, KEY, None, (20, "0" * 64)).problem


def test_a_noted_head_that_does_not_fit_is_found(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 5)
    log.close()

    assert "" == verify_audit(tmp_path / "audit.log", KEY, tmp_path / "audit.heads", log.head).problem
    assert "is not the one that was noted" in verify_audit(tmp_path / "audit.log", KEY, None, (5, "0" * 64)).problem


def cut(folder: Path, count: int) -> None:
    """Take all but *count* records out of the log."""
    path = folder / "audit.log"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:count]))


def test_a_log_that_does_not_reach_its_last_note_is_not_gone_on_with(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 10)
    log.close()
    cut(tmp_path, 6)

    with pytest.raises(
        AuditError, match=r"record 10 of .* was noted in 'audit.heads', is not there: the log ends at 6; keep both"
    ):
        fill(open_log(tmp_path), 1)
    assert 6 == check(tmp_path).records


def test_a_new_end_of_the_same_length_is_not_gone_on_with_and_found(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 10)
    log.close()
    cut(tmp_path, 6)
    other = open_log(tmp_path, heads=None)
    fill(other, 4, 100)  # by somebody who has the key but not the notes
    other.close()

    with pytest.raises(AuditError, match="record 10 of .* is another one"):
        fill(open_log(tmp_path), 1)
    assert "record 10 is not the one that was noted elsewhere" in check(tmp_path).problem


def test_notes_that_contradict_each_other_are_found(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 10)
    log.close()
    heads = tmp_path / "audit.heads"
    notes = heads.read_bytes()
    last = json.loads(notes.splitlines()[-1])
    body = msgspec.json.encode({"number": last["number"] + 1, "time": 0, "records": 10, "head": "0" * 64})
    mac = HashChain.keyed(KEY).link(bytes.fromhex(last["mac"]), last["number"] + 1, body).hex().encode()

    heads.write_bytes(notes + body[:-1] + b',"mac":"' + mac + b'"}\n')

    assert "audit.heads: record 10 was noted with two hashes" == check(tmp_path).problem


def test_notes_that_are_gone_show_in_the_log_from_then_on(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 10)
    log.close()
    cut(tmp_path, 6)
    (tmp_path / "audit.heads").unlink()

    again = open_log(tmp_path)
    fill(again, 3)
    again.close()

    assert [("audit.unnoted", "audit.heads")] == [
        (one.act, one.what) for one in read_audit(tmp_path / "audit.log") if one.who == "herald"
    ]
    assert "audit.heads: the notes begin anew with record 7, so whether something was cut off" in check(tmp_path).problem
    looked_at = verify_audit(tmp_path / "audit.log", KEY, tmp_path / "audit.heads", again.head)
    assert "" == looked_at.problem  # somebody noted a head since and vouches for what is before


def test_notes_that_were_out_of_reach_and_came_back_are_no_matter(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 5)
    log.close()
    (tmp_path / "audit.heads").rename(tmp_path / "away")
    other = open_log(tmp_path, heads=tmp_path / "nowhere" / "audit.heads")
    (tmp_path / "nowhere").write_text("no folder at present", encoding="utf-8")
    fill(other, 1)
    other.close()
    (tmp_path / "away").rename(tmp_path / "audit.heads")

    again = open_log(tmp_path)
    fill(again, 1)
    again.close()

    assert "" == check(tmp_path).problem
    assert 1 == sum(one.act == "audit.unnoted" for one in read_audit(tmp_path / "audit.log"))


def test_a_new_log_is_noted_with_its_first_record(tmp_path: Path) -> None:
    fill(open_log(tmp_path), 1)

    assert 1 == check(tmp_path).sealed


def test_where_nothing_is_noted_verify_says_so(tmp_path: Path) -> None:
    log = open_log(tmp_path, heads=None)
    fill(log, 5)
    log.close()

    assert "there is none, so a cut end would not show" in check(tmp_path).problem


def test_a_head_that_cannot_be_noted_is_told_and_the_log_goes_on(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("a file where a folder should be", encoding="utf-8")
    log = open_log(tmp_path, heads=tmp_path / "place" / "audit.heads", seal_records=1)

    fill(log, 1)

    assert "the head of the audit log cannot be noted" in log.seal_trouble
    assert "" == log.trouble
    (tmp_path / "place").unlink()
    fill(log, 1)
    assert "" == log.seal_trouble


# --- changes: 10,000 of them


def edited(lines: list[bytes], draw: random.Random) -> list[bytes]:
    place = draw.randrange(len(lines))
    line = bytearray(lines[place])
    at = draw.randrange(len(line))
    line[at] ^= 1 << draw.randrange(8)
    return [*lines[:place], bytes(line), *lines[place + 1 :]]


def reworded(lines: list[bytes], draw: random.Random) -> list[bytes]:
    place = draw.randrange(len(lines))
    return [*lines[:place], lines[place].replace(b"BUY 0.1", b"BUY 9.9"), *lines[place + 1 :]]


def deleted(lines: list[bytes], draw: random.Random) -> list[bytes]:
    place = draw.randrange(len(lines))
    return lines[:place] + lines[place + draw.randint(1, 3) :]


def inserted(lines: list[bytes], draw: random.Random) -> list[bytes]:
    place = draw.randrange(len(lines) + 1)
    other = draw.choice([b"\n", b"x\n", b"{}\n", draw.choice(lines), draw.choice(lines).replace(b"0.1", b"0.2")])
    return [*lines[:place], other, *lines[place:]]


def reordered(lines: list[bytes], draw: random.Random) -> list[bytes]:
    one, other = draw.sample(range(len(lines)), 2)
    moved = list(lines)
    moved[one], moved[other] = moved[other], moved[one]
    return moved


def truncated(lines: list[bytes], draw: random.Random) -> list[bytes]:
    data = b"".join(lines)
    return [data[: draw.randrange(len(data))]]


def rehashed(lines: list[bytes], draw: random.Random) -> list[bytes]:
    """Change a record and give it a hash as somebody would who knows the format and not the key."""
    place = draw.randrange(len(lines))
    record = json.loads(lines[place])
    record["result"] = "nothing happened"
    record["mac"] = draw.randbytes(32).hex()
    return [*lines[:place], json.dumps(record, separators=(",", ":")).encode() + b"\n", *lines[place + 1 :]]


CHANGES: tuple[Callable[[list[bytes], random.Random], list[bytes]], ...] = (
    edited,
    reworded,
    deleted,
    inserted,
    reordered,
    truncated,
    rehashed,
)


@pytest.mark.long
def test_ten_thousand_changes_are_all_found(tmp_path: Path) -> None:
    log = open_log(tmp_path, seal_records=7)
    fill(log, 40)
    log.close()
    path = tmp_path / "audit.log"
    lines = path.read_bytes().splitlines(keepends=True)
    draw = random.Random(20261127)
    missed, tried = [], dict.fromkeys((one.__name__ for one in CHANGES), 0)
    for number in range(MUTATIONS):
        change = CHANGES[number % len(CHANGES)]
        mutant = b"".join(change(lines, draw))
        if mutant == b"".join(lines):
            continue
        path.write_bytes(mutant)
        tried[change.__name__] += 1
        if not check(tmp_path).problem:
            missed.append((change.__name__, number))

    assert [] == missed
    assert min(tried.values()) > 1_300
    path.write_bytes(b"".join(lines))
    assert "" == check(tmp_path).problem


def test_changes_of_the_notes_are_found_as_well(tmp_path: Path) -> None:
    log = open_log(tmp_path, seal_records=3)
    fill(log, 30)
    log.close()
    path = tmp_path / "audit.heads"
    lines = path.read_bytes().splitlines(keepends=True)
    draw = random.Random(7)
    for change in (edited, inserted, reordered, rehashed):
        for _ in range(100):
            mutant = b"".join(change(lines, draw))
            path.write_bytes(mutant)
            assert check(tmp_path).problem or mutant == b"".join(lines), (change.__name__, mutant)


# --- what is left of a write that was cut short


@pytest.mark.parametrize("cut", [1, 2, 10, 75, 76, 100, 150])
def test_a_write_that_was_cut_short_is_noted_and_the_log_goes_on(cut: int, tmp_path: Path) -> None:
    log = open_log(tmp_path, heads=None)
    fill(log, 5)
    log.close()
    path = tmp_path / "audit.log"
    path.write_bytes(path.read_bytes()[:-cut])

    before = check(tmp_path, heads=None)
    log = open_log(tmp_path, heads=None)
    fill(log, 3)
    log.close()
    after = check(tmp_path, heads=None)

    assert "a line that was cut off" in before.problem
    assert "" == after.problem
    assert (after.records, after.torn) == ((8, 0) if cut == 1 else (8, 1))  # without its end a record is whole all the same


def test_a_disk_that_takes_half_a_line_leaves_a_log_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path)
    fill(log, 3)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: len(data) // 2]))
        with pytest.raises(AuditError, match=r"cannot be written: only .* of .* bytes were written; see to its disk"):
            fill(log, 1)
        assert log.trouble
        with pytest.raises(AuditError):
            fill(log, 1)

    fill(log, 2)
    log.close()

    assert "" == log.trouble
    found = check(tmp_path)
    assert "" == found.problem
    assert 2 == sum(one.who == "trend" and one.number > 3 for one in read_audit(tmp_path / "audit.log"))


def test_a_log_that_lost_its_end_while_it_was_written_is_not_gone_on_with(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 10)
    path = tmp_path / "audit.log"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:6]))

    with pytest.raises(AuditError, match="went back from record 10 to 6: its end was cut off"):
        fill(log, 1)


def test_a_log_whose_last_record_was_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 3)
    log.close()
    path = tmp_path / "audit.log"
    path.write_bytes(path.read_bytes().replace(b"at 1.2", b"at 9.2"))

    with pytest.raises(AuditError, match="record 3 of .* is not what was written"):
        fill(open_log(tmp_path), 1)


def test_a_log_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 3)
    log.close()
    (tmp_path / "audit.log").unlink()

    with pytest.raises(AuditError, match="is gone, though there was one"):
        fill(open_log(tmp_path), 1)
    assert "the log ends at 0" in check(tmp_path).problem


def test_another_key_fits_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 3)
    log.close()

    assert "record 1 is not what was written" in verify_audit(tmp_path / "audit.log", b"x" * 32, None).problem


WRITER = """
import sys
from pathlib import Path
from herald.clock import WallClock
from herald.utils.audit_log import AuditLog
log = AuditLog(Path(sys.argv[1]) / "audit.log", bytes(range(32)), WallClock(), seal_records=50, rotate_bytes=40_000)
print("ready", flush=True)
while True:
    log.append("engine", "order.filled", "trend-000001: BUY 0.1 EURUSD", "x" * 200, "done")
"""


@pytest.mark.skipif(os.name == "nt", reason="sends SIGKILL")
def test_killed_writers_leave_a_log_that_can_be_checked(tmp_path: Path) -> None:
    draw = random.Random(5)
    for _ in range(8):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, encoding="utf-8")
            for _ in range(2)
        ]
        for one in writers:
            assert one.stdout is not None
            assert "ready\n" == one.stdout.readline()
        threading.Event().wait(draw.uniform(0.02, 0.1))
        for one in writers:
            one.send_signal(signal.SIGKILL)
            one.wait()
            assert one.stdout is not None
            one.stdout.close()
    log = open_log(tmp_path, heads=None, rotate_bytes=40_000)
    fill(log, 1)
    log.close()

    found = verify_audit(tmp_path / "audit.log", KEY)

    assert ("", 1) == (found.problem, found.first)
    assert found.records > 100
    assert len(segments(tmp_path / "audit.log")) > 1


# --- several files


def test_a_new_file_begins_at_a_size_and_the_chain_goes_on(tmp_path: Path) -> None:
    for begin in range(4):
        log = open_log(tmp_path, rotate_bytes=3_000)
        fill(log, 20, begin)
        log.close()
    files = segments(tmp_path / "audit.log")

    found = check(tmp_path)

    assert len(files) > 2
    assert "" == found.problem
    assert 80 == sum(one.who == "trend" for one in read_audit(tmp_path / "audit.log"))
    assert 80 + len(files) - 1 == found.records


def test_files_that_were_moved_away_leave_a_log_that_can_be_checked(tmp_path: Path) -> None:
    log = open_log(tmp_path, rotate_bytes=3_000, seal_records=10)
    fill(log, 60)
    log.close()
    first, *rest = segments(tmp_path / "audit.log")
    first.unlink()

    found = check(tmp_path)

    assert "" == found.problem
    assert found.first > 1
    rest[0].unlink() if len(rest) > 1 else None
    files = segments(tmp_path / "audit.log")
    if len(files) > 1:
        files[1].unlink()
        assert check(tmp_path).problem


def test_a_file_in_the_middle_that_is_missing_is_found(tmp_path: Path) -> None:
    log = open_log(tmp_path, rotate_bytes=2_500)
    fill(log, 60)
    log.close()
    files = segments(tmp_path / "audit.log")
    assert len(files) > 3

    files[1].unlink()

    assert "is not what was written, or was moved, added or left out" in check(tmp_path).problem


# --- keys


def test_a_key_is_sixty_four_digits_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    path.touch(0o600)
    path.write_text(KEY.hex() + "\n", encoding="ascii")
    assert KEY == read_audit_key(path)

    for text in ("", "zz", KEY.hex()[:-2], KEY.hex() * 2, "é" * 64):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(AuditError, match="holds no key: 64 hexadecimal digits"):
            read_audit_key(path)
    with pytest.raises(FileNotFoundError):
        read_audit_key(tmp_path / "nothing")


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps permissions elsewhere")
def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    path.write_text(KEY.hex(), encoding="ascii")
    path.chmod(0o640)

    with pytest.raises(AuditError, match="others may read the key"):
        read_audit_key(path)
