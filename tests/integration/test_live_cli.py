"""`herald paper` and `herald live` as a user runs them: started, stopped, started again, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herald.host.plan import load_plan
from herald.live.state import TradingState
from herald.runtime.live import LiveRun
from herald.testing.simbroker import SimBroker

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "herald", *map(str, words)]


def run(*words: object, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*words), cwd=cwd, env=env, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    """Return the paper example in a folder of its own, as fast as it goes and a month long."""
    text = (ROOT / "examples" / "paper.toml").read_text(encoding="utf-8")
    text = text.replace('"data/', f'"{(ROOT / "examples" / "data").as_posix()}/').replace(
        "speed        = 172_800", "end = 2021-03-01"
    )
    file = tmp_path / "paper.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_paper_run_on_recorded_data_ends_with_it_and_leaves_results(
    paper: Path, tmp_path: Path, clean_env: dict[str, str]
) -> None:
    done = run("paper", paper, "--json", "--no-report", cwd=tmp_path, env=clean_env)
    outcome = json.loads(done.stdout)

    assert (0, "completed", []) == (done.returncode, outcome["status"], outcome["errors"])
    assert outcome["fills"] > 5
    assert {"journal.sqlite", "paper-main.sqlite"} <= {path.name for path in (tmp_path / "paper-state").iterdir()}
    listed = json.loads(run("runs", "list", "--json", cwd=tmp_path, env=clean_env).stdout)
    assert 1 == len(listed)
    assert 0 == run("journal", "verify", tmp_path / "paper-state" / "journal.sqlite", cwd=tmp_path, env=clean_env).returncode


def test_the_same_file_is_a_backtest_with_another_verb(paper: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    tested = json.loads(run("backtest", paper, "--json", "--no-report", cwd=tmp_path, env=clean_env).stdout)

    assert "completed" == tested["status"]
    assert tested["statistics"]["total_trades"] > 20


def test_a_second_start_goes_on_with_the_account(paper: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    text = paper.read_text(encoding="utf-8")
    paper.write_text(text.replace("end = 2021-03-01", "end = 2021-02-15"), encoding="utf-8")
    first = json.loads(run("paper", paper, "--json", "--no-report", cwd=tmp_path, env=clean_env).stdout)
    paper.write_text(text, encoding="utf-8")
    second = json.loads(run("paper", paper, "--json", "--no-report", cwd=tmp_path, env=clean_env).stdout)
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "paper.toml").write_text(text, encoding="utf-8")
    at_once = json.loads(run("paper", whole / "paper.toml", "--json", "--no-report", cwd=whole, env=clean_env).stdout)

    assert "completed" == first["status"] == second["status"]
    assert first["fills"] > 0
    assert at_once["fills"] == first["fills"] + second["fills"]
    assert at_once["account"]["equity"] == pytest.approx(second["account"]["equity"], abs=1e-6)


def test_a_killed_run_is_reconciled_by_the_next(paper: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    text = paper.read_text(encoding="utf-8").replace("end = 2021-03-01", "speed = 500_000")
    paper.write_text(text, encoding="utf-8")
    child = subprocess.Popen(command("paper", paper, "--quiet"), cwd=tmp_path, env=clean_env)
    journal = tmp_path / "paper-state" / "journal.sqlite-wal"
    end = time.monotonic() + PATIENCE
    while not (journal.exists() and journal.stat().st_size > 20_000) and time.monotonic() < end:
        time.sleep(0.05)
    child.kill()
    child.wait(PATIENCE)

    found = run("reconcile", paper, "--json", cwd=tmp_path, env=clean_env)

    assert 0 == found.returncode, found.stdout + found.stderr
    assert ([], []) == ((outcome := json.loads(found.stdout))["findings"], outcome["errors"])


@pytest.mark.skipif(sys.platform == "win32", reason="a signal cannot be sent to one process there")
def test_ctrl_c_stops_in_order_and_says_so(paper: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    paper.write_text(paper.read_text(encoding="utf-8").replace("end = 2021-03-01", "speed = 100_000"), encoding="utf-8")
    child = subprocess.Popen(
        command("paper", paper, "--no-report"),
        cwd=tmp_path,
        env=clean_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    state = tmp_path / "paper-state" / "paper-main.sqlite"
    end = time.monotonic() + PATIENCE
    while not state.exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1.0)  # the run is under way; when exactly it is told does not matter
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE)

    assert 130 == child.returncode, err
    assert "stopped; its state is kept" in err
    assert "Traceback" not in err
    assert "results" in out


def test_two_runs_on_one_account_are_refused(paper: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    paper.write_text(paper.read_text(encoding="utf-8").replace("end = 2021-03-01", "speed = 10_000"), encoding="utf-8")
    child = subprocess.Popen(command("paper", paper, "--quiet"), cwd=tmp_path, env=clean_env)
    try:
        end = time.monotonic() + PATIENCE
        while not (tmp_path / "paper-state" / "journal.sqlite").exists() and time.monotonic() < end:
            time.sleep(0.05)
        second = run("paper", paper, "--quiet", "--for", "1", cwd=tmp_path, env=clean_env)
    finally:
        child.kill()
        child.wait(PATIENCE)

    assert 4 == second.returncode
    assert "is in use by" in second.stderr
    assert str(child.pid) in second.stderr


def test_a_halt_is_obeyed_by_a_run_and_lifted_with_a_reason(paper: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    assert 0 == run("halt", paper, "--why", "lunch", cwd=tmp_path, env=clean_env).returncode

    halted = json.loads(run("paper", paper, "--json", "--no-report", cwd=tmp_path, env=clean_env).stdout)
    (folder,) = [Path(halted["folder"])]
    denied = (tmp_path / folder / "orders.csv").read_text(encoding="utf-8")

    assert 0 == halted["fills"]
    assert halted["orders"] > 0
    assert "trading_state" in denied or "state_halted" in denied


def test_a_journal_of_another_account_is_refused(paper: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    run("paper", paper, "--quiet", "--no-report", cwd=tmp_path, env=clean_env)
    for path in (tmp_path / "paper-state").glob("paper-main*"):
        path.unlink()

    done = run("paper", paper, "--quiet", cwd=tmp_path, env=clean_env)

    assert 4 == done.returncode
    assert "journal: it was kept for account 'paper-" in done.stderr
    assert "begin a new journal" in done.stderr


TOGETHER = '''
"""A recorded source that tells the quotes of a second together, and a strategy that buys once."""
from herald import HistoryConnector, Instrument, Quote, Settings, Strategy, component, hookimpl
from herald.contracts import Capabilities
from herald.model import DataEnded

START = 1_700_000_000_000_000_000


class Fields(Settings):
    pass


class Together(HistoryConnector):
    def __init__(self, settings, services):
        self.second = 0

    def capabilities(self):
        return Capabilities(history=True, streaming=True, lockstep=True, starts_at=START)

    def instruments(self):
        return [Instrument(symbol=s, quote="USD", price_step=0.01, size_step=0.01, min_size=0.01) for s in ("AAA", "BBB")]

    def subscribe(self, feeds):
        pass

    def poll(self):
        self.second += 1
        now = START + self.second * 1_000_000_000
        if self.second > 20:
            return (DataEnded(now, "main"),) if self.second == 21 else ()
        return [Quote("AAA", now, 10.0 + self.second, 10.01 + self.second), Quote("BBB", now, 5.0, 5.01)]


class Once(Strategy):
    def on_quote(self, quote, ctx):
        if not ctx.position(quote.symbol).size and not ctx.orders(quote.symbol) and quote.bid != 5.0:
            ctx.buy(quote.symbol, 1.0)


@hookimpl
def herald_connectors():
    yield component("together", Fields, Together)


@hookimpl
def herald_strategies():
    yield component("once", Fields, Once)
'''

TOGETHER_FILE = """
[herald]
mode = "paper"
[plugins]
paths = ["."]
[connectors.main]
use = "together"
poll_seconds = 0.001
[strategies.once]
use       = "once"
symbols   = ["AAA", "BBB"]
timeframe = "1m"
[live]
warmup_bars = 0
"""


def test_quotes_that_come_together_fill_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(TOGETHER, encoding="utf-8")
    file = tmp_path / "paper.toml"
    file.write_text(TOGETHER_FILE, encoding="utf-8")
    run = LiveRun(load_plan(file))

    result = run.run(lambda: False)

    # Asked for on the first quote, bid 11; filled on the second, at its ask.
    assert [("AAA", 12.01, 1_700_000_002 * 10**9)] == [(fill.symbol, fill.price, fill.time) for fill in result.fills]
    assert [] == list(result.errors)


def test_the_checks_of_a_second_run_know_what_the_first_one_did(paper: Path) -> None:
    text = paper.read_text(encoding="utf-8")
    paper.write_text(text.replace("end = 2021-03-01", "end = 2021-02-15"), encoding="utf-8")
    one = LiveRun(load_plan(paper))
    first = one.run(lambda: False)
    paper.write_text(text.replace("end = 2021-03-01", "end = 2021-02-16"), encoding="utf-8")
    two = LiveRun(load_plan(paper))
    second = two.run(lambda: False)
    three = LiveRun(load_plan(paper))
    three.run(lambda: False)

    def sent_by(run: LiveRun) -> list[tuple[int, str]]:
        return [(at, request.id) for at, request in run.engine.view.requests_since(0)]

    sent = sent_by(one)
    assert [order.id for order in first.orders] == [name for _, name in sent]
    for later in (two, three):
        view = later.engine.view
        assert sent == sent_by(later)[: len(sent)]
        assert list(first.fills) == list(view.fills_since(0))[: len(first.fills)]
        assert list(first.trades) == list(view.trades_since(0))[: len(first.trades)]
    assert len(three.engine.view.fills_since(0)) == len(first.fills) + len(second.fills)
    assert not set(first.fills) & set(second.fills)


def test_a_strategy_that_left_the_file_with_an_open_position_is_missed(
    paper: Path, tmp_path: Path, clean_env: dict[str, str]
) -> None:
    paper.write_text(paper.read_text(encoding="utf-8").replace("end = 2021-03-01", "end = 2021-02-08"), encoding="utf-8")
    first = json.loads(run("paper", paper, "--json", "--no-report", cwd=tmp_path, env=clean_env).stdout)
    paper.write_text(paper.read_text(encoding="utf-8").replace("[strategies.trend]", "[strategies.other]"), encoding="utf-8")

    done = run("paper", paper, "--quiet", cwd=tmp_path, env=clean_env)

    assert first["account"]["margin_used"] > 0, "the test needs a position that is open on this day"
    assert 4 == done.returncode
    assert "strategy 'trend' holds" in done.stderr


# --- live, against a broker in a process of its own

STRATEGY = '''
"""Buys on a quote, sells on the next but two."""

from herald import Settings, Strategy, component, hookimpl


class Fields(Settings):
    every: int = 3


class Flip(Strategy):
    def on_start(self, ctx):
        self.count = 0

    def on_quote(self, quote, ctx):
        self.count += 1
        if self.count % self.settings.every or ctx.orders(quote.symbol):
            return
        if ctx.position(quote.symbol).size:
            ctx.close(quote.symbol)
        else:
            ctx.buy(quote.symbol, 0.1)


@hookimpl
def herald_strategies():
    yield component("flip", Fields, Flip, "For tests.")
'''

LIVE = """
[herald]
mode    = "live"
on_stop = "flatten"

