"""Files and names of files that must outlive a loss of power."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["replace_file", "sync_folder"]


def sync_folder(folder: Path) -> None:
    """Put the new name of a file on disk as well, where the system can.

    Raises:
        OSError: The disk failed.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems know no such thing for folders
            raise
    finally:
        os.close(descriptor)


def replace_file(path: Path, body: bytes, mode: int = 0o600) -> None:
    """Replace the file *path* by *body*, so that no reader ever sees half of it; after the return it is on disk.

    Args:
        path: In a folder that is there.
        body: What it holds from now on.
        mode: Who may read it; for its owner alone unless given.

    Raises:
        OSError: The disk failed; then the old file is still there.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
