"""The clock that a file was written by."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald.clock import DAY, HOUR, MINUTE, SECOND, format_time, parse_time
from herald.plugins.files.clock import FileClock, spell_out
from herald.plugins.files.settings import ZoneStep


def clock(zone: str | tuple[ZoneStep, ...], *walls: str) -> tuple[list[str], list[bool]]:
    wall = np.array([parse_time(text) for text in walls], dtype=np.int64)
    utc, skipped = FileClock(spell_out(zone), int(wall.min()), int(wall.max())).to_utc(wall)
    return [format_time(at) for at in utc.tolist()], skipped.tolist()


def test_winter_and_summer_time_are_told_apart() -> None:
    utc, skipped = clock("Europe/Athens", "2024-01-15T12:00", "2024-07-15T12:00")

    assert ["2024-01-15T10:00:00Z", "2024-07-15T09:00:00Z"] == utc
    assert [False, False] == skipped


def test_second_pass_of_a_repeated_hour_is_told_by_the_rows() -> None:
    # Berlin put its clocks back from 03:00 to 02:00 on 27 October 2024, 01:00 UTC.
    utc, _ = clock("Europe/Berlin", *[f"2024-10-27T{text}" for text in ("01:30", "02:00", "02:30", "02:00", "02:30", "03:00")])

    assert [f"2024-10-{text}:00Z" for text in ("26T23:30", "27T00:00", "27T00:30", "27T01:00", "27T01:30", "27T02:00")] == utc


def test_hour_that_was_written_once_is_the_first() -> None:
    utc, _ = clock("Europe/Berlin", "2024-10-27T02:00", "2024-10-27T03:00")

    assert ["2024-10-27T00:00:00Z", "2024-10-27T02:00:00Z"] == utc


def test_hour_that_never_was_is_marked() -> None:
    _, skipped = clock("Europe/Berlin", "2024-03-31T01:30", "2024-03-31T02:30", "2024-03-31T03:30")

    assert [False, True, False] == skipped


def test_a_server_that_moved_is_two_steps() -> None:
    steps = (ZoneStep(zone="Europe/Berlin", until=date(2014, 11, 22)), ZoneStep(zone="Europe/Athens"))

    utc, skipped = clock(steps, "2014-11-21T22:00", "2014-11-24T00:00")

    assert ["2014-11-21T21:00:00Z", "2014-11-23T22:00:00Z"] == utc
    assert [False, False] == skipped


def test_first_time_of_a_step_belongs_to_it_although_the_clock_jumped_over_it() -> None:
    steps = (ZoneStep(zone="Europe/Berlin", until=datetime(2014, 11, 24)), ZoneStep(zone="Europe/Athens"))

    utc, skipped = clock(steps, "2014-11-24T00:00")

    assert ["2014-11-23T22:00:00Z"] == utc
    assert [False] == skipped


def test_day_on_which_clocks_go_forward_has_23_hours() -> None:
    wall = np.array([parse_time("2024-03-31")])
    athens = FileClock(spell_out("Europe/Athens"), int(wall[0]), int(wall[0]))
    utc, _ = athens.to_utc(wall)

    ends = athens.bar_ends(wall, utc, DAY)

    assert 23 * HOUR == int(ends[0] - utc[0])


def test_hours_of_the_repeated_hour_make_two_bars() -> None:
    wall = np.array([parse_time(f"2024-10-27T{text}") for text in ("02:00", "02:30", "02:00", "02:30")])
    berlin = FileClock(spell_out("Europe/Berlin"), int(wall.min()), int(wall.max()))
    utc, _ = berlin.to_utc(wall)

    ends = berlin.groups(utc, HOUR, 0)

    assert ["2024-10-27T01:00:00Z", "2024-10-27T01:00:00Z", "2024-10-27T02:00:00Z", "2024-10-27T02:00:00Z"] == [
        format_time(at) for at in ends.tolist()
    ]


def test_hours_of_a_zone_with_half_an_hour_are_its_own_hours() -> None:
    wall = np.array([parse_time("2024-05-05T09:15"), parse_time("2024-05-05T09:45")])
    kolkata = FileClock(spell_out("Asia/Kolkata"), int(wall.min()), int(wall.max()))
    utc, _ = kolkata.to_utc(wall)

    assert {"2024-05-05T04:30:00Z"} == {format_time(at) for at in kolkata.groups(utc, HOUR, 0).tolist()}


@given(
    zone=st.sampled_from(["UTC", "Europe/Athens", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
    minutes=st.lists(st.integers(0, 30 * 365 * 24 * 60), min_size=1, max_size=20),
)
def test_every_moment_reads_as_zoneinfo_reads_it(zone: str, minutes: list[int]) -> None:
    start = parse_time("1999-01-01")
    utc = np.array([start + minute * MINUTE for minute in sorted(minutes)], dtype=np.int64)
    moments = [datetime.fromtimestamp(at // SECOND, UTC).astimezone(ZoneInfo(zone)) for at in utc.tolist()]
    wall = np.array([parse_time(moment.replace(tzinfo=None).isoformat()) for moment in moments], dtype=np.int64)
    own = FileClock(spell_out(zone), int(wall.min()), int(wall.max()))

    back, skipped = own.to_utc(wall)

    assert wall.tolist() == own.to_wall(utc).tolist()
    assert not skipped.any()
    first = [int(moment.replace(fold=0).timestamp()) * SECOND for moment in moments]
    second = [int(moment.replace(fold=1).timestamp()) * SECOND for moment in moments]
    assert all(at in pair for at, pair in zip(back.tolist(), zip(first, second, strict=True), strict=True))


@pytest.mark.parametrize("zone", ["Europe/Athens", "America/New_York"])
def test_a_whole_year_of_quarter_hours_is_strictly_increasing(zone: str) -> None:
    utc = np.arange(parse_time("2023-01-01"), parse_time("2024-01-01"), 15 * MINUTE)
    own = FileClock(spell_out(zone), int(utc[0]), int(utc[-1]))

    back, skipped = own.to_utc(own.to_wall(utc))

    assert utc.tolist() == back.tolist()
    assert not skipped.any()
