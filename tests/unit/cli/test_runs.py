"""``herald runs`` and ``herald report``: what they print and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from herald.cli import main
from herald.clock import SECOND, SimClock
from herald.results import load_run, write_run
from tests.runs import MONDAY, FakePlan, make_full_result, make_result


def write(root: Path, hour: int, equity: float = 105.0) -> Path:
    result = make_full_result() if equity == 105.0 else make_result([100.0, equity])
    return write_run(root, FakePlan(), result, ["herald"], clock=SimClock(MONDAY + hour * 3600 * SECOND))


def herald(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    output = capsys.readouterr()
    return int(stop.value.code or 0), output.out, output.err


def test_list_names_every_run_newest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = write(tmp_path, 1), write(tmp_path, 2)

    code, out, _ = herald(capsys, "runs", "list", "--root", str(tmp_path))

    assert 0 == code
    assert out.index(new.name) < out.index(old.name)
    assert "5.00 %" in out


def test_list_as_json_holds_the_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, 1)

    _, out, _ = herald(capsys, "runs", "list", "--root", str(tmp_path), "--json")

    (row,) = json.loads(out)
    assert (folder.name, "completed", ["trend"], ["TEST"]) == tuple(
        row[key] for key in ("run", "status", "strategies", "symbols")
    )
    assert load_run(folder).statistics["total_return"] == row["statistics"]["total_return"]


def test_list_shows_a_damaged_run_among_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged, sound = write(tmp_path, 1), write(tmp_path, 2)
    (damaged / "statistics.json").write_text("{", encoding="utf-8")

    code, out, err = herald(capsys, "runs", "list", "--root", str(tmp_path))

    assert 0 == code
    assert sound.name in out
    assert "unreadable" in out
    assert f"{damaged.name}: {damaged / 'statistics.json'} cannot be read" in err


def test_an_empty_list_says_how_to_make_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = herald(capsys, "runs", "list", "--root", str(tmp_path))

    assert 0 == code
    assert "herald backtest FILE" in out


def test_show_prints_every_statistic_and_the_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, 1)

    code, out, _ = herald(capsys, "runs", "show", "last", "--root", str(tmp_path))

    assert 0 == code
    for words in (folder.name, "conf/my demo.toml", "TEST 1h", "Sharpe ratio", "Profit factor", "∞"):
        assert words in out


def test_show_for_mt5_people_has_the_lines_of_the_tester_in_its_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, 1)

    code, out, _ = herald(capsys, "runs", "show", "last", "--mt5", "--root", str(tmp_path))
    _, document, _ = herald(capsys, "runs", "show", "last", "--mt5", "--json", "--root", str(tmp_path))

    assert 0 == code
    assert out.index("History Quality") < out.index("Total Net Profit") < out.index("Average position holding time")
    lines = json.loads(document)["mt5"]
    assert all(f"{name} " in out and text in out for name, text in lines.items())
    assert "5.00" == lines["Total Net Profit"]
    assert "Sortino" not in out


def test_show_as_json_is_manifest_and_statistics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, 1)

    _, out, _ = herald(capsys, "runs", "show", folder.name[:13], "--root", str(tmp_path), "--json")

    found = json.loads(out)
    assert load_run(folder).manifest == found["manifest"]
    assert load_run(folder).statistics == found["statistics"]


def test_compare_says_that_equal_runs_are_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write(tmp_path, 1), write(tmp_path, 2)

    code, out, _ = herald(capsys, "runs", "compare", one.name, two.name, "--root", str(tmp_path))

    assert 0 == code
    assert "the same to the byte" in out


def test_compare_shows_the_numbers_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write(tmp_path, 1), write(tmp_path, 2, equity=120.0)

    _, out, _ = herald(capsys, "runs", "compare", one.name, two.name, "--root", str(tmp_path))
    _, text, _ = herald(capsys, "runs", "compare", one.name, two.name, "--root", str(tmp_path), "--json")

    line = next(line.split() for line in out.splitlines() if line.startswith("Final equity"))
    assert ["105.00", "120.00", "15.00"] == line[2:]
    assert {"first": 105.0, "second": 120.0, "difference": 15.0} == json.loads(text)["statistics"]["final_equity"]


@pytest.mark.parametrize("command", [("list",), ("show", "last"), ("compare", "2024", "last")])
def test_a_terminal_of_80_columns_is_wide_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    one = write(Path("runs"), 1)
    two = write(Path("runs"), 400 * 24, equity=1_234.0)
    monkeypatch.setattr("herald.cli.runs._console", lambda: Console(highlight=False, width=80))

    _, out, _ = herald(capsys, "runs", *(one.name if word == "2024" else word for word in command))

    assert 80 >= max(map(len, out.splitlines()))
    assert two.name in out


def test_list_folds_a_long_name_and_keeps_every_letter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = FakePlan(source="conf/" + "abcdefghij" * 4 + ".toml")
    name = write_run(tmp_path, plan, make_full_result(), ["herald"], clock=SimClock(MONDAY)).name
    monkeypatch.setattr("herald.cli.runs._console", lambda: Console(highlight=False, width=80))

    _, out, _ = herald(capsys, "runs", "list", "--root", str(tmp_path))

    assert name == "".join(line.split()[0] for line in out.splitlines()[1:])


def test_compare_shows_what_a_continued_line_goes_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Both fell by 10, one from 100 and one from 200: the money is the same and its share is not.
    folders = [
        write_run(tmp_path, FakePlan(), make_result([peak, peak - 10.0]), ["herald"], clock=SimClock(MONDAY + n))
        for n, peak in enumerate((100.0, 200.0))
    ]

    _, out, _ = herald(capsys, "runs", "compare", *(each.name for each in folders), "--root", str(tmp_path))

    lines = [line.split("  ")[0] for line in out.splitlines()]
    at = lines.index("Equity drawdown, maximal")
    assert "... of its peak" == lines[at + 1]


def test_report_writes_the_page_and_prints_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, 1)

    code, out, _ = herald(capsys, "report", "last", "--root", str(tmp_path))

    assert 0 == code
    assert folder / "report.html" == Path(out.strip())
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize("command", [("runs", "show", "nix"), ("runs", "compare", "nix", "last"), ("report", "nix")])
def test_a_run_that_is_not_there_ends_with_two_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    write(tmp_path, 1)

    code, out, err = herald(capsys, *command, "--root", str(tmp_path))

    assert (2, "") == (code, out)
    assert 1 == len(err.splitlines())
    assert "no run 'nix'" in err
