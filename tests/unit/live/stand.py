"""An engine with a desk and a reconciler around fakes: a spool that keeps at once, a worker that only collects jobs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from herald.components import Services, Settings
from herald.contracts import Capabilities, Strategy
from herald.engine.book import Ledger
from herald.engine.engine import Engine
from herald.engine.feed import Feed
from herald.engine.risk import EquityTrack, View
from herald.live.market import QuotedMarket
from herald.live.messages import Found, Outcome, Snapshot
from herald.live.orders import Account as DeskAccount
from herald.live.orders import Desk
from herald.live.reconcile import External, Reconciler
from herald.live.recovery import Past
from herald.model import (
    Account,
    AccountMode,
    Alert,
    Fill,
    Instrument,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Position,
    Quote,
    Record,
    Side,
    Timeframe,
)
from herald.runtime.building import StrategySetup, enlist
from herald.testing import FakeClock

MINUTE = Timeframe(60)
TABLE = "main"
SYMBOLS = ("EURUSD", "GBPUSD")
INSTRUMENTS = {
    symbol: Instrument(
        symbol=symbol,
        base=symbol[:3],
        quote="USD",
        price_step=1e-5,
        size_step=0.01,
        min_size=0.01,
        max_size=100.0,
        contract_size=100_000.0,
    )
    for symbol in SYMBOLS
}


def account(balance: float = 10_000.0, time: int = 0) -> Account:
    """Return a statement of the account."""
    return Account(
        id="1", server="s", real=False, currency="USD", mode=AccountMode.NETTING, balance=balance, equity=balance,
        margin_used=0.0, margin_free=balance, leverage=100.0, time=time,
    )  # fmt: skip


class Spool:
    """Keeps records at once, or nothing at all."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.trouble = ""
        self.holding: list[Callable[[], None]] | None = None

    def write(self, records: Sequence[Record], *, durable: bool = False, kept: Any = None, failed: Any = None) -> None:
        if self.trouble and failed is not None:
            failed(self.trouble)
            return
        self.records += records
        if kept is not None:
            if self.holding is None:
                kept()
            else:
                self.holding.append(kept)

    def of(self, kind: type) -> list[Any]:
        return [record for record in self.records if type(record) is kind]


