"""What holds for every limit, account and request: nothing passes beyond a limit, and a looser limit refuses no more."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herald.clock import DAY, MINUTE, SECOND, parse_time
from herald.contracts import RiskCheck, Standing
from herald.model import Fill, Instrument, Order, OrderRequest, OrderStatus, OrderType, Quote, Side, Trade
from herald.plugins.risk import herald_risk_checks
from herald.testing import FakeRiskView, make_services

COMPONENTS = {component.name: component for component in herald_risk_checks()}
NOW = parse_time("2024-01-02T12:00")
SYMBOLS = ("AAA", "BBB")
NAMES = ("one", "two")
TOLERANCE = 1e-6
"""Sums are taken in another order here than in the checks; sizes and prices have at most eight digits."""


def build(name: str, **settings: Any) -> RiskCheck:
    component = COMPONENTS[name]
    return component.build(component.settings(**settings), make_services())


LOTS = st.integers(1, 1_000).map(lambda steps: steps / 100)
PRICES = st.integers(5_000, 15_000).map(lambda steps: steps / 100)
SIDES = st.sampled_from(list(Side))


@st.composite
def requests(draw: st.DrawFn, id: str = "one-000099") -> OrderRequest:
    limit = draw(st.none() | PRICES)
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    strategy = draw(st.sampled_from(NAMES))
    return OrderRequest(
        id,
        strategy,
        draw(st.sampled_from(SYMBOLS)),
        draw(SIDES),
        draw(LOTS),
        kind,
        limit,
        reduce_only=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def views(draw: st.DrawFn) -> FakeRiskView:
    orders = [Order(draw(requests(f"one-{n:06d}")), OrderStatus.ACCEPTED, 0) for n in range(draw(st.integers(0, 4)))]
    ages = st.integers(0, 2 * DAY // SECOND)
    times = sorted(NOW - age * SECOND for age in draw(st.lists(ages, max_size=12)))
    fills = [
        Fill(f"{n}", f"{draw(st.sampled_from(NAMES))}-{n:06d}", "AAA", Side.BUY, 1.0, 100.0, 0.0, "USD", time)
        for n, time in enumerate(times)
    ]
    trades = [
        Trade(
            draw(st.sampled_from(NAMES)), "AAA", Side.BUY, 1.0, 0, 100.0, time, 100.0, draw(st.integers(-200, 100)), 0.0, "a", "b"
        )
        for time in times
    ]
    return FakeRiskView(
        now=NOW,
        equity=draw(st.integers(1, 50_000)),
        prices={symbol: draw(PRICES) for symbol in SYMBOLS},
        price_times={symbol: NOW - draw(st.integers(0, 10)) * SECOND for symbol in SYMBOLS},
        held={(name, symbol): draw(st.integers(-500, 500)) / 100 for name in NAMES for symbol in SYMBOLS},
        orders=orders,
        sent=times,
        changed=draw(st.lists(st.sampled_from([NOW - 2 * DAY, NOW - DAY, NOW - DAY + 1, NOW]), max_size=6)),
        past={NOW - 2 * DAY: draw(st.integers(1, 50_000)), NOW - MINUTE: draw(st.integers(1, 50_000))},
        margin_used=draw(st.integers(0, 2_000)),
        leverage=draw(st.sampled_from([1.0, 10.0])),
        fills=fills,
        trades=trades,
        requests=[(time, draw(requests(f"two-{n:06d}"))) for n, time in enumerate(times)],
        quotes=[Quote(symbol, NOW, 100.0, 100.0 + draw(st.integers(-5, 300)) / 100) for symbol in SYMBOLS],
        standing=Standing(disk_free=draw(st.floats(0, 2e8)), clock_skew=draw(st.floats(0, 4))),
    )


def entries(view: FakeRiskView, request: OrderRequest) -> list[Order]:
    return [order for order in view.orders if not order.request.reduce_only and order.request.id != request.id]


def at(request: OrderRequest, view: FakeRiskView) -> float:
    return view.price(request.symbol) if request.limit is None else request.limit


# Each says, in the plainest way, how much there would be of what a check limits.


def order_size(request: OrderRequest, view: FakeRiskView) -> float:
    return request.size


def order_value(request: OrderRequest, view: FakeRiskView) -> float:
    return request.size * at(request, view)


def book(request: OrderRequest, view: FakeRiskView) -> float:
    held = view.held[request.strategy, request.symbol] * request.side
    same = [
        o
        for o in entries(view, request)
        if (o.request.strategy, o.request.symbol, o.request.side) == (request.strategy, request.symbol, request.side)
    ]
    return held + request.size + sum(o.remaining for o in same)


def symbol_net(request: OrderRequest, view: FakeRiskView) -> float:
    held = sum(size for (_, symbol), size in view.held.items() if symbol == request.symbol) * request.side
    same = [o for o in entries(view, request) if (o.request.symbol, o.request.side) == (request.symbol, request.side)]
    return held + request.size + sum(o.remaining for o in same)


def total_value(request: OrderRequest, view: FakeRiskView) -> float:
    asked = [(o.request, o.remaining) for o in entries(view, request)] + [(request, request.size)]
    total = 0.0
    for (name, symbol), held in view.held.items():
        mine = [(one.side, size) for one, size in asked if (one.strategy, one.symbol) == (name, symbol)]
        up = held + sum(size for side, size in mine if side is Side.BUY)
        down = held - sum(size for side, size in mine if side is Side.SELL)
        total += max(abs(held), abs(up), abs(down)) * view.price(symbol)
    return total


def total_fraction(request: OrderRequest, view: FakeRiskView) -> float:
    return total_value(request, view) / view.equity


def working_value(request: OrderRequest, view: FakeRiskView) -> float:
    return request.size * at(request, view) + sum(o.remaining * at(o.request, view) for o in entries(view, request))


def open_orders(request: OrderRequest, view: FakeRiskView) -> float:
    return len([order for order in view.orders if order.id != request.id]) + 1


def open_positions(request: OrderRequest, view: FakeRiskView) -> float:
    books = {key for key, size in view.held.items() if size} | {
        (o.request.strategy, o.request.symbol) for o in entries(view, request)
    }
    mine = (request.strategy, request.symbol)
    return 0 if mine in books else len(books) + 1


def minute(request: OrderRequest, view: FakeRiskView) -> float:
    return len([time for time in view.sent if time > NOW - MINUTE]) + 1


def day(request: OrderRequest, view: FakeRiskView) -> float:
    return len([time for time in view.sent if time > NOW - DAY]) + 1


def messages_of_a_day(request: OrderRequest, view: FakeRiskView) -> float:
    return len([time for time in (*view.sent, *view.changed) if time > NOW - DAY]) + 1


def children(request: OrderRequest, view: FakeRiskView) -> float:
    mine = (request.strategy, request.symbol)
    return len([one for time, one in view.requests if time == NOW and (one.strategy, one.symbol) == mine]) + 1


def distance(request: OrderRequest, view: FakeRiskView) -> float:
    return 0.0 if request.limit is None else abs(request.limit / view.price(request.symbol) - 1)


def age(request: OrderRequest, view: FakeRiskView) -> float:
    quote = view.quotes[request.symbol]
    if quote.ask < quote.bid:  # refused at any age
        return math.inf
    return (NOW - view.price_times[request.symbol]) / SECOND


def spread(request: OrderRequest, view: FakeRiskView) -> float:
    quote = view.quotes[request.symbol]
    return math.inf if quote.ask < quote.bid else (quote.ask - quote.bid) / quote.bid


def day_loss(request: OrderRequest, view: FakeRiskView) -> float:
    return math.nextafter(view.past[NOW - 2 * DAY] - view.equity, math.inf)  # reaching the limit is enough


def drawdown(request: OrderRequest, view: FakeRiskView) -> float:
    return math.nextafter(1 - view.equity / max(*view.past.values(), view.equity), math.inf)


def own_loss(request: OrderRequest, view: FakeRiskView) -> float:
    return math.nextafter(-sum(trade.net for trade in view.trades if trade.strategy == request.strategy), math.inf)


def skew(request: OrderRequest, view: FakeRiskView) -> float:
    return view.standing.clock_skew


def run_of_losses(request: OrderRequest, view: FakeRiskView) -> float:
    count = 0
    for trade in view.trades:
        if trade.strategy == request.strategy:
            count = count + 1 if trade.net < 0 else 0
    last = max((trade.exit_time for trade in view.trades if trade.strategy == request.strategy), default=0)
    return count + 1 if NOW - last < DAY else 0


CASES: list[tuple[str, str, dict[str, Any], Callable[[OrderRequest, FakeRiskView], float], st.SearchStrategy[Any]]] = [
    ("max_order_size", "lots", {}, order_size, LOTS),
    ("max_order_size", "notional", {}, order_value, st.integers(1, 2_000)),
    ("max_position", "limit", {}, book, LOTS),
    ("max_position", "symbol_net", {}, symbol_net, LOTS),
    ("max_exposure", "total_amount", {}, total_value, st.integers(1, 10_000)),
    ("max_exposure", "total_fraction", {}, total_fraction, st.floats(0.01, 20)),
    ("working_notional", "amount", {}, working_value, st.integers(1, 6_000)),
    ("max_open_orders", "limit", {}, open_orders, st.integers(1, 6)),
    ("max_open_positions", "limit", {}, open_positions, st.integers(1, 6)),
    ("max_orders_per_minute", "limit", {}, minute, st.integers(1, 6)),
    ("max_orders_per_minute", "per_day", {"limit": 1_000}, day, st.integers(1, 12)),
    ("max_orders_per_minute", "messages_per_day", {"limit": 1_000}, messages_of_a_day, st.integers(1, 12)),
    ("max_orders_per_parent", "limit", {}, children, st.integers(1, 3)),
    ("price_collar", "fraction", {}, distance, st.floats(0.01, 2)),
    ("stale_price", "max_age_seconds", {"max_spread_fraction": 9}, age, st.floats(0.5, 10)),
    ("stale_price", "max_spread_fraction", {"max_age_seconds": 99}, spread, st.floats(0.0001, 0.05)),
    ("max_daily_loss", "amount", {}, day_loss, st.integers(1, 50_000)),
    ("max_drawdown", "fraction", {}, drawdown, st.floats(0.001, 1)),
    ("strategy_budget", "amount", {}, own_loss, st.integers(1, 2_000)),
    ("standing", "max_clock_skew_seconds", {"min_disk_bytes": 0}, skew, st.floats(0.1, 4)),
    ("consecutive_losses", "limit", {}, run_of_losses, st.integers(1, 6)),
]


@pytest.mark.parametrize(("name", "key", "others", "measure", "limits"), CASES, ids=[f"{name}.{key}" for name, key, *_ in CASES])
@settings(max_examples=50)
@given(data=st.data())
def test_a_request_passes_up_to_the_limit_and_not_beyond(
    name: str,
    key: str,
    others: dict[str, Any],
    measure: Callable[[OrderRequest, FakeRiskView], float],
    limits: st.SearchStrategy[Any],
    data: st.DataObject,
) -> None:
    request, view, limit = data.draw(requests()), data.draw(views()), data.draw(limits)
    if name == "strategy_budget":
        view.held = {}

    passed = build(name, **others, **{key: limit}).check(request, view) is None

    found = measure(request, view)
    if abs(found - limit) > TOLERANCE * max(1.0, abs(limit)) or isinstance(limit, int):
        assert (found <= limit) == passed, (found, limit)


@pytest.mark.parametrize(
    ("name", "key", "others", "limits"), [(name, key, others, limits) for name, key, others, _, limits in CASES]
)
@settings(max_examples=25)
@given(data=st.data())
def test_a_looser_limit_refuses_nothing_that_a_tighter_one_lets_pass(
    name: str, key: str, others: dict[str, Any], limits: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    request, view = data.draw(requests()), data.draw(views())
    tight, loose = sorted((data.draw(limits), data.draw(limits)))

    if build(name, **others, **{key: tight}).check(request, view) is None:
        assert build(name, **others, **{key: loose}).check(request, view) is None


@given(requests(), views(), st.floats(0, 0.9), st.floats(0, 0.9))
def test_more_margin_to_keep_free_never_lets_more_pass(request: OrderRequest, view: FakeRiskView, one: float, two: float) -> None:
    less, more = sorted((one, two))

    if build("free_margin", fraction=more).check(request, view) is None:
        assert build("free_margin", fraction=less).check(request, view) is None


@given(requests(), views(), st.floats(0, 0.9))
def test_what_passes_leaves_the_margin_free(request: OrderRequest, view: FakeRiskView, fraction: float) -> None:
    held = view.held[request.strategy, request.symbol]
    added = max(abs(held + request.side * request.size) - abs(held), 0.0) * view.price(request.symbol)
    works = sum(order.remaining * view.price(order.request.symbol) for order in entries(view, request))
    left = view.equity - view.margin_used - (added + works) / view.leverage

    passed = build("free_margin", fraction=fraction).check(request, view) is None

    if abs(left - fraction * view.equity) > TOLERANCE * 1e4:
        assert (left >= fraction * view.equity) == passed


@given(requests(), st.floats(-2.0, 20.0), st.integers(1, 100), st.integers(1, 100))
def test_valid_terms_pass_exactly_on_the_grid(request: OrderRequest, size: float, step: int, least: int) -> None:
    terms = Instrument(
        symbol=request.symbol, quote="USD", price_step=0.01, size_step=step / 100, min_size=least / 100, max_size=10.0
    )
    view = FakeRiskView(now=NOW, instruments=[terms])
    check = build("valid_terms")

    for lots in (size, terms.round_size(size), request.size):
        asked = OrderRequest("a-1", "a", request.symbol, request.side, lots, request.type, request.limit)
        on_grid = math.isclose(lots * 100 / step, round(lots * 100 / step), abs_tol=1e-4)
        assert (least / 100 <= lots <= 10.0 and lots > 0 and on_grid) == (check.check(asked, view) is None)


@given(requests(), views())
def test_reduce_only_never_turns_a_position(request: OrderRequest, view: FakeRiskView) -> None:
    held = view.held[request.strategy, request.symbol]

    if build("reduce_only").check(request, view) is None and request.reduce_only:
        after = held + request.side * request.size
        assert abs(after) < abs(held)
        assert after * held >= -1e-9


@given(views(), st.sampled_from(NAMES), st.integers(2, 5), st.integers(1, 100_000))
def test_a_strategy_is_disabled_when_and_only_when_a_window_holds_the_executions(
    view: FakeRiskView, name: str, count: int, seconds: int
) -> None:
    times = [fill.time for fill in view.fills if fill.order_id.startswith(name)]
    burst = any(times[n + count - 1] - times[n] < seconds * SECOND for n in range(len(times) - count + 1))
    request = OrderRequest(f"{name}-000099", name, "BBB", Side.BUY, 1.0)

    denial = build("repeated_execution", executions=count, seconds=seconds).check(request, view)

    assert burst == (denial is not None)


@given(requests(), views(), st.floats(0.5, 200_000))
def test_a_duplicate_is_found_when_and_only_when_there_is_one(request: OrderRequest, view: FakeRiskView, seconds: float) -> None:
    def same(one: OrderRequest) -> bool:
        return (one.strategy, one.symbol, one.side, one.size, one.limit) == (
            request.strategy,
            request.symbol,
            request.side,
            request.size,
            request.limit,
        )

    since = NOW - round(seconds * SECOND)
    expected = any(time > since and same(one) for time, one in view.requests)

    assert expected == (build("duplicate_order", seconds=seconds).check(request, view) is not None)
