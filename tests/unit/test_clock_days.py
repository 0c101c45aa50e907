"""Days that begin at an hour of a zone."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from herald.clock import HOUR, day_start, format_time, next_day_start, parse_time

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("at", "start", "following"),
    [
        ("2024-01-10T05:00", "2024-01-10T00:00:00Z", "2024-01-11T00:00:00Z"),
        ("2024-01-10T00:00", "2024-01-10T00:00:00Z", "2024-01-11T00:00:00Z"),
        ("2024-01-09T23:59:59", "2024-01-09T00:00:00Z", "2024-01-10T00:00:00Z"),
        ("1969-12-31T12:00", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"),
    ],
)
def test_a_day_in_utc_begins_at_midnight(at: str, start: str, following: str) -> None:
    time = parse_time(at)

    assert start == format_time(day_start(time, 0, UTC))
    assert following == format_time(next_day_start(time, 0, UTC))


def test_an_hour_of_a_zone_moves_with_its_summer_time() -> None:
    # New York went from UTC-5 to UTC-4 on 2024-03-10: a trading day from 17:00 to 17:00 had 23 hours.
    before = day_start(parse_time("2024-03-10T12:00"), 17, NEW_YORK)
    after = next_day_start(parse_time("2024-03-10T12:00"), 17, NEW_YORK)

    assert ["2024-03-09T22:00:00Z", "2024-03-10T21:00:00Z"] == [format_time(before), format_time(after)]
    assert after - before == 23 * HOUR


def test_an_hour_that_is_skipped_begins_after_the_gap() -> None:
    # On 2024-03-10 clocks in New York went from 01:59:59 EST to 03:00 EDT, which is 07:00 UTC.
    assert "2024-03-10T07:00:00Z" == format_time(day_start(parse_time("2024-03-10T20:00"), 2, NEW_YORK))


def test_an_hour_that_comes_twice_begins_with_the_first() -> None:
    # On 2024-11-03 it was 01:00 in New York at 05:00 UTC (EDT) and again at 06:00 UTC (EST).
    assert "2024-11-03T05:00:00Z" == format_time(day_start(parse_time("2024-11-03T20:00"), 1, NEW_YORK))
