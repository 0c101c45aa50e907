"""``herald logs``: what the log wrote, across rotations, filtered, followed, and harmless on a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from herald.cli import main
from herald.cli.logs import _Tail, logs
from herald.clock import SECOND, format_time, parse_time
from herald.errors import NotFound
from herald.model import Alert, Disconnected, Fill, Note, Side
from herald.plugins.log import Log, LogSettings
from herald.testing import make_services

NOON = parse_time("2024-03-06T12:00:00Z")


def write(folder: Path, *events: Any, name: str = "observers[0]", **settings: Any) -> None:
    log = Log(LogSettings(**({"file": "state/herald.log", "level": "DEBUG"} | settings)), make_services(name, base=str(folder)))
    for event in events:
        log.observe(event)
    log.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "run.toml"
    file.write_text('[[observers]]\nuse = "log"\nfile = "state/herald.log"\n', encoding="utf-8")
    return file


def show(config: Path, *arguments: str) -> list[str]:
    result: Result = CliRunner().invoke(logs, [str(config), *arguments])
    assert 0 == result.exit_code, (result.output, result.exception)
    return result.output.splitlines()


def fill(order: str, minute: int = 0) -> Fill:
    return Fill("1", order, "EURUSD", Side.BUY, 0.1, 1.1, 0.0, "USD", NOON + minute * 60 * SECOND)


def note(number: int) -> Note:
    return Note(NOON + number * SECOND, "trend", f"no {number}")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_reads_the_same_whatever_form_its_file_has(config: Path, tmp_path: Path, form: str) -> None:
    write(tmp_path, note(1), Disconnected(NOON + 2 * SECOND, "main", "time-out"), format=form)

    assert [
        '2024-03-06T12:00:01Z INFO     Note strategy=trend text="no 1"',
        "2024-03-06T12:00:02Z WARNING  Disconnected connector=main text=time-out",
    ] == show(config)


def test_rotated_files_are_read_in_their_order(config: Path, tmp_path: Path) -> None:
    write(tmp_path, *(note(number) for number in range(60)), rotation="300 B")

    assert len(list((tmp_path / "state").glob("herald.*.log"))) > 5
    assert [f"no {number}" for number in range(60)] == [line.split('"')[1] for line in show(config)]


def test_other_files_in_the_folder_are_no_part_of_the_log(config: Path, tmp_path: Path) -> None:
    write(tmp_path, note(1))
    for name in ("herald.old.log", "heraldx2024-03-06_12-00-00_000000.log", "other.2024-03-06_12-00-00_000000.log"):
        (tmp_path / "state" / name).write_text("2024-03-06T11:00:00Z INFO     Note text=stranger\n", encoding="utf-8")

    assert 1 == len(show(config))


def test_levels_times_and_counts_choose_lines(config: Path, tmp_path: Path) -> None:
    write(tmp_path, note(1), note(2), Alert(NOON + 3 * SECOND, "late_bar", "x"), note(4))

    assert ["Alert"] == [line.split()[2] for line in show(config, "--level", "warning")]
    assert 2 == len(show(config, "--since", "2024-03-06T12:00:03Z"))
    assert 0 == len(show(config, "--since", "1h"))
    assert ['"no 4"'] == re.findall(r'"[^"]*"', "\n".join(show(config, "-n", "1")))


def test_a_relative_time_counts_from_now(config: Path, tmp_path: Path) -> None:
    now = time.time_ns()
    write(tmp_path, *(Note(now - ago * 60 * SECOND, "trend", f"{ago} ago") for ago in (300, 100, 30)))

    assert ['"100 ago"', '"30 ago"'] == re.findall(r'"[^"]*"', "\n".join(show(config, "--since", "2h")))
    assert ['"30 ago"'] == re.findall(r'"[^"]*"', "\n".join(show(config, "--since", "45m")))


def test_json_is_printed_of_both_forms_and_one_order_can_be_followed(config: Path, tmp_path: Path) -> None:
    write(tmp_path, fill("trend-000001"), events=("Fill",))
    text = [json.loads(line) for line in show(config, "--json")]
    write(tmp_path, fill("trend-000002", 1), fill("trend-000003", 2), fill("trend-000002.sl", 3), events=("Fill",), format="json")
    order = [json.loads(line) for line in show(config, "--json", "--order", "trend-000002")]

    assert [("2024-03-06T12:00:00Z", "INFO")] == [(one["at"], one["level"]) for one in text]
    assert ["trend-000002", "trend-000002.sl"] == [one["order"] for one in order]
    assert 1 == len({one["trace_id"] for one in order})


def test_several_logs_are_merged_by_time(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    tables = "".join(f'[[observers]]\nuse = "log"\nfile = "{name}.log"\n' for name in ("a", "b", "a"))
    config.write_text(tables, encoding="utf-8")
    write(tmp_path, note(1), note(3), file="a.log")
    write(tmp_path, Note(NOON + 1_500_000_000, "trend", "no 1.5"), note(4), file="b.log", name="observers[1]")

    assert ['"no 1"', '"no 1.5"', '"no 3"', '"no 4"'] == re.findall(r'"[^"]*"', "\n".join(show(config)))


def test_what_steers_a_terminal_is_not_passed_on(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    lines = (
        b"2024-03-06T12:00:00Z INFO     Note text=\x1b[2J\x07evil\xe2\x80\xae\n\xff\xfe broken\nno time at all\n{not json}\n\n"
    )
    (tmp_path / "state" / "herald.log").write_bytes(lines)

    shown = show(config)

    assert 4 == len(shown)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", "".join(shown))
    assert 4 == len([json.loads(line) for line in show(config, "--json")])
    assert [] == show(config, "--level", "error")  # a line without a level has that of the one before


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (None, 2, "there is no config 'run.toml'"),
        ("[[observers]\n", 4, "it is no TOML"),
        ("", 4, 'there is no log; add [[observers]] with use = "log" and file = "state/herald.log"'),
        ('[[observers]]\nuse = "log"\n', 4, "the log is not written to a file; add"),
        ("observers = 5\n", 4, "there is no log; add"),
        ('[[observers]]\nuse = "log"\nfile = "x.log"\n', 2, "there is no log yet: "),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str | None, code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("run.toml").write_text(text, encoding="utf-8")

    with pytest.raises(SystemExit) as caught:
        main(("logs", "run.toml"))

    error = capsys.readouterr().err
    assert code == caught.value.code
    assert words in error
    assert "Traceback" not in error


def test_a_log_that_nobody_may_read_is_one_line(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "herald.log").mkdir(parents=True)
    rotated = tmp_path / "state" / "herald.2024-03-06_12-00-00_000000.log"
    rotated.write_text("2024-03-06T11:00:00Z INFO     Note text=before\n", encoding="utf-8")

    with pytest.raises(NotFound, match="cannot be read; look at its permissions"):
        CliRunner().invoke(logs, [str(config)], catch_exceptions=False)


def test_a_time_that_is_none_is_called_wrongly(config: Path) -> None:
    result = CliRunner().invoke(logs, [str(config), "--since", "yesterday"])

    assert 2 == result.exit_code
    assert "'yesterday' is no time; write 15m, 2h or 1d" in result.output


# --- following


def texts(tail: _Tail) -> list[str]:
    return re.findall(r'"([^"]*)"', "\n".join(line.text for line in tail.read()))


def test_only_whole_lines_are_shown_and_each_once(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    tail = _Tail(file)
    seen = [texts(tail)]
    for part in (
        b'2024-03-06T12:00:00Z INFO     Note text="one"\n2024-03-06T',
        b"12:00:01Z INFO     Note text=",
        b'"two"\n',
        b"",
    ):
        with file.open("ab") as out:
            out.write(part)
        seen.append(texts(tail))

    assert [[], ["one"], [], ["two"], []] == seen


def test_a_rotation_between_two_looks_loses_and_doubles_nothing(tmp_path: Path) -> None:
    log = Log(LogSettings(file="a.log", rotation="200 B"), make_services(base=str(tmp_path)))
    tail = _Tail(tmp_path / "a.log")
    seen: list[str] = []
    for number in range(200):
        log.observe(note(number))
        if number % 7 == 0:  # sometimes several rotations lie between
            seen += texts(tail)
    log.close()
    seen += texts(tail)

    assert [f"no {number}" for number in range(200)] == seen


def test_a_log_that_is_written_while_it_is_read_loses_and_doubles_nothing(tmp_path: Path) -> None:
    log = Log(LogSettings(file="a.log", rotation="2 KB"), make_services(base=str(tmp_path)))
    over = threading.Event()

    def run() -> None:
        for number in range(3_000):
            log.observe(note(number))
        log.close()
        over.set()

    tail, seen = _Tail(tmp_path / "a.log"), []
    threading.Thread(target=run).start()
    while not over.is_set():
        seen += texts(tail)
    seen += texts(tail)

    assert [f"no {number}" for number in range(3_000)] == seen


def test_a_file_that_somebody_emptied_is_read_from_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text('2024-03-06T12:00:00Z INFO     Note text="long line one"\n', encoding="utf-8")
    tail = _Tail(file)
    first = texts(tail)

    file.write_text('2024-03-06T12:00:01Z INFO     Note text="x"\n', encoding="utf-8")

    assert (["long line one"], ["x"]) == (first, texts(tail))


def test_following_shows_what_is_written_from_then_on(config: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    (tmp_path / "state").mkdir()
    command = [sys.executable, "-m", "herald", "logs", str(config), "--follow", "--level", "info"]
    following = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=clean_env)
    lines: list[str] = []
    assert following.stdout is not None
    reader = threading.Thread(target=lambda out=following.stdout: lines.extend(iter(out.readline, "")), daemon=True)
    reader.start()
    try:
        time.sleep(0.5)
        write(tmp_path, note(1))
        write(tmp_path, note(2))
        end = time.monotonic() + 20
        while len(lines) < 2 and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        following.kill()
        following.wait()
        reader.join(5)
        following.stdout.close()

    assert [
        f'{format_time(NOON + number * SECOND)} INFO     Note strategy=trend text="no {number}"\n' for number in (1, 2)
    ] == lines
