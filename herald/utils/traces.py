"""Numbers of traces and spans that follow from names, so that whoever knows an order's name can find its trace.

The names of a trading system's orders begin anew with a new state folder; a seed that lies in that folder keeps the numbers of
two of them apart.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from herald.utils.durable import replace_file

__all__ = ["SEED_NAME", "family_of", "make_seed", "read_seed", "span_id", "trace_id"]

SEED_NAME = "trace-seed"
"""Name of the file in a state folder."""

_SEED = re.compile(r"[0-9a-f]{16}")
_FAMILY = re.compile(r"(.*?-\d+)(?:\..*)?", re.DOTALL)


def read_seed(folder: Path) -> str:
    """Return the seed of a state folder; empty where it has none that can be read."""
    with suppress(OSError, UnicodeDecodeError):
        text = (folder / SEED_NAME).read_text(encoding="ascii").strip()
        if _SEED.fullmatch(text):
            return text
    return ""


def make_seed(folder: Path, now: int) -> str:
    """Return the seed of a state folder, making one where there is none; empty where that is impossible.

    Args:
        folder: The state folder; made where it is missing.
        now: Nanoseconds UTC.
    """
    known = read_seed(folder)
    if known:
        return known
    text = hashlib.sha256(f"{now} {os.getpid()} {folder}".encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / SEED_NAME, f"{text}\n".encode())
    except OSError:
        return ""
    return text


def family_of(order_id: str) -> str:
    """Return the name of the order that another belongs to: ``trend-000017`` for ``trend-000017.sl`` and itself."""
    found = _FAMILY.fullmatch(order_id)
    return order_id if found is None else found[1]


def trace_id(seed: str, order_id: str) -> str:
    """Return the number of the trace of an order and all that belong to it, 32 hexadecimal digits, never all 0."""
    return _digits(f"trace {seed} {family_of(order_id)}", 32)


def span_id(seed: str, order_id: str, step: str) -> str:
    """Return the number of a span, 16 hexadecimal digits, never all 0."""
    return _digits(f"span {seed} {order_id} {step}", 16)


def _digits(text: str, count: int) -> str:
    digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:count]
    return digits if digits.strip("0") else "1".zfill(count)  # all 0 means: none
