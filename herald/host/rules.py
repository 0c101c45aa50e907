"""What Herald asks of a plugin beyond what pluggy checks: plain hooks, good names, settings that leave Herald's words alone."""

from __future__ import annotations

import difflib
import inspect
import re
from types import ModuleType
from typing import Any

from herald.components import Component, Settings
from herald.errors import PluginError
from herald.host.hookspecs import HeraldHooks

__all__ = ["HOST_WORDS", "check_component", "check_module"]

HOST_WORDS = {
    "connector": frozenset({"use", "encrypted", "format", "middleware", "poll_seconds", "account_seconds"}),
    "middleware": frozenset({"use", "encrypted", "name"}),
    "cache": frozenset({"use", "encrypted"}),
    "journal": frozenset({"use", "encrypted"}),
    "audit": frozenset({"use", "enabled"}),
    "metrics": frozenset({"use", "encrypted"}),
    "strategy": frozenset({"use", "encrypted", "connector", "symbols", "timeframe", "exits", "risk", "sizing", "enabled"}),
    "sizer": frozenset({"use", "encrypted"}),
    "risk": frozenset({"use", "encrypted", "name"}),
    "exit": frozenset({"use", "encrypted", "name"}),
    "observer": frozenset({"use", "encrypted", "name"}),
    "format": frozenset({"use"}),
    "secret source": frozenset({"use", "name"}),
    "service": frozenset({"use", "encrypted", "name"}),
}
"""Keys of a component's table that are Herald's own, by kind; a component's settings may not use them."""

_HOOKS = {
    name: [parameter for parameter in inspect.signature(spec).parameters if parameter != "self"]
    for name, spec in vars(HeraldHooks).items()
    if name.startswith("herald_")
}
"""Every hook and the parameters it gives."""

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


def check_module(who: str, module: ModuleType) -> None:
    """Refuse hooks that pluggy would accept, or not see, and Herald cannot keep its promises with.

    Raises:
        PluginError: A hook is unknown, unmarked, wrapped, async, or asks for what it is not given.
    """
    for attribute, function in list(vars(module).items()):
        if not inspect.isroutine(function):
            continue
        options = getattr(function, "herald_impl", None)
        if options is not None:
            _check_hook(who, options.get("specname") or attribute, function, options)
        elif attribute in _HOOKS and function.__module__ == module.__name__:
            raise PluginError(f"{who}: {attribute} is not marked; write @hookimpl above it")


def check_component(kind: str, component: Any, who: str) -> None:
    """Refuse what a plugin yields if it is no component that a config could choose and set.

    Raises:
        PluginError: It is no `Component`, or its name, settings or build function cannot be used.
    """
    if not isinstance(component, Component):
        raise PluginError(f"{who} yields a {type(component).__name__} as a {kind}; make it with herald.component(...)")
    name, settings = component.name, component.settings
    if not (isinstance(name, str) and _NAME.match(name)):
        raise PluginError(f"{who}: {name!r} is no component name; use small letters, digits and _")
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise PluginError(f"{who}: the settings of {name!r} are no class derived from herald.Settings; derive one")
    if not callable(component.build):
        raise PluginError(f"{who}: {name!r} cannot be built by a {type(component.build).__name__}; give a class or a function")
    taken = sorted(HOST_WORDS[kind] & set(settings.model_fields))
    if taken:
        raise PluginError(f"{who}: the settings of {name!r} use {', '.join(taken)}, Herald's own key of a {kind}; rename it")


def _check_hook(who: str, name: str, function: Any, options: dict[str, Any]) -> None:
    """Refuse what pluggy would accept and Herald cannot keep its promises with."""
    if name not in _HOOKS:
        near = difflib.get_close_matches(name, _HOOKS, 1)
        hint = f"did you mean {near[0]}?" if near else f"hooks are: {', '.join(_HOOKS)}"
        raise PluginError(f"{who} implements the unknown hook {name}; {hint}")
    if options.get("wrapper") or options.get("hookwrapper"):
        raise PluginError(
            f"{who}: {name} is a wrapper; Herald's hooks cannot be wrapped, they only collect; wrap calls with herald_middleware"
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PluginError(f"{who}: {name} is async; hooks are plain functions")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty:
            raise PluginError(f"{who}: {name} gives parameter {parameter.name!r} a default; hooks have none, remove it")
        if parameter.name not in _HOOKS[name] or parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            given = ", ".join(_HOOKS[name]) or "nothing"
            raise PluginError(f"{who}: {name} asks for {str(parameter)!r}; the hook gives {given}, remove it")
