"""``secret:NAME`` in the settings of a component: where it may stand, and its value when the component is built."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, SecretStr

from herald.clock import WallClock
from herald.components import Services, Settings
from herald.contracts import SecretSource
from herald.errors import ConfigError, HeraldError, Problem, SecretError
from herald.host.encrypted import ENCRYPTED
from herald.host.hookspecs import COLLECTED
from herald.host.imports import one_line
from herald.host.planned import Plan, Planned
from herald.utils.redaction import protect

__all__ = ["SecretKeeper", "keeper_of", "misplaced", "wanted"]

_PREFIX = "secret:"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")


class SecretKeeper:
    """Asks the sources of ``[[secrets]]``, in their order, for what settings name; the first answer wins.

    A source is built when it is first asked, and may itself be opened with what an earlier one answers. One that fails ends
    the search: a later one might answer with something else.
    """

    def __init__(
        self,
        source: str,
        parts: Sequence[Planned[SecretSource]],
        build: Callable[[Planned[SecretSource], Settings], SecretSource],
    ) -> None:
        """Ask *parts*, which *build* makes of their settings; *source* is the config, for messages."""
        self._source = source
        self._parts = parts
        self._build = build
        self._built: dict[int, SecretSource] = {}

    def resolved(self, name: str, settings: Settings, among: int | None = None) -> Settings:
        """Return *settings* of the component *name* with every secret that they name, from the first *among* sources or all.

        Raises:
            ConfigError: No source has it, or one cannot be asked.
        """
        changed = self._changed(settings, name, among)
        return settings if changed is None else changed

    def _changed(self, value: Any, place: str, among: int | None) -> Any:
        """Return *value* with its secrets; None where it names none."""
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            if not text.startswith(_PREFIX):
                protect(text)
                return None
            found = self.ask(text.removeprefix(_PREFIX), place, among)
            protect(found)  # before anybody has it who could write it anywhere
            return SecretStr(found)
        inner = dict(_inner(value, place))
        new = {key: found for key, (one, where) in inner.items() if (found := self._changed(one, where, among)) is not None}
        if not new:
            return None
        if isinstance(value, BaseModel):
            return value.model_copy(update=new)
        if isinstance(value, Mapping):
            return {**value, **new}
        return type(value)([new.get(key, one) for key, (one, _) in inner.items()])

    def survey(self, name: str, among: int | None = None) -> Iterator[tuple[str, bool | str]]:
        """Yield what each of the first *among* sources, or of all, says to *name*: (source and place, whether it has it).

        One that cannot be asked has a text instead, and is the last: none behind it would be asked either.
        """
        for index, part in enumerate(self._parts[:among]):
            try:
                source = self._opened(index)
                found = source.get(name)
            except ConfigError as error:
                yield part.use, error.problems[0].what
                return
            except (Exception, SystemExit) as error:
                yield part.use, _trouble(error)
                return
            protect(found or "")
            yield f"{part.use} ({source.place(name)})", found is not None

    def _opened(self, index: int) -> SecretSource:
        if index not in self._built:
            part = self._parts[index]
            self._built[index] = self._build(part, self.resolved(part.name, part.settings, index))
        return self._built[index]

    def ask(self, name: str, place: str, among: int | None = None, hint: str = "") -> str:
        """Return the value of *name*, which the key *place* needs, from the first *among* sources or all.

        Where none has it, *hint* says what to do, instead of the usual answer.

        Raises:
            ConfigError: No source has it, or one cannot be asked.
        """
        places = []
        for index, part in enumerate(self._parts[:among]):
            try:
                source = self._opened(index)
                found = source.get(name)
                places.append(f"{part.use} ({source.place(name)})")
            except ConfigError:
                raise
            except (Exception, SystemExit) as error:
                what = f"secret {name!r}, which {place} needs, cannot be asked for: {_trouble(error)}"
                raise ConfigError(self._source, [Problem(part.name, what)]) from error
            if found is not None:
                return found
        asked = f"is in none of the sources asked: {', '.join(places)}" if places else "has no source to be asked for"
        usual = hint or f"herald secrets set {name}"
        todo = usual if places else 'add [[secrets]] with use = "..."; see docs/secrets.md'
        raise ConfigError(self._source, [Problem(place, f"secret {name!r} {asked}", todo)])


def _trouble(error: BaseException) -> str:
    """Return why a source cannot be asked; one that raises anything but a `SecretError` is at fault itself."""
    return str(error) if isinstance(error, SecretError) else f"the source failed with {one_line(error)}"


def keeper_of(source: str, parts: Sequence[Planned[SecretSource]], base: str) -> SecretKeeper:
    """Return who asks *parts*, the sources of the config *source* in the folder *base*, where nothing is run."""

    def build(part: Planned[SecretSource], settings: Settings) -> SecretSource:
        try:
            return part.component.build(settings, Services(part.name, WallClock(), random.Random(0), base=base))
        except HeraldError:
            raise
        except Exception as error:  # of a plugin, whatever it raises is its mistake
            raise ConfigError(source, [Problem(part.name, f"{part.use} cannot be built: {one_line(error)}")]) from error

    return SecretKeeper(source, parts, build)


def misplaced(settings: Settings, where: str, variables: Collection[str] = ()) -> list[Problem]:
    """Return what is wrong with the secrets in *settings*.

    That is an impossible name, a key that would show the value, and a secret that stands in the file itself: files are
    copied, shared and kept for ever.

    Args:
        settings: Of a component, as its table states them.
        where: Place of the table.
        variables: Places that variables of the environment set; what they say is in no file.
    """
    problems: list[Problem] = []

    def walk(value: Any, place: str) -> None:
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            if not text.startswith(_PREFIX):
                protect(text)
                if text and not any(place == one or place.startswith((f"{one}.", f"{one}[")) for one in variables):
                    what = "is a secret in plain text, which everybody who gets the file can read"
                    key = re.sub(r"[^A-Za-z0-9]+", "_", place.partition(".")[2] if place.count(".") > 1 else place).strip("_")
                    problems.append(Problem(place, what, f'write "secret:{key}", and: herald secrets set {key}'))
            elif not _NAME.fullmatch(text.removeprefix(_PREFIX)):
                problems.append(Problem(place, "names no secret", 'write "secret:NAME", with letters, digits, _ . and -'))
        elif isinstance(value, str) and value.startswith(_PREFIX):
            problems.append(Problem(place, "takes no secret: its value is shown in plans and logs", "write the value itself"))
        else:
            stated = value.model_fields_set if isinstance(value, BaseModel) else None
            for key, (one, inner) in dict(_inner(value, place)).items():
                if stated is None or key in stated:
                    walk(one, inner)

    walk(settings, where)
    return problems


def _needed(settings: Settings, where: str) -> Iterator[tuple[str, str]]:
    """Yield (name, place) of every secret that *settings*, the table at *where*, ask for."""

    def walk(value: Any, place: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            if text.startswith(_PREFIX):
                yield text.removeprefix(_PREFIX), place
        for one, inner in dict(_inner(value, place)).values():
            yield from walk(one, inner)

    yield from walk(settings, where)


def wanted(plan: Plan) -> dict[tuple[str, int | None], list[str]]:
    """Return the keys that need each secret, by its name and how many sources may answer: all, or those above a source."""
    sources = [part.name for part in plan.secrets]
    found: dict[tuple[str, int | None], list[str]] = {}
    for kind in COLLECTED.values():
        for part in plan.chosen(kind):
            among = sources.index(part.name) if kind == "secret source" else None
            whole = [] if part.section is None else [(part.section.name, f"{part.name}.{ENCRYPTED}")]
            for name, place in (*whole, *_needed(part.settings, part.name)):
                places = found.setdefault((name, among), [])
                places += [place] if place not in places else []
    return found


def _inner(value: Any, place: str) -> Iterator[tuple[Any, tuple[Any, str]]]:
    """Yield key, value and place of everything inside *value*."""
    if isinstance(value, BaseModel):
        yield from ((key, (getattr(value, key), f"{place}.{key}")) for key in type(value).model_fields)
    elif isinstance(value, Mapping):
        yield from ((key, (one, f"{place}.{key}")) for key, one in value.items())
    elif isinstance(value, list | tuple):
        yield from ((index, (one, f"{place}[{index}]")) for index, one in enumerate(value))
