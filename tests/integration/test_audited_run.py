"""The audit log around whole runs: no record, no run; no record while it runs, nothing that adds to a position."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from herald.errors import AuditError
from herald.host.plan import load_plan
from herald.live.state import TradingState
from herald.model import Order, OrderStatus
from herald.runtime.live import LiveRun
from herald.utils.audit_log import read_audit, read_audit_key, verify_audit

REFUSED = 10_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "data")
    text = (ROOT / "examples" / "paper.toml").read_text(encoding="utf-8").replace("172_800", "400_000")
    path = tmp_path / "paper.toml"
    path.write_text(text + "\n[audit]\nseal_records = 50\n", encoding="utf-8")
    return path


def refused(run: LiveRun) -> list[Order]:
    return [order for order in run.engine.orders.values() if order.status is OrderStatus.DENIED]


def until(count: int, run: LiveRun, act: Callable[[], None] = lambda: None) -> Callable[[], bool]:
    """Return what stops a run after *count* fills (or the first refusal, for REFUSED), *act* having been called at the first."""
    acted = []

    def stop() -> bool:
        fills = len(run.engine.ledger.fills) if hasattr(run, "engine") else 0
        if fills and not acted:
            acted.append(True)
            act()
        return fills >= count or (count == REFUSED and bool(acted) and bool(refused(run)))

    return stop


def test_a_run_records_how_it_began_what_it_decided_and_how_it_ended(file: Path) -> None:
    run = LiveRun(load_plan(file))

    result = run.run(until(5, run))

    log = run.folder / "audit.log"
    records = list(read_audit(log))
    found = verify_audit(log, read_audit_key(run.folder / "audit.key"), run.folder / "audit.heads")
    assert "" == found.problem
    assert found.sealed == found.head == len(records)
    assert ("run.begin", "run.end") == (records[0].act, records[-1].act)
    assert records[0].what.startswith("trade paper ")
    assert "done" == records[-1].result
    acts = [one.act for one in records]
    assert len(result.fills) == acts.count("fill")
    filled = {order.id for order in result.orders if order.filled}
    assert filled <= {one.what.partition(":")[0] for one in records if one.act == "order.filled"}
    denied = [order.id for order in result.orders if order.status is OrderStatus.DENIED]
    assert len(denied) == acts.count("order.denied")


def test_a_run_that_cannot_be_recorded_does_not_begin(file: Path) -> None:
    first = LiveRun(load_plan(file))
    first.run(until(1, first))
    log = first.folder / "audit.log"
    log.write_bytes(log.read_bytes().replace(b'"result":"done"', b'"result":"gone"'))
    journal = (first.folder / "journal.sqlite").read_bytes()

    second = LiveRun(load_plan(file))
    with pytest.raises(AuditError, match="is not what was written"):
        second.run(until(9, second))

    assert journal == (first.folder / "journal.sqlite").read_bytes()


def test_a_log_that_breaks_during_a_run_lets_nothing_add_to_a_position(file: Path) -> None:
    run = LiveRun(load_plan(file))

    def break_log() -> None:
        log = run.folder / "audit.log"
        log.write_bytes(log.read_bytes().splitlines(keepends=True)[0].replace(b"trade paper", b"trade nothing"))

    run.run(until(REFUSED, run, break_log))

    history = [(one.state, one.why) for one in run.state.read().history]
    assert any(state is TradingState.REDUCING and "is not what was written" in why for state, why in history), history
    assert json.loads((run.folder / "audit.log").read_bytes().splitlines()[0])["act"] == "run.begin"
    assert {"trading_state"} == {order.code for order in refused(run)}
