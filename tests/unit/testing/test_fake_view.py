"""The fake view answers what it was told."""

from __future__ import annotations

import math

from herald.contracts import RiskView
from herald.model import OrderRequest, Side
from herald.testing import FakeRiskView, make_bars, make_instrument


def test_it_is_a_risk_view() -> None:
    view: RiskView = FakeRiskView()

    assert view.account.equity == 10_000.0


def test_a_symbol_without_a_price_has_none() -> None:
    view = FakeRiskView(prices={})

    assert math.isnan(view.price("TEST"))
    assert view.price_time("TEST") == 0


def test_notional_multiplies_contract_price_and_rate() -> None:
    view = FakeRiskView(prices={"TEST": 2.0}, rates={"TEST": 0.5}, instruments=[make_instrument(contract_size=1_000)])

    assert view.notional("TEST", -3.0) == -3_000.0


def test_equity_of_the_past() -> None:
    view = FakeRiskView(equity=90.0, past={10: 100.0, 20: 120.0})

    assert [100.0, 100.0, 120.0, 120.0] == [view.equity_at(time) for time in (5, 10, 20, 25)]
    assert view.equity_peak() == 120.0


def test_history_is_what_is_known() -> None:
    view = FakeRiskView(series=[make_bars([1, 2, 3])])

    assert [2.0, 3.0] == view.history("TEST", 2).close.tolist()
    assert [1.0, 2.0, 3.0] == view.history("TEST", 9).close.tolist()
    assert len(view.history("OTHER", 9)) == 0


def test_a_smaller_opposite_order_reduces() -> None:
    view = FakeRiskView(held={("trend", "TEST"): -1.0})

    def asks(side: Side, size: float, *, reduce_only: bool = False) -> OrderRequest:
        return OrderRequest("x", "trend", "TEST", side, size, reduce_only=reduce_only)

    assert view.reduces(asks(Side.BUY, 1.0))
    assert not view.reduces(asks(Side.BUY, 1.1))
    assert not view.reduces(asks(Side.SELL, 0.1))
    assert view.reduces(asks(Side.BUY, 5.0, reduce_only=True))
