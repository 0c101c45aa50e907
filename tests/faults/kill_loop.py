"""Kill the ordinary live run again and again, and count what was lost or sent twice.

    python tests/faults/kill_loop.py --kills 1000 [--no-idempotency] [--mode hedging] [--seed N]

Each round is ``herald live FILE --demo-only --quiet --no-report`` from a config, with its journal on disk, against a
simulated broker: another process, which outlives every round, executes after a delay whether its client is still there or
not, loses replies, and fills in parts. This process has imported Herald once and forks for every round, because a start
of Python takes longer than a round; in the fork the command line is run from its first line on.

A round dies by its own hand at a named point (``HERALD_CRASH_AT``, see `herald.live.crashpoints`) or is killed from
outside at a random moment. At the end one run settles what is open and another flattens; then the broker's own book is
laid beside the journal and beside the books that the engine left in it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from herald.clock import WallClock
from herald.engine.book import Ledger
from herald.errors import AmbiguousError
from herald.host.plan import load_plan
from herald.live.crashpoints import CRASH_AT, POINTS, crash_point
from herald.live.recovery import Past, recover
from herald.live.state import ACCOUNT, StateFile
from herald.model import (
    Instrument,
    Intended,
    Order,
    OrderChanged,
    OrderRequest,
    OrderStatus,
    Record,
    Traded,
)
from herald.plugins.journal.inspection import JournalFile, verify
from herald.testing.simbroker import BookView, Fault, SimBroker

BUGS = ("send_before_commit", "no_settle_window", "repeat_on_timeout", "fills_twice")
"""Mistakes that the loop must catch; each is planted in the killed process only."""

_HERE = Path(__file__).resolve().parent
_ROUND_SECONDS = 1.5
"""After so long a round that has not come to its point is killed from outside."""
_MOST_ERRORS = 20
_SETTLINGS = 3
"""Runs that may be needed until nothing is in doubt: on a slow machine one may have had too little time."""
_SETTLE_SECONDS = 0.3
_DELAY_SECONDS = 0.03
_SLOW_COMMIT_SECONDS = 0.03
"""How much later than the order its intent is written, where that is the planted bug: else the two race, and a loop may
miss it."""
_CHANGES = ("submit", "cancel", "modify")
_ODDS = {"before_resend": "before_send", "after_resend": "before_send"}
"""Points that are only passed after a death at another: an order that was written down and never sent."""
_ENDINGS = ("stopping", "stopped", "before_snapshot", "in_snapshot", "after_snapshot")
_ONCE = (*_ENDINGS, "after_recovery", "reconcile_seen", "reconcile_filled", "mid_partial", "before_cancel", "before_resend")
_MOST_PASSINGS = {"in_recovery": 200, "before_commit": 12, "after_resend": 1, "connected": 1} | dict.fromkeys(_ONCE, 1)

CONFIG = """
[herald]
mode    = "live"
on_stop = "leave"

[plugins]
paths = [{strategies}]
require_lock = false

[connectors.main]
use             = "simbroker"
address         = "{address}"
poll_seconds    = 0.005
timeout_seconds = {timeout}

[[connectors.main.middleware]]
use = "health_monitor"
[[connectors.main.middleware]]
use           = "retry"
max_retries   = 2
initial_delay = 0.02
[[connectors.main.middleware]]
use               = "circuit_breaker"
failure_threshold = 5
timeout           = 0.2
[[connectors.main.middleware]]
use            = "rate_limiter"
max_calls      = 100000
window_seconds = 1.0

[strategies.churn]
use       = "churn"
symbols   = ["EURUSD", "GBPUSD", "XAUUSD"]
timeframe = "1m"

[[risk]]
use     = "risk.duplicate_order"
seconds = 0.001
[[risk]]
use   = "risk.max_orders_per_minute"
limit = 1000000
[[risk]]
use        = "risk.repeated_execution"
executions = 1000000
[[risk]]
use   = "risk.consecutive_losses"
limit = 1000000
[[risk]]
use   = "risk.order_to_fill_ratio"
ratio = 1000000.0
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
use       = "risk.max_orders_per_parent"
limit     = 1000000

