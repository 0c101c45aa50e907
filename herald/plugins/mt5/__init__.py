"""MetaTrader 5: the connector, the process beside the terminal, and what both speak."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from herald.components import Component, Services, component, hookimpl
from herald.contracts import Connector, PlanView, Problem
from herald.plugins.mt5.settings import MT5Settings

__all__ = ["MT5Settings", "herald_connectors", "herald_validate"]


def _build(settings: MT5Settings, services: Services) -> Connector:
    from herald.plugins.mt5.connector import MT5Connector

    return MT5Connector(settings, services)


@hookimpl
def herald_connectors() -> Iterable[Component[Connector]]:
    """Offer the connector."""
    build: Callable[[MT5Settings, Services], Connector] = _build
    yield component("mt5", MT5Settings, build, "MetaTrader 5: on Windows, under Wine, or on another machine.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Refuse two accounts on one terminal: a terminal is logged in to one of them at a time."""
    seen: dict[tuple[str, str], tuple[str, int | None]] = {}
    for one in plan.chosen("connector"):
        if one.use != "mt5":
            continue
        settings = one.settings
        if settings.module != "MetaTrader5" and settings.address is None:
            continue  # each process has a simulated terminal of its own
        place = ("address", settings.address) if settings.address is not None else ("path", settings.path or "the installed one")
        before = seen.setdefault(place, (one.name, settings.login))
        if before[0] != one.name:
            what = f"uses the terminal of {before[0]} ({place[0]} {place[1]}); a terminal has one account at a time"
            yield Problem(f"{one.name}.{place[0]}", what, "give each account a terminal of its own")
