"""Every built-in observer keeps the rules of `ObserverContract`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from herald.components import Component
from herald.contracts import Observer
from herald.plugins.log import herald_observers
from herald.testing import ObserverContract, make_services

COMPONENTS = {component.name: component for component in herald_observers()}


class TestLog(ObserverContract):
    component: ClassVar[Component[Observer]] = COMPONENTS["log"]
    settings = component.settings(events=["Bar", "Quote", "Order", "Fill", "Account", "SystemEvent"], level="TRACE")


class TestLogToAFile(ObserverContract):
    component: ClassVar[Component[Observer]] = COMPONENTS["log"]
    settings = component.settings(file="run.log", rotation="1 MB")

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def observer(self) -> Observer:
        return self.component.build(self.settings, make_services("observers[0]", base=str(self.folder)))
