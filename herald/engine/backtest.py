"""The chunked loop over columns: the same engine as `Engine.step`, many times faster.

All bars are known beforehand, so the loop does up front what a live run does bar by bar: indicators are whole
columns, series are merged by one sort, and a run of moments in which the same series have a bar is walked with
C iterators. Only what a strategy can see moves with the loop. The order of events at one time is DESIGN's:
waiting orders are matched on the bars that end at t *before* those bars are known to anybody; then the bars
enter; then exits, timers and strategies decide; what they ask for rests until a later bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Protocol

import numpy as np

from herald.contracts import Command, Submit
from herald.engine.engine import Engine, Runner
from herald.engine.feed import Feed
from herald.model import Bar, IntArray, OrderRequest

__all__ = ["Backtest", "Broker", "moments_of"]

_OnBar = Callable[[Bar, Any], None]

_CHUNK = 2_048
"""Bars that exist as Python objects at a time: enough to hide the set-up, small enough for the cache."""


_LEAST = 512
"""Moments in a chunk however many series there are: setting up a series costs as much as some twenty of its bars."""


class Broker(Protocol):
    """The simulator, as far as the loop needs it."""

    @property
    def resting(self) -> Mapping[str, object]:
        """The waiting orders, by symbol."""

    def accept(self, command: Command, now: int) -> None:
        """Take a command."""

    @property
    def is_thin(self) -> bool:
        """Return whether a bar may fill less than is asked for."""

    def straight(self, request: OrderRequest, time: int, price: float, spread: float, reach: float, volume: float) -> None:
        """Accept a plain market order and fill it on the next bar."""

    def match(
        self, symbol: str, time: int, span: int, prices: tuple[float, float, float, float], volume: float, spread: float
    ) -> None:
        """Fill waiting orders on a bar."""


class _Cell:
    """One series in a run of moments: its columns as Python lists, and its bars as they happen."""

    __slots__ = (
        "close",
        "feed",
        "first",
        "high",
        "is_mark",
        "is_simple",
        "low",
        "open",
        "rows",
        "symbol",
        "targets",
        "time",
        "volume",
    )

    def __init__(self, feed: Feed, count: int, is_mark: bool) -> None:
        part = slice(feed.count, feed.count + count)
        self.feed = feed
        self.first = feed.count
        self.symbol = feed.symbol
        self.is_mark = is_mark
        self.time: list[int] = feed.time[part].tolist()
        self.open: list[float] = feed.open[part].tolist()
        self.high: list[float] = feed.high[part].tolist()
        self.low: list[float] = feed.low[part].tolist()
        self.close: list[float] = feed.close[part].tolist()
        self.volume: list[float] = feed.volume[part].tolist()
        bars = map(
            Bar,
            repeat(feed.symbol),
            self.time,
            repeat(feed.span),
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
        )
        outputs = [(indicator, name, column[part].tolist()) for indicator, name, column in feed.outputs()]
        counts = range(part.start + 1, part.stop + 1)
        self.targets = [(indicator, name) for indicator, name, _ in outputs]
        self.is_simple = all(name == "value" for _, name in self.targets)
        self.rows = zip(self.time, counts, bars, *(column for _, _, column in outputs), strict=True)


def _entering(engine: Engine, cell: _Cell) -> Iterator[Bar]:
    """Yield each bar at the instant at which it happens: time, count and indicators move with it."""
    feed, targets, rows = cell.feed, cell.targets, cell.rows
    # The loop targets are attributes: this is the cheapest way in Python to set several things a bar.
    if not targets:
        for engine.now, feed.count, bar in rows:
            yield bar
    elif cell.is_simple and len(targets) == 1:
        one = targets[0][0]
        for engine.now, feed.count, bar, one.value in rows:
            yield bar
    elif cell.is_simple and len(targets) == 2:
        one, two = targets[0][0], targets[1][0]
        for engine.now, feed.count, bar, one.value, two.value in rows:
            yield bar
    else:
        for engine.now, feed.count, bar, *values in rows:
            for (indicator, name), value in zip(targets, values, strict=True):
                setattr(indicator, name, value)
            yield bar


# The same for one listener, without the price of a generator: each walks until somebody has something to do and
# returns whether it was stopped. Only the loop header differs; there is no other way to assign n attributes a bar.


def _walk_none(engine: Engine, cell: _Cell, on_bar: _OnBar, context: object, busy: bool) -> bool:
    feed, commands = cell.feed, engine.commands
    for engine.now, feed.count, bar in cell.rows:
        on_bar(bar, context)
        if commands or busy:
            return True
    return False


def _walk_one(engine: Engine, cell: _Cell, on_bar: _OnBar, context: object, busy: bool) -> bool:
    feed, commands = cell.feed, engine.commands
    one = cell.targets[0][0]
    for engine.now, feed.count, bar, one.value in cell.rows:
        on_bar(bar, context)
        if commands or busy:
            return True
    return False


def _walk_two(engine: Engine, cell: _Cell, on_bar: _OnBar, context: object, busy: bool) -> bool:
    feed, commands = cell.feed, engine.commands
    one, two = cell.targets[0][0], cell.targets[1][0]
    for engine.now, feed.count, bar, one.value, two.value in cell.rows:
        on_bar(bar, context)
        if commands or busy:
            return True
    return False


def _walk_many(engine: Engine, cell: _Cell, on_bar: _OnBar, context: object, busy: bool) -> bool:
    commands = engine.commands
    for bar in _entering(engine, cell):
        on_bar(bar, context)
        if commands or busy:
            return True
    return False


def _walker(cell: _Cell) -> Callable[[Engine, _Cell, _OnBar, object, bool], bool]:
    """Return the walk that fits the indicators of *cell*."""
    if len(cell.targets) > 2 or not cell.is_simple:
        return _walk_many
    return (_walk_none, _walk_one, _walk_two)[len(cell.targets)]


def moments_of(feeds: Sequence[Feed], end: Sequence[int]) -> IntArray:
    """Return the distinct times of all bars that are still to come, nanoseconds UTC, increasing.

    Args:
        feeds: Preloaded series.
        end: Bars of each that take part.
    """
    times = [feed.time[feed.count : stop] for feed, stop in zip(feeds, end, strict=True)]
    if not times:
        return np.empty(0, np.int64)
    return times[0] if _are_equal(times) else np.unique(np.concatenate(times))


def _are_equal(columns: Sequence[IntArray]) -> bool:
    """Return whether all columns are the same: series of one market usually have their bars together."""
    return all(len(column) == len(columns[0]) and np.array_equal(column, columns[0]) for column in columns[1:])


class Backtest:
    """Drives an engine over preloaded feeds.

    Attributes:
        moments: Times of all moments of the run, nanoseconds UTC.
        interrupted: Whether `run` was stopped before the end of the data.
    """

    def __init__(self, engine: Engine, broker: Broker, ends: Sequence[int]) -> None:
        """Prepare a run.

        Args:
            engine: With preloaded feeds and started strategies.
            broker: The simulator.
            ends: For each feed of the engine, how many of its bars take part.
        """
        self._engine = engine
        self._broker = broker
        self._ends = list(ends)
        self.moments = moments_of(engine.feeds, ends)
        marks = engine.market_data.feeds.values()
        self._marks = {id(feed) for feed in marks}
        self.interrupted = False
        # Possible only where nobody wants to hear that an order was accepted, and a bar fills whatever is asked.
        self._straight = not engine.hears_orders and not broker.is_thin

    # --- which series have a bar together ---------------------------------------------------------

    def _runs(self) -> Iterator[tuple[tuple[Feed, ...], int]]:
        """Yield (series, moments): consecutive moments at which exactly these series have a bar."""
        feeds = self._engine.feeds
        parts = [feed.time[feed.count : stop] for feed, stop in zip(feeds, self._ends, strict=True)]
        if _are_equal(parts):
            yield feeds, len(self.moments)
            return
        times = np.concatenate(parts)
        owner = np.repeat(np.arange(len(feeds)), [len(part) for part in parts])
        order = np.argsort(times, kind="stable")
        owner = owner[order]
        starts = np.searchsorted(times[order], self.moments)
        counts = np.diff(np.append(starts, len(times)))
        # A moment continues the run where it has as many rows as the one before, of the same series.
        previous = np.repeat(counts, counts)
        rows = np.arange(len(times))
        same_row = owner == owner[np.maximum(rows - previous, 0)]
        same = np.logical_and.reduceat(same_row, starts) if len(starts) else np.empty(0, bool)
        same[0:1] = False
        same[1:] &= counts[1:] == counts[:-1]
        heads = np.flatnonzero(~same)
        for head, tail in zip(heads, np.append(heads[1:], len(self.moments)), strict=True):
            first = starts[head]
            yield tuple(feeds[i] for i in owner[first : first + counts[head]]), int(tail - head)

    def _admissions(self) -> list[tuple[int, Runner]]:
        """Return (moment index, strategy): from which moment on each strategy has bars enough."""
        result = []
        for runner in self._engine.runners:
            at = 0
            for feed, stop in zip(self._engine.feeds, self._ends, strict=True):
                if feed in runner.feeds and feed.count < runner.warmup:
                    if runner.warmup > stop:
                        at = len(self.moments)  # it never has
                        break
                    at = max(at, int(np.searchsorted(self.moments, feed.time[runner.warmup - 1])))
            result.append((at, runner))
        return sorted(result, key=lambda pair: pair[0])

    # --- the loop ---------------------------------------------------------------------------------

    def run(self, progress: Callable[[float], bool] | None = None) -> None:
        """Run to the end of the data.

        Args:
            progress: Called with the finished fraction between chunks; returning False stops the run, and
                `interrupted` is set.
        """
        waiting = self._admissions()
        done, total = 0, len(self.moments)
        for feeds, length in self._runs():
            left = length
            while left:
                while waiting and waiting[0][0] <= done:
                    self._engine.admit(waiting.pop(0)[1])
                size = min(left, max(_CHUNK // len(feeds), _LEAST))
                if waiting:
                    size = min(size, waiting[0][0] - done)
                finished = self._chunk(feeds, size)
                done += finished
                left -= finished
                if progress is not None and not progress(done / total):
                    self.interrupted = True
                    return

    def _chunk(self, feeds: tuple[Feed, ...], size: int) -> int:
        """Walk *size* moments at which all *feeds* have a bar; return how many were walked."""
        engine = self._engine
        engine.restless = False
        if engine.commands:
            self._send()  # what was asked for before the first bar
        if len(self._marks) > 1:
            engine.market_data.enclose({id(feed): size for feed in feeds})
        cells = [_Cell(feed, size, id(feed) in self._marks) for feed in feeds]
        if self._broker.resting:
            self._match(cells, 0)
        handlers = feeds[0].handlers
        if len(feeds) == 1 and len(handlers) == 1 and not engine.exits.watches and not engine.timers:
            return self._one_listener(cells[0], size)
        return self._many_listeners(cells, size)

    def _one_listener(self, cell: _Cell, size: int) -> int:
        """Walk one series that one strategy hears, without exits and timers: the commonest run."""
        engine, broker = self._engine, self._broker
        commands, resting = engine.commands, broker.resting
        cells = (cell,)
        feed = cell.feed
        handlers = feed.handlers
        walk = _walker(cell)
        straight = self._straight
        while True:
            on_bar, context = handlers[0]
            try:
                if not walk(engine, cell, on_bar, context, bool(resting)):
                    return size
            except Exception as error:
                engine.fail_context(context, error)
            if engine.restless:
                return self._settle(cells, size, last=True)
            row = feed.count - cell.first
            command = commands[0] if commands else None
            if type(command) is Submit and command.plain and straight and len(commands) == 1 and not resting and row < size:
                request = command.request
                commands.clear()
                engine.now = time = cell.time[row]
                spread = float(feed.spread[feed.count]) if feed.has_spread else 0.0
                reach = cell.high[row] - cell.low[row]
                broker.straight(request, time - feed.span, cell.open[row], spread, reach, cell.volume[row])
                if commands:
                    self._send()
            else:
                self._settle(cells, size)

    def _many_listeners(self, cells: list[_Cell], size: int) -> int:
        """Walk any number of series, listeners and exits."""
        engine = self._engine
        commands, timers, resting = engine.commands, engine.timers, self._broker.resting
        exits = engine.exits if engine.exits.watches else None
        callbacks = [cell.feed.handlers for cell in cells]
        places = {cell.symbol: place for place, cell in enumerate(cells) if cell.is_mark}
        straight = self._straight
        failures = engine.failures
        known = -1
        listeners: list[tuple[_OnBar, Any]] = []
        for bars in zip(*(_entering(engine, cell) for cell in cells), strict=True):
            if exits is not None:
                exits.run(bars)
            if timers and timers[0][0] <= engine.now:
                engine.fire()
            if len(failures) != known:
                # One listener a series is the usual case and needs no inner loop; a failure changes the listeners.
                known = len(failures)
                listeners = [handlers[0] for handlers in callbacks if len(handlers) == 1]
            if len(listeners) == len(bars):
                for bar, (on_bar, context) in zip(bars, listeners, strict=True):
                    try:
                        on_bar(bar, context)
                    except Exception as error:
                        engine.fail_context(context, error)
                        listeners[:] = [handlers[0] for handlers in callbacks]  # it may listen to the bars that follow
            else:
                for bar, handlers in zip(bars, callbacks, strict=True):
                    for on_bar, context in handlers:
                        try:
                            on_bar(bar, context)
                        except Exception as error:
                            engine.fail_context(context, error)
            if commands or resting:
                if straight and not resting and not engine.restless and self._all_straight(cells, places, size):
                    continue
                done = self._settle(cells, size, last=engine.restless)
                if engine.restless:
                    return done
        return size

    def _all_straight(self, cells: Sequence[_Cell], places: Mapping[str, int], size: int) -> bool:
        """Fill every new order on its next bar without a stay at the broker, if each is plain; say whether it was done."""
        engine, broker = self._engine, self._broker
        commands = engine.commands
        row = cells[0].feed.count - cells[0].first
        if row == size:
            return False
        before = -1
        for command in commands:
            place = places.get(command.request.symbol, -1)
            # One order a symbol, in the order in which the symbols are matched: then the result is the same.
            if place <= before or type(command) is not Submit or not command.plain:
                return False
            before = place
        requests = [command.request for command in commands]
        commands.clear()
        engine.now = time = cells[0].time[row]
        for request in requests:
            cell = cells[places[request.symbol]]
            feed = cell.feed
            spread = float(feed.spread[cell.first + row]) if feed.has_spread else 0.0
            broker.straight(request, time - feed.span, cell.open[row], spread, cell.high[row] - cell.low[row], cell.volume[row])
        if commands:
            self._send()
        return True

    def _settle(self, cells: Sequence[_Cell], size: int, *, last: bool = False) -> int:
        """Send what was asked for, then match what waits on the next moment; return the moments done.

        The *last* moment of a chunk leaves the matching to the chunk that follows.
        """
        cell = cells[0]
        done = cell.feed.count - cell.first
        engine = self._engine
        if engine.commands:
            self._send()
        if self._broker.resting and done < size and not last:
            self._match(cells, done)
        return done

    def _send(self) -> None:
        """Hand every command to the broker; its answers may bring more."""
        engine, accept = self._engine, self._broker.accept
        commands = engine.take()
        while commands:
            for command in commands:
                accept(command, engine.now)
            commands = engine.take()

    def _match(self, cells: Sequence[_Cell], row: int) -> None:
        """Fill waiting orders on the bars of one moment, of which no strategy knows yet."""
        engine, broker = self._engine, self._broker
        engine.now = time = cells[0].time[row]
        resting = broker.resting
        for cell in cells:
            symbol = cell.symbol
            if symbol in resting and cell.is_mark:
                feed = cell.feed
                spread = float(feed.spread[cell.first + row]) if feed.has_spread else 0.0
                prices = cell.open[row], cell.high[row], cell.low[row], cell.close[row]
                broker.match(symbol, time, feed.span, prices, cell.volume[row], spread)
        if engine.commands:
            self._send()
