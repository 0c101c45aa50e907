"""The experiment on Herald's mechanisms: what each is worth on a bad day, alone and together, and where it does harm.

::

    python benchmarks/mtbf/run.py --smoke     # both legs, small, in less than two minutes
    python benchmarks/mtbf/run.py --few       # virtual leg: 16 combinations, 30 days, 10 seeds, some ten minutes
    python benchmarks/mtbf/run.py             # the same with all 128 combinations of seven mechanisms, an hour
    python benchmarks/mtbf/run.py --real      # the leg with real processes as well, about ten minutes more
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from faultlines import condensed, draw, registered
from trader import Operator
from trial import MECHANISMS, Counts, Trial, counted, play
from watched import by_hand, supervised

__all__ = ["cells", "main", "ratio", "source_trial", "study"]

ONE_BROKER = "TLRCHP"
COLUMNS = ("over_10", "over_60", "over_300", "failed_reads", "failed_orders", "downtime", "troubled_calls", "integrity")
Cell = frozenset[str]


def name_of(cell: Cell) -> str:
    """Return the letters of *cell* in their order."""
    return "".join(letter for letter in MECHANISMS if letter in cell) or "none"


def cells(*, every: bool) -> list[Cell]:
    """Return the combinations: all of them, or none, each alone, all but each, all on one broker, and all."""
    letters = list(MECHANISMS)
    if every:
        return [frozenset(one) for count in range(len(letters) + 1) for one in itertools.combinations(letters, count)]
    one_broker = frozenset(ONE_BROKER)
    chosen = [frozenset[str]()] + [frozenset(letter) for letter in letters]
    return [*chosen, *(one_broker - {letter} for letter in ONE_BROKER), one_broker, frozenset(letters)]


def source_trial(terms: Mapping[str, Any], profile: str, seed: int, source: str, mechanisms: Cell, days: float) -> Trial:
    """Return what one source went through."""
    line = draw(terms["profiles"][profile], profile, seed, source, days)
    start = terms["mechanism"]["start_seconds"]
    if "P" in mechanisms:
        downs = supervised(line.ends, start, seed, line.seconds)
    else:
        downs = by_hand(line.ends, Operator(seed, "process", terms["operator"]), start)
    timeouts = terms["baseline"]["timeout_seconds"], terms["mechanism"]["timeout_seconds"]
    operator = Operator(seed, source, terms["operator"])
    return play(line, mechanisms, downs, operator, terms["experiment"], timeouts, start, seed)


def _job(job: tuple[Mapping[str, Any], str, int, str, Cell, float]) -> tuple[tuple[str, int, str, Cell], Trial]:
    _, profile, seed, source, mechanisms, _ = job
    return (profile, seed, source, mechanisms), source_trial(*job)


def study(
    terms: Mapping[str, Any], chosen: Sequence[Cell], seeds: Sequence[int], days: float, processes: int = 1
) -> dict[tuple[str, Cell], list[Counts]]:
    """Return the counts by (profile, cell), one for each seed."""
    wanted = [
        (terms, profile, seed, source, cell - {"F"}, days)
        for profile, seed, cell in itertools.product(terms["profiles"], seeds, chosen)
        for source in ("AB" if "F" in cell else "A")
    ]
    jobs = list({one[1:5]: one for one in wanted}.values())
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            trials = dict(pool.map(_job, jobs, chunksize=8))
    else:
        trials = dict(map(_job, jobs))
    found: dict[tuple[str, Cell], list[Counts]] = {}
    for profile, cell in itertools.product(terms["profiles"], chosen):
        inner = cell - {"F"}
        found[profile, cell] = [
            counted(
                trials[profile, seed, "A", inner], terms["experiment"], trials[profile, seed, "B", inner] if "F" in cell else None
            )
            for seed in seeds
        ]
    return found


def ratio(
    before: Sequence[Counts], after: Sequence[Counts], measure: Callable[[Counts], float], resamples: int
) -> tuple[float, float, float]:
    """Return how many times less *after* has than *before*, with a paired bootstrap interval of 95 % over the seeds.

    One half is added to both sums, so that nothing left is a number: 0 of 40 is 81 times less and not infinitely.
    """
    one, two = np.array([measure(c) for c in before], float), np.array([measure(c) for c in after], float)
    picks = np.random.default_rng(1).integers(0, len(one), (resamples, len(one)))
    drawn = (one[picks].sum(axis=1) + 0.5) / (two[picks].sum(axis=1) + 0.5)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float((one.sum() + 0.5) / (two.sum() + 0.5)), float(low), float(high)


MEASURES: dict[str, Callable[[Counts], float]] = {
    "incidents over 10 s": lambda c: c.over_10,
    "incidents over 60 s": lambda c: c.over_60,
    "incidents over 5 min": lambda c: c.over_300,
    "failed operations": lambda c: c.failed_operations,
    "downtime": lambda c: c.downtime,
    "calls into trouble": lambda c: c.troubled_calls,
}


def table(found: Mapping[tuple[str, Cell], Sequence[Counts]], profile: str, shown: Iterable[Cell], days: float) -> list[str]:
    """Return the table of one profile as lines of Markdown; everything for 30 days."""
    lines = [
        "| mechanisms | > 10 s | > 60 s | > 5 min | failed reads | failed orders | downtime, s | calls into trouble | integrity | visits |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in shown:
        counts = found[profile, cell]
        scale = 30.0 / days / len(counts)
        figures = [sum(getattr(one, column) for one in counts) * scale for column in (*COLUMNS, "operator")]
        lines.append(
            f"| {name_of(cell)} | "
            + " | ".join(f"{figure:,.1f}" if figure < 10 else f"{figure:,.0f}" for figure in figures)
            + " |"
        )
    return lines


def gains(found: Mapping[tuple[str, Cell], Sequence[Counts]], profile: str, cell: Cell, resamples: int) -> list[str]:
    """Return how many times less *cell* has than the baseline."""
    before, after = found[profile, frozenset()], found[profile, cell]
    return [
        f"{title:22s} {gain:8.1f} times less  [{low:.1f} to {high:.1f}]"
        for title, measure in MEASURES.items()
        for gain, low, high in [ratio(before, after, measure, resamples)]
    ]


def effects(
    found: Mapping[tuple[str, Cell], Sequence[Counts]], profile: str, chosen: Sequence[Cell], resamples: int
) -> list[str]:
    """Return what taking one mechanism out of the full set on one broker does: above 1 it helps, below 1 it does harm."""
    full = frozenset(ONE_BROKER)
    lines = []
    for letter in MECHANISMS:
        pair = (full, full | {"F"}) if letter == "F" else (full - {letter}, full)
        parts = []
        for title, measure in MEASURES.items():
            gain, low, high = ratio(found[profile, pair[0]], found[profile, pair[1]], measure, resamples)
            mark = " harm" if high < 1.0 else ""
            parts.append(f"{title} {gain:.2f} [{low:.2f} to {high:.2f}]{mark}")
        lines.append(f"{letter}  " + "; ".join(parts))
    if len(chosen) == 2 ** len(MECHANISMS):
        lines.append("main effects over all 128 combinations (geometric mean of with / without, failed operations; downtime):")
        for letter in MECHANISMS:
            means = []
            for measure in (MEASURES["failed operations"], MEASURES["downtime"]):
                logs = [
                    math.log(
                        (sum(map(measure, found[profile, cell])) + 0.5)
                        / (sum(map(measure, found[profile, cell | {letter}])) + 0.5)
                    )
                    for cell in chosen
                    if letter not in cell
                ]
                means.append(math.exp(sum(logs) / len(logs)))
            lines.append(f"{letter}  {means[0]:.2f}; {means[1]:.2f}")
    return lines


def verdicts(found: Mapping[tuple[str, Cell], Sequence[Counts]], terms: Mapping[str, Any]) -> list[str]:
    """Return each goal in each profile: reached or not."""
    goals, resamples = terms["goals"], terms["experiment"]["resamples"]
    one, two = frozenset(ONE_BROKER), frozenset(MECHANISMS)
    asked = (
        ("failed operations, one broker", one, MEASURES["failed operations"], goals["failed_operations"]),
        ("downtime, one broker", one, MEASURES["downtime"], goals["downtime"]),
        ("incidents over 5 min, one broker", one, MEASURES["incidents over 5 min"], goals["over_300"]),
        ("incidents over 10 s, two sources", two, MEASURES["incidents over 10 s"], goals["over_10_two"]),
    )
    lines = []
    for title, cell, measure, goal in asked:
        for profile in terms["profiles"]:
            before, after = found[profile, frozenset()], found[profile, cell]
            gain, low, high = ratio(before, after, measure, resamples)
            said = "reached" if gain >= goal and low >= 0.8 * goal else "NOT reached"
            counts = f"{sum(map(measure, before)):,.0f} to {sum(map(measure, after)):,.0f}"
            lines.append(f"{title:34s} {profile}  goal {goal:g}x  {gain:8.1f}x [{low:.1f} to {high:.1f}]  {said}  ({counts})")
    return lines


def told(
    found: Mapping[tuple[str, Cell], Sequence[Counts]], terms: Mapping[str, Any], chosen: Sequence[Cell], days: float
) -> int:
    """Print tables, gains, effects and goals; return how many orders were doubled or misreported."""
    resamples = terms["experiment"]["resamples"]
    for profile, about in terms["profiles"].items():
        print(f"## {profile}, {about['title']}; mean of the seeds, for 30 days\n")
        print("\n".join(table(found, profile, cells(every=False), days)) + "\n")
        print(f"all on one broker ({ONE_BROKER}) against the baseline:")
        print("\n".join(gains(found, profile, frozenset(ONE_BROKER), resamples)) + "\n")
        print("with a second source as well:")
        print("\n".join(gains(found, profile, frozenset(MECHANISMS), resamples)) + "\n")
        print("what each adds to the others (the set without it against the set with it; F: against one broker):")
        print("\n".join(effects(found, profile, chosen, resamples)) + "\n")
    print("## Goals\n")
    print("\n".join(verdicts(found, terms)) + "\n")
    wrong = sum(one.integrity for counts in found.values() for one in counts)
    print(f"integrity errors in all {sum(map(len, found.values()))} trials: {wrong}\n")
    return wrong


# --- the leg with real processes ------------------------------------------------------------------


def real_leg(terms: Mapping[str, Any], profiles: Sequence[str], seeds: Sequence[int], days: float) -> tuple[list[str], int]:
    """Play condensed timelines in both legs; return how they compare, and the integrity errors of the real one."""
    from realleg import play_for_real

    experiment, real = terms["experiment"], terms["real"]
    sooner = {**terms["operator"], "median_seconds": terms["operator"]["median_seconds"] / real["operator_divisor"]}
    terms = {**terms, "operator": sooner}
    timeouts = terms["baseline"]["timeout_seconds"], terms["mechanism"]["timeout_seconds"]
    both = frozenset(), frozenset("TLRCH")
    lines, errors = [], 0
    for profile in profiles:
        legs: dict[tuple[str, Cell], list[Counts]] = {}
        for seed, cell in itertools.product(seeds, both):
            line = condensed(draw(terms["profiles"][profile], profile, seed, "A", days), real["quiet_seconds"], real["classes"])
            operator = Operator(seed, "A", sooner)
            virtual = play(line, cell, [], operator, experiment, timeouts, terms["mechanism"]["start_seconds"], seed)
            legs.setdefault(("virtual", cell), []).append(counted(virtual, experiment))
            legs.setdefault(("real", cell), []).append(counted(play_for_real(line, cell, terms, seed), experiment))
        for title in ("failed operations", "downtime"):
            measure = MEASURES[title]
            model, truth = (
                ratio(legs[leg, both[0]], legs[leg, both[1]], measure, experiment["resamples"]) for leg in ("virtual", "real")
            )
            judged = "one seed has no interval"
            if len(seeds) > 1:
                judged = "agree" if truth[1] <= model[2] and model[1] <= truth[2] else "DISAGREE"
            shown = [
                f"{leg} {gain:.2f}x [{low:.2f} to {high:.2f}]" for leg, (gain, low, high) in (("virtual", model), ("real", truth))
            ]
            sums = [f"{sum(map(measure, legs[leg, cell])):,.0f}" for cell in both for leg in ("virtual", "real")]
            lines.append(
                f"{profile} {title:18s} {shown[0]}, {shown[1]}: {judged}; "
                f"baseline {sums[0]} and {sums[1]}, {name_of(both[1])} {sums[2]} and {sums[3]}"
            )
        wrong = sum(one.integrity for (leg, _), counts in legs.items() if leg == "real" for one in counts)
        lines.append(f"{profile} integrity errors in the broker's own book: {wrong}")
        errors += wrong
    return lines, errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and print it; return 1 if an order was doubled or misreported."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="both legs, small, in less than two minutes")
    parser.add_argument("--real", action="store_true", help="play the leg with real processes as well")
    parser.add_argument("--only-real", action="store_true", help="play nothing else")
    parser.add_argument("--few", action="store_true", help="16 combinations instead of all 128")
    parser.add_argument("--processes", type=int, default=2, help="of the virtual leg")
    parser.add_argument("--json", metavar="FILE", help="write every count of every seed there")
    given = parser.parse_args(arguments)
    terms = registered()
    experiment, smoke = terms["experiment"], terms["smoke"]
    days, seeds = (smoke["days"], smoke["seeds"]) if given.smoke else (experiment["days"], experiment["seeds"])
    wrong = 0
    if not given.only_real:
        chosen = cells(every=not (given.smoke or given.few))
        began = time.perf_counter()
        found = study(terms, chosen, seeds, days, given.processes)
        took = time.perf_counter() - began
        print(f"virtual leg: {len(chosen)} combinations, {days} days, {len(seeds)} seeds, {took:.0f} s")
        print("mechanisms: " + "; ".join(f"{letter} {what}" for letter, what in MECHANISMS.items()) + "\n")
        wrong = told(found, terms, chosen, days)
        if given.json:
            rows = [
                {"profile": profile, "mechanisms": name_of(cell), "seed": seed, **msgspec.structs.asdict(one)}
                for (profile, cell), counts in found.items()
                for seed, one in zip(seeds, counts, strict=True)
            ]
            Path(given.json).write_text(json.dumps({"days": days, "rows": rows}, separators=(",", ":")) + "\n", encoding="utf-8")
    if given.smoke or given.real or given.only_real:
        real = terms["real"]
        print(f"real-time leg: a broker process behind a proxy, {real['pace']:g} s in one\n")
        parts = [("P2", real["seeds"][:2], real["days"] / 2)]
        if not given.smoke:
            parts = [(profile, real["seeds"], real["days"]) for profile in terms["profiles"]]
        for profile, some, length in parts:
            lines, errors = real_leg(terms, [profile], some, length)
            print("\n".join(lines), flush=True)
            wrong += errors
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
