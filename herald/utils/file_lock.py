"""A lock among processes, held by a file that the operating system frees when its holder ends."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import TracebackType

from herald.clock import Clock
from herald.errors import WaitTimeout

__all__ = ["FileLock"]

_BUSY = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
_PAUSE_SECONDS = 0.002

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """One holder at a time among all threads and processes; the system frees it the moment the holder's process ends.

    The file stays: to delete it would let two hold "the same" lock. A process made by a bare fork shares the lock of its
    parent; one that was started afresh does not.
    """

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is touched yet."""
        self.path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Return whether this object holds the lock."""
        return self._descriptor is not None

    def try_acquire(self) -> bool:
        """Take the lock if it is free; return whether it is held now."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
            # Somebody may have deleted the file meanwhile: the lock of a file without a name excludes nobody.
            is_current = os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except OSError as error:
            os.close(descriptor)
            if error.errno in _BUSY or isinstance(error, FileNotFoundError):
                return False
            raise
        if not is_current:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def acquire(self, clock: Clock, timeout_seconds: float) -> None:
        """Take the lock, waiting for it.

        Raises:
            WaitTimeout: Somebody else held it all the time.
        """
        end = clock.monotonic() + timeout_seconds
        while not self.try_acquire():
            if clock.monotonic() >= end:
                raise WaitTimeout(f"{str(self.path)!r} was locked by another process for {timeout_seconds:g} s; try again")
            clock.sleep(_PAUSE_SECONDS)

    def release(self) -> None:
        """Let the lock go; nothing happens where it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
