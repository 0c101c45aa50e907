"""The gate: ordered risk checks in front of every request, and what they may look at."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, islice
from typing import Protocol

import numpy as np

from herald.contracts import Denial, Limit, RiskCheck, Standing
from herald.engine.book import Ledger
from herald.engine.market import Market
from herald.model import (
    Account,
    BarSeries,
    Fill,
    Instrument,
    IntArray,
    Order,
    OrderRequest,
    Position,
    Quote,
    Trade,
)

__all__ = ["MESSAGES_KEPT", "EquityTrack", "Gate", "LiveFacts", "View"]

MESSAGES_KEPT = 50_000
"""Changes and withdrawals whose times are kept at least: as many as a limit of messages may allow in its window."""
_FINE = Standing()
_MANY = 4
"""Checks from which on it pays to look once for all of them."""


class EquityTrack:
    """The equity at every moment so far, computed when somebody asks and never twice."""

    def __init__(self, ledger: Ledger, market: Market, moments: Callable[[], IntArray]) -> None:
        """Start before the first moment.

        Args:
            ledger: The books.
            market: Their prices.
            moments: Returns the moments that are complete, nanoseconds UTC, increasing; it only grows.
        """
        self._ledger = ledger
        self._market = market
        self._moments = moments
        self._done = 0
        self._equity = np.empty(0)
        self._peak = ledger.cash

    def _extend(self) -> IntArray:
        moments = self._moments()
        if len(moments) > self._done:
            fresh = self._ledger.revalue(moments[self._done :], self._market.columns)["equity"]
            if len(self._equity) < len(moments):
                grown = np.empty(max(2 * len(moments), 1024))
                grown[: self._done] = self._equity[: self._done]
                self._equity = grown
            self._equity[self._done : len(moments)] = fresh
            self._peak = max(self._peak, float(np.nanmax(fresh, initial=self._peak)))
            self._done = len(moments)
        return moments

    def peak(self) -> float:
        """Return the highest equity so far, account currency; at least the starting cash."""
        self._extend()
        return self._peak

    def at(self, time: int) -> float:
        """Return the equity at the last moment at or before *time*; the starting cash before the first."""
        moments = self._extend()
        index = int(np.searchsorted(moments, time, side="right")) - 1
        return float(self._equity[index]) if index >= 0 else self._ledger.cash


class _Desk(Protocol):
    """The engine, as far as the view needs it."""

    now: int
    orders: dict[str, Order]


class LiveFacts(Protocol):
    """What a check may know of a paper or live run besides books and prices; a backtest has none of it."""

    def standing(self) -> Standing:
        """Return how journal, disk, clock and account stand."""

    def trading_state(self, strategy: str, symbol: str) -> str:
        """Return the strictest state that holds there."""

    def is_ready(self, symbol: str) -> bool:
        """Return whether the symbol's connector is connected and reconciled."""

    def last_quote(self, symbol: str) -> Quote | None:
        """Return the last quote; None where there is none."""