[plugins]
paths = ["."]
require_lock = false

[connectors.main]
use          = "simbroker"
address      = "{address}"
poll_seconds = 0.02

[strategies.flip]
use       = "flip"
symbols   = ["EURUSD"]
timeframe = "1m"

[[risk]]
use  = "risk.max_order_size"
lots = 1000
[[risk]]
use      = "risk.max_daily_loss"
fraction = 0.99
[[risk]]
use      = "risk.max_drawdown"
fraction = 0.99
[[risk]]
use         = "risk.duplicate_order"
seconds     = 0.001

[[risk]]
use   = "risk.max_orders_per_minute"
limit = 100_000

[live]
account     = "{account}"
server      = "Sim-Demo"
real        = false
warmup_bars = 5
"""


@pytest.fixture(params=["netting", "hedging"])
def broker(request: Any, tmp_path: Path) -> Iterator[SimBroker]:
    with SimBroker.start(
        tmp_path / "book.sqlite", mode=request.param, tick_seconds=0.05, settle_seconds=0.5, history_days=0.02
    ) as one:
        yield one


def live_file(broker: SimBroker, folder: Path, account: str = "1001") -> Path:
    (folder / "flip.py").write_text(STRATEGY, encoding="utf-8")
    file = folder / "live.toml"
    file.write_text(LIVE.format(address=broker.address, account=account), encoding="utf-8")
    return file


def test_a_live_run_trades_and_leaves_the_account_flat(broker: SimBroker, tmp_path: Path, clean_env: dict[str, str]) -> None:
    file = live_file(broker, tmp_path)
    env = clean_env | {"HERALD_CONNECTORS__MAIN__TOKEN": broker.terms.token}

    done = run("live", file, "--confirm", "1001", "--for", "5", "--json", "--no-report", cwd=tmp_path, env=env)
    outcome = json.loads(done.stdout)
    book = broker.book()

    assert [] == outcome["errors"], done.stderr
    assert outcome["fills"] > 4
    assert outcome["fills"] == len(book.deals)
    assert ({}, []) == (book.held(), book.verify())


SECOND = """
[connectors.other]
use          = "simbroker"
address      = "{address}"
poll_seconds = 0.02

