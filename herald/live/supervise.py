"""The watchdog: starts a run as a child process, starts it again after a crash, and acts when it hangs.

What it does by itself is recorded afterwards: nothing, not even a broken record, may stand in the way of a stop.

The run beats: it writes a counter into the file that ``HERALD_HEARTBEAT`` names, once a second, through `Heartbeat`. The
watchdog compares two readings by its own clock, so that the clocks of the two need not agree.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from herald.clock import Clock
from herald.errors import HeraldError, NotFound
from herald.live._files import FileLock
from herald.live.lease import AccountLease, holders_of, process_identity
from herald.live.state import ACCOUNT, StateFile
from herald.utils.retry import RetryPolicy

__all__ = [
    "HEARTBEAT",
    "Beat",
    "Child",
    "Heartbeat",
    "OnHang",
    "ProcessChild",
    "StopLevel",
    "Supervisor",
    "Watch",
    "read_beat",
]

HEARTBEAT = "HERALD_HEARTBEAT"
"""Environment variable that holds the path of the heartbeat file."""

_FAILED, _INTERRUPTED = 1, 130
_FINAL = frozenset({2, 3, 4})
"""Exit codes that another start cannot better: called wrongly, the account is in use, configuration wrong."""
_BY_CTRL_C = frozenset({_INTERRUPTED, -int(signal.SIGINT), 0xC000013A})
"""Herald's own code, the signal, and STATUS_CONTROL_C_EXIT of Windows."""
_LONGEST_LOOK_SECONDS = 1.0
"""Of the time between two looks no more than this counts as silence: a machine that slept has not waited for the run."""
_KILL_SECONDS = 5.0


class OnHang(StrEnum):
    """What to do after a run that hung was killed."""

    RESTART = "restart"
    """Start it again."""
    HALT = "halt"
    """Halt the account, withdraw the working orders, and end."""
    FLATTEN = "flatten"
    """The same, and close the positions."""


class StopLevel(StrEnum):
    """What the watchdog has to do at the broker, because no run is there to do it."""

    CANCEL = "cancel"
    """Withdraw the working orders."""
    FLATTEN = "flatten"
    """Withdraw the working orders and close the positions."""


# --- the heartbeat --------------------------------------------------------------------------------


class Beat(msgspec.Struct, frozen=True):
    """One reading of a heartbeat.

    Attributes:
        count: Beats so far.
        busy_seconds: How long the work had lasted that was under way at the beat.
    """

    count: int
    busy_seconds: float


class Heartbeat:
    """The run's side of the heartbeat; one thread uses it.

    A thread of its own may beat, if it states how long the engine has been busy: then a strategy that never returns is
    seen although that thread goes on. A loop that beats once per turn needs to state nothing.
    """

    def __init__(self, path: str | Path, clock: Clock) -> None:
        """Open *path*; *clock* measures how long the run is busy."""
        self._clock = clock
        self._count = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)

    @classmethod
    def from_environment(cls, clock: Clock, environment: Mapping[str, str] = os.environ) -> Heartbeat | None:
        """Return the heartbeat that a watchdog asked for; None where none watches."""
        path = environment.get(HEARTBEAT)
        return cls(path, clock) if path else None

    def beat(self, busy_since: float = 0.0) -> None:
        """Tell the watchdog that the run lives; some microseconds, at least once a second.

        Args:
            busy_since: When the work under way began, seconds of the clock's ``monotonic``; 0.0 where there is none.
        """
        self._count += 1
        busy = max(0.0, self._clock.monotonic() - busy_since) if busy_since else 0.0
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, f"{self._count:020d} {busy:020.3f}\n".encode())

    def close(self) -> None:
        """Close the file; it may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def read_beat(path: str | Path) -> Beat | None:
    """Return the last beat in *path*; None where there is none yet, or it is being written."""
    try:
        with open(path, "rb") as file:
            count, busy = file.read(64).split()
        return Beat(int(count), float(busy))
    except (OSError, ValueError):
        return None


# --- the child ------------------------------------------------------------------------------------


class Child(Protocol):
    """A run that was started."""

    @property
    def pid(self) -> int:
        """Number of its process."""

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""

    def send(self, number: int) -> None:
        """Pass on a signal."""

    def kill(self) -> bool:
        """End it at once, with all it started; return whether it is gone."""


class ProcessChild:
    """A child process in a group of its own, so that Ctrl-C reaches the watchdog only, which passes it on once."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start *command*, without a shell and without input.

        Raises:
            NotFound: There is no such program.
        """
        try:
            if sys.platform == "win32":
                self._process = subprocess.Popen(  # noqa: S603 - the user's own command, and no shell
                    list(command),
                    stdin=subprocess.DEVNULL,
                    env=dict(environment),
                    creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
                )
            else:
                self._process = subprocess.Popen(  # noqa: S603 - the user's own command, and no shell
                    list(command), stdin=subprocess.DEVNULL, env=dict(environment), process_group=0
                )
        except OSError as error:
            raise NotFound(f"{command[0]!r} cannot be started: {error.strerror or error}; check the command") from error

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Pass on a signal; on Windows each is Ctrl-Break, the only one that a process group can be sent."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                self._process.send_signal(number)

    def kill(self) -> bool:
        """End it at once, with all it started where the system can; return whether it is gone."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            return False  # the system itself waits for something, a disk for instance
        return True


