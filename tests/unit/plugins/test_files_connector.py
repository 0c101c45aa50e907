"""The connector: which file, which bars, which clock, and what it refuses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from herald.clock import DAY, HOUR, MINUTE, SimClock, format_time, parse_time
from herald.components import Services
from herald.contracts import DataFormat, ParsedBars, PlannedView
from herald.errors import DataError, NotSupported, Problem
from herald.model import BarSeries, Event, Note, Timeframe
from herald.plugins.files import FilesConnector, FilesSettings, Mt5Format, herald_validate

DATA = Path(__file__).parents[2] / "data"
HEADER = "time,open,high,low,close,volume\n"
H1, D1 = Timeframe(3_600), Timeframe(86_400)


def rows(start: str, count: int, step: int = HOUR, price: float = 1.0) -> str:
    begin = parse_time(start)
    times = (format_time(begin + index * step)[:-1] for index in range(count))
    return "".join(f"{at},{price + i},{price + i + 0.5},{price + i - 0.5},{price + i},{i + 1}\n" for i, at in enumerate(times))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def connector(
    base: Path,
    events: list[Event] | None = None,
    formats: dict[str, DataFormat] | None = None,
    cache: Path | None = None,
    **terms: Any,
) -> FilesConnector:
    heard: list[Event] = [] if events is None else events
    services = Services(
        "connectors.main",
        SimClock(5),
        random.Random(1),
        emit=heard.append,
        base=str(base),
        cache_folder=str((base if cache is None else cache) / ".cache"),
        formats=formats or {},
    )
    return FilesConnector(FilesSettings.model_validate(terms), services)


def times(bars: BarSeries) -> list[str]:
    return [format_time(at) for at in bars.time.tolist()]


# --- which file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "terms",
    [
        {"path": "GBPUSD_H1.csv"},
        {"path": "other.csv", "symbol": "GBPUSD"},
        {"path": "folder"},
        {"path": "folder/{symbol}_H1.csv"},
        {"path": "folder/{symbol}_{timeframe}.csv"},
        {"path": "folder/{symbol}*"},
        {"paths": {"GBPUSD": "other.csv"}},
        {"paths": {"GBPUSD": "folder/GBPUSD_{timeframe}.csv"}},
        {"path": "long.csv"},
    ],
)
def test_symbol_is_found_however_the_config_says_where(tmp_path: Path, terms: dict[str, Any]) -> None:
    text = HEADER + rows("2024-03-01", 3)
    for name in ("GBPUSD_H1.csv", "other.csv", "folder/GBPUSD_H1.csv"):
        write(tmp_path / name, text)
    write(tmp_path / "folder/EURUSD_H1.csv", HEADER + rows("2020-01-01", 2))
    lines = text.splitlines()
    long = (f"{name},{line}" for name in ("A", "GBPUSD") for line in lines[1:])
    write(tmp_path / "long.csv", "\n".join(["symbol," + lines[0], *long]))

    bars = connector(tmp_path, **terms).bars("GBPUSD", H1, None, None)

    assert ["2024-03-01T01:00:00Z", "2024-03-01T02:00:00Z", "2024-03-01T03:00:00Z"] == times(bars)
    assert ("GBPUSD", HOUR, [1.0, 2.0, 3.0]) == (bars.symbol, bars.span, bars.volume.tolist())


def test_parts_of_one_symbol_are_joined_in_time_order(tmp_path: Path) -> None:
    write(tmp_path / "d/GBPUSD_b.csv", HEADER + rows("2024-03-01", 2))
    write(tmp_path / "d/GBPUSD_a.csv", HEADER + rows("2024-03-02", 2))

    bars = connector(tmp_path, path="d").bars("GBPUSD", H1, None, None)

    assert ["2024-03-01T01:00:00Z", "2024-03-01T02:00:00Z", "2024-03-02T01:00:00Z", "2024-03-02T02:00:00Z"] == times(bars)


def test_parts_that_overlap_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "d/GBPUSD_a.csv", HEADER + rows("2024-03-01", 3))
    write(tmp_path / "d/GBPUSD_b.csv", HEADER + rows("2024-03-01T02:00", 2))

    with pytest.raises(DataError, match="two files of 'GBPUSD' overlap"):
        connector(tmp_path, path="d").bars("GBPUSD", H1, None, None)


def test_file_that_does_not_name_its_symbol_answers_for_none(tmp_path: Path) -> None:
    write(tmp_path / "prices.csv", HEADER + rows("2024-03-01", 2))

    with pytest.raises(DataError, match=r"no symbol 'GBPUSD' in prices.csv.*symbol = "):
        connector(tmp_path, path="prices.csv").bars("GBPUSD", H1, None, None)


def test_prices_of_one_symbol_are_never_given_for_another(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 2))

    with pytest.raises(DataError, match="no symbol 'USDJPY'"):
        connector(tmp_path, path="GBPUSD.csv").bars("USDJPY", H1, None, None)
    with pytest.raises(DataError, match=r"no symbol 'USDJPY' in GBPUSD\.csv; there are: GBPUSD"):
        connector(tmp_path, path="GBPUSD.csv", symbol="GBPUSD").bars("USDJPY", H1, None, None)


def test_unknown_symbol_of_a_long_file_names_those_there_are(tmp_path: Path) -> None:
    write(tmp_path / "long.csv", "symbol,time,open,high,low,close\nB,2024-03-01,1,1,1,1\nA,2024-03-01,1,1,1,1\n")

    with pytest.raises(DataError, match=r"no symbol 'X' in long\.csv; there are: A, B"):
        connector(tmp_path, path="long.csv").bars("X", D1, None, None)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"path": "nowhere.csv"}, "nowhere.csv does not exist; correct the path"),
        ({"path": "d"}, "holds no data file"),
        ({"path": "d/{symbol}.csv"}, "no file fits 'd/{symbol}.csv' for symbol 'GBPUSD'"),
        ({"paths": {"EURUSD": "x.csv"}}, "no file for symbol 'GBPUSD'; paths has: EURUSD"),
    ],
)
def test_missing_files_are_named(tmp_path: Path, terms: dict[str, Any], words: str) -> None:
    (tmp_path / "d").mkdir()

    with pytest.raises(DataError) as caught:
        connector(tmp_path, **terms).bars("GBPUSD", H1, None, None)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- which bars -----------------------------------------------------------------------------------


def test_exact_file_goes_before_a_finer_one(tmp_path: Path) -> None:
    write(tmp_path / "d/GBPUSD_M30.csv", HEADER + rows("2024-03-01", 8, 30 * MINUTE, 50.0))
    write(tmp_path / "d/GBPUSD_H1.csv", HEADER + rows("2024-03-01", 4))

    source = connector(tmp_path, path="d")

    assert 1.0 == source.bars("GBPUSD", H1, None, None).open[0]
    assert 50.0 == source.bars("GBPUSD", Timeframe(1_800), None, None).open[0]
    assert [1.0, 3.0] == source.bars("GBPUSD", Timeframe(7_200), None, None).open.tolist()  # of the coarser file


def test_pattern_with_time_frame_falls_back_to_a_finer_file(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD_M15.csv", HEADER + rows("2024-03-01", 8, 15 * MINUTE))

    bars = connector(tmp_path, path="{symbol}_{timeframe}.csv").bars("GBPUSD", H1, None, None)

    assert [10.0, 26.0] == bars.volume.tolist()  # 1+2+3+4 and 5+6+7+8


def test_too_coarse_a_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 3))

    with pytest.raises(DataError, match="no file of 'GBPUSD' makes bars of 15m: there are 1h"):
        connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", Timeframe(900), None, None)


def test_start_is_excluded_and_end_included(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 5))

    start, end = parse_time("2024-03-01T02:00"), parse_time("2024-03-01T04:00")
    bars = connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, start, end)

    assert ["2024-03-01T03:00:00Z", "2024-03-01T04:00:00Z"] == times(bars)


@pytest.mark.parametrize(
    ("start", "end"), [("2025-01-01", "2025-02-01"), ("2023-01-01", "2023-02-01"), ("2024-03-01T05:00", None)]
)
def test_dates_outside_the_data_name_the_span_there_is(tmp_path: Path, start: str, end: str | None) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 5))

    with pytest.raises(DataError, match="the data covers 2024-03-01T00:00:00Z to 2024-03-01T05:00:00Z"):
        connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, parse_time(start), None if end is None else parse_time(end))


def test_times_that_label_the_end_are_taken_as_such(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 2))

    bars = connector(tmp_path, path="GBPUSD.csv", label="end").bars("GBPUSD", H1, None, None)

    assert ["2024-03-01T00:00:00Z", "2024-03-01T01:00:00Z"] == times(bars)


def test_time_frame_of_one_row_must_be_stated(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 1))

    with pytest.raises(DataError, match="too few rows to tell its time frame; set timeframe"):
        connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, None, None)
    assert 1 == len(connector(tmp_path, path="GBPUSD.csv", timeframe="1h").bars("GBPUSD", H1, None, None))


def test_spread_in_points_becomes_price(tmp_path: Path) -> None:
    bars = connector(DATA, cache=tmp_path, path="mt5_export_XAUUSD_H1_2025.csv.gz").bars("XAUUSD", H1, None, None)

    assert bars.spread is not None
    assert bars.spread[0] == pytest.approx(0.15, abs=1e-12)  # 15 points of 0.01


def test_daily_bars_follow_the_servers_day(tmp_path: Path) -> None:
    # The server keeps Athens time: its days end 22:00 UTC in winter and 21:00 in summer; 27 October 2025 is winter again.
    bars = connector(DATA, cache=tmp_path, path="mt5_export_XAUUSD_M5_2025.csv.gz", zone="Europe/Athens").bars(
        "XAUUSD", D1, None, None
    )

    assert ["2025-01-02T22:00:00Z", "2025-01-03T22:00:00Z", "2025-01-06T22:00:00Z"] == times(bars)[:3]
    assert {"22:00:00Z", "21:00:00Z"} == {text[11:] for text in times(bars)}
    assert "2025-07-01T21:00:00Z" in times(bars)
    assert "2025-10-27T22:00:00Z" == times(bars)[-1]


def test_weekly_bars_end_with_the_servers_sunday(tmp_path: Path) -> None:
    source = connector(DATA, cache=tmp_path, path="mt5_export_XAUUSD_H1_2025.csv.gz", zone="Europe/Athens")

    bars = source.bars("XAUUSD", Timeframe(604_800), None, None)

    assert ["2025-01-05T22:00:00Z", "2025-01-12T22:00:00Z"] == times(bars)[:2]
    assert {7 * DAY, 7 * DAY - HOUR, 7 * DAY + HOUR} >= set(np.diff(bars.time).tolist())


def test_two_zones_make_one_clock(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2014-11-21T20:00", 3) + rows("2014-11-24T00:00", 3))
    steps = [{"zone": "Europe/Berlin", "until": date(2014, 11, 22)}, {"zone": "Europe/Athens"}]

    bars = connector(tmp_path, path="GBPUSD.csv", zone=steps).bars("GBPUSD", H1, None, None)

    assert ["2014-11-21T20:00:00Z", "2014-11-21T22:00:00Z", "2014-11-23T23:00:00Z"] == [times(bars)[i] for i in (0, 2, 3)]


# --- defects --------------------------------------------------------------------------------------


def dirty(folder: Path) -> Path:
    good = rows("2024-03-01", 5)
    return write(folder / "GBPUSD.csv", HEADER + good + "2024-03-01T05:00:00,1,0.5,0.6,1,1\n2024-03-01T06:00:00,1,x,1,1,1\n")


def test_dirty_file_is_refused_in_one_line_with_file_row_and_remedy(tmp_path: Path) -> None:
    path = dirty(tmp_path)

    with pytest.raises(DataError) as caught:
        connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, None, None)

    expected = (
        f'{path} row 7: high 0.5 is below low 0.6; correct or remove the row, or set defects = "drop"; '
        f"'herald data check {path}' lists all 2 defects"
    )
    assert expected == str(caught.value)


def test_dropped_rows_are_counted_in_a_note(tmp_path: Path) -> None:
    dirty(tmp_path)
    events: list[Event] = []

    bars = connector(tmp_path, events, path="GBPUSD.csv", defects="drop").bars("GBPUSD", H1, None, None)

    assert 5 == len(bars)
    (note,) = events
    assert isinstance(note, Note)
    assert (5, "connectors.main") == (note.time, note.strategy)
    assert "2 rows with defects left out, first row 7" in note.text


def test_dropping_cannot_turn_a_file_around(tmp_path: Path) -> None:
    lines = rows("2024-03-01", 4).splitlines()
    write(tmp_path / "GBPUSD.csv", HEADER + "\n".join(reversed(lines)))

    with pytest.raises(DataError, match=r"from the newest to the oldest.*dropping rows does not help"):
        connector(tmp_path, path="GBPUSD.csv", defects="drop").bars("GBPUSD", H1, None, None)


def test_file_without_one_sound_row_is_refused_even_with_drop(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + "2024-03-01,0,0,0,0,0\n2024-03-02,0,0,0,0,0\n")

    with pytest.raises(DataError, match="every row of 'GBPUSD' has a defect"):
        connector(tmp_path, path="GBPUSD.csv", defects="drop").bars("GBPUSD", D1, None, None)


@pytest.mark.parametrize(("text", "words"), [("", "is empty"), (HEADER, "row 1: there is a header and no row")])
def test_unreadable_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path / "GBPUSD.csv", text)

    with pytest.raises(DataError) as caught:
        connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, None, None)

    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- formats, cache and the rest ------------------------------------------------------------------


class Shouting:
    """A foreign format that claims files ending in .shout."""

    def claims(self, name: str, head: str) -> bool:
        return name.endswith(".shout")

    def parse(self, name: str, data: bytes) -> ParsedBars:
        one = np.ones(2)
        start = np.array([0, HOUR], dtype=np.int64)
        return ParsedBars("GBPUSD", np.array([1, 2]), start, one, one, one, one)


def test_foreign_format_is_asked_before_the_generic_one(tmp_path: Path) -> None:
    from herald.plugins.files import CsvFormat

    write(tmp_path / "GBPUSD.shout", "HELLO")
    formats: dict[str, DataFormat] = {"files.csv": CsvFormat(), "loud.shout": Shouting()}

    bars = connector(tmp_path, formats=formats, path="GBPUSD.shout").bars("GBPUSD", H1, None, None)

    assert [1.0, 1.0] == bars.close.tolist()


def test_only_format_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 2))

    with pytest.raises(DataError, match=r"no format reads this file; there are: files\.mt5"):
        connector(tmp_path, formats={"files.mt5": Mt5Format()}, path="GBPUSD.csv").bars("GBPUSD", H1, None, None)


def test_layout_of_text_does_not_go_with_another_format(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 2))

    with pytest.raises(DataError, match=r"go with files\.csv, not with files\.mt5"):
        connector(tmp_path, formats={"files.mt5": Mt5Format()}, path="GBPUSD.csv", decimal=",").bars("GBPUSD", H1, None, None)


def test_second_run_reads_the_cache_and_gives_the_same_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 5))
    first = connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, None, None)

    def fail(*args: object) -> ParsedBars:
        raise AssertionError("the file was parsed again")

    monkeypatch.setattr("herald.plugins.files.csv.CsvFormat.parse", fail)
    second = connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, None, None)

    for name in ("time", "open", "high", "low", "close", "volume"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 5))
    connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, None, None)
    write(path, HEADER + rows("2024-03-01", 6))

    assert 6 == len(connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, None, None))


def test_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    write(tmp_path / "GBPUSD.csv", HEADER + rows("2024-03-01", 5))
    write(tmp_path / ".cache", "a file where the folder should be")

    assert 5 == len(connector(tmp_path, path="GBPUSD.csv").bars("GBPUSD", H1, None, None))


def test_it_has_history_and_nothing_else(tmp_path: Path) -> None:
    source = connector(tmp_path, path="x.csv")

    assert source.capabilities().history
    assert () == source.instruments()
    with pytest.raises(NotSupported, match="history only"):
        source.account()


# --- settings and validation ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({}, "either path or paths"),
        ({"path": "a", "paths": {"A": "b"}}, "either path or paths"),
        ({"path": "a", "zone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'"),
        ({"path": "a", "zone": [{"zone": "UTC", "until": date(2020, 1, 1)}]}, "the last has none"),
        ({"path": "a", "zone": [{"zone": "UTC"}, {"zone": "UTC"}]}, "needs until"),
        ({"path": "a", "timeframe": "soon"}, "unknown time frame"),
        ({"path": "a", "columns": {"opn": "o"}}, "columns has no field 'opn'"),
        ({"path": "a", "columns": {"open": 0}}, "counts from 1"),
        ({"path": "a", "defects": "ignore"}, "'refuse' or 'drop'"),
    ],
)
def test_settings_that_cannot_be_are_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="validation error") as caught:
        FilesSettings.model_validate(terms)

    assert words in str(caught.value)


class Planned:
    """One connector of a plan."""

    name = "connectors.main"
    use = "files"

    def __init__(self, settings: FilesSettings) -> None:
        self.settings: Any = settings


class Plan:
    """A plan with one connector and some feeds."""

    mode, base = "backtest", "."

    def __init__(self, settings: FilesSettings, symbols: Sequence[str]) -> None:
        self._planned, self._symbols = Planned(settings), symbols

    def chosen(self, kind: str) -> Sequence[PlannedView]:
        return [self._planned] if kind == "connector" else []

    def feeds(self, connector: str) -> Sequence[tuple[str, Timeframe]]:
        return [(symbol, H1) for symbol in self._symbols] if connector == "main" else []


@pytest.mark.parametrize(
    ("terms", "symbols", "problems"),
    [
        ({"path": "GBPUSD.csv"}, ["GBPUSD"], []),
        ({"path": "{symbol}.csv"}, ["GBPUSD", "EURUSD"], []),
        ({"path": "folder"}, ["GBPUSD", "EURUSD"], []),
        ({"path": "portfolio.csv"}, ["GBPUSD", "EURUSD"], []),
        ({"path": "GBPUSD.csv"}, ["GBPUSD", "EURUSD"], ["connectors.main.path"]),
        ({"path": "x.csv", "symbol": "GBPUSD"}, ["GBPUSD", "EURUSD"], ["connectors.main.symbol"]),
        ({"paths": {"GBPUSD": "a.csv"}}, ["GBPUSD", "EURUSD", "USDJPY"], ["connectors.main.paths", "connectors.main.paths"]),
    ],
)
def test_paths_that_cannot_hold_every_symbol_are_problems(terms: dict[str, Any], symbols: list[str], problems: list[str]) -> None:
    found: list[Problem] = list(herald_validate(Plan(FilesSettings.model_validate(terms), symbols)))

    assert problems == [problem.where for problem in found]
    assert all(problem.hint for problem in found)
