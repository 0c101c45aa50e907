"""Which column of a file is which field of a bar, by the names that data sources give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from herald.plugins.files.refusal import refuse

__all__ = ["PRICES", "find_fields", "has_names", "is_metatrader"]

PRICES = ("open", "high", "low", "close")

# The first name found wins: a bar of a quoted market is bid prices, a count of ticks is what MetaTrader trades on.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "time": (
        "timestamp", "datetime", "date_time", "timestamp_utc", "time_utc", "utc", "gmt_time", "local_time", "open_time",
        "opentime", "start_time", "bar_time", "ts", "unix", "epoch", "unix_timestamp", "time", "date", "t", "start",
    ),
    "symbol": ("symbol", "ticker", "name", "instrument", "pair"),
    "open": ("open", "o", "open_price", "bidopen", "bid_open", "open_bid"),
    "high": ("high", "h", "high_price", "bidhigh", "bid_high", "high_bid"),
    "low": ("low", "l", "low_price", "bidlow", "bid_low", "low_bid"),
    "close": ("close", "c", "close_price", "bidclose", "bid_close", "close_bid", "last"),
    "volume": ("tick_volume", "tickvol", "tickvolume", "volume", "vol", "v", "tickqty", "real_volume"),
    "spread": ("spread",),
}  # fmt: skip
_TICKS = ("bid", "ask")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def has_names(cells: Sequence[str]) -> bool:
    """Return whether a line is a header: at least two of its cells are names and none is a number."""
    plain = [_plain(cell) for cell in cells]
    words = sum(1 for name in plain if re.match(r"[a-z]", name))
    return words >= 2 and not any(re.fullmatch(r"-?\d+([.,]\d+)?", cell.strip()) for cell in cells)


def is_metatrader(cells: Sequence[str]) -> bool:
    """Return whether a header uses MetaTrader's own names, whose spread is counted in points."""
    plain = {_plain(cell) for cell in cells}
    return bool(plain & {"tickvol", "tick_volume"}) and bool(plain & {"vol", "real_volume"})


def find_fields(header: Sequence[str], chosen: Mapping[str, str | int]) -> dict[str, int]:
    """Return the position of every field of a bar that the file has; ``date`` where day and time are two columns.

    Args:
        header: Names as written in the file.
        chosen: What the config says, which goes before every known name.

    Raises:
        DataError: A price or the time is missing, or the file holds ticks.
    """
    plain = [_plain(name) for name in header]
    written = [name.strip().strip("\"'") for name in header]
    fields: dict[str, int] = {}
    for field, place in chosen.items():
        if isinstance(place, int):
            if place > len(header):
                raise refuse(1, "no_column", f"columns.{field} is {place} and the file has {len(header)} columns", "correct it")
            fields[field] = place - 1
        elif place in written:
            fields[field] = written.index(place)
        else:
            names = ", ".join(name for name in written if name)
            raise refuse(1, "no_column", f"there is no column {place!r}; there are: {names}", f"correct columns.{field}")
    for field, known in _NAMES.items():
        found = next((name for name in known if name in plain), None)
        if field not in fields and found is not None:
            fields[field] = plain.index(found)
            if plain.count(found) > 1:
                text = f"{plain.count(found)} columns are called {written[fields[field]]!r}"
                remedy = f"rename the others, or say which with columns = {{ {field} = {fields[field] + 1} }}"
                raise refuse(1, "column_repeated", text, remedy)
    split = not {"date", "time"} & set(chosen) and {"date", "time"} <= set(plain)
    if split and plain[fields["time"]] in ("time", "date"):
        fields["date"], fields["time"] = plain.index("date"), plain.index("time")
    missing = [field for field in ("time", *PRICES) if field not in fields]
    if missing:
        if all(name in plain for name in _TICKS):
            raise refuse(1, "ticks", "holds ticks (bid and ask), not bars", "make bars of it first, or export bars")
        there = ", ".join(name for name in written if name)
        raise refuse(
            1,
            "no_column",
            f"no column for {', '.join(missing)}; the header has: {there}",
            f'name it, such as columns = {{ {missing[0]} = "..." }}',
        )
    return fields