[live]
account           = "1001"
server            = "Sim-Demo"
real              = false
warmup_bars       = 0
reconcile_seconds = 0.4
"""


class Terms(NamedTuple):
    """What the loop does.

    Attributes:
        kills: Deaths to bring about.
        idempotent: Whether the broker answers a client tag that it knows with what came of it.
        mode: ``netting`` or ``hedging``.
        seed: Of everything drawn.
        points: Named points to die at.
        bug: One of `BUGS`, or empty.
        random_share: Share of deaths from outside at a random moment.
        enough: Hits of each named point to reach at least, by rounds beyond *kills* if it must be.
    """

    kills: int
    idempotent: bool = True
    mode: str = "netting"
    seed: int = 0
    points: tuple[str, ...] = tuple(POINTS)
    bug: str = ""
    random_share: float = 0.4
    enough: int = 1


class Verdict(msgspec.Struct):
    """What came of it; every count but the first four must be 0.

    Attributes:
        kills: Deaths.
        hits: Deaths at each named point.
        wanted: Orders that the journal says were to be sent.
        booked: Orders of Herald's in the broker's book.
        abandoned: Entries that were given up, by policy: the broker never had them.
        resent: Orders that were sent a second time, by policy: the broker did not have the first.
        filled: Executions in the broker's book.
        lost: What the broker did and the journal does not know, one line each.
        duplicates: What the broker did twice, or the books hold and the broker does not.
        unresolved: Orders of which nobody knows what became, after everything had time to settle.
        troubles: Whatever else must not be: a run that failed, a journal or book that contradicts itself, trading reduced.
        seconds: Of the loop, without the end.
    """

    kills: int = 0
    hits: dict[str, int] = {}
    wanted: int = 0
    booked: int = 0
    abandoned: int = 0
    resent: int = 0
    filled: int = 0
    lost: list[str] = []
    duplicates: list[str] = []
    unresolved: list[str] = []
    troubles: list[str] = []
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Return whether nothing is wrong."""
        return not (self.lost or self.duplicates or self.unresolved or self.troubles)


