"""What a circuit breaker makes of ten situations; each is a function that is asked of every library (RELIABILITY 1.5)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from experiments import rivals
from experiments.caches import LONGEST, in_threads
from experiments.costs import bare, bare_async
from experiments.rivals import Breaker, Failed, Ignored

DAY = 86_400.0
FOREVER = 1e6

Make = Callable[[int, float], Breaker]
TIMEOUT = 0.02
"""Seconds a circuit stays open where an experiment waits for the end of it."""


def fail(breaker: Breaker) -> None:
    def failing() -> None:
        raise Failed

    with contextlib.suppress(Exception):
        breaker.call(failing)


def succeed(breaker: Breaker) -> None:
    breaker.call(bare)


def ignore(breaker: Breaker) -> None:
    def ignored() -> None:
        raise Ignored

    with contextlib.suppress(Ignored):
        breaker.call(ignored)


def opened(make: Make, timeout: float, *, over: bool = False) -> Breaker:
    """Return a breaker that has just opened, or *over*: whose open time is over."""
    breaker = make(1, timeout)
    fail(breaker)
    if over:
        time.sleep(timeout * 1.5)
    return breaker


def goes_through(breaker: Breaker) -> bool:
    try:
        succeed(breaker)
    except breaker.refusals:
        return False
    return True


def alternating(make: Make) -> str:
    breaker = make(3, FOREVER)
    for _ in range(6):
        fail(breaker)
        succeed(breaker)
    return breaker.state


def together(make: Make) -> str:
    """Eight threads call at once: how many are inside at the same time."""
    breaker = make(5, FOREVER)
    return str(asyncio.run(_together_async(breaker)) if breaker.mode == "async" else _together(breaker))


def _together(breaker: Breaker) -> int:
    gate, everybody = threading.Condition(), threading.Barrier(8)
    inside = most = 0
    over = False

    def work() -> None:
        nonlocal inside, most, over
        with gate:
            inside += 1
            most = max(most, inside)
            over = over or most == 8
            gate.notify_all()
            gate.wait_for(lambda: over, 1.0)  # where calls are made one by one, the first waits in vain for the others
            over = True
            inside -= 1

    def client() -> None:
        everybody.wait(LONGEST)
        breaker.call(work)

    in_threads([client] * 8)
    return most


async def _together_async(breaker: Breaker) -> int:
    inside = most = 0
    full = asyncio.Event()

    async def work() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if most == 8:
            full.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(full.wait(), 1.0)
        inside -= 1

    await asyncio.gather(*(breaker.awaited(work) for _ in range(8)))
    return most


def half_open(make: Make, cycles: int = 1) -> str:
    """Sixty-four callers meet a half-open circuit: the worst of all cycles as ``inside/refused/blocked``."""
    worst = (1, 63, 0)
    with Crowd(64) as crowd:
        for _ in range(cycles):
            breaker = opened(make, 0.002, over=True)
            seen = asyncio.run(_half_open_async(breaker)) if breaker.mode == "async" else crowd.meet(breaker)
            worst = max(worst, seen, key=lambda one: (one[0] + one[2], one))
    return "/".join(map(str, worst))


class Crowd:
    """Threads that call one breaker at the same moment, again and again."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._breaker: Breaker | None = None
        self._start, self._end = threading.Barrier(size + 1), threading.Barrier(size + 1)
        self._release = threading.Event()
        self._news = threading.Condition()
        self._inside = self._refused = 0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(size)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._breaker = None
        self._start.wait(LONGEST)
        for thread in self._threads:
            thread.join(LONGEST)

    def meet(self, breaker: Breaker) -> tuple[int, int, int]:
        self._breaker = breaker
        self._inside = self._refused = 0
        self._release.clear()
        self._start.wait(LONGEST)
        with self._news:
            # Who is neither inside nor refused when nothing has changed for so long is blocked.
            while self._inside + self._refused < self.size and self._news.wait(1.0):
                pass
            seen = (self._inside, self._refused, self.size - self._inside - self._refused)
        self._release.set()
        self._end.wait(LONGEST)
        return seen

    def _run(self) -> None:
        while True:
            self._start.wait()
            breaker = self._breaker
            if breaker is None:
                return
            try:
                breaker.call(self._work)
            except breaker.refusals:
                with self._news:
                    self._refused += 1
                    self._news.notify()
            self._end.wait()

    def _work(self) -> None:
        with self._news:
            self._inside += 1
            self._news.notify()
        self._release.wait(LONGEST)


async def _half_open_async(breaker: Breaker) -> tuple[int, int, int]:
    inside = refused = 0
    release = asyncio.Event()

    async def work() -> None:
        nonlocal inside
        inside += 1
        await release.wait()

    async def client() -> None:
        nonlocal refused
        try:
            await breaker.awaited(work)
        except breaker.refusals:
            refused += 1

    tasks = [asyncio.create_task(client()) for _ in range(64)]
    for _ in range(200):
        await asyncio.sleep(0)
    seen = (inside, refused, 64 - inside - refused)
    release.set()
    await asyncio.gather(*tasks)
    return seen


def clock_forward(make: Make) -> str:
    breaker = opened(make, 60.0)
    with rivals.stepped(DAY):
        return "lets through" if goes_through(breaker) else "stays open"


