"""Presets of MetaTrader: what is read, what it becomes, and every way in which it cannot be read."""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, model_validator

from herald.cli import main
from herald.components import Settings
from herald.errors import ConfigError, DataError, HeraldError
from herald.plugins.mt5.inputs import Sweep, import_inputs, read_inputs, toml_table, toml_value

ATHENS = ZoneInfo("Europe/Athens")
PRESET = """; saved on 2024.05.01 10:00:00
; this file contains input parameters for testing/optimizing MyEA expert advisor
;
; === entries ===
InpFast=12||5||5||50||Y
Inp_Slow=26.000000||10||10||200||N
InpLots=0.10||0.1||0.010000||1.000000||N
InpLongOnly=true||false||0||true||Y
Note=a=b; not a comment
"""


class Mode(Enum):
    FOLLOW = "follow"
    FADE = "fade"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Everything(Settings):
    """One setting of every kind."""

    fast: int = Field(10, ge=1)
    slow: int = 50
    size: float | None = None
    long_only: bool = False
    note: str = ""
    mode: Mode = Mode.FADE
    level: Level = Level.LOW
    method: Literal["sma", "ema"] = "sma"
    confirm_timeframe: str = "1h"
    since: dt.datetime | None = None
    day: dt.date | None = None
    open_at: dt.time | None = None
    weights: list[float] = []
    width: Annotated[float, Field(gt=0)] = 1.0
    key: SecretStr | None = None
    either: int | str = 0

    @model_validator(mode="after")
    def _ordered(self) -> Everything:
        if self.fast >= self.slow:
            raise ValueError("fast must be less than slow")
        return self


def utf16(text: str) -> bytes:
    return b"\xff\xfe" + text.replace("\n", "\r\n").encode("utf-16-le")


def complaint(error: HeraldError) -> str:
    """Return what is wrong, after a look that every problem is one line."""
    lines = [str(each) for each in error.problems] if isinstance(error, ConfigError) else [str(error)]
    assert lines
    assert all(line and len(line.splitlines()) == 1 for line in lines)
    return lines[0]


def imported(text: str, **options: object):
    return import_inputs(read_inputs(utf16(text), "my.set"), Everything, "my.set", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        utf16(PRESET), b"\xfe\xff" + PRESET.encode("utf-16-be"), PRESET.encode("utf-16-le"), PRESET.encode("utf-16-be"),
        PRESET.encode(), b"\xef\xbb\xbf" + PRESET.encode(), PRESET.replace("\n", "\r").encode(),
    ],
    ids=["utf-16-le", "utf-16-be", "le without mark", "be without mark", "utf-8", "utf-8 with mark", "old ends of line"],
)  # fmt: skip
def test_a_preset_is_read_in_every_encoding_that_metatrader_and_editors_use(data: bytes) -> None:
    found = read_inputs(data, "my.set")

    assert ["InpFast", "Inp_Slow", "InpLots", "InpLongOnly", "Note"] == [one.name for one in found]
    assert ["12", "26.000000", "0.10", "true", "a=b; not a comment"] == [one.text for one in found]
    assert [5, 6, 7, 8, 9] == [one.line for one in found]
    assert Sweep("5", "5", "50", True) == found[0].sweep
    assert found[1].sweep is not None
    assert not found[1].sweep.is_on
    assert found[4].sweep is None


def test_the_ranges_of_metatrader_4_stand_on_lines_of_their_own() -> None:
    (one, other) = read_inputs(b"Fast=12\nFast,F=1\nFast,1=5\nFast,2=5\nFast,3=50\nSlow=26\nSlow,F=0\n", "old.set")

    assert ("12", Sweep("5", "5", "50", True)) == (one.text, one.sweep)
    assert other.sweep is None


