"""What a record of the audit log costs, how fast a log is checked, and what of 10,000 changes is found: `python benchmarks/audit.py`."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from herald.clock import WallClock
from herald.utils.audit_log import AuditLog, verify_audit

KEY = bytes(range(32))
Lines = list[bytes]


def edited(lines: Lines, draw: random.Random) -> Lines:
    """Flip a bit."""
    place = draw.randrange(len(lines))
    line = bytearray(lines[place])
    line[draw.randrange(len(line))] ^= 1 << draw.randrange(8)
    return [*lines[:place], bytes(line), *lines[place + 1 :]]


def deleted(lines: Lines, draw: random.Random) -> Lines:
    """Take a record out."""
    place = draw.randrange(len(lines))
    return [*lines[:place], *lines[place + 1 :]]


def inserted(lines: Lines, draw: random.Random) -> Lines:
    """Put a record in a second time."""
    place = draw.randrange(len(lines) + 1)
    return [*lines[:place], draw.choice(lines), *lines[place:]]


def reordered(lines: Lines, draw: random.Random) -> Lines:
    """Change places of two."""
    one, other = draw.sample(range(len(lines)), 2)
    moved = list(lines)
    moved[one], moved[other] = moved[other], moved[one]
    return moved


def truncated(lines: Lines, draw: random.Random) -> Lines:
    """Cut the end off, at any byte."""
    data = b"".join(lines)
    return [data[: draw.randrange(len(data))]]


CHANGES: tuple[Callable[[Lines, random.Random], Lines], ...] = (edited, deleted, inserted, reordered, truncated)


def mutate(folder: Path, count: int) -> None:
    """Print how many of *count* changes of a log are found."""
    path, heads = folder / "mutated.log", folder / "mutated.heads"
    log = AuditLog(path, KEY, WallClock(), heads=heads)
    for number in range(40):
        log.append("anna", "resume", "account", f"reason {number}", "done")
    log.close()
    data, draw, found = path.read_bytes(), random.Random(20_261_127), dict.fromkeys(CHANGES, 0)
    lines = data.splitlines(keepends=True)
    for number in range(count):
        change = CHANGES[number % len(CHANGES)]
        mutant = data
        while mutant == data:
            mutant = b"".join(change(lines, draw))
        path.write_bytes(mutant)
        found[change] += bool(verify_audit(path, KEY, heads).problem)
    each = ", ".join(f"{change.__name__} {times:,}" for change, times in found.items())
    print(f"changes  {sum(found.values()):,} of {count:,} found: {each}")
    if sum(found.values()) != count:
        raise SystemExit("a change was not found")


def main() -> None:
    """Print the figures of goal S5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder unless given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        log = AuditLog(folder / "audit.log", KEY, WallClock(), heads=folder / "audit.heads")
        costs = []
        begun = time.perf_counter()
        for number in range(options.records):
            before = time.perf_counter_ns()
            log.append("trend", "order.filled", f"trend-{number:06d}: BUY 0.1 EURUSD market", "sma cross", "filled 0.1 at 1.0712")
            costs.append(time.perf_counter_ns() - before)
        whole = time.perf_counter() - begun
        log.close()
        costs.sort()
        median, most = costs[len(costs) // 2] / 1e3, costs[len(costs) * 99 // 100] / 1e3
        print(
            f"append   median {median:.1f} us, 99 % below {most:.1f} us; {options.records / whole:,.0f} a second, notes included"
        )
        rows = [(number, "trend", "order.filled", "trend-000001: BUY 0.1 EURUSD", "", "") for number in range(256)]
        begun = time.perf_counter()
        for _ in range(100):
            log.extend(rows)
        print(f"batch    {(time.perf_counter() - begun) / 25_600 * 1e6:.1f} us a record in batches of 256, as a run writes them")
        durable = []
        for _ in range(200):
            before = time.perf_counter_ns()
            log.append("anna", "resume", "account", "the feed is back", "asked", durable=True)
            durable.append(time.perf_counter_ns() - before)
        log.close()
        print(f"durable  median {sorted(durable)[100] / 1e3:.0f} us, on disk before it returns")
        times, own = [], []
        for _ in range(5):
            begun, busy = time.perf_counter(), time.process_time()
            found = verify_audit(folder / "audit.log", KEY, folder / "audit.heads")
            own.append(time.process_time() - busy)  # what it costs where others use the machine as well
            times.append(time.perf_counter() - begun)
            if found.problem:
                raise SystemExit(f"the log is not what was written: {found.problem}")
        wall, busy = (found.records / sorted(each)[len(each) // 2] for each in (times, own))
        print(f"verify   {wall:,.0f} records a second, {busy:,.0f} a second of its processor; 5 times {found.records:,} records")
        mutate(folder, options.changes)


if __name__ == "__main__":
    main()
