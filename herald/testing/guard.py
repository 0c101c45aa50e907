"""Notice when code opens a file, a socket, a process or a thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

__all__ = ["touches"]

_EVENTS = frozenset(
    {
        "open",
        "os.listdir",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.system",
        "socket.__new__",
        "socket.connect",
        "socket.getaddrinfo",
        "subprocess.Popen",
    }
)


class _Watch(threading.local):
    """What this thread has touched while it is being watched; None while it is not."""

    seen: list[str] | None = None


_installed: list[_Watch] = []  # an audit hook cannot be removed, so there is one for the whole process


def _watch() -> _Watch:
    if not _installed:
        watch = _Watch()

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            seen = watch.seen
            if seen is not None and event in _EVENTS:
                seen.append(f"{event} {arguments[0]!r}" if arguments else event)

        _installed.append(watch)
        sys.addaudithook(hook)
    return _installed[0]


@contextmanager
def touches() -> Iterator[list[str]]:
    """Yield a list that fills with what this thread touches outside memory until the block ends.

    It sees what the interpreter audits, from Python and from C alike: files, sockets and processes; and threads
    that are started. A module that is imported for the first time inside the block opens a file too.
    """
    watch = _watch()
    seen: list[str] = []
    before, watch.seen = watch.seen, seen
    start = threading.Thread.start

    def noticed(thread: threading.Thread) -> None:
        if watch.seen is seen:  # the innermost block of the watched thread
            seen.append(f"thread {thread.name!r}")
        start(thread)

    # Python 3.11 does not audit the start of a thread.
    with patch.object(threading.Thread, "start", noticed):
        try:
            yield seen
        finally:
            watch.seen = before
