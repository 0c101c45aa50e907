"""A stand-in for the terminal at the other end of the MetaTrader5 extension's pipe.

It speaks the pipe's language over a socket (``genuine/pipe.py`` carries the frames) and lets a module with MetaTrader5's
interface answer, usually `herald.testing.mt5.terminal`. So the genuine extension does what it always does with
arguments, records and errors, while account, prices and fills are simulated. Faults that a terminal has on its pipe are
set here: slowness, hanging up with or without having done what was asked, refusals.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["COMMANDS", "Faults", "StandIn"]

COMMANDS = {
    "version": 1, "handshake": 4, "login": 5, "copy_ticks_from": 104, "copy_ticks_range": 105, "copy_rates_from": 106,
    "copy_rates_range": 107, "copy_rates_from_pos": 108, "ready": 109, "positions_total": 120, "positions": 121,
    "positions_symbol": 122, "positions_ticket": 123, "orders_total": 130, "orders": 131, "orders_symbol": 132,
    "orders_ticket": 133, "history_orders_total": 140, "history_orders": 141, "history_orders_position": 142,
    "history_orders_ticket": 143, "history_deals_total": 150, "history_deals": 151, "history_deals_position": 152,
    "history_deals_ticket": 153, "order_check": 160, "order_send": 161, "order_calc_margin": 162, "order_calc_profit": 163,
    "symbol_info": 170, "symbol_select": 171, "symbol_info_tick": 172, "symbols_total": 173, "symbols": 174,
    "symbols_group": 175, "terminal_info": 180, "account_info": 190, "market_book_add": 191, "market_book_release": 192,
    "market_book_get": 193,
}  # fmt: skip
"""The number of every command on the pipe."""

_NAMES = {number: name for name, number in COMMANDS.items()}
_LAYOUT: dict[str, Any] = json.loads(Path(__file__).with_name("layout.json").read_text(encoding="utf-8"))
_CODES = {"u32": "<I", "i32": "<i", "u64": "<Q", "i64": "<q", "f64": "<d", "bool": "<?"}
_OK, _NOT_FOUND = 1, -4


@dataclass
class Faults:
    """What the terminal does wrong, by name of the command; may be changed while it runs.

    Attributes:
        state: Answer to "are you ready?": 2 yes, 3 the login failed, anything else not yet.
        slow: Seconds before the answer.
        status: Code of ``last_error`` in place of an answer.
        die_before: Hang up instead of doing it.
        die_after: Do it, then hang up without an answer.
    """

    state: int = 2
    slow: dict[str, float] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    die_before: set[str] = field(default_factory=set)
    die_after: set[str] = field(default_factory=set)


class Body:
    """A request's payload, read from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, kind: str) -> Any:
        """Return the next number; *kind* as in the layout."""
        code = _CODES[kind]
        (value,) = struct.unpack_from(code, self._data, self._at)
        self._at += struct.calcsize(code)
        return value

    def text(self) -> str:
        """Return the next string."""
        count = self.number("u32")
        self._at += 2 * count
        return self._data[self._at - 2 * count : self._at].decode("utf-16-le")

    def record(self, name: str) -> dict[str, Any]:
        """Return the rest as one record."""
        found: dict[str, Any] = {}
        for key, offset, kind in _LAYOUT[name]["fields"]:
            if kind.startswith("wstr"):
                found[key] = self._data[offset : offset + int(kind[5:])].decode("utf-16-le").split("\0")[0]
            else:
                (found[key],) = struct.unpack_from(_CODES[kind], self._data, offset)
        return found


