"""Importing one plugin: an installed module, or a file or folder of ``[plugins] paths``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from herald.errors import PluginError
from herald.host.discovery import Found
from herald.host.trust import LockedFinder, local_name

__all__ = ["import_plugin", "one_line"]


def one_line(error: BaseException) -> str:
    """Return the class and the text of *error* on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def import_plugin(found: Found, finder: LockedFinder | None = None) -> ModuleType:
    """Import the plugin's module; every failure ends in one line that names plugin, module and distribution.

    Args:
        found: The plugin.
        finder: Lets nothing but what is in the lock be imported, now and later; None where nothing is locked.

    Raises:
        PluginError: It raises, ends the process, or is no module.
    """
    who = f"plugin {found.name!r} ({found.origin})"
    module, _, attribute = found.value.partition(":")
    name = module if found.path is None else local_name(found.name)
    sys.meta_path[:] = [one for one in sys.meta_path if not (isinstance(one, LockedFinder) and _is_past(one, finder, name))]
    if finder is not None and finder.tops:
        unchecked = finder.unchecked()
        if unchecked:
            what = f"{unchecked} was imported already, by something that did not ask the lock"
            raise PluginError(f"{who} is not imported: {what}; let nothing import it before Herald does")
        sys.meta_path.insert(0, finder)
    try:
        if found.path is not None:
            return _import_file(found.name, found.path, finder)
        if attribute:
            raise PluginError(f"{who} names {attribute!r} in {module}; a plugin is a module, its entry point names that alone")
        return importlib.import_module(module)
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # a plugin that ends the process must not end it unseen
        raise PluginError(f"{who} cannot be imported from {found.value}: {one_line(error)}") from error


def _is_past(one: LockedFinder, finder: LockedFinder | None, name: str) -> bool:
    """Return whether *one* is from an earlier import: of the same distribution, or of what is imported unlocked now."""
    return one.answers(name) if finder is None else one.owner == finder.owner


def _import_file(plugin: str, path: Path, finder: LockedFinder | None) -> ModuleType:
    name = local_name(plugin)
    is_package = path.is_dir()
    source = path / "__init__.py" if is_package else path
    spec = importlib.util.spec_from_file_location(name, source, submodule_search_locations=[str(path)] if is_package else None)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source} is no Python file")
    if finder is not None:
        spec = finder.guarded(spec)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: a package imports its own parts by this name
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    except BaseException:
        del sys.modules[name]
        raise
    return module