def test_inputs_go_to_the_settings_of_their_name() -> None:
    found = imported(PRESET)

    assert {"fast": 12, "slow": 26, "size": 0.1, "long_only": True, "note": "a=b; not a comment"} == found.values
    assert ["fast", "slow", "size", "long_only", "note"] == list(found.values)
    assert "InpLots" == found.sources["size"].name
    assert {"fast", "long_only"} == set(found.sweeps)
    assert "mode" in found.defaults
    assert not found.unused


@pytest.mark.parametrize(
    "name",
    ["long_only", "LongOnly", "InpLongOnly", "inpLongOnly", "Inp_LongOnly", "inp_long_only", "InputLongOnly", "ExtLongOnly", "i_LongOnly",
     "g_long_only", "LONG_ONLY"],
)  # fmt: skip
def test_every_usual_spelling_of_an_input_finds_its_setting(name: str) -> None:
    assert {"long_only": True} == imported(f"{name}=true\n").values


@pytest.mark.parametrize(
    ("line", "setting", "expected"),
    [
        ("LongOnly=0", "long_only", False),
        ("LongOnly=TRUE", "long_only", True),
        ("Fast=7.0", "fast", 7),
        ("Lots=1e-2", "size", 0.01),
        ("Mode=Follow", "mode", Mode.FOLLOW),
        ("Level=2", "level", Level.HIGH),
        ("Level=high", "level", Level.HIGH),
        ("Method=EMA", "method", "ema"),
        ("ConfirmTimeframe=15", "confirm_timeframe", "15m"),
        ("ConfirmTimeframe=16388", "confirm_timeframe", "4h"),
        ("ConfirmTimeframe=16408", "confirm_timeframe", "1d"),
        ("ConfirmTimeframe=32769", "confirm_timeframe", "1w"),
        ("ConfirmTimeframe=PERIOD_H1", "confirm_timeframe", "1h"),
        ("Day=2024.05.01 00:00:00", "day", dt.date(2024, 5, 1)),
        ("Day=1714521600", "day", dt.date(2024, 5, 1)),
        ("OpenAt=9:30", "open_at", dt.time(9, 30)),
        ("Weights=0.5, 0.25,0.25", "weights", [0.5, 0.25, 0.25]),
        ("Note=C:\\Users\\x \"quoted\"", "note", 'C:\\Users\\x "quoted"'),
        ("Note=", "note", ""),
    ],
)  # fmt: skip
def test_values_become_what_their_setting_is(line: str, setting: str, expected: object) -> None:
    assert expected == imported(line).values[setting]


