"""Looking into, copying and putting back journals from the command line."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import herald.cli
from herald.cli import main
from herald.clock import parse_time
from herald.host.audit import mark_audited
from herald.model import Alerted, CancelIntended
from herald.plugins.journal import JournalSettings, SqliteJournal, verify
from herald.plugins.journal.text import describe
from herald.testing import make_services
from herald.testing.contracts.journal import sample_records

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for verb in ("journal", "backup", "restore"):
        monkeypatch.setitem(herald.cli._VERBS, verb, (f"herald.cli.journal:{verb}", ""))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        output = capfd.readouterr()
        return int(stop.value.code or 0), output.out, output.err

    return call


@pytest.fixture
def store(tmp_path: Path) -> SqliteJournal:
    """Return a journal in use: one record of every kind, a snapshot of them, and three alerts of a later day."""
    journal = SqliteJournal(JournalSettings(file="j.sqlite", reserve_bytes=0), make_services(base=str(tmp_path)))
    journal.append(sample_records())
    journal.snapshot(b"state")
    later = parse_time("2024-01-02T10:00:00.5")
    journal.append([Alerted(later + number, "code", f"[red]alert[/red] {number}") for number in range(3)])
    return journal


@pytest.fixture(autouse=True)
def _closed(store: SqliteJournal) -> object:
    yield
    store.close()


def spoil(path: str, number: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE records SET body = x'00' WHERE number = ?", (number,))


# --- show


def test_show_prints_the_last_records_and_how_many_there_are(run: Run, store: SqliteJournal) -> None:
    code, out, err = run("journal", "show", "j.sqlite", "--limit", "4")

    lines = out.splitlines()
    assert (0, "") == (code, err)
    assert ["number", "time", "(UTC)", "kind", "what"] == lines[0].split()
    assert ["11", "2024-01-01", "00:00:00", "RunEnded", "completed"] == lines[1].split()
    assert ["14", "2024-01-02", "10:00:00.500", "Alerted", "code", "[red]alert[/red]", "2"] == lines[4].split()
    assert f"4 of 14; records 1 to 14, journal {store.id}" == lines[5]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_show_fits_the_terminal_and_cuts_nothing(columns: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    _, out, _ = run("journal", "show", "j.sqlite")

    assert max(map(len, out.splitlines())) <= int(columns)
    words = out.split()
    for record in sample_records():
        assert [one for one in describe(record).split() if one not in words] == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--kind", "Traded"], [6]),
        (["--kind", "RunBegan", "--kind", "RunEnded"], [1, 11]),
        (["--order", "trend-000001", "--limit", "2"], [7, 8]),
        (["--since", "2024-01-02"], [12, 13, 14]),
        (["--limit", "0"], list(range(1, 15))),
    ],
)
def test_show_filters(options: list[str], expected: list[int], run: Run) -> None:
    _, out, _ = run("journal", "show", "j.sqlite", "--json", *options)

    assert expected == [record["number"] for record in json.loads(out)]


def test_json_of_a_record_has_its_fields_and_no_number_that_is_none(run: Run) -> None:
    _, out, _ = run("journal", "show", "j.sqlite", "--json", "--kind", "OrderChanged")

    first = json.loads(out)[0]
    assert (5, "OrderChanged", "2024-01-01T00:00:00Z") == (first["number"], first["kind"], first["at"])
    assert ("accepted", None, 100.5) == (
        first["order"]["status"],
        first["order"]["average_price"],
        first["order"]["request"]["limit"],
    )


def test_nothing_found_is_said(run: Run) -> None:
    code, out, _ = run("journal", "show", "j.sqlite", "--order", "nobody")

    assert 0 == code
    assert out.startswith("no record fits; records 1 to 14, journal ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["journal", "show", "gone.sqlite"], "there is no file 'gone.sqlite'; correct the path"),
        (["journal", "verify", "gone.sqlite"], "there is no file 'gone.sqlite'"),
        (["backup", "gone.sqlite", "b.sqlite"], "there is no file 'gone.sqlite'"),
        (["restore", "gone.sqlite", "j.sqlite"], "there is no file 'gone.sqlite'"),
        (["journal", "show", "j.sqlite", "--kind", "Fill"], "there is no kind of record 'Fill'; there are AccountSeen"),
        (["journal", "show", "j.sqlite", "--since", "noon"], "--since 'noon' is no time; write 2024-03-01"),
        (["journal", "export", "j.sqlite", "--out", "a.xlsx"], "--out 'a.xlsx' has no known ending; name a .jsonl or .csv file"),
        (["journal", "export", "j.sqlite", "--out", "there.csv"], "'there.csv' is there already and is not overwritten"),
        (["journal", "verify", "j.sqlite", "--expect", "5"], "--expect '5' is no NUMBER:HASH"),
    ],
)
def test_what_is_called_wrongly_ends_with_2_and_a_line(arguments: list[str], words: str, run: Run) -> None:
    Path("there.csv").write_text("mine", encoding="utf-8")

    code, out, err = run(*arguments)

    assert (2, "") == (code, out)
    assert words in err
    assert "mine" == Path("there.csv").read_text(encoding="utf-8")


def test_a_file_that_is_no_journal_ends_with_1_and_a_line(run: Run) -> None:
    Path("notes.txt").write_text("hello", encoding="utf-8")

    code, out, err = run("journal", "show", "notes.txt")

    assert (1, "", 1) == (code, out, len(err.splitlines()))
    assert "notes.txt' is no journal: it is not a SQLite file; name another file" in err


# --- export


def test_export_writes_one_record_a_line(run: Run) -> None:
    code, out, _ = run("journal", "export", "j.sqlite", "--out", "all.jsonl")

    lines = [json.loads(line) for line in Path("all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (0, "14 records to all.jsonl\n") == (code, out)
    assert list(range(1, 15)) == [line["number"] for line in lines]
    assert "entry – „nötig“" == lines[2]["request"]["tag"]


def test_export_writes_a_table(run: Run) -> None:
    run("journal", "export", "j.sqlite", "--out", "all.csv")

    with open("all.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert 14 == len(rows)
    picked = ("order", "client_tag", "symbol", "side", "size", "price", "status")
    assert ["trend-000001", "abcdefghij234567xy", "TEST", "buy", "0.1", "100.5", "accepted"] == [rows[4][key] for key in picked]
    assert ["trend-000001", "", "TEST", "buy", "0.04", "100.45", ""] == [rows[5][key] for key in picked]
    assert ["trend-000001", "", "", "", "", "", ""] == [rows[7][key] for key in picked]
    assert ["", "", "", "", "", "", "HALTED"] == [rows[8][key] for key in picked]


def test_export_of_a_damaged_journal_keeps_what_is_right_and_fails(run: Run, store: SqliteJournal) -> None:
    store.close()
    spoil("j.sqlite", 6)

    code, out, err = run("journal", "export", "j.sqlite", "--out", "some.jsonl")

    assert (1, "") == (code, out)
    assert "record 6 is not what was written" in err
    assert err.endswith("; the 5 records before it are in 'some.jsonl'\n")
    assert 5 == len(Path("some.jsonl").read_text(encoding="utf-8").splitlines())
    assert not Path("some.jsonl.partial").exists()


# --- verify


def test_verify_of_a_whole_journal_ends_with_0_and_gives_its_head(run: Run, store: SqliteJournal) -> None:
    code, out, _ = run("journal", "verify", "j.sqlite")

    number, digest = store.head
    assert 0 == code
    assert f"whole: 14 records 1 to 14, 1 snapshot, journal {store.id}\nhead {number}:{digest}\n" == out


def test_verify_of_a_damaged_journal_ends_with_1_and_names_the_record(run: Run, store: SqliteJournal) -> None:
    store.close()
    spoil("j.sqlite", 6)

    code, out, _ = run("journal", "verify", "j.sqlite")
    _, as_json, _ = run("journal", "verify", "j.sqlite", "--json")

    assert 1 == code
    assert "record 6 is not what was written, or not in its place" == out.splitlines()[0]
    assert "DAMAGED: 1 problem; restore a backup with `herald restore BACKUP " in out
    assert [out.splitlines()[0]] == json.loads(as_json)["problems"]


def test_verify_compares_with_a_head_that_was_noted(run: Run, store: SqliteJournal) -> None:
    number, digest = store.head
    store.append([CancelIntended(1, "connectors.main", "1", "trend-000001")])

    right, _, _ = run("journal", "verify", "j.sqlite", "--expect", f"{number}:{digest}")
    wrong, out, _ = run("journal", "verify", "j.sqlite", "--expect", f"{number - 1}:{digest}")

    assert (0, 1) == (right, wrong)
    assert out.startswith("record 13 is not the one whose hash was noted")


# --- compact


def test_compact_moves_what_a_snapshot_stands_for(run: Run, store: SqliteJournal) -> None:
    store.close()

    code, out, _ = run("journal", "compact", "j.sqlite")
    again, second, _ = run("journal", "compact", "j.sqlite")

    archive = Path("j.sqlite.000000001-000000011")
    assert (0, 0) == (code, again)
    assert f"11 records to {archive.resolve()}\n" == out
    assert second.startswith("nothing to move")
    assert [(), ()] == [verify(Path("j.sqlite")).problems, verify(archive).problems]


def test_compact_and_restore_are_recorded_where_a_config_records_what_is_done_there(
    run: Run, store: SqliteJournal, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "day.toml").write_text('[herald]\nmode = "backtest"\n[audit]\n', encoding="utf-8")
    store.close()
    assert 0 == run("backup", "j.sqlite", "copy.sqlite")[0]
    mark_audited(tmp_path, str(tmp_path / "day.toml"))

    codes = [run("journal", "compact", "j.sqlite")[0], run("restore", "copy.sqlite", "j.sqlite")[0]]
    (tmp_path / "day.toml").unlink()
    refused, _, told = run("restore", "copy.sqlite", "j.sqlite")

    lines = (tmp_path / "state" / "audit.log").read_text(encoding="utf-8").splitlines()
    acts = [(one["act"], one["result"]) for one in map(json.loads, lines) if str(one.get("act", "")).startswith("journal.")]
    assert [0, 0] == codes
    expected = [(act, result) for act in ("journal.compact", "journal.restore") for result in ("asked", "done")]
    assert expected == acts
    assert refused
    assert "which is not there; name the config" in told


def test_compact_refuses_what_no_snapshot_covers(run: Run, store: SqliteJournal) -> None:
    store.close()

    code, _, err = run("journal", "compact", "j.sqlite", "--keep-after", "12")

    assert 2 == code
    assert "keep_after 12 must be from 0 to 11, the last record that a snapshot covers" in err


def test_compact_of_a_journal_in_use_is_refused(run: Run) -> None:
    code, _, err = run("journal", "compact", "j.sqlite")

    assert 1 == code
    assert "is in use by process" in err


# --- backup and restore


def test_backup_copies_a_journal_in_use_and_says_what_it_holds(run: Run, store: SqliteJournal) -> None:
    code, out, _ = run("backup", "j.sqlite", "b.sqlite")

    assert 0 == code
    assert f"backup to {Path('b.sqlite').resolve()}\nwhole: 14 records 1 to 14, 1 snapshot, journal {store.id}\n" in out
    assert 15 == store.append([Alerted(1, "a", "")])


def test_backup_into_a_folder_names_the_file_by_its_last_record(run: Run) -> None:
    Path("copies").mkdir()

    code, _, _ = run("backup", "j.sqlite", "copies")

    assert 0 == code
    assert ["j-000000014.sqlite"] == [one.name for one in Path("copies").iterdir()]


def test_backup_overwrites_nothing(run: Run) -> None:
    Path("b.sqlite").write_text("mine", encoding="utf-8")

    code, _, err = run("backup", "j.sqlite", "b.sqlite")

    assert 1 == code
    assert "b.sqlite' is there already and is not overwritten; name another file, or delete it" in err
    assert "mine" == Path("b.sqlite").read_text(encoding="utf-8")


def test_restore_brings_the_backup_back_and_keeps_what_was_there(run: Run, store: SqliteJournal) -> None:
    run("backup", "j.sqlite", "b.sqlite")
    store.append([Alerted(1, "after", "the backup")])
    store.close()

    code, out, _ = run("restore", "b.sqlite", "j.sqlite")

    assert 0 == code
    assert f"what was there is now {Path('j.sqlite.replaced-1').resolve()}" in out
    assert "what happened after the backup is not in it" in out
    assert (14, 15) == (verify(Path("j.sqlite")).last, verify(Path("j.sqlite.replaced-1")).last)


def test_restore_over_a_journal_in_use_is_refused(run: Run, store: SqliteJournal) -> None:
    run("backup", "j.sqlite", "b.sqlite")

    code, _, err = run("restore", "b.sqlite", "j.sqlite")

    assert 1 == code
    assert "j.sqlite' is in use by process" in err
    assert 15 == store.append([Alerted(1, "a", "")])
