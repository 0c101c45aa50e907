"""What a circuit breaker shows of itself, and what it keeps for one generation of calls."""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

__all__ = ["TOLERANCE", "CircuitMode", "CircuitSnapshot", "CircuitState", "CircuitStatistics", "Permit", "Phase"]

# Seconds since 1970 as a float are exact to a quarter of a microsecond: a wait that is over must not seem to last longer.
TOLERANCE = 1e-6


class CircuitState(StrEnum):
    """Whether calls go through."""

    CLOSED = "CLOSED"
    """They do."""
    OPEN = "OPEN"
    """They are refused."""
    HALF_OPEN = "HALF_OPEN"
    """Some do, to find out whether the other side is back."""


class CircuitMode(StrEnum):
    """Whether a breaker acts on what it sees."""

    NORMAL = "normal"
    """It does."""
    METRICS_ONLY = "metrics_only"
    """It counts, also how often it would have opened; it opens only by hand."""
    DISABLED = "disabled"
    """It lets everything through and counts nothing; it opens only by hand."""


class CircuitSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a breaker must remember over a restart; holds no time stamp, so that it fits any clock.

    Attributes:
        state: At the time of the snapshot.
        remaining_seconds: Until the next trial call; 0 unless OPEN.
        isolated: Open until `CircuitBreaker.reset`; *remaining_seconds* then means nothing.
        failure_count: Failures in a row.
        attempt: Openings since the circuit was last closed.
    """

    state: CircuitState
    remaining_seconds: float = 0.0
    isolated: bool = False
    failure_count: int = 0
    attempt: int = 0


class CircuitStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a breaker has seen since it was made; `CircuitBreaker.reset` does not clear it.

    Attributes:
        name: The breaker.
        state: Now.
        mode: Now.
        generation: Rises by one with every change of state and every reset.
        failure_count: Failures in a row.
        retry_after: Seconds until a call may go through; 0 where it may now, infinite where isolated.
        successes: Calls that were a success.
        failures: Calls that were a failure.
        ignored: Calls that were neutral.
        rejected: Calls refused with `CircuitOpenError`.
        slow: Successes and failures that took at least *slow_call_seconds*.
        late: Those among all the above outcomes that decided nothing, as the circuit had changed since they began or
            their trial permit had expired.
        openings: Changes to OPEN.
        half_openings: Changes to HALF_OPEN.
        closings: Changes to CLOSED.
        suppressed: How often the mode METRICS_ONLY kept the circuit from opening.
        callback_errors: Exceptions raised by listeners, predicates and *open_seconds*.
        seconds_closed: Time spent CLOSED.
        seconds_open: Time spent OPEN.
        seconds_half_open: Time spent HALF_OPEN.
        window_calls: Calls in the window; 0 without one.
        window_failure_rate: Share of them that failed, 0 to 1.
        window_slow_rate: Share of them that were slow, 0 to 1.
    """

    name: str
    state: CircuitState
    mode: CircuitMode
    generation: int
    failure_count: int
    retry_after: float
    successes: int
    failures: int
    ignored: int
    rejected: int
    slow: int
    late: int
    openings: int
    half_openings: int
    closings: int
    suppressed: int
    callback_errors: int
    seconds_closed: float
    seconds_open: float
    seconds_half_open: float
    window_calls: int
    window_failure_rate: float
    window_slow_rate: float

    @property
    def transitions(self) -> int:
        """Changes of state, all together."""
        return self.openings + self.half_openings + self.closings


class Permit:
    """The right of one trial call; compared by identity."""

    __slots__ = ("expires",)

    def __init__(self, expires: float) -> None:
        self.expires = expires


class Phase:
    """One generation of the circuit. The object itself is the generation: a call keeps it and compares identity."""

    __slots__ = (
        "attempt",
        "bypassed",
        "credit",
        "free",
        "isolated",
        "number",
        "permits",
        "ramp_since",
        "seconds",
        "since",
        "state",
        "successes",
    )

    def __init__(self, number: int, state: CircuitState, since: float, attempt: int, mode: CircuitMode) -> None:
        self.number = number
        self.state = state
        self.since = since
        self.attempt = attempt  # openings since the circuit was last closed
        closed = state is CircuitState.CLOSED
        self.bypassed = closed and mode is CircuitMode.DISABLED  # calls go through uncounted
        self.free = closed and not self.bypassed  # calls need not ask
        self.seconds = 0.0  # how long it stays OPEN
        self.isolated = False
        self.permits: list[Permit] = []
        self.successes = 0
        self.ramp_since: float | None = None
        self.credit = 1.0  # the first call of a ramp goes through

    def left(self, now: float) -> float:
        """Return the seconds until the first trial."""
        if self.isolated:
            return math.inf
        # An injected clock that was set back must not keep the circuit open for as long as it was set back.
        self.since = min(self.since, now)
        left = self.since + self.seconds - now
        return left if left > TOLERANCE else 0.0
