"""The rules of the simulated broker: what orders do to its book."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herald.clock import DAY, HOUR, SECOND, parse_time
from herald.testing.simbroker import BookView, Deal, Entry, Fault, Refusal, Symbol, Terms, make_terms
from herald.testing.simbroker.book import Book, State
from herald.testing.simbroker.exchange import Exchange, Wanted

START = parse_time("2024-01-02T12:00")
CALM = (
    Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.0),
    Symbol(symbol="USDJPY", base="USD", quote="JPY", price=100.0, digits=3, volatility=0.0),
)


class Floor:
    """An exchange on a book of its own, and its clock."""

    def __init__(self, path: Path, **changes: Any) -> None:
        self.terms = make_terms(path, **{"symbols": CALM, **changes})
        terms = self.terms
        fresh = State(id="b", start=terms.balance, balance=terms.balance, origin=START - HOUR, mode=terms.mode)
        self.book = Book(path, fresh)
        self.exchange = Exchange(terms, self.book)
        self.now = START
        self.exchange.recover(self.now)

    def submit(self, tag: str = "t", side: int = 1, size: float = 0.1, symbol: str = "EURUSD", **fields: Any) -> Entry:
        how = {name: fields.pop(name) for name in ("share", "holds") if name in fields}
        with self.book.transaction():
            return self.exchange.submit(Wanted(tag=tag, symbol=symbol, side=side, size=size, **fields), tag, self.now, **how)

    def price(self, bid: float, ask: float | None = None, symbol: str = "EURUSD") -> None:
        self.now += SECOND
        self.exchange.set_price(symbol, bid, ask, self.now)

    def order(self, number: int) -> Entry:
        found = self.book.order(number)
        assert found is not None
        return found

    def view(self) -> BookView:
        view = BookView.read(self.book.path)
        assert [] == view.verify()
        return view


@pytest.fixture
def floor(tmp_path: Path) -> Callable[..., Floor]:
    made: list[Floor] = []

    def make(**changes: Any) -> Floor:
        made.append(Floor(tmp_path / f"book{len(made)}.sqlite", **changes))
        return made[-1]

    yield make
    for one in made:
        one.book.close()


# --- trading


def test_market_order_buys_at_the_ask_and_sells_at_the_bid(floor: Callable[..., Floor]) -> None:
    one = floor()
    one.price(1.2, 1.3)

    bought, sold = one.submit("a", 1), one.submit("b", -1)

    assert ("filled", 1.3) == (bought.status, bought.average)
    assert ("filled", 1.2) == (sold.status, sold.average)


def test_hedging_account_keeps_long_and_short_apart(floor: Callable[..., Floor]) -> None:
    one = floor(mode="hedging")

    first, second = one.submit("a", 1, 0.3), one.submit("b", -1, 0.1)

    assert {first.number: 0.3, second.number: -0.1} == {held.ticket: held.size for held in one.view().positions}


def test_netting_account_adds_trades_up_and_keeps_the_ticket_when_it_turns(floor: Callable[..., Floor]) -> None:
    one = floor(mode="netting")

    first = one.submit("a", 1, 0.3)
    one.submit("b", -1, 0.5)

    assert [(first.number, -0.2)] == [(held.ticket, held.size) for held in one.view().positions]


def test_profit_of_a_closed_trade_is_in_the_balance(floor: Callable[..., Floor]) -> None:
    one = floor(balance=10_000.0, commission=3.0)
    one.price(1.1, 1.1)
    opened = one.submit("a", 1, 0.5)
    one.price(1.12, 1.12)

    one.submit("b", -1, 0.5, position=opened.number)

    # 0.02 x 0.5 lots x 100,000 = 1,000, less 2 x 0.5 x 3
    assert 10_997.0 == pytest.approx(one.view().state.balance)
    assert () == one.view().positions


def test_profit_is_converted_into_the_account_currency(floor: Callable[..., Floor]) -> None:
    one = floor(balance=10_000.0)
    one.price(100.0, 100.0, "USDJPY")
    opened = one.submit("a", 1, 1.0, "USDJPY")
    one.price(125.0, 125.0, "USDJPY")

    one.submit("b", -1, 1.0, "USDJPY", position=opened.number)

    # 25 yen x 100,000 units = 2,500,000 yen at 125 yen a dollar
    assert 30_000.0 == pytest.approx(one.view().state.balance)


def test_equity_and_margin_follow_the_price(floor: Callable[..., Floor]) -> None:
    one = floor(balance=10_000.0, leverage=50.0)
    one.price(1.1, 1.1)
    one.submit("a", 1, 0.1)
    one.price(1.09, 1.1)

    account = one.exchange.account(one.now)

    assert 10_000.0 - 100.0 == pytest.approx(account["equity"])
    assert 10_000.0 * 1.09 / 50 == pytest.approx(account["margin_used"])


@pytest.mark.parametrize(
    ("side", "type_", "price", "moves"),
    [(1, "limit", 1.05, 1.04), (1, "stop", 1.15, 1.16), (-1, "limit", 1.15, 1.16), (-1, "stop", 1.05, 1.04)],
)
def test_waiting_order_trades_when_the_price_gets_there_and_not_before(
    floor: Callable[..., Floor], side: int, type_: str, price: float, moves: float
) -> None:
    one = floor()
    one.price(1.1, 1.1)
    entry = one.submit("a", side, type=type_, price=price)
    before = entry.status

    one.price(moves, moves)

    assert "accepted" == before
    assert ("filled", moves) == (one.order(entry.number).status, one.order(entry.number).average)


def test_ticks_that_passed_between_two_looks_all_count(floor: Callable[..., Floor]) -> None:
    wild = (Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.001),)
    one = floor(symbols=wild)
    ticks = one.exchange.market.walk("EURUSD").between(one.now, one.now + 600 * SECOND)
    lowest = min(tick.ask for tick in ticks)
    entry = one.submit("a", 1, type="limit", price=lowest)

    one.now += 600 * SECOND
    one.exchange.match(one.now)

    assert lowest == one.order(entry.number).average


def test_day_order_ends_with_the_day_of_the_clock(floor: Callable[..., Floor]) -> None:
    one = floor()
    entry = one.submit("a", 1, type="limit", price=1.0, time_in_force="day")

    one.exchange.match(START + DAY // 2 - 1)
    before = one.order(entry.number).status
    one.exchange.match(START + DAY // 2)

    assert ("accepted", "expired") == (before, one.order(entry.number).status)


def test_order_ends_in_time_although_prices_are_frozen(floor: Callable[..., Floor]) -> None:
    one = floor()
    one.exchange.market.frozen_at = START
    entry = one.submit("a", 1, type="limit", price=1.0, time_in_force="gtd", expires=START + SECOND)

    one.exchange.match(START + SECOND)

    assert "expired" == one.order(entry.number).status


@pytest.mark.parametrize("time_in_force", ["ioc", "fok"])
def test_what_cannot_trade_at_once_is_withdrawn_if_it_may_not_wait(floor: Callable[..., Floor], time_in_force: str) -> None:
    one = floor()

    entry = one.submit("a", 1, type="limit", price=1.0, time_in_force=time_in_force)

    assert ("cancelled", "not_filled") == (entry.status, entry.code)


# --- reducing


def test_reduce_only_is_cut_to_what_there_is(floor: Callable[..., Floor]) -> None:
    one = floor(mode="netting")
    one.submit("a", 1, 0.2)

    entry = one.submit("b", -1, 0.5, reduce_only=True)

    assert (0.2, "cancelled", "nothing_to_reduce") == (entry.filled, one.order(entry.number).status, one.order(entry.number).code)
    assert () == one.view().positions


def test_reduce_only_on_a_hedging_account_closes_the_oldest_first(floor: Callable[..., Floor]) -> None:
    one = floor(mode="hedging")
    first, second = one.submit("a", 1, 0.2), one.submit("b", 1, 0.2)

    one.submit("c", -1, 0.3, reduce_only=True)

    assert {second.number: 0.1} == {held.ticket: held.size for held in one.view().positions}
    assert [first.number, second.number] == [deal.position for deal in one.view().deals][2:]


def test_reduce_only_without_a_position_is_refused(floor: Callable[..., Floor]) -> None:
    one = floor()

    with pytest.raises(Refusal) as refused:
        one.submit("a", -1, reduce_only=True)

    assert "nothing_to_reduce" == refused.value.code


def test_closing_a_ticket_that_is_gone_is_refused_and_opens_nothing(floor: Callable[..., Floor]) -> None:
    one = floor()
    opened = one.submit("a", 1)
    one.submit("b", -1, position=opened.number)

    with pytest.raises(Refusal) as refused:
        one.submit("c", -1, position=opened.number)

    assert "unknown_position" == refused.value.code
    assert {} == one.view().held()


# --- protection


@pytest.mark.parametrize("mode", ["hedging", "netting"])
@pytest.mark.parametrize(("moves", "hit", "left"), [(1.0, "stop", "limit"), (1.2, "limit", "stop")])
def test_one_of_a_bracket_closes_and_withdraws_the_other(
    floor: Callable[..., Floor], mode: str, moves: float, hit: str, left: str
) -> None:
    one = floor(mode=mode)
    parent = one.submit("a", 1, 0.2, stop_loss=1.05, take_profit=1.15)
    children = {child.type: child for child in one.view().orders if child.parent == parent.number}

    one.price(moves)

    assert {"stop", "limit"} == children.keys()
    assert ["a", "a"] == [child.parent_tag for child in children.values()]
    assert ("filled", "cancelled") == (one.order(children[hit].number).status, one.order(children[left].number).status)
    assert {} == one.view().held()


def test_two_brackets_on_one_netted_position_end_each_their_own_part(floor: Callable[..., Floor]) -> None:
    one = floor(mode="netting")
    one.submit("a", 1, 0.2, stop_loss=1.0, take_profit=1.15)
    second = one.submit("b", 1, 0.3, stop_loss=1.01, take_profit=1.3)

    one.price(1.2)

    assert {"EURUSD": 0.3} == one.view().held()
    assert [(second.number, "stop", 0.3), (second.number, "limit", 0.3)] == [
        (child.parent, child.type, child.size) for child in one.book.working.values()
    ]


def test_bracket_grows_with_the_part_that_is_filled(floor: Callable[..., Floor]) -> None:
    one = floor()
    parent = one.submit("a", 1, 0.4, share=0.25, stop_loss=1.0)
    first = [child.size for child in one.book.working.values() if child.parent == parent.number]

    with one.book.transaction():
        one.exchange.finish(parent.number, one.now)

    assert [0.1] == first
    assert [0.4] == [child.size for child in one.book.working.values() if child.parent == parent.number]


def test_closing_by_hand_withdraws_the_bracket(floor: Callable[..., Floor]) -> None:
    one = floor()
    parent = one.submit("a", 1, 0.2, stop_loss=1.0, take_profit=1.5)

    one.submit("b", -1, 0.2, position=parent.number)

    assert {} == one.book.working


def test_part_closed_by_hand_shrinks_the_bracket(floor: Callable[..., Floor]) -> None:
    one = floor()
    parent = one.submit("a", 1, 0.2, stop_loss=1.0)

    one.submit("b", -1, 0.15, position=parent.number)

    assert [0.05] == [child.size for child in one.book.working.values()]


def test_levels_of_a_filled_order_can_be_moved_and_removed(floor: Callable[..., Floor]) -> None:
    one = floor()
    parent = one.submit("a", 1, 0.2, stop_loss=1.0, take_profit=1.5)

    with one.book.transaction():
        one.exchange.modify(parent.number, size=0.2, price=None, stop_loss=1.05, take_profit=None, expires=None, now=one.now)

    assert [("stop", 1.05)] == [(child.type, child.price) for child in one.book.working.values()]


def test_waiting_order_can_be_changed(floor: Callable[..., Floor]) -> None:
    one = floor()
    entry = one.submit("a", 1, 0.2, type="limit", price=1.0)

    with one.book.transaction():
        one.exchange.modify(entry.number, size=0.3, price=1.01, stop_loss=0.9, take_profit=None, expires=None, now=one.now)

    changed = one.order(entry.number)
    assert (0.3, 1.01, 0.9, "accepted") == (changed.size, changed.price, changed.stop_loss, changed.status)


# --- refusals


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("unknown_symbol", {"symbol": "NONE"}),
        ("bad_size", {"size": 0.0}),
        ("bad_size", {"size": -0.1}),
        ("bad_size", {"size": 0.015}),
        ("bad_size", {"size": 1_000.0}),
        ("bad_side", {"side": 2}),
        ("bad_type", {"type": "stop_limit", "price": 1.0}),
        ("bad_price", {"type": "limit"}),
        ("bad_price", {"price": 1.0}),
        ("bad_price", {"type": "limit", "price": -1.0}),
        ("bad_stops", {"stop_loss": 1.2}),
        ("bad_stops", {"side": -1, "take_profit": 1.2}),
        ("bad_tag", {"tag": ""}),
        ("bad_tag", {"tag": "x" * 33}),
        ("bad_time_in_force", {"time_in_force": "forever"}),
        ("bad_expiry", {"type": "limit", "price": 1.0, "time_in_force": "gtd", "expires": START}),
        ("no_money", {"size": 100.0}),
        ("unknown_position", {"side": -1, "position": 5}),
    ],
)
def test_what_cannot_be_is_refused_with_its_code(floor: Callable[..., Floor], code: str, fields: dict[str, Any]) -> None:
    one = floor(balance=10_000.0)

    with pytest.raises(Refusal) as refused:
        one.submit(**fields)

    assert code == refused.value.code
    assert () == one.view().deals


def test_unknown_and_finished_orders_cannot_be_changed(floor: Callable[..., Floor]) -> None:
    one = floor()
    entry = one.submit("a", 1, type="limit", price=1.0)
    one.exchange.cancel(entry.number, one.now)
    terms = {"size": 0.1, "price": 1.0, "stop_loss": None, "take_profit": None, "expires": None, "now": one.now}

    with pytest.raises(Refusal) as gone:
        one.exchange.modify(entry.number, **terms)
    with pytest.raises(Refusal) as unknown:
        one.exchange.modify(5, **terms)

    assert ("not_working", "unknown_order") == (gone.value.code, unknown.value.code)


# --- taking back


def test_busted_deal_is_as_if_it_had_not_been(floor: Callable[..., Floor]) -> None:
    one = floor(balance=10_000.0, commission=5.0)
    one.submit("a", 1, 0.2, stop_loss=1.0)
    (deal,) = one.view().deals

    with one.book.transaction():
        reverse = one.exchange.bust(deal.number, one.now)

    view = one.view()
    assert (deal.number, -deal.side, deal.price, -1.0) == (reverse.busts, reverse.side, reverse.price, reverse.fee)
    assert ({}, 10_000.0, {}) == (view.held(), view.state.balance, one.book.working)


def test_deal_is_taken_back_once(floor: Callable[..., Floor]) -> None:
    one = floor()
    one.submit("a", 1)
    with one.book.transaction():
        one.exchange.bust(1, one.now)

    with pytest.raises(Refusal) as refused:
        one.exchange.bust(1, one.now)

    assert "unknown_deal" == refused.value.code


# --- the book


def test_book_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Floor(tmp_path / "b.sqlite")
    first.submit("a", 1, 0.2, stop_loss=1.0)
    before = first.view()
    first.book.close()

    second = Floor(tmp_path / "b.sqlite")
    entry = second.submit("b", 1, type="limit", price=1.0)

    assert before.orders == second.view().orders[: len(before.orders)]
    assert before.orders[-1].number + 1 == entry.number
    second.book.close()


def test_failed_transaction_leaves_no_trace(floor: Callable[..., Floor]) -> None:
    one = floor()
    before = one.view()

    def failing() -> None:
        with one.book.transaction():
            one.exchange.submit(Wanted(tag="a", symbol="EURUSD", side=1, size=0.1), "a", one.now)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()

    assert before == one.view()
    assert ({}, before.state) == (one.book.holdings, one.book.state)


def test_half_filled_market_order_is_withdrawn_after_a_restart(tmp_path: Path) -> None:
    first = Floor(tmp_path / "b.sqlite")
    entry = first.submit("a", 1, 0.4, share=0.5)
    first.book.close()

    second = Floor(tmp_path / "b.sqlite")

    assert (0.2, "cancelled", "restarted") == (
        second.order(entry.number).filled,
        second.order(entry.number).status,
        second.order(entry.number).code,
    )
    assert {"EURUSD": 0.2} == second.view().held()
    second.book.close()


def test_account_does_not_change_its_mode(tmp_path: Path) -> None:
    Floor(tmp_path / "b.sqlite", mode="netting").book.close()

    with pytest.raises(ValueError, match="is a netting account, not hedging"):
        Floor(tmp_path / "b.sqlite", mode="hedging")


def test_file_that_is_no_book_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.sqlite").write_bytes(b"not a data base, whatever its name says " * 50)

    with pytest.raises(ValueError, match="is no book"):
        Floor(tmp_path / "b.sqlite")


def test_reading_a_book_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no book"):
        BookView.read(tmp_path / "b.sqlite")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM deals WHERE number = 1", "has 0.1 filled, its deals 0"),
        ("DELETE FROM positions", "position 1000001 holds 0, its deals add up to 0.1"),
        ("DELETE FROM orders", "belongs to order 1000001, which is not there"),
        ("UPDATE meta SET value = json_set(value, '$.balance', 5.0) WHERE key = 'state'", "the balance is 5"),
    ],
)
def test_book_that_contradicts_itself_is_found_out(floor: Callable[..., Floor], statement: str, words: str) -> None:
    one = floor()
    one.submit("a", 1, 0.1)
    sql = sqlite3.connect(one.book.path)
    sql.execute(statement)
    sql.commit()
    sql.close()

    assert any(words in line for line in BookView.read(one.book.path).verify())


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["market", "limit", "stop", "close", "cancel", "some", "price", "bust"]),
        st.sampled_from([1, -1]),
        st.integers(1, 9),
        st.booleans(),
    ),
    max_size=25,
)


@pytest.mark.parametrize("mode", ["hedging", "netting"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_book_agrees_with_itself_after_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, mode: str, actions: list[tuple[str, int, int, bool]]
) -> None:
    one = Floor(tmp_path_factory.mktemp("book") / "b.sqlite", mode=mode, commission=1.0)
    for index, (what, side, amount, flag) in enumerate(actions):
        orders = list(one.book.working) or [0]
        try:
            with one.book.transaction():
                match what:
                    case "price":
                        one.price(1.1 + side * amount / 100)
                    case "cancel":
                        one.exchange.cancel(orders[amount % len(orders)], one.now)
                    case "some":
                        one.exchange.trade_some(orders[amount % len(orders)], 0.5, one.now)
                    case "bust":
                        one.exchange.bust(amount, one.now)
                    case "close":
                        one.submit(f"t{index}", side, amount / 10, reduce_only=True)
                    case _:
                        price = None if what == "market" else round(1.1 + side * amount / 100, 2)
                        levels = {"stop_loss": 1.1 - side * 0.5, "take_profit": 1.1 + side * 0.5} if flag else {}
                        share = 0.5 if flag else None
                        one.submit(f"t{index}", side, amount / 10, type=what, price=price, share=share, **levels)
        except Refusal:
            continue

    view = BookView.read(one.book.path)
    one.book.close()
    assert [] == view.verify()
    assert [] == [entry for entry in view.orders if entry.is_working and entry.parent and not view.positions]


# --- prices


def test_prices_are_the_same_whatever_the_order_of_the_questions(tmp_path: Path) -> None:
    wild = (Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.001),)
    first, second = Floor(tmp_path / "a.sqlite", symbols=wild, seed=5), Floor(tmp_path / "b.sqlite", symbols=wild, seed=5)
    walk = first.exchange.market.walk("EURUSD")
    forward = [walk.tick(START + index * SECOND) for index in range(50)]
    other = second.exchange.market.walk("EURUSD")

    backward = [other.tick(START + index * SECOND) for index in reversed(range(50))]

    assert forward == list(reversed(backward))
    assert len({tick.bid for tick in forward}) > 40
    first.book.close()
    second.book.close()


def test_another_seed_makes_other_prices(floor: Callable[..., Floor]) -> None:
    wild = (Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.001),)
    first, second = floor(symbols=wild, seed=1), floor(symbols=wild, seed=2)

    assert first.exchange.market.tick("EURUSD", START) != second.exchange.market.tick("EURUSD", START)


def test_bars_are_made_of_the_ticks(floor: Callable[..., Floor]) -> None:
    one = floor(symbols=(Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.001),))
    walk = one.exchange.market.walk("EURUSD")
    bids = [walk.tick(START - 60 * SECOND + index * SECOND).bid for index in range(60)]

    bar = walk.candles(60 * SECOND, START - SECOND, START, 10)[-1]

    assert (START, bids[0], max(bids), min(bids), bids[-1], 60.0) == msgspec.structs.astuple(bar)


def test_price_that_was_set_is_still_set_after_a_restart(tmp_path: Path) -> None:
    first = Floor(tmp_path / "b.sqlite")
    first.price(1.5, 1.6)
    first.book.close()

    second = Floor(tmp_path / "b.sqlite")
    second.now = first.now + SECOND
    tick = second.exchange.market.tick("EURUSD", second.now)

    assert (1.5, 1.6) == (tick.bid, tick.ask)
    second.book.close()


def test_released_price_walks_on_from_where_it_stands(floor: Callable[..., Floor]) -> None:
    one = floor()
    one.price(1.5, 1.6)
    one.now += SECOND

    one.exchange.set_price("EURUSD", None, None, one.now)

    tick = one.exchange.market.tick("EURUSD", one.now + 5 * SECOND)
    assert (1.5, 1.5001) == (tick.bid, tick.ask)  # this walk stands still; the spread is its own again


def test_frozen_prices_stand_still(floor: Callable[..., Floor]) -> None:
    one = floor(symbols=(Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.001),))
    market = one.exchange.market
    market.frozen_at = START

    assert market.tick("EURUSD", START) == market.tick("EURUSD", START + DAY)


@pytest.mark.parametrize(("bid", "ask"), [(0.0, None), (-1.0, None), (1.2, 1.1)])
def test_price_that_is_none_is_refused(floor: Callable[..., Floor], bid: float, ask: float | None) -> None:
    with pytest.raises(Refusal, match="are no prices of EURUSD"):
        floor().exchange.set_price("EURUSD", bid, ask, START)


# --- terms


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token": ""}, "token must not be empty"),
        ({"token": "same", "control_token": "same"}, "must differ"),
        ({"balance": 0.0}, "balance must be positive"),
        ({"tick_seconds": float("nan")}, "tick_seconds must be positive"),
        ({"commission": -1.0}, "commission and settle_seconds"),
        ({"symbols": ()}, "symbols must name at least one"),
        ({"symbols": (*CALM, CALM[0])}, "none twice"),
        ({"currency": "CHF"}, "no symbol converts USD of 'EURUSD' into CHF; add USDCHF"),
    ],
)
def test_terms_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Terms(**{"token": "a", "control_token": "b", "symbols": CALM, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operations": ("fly",)}, "operations of 'partial' has 'fly'"),
        ({"chance": 0.0}, "chance of 'partial' must lie in"),
        ({"share": 1.5}, "share of 'partial' must lie in"),
        ({"seconds": -1.0}, "seconds of 'partial' must be 0 or more"),
        ({"skip": -1}, "skip of 'partial' must be 0 or more"),
        ({"times": -1}, "times of 'partial' must be 0 or more"),
        ({"jitter_seconds": float("nan")}, "jitter_seconds of 'partial'"),
    ],
)
def test_faults_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fault(kind="partial", **changes)


def test_symbol_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="contract_size of 'X' must be positive"):
        Symbol(symbol="X", price=1.0, digits=2, contract_size=0.0)
    with pytest.raises(ValueError, match="volatility, digits or spread_points of 'X'"):
        Symbol(symbol="X", price=1.0, digits=9)


def test_deals_of_a_number_are_never_written_twice(floor: Callable[..., Floor]) -> None:
    one = floor()
    one.submit("a", 1)
    (deal,) = one.view().deals

    with pytest.raises(sqlite3.IntegrityError), one.book.transaction():
        one.book.keep_deal(Deal(**{name: getattr(deal, name) for name in deal.__struct_fields__}))

    assert 1 == len(one.view().deals)
