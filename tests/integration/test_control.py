"""A run and its control server, as an operator uses them: the command line, keys, a kill, a server that dies."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from herald.cli import herald
from herald.cli.remote import Remote
from herald.errors import ConfigError, HeraldError
from herald.host.plan import load_plan
from herald.runtime.live import LiveRun
from herald.testing.simbroker import SimBroker
from herald.utils.audit_log import read_audit

PATIENCE = 30.0
TOKEN = "HERALD_CONNECTORS__MAIN__TOKEN"

STRATEGY = '''
"""Buys once and does nothing more."""

from herald import Settings, Strategy, component, hookimpl


class Fields(Settings):
    pass


class Once(Strategy):
    def on_quote(self, quote, ctx):
        if not ctx.position(quote.symbol).size and not ctx.orders():
            ctx.buy(quote.symbol, 0.1)


@hookimpl
def herald_strategies():
    yield component("once", Fields, Once, "For tests.")
'''

PAPER = """
[herald]
mode    = "paper"
on_stop = "leave"

[plugins]
paths = ["."]

[connectors.main]
use             = "simbroker"
address         = "{address}"
poll_seconds    = 0.02
account_seconds = 0.2

[strategies.trend]
use       = "once"
symbols   = ["EURUSD"]
timeframe = "1m"

[[risk]]
use  = "risk.max_order_size"
lots = 1.0

[[services]]
use  = "control"
port = 0

[audit]

[live]
warmup_bars = 0
"""


class Running:
    """A paper run in a process of its own."""

    def __init__(self, file: Path, token: str) -> None:
        self.file = file
        self.state = file.parent / "state"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "herald", "paper", str(file), "--quiet", "--no-report", "--out", str(file.parent / "runs")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, TOKEN: token},
        )
        self.wait(lambda: self.ask("/readyz"))

    def wait(self, what: Callable[[], Any]) -> Any:
        """Return the first answer of *what* that is something."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                found = what()
            except (OSError, HeraldError, ValueError):
                found = None
            if found:
                return found
            if self.process.poll() is not None:
                raise AssertionError(f"the run ended: {self.process.communicate()[0]}")
            assert time.monotonic() < end, "it did not come in time"
            time.sleep(0.05)

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.state / "control.json").read_text())
        return told

    def ask(self, path: str, body: dict[str, Any] | None = None, key: str | None = None, method: str = "") -> Any:
        """Return what the server answers.

        Raises:
            HeraldError: It refuses, with its code and reason.
        """
        told = self.told
        return Remote(told["address"], key or told["key"]).ask(method or ("GET" if body is None else "POST"), path, body)

    def by_hand(self) -> list[dict[str, Any]]:
        """Return what the book of the person holds."""
        return [one for one in self.ask("/api/v1/positions")["positions"] if one["strategy"] == "manual"]

    def clear(self) -> None:
        """Close what other tests left in the book of the person."""
        with suppress(HeraldError):
            self.ask("/api/v1/positions/close", {"strategy": "manual", "symbol": "EURUSD", "why": "clear"})
        time.sleep(1.0)  # what is shown may be half a second old
        self.wait(lambda: not self.by_hand())

    def herald(self, *arguments: str, fails: bool = False) -> str:
        """Return what a command says about the run."""
        verbs = arguments[0].split()
        result = CliRunner().invoke(herald, [*verbs, str(self.file), *arguments[1:]], catch_exceptions=True)
        if fails:
            assert isinstance(result.exception, HeraldError), result.output
            return str(result.exception)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output


@contextmanager
def started(folder: Path, more: str = "") -> Iterator[Running]:
    """Run in *folder* on a broker of its own, with *more* in the config, until the end."""
    (folder / "once.py").write_text(STRATEGY, encoding="utf-8")
    with SimBroker.start(folder / "book.sqlite", mode="netting", tick_seconds=0.05) as broker:
        file = folder / "day.toml"
        file.write_text(PAPER.format(address=broker.address) + more, encoding="utf-8")
        running = Running(file, broker.terms.token)
        try:
            yield running
        finally:
            running.process.terminate()
            running.process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("control")) as running:
        yield running


def test_the_command_line_shows_what_the_run_holds(run: Running) -> None:
    run.wait(lambda: run.ask("/api/v1/positions")["positions"])

    shown = run.herald("status")
    assert f"paper run of {run.file}, ACTIVE" in shown
    assert "connector  main (simbroker) ready" in shown
    assert "trend" in run.herald("positions")
    state = json.loads(run.herald("status", "--json"))
    assert state["positions"][0]["size"] == 0.1
    assert json.loads(run.herald("positions", "--json")) == state["positions"] or state["positions"]


