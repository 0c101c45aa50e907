"""From an event to a webhook, through a real process that sends: nothing is lost, doubled, leaked or in the way."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herald.clock import SECOND, WallClock, parse_time
from herald.errors import ConfigError
from herald.model import Alert, Connected, Disconnected, Event, HealthChanged, Note, RunStarted, StrategyFailed
from herald.plugins.alerts import Alerts, service
from herald.utils import redaction
from tests.unit.plugins.alerts.hook import Hook, PlayedRun, make_alerts, numbers, wait_until

FAST = {"retry_seconds": 0.05, "longest_retry_seconds": 0.2}
ALERT_RULE = ({"when": "alert"},)
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process and let it go on")


@pytest.fixture
def hook() -> Iterator[Hook]:
    one = Hook()
    yield one
    one.close()


@pytest.fixture
def started() -> Iterator[Any]:
    running: list[Alerts] = []

    def start(folder: Path, targets: dict[str, str], **keys: Any) -> tuple[Alerts, PlayedRun]:
        run, alerts = PlayedRun(), make_alerts(folder, targets, **keys)
        running.append(alerts)
        alerts.start(run)  # type: ignore[arg-type]
        return alerts, run

    yield start
    for one in running:
        one.stop()


def number(at: int) -> Alert:
    return Alert(parse_time("2024-03-06T12:00:00Z"), f"code_{at}", f"no {at} of them")


def sender_of(alerts: Alerts) -> int:
    assert alerts._child is not None
    return alerts._child.pid


def test_an_alert_arrives_within_seconds_says_what_and_where_and_is_kept_no_longer(
    started: Any, hook: Hook, tmp_path: Path
) -> None:
    alerts, run = started(tmp_path, {"phone": hook.url})
    cause = time.monotonic()

    run.say(Disconnected(parse_time("2024-03-06T12:00:00.123Z"), "main", "time-out"))

    assert wait_until(lambda: hook.posts)
    assert hook.times[0] - cause < 5.0
    assert ["Herald WARNING: disconnected"] == hook.titles
    assert [
        "connector main: time-out; nothing that adds to a position is sent until it is back "
        "[2024-03-06T12:00:00Z, paper run of run.toml]"
    ] == hook.bodies
    assert "warning" == hook.posts[0]["type"]
    assert wait_until(lambda: alerts._outbox.count() == 0)


def test_an_event_that_no_rule_is_for_is_no_alert(started: Any, hook: Hook, tmp_path: Path) -> None:
    alerts, run = started(tmp_path, {"phone": hook.url}, rules=({"when": "run"},))

    run.say(Note(0, "trend", "hello"), Disconnected(0, "main", "x"), RunStarted(0, "paper"))

    assert wait_until(lambda: hook.posts)
    alerts.stop()
    assert ["Herald INFO: run started"] == hook.titles


def test_a_notifier_that_is_down_for_long_loses_nothing_and_keeps_the_order(started: Any, hook: Hook, tmp_path: Path) -> None:
    # Ten minutes and the waits of up to one between attempts, three hundred times as fast.
    alerts, run = started(tmp_path, {"phone": hook.url}, rules=ALERT_RULE, retry_seconds=0.02, longest_retry_seconds=0.2)
    hook.close()
    for at in range(40):
        run.say(number(at))
        time.sleep(0.05)
    assert wait_until(lambda: alerts._outbox.count() == 40)

    again = Hook(hook.port)
    try:
        assert wait_until(lambda: len(again.posts) >= 40)
        assert wait_until(lambda: alerts._outbox.count() == 0)
        time.sleep(0.3)
    finally:
        again.close()

    told = numbers(again.bodies)
    assert list(range(40)) == list(dict.fromkeys(told))
    assert len(told) <= 42  # a text whose answer came too late on a busy machine is sent again: at least once


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.long)])
def test_a_sender_that_is_killed_again_and_again_loses_nothing(started: Any, hook: Hook, tmp_path: Path, kills: int) -> None:
    hook.pause = 0.01
    alerts, run = started(tmp_path, {"phone": hook.url}, rules=ALERT_RULE, **FAST)
    count = 40 * kills
    for at in range(count):
        run.say(number(at))
    for kill in range(kills):
        wanted = 10 + 40 * kill
        assert wait_until(lambda wanted=wanted: len(hook.posts) >= wanted and sender_of(alerts), 60)
        os.kill(sender_of(alerts), getattr(signal, "SIGKILL", signal.SIGTERM))

    assert wait_until(lambda: alerts._outbox.count() == 0, 60)
    got = numbers(hook.bodies)
    assert set(range(count)) == set(got)
    # At least once: the one that was being sent when a sender died may come again, with those whose receipt was on its way.
    assert len(got) - count <= 3 * kills


def test_what_a_run_leaves_behind_the_next_one_sends(started: Any, hook: Hook, tmp_path: Path) -> None:
    hook.close()
    first, run = started(tmp_path, {"phone": hook.url}, rules=ALERT_RULE, **FAST)
    for at in range(5):
        run.say(number(at))
    assert wait_until(lambda: first._outbox.count() == 5)
    first.stop()

    again = Hook(hook.port)
    try:
        second, _ = started(tmp_path, {"phone": hook.url}, rules=ALERT_RULE, **FAST)
        assert wait_until(lambda: len(again.posts) >= 5)
        second.stop()
    finally:
        again.close()

    assert list(range(5)) == numbers(again.bodies)


def test_an_end_sends_what_was_said_last(started: Any, hook: Hook, tmp_path: Path) -> None:
    alerts, run = started(tmp_path, {"phone": hook.url}, rules=ALERT_RULE)

    run.say(number(1))
    alerts.stop()

    assert [1] == numbers(hook.bodies)
    alerts.stop()


def test_an_end_waits_for_no_target_that_is_down(started: Any, hook: Hook, tmp_path: Path) -> None:
    alerts, run = started(tmp_path, {"phone": hook.url, "dead": "json://127.0.0.1:9/x"}, rules=ALERT_RULE, **FAST)
    run.say(number(1))
    assert wait_until(lambda: alerts._failing)

    begin = time.monotonic()
    run.say(number(2))
    alerts.stop()

    assert time.monotonic() - begin < 8
    assert [1, 2] == numbers(hook.bodies)


def test_a_target_that_is_down_keeps_no_other_waiting_and_others_are_told(started: Any, hook: Hook, tmp_path: Path) -> None:
    said: list[Event] = []
    alerts, run = started(tmp_path, {"dead": "json://127.0.0.1:9/x", "phone": hook.url}, rules=ALERT_RULE, said=said, **FAST)

    for at in range(10):
        run.say(number(at))

    assert wait_until(lambda: len(hook.posts) == 10)
    assert wait_until(lambda: said)
    (told,) = [one for one in said if isinstance(one, HealthChanged)]
    assert ("services[0].targets.dead", "unhealthy") == (told.name, told.state)
    assert "alerts do not get through, and wait: " in told.text
    assert 10 == alerts._outbox.count()


def test_a_text_that_a_target_refuses_keeps_no_other_waiting(started: Any, hook: Hook, tmp_path: Path) -> None:
    hook.refuses = lambda body: "no 0 " in body["message"]
    alerts, run = started(tmp_path, {"phone": hook.url}, rules=ALERT_RULE, **FAST)

    for at in range(4):
        run.say(number(at))
    assert wait_until(lambda: len(hook.posts) == 3)
    assert wait_until(lambda: alerts._outbox.count() == 1)  # the answer of the last one may still be on its way
    hook.refuses = lambda body: False

    assert wait_until(lambda: alerts._outbox.count() == 0)
    assert [1, 2, 3, 0] == numbers(hook.bodies)


@POSIX
@pytest.mark.long
def test_a_sender_that_hangs_is_replaced(started: Any, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_DEAF_SECONDS", 4.0)
    alerts, run = started(tmp_path, {"phone": hook.url}, rules=ALERT_RULE)
    hung = sender_of(alerts)
    os.kill(hung, signal.SIGSTOP)

    run.say(number(1))

    assert wait_until(lambda: hook.posts, 30)
    assert hung != sender_of(alerts)


def test_the_same_again_is_one_text_and_later_one_with_the_count(started: Any, hook: Hook, tmp_path: Path) -> None:
    _, run = started(tmp_path, {"phone": hook.url}, rules=ALERT_RULE, repeat_seconds=2.0)

    for _ in range(50):
        run.say(Alert(parse_time("2024-03-06T12:00:00Z"), "late_bar", "a bar came too late"))

    assert wait_until(lambda: len(hook.posts) == 2)
    assert ["Herald WARNING: late bar", "Herald WARNING: late bar (again)"] == hook.titles
    assert hook.bodies[1].startswith("49 times more since 2024-03-06T12:00:00Z; last: a bar came too late [")


class SetClock(WallClock):
    """Real seconds, and a time of day that a test sets."""

    def __init__(self, text: str) -> None:
        self.time = parse_time(text)

    def now(self) -> int:
        return self.time


def test_quiet_hours_hold_back_what_can_wait_and_let_pass_what_is_critical(started: Any, hook: Hook, tmp_path: Path) -> None:
    clock = SetClock("2024-03-06T23:00:00Z")
    quiet = {"begin": "22:00", "end": "07:00", "zone": "Europe/London"}
    alerts, run = started(tmp_path, {"phone": hook.url}, quiet=quiet, clock=clock, repeat_seconds=60)

    for _ in range(3):
        run.say(Disconnected(clock.time, "main", "x"), Connected(clock.time, "main"))
    run.say(StrategyFailed(clock.time, "trend", "boom", ""))
    assert wait_until(lambda: hook.posts)
    held_back = hook.titles.copy()
    clock.time += 3_600 * SECOND  # the while in which repeats count is over, the quiet hours are not
    time.sleep(1.5)
    still = hook.titles.copy()
    clock.time = parse_time("2024-03-07T07:00:00Z")

    assert ["Herald CRITICAL: strategy stopped"] == held_back == still
    assert wait_until(lambda: len(hook.posts) == 5)
    alerts.stop()
    assert {
        "Herald WARNING: disconnected",
        "Herald INFO: connected again",
        "Herald WARNING: disconnected (again)",
        "Herald INFO: connected again (again)",
    } == set(hook.titles[1:])
    assert ["2 times more"] * 2 == [body[:12] for body in hook.bodies if "times more" in body]


def test_a_rule_tells_its_own_targets_as_gravely_as_it_says(started: Any, hook: Hook, tmp_path: Path) -> None:
    mail = Hook()
    rules = ({"when": "alert", "targets": ["mail"], "severity": "critical"}, {"when": "disconnected", "targets": ["phone"]})
    try:
        alerts, run = started(tmp_path, {"phone": hook.url, "mail": mail.url}, rules=rules)
        run.say(Alert(0, "late_bar", "late"), Disconnected(0, "main", "x"))
        assert wait_until(lambda: hook.posts and mail.posts)
        alerts.stop()
    finally:
        mail.close()

    assert (["Herald WARNING: disconnected"], ["Herald CRITICAL: late bar"]) == (hook.titles, mail.titles)


def test_no_secret_and_nothing_that_acts_gets_into_a_text(started: Any, hook: Hook, tmp_path: Path) -> None:
    for secret in ("hunter2-the-password", hook.url):
        redaction.protect(secret)
    _, run = started(tmp_path, {"phone": hook.url}, rules=({"when": "strategy_failed"},))
    error = f"login with hunter2-the-password at {hook.url}\r\n\x1b[2J@everyone <b>now</b> http://evil.example\u202e"

    run.say(StrategyFailed(0, "trend", error, "traceback with hunter2-the-password"))

    assert wait_until(lambda: hook.posts)
    (body,) = hook.bodies
    assert "hunter2" not in body
    assert "whsec" not in body
    assert not re.search(r"[\x00-\x1f\x7f\u202a-\u202e]|@everyone|<b>|://", body)
    waiting = (tmp_path / "alerts.outbox").read_text(encoding="utf-8")
    assert "hunter2" not in waiting
    assert "whsec" not in waiting


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux shows what a process was started with")
def test_addresses_stand_on_no_command_line_and_in_no_environment(
    started: Any, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERALD_SECRET_PHONE", hook.url)
    alerts, _ = started(tmp_path, {"phone": hook.url})
    shown = b"".join(Path(f"/proc/{sender_of(alerts)}/{name}").read_bytes() for name in ("cmdline", "environ"))

    assert b"herald.plugins.alerts.sender" in shown
    assert b"whsec" not in shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("0815-4711", "services[0].targets.phone: is no address that apprise knows; its secret must hold"),
        ("", "services[0].targets.phone: is no address that apprise knows"),
        ("nosuchthing://topsecret", "services[0].targets.phone: it begins with no scheme that apprise knows; see docs/alerts.md"),
        ("tgram://topsecret", "services[0].targets.phone: it does not fit what tgram:// needs; see docs/alerts.md"),
    ],
)
def test_an_address_that_is_none_ends_the_start_with_one_line(started: Any, tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        started(tmp_path, {"phone": url})

    (problem,) = caught.value.problems
    assert words in str(problem)
    assert "topsecret" not in str(caught.value)


def test_a_state_folder_that_cannot_be_used_ends_the_start_with_one_line(tmp_path: Path, hook: Hook, started: Any) -> None:
    (tmp_path / "alerts.outbox").mkdir()

    with pytest.raises(ConfigError, match="alerts.outbox in the state folder cannot be used: "):
        started(tmp_path, {"phone": hook.url})


def test_a_rule_that_fails_is_told_and_the_others_go_on(
    started: Any, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Event] = []
    alerts, run = started(tmp_path, {"phone": hook.url}, rules=({"when": "run"}, {"when": "alert"}), said=said)
    monkeypatch.setattr(alerts._rules[0], "hear", lambda event, seconds: (1 / 0 for _ in "x"))

    run.say(number(1))

    assert wait_until(lambda: hook.posts)
    assert [1] == numbers(hook.bodies)
    assert any(isinstance(one, HealthChanged) and "ZeroDivisionError" in one.text for one in said)


def test_events_that_nobody_could_look_at_in_time_are_told(started: Any, hook: Hook, tmp_path: Path) -> None:
    _, run = started(tmp_path, {"phone": hook.url})

    assert run.ear is not None
    run.ear.lost = 7

    assert wait_until(lambda: hook.posts)
    assert ["Herald WARNING: events missed"] == hook.titles
    assert hook.bodies[0].startswith("7 events came faster than they could be looked at")
