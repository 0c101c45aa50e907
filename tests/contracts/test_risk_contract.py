"""Every built-in risk check keeps the rules of `RiskCheckContract`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from herald.clock import SECOND, parse_time
from herald.components import Component
from herald.contracts import RiskCheck, Standing
from herald.model import Fill, Order, OrderRequest, OrderStatus, OrderType, Quote, Side, Trade
from herald.plugins.risk import herald_risk_checks
from herald.testing import FakeRiskView, RiskCheckContract

COMPONENTS = {component.name: component for component in herald_risk_checks()}


def buy(size: float, symbol: str = "TEST", limit: float | None = None, id: str = "trend-000002") -> OrderRequest:
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    return OrderRequest(id, "trend", symbol, Side.BUY, size, kind, limit)


def exit_of(size: float, symbol: str = "TEST") -> OrderRequest:
    return OrderRequest("trend-000002", "trend", symbol, Side.SELL, size, reduce_only=True)


class OneCheck(RiskCheckContract):
    """A check of one component under an account that has traded a little."""

    def view(self) -> FakeRiskView:
        request = OrderRequest("trend-000001", "trend", "TEST", Side.BUY, 0.5, OrderType.LIMIT, 99.0)
        now = parse_time("2024-01-02T12:00")
        return FakeRiskView(
            now=now,
            equity=9_000.0,
            prices={"TEST": 100.0, "ELSE": 50.0},
            price_times={"ELSE": now - 120 * 1_000_000_000},
            held={("trend", "TEST"): 1.0},
            orders=[Order(request, OrderStatus.ACCEPTED, now)],
            sent=[now],
            past={parse_time("2024-01-02"): 10_000.0},
        )


class TestMaxOrderSize(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["max_order_size"]
    settings = component.settings(lots=2, notional=1_000)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(2.0)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(2.1), buy(2.0, limit=600.0)]


class TestMaxPosition(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["max_position"]
    settings = component.settings(limit=2)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.5), buy(2.0, "ELSE")]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.6), buy(2.1, "ELSE")]


class TestMaxExposure(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["max_exposure"]
    settings = component.settings(symbol_amount=200, total_fraction=0.05)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.5), buy(4.0, "ELSE")]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.6), buy(4.1, "ELSE"), buy(9.0, "ELSE")]


class TestMaxOpenOrders(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["max_open_orders"]
    settings = component.settings(limit=1)
    # A change of the order that works already is no further order.
    allowed: ClassVar[Sequence[OrderRequest]] = [OrderRequest("trend-000001", "trend", "TEST", Side.BUY, 0.6)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]


class TestMaxOpenPositions(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["max_open_positions"]
    settings = component.settings(limit=1)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1, "ELSE")]


class TestMaxDailyLoss(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["max_daily_loss"]
    settings = component.settings(amount=1_500)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.equity = 8_500.0
        return view


class TestMaxDrawdown(TestMaxDailyLoss):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["max_drawdown"]
    settings = component.settings(fraction=0.15)


class TestPriceCollar(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["price_collar"]
    settings = component.settings(fraction=0.1, max_age_seconds=60)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(1.0), buy(1.0, limit=91.0), buy(1.0, "ELSE", limit=50.0)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(1.0, limit=89.0), buy(1.0, "ELSE")]


class TestMaxOrdersPerMinute(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["max_orders_per_minute"]
    settings = component.settings(limit=2)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.sent.append(view.now)
        return view


class TestMaxOrdersPerParent(TestMaxOrdersPerMinute):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["max_orders_per_parent"]
    settings = component.settings(limit=2)

    def bad_view(self) -> FakeRiskView:
        view = super().bad_view()
        view.requests = [(view.now, buy(0.3, id=f"trend-00000{number}")) for number in (3, 4)]
        return view


class TestOrderToFillRatio(TestMaxOrdersPerMinute):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["order_to_fill_ratio"]
    settings = component.settings(ratio=2, min_orders=2)


class TestDuplicateOrder(TestMaxOrdersPerMinute):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["duplicate_order"]
    settings = component.settings()
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1), buy(0.7, id="trend-000005")]

    def bad_view(self) -> FakeRiskView:
        view = super().bad_view()
        view.requests = [(view.now - 3 * SECOND, buy(9.0, id="trend-000005")), (view.now - SECOND, buy(0.1, id="trend-000006"))]
        return view


class TestRepeatedExecution(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["repeated_execution"]
    settings = component.settings(executions=3, seconds=10)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.fills = [
            Fill(f"{n}", f"trend-00000{n}", "TEST", Side.BUY, 0.1, 100.0, 0.0, "USD", view.now - (60 - n) * SECOND)
            for n in range(3)
        ]
        return view


class TestConsecutiveLosses(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["consecutive_losses"]
    settings = component.settings(limit=2)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.trades = [
            Trade("trend", "TEST", Side.BUY, 1.0, 0, 100.0, view.now - SECOND, 99.0, -50.0, 0.0, "trend-000001", "trend-000002")
        ] * 2
        return view


class TestStrategyBudget(TestConsecutiveLosses):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["strategy_budget"]
    settings = component.settings(amount=100)


class TestTradingState(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["trading_state"]
    settings = component.settings()
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1), buy(0.1, "ELSE")]
    words = ("REDUCING", "HALTED")

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.states = {"TEST": "REDUCING", "ELSE": "HALTED"}
        return view


class TestReady(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["ready"]
    settings = component.settings()
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1), buy(0.1, "ELSE")]
    words = ("not ready", "UNKNOWN")

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.unready = {"ELSE"}
        view.orders = [Order(buy(0.5, id="trend-000001", limit=99.0), OrderStatus.UNKNOWN, view.now)]
        return view


class TestStanding(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["standing"]
    settings = component.settings()
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.standing = Standing(disk_free=1e6)
        return view


class TestModeLock(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["mode_lock"]
    settings = component.settings()
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    words = ("not the one that [live] names",)

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.standing = Standing(pinned=False)
        return view


class TestTradable(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["tradable"]
    settings = component.settings(blackout=["Wed 12:00-13:00"])
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]  # 2024-01-02 is a Tuesday
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1), buy(0.1, "NONE")]
    words = ("no terms of 'NONE'",)

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.now = parse_time("2024-01-03T12:30")
        view.unknown = {"NONE"}
        return view


class TestValidTerms(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["valid_terms"]
    settings = component.settings()
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1), buy(0.01, limit=99.99)]
    refused: ClassVar[Sequence[OrderRequest]] = [
        buy(0.001),
        buy(0.105),
        buy(-1.0),
        buy(0.1, limit=99.999995),
        buy(0.1, limit=-1.0),
    ]


class TestStalePrice(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["stale_price"]
    settings = component.settings(max_spread_points=10_000)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1), buy(0.1, "ELSE")]

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        view.quotes = {"TEST": Quote("TEST", view.now, 100.0, 100.2)}
        return view


class TestReduceOnly(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["reduce_only"]
    settings = component.settings()
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(9.0), exit_of(1.0)]
    refused: ClassVar[Sequence[OrderRequest]] = [exit_of(1.1), exit_of(0.1, "ELSE")]


class TestSelfCross(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["self_cross"]
    settings = component.settings(orders="deny")
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.1)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.1), buy(0.1, limit=101.0)]

    def bad_view(self) -> FakeRiskView:
        view = self.view()
        sell = OrderRequest("other-000001", "other", "TEST", Side.SELL, 0.5, OrderType.LIMIT, 99.5)
        view.orders = [Order(sell, OrderStatus.ACCEPTED, view.now)]
        return view


class TestFreeMargin(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["free_margin"]
    settings = component.settings(fraction=0.5)
    # 9,000 of equity, 1,000 of margin held: 3,500 to spend, of which 0.5 lots at 100 are claimed by the working order.
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(34.5)]
    refused: ClassVar[Sequence[OrderRequest]] = [buy(34.6)]

    def view(self) -> FakeRiskView:
        view = super().view()
        view.margin_used, view.leverage = 1_000.0, 1.0
        return view


class TestWorkingNotional(OneCheck):
    component: ClassVar[Component[RiskCheck]] = COMPONENTS["working_notional"]
    settings = component.settings(amount=100)
    allowed: ClassVar[Sequence[OrderRequest]] = [buy(0.5)]  # with the working 0.5 at 99: 99.5
    refused: ClassVar[Sequence[OrderRequest]] = [buy(0.51)]


def test_every_built_in_check_has_a_suite() -> None:
    suites = [value for name, value in globals().items() if name.startswith("Test") and issubclass(value, OneCheck)]

    assert set(COMPONENTS) == {suite.component.name for suite in suites}
    assert len(COMPONENTS) == len(suites)