# --- the watchdog ---------------------------------------------------------------------------------


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is watched.

    Attributes:
        hang_seconds: Silence, or work on one thing, that means: it hangs; > 0.
        start_seconds: Silence before the first beat that means the same; > 0.
        grace_seconds: Between a signal that was passed on and the end of patience; >= 0.
        on_hang: What to do then.
        crashes: So many failures ...
        window_seconds: ... in so many seconds are a crash loop.
        poll_seconds: Between two looks; > 0.

    Raises:
        ValueError: A value is out of its range.
    """

    hang_seconds: float = 10.0
    start_seconds: float = 60.0
    grace_seconds: float = 30.0
    on_hang: OnHang = OnHang.RESTART
    crashes: int = 5
    window_seconds: float = 600.0
    poll_seconds: float = 0.2

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("hang_seconds", "start_seconds", "window_seconds", "poll_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a number above 0, not {getattr(self, name)!r}")
        if not 0 <= self.grace_seconds < float("inf"):
            raise ValueError(f"grace_seconds must be a number of at least 0, not {self.grace_seconds!r}")
        if self.crashes < 1:
            raise ValueError(f"crashes must be at least 1, not {self.crashes!r}")


class _End(msgspec.Struct, frozen=True):
    """How a child ended: by itself with *code*, or killed because of *hang*."""

    code: int
    hang: str = ""


class Supervisor:
    """Keeps one run going; everything it touches is handed in, so that it can be tried without processes and waits."""

    def __init__(
        self,
        start: Callable[[Path], Child],
        state: StateFile,
        watch: Watch,
        clock: Clock,
        generator: random.Random,
        *,
        act: Callable[[StopLevel], str] | None = None,
        leases: Path | None = None,
        tell: Callable[[str], None],
        record: Callable[[str, str, str, str], None] = lambda act, what, why, result: None,
        source: str = "",
    ) -> None:
        """Prepare; nothing is started.

        Args:
            start: Starts the run, with the path of its heartbeat file.
            state: Of the run; its folder holds the heartbeat, too.
            watch: Limits and what to do.
            clock: Measures and waits.
            generator: Spreads the waits before another start.
            act: Withdraws orders or closes positions through a connector of its own, while the watchdog holds the account's
                lease, and returns in words what it did; None leaves that to the next run.
            leases: Folder of the account leases; None for the user's.
            tell: Takes each line for the user.
            record: Keeps act, what, why and result of what the watchdog did by itself; what it raises is told.
            source: The config, for messages.
        """
        self._start = start
        self._state = state
        self._watch = watch
        self._clock = clock
        self._random = generator
        self._act = act
        self._leases = leases
        self._tell = tell
        self._record = record
        self._done: list[tuple[str, str, str, str]] = []  # and not recorded yet
        self._source = source
        self._signals: deque[int] = deque()
        self._stopped_by = 0
        self._deadline = 0.0
        self._failures: deque[float] = deque()
        self._failed = ""  # how the last one failed
        most = max(1, watch.crashes)
        self._delays = RetryPolicy(max_retries=most, initial_delay=1.0, factor=2.0, max_delay=60.0, jitter="full")

    def stop(self, number: int) -> None:
        """Pass signal *number* on to the run and end with it; may be called from a signal handler."""
        self._signals.append(number)

    def run(self) -> int:
        """Start the run, and again where it fails; return the exit code for the watchdog.

        Raises:
            HeraldError: Another watchdog has this state folder.
            NotFound: The command cannot be started.
        """
        self._state.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._state.folder / "supervise.lock") as lock:
            if not lock.try_acquire():
                raise HeraldError(f"{str(self._state.folder)!r} is watched by another `herald supervise`; stop that one first")
            return self._run()

    # --- inside -----------------------------------------------------------------------------------

    def _run(self) -> int:
        starts = 0
        while True:
            if self._is_stopping():
                return 128 + self._stopped_by
            starts += 1
            # A new name each time: a child that cannot be killed must not beat for its successor.
            path = self._state.folder / f"heartbeat-{starts % 2}"
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            child = self._start(path)
            identity = process_identity(child.pid)
            self._tell(f"started process {child.pid}" + (f", start {starts}" if starts > 1 else ""))
            if starts > 1:
                self._did("restart", f"process {child.pid}, start {starts}", self._failed, "started")
                self._record_all()
            try:
                end = self._follow(child, path)
            finally:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            try:
                code = self._after(end, child.pid, identity)
            finally:
                self._record_all()
            if code is not None:
                return code
            self._pause()

    def _follow(self, child: Child, path: Path) -> _End:
        """Return how *child* ended."""
        last, silent, beat = self._clock.monotonic(), 0.0, None
        longest = max(_LONGEST_LOOK_SECONDS, 2 * self._watch.poll_seconds)
        while (code := child.poll()) is None:
            now = self._clock.monotonic()
            silent += min(now - last, longest)
            last = now
            if self._pass_on(child):
                if now >= self._deadline:
                    self._tell(f"process {child.pid} did not end within {self._watch.grace_seconds:g} s; killing it")
                    self._killed(child, f"it did not end within {self._watch.grace_seconds:g} s of a signal")
                    return _End(_FAILED)
            else:
                seen = read_beat(path)
                if seen is not None and seen != beat:
                    silent, beat = 0.0, seen
                hang = self._hang(beat, silent)
                if hang:
                    self._tell(f"process {child.pid} hangs: {hang}; killing it")
                    if not self._killed(child, f"it hangs: {hang}"):
                        self._tell(f"process {child.pid} cannot be killed now; its account is taken from it")
                    return _End(_FAILED, hang)
            self._clock.sleep(self._watch.poll_seconds)
        return _End(code)

    def _killed(self, child: Child, why: str) -> bool:
        """Kill *child*; return whether it is gone."""
        is_gone = child.kill()
        self._did("kill", f"process {child.pid}", why, "done" if is_gone else "failed: the system does not let it end now")
        return is_gone

    def _hang(self, beat: Beat | None, silent: float) -> str:
        """Return why the child is taken to hang; empty where it is not."""
        watch = self._watch
        if beat is None:
            return f"no heartbeat in the first {watch.start_seconds:g} s" if silent > watch.start_seconds else ""
        if silent > watch.hang_seconds:
            return f"no heartbeat for {watch.hang_seconds:g} s"
        if beat.busy_seconds > watch.hang_seconds:
            return f"busy with one thing for {beat.busy_seconds:.3g} s"
        return ""

    def _pass_on(self, child: Child) -> bool:
        """Pass on the signals that came; return whether the run is being stopped."""
        while self._signals:
            self._note(self._signals.popleft())
            child.send(self._stopped_by)
        return bool(self._stopped_by)

    def _note(self, number: int) -> None:
        if not self._stopped_by:
            self._deadline = self._clock.monotonic() + self._watch.grace_seconds
        self._stopped_by = number

    def _is_stopping(self) -> bool:
        while self._signals:
            self._note(self._signals.popleft())
        return bool(self._stopped_by)

    def _after(self, end: _End, pid: int, identity: str) -> int | None:
        """Do what the end of a child calls for; return the watchdog's exit code, None to start another."""
        code = end.code
        if self._stopped_by:
            return code if code >= 0 else 128 - code
        if not end.hang:
            if code == 0:
                return 0
            if code in _BY_CTRL_C:
                return _INTERRUPTED
            if code in _FINAL:
                self._tell(f"ended with {code}, which another start would not change")
                return code
        what = self._failed = f"hung: {end.hang}" if end.hang else _words(code)
        now = self._clock.monotonic()
        self._failures.append(now)
        while self._failures[0] <= now - self._watch.window_seconds:
            self._failures.popleft()
        count, most = len(self._failures), self._watch.crashes
        is_over = True
        if end.hang and self._watch.on_hang is not OnHang.RESTART:
            self._halt(f"the run {what}", cancel_all=True, flatten=self._watch.on_hang is OnHang.FLATTEN)
        elif count >= most:
            self._halt(f"crash loop: {count} failures in {self._watch.window_seconds:g} s; the last {what}")
        else:
            self._tell(f"{what}; failure {count}, and {most} in {self._watch.window_seconds:g} s end the watch")
            is_over = False
        with contextlib.ExitStack() as leases:
            try:
                self._take_leases(leases, pid, identity)
                self._carry_out()
            except (HeraldError, OSError) as error:
                self._tell(f"the account could not be taken from process {pid}: {error}")
        return _FAILED if is_over else None

    def _pause(self) -> None:
        delay = self._delays.delay(len(self._failures) - 1, self._random.random())
        self._tell(f"next start in {delay:.1f} s")
        end = self._clock.monotonic() + delay
        while (left := end - self._clock.monotonic()) > 0 and not self._is_stopping():
            self._clock.sleep(min(left, self._watch.poll_seconds))

    def _halt(self, why: str, *, cancel_all: bool = False, flatten: bool = False) -> None:
        act = "halt --flatten" if flatten else "halt --cancel" if cancel_all else "halt"
        try:
            self._state.halt_account("watchdog", why, cancel_all=cancel_all, flatten=flatten)
        except OSError as error:
            self._tell(f"the halt could not be written to {str(self._state.folder)!r}: {error.strerror or error}")
            self._did(act, ACCOUNT, why, f"failed: {error.strerror or error}")
        else:
            self._did(act, ACCOUNT, why, "done")
        self._tell(f"{why}; the account is HALTED until somebody resumes it with `herald resume`")

    def _take_leases(self, leases: contextlib.ExitStack, pid: int, identity: str) -> None:
        """Take the accounts of the child that is gone, or should be; *leases* gives them back."""
        for holder in holders_of(pid, identity, self._clock, self._leases):
            lease = leases.enter_context(AccountLease(holder.server, holder.account, self._clock, self._leases))
            lease.take_over(holder.epoch, "watchdog", self._source)
            self._did("lease", f"account {holder.account} at {holder.server}", f"process {pid} is gone, or should be", "taken")

    def _carry_out(self) -> None:
        """Do at the broker what was asked for and what no run is there to do."""
        # What is asked of a strategy or a symbol waits for the next run, which knows what belongs to whom.
        asked = next((one for one in self._state.read().pending() if one.scope == ACCOUNT), None)
        if asked is None:
            return
        level = StopLevel.FLATTEN if asked.flatten else StopLevel.CANCEL
        if self._act is None:
            self._tell(f"to {level} is left to the next run: the watchdog has no connector")
            return
        try:
            done = self._act(level)
            self._state.mark_done(asked, "watchdog", done or f"{level} carried out")
        except (HeraldError, OSError) as error:
            self._tell(f"to {level} failed, and is left to the next run: {error}")
            self._did(level, ACCOUNT, asked.why, f"failed: {error}")
        else:
            self._tell(f"{level}: {done}")
            self._did(level, ACCOUNT, asked.why, f"done: {done}" if done else "done")

    def _did(self, act: str, what: str, why: str, result: str) -> None:
        """Keep what was done by nobody else's wish, to be recorded as soon as there is time."""
        self._done.append((f"supervise.{act}", what, why, result))

    def _record_all(self) -> None:
        while self._done:
            try:
                self._record(*self._done.pop(0))
            except Exception as error:  # whatever it is, the watch goes on
                self._tell(f"what was done is not in the audit log: {' '.join(str(error).split())}")


def _words(code: int) -> str:
    if code >= 0:
        return f"ended with {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
