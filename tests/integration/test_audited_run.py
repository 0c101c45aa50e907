"""The audit log around whole runs and real commands: no record, no run; no record while it runs, nothing that adds to a
position; and whatever is done to the log afterwards, `herald audit verify` names the place."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from herald.clock import WallClock
from herald.errors import AuditError
from herald.host.plan import load_plan
from herald.live.state import TradingState
from herald.model import Order, OrderStatus
from herald.runtime.live import LiveRun
from herald.testing.simbroker import SimBroker
from herald.utils.audit_log import AuditLog, read_audit, read_audit_key, verify_audit
from herald.utils.file_lock import FileLock

REFUSED = 10_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "data")
    text = (ROOT / "examples" / "paper.toml").read_text(encoding="utf-8").replace("172_800", "400_000")
    path = tmp_path / "paper.toml"
    path.write_text(text + "\n[audit]\nseal_records = 50\n", encoding="utf-8")
    return path


def refused(run: LiveRun) -> list[Order]:
    return [order for order in run.engine.orders.values() if order.status is OrderStatus.DENIED]


def until(count: int, run: LiveRun, act: Callable[[], None] = lambda: None) -> Callable[[], bool]:
    """Return what stops a run after *count* fills (or the first refusal, for REFUSED), *act* having been called at the first."""
    acted = []

    def stop() -> bool:
        fills = len(run.engine.ledger.fills) if hasattr(run, "engine") else 0
        if fills and not acted:
            acted.append(True)
            act()
        return fills >= count or (count == REFUSED and bool(acted) and bool(refused(run)))

    return stop


def test_a_run_records_how_it_began_what_it_decided_and_how_it_ended(file: Path) -> None:
    run = LiveRun(load_plan(file))

    result = run.run(until(5, run))

    log = run.folder / "audit.log"
    records = list(read_audit(log))
    found = verify_audit(log, read_audit_key(run.folder / "audit.key"), run.folder / "audit.heads")
    assert "" == found.problem
    assert found.sealed == found.head == len(records)
    assert ("run.begin", "run.end") == (records[0].act, records[-1].act)
    assert records[0].what.startswith("trade paper ")
    assert "done" == records[-1].result
    acts = [one.act for one in records]
    assert len(result.fills) == acts.count("fill")
    filled = {order.id for order in result.orders if order.filled}
    assert filled <= {one.what.partition(":")[0] for one in records if one.act == "order.filled"}
    denied = [order.id for order in result.orders if order.status is OrderStatus.DENIED]
    assert len(denied) == acts.count("order.denied")


def test_a_run_that_cannot_be_recorded_does_not_begin(file: Path) -> None:
    first = LiveRun(load_plan(file))
    first.run(until(1, first))
    log = first.folder / "audit.log"
    log.write_bytes(log.read_bytes().replace(b'"result":"done"', b'"result":"gone"'))
    journal = (first.folder / "journal.sqlite").read_bytes()

    second = LiveRun(load_plan(file))
    with pytest.raises(AuditError, match="is not what was written"):
        second.run(until(9, second))

    assert journal == (first.folder / "journal.sqlite").read_bytes()


def test_a_log_that_breaks_during_a_run_lets_nothing_add_to_a_position(file: Path) -> None:
    run = LiveRun(load_plan(file))

    def break_log() -> None:
        log = run.folder / "audit.log"
        log.write_bytes(log.read_bytes().splitlines(keepends=True)[0].replace(b"trade paper", b"trade nothing"))

    run.run(until(REFUSED, run, break_log))

    history = [(one.state, one.why) for one in run.state.read().history]
    assert any(state is TradingState.REDUCING and "is not what was written" in why for state, why in history), history
    assert json.loads((run.folder / "audit.log").read_bytes().splitlines()[0])["act"] == "run.begin"
    assert {"trading_state"} == {order.code for order in refused(run)}


# --- what is done to a log afterwards, through the command

Lines = list[bytes]


def herald(*words: object, cwd: Path, env: dict[str, str], **terms: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "herald", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", check=False, **terms)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a log of twelve records, its key, and notes up to the last."""
    folder = tmp_path_factory.mktemp("written")
    key = folder / "audit.key"
    key.touch(0o600)
    key.write_text("5a" * 32, encoding="ascii")
    log = AuditLog(folder / "audit.log", bytes.fromhex("5a" * 32), WallClock(), heads=folder / "audit.heads", seal_records=4)
    for number in range(1, 13):
        log.append("anna", "resume", "account", f"reason {number}", "done")
    log.close()
    return folder


