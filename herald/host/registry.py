"""Imports the plugins that a config names, checks their hooks, and collects their components with their origin."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import pluggy

from herald.components import Component
from herald.contracts import PlanView, Problem, RiskProfile
from herald.errors import PluginError
from herald.host.discovery import Catalog
from herald.host.hookspecs import COLLECTED, HeraldHooks
from herald.host.imports import import_plugin, one_line
from herald.host.rules import HOST_WORDS, check_component, check_module
from herald.host.trust import OWN, Trust

__all__ = ["HOST_WORDS", "Origin", "Registered", "Registry"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a component comes from.

    Attributes:
        plugin: Its plugin's name.
        distribution: Who ships it.
        version: Of the distribution; empty for a local plugin.
    """

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        """Return ``distribution version``."""
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class Registered:
    """A component under its full name: ``plugin.component``, or just the name where both are the same."""

    full_name: str
    kind: str
    component: Component[Any]
    origin: Origin


class Registry:
    """The loaded plugins of one configuration.

    Attributes:
        trust: Says before every import whether it may be; None where nothing is locked.
    """

    def __init__(self, catalog: Catalog, trust: Trust | None = None) -> None:
        """Load nothing yet."""
        self.trust = trust
        self._catalog = catalog
        self._manager = pluggy.PluginManager("herald")
        self._manager.add_hookspecs(HeraldHooks)
        self._loaded: dict[str, Origin] = {}
        self._failed: dict[str, PluginError] = {}
        self._components: dict[tuple[str, str], Registered] = {}
        self._profiles: dict[str, RiskProfile] = {}

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The loaded plugins, in the order in which they were loaded."""
        return tuple(self._loaded.values())

    @property
    def profiles(self) -> Mapping[str, RiskProfile]:
        """The risk profiles of the loaded plugins, by full name."""
        return dict(self._profiles)

    def load(self, name: str) -> None:
        """Import the plugin called *name*, unless it is loaded already; a failure is remembered, not tried again.

        Raises:
            PluginError: It cannot be found or imported, or breaks a rule; the text names plugin and distribution.
        """
        if name in self._failed:
            raise self._failed[name]
        if name in self._loaded:
            return
        try:
            found = self._catalog.find(name)
            finder = None if self.trust is None else self.trust.check(found)
            self.add(name, import_plugin(found, finder), Origin(name, found.distribution, found.version))
        except PluginError as error:
            self._failed[name] = error
            raise

    def add(self, name: str, module: ModuleType, origin: Origin) -> None:
        """Register an imported plugin and collect what it offers: everything, or after a broken rule nothing.

        Raises:
            PluginError: A hook is unknown, wrapped, async or has defaults, or a component breaks a rule.
        """
        who = f"plugin {name!r} ({origin})"
        check_module(who, module)
        try:
            self._manager.register(module, name)
        except (ValueError, pluggy.PluginValidationError) as error:
            self._manager.unregister(name=name) if self._manager.has_plugin(name) else None
            raise PluginError(f"{who} cannot be registered: {' '.join(str(error).split())}") from error
        try:
            self._manager.check_pending()
            components = self._offered(name, origin, who)
            profiles = self._offered_profiles(name, who)
        except Exception:
            self._manager.unregister(module)
            raise
        self._loaded[name] = origin
        self._components |= components
        self._profiles |= profiles

    def _offered(self, plugin: str, origin: Origin, who: str) -> dict[tuple[str, str], Registered]:
        offered: dict[tuple[str, str], Registered] = {}
        for hook, kind in COLLECTED.items():
            for component in self._answers(hook, plugin, who):
                check_component(kind, component, who)
                full = component.name if component.name == plugin else f"{plugin}.{component.name}"
                if (kind, full) in offered:
                    raise PluginError(f"{kind} {full!r} is offered by {origin} and again by {origin}; rename one of them")
                offered[kind, full] = Registered(full, kind, component, origin)
        return offered

    def _offered_profiles(self, plugin: str, who: str) -> dict[str, RiskProfile]:
        offered: dict[str, RiskProfile] = {}
        for profile in self._answers("herald_risk_profiles", plugin, who):
            if not isinstance(profile, RiskProfile):
                raise PluginError(f"{who} yields a {type(profile).__name__} as a risk profile; make it with RiskProfile(...)")
            if f"{plugin}.{profile.name}" in offered:
                raise PluginError(f"{who} offers the risk profile {profile.name!r} twice; rename one of them")
            offered[f"{plugin}.{profile.name}"] = profile
        return offered

    def _answers(self, hook: str, name: str, who: str) -> Iterable[Any]:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin_name == name:
                try:
                    yield from implementation.function()
                except Exception as error:
                    raise PluginError(f"{who}: {hook} raised {one_line(error)}; yield what it offers") from error

    # --- looking up -------------------------------------------------------------------------------

    def of_kind(self, kind: str) -> Sequence[Registered]:
        """Return the components of one kind that the loaded plugins offer."""
        return [one for (its_kind, _), one in self._components.items() if its_kind == kind]

    def find(self, kind: str, use: str) -> Registered:
        """Return the component that ``use = "..."`` means, loading its plugin.

        ``plugin.component`` is the full name; ``name`` means the component of that name in the plugin of that
        name, or else the only component of that kind and name among the loaded plugins and Herald's own.

        Raises:
            PluginError: Nothing or more than one thing fits.
        """
        plugin, _, part = use.partition(".")
        if part or plugin in self._catalog:
            self.load(plugin)
            full = plugin if part in ("", plugin) else use
            if (kind, full) in self._components:
                return self._components[kind, full]
            offers = [one.full_name for one in self.of_kind(kind) if one.origin.plugin == plugin]
            raise PluginError(_no_such(kind, use, plugin, offers))
        known = {one.full_name: one for one in (*self._built_in().of_kind(kind), *self.of_kind(kind))}
        fitting = [one for one in known.values() if one.component.name == use]
        if len(fitting) == 1:
            self.load(fitting[0].origin.plugin)
            return self._components[kind, fitting[0].full_name]
        if fitting:
            raise PluginError(
                f"{kind} {use!r} could be {' or '.join(sorted(one.full_name for one in fitting))}; write the full name"
            )
        names = [*known, *self._catalog.names()]
        bare = {name.rpartition(".")[2]: name for name in names}
        near = difflib.get_close_matches(use, [*names, *bare], 1)
        hint = f"did you mean {bare.get(near[0], near[0])}?" if near else f"there are: {', '.join(sorted(known)) or 'none'}"
        raise PluginError(f"no {kind} is called {use!r} and no plugin of that name is installed; {hint}")

    def profile(self, use: str) -> RiskProfile:
        """Return the risk profile that ``[risk_profile] use`` means.

        Raises:
            PluginError: There is none.
        """
        plugin, _, name = use.partition(".")
        known: dict[str, RiskProfile]
        if name:
            self.load(plugin)
            known = self._profiles
        else:
            known = self._built_in()._profiles | self._profiles
        fitting = [full for full in known if use in (full, full.partition(".")[2])]
        if len(fitting) == 1:
            self.load(fitting[0].partition(".")[0])
            return known[fitting[0]]
        if fitting:
            raise PluginError(f"risk profile {use!r} could be {' or '.join(sorted(fitting))}; write the full name")
        near = difflib.get_close_matches(name or use, [full.partition(".")[2] for full in known], 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(known)) or 'none'}"
        raise PluginError(f"no risk profile is called {use!r}; {hint}")

    def _built_in(self) -> Registry:
        """Return a registry of its own with every plugin that Herald ships, to look a bare name up in.

        What is only looked at there is not loaded here: it does not take part in the run.
        """
        registry = Registry(self._catalog, self.trust)
        for found in self._catalog:
            if found.distribution == OWN:
                try:
                    registry.load(found.name)
                except PluginError:
                    continue  # said when somebody names it
        return registry

    def validate(self, plan: PlanView) -> Sequence[Problem]:
        """Return what the plugins find wrong with the whole plan; a hook that fails is a problem of its own."""
        problems: list[Problem] = []
        for implementation in self._manager.hook.herald_validate.get_hookimpls():
            arguments = {"plan": plan} if "plan" in implementation.argnames else {}
            where = f"plugins.{implementation.plugin_name}"
            try:
                found = list(cast("Iterable[object]", implementation.function(**arguments) or ()))
            except Exception as error:
                problems.append(Problem(where, f"herald_validate raised {one_line(error)}", "report it to the plugin's author"))
                continue
            for one in found:
                what = f"herald_validate answered with a {type(one).__name__}, not a Problem"
                problems.append(one if isinstance(one, Problem) else Problem(where, what, "report it to the plugin's author"))
        return problems


def _no_such(kind: str, use: str, plugin: str, offers: Sequence[str]) -> str:
    near = difflib.get_close_matches(use, offers, 1)
    if near:
        return f"plugin {plugin!r} has no {kind} {use!r}; did you mean {near[0]}?"
    return f"plugin {plugin!r} has no {kind} {use!r}; it offers: {', '.join(offers) or f'no {kind} at all'}"
