"""The server's clock: rules of zones, what ticks tell of them, and times on both sides of a daylight change."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from herald.clock import HOUR, MINUTE, SECOND
from herald.plugins.mt5.clock import ServerClock, measure_offset, parse_zone


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


# New York changes on 10 March 2024, Athens on 31 March 2024.
@pytest.mark.parametrize(
    ("zone", "moment", "hours"),
    [
        ("ny+7", "2024-03-10T06:59:59", 2),
        ("ny+7", "2024-03-10T07:00:00", 3),
        ("Europe/Athens", "2024-03-20T12:00:00", 2),
        ("Europe/Athens", "2024-04-01T12:00:00", 3),
        ("+02:00", "2024-07-01T12:00:00", 2),
        ("-05:30", "2024-07-01T12:00:00", -5.5),
    ],
)
def test_a_zone_has_its_own_rules(zone: str, moment: str, hours: float) -> None:
    assert hours * HOUR == parse_zone(zone).offset(at(moment))


@pytest.mark.parametrize("text", ["Atlantis", "+15:00", ""])
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no zone"):
        parse_zone(text)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        ([0, 20], 2 * HOUR),
        ([400], None),  # an old tick tells nothing
        ([0, 3_600], None),  # two symbols that disagree
        ([], None),
    ],
)
def test_only_fresh_ticks_that_agree_tell_the_offset(behind: list[int], expected: int | None) -> None:
    now = at("2024-01-10T12:00:00")

    assert expected == measure_offset([now + 2 * HOUR - one * SECOND for one in behind], now)


def test_times_go_to_the_server_and_back_across_a_daylight_change() -> None:
    clock = ServerClock("ny+7")
    utc = np.arange(at("2024-03-09T00:00:00"), at("2024-03-12T00:00:00"), 15 * MINUTE, dtype=np.int64)
    shown = np.array([clock.to_server(int(one)) for one in utc], dtype=np.int64)

    assert list(utc) == [clock.to_utc(int(one)) for one in shown]
    assert list(utc) == list(clock.to_utc_many(shown))


def test_an_unknown_clock_is_learnt_and_one_that_ticks_contradict_is_not_trusted() -> None:
    now = at("2024-01-10T12:00:00")
    learnt, wrong = ServerClock("auto"), ServerClock("+09:00")

    learnt.learn([], now)
    assert "cannot be determined" in learnt.trouble
    with pytest.raises(ValueError, match="cannot be determined"):
        learnt.to_utc(now)
    learnt.learn([now + 2 * HOUR], now)
    wrong.learn([now + 2 * HOUR], now)

    assert (True, "") == (learnt.is_sure, learnt.trouble)
    assert 3 * HOUR == learnt.to_server(at("2024-07-10T12:00:00")) - at("2024-07-10T12:00:00")
    assert not wrong.is_sure
    assert "correct server_zone" in wrong.trouble
