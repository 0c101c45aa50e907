"""The built-in strategies, each through the real engine, on markets one can follow on paper."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from herald.contracts import Close, Context, Intent, Protect, RiskView
from herald.model import Bar, BarSeries, Position, Quote
from herald.plugins.strategies import (
    BollingerReversion,
    BollingerReversionSettings,
    DonchianBreakout,
    DonchianBreakoutSettings,
    MomentumRotation,
    MomentumRotationSettings,
    RsiReversion,
    RsiReversionSettings,
    SmaCross,
    SmaCrossSettings,
    herald_strategies,
)
from herald.simulator.broker import FillRules
from herald.testing import StrategyRun, make_bars, make_services, make_walk, run_strategy

COMPONENTS = list(herald_strategies())


class Half:
    """Half a lot, always."""

    def size(self, intent: Intent, view: RiskView) -> float:
        return 0.5


class CloseOn:
    """Closes what is held, or a share of it, on one bar, given by its place."""

    def __init__(self, bars: BarSeries, place: int, share: float = 1.0) -> None:
        self._time = int(bars.time[place])
        self._share = share

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | None:
        return Close("test", self._share) if event.time == self._time else None


class FarStop:
    """Protects every position by a stop that is never reached."""

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Protect | None:
        return Protect("test", stop_loss=0.5)


def fills(run: StrategyRun, bars: BarSeries) -> list[tuple[int, float]]:
    """Return (bar whose open filled it, signed lots) for every fill."""
    starts = bars.time - bars.span
    return [(int(np.searchsorted(starts, fill.time)), fill.side * fill.size) for fill in run.fills]


# --- sma_cross ------------------------------------------------------------------------------------

# Mean of 1 against mean of 2: whether the price rose. Known from bar 1 on: up, up, down, down, up, up.
RISES_AND_FALLS = make_bars([10, 11, 12, 9, 8, 13, 14, 14])


def test_cross_turns_where_the_averages_cross() -> None:
    run = run_strategy(SmaCross, SmaCrossSettings(fast=1, slow=2, size=0.5), RISES_AND_FALLS)

    assert [0.5, -0.5, 0.5] == [target.size for target in run.targets]
    assert [(2, 0.5), (4, -1.0), (6, 1.0)] == fills(run, RISES_AND_FALLS)


def test_cross_stays_out_instead_of_going_short() -> None:
    run = run_strategy(SmaCross, SmaCrossSettings(fast=1, slow=2, size=0.5, long_only=True), RISES_AND_FALLS)

    assert [(2, 0.5), (4, -0.5), (6, 0.5)] == fills(run, RISES_AND_FALLS)


def test_cross_without_a_size_asks_the_sizer() -> None:
    run = run_strategy(SmaCross, SmaCrossSettings(fast=1, slow=2), RISES_AND_FALLS, sizer=Half())

    assert () == run.targets
    assert [(2, 0.5), (4, -0.5), (4, -0.5), (6, 0.5), (6, 0.5)] == fills(run, RISES_AND_FALLS)


def test_cross_back_before_a_thin_market_has_closed_the_position_ends_on_the_right_side() -> None:
    closes, volumes = [10, 11, 12, 9, 13, 14, 15, 16], [9, 9, 9, 9, 0.2, 9, 9, 9]
    bars = make_bars([(close, close, close, close, volume) for close, volume in zip(closes, volumes, strict=True)])

    settings = SmaCrossSettings(fast=1, slow=2)
    run = run_strategy(SmaCross, settings, bars, sizer=Half(), rules=FillRules(participation=1.0))

    # Of the 0.5 to close only 0.2 trade on bar 4; the averages have crossed again by then.
    assert [(2, 0.5), (4, -0.2), (5, -0.3), (5, 0.5)] == [(bar, pytest.approx(size)) for bar, size in fills(run, bars)]


def test_equal_averages_change_nothing() -> None:
    bars = make_bars([10, 11, 11, 11, 12, 12])

    run = run_strategy(SmaCross, SmaCrossSettings(fast=1, slow=2, size=0.5), bars)

    assert [(2, 0.5)] == fills(run, bars)


def test_cross_does_not_come_back_after_an_exit_until_the_next_cross() -> None:
    bars = make_bars([10, 11, 12, 13, 14, 9, 15])

    run = run_strategy(SmaCross, SmaCrossSettings(fast=1, slow=2, size=0.5), bars, exits=[CloseOn(bars, 3)])

    assert [(2, 0.5), (4, -0.5), (6, -0.5)] == fills(run, bars)


def test_cross_earns_what_an_independent_computation_says() -> None:
    bars = make_walk(3_000, seed=11)
    close = bars.close

    run = run_strategy(SmaCross, SmaCrossSettings(fast=10, slow=50, size=2.0), bars)

    fast = np.convolve(close, np.full(10, 0.1), "valid")[40:]
    slow = np.convolve(close, np.full(50, 0.02), "valid")
    side = np.where(fast > slow, 1.0, -1.0)[:-1]
    # Bars open where the one before closed, so a side taken at a close earns the whole of the next bar.
    assert run.equity[-1] == pytest.approx(10_000 + 2.0 * float(np.sum(side * np.diff(close)[49:])), rel=1e-9)
    assert 1 + np.count_nonzero(np.diff(side)) == len(run.fills)


def test_symbols_cross_independently() -> None:
    one = make_bars([10, 11, 12, 9, 8], symbol="ONE")
    two = make_bars([10, 9, 8, 7, 12], symbol="TWO")

    run = run_strategy(SmaCross, SmaCrossSettings(fast=1, slow=2, size=0.5), [one, two])

    wanted = [(target.symbol, target.size) for target in run.targets]
    assert [("ONE", 0.5), ("TWO", -0.5), ("ONE", -0.5), ("TWO", 0.5)] == wanted


def test_cross_begins_when_the_slow_average_is_known() -> None:
    bars = make_walk(60)

    run = run_strategy(SmaCross, SmaCrossSettings(fast=5, slow=50, size=0.5), bars)

    assert int(bars.time[49]) == run.targets[0].time


# --- rsi_reversion --------------------------------------------------------------------------------


def test_weakness_is_bought_and_closed_in_the_middle() -> None:
    # RSI(2): both changes are losses: 0, bought. Then +1: gains (0+1)/2, losses (1+0)/2: 50, closed. Then 62.5 and 75.
    bars = make_bars([10, 9, 8, 9, 9.333, 9.5])

    run = run_strategy(RsiReversion, RsiReversionSettings(length=2, overbought=99, size=0.5), bars)

    assert [(3, 0.5), (4, -0.5)] == fills(run, bars)


def test_strength_is_sold_and_closed_in_the_middle() -> None:
    bars = make_bars([10, 11, 12, 11, 11, 11])

    run = run_strategy(RsiReversion, RsiReversionSettings(length=2, oversold=1, size=0.5), bars)

    assert [(3, -0.5), (4, 0.5)] == fills(run, bars)


def test_relative_strength_turns_from_one_extreme_to_the_other() -> None:
    bars = make_bars([10, 9, 8, 9, 10, 9])  # RSI(1) is 0 after a loss, 100 after a gain

    settings = RsiReversionSettings(length=1, size=0.5)
    turned = run_strategy(RsiReversion, settings, bars)
    long_only = run_strategy(RsiReversion, settings.model_copy(update={"long_only": True}), bars)

    assert [(2, 0.5), (4, -1.0)] == fills(turned, bars)
    assert [(2, 0.5), (4, -0.5)] == fills(long_only, bars)


def test_staying_weak_is_no_new_signal() -> None:
    bars = make_bars([10, 9, 8, 7, 6, 5, 4])

    run = run_strategy(RsiReversion, RsiReversionSettings(length=1, size=0.5), bars, exits=[CloseOn(bars, 3)])

    assert [(2, 0.5), (4, -0.5)] == fills(run, bars)


# --- bollinger_reversion --------------------------------------------------------------------------

# With two bars the deviation is half their distance, and with a width of 0.5 every change leaves the bands.
BANDS: dict[str, Any] = {"length": 2, "width": 0.5}


def test_close_below_the_band_is_bought_and_closed_at_the_mean() -> None:
    bars = make_bars([10, 8, 8, 8])

    run = run_strategy(BollingerReversion, BollingerReversionSettings(**BANDS, size=0.5), bars)

    assert [(2, 0.5), (3, -0.5)] == fills(run, bars)


def test_close_above_the_band_is_sold_and_closed_at_the_mean() -> None:
    bars = make_bars([10, 12, 12, 12])

    run = run_strategy(BollingerReversion, BollingerReversionSettings(**BANDS, size=0.5), bars)

    assert [(2, -0.5), (3, 0.5)] == fills(run, bars)


def test_bands_turn_from_one_side_to_the_other_or_only_close() -> None:
    bars = make_bars([10, 8, 12, 12])

    turned = run_strategy(BollingerReversion, BollingerReversionSettings(**BANDS, size=0.5), bars)
    long_only = run_strategy(BollingerReversion, BollingerReversionSettings(**BANDS, size=0.5, long_only=True), bars)

    assert [(2, 0.5), (3, -1.0)] == fills(turned, bars)
    assert [(2, 0.5), (3, -0.5)] == fills(long_only, bars)


def test_staying_outside_the_bands_is_no_new_signal() -> None:
    bars = make_bars([10, 9, 8, 7, 6, 5])

    run = run_strategy(BollingerReversion, BollingerReversionSettings(**BANDS, size=0.5), bars, exits=[CloseOn(bars, 3)])

    assert [(2, 0.5), (4, -0.5)] == fills(run, bars)


def test_second_signal_with_the_position_still_open_adds_nothing() -> None:
    # Over three bars and a width of 1: the deviation is sqrt(2/3) of an even step, so an even fall of 1 leaves the band
    # (mean - 0.82) by a hair: 9 8 7 is below 8 - 0.82. Of 8 7 7 it is not (7.33 - 0.47 = 6.86), of 7 7 6 again
    # (6.67 - 0.47 = 6.20). No close reaches a mean.
    bars = make_bars([9, 8, 7, 7, 6, 6])

    for sizer, size in ((Half(), None), (None, 0.5)):
        settings = BollingerReversionSettings(length=3, width=1.0, size=size)
        run = run_strategy(BollingerReversion, settings, bars, sizer=sizer)

        assert [(3, 0.5)] == fills(run, bars)


# --- donchian_breakout ----------------------------------------------------------------------------

CHANNEL = make_bars(
    [
        (10, 10.5, 9.5, 10),
        (10, 10.6, 9.6, 10),  # both channels are known: 9.5 to 10.6 over two bars
        (10, 11.2, 10, 11),  # closes above 10.6: long
        (11, 11.5, 10.5, 11),  # low before was 10: stays
        (11, 11, 10, 10.2),  # low before was 10.5: closed; the two-bar low of 10 holds
        (10.2, 10.3, 9, 9),  # below 10: short
        (9, 9.5, 8.5, 9.4),  # high before was 10.3: stays
        (9.4, 9.9, 9.3, 9.8),  # high before was 9.5: closed; the two-bar high of 10.3 holds
        (9.8, 9.9, 9.8, 9.9),
    ]
)


def test_breakout_is_followed_and_left_by_the_shorter_channel() -> None:
    run = run_strategy(DonchianBreakout, DonchianBreakoutSettings(entry=2, leave=1, size=0.5), CHANNEL)

    assert [(3, 0.5), (5, -0.5), (6, -0.5), (8, 0.5)] == fills(run, CHANNEL)


def test_breakout_downwards_is_left_alone_when_only_long() -> None:
    settings = DonchianBreakoutSettings(entry=2, leave=1, size=0.5, long_only=True)

    run = run_strategy(DonchianBreakout, settings, CHANNEL)

    assert [(3, 0.5), (5, -0.5)] == fills(run, CHANNEL)


def test_breakout_on_the_other_side_turns_the_position() -> None:
    bars = make_bars([10, 10, 11, 12, 8, 8])

    stated = run_strategy(DonchianBreakout, DonchianBreakoutSettings(entry=2, leave=2, size=0.5), bars)
    sized = run_strategy(DonchianBreakout, DonchianBreakoutSettings(entry=2, leave=2), bars, sizer=Half())

    assert [(3, 0.5), (5, -1.0)] == fills(stated, bars)
    assert [(3, 0.5), (5, -0.5), (5, -0.5)] == fills(sized, bars)


def test_breakout_does_not_restore_what_an_exit_has_taken() -> None:
    bars = make_bars([10, 10, 11, 12, 13, 14, 15])
    settings = DonchianBreakoutSettings(entry=2, leave=1, size=0.5)

    run = run_strategy(DonchianBreakout, settings, bars, exits=[CloseOn(bars, 4, 0.5)])

    assert [(3, 0.5), (5, -0.25)] == fills(run, bars)


# --- momentum_rotation ----------------------------------------------------------------------------


def market(**closes: Sequence[float]) -> list[BarSeries]:
    return [make_bars(list(column), symbol=symbol) for symbol, column in closes.items()]


FOUR = market(
    A=[10, 11, 11, 11, 11],
    B=[10, 12, 12, 9, 9],
    C=[10, 10, 10, 12, 12],
    D=[10, 9, 9, 9, 9],
)


def traded(run: StrategyRun) -> list[tuple[str, float]]:
    return [(fill.symbol, fill.side * fill.size) for fill in run.fills]


@pytest.mark.parametrize(("size", "sizer"), [(0.5, None), (None, Half())])
def test_rotation_holds_the_best_and_sells_what_falls_behind(size: float | None, sizer: Half | None) -> None:
    settings = MomentumRotationSettings(lookback=1, top=2, every=2, size=size)

    run = run_strategy(MomentumRotation, settings, FOUR, sizer=sizer)

    # Bar 1: B (+20 %), then A (+10 %). Bar 3: C (+20 %), then A before D, both unchanged; B goes, A stays as it is.
    asked = [(order.request.symbol, order.request.side * order.request.size) for order in run.orders]
    assert [("B", 0.5), ("A", 0.5), ("B", -0.5), ("C", 0.5)] == asked
    assert {("A", 0.5), ("B", 0.5)} == set(traded(run)[:2])
    assert {("B", -0.5), ("C", 0.5)} == set(traded(run)[2:])


def test_rotation_is_not_confused_by_the_stop_of_a_position() -> None:
    settings = MomentumRotationSettings(lookback=1, top=2, every=2)

    run = run_strategy(MomentumRotation, settings, FOUR, sizer=Half(), exits=[FarStop()])

    own = [(order.request.symbol, order.request.side * order.request.size) for order in run.orders if not order.request.parent]
    assert [("B", 0.5), ("A", 0.5), ("B", -0.5), ("C", 0.5)] == own
    assert any(order.request.parent for order in run.orders)


def test_rotation_ranks_once_a_time_and_every_so_many_times() -> None:
    bars = [make_walk(41, symbol=symbol) for symbol in ("A", "B", "C")]

    run = run_strategy(MomentumRotation, MomentumRotationSettings(lookback=10, top=1, every=7, size=0.5), bars)

    # Known from bar 10 on: 10, 17, 24, 31, 38. Each ranking asks three times: two to close, one to hold.
    expected = [int(bars[0].time[place]) for place in (10, 17, 24, 31, 38) for _ in range(3)]
    assert expected == [asked.time for asked in run.asked]


def test_rotation_counts_times_even_where_a_symbol_has_no_bar() -> None:
    a, b, c = (make_walk(12, symbol=symbol) for symbol in ("A", "B", "C"))
    gap = np.array([place != 4 for place in range(12)])
    late = BarSeries("A", a.span, a.time[gap], a.open[gap], a.high[gap], a.low[gap], a.close[gap], a.volume[gap])

    run = run_strategy(MomentumRotation, MomentumRotationSettings(lookback=2, top=1, every=2, size=0.5), [late, b, c])

    assert [int(b.time[place]) for place in (2, 4, 6, 8, 10)] == sorted({asked.time for asked in run.asked})


def test_rotation_holds_everything_where_there_is_no_more() -> None:
    settings = MomentumRotationSettings(lookback=1, top=9, every=100, size=0.5)

    run = run_strategy(MomentumRotation, settings, FOUR)

    assert ["A", "B", "C", "D"] == sorted(symbol for symbol, _ in traded(run)[:4])
    assert all(size == 0.5 for _, size in traded(run)[:4])


# --- the package ----------------------------------------------------------------------------------


def test_plugin_offers_five_strategies() -> None:
    names = [component.name for component in COMPONENTS]

    assert ["sma_cross", "rsi_reversion", "bollinger_reversion", "donchian_breakout", "momentum_rotation"] == names


@pytest.mark.parametrize(
    ("name", "settings", "bars"),
    [
        ("sma_cross", {"fast": 10, "slow": 50}, 50),  # the mean of 50 closes
        ("rsi_reversion", {"length": 14}, 15),  # 14 changes
        ("bollinger_reversion", {"length": 20}, 20),
        ("donchian_breakout", {"entry": 20, "leave": 10}, 20),
        ("donchian_breakout", {"entry": 10, "leave": 30}, 30),
        ("momentum_rotation", {"lookback": 60}, 61),  # the return from one close to the 60th after it
    ],
)
def test_warm_up_is_what_the_numbers_need(name: str, settings: dict[str, Any], bars: int) -> None:
    component = next(component for component in COMPONENTS if component.name == name)

    assert bars == component.build(component.settings(**settings), make_services()).warmup()


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: str(component.name))
def test_every_strategy_works_as_it_is_configured_by_default(component: Any) -> None:
    strategy = component.build(component.settings(), make_services())

    run = run_strategy(strategy, None, [make_walk(400, symbol=symbol) for symbol in "ABCDE"], sizer=Half())

    assert "completed" == run.status
    assert len(run.trades) > 0
    assert () == run.denials


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: str(component.name))
def test_every_strategy_is_short_enough_to_be_read_as_an_example(component: Any) -> None:
    module = inspect.getmodule(component.build)
    assert module is not None

    assert len(inspect.getsource(module).splitlines()) < 60
    assert all(field.description for field in component.settings.model_fields.values())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SmaCrossSettings(fast=50, slow=10), r"fast \(50\) is not below slow \(10\); swap them or make slow larger"),
        (lambda: SmaCrossSettings(size=0.0), "greater than 0"),
        (lambda: RsiReversionSettings(oversold=60), "the levels do not rise; set oversold below leave"),
        (lambda: RsiReversionSettings(overbought=120), "less than 100"),
        (lambda: BollingerReversionSettings(length=1), "greater than or equal to 2"),
        (lambda: DonchianBreakoutSettings(entry=0), "greater than or equal to 1"),
        (lambda: MomentumRotationSettings(top=0), "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make()
