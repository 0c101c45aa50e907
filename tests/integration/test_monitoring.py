"""What `monitoring/` asks for is what a run really measures: rules, dashboards, ports and paths."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import pytest

from tests.integration.test_control import Running, started
from tests.measured import MeasuredRun, family, run_scripted

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring"
NAME = re.compile(r"\bherald_[a-z0-9_]+\b")
SELECTED = re.compile(r"(herald_[a-z0-9_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SCRAPED = {"instance", "job", "le"}
"""Labels that Prometheus adds, and the one of histograms."""
SERVERS = {"herald_control_streams", "herald_control_lost_events_total"}
"""What the control server measures of itself; see tests/unit/plugins/control."""
SELDOM = {
    *("herald_alerts_total", "herald_circuit_changes_total", "herald_connector_mtbf_seconds", "herald_connector_mttr_seconds"),
    *("herald_denials_total", "herald_observers_muted_total", "herald_rejections_total", "herald_strategy_failures_total"),
    "herald_trading_state_changes_total",
}
"""What a run has no value of before it happens."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> MeasuredRun:
    return run_scripted(tmp_path_factory.mktemp("measured"))


def strings(value: Any, key: str) -> Iterator[str]:
    """Yield every text under *key*, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key and isinstance(inner, str):
                yield inner
            else:
                yield from strings(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, key)


def rules() -> dict[str, str]:
    """Return the expression of every alert; YAML of one shape is read without a library for it."""
    found: dict[str, str] = {}
    name, expression, depth = "", "", 0
    for line in (MONITORING / "alerts.yml").read_text(encoding="utf-8").splitlines():
        indent = len(line) - len(line.lstrip())
        text = line.strip()
        if text.startswith("- alert:"):
            name = text.partition(":")[2].strip()
        elif text.startswith("expr:"):
            expression, depth = text.partition(":")[2].strip().removeprefix(">-"), indent
            found[name] = expression
        elif depth and indent > depth and name:
            found[name] += f" {text}"
        else:
            depth = 0
    return found


@cache
def queries() -> dict[str, str]:
    """Return every query of every dashboard, and of every alert, by where it stands."""
    found = {f"alerts.yml {name}": expression for name, expression in rules().items()}
    for path in sorted((MONITORING / "grafana" / "dashboards").glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for key in ("expr", "query", "definition"):
            found |= {f"{path.name} {key} {n}": text for n, text in enumerate(strings(document, key)) if NAME.search(text)}
    return found


def test_there_are_rules_and_dashboards_to_check() -> None:
    assert len(rules()) >= 20
    assert all(NAME.search(one) or "up{" in one for one in rules().values()), rules()
    assert len([one for one in queries() if ".json" in one]) >= 40


def test_every_metric_that_is_asked_for_is_measured_and_has_a_value(run: MeasuredRun) -> None:
    names = {series for series, _ in run.samples} | SERVERS
    missing = {place: sorted({name for name in NAME.findall(query) if name not in names}) for place, query in queries().items()}

    assert {place: one for place, one in missing.items() if one} == {}


def test_every_label_that_is_asked_for_is_there(run: MeasuredRun) -> None:
    wrong = []
    for place, query in queries().items():
        measured = {family(name, run.kinds) for name in NAME.findall(query)} - SERVERS
        known = set().union(*(run.labels[name] for name in measured)) if measured else set()
        for name, inner in SELECTED.findall(query):
            stated = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", inner)) - SCRAPED
            wrong += [(place, name, label) for label in stated - run.labels.get(family(name, run.kinds), set())]
        for group in GROUPED.findall(query):
            stated = {one.strip() for one in group.split(",") if one.strip()} - SCRAPED
            wrong += [(place, "by", label) for label in stated - known]
        for label in re.findall(r"label_values\(herald_[a-z_]+(?:\{[^}]*\})?,\s*([a-z_]+)\)", query):
            wrong += [(place, "values", label)] if label not in known | SCRAPED else []
    assert wrong == []


def test_every_metric_says_what_it_is_and_is_named_as_prometheus_wants(run: MeasuredRun) -> None:
    wrong = [
        name
        for name, kind in run.kinds.items()
        if not run.texts.get(name, "").strip()
        or (kind == "counter") != name.endswith("_total")
        or (kind == "histogram" and not name.endswith("_seconds"))
    ]
    assert wrong == []


def test_every_alert_says_what_to_do_and_names_verbs_that_exist() -> None:
    from herald.cli import herald

    text = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
    verbs = set(re.findall(r"`herald ([a-z0-9]+)", text))

    assert text.count("runbook:") == text.count("summary:") == len(rules())
    assert verbs - set(herald.list_commands(None)) == set()  # type: ignore[arg-type]
    assert [one for one in re.findall(r"docs/[a-z0-9-]+\.md", text) if not (ROOT / one).is_file()] == []


def test_the_scripted_run_shows_what_a_bad_day_has(run: MeasuredRun) -> None:
    assert run.ever("circuit_open", component="connectors.main.middleware[4]").count(1.0)
    for name in ("herald_fills_total", "herald_denials_total", "herald_reconnects_total", "herald_strategy_failures_total"):
        assert any(values[-1] > 0 for (series, _), values in run.samples.items() if series == name), name


@pytest.mark.skipif(shutil.which("promtool") is None and not os.environ.get("CI"), reason="promtool is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="CI installs promtool on Debian only")
def test_prometheus_takes_the_files(tmp_path: Path) -> None:
    shutil.copytree(MONITORING, tmp_path / "monitoring")
    (tmp_path / "monitoring" / "herald.key").write_text("a key", encoding="utf-8")
    for check, file in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        command = ["promtool", "check", check, str(tmp_path / "monitoring" / file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("prometheus") is None and not os.environ.get("CI"), reason="prometheus is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="CI installs prometheus on Debian only")
def test_a_prometheus_scrapes_a_run_evaluates_every_rule_and_answers_every_query(tmp_path: Path) -> None:
    layers = ("health_monitor", "cache", "metrics", "retry", "circuit_breaker", "rate_limiter")
    more = "\n[metrics]\n" + "".join(f'\n[[connectors.main.middleware]]\nuse = "{one}"\n' for one in layers)
    with started(tmp_path, more) as running, prometheus(tmp_path / "monitoring", running) as ask:
        running.wait(lambda: running.ask("/api/v1/positions")["positions"])
        running.wait(lambda: ask("query", 'up{job="herald"} == 1')["result"])
        # A rate needs two scrapes of a series, and an increase of a counter that is there from its first.
        running.wait(lambda: ask("query", "sum(rate(herald_connector_calls_total[15s])) > 0")["result"])
        told = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
        found = {place: ask("query", filled(query)) for place, query in queries().items() if "label_values" not in query}

    assert {rule["name"]: (rule["health"], rule.get("lastError")) for rule in told} == dict.fromkeys(rules(), ("ok", None))
    firing = {rule["name"] for rule in told if rule["state"] == "firing"}
    assert firing <= {"HeraldNotTrading"}, firing
    silent = {
        name
        for place, one in found.items()
        if ".json" in place and not one["result"] and 'outcome!="ok"' not in queries()[place]  # every call may have gone well
        for name in NAME.findall(queries()[place])
    }
    assert silent - SELDOM == set()


@contextmanager
def prometheus(folder: Path, running: Running) -> Iterator[Callable[..., Any]]:
    """Let a Prometheus with the files of `monitoring/` scrape *running*; yield what asks it over its interface."""
    shutil.copytree(MONITORING, folder)
    key = running.herald("control keys add", "prometheus", "--role", "metrics")
    (folder / "herald.key").write_text(re.search(r"hrld_\w+", key)[0], encoding="utf-8")  # type: ignore[index]
    place = urlsplit(running.told["address"])
    (folder / "targets" / "herald.yml").write_text(f'- targets: ["{place.netloc}"]\n', encoding="utf-8")
    config = folder / "prometheus.yml"
    config.write_text(config.read_text(encoding="utf-8").replace("_interval: 5s", "_interval: 1s"), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def ask(what: str, query: str = "") -> Any:
        address = f"http://127.0.0.1:{port}/api/v1/{what}?{urlencode({'query': query} if query else {})}"
        try:
            with urlopen(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            if error.code == 503:  # it starts
                raise
            raise AssertionError(f"{query}: {error.read().decode()}") from error

    try:
        running.wait(lambda: ask("status/buildinfo"))
        yield ask
    finally:
        process.terminate()
        process.wait(30)


def filled(query: str) -> str:
    """Return *query* as Grafana asks it: its variables replaced."""
    return query.replace("$__rate_interval", "15s").replace("$instance", ".*")


def test_the_dashboards_are_what_their_script_makes(tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (MONITORING / "grafana" / "dashboards").glob("*.json")}
    shutil.copytree(MONITORING, tmp_path / "monitoring")
    command = [sys.executable, str(tmp_path / "monitoring" / "make_dashboards.py")]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

    assert {path.name: path.read_bytes() for path in (tmp_path / "monitoring/grafana/dashboards").glob("*.json")} == before


def test_the_page_lists_every_metric_with_its_kind_and_labels(run: MeasuredRun) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = {
        name: (kind, {one for one in re.split(r", |–", labels) if one}, text)
        for name, kind, labels, text in re.findall(r"^\| `(herald_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", page, re.MULTILINE)
    }

    measured = {name: (kind, run.labels[name], run.texts[name]) for name, kind in run.kinds.items()}
    assert {name: one for name, one in listed.items() if name not in SERVERS} == measured
    assert set(listed) >= SERVERS
