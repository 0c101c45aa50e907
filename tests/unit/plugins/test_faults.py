from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from herald.contracts import Call, Operation
from herald.errors import AmbiguousError, NotConnected, RejectedError, TransientError
from herald.model import Event, FaultInjected
from herald.plugins.faults import SCRIPTS, FaultsLayer, FaultsSettings
from herald.testing import FakeClock, make_services

PING, POLL, SUBMIT = Call(Operation.PING), Call(Operation.POLL), Call(Operation.SUBMIT, ("request",))


class Stand:
    """A layer with a connector inside that counts what reaches it."""

    def __init__(self, *faults: dict[str, Any], script: str | None = None, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        services = make_services("connectors.main.middleware[0]", clock=self.clock, emit=self.events.append)
        self.layer = FaultsLayer(FaultsSettings(script=script, faults=faults, seed=seed), services)  # type: ignore[arg-type]
        self.reached: list[str] = []

    def inner(self, call: Call) -> object:
        self.reached.append(call.operation.method)
        return ("a", "b", "c") if call.operation is Operation.POLL else "answer"

    def __call__(self, call: Call = PING) -> object:
        return self.layer(call, self.inner)

    def outcome(self, call: Call = PING) -> str:
        try:
            self(call)
        except Exception as error:
            return type(error).__name__
        return "ok"


def test_a_call_that_no_fault_hits_passes() -> None:
    stand = Stand({"kind": "reset", "operations": ["quote"]})

    assert "answer" == stand()
    assert [] == stand.events


def test_latency_waits_before_the_call() -> None:
    stand = Stand({"kind": "latency", "seconds": 2.0})
    before = stand.clock.monotonic()

    assert "answer" == stand()
    assert 2.0 == pytest.approx(stand.clock.monotonic() - before)


def test_jitter_stays_in_its_bounds() -> None:
    stand = Stand({"kind": "latency", "seconds": 1.0, "jitter_seconds": 0.5})
    waits = []
    for _ in range(200):
        before = stand.clock.monotonic()
        stand()
        waits.append(stand.clock.monotonic() - before)

    assert 1.0 <= min(waits) < 1.05
    assert 1.45 < max(waits) <= 1.5 + 1e-6


def test_a_slow_drip_brings_the_answer_late() -> None:
    stand = Stand({"kind": "slow_drip", "seconds": 3.0})
    times: list[float] = []
    start = stand.clock.monotonic()

    answer = stand.layer(PING, lambda call: times.append(stand.clock.monotonic() - start) or "answer")

    assert "answer" == answer
    assert [0.0] == times
    assert 3.0 == pytest.approx(stand.clock.monotonic() - start)


@pytest.mark.parametrize("kind", ["black_hole", "reset", "down", "reject"])
def test_what_swallows_a_call_keeps_it_from_the_broker(kind: str) -> None:
    stand = Stand({"kind": kind})

    assert stand.outcome(SUBMIT) != "ok"
    assert [] == stand.reached


@pytest.mark.parametrize("kind", ["lost_reply", "garbage"])
def test_what_spoils_the_answer_lets_the_call_reach_the_broker(kind: str) -> None:
    stand = Stand({"kind": kind})

    assert "AmbiguousError" == stand.outcome(SUBMIT)
    assert ["submit"] == stand.reached


@pytest.mark.parametrize(
    ("kind", "question", "order"),
    [
        ("black_hole", TransientError, AmbiguousError),
        ("lost_reply", TransientError, AmbiguousError),
        ("reset", TransientError, AmbiguousError),
        ("garbage", TransientError, AmbiguousError),
        ("down", NotConnected, NotConnected),
        ("reject", RejectedError, RejectedError),
    ],
)
def test_a_fault_is_told_as_a_real_one_would_be(kind: str, question: type[Exception], order: type[Exception]) -> None:
    stand = Stand({"kind": kind})

    with pytest.raises(question, match="rehearsal"):
        stand(PING)
    with pytest.raises(order, match="rehearsal"):
        stand(SUBMIT)


def test_a_black_hole_is_noticed_after_its_seconds() -> None:
    stand = Stand({"kind": "black_hole", "seconds": 5.0})
    before = stand.clock.monotonic()

    stand.outcome()

    assert 5.0 == pytest.approx(stand.clock.monotonic() - before)


def test_duplicates_come_twice_and_a_single_value_stays() -> None:
    stand = Stand({"kind": "duplicate"})

    assert ("a", "b", "c", "a", "b", "c") == stand(POLL)
    assert "answer" == stand(PING)


def test_reordering_loses_nothing() -> None:
    stand = Stand({"kind": "reorder"})
    answers = {stand(POLL) for _ in range(50)}

    assert len(answers) > 1
    assert {("a", "b", "c")} == {tuple(sorted(one)) for one in answers}  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", ["lost_reply", "garbage"])
def test_news_that_could_not_be_read_come_with_the_next_poll(kind: str) -> None:
    stand = Stand({"kind": kind, "calls": 2})

    assert ["TransientError", "TransientError"] == [stand.outcome(POLL), stand.outcome(POLL)]
    assert ("a", "b", "c") * 3 == stand(POLL)
    assert ("a", "b", "c") == stand(POLL)


def test_a_fault_is_on_for_its_time_only() -> None:
    stand = Stand({"kind": "down", "after_seconds": 10.0, "lasts_seconds": 5.0})
    seen = []
    for _ in range(20):
        seen.append(stand.outcome())
        stand.clock.advance(1.0)

    assert ["ok"] * 10 + ["NotConnected"] * 5 + ["ok"] * 5 == seen


def test_a_repeating_fault_keeps_its_mean_distance() -> None:
    stand = Stand({"kind": "down", "every_seconds": 100.0, "lasts_seconds": 1.0})
    beginnings = 0
    last = "ok"
    for _ in range(40_000):
        now = stand.outcome()
        beginnings += now != "ok" and last == "ok"
        last = now
        stand.clock.advance(0.5)

    assert 160 < beginnings < 240  # 200 expected in 20,000 s; three standard deviations are 42


def test_chance_hits_its_share() -> None:
    stand = Stand({"kind": "reset", "chance": 0.25})
    counted = Counter(stand.outcome() for _ in range(4_000))

    assert 880 < counted["TransientError"] < 1_120  # 1,000 expected; four standard deviations are 110


def test_no_more_calls_are_hit_than_stated() -> None:
    stand = Stand({"kind": "reset", "calls": 2})

    assert ["TransientError", "TransientError", "ok", "ok"] == [stand.outcome() for _ in range(4)]


def test_the_first_fault_that_hits_has_the_call() -> None:
    stand = Stand({"kind": "reset", "operations": ["ping"]}, {"kind": "down"})

    assert "TransientError" == stand.outcome(PING)
    assert "NotConnected" == stand.outcome(POLL)


def test_every_hit_is_told_to_the_observers() -> None:
    stand = Stand({"kind": "lost_reply"})

    stand.outcome(SUBMIT)

    assert [FaultInjected(stand.clock.now(), "connectors.main.middleware[0]", "lost_reply", "submit")] == stand.events


def test_the_same_seed_spoils_the_same_calls() -> None:
    def day(seed: int) -> list[str]:
        stand = Stand(script="transient", seed=seed)
        return [stand.outcome(Call(Operation.QUOTE, ("EURUSD",))) for _ in range(500)]

    assert day(3) == day(3)
    assert day(3) != day(4)


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_every_shipped_script_spoils_something_and_lets_most_pass(script: str) -> None:
    stand = Stand(script=script)
    outcomes = []
    for _ in range(3_000):
        for call in (POLL, Call(Operation.QUOTE, ("EURUSD",)), SUBMIT):
            outcomes.append(stand.outcome(call))
        stand.clock.advance(1.0)

    assert stand.events
    assert outcomes.count("ok") > len(outcomes) / 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, 'write script = "session_drops"'),
        ({"script": "meteor"}, "unknown script 'meteor'; there are transient"),
        ({"faults": [{"kind": "reset", "operations": ["buy"]}]}, "unknown operation 'buy'; there are connect"),
        ({"faults": [{"kind": "reset", "every_seconds": 5}]}, "every_seconds needs lasts_seconds"),
        ({"faults": [{"kind": "earthquake"}]}, "latency"),
        ({"faults": [{"kind": "reset", "chance": 1.5}]}, "less than or equal to 1"),
        ({"faults": [{"kind": "latency", "seconds": -1}]}, "greater than or equal to 0"),
        ({"faults": [{"kind": "latency", "seconds": float("nan")}]}, "finite"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("[", r"\[")):
        FaultsSettings(**settings)
