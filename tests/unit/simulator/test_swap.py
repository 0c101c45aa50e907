"""Rule C8 of docs/fill-rules.md, derived by hand: what a night costs, when it ends, and who pays for it.

Bars end on whole hours from Tuesday, 2 January 2024 on. A lot is 10 units and a step is 0.01, so a point is worth 0.10 a lot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import herald.testing.mt5.terminal as mt5
from herald.cli.backtest import _print as show
from herald.clock import DAY, HOUR, parse_time
from herald.contracts import Context
from herald.errors import ConfigError
from herald.model import AccountMode, BarSeries, Instrument, Timeframe
from herald.model.instrument import SwapMode, server_zone
from herald.results import RunResult
from herald.runtime import simulate
from herald.simulator.swap import counts
from herald.statistics import summary

from .conftest import Action, instrument, script
from .test_rule_edges import play

MON, TUE, WED, THU, FRI = (f"2024-01-{day:02}" for day in (1, 2, 3, 4, 5))
LONG, SHORT = -7.0, 3.0


def terms(symbol: str = "X", **more: Any) -> Instrument:
    """Return an instrument with a swap in points: 0.70 a lot and night for who is long, 0.30 for who is short."""
    values = {"contract_size": 10.0, "swap_long": LONG, "swap_short": SHORT, "swap_mode": SwapMode.POINTS} | more
    return instrument(symbol, **values)


def hours(first: str, last: str, price: float = 10.0, symbol: str = "X", step: int = 1, weekend: bool = True) -> BarSeries:
    """Return flat bars that end on every *step*-th hour from *first* to *last*, both included; none on Saturday and Sunday."""
    time = np.arange(parse_time(first), parse_time(last) + 1, step * HOUR)
    if weekend:
        time = np.array([at for at in time if (at - 1) // DAY % 7 not in (2, 3)])  # the first day of 1970 was a Thursday
    flat = np.full(len(time), price)
    return BarSeries(symbol, step * HOUR, time, flat, flat, flat, flat, np.full(len(time), 100.0))


def at(series: BarSeries, text: str) -> int:
    """Return the number of the bar that ends at a time: what a script asks for then is filled at the open of the next one."""
    return int(np.searchsorted(series.time, parse_time(text)))


def held(first: str, last: str, size: float = 1.0, *, run: tuple[str, str] = (MON, "2024-01-13"), **more: Any) -> RunResult:
    """Return a run that holds *size* lots from the open of the bar behind *first* to that of the bar behind *last*."""
    data = hours(*run, **{name: more.pop(name) for name in ("price", "step") if name in more})
    actions: Mapping[int, Action] = {
        at(data, first): lambda ctx: ctx.buy("X", size) if size > 0 else ctx.sell("X", -size),
        at(data, last): lambda ctx: ctx.close("X"),
    }
    quiet, options = more.pop("quiet", False), more.pop("options", {})
    return play(quiet, actions, data, terms={"X": terms(**more)}, **options)


def paid(result: RunResult) -> list[float]:
    """Return the swap of every trade."""
    return [trade.swap for trade in result.trades]


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize(
    ("first", "last", "size", "nights"),
    [
        (f"{TUE}T10", f"{TUE}T20", 1.0, 0),  # within a day
        (f"{TUE}T10", f"{WED}T10", 1.0, 1),
        (f"{WED}T10", f"{THU}T10", 2.0, 3),  # the night behind Wednesday counts three times
        (f"{TUE}T10", f"{FRI}T10", 1.0, 5),
        (f"{TUE}T10", f"{FRI}T10", -2.0, 5),
        (f"{FRI}T10", "2024-01-08T10", 1.0, 1),  # a weekend: the night behind Friday, none behind Saturday and Sunday
        (f"{TUE}T10", "2024-01-09T10", 1.0, 7),  # a week
    ],
)
def test_c8_a_night_is_charged_for_a_lot_and_three_times_on_one_day(
    quiet: bool, first: str, last: str, size: float, nights: int
) -> None:
    result = held(first, last, size, quiet=quiet)

    expected = nights * abs(size) * (-0.7 if size > 0 else 0.3)
    assert [pytest.approx(expected, abs=1e-9)] == paid(result)
    assert [0.0, pytest.approx(expected, abs=1e-9)] == [fill.swap for fill in result.fills]
    assert 10_000 + expected == pytest.approx(result.equity.balance[-1], abs=1e-9)
    assert result.trades[0].gross + expected == pytest.approx(result.trades[0].net, abs=1e-9)
    assert result.account["balance"] == pytest.approx(result.account["cash"], abs=1e-9)


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize(
    ("first", "last", "nights"),
    [
        (f"{TUE}T10", f"{TUE}T22", 0),  # closed at 22:00, two hours before midnight
        (f"{TUE}T10", f"{TUE}T23", 0),  # closed at 23:00, an hour before it
        (f"{TUE}T10", f"{WED}T00", 1),  # closed at the open of the bar that begins at midnight: the night is over by then
        (f"{WED}T00", f"{WED}T23", 0),  # opened at that open, closed before the next midnight: flat at both
        (f"{TUE}T23", f"{WED}T00", 1),  # opened an hour before it
    ],
)
def test_c8_what_counts_is_what_is_held_at_midnight(quiet: bool, first: str, last: str, nights: int) -> None:
    assert [pytest.approx(-0.7 * nights, abs=1e-9)] == paid(held(first, last, quiet=quiet))


def test_c8_an_exit_inside_the_bar_that_ends_at_midnight_is_before_it() -> None:
    data = hours(MON, FRI)
    last = at(data, f"{WED}T00")
    low = data.low.copy()
    low[last] = 9.0
    data = BarSeries("X", HOUR, data.time, data.open, data.high, low, data.close, data.volume)

    result = play(False, {at(data, f"{TUE}T10"): lambda ctx: ctx.buy("X", 1, stop_loss=9.5)}, data, terms={"X": terms()})

    assert parse_time(f"{WED}T00") == result.trades[0].exit_time
    assert [0.0] == paid(result)


def in_four_hours(first: str, last: str, ask: Action, low: str = "") -> RunResult:
    """Return a run on bars of four hours that asks at *first* and closes at *last*; the bar that ends at *low* falls to 9.00.

    Midnight of UTC+2 is 22:00 UTC, inside the bar from 20:00 to 24:00.
    """
    data = hours(MON, FRI, step=4)
    lows = data.low.copy()
    if low:
        lows[at(data, low)] = 9.0
    data = BarSeries("X", 4 * HOUR, data.time, data.open, data.high, lows, data.close, data.volume)
    actions: Mapping[int, Action] = {at(data, first): ask, at(data, last): lambda ctx: ctx.close("X")}
    return simulate([script(actions, timeframes=(Timeframe(4 * 3_600),))], [data], {"X": terms(swap_zone="UTC+2")})


def test_c8_midnight_inside_a_bar_lies_behind_its_first_price() -> None:
    into = in_four_hours(f"{MON}T20", f"{TUE}T00", lambda ctx: ctx.buy("X", 1))
    out_of = in_four_hours(f"{TUE}T00", f"{TUE}T20", lambda ctx: ctx.buy("X", 1))

    assert [pytest.approx(-0.7)] == paid(into)
    assert [0.0] == paid(out_of)


def test_c8_midnight_inside_a_bar_lies_before_what_the_bar_reaches() -> None:
    result = in_four_hours(f"{MON}T20", f"{TUE}T12", lambda ctx: ctx.buy("X", 1, limit=9.5), low=f"{TUE}T00")

    assert parse_time(f"{TUE}T00") == result.trades[0].entry_time
    assert [0.0] == paid(result)


def test_c8_an_addition_and_a_part_that_is_closed_are_charged_and_paid_by_their_lots() -> None:
    data = hours(MON, "2024-01-13")
    actions: Mapping[int, Action] = {
        at(data, f"{TUE}T10"): lambda ctx: ctx.buy("X", 1),
        at(data, f"{WED}T10"): lambda ctx: ctx.buy("X", 2),  # 0.70 gathered
        at(data, f"{THU}T10"): lambda ctx: ctx.sell("X", 2),  # 3 lots, the triple night: 7.00 gathered, two thirds paid
        at(data, f"{FRI}T10"): lambda ctx: ctx.sell("X", 2),  # one night of one lot: 0.70; all is paid, and it turns short
        at(data, "2024-01-08T10"): lambda ctx: ctx.close("X"),  # one night of one lot short
    }

    result = play(False, actions, data, terms={"X": terms()})

    assert [pytest.approx(one, abs=1e-6) for one in (-14 / 3, -7 / 3 - 0.7, 0.3)] == paid(result)
    assert 10_000 - 7.0 - 0.7 + 0.3 == pytest.approx(result.equity.balance[-1], abs=1e-9)


def test_c8_what_is_gathered_is_equity_at_once_and_balance_when_it_is_paid() -> None:
    result = held(f"{TUE}T10", f"{THU}T10")

    def on(text: str) -> tuple[float, float]:
        place = int(np.searchsorted(result.equity.time, parse_time(text)))
        return float(result.equity.equity[place]), float(result.equity.balance[place])

    assert (10_000.0, 10_000.0) == on(f"{TUE}T23")
    assert (pytest.approx(9_999.3), 10_000.0) == on(f"{WED}T00")
    assert (pytest.approx(9_997.2), 10_000.0) == on(f"{THU}T10")
    assert (pytest.approx(9_997.2), pytest.approx(9_997.2)) == on(f"{THU}T11")


def test_c8_a_strategy_sees_what_it_has_gathered_and_what_is_open_at_the_end_is_stated() -> None:
    data, seen = hours(MON, THU), []
    actions: Mapping[int, Action] = {
        at(data, f"{TUE}T10"): lambda ctx: ctx.buy("X", 1),
        at(data, f"{WED}T00"): lambda ctx: seen.append(ctx.account.equity),
    }

    result = play(False, actions, data, terms={"X": terms()})

    assert [pytest.approx(9_999.3)] == seen
    assert (pytest.approx(9_997.2), 10_000.0) == (result.account["equity"], result.account["balance"])
    flat = play(False, actions, data, terms={"X": terms()}, on_stop="flatten")
    assert [pytest.approx(-2.8)] == paid(flat)


@pytest.mark.parametrize(
    ("mode", "long", "short"),
    # Netting: 0.6 long in all, at 0.70 a lot; the book against it gets what it spares. Hedging: each for itself.
    [(AccountMode.NETTING, -0.7, 0.28), (AccountMode.HEDGING, -0.7, 0.12)],
)
def test_c8_books_of_one_symbol_are_one_position_on_a_netting_account(mode: AccountMode, long: float, short: float) -> None:
    data = hours(MON, FRI)

    def holding(size: float) -> dict[int, Callable[[Context], object]]:
        return {
            at(data, f"{TUE}T10"): lambda ctx: ctx.buy("X", size) if size > 0 else ctx.sell("X", -size),
            at(data, f"{WED}T10"): lambda ctx: ctx.close("X"),
        }

    result = simulate([script(holding(1.0), "a"), script(holding(-0.4), "b")], [data], {"X": terms()}, mode=mode)

    assert {"a": pytest.approx(long), "b": pytest.approx(short)} == {trade.strategy: trade.swap for trade in result.trades}


def test_c8_the_night_ends_at_the_servers_midnight_in_winter_and_in_summer() -> None:
    # Seven hours ahead of New York midnight is 22:00 UTC in winter, 21:00 in summer; New York changed on 10 March.
    for day, midnight in (("2024-03-05", 22), ("2024-03-12", 21)):
        before, behind = f"{day}T{midnight - 2}", f"{day}T{midnight}"
        run = (day, f"{day}T23")
        assert [0.0] == paid(held(f"{day}T10", before, run=run, swap_zone="America/New_York+7"))
        assert [pytest.approx(-0.7)] == paid(held(f"{day}T10", behind, run=run, swap_zone="America/New_York+7"))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (SwapMode.POINTS, -7.0 * 0.01 * 10),
        (SwapMode.REOPEN_CLOSE, -7.0 * 0.01 * 10),
        (SwapMode.REOPEN_BID, -7.0 * 0.01 * 10),
        (SwapMode.ACCOUNT, -7.0),
        (SwapMode.BASE, -7.0 * 10.0),  # seven of what costs 10.00 each
        (SwapMode.INTEREST_CURRENT, -0.07 / 360 * 10.0 * 10),
        (SwapMode.NONE, 0.0),
    ],
)
def test_c8_the_unit_is_the_mode(mode: SwapMode, expected: float) -> None:
    assert [pytest.approx(expected, abs=1e-9)] == paid(held(f"{TUE}T10", f"{WED}T10", swap_mode=mode, base="GLD"))


def test_c8_interest_is_of_the_entry_price_or_of_the_one_at_midnight() -> None:
    data = hours(MON, FRI)
    close = np.where(data.time >= parse_time(f"{TUE}T23"), 12.0, 10.0)
    data = BarSeries("X", HOUR, data.time, data.open, np.maximum(close, data.open), data.low, close, data.volume)
    actions: Mapping[int, Action] = {
        at(data, f"{TUE}T10"): lambda ctx: ctx.buy("X", 1),
        at(data, f"{WED}T10"): lambda ctx: ctx.close("X"),
    }

    for mode, price in ((SwapMode.INTEREST_OPEN, 10.0), (SwapMode.INTEREST_CURRENT, 12.0)):
        result = play(False, actions, data, terms={"X": terms(swap_mode=mode, swap_long=-3.6)})
        assert [pytest.approx(-0.036 / 360 * price * 10)] == paid(result)


def test_c8_points_are_turned_into_the_accounts_currency_at_the_rate_of_the_night() -> None:
    x, pair = hours(MON, FRI), hours(MON, FRI, symbol="EURUSD")
    rate = np.where(pair.time >= parse_time(f"{TUE}T23"), 1.2, 1.1)
    pair = BarSeries("EURUSD", HOUR, pair.time, rate, rate, rate, rate, pair.volume)
    known = {"X": terms(quote="EUR"), "EURUSD": instrument("EURUSD", base="EUR", quote="USD")}
    actions: Mapping[int, Action] = {
        at(x, f"{TUE}T10"): lambda ctx: ctx.buy("X", 1),
        at(x, f"{WED}T10"): lambda ctx: ctx.close("X"),
    }

    result = play(False, actions, x, pair, terms=known)

    assert [pytest.approx(-0.7 * 1.2)] == paid(result)


def test_c8_a_swap_in_a_currency_that_is_not_known_is_refused() -> None:
    for mode in (SwapMode.MARGIN, SwapMode.BASE):
        with pytest.raises(ConfigError, match='instruments.X.swap_mode.*swap_mode = "account"'):
            held(f"{TUE}T10", f"{WED}T10", swap_mode=mode)


def test_c8_a_run_without_a_swap_is_what_it_was() -> None:
    with_none = held(f"{TUE}T10", f"{FRI}T10", swap_mode=SwapMode.NONE)
    with_zero = held(f"{TUE}T10", f"{FRI}T10", swap_long=0.0, swap_short=0.0)

    assert [0.0] == paid(with_none) == paid(with_zero)
    assert np.array_equal(with_none.equity.equity, with_zero.equity.equity)


def test_swaps_are_a_statistic_and_a_line_of_the_summary_where_there_are_any(capsys: pytest.CaptureFixture[str]) -> None:
    for more, expected in (({}, -3.5), ({"swap_mode": SwapMode.NONE}, 0.0)):
        result = held(f"{TUE}T10", f"{FRI}T10", **more)
        numbers = summary(result)
        show(numbers, result, 1.0)

        assert pytest.approx(expected) == numbers["swaps"]
        assert pytest.approx(expected) == numbers["total_net_profit"]
        assert ("Swaps" in capsys.readouterr().out) is bool(expected)


# --- the rules themselves -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "zone", "seconds"),
    [
        ("UTC", "UTC", 0), ("America/New_York+7", "America/New_York", 25_200), ("UTC-3:30", "UTC", -12_600),
        ("Etc/GMT+2", "Etc/GMT+2", 0), ("Europe/Athens", "Europe/Athens", 0),
    ],
)  # fmt: skip
def test_a_servers_zone_is_a_name_with_hours_on_top(text: str, zone: str, seconds: int) -> None:
    found, ahead = server_zone(text)

    assert (zone, seconds) == (str(found), ahead)


@pytest.mark.parametrize("text", ["", "ny+7", "UTC+15", "Nowhere/Here", "UTC+2:75", "+02:00"])
def test_what_names_no_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"swap_zone of 'X': .*America/New_York\+7"):
        terms(swap_zone=text)


def test_a_week_has_seven_nights_wherever_the_triple_one_is() -> None:
    for triple in range(5):
        assert 7 == sum(counts(day, triple) for day in range(7))


# --- the same as the simulated terminal -----------------------------------------------------------


@pytest.mark.parametrize(("mode", "size", "days"), [(1, 1.0, 2), (1, -2.0, 6), (2, 1.0, 1), (6, -1.0, 4)])
def test_backtest_and_simulated_terminal_charge_the_same(tmp_path: Path, mode: int, size: float, days: int) -> None:
    begin = datetime(2024, 1, 2, 11, 0, tzinfo=UTC)
    symbol = {
        "name": "EURUSD", "currency_base": "EUR", "price": 1.1, "spread": 0, "volatility": 0.0, "swap_mode": mode,
        "swap_long": -6.5, "swap_short": 1.25,
    }  # fmt: skip
    still = {"symbols": [symbol], "time_scale": 1e-9, "commission": 0.0, "history_days": 0.01, "book": str(tmp_path / "book")}
    mt5.configure(still | {"start": begin.timestamp()})
    assert mt5.initialize()
    form = {"action": 1, "symbol": "EURUSD", "type": 0 if size > 0 else 1, "volume": abs(size), "price": 1.1}
    assert 10009 == mt5.order_send(form).retcode
    mt5.shutdown()
    mt5._state.broker.book.close()
    mt5._state.broker._lock.release()
    mt5.configure(still | {"start": (begin + timedelta(days=days)).timestamp()})
    assert mt5.initialize()
    (position,) = mt5.positions_get()
    mt5.shutdown()

    result = held(
        f"{TUE}T10", (begin + timedelta(days=days)).strftime("%Y-%m-%dT10"), size, price=1.1, price_step=0.00001,
        contract_size=100_000.0, base="EUR", swap_long=-6.5, swap_short=1.25, swap_mode=tuple(SwapMode)[mode],
        swap_zone="America/New_York+7", options={"leverage": 500.0, "cash": 100_000.0},
    )  # fmt: skip

    assert position.swap != 0
    assert position.swap == pytest.approx(paid(result)[0], abs=0.005 * days)  # the terminal rounds every night to cents
