"""How far the price went for and against a trade."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from herald.model import Side
from herald.statistics import excursions, trade_rates
from tests.runs import make_bars, make_terms, make_trade

BARS = make_bars([(100, 103, 99, 101), (101, 108, 97, 102), (102, 104, 100, 103), (103, 120, 50, 100)])
MARKET, TERMS = {"TEST": BARS}, {"TEST": make_terms()}


def test_a_long_trade_has_the_high_in_its_favour_and_the_low_against_it() -> None:
    # Held over the first three bars: highest 108, lowest 97, entry 100.
    found = excursions([make_trade(3.0, entry=0, leave=3)], MARKET, TERMS, "USD")

    assert ([8.0], [-3.0]) == (found.favourable.tolist(), found.adverse.tolist())


def test_a_short_trade_has_them_the_other_way_round() -> None:
    found = excursions([make_trade(-2.0, entry=0, leave=2, side=Side.SELL)], MARKET, TERMS, "USD")

    assert ([3.0], [-8.0]) == (found.favourable.tolist(), found.adverse.tolist())


def test_the_bar_that_begins_at_the_exit_does_not_count() -> None:
    # The fourth bar reaches 120 and 50; a trade that leaves at its open saw neither.
    found = excursions([make_trade(3.0, entry=2, leave=3)], MARKET, TERMS, "USD")

    assert ([4.0], [0.0]) == (found.favourable.tolist(), found.adverse.tolist())


def test_a_trade_between_two_bars_knows_its_own_prices() -> None:
    found = excursions([make_trade(-7.0, entry=2, leave=2)], MARKET, TERMS, "USD")

    assert ([0.0], [-7.0]) == (found.favourable.tolist(), found.adverse.tolist())


def test_size_and_contract_scale_the_money() -> None:
    trade = msgspec.structs.replace(make_trade(3.0, entry=0, leave=3), size=2.0, gross=60.0)

    found = excursions([trade], MARKET, {"TEST": make_terms(contract_size=10.0)}, "USD")

    assert ([160.0], [-60.0]) == (found.favourable.tolist(), found.adverse.tolist())


def test_many_trades_agree_with_a_plain_loop() -> None:
    draw = np.random.default_rng(3)
    closes = 100 + draw.normal(0, 1, 300).cumsum()
    rows = [(a, max(a, b) + 0.3, min(a, b) - 0.2, b) for a, b in pairwise(closes.tolist())]
    bars = make_bars(rows)
    trades = []
    for _ in range(60):
        entry, leave = sorted(draw.integers(0, 299, 2).tolist())
        trades.append(make_trade(float(draw.normal()), entry=entry, leave=leave, side=Side(int(draw.choice([1, -1])))))

    found = excursions(trades, {"TEST": bars}, TERMS, "USD")

    for index, trade in enumerate(trades):
        prices = [trade.entry_price, trade.exit_price]
        for i in range(len(bars)):
            if bars.time[i] > trade.entry_time and bars.time[i] - bars.span < trade.exit_time:
                prices += [bars.high[i], bars.low[i]]
        ways = [trade.side * (price - trade.entry_price) for price in prices]
        assert pytest.approx(max(ways)) == found.favourable[index]
        assert pytest.approx(min(ways)) == found.adverse[index]


def test_the_rate_of_a_foreign_quote_follows_from_the_profit() -> None:
    # 3 yen a unit were settled as 0.02 dollars: 1/150 dollar a yen.
    trade = msgspec.structs.replace(make_trade(3.0), gross=0.02)

    assert pytest.approx(1 / 150) == trade_rates([trade], {"TEST": make_terms(quote="JPY")}, "USD")[0]


def test_a_trade_without_a_move_takes_the_rate_of_its_neighbour() -> None:
    told = msgspec.structs.replace(make_trade(3.0), gross=0.02)
    untold = msgspec.structs.replace(make_trade(0.0), gross=0.0)

    rates = trade_rates([untold, told, untold], {"TEST": make_terms(quote="JPY")}, "USD")

    assert [1 / 150] * 3 == pytest.approx(rates.tolist())


def test_no_rate_at_all_is_unknown_and_leaves_the_rest_alone() -> None:
    trade = msgspec.structs.replace(make_trade(0.0), gross=0.0)

    assert math.isnan(trade_rates([trade], {"TEST": make_terms(quote="JPY")}, "USD")[0])


def test_no_trade_has_no_excursion() -> None:
    assert 0 == len(excursions([], MARKET, TERMS, "USD").favourable)


def test_a_symbol_without_bars_has_entry_and_exit_only() -> None:
    found = excursions([make_trade(5.0)], {}, TERMS, "USD")

    assert ([5.0], [0.0]) == (found.favourable.tolist(), found.adverse.tolist())
