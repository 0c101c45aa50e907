"""What the tests of the dashboard share: a server with a run that is made up, and a page that notes what should not happen."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from playwright.sync_api import Browser, Page

from herald.clock import SECOND, WallClock
from herald.model import (
    Account,
    AccountMode,
    Act,
    ConnectorState,
    Done,
    Fill,
    Holding,
    Line,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Quote,
    RunState,
    ScopeState,
    Series,
    Side,
    StrategyState,
    Usage,
)
from herald.plugins.control.access import Key, KeyFile, make_key
from herald.plugins.control.app import make_app
from herald.plugins.control.readmodel import ReadModel
from herald.plugins.control.settings import ControlSettings
from herald.plugins.control.wire import Begin, News, Said

NOW = 1_700_000_040 * SECOND
MINUTE = 60 * SECOND
BARS = 240
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1440, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1440, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}


def make_series(symbol: str, bars: int = BARS) -> Series:
    """Return minute bars that go up and down, with an average and an oscillator over them."""
    steps, close = Random(symbol), [1.1]
    while len(close) < bars:  # drawn back to 1.1, where the position and its orders are
        close.append(close[-1] + steps.gauss(0.0, 0.0009) + 0.02 * (1.1 - close[-1]))
    opened = [close[0], *close[:-1]]
    mean = [float("nan")] * 9 + [sum(close[i - 9 : i + 1]) / 10 for i in range(9, bars)]
    swing = [float("nan")] * 14 + [50.0 + 4_000 * (close[i] - mean[i]) for i in range(14, bars)]
    return Series(
        symbol,
        "1m",
        5,
        [NOW - (bars - 1 - i) * MINUTE for i in range(bars)],
        opened,
        [max(a, b) + abs(steps.gauss(0.0, 0.0004)) for a, b in zip(opened, close, strict=True)],
        [min(a, b) - abs(steps.gauss(0.0, 0.0004)) for a, b in zip(opened, close, strict=True)],
        close,
        [round(100.0 + 40 * steps.random()) for i in range(bars)],
        (Line("sma(10)", mean), Line("rsi(14)", swing)),
    )


def make_fills(symbol: str, count: int) -> list[Fill]:
    """Return fills within the bars, bought and sold in turn."""
    sides = (Side.BUY, Side.SELL)
    return [
        Fill(str(i), f"trend-{i:06}", symbol, sides[i % 2], 0.1, 1.1 + 0.0001 * i, 0.35, "USD", NOW - (count - i) * 3 * MINUTE)
        for i in range(count)
    ]


def make_state(symbols: Sequence[str], name: str = "trend", **changes: Any) -> RunState:
    """Return a run with a position in the first symbol, protected by two orders, and a resting order."""
    first = symbols[0]
    account = Account(
        id="1001",
        server="Sim-Demo",
        real=False,
        currency="USD",
        mode=AccountMode.NETTING,
        balance=10_000.0,
        equity=10_050.0,
        margin_used=120.0,
        margin_free=9_930.0,
        leverage=30.0,
        time=NOW,
    )
    resting = OrderRequest("manual-000001", "manual", first, Side.BUY, 0.2, OrderType.LIMIT, 1.05, stop_loss=1.04)
    protective = OrderRequest(
        "x-1", name, first, Side.SELL, 0.1, OrderType.STOP, None, 1.09, reduce_only=True, parent=f"{name}:{first}"
    )
    told: dict[str, Any] = {
        "time": NOW,
        "started": NOW - 3_600 * SECOND,
        "mode": "paper",
        "source": "day.toml",
        "currency": "USD",
        "balance": 10_000.0,
        "equity": 10_050.0,
        "peak": 10_100.0,
        "margin_used": 120.0,
        "margin_free": 9_930.0,
        "trading": "ACTIVE",
        "positions": (Holding(name, first, 0.1, 1.1, 1.105, 50.0, NOW - 900 * SECOND, 1.09, 1.15),),
        "orders": (Order(resting, OrderStatus.ACCEPTED, NOW, "17"), Order(protective, OrderStatus.ACCEPTED, NOW, "18")),
        "strategies": (
            StrategyState(
                name, "strategies.sma_cross", tuple(symbols), ("1m",), "ACTIVE", True, "", 14, 6, 12.5, ("exits.trailing_stop",)
            ),
            StrategyState("manual", "", tuple(symbols), (), "ACTIVE", True),
        ),
        "connectors": (
            ConnectorState(
                "main",
                "simbroker",
                True,
                account,
                {"connectors.main": "healthy", "connectors.main.circuit_breaker": "closed"},
                2,
                0.1,
                0.012,
            ),
        ),
        "limits": (
            Usage("risk.max_drawdown", "drawdown from the peak, of 10 %", 0.0049, 0.1),
            Usage("risk.max_open_orders", "working orders", 25, 30),
        ),
    }
    return RunState(**told | changes)


class Desk:
    """Answers acts as it is told to, and remembers them."""

    def __init__(self) -> None:
        self.acts: list[tuple[Act, str]] = []
        self.answer = Done(True, "", "it is done", "manual-000002")

    async def do(self, act: Act, who: str, why: str) -> Done:
        self.acts.append((act, why))
        return self.answer

    async def metrics(self) -> bytes:
        return b""


class Site:
    """The control server over a run that is made up, at a port of this machine; a context manager that ends it."""

    def __init__(self, folder: Path, symbols: Sequence[str] = ("EURUSD",), **changes: Any) -> None:
        clock = WallClock()
        settings = ControlSettings(requests_per_minute=100_000)
        self.key, name, digest = make_key("local")
        self.keys = KeyFile(folder / "control-keys.json", clock.now)
        self.desk = Desk()
        self.state = changes.pop("state", None) or make_state(symbols)
        begin: dict[str, Any] = {
            "options": {},
            "local": Key(name, "local", "admin", digest, NOW),
            "keys": str(self.keys.path),
            "runs": str(folder / "runs"),
            "version": "0",
            "plan": {"mode": "paper"},
            "plan_text": "plan of day.toml",
            "plugins": [{"name": "simbroker", "distribution": "herald-trading", "version": "0.1.0"}],
            "series": [make_series(symbol) for symbol in symbols],
            "fills": make_fills(symbols[0], 24),
            "state": self.state,
        }
        self.model = ReadModel(Begin(**begin | changes), settings, clock.monotonic)
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        app = make_app(self.model, self.desk, settings, clock, port)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Site:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.model.hub.end)
        self._server.should_exit = True
        self._thread.join(10)
        self._listening.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        await self._server.serve(sockets=[self._listening])

    def call(self, work: Any, *given: Any) -> Any:
        """Do *work* in the server's thread and return what it returns."""

        async def done() -> Any:
            return work(*given)

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(10)

    def tell(self, **news: Any) -> None:
        """Send news, as the run would."""
        if "state" in news:
            self.state = news["state"]
        self.call(self.model.take, News(**news))


