"""A helper process: fed, heard, started again when it dies, ended with its parent."""

from __future__ import annotations

import ast
import os
import queue
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from herald.utils.child import ChildProcess, plain_environment

HELPER = """
    import os, sys
    from herald.utils.child import ParentLink

    link = ParentLink()
    print("this must not reach the parent as a frame")
    os.write(1, b"nor this\\n")
    while (frame := link.read()) is not None:
        if frame == b"die":
            sys.stderr.write("it hurts\\n")
            sys.stderr.flush()
            os._exit(7)
        if frame == b"environment":
            frame = repr(sorted(os.environ)).encode()
        if frame == b"arguments":
            frame = repr(sys.orig_argv).encode()
        if frame == b"priority":
            frame = repr(os.getpriority(os.PRIO_PROCESS, 0)).encode()
        link.send(b"echo " + frame)
    """


class Heard:
    """What a helper said and how it fared."""

    def __init__(self) -> None:
        self.frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.changes: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()

    def changed(self, is_up: bool, text: str) -> None:
        self.changes.put((is_up, text))


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[ChildProcess, Heard]]]:
    (tmp_path / "a_helper.py").write_text(textwrap.dedent(HELPER), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    children: list[ChildProcess] = []

    def made(*greeting: bytes) -> tuple[ChildProcess, Heard]:
        heard = Heard()
        child = ChildProcess(
            "a_helper", heard.frames.put, greet=lambda: greeting, changed=heard.changed, first_wait=0.01, longest_wait=0.05
        )
        children.append(child)
        child.start()
        assert heard.changes.get(timeout=20) == (True, "")
        return child, heard

    yield made
    for child in children:
        child.stop()


def test_frames_go_there_and_back_and_what_it_prints_is_no_frame(start: Callable[..., tuple[ChildProcess, Heard]]) -> None:
    child, heard = start(b"hello")

    assert heard.frames.get(timeout=20) == b"echo hello"
    assert child.send(b"x" * 3_000_000)
    assert heard.frames.get(timeout=20) == b"echo " + b"x" * 3_000_000
    assert child.send(b"")
    assert heard.frames.get(timeout=20) == b"echo "


def test_one_that_dies_is_started_again_and_greeted_again(start: Callable[..., tuple[ChildProcess, Heard]]) -> None:
    child, heard = start(b"hello")
    assert heard.frames.get(timeout=20) == b"echo hello"

    child.send(b"die")

    assert heard.changes.get(timeout=20) == (False, "it ended with exit code 7: it hurts")
    assert heard.changes.get(timeout=20) == (True, "")
    assert heard.frames.get(timeout=20) == b"echo hello"
    assert child.starts == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_one_that_hangs_holds_up_its_writer_only_and_is_ended(start: Callable[..., tuple[ChildProcess, Heard]]) -> None:
    child, heard = start(b"hello")
    assert heard.frames.get(timeout=20) == b"echo hello"
    os.kill(child.pid, signal.SIGSTOP)
    began = time.monotonic()

    child.stop(0.6)

    assert time.monotonic() - began < 5
    assert child.pid == 0
    assert not child.send(b"late")


def test_it_gets_no_variable_that_might_be_a_password_and_nothing_on_its_command_line(
    start: Callable[..., tuple[ChildProcess, Heard]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERALD_SECRET_MT5", "sesame")
    monkeypatch.setenv("BROKER_PASSWORD", "sesame")
    _, heard = start(b"environment", b"arguments")

    assert set(ast.literal_eval(heard.frames.get(timeout=20)[5:].decode())) <= {*plain_environment(), "LC_CTYPE"}
    assert ast.literal_eval(heard.frames.get(timeout=20)[5:].decode())[1:] == ["-P", "-m", "a_helper"]


@pytest.mark.skipif(sys.platform == "win32", reason="the system tells priorities another way there")
def test_the_run_comes_first_where_processors_are_short(start: Callable[..., tuple[ChildProcess, Heard]]) -> None:
    child, heard = start()

    child.send(b"priority")

    assert heard.frames.get(timeout=20) == f"echo {min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)}".encode()


def test_a_module_that_cannot_start_is_told(tmp_path: Path) -> None:
    heard = Heard()
    child = ChildProcess("no_such_module_anywhere", heard.frames.put, greet=tuple, changed=heard.changed, first_wait=5)
    child.start()

    assert heard.changes.get(timeout=20) == (True, "")
    is_up, text = heard.changes.get(timeout=20)
    child.stop()

    assert not is_up
    assert "No module named no_such_module_anywhere" in text
