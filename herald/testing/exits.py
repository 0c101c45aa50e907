"""A stand for one exit rule: feed it bars, read its answers; no orders are placed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import cast

from herald.clock import parse_time
from herald.contracts import Close, ExitRule, Protect
from herald.engine.book import Book
from herald.engine.context import Desk, ExitContext
from herald.engine.feed import Feed
from herald.indicators import Indicator
from herald.model import (
    Account,
    AccountMode,
    Bar,
    Instrument,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Position,
    Side,
    Timeframe,
)
from herald.testing.market import make_bars, make_instrument

__all__ = ["ExitStand"]


class ExitStand:
    """Lets a rule watch one position over bars that a test states.

    The rule gets the engine's own context. Its answers are returned and not carried out: a test says itself what
    the position becomes, through `hold`.

    Attributes:
        position: What the rule is shown; a flat one is not shown.
        context: What the rule may look at.
        now: End of the last bar, nanoseconds UTC.
    """

    def __init__(
        self,
        rule: ExitRule,
        *,
        instrument: Instrument | None = None,
        timeframe: str = "1h",
        start: str | int = "2024-01-01",
    ) -> None:
        """Put *rule* on the stand.

        Args:
            rule: The rule.
            instrument: Terms; `make_instrument` unless given.
            timeframe: Of the bars.
            start: Start of the first bar.
        """
        self.rule = rule
        self.instrument = instrument or make_instrument()
        self.now = parse_time(start) if isinstance(start, str) else start
        self.position = Position(self.instrument.symbol)
        self._span = Timeframe.parse(timeframe).span
        self._feed = Feed(self.instrument.symbol, self._span)
        self._book = Book("test", self.instrument)
        symbol = self.instrument.symbol
        feeds = {(symbol, self._span): self._feed}
        generator = random.Random(0)
        self.context = ExitContext(cast(Desk, _Desk(self)), "test", {symbol: self._book}, feeds, self._span, generator)

    def hold(self, size: float, price: float, *, opened: int | None = None) -> None:
        """Hold *size* lots (signed) from now on.

        Args:
            size: Lots; 0 is flat.
            price: Average entry price.
            opened: When it left flat, nanoseconds UTC; the start of the next bar unless given, as for a market order.
        """
        symbol = self.instrument.symbol
        self.position = Position(symbol, size, price, 0.0, self.now if opened is None else opened) if size else Position(symbol)

    def resize(self, size: float) -> None:
        """Change the size of the same position, as a partial close does."""
        self.position = Position(self.position.symbol, size, self.position.average_price, 0.0, self.position.opened)

    def protect(self, stop: float) -> None:
        """Let a protective stop order work at *stop*."""
        side = Side.SELL if self.position.size > 0 else Side.BUY
        request = OrderRequest(
            "stop",
            "test",
            self.instrument.symbol,
            side,
            abs(self.position.size),
            OrderType.STOP,
            stop=stop,
            reduce_only=True,
            parent="entry",
        )
        self._book.working["stop"] = Order(request, OrderStatus.ACCEPTED, self.now)

    def closing(self, size: float) -> None:
        """Let a market order work that closes *size* lots."""
        side = Side.SELL if self.position.size > 0 else Side.BUY
        request = OrderRequest("closing", "test", self.instrument.symbol, side, size, reduce_only=True)
        self._book.working["closing"] = Order(request, OrderStatus.ACCEPTED, self.now)

    def bar(self, row: float | Sequence[float]) -> Close | Protect | None:
        """Let one more bar happen; return what the rule answers, None while the position is flat.

        Args:
            row: Its close, or (open, high, low, close); see `make_bars`.
        """
        if not isinstance(row, Sequence) and self._feed.count:
            last = float(self._feed.close[self._feed.count - 1])
            row = (last, max(last, row), min(last, row), row)
        rows = [row] if isinstance(row, Sequence) else [(row, row, row, row)]
        bar = make_bars(
            rows, symbol=self.instrument.symbol, timeframe=Timeframe(self._span // 1_000_000_000), start=self.now
        ).bar(0)
        return self.show(bar)

    def show(self, bar: Bar) -> Close | Protect | None:
        """Let *bar* happen as it is; return what the rule answers."""
        self.now = bar.time
        self._feed.append(bar)
        return self.rule.check(self.position, bar, self.context) if self.position.size else None

    def bars(self, rows: Sequence[float] | Sequence[Sequence[float]]) -> list[Close | Protect | None]:
        """Let several bars happen; return each answer."""
        return [self.bar(row) for row in rows]


class _Desk:
    """As much of an engine as looking needs; `ExitContext` refuses the rest itself."""

    def __init__(self, stand: ExitStand) -> None:
        self._stand = stand

    @property
    def now(self) -> int:
        return self._stand.now

    def account(self) -> Account:
        return Account(
            id="stand",
            server="herald",
            real=False,
            currency=self._stand.instrument.quote,
            mode=AccountMode.NETTING,
            balance=10_000.0,
            equity=10_000.0,
            margin_used=0.0,
            margin_free=10_000.0,
            leverage=30.0,
            time=self.now,
        )

    def attach(self, feed: Feed, indicator: Indicator) -> None:
        feed.attach(indicator)

    def note(self, strategy: str, text: str) -> None:
        """Drop the line."""
