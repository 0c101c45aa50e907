"""The connector to MetaTrader 5.

The package lives in a process beside the terminal (`herald.plugins.mt5.server`); this is the other end. What it makes up for:

- Nothing is pushed: prices, orders and executions are asked for in every `poll`, and compared with what was told before.
- Times are the server's wall clock; they are stored as UTC, and nothing is traded while the difference is not certain.
- Orders have no id of the client's. The client tag goes into the comment, and half of the magic number is made from it, because
  brokers cut and rewrite comments; the ticket is known from the answer where there was one.
- A call that gets no answer may have been carried out. For an order that is an `AmbiguousError`, and the order is looked for.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from herald.clock import DAY, SECOND, WallClock
from herald.components import Services
from herald.contracts import Capabilities
from herald.errors import (
    AmbiguousError,
    ConfigError,
    DataError,
    NotConnected,
    NotSent,
    NotSupported,
    Problem,
    RejectedError,
    TransientError,
)
from herald.model import (
    Account,
    AccountMode,
    Bar,
    BarSeries,
    Event,
    Fill,
    Instrument,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Position,
    Quote,
    Side,
    Timeframe,
    TimeInForce,
)
from herald.model.instrument import SwapMode, TradeMode
from herald.plugins.mt5.client import Reply, TerminalClient, TerminalRaised, TerminalRefused, TerminalSilent
from herald.plugins.mt5.clock import MOST_AHEAD, ServerClock
from herald.plugins.mt5.deals import DealWatch
from herald.plugins.mt5.filling import policies
from herald.plugins.mt5.process import NotStarted, TerminalProcess
from herald.plugins.mt5.records import (
    AccountInfo,
    OrderCheckResult,
    OrderSendResult,
    SymbolInfo,
    TerminalInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)
from herald.plugins.mt5.retcodes import explain, is_requote, is_success, is_unknown, name_of
from herald.plugins.mt5.settings import MT5Settings

__all__ = ["TIMEFRAMES", "MT5Connector"]

_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP})
_DEAL, _PENDING, _SLTP, _MODIFY, _REMOVE = 1, 5, 6, 7, 8
_HEDGING, _REAL = 2, 2
_BAD_VOLUME, _BAD_PRICE, _BAD_STOPS = 10014, 10015, 10016
_LOST = (-10001, -10002, -10004)
_UNSENT = (-2, -10001, -10004, -8)
"""Codes with which an order provably did not leave the terminal."""
_TAG = re.compile(r"[a-z2-7]{18}")
"""What a client tag of Herald's looks like; a comment of anybody else's does not."""
_STARTS = {"module": "module", "options": "module_options", "python": "python"}
"""Settings by what keeps the terminal process from starting for good."""
_NO_PRICE = "its market may be closed, or the broker sends none: look for it in the terminal's Market Watch"
_PAGE_BARS = 20_000
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_SWAPS = {
    0: SwapMode.NONE,
    1: SwapMode.POINTS,
    2: SwapMode.BASE,
    3: SwapMode.MARGIN,
    4: SwapMode.ACCOUNT,
    5: SwapMode.INTEREST_CURRENT,
    6: SwapMode.INTEREST_OPEN,
    7: SwapMode.REOPEN_CLOSE,
    8: SwapMode.REOPEN_BID,
}
_IN_POINTS = frozenset({SwapMode.POINTS, SwapMode.REOPEN_CLOSE, SwapMode.REOPEN_BID})
_MODES = {
    0: TradeMode.DISABLED,
    1: TradeMode.LONG_ONLY,
    2: TradeMode.SHORT_ONLY,
    3: TradeMode.CLOSE_ONLY,
    4: TradeMode.FULL,
}
TIMEFRAMES: dict[int, int] = {
    **{minutes * 60: minutes for minutes in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)},
    **{hours * 3_600: 0x4000 | hours for hours in (1, 2, 3, 4, 6, 8, 12, 24)},
    7 * 86_400: 0x8001,
}
"""``TIMEFRAME_*`` by seconds."""
_STATUS = {
    0: OrderStatus.PENDING,
    1: OrderStatus.ACCEPTED,
    2: OrderStatus.CANCELLED,
    3: OrderStatus.PARTIAL,
    4: OrderStatus.FILLED,
    5: OrderStatus.REJECTED,
    6: OrderStatus.EXPIRED,
}
_KINDS = {0: OrderType.MARKET, 1: OrderType.MARKET, 2: OrderType.LIMIT, 3: OrderType.LIMIT, 4: OrderType.STOP, 5: OrderType.STOP}


class _Flag(NamedTuple):
    """One of the permissions that trading needs, and what to do where it is missing."""

    name: str
    is_set: Callable[[TerminalInfo, AccountInfo], bool]
    remedy: str


_FLAGS = (
    _Flag(
        "terminal connected",
        lambda terminal, account: terminal.connected,
        "the terminal has no connection to the trade server; look at its journal",
    ),
    _Flag(
        "Python API allowed",
        lambda terminal, account: not terminal.tradeapi_disabled,
        "the terminal blocks trading through the Python API; clear that option under Tools, Options, Expert Advisors",
    ),
    _Flag(
        "Algo Trading button",
        lambda terminal, account: terminal.trade_allowed,
        "the Algo Trading button of the terminal is off; press it (it goes off when the account is changed)",
    ),
    _Flag(
        "account may trade",
        lambda terminal, account: account.trade_allowed,
        "the broker does not let this account trade (an investor password, or a closed account); log in with the main password",
    ),
    _Flag(
        "programs may trade",
        lambda terminal, account: account.trade_expert,
        "the broker does not let programs trade on this account; ask it",
    ),
)


class MT5Connector:
    """Trades on an account of MetaTrader 5."""

    def __init__(self, settings: MT5Settings, services: Services) -> None:
        """Keep the settings; nothing is started before `connect`."""
        self._settings = settings
        self._services = services
        self._clock = services.clock
        self._wall = WallClock()  # the terminal is another process: a call has seconds of the machine, whatever the run's clock
        self.server_clock = ServerClock(settings.server_zone)
        self._process: TerminalProcess | None = None
        self._client: TerminalClient | None = None
        self._is_ready = False
        self._account: AccountInfo | None = None
        self._pinned: AccountInfo | None = None
        self._terminal: TerminalInfo | None = None
        self._infos: dict[str, SymbolInfo] = {}
        self._names = dict(settings.names)
        self._own_names: dict[str, str] = {theirs: own for own, theirs in settings.names.items()}
        self._feeds: tuple[tuple[str, Timeframe | None], ...] = ()
        self._ticks: dict[str, Tick] = {}
        self._bars: dict[tuple[str, Timeframe], int] = {}
        self._deals = DealWatch()
        self._has_begun = False
        self._orders: dict[int, TradeOrder] = {}
        self._tags: dict[int, str] = {}
        self._openers: dict[int, str] = {}
        self._fillings: dict[tuple[str, OrderType, TimeInForce], int] = {}
        self._looked = 0.0

    # --- calls ------------------------------------------------------------------------------------

    def _call(self, name: str, *args: Any, seconds: float | None = None, **named: Any) -> Reply:
        """Call a function of the package.

        Raises:
            NotConnected: There is no connection to the process, or the terminal's pipe is gone.
            TransientError: No answer came; the process was killed where it is Herald's.
        """
        client = self._client
        if client is None or not client.is_open:
            raise NotConnected(f"not connected to the terminal; {name} was not sent; call connect() first")
        try:
            reply = client.call(name, *args, seconds=seconds or self._settings.timeout_seconds, **named)
        except NotSent as error:
            self._drop()
            raise NotConnected(str(error)) from error
        except TerminalSilent as error:
            self._drop()
            raise TransientError(f"{error}; the terminal process is started again") from error
        except TerminalRaised as error:
            raise RejectedError("invalid_request", f"MetaTrader5.{name} raised {error}") from error
        if reply.value is None and reply.code in _LOST:
            self._is_ready = False
            client.close()
            raise NotConnected(f"the terminal's pipe is gone ({reply.code}, {reply.text})")
        return reply

    def _value(self, name: str, *args: Any, seconds: float | None = None, **named: Any) -> Any:
        """Call a function whose failure is an error; return its value."""
        reply = self._call(name, *args, seconds=seconds, **named)
        if reply.value is None or reply.value is False:
            text = f"MetaTrader5.{name} failed ({reply.code}, {reply.text})"
            if reply.code == -4:
                raise DataError(text)
            if reply.code in (-2, -7):
                raise NotSupported(text)
            raise TransientError(text)
        return reply.value

    def _drop(self) -> None:
        """Give the connection up; a process of Herald's own is killed, for it may hang in a call that never ends."""
        self._is_ready = False
        if self._client is not None:
            self._client.close()
        if self._process is not None:
            self._process.kill()

    # --- connection -------------------------------------------------------------------------------

    def connect(self) -> None:
        """Start the process, reach the terminal, log in, wait for it, and compare the clocks.

        Raises:
            NotSent: Something is not there yet; the message names the stage.
            ConfigError: It will not get better by trying again: a wrong login, server or path.
        """
        if self._is_ready and self._client is not None and self._client.is_open:
            return
        try:
            for _, work in self.stages():
                work()
        except BaseException:
            self._is_ready = False
            if self._client is not None:
                self._client.close()
            raise
        self._is_ready = True
        self._deals.look_at_all()
        if not self._has_begun:
            self._begin()

    def stages(self) -> Sequence[tuple[str, Callable[[], None]]]:
        """Return the steps of a connection by name, in their order; each raises what is wrong and leaves the rest undone."""
        return (
            ("process", self._reach_process),
            ("terminal", self._reach_terminal),
            ("login", self._check_login),
            ("sync", self._wait_for_sync),
            ("symbols", lambda: self._select(self._settings.symbols)),
            ("clock", self._look_at_clock),
        )

    def versions(self) -> dict[str, Any]:
        """Return what runs on the other side: Python, platform, module, package, number of the process, terminal's build."""
        told: dict[str, Any] = dict(self._value("$versions"))
        told["build"] = 0 if self._terminal is None else self._terminal.build
        return told

    def permissions(self) -> dict[str, str]:
        """Return the five flags that must all be set before anything can be traded: what to do where one is not, else nothing."""
        terminal: TerminalInfo = self._value("terminal_info")
        account: AccountInfo = self._value("account_info")
        return {flag.name: "" if flag.is_set(terminal, account) else flag.remedy for flag in _FLAGS}

    def listed(self, pattern: str) -> Sequence[SymbolInfo]:
        """Return the broker's symbols that a mask with ``*`` lets through."""
        found: Sequence[SymbolInfo] = self._value("symbols_get", pattern, seconds=self._settings.history_timeout_seconds)
        return found

    def would_trade(self, symbol: str) -> str:
        """Return what the terminal says of the smallest market order in *symbol*, without sending it; empty where it would do."""
        info = self._infos[symbol]
        form = {
            "action": _DEAL,
            "symbol": info.name,
            "volume": float(info.volume_min),
            "type": 0,
            "price": float(self._value("symbol_info_tick", info.name).ask),
            "type_filling": policies(info.filling_mode, info.trade_exemode, OrderType.MARKET, TimeInForce.GTC)[0],
        }
        check: OrderCheckResult = self._value("order_check", form)
        return "" if check.retcode == 0 else explain(check.retcode, check.comment)

    def _reach_process(self) -> None:
        settings = self._settings
        if settings.address is not None:
            token = "" if settings.token is None else settings.token.get_secret_value()
            address = settings.address
        else:
            if self._process is None:
                self._process = TerminalProcess(
                    clock=self._wall,
                    python=settings.python,
                    module=settings.module,
                    options=settings.module_options,
                )
            try:
                self._process.start()
            except NotStarted as error:
                key = _STARTS.get(error.code)
                if key is not None:
                    raise self._wrong("process", str(error), key) from error
                raise NotSent(f"process: {error}") from error
            address, token = self._process.address, self._process.token
        if self._client is not None:
            self._client.close()  # one client is served at a time
        self._client = TerminalClient(address, token, clock=self._wall)
        try:
            self._client.open()
        except TerminalRefused as error:
            if error.code in ("token", "version"):
                raise self._wrong("process", str(error), "token" if error.code == "token" else "address") from error
            raise NotSent(f"process: {error}") from error
        except NotSent as error:
            raise NotSent(f"process: {error}") from error

    def _reach_terminal(self) -> None:
        settings = self._settings
        named: dict[str, Any] = {}
        if settings.path is not None:
            named["path"] = settings.path
        if settings.login is not None:
            named["login"] = settings.login
        if settings.password is not None:
            named["password"] = settings.password.get_secret_value()
        if settings.server is not None:
            named["server"] = settings.server
        named["timeout"] = round(settings.connect_seconds * 1_000)
        if settings.portable:
            named["portable"] = True
        reply = self._call("initialize", seconds=settings.connect_seconds + 5.0, **named)
        if reply.value is True:
            self._infos.clear()  # another terminal may have another Market Watch, and terms change from day to day
            return
        self._call("shutdown")  # a refused handshake leaves the pipe open
        code, text = reply.code, f"({reply.code}, {reply.text})"
        server = f" at {settings.server!r}" if settings.server else ""
        if code == -6:
            what = f"the broker refused the login of account {settings.login}{server} {text}"
            raise self._wrong("login", what, "login", "check login, password and server")
        if code == -7:
            what = f"account {settings.login} wants a one-time password or a certificate {text}"
            hint = "log in by hand in the terminal and leave out password, or use another account"
            raise self._wrong("login", what, "login", hint)
        if code == -5:
            raise self._wrong("pipe", f"terminal and package do not suit each other {text}", "path", "update both")
        if code == -2:
            raise self._wrong("pipe", f"the package refuses a setting {text}", "login", "correct it")
        if code == -10003:
            hint = "install MetaTrader 5, or state path to its terminal64.exe"
            if settings.path is not None:
                raise self._wrong("pipe", f"there is no terminal at {settings.path!r} {text}", "path", hint)
            raise self._wrong("pipe", f"no terminal was found {text}", "path", hint)
        if code == -10005:
            what = f"sync: the terminal runs and is not connected to the trade server yet {text}"
            raise NotSent(f"{what}; look at its journal and at the network")
        raise NotSent(f"pipe: the terminal cannot be reached {text}")

    def _wrong(self, stage: str, what: str, key: str, hint: str = "") -> ConfigError:
        """Return the error for what trying again does not mend; *hint* is empty where *what* says what to do."""
        return ConfigError(self._services.name, [Problem(f"{self._services.name}.{key}", f"{stage}: {what}", hint)])

    def _check_login(self) -> None:
        account: AccountInfo = self._value("account_info")
        settings = self._settings
        for key, wanted, found in (("login", settings.login, account.login), ("server", settings.server, account.server)):
            if wanted is not None and wanted != found:
                what = f"the terminal is logged in with {key} {found!r}, and the file says {wanted!r}"
                hint = "another program may have switched the terminal; give each account a terminal of its own (path)"
                raise self._wrong("login", what, key, hint)
        if self._pinned is not None and _identity(account) != _identity(self._pinned):
            what = f"the terminal is logged in to {_identity(account)}, and this run began on {_identity(self._pinned)}"
            raise self._wrong("login", what, "login", "log the terminal in again; state login and server, so that Herald does it")
        self._account = self._pinned = account

    def _wait_for_sync(self) -> None:
        end = self._clock.monotonic() + self._settings.connect_seconds
        while True:
            self._terminal = self._value("terminal_info")
            if self._terminal.connected:
                return
            if self._clock.monotonic() >= end:
                raise NotSent("sync: the terminal has no connection to the trade server; look at its journal")
            self._clock.sleep(0.2)

    def _begin(self) -> None:
        """Take everything there is as known: `poll` tells what is new from here on, `fills` the rest."""
        shown = self.server_clock.shown_at_least(self._clock.now()) // SECOND
        self._deals.begin(self._asked("history_deals_get", self._deals.first_look(shown).start), shown)
        self._orders = {one.ticket: one for one in self._value("orders_get")}
        self._has_begun = True

    def disconnect(self) -> None:
        """Close the connection, and end a process of Herald's own; the terminal goes on."""
        client, self._client, self._is_ready = self._client, None, False
        if client is not None:
            client.close()
        if self._process is not None:
            self._process.kill()
            self._process = None

    def ping(self) -> None:
        """Return if the terminal answers and is connected to the trade server."""
        self._terminal = self._value("terminal_info")
        if not self._terminal.connected:
            raise NotConnected("the terminal has lost the trade server")

    def capabilities(self) -> Capabilities:
        """Return what an account of MetaTrader 5 can do."""
        known = self._account
        mode = None if known is None else _mode(known)
        return Capabilities(
            trading=True,
            history=True,
            streaming=True,
            order_types=_TYPES,
            modes=frozenset(AccountMode) if mode is None else frozenset({mode}),
            brackets=True,
            modify=True,
            order_events=True,
            settle_seconds=self._settings.settle_seconds,
        )

    # --- permission and clock ---------------------------------------------------------------------

    def trouble(self) -> str:
        """Return why nothing can be traded now, with the remedy; empty where everything can: five flags and the clock agree."""
        terminal, account = self._terminal, self._account
        if terminal is None or account is None:
            return "not connected"
        for flag in _FLAGS:
            if not flag.is_set(terminal, account):
                return flag.remedy
        return self.server_clock.trouble

    def _watch(self) -> AccountInfo:
        """Read the account and the flags again.

        Raises:
            NotConnected: The terminal is logged in to another account than the connection began with.
        """
        account: AccountInfo = self._value("account_info")
        pinned = self._pinned
        if pinned is not None and _identity(account) != _identity(pinned):
            self._is_ready = False
            what = f"the terminal was switched from {_identity(pinned)} to {_identity(account)}, perhaps by another program"
            raise NotConnected(f"{what}; nothing is traded there; log it in again")
        self._account = account
        self._terminal = self._value("terminal_info")
        return account

    def _look_at_clock(self) -> None:
        names = list(dict.fromkeys((*self._infos, *(feed[0] for feed in self._feeds))))[:8]
        if not names:
            names = [one.name for one in self._value("symbols_get") if one.visible][:8]
        stamps = []
        for name in names:
            reply = self._call("symbol_info_tick", self._theirs(name))
            if reply.value is not None and reply.value.time_msc:
                stamps.append(reply.value.time_msc * 1_000_000)
        self.server_clock.learn(stamps, self._clock.now())
        self._looked = self._clock.monotonic()

    def _shown(self, moment: int) -> int:
        """Return the seconds that the server's clock shows at nanoseconds UTC."""
        try:
            return self.server_clock.to_server(moment) // SECOND
        except ValueError as error:
            raise NotConnected(f"clock: {error}") from error

    def _utc(self, shown: int) -> int:
        """Return nanoseconds UTC of the server's nanoseconds."""
        try:
            return self.server_clock.to_utc(shown)
        except ValueError as error:
            raise NotConnected(f"clock: {error}") from error

    # --- symbols ----------------------------------------------------------------------------------

    def _theirs(self, symbol: str) -> str:
        """Return the broker's name of a symbol."""
        return self._names.get(symbol, symbol + self._settings.suffix)

    def _ours(self, name: str) -> str:
        """Return Herald's name of a broker's symbol."""
        own = self._own_names.get(name)
        if own is not None:
            return own
        suffix = self._settings.suffix
        return name[: -len(suffix)] if suffix and name.endswith(suffix) else name

    def _select(self, symbols: Iterable[str]) -> None:
        """Put symbols into the Market Watch, and wait for the first tick of those that were not there.

        Raises:
            DataError: The broker does not have one; the message names what is near.
        """
        for symbol in symbols:
            if symbol in self._infos:
                continue
            name = self._theirs(symbol)
            reply = self._call("symbol_info", name)
            if reply.value is None:
                raise DataError(self._unknown(symbol, name))
            info: SymbolInfo = reply.value
            if not (info.visible and info.select):
                self._value("symbol_select", name, True)
                end = self._clock.monotonic() + self._settings.tick_seconds
                while self._clock.monotonic() < end:
                    tick = self._call("symbol_info_tick", name).value
                    if tick is not None and tick.time:
                        break
                    self._clock.sleep(0.05)
                info = self._value("symbol_info", name)
            self._infos[symbol] = info

    def _unknown(self, symbol: str, name: str) -> str:
        near = [self._ours(one.name) for one in self._value("symbols_get") if symbol.lower()[:6] in one.name.lower()][:5]
        known = f"it has {', '.join(near)}" if near else "see `herald mt5 symbols`"
        return f"the broker has no symbol {name!r}; {known}; correct it, or set suffix or names"

    def instruments(self) -> Sequence[Instrument]:
        """Return the terms of the symbols of the settings; of all in the Market Watch where none are named."""
        if self._settings.symbols:
            self._select(self._settings.symbols)
            infos = [self._infos[symbol] for symbol in self._settings.symbols]
        else:
            infos = [one for one in self._value("symbols_get", seconds=self._settings.history_timeout_seconds) if one.visible]
            for one in infos:
                self._infos.setdefault(self._ours(one.name), one)
        return tuple(self._instrument(one) for one in infos)

    def _instrument(self, info: SymbolInfo) -> Instrument:
        step = info.trade_tick_size or info.point
        steps = info.point / step if step else 1.0  # what the terminal states in points is stated in price steps here
        mode = _SWAPS.get(info.swap_mode, SwapMode.NONE)
        if mode is SwapMode.MARGIN and info.currency_margin == info.currency_base:
            mode = SwapMode.BASE
        moves = steps if mode in _IN_POINTS else 1.0
        zone = self.server_clock.zone
        return Instrument(
            symbol=self._ours(info.name),
            base=info.currency_base if len(info.currency_base) == 3 else "",
            quote=info.currency_profit,
            price_step=step,
            size_step=info.volume_step,
            min_size=info.volume_min,
            max_size=info.volume_max,
            contract_size=info.trade_contract_size,
            # On currencies and CFDs the leverage decides; on futures the exchange's margin of a lot.
            margin=info.margin_initial if info.trade_calc_mode in (1, 33, 34) else 0.0,
            stops_level=info.trade_stops_level * steps,
            freeze_level=info.trade_freeze_level * steps,
            swap_long=info.swap_long * moves,
            swap_short=info.swap_short * moves,
            swap_mode=mode,
            triple_swap_day=_DAYS[info.swap_rollover3days] if 0 <= info.swap_rollover3days < 7 else "Wed",
            swap_zone="UTC" if zone is None else zone.text,
            trade_mode=_MODES.get(info.trade_mode, TradeMode.DISABLED),
        )

    # --- prices -----------------------------------------------------------------------------------

    def quote(self, symbol: str) -> Quote:
        """Return the last quote."""
        self._select([symbol])
        tick: Tick = self._value("symbol_info_tick", self._theirs(symbol))
        if not tick.time:
            raise DataError(f"{symbol} has no price yet; {_NO_PRICE}")
        return self._quote(symbol, tick)

    def _quote(self, symbol: str, tick: Tick) -> Quote:
        return Quote(symbol, self._utc(tick.time_msc * 1_000_000), tick.bid, tick.ask)

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the finished bars that end in ``(start, end]``, nanoseconds UTC; None is no bound.

        The terminal hands out at most as many as its "Max bars in chart"; what lies before is not there.
        """
        code = TIMEFRAMES.get(timeframe.seconds)
        if code is None:
            raise NotSupported(f"MetaTrader 5 has no time frame {timeframe}; use 1m to 30m, 1h to 12h, 1d or 1w")
        self._select([symbol])
        now = self._clock.now()
        until = now if end is None else min(end, now)
        name, span = self._theirs(symbol), timeframe.span
        if start is None:
            limit = self._terminal.maxbars if self._terminal is not None else _PAGE_BARS
            rates = self._rates(name, code, None, limit)
        else:
            rates = self._rates(name, code, (start, until + span), 0)
        begins = rates["time"].astype(np.int64) * SECOND
        ends = self._utc_many(begins) + span
        keep = (ends <= until) & (ends > (-1 if start is None else start))
        rates, ends = rates[keep], ends[keep]
        point = self._infos[symbol].point
        opens, highs, lows, closes = (rates[key].astype(np.float64) for key in ("open", "high", "low", "close"))
        volume = np.where(rates["real_volume"] > 0, rates["real_volume"], rates["tick_volume"]).astype(np.float64)
        spread = rates["spread"].astype(np.float64) * point
        return BarSeries(symbol, span, ends, opens, highs, lows, closes, volume, spread)

    def _utc_many(self, shown: Any) -> Any:
        try:
            return self.server_clock.to_utc_many(shown)
        except ValueError as error:
            raise NotConnected(f"clock: {error}") from error

    def _rates(self, name: str, code: int, bounds: tuple[int, int] | None, limit: int) -> Any:
        """Return rates between two moments (nanoseconds UTC), or the last *limit* ones, asked again while they come in."""
        seconds = self._settings.history_timeout_seconds
        wait, last = 0.1, -1
        end = self._clock.monotonic() + seconds
        while True:
            if bounds is None:
                reply = self._call("copy_rates_from_pos", name, code, 0, max(min(limit, 100_000) - 1, 1), seconds=seconds)
            else:
                start, until = (max(self._shown(one), 1) for one in bounds)
                reply = self._pages(name, code, start, until, seconds)
            found = reply.value
            count = -1 if found is None else len(found)
            # The first request starts a download: what it gives grows until everything is there.
            if found is not None and (count == last or (count and wait > 0.1)):
                return found
            if found is None and reply.code not in (-1, -4):
                raise TransientError(f"MetaTrader5.copy_rates of {name} failed ({reply.code}, {reply.text})")
            if self._clock.monotonic() >= end:
                raise TransientError(f"the terminal has no history of {name} ({reply.code}, {reply.text}); open its chart once")
            last = count
            self._clock.sleep(wait)
            wait = min(wait * 2, 2.0)

    def _pages(self, name: str, code: int, start: int, until: int, seconds: float) -> Reply:
        """Ask for a range in pieces that are short enough for the terminal."""
        step = max(_PAGE_BARS * _seconds_of(code), 86_400)
        parts: list[Any] = []
        reply = Reply(None, 1, "Success")
        at = start
        while at <= until:
            reply = self._call("copy_rates_range", name, code, at, min(at + step - 1, until, 2**31 - 1), seconds=seconds)
            if reply.value is None:
                if reply.code not in (-1, -4) or not parts:
                    return reply
            elif len(reply.value):
                parts.append(reply.value)
            at += step
        if not parts:
            return reply
        return Reply(np.concatenate(parts), reply.code, reply.text)

    def subscribe(self, feeds: Sequence[tuple[str, Timeframe | None]]) -> None:
        """Let `poll` deliver these; what ended while there was no connection is delivered after it."""
        self._select(symbol for symbol, _ in feeds)
        for _, timeframe in feeds:
            if timeframe is not None and timeframe.seconds not in TIMEFRAMES:
                raise NotSupported(f"MetaTrader 5 has no time frame {timeframe}")
        self._feeds = tuple(feeds)
        now = self._clock.now()
        for symbol, timeframe in feeds:
            if timeframe is not None:
                self._bars.setdefault((symbol, timeframe), now - now % timeframe.span)
        self._look_at_clock()

    # --- news -------------------------------------------------------------------------------------

    def poll(self) -> Sequence[Event]:
        """Return what is new: orders and executions, then bars by their time, then quotes.

        What is returned counts as told only when everything was asked, so a poll that fails has lost nothing.
        """
        ticks: dict[str, Tick] = {}
        for symbol in dict.fromkeys(symbol for symbol, _ in self._feeds):
            tick = self._call("symbol_info_tick", self._theirs(symbol)).value
            if tick is not None and tick.time:
                ticks[symbol] = tick
        if self._clock.monotonic() - self._looked > 30.0:
            self._look_again(ticks.values())
        orders, changes = self._order_news()
        asked_at, shown = self._clock.monotonic(), self.server_clock.shown_at_least(self._clock.now()) // SECOND
        look = self._deals.next_look(shown, asked_at)
        deals = self._deals.news(self._asked("history_deals_get", look.start))
        fills = [self._fill(one) for one in deals if one.type in (0, 1)]
        bars = self._bar_news(ticks)
        fresh = [symbol for symbol, tick in ticks.items() if self._is_news(symbol, tick)]
        quotes = [self._quote(symbol, ticks[symbol]) for symbol in fresh]
        for symbol in fresh:
            self._ticks[symbol] = ticks[symbol]
        self._orders = orders
        self._deals.keep(look, deals, shown, asked_at)
        for bar in bars:
            self._bars[bar.symbol, Timeframe(bar.span // SECOND)] = bar.time
        return (*changes, *fills, *sorted(bars, key=lambda bar: bar.time), *quotes)

    def _look_again(self, ticks: Iterable[Tick]) -> None:
        """Compare clock and permissions again, now and then."""
        self._looked = self._clock.monotonic()
        self.server_clock.learn([tick.time_msc * 1_000_000 for tick in ticks], self._clock.now())
        self._terminal = self._value("terminal_info")
        if not self._terminal.connected:
            raise NotConnected("the terminal has lost the trade server")

    def _is_news(self, symbol: str, tick: Tick) -> bool:
        known = self._ticks.get(symbol)
        return known is None or (tick.time_msc, tick.bid, tick.ask) != (known.time_msc, known.bid, known.ask)

    def _bar_news(self, ticks: dict[str, Tick]) -> list[Bar]:
        found: list[Bar] = []
        for symbol, timeframe in self._feeds:
            if timeframe is None or symbol not in ticks:
                continue
            last = self._bars[symbol, timeframe]
            now = self._utc(ticks[symbol].time_msc * 1_000_000)
            if now < last + timeframe.span:
                continue
            series = self.bars(symbol, timeframe, last, None)
            found += [series.bar(index) for index in range(len(series)) if series.time[index] <= now]
        return found

    def _order_news(self) -> tuple[dict[int, TradeOrder], list[Order]]:
        """Return the working orders, and those that are new, changed or over."""
        now: dict[int, TradeOrder] = {one.ticket: one for one in self._value("orders_get")}
        changes = []
        for ticket, one in now.items():
            known = self._orders.get(ticket)
            if known is None or _terms(known) != _terms(one):
                changes.append(self._order(one))
        for ticket in self._orders.keys() - now.keys():
            over = self._call("history_orders_get", ticket=ticket).value
            if not over:
                now[ticket] = self._orders[ticket]  # history is behind; the next poll asks again
                continue
            changes.append(self._order(over[0]))
        return now, changes

    def _history(self, function: str, since: int) -> Sequence[Any]:
        """Return deals or orders from *since* (nanoseconds UTC) on."""
        return self._asked(function, self._shown(max(since, 0)))

    def _asked(self, function: str, start: int) -> Sequence[Any]:
        """Return deals or orders from *start* (seconds of the server's clock) to two days ahead of it, whatever its zone."""
        end = (self._clock.now() + MOST_AHEAD + 2 * DAY) // SECOND
        found: Sequence[Any] = self._value(function, max(start, 1), end, seconds=self._settings.history_timeout_seconds)
        return found

    # --- the account ------------------------------------------------------------------------------

    def account(self) -> Account:
        """Return the account as the terminal states it."""
        info = self._watch()
        return Account(
            id=str(info.login),
            server=info.server,
            real=info.trade_mode == _REAL,
            currency=info.currency,
            mode=_mode(info),
            balance=info.balance,
            equity=info.equity,
            margin_used=info.margin,
            margin_free=info.margin_free,
            leverage=max(float(info.leverage), 1.0),
            time=self._clock.now(),
        )

    def positions(self) -> Sequence[Position]:
        """Return the open positions, one for each ticket."""
        found = []
        for one in self._positions():
            size = one.volume if one.type == 0 else -one.volume
            opened = self._utc(one.time_msc * 1_000_000)
            found.append(Position(self._ours(one.symbol), size, one.price_open, 0.0, opened, (str(one.identifier),)))
        return tuple(found)

    def _positions(self) -> Sequence[TradePosition]:
        found: Sequence[TradePosition] = self._value("positions_get")
        for one in found:
            self._openers.setdefault(one.identifier, self._tag(one.comment, one.identifier))
        return found

    def open_orders(self) -> Sequence[Order]:
        """Return the working orders; the levels of positions are no orders at MetaTrader 5."""
        return tuple(self._order(one) for one in self._value("orders_get"))

    def find(self, client_tag: str, since: int) -> Sequence[Order]:
        """Return the orders with this tag, in comment or magic number or by a known ticket, placed or changed since then."""
        found: dict[int, TradeOrder] = {}
        for one in (*self._history("history_orders_get", since - DAY), *self._value("orders_get")):
            if self._is_named(one, client_tag):
                found[one.ticket] = one
        return tuple(self._order(one) for one in found.values())

    def _is_named(self, one: TradeOrder, tag: str) -> bool:
        if one.comment == tag or self._tags.get(one.ticket) == tag:
            return True
        return one.magic == self._magic(tag)

    def fills(self, since: int) -> Sequence[Fill]:
        """Return the executions at or after a time, nanoseconds UTC; what changed the balance otherwise is left out."""
        found = [self._fill(one) for one in self._history("history_deals_get", since) if one.type in (0, 1)]
        return tuple(one for one in found if one.time >= since)

    def _magic(self, tag: str) -> int:
        return self._settings.magic << 32 | zlib.crc32(tag.encode())

    def _tag(self, comment: str, ticket: int) -> str:
        """Return the client tag of an order; empty where it has none, or the broker rewrote it and the ticket is not known."""
        if _TAG.fullmatch(comment):
            return comment
        return self._tags.get(ticket, "")

    def _order(self, one: TradeOrder) -> Order:
        kind = _KINDS.get(one.type, OrderType.MARKET)
        tag = self._tag(one.comment, one.ticket)
        expires = self._utc(one.time_expiration * SECOND) if one.time_expiration else None
        filled = round(one.volume_initial - one.volume_current, 8)
        status = _STATUS.get(one.state, OrderStatus.ACCEPTED)
        if status is OrderStatus.CANCELLED and filled >= one.volume_initial - 1e-9:
            status = OrderStatus.FILLED
        request = OrderRequest(
            id=tag or str(one.ticket),
            strategy="",
            symbol=self._ours(one.symbol),
            side=Side.BUY if one.type in (0, 2, 4, 6) else Side.SELL,
            size=one.volume_initial,
            type=kind,
            limit=one.price_open if kind is OrderType.LIMIT else None,
            stop=one.price_open if kind is OrderType.STOP else None,
            stop_loss=one.sl or None,
            take_profit=one.tp or None,
            time_in_force=TimeInForce.GTD if expires is not None else TimeInForce.GTC,
            expires=expires,
            position=str(one.position_id) if one.position_id and one.position_id != one.ticket else None,
            client_tag=tag,
        )
        return Order(
            request=request,
            status=status,
            time=self._utc((one.time_done_msc or one.time_setup_msc) * 1_000_000),
            broker_id=str(one.ticket),
            filled=filled,
            average_price=one.price_open if filled and one.price_open else math.nan,
        )

    def _fill(self, deal: TradeDeal) -> Fill:
        account = self._account
        hedging = account is not None and _mode(account) is AccountMode.HEDGING
        return Fill(
            id=str(deal.ticket),
            order_id=self._name(deal),
            symbol=self._ours(deal.symbol),
            side=Side.BUY if deal.type == 0 else Side.SELL,
            size=deal.volume,
            price=deal.price,
            fee=round(-(deal.commission + deal.fee), 8),
            fee_currency="" if account is None else account.currency,
            time=self._utc(deal.time_msc * 1_000_000),
            swap=deal.swap,
            position=str(deal.position_id) if hedging else "",
        )

    def _name(self, deal: TradeDeal) -> str:
        """Return the name of the order behind a deal: its tag, or that of what it protected, or its ticket."""
        tag = self._tag(deal.comment, deal.order)
        if deal.entry == 0 and tag:
            self._openers.setdefault(deal.position_id, tag)
        if deal.reason not in (4, 5):
            return tag or str(deal.order)
        opener = self._opener(deal.position_id)
        return f"{opener}.{'sl' if deal.reason == 4 else 'tp'}"

    def _opener(self, position: int) -> str:
        """Return the name of the order that opened a position."""
        known = self._openers.get(position)
        if known:
            return known
        for one in self._call("history_deals_get", position=position).value or ():
            if one.entry == 0:
                name = self._openers[position] = self._tag(one.comment, one.order) or str(one.order)
                return name
        return str(position)

    # --- orders -----------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> str:
        """Send an order; return its ticket.

        Raises:
            NotSupported: MetaTrader 5 has no orders of this type.
            NotSent: It provably did not leave.
            AmbiguousError: Nobody knows whether it was carried out.
            RejectedError: Terminal or server refused it.
        """
        if request.type not in _TYPES:
            raise NotSupported(f"MetaTrader 5 has no {request.type} orders (order {request.id}); it has market, limit and stop")
        self._watch()
        trouble = self.trouble()
        if trouble:
            raise RejectedError("not_permitted", trouble)
        self._select([request.symbol])
        info, tag = self._infos[request.symbol], request.client_tag or request.id
        form = self._form(request, info, tag)
        first = self._ticks.get(request.symbol)
        kind, timed = request.type, request.time_in_force
        known = self._fillings.get((request.symbol, kind, timed))
        tries = [known] if known is not None else list(policies(info.filling_mode, info.trade_exemode, kind, timed))
        requotes = 0
        while True:
            form["type_filling"] = tries[0]
            if kind is OrderType.MARKET:
                form["price"] = self._price(request, info, first)
            code, answer = self._try(form, info)
            if is_success(code) and answer is not None:
                self._fillings[request.symbol, kind, timed] = tries[0]
                ticket = answer.order or self._ticket_of(answer)
                if not ticket:
                    raise AmbiguousError(f"{explain(code, answer.comment)}, but it names no order")
                self._tags[ticket] = tag
                return str(ticket)
            if code == 10030 and len(tries) > 1:
                tries.pop(0)
                continue
            if is_requote(code) and requotes < self._settings.requotes and kind is OrderType.MARKET:
                requotes += 1
                continue
            raise _refusal(code, "" if answer is None else answer.comment, info)

    def _form(self, request: OrderRequest, info: SymbolInfo, tag: str) -> dict[str, Any]:
        """Return the request as the package takes it: floats that are floats, and no key without a value."""
        buys = request.side is Side.BUY
        form: dict[str, Any] = {
            "action": _DEAL if request.type is OrderType.MARKET else _PENDING,
            "symbol": info.name,
            "volume": float(request.size),
            "magic": self._magic(tag),
            "comment": tag,
            "deviation": self._settings.deviation_points,
        }
        if request.type is OrderType.MARKET:
            form["type"] = 0 if buys else 1
        elif request.type is OrderType.LIMIT:
            form["type"], form["price"] = 2 if buys else 3, self._rounded(request.limit or 0.0, info)
        else:
            form["type"], form["price"] = 4 if buys else 5, self._rounded(request.stop or 0.0, info)
        if request.stop_loss is not None:
            form["sl"] = self._rounded(request.stop_loss, info)
        if request.take_profit is not None:
            form["tp"] = self._rounded(request.take_profit, info)
        if request.position is not None and request.position.isdecimal():
            form["position"] = self._ticket_now(int(request.position))
        elif request.reduce_only and request.type is OrderType.MARKET:
            form["position"] = self._position_against(request)
        if request.expires is not None:
            form["type_time"] = 2
            form["expiration"] = self._shown(request.expires)
        elif request.time_in_force is TimeInForce.DAY and request.type is not OrderType.MARKET:
            form["type_time"] = 1
        return form

    def _ticket_now(self, identifier: int) -> int:
        """Return the ticket by which a position goes now; a swap that closes and opens it again changes the ticket."""
        if any(one.identifier == identifier for one in self._value("positions_get", ticket=identifier)):
            return identifier
        return next((one.ticket for one in self._positions() if one.identifier == identifier), identifier)

    def _position_against(self, request: OrderRequest) -> int:
        """Return the position that an order without a ticket reduces.

        Raises:
            RejectedError: There is none, or no single one.
        """
        name = self._theirs(request.symbol)
        against = [one for one in self._positions() if one.symbol == name and (one.type == 0) == (request.side is Side.SELL)]
        if len(against) == 1:
            return against[0].ticket
        what = "there is no position" if not against else f"there are {len(against)} positions, and no ticket is named"
        raise RejectedError("position_closed" if not against else "no_ticket", f"{what} of {request.symbol} to reduce")

    def _rounded(self, price: float, info: SymbolInfo) -> float:
        step = info.trade_tick_size or info.point
        return round(round(price / step) * step, info.digits)

    def _price(self, request: OrderRequest, info: SymbolInfo, first: Tick | None) -> float:
        """Return the price of now, on the side of the order, if it lies within the budget.

        Raises:
            RejectedError: It has moved away by more than *slippage_points*, or there is none.
        """
        tick: Tick = self._value("symbol_info_tick", info.name)
        if not tick.time:
            raise RejectedError("no_prices", f"{request.symbol} has no price; {_NO_PRICE}")
        buys = request.side is Side.BUY
        price = tick.ask if buys else tick.bid
        budget = self._settings.slippage_points
        if budget is not None and first is not None and not request.reduce_only and request.position is None:
            seen = first.ask if buys else first.bid
            worse = (price - seen) * (1 if buys else -1) / info.point
            if worse > budget + 1e-9:
                text = f"{request.symbol} moved {worse:.0f} points from {seen:g} to {price:g}; slippage_points is {budget}"
                raise RejectedError("slippage", text)
        return price

    def _try(self, form: dict[str, Any], info: SymbolInfo) -> tuple[int, OrderSendResult | None]:
        """Check and send a request once; return the server's code and answer.

        Raises:
            NotSent: It provably did not leave.
            AmbiguousError: Nobody knows.
            RejectedError: The package refused it.
        """
        if self._settings.order_check:
            check: OrderCheckResult = self._value("order_check", form)
            if check.retcode:
                if check.retcode == 10030 or is_requote(check.retcode):
                    return check.retcode, None
                raise _refusal(check.retcode, check.comment, info)
        answer = self._send(form)
        return answer.retcode, answer

    def _send(self, form: dict[str, Any]) -> OrderSendResult:
        client = self._client
        if client is None or not client.is_open:
            raise NotSent("not connected to the terminal; nothing was sent")
        try:
            reply = client.call("order_send", form, seconds=self._settings.timeout_seconds)
        except NotSent:
            self._drop()
            raise
        except TerminalSilent as error:
            self._drop()
            raise AmbiguousError(f"{error}; the request may have been carried out") from error
        except TerminalRaised as error:
            raise RejectedError("invalid_request", f"MetaTrader5.order_send raised {error}; nothing was sent") from error
        answer: OrderSendResult | None = reply.value
        if answer is None:
            text = f"MetaTrader5.order_send had no answer ({reply.code}, {reply.text})"
            if reply.code <= -10000:
                self._is_ready = False
                client.close()
            if reply.code == -8:
                raise RejectedError("not_permitted", f"{text}; the terminal blocks trading through the Python API")
            if reply.code == -2:
                raise RejectedError("invalid_request", text)
            if reply.code in _UNSENT:
                raise NotSent(f"{text}; nothing was sent")
            raise AmbiguousError(f"{text}; the request may have been carried out")
        if is_unknown(answer.retcode, answer.order):
            raise AmbiguousError(explain(answer.retcode, answer.comment))
        return answer

    def _ticket_of(self, answer: OrderSendResult) -> int:
        """Return the order of a deal that was answered without one; the deal's number while history lacks it, or 0."""
        for deal in self._history("history_deals_get", self._clock.now() - DAY):
            if deal.ticket == answer.deal:
                return int(deal.order)
        return answer.deal

    def modify(self, broker_id: str, request: OrderRequest) -> None:
        """Change a working order, or the levels of the position that it opened, to *request*.

        Raises:
            NotSent: It provably did not leave.
            AmbiguousError: It may have been carried out.
            RejectedError: Terminal or server refused it.
        """
        ticket = int(broker_id) if broker_id.isdecimal() else 0
        self._watch()
        self._select([request.symbol])
        info = self._infos[request.symbol]
        levels = {
            "sl": self._rounded(request.stop_loss, info) if request.stop_loss is not None else 0.0,
            "tp": self._rounded(request.take_profit, info) if request.take_profit is not None else 0.0,
        }
        working = self._value("orders_get", ticket=ticket)
        if working:
            price = request.limit if request.type is OrderType.LIMIT else request.stop
            form = {"action": _MODIFY, "order": ticket, "symbol": info.name, "price": self._rounded(price or 0.0, info), **levels}
            if request.size != working[0].volume_current:
                what = f"MetaTrader 5 cannot change the volume of order {ticket}; withdraw it and send another"
                raise RejectedError("volume_fixed", what)
            if request.expires is not None:
                form |= {"type_time": 2, "expiration": self._shown(request.expires)}
        else:
            name = info.name
            held = [one for one in self._positions() if one.identifier == ticket or (not self._hedges() and one.symbol == name)]
            if not held:
                raise RejectedError("position_closed", f"order {ticket} works no more, and its position is closed")
            form = {"action": _SLTP, "position": held[0].ticket, "symbol": name, **levels}
        answer = self._send(form)
        if not is_success(answer.retcode) and answer.retcode != 10025:
            raise _refusal(answer.retcode, answer.comment, info)

    def _hedges(self) -> bool:
        return self._account is not None and _mode(self._account) is AccountMode.HEDGING

    def cancel(self, broker_id: str) -> None:
        """Withdraw an order; one that is gone already is success.

        Raises:
            NotSent: It provably did not leave.
            AmbiguousError: It may have been carried out.
            RejectedError: Terminal or server refused it.
        """
        ticket = int(broker_id) if broker_id.isdecimal() else 0
        self._watch()
        answer = self._send({"action": _REMOVE, "order": ticket})
        if is_success(answer.retcode) or answer.retcode == 10035 or not self._value("orders_get", ticket=ticket):
            return
        raise RejectedError(name_of(answer.retcode), explain(answer.retcode, answer.comment))


def _refusal(code: int, comment: str, info: SymbolInfo) -> RejectedError:
    """Return the error for an order that the server refuses, with the terms of the symbol that it broke."""
    text = explain(code, comment)
    if code == _BAD_VOLUME:
        text += f"; {info.name} takes {info.volume_min:g} to {info.volume_max:g} lots in steps of {info.volume_step:g}"
    elif code in (_BAD_PRICE, _BAD_STOPS):
        away = max(info.trade_stops_level, 1) * info.point
        step = info.trade_tick_size or info.point
        text += f"; {info.name} has steps of {step:.{info.digits}f}, and levels keep {away:.{info.digits}f} away from its price"
    return RejectedError(name_of(code), text)


def _identity(account: AccountInfo) -> str:
    kind = "real" if account.trade_mode == _REAL else "demo"
    return f"{kind} account {account.login} at {account.server!r}"


def _mode(account: AccountInfo) -> AccountMode:
    return AccountMode.HEDGING if account.margin_mode == _HEDGING else AccountMode.NETTING


def _terms(order: TradeOrder) -> tuple[Any, ...]:
    return order.state, order.volume_current, order.price_open, order.sl, order.tp, order.time_expiration


def _seconds_of(code: int) -> int:
    return next(seconds for seconds, one in TIMEFRAMES.items() if one == code)
