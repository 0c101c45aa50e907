"""The notifier is down for as long as stated while things go wrong: is every alert told afterwards, and how soon?

A live run on a simulated broker whose alerts go to a webhook on this machine. The webhook is closed, the broker dies and returns, trading is
halted, and orders are refused, spread over the time; then the webhook is opened again. Waits are those of the plugin's defaults.

Run: ``python -m tests.faults.alert_outage --minutes 10``
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from herald.model import Alert
from herald.runtime.live import LiveRun
from herald.testing.simbroker import SimBroker
from tests.integration.test_alerts import ALERTS
from tests.integration.test_live_controls import drive, live_file
from tests.unit.plugins.alerts.hook import Hook

PARTS = 10
"""Alerts of a code of their own, spread over the outage, besides those of the broker and the halt."""
AFTER = 90.0
"""Seconds that the last of them may take; the longest wait between two tries is a minute."""


def outage(folder: Path, minutes: float) -> tuple[list[str], float]:
    """Return the titles that never arrived, and how many seconds after the notifier's return the last one did."""
    hook = Hook()
    os.environ["HERALD_SECRET_PHONE"] = hook.url
    again: list[Hook] = []
    back = [0.0]
    expected = ["desk WARNING: disconnected", "desk INFO: connected again", "desk CRITICAL: trading HALTED"]

    def told() -> list[str]:
        return again[0].titles if again else []

    def parts() -> set[str]:
        return {post["message"].split()[0] for post in (again[0].posts if again else []) if "outage-" in post["message"]}

    with SimBroker.start(
        folder / "book.sqlite", mode="netting", tick_seconds=0.05, settle_seconds=0.3, history_days=0.001
    ) as broker:
        file = live_file(broker, folder, ALERTS.replace("retry_seconds = 0.1\n", ""))

        def steps(run: LiveRun) -> Iterator[Callable[[], Any]]:
            yield lambda: "desk INFO: run started" in hook.titles
            hook.close()
            began = time.monotonic()
            broker.kill()
            yield lambda: "main" not in run.reconciler.ready
            broker.restart()
            yield lambda: "main" in run.reconciler.ready
            run.state.halt_account("outage", "to see it arrive")
            for number in range(PARTS):
                yield lambda due=began + (number + 0.5) * 60.0 * minutes / PARTS: time.monotonic() >= due  # type: ignore[misc]
                run.engine.emit(Alert(run.engine.now, f"outage_{number}", f"outage-{number} happened"))
            yield lambda: time.monotonic() >= began + 60.0 * minutes
            back[0] = time.monotonic()
            again.append(Hook(hook.port))
            yield lambda: (set(expected) <= set(told()) and len(parts()) == PARTS) or time.monotonic() > back[0] + AFTER

        result = drive(broker, file, steps, seconds=60.0 * minutes + AFTER + 60.0)
        if not again:
            raise SystemExit(f"the run ended early: {result.status} {result.errors}")
        again[0].close()
    missing = [one for one in expected if one not in told()] + [
        f"outage-{n}" for n in range(PARTS) if f"outage-{n}" not in parts()
    ]
    last = max(time for time, post in zip(again[0].times, again[0].posts, strict=True))
    return missing, last - back[0]


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        missing, seconds = outage(Path(folder), options.minutes)
    print(
        f"notifier down for {options.minutes:g} min: {3 + PARTS} alerts, {len(missing)} lost {missing}, all told {seconds:.1f} s after its return"
    )
    if missing:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
