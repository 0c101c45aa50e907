"""The bundled prices are what the notice says, and the demo's clock is right."""

from __future__ import annotations

import random
import tomllib
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from herald.clock import DAY, HOUR, SimClock, format_time, parse_time
from herald.components import Services
from herald.model import BarSeries, Timeframe
from herald.plugins.files import FilesConnector, FilesSettings


def demo_bars(cache: Path, timeframe: str) -> BarSeries:
    with as_file(files("herald.demo")) as folder:
        config = tomllib.loads((folder / "demo.toml").read_text(encoding="utf-8"))
        table = {key: value for key, value in config["connectors"]["main"].items() if key != "use"}
        services = Services("connectors.main", SimClock(), random.Random(1), base=str(folder), cache_folder=str(cache))
        return FilesConnector(FilesSettings.model_validate(table), services).bars(
            "GBPUSD", Timeframe.parse(timeframe), None, None
        )


def test_demo_has_57600_hours_from_2012_to_2022(tmp_path: Path) -> None:
    bars = demo_bars(tmp_path, "1h")

    # First row 2012-11-16 05:00 in Berlin is 04:00 UTC, ending an hour later; last row 2022-03-04 23:00 in Athens.
    assert 57_600 == len(bars)
    assert ["2012-11-16T05:00:00Z", "2022-03-04T22:00:00Z"] == [format_time(int(bars.time[place])) for place in (0, -1)]
    assert (1.58611, 1.58618, 1.58572, 1.58599, 1032.0) == (
        bars.open[0],
        bars.high[0],
        bars.low[0],
        bars.close[0],
        bars.volume[0],
    )


def test_demo_week_ends_with_new_york_on_both_sides_of_the_move(tmp_path: Path) -> None:
    # The market closes Friday 17:00 in New York: 22:00 UTC in winter. Both clocks must say so after conversion.
    bars = demo_bars(tmp_path, "1h")

    for friday in ("2014-01-17", "2014-11-21", "2014-11-28", "2015-01-16"):
        day = parse_time(friday)
        last = bars.between(day, day + 2 * DAY).time[-1]
        assert 22 * HOUR == int(last) - day, friday


def test_notice_and_licence_are_in_the_package() -> None:
    folder = files("herald.demo")

    assert "ejtraderLabs/historical-data" in (folder / "NOTICE.md").read_text(encoding="utf-8")
    assert "Apache License" in (folder / "LICENSE-DATA").read_text(encoding="utf-8")


def test_demo_time_never_repeats_at_the_move(tmp_path: Path) -> None:
    bars = demo_bars(tmp_path, "1h")

    assert int(np.diff(bars.time).min()) == HOUR
