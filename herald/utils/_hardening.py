"""What a process with secrets in its memory gives up: core dumps, being looked into, and files that others may read."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["hardened", "looseness"]

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
"""Of prctl(2)."""
_PRIVATE = 0o077


@contextmanager
def hardened() -> Iterator[None]:
    """Write no core dump, let no other process of the user look into the memory (Linux), make files for their owner alone.

    All of it ends with the context: umask, limit and flag belong to the whole process. Children keep the umask and the limit.
    Where the system knows no such thing, or does not allow it, nothing is changed: that alone is no reason not to trade.
    """
    if sys.platform == "win32":
        yield
    else:
        import resource

        before = os.umask(_PRIVATE)
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
        was_dumpable = _prctl(_PR_GET_DUMPABLE)
        _prctl(_PR_SET_DUMPABLE, 0)
        try:
            yield
        finally:
            if was_dumpable == 1:
                _prctl(_PR_SET_DUMPABLE, 1)
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
            os.umask(before)


def looseness(folder: Path) -> str:
    """Return in one line who else may use *folder*, and what to do; empty where it is for its owner alone, or is not there."""
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError:
        return ""
    if os.name == "nt" or not mode & _PRIVATE:  # on Windows the folder's own permissions count
        return ""
    verb = "write into" if mode & 0o022 else "read"
    return f"others may {verb} the state folder {str(folder)!r}; chmod 700 it"


def _prctl(option: int, value: int = 0) -> int:
    """Return what prctl(2) says; -1 where there is none."""
    if sys.platform == "linux":
        try:
            return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))
        except (OSError, AttributeError):
            return -1
    else:
        return -1