class Loop:
    """One broker, one journal, and many runs that die."""

    def __init__(self, terms: Terms, folder: Path) -> None:
        """Write the config and start the broker."""
        self.terms = terms
        self.folder = folder
        self.state_folder = folder / "state"
        self.journal = self.state_folder / "journal.sqlite"
        self.errors: list[str] = []
        self.missed: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.kills = 0
        self._random = random.Random(terms.seed)
        least, delay, settle = 0.0, _DELAY_SECONDS, _SETTLE_SECONDS
        lost = 0.02
        if terms.bug == "no_settle_window":
            least, delay, settle = 0.6, 0.8, 1.0  # long enough for a run that does not wait to ask in between
        if terms.bug == "repeat_on_timeout":
            lost = 0.5
        self._most = {"after_write": 2} if terms.bug == "no_settle_window" else _MOST_PASSINGS
        self._longest = _ROUND_SECONDS + 2 * delay
        faults = (
            Fault(kind="execution_delay", operations=_CHANGES, seconds=least, jitter_seconds=delay - least),
            Fault(kind="lost_reply", operations=_CHANGES, chance=lost),
            Fault(kind="partial", chance=0.3, seconds=0.01, jitter_seconds=0.03),
        )
        self.broker = SimBroker.start(
            folder / "book.sqlite",
            mode=terms.mode,
            idempotent=terms.idempotent,
            settle_seconds=settle,
            tick_seconds=0.02,
            history_days=0.001,
            seed=terms.seed,
            faults=faults,
        )
        self.file = folder / "live.toml"
        text = CONFIG.format(
            address=self.broker.address, strategies=json.dumps(str(_HERE / "strategies")), timeout=round(delay + 0.3, 3)
        )
        self.file.write_text(text, encoding="utf-8")
        self._log = folder / "runs.log"
        load_plan(self.file, environ={**os.environ, "HERALD_CONNECTORS__MAIN__TOKEN": "any"})  # imports the plugins, once

    # --- one round --------------------------------------------------------------------------------

    def start(self, seconds: float, crash_at: str = "", **variables: str) -> int:
        """Fork a run of *seconds*; return its process number."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            code = self._child(seconds, crash_at, variables)
        finally:
            os._exit(code)  # nothing of the parent's may be ended twice

    def _child(self, seconds: float, crash_at: str, variables: dict[str, str]) -> int:
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(self.folder)
        os.environ["HERALD_CONNECTORS__MAIN__TOKEN"] = self.broker.terms.token
        os.environ["XDG_STATE_HOME"] = str(self.folder / "home")
        os.environ.update(variables)
        if crash_at:
            os.environ[CRASH_AT] = crash_at
        _arm()
        if self.terms.bug:
            plant(self.terms.bug)
        from herald.cli import main

        try:
            main(["live", str(self.file), "--demo-only", "--quiet", "--no-report", "--for", str(seconds)])
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    def await_end(self, pid: int, seconds: float) -> tuple[bool, int]:
        """Wait for a run; return whether it was killed from here after *seconds*, and its wait status."""
        clock = WallClock()
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return False, status
            clock.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        return True, os.waitpid(pid, 0)[1]

    def round(self, point: str) -> bool:
        """Run once until it dies at *point*, or at a random moment where that is empty; return whether it died as meant."""
        draw = self._random
        if not point:
            pid, longest, seconds = self.start(60.0), draw.uniform(0.02, 0.6), 60.0
        else:
            count = draw.randint(1, self._most.get(point, 6))
            seconds = draw.uniform(0.05, 0.4) if point in _ENDINGS else 60.0
            pid, longest = self.start(seconds, f"{point}:{count}"), self._longest + (2.0 if point in _ENDINGS else 0.0)
        killed, status = self.await_end(pid, longest)
        if not killed and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            code = os.waitstatus_to_exitcode(status)
            if code != 0:
                self.errors.append(f"a run ended with code {code}: {self._last_words()}")
            return False
        self.kills += 1
        met = bool(point) and not killed
        if met:
            self.hits[point] += 1
        elif point:
            self.missed[point] += 1
        return met or not point

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing was said"

    def run(self, tell: Callable[[str], None] = lambda text: None) -> Verdict:
        """Bring all deaths about, settle, and return what the books say."""
        terms, draw = self.terms, self._random
        clock = WallClock()
        began = clock.monotonic()
        most = 3 * terms.kills + 100
        rounds = 0
        while (
            rounds < most
            and len(self.errors) < _MOST_ERRORS
            and (self.kills < terms.kills or any(self.hits[one] < terms.enough for one in self.wanted()))
        ):
            rounds += 1
            point = "" if draw.random() < terms.random_share and self.kills < terms.kills else self._next_point()
            if point in _ODDS:
                self.round(_ODDS[point])
            self.round(point)
            if rounds % 3 == 0:
                self._resume()
            if rounds % 100 == 0:
                tell(f"{self.kills} kills, {self.kills / (clock.monotonic() - began):.1f} a second")
        seconds = clock.monotonic() - began
        self._resume()
        self._settle()
        verdict = self.verdict()
        verdict.seconds = seconds
        return verdict

    def wanted(self) -> Sequence[str]:
        """Return the points that can be hit on this broker."""
        return self.terms.points

    def _next_point(self) -> str:
        fewest = min(self.hits[one] for one in self.wanted())
        return self._random.choice([one for one in self.wanted() if self.hits[one] <= fewest + 1])

    def _resume(self) -> None:
        """Do what a person does whose entries are blocked by one that was given up; not more than that."""
        state = StateFile(self.state_folder, WallClock())
        for change in state.trading.scopes.values():
            self.errors.append(f"{change.scope} became {change.state} by {change.who}: {change.why}")
        if state.trading.trouble:
            self.errors.append(f"trading state: {state.trading.trouble}")
        state.resume(ACCOUNT, "operator", "the account was looked at")

    def _settle(self) -> None:
        """Let one run find out what became of everything, and another close it."""
        self.broker.control.set_faults()
        rest = {"HERALD_STRATEGIES__CHURN__REST": "true"}
        for _ in range(_SETTLINGS):
            self._calmly("settling", **rest, HERALD_STRATEGIES__CHURN__CLOSE="false")
            if not self._judged().unresolved:
                break
        self.errors += self._compare("after settling")
        self._calmly("flattening", **rest, HERALD_HERALD__ON_STOP="flatten")
        self._resume_check()

    def _calmly(self, name: str, **variables: str) -> None:
        """Run once without killing."""
        killed, status = self.await_end(self.start(1.0 + 4 * self.broker.terms.settle_seconds, **variables), 60.0)
        if killed or status:
            self.errors.append(f"the {name} run ended with {'a kill' if killed else status}: {self._last_words()}")

    def _resume_check(self) -> None:
        for change in StateFile(self.state_folder, WallClock()).trading.scopes.values():
            self.errors.append(f"{change.scope} became {change.state} by {change.who}: {change.why}")

    # --- the verdict ------------------------------------------------------------------------------

    def _ledger(self) -> tuple[Ledger, Past]:
        """Return the engine's books as its last run left them."""
        instruments = {
            one.symbol: Instrument(
                symbol=one.symbol, base=one.base, quote=one.quote, price_step=10.0**-one.digits, size_step=one.size_step,
                min_size=one.size_step, max_size=one.max_size, contract_size=one.contract_size,
            )
            for one in self.broker.terms.symbols
        }  # fmt: skip
        ledger = Ledger(self.broker.terms.balance)
        with JournalFile(self.journal) as journal:
            records = list(journal.read())
        return ledger, recover(_Kept(records, self.journal), ledger, instruments)

    def _compare(self, when: str) -> list[str]:
        """Lay the engine's books beside the broker's positions."""
        ledger, _ = self._ledger()
        own: dict[str, float] = {}
        for book in ledger.open_books():
            own[book.symbol] = round(own.get(book.symbol, 0.0) + book.size, 8)
        own = {symbol: size for symbol, size in own.items() if size}
        held = self.broker.book().held()
        return [] if own == held else [f"{when} the books hold {own}, the broker {held}"]

    def _judged(self) -> Verdict:
        with JournalFile(self.journal) as journal:
            records = [record for _, record in journal.read()]
        return judge(self.broker.book(), records)

    def verdict(self) -> Verdict:
        """Compare broker, journal and engine."""
        book = self.broker.book()
        verdict = self._judged()
        verdict.kills, verdict.hits = self.kills, dict(self.hits)
        verdict.duplicates += [one for one in self.errors if "the books hold" in one] + self._compare("at the end")
        verdict.troubles += [one for one in self.errors if "the books hold" not in one]
        verdict.troubles += [f"broker: {one}" for one in book.verify()]
        checked = verify(self.journal)
        verdict.troubles += [f"journal: {one}" for one in checked.problems]
        ledger, _ = self._ledger()
        if not book.held() and abs(ledger.balance - book.state.balance) > 0.01:
            verdict.duplicates.append(f"the engine's balance is {ledger.balance:.2f}, the broker's {book.state.balance:.2f}")
        if book.held():
            verdict.troubles.append(f"flattening left {book.held()}")
        return verdict

    def close(self) -> None:
        """Stop the broker."""
        self.broker.stop()


