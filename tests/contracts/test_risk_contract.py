"""Every built-in risk check keeps the rules of `RiskCheckContract`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from herald.clock import parse_time
from herald.components import Component
from herald.contracts import RiskCheck
from herald.model import Order, OrderRequest, OrderStatus, OrderType, Side
from herald.plugins.risk import herald_risk_checks
from herald.testing import FakeRiskView, RiskCheckContract

COMPONENTS = {component.name: component for component in herald_risk_checks()}


def buy(size: float, symbol: str = "TEST", limit: float | None = None) -> OrderRequest:
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    return OrderRequest("trend-000002", "trend", symbol, Side.BUY, size, kind, limit)


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


def test_every_built_in_check_has_a_suite() -> None:
    suites = {
        value.component.name for name, value in globals().items() if name.startswith("TestMax") or name == "TestPriceCollar"
    }

    assert set(COMPONENTS) == suites
