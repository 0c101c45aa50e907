"""Every built-in connector keeps the rules of `ConnectorContract`."""

from __future__ import annotations

from pathlib import Path

import pytest

from herald.contracts import Connector
from herald.plugins import files, synthetic
from herald.testing import ConnectorContract, make_services, make_walk


class TestSynthetic(ConnectorContract):
    symbol = "EURUSD"

    @pytest.fixture
    def connector(self) -> Connector:
        (component,) = synthetic.herald_connectors()
        settings = component.settings(start="2024-01-01", end="2024-02-01", timeframe="15m", seed=3)
        return component.build(settings, make_services("connectors.main"))


class TestFiles(ConnectorContract):
    symbol = "EURUSD"

    @pytest.fixture
    def connector(self, tmp_path: Path) -> Connector:
        walk = make_walk(48, price=1.1, volatility=0.001)
        rows = []
        for index, bar in enumerate(walk.bar(index) for index in range(48)):
            prices = ",".join(f"{price:.5f}" for price in (bar.open, bar.high, bar.low, bar.close))
            rows.append(f"2024-01-0{1 + index // 24}T{index % 24:02d}:00:00Z,{prices},{bar.volume:g}")
        text = "\n".join(["time,open,high,low,close,volume", *rows, ""])
        (tmp_path / "EURUSD.csv").write_text(text, encoding="utf-8")
        formats = {f"files.{one.name}": one.build(one.settings(), make_services("formats")) for one in files.herald_formats()}
        (component,) = files.herald_connectors()
        services = make_services("connectors.main", base=str(tmp_path), cache_folder=str(tmp_path / "cache"), formats=formats)
        return component.build(component.settings(path="{symbol}.csv", timeframe="1h"), services)
