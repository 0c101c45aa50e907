"""The live loop: what reaches the strategies, when, and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest

from herald.live.driver import Driver, Housekeeping
from herald.live.messages import Found, Snapshot
from herald.live.moments import Assembler
from herald.live.recovery import Past
from herald.model import AccountSeen, Alert, Bar, Fill, Moment, Quote, Side, Traded
from tests.unit.live.stand import MINUTE, SYMBOLS, TABLE, Idle, Stand, account


class Counts(Idle):
    """Counts what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def on_quote(self, quote: Quote, ctx: Any) -> None:
        self.heard.append("quote")

    def on_bar(self, bar: Bar, ctx: Any) -> None:
        self.heard.append("bar")


def driver(stand: Stand, *, lockstep: bool = False, past: Past | None = None, **housekeeping: Any) -> Driver:
    made = Driver(
        stand.engine,
        stand.desk,
        stand.reconciler,
        stand.spool,  # type: ignore[arg-type]
        stand.clock,
        Assembler([(symbol, MINUTE.span) for symbol in SYMBOLS], 0.0),
        past or Past(),
        Housekeeping(**housekeeping),
        stand.clock.monotonic,
        lockstep=lockstep,
    )
    for runner in stand.engine.runners:
        stand.engine.admit(runner)
    return made


def prices(stand: Stand) -> tuple[Quote, Moment]:
    now = stand.clock.now()
    bar = Bar("EURUSD", now, MINUTE.span, 1.2, 1.2, 1.2, 1.2, 1.0)
    return Quote("EURUSD", now + 1, 1.3, 1.3001), Moment(now, (bar,))


def test_no_price_reaches_a_strategy_before_the_books_are_what_the_broker_says() -> None:
    counts = Counts()
    stand = Stand(strategy=counts)
    loop = driver(stand)
    quote, moment = prices(stand)

    loop.handle(TABLE, quote)
    loop.handle(TABLE, moment)

    assert [] == counts.heard
    assert 1.3 == stand.engine.market_data.bid("EURUSD")


def test_bars_that_had_to_wait_come_when_trading_begins_and_quotes_go_on_with_the_next() -> None:
    counts = Counts()
    stand = Stand(strategy=counts)
    loop = driver(stand)
    quote, moment = prices(stand)
    loop.handle(TABLE, quote)
    loop.handle(TABLE, moment)

    loop.trade()
    waited = list(counts.heard)
    loop.handle(TABLE, quote)

    assert (["bar"], ["bar", "quote"]) == (waited, counts.heard)
    assert [moment.time] == loop.moments.view().tolist()


def test_recorded_data_waits_for_nobody() -> None:
    counts = Counts()
    stand = Stand(strategy=counts)

    driver(stand, lockstep=True).handle(TABLE, prices(stand)[0])

    assert ["quote"] == counts.heard


def test_a_statement_of_the_account_is_kept_behind_the_executions_that_came_with_it() -> None:
    stand = Stand()
    name = stand.buy()
    stand.accept(name)
    fill = Fill("1", f"tag-{name}", "EURUSD", Side.BUY, 0.1, 1.1, 0.0, "USD", 5)
    before = len(stand.spool.records)

    driver(stand).handle(TABLE, Snapshot(stand.clock.now(), account(), (), (), (fill,), True))

    kinds = [type(record) for record in stand.spool.records[before:]]
    assert kinds.index(Traded) < kinds.index(AccountSeen) == len(kinds) - 1


@pytest.mark.parametrize(("covered", "kept"), [(0, 1), (900, 0)])
def test_what_killed_runs_left_behind_the_last_snapshot_counts_for_the_next(covered: int, kept: int) -> None:
    stand = Stand()
    states: list[object] = []
    stand.spool.number, stand.spool.is_behind = 1_000, False  # type: ignore[attr-defined]
    stand.spool.run = states.append  # type: ignore[attr-defined]
    loop = driver(stand, past=Past(covered=covered), snapshot_records=500)

    answers = iter([False, True])
    loop.post(Alert(stand.clock.now(), "test", "ends the wait"))
    loop.run(lambda: next(answers))

    assert kept == len(states)


def test_an_order_that_is_missed_while_the_run_stops_is_not_sent_again_by_nobody() -> None:
    stand = Stand()
    name = stand.buy()
    stand.accept(name)
    stand.fill(1, name)
    closing = stand.close()
    stand.lose(closing)
    stand.found(closing)
    stand.clock.advance(11)  # longer than an order may take to be listed
    stand.spool.run, stand.spool.number = (lambda work: None), 0  # type: ignore[attr-defined]
    stand.spool.stop = lambda timeout: True  # type: ignore[attr-defined]
    loop = driver(stand)
    answer = Found(stand.clock.now(), closing, (), stand.clock.monotonic())

    class Leaving:
        """A worker that learns something while it stops."""

        name = TABLE

        def start(self) -> None:
            """Do nothing."""

        def stop(self, timeout: float) -> bool:
            loop.deliver(self, answer)  # type: ignore[arg-type]
            return True

    loop.start({TABLE: Leaving()})  # type: ignore[dict-item]
    loop.stop(1.0)

    # The next run asks again and sends it; that it is sent now would be no more than a word.
    assert "unknown" == stand.status(closing)
    assert "order_resent" not in stand.alerts
