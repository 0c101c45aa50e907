"""Interest on what is held overnight: what a night costs, when it ends, and which books pay for it.

The rules are those of MetaTrader 5, and live here alone: the simulator charges by them, and so does the simulated terminal.
A position gathers interest at every midnight of the server; it is paid with the part that closes. The nights behind Saturday
and Sunday cost nothing, one day of the week counts three times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from herald.clock import SECOND
from herald.engine.book import Book, Ledger
from herald.errors import ConfigError, Problem
from herald.model import AccountMode, Instrument
from herald.model.instrument import SwapMode, server_zone
from herald.simulator.margin import Marks

__all__ = ["Swaps", "counts", "interest", "states_swap"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_DAYS = 360
"""Of a bank: what a yearly rate is divided by (MQL5, ``ENUM_SYMBOL_SWAP_MODE``)."""
_MOVES = frozenset({SwapMode.POINTS, SwapMode.REOPEN_CLOSE, SwapMode.REOPEN_BID})
"""A position that is closed and opened again, moved by so many steps, is worth what one is that pays them."""


def states_swap(instrument: Instrument) -> bool:
    """Return whether holding *instrument* overnight costs or brings anything."""
    return instrument.swap_mode is not SwapMode.NONE and bool(instrument.swap_long or instrument.swap_short)


def counts(weekday: int, triple: int) -> int:
    """Return how many nights the one behind *weekday* counts.

    Args:
        weekday: Day of the server that ends with it, 0 for Monday.
        triple: Day whose night counts three times, the same.
    """
    if weekday >= 5:
        return 0
    return 3 if weekday == triple else 1


def interest(
    mode: SwapMode,
    terms: float,
    lots: float,
    *,
    step: float,
    contract: float,
    entry: float,
    price: float,
    rate: float,
    base_rate: float,
) -> float:
    """Return what *lots* bring in one night, account currency; negative where they cost.

    Args:
        mode: Unit of *terms*.
        terms: Interest on one lot and night.
        lots: What is held; negative for a part that spares others theirs.
        step: Smallest change of the price, quote currency per unit.
        contract: Units in a lot.
        entry: Mean entry price, quote currency per unit.
        price: Price when the night ends, the same.
        rate: Account currency per unit of quote currency.
        base_rate: Account currency per unit of base currency.

    Source:
        MetaTrader 5 Help, "Contract Specification"; MQL5 reference, ``ENUM_SYMBOL_SWAP_MODE``.
    """
    if mode is SwapMode.NONE:
        return 0.0
    if mode is SwapMode.ACCOUNT:
        amount = terms * lots
    elif mode is SwapMode.BASE:
        amount = terms * lots * base_rate
    elif mode in _MOVES:
        amount = terms * step * contract * lots * rate
    else:
        worth = price if mode is SwapMode.INTEREST_CURRENT else entry
        amount = terms / 100 / _YEAR_DAYS * worth * contract * lots * rate
    return round(amount, 10)


class _Server:
    """The days of a server's clock, as ordinals of the calendar."""

    def __init__(self, text: str) -> None:
        self._zone, ahead = server_zone(text)
        self._ahead = timedelta(seconds=ahead)

    def day(self, moment: int) -> int:
        """Return which day the server shows at *moment*, nanoseconds UTC."""
        shown = datetime.fromtimestamp(moment // SECOND, UTC).astimezone(self._zone).replace(tzinfo=None) + self._ahead
        return shown.toordinal()

    def begin(self, day: int) -> int:
        """Return when *day* begins there, nanoseconds UTC."""
        since = (datetime.fromordinal(day) - self._ahead).replace(tzinfo=self._zone) - _EPOCH
        return (since.days * 86_400 + since.seconds) * SECOND


class _Nights:
    """The nights of one symbol, and the next of them."""

    __slots__ = ("converts", "day", "due", "instrument", "server", "triple")

    def __init__(self, instrument: Instrument, currency: str) -> None:
        self.instrument = instrument
        self.server = _Server(instrument.swap_zone)
        self.triple = _DAYS.index(instrument.triple_swap_day)
        self.day = 0
        self.due = 0  # not known before the first look
        mode, base, quote = instrument.swap_mode, instrument.base, instrument.quote
        if mode is SwapMode.BASE:
            self.converts = base != currency
        else:  # prices are looked up only where an amount depends on one
            self.converts = mode is SwapMode.INTEREST_CURRENT or (mode is not SwapMode.ACCOUNT and quote != currency)
        if mode is SwapMode.MARGIN or (mode is SwapMode.BASE and not instrument.base):
            lacks = "its margin's currency" if mode is SwapMode.MARGIN else "its base currency"
            what = f"the swap of {instrument.symbol} is stated in {lacks}, which is not known"
            hint = 'state base with swap_mode = "base", or amounts with swap_mode = "account"; "none" charges nothing'
            raise ConfigError("instruments", [Problem(f"instruments.{instrument.symbol}.swap_mode", what, hint)])

    def begin(self, moment: int) -> None:
        """Let the next night be the first that ends after *moment*."""
        self.day = self.server.day(moment) + 1
        self.due = self.server.begin(self.day)


class Swaps:
    """Charges every position of a ledger for its nights.

    A night counts for what is held when it ends, at the price known then. On a hedging account every book pays for itself. On a
    netting account there is one position a symbol: what it costs is shared by the books, by their lots and with their signs, so
    that a book against the others gets what it spares them.
    """

    def __init__(
        self,
        ledger: Ledger,
        marks: Marks,
        instruments: Iterable[Instrument],
        currency: str,
        mode: AccountMode,
        on_charge: Callable[[], None] | None = None,
    ) -> None:
        """Start before the first night.

        Args:
            ledger: Whose books are charged.
            marks: Prices and rates when a night ended.
            instruments: Terms of the symbols that are traded; those without a swap cost nothing, here neither.
            currency: Of the account.
            mode: Netting or hedging.
            on_charge: Told that something was charged.

        Raises:
            ConfigError: A swap is stated in a currency that is not known.
        """
        self._ledger = ledger
        self._marks = marks
        self._currency = currency
        self._nets = mode is AccountMode.NETTING
        self._on_charge = on_charge
        self._nights = {one.symbol: _Nights(one, currency) for one in instruments if states_swap(one)}

    def __bool__(self) -> bool:
        """Return whether anything costs or brings a swap at all."""
        return bool(self._nights)

    def due(self, symbol: str) -> int:
        """Return when the next night of *symbol* ends, nanoseconds UTC; 0 while nobody has looked, or it has no swap."""
        nights = self._nights.get(symbol)
        return 0 if nights is None else nights.due

    def resume(self, symbol: str, due: int) -> None:
        """Let the next night of *symbol* be the one that ends at *due*, nanoseconds UTC."""
        nights = self._nights.get(symbol)
        if nights is not None:
            nights.begin(due - 1)

    def settle(self, symbol: str, until: int, now: int) -> None:
        """Charge the nights of *symbol* that ended at or before *until*; *now* is when that is noticed, nanoseconds UTC.

        It is noticed with the first price behind the night, however much later somebody asks.
        """
        nights = self._nights.get(symbol)
        if nights is None or until < nights.due:
            return
        books = [book for book in self._ledger.open_books() if book.symbol == symbol]
        if not books or not nights.due:
            nights.begin(until)
            return
        while nights.due <= until:
            weight = counts((nights.day + 5) % 7, nights.triple)  # of the day before; ordinal 1 is a Monday
            if weight:
                self._charge(nights, books, weight, self._marks.first_time(symbol, nights.due) or now)
            nights.day += 1
            nights.due = nights.server.begin(nights.day)
        if self._on_charge is not None:
            self._on_charge()

    def catch_up(self) -> None:
        """Charge every symbol up to its last known price."""
        for symbol in self._nights:
            known = self._marks.price_time(symbol)
            self.settle(symbol, known, known)

    def _charge(self, nights: _Nights, books: Iterable[Book], weight: int, noticed: int) -> None:
        """Charge one night, which counts *weight* times."""
        instrument = nights.instrument
        price, rate = self._marks.known_at(instrument.symbol, nights.due) if nights.converts else (math.nan, 1.0)
        base, quote = instrument.base, instrument.quote
        base_rate = 1.0 if base == self._currency else rate if base == quote else price * rate
        net = round(sum(book.size for book in books), 10) if self._nets else 0.0
        for book in books:
            held = net if self._nets else book.size
            if held == 0:
                continue
            terms = instrument.swap_long if held > 0 else instrument.swap_short
            amount = interest(
                instrument.swap_mode, terms, book.size if held > 0 else -book.size, step=instrument.price_step,
                contract=book.contract, entry=book.average_price, price=price, rate=rate, base_rate=base_rate,
            )  # fmt: skip
            self._ledger.charge(book, weight * amount, noticed)
