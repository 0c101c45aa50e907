"""One writer at a time: a lock of the operating system that ends with its process, and says whose it is."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

from herald.clock import Clock, format_time
from herald.errors import JournalError

__all__ = ["WriterLock"]

_BUSY = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
_LONGEST = 200
"""Bytes read of what the holder wrote."""

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Windows lets nobody read a locked byte: one far behind the text is locked instead of the text.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class WriterLock:
    """The right to write one journal.

    The file ``NAME.lock`` stays when the lock ends: to delete it would let two processes hold "the same" lock.
    """

    def __init__(self, journal: Path, clock: Clock) -> None:
        """Name the journal; nothing is touched yet."""
        self._journal = journal
        self._path = journal.with_name(journal.name + ".lock")
        self._clock = clock
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            JournalError: Another process has it; its number is named.
            OSError: The file cannot be made.
        """
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except OSError as error:
            holder = self._holder(descriptor)
            os.close(descriptor)
            if error.errno not in _BUSY:
                raise
            raise JournalError(
                f"journal {str(self._journal)!r} is in use by {holder}; stop that run first, or give this one another file"
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the lock still holds, it only does not say whose it is
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} since {format_time(self._clock.now())}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the lock go; nothing happens where it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)

    @staticmethod
    def _holder(descriptor: int) -> str:
        with contextlib.suppress(OSError):
            os.lseek(descriptor, 0, os.SEEK_SET)
            text = os.read(descriptor, _LONGEST).decode("utf-8", "replace").strip()
            if text:
                return text
        return "another process"
