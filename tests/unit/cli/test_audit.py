"""``herald audit``, and what `herald halt` and `herald resume` record or must not do without a record."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from herald.cli import herald
from herald.clock import WallClock
from herald.errors import AuditError
from herald.host.audit import mark_audited
from herald.host.lock import read_lock
from herald.live.state import StateFile
from herald.utils.audit_log import read_audit

Run = Callable[..., Result]
CONFIG = "[herald]\nmode = 'paper'\n[strategies.trend]\nsymbols = ['EURUSD']\n[audit]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "herald.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def run() -> Run:
    return lambda *words: CliRunner().invoke(herald, [str(word) for word in words])


def acts(folder: Path) -> list[tuple[str, str]]:
    return [(one.act, one.result) for one in read_audit(folder / "state" / "audit.log")]


def generation(folder: Path) -> int:
    return StateFile(folder / "state", WallClock()).read().generation


def break_log(folder: Path) -> None:
    path = folder / "state" / "audit.log"
    path.write_bytes(path.read_bytes().replace(b'"why":"', b'"why":"X'))


def test_a_halt_and_a_resume_are_recorded(file: Path, run: Run, tmp_path: Path) -> None:
    assert 0 == run("halt", file, "--why", "the feed is odd", "--cancel").exit_code
    assert 0 == run("resume", file, "--why", "the feed is back").exit_code

    assert [("halt --cancel", "done"), ("resume", "asked"), ("resume", "done")] == acts(tmp_path)


def test_what_cannot_be_recorded_is_not_resumed_and_halts_all_the_same(file: Path, run: Run, tmp_path: Path) -> None:
    run("halt", file, "--why", "one")
    break_log(tmp_path)
    before = generation(tmp_path)

    resumed = run("resume", file, "--why", "two")

    assert isinstance(resumed.exception, AuditError)
    assert "is not what was written" in str(resumed.exception)
    assert before == generation(tmp_path)
    halted = run("halt", file, "--why", "three", "--flatten")
    assert 0 == halted.exit_code
    assert "account is HALTED" in halted.output
    assert "herald: it is done, and it is not in the audit log: record 1 of" in halted.output
    assert before < generation(tmp_path)


def test_a_resume_that_fails_says_so_in_the_record(file: Path, run: Run, tmp_path: Path) -> None:
    run("halt", file, "--why", "one")
    (tmp_path / "state" / "HALT").touch()

    run("resume", file, "--why", "two")

    assert ("resume", "asked") in acts(tmp_path)
    assert acts(tmp_path)[-1][1].startswith("failed: the account is halted by the file")


def test_the_state_folder_is_no_way_around_the_record(file: Path, run: Run, tmp_path: Path) -> None:
    run("halt", file, "--why", "one")
    mark_audited(tmp_path / "state", str(file))

    run("resume", "--state", tmp_path / "state", "--why", "by the back door")
    assert ("resume", "done") == acts(tmp_path)[-1]

    file.unlink()
    before = generation(tmp_path)
    refused = run("resume", "--state", tmp_path / "state", "--why", "again")
    assert "which is not there; name the config" in str(refused.exception)
    assert before == generation(tmp_path)
    assert "HALTED" in run("halt", "--state", tmp_path / "state", "--why", "still").output


def test_who_did_it_is_what_the_system_knows_and_not_a_variable(file: Path, run: Run, tmp_path: Path) -> None:
    CliRunner().invoke(herald, ["halt", str(file), "--why", "one"], env={"USER": "anna", "LOGNAME": "anna"})

    (one,) = read_audit(tmp_path / "state" / "audit.log")
    assert not one.who.startswith("anna ")
    assert f"(process {os.getpid()})" in one.who


def test_what_the_watchdog_does_by_itself_is_recorded(file: Path, run: Run, tmp_path: Path) -> None:
    ended = run("supervise", "--crashes", "1", "--", sys.executable, "-c", "raise SystemExit(1)", file)

    assert 1 == ended.exit_code
    (one,) = read_audit(tmp_path / "state" / "audit.log")
    assert ("supervise.halt", "account", "done") == (one.act, one.what, one.result)
    assert "crash loop: 1 failures in 600 s; the last ended with 1" == one.why
    assert one.who.startswith("supervisor, ")


# --- locks: what may be imported is decided on the record


@pytest.fixture
def locked(file: Path, run: Run) -> Path:
    """Return a lock that was written once; the file is a live one and may not run without."""
    file.write_text("[herald]\nmode = 'live'\n[strategies.trend]\nuse = 'strategies.sma_cross'\n", encoding="utf-8")
    done = run("plugins", "lock", file, "--why", "first look")
    assert 0 == done.exit_code, done
    return file.with_name("plugins.lock")


def test_a_lock_is_recorded_before_it_is_written(locked: Path, file: Path, run: Run, tmp_path: Path) -> None:
    assert 0 == run("plugins", "trust", "mt5", "--file", file).exit_code

    first, _, third, fourth = read_audit(tmp_path / "state" / "audit.log")
    digest = hashlib.sha256(locked.read_bytes()).hexdigest()[:16]  # as run.begin states it
    assert ("plugins.lock", "first look", "asked") == (first.act, first.why, first.result)
    assert first.what.startswith(f"{locked} {digest}: + herald-trading ")
    assert ("plugins.trust", "by hand", "done") == (fourth.act, fourth.why, fourth.result)
    assert f"{locked} {digest}: nothing changed" == third.what


def test_a_lock_that_cannot_be_recorded_is_not_written(locked: Path, file: Path, run: Run, tmp_path: Path) -> None:
    log = (tmp_path / "state" / "audit.log").read_bytes()
    locked.write_text("{}", encoding="utf-8")
    break_log(tmp_path)

    refused = run("plugins", "lock", file)

    assert isinstance(refused.exception, AuditError)
    assert "nothing was done, for it cannot be recorded: record 2 of" in str(refused.exception)
    assert "is not what was written" in str(refused.exception)
    assert "{}" == locked.read_text(encoding="utf-8")
    done = run("plugins", "lock", file, "--unrecorded")
    assert (0, True) == (done.exit_code, "herald: this is not recorded: record 2 of" in done.output)
    assert read_lock(locked)[0].distributions
    assert len(log.splitlines()) == len((tmp_path / "state" / "audit.log").read_bytes().splitlines())


def test_a_lock_that_cannot_be_written_is_recorded_as_that(
    locked: Path, file: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("herald.cli.trust.write_lock", full)

    failed = run("plugins", "lock", file, "--unrecorded")

    assert isinstance(failed.exception, OSError)
    assert [("plugins.lock", "asked"), ("plugins.lock", "failed: [Errno 28] No space left on device")] == acts(tmp_path)[-2:]


def test_a_lock_that_is_none_is_made_again_and_all_of_it_shown(locked: Path, file: Path, run: Run) -> None:
    locked.write_text('{"format": 7}', encoding="utf-8")

    again = run("plugins", "lock", file)

    assert (0, True) == (again.exit_code, "all is listed as new, for the lock that is there cannot be believed" in again.output)
    assert "+ herald-trading" in again.output


def test_a_config_without_a_log_is_locked_without_one(file: Path, run: Run, tmp_path: Path) -> None:
    file.write_text("[herald]\nmode = 'paper'\n", encoding="utf-8")

    assert 0 == run("plugins", "lock", file).exit_code

    assert not (tmp_path / "state").exists()


def test_what_was_locked_behind_the_owners_back_is_not_signed_with_the_rest(locked: Path, file: Path, run: Run) -> None:
    key = file.with_name("owner.pem")
    public = run("plugins", "key", key).output
    file.write_text(file.read_text(encoding="utf-8") + public, encoding="utf-8")
    assert 0 == run("plugins", "lock", file, "--key", key).exit_code
    locked.write_bytes(locked.read_bytes().replace(b'"distributions"', b' "distributions"'))  # by somebody without the key

    trusted = run("plugins", "trust", "mt5", "--file", file, "--key", key)
    wrong = run("plugins", "key", file.with_name("other.pem")) and run(
        "plugins", "lock", file, "--key", file.with_name("other.pem")
    )
    relocked = run("plugins", "lock", file, "--key", key)

    assert "the lock was changed after it was signed" in str(trusted.exception)
    assert "is not the key that" in str(wrong.exception)
    assert "+ herald-trading" in relocked.output  # all of it is shown again, and not called unchanged
    assert 0 == relocked.exit_code


def test_without_the_note_of_its_config_an_audited_folder_is_no_way_around_either(file: Path, run: Run, tmp_path: Path) -> None:
    run("halt", file, "--why", "one")
    before = generation(tmp_path)

    refused = run("resume", "--state", tmp_path / "state", "--why", "by the back door")

    assert "has an audit log, and nothing says which config it belongs to; name the config" in str(refused.exception)
    assert before == generation(tmp_path)
    assert "HALTED" in run("halt", "--state", tmp_path / "state", "--why", "still").output


def test_a_live_file_is_audited_of_its_own_accord(file: Path, run: Run, tmp_path: Path) -> None:
    file.write_text(
        "[herald]\nmode = 'live'\n[plugins]\nrequire_lock = false\n[strategies.trend]\nsymbols = ['A']\n", encoding="utf-8"
    )

    run("halt", file, "--why", "one")

    assert [("halt", "done")] == acts(tmp_path)


def test_a_wrong_table_is_said_in_one_line(file: Path, run: Run) -> None:
    file.write_text(CONFIG + "seal_seconds = -1\n", encoding="utf-8")

    done = run("resume", file, "--why", "x")

    assert "audit.seal_seconds: Input should be greater than 0; correct it" in str(done.exception)


def test_verify_says_what_is_there_and_what_was_changed(file: Path, run: Run, tmp_path: Path) -> None:
    run("halt", file, "--why", "one")
    run("resume", file, "--why", "two")

    good = run("audit", "verify", file)
    told = json.loads(run("audit", "verify", tmp_path / "state" / "audit.log", "--json").output)
    expected = run("audit", "verify", file, "--expect", f"{told['head']}:{told['hash']}")
    wrong = run("audit", "verify", file, "--expect", "1:" + "0" * 64)
    break_log(tmp_path)
    changed = run("audit", "verify", file)

    assert (0, True) == (good.exit_code, "the log is what was written" in good.output)
    assert "beside the log: who can put back an older copy of both is not found out" in good.output
    assert "records  3, number 1 to 3, since 20" in good.output
    assert (3, 3, "") == (told["records"], told["sealed"], told["problem"])
    assert 0 == expected.exit_code
    assert (1, True) == (
        wrong.exit_code,
        "record 1 was noted with two hashes" in wrong.output or "is not the one" in wrong.output,
    )
    assert (1, True) == (changed.exit_code, "CHANGED  audit.log: record 1 is not what was written" in changed.output)


def test_show_and_export(file: Path, run: Run, tmp_path: Path) -> None:
    run("halt", file, "--why", "=HYPERLINK(1)")
    run("resume", file, "--why", "two")
    log = tmp_path / "state" / "audit.log"

    lines = run("audit", "show", log).output.splitlines()
    assert lines[0].endswith("halt  account (=HYPERLINK(1)): done")
    assert "3 records" == lines[-1]
    assert "no record fits" in run("audit", "show", log, "--act", "order").output
    (one,) = json.loads(run("audit", "show", log, "--act", "halt", "--json").output)
    assert "=HYPERLINK(1)" == one["why"]
    assert 1 == len(json.loads(run("audit", "show", log, "--limit", "1", "--json").output))
    assert [] == json.loads(run("audit", "show", log, "--since", "2999-01-01", "--json").output)
    assert "3 records to" in run("audit", "export", log, "--out", tmp_path / "a.csv").output
    assert "'=HYPERLINK(1)" in (tmp_path / "a.csv").read_text(encoding="utf-8")
    assert "3 records to" in run("audit", "export", log, "--out", tmp_path / "a.jsonl").output
    assert "is there already" in run("audit", "export", log, "--out", tmp_path / "a.csv").output
    assert "no known ending" in run("audit", "export", log, "--out", tmp_path / "a.txt").output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("audit", "verify", "nothing.log"), "there is no key"),
        (("audit", "show", "nothing.log"), "there is no audit log 'nothing.log'"),
        (("audit", "verify", "nothing.toml"), "there is no file 'nothing.toml'"),
        (("audit", "verify", "x.log", "--expect", "1"), "is no NUMBER:HASH"),
        (("audit", "show", "x.log", "--since", "never"), "--since"),
    ],
)
def test_bad_input_ends_in_one_line(
    words: tuple[str, ...], expected: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    done = run(*words)

    assert 0 != done.exit_code
    assert expected in done.output + str(done.exception)


def test_a_file_without_an_audit_log_says_so(file: Path, run: Run) -> None:
    file.write_text("[herald]\nmode = 'paper'\n", encoding="utf-8")

    assert "has no audit log: it is no live file and has no [audit]" in str(run("audit", "verify", file).exception)


def test_a_key_is_made_for_its_owner(run: Run, tmp_path: Path) -> None:
    assert "a new key is in" in run("audit", "key", tmp_path / "k").output
    assert 65 == len((tmp_path / "k").read_text(encoding="ascii"))
