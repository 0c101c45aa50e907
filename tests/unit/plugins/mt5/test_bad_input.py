"""What a user can get wrong with MetaTrader 5, and what is answered: the messages are those that ``docs/mt5.md`` shows."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from herald.clock import WallClock
from herald.errors import ConfigError, HeraldError
from herald.model import OrderType
from herald.plugins.mt5 import herald_validate, server
from herald.plugins.mt5.process import TerminalProcess
from herald.plugins.mt5.settings import MT5Settings
from tests.unit.plugins.mt5.trading import MODULE, STILL, Make, made, order

PAGE = Path(__file__).parents[4] / "docs" / "mt5.md"
Sending = Callable[..., str]
Case = Callable[[Make, Sending], str]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def keep(work: Case) -> Case:
        CASES[name] = work
        return work

    return keep


def section(name: str) -> list[str]:
    """Return the lines of a section of the page."""
    return PAGE.read_text(encoding="utf-8").split(f"({name})=\n")[1].split("\n## ")[0].splitlines()


def rows() -> dict[str, str]:
    """Return the messages of the page's table by what is wrong."""
    found = [re.fullmatch(r"\| (.+?) \| `(.+)` \|", line) for line in section("mt5-bad-input")]
    return {match[1]: match[2] for match in found if match}


def said(work: Callable[[], object]) -> str:
    """Return the error of *work* as one line, with what the user is told to do."""
    with pytest.raises(HeraldError) as wrong:
        work()
    if isinstance(wrong.value, ConfigError):
        (problem,) = wrong.value.problems
        return str(problem)
    return str(wrong.value)


def connecting(make: Make, options: dict[str, Any] | None = None, **settings: Any) -> str:
    return said(make(options, **settings).connect)


@pytest.fixture(scope="module")
def sending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sending]:
    """Send an order over one connection, while the terminal has a fault; return what is said."""
    control = tmp_path_factory.mktemp("terminal") / "faults.json"
    connector = made({}, {"symbols": [STILL | {"trade_stops_level": 100}], "control": str(control)})
    connector.connect()

    def send(fault: dict[str, Any] | None = None, **terms: Any) -> str:
        scratch = control.with_suffix(".tmp")
        scratch.write_text(json.dumps([] if fault is None else [fault]), encoding="utf-8")
        scratch.replace(control)
        return said(lambda: connector.submit(order(1, **terms)))

    yield send
    connector.disconnect()


@case("wrong login or password")
def wrong_password(make: Make, sending: Sending) -> str:
    return connecting(make, password="wrong1")


@case("wrong server")
def wrong_server(make: Make, sending: Sending) -> str:
    return connecting(make, server="Other-Demo")


@case("an account with one-time passwords")
def one_time_password(make: Make, sending: Sending) -> str:
    return connecting(make, {"otp": True})


@case("another account is logged in")
def another_account(make: Make, sending: Sending) -> str:
    return connecting(make, {"faults": [{"kind": "account", "code": 7}]})


@case("the Algo Trading button is off")
def button(make: Make, sending: Sending) -> str:
    return sending({"kind": "button"})


@case("the Python API is blocked")
def api(make: Make, sending: Sending) -> str:
    return sending({"kind": "api"})


@case("an investor password")
def investor(make: Make, sending: Sending) -> str:
    return sending({"kind": "investor"})


@case("a symbol that the broker does not have")
def no_symbol(make: Make, sending: Sending) -> str:
    return connecting(make, {"symbols": [{**STILL, "name": "EURUSD.r"}]})


@case("a symbol without data")
def no_data(make: Make, sending: Sending) -> str:
    connector = make({"symbols": [STILL | {"first_tick_seconds": 1e9}]})
    connector.connect()
    return said(lambda: connector.quote("EURUSD"))


@case("a closed market")
def closed(make: Make, sending: Sending) -> str:
    return sending({"kind": "retcode", "code": 10018})


@case("a volume off its step")
def volume(make: Make, sending: Sending) -> str:
    return sending(size=0.015)


