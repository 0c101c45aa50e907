"""Alerts of real runs arrive at a webhook: a lost broker, a killed run, a crash loop; and `herald alerts test`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from herald.cli import main
from herald.runtime.live import LiveRun
from herald.testing.simbroker import SimBroker
from tests.integration.test_live_controls import drive, live_file
from tests.unit.plugins.alerts.hook import Hook, wait_until

ROOT = Path(__file__).parents[2]
ALERTS = """
[[secrets]]
use = "environment"
[[services]]
use           = "alerts"
label         = "desk"
retry_seconds = 0.1
[services.targets]
phone = "secret:phone"
"""
REPLAY = """
[herald]
mode = "paper"
[connectors.history]
use    = "files"
path   = "{root}/examples/data/GBPUSD_H1_2021.csv"
symbol = "GBPUSD"
zone   = "Europe/Athens"
[connectors.main]
use        = "replay"
source     = "history"
start      = 2021-02-01
speed      = 36_000
middleware = []
[instruments.GBPUSD]
like = "fx_major"
[strategies.trend]
use       = "strategies.sma_cross"
connector = "main"
symbols   = ["GBPUSD"]
timeframe = "1h"
size      = 0.1
[risk_profile]
use = "risk.balanced"
"""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    one = Hook()
    monkeypatch.setenv("HERALD_SECRET_PHONE", one.url)
    yield one
    one.close()


@pytest.fixture
def replayed(tmp_path: Path) -> Path:
    file = tmp_path / "run.toml"
    file.write_text(REPLAY.format(root=ROOT.as_posix()) + ALERTS, encoding="utf-8")
    return file


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "herald", *arguments]


def test_a_broker_that_dies_and_returns_is_told_within_five_seconds(hook: Hook, tmp_path: Path) -> None:
    causes: dict[str, float] = {}
    with SimBroker.start(
        tmp_path / "book.sqlite", mode="netting", tick_seconds=0.05, settle_seconds=0.3, history_days=0.001
    ) as broker:
        file = live_file(broker, tmp_path, ALERTS)

        def steps(run: LiveRun) -> Iterator[Callable[[], Any]]:
            causes["dies"] = time.monotonic()
            broker.kill()
            yield lambda: "desk WARNING: disconnected" in hook.titles
            causes["returns"] = time.monotonic()
            broker.restart()
            yield lambda: "desk INFO: connected again" in hook.titles
            causes["halted"] = time.monotonic()
            run.state.halt_account("a test", "to see it arrive")
            yield lambda: "desk CRITICAL: trading HALTED" in hook.titles

        result = drive(broker, file, steps, seconds=60)

    assert "interrupted" == result.status
    at = dict(zip(hook.titles, hook.times, strict=True))
    assert at["desk WARNING: disconnected"] - causes["dies"] < 5.0
    assert at["desk CRITICAL: trading HALTED"] - causes["halted"] < 5.0
    assert wait_until(lambda: "desk INFO: run interrupted" in hook.titles, 5)


def test_what_a_killed_run_could_not_send_the_next_one_sends(hook: Hook, replayed: Path, tmp_path: Path) -> None:
    hook.close()
    waiting = tmp_path / "state" / "alerts.outbox"
    killed = subprocess.Popen(command("paper", str(replayed), "--quiet", "--no-report"), cwd=tmp_path)
    try:
        # Once as the text, and once in the memory of what was told: a death between the two tells it twice.
        assert wait_until(lambda: waiting.is_file() and waiting.read_bytes().count(b"run started") >= 2, 60)
    finally:
        killed.kill()
        killed.wait()

    again = Hook(hook.port)
    try:
        subprocess.run(
            command("paper", str(replayed), "--quiet", "--no-report", "--for", "3"), cwd=tmp_path, check=True, timeout=120
        )
    finally:
        again.close()

    # The second start within ten minutes is the same again: it is counted, not told.
    assert ["desk INFO: run started", "desk INFO: run interrupted"] == again.titles


def test_a_watchdog_that_gives_up_sends_the_alert_itself(hook: Hook, replayed: Path, tmp_path: Path) -> None:
    (tmp_path / "crash.py").write_text("import sys; sys.exit(1)", encoding="utf-8")

    ended = subprocess.run(
        command("supervise", "--crashes", "2", "--", sys.executable, "crash.py", "run.toml"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert 1 == ended.returncode, ended.stderr
    assert "herald supervise: alert sent" in ended.stderr
    assert ["desk CRITICAL: halted by the watchdog"] == hook.titles
    assert "crash loop: 2 failures in 600 s" in hook.bodies[0]


def test_a_watchdog_whose_alert_does_not_get_through_leaves_it_to_the_next_run(
    hook: Hook, replayed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from herald.cli import alerts
    from herald.clock import WallClock
    from herald.live.state import ACCOUNT, StateFile

    monkeypatch.setattr(alerts, "_HALT_SECONDS", 2.0)
    hook.close()
    state = StateFile(tmp_path / "state", WallClock())
    (tmp_path / "state").mkdir()
    state.halt_account("watchdog", "crash loop")

    told = alerts.tell_of_halt(replayed, state.read().scopes[ACCOUNT])

    assert "the alert could not be sent yet; the next run sends it" == told
    assert b"halted by the watchdog" in (tmp_path / "state" / "alerts.outbox").read_bytes()


# --- herald alerts test


def run_main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def test_alerts_test_says_of_each_target_whether_it_works(
    hook: Hook, replayed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replayed.write_text(replayed.read_text(encoding="utf-8") + 'mail = "secret:mail"\nbad = "secret:bad"\n', encoding="utf-8")
    monkeypatch.setenv("HERALD_SECRET_MAIL", "json://127.0.0.1:9/topsecret4711")
    monkeypatch.setenv("HERALD_SECRET_BAD", "tgram://topsecret4712")

    code = run_main("alerts", "test", str(replayed))
    out = capsys.readouterr().out
    only = run_main("alerts", "test", str(replayed), "--target", "phone", "--json")

    assert (1, 0) == (code, only)
    assert [
        "phone  ok",
        "mail   failed: A Connection error occurred sending JSON notification to 127.0.0.1.",
        "bad    failed: it does not fit what tgram:// needs; see docs/alerts.md",
    ] == out.splitlines()
    assert ["desk INFO: test"] * 2 == hook.titles
    assert "topsecret" not in out
    assert not (replayed.parent / "state").exists()  # nothing of a run is touched


def test_alerts_test_waits_no_longer_than_it_is_told(hook: Hook, replayed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hook.pause = 3.5

    code = run_main("alerts", "test", str(replayed), "--seconds", "2")

    assert (1, "phone  failed: no answer within 2 s\n") == (code, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("change", "arguments", "code", "words"),
    [
        (("", ""), ("--target", "fone"), 2, "have no target 'fone'; did you mean phone?"),
        (("", ""), ("--seconds", "0"), 2, "0.0 is not in the range"),
        ((ALERTS, ""), (), 4, 'services: there are no alerts; add [[services]] with use = "alerts"; see docs/alerts.md'),
        (("secret:phone", "secret:other"), (), 4, "services[0].targets.phone: secret 'other' is in none of the sources asked"),
        (('"secret:phone"', '"json://host/x"'), (), 4, "services[0].targets.phone: is a secret in plain text"),
        (("retry_seconds", "retry_secs"), (), 4, "retry_secs"),
        (("label         =", "rules = [{ when = 'los' }]\nlabel ="), (), 4, "services[0].rules[0].when: "),
        (
            ("label         =", "rules = [{ when = 'loss' }]\nlabel ="),
            (),
            4,
            "services[0].rules[0]: a rule 'loss' needs fraction",
        ),
        (
            ("label         =", "quiet = { begin = '1', end = '2' }\nlabel ="),
            (),
            4,
            "services[0].quiet.begin: '1' is no time of day",
        ),
    ],
)
def test_alerts_test_refuses_what_cannot_be_with_one_line(
    hook: Hook,
    replayed: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    replayed.write_text(replayed.read_text(encoding="utf-8").replace(*change), encoding="utf-8")

    got = run_main("alerts", "test", str(replayed), *arguments)

    error = capsys.readouterr().err
    assert code == got, error
    assert words in error
    assert "Traceback" not in error


def test_the_config_of_the_page_is_right(replayed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    config = page.partition("```text\n")[2].partition("```")[0]
    assert "[[services.rules]]" in config
    replayed.write_text(REPLAY.format(root=ROOT.as_posix()) + config, encoding="utf-8")

    assert 0 == run_main("check", str(replayed)), capsys.readouterr()


def test_a_second_table_of_alerts_is_refused(replayed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = replayed.read_text(encoding="utf-8")
    replayed.write_text(text + '[[services]]\nuse = "alerts"\n[services.targets]\nx = "secret:x"\n', encoding="utf-8")

    assert 4 == run_main("check", str(replayed))
    assert "services[1]: would send the same alerts again" in "".join(capsys.readouterr())


def test_without_apprise_a_config_with_alerts_is_refused(
    replayed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("herald.plugins.alerts.find_spec", lambda name: None)

    assert 4 == run_main("check", str(replayed))
    said = "".join(capsys.readouterr())
    assert "services[0]: needs apprise, which is not installed; pip install 'herald-trading[notify]'" in said
