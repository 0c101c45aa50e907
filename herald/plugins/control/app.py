"""The HTTP interface: routes with the scope that each needs, and what keeps strangers and mistakes out.

Whatever a route does not allow is denied: `route` takes the scope, and a route without one cannot be made.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import msgspec
from fastapi import FastAPI, Header, Query, Request, WebSocket, WebSocketDisconnect
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from herald.clock import Clock
from herald.model import (
    Act,
    AmendOrder,
    ClosePosition,
    Done,
    Fill,
    Order,
    PlaceOrder,
    Quote,
    Reconcile,
    Reload,
    ResumeTrading,
    RunState,
    StopTrading,
    WithdrawOrder,
)
from herald.plugins.control.access import ROLES, AccessError, Caller, Gatekeeper, KeyFile, Sessions
from herald.plugins.control.guard import Guard
from herald.plugins.control.readmodel import ReadModel
from herald.plugins.control.runs import Runs
from herald.plugins.control.settings import ControlSettings

__all__ = ["COOKIE", "PUBLIC", "make_app"]

PUBLIC = "public"
"""Scope of what needs no key."""
COOKIE = "herald-session"
_SECURE_COOKIE = "__Host-herald-session"
_STATIC = Path(__file__).with_name("static")
_SCRIPT = "text/javascript; charset=utf-8"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": _SCRIPT,
    ".mjs": _SCRIPT,
    ".svg": "image/svg+xml",
}
_KEPT_ANSWERS = 1_000
_BEAT_SECONDS = 10.0


class Asker(Protocol):
    """Whoever hands acts to the run."""

    async def do(self, act: Act, who: str, why: str) -> Done:
        """Return what came of *act*."""

    async def metrics(self) -> bytes:
        """Return every metric."""


# --- what requests hold ---------------------------------------------------------------------------

Price = Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False)]
Size = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Why = Annotated[str, Field(min_length=1, max_length=1_000, description="The reason; it stands in the audit log.", pattern=r"\S")]


Again = Annotated[str | None, Header(max_length=200, description="Makes a repeated request harmless.")]


class Body(BaseModel):
    """Base of every body: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Reason(Body):
    """Why something is done."""

    why: Why


class PlaceBody(Reason):
    """An order in the book of the person."""

    symbol: Name
    side: Literal["buy", "sell"]
    size: Size = Field(description="Lots.")
    limit: Price | None = None
    stop: Price | None = None
    stop_loss: Price | None = None
    take_profit: Price | None = None
    reduce_only: bool = False


class AmendBody(Reason):
    """New terms of a working order; what is left out stays."""

    size: Size | None = None
    limit: Price | None = None
    stop: Price | None = None
    stop_loss: Price | None = None
    take_profit: Price | None = None


class CloseBody(Reason):
    """A position to close at market."""

    strategy: Name
    symbol: Name
    share: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False, description="Part of it.")


class KillBody(Reason):
    """A stop: of the account unless a scope is named."""

    scope: Name = Field(default="account", description="account, strategy:NAME or symbol:NAME.")
    cancel_all: bool = Field(default=True, description="Withdraw the working orders.")
    flatten: bool = Field(default=False, description="Close the positions, too.")
    exits: bool = Field(default=False, description="Let requests pass that only reduce.")


class RearmBody(Reason):
    """The way back from a stop."""

    scope: Name = "account"
    state: Literal["ACTIVE", "REDUCING"] = "ACTIVE"


class LoginBody(Body):
    """A key, for a session in a browser."""

    key: Annotated[str, Field(min_length=1, max_length=200)]


class DoneAnswer(BaseModel):
    """What came of an act."""

    ok: bool
    code: str
    text: str
    order: str


class Failure(BaseModel):
    """What is wrong."""

    code: str
    text: str


class ErrorAnswer(BaseModel):
    """An error."""

    error: Failure


# --- the application ------------------------------------------------------------------------------


def make_app(model: ReadModel, desk: Asker, settings: ControlSettings, clock: Clock, port: int) -> Any:
    """Return the ASGI application.

    Args:
        model: What is known of the run.
        desk: Hands acts to it.
        settings: Of the server.
        clock: Tells the time.
        port: Where it listens.
    """
    return Guard(_Application(model, desk, settings, clock).app, settings, port)


