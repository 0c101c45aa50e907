"""Kill Herald, the terminal process and the terminal in turn while orders go through MetaTrader 5.

    python tests/faults/mt5_kill_loop.py --kills 1000 [--mode netting] [--seed N]

The run is the ordinary `herald live` with the mt5 connector. The broker's book outlives all three; counts come from it. A death of
Herald takes the terminal process with it, as a child; the process is killed from outside at random moments while Herald goes on;
and the terminal dies by itself, before a request is carried out or after it and before the answer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

import msgspec

from herald.clock import WallClock
from herald.host.plan import load_plan
from herald.model import Alerted, Intended, OrderChanged, OrderStatus, Record, RunBegan
from herald.plugins.journal.inspection import JournalFile
from herald.testing.simbroker.book import BookView
from herald.testing.simbroker.terms import Symbol, Terms

sys.path.insert(0, str(Path(__file__).parent))
import kill_loop as common

KINDS = ("herald", "server", "terminal before", "terminal after", "answer lost")
SYMBOLS: list[dict[str, Any]] = [
    {"name": "EURUSD", "currency_base": "EUR", "price": 1.1},
    {"name": "GBPUSD", "currency_base": "GBP", "price": 1.3},
    {"name": "XAUUSD", "currency_base": "XAU", "price": 1_800.0, "digits": 2, "trade_contract_size": 100.0, "spread": 20},
]
_MOST_RUNS = 5
"""Runs in which everything must be settled, and as many in which it must be closed: each has `stop_seconds` for that, which on an
overloaded machine is too little for one."""
CONNECTOR = """[connectors.main]
use             = "mt5"
login           = 1001
server          = "Sim-Demo"
module          = "herald.testing.mt5.terminal"
module_options  = {options}
poll_seconds    = 0.005
timeout_seconds = 2.0
settle_seconds  = 0.5
order_check     = false
connect_seconds = 5.0
"""


class MT5Verdict(common.Verdict):
    """What came of it, and of every order that was in doubt.

    Attributes:
        unknown: Orders whose answer was lost.
        told: Of those, how many a person was told about.
        orphaned: Orders that a death left without an outcome.
        became: What both became in the end, by status.
        settlings: Runs until nothing was in doubt.
        flattenings: Runs until nothing was held or in doubt.
    """

    unknown: int = 0
    told: int = 0
    orphaned: int = 0
    became: dict[str, int] = {}
    settlings: int = 0
    flattenings: int = 0


class _Broker:
    """The book of the simulated terminal, as `kill_loop.Loop` asks for a broker's."""

    def __init__(self, path: Path, control: Path) -> None:
        self._path = path
        self.control = self
        self.terms = Terms(
            token="unused",
            control_token="none",
            settle_seconds=1.25,
            symbols=tuple(
                Symbol(
                    symbol=one["name"], base=one["currency_base"], price=one["price"], digits=one.get("digits", 5),
                    contract_size=one.get("trade_contract_size", 100_000.0),
                )
                for one in SYMBOLS
            ),
        )  # fmt: skip
        self._control = control

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Switch the terminal's faults."""
        scratch = self._control.with_suffix(".tmp")
        scratch.write_text(json.dumps(faults), encoding="utf-8")
        scratch.replace(self._control)

    def book(self) -> BookView:
        """Return the book with orders under the tags that were asked for."""
        book = BookView.read(self._path)
        orders = tuple(
            msgspec.structs.replace(
                one, asked=json.loads(one.asked)[1] if one.asked else "", tag=json.loads(one.tag)[1] if one.tag else ""
            )
            for one in book.orders
        )
        return msgspec.structs.replace(book, orders=orders)

    def book_size(self) -> int:
        """Return how many orders there are; 0 before the first terminal has made the book."""
        try:
            return len(BookView.read(self._path).orders)
        except (FileNotFoundError, sqlite3.OperationalError, TypeError):
            return 0

    def stop(self) -> None:
        """Nothing runs."""


