"""The process of the control server: reads the run's news from its standard input and serves HTTP until that closes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from herald.clock import WallClock
from herald.model import Act, Done
from herald.plugins.control.app import make_app
from herald.plugins.control.readmodel import ReadModel
from herald.plugins.control.settings import ControlSettings
from herald.plugins.control.wire import Answer, Ask, Begin, Up, WantMetrics, decode_down, encode
from herald.utils.child import ParentLink

__all__ = ["Desk", "main"]

_ANSWER_SECONDS = 15.0


class Desk:
    """Hands questions to the run and waits for the answers."""

    def __init__(self, link: ParentLink, loop: asyncio.AbstractEventLoop) -> None:
        """Ask over *link*; answers arrive in *loop*."""
        self._link = link
        self._loop = loop
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    async def do(self, act: Act, who: str, why: str) -> Done:
        """Return what came of *act*.

        Raises:
            TimeoutError: The run did not answer.
        """
        number = next(self._numbers)
        answer = await self._answer(number, encode(Ask(number, act, who, why)))
        return answer.done or Done(False, "no_answer", "the run sent no answer")

    async def metrics(self) -> bytes:
        """Return every metric of the run.

        Raises:
            TimeoutError: The run did not answer.
        """
        number = next(self._numbers)
        return (await self._answer(number, encode(WantMetrics(number)))).body

    async def _answer(self, number: int, frame: bytes) -> Answer:
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[number] = future
        try:
            await asyncio.to_thread(self._link.send, frame)
            return await asyncio.wait_for(future, _ANSWER_SECONDS)
        finally:
            self._waiting.pop(number, None)

    def take(self, answer: Answer) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        future = self._waiting.get(answer.number)
        if future is not None and not future.done():
            future.set_result(answer)


def main() -> None:
    """Serve until the run is gone."""
    link = ParentLink()
    frame = link.read()
    if frame is None:
        return
    begin = decode_down(frame)
    if not isinstance(begin, Begin):
        raise SystemExit("the first message is no beginning")
    asyncio.run(_serve(link, begin))
    os._exit(0)  # the reader waits for a pipe, and a daemon thread must not hold the end up


async def _serve(link: ParentLink, begin: Begin) -> None:
    options = dict(begin.options)
    base = Path(options.pop("base"))
    settings = ControlSettings.model_validate(options)
    clock = WallClock()
    loop = asyncio.get_running_loop()
    model = ReadModel(begin, settings, clock.monotonic)
    desk = Desk(link, loop)
    scheme = "http" if settings.certificate_file is None else "https"
    try:
        listening = _listen(settings)
    except OSError as error:
        link.send(encode(Up("", f"{settings.host}:{settings.port} cannot be used: {error.strerror or error}")))
        return
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    address = f"{scheme}://{shown}:{port}"
    app = make_app(model, desk, settings, clock, port)
    tls: dict[str, Any] = {}
    if settings.certificate_file is not None and settings.key_file is not None:
        tls = {"ssl_certfile": str(base / settings.certificate_file), "ssl_keyfile": str(base / settings.key_file)}
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_keep_alive=10,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=16_384,
        limit_concurrency=1_000,
        ws_max_size=settings.body_bytes,
        **tls,
    )
    server = _Server(config)

    def read() -> None:
        while True:
            try:
                frame = link.read()
            except (OSError, ValueError):
                frame = None
            if frame is None:
                loop.call_soon_threadsafe(over)
                return
            message = decode_down(frame)
            if isinstance(message, Answer):
                loop.call_soon_threadsafe(desk.take, message)
            elif not isinstance(message, Begin):
                loop.call_soon_threadsafe(model.take, message)

    def over() -> None:
        model.hub.end()
        server.should_exit = True

    threading.Thread(target=read, name="news of the run", daemon=True).start()
    link.send(encode(Up(address)))
    await server.serve(sockets=[listening])


def _listen(settings: ControlSettings) -> socket.socket:
    """Return the socket that listens.

    Raises:
        OSError: The port is in use.
    """
    found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    family, kind, protocol, _, place = found[0]
    # With its protocol named: asyncio sends without delay only over sockets that say TCP, and every answer, whose head and body
    # are two writes, would wait 40 ms for the other side's acknowledgement.
    listening = socket.socket(family, kind, protocol)
    try:
        if sys.platform == "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(256)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals alone: the run decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


if __name__ == "__main__":
    main()
