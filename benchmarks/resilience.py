"""What the five mechanisms do and cost, beside the libraries that a user would pick instead; everything in one run.

Behaviour is asked first, of the real classes on both sides: what a breaker makes of ten situations (RELIABILITY 1.5), how
many calls reach a broker that is down, what a storm of clients looks like, how often fifty misses fetch, what a step of the wall
clock does. Then the cost of a call is taken: CPU time of the process, medians of seven rounds in which every subject takes its
turn between two runs of a bare call. The answer of each subject is checked before it is timed.

Where time passes in virtual seconds, Herald gets its clock and its sleep injected, and the others get what they read
(``time.time``, ``datetime.now``, ``time.sleep``) replaced by `rivals`.

Run: ``python benchmarks/resilience.py`` (about two minutes), ``--quick`` for fewer rounds, ``--only
storms,costs`` for some parts. The libraries come with ``pip install --group bench``; one that is not installed is named and
left out.
"""

from __future__ import annotations

import functools
import statistics
import sys
from collections.abc import Callable, Sequence

from experiments import breakers, cases, clocks, monitors, orders, rivals, storms
from experiments.caches import FOREVER, cached_ratios, cachetools_misses, misses, misses_async, misses_mixed
from experiments.costs import QUICK, Runner, awaiting, bare, bare_async, costs, plainly
from experiments.limiters import limiter_peaks
from experiments.rivals import LIBRARIES

from herald.utils import ConnectionHealthMonitor, SmartCache


def title(text: str) -> None:
    print(f"\n## {text}\n", flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*text, strict=True)]
    for number, row in enumerate(text):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    sys.stdout.flush()


def print_costs(what: str, plain: dict[str, Runner], awaited: dict[str, Runner], goal: str) -> None:
    title(f"{what}: cost of a call")
    both = [costs(plain, plainly(bare)), costs(awaited, awaiting(bare_async)) if awaited else {}]
    rows = []
    for name in {**plain, **awaited}:
        row = [name]
        for found in both:
            row += [f"{found[name][0]:.2f}", f"{found[name][1]:.1f}"] if name in found else ["-", "-"]
        rows.append([*row, goal if name.startswith("herald") else ""])
    table(["", "sync µs", "/ bare call", "async µs", "/ bare await", "goal µs"], rows)


def print_conformance() -> None:
    title("circuit breakers: what they make of it (! is not as wanted)")
    kinds = rivals.breakers()
    columns = [(name, mode) for name, kind in kinds.items() for mode in ("sync", "async") if mode == "sync" or kind.has_async]
    answers = {(name, mode): breakers.conformance(kinds[name], mode) for name, mode in columns}
    rows = []
    for question, (_, wanted) in breakers.QUESTIONS.items():
        given = [answers[column][question] for column in columns]
        rows.append([question, wanted, *(one if breakers.is_wanted(one, wanted) else f"! {one}" for one in given)])
    right = [
        sum(breakers.is_wanted(answers[column][q], wanted) for q, (_, wanted) in breakers.QUESTIONS.items()) for column in columns
    ]
    rows.append(["as wanted", f"{len(breakers.QUESTIONS)}", *map(str, right)])
    table(["", "wanted", *(f"{name} {mode}" for name, mode in columns)], rows)
    cycles = 20 if QUICK else 1_000
    worst = breakers.half_open(functools.partial(rivals.Herald, mode="sync"), cycles)
    print(f"\nherald, 64 threads x {cycles:,} half-open cycles: worst {worst}   goal 1/63/0")


def print_storms() -> None:
    seeds = 3 if QUICK else 20
    title(f"200 clients fail at once, 5 tries: most repetitions in any 100 ms (of {seeds} storms)")
    rows = []
    for name, guard in storms.storm_guards().items():
        peaks = sorted(storms.storm(guard, seed) for seed in range(seeds))
        rows.append([name, statistics.median(peaks), peaks[-1], "40" if name == "herald, full jitter" else ""])
    table(["", "median", "worst", "goal"], rows)

    title("broker down for 10 virtual minutes, 10 callers, a call a second each, 5 retries: calls that reach it per call")
    table(
        ["", "amplification", "goal"],
        [[n, f"{storms.outage(make):.3f}", "1.1" if "its" in n else ""] for n, make in storms.outage_guards().items()],
    )

    title("dead broker, 10 calls a second apart, default settings: calls that reach it (of them not counted by the limiter)")
    needed = all(LIBRARIES[name] for name in ("tenacity", "pybreaker", "limits"))
    rows = []
    for order in orders.ORDERS:
        mine = "{} ({})".format(*orders.dead_broker(order))
        theirs = "{} ({})".format(*orders.dead_broker_rivals(order)) if needed else "-"
        rows.append([" > ".join(order), mine, theirs, orders.verdict(order)])
    table(["order, outermost first", "herald", "tenacity, pybreaker, limits", "herald check"], rows)


