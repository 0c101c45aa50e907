"""Orders of real runs arrive at a collector as whole traces, the log carries the same numbers, and a dead collector is no trouble."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from herald.cli import main
from herald.host.plan import load_plan
from herald.runtime.live import LiveRun
from herald.testing.simbroker import SimBroker
from tests.integration.test_alerts import REPLAY, ROOT
from tests.integration.test_live_controls import ctx_of, drive, live_file
from tests.unit.plugins.tracing.collector import Collector, Exported

OBSERVERS = """
[[observers]]
use             = "tracing"
endpoint        = "{endpoint}"
timeout_seconds = 0.5
[[observers]]
use    = "log"
file   = "state/run.log"
format = "json"
level  = "DEBUG"
events = ["Order", "OrderStep", "OrderDenied", "Fill"]
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


def traces(collector: Collector) -> dict[str, list[Exported]]:
    found: dict[str, list[Exported]] = defaultdict(list)
    for span in collector.spans:
        found[span.trace].append(span)
    return found


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "state" / "run.log").read_text(encoding="utf-8").splitlines()]


def test_an_order_at_a_broker_is_one_trace_and_the_log_names_it(collector: Collector, tmp_path: Path) -> None:
    with SimBroker.start(
        tmp_path / "book.sqlite", mode="netting", tick_seconds=0.05, settle_seconds=0.3, history_days=0.001
    ) as broker:
        file = live_file(broker, tmp_path, OBSERVERS.format(endpoint=collector.endpoint))

        def steps(run: LiveRun) -> Iterator[Callable[[], Any]]:
            ctx = ctx_of(run)
            ctx.buy("EURUSD", 0.1)
            ctx.buy("EURUSD", 5.0)  # the file allows one lot
            yield lambda: ctx.position("EURUSD").size
            ctx.close("EURUSD")
            yield lambda: not ctx.position("EURUSD").size

        result = drive(broker, file, steps)

    assert "interrupted" == result.status
    assert 3 == len(result.orders)
    found = traces(collector)
    filled = [spans for spans in found.values() if any(one.name == "fill" for one in spans)]
    denied = [spans for spans in found.values() if spans not in filled]
    assert (2, 1) == (len(filled), len(denied))
    for spans in filled:
        by_name = {one.name: one for one in spans}
        assert {"risk", "intent", "acknowledgement", "fill", "order"} == set(by_name)
        whole = by_name["order"]
        assert "" == whole.parent
        assert {whole.id} == {one.parent for one in spans if one is not whole}
        assert whole.begin <= by_name["risk"].end <= by_name["intent"].end <= by_name["acknowledgement"].end
        assert by_name["acknowledgement"].end <= by_name["fill"].end <= whole.end
        assert all(one.begin <= one.end for one in spans)
        assert 0.1 == whole.attributes["herald.size"]
    (refused,) = denied
    assert {"risk", "order"} == {one.name for one in refused}
    assert {"max_order_size"} == {one.attributes["herald.code"] for one in refused}
    by_order = {line["order"]: line["trace_id"] for line in logged(tmp_path)}
    assert {spans[0].attributes["herald.order"]: trace for trace, spans in found.items()} == by_order
    assert {"OrderStep", "Order", "Fill", "OrderDenied"} == {line["event"] for line in logged(tmp_path)}


def replayed(folder: Path, endpoint: str) -> Path:
    file = folder / "run.toml"
    text = REPLAY.format(root=ROOT.as_posix()).replace("36_000", "3_600_000").replace("2021-02-01", "2021-10-01")
    file.write_text(text + OBSERVERS.format(endpoint=endpoint), encoding="utf-8")
    return file


def test_a_collector_that_is_down_changes_nothing_of_a_run(collector: Collector, tmp_path: Path) -> None:
    outcomes = []
    for name, endpoint in (("up", collector.endpoint), ("down", "http://127.0.0.1:9/v1/traces")):
        (tmp_path / name).mkdir()
        run = LiveRun(load_plan(replayed(tmp_path / name, endpoint)))
        result = run.run(lambda: False)
        outcomes.append(([(one.id, one.status) for one in result.orders], [(one.order_id, one.price) for one in result.fills]))

    assert outcomes[0] == outcomes[1]
    whole = [one for one in collector.spans if one.name == "order"]
    assert len(outcomes[0][0]) == len(whole) > 20
    assert {name for name, _ in outcomes[0][0]} == {one.attributes["herald.order"] for one in whole}


def test_a_backtest_of_the_same_file_traces_nothing(collector: Collector, tmp_path: Path, clean_env: dict[str, str]) -> None:
    file = replayed(tmp_path, collector.endpoint)

    subprocess.run(
        [sys.executable, "-m", "herald", "backtest", str(file), "--quiet", "--no-report"], cwd=tmp_path, env=clean_env, check=True
    )

    assert 0 == collector.requests
    assert logged(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("", ""), "observers[0]: needs opentelemetry-sdk and its exporter, which are not installed; pip install"),
        (('"http://127.0.0.1:1/x"', '"127.0.0.1:1"'), "observers[0].endpoint: it is no address of a collector"),
        (("timeout_seconds = 0.5", 'headers = { X = "abcdefgh" }'), "observers[0].headers.X: is a secret in plain text"),
    ],
)
def test_traces_that_cannot_be_sent_are_refused_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: tuple[str, str], words: str
) -> None:
    monkeypatch.setattr("herald.plugins.tracing._is_installed", lambda: False)
    file = replayed(tmp_path, "http://127.0.0.1:1/x")
    file.write_text(file.read_text(encoding="utf-8").replace(*change), encoding="utf-8")

    with pytest.raises(SystemExit) as caught:
        main(("check", str(file)))

    assert 4 == caught.value.code
    assert words in "".join(capsys.readouterr())
