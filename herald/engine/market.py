"""Last known prices of every symbol, and what a quote currency is worth in the account's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from herald.engine.book import Book
from herald.engine.feed import Feed
from herald.errors import ConfigError, Problem
from herald.model import FloatArray, Instrument, IntArray, Quote

__all__ = ["Leg", "Market", "route"]

Leg = tuple[str, bool]
"""One conversion step: (symbol, multiply); divide by its price where *multiply* is False."""


def route(quote: str, currency: str, instruments: Mapping[str, Instrument], named: Mapping[str, str]) -> tuple[Leg, ...]:
    """Return how to turn an amount of *quote* currency into the account's *currency*.

    Args:
        quote: Currency to convert from.
        currency: Account currency.
        instruments: Terms of every symbol that may serve.
        named: Symbol to use, by currency, from ``[conversions]``.

    Returns:
        No leg where both are the same; one for a pair or its inverse; two for a cross.

    Raises:
        ConfigError: No instrument connects the two.
    """
    if quote == currency:
        return ()
    pairs: dict[tuple[str, str], str] = {}
    for symbol, terms in instruments.items():
        if terms.base and terms.quote:
            pairs.setdefault((terms.base, terms.quote), symbol)
    if quote in named:
        terms = instruments[named[quote]]
        pairs[terms.base, terms.quote] = named[quote]

    def step(source: str, target: str) -> Leg | None:
        if (source, target) in pairs:
            return pairs[source, target], True
        if (target, source) in pairs:
            return pairs[target, source], False
        return None

    direct = step(quote, currency)
    if direct is not None:
        return (direct,)
    middles = sorted({name for pair in pairs for name in pair} - {quote, currency})
    for middle in middles:
        first, second = step(quote, middle), step(middle, currency)
        if first is not None and second is not None:
            return first, second
    what = f"no instrument converts {quote} into the account currency {currency}"
    hint = f'name one: [conversions] {quote} = "SYMBOL", with its base and quote in [instruments.SYMBOL]'
    raise ConfigError("conversions", [Problem(f"conversions.{quote}", what, hint)])


class Market:
    """Prices by symbol, taken from the finest series of each; see `Marks` of the simulator.

    Attributes:
        feeds: The finest series of every symbol.
        converts: Whether any traded symbol is quoted in another currency than the account's.
        bounds: Lowest bid and highest ask of each symbol until `enclose` is called again; empty where nobody
            knows the future, which is always but in a backtest. Only a shortcut may use it, never a decision.
        era: Grows with every call of `enclose`.
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
        """Find the conversion of every traded symbol.

        Args:
            feeds: The finest series of every symbol, conversion instruments included.
            instruments: Terms of every symbol of *feeds*.
            currency: Account currency.
            named: Conversion symbol by currency, from the config.
            traded: Symbols that strategies trade.
            max_age: Oldest conversion price that is used, nanoseconds.

        Raises:
            ConfigError: A traded symbol's quote currency cannot be converted.
        """
        self.feeds = dict(feeds)
        self._legs = {symbol: route(instruments[symbol].quote, currency, instruments, named) for symbol in traded}
        self.converts = any(self._legs.values())
        self.bounds: dict[str, tuple[float, float]] = {}
        self.era = 0
        self._max_age = max_age

    def take(self, quote: Quote) -> None:
        """Take a quote; a market of bars alone has no use for it."""

    def price(self, symbol: str) -> float:
        """Return the last close (bid), quote currency per unit; NaN before the first."""
        feed = self.feeds[symbol]
        return float(feed.close[feed.count - 1]) if feed.count else math.nan

    bid = price

    def ask(self, symbol: str) -> float:
        """Return the last close plus the spread of that bar; NaN before the first."""
        feed = self.feeds[symbol]
        return float(feed.close[feed.count - 1] + feed.spread[feed.count - 1]) if feed.count else math.nan

    def sides(self, symbols: Iterable[str]) -> tuple[list[float], list[float]]:
        """Return bid and ask of every symbol; NaN before the first price."""
        return [self.bid(symbol) for symbol in symbols], [self.ask(symbol) for symbol in symbols]

    def enclose(self, counts: Mapping[int, int]) -> None:
        """Take note within which prices the next stretch of a backtest stays.

        Args:
            counts: How many bars the stretch has, by the id of the feed; a feed that is not there stands still.
        """
        for symbol, feed in self.feeds.items():
            part = slice(max(feed.count - 1, 0), feed.count + counts.get(id(feed), 0))
            closes = feed.close[part]
            if len(closes):
                high = float(closes.max()) + (float(feed.spread[part].max()) if feed.has_spread else 0.0)
                self.bounds[symbol] = float(closes.min()), high
        self.era += 1

    def open_profit(self, books: Iterable[Book], but: Book | None = None) -> float:
        """Return the open profit of *books* without *but* at the last prices, account currency."""
        feeds = self.feeds
        total = 0.0
        for book in books:
            size = book.size
            if size == 0 or book is but:
                continue
            feed = feeds[book.symbol]
            last = feed.count - 1
            price: float = feed.close.item(last)
            if size < 0 and feed.has_spread:
                price += feed.spread.item(last)
            profit = (price - book.average_price) * size * book.contract
            total += profit * self.rate(book.symbol) if self.converts else profit
        return total

    def price_time(self, symbol: str) -> int:
        """Return when the last price was known, nanoseconds UTC; 0 before the first."""
        feed = self.feeds[symbol]
        return int(feed.time[feed.count - 1]) if feed.count else 0

    def first_time(self, symbol: str, moment: int) -> int:
        """Return when the first bar at or after *moment* ended, nanoseconds UTC; 0 while there is none."""
        known = self.feeds[symbol].time[: self.feeds[symbol].count]
        place = int(np.searchsorted(known, moment))
        return int(known[place]) if place < len(known) else 0

    def known_at(self, symbol: str, time: int) -> tuple[float, float]:
        """Return bid and rate as they were known at *time*, nanoseconds UTC; NaN before the first price."""
        rate = 1.0
        for name, multiply in self._legs[symbol]:
            price = _close_at(self.feeds[name], time)
            rate = rate * price if multiply else rate / price
        return _close_at(self.feeds[symbol], time), rate

    def rate(self, symbol: str) -> float:
        """Return account currency per unit of the symbol's quote currency; NaN while a leg has no price."""
        legs = self._legs[symbol]
        rate = 1.0
        for name, multiply in legs:
            rate = rate * self.price(name) if multiply else rate / self.price(name)
        return rate

    def stale(self, symbol: str, now: int) -> str:
        """Return which conversion price of *symbol* is missing or too old at *now*; empty where none is."""
        for name, _ in self._legs[symbol]:
            known = self.price_time(name)
            if not known:
                return f"{name} has no price yet"
            if now - known > self._max_age:
                return f"the last price of {name} is {(now - known) // 1_000_000_000} s old"
        return ""

    def columns(self, symbol: str, moments: IntArray) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        """Return bid, ask and rate of *symbol* at many moments, each of shape (n,); NaN before the first price.

        Ask is the same array where there is no spread, and rate None where the quote currency is the account's.
        """
        feed = self.feeds[symbol]
        bid = _at(feed, feed.close, moments)
        ask = bid + _at(feed, feed.spread, moments) if feed.has_spread else bid
        rate: FloatArray | None = None
        for name, multiply in self._legs[symbol]:
            leg = self.feeds[name]
            price = _at(leg, leg.close, moments)
            before = 1.0 if rate is None else rate
            rate = before * price if multiply else before / price
        return bid, ask, rate


def _close_at(feed: Feed, moment: int) -> float:
    """Return the last close known at a moment; NaN before the first."""
    place = int(np.searchsorted(feed.time[: feed.count], moment, side="right")) - 1
    return float(feed.close[place]) if place >= 0 else math.nan


def _at(feed: Feed, column: FloatArray, moments: IntArray) -> FloatArray:
    """Return the last value of *column* known at each moment."""
    known = feed.time[: feed.count]
    # Usually the moments are a stretch of the feed's own times; looking each of them up takes many times as long.
    first = int(np.searchsorted(known, moments[0])) if len(moments) else 0
    stretch = slice(first, first + len(moments))
    if np.array_equal(known[stretch], moments):
        return column[stretch]
    index = np.searchsorted(known, moments, side="right") - 1
    values = column[: feed.count][np.maximum(index, 0)] if feed.count else np.full(len(moments), math.nan)
    return np.where(index >= 0, values, math.nan) if len(index) and index[0] < 0 else values
