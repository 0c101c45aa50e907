"""Names of files that must outlive a loss of power."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["sync_folder"]


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
