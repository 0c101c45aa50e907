"""Last known prices where quotes come beside bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from herald.engine.book import Book
from herald.engine.feed import Feed
from herald.engine.market import Market
from herald.model import Instrument, Quote

__all__ = ["QuotedMarket"]


class QuotedMarket(Market):
    """Prices by symbol: the last quote, or the last close where that is younger.

    Attributes:
        quotes: Last quote by symbol.
    """

    def __init__(
        self,
        feeds: Mapping[str, Feed],
        instruments: Mapping[str, Instrument],
        currency: str,
        named: Mapping[str, str],
        traded: Sequence[str],
        max_age: int,
    ) -> None:
        """Find the conversion of every traded symbol; see `Market`."""
        super().__init__(feeds, instruments, currency, named, traded, max_age)
        self.quotes: dict[str, Quote] = {}

    def take(self, quote: Quote) -> None:
        """Take a quote; one that is older than the last of its symbol is left out."""
        known = self.quotes.get(quote.symbol)
        if known is None or quote.time >= known.time:
            self.quotes[quote.symbol] = quote

    def _fresh(self, symbol: str) -> Quote | None:
        """Return the last quote, where it is younger than the last bar."""
        quote = self.quotes.get(symbol)
        if quote is None or quote.time < super().price_time(symbol):
            return None
        return quote

    def price(self, symbol: str) -> float:
        """Return the last known bid."""
        quote = self._fresh(symbol)
        return super().price(symbol) if quote is None else quote.bid

    def price_time(self, symbol: str) -> int:
        """Return when that was known, nanoseconds UTC; 0 before the first."""
        quote = self._fresh(symbol)
        return super().price_time(symbol) if quote is None else quote.time

    def bid(self, symbol: str) -> float:
        """Return the price at which a long position would close."""
        quote = self._fresh(symbol)
        return super().bid(symbol) if quote is None else quote.bid

    def ask(self, symbol: str) -> float:
        """Return the price at which a short position would close."""
        quote = self._fresh(symbol)
        return super().ask(symbol) if quote is None else quote.ask

    def known_at(self, symbol: str, time: int) -> tuple[float, float]:
        """Return bid and rate as they were known at *time*: those of now where a quote is the last that is known."""
        if self._fresh(symbol) is None:
            return super().known_at(symbol, time)
        return self.bid(symbol), self.rate(symbol)

    def sides(self, symbols: Iterable[str]) -> tuple[list[float], list[float]]:
        """Return bid and ask of every symbol; NaN before the first price."""
        # `_fresh` for every symbol would be most of what valuing a large account costs: see benchmarks/book.py.
        quotes, feeds = self.quotes, self.feeds
        bids, asks = [], []
        for symbol in symbols:
            quote, feed = quotes.get(symbol), feeds[symbol]
            if quote is not None and (not feed.count or quote.time >= feed.time[feed.count - 1]):
                bids.append(quote.bid)
                asks.append(quote.ask)
            else:
                bids.append(super().bid(symbol))
                asks.append(super().ask(symbol))
        return bids, asks

    def open_profit(self, books: Iterable[Book], but: Book | None = None) -> float:
        """Return the open profit of *books* without *but* at the last known prices, account currency."""
        total = 0.0
        for book in books:
            size = book.size
            if size and book is not but:
                price = self.bid(book.symbol) if size > 0 else self.ask(book.symbol)
                profit = (price - book.average_price) * size * book.contract
                total += profit * self.rate(book.symbol) if self.converts else profit
        return total