@pytest.mark.parametrize("text", ["1714557600", "2024.05.01 10:00"])
def test_a_time_is_the_clock_of_the_server(text: str) -> None:
    # 10:00 in Athens is 07:00 UTC in May; the number is 10:00 counted as if it were UTC.
    found = imported(f"Since={text}", zone=ATHENS)

    assert dt.datetime(2024, 5, 1, 7, tzinfo=dt.UTC) == found.values["since"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Fast=many", "line 1: Fast: 'many' is not a number"),
        ("Fast=1.5", "1.5' is not a whole number"),
        ("Fast=1_000", "'1_000' is not a number"),
        ("Fast=0", "line 1: Fast: Input should be greater than or equal to 1"),
        ("Fast=99", "fast must be less than slow"),
        ("Lots=nan", "'nan' is not a number"),
        ("Lots=1e999", "'1e999' is not a number"),
        ("LongOnly=2", "'2' is neither true nor false"),
        ("Mode=1", "'1' is none of follow, fade (setting mode); say which, with --value mode=CHOICE"),
        ("Method=3", "'3' is none of sma, ema"),
        ("ConfirmTimeframe=0", "0 means the time frame of the chart (setting confirm_timeframe); state one: --value confirm_timeframe=15m"),
        ("ConfirmTimeframe=49153", "no time frame that Herald has"),
        ("ConfirmTimeframe=soon", "unknown time frame"),
        ("Since=2024.05.01 10:00", "is a time of the broker's server (setting since); name its clock: --zone Europe/Athens"),
        ("Since=2024.13.01", "'2024.13.01' is no time"),
        ("Day=99999999999999999", "is no time"),
        ("OpenAt=25:00", "'25:00' is no time"),
        ("Weights=1,x", "'x' is not a number"),
        ("Key=hunter2", "a secret does not belong into a config file"),
        ("Either=1", "the setting takes several types (setting either); write either by hand"),
        ("Fast=1\nInpFast=2", "line 2: InpFast: means the setting fast, and so does Fast on line 1; say which, with --map InpFast="),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_problem_with_its_line(line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(line)

    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        imported("Fast=x\nLongOnly=maybe\n", names={"Nowhere": "slow"}, values={"nothing": "1"})

    assert 4 == len(caught.value.problems)
    assert all("\n" not in str(each) for each in caught.value.problems)


def test_what_no_setting_takes_is_reported_one_line_each_with_a_place_to_look() -> None:
    found = imported("MagicNumber=7\nTakeProfit=50\nBlank1=----\nFast=3\n")

    assert {"fast": 3} == found.values
    assert 3 == len(found.unused)
    assert "`magic` of the mt5 connector" in found.unused[0]
    assert "[[exits]]" in found.unused[1]
    assert "--map Blank1=SETTING" in found.unused[2]


def test_a_name_that_the_user_gives_wins_over_spelling() -> None:
    found = imported("Period=7\nFast=9\n", names={"Period": "fast"})

    assert {"fast": 7} == found.values
    assert ("line 2: Fast = '9' is not used: Period gives fast",) == tuple(found.unused)


def test_an_input_can_be_left_out_and_a_value_given() -> None:
    found = imported("Fast=x\nInpFast=9\nMode=1\n", names={"Fast": ""}, values={"mode": "follow", "method": "ema"})

    assert {"fast": 9, "mode": Mode.FOLLOW, "method": "ema"} == found.values
    assert not found.unused


def test_two_inputs_given_to_one_setting_are_a_problem() -> None:
    with pytest.raises(ConfigError, match="several inputs are given to the setting 'fast'"):
        imported("A=1\nB=2\n", names={"A": "fast", "B": "fast"})


def test_a_setting_that_the_strategy_needs_is_named() -> None:
    class Needs(Settings):
        length: int

    with pytest.raises(ConfigError, match="the strategy needs length and no input gives it; --value length="):
        import_inputs(read_inputs(b"Fast=1", "my.set"), Needs, "my.set")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "holds no input"),
        (b"; only a comment\n", "holds no input"),
        (b"\xff\xfe", "holds no input"),
        (b"\xff\xfea", "neither UTF-16 nor UTF-8 at byte 2"),
        (b"Lots=0.1\nN\xe4me=1\n", "neither UTF-16 nor UTF-8 at byte 10"),
        (b"just words\n", "line 1: 'just words' is neither Name=value nor a comment"),
        (b"Fast=1\nSlow 2\n", "my.set, line 2"),
        (b"=1\n", "'' cannot be the name of an input"),
        (b"two words=1\n", "cannot be the name of an input"),
        (b"9lives=1\n", "cannot be the name of an input"),
        (b"Fast=1\nSlow=2\nFast=3\n", "line 3: the input 'Fast' stands on line 1 already"),
        (b"Fast=1" * 200_000, "has 1,200,000 bytes"),
        (b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0", "my.set"),
        (b"PK\x03\x04\x14\0\0\0\x08\0", "my.set"),
    ],
)  # fmt: skip
def test_what_is_no_preset_is_refused_with_the_place(data: bytes, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_inputs(data, "my.set")

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(utf16),
        st.text("=|;YNfastlong_0159.\n, \t[", max_size=200).map(str.encode),
    )
)
def test_no_bytes_give_anything_but_inputs_or_one_line(data: bytes) -> None:
    try:
        found = import_inputs(read_inputs(data, "fuzz.set"), Everything, "fuzz.set", zone=ATHENS)
    except HeraldError as error:
        complaint(error)
    else:
        assert "trend" in tomllib.loads(toml_table(found, "trend", "mine", "fuzz.set"))["strategies"]


