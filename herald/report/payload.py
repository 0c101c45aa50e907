"""What the page draws, as compact JSON: prices and equity as whole steps, trades by column."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from herald.clock import SECOND, parse_time
from herald.model import BarSeries, FloatArray, Instrument, IntArray, Trade
from herald.results import EquityCurve, StoredRun

__all__ = ["MAX_POINTS", "MAX_TRADES", "embed_json", "make_payload"]

MAX_POINTS = 120_000
"""More bars a symbol, or points of equity, than this are drawn merged: a browser stays quick, a page below 3 MB."""

MAX_TRADES = 5_000
"""More trades than this are left to ``trades.csv``."""

_KINDS: tuple[tuple[str, type[np.signedinteger[Any]]], ...] = (("i1", np.int8), ("i2", np.int16), ("i4", np.int32))


def make_payload(run: StoredRun, trades: Sequence[Trade], curve: EquityCurve, market: Mapping[str, BarSeries]) -> dict[str, Any]:
    """Return everything the page's script needs.

    Args:
        run: The run.
        trades: Its closed round trips.
        curve: Its account over time.
        market: Its bars by symbol.
    """
    instruments = run.instruments()
    frames = {each["symbol"]: each["timeframe"] for each in run.manifest["data"]}
    drawn = {symbol: bars for symbol, bars in market.items() if len(bars)}
    places = {symbol: index for index, symbol in enumerate(drawn)}
    strategies = list(dict.fromkeys(trade.strategy for trade in trades))
    kept = trades[:MAX_TRADES]
    return {
        "cash": run.manifest["account"]["cash"],
        "symbols": [_symbol(bars, frames[symbol], instruments.get(symbol)) for symbol, bars in drawn.items()],
        "equity": _equity(curve, float(run.manifest["account"]["cash"])),
        "strategies": strategies,
        "trades_total": len(trades),
        "trades": {
            "symbol": [places.get(trade.symbol, -1) for trade in kept],
            "strategy": [strategies.index(trade.strategy) for trade in kept],
            "side": [int(trade.side) for trade in kept],
            "size": [trade.size for trade in kept],
            "entry_time": [trade.entry_time // SECOND for trade in kept],
            "entry_price": [round(trade.entry_price, 10) for trade in kept],
            "exit_time": [trade.exit_time // SECOND for trade in kept],
            "exit_price": [round(trade.exit_price, 10) for trade in kept],
            "fees": [round(trade.fees, 6) for trade in kept],
            "swap": [round(trade.swap, 6) for trade in kept],
            "net": [round(trade.net, 6) for trade in kept],
            "exit_tag": [trade.exit_tag for trade in kept],
        },
        "open": _open(run.manifest["positions"], places),
    }


def embed_json(value: object) -> str:
    """Return *value* as JSON that may stand inside a ``script`` element.

    No text in it can end the element or begin another: ``<``, ``>`` and ``&`` are written as escapes.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _symbol(bars: BarSeries, timeframe: str, instrument: Instrument | None) -> dict[str, Any]:
    merged = math.ceil(len(bars) / MAX_POINTS)
    first = np.arange(0, len(bars), merged)
    last = np.minimum(first + merged, len(bars)) - 1
    step = instrument.price_step if instrument is not None else 0.0
    return {
        "name": bars.symbol,
        "timeframe": timeframe,
        "merged": merged,
        "digits": _decimals(step) if step else 5,
        # A chart shows a bar where it begins; Herald's time is its end.
        "time": _pack_whole((bars.time[first] - bars.span) // SECOND),
        "open": _pack(bars.open[first], step),
        "high": _pack(np.maximum.reduceat(bars.high, first), step),
        "low": _pack(np.minimum.reduceat(bars.low, first), step),
        "close": _pack(bars.close[last], step),
    }


def _equity(curve: EquityCurve, cash: float) -> dict[str, Any]:
    n = len(curve.time)
    merged = math.ceil(n / MAX_POINTS)
    at = _extremes(curve.equity, 2 * merged) if merged > 1 else np.arange(n)
    # Six digits more than the deposit has, but no more than cents: equity of 0.1 bitcoin has eight decimals.
    digits = min(8, max(2, 6 - math.floor(math.log10(cash)))) if cash > 0 else 2
    step = 10.0**-digits
    return {
        "total": n,
        "merged": merged,
        "digits": digits if digits <= 2 or cash < 100 else 2,
        "time": _pack_whole(curve.time[at] // SECOND),
        "equity": _pack(curve.equity[at], step, is_rounded=True),
        "balance": _pack(curve.balance[at], step, is_rounded=True),
    }


def _extremes(values: FloatArray, width: int) -> IntArray:
    """Return the places of the lowest and highest value of every *width* values, in order, and the last place."""
    starts = range(0, len(values), width)
    places = {len(values) - 1}
    for start in starts:
        part = values[start : start + width]
        places |= {start + int(part.argmin()), start + int(part.argmax())}
    return np.array(sorted(places), np.int64)


def _open(positions: Sequence[Mapping[str, Any]], places: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": places[held["symbol"]],
            "time": parse_time(held["opened"][:19]) // SECOND,
            "price": held["average_price"],
            "side": 1 if held["size"] > 0 else -1,
        }
        for held in positions
        if held["symbol"] in places and held["average_price"] is not None
    ]


def _pack(values: FloatArray, step: float, *, is_rounded: bool = False) -> dict[str, Any]:
    """Return a column of prices or money as whole steps; values off the grid are kept to seven digits.

    Args:
        values: The column, shape (n,).
        step: Its grid; 0 where there is none.
        is_rounded: Whether values between two steps are rounded to the nearest.
    """
    if not bool(np.isfinite(values).all()):
        return _floats(values)
    times, over = _fraction(step) if step > 0 else (0, 1)
    counts = values * over / (times or 1)
    if not times or (not is_rounded and bool((np.abs(counts - np.rint(counts)) > 1e-3).any())):
        top = float(np.abs(values).max(initial=0.0)) or 1.0
        times, over = _fraction(10.0 ** (math.floor(math.log10(top)) - 6))
        counts = values * over / times
    if float(np.abs(counts).max(initial=0.0)) >= 2**53:
        return _floats(values)  # beyond whole numbers that a double, and so the page, can count
    return _pack_whole(np.rint(counts).astype(np.int64), times, over)


def _pack_whole(values: IntArray, times: int = 1, over: int = 1) -> dict[str, Any]:
    """Return whole numbers as the first and the changes, these in the smallest type that holds them.

    Args:
        values: Counts, shape (n,).
        times: What one count stands for, above the line.
        over: The same, below the line.
    """
    changes = np.diff(values, prepend=values[:1])
    unit = int(np.gcd.reduce(changes)) or 1
    changes //= unit
    reach = int(np.abs(changes).max(initial=0))
    for name, kind in _KINDS:
        if reach <= np.iinfo(kind).max:
            packed = changes.astype(np.dtype(kind).newbyteorder("<"))
            first = int(values[0]) if len(values) else 0
            return {"values": [name, _base64(packed)], "first": first, "unit": unit, "times": times, "over": over}
    return _floats(values.astype(np.float64) * (times / over))


def _floats(values: FloatArray) -> dict[str, Any]:
    return {"values": ["f8", _base64(values.astype("<f8"))]}


def _base64(column: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(column.tobytes()).decode("ascii")


def _fraction(step: float) -> tuple[int, int]:
    """Return *step* as whole numbers: times / over."""
    return Decimal(repr(step)).as_integer_ratio()


def _decimals(step: float) -> int:
    """Return how many digits behind the point a price on this grid has."""
    exponent = Decimal(repr(step)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 5