class View:
    """What risk checks and sizers may look at; see `herald.contracts.RiskView`."""

    def __init__(
        self,
        ledger: Ledger,
        market: Market,
        instruments: Mapping[str, Instrument],
        account: Callable[[], Account],
        track: EquityTrack,
    ) -> None:
        """Look at these; none is changed."""
        self.desk: _Desk | None = None
        self.live: LiveFacts | None = None
        self.sent: list[int] = []
        self.changed: list[int] = []
        self.went: list[str] = []
        self._fills: list[Fill] = []
        self._fill_marks: list[int] = []
        self._trade_marks: list[int] = []
        self._past_equity = 0, 0.0
        self._peak = -1, 0.0
        self._is_held = False
        self._held_account: Account | None = None
        self._held_working: Sequence[Order] | None = None
        self._held_entries: Sequence[Order] | None = None
        self._held_positions: Sequence[tuple[str, Position]] | None = None
        self._ledger = ledger
        self._market = market
        self._instruments = instruments
        self._account = account
        self._track = track
        self.price = market.price
        self.price_time = market.price_time
        self.rate = market.rate

    def remember(self, sent: Mapping[str, int], orders: dict[str, Order], changed: Sequence[int] = ()) -> None:
        """Take over what earlier runs sent, before this one sends anything.

        Args:
            sent: When the request of an order went out, by id, oldest first, nanoseconds UTC.
            orders: Those of the engine, which are of earlier runs all of them.
            changed: When changes and withdrawals went out, oldest first, nanoseconds UTC.
        """
        self.changed.extend(accumulate(changed, max))
        known = {name: time for name, time in sent.items() if name in orders}
        self.sent.extend(accumulate(known.values(), max))
        self.went.extend(known)

    def hold(self) -> None:
        """Answer from one look until `release`: while a gate is asked, nothing changes."""
        self._is_held = True
        self._held_account = self._held_working = self._held_positions = self._held_entries = None

    def release(self) -> None:
        """Look anew for every question."""
        self._is_held = False

    @property
    def now(self) -> int:
        """The time of the event being handled, nanoseconds UTC."""
        return 0 if self.desk is None else self.desk.now

    @property
    def account(self) -> Account:
        """The account, valued at the last prices."""
        if not self._is_held:
            return self._account()
        if self._held_account is None:
            self._held_account = self._account()
        return self._held_account

    def instrument(self, symbol: str) -> Instrument:
        """Return the terms of *symbol*."""
        return self._instruments[symbol]

    def position(self, strategy: str, symbol: str) -> Position:
        """Return what one strategy holds of one symbol."""
        return self._ledger.books[strategy, symbol].position

    def positions(self) -> Sequence[tuple[str, Position]]:
        """Return (strategy, position) of every open book, in config order."""
        if self._is_held and self._held_positions is not None:
            return self._held_positions
        found = [(book.strategy, book.position) for book in self._ledger.open_books()]
        self._held_positions = found
        return found

    def working(self, strategy: str | None = None, symbol: str | None = None) -> Sequence[Order]:
        """Return working orders, oldest first within a book."""
        if strategy is not None and symbol is not None:
            one = self._ledger.books.get((strategy, symbol))
            return list(one.working.values()) if one is not None and one.working else []
        if strategy is None and symbol is None:
            if self._is_held and self._held_working is not None:
                return self._held_working
            found = [order for book in self._ledger.books.values() if book.working for order in book.working.values()]
            self._held_working = found
            return found
        return [
            order
            for book in self._ledger.books.values()
            if book.working and (strategy is None or book.strategy == strategy) and (symbol is None or book.symbol == symbol)
            for order in book.working.values()
        ]

    def entries(self) -> Sequence[Order]:
        """Return the working orders that may open or add to a position."""
        if self._is_held and self._held_entries is not None:
            return self._held_entries
        found = [order for order in self.working() if not (order.request.reduce_only or order.request.parent)]
        self._held_entries = found
        return found

    def notional(self, symbol: str, size: float) -> float:
        """Return the value of *size* lots (signed) at the last price, account currency."""
        return size * self._instruments[symbol].contract_size * self._market.price(symbol) * self._market.rate(symbol)

    def history(self, symbol: str, n: int) -> BarSeries:
        """Return up to *n* last bars of the symbol's finest series."""
        return self._market.feeds[symbol].series(n)

    def orders_since(self, time: int) -> int:
        """Return how many requests went out at or after *time*."""
        return len(self.sent) - bisect_left(self.sent, time)

    def messages_since(self, time: int) -> int:
        """Return how many requests, changes and withdrawals went out at or after *time*."""
        changed = self.changed
        return len(self.sent) - bisect_left(self.sent, time) + len(changed) - bisect_left(changed, time)

    @property
    def standing(self) -> Standing:
        """How the run stands; in a backtest as it should."""
        return _FINE if self.live is None else self.live.standing()

    def trading_state(self, strategy: str, symbol: str) -> str:
        """Return the strictest state that holds for the account, the strategy and the symbol."""
        return "ACTIVE" if self.live is None else self.live.trading_state(strategy, symbol)

    def is_ready(self, symbol: str) -> bool:
        """Return whether the symbol's connector is connected and reconciled."""
        return True if self.live is None else self.live.is_ready(symbol)

    def last_quote(self, symbol: str) -> Quote | None:
        """Return the last quote; None where the symbol has only bars."""
        return None if self.live is None else self.live.last_quote(symbol)

    def requests_since(self, time: int) -> Sequence[tuple[int, OrderRequest]]:
        """Return (time, request) of every order that went out at or after *time*, oldest first."""
        sent = self.sent
        if self.desk is None or not sent or sent[-1] < time:
            return []
        orders = self.desk.orders
        first = bisect_left(sent, time)
        return [(at, orders[name].request) for at, name in zip(sent[first:], self.went[first:], strict=True)]

    def fills_since(self, time: int) -> Sequence[Fill]:
        """Return the executions at or after *time*, oldest first, and those that became known later than one of them."""
        fills, marks = self._fills, self._fill_marks
        fresh = len(self._ledger.fills) - len(fills)
        if fresh:
            for fill in reversed(list(islice(reversed(self._ledger.fills.values()), fresh))):
                fills.append(fill)
                marks.append(max(fill.time, marks[-1]) if marks else fill.time)
        return fills[bisect_left(marks, time) :]

    def trades_since(self, time: int) -> Sequence[Trade]:
        """Return the round trips closed at or after *time*, oldest first, and those that became known later than one of them."""
        trades, marks = self._ledger.trades, self._trade_marks
        for trade in trades[len(marks) :] if len(trades) > len(marks) else ():
            marks.append(max(trade.exit_time, marks[-1]) if marks else trade.exit_time)
        return trades[bisect_left(marks, time) :]

    def equity_peak(self) -> float:
        """Return the highest equity so far."""
        known, peak = self._peak
        now = self.now
        if known != now:  # a moment that is complete is worth what it was worth
            peak = self._track.peak()
            self._peak = now, peak
        return peak

    def equity_at(self, time: int) -> float:
        """Return the equity at the last moment at or before *time*."""
        if time >= self.now:
            return self._track.at(time)
        known, equity = self._past_equity
        if known != time:  # what is past does not change any more
            equity = self._track.at(time)
            self._past_equity = time, equity
        return equity

    def reduces(self, request: OrderRequest) -> bool:
        """Return whether *request* can only make the book's position smaller."""
        book = self._ledger.books[request.strategy, request.symbol]
        if request.reduce_only:
            return True
        held = book.size
        if held * request.side >= 0 or request.size > abs(held):
            return False
        # What other orders will close already must not be counted twice.
        closing = sum(
            o.remaining
            for o in book.working.values()
            if o.request.side is request.side and not o.request.parent and o.request.id != request.id
        )
        return request.size + closing <= abs(book.size)


