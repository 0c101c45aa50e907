"""Show what a run measures in Prometheus' format, to whoever asks or in a file; see docs/metrics.md.

The store keeps what components count through ``services.metrics`` and counts by itself what happens in the run. The layer of
the same name measures the calls of a connector.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from pydantic import Field

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import MetricsStore, Middleware, PlanView, Problem
from herald.errors import NotSupported
from herald.plugins.metrics.layer import MetricsLayer, MetricsLayerSettings

__all__ = [
    "MetricsLayer",
    "MetricsLayerSettings",
    "MetricsSettings",
    "herald_metrics",
    "herald_middleware",
    "herald_validate",
    "make_store",
]

_INSTALL = "pip install 'herald-trading[metrics]'"


class MetricsSettings(Settings):
    """Settings of the store."""

    file: str | None = Field(default=None, min_length=1)
    """Where the metrics are written as well, for a textfile collector; relative to the config file."""
    file_seconds: float = Field(default=5.0, ge=1.0)
    """How often it is written while a paper or live run goes on; a backtest writes it once, at its end."""
    max_series: int = Field(default=1_000, ge=1)
    """Most combinations of label values of one metric; what comes beyond is counted together, as ``other``."""


def make_store(settings: MetricsSettings, services: Services) -> MetricsStore:
    """Return the store of a run.

    Raises:
        NotSupported: prometheus-client is not installed.
    """
    try:
        from herald.plugins.metrics.store import PrometheusStore  # prometheus_client is an extra
    except ImportError as error:
        raise NotSupported(f"[metrics] needs prometheus-client; install it with: {_INSTALL}") from error
    return PrometheusStore(settings.file, settings.file_seconds, settings.max_series, services)


@hookimpl
def herald_metrics() -> Iterable[Component[MetricsStore]]:
    """Offer the store."""
    yield component("metrics", MetricsSettings, make_store, "Everything a run measures, in Prometheus' format.")


@hookimpl
def herald_middleware() -> Iterable[Component[Middleware]]:
    """Offer the layer."""
    yield component("metrics", MetricsLayerSettings, MetricsLayer, "Count and time the calls of a connector.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Report a store that cannot work, a layer without a store, and a connector whose calls nobody would count."""
    stores = plan.chosen("metrics")
    if stores and find_spec("prometheus_client") is None:
        yield Problem(stores[0].name, "needs prometheus-client, which is not installed", _INSTALL)
    for connector in plan.chosen("connector"):
        table = connector.name.partition(".")[2]
        layers = plan.layers(table)
        mine = [layer for layer in layers if layer.use == "metrics"]
        if mine and not stores:
            yield Problem(mine[0].name, "counts for nobody: the file has no [metrics]", "add [metrics], or remove the layer")
        if len(mine) > 1:
            yield Problem(mine[1].name, "is listed twice: every call would count twice", "keep one")
        if stores and layers and not mine:
            what = "lacks the metrics layer, so nobody counts the calls of this connector (metrics-no-layer)"
            hint = 'list { use = "metrics" } first, or write accept = ["metrics-no-layer"] in [plugins]'
            yield Problem(f"{connector.name}.middleware", what, hint)
