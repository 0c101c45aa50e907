"""One statistic as people read it."""

from __future__ import annotations

from herald.statistics.labels import LABELS, Unit
from herald.statistics.summary import Statistic

__all__ = ["display", "display_seconds"]

_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def display(key: str, value: Statistic) -> str:
    """Return *value* in the unit of its key: ``12.34 %``, ``1,234.50``, ``3 d 4 h``, ``-`` where it is not defined.

    Args:
        key: A key of `herald.statistics.LABELS`; any other is shown as it stands.
        value: What `herald.statistics.summary` found for it.
    """
    if value is None:
        return "-"
    if isinstance(value, str):
        unit = LABELS[key].unit if key in LABELS else Unit.TEXT
        if unit is Unit.TIME:
            return value.replace("T", " ").removesuffix("Z")
        return value if unit is Unit.TEXT else value.replace("inf", "∞")
    match LABELS[key].unit if key in LABELS else Unit.NUMBER:
        case Unit.FRACTION:
            return f"{_unsigned(value * 100, 2)} %"
        case Unit.MONEY | Unit.LOTS:
            return _unsigned(value, 2)
        case Unit.COUNT:
            return f"{value:,.0f}"
        case Unit.SECONDS:
            return display_seconds(value)
        case _:
            return _unsigned(value, 4 if abs(value) < 10 else 2)


def display_seconds(seconds: float) -> str:
    """Return a length of time by its two largest units, such as ``3 d 4 h``; a difference may be negative."""
    sign, rest = ("-" if seconds < -0.5 else ""), round(abs(seconds))
    parts: list[str] = []
    for size, name in _STEPS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return sign + (" ".join(part for part in parts if part) or "0 s")


def _unsigned(value: float, digits: int) -> str:
    """Return *value* with thousands marked; what rounds to nothing is 0, not -0."""
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if text.startswith("-") and not text.strip("-0.,") else text
