"""The log: one line an event, at the right level, and nothing that was not asked for."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from pydantic import ValidationError

from herald.model import Note, StrategyFailed
from herald.plugins.log import Log, LogSettings
from herald.testing import make_services, sample_events
from herald.utils.redaction import protect
from herald.utils.traces import make_seed, trace_id

EVERYTHING = ("Bar", "Quote", "Order", "OrderStep", "Fill", "Account", "SystemEvent")


@pytest.fixture
def records() -> Iterator[list[dict[str, Any]]]:
    """Return what reaches loguru, as (level, message, extra)."""
    kept: list[dict[str, Any]] = []
    sink = logger.add(lambda message: kept.append(message.record), level=0, format="{message}")  # type: ignore[attr-defined]
    yield kept
    logger.remove(sink)


def lines(records: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {record["extra"]["event"]: (record["level"].name, record["extra"]["line"]) for record in records}


def observe_all(log: Log) -> None:
    for event in sample_events():
        if isinstance(event, log.events):
            log.observe(event)


def test_each_event_is_one_line_of_its_values(records: list[dict[str, Any]]) -> None:
    observe_all(Log(LogSettings(events=EVERYTHING, level="DEBUG"), make_services()))

    written = lines(records)
    assert len(sample_events()) == len(records)
    assert ("INFO", "Fill order=trend-000001 symbol=TEST side=buy size=0.1 price=100.5 fee=0.35") == written["Fill"]
    assert (
        "WARNING",
        "OrderDenied order=trend-000001 symbol=TEST side=buy size=0.1 type=market status=denied tag=entry"
        ' code=max_position reason="would hold 2 lots; the limit is 1"',
    ) == written["OrderDenied"]
    assert ("ERROR", 'StrategyFailed strategy=trend error="ValueError: {bad}"') == written["StrategyFailed"]
    assert ("INFO", "RunStopped status=completed") == written["RunStopped"]


def test_message_begins_with_the_time_of_the_event(records: list[dict[str, Any]]) -> None:
    observe_all(Log(LogSettings(events=("Fill",)), make_services()))

    assert (
        "2024-01-01T00:00:00Z Fill order=trend-000001 symbol=TEST side=buy size=0.1 price=100.5 fee=0.35"
        == (records[0]["message"])
    )


def test_values_are_fields_too(records: list[dict[str, Any]]) -> None:
    observe_all(Log(LogSettings(events=("Fill",)), make_services("observers[0]")))

    (record,) = records
    assert record["extra"] == {
        "log": "observers[0]",
        "event": "Fill",
        "line": "Fill order=trend-000001 symbol=TEST side=buy size=0.1 price=100.5 fee=0.35",
        "at": "2024-01-01T00:00:00Z",
        "order": "trend-000001",
        "strategy": "trend",
        "trace_id": trace_id("", "trend-000001"),
        "symbol": "TEST",
        "side": "buy",
        "size": 0.1,
        "price": 100.5,
        "fee": 0.35,
    }


def test_braces_and_line_breaks_of_a_note_do_no_harm(records: list[dict[str, Any]]) -> None:
    Log(LogSettings(), make_services()).observe(Note(0, "trend", "{x} {}\n{0!r}"))

    assert 'Note strategy=trend text="{x} {} {0!r}"' == records[0]["extra"]["line"]


def test_events_below_the_level_are_not_written(records: list[dict[str, Any]]) -> None:
    observe_all(Log(LogSettings(events=EVERYTHING, level="warning"), make_services()))

    doubtful = {"OrderDenied", "CallRepeated", "CircuitChanged", "FaultInjected", "Disconnected", "StateChanged", "HealthChanged"}
    assert doubtful | {"Alert", "StrategyFailed", "ObserverMuted"} == set(lines(records))


def test_a_failed_run_ends_with_an_error(records: list[dict[str, Any]]) -> None:
    from herald.model import RunStopped

    Log(LogSettings(), make_services()).observe(RunStopped(0, "failed"))

    assert records[0]["level"].name == "ERROR"


def test_a_traceback_stays_out_of_the_line(records: list[dict[str, Any]]) -> None:
    Log(LogSettings(), make_services()).observe(StrategyFailed(0, "trend", "boom", "password = 'hunter2'"))

    assert "hunter2" not in str(records[0]["message"]) + str(records[0]["extra"])


def test_a_file_gets_the_lines_of_its_own_observer(tmp_path: Path) -> None:
    services = make_services("observers[0]", base=str(tmp_path))
    log = Log(LogSettings(events=("Fill",), file="run.log", rotation="10 MB", retention=3), services)
    other = Log(LogSettings(events=("Note",)), make_services("observers[1]"))

    observe_all(log)
    observe_all(other)
    log.close()

    text = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert ["2024-01-01T00:00:00Z INFO     Fill order=trend-000001 symbol=TEST side=buy size=0.1 price=100.5 fee=0.35"] == (
        text.splitlines()
    )


def test_json_lines_carry_order_strategy_and_trace(tmp_path: Path) -> None:
    seed = make_seed(tmp_path, 1)
    protect("hunter2-the-password")
    log = Log(LogSettings(events=EVERYTHING, file="run.log", format="json", level="DEBUG"), make_services(base=str(tmp_path)))
    observe_all(log)
    log.observe(Note(0, "trend", 'a "quoted" {note} with hunter2-the-password\nand two lines'))
    log.close()

    read = [json.loads(line) for line in (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()]

    assert len(sample_events()) + 1 == len(read)
    by_event = {one["event"]: one for one in read}
    assert {
        "at": "2024-01-01T00:00:00Z",
        "level": "INFO",
        "event": "Fill",
        "order": "trend-000001",
        "strategy": "trend",
        "trace_id": trace_id(seed, "trend-000001"),
        "symbol": "TEST",
        "side": "buy",
        "size": 0.1,
        "price": 100.5,
        "fee": 0.35,
    } == by_event["Fill"]
    related = [by_event[name] for name in ("Order", "OrderStep", "Fill", "OrderDenied")]
    assert {("trend-000001", "trend", trace_id(seed, "trend-000001"))} == {
        (one["order"], one["strategy"], one["trace_id"]) for one in related
    }
    assert {"at", "level", "event", "connector"} == set(by_event["Connected"])
    assert 'a "quoted" {note} with *** and two lines' == read[-1]["text"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_only_its_owner_may_read_a_log_also_after_it_was_rotated(tmp_path: Path) -> None:
    log = Log(LogSettings(events=("Fill",), file="run.log", rotation="200 B"), make_services(base=str(tmp_path)))
    for _ in range(5):
        observe_all(log)
    log.close()

    files = sorted(tmp_path.glob("run*.log"))
    assert len(files) > 1
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files}


def test_nothing_is_opened_before_the_first_line_or_after_the_end(tmp_path: Path) -> None:
    log = Log(LogSettings(file="run.log"), make_services(base=str(tmp_path)))

    log.close()
    log.observe(Note(0, "trend", "too late for the file"))

    assert [] == list(tmp_path.iterdir())


def test_a_closed_file_stays_closed(tmp_path: Path) -> None:
    log = Log(LogSettings(events=("Fill",), file="run.log"), make_services(base=str(tmp_path)))
    observe_all(log)
    log.close()
    log.close()

    observe_all(log)

    assert 1 == len((tmp_path / "run.log").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"events": ["Fills"]}, "unknown event 'Fills'; there are Bar, Quote, Order, Fill, Account"),
        ({"level": "LOUD"}, "unknown level 'LOUD'; there are TRACE"),
        ({"rotation": "sometimes"}, "unknown rotation 'sometimes'; write a size"),
        ({"format": "xml"}, "Input should be 'text' or 'json'"),
        ({"retention": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        LogSettings(**settings)


def test_importing_the_plugin_does_not_import_loguru() -> None:
    code = "import sys, herald.plugins.log; print('loguru' in sys.modules)"

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "False" == output.strip()
