"""The metrics as a file, for a collector that reads one: written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = ["TextFile"]


class TextFile:
    """Writes what a function returns to a file, from a thread of its own and once more at the end.

    A reader sees the old content or the new one. What cannot be written disturbs nobody: it is told once, and tried again.
    """

    def __init__(self, path: Path, content: Callable[[], bytes], seconds: float, tell: Callable[[str, str], None]) -> None:
        """Prepare; nothing is written yet.

        Args:
            path: The file; its folder is made where it is missing.
            content: Returns what is to be written.
            seconds: Between two writings.
            tell: Told the code and the text of a failure, once until it works again.
        """
        self._path = path
        self._content = content
        self._seconds = seconds
        self._tell = tell
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_told = False

    def start(self) -> None:
        """Write now and then from now on."""
        if self._thread is None and not self._ending.is_set():
            self._thread = threading.Thread(target=self._run, name="herald-metrics-file", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write a last time; may be called twice."""
        is_first = not self._ending.is_set()
        self._ending.set()
        if self._thread is not None:
            self._thread.join(self._seconds)
        if is_first:
            self.write()

    def write(self) -> None:
        """Write it now; what cannot be written is told."""
        path = self._path
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(self._content())
            part.replace(path)
            self._is_told = False
        except OSError as error:  # on Windows also a reader that has the file open; the next time will do
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            if not self._is_told:
                self._is_told = True
                self._tell("metrics_file", f"the metrics cannot be written to {str(path)!r}: {error.strerror or error}")

    def _run(self) -> None:
        self.write()
        while not self._ending.wait(self._seconds):
            self.write()
