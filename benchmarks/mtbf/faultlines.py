"""What goes wrong and when: one timeline per profile, seed and source, drawn once and played to every combination."""

from __future__ import annotations

import bisect
import math
import random
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["DAY", "Stretch", "Timeline", "condensed", "draw", "registered"]

DAY = 86_400.0
_PROCESS = ("crash", "freeze")


def registered() -> dict[str, Any]:
    """Return the registered experiment."""
    return tomllib.loads(Path(__file__).with_name("profiles.toml").read_text(encoding="utf-8"))


class Stretch(msgspec.Struct, frozen=True):
    """One fault: its class, when it begins and ends (seconds), and how much slower answers are."""

    kind: str
    start: float
    end: float
    extra: float = 0.0


class Timeline:
    """The faults of one source; answers what is wrong at a moment.

    Attributes:
        seconds: How long it is.
        stretches: Of the broker and the line, by start.
        ends: (time, kind) of each crash and freeze of the trading process.
    """

    def __init__(self, seconds: float, stretches: Sequence[Stretch]) -> None:
        self.seconds = seconds
        self.stretches = sorted((one for one in stretches if one.kind not in _PROCESS), key=lambda one: one.start)
        self.ends = sorted((one.start, one.kind) for one in stretches if one.kind in _PROCESS)
        self._by_kind: dict[str, list[Stretch]] = {}
        for one in self.stretches:
            self._by_kind.setdefault(one.kind, []).append(one)
        self._starts = {kind: [one.start for one in of] for kind, of in self._by_kind.items()}
        # Times at which the session of a client dies: it is dropped, or the broker goes down.
        self._deaths = sorted(one.start for one in self.stretches if one.kind in ("drop", "outage"))
        troubles: list[list[float]] = []
        for start, end in sorted([(o.start, o.end) for o in self.stretches] + [(at, at) for at, _ in self.ends]):
            if troubles and start <= troubles[-1][1]:
                troubles[-1][1] = max(troubles[-1][1], end)
            else:
                troubles.append([start, end])
        self.troubles = troubles
        self._trouble_starts = [start for start, _ in troubles]

    def active(self, kind: str, at: float) -> Stretch | None:
        """Return the stretch of *kind* that is on; stretches of one kind do not overlap."""
        place = bisect.bisect_right(self._starts.get(kind, ()), at) - 1
        if place < 0:
            return None
        found = self._by_kind[kind][place]
        return found if at < found.end else None

    def epoch(self, at: float) -> int:
        """Return how many sessions have died so far: one that began in another epoch is dead."""
        return bisect.bisect_right(self._deaths, at)

    def quiet(self, at: float) -> tuple[float, float]:
        """Return (when the last trouble ended, when the next begins); the last is infinite while one is on."""
        place = bisect.bisect_right(self._trouble_starts, at)
        before = self.troubles[place - 1][1] if place else -math.inf
        after = self._trouble_starts[place] if place < len(self._trouble_starts) else math.inf
        return (math.inf if before > at else before), after


def draw(profile: Mapping[str, Any], name: str, seed: int, source: str, days: float) -> Timeline:
    """Return the timeline of *source* (``A`` or ``B``); crashes and freezes are those of the process, the same for both."""
    seconds, stretches = days * DAY, []
    for kind, terms in profile.items():
        if kind == "title":
            continue
        of = "process" if kind in _PROCESS else source
        generator = random.Random(f"{seed}:{name}:{kind}:{of}")
        at = generator.expovariate(terms["per_day"] / DAY)
        while at < seconds:
            if "mean" in terms:
                lasts = generator.expovariate(1.0 / terms["mean"])
            elif "median" in terms:
                lasts = generator.lognormvariate(math.log(terms["median"]), terms["sigma"])
            else:
                lasts = 0.0
            extra = generator.uniform(0.0, terms["extra"]) if "extra" in terms else 0.0
            stretches.append(Stretch(kind, at, at + lasts, extra))
            at += lasts + generator.expovariate(terms["per_day"] / DAY)
    return Timeline(seconds, stretches)


def condensed(line: Timeline, quiet_seconds: float, classes: Sequence[str]) -> Timeline:
    """Return the same faults of *classes* with every quiet stretch cut down to *quiet_seconds*."""
    kept = [one for one in line.stretches if one.kind in classes]
    shifted: list[Stretch] = []
    shift, busy = 0.0, 0.0
    for one in kept:
        shift += max(one.start - busy - quiet_seconds, 0.0)
        busy = max(busy, one.end)
        shifted.append(Stretch(one.kind, one.start - shift, one.end - shift, one.extra))
    return Timeline((busy - shift if kept else 0.0) + quiet_seconds, shifted)
