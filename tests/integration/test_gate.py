"""The gate in whole runs: every check lets pass what it should, refuses what it must, and is missed when it is gone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from herald.components import Services
from herald.contracts import Context, Denial, RiskCheck, RiskView, Standing, Strategy
from herald.host.plan import load_plan
from herald.model import Bar, BarSeries, Instrument, OrderRequest, OrderStatus, Quote, Side, Timeframe
from herald.plugins.risk import herald_risk_checks, herald_risk_profiles
from herald.results import RunResult
from herald.runtime import StrategySetup, run_backtest, simulate
from herald.testing import FakeRiskView, make_bars, make_instrument, make_services

COMPONENTS = {component.name: component for component in herald_risk_checks()}
FLAT = [100.0] * 12


# --- a run with facts that a backtest does not have -----------------------------------------------


@dataclass
class Facts:
    """What a live run would tell the gate; a script changes it while the run goes on."""

    state: str = "ACTIVE"
    ready: bool = True
    stands: Standing = field(default_factory=Standing)
    quotes: dict[str, tuple[float, float]] = field(default_factory=dict)
    time: int = 0

    def standing(self) -> Standing:
        return self.stands

    def trading_state(self, strategy: str, symbol: str) -> str:
        return self.state

    def is_ready(self, symbol: str) -> bool:
        return self.ready

    def last_quote(self, symbol: str) -> Quote | None:
        stated = self.quotes.get(symbol)
        return None if stated is None else Quote(symbol, self.time, *stated)


class Plug:
    """Stands first in the gate, refuses nothing, and tells the view the facts."""

    exempts_reductions = False

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        view.live = self.facts  # type: ignore[attr-defined]
        self.facts.time = view.now
        return None


Act = Callable[[Context], Any]


class Script(Strategy[None]):
    """Does what is written for each bar of its first symbol."""

    def __init__(self, acts: Mapping[int, Sequence[Act]]) -> None:
        super().__init__(None, make_services())
        self.acts = acts
        self.bars = -1

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if bar.symbol == ctx.symbols[0]:
            self.bars += 1
            for act in self.acts.get(self.bars, ()):
                act(ctx)


def buy(size: float, symbol: str = "TEST", **terms: Any) -> Act:
    return lambda ctx: ctx.buy(symbol, size, **terms)


def sell(size: float, symbol: str = "TEST", **terms: Any) -> Act:
    return lambda ctx: ctx.sell(symbol, size, **terms)


def close(symbol: str = "TEST") -> Act:
    return lambda ctx: ctx.close(symbol)


def trade(
    check: RiskCheck | Sequence[RiskCheck],
    acts: Mapping[int, Sequence[Act]],
    series: BarSeries | Sequence[BarSeries] | None = None,
    *,
    facts: Facts | None = None,
    instruments: Sequence[Instrument] = (),
    **options: Any,
) -> RunResult:
    bars = [make_bars(FLAT)] if series is None else [series] if isinstance(series, BarSeries) else list(series)
    terms = {one.symbol: make_instrument(one.symbol) for one in bars} | {one.symbol: one for one in instruments}
    checks = [check] if not isinstance(check, Sequence) else list(check)
    if facts is not None:
        checks.insert(0, Plug(facts))
    setup = StrategySetup(
        "trend",
        Script(acts),
        tuple(one.symbol for one in bars),
        (Timeframe(3_600),),
        checks=tuple((f"risk[{index}]", one) for index, one in enumerate(checks)),
    )
    result = simulate([setup], bars, terms, **{"on_stop": "leave"} | options)
    assert not result.failures, result.failures[0].traceback
    return result


def codes(result: RunResult) -> list[str]:
    """Return the code of each refusal and nothing for what passed, in the order of the requests."""
    return [order.code for order in result.orders if "." not in order.id]


def build(name: str, services: Services | None = None, **settings: Any) -> RiskCheck:
    component = COMPONENTS[name]
    return component.build(component.settings(**settings), services or make_services())


# --- one scene a check ----------------------------------------------------------------------------


def trading_state() -> None:
    facts = Facts()
    script = {
        0: [buy(1.0)],
        1: [lambda ctx: setattr(facts, "state", "REDUCING"), buy(1.0), sell(0.5)],
        2: [lambda ctx: setattr(facts, "state", "HALTED"), sell(0.5)],
        3: [lambda ctx: setattr(facts, "state", "ACTIVE"), buy(1.0)],
    }

    assert ["", "trading_state", "", "trading_state", ""] == codes(trade(build("trading_state"), script, facts=facts))


def tradable() -> None:
    # Bars end at 01:00, 02:00 ... on a Monday. In New York it is five hours earlier.
    terms = make_instrument()
    hours = Instrument(**{name: getattr(terms, name) for name in terms.__struct_fields__} | {"sessions": ("Mon 00:00-05:00",)})
    check = build("tradable", blackout=["Sun 21:30-22:30"], zone="America/New_York")
    script = {0: [buy(1.0)], 1: [buy(1.0)], 2: [buy(1.0), sell(0.5)], 3: [buy(1.0)], 4: [buy(1.0), close()]}

    assert ["", "", "tradable", "", "", "tradable", ""] == codes(trade(check, script, instruments=[hours]))


def valid_terms() -> None:
    near = Instrument(symbol="TEST", quote="USD", price_step=0.01, size_step=0.01, min_size=0.01, stops_level=100)
    script = {0: [buy(1.0, stop_loss=99.01), buy(1.0, stop_loss=99.0), buy(1.0, limit=99.5)]}

    assert ["valid_terms", "", "valid_terms"] == codes(trade(build("valid_terms"), script, instruments=[near]))


def max_order_size() -> None:
    assert ["", "max_order_size"] == codes(trade(build("max_order_size", lots=2.0), {0: [buy(2.0), buy(2.01)]}))


def price_collar() -> None:
    script = {0: [buy(1.0, limit=90.0), buy(1.0, limit=89.9), sell(1.0, stop=89.0)]}

    assert ["", "price_collar", "price_collar"] == codes(trade(build("price_collar", fraction=0.1), script))


def stale_price() -> None:
    facts = Facts()
    script = {
        1: [buy(1.0, "ELSE")],
        2: [buy(1.0, "ELSE"), buy(1.0)],
        3: [lambda ctx: facts.quotes.update(TEST=(100.1, 100.0)), buy(1.0)],
        4: [lambda ctx: facts.quotes.update(TEST=(100.0, 102.0)), buy(1.0), close()],
        5: [lambda ctx: facts.quotes.update(TEST=(100.0, 100.1)), buy(1.0)],
    }
    series = [make_bars(FLAT), make_bars(FLAT[:1], symbol="ELSE")]  # ELSE falls silent after 01:00, its next bar is due at 02:00

    found = codes(trade(build("stale_price"), script, series, facts=facts))
    assert ["", "stale_price", "", "stale_price", "stale_price", "", ""] == found


def max_position() -> None:
    assert ["", "", "max_position"] == codes(trade(build("max_position", limit=2.0), {0: [buy(1.0), buy(1.0), buy(0.01)]}))


def max_exposure() -> None:
    check = build("max_exposure", total_fraction=1.0)

    assert ["", "max_exposure"] == codes(trade(check, {0: [buy(100.0)], 1: [buy(1.0)]}))


def free_margin() -> None:
    # 10,000 without leverage: 40 lots hold 4,000, 11 more would leave 4,900 where 5,000 must stay
    script = {0: [buy(40.0)], 1: [buy(11.0), buy(10.0)]}

    assert ["", "free_margin", ""] == codes(trade(build("free_margin", fraction=0.5), script, leverage=1.0))


def max_open_orders() -> None:
    assert ["", "max_open_orders"] == codes(
        trade(build("max_open_orders", limit=1), {0: [buy(1.0, limit=90.0), buy(1.0, limit=91.0)]})
    )


def max_open_positions() -> None:
    series = [make_bars(FLAT), make_bars(FLAT, symbol="ELSE")]

    found = codes(trade(build("max_open_positions", limit=1), {0: [buy(1.0)], 2: [buy(1.0), buy(1.0, "ELSE")]}, series))
    assert ["", "", "max_open_positions"] == found


def max_orders_per_parent() -> None:
    found = codes(
        trade(
            build("max_orders_per_parent", limit=3, per_tag=4), {0: [buy(1.0, tag="parent")] * 5, 1: [buy(1.0, tag="parent")] * 2}
        )
    )

    assert ["", "", "", *["max_orders_per_parent"] * 2, "", "max_orders_per_parent"] == found


def max_orders_per_minute() -> None:
    check = build("max_orders_per_minute", limit=2, per_day=3)

    assert ["", "", "max_orders_per_minute", "", "max_orders_per_minute"] == codes(
        trade(check, {0: [buy(1.0)] * 3, 1: [buy(1.0)] * 2})
    )
    messages = build("max_orders_per_minute", limit=100, messages_per_second=4)
    assert ["", "max_orders_per_minute"] == codes(trade(messages, {0: [one_after_the_other]}))


def one_after_the_other(ctx: Context) -> None:
    """Place, change twice and withdraw, then place again: the fifth message."""
    order = ctx.buy("TEST", 1.0, limit=90.0)
    for limit in (91.0, 92.0):
        ctx.modify(order, limit=limit)
    ctx.cancel(order)
    ctx.buy("TEST", 1.0, limit=80.0)


def order_to_fill_ratio() -> None:
    check = build("order_to_fill_ratio", ratio=2, min_orders=3)
    script = {0: [buy(1.0, limit=90.0 - n) for n in range(4)], 1: [buy(1.0, limit=80.0)]}

    assert ["", "", "", "order_to_fill_ratio", "order_to_fill_ratio"] == codes(trade(check, script))


def duplicate_order() -> None:
    script = {0: [buy(1.0), buy(1.0), buy(1.1), buy(1.0, limit=99.0), sell(1.0)], 1: [buy(1.0)]}

    assert ["", "duplicate_order", "", "", "", ""] == codes(trade(build("duplicate_order"), script))


def repeated_execution() -> None:
    check = build("repeated_execution", executions=2, seconds=7_200)
    script = {0: [buy(1.0)], 1: [buy(1.0)], 2: [buy(1.0)], 3: [sell(0.5)], 9: [buy(1.0), close()], 10: [buy(1.0)]}

    found = codes(trade(check, script))
    assert ["", "", "repeated_execution", "", "repeated_execution", "", "repeated_execution"] == found


def max_daily_loss() -> None:
    # 100 lots lose 3 each: 300 of 10,000
    found = codes(
        trade(
            build("max_daily_loss", fraction=0.03),
            {0: [buy(100.0)], 3: [buy(1.0), close()]},
            make_bars([100.0, 100.0, 98.0, 97.0, 97.0]),
        )
    )

    assert ["", "max_daily_loss", ""] == found


def max_drawdown() -> None:
    rise_and_fall = make_bars([100.0, 100.0, 110.0, 99.0, 99.0])

    found = codes(
        trade(build("max_drawdown", fraction=0.1), {0: [buy(100.0)], 2: [buy(1.0)], 3: [buy(1.0), close()]}, rise_and_fall)
    )
    assert ["", "", "max_drawdown", ""] == found


FALL = [100.0 - n for n in range(12)]


def consecutive_losses() -> None:
    check = build("consecutive_losses", limit=2, pause_seconds=4 * 3_600)
    script = {0: [buy(1.0)], 1: [close()], 2: [buy(1.0)], 3: [close()], 5: [buy(1.0)], 8: [buy(1.0)]}

    # The second loss is closed at the open of the bar that ends at 05:00: the pause is over before 09:00.
    assert ["", "", "", "", "consecutive_losses", ""] == codes(trade(check, script, make_bars(FALL)))


def strategy_budget() -> None:
    script = {0: [buy(10.0)], 2: [buy(1.0)], 4: [buy(1.0), close()], 6: [buy(1.0)]}

    found = codes(trade(build("strategy_budget", amount=30.0), script, make_bars(FALL)))
    assert ["", "", "strategy_budget", "", "strategy_budget"] == found


def reduce_only() -> None:
    script = {0: [buy(1.0)], 1: [sell(1.01, reduce_only=True), sell(0.6, reduce_only=True), sell(0.5, reduce_only=True)]}

    assert ["", "reduce_only", "", "reduce_only"] == codes(trade(build("reduce_only"), script))


def self_cross() -> None:
    script = {0: [sell(1.0, limit=100.5), buy(1.0), buy(1.0, limit=100.5)]}

    assert ["", "", "self_cross"] == codes(trade(build("self_cross", orders="deny"), script))


def ready() -> None:
    facts = Facts()
    script = {
        0: [buy(1.0)],
        1: [lambda ctx: setattr(facts, "ready", False), buy(1.0), sell(0.5)],
        2: [lambda ctx: setattr(facts, "ready", True), buy(1.0)],
    }

    assert ["", "ready", "", ""] == codes(trade(build("ready"), script, facts=facts))


def standing() -> None:
    facts = Facts()
    script = {
        0: [buy(1.0)],
        1: [lambda ctx: setattr(facts, "stands", Standing(journal=False)), buy(1.0), sell(0.5)],
        2: [lambda ctx: setattr(facts, "stands", Standing(disk_free=1e6)), buy(1.0)],
        3: [lambda ctx: setattr(facts, "stands", Standing(clock_skew=2.5)), buy(1.0)],
        4: [lambda ctx: setattr(facts, "stands", Standing()), buy(1.0)],
    }

    assert ["", "standing", "", "standing", "standing", ""] == codes(trade(build("standing"), script, facts=facts))


def mode_lock() -> None:
    facts = Facts()
    script = {0: [buy(1.0)], 1: [lambda ctx: setattr(facts, "stands", Standing(pinned=False)), buy(1.0), close()]}

    assert ["", "mode_lock", "mode_lock"] == codes(trade(build("mode_lock"), script, facts=facts))


def working_notional() -> None:
    script = {0: [buy(1.0, limit=90.0), buy(1.0, limit=95.0), sell(1.0, limit=110.0)]}

    assert ["", "", "working_notional"] == codes(trade(build("working_notional", amount=200.0), script))


SCENES: dict[str, Callable[[], None]] = {
    scene.__name__: scene
    for scene in (
        trading_state,
        tradable,
        valid_terms,
        max_order_size,
        price_collar,
        stale_price,
        max_position,
        max_exposure,
        free_margin,
        max_open_orders,
        max_open_positions,
        max_orders_per_parent,
        max_orders_per_minute,
        order_to_fill_ratio,
        duplicate_order,
        repeated_execution,
        max_daily_loss,
        max_drawdown,
        consecutive_losses,
        strategy_budget,
        reduce_only,
        self_cross,
        ready,
        standing,
        mode_lock,
        working_notional,
    )
}
MINIMAL: dict[str, dict[str, Any]] = {
    "max_order_size": {"lots": 1},
    "max_position": {"limit": 1},
    "max_exposure": {"total_fraction": 1},
    "max_open_orders": {"limit": 1},
    "max_open_positions": {"limit": 1},
    "max_daily_loss": {"fraction": 0.1},
    "max_drawdown": {"fraction": 0.1},
    "price_collar": {"fraction": 0.1},
    "max_orders_per_minute": {"limit": 1},
    "strategy_budget": {"amount": 1},
}


@pytest.mark.parametrize("name", SCENES)
def test_a_run_is_refused_what_the_check_forbids_and_nothing_else(name: str) -> None:
    SCENES[name]()


@pytest.mark.parametrize("name", SCENES)
def test_a_run_without_the_body_of_a_check_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(build(name, **MINIMAL.get(name, {})))
    monkeypatch.setattr(kind, "check", lambda self, request, view: None)

    with pytest.raises(AssertionError):
        SCENES[name]()


@pytest.mark.parametrize("name", SCENES)
def test_a_check_that_refuses_everything_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(build(name, **MINIMAL.get(name, {})))
    monkeypatch.setattr(kind, "check", lambda self, request, view: Denial(name, "no"))

    with pytest.raises(AssertionError):
        SCENES[name]()


@pytest.mark.parametrize("name", SCENES)
def test_a_check_that_raises_refuses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, request: OrderRequest, view: RiskView) -> Denial | None:
        raise ZeroDivisionError("planted")

    check = build(name, **MINIMAL.get(name, {}))
    monkeypatch.setattr(type(check), "check", broken)

    assert ["check_failed"] == codes(trade(check, {0: [buy(1.0)]}))


def test_every_check_has_a_scene() -> None:
    assert set(COMPONENTS) == set(SCENES)


# --- all of them ----------------------------------------------------------------------------------


def profile(name: str, **replaced: dict[str, Any]) -> list[RiskCheck]:
    (chosen,) = [one for one in herald_risk_profiles() if one.name == name]
    return [build(use.partition(".")[2], **(replaced.get(use.partition(".")[2]) or settings)) for use, settings in chosen.checks]


def test_the_essential_checks_let_an_ordinary_round_trip_pass() -> None:
    script = {0: [buy(1.0, stop_loss=95.0, take_profit=120.0)], 2: [close()], 4: [sell(1.0, limit=101.0)]}

    result = trade(profile("essential"), script)

    assert [""] * 3 == codes(result)
    assert 2 == len(result.fills)


def test_the_config_runs_the_essential_profile_with_one_entry_replaced(tmp_path: Path) -> None:
    text = """
        [risk_profile]
        use = "essential"
        [[risk]]
        use   = "risk.max_orders_per_parent"
        limit = 2
        [connectors.main]
        use    = "synthetic"
        prices = { EURUSD = 1.1 }
        [strategies.trend]
        use       = "strategies.sma_cross"
        symbols   = ["EURUSD"]
        timeframe = "1h"
        size      = 0.1
        [backtest]
        start = 2024-01-01
        end   = 2024-03-31
        cash  = 100000.0
    """
    file = tmp_path / "herald.toml"
    file.write_text(text, encoding="utf-8")

    plan = load_plan(file)
    result = run_backtest(plan)

    assert len(dict(next(one for one in herald_risk_profiles() if one.name == "essential").checks)) == len(plan.risk)
    assert 2 == next(part for part in plan.risk if part.use == "risk.max_orders_per_parent").settings.limit
    assert len(result.fills) > 10
    assert [] == [order.reason for order in result.orders if order.status is OrderStatus.DENIED]


def test_a_loop_that_never_sees_its_fills_is_stopped() -> None:
    """The bug of Knight: one parent order becomes child orders for ever, because what was filled is not told."""

    class Loop(Strategy[None]):
        def on_bar(self, bar: Bar, ctx: Context) -> None:
            for size in range(1, 1_001):
                ctx.buy(bar.symbol, size / 1_000)

    terms = Instrument(symbol="TEST", quote="USD", price_step=0.01, size_step=0.001, min_size=0.001)
    series = make_bars([100.0] * 20, timeframe="1m")
    checks = tuple((f"risk[{index}]", one) for index, one in enumerate(profile("essential")))
    setup = StrategySetup("loop", Loop(None, make_services()), ("TEST",), (Timeframe(60),), checks=checks)

    result = simulate([setup], [series], {"TEST": terms}, on_stop="leave")

    sent = [order for order in result.orders if order.status is not OrderStatus.DENIED]
    refused = [order.code for order in result.orders if order.status is OrderStatus.DENIED]
    # 20 children of the first event; they all fill at the next open, which disables the strategy for good.
    assert 20 == len(sent)
    assert ["max_orders_per_parent"] * 980 + ["repeated_execution"] * 19 == [*refused[:980], *refused[980::1_000]]


def test_what_a_gate_looked_up_for_one_request_is_not_kept_for_the_next() -> None:
    checks = [
        build("max_open_orders", limit=1),
        build("max_open_positions", limit=1),
        build("free_margin"),
        build("ready"),
        build("standing"),
    ]
    script = {0: [buy(1.0), buy(1.0, limit=90.0)], 2: [buy(1.0, limit=90.0), buy(9_998.0)], 4: [sell(2.0)]}

    found = codes(trade(checks, script, leverage=100.0))

    assert ["", "max_open_orders", "", "max_open_orders", "max_open_orders"] == found


def test_a_gate_that_failed_in_the_middle_looks_anew_the_next_time() -> None:
    class Fragile:
        exempts_reductions = False

        def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
            assert [] == list(view.working()), "planted"
            return None

    checks = [build("ready"), build("standing"), build("mode_lock"), Fragile()]

    assert ["", "check_failed", ""] == codes(trade(checks, {0: [buy(1.0), buy(1.0)], 1: [buy(1.0)]}))


def test_a_limit_of_messages_stops_changes_of_entries_but_no_withdrawal_and_no_exit() -> None:
    seen: list[Any] = []

    def rush(ctx: Context) -> None:
        entry = ctx.buy("TEST", 1.0, limit=90.0)
        for limit in (91.0, 92.0, 93.0):
            seen.append(ctx.modify(entry, limit=limit).code)
        ctx.cancel(entry)
        exit_order = ctx.sell("TEST", 1.0, limit=110.0)
        seen.append(ctx.modify(exit_order, limit=111.0).code)
        ctx.cancel(exit_order)
        closing = ctx.close("TEST")
        assert closing is not None
        seen.append(closing.code)

    check = build("max_orders_per_minute", limit=100, messages_per_minute=3)
    result = trade(check, {0: [buy(1.0)], 2: [rush]})

    assert ["", "", "max_orders_per_minute", "", ""] == seen
    assert ["filled", "cancelled", "cancelled", "filled"] == [str(order.status) for order in result.orders]
    assert [1.0, 1.0] == [fill.size for fill in result.fills]


LIMITS = {
    "max_order_size": {"lots": 1.0, "notional": 150.0},
    "max_daily_loss": {"amount": 1_000.0},
    "max_drawdown": {"fraction": 0.5},
}


@pytest.mark.parametrize(
    "way",
    [
        lambda ctx: ctx.close("TEST"),
        lambda ctx: ctx.target("TEST", 0.0),
        lambda ctx: ctx.sell("TEST", 3.0),
        lambda ctx: ctx.sell("TEST", 3.0, limit=99.0),
        lambda ctx: ctx.sell("TEST", 3.0, reduce_only=True),
    ],
    ids=["close", "target", "sell", "limit", "reduce_only"],
)
def test_a_position_that_outgrew_every_limit_is_closed_by_one_order(way: Act) -> None:
    script = {0: [buy(1.0)], 1: [buy(1.0)], 2: [buy(1.0)], 4: [buy(1.01), sell(3.01), way]}

    result = trade(profile("live", **LIMITS), script)

    assert ["", "", "", "max_order_size", "max_order_size", ""] == codes(result)
    assert [1.0, 1.0, 1.0, 3.0] == [fill.size for fill in result.fills]
    assert () == result.positions


def test_a_flatten_at_the_end_of_a_run_passes_the_gate() -> None:
    script = {0: [buy(1.0)], 1: [buy(1.0)], 2: [buy(1.0)]}

    result = trade(profile("live", **LIMITS), script, on_stop="flatten")

    assert 0.0 == sum(fill.side * fill.size for fill in result.fills)


def test_an_old_price_holds_entries_and_no_exit() -> None:
    check = build("price_collar", max_age_seconds=60)
    held = {("trend", "TEST"): 1.0}
    view = FakeRiskView(held=held, price_times={"TEST": 1}, now="2024-01-01T12:00")

    assert check.check(OrderRequest("trend-000001", "trend", "TEST", Side.SELL, 1.0), view) is None
    assert check.check(OrderRequest("trend-000001", "trend", "TEST", Side.SELL, 1.1), view) is not None


def test_a_crossing_order_is_announced_and_sent() -> None:
    told: list[Any] = []
    check = build("self_cross", make_services(emit=told.append))

    result = trade(check, {0: [sell(1.0, limit=100.0), buy(1.0)]})

    assert ["", ""] == codes(result)
    (alert,) = told
    assert "self_cross" == alert.code
    assert "BUY 1 TEST of 'trend' at 100 would trade with trend-000001, SELL 1 at 100" == alert.text


# --- what the view says of a run ------------------------------------------------------------------


def test_the_view_knows_the_requests_fills_and_trades_of_a_run() -> None:
    seen: list[tuple[int, list[Any], list[Any], list[Any]]] = []
    asked: list[tuple[int, OrderRequest]] = []

    class Watch:
        exempts_reductions = False

        def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
            now = view.now
            before = [one for one in asked if one[0] >= now - 2 * 3_600 * 10**9]
            assert before == list(view.requests_since(now - 2 * 3_600 * 10**9))
            assert [one for one in asked if one[0] >= now] == list(view.requests_since(now))
            assert asked == list(view.requests_since(0))
            assert len(asked) == view.orders_since(0)
            seen.append((now, list(asked), list(view.fills_since(0)), list(view.trades_since(0))))
            assert math.isinf(view.standing.disk_free)
            assert view.last_quote(request.symbol) is None
            if request.size == 7.0:
                return Denial("watch", "7 is more than 6")
            asked.append((now, request))
            return None

    script = {
        0: [buy(1.0), buy(7.0), buy(2.0, stop_loss=50.0, take_profit=300.0)],
        2: [sell(0.5), buy(7.0)],
        3: [buy(7.0), close()],
        5: [buy(1.0, limit=10.0)],
    }
    result = trade(Watch(), script)

    assert ["", "watch", "", "", "watch", "watch", "", ""] == codes(result)
    _, _, fills, trades = seen[-1]
    assert list(result.fills) == fills
    assert list(result.trades) == trades
    assert [2, 0] == [len(seen[3][2]), len(seen[3][3])]