def print_caches() -> None:
    title("50 concurrent misses of one key: fetches")
    cache: SmartCache[str, int] = SmartCache(FOREVER)
    rows = [["herald, 50 threads", misses(lambda fetch: cache.get_or_fetch("EURUSD", fetch)), 1]]
    rows += [["herald, 50 tasks", misses_async(SmartCache(FOREVER)), 1]]
    rows += [["herald, 50 threads and 50 tasks", misses_mixed(SmartCache(FOREVER)), 1]]
    rows += [[f"{name}, 50 threads", count, ""] for name, count in cachetools_misses().items()]
    table(["", "fetches", "goal"], rows)

    title("a fetch of 1 ms, uncached / cached")
    table(["", "times", "goal"], [[n, f"{r:,.0f}", "100" if "herald" in n else ""] for n, r in cached_ratios().items()])


def print_limiters() -> None:
    title("100 calls in 60 s allowed, asked in bursts: most let through in any 60 s")
    rows = [
        [n, count, {"herald sliding window": "100", "herald token bucket": "200"}.get(n, "")]
        for n, count in limiter_peaks().items()
    ]
    table(["", "calls", "at most"], rows)


def print_monitor() -> None:
    title("health monitor, check_interval 30 s: seconds (p95 of 50 outages in virtual time)")
    rows = []
    for label, reported, options in (
        ("failed calls are reported", True, {}),
        ("the same, max_delay 3 s", True, {"max_delay": 3.0}),
        ("checks alone", False, {}),
    ):
        known, over = monitors.losses(functools.partial(ConnectionHealthMonitor, **options), reported=reported)
        rows.append([label, f"{known:.1f}", f"{over:.1f}"])
    table(["", "until the loss is known", "until it is over, after the broker is back"], rows)
    title("a broker behind a real socket, called ten times a second, answers within 1 s, max_delay 3 s: longest seconds of 5")
    rows = []
    for label, kind, goal in (("connections reset and refused", "down", "0.5 / 3"), ("black hole", "black_hole", "5 / 3")):
        known, over = monitors.over_a_socket(kind)
        rows.append([label, f"{known:.2f}", f"{over:.2f}", goal])
    table(["", "loss is known after", "over after its end", "goal"], rows)

    median, late = monitors.blocked_by_ticks()
    print(f"\na tick while a ping hangs: median {median:.3f} ms, p99 {late:.3f} ms   goal 1")


def print_clocks() -> None:
    title("the wall clock is set by a day: effect")
    table(["", "+1 day", "-1 day"], [[name, *both] for name, both in clocks.clock_effects().items()])


def print_all_costs() -> None:
    print_costs("circuit breaker, closed", *cases.breaker_cases(), "2")
    print_costs("retry, first try succeeds", *cases.retry_cases(), "")
    print_costs("rate limiter, allowed", *cases.limiter_cases(), "1")
    print_costs("cache, hit", *cases.cache_cases(), "1")
    print_costs("health monitor", cases.monitor_cases(), {}, "")
    title("five layers around a connector that does nothing: cost of a call")
    found = costs(cases.onion_cases(), plainly(bare))
    rows = [[name, f"{us:.2f}", f"{ratio:.1f}", "5" if "five" in name else ""] for name, (us, ratio) in found.items()]
    table([" > ".join(cases.LAYERS), "µs", "/ bare call", "goal µs"], rows)


PARTS: dict[str, Callable[[], None]] = {
    "breakers": print_conformance,
    "storms": print_storms,
    "caches": print_caches,
    "limiters": print_limiters,
    "monitor": print_monitor,
    "clocks": print_clocks,
    "costs": print_all_costs,
}


def only(arguments: Sequence[str]) -> list[str]:
    """Return the parts that the command line asks for, all where it names none."""
    if "--only" not in arguments:
        return list(PARTS)
    named = arguments[arguments.index("--only") + 1].split(",")
    if unknown := [name for name in named if name not in PARTS]:
        raise SystemExit(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return named


def main() -> None:
    print(f"Python {sys.version.split()[0]}; {rivals.versions() or 'none of the other libraries'}")
    for name in rivals.missing():
        print(f"not installed, so not compared: {name}; pip install --group bench")
    for name in only(sys.argv[1:]):
        PARTS[name]()


if __name__ == "__main__":
    main()
