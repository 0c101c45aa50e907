"""Small files that several processes share: sealed, replaced whole, and locked by the operating system."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

from herald.clock import Clock
from herald.errors import HeraldError
from herald.utils.durable import sync_folder
from herald.utils.file_lock import FileLock

__all__ = ["Damaged", "FileLock", "Signature", "read_sealed", "signature", "write_sealed"]

R = TypeVar("R")

Signature: TypeAlias = tuple[int, int]
"""(time of modification in nanoseconds, size in bytes)."""

_SEAL = b"sha256 "
_SEAL_LENGTH = len(_SEAL) + 64 + 1
_CYCLE = 256
"""Sizes repeat after so many writes: what was written in between differs in its size, whatever the clock of the disk says."""
_LARGEST = 4_000_000
"""Bytes. A hundred reasons of a thousand characters are a tenth of it; a larger file is not one of ours."""
_PAUSE_SECONDS = 0.002
_WINDOWS_TRIES = 100
"""Windows refuses to open or replace a file during the moment in which another process does so; times the pause, 0.2 s."""


class Damaged(HeraldError):
    """A sealed file is not as it was written.

    Attributes:
        signature: Of the file as it was read.
    """

    def __init__(self, text: str, signature: Signature) -> None:
        """Keep the signature beside the words."""
        self.signature = signature
        super().__init__(text)


def signature(path: str | Path) -> Signature | None:
    """Return what changes with every write of the file at *path*; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def write_sealed(path: Path, body: bytes, number: int, clock: Clock) -> None:
    """Replace *path* by *body* and its checksum; after the return it is on disk, and no reader ever sees half of it.

    Hold the file's lock. Blanks are added until the size says *number* modulo 256, so that `signature` tells any two
    writes apart that are less than 256 numbers from each other, even within one tick of the disk's clock.

    Args:
        path: The file.
        body: One line of JSON without its end.
        number: Grows with every write.
        clock: Waits between attempts where Windows refuses for a moment.

    Raises:
        OSError: It could not be written; the file is as it was.
    """
    padding = (number - len(body) - 1 - _SEAL_LENGTH) % _CYCLE
    line = body + b" " * padding + b"\n"
    partial = path.with_name(path.name + ".tmp")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
    with open(descriptor, "wb") as file:
        file.write(line + _seal(line))
        file.flush()
        os.fsync(file.fileno())
    _patiently(lambda: os.replace(partial, path), clock)
    sync_folder(path.parent)


def read_sealed(path: Path, clock: Clock) -> tuple[bytes, Signature]:
    """Return the body that `write_sealed` wrote, and the signature of the very file it was read from.

    Raises:
        FileNotFoundError: There is none.
        Damaged: It is not, byte for byte, what was written.
        OSError: It cannot be read.
    """

    def read() -> tuple[bytes, os.stat_result]:
        with open(path, "rb") as file:
            return file.read(_LARGEST + 1), os.fstat(file.fileno())

    data, found = _patiently(read, clock)
    line, seen = data[:-_SEAL_LENGTH], (found.st_mtime_ns, found.st_size)
    if len(data) > _LARGEST or not line.endswith(b"\n") or data[-_SEAL_LENGTH:] != _seal(line):
        what = "is empty" if not data else "does not match its checksum: it was cut off, changed by hand, or the disk is failing"
        raise Damaged(f"{str(path)!r} {what}", seen)
    return line, seen


def _seal(line: bytes) -> bytes:
    return _SEAL + hashlib.sha256(line).hexdigest().encode() + b"\n"


def _patiently(action: Callable[[], R], clock: Clock) -> R:
    for _ in range(_WINDOWS_TRIES if os.name == "nt" else 0):
        with contextlib.suppress(PermissionError):
            return action()
        clock.sleep(_PAUSE_SECONDS)
    return action()