@case("a stop that is too near")
def near(make: Make, sending: Sending) -> str:
    return sending(stop_loss=1.0995)


@case("a price off its side")
def price(make: Make, sending: Sending) -> str:
    return sending(type=OrderType.LIMIT, limit=1.2)


@case("two accounts on one terminal")
def two_accounts(make: Make, sending: Sending) -> str:
    class Part:
        def __init__(self, name: str, login: int) -> None:
            self.name, self.use, self.settings = name, "mt5", MT5Settings(login=login)

    class Plan:
        def chosen(self, kind: str) -> tuple[Part, ...]:
            return Part("connectors.one", 1), Part("connectors.two", 2)

    (problem,) = herald_validate(Plan())  # type: ignore[arg-type]
    return str(problem)


@case("a server's clock that cannot be determined")
def no_clock(make: Make, sending: Sending) -> str:
    connector = make({"faults": [{"kind": "stale"}], "start": time.time() - 20_000, "time_scale": 0.001})
    connector.connect()
    time.sleep(0.01)
    return said(lambda: connector.submit(order(1)))


@case("a clock that contradicts the file")
def other_clock(make: Make, sending: Sending) -> str:
    connector = make({"server_zone": "UTC"}, server_zone="+09:00")
    connector.connect()
    return said(lambda: connector.submit(order(1)))


@case("a missing token")
def no_token(make: Make, sending: Sending) -> str:
    with pytest.raises(ValueError, match="token") as wrong:
        MT5Settings(address="127.0.0.1:5005")
    return str(wrong.value.errors()[0]["msg"]).removeprefix("Value error, ")  # type: ignore[attr-defined]


@case("a wrong token")
def wrong_token(make: Make, sending: Sending) -> str:
    process = TerminalProcess(clock=WallClock(), module=MODULE)
    process.start()
    try:
        told = connecting(make, address=process.address, token="0123456789abcdef" * 2)
        return told.replace(process.address, "127.0.0.1:5005")
    finally:
        process.kill()


@case("a client that is not Herald")
def stranger(make: Make, sending: Sending) -> str:
    heard: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        door = server.Door(listener, "t" * 32, heard.append)
        with socket.create_connection(listener.getsockname()) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            client, address = listener.accept()
            door.room.acquire()
            door._meet(client, address)
    return heard[0].replace(f":{address[1]} ", ":51234 ")


@case("no package where the terminal process runs")
def no_package(make: Make, sending: Sending) -> str:
    return connecting(make, module="MetaTrader6").split(" (ModuleNotFoundError")[0]


@case("no terminal at the path")
def no_terminal(make: Make, sending: Sending) -> str:
    return connecting(make, path=r"D:\MT5\terminal64.exe")


@case("the trade server cannot be reached")
def offline(make: Make, sending: Sending) -> str:
    return connecting(make, {"faults": [{"kind": "offline"}]}, connect_seconds=0.2)


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_has_a_message_of_its_own_with_the_remedy(make: Make, sending: Sending, name: str) -> None:
    told = CASES[name](make, sending)

    assert "\n" not in told
    assert rows()[name] == told


def test_the_page_shows_every_case_and_every_stage(make: Make) -> None:
    shown = rows()

    assert set(CASES) == set(shown)
    assert len(shown) == len(set(shown.values()))
    told = [match[1] for line in section("mt5-stages") if (match := re.match(r"\| `(\w+)` \|", line))]
    assert [name for name, _ in make().stages()] == told


def test_a_run_that_cannot_determine_the_clock_trades_as_soon_as_it_can(make: Make) -> None:
    late = STILL | {"selected": False, "first_tick_seconds": 2.0}
    connector = make({"symbols": [late], "tick_seconds": 0.2}, tick_seconds=0.1)
    connector.connect()
    assert "cannot be determined" in connector.trouble()
    end = time.monotonic() + 10
    while time.monotonic() < end and connector.trouble():
        time.sleep(0.2)
        connector.subscribe([("EURUSD", None)])

    assert connector.submit(order(1)).isdecimal()
