"""What every plugin author imports: settings, the component record and the hook marker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import pluggy
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from herald.contracts import Services

__all__ = ["Component", "Services", "Settings", "component", "hookimpl"]

hookimpl = pluggy.HookimplMarker("herald")
"""Marks a module-level function of a plugin as the answer to one of Herald's hooks."""


class Numbers(BaseModel):
    """Base of every table of a config: ``true`` is no number, though Python takes it for 1."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_bool(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool):
            field = cls.model_fields.get(info.field_name or "")
            if field is not None and _is_numeric(field.annotation):
                raise ValueError(f"must be a number, not {str(value).lower()}")
        return value


def _is_numeric(annotation: Any) -> bool:
    """Return whether a field takes numbers, and no bool."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return bool({int, float}.intersection(kinds)) and bool not in kinds


class Settings(Numbers):
    """Base of a component's settings: frozen, and unknown keys are errors.

    Field names are the keys of the component's table in the config.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Component(Generic[T_co]):
    """One thing a plugin offers.

    Attributes:
        name: What ``use = "..."`` says; ``[a-z][a-z0-9_]*``.
        settings: The model of its table.
        build: Makes an instance from (settings, services); pure: no I/O, no threads, no clock.
        summary: One line for `herald plugins`.
    """

    name: str
    settings: type[Settings]
    build: Callable[[Any, Services], T_co]
    summary: str = ""


def component(name: str, settings: type[S], build: Callable[[S, Services], T], summary: str = "") -> Component[T]:
    """Return the record of one component; a *build* that does not take *settings* is a type error here."""
    return Component(name, settings, build, summary)
