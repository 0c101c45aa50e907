"""Places at which a run can be told to die, so that a test can kill it at exactly that instruction.

``HERALD_CRASH_AT=after_intent:3`` ends the process with SIGKILL when it passes ``after_intent`` for the third time. Without
the variable every point is a function that does nothing, found once when its owner is built.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Mapping

from herald.errors import ConfigError, Problem

__all__ = ["CRASH_AT", "POINTS", "crash_point"]

CRASH_AT = "HERALD_CRASH_AT"
"""Environment variable ``NAME:N``: die at the N-th passing of point NAME."""

POINTS: Mapping[str, str] = {
    "before_intent": "an order was decided, nothing of it is written",
    "before_commit": "records wait in the journal's thread, nothing of them is written",
    "after_intent": "the intent is on disk, the worker does not have the order yet",
    "before_send": "inside the door: the permission is used up, nothing was sent",
    "after_write": "the request was written to the connection, no answer was read",
    "after_reply": "the broker answered, nobody has been told",
    "before_outcome": "the outcome reached the engine's thread, nothing of it is recorded",
    "after_outcome": "the outcome is on disk",
    "before_fill": "an execution was learnt of, nothing of it is recorded",
    "mid_fill": "an execution is on its way to the journal, the books do not have it",
    "after_fill": "an execution and the order behind it are on disk",
    "mid_partial": "a part of an order traded, the rest is open",
    "before_cancel": "a cancel was decided, nothing of it is written",
    "before_snapshot": "the journal is about to keep a snapshot",
    "in_snapshot": "a snapshot of the journal is written and not committed",
    "after_snapshot": "the journal has kept a snapshot",
    "in_recovery": "a record of earlier runs was read",
    "after_recovery": "the books are where they were, nothing is connected",
    "connected": "the connection stands, nothing was asked",
    "reconcile_seen": "a snapshot of the account was taken, nothing was compared",
    "reconcile_filled": "its executions are taken, orders and positions are not compared",
    "before_resend": "an order is known to be absent and is about to be sent again",
    "after_resend": "it was handed on to be sent again",
    "stopping": "the run has ended, its workers go on",
    "stopped": "the workers have stopped, the journal is open",
}
"""Every point by name, with what is true there."""


def crash_point(name: str, environment: Mapping[str, str] = os.environ) -> Callable[[], None]:
    """Return what to call at the point *name*: nothing happens there unless the environment names it.

    Raises:
        KeyError: There is no such point.
        ConfigError: The variable names no point, or no number of passings.
    """
    if name not in POINTS:
        raise KeyError(name)
    wanted = environment.get(CRASH_AT)
    if not wanted:
        return _go_on
    where, _, count = wanted.partition(":")
    if where not in POINTS or not (count.isdecimal() and int(count) > 0):
        hint = f"write NAME:N with N from 1 and NAME one of {', '.join(POINTS)}, or unset it"
        raise ConfigError("environment", [Problem(CRASH_AT, f"{wanted!r} names no point and passing", hint)])
    return _Crash(int(count)) if where == name else _go_on


def _go_on() -> None:
    """Do nothing."""


class _Crash:
    """Ends the process at the last of so many calls."""

    def __init__(self, count: int) -> None:
        self._passings = itertools.count(1)
        self._last = count

    def __call__(self) -> None:
        if next(self._passings) >= self._last:
            # On Windows, os.kill ends a process at once with any number that is no console event.
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
