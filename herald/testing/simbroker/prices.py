"""Prices of the simulated broker: a seeded random walk in even ticks, the same after every restart."""

from __future__ import annotations

import math
import random
from array import array

import msgspec

from herald.clock import SECOND

__all__ = ["Candle", "Mark", "Market", "Tick", "Walk"]


class Tick(msgspec.Struct, frozen=True, gc=False):
    """A quote of the broker.

    Attributes:
        time: When it was quoted, nanoseconds UTC.
        bid: Price at which one can sell.
        ask: Price at which one can buy.
    """

    time: int
    bid: float
    ask: float


class Candle(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One bar of bid prices; *time* is its end, nanoseconds UTC, *volume* the number of ticks."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Mark(msgspec.Struct, frozen=True):
    """The control set a price, or let it go again.

    Attributes:
        time: When, nanoseconds UTC.
        bid: Price from then on; None lets the walk go on from where it stands.
        ask: The same of the other side.
    """

    time: int
    bid: float | None
    ask: float | None


class Walk:
    """Ticks of one symbol.

    The tick at index i holds from ``origin + i * step`` on. Equal seeds, origins and marks make equal ticks whatever the
    order of the questions, so nothing of it needs to be kept on disk but the marks.
    """

    def __init__(self, seed: str, price: float, digits: int, spread: float, volatility: float, origin: int, step: int) -> None:
        """Begin at *origin*.

        Args:
            seed: Chooses the walk.
            price: First bid, > 0.
            digits: Decimals of a price.
            spread: Ask minus bid of the walk.
            volatility: Standard deviation of a tick's log return.
            origin: Time of the first tick, nanoseconds UTC.
            step: From one tick to the next, nanoseconds.
        """
        self.origin = origin
        self.step = step
        self._draw = random.Random(seed)
        self._digits = digits
        self._spread = spread
        self._volatility = volatility
        self._level = math.log(price)
        self._bids = array("d", [round(price, digits)])
        self._marks: list[tuple[int, Mark]] = []
        self._mark: Mark | None = None

    def mark(self, mark: Mark) -> None:
        """Set or release the price from the first tick at or after ``mark.time`` on that nobody has seen."""
        index = max(self._index(mark.time), 0)
        self.extend(index)
        if mark.bid is None:
            self._level = math.log(self._bids[-1])
            self._mark = None
        else:
            self._mark = mark
            # The running tick takes the price at once: who asks next sees it.
            self._bids[index] = mark.bid
        self._marks.append((index, mark))

    def extend(self, index: int) -> None:
        """Make the ticks up to *index*."""
        bids, draw, digits = self._bids, self._draw, self._digits
        for _ in range(len(bids), index + 1):
            if self._mark is not None and self._mark.bid is not None:
                bids.append(self._mark.bid)
                continue
            self._level += self._volatility * draw.gauss(0.0, 1.0)
            bids.append(max(round(math.exp(self._level), digits), 10.0**-digits))

    def tick(self, now: int) -> Tick:
        """Return the quote at *now*."""
        return self._at(max(self._index(now), 0))

    def between(self, after: int, now: int) -> list[Tick]:
        """Return the ticks in ``(after, now]``, oldest first."""
        return [self._at(index) for index in range(max(self._index(after) + 1, 0), self._index(now) + 1)]

    def candles(self, span: int, start: int, end: int, limit: int) -> list[Candle]:
        """Return at most *limit* finished bars of *span* nanoseconds that end in ``(start, end]``, oldest first."""
        first = max(start, self.origin + span - 1)
        close = first - first % span + span
        found: list[Candle] = []
        self.extend(max(self._index(end), 0))
        while close <= end and len(found) < limit:
            low = self._index(close - span - 1) + 1
            high = self._index(close - 1) + 1
            part = self._bids[max(low, 0) : high]
            if part:
                found.append(Candle(close, part[0], max(part), min(part), part[-1], float(len(part))))
            close += span
        return found

    def _index(self, time: int) -> int:
        return (time - self.origin) // self.step

    def _at(self, index: int) -> Tick:
        self.extend(index)
        bid = self._bids[index]
        spread = self._spread
        time = self.origin + index * self.step
        at, mark = next(((at, one) for at, one in reversed(self._marks) if at <= index), (-1, None))
        if mark is not None and mark.bid is not None and mark.ask is not None:
            spread = mark.ask - mark.bid
            # A price set in the middle of a tick is news: its time is later than that of what it replaced.
            time = max(time, mark.time) if at == index else time
        return Tick(time, bid, round(bid + spread, self._digits))


class Market:
    """The walks of all symbols, and whether time stands still for them.

    Attributes:
        frozen_at: Since when no price changes, nanoseconds UTC; None while they do.
    """

    def __init__(self, walks: dict[str, Walk]) -> None:
        """Hold *walks* by symbol."""
        self.frozen_at: int | None = None
        self._walks = walks

    def walk(self, symbol: str) -> Walk:
        """Return the walk of *symbol*.

        Raises:
            KeyError: There is none.
        """
        return self._walks[symbol]

    def time(self, now: int) -> int:
        """Return the time up to which prices are known."""
        return now if self.frozen_at is None else min(now, self.frozen_at)

    def tick(self, symbol: str, now: int) -> Tick:
        """Return the quote of *symbol*."""
        return self._walks[symbol].tick(self.time(now))

    def step_seconds(self) -> float:
        """Return the time from one tick to the next, seconds."""
        return min(walk.step for walk in self._walks.values()) / SECOND
