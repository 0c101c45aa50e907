"""The chunked loop over columns: the same engine as `Engine.step`, many times faster.

All bars are known beforehand, so the loop does up front what a live run does bar by bar: indicators are whole
columns, series are merged by one sort, and a run of moments in which the same series have a bar is walked with
C iterators. Only what a strategy can see moves with the loop. The order of events at one time is DESIGN's:
waiting orders are matched on the bars that end at t *before* those bars are known to anybody; then the bars
enter; then exits, timers and strategies decide; what they ask for rests until a later bar.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple, Protocol

import numpy as np

from herald.contracts import Command, Submit
from herald.engine.engine import Engine, Runner
from herald.engine.exits import FOREIGN
from herald.engine.feed import Feed
from herald.model import Bar, FloatArray, IntArray, OrderRequest

__all__ = ["Backtest", "Broker", "moments_of"]

_OnBar = Callable[[Bar, Any], None]

_CHUNK = 2_048
"""Bars that exist as Python objects at a time: enough to hide the set-up, small enough for the cache."""


_WORTH_WEAVING = 64
"""Moments that a woven loop must be good for: irregular series make many short stretches of as many shapes."""

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

    def straight(
        self, request: OrderRequest, time: int, price: float, spread: float, reach: float, volume: float, end: int
    ) -> None:
        """Accept a plain market order and fill it on the next bar."""

    def match(
        self, symbol: str, time: int, span: int, prices: tuple[float, float, float, float], volume: float, spread: float
    ) -> None:
        """Fill waiting orders on a bar."""


def _column(values: FloatArray) -> array[float]:
    """Return *values* in a form that makes each Python float when it is asked for.

    A list would make all of them before the first is used, and so many at a time leave the processor's nearest cache and
    the interpreter's store of spare floats; an item of a numpy array takes five times as long as one of these.
    """
    return array("d", values.tobytes())


class _Cell:
    """One series in a run of moments: its columns, and its bars as they happen."""

    __slots__ = (
        "bars",
        "close",
        "counts",
        "feed",
        "first",
        "high",
        "is_mark",
        "low",
        "open",
        "symbol",
        "targets",
        "time",
        "values",
        "volume",
    )

    def __init__(
        self, feed: Feed, count: int, is_mark: bool, time: list[int], counts: Callable[[int, int], Sequence[int]]
    ) -> None:
        part = slice(feed.count, feed.count + count)
        self.feed = feed
        self.first = feed.count
        self.symbol = feed.symbol
        self.is_mark = is_mark
        self.time = time  # of all series of a stretch the same
        self.open = _column(feed.open[part])
        self.high = _column(feed.high[part])
        self.low = _column(feed.low[part])
        self.close = _column(feed.close[part])
        self.volume = _column(feed.volume[part])
        self.bars = map(
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
        outputs = [(indicator, name, _column(column[part])) for indicator, name, column in feed.outputs()]
        self.counts = counts(part.start + 1, part.stop + 1)
        self.targets = [(indicator, name) for indicator, name, _ in outputs]
        self.values = [column for _, _, column in outputs]


def _numbers(start: int, stop: int) -> list[int]:
    """Return a range as a list: series that share it share its numbers, which a range makes for each anew."""
    return list(range(start, stop))


def _entering(engine: Engine, cell: _Cell) -> Iterator[Bar]:
    """Yield each bar at the instant at which it happens: time, count and indicators move with it."""
    feed, targets = cell.feed, cell.targets
    # The loop targets are attributes: this is the cheapest way in Python to set several things a bar.
    for engine.now, feed.count, bar, *values in _rows([cell]):
        for (indicator, name), value in zip(targets, values, strict=True):
            setattr(indicator, name, value)
        yield bar


# Where the same series have a bar together for a while, the loop is woven: written out for just these series, indicators,
# exits and listeners, so that a bar of one of ten series costs what a bar of the only one costs. The source is made from
# numbers and attribute names alone; what it runs on are its arguments.

_Walk = Callable[..., "tuple[int, Exception | None, tuple[Bar, ...]] | bool"]
"""Walks rows until somebody has something to do. True where it was stopped, False at the end; else a strategy failed, and the
answer is: which listener it was (-1 before the first of the moment), how where it is not known yet, and the bars."""


class _Shape(NamedTuple):
    """What makes one woven loop another."""

    outputs: tuple[tuple[str, ...], ...]
    """Of every series: the attributes to set on its indicators."""
    listeners: tuple[int, ...]
    """Of every series: how many listen to its bars."""
    exits: tuple[int, ...]
    """The series of each position that has exit rules, in the order in which they are asked."""
    has_timers: bool


@lru_cache(maxsize=256)
def _weave(shape: _Shape) -> _Walk:
    """Return the loop over the rows of `_rows` for series of this shape, in one function without an inner loop."""
    head = ["engine.now"]
    targets = 0
    for place, names in enumerate(shape.outputs):
        head += [f"f{place}.count", f"b{place}"]
        head += [f"t{targets + index}.{name}" for index, name in enumerate(names)]
        targets += len(names)
    calls = [place for place, count in enumerate(shape.listeners) for _ in range(count)]
    bars = "".join(f"b{place}, " for place in range(len(shape.outputs)))
    lines = ["def walk(engine, rows, feeds, targets, listeners, watched, commands, busy):"]
    for source, places in (
        ("feeds", [f"f{place}" for place in range(len(shape.outputs))]),
        ("targets", [f"t{index}" for index in range(targets)]),
        ("listeners", [f"(h{index}, c{index})" for index in range(len(calls))]),
        ("watched", [f"(w{index}, k{index})" for index in range(len(shape.exits))]),
    ):
        lines += [f"    {', '.join(places)}, = {source}"] if places else []
    is_watched = bool(shape.exits or shape.has_timers)
    if is_watched:
        lines += ["    timers, failures, check = engine.timers, engine.failures, engine.exits.check", "    known = len(failures)"]
    lines += ["    at = 0", f"    for {', '.join(head)} in rows:"]
    for index, place in enumerate(shape.exits):
        lines += [f"        if k{index}.size:", f"            check(w{index}, k{index}, b{place})"]
    if shape.has_timers:
        lines += ["        if timers and timers[0][0] <= engine.now:", "            engine.fire()"]
    if is_watched:
        lines += ["        if len(failures) != known:", f"            return -1, None, ({bars})"]
    lines += ["        try:", "            pass"]
    for index, place in enumerate(calls):
        lines += [f"            at = {index}"] if len(calls) > 1 else []
        lines += [f"            h{index}(b{place}, c{index})"]
    lines += ["        except FOREIGN as error:", f"            return at, error, ({bars})"]
    lines += ["        if commands or busy:", "            return True", "    return False"]
    scope: dict[str, Any] = {"FOREIGN": FOREIGN}
    exec(compile("\n".join(lines), "<woven loop>", "exec"), scope)  # noqa: S102 - see above: nothing of a user's gets in
    walk: _Walk = scope["walk"]
    return walk


def _rows(cells: Sequence[_Cell]) -> Iterator[tuple[Any, ...]]:
    """Return the moments of *cells* as tuples: time, then of each series count, bar and the values of its indicators."""
    columns: list[Iterable[Any]] = [cells[0].time]
    for cell in cells:
        columns += [cell.counts, cell.bars, *cell.values]
    return zip(*columns, strict=True)


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
        time: list[int] = feeds[0].time[feeds[0].count : feeds[0].count + size].tolist()
        counts = range if len(feeds) == 1 else lru_cache(_numbers)
        cells = [_Cell(feed, size, id(feed) in self._marks, time, counts) for feed in feeds]
        if self._broker.resting:
            self._match(cells, 0)
        return self._woven(cells, size) if size >= _WORTH_WEAVING else self._moment_by_moment(cells, size)

    def _woven(self, cells: list[_Cell], size: int) -> int:
        """Walk with a loop that is written out for these series; the listeners are bound anew whenever somebody acts."""
        engine, resting = self._engine, self._broker.resting
        commands, failures = engine.commands, engine.failures
        feeds = [cell.feed for cell in cells]
        targets = [indicator for cell in cells for indicator, _ in cell.targets]
        watched = engine.exits.watched([feed.symbol for feed in feeds])
        shape = _Shape(
            tuple(tuple(name for _, name in cell.targets) for cell in cells),
            tuple(len(feed.handlers) for feed in feeds),
            tuple(place for _, _, place in watched),
            bool(engine.timers),
        )
        walk, rows, positions = _weave(shape), _rows(cells), [(watch, book) for watch, book, _ in watched]
        places = {cell.symbol: place for place, cell in enumerate(cells) if cell.is_mark}
        straight = self._straight
        known, listeners = -1, []
        while True:
            if len(failures) != known:  # a strategy that failed does not listen any more
                known = len(failures)
                listeners = [handler for feed in feeds for handler in feed.handlers]
            outcome = walk(engine, rows, feeds, targets, listeners, positions, commands, bool(resting))
            if outcome is False:
                return size
            if outcome is not True:
                self._go_on(cells, *outcome)
            if straight and not resting and not engine.restless and self._all_straight(cells, places, size):
                continue
            done = self._settle(cells, size, last=engine.restless)
            if engine.restless:
                return done

    def _go_on(self, cells: Sequence[_Cell], at: int, error: BaseException | None, bars: Sequence[Bar]) -> None:
        """Stop the strategy whose listener number *at* failed with *error*, and let the moment go on with those behind it."""
        engine = self._engine
        places = [place for place, cell in enumerate(cells) for _ in cell.feed.handlers]
        while True:
            listeners = [handler for cell in cells for handler in cell.feed.handlers]
            if error is not None:
                engine.fail_context(listeners[at][1], error)
            listeners = [handler for cell in cells for handler in cell.feed.handlers]
            try:
                for at in range(at + 1, len(listeners)):  # noqa: B020 - goes on from where it stopped
                    on_bar, context = listeners[at]
                    on_bar(bars[places[at]], context)
            except FOREIGN as another:
                error = another
                continue
            return

    def _moment_by_moment(self, cells: list[_Cell], size: int) -> int:
        """Walk a few moments; what a stretch too short to weave a loop for is walked with."""
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
                    except FOREIGN as error:
                        engine.fail_context(context, error)
                        listeners[:] = [handlers[0] for handlers in callbacks]  # it may listen to the bars that follow
            else:
                for bar, handlers in zip(bars, callbacks, strict=True):
                    for on_bar, context in handlers:
                        try:
                            on_bar(bar, context)
                        except FOREIGN as error:
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
        plain = commands[:]
        commands.clear()
        engine.now = time = cells[0].time[row]
        for command in plain:
            request = command.request
            cell = cells[places[request.symbol]]
            feed = cell.feed
            spread = float(feed.spread[cell.first + row]) if feed.has_spread else 0.0
            reach = cell.high[row] - cell.low[row]
            broker.straight(request, time - feed.span, cell.open[row], spread, reach, cell.volume[row], time)
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
