"""What the mechanisms demand of their parameters; every refusal names the parameter and the value."""

from __future__ import annotations

import math

__all__ = ["above", "at_least", "share", "whole"]


def above(name: str, value: float, bound: float = 0.0, *, endless: bool = False) -> float:
    """Return *value* if it is a number above *bound*; infinity only where *endless*."""
    if not _is_number(value) or not value > bound or (math.isinf(value) and not endless):
        raise ValueError(f"{name} must be a number above {bound:g}, not {value!r}")
    return value


def at_least(name: str, value: float, bound: float = 0.0) -> float:
    """Return *value* if it is a finite number of at least *bound*."""
    if not _is_number(value) or not value >= bound or math.isinf(value):
        raise ValueError(f"{name} must be a finite number of at least {bound:g}, not {value!r}")
    return value


def share(name: str, value: float) -> float:
    """Return *value* if it is a fraction in [0, 1)."""
    if not _is_number(value) or not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be a fraction in [0, 1), not {value!r}")
    return value


def whole(name: str, value: int, bound: int = 1) -> int:
    """Return *value* if it is an int of at least *bound*."""
    if not isinstance(value, int) or isinstance(value, bool) or value < bound:
        raise ValueError(f"{name} must be a whole number of at least {bound}, not {value!r}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
