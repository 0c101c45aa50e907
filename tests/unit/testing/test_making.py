"""The makers of data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from herald.clock import HOUR, parse_time
from herald.testing import FakeClock, make_bars, make_instrument, make_services, make_walk


def test_closes_become_bars_that_open_at_the_close_before() -> None:
    bars = make_bars([10, 11, 9])

    assert [10.0, 10.0, 11.0] == bars.open.tolist()
    assert [10.0, 11.0, 11.0] == bars.high.tolist()
    assert [10.0, 10.0, 9.0] == bars.low.tolist()
    assert [10.0, 11.0, 9.0] == bars.close.tolist()
    assert bool(np.isnan(bars.volume).all())
    assert bars.spread is None


def test_times_are_the_ends_of_the_bars() -> None:
    bars = make_bars([10, 11], timeframe="4h", start="2024-05-01")

    assert [parse_time("2024-05-01T04:00"), parse_time("2024-05-01T08:00")] == bars.time.tolist()
    assert 4 * HOUR == bars.span


def test_rows_are_taken_as_they_are() -> None:
    bars = make_bars([(10, 12, 9, 11), (11, 11, 10, 10, 500)], symbol="GBPUSD", spread=0.5)

    assert [12.0, 11.0] == bars.high.tolist()
    assert math.isnan(bars.volume[0])
    assert bars.volume[1] == 500.0
    assert bars.spread is not None
    assert [0.5, 0.5] == bars.spread.tolist()
    assert bars.symbol == "GBPUSD"


@pytest.mark.parametrize("row", [(10, 9, 8, 9), (10, 12, 11, 10), (10, 8, 12, 9)])
def test_rows_that_cannot_be_are_refused(row: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"row 0 .* has a high that is not the highest or a low that is not the lowest"):
        make_bars([row])


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has 3 numbers"):
        make_bars([(1, 1, 1, 1), (1, 1, 1)])


def test_no_rows_make_an_empty_series() -> None:
    assert len(make_bars([])) == 0


def test_a_walk_is_the_same_for_the_same_seed_and_symbol() -> None:
    one, same = make_walk(50, seed=3), make_walk(50, seed=3)

    assert one.close.tolist() == same.close.tolist()
    assert one.close.tolist() != make_walk(50, seed=4).close.tolist()
    assert one.close.tolist() != make_walk(50, seed=3, symbol="OTHER").close.tolist()


def test_a_walk_has_prices_that_make_sense_and_is_a_prefix_of_a_longer_one() -> None:
    walk = make_walk(200)

    assert bool((walk.low <= np.minimum(walk.open, walk.close)).all())
    assert bool((walk.high >= np.maximum(walk.open, walk.close)).all())
    assert bool((walk.low > 0).all())
    assert walk.close[:50].tolist() == make_walk(50).close.tolist()


def test_an_instrument_gets_in_no_tests_way() -> None:
    instrument = make_instrument()

    assert [0.1, 1.23457] == [instrument.round_size(0.1), instrument.round_price(1.234567)]
    assert instrument.contract_size == 1.0


def test_services_are_seeded_by_name() -> None:
    assert make_services("a").random.random() == make_services("a").random.random()
    assert make_services("a").random.random() != make_services("b").random.random()
    assert make_services("a").random.random() != make_services("a", seed=1).random.random()


def test_a_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock()
    before = clock.now(), clock.monotonic()

    clock.advance(1.5)

    assert clock.now() - before[0] == 1_500_000_000
    assert clock.monotonic() - before[1] == pytest.approx(1.5)


def test_a_fake_clock_sleeps_without_waiting() -> None:
    clock = FakeClock(0)

    clock.sleep(3_600)

    assert clock.now() == HOUR


def test_a_fake_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="time cannot go back"):
        FakeClock().advance(-1)
