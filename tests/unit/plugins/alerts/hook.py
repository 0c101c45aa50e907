"""A webhook on this machine, and a run that a test plays."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from herald.clock import Clock, WallClock
from herald.contracts import Services
from herald.model import Event, RunState
from herald.plugins.alerts import Alerts, AlertsSettings
from herald.runtime.control import Ear
from herald.testing import make_services

PATIENCE = 20.0


class Hook:
    """Takes what is posted to it; `refuses` says which bodies it answers with an error."""

    def __init__(self, port: int = 0) -> None:
        self.posts: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.paths: list[str] = []
        self.refuses: Callable[[dict[str, Any]], bool] = lambda body: False
        self.pause = 0.0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                refused = hook.refuses(body)
                if not refused:
                    hook.posts.append(body)
                    hook.times.append(time.monotonic())
                    hook.paths.append(self.path)
                time.sleep(hook.pause)
                try:
                    self.send_response(503 if refused else 200)
                    self.end_headers()
                except OSError:
                    return  # whoever posted is gone

            def log_message(self, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"json://127.0.0.1:{self.port}/whsec_topsecret0815"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def titles(self) -> list[str]:
        return [post["title"] for post in self.posts]

    @property
    def bodies(self) -> list[str]:
        return [post["message"] for post in self.posts]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class PlayedRun:
    """As much of a run as alerts see."""

    def __init__(self) -> None:
        self.ear: Ear | None = None
        self.current = RunState(
            time=WallClock().now(),
            started=1,
            mode="paper",
            source="run.toml",
            currency="USD",
            balance=10_000.0,
            equity=10_000.0,
            peak=10_000.0,
            margin_used=0.0,
            margin_free=10_000.0,
            trading="ACTIVE",
        )

    def state(self) -> RunState:
        return self.current

    def subscribe(self, size: int = 10_000) -> Ear:
        self.ear = Ear(size, lambda gone: None)
        return self.ear

    def say(self, *events: Event) -> None:
        assert self.ear is not None
        for event in events:
            self.ear.put(event)


def make_alerts(
    folder: Path, targets: dict[str, str], *, clock: Clock | None = None, said: list[Event] | None = None, **keys: Any
) -> Alerts:
    """Return alerts that are built as a run builds them: the addresses are there already."""
    settings = AlertsSettings(targets={name: SecretStr("secret:x") for name in targets}, **keys)
    settings = settings.model_copy(update={"targets": {name: SecretStr(url) for name, url in targets.items()}})
    services: Services = make_services(
        "services[0]", clock=clock or WallClock(), base=str(folder), emit=None if said is None else said.append
    )
    return Alerts(settings, services)


def wait_until(is_so: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def numbers(bodies: Sequence[str]) -> list[int]:
    """Return the numbers that the tests write into their texts as ``no 17``."""
    return [int(body.partition("no ")[2].split()[0]) for body in bodies if "no " in body]
