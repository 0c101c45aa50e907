"""A clock that a test moves."""

from __future__ import annotations

from herald.clock import SimClock, parse_time

__all__ = ["FakeClock"]


class FakeClock(SimClock):
    """A clock that stands still at the start of 2024 until a test moves it; ``sleep`` moves it too."""

    def __init__(self, now: int | str = "2024-01-01") -> None:
        """Start at *now*, nanoseconds UTC or an ISO 8601 text."""
        super().__init__(parse_time(now) if isinstance(now, str) else now)

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass.

        Raises:
            ValueError: *seconds* is negative.
        """
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds} s")
        self.sleep(seconds)
