"""What it costs to value an account of 10,000 positions: by sums for each symbol, and one after the other.

Both are Herald's own: `Ledger.open_profit` adds many books up by symbol and values few in a loop, and the loop it uses for few is asked for
all of them here. Between two askings a price and a position change, as in a run; the two sums are compared every time.

Run: ``python benchmarks/book.py`` (some ten seconds).
"""

from __future__ import annotations

import random
import statistics
import time

from herald import Instrument, Timeframe
from herald.engine.book import Ledger
from herald.engine.feed import Feed
from herald.live.market import QuotedMarket
from herald.model import Fill, OrderRequest, OrderType, Quote, Side

GOAL = 50.0


def account(strategies: int, symbols: int) -> tuple[Ledger, QuotedMarket]:
    """Return a ledger with a position of every strategy in every symbol, and the prices."""
    names = [f"S{number:05d}" for number in range(symbols)]
    terms = {
        name: Instrument(symbol=name, quote="USD", price_step=0.01, size_step=0.01, min_size=0.01, contract_size=100.0)
        for name in names
    }
    market = QuotedMarket({name: Feed(name, Timeframe(60)) for name in names}, terms, "USD", {}, names, 10**18)
    for number, name in enumerate(names):
        market.take(Quote(name, 1, 100.0 + number % 50, 100.1 + number % 50))
    ledger = Ledger(1e9)
    for owner in range(strategies):
        for name in names:
            trade(ledger, terms[name], f"s{owner}", 1 if (owner + len(name)) % 3 else -1, 1.0, 100.0)
    return ledger, market


def trade(ledger: Ledger, terms: Instrument, owner: str, side: int, size: float, price: float) -> None:
    """Fill an order of *owner*."""
    number = len(ledger.fills)
    request = OrderRequest(f"{owner}-{number:06d}", owner, terms.symbol, Side(side), size, OrderType.MARKET)
    fill = Fill(str(number), request.id, terms.symbol, Side(side), size, price, 0.0, "USD", number)
    ledger.apply(fill, request, ledger.add(owner, terms), 1.0, number)


def compare(strategies: int, symbols: int, rounds: int = 25) -> float:
    """Print both costs; return how many times less the sums cost."""
    draw = random.Random(1)
    ledger, market = account(strategies, symbols)
    books = ledger.open_books()
    assert len(books) == strategies * symbols
    sums, loop = [], []
    for _ in range(rounds):
        book = draw.choice(books)
        bid = draw.uniform(90, 150)
        market.take(Quote(book.symbol, 2, bid, bid + 0.1))
        trade(ledger, book.instrument, book.strategy, 1 if book.size > 0 else -1, 0.5, bid)
        start = time.perf_counter_ns()
        quick = ledger.open_profit(market)
        middle = time.perf_counter_ns()
        slow = market.open_profit(books)
        end = time.perf_counter_ns()
        assert abs(quick - slow) <= 1e-9 * sum(abs(one.size) * one.contract * 100 for one in books), (quick, slow)
        sums.append(middle - start)
        loop.append(end - middle)
    fast, plain = statistics.median(sums), statistics.median(loop)
    ratio = plain / fast
    print(
        f"{strategies:>5} strategies x {symbols:>6} symbols   sums {fast / 1e3:9.1f} µs   loop {plain / 1e3:9.1f} µs   {ratio:6.1f} times"
    )
    return ratio


def main() -> int:
    """Measure and print; return 1 where the goal is missed."""
    ratio = compare(100, 100)
    compare(1_000, 10)
    compare(10, 1_000)
    compare(1, 10_000)
    if ratio < GOAL:
        print(f"MISSED: 10,000 positions in 100 symbols are {ratio:.1f} times faster by sums; the goal is {GOAL:g}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
