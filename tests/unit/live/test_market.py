"""Last known prices where quotes come beside bars."""

from __future__ import annotations

import math

import pytest

from herald.engine.book import Ledger
from herald.engine.feed import Feed
from herald.live.market import QuotedMarket
from herald.model import Fill, Instrument, OrderRequest, OrderType, Quote, Side, Timeframe

TERMS = Instrument(symbol="X", quote="USD", price_step=0.01, size_step=0.1, min_size=0.1, contract_size=10.0)


@pytest.fixture
def market() -> QuotedMarket:
    return QuotedMarket({"X": Feed("X", Timeframe(60))}, {"X": TERMS}, "USD", {}, ["X"], 10**18)


def ledger_of(owners: int, side: Side) -> Ledger:
    ledger = Ledger(1_000.0)
    for owner in range(owners):
        book = ledger.add(f"s{owner}", TERMS)
        request = OrderRequest(f"s{owner}-000001", book.strategy, "X", side, 1.0, OrderType.MARKET)
        ledger.apply(Fill(str(owner), request.id, "X", side, 1.0, 10.0, 0.0, "USD", 1), request, book, 1.0, 1)
    return ledger


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 12.0), (Side.SELL, 12.5)])
@pytest.mark.parametrize("owners", [1, 40])
def test_positions_are_worth_what_the_last_quote_says_without_any_bar(
    market: QuotedMarket, owners: int, side: Side, price: float
) -> None:
    market.take(Quote("X", 2, 12.0, 12.5))

    assert owners * side * (price - 10.0) * 10 == pytest.approx(ledger_of(owners, side).open_profit(market))


@pytest.mark.parametrize("owners", [1, 40])
def test_without_any_price_the_worth_is_unknown(market: QuotedMarket, owners: int) -> None:
    assert math.isnan(ledger_of(owners, Side.BUY).open_profit(market))
