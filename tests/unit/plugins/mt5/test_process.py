"""The terminal process as a child: it starts, hangs, is killed, comes back, and never outlives Herald."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from herald.clock import WallClock
from herald.errors import NotSent
from herald.plugins.mt5.client import TerminalClient, TerminalSilent
from herald.plugins.mt5.process import NotStarted, TerminalProcess

CLOCK = WallClock()
PACKAGE = Path(__file__).with_name("package")
POSIX = sys.platform != "win32"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE))


@pytest.fixture
def make() -> Iterator[Callable[..., TerminalProcess]]:
    made: list[TerminalProcess] = []

    def build(**terms: object) -> TerminalProcess:
        made.append(TerminalProcess(**({"clock": CLOCK, "module": "fake_terminal"} | terms)))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for one in made:
        one.kill()


def client_of(process: TerminalProcess) -> TerminalClient:
    client = TerminalClient(process.address, process.token, clock=CLOCK)
    client.open()
    return client


def is_running(pid: int) -> bool:
    if POSIX:
        state = Path(f"/proc/{pid}/stat")
        if state.exists():
            return state.read_text().rpartition(")")[2].split()[0] != "Z"
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    listed = subprocess.run(["tasklist", "/fi", f"pid eq {pid}"], capture_output=True, text=True, check=False).stdout
    return str(pid) in listed


def wait_until(happens: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- start


def test_it_starts_is_killed_and_starts_again_as_another(make: Callable[..., TerminalProcess]) -> None:
    process = make()
    assert (process.is_alive, process.pid, process.address) == (False, 0, "")
    process.start()
    first = process.pid
    assert process.is_alive
    client = client_of(process)
    process.start()  # it runs: nothing happens
    assert (process.pid, client.call("$versions", seconds=5.0).value["pid"]) == (first, first)
    client.close()

    process.restart()
    assert process.pid != first
    assert not is_running(first)
    process.kill()
    process.kill()  # it is gone: nothing happens
    assert (process.is_alive, process.pid, process.address) == (False, 0, "")


def test_every_process_has_a_token_of_its_own_of_256_bits(make: Callable[..., TerminalProcess]) -> None:
    tokens = {make().token for _ in range(20)}

    assert len(tokens) == 20
    assert {len(one) for one in tokens} == {64}


@pytest.mark.parametrize(
    ("terms", "text", "code"),
    [
        ({"module": "no_such_module"}, "did not start: no module 'no_such_module'.*pip install", "module"),
        ({"options": {"wrong": 1}}, "module_options of fake_terminal: there is no option 'wrong'", "options"),
        ({"python": ("/no/such/python",)}, "cannot be started: /no/such/python: .*correct python", "python"),
        ({"python": (sys.executable, "-c", "raise SystemExit(7)")}, "it ended with exit code 7 and said nothing", ""),
        ({"python": (sys.executable, "-c", "import sys; sys.exit('some words')")}, "did not start: some words", ""),
        ({"python": (sys.executable, "-c", 'print(\'{"refused": "x"}\')')}, 'did not start: {"refused": "x"}', ""),
    ],
)
def test_what_keeps_it_from_starting_is_named(
    make: Callable[..., TerminalProcess], terms: dict[str, object], text: str, code: str
) -> None:
    process = make(**terms)
    with pytest.raises(NotStarted, match=text) as wrong:
        process.start()
    assert code == wrong.value.code
    assert process.pid == 0


def test_one_that_never_listens_is_killed(make: Callable[..., TerminalProcess]) -> None:
    process = make(python=(sys.executable, "-c", "import time; time.sleep(60)"), start_seconds=0.3)
    begun = time.monotonic()
    with pytest.raises(NotSent, match=r"did not listen within 0.3 s; see python and module"):
        process.start()
    assert time.monotonic() - begun < 2.0


def test_a_start_can_be_given_up(make: Callable[..., TerminalProcess]) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(NotSent):
        make(options={"slow_start": 30}).start(stop)
    assert time.monotonic() - begun < 3.0


def test_the_token_is_not_among_its_arguments(make: Callable[..., TerminalProcess]) -> None:
    process = make()
    process.start()

    assert process.token not in " ".join(process._command)


def test_what_it_says_is_passed_on(make: Callable[..., TerminalProcess]) -> None:
    told: list[str] = []
    process = make(tell=told.append)
    process.start()
    with pytest.raises(Exception, match="another token"):
        TerminalClient(process.address, "f" * 64, clock=CLOCK).open()

    wait_until(lambda: any("was not let in" in one for one in told))


# --- hang and end


def test_a_hung_call_is_left_at_its_deadline_and_another_process_answers_within_three_seconds(
    make: Callable[..., TerminalProcess],
) -> None:
    process = make()
    process.start()
    client = client_of(process)
    begun = time.monotonic()
    with pytest.raises(TerminalSilent):
        client.call("order_send", {"symbol": "HANG", "volume": 1.0}, seconds=0.3)
    given_up = time.monotonic() - begun
    process.restart()
    client = client_of(process)
    assert client.call("version", seconds=2.0).code == 1
    client.close()

    assert given_up < 0.8
    assert time.monotonic() - begun < 3.3


def test_a_process_that_ended_by_itself_is_started_again(make: Callable[..., TerminalProcess]) -> None:
    process = make()
    process.start()
    first = process.pid
    with pytest.raises(TerminalSilent):
        client_of(process).call("symbol_info_tick", "DIE", seconds=5.0)
    wait_until(lambda: not process.is_alive)
    process.start()

    assert process.is_alive
    assert process.pid != first


PARENT = """
import sys, threading
from herald.clock import WallClock
from herald.plugins.mt5.client import TerminalClient
from herald.plugins.mt5.process import NotStarted, TerminalProcess
process = TerminalProcess(clock=WallClock(), module="fake_terminal")
process.start()
print(process.pid, flush=True)
if sys.argv[1] == "hang":
    client = TerminalClient(process.address, process.token, clock=WallClock())
    client.open()
    client.call("symbol_info_tick", "HANG", seconds=60.0)
