"""Checks of whether a request can be meant: the instrument and its hours, its terms, its prices, and what reduce-only says."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from herald.clock import MINUTE, SECOND, format_time, parse_time
from herald.components import Services, Settings
from herald.contracts import Denial, RiskView
from herald.model import Instrument, OrderRequest, OrderType, Side, TimeInForce
from herald.model.instrument import TradeMode, week_windows

__all__ = [
    "ReduceOnly",
    "ReduceOnlySettings",
    "StalePrice",
    "StalePriceSettings",
    "Tradable",
    "TradableSettings",
    "ValidTerms",
    "ValidTermsSettings",
]

_FULL, _BUY = TradeMode.FULL, Side.BUY
_MARKET, _LIMIT, _STOP = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_THURSDAY = 3 * 24 * 60
"""1970-01-01 was a Thursday: minutes since the Monday before."""
_WEEK = 7 * 24 * 60
_QUARTER = 15 * MINUTE
"""Clocks change at full quarters of an hour in every zone of the IANA data since 1972."""
_DATED = re.compile(r"(\d{4}-\d\d-\d\d(?:T\S+)?)/(\d{4}-\d\d-\d\d(?:T\S+)?)")
_DUST = 1e-4
"""Steps by which a number may miss its grid: 1e10 steps in a double are exact to 1e-6."""


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}; write an IANA name, such as UTC or America/New_York") from error


class _WeekClock:
    """Tells the minute of the week on the clocks of a zone; finding their offset is slow, so it is kept for a quarter hour."""

    def __init__(self, zone: str) -> None:
        self._zone = None if zone == "UTC" else _zone(zone)
        self._quarter = -1
        self._offset = 0

    def minute(self, now: int) -> int:
        """Return minutes since Monday 00:00."""
        if self._zone is not None and now // _QUARTER != self._quarter:
            self._quarter = now // _QUARTER
            moment = (_EPOCH + timedelta(seconds=now // SECOND)).astimezone(self._zone)
            self._offset = round((moment.utcoffset() or timedelta()).total_seconds()) // 60
        return (now // MINUTE + self._offset + _THURSDAY) % _WEEK


def _dated(text: str, zone: str) -> tuple[int, int] | None:
    """Return (start, end) of one window with dates, nanoseconds UTC; None where *text* has another form."""
    match = _DATED.fullmatch(text)
    if match is None:
        return None
    try:
        times = [datetime.fromisoformat(match[part]) for part in (1, 2)]
    except ValueError as error:
        raise ValueError(f"{text!r} is no window: {error}; write 2024-03-08T13:25/2024-03-08T13:40") from None
    place = _zone(zone)
    start, end = (parse_time((time if time.tzinfo else time.replace(tzinfo=place)).isoformat()) for time in times)
    if start >= end:
        raise ValueError(f"{text!r} ends before it begins; write the earlier time first")
    return start, end


class TradableSettings(Settings):
    """Settings of `Tradable`."""

    blackout: tuple[str, ...] = ()
    """Times without entries: ``22:55-23:10`` (every day), ``Fri 20:00-Sun 24:00`` or ``2024-03-08T13:25/2024-03-08T13:40``."""
    zone: str = "UTC"
    """IANA name of the zone whose clocks *blackout* follows, such as ``America/New_York``."""

    @field_validator("zone")
    @classmethod
    def _known(cls, name: str) -> str:
        _zone(name)
        return name

    @model_validator(mode="after")
    def _has_windows(self) -> Self:
        week_windows(text for text in self.blackout if _dated(text, self.zone) is None)
        return self


class Tradable:
    """Refuses what cannot be traded at all or now: unknown symbols, closed markets, hours that the user leaves out."""

    exempts_reductions = False

    def __init__(self, settings: TradableSettings, services: Services) -> None:
        """Keep the windows."""
        dated = [(text, _dated(text, settings.zone)) for text in settings.blackout]
        self._dates = tuple(window for _, window in dated if window is not None)
        self._weekly = week_windows(text for text, window in dated if window is None)
        self._clock = _WeekClock(settings.zone)
        self._zone = settings.zone
        self._hours: dict[tuple[tuple[str, ...], str], tuple[tuple[tuple[int, int], ...], _WeekClock]] = {}

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the instrument is unknown or closed; reductions pass hours and blackouts."""
        symbol = request.symbol
        try:
            instrument = view.instrument(symbol)
        except KeyError:
            return Denial("tradable", f"no terms of {symbol!r} are known; state them in [instruments.{symbol}]")
        if instrument.trade_mode is not _FULL:
            refusal = self._mode(request, instrument, view)
            if refusal is not None:
                return refusal
        if not (instrument.sessions or self._weekly or self._dates):
            return None
        now = view.now
        text = self._closed(instrument, now) if instrument.sessions else ""
        text = text or self._blacked_out(symbol, now)
        return Denial("tradable", text) if text and not view.reduces(request) else None

    def _mode(self, request: OrderRequest, instrument: Instrument, view: RiskView) -> Denial | None:
        mode = instrument.trade_mode
        opens = TradeMode.LONG_ONLY if request.side is _BUY else TradeMode.SHORT_ONLY
        if mode is opens or (mode is not TradeMode.DISABLED and view.reduces(request)):
            return None
        return Denial("tradable", f"the broker takes no {request.side.name} order in {request.symbol}: its mode is {mode}")

    def _closed(self, instrument: Instrument, now: int) -> str:
        key = instrument.sessions, instrument.session_zone
        known = self._hours.get(key)
        if known is None:
            known = self._hours[key] = week_windows(instrument.sessions), _WeekClock(instrument.session_zone)
        windows, clock = known
        minute = clock.minute(now)
        for start, end in windows:
            if start <= minute < end:
                return ""
        hours = ", ".join(instrument.sessions)
        return f"{instrument.symbol} is closed at {format_time(now)}; its hours are {hours} {instrument.session_zone}"

    def _blacked_out(self, symbol: str, now: int) -> str:
        for start, end in self._dates:
            if start <= now < end:
                return f"{format_time(now)} is in the blackout {format_time(start)}/{format_time(end)}; no entry in {symbol}"
        if self._weekly:
            minute = self._clock.minute(now)
            for start, end in self._weekly:
                if start <= minute < end:
                    window = f"{_spelt(start)}-{_spelt(end)} {self._zone}"
                    return f"{format_time(now)} is in the blackout {window}; no entry in {symbol}"
        return ""


