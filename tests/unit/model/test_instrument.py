"""The terms of a symbol: hours in a week, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald.host.instruments import resolve_instrument
from herald.host.tables import InstrumentTable
from herald.model import Instrument
from herald.model.instrument import SwapMode, TradeMode, week_windows

DAY = 1_440


def terms(**changes: Any) -> Instrument:
    return Instrument(symbol="TEST", quote="USD", price_step=0.01, size_step=0.01, min_size=0.01, **changes)


@pytest.mark.parametrize(
    ("texts", "windows"),
    [
        ([], ()),
        (["Mon 00:05-Fri 22:00"], ((5, 4 * DAY + 22 * 60),)),
        (["Sun 22:00-Fri 22:00"], ((0, 4 * DAY + 1_320), (6 * DAY + 1_320, 7 * DAY))),
        (["Sat-Sun 09:30-16:00"], ((5 * DAY + 570, 5 * DAY + 960), (6 * DAY + 570, 6 * DAY + 960))),
        (["Fri 22:00-02:00"], ((4 * DAY + 1_320, 5 * DAY + 120),)),
        (["Sun 23:00-01:00"], ((0, 60), (6 * DAY + 1_380, 7 * DAY))),
        (["00:00-24:00"], ((0, 7 * DAY),)),
        (["Wed 10:00-12:00", "Wed 11:00-13:00"], ((2 * DAY + 600, 2 * DAY + 780),)),
        (["Sat-Mon 10:00-11:00"], ((600, 660), (5 * DAY + 600, 5 * DAY + 660), (6 * DAY + 600, 6 * DAY + 660))),
    ],
)
def test_windows_of_a_week_are_minutes_since_monday(texts: list[str], windows: tuple[tuple[int, int], ...]) -> None:
    assert windows == week_windows(texts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mon", "is no weekly window"),
        ("Mon 9:30-16:00", "is no weekly window"),
        ("Mon-Fri 09:30-Fri 16:00", "is no weekly window"),
        ("09:30-Fri 16:00", "names the day of its end only"),
        ("10:00-10:00", "is over when it begins"),
        ("10:00-25:00", "is no time of day"),
        ("10:60-11:00", "is no time of day"),
    ],
)
def test_a_text_that_is_no_window_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        week_windows([text])
    with pytest.raises(ValueError, match=f"sessions of 'TEST': .*{words}"):
        terms(sessions=(text,))


TIMES = st.integers(0, DAY - 1).map(lambda minute: f"{minute // 60:02d}:{minute % 60:02d}")
DAYS = st.sampled_from(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
TEXTS = st.builds("{} {}-{} {}".format, DAYS, TIMES, DAYS, TIMES) | st.builds("{} {}-24:00".format, DAYS, TIMES)


@given(st.lists(TEXTS, max_size=5))
def test_windows_are_in_order_apart_and_within_the_week(texts: list[str]) -> None:
    edges = [edge for window in week_windows(texts) for edge in window]

    assert edges == sorted(set(edges))
    assert all(0 <= edge <= 7 * DAY for edge in edges)
    assert bool(edges) == bool(texts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stops_level": -1}, "stops_level of 'TEST' must be at least 0"),
        ({"freeze_level": float("inf")}, "freeze_level of 'TEST' must be at least 0 and finite"),
        ({"commission": float("nan")}, "commission of 'TEST'"),
        ({"swap_long": float("nan")}, "swap_long of 'TEST' must be finite"),
        ({"triple_swap_day": "Wednesday"}, "triple_swap_day of 'TEST' must be one of Mon, Tue"),
        ({"swap_mode": "pips"}, "swap_mode of 'TEST' must be one of none, points"),
        ({"trade_mode": "open"}, "trade_mode of 'TEST' must be one of full, long_only"),
        ({"sessions": "Mon 00:00-Fri 22:00"}, "sessions of 'TEST' must be a list"),
        ({"session_zone": "Mars/Olympus"}, "session_zone of 'TEST' must be an IANA name"),
    ],
)
def test_terms_that_cannot_be_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        terms(**change)


def test_words_and_lists_of_a_file_become_members_and_tuples() -> None:
    found = terms(swap_mode="points", trade_mode="close_only", sessions=["Mon 00:00-Fri 22:00"])

    assert (SwapMode.POINTS, TradeMode.CLOSE_ONLY, ("Mon 00:00-Fri 22:00",)) == (
        found.swap_mode,
        found.trade_mode,
        found.sessions,
    )
    assert type(found.swap_mode) is SwapMode
    assert hash(found) == hash(
        terms(swap_mode=SwapMode.POINTS, trade_mode=TradeMode.CLOSE_ONLY, sessions=("Mon 00:00-Fri 22:00",))
    )


def test_the_config_states_every_term() -> None:
    stated = {
        "stops_level": 10.0,
        "freeze_level": 5.0,
        "swap_long": -7.5,
        "swap_short": 2.5,
        "swap_mode": "points",
        "triple_swap_day": "Fri",
        "commission": 3.5,
        "sessions": ["Mon 00:05-Fri 22:00"],
        "session_zone": "Europe/Helsinki",
        "trade_mode": "long_only",
    }

    found = resolve_instrument("TEST", terms(), InstrumentTable(**stated))

    assert terms(**stated) == found
    assert set(stated) < set(InstrumentTable.model_fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"sessions": ["Mon"]}, "is no weekly window"), ({"session_zone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'")],
)
def test_a_table_with_hours_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        InstrumentTable(**change)
