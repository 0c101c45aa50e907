"""A paper account overnight, by hand: what it gathers is in its equity, is paid with what closes, and outlives its process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from herald.clock import HOUR, SimClock, parse_time
from herald.contracts import Capabilities
from herald.live.paper import PaperBook, PaperConnector
from herald.model import AccountMode, Event, Fill, Instrument, OrderRequest, Quote, Side, Timeframe
from herald.model.instrument import SwapMode
from herald.simulator.broker import FillRules
from herald.simulator.costs import Costs

# 5 points of 0.01 on 10 units: 0.50 a lot and night. The night behind Wednesday, 3 January 2024, counts three times.
TERMS = Instrument(
    symbol="X", quote="USD", price_step=0.01, size_step=0.01, min_size=0.01, contract_size=10.0, swap_long=-5.0,
    swap_mode=SwapMode.POINTS,
)  # fmt: skip


class Prices:
    """Hands out what is put into it."""

    def __init__(self) -> None:
        self.news: list[Event] = []

    def capabilities(self) -> Capabilities:
        return Capabilities(streaming=True)

    def poll(self) -> Sequence[Event]:
        news, self.news = self.news, []
        return news


class Desk:
    """A paper account over a book, and the quotes of the day."""

    def __init__(self, path: Path) -> None:
        self.prices: Any = Prices()
        self.book = PaperBook(path)
        self.account = PaperConnector(
            self.prices, self.book, [("X", Timeframe(3_600))], [("s", "X")], {"X": TERMS}, SimClock(), cash=1_000.0,
            currency="USD", leverage=30.0, mode=AccountMode.NETTING, costs=Costs(spread_data=True), rules=FillRules(),
            conversions={}, max_age=HOUR,
        )  # fmt: skip

    def quote(self, time: str, bid: float = 10.0) -> list[Fill]:
        self.prices.news.append(Quote("X", parse_time(time), bid, bid))
        return [event for event in self.account.poll() if isinstance(event, Fill)]

    def ask(self, number: int, side: Side, size: float) -> None:
        self.account.submit(OrderRequest(f"s-{number}", "s", "X", side, size))


def test_a_night_is_in_the_equity_at_once_and_is_paid_with_what_closes(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "paper.sqlite")
    desk.ask(1, Side.BUY, 2.0)
    desk.quote("2024-01-02T10:00")
    desk.quote("2024-01-02T23:59")
    before = desk.account.account()
    desk.quote("2024-01-03T00:00")
    behind = desk.account.account()
    desk.ask(2, Side.SELL, 0.5)
    (fill,) = desk.quote("2024-01-03T10:00")

    assert (1_000.0, 0.0) == (before.equity, before.swap)
    assert (pytest.approx(999.0), 1_000.0, -1.0) == (behind.equity, behind.balance, behind.swap)
    assert -0.25 == fill.swap
    assert (pytest.approx(999.75), pytest.approx(-0.75)) == (desk.account.account().balance, desk.account.account().swap)


def test_nights_while_nothing_ran_are_charged_once(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    first = Desk(path)
    first.ask(1, Side.BUY, 1.0)
    first.quote("2024-01-02T10:00")
    first.quote("2024-01-03T08:00")  # one night
    first.book.close()

    second = Desk(path)
    second.quote("2024-01-05T08:00")  # the triple one and one more
    gathered = second.account.account().swap
    second.book.close()
    third = Desk(path)
    third.ask(2, Side.SELL, 1.0)
    (fill,) = third.quote("2024-01-05T09:00")

    assert -0.5 * 5 == pytest.approx(gathered)
    assert -0.5 * 5 == pytest.approx(fill.swap)
    assert (0.0, pytest.approx(997.5)) == (third.account.account().swap, third.account.account().balance)
