"""When the trading process is gone and when it is back, with the real watchdog and without one."""

from __future__ import annotations

import random
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from trader import Operator

from herald.clock import SECOND
from herald.live.state import StateFile
from herald.live.supervise import Child, Supervisor, Watch

__all__ = ["by_hand", "supervised"]

_NOBODY = 2**22 + 1  # above the largest number that a process can have
Down = tuple[float, float]


def by_hand(ends: Sequence[tuple[float, str]], operator: Operator, start_seconds: float) -> list[Down]:
    """Return the (gone, back) of a process that only the operator starts again."""
    downs: list[Down] = []
    for at, _ in ends:
        if not downs or at >= downs[-1][1]:
            downs.append((at, at + operator.alarm_seconds + operator.takes() + start_seconds))
    return downs


def supervised(ends: Sequence[tuple[float, str]], start_seconds: float, seed: int, end: float) -> list[Down]:
    """Return the same under `herald supervise`: its real `Supervisor`, on a clock of its own and with children of paper."""
    if not ends:
        return []
    with tempfile.TemporaryDirectory(prefix="herald-mtbf-") as folder:
        world = _World(list(ends), end)
        leases = Path(folder, "leases")
        leases.mkdir()
        supervisor = Supervisor(
            world.start,
            StateFile(Path(folder, "state"), world),
            Watch(),
            world,
            random.Random(f"{seed}:supervisor"),
            leases=leases,
            tell=lambda text: None,
        )
        world.stop = lambda: supervisor.stop(signal.SIGTERM)
        supervisor.run()
    return [(gone, back + start_seconds) for gone, back in world.downs]


class _World:
    """The clock of the watchdog and the process that it watches."""

    def __init__(self, ends: list[tuple[float, str]], end: float) -> None:
        self.time = 0.0
        self.downs: list[Down] = []
        self.stop = lambda: None
        self._ends = ends
        self._end = end
        self._child: _Child | None = None
        self._gone: float | None = None

    def now(self) -> int:
        return round(self.time * SECOND)

    def monotonic(self) -> float:
        return self.time

    def start(self, heartbeat: Path) -> Child:
        """Start the process; it was gone until now."""
        if self._gone is not None:
            self.downs.append((self._gone, self.time))
            self._gone = None
        self._ends = [one for one in self._ends if one[0] > self.time]
        self._child = _Child(heartbeat)
        return self._child

    def sleep(self, seconds: float) -> None:
        """Let time pass; where all is well, up to the next fault at once."""
        self.time += seconds
        child = self._child
        if child is None or child.kind:
            return
        upcoming = self._ends[0][0] if self._ends else self._end
        if upcoming - self.time > 2.0:
            self.time = upcoming - 1.0
        if self._ends and self.time >= upcoming:
            self._gone, child.kind = self._ends.pop(0)
        elif not self._ends and self.time >= self._end - 1.0:
            self.stop()
        else:
            child.beat()


class _Child:
    """A process of paper: beats, until it crashes or freezes."""

    pid = _NOBODY

    def __init__(self, heartbeat: Path) -> None:
        self.kind = ""
        self._heartbeat = heartbeat
        self._count = 0
        self._is_told = False
        self.beat()

    def beat(self) -> None:
        self._count += 1
        self._heartbeat.write_text(f"{self._count:020d} {0.0:020.3f}\n", encoding="ascii")

    def poll(self) -> int | None:
        return 0 if self._is_told else 1 if self.kind == "crash" else None

    def send(self, number: int) -> None:
        self._is_told = True

    def kill(self) -> bool:
        return True
