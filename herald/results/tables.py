"""The tables of a run folder: values to CSV and back, the same bytes for the same values on every machine.

Numbers are written as Python's shortest exact form, times as ISO 8601 UTC, what is not there (None, NaN) as nothing.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from herald.clock import SECOND, format_time, parse_time
from herald.errors import DataError, NotFound
from herald.model import Fill, FloatArray, IntArray, Note, Order, OrderRequest, OrderStatus, OrderType, Side, TimeInForce, Trade
from herald.results.run import EquityCurve
from herald.utils.redaction import redact

__all__ = [
    "read_equity",
    "read_fills",
    "read_notes",
    "read_orders",
    "read_trades",
    "write_equity",
    "write_fills",
    "write_notes",
    "write_orders",
    "write_trades",
]

Row: TypeAlias = Sequence[str]

_ORDER = (
    *("id", "strategy", "symbol", "side", "type", "size", "limit", "stop", "stop_loss", "take_profit", "time_in_force"),
    *("expires", "reduce_only", "position", "tag", "parent"),
    *("status", "time", "broker_id", "filled", "average_price", "code", "reason"),
)
_FILL = ("id", "order_id", "symbol", "side", "size", "price", "fee", "fee_currency", "time", "swap")
_TRADE = (
    *("strategy", "symbol", "side", "size", "entry_time", "entry_price", "exit_time", "exit_price"),
    *("gross", "fees", "swap", "net", "entry_order", "exit_order", "entry_tag", "exit_tag"),
)
_EQUITY = ("time", "equity", "balance", "exposure")
_NOTE = ("time", "strategy", "text")
_SIDES = {Side.BUY: "buy", Side.SELL: "sell"}
_BY_NAME = {name: side for side, name in _SIDES.items()}


def write_orders(path: Path, orders: Iterable[Order]) -> None:
    """Write every order in its last state, in the order of the requests."""
    _write(path, _ORDER, (_order_row(order) for order in orders))


def write_fills(path: Path, fills: Iterable[Fill]) -> None:
    """Write every execution."""
    rows = (
        (
            *(f.id, f.order_id, f.symbol, _SIDES[f.side], _exact(f.size), _exact(f.price)),
            *(_exact(f.fee), f.fee_currency, format_time(f.time), _exact(f.swap)),
        )
        for f in fills
    )
    _write(path, _FILL, rows)


def write_trades(path: Path, trades: Iterable[Trade]) -> None:
    """Write every closed round trip, with its profit after fees and swap."""
    rows = (
        (
            *(t.strategy, t.symbol, _SIDES[t.side], _exact(t.size), format_time(t.entry_time), _exact(t.entry_price)),
            *(format_time(t.exit_time), *map(_exact, (t.exit_price, t.gross, t.fees, t.swap, t.net))),
            *(t.entry_order, t.exit_order, redact(t.entry_tag), redact(t.exit_tag)),
        )
        for t in trades
    )
    _write(path, _TRADE, rows)


def write_equity(path: Path, curve: EquityCurve) -> None:
    """Write the account at every moment."""
    numbers = (curve.equity, curve.balance, curve.exposure)
    columns = (_times(curve.time), *(map(repr, column.tolist()) for column in numbers))
    # A column of numbers and times has nothing to quote, and the csv module is twice as slow.
    lines = [",".join(_EQUITY), *map(",".join, zip(*columns, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def write_notes(path: Path, notes: Iterable[Note]) -> None:
    """Write the lines that strategies wrote."""
    _write(path, _NOTE, ((format_time(note.time), note.strategy, redact(note.text)) for note in notes))


def read_orders(path: Path) -> tuple[Order, ...]:
    """Read what `write_orders` wrote.

    Raises:
        NotFound: There is no such file.
        DataError: It is not such a table; the message says in which line.
    """
    return tuple(_read(path, _ORDER, _to_order))


def read_fills(path: Path) -> tuple[Fill, ...]:
    """Read what `write_fills` wrote; errors as `read_orders`."""
    return tuple(_read(path, _FILL, _to_fill))


def read_trades(path: Path) -> tuple[Trade, ...]:
    """Read what `write_trades` wrote; errors as `read_orders`."""
    return tuple(_read(path, _TRADE, _to_trade))


def read_notes(path: Path) -> tuple[Note, ...]:
    """Read what `write_notes` wrote; errors as `read_orders`."""
    return tuple(_read(path, _NOTE, lambda row: Note(_moment(row[0]), row[1], row[2])))


def read_equity(path: Path) -> EquityCurve:
    """Read what `write_equity` wrote; errors as `read_orders`."""
    rows = list(_read(path, _EQUITY, lambda row: (row[0], float(row[1]), float(row[2]), float(row[3]))))
    texts, *columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    try:
        time = np.array([text.removesuffix("Z") for text in texts], "datetime64[ns]").astype(np.int64)
    except ValueError as error:
        raise DataError(f"{path}: a time cannot be read: {error}; run the backtest again") from error
    arrays: list[FloatArray] = [np.array(column, np.float64) for column in columns]
    for array in (time, *arrays):
        array.flags.writeable = False
    return EquityCurve(time, *arrays)


def _order_row(order: Order) -> Row:
    r = order.request
    asked = (r.id, r.strategy, r.symbol, _SIDES[r.side], str(r.type), _exact(r.size), *map(_number, (r.limit, r.stop)))
    terms = (_number(r.stop_loss), _number(r.take_profit), str(r.time_in_force), _time(r.expires))
    rest = ("yes" if r.reduce_only else "no", r.position or "", redact(r.tag), r.parent)
    state = (str(order.status), format_time(order.time), order.broker_id, _exact(order.filled))
    return (*asked, *terms, *rest, *state, _number(order.average_price), redact(order.code), redact(order.reason))


def _to_order(row: Row) -> Order:
    request = OrderRequest(
        id=row[0],
        strategy=row[1],
        symbol=row[2],
        side=_BY_NAME[row[3]],
        type=OrderType(row[4]),
        size=float(row[5]),
        limit=_optional(row[6]),
        stop=_optional(row[7]),
        stop_loss=_optional(row[8]),
        take_profit=_optional(row[9]),
        time_in_force=TimeInForce(row[10]),
        expires=_moment(row[11]) if row[11] else None,
        reduce_only=row[12] == "yes",
        position=row[13] or None,
        tag=row[14],
        parent=row[15],
    )
    average = float(row[20]) if row[20] else math.nan
    status = OrderStatus(row[16])
    return Order(request, status, _moment(row[17]), row[18], float(row[19]), average, row[21], row[22])


def _to_fill(row: Row) -> Fill:
    side, time = _BY_NAME[row[3]], _moment(row[8])
    return Fill(row[0], row[1], row[2], side, float(row[4]), float(row[5]), float(row[6]), row[7], time, float(row[9]))


def _to_trade(row: Row) -> Trade:
    return Trade(
        strategy=row[0],
        symbol=row[1],
        side=_BY_NAME[row[2]],
        size=float(row[3]),
        entry_time=_moment(row[4]),
        entry_price=float(row[5]),
        exit_time=_moment(row[6]),
        exit_price=float(row[7]),
        gross=float(row[8]),
        fees=float(row[9]),
        entry_order=row[12],
        exit_order=row[13],
        entry_tag=row[14],
        exit_tag=row[15],
        swap=float(row[10]),
    )


def _moment(text: str) -> int:
    """Return the time that `herald.clock.format_time` wrote, exact to the nanosecond."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return parse_time(whole) + int(fraction.ljust(9, "0") if fraction else "0")


