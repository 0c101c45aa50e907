"""The run's side of the alerts: rules look at what happens, what they find is kept on disk, and a process of its own sends it."""

from __future__ import annotations

import os
import queue
import re
import signal
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from herald.clock import SECOND, format_time
from herald.components import Services
from herald.contracts import Control, Subscription
from herald.errors import ConfigError, HeraldError, Problem
from herald.model import HealthChanged
from herald.plugins.alerts.outbox import OUTBOX_NAME, Outbox
from herald.plugins.alerts.rules import Found, make_rules
from herald.plugins.alerts.settings import AlertsSettings, RuleSettings
from herald.plugins.alerts.timing import QuietHours, Repeats, Window
from herald.plugins.alerts.wire import Begin, Deliver, Failed, Ready, Sent, decode_up, encode
from herald.utils.child import ChildProcess
from herald.utils.redaction import redact

__all__ = ["Alerts"]

_SENDER = "herald.plugins.alerts.sender"
_PAUSE_SECONDS = 0.2
"""Between two looks at what happened: not at every event, for each wakes a thread beside the one that trades."""
_LOOK_SECONDS = 1.0
_READY_SECONDS = 15.0
"""How long a start waits for the sender to say whether it can use its targets."""
_DEAF_SECONDS = 20.0
"""A sender that has said nothing for so long hangs, and is started anew."""
_LAST_SECONDS = 3.0
"""How long an end waits for what is on its way; what is left goes out with the next start."""
_IN_FLIGHT = 200
_TROUBLE_ATTEMPTS = 3
_LONGEST = 1_500
"""Characters of a text; some messengers take 2,000."""
_NEWS_SIZE = 100_000
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