class _Application:
    """The routes, and what they share."""

    def __init__(self, model: ReadModel, desk: Asker, settings: ControlSettings, clock: Clock) -> None:
        begin = model.begin
        self._model = model
        self._desk = desk
        self._settings = settings
        self._cookie = COOKIE if settings.certificate_file is None else _SECURE_COOKIE
        self._gate = Gatekeeper(
            KeyFile(Path(begin.keys), clock.now),
            Sessions(clock.monotonic),
            local=begin.local,
            now=clock.now,
            monotonic=clock.monotonic,
            requests_per_minute=settings.requests_per_minute,
            is_open=not settings.is_local,
        )
        self._runs = Runs(Path(begin.runs))
        self._answers: OrderedDict[tuple[str, str], tuple[str, asyncio.Future[Response]]] = OrderedDict()
        self.policies: dict[tuple[str, str], str] = {}
        self.app = app = FastAPI(
            title="Herald control",
            version="1",
            description="A run of Herald: see it and steer it. Times are nanoseconds since 1970 UTC; sizes are lots.",
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
        )
        app.state.policies = self.policies
        app.add_exception_handler(AccessError, self._refused)
        app.add_exception_handler(RequestValidationError, self._invalid)
        app.add_exception_handler(HTTPException, self._not_found)
        app.add_exception_handler(Exception, self._broken)
        self._checked = self._checking()
        self._reads()
        self._acts()
        self._access()
        self._streams()
        self._others()
        app.openapi = self._openapi  # type: ignore[method-assign]

    # --- who may ----------------------------------------------------------------------------------

    def route(
        self, method: str, path: str, scope: str, *, schema: str = "", errors: Sequence[int] = ()
    ) -> Callable[[Callable[..., Awaitable[Response]]], Callable[..., Awaitable[Response]]]:
        """Make a route that needs *scope*.

        Args:
            method: Of HTTP.
            path: With parameters.
            scope: `PUBLIC`, or what the caller must be allowed.
            schema: Name of what it answers, for the description of the interface.
            errors: Statuses besides those that every route has.
        """
        self.policies[method, path.replace(":path}", "}")] = scope  # as the description of the interface writes it
        usual = (400, 413) if scope == PUBLIC else (400, 401, 403, 413, 429, 503)
        answers: dict[int | str, dict[str, Any]] = {
            status: {"model": ErrorAnswer, "description": _WORDS.get(status, "Error")} for status in (*usual, *errors)
        }
        if schema:
            reference = {"$ref": f"#/components/schemas/{schema}"}
            answers[200] = {"description": "Done", "content": {"application/json": {"schema": reference}}}

        def register(endpoint: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
            name = endpoint.__name__.strip("_")
            self.app.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_class=Response if path in _NOT_JSON else JSONResponse,
                response_model=None,
                responses=answers,
                operation_id=name,
                route_class_override=self._checked,
                openapi_extra={} if scope == PUBLIC else {"security": [{"key": []}, {"session": []}], "x-scope": scope},
            )
            return endpoint

        return register

    def _checking(self) -> type[APIRoute]:
        """Return the kind of route that asks who is there before it looks at anything that was sent."""
        policies, find = self.policies, self._caller

        class Checked(APIRoute):
            """A route behind its policy."""

            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                """Return what serves a request."""
                serve = super().get_route_handler()

                async def handle(request: Request) -> Response:
                    method = request.method
                    scope = policies[method, self.path_format]
                    if scope != PUBLIC:
                        request.state.caller = find(request, scope, changes=method != "GET")
                    return await serve(request)

                return handle

        return Checked

    def _caller(self, request: Request | WebSocket, scope: str, *, changes: bool) -> Caller:
        """Return who asks, if that may do what needs *scope*.

        Raises:
            AccessError: It may not.
        """
        stated = request.headers.get("authorization", "")
        kind, _, key = stated.partition(" ")
        text = key.strip() if kind.lower() == "bearer" else request.headers.get("x-api-key", "")
        address = request.client.host if request.client is not None else ""
        if text:
            caller, _ = self._gate.by_key(text, address)
        else:
            token = request.cookies.get(self._cookie, "")
            if not token:
                raise AccessError(401, "no_key", "send a key: Authorization: Bearer hrld_...; herald control keys add makes one")
            caller, csrf = self._gate.by_session(token, address)
            if changes and not _equal(request.headers.get("x-csrf-token", ""), csrf):
                raise AccessError(403, "forged", "a request of a browser that changes something must repeat its X-CSRF-Token")
        self._gate.count(caller)
        _demand(caller, scope)
        return caller

    # --- reading ----------------------------------------------------------------------------------

    def _reads(self) -> None:
        model = self._model
        parts = {
            "state": "RunState",
            "account": "AccountAnswer",
            "positions": "PositionsAnswer",
            "strategies": "StrategiesAnswer",
            "connectors": "ConnectorsAnswer",
            "limits": "LimitsAnswer",
            "equity": "TableAnswer",
            "quotes": "QuotesAnswer",
            "plan": "PlanAnswer",
            "plugins": "PluginsAnswer",
        }
        for name, schema in parts.items():
            self._part(name, schema)

        @self.route("GET", "/api/v1/orders", "read", schema="OrdersAnswer", errors=(422,))
        async def list_orders(
            state: Literal["working", "ended"] = "working",
            limit: Annotated[int, Query(ge=1, le=2_000)] = 500,
        ) -> Response:
            """List the working orders, or the last ones that are at an end."""
            return _json(model.json("orders") if state == "working" else model.ended_orders(limit))

        @self.route("GET", "/api/v1/orders/{order}", "read", schema="Order", errors=(404, 422))
        async def get_order(order: Annotated[str, InPath(max_length=100)]) -> Response:
            """Show one order, working or lately ended."""
            body = model.order(order)
            if body is None:
                raise AccessError(404, "unknown_order", "there is no such order, or it ended too long ago; see the journal")
            return _json(body)

        @self.route("GET", "/api/v1/fills", "read", schema="FillsAnswer", errors=(422,))
        async def list_fills(
            symbol: Annotated[str | None, Query(max_length=100)] = None,
            limit: Annotated[int, Query(ge=1, le=2_000)] = 500,
        ) -> Response:
            """List the last fills of the run, oldest first."""
            return _json(model.fills(limit, symbol))

        @self.route("GET", "/api/v1/series", "read", schema="SeriesListAnswer")
        async def list_series() -> Response:
            """List the series that the run keeps."""
            return _json(model.charts())

        @self.route("GET", "/api/v1/series/{symbol:path}", "read", schema="SeriesAnswer", errors=(404, 422))
        async def get_series(
            symbol: Annotated[str, InPath(max_length=100)],
            timeframe: Annotated[str | None, Query(max_length=10)] = None,
            bars: Annotated[int, Query(ge=1, le=20_000)] = 500,
        ) -> Response:
            """Return the last bars of a symbol with the indicators over them."""
            body = model.chart(symbol, timeframe, bars)
            if body is None:
                raise AccessError(404, "unknown_series", "the run has no such series; list them at /api/v1/series")
            return _json(body)

        @self.route("GET", "/api/v1/logs", "read", schema="LogAnswer", errors=(422,))
        async def list_logs(
            after: Annotated[int, Query(ge=0, le=2**53)] = 0,
            level: Literal["INFO", "WARNING", "ERROR"] = "INFO",
            limit: Annotated[int, Query(ge=1, le=2_000)] = 200,
        ) -> Response:
            """Return the last lines of the run's log behind a number."""
            return _json(model.log(after, level, limit))

        @self.route("GET", "/api/v1/runs", "read", schema="RunsAnswer")
        async def list_runs() -> Response:
            """List finished runs, the newest first."""
            return _json(await asyncio.to_thread(self._runs.listed))

        @self.route("GET", "/api/v1/runs/{run}/report", "read", errors=(404, 422))
        async def get_report(run: Annotated[str, InPath(max_length=200)]) -> Response:
            """Return the report of a finished run, as a file to keep."""
            body = await asyncio.to_thread(self._runs.report, run)
            if body is None:
                raise AccessError(404, "unknown_run", "there is no such run, or it has no report; herald report writes one")
            # A page with scripts of its own: it is handed over as a file, and never runs as a part of this site.
            told = {"content-disposition": f'attachment; filename="{run}.html"'}
            return Response(body, media_type="application/octet-stream", headers=told)

    def _part(self, name: str, schema: str) -> None:
        model = self._model

        async def read() -> Response:
            return _json(model.json(name))

        read.__name__ = f"get_{name}"
        read.__doc__ = f"Return the {name} of the run."
        self.route("GET", f"/api/v1/{name}", "read", schema=schema)(read)

    # --- acting -----------------------------------------------------------------------------------

    def _acts(self) -> None:
        @self.route("POST", "/api/v1/orders", "orders", schema="DoneAnswer", errors=(409, 422, 504))
        async def place_order(request: Request, body: PlaceBody, idempotency_key: Again = None) -> Response:
            """Place an order in the book of the person, through the same checks as a strategy's."""
            caller = request.state.caller
            stated = body.model_dump(exclude={"why"})
            return await self._once(caller, idempotency_key, body, lambda: self._do(PlaceOrder(**stated), caller, body.why))

        @self.route("PATCH", "/api/v1/orders/{order}", "orders", schema="DoneAnswer", errors=(409, 422, 504))
        async def amend_order(request: Request, order: Annotated[str, InPath(max_length=100)], body: AmendBody) -> Response:
            """Change the terms of a working order."""
            caller = request.state.caller
            return await self._do(AmendOrder(order=order, **body.model_dump(exclude={"why"})), caller, body.why)

        @self.route("POST", "/api/v1/orders/{order}/cancel", "reduce", schema="DoneAnswer", errors=(409, 422, 504))
        async def cancel_order(request: Request, order: Annotated[str, InPath(max_length=100)], body: Reason) -> Response:
            """Withdraw a working order."""
            caller = request.state.caller
            return await self._do(WithdrawOrder(order=order), caller, body.why)

        @self.route("POST", "/api/v1/positions/close", "reduce", schema="DoneAnswer", errors=(409, 422, 504))
        async def close_position(request: Request, body: CloseBody) -> Response:
            """Close a position, or a part of it, at market."""
            caller = request.state.caller
            return await self._do(ClosePosition(**body.model_dump(exclude={"why"})), caller, body.why)

        @self.route("POST", "/api/v1/strategies/{name}/pause", "strategies", schema="DoneAnswer", errors=(409, 422, 504))
        async def pause_strategy(request: Request, name: Annotated[str, InPath(max_length=100)], body: Reason) -> Response:
            """Let a strategy do nothing but reduce, until it is resumed; its exits go on."""
            caller = request.state.caller
            return await self._do(StopTrading(scope=f"strategy:{name}", state="REDUCING"), caller, body.why)

        @self.route("POST", "/api/v1/strategies/{name}/resume", "strategies", schema="DoneAnswer", errors=(409, 422, 504))
        async def resume_strategy(request: Request, name: Annotated[str, InPath(max_length=100)], body: Reason) -> Response:
            """Let a paused strategy go on; one that was halted by a kill needs the scope kill:reset."""
            scope = f"strategy:{name}"
            halted = any(one.scope == scope and one.state == "HALTED" for one in self._model.state.scopes)
            caller = request.state.caller
            if halted:
                _demand(caller, "kill:reset")
            return await self._do(ResumeTrading(scope=scope), caller, body.why)

        @self.route("POST", "/api/v1/kill", "kill", schema="DoneAnswer", errors=(409, 422, 504))
        async def kill(request: Request, body: KillBody) -> Response:
            """Stop trading now, and withdraw every order; it holds until somebody rearms."""
            caller = request.state.caller
            return await self._do(StopTrading(state="HALTED", **body.model_dump(exclude={"why"})), caller, body.why)

        @self.route("POST", "/api/v1/flatten", "kill", schema="DoneAnswer", errors=(409, 422, 504))
        async def flatten(request: Request, body: Reason) -> Response:
            """Stop trading now, withdraw every order and close every position."""
            caller = request.state.caller
            return await self._do(StopTrading(state="HALTED", cancel_all=True, flatten=True), caller, body.why)

        @self.route("POST", "/api/v1/rearm", "kill:reset", schema="DoneAnswer", errors=(409, 422, 504))
        async def rearm(request: Request, body: RearmBody) -> Response:
            """Let trading go on after a stop."""
            caller = request.state.caller
            return await self._do(ResumeTrading(scope=body.scope, state=body.state), caller, body.why)

        @self.route("POST", "/api/v1/reconcile", "reconcile", schema="DoneAnswer", errors=(409, 422, 504))
        async def reconcile(request: Request, body: Reason) -> Response:
            """Compare every account with the books, now."""
            caller = request.state.caller
            return await self._do(Reconcile(), caller, body.why)

        @self.route("POST", "/api/v1/reload", "admin", schema="DoneAnswer", errors=(409, 422, 504))
        async def reload_settings(request: Request, body: Reason) -> Response:
            """Read the settings again that may change while the run goes on."""
            caller = request.state.caller
            return await self._do(Reload(), caller, body.why)

    async def _do(self, act: Act, caller: Caller, why: str) -> Response:
        """Have *act* done: 200 where it is, 409 where it was refused."""
        try:
            done = await self._desk.do(act, f"{caller.name} (key {caller.id})", why)
        except TimeoutError:
            raise AccessError(504, "no_answer", "the run did not answer in time; look whether it was done") from None
        except OSError:
            raise AccessError(503, "run_over", "the run has ended") from None
        if done.ok:
            return _json(msgspec.json.encode(done))
        return JSONResponse({"error": {"code": done.code, "text": done.text}}, 409)

    async def _once(self, caller: Caller, key: str | None, body: Body, work: Callable[[], Awaitable[Response]]) -> Response:
        """Do *work*, but only once for each key against repetition.

        Raises:
            AccessError: 409 where the key was used for something else.
        """
        if key is None:
            return await work()
        digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
        known = self._answers.get((caller.id, key))
        if known is not None:
            if known[0] != digest:
                raise AccessError(409, "key_reused", "that Idempotency-Key belongs to another request; use a new one")
            return await asyncio.shield(known[1])
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._answers[caller.id, key] = digest, future
        while len(self._answers) > _KEPT_ANSWERS:
            self._answers.popitem(last=False)
        try:
            answer = await work()
        except BaseException as error:
            # It may have been done: the same key must not try again, and gets the same answer.
            future.set_exception(
                error if isinstance(error, AccessError) else AccessError(504, "no_answer", "look whether it was done")
            )
            future.exception()
            raise
        future.set_result(answer)
        return answer

    # --- logging in -------------------------------------------------------------------------------

    def _access(self) -> None:
        @self.route("POST", "/api/v1/login", PUBLIC, schema="MeAnswer", errors=(401, 403, 422, 429, 503))
        async def login(request: Request, body: LoginBody) -> Response:
            """Exchange a key for a session of a browser."""
            address = request.client.host if request.client is not None else ""
            caller, key_hash = self._gate.by_key(body.key, address)
            token, csrf = self._gate.sessions.begin(caller, key_hash)
            answer = JSONResponse(self._me(caller, csrf))
            secure = self._settings.certificate_file is not None
            answer.set_cookie(self._cookie, token, path="/", httponly=True, samesite="strict", secure=secure)
            return answer

        @self.route("POST", "/api/v1/logout", "read", errors=(422,))
        async def logout(request: Request) -> Response:
            """End a session."""
            self._gate.sessions.end(request.cookies.get(self._cookie, ""))
            answer = JSONResponse({"ok": True})
            answer.delete_cookie(self._cookie, path="/", httponly=True, samesite="strict")
            return answer

        @self.route("GET", "/api/v1/me", "read", schema="MeAnswer")
        async def get_me(request: Request) -> Response:
            """Say who asks, and what that may do."""
            caller = request.state.caller
            token = request.cookies.get(self._cookie, "")
            address = request.client.host if request.client is not None else ""
            csrf = "" if request.headers.get("authorization") or not token else self._gate.by_session(token, address)[1]
            return JSONResponse(self._me(caller, csrf))

    @staticmethod
    def _me(caller: Caller, csrf: str) -> dict[str, Any]:
        return {"name": caller.name, "role": caller.role, "scopes": sorted(caller.scopes), "csrf": csrf}

    # --- streams ----------------------------------------------------------------------------------

    def _streams(self) -> None:
        hub, model = self._model.hub, self._model

        @self.route("GET", "/api/v1/events", "read", errors=())
        async def stream_events() -> Response:
            """Stream what happens as server-sent events: the state first, then what changes."""
            stream = hub.join()
            if stream is None:
                raise AccessError(503, "too_many_streams", f"{hub.most} streams are open, as many as may be; close one")

            async def send() -> AsyncIterator[bytes]:
                try:
                    yield b'retry: 2000\ndata: {"state":' + model.json("state") + b"}\n\n"
                    while True:
                        try:
                            message = await asyncio.wait_for(stream.get(), _BEAT_SECONDS)
                        except TimeoutError:
                            yield b": beat\n\n"
                            continue
                        if message is None:
                            return
                        yield b"data: " + message + b"\n\n"
                finally:
                    hub.leave(stream)

            return StreamingResponse(send(), media_type="text/event-stream", headers={"cache-control": "no-store"})

        @self.app.websocket("/api/v1/stream")
        async def stream(socket: WebSocket) -> None:
            try:
                self._caller(socket, "read", changes=False)
                joined = hub.join()
                if joined is None:
                    raise AccessError(503, "too_many_streams", "too many streams are open")
            except AccessError as error:
                await socket.close(4_000 + error.status, str(error)[:120])
                return
            await socket.accept()

            async def listen() -> None:
                while True:
                    await socket.receive_text()  # nothing is expected; it only notices the end

            ear = asyncio.create_task(listen())
            try:
                await socket.send_text(f'{{"state":{model.json("state").decode()}}}')
                while True:
                    wanted = asyncio.create_task(joined.get())
                    finished, _ = await asyncio.wait({wanted, ear}, return_when=asyncio.FIRST_COMPLETED)
                    if ear in finished:
                        wanted.cancel()
                        break
                    message = wanted.result()
                    if message is None:
                        await socket.close(1_013, "too slow, or the run has ended; connect again")
                        break
                    await socket.send_text(message.decode())
            except (WebSocketDisconnect, RuntimeError, OSError):
                pass
            finally:
                hub.leave(joined)
                ear.cancel()
                await asyncio.gather(ear, return_exceptions=True)

        self.policies["WEBSOCKET", "/api/v1/stream"] = "read"

    # --- the rest ---------------------------------------------------------------------------------

    def _others(self) -> None:
        model = self._model

        @self.route("GET", "/healthz", PUBLIC, errors=(503,))
        async def get_health() -> Response:
            """Say whether the server lives and hears the run."""
            fresh = model.is_fresh(10.0)
            return JSONResponse({"status": "ok" if fresh else "the run is not heard"}, 200 if fresh else 503)

        @self.route("GET", "/readyz", PUBLIC, errors=(503,))
        async def get_readiness() -> Response:
            """Say whether the run trades: connected, compared with the books, and not halted."""
            return JSONResponse({"status": "ok" if model.is_ready else "not ready"}, 200 if model.is_ready else 503)

        @self.route("GET", "/metrics", PUBLIC if self._settings.open_metrics else "metrics", errors=(504,))
        async def get_metrics() -> Response:
            """Return every metric in Prometheus' text format."""
            try:
                body = await self._desk.metrics()
            except TimeoutError:
                raise AccessError(504, "no_answer", "the run did not answer in time") from None
            except OSError:
                raise AccessError(503, "run_over", "the run has ended") from None
            return Response(body + self._own_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

        @self.route("GET", "/api/v1/openapi.json", "read")
        async def get_openapi() -> Response:
            """Describe this interface."""
            return JSONResponse(self._openapi())

        if self._settings.dashboard:
            self._pages()

    def _own_metrics(self) -> bytes:
        """Return what this process knows of itself, in the same format."""
        model = self._model
        return (
            "# HELP herald_control_streams Open streams.\n# TYPE herald_control_streams gauge\n"
            f"herald_control_streams {len(model.hub)}\n"
            "# HELP herald_control_lost_events_total Events that the server was too slow for.\n"
            "# TYPE herald_control_lost_events_total counter\n"
            f"herald_control_lost_events_total {model.lost}\n"
        ).encode()

    def _pages(self) -> None:
        files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in sorted(_STATIC.iterdir()) if path.suffix in _TYPES
        }

        @self.route("GET", "/", PUBLIC)
        async def get_page() -> Response:
            """Return the dashboard's page; it shows nothing before somebody logs in."""
            body, kind = files["index.html"]
            return Response(body, media_type=kind, headers={"cache-control": "no-cache"})

        @self.route("GET", "/static/{name}", PUBLIC, errors=(404, 422))
        async def get_file(name: Annotated[str, InPath(max_length=100)]) -> Response:
            """Return a file of the dashboard."""
            found = files.get(name)
            if found is None:
                raise AccessError(404, "unknown_file", "there is no such file")
            return Response(found[0], media_type=found[1], headers={"cache-control": "no-cache"})

    # --- errors -----------------------------------------------------------------------------------

    async def _refused(self, request: Request, error: Any) -> Response:
        headers = {"retry-after": str(max(1, math.ceil(error.after)))} if error.after else {}
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        return JSONResponse({"error": {"code": error.code, "text": str(error)}}, error.status, headers)

    async def _invalid(self, request: Request, error: Any) -> Response:
        first = error.errors()[0]
        where = ".".join(str(one) for one in first["loc"])[:200]
        more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
        return JSONResponse({"error": {"code": "invalid", "text": f"{where}: {first['msg']}{more}"}}, 422)

    async def _not_found(self, request: Request, error: Any) -> Response:
        code = {404: "not_found", 405: "wrong_method", 408: "too_slow", 413: "too_large"}.get(error.status_code, "refused")
        return JSONResponse({"error": {"code": code, "text": str(error.detail)}}, error.status_code, error.headers)

    async def _broken(self, request: Request, error: Exception) -> Response:
        return JSONResponse({"error": {"code": "broken", "text": "the server made a mistake; its log says which"}}, 500)

    # --- the description --------------------------------------------------------------------------

    def _openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, made once."""
        if self.app.openapi_schema is None:
            document = FastAPI.openapi(self.app)
            schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
            kinds = [RunState, Order, Fill, Quote]
            _, found = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
            schemas.update({name: _nullable(one) for name, one in found.items()})
            schemas["DoneAnswer"] = DoneAnswer.model_json_schema()
            schemas.update(_answers())
            document["components"]["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": self._cookie},
            }
            self.app.openapi_schema = document
        return self.app.openapi_schema


_WORDS = {
    400: "It is no request",
    401: "No key, or one that is not good",
    403: "The key may not do that",
    404: "There is no such thing",
    409: "The run refuses it, with the reason",
    413: "The body is too large",
    422: "The request is not valid",
    429: "Too many requests; Retry-After says how long to wait",
    503: "It cannot be done at present",
    504: "The run did not answer",
}
_NOT_JSON = {"/", "/metrics", "/static/{name}", "/api/v1/events", "/api/v1/runs/{run}/report"}


def _nullable(schema: Any) -> Any:
    """Return *schema* with numbers that may be null: NaN, which JSON does not know, is written as null."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "number":
            schema = {**schema, "type": ["number", "null"]}
        return {key: _nullable(one) for key, one in schema.items() if not (isinstance(one, float) and not math.isfinite(one))}
    if isinstance(schema, list):
        return [_nullable(one) for one in schema]
    return schema


