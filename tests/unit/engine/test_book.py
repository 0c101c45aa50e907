"""The books: positions, cash and trades from fills."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald.engine.book import Book, Ledger
from herald.model import Fill, Instrument, OrderRequest, OrderType, Side

TERMS = Instrument(symbol="X", quote="USD", price_step=0.01, size_step=0.1, min_size=0.1, contract_size=10.0)


def take(
    ledger: Ledger,
    book: Book,
    side: int,
    size: float,
    price: float,
    *,
    fee: float = 0.0,
    now: int = 0,
    rate: float = 1.0,
    swap: float = 0.0,
) -> bool:
    number = len(ledger.fills) + 1
    request = OrderRequest(f"s-{number:06d}", "s", "X", Side(side), size, OrderType.MARKET, tag=f"tag {number}")
    fill = Fill(str(number), request.id, "X", Side(side), size, price, fee, "USD", now, swap)
    return ledger.apply(fill, request, book, rate, now)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(1_000.0)


@pytest.fixture
def book(ledger: Ledger) -> Book:
    return ledger.add("s", TERMS)


def test_adding_to_a_position_averages_its_price(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 1.0, 10.0)
    take(ledger, book, 1, 3.0, 12.0)

    assert (4.0, 11.5) == (book.size, book.average_price)


def test_closing_a_part_realises_it_at_the_average_price(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 1.0, 10.0)
    take(ledger, book, 1, 3.0, 12.0)
    take(ledger, book, -1, 1.0, 13.0)

    assert (3.0, 11.5) == (book.size, book.average_price)
    assert 1_000 + (13 - 11.5) * 1 * 10 == ledger.balance
    assert [(1.0, 11.5, 13.0, "tag 1", "tag 3")] == [
        (trade.size, trade.entry_price, trade.exit_price, trade.entry_tag, trade.exit_tag) for trade in ledger.trades
    ]


def test_larger_opposite_fill_turns_the_position(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 1.0, 10.0, now=5)
    take(ledger, book, -1, 3.0, 9.0, now=7)

    assert (-2.0, 9.0, 7) == (book.size, book.average_price, book.position.opened)
    assert 1_000 - 10 == ledger.balance
    assert [1.0] == [trade.size for trade in ledger.trades]


def test_fees_are_shared_out_over_the_trades(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 4.0, 10.0, fee=4.0)
    take(ledger, book, -1, 1.0, 10.0, fee=0.5)
    take(ledger, book, -1, 5.0, 10.0, fee=5.0)  # 3 lots close the rest, 2 open a short

    assert [1.0 + 0.5, 3.0 + 3.0] == [trade.fees for trade in ledger.trades]
    assert 2.0 == pytest.approx(book.entry_fees)
    assert 1_000 - 9.5 == ledger.balance


def test_the_swap_that_a_broker_books_with_an_execution_is_money_and_the_trades(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 4.0, 10.0)
    take(ledger, book, -1, 4.0, 11.0, fee=2.0, swap=-7.5)

    (trade,) = ledger.trades
    assert (40.0, 2.0, -7.5, 30.5) == (trade.gross, trade.fees, trade.swap, trade.net)
    assert 1_000 + 30.5 == ledger.balance


def test_what_a_broker_says_is_gathered_is_equity_from_then_on_and_once(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 1.0, 10.0, now=1)
    ledger.state_swap(-2.0, 3)
    ledger.state_swap(-2.0, 4)
    ledger.state_swap(0.0, 5)  # with the execution that pays it
    take(ledger, book, -1, 1.0, 10.0, now=5, swap=-2.0)
    flat = np.full(5, 10.0)

    worth = ledger.revalue(np.arange(1, 6, dtype=np.int64), lambda symbol, moments: (flat, flat, None))

    assert [1_000.0, 1_000.0, 998.0, 998.0, 998.0] == worth["equity"].tolist()
    assert [1_000.0, 1_000.0, 1_000.0, 1_000.0, 998.0] == worth["balance"].tolist()


def test_profit_is_converted_when_it_is_realised(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 1.0, 10.0, rate=0.5)
    take(ledger, book, -1, 1.0, 12.0, rate=0.25)

    assert 20 * 0.25 == ledger.trades[0].gross
    assert 20.0 == book.realized


def test_same_fill_twice_counts_once(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 1.0, 10.0)
    fill = next(iter(ledger.fills.values()))
    request = OrderRequest(fill.order_id, "s", "X", Side.BUY, 1.0, OrderType.MARKET)

    assert not ledger.apply(fill, request, book, 1.0, 0)
    assert 1.0 == book.size


def test_position_is_a_value_that_does_not_change_with_the_book(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 1.0, 10.0)
    before = book.position

    take(ledger, book, -1, 1.0, 11.0)

    assert (1.0, 0.0) == (before.size, book.position.size)
    assert math.isnan(book.position.average_price)


def test_cash_equals_the_sum_of_the_fills_over_many_random_fills() -> None:
    draw = random.Random(7)
    ledger = Ledger(0.0)
    book = ledger.add("s", TERMS)
    flows, fees = [], []
    for _ in range(100_000):
        side, size, price, fee = draw.choice([1, -1]), draw.randint(1, 50) / 10, draw.randint(5_000, 15_000) / 100, draw.random()
        take(ledger, book, side, size, price, fee=fee)
        flows.append(-side * size * price * 10)
        fees.append(fee)

    expected = math.fsum(flows)
    assert book.cash == pytest.approx(expected, rel=1e-9)
    # Balance plus open profit is the same money, counted the other way round.
    last = 100.0
    open_profit = (last - book.average_price) * book.size * 10 if book.size else 0.0
    assert ledger.balance + open_profit == pytest.approx(expected + last * book.size * 10 - math.fsum(fees), rel=1e-9)
    assert math.fsum(trade.gross for trade in ledger.trades) == pytest.approx(book.realized, rel=1e-9)


@given(st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(1, 30), st.integers(100, 200)), max_size=40))
def test_size_is_always_a_whole_number_of_steps(fills: list[tuple[int, int, int]]) -> None:
    ledger = Ledger(0.0)
    book = ledger.add("s", TERMS)
    for side, steps, price in fills:
        take(ledger, book, side, steps / 10, price)

    exact = sum(side * steps for side, steps, _ in fills)
    assert exact / 10 == book.size
    assert (book.size != 0) == (book.key in ledger.open)


def test_revaluation_marks_long_at_the_bid_and_short_at_the_ask(ledger: Ledger, book: Book) -> None:
    take(ledger, book, 1, 1.0, 10.0, fee=1.0, now=2)
    take(ledger, book, -1, 2.0, 12.0, now=4)
    moments = np.arange(1, 6)
    bid, ask = np.array([10.0, 10, 11, 12, 11]), np.array([10.5, 10.5, 11.5, 12.5, 11.5])

    worth = ledger.revalue(moments, lambda symbol, times: (bid, ask, None))

    assert [1000, 999, 999 + 10, 999 + 20 - 5, 999 + 20 + 5] == worth["equity"].tolist()
    assert [1000, 999, 999, 1019, 1019] == worth["balance"].tolist()
    assert [0, 100, 110, 125, 115] == worth["exposure"].tolist()


@pytest.mark.parametrize(
    ("step", "size", "rounded"),
    [(0.1, 0.3, 0.3), (0.01, 0.289999, 0.28), (0.01, -0.019, -0.01), (1.0, 2.9, 2.0), (0.3, 1.0, 0.9)],
)
def test_sizes_round_toward_zero_to_whole_steps(step: float, size: float, rounded: float) -> None:
    terms = Instrument(symbol="X", quote="USD", price_step=0.01, size_step=step, min_size=0.0)

    assert rounded == terms.round_size(size)
    assert rounded == Book("s", terms).lots(size)


class Prices:
    """Prices and rates that stand still."""

    converts = True

    def __init__(self, prices: dict[str, float]) -> None:
        self.prices = prices

    def bid(self, symbol: str) -> float:
        return self.prices[symbol]

    def ask(self, symbol: str) -> float:
        return self.prices[symbol] + 0.25

    def rate(self, symbol: str) -> float:
        return 2.0 if symbol == "A" else 0.5

    def sides(self, symbols: Iterable[str]) -> tuple[list[float], list[float]]:
        names = list(symbols)
        return [self.bid(name) for name in names], [self.ask(name) for name in names]

    def open_profit(self, books: Iterable[Book], but: Book | None = None) -> float:
        total = 0.0
        for book in books:
            if book.size and book is not but:
                price = self.bid(book.symbol) if book.size > 0 else self.ask(book.symbol)
                total += (price - book.average_price) * book.size * book.contract * self.rate(book.symbol)
        return total


@given(
    deals=st.lists(
        st.tuples(st.integers(0, 39), st.sampled_from("ABC"), st.sampled_from([-1, 1]), st.integers(1, 30), st.integers(1, 99)),
        min_size=60,
        max_size=200,
    )
)
def test_many_books_are_worth_together_what_they_are_worth_one_by_one(deals: list[tuple[int, str, int, int, int]]) -> None:
    ledger, prices = Ledger(1_000.0), Prices({"A": 10.0, "B": 20.0, "C": 30.0})
    for number, (owner, symbol, side, lots, price) in enumerate(deals):
        terms = msgspec.structs.replace(TERMS, symbol=symbol)
        book = ledger.add(f"s{owner}", terms)
        request = OrderRequest(f"s{owner}-{number:06d}", book.strategy, symbol, Side(side), lots / 10, OrderType.MARKET)
        fill = Fill(str(number), request.id, symbol, request.side, request.size, price, 0.0, "USD", number)
        ledger.apply(fill, request, book, 1.0, number)
        if number % 7 == 0 or number == len(deals) - 1:
            prices.prices[symbol] += 1.5
            one = next(iter(ledger.open.values()), None)

            assert prices.open_profit(ledger.open_books()) == pytest.approx(ledger.open_profit(prices), abs=1e-6)
            assert prices.open_profit(ledger.open_books(), one) == pytest.approx(ledger.open_profit(prices, one), abs=1e-6)


def test_a_price_that_is_not_known_leaves_the_worth_of_many_books_unknown() -> None:
    ledger = Ledger(1_000.0)
    for owner in range(40):
        book = ledger.add(f"s{owner}", TERMS)
        request = OrderRequest(f"s{owner}-000001", book.strategy, "X", Side.BUY, 1.0, OrderType.MARKET)
        ledger.apply(Fill(str(owner), request.id, "X", Side.BUY, 1.0, 10.0, 0.0, "USD", 1), request, book, 1.0, 1)

    assert math.isnan(ledger.open_profit(Prices({"X": math.nan})))
    assert 40 * (12.0 - 10.0) * 10 * 0.5 == pytest.approx(ledger.open_profit(Prices({"X": 12.0})))
