"""Tables whose settings stand encrypted: ``encrypted = "NAME"`` puts the secret NAME, text in TOML, in their place.

What a run imports, trades and shows stands in the file all the same: Herald's own keys of a table cannot be encrypted.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from enum import Enum
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from herald import model
from herald.errors import ConfigError, Problem
from herald.host.rules import HOST_WORDS
from herald.host.tables import HeraldConfig, Raw
from herald.utils.redaction import protect

__all__ = ["ENCRYPTED", "Section", "is_encrypted", "parse_section", "protect_section", "reveal"]

ENCRYPTED = "encrypted"
"""The key that names what stands in place of the others."""
_TABLES = {
    "connectors": "connector",
    "caches": "cache",
    "strategies": "strategy",
    "risk": "risk",
    "exits": "exit",
    "observers": "observer",
    "services": "service",
    "journal": "journal",
    "metrics": "metrics",
}
"""Kind of component by table. Not here: sources of secrets, which are asked for it, and the audit trail, which commands open."""
_INNER = {"middleware": "middleware", "exits": "exit", "risk": "risk", "sizing": "sizer"}
"""The same for tables inside those of connectors and strategies."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Section:
    """What was encrypted of one table.

    Attributes:
        name: Of the secret.
        keys: The settings that it states; their values are shown nowhere.
    """

    name: str
    keys: frozenset[str]


def is_encrypted(config: HeraldConfig) -> bool:
    """Return whether some table of *config* stands encrypted."""
    return any(ENCRYPTED in table for _, _, table in _tables(config))


def reveal(config: HeraldConfig, ask: Callable[[str, str], str]) -> tuple[HeraldConfig, dict[str, Section], list[Problem]]:
    """Return *config* with every encrypted table filled in, what was encrypted by the table's place, and what is wrong.

    Args:
        config: As the file states it; it is not changed.
        ask: Returns the value of a secret, by its name and the key that needs it, or raises `ConfigError`.
    """
    revealed = config.model_copy(update={name: copy.deepcopy(getattr(config, name)) for name in _TABLES})
    sections: dict[str, Section] = {}
    problems: list[Problem] = []
    for kind, place, table in _tables(revealed):
        if ENCRYPTED not in table:
            continue
        where, name = f"{place}.{ENCRYPTED}", table.pop(ENCRYPTED)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            problems.append(Problem(where, "names no secret", 'write encrypted = "NAME", and: herald secrets set NAME --section'))
            continue
        try:
            section = parse_section(ask(name, where))
        except ConfigError as error:
            problems += error.problems
            continue
        except ValueError as error:
            what = f"the secret {name!r}, which should be a table in TOML, {error}"
            problems.append(Problem(where, what, f"herald secrets set {name} --section"))
            continue
        own = sorted(HOST_WORDS[kind] & section.keys())
        if own:
            what = f"the secret {name!r} states {', '.join(own)}, which is shown and may not be encrypted"
            problems.append(Problem(where, what, "write it in the file, and take it out there"))
        twice = sorted(table.keys() & section.keys() - {*own})
        problems += [Problem(f"{place}.{key}", f"stands here and in the secret {name!r}", "take one out") for key in twice]
        table.update(section)
        sections[place] = Section(name, frozenset(section))
    return revealed, sections, problems


def parse_section(text: str) -> Raw:
    """Return the table that *text*, in TOML, is.

    Raises:
        ValueError: It is none; the message repeats nothing of it, and goes on behind "the secret".
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at (line \d+, column \d+|end of document)\)$", str(error))
        raise ValueError(f"is no valid TOML{f' at {place[1]}' if place else ''}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not table:
        raise ValueError("is empty")
    return table


def protect_section(settings: BaseModel, keys: frozenset[str], readable: frozenset[str]) -> None:
    """Have every text under *keys* of *settings* replaced wherever it would be written.

    Left out are what the file itself states readably, words that a setting chooses among or that Herald writes itself, and
    numbers and dates: they would be taken out of records, prices, tickets and times.

    Args:
        settings: Of the component, checked.
        keys: What stood encrypted.
        readable: Every text in the file.
    """

    def walk(value: Any) -> None:
        if isinstance(value, BaseModel):
            for name, field in type(value).model_fields.items():
                if not _is_choice(field.annotation):
                    walk(getattr(value, name))
        elif isinstance(value, Mapping):
            for one in value.values():
                walk(one)
        elif isinstance(value, list | tuple | set | frozenset):
            for one in value:
                walk(one)
        elif not isinstance(value, bool | Enum | None):
            text = str(value)  # of a path or an address as well; of a hidden value it is asterisks
            if text not in readable and text not in _own_words() and not _is_figure(text):
                protect(text)

    for name, field in type(settings).model_fields.items():
        if name in keys and not _is_choice(field.annotation):
            walk(getattr(settings, name))


@cache
def _own_words() -> frozenset[str]:
    """Return the names of events and states, which stand in every journal."""
    public = [getattr(model, name) for name in model.__all__]
    enums = [one for one in public if isinstance(one, type) and issubclass(one, Enum)]
    return frozenset([*model.__all__, *(str(one.value) for kind in enums for one in kind)])


def _is_figure(text: str) -> bool:
    """Return whether a text is a number, a date or a time, or holds nothing but signs."""
    for read in (float, datetime.fromisoformat, time.fromisoformat):
        try:
            read(text)
        except ValueError:
            continue
        return True
    return not re.search(r"\w", text)


def _is_choice(annotation: Any) -> bool:
    """Return whether a setting takes one of a few words."""
    if get_origin(annotation) is Literal:
        return True
    inner = [one for one in get_args(annotation) if one is not type(None)]
    return bool(inner) and all(map(_is_choice, inner))


def _tables(config: HeraldConfig) -> Iterator[tuple[str, str, Raw]]:
    """Yield kind, place and table of every component that may stand encrypted, in file order."""

    def inside(kind: str, place: str, table: Any) -> Iterator[tuple[str, str, Raw]]:
        if not isinstance(table, dict):
            return  # reported where its kind is looked up
        yield kind, place, table
        for key in [key for key in _INNER if key in HOST_WORDS[kind]]:
            inner = table.get(key)
            for where, one in ((f"{place}.{key}", inner), *_listed(f"{place}.{key}", inner)):
                yield from inside(_INNER[key], where, one)

    for name, kind in _TABLES.items():
        value = getattr(config, name)
        if name in ("journal", "metrics"):
            yield from inside(kind, name, value)
            continue
        for place, one in (
            ((f"{name}.{key}", one) for key, one in value.items()) if isinstance(value, dict) else _listed(name, value)
        ):
            yield from inside(kind, place, one)


def _listed(place: str, value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        yield from ((f"{place}[{index}]", one) for index, one in enumerate(value))
