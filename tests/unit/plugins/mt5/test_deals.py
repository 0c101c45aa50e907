"""Which deals are asked for and told: every one once, however late it shows up and whatever the server's clock does."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from herald.plugins.mt5.deals import FULL_SECONDS, LOOK_BACK, OVERLAP, DealWatch, Look
from herald.plugins.mt5.records import TradeDeal

BEGIN = 1_772_625_600
DEAL = TradeDeal(0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 1.1, 0.0, 0.0, 0.0, 0.0, "EURUSD", "", "")


def deal(ticket: int, time: int) -> TradeDeal:
    return msgspec.structs.replace(DEAL, ticket=ticket, time=time)


class History:
    """A server's history in which each deal shows up at a moment of its own, and the poll that asks for it."""

    def __init__(self, deals: list[tuple[int, int]], old: tuple[int, ...] = ()) -> None:
        self.deals = [(deal(number, time), seen) for number, (time, seen) in enumerate(deals, 1)]
        self.watch = DealWatch()
        self.asked: list[Look] = []
        before = [deal(-number, time) for number, time in enumerate(old, 1)]
        self.deals += [(one, BEGIN) for one in before]
        look = DealWatch.first_look(BEGIN)
        self.watch.begin([one for one in before if one.time >= look.start], BEGIN)

    def poll(self, now: int, shown: int | None = None) -> list[int]:
        look = self.watch.next_look(now if shown is None else shown, float(now))
        self.asked.append(look)
        news = self.watch.news([one for one, seen in self.deals if seen <= now and one.time >= look.start])
        self.watch.keep(look, news, now if shown is None else shown, float(now))
        return [one.ticket for one in news]


def test_what_there_was_at_the_beginning_is_never_told() -> None:
    history = History([], old=(BEGIN - 5, BEGIN - OVERLAP, BEGIN - LOOK_BACK + 1, BEGIN - LOOK_BACK - OVERLAP))

    found = [history.poll(BEGIN + after) for after in (0, 1, 700, LOOK_BACK + 700, 3 * LOOK_BACK)]

    assert [[], [], [], [], []] == found


def test_a_poll_asks_from_shortly_before_the_newest_deal_and_for_everything_only_now_and_then() -> None:
    history = History([(BEGIN + 100 * number, BEGIN + 100 * number) for number in range(1, 13)])

    found = [ticket for after in range(0, 1_300, 10) for ticket in history.poll(BEGIN + after)]

    assert list(range(1, 13)) == found
    full = [number for number, look in enumerate(history.asked) if look.is_full]
    assert [0, 60, 120] == full  # at the beginning, and every ten minutes
    assert FULL_SECONDS == 600
    # In the hundredth poll, at 990 seconds, the newest deal is that of 900 seconds.
    assert BEGIN + 900 - OVERLAP == history.asked[99].start


def test_after_a_lost_connection_everything_since_the_last_full_look_is_asked_for() -> None:
    history = History([(BEGIN + LOOK_BACK, BEGIN + LOOK_BACK)])
    history.poll(BEGIN)
    history.poll(BEGIN + 5)
    history.watch.look_at_all()
    weekend = BEGIN + 3 * LOOK_BACK

    assert [1] == history.poll(weekend)
    assert history.asked[-1] == Look(BEGIN - OVERLAP, True)


def test_a_poll_that_failed_is_made_good_by_the_next() -> None:
    history = History([(BEGIN + 1, BEGIN + 1)])
    history.poll(BEGIN)
    look = history.watch.next_look(BEGIN + 2, float(BEGIN + 2))
    assert [1] == [one.ticket for one in history.watch.news([history.deals[0][0]])]  # and never kept

    assert look == history.watch.next_look(BEGIN + 2, float(BEGIN + 2))
    assert [1] == history.poll(BEGIN + 3)
    assert [] == history.poll(BEGIN + 4)


def test_a_clock_that_is_put_back_by_an_hour_hides_no_deal() -> None:
    # The deal of 3:59 is followed, a minute later, by one of 3:00.
    history = History([(BEGIN + 3_540, BEGIN + 3_540), (BEGIN, BEGIN + 3_600)])
    history.poll(BEGIN)

    assert [1] == history.poll(BEGIN + 3_541)
    assert not history.asked[-1].is_full or history.asked[-1].start <= BEGIN
    assert [2] == history.poll(BEGIN + 3_601)


def test_a_clock_in_doubt_widens_the_look_and_tells_nothing_again() -> None:
    history = History([(BEGIN + 50, BEGIN + 50)], old=(BEGIN - 80_000,))
    told = history.poll(BEGIN) + history.poll(BEGIN + 60)
    told += history.poll(BEGIN + LOOK_BACK)
    for after in (700, 1_400, 90_000):
        told += history.poll(BEGIN + LOOK_BACK + after, shown=BEGIN + LOOK_BACK + after - 16 * 3_600)

    assert [1] == told


@settings(max_examples=150, deadline=None)
@given(
    deals=st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 40_000)), max_size=25),
    steps=st.lists(st.tuples(st.integers(1, 9_000), st.booleans(), st.booleans()), min_size=1, max_size=40),
)
def test_every_deal_is_told_once_at_the_latest_with_the_full_look_after_it_came_up(
    deals: list[tuple[int, int]], steps: list[tuple[int, bool, bool]]
) -> None:
    """Deals come up as much as eleven hours late; connections are lost; the zone is sometimes in doubt."""
    history = History([(BEGIN + time, BEGIN + time + late) for time, late in deals])
    told: list[int] = []
    now = BEGIN
    for step, is_lost, is_unsure in steps:
        now += step
        if is_lost:
            history.watch.look_at_all()
        told += history.poll(now, now - 16 * 3_600 if is_unsure else now)
        if history.asked[-1].is_full:
            due = {one.ticket for one, seen in history.deals if seen <= now}
            assert due <= set(told)
    history.watch.look_at_all()
    told += history.poll(now + 1)

    assert len(told) == len(set(told))
    assert {one.ticket for one, seen in history.deals if seen <= now + 1} == set(told)
