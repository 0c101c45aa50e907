"""Written dates and times."""

from __future__ import annotations

import pytest

from herald.clock import format_time
from herald.errors import DataError
from herald.plugins.files.stamps import BAD, read_stamps


def read(*cells: str, times: list[str] | None = None, date_format: str = "") -> list[str]:
    stamps = read_stamps(cells, times, date_format, 2)
    return ["bad" if at == BAD else format_time(at) for at in stamps.time.tolist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-01", "2024-03-01T00:00:00Z"),
        ("2024/3/1 9:05", "2024-03-01T09:05:00Z"),
        ("2024.03.01 10:15:30", "2024-03-01T10:15:30Z"),
        ("2024-03-01T10:15:30.250", "2024-03-01T10:15:30.25Z"),
        ("20240301", "2024-03-01T00:00:00Z"),
        ("20240301 101530", "2024-03-01T10:15:30Z"),
        ("202403011015", "2024-03-01T10:15:00Z"),
        ("20240301101530", "2024-03-01T10:15:30Z"),
        ("20240301101530250", "2024-03-01T10:15:30.25Z"),
        ("01-Apr-10", "2010-04-01T00:00:00Z"),
        ("1 April 2010", "2010-04-01T00:00:00Z"),
        ("31/12/2023", "2023-12-31T00:00:00Z"),
        ("12/31/2023", "2023-12-31T00:00:00Z"),
        ("31.12.99 5:00 PM", "1999-12-31T17:00:00Z"),
        ("2024-03-01 12:05 AM", "2024-03-01T00:05:00Z"),
        ("2024-03-01 10:00:00+02:00", "2024-03-01T08:00:00Z"),
        ("2024-03-01T10:00:00Z", "2024-03-01T10:00:00Z"),
        ("01.01.2024 00:00:00.000 GMT+0100", None),
    ],
)
def test_usual_spellings_are_read(text: str, expected: str | None) -> None:
    if expected is None:  # day and month are both 1: a second row must prove the order
        assert ["2023-12-31T23:00:00Z", "2024-01-12T23:00:00Z"] == read(text, "13.01.2024 00:00:00.000 GMT+0100")
        return

    assert [expected] == read(text)


@pytest.mark.parametrize("digits", ["1709287200", "1709287200000", "1709287200000000", "1709287200000000000", "1709287200.0"])
def test_unit_of_a_count_is_told_by_its_size(digits: str) -> None:
    assert ["2024-03-01T10:00:00Z"] == read(digits)


def test_count_in_another_unit_than_the_first_is_unreadable() -> None:
    assert ["2024-03-01T10:00:00Z", "bad"] == read("1709287200000", "1709287200")


def test_small_numbers_are_no_times() -> None:
    assert ["bad", "bad"] == read("0", "1")


def test_day_and_month_that_cannot_be_told_apart_are_asked_for() -> None:
    with pytest.raises(DataError, match=r"'0[13]/0[24]/2024' may be day/month or month/day.*date_format"):
        read("01/02/2024", "03/04/2024")


def test_one_row_proves_the_order_for_all() -> None:
    assert ["2024-02-01T00:00:00Z", "2024-02-13T00:00:00Z"] == read("01/02/2024", "13/02/2024")
    assert ["2024-01-02T00:00:00Z", "2024-02-13T00:00:00Z"] == read("01/02/2024", "02/13/2024")


def test_both_orders_in_one_file_are_refused() -> None:
    with pytest.raises(DataError, match="both orders of day and month occur"):
        read("13/01/2024", "01/13/2024")


def test_stated_format_settles_the_order() -> None:
    assert ["2024-02-01T00:00:00Z"] == read("01/02/2024", date_format="%d/%m/%Y")
    assert ["2024-02-01T09:30:00Z"] == read("01/02/2024 09:30", date_format="%d/%m/%Y %H:%M")
    assert ["2024-02-01T09:30:15Z"] == read("01/02/2024 09:30:15", date_format="%d/%m/%Y")
    assert ["2024-02-01T09:30:00Z"] == read("01/02/2024", times=["09:30"], date_format="%d/%m/%Y")


@pytest.mark.parametrize(
    "text", ["2024-02-30 01:00", "2024-13-01 01:00", "2024-03-01 24:00", "2024-03-01 10:60", "1:00 PM", "soon", ""]
)
def test_what_is_no_time_is_bad(text: str) -> None:
    assert ["2024-03-01T00:00:00Z", "bad"] == read("2024-03-01 00:00", text)


def test_only_some_rows_with_a_zone_leave_the_others_unplaced() -> None:
    assert ["2024-03-01T08:00:00Z", "bad"] == read("2024-03-01 10:00+02:00", "2024-03-01 11:00")


def test_stated_zone_is_reported() -> None:
    assert read_stamps(["2024-03-01 10:00+02:00"], None, "", 1).zoned
    assert not read_stamps(["2024-03-01 10:00"], None, "", 1).zoned