class Alerts:
    """Tells people what rules find; see docs/alerts.md."""

    def __init__(self, settings: AlertsSettings, services: Services) -> None:
        """Take the settings, with the addresses that the secrets hold.

        Raises:
            ConfigError: An address cannot be one.
        """
        self._settings = settings
        self._name = services.name
        self._clock = services.clock
        self._emit = services.emit
        self._addresses = {name: secret.get_secret_value().strip() for name, secret in settings.targets.items()}
        wrong = [
            Problem(
                f"{self._name}.targets.{name}",
                "is no address that apprise knows",
                'its secret must hold something like "tgram://..."',
            )
            for name, address in self._addresses.items()
            if not _SCHEME.fullmatch(address)
        ]
        if wrong:
            raise ConfigError("config", wrong)
        self._outbox = Outbox(Path(services.base, services.state, OUTBOX_NAME).resolve(), settings.queue)
        self._rules = make_rules(settings.rules)
        self._repeats = Repeats(settings.repeat_seconds)
        self._quiet = None if settings.quiet is None else QuietHours(settings.quiet)
        self._child: ChildProcess | None = None
        self._control: Control | None = None
        self._stopping = threading.Event()
        self._ready: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._flying: set[tuple[int, str]] = set()
        self._failing: dict[str, str] = {}
        self._heard_at = 0.0
        self._lost = 0
        self._told_trouble = ""
        self._told_dropped = 0
        self._mutex = threading.Lock()
        self._context = ""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of those whom there is to tell, in the order of the file."""
        return tuple(self._addresses)

    # --- the life of the service ------------------------------------------------------------------

    def start(self, control: Control) -> None:
        """Begin to look and to send.

        It waits for the sender's word on its targets, some seconds at most: a run whose alerts reach nobody must not begin.

        Raises:
            ConfigError: An address is wrong, or what waits cannot be kept.
        """
        try:
            self._outbox.open(self._addresses)
        except OSError as error:
            what = f"{OUTBOX_NAME} in the state folder cannot be used: {error.strerror or error}"
            raise ConfigError("config", [Problem(self._name, what, "mend the folder or its permissions")]) from error
        self._recall()
        self._control = control
        self._heard_at = self._clock.monotonic()
        self._child = self._sender()
        self._child.start()
        try:
            problems = self._ready.get(timeout=_READY_SECONDS)
        except queue.Empty:
            problems = {}  # a busy machine; `_changed` says what goes wrong with it
        if problems:
            self._child.stop()
            self._outbox.close()
            places = [(f"{self._name}.targets.{name}" if name else self._name, what) for name, what in problems.items()]
            raise ConfigError("config", [Problem(place, what) for place, what in places])
        ear = control.subscribe(_NEWS_SIZE)
        state, now = control.state(), self._clock.now()
        self._context = f"{state.mode} run of {state.source}"
        for number, rule in enumerate(self._rules):
            self._tell(number, rule.begin(now))
        if self._outbox.damaged:
            text = f"{self._outbox.damaged} lines of {OUTBOX_NAME} could not be read; some alerts of an earlier run may be lost"
            self._tell(None, [Found("outbox damaged", "warning", "alerts lost", text)])
        self._keep_memory()
        for work in (lambda: self._watch(ear), self._send):
            thread = threading.Thread(target=work, name=f"{self._name} thread", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Send what can be sent within some seconds, and end."""
        self._stopping.set()
        for thread in self._threads[:1]:
            thread.join(_LAST_SECONDS + 2.0)
        self._frames.put(None)
        if self._child is not None:
            self._child.stop()
        for thread in self._threads[1:]:
            thread.join(1.0)
        self._outbox.close()

    def test(self, names: Sequence[str], seconds: float) -> dict[str, str]:
        """Send a text to the targets *names*, once, and return why it failed by target, empty where it did not.

        Args:
            names: Some of the settings' targets.
            seconds: How long to wait for all of them.
        """
        answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

        def hear(frame: bytes) -> None:
            message = decode_up(frame)
            if isinstance(message, Sent | Failed):
                answers.put((message.target, message.why if isinstance(message, Failed) else ""))

        def changed(is_up: bool, text: str) -> None:
            if not is_up:
                for name in names:
                    answers.put((name, f"the sender {text.removeprefix('it ')}"))

        title = self._title("info", "test")
        body = f"this is a test, sent at {_at(self._clock.now())}; whoever reads it will get the alerts"
        texts = [encode(Deliver(number, name, "info", title, body, once=True)) for number, name in enumerate(names)]
        child = ChildProcess(_SENDER, hear, greet=lambda: [self._begin(), *texts], changed=changed)
        child.start()
        results: dict[str, str] = {}
        try:
            end = self._clock.monotonic() + seconds
            while len(results) < len(names):
                name, why = answers.get(timeout=max(end - self._clock.monotonic(), 0.0))
                results.setdefault(name, why)
        except queue.Empty:
            for name in names:
                results.setdefault(name, f"no answer within {seconds:g} s")
        finally:
            child.stop()
        return {name: redact(results[name]) for name in names}

    def announce(self, kind: str, title: str, text: str, seconds: float) -> bool | None:
        """Send one critical text for a run that is gone, to the targets of the rules *kind*, with whatever else waits.

        Args:
            kind: Of the rules that would have told it.
            title: A few words.
            text: The rest, on one line.
            seconds: How long to try; the next run goes on with what is left.

        Returns:
            Whether it is sent; None where no rule wants it told.

        Raises:
            OSError: What waits cannot be kept.
        """
        rules = [rule for rule in self._settings.rules if rule.when == kind]
        if not rules:
            return None
        self._outbox.open(self._addresses)
        for rule in rules:
            self._queue(rule.severity or "critical", title, text, rule, self._clock.now())
        self._child = self._sender()
        self._child.start()
        writer = threading.Thread(target=self._send, name=f"{self._name} thread", daemon=True)
        writer.start()
        end = self._clock.monotonic() + seconds
        while self._outbox.due(self._clock.now()) and self._clock.monotonic() < end:
            self._hand_over()
            threading.Event().wait(0.05)
        self.stop()
        return not self._outbox.due(self._clock.now())

    # --- looking ----------------------------------------------------------------------------------

    def _watch(self, ear: Subscription) -> None:
        """Look at what happens, until the run ends."""
        next_look = 0.0
        while not self._stopping.wait(_PAUSE_SECONDS):
            seconds = self._clock.monotonic()
            is_time = seconds >= next_look
            next_look = seconds + _LOOK_SECONDS if is_time else next_look
            self._turn(ear, look=is_time)
        self._turn(ear, look=True)
        ear.close()
        end = self._clock.monotonic() + _LAST_SECONDS
        while self._clock.monotonic() < end and self._is_sending():
            self._hand_over()
            threading.Event().wait(0.05)

    def _is_sending(self) -> bool:
        """Return whether something is due for a target that works."""
        return any(set(one.targets) - set(self._failing) for one in self._outbox.due(self._clock.now()))

    def _turn(self, ear: Subscription, *, look: bool) -> None:
        """Look once."""
        try:
            self._hear(ear)
            if look:
                self._look()
            self._hand_over()
        except Exception as error:  # alerts that fall silent are the worst failure of all, so they go on
            self._complain(f"alerts: {type(error).__name__}: {error}")

    def _hear(self, ear: Subscription) -> None:
        seconds = self._clock.monotonic()
        for event in ear.take():
            for number, rule in enumerate(self._rules):
                self._tell(number, rule.hear(event, seconds))
        if ear.lost > self._lost:
            text = f"{ear.lost - self._lost} events came faster than they could be looked at; something may not have been told"
            self._lost = ear.lost
            self._tell(None, [Found("news lost", "warning", "events missed", text)])

    def _look(self) -> None:
        control = self._control
        if control is None:
            return
        now, seconds = self._clock.now(), self._clock.monotonic()
        with suppress(HeraldError):  # a run that does not answer just now is looked at the next time
            state = control.state()
            for number, rule in enumerate(self._rules):
                self._tell(number, rule.look(state, now, seconds))
        for window, count in self._repeats.over(now):
            self._tell_again(window, count, now)
        dropped = self._outbox.dropped
        if dropped > self._told_dropped:
            self._told_dropped = dropped
            text = (
                f"{dropped} alerts were dropped, because {self._settings.queue} wait already for targets that cannot be reached"
            )
            self._complain(text)
        if self._outbox.trouble != self._told_trouble:
            self._told_trouble = self._outbox.trouble
            if self._told_trouble:
                self._complain(f"alerts are sent, but would not survive a crash: {self._told_trouble}")
        self._keep_memory()
        self._revive()

    def _tell(self, number: int | None, found: Iterable[Found]) -> None:
        """Keep what the rule *number* found, unless it was told a moment ago."""
        rule = None if number is None else self._settings.rules[number]
        try:
            for one in found:
                severity = one.severity if rule is None or rule.severity is None or one.ends else rule.severity
                now = self._clock.now()
                text, at = self._clean(one.text), _at(one.time or now)
                entry = {"severity": severity, "title": self._clean(one.title), "at": at, "rule": str(number)}
                if self._repeats.is_new(f"{number} {severity} {one.ends} {one.key}", text, entry, now):
                    self._queue(severity, one.title, f"{text} [{at}, {self._context}]", rule, now)
        except Exception as error:  # a rule that fails must not silence the others, nor itself for good
            self._complain(f"rule {number}: {type(error).__name__}: {error}")

    def _tell_again(self, window: Window, count: int, now: int) -> None:
        """Say how often something was found again."""
        severity = window.entry["severity"]
        number = window.entry["rule"]
        until = now if self._quiet is None or severity == "critical" else self._quiet.until(now)
        if until > now:  # one text at the end of the quiet hours, not one for every while
            self._repeats.extend(window, count, until)
            return
        rule = self._settings.rules[int(number)] if number.isdecimal() and int(number) < len(self._settings.rules) else None
        text = f"{count} times more since {window.entry['at']}; last: {window.text} [{_at(now)}, {self._context}]"
        window.entry["at"] = _at(now)
        self._queue(severity, f"{window.entry['title']} (again)", text, rule, now)

    def _queue(self, severity: str, title: str, body: str, rule: RuleSettings | None, now: int) -> None:
        targets = (rule.targets if rule is not None else ()) or tuple(self._addresses)
        due = now if self._quiet is None or severity == "critical" else self._quiet.until(now)
        self._outbox.add(severity, self._title(severity, title), self._clean(body), due, targets)

    def _title(self, severity: str, title: str) -> str:
        return self._clean(f"{self._settings.label or 'Herald'} {severity.upper()}: {title}")[:200]

    @staticmethod
    def _clean(text: str) -> str:
        """Return *text* on one line, without secrets, and without characters that steer a terminal or turn text around."""
        text = " ".join(_CONTROLS.sub(" ", redact(text)).split())
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."

    def _keep_memory(self) -> None:
        """Keep what rules and counts must know after a restart."""
        rules = {f"{number} {rule.settings.when}": rule.memory for number, rule in enumerate(self._rules) if rule.memory}
        windows = {key: msgspec.to_builtins(window) for key, window in self._repeats.windows.items()}
        self._outbox.remember({"rules": rules, "windows": windows})

    def _recall(self) -> None:
        """Bring back what an earlier run knew; what does not fit is forgotten."""
        memory: dict[str, Any] = self._outbox.memory
        rules, windows = memory.get("rules"), memory.get("windows")
        for number, rule in enumerate(self._rules):
            kept = rules.get(f"{number} {rule.settings.when}") if isinstance(rules, dict) else None
            rule.memory = dict(kept) if isinstance(kept, dict) else {}
        with suppress(msgspec.ValidationError):
            self._repeats.windows = msgspec.convert(windows or {}, dict[str, Window])

    # --- sending ----------------------------------------------------------------------------------

    def _sender(self) -> ChildProcess:
        return ChildProcess(_SENDER, self._answered, greet=self._greeting, changed=self._changed, longest_wait=10.0)

    def _begin(self) -> bytes:
        settings = self._settings
        return encode(Begin(self._addresses, settings.retry_seconds, settings.longest_retry_seconds))

    def _greeting(self) -> list[bytes]:
        """Return what a new sender is told; what was on its way to the last one is handed over again."""
        with self._mutex:
            self._flying.clear()
        self._heard_at = self._clock.monotonic()
        return [self._begin()]

    def _hand_over(self) -> None:
        """Give the sender what is due and what it does not have yet."""
        child = self._child
        if child is None or not child.pid:
            return
        with self._mutex:
            room = dict.fromkeys(self._addresses, _IN_FLIGHT)
            for _, target in self._flying:
                room[target] -= 1
            fresh = []
            for notice in self._outbox.due(self._clock.now()):
                for target in notice.targets:
                    if room[target] > 0 and (notice.id, target) not in self._flying:
                        room[target] -= 1
                        self._flying.add((notice.id, target))
                        fresh.append(Deliver(notice.id, target, notice.severity, notice.title, notice.body))
                if not any(left > 0 for left in room.values()):
                    break
        for text in fresh:
            self._frames.put(encode(text))

    def _send(self) -> None:
        """Write to the sender's pipe, which may make one wait."""
        while (frame := self._frames.get()) is not None:
            child = self._child
            if child is not None and not child.send(frame):
                with self._mutex:
                    self._flying.clear()  # nobody was there; all of it is handed over again

    def _answered(self, frame: bytes) -> None:
        message = decode_up(frame)
        self._heard_at = self._clock.monotonic()
        if isinstance(message, Sent):
            self._outbox.sent(message.id, message.target)
            with self._mutex:
                self._flying.discard((message.id, message.target))
            if self._failing.pop(message.target, None) is not None:
                self._emit(HealthChanged(self._clock.now(), f"{self._name}.targets.{message.target}", "healthy"))
        elif isinstance(message, Failed):
            if message.attempts >= _TROUBLE_ATTEMPTS and message.target not in self._failing:
                self._failing[message.target] = message.why
                text = f"alerts do not get through, and wait: {redact(message.why)}"
                self._emit(HealthChanged(self._clock.now(), f"{self._name}.targets.{message.target}", "unhealthy", text))
        elif isinstance(message, Ready):
            self._ready.put(message.problems)

    def _changed(self, is_up: bool, text: str) -> None:
        if not is_up and not self._stopping.is_set():
            if not self._threads and self._child is not None and self._child.starts == 1:
                self._ready.put({"": f"the sender of alerts: {redact(text)}"})
            self._complain(f"the sender of alerts is started again: {text}")

    def _complain(self, text: str) -> None:
        """Say through the run that something is wrong with the alerts themselves."""
        self._emit(HealthChanged(self._clock.now(), self._name, "unhealthy", redact(" ".join(text.split()))[:500]))

    def _revive(self) -> None:
        """End a sender that hangs; it is started again."""
        child = self._child
        if child is not None and child.pid and self._clock.monotonic() - self._heard_at > _DEAF_SECONDS:
            self._heard_at = self._clock.monotonic()
            with suppress(OSError):
                os.kill(child.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _at(time: int) -> str:
    """Return *time* as people write it, to the second."""
    return format_time(time // SECOND * SECOND)