class MT5Loop(common.Loop):
    """Many runs over one book of MetaTrader 5."""

    def __init__(self, terms: common.Terms, folder: Path) -> None:
        """Write the config."""
        self.terms = terms
        self.folder = folder
        self.state_folder = folder / "state"
        self.journal = self.state_folder / "journal.sqlite"
        self.errors = []
        self.missed, self.hits, self.kills = Counter(), Counter(), 0
        self._settlings = self._flattenings = 0
        self._random = random.Random(terms.seed)
        control = folder / "faults.json"
        control.write_text("[]", encoding="utf-8")
        options = {
            "margin_mode": terms.mode, "tick_seconds": 0.05, "history_days": 0.001, "book": str(folder / "book.sqlite"),
            "control": str(control), "symbols": SYMBOLS, "seed": terms.seed,
        }  # fmt: skip
        self.broker = _Broker(folder / "book.sqlite", control)  # type: ignore[assignment]
        told = common.CONFIG.format(address="x:1", strategies=json.dumps(str(Path(__file__).parent / "strategies")), timeout=1)
        begin, end = told.index("[connectors.main]"), told.index("[[connectors.main.middleware]]")
        self.file = folder / "live.toml"
        self.file.write_text(told[:begin] + CONNECTOR.format(options=_toml(options)) + told[end:], encoding="utf-8")
        self._log = folder / "runs.log"
        os.environ["HERALD_CONNECTORS__MAIN__PASSWORD"] = "secret"
        load_plan(self.file)

    def run(self, tell: Callable[[str], None] = lambda text: None) -> MT5Verdict:
        """Bring all deaths about, settle, and return what the books say."""
        clock, draw = WallClock(), self._random
        began = clock.monotonic()
        rounds = 0
        while self.kills < self.terms.kills and len(self.errors) < 20:
            rounds += 1
            self._live_and_die(clock, draw)
            self._resume()
            if rounds % 10 == 0:
                tell(f"{self.kills} kills, {self.kills / (clock.monotonic() - began):.1f} a second")
        seconds = clock.monotonic() - began
        self.broker.control.set_faults()
        self._settle()
        verdict = self.verdict()
        verdict.seconds = seconds
        return verdict

    def _settle(self) -> None:
        """Let runs find out what became of everything, then let others close it, until the broker's book and the journal say so."""
        rest = {"HERALD_STRATEGIES__CHURN__REST": "true"}
        for self._settlings in range(1, _MOST_RUNS + 1):
            self._calmly("settling", **rest, HERALD_STRATEGIES__CHURN__CLOSE="false")
            if not self._judged().unresolved:
                break
        self.errors += self._compare("after settling")
        for self._flattenings in range(1, _MOST_RUNS + 1):
            self._calmly("flattening", **rest, HERALD_HERALD__ON_STOP="flatten")
            if not (self._judged().unresolved or self.broker.book().held()):
                break
        self._resume_check()

    def verdict(self) -> MT5Verdict:
        """Compare broker, journal and engine, and follow every order that was in doubt."""
        with JournalFile(self.journal) as journal:
            doubts = follow([record for _, record in journal.read()])
        found = msgspec.structs.asdict(super().verdict())
        return MT5Verdict(**found, **doubts, settlings=self._settlings, flattenings=self._flattenings)

    def _live_and_die(self, clock: WallClock, draw: random.Random) -> None:
        """Start a run, kill what is beside it a few times, then the run itself."""
        self.broker.control.set_faults()
        known = self.broker.book_size()
        pid = self.start(120.0)
        end = clock.monotonic() + 30.0
        while self.broker.book_size() <= known and clock.monotonic() < end:
            clock.sleep(0.05)  # nothing is worth a death before there is order traffic
        clock.sleep(draw.uniform(0.1, 1.0))
        for _ in range(draw.randint(1, 4)):
            kind = draw.choice(KINDS[1:])
            if kind == "server":
                child = _terminal_of(pid)
                if child:
                    os.kill(child, signal.SIGKILL)
                    self._count(kind)
            else:
                fault = {"terminal before": "die", "terminal after": "die_after", "answer lost": "lost"}[kind]
                before = self.broker.book_size()
                self.broker.control.set_faults({"kind": fault, "calls": ["order_send"], "times": 1})
                clock.sleep(draw.uniform(0.2, 0.6))
                self.broker.control.set_faults()
                if kind == "terminal before" or self.broker.book_size() > before:
                    self._count(kind)
            clock.sleep(draw.uniform(0.3, 1.2))
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            self.errors.append(f"a run ended with code {code} by itself: {self._last_words()}")
            return
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._count("herald")

    def _count(self, kind: str) -> None:
        self.kills += 1
        self.hits[kind] += 1


