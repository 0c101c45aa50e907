"""The run's side of the traces: notes when what happened, and hands finished stages to a process that exports them."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from herald.components import Services
from herald.model import Connected, Event, Fill, HealthChanged, Order, OrderDenied, OrderStep, RunStarted
from herald.plugins.tracing.settings import TracingSettings
from herald.plugins.tracing.stages import Stages
from herald.plugins.tracing.wire import Begin, Span, Spans, decode_up, encode
from herald.utils.child import ChildProcess
from herald.utils.redaction import redact
from herald.utils.traces import make_seed

__all__ = ["Tracing"]

_EXPORTER = "herald.plugins.tracing.exporter"
_PAUSE_SECONDS = 0.2
"""Between two looks at what happened: not at every event, for each wakes a thread beside the one that trades."""
_BATCH = 500
_END_SECONDS = 6.0
_LAST_TRIES = 15
_COMPLAINT_TURNS = 300
"""What is dropped is told once a minute at most."""


class Tracing:
    """Traces the orders of paper and live runs; in a backtest it does nothing.

    Attributes:
        events: What it must hear of.
    """

    events: tuple[type, ...] = (Connected, Fill, Order, OrderDenied, OrderStep, RunStarted)

    def __init__(self, settings: TracingSettings, services: Services) -> None:
        """Keep the settings; nothing is started before something happens."""
        self._settings = settings
        self._name = services.name
        self._clock = services.clock
        self._now: Callable[[], int] = services.clock.now
        self._emit = services.emit
        self._base = Path(services.base)
        self._folder = (self._base / services.state).resolve()
        self._news: deque[tuple[int, Event]] = deque()
        self._spans: deque[Span] = deque()
        self._lost = 0
        self._is_mute = False
        self._stages: Stages | None = None
        self._child: ChildProcess | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def observe(self, event: Event) -> None:
        """Note *event* and when it came; from any thread, never waiting."""
        if self._is_mute:
            return
        if self._thread is None:
            if isinstance(event, RunStarted) and event.mode == "backtest":
                self._is_mute = True  # its orders take no time, and there are too many of them
                return
            self._begin()
        if len(self._news) < self._settings.queue:
            self._news.append((self._now(), event))
        else:
            self._lost += 1

    def close(self) -> None:
        """Export what there is, within some seconds, and end."""
        self._is_mute = True
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)
        if self._child is not None:
            self._child.stop(_END_SECONDS)

    # --- inside, in the engine's thread once ------------------------------------------------------

    def _begin(self) -> None:
        seed = make_seed(self._folder, self._now())
        self._stages = Stages(seed, self._settings.sample)
        self._child = ChildProcess(_EXPORTER, self._told, greet=lambda: [self._greeting()], changed=self._changed)
        self._thread = threading.Thread(target=self._work, args=(self._stages, self._child), name=self._name, daemon=True)
        self._thread.start()

    # --- in a thread of its own -------------------------------------------------------------------

    def _greeting(self) -> bytes:
        settings = self._settings
        resource = {
            "service.name": settings.service_name,
            "service.version": version("herald-trading"),
            "service.instance.id": str(self._folder),
            "host.name": socket.gethostname(),
        }
        certificate = None if settings.certificate is None else str((self._base / settings.certificate).resolve())
        headers = {name: secret.get_secret_value() for name, secret in (settings.headers or {}).items()}
        return encode(Begin(settings.endpoint, headers, certificate, settings.timeout_seconds, settings.queue, resource))

    def _work(self, stages: Stages, child: ChildProcess) -> None:
        """Make spans of what happened, and hand them over, until the run ends."""
        child.start()
        told, turns = 0, _COMPLAINT_TURNS  # not seconds of the clock: that of recorded data stands still, or runs
        while not self._stopping.wait(_PAUSE_SECONDS):
            self._gather(stages)
            self._keep(stages.settle(self._now()))
            self._hand_over(child)
            turns += 1
            if self._lost > told and turns >= _COMPLAINT_TURNS:
                turns = 0
                self._complain(f"{self._lost - told} steps of orders were not traced: more of them came than could wait")
                told = self._lost
        self._gather(stages)
        self._keep(stages.close(self._now()))
        for _ in range(_LAST_TRIES):  # a short run ends before its exporter is up
            self._hand_over(child)
            if not self._spans:
                return
            threading.Event().wait(_PAUSE_SECONDS)

    def _gather(self, stages: Stages) -> None:
        for _ in range(len(self._news)):
            self._keep(stages.take(*self._news.popleft()))

    def _keep(self, spans: list[Span]) -> None:
        """Let *spans* wait for the exporter, as many as may."""
        room = self._settings.queue - len(self._spans)
        self._spans.extend(spans[:room])
        self._lost += len(spans[room:])

    def _hand_over(self, child: ChildProcess) -> None:
        while self._spans and child.pid:
            batch = list(islice(self._spans, _BATCH))
            if not child.send(encode(Spans(batch))):
                return  # it is gone; the next one gets them
            for _ in batch:
                self._spans.popleft()

    def _told(self, frame: bytes) -> None:
        if decode_up(frame).is_well:
            self._emit(HealthChanged(self._clock.now(), self._name, "healthy", "the collector takes traces"))
        else:
            self._complain("the collector takes no traces; those of now are lost, and nothing else is")

    def _changed(self, is_up: bool, text: str) -> None:
        if not is_up and not self._stopping.is_set():
            self._complain(f"the exporter of traces is started again: {text}")

    def _complain(self, text: str) -> None:
        self._emit(HealthChanged(self._clock.now(), self._name, "unhealthy", redact(" ".join(text.split()))[:500]))
