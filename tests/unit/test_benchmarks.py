"""The experiments of ``benchmarks/resilience.py`` measure the real mechanisms: a fault planted in one worsens the column it owns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import herald.plugins.circuit_breaker
import herald.plugins.rate_limiter
import herald.plugins.retry
from herald.utils import (
    CircuitBreaker,
    ConnectionHealthMonitor,
    RetryBudget,
    RetryPolicy,
    SlidingWindowRateLimiter,
    SmartCache,
)

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
MODULES = ("breakers", "caches", "cases", "clocks", "costs", "limiters", "monitors", "orders", "rivals", "storms")
BEST = ("retry", "circuit_breaker", "rate_limiter")


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """Return the experiments as attributes."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: import_module(f"experiments.{name}") for name in MODULES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in [one for one in sys.modules if one.partition(".")[0] == "experiments"]:
            del sys.modules[name]


class NeverOpens(CircuitBreaker):
    def _trips(self, now: float, failed: bool, slow: bool) -> bool:
        return False


class TripsOnAnything(CircuitBreaker):
    def _raised(self, phase: Any, permit: Any, started: float, error: BaseException) -> None:
        self._settle(phase, permit, "failures", False, error)


class LetsEverybodyTry(CircuitBreaker):
    def _permit(self, phase: Any, now: float) -> Any:
        phase.permits.clear()
        return super()._permit(phase, now)


class Deaf(ConnectionHealthMonitor):
    def report_failure(self, error: BaseException | None = None) -> None:
        pass


class FetchesForAll(SmartCache[Any, Any]):
    """Fetches for everybody who misses."""

    def get_or_fetch(self, key: Any, fetch: Callable[[], Any], **_: Any) -> Any:
        found = self.get(key)
        if found is None:
            found = fetch()
            self.set(key, found)
        return found


class Forgetful(SlidingWindowRateLimiter):
    """Counts only every second call."""

    def allow_request(self, weight: int = 1, *, urgent: bool = False) -> bool:
        self.odd = not getattr(self, "odd", False)
        return True if self.odd else super().allow_request(weight, urgent=urgent)


# --- what is claimed holds


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_breaker_answers_every_question_as_wanted(bench: Any, mode: str) -> None:
    answers = bench.breakers.conformance(bench.rivals.Herald, mode)

    wrong = {question: answer for question, answer in answers.items() if not right(bench, question, answer)}
    assert {} == wrong


def right(bench: Any, question: str, answer: str) -> bool:
    return bool(bench.breakers.is_wanted(answer, bench.breakers.QUESTIONS[question][1]))


def test_full_jitter_spreads_a_storm(bench: Any) -> None:
    guards = bench.storms.storm_guards()

    assert 200 == bench.storms.storm(guards["herald, no jitter"])
    assert bench.storms.storm(guards["herald, full jitter"]) <= 40


def test_an_outage_is_hardly_amplified_with_a_budget(bench: Any) -> None:
    guards = bench.storms.outage_guards()

    assert bench.storms.outage(guards["herald, with its budget"]) <= 1.1
    assert bench.storms.outage(guards["herald, without a budget"], 60.0) == pytest.approx(6.0)


def test_the_order_decides_how_many_calls_reach_a_dead_broker(bench: Any) -> None:
    assert (5, 0) == bench.orders.dead_broker(BEST)
    assert (25, 0) == bench.orders.dead_broker(("circuit_breaker", "retry", "rate_limiter"))


@pytest.mark.parametrize("order", [("circuit_breaker", "retry", "rate_limiter"), ("rate_limiter", "retry", "circuit_breaker")])
def test_an_order_that_reaches_it_more_often_is_refused(bench: Any, order: tuple[str, ...]) -> None:
    assert "accepted" == bench.orders.verdict(BEST)
    assert bench.orders.verdict(order).startswith("refused: retry-inside-")


def test_fifty_misses_fetch_once(bench: Any) -> None:
    cache: SmartCache[str, int] = SmartCache(60.0)

    assert 1 == bench.caches.misses(lambda fetch: cache.get_or_fetch("EURUSD", fetch))
    assert 1 == bench.caches.misses_async(SmartCache(60.0))
    assert 1 == bench.caches.misses_mixed(SmartCache(60.0))


def test_no_window_holds_more_calls_than_allowed(bench: Any) -> None:
    clock = bench.storms.Virtual()
    limiter = SlidingWindowRateLimiter(10, 1.0, clock=clock.monotonic)

    assert 10 == bench.limiters.most_allowed(limiter.allow_request, clock, 1.0)


