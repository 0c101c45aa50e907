"""Every defect is found, with its row; expected counts come from reading the files by other means."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from pathlib import Path

import pytest

from herald.plugins.files import FilesSettings
from herald.plugins.files.checks import longest_rise
from herald.plugins.files.inspection import Inspection, inspect_file

DATA = Path(__file__).parents[2] / "data"
SHARED = Path(__file__).parents[4] / "shared" / "data"
HEADER = "time,open,high,low,close,volume\n"


def inspect(path: Path) -> Inspection:
    return inspect_file(path, FilesSettings(path=str(path)))


def inspect_text(folder: Path, text: str) -> Inspection:
    path = folder / "prices.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return inspect(path)


def cells(path: Path, delimiter: str = ",") -> list[list[str]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


def hours(*bars: str) -> str:
    return HEADER + "".join(f"2024-03-{1 + i // 24:02d} {i % 24:02d}:00,{bar}\n" for i, bar in enumerate(bars))


GOOD = "1.10,1.12,1.09,1.11,5"


@pytest.mark.parametrize(
    ("bar", "code", "words"),
    [
        ("1.10,1.08,1.09,1.10,5", "high_below_low", "high 1.08 is below low 1.09"),
        ("1.13,1.12,1.09,1.11,5", "open_outside", "open 1.13 is above high 1.12"),
        ("1.08,1.12,1.09,1.11,5", "open_outside", "open 1.08 is below low 1.09"),
        ("1.10,1.12,1.09,1.13,5", "close_outside", "close 1.13 is above high 1.12"),
        ("1.10,1.12,1.09,1.08,5", "close_outside", "close 1.08 is below low 1.09"),
        ("1.10,,1.09,1.11,5", "empty_price", "high is empty"),
        ("nan,null,NA,None,5", "empty_price", "open, high, low, close are empty"),
        ("1.10,inf,1.09,1.11,5", "infinite_price", "high is infinite"),
        ("0,1.12,1.09,1.11,5", "zero_price", "open is 0"),
        ("1.10,1.12,-1.09,1.11,5", "negative_price", "low -1.09 is negative"),
        ("1.10,1120,1.09,1.11,5", "decimal_lost", "high 1120.0 is 1000 times too large"),
        ("1.10,1.12,0.0109,1.11,5", "decimal_lost", "low 0.0109 is 100 times too small"),
        ("1.10,1.12,1.09,1.11,-5", "bad_volume", "volume -5 is no volume"),
        ("1.10,1.12,1.09,1.11,inf", "bad_volume", "volume inf is no volume"),
        ("1.10,x,1.09,1.11,5", "text_in_number", "high 'x' is not a number"),
    ],
)
def test_one_wrong_bar_is_one_defect(tmp_path: Path, bar: str, code: str, words: str) -> None:
    found = inspect_text(tmp_path, hours(*[GOOD] * 5, bar, *[GOOD] * 5))

    assert [(7, code)] == [(defect.row, defect.code) for defect in found.defects]
    assert words in found.defects[0].text
    assert found.defects[0].remedy


def test_repeated_and_backward_times_are_told_apart(tmp_path: Path) -> None:
    times = ["10:00", "11:00", "11:00", "12:00", "09:00", "13:00"]

    found = inspect_text(tmp_path, HEADER + "".join(f"2024-03-01 {text},{GOOD}\n" for text in times))

    assert [(4, "time_repeated"), (6, "time_goes_back")] == [(defect.row, defect.code) for defect in found.defects]


def test_one_time_far_ahead_does_not_condemn_the_rows_after_it(tmp_path: Path) -> None:
    days = ["2024-03-01", "2024-03-04", "2042-03-05", "2024-03-06", "2024-03-07"]

    found = inspect_text(tmp_path, HEADER + "".join(f"{text},{GOOD}\n" for text in days))

    assert [(4, "time_goes_back")] == [(defect.row, defect.code) for defect in found.defects]


def test_file_from_newest_to_oldest_is_one_defect(tmp_path: Path) -> None:
    found = inspect_text(tmp_path, HEADER + "".join(f"2024-03-0{day},{GOOD}\n" for day in (7, 6, 5, 4)))

    assert ["newest_first"] == [defect.code for defect in found.defects]


def test_bars_that_begin_before_the_last_is_over_are_defects(tmp_path: Path) -> None:
    times = ["10:00", "11:00", "12:00", "12:30", "13:30", "14:30"]

    found = inspect_text(tmp_path, HEADER + "".join(f"2024-03-01 {text},{GOOD}\n" for text in times))

    assert [(5, "bars_overlap")] == [(defect.row, defect.code) for defect in found.defects]


def test_ten_copies_of_a_bar_with_its_volume_are_defects_and_nine_are_not(tmp_path: Path) -> None:
    frozen = "1.1,1.1,1.1,1.1,5"

    ten = inspect_text(tmp_path, hours(GOOD, *[frozen] * 10, GOOD))
    nine = inspect_text(tmp_path, hours(GOOD, *[frozen] * 9, GOOD))

    assert list(range(3, 13)) == [defect.row for defect in ten.defects if defect.code == "copied_row"]
    assert () == nine.defects


def test_flat_rows_ghost_rows_and_jumps_are_warnings_only(tmp_path: Path) -> None:
    flat = [f"1.11,1.11,1.11,1.11,{volume}" for volume in (1, 2) * 6]

    found = inspect_text(tmp_path, hours(GOOD, *flat, "1.11,1.11,1.11,1.11,0", GOOD, "2.2,2.3,2.1,2.2,5"))

    assert () == found.defects
    assert [(3, "flat_run"), (15, "ghost_rows"), (17, "jump")] == [(each.row, each.code) for each in found.warnings]


def test_prices_far_from_a_power_of_ten_are_no_lost_point(tmp_path: Path) -> None:
    found = inspect_text(tmp_path, hours(*[GOOD] * 5, *["6.6,6.8,6.5,6.7,5"] * 5))  # a reverse split, times six

    assert () == found.defects
    assert ["jump"] == [each.code for each in found.warnings]


def test_gaps_and_span_are_counted(tmp_path: Path) -> None:
    times = ["01T10", "01T11", "01T13", "01T14", "04T14"]

    (extent,) = inspect_text(tmp_path, HEADER + "".join(f"2024-03-{text}:00,{GOOD}\n" for text in times)).extents

    assert (5, "1h", 2) == (extent.rows, str(extent.timeframe), extent.gaps)
    assert 71 * 3_600 * 10**9 == extent.longest_gap  # from the end of one bar to the start of the next


def test_every_lost_decimal_point_of_the_real_file_is_found() -> None:
    path = DATA / "mt5_EURUSD_M1_decimal_lost.csv.gz"
    lines = enumerate(cells(path, "\t")[1:], 2)
    expected = [(row, cell) for row, line in lines for cell in line[1:5] if float(cell) > 100]

    found = inspect(path)

    assert 379 == len(expected)
    assert {"decimal_lost": 379} == found.counts()
    assert expected == [(defect.row, defect.text.split()[1].removesuffix(".0")) for defect in found.defects]


def test_empty_and_repeated_rows_of_the_real_stock_files_are_found() -> None:
    yahoo = DATA / "equity_yahoo_dups_ghost_rows.csv.gz"
    rows = cells(yahoo)[1:]
    empty = sum(1 for row in rows if not all(row[1:5]))
    repeated = sum(count - 1 for count in Counter((row[0], row[7]) for row in rows).values())

    assert {"empty_price": empty, "time_repeated": repeated} == inspect(yahoo).counts()
    assert (536, 2) == (empty, repeated)

    google = DATA / "equity_google_nulls_splits.csv.gz"
    gaps = [row for row, line in enumerate(cells(google), 1) if not all(line[1:5])]
    assert gaps == [each.row for each in inspect(google).defects]


def test_file_of_zeros_has_a_defect_a_row() -> None:
    assert {"zero_price": 200} == inspect(DATA / "stockindicators_zeros.csv").counts()


def test_out_of_order_file_names_the_fewest_rows() -> None:
    path = DATA / "stockindicators_mismatch.csv"
    rows = [line[0].split("/") for line in cells(path)[1:]]
    dates = [(int(year), int(month), int(day)) for month, day, year in rows]
    best = [1] * len(dates)  # longest rising part, the slow and obvious way
    for i in range(len(dates)):
        best[i] = 1 + max((best[j] for j in range(i) if dates[j] < dates[i]), default=0)

    found = inspect(path)

    assert len(dates) - max(best) == len(found.defects)
    assert (21, "2016-01-18") == (found.defects[0].row, found.defects[0].text[:10])


def test_edited_file_is_found_out() -> None:
    path = DATA / "stockindicators_bad.csv"
    copies = [row for row, line in enumerate(cells(path), 1) if line[1:] == ["225", "225", "225", "225", "100000000"]]

    found = inspect(path)

    # the 50 copies stand in one stretch or several; those in stretches of ten and more are certain
    marked = [defect.row for defect in found.defects if defect.code == "copied_row"]
    assert copies == marked
    assert {"bad_time", "empty_price", "negative_price", "high_below_low"} <= set(found.counts())


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("dirty/backtrader_header_short_of_columns.csv", "ragged_header"),
        ("dirty/backtrader_bidask_one_sided.csv", "no_column"),
        ("dirty/backtrader_ticksample.csv", "time_repeated"),
        ("dirty/mt5_EURUSD_M1_ragged_header.csv", "decimal_lost"),
        ("equity/yahoo_SPY_D1.csv.gz", "open_outside"),
        ("fx/mt5_ticks_layout_EURUSD_20200102.csv.gz", "ticks"),
        ("fx/truefx_ticks_USDJPY_20130101.csv", "ticks"),
        ("fx/histdata_ticks_EURUSD_20200101.csv.gz", "no_header"),
    ],
)
def test_further_dirty_files_are_found_out(name: str, code: str) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not part of the repository (its licence differs)")

    assert code in inspect(path).counts()


@pytest.mark.parametrize(
    ("name", "rows", "symbols", "timeframe"),
    [
        ("fx/GBPUSD_H1_2012-2022.csv.gz", 57_600, 1, "1h"),
        ("fx/USDJPY_H1_2012-2022.csv.gz", 57_600, 1, "1h"),
        ("fx/fx12_D1_2012-2022.csv.gz", 28_800, 12, "1d"),
        ("fx/fxcm_GBPUSD_M1_ask_201202.csv.gz", 30_117, 1, "1m"),
        ("fx/fxcm_GBPUSD_M1_bid_201202.csv.gz", 30_117, 1, "1m"),
        ("fx/histdata_M1_layout_EURUSD_20200101.csv", 361, 1, "1m"),
        ("fx/mt4_export_EURUSD_H1_2013-2014.csv", 3_070, 1, "1h"),
        ("fx/mt5_api_EURUSD_M1_20211115.csv", 500, 1, "1m"),
        ("fx/mt5_export_XAUUSD_H1_2025.csv", 4_858, 1, "1h"),
        ("fx/mt5_export_XAUUSD_M5_2025.csv.gz", 58_230, 1, "5m"),
        ("equity/sp500_30_D1_2012-2017.csv.gz", 37_800, 30, "1d"),
        ("equity/yahoo_AAPL_D1.csv.gz", 3_379, 1, "1d"),
        ("equity/backtrader_index_M5_200601.csv", 2_142, 1, "5m"),
        ("crypto/BTC-PERP_M1_202201.csv.gz", 45_031, 1, "1m"),
        ("crypto/binance_klines_ADABTC_1m_20211127.csv", 10, 1, "1m"),
        ("futures/6EH4_M1_202401.csv.gz", 29_996, 1, "1m"),
        ("reference/backtrader_2006-day-001.csv", 255, 1, "1d"),
    ],
)
def test_sound_files_are_clean(name: str, rows: int, symbols: int, timeframe: str) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not part of the repository")

    found = inspect(path)

    assert () == found.defects
    assert rows == sum(extent.rows for extent in found.extents)
    assert symbols == len(found.extents)
    assert {timeframe} == {str(extent.timeframe) for extent in found.extents}


@pytest.mark.parametrize(
    ("values", "kept"),
    [([], []), ([5], [5]), ([1, 1], [1]), ([3, 1, 2], [1, 2]), ([1, 9, 2, 3], [1, 2, 3]), ([5, 4, 3], [3])],
)
def test_longest_rise(values: list[int], kept: list[int]) -> None:
    assert kept == [values[index] for index in longest_rise(values)]
