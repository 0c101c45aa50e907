"""Time frames, bars and the columns of a series."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from herald.clock import DAY, HOUR, MINUTE, SECOND, parse_time
from herald.model import BarSeries, Timeframe

DATA = Path(__file__).parents[2] / "data"


def series(starts: list[int], span: int, volume: list[float] | None = None, spread: list[float] | None = None) -> BarSeries:
    n = len(starts)
    base = np.arange(10.0, 10.0 + n)
    time = np.array(starts, dtype=np.int64) + span
    return BarSeries(
        "X",
        span,
        time,
        base,
        base + 2,
        base - 3,
        base + 1,
        None if volume is None else np.array(volume),
        None if spread is None else np.array(spread),
    )


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [("15m", 900, "15m"), ("H1", 3_600, "1h"), ("D1", 86_400, "1d"), ("1w", 604_800, "1w"), ("90m", 5_400, "90m")],
)
def test_time_frame_is_read_in_both_spellings(text: str, seconds: int, written: str) -> None:
    frame = Timeframe.parse(text)

    assert seconds == frame.seconds
    assert written == str(frame)


@pytest.mark.parametrize("text", ["", "m", "0m", "x5", "5", "-1h", "1.5h"])
def test_what_is_no_time_frame_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unknown time frame"):
        Timeframe.parse(text)


def test_columns_are_read_only() -> None:
    bars = series([0, MINUTE], MINUTE)

    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 1.0


def test_times_that_repeat_are_refused() -> None:
    with pytest.raises(ValueError, match="strictly increase"):
        series([0, 0], MINUTE)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        BarSeries("X", 1, np.array([1, 2]), np.ones(2), np.ones(2), np.ones(2), np.ones(1))


def test_between_takes_bars_that_end_after_start_and_by_end() -> None:
    bars = series([0, MINUTE, 2 * MINUTE], MINUTE)  # they end at 1, 2 and 3 minutes

    assert [2 * MINUTE] == bars.between(MINUTE, 2 * MINUTE).time.tolist()
    assert 3 == len(bars.between(None, None))


def test_resampling_takes_first_highest_lowest_last_sum_and_smallest_spread() -> None:
    bars = series([0, MINUTE, 4 * MINUTE], MINUTE, volume=[1, 2, 4], spread=[3, 1, 2])

    bar = bars.resample(Timeframe(300)).bar(0)

    # opens 10 11 12, highs 12 13 14, lows 7 8 9, closes 11 12 13
    assert (10.0, 14.0, 7.0, 13.0, 7.0) == (bar.open, bar.high, bar.low, bar.close, bar.volume)
    assert 5 * MINUTE == bar.time
    spread = bars.resample(Timeframe(300)).spread
    assert spread is not None
    assert [1.0] == spread.tolist()


def test_resampled_bar_ends_with_its_period_although_its_last_minutes_are_missing() -> None:
    bars = series([7 * MINUTE, 11 * MINUTE], MINUTE).resample(Timeframe(300))

    assert [10 * MINUTE, 15 * MINUTE] == bars.time.tolist()


def test_period_without_bars_makes_no_bar() -> None:
    bars = series([0, 59 * MINUTE], MINUTE).resample(Timeframe(300))

    assert [5 * MINUTE, 60 * MINUTE] == bars.time.tolist()


def test_offset_moves_the_grid() -> None:
    bars = series([20 * HOUR, 21 * HOUR, 22 * HOUR], HOUR).resample(Timeframe(86_400), offset=-2 * HOUR)

    assert [22 * HOUR, 46 * HOUR] == bars.time.tolist()


def test_weeks_begin_on_monday() -> None:
    days = [parse_time(text) for text in ("2024-03-01", "2024-03-03", "2024-03-04")]  # Friday, Sunday, Monday

    bars = series(days, DAY).resample(Timeframe(604_800))

    assert [parse_time("2024-03-04"), parse_time("2024-03-11")] == bars.time.tolist()


def test_unknown_volume_stays_unknown() -> None:
    bars = series([0, MINUTE], MINUTE).resample(Timeframe(300))

    assert np.isnan(bars.volume).all()
    assert bars.spread is None


def test_time_frame_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="bars of 5m do not make bars of 12m"):
        series([0], 5 * MINUTE).resample(Timeframe(720))


def test_no_bars_make_no_bars() -> None:
    assert 0 == len(series([], MINUTE).resample(Timeframe(300)))


def test_own_time_frame_gives_the_same_bars() -> None:
    bars = series([0, MINUTE], MINUTE, volume=[1, 2])

    again = bars.resample(Timeframe(60))

    assert bars.time.tolist() == again.time.tolist()
    assert bars.volume.tolist() == again.volume.tolist()


def export(name: str, span: int) -> BarSeries:
    # Read with csv and datetime, independently of the files plugin.
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    starts = [datetime.strptime(f"{row[0]} {row[1]}", "%Y.%m.%d %H:%M:%S").replace(tzinfo=UTC) for row in rows]
    numbers = np.array([[float(cell) for cell in row[2:]] for row in rows]).T
    time = np.array([int(start.timestamp()) * SECOND + span for start in starts], dtype=np.int64)
    return BarSeries("XAUUSD", span, time, *numbers[:5], spread=numbers[6])  # type: ignore[misc]


def test_hours_made_of_five_minutes_are_the_brokers_own_hours() -> None:
    # Case DEV-DATA-01: 4858 hours, none on one side only, all prices, tick volumes and (smallest) spreads equal.
    theirs = export("mt5_export_XAUUSD_H1_2025.csv.gz", HOUR)

    ours = export("mt5_export_XAUUSD_M5_2025.csv.gz", 5 * MINUTE).resample(Timeframe(3_600))

    assert 4_858 == len(theirs)
    for name in ("time", "open", "high", "low", "close", "volume", "spread"):
        assert np.array_equal(getattr(theirs, name), getattr(ours, name)), name