def test_a_trade_by_hand_is_filled_protected_and_closed_by_hand(run: Running) -> None:
    run.clear()
    told = run.herald("trade", "buy", "EURUSD", "0.05", "--stop-loss", "1.06", "--why", "a test")

    assert "bought 0.05 EURUSD at " in told
    run.wait(lambda: [one["size"] for one in run.by_hand()] == [0.05])
    run.wait(lambda: [one for one in run.by_hand() if one["stop_loss"] == 1.06])
    assert "sold 0.05 EURUSD" in run.herald("close", "manual", "EURUSD", "--why", "enough")
    run.wait(lambda: not run.by_hand())


def test_what_the_gate_refuses_is_one_line(run: Running) -> None:
    run.clear()
    assert run.herald("trade", "buy", "EURUSD", "1.5", fails=True).startswith("max_order_size: ")
    assert run.herald("trade", "buy", "NOPE", "0.1", fails=True).startswith("unknown_symbol: the run does not trade 'NOPE'")
    assert run.herald("close", "manual", "EURUSD", fails=True).startswith("no_position: ")
    assert run.herald("cancel", "nope", fails=True).startswith("not_working: ")


def test_a_resting_order_is_listed_changed_and_withdrawn(run: Running) -> None:
    run.herald("trade", "buy", "EURUSD", "0.05", "--limit", "1.06")
    order = run.wait(lambda: [one for one in run.ask("/api/v1/orders")["orders"] if one["request"]["limit"] == 1.06])[0]
    name = order["request"]["id"]
    assert name in run.herald("orders")

    assert run.ask(f"/api/v1/orders/{name}", {"limit": 1.065, "why": "nearer"}, method="PATCH")["ok"]
    run.wait(lambda: [one for one in run.ask("/api/v1/orders")["orders"] if one["request"]["limit"] == 1.065])

    run.herald("cancel", name)
    run.wait(lambda: name not in [one["request"]["id"] for one in run.ask("/api/v1/orders")["orders"]])


def test_a_kill_over_http_holds_on_disk_and_a_person_with_the_right_key_rearms(run: Running) -> None:
    keys = {role: run.herald("control keys add", role, "--role", role).split()[0] for role in ("viewer", "risk")}
    with pytest.raises(HeraldError, match="not_allowed: the role viewer"):
        run.ask("/api/v1/kill", {"why": "panic"}, keys["viewer"])

    assert run.ask("/api/v1/kill", {"why": "panic"}, keys["risk"])["ok"]
    run.wait(lambda: run.ask("/api/v1/state")["trading"] == "HALTED")
    assert "HALTED" in run.herald("state")
    assert run.herald("trade", "buy", "EURUSD", "0.05", fails=True).startswith(("state_halted", "trading_state"))

    assert run.ask("/api/v1/rearm", {"why": "calm again"}, keys["risk"])["ok"]
    run.wait(lambda: run.ask("/api/v1/state")["trading"] == "ACTIVE")
    run.herald("control keys revoke", "risk")
    with pytest.raises(HeraldError, match="revoked_key"):
        run.ask("/api/v1/state", None, keys["risk"])


def test_a_pause_from_the_command_line_is_seen_by_the_server(run: Running) -> None:
    run.herald("pause", "--strategy", "trend", "--why", "lunch")
    run.wait(
        lambda: [one["state"] for one in run.ask("/api/v1/strategies")["strategies"] if one["name"] == "trend"] == ["REDUCING"]
    )
    assert run.ask("/api/v1/strategies/trend/resume", {"why": "back"})["ok"]
    run.wait(lambda: not run.ask("/api/v1/state")["scopes"])


