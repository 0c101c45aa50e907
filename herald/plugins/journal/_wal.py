"""What a crash left in the write-ahead log: how much of it SQLite took, and how much was cut off.

The format is in "WAL-mode File Format" of the SQLite documentation: a header of 32 bytes, then frames of a header of 24
bytes and one page each; frames of the present generation repeat the two salts of the header.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["unfinished"]

_HEADER, _FRAME = 32, 24
_MAGIC = (0x377F0682, 0x377F0683)


def unfinished(journal: Path) -> tuple[int, int]:
    """Return (frames of the present generation, bytes of a frame that is cut off) in the log of *journal*.

    Whatever SQLite does not count among its own after it opened the file is of a commit that never ended.
    """
    path = journal.with_name(journal.name + "-wal")
    with contextlib.suppress(OSError), open(path, "rb") as file:
        head = file.read(_HEADER)
        if len(head) < _HEADER or int.from_bytes(head[:4], "big") not in _MAGIC:
            return 0, 0
        page, salts = int.from_bytes(head[8:12], "big"), head[16:24]
        size, frames = path.stat().st_size, 0
        while True:
            start = _HEADER + frames * (_FRAME + page)
            file.seek(start)
            frame = file.read(_FRAME)
            if len(frame) < _FRAME or frame[8:16] != salts:
                return frames, 0
            if size < start + _FRAME + page:
                return frames, size - start
            frames += 1
    return 0, 0
