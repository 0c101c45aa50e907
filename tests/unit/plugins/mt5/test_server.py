"""The terminal process from its own side: frames, who is let in, what may be called, what is answered."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herald.clock import WallClock
from herald.plugins.mt5 import client as client_module
from herald.plugins.mt5 import server
from herald.plugins.mt5.client import TerminalClient, TerminalRefused

TOKEN = "0123456789abcdef" * 2
PACKAGE = Path(__file__).with_name("package")
SOURCE = Path(server.__file__)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    yield one, other
    one.close()
    other.close()


class Served:
    """A door and a caller in threads of the test."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.sock = server.listen("127.0.0.1:0", False)
        self.address = server.address_of(self.sock)
        self.door = server.Door(self.sock, TOKEN, self.told.append)
        self.caller = server.Caller(SimpleNamespace(version=lambda: (5, 0, "x"), last_error=lambda: (1, "Success")), "fake")
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.door.run, daemon=True), threading.Thread(target=self._serve, daemon=True)]
        for thread in self.threads:
            thread.start()

    def _serve(self) -> None:
        while not self.stop.is_set():
            found = self.door.take(0.02)
            if found is not None:
                try:
                    server.serve(found[0], self.caller)
                except (server.Gone, OSError) as error:
                    self.told.append(str(error))
                finally:
                    found[0].close()
                    self.door.leave()

    def client(self, token: str = TOKEN) -> TerminalClient:
        return TerminalClient(self.address, token, clock=WallClock())

    def stranger(self, data: bytes) -> bytes:
        """Send bytes, and return what comes until the end."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=3.0) as sock:
            found = b""
            with suppress(OSError):  # it may have hung up already
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while part := sock.recv(4096):
                    found += part
            return found

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + 3.0
        while not any(text in one for one in self.told):
            assert time.monotonic() < end, self.told
            time.sleep(0.01)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.stop.set()
    made.threads[1].join(5.0)
    made.sock.shutdown(socket.SHUT_RDWR)
    made.sock.close()
    made.threads[0].join(5.0)
    assert not any(thread.is_alive() for thread in made.threads)


# --- it runs alone


def test_it_stands_on_the_standard_library_and_on_python_3_8() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 8))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add((node.module or "").partition(".")[0])

    assert names <= sys.stdlib_module_names


def test_no_file_beside_it_has_the_name_of_a_standard_module() -> None:
    assert not {path.stem for path in SOURCE.parent.glob("*.py")} - {"__init__"} & sys.stdlib_module_names


def _old_python() -> str | None:
    for folder in sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.8*/bin/python3.8")):
        return str(folder)
    return shutil.which("python3.8")


def test_python_3_8_runs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = _old_python()
    if python is None:
        pytest.skip("there is no Python 3.8 on this machine")
    copy = tmp_path / "server.py"
    shutil.copy(SOURCE, copy)
    child = subprocess.Popen(
        [python, "-W", "error", str(copy), "--listen", "127.0.0.1:0", "--module", "fake_terminal"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "HERALD_MT5_TOKEN": TOKEN},
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, child.stderr.read() if child.stderr else ""
        client = TerminalClient(json.loads(line)["listening"], TOKEN, clock=WallClock())
        client.open()
        versions = client.call("$versions", seconds=5.0).value
        assert versions["python"].startswith("3.8.")
        assert versions["package"] == "9.9"
        assert versions["pid"] == child.pid
        assert len(client.call("copy_rates_from_pos", "X", 1, 0, 3, seconds=5.0).value) == 3
        assert client.call("symbol_info_tick", "X", seconds=5.0).value.volume == 2**64 - 1
        with pytest.raises(TerminalRefused, match="one at a time"):
            TerminalClient(client.address, TOKEN, clock=WallClock()).open()
        client.close()
        child.communicate(timeout=10)  # its standard input ends

    assert child.returncode == 0


# --- values


NUMBERS = st.one_of(
    st.none(), st.booleans(), st.text(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(st.characters(min_codepoint=0))
)
VALUES = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other and repr(one) == repr(other)


@given(VALUES)
def test_a_plain_value_survives_the_wire(value: Any) -> None:
    told, raw = server.encode(value)

    assert raw is None
    assert same(value, client_module._value(json.loads(json.dumps(told, allow_nan=False)), b""))


@given(st.one_of(NUMBERS, st.lists(NUMBERS, max_size=3).map(tuple)))
def test_an_argument_survives_the_wire(value: Any) -> None:
    assert same(value, server.decode(json.loads(json.dumps(client_module._stated(value), allow_nan=False))))


@given(st.dictionaries(st.sampled_from(["symbol", "volume", "magic", "price", "comment"]), NUMBERS))
def test_a_request_survives_the_wire(form: dict[str, Any]) -> None:
    body = json.dumps([1, "order_send", [client_module._stated(form)], {}, 5.0], allow_nan=False).encode()

    _, _, (found,), _, _ = server.read_request(body)

    assert found.keys() == form.keys()
    assert all(same(form[key], found[key]) for key in form)


@given(st.binary(max_size=200))
def test_a_request_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    with suppress(server.Gone):
        server.read_request(body)


@settings(max_examples=40)
@given(st.recursive(NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["$", "v", "a"]), inner)))
def test_a_request_of_any_json_is_read_or_refused(value: Any) -> None:
    for body in (value, [1, "version", value, {}], [1, "version", [value], {}], [1, "version", [], {"a": value}, value]):
        with suppress(server.Gone):
            server.read_request(json.dumps(body).encode())


def test_a_deep_request_is_refused() -> None:
    with pytest.raises(server.Gone, match="no request"):
        server.read_request(b"[" * 30_000)


def test_numbers_of_numpy_are_sent_as_plain_ones() -> None:
    assert server.encode(np.int64(2**60)) == ({"$": "int", "v": str(2**60)}, None)
    assert server.encode(np.bool_(True)) == (True, None)
    assert server.encode(np.float32(0.5)) == (0.5, None)


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, np.zeros(3)])
def test_what_the_package_never_answers_is_not_sent(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be sent"):
        server.encode(value)


def test_records_of_another_size_are_not_sent() -> None:
    with pytest.raises(TypeError, match="16 bytes, not 60"):
        server.encode(np.zeros(2, [("time", "<i8"), ("open", "<f8")]))


# --- frames


@given(st.lists(st.binary(max_size=300), max_size=5), st.data())
@settings(max_examples=50)
def test_frames_arrive_whole_however_they_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    one, other = socket.socketpair()
    with one, other:
        stream = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
        while stream:
            count = data.draw(st.integers(1, len(stream)))
            one.sendall(stream[:count])
            stream = stream[count:]
        one.shutdown(socket.SHUT_WR)

        assert [server.receive(other, 300) for _ in bodies] == bodies
        assert server.receive(other, 300) is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x00\x00", "in the middle"),
        (struct.pack(">I", 10) + b"12345", "in the middle"),
        (struct.pack(">I", 2**31), "2147483648 bytes is more than 100"),
        (b"GET / HTTP/1.1\r\n\r\n", "this is HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "this is TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "this is SSH"),
    ],
)
def test_what_is_no_frame_is_named(pair: tuple[socket.socket, socket.socket], data: bytes, text: str) -> None:
    pair[0].sendall(data)
    pair[0].shutdown(socket.SHUT_WR)

    with pytest.raises(server.Gone, match=text):
        server.receive(pair[1], 100)


def test_bytes_that_come_one_by_one_are_not_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    stop = threading.Event()

    def drip() -> None:
        pair[0].sendall(struct.pack(">I", 1_000))
        while not stop.wait(0.05):
            pair[0].sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    begun = time.monotonic()
    try:
        with pytest.raises(server.Gone, match="time is over"):
            server.greet(pair[1], TOKEN, 0.3)
    finally:
        stop.set()
        thread.join()

    assert time.monotonic() - begun < 2.0


# --- who is let in


GREETING = json.dumps({"herald_mt5": 1, "nonce": "a" * 32}).encode()


def framed(*bodies: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(body)) + body for body in bodies)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "before it said anything"),
        (b"\x00\x00\x00", "in the middle"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "this is HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), "this is TLS"),
        (struct.pack(">I", 5_000) + bytes(5_000), "5000 bytes is more than 1024"),
        (framed(b""), "no greeting"),
        (framed(b"\xff\xfe"), "no greeting"),
        (framed(b"[]"), "no greeting"),
        (framed(b"[" * 1_000), "no greeting"),
        (framed(b'{"herald_mt5": 1}'), "no greeting"),
        (framed(b'{"herald_mt5": 1, "nonce": "short"}'), "no greeting"),
        (framed(b'{"herald_mt5": 2, "nonce": "aaaaaaaaaaaaaaaaaaaaaaaa"}'), "speaks protocol 1, the client 2"),
        (framed(GREETING), "its token is another one"),
        (framed(GREETING, b"{}"), "no proof"),
        (framed(GREETING, b'{"proof": "0000"}'), "the token is wrong"),
        (framed(GREETING, '{"proof": "Ω"}'.encode()), "the token is wrong"),
        (framed(GREETING, b'[1, "version", [], {}]'), "no proof"),
    ],
    ids=[str(n) for n in range(17)],
)
def test_a_stranger_is_told_off_and_harms_nobody(served: Served, data: bytes, text: str) -> None:
    served.stranger(data)
    served.wait_for(text)

    client = served.client()
    client.open()
    assert client.call("version", seconds=2.0).value == (5, 0, "x")
    client.close()


def test_the_token_never_crosses_the_wire_and_a_proof_fits_one_greeting_only(served: Served) -> None:
    first, second = (served.stranger(framed(GREETING, b'{"proof": "x"}')) for _ in range(2))

    assert first != second
    assert TOKEN.encode() not in first + second


def test_a_client_with_another_token_is_refused(served: Served) -> None:
    with pytest.raises(TerminalRefused, match="has another token"):
        served.client("f" * 32).open()


def test_a_second_client_learns_who_is_served_and_then_has_its_turn(served: Served) -> None:
    first, second = served.client(), served.client()
    first.open()
    with pytest.raises(TerminalRefused, match=r"serves the client at 127.0.0.1:\d+, and one at a time"):
        second.open()
    first.close()
    end = time.monotonic() + 3.0
    while not second.is_open:
        try:
            second.open()
        except TerminalRefused:
            assert time.monotonic() < end
    assert second.call("version", seconds=2.0).code == 1
    second.close()


def test_silent_strangers_do_not_keep_a_client_out(served: Served) -> None:
    host, port = served.address.split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(server.STRANGERS - 2)]
    client = served.client()
    client.open()

    assert client.call("version", seconds=2.0).code == 1
    client.close()
    for one in silent:
        one.close()


def test_more_strangers_than_there_is_room_for_are_closed(served: Served) -> None:
    host, port = served.address.split(":")
    strangers = [socket.create_connection((host, int(port)), timeout=3.0) for _ in range(server.STRANGERS + 1)]

    assert strangers[-1].recv(1) == b""
    for one in strangers:
        one.close()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (framed(b"nonsense"), "no request"),
        (struct.pack(">I", 1 << 20), "1048576 bytes is more than 65536"),
        (framed(b'[1, "version", [{"$": "code", "v": "1"}], {}]'), "no request"),
        (framed(b'[1, "version", [], {}, -1]'), "no request"),
        (framed(b'[1, "version", [], {}, NaN]'), "no request"),
        (b"\x00", "in the middle"),
    ],
)
def test_a_client_that_begins_to_talk_nonsense_is_shown_out(served: Served, data: bytes, text: str) -> None:
    client = served.client()
    client.open()
    assert client._socket is not None
    client._socket.sendall(data)
    client._socket.shutdown(socket.SHUT_WR)
    served.wait_for(text)
    client.close()


# --- what may be called


def caller() -> server.Caller:
    sys.path.insert(0, str(PACKAGE))
    try:
        return server.Caller(server.load("fake_terminal", {}), "fake_terminal")
    finally:
        sys.path.remove(str(PACKAGE))


def test_it_serves_the_functions_of_the_package_and_no_other() -> None:
    assert len(server.FUNCTIONS) == 32
    for name in ("configure", "__import__", "os", "_set", "__class__", "time", "$shell", ""):
        assert caller()(1, name, [], {})[0][1] == "refused"


def test_a_function_that_this_version_lacks_is_refused() -> None:
    (answer, _) = caller()(1, "order_check", [{}], {})

    assert answer[1:] == ["refused", "this version of fake_terminal has no function 'order_check'; update it"]


def test_every_answer_brings_what_last_error_says() -> None:
    assert caller()(1, "symbol_info_tick", ["NONE"], {})[0] == [1, "ok", None, [-4, "Terminal: Not found"]]
    assert caller()(2, "positions_get", [], {"symbol": "X"})[0] == [2, "ok", {"$": "tuple", "v": []}, [1, "Success"]]


def test_a_request_has_no_keywords_where_none_are_given() -> None:
    """An empty dict of keywords makes the package refuse a request with -2."""
    answer, _ = caller()(1, "order_send", [{"symbol": "X", "volume": 0.5}], {})

    assert answer[1] == "ok"
    assert answer[2]["$"] == "OrderSendResult"
    assert answer[2]["v"][-1]["$"] == "TradeRequest"


def test_an_exception_of_the_package_names_its_cause() -> None:
    answer, _ = caller()(1, "symbol_info_tick", ["SYSTEM"], {})

    assert answer[1:3] == ["raised", "SystemError"]
    assert "OverflowError: too large" in answer[3]


@pytest.mark.parametrize("symbol", ["ODD", "UNSAYABLE"])
def test_what_came_of_a_call_that_cannot_be_told_is_lost_and_not_refused(symbol: str) -> None:
    assert caller()(1, "symbol_info_tick", [symbol], {})[0][1] == "lost"


@pytest.mark.parametrize("date", [0, 0.5, -0.5, False])
def test_the_second_that_the_package_replaces_by_garbage_is_refused(date: float) -> None:
    answer, _ = caller()(1, "copy_rates_range", ["X", 1, date, 5], {})

    assert answer[1] == "refused"
    assert "use 1 or later" in answer[2]
    assert caller()(1, "copy_rates_range", ["X", 1, 1, 5], {})[0][1] == "ok"


# --- modules


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("no_such_module", {}, "no module 'no_such_module'.*pip install MetaTrader5"),
        ("json", {"a": 1}, "takes no options"),
        ("fake_terminal", {"wrong": 1}, "module_options of fake_terminal: there is no option 'wrong'"),
    ],
)
def test_a_module_that_cannot_be_had_is_named(
    name: str, options: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE))

    with pytest.raises(server.Refused, match=text):
        server.load(name, options)


BRIDGE = '''
import datetime


class Builtins:
    """Work at the other side."""

    @staticmethod
    def tuple(value):
        return tuple(value.fields)

    @staticmethod
    def type(value):
        return AccountInfo

    dict, map, next = dict, map, next


class Genuine:
    @staticmethod
    def order_check(*args, **named):
        return AccountInfo([sorted(args[0].items())[0][1], len(args), len(named)])


class Modules:
    MetaTrader5 = Genuine


class Connection:
    builtins = Builtins
    modules = Modules


class AccountInfo:
    """A reference to a record at the other side: its class, asked here, is that of something else."""

    __class__ = type(datetime)

    def __init__(self, fields):
        self.fields = fields

    def _asdict(self):
        return {}


class MetaTrader5:
    def __init__(self, host="localhost", port=18812):
        if port == 1:
            raise ConnectionRefusedError("refused")
        self.__conn = Connection()
        self.seen = []

    def last_error(self):
        return (1, "Success")

    def account_info(self):
        return AccountInfo([5, 1.5, "name"])

    def positions_get(self, **named):
        return (AccountInfo([1]), AccountInfo([2]))

    def copy_rates_range(self, symbol, timeframe, date_from, date_to):
        return (repr(date_from.astimezone(datetime.timezone.utc)), date_to.timestamp())

    def market_book_release(self, symbol):
        return eval(symbol)

    def order_check(self, *args, **named):
        return None

    def order_send(self, request):
        raise ValueError("broken on the way back")
'''


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, version in (("mt5linux", "1.0.11"), ("siliconmetatrader5", "1.2.3")):
        (tmp_path / f"{name}.py").write_text(BRIDGE)
        (tmp_path / f"{name}-{version}.dist-info").mkdir()
        (tmp_path / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("mt5linux", "siliconmetatrader5"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["mt5linux", "siliconmetatrader5"])
def test_a_bridge_is_a_module_whose_references_become_values(bridge: Path, name: str) -> None:
    call = server.Caller(server.load(name, {"host": "127.0.0.1", "port": 18812}), name)

    assert call(1, "account_info", [], {})[0][2] == {"$": "AccountInfo", "v": [5, 1.5, "name"]}
    assert call(2, "positions_get", [], {})[0][2] == {"$": "tuple:AccountInfo", "v": [[1], [2]]}
    assert call(3, "order_send", [{"symbol": "X"}], {})[0][1] == "lost"  # it may have been carried out
    assert call(4, "symbols_total", [], {})[0][1] == "refused"


def test_mt5linux_gets_dates_and_quoted_names(bridge: Path) -> None:
    call = server.Caller(server.load("mt5linux", {}), "mt5linux")

    told = call(1, "copy_rates_range", ["X", 1, 60, 120], {})[0][2]
    assert told["v"] == ["datetime.datetime(1970, 1, 1, 0, 1, tzinfo=datetime.timezone.utc)", 120.0]
    assert call(2, "market_book_release", ["EURUSD"], {})[0][2] == "EURUSD"


def test_siliconmetatrader5_checks_an_order_without_keywords(bridge: Path) -> None:
    call = server.Caller(server.load("siliconmetatrader5", {}), "siliconmetatrader5")

    assert call(1, "order_check", [{"action": 1}], {})[0][2] == {"$": "AccountInfo", "v": [1, 1, 0]}


def test_a_bridge_that_is_not_there_is_named(bridge: Path) -> None:
    with pytest.raises(server.Refused, match="server of mt5linux at its default host:1 is not there"):
        server.load("mt5linux", {"port": 1})
    with pytest.raises(server.Refused, match="it has no 'prot'; it takes host, port"):
        server.load("siliconmetatrader5", {"prot": 1})


def test_a_bridge_that_loses_answers_is_refused_with_the_reason(bridge: Path) -> None:
    (bridge / "mt5linux-1.0.11.dist-info").rename(bridge / "mt5linux-1.1.1.dist-info")
    (bridge / "mt5linux-1.1.1.dist-info" / "METADATA").write_text("Name: mt5linux\nVersion: 1.1.1\n")

    with pytest.raises(
        server.Refused, match=r"mt5linux 1\.1\.1 sends results through pickle.*install mt5linux==1\.0\.11|Install"
    ):
        server.load("mt5linux", {})


# --- the process


def run(*arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SOURCE), *arguments],
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "HERALD_MT5_TOKEN": token},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "token", "text", "code"),
    [
        (["--listen", "0.0.0.0:0"], TOKEN, "can be reached from other machines.*ssh -L", "address"),
        (["--listen", "nowhere"], TOKEN, "'nowhere' is no address; write host:port", "address"),
        (["--listen", "127.0.0.1:99999"], TOKEN, "is no address", "address"),
        (["--listen", "127.0.0.1:0"], "", "can be guessed", "token"),
        (["--listen", "127.0.0.1:0"], "short", "can be guessed", "token"),
        (["--listen", "127.0.0.1:0"], "a" * 64, "can be guessed", "token"),
        (["--listen", "127.0.0.1:0", "--token-file", "/no/such/file"], TOKEN, "No such file", ""),
        (["--listen", "127.0.0.1:0", "--module", "no_such_module"], TOKEN, "no module 'no_such_module'", "module"),
        (["--listen", "127.0.0.1:0", "--module-options", "{"], TOKEN, "--module-options is no JSON", "options"),
        (["--listen", "127.0.0.1:0", "--module-options", "[]"], TOKEN, "must be an object", "options"),
    ],
)
def test_a_wrong_command_ends_in_one_line(arguments: list[str], token: str, text: str, code: str) -> None:
    done = run(*arguments, token=token)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(text, done.stderr), done.stderr
    assert not token or token not in done.stderr + done.stdout
    told = json.loads(done.stdout)  # the same for the program that started it
    assert code == told["code"]
    assert done.stderr.strip().endswith(told["refused"])


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        done = run("--listen", f"127.0.0.1:{sock.getsockname()[1]}", "--module", "fake_terminal")

    assert done.returncode == 2
    assert "choose another port" in done.stderr


def test_nothing_is_evaluated_or_unpickled() -> None:
    """Not even by accident: the words do not occur among its calls."""
    used = set()
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.Import):
            used |= {one.name for one in node.names}

    assert not used & {
        "eval",
        "exec",
        "compile",
        "__import__",
        "literal_eval",
        "system",
        "popen",
        "pickle",
        "marshal",
        "subprocess",
    }