sys.stdin.read()
"""


@pytest.mark.parametrize("what", ["idle", "hang"])
def test_it_ends_when_herald_is_killed(what: str, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.3 if what == "hang" else 0.0)
        assert is_running(pid)
        parent.kill()
        parent.wait(5.0)
        wait_until(lambda: not is_running(pid))


HOLDING = '''
"""Holds the interpreter's lock, as the genuine extension does."""
import ctypes


def last_error():
    return (1, "Success")


def version():
    ctypes.PyDLL(None).sleep(120)
'''


@pytest.mark.long
@pytest.mark.skipif(not POSIX, reason="sleeps in C's library")
def test_a_call_that_holds_the_lock_ends_the_process_though_nobody_kills_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., TerminalProcess]
) -> None:
    (tmp_path / "holding.py").write_text(HOLDING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = make(module="holding")
    process.start()
    with pytest.raises(TerminalSilent):
        client_of(process).call("version", seconds=0.5)

    wait_until(lambda: not process.is_alive, 40.0)


@pytest.mark.skipif(not POSIX, reason="a shell script")
def test_what_stands_around_its_python_is_killed_with_it(tmp_path: Path, make: Callable[..., TerminalProcess]) -> None:
    script = tmp_path / "python.sh"
    script.write_text(f'#!/bin/sh\n{sys.executable} "$@"\nexit 0\n')
    script.chmod(0o700)
    process = make(python=(str(script),))
    process.start()
    client = client_of(process)
    inner = client.call("$versions", seconds=5.0).value["pid"]
    client.close()
    assert inner != process.pid
    process.kill()

    wait_until(lambda: not is_running(inner))


@pytest.mark.skipif(not POSIX, reason="Windows has no such signal")
def test_ctrl_c_is_for_herald_alone(make: Callable[..., TerminalProcess]) -> None:
    told: list[str] = []
    process = make(tell=told.append)
    process.start()

    assert os.getpgid(process.pid) != os.getpgid(0)
    os.kill(process.pid, signal.SIGINT)  # sent to it alone, it ends without a word
    wait_until(lambda: not process.is_alive)
    process.kill()
    assert told == []


# --- nothing is left behind


def cycle(make: Callable[..., TerminalProcess], times: int) -> None:
    gc.collect()
    process = make()
    folder = Path("/proc/self/fd")
    counts = []
    for _ in range(times):
        process.start()
        client = client_of(process)
        with pytest.raises(TerminalSilent):
            client.call("symbol_info_tick", "HANG", seconds=0.01)
        process.kill()
        counts.append((len(list(folder.iterdir())) if folder.exists() else 0, threading.active_count()))
    if folder.exists():
        children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "stat="], capture_output=True, text=True, check=False)
        assert "Z" not in children.stdout

    # Fewer may be left: the collector also takes what other tests have left behind.
    assert counts[-1][0] <= counts[1][0], counts
    assert counts[-1][1] <= counts[1][1], counts


def test_four_hung_processes_leave_nothing_behind(make: Callable[..., TerminalProcess]) -> None:
    cycle(make, 4)


@pytest.mark.long
def test_two_hundred_hung_processes_leave_nothing_behind(make: Callable[..., TerminalProcess]) -> None:
    cycle(make, 200)
