"""Every built-in data format keeps the rules of `DataFormatContract`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import duckdb
import pytest

from herald.components import Component
from herald.contracts import DataFormat
from herald.plugins.files import herald_formats
from herald.testing import DataFormatContract

COMPONENTS = {component.name: component for component in herald_formats()}


class TestCsv(DataFormatContract):
    component: ClassVar[Component[DataFormat]] = COMPONENTS["csv"]
    settings = component.settings()
    name = "EURUSD.csv"
    count = 2

    def data(self) -> bytes:
        return b"time,open,high,low,close\n2024-01-02T00:00Z,1.1,1.2,1.0,1.15\n2024-01-02T01:00Z,1.15,1.2,1.1,1.12\n"


class TestMt5(DataFormatContract):
    component: ClassVar[Component[DataFormat]] = COMPONENTS["mt5"]
    settings = component.settings()
    name = "EURUSD_H1.csv"
    count = 2

    def data(self) -> bytes:
        header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
        rows = ["2024.01.02\t00:00:00\t1.1\t1.2\t1.0\t1.15\t10\t0\t5", "2024.01.02\t01:00:00\t1.15\t1.2\t1.1\t1.12\t12\t0\t6"]
        return "\r\n".join([header, *rows, ""]).encode()


class TestParquet(DataFormatContract):
    component: ClassVar[Component[DataFormat]] = COMPONENTS["parquet"]
    settings = component.settings()
    name = "EURUSD.parquet"
    count = 3

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def data(self) -> bytes:
        path = self.folder / "bars.parquet"
        query = (
            "select timestamp '2024-01-02' + i * interval 1 hour as time, 1.1::double as open, 1.2::double as high,"
            " 1.0::double as low, 1.15::double as close from range(3) t(i)"
        )
        with duckdb.connect() as connection:
            connection.execute(f"copy ({query}) to '{path.as_posix()}' (format parquet)")
        return path.read_bytes()


def test_every_built_in_format_has_a_suite() -> None:
    suites = {value.component.name for name, value in globals().items() if name.startswith("Test")}

    assert set(COMPONENTS) == suites
