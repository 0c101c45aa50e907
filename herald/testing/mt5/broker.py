"""The broker behind a simulated terminal: one account, its book, and what each request comes to.

Orders, positions, protection, margin and money are those of the simulated broker (`herald.testing.simbroker`), which has the
rules of hedging and netting accounts; here stand the words of MetaTrader 5 for them, and what only its servers do: return codes,
filling policies, levels, sessions, swaps, stop-outs, and times on the server's clock.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from herald.clock import DAY, HOUR, MINUTE, SECOND, WallClock
from herald.model.instrument import SwapMode
from herald.simulator.swap import counts, interest
from herald.testing.mt5.names import RATES, TICKS
from herald.testing.mt5.options import Options, Symbol
from herald.testing.simbroker.book import Book, Deal, Entry, Holding, State
from herald.testing.simbroker.exchange import Exchange, Refusal, Wanted
from herald.testing.simbroker.prices import Tick
from herald.testing.simbroker.terms import Symbol as BrokerSymbol
from herald.testing.simbroker.terms import Terms
from herald.utils.file_lock import FileLock

__all__ = ["TEXTS", "Broker", "Refused", "span_of"]

_DUST = 1e-9
_BUY, _SELL = 0, 1
_SWAP_MODES = tuple(SwapMode)
"""By number: the words stand in the order of ``ENUM_SYMBOL_SWAP_MODE``."""
_IN_BASE = frozenset({SwapMode.BASE, SwapMode.MARGIN})
_FOREVER = 2**62
REFUSALS = {
    "bad_size": 10014,
    "bad_price": 10015,
    "bad_stops": 10016,
    "no_money": 10019,
    "unknown_position": 10036,
    "nothing_to_reduce": 10036,
    "unknown_order": 10035,
    "not_working": 10035,
    "bad_expiry": 10022,
    "bad_close_by": 10013,
}
TEXTS = {
    10004: "Requote",
    10006: "Rejected",
    10008: "Request placed",
    10009: "Request executed",
    10010: "Request executed partially",
    10012: "Request timed out",
    10013: "Invalid request",
    10014: "Invalid volume",
    10015: "Invalid price",
    10016: "Invalid stops",
    10017: "Trade disabled",
    10018: "Market closed",
    10019: "No money",
    10020: "Prices changed",
    10021: "No prices",
    10022: "Invalid expiration",
    10024: "Too many trade requests",
    10025: "No changes",
    10026: "AutoTrading disabled by server",
    10027: "AutoTrading disabled by client",
    10029: "Order or position frozen",
    10030: "Unsupported filling mode",
    10031: "No connection",
    10033: "Orders limit reached",
    10034: "Volume limit reached",
    10035: "Invalid order",
    10036: "Position doesn't exist",
    10038: "Invalid close volume",
    10042: "Only long positions allowed",
    10043: "Only short positions allowed",
    10044: "Only position closing allowed",
    10045: "Position closing is allowed only by FIFO rule",
}
_HOURS = {1: 60, 2: 120, 3: 180, 4: 240, 6: 360, 8: 480, 12: 720, 24: 1_440}


def span_of(timeframe: int) -> int | None:
    """Return the length of ``TIMEFRAME_*`` in minutes; None for a number that is none."""
    if timeframe in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30):
        return timeframe
    if timeframe & 0xC000 == 0x4000:
        return _HOURS.get(timeframe & 0x3FFF)
    return {32769: 10_080, 49153: 43_200}.get(timeframe)


class Refused(Exception):
    """The server says no.

    Attributes:
        retcode: ``TRADE_RETCODE_*``.
    """

    def __init__(self, retcode: int, text: str = "") -> None:
        """Keep the code, with the server's words unless *text* has better ones."""
        super().__init__(text or TEXTS.get(retcode, f"Retcode {retcode}"))
        self.retcode = retcode


class _Note(msgspec.Struct, frozen=True, array_like=True):
    """What an order carries besides its terms; it travels as the tag of the book."""

    magic: int = 0
    comment: str = ""
    reason: int = 3
    filling: int = 0
    stamp: str = ""


def _note(tag: str) -> _Note:
    return msgspec.json.decode(tag, type=_Note) if tag else _Note()


