"""From SIGKILL to READY: how long a killed live run takes to be back, with 10,000 orders in its journal.

A journal that the live run made is given 10,000 orders more, each with its intent, its confirmation, its execution and its end,
none of them in a snapshot. Then `herald live` is started, killed while it trades, started again, and so on. The time runs from
the kill to the moment at which the next process has compared the broker's account with its books - it is READY, and writes that
down - and holds everything: a start of Python, the imports, the config, the journal, the login, the list of executions.

Run: ``python benchmarks/recovery.py`` (about a minute); ``--snapshot`` with a snapshot behind the orders, as a run takes every
10,000 records.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from herald.live.tags import client_tag
from herald.model import Fill, Intended, Order, OrderChanged, OrderRequest, OrderStatus, Record, Side, Traded
from herald.plugins.journal.sqlite import JournalSettings, SqliteJournal
from herald.testing import make_services
from herald.testing.simbroker import SimBroker

GOAL_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
PLUGIN = '''
"""Buys on one quote and sells on the next but one."""

from herald import Settings, Strategy, component, hookimpl


class Nothing(Settings):
    pass


class Flip(Strategy):
    def on_quote(self, quote, ctx):
        if not ctx.orders(quote.symbol):
            if ctx.position(quote.symbol).size:
                ctx.close(quote.symbol)
            else:
                ctx.buy(quote.symbol, 0.1)


@hookimpl
def herald_strategies():
    yield component("flip", Nothing, Flip)
'''
CONFIG = """
[herald]
mode    = "live"
on_stop = "leave"
[plugins]
paths = ["."]
require_lock = false
[connectors.main]
use          = "simbroker"
address      = "{address}"
poll_seconds = 0.02
[strategies.flip]
use       = "flip"
symbols   = ["EURUSD", "GBPUSD"]
timeframe = "1m"
[[risk]]
use   = "risk.max_orders_per_minute"
limit = 1000000
[[risk]]
use        = "risk.repeated_execution"
executions = 1000000
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
account = "1001"
server  = "Sim-Demo"
real    = false
"""


def grow(folder: Path, count: int) -> int:
    """Append *count* orders to the journal of a run that was stopped; return how many records it has then."""
    journal = SqliteJournal(JournalSettings(file="state/journal.sqlite"), make_services(base=str(folder)))
    now = time.time_ns() - 3_600 * 10**9
    batch: list[Record] = []
    number = 0
    for place in range(count):
        name = f"flip-{place + 100_000:06d}"
        side = Side.SELL if place % 2 else Side.BUY
        request = OrderRequest(name, "flip", "EURUSD", side, 0.1, client_tag=client_tag(journal.id, "1001", name))
        accepted = Order(request, OrderStatus.ACCEPTED, now, f"{place + 1}")
        fill = Fill(f"h{place}", name, "EURUSD", side, 0.1, 1.1, 0.0, "USD", now)
        filled = Order(request, OrderStatus.FILLED, now, f"{place + 1}", 0.1, 1.1)
        batch += [
            Intended(now, "main", request, 1),
            OrderChanged(now, "main", accepted),
            Traded(now, "main", fill),
            OrderChanged(now, "main", filled),
        ]
        now += 10**6
        if len(batch) >= 4_000 or place == count - 1:
            number = journal.append(batch)
            batch = []
    journal.close()
    return number


class Runs:
    """Starts and kills the run."""

    def __init__(self, folder: Path, broker: SimBroker) -> None:
        self.folder = folder
        self.journal = folder / "state" / "journal.sqlite"
        self.environment = {
            **os.environ,
            "HERALD_CONNECTORS__MAIN__TOKEN": broker.terms.token,
            "XDG_STATE_HOME": str(folder / "home"),
        }
        (folder / "flip.py").write_text(PLUGIN, encoding="utf-8")
        self.file = folder / "live.toml"
        self.file.write_text(CONFIG.format(address=broker.address), encoding="utf-8")

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the run."""
        command = [sys.executable, "-m", "herald", "live", str(self.file), "--demo-only", "--quiet", "--no-report", *options]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment)

    def seen(self) -> int:
        """Return the number of the last statement of the account in the journal; 0 where there is none."""
        with contextlib.closing(sqlite3.connect(self.journal)) as connection:
            found = connection.execute("SELECT max(number) FROM records WHERE kind = 'AccountSeen'").fetchone()[0]
        return int(found or 0)

    def await_ready(self, before: int, process: subprocess.Popen[bytes]) -> None:
        """Return once the run has compared the account.

        Raises:
            RuntimeError: It ended, or takes for ever.
        """
        end = time.perf_counter() + PATIENCE_SECONDS
        while self.seen() <= before:
            if process.poll() is not None or time.perf_counter() > end:
                raise RuntimeError(f"the run ended with code {process.poll()} before it was ready")
            time.sleep(0.005)


def measure(kills: int, orders: int, *, snapshot: bool) -> list[float]:
    """Return the seconds from each kill to READY."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with SimBroker.start(
            folder / "book.sqlite", mode="netting", tick_seconds=0.05, settle_seconds=0.5, history_days=0.1, balance=1e6
        ) as broker:
            runs = Runs(folder, broker)
            runs.start("--for", "2").wait()
            records = grow(folder, orders)
            if snapshot:
                runs.start("--for", "2").wait()  # an orderly end leaves a snapshot
            print(f"{orders:,} orders, {records:,} records, {'a' if snapshot else 'no'} snapshot behind them")
            before = runs.seen()
            process = runs.start()
            runs.await_ready(before, process)
            seconds = []
            for _ in range(kills):
                time.sleep(0.3)
                before = runs.seen()
                os.kill(process.pid, signal.SIGKILL)
                begin = time.perf_counter()
                process.wait()
                process = runs.start()
                runs.await_ready(before, process)
                seconds.append(time.perf_counter() - begin)
            process.kill()
            process.wait()
    return seconds


def main() -> int:
    """Print the times; return 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--snapshot", action="store_true")
    given = parser.parse_args()
    seconds = sorted(measure(given.kills, given.orders, snapshot=given.snapshot))
    p95 = seconds[min(int(0.95 * len(seconds)), len(seconds) - 1)]
    median = seconds[len(seconds) // 2]
    word = "" if p95 <= GOAL_SECONDS else " - MISSED"
    print(f"kill to READY: median {median:.2f} s, p95 {p95:.2f} s, worst {seconds[-1]:.2f} s (goal {GOAL_SECONDS:g} s){word}")
    return int(p95 > GOAL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
