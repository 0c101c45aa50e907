"""Records in words and as flat rows, for people and spreadsheets."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from herald.clock import format_time
from herald.model import OrderRequest, Record, Side

__all__ = ["ROW", "as_json", "as_row", "describe"]

ROW = ("number", "at", "kind", "order", "client_tag", "connector", "symbol", "side", "size", "price", "status", "text")
"""The keys of `as_row`."""
_PLAIN = frozenset({"text", "why", "status", "state", "mode", "code", "scope"})
"""Fields whose value says what it is."""


def as_json(number: int, record: Record) -> dict[str, Any]:
    """Return a record as JSON has it: its number, kind, time in words, and fields; NaN, which means none, as None."""
    fields = msgspec.to_builtins(record)
    whole = {"number": number, "kind": fields.pop("type"), "at": format_time(record.time), **fields}
    found: dict[str, Any] = _finite(whole)
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def as_row(number: int, record: Record) -> dict[str, Any]:
    """Return a record as one row of a table, keys as in `ROW`; what it does not say is empty.

    The price is that of the trade, else the limit, else the stop.
    """
    order = getattr(record, "order", None)
    fill = getattr(record, "fill", None)
    request = getattr(record, "request", None) if order is None else order.request
    row = dict.fromkeys(ROW, "") | {
        "number": number,
        "at": format_time(record.time),
        "kind": type(record).__name__,
        "order": getattr(record, "order_id", ""),
        "connector": getattr(record, "connector", ""),
        "status": getattr(record, "status", getattr(record, "state", "")) if order is None else str(order.status),
        "text": describe(record),
    }
    if request is not None:
        price = request.stop if request.limit is None else request.limit
        row |= {"order": request.id, "client_tag": request.client_tag, "price": "" if price is None else price}
    if fill is not None:
        row |= {"order": fill.order_id, "price": fill.price}
    terms = request if fill is None else fill
    if terms is not None:
        row |= {"symbol": terms.symbol, "side": Side(terms.side).name.lower(), "size": terms.size}
    return row


def describe(record: Record) -> str:
    """Return what a record says beside its kind and time, on one line."""
    parts: list[str] = []
    for name in record.__struct_fields__:
        if name != "time":
            parts += _words(name, getattr(record, name))
    return " ".join(" ".join(parts).split())


def _words(name: str, value: Any) -> list[str]:
    if isinstance(value, OrderRequest):
        return _of_request(value)
    if name == "order":
        filled = [f"filled={value.filled:.10g} at {value.average_price:.10g}"] if value.filled else []
        broker = [f"broker={value.broker_id}"] if value.broker_id else []
        return [*_of_request(value.request), f"-> {value.status}", *filled, *broker, value.code, value.reason]
    if name == "fill":
        side = Side(value.side).name.lower()
        traded = f"{value.order_id or '(no order)'} {side} {value.size:.10g} {value.symbol} at {value.price:.10g}"
        return [traded, f"fee={value.fee:.10g} {value.fee_currency} id={value.id}"]
    if name == "account":
        return [f"{value.server} {value.id} balance={value.balance:.10g} equity={value.equity:.10g} {value.currency}"]
    if name == "versions":
        return [f"{package} {version}" for package, version in sorted(value.items())]
    if name == "connector":
        return [value.removeprefix("connectors.") + ":"]
    return [str(value)] if name in _PLAIN else [f"{name}={value}"]


def _of_request(request: OrderRequest) -> list[str]:
    prices = {name: getattr(request, name) for name in ("limit", "stop", "stop_loss", "take_profit")}
    parts = [request.id, request.side.name.lower(), f"{request.size:.10g}", request.symbol, str(request.type)]
    parts += [f"{name}={price:.10g}" for name, price in prices.items() if price is not None]
    parts += ["reduce_only"] if request.reduce_only else []
    return [*parts, f"tag={request.tag}"] if request.tag else parts
