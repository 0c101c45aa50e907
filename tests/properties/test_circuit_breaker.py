"""The circuit breaker against a model of its own: any interleaving of calls that begin, end, hang, and of the clock."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from herald.errors import CircuitOpenError
from herald.utils.circuit_breaker import CircuitBreaker, CircuitSnapshot, CircuitState


class Failure(Exception):
    """Counts."""


class Neutral(Exception):
    """Is ignored."""


@dataclass
class Model:
    """What the prose of the breaker says, written down a second time: plain numbers, every call an entry in a list."""

    threshold: int
    timeout: int
    trials: int
    successes_needed: int
    trial_timeout: int
    now: int = 0
    state: str = "CLOSED"
    generation: int = 0
    failures: int = 0
    open_until: float = 0
    successes: int = 0
    permits: dict[int, int] = field(default_factory=dict)  # call -> when its permit expires
    changes: list[str] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("good", "bad", "neutral", "refused", "late"), 0))

    def change(self, state: str) -> None:
        self.generation += 1
        if state != self.state:
            self.changes.append(state)
        self.state = state
        self.permits = {}
        self.successes = 0
        if state == "CLOSED":
            self.failures = 0

    def begin(self, call: int) -> bool:
        """Return whether the call goes through."""
        if self.state == "OPEN" and self.now >= self.open_until:
            self.change("HALF_OPEN")
        if self.state == "HALF_OPEN":
            if len(self.permits) >= self.trials:
                self.permits = {one: end for one, end in self.permits.items() if end > self.now}
            if len(self.permits) < self.trials:
                self.permits[call] = self.now + self.trial_timeout
                return True
        if self.state == "CLOSED":
            return True
        self.counted["refused"] += 1
        return False

    def end(self, call: int, generation: int, outcome: str) -> None:
        self.counted[outcome] += 1
        if generation != self.generation or (self.state == "HALF_OPEN" and call not in self.permits):
            self.counted["late"] += 1
            return
        was_trial = self.permits.pop(call, None) is not None
        if outcome == "neutral":
            return
        if outcome == "bad":
            self.failures += 1
            if was_trial or self.failures >= self.threshold:
                self.change("OPEN")
                self.open_until = self.now + self.timeout
        elif was_trial:
            self.successes += 1
            if self.successes >= self.successes_needed:
                self.change("CLOSED")
        else:
            self.failures = 0

    def wait(self) -> float:
        if self.state == "OPEN":
            return max(0.0, self.open_until - self.now)
        if self.state == "HALF_OPEN" and len(self.permits) >= self.trials:
            return max(0.0, min(self.permits.values()) - self.now)
        return 0.0


class Gate:
    """A call under way: a coroutine that stands still until it is told how to end."""

    def __init__(self, breaker: CircuitBreaker, call: int, generation: int) -> None:
        self.call = call
        self.generation = generation
        self.running = breaker.call_async(self._body)

    async def _body(self) -> Any:
        return await _Pause()

    def begin(self) -> None:
        self.running.send(None)

    def end(self, outcome: str, how: int) -> None:
        if outcome == "good":
            with pytest.raises(StopIteration):
                self.running.send("answer")
        else:
            neutral: list[BaseException] = [Neutral(), KeyboardInterrupt(), asyncio.CancelledError()]
            error = Failure() if outcome == "bad" else neutral[how]
            with pytest.raises(type(error)) as caught:
                self.running.throw(error)
            assert error is caught.value


class _Pause:
    def __await__(self) -> Any:
        return (yield)


class BreakerMachine(RuleBasedStateMachine):
    """Whole seconds, so that the arithmetic of both sides is exact."""

    @initialize(
        threshold=st.integers(1, 3),
        timeout=st.integers(1, 4),
        trials=st.integers(1, 3),
        needed=st.integers(1, 3),
        trial_timeout=st.integers(1, 4),
    )
    def start(self, threshold: int, timeout: int, trials: int, needed: int, trial_timeout: int) -> None:
        self.model = Model(threshold, timeout, trials, needed, trial_timeout)
        self.told: list[str] = []
        self.breaker = CircuitBreaker(
            threshold,
            timeout,
            "model",
            ignore=Neutral,
            half_open_max_calls=trials,
            success_threshold=needed,
            half_open_timeout=trial_timeout,
            clock=lambda: float(self.model.now),
            on_change=lambda state: self.told.append(state.value),
        )
        self.under_way: list[Gate] = []
        self.calls = 0

    @rule()
    def a_call_begins(self) -> None:
        self.calls += 1
        wait_before = self.model.wait()
        admitted = self.model.begin(self.calls)
        gate = Gate(self.breaker, self.calls, self.model.generation)
        if admitted:
            gate.begin()
            self.under_way.append(gate)
            assert wait_before == 0
            return
        with pytest.raises(CircuitOpenError) as caught:
            gate.begin()
        assert self.model.wait() == caught.value.retry_after

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(["good", "bad", "bad", "neutral"]), how=st.integers(0, 2))
    def a_call_ends(self, data: st.DataObject, outcome: str, how: int) -> None:
        gate = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.model.end(gate.call, gate.generation, outcome)
        gate.end(outcome, how)

    @rule(outcome=st.sampled_from(["good", "bad", "neutral"]), times=st.integers(1, 4))
    def plain_calls_come_and_go(self, outcome: str, times: int) -> None:
        errors: dict[str, Exception] = {"bad": Failure(), "neutral": Neutral()}

        def body() -> str:
            if outcome in errors:
                raise errors[outcome]
            return "answer"

        for _ in range(times):
            self.calls += 1
            if self.model.begin(self.calls):
                self.model.end(self.calls, self.model.generation, outcome)
                if outcome == "good":
                    assert "answer" == self.breaker.call(body)
                else:
                    with pytest.raises(type(errors[outcome])):
                        self.breaker.call(body)
            else:
                with pytest.raises(CircuitOpenError):
                    self.breaker.call(body)

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.model.now += seconds

    # One rule, so that hands interfere seldom enough for the circuit to go its own way in between.
    @rule(action=st.sampled_from(["reset", "open", "isolate"]), seconds=st.integers(1, 5))
    def somebody_steers_by_hand(self, action: str, seconds: int) -> None:
        self.model.change("CLOSED" if action == "reset" else "OPEN")
        if action == "reset":
            self.breaker.reset()
        elif action == "open":
            self.model.open_until = self.model.now + seconds
            self.breaker.open(seconds)
        else:
            self.model.open_until = math.inf
            self.breaker.isolate()

    @rule(begun=st.integers(0, 2))
    def a_probe_finds_it_healthy(self, begun: int) -> None:
        generation = self.model.generation - begun
        counts = begun == 0 and self.model.state != "CLOSED" and self.model.open_until != math.inf
        if counts:
            self.model.change("CLOSED")
        assert counts == self.breaker.report_healthy(generation)

    @rule(asleep=st.integers(0, 5))
    def it_is_saved_and_restored_later(self, asleep: int) -> None:
        snapshot = self.breaker.snapshot()
        left = self.model.wait() if self.model.state == "OPEN" else 0
        assert snapshot == CircuitSnapshot(
            state=CircuitState(self.model.state),
            remaining_seconds=0.0 if left == math.inf else left,
            isolated=left == math.inf,
            failure_count=self.model.failures,
            attempt=snapshot.attempt,
        )
        failures = self.model.failures
        self.model.now += asleep
        self.breaker.restore(snapshot)
        self.model.change("CLOSED" if self.model.state == "CLOSED" else "OPEN")
        self.model.failures = failures
        self.model.open_until = self.model.now + left

    @invariant()
    def both_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        model, breaker = self.model, self.breaker
        seen = breaker.statistics()
        assert model.state == breaker.state.value
        assert model.generation == breaker.generation
        assert model.failures == breaker.failure_count
        assert model.wait() == breaker.retry_after
        assert model.changes == self.told
        counted = {
            "good": seen.successes,
            "bad": seen.failures,
            "neutral": seen.ignored,
            "refused": seen.rejected,
            "late": seen.late,
        }
        assert model.counted == counted
        assert len(model.changes) == seen.transitions

    def teardown(self) -> None:
        for gate in getattr(self, "under_way", []):
            gate.running.close()


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
