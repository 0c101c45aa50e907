"""The config file: TOML with the environment above it, and what is wrong with Herald's own tables."""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from herald.errors import ConfigError, NotFound, Problem
from herald.host.environment import overlay
from herald.host.problems import to_problems
from herald.host.tables import HeraldConfig, Raw

__all__ = ["HeraldConfig", "ReadConfig", "read_config"]

_ROUNDS = 8
"""How often what is wrong is taken out before the rest is given up; one is nearly always enough."""


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """A file as it was read.

    Attributes:
        config: Herald's own tables, without what is wrong in them.
        raw: Every table as it stands, the environment applied.
        variables: The variable that set a key, by the key's place (``backtest.cash``).
        problems: What is wrong with Herald's own tables.
    """

    config: HeraldConfig
    raw: Raw
    variables: Mapping[str, str]
    problems: Sequence[Problem]


def read_config(path: Path, environ: Mapping[str, str] | None = None) -> ReadConfig:
    """Read a config file and apply the ``HERALD_...`` variables.

    Where something is wrong, the config is what remains without it, so that the components' tables can be
    checked all the same and every mistake is reported at once.

    Args:
        path: The file.
        environ: The environment; that of the process if None.

    Raises:
        NotFound: There is no such file.
        ConfigError: It cannot be read as TOML.
    """
    raw = _read_toml(path)
    problems, variables = overlay(raw, os.environ if environ is None else environ)
    rest = copy.deepcopy(raw)
    for _ in range(_ROUNDS):
        try:
            return ReadConfig(HeraldConfig.model_validate(rest), raw, variables, problems)
        except ValidationError as error:
            problems += [problem for problem in to_problems(error, rest, "", HeraldConfig) if problem not in problems]
            for detail in error.errors(include_url=False):
                _remove(rest, detail["loc"])
    raise ConfigError(str(path), problems)


def _read_toml(path: Path) -> Raw:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFound(f"there is no file {str(path)!r}; name a config such as herald.toml") from None
    except IsADirectoryError:
        raise NotFound(f"{str(path)!r} is a folder; name a config file such as herald.toml") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [Problem("", f"not UTF-8 text at byte {error.start}", "save the file as UTF-8")]) from None
    except OSError as error:
        raise NotFound(f"{str(path)!r} cannot be read: {error.strerror}; name a config file such as herald.toml") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), [Problem("", f"not valid TOML: {error}", "mend the file there")]) from None


def _remove(data: Any, location: Sequence[int | str]) -> None:
    """Take the value at *location* out of *data*, or the nearest table above it that is there."""
    for part in location[:-1]:
        try:
            data, above = data[part], data
        except (KeyError, IndexError, TypeError):
            break
        if not isinstance(data, dict | list):
            above.pop(part, None) if isinstance(above, dict) else None
            return
    if isinstance(data, dict):
        data.pop(location[-1], None)
    elif isinstance(data, list):
        data.clear()  # an entry that is no table: the list as a whole cannot be used
