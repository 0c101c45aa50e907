"""The built-in store of metrics keeps the rules of `MetricsStoreContract`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from herald.components import Component
from herald.contracts import MetricsStore
from herald.plugins.metrics import MetricsSettings, herald_metrics
from herald.testing import MetricsStoreContract, make_services

(STORE,) = herald_metrics()


class TestMetrics(MetricsStoreContract):
    store: ClassVar[Component[MetricsStore]] = STORE
    settings = MetricsSettings()


class TestMetricsInAFile(MetricsStoreContract):
    store: ClassVar[Component[MetricsStore]] = STORE
    settings = MetricsSettings(file="metrics.prom", file_seconds=1.0)

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def fresh(self) -> MetricsStore:
        return self.store.build(self.settings, make_services("metrics", base=str(self.folder)))
