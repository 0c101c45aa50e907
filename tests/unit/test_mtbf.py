"""The experiment of ``benchmarks/mtbf`` plays real mechanisms: a fault planted in one worsens the column that it owns."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import herald.plugins.circuit_breaker
import herald.plugins.retry
from herald.live.worker import Worker
from herald.utils import CircuitBreaker, RetryPolicy

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "mtbf"
MODULES = ("faultlines", "trader", "trial", "watched", "run", "realleg")
SEEDS, DAYS = (1, 2), 6.0


@pytest.fixture(scope="module")
def mtbf() -> Iterator[Any]:
    """Return the modules of the experiment as attributes."""
    sys.path.insert(0, str(FOLDER))
    before = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    try:
        yield SimpleNamespace(**{name: import_module(name) for name in MODULES})
    finally:
        sys.path[:] = [one for one in sys.path if one != str(FOLDER)]
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(before)


@pytest.fixture(scope="module")
def terms(mtbf: Any) -> Mapping[str, Any]:
    return mtbf.faultlines.registered()  # type: ignore[no-any-return]


def total(mtbf: Any, terms: Mapping[str, Any], profile: str, letters: str, column: str, days: float = DAYS) -> float:
    """Return one column of one combination over the seeds of these tests."""
    only = {**terms, "profiles": {profile: terms["profiles"][profile]}}
    cell = frozenset(letters)
    return float(sum(getattr(one, column) for one in mtbf.run.study(only, [cell], SEEDS, days)[profile, cell]))


def played(mtbf: Any, terms: Mapping[str, Any], letters: str, *stretches: Any, hours: float = 2.0) -> Any:
    line = mtbf.faultlines.Timeline(hours * 3_600.0, stretches)
    operator = mtbf.trader.Operator(1, "A", terms["operator"])
    trial = mtbf.trial.play(line, frozenset(letters), [], operator, terms["experiment"], (10.0, 2.0), 4.0, 1)
    return trial, mtbf.trial.counted(trial, terms["experiment"])


# --- timelines and counting


def test_everybody_is_played_the_same_timeline(mtbf: Any, terms: Mapping[str, Any]) -> None:
    profile = terms["profiles"]["P2"]
    one, same = (mtbf.faultlines.draw(profile, "P2", 5, "A", 3.0) for _ in range(2))
    other = mtbf.faultlines.draw(profile, "P2", 5, "B", 3.0)

    assert one.stretches == same.stretches
    assert one.stretches != other.stretches
    assert one.ends == other.ends  # it is one process


def test_a_timeline_has_its_stated_rates(mtbf: Any, terms: Mapping[str, Any]) -> None:
    line = mtbf.faultlines.draw(terms["profiles"]["P1"], "P1", 3, "A", 400.0)

    blips = [one for one in line.stretches if one.kind == "blip"]
    assert 60.0 == pytest.approx(len(blips) / 400.0, rel=0.03)  # three standard deviations of a Poisson count are 2 %
    assert 1.5 == pytest.approx(sum(one.end - one.start for one in blips) / len(blips), rel=0.03)


def test_a_condensed_timeline_keeps_its_faults_and_loses_its_quiet(mtbf: Any) -> None:
    stretch = mtbf.faultlines.Stretch
    line = mtbf.faultlines.Timeline(
        9e3, [stretch("blip", 100.0, 102.0), stretch("drop", 5_000.0, 5_000.0), stretch("crash", 7e3, 7e3)]
    )

    short = mtbf.faultlines.condensed(line, 20.0, ("blip", "drop"))

    assert [("blip", 20.0, 22.0), ("drop", 42.0, 42.0)] == [(one.kind, one.start, one.end) for one in short.stretches]
    assert (62.0, []) == (short.seconds, short.ends)


def test_two_sources_fail_together_only_where_both_fail(mtbf: Any) -> None:
    assert [(5.0, 10.0), (32.0, 40.0)] == mtbf.trial.overlap([(0.0, 10.0), (30.0, 40.0)], [(5.0, 12.0), (32.0, 50.0)], 2.5)
    assert [] == mtbf.trial.overlap([(0.0, 10.0)], [(8.0, 12.0)], 2.5)


def test_a_gap_is_counted_by_its_length(mtbf: Any, terms: Mapping[str, Any]) -> None:
    trial = mtbf.trial.Trial([(0.0, 20.0), (100.0, 105.0), (200.0, 501.0)], 9, 1, 0, 0, 0)

    counts = mtbf.trial.counted(trial, terms["experiment"])

    assert (2, 1, 1) == (counts.over_10, counts.over_60, counts.over_300)
    assert 321.0 == counts.downtime
    assert (20 - 2) + (105 - 102) + (501 - 202) == counts.failed_reads


def test_nothing_left_is_a_number(mtbf: Any) -> None:
    counts = [mtbf.trial.Counts(20, 0, 0, 0, 0, 0.0, 0, 0, 0)] * 2
    none = [mtbf.trial.Counts(0, 0, 0, 0, 0, 0.0, 0, 0, 0)] * 2

    assert (81.0, 81.0, 81.0) == mtbf.run.ratio(counts, none, lambda one: one.over_10, 100)


# --- the model


@pytest.mark.parametrize("letters", ["", "T", "L", "R", "C", "H", "TLRCH"])
def test_a_good_day_has_no_failures(mtbf: Any, terms: Mapping[str, Any], letters: str) -> None:
    trial, counts = played(mtbf, terms, letters)

    assert (0, 0, 0, 0) == (counts.over_10, counts.failed_reads, counts.failed_orders, counts.troubled_calls)
    assert 119 <= trial.orders <= 120


def test_a_dropped_session_waits_for_the_operator_or_is_back_at_once(mtbf: Any, terms: Mapping[str, Any]) -> None:
    drop = mtbf.faultlines.Stretch("drop", 1_000.0, 1_000.0)
    takes = mtbf.trader.Operator(1, "A", terms["operator"]).takes()

    (by_hand,), _ = played(mtbf, terms, "", drop)[0].gaps, None
    reconnected, _ = played(mtbf, terms, "H", drop)

    assert 60.0 + takes + 4.0 == pytest.approx(by_hand[1] - by_hand[0], abs=3.0)
    assert all(end - start < 6.0 for start, end in reconnected.gaps)


def test_a_watchdog_brings_a_crashed_and_a_frozen_process_back(mtbf: Any, terms: Mapping[str, Any]) -> None:
    ends = [(1_000.0, "crash"), (5_000.0, "freeze")]

    (crash, freeze) = mtbf.watched.supervised(ends, 4.0, 1, 10_000.0)
    by_hand = mtbf.watched.by_hand(ends, mtbf.trader.Operator(1, "process", terms["operator"]), 4.0)

    assert 4.0 <= crash[1] - crash[0] <= 4.0 + 1.5  # one look and a wait of at most a second
    assert 14.0 <= freeze[1] - freeze[0] <= 14.0 + 2.5  # ten seconds of silence besides
    assert all(back - gone > 100.0 for gone, back in by_hand)


def test_no_combination_doubles_or_misreports_an_order(mtbf: Any, terms: Mapping[str, Any]) -> None:
    found = mtbf.run.study(terms, mtbf.run.cells(every=False), [7], 1.0)

    assert 0 == sum(one.integrity for counts in found.values() for one in counts)


def test_every_combination_is_there_once(mtbf: Any) -> None:
    every, few = mtbf.run.cells(every=True), mtbf.run.cells(every=False)

    assert 128 == len(set(every)) == len(every)
    assert set(few) <= set(every)
    assert all((frozenset(one) in every) for one in itertools.combinations("TLRCHPF", 3))


# --- planted faults


class NeverOpens(CircuitBreaker):
    def _trips(self, now: float, failed: bool, slow: bool) -> bool:
        return False


class NeverWaits(RetryPolicy):
    def delay(self, attempt: int, draw: float) -> float:
        return 0.0


def test_a_breaker_that_never_opens_worsens_the_calls_into_trouble(
    mtbf: Any, terms: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = total(mtbf, terms, "P1", "C", "troubled_calls")
    monkeypatch.setattr(herald.plugins.circuit_breaker, "CircuitBreaker", NeverOpens)

    assert total(mtbf, terms, "P1", "C", "troubled_calls") > 10 * good


def test_a_retry_that_never_waits_worsens_failed_orders_and_calls_into_trouble(
    mtbf: Any, terms: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ("failed_orders", "troubled_calls")
    good = [total(mtbf, terms, "P1", "TLRCHP", column) for column in columns]
    monkeypatch.setattr(herald.plugins.retry, "RetryPolicy", NeverWaits)

    bad = [total(mtbf, terms, "P1", "TLRCHP", column) for column in columns]

    assert all(worse > 1.1 * better for worse, better in zip(bad, good, strict=True)), (bad, good)


def test_a_worker_that_is_deaf_to_a_lost_connection_worsens_downtime(
    mtbf: Any, terms: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = total(mtbf, terms, "P1", "TLRCHP", "downtime", 1.0)
    lose = Worker._lose
    monkeypatch.setattr(Worker, "_lose", lambda self, text: None if self.is_connected else lose(self, text))

    assert total(mtbf, terms, "P1", "TLRCHP", "downtime", 1.0) > 10 * good


# --- the leg with real processes


@pytest.mark.slow
def test_the_real_leg_reconnects_to_a_broker_process_and_its_book_is_whole(mtbf: Any, terms: Mapping[str, Any]) -> None:
    stretch = mtbf.faultlines.Stretch
    line = mtbf.faultlines.Timeline(
        240.0,
        [
            stretch("drop", 30.0, 30.0),
            stretch("blip", 60.0, 61.0),
            stretch("outage", 100.0, 115.0),
            stretch("hang", 160.0, 163.0),
        ],
    )

    trial = mtbf.realleg.play_for_real(line, frozenset("TLRCH"), terms, 1)

    assert 0 == trial.integrity
    assert trial.orders >= 3
    assert any(end - start > 5.0 for start, end in trial.gaps)  # the outage was felt
    assert sum(end - start for start, end in trial.gaps) < 180.0  # and it was over again
