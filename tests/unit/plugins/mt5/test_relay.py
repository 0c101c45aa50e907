"""``herald mt5 serve``: one client at a time, a fresh terminal process after every hang, an end without remains."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from herald.clock import WallClock
from herald.errors import ConfigError, NotSent
from herald.plugins.mt5.client import TerminalClient, TerminalRaised, TerminalRefused, TerminalSilent
from herald.plugins.mt5.relay import serve_forever, token_of

CLOCK = WallClock()
TOKEN = "0123456789abcdef" * 2
PACKAGE = Path(__file__).with_name("package")
POSIX = sys.platform != "win32"


class Serving:
    """`serve_forever` in a thread of the test."""

    def __init__(self, **terms: Any) -> None:
        self.told: list[str] = []
        self.stop = threading.Event()
        self.error: BaseException | None = None
        given = {"listen": "127.0.0.1:0", "allow_remote": False, "token": TOKEN, "python": (), "module": "fake_terminal"}
        self._terms = {**given, "options": {}, "stop": self.stop, "clock": CLOCK, "tell": self.told.append, **terms}
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            serve_forever(**self._terms)
        except BaseException as error:
            self.error = error

    def wait_for(self, text: str, seconds: float = 10.0, count: int = 1) -> str:
        end = time.monotonic() + seconds
        while True:
            found = [one for one in self.told if text in one]
            if len(found) >= count:
                return found[-1]
            assert time.monotonic() < end, self.told
            time.sleep(0.01)

    @property
    def address(self) -> str:
        return self.wait_for("serving").split(" at ")[1].split(",")[0]

    def client(self) -> TerminalClient:
        client = TerminalClient(self.address, TOKEN, clock=CLOCK)
        client.open()
        return client

    def close(self) -> None:
        self.stop.set()
        self.thread.join(10.0)
        assert not self.thread.is_alive()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Serving]]:
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE))
    made: list[Serving] = []

    def start(**terms: Any) -> Serving:
        made.append(Serving(**terms))
        return made[-1]

    yield start
    for one in made:
        one.close()


def pid_of(client: TerminalClient) -> int:
    return int(client.call("$versions", seconds=5.0).value["pid"])


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def test_requests_and_arrays_go_through_and_clients_take_turns_at_one_process(serve: Callable[..., Serving]) -> None:
    serving = serve()
    first = serving.client()
    assert first.call("symbol_info_tick", "X", seconds=5.0).value.volume == 2**64 - 1
    for count in (0, 1, 20_000):
        assert len(first.call("copy_rates_from_pos", "X", 1, 0, count, seconds=5.0).value) == count
    with pytest.raises(TerminalRaised, match="SystemError"):
        first.call("symbol_info_tick", "SYSTEM", seconds=5.0)
    pid = pid_of(first)
    with pytest.raises(TerminalRefused, match="one at a time"):
        serving.client()
    first.close()
    serving.wait_for("is gone")

    second = serving.client()
    assert pid_of(second) == pid
    second.close()


@pytest.mark.parametrize("who", ["the client gives up", "the client stays"])
def test_a_hung_process_is_replaced_within_three_seconds(serve: Callable[..., Serving], who: str) -> None:
    serving = serve()
    client = serving.client()
    pid = pid_of(client)
    begun = time.monotonic()
    if who == "the client gives up":
        with pytest.raises(TerminalSilent, match="limit 0.3 s"):
            client.call("symbol_info_tick", "HANG", seconds=0.3)
    else:  # it states half a second, and waits for longer
        sock = client._socket
        assert sock is not None
        body = b'[9, "symbol_info_tick", ["HANG"], {}, 0.5]'
        sock.sendall(struct.pack(">I", len(body)) + body)
        sock.settimeout(5.0)
        assert b'[9, "lost", "symbol_info_tick took longer than 0.5 s"]' in sock.recv(1_000)
        client.close()
    serving.wait_for("killed and started again")
    again = serving.client()
    assert pid_of(again) != pid
    assert time.monotonic() - begun < 3.5
    assert not POSIX or not is_running(pid)
    again.close()


def test_a_process_that_ends_during_a_call_leaves_the_call_open_and_comes_back(serve: Callable[..., Serving]) -> None:
    serving = serve()
    client = serving.client()
    with pytest.raises(TerminalSilent, match="ended during symbol_info_tick"):
        client.call("symbol_info_tick", "DIE", seconds=5.0)
    again = serving.client()
    assert again.call("version", seconds=5.0).code == 1
    again.close()


def test_a_process_that_ends_between_calls_ends_the_connection(serve: Callable[..., Serving]) -> None:
    """The next client must know that everything begins anew; and the next order is known not to have left."""
    serving = serve()
    client = serving.client()
    os.kill(pid_of(client), signal.SIGTERM)
    serving.wait_for("ended by itself")
    with pytest.raises(NotSent):
        client.call("order_send", {"symbol": "X", "volume": 1.0}, seconds=5.0)
    again = serving.client()
    assert again.call("version", seconds=5.0).code == 1
    again.close()


def test_a_process_that_ends_while_nobody_is_there_comes_back(serve: Callable[..., Serving]) -> None:
    serving = serve()
    client = serving.client()
    pid = pid_of(client)
    client.close()
    serving.wait_for("is gone")
    os.kill(pid, signal.SIGTERM)
    serving.wait_for("has ended")
    again = serving.client()
    assert pid_of(again) != pid
    again.close()


def test_a_client_may_ask_for_another_process(serve: Callable[..., Serving]) -> None:
    serving = serve()
    client = serving.client()
    pid = pid_of(client)
    begun = time.monotonic()
    client.restart(5.0)
    assert time.monotonic() - begun < 3.0
    assert not client.is_open
    client.open()
    assert pid_of(client) != pid
    client.close()


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x10", bytes(3)])
def test_a_stranger_cannot_have_the_process_killed(serve: Callable[..., Serving], data: bytes) -> None:
    serving = serve()
    client = serving.client()
    pid = pid_of(client)
    host, port = serving.address.split(":")
    with socket.create_connection((host, int(port))) as stranger:
        stranger.sendall(data)
    serving.wait_for("was not let in")

    assert pid_of(client) == pid
    client.close()


def test_a_client_that_talks_nonsense_is_shown_out_and_the_process_stays(serve: Callable[..., Serving]) -> None:
    serving = serve()
    client = serving.client()
    pid = pid_of(client)
    assert client._socket is not None
    client._socket.sendall(struct.pack(">I", 8) + b"nonsense")
    serving.wait_for("no request of Herald's")
    client.close()
    again = serving.client()
    assert pid_of(again) == pid
    again.close()


def test_one_that_does_not_start_any_more_is_tried_again_and_clients_learn_it(
    serve: Callable[..., Serving], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "passing.py"
    module.write_text((PACKAGE / "fake_terminal.py").read_text())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    serving = serve(module="passing")
    client = serving.client()
    module.rename(tmp_path / "gone")
    with pytest.raises(TerminalSilent):
        client.call("symbol_info_tick", "DIE", seconds=5.0)
    serving.wait_for("trying again", count=2)
    with pytest.raises(TerminalRefused, match="its terminal process does not start: .*no module 'passing'"):
        serving.client()
    (tmp_path / "gone").rename(module)
    end = time.monotonic() + 10.0
    while True:
        try:
            client = serving.client()
            break
        except TerminalRefused:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert client.call("version", seconds=5.0).code == 1
    client.close()


def test_stop_ends_it_during_a_call_and_during_a_start(serve: Callable[..., Serving]) -> None:
    serving = serve()
    client = serving.client()
    pid = pid_of(client)
    lost: list[TerminalSilent] = []

    def ask() -> None:
        try:
            client.call("symbol_info_tick", "HANG", seconds=20.0)
        except TerminalSilent as error:
            lost.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.1)
    begun = time.monotonic()
    serving.close()
    thread.join(5.0)
    assert time.monotonic() - begun < 3.0
    assert "stopped while symbol_info_tick was under way" in str(lost[0])
    assert serving.error is None
    assert serving.told[-1] == "ended"
    assert not POSIX or not is_running(pid)

    slow = serve(options={"slow_start": 30})
    time.sleep(0.2)
    begun = time.monotonic()
    slow.close()
    assert time.monotonic() - begun < 3.0
    assert slow.error is None


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ({"listen": "0.0.0.0:0"}, "--listen: 0.0.0.0 can be reached from other machines.*ssh -L"),
        ({"listen": "nowhere"}, "--listen: 'nowhere' is no address"),
        ({"module": "no_such_module"}, "--python: .*no module 'no_such_module'"),
        ({"python": ("/no/such/python",)}, "--python: .*cannot be started"),
    ],
)
def test_what_keeps_it_from_serving_is_named(serve: Callable[..., Serving], terms: dict[str, Any], text: str) -> None:
    serving = serve(**terms)
    serving.thread.join(10.0)

    assert isinstance(serving.error, ConfigError)
    with pytest.raises(ConfigError, match=text):
        raise serving.error


# --- the token


def test_a_token_is_made_for_its_owner_only_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    made = token_of(path)

    assert len(made) == 64
    assert token_of(path) == made
    assert token_of(tmp_path / "other") != made
    assert not POSIX or path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("text", "words"), [("", "0 characters"), ("short\n", "5 characters"), ("a" * 64, "too few different")])
def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=words):
        token_of(path)


@pytest.mark.skipif(not POSIX, reason="Windows has no such bits")
def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token_of(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        token_of(path)


def test_a_token_file_that_cannot_be_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no" / "token"):
        with pytest.raises(ConfigError, match="name a file that can be read or made"):
            token_of(path)


# --- the command


@pytest.mark.skipif(not POSIX, reason="Windows cannot send these signals to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "herald", "mt5", "serve", "--listen", "127.0.0.1:0", "--token-file", str(tmp_path / "token")]
    child = subprocess.Popen(
        [*command, "--module", "fake_terminal"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("herald mt5 serve: serving fake_terminal at 127.0.0.1:")
        client = TerminalClient(line.split(" at ")[1].split(",")[0], token_of(tmp_path / "token"), clock=CLOCK)
        client.open()
        pid = pid_of(client)
        child.send_signal(number)
        out, err = child.communicate(timeout=10)
        client.close()

    assert child.returncode == 0
    assert err == ""
    assert out.splitlines()[-1] == "herald mt5 serve: ended"
    assert not is_running(pid)
