"""One engine, third proof: the live driver fed by a replay leaves the log of a backtest to the byte.

The run goes through everything that a paper run has - worker, journal thread, gate tokens, desk, paper account,
reconciliation - and the strategies do whatever a strategy may do.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herald.host.plan import load_plan
from herald.model import AccountMode, BarSeries
from herald.runtime import simulate
from herald.runtime.building import seeded
from herald.runtime.live import LiveRun
from herald.simulator.broker import FillRules, Intrabar
from herald.simulator.costs import Costs
from tests.properties.test_one_engine import CASH, H4, Log, Quiet, Wild, instruments, setups, walk

PLUGIN = '''
"""The strategies, rules and prices of the test, as a plugin."""

import random

from herald import HistoryConnector, Settings, component, hookimpl
from tests.properties import test_live_engine as test
from tests.properties.test_one_engine import Log, Quiet, Sized, Trail, Wild


class Fields(Settings):
    warmup: int
    fails: bool = False

    def __getitem__(self, name):
        return getattr(self, name)

    def get(self, name):
        return getattr(self, name)


class Nothing(Settings):
    pass


class Prices(HistoryConnector):
    def __init__(self, settings, services):
        pass

    def instruments(self):
        return list(test.instruments().values())

    def bars(self, symbol, timeframe, start, end):
        return test.SERIES[symbol, timeframe.span].between(start if start is not None else 0, end if end is not None else 2**62)


class Records:
    id = "a journal in memory"

    def __init__(self, settings, services):
        self.rows = test.RECORDS

    def append(self, records, *, durable=True):
        self.rows += records
        return len(self.rows)

    def read(self, after=0):
        return iter(list(enumerate(self.rows, 1))[after:])

    def snapshot(self, state):
        pass

    def latest(self):
        return None

    def close(self):
        pass


def logged(settings, services):
    test.LOGS.append(Log())
    return test.LOGS[-1]


@hookimpl
def herald_connectors():
    yield component("prices", Nothing, Prices)


@hookimpl
def herald_strategies():
    yield component("wild", Fields, Wild)
    yield component("quiet", Fields, Quiet)


@hookimpl
def herald_exits():
    yield component("trail", Nothing, lambda settings, services: Trail())


@hookimpl
def herald_risk_checks():
    yield component("sized", Nothing, lambda settings, services: Sized())


@hookimpl
def herald_observers():
    yield component("log", Nothing, logged)


@hookimpl
def herald_journals():
    yield component("records", Nothing, Records)
'''

CONFIG = """
[herald]
mode    = "paper"
seed    = {seed}
on_stop = "leave"

[plugins]
paths = ["."]

[account]
mode = "{mode}"

[conversions]
max_age_seconds = 9e8

[connectors.history]
use        = "wildlife.prices"
middleware = []

[connectors.main]
use        = "replay"
source     = "history"
middleware = []

[strategies.one]
use       = "wildlife.{kind}"
connector = "main"
symbols   = ["AAA", "BBB"]
timeframe = ["1h", "4h"]
warmup    = 7
fails     = {fails}
exits     = [{{ use = "wildlife.trail" }}]
risk      = [{{ use = "wildlife.sized" }}]

[strategies.two]
use       = "wildlife.{kind}"
connector = "main"
symbols   = ["AAA"]
timeframe = "1h"
warmup    = 3
exits     = []
risk      = [{{ use = "wildlife.sized" }}]

[[observers]]
use = "wildlife.log"

[journal]
use = "wildlife.records"

[live]
warmup_bars = 0

[backtest]
cash     = {cash}
intrabar = "{way}"
costs    = {{ spread_points = {points}, commission_per_lot = 1.0, slippage_points = {slip} }}
{more}
"""

SERIES: dict[tuple[str, int], BarSeries] = {}
LOGS: list[Log] = []
RECORDS: list[Any] = []


def run_live(folder: Path, seed: int, way: Intrabar, kind: type[Wild], mode: AccountMode) -> tuple[list[bytes], Any]:
    (folder / "wildlife.py").write_text(PLUGIN, encoding="utf-8")
    file = folder / "herald.toml"
    text = CONFIG.format(
        mode=mode.value,
        seed=seed,
        kind=kind.__name__.lower(),
        fails=str(seed == 2).lower(),
        cash=CASH,
        way=way.value,
        points=seed * 4,
        slip=seed,
        more="participation = 0.9" if seed == 3 else "",
    )
    file.write_text(text, encoding="utf-8")
    RECORDS.clear()
    # A backtest has none of the checks that every run with orders has.
    result = LiveRun(replace(load_plan(file), risk=()), in_memory=True).run(lambda: False)
    return LOGS[-1].lines, result


CASES = [(seed, way, kind) for seed in range(4) for way in Intrabar for kind in (Wild, Quiet)]


@pytest.mark.parametrize(("seed", "way", "kind"), CASES)
def test_the_live_driver_leaves_the_log_of_a_backtest(tmp_path: Path, seed: int, way: Intrabar, kind: type[Wild]) -> None:
    holes = (0.0, 0.3)[seed % 2]
    a, b = walk(seed, "AAA", 400, holes=holes), walk(seed, "BBB", 400, holes=holes)
    series = [a, a.resample(H4), b, b.resample(H4), walk(seed, "EURUSD", 400, holes=0.0)]
    SERIES.clear()
    SERIES.update({(one.symbol, one.span): one for one in series})
    mode = AccountMode.NETTING if seed < 2 else AccountMode.HEDGING
    chunked = Log()

    result = simulate(
        [
            replace(setup, random=seeded(seed, f"strategies.{setup.name}.context"))
            for setup in setups(seed, kind, fails=seed == 2)
        ],
        series,
        instruments(),
        observers={"log": chunked},
        on_stop="leave",
        max_age=10**18,
        cash=CASH,
        mode=mode,
        costs=Costs(spread_points=seed * 4, commission_per_lot=1.0, slippage_points=seed),
        rules=FillRules(way, 0.9 if seed == 3 else None),
    )
    lines, live = run_live(tmp_path, seed, way, kind, mode)

    assert len(result.fills) > 150
    assert [plain(line) for line in chunked.lines] == [plain(line) for line in lines]
    assert [note.text for note in result.notes] == [note.text for note in live.notes]
    assert result.equity.equity.tolist() == live.equity.equity.tolist()  # what nights cost is in it, paid or not
    assert bool(result.failures) == bool(live.failures) == (seed == 2)


def plain(line: bytes) -> bytes:
    """Return a line of the log without the name that an order has at a broker; a backtest has no broker."""
    name, brace, rest = line.partition(b"{")
    value = msgspec.json.decode(brace + rest)
    for request in (value.get("request"), (value.get("order") or {}).get("request")):
        if request is not None:
            assert request.pop("client_tag") == "" or len(name) > 0
    return name + msgspec.json.encode(value)