@given(
    st.dictionaries(
        st.sampled_from(sorted(Everything.model_fields)), st.text(max_size=30).filter(lambda text: len(text.splitlines()) < 2)
    )
)
def test_no_value_gives_anything_but_settings_or_problems(values: dict[str, str]) -> None:
    text = "".join(f"{name}={value}\n" for name, value in values.items()) + "Other=1\n"
    try:
        found = imported(text, zone=ATHENS)
    except HeraldError as error:
        complaint(error)
    else:
        table = tomllib.loads(toml_table(found, "trend", "mine", "a\nb.set"))["strategies"]["trend"]
        assert Everything.model_validate({name: value for name, value in table.items() if name != "use"})


@given(
    st.recursive(
        st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text()),
        st.lists,
        max_leaves=5,
    )
)
def test_every_value_survives_toml(value: object) -> None:
    assert value == tomllib.loads(f"x = {toml_value(value)}")["x"]


def test_a_time_survives_toml() -> None:
    moment = dt.datetime(2024, 5, 1, 10, tzinfo=ATHENS)

    assert moment == tomllib.loads(f"x = {toml_value(moment)}")["x"]


def herald(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    output = capsys.readouterr()
    return int(stop.value.code or 0), output.out, output.err


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "MyEA.set"
    path.write_bytes(utf16("InpFast=12||5||5||50||Y\nInpSlow=26\nLots=0.1\nMagicNumber=1\n"))
    return path


def test_the_command_prints_a_table_that_a_config_takes(preset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = herald(capsys, "mt5", "inputs", str(preset), "--strategy", "sma_cross", "--table", "trend")

    table = tomllib.loads(out)["strategies"]["trend"]
    assert (0, {"use": "strategies.sma_cross", "fast": 12, "slow": 26, "size": 0.1}) == (code, table)
    assert "# the tester optimised fast: 5 to 50, step 5" in out
    assert err.startswith("line 4: MagicNumber = '1' is not used")
    assert 1 == len(err.splitlines())


def test_the_command_prints_json(preset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = herald(capsys, "mt5", "inputs", str(preset), "--strategy", "sma_cross", "--json", "--map", "MagicNumber=")

    document = json.loads(out)
    assert (0, {"fast": 12, "slow": 26, "size": 0.1}) == (code, document["settings"])
    assert {"fast": ["5", "5", "50"]} == document["optimised"]
    assert [] == document["unused"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere.set", "--strategy", "sma_cross"), 2, "there is no file 'nowhere.set'"),
        (("FILE", "--strategy", "nothing"), 4, "no strategy is called 'nothing'"),
        (("FILE",), 2, "--strategy"),
        (("FILE", "--strategy", "sma_cross", "--map", "InpFast"), 2, "'InpFast' is not NAME=VALUE"),
        (("FILE", "--strategy", "sma_cross", "--map", "InpFast=nowhere"), 4, "the strategy has no setting 'nowhere'"),
        (("FILE", "--strategy", "sma_cross", "--zone", "Mars/Olympus"), 2, "'Mars/Olympus' is no time zone"),
        (("FILE", "--strategy", "sma_cross", "--table", "a b"), 2, "'a b' cannot name a table"),
        (("FILE", "--strategy", "sma_cross", "--value", "slow=3"), 4, "MyEA.set: 1 problem"),
        ((".", "--strategy", "sma_cross"), 1, "check the path"),
    ],
)  # fmt: skip
def test_the_command_ends_in_words(
    preset: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    found, out, err = herald(capsys, "mt5", "inputs", *(str(preset) if each == "FILE" else each for each in arguments))

    assert (code, "") == (found, out)
    assert words in err
    assert "Traceback" not in err
