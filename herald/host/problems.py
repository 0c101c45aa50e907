"""Problems: what validation finds, said the way a user wrote it, and in the order of the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, core_schema

from herald.errors import Problem

__all__ = ["in_file_order", "to_problems"]

_TABLE = ("must be a table", "write its keys below a [heading] or in { braces }")
_SHAPES = {
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "list_type": ("must be a list", "write it in [ brackets ], a list of tables below [[headings]]"),
    "tuple_type": ("must be a list", "write it in [ brackets ]"),
}
"""What pydantic says of the wrong shape in Python's words, said in TOML's."""
_EXPECTED = "input should be "

Location = tuple[int | str, ...]


def to_problems(
    error: ValidationError,
    data: Any,
    where: str,
    model: type[BaseModel],
    what: str = "",
    words: Sequence[str] = (),
    hidden: Mapping[str, str] = MappingProxyType({}),
) -> list[Problem]:
    """Turn what pydantic found into problems, one for each mistake.

    Args:
        error: Of validating *data*.
        data: What was validated.
        where: Its table, prefixed to every key.
        model: The model, for the nearest right key.
        what: Name of the component in messages about unknown keys.
        words: Further keys that are right in this table.
        hidden: Keys of this table whose values no message may repeat, and the secrets that they are in.
    """
    problems: list[Problem] = []
    for location, details in _mistakes(error, data):
        place = where
        for part in location:
            place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
        is_hidden = bool(hidden) and (not location or location[0] in hidden)
        if is_hidden and any(map(_may_repeat, details)):
            secret = hidden[str(location[0])] if location else next(iter(hidden.values()))
            told = f"is refused by the settings of {what}, and more may not be told of what stands encrypted"
            problems.append(Problem(place, told, f"herald secrets get {secret} --reveal"))
        elif len(details) > 1:
            problems.append(_of_no_kind(place, location, details, model, is_hidden=is_hidden))
        elif details[0]["type"] == "extra_forbidden":
            problems.append(_unknown_key(place, location, model, what, words))
        else:
            problems.append(_problem(place, location, details[0], model, is_hidden=is_hidden))
    return problems


def _mistakes(error: ValidationError, data: Any) -> list[tuple[Location, list[ErrorDetails]]]:
    """Return the place of each mistake in *data*, and what pydantic says of it: several things of a choice of kinds.

    Of a key that takes one of several kinds, pydantic tells what each of them lacks. Those that have not even the
    right shape are left out, unless none has it.
    """
    resolved = [(*_resolve(detail, data), detail) for detail in error.errors(include_url=False)]
    places = [location for location, *_ in resolved]
    choices: dict[Location, dict[int | str, list[tuple[Location, ErrorDetails]]]] = {}
    for location, choice, kind, detail in resolved:
        if detail["type"] != "too_short" or not _has_inside(location, places):
            choices.setdefault(choice, {}).setdefault(kind, []).append((location, detail))
    mistakes: list[tuple[Location, list[ErrorDetails]]] = []
    for choice, kinds in choices.items():
        shaped = [found for found in kinds.values() if not _is_shape(*found[0], choice)]
        if len(kinds) > 1 and not shaped:
            mistakes.append((choice, [found[0][1] for found in kinds.values()]))
        else:
            mistakes += [(place, [detail]) for found in shaped or kinds.values() for place, detail in found]
    return mistakes


def _has_inside(location: Location, places: Sequence[Location]) -> bool:
    """Return whether something inside *location* is wrong; a list of wrong entries only seems too short."""
    return any(len(place) > len(location) and place[: len(location)] == location for place in places)


def _is_shape(location: Location, detail: ErrorDetails, choice: Location) -> bool:
    return location == choice and detail["type"].endswith("_type")


def _resolve(detail: ErrorDetails, data: Any) -> tuple[Location, Location, int | str]:
    """Return the location in the file, and where and between which kinds there was a choice, if there was one.

    Pydantic puts the name of a kind among the keys, where the data has no such key.
    """
    location: list[int | str] = []
    choice: Location | None = None
    kind: int | str = ""
    last = len(detail["loc"]) - 1
    for depth, part in enumerate(detail["loc"]):
        is_entry = isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        if is_entry or (isinstance(data, Mapping) and part in data):
            data = data[part]
        elif not (depth == last and detail["type"] == "missing"):
            if choice is None:
                choice, kind = tuple(location), part
            continue
        location.append(part)
    return tuple(location), tuple(location) if choice is None else choice, kind


def _unknown_key(place: str, location: Location, model: Any, what: str, words: Sequence[str]) -> Problem:
    top = len(location) == 1
    keys = [*_fields(model, location[:-1]), *(words if top else ())]
    owner = f"unknown key of {what}" if what and top else "unknown table" if top and place == location[0] else "unknown key"
    near = difflib.get_close_matches(str(location[-1]), keys, 1)
    return Problem(place, owner, f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(keys)) or 'none'}")


_KNOWN = frozenset(get_args(core_schema.ErrorType))


def _may_repeat(detail: ErrorDetails) -> bool:
    """Return whether what is said of a value may hold some of it: a check said it in words of its own."""
    return detail["type"] not in _KNOWN or not {"error", "tag"}.isdisjoint(detail.get("ctx", ()))


def _problem(place: str, location: Location, detail: ErrorDetails, model: Any, *, is_hidden: bool) -> Problem:
    kind = detail["type"]
    if kind == "missing":
        return Problem(place, "is missing", "state it")
    if kind in _SHAPES:
        return Problem(place, *_SHAPES[kind])
    is_told = kind == "value_error" or is_hidden
    return Problem(place, _text(detail) + ("" if is_told else _given(location, detail, model)))


def _of_no_kind(place: str, location: Location, details: Sequence[ErrorDetails], model: Any, *, is_hidden: bool) -> Problem:
    """Return the problem of a value that is of none of the kinds that its key takes."""
    kinds = " or ".join(dict.fromkeys(_text(detail).removeprefix(_EXPECTED) for detail in details))
    return Problem(place, _EXPECTED + kinds + ("" if is_hidden else _given(location, details[0], model)))


def _text(detail: ErrorDetails) -> str:
    text = detail["msg"].removeprefix("Value error, ").replace("Tuple", "List").replace("tuple", "list")
    return text[:1].lower() + text[1:].replace("dictionary", "table")


def _given(location: Location, detail: ErrorDetails, model: Any) -> str:
    given = detail.get("input")
    return f", not {given!r}" if isinstance(given, str | int | float | bool) and not _is_secret(model, location) else ""


def _fields(model: Any, location: Location) -> list[str]:
    """Return the keys of the model at *location* inside *model*."""
    for part in map(str, location):
        annotation = _annotation(model, part)
        model = model if annotation is None else _inner(annotation)
    return list(getattr(model, "model_fields", {}))


def _is_secret(model: Any, location: Location) -> bool:
    """Return whether the value at *location* inside *model* may be a secret, which no message may repeat."""
    for part in map(str, location):
        annotation = _annotation(model, part)
        if "Secret" in str(annotation):
            return True
        model = _inner(annotation) or model
    return False


def _annotation(model: Any, key: str) -> Any:
    field = getattr(model, "model_fields", {}).get(key)
    return None if field is None else field.annotation


def _inner(annotation: Any) -> Any:
    """Return the first model in an annotation such as ``dict[str, Model]`` or ``str | list[Model]``, or None."""
    if hasattr(annotation, "model_fields"):
        return annotation
    return next(filter(None, map(_inner, getattr(annotation, "__args__", ()))), None)


def in_file_order(problems: Iterable[Problem], raw: Mapping[str, Any]) -> list[Problem]:
    """Sort problems by where their key, or the nearest table above it, stands in the file."""
    places: dict[str, int] = {}

    def walk(where: str, value: object) -> None:
        places.setdefault(where, len(places))
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(f"{where}.{key}" if where else str(key), inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(f"{where}[{index}]", inner)

    walk("", raw)

    def rank(problem: Problem) -> int:
        where = problem.where
        while where and where not in places:
            where = where[: max(where.rfind("."), where.rfind("["), 0)]
        return places.get(where, len(places)) if where else len(places)

    return sorted(dict.fromkeys(problems), key=rank)