def pack_text(text: str) -> bytes:
    """Return a string as the pipe carries it."""
    data = text.encode("utf-16-le")
    return struct.pack("<I", len(data) // 2) + data


def pack_record(name: str, value: Any) -> bytes:
    """Return a result as the pipe carries it; the request inside a trade result is not carried."""
    data = bytearray(_LAYOUT[name]["size"])
    for key, offset, kind in _LAYOUT[name]["fields"]:
        found = getattr(value, key)
        if kind.startswith("wstr"):
            size = int(kind[5:])
            text = found.encode("utf-16-le")[: size - 2]
            data[offset : offset + len(text)] = text
        else:
            struct.pack_into(_CODES[kind], data, offset, found)
    return bytes(data)


def pack_records(name: str, values: Iterable[Any]) -> bytes:
    """Return records behind their count."""
    records = [pack_record(name, value) for value in values]
    return struct.pack("<I", len(records)) + b"".join(records)


def pack_rows(rows: Any) -> bytes:
    """Return bars or ticks, packed records already, behind their count."""
    return struct.pack("<I", len(rows)) + bytes(rows.tobytes())


class StandIn:
    """The terminal's end of the pipe.

    Args:
        module: Who answers; anything with MetaTrader5's interface, connected already.
        faults: What goes wrong.
    """

    def __init__(self, module: Any, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.asked: list[str] = []
        """Every command that arrived, by name."""
        self.failures: list[Exception] = []
        """What the module raised, which a terminal does not do; it hung up then."""
        self._module = module
        self._lock = threading.Lock()
        self._links: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="stand-in", daemon=True).start()

    def close(self) -> None:
        """Hang up on everybody and take no more."""
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close every connection, as a terminal that dies does."""
        for link in self._links:
            with contextlib.suppress(OSError):  # it is closed already
                link.shutdown(socket.SHUT_RDWR)
        self._links.clear()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._links.append(link)
            threading.Thread(target=self._serve, args=(link,), name="stand-in client", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        stop = threading.Event()
        with link, link.makefile("rb") as stream:
            while True:
                try:
                    head = stream.read(4)
                    request = stream.read(*struct.unpack("<I", head)) if len(head) == 4 else b""
                except OSError:
                    return
                if len(request) < 4:
                    return
                (number,) = struct.unpack_from("<I", request)
                name = _NAMES.get(number, str(number))
                self.asked.append(name)
                stop.wait(self.faults.slow.get(name, 0.0))
                if name in self.faults.die_before:
                    return
                try:
                    status, payload = self._answer(name, Body(request[4:]))
                except Exception as error:
                    self.failures.append(error)
                    return
                if name in self.faults.die_after:
                    return
                reply = struct.pack("<Ii", number, status) + payload
                try:
                    link.sendall(struct.pack("<I", len(reply)) + reply)
                except OSError:
                    return

    def _answer(self, name: str, body: Body) -> tuple[int, bytes]:
        if (status := self.faults.status.get(name)) is not None:
            return status, b""
        if name == "ready":
            return _OK, struct.pack("<I", self.faults.state)
        with self._lock:
            return self._ask(name, body)

    def _ask(self, name: str, body: Body) -> tuple[int, bytes]:
        mt5 = self._module
        match name:
            case "version":
                terminal, build, date = mt5.version()
                return _OK, struct.pack("<II", terminal, build) + pack_text(date)
            case "handshake":
                return _OK, struct.pack("<I", mt5.version()[1])
            case "login":
                body.number("u32")
                login, password, server = body.number("u64"), body.text(), body.text()
                words = {key: value for key, value in (("password", password), ("server", server)) if value}
                return self._done(mt5.login(login, **words), lambda _: b"")
            case "copy_ticks_from":
                symbol, start = body.text(), body.number("i64") // 1000
                return self._done(mt5.copy_ticks_from(symbol, start, body.number("i32"), body.number("i32")), pack_rows)
            case "copy_ticks_range":
                symbol, start, end = body.text(), body.number("i64") // 1000, body.number("i64") // 1000
                return self._done(mt5.copy_ticks_range(symbol, start, end, body.number("i32")), pack_rows)
            case "copy_rates_from":
                symbol, frame, start = body.text(), body.number("i32"), body.number("i64")
                return self._done(mt5.copy_rates_from(symbol, frame, start, body.number("i32")), pack_rows)
            case "copy_rates_range":
                symbol, frame, start = body.text(), body.number("i32"), body.number("i64")
                return self._done(mt5.copy_rates_range(symbol, frame, start, body.number("i64")), pack_rows)
            case "copy_rates_from_pos":
                symbol, frame, start = body.text(), body.number("i32"), body.number("i32")
                return self._done(mt5.copy_rates_from_pos(symbol, frame, start, body.number("i32")), pack_rows)
            case "positions_total" | "orders_total" | "symbols_total":
                return self._done(getattr(mt5, name)(), _pack_count)
            case "history_orders_total" | "history_deals_total":
                return self._done(getattr(mt5, name)(body.number("i64"), body.number("i64")), _pack_count)
            case "positions" | "positions_symbol" | "positions_ticket":
                return self._some(mt5.positions_get, "TradePosition", name, body)
            case "orders" | "orders_symbol" | "orders_ticket":
                return self._some(mt5.orders_get, "TradeOrder", name, body)
            case "history_orders" | "history_orders_position" | "history_orders_ticket":
                return self._some(mt5.history_orders_get, "TradeOrder", name, body)
            case "history_deals" | "history_deals_position" | "history_deals_ticket":
                return self._some(mt5.history_deals_get, "TradeDeal", name, body)
            case "order_check":
                return self._one("OrderCheckResult", mt5.order_check(body.record("TradeRequest")))
            case "order_send":
                return self._one("OrderSendResult", mt5.order_send(body.record("TradeRequest")))
            case "order_calc_margin":
                action, symbol, volume = body.number("u32"), body.text(), body.number("f64")
                return self._done(mt5.order_calc_margin(action, symbol, volume, body.number("f64")), _pack_float)
            case "order_calc_profit":
                action, symbol, volume, opened = body.number("u32"), body.text(), body.number("f64"), body.number("f64")
                return self._done(mt5.order_calc_profit(action, symbol, volume, opened, body.number("f64")), _pack_float)
            case "symbol_info":
                return self._one("SymbolInfo", mt5.symbol_info(body.text()))
            case "symbol_info_tick":
                return self._one("Tick", mt5.symbol_info_tick(body.text()))
            case "symbol_select":
                symbol = body.text()
                return self._done(mt5.symbol_select(symbol, body.number("bool")), lambda _: b"")
            case "symbols":
                return self._many("SymbolInfo", mt5.symbols_get())
            case "symbols_group":
                return self._many("SymbolInfo", mt5.symbols_get(body.text()))
            case "terminal_info":
                return self._one("TerminalInfo", mt5.terminal_info())
            case "account_info":
                return self._one("AccountInfo", mt5.account_info())
            case "market_book_add" | "market_book_release":
                is_done = getattr(mt5, name)(body.text())
                return (_OK if is_done else _NOT_FOUND), b""
            case "market_book_get":
                return self._many("BookInfo", mt5.market_book_get(body.text()))
            case _:
                raise AssertionError(f"the extension sent a command that nobody knows: {name}")

    def _some(self, get: Callable[..., Any], record: str, name: str, body: Body) -> tuple[int, bytes]:
        """Answer the three or four ways of asking for records."""
        _, _, by = name.rpartition("_")
        if by == "symbol":
            return self._many(record, get(symbol=body.text()))
        if by == "position":
            return self._many(record, get(position=body.number("u64")))
        if by == "ticket":
            found = get(ticket=body.number("u64"))
            return (_NOT_FOUND, b"") if found == () else self._one(record, None if found is None else found[0])
        if name.startswith("history"):
            return self._many(record, get(body.number("i64"), body.number("i64")))
        return self._many(record, get())

    def _many(self, record: str, values: Any) -> tuple[int, bytes]:
        return self._done(values, lambda found: pack_records(record, found))

    def _one(self, record: str, value: Any) -> tuple[int, bytes]:
        return self._done(value, lambda found: pack_record(record, found))

    def _done(self, value: Any, pack: Callable[[Any], bytes]) -> tuple[int, bytes]:
        """Return the packed value, or the module's error where it has none."""
        if value is None or value is False:
            code, _ = self._module.last_error()
            return (code if code < 0 else -1), b""
        return _OK, pack(value)


def _pack_count(value: int) -> bytes:
    return struct.pack("<I", value)


def _pack_float(value: float) -> bytes:
    return struct.pack("<d", value)
