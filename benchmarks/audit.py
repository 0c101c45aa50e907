"""What a record of the audit log costs, and how fast a log is checked: `python benchmarks/audit.py`."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from herald.clock import WallClock
from herald.utils.audit_log import AuditLog, verify_audit

KEY = bytes(range(32))


def main() -> None:
    """Print the figures of goal S5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
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
        begun = time.perf_counter()
        found = verify_audit(folder / "audit.log", KEY, folder / "audit.heads")
        seconds = time.perf_counter() - begun
        if found.problem:
            raise SystemExit(f"the log is not what was written: {found.problem}")
        print(f"verify   {found.records / seconds:,.0f} records a second ({found.records:,} records)")


if __name__ == "__main__":
    main()
