"""What a strategy is given leads to no secret of another component; what code in the same process could still do, the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herald.errors import NotSupported
from herald.host.plan import load_plan
from herald.runtime.backtest import run_backtest

SECRET = "correct-horse-battery"
PLUGIN = """
from herald import HistoryConnector, Instrument, Settings, Strategy, component, hookimpl
from herald.model import BarSeries
from pydantic import SecretStr
import numpy as np

BUILT = []


class Broker(Settings):
    password: SecretStr


class Prices(HistoryConnector):
    def __init__(self, settings, services):
        self.settings = settings

    def instruments(self):
        return [Instrument(symbol="X", quote="USD", price_step=0.01, size_step=0.01, min_size=0.01)]

    def bars(self, symbol, timeframe, start, end):
        n = 50
        time = (np.arange(n) + 1) * timeframe.span
        column = np.full(n, 10.0)
        return BarSeries("X", timeframe.span, time.astype(np.int64), column, column, column, column, column)


class Mine(Settings):
    token: SecretStr


class Spy(Strategy):
    def on_start(self, ctx):
        BUILT.append((self, ctx))


@hookimpl
def herald_connectors():
    yield component("prices", Broker, Prices)


@hookimpl
def herald_strategies():
    yield component("spy", Mine, Spy)
"""
FILE = """
[plugins]
paths = ["."]
[connectors.main]
use      = "scope_plugin.prices"
password = "secret:broker"
[strategies.spy]
use       = "scope_plugin.spy"
symbols   = ["X"]
timeframe = "1h"
token     = "secret:mine"
[[secrets]]
use = "environment"
"""


def reachable(start: Any, depth: int = 4) -> list[object]:
    """Return what public attributes of *start* lead to, without calling anything."""
    found: list[object] = []
    seen: set[int] = set()
    layer = [start]
    for _ in range(depth):
        following: list[object] = []
        for one in layer:
            for name in dir(one):
                if name.startswith("_"):
                    continue
                try:
                    value = getattr(one, name)
                except Exception:
                    continue
                if id(value) not in seen:
                    seen.add(id(value))
                    following.append(value)
        found += following
        layer = following
    return found


def test_a_strategy_has_its_own_secret_and_no_way_to_the_connectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scope_plugin.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "h.toml").write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("HERALD_SECRET_BROKER", SECRET)
    monkeypatch.setenv("HERALD_SECRET_MINE", "own-secret-of-mine")
    plan = load_plan(tmp_path / "h.toml")

    run_backtest(plan)

    import sys

    module = next(one for name, one in sys.modules.items() if name.endswith("scope_plugin"))
    strategy, ctx = module.BUILT[-1]
    assert strategy.settings.token.get_secret_value() == "own-secret-of-mine"
    with pytest.raises(NotSupported, match="only connectors|for connectors that build on it"):
        strategy.services.connector("main")
    secrets = {one.get_secret_value() for one in reachable(strategy) + reachable(ctx) if hasattr(one, "get_secret_value")}
    assert secrets <= {"own-secret-of-mine"}