def judge(book: BookView, records: Sequence[Record]) -> Verdict:
    """Return what the broker's *book* and the *records* of the journal say about each other."""
    verdict = Verdict()
    intents: dict[str, OrderRequest] = {}
    orders: dict[str, Order] = {}
    deals: dict[str, Traded] = {}
    sent: Counter[str] = Counter()
    for record in records:
        match record:
            case Intended(request=request):
                intents[request.client_tag] = request
                sent[request.id] += 1
                orders.setdefault(request.id, Order(request, OrderStatus.UNKNOWN, record.time))
            case OrderChanged(order=order):
                orders[order.id] = order
            case Traded(fill=fill) if fill.id not in deals:
                deals[fill.id] = record
                if fill.order_id in orders:  # a death may come before the order behind its execution is written
                    orders[fill.order_id] = orders[fill.order_id].with_fill(fill)
    booked: dict[str, list[Any]] = {}
    for entry in book.orders:
        if entry.asked:  # a refused one counts: that the broker refused the second of two is its merit, not Herald's
            booked.setdefault(entry.asked, []).append(entry)
    verdict.wanted, verdict.filled = len(intents), len(book.deals)
    verdict.booked = sum(len(entries) for entries in booked.values())
    verdict.resent = sum(1 for count in sent.values() if count > 1)
    for tag, entries in booked.items():
        if tag not in intents:
            verdict.lost.append(f"order {entries[0].number} ({tag}) is at the broker, and the journal has no intent of it")
            continue
        name = intents[tag].id
        if len(entries) > 1:
            numbers = ", ".join(str(entry.number) for entry in entries)
            verdict.duplicates.append(f"order {name} is at the broker as {numbers}")
        known, done = orders.get(name), sum(entry.filled for entry in entries)
        if known is None or abs(known.filled - done) > 1e-9:
            filled = "nothing" if known is None else f"{known.filled:g} ({known.status})"
            verdict.lost.append(f"order {name} traded {done:g} at the broker, the journal knows of {filled}")
    for deal in book.deals:
        if str(deal.number) not in deals:
            verdict.lost.append(f"deal {deal.number} of order {deal.order} ({deal.tag or deal.parent_tag}) is not in the journal")
        elif deals[str(deal.number)].fill.order_id not in orders:
            verdict.lost.append(f"deal {deal.number} of order {deal.order} was taken for somebody else's")
    for name, order in sorted(orders.items()):
        if order.status in (OrderStatus.UNKNOWN, OrderStatus.PENDING, OrderStatus.SENT):
            verdict.unresolved.append(f"order {name} is {order.status}: {order.reason}")
        elif order.status is OrderStatus.ABANDONED:
            verdict.abandoned += 1
    return verdict


