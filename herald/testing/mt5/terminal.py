"""A module with the interface of MetaTrader5 and a simulated terminal behind it; import it in place of the genuine one.

    import herald.testing.mt5.terminal as mt5
    mt5.configure({"login": 1001, "balance": 50_000.0})
    mt5.initialize(login=1001, password="secret", server="Sim-Demo")

Functions, constants, result types, exceptions and the words of ``last_error`` are those of the package 5.0.6231. Like the
package it has one connection a process, and no deadline on any call.
"""

from __future__ import annotations

import dis
import fnmatch
import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import numpy as np

from herald.clock import SECOND, WallClock
from herald.testing.mt5.arguments import (
    Bad,
    Late,
    date,
    double,
    integer,
    masked,
    no_arguments,
    no_keywords,
    spoilt,
    text,
    unsigned,
)
from herald.testing.mt5.broker import TEXTS as _RETCODES
from herald.testing.mt5.broker import Broker, Refused, span_of
from herald.testing.mt5.names import CONSTANTS, RATES, TEXTS, TICKS, TYPES, Record
from herald.testing.mt5.options import Fault, Options, Symbol
from herald.testing.simbroker.book import Deal, Entry, Holding

__all__ = [
    "Buy",
    "Close",
    "Sell",
    "account_info",
    "configure",
    "copy_rates_from",
    "copy_rates_from_pos",
    "copy_rates_range",
    "copy_ticks_from",
    "copy_ticks_range",
    "history_deals_get",
    "history_deals_total",
    "history_orders_get",
    "history_orders_total",
    "initialize",
    "last_error",
    "login",
    "market_book_add",
    "market_book_get",
    "market_book_release",
    "order_calc_margin",
    "order_calc_profit",
    "order_check",
    "order_send",
    "orders_get",
    "orders_total",
    "positions_get",
    "positions_total",
    "shutdown",
    "symbol_info",
    "symbol_info_tick",
    "symbol_select",
    "symbols_get",
    "symbols_total",
    "terminal_info",
    "version",
]

__version__ = "5.0.6231"
__author__ = "Herald"
globals().update(CONSTANTS)
globals().update(TYPES)

_FOREVER = 2**62
_MASK = 1_997
_NAME = 29
_BUILD = 5_000
_FIELDS: dict[str, tuple[str, Any]] = {
    "action": ("u32", 0), "magic": ("u64", 0), "order": ("u64", 0), "symbol": ("str", ""), "volume": ("f", 0.0),
    "price": ("f", 0.0), "stoplimit": ("f", 0.0), "sl": ("f", 0.0), "tp": ("f", 0.0), "deviation": ("u64", 0), "type": ("u32", 0),
    "type_filling": ("u32", 0), "type_time": ("u32", 0), "expiration": ("i64", 0), "comment": ("str", ""), "position": ("u64", 0),
    "position_by": ("u64", 0),
}  # fmt: skip


_WHOLE = (
    "chart_mode session_deals session_buy_orders session_sell_orders volume volumehigh volumelow ticks_bookdepth "
    "trade_calc_mode start_time expiration_time order_gtc_mode option_mode option_right"
)
_WORDS = "bank basis category exchange formula isin page"


class _State:
    """What the process holds: the terminal it may reach, and whether it does.

    Attributes:
        options: Of the terminal; None while there is none to be found.
        broker: Behind the terminal, made at the first use.
        is_open: There is a connection.
        knows: There was one: the terminal's build is known.
        error: What `last_error` answers.
    """

    def __init__(self) -> None:
        self.options: Options | None = None
        self.broker: Broker | None = None
        self.is_open = self.knows = False
        self.error: tuple[int, str] = (0, "")
        self.books: dict[str, int] = {}
        self._counts: dict[tuple[int, Fault], int] = {}
        self._control: tuple[int, int] | None = None
        self._switched: tuple[Fault, ...] = ()
        self._requests = 0

    def fail(self, code: int, words: str = "") -> None:
        self.error = code, words or TEXTS[code]

    def number(self) -> int:
        self._requests += 1
        return self._requests

    def faults(self) -> tuple[Fault, ...]:
        """Return every fault that is set now."""
        options = self.options
        if options is None:
            return ()
        if options.control is not None:
            try:
                stat = os.stat(options.control)
                stamp = stat.st_mtime_ns, stat.st_ino
            except OSError:
                stamp, self._switched = None, ()
            if stamp != self._control and stamp is not None:
                try:
                    self._switched = msgspec.json.decode(Path(options.control).read_bytes(), type=tuple[Fault, ...])
                except (OSError, msgspec.DecodeError):  # it is being written; the next call reads it
                    return (*options.faults, *self._switched)
                # Set anew, a fault hits anew; those of the options keep their places and their counts.
                self._counts = {key: count for key, count in self._counts.items() if key[0] < len(options.faults)}
            self._control = stamp
        return (*options.faults, *self._switched)

    def hit(self, kind: str, name: str) -> Fault | None:
        """Return the fault of *kind* that hits this call of *name*, and count it."""
        for at, fault in enumerate(self.faults()):
            if fault.kind != kind or (fault.calls and name not in fault.calls):
                continue
            count = self._counts.get((at, fault), 0)
            self._counts[at, fault] = count + 1
            if count >= fault.skip and (fault.times is None or count < fault.skip + fault.times):
                return fault
        return None

    def has(self, kind: str) -> Fault | None:
        """Return the fault of *kind* that holds, without counting."""
        return next((fault for fault in self.faults() if fault.kind == kind), None)