CHANGES: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "nothing": (lambda lines: lines, ""),
    "edited": (
        lambda lines: [one.replace(b"reason 5", b"reason 6") for one in lines],
        "audit.log: record 5 is not what was written, or was moved, added or left out",
    ),
    "truncated": (
        lambda lines: lines[:9],
        "audit.log: record 12 was noted elsewhere, and the log ends at 9: its end was cut off",
    ),
    "cut within a line": (
        lambda lines: [*lines[:9], lines[9][:40]],
        "audit.log: record 12 was noted elsewhere, and the log ends at 9",
    ),
    "reordered": (
        lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
        "audit.log: record 4 is not what was written, or was moved, added or left out",
    ),
    "one taken out": (lambda lines: [*lines[:6], *lines[7:]], "audit.log: record 7 is not what was written"),
    "the first taken out": (lambda lines: lines[1:], "audit.log: it begins with record 2; what is before it is missing"),
    "one added": (lambda lines: [*lines[:6], b"{}\n", *lines[6:]], "audit.log: behind record 6 stands a line that is no record"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_verify_names_the_place_of_every_change(change: str, written: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    folder = tmp_path / "state"
    shutil.copytree(written, folder)
    alter, expected = CHANGES[change]
    log = folder / "audit.log"
    log.write_bytes(b"".join(alter(log.read_bytes().splitlines(keepends=True))))

    done = herald("audit", "verify", log, cwd=tmp_path, env=clean_env)

    assert (1 if expected else 0, "") == (done.returncode, done.stderr)
    last = done.stdout.splitlines()[-1]
    assert (
        last.startswith(f"CHANGED  {expected}".replace(str(log), log.name)) if expected else last == "the log is what was written"
    )


def test_what_is_left_of_a_changed_log_can_be_exported(written: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    folder = tmp_path / "state"
    shutil.copytree(written, folder)
    log = folder / "audit.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:3], b"no record\n", lines[5], lines[4], b'{"number":9']))

    exported = herald("audit", "export", log, "--out", "a.csv", cwd=tmp_path, env=clean_env)

    assert 0 == exported.returncode
    assert "5 records to a.csv; whether they are what was written, herald audit verify tells" == exported.stdout.strip()
    assert "herald: left out, for it is no record: audit.log, line 4; audit.log, line 7" == exported.stderr.strip()
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [("1", "reason 1"), ("2", "reason 2"), ("3", "reason 3"), ("6", "reason 6"), ("5", "reason 5")] == [
        (row["number"], row["why"]) for row in rows
    ]
    assert "record 3 stands a line that is no record" in herald("audit", "verify", log, cwd=tmp_path, env=clean_env).stdout


# --- a disk that is full, a log that is held, and a live run from the lock to the last record


def with_log(folder: Path) -> Path:
    file = folder / "herald.toml"
    file.write_text("[herald]\nmode = 'paper'\n[strategies.trend]\nuse = 'strategies.sma_cross'\n[audit]\n", encoding="utf-8")
    return file


@pytest.mark.skipif(os.name == "nt", reason="Windows limits no file of a process")
def test_on_a_full_disk_nothing_is_resumed_or_locked(tmp_path: Path, clean_env: dict[str, str]) -> None:
    import resource

    file = with_log(tmp_path)
    herald("halt", file, "--why", "one", cwd=tmp_path, env=clean_env)
    log = tmp_path / "state" / "audit.log"
    size = log.stat().st_size
    before = (tmp_path / "state" / "trading-state").read_bytes()

    def full() -> None:  # not a byte fits into the log any more
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    resumed = herald("resume", file, "--why", "two", cwd=tmp_path, env=clean_env, preexec_fn=full)
    locked = herald("plugins", "lock", file, cwd=tmp_path, env=clean_env, preexec_fn=full)

    for done in (resumed, locked):
        assert 1 == done.returncode
        assert "cannot be written: File too large; see to its disk and its permissions" in done.stderr
        assert "Traceback" not in done.stderr
    assert before == (tmp_path / "state" / "trading-state").read_bytes()
    assert not (tmp_path / "plugins.lock").exists()
    assert size == log.stat().st_size


@pytest.mark.long
def test_nothing_is_resumed_while_another_process_holds_the_log(tmp_path: Path, clean_env: dict[str, str]) -> None:
    file = with_log(tmp_path)
    herald("halt", file, "--why", "one", cwd=tmp_path, env=clean_env)
    before = (tmp_path / "state" / "trading-state").read_bytes()
    with FileLock(tmp_path / "state" / "audit.log.lock") as held:
        assert held.try_acquire()

        resumed = herald("resume", file, "--why", "two", cwd=tmp_path, env=clean_env)

    assert 1 == resumed.returncode
    assert "cannot be written" in resumed.stderr
    assert before == (tmp_path / "state" / "trading-state").read_bytes()


DEMO = """
[herald]
mode = "live"

[connectors.main]
use     = "simbroker"
address = "{address}"

[strategies.trend]
use       = "strategies.sma_cross"
symbols   = ["EURUSD"]
timeframe = "1m"

[[risk]]
use  = "risk.max_order_size"
lots = 1.0
[[risk]]
use      = "risk.max_daily_loss"
fraction = 0.02
[[risk]]
use      = "risk.max_drawdown"
fraction = 0.1

[live]
account     = "1001"
server      = "Sim-Demo"
real        = false
warmup_bars = 0
"""


@pytest.mark.slow
def test_a_live_run_on_a_demo_account_begins_only_with_a_lock_and_both_are_on_record(
    tmp_path: Path, clean_env: dict[str, str]
) -> None:
    file, state = tmp_path / "live.toml", tmp_path / "state"
    with SimBroker.start(tmp_path / "book.sqlite", settle_seconds=0.5, history_days=0.02) as broker:
        env = clean_env | {"HERALD_CONNECTORS__MAIN__TOKEN": broker.terms.token}
        file.write_text(DEMO.format(address=broker.address), encoding="utf-8")
        words = ("live", file, "--demo-only", "--for", "1", "--quiet", "--no-report")

        refused = herald(*words, cwd=tmp_path, env=env)
        untouched = state.exists()
        locked = herald("plugins", "lock", file, "--why", "looked at it", cwd=tmp_path, env=env)
        ran = herald(*words, cwd=tmp_path, env=env)
        checked = herald("audit", "verify", file, cwd=tmp_path, env=env)

    assert 4 == refused.returncode
    assert "plugins.lock: there is no" in refused.stderr
    assert f"herald plugins lock {file}" in refused.stderr
    assert not untouched
    assert 0 == locked.returncode, locked.stderr
    assert 0 == ran.returncode, ran.stderr
    assert 0 == checked.returncode, checked.stdout + checked.stderr
    digest = hashlib.sha256((tmp_path / "plugins.lock").read_bytes()).hexdigest()[:16]
    records = [(one.act, one.result) for one in read_audit(state / "audit.log")]
    assert [("plugins.lock", "asked"), ("plugins.lock", "done")] == records[:2]
    assert ("run.begin", True) == (records[2][0], f"plugin lock {digest}" in records[2][1])
    assert ("run.end", "done") == records[-1]
