"""What still has to be told, on disk: a text is in the file before anybody tries to send it, until the last target has it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from herald.utils.durable import replace_file

__all__ = ["OUTBOX_NAME", "Notice", "Outbox"]

OUTBOX_NAME = "alerts.outbox"
"""Name of the file in the state folder."""

_GRAVITY = {"info": 0, "warning": 1, "critical": 2}
_SPARE_LINES = 1_000
"""The file is written anew when it has so many lines more than are needed."""


class Notice(msgspec.Struct, frozen=True):
    """A text on its way.

    Attributes:
        id: Counts up; never used twice.
        severity: ``info``, ``warning`` or ``critical``.
        title: A few words.
        body: The rest.
        due: Not to be sent before, nanoseconds UTC.
        targets: Who does not have it yet.
    """

    id: int
    severity: str
    title: str
    body: str
    due: int
    targets: tuple[str, ...]


class _Added(msgspec.Struct, frozen=True, tag="add", tag_field="is"):
    notice: Notice


class _Sent(msgspec.Struct, frozen=True, tag="sent", tag_field="is"):
    id: int
    target: str


class _Dropped(msgspec.Struct, frozen=True, tag="drop", tag_field="is"):
    id: int


class _Known(msgspec.Struct, frozen=True, tag="known", tag_field="is"):
    last_id: int
    memory: dict[str, Any]


_Line = _Added | _Sent | _Dropped | _Known


class Outbox:
    """The waiting texts, in memory and in a file that only ever grows between two rewritings; for use from several threads.

    Attributes:
        memory: What rules must know after a restart; `remember` keeps it.
        dropped: Texts that were given up because too many waited.
        damaged: Lines of the file that could not be read.
        trouble: Why the file cannot be written; empty where it can. Texts are sent all the same.
    """

    def __init__(self, path: Path, size: int) -> None:
        """Name the file; *size* texts may wait."""
        self.memory: dict[str, Any] = {}
        self.dropped = 0
        self.damaged = 0
        self.trouble = ""
        self._path = path
        self._size = size
        self._waiting: dict[int, Notice] = {}
        self._last_id = 0
        self._lines = 0
        self._descriptor = -1
        self._mutex = threading.Lock()
        self._encoder = msgspec.json.Encoder()

    def open(self, targets: Iterable[str]) -> None:
        """Read what is left of earlier runs; texts for targets other than *targets* have nobody to go to any more.

        Raises:
            OSError: The file cannot be read or written.
        """
        known = set(targets)
        decoder = msgspec.json.Decoder(_Line)
        with self._mutex:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                for line in filter(None, self._path.read_bytes().split(b"\n")):
                    try:
                        self._apply(decoder.decode(line))
                    # What a loss of power cut short; the lines around it are whole.
                    except (msgspec.MsgspecError, UnicodeDecodeError):
                        self.damaged += 1
            for notice in list(self._waiting.values()):
                left = tuple(one for one in notice.targets if one in known)
                self._keep(msgspec.structs.replace(notice, targets=left))
            self._rewrite()

    def add(self, severity: str, title: str, body: str, due: int, targets: Sequence[str]) -> Notice:
        """Keep a text and return it."""
        with self._mutex:
            self._last_id += 1
            notice = Notice(self._last_id, severity, title, body, due, tuple(targets))
            if len(self._waiting) >= self._size:
                least = min(self._waiting.values(), key=lambda one: (_GRAVITY.get(one.severity, 0), one.id))
                del self._waiting[least.id]
                self.dropped += 1
                self._append((_Dropped(least.id),), durable=False)
            self._waiting[notice.id] = notice
            self._append((_Added(notice),), durable=True)
            return notice

    def sent(self, notice_id: int, target: str) -> None:
        """Note that *target* has a text."""
        with self._mutex:
            line = _Sent(notice_id, target)
            self._apply(line)
            self._append((line,), durable=False)

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Keep *memory* where it differs from what is kept."""
        with self._mutex:
            encoded = self._encoder.encode(memory)
            if encoded == self._encoder.encode(self.memory):
                return
            self.memory = msgspec.json.decode(encoded)  # a copy of its own
            self._append((_Known(self._last_id, self.memory),), durable=False)

    def due(self, now: int) -> list[Notice]:
        """Return the texts that may be sent at *now*, oldest first."""
        with self._mutex:
            return [one for one in self._waiting.values() if one.due <= now]

    def count(self) -> int:
        """Return how many texts wait."""
        with self._mutex:
            return len(self._waiting)

    def close(self) -> None:
        """Close the file; it may be called twice."""
        with self._mutex:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    # --- inside -----------------------------------------------------------------------------------

    def _apply(self, line: _Line) -> None:
        if isinstance(line, _Added):
            self._last_id = max(self._last_id, line.notice.id)
            self._keep(line.notice)
        elif isinstance(line, _Sent):
            notice = self._waiting.get(line.id)
            if notice is not None:
                self._keep(msgspec.structs.replace(notice, targets=tuple(one for one in notice.targets if one != line.target)))
        elif isinstance(line, _Dropped):
            self._waiting.pop(line.id, None)
        else:
            self._last_id = max(self._last_id, line.last_id)
            self.memory = line.memory

    def _keep(self, notice: Notice) -> None:
        if notice.targets:
            self._waiting[notice.id] = notice
        else:
            self._waiting.pop(notice.id, None)

    def _append(self, lines: Sequence[_Line], *, durable: bool) -> None:
        """Write *lines* at the end; a file that cannot be written is told of and does not keep a text from being sent."""
        body = b"".join(self._encoder.encode(line) + b"\n" for line in lines)
        try:
            if self._descriptor < 0:
                self._rewrite()  # with what these lines say, which memory knows already
            else:
                if os.write(self._descriptor, body) < len(body):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if durable:
                    os.fsync(self._descriptor)
                self._lines += len(lines)
                if self._lines > 2 * len(self._waiting) + _SPARE_LINES:
                    self._rewrite()
            self.trouble = ""
        except OSError as error:
            self._give_up()
            self.trouble = f"{self._path.name} cannot be written: {error.strerror or error}"

    def _give_up(self) -> None:
        """Close a file that failed; the next line writes it anew, so that nothing follows half a line."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)

    def _rewrite(self) -> None:
        """Write the file anew with nothing in it but what is needed."""
        lines: list[_Line] = [_Known(self._last_id, self.memory), *(_Added(one) for one in self._waiting.values())]
        self._give_up()  # Windows replaces no file that is open
        replace_file(self._path, b"".join(self._encoder.encode(line) + b"\n" for line in lines))
        flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(self._path, flags)
        self._lines = len(lines)