def test_what_was_done_is_in_the_audit_log_with_who_and_why(run: Running) -> None:
    run.ask("/api/v1/reconcile", {"why": "for the log"})
    rows = [one for one in read_audit(run.state / "audit.log") if one.act == "control.reconcile" and one.why == "for the log"]

    assert [one.result.split(":")[0] for one in rows] == ["asked", "done"]
    assert rows[0].who.startswith("local (key ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_server_that_is_killed_comes_back_and_the_run_goes_on(run: Running) -> None:
    children = subprocess.run(["pgrep", "-P", str(run.process.pid)], capture_output=True, text=True, check=True).stdout.split()
    fills = len(run.ask("/api/v1/fills")["fills"])
    address = run.told["address"]
    for child in children:
        os.kill(int(child), signal.SIGKILL)

    run.wait(lambda: run.told["address"] != address and run.ask("/api/v1/state"))

    assert run.process.poll() is None
    assert len(run.ask("/api/v1/fills")["fills"]) >= fills
    assert "bought" in run.herald("trade", "buy", "EURUSD", "0.01")
    lines = run.ask("/api/v1/logs")["lines"]
    assert all("hrld_" not in one["text"] for one in lines)


def test_a_stream_tells_of_a_trade_at_once(run: Running) -> None:
    told = run.told
    connection = http.client.HTTPConnection(told["address"].removeprefix("http://"), timeout=PATIENCE)
    connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {told['key']}"})
    with closing(connection), connection.getresponse() as stream:
        first = next(line for line in stream if line.startswith(b"data: "))
        assert "state" in json.loads(first[6:])
        run.ask("/api/v1/orders", {"symbol": "EURUSD", "side": "buy", "size": 0.02, "why": "stream"})
        for line in stream:
            if line.startswith(b"data: ") and json.loads(line[6:]).get("fills"):
                break


def test_the_run_ends_in_order_and_takes_the_server_with_it(tmp_path: Path) -> None:
    with started(tmp_path) as run:
        address = run.told["address"]
        run.process.terminate()
        run.process.wait(PATIENCE)

        assert not (run.state / "control.json").exists()
        with pytest.raises(HeraldError, match="nobody answers"):
            Remote(address, "").ask("GET", "/healthz")
        assert run.herald("status", fails=True).startswith(f"no run of {str(run.file)!r} is under way")


def test_a_port_in_use_is_told_before_anything_trades(tmp_path: Path) -> None:
    (tmp_path / "once.py").write_text(STRATEGY, encoding="utf-8")
    with socket.socket() as taken, SimBroker.start(tmp_path / "book.sqlite", mode="netting") as broker:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = tmp_path / "day.toml"
        file.write_text(PAPER.format(address=broker.address).replace("port = 0", f"port = {port}"), encoding="utf-8")
        run = LiveRun(load_plan(file, environ={TOKEN: broker.terms.token}))
        with pytest.raises(
            ConfigError, match=rf"day\.toml: 1 problem\n  services\[0\]\.port: 127\.0\.0\.1:{port} cannot be used: .*another port"
        ):
            run.run(lambda: False)

    assert not run.engine.orders


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ('host = "0.0.0.0"', "can be reached from other machines"),
        ('host = "nowhere"', "is no address"),
        ('certificate_file = "c.pem"', "belong together"),
        ("port = 99999", "port"),
        ('host = "192.0.2.1"\ncertificate_file = "c"\nkey_file = "k"\nopen_metrics = true', "would show the account"),
    ],
)
def test_a_setting_that_is_not_safe_is_refused_by_check(tmp_path: Path, setting: str, problem: str) -> None:
    (tmp_path / "once.py").write_text(STRATEGY, encoding="utf-8")
    file = tmp_path / "day.toml"
    text = PAPER.format(address="127.0.0.1:1")
    file.write_text(
        text.replace("port = 0", setting) if setting.startswith("port") else text.replace("port = 0", f"port = 0\n{setting}")
    )

    with pytest.raises(ConfigError, match=problem):
        load_plan(file, environ={TOKEN: "any"})


def test_a_strategy_may_not_have_the_name_of_the_book_of_the_person(tmp_path: Path) -> None:
    (tmp_path / "once.py").write_text(STRATEGY, encoding="utf-8")
    file = tmp_path / "day.toml"
    file.write_text(PAPER.format(address="127.0.0.1:1").replace("strategies.trend", "strategies.manual"), encoding="utf-8")

    with pytest.raises(ConfigError, match="is the name of the books of what a person trades"):
        load_plan(file, environ={TOKEN: "any"})


def test_a_reload_starts_services_anew_and_names_what_needs_another_start(tmp_path: Path) -> None:
    with started(tmp_path) as run:
        key = run.herald("control keys add", "ann", "--role", "admin").split()[0]
        assert run.ask("/api/v1/reload", {"why": "nothing"})["text"] == "no service changed"
        text = run.file.read_text(encoding="utf-8")
        run.file.write_text(text.replace("port = 0", "port = 0\nchart_bars = 77").replace("lots = 1.0", "lots = 2.0"), "utf-8")

        before = run.told
        told = run.ask("/api/v1/reload", {"why": "fewer bars"}, key)["text"]

        assert told == "starting anew: services[0]; needs another start of the run: risk"
        run.wait(lambda: run.told["key"] != before["key"] and run.ask("/api/v1/state", None, key))
        run.file.write_text(text.replace('use  = "control"', 'use  = "contrl"'), encoding="utf-8")
        with pytest.raises(HeraldError, match="contrl"):
            run.ask("/api/v1/reload", {"why": "a mistake"}, key)
        assert run.ask("/api/v1/state", None, key)["trading"] == "ACTIVE"
