"""How fast the journal is, beside plain SQLite with the same bytes on the same disk in the same run.

Durable intents a second by group size, what one append costs, opening a journal of a million records, reading it,
checking it. "plain" is one table of (number, body) in the same mode of SQLite: no hash, no index, no second look at what is kept.

Run: ``python benchmarks/journal.py`` (about two minutes), ``--quick`` for a tenth of the records. The disk is that of
``--folder`` (the system's folder for temporary files unless given): a memory disk would flatter every figure.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from herald.clock import WallClock
from herald.model import Intended, Order, OrderChanged, OrderRequest, OrderStatus, Record, Side
from herald.plugins.journal import JournalSettings, SqliteJournal, backup, verify
from herald.plugins.journal._rows import encode
from herald.testing import make_services

GROUPS = (1, 10, 50, 100)
SECONDS = 3.0
GOAL = 2_000
"""Durable intents a second with group commit, RELIABILITY L2d."""


def intent(number: int) -> Record:
    name = f"trend-{number:06d}"
    request = OrderRequest(
        name,
        "trend",
        "EURUSD",
        Side.BUY if number % 2 else Side.SELL,
        0.1,
        stop_loss=1.05,
        take_profit=1.15,
        tag="entry",
        client_tag=f"{number:018d}",
    )
    return Intended(1_700_000_000_000_000_000 + number, "connectors.main", request, 1)


def event(number: int) -> Record:
    """Return an intent, or what became of it."""
    record = intent(number // 3)
    assert isinstance(record, Intended)
    if number % 3 == 0:
        return record
    status = OrderStatus.ACCEPTED if number % 3 == 1 else OrderStatus.FILLED
    return OrderChanged(record.time + number % 3, record.connector, Order(record.request, status, record.time, f"{number}"))


def open_journal(folder: Path, name: str, synchronous: str = "full") -> SqliteJournal:
    settings = JournalSettings.model_validate({"file": name, "synchronous": synchronous})
    return SqliteJournal(settings, make_services("journal", base=str(folder), clock=WallClock()))


def open_plain(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE records (number INTEGER PRIMARY KEY, body BLOB)")
    return connection


def paced(append: Callable[[Sequence[int]], None], group: int, seconds: float) -> list[float]:
    """Append groups for *seconds*; return the seconds of each."""
    taken: list[float] = []
    number, start = 0, time.perf_counter()
    while (before := time.perf_counter()) - start < seconds:
        append(range(number, number + group))
        taken.append(time.perf_counter() - before)
        number += group
    return taken


def commits(folder: Path, seconds: float) -> float:
    """Print the table of group commits; return the best durable intents a second."""
    print(
        f"{'mode':8}{'group':>6}{'intents/s':>12}{'plain/s':>12}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}{'plain p50':>11}{'plain p99':>11}"
    )
    best = 0.0
    for mode in ("full", "normal"):
        for group in GROUPS:
            journal = open_journal(folder, f"{mode}{group}.sqlite", mode)
            journal.append([intent(0)])
            ours = paced(lambda numbers: void(journal.append([intent(one) for one in numbers])), group, seconds)  # noqa: B023
            journal.close()
            with closing(open_plain(folder / f"plain{mode}{group}", mode.upper())) as plain:

                def insert(numbers: Sequence[int]) -> None:
                    rows = [(encode(intent(one)),) for one in numbers]
                    plain.execute("BEGIN")
                    plain.executemany("INSERT INTO records (body) VALUES (?)", rows)
                    plain.execute("COMMIT")

                theirs = paced(insert, group, seconds)
            rates = [group * len(taken) / sum(taken) for taken in (ours, theirs)]
            points = [quantile(taken, share) * 1e3 for taken in (ours, theirs) for share in (0.5, 0.99)]
            print(
                f"{mode:8}{group:6}{rates[0]:12,.0f}{rates[1]:12,.0f}{rates[0] / rates[1]:8.2f}{points[0]:9.3f}{points[1]:9.3f}{points[2]:11.3f}{points[3]:11.3f}"
            )
            best = max(best, rates[0]) if mode == "full" else best
    return best


def large(folder: Path, count: int) -> None:
    """Print what a journal of *count* records costs to open, read, check and copy."""
    journal = open_journal(folder, "large.sqlite")
    tail = 10_000
    start = time.perf_counter()
    for numbers in batches(count):
        if numbers[0] >= count - tail and journal.latest() is None:
            journal.snapshot(os.urandom(1_000_000))
        journal.append([event(one) for one in numbers], durable=False)
    journal.close()
    size = (folder / "large.sqlite").stat().st_size
    print(f"\n{count:,} records, {size / count:.0f} bytes each with indexes; written in {time.perf_counter() - start:.1f} s")
    plain_start = time.perf_counter()
    with closing(open_plain(folder / "plain", "NORMAL")) as plain:
        for numbers in batches(count):
            plain.execute("BEGIN")
            plain.executemany("INSERT INTO records (body) VALUES (?)", [(encode(event(one)),) for one in numbers])
            plain.execute("COMMIT")
    print(f"plain, the same bytes: written in {time.perf_counter() - plain_start:.1f} s")
    opening = []
    for _ in range(5):
        start = time.perf_counter()
        journal = open_journal(folder, "large.sqlite")
        latest = journal.latest()
        assert latest is not None
        assert tail == sum(1 for _ in journal.read(latest[0]))
        opening.append(time.perf_counter() - start)
        journal.close()
    print(
        f"open, snapshot of 1 MB and tail of {tail:,}: median {statistics.median(opening):.3f} s, worst {max(opening):.3f} s (goal 2 s)"
    )
    journal = open_journal(folder, "large.sqlite")
    seconds = timed(lambda: void(sum(1 for _ in journal.read())))
    print(f"read and check every record: {seconds:.1f} s, {count / seconds:,.0f} a second")
    with closing(sqlite3.connect(folder / "plain")) as plain:
        rows = timed(lambda: void(sum(len(body) for (body,) in plain.execute("SELECT body FROM records ORDER BY number"))))
    print(f"plain, bodies only, not decoded: {rows:.1f} s")
    seconds = timed(lambda: void(verify(folder / "large.sqlite").problems == ()))
    print(f"verify (hashes, columns, indexes): {seconds:.1f} s, {count / seconds:,.0f} a second (goal 100,000)")
    seconds = timed(lambda: void(backup(folder / "large.sqlite", folder / "copy.sqlite")))
    print(f"backup while open, with verify: {seconds:.1f} s")
    seconds = timed(lambda: void(journal.compact()))
    print(f"compact {count - tail:,} records to an archive: {seconds:.1f} s")
    journal.close()


def batches(count: int) -> Iterator[range]:
    for first in range(0, count, 5_000):
        yield range(first, min(first + 5_000, count))


def timed(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def void(value: object) -> None:
    assert value


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the records, a second a row")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        best = commits(Path(name), 1.0 if options.quick else SECONDS)
        print(f"durable intents a second with group commit: {best:,.0f} (goal {GOAL:,}){'' if best >= GOAL else ' - MISSED'}")
        large(Path(name), 100_000 if options.quick else 1_000_000)


if __name__ == "__main__":
    main()
