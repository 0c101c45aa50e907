"""Plugin trust: only what stands in the lock, and is still what it was, may be imported; see docs/plugin-trust.md.

A distribution is measured from its metadata and files, nothing is imported for it. A plugin that passes is then imported
through a loader of Herald's own, which compiles the very bytes whose hash it has compared: a file that is changed between
the check and the import, cached bytecode, or a module that stands earlier on the path is not what runs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder, SourceFileLoader, all_suffixes
from importlib.metadata import Distribution, PackageNotFoundError
from importlib.metadata import distribution as find_distribution
from pathlib import Path
from types import CodeType, ModuleType

from herald.errors import PluginError
from herald.host.discovery import Catalog, Found
from herald.host.lock import Lock, Locked, check_signature, read_lock
from herald.host.lookalike import canonical, looks_like

__all__ = ["OWN", "LockedFinder", "Trust", "difference", "is_older", "key_of", "local_name", "measure", "open_lock"]

OWN = "herald-trading"
"""Herald's own distribution: it is locked and compared like the others, but it cannot vouch for itself."""
_SHOWN = 3
"""Files that a message names; the rest is counted."""


class Trust:
    """Decides what may be imported; one for a configuration."""

    def __init__(self, lock: Lock, name: str, catalog: Catalog) -> None:
        """Trust what *lock* lists.

        Args:
            lock: What is trusted.
            name: The lock's file, for messages.
            catalog: What is installed, to tell a look-alike from a stranger.
        """
        self._lock = lock
        self._name = name
        self._catalog = catalog
        self._verdicts: dict[tuple[bool, str], str] = {}
        self._finders: dict[tuple[bool, str], LockedFinder] = {}

    def check(self, found: Found) -> LockedFinder:
        """Make sure that *found* may be imported, and return what sees to it that what was locked is what is imported.

        Raises:
            PluginError: It may not; the text says exactly why.
        """
        reason = self.reason(found)
        if reason:
            raise _refusal(found, reason)
        return self._finders[key_of(found)]

    def refused(self, named: Iterable[Found]) -> list[PluginError]:
        """Return why those *named* may not be imported: of each distribution and each local plugin the first reason."""
        reasons: dict[tuple[bool, str], PluginError] = {}
        for found in named:
            reason = "" if key_of(found) in reasons else self.reason(found)
            if reason:
                reasons[key_of(found)] = _refusal(found, reason)
        return list(reasons.values())

    def reason(self, found: Found) -> str:
        """Return why *found* must not be imported; empty where it may."""
        key = key_of(found)
        locked = self._lock.find(key)
        if locked is None:
            return self._stranger(found)
        if key not in self._verdicts:
            self._verdicts[key] = self._compare(found, locked)
        if self._verdicts[key]:
            return self._verdicts[key]
        if locked.kind != "local" and locked.entry_points.get(found.name) != found.value:
            return f"its entry point {found.name} = {found.value!r} is not in {self._name}; herald plugins trust {found.name}"
        return ""

    def _compare(self, found: Found, locked: Locked) -> str:
        try:
            now, places, tops = _measured(found)
        except PluginError as error:
            return str(error)
        what = difference(locked, now)
        if not what:
            known = {path: now.files[name] for name, path in places.items() if name in now.files}
            self._finders[key_of(found)] = LockedFinder(key_of(found), () if canonical(now.name) == OWN else tops, known)
            return ""
        elsewhere = self._lock.elsewhere()
        remedy = "herald plugins lock" if elsewhere or canonical(now.name) == OWN else f"herald plugins trust {found.name}"
        return f"{what}; {elsewhere or 'if you know why'}: {remedy}"

    def _stranger(self, found: Found) -> str:
        known = [one for locked in self._lock.distributions for one in (*locked.entry_points, *_named(locked))]
        alike = "" if found.path is not None else looks_like(found.distribution, [*known, OWN])
        alike = alike or looks_like(found.name, [*known, *(one.name for one in self._catalog if one.distribution == OWN)])
        if alike:
            return f"it is not in {self._name}, and its name is like {alike}; uninstall it if it is not what you meant to install"
        return f"it is not in {self._name}; if you trust it: herald plugins trust {found.name}"


