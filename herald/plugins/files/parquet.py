"""Format ``parquet``: columns by name, read through duckdb (extra ``data``)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from herald.clock import DAY
from herald.components import Services
from herald.contracts import ParsedBars
from herald.errors import DataError
from herald.model import FloatArray, IntArray
from herald.plugins.files.names import find_fields
from herald.plugins.files.refusal import refuse
from herald.plugins.files.settings import FormatSettings
from herald.plugins.files.stamps import BAD, read_stamps

__all__ = ["ParquetFormat"]

# Extensions are never fetched: Parquet is built in, and reading a file must not reach for the network.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "threads": 1,
}


class ParquetFormat:
    """Reads Parquet files."""

    def __init__(self, settings: FormatSettings | None = None, services: Services | None = None) -> None:
        """There is nothing to set."""

    def claims(self, name: str, head: str) -> bool:
        """Return whether the file begins with Parquet's mark, or pretends to by its name."""
        return head.startswith("PAR1") or name.lower().endswith((".parquet", ".pq"))

    def parse(self, name: str, data: bytes) -> ParsedBars:
        """Return what the file holds; see `herald.contracts.DataFormat`."""
        try:
            import duckdb  # 60 MB, and only for this format
        except ImportError as error:
            raise DataError("reading Parquet needs duckdb; install it with: pip install 'herald-trading[data]'") from error
        handle, path = tempfile.mkstemp(suffix=".parquet")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            with duckdb.connect(":memory:", config=_CONFIG) as connection:
                return _read(connection, path)
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise refuse(0, "damaged", f"is not a readable Parquet file ({reason})", "fetch or write the file again") from error
        finally:
            Path(path).unlink(missing_ok=True)


def _read(connection: Any, path: str) -> ParsedBars:
    described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
    header = [str(column[0]) for column in described]
    types = [str(column[1]) for column in described]
    fields = find_fields(header, {})
    fields.pop("spread", None)  # in no stated unit

    chosen = ", ".join(f"{_expression(header[place], types[place], name)} AS {name}" for name, place in fields.items())
    columns: dict[str, Any] = connection.execute(f"SELECT {chosen} FROM read_parquet(?)", [path]).fetchnumpy()  # noqa: S608 - quoted names
    count = len(columns["time"])
    if count == 0:
        raise refuse(0, "header_only", "has no rows", "fetch or write the file again")
    start, zoned = _times(columns, fields, types)
    symbols = [str(text) for text in columns["symbol"]] if "symbol" in fields else []
    single = symbols[0] if len(set(symbols)) == 1 else ""
    return ParsedBars(
        symbol=single,
        row=np.arange(1, count + 1, dtype=np.int64),
        start=start,
        open=_numbers(columns["open"]),
        high=_numbers(columns["high"]),
        low=_numbers(columns["low"]),
        close=_numbers(columns["close"]),
        volume=_numbers(columns["volume"]) if "volume" in fields else None,
        zoned=zoned,
        symbols=np.array(symbols) if symbols and not single else None,
    )


def _expression(column: str, kind: str, field: str) -> str:
    quoted = '"' + column.replace('"', '""') + '"'
    if field in ("time", "date"):
        if kind.startswith("TIMESTAMP") or kind == "DATE":
            return f"epoch_ns({quoted}::TIMESTAMP_NS)" if kind != "TIMESTAMP WITH TIME ZONE" else f"epoch_us({quoted}) * 1000"
        return f"{quoted}::VARCHAR"
    return f"{quoted}::VARCHAR" if field == "symbol" else f"{quoted}::DOUBLE"


def _times(columns: dict[str, Any], fields: dict[str, int], types: Sequence[str]) -> tuple[IntArray, bool]:
    kind = types[fields["time"]]
    if "date" not in fields and columns["time"].dtype.kind == "i":
        start = np.ma.filled(columns["time"], BAD).astype(np.int64)
        zoned = kind == "TIMESTAMP WITH TIME ZONE"
    elif "date" in fields and columns["date"].dtype.kind == "i":
        clock = read_stamps(["1970-01-01"] * len(columns["time"]), [str(text) for text in columns["time"]], "", 1)
        start, zoned = columns["date"].astype(np.int64) // DAY * DAY + clock.time, False
    else:
        dates = [str(text) for text in columns["date"]] if "date" in fields else [str(text) for text in columns["time"]]
        start, zoned = read_stamps(dates, [str(text) for text in columns["time"]] if "date" in fields else None, "", 1)
    bad = np.flatnonzero(start == BAD)
    if len(bad):
        raise refuse(int(bad[0]) + 1, "bad_time", "has no readable time", "correct or remove the row")
    return start, zoned


def _numbers(column: Any) -> FloatArray:
    return np.ma.filled(column.astype(np.float64), np.nan) if np.ma.isMaskedArray(column) else np.asarray(column, np.float64)