def test_a_step_of_the_wall_clock_has_no_effect_on_herald(bench: Any) -> None:
    effects = bench.clocks.clock_effects()

    assert {("none", "none")} == {both for name, both in effects.items() if "herald" in name}
    assert len([name for name in effects if "herald" in name]) == 6


def test_the_onion_reaches_the_connector_once_a_call(bench: Any) -> None:
    cases = bench.cases.onion_cases()  # it checks the answers itself

    assert 4 == len(cases)
    assert all(run(10) >= 0 for run in cases.values())


# --- and every planted fault worsens the column it owns


def test_a_breaker_that_never_opens_lets_a_dead_broker_be_called(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sane, _ = bench.orders.dead_broker(BEST)
    monkeypatch.setattr(herald.plugins.circuit_breaker, "CircuitBreaker", NeverOpens)

    reached, _ = bench.orders.dead_broker(BEST)

    assert reached >= 3 * sane


@pytest.mark.parametrize(
    ("planted", "question"),
    [
        (NeverOpens, "fail, fail, ignored, fail; threshold 3"),
        (TripsOnAnything, "Ctrl-C, or a cancelled task"),
        (LetsEverybodyTry, "64 callers, half open: inside/refused/blocked"),
    ],
)
def test_a_broken_breaker_answers_a_question_wrongly(
    bench: Any, monkeypatch: pytest.MonkeyPatch, planted: type[CircuitBreaker], question: str
) -> None:
    monkeypatch.setattr(bench.rivals.Herald, "make", planted)

    answer = bench.breakers.QUESTIONS[question][0](bench.rivals.Herald)

    assert not right(bench, question, answer)


def test_a_retry_without_a_wait_lets_a_storm_through(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryPolicy, "delay", lambda self, attempt, draw: 0.0)

    assert bench.storms.storm(bench.storms.storm_guards()["herald, full jitter"]) >= 200


def test_a_budget_that_always_pays_multiplies_an_outage(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryBudget, "spend", lambda self: True)

    assert bench.storms.outage(bench.storms.outage_guards()["herald, with its budget"], 60.0) > 5


def test_a_deaf_monitor_knows_of_a_loss_late(bench: Any) -> None:
    known, _ = bench.monitors.losses(ConnectionHealthMonitor, reported=True, cycles=10)
    deaf, _ = bench.monitors.losses(Deaf, reported=True, cycles=10)

    assert known <= 1.0
    assert deaf > 10 * known


@pytest.mark.parametrize("kind", ["down", "black_hole"])
def test_a_loss_over_a_real_socket_is_known_and_repaired(bench: Any, kind: str) -> None:
    known, over = bench.monitors.over_a_socket(kind, cycles=1, outage=1.0)

    assert known < 20 > over  # loose, for a machine that is busy; the benchmark prints the figures


def test_a_cache_without_a_single_flight_fetches_for_everybody(bench: Any) -> None:
    cache = FetchesForAll(60.0)

    assert bench.caches.misses(lambda fetch: cache.get_or_fetch("EURUSD", fetch)) > 1


def test_a_forgetful_limiter_overfills_a_window(bench: Any) -> None:
    clock = bench.storms.Virtual()
    limiter = Forgetful(10, 1.0, clock=clock.monotonic)

    assert bench.limiters.most_allowed(limiter.allow_request, clock, 1.0) > 10


def test_a_limiter_on_the_wall_clock_is_told_from_one_that_is_not(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    def on_the_wall(seconds: int) -> Callable[[], bool]:
        return SlidingWindowRateLimiter(3, seconds, clock=lambda: time.time()).allow_request

    makes = {"wall": on_the_wall}

    assert {"wall": "forgets its calls"} == bench.clocks.limiters_forward(makes)


# --- the script


def test_a_library_that_is_not_installed_is_named_and_left_out(tmp_path: Path) -> None:
    for name in ("tenacity", "stamina", "pybreaker", "circuitbreaker", "purgatory", "cachetools", "limits"):
        (tmp_path / f"{name}.py").write_text("raise ImportError(__name__)\n", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, str(FOLDER / "resilience.py"), "--quick", "--only", "storms,caches"],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert "not installed, so not compared: tenacity; pip install --group bench" in done.stdout
    assert "herald, full jitter" in done.stdout
    assert "tenacity, full jitter" not in done.stdout
