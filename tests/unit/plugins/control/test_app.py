"""The HTTP interface: every route for every caller, and everything a browser or a stranger might try."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from herald.model import Done, PlaceOrder, ResumeTrading, ScopeState, StopTrading, WithdrawOrder
from herald.plugins.control.access import ROLES
from herald.plugins.control.app import PUBLIC
from herald.plugins.control.wire import News, Said
from tests.unit.plugins.control.world import FILL, NOW, ORDER, PORT, World, run_state

HOST = f"127.0.0.1:{PORT}"
ORIGIN = f"http://127.0.0.1:{PORT}"
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/orders": {"symbol": "EURUSD", "side": "buy", "size": 0.1, "why": "test"},
    "/api/v1/orders/{order}": {"size": 0.2, "why": "test"},
    "/api/v1/positions/close": {"strategy": "trend", "symbol": "EURUSD", "why": "test"},
    "/api/v1/login": {"key": "hrld_test_x_y_z"},
}
FILLED = {"{order}": "trend-000001", "{name}": "trend", "{symbol}": "EURUSD", "{run}": "none"}


def routes(world: World) -> list[tuple[str, str, str]]:
    """Return (method, path, scope) of every route but the streams, which have tests of their own."""
    policies = world.app.app.state.policies
    return [
        (method, path, scope)
        for (method, path), scope in policies.items()
        if method != "WEBSOCKET" and path not in ("/api/v1/events", "/static/{name}")
    ]


def ask(world: World, method: str, path: str, key: str | None, **options: Any) -> Any:
    body = None if method == "GET" else BODIES.get(path, {"why": "test"})
    for name, value in FILLED.items():
        path = path.replace(name, value)
    return world.ask(method, path, key, **({} if body is None else {"json": body}), **options)


# --- who may what


def test_every_route_of_the_application_has_a_policy(world: World) -> None:
    app = world.app.app
    found = {
        (method, getattr(route, "path_format", route.path))
        for route in app.routes
        for method in getattr(route, "methods", None) or {"WEBSOCKET"}
    }

    assert {pair for pair in found if pair[0] not in ("HEAD", "OPTIONS")} == set(app.state.policies)


def test_only_what_must_be_is_open_to_everybody(world: World) -> None:
    assert sorted(path for (_, path), scope in world.app.app.state.policies.items() if scope == PUBLIC) == [
        "/",
        "/api/v1/login",
        "/healthz",
        "/readyz",
        "/static/{name}",
    ]


def test_every_route_lets_in_exactly_the_roles_that_its_scope_names(world: World) -> None:
    wrong = []
    for method, path, scope in routes(world):
        for role, scopes in ROLES.items():
            status = ask(world, method, path, world.key(role)).status_code
            if scope != PUBLIC and (status != 403) != (scope in scopes):
                wrong.append((method, path, role, status))
    assert wrong == []
    assert len(routes(world)) > 25


@pytest.mark.parametrize("state", ["none", "nonsense", "expired", "revoked", "elsewhere", "empty"])
def test_no_route_lets_in_a_key_that_is_not_good(world: World, state: str) -> None:
    text: str | None
    match state:
        case "none":
            text = None
        case "expired":
            text = world.key("admin", seconds=1.0)
            world.clock.advance(2.0)
        case "revoked":
            text, key = world.keys.add("gone", "admin", "test")
            world.keys.revoke(key.id)
        case "elsewhere":
            text = world.key("admin", networks=("192.0.2.0/24",))
        case _:
            text = "" if state == "empty" else "hrld_live_12345678_nonsense_00000000"
    wrong = []
    for method, path, scope in routes(world):
        world.clock.advance(60.0)  # so that nobody has to wait for having guessed
        if scope != PUBLIC and ask(world, method, path, text).status_code not in (401, 403):
            wrong.append((method, path))

    assert wrong == []
    assert world.run.acts == []


def test_a_strategy_that_was_killed_is_not_resumed_by_who_may_only_pause(world: World) -> None:
    path = "/api/v1/strategies/trend/resume"
    assert world.ask("POST", path, world.key("trader"), json={"why": "go"}).status_code == 200
    world.model.take(News(state=run_state(scopes=(ScopeState("strategy:trend", "HALTED", "risk", "bad", NOW),))))

    assert world.ask("POST", path, world.key("trader"), json={"why": "go"}).status_code == 403
    assert world.ask("POST", path, world.key("risk"), json={"why": "go"}).status_code == 200


# --- reading


def test_what_is_read_is_what_the_run_said(world: World) -> None:
    key = world.key("viewer")

    assert world.ask("GET", "/api/v1/state", key).json()["equity"] == 10_050.0
    assert world.ask("GET", "/api/v1/positions", key).json()["positions"][0]["profit"] == 50.0
    assert [one["request"]["id"] for one in world.ask("GET", "/api/v1/orders", key).json()["orders"]] == [ORDER.id]
    assert world.ask("GET", "/api/v1/orders/trend-000001", key).json()["broker_id"] == "17"
    assert [one["price"] for one in world.ask("GET", "/api/v1/fills", key).json()["fills"]] == [FILL.price]
    assert world.ask("GET", "/api/v1/plan", key).json() == {"text": "plan of day.toml", "resolved": {"mode": "paper"}}
    series = world.ask("GET", "/api/v1/series/EURUSD?bars=1", key).json()
    assert (series["lines"], series["rows"]) == (["sma(2)"], [[2, 1.1, 1.2, 1.0, 1.15, 6.0, 1.1]])
    measured = world.ask("GET", "/metrics", world.key("metrics")).text
    assert "herald_orders_total 3" in measured
    assert "herald_control_streams 0" in measured
    assert "herald_control_lost_events_total 0" in measured


def test_an_answer_is_made_anew_only_when_there_is_news(world: World) -> None:
    key = world.key("viewer")
    first = world.model.json("state")
    assert world.model.json("state") is first

    world.model.take(News(state=run_state(equity=9_000.0)))

    assert world.ask("GET", "/api/v1/state", key).json()["equity"] == 9_000.0
    assert world.ask("GET", "/api/v1/equity", key).json()["rows"] == [[NOW, 9_000.0, 10_000.0]]


def test_points_of_equity_stay_in_order_when_the_clock_is_set_back(world: World) -> None:
    key = world.key("viewer")
    for seconds in (1, 2, 3, 1):
        world.model.take(News(state=run_state(time=NOW + seconds)))

    assert [NOW, NOW + 1] == [row[0] for row in world.ask("GET", "/api/v1/equity", key).json()["rows"]]


def test_health_and_readiness_follow_the_run(world: World) -> None:
    assert world.ask("GET", "/healthz").status_code == 200
    assert world.ask("GET", "/readyz").status_code == 200
    world.model.take(News(state=run_state(trading="HALTED")))
    assert (world.ask("GET", "/healthz").status_code, world.ask("GET", "/readyz").status_code) == (200, 503)
    world.clock.advance(11.0)
    assert world.ask("GET", "/healthz").status_code == 503


def test_the_log_is_bounded_and_read_from_a_number_on(make: Callable[..., World]) -> None:
    world = make(kept_lines=3)
    world.model.take(News(said=[Said(NOW, level, "Note", level) for level in ("INFO", "WARNING", "ERROR", "INFO")]))
    key = world.key("viewer")

    def numbers(query: str) -> list[int]:
        return [one["number"] for one in world.ask("GET", f"/api/v1/logs{query}", key).json()["lines"]]

    assert numbers("") == [2, 3, 4]
    assert numbers("?after=3") == [4]
    assert numbers("?level=ERROR") == [3]
    assert numbers("?limit=1") == [4]


def test_the_read_model_does_not_grow(make: Callable[..., World]) -> None:
    import msgspec

    from herald.model import OrderStatus

    world = make(kept_orders=10, kept_fills=10, kept_lines=10, chart_bars=10)
    for number in range(10_000):
        request = msgspec.structs.replace(ORDER.request, id=f"trend-{number}")
        ended = msgspec.structs.replace(ORDER, request=request, status=OrderStatus.FILLED)
        line = Said(number, "INFO", "Note", "text")
        world.model.take(News(state=run_state(time=NOW + number), orders=[ended], fills=[FILL], said=[line]))
    key = world.key("viewer")

    assert len(world.ask("GET", "/api/v1/orders?state=ended", key).json()["orders"]) == 10
    assert len(world.ask("GET", "/api/v1/fills", key).json()["fills"]) == 10
    assert len(world.ask("GET", "/api/v1/equity", key).json()["rows"]) <= 4_000


# --- acting


def test_an_order_reaches_the_run_in_the_name_of_its_key(world: World) -> None:
    text, key = world.keys.add("ann", "trader", "test")

    answer = world.ask("POST", "/api/v1/orders", text, json=BODIES["/api/v1/orders"] | {"stop_loss": 1.05})

    assert answer.json() == {"ok": True, "code": "", "text": "done", "order": "manual-000001"}
    act, who, why = world.run.acts[0]
    assert act == PlaceOrder(symbol="EURUSD", side="buy", size=0.1, stop_loss=1.05)
    assert (who, why) == (f"ann (key {key.id})", "test")


def test_kill_flatten_rearm_and_cancel_say_what_they_mean(world: World) -> None:
    key = world.key("admin")
    for path in ("kill", "flatten", "rearm", "orders/trend-000001/cancel", "strategies/trend/pause"):
        assert world.ask("POST", f"/api/v1/{path}", key, json={"why": "test"}).status_code == 200

    assert [act for act, _, _ in world.run.acts] == [
        StopTrading(state="HALTED", cancel_all=True),
        StopTrading(state="HALTED", cancel_all=True, flatten=True),
        ResumeTrading(),
        WithdrawOrder(order="trend-000001"),
        StopTrading(scope="strategy:trend", state="REDUCING"),
    ]


def test_a_refusal_of_the_run_is_a_conflict_with_its_code(world: World) -> None:
    world.run.answer = Done(False, "max_exposure", "too much")
    answer = world.ask("POST", "/api/v1/orders", world.key("trader"), json=BODIES["/api/v1/orders"])

    assert (answer.status_code, answer.json()) == (409, {"error": {"code": "max_exposure", "text": "too much"}})


@pytest.mark.parametrize(("error", "status", "code"), [(TimeoutError(), 504, "no_answer"), (OSError(), 503, "run_over")])
def test_a_run_that_does_not_answer_is_told(world: World, error: Exception, status: int, code: str) -> None:
    world.run.answer = error
    for method, path in (("POST", "/api/v1/orders"), ("POST", "/api/v1/kill")):
        answer = ask(world, method, path, world.key("admin"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_repeated_request_is_done_once(world: World) -> None:
    key, body = world.key("trader"), BODIES["/api/v1/orders"]
    headers = {"Idempotency-Key": "one"}

    answers = [world.ask("POST", "/api/v1/orders", key, json=body, headers=headers).json() for _ in range(3)]
    other = world.ask("POST", "/api/v1/orders", key, json=body | {"size": 0.2}, headers=headers)
    world.ask("POST", "/api/v1/orders", world.local, json=body, headers=headers)

    assert answers[0] == answers[1] == answers[2]
    assert (other.status_code, other.json()["error"]["code"]) == (409, "key_reused")
    assert len(world.run.acts) == 2


def test_a_request_whose_answer_is_lost_is_not_done_again(world: World) -> None:
    world.run.answer = TimeoutError()
    headers = {"Idempotency-Key": "one"}
    first = world.ask("POST", "/api/v1/orders", world.key("trader"), json=BODIES["/api/v1/orders"], headers=headers)
    world.run.answer = Done(True)
    second = world.ask("POST", "/api/v1/orders", world.key("trader"), json=BODIES["/api/v1/orders"], headers=headers)

    assert (first.status_code, second.status_code, len(world.run.acts)) == (504, 504, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1.0},
        {"size": 0},
        {"size": "1"},
        {"size": True},
        {"size": 1e300},
        {"side": "up"},
        {"symbol": ""},
        {"symbol": "x" * 101},
        {"why": ""},
        {"why": "   "},
        {"why": "x" * 1_001},
        {"limit": -1.0},
        {"unknown": 1},
        {"symbol": None},
    ],
)
def test_a_body_that_is_not_valid_says_where_and_reaches_nobody(world: World, change: dict[str, Any]) -> None:
    answer = world.ask("POST", "/api/v1/orders", world.key("trader"), json=BODIES["/api/v1/orders"] | change)

    assert answer.status_code == 422
    assert next(iter(change)) in answer.json()["error"]["text"]
    assert world.run.acts == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"size": NaN}', b"\xff\xfe", b"[" * 30_000, b'{"why": "\\ud800"}'])
def test_a_body_that_is_no_json_of_ours_is_refused(world: World, body: bytes) -> None:
    answer = world.ask("POST", "/api/v1/kill", world.key("admin"), content=body, headers={"content-type": "application/json"})

    assert answer.status_code in (400, 422)
    assert set(answer.json()["error"]) == {"code", "text"}
    assert world.run.acts == []


# --- strangers and browsers


def test_a_large_body_is_refused_whether_it_says_so_or_not(world: World) -> None:
    key = world.key("admin")

    def pieces() -> Any:
        for _ in range(100):
            yield b" " * 1_000

    for content in (b" " * 70_000, pieces()):
        answer = world.ask("POST", "/api/v1/kill", key, content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "127.0.0.1:port", "localhost.:8787", "[::2]:8787"]
)
def test_another_host_name_gets_no_answer(world: World, host: str) -> None:
    answer = world.ask("GET", "/api/v1/state", world.key("viewer"), headers={"host": host})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_host")


@pytest.mark.parametrize("host", ["localhost:8787", "127.0.0.1", "[::1]:9", "LOCALHOST"])
def test_its_own_names_are_answered(world: World, host: str) -> None:
    assert world.ask("GET", "/api/v1/state", world.key("viewer"), headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_site_may_ask_nothing(world: World, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/api/v1/state"), ("POST", "/api/v1/kill"), ("POST", "/api/v1/login")):
        answer = ask(world, method, path, world.key("admin"), headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_origin")
    assert world.run.acts == []


def login(world: World, role: str = "admin") -> str:
    """Log in as a browser does and return the token against forged requests."""
    answer = world.ask("POST", "/api/v1/login", json={"key": world.key(role)}, headers={"origin": ORIGIN})
    assert answer.status_code == 200
    return str(answer.json()["csrf"])


def test_a_session_reads_and_changes_nothing_without_its_token(world: World) -> None:
    csrf = login(world)

    assert world.ask("GET", "/api/v1/state").status_code == 200
    for token in (None, "", "wrong", csrf[:-1]):
        headers = {} if token is None else {"x-csrf-token": token}
        answer = world.ask("POST", "/api/v1/kill", json={"why": "test"}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forged")
    assert world.run.acts == []
    assert world.ask("POST", "/api/v1/kill", json={"why": "test"}, headers={"x-csrf-token": csrf}).status_code == 200


def test_the_cookie_is_for_this_site_and_for_no_script(world: World) -> None:
    answer = world.ask("POST", "/api/v1/login", json={"key": world.key("viewer")})
    cookie = answer.headers["set-cookie"].lower()

    assert cookie.startswith("herald-session=")
    assert {"httponly", "samesite=strict", "path=/"} <= {one.strip() for one in cookie.split(";")}
    assert "domain" not in cookie


def test_with_a_certificate_the_cookie_is_bound_to_the_host_and_to_tls(make: Callable[..., World]) -> None:
    world = make(certificate_file="c.pem", key_file="k.pem")
    answer = world.ask("POST", "/api/v1/login", json={"key": world.key("viewer")})

    assert answer.headers["set-cookie"].startswith("__Host-herald-session=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_who_logs_out_is_out(world: World) -> None:
    csrf = login(world)
    cookie = dict(world.client.cookies)

    assert world.ask("POST", "/api/v1/logout", headers={"x-csrf-token": csrf}).status_code == 200
    world.client.cookies.update(cookie)

    assert world.ask("GET", "/api/v1/state").status_code == 401


def test_every_answer_tells_browsers_to_be_careful(world: World) -> None:
    for path in ("/", "/healthz", "/api/v1/state", "/nowhere", "/static/none.js"):
        headers = world.ask("GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/api/v2/state", "/static/../app.py", "/static/%2e%2e%2fapp.py"]
)
def test_there_is_nothing_else(world: World, path: str) -> None:
    assert world.ask("GET", path, world.key("admin")).status_code == 404


def test_a_run_is_read_from_its_own_folder_only(world: World) -> None:
    folder = world.folder / "runs" / "2026-one"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<script>alert(1)</script>")
    (folder / "manifest.json").write_text(json.dumps({"mode": "paper", "status": "completed"}))
    (world.folder / "report.html").write_text("secret")
    key = world.key("viewer")

    assert world.ask("GET", "/api/v1/runs", key).json()["runs"] == [
        {"name": "2026-one", "report": True, "mode": "paper", "status": "completed"}
    ]
    answer = world.ask("GET", "/api/v1/runs/2026-one/report", key)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    for name in ("..", "none", "%2e%2e", "2026-one%2f..%2f.."):
        assert world.ask("GET", f"/api/v1/runs/{name}/report", key).status_code == 404


# --- streams


def test_a_socket_gets_the_state_first_and_news_afterwards(world: World) -> None:
    headers = {"host": HOST, "authorization": f"Bearer {world.key('viewer')}"}
    with world.client as client, client.websocket_connect("/api/v1/stream", headers=headers) as socket:
        first = json.loads(socket.receive_text())
        assert client.portal is not None
        client.portal.call(world.model.take, News(fills=[FILL]))
        second = json.loads(socket.receive_text())

    assert first["state"]["equity"] == 10_050.0
    assert [one["id"] for one in second["fills"]] == ["1"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}, {"origin": "http://evil.example"}])
def test_a_socket_of_a_stranger_is_closed(world: World, headers: dict[str, str]) -> None:
    from starlette.websockets import WebSocketDisconnect

    with (
        pytest.raises(WebSocketDisconnect) as found,
        world.client.websocket_connect("/api/v1/stream", headers={"host": HOST} | headers),
    ):
        pass
    assert found.value.code == (4403 if "origin" in headers else 4401)
    assert len(world.model.hub) == 0


def test_more_streams_than_may_be_are_refused_and_one_that_lags_is_ended(make: Callable[..., World]) -> None:
    world = make(streams=2)
    first, second = world.model.hub.join(), world.model.hub.join()
    assert first is not None
    assert second is not None
    assert world.model.hub.join() is None
    assert world.ask("GET", "/api/v1/events", world.key("viewer")).status_code == 503
    for _ in range(201):
        world.model.take(News(fills=[FILL]))
        if second.qsize():
            second.get_nowait()

    assert first.qsize() == 1
    assert first.get_nowait() is None
    assert len(world.model.hub) == 1


# --- the description


def test_the_description_names_every_route_and_its_scope(world: World) -> None:
    document = world.ask("GET", "/api/v1/openapi.json", world.key("viewer")).json()
    described = {
        (method.upper(), path): operation.get("x-scope", PUBLIC)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }

    policies = world.app.app.state.policies
    assert described == {pair: scope for pair, scope in policies.items() if pair[0] != "WEBSOCKET"}
    assert json.dumps(document).count("#/components/schemas/")
    names = set(document["components"]["schemas"])
    used = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert used <= names
