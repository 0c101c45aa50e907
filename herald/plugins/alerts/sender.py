"""The process that sends: ``python -m herald.plugins.alerts.sender``, started by the run and fed through its pipe.

Every target has a thread of its own, so that one that hangs keeps no other waiting. A text that fails is tried again, ever
later, until it is sent; it is the run that keeps it on disk meanwhile. Only this module imports apprise.
"""

from __future__ import annotations

import html
import os
import random
import re
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote

from herald.plugins.alerts.wire import Beat, Begin, Deliver, Failed, Ready, Sent, Up, decode_down, encode
from herald.utils.child import ParentLink
from herald.utils.redaction import SHORTEST, protect, redact
from herald.utils.retry import RetryPolicy

__all__ = ["Target", "disarmed", "main", "protect_address"]

_BEAT_SECONDS = 2.0
_PARTS = re.compile(r"[:/?&=@#,%;\s]+")
_UNSEEN = "\u200b"
"""A space of no width: it takes the meaning from a character and leaves its looks."""
_KINDS: Final = {"info": "INFO", "warning": "WARNING", "critical": "FAILURE"}
_MARKUP = re.compile(r"([\\`*_\[\]|~])")
_LONGEST_WHY = 300
_STUBBORN = 5
"""After so many attempts at one text the next one is tried as well."""


def disarmed(text: str, form: str) -> str:
    """Return *text* so that a messenger shows it and does nothing else: no mention, no link, no markup.

    Args:
        text: On one line.
        form: ``text``, ``html`` or ``markdown``, as the target takes it.
    """
    # "@everyone" wakes a whole company, and a link in a reason would be clicked on by somebody in a hurry.
    text = re.sub(r"([@<])(?=\S)", rf"\1{_UNSEEN}", text.replace("://", f":{_UNSEEN}//"))
    if form == "html":
        return html.escape(text)
    return _MARKUP.sub(r"\\\1", text) if form == "markdown" else text


def protect_address(address: str, shown: str) -> None:
    """Keep *address* out of every text, and each part of it that apprise does not show either; *shown* is what it shows."""
    protect(address)
    visible = set(_PARTS.split(shown))
    for part in _PARTS.split(address):
        if len(part) >= SHORTEST and part not in visible:
            protect(part)
            protect(unquote(part))


