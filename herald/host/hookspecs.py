"""Every question that Herald asks its plugins; all are asked before a run starts, none during it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from herald.components import Component
from herald.contracts import (
    AuditTrail,
    Cache,
    Connector,
    DataFormat,
    ExitRule,
    Journal,
    MetricsStore,
    Middleware,
    Observer,
    PlanView,
    Problem,
    RiskCheck,
    RiskProfile,
    SecretSource,
    Service,
    Sizer,
    Strategy,
)

__all__ = ["API_VERSION", "COLLECTED", "HeraldHooks", "hookspec"]

API_VERSION = 1
"""Major version of everything a plugin may rely on; the entry-point group carries it: ``herald.v1``."""

hookspec = pluggy.HookspecMarker("herald")

COLLECTED = {
    "herald_connectors": "connector",
    "herald_middleware": "middleware",
    "herald_caches": "cache",
    "herald_journals": "journal",
    "herald_audit_trails": "audit",
    "herald_metrics": "metrics",
    "herald_strategies": "strategy",
    "herald_sizers": "sizer",
    "herald_risk_checks": "risk",
    "herald_exits": "exit",
    "herald_observers": "observer",
    "herald_formats": "format",
    "herald_secret_sources": "secret source",
    "herald_services": "service",
}
"""The hooks that yield components, and the kind of each."""


class HeraldHooks:
    """The hooks of API 1."""

    @hookspec
    def herald_connectors(self) -> Iterable[Component[Connector]]:
        """Offer brokers and sources of prices that a configuration may name.

        Called once, when the plugin is loaded. Connect to nothing here: the settings are not known yet.

            @hookimpl
            def herald_connectors():
                yield component("mine", MineSettings, MineConnector, "Bars from my own store.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_middleware(self) -> Iterable[Component[Middleware]]:
        """Offer layers around a connector, for ``[[connectors.NAME.middleware]]``.

        Called once, when the plugin is loaded; a layer is built once for each connector that lists it.

            @hookimpl
            def herald_middleware():
                yield component("stopwatch", StopwatchSettings, Stopwatch, "Measure every call.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_caches(self) -> Iterable[Component[Cache]]:
        """Offer caches for ``[caches.NAME]``, which layers may share.

        Called once, when the plugin is loaded.

            @hookimpl
            def herald_caches():
                yield component("memcached", MemcachedSettings, Memcached, "A cache that several machines share.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_journals(self) -> Iterable[Component[Journal]]:
        """Offer journals for ``[journal]``: where a paper or live run keeps what it is about to do.

        Called once, when the plugin is loaded.

            @hookimpl
            def herald_journals():
                yield component("postgres", PostgresSettings, PostgresJournal, "A journal in PostgreSQL.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_audit_trails(self) -> Iterable[Component[AuditTrail]]:
        """Offer records for ``[audit]`` of who did what, which show later changes.

        Called once, when the plugin is loaded.

            @hookimpl
            def herald_audit_trails():
                yield component("worm", WormSettings, Worm, "A bucket in which nothing can be overwritten.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_metrics(self) -> Iterable[Component[MetricsStore]]:
        """Offer stores for ``[metrics]``: what a run measures, and whoever wants to see it.

        Called once, when the plugin is loaded; the store is built before every other component.

            @hookimpl
            def herald_metrics():
                yield component("graphite", GraphiteSettings, Graphite, "Measures for a Graphite server.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_strategies(self) -> Iterable[Component[Strategy[Any]]]:
        """Offer strategies that a configuration may name.

        Called once, when the plugin is loaded. Do no work here: the settings are not known yet and the
        strategy may never be built.

            @hookimpl
            def herald_strategies():
                yield component("sma", SmaSettings, Sma, "Long above the mean, flat below.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_sizers(self) -> Iterable[Component[Sizer]]:
        """Offer rules that size a request which states no size.

        Called once, when the plugin is loaded.

            @hookimpl
            def herald_sizers():
                yield component("all_in", AllInSettings, AllIn, "The whole equity, every time.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_risk_checks(self) -> Iterable[Component[RiskCheck]]:
        """Offer checks that may refuse a request before it is sent.

        Called once, when the plugin is loaded. A check is pure: it looks at the request and the view only.

            @hookimpl
            def herald_risk_checks():
                yield component("no_friday", NoFridaySettings, NoFriday, "Refuse entries on Fridays.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_risk_profiles(self) -> Iterable[RiskProfile]:
        """Offer named lists of risk checks for ``[risk_profile]``.

        Called once, when the plugin is loaded.

            @hookimpl
            def herald_risk_profiles():
                yield RiskProfile("tiny", "One lot at most.", (("risk.max_position", {"limit": 1.0}),))

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_exits(self) -> Iterable[Component[ExitRule]]:
        """Offer rules that close or protect open positions.

        Called once, when the plugin is loaded; a rule is built once for each strategy that uses it.

            @hookimpl
            def herald_exits():
                yield component("at_noon", AtNoonSettings, AtNoon, "Close everything at noon.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_observers(self) -> Iterable[Component[Observer]]:
        """Offer listeners that hear what happens in a run and change nothing.

        Called once, when the plugin is loaded.

            @hookimpl
            def herald_observers():
                yield component("bell", BellSettings, Bell, "Ring on every fill.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_formats(self) -> Iterable[Component[DataFormat]]:
        """Offer readers of bar files for the ``files`` connector.

        Called once, when the plugin is loaded.

            @hookimpl
            def herald_formats():
                yield component("sierra", SierraSettings, SierraFormat, "Sierra Chart's text export.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_secret_sources(self) -> Iterable[Component[SecretSource]]:
        """Offer places that know secrets, for ``[[secrets]]``.

        Called once, when the plugin is loaded; a source is asked when a component is built whose settings say ``secret:NAME``.

            @hookimpl
            def herald_secret_sources():
                yield component("safe", SafeSettings, Safe, "Secrets from the safe of the company.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_services(self) -> Iterable[Component[Service]]:
        """Offer what looks at a paper or live run from outside, or steers it, for ``[[services]]``.

        Called once, when the plugin is loaded. Start nothing here: a service is started when its run is about to trade.

            @hookimpl
            def herald_services():
                yield component("pager", PagerSettings, Pager, "Ring the phone of whoever is on duty.")

        Added in API 1.
        """
        return ()

    @hookspec
    def herald_validate(self, plan: PlanView) -> Iterable[Problem]:
        """Report mistakes that only show when the whole configuration is seen together.

        Called once for each loaded plugin after every table was found valid by itself, before anything is
        built. No I/O.

            @hookimpl
            def herald_validate(plan):
                if len(plan.chosen("strategy")) > 1:
                    yield Problem("strategies", "mine trades alone", "remove the other strategies")

        Added in API 1.
        """
        return ()
