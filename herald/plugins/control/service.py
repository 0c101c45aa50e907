"""The run's side of the control server: feeds a helper process, and hands what it asks for to the run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import queue
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from herald import model
from herald.components import Services
from herald.contracts import Control
from herald.errors import ConfigError, Problem, WaitTimeout
from herald.model import Charted, Event, Fill, Order, OrderStatus, Quote, Series, describe, gravity
from herald.plugins.control.access import KEYS_NAME, Key, make_key
from herald.plugins.control.settings import ControlSettings
from herald.plugins.control.wire import Answer, Ask, Begin, News, Said, Up, WantMetrics, decode_up, encode
from herald.utils.child import ChildProcess
from herald.utils.durable import replace_file
from herald.utils.redaction import redact

__all__ = ["LOCAL_NAME", "ControlService"]

LOCAL_NAME = "control.json"
"""File in the state folder: where the server listens, and a key for whoever may read it."""

_SERVER = "herald.plugins.control.server"


class ControlService:
    """Serves a run over HTTP from a process of its own."""

    def __init__(self, settings: ControlSettings, services: Services) -> None:
        """Keep what is needed; nothing is started.

        Raises:
            ConfigError: What the server needs is not installed.
        """
        missing = [name for name in ("fastapi", "uvicorn", "websockets") if importlib.util.find_spec(name) is None]
        if missing:
            what = f"needs {', '.join(missing)}, which is not installed"
            raise ConfigError("config", [Problem(services.name, what, 'pip install "herald-trading[web]"')])
        self._settings = settings
        self._name = services.name
        self._clock = services.clock
        self._emit = services.emit
        self._base = Path(services.base)
        self._folder = (self._base / services.state).resolve()
        self._control: Control | None = None
        self._child: ChildProcess | None = None
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._questions: queue.SimpleQueue[Ask | WantMetrics | None] = queue.SimpleQueue()
        self._statuses: dict[str, OrderStatus] = {}
        text, name, digest = make_key("local")
        self._local_text = text
        self._local = Key(name, "local", "admin", digest, services.clock.now())

    # --- the life of the service ------------------------------------------------------------------

    def start(self, control: Control) -> None:
        """Start the server's process and begin to feed it.

        Raises:
            ConfigError: The port is in use, or the certificate cannot be read.
        """
        settings = self._settings
        self._check_port()
        for name in ("certificate_file", "key_file"):
            path = getattr(settings, name)
            if path is not None and not (self._base / path).is_file():
                what = f"there is no file {str(self._base / path)!r}"
                raise ConfigError("config", [Problem(f"{self._name}.{name}", what, "name the PEM file")])
        self._control = control
        self._plan = control.plan()
        self._child = ChildProcess(_SERVER, self._hear, greet=self._greeting, changed=self._changed)
        self._child.start()
        for work in (self._feed, self._answer):
            thread = threading.Thread(target=work, name=f"{self._name} {work.__name__.strip('_')}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the server."""
        self._stopping.set()
        self._questions.put(None)
        if self._child is not None:
            self._child.stop()
        for thread in self._threads:
            thread.join(2.0)
        with suppress(OSError):
            (self._folder / LOCAL_NAME).unlink(missing_ok=True)

    def _check_port(self) -> None:
        """Make sure that the port is free, while there is still somebody to tell."""
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                what = f"{host}:{port} cannot be used: {error.strerror or error}"
                raise ConfigError("config", [Problem(f"{self._name}.port", what, "choose another port, or 0 for any")]) from error

    # --- to the server ----------------------------------------------------------------------------

    def _greeting(self) -> list[bytes]:
        """Return what a new server must know."""
        control = self._control
        if control is None:
            return []
        try:
            series: list[Series] = list(control.series(self._settings.chart_bars))
            fills, state = list(control.fills()), control.state()
        except WaitTimeout:
            return []
        begin = Begin(
            options=self._settings.model_dump(mode="json") | {"base": str(self._base)},
            local=self._local,
            keys=str(self._folder / KEYS_NAME),
            runs=str((self._base / self._settings.runs).resolve()),
            version=importlib.metadata.version("herald-trading"),
            plan=self._plan.resolved,
            plan_text=self._plan.text,
            plugins=list(self._plan.plugins),
            series=series,
            fills=fills[-self._settings.kept_fills :],
            state=state,
        )
        return [encode(begin)]

    def _feed(self) -> None:
        """Send what happened, a few times a second, for as long as the run goes on."""
        control, child = self._control, self._child
        if control is None or child is None:
            return
        ear = control.subscribe(self._settings.queue)
        shown: model.RunState | None = None
        pause = 1.0 / self._settings.updates_per_second
        while not self._stopping.wait(pause):
            events = ear.take()
            state = control.state()
            fresh = None if state is shown else state  # the run puts it together once a second
            shown = state
            if child.pid and (events or fresh is not None):
                child.send(encode(self._news(events, fresh, ear.lost)))
        events = ear.take()
        ear.close()
        if child.pid and events:
            child.send(encode(self._news(events, None, ear.lost)))

    def _news(self, events: Sequence[Event | Charted], state: model.RunState | None, lost: int) -> News:
        quotes: list[Quote] = []
        bars: list[Charted] = []
        orders: list[Order] = []
        fills: list[Fill] = []
        said: list[Said] = []
        for event in events:
            if isinstance(event, Quote):
                quotes.append(event)
            elif isinstance(event, Charted):
                bars.append(event)
            elif isinstance(event, Order):
                orders.append(event)
                if self._is_news(event):
                    said.append(_line(event))
            elif isinstance(event, Fill):
                fills.append(event)
                said.append(_line(event))
            elif isinstance(event, model.SystemEvent):
                said.append(_line(event))
        return News(state=state, quotes=quotes, bars=bars, orders=orders, fills=fills, said=said, lost=lost)

    def _is_news(self, order: Order) -> bool:
        """Return whether *order* got further; a trailing stop that moves is told by its order, not by the log."""
        known = self._statuses.get(order.id)
        if order.is_working:
            self._statuses[order.id] = order.status
        else:
            self._statuses.pop(order.id, None)
        return order.status is not known

    # --- from the server --------------------------------------------------------------------------

    def _hear(self, frame: bytes) -> None:
        message = decode_up(frame)
        if isinstance(message, Up):
            self._listens(message)
        else:
            self._questions.put(message)

    def _answer(self) -> None:
        """Answer one question after the other; acts of persons are rare, and their order counts."""
        control, child = self._control, self._child
        while control is not None and child is not None and not self._stopping.is_set():
            question = self._questions.get()
            if isinstance(question, Ask):
                child.send(encode(Answer(question.number, control.do(question.act, question.who, question.why))))
            elif question is not None:
                child.send(encode(Answer(question.number, None, control.metrics())))

    def _listens(self, message: Up) -> None:
        if message.trouble:
            self._changed(False, message.trouble)
            return
        told = {"address": message.address, "key": self._local_text, "process": os.getpid()}
        if self._settings.certificate_file is not None:
            told["certificate"] = str((self._base / self._settings.certificate_file).resolve())
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._folder / LOCAL_NAME, json.dumps(told).encode())
        except OSError as error:
            self._changed(False, f"{LOCAL_NAME} cannot be written: {error.strerror or error}")
            return
        text = f"the control server listens at {message.address}"
        self._emit(model.HealthChanged(self._clock.now(), self._name, "healthy", text))

    def _changed(self, is_up: bool, text: str) -> None:
        """Tell that the server is gone; that it is there tells `_listens`."""
        if not is_up and not self._stopping.is_set():
            self._emit(model.HealthChanged(self._clock.now(), self._name, "unhealthy", redact(text)))


def _line(event: Event) -> Said:
    time = event.time
    return Said(time, gravity(event), type(event).__name__, redact(describe(event)))
