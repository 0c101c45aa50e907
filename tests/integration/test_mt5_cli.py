"""One unchanged strategy on MetaTrader 5, as a user runs it: backtest, paper, live; and the diagnosis of what is wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from herald.testing.simbroker.book import BookView
from tests.integration.test_live_cli import STRATEGY, command, run

FILE = """
[herald]
mode    = "live"
on_stop = "flatten"

[plugins]
paths        = ["."]
require_lock = false

[connectors.main]
use            = "mt5"
login          = 1001
server         = "Sim-Demo"
module         = "herald.testing.mt5.terminal"
module_options = {{ margin_mode = "{mode}", tick_seconds = 0.2, history_days = 0.1, book = '{book}'{more} }}
poll_seconds   = 0.02

[strategies.flip]
use       = "flip"
symbols   = ["EURUSD"]
timeframe = "1m"

[[risk]]
use     = "risk.duplicate_order"
seconds = 0.001

[[risk]]
use        = "risk.max_orders_per_minute"
limit      = 100_000

[[risk]]
use        = "risk.repeated_execution"
executions = 1_000

[[risk]]
use  = "risk.max_order_size"
lots = 1.0

[[risk]]
use      = "risk.max_daily_loss"
fraction = 0.5

[[risk]]
use      = "risk.max_drawdown"
fraction = 0.5

