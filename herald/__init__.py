"""Herald: a plugin-based trading framework; one strategy, one config file, backtest, paper and live.

The names here are the everyday ones; each is imported from its module when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from herald.components import Component, Services, Settings, component, hookimpl
    from herald.contracts import (
        AsyncConnector,
        Close,
        Connector,
        Context,
        DataFormat,
        Denial,
        ExitRule,
        HistoryConnector,
        Intent,
        Observer,
        Protect,
        RiskCheck,
        RiskProfile,
        RiskView,
        Sizer,
        Strategy,
    )
    from herald.errors import DataError, HeraldError, Problem
    from herald.host.hookspecs import API_VERSION
    from herald.host.plan import load_plan
    from herald.indicators import Indicator
    from herald.live.bridge import bridge
    from herald.model import (
        Account,
        Bar,
        BarSeries,
        Fill,
        Instrument,
        Order,
        OrderType,
        Position,
        Quote,
        Side,
        Timeframe,
        TimeInForce,
        Timer,
    )
    from herald.runtime import run_backtest

__all__ = [
    "API_VERSION",
    "Account",
    "AsyncConnector",
    "Bar",
    "BarSeries",
    "Close",
    "Component",
    "Connector",
    "Context",
    "DataError",
    "DataFormat",
    "Denial",
    "ExitRule",
    "Fill",
    "HeraldError",
    "HistoryConnector",
    "Indicator",
    "Instrument",
    "Intent",
    "Observer",
    "Order",
    "OrderType",
    "Position",
    "Problem",
    "Protect",
    "Quote",
    "RiskCheck",
    "RiskProfile",
    "RiskView",
    "Services",
    "Settings",
    "Side",
    "Sizer",
    "Strategy",
    "TimeInForce",
    "Timeframe",
    "Timer",
    "__version__",
    "bridge",
    "component",
    "hookimpl",
    "load_plan",
    "run_backtest",
]

_HOME = {
    "API_VERSION": "herald.host.hookspecs",
    "Account": "herald.model",
    "AsyncConnector": "herald.contracts",
    "Bar": "herald.model",
    "BarSeries": "herald.model",
    "Close": "herald.contracts",
    "Component": "herald.components",
    "Connector": "herald.contracts",
    "Context": "herald.contracts",
    "DataError": "herald.errors",
    "DataFormat": "herald.contracts",
    "Denial": "herald.contracts",
    "ExitRule": "herald.contracts",
    "Fill": "herald.model",
    "HeraldError": "herald.errors",
    "HistoryConnector": "herald.contracts",
    "Indicator": "herald.indicators",
    "Instrument": "herald.model",
    "Intent": "herald.contracts",
    "Observer": "herald.contracts",
    "Order": "herald.model",
    "OrderType": "herald.model",
    "Position": "herald.model",
    "Problem": "herald.errors",
    "Protect": "herald.contracts",
    "Quote": "herald.model",
    "RiskCheck": "herald.contracts",
    "RiskProfile": "herald.contracts",
    "RiskView": "herald.contracts",
    "Services": "herald.components",
    "Settings": "herald.components",
    "Side": "herald.model",
    "Sizer": "herald.contracts",
    "Strategy": "herald.contracts",
    "TimeInForce": "herald.model",
    "Timeframe": "herald.model",
    "Timer": "herald.model",
    "bridge": "herald.live.bridge",
    "component": "herald.components",
    "hookimpl": "herald.components",
    "load_plan": "herald.host.plan",
    "run_backtest": "herald.runtime",
}


def __getattr__(name: str) -> object:
    """Import an everyday name from its module (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("herald-trading")
    if name not in _HOME:
        raise AttributeError(f"module 'herald' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the everyday names."""
    return __all__
