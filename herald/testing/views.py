"""A view of the account for tests of risk checks and sizers: every value is set by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from herald.clock import parse_time
from herald.contracts import Standing
from herald.model import (
    Account,
    AccountMode,
    BarSeries,
    Fill,
    Instrument,
    Order,
    OrderRequest,
    Position,
    Quote,
    Side,
    Trade,
)
from herald.testing.market import make_instrument

__all__ = ["FakeRiskView"]


class FakeRiskView:
    """A `herald.contracts.RiskView` whose answers a test states.

    Attributes:
        now: The time, nanoseconds UTC.
        equity: Account currency.
        currency: Of the account.
        prices: Last price by symbol; NaN where it is missing.
        price_times: When it was known; *now* where it is missing.
        rates: Account currency per unit of quote currency, by symbol; 1 where it is missing.
        instruments: Terms by symbol; `make_instrument` where they are missing.
        held: Lots, signed, by (strategy, symbol), in config order.
        orders: Working orders, oldest first.
        sent: When requests went out, nanoseconds UTC.
        changed: When changes and withdrawals went out, nanoseconds UTC.
        past: Equity by time, nanoseconds UTC, in order; the present equity is not among them.
        series: Bars by symbol.
        standing: How journal, disk, clock and account stand.
        states: Trading state by strategy or symbol; ACTIVE where it is missing.
        unready: Symbols whose connector is not ready.
        quotes: Last quote by symbol.
        requests: (time, request) of what went out, oldest first.
        fills: Executions, oldest first.
        trades: Closed round trips, oldest first.
        unknown: Symbols of which no terms are known.
        margin_used: Held back for open positions, account currency.
        leverage: Of the account.
    """

    def __init__(
        self,
        *,
        now: int | str = "2024-01-01T12:00",
        equity: float = 10_000.0,
        currency: str = "USD",
        prices: Mapping[str, float] | None = None,
        price_times: Mapping[str, int] | None = None,
        rates: Mapping[str, float] | None = None,
        instruments: Sequence[Instrument] = (),
        held: Mapping[tuple[str, str], float] | None = None,
        orders: Sequence[Order] = (),
        sent: Sequence[int] = (),
        changed: Sequence[int] = (),
        past: Mapping[int, float] | None = None,
        series: Sequence[BarSeries] = (),
        standing: Standing | None = None,
        states: Mapping[str, str] | None = None,
        unready: Sequence[str] = (),
        quotes: Sequence[Quote] = (),
        requests: Sequence[tuple[int, OrderRequest]] = (),
        fills: Sequence[Fill] = (),
        trades: Sequence[Trade] = (),
        unknown: Sequence[str] = (),
        margin_used: float = 0.0,
        leverage: float = 30.0,
    ) -> None:
        """State everything; what is left out has an answer that refuses nothing."""
        self.now = parse_time(now) if isinstance(now, str) else now
        self.equity = equity
        self.currency = currency
        self.prices = {"TEST": 100.0} if prices is None else dict(prices)
        self.price_times = dict(price_times or {})
        self.rates = dict(rates or {})
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self.held = dict(held or {})
        self.orders = list(orders)
        self.sent = list(sent)
        self.changed = list(changed)
        self.past = dict(past or {})
        self.series = {one.symbol: one for one in series}
        self.standing = Standing() if standing is None else standing
        self.states = dict(states or {})
        self.unready = set(unready)
        self.quotes = {quote.symbol: quote for quote in quotes}
        self.requests = list(requests)
        self.fills = list(fills)
        self.trades = list(trades)
        self.unknown = set(unknown)
        self.margin_used = margin_used
        self.leverage = leverage

    @property
    def account(self) -> Account:
        """The account."""
        return Account(
            id="fake",
            server="herald",
            real=False,
            currency=self.currency,
            mode=AccountMode.NETTING,
            balance=self.equity,
            equity=self.equity,
            margin_used=self.margin_used,
            margin_free=self.equity - self.margin_used,
            leverage=self.leverage,
            time=self.now,
        )

    def instrument(self, symbol: str) -> Instrument:
        """Return the terms of *symbol*; a KeyError where none are known."""
        if symbol in self.unknown:
            raise KeyError(symbol)
        return self.instruments.get(symbol) or make_instrument(symbol)

    def position(self, strategy: str, symbol: str) -> Position:
        """Return what one strategy holds of one symbol."""
        size = self.held.get((strategy, symbol), 0.0)
        return Position(symbol, size, self.price(symbol), 0.0, 1) if size else Position(symbol)

    def positions(self) -> Sequence[tuple[str, Position]]:
        """Return every open position."""
        return [(strategy, self.position(strategy, symbol)) for (strategy, symbol), size in self.held.items() if size]

    def working(self, strategy: str | None = None, symbol: str | None = None) -> Sequence[Order]:
        """Return the working orders."""
        return [
            order
            for order in self.orders
            if (strategy is None or order.request.strategy == strategy) and (symbol is None or order.request.symbol == symbol)
        ]

    def entries(self) -> Sequence[Order]:
        """Return the working orders that may open or add to a position."""
        return [order for order in self.orders if not (order.request.reduce_only or order.request.parent)]

    def price(self, symbol: str) -> float:
        """Return the last price; NaN where none was stated."""
        return self.prices.get(symbol, math.nan)

    def price_time(self, symbol: str) -> int:
        """Return when that price was known; 0 without a price."""
        return self.price_times.get(symbol, self.now if symbol in self.prices else 0)

    def rate(self, symbol: str) -> float:
        """Return account currency per unit of quote currency."""
        return self.rates.get(symbol, 1.0)

    def notional(self, symbol: str, size: float) -> float:
        """Return the value of *size* lots at the last price, account currency."""
        return size * self.instrument(symbol).contract_size * self.price(symbol) * self.rate(symbol)

    def history(self, symbol: str, n: int) -> BarSeries:
        """Return up to *n* last bars; none where no series was stated."""
        known = self.series.get(symbol)
        if known is None:
            return BarSeries(symbol, 1, *([[]] * 5))  # type: ignore[arg-type]
        return known[max(len(known) - n, 0) :]

    def orders_since(self, time: int) -> int:
        """Return how many requests went out at or after *time*."""
        return sum(1 for sent in self.sent if sent >= time)

    def messages_since(self, time: int) -> int:
        """Return how many requests, changes and withdrawals went out at or after *time*."""
        return sum(1 for sent in (*self.sent, *self.changed) if sent >= time)

    def trading_state(self, strategy: str, symbol: str) -> str:
        """Return the stricter of what is stated for the strategy and the symbol."""
        order = ("ACTIVE", "REDUCING", "HALTED")
        return max((self.states.get(name, "ACTIVE") for name in (strategy, symbol)), key=order.index)

    def is_ready(self, symbol: str) -> bool:
        """Return whether the symbol's connector is ready."""
        return symbol not in self.unready

    def last_quote(self, symbol: str) -> Quote | None:
        """Return the last quote; None where none was stated."""
        return self.quotes.get(symbol)

    def requests_since(self, time: int) -> Sequence[tuple[int, OrderRequest]]:
        """Return what went out at or after *time*."""
        return [one for one in self.requests if one[0] >= time]

    def fills_since(self, time: int) -> Sequence[Fill]:
        """Return the executions at or after *time*."""
        return [one for one in self.fills if one.time >= time]

    def trades_since(self, time: int) -> Sequence[Trade]:
        """Return the round trips closed at or after *time*."""
        return [one for one in self.trades if one.exit_time >= time]

    def equity_peak(self) -> float:
        """Return the highest equity so far."""
        return max([*self.past.values(), self.equity])

    def equity_at(self, time: int) -> float:
        """Return the equity at the last moment at or before *time*; the first one where there is none."""
        if not self.past:
            return self.equity
        known = [equity for at, equity in self.past.items() if at <= time]
        return known[-1] if known else next(iter(self.past.values()))

    def reduces(self, request: OrderRequest) -> bool:
        """Return whether *request* can only make the book's position smaller."""
        held = self.held.get((request.strategy, request.symbol), 0.0)
        if request.reduce_only:
            return True
        away = Side.SELL if held > 0 else Side.BUY
        return held != 0 and request.side is away and request.size <= abs(held)