class Target:
    """One place to send to, and what waits for it."""

    def __init__(self, name: str, address: str, apprise: Any, begin: Begin, link: ParentLink) -> None:
        """Take an address as it is; `trouble` says why it is none."""
        self.trouble = ""
        self._name = name
        self._link = link
        self._apprise = apprise
        self._policy = RetryPolicy(initial_delay=begin.retry_seconds, max_delay=begin.longest_retry_seconds, jitter="equal")
        self._random = random.Random(f"{name} {os.getpid()}")  # so that many do not come back together
        self._queue: deque[Deliver] = deque()
        self._known: set[int] = set()
        self._attempts: dict[int, int] = {}
        self._some = threading.Event()
        protect(address)
        asset = apprise.AppriseAsset(app_id="Herald", app_desc="Herald", async_mode=False, interpret_escapes=False)
        with apprise.LogCapture(level=50):  # it says what is wrong with the whole address in it
            self._place = apprise.Apprise.instantiate(address, asset=asset)
        if self._place is None:
            scheme = address.partition("://")[0].lower() if "://" in address else ""
            known = scheme in _schemes(apprise)
            what = f"it does not fit what {scheme}:// needs" if known else "it begins with no scheme that apprise knows"
            self.trouble = f"{what}; see docs/alerts.md"
        if self._place is not None:
            protect_address(address, self._place.url(privacy=True))
            self._form = _form(self._place)

    def put(self, text: Deliver) -> None:
        """Send *text* in its turn; one that is known already is not sent again."""
        if text.id not in self._known:
            self._known.add(text.id)
            self._queue.append(text)
            self._some.set()

    def work(self) -> None:
        """Send what waits, in its order, for ever."""
        while True:
            self._some.wait()
            self._some.clear()
            failures = 0
            while self._queue:
                failures = 0 if self._next() else failures + 1
                if failures:
                    threading.Event().wait(self._policy.delay(min(failures - 1, 30), self._random.random()))

    def _next(self) -> bool:
        """Try the first text; return whether something was sent or is done with."""
        first = self._queue[0]
        if self._deliver(first) or first.once:
            self._queue.popleft()
            return True
        if self._attempts[first.id] < _STUBBORN or len(self._queue) < 2 or not self._deliver(self._queue[1]):
            return False
        # The place is there, and refuses this one text: the others must not wait behind it.
        self._queue.remove(self._queue[1])
        self._queue.rotate(-1)
        return True

    def _deliver(self, text: Deliver) -> bool:
        why = self.trouble or self._try(text)
        if not why:
            self._attempts.pop(text.id, None)
            self._say(Sent(text.id, self._name))
            return True
        attempts = self._attempts[text.id] = self._attempts.get(text.id, 0) + 1
        self._say(Failed(text.id, self._name, redact(" ".join(why.split()))[:_LONGEST_WHY], attempts))
        return False

    def _try(self, text: Deliver) -> str:
        """Send *text*; return why that failed, empty where it did not."""
        mine = f"{threading.get_ident()} "
        with self._apprise.LogCapture(level=30, fmt="%(thread)d %(message)s") as said:
            try:
                # Not through a collection of places: that calls from threads of its own, and their words are nobody's.
                is_sent = self._place.notify(
                    title=disarmed(text.title, self._form),
                    body=disarmed(text.body, self._form),
                    notify_type=getattr(self._apprise.NotifyType, _KINDS.get(text.severity, "INFO")),
                    body_format=self._form,
                )
            except Exception as error:  # whatever a service's module does, the next text is to be sent
                return f"{type(error).__name__}: {error}"
            if is_sent:
                return ""
            # Other targets' threads speak into the same log.
            lines = [line.removeprefix(mine) for line in said.getvalue().splitlines() if line.startswith(mine)]
        return lines[-1] if lines else "it was not accepted"

    def _say(self, message: Up) -> None:
        with suppress(OSError):  # the run is gone, and this process is about to notice
            self._link.send(encode(message))


def _form(place: Any) -> str:
    """Return the form in which a place takes texts: plain where it can."""
    stated = place.notify_format  # several from apprise 2 on, the usual one first
    forms = [str(getattr(one, "value", one)) for one in (stated if isinstance(stated, tuple | list) else (stated,))]
    return next((one for one in ("text", "html", "markdown") if one in forms), "text")


def _schemes(apprise: Any) -> set[str]:
    """Return what an address may begin with."""
    names = ("protocols", "secure_protocols")
    return {one for service in apprise.Apprise().details()["schemas"] for name in names for one in service.get(name) or ()}


def main() -> None:
    """Send what the run says until it is gone."""
    link = ParentLink()
    frame = link.read()
    if frame is None:
        return
    begin = decode_down(frame)
    if not isinstance(begin, Begin):
        raise SystemExit("the first message must say whom there is to tell")
    for address in begin.targets.values():
        protect(address)
    import apprise

    targets = {name: Target(name, address, apprise, begin, link) for name, address in begin.targets.items()}
    for target in targets.values():
        threading.Thread(target=target.work, daemon=True).start()
    threading.Thread(target=_beat, args=(link,), daemon=True).start()
    link.send(encode(Ready({name: target.trouble for name, target in targets.items() if target.trouble})))
    while (frame := link.read()) is not None:
        text = decode_down(frame)
        if isinstance(text, Deliver) and text.target in targets:
            targets[text.target].put(text)


def _beat(link: ParentLink) -> None:
    """Say every few seconds that this process lives."""
    with suppress(OSError):
        while True:
            link.send(encode(Beat()))
            threading.Event().wait(_BEAT_SECONDS)


if __name__ == "__main__":
    try:
        main()
    except ImportError as error:
        sys.stderr.write(f"{error}; pip install 'herald-trading[notify]'\n")
        raise SystemExit(1) from None
