"""The commands ``herald data check`` and ``herald data show``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from herald.cli import main
from herald.cli.data import data

DATA = Path(__file__).parents[2] / "data"
HEADER = "time,open,high,low,close,volume\n"
SOUND = HEADER + "2024-03-01 10:00,1,1,1,1,1\n2024-03-01 11:00,1,1,1,1,2\n2024-03-01 14:00,1,1,1,1,3\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(data, list(arguments))


def write(folder: Path, text: str) -> str:
    path = folder / "prices.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def test_clean_file_exits_0_and_states_span_and_gaps(tmp_path: Path) -> None:
    result = run("check", write(tmp_path, SOUND))

    assert 0 == result.exit_code
    line = "3 bars 1h, 2024-03-01T10:00:00Z to 2024-03-01T15:00:00Z, 1 gaps, longest 2:00:00 after 2024-03-01T11:00:00Z"
    assert line in result.output
    assert result.output.endswith("clean\n")


def test_dirty_file_exits_1_and_every_defect_is_listed(tmp_path: Path) -> None:
    result = run("check", write(tmp_path, SOUND + "2024-03-01 15:00,1,0.5,0.9,1,1\n2024-03-01 16:00,x,1,1,1,1\n"))

    assert 1 == result.exit_code
    assert "high_below_low" in result.output
    assert "text_in_number" in result.output
    assert "2 defects: 1 high_below_low, 1 text_in_number" in result.output


def test_missing_file_exits_2_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", "nowhere.csv"])

    assert 2 == stop.value.code
    assert ("", "herald: nowhere.csv does not exist or is no file; correct the path\n") == capsys.readouterr()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--zone", "Mars", "--zone: unknown time zone"), ("--timeframe", "x", "--timeframe: unknown time frame")],
)
def test_wrong_option_exits_2_with_one_line(tmp_path: Path, option: str, value: str, words: str) -> None:
    result = run("check", write(tmp_path, SOUND), option, value)

    assert 2 == result.exit_code
    assert words in result.output
    assert 1 == result.output.count("\n")


@pytest.mark.parametrize("text", ["", HEADER, "1,2,3\n", "time,bid,ask\n2024-03-01,1,1\n"])
def test_unreadable_file_is_a_defect_not_a_traceback(tmp_path: Path, text: str) -> None:
    result = run("check", write(tmp_path, text))

    assert 1 == result.exit_code
    assert "1 defect: " in result.output
    assert "Traceback" not in result.output


def test_json_has_every_defect_with_row_code_text_and_remedy() -> None:
    names = ("mt5_EURUSD_M1_decimal_lost.csv.gz", "mt5_export_XAUUSD_H1_2025.csv.gz")

    result = run("check", "--json", *(str(DATA / name) for name in names))

    assert 1 == result.exit_code
    dirty, clean = json.loads(result.output)
    assert ({"decimal_lost": 379}, {}) == (dirty["counts"], clean["counts"])
    assert {"row", "code", "text", "remedy"} == set(dirty["defects"][0])
    assert "files.mt5" == clean["format"]
    (symbol,) = clean["symbols"]
    assert (4_858, "1h", "2025-01-02T01:00:00Z") == (symbol["rows"], symbol["timeframe"], symbol["start"])


def test_zone_of_the_file_is_taken_into_account(tmp_path: Path) -> None:
    times = ["02:00", "02:30", "02:00", "02:30", "03:00"]
    path = write(tmp_path, HEADER + "".join(f"2024-10-27 {text},1,1,1,1,1\n" for text in times))

    assert 1 == run("check", path).exit_code
    assert 0 == run("check", path, "--zone", "Europe/Berlin").exit_code


def test_show_prints_what_a_file_holds() -> None:
    result = run("show", str(DATA / "equity_google_nulls_splits.csv.gz"))

    assert 0 == result.exit_code
    assert ["AAP", "APH", "BHF"] == [line.split(":")[0].strip() for line in result.output.splitlines()[1:]]


def test_show_json_has_no_defects(tmp_path: Path) -> None:
    result = run("show", "--json", write(tmp_path, SOUND))

    assert {"file", "format", "symbols"} == set(json.loads(result.output)[0])