class Worker:
    """Collects jobs."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def put(self, job: Any) -> None:
        self.jobs.append(job)

    def take(self, kind: type | None = None) -> list[Any]:
        found = [job for job in self.jobs if kind is None or type(job) is kind]
        self.jobs.clear()
        return found


class Nothing(Settings):
    """No settings."""


class Idle(Strategy[Nothing]):
    """Decides nothing; the tests do."""

    def __init__(self) -> None:
        super().__init__(Nothing(), Services("x", FakeClock(), random.Random(0)))


class Hears:
    """An observer that keeps alerts."""

    events = (Alert,)

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def observe(self, event: Any) -> None:
        self.alerts.append(event)

    def close(self) -> None:
        """Do nothing."""


class Stand:
    """Everything of a live run that decides, and nothing that waits.

    Attributes:
        clock: Of everything; ``monotonic`` follows ``now``.
        ctx: What the strategy ``trend`` sees.
        reductions: Reasons for which only reductions were allowed.
    """

    def __init__(
        self,
        *,
        external: External = "refuse",
        past: Past | None = None,
        resumed: int = 0,
        strategy: Any = None,
        hedging: bool = False,
        **capabilities: Any,
    ) -> None:
        self.clock = FakeClock()
        self.spool, self.worker, self.hears = Spool(), Worker(), Hears()
        self.inbox: list[tuple[str, Outcome]] = []
        self.reductions: list[str] = []
        feeds = [Feed(symbol, MINUTE.span) for symbol in SYMBOLS]
        market = QuotedMarket({feed.symbol: feed for feed in feeds}, INSTRUMENTS, "USD", {}, SYMBOLS, 10**18)
        self.ledger = Ledger(10_000.0)
        track = EquityTrack(self.ledger, market, lambda: feeds[0].series(0).time)
        view = View(self.ledger, market, INSTRUMENTS, account, track)
        self.engine = Engine(self.ledger, market, feeds, view, account)
        self.engine.now = self.clock.now()
        self.engine.observe({"hears": self.hears}, [Alert])
        enlist(self.engine, StrategySetup("trend", strategy or Idle(), SYMBOLS, (MINUTE,)), INSTRUMENTS, feeds, view)
        self.ctx = self.engine.runners[0].context
        for symbol in SYMBOLS:
            market.take(Quote(symbol, self.clock.now(), 1.1, 1.1001))
        promised = {"trading": True, "settle_seconds": 10.0} | capabilities
        self.accounts = {TABLE: DeskAccount(TABLE, self.worker, Capabilities(**promised), lambda: 1, hedging)}
        self.desk = Desk(
            self.engine,
            self.spool,  # type: ignore[arg-type]
            self.clock,
            self.accounts,
            {"trend": TABLE},
            lambda table, outcome: self.inbox.append((table, outcome)),
            lambda request: "permit again",
        )
        self.engine.seal = lambda request: (_tagged(request), "permit")
        self.engine.split = self.desk.parts
        symbols = dict.fromkeys(SYMBOLS, TABLE)
        self.reconciler = Reconciler(self.engine, self.desk, self.accounts, symbols, self.clock, external, self.reductions.append)
        if past is not None:
            for order in past.orders.values():
                self.engine.orders[order.id] = order
                if order.is_working:
                    self.engine.ledger.books["trend", order.request.symbol].working[order.id] = order
            self.desk.remember(past, resumed)

    # --- what a strategy does -------------------------------------------------------------------

    def go(self) -> None:
        """Send what was asked for."""
        self.desk.dispatch(self.engine.take())

    def buy(self, size: float = 0.1, symbol: str = "EURUSD", **terms: Any) -> str:
        """Ask to buy; return the order's name."""
        name = self.ctx.buy(symbol, size, **terms).id
        self.go()
        return name

    def sell(self, size: float = 0.1, symbol: str = "EURUSD", **terms: Any) -> str:
        """Ask to sell; return the order's name."""
        name = self.ctx.sell(symbol, size, **terms).id
        self.go()
        return name

    def close(self, symbol: str = "EURUSD") -> str:
        """Ask to close; return the order's name."""
        order = self.ctx.close(symbol)
        assert order is not None
        self.go()
        return order.id

    def cancel(self, name: str) -> None:
        """Ask to withdraw."""
        self.ctx.cancel(self.order(name))
        self.go()

    # --- what a broker does ---------------------------------------------------------------------

    def outcome(self, name: str, status: OrderStatus | None, action: str = "submit", **fields: Any) -> None:
        """Say what came of a job."""
        self.desk.outcome(TABLE, Outcome(self.clock.now(), name, action, status, **fields))

    def accept(self, name: str, broker_id: str = "") -> None:
        """Confirm an order."""
        self.outcome(name, OrderStatus.ACCEPTED, broker_id=broker_id or f"b{name[-2:]}")

    def lose(self, name: str) -> None:
        """Leave it open what came of an order."""
        self.outcome(name, OrderStatus.UNKNOWN, code="no_answer", text="no answer to submit")

    def fill(self, number: int, name: str, size: float = 0.1, price: float = 1.1, **fields: Any) -> bool:
        """Tell an execution of an order, named as the broker names it."""
        order = self.engine.orders.get(name)
        tag = order.request.client_tag if order is not None and order.request.client_tag else name
        side = fields.pop("side", order.request.side if order is not None else Side.BUY)
        symbol = order.request.symbol if order is not None else "EURUSD"
        fields = {"time": self.clock.now() + number} | fields
        return self.desk.fill(TABLE, Fill(str(number), tag, symbol, side, size, price, 0.0, "USD", **fields))

    def stated(self, name: str, status: OrderStatus, broker_id: str = "", filled: float = 0.0, **terms: Any) -> Order:
        """Return an order as the broker states it."""
        known = self.engine.orders[name].request
        fields: dict[str, Any] = {
            "id": known.client_tag, "strategy": "", "symbol": known.symbol, "side": known.side, "size": known.size,
            "type": known.type, "limit": known.limit, "stop": known.stop, "stop_loss": known.stop_loss,
            "take_profit": known.take_profit, "client_tag": known.client_tag, "reduce_only": known.reduce_only,
        }  # fmt: skip
        request = OrderRequest(**(fields | terms))
        return Order(request, status, self.clock.now(), broker_id or f"b{name[-2:]}", filled, 1.1 if filled else float("nan"))

    def protection(self, parent: str, status: OrderStatus, broker_id: str, kind: str = "sl", level: float = 1.09) -> Order:
        """Return a protective order that the broker made of *parent*, as it states it."""
        known = self.engine.orders[parent].request
        is_stop = kind == "sl"
        request = OrderRequest(
            f"{known.client_tag}.{kind}", "", known.symbol, Side(-known.side), known.size,
            OrderType.STOP if is_stop else OrderType.LIMIT, limit=None if is_stop else level, stop=level if is_stop else None,
            reduce_only=True, parent=known.client_tag,
        )  # fmt: skip
        return Order(request, status, self.clock.now(), broker_id)

    def found(self, name: str, *orders: Order) -> None:
        """Answer a question after an order, asked this very moment."""
        self.desk.found(TABLE, Found(self.clock.now(), name, orders, self.clock.monotonic()))

    def snapshot(
        self,
        positions: Mapping[str, float] = {},
        orders: Sequence[Order] = (),
        fills: Sequence[Fill] = (),
        *,
        first: bool = False,
    ) -> bool:
        """Show the account; return whether it became ready by it."""
        held = tuple(Position(symbol, size, 1.1, 0.0, 1, ()) for symbol, size in positions.items())
        return self.reconciler.snapshot(TABLE, Snapshot(self.clock.now(), account(), held, tuple(orders), tuple(fills), first))

    # --- what is to be seen -----------------------------------------------------------------------

    def order(self, name: str) -> Order:
        """Return an order as the engine knows it."""
        return self.engine.orders[name]

    def status(self, name: str) -> str:
        """Return where an order is."""
        return str(self.order(name).status)

    def size(self, symbol: str = "EURUSD") -> float:
        """Return what the book holds."""
        return self.ledger.books["trend", symbol].size

    @property
    def alerts(self) -> list[str]:
        """Return the codes of the alerts so far."""
        return [alert.code for alert in self.hears.alerts]


def _tagged(request: OrderRequest) -> OrderRequest:
    import msgspec

    return msgspec.structs.replace(request, client_tag=f"tag-{request.id}")
