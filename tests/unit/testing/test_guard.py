"""The guard notices what leaves memory, and only while it is asked to."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from herald.testing.guard import touches


def test_it_notices_files_sockets_and_threads(tmp_path: Path) -> None:
    with touches() as seen:
        (tmp_path / "x").write_text("x", encoding="utf-8")
        socket.socket().close()
        thread = threading.Thread(target=int)
        thread.start()
    thread.join()

    assert ["open", "socket.__new__", "thread"] == [line.split()[0] for line in seen]


def test_it_notices_nothing_outside_the_block_or_in_other_threads(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x", encoding="utf-8")
    go, done = threading.Event(), threading.Event()

    def other() -> None:
        go.wait()
        (tmp_path / "x").read_text(encoding="utf-8")
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with touches() as seen:
        go.set()
        done.wait()
    (tmp_path / "x").read_text(encoding="utf-8")
    thread.join()

    assert [] == seen


def test_blocks_may_be_nested(tmp_path: Path) -> None:
    with touches() as outer:
        with touches() as inner:
            (tmp_path / "x").write_text("x", encoding="utf-8")
        (tmp_path / "x").read_text(encoding="utf-8")

    assert [1, 1] == [len(outer), len(inner)]
