from __future__ import annotations

import pytest

from herald.clock import HOUR
from herald.live.moments import Assembler, Moments
from herald.model import Bar


def bar(symbol: str, hour: int, span: int = HOUR) -> Bar:
    return Bar(symbol, hour * HOUR, span, 1.0, 1.0, 1.0, 1.0, 1.0)


@pytest.fixture
def assembler() -> Assembler:
    return Assembler([("A", HOUR), ("B", HOUR), ("A", 4 * HOUR)], grace_seconds=2.0)


def names(moments: list) -> list[tuple[int, list[tuple[str, int]]]]:  # type: ignore[type-arg]
    return [(one.time // HOUR, [(each.symbol, each.span // HOUR) for each in one.bars]) for one in moments]


def test_bars_of_one_time_are_delivered_together_in_config_order(assembler: Assembler) -> None:
    first, _ = assembler.add(bar("B", 1), 0.0)
    second, _ = assembler.add(bar("A", 1), 0.1)

    assert [] == first
    assert [(1, [("A", 1), ("B", 1)])] == names(second)


def test_a_longer_frame_is_waited_for_only_where_it_ends(assembler: Assembler) -> None:
    assembler.add(bar("A", 4), 0.0)
    waiting, _ = assembler.add(bar("B", 4), 0.0)
    done, _ = assembler.add(bar("A", 4, 4 * HOUR), 0.5)

    assert [] == waiting
    assert [(4, [("A", 1), ("B", 1), ("A", 4)])] == names(done)


def test_what_is_missing_is_waited_for_as_long_as_the_grace(assembler: Assembler) -> None:
    assembler.add(bar("A", 1), 10.0)

    assert [] == assembler.due(11.9)
    assert [(1, [("A", 1)])] == names(assembler.due(12.0))


def test_a_late_bar_is_handed_back(assembler: Assembler) -> None:
    assembler.add(bar("A", 1), 10.0)
    assembler.due(12.0)

    ready, late = assembler.add(bar("B", 1), 12.5)

    assert [] == ready
    assert late == bar("B", 1)


def test_a_bar_twice_is_handed_back(assembler: Assembler) -> None:
    assembler.add(bar("A", 1), 0.0)

    assert ([], bar("A", 1)) == assembler.add(bar("A", 1), 0.0)


def test_a_series_that_nobody_asked_for_is_handed_back(assembler: Assembler) -> None:
    assert ([], bar("C", 1)) == assembler.add(bar("C", 1), 0.0)


def test_a_later_moment_does_not_overtake_an_earlier_one(assembler: Assembler) -> None:
    assembler.add(bar("A", 1), 0.0)
    assembler.add(bar("A", 2), 1.0)
    early, _ = assembler.add(bar("B", 2), 1.1)

    assert [] == early
    assert [1, 2] == [time for time, _ in names(assembler.due(2.0))]


def test_times_are_kept_as_an_array_that_grows() -> None:
    moments = Moments()
    for time in range(3_000):
        moments.append(time)

    assert list(range(3_000)) == moments.view().tolist()
    assert not moments.view().flags.writeable
