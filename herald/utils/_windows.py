"""What a circuit breaker remembers of its last calls: the last N of them, or those of the last seconds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque

__all__ = ["CallWindow", "LastCalls", "LastSeconds"]

# The window of seconds moves in steps of a tenth of itself: memory does not grow with traffic, and an outcome is
# forgotten when it is between 0.9 and 1.0 windows old.
_STEPS = 10


class CallWindow(ABC):
    """How many of the remembered calls failed and how many were slow; not thread-safe, its owner locks.

    Attributes:
        calls: Remembered calls.
        failures: Failed ones among them.
        slow: Slow ones among them, failed or not.
    """

    __slots__ = ("calls", "failures", "slow")

    def __init__(self) -> None:
        """Remember nothing."""
        self.calls = self.failures = self.slow = 0

    @abstractmethod
    def record(self, now: float, failed: bool, slow: bool) -> None:
        """Remember one more call that ended at *now*, seconds."""

    @abstractmethod
    def forget(self, now: float) -> None:
        """Drop what is too old at *now*, seconds."""

    def clear(self) -> None:
        """Drop everything."""
        self.calls = self.failures = self.slow = 0

    def failure_rate(self) -> float:
        """Return the share of failed calls, 0 where there are none."""
        return self.failures / self.calls if self.calls else 0.0

    def slow_rate(self) -> float:
        """Return the share of slow calls, 0 where there are none."""
        return self.slow / self.calls if self.calls else 0.0


class LastCalls(CallWindow):
    """The last *size* calls, whenever they were."""

    __slots__ = ("_outcomes",)

    def __init__(self, size: int) -> None:
        """Remember up to *size* calls."""
        super().__init__()
        self._outcomes: deque[tuple[bool, bool]] = deque(maxlen=size)

    def record(self, now: float, failed: bool, slow: bool) -> None:
        """Remember one more call; the oldest makes room for it."""
        if self.calls == self._outcomes.maxlen:
            was_failed, was_slow = self._outcomes[0]
            self.calls -= 1
            self.failures -= was_failed
            self.slow -= was_slow
        self._outcomes.append((failed, slow))
        self.calls += 1
        self.failures += failed
        self.slow += slow

    def forget(self, now: float) -> None:
        """Drop nothing: here only newer calls make older ones go."""

    def clear(self) -> None:
        """Drop everything."""
        super().clear()
        self._outcomes.clear()


class LastSeconds(CallWindow):
    """The calls of the last *seconds*, in steps of a tenth of them."""

    __slots__ = ("_step", "_steps")

    def __init__(self, seconds: float) -> None:
        """Remember calls for *seconds*."""
        super().__init__()
        self._step = seconds / _STEPS
        # Number of the step, calls, failures, slow calls; oldest first.
        self._steps: deque[list[int]] = deque()

    def record(self, now: float, failed: bool, slow: bool) -> None:
        """Remember one more call that ended at *now*, seconds."""
        self.forget(now)
        number = math.floor(now / self._step)
        # Threads may record in another order than they read the clock: a late one goes into the newest step.
        if not self._steps or self._steps[-1][0] < number:
            self._steps.append([number, 0, 0, 0])
        newest = self._steps[-1]
        newest[1] += 1
        newest[2] += failed
        newest[3] += slow
        self.calls += 1
        self.failures += failed
        self.slow += slow

    def forget(self, now: float) -> None:
        """Drop the steps that are too old at *now*; all of them where the clock has been set back by more than one step."""
        number = math.floor(now / self._step)
        if self._steps and number < self._steps[-1][0] - 1:
            self.clear()
        while self._steps and self._steps[0][0] <= number - _STEPS:
            _, calls, failures, slow = self._steps.popleft()
            self.calls -= calls
            self.failures -= failures
            self.slow -= slow

    def clear(self) -> None:
        """Drop everything."""
        super().clear()
        self._steps.clear()
