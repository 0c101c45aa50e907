"""A module with MetaTrader5's interface whose answers are fixed: every field of every record has a value of its own."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["RATES", "TICKS", "FixedTerminal", "record"]

_LAYOUT: dict[str, Any] = json.loads(Path(__file__).with_name("layout.json").read_text(encoding="utf-8"))
RATES = np.dtype(
    [("time", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8"), ("tick_volume", "<u8"), ("spread", "<i4"),
     ("real_volume", "<u8")]
)  # fmt: skip
TICKS = np.dtype(
    [("time", "<i8"), ("bid", "<f8"), ("ask", "<f8"), ("last", "<f8"), ("volume", "<u8"), ("time_msc", "<i8"), ("flags", "<u4"),
     ("volume_real", "<f8")]
)  # fmt: skip
_BITS = {"u32": (0, 32), "i32": (1, 31), "u64": (0, 64), "i64": (1, 63)}


def record(name: str, seed: int, /, **fields: Any) -> SimpleNamespace:
    """Return a record of that type with random values in every field, edges of its numbers among them."""
    draw = random.Random(f"{name} {seed}")
    found: dict[str, Any] = {}
    for key, _, kind in _LAYOUT[name]["fields"]:
        if kind.startswith("wstr"):
            found[key] = "".join(draw.choice("aZ9 _.€ß\U0001f600") for _ in range(draw.randrange(14)))
        elif kind == "bool":
            found[key] = draw.random() < 0.5
        elif kind == "f64":
            found[key] = draw.choice((draw.uniform(-1e6, 1e6), 0.0, 1e308, 5e-324, draw.random()))
        else:
            signed, bits = _BITS[kind]
            low, high = (-(2**bits) if signed else 0), 2**bits - 1
            found[key] = draw.choice((draw.randint(low, high), low, high))
    return SimpleNamespace(**(found | fields))


class FixedTerminal:
    """Answers by the argument: what is asked twice is answered alike.

    Attributes:
        requests: What was sent with order_send and order_check.
        calls: Name and arguments of everything else that takes some.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.calls: list[tuple[Any, ...]] = []

    def last_error(self) -> tuple[int, str]:
        return -4, "Terminal: Not found"

    def version(self) -> tuple[int, int, str]:
        return 500, 5430, "01 Jan 2026"

    def login(self, login: int, password: str = "", server: str = "") -> bool:
        self.calls.append(("login", login, password, server))
        return login == 7

    def terminal_info(self) -> SimpleNamespace:
        return record("TerminalInfo", 1)

    def account_info(self) -> SimpleNamespace:
        return record("AccountInfo", 1)

    def symbols_total(self) -> int:
        return 12_345

    def symbols_get(self, group: str = "*") -> tuple[SimpleNamespace, ...]:
        self.calls.append(("symbols_get", group))
        return tuple(record("SymbolInfo", seed, name=f"S{seed}") for seed in range(3))

    def symbol_info(self, symbol: str) -> SimpleNamespace | None:
        return record("SymbolInfo", 9, name=symbol) if symbol != "nope" else None

    def symbol_info_tick(self, symbol: str) -> SimpleNamespace | None:
        return record("Tick", 1) if symbol != "nope" else None

    def symbol_select(self, symbol: str, enable: bool) -> bool:
        self.calls.append(("symbol_select", symbol, enable))
        return symbol != "nope"

    def market_book_add(self, symbol: str) -> bool:
        return symbol != "nope"

    market_book_release = market_book_add

    def market_book_get(self, symbol: str) -> tuple[SimpleNamespace, ...]:
        return tuple(record("BookInfo", seed) for seed in range(4))

    def copy_rates_from_pos(self, *args: Any) -> Any:
        self.calls.append(("copy_rates_from_pos", *args))
        return np.frombuffer(random.Random(1).randbytes(60 * 5), RATES)

    def copy_rates_from(self, *args: Any) -> Any:
        self.calls.append(("copy_rates_from", *args))
        return np.zeros(0, RATES)

    def copy_rates_range(self, *args: Any) -> Any:
        self.calls.append(("copy_rates_range", *args))
        return np.zeros(1, RATES)

    def copy_ticks_from(self, *args: Any) -> Any:
        self.calls.append(("copy_ticks_from", *args))
        return np.frombuffer(random.Random(2).randbytes(60 * 3), TICKS)

    def copy_ticks_range(self, *args: Any) -> Any:
        self.calls.append(("copy_ticks_range", *args))
        return np.zeros(2, TICKS)

    def positions_total(self) -> int:
        return 2

    def orders_total(self) -> int:
        return 3

    def history_orders_total(self, start: int, end: int) -> int:
        self.calls.append(("history_orders_total", start, end))
        return 4

    def history_deals_total(self, start: int, end: int) -> int:
        self.calls.append(("history_deals_total", start, end))
        return 5

    def positions_get(self, **by: Any) -> tuple[SimpleNamespace, ...]:
        return self._some("TradePosition", by)

    def orders_get(self, **by: Any) -> tuple[SimpleNamespace, ...]:
        return self._some("TradeOrder", by)

    def history_orders_get(self, *dates: Any, **by: Any) -> tuple[SimpleNamespace, ...]:
        return self._some("TradeOrder", by, *dates)

    def history_deals_get(self, *dates: Any, **by: Any) -> tuple[SimpleNamespace, ...]:
        return self._some("TradeDeal", by, *dates)

    def order_check(self, request: dict[str, Any]) -> SimpleNamespace:
        self.requests.append(request)
        return record("OrderCheckResult", 1)

    def order_send(self, request: dict[str, Any]) -> SimpleNamespace:
        self.requests.append(request)
        return record("OrderSendResult", 1)

    def order_calc_margin(self, *args: Any) -> float:
        self.calls.append(("order_calc_margin", *args))
        return 110.02

    def order_calc_profit(self, *args: Any) -> float:
        self.calls.append(("order_calc_profit", *args))
        return -12.5

    def _some(self, name: str, by: dict[str, Any], *dates: Any) -> tuple[SimpleNamespace, ...]:
        self.calls.append((name, by, *dates))
        if by.get("ticket") == 404:
            return ()
        return tuple(record(name, seed) for seed in range(1 if "ticket" in by else 2))