class _Kept:
    """A journal that is only read, with the snapshot that its writer left."""

    def __init__(self, records: Sequence[tuple[int, Record]], path: Path) -> None:
        import sqlite3

        self.id = ""
        self._records = records
        with contextlib.closing(sqlite3.connect(path)) as connection:
            self._latest = connection.execute("SELECT number, state FROM snapshots ORDER BY number DESC LIMIT 1").fetchone()

    def latest(self) -> tuple[int, bytes] | None:
        return self._latest  # type: ignore[no-any-return]

    def read(self, after: int = 0) -> Any:
        return (one for one in self._records if one[0] > after)

    def append(self, records: Sequence[Record], *, durable: bool = True) -> int:
        raise NotImplementedError

    def snapshot(self, state: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Do nothing."""


# --- inside the killed process --------------------------------------------------------------------


def _arm() -> None:
    """Set the two points that lie inside plugins, which know nothing of crash points."""
    from herald.plugins import simbroker
    from herald.plugins.journal import sqlite

    after_write, in_snapshot = crash_point("after_write"), crash_point("in_snapshot")
    submit, receive, keep = simbroker.SimBrokerConnector.submit, simbroker._Line._receive, sqlite.write_snapshot
    sending: list[bool] = []

    def submitting(self: Any, request: OrderRequest) -> str:
        sending.append(True)
        try:
            return submit(self, request)
        finally:
            sending.pop()

    def receiving(self: Any, sock: Any, end: float) -> Any:
        if sending:
            after_write()
        return receive(self, sock, end)

    def keeping(connection: Any, snapshot: Any) -> None:
        keep(connection, snapshot)
        in_snapshot()

    simbroker.SimBrokerConnector.submit = submitting  # type: ignore[method-assign]
    simbroker._Line._receive = receiving  # type: ignore[method-assign]
    sqlite.write_snapshot = keeping


def plant(bug: str) -> None:
    """Plant one of `BUGS` in this process.

    Raises:
        ValueError: There is no such bug.
    """
    from herald.live import orders, spool
    from herald.plugins import simbroker

    if bug == "send_before_commit":
        write = spool.Spool.write

        def writing(self: Any, records: Any, *, durable: bool = False, kept: Any = None, failed: Any = None) -> None:
            if durable and kept is not None:
                kept()
                kept = None
                threading.Event().wait(_SLOW_COMMIT_SECONDS)
            write(self, records, durable=durable, kept=kept, failed=failed)

        spool.Spool.write = writing  # type: ignore[method-assign]
    elif bug == "no_settle_window":
        capabilities = simbroker.SimBrokerConnector.capabilities

        def promising(self: Any) -> Any:
            return msgspec.structs.replace(capabilities(self), settle_seconds=0.0)

        simbroker.SimBrokerConnector.capabilities = promising  # type: ignore[method-assign]
    elif bug == "repeat_on_timeout":
        submit = simbroker.SimBrokerConnector.submit

        def repeating(self: Any, request: OrderRequest) -> str:
            try:
                return submit(self, request)
            except AmbiguousError:
                self.connect()
                return submit(self, request)

        simbroker.SimBrokerConnector.submit = repeating  # type: ignore[method-assign]
    elif bug == "fills_twice":

        class Forgetful(dict[Any, Any]):
            def __contains__(self, key: object) -> bool:
                return False

        remember = orders.Desk.remember

        def remembering(self: Any, *args: Any) -> None:
            remember(self, *args)
            self._seen = Forgetful(self._seen)

        orders.Desk.remember = remembering  # type: ignore[method-assign]
    else:
        raise ValueError(f"no bug {bug!r}; there are {', '.join(BUGS)}")


# --- the command ----------------------------------------------------------------------------------


def kill_loop(terms: Terms, tell: Callable[[str], None] = lambda text: None, keep: Path | None = None) -> Verdict:
    """Do what *terms* say in a folder of its own and return the verdict."""
    folder = Path(tempfile.mkdtemp(prefix="kill-loop-")) if keep is None else keep
    folder.mkdir(parents=True, exist_ok=True)
    loop = Loop(terms, folder)
    try:
        return loop.run(tell)
    finally:
        loop.close()
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def table(terms: Terms, verdict: Verdict) -> str:
    """Return the verdict as text."""
    kind = "idempotent" if terms.idempotent else "not idempotent"
    lines = [
        f"{kind}, {terms.mode}, seed {terms.seed}" + (f", planted: {terms.bug}" if terms.bug else ""),
        f"kills        {verdict.kills} in {verdict.seconds:.0f} s ({verdict.kills / max(verdict.seconds, 1e-9):.1f} a second)",
        f"orders       {verdict.wanted} wanted, {verdict.booked} in the broker's book, {verdict.abandoned} given up, "
        f"{verdict.resent} sent again, {verdict.filled} executions",
    ]
    for name in ("lost", "duplicates", "unresolved", "troubles"):
        found = getattr(verdict, name)
        lines.append(f"{name:<12} {len(found)}")
        lines += [f"             {one}" for one in found[:8]]
    lines.append("deaths at    " + ", ".join(f"{name} {verdict.hits.get(name, 0)}" for name in terms.points))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the loop; return 0 where nothing is wrong, or where a planted bug was caught."""
    parser = argparse.ArgumentParser(description="Kill the ordinary live run and count what was lost or sent twice.")
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--idempotent", dest="idempotent", action="store_true", default=True)
    parser.add_argument("--no-idempotency", dest="idempotent", action="store_false")
    parser.add_argument("--mode", choices=("netting", "hedging"), default="netting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--points", default="", help="names, with commas; all where there are none")
    parser.add_argument("--enough", type=int, help="hits of every point to reach; 20 from 1,000 kills on, else 1")
    parser.add_argument("--random-share", type=float, default=0.4, help="of the deaths, at a random moment from outside")
    parser.add_argument("--bug", choices=BUGS, default="", help="plant a mistake; the loop must catch it")
    parser.add_argument("--lanes", type=int, default=1, help="brokers, each with a share of the kills, side by side")
    parser.add_argument("--keep", type=Path, help="folder to leave everything in")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if not hasattr(os, "fork"):
        parser.error("this system cannot fork; run it on Linux or macOS")
    points = tuple(one for one in given.points.split(",") if one) or tuple(POINTS)
    unknown = [one for one in points if one not in POINTS]
    if unknown:
        parser.error(f"no point {unknown[0]!r}; there are {', '.join(POINTS)}")
    enough = given.enough if given.enough is not None else 20 if given.kills >= 1_000 else 1
    if given.lanes > 1:
        return _side_by_side(given, points, sys.argv[1:] if arguments is None else list(arguments))
    terms = Terms(
        given.kills, given.idempotent, given.mode, given.seed, points, given.bug, given.random_share, 0 if given.bug else enough
    )
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import herald.cli.live
    import herald.runtime.live  # noqa: F401 - once, for every fork

    def say(text: str) -> None:
        if not given.json:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    verdict = kill_loop(terms, say, given.keep)
    sys.stdout.write((msgspec.json.encode(verdict).decode() if given.json else table(terms, verdict)) + "\n")
    return int(verdict.is_clean) if given.bug else int(not verdict.is_clean)


def _side_by_side(given: argparse.Namespace, points: tuple[str, ...], arguments: list[str]) -> int:
    """Share the kills among processes of this script, each with a broker of its own; add up what they found."""
    clock = WallClock()
    began = clock.monotonic()
    share = -(-given.kills // given.lanes)
    enough = given.enough if given.enough is not None else 20 if given.kills >= 1_000 else 1
    hits = -(-enough // given.lanes)
    lanes = [
        subprocess.Popen(
            [sys.executable, __file__, *arguments, "--lanes", "1", "--json", "--kills", str(share), "--enough", str(hits)]
            # Once each is enough: then every lane takes its share of the points, too.
            + ["--points", ",".join(points if enough > 1 else points[lane :: given.lanes])]
            + ["--seed", str(given.seed + 1_000 * lane)]
            + ([] if given.keep is None else ["--keep", str(given.keep / str(lane))]),
            stdout=subprocess.PIPE,
        )
        for lane in range(given.lanes)
    ]
    total = Verdict()
    sums = Counter[str]()
    for lane, process in enumerate(lanes):
        out, _ = process.communicate()
        if not out:
            total.troubles.append(f"lane {lane} ended with code {process.returncode} and said nothing")
            continue
        one = msgspec.json.decode(out, type=Verdict)
        sums.update(one.hits)
        counts = ("kills", "wanted", "booked", "abandoned", "resent", "filled")
        for name in (*counts, "lost", "duplicates", "unresolved", "troubles"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
    total.hits, total.seconds = dict(sums), clock.monotonic() - began
    terms = Terms(given.kills, given.idempotent, given.mode, given.seed, points, given.bug)
    sys.stdout.write((msgspec.json.encode(total).decode() if given.json else table(terms, total)) + "\n")
    return int(total.is_clean) if given.bug else int(not total.is_clean)


if __name__ == "__main__":
    sys.exit(main())
