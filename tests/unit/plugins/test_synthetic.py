"""The synthetic market."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from herald.clock import DAY, HOUR, MINUTE, SimClock, parse_time
from herald.components import Services
from herald.errors import DataError
from herald.model import BarSeries, Timeframe
from herald.plugins.synthetic import SyntheticConnector, SyntheticSettings, herald_validate, walk

M1, H1, D1 = Timeframe(60), Timeframe(3_600), Timeframe(86_400)
COLUMNS = ("time", "open", "high", "low", "close", "volume")


def connector(seed: int = 1, **terms: Any) -> SyntheticConnector:
    base = {"start": "2024-01-01", "end": "2024-01-15", **terms}
    services = Services("connectors.main", SimClock(), random.Random(seed))
    return SyntheticConnector(SyntheticSettings.model_validate(base), services)


def equal(left: BarSeries, right: BarSeries) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in COLUMNS)


def test_same_seed_gives_the_same_bars_and_another_does_not() -> None:
    bars = connector(seed=1).bars("EURUSD", M1, None, None)

    assert equal(bars, connector(seed=1).bars("EURUSD", M1, None, None))
    assert not equal(bars, connector(seed=2).bars("EURUSD", M1, None, None))


def test_stated_seed_goes_before_the_runs() -> None:
    one, two = connector(seed=1, **{}), connector(seed=2)
    stated = [SyntheticConnector(SyntheticSettings(seed=9), Services("x", SimClock(), random.Random(n))) for n in (1, 2)]
    until = parse_time("2020-01-03")

    assert not equal(one.bars("EURUSD", H1, None, None), two.bars("EURUSD", H1, None, None))
    assert equal(stated[0].bars("EURUSD", H1, None, until), stated[1].bars("EURUSD", H1, None, until))


def test_symbols_walk_apart() -> None:
    source = connector(prices={"A": 10.0, "B": 10.0})

    assert source.bars("A", M1, None, None).close.tolist() != source.bars("B", M1, None, None).close.tolist()


def test_a_bar_is_the_same_in_whatever_range_it_is_asked_for() -> None:
    whole = connector().bars("EURUSD", M1, None, parse_time("2024-03-01"))
    start, end = parse_time("2024-01-09T03:00"), parse_time("2024-01-10")

    alone = connector().bars("EURUSD", M1, start, end)
    grown = connector()
    grown.bars("EURUSD", M1, None, parse_time("2024-01-04"))

    assert equal(whole.between(start, end), alone)
    assert equal(alone, grown.bars("EURUSD", M1, start, end))


def test_hours_are_made_of_the_minutes() -> None:
    source = connector()
    minutes, hours = source.bars("EURUSD", M1, None, None), source.bars("EURUSD", H1, None, None)

    assert len(minutes) == 60 * len(hours)
    assert minutes.high.reshape(-1, 60).max(axis=1).tolist() == hours.high.tolist()
    assert minutes.close[59::60].tolist() == hours.close.tolist()


def test_bars_are_consistent_and_each_opens_where_the_last_closed() -> None:
    bars = connector().bars("EURUSD", M1, None, None)

    assert bool((bars.low <= np.minimum(bars.open, bars.close)).all())
    assert bool((bars.high >= np.maximum(bars.open, bars.close)).all())
    assert bars.open[1:].tolist() == bars.close[:-1].tolist()
    assert 1.1 == bars.open[0]
    assert bool((np.abs(bars.close * 1e5 - np.round(bars.close * 1e5)) < 1e-6).all())  # whole points
    assert bool((bars.volume >= 20).all())


def test_weekends_are_left_out_unless_asked_for() -> None:
    days = connector().bars("EURUSD", D1, None, None)
    every_day = connector(weekdays_only=False).bars("EURUSD", D1, None, None)

    assert (10, 14) == (len(days), len(every_day))  # two weeks from a Monday
    assert {0, 1, 2, 3, 4} == {int((at - DAY) // DAY + 3) % 7 for at in days.time.tolist()}


def test_returns_have_the_stated_drift_and_volatility() -> None:
    n, volatility, drift = 200_000, 0.001, 0.0002
    open_, high, low, close, _ = walk(n, 100.0, volatility, drift, 1e-12, (5, "X"))

    returns = np.log(close / open_)
    # four standard errors of a mean and of a standard deviation
    assert drift == pytest.approx(float(returns.mean()), abs=4 * volatility / n**0.5)
    assert volatility == pytest.approx(float(returns.std()), abs=4 * volatility / (2 * n) ** 0.5)
    # The mean of a Brownian motion's maximum over a step is volatility * sqrt(2 / pi) without drift (reflection principle).
    expected = volatility * (2 / np.pi) ** 0.5
    assert expected == pytest.approx(float(np.log(high / open_).mean()), abs=4 * volatility / n**0.5 + drift)
    assert expected == pytest.approx(float(np.log(open_ / low).mean()), abs=4 * volatility / n**0.5 + drift)


def test_no_volatility_is_a_straight_line() -> None:
    bars = connector(volatility=0.0, drift=0.0).bars("EURUSD", H1, None, None)

    assert {1.1} == set(bars.high.tolist()) | set(bars.low.tolist())


def test_spread_is_given_in_price_or_not_at_all() -> None:
    assert connector().bars("EURUSD", M1, None, None).spread is None
    spread = connector(spread_points=12).bars("EURUSD", M1, None, None).spread
    assert spread is not None
    assert spread[0] == pytest.approx(0.00012, abs=1e-15)


def test_range_is_open_at_the_start_and_closed_at_the_end() -> None:
    start = parse_time("2024-01-02")

    bars = connector().bars("EURUSD", M1, start, start + 2 * MINUTE)

    assert [start + MINUTE, start + 2 * MINUTE] == bars.time.tolist()


@pytest.mark.parametrize(
    ("symbol", "timeframe", "end", "words"),
    [
        ("XXX", M1, None, "no symbol 'XXX' in the synthetic market; there are: EURUSD"),
        ("EURUSD", Timeframe(30), None, "no 30s bars of 'EURUSD'"),
        ("EURUSD", M1, "2023-12-31", "where the walk begins"),
    ],
)
def test_what_is_not_there_is_refused(symbol: str, timeframe: Timeframe, end: str | None, words: str) -> None:
    with pytest.raises(DataError, match=words):
        connector().bars(symbol, timeframe, None, None if end is None else parse_time(end))


def test_instruments_need_no_tables() -> None:
    terms = {each.symbol: each for each in connector(prices={"USDJPY": 150.0, "XAUUSD": 2000.0, "ACME": 40.0}).instruments()}

    jpy, gold, acme = terms["USDJPY"], terms["XAUUSD"], terms["ACME"]
    assert ("JPY", 0.001, 100_000) == (jpy.quote, jpy.price_step, jpy.contract_size)
    assert ("USD", 0.01, 100) == (gold.quote, gold.price_step, gold.contract_size)
    assert ("USD", 1) == (acme.quote, acme.contract_size)


def test_settings_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="start must be before end"):
        connector(start="2024-02-01", end="2024-01-01")


def test_symbols_and_time_frames_the_walk_has_not_are_problems() -> None:
    class Plan:
        mode, base = "backtest", "."

        def chosen(self, kind: str) -> list[Any]:
            settings = SyntheticSettings(prices={"A": 1.0}, timeframe="1h")
            return [type("Planned", (), {"name": "connectors.s", "use": "synthetic", "settings": settings})()]

        def feeds(self, connector: str) -> list[tuple[str, Timeframe]]:
            assert "s" == connector
            return [("A", H1), ("B", H1), ("A", Timeframe(HOUR // 2 // 10**9))]

    found = [(problem.where, problem.what) for problem in herald_validate(Plan())]

    expected = [
        ("connectors.s.prices", "no symbol 'B'; there are: A"),
        ("connectors.s.timeframe", "bars of 1h do not make bars of 30m"),
    ]
    assert expected == found
