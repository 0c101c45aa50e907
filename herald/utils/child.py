"""A helper process of one's own, fed through its standard input and heard through its standard output.

There is no port and no token: nobody but the two ends can reach the pipes, they are bounded by the system, and whichever end
dies, the other one notices. Messages are frames: four bytes with their length, then that many bytes.

The parent's side is `ChildProcess`, the helper's side `ParentLink`.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, BinaryIO

__all__ = ["ChildProcess", "ParentLink", "plain_environment"]

_HEAD = struct.Struct(">I")
_LARGEST = 64 * 1024 * 1024
"""Bytes of a frame; a longer one is a mistake of whoever sends it."""
_NICENESS = 10
_LINES = 20
_KEPT = (
    "APPDATA", "COMSPEC", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOCALAPPDATA", "PATH", "PATHEXT", "PROGRAMDATA", "PYTHONPATH",
    "PYTHONUTF8", "SSL_CERT_DIR", "SSL_CERT_FILE", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "TZ", "USERPROFILE",
    "VIRTUAL_ENV", "WINDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_STEADY_SECONDS = 60.0
"""A helper that lived so long has not failed to start."""


def plain_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return of *environment* what a program needs to run, and nothing else: passwords are often kept in the rest."""
    return {name: environment[name] for name in _KEPT if name in environment}


def _read_frame(stream: BinaryIO) -> bytes | None:
    """Return the next frame of *stream*; None where the other end is gone.

    Raises:
        ValueError: It is longer than 64 MiB.
    """
    head = _exactly(stream, _HEAD.size)
    if head is None:
        return None
    (length,) = _HEAD.unpack(head)
    if length > _LARGEST:
        raise ValueError(f"a frame of {length} bytes is longer than {_LARGEST}")
    return _exactly(stream, length)


def _write_frame(stream: BinaryIO, frame: bytes) -> None:
    """Write *frame* and flush.

    Raises:
        ValueError: It is longer than 64 MiB.
        OSError: The other end is gone.
    """
    if len(frame) > _LARGEST:
        raise ValueError(f"a frame of {len(frame)} bytes is longer than {_LARGEST}")
    stream.write(_HEAD.pack(len(frame)) + frame)
    stream.flush()


