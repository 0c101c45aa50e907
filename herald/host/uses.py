"""Which plugins a config names, told from its own words alone; nothing is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from herald.host.discovery import Catalog, Found
from herald.host.tables import HeraldConfig
from herald.host.trust import OWN

__all__ = ["named_plugins", "needs_lock", "uses"]


def uses(config: HeraldConfig) -> Iterator[str]:
    """Yield what every ``use`` and ``format`` in the file says, in file order."""

    def walk(value: object) -> Iterator[str]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key in ("use", "format") and isinstance(inner, str):
                    yield inner
                elif key in ("sizing", "exits", "risk", "middleware"):
                    yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    named = (*config.connectors.values(), *config.caches.values(), *config.strategies.values())
    single = (config.journal, config.metrics, config.audit, config.risk_profile)
    for table in (*named, *single, config.risk, config.exits, config.observers, config.services, config.secrets):
        yield from walk(table)


def needs_lock(config: HeraldConfig, mode: str) -> bool:
    """Return whether a run of *config* in *mode* imports nothing but what is in the plugin lock."""
    stated = config.plugins.require_lock
    is_real = mode == "live" and any(config.live.pin(name)[2] for name in config.connectors)
    return is_real or (mode == "live" if stated is None else stated)


def named_plugins(config: HeraldConfig, catalog: Catalog) -> list[Found]:
    """Return every plugin that a run of *config* may import: those it names, and Herald's own.

    Raises:
        PluginError: A name is claimed by several, or speaks another version of the API.
    """
    names = [*config.plugins.load, *(use.partition(".")[0] for use in uses(config))]
    own = [found.name for found in catalog if found.distribution == OWN]
    return [catalog.find(name) for name in dict.fromkeys([*own, *names]) if name in catalog]