def _spelt(minute: int) -> str:
    day, rest = divmod(minute, 24 * 60)
    if day == 7:
        return "Sun 24:00"
    return f"{('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')[day]} {rest // 60:02d}:{rest % 60:02d}"


class ValidTermsSettings(Settings):
    """Settings of `ValidTerms`: none; the instrument states the limits."""


class ValidTerms:
    """Refuses what the broker cannot accept: sizes and prices off their steps or bounds, levels too near to the market."""

    exempts_reductions = False

    def __init__(self, settings: ValidTermsSettings, services: Services) -> None:
        """There is nothing to keep."""

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial that names the first term that is wrong."""
        instrument = view.instrument(request.symbol)
        text = self._size(request, instrument, view)
        if not text and not (request.type is _MARKET and request.stop_loss is None and request.take_profit is None):
            text = self._prices(request, instrument, view)
        if (
            not text
            and request.time_in_force is TimeInForce.GTD
            and not (request.expires is not None and request.expires > view.now)
        ):
            ends = "nothing" if request.expires is None else format_time(request.expires)
            text = f"the order works until {ends}, and now is {format_time(view.now)}"
        return Denial("valid_terms", text) if text else None

    def _size(self, request: OrderRequest, instrument: Instrument, view: RiskView) -> str:
        size, step = request.size, instrument.size_step
        if not 0 < size < math.inf:
            return f"size {size!r} of {request.symbol} is not a positive number; the smallest is {instrument.min_size:g} lots"
        if size > instrument.max_size and not view.reduces(request):  # a position that outgrew it is closed by several orders
            return f"size {size:.10g} of {request.symbol} is above the largest order, {instrument.max_size:.10g} lots"
        if size < instrument.min_size:
            held = view.position(request.strategy, request.symbol).size
            # What is left of a position may be closed, however small.
            if not (size == abs(held) and held * request.side < 0):
                return f"size {size:.10g} of {request.symbol} is below the smallest order, {instrument.min_size:.10g} lots"
        steps = size / step
        if abs(steps - round(steps)) > _DUST:
            return f"size {size:.10g} of {request.symbol} is no whole number of steps of {step:.10g} lots"
        return ""

    def _prices(self, request: OrderRequest, instrument: Instrument, view: RiskView) -> str:
        limit, stop, step = request.limit, request.stop, instrument.price_step
        kind = request.type
        if (limit is None) is not (kind is _MARKET or kind is _STOP) or (stop is None) is not (kind is _MARKET or kind is _LIMIT):
            return f"a {kind} order has limit {limit!r} and stop {stop!r}"
        for name, price in (
            ("limit", limit),
            ("stop", stop),
            ("stop_loss", request.stop_loss),
            ("take_profit", request.take_profit),
        ):
            if price is None:
                continue
            if not 0 < price < math.inf:
                return f"{name} {price!r} of {request.symbol} is not a price; the smallest is {step:.10g}"
            steps = price / step
            if abs(steps - round(steps)) > _DUST:
                return f"{name} {price:.12g} of {request.symbol} is no whole number of steps of {step:.10g}"
        if instrument.stops_level or instrument.freeze_level:
            return self._distances(request, instrument, view)
        return ""

    def _distances(self, request: OrderRequest, instrument: Instrument, view: RiskView) -> str:
        """Return which price is too near to the market, or to the pending price it protects."""
        symbol, side, step = request.symbol, request.side, instrument.price_step
        quote = view.last_quote(symbol)
        bid, ask = (view.price(symbol),) * 2 if quote is None else (quote.bid, quote.ask)
        opening, closing = (ask, bid) if side is _BUY else (bid, ask)
        pending = request.stop if request.stop is not None else request.limit
        base = closing if pending is None else pending
        least = instrument.stops_level
        prices = (("stop_loss", request.stop_loss, base), ("take_profit", request.take_profit, base))
        for name, price, market in (("stop" if request.stop is not None else "limit", pending, opening), *prices):
            if price is not None and least and not abs(price - market) / step >= least - _DUST:
                far = abs(price - market) / step
                return f"{name} {price:.10g} is {far:.10g} price steps from {market:.10g} of {symbol}; the least is {least:g}"
        if instrument.freeze_level:
            for order in view.working(request.strategy, symbol):
                old = order.request
                price = old.stop if old.stop is not None else old.limit
                if old.id == request.id and price is not None:
                    far = abs(price - opening) / step
                    if not far > instrument.freeze_level + _DUST:
                        what = f"order {old.id} at {price:.10g} is {far:.10g} price steps from the market"
                        return f"{what}; it is frozen within {instrument.freeze_level:g}"
        return ""


class StalePriceSettings(Settings):
    """Settings of `StalePrice`."""

    max_age_seconds: float = Field(5.0, gt=0)
    """Oldest price on which an entry may be sent, seconds; where a symbol has only bars, how late its next bar may be."""
    max_spread_fraction: float = Field(0.01, gt=0)
    """Widest spread that can be meant, as a fraction of the price."""
    max_spread_points: float | None = Field(None, gt=0)
    """The same in price steps."""


class StalePrice:
    """Refuses entries on a price that is old, or that cannot be one: the bid above the ask, or an absurd spread."""

    exempts_reductions = True

    def __init__(self, settings: StalePriceSettings, services: Services) -> None:
        """Keep the limits."""
        self._age = round(settings.max_age_seconds * SECOND)
        self._fraction = settings.max_spread_fraction
        self._points = settings.max_spread_points

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the last price of the symbol is no ground for a decision."""
        symbol = request.symbol
        known = view.price_time(symbol)
        if not known:
            return Denial("stale_price", f"{symbol} has no price yet; the limit of its age is {self._age / SECOND:g} s")
        age = view.now - known
        quote = view.last_quote(symbol)
        if age > self._age:
            allowed = self._age
            if quote is None:  # a bar is news until the next one is overdue
                bars = view.history(symbol, 1)
                allowed += bars.span if len(bars) else 0
            if age > allowed:
                limit = f"the limit is {allowed / SECOND:g} s"
                return Denial("stale_price", f"the last price of {symbol} is {age / SECOND:g} s old; {limit}")
        if quote is None:
            return None
        bid, spread = quote.bid, quote.ask - quote.bid
        if not spread >= 0:
            return Denial("stale_price", f"the bid {bid:.10g} of {symbol} is above the ask {quote.ask:.10g}")
        if not spread <= self._fraction * bid:
            text = f"the spread {spread:.10g} of {symbol} is more than {self._fraction:g} of the bid {bid:.10g}"
            return Denial("stale_price", text)
        if self._points is not None:
            points = spread / view.instrument(symbol).price_step
            if not points <= self._points + _DUST:
                return Denial(
                    "stale_price", f"the spread of {symbol} is {points:.10g} price steps; the limit is {self._points:g}"
                )
        return None


class ReduceOnlySettings(Settings):
    """Settings of `ReduceOnly`: none."""


class ReduceOnly:
    """Refuses reduce-only requests that would open, add to or turn a position, alone or with one that is on its way."""

    exempts_reductions = False

    def __init__(self, settings: ReduceOnlySettings, services: Services) -> None:
        """There is nothing to keep."""

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where a reduce-only request is larger than what there is to reduce."""
        if not request.reduce_only:
            return None
        strategy, symbol, side = request.strategy, request.symbol, request.side
        held = view.position(strategy, symbol).size
        # A resting exit fills at another time and is cut to what is left then; a market order is about to fill.
        closing = sum(
            order.remaining
            for order in view.working(strategy, symbol)
            if order.request.type is _MARKET and order.request.side is side and order.request.id != request.id
        )
        if request.size <= -side * held - closing + 1e-9:
            return None
        way = f" and {closing:.10g} are being closed" if closing else ""
        text = (
            f"the reduce-only {side.name} of {request.size:.10g} lots of {symbol} would turn the {held:.10g} that are held{way}"
        )
        return Denial("reduce_only", text)