[live]
account     = "1001"
server      = "Sim-Demo"
real        = false
warmup_bars = 5
"""


def written(folder: Path, mode: str = "hedging", more: str = "") -> Path:
    (folder / "flip.py").write_text(STRATEGY, encoding="utf-8")
    file = folder / "mt5.toml"
    file.write_text(FILE.format(mode=mode, book=(folder / "book.sqlite").as_posix(), more=more), encoding="utf-8")
    return file


@pytest.fixture
def env(clean_env: dict[str, str]) -> dict[str, str]:
    return clean_env | {"HERALD_CONNECTORS__MAIN__PASSWORD": "secret"}


@pytest.mark.parametrize("mode", ["hedging", pytest.param("netting", marks=pytest.mark.long)])
def test_a_live_run_trades_and_leaves_the_account_flat(tmp_path: Path, env: dict[str, str], mode: str) -> None:
    file = written(tmp_path, mode)

    done = run("live", file, "--demo-only", "--for", "10", "--json", "--no-report", cwd=tmp_path, env=env)
    outcome = json.loads(done.stdout)
    book = BookView.read(tmp_path / "book.sqlite")

    assert [] == outcome["errors"], done.stderr
    assert outcome["fills"] > 1
    assert outcome["fills"] == len(book.deals)
    assert ({}, []) == (book.held(), book.verify())


def test_an_account_with_real_money_is_not_taken_for_a_demo(tmp_path: Path, env: dict[str, str]) -> None:
    file = written(tmp_path, more=", trade_mode = 2")

    done = run("live", file, "--demo-only", "--for", "2", cwd=tmp_path, env=env)

    assert done.returncode
    assert "connector main reports True; log in to the right account, or correct the file" in done.stderr
    assert "trades real money, and only a demo was asked for" in done.stderr
    assert 0 == len(BookView.read(tmp_path / "book.sqlite").deals)


@pytest.mark.long
def test_the_same_file_runs_on_paper_and_over_history(tmp_path: Path, env: dict[str, str]) -> None:
    file = written(tmp_path)

    paper = json.loads(run("paper", file, "--for", "6", "--json", "--no-report", cwd=tmp_path, env=env).stdout)
    tested = json.loads(run("backtest", file, "--json", "--no-report", cwd=tmp_path, env=env).stdout)

    assert ("interrupted", []) == (paper["status"], paper["errors"])
    assert paper["fills"] > 1
    assert "completed" == tested["status"]
    assert 0 == len(BookView.read(tmp_path / "book.sqlite").deals)


@pytest.mark.long
def test_a_terminal_that_dies_during_a_run_is_started_again_and_nothing_is_sent_twice(
    tmp_path: Path, env: dict[str, str]
) -> None:
    control = (tmp_path / "faults.json").as_posix()
    file = written(tmp_path, more=f", control = '{control}'")
    words = command("live", file, "--demo-only", "--for", "12", "--json", "--no-report")
    process = subprocess.Popen(words, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 30
    while time.monotonic() < end and not (
        (tmp_path / "book.sqlite").exists() and len(BookView.read(tmp_path / "book.sqlite").deals) >= 2
    ):
        time.sleep(0.1)
    Path(control).write_text(json.dumps([{"kind": "die_after", "calls": ["order_send"], "times": 1}]), encoding="utf-8")
    time.sleep(1.0)
    Path(control).unlink()
    out, err = process.communicate(timeout=60)
    outcome = json.loads(out)
    book = BookView.read(tmp_path / "book.sqlite")

    assert [] == outcome["errors"], err
    assert outcome["fills"] == len(book.deals)
    assert ({}, []) == (book.held(), book.verify())
    tags = [entry.tag for entry in book.orders if entry.status == "filled"]
    assert len(tags) == len(set(tags))


def test_a_healthy_terminal_is_called_healthy(tmp_path: Path, env: dict[str, str]) -> None:
    done = run("mt5", "doctor", written(tmp_path), cwd=tmp_path, env=env)
    listed = json.loads(run("mt5", "symbols", written(tmp_path), "*USD", "--json", cwd=tmp_path, env=env).stdout)

    assert 0 == done.returncode, done.stdout
    assert "healthy" in done.stdout
    assert ["EURUSD", "GBPUSD", "XAUUSD"] == [one["name"] for one in listed]
    assert {(1, 3)} == {(one["swap_mode"], one["swap_rollover3days"]) for one in listed}


@pytest.mark.parametrize(
    ("more", "password", "says"),
    [
        ("", "wrong1", "the broker refused the login of account 1001"),
        (', faults = [{ kind = "button" }]', "secret", "Algo Trading button of the terminal is off; press it"),
        (', faults = [{ kind = "api" }]', "secret", "blocks trading through the Python API"),
        (
            ', faults = [{ kind = "code", code = -10003, text = "no pipe", calls = ["initialize"] }]',
            "secret",
            "no terminal was found",
        ),
        (', server_zone = "Asia/Tokyo", tick = 1', "secret", "module_options"),
    ],
)
def test_the_diagnosis_names_what_is_wrong_and_the_remedy(
    tmp_path: Path, env: dict[str, str], more: str, password: str, says: str
) -> None:
    file = written(tmp_path, more=more)

    done = run("mt5", "doctor", file, "--json", cwd=tmp_path, env=env | {"HERALD_CONNECTORS__MAIN__PASSWORD": password})

    assert 1 == done.returncode
    assert says in done.stdout
    assert json.loads(done.stdout)["healthy"] is False


@pytest.mark.long
def test_a_served_terminal_is_reached_by_address_and_survives_a_client_that_gave_up(tmp_path: Path, env: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"tick_seconds": 0.5, "history_days": 0.05, "control": (tmp_path / "faults.json").as_posix()}
    words = [
        "mt5",
        "serve",
        "--listen",
        f"127.0.0.1:{port}",
        "--token-file",
        "token.txt",
        "--module",
        "herald.testing.mt5.terminal",
    ]
    served = subprocess.Popen(
        [sys.executable, "-m", "herald", *words, "--module-options", json.dumps(options)],
        cwd=tmp_path, env=env | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert served.stdout is not None
        said = served.stdout.readline()
        assert f"127.0.0.1:{port}".encode() in said, said
        token = (tmp_path / "token.txt").read_text(encoding="utf-8").strip()
        file = tmp_path / "served.toml"
        text = FILE.format(mode="hedging", book="unused", more="")
        lines = [line for line in text.splitlines() if not line.startswith("module")]
        place = lines.index('use            = "mt5"')
        lines[place + 1 : place + 1] = [f'address = "127.0.0.1:{port}"', "timeout_seconds = 1.0"]
        file.write_text("\n".join(lines), encoding="utf-8")
        (tmp_path / "flip.py").write_text(STRATEGY, encoding="utf-8")
        own = env | {"HERALD_CONNECTORS__MAIN__TOKEN": token}

        healthy = run("mt5", "doctor", file, cwd=tmp_path, env=own)
        (tmp_path / "faults.json").write_text(
            json.dumps([{"kind": "slow", "calls": ["account_info"], "seconds": 60.0}]), encoding="utf-8"
        )
        hung = run("mt5", "doctor", file, cwd=tmp_path, env=own)
        (tmp_path / "faults.json").unlink()
        end, again = time.monotonic() + 10, hung
        while again.returncode and time.monotonic() < end:
            again = run("mt5", "doctor", file, cwd=tmp_path, env=own)
        wrong = run("mt5", "doctor", file, cwd=tmp_path, env=own | {"HERALD_CONNECTORS__MAIN__TOKEN": "x" * 32})

        assert (0, 1, 0, 1) == (healthy.returncode, hung.returncode, again.returncode, wrong.returncode)
        assert "gave no answer to account_info (limit 1 s)" in " ".join(hung.stdout.split())
        assert "has another token" in " ".join(wrong.stdout.split())
    finally:
        served.send_signal(signal.SIGTERM if os.name != "nt" else signal.SIGBREAK)  # type: ignore[attr-defined]
        served.communicate(timeout=20)
    assert 0 == served.returncode


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serve", "--listen", "0.0.0.0:0", "--token-file", "t"], "use a tunnel"),
        (["serve", "--listen", "nowhere", "--token-file", "t"], "is no address"),
        (["serve", "--listen", "127.0.0.1:0", "--token-file", "t", "--module-options", "["], "write a JSON object"),
        (["doctor", "nothing.toml"], "nothing.toml"),
    ],
)
def test_what_cannot_be_served_or_examined_ends_in_one_line(
    tmp_path: Path, env: dict[str, str], words: list[str], says: str
) -> None:
    done = run("mt5", *words, cwd=tmp_path, env=env)

    assert done.returncode
    assert says in done.stderr