[strategies.flop]
use       = "flip"
connector = "other"
symbols   = ["GBPUSD"]
timeframe = "1m"

[live.accounts.other]
account = "{account}"
server  = "Sim-Demo"
real    = false
"""


def test_a_run_trades_two_accounts_and_each_is_pinned(tmp_path: Path, clean_env: dict[str, str]) -> None:
    options: dict[str, Any] = {"tick_seconds": 0.05, "settle_seconds": 0.5, "history_days": 0.02}
    with (
        SimBroker.start(tmp_path / "one.sqlite", **options) as one,
        SimBroker.start(tmp_path / "two.sqlite", account="1002", **options) as two,
    ):
        file = live_file(one, tmp_path)
        first = file.read_text(encoding="utf-8").replace("symbols ", 'connector = "main"\nsymbols ')
        env = clean_env | {
            "HERALD_CONNECTORS__MAIN__TOKEN": one.terms.token,
            "HERALD_CONNECTORS__OTHER__TOKEN": two.terms.token,
        }

        file.write_text(first + SECOND.format(address=two.address, account="1003"), encoding="utf-8")
        wrong = run("live", file, "--demo-only", "--for", "2", cwd=tmp_path, env=env)
        file.write_text(first + SECOND.format(address=two.address, account="1002"), encoding="utf-8")
        half = run("live", file, "--confirm", "1001", cwd=tmp_path, env=env)
        words = ("--confirm", "1001", "--confirm", "1002", "--for", "5", "--json", "--no-report")
        done = run("live", file, *words, cwd=tmp_path, env=env)

        assert "live.accounts.other.account: the file says '1003', connector other reports '1002'" in wrong.stderr
        assert "the file trades account '1001' and '1002', --confirm says '1001'" in half.stderr
        outcome = json.loads(done.stdout)
        assert [] == outcome["errors"], done.stderr
        books = one.book(), two.book()
        assert outcome["fills"] == sum(len(book.deals) for book in books)
        assert all(len(book.deals) > 2 and not book.held() for book in books)


def test_two_connectors_of_one_account_are_refused(tmp_path: Path, clean_env: dict[str, str]) -> None:
    with SimBroker.start(tmp_path / "one.sqlite", history_days=0.02) as broker:
        file = live_file(broker, tmp_path)
        first = file.read_text(encoding="utf-8").replace("symbols ", 'connector = "main"\nsymbols ')
        file.write_text(first + SECOND.format(address=broker.address, account="1001"), encoding="utf-8")
        env = clean_env | {f"HERALD_CONNECTORS__{name}__TOKEN": broker.terms.token for name in ("MAIN", "OTHER")}

        done = run("live", file, "--demo-only", "--for", "2", cwd=tmp_path, env=env)

    assert 4 == done.returncode
    assert "connectors.other: trades account '1001' at 'Sim-Demo', as connector main does" in done.stderr


def test_another_account_than_the_files_is_refused(broker: SimBroker, tmp_path: Path, clean_env: dict[str, str]) -> None:
    file = live_file(broker, tmp_path, account="2002")
    env = clean_env | {"HERALD_CONNECTORS__MAIN__TOKEN": broker.terms.token}

    done = run("live", file, "--confirm", "2002", "--for", "2", cwd=tmp_path, env=env)

    assert 4 == done.returncode
    assert "live.account: the file says '2002', connector main reports '1001'" in done.stderr
    assert () == tuple(broker.book().orders)


def test_real_money_needs_the_number_of_the_account(tmp_path: Path, clean_env: dict[str, str]) -> None:
    (tmp_path / "flip.py").write_text(STRATEGY, encoding="utf-8")
    file = tmp_path / "live.toml"
    file.write_text(LIVE.format(address="127.0.0.1:1", account="1001"), encoding="utf-8")
    env = clean_env | {"HERALD_CONNECTORS__MAIN__TOKEN": "x" * 16}

    none = run("live", file, cwd=tmp_path, env=env)
    wrong = run("live", file, "--confirm", "1002", cwd=tmp_path, env=env)

    assert (4, 4) == (none.returncode, wrong.returncode)
    assert "the file trades account '1001', --confirm says nothing; repeat the number: --confirm 1001" in none.stderr
    assert "--confirm says '1002'" in wrong.stderr


def test_a_broker_that_is_not_there_ends_in_one_line(tmp_path: Path, clean_env: dict[str, str]) -> None:
    (tmp_path / "flip.py").write_text(STRATEGY, encoding="utf-8")
    file = tmp_path / "live.toml"
    file.write_text(LIVE.format(address="127.0.0.1:1", account="1001") + "connect_seconds = 1\n", encoding="utf-8")

    done = run(
        "live",
        file,
        "--demo-only",
        "--for",
        "2",
        "--quiet",
        cwd=tmp_path,
        env=clean_env | {"HERALD_CONNECTORS__MAIN__TOKEN": "x" * 16},
    )

    assert 1 == done.returncode
    assert "no connection to the broker at 127.0.0.1:1" in done.stderr


def test_a_paper_file_cannot_be_raised_to_live(paper: Path, tmp_path: Path, clean_env: dict[str, str]) -> None:
    done = run("live", paper, "--confirm", "1", cwd=tmp_path, env=clean_env)

    assert 4 == done.returncode
    assert 'the file says "paper"; a command may lower that, not raise it to "live"' in done.stderr
    assert not (tmp_path / "paper-state").exists() or os.name == "nt"


def test_the_live_view_shows_what_is_held_what_works_and_how_everything_stands(paper: Path) -> None:
    from collections import deque

    from rich.console import Console

    from herald.cli.live import _picture, _view

    pictures: list[str] = []

    def show(run: LiveRun) -> None:
        console = Console(width=110, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        with console.file:
            console.print(_picture(run, deque(["2024-01-31T12:00:00Z  one line of news"])))
        pictures.append(console.export_text())

    run = LiveRun(load_plan(paper), tick=lambda run: None)
    held = lambda: any(book.size and book.working for book in run.engine.ledger.books.values())  # noqa: E731

    def stop() -> bool:
        if hasattr(run, "desk") and held():
            run.state.set("symbol:GBPUSD", TradingState.REDUCING, "test", "a test")
            show(run)
            return True
        return False

    run.run(stop)
    show(run)

    picture = pictures[0]
    for word in ("equity", "trend", "GBPUSD", "stop", "sell", "main ready", "journal ok", "GB free", "one line of news"):
        assert word in picture, picture
    assert "symbol:GBPUSD is REDUCING since" in picture
    assert "main ended" in pictures[-1]
    assert all(len(line.rstrip()) <= 107 for line in picture.splitlines())  # room for the ^C that a terminal echoes
    with _view(shown=False) as nothing:
        assert nothing is None
