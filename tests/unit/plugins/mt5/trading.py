"""A connector to a simulated terminal, and the orders that its tests send."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from herald.clock import Clock, WallClock
from herald.live.tags import client_tag
from herald.model import Event, Fill, Order, OrderRequest, Side
from herald.plugins.mt5.connector import MT5Connector
from herald.plugins.mt5.settings import MT5Settings
from herald.testing import make_services

MODULE = "herald.testing.mt5.terminal"
QUIET = {"tick_seconds": 1.0, "history_days": 0.1}
STILL = {"name": "EURUSD", "currency_base": "EUR", "price": 1.1, "volatility": 0.0, "spread": 10}
"""Stands at 1.10000 / 1.10010."""
Make = Callable[..., MT5Connector]
Calls = list[tuple[str, tuple[Any, ...], dict[str, Any]]]
"""What was asked of the package: name, arguments, keywords."""


def made(settings: dict[str, Any], options: dict[str, Any], clock: Clock | None = None) -> MT5Connector:
    known = {"login": 1001, "password": "secret", "server": "Sim-Demo", "module": MODULE, "symbols": ("EURUSD",)}
    services = dataclasses.replace(make_services("connectors.main"), clock=clock or WallClock())
    return MT5Connector(MT5Settings(**(known | settings), module_options=QUIET | options), services)


def tag(number: int) -> str:
    return client_tag("journal", "1001", f"x-{number:06d}")


def order(number: int, side: Side = Side.BUY, size: float = 0.1, **terms: Any) -> OrderRequest:
    return OrderRequest(**({"symbol": "EURUSD"} | terms), id=f"x-{number:06d}", strategy="x", side=side, size=size,
                        client_tag=tag(number))  # fmt: skip


def news(connector: MT5Connector, *kinds: type) -> list[Event]:
    return [one for one in connector.poll() if isinstance(one, kinds or (Order, Fill))]