def follow(records: Sequence[Record]) -> dict[str, Any]:
    """Return what the journal says of orders in doubt; the keys are fields of `MT5Verdict`."""
    last: dict[str, OrderStatus] = {}
    unknown: set[str] = set()
    orphaned: set[str] = set()
    told: set[str] = set()
    for record in records:
        match record:
            case Intended(request=request):
                last[request.id] = OrderStatus.PENDING
            case OrderChanged(order=order):
                last[order.id] = order.status
                if order.status is OrderStatus.UNKNOWN:
                    unknown.add(order.id)
            case Alerted(code="order_unknown", text=text):
                told.add(text.split()[1])
            case RunBegan():
                orphaned |= {name for name, status in last.items() if status in (OrderStatus.PENDING, OrderStatus.SENT)}
    doubted: Set[str] = unknown | orphaned
    return {
        "unknown": len(unknown),
        "told": len(told & unknown),
        "orphaned": len(orphaned - unknown),
        "became": dict(Counter(str(last[name]) for name in sorted(doubted))),
    }


def _terminal_of(pid: int) -> int:
    """Return the process of the terminal that a run has started; 0 where there is none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return 0
    for child in map(int, children):
        try:
            if b"server.py" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        except OSError:
            continue
    return 0


def _toml(value: Any) -> str:
    """Return a value as an inline TOML value."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return json.dumps(value)


def doubts(verdict: MT5Verdict) -> str:
    """Return what came of the orders in doubt as text."""
    became = ", ".join(f"{count} {status}" for status, count in sorted(verdict.became.items()))
    return (
        f"in doubt     {verdict.unknown} without an answer, {verdict.told} of them told; {verdict.orphaned} left by a death; "
        f"became {became or 'nothing'}\n"
        f"the end      settled by run {verdict.settlings}, flat by run {verdict.flattenings}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the loop; return 0 where nothing is wrong."""
    parser = argparse.ArgumentParser(
        description="Kill Herald, the terminal process and the terminal; count what was lost or doubled."
    )
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--mode", choices=("netting", "hedging"), default="hedging")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder to leave everything in")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if not Path("/proc/self/task").exists() or not hasattr(os, "fork"):
        parser.error("this loop looks for processes in /proc; run it on Linux")
    terms = common.Terms(given.kills, False, given.mode, given.seed, KINDS)
    folder = Path(tempfile.mkdtemp(prefix="mt5-kill-loop-")) if given.keep is None else given.keep
    folder.mkdir(parents=True, exist_ok=True)
    import herald.cli.live
    import herald.runtime.live  # noqa: F401 - once, for every fork

    loop = MT5Loop(terms, folder)
    try:
        verdict = loop.run(lambda text: None if given.json else print(text, flush=True))
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(msgspec.json.encode(verdict).decode() if given.json else f"{common.table(terms, verdict)}\n{doubts(verdict)}")
    return int(not verdict.is_clean)


if __name__ == "__main__":
    sys.exit(main())
