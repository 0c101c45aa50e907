"""The formats csv, mt5 and parquet, and what a file may be wrapped in."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import sys
import zipfile
from pathlib import Path

import pytest

from herald.clock import format_time
from herald.contracts import DataFormat, ParsedBars
from herald.errors import DataError
from herald.plugins.files import CsvFormat, Mt5Format, ParquetFormat, TextSettings
from herald.plugins.files.refusal import Unreadable
from herald.plugins.files.unpack import unpack

DATA = Path(__file__).parents[2] / "data"
HEADER = "time,open,high,low,close,volume\n"
ROW = "2024-03-01 10:00,1.1,1.3,1.0,1.2,7\n"
EXPECTED = ("2024-03-01T10:00:00Z", 1.1, 1.3, 1.0, 1.2, 7.0)


def parse(text: str | bytes, settings: TextSettings | None = None) -> ParsedBars:
    return CsvFormat(settings).parse("x.csv", text.encode() if isinstance(text, str) else text)


def first(parsed: ParsedBars) -> tuple[str, float, float, float, float, float]:
    volume = math.nan if parsed.volume is None else float(parsed.volume[0])
    prices = [float(column[0]) for column in (parsed.open, parsed.high, parsed.low, parsed.close)]
    return format_time(int(parsed.start[0])), prices[0], prices[1], prices[2], prices[3], volume


def code_of(text: str | bytes, settings: TextSettings | None = None) -> tuple[str, int]:
    with pytest.raises(Unreadable) as caught:
        parse(text, settings)
    return caught.value.defect.code, caught.value.defect.row


@pytest.mark.parametrize(
    "text",
    [
        HEADER + ROW,
        "Date;Open;High;Low;Close;Vol\n2024-03-01 10:00;1.1;1.3;1.0;1.2;7\n",
        "Timestamp\tOpen\tHigh\tLow\tClose\tTickVol\n2024-03-01T10:00\t1.1\t1.3\t1.0\t1.2\t7\n",
        "time|o|h|l|c|v\n2024-03-01 10:00|1.1|1.3|1.0|1.2|7\n",
        "Date,Time,Open,High,Low,Close,Volume\n2024.03.01,10:00:00,1.1,1.3,1.0,1.2,7\n",
        '"time","open","high","low","close","volume"\n"2024-03-01 10:00","1.1","1.3","1.0","1.2","7"\n',
        "volume,close,low,high,open,time\n7,1.2,1.0,1.3,1.1,1709287200\n",
        "\n" + HEADER + "\n" + ROW + "\n\n",
        "2024.03.01,10:00,1.1,1.3,1.0,1.2,7\n",
        "20240301 100000;1.1;1.3;1.0;1.2;7\n",
        "1709287200000,1.1,1.3,1.0,1.2,7.0,1709287259999,1.0,9,1.0,1.0,0\n",
    ],
)
def test_layouts_that_need_no_settings(text: str) -> None:
    assert EXPECTED == first(parse(text))


@pytest.mark.parametrize(
    "data",
    [
        (HEADER + ROW).encode("utf-8-sig"),
        (HEADER + ROW).encode("utf-16"),
        (HEADER + ROW).encode("utf-16-le"),
        (HEADER + ROW).replace("\n", "\r\n").encode(),
        (HEADER + ROW).replace("\n", "\r").encode(),
        ("time,open,high,low,close,volume,Börse\n" + ROW.strip() + ",Zürich\n").encode("cp1252"),
    ],
)
def test_encodings_and_line_ends(data: bytes) -> None:
    assert EXPECTED == first(parse(data))


def test_settings_name_columns_separator_decimal_and_dates() -> None:
    text = "when#a#b#c#d\n01/03/2024 10:00#1,1#1,3#1,0#1,2\n"
    columns: dict[str, str | int] = {"time": "when", "open": "a", "high": "b", "low": "c", "close": "d"}

    bars = parse(text, TextSettings(columns=columns, separator="#", decimal=",", date_format="%d/%m/%Y %H:%M"))

    assert EXPECTED[:5] == first(bars)[:5]


def test_positions_serve_a_file_without_a_header() -> None:
    columns: dict[str, str | int] = {"time": 2, "open": 3, "high": 4, "low": 5, "close": 6, "volume": 7}

    assert EXPECTED == first(parse("EU,2024-03-01 10:00,1.1,1.3,1.0,1.2,7\n", TextSettings(columns=columns)))


def test_mistakes_in_columns_name_what_there_is() -> None:
    with pytest.raises(DataError, match=r"no column 'opn'; there are: time, open, high"):
        parse(HEADER + ROW, TextSettings(columns={"open": "opn"}))
    with pytest.raises(DataError, match=r"columns.open is 9 and the file has 6 columns"):
        parse(HEADER + ROW, TextSettings(columns={"open": 9}))


def test_symbol_column_is_kept_a_row() -> None:
    bars = parse("Date,Open,High,Low,Close,Volume,Name\n2024-03-01,1,1,1,1,1,A\n2024-03-01,2,2,2,2,2,B\n")

    assert ["A", "B"] == bars.symbols.tolist()
    assert "" == bars.symbol


def test_symbol_column_with_one_symbol_names_the_file() -> None:
    bars = parse("symbol,date,open,high,low,close\nA,2024-03-01,1,1,1,1\nA,2024-03-02,2,2,2,2\n")

    assert ("A", None) == (bars.symbol, bars.symbols)


def test_wrong_cells_become_defects_with_their_lines_and_the_rest_is_read() -> None:
    rows = [
        "2024-03-01 10:00,1,1,1,1,1",
        "2024-03-01 11:00,1,oops,1,1,1",
        "2024-03-01 12:00,1,1,1",
        "soon,1,1,1,1,1",
        "2024-03-01 14:00,1,1,1,1_0,1",
        "2024-03-01 15:00,1,1,1,1,1,extra",
        "2024-03-01 16:00,1,1,1,2,",
    ]

    bars = parse(HEADER + "\n".join(rows))

    expected = [(3, "text_in_number"), (4, "ragged_row"), (5, "bad_time"), (6, "text_in_number"), (7, "ragged_row")]
    assert expected == [(defect.row, defect.code) for defect in bars.defects]
    assert [2, 8] == bars.row.tolist()
    assert [1.0, 2.0] == bars.close.tolist()
    assert bars.volume is not None
    assert math.isnan(bars.volume[1])


def test_decimal_comma_is_asked_for_not_guessed() -> None:
    bars = parse("time;open;high;low;close\n2024-03-01 10:00;1,1;1,3;1,0;1,2\n")

    assert 'set decimal = ","' in bars.defects[0].remedy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("empty_file", 0)),
        ("  \n\n", ("empty_file", 0)),
        (HEADER, ("header_only", 1)),
        ("1,2,3,4,5\n", ("no_header", 1)),
        ("time,open,high,low,close,volume\n2024-03-01,1,1,1,1,1,9\n", ("ragged_header", 1)),
        ("time,open,high,low,close,volume\n2024-03-01,1,1,1,1\n", ("ragged_header", 1)),
        ("time,price,size,side,id\n2024-03-01,1,1,1,1\n", ("no_column", 1)),
        ("timestamp,bid,ask\n2024-03-01,1,1\n", ("ticks", 1)),
        ("open,high,low,close,volume\n1,1,1,1,1\n", ("no_column", 1)),
    ],
)
def test_files_from_which_nothing_can_be_read(text: str, expected: tuple[str, int]) -> None:
    assert expected == code_of(text)


def test_binary_content_is_not_text() -> None:
    assert ("not_text", 0) == code_of(b"abcdefgh\x00\x01\x02")


def test_spread_is_used_only_where_its_unit_is_known() -> None:
    metatrader = parse("time,open,high,low,close,tick_volume,spread,real_volume\n1709287200,1.1,1.3,1.0,1.2,7,12,0\n")
    unknown = parse("time,open,high,low,close,volume,spread\n1709287200,1.1,1.3,1.0,1.2,7,12\n")

    assert metatrader.spread is not None
    assert ([12.0], True) == (metatrader.spread.tolist(), metatrader.spread_points)
    assert unknown.spread is None


def test_metatrader_5_export_gives_ticks_as_volume_and_spread_in_points() -> None:
    data = gzip.decompress((DATA / "mt5_export_XAUUSD_H1_2025.csv.gz").read_bytes())

    bars = Mt5Format().parse("x.csv", data)

    # the file's second line: 2025.01.02 01:00:00 2624.81 2625.63 2621.57 2623.66 1795 0 15
    assert ("2025-01-02T01:00:00Z", 2624.81, 2625.63, 2621.57, 2623.66, 1795.0) == first(bars)
    assert bars.spread is not None
    assert (15.0, True, 4_858, False) == (float(bars.spread[0]), bars.spread_points, len(bars.row), bars.zoned)


def test_metatrader_5_export_in_utf_16_is_the_same() -> None:
    text = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\r\n"
    text += "2024.03.01\t10:00:00\t1.1\t1.3\t1.0\t1.2\t7\t0\t3\r\n"

    assert EXPECTED == first(Mt5Format().parse("x.csv", text.encode("utf-16")))
    assert Mt5Format().claims("x.csv", text.encode("utf-16")[:4096].decode("utf-8", errors="replace"))


def test_daily_metatrader_5_export_has_no_time_column() -> None:
    text = b"<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n2024.03.01\t1.1\t1.3\t1.0\t1.2\t7\t0\t3\n"

    assert "2024-03-01T00:00:00Z" == first(Mt5Format().parse("x.csv", text))[0]


def test_metatrader_5_tick_export_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="holds ticks"):
        Mt5Format().parse("x.csv", b"<DATE>\t<TIME>\t<BID>\t<ASK>\t<FLAGS>\n2024.03.01\t10:00:00\t1\t2\t6\n")


def test_other_files_are_no_metatrader_export() -> None:
    assert not Mt5Format().claims("x.csv", HEADER)
    with pytest.raises(DataError, match="does not begin with <DATE>"):
        Mt5Format().parse("x.csv", HEADER.encode())


def zipped(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, HEADER + ROW)
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "wrap"),
    [("a.csv.gz", gzip.compress), ("a.csv.bz2", bz2.compress), ("a.csv.xz", lzma.compress), ("misnamed.gz", lambda data: data)],
)
def test_wrapping_is_known_by_content(name: str, wrap: object) -> None:
    data = wrap((HEADER + ROW).encode())  # type: ignore[operator]

    plain, content = unpack(name, data)

    assert (HEADER + ROW).encode() == content
    assert plain == ("a.csv" if name.startswith("a") else name)


def test_zip_with_one_member_is_that_member() -> None:
    assert ("prices.csv", (HEADER + ROW).encode()) == unpack("a.zip", zipped("prices.csv"))


def test_zip_with_two_members_is_refused() -> None:
    with pytest.raises(DataError, match="is a zip with 2 files; unpack it"):
        unpack("a.zip", zipped("a.csv", "b.csv"))


@pytest.mark.parametrize(
    "data", [gzip.compress(b"x" * 999)[:-9], bz2.compress(b"x" * 99)[:-4], zipped("a.csv")[:60]], ids=["gzip", "bzip2", "zip"]
)
def test_damaged_wrapping_is_one_line(data: bytes) -> None:
    with pytest.raises(DataError, match="cannot be decompressed") as caught:
        unpack("a", data)

    assert "\n" not in str(caught.value)


# --- parquet --------------------------------------------------------------------------------------


def parquet(tmp_path: Path, select: str) -> bytes:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "x.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({select}) TO '{path.as_posix()}' (FORMAT parquet)")
    return path.read_bytes()


PRICES = "1.1 AS open, 1.3 AS high, 1.0 AS low, 1.2 AS close, 7 AS volume"


@pytest.mark.parametrize(
    ("time", "zoned"),
    [
        ("TIMESTAMP '2024-03-01 10:00:00' AS time", False),
        ("TIMESTAMP_NS '2024-03-01 10:00:00' AS timestamp", False),
        ("TIMESTAMP_S '2024-03-01 10:00:00' AS timestamp", False),
        ("TIMESTAMPTZ '2024-03-01 10:00:00+00' AS time", True),
        ("'2024-03-01 10:00' AS time", False),
        ("1709287200000 AS open_time", False),
        ("DATE '2024-03-01' AS date, '10:00:00' AS time", False),
    ],
)
def test_parquet_columns_are_known_by_name_and_type(tmp_path: Path, time: str, zoned: bool) -> None:
    data = parquet(tmp_path, f"SELECT {time}, {PRICES}")

    bars = ParquetFormat().parse("x.parquet", data)

    assert EXPECTED == first(bars)
    assert zoned == bars.zoned


def test_parquet_day_is_a_time(tmp_path: Path) -> None:
    data = parquet(tmp_path, f"SELECT DATE '2024-03-01' AS date, {PRICES}")

    assert "2024-03-01T00:00:00Z" == first(ParquetFormat().parse("x", data))[0]


def test_parquet_null_is_an_empty_price_and_symbols_are_kept(tmp_path: Path) -> None:
    rows = "SELECT * FROM (VALUES (DATE '2024-03-01', 'A', 1.0), (DATE '2024-03-01', 'B', NULL)) AS t(date, symbol, p)"
    data = parquet(tmp_path, f"SELECT date, symbol, p AS open, p AS high, p AS low, p AS close FROM ({rows})")

    bars = ParquetFormat().parse("x", data)

    assert ["A", "B"] == bars.symbols.tolist()
    assert math.isnan(bars.close[1])
    assert bars.volume is None


def test_parquet_is_claimed_by_its_mark_and_not_by_csv(tmp_path: Path) -> None:
    head = parquet(tmp_path, f"SELECT DATE '2024-03-01' AS date, {PRICES}")[:4096].decode("utf-8", errors="replace")
    csv: DataFormat = CsvFormat()

    assert ParquetFormat().claims("anything", head)
    assert not csv.claims("x.csv", head)


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    data = parquet(tmp_path, f"SELECT DATE '2024-03-01' AS date, {PRICES}")

    with pytest.raises(DataError, match="not a readable Parquet file") as caught:
        ParquetFormat().parse("x", data[: len(data) // 2])

    assert "\n" not in str(caught.value)


def test_parquet_without_duckdb_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(DataError, match=r"needs duckdb; install it with: pip install 'herald-trading\[data\]'"):
        ParquetFormat().parse("x", b"PAR1")


def test_real_metatrader_4_export_needs_no_header() -> None:
    bars = CsvFormat().parse("x.csv", (DATA / "mt4_export_EURUSD_H1_300.csv").read_bytes())

    # the file's first line: 2013.11.29,12:00,1.36171,1.36183,1.35966,1.36066,3593
    assert ("2013-11-29T12:00:00Z", 1.36171, 1.36183, 1.35966, 1.36066, 3593.0) == first(bars)
    assert 300 == len(bars.row)


def test_real_table_of_the_metatrader_5_api_keeps_its_wall_clock() -> None:
    bars = CsvFormat().parse("x.csv", (DATA / "mt5_api_EURUSD_M1_20211115.csv").read_bytes())

    # the file's own column "data" says 2021-11-15 01:39:00 beside the count 1636940340
    assert ("2021-11-15T01:39:00Z", 1.14439, 1.14439, 1.14432, 1.14434, 20.0) == first(bars)
    assert (False, True) == (bars.zoned, bars.spread_points)


def test_two_columns_of_one_name_are_refused_unless_one_is_chosen() -> None:
    text = "time,open,open,high,low,close\n2024-03-01 10:00,1.1,9,1.3,1.0,1.2\n"

    assert ("column_repeated", 1) == code_of(text)
    assert 1.1 == float(parse(text, TextSettings(columns={"open": 2})).open[0])


def test_cell_of_more_letters_than_the_csv_module_takes_is_a_defect_like_any_other() -> None:
    parsed = parse(HEADER + ROW + '"' + "x" * 200_000 + '"\n')

    assert [(3, "ragged_row", "has 1 cell where 6 belong")] == [(d.row, d.code, d.text) for d in parsed.defects]


def test_file_that_is_called_parquet_and_is_none_says_so() -> None:
    form = ParquetFormat()

    assert form.claims("prices.PARQUET", "hello")
    with pytest.raises(DataError, match="is not a readable Parquet file"):
        form.parse("prices.parquet", b"hello")