_state = _State()


def configure(options: Mapping[str, Any]) -> None:
    """Install a terminal; the package has no such function.

    Args:
        options: Of `herald.testing.mt5.options.Options`.

    Raises:
        ValueError: An option does not exist or has no sense.
    """
    global _state
    built = msgspec.convert(dict(options), Options, strict=True)
    _state = _State()
    _state.options = built


def _function(default: Any = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function of the package: a call that fails answers *default* and leaves the reason in `last_error`."""

    def make(work: Callable[..., Any]) -> Callable[..., Any]:
        name = work.__name__

        @functools.wraps(work)
        def call(*args: Any, **named: Any) -> Any:
            try:
                return work(*args, **named)
            except Bad as bad:
                _state.fail(-2, bad.words)
                if bad.left is not None:
                    spoilt(name, bad.left)
                return default
            except _Failed as failed:
                _state.fail(failed.code, failed.words)
                return default

        return call

    return make


class _Failed(Exception):
    """A call failed with a code of ``last_error``."""

    def __init__(self, code: int, words: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.words = words


def _ask(name: str, work: Callable[[Broker, int], Any]) -> Any:
    """Do *work* at the terminal, or fail as the connection does; *work* takes the broker and the time."""
    state = _state
    if not state.is_open:
        raise _Failed(-10004)
    assert state.broker is not None
    if (fault := state.hit("slow", name)) is not None:
        WallClock().sleep(fault.seconds)
    if state.hit("die", name) is not None:
        os._exit(3)
    if (fault := state.hit("code", name)) is not None:
        _break(fault.code)
        raise _Failed(fault.code)
    stale = state.has("stale")
    market = state.broker.exchange.market
    if stale is None:
        market.frozen_at = None
    elif market.frozen_at is None:
        market.frozen_at = state.broker.now()
    state.error = 1, TEXTS[1]
    result = work(state.broker, state.broker.advance())
    if state.hit("die_after", name) is not None:
        os._exit(3)
    if (fault := state.hit("lost", name)) is not None:
        code = fault.code or -10002
        _break(code)
        raise _Failed(code)
    return result


def _break(code: int) -> None:
    if code <= -10000 and code != -10005:
        _state.is_open = False


# --- the connection ---------------------------------------------------------------------------------


@_function(False)
def initialize(*args: Any, **named: Any) -> Any:
    """Connect to the terminal, starting it where it does not run; see the package's documentation."""
    if len(args) > 1:
        raise Bad("Invalid number of arguments")
    path = None
    if args:
        path = text(args[0], 257, "Invalid 1st unnamed argument")
    login, words = _credentials(named)
    if "path" in named:  # looked at last
        path = text(named["path"], 257, 'Invalid "path" argument')
    _state.is_open = False
    options = _state.options
    if options is None or (path and path != options.path):
        what = f"Process create failed '{path}'" if path else "MetaTrader 5 x64 not found"
        raise _Failed(-10003, f"IPC initialize failed, {what}")
    if (fault := _state.hit("slow", "initialize")) is not None:
        WallClock().sleep(fault.seconds)
    if (fault := _state.hit("code", "initialize")) is not None:
        raise _Failed(fault.code, f"IPC initialize failed, {fault.text}" if fault.code == -10003 else "")
    if _state.broker is None:
        _state.broker = Broker(options)
    if login is not None or words:
        _authorise(options, login or options.login, words)
    if _state.has("offline") is not None:
        raise _Failed(-10005)
    _state.is_open = _state.knows = True
    _state.error = 1, TEXTS[1]
    return True


def _credentials(named: Mapping[str, Any]) -> tuple[int | None, dict[str, str]]:
    """Read login, server, password and time-out, in the extension's order."""
    login = unsigned(named["login"], 64, 'Invalid "login" argument') if "login" in named else None
    words = {key: text(named[key], 253, f'Invalid "{key}" argument') for key in ("server", "password") if key in named}
    if "timeout" in named:
        unsigned(named["timeout"], 32, 'Invalid "timeout" argument')
    return login, words


def _authorise(options: Options, login: int, words: Mapping[str, str]) -> None:
    if options.otp:
        raise _Failed(-7)
    known = {"password": options.password, "server": options.server}
    if login != options.login or any(words[key] != known[key] for key in words):
        raise _Failed(-6)


@_function(False)
def login(*args: Any, **named: Any) -> Any:
    """Switch the terminal to an account."""
    if len(args) > 3:
        raise Bad("Invalid number of arguments")
    number = unsigned(args[0], 64, "Invalid 1st unnamed argument") if args else None
    words = {}
    for at, key, place in ((1, "password", "2nd"), (2, "server", "3rd")):
        if len(args) > at:
            words[key] = text(args[at], 253, f"Invalid {place} unnamed argument")
    by_name, named_words = _credentials(named)
    number, words = number if by_name is None else by_name, words | named_words
    if not number:
        raise Bad('Invalid "login" argument')

    def work(broker: Broker, now: int) -> bool:
        try:
            _authorise(broker.options, number, words)
        except _Failed:
            _state.is_open = False
            raise
        return True

    return _ask("login", work)


def shutdown(*args: Any, **named: Any) -> bool:
    """Close the connection; the terminal goes on."""
    no_arguments("shutdown", args, named)
    _state.is_open = False
    _state.error = 1, TEXTS[1]
    return True


def version(*args: Any, **named: Any) -> tuple[int, int, str]:
    """Return the terminal's version, its build and when that was released."""
    no_arguments("version", args, named)
    try:
        result: tuple[int, int, str] = _ask("version", lambda broker, now: (500, _BUILD, "1 Oct 2026"))
        return result
    except _Failed as failed:
        _state.fail(failed.code, failed.words)
        return 0, 0, ""


def last_error(*args: Any, **named: Any) -> tuple[int, str]:
    """Return code and text of what the last call came to."""
    no_arguments("last_error", args, named)
    return _state.error


# --- terminal and account -----------------------------------------------------------------------------


@_function()
def terminal_info(*args: Any, **named: Any) -> Any:
    """Return how the terminal stands."""
    no_arguments("terminal_info", args, named)

    def work(broker: Broker, now: int) -> Record:
        folder = broker.options.path.rpartition("\\")[0]
        return TYPES["TerminalInfo"](
            (
                False, False, _state.has("offline") is None, False, _state.has("button") is None, _state.has("api") is not None,
                False, False, False, False, _BUILD, broker.options.maxbars, 0, 30_000, 0.0, 0.0, "Simulated Broker",
                "Simulated Terminal", "English", folder, folder, folder,
            )
        )  # fmt: skip

    return _ask("terminal_info", work)


@_function()
def account_info(*args: Any, **named: Any) -> Any:
    """Return the account."""
    no_arguments("account_info", args, named)

    def work(broker: Broker, now: int) -> Record:
        options, stated = broker.options, broker.exchange.account(now)
        equity, used = stated["equity"], stated["margin_used"]
        level = round(equity / used * 100, 2) if used else 0.0
        switched = _state.has("account")
        number = options.login if switched is None else switched.code
        modes = {"netting": 0, "exchange": 1, "hedging": 2}
        return TYPES["AccountInfo"](
            (
                number, options.trade_mode, options.leverage, 200, 0, _state.has("investor") is None,
                _state.has("no_programs") is None, modes[options.margin_mode], 2, options.fifo_close,
                round(stated["balance"], 2), 0.0, round(equity - stated["balance"], 2), round(equity, 2), round(used, 2),
                round(equity - used, 2), level, options.margin_so_call, options.margin_so_so, 0.0, 0.0, 0.0, 0.0,
                0.0, "Simulated Trader", options.server, options.currency, "Simulated Broker",
            )
        )  # fmt: skip

    return _ask("account_info", work)


# --- symbols ------------------------------------------------------------------------------------------


@_function()
def symbols_total(*args: Any, **named: Any) -> Any:
    """Return how many symbols the server offers."""
    no_arguments("symbols_total", args, named)
    if not _state.knows:
        raise _Failed(-5)
    return _ask("symbols_total", lambda broker, now: len(broker.symbols))


def symbols_get(*args: Any, **named: Any) -> Any:
    """Return the symbols that a mask lets through, all without one."""
    return _symbols_get(*args, **named)


@_function()
def _symbols_get(*args: Any, **named: Any) -> Any:
    mask = "*"
    try:
        if len(args) > 1:
            raise Bad("Invalid number of arguments")
        if args:
            mask = text(args[0], _MASK, "Invalid 1st unnamed argument")
        if "group" in named:
            mask = text(named["group"], _MASK, 'Invalid "group" argument')
    except Bad as bad:
        _state.fail(-2, bad.words)
        return False
    if not _state.knows:
        raise _Failed(-5)

    def work(broker: Broker, now: int) -> tuple[Record, ...]:
        # The terminal filters here, and takes no mask for every symbol; elsewhere the extension does, and takes it for none.
        return tuple(_symbol(broker, one, now) for name, one in broker.symbols.items() if not mask or _in_group(name, mask))

    return _ask("symbols_get", work)


def _in_group(name: str, mask: str) -> bool:
    """Return whether a list of masks lets *name* through; a leading ``!`` keeps out."""
    found = False
    for part in mask.split(","):
        part = part.strip()
        if part.startswith("!"):
            if fnmatch.fnmatchcase(name, part[1:]):
                return False
        elif fnmatch.fnmatchcase(name, part):
            found = True
    return found


def _symbol(broker: Broker, one: Symbol, now: int) -> Record:
    tick = broker.tick(one.name, now)
    rate = broker.exchange.rate(one.currency_profit, now)
    step = one.trade_tick_size or one.point
    bid, ask = (tick.bid, tick.ask) if tick is not None else (0.0, 0.0)
    told: dict[str, Any] = dict.fromkeys(TYPES["SymbolInfo"].__match_args__, 0.0)
    told |= dict.fromkeys(_WHOLE.split(), 0) | dict.fromkeys(_WORDS.split(), "")
    value = round(step * one.trade_contract_size * rate, 8)
    told |= {
        "custom": False, "select": one.name in broker.selected, "visible": one.name in broker.selected,
        "time": 0 if tick is None else broker.shown(tick.time) // SECOND, "digits": one.digits,
        "spread": round((ask - bid) / one.point), "spread_float": True, "trade_mode": one.trade_mode,
        "trade_stops_level": one.trade_stops_level, "trade_freeze_level": one.trade_freeze_level,
        "trade_exemode": one.trade_exemode,
        "swap_mode": one.swap_mode, "swap_rollover3days": one.swap_rollover3days, "margin_hedged_use_leg": False,
        "expiration_mode": one.expiration_mode, "filling_mode": one.filling_mode, "order_mode": 127, "bid": bid, "ask": ask,
        "point": one.point, "trade_tick_value": value, "trade_tick_value_profit": value, "trade_tick_value_loss": value,
        "trade_tick_size": step, "trade_contract_size": one.trade_contract_size, "volume_min": one.volume_min,
        "volume_max": one.volume_max, "volume_step": one.volume_step, "volume_limit": one.volume_limit,
        "swap_long": one.swap_long,
        "swap_short": one.swap_short, "margin_hedged": one.trade_contract_size, "currency_base": one.currency_base,
        "currency_profit": one.currency_profit, "currency_margin": one.currency_base or one.currency_profit,
        "description": one.name, "name": one.name, "path": f"Simulated\\{one.name}",
    }  # fmt: skip
    return TYPES["SymbolInfo"](told.values())


def _row(
    name: str, args: Sequence[Any], named: Mapping[str, Any], *readers: Callable[[Any], Any], least: int | None = None
) -> list[Any]:
    """Read arguments that stand in a row."""
    no_keywords(name, named)
    if not (len(readers) if least is None else least) <= len(args) <= len(readers):
        raise Bad
    values = list(args)
    # Numbers are read as the row is, names afterwards.
    for names in (False, True):
        for at, read in enumerate(readers[: len(args)]):
            if (read is _name) is names:
                values[at] = read(args[at])
    return values


def _name(value: Any) -> str:
    return text(value, _NAME)


def _known(broker: Broker, name: str) -> Symbol:
    found = broker.symbols.get(name)
    if found is None:
        raise _Failed(-4)
    return found


@_function()
def symbol_info(*args: Any, **named: Any) -> Any:
    """Return the terms of a symbol."""
    (name,) = _row("symbol_info", args, named, _name)
    return _ask("symbol_info", lambda broker, now: _symbol(broker, _known(broker, name), now))


@_function()
def symbol_info_tick(*args: Any, **named: Any) -> Any:
    """Return the last price of a symbol."""
    (name,) = _row("symbol_info_tick", args, named, _name)

    def work(broker: Broker, now: int) -> Record:
        _known(broker, name)
        tick = broker.tick(name, now)
        if tick is None:
            if name not in broker.selected:
                raise _Failed(-4)
            return TYPES["Tick"]((0, 0.0, 0.0, 0.0, 0, 0, 0, 0.0))
        shown = broker.shown(tick.time)
        return TYPES["Tick"]((shown // SECOND, tick.bid, tick.ask, 0.0, 0, shown // 1_000_000, 6, 0.0))

    return _ask("symbol_info_tick", work)


@_function(False)
def symbol_select(*args: Any, **named: Any) -> Any:
    """Put a symbol into the Market Watch, or take it out."""
    name, *rest = _row("symbol_select", args, named, _name, bool, least=1)

    def work(broker: Broker, now: int) -> bool:
        _known(broker, name)
        if rest and not rest[0]:
            if any(held.symbol == name for held in broker.book.holdings.values()):
                raise _Failed(-1)
            broker.selected.pop(name, None)
        else:
            broker.selected.setdefault(name, now)
        return True

    return _ask("symbol_select", work)


def _book_call(name: str, args: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Answer one of the calls that open and close a depth of market: their failures leave `last_error` at success."""
    (symbol,) = _row(name, args, named, _name)
    try:
        return _ask(name, lambda broker, now: _known(broker, symbol).name)
    except _Failed:
        _state.error = 1, TEXTS[1]
        return False


@_function()
def market_book_add(*args: Any, **named: Any) -> Any:
    """Ask for the depth of market of a symbol."""
    found = _book_call("market_book_add", args, named)
    if found:
        _state.books[found] = _state.books.get(found, 0) + 1
    return bool(found)


@_function()
def market_book_get(*args: Any, **named: Any) -> Any:
    """Return the depth of market; the simulated broker has none."""
    (name,) = _row("market_book_get", args, named, _name)

    def work(broker: Broker, now: int) -> tuple[Record, ...]:
        _known(broker, name)
        if not _state.books.get(name):
            raise _Failed(-1)
        return ()

    return _ask("market_book_get", work)


@_function()
def market_book_release(*args: Any, **named: Any) -> Any:
    """Give a depth of market back."""
    found = _book_call("market_book_release", args, named)
    if found and not _state.books.pop(found, 0):
        return False
    return bool(found)


# --- prices -------------------------------------------------------------------------------------------


def _dated(name: str, args: Sequence[Any], named: Mapping[str, Any], kinds: str) -> tuple[list[Any], BaseException | None]:
    """Read a row of a symbol (s), C integers (i) and dates (d); a date that does not fit spoils the result of the call."""
    no_keywords(name, named)
    if len(args) != len(kinds):
        raise Bad
    values: list[Any] = list(args)
    # Numbers are read as the row is; the types of the others are looked at afterwards, in their order.
    for at, kind in enumerate(kinds):
        if kind == "i":
            values[at] = integer(args[at])
    left: BaseException | None = None
    for at, kind in enumerate(kinds):
        if kind == "s":
            values[at] = _name(args[at])
        elif kind == "d":
            try:
                values[at] = date(args[at], left)
            except Late as late:
                values[at], left = 0, late.left
    return values, left


def _array(name: str, left: BaseException | None, work: Callable[[Broker, int], Any]) -> Any:
    """Answer with an array that cannot be written, or lose it to the exception that a date left behind."""
    try:
        found = _ask(name, work)
    except _Failed as failed:
        if left is None:
            raise
        _state.fail(failed.code, failed.words)
        spoilt(name, left)
    if left is not None:
        spoilt(name, left)
    if isinstance(found, np.ndarray):
        found.flags.writeable = False
    return found


def _minutes(broker: Broker, name: str, timeframe: int) -> int:
    _known(broker, name)
    minutes = span_of(timeframe)
    if minutes is None:
        raise _Failed(-2)
    return minutes


@_function()
def copy_rates_from(*args: Any, **named: Any) -> Any:
    """Return *count* bars that begin at or before a time."""
    (name, frame, end, count), left = _dated("copy_rates_from", args, named, "sidi")

    def work(broker: Broker, now: int) -> Any:
        minutes = _minutes(broker, name, frame)
        if count <= 0 or count > broker.options.maxbars:
            raise _Failed(-2)
        return broker.bars(name, minutes, 0, end * SECOND, count, now)

    return _array("copy_rates_from", left, work)


@_function()
def copy_rates_from_pos(*args: Any, **named: Any) -> Any:
    """Return *count* bars up to the one at a position; 0 is the unfinished one."""
    (name, frame, first, count), left = _dated("copy_rates_from_pos", args, named, "siii")

    def work(broker: Broker, now: int) -> Any:
        minutes = _minutes(broker, name, frame)
        if count <= 0 or first < 0 or first + count > broker.options.maxbars:
            raise _Failed(-2)
        found = broker.bars(name, minutes, 0, _FOREVER, first + count, now)
        if first >= len(found):
            raise _Failed(-1)
        return found[: len(found) - first].copy()

    return _array("copy_rates_from_pos", left, work)


@_function()
def copy_rates_range(*args: Any, **named: Any) -> Any:
    """Return the bars that begin between two times, both included."""
    (name, frame, start, end), left = _dated("copy_rates_range", args, named, "sidd")

    def work(broker: Broker, now: int) -> Any:
        minutes = _minutes(broker, name, frame)
        if start > end:
            return np.empty(0, RATES)
        return broker.bars(name, minutes, start * SECOND, end * SECOND, broker.options.maxbars, now)

    return _array("copy_rates_range", left, work)


@_function()
def copy_ticks_from(*args: Any, **named: Any) -> Any:
    """Return *count* ticks from a time on."""
    (name, start, count, flags), left = _dated("copy_ticks_from", args, named, "sdii")

    def work(broker: Broker, now: int) -> Any:
        _known(broker, name)
        if count <= 0:
            raise _Failed(-2)
        return _flagged(broker.ticks(name, start * SECOND, _FOREVER, count, now), flags)

    return _array("copy_ticks_from", left, work)


@_function()
def copy_ticks_range(*args: Any, **named: Any) -> Any:
    """Return the ticks between two times."""
    (name, start, end, flags), left = _dated("copy_ticks_range", args, named, "sddi")

    def work(broker: Broker, now: int) -> Any:
        _known(broker, name)
        if start > end:
            return np.empty(0, TICKS)
        return _flagged(broker.ticks(name, start * SECOND, (end + 1) * SECOND - 1, 10**7, now), flags)

    return _array("copy_ticks_range", left, work)


def _flagged(found: Any, flags: int) -> Any:
    if flags not in (-1, 1, 2):
        raise _Failed(-2)
    return np.empty(0, TICKS) if flags == 2 else found  # what trades is not published, as of most currencies


# --- orders and positions -----------------------------------------------------------------------------


@_function()
def orders_total(*args: Any, **named: Any) -> Any:
    """Return how many orders wait."""
    no_arguments("orders_total", args, named)
    return _ask("orders_total", lambda broker, now: len(_waiting(broker)))


@_function()
def positions_total(*args: Any, **named: Any) -> Any:
    """Return how many positions are open."""
    no_arguments("positions_total", args, named)
    return _ask("positions_total", lambda broker, now: len(broker.book.holdings))


def _filter(name: str, args: Sequence[Any], named: Mapping[str, Any]) -> Callable[[int, str], bool]:
    """Read what to look for by name: a ticket goes before a symbol, and that before a mask; the others are not looked at."""
    if args:
        raise Bad("Unnamed arguments not allowed")
    if "ticket" in named:
        ticket = unsigned(named["ticket"], 64, 'Invalid "ticket" argument')
        return lambda number, of: number == ticket
    if "symbol" in named:
        symbol = text(named["symbol"], _NAME, 'Invalid "symbol" argument')
        return lambda number, of: of == symbol
    if "group" in named:
        mask = text(named["group"], _MASK, 'Invalid "group" argument')
        return lambda number, of: _in_group(of, mask)
    return lambda number, of: True


def _waiting(broker: Broker) -> list[Entry]:
    return [one for one in broker.book.working.values() if not one.parent]


@_function()
def orders_get(*args: Any, **named: Any) -> Any:
    """Return the orders that wait."""
    fits = _filter("orders_get", args, named)

    def work(broker: Broker, now: int) -> tuple[Record, ...]:
        return tuple(_order(broker, one, now) for one in _waiting(broker) if fits(one.number, one.symbol))

    return _ask("orders_get", work)


@_function()
def positions_get(*args: Any, **named: Any) -> Any:
    """Return the open positions."""
    fits = _filter("positions_get", args, named)

    def work(broker: Broker, now: int) -> tuple[Record, ...]:
        return tuple(_position(broker, one, now) for one in broker.book.holdings.values() if fits(one.ticket, one.symbol))

    return _ask("positions_get", work)


def _times(broker: Broker, moment: int) -> tuple[int, int]:
    shown = broker.shown(moment)
    return shown // SECOND, shown // 1_000_000


_STATES = {"accepted": 1, "partial": 3, "filled": 4, "cancelled": 2, "expired": 6, "rejected": 5}


def _order(broker: Broker, one: Entry, now: int) -> Record:
    note = broker.note_of(one.tag, one.parent_tag, one.type)
    placed, changed = _times(broker, one.placed), _times(broker, one.changed)
    tick = broker.exchange.market.tick(one.symbol, now)
    timed = 0 if one.expires is None else 2
    kind = (0 if one.side > 0 else 1) if one.parent else broker.kind_of(one)
    return TYPES["TradeOrder"](
        (
            one.number, *placed, *((0, 0) if one.is_working else changed),
            0 if one.expires is None else broker.shown(one.expires) // SECOND, kind, timed, note.filling, _STATES[one.status],
            note.magic, broker.position_id(one), 0, note.reason, one.size, one.remaining,
            one.price or one.average, one.stop_loss or 0.0, one.take_profit or 0.0,
            tick.bid if one.side > 0 else tick.ask, one.then or 0.0, one.symbol, note.comment, "",
        )
    )  # fmt: skip


def _position(broker: Broker, one: Holding, now: int) -> Record:
    note = broker.note_of(one.tag)
    tick = broker.exchange.market.tick(one.symbol, now)
    stop, target = broker.levels(one)
    return TYPES["TradePosition"](
        (
            one.ticket, *_times(broker, one.opened), *_times(broker, one.changed or one.opened), 0 if one.size > 0 else 1,
            note.magic, one.ticket, note.reason, abs(one.size), one.average, stop, target, tick.bid if one.size > 0 else tick.ask,
            round(one.swap, 2), round(broker.profit_of(one, now), 2), one.symbol, note.comment, "",
        )
    )  # fmt: skip


_ENTRIES = {"in": 0, "out": 1, "inout": 2, "out_by": 3}


def _deal(broker: Broker, one: Deal) -> Record:
    note = broker.note_of(one.tag, one.parent_tag, one.type)
    words = note.comment
    if one.parent:
        words = f"[{'sl' if one.type == 'stop' else 'tp'} {one.price:g}]"
    return TYPES["TradeDeal"](
        (
            one.number, one.order, *_times(broker, one.time), 0 if one.side > 0 else 1, _ENTRIES.get(one.entry, 0), note.magic,
            one.position, note.reason, one.size, one.price, round(-one.fee, 2), round(one.swap, 2), round(one.profit, 2), 0.0,
            one.symbol, words, "",
        )
    )  # fmt: skip


def _deposit(broker: Broker) -> Record:
    """Return the deal that brought the money."""
    state = broker.book.state
    return TYPES["TradeDeal"](
        (900_001, 0, *_times(broker, state.origin), 2, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, state.start, 0.0, "", "Deposit", "")
    )


def _period(name: str, args: Sequence[Any], named: Mapping[str, Any]) -> tuple[list[Any], BaseException | None]:
    return _dated(name, args, named, "dd")


def _span(broker: Broker, start: int, end: int, now: int) -> tuple[int, int]:
    """Return when two times of the server were, with what shows up late left out."""
    until = broker.meant((end + 1) * SECOND - 1)
    late = _state.has("late_history")
    return broker.meant(start * SECOND), until if late is None else min(until, now - round(late.seconds * SECOND))


def _history(
    name: str, args: Sequence[Any], named: Mapping[str, Any], find: Callable[[Broker, int, int, int], Sequence[Any]], id_of: Any
) -> Any:
    """Answer one of the two questions for what is over: two dates, or a ticket, or a position."""
    left: BaseException | None = None
    start, end = 0, 2**31 - 1
    wanted: tuple[str, int] | None = None
    mask = None
    if len(args) == 2:  # dates go before what is named
        (start, end), left = _dated(name, args, {}, "dd")
        if "group" in named:
            try:
                mask = text(named["group"], _MASK, 'Invalid "group" argument')
            except Bad as bad:
                raise Bad(bad.words, left) from None
    else:
        key = next((key for key in ("ticket", "position") if key in named), None)
        if key is None:
            raise Bad
        if args:
            raise Bad("Unnamed arguments not allowed")
        wanted = key, unsigned(named[key], 64, f'Invalid "{key}" argument')

    def work(broker: Broker, now: int) -> tuple[Record, ...]:
        since, until = _span(broker, start, end, now)
        found = [one for one in find(broker, since, until, now) if wanted is None or id_of(broker, one, wanted[0]) == wanted[1]]
        return tuple(one[1] for one in found if mask is None or _in_group(one[1].symbol, mask))

    return _array(name, left, work)


def _over(broker: Broker, since: int, until: int, now: int) -> list[tuple[Entry, Record]]:
    # Levels of a position become orders when they trade, not before.
    found = [one for one in broker.book.over(since, until) if one.filled or not one.parent]
    return [(one, _order(broker, one, now)) for one in found]


def _deals(broker: Broker, since: int, until: int, now: int) -> list[tuple[Deal | None, Record]]:
    found: list[tuple[Deal | None, Record]] = [(one, _deal(broker, one)) for one in broker.deals(since, until)]
    if since <= broker.book.state.origin <= until:
        found.insert(0, (None, _deposit(broker)))
    return found


def _order_id(broker: Broker, one: tuple[Entry, Record], key: str) -> int:
    return one[0].number if key == "ticket" else broker.position_id(one[0])


def _deal_id(broker: Broker, one: tuple[Deal | None, Record], key: str) -> int:
    return -1 if one[0] is None else one[0].order if key == "ticket" else one[0].position


@_function()
def history_orders_get(*args: Any, **named: Any) -> Any:
    """Return orders that are over."""
    return _history("history_orders_get", args, named, _over, _order_id)


@_function()
def history_deals_get(*args: Any, **named: Any) -> Any:
    """Return deals."""
    return _history("history_deals_get", args, named, _deals, _deal_id)


@_function()
def history_orders_total(*args: Any, **named: Any) -> Any:
    """Return how many orders ended between two times."""
    (start, end), left = _period("history_orders_total", args, named)
    work: Callable[[Broker, int], Any] = lambda broker, now: len(_over(broker, *_span(broker, start, end, now), now))  # noqa: E731
    return _array("history_orders_total", left, work)


@_function()
def history_deals_total(*args: Any, **named: Any) -> Any:
    """Return how many deals there were between two times."""
    (start, end), left = _period("history_deals_total", args, named)
    work: Callable[[Broker, int], Any] = lambda broker, now: len(_deals(broker, *_span(broker, start, end, now), now))  # noqa: E731
    return _array("history_deals_total", left, work)


# --- requests -----------------------------------------------------------------------------------------


def _wrapped(frame: FrameType | None) -> bool:
    """Return whether *frame* calls with ``**keywords``: the extension is handed that dict even where it is empty.

    CPython up to 3.13 says so in its instruction; later ones do not tell.
    """
    if frame is None or sys.version_info >= (3, 14):
        return False
    operation, argument = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
    return dis.opname[operation] == "CALL_FUNCTION_EX" and bool(argument & 1)


def _request(args: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request: one dict, or its fields by name."""
    if len(args) == 1 and not named and _wrapped(sys._getframe(3)):
        raise Bad("Unnamed arguments not allowed")
    if len(args) > 1 or not (args or named):
        raise Bad("Invalid number of arguments")
    if args and named:
        raise Bad("Unnamed arguments not allowed")
    given: Any = args[0] if args else named
    if not isinstance(given, dict):
        raise Bad
    read: dict[str, Any] = {}
    for key, (kind, default) in _FIELDS.items():
        if key not in given:
            read[key] = default
            continue
        value, words = given[key], f'Invalid "{key}" argument'
        if kind == "str":
            read[key] = text(value, _NAME, words)
        elif kind == "f":
            if not isinstance(value, float):
                raise Bad(words)
            read[key] = float(value)
        elif kind == "i64":
            if not isinstance(value, int):
                raise Bad(words)
            if not -(2**63) <= value < 2**63:
                raise Bad(words, OverflowError("int too big to convert"))
            read[key] = int(value)
        else:
            read[key] = unsigned(value, 64 if kind == "u64" else 32, words)
    return read


def _stated(request: Mapping[str, Any]) -> Record:
    return TYPES["TradeRequest"](request[key] for key in _FIELDS)


def _refusal(name: str) -> int:
    """Return the code with which a fault refuses this request; 0 for none."""
    if _state.has("button") is not None:
        return 10027
    if _state.has("offline") is not None:
        return 10031
    if _state.has("investor") is not None:
        return 10017
    if _state.has("no_programs") is not None:
        return 10026
    fault = _state.hit("retcode", name)
    return 0 if fault is None else fault.code


@_function()
def order_check(*args: Any, **named: Any) -> Any:
    """Return what a request would come to, as far as the terminal can tell."""
    request = _request(args, named)

    def work(broker: Broker, now: int) -> Record:
        told = dict.fromkeys(("balance", "equity", "profit", "margin", "margin_free", "margin_level"), 0.0)
        retcode, words = 0, "Done"
        refused = _refusal("order_check")
        try:
            if refused:
                raise Refused(refused)
            told |= broker.check(request, now)
        except Refused as no:
            retcode, words = no.retcode, str(no)
        return TYPES["OrderCheckResult"]((retcode, *told.values(), words, _stated(request)))

    return _ask("order_check", work)


@_function()
def order_send(*args: Any, **named: Any) -> Any:
    """Send a request to the trade server."""
    request = _request(args, named)

    def work(broker: Broker, now: int) -> Record:
        if _state.has("api") is not None:
            raise _Failed(-8)
        told: dict[str, Any] = {"retcode": 10009, "deal": 0, "order": 0, "volume": 0.0, "price": 0.0}
        words = ""
        refused = _refusal("order_send")
        partial, comment = _state.hit("partial", "order_send"), _state.hit("comment", "order_send")
        try:
            if refused:
                raise Refused(refused)
            told |= broker.send(request, now, None if partial is None else partial.share, _rewritten(comment, request["comment"]))
        except Refused as no:
            told["retcode"], words = no.retcode, str(no)
        if told["retcode"] in (10008, 10009, 10010) and (fault := _state.hit("lost_retcode", "order_send")) is not None:
            told = {"retcode": fault.code or 10012, "deal": 0, "order": 0, "volume": 0.0, "price": 0.0}
        tick = broker.tick(request["symbol"], now) if request["symbol"] in broker.symbols else None
        prices = (tick.bid, tick.ask) if tick is not None else (0.0, 0.0)
        words = words or _RETCODES.get(told["retcode"], "")
        return TYPES["OrderSendResult"]((*told.values(), *prices, words, _state.number(), 0, _stated(request)))

    return _ask("order_send", work)


def _rewritten(fault: Fault | None, comment: str) -> str | None:
    if fault is None:
        return None
    return fault.text if fault.text is not None else comment[: fault.length]


@_function()
def order_calc_margin(*args: Any, **named: Any) -> Any:
    """Return the margin of an order, account currency."""
    kind, name, volume, price = _row("order_calc_margin", args, named, masked, _name, double, double)

    def work(broker: Broker, now: int) -> float:
        symbol = _known(broker, name)
        if kind not in (0, 1) or volume <= 0 or price <= 0:
            raise _Failed(-2)
        if name not in broker.selected:
            raise _Failed(-1)
        return round(broker.margin_of(symbol, volume, price, now), 2)

    return _ask("order_calc_margin", work)


@_function()
def order_calc_profit(*args: Any, **named: Any) -> Any:
    """Return the profit of a trade between two prices, account currency."""
    kind, name, volume, opened, closed = _row("order_calc_profit", args, named, masked, _name, double, double, double)

    def work(broker: Broker, now: int) -> float:
        symbol = _known(broker, name)
        if kind not in (0, 1) or volume <= 0 or opened <= 0 or closed <= 0:
            raise _Failed(-2)
        if name not in broker.selected:
            raise _Failed(-1)
        side = 1 if kind == 0 else -1
        rate = broker.exchange.rate(symbol.currency_profit, now)
        return float(round((closed - opened) * side * volume * symbol.trade_contract_size * rate, 2))

    return _ask("order_calc_profit", work)


# --- the package's own helpers ------------------------------------------------------------------------


def _trade(kind: int, symbol: Any, volume: Any, price: Any, comment: Any, ticket: Any) -> Any:
    request: dict[str, Any] = {"action": 1, "symbol": symbol, "volume": volume, "type": kind, "deviation": 10}
    if comment is not None:
        request["comment"] = comment
    if ticket is not None:
        request["position"] = ticket
    result = None
    for _ in range(10):
        at = price
        if at is None:
            tick = symbol_info_tick(symbol)
            at = tick.ask if kind == 0 else tick.bid
        result = order_send(request | {"price": at})
        if result is None or result.retcode not in (10004, 10021):
            break
    return result


def Buy(symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None) -> Any:  # noqa: N802
    """Buy at the market."""
    return _trade(0, symbol, volume, price, comment, ticket)


def Sell(symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None) -> Any:  # noqa: N802
    """Sell at the market."""
    return _trade(1, symbol, volume, price, comment, ticket)


def Close(symbol: Any, *, comment: Any = None, ticket: Any = None) -> Any:  # noqa: N802
    """Close the positions of a symbol, or the one with *ticket*."""
    held = positions_get(ticket=ticket) if ticket is not None else positions_get(symbol=symbol)
    done = total = 0
    for one in held:
        total += 1
        result = _trade(1 - one.type, symbol, one.volume, None, comment, one.ticket)
        if result is not None and result.retcode == 10009:
            done += 1
    if not total:
        return False
    return True if done == total else "Partially" if done else False
