"""``HERALD_TABLE__KEY=value`` above the file: one variable sets one key and leaves the rest alone."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from herald.errors import Problem
from herald.host.tables import HeraldConfig, Raw

__all__ = ["overlay"]

_PREFIX, _BETWEEN = "HERALD_", "__"
_LISTS = tuple(name for name, field in HeraldConfig.model_fields.items() if field.get_default(call_default_factory=True) == [])
"""Tables that are lists, whose entries have no name a variable could say."""
_AS_WRITTEN = ("instruments", "conversions")
"""Tables whose names are symbols and currencies, which are written in capitals."""


def overlay(raw: Raw, environ: Mapping[str, str]) -> tuple[list[Problem], dict[str, str]]:
    """Set the keys that variables name, in place.

    Names are compared without case, because variables are in capitals on some systems and by habit on the rest:
    ``HERALD_STRATEGIES__TREND__SIZE`` sets ``size`` in ``[strategies.Trend]``. A value that begins with ``[`` or
    ``{`` is JSON; any other is text, which the settings turn into what they need. A variable without ``__`` is no
    setting, unless it is the name of a table; one that reads like a table and a key is a mistake.

    Args:
        raw: Tables of the file; changed.
        environ: Variables by name.

    Returns:
        What is wrong, and the variable that set a key by the key's place.
    """
    problems: list[Problem] = []
    variables: dict[str, str] = {}
    tables = list(HeraldConfig.model_fields)
    for variable in sorted(environ):
        if not variable.upper().startswith(_PREFIX):
            continue
        path = [part for part in variable[len(_PREFIX) :].split(_BETWEEN) if part]
        table = path[0].lower() if path else ""
        if table not in tables:
            near_table = next((name for name in tables if table.startswith(f"{name}_")), None)
            if len(path) == 1 and near_table is not None:
                key = path[0][len(near_table) + 1 :]
                what = "is no setting: two underscores stand between a table and its key"
                problems.append(Problem(variable, what, f"did you mean {_PREFIX}{near_table.upper()}{_BETWEEN}{key.upper()}?"))
            elif len(path) > 1:
                near = difflib.get_close_matches(table, tables, 1)
                hint = f"did you mean {_PREFIX}{near[0].upper()}{_BETWEEN}...?" if near else f"there are: {', '.join(tables)}"
                problems.append(Problem(variable, f"there is no table {table}", hint))
            continue
        try:
            value = _value(environ[variable])
            place = _set(raw, path, value)
        except ValueError as error:
            problems.append(Problem(variable, *str(error).split("; ", 1)))
        else:
            variables |= dict.fromkeys(_places(place, value), variable)
    return problems, variables


def _value(text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f'is not valid JSON: {error}; write it like ["EURUSD", "GBPUSD"]') from None


def _set(raw: Raw, path: list[str], value: Any) -> str:
    """Put *value* at *path*, merging tables, and return the place as messages write it."""
    place, table = "", raw
    for depth, part in enumerate(path):
        new = part if depth == 1 and path[0].lower() in _AS_WRITTEN else part.lower()
        key = next((key for key in table if key.lower() == part.lower()), new)
        place = f"{place}.{key}" if place else key
        if depth == len(path) - 1:
            table[key] = _merged(table.get(key), value)
        else:
            inner = table.get(key) if key in _LISTS else table.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{place} is not a table, its entries cannot be set one by one; set it as a whole, in JSON")
            table = inner
    return place


def _places(place: str, value: Any) -> Iterator[str]:
    """Yield the places that *value* at *place* sets: of a table, which is merged with the file's, those of its keys."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _places(f"{place}.{key}", inner)
    else:
        yield place


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merged(old.get(key), value) for key, value in new.items()}
    return new
