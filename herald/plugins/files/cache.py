"""What was read from a file, kept as plain columns that the next run maps into memory.

One file holds one line of JSON and then the columns. It is found by the hash of the data file's content and of what
was asked of the format, so it can never be stale; a damaged one is made again; a folder that cannot be written is
no error, only slower.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from herald.contracts import ParsedBars

__all__ = ["ParsedCache"]

_VERSION = "1"
"""Raise it when a format reads the same bytes differently."""
_MARK = "herald-bars"
_LINE = 65_536
"""The JSON line is padded to this many bytes or a multiple, so that the columns begin on a page."""
_INTEGERS = ("row", "start")
_FLOATS = ("open", "high", "low", "close", "volume", "spread")


class ParsedCache:
    """A folder of parsed files; never raises."""

    def __init__(self, folder: Path) -> None:
        """Keep the columns in *folder*, which is made when first needed."""
        self._folder = folder

    def load(self, key: str) -> ParsedBars | None:
        """Return what was kept under *key*, mapped read-only; None where there is nothing sound."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                size = int(file.read(16))
                head = json.loads(file.read(size - 16))
            if head["mark"] != _MARK or head["version"] != _VERSION or head["key"] != key:
                return None
            count, names = int(head["count"]), head["columns"]
            body = np.memmap(path, dtype=np.uint8, mode="r", offset=size)
            if len(body) != 8 * count * len(names) or zlib.crc32(body.data) != head["crc"]:
                return None
            table = np.asarray(body).view("<i8").reshape(len(names), count)
            columns: dict[str, Any] = {}
            for index, name in enumerate(names):
                columns[name] = table[index] if name in (*_INTEGERS, "symbols") else table[index].view("<f8")
            if "symbols" in columns:
                columns["symbols"] = np.array(head["symbols"])[columns["symbols"]]
            return ParsedBars(symbol=head["symbol"], spread_points=head["spread_points"], zoned=head["zoned"], **columns)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    def store(self, key: str, parsed: ParsedBars) -> None:
        """Keep *parsed* under *key*, whole or not at all; a file with defects is not kept."""
        if parsed.defects or len(parsed.row) == 0:
            return
        columns = {name: getattr(parsed, name) for name in (*_INTEGERS, *_FLOATS) if getattr(parsed, name) is not None}
        names: list[str] = []
        if parsed.symbols is not None:
            found, codes = np.unique(parsed.symbols, return_inverse=True)
            names, columns["symbols"] = found.tolist(), codes
        parts = [np.ascontiguousarray(column, "<f8" if name in _FLOATS else "<i8") for name, column in columns.items()]
        crc = 0
        for part in parts:
            crc = zlib.crc32(part.data, crc)
        head = {
            "mark": _MARK,
            "version": _VERSION,
            "key": key,
            "count": len(parsed.row),
            "columns": list(columns),
            "crc": crc,
            "symbol": parsed.symbol,
            "symbols": names,
            "spread_points": parsed.spread_points,
            "zoned": parsed.zoned,
        }
        text = json.dumps(head).encode()
        size = (16 + len(text) + _LINE - 1) // _LINE * _LINE
        with contextlib.suppress(OSError):
            self._write(self._path(key), [f"{size:<16}".encode(), text.ljust(size - 16), *(part.tobytes() for part in parts)])

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.bars"

    def _write(self, path: Path, parts: list[bytes]) -> None:
        # Another run may read or write the same name at this moment: it sees the old file or the new one.
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(parts)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
