"""The broker's rules: what an order does to the book. No sockets, no clock, no faults of transport."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from herald.clock import DAY, SECOND
from herald.testing.simbroker.book import Book, Deal, Entry, Holding
from herald.testing.simbroker.prices import Mark, Market, Tick, Walk
from herald.testing.simbroker.terms import Symbol, Terms

__all__ = ["Exchange", "Refusal", "Wanted"]

_DUST = 1e-9
_replace = msgspec.structs.replace


class Refusal(Exception):
    """The broker says no.

    Attributes:
        code: Stable.
        text: One line.
    """

    def __init__(self, code: str, text: str) -> None:
        """Keep both."""
        self.code = code
        self.text = text
        super().__init__(f"{text} ({code})")


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order as a client asks for it; see `Entry` for the fields."""

    tag: str
    symbol: str
    side: int
    size: float
    type: str = "market"
    price: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    time_in_force: str = "gtc"
    expires: int | None = None
    reduce_only: bool = False
    position: int = 0
    then: float | None = None


class Exchange:
    """Takes orders, matches them with prices and keeps the book.

    Attributes:
        publish: Called inside the transaction with (time, kind, body as JSON) for everything that is news.
        shares: Part of an order that trades first, by number; the rest trades when it is triggered again, or by `finish`.
    """

    def __init__(self, terms: Terms, book: Book) -> None:
        """Trade on *terms*; prices go on where the book's marks say."""
        self.terms = terms
        self.book = book
        self.symbols: dict[str, Symbol] = {one.symbol: one for one in terms.symbols}
        self.market = Market({one.symbol: _walk(one, terms, book.state.origin) for one in terms.symbols})
        self.publish: Callable[[int, str, bytes], None] = book.tell
        self.shares: dict[int, float] = {}
        self._matched = 0
        for symbol, marks in msgspec.json.decode(book.get("marks") or "{}", type=dict[str, list[Mark]]).items():
            if symbol in self.symbols:
                for mark in marks:
                    self.market.walk(symbol).mark(mark)

    # --- prices -----------------------------------------------------------------------------------

    def symbol(self, name: str) -> Symbol:
        """Return the terms of a symbol.

        Raises:
            Refusal: There is no such symbol.
        """
        found = self.symbols.get(name)
        if found is None:
            raise Refusal("unknown_symbol", f"no symbol {name!r}; there are {', '.join(self.symbols)}")
        return found

    def set_price(self, name: str, bid: float | None, ask: float | None, now: int) -> None:
        """Set the price of a symbol until it is released (*bid* None); orders that it triggers trade at once.

        Raises:
            Refusal: The symbol is unknown, or the price is no price.
        """
        terms = self.symbol(name)
        if bid is not None:
            ask = bid + terms.spread_points * 10.0**-terms.digits if ask is None else ask
            if not 0 < bid <= ask < math.inf:
                raise Refusal("bad_price", f"bid {bid!r} and ask {ask!r} are no prices of {name}")
            bid, ask = round(bid, terms.digits), round(ask, terms.digits)
        with self.book.transaction():
            self.match(now)
            mark = Mark(now, bid, ask)
            self.market.walk(name).mark(mark)
            marks = msgspec.json.decode(self.book.get("marks") or "{}", type=dict[str, list[Mark]])
            self.book.put("marks", {**marks, name: [*marks.get(name, []), mark]})
            self._trigger(name, self.market.tick(name, now), now)

    def rate(self, currency: str, now: int) -> float:
        """Return units of the account currency for one of *currency*."""
        own = self.terms.currency
        if currency == own:
            return 1.0
        if currency + own in self.symbols:
            return self.market.tick(currency + own, now).bid
        return 1.0 / self.market.tick(own + currency, now).bid

    # --- account ----------------------------------------------------------------------------------

    def account(self, now: int) -> dict[str, Any]:
        """Return the account as it is stated to clients."""
        terms, state = self.terms, self.book.state
        profit = used = 0.0
        known: dict[str, tuple[Symbol, Tick, float]] = {}
        for one in self.book.holdings.values():
            if one.symbol not in known:
                symbol = self.symbols[one.symbol]
                known[one.symbol] = symbol, self.market.tick(one.symbol, now), self.rate(symbol.quote, now)
            symbol, tick, rate = known[one.symbol]
            price = tick.bid if one.size > 0 else tick.ask
            profit += (price - one.average) * one.size * symbol.contract_size * rate
            used += self._margin(symbol, abs(one.size), price, rate)
        profit += sum(one.swap for one in self.book.holdings.values())
        equity = round(state.balance + profit, 8)
        return {
            "id": terms.account,
            "server": terms.server,
            "real": terms.real,
            "currency": terms.currency,
            "mode": state.mode,
            "balance": state.balance,
            "equity": equity,
            "margin_used": round(used, 8),
            "margin_free": round(equity - used, 8),
            "leverage": terms.leverage,
            "time": now,
        }

    def _margin(self, symbol: Symbol, size: float, price: float, rate: float) -> float:
        return size * symbol.contract_size * price * rate / self.terms.leverage

    # --- orders -----------------------------------------------------------------------------------

    def submit(self, wanted: Wanted, tag: str, now: int, *, share: float | None = None, holds: bool = False) -> Entry:
        """Take an order; return it as it is after whatever could trade at once did.

        Args:
            wanted: What is asked.
            tag: The client tag that the broker will show.
            now: Time, nanoseconds UTC.
            share: Part that trades first, where it does not trade as a whole.
            holds: It is accepted and nothing trades for now.

        Raises:
            Refusal: The order cannot be; it stands in the book as rejected, where the request makes sense at all.
        """
        symbol = self.symbol(wanted.symbol)
        if not 0 < len(wanted.tag) <= self.terms.tag_length:
            raise Refusal("bad_tag", f"a client tag has 1 to {self.terms.tag_length} characters, not {len(wanted.tag)}")
        book, number = self.book, self.book.number_order()
        expires = wanted.expires if wanted.time_in_force == "gtd" else None
        if wanted.time_in_force == "day":
            expires = now - now % DAY + DAY
        entry = Entry(
            number=number,
            asked=wanted.tag,
            tag=tag,
            symbol=wanted.symbol,
            side=wanted.side,
            size=wanted.size,
            type=wanted.type,
            price=wanted.price,
            stop_loss=wanted.stop_loss,
            take_profit=wanted.take_profit,
            time_in_force=wanted.time_in_force,
            expires=expires,
            reduce_only=wanted.reduce_only or wanted.position != 0,
            position=wanted.position,
            then=wanted.then,
            placed=now,
            changed=now,
        )
        try:
            self._check(entry, symbol, now)
        except Refusal as no:
            book.keep_order(_replace(entry, status="rejected", code=no.code, text=no.text))
            raise
        self._keep(entry)
        if share is not None:
            self.shares[number] = share
        if not holds:
            self.work(number, now)
        return book.order(number) or entry

    def work(self, number: int, now: int) -> None:
        """Let an order trade if the price is right; one that does not wait is over after that."""
        entry = self.book.working.get(number)
        if entry is None:
            return
        tick = self.market.tick(entry.symbol, now)
        price = _hit(entry, tick)
        if price is not None:
            if entry.time_in_force == "fok":
                self.shares.pop(number, None)
            self._trigger_one(entry, price, tick, now)
        entry = self.book.working.get(number)
        if entry is not None and entry.time_in_force in ("ioc", "fok"):
            self._end(entry, "cancelled", now, "not_filled", "what could not trade at once was withdrawn")

    def finish(self, number: int, now: int) -> None:
        """Let the rest of an order that traded in part trade at the price of now."""
        entry = self.book.working.get(number)
        if entry is not None:
            tick = self.market.tick(entry.symbol, now)
            self._fill(entry, tick.ask if entry.side > 0 else tick.bid, now)

    def reject(self, number: int, code: str, text: str, now: int) -> None:
        """Refuse an order that was accepted, if it has not traded yet."""
        entry = self.book.working.get(number)
        if entry is not None and entry.filled == 0:
            self._end(entry, "rejected", now, code, text)

    def cancel(self, number: int, now: int) -> bool:
        """Withdraw an order; return whether it was working."""
        entry = self.book.working.get(number)
        if entry is not None:
            self._end(entry, "cancelled", now)
        return entry is not None

    def trade_some(self, number: int, share: float, now: int) -> None:
        """Let a part of an order trade at the price of now, whether it works or was withdrawn a moment ago."""
        entry = self.book.order(number)
        if entry is None or entry.remaining <= 0:
            return
        tick = self.market.tick(entry.symbol, now)
        step = self.symbols[entry.symbol].size_step
        size = max(step, math.floor(entry.remaining * share / step + _DUST) * step)
        self._trade(entry, round(min(size, entry.remaining), 8), tick.ask if entry.side > 0 else tick.bid, now)

    def modify(
        self,
        number: int,
        *,
        size: float,
        price: float | None,
        stop_loss: float | None,
        take_profit: float | None,
        expires: int | None,
        now: int,
    ) -> None:
        """Change a working order, or the protection of a position that an order opened.

        Raises:
            Refusal: There is no such order, it is over and protects nothing, or the terms cannot be.
        """
        entry = self.book.order(number)
        if entry is None:
            raise Refusal("unknown_order", f"no order {number}")
        if not entry.is_working:
            if entry.reduce_only or not entry.filled or self._ticket_of(entry) not in self.book.holdings:
                raise Refusal("not_working", f"order {number} is {entry.status}")
            changed = _replace(entry, stop_loss=stop_loss, take_profit=take_profit, changed=now)
        else:
            timed = {"gtd": expires}.get(entry.time_in_force, entry.expires)
            changed = _replace(
                entry, size=size, price=price, stop_loss=stop_loss, take_profit=take_profit, expires=timed, changed=now
            )
            if size <= entry.filled:
                raise Refusal("bad_size", f"order {number} has {entry.filled:g} filled already; it cannot become {size:g}")
            self._check(changed, self.symbols[entry.symbol], now)
        self._keep(changed)
        if changed.filled:
            self._protect(changed, self._ticket_of(changed), now)
        if changed.type != "market":
            self.work(number, now)

    def _check(self, entry: Entry, symbol: Symbol, now: int) -> None:
        """Refuse what cannot be."""
        steps = entry.size / symbol.size_step
        if not (symbol.size_step - _DUST <= entry.size <= symbol.max_size and abs(steps - round(steps)) < 1e-6):
            text = f"size {entry.size!r} of {entry.symbol} must be steps of {symbol.size_step:g}, up to {symbol.max_size:g}"
            raise Refusal("bad_size", text)
        if entry.side not in (1, -1):
            raise Refusal("bad_side", f"side is 1 or -1, not {entry.side!r}")
        if entry.type not in ("market", "limit", "stop"):
            raise Refusal("bad_type", f"no orders of type {entry.type!r}; there are market, limit and stop")
        if entry.time_in_force not in ("gtc", "day", "gtd", "ioc", "fok"):
            raise Refusal("bad_time_in_force", f"no time in force {entry.time_in_force!r}")
        if entry.time_in_force == "gtd" and (entry.expires is None or entry.expires <= now):
            raise Refusal("bad_expiry", "an order good till a date needs one in the future")
        if (entry.price is None) != (entry.type == "market"):
            raise Refusal("bad_price", f"a {entry.type} order has {'no' if entry.type == 'market' else 'a'} price")
        if entry.then is not None and entry.type != "stop":
            raise Refusal("bad_price", f"a {entry.type} order becomes no limit order")
        for level in (entry.price, entry.then, entry.stop_loss, entry.take_profit):
            if level is not None and not 0 < level < math.inf:
                raise Refusal("bad_price", f"{level!r} is no price")
        tick = self.market.tick(entry.symbol, now)
        price = entry.price if entry.price is not None else tick.ask if entry.side > 0 else tick.bid
        for level, sign in ((entry.stop_loss, -1), (entry.take_profit, 1)):
            if level is not None and (level - price) * sign * entry.side <= 0:
                raise Refusal("bad_stops", f"level {level:g} lies on the wrong side of {price:g}")
        if entry.position and entry.parent == 0:
            held = self.book.holdings.get(entry.position)
            if held is None or held.symbol != entry.symbol or held.size * entry.side > 0:
                raise Refusal("unknown_position", f"no position {entry.position} of {entry.symbol} that this order closes")
        elif entry.reduce_only and self._reducible(entry) <= 0:
            raise Refusal("nothing_to_reduce", f"there is nothing of {entry.symbol} to reduce")
        elif not entry.reduce_only:
            need = self._margin(symbol, entry.remaining, price, self.rate(symbol.quote, now))
            free = self.account(now)["margin_free"]
            if need > free and self._reducible(entry) < entry.remaining:
                raise Refusal("no_money", f"{need:.2f} margin needed, {free:.2f} free")

    def _reducible(self, entry: Entry) -> float:
        """Return the lots that *entry* could close."""
        if entry.position and entry.position in self.book.holdings:
            return abs(self.book.holdings[entry.position].size)
        if self.terms.mode == "hedging" and not entry.reduce_only:
            return 0.0
        return sum(abs(one.size) for one in self._against(entry))

    def _against(self, entry: Entry) -> list[Holding]:
        """Return the positions on the other side, oldest first."""
        return [one for one in self.book.holdings.values() if one.symbol == entry.symbol and one.size * entry.side < 0]

    # --- matching ---------------------------------------------------------------------------------

    def match(self, now: int) -> None:
        """Let every tick since the last call do what it does to waiting orders; withdraw what is over."""
        time = self.market.time(now)
        since, self._matched = self._matched, max(time, self._matched)
        hits: dict[str, list[Tick]] = {}
        for entry in self.book.working.values():
            if entry.type != "market" and entry.symbol not in hits and time > since:
                hits[entry.symbol] = self.market.walk(entry.symbol).between(since, time)
        over = [one for one in self.book.working.values() if one.expires is not None and one.expires <= now]
        if not over and not any(hits.values()):
            return  # most turns of the loop end here, without a transaction
        with self.book.transaction():
            for symbol, ticks in hits.items():
                for tick in ticks:
                    self._trigger(symbol, tick, now)
            for entry in over:
                still = self.book.working.get(entry.number)
                if still is not None:
                    self._end(still, "expired", now)

    def _trigger(self, symbol: str, tick: Tick, now: int) -> None:
        for number in list(self.book.working):
            entry = self.book.working.get(number)  # one of a pair may have ended the other
            if entry is None or entry.symbol != symbol or entry.type == "market" or tick.time < entry.placed:
                continue
            price = _hit(entry, tick)
            if price is not None:
                self._trigger_one(entry, price, tick, now)

    def _trigger_one(self, entry: Entry, price: float, tick: Tick, now: int) -> None:
        """Trade what the price triggered; a stop that becomes a limit order trades where that may."""
        if entry.then is None:
            self._fill(entry, price, now)
            return
        entry = _replace(entry, type="limit", price=entry.then, then=None, changed=now)
        self._keep(entry)
        at = _hit(entry, tick)
        if at is not None:
            self._fill(entry, at, now)

    def recover(self, now: int) -> None:
        """Withdraw what the death of the broker left half done."""
        with self.book.transaction():
            for entry in list(self.book.working.values()):
                if entry.type == "market":
                    self._end(entry, "cancelled", now, "restarted", "the broker was restarted")
        self._matched = now

    # --- what trades ------------------------------------------------------------------------------

    def _fill(self, entry: Entry, price: float, now: int) -> None:
        share = self.shares.pop(entry.number, None)
        size = entry.remaining
        if share is not None:
            step = self.symbols[entry.symbol].size_step
            size = max(step, math.floor(size * share / step + _DUST) * step)
        self._trade(entry, round(min(size, entry.remaining), 8), price, now)

    def _trade(self, entry: Entry, size: float, price: float, now: int) -> None:
        """Execute *size* of *entry* at *price*: deals, positions, protection, news."""
        done, touched, deals = 0.0, [], []
        for ticket, part in self._places(entry, size):
            deals.append(self._deal(entry, ticket, part, price, now))
            touched.append(ticket)
            done = round(done + part, 8)
        filled = round(entry.filled + done, 8)
        average = (entry.average * entry.filled + price * done) / filled if filled else 0.0
        status = "filled" if filled >= entry.size - _DUST else "partial" if entry.is_working and filled else entry.status
        entry = _replace(entry, filled=filled, average=round(average, 10), status=status, changed=now)
        for deal in deals:
            self.publish(now, "deal", msgspec.json.encode(deal))
        self._keep(entry)
        if done < size - _DUST and entry.is_working:
            self._end(entry, "cancelled", now, "nothing_to_reduce", "there was nothing left to reduce")
        if entry.parent:
            self._pair(entry, now)
        if not entry.reduce_only and touched:
            self._protect(entry, touched[0], now)
        for ticket in touched:
            self._clip(ticket, now)

    def _places(self, entry: Entry, size: float) -> list[tuple[int, float]]:
        """Return (ticket, lots) of the positions that *size* lots of *entry* change."""
        holdings = self.book.holdings
        if not entry.reduce_only:
            if self.terms.mode == "hedging":
                return [(entry.number, size)]
            held = next((one for one in holdings.values() if one.symbol == entry.symbol), None)
            return [(entry.number if held is None else held.ticket, size)]
        against = self._against(entry)
        if entry.position and self.terms.mode == "hedging":
            against = [one for one in against if one.ticket == entry.position]
        places = []
        for one in against:
            part = round(min(size, abs(one.size)), 8)
            if part > 0:
                places.append((one.ticket, part))
                size = round(size - part, 8)
        return places

    def _deal(self, entry: Entry, ticket: int, size: float, price: float, now: int) -> Deal:
        symbol = self.symbols[entry.symbol]
        fresh = Holding(ticket=ticket, tag=entry.tag, symbol=entry.symbol, size=0.0, average=0.0, realized=0.0, opened=now)
        before = self.book.holdings.get(ticket, fresh)
        after, realized = _after(before, entry.side * size, price, symbol.contract_size)
        closed = 0.0 if before.size * entry.side >= 0 else min(size, abs(before.size)) / abs(before.size)
        swap = round(before.swap * closed, 8)
        self.book.keep_holding(_replace(after, swap=round(before.swap - swap, 8), changed=now))
        kind = (
            "in" if not closed else "inout" if after.size * before.size < 0 else "out_by" if entry.type == "close_by" else "out"
        )
        deal = Deal(
            number=self.book.number_deal(),
            order=entry.number,
            tag=entry.tag,
            symbol=entry.symbol,
            side=entry.side,
            size=size,
            price=price,
            profit=round(realized * self.rate(symbol.quote, now), 8),
            fee=round(self.terms.commission * size, 8),
            position=ticket,
            time=now,
            type=entry.type,
            parent=entry.parent,
            parent_tag=entry.parent_tag,
            entry=kind,
            swap=swap,
        )
        self.book.keep_deal(deal)
        return deal

    def close_by(self, ticket: int, by: int, tag: str, now: int) -> Entry:
        """Close a position by one of the other side, as far as both reach; return the order.

        Each is closed at the price at which the second was opened, so only the first has a profit.

        Raises:
            Refusal: One of them is not there, they do not match, or the account nets.
        """
        one, other = self.book.holdings.get(ticket), self.book.holdings.get(by)
        if one is None or other is None:
            raise Refusal("unknown_position", f"no position {ticket if one is None else by}")
        if self.terms.mode != "hedging" or one.symbol != other.symbol or one.size * other.size >= 0:
            raise Refusal("bad_close_by", f"positions {ticket} and {by} do not close one another")
        size, first = min(abs(one.size), abs(other.size)), None
        for held in (one, other):
            number = self.book.number_order()
            side = -1 if held.size > 0 else 1
            entry = Entry(
                number=number, asked=tag, tag=tag, symbol=held.symbol, side=side, size=size, type="close_by", reduce_only=True,
                position=held.ticket, placed=now, changed=now,
            )  # fmt: skip
            self._trade(entry, size, other.average, now)
            first = first or self.book.order(number) or entry
        assert first is not None
        return first

    def accrue(self, ticket: int, amount: float, now: int) -> None:
        """Add interest, account currency, to a position."""
        held = self.book.holdings[ticket]
        self.book.keep_holding(_replace(held, swap=round(held.swap + amount, 8), changed=now))

    def bust(self, number: int, now: int) -> Deal:
        """Take a deal back: a deal the other way round, at the same price, without its profit and fee.

        Raises:
            Refusal: There is no such deal, or it was taken back already.
        """
        deal = self.book.deal(number)
        if deal is None or deal.busts or self.book.busted(number):
            raise Refusal("unknown_deal", f"no deal {number} that could be taken back")
        reverse = _replace(
            deal,
            number=self.book.number_deal(),
            side=-deal.side,
            profit=-deal.profit,
            fee=-deal.fee,
            time=now,
            busts=number,
        )
        self.book.keep_deal(reverse)
        symbol = self.symbols[deal.symbol]
        held = Holding(ticket=deal.position, tag=deal.tag, symbol=deal.symbol, size=0.0, average=0.0, realized=0.0, opened=now)
        taken_back = {one.busts for one in self.book.deals(0, 0, -1) if one.busts}
        for one in self.book.deals(0, 0, -1):
            if one.position == deal.position and not one.busts and one.number not in taken_back:
                held, _ = _after(held, one.side * one.size, one.price, symbol.contract_size)
        self.book.keep_holding(held)
        entry = self.book.order(deal.order)
        if entry is not None:
            filled = round(entry.filled - deal.size, 8)
            status = entry.status if entry.is_working else "cancelled"
            text = f"deal {number} was taken back"
            self._keep(_replace(entry, filled=filled, status=status, changed=now, code="bust", text=text))
        self.publish(now, "deal", msgspec.json.encode(reverse))
        self._clip(deal.position, now)
        return reverse

    # --- protection -------------------------------------------------------------------------------

    def _ticket_of(self, entry: Entry) -> int:
        """Return the ticket of the position that *entry* opened or added to; its own number where that is gone."""
        if self.terms.mode == "hedging":
            return entry.number
        return next((one.ticket for one in self.book.holdings.values() if one.symbol == entry.symbol), entry.number)

    def _children(self, parent: int) -> dict[str, Entry]:
        """Return the working protective orders of the order *parent*, by type."""
        return {one.type: one for one in self.book.working.values() if one.parent == parent}

    def _protect(self, entry: Entry, ticket: int, now: int) -> None:
        """Make the protective orders of *entry* what its levels and its filled size say."""
        held = self.book.holdings.get(ticket)
        if held is None:
            return
        size = round(min(entry.filled, abs(held.size)), 8)
        children = self._children(entry.number)
        for type_, level in (("stop", entry.stop_loss), ("limit", entry.take_profit)):
            child = children.get(type_)
            if level is None or size <= 0 or held.size * entry.side <= 0:
                if child is not None:
                    self._end(child, "cancelled", now, "withdrawn", "its level was removed")
                continue
            if child is None:
                child = Entry(
                    number=self.book.number_order(),
                    asked="",
                    tag="",
                    symbol=entry.symbol,
                    side=-entry.side,
                    size=size,
                    type=type_,
                    price=level,
                    reduce_only=True,
                    position=ticket,
                    parent=entry.number,
                    parent_tag=entry.tag,
                    placed=now,
                    changed=now,
                )
                self._keep(child)
            elif child.price != level or child.remaining != size:
                self._keep(_replace(child, size=round(child.filled + size, 8), price=level, changed=now))

    def _pair(self, child: Entry, now: int) -> None:
        """What one of a pair closed, the other need not close any more."""
        for other in self._children(child.parent).values():
            if other.number != child.number:
                self._shrink(other, child.remaining if child.is_working else 0.0, now)

    def _clip(self, ticket: int, now: int) -> None:
        """No protective order is larger than its position, and none outlives it."""
        held = self.book.holdings.get(ticket)
        for entry in list(self.book.working.values()):
            if entry.parent and entry.position == ticket:
                left = 0.0 if held is None or held.size * entry.side >= 0 else abs(held.size)
                self._shrink(entry, left, now)

    def _shrink(self, entry: Entry, remaining: float, now: int) -> None:
        if remaining <= 0:
            self._end(entry, "cancelled", now, "position_closed", "there is nothing left to protect")
        elif remaining < entry.remaining - _DUST:
            self._keep(_replace(entry, size=round(entry.filled + remaining, 8), changed=now))

    # --- keeping ----------------------------------------------------------------------------------

    def _keep(self, entry: Entry) -> None:
        self.book.keep_order(entry)
        self.publish(entry.changed, "order", msgspec.json.encode(entry.shown()))

    def _end(self, entry: Entry, status: str, now: int, code: str = "", text: str = "") -> None:
        self.shares.pop(entry.number, None)
        self._keep(_replace(entry, status=status, changed=now, code=code, text=text))