class Broker:
    """The account and the market; every question first lets time do what it does.

    Attributes:
        options: What was configured.
        selected: Since when a symbol is in the Market Watch, nanoseconds UTC, by name.
    """

    def __init__(self, options: Options) -> None:
        """Open the book, or begin one."""
        self.options = options
        self._wall = WallClock()
        self._began = self._wall.monotonic()
        self._start = self._wall.now() if options.start is None else round(options.start * SECOND)
        mode: Literal["hedging", "netting"] = "hedging" if options.margin_mode == "hedging" else "netting"
        terms = Terms(
            token="x" * 16,
            control_token="y" * 16,
            account=str(options.login),
            server=options.server,
            real=options.trade_mode == 2,
            currency=options.currency,
            mode=mode,
            balance=options.balance,
            leverage=float(options.leverage),
            commission=options.commission,
            tag_length=400,
            seed=options.seed,
            tick_seconds=options.tick_seconds,
            history_days=options.history_days,
            symbols=tuple(
                BrokerSymbol(
                    symbol=one.name,
                    base=one.currency_base,
                    quote=one.currency_profit,
                    price=one.price,
                    digits=one.digits,
                    contract_size=one.trade_contract_size,
                    size_step=one.volume_step,
                    max_size=one.volume_max,
                    volatility=one.volatility,
                    spread_points=one.spread,
                )
                for one in options.symbols
            ),
        )
        now = self.now()
        origin = now - round(options.history_days * DAY)
        fresh = State(id=f"mt5-{options.login}", start=options.balance, balance=options.balance, origin=origin, mode=mode)
        if options.book:
            # The terminal before this one may be dying still: what it does must be in the book before this one reads it.
            self._lock = FileLock(Path(options.book + ".lock"))
            self._lock.acquire(WallClock(), 10.0)
        self.book = Book(Path(options.book) if options.book else ":memory:", fresh)
        self.exchange = Exchange(terms, self.book)
        self.symbols = {one.name: one for one in options.symbols}
        self.selected = {one.name: origin for one in options.symbols if one.selected}
        self._zone = ZoneInfo("America/New_York" if options.server_zone == "ny+7" else options.server_zone)
        self._ahead = 7 * HOUR if options.server_zone == "ny+7" else 0
        with self.book.transaction():
            self.exchange.recover(now)
        if self.book.get("rolled") is None:
            self.book.put("rolled", self._day(now))

    # --- time -------------------------------------------------------------------------------------

    def now(self) -> int:
        """Return the time, nanoseconds UTC."""
        if self.options.start is None and self.options.time_scale == 1.0:
            return self._wall.now()
        return self._start + round((self._wall.monotonic() - self._began) * self.options.time_scale * SECOND)

    def offset(self, moment: int) -> int:
        """Return how far the server's clock is ahead of UTC at *moment*, nanoseconds."""
        shown = datetime.fromtimestamp(moment // SECOND, UTC).astimezone(self._zone).utcoffset()
        assert shown is not None
        return round(shown.total_seconds()) * SECOND + self._ahead

    def shown(self, moment: int) -> int:
        """Return *moment* as the server's clock shows it, nanoseconds as if that were UTC."""
        return moment + self.offset(moment)

    def meant(self, shown: int) -> int:
        """Return the moment, nanoseconds UTC, that the server's clock shows as *shown*."""
        return shown - self.offset(shown - self.offset(shown))

    def _day(self, moment: int) -> int:
        return self.shown(moment) // DAY

    def _weekday(self, moment: int) -> int:
        return (self._day(moment) + 4) % 7  # the first of January 1970 was a Thursday; 0 is Sunday

    def is_open(self, symbol: Symbol, moment: int) -> bool:
        """Return whether *symbol* trades at *moment*."""
        if not symbol.sessions:
            return True
        minute = self.shown(moment) % DAY // MINUTE
        return any(start <= minute < end for start, end in symbol.sessions.get(str(self._weekday(moment)), ()))

    def advance(self) -> int:
        """Let everything happen that time brings - triggers, ends, swaps, stop-outs - and return the time."""
        now = self.now()
        self.exchange.match(now)
        rolled, today = int(self.book.get("rolled") or 0), self._day(now)
        if today > rolled:
            with self.book.transaction():
                for day in range(rolled + 1, today + 1):
                    self._roll(day, now)
                self.book.put("rolled", today)
        self._stop_out(now)
        return now

    def _roll(self, day: int, now: int) -> None:
        """Pay or take the interest of the night that ends where *day* of the server begins."""
        for held in list(self.book.holdings.values()):
            symbol = self.symbols[held.symbol]
            # The first day of 1970 was a Thursday; MetaTrader's week begins on Sunday, that of the rules on Monday.
            nights = counts((day - 1 + 3) % 7, (symbol.swap_rollover3days - 1) % 7)
            if not nights or self._day(held.opened) >= day:
                continue
            mode, base = _SWAP_MODES[symbol.swap_mode], symbol.currency_base or symbol.currency_profit
            amount = nights * interest(
                SwapMode.BASE if mode is SwapMode.MARGIN else mode,  # the margin of its symbols is in their base currency
                symbol.swap_long if held.size > 0 else symbol.swap_short,
                abs(held.size),
                step=symbol.point,
                contract=symbol.trade_contract_size,
                entry=held.average,
                price=self.exchange.market.tick(held.symbol, now).bid,
                rate=self.exchange.rate(symbol.currency_profit, now),
                base_rate=self.exchange.rate(base, now) if mode in _IN_BASE else math.nan,
            )
            if amount:
                self.exchange.accrue(held.ticket, round(amount, 2), now)

    def _stop_out(self, now: int) -> None:
        """Close the position that loses most, as long as the margin level is below the stop-out."""
        while self.book.holdings:
            account = self.exchange.account(now)
            used = account["margin_used"]
            if not used or account["equity"] / used * 100 >= self.options.margin_so_so:
                return
            worst = min(self.book.holdings.values(), key=lambda held: self.profit_of(held, now))
            note = _Note(comment=f"so {account['equity'] / used * 100:.1f}%", reason=6)
            with self.book.transaction():
                self._market(worst.symbol, -worst.size, note, now, position=worst.ticket)

    # --- prices -----------------------------------------------------------------------------------

    def tick(self, name: str, now: int) -> Tick | None:
        """Return the price of a symbol that is selected and has one."""
        since = self.selected.get(name)
        if since is None or now < since + round(self.symbols[name].first_tick_seconds * SECOND):
            return None
        tick = self.exchange.market.tick(name, now)
        symbol = self.symbols[name]
        while symbol.sessions and not self.is_open(symbol, tick.time):
            back = tick.time - round(self.options.tick_seconds * SECOND)
            if back < self.book.state.origin:
                return None
            tick = self.exchange.market.walk(name).tick(max(self._closed_at(symbol, tick.time), back - DAY))
        return tick

    def _closed_at(self, symbol: Symbol, moment: int) -> int:
        """Return the last moment of the session before *moment*, at which the market is closed."""
        step = MINUTE
        moment -= moment % step
        while not self.is_open(symbol, moment - step):
            moment -= step
        return moment - 1

    def bars(self, name: str, minutes: int, start: int, end: int, limit: int, now: int) -> np.ndarray[Any, Any]:
        """Return at most the last *limit* bars that begin in ``[start, end]`` on the server's clock, the unfinished one too.

        Args:
            name: The symbol.
            minutes: Length of a bar.
            start: Nanoseconds as the server's clock shows them.
            end: The same.
            limit: Most bars.
            now: The time, nanoseconds UTC.
        """
        symbol, walk = self.symbols[name], self.exchange.market.walk(name)
        span = minutes * MINUTE
        last = self.exchange.market.time(now)
        rows: list[tuple[Any, ...]] = []
        begin = self.shown(max(self.book.state.origin, self.meant(max(start, 0))))
        opened = min(end, self.shown(last))
        opened -= opened % span
        begin -= begin % span
        while opened >= begin and len(rows) < limit:
            first, close = self.meant(opened), min(self.meant(opened + span) - 1, last)
            ticks = [one for one in walk.between(first - 1, close) if self.is_open(symbol, one.time)] if close >= first else []
            if ticks and opened >= start:
                bids = [one.bid for one in ticks]
                spread = round(min(one.ask - one.bid for one in ticks) / symbol.point)
                rows.append((opened // SECOND, bids[0], max(bids), min(bids), bids[-1], len(bids), spread, 0))
            opened -= span
        return np.array(rows[::-1], dtype=RATES)

    def ticks(self, name: str, start: int, end: int, limit: int, now: int) -> np.ndarray[Any, Any]:
        """Return at most the first *limit* ticks in ``[start, end]`` on the server's clock, nanoseconds."""
        symbol, walk = self.symbols[name], self.exchange.market.walk(name)
        last = min(self.meant(end) if end < _FOREVER else now, self.exchange.market.time(now))
        at = max(self.meant(max(start, 0)), self.book.state.origin)
        rows: list[tuple[Any, ...]] = []
        step = 20_000 * walk.step
        while at <= last and len(rows) < limit:
            for one in walk.between(at - 1, min(at + step - 1, last)):
                if self.is_open(symbol, one.time) and len(rows) < limit:
                    shown = self.shown(one.time)
                    rows.append((shown // SECOND, one.bid, one.ask, 0.0, 0, shown // 1_000_000, 6, 0.0))
            at += step
        return np.array(rows, dtype=TICKS)

    # --- the account ------------------------------------------------------------------------------

    def profit_of(self, held: Holding, now: int) -> float:
        """Return the open profit of a position without its swap, account currency."""
        tick = self.exchange.market.tick(held.symbol, now)
        symbol = self.symbols[held.symbol]
        price = tick.bid if held.size > 0 else tick.ask
        rate = self.exchange.rate(symbol.currency_profit, now)
        return (price - held.average) * held.size * symbol.trade_contract_size * rate

    def margin_of(self, symbol: Symbol, size: float, price: float, now: int) -> float:
        """Return the margin of *size* lots, account currency."""
        rate = self.exchange.rate(symbol.currency_profit, now)
        return abs(size) * symbol.trade_contract_size * price * rate / self.options.leverage

    # --- requests ---------------------------------------------------------------------------------

    def check(self, request: dict[str, Any], now: int) -> dict[str, Any]:
        """Return what the account would be after *request*.

        Raises:
            Refused: The server would not take it.
        """
        account = self.exchange.account(now)
        action = request["action"]
        if action in (1, 5):
            symbol, side, price = self._form(request, now)
            closes = bool(request["position"]) or (
                self.book.state.mode == "netting"
                and any(held.symbol == symbol.name and held.size * side < 0 for held in self.book.holdings.values())
            )
            need = 0.0 if closes else self.margin_of(symbol, request["volume"], price, now)
            if need > account["margin_free"]:
                raise Refused(10019)
        else:
            self._change_form(request, now)
            need = 0.0
        used = account["margin_used"] + need
        return {
            "balance": account["balance"],
            "equity": account["equity"],
            "profit": round(account["equity"] - account["balance"], 2),
            "margin": round(used, 2),
            "margin_free": round(account["equity"] - used, 2),
            "margin_level": round(account["equity"] / used * 100, 2) if used else 0.0,
        }

    def send(self, request: dict[str, Any], now: int, share: float | None, comment: str | None) -> dict[str, Any]:
        """Carry *request* out; return retcode, deal, order, volume and price.

        Args:
            request: Every field of ``TradeRequest`` by name.
            now: The time, nanoseconds UTC.
            share: Most that trades of it, where a fault says so.
            comment: What the server writes in place of the comment, where a fault says so.

        Raises:
            Refused: The server does not take it.
        """
        action = request["action"]
        words = request["comment"] if comment is None else comment
        stamp = str(self.book.state.next_order)
        note = _Note(request["magic"], words, 3, request["type_filling"], stamp)
        with self.book.transaction():
            try:
                if action == 1:
                    return self._deal(request, note, now, share)
                if action == 5:
                    return self._pending(request, note, now)
                self._change_form(request, now)
                if action == 6:
                    return self._levels(request, now)
                if action == 7:
                    return self._modify(request, now)
                if action == 8:
                    self.exchange.cancel(request["order"], now)
                    return {"retcode": 10009, "order": request["order"]}
                entry = self.exchange.close_by(request["position"], request["position_by"], _tag(note), now)
                return self._done(entry)
            except Refusal as no:
                refused = Refused(REFUSALS.get(no.code, 10013))
        raise refused

    def _form(self, request: dict[str, Any], now: int) -> tuple[Symbol, int, float]:
        """Return symbol, side and price of an order that may be.

        Raises:
            Refused: It may not.
        """
        symbol = self.symbols.get(request["symbol"])
        if symbol is None:
            raise Refused(10013)
        tick = self.tick(symbol.name, now)
        if tick is None:
            raise Refused(10021)
        kind, action = request["type"], request["action"]
        if (action == 1 and kind not in (_BUY, _SELL)) or (action == 5 and not 2 <= kind <= 7):
            raise Refused(10013)
        side = 1 if kind % 2 == 0 else -1
        closing = bool(request["position"])
        if symbol.trade_mode == 0:
            raise Refused(10017)
        if not closing and symbol.trade_mode == 3:
            raise Refused(10044)
        if not closing and symbol.trade_mode in (1, 2) and side != (1 if symbol.trade_mode == 1 else -1):
            raise Refused(10042 if symbol.trade_mode == 1 else 10043)
        if not self.is_open(symbol, now):
            raise Refused(10018)
        volume = request["volume"]
        steps = (volume - symbol.volume_min) / symbol.volume_step
        if not (symbol.volume_min - _DUST <= volume <= symbol.volume_max + _DUST and abs(steps - round(steps)) < 1e-6):
            raise Refused(10014)
        if symbol.volume_limit and not closing:
            held = [one.size for one in self.book.holdings.values() if one.symbol == symbol.name and one.size * side > 0]
            waits = [one for one in self.book.working.values() if one.symbol == symbol.name and one.side == side]
            same = sum(map(abs, held)) + sum(one.remaining for one in waits if not one.parent)
            if same + volume > symbol.volume_limit + _DUST:
                raise Refused(10034)
        market = tick.ask if side > 0 else tick.bid
        price = self._priced(request, symbol, side, market, tick) if action == 5 else self._at_market(request, symbol, market)
        self._filled(request, symbol)
        self._stops(request, symbol, side, price if action == 5 else (tick.bid if side > 0 else tick.ask), price)
        if not (symbol.expiration_mode >> request["type_time"]) & 1 or request["type_time"] > 3:
            raise Refused(10022)
        if request["type_time"] >= 2 and request["expiration"] * SECOND <= self.shown(now):
            raise Refused(10022)
        if closing:
            self._closing(request, symbol, side)
        return symbol, side, price

    def _at_market(self, request: dict[str, Any], symbol: Symbol, market: float) -> float:
        price = request["price"]
        if symbol.trade_exemode in (0, 1):
            if not (price > 0 and _on_step(price, symbol)):
                raise Refused(10015)
            if abs(price - market) > request["deviation"] * symbol.point + _DUST:
                raise Refused(10004)
        elif not (price == 0 or (price > 0 and math.isfinite(price))):
            raise Refused(10015)
        return market

    def _priced(self, request: dict[str, Any], symbol: Symbol, side: int, market: float, tick: Tick) -> float:
        price, kind = request["price"], request["type"]
        if not (price > 0 and math.isfinite(price) and _on_step(price, symbol)):
            raise Refused(10015)
        away = (market - price) * side if kind in (2, 3) else (price - market) * side
        if away < symbol.trade_stops_level * symbol.point - _DUST or away <= 0:
            raise Refused(10015)
        if kind in (6, 7):
            limit = request["stoplimit"]
            if not (limit > 0 and _on_step(limit, symbol) and (price - limit) * side > 0):
                raise Refused(10015)
        return float(price)

    def _filled(self, request: dict[str, Any], symbol: Symbol) -> None:
        """Refuse a filling policy that the symbol does not have (api.json, filling_choice)."""
        filling, mask, mode = request["type_filling"], symbol.filling_mode, symbol.trade_exemode
        if request["action"] == 5 and request["type"] in (2, 3, 6, 7) and filling == 2:
            return
        allowed = {0: bool(mask & 1), 1: bool(mask & 2), 2: mode == 3, 3: bool(mask & 4) and request["action"] == 5}
        if mode in (0, 1):
            allowed[0] = True
        if request["action"] == 5 and mode == 2:
            allowed[2] = True
        if not allowed.get(filling, False):
            raise Refused(10030)

    def _stops(self, request: dict[str, Any], symbol: Symbol, side: int, near: float, price: float) -> None:
        """Refuse levels on the wrong side of the price, off the step or too near."""
        least = symbol.trade_stops_level * symbol.point
        least = max(least, symbol.point) - _DUST
        for level, sign in ((request["sl"], -1), (request["tp"], 1)):
            if level and not (level > 0 and _on_step(level, symbol) and (level - near) * side * sign >= least):
                raise Refused(10016)

    def _closing(self, request: dict[str, Any], symbol: Symbol, side: int) -> None:
        held = self._held(request["position"])
        if held is None:
            raise Refused(10036)
        if held.symbol != symbol.name or held.size * side > 0:
            raise Refused(10013)
        if request["volume"] > abs(held.size) + _DUST and self.book.state.mode == "hedging":
            raise Refused(10038)
        if self.options.fifo_close:
            oldest = min(
                (one for one in self.book.holdings.values() if one.symbol == held.symbol and one.size * held.size > 0),
                key=lambda one: one.opened,
            )
            if oldest.ticket != held.ticket:
                raise Refused(10045)

    def _held(self, ticket: int) -> Holding | None:
        return self.book.holdings.get(ticket)

    def _deal(self, request: dict[str, Any], note: _Note, now: int, share: float | None) -> dict[str, Any]:
        symbol, side, _ = self._form(request, now)
        volume, filling = request["volume"], request["type_filling"]
        liquid = symbol.liquidity or math.inf
        if share is not None:
            liquid = min(liquid, volume * share)
        if liquid < volume - _DUST and filling == 0:
            raise Refused(10006, "Not enough liquidity for all or nothing")
        tif = {0: "fok", 1: "ioc"}.get(filling, "gtc")
        levels = {"stop_loss": request["sl"] or None, "take_profit": request["tp"] or None}
        entry = self._market(
            symbol.name,
            side * volume,
            note,
            now,
            position=request["position"] if self.book.state.mode == "hedging" else 0,
            tif=tif,
            share=None if liquid >= volume else liquid / volume,
            **levels,
        )
        return self._done(entry)

    def _market(
        self,
        name: str,
        size: float,
        note: _Note,
        now: int,
        *,
        position: int = 0,
        tif: str = "gtc",
        share: float | None = None,
        **levels: Any,
    ) -> Entry:
        wanted = Wanted(
            tag=_tag(note),
            symbol=name,
            side=1 if size > 0 else -1,
            size=abs(size),
            time_in_force=tif,
            position=position,
            reduce_only=position != 0,
            **levels,
        )
        return self.exchange.submit(wanted, _tag(note), now, share=share)

    def _done(self, entry: Entry) -> dict[str, Any]:
        """Return what the server answers about an order that was to trade."""
        deals = [one for one in self.book.deals(entry.placed, 0, -1) if one.order == entry.number]
        if not deals:
            return {"retcode": 10008, "order": entry.number}
        filled = round(sum(one.size for one in deals), 8)
        return {
            "retcode": 10009 if filled >= entry.size - _DUST else 10010,
            "deal": deals[0].number,
            "order": entry.number,
            "volume": filled,
            "price": entry.average,
        }

    def _pending(self, request: dict[str, Any], note: _Note, now: int) -> dict[str, Any]:
        symbol, side, price = self._form(request, now)
        kind, timed = request["type"], request["type_time"]
        expires = self.meant(request["expiration"] * SECOND) if timed >= 2 else None
        if timed == 3 and expires is not None:
            shown = self.shown(expires)
            expires = self.meant(shown - shown % DAY + DAY)
        if timed == 1:
            shown = self.shown(now)
            expires = self.meant(shown - shown % DAY + DAY)
        wanted = Wanted(
            tag=_tag(note),
            symbol=symbol.name,
            side=side,
            size=request["volume"],
            type="limit" if kind in (2, 3) else "stop",
            price=price,
            then=request["stoplimit"] if kind in (6, 7) else None,
            stop_loss=request["sl"] or None,
            take_profit=request["tp"] or None,
            time_in_force="gtd" if expires is not None else "gtc",
            expires=expires,
        )
        entry = self.exchange.submit(wanted, _tag(note), now)
        return {"retcode": 10009, "order": entry.number, "volume": request["volume"], "price": price}

    def _change_form(self, request: dict[str, Any], now: int) -> None:
        action = request["action"]
        if action not in (6, 7, 8, 10):
            raise Refused(10013)
        if action in (7, 8):
            entry = self.book.working.get(request["order"])
            if entry is None or entry.parent:
                raise Refused(10035)
            self._thaw(self.symbols[entry.symbol], entry.side, entry.price or 0.0, now)
        elif action == 6:
            held = self._position(request)
            if held is None:
                raise Refused(10036)
        elif self._held(request["position"]) is None or self._held(request["position_by"]) is None:
            raise Refused(10036)

    def _position(self, request: dict[str, Any]) -> Holding | None:
        if request["position"]:
            return self._held(request["position"])
        if self.book.state.mode == "netting":
            return next((one for one in self.book.holdings.values() if one.symbol == request["symbol"]), None)
        return None

    def _thaw(self, symbol: Symbol, side: int, price: float, now: int) -> None:
        """Refuse a change so near to the price that the server has it frozen."""
        tick = self.exchange.market.tick(symbol.name, now)
        market = tick.ask if side > 0 else tick.bid
        if symbol.trade_freeze_level and abs(market - price) <= symbol.trade_freeze_level * symbol.point:
            raise Refused(10029)

    def _levels(self, request: dict[str, Any], now: int) -> dict[str, Any]:
        held = self._position(request)
        assert held is not None
        symbol = self.symbols[held.symbol]
        tick = self.exchange.market.tick(held.symbol, now)
        side = 1 if held.size > 0 else -1
        self._stops(request, symbol, side, tick.bid if side > 0 else tick.ask, held.average)
        now_at = self.levels(held)
        if now_at == (request["sl"], request["tp"]):
            raise Refused(10025)
        for level in now_at:
            if level:
                self._thaw(symbol, -side, level, now)
        entry = self.book.order(held.ticket)
        assert entry is not None
        self.exchange.modify(
            held.ticket,
            size=entry.size,
            price=entry.price,
            stop_loss=request["sl"] or None,
            take_profit=request["tp"] or None,
            expires=entry.expires,
            now=now,
        )
        return {"retcode": 10009}

    def _modify(self, request: dict[str, Any], now: int) -> dict[str, Any]:
        entry = self.book.working[request["order"]]
        kind = self.kind_of(entry)
        form = request | {
            "action": 5, "symbol": entry.symbol, "type": kind, "volume": entry.remaining, "position": 0,
            "type_filling": 2, "stoplimit": request["stoplimit"] or entry.then or 0.0,
        }  # fmt: skip
        _, _, price = self._form(form, now)
        expires = self.meant(request["expiration"] * SECOND) if request["type_time"] >= 2 else None
        self.exchange.modify(
            entry.number,
            size=entry.size,
            price=price,
            stop_loss=request["sl"] or None,
            take_profit=request["tp"] or None,
            expires=expires,
            now=now,
        )
        return {"retcode": 10009, "order": entry.number}

    # --- the book in MetaTrader's words -----------------------------------------------------------

    def levels(self, held: Holding) -> tuple[float, float]:
        """Return stop loss and take profit of a position; 0 where there is none."""
        found = {one.type: one.price or 0.0 for one in self.book.working.values() if one.parent and one.position == held.ticket}
        return found.get("stop", 0.0), found.get("limit", 0.0)

    def kind_of(self, entry: Entry) -> int:
        """Return ``ORDER_TYPE_*`` of an order."""
        bases = {"market": 0, "limit": 2, "stop": 4 if entry.then is None else 6, "close_by": 8}
        base = bases[entry.type]
        return base if base == 8 else base + (0 if entry.side > 0 else 1)

    def note_of(self, tag: str, parent_tag: str = "", kind: str = "") -> _Note:
        """Return magic, comment and reason of an order or deal."""
        if tag or not parent_tag:
            return _note(tag)
        opened = _note(parent_tag)  # what the server made of a level: its reason says so
        return _Note(opened.magic, "", 4 if kind == "stop" else 5, 0)

    def position_id(self, entry: Entry) -> int:
        """Return the position that an order opened or changed; 0 before it traded."""
        if entry.position:
            return entry.position
        if not entry.filled:
            return 0
        deal = next((one for one in self.book.deals(entry.placed, 0, -1) if one.order == entry.number), None)
        return 0 if deal is None else deal.position

    def deals(self, since: int, until: int) -> list[Deal]:
        """Return the deals in ``[since, until]``, nanoseconds UTC."""
        return [one for one in self.book.deals(since, 0, -1) if one.time <= until]


def _tag(note: _Note) -> str:
    return msgspec.json.encode(note).decode()


def _on_step(price: float, symbol: Symbol) -> bool:
    step = symbol.trade_tick_size or symbol.point
    steps = price / step
    return math.isfinite(steps) and abs(steps - round(steps)) < 1e-4
