"""The rules of a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from herald.components import Settings
from herald.contracts import Strategy
from herald.model import BarSeries
from herald.testing.guard import touches
from herald.testing.market import make_services, make_walk
from herald.testing.run import Asked, StrategyRun, run_strategy

__all__ = ["StrategyContract"]


class StrategyContract:
    """Subclass it as ``TestX``, set `strategy` and `settings`, and the rules are tested.

    Attributes:
        strategy: The class.
        settings: Settings under which it asks for something within `length` bars after its warm-up.
        symbols: What it trades.
        timeframe: Of its bars.
        length: Bars after the warm-up; enough for some requests.
        asks: Whether it must ask for something in that time; a strategy that only trades on rare days sets False.
    """

    strategy: ClassVar[type[Strategy[Any]]]
    settings: ClassVar[Settings]
    symbols: ClassVar[Sequence[str]] = ("TEST",)
    timeframe: ClassVar[str] = "1h"
    length: ClassVar[int] = 300
    asks: ClassVar[bool] = True

    def bars(self) -> list[BarSeries]:
        """Return the market of the tests, one series a symbol; override it for another one."""
        n = self._warmup() + self.length
        return [make_walk(n, symbol=symbol, timeframe=self.timeframe) for symbol in self.symbols]

    def run(self, bars: Sequence[BarSeries], seed: int = 0) -> StrategyRun:
        """Run the strategy over *bars*; override it where it needs a sizer, costs or instruments."""
        return run_strategy(self.strategy, self.settings, bars, seed=seed)

    def _warmup(self) -> int:
        return self.strategy(self.settings, make_services("strategies.test")).warmup()

    def test_it_asks_for_something(self) -> None:
        """The market of these tests makes it act; otherwise the other rules would hold for no reason."""
        run = self.run(self.bars())

        assert bool(run.asked) or not self.asks, (
            f"no request in {self.length} bars after the warm-up; use other settings, a larger length, or your own bars()"
        )

    def test_requests_do_not_depend_on_later_bars(self) -> None:
        """No look-ahead: on the first k bars it asks for what it asks for on those bars of the whole series."""
        bars = self.bars()
        times = bars[0].time
        full = self.run(bars).asked
        warmup, n = self._warmup(), len(times)

        for k in sorted({max(warmup, 1), warmup + (n - warmup) // 3, warmup + 2 * (n - warmup) // 3, n - 1}):
            now = int(times[k - 1])
            prefix = self.run([_copied(one.between(None, now)) for one in bars]).asked
            expected = tuple(asked for asked in full if asked.time <= now)
            assert prefix == expected, f"after {k} bars: {_difference(prefix, expected)}"

    def test_requests_do_not_depend_on_other_futures(self) -> None:
        """No look-ahead: where all later prices are doubled or halved, nothing it asked for before changes."""
        bars = self.bars()
        half = (self._warmup() + len(bars[0])) // 2
        now = int(bars[0].time[half - 1])

        expected = tuple(asked for asked in self.run(bars).asked if asked.time <= now)

        for factor in (2.0, 0.5):
            other = self.run([_copied(one, factor, now) for one in bars]).asked
            actual = tuple(asked for asked in other if asked.time <= now)
            assert actual == expected, _difference(actual, expected)

    def test_same_seed_gives_the_same_requests(self) -> None:
        """Chance comes from ``ctx.random`` or ``services.random``, so two runs with one seed are the same."""
        bars = self.bars()

        first, second = self.run(bars, seed=7).asked, self.run(bars, seed=7).asked

        assert first == second, _difference(second, first)

    def test_it_touches_nothing_outside_the_context(self) -> None:
        """While it runs it opens no file, socket, process or thread."""
        bars = self.bars()
        self.run(bars)  # whatever is imported on first use is imported now

        with touches() as seen:
            self.run(bars)

        assert seen == [], "the run touched " + "; ".join(seen[:5])

    def test_warmup_is_enough(self) -> None:
        """With exactly as many bars as ``warmup()`` says, the first ``on_bar`` runs without an error."""
        k = max(self._warmup(), 1)

        run = self.run([_copied(one[:k]) for one in self.bars()])

        assert run.status == "completed", "; ".join(run.result.errors)

    def test_settings_survive_json(self) -> None:
        """The settings written as JSON and read again are equal, so a run can be repeated from its manifest."""
        text = self.settings.model_dump_json()

        assert type(self.settings).model_validate_json(text) == self.settings


def _copied(series: BarSeries, factor: float = 1.0, after: int = 0) -> BarSeries:
    """Return *series* in memory of its own, prices later than *after* multiplied by *factor*.

    A slice would still be a window on the whole: through the base of its arrays the future could be read.
    """
    scale = np.where(series.time > after, factor, 1.0)
    prices = (series.open * scale, series.high * scale, series.low * scale, series.close * scale)
    spread = None if series.spread is None else series.spread.copy()
    return BarSeries(series.symbol, series.span, series.time.copy(), *prices, series.volume.copy(), spread)


def _difference(actual: Sequence[Asked], expected: Sequence[Asked]) -> str:
    """Return the first place at which two lists of requests differ."""
    for index, (left, right) in enumerate(zip(actual, expected, strict=False)):
        if left != right:
            return f"request {index} is {left}, expected {right}"
    return f"{len(actual)} requests, expected {len(expected)}"