def _exactly(stream: BinaryIO, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = stream.read(count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class ChildProcess:
    """The parent's side: starts a module as a program, feeds it, and starts it again when it dies.

    `send` waits while the helper does not read, so call it from a thread that may wait; what the helper says arrives in a
    thread of its own. Nothing of this touches the thread that trades, and where processors are short the helper waits for the
    run: its priority is lower.

    Attributes:
        starts: Times that it was started.
    """

    def __init__(
        self,
        module: str,
        receive: Callable[[bytes], None],
        *,
        greet: Callable[[], Sequence[bytes]],
        changed: Callable[[bool, str], None] = lambda is_up, text: None,
        first_wait: float = 0.5,
        longest_wait: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start later.

        Args:
            module: Run as ``python -m MODULE``; nothing is on its command line.
            receive: Takes every frame that the helper sends, from a thread.
            greet: Returns the frames that every new helper gets first, such as its settings.
            changed: Told that it is up, or went down and why, from a thread.
            first_wait: Seconds before it is started again; doubled each time, as long as it does not last.
            longest_wait: At most.
            monotonic: Seconds that never go back.
        """
        self.starts = 0
        self._module = module
        self._receive = receive
        self._greet = greet
        self._changed = changed
        self._waits = first_wait, longest_wait
        self._monotonic = monotonic
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._said: deque[str] = deque(maxlen=_LINES)
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """Number of its process; 0 while there is none."""
        process = self._process
        return 0 if process is None or process.poll() is not None else process.pid

    def start(self) -> None:
        """Start it and look after it from now on; returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_after, name=f"{self._module} parent", daemon=True)
            self._thread.start()

    def send(self, frame: bytes) -> bool:
        """Send *frame*; return whether there was somebody to send it to. It waits while the helper does not read."""
        with self._writing:
            process = self._process
            if process is None or process.stdin is None:
                return False
            try:
                _write_frame(process.stdin, frame)  # type: ignore[arg-type]
            except (OSError, ValueError):
                return False
            return True

    def stop(self, seconds: float = 3.0) -> None:
        """Let it end, and end it where it does not within *seconds*; it may be called twice."""
        self._stop.set()
        process = self._process
        if process is not None and process.poll() is None:
            if self._writing.acquire(timeout=seconds / 3):  # a helper that reads nothing holds the writer up
                try:
                    with suppress(OSError):
                        if process.stdin is not None:
                            process.stdin.close()
                finally:
                    self._writing.release()
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            if process.poll() is None:
                process.kill()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    # --- inside -----------------------------------------------------------------------------------

    def _look_after(self) -> None:
        """Start it, hear it, and start it again, until `stop`."""
        wait, longest = self._waits
        while not self._stop.is_set():
            began = self._monotonic()
            text = self._live_once()
            if self._stop.is_set():
                return
            if self._monotonic() - began >= _STEADY_SECONDS:
                wait = self._waits[0]
            self._changed(False, text)
            self._stop.wait(wait)
            wait = min(2 * wait, longest)

    def _live_once(self) -> str:
        """Start it, hear it until it is gone, and return why it went."""
        self._said.clear()
        try:
            process = self._spawn()
        except OSError as error:
            return f"it cannot be started: {error.strerror or error}"
        self.starts += 1
        with self._writing:
            self._process = process
            try:
                for frame in self._greet():
                    _write_frame(process.stdin, frame)  # type: ignore[arg-type]
            except (OSError, ValueError):
                pass  # what it said on its way out is told below
        errors = threading.Thread(target=self._hear, args=(process.stderr,), name=f"{self._module} errors", daemon=True)
        errors.start()
        if self._stop.is_set():
            process.kill()
        else:
            self._changed(True, "")
        try:
            for frame in _frames(process.stdout):
                self._receive(frame)
        except ValueError as error:
            self._said.append(str(error))
        with self._writing:
            self._process = None
        process.kill()  # it closed its output: whatever else it does, nobody hears it
        code = process.wait()
        errors.join(1.0)
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        last = self._said[-1] if self._said else "it said nothing"
        return f"it ended with exit code {code}: {last}"

    def _spawn(self) -> subprocess.Popen[bytes]:
        options: dict[str, Any] = {}
        # In a group of its own: Ctrl-C is for the run, which ends its helpers itself.
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        else:
            options["process_group"] = 0
        process = subprocess.Popen(  # noqa: S603 - this Python and a module of Herald's, and no shell
            [sys.executable, "-P", "-m", self._module],  # nothing from the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=plain_environment(),
            **options,
        )
        if sys.platform != "win32":
            with suppress(OSError):  # it is over already; whoever waits for it tells
                os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
        return process

    def _hear(self, stream: IO[bytes] | None) -> None:
        """Keep the last lines that it says."""
        if stream is None:
            return
        with suppress(OSError, ValueError):
            for line in stream:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._said.append(text[:500])


class ParentLink:
    """The helper's side. Make it first of all: from then on what the helper prints goes to its standard error."""

    def __init__(self) -> None:
        """Take over standard input and output."""
        self._in: BinaryIO = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=1024 * 1024)
        self._out: BinaryIO = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._writing = threading.Lock()

    def read(self) -> bytes | None:
        """Return the next frame; None where the parent is gone. It waits."""
        return _read_frame(self._in)

    def send(self, frame: bytes) -> None:
        """Send *frame*; from any thread.

        Raises:
            OSError: The parent is gone.
        """
        with self._writing:
            _write_frame(self._out, frame)


def _frames(stream: Any) -> Iterator[bytes]:
    while (frame := _read_frame(stream)) is not None:
        yield frame