def clock_back(make: Make) -> str:
    breaker = opened(make, TIMEOUT)
    with rivals.stepped(-DAY):
        time.sleep(TIMEOUT * 1.5)
        return "recovers" if goes_through(breaker) else "stuck"


def ignored_trial(make: Make) -> str:
    breaker = opened(make, TIMEOUT, over=True)
    ignore(breaker)
    return {"closed": "closes", "open": "opens"}.get(breaker.state, "neutral" if goes_through(breaker) else "keeps the permit")


def ignored_between(make: Make) -> str:
    breaker = make(3, FOREVER)
    for step in (fail, fail, ignore, fail):
        step(breaker)
    return breaker.state


def interrupted(make: Make) -> str:
    """The caller gives up: Ctrl-C in a plain call, a cancelled task in an async one."""
    breaker = make(1, FOREVER)
    if breaker.mode == "async":
        asyncio.run(_cancelled(breaker))
    else:

        def interrupt() -> None:
            raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt, *breaker.refusals):  # pybreaker replaces it by its own error
            breaker.call(interrupt)
    return "neutral" if breaker.state == "closed" else "trips"


async def _cancelled(breaker: Breaker) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(LONGEST)

    task = asyncio.create_task(breaker.awaited(work))  # type: ignore[arg-type]
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])


def trace_frames(make: Make) -> str:
    """Frames in the traceback of the thousandth refusal."""
    breaker = opened(make, FOREVER)
    return str(asyncio.run(_last_refusal_async(breaker)) if breaker.mode == "async" else _last_refusal(breaker))


def _last_refusal(breaker: Breaker) -> int:
    for _ in range(1_000):
        try:
            breaker.call(bare)
        except breaker.refusals as error:
            frames = _frames(error)
    return frames


async def _last_refusal_async(breaker: Breaker) -> int:
    for _ in range(1_000):
        try:
            await breaker.awaited(bare_async)
        except breaker.refusals as error:
            frames = _frames(error)
    return frames


def _frames(error: BaseException) -> int:
    count, trace = 0, error.__traceback__
    while trace is not None:
        count, trace = count + 1, trace.tb_next
    return count


def old_call(make: Make) -> str:
    """A call that began before the circuit opened succeeds while a trial is under way."""
    breaker = make(1, TIMEOUT)
    return asyncio.run(_old_call_async(breaker)) if breaker.mode == "async" else _old_call(breaker)


def _old_call(breaker: Breaker) -> str:
    begun, finish, inside, over = (threading.Event() for _ in range(4))

    def old() -> None:
        begun.set()
        finish.wait(LONGEST)

    def trial() -> None:
        inside.set()
        over.wait(LONGEST)

    first = threading.Thread(target=breaker.call, args=(old,))
    first.start()
    begun.wait(LONGEST)
    opening = threading.Thread(target=fail, args=(breaker,))
    opening.start()
    opening.join(1.0)
    blocked = opening.is_alive()
    if not blocked:
        time.sleep(TIMEOUT * 1.5)
        second = threading.Thread(target=breaker.call, args=(trial,))
        second.start()
        inside.wait(LONGEST)
    finish.set()
    first.join(LONGEST)
    opening.join(LONGEST)
    state = breaker.state
    over.set()
    if blocked:
        return "blocked"
    second.join(LONGEST)
    return "closes" if state == "closed" else "ignored"


async def _old_call_async(breaker: Breaker) -> str:
    begun, finish, inside, over = (asyncio.Event() for _ in range(4))

    async def old() -> None:
        begun.set()
        await finish.wait()

    async def trial() -> None:
        inside.set()
        await over.wait()

    async def failing() -> None:
        raise Failed

    first = asyncio.create_task(breaker.awaited(old))  # type: ignore[arg-type]
    await begun.wait()
    with contextlib.suppress(Exception):
        await breaker.awaited(failing)
    await asyncio.sleep(TIMEOUT * 1.5)
    second = asyncio.create_task(breaker.awaited(trial))  # type: ignore[arg-type]
    await inside.wait()
    finish.set()
    await first
    state = breaker.state
    over.set()
    await second
    return "closes" if state == "closed" else "ignored"


QUESTIONS: dict[str, tuple[Callable[[Make], str], str]] = {
    "fails and succeeds in turn, threshold 3": (alternating, "closed"),
    "8 callers at once: inside together": (together, "8"),
    "64 callers, half open: inside/refused/blocked": (half_open, "1/63/0"),
    "wall clock +1 day while open for 60 s": (clock_forward, "stays open"),
    "wall clock -1 day while open": (clock_back, "recovers"),
    "ignored error in a trial": (ignored_trial, "neutral"),
    "fail, fail, ignored, fail; threshold 3": (ignored_between, "open"),
    "Ctrl-C, or a cancelled task": (interrupted, "neutral"),
    "frames in the 1,000th refusal's traceback": (trace_frames, "at most 5"),
    "old call succeeds during a trial": (old_call, "ignored"),
}


def is_wanted(answer: str, wanted: str) -> bool:
    return int(answer) <= 5 if wanted == "at most 5" else answer == wanted


def conformance(kind: type[Breaker], mode: str) -> dict[str, str]:
    """Return the answer of a breaker to each question."""

    def make(threshold: int, timeout: float) -> Breaker:
        return kind(threshold, timeout, mode)

    return {question: ask(make) for question, (ask, _) in QUESTIONS.items()}
