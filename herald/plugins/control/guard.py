"""What stands before every route: right host, right origin, small bodies that arrive in time, and headers for browsers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

from herald.plugins.control.settings import ControlSettings

__all__ = ["Guard"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODY_SECONDS = 10.0
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=()"),
]


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: App, settings: ControlSettings, port: int) -> None:
        """Guard *app*, which listens at *port*."""
        self.app = app
        self._most = settings.body_bytes
        self._secure = settings.certificate_file is not None
        names = {settings.host, *settings.names}
        if settings.is_local:
            names |= {"localhost", "127.0.0.1", "::1"}
        shown = {f"[{name}]" if ":" in name else name for name in names}
        # With another port in front of it, such as a proxy's or that of a tunnel, the name still has to be right.
        self._names = {name.lower() for name in shown}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {
            name: value for name, value in scope["headers"] if name in (b"host", b"origin", b"sec-fetch-site", b"content-length")
        }
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self._is_known(host):
            await self._refuse(
                scope, send, 400, "wrong_host", "this is not the host that was asked for; see names in the settings"
            )
            return
        if not self._is_same_origin(scope, headers, host):
            await self._refuse(scope, send, 403, "wrong_origin", "a page of another site may not ask that")
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > self._most:
            await self._refuse(scope, send, 413, "too_large", f"a body of more than {self._most} bytes is refused")
            return
        await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _BODY_SECONDS
        arrived = False

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal taken, arrived
            if arrived:
                return await receive()  # only the end of the connection is left to come
            try:
                message = await asyncio.wait_for(receive(), max(deadline - loop.time(), 0.0))
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {_BODY_SECONDS:g} s") from None
            taken += len(message.get("body", b""))
            if taken > self._most:
                raise HTTPException(413, f"a body of more than {self._most} bytes is refused")
            arrived = not message.get("more_body", False)
            return message

        async def dressed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers()]
            await send(message)

        await self.app(scope, bounded, dressed)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        more = [(b"strict-transport-security", b"max-age=31536000")] if self._secure else []
        return _HEADERS + more

    def _is_known(self, host: str) -> bool:
        """Return whether *host* is this server: a name that leads here by a trick must not get an answer."""
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host, ""
        return name in self._names and (not port or port.isdecimal())

    @staticmethod
    def _is_same_origin(scope: Scope, headers: dict[bytes, bytes], host: str) -> bool:
        """Return whether a browser that says where its page comes from says that it is from here."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] in ("/", "/healthz", "/readyz"):
            return True
        site = headers.get(b"sec-fetch-site", b"same-origin")
        if site not in (b"same-origin", b"none"):
            return False
        origin = headers.get(b"origin")
        if origin is None:
            return True
        return origin.decode("latin-1").lower().partition("://")[2] == host

    async def _refuse(self, scope: Scope, send: Send, status: int, code: str, text: str) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4_000 + status, "reason": text[:120]})
            return
        body = json.dumps({"error": {"code": code, "text": text}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status in (408, 413):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *self._headers()]})
        await send({"type": "http.response.body", "body": body})