def _answers() -> dict[str, Any]:
    """Return the schemas of the answers that hold lists."""

    def table(**properties: Any) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    def several(name: str) -> dict[str, Any]:
        return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}

    text, whole, number = {"type": "string"}, {"type": "integer"}, {"type": ["number", "null"]}
    rows = {"type": "array", "items": {"type": "array", "items": number}}
    texts = {"type": "array", "items": text}
    series = {"symbol": text, "timeframe": text, "digits": whole}
    return {
        "AccountAnswer": table(
            time=whole, currency=text, balance=number, equity=number, peak=number, margin_used=number, margin_free=number,
            trading=text, accounts=several("Account"),
        ),
        "PositionsAnswer": table(positions=several("Holding")),
        "OrdersAnswer": table(orders=several("Order")),
        "StrategiesAnswer": table(strategies=several("StrategyState")),
        "ConnectorsAnswer": table(connectors=several("ConnectorState")),
        "LimitsAnswer": table(limits=several("Usage")),
        "QuotesAnswer": table(quotes=several("Quote")),
        "FillsAnswer": table(fills=several("Fill")),
        "TableAnswer": table(columns=texts, rows=rows),
        "PlanAnswer": table(text=text, resolved={"type": "object"}),
        "PluginsAnswer": table(plugins={"type": "array", "items": {"type": "object", "additionalProperties": text}}),
        "SeriesListAnswer": table(series={"type": "array", "items": table(**series, bars=whole, lines=texts)}),
        "SeriesAnswer": table(**series, columns=texts, lines=texts, rows=rows),
        "LogAnswer": table(
            lines={"type": "array", "items": table(number=whole, time=whole, level=text, kind=text, text=text)}
        ),
        "RunsAnswer": table(runs={"type": "array", "items": {"type": "object"}}),
        "MeAnswer": table(name=text, role=text, scopes=texts, csrf=text),
    }  # fmt: skip


def _demand(caller: Caller, scope: str) -> None:
    """Refuse a caller without *scope*.

    Raises:
        AccessError: 403.
    """
    if scope not in caller.scopes:
        able = ", ".join(role for role, scopes in ROLES.items() if scope in scopes)
        raise AccessError(403, "not_allowed", f"the role {caller.role} may not do that; it needs {scope!r}, as have: {able}")


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