def _refusal(found: Found, reason: str) -> PluginError:
    return PluginError(f"plugin {found.name!r} ({found.origin}) is not imported: {reason}")


def _named(locked: Locked) -> list[str]:
    return [] if locked.kind == "local" else [locked.name]


def key_of(found: Found) -> tuple[bool, str]:
    """Return the `Locked.key` of what *found* belongs to."""
    return found.path is not None, canonical(found.name if found.path is not None else found.distribution)


def open_lock(path: Path, public: str | None, catalog: Catalog) -> Trust:
    """Return the trust that the lock in *path* states, after checking its signature where *public* is a key.

    Raises:
        NotFound: There is none.
        PluginError: It cannot be used, or was not signed by the owner of *public*.
    """
    lock, data = read_lock(path)
    if public is not None:
        check_signature(path, data, public)
    return Trust(lock, path.name, catalog)


# --- measuring ------------------------------------------------------------------------------------


def measure(found: Found) -> Locked:
    """Return what *found* belongs to, as it is now: an installed distribution or a local plugin.

    Raises:
        PluginError: Its files cannot be found or read, or are not those that its RECORD states.
    """
    now, places, _ = _measured(found)
    if found.path is None:
        _check_record(now, places, found)
    return now


def difference(locked: Locked, now: Locked) -> str:
    """Return what of *now* is not as it was locked, most telling first; empty where everything is."""
    if now.version != locked.version:
        if is_older(now.version, locked.version):
            return f"it was downgraded: {now.version} is installed, {locked.version} is locked"
        return f"version {now.version} is installed, {locked.version} is locked"
    changed = [name for name, digest in locked.files.items() if now.files.get(name, digest) != digest]
    gone = [name for name in locked.files if name not in now.files]
    added = [name for name in now.files if name not in locked.files]
    parts = [_list(names, word) for names, word in ((changed, "changed"), (added, "added"), (gone, "removed")) if names]
    if now.record != locked.record:
        parts.append("its RECORD was changed")
    if now.kind != locked.kind:
        parts.append(f"it was installed as {locked.kind} and is {now.kind} now")
    if not parts and now.entry_points != locked.entry_points:
        parts.append("its entry points were changed")
    return ", ".join(parts)


def _list(names: Sequence[str], word: str) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{shown}{more} {'was' if len(names) == 1 else 'were'} {word}"


def _measured(found: Found) -> tuple[Locked, dict[str, Path], set[str]]:
    """Return what *found* belongs to as it is now, where every file of it is, and the modules that are its own."""
    if found.path is not None:
        places = _local_files(found.path)
        digests = _digests(places)
        named = Locked(
            name=found.name, version="", kind="local", entry_points={found.name: found.path.name}, record="", files=digests
        )
        return named, places, {local_name(found.name)}
    try:
        distribution = find_distribution(found.distribution)
    except PackageNotFoundError as error:
        raise PluginError(f"distribution {found.distribution!r} is not installed any more; install it again") from error
    entries = {entry.name: entry.value for entry in distribution.entry_points if entry.group.startswith("herald.v")}
    base = Path(str(distribution.locate_file(""))).resolve()
    places = _recorded_files(distribution)
    editable = _is_editable(distribution)
    tops = _modules(places)
    for name, spec in dict(_located(value.partition(":")[0]) for value in entries.values()).items():
        tops.add(name)
        for path, file in _package_files(name, spec, base):
            places[file] = path
            editable = editable or base not in path.parents
    record = _record(distribution)
    digests = _digests(places)
    now = Locked(
        name=str(distribution.metadata["Name"]),
        version=str(distribution.version),
        kind="editable" if editable else "wheel",
        entry_points=dict(sorted(entries.items())),
        record="" if record is None or editable else hashlib.sha256(record.encode()).hexdigest(),
        files=digests,
    )
    return now, places, tops


def _record(distribution: Distribution) -> str | None:
    return distribution.read_text("RECORD")


def _is_editable(distribution: Distribution) -> bool:
    try:
        stated = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(isinstance(stated, dict) and isinstance(stated.get("dir_info"), dict) and stated["dir_info"].get("editable"))


