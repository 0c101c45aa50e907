"""A halt with everything closed: by the run that is under way, or by the next one when that was killed before it could."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from herald.clock import WallClock
from herald.live.state import ACCOUNT, StateFile, TradingState
from herald.testing.simbroker import SimBroker

PATIENCE = 60.0
CONFIG = """
[herald]
mode    = "live"
on_stop = "leave"
[plugins]
paths = [{strategies!r}]
require_lock = false
[connectors.main]
use          = "simbroker"
address      = "{address}"
poll_seconds = 0.01
[strategies.churn]
use       = "churn"
symbols   = ["EURUSD", "GBPUSD"]
timeframe = "1m"
hold      = 1000000
[[risk]]
use  = "risk.max_order_size"
lots = 1000
[[risk]]
use      = "risk.max_daily_loss"
fraction = 0.99
[[risk]]
use      = "risk.max_drawdown"
fraction = 0.99
[live]
account     = "1001"
server      = "Sim-Demo"
real        = false
warmup_bars = 0
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SimBroker]:
    with SimBroker.start(
        tmp_path / "book.sqlite", mode="netting", tick_seconds=0.05, history_days=0.001, settle_seconds=0.2
    ) as one:
        yield one


@pytest.fixture
def run(broker: SimBroker, tmp_path: Path, clean_env: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    strategies = Path(__file__).with_name("strategies").as_posix()
    file = tmp_path / "live.toml"
    file.write_text(CONFIG.format(address=broker.address, strategies=strategies), encoding="utf-8")
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "herald", "live", str(file), "--demo-only", "--quiet", "--no-report", *options]
        env = clean_env | {"HERALD_CONNECTORS__MAIN__TOKEN": broker.terms.token}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=env))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(what: Callable[[], bool]) -> bool:
    clock = WallClock()
    end = clock.monotonic() + PATIENCE
    while clock.monotonic() < end:
        if what():
            return True
        clock.sleep(0.05)
    return False


def pending(folder: Path) -> bool:
    return bool(StateFile(folder / "state", WallClock()).read().pending())


@pytest.mark.slow
def test_a_run_under_way_closes_everything_and_says_so_only_then(
    broker: SimBroker, run: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    run()
    assert wait_for(lambda: len(broker.book().held()) == 2)

    StateFile(tmp_path / "state", WallClock()).set(ACCOUNT, TradingState.HALTED, "test", "enough", flatten=True)

    assert wait_for(lambda: not pending(tmp_path))
    book = broker.book()
    assert ({}, []) == (book.held(), [order.number for order in book.orders if order.is_working])


@pytest.mark.slow
def test_the_next_run_closes_what_a_killed_one_could_not(
    broker: SimBroker, run: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    first = run()
    assert wait_for(lambda: len(broker.book().held()) == 2)
    first.kill()
    first.wait()
    StateFile(tmp_path / "state", WallClock()).set(ACCOUNT, TradingState.HALTED, "test", "enough", flatten=True)

    run()

    assert wait_for(lambda: not pending(tmp_path))
    assert {} == broker.book().held()
    trading = StateFile(tmp_path / "state", WallClock()).read()
    assert TradingState.HALTED is trading.effective("churn", "EURUSD"), "it stays halted"
