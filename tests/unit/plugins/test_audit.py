"""The audit trail of a run: what it records, and that nothing privileged happens without it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from pydantic import SecretStr

from herald.components import Services
from herald.errors import AuditError
from herald.host.discovery import discover
from herald.host.registry import Registry
from herald.model import Alert, Fill, Order, OrderDenied, OrderRequest, OrderStatus, OrderType, RunStopped, Side, StateChanged
from herald.plugins.audit import Audit, AuditSettings, make_key
from herald.testing import FakeClock, sample_events
from herald.utils.audit_log import AuditRecord, read_audit, read_audit_key, verify_audit

NOW = 1_700_000_000_000_000_000


def make(folder: Path, **terms: object) -> Audit:
    services = Services("audit", FakeClock(NOW), random.Random(1), base=str(folder), state="state")
    return Audit(AuditSettings(**terms), services)  # type: ignore[arg-type]


def told(folder: Path) -> list[AuditRecord]:
    return list(read_audit(folder / "state" / "audit.log"))


def request(**terms: object) -> OrderRequest:
    return OrderRequest("trend-000001", "trend", "EURUSD", Side.BUY, 0.1, **terms)  # type: ignore[arg-type]


def test_the_plugin_offers_the_trail() -> None:
    registry = Registry(discover())

    assert "audit" == registry.find("audit", "audit").full_name


def test_an_act_is_on_disk_when_record_returns(tmp_path: Path) -> None:
    audit = make(tmp_path)

    audit.record("anna", "resume", "account", "the feed is back", "asked")

    (one,) = told(tmp_path)
    assert ("anna", "resume", "account", "the feed is back", "asked", NOW) == (
        one.who,
        one.act,
        one.what,
        one.why,
        one.result,
        one.time,
    )


def test_decisions_about_orders_are_recorded_with_the_next_tick(tmp_path: Path) -> None:
    audit = make(tmp_path)
    asked = request(type=OrderType.LIMIT, limit=1.1, stop_loss=1.05, tag="cross")
    audit.observe(Order(asked, OrderStatus.ACCEPTED, NOW, "77"))
    audit.observe(OrderDenied(NOW, Order(asked, OrderStatus.DENIED, NOW, code="max_position", reason="1.2 lots, the limit is 1")))
    audit.observe(Fill("9", "trend-000001", "EURUSD", Side.BUY, 0.1, 1.1, 0.35, "USD", NOW))
    audit.observe(StateChanged(NOW, "account", "HALTED", "watchdog", "it hangs"))
    audit.observe(Alert(NOW, "drift", "the clock is off"))
    audit.observe(RunStopped(NOW, "completed"))

    audit.tick()

    what = "trend-000001: BUY 0.1 EURUSD limit limit 1.1 stop loss 1.05"
    assert [
        ("trend", "order.accepted", what, "cross", "broker 77"),
        ("trend", "order.denied", what, "cross", "max_position: 1.2 lots, the limit is 1"),
        ("broker", "fill", "trend-000001: BUY 0.1 EURUSD at 1.1, fee 0.35", "", "9"),
        ("watchdog", "state.halted", "account", "it hangs", "seen by the run"),
        ("herald", "alert", "drift", "the clock is off", ""),
        ("herald", "run.stopped", "", "", "completed"),
    ] == [(one.who, one.act, one.what, one.why, one.result) for one in told(tmp_path)]


def test_an_act_comes_after_what_was_decided_before_it(tmp_path: Path) -> None:
    audit = make(tmp_path)
    audit.observe(RunStopped(NOW, "completed"))

    audit.record("anna", "halt", "account")

    assert ["run.stopped", "halt"] == [one.act for one in told(tmp_path)]


def test_every_event_is_taken(tmp_path: Path) -> None:
    audit = make(tmp_path)
    for event in sample_events():
        audit.observe(event)
    audit.close()
    audit.close()

    found = verify_audit(tmp_path / "state" / "audit.log", read_audit_key(tmp_path / "state" / "audit.key"))
    assert "" == found.problem
    assert found.records > 5


def test_what_cannot_be_recorded_raises_and_is_kept_for_later(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be", encoding="utf-8")
    audit = make(tmp_path)
    audit.observe(RunStopped(NOW, "failed"))

    with pytest.raises(AuditError, match="cannot be"):
        audit.record("anna", "resume", "account")
    audit.tick()
    assert "cannot be" in audit.trouble

    (tmp_path / "state").unlink()
    audit.tick()
    audit.close()
    assert "" == audit.trouble
    assert ["run.stopped"] == [one.act for one in told(tmp_path)]


def test_decisions_that_had_no_room_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("herald.plugins.audit._MOST_OWED", 3)
    audit = make(tmp_path)
    for _ in range(5):
        audit.observe(RunStopped(NOW, "failed"))

    audit.tick()

    assert [*["run.stopped"] * 3, "audit.gap"] == [one.act for one in told(tmp_path)]
    assert "2 order decisions" == told(tmp_path)[-1].what


def test_a_key_is_made_once_and_never_again_beside_a_log(tmp_path: Path) -> None:
    make(tmp_path).record("a", "b", "c")
    key = (tmp_path / "state" / "audit.key").read_text(encoding="ascii")
    make(tmp_path).record("a", "b", "c")
    assert key == (tmp_path / "state" / "audit.key").read_text(encoding="ascii")

    (tmp_path / "state" / "audit.key").unlink()

    with pytest.raises(AuditError, match="the key .* of the audit log is gone; bring it back"):
        make(tmp_path).record("a", "b", "c")


def test_a_key_may_be_a_secret(tmp_path: Path) -> None:
    make(tmp_path, key=SecretStr("ab" * 32)).record("a", "b", "c")

    assert not (tmp_path / "state" / "audit.key").exists()
    assert "" == verify_audit(tmp_path / "state" / "audit.log", bytes.fromhex("ab" * 32)).problem
    with pytest.raises(AuditError, match="is not 64 hexadecimal digits"):
        make(tmp_path, key=SecretStr("short")).record("a", "b", "c")


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path / "audit.key")

    with pytest.raises(AuditError, match="is there already, and a key is never overwritten"):
        make_key(tmp_path / "audit.key")


@pytest.mark.skipif(os.name == "nt", reason="there is no such log on Windows")
def test_the_head_goes_to_the_systems_log_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import syslog

    lines: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda level, text: lines.append(text))
    audit = make(tmp_path, syslog=True)
    audit.record("a", "b", "c")
    audit.close()

    (line,) = lines
    assert line.startswith(f"herald audit {tmp_path / 'state' / 'audit.log'} 1:")
