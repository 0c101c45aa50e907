"""Every check at its limit, just past it, and where it must not speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from herald.clock import HOUR, MINUTE, SECOND, parse_time
from herald.contracts import Denial, Limit, RiskCheck
from herald.model import Order, OrderRequest, OrderStatus, OrderType, Side
from herald.plugins.risk import herald_risk_checks, herald_risk_profiles
from herald.testing import FakeRiskView, make_instrument, make_services

COMPONENTS = {component.name: component for component in herald_risk_checks()}


def build(name: str, **settings: Any) -> RiskCheck:
    component = COMPONENTS[name]
    return component.build(component.settings(**settings), make_services())


def request(
    side: Side = Side.BUY,
    size: float = 1.0,
    *,
    id: str = "trend-000009",
    strategy: str = "trend",
    symbol: str = "TEST",
    **terms: Any,
) -> OrderRequest:
    return OrderRequest(id, strategy, symbol, side, size, **terms)


def working(side: Side, size: float, *, id: str = "trend-000001", filled: float = 0.0, **terms: Any) -> Order:
    status = OrderStatus.PARTIAL if filled else OrderStatus.ACCEPTED
    return Order(request(side, size, id=id, type=OrderType.LIMIT, limit=100.0, **terms), status, 0, filled=filled)


def code(denial: Denial | None) -> str | None:
    return None if denial is None else denial.code


# --- one order ------------------------------------------------------------------------------------


def test_order_of_exactly_the_limit_passes() -> None:
    assert build("max_order_size", lots=2.0).check(request(size=2.0), FakeRiskView()) is None


def test_order_above_the_limit_is_refused_with_both_numbers() -> None:
    denial = build("max_order_size", lots=2.0).check(request(size=2.01), FakeRiskView())

    assert denial == Denial("max_order_size", "the order is for 2.01 lots of TEST; the limit is 2")


def test_order_value_counts_contract_price_and_rate() -> None:
    # 2 lots x 1,000 units x 150 x 0.01 = 3,000 in account currency
    view = FakeRiskView(prices={"TEST": 150.0}, rates={"TEST": 0.01}, instruments=[make_instrument(contract_size=1_000)])

    assert build("max_order_size", notional=3_000.0).check(request(size=2.0), view) is None
    assert code(build("max_order_size", notional=2_999.0).check(request(size=2.0), view)) == "max_order_size"


def test_order_value_is_taken_at_the_stated_limit_price() -> None:
    view = FakeRiskView(prices={"TEST": 100.0})
    at_limit = request(size=10.0, type=OrderType.LIMIT, limit=90.0)

    assert build("max_order_size", notional=900.0).check(at_limit, view) is None


def test_order_that_cannot_be_valued_is_refused() -> None:
    denial = build("max_order_size", notional=1e12).check(request(), FakeRiskView(prices={}))

    assert code(denial) == "max_order_size"


# --- what would be held ---------------------------------------------------------------------------


def test_position_counts_what_is_held() -> None:
    view = FakeRiskView(held={("trend", "TEST"): 0.6})
    check = build("max_position", limit=1.0)

    assert check.check(request(size=0.4), view) is None
    assert check.check(request(size=0.41), view) == Denial(
        "max_position", "'trend' would be long 1.01 lots of TEST; the limit is 1"
    )


def test_position_counts_working_orders_in_the_same_direction_only() -> None:
    view = FakeRiskView(
        held={("trend", "TEST"): 0.2},
        orders=[working(Side.BUY, 0.5, id="a", filled=0.1), working(Side.SELL, 5.0, id="b")],
    )
    check = build("max_position", limit=1.0)

    assert check.check(request(size=0.4), view) is None  # 0.2 + (0.5 - 0.1) + 0.4 = 1.0
    assert code(check.check(request(size=0.5), view)) == "max_position"


def test_position_ignores_other_books_and_protective_orders() -> None:
    view = FakeRiskView(
        held={("other", "TEST"): 9.0, ("trend", "ELSE"): 9.0},
        orders=[working(Side.BUY, 9.0, reduce_only=True), working(Side.BUY, 9.0, id="b", parent="trend-000001")],
    )

    assert build("max_position", limit=1.0).check(request(size=1.0), view) is None


def test_short_positions_have_the_same_limit() -> None:
    view = FakeRiskView(held={("trend", "TEST"): -0.6})

    denial = build("max_position", limit=1.0).check(request(Side.SELL, 0.5), view)

    assert denial is not None
    assert "short 1.1 lots" in denial.text


def test_turning_a_position_counts_what_remains_on_the_other_side() -> None:
    view = FakeRiskView(held={("trend", "TEST"): -1.0})
    check = build("max_position", limit=1.0)

    assert check.check(request(Side.BUY, 2.0), view) is None
    assert code(check.check(request(Side.BUY, 2.1), view)) == "max_position"


def test_sums_of_tenths_do_not_trip_the_limit() -> None:
    view = FakeRiskView(held={("trend", "TEST"): 0.1 + 0.2})  # 0.30000000000000004

    assert build("max_position", limit=0.4).check(request(size=0.1), view) is None


def test_changing_a_working_order_does_not_count_it_twice() -> None:
    view = FakeRiskView(orders=[working(Side.BUY, 1.0, id="trend-000001")])
    changed = request(size=1.0, id="trend-000001", type=OrderType.LIMIT, limit=99.0)

    assert build("max_position", limit=1.0).check(changed, view) is None
    assert build("max_open_orders", limit=1).check(changed, view) is None
    assert build("max_exposure", symbol_amount=100.0).check(changed, view) is None


def test_exposure_per_symbol_adds_the_books_of_all_strategies() -> None:
    # |5| x 100 of one book and |-3| x 100 of another do not cancel: 800 + 100 x 2 asked for = 1,000
    view = FakeRiskView(held={("trend", "TEST"): 5.0, ("other", "TEST"): -3.0})

    assert build("max_exposure", symbol_amount=1_000.0).check(request(size=2.0), view) is None
    denial = build("max_exposure", symbol_amount=999.0).check(request(size=2.0), view)
    assert denial == Denial("max_exposure", "exposure in TEST would be 1000.00 USD; the limit is 999.00")


def test_total_exposure_adds_every_symbol_at_its_own_rate() -> None:
    # ELSE: 10 x 50 x 2 = 1,000; TEST: 1 x 100 = 100
    view = FakeRiskView(
        prices={"TEST": 100.0, "ELSE": 50.0}, rates={"ELSE": 2.0}, held={("other", "ELSE"): -10.0}, equity=1_000.0
    )

    assert build("max_exposure", total_fraction=1.1).check(request(), view) is None
    denial = build("max_exposure", total_fraction=1.0).check(request(), view)
    assert denial is not None
    assert "total exposure would be 1100.00 USD; the limit is 1000.00 (total_fraction 1 of equity 1000.00)" == denial.text


def test_exposure_counts_working_entries_in_the_worse_direction() -> None:
    # long 1, may become 1 + 2 = 3 or 1 - 3 = -2; with 1 more asked for the worse is 4
    view = FakeRiskView(held={("trend", "TEST"): 1.0}, orders=[working(Side.BUY, 2.0, id="a"), working(Side.SELL, 3.0, id="b")])

    assert build("max_exposure", symbol_amount=400.0).check(request(size=1.0), view) is None
    assert code(build("max_exposure", symbol_amount=399.0).check(request(size=1.0), view)) == "max_exposure"


def test_exposure_that_cannot_be_valued_is_refused() -> None:
    view = FakeRiskView(rates={"TEST": float("nan")})

    assert code(build("max_exposure", symbol_fraction=100.0).check(request(), view)) == "max_exposure"


def test_no_equity_means_no_exposure() -> None:
    assert code(build("max_exposure", total_fraction=5.0).check(request(), FakeRiskView(equity=-10.0))) == "max_exposure"


def test_open_orders_are_counted_without_protective_ones() -> None:
    view = FakeRiskView(orders=[working(Side.BUY, 1.0, id="a"), working(Side.SELL, 1.0, id="a.sl", parent="a")])

    assert build("max_open_orders", limit=2).check(request(), view) is None
    assert build("max_open_orders", limit=1).check(request(), view) == Denial(
        "max_open_orders", "1 orders are working; the limit is 1"
    )


def test_open_positions_count_books_that_are_about_to_open() -> None:
    view = FakeRiskView(held={("trend", "A"): 1.0}, orders=[working(Side.BUY, 1.0, symbol="B")])

    assert build("max_open_positions", limit=3).check(request(symbol="C"), view) is None
    assert code(build("max_open_positions", limit=2).check(request(symbol="C"), view)) == "max_open_positions"


def test_adding_to_an_open_position_opens_no_other() -> None:
    view = FakeRiskView(held={("trend", "TEST"): 1.0})

    assert build("max_open_positions", limit=1).check(request(), view) is None


# --- losses ---------------------------------------------------------------------------------------

MIDNIGHT = parse_time("2024-03-05")


def test_daily_loss_is_measured_from_the_equity_at_midnight() -> None:
    past = {MIDNIGHT - HOUR: 12_000.0, MIDNIGHT: 10_000.0, MIDNIGHT + HOUR: 10_500.0}
    check = build("max_daily_loss", fraction=0.02)

    fine = FakeRiskView(now=MIDNIGHT + 2 * HOUR, equity=9_800.01, past=past)
    enough = FakeRiskView(now=MIDNIGHT + 2 * HOUR, equity=9_800.0, past=past)

    assert check.check(request(), fine) is None
    assert check.check(request(), enough) == Denial(
        "max_daily_loss",
        "the loss since 2024-03-05T00:00:00Z is 200.00 USD; the limit is 200.00 (fraction 0.02 of 10000.00)",
    )


def test_a_new_day_forgets_the_loss() -> None:
    check = build("max_daily_loss", amount=100.0)
    past = {MIDNIGHT: 10_000.0, MIDNIGHT + 24 * HOUR: 9_000.0}

    before = check.check(request(), FakeRiskView(now=MIDNIGHT + 24 * HOUR - 1, equity=9_000.0, past=past))
    after = check.check(request(), FakeRiskView(now=MIDNIGHT + 24 * HOUR, equity=9_000.0, past=past))

    assert ["max_daily_loss", None] == [code(before), code(after)]


def test_the_smaller_of_two_daily_limits_rules() -> None:
    view = FakeRiskView(now=MIDNIGHT + HOUR, equity=9_940.0, past={MIDNIGHT: 10_000.0})

    assert code(build("max_daily_loss", fraction=0.02, amount=50.0).check(request(), view)) == "max_daily_loss"
    assert build("max_daily_loss", fraction=0.02, amount=500.0).check(request(), view) is None


@pytest.mark.parametrize(
    ("day", "boundary"),
    [
        # 17:00 in New York is 22:00 UTC in winter and 21:00 UTC in summer time, which began on 2024-03-10.
        ("2024-03-07T12:00", "2024-03-06T22:00"),
        ("2024-03-12T12:00", "2024-03-11T21:00"),
    ],
)
def test_the_day_begins_at_an_hour_of_a_zone(day: str, boundary: str) -> None:
    start = parse_time(boundary)
    past = {start - 1: 20_000.0, start: 10_000.0, start + 1: 30_000.0}
    view = FakeRiskView(now=day, equity=9_899.0, past=past)

    denial = build("max_daily_loss", amount=100.0, hour=17, zone="America/New_York").check(request(), view)

    assert denial is not None
    assert f"since {boundary}:00Z is 101.00" in denial.text


def test_drawdown_is_measured_from_the_peak() -> None:
    past = {1: 10_000.0, 2: 20_000.0, 3: 15_000.0}
    check = build("max_drawdown", fraction=0.25)

    assert check.check(request(), FakeRiskView(equity=15_000.01, past=past)) is None
    assert check.check(request(), FakeRiskView(equity=15_000.0, past=past)) == Denial(
        "max_drawdown", "equity 15000.00 USD is 0.2500 below its peak 20000.00; the limit is 0.25"
    )


# --- the request ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "answer"), [(90.0, None), (110.0, None), (89.99, "price_collar"), (110.01, "price_collar")])
@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.STOP])
def test_collar_holds_stated_prices_near_the_last(price: float, answer: str | None, kind: OrderType) -> None:
    stated: Mapping[str, float] = {"limit": price} if kind is OrderType.LIMIT else {"stop": price}

    denial = build("price_collar", fraction=0.1).check(request(type=kind, **stated), FakeRiskView())

    assert answer == code(denial)


def test_collar_without_a_price_refuses_stated_prices() -> None:
    check = build("price_collar", fraction=0.1)

    assert code(check.check(request(type=OrderType.LIMIT, limit=1.0), FakeRiskView(prices={}))) == "price_collar"


def test_market_order_on_an_old_price_is_refused() -> None:
    now = parse_time("2024-01-02")
    check = build("price_collar", max_age_seconds=60)

    fresh = FakeRiskView(now=now, price_times={"TEST": now - 60 * SECOND})
    old = FakeRiskView(now=now, price_times={"TEST": now - 61 * SECOND})

    assert check.check(request(), fresh) is None
    assert check.check(request(), old) == Denial("price_collar", "the last price of TEST is 61 s old; the limit is 60 s")
    assert check.check(request(type=OrderType.LIMIT, limit=100.0), old) is None
    assert code(check.check(request(), FakeRiskView(prices={}))) == "price_collar"


def test_orders_a_minute_are_counted_in_a_sliding_window() -> None:
    now = parse_time("2024-01-02")
    check = build("max_orders_per_minute", limit=2)

    one_left = FakeRiskView(now=now, sent=[now - MINUTE, now - 1])
    both_in = FakeRiskView(now=now, sent=[now - MINUTE + 1, now - 1])

    assert check.check(request(), one_left) is None
    assert check.check(request(), both_in) == Denial(
        "max_orders_per_minute", "2 orders went out in the last 60 s; the limit is 2"
    )


# --- what all share -------------------------------------------------------------------------------


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


def test_only_checks_of_validity_state_and_account_apply_to_reductions() -> None:
    applies = {name for name in COMPONENTS if not build(name, **MINIMAL.get(name, {})).exempts_reductions}

    validity = {"price_collar", "valid_terms", "tradable", "reduce_only", "duplicate_order"}
    assert applies == validity | {"trading_state", "mode_lock"}


@pytest.mark.parametrize(
    "name", ["max_order_size", "max_exposure", "max_daily_loss", "price_collar", "max_position", "strategy_budget"]
)
def test_a_check_without_a_limit_is_a_settings_error(name: str) -> None:
    with pytest.raises(ValidationError, match="no limit is given; set "):
        COMPONENTS[name].settings()


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("max_position", {"limit": 0}, "greater than 0"),
        ("max_drawdown", {}, "Field required"),
        ("max_drawdown", {"fraction": 20}, "less than or equal to 1"),
        ("max_daily_loss", {"fraction": 0.1, "hour": 24}, "less than or equal to 23"),
        ("max_daily_loss", {"fraction": 0.1, "zone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'; write an IANA name"),
        ("max_daily_loss", {"fraction": 0.1, "zone": "../../etc/passwd"}, "unknown time zone"),
        ("max_open_orders", {"limit": 2.5}, "valid integer"),
        ("max_exposure", {"fraction": 1}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        COMPONENTS[name].settings(**settings)


def test_every_profile_names_checks_that_exist_with_settings_that_are_valid() -> None:
    profiles = {profile.name: profile for profile in herald_risk_profiles()}

    assert ["conservative", "balanced", "aggressive", "essential", "live"] == list(profiles)
    for profile in profiles.values():
        for use, settings in profile.checks:
            plugin, _, name = use.partition(".")
            assert plugin == "risk"
            if profile.name != "live" or name not in ("max_order_size", "max_daily_loss", "max_drawdown"):
                COMPONENTS[name].settings(**settings)


def test_the_live_profile_is_the_essential_one_and_what_the_config_must_state() -> None:
    profiles = {profile.name: profile.checks for profile in herald_risk_profiles()}

    essential, live = profiles["essential"], profiles["live"]

    assert live[: len(essential)] == essential
    for use, settings in live[len(essential) :]:
        with pytest.raises(ValidationError, match="no limit is given|Field required"):
            COMPONENTS[use.partition(".")[2]].settings(**settings)


def test_the_essential_profile_has_a_check_of_every_row_but_those_that_the_config_must_state() -> None:
    profiles = {profile.name: profile.checks for profile in herald_risk_profiles()}
    rows = {
        1: {"trading_state"},
        2: {"tradable"},
        3: {"valid_terms"},
        4: {"max_order_size"},
        5: {"price_collar"},
        6: {"stale_price"},
        7: {"max_exposure", "free_margin"},
        8: {"max_open_orders", "max_open_positions", "max_orders_per_parent"},
        9: {"max_orders_per_minute", "order_to_fill_ratio"},
        10: {"duplicate_order"},
        11: {"repeated_execution"},
        12: {"max_daily_loss", "max_drawdown", "consecutive_losses"},
        13: {"reduce_only"},
        14: {"self_cross"},
        15: {"ready"},
        16: {"standing"},
        17: {"mode_lock"},
        18: {"working_notional"},
    }

    found = {use.partition(".")[2] for use, _ in profiles["live"]}

    assert found == set().union(*rows.values())


def test_profiles_grow_looser_in_every_limit() -> None:
    conservative, balanced, aggressive = (dict(profile.checks) for profile in list(herald_risk_profiles())[:3])

    for use, settings in balanced.items():
        for key, value in settings.items():
            assert conservative[use][key] < value < aggressive[use][key]


# --- how much of a limit is used ------------------------------------------------------------------


def used(check: RiskCheck, view: FakeRiskView) -> list[tuple[float, float]]:
    assert isinstance(check, Limit)
    return [(round(one.used, 9), round(one.limit, 9)) for one in check.usage(view)]


@pytest.mark.parametrize(
    ("name", "settings", "view", "told"),
    [
        ("max_position", {"limit": 1.0}, {}, [(0.0, 1.0)]),
        (
            "max_position",
            {"limit": 1.0, "symbol_gross": 2.0, "symbol_net": 3.0},
            {"held": {("a", "TEST"): 0.6, ("b", "TEST"): -0.9, ("c", "OTHER"): 0.2}},
            [(0.9, 1.0), (1.5, 2.0), (0.3, 3.0)],
        ),
        (
            "max_exposure",
            {"symbol_amount": 500.0, "total_fraction": 2.0, "net_amount": 80.0},
            {"held": {("a", "TEST"): 1.0, ("b", "TEST"): -1.0, ("c", "OTHER"): 1.0}, "prices": {"TEST": 100.0, "OTHER": 50.0}},
            [(200.0, 500.0), (250.0, 20_000.0), (50.0, 80.0)],
        ),
        ("max_open_positions", {"limit": 4}, {"held": {("a", "TEST"): 1.0, ("b", "TEST"): -1.0}}, [(2, 4)]),
        ("max_open_orders", {"limit": 3}, {"orders": [working(Side.BUY, 1.0)]}, [(1, 3)]),
        ("max_daily_loss", {"fraction": 0.05}, {"equity": 9_900.0, "past": {0: 10_000.0}}, [(100.0, 500.0)]),
        ("max_daily_loss", {"fraction": 0.05, "amount": 300.0}, {"equity": 9_900.0, "past": {0: 10_000.0}}, [(100.0, 300.0)]),
        ("max_daily_loss", {"amount": 300.0}, {"equity": 10_100.0, "past": {0: 10_000.0}}, [(0.0, 300.0)]),
        ("max_drawdown", {"fraction": 0.2}, {"equity": 9_000.0, "past": {0: 10_000.0}}, [(0.1, 0.2)]),
    ],
)
def test_a_limit_says_how_much_of_it_is_used(
    name: str, settings: dict[str, Any], view: dict[str, Any], told: list[tuple[float, float]]
) -> None:
    assert used(build(name, **settings), FakeRiskView(**view)) == told


def test_what_is_used_reaches_the_limit_when_the_check_refuses() -> None:
    check = build("max_daily_loss", amount=300.0)
    for equity in (9_701.0, 9_700.5, 9_700.0, 9_699.0):
        view = FakeRiskView(equity=equity, past={0: 10_000.0})
        ((lost, limit),) = used(check, view)
        assert (check.check(request(), view) is not None) == (lost >= limit)
