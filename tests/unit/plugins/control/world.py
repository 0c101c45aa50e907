"""A control server in this process, with a run that is made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

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
    RunState,
    Series,
    Side,
    StrategyState,
)
from herald.plugins.control.access import Key, KeyFile, make_key
from herald.plugins.control.app import make_app
from herald.plugins.control.readmodel import ReadModel
from herald.plugins.control.settings import ControlSettings
from herald.plugins.control.wire import Begin
from herald.testing import FakeClock

NOW = 1_700_000_000_000_000_000
PORT = 8787
ACCOUNT = Account(
    id="1",
    server="here",
    real=False,
    currency="USD",
    mode=AccountMode.NETTING,
    balance=10_000.0,
    equity=10_050.0,
    margin_used=100.0,
    margin_free=9_950.0,
    leverage=30.0,
    time=NOW,
)
ORDER = Order(OrderRequest("trend-000001", "trend", "EURUSD", Side.BUY, 0.1), OrderStatus.ACCEPTED, NOW, "17")
FILL = Fill("1", "trend-000001", "EURUSD", Side.BUY, 0.1, 1.1, 0.5, "USD", NOW)


def run_state(**changes: Any) -> RunState:
    """Return a run that trades."""
    told: dict[str, Any] = {
        "time": NOW,
        "started": NOW - 10**9,
        "mode": "paper",
        "source": "day.toml",
        "currency": "USD",
        "balance": 10_000.0,
        "equity": 10_050.0,
        "peak": 10_060.0,
        "margin_used": 100.0,
        "margin_free": 9_950.0,
        "trading": "ACTIVE",
        "positions": (Holding("trend", "EURUSD", 0.1, 1.1, 1.105, 50.0, NOW),),
        "orders": (ORDER,),
        "strategies": (StrategyState("trend", "strategies.sma_cross", ("EURUSD",), ("1h",), "ACTIVE", True),),
        "connectors": (ConnectorState("main", "simbroker", True, ACCOUNT),),
    }
    return RunState(**told | changes)


class Run:
    """Answers acts as it is told to, and remembers them."""

    def __init__(self) -> None:
        self.acts: list[tuple[Act, str, str]] = []
        self.answer: Done | Exception = Done(True, "", "done", "manual-000001")

    async def do(self, act: Act, who: str, why: str) -> Done:
        """Remember *act*."""
        self.acts.append((act, who, why))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def metrics(self) -> bytes:
        """Return one metric."""
        return b"# TYPE herald_orders_total counter\nherald_orders_total 3\n"


class World:
    """A server, its run, its keys and its clock."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = FakeClock(NOW)
        self.run = Run()
        self.settings = ControlSettings(**settings)
        self.folder = folder
        text, name, digest = make_key("local")
        self.local = text
        self.keys = KeyFile(folder / "control-keys.json", self.clock.now)
        series = Series(
            "EURUSD",
            "1h",
            5,
            [1, 2],
            [1.0, 1.1],
            [1.2, 1.2],
            [0.9, 1.0],
            [1.1, 1.15],
            [5.0, 6.0],
            (Line("sma(2)", [float("nan"), 1.1]),),
        )
        begin = Begin(
            options={},
            local=Key(name, "local", "admin", digest, NOW),
            keys=str(self.keys.path),
            runs=str(folder / "runs"),
            version="0",
            plan={"mode": "paper"},
            plan_text="plan of day.toml",
            plugins=[{"name": "simbroker", "distribution": "herald-trading", "version": "0"}],
            series=[series],
            fills=[FILL],
            state=run_state(),
        )
        self.model = ReadModel(begin, self.settings, self.clock.monotonic)
        self.app = make_app(self.model, self.run, self.settings, self.clock, PORT)
        self.client = TestClient(self.app, base_url=f"http://127.0.0.1:{PORT}", raise_server_exceptions=True)
        self._made: dict[str, str] = {}

    def key(self, role: str, **terms: Any) -> str:
        """Return a key of *role*."""
        if terms:
            return self.keys.add(role, role, "test", **terms)[0]
        if role not in self._made:
            self._made[role] = self.keys.add(role, role, "test")[0]
        return self._made[role]

    def ask(self, method: str, path: str, key: str | None = None, **options: Any) -> Any:
        """Return the response to a request with *key*."""
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return self.client.request(method, path, headers=headers, **options)
