"""Component tables of a config, each turned into a part with checked settings, or into problems."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from herald.errors import PluginError, Problem
from herald.host.encrypted import Section, protect_section
from herald.host.planned import Planned
from herald.host.problems import to_problems
from herald.host.registry import HOST_WORDS, Registry
from herald.host.secrets import misplaced
from herald.host.tables import Raw

__all__ = ["Parts", "plugin_problem"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Parts:
    """Looks up components and checks their tables; what is wrong is added to the problems."""

    def __init__(
        self,
        registry: Registry,
        problems: list[Problem],
        variables: Collection[str] = (),
        raw: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Make parts.

        Args:
            registry: Where components are looked up.
            problems: What is wrong is added to them.
            variables: Places that they set, not the file.
            raw: Every table as the file states it.
        """
        self._registry = registry
        self._problems = problems
        self._variables = variables
        self._readable = frozenset(_texts(raw))
        self.sections: Mapping[str, Section] = {}
        """What stood encrypted, by the place of its table."""

    def part(self, kind: str, where: str, table: Mapping[str, Any], name: str = "") -> Planned[Any] | None:
        """Return the part that *table* describes, or None after noting what is wrong.

        Args:
            kind: Of component.
            where: Place of the table in the file.
            table: Host words and settings.
            name: Of the instance, where that is not its place.
        """
        use = table.get("use")
        if not isinstance(use, str) or not use:
            what = "use is missing" if use is None else f"use must be a name, not {use!r}"
            self._problems.append(Problem(where, what, f'write use = "..." to say which {kind} it is'))
            return None
        try:
            found = self._registry.find(kind, use)
        except PluginError as error:
            self._problems.append(plugin_problem(f"{where}.use", error))
            return None
        words = HOST_WORDS[kind]
        own = {key: value for key, value in table.items() if key not in words}
        section = self.sections.get(where)
        hidden = frozenset[str]() if section is None else section.keys
        try:
            settings = found.component.settings.model_validate(own)
        except ValidationError as error:
            model = found.component.settings
            told = {} if section is None else dict.fromkeys(section.keys, section.name)
            self._problems += to_problems(error, own, where, model, found.full_name, sorted(words), told)
            return None
        except Exception as error:  # a validator of the plugin's own; whatever it raises is the plugin's mistake
            said = f"{type(error).__name__}: {error}" if section is None else type(error).__name__
            what = f"the settings of {found.full_name} [{found.origin}] cannot be checked: {said}"
            self._problems.append(Problem(where, " ".join(what.split()), "report it to the plugin's author"))
            return None
        wrong = misplaced(settings, where, [*self._variables, *(f"{where}.{key}" for key in hidden)])
        if wrong:
            self._problems += wrong
            return None
        protect_section(settings, hidden, self._readable)
        return Planned(name or where, found.full_name, kind, found.component, settings, found.origin, section)

    def tables(self, kind: str, where: str, tables: Mapping[str, Raw]) -> dict[str, Planned[Any]]:
        """Return the parts of named tables, by name."""
        parts = {name: self.part(kind, f"{where}.{name}", raw) for name, raw in tables.items()}
        return {name: part for name, part in parts.items() if part is not None}

    def ordered(self, kind: str, where: str, tables: object) -> tuple[Planned[Any], ...]:
        """Return the parts of a list of tables, in order."""
        if not isinstance(tables, list) or not all(isinstance(one, Mapping) for one in tables):
            example = f'write {where.rpartition(".")[2]} = [{{ use = "..." }}]'
            self._problems.append(Problem(where, "must be a list of tables", example))
            return ()
        return self.entries(kind, where, [(f"{where}[{index}]", table) for index, table in enumerate(tables)])

    def entries(self, kind: str, where: str, entries: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[Planned[Any], ...]:
        """Return the parts of (place, table) pairs; ``name`` in a table names the instance ``WHERE.NAME``."""
        parts, names = [], set()
        for place, table in entries:
            name = table.get("name")
            if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
                self._problems.append(Problem(f"{place}.name", f"{name!r} is no name", "use letters, digits and _"))
                name = None
            if name is not None and name in names:
                self._problems.append(Problem(f"{place}.name", f"{name} is used twice in {where}", "choose another"))
            names.add(name)
            parts.append(self.part(kind, place, table, "" if name is None else f"{where}.{name}"))
        return tuple(part for part in parts if part is not None)

    def with_profile(self, own: Sequence[Raw], profile: Raw, essential: str = "") -> list[tuple[str, Mapping[str, Any]]]:
        """Return (place, table) of all global risk checks.

        Those of the *essential* profile come first, then those of the chosen one, each replaced in place by the first own
        entry of the same ``use``; the other own entries follow. A limit that the essential profile leaves to the file and
        that nobody states is a problem.
        """
        mine = [(f"risk[{index}]", dict(entry)) for index, entry in enumerate(own)]
        offered = [(f"risk_profile[{index}]", one) for index, one in enumerate(self._profile(profile))]
        if essential:
            chosen = {use for _, (use, _) in offered}
            usual = [one for one in self._profile({"use": essential}) if one[0] not in chosen]
            offered = [(f"essential[{index}]", one) for index, one in enumerate(usual)] + offered
        amended: list[tuple[str, Mapping[str, Any]]] = []
        for place, (use, settings) in offered:
            same = next((entry for entry in mine if entry[1].get("use") in (use, use.rpartition(".")[2])), None)
            if same is not None:
                mine.remove(same)
            elif place.startswith("essential") and self._is_left_open(use, settings):
                continue
            amended.append(same or (place, {"use": use, **settings}))
        return amended + mine

    def _is_left_open(self, use: str, settings: Mapping[str, Any]) -> bool:
        """Return whether a profile leaves the limit of a check to the file; that it is missing there is noted."""
        try:
            self._registry.find("risk", use).component.settings.model_validate(settings)
        except PluginError:
            return False  # told where the part is looked up
        except ValidationError as error:
            lacking = [str(one["loc"][-1]) for one in error.errors() if one["type"] == "missing"]
            told = str(error.errors()[0]["msg"]).rpartition("; set ")[2]
            keys = " and ".join(lacking) or told
            what = f'has no "{use}": a run in this mode must state that limit'
            self._problems.append(Problem("risk", what, f'write [[risk]] with use = "{use}" and its {keys}'))
            return True
        return False

    def _profile(self, table: Raw) -> Sequence[tuple[str, Mapping[str, Any]]]:
        if not table:
            return ()
        for key in table:
            if key != "use":
                hint = "a profile has only use; amend it with [[risk]] entries"
                self._problems.append(Problem(f"risk_profile.{key}", "unknown key", hint))
        use = table.get("use")
        if not isinstance(use, str) or not use:
            what = "is missing" if use is None else f"must be a name, not {use!r}"
            self._problems.append(Problem("risk_profile.use", what, 'write use = "balanced"'))
            return ()
        try:
            return self._registry.profile(use).checks
        except PluginError as error:
            self._problems.append(plugin_problem("risk_profile.use", error))
            return ()


def _texts(value: object) -> Iterator[str]:
    """Yield every text inside *value*, keys too: a table may be named in another."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield str(key)
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def plugin_problem(where: str, error: PluginError) -> Problem:
    """Return what is wrong with a plugin as a problem of the key that names it."""
    what, _, hint = str(error).rpartition("; ")
    return Problem(where, what, hint) if what else Problem(where, hint)