class _Ask(Protocol):
    def __call__(self, request: OrderRequest, may_reduce: bool) -> Denial | None: ...


class Gate:
    """Asks every check in config order; the first refusal stands, and a check that fails refuses.

    Attributes:
        checks: (instance name, the bound ``check``, whether it exempts reductions), in order.
        usages: The bound ``usage`` of every check that can say how much of its limit is used.
        exempts: Whether any of them exempts reductions.
        ask: Takes a request and whether it may reduce a position (False where it surely adds to one); returns why it is
            refused, or None.
    """

    def __init__(self, checks: Sequence[tuple[str, RiskCheck]], view: View) -> None:
        """Take the checks with their instance names."""
        self.checks = tuple((name, check.check, check.exempts_reductions) for name, check in checks)
        self.usages = tuple(check.usage for _, check in checks if isinstance(check, Limit))
        self.exempts = any(exempts for _, _, exempts in self.checks)
        self._view = view
        self.ask: _Ask = self._ask_each if len(self.checks) < _MANY else self._ask_held

    def _ask_held(self, request: OrderRequest, may_reduce: bool) -> Denial | None:
        """Ask many checks, which would look at the same things again and again."""
        self._view.hold()
        try:
            return self._ask_each(request, may_reduce)
        finally:
            self._view.release()

    def _ask_each(self, request: OrderRequest, may_reduce: bool) -> Denial | None:
        view = self._view
        reduces = may_reduce and view.reduces(request)
        for name, check, exempts in self.checks:
            if reduces and exempts:
                continue
            try:
                denial = check(request, view)
            except (Exception, SystemExit) as error:  # fail closed: a broken check must not let an order through
                return Denial("check_failed", f"{name} raised {type(error).__name__}: {error}")
            if denial is not None:
                return denial
        return None
