"""The kit for authors of plugins: makers of data, a way to run one component, fakes, and suites of rules.

Nothing in `herald` imports it. The names load when they are first used, because pytest imports this package at
every start of every project in whose environment Herald is installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from herald.testing.clock import FakeClock
    from herald.testing.contracts.cache import CacheContract
    from herald.testing.contracts.connector import ConnectorContract
    from herald.testing.contracts.exits import ExitRuleContract
    from herald.testing.contracts.formats import DataFormatContract
    from herald.testing.contracts.journal import JournalContract, sample_records
    from herald.testing.contracts.metrics import MetricsStoreContract
    from herald.testing.contracts.middleware import MiddlewareContract
    from herald.testing.contracts.observer import ObserverContract
    from herald.testing.contracts.risk import RiskCheckContract
    from herald.testing.contracts.secret_source import SecretSourceContract
    from herald.testing.contracts.strategy import StrategyContract
    from herald.testing.events import sample_events
    from herald.testing.exits import ExitStand
    from herald.testing.market import make_bars, make_instrument, make_services, make_walk
    from herald.testing.metrics import FakeMetrics
    from herald.testing.run import Asked, StrategyRun, Target, run_strategy
    from herald.testing.views import FakeRiskView

__all__ = [
    "Asked",
    "CacheContract",
    "ConnectorContract",
    "DataFormatContract",
    "ExitRuleContract",
    "ExitStand",
    "FakeClock",
    "FakeMetrics",
    "FakeRiskView",
    "JournalContract",
    "MetricsStoreContract",
    "MiddlewareContract",
    "ObserverContract",
    "RiskCheckContract",
    "SecretSourceContract",
    "StrategyContract",
    "StrategyRun",
    "Target",
    "make_bars",
    "make_instrument",
    "make_services",
    "make_walk",
    "run_strategy",
    "sample_events",
    "sample_records",
]

_MODULES = {
    "Asked": "run",
    "CacheContract": "contracts.cache",
    "ConnectorContract": "contracts.connector",
    "DataFormatContract": "contracts.formats",
    "ExitRuleContract": "contracts.exits",
    "ExitStand": "exits",
    "FakeClock": "clock",
    "FakeMetrics": "metrics",
    "FakeRiskView": "views",
    "JournalContract": "contracts.journal",
    "MetricsStoreContract": "contracts.metrics",
    "MiddlewareContract": "contracts.middleware",
    "ObserverContract": "contracts.observer",
    "RiskCheckContract": "contracts.risk",
    "SecretSourceContract": "contracts.secret_source",
    "StrategyContract": "contracts.strategy",
    "StrategyRun": "run",
    "Target": "run",
    "make_bars": "market",
    "make_instrument": "market",
    "make_services": "market",
    "make_walk": "market",
    "run_strategy": "run",
    "sample_events": "events",
    "sample_records": "contracts.journal",
}


def __getattr__(name: str) -> object:
    """Import the module of *name* when it is first asked for."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)
