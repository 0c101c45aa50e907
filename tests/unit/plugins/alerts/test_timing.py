"""Quiet hours hold back what can wait, and the same again is counted."""

from __future__ import annotations

import pytest

from herald.clock import SECOND, format_time, parse_time
from herald.plugins.alerts import QuietSettings
from herald.plugins.alerts.timing import QuietHours, Repeats

NOON = parse_time("2024-03-06T12:00:00Z")


@pytest.mark.parametrize(
    ("begin", "end", "zone", "now", "until"),
    [
        ("22:00", "07:00", "UTC", "2024-03-06T21:59:59Z", "2024-03-06T21:59:59Z"),
        ("22:00", "07:00", "UTC", "2024-03-06T22:00:00Z", "2024-03-07T07:00:00Z"),
        ("22:00", "07:00", "UTC", "2024-03-07T06:59:59Z", "2024-03-07T07:00:00Z"),
        ("22:00", "07:00", "UTC", "2024-03-07T07:00:00Z", "2024-03-07T07:00:00Z"),
        ("12:00", "14:00", "UTC", "2024-03-06T13:00:00Z", "2024-03-06T14:00:00Z"),
        ("12:00", "14:00", "UTC", "2024-03-06T15:00:00Z", "2024-03-06T15:00:00Z"),
        ("22:00", "07:00", "Asia/Tokyo", "2024-03-06T13:00:00Z", "2024-03-06T22:00:00Z"),
        # Clocks in Berlin went from 02:00 to 03:00 that night: 07:00 there is 05:00 in UTC, not 06:00.
        ("22:00", "07:00", "Europe/Berlin", "2024-03-30T22:00:00Z", "2024-03-31T05:00:00Z"),
        ("22:00", "07:00", "Europe/Berlin", "2024-10-26T21:00:00Z", "2024-10-27T06:00:00Z"),
    ],
)
def test_quiet_hours_end_by_the_clocks_of_their_zone(begin: str, end: str, zone: str, now: str, until: str) -> None:
    hours = QuietHours(QuietSettings(begin=begin, end=end, zone=zone))

    assert until == format_time(hours.until(parse_time(now)))


def test_the_same_again_is_counted_and_told_once_when_the_while_is_over() -> None:
    repeats = Repeats(600)

    first = [repeats.is_new("a", f"text {number}", {"at": "x"}, NOON + number * SECOND) for number in range(4)]
    other = repeats.is_new("b", "text", {"at": "x"}, NOON)
    early = list(repeats.over(NOON + 599 * SECOND))
    over = [(window.text, count) for window, count in repeats.over(NOON + 600 * SECOND)]
    later = repeats.is_new("a", "text 9", {"at": "x"}, NOON + 700 * SECOND)
    again = [(window.text, count) for window, count in repeats.over(NOON + 1_200 * SECOND)]
    end = list(repeats.over(NOON + 1_800 * SECOND))

    assert [True, False, False, False] == first
    assert other
    assert [] == early
    assert [("text 3", 3)] == over
    assert not later
    assert [("text 9", 1)] == again
    assert [] == end
    assert {} == repeats.windows


def test_what_comes_after_the_while_is_told_at_once() -> None:
    repeats = Repeats(600)
    repeats.is_new("a", "text", {}, NOON)
    list(repeats.over(NOON + 600 * SECOND))

    assert repeats.is_new("a", "text", {}, NOON + 601 * SECOND)


def test_a_clock_that_was_set_back_silences_nothing_for_longer() -> None:
    repeats = Repeats(600)
    repeats.is_new("a", "text", {}, NOON)
    repeats.is_new("a", "text", {}, NOON)

    assert [1] == [count for _, count in repeats.over(NOON - 86_400 * SECOND)]


def test_a_while_may_go_on_until_quiet_hours_end() -> None:
    repeats = Repeats(600)
    repeats.is_new("a", "text", {}, NOON)
    repeats.is_new("a", "text", {}, NOON)

    ((window, count),) = repeats.over(NOON + 600 * SECOND)
    repeats.extend(window, count, NOON + 3_600 * SECOND)
    repeats.is_new("a", "last", {}, NOON + 1_200 * SECOND)

    assert [] == list(repeats.over(NOON + 3_599 * SECOND))
    assert [("last", 2)] == [(one.text, counted) for one, counted in repeats.over(NOON + 3_600 * SECOND)]
