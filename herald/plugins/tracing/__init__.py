"""Send what becomes of every order to an OpenTelemetry collector, as one trace, from a process of its own.

See docs/tracing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

from herald.components import Component, Services, component, hookimpl
from herald.contracts import Observer, PlanView, Problem
from herald.plugins.tracing.observer import Tracing
from herald.plugins.tracing.settings import TracingSettings

__all__ = ["Tracing", "TracingSettings", "herald_observers", "herald_validate"]


@hookimpl
def herald_observers() -> Iterable[Component[Observer]]:
    """Offer the traces."""
    build: Callable[[TracingSettings, Services], Observer] = Tracing
    yield component("tracing", TracingSettings, build, "What becomes of every order, as traces for an OpenTelemetry collector.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Report traces that nobody could send, and two that would send the same."""
    mine = [part for part in plan.chosen("observer") if isinstance(part.settings, TracingSettings)]
    if mine and not _is_installed():
        what = "needs opentelemetry-sdk and its exporter, which are not installed"
        yield Problem(mine[0].name, what, "pip install 'herald-trading[otel]'")
    for part in mine[1:]:
        yield Problem(part.name, "would send the same traces again", "keep one; a collector can pass on to several places")


def _is_installed() -> bool:
    """Return whether the exporter is there, without importing any of it."""
    try:
        return all(version(name) for name in ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"))
    except PackageNotFoundError:
        return False
