"""Room on the disk that is set aside while there is some, for exits when there is none."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

__all__ = ["Reserve"]


class Reserve:
    """A file of a known size beside a journal; to delete it frees its room."""

    def __init__(self, journal: Path, size: int) -> None:
        """Name the journal and the size, bytes; 0 sets nothing aside."""
        self._path = journal.with_name(journal.name + ".reserve")
        self._size = size

    @property
    def is_there(self) -> bool:
        """Whether its room is set aside."""
        try:
            return self._size > 0 and self._path.stat().st_size >= self._size
        except OSError:
            return False

    def fill(self) -> bool:
        """Set the room aside where the disk has a quarter more than that; return whether it is set aside now."""
        if self._size == 0 or self.is_there:
            return True
        try:
            if shutil.disk_usage(self._path.parent).free < self._size + self._size // 4:
                return False
            # Not zeros: a file system that compresses would set nothing aside for them.
            content = hashlib.shake_128(b"herald reserve").digest(self._size)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.release()  # half of it would only take room from the journal
            return False
        return True

    def release(self) -> bool:
        """Give the room to whoever writes next; return whether there was some."""
        was_there = self.is_there
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        return was_there

    def is_disk_full(self) -> bool:
        """Return whether the disk has less left than a reserve, or a page of the journal."""
        try:
            return shutil.disk_usage(self._path.parent).free < max(self._size, 65_536)
        except OSError:
            return False
