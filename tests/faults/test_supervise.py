"""The watchdog with real processes: it crashes, hangs, loops, ends, and is told to end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from herald.clock import WallClock
from herald.live.lease import AccountLease, holders_of
from herald.live.state import StateFile
from herald.live.supervise import HEARTBEAT, OnHang, ProcessChild, StopLevel, Supervisor, Watch

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these signals to one process")

# The script says what each start does; a file counts the starts.
BEATING = """
import os, signal, subprocess, sys, time
from pathlib import Path
from herald.clock import WallClock
from herald.live.lease import AccountLease
from herald.live.supervise import Heartbeat
folder = Path(sys.argv[1])
with open(folder / "starts", "a") as file:
    file.write(f"{os.getpid()}\\n")
start = len((folder / "starts").read_text().split())
if start > 1:
    sys.exit(0)
clock = WallClock()
heart = Heartbeat.from_environment(clock)
lease = AccountLease("Broker-Demo", "1", clock, folder / "leases")
lease.acquire("run", "a.toml")
heart.beat()
"""
STOPPED = BEATING + "os.kill(os.getpid(), signal.SIGSTOP)\n"
BUSY = BEATING + "since = clock.monotonic()\nwhile True:\n    heart.beat(since)\n    time.sleep(0.02)\n"
WITH_CHILD = BEATING + (
    "sleeper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "(folder / 'sleeper').write_text(str(sleeper.pid))\n"
    "while True:\n    pass\n"
)
ENDING = """
import signal, sys, time
from pathlib import Path
def end(number, frame):
    Path(sys.argv[1], "signal").write_text(str(number))
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""
COMMAND = "import sys; from herald.cli.control import supervise; supervise(sys.argv[1:])"


class NoDelay(random.Random):
    """Draws no delay."""

    def random(self) -> float:
        return 0.0


@pytest.fixture
def supervised(tmp_path: Path) -> Callable[..., tuple[int, StateFile, list[str]]]:
    """Run a script under a watchdog; return the exit code, the state and what was told."""

    def call(script: str, act: Callable[[StopLevel], str] | None = None, **watch: object) -> tuple[int, StateFile, list[str]]:
        file = tmp_path / "run.py"
        file.write_text(script, encoding="utf-8")
        clock, told = WallClock(), []
        state = StateFile(tmp_path / "state", clock)

        def start(heartbeat: Path) -> ProcessChild:
            return ProcessChild([sys.executable, str(file), str(tmp_path)], {**os.environ, HEARTBEAT: str(heartbeat)})

        limits = Watch(**{"hang_seconds": 1.0, "poll_seconds": 0.05, **watch})  # type: ignore[arg-type]
        watchdog = Supervisor(start, state, limits, clock, NoDelay(0), act=act, leases=tmp_path / "leases", tell=told.append)
        return watchdog.run(), state, told

    return call


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that ended and that nobody has waited for still has a number.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_run_that_ends_in_order_is_left_alone(supervised: Callable[..., tuple[int, StateFile, list[str]]]) -> None:
    code, state, told = supervised("")

    assert (0, 0, 1) == (code, state.check(), len(told))


def test_a_crash_loop_halts(supervised: Callable[..., tuple[int, StateFile, list[str]]]) -> None:
    code, state, told = supervised("import os; os.abort()" if os.name != "nt" else "raise SystemExit(7)")

    assert 1 == code
    assert state.read().scopes["account"].why.startswith("crash loop: 5 failures in 600 s; the last ")
    assert 5 == sum(one.startswith("started process") for one in told)


@POSIX
@pytest.mark.parametrize("script", [STOPPED, BUSY], ids=["stopped", "busy"])
def test_a_run_that_hangs_is_killed_and_started_again(
    supervised: Callable[..., tuple[int, StateFile, list[str]]], tmp_path: Path, script: str
) -> None:
    code, state, told = supervised(script)

    first, second = map(int, (tmp_path / "starts").read_text().split())
    assert (0, 0) == (code, state.check())
    assert not is_alive(first)
    assert first != second
    assert any(one.startswith(f"process {first} hangs: ") for one in told)


@POSIX
def test_what_the_run_started_dies_with_it(supervised: Callable[..., tuple[int, StateFile, list[str]]], tmp_path: Path) -> None:
    supervised(WITH_CHILD)

    assert not is_alive(int((tmp_path / "sleeper").read_text()))


@POSIX
def test_a_hang_is_flattened_under_the_watchdogs_own_lease(
    supervised: Callable[..., tuple[int, StateFile, list[str]]], tmp_path: Path
) -> None:
    seen = []

    def act(level: StopLevel) -> str:
        (holder,) = holders_of(os.getpid(), "", WallClock(), tmp_path / "leases")
        seen.append((level, holder.epoch, holder.run))
        return "closed 1 position"

    code, state, _ = supervised(STOPPED, act, on_hang=OnHang.FLATTEN)

    assert 1 == code
    assert [(StopLevel.FLATTEN, 2, "watchdog")] == seen
    assert [False, True] == [one.done for one in state.read().history]
    with AccountLease("Broker-Demo", "1", WallClock(), tmp_path / "leases") as lease:
        assert 3 == lease.acquire("later", "a.toml")


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_command_reaches_the_run_once(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "run.py").write_text(ENDING, encoding="utf-8")
    command = [sys.executable, "-c", COMMAND, "--state", str(tmp_path / "state"), "--"]
    with subprocess.Popen(
        [*command, sys.executable, str(tmp_path / "run.py"), str(tmp_path)], stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()

        process.send_signal(number)

        assert 0 == process.wait(30)
    assert str(int(number)) == (tmp_path / "signal").read_text()