def quotes(symbols: Sequence[str], step: int) -> list[Quote]:
    """Return a quote of every symbol, a little after the last bar."""
    return [
        Quote(symbol, NOW + (step % 590 + 1) * SECOND // 10, 1.1 + (step * 7 % 40) * 1e-5, 1.1001 + (step * 7 % 40) * 1e-5)
        for symbol in symbols
    ]


def line(number: int, text: str, level: str = "INFO") -> Said:
    return Said(NOW + number, level, "Noted", text)


def halted(scope: str = "account", why: str = "panic") -> ScopeState:
    return ScopeState(scope, "HALTED", "risk (key 1)", why, NOW)


@dataclass
class Opened:
    """The dashboard in a browser, and everything that should not happen there."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def login(self, key: str) -> None:
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Log in").click()
        self.wait()

    def wait(self) -> None:
        """Wait until everything was fetched and drawn once."""
        self.page.locator("html[data-ready]").wait_for(state="attached")

    def show(self, view: str) -> None:
        """Show the page in another of `VIEWS`."""
        self.page.emulate_media(color_scheme=VIEWS[view]["color_scheme"])
        self.page.set_viewport_size(VIEWS[view]["viewport"])

    def read(self) -> dict[str, Any]:
        """Return what the charts hold, once what has come is drawn."""
        self.page.evaluate(
            "new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 300))"
        )
        told: dict[str, Any] = self.page.evaluate("window.herald.read()")
        return told

    def close(self) -> None:
        self.page.context.close()


def open_dashboard(browser: Browser, address: str, view: str = "light", key: str = "", clock: bool = False) -> Opened:
    """Open the page; log in where a *key* is given; with *clock* its time can be put forward."""
    context = browser.new_context(**VIEWS[view])
    opened = Opened(context.new_page(), address)
    opened.page.set_default_timeout(10_000)
    opened.page.on("console", lambda message: opened.complaints.append(f"{message.type}: {message.text}"))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("dialog", lambda dialog: opened.complaints.append(f"dialog {dialog.message}"))
    ours = urlsplit(address).netloc
    context.on("request", lambda request: opened.elsewhere.append(request.url) if urlsplit(request.url).netloc != ours else None)
    if clock:
        opened.page.clock.install()
    opened.page.goto(address)
    if key:
        opened.login(key)
    return opened
