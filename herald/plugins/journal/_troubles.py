"""What can go wrong with a journal's file, each in one line with what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from herald.errors import JournalError

__all__ = ["TROUBLES", "damaged", "explain", "is_full", "is_io", "missing"]

TROUBLES = (sqlite3.Error, OSError, MemoryError, UnicodeDecodeError)
"""What SQLite and the system raise; damage may make it ask for more memory than there is, or quote what is no text."""

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def damaged(path: Path, what: str) -> JournalError:
    """Return the error for a file that is not as it was written."""
    return JournalError(
        f"journal {str(path)!r} is damaged: {what}; restore a backup with `herald restore BACKUP {path}`, "
        f"or look with `herald journal verify {path}`"
    )


def is_full(error: BaseException) -> bool:
    """Return whether *error* says that the disk is full."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL") or getattr(error, "errno", None) in _FULL


def is_io(error: BaseException) -> bool:
    """Return whether *error* says that something failed which a full disk lets fail, too: a write, or a new file."""
    return isinstance(error, OSError) or getattr(error, "sqlite_errorname", "").startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN"))


def explain(error: BaseException, path: Path) -> JournalError:
    """Return *error* of SQLite or the system as a line for the user."""
    name = f"journal {str(path)!r}"
    kind: str = getattr(error, "sqlite_errorname", "")
    if is_full(error):
        return JournalError(f"the disk of {name} is full, nothing of this was kept; make room on it")
    if isinstance(error, OSError):
        return JournalError(f"{name} cannot be used: {error.strerror or error}; check the path, its permissions and the disk")
    if isinstance(error, MemoryError) or kind.startswith(("SQLITE_CORRUPT", "SQLITE_TOOBIG")):
        return damaged(path, " ".join(str(error).split()) or "it asks for more memory than there is")
    if kind.startswith("SQLITE_NOTADB"):
        return JournalError(f"{name} is no journal: it is not a SQLite file; name another file, or restore a backup")
    if kind.startswith("SQLITE_READONLY"):
        return JournalError(f"{name} cannot be written: it, its folder or its disk is read-only; correct that, or name another")
    if kind.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return JournalError(f"{name} cannot be opened; check that its folder exists and may be written")
    if kind.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
        return JournalError(f"{name} is locked by another program, such as a viewer of databases; close that")
    if kind.startswith("SQLITE_IOERR"):
        return JournalError(f"the disk of {name} failed ({kind}), nothing of this was kept; check the disk")
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return JournalError(f"{name} was closed meanwhile: {error}; open it again")
    return damaged(path, " ".join(str(error).split()))


def missing(first: int, last: int) -> str:
    """Return in words that records are missing."""
    return f"record {first} is missing" if first == last else f"records {first} to {last} are missing"