def _walk(symbol: Symbol, terms: Terms, origin: int) -> Walk:
    step = round(terms.tick_seconds * SECOND)
    spread = symbol.spread_points * 10.0**-symbol.digits
    begin, seed = origin - origin % step, f"{terms.seed}:{symbol.symbol}"
    return Walk(seed, symbol.price, symbol.digits, spread, symbol.volatility, begin, step)


def _hit(entry: Entry, tick: Tick) -> float | None:
    """Return the price at which *entry* trades on *tick*, None where it does not."""
    price = tick.ask if entry.side > 0 else tick.bid
    if entry.type == "market" or entry.price is None:
        return price
    beyond = (price - entry.price) * entry.side
    is_hit = beyond >= 0 if entry.type == "stop" else beyond <= 0
    return price if is_hit else None


def _after(held: Holding, change: float, price: float, contract_size: float) -> tuple[Holding, float]:
    """Return the position after *change* signed lots at *price*, and what that realised, quote currency."""
    size = round(held.size + change, 8)
    if held.size * change >= 0:
        average = (held.average * abs(held.size) + price * abs(change)) / abs(size) if size else 0.0
        return _replace(held, size=size, average=average), 0.0
    closed = min(abs(change), abs(held.size)) * (1 if held.size > 0 else -1)
    realized = (price - held.average) * closed * contract_size
    turned = size * held.size < 0
    return _replace(held, size=size, average=price if turned else held.average, realized=held.realized + realized), realized