def _write(path: Path, heading: Row, rows: Iterable[Row]) -> None:
    # A text that is not Unicode (half a surrogate pair) must not cost the run its results.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(heading)
        table.writerows(rows)


def _read(path: Path, heading: Row, convert: Callable[[Row], Any]) -> Iterator[Any]:
    try:
        file = path.open(encoding="utf-8", newline="")
    except FileNotFoundError:
        raise NotFound(f"{path} is missing from the run's folder; run the backtest again") from None
    with file:
        table = csv.reader(file)
        try:
            found = next(table, [])
            # Before positions cost a swap there was no such column.
            is_older = found != list(heading) and found == [name for name in heading if name != "swap"]
            if found != list(heading) and not is_older:
                raise ValueError(f"the heading is not {','.join(heading)}")
            place = heading.index("swap") if is_older else 0
            for row in table:
                if len(row) != len(found):
                    raise ValueError(f"{len(row)} fields where {len(found)} belong")
                yield convert((*row[:place], "0.0", *row[place:]) if is_older else row)
        except (ValueError, KeyError, csv.Error) as error:
            raise DataError(f"{path}, line {max(table.line_num, 1)}: {error}; run the backtest again") from error


def _times(time: IntArray) -> list[str]:
    if len(time) and bool((time % SECOND).any()):
        return [format_time(at) for at in time.tolist()]
    return [text + "Z" for text in np.datetime_as_string(time.astype("datetime64[ns]"), unit="s").tolist()]


def _time(at: int | None) -> str:
    return "" if at is None else format_time(at)


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else _exact(value)


def _exact(value: float) -> str:
    """Return the shortest text that reads back as *value*; an integer or a NumPy number looks like any other."""
    return repr(float(value))


def _optional(text: str) -> float | None:
    return float(text) if text else None
