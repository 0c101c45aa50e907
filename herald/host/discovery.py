"""What is installed, read from package metadata; nothing is imported here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from herald.errors import PluginError

__all__ = ["Catalog", "Found", "discover", "discover_commands"]

_GROUP = re.compile(r"herald\.v(\d+)\Z")
_COMMANDS = re.compile(r"herald\.v(\d+)\.commands\Z")
_OWN_API = 1  # host.hookspecs.API_VERSION; a test compares, because importing it here would load pydantic


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin that metadata, or a folder of ``[plugins] paths``, announces.

    Attributes:
        name: What ``use`` says.
        value: Module to import, or the path of a local plugin.
        distribution: Who ships it; for a local plugin its file.
        version: Of the distribution; empty for a local plugin.
        api: Major version of Herald's API that it speaks.
        path: File or folder of a local plugin, or None.
    """

    name: str
    value: str
    distribution: str
    version: str
    api: int
    path: Path | None = None

    @property
    def origin(self) -> str:
        """Return ``distribution version`` for messages."""
        return f"{self.distribution} {self.version}".strip()


class Catalog:
    """Everything that could be loaded, by name."""

    def __init__(self, found: Iterable[Found], unreadable: Iterable[str] = (), noun: str = "plugin") -> None:
        """Sort what was found by name.

        Args:
            found: What metadata and folders announce.
            unreadable: Distributions whose entry points cannot be read.
            noun: What the names stand for, in messages.
        """
        self._noun = noun
        self._found: dict[str, list[Found]] = {}
        for one in found:
            self._found.setdefault(one.name, []).append(one)
        self.unreadable = tuple(unreadable)

    def __iter__(self) -> Iterator[Found]:
        """Yield every entry, by name."""
        for name in sorted(self._found):
            yield from self._found[name]

    def names(self) -> Sequence[str]:
        """Return the names of the plugins that speak this API, sorted."""
        return sorted(name for name, found in self._found.items() if any(one.api == _OWN_API for one in found))

    def __contains__(self, name: str) -> bool:
        """Return whether anything is offered under *name*."""
        return name in self._found

    def find(self, name: str) -> Found:
        """Return the plugin called *name*.

        Raises:
            PluginError: There is none, several claim the name, or it speaks another version of the API.
        """
        if not self._found:
            raise PluginError("no plugin is installed, not even Herald's own; a checkout must be installed: pip install -e .")
        if name not in self._found:
            near = difflib.get_close_matches(name, self.names(), 1)
            hint = f"did you mean {near[0]}?" if near else f"installed are: {', '.join(self.names())}"
            broken = "".join(f" (the entry points of {one} cannot be read)" for one in self.unreadable)
            raise PluginError(f"{self._noun} {name!r} is not installed{broken}; {hint}")
        found = self._found[name]
        speaking = [one for one in found if one.api == _OWN_API]
        if not speaking:
            versions = ", ".join(str(one.api) for one in found)
            advice = "upgrade herald-trading" if found[0].api > _OWN_API else f"upgrade {found[0].distribution}"
            raise PluginError(
                f"{self._noun} {name!r} of {found[0].origin} speaks API {versions}; this Herald speaks {_OWN_API}; {advice}"
            )
        if len(speaking) > 1:
            parties = " and ".join(one.origin for one in speaking)
            raise PluginError(f"{self._noun} name {name!r} is claimed by {parties}; uninstall one of them")
        return speaking[0]


def discover(paths: Sequence[Path] = ()) -> Catalog:
    """Return the catalog of all ``herald.v*`` entry points and of local plugins.

    Args:
        paths: Folders in which each ``*.py`` file and each package is a plugin under its own name.

    Raises:
        PluginError: A folder does not exist.
    """
    found, unreadable = _entries(_GROUP)
    for folder in paths:
        found += _local(folder)
    return Catalog(found, unreadable)


def discover_commands() -> Catalog:
    """Return every command line verb that plugins add; the value of each is ``module:attribute``."""
    return Catalog(*_entries(_COMMANDS), "verb")


def _entries(group: re.Pattern[str]) -> tuple[list[Found], list[str]]:
    """Return what installed distributions announce in *group*, and the distributions that cannot be read.

    A distribution that is on the path twice counts once: the first, which is the one that would be imported. One
    foreign package with damaged metadata must not stop Herald, so it is named and left out.
    """
    found: list[Found] = []
    unreadable: list[str] = []
    seen: set[str] = set()
    for distribution in distributions():
        # Entry points first: they are a short file, where the metadata of a hundred packages takes a tenth of a second.
        if "herald.v" not in (distribution.read_text("entry_points.txt") or ""):
            continue
        name = str(distribution.metadata["Name"])  # "None" for a half-removed installation
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            for entry in distribution.entry_points:
                match = group.match(entry.group)
                if match:
                    found.append(Found(entry.name, entry.value, name, str(distribution.version), int(match[1])))
        except Exception:  # importlib.metadata raises whatever its parser trips over: ValueError, TypeError, ...
            unreadable.append(name)
    return found, unreadable


def _local(folder: Path) -> Iterable[Found]:
    if not folder.is_dir():
        raise PluginError(f"plugins.paths: {folder} is not a folder; name a folder that holds plugin files")
    for path in sorted(folder.iterdir()):
        is_package = path.is_dir() and (path / "__init__.py").is_file()
        if (path.suffix == ".py" or is_package) and path.stem.isidentifier() and not path.name.startswith("_"):
            yield Found(path.stem, str(path), path.as_posix(), "", _OWN_API, path)
