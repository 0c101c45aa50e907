"""How long orders and messages take, as a desk and a driver tell it."""

from __future__ import annotations

import pytest

from herald.live import timing
from herald.live.timing import Times
from herald.model import OrderRequest, OrderType, Side
from herald.testing import FakeMetrics

ORDER = OrderRequest("trend-000001", "trend", "EURUSD", Side.BUY, 0.5)
LIMIT = OrderRequest("trend-000002", "trend", "EURUSD", Side.BUY, 0.5, type=OrderType.LIMIT, limit=1.0)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds = [100.0]
    monkeypatch.setattr(timing, "stopwatch", lambda: seconds[0])
    return seconds


def test_from_the_decision_to_the_first_execution_by_type(now: list[float]) -> None:
    kept = FakeMetrics()
    times = Times(kept)

    times.asked(ORDER)
    times.asked(LIMIT)
    now[0] = 100.5
    times.filled(ORDER.id)
    now[0] = 103.0
    times.filled(LIMIT.id)
    times.filled(LIMIT.id)  # the rest of it: the first one counts
    times.filled("somebody-else")

    assert [0.5] == kept.observed("order_to_fill_seconds", type="market")
    assert [3.0] == kept.observed("order_to_fill_seconds", type="limit")


def test_an_order_that_ended_unfilled_counts_for_nothing(now: list[float]) -> None:
    kept = FakeMetrics()
    times = Times(kept)

    times.asked(ORDER)
    times.ended(ORDER.id)
    times.filled(ORDER.id)

    assert [] == kept.observed("order_to_fill_seconds", type="market")


def test_only_an_order_that_a_message_caused_has_a_time_from_tick_to_order(now: list[float]) -> None:
    kept = FakeMetrics()
    times = Times(kept)

    times.sent(0.0)
    now[0] = 100.002
    times.sent(100.0)

    assert [pytest.approx(0.002)] == kept.observed("tick_to_order_seconds")


def test_what_is_waited_for_is_bounded(monkeypatch: pytest.MonkeyPatch, now: list[float]) -> None:
    monkeypatch.setattr(timing, "_MOST", 2)
    kept = FakeMetrics()
    times = Times(kept)

    for number in range(3):
        times.asked(OrderRequest(f"trend-{number}", "trend", "EURUSD", Side.BUY, 0.5))
    for number in range(3):
        times.filled(f"trend-{number}")

    assert [0.0, 0.0] == kept.observed("order_to_fill_seconds", type="market")
