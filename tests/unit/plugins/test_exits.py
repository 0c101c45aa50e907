"""Exit rules on the stand: levels worked out by hand, bar by bar. The instrument's point is 0.01."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from herald.clock import HOUR, format_time
from herald.contracts import Close, Protect
from herald.model import Event, Note
from herald.plugins.exits import herald_exits
from herald.testing import ExitStand, make_instrument, make_services

COMPONENTS = {component.name: component for component in herald_exits()}
INSTRUMENT = make_instrument(price_step=0.01, size_step=0.1, min_size=0.1)


def stand(
    name: str, *, start: str = "2024-01-01", timeframe: str = "1h", events: list[Event] | None = None, **settings: Any
) -> ExitStand:
    component = COMPONENTS[name]
    emit = None if events is None else events.append
    rule = component.build(component.settings(**settings), make_services(f"exits.{name}", emit=emit))
    return ExitStand(rule, instrument=INSTRUMENT, start=start, timeframe=timeframe)


def stops(answers: list[Close | Protect | None]) -> list[float | str | None]:
    """Return the stop, rounded to free it of dust, the reason of a close, or None."""
    result: list[float | str | None] = []
    for answer in answers:
        if isinstance(answer, Protect) and answer.stop_loss is not None:
            result.append(round(answer.stop_loss, 9))
        else:
            result.append(answer.reason if isinstance(answer, Close) else None)
    return result


# --- stop loss ------------------------------------------------------------------------------------


def test_stop_loss_in_points_is_below_a_long_and_above_a_short() -> None:
    long, short = stand("stop_loss", points=200), stand("stop_loss", points=200)
    long.hold(1.0, 100.0)
    short.hold(-1.0, 100.0)

    assert long.bar(100.5) == Protect("stop_loss", stop_loss=98.0)
    assert short.bar(99.5) == Protect("stop_loss", stop_loss=102.0)


def test_stop_loss_as_a_fraction_is_of_the_entry_price() -> None:
    one = stand("stop_loss", fraction=0.05)
    one.hold(1.0, 200.0)

    assert stops([one.bar(210.0)]) == [190.0]


def test_stop_loss_in_ranges_uses_the_range_at_the_first_bar_and_keeps_it() -> None:
    one = stand("stop_loss", atr=1.5, atr_length=5)
    one.bars([(100.0, 101.0, 99.0, 100.0)] * 20)
    one.hold(1.0, 100.0)

    first = one.bar((100.0, 101.0, 99.0, 100.0))  # the range is 2 on every bar: 100 - 1.5 x 2
    later = one.bar((100.0, 110.0, 99.0, 108.0))  # a wide bar changes nothing

    assert stops([first, later]) == [97.0, 97.0]


def test_stop_loss_in_ranges_waits_until_the_range_is_known() -> None:
    one = stand("stop_loss", atr=1, atr_length=4)
    one.hold(1.0, 100.0)

    answers = one.bars([(100.0, 101.0, 99.0, 100.0)] * 6)

    assert answers[:3] == [None, None, None]
    assert stops(answers[-1:]) == [98.0]


def test_stop_loss_closes_when_the_bar_ended_beyond_it() -> None:
    one = stand("stop_loss", points=200)
    one.hold(1.0, 100.0)

    assert one.bar((100.0, 100.0, 96.0, 97.0)) == Close("stop_loss")


def test_stop_loss_stays_when_the_position_grows() -> None:
    one = stand("stop_loss", points=200)
    one.hold(1.0, 100.0)
    before = one.bar(101.0)
    one.hold(2.0, 101.0, opened=one.position.opened)

    assert before == one.bar(102.0)


def test_stop_loss_is_new_for_a_new_position_and_a_turned_one() -> None:
    one = stand("stop_loss", points=200)
    one.hold(1.0, 100.0)
    one.bar(100.0)
    one.hold(1.0, 120.0)
    again = one.bar(120.0)
    one.hold(-1.0, 120.0, opened=one.position.opened)

    assert stops([again, one.bar(120.0)]) == [118.0, 122.0]


def test_stop_loss_below_zero_is_no_price() -> None:
    one = stand("stop_loss", points=20_000)
    one.hold(1.0, 100.0)

    assert one.bar(100.0) is None


# --- take profit ----------------------------------------------------------------------------------


def test_take_profit_is_above_a_long_and_below_a_short() -> None:
    long, short = stand("take_profit", fraction=0.1), stand("take_profit", points=500)
    long.hold(1.0, 100.0)
    short.hold(-1.0, 100.0)

    assert long.bar(101.0) == Protect("take_profit", take_profit=pytest.approx(110.0))
    assert short.bar(99.0) == Protect("take_profit", take_profit=95.0)


def test_take_profit_closes_when_the_bar_ended_beyond_it() -> None:
    one = stand("take_profit", points=500)
    one.hold(1.0, 100.0)

    assert one.bar(105.0) == Close("take_profit")


def test_take_profit_multiplies_the_first_stop_it_sees() -> None:
    one = stand("take_profit", risk_multiple=2)
    one.hold(1.0, 100.0)
    before = one.bar(100.5)
    one.protect(97.0)
    first = one.bar(101.0)  # risk 3, so 100 + 2 x 3
    one.protect(99.0)  # a stop that trails does not move it

    assert [before, first] == [None, Protect("take_profit", take_profit=106.0)]
    assert first == one.bar(101.0)


def test_take_profit_says_when_there_is_no_risk_to_multiply() -> None:
    events: list[Event] = []
    one = stand("take_profit", risk_multiple=2, events=events)
    one.hold(-1.0, 100.0)

    answers = one.bars([100.0, 100.0, 100.0])

    assert answers == [None, None, None]
    (note,) = events
    assert isinstance(note, Note)
    assert "has no stop loss, so there is no risk to multiply; state stop_loss with the order" in note.text


# --- trailing stop --------------------------------------------------------------------------------


def test_trailing_stop_follows_the_high_of_a_long_and_never_loosens() -> None:
    one = stand("trailing_stop", points=300)
    one.hold(1.0, 100.0)

    answers = one.bars([(100, 101, 99, 100.5), (100.5, 104, 100, 103), (103, 103, 101.5, 102), (102, 105, 102, 104)])

    assert stops(answers) == [98.0, 101.0, 101.0, 102.0]


def test_trailing_stop_follows_the_low_of_a_short() -> None:
    one = stand("trailing_stop", points=300)
    one.hold(-1.0, 100.0)

    answers = one.bars([(100, 101, 99, 99.5), (99.5, 100, 96, 97), (97, 98.5, 97, 98)])

    assert stops(answers) == [102.0, 99.0, 99.0]


def test_trailing_stop_closes_when_the_bar_ended_beyond_it() -> None:
    one = stand("trailing_stop", points=300)
    one.hold(1.0, 100.0)

    assert stops(one.bars([(100, 110, 100, 106)])) == ["trailing_stop"]  # the stop would be 107


def test_trailing_stop_waits_for_its_activation() -> None:
    one = stand("trailing_stop", fraction=0.02, activation=0.05)
    one.hold(1.0, 100.0)

    answers = one.bars([(100, 104.9, 100, 104.5), (104.5, 105, 104, 104.5), (104.5, 104.6, 103.5, 104)])

    assert stops(answers) == [None, 103.0, 103.0]  # 2 % of the entry below the best price of 105


def test_trailing_stop_in_ranges_does_not_loosen_when_the_range_grows() -> None:
    one = stand("trailing_stop", atr=1, atr_length=2)
    one.bars([(100, 101, 99, 100)] * 10)
    one.hold(1.0, 100.0)

    quiet = one.bar((100, 101, 99, 100))  # range 2: 101 - 2
    wild = one.bar((100, 101, 94.5, 99.5))  # the range grows, the best price does not

    assert stops([quiet, wild]) == [99.0, 99.0]


def test_trailing_stop_ignores_the_extremes_of_the_bar_that_filled_a_limit() -> None:
    one = stand("trailing_stop", points=300)
    one.hold(1.0, 98.0, opened=one.now + HOUR)  # filled inside the bar: the fill is dated at its end

    answers = one.bars([(104, 105, 97, 99), (99, 100, 98, 99.5)])

    assert stops(answers) == [96.0, 97.0]


# --- profit target --------------------------------------------------------------------------------

HALVES = [{"points": 100, "share": 0.5}, {"points": 200, "share": 0.5}]


def test_profit_target_closes_a_share_of_the_original_at_each_level_once() -> None:
    one = stand("profit_target", levels=HALVES)
    one.hold(1.0, 100.0)

    quiet = one.bar((100, 100.9, 99, 100.5))
    first = one.bar((100.5, 101, 100, 100.2))
    one.resize(0.5)
    between = one.bar((100.2, 101.5, 100, 101))
    second = one.bar((101, 102, 101, 101))

    assert [quiet, first, between, second] == [None, Close("profit_target", 0.5), None, Close("profit_target", 1.0)]


def test_profit_target_works_for_shorts() -> None:
    one = stand("profit_target", levels=[{"fraction": 0.02, "share": 0.3}])
    one.hold(-1.0, 100.0)

    assert one.bar((100, 100, 97.9, 99)) == Close("profit_target", 0.3)


def test_profit_target_takes_two_levels_of_one_bar_together() -> None:
    one = stand("profit_target", levels=[*HALVES[:1], {"points": 200, "share": 0.2}, {"points": 900, "share": 0.3}])
    one.hold(1.0, 100.0)

    assert one.bar((100, 103, 100, 103)) == Close("profit_target", 0.7)


def test_profit_target_asks_again_when_nothing_was_closed() -> None:
    one = stand("profit_target", levels=HALVES)
    one.hold(1.0, 100.0)

    assert [Close("profit_target", 0.5)] * 2 == one.bars([(100, 101, 100, 100.5), (100.5, 100.6, 100, 100.5)])


def test_profit_target_asks_for_the_rest_of_a_part_that_filled_partly() -> None:
    one = stand("profit_target", levels=HALVES)
    one.hold(1.0, 100.0)
    one.bar((100, 101, 100, 100.5))
    one.resize(0.8)

    assert one.bar((100.5, 100.6, 100, 100.5)) == Close("profit_target", pytest.approx(0.375))  # 0.3 of 0.8


def test_profit_target_leaves_what_was_added_later() -> None:
    one = stand("profit_target", levels=HALVES)
    one.hold(1.0, 100.0)
    one.bar((100, 101, 100, 100.5))
    one.resize(0.5)
    one.bar(100.5)
    one.resize(1.5)

    assert one.bar(100.6) is None


def test_profit_target_rounds_down_and_carries_the_rest() -> None:
    # 0.3 of 0.5 lots is 0.15: 0.1 can be traded now, and 0.05 + 0.15 makes 0.2 at the second level
    one = stand("profit_target", levels=[{"points": 100, "share": 0.3}, {"points": 200, "share": 0.3}])
    one.hold(0.5, 100.0)

    first = one.bar((100, 101, 100, 101))
    one.resize(0.4)
    second = one.bar((101, 102, 101, 102))

    assert [Close("profit_target", pytest.approx(0.2)), Close("profit_target", pytest.approx(0.5))] == [first, second]


def test_profit_target_in_multiples_of_the_risk() -> None:
    one = stand("profit_target", levels=[{"r": 1, "share": 0.5}, {"r": 2, "share": 0.5}])
    one.hold(1.0, 100.0)
    one.protect(97.0)

    assert one.bars([(100, 102.9, 100, 102), (102, 103, 102, 102.5)]) == [None, Close("profit_target", 0.5)]


def test_profit_target_waits_while_a_closing_order_works() -> None:
    one = stand("profit_target", levels=HALVES)
    one.hold(1.0, 100.0)
    one.closing(0.5)

    assert one.bar((100, 101, 100, 101)) is None


# --- time -----------------------------------------------------------------------------------------


def closed_at(one: ExitStand, limit: int = 400) -> str:
    """Let bars pass until the rule closes; return the end of that bar."""
    for _ in range(limit):
        if one.bar(100.0) == Close("time_based"):
            return format_time(one.now)
    return "never"


def test_time_based_counts_bars_from_the_entry() -> None:
    one = stand("time_based", max_bars=3)
    one.bars([100.0] * 5)
    one.hold(1.0, 100.0)

    assert one.bars([100.0] * 4) == [None, None, Close("time_based"), Close("time_based")]


def test_time_based_does_not_count_the_bar_in_which_a_limit_filled() -> None:
    one = stand("time_based", max_bars=1)
    one.hold(1.0, 100.0, opened=one.now + HOUR)

    assert one.bars([100.0, 100.0]) == [None, Close("time_based")]


def test_time_based_counts_bars_not_hours_over_a_gap() -> None:
    one = stand("time_based", max_bars=3)
    one.hold(1.0, 100.0)
    one.bar(100.0)
    one.now += 48 * HOUR  # a weekend

    assert one.bars([100.0, 100.0]) == [None, Close("time_based")]


def test_time_based_does_not_count_the_entry_bar_of_a_limit_over_a_gap() -> None:
    one = stand("time_based", max_bars=2)
    one.hold(1.0, 100.0, opened=one.now + HOUR)
    one.bar(100.0)
    one.now += 48 * HOUR

    assert one.bars([100.0, 100.0]) == [None, Close("time_based")]


def test_time_based_counts_hours() -> None:
    one = stand("time_based", start="2024-01-01T05:00", max_hold="2d")
    one.hold(1.0, 100.0)

    assert closed_at(one) == "2024-01-03T05:00:00Z"


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("2024-01-10T05:00", "2024-01-10T22:00:00Z"),  # 17:00 in New York is 22:00 UTC in winter
        ("2024-01-10T22:00", "2024-01-11T22:00:00Z"),  # opened at the boundary: the next day's
        ("2024-03-11T05:00", "2024-03-11T21:00:00Z"),  # and 21:00 UTC in summer time
    ],
)
def test_time_based_closes_at_the_end_of_the_day(opened: str, closed: str) -> None:
    one = stand("time_based", start=opened, end_of_day=17, zone="America/New_York")
    one.hold(1.0, 100.0)

    assert closed_at(one) == closed


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("2024-01-08T05:00", "2024-01-12T20:00:00Z"),  # Monday
        ("2024-01-12T19:00", "2024-01-12T20:00:00Z"),  # Friday, just before
        ("2024-01-12T20:00", "2024-01-12T21:00:00Z"),  # Friday, after: at the next bar already
        ("2024-01-13T05:00", "2024-01-13T06:00:00Z"),  # Saturday likewise
        ("2024-01-14T22:00", "2024-01-19T20:00:00Z"),  # Sunday evening begins a new week
    ],
)
def test_time_based_is_flat_over_the_weekend(opened: str, closed: str) -> None:
    one = stand("time_based", start=opened, friday_close=20)
    one.hold(1.0, 100.0)

    assert closed_at(one) == closed


def test_time_based_takes_the_earliest_of_its_limits() -> None:
    one = stand("time_based", start="2024-01-08T05:00", max_hold="3h", end_of_day=22, max_bars=50)
    one.hold(1.0, 100.0)

    assert closed_at(one) == "2024-01-08T08:00:00Z"


def test_time_based_term_begins_anew_with_the_next_position() -> None:
    one = stand("time_based", max_hold="2h")
    one.hold(1.0, 100.0)
    first = one.bars([100.0, 100.0])
    one.hold(1.0, 100.0)

    assert [*first, *one.bars([100.0, 100.0])] == [None, Close("time_based"), None, Close("time_based")]


# --- adverse movement -----------------------------------------------------------------------------


def test_adverse_movement_closes_on_a_fast_fall_and_not_on_a_slow_one() -> None:
    fast, slow = (stand("adverse_movement", points=300, window_bars=2) for _ in range(2))
    fast.hold(1.0, 100.0)
    slow.hold(1.0, 100.0)

    assert fast.bars([(100, 101, 100, 100), (100, 100, 98, 98)]) == [None, Close("adverse_movement")]  # 101 - 98 = 3
    assert slow.bars([(100, 101, 100, 100), (100, 100, 99, 99), (99, 99, 97.5, 97.5)]) == [None] * 3  # 100 - 97.5


def test_adverse_movement_is_mirrored_for_shorts() -> None:
    one = stand("adverse_movement", fraction=0.03, window_bars=2)
    one.hold(-1.0, 100.0)

    assert one.bars([(100, 100, 99, 100), (100, 102, 100, 102)]) == [None, Close("adverse_movement")]


def test_adverse_movement_sees_a_fall_inside_one_bar() -> None:
    one = stand("adverse_movement", points=300, window_bars=1)
    one.hold(1.0, 100.0)

    assert one.bar((100, 102, 98, 99)) == Close("adverse_movement")


def test_adverse_movement_knows_nothing_from_before_the_entry() -> None:
    one = stand("adverse_movement", points=300, window_bars=5)
    one.bars([(110, 111, 109, 110), (110, 110, 100, 100)])
    one.hold(1.0, 100.0)

    assert one.bar((100, 100.5, 99, 99)) is None


def test_adverse_movement_ignores_the_high_of_the_bar_that_filled_a_limit() -> None:
    one = stand("adverse_movement", points=300, window_bars=2)
    one.hold(1.0, 98.0, opened=one.now + HOUR)

    assert one.bars([(104, 105, 97, 98), (98, 98, 96, 96)]) == [None, None]


def test_adverse_movement_window_of_seconds_drops_bars_that_began_before_it() -> None:
    one = stand("adverse_movement", points=300, window_seconds=7_200)
    one.hold(1.0, 100.0)

    answers = one.bars([(100, 103, 100, 101), (101, 101, 100, 100), (100, 100, 99, 99), (99, 99, 97.5, 97.5)])

    # 103 - 100 = 3 within two hours; then the first bar is out: 101 - 99; then 100 - 97.5
    assert answers == [None, Close("adverse_movement"), None, None]


def test_adverse_movement_window_of_seconds_forgets_over_a_gap() -> None:
    one = stand("adverse_movement", points=300, window_seconds=7_200)
    one.hold(1.0, 100.0)
    one.bar((100, 103, 100, 102))
    one.now += 48 * HOUR

    assert one.bar((100, 100, 99, 99)) is None


def test_adverse_movement_refuses_a_window_shorter_than_a_bar() -> None:
    one = stand("adverse_movement", points=300, window_seconds=60)
    one.hold(1.0, 100.0)

    with pytest.raises(
        Exception, match=r"window_seconds 60 is shorter than a bar of 3600 s; use window_bars or a finer time frame"
    ):
        one.bar(100.0)


@pytest.mark.parametrize(("close", "answer"), [(96.0, None), (95.0, Close("adverse_movement"))])
def test_adverse_movement_in_ranges(close: float, answer: Close | None) -> None:
    one = stand("adverse_movement", atr=2, atr_length=5, window_bars=2)
    one.bars([(100, 101, 99, 100)] * 20)
    one.hold(1.0, 100.0)
    one.bar((100, 101, 99, 100))

    # a true range of 5 makes the range (2 x 4 + 5) / 5 = 2.6, twice that is 5.2; the fall is 101 - close
    assert answer == one.bar((100, 100, 95, close))


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("stop_loss", {}, "no distance is given; set exactly one of points, fraction, atr"),
        ("stop_loss", {"points": 1, "atr": 1}, "points and atr exclude each other"),
        ("stop_loss", {"points": 0}, "greater than 0"),
        ("take_profit", {}, "points, fraction, atr, risk_multiple"),
        ("trailing_stop", {"points": 10, "activation": -1}, "greater than or equal to 0"),
        ("profit_target", {"levels": []}, "at least 1 item"),
        ("profit_target", {"levels": [{"r": 1, "share": 0.6}, {"r": 2, "share": 0.6}]}, "add up to 1.2; they may be 1 at most"),
        ("profit_target", {"levels": [{"share": 0.6}]}, "points, fraction, atr, r"),
        ("time_based", {}, "set max_bars, max_hold, end_of_day or friday_close"),
        ("time_based", {"max_hold": "soon"}, "unknown duration 'soon'; write a count and a unit"),
        ("time_based", {"end_of_day": 17, "zone": "New York"}, "unknown time zone 'New York'"),
        ("time_based", {"end_of_day": 24}, "less than or equal to 23"),
        ("adverse_movement", {"points": 1}, "exactly one of window_bars and window_seconds"),
        ("adverse_movement", {"points": 1, "window_bars": 1, "window_seconds": 1}, "exactly one of window_bars"),
        ("adverse_movement", {"window_bars": 1}, "no distance is given"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        COMPONENTS[name].settings(**settings)


def test_shares_that_only_binary_dust_puts_above_one_are_taken() -> None:
    shares = [0.1, 0.2, 0.7]  # their sum is 0.9999999999999999 or 1.0000000000000002, depending on the order

    COMPONENTS["profit_target"].settings(levels=[{"points": i + 1, "share": share} for i, share in enumerate(shares)])