def _recorded_files(distribution: Distribution) -> dict[str, Path]:
    """Return the files that the installer noted, by the name it noted; an editable one's own metadata says nothing lasting."""
    if _is_editable(distribution):
        return {}
    places = {}
    for name in distribution.files or ():
        path = Path(str(distribution.locate_file(name)))
        if _counts(path) and not (name.name == "RECORD" and name.parent.suffix == ".dist-info"):
            places[name.as_posix()] = path.resolve()
    return places


def _counts(path: Path) -> bool:
    # Python writes this cache by itself whenever it likes; the loader below never reads it.
    return "__pycache__" not in path.parts


def _modules(names: Iterable[str]) -> set[str]:
    """Return the modules that files of these names are: of a package itself alone, of a namespace what is in it."""
    parts = {}
    for name in names:
        suffix = next((one for one in all_suffixes() if name.endswith(one)), None)
        if suffix is not None:
            parts[tuple(name.removesuffix(suffix).split("/"))] = name
    packages = {one[:-1] for one in parts if one[-1] == "__init__"}
    found = set()
    for one in parts:
        outermost = next((one[:depth] for depth in range(1, len(one)) if one[:depth] in packages), one)
        if all(part.isidentifier() for part in outermost):
            found.add(".".join(outermost))
    return found


def _package_files(name: str, spec: ModuleSpec | None, base: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, name) of every file from which the module or package *name* could be imported.

    Raises:
        PluginError: It cannot be found, or is not in files.
    """
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        raise PluginError(f"its module {name!r} is nowhere to be found; install it again")
    folders = [Path(one).resolve() for one in spec.submodule_search_locations or ()]
    if not folders and spec.origin is not None:
        path = Path(spec.origin).resolve()
        yield path, _relative(path, path.parent, base, "")
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and _counts(path.relative_to(folder)):
                yield path.resolve(), _relative(path, folder, base, name.replace(".", "/"))


def _relative(path: Path, folder: Path, base: Path, prefix: str) -> str:
    if base in path.parents:
        return path.relative_to(base).as_posix()
    return "/".join(filter(None, (prefix, path.relative_to(folder).as_posix())))


def _located(module: str) -> tuple[str, ModuleSpec | None]:
    """Return the first package on the way to *module* that has a file of its own, and where it is; nothing is imported."""
    parts = module.split(".")
    spec: ModuleSpec | None = None
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = None if find is None or isinstance(finder, LockedFinder) else find(parts[0], None)
        if spec is not None:
            break
    depth = 1
    while spec is not None and spec.origin is None and depth < len(parts):  # a namespace: others live in it as well
        depth += 1
        spec = PathFinder.find_spec(".".join(parts[:depth]), list(spec.submodule_search_locations or ()))
    return ".".join(parts[:depth]), spec


def _local_files(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        return {path.name: path.resolve()}
    found = (one for one in path.rglob("*") if one.is_file() and _counts(one.relative_to(path)))
    return {one.relative_to(path.parent).as_posix(): one.resolve() for one in found}


def _digests(places: Mapping[str, Path]) -> dict[str, str]:
    """Return the hash of every file that is there."""
    found = {name: _digest(path) for name, path in sorted(places.items())}
    return {name: digest for name, digest in found.items() if digest}


def _digest(path: Path) -> str:
    """Return the hash of a file; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _check_record(now: Locked, places: Mapping[str, Path], found: Found) -> None:
    """Refuse to lock what is not even what its installer wrote down."""
    for name in () if now.kind == "editable" else find_distribution(found.distribution).files or ():
        stated, path = name.hash, name.as_posix()
        if path not in places or stated is None or stated.mode != "sha256":
            continue
        digest = base64.urlsafe_b64encode(bytes.fromhex(now.files.get(path, ""))).rstrip(b"=").decode()
        if digest != stated.value:
            raise PluginError(f"{path} of {now.name} is not what was installed; find out why, or install it again")


_VERSION = re.compile(r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)[-_.]?(?:(alpha|a|beta|b|preview|pre|rc|c)[-_.]?(\d*))?(.*)", re.IGNORECASE)
_STAGES = {"alpha": 0, "a": 0, "beta": 1, "b": 1, "preview": 2, "pre": 2, "rc": 2, "c": 2}
_FINAL, _LATER = 3, 1_000_000_000


