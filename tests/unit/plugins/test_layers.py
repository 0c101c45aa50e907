"""The five resilience layers, each by itself and folded around a connector in every order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from herald.contracts import Call, Middleware, NoMetrics, Operation
from herald.errors import (
    AmbiguousError,
    CircuitOpenError,
    ConnectorError,
    NotConnected,
    NotSent,
    RateLimitedError,
    RejectedError,
    TransientError,
)
from herald.host.discovery import discover
from herald.host.registry import Registry
from herald.live.chain import compose
from herald.model import CallRepeated, CircuitChanged, Event, HealthChanged, OrderRequest, Side
from herald.testing import FakeClock, make_services

REGISTRY = Registry(discover())
REQUEST = OrderRequest("trend-000001", "trend", "EURUSD", Side.BUY, 0.1)
CLOSING = OrderRequest("trend-000002", "trend", "EURUSD", Side.SELL, 0.1, reduce_only=True)
QUOTE, PING, POLL = Call(Operation.QUOTE, ("EURUSD",)), Call(Operation.PING), Call(Operation.POLL)
SUBMIT, CANCEL = Call(Operation.SUBMIT, (REQUEST,)), Call(Operation.CANCEL, ("42",))


class Stand:
    """Layers around a broker that answers by a script: an exception to raise, or anything to return."""

    def __init__(self, *layers: tuple[str, dict[str, Any]], caches: dict[str, Any] | None = None) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.script: list[Any] = []
        self.default: Any = "answer"
        self.reached: list[Call] = []
        self.layers: list[Any] = [self.build(number, *layer, caches=caches) for number, layer in enumerate(layers)]
        self.handler = compose(self.layers, self.broker)

    def build(self, number: int, name: str, settings: dict[str, Any], caches: Any) -> Middleware:
        component = REGISTRY.find("middleware", name).component
        where = f"connectors.main.middleware[{number}]"
        services = make_services(where, clock=self.clock, emit=self.events.append, caches=caches)
        built: Middleware = component.build(component.settings(**settings), services)
        return built

    def broker(self, call: Call) -> object:
        self.reached.append(call)
        answer = self.script.pop(0) if self.script else self.default
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def outcome(self, call: Call) -> str:
        try:
            return str(self.handler(call))
        except ConnectorError as error:
            return type(error).__name__


# --- retry


def test_retry_repeats_what_failed_for_a_moment() -> None:
    stand = Stand(("retry", {}))
    stand.script = [TransientError("busy"), TransientError("busy")]

    assert "answer" == stand.handler(QUOTE)
    assert 3 == len(stand.reached)


def test_retry_gives_up_after_its_repetitions_with_the_last_error_itself() -> None:
    stand = Stand(("retry", {"max_retries": 2}))
    stand.default = TransientError("still busy")

    with pytest.raises(TransientError, match="still busy") as caught:
        stand.handler(QUOTE)

    assert stand.default is caught.value
    assert 3 == len(stand.reached)


def test_retry_waits_at_most_the_growing_bound() -> None:
    stand = Stand(("retry", {"max_retries": 3, "initial_delay": 1.0, "max_delay": 2.0}))
    stand.default = TransientError("busy")
    before = stand.clock.monotonic()

    stand.outcome(QUOTE)

    assert 0 < stand.clock.monotonic() - before <= 1 + 2 + 2


@pytest.mark.parametrize("error", [TransientError("busy"), AmbiguousError("no reply"), RejectedError("1", "no")])
@pytest.mark.parametrize("operation", [Operation.SUBMIT, Operation.MODIFY])
def test_retry_never_repeats_an_order(operation: Operation, error: Exception) -> None:
    stand = Stand(("retry", {}))
    stand.default = error

    with pytest.raises(type(error)):
        stand.handler(Call(operation, (REQUEST,)))

    assert 1 == len(stand.reached)


def test_retry_repeats_an_order_that_provably_never_left() -> None:
    stand = Stand(("retry", {}))
    stand.script = [NotSent("connection refused")]

    assert "answer" == stand.handler(SUBMIT)


@pytest.mark.parametrize(
    "error", [RejectedError("1", "no"), NotConnected("no"), CircuitOpenError("x", 1.0), RateLimitedError("x", 1.0)]
)
def test_retry_leaves_alone_what_repeating_cannot_mend(error: Exception) -> None:
    stand = Stand(("retry", {}))
    stand.default = error

    stand.outcome(QUOTE)

    assert 1 == len(stand.reached)


def test_every_repetition_is_told() -> None:
    stand = Stand(("retry", {}))
    stand.script = [TransientError("busy")]

    stand.handler(QUOTE)

    (told,) = stand.events
    assert isinstance(told, CallRepeated)
    assert ("connectors.main.middleware[0]", "quote", 1, "TransientError: busy") == (
        told.name,
        told.operation,
        told.attempt,
        told.error,
    )
    assert 0 <= told.delay <= 1.0


def test_the_budget_ends_repetitions_in_an_outage() -> None:
    stand = Stand(("retry", {"budget": 20}))
    stand.default = TransientError("down")

    for _ in range(100):
        stand.outcome(QUOTE)

    assert 100 < len(stand.reached) <= 104  # 20 tokens at 5 a repetition


# --- circuit breaker


def test_an_open_circuit_refuses_without_calling() -> None:
    stand = Stand(("circuit_breaker", {"failure_threshold": 3}))
    stand.default = TransientError("down")

    outcomes = [stand.outcome(QUOTE) for _ in range(5)]

    assert ["TransientError"] * 3 + ["CircuitOpenError"] * 2 == outcomes
    assert 3 == len(stand.reached)


def test_one_trial_call_after_the_time_out_closes_the_circuit() -> None:
    stand = Stand(("circuit_breaker", {"failure_threshold": 1, "timeout": 60}))
    stand.script = [NotConnected("down")]
    stand.outcome(QUOTE)
    stand.clock.advance(59)
    early = stand.outcome(QUOTE)
    stand.clock.advance(1)

    assert ["CircuitOpenError", "answer", "answer"] == [early, stand.outcome(QUOTE), stand.outcome(QUOTE)]


def test_a_refusal_is_a_success_of_the_connection() -> None:
    stand = Stand(("circuit_breaker", {"failure_threshold": 2}))
    stand.script = [TransientError("x"), RejectedError("1", "no"), TransientError("x"), "fine"]

    outcomes = [stand.outcome(SUBMIT) for _ in range(4)]

    assert ["TransientError", "RejectedError", "TransientError", "answer"][:3] == outcomes[:3]
    assert "fine" == outcomes[3]


def test_an_unknown_fate_counts_as_a_failure() -> None:
    stand = Stand(("circuit_breaker", {"failure_threshold": 2}))
    stand.default = AmbiguousError("no reply")

    assert ["AmbiguousError", "AmbiguousError", "CircuitOpenError"] == [stand.outcome(SUBMIT) for _ in range(3)]


def test_a_limiters_refusal_says_nothing_of_the_broker() -> None:
    stand = Stand(("circuit_breaker", {"failure_threshold": 2}))
    stand.script = [TransientError("x"), RateLimitedError("x", 1.0), TransientError("x")]

    outcomes = [stand.outcome(QUOTE) for _ in range(4)]

    assert ["TransientError", "RateLimitedError", "TransientError", "CircuitOpenError"] == outcomes


def test_connecting_passes_an_open_circuit_and_closes_it() -> None:
    stand = Stand(("circuit_breaker", {"failure_threshold": 1}))
    stand.script = [TransientError("down")]
    stand.outcome(QUOTE)

    assert "answer" == stand.outcome(Call(Operation.CONNECT))
    assert "answer" == stand.outcome(QUOTE)


def test_every_change_of_the_circuit_is_told() -> None:
    stand = Stand(("circuit_breaker", {"failure_threshold": 1, "timeout": 10}))
    stand.script = [TransientError("down")]
    stand.outcome(QUOTE)
    stand.clock.advance(10)
    stand.outcome(QUOTE)

    told = [event.state for event in stand.events if isinstance(event, CircuitChanged)]

    assert ["OPEN", "HALF_OPEN", "CLOSED"] == told


class Counted(NoMetrics):
    """Metrics that count how often each counter was raised."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = {}

    def counter(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Any:
        self.counts[name] = 0.0

        def add(value: float = 1.0) -> None:
            self.counts[name] += value

        return SimpleNamespace(add=add)


@pytest.mark.parametrize(
    ("name", "settings", "counter"),
    [
        ("circuit_breaker", {"failure_threshold": 1}, "circuit_refused_total"),
        ("rate_limiter", {"max_calls": 1, "reserve": 0}, "rate_limited_total"),
        ("retry", {"max_retries": 2}, "retries_total"),
    ],
)
def test_a_layer_counts_what_it_refuses_or_repeats(name: str, settings: dict[str, Any], counter: str) -> None:
    metrics = Counted()
    component = REGISTRY.find("middleware", name).component
    services = replace(make_services("connectors.main.middleware[0]", clock=FakeClock()), metrics=metrics)
    layer = component.build(component.settings(**settings), services)

    def broker(call: Call) -> object:
        raise TransientError("no answer")

    for _ in range(2 if name == "retry" else 3):
        with pytest.raises(ConnectorError):
            layer(QUOTE, broker)

    assert {counter: 4.0 if name == "retry" else 2.0} == metrics.counts


# --- rate limiter


def test_the_limiter_refuses_what_is_too_much() -> None:
    stand = Stand(("rate_limiter", {"max_calls": 3, "window_seconds": 60, "reserve": 0}))

    outcomes = [stand.outcome(QUOTE) for _ in range(4)]

    assert ["answer"] * 3 + ["RateLimitedError"] == outcomes


def test_the_refusal_says_when_to_come_back() -> None:
    stand = Stand(("rate_limiter", {"max_calls": 1, "window_seconds": 60, "reserve": 0}))
    stand.handler(QUOTE)
    stand.clock.advance(20)

    with pytest.raises(RateLimitedError, match=r"middleware\[0\]. refuses the call; retry in 40 s") as caught:
        stand.handler(QUOTE)

    assert 40 == pytest.approx(caught.value.retry_after)


def test_a_call_waits_for_its_turn_where_that_is_allowed() -> None:
    stand = Stand(("rate_limiter", {"max_calls": 1, "window_seconds": 60, "reserve": 0, "wait_seconds": 90}))
    start = stand.clock.monotonic()
    stand.handler(QUOTE)

    assert "answer" == stand.outcome(QUOTE)
    assert 60 == pytest.approx(stand.clock.monotonic() - start)


@pytest.mark.parametrize("kind", ["window", "bucket"])
def test_a_reserve_is_kept_for_what_makes_the_account_safer(kind: str) -> None:
    stand = Stand(("rate_limiter", {"max_calls": 10, "window_seconds": 60, "reserve": 0.2, "kind": kind}))

    ordinary = [stand.outcome(SUBMIT) for _ in range(10)]
    urgent = [stand.outcome(call) for call in (CANCEL, Call(Operation.SUBMIT, (CLOSING,)), CANCEL)]

    assert ["answer"] * 8 + ["RateLimitedError"] * 2 == ordinary
    assert ["answer", "answer", "RateLimitedError"] == urgent


def test_polls_count_only_where_they_cost_something() -> None:
    free = Stand(("rate_limiter", {"max_calls": 1, "reserve": 0}))
    counted = Stand(("rate_limiter", {"max_calls": 1, "reserve": 0, "count_polls": True}))

    assert ["answer", "answer"] == [free.outcome(POLL) for _ in range(2)]
    assert ["answer", "RateLimitedError"] == [counted.outcome(POLL) for _ in range(2)]


# --- cache


def test_an_answer_is_kept_for_its_time() -> None:
    stand = Stand(("cache", {"ttl_seconds": {"quote": 0.2}}))
    stand.script = ["first", "second"]
    seen = [stand.outcome(QUOTE)]
    stand.clock.advance(0.1)
    seen.append(stand.outcome(QUOTE))
    stand.clock.advance(0.1)
    seen.append(stand.outcome(QUOTE))

    assert ["first", "first", "second"] == seen


def test_other_arguments_are_another_question() -> None:
    stand = Stand(("cache", {}))
    stand.script = ["euro", "pound"]

    assert ["euro", "pound"] == [stand.outcome(QUOTE), stand.outcome(Call(Operation.QUOTE, ("GBPUSD",)))]


@pytest.mark.parametrize("call", [PING, POLL, SUBMIT, CANCEL, Call(Operation.ACCOUNT), Call(Operation.BARS, ("EURUSD",))])
def test_what_is_not_named_is_asked_every_time(call: Call) -> None:
    stand = Stand(("cache", {"ttl_seconds": {"quote": 10}}))

    stand.outcome(call)
    stand.outcome(call)

    assert [call, call] == stand.reached


def test_failures_are_not_kept() -> None:
    stand = Stand(("cache", {}))
    stand.script = [TransientError("busy"), "fine"]

    assert ["TransientError", "fine"] == [stand.outcome(QUOTE), stand.outcome(QUOTE)]


def test_old_terms_may_serve_while_the_broker_fails_but_an_old_price_never() -> None:
    settings = {"ttl_seconds": {"quote": 1, "instruments": 1}, "stale_if_error_seconds": 60}
    stand = Stand(("cache", settings))
    terms = Call(Operation.INSTRUMENTS)
    stand.script = ["terms", "price"]
    stand.outcome(terms)
    stand.outcome(QUOTE)
    stand.default = TransientError("down")
    stand.clock.advance(30)

    assert ["terms", "TransientError"] == [stand.outcome(terms), stand.outcome(QUOTE)]


def test_two_connectors_may_share_a_store_without_mixing_their_answers() -> None:
    component = REGISTRY.find("cache", "cache.memory").component
    clock = FakeClock()
    store = component.build(component.settings(), make_services("caches.shared", clock=clock))
    stand = Stand(("cache", {"store": "shared"}), caches={"shared": store})
    stand.script = ["mine"]

    assert ["mine", "mine"] == [stand.outcome(QUOTE), stand.outcome(QUOTE)]
    assert 1 == len(stand.reached)


# --- health monitor


def states(stand: Stand) -> list[str]:
    return [event.state for event in stand.events if isinstance(event, HealthChanged)]


def tick(stand: Stand) -> bool:
    """Tick; return whether the layer takes the connection for lost."""
    try:
        stand.layers[0].tick(stand.broker)
    except NotConnected as error:
        return str(error).startswith("the connection is lost: no answer to ")
    return False


def test_a_check_is_made_when_it_is_due() -> None:
    stand = Stand(("health_monitor", {"check_interval": 30}))
    tick(stand)
    tick(stand)
    stand.clock.advance(30)
    tick(stand)

    assert [PING, PING] == stand.reached


def test_a_failed_call_makes_the_next_check_due_at_once() -> None:
    stand = Stand(("health_monitor", {"check_interval": 30}))
    tick(stand)
    stand.script = [NotConnected("reset")]
    stand.outcome(QUOTE)
    tick(stand)

    assert [PING, QUOTE, PING] == stand.reached


def test_lost_is_told_after_the_failures_that_mean_it_and_healthy_when_it_is_back() -> None:
    stand = Stand(("health_monitor", {"check_interval": 10, "max_failures": 2}))
    tick(stand)
    stand.default = TransientError("no answer")
    lost = []
    for _ in range(6):
        stand.clock.advance(10)
        lost.append(tick(stand))
    stand.default = "pong"
    stand.clock.advance(40)
    lost.append(tick(stand))

    assert ["healthy", "failing", "lost", "healthy"] == states(stand)
    assert [False, True] == [lost[0], lost[1]]
    assert not lost[-1]


def test_a_failed_call_and_the_check_that_it_made_due_mean_lost() -> None:
    stand = Stand(("health_monitor", {"max_failures": 3}))
    tick(stand)
    stand.default = TransientError("no answer")
    stand.outcome(QUOTE)

    assert tick(stand)
    assert ["healthy", "lost"] == states(stand)
    assert "no answer to a ping: no answer" == stand.events[-1].text  # type: ignore[attr-defined]


@pytest.mark.parametrize("kept", [CircuitOpenError("open", 5.0), RateLimitedError("full", 1.0)])
def test_a_ping_that_a_layer_kept_back_says_nothing_of_the_connection(kept: Exception) -> None:
    stand = Stand(("health_monitor", {"check_interval": 10, "max_failures": 1}))
    tick(stand)
    stand.default = kept
    stand.clock.advance(10)

    assert not tick(stand)


def test_the_connector_and_not_the_layer_is_named() -> None:
    stand = Stand(("health_monitor", {}))
    tick(stand)

    (told,) = stand.events
    assert isinstance(told, HealthChanged)
    assert "connectors.main" == told.name


# --- together


ORDERED = [
    ("cache", {}),
    ("health_monitor", {}),
    ("retry", {"max_retries": 5}),
    ("circuit_breaker", {"failure_threshold": 5}),
    ("rate_limiter", {"max_calls": 100}),
]


def test_all_five_together_pass_an_answer_and_a_refusal() -> None:
    stand = Stand(*ORDERED)
    stand.script = ["price", RejectedError("1", "no")]

    assert ["price", "RejectedError"] == [stand.outcome(QUOTE), stand.outcome(SUBMIT)]


def test_with_retry_outside_the_breaker_a_dead_broker_is_left_alone_after_the_threshold() -> None:
    stand = Stand(*ORDERED)
    stand.default = TransientError("down")

    for _ in range(20):
        stand.outcome(Call(Operation.ACCOUNT))

    assert 5 == len(stand.reached)


def test_with_retry_inside_the_breaker_it_is_hammered() -> None:
    inside = [ORDERED[3], ORDERED[2]]
    stand = Stand(*inside)
    stand.default = TransientError("down")

    for _ in range(5):
        stand.outcome(Call(Operation.ACCOUNT))

    assert len(stand.reached) > 20


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("retry", {"max_retries": -1}),
        ("retry", {"initial_delay": 0}),
        ("retry", {"initial_delay": float("nan")}),
        ("circuit_breaker", {"failure_threshold": 0}),
        ("circuit_breaker", {"timeout": -1}),
        ("circuit_breaker", {"timeout": float("nan")}),
        ("rate_limiter", {"max_calls": 0}),
        ("rate_limiter", {"window_seconds": float("inf")}),
        ("rate_limiter", {"reserve": 1.0}),
        ("cache", {"max_size": 0}),
        ("cache", {"ttl_seconds": {"quote": 0}}),
        ("cache", {"ttl_seconds": {"submit": 1}}),
        ("health_monitor", {"check_interval": 0}),
        ("health_monitor", {"max_failures": 0}),
    ],
)
def test_senseless_settings_are_refused_with_their_name(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        REGISTRY.find("middleware", name).component.settings(**settings)
