"""How a caller says which errors are meant: a class, several, or a function that is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["ErrorRule", "checked_rule", "matches"]

ErrorRule: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]


def checked_rule(name: str, rule: ErrorRule) -> ErrorRule:
    """Return *rule* if it is one."""
    if not (all(map(_is_error, rule)) if isinstance(rule, tuple) else _is_error(rule) or _is_predicate(rule)):
        raise ValueError(f"{name} must be an exception class, a tuple of them or a predicate, not {rule!r}")
    return rule


def _is_error(one: object) -> bool:
    return isinstance(one, type) and issubclass(one, BaseException)


def _is_predicate(one: object) -> bool:
    return callable(one) and not isinstance(one, type)


def matches(rule: ErrorRule, error: Exception) -> bool:
    """Return whether *rule* names *error*; raises what a predicate raises."""
    if isinstance(rule, (type, tuple)):
        return isinstance(error, rule)
    return bool(rule(error))