def is_older(one: str, other: str) -> bool:
    """Return whether version *one* is before *other* (PEP 440's order of releases, pre-, post- and dev-releases)."""
    return _rank(one) < _rank(other)


def _rank(version: str) -> tuple[int, tuple[int, ...], int, int, int, int]:
    match = _VERSION.fullmatch(version.strip().partition("+")[0])
    if match is None:
        return 0, (), 0, 0, 0, 0
    epoch, release, kind, number, rest = match.groups()
    numbers = [int(part) for part in release.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    post = re.search(r"(?:post|rev|r|^)[-_.]?(\d+)", rest, re.IGNORECASE)
    dev = re.search(r"dev[-_.]?(\d*)", rest, re.IGNORECASE)
    # A development release comes before everything else of its number, a final release after its pre-releases.
    stage = _STAGES[kind.lower()] if kind else -1 if dev is not None and post is None else _FINAL
    after, before = -1 if post is None else int(post[1]), _LATER if dev is None else int(dev[1] or 0)
    return int(epoch or 0), tuple(numbers), stage, int(number or 0), after, before


# --- importing what was checked -------------------------------------------------------------------


def local_name(plugin: str) -> str:
    """Return the name under which a local plugin is imported."""
    return f"herald_local_{plugin}"


class LockedFinder:
    """Finds the modules of one trusted distribution, and refuses those of its packages that are not in the lock.

    Attributes:
        owner: The `Locked.key` of the distribution.
        tops: The modules and packages it answers for; none for Herald's own.
    """

    def __init__(self, owner: tuple[bool, str], tops: Iterable[str], files: Mapping[Path, str]) -> None:
        """Answer for *tops*, the modules and packages of *owner*, whose files have the hashes *files*."""
        self.owner = owner
        self.tops = frozenset(tops)
        self._files = files

    def answers(self, name: str) -> bool:
        """Return whether module *name* is one of those, or in one, or a namespace that one is in: that must hold no code."""
        return any(name == top or name.startswith(f"{top}.") or top.startswith(f"{name}.") for top in self.tops)

    def unchecked(self) -> str:
        """Return a module that was imported already, and not as it stands in the lock; empty where there is none."""
        for name, module in list(sys.modules.items()):
            spec = getattr(module, "__spec__", None)
            if not self.answers(name) or (spec is not None and spec.origin is None):
                continue
            digest = None if spec is None else self._files.get(Path(str(spec.origin)).resolve())
            loader = None if spec is None else spec.loader
            is_right = loader.digest == digest if isinstance(loader, _Loader) else isinstance(loader, ExtensionFileLoader)
            if digest is None or not is_right:
                return name
        return ""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where module *name* is, with a loader that compares its hash; None for the modules of others."""
        if not self.answers(name):
            return None
        spec = None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = None if find is None or isinstance(finder, LockedFinder) else find(name, path, target)
            if spec is not None:
                break
        if spec is None:
            return None
        return self.guarded(spec)

    def guarded(self, spec: ModuleSpec) -> ModuleSpec:
        """Return *spec* with a loader that runs nothing but what was locked."""
        if spec.origin is None:
            return spec  # a folder without code
        place = Path(spec.origin).resolve()
        digest = self._files.get(place)
        if digest is None:
            raise ImportError(f"{spec.name} would come from {str(place)!r}, which is not in the plugin lock")
        if isinstance(spec.loader, ExtensionFileLoader):
            if _digest(place) != digest:
                raise ImportError(f"{str(place)!r} was changed after it was checked")
        else:
            spec.loader = _Loader(spec.name, str(place), digest)
        return spec


class _Loader(SourceFileLoader):
    """Runs a source file if it is, byte for byte, the one in the lock; cached bytecode is neither read nor written."""

    def __init__(self, name: str, path: str, digest: str) -> None:
        super().__init__(name, path)
        self.digest = digest

    def get_code(self, fullname: str) -> CodeType:
        data = self.get_data(self.path)
        if hashlib.sha256(data).hexdigest() != self.digest:
            raise ImportError(f"{self.path!r} was changed after it was checked")
        code: CodeType = self.source_to_code(data, self.path)
        return code
