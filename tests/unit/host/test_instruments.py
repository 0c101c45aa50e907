"""Terms of a symbol: the config over a shipped set over the connector, complete and without contradiction."""

from __future__ import annotations

import math

import pytest

from herald.errors import ConfigError
from herald.host.instruments import LIKE, resolve_instrument
from herald.host.tables import InstrumentTable
from herald.model import Instrument


def test_instrument_terms_are_merged_over_what_the_connector_says() -> None:
    known = Instrument(symbol="X", quote="EUR", price_step=0.5, size_step=1, min_size=1)

    merged = resolve_instrument("X", known, InstrumentTable(price_step=0.25))

    assert (0.25, "EUR", 1) == (merged.price_step, merged.quote, merged.size_step)


def test_instrument_that_lacks_a_term_says_which_and_how_to_state_it() -> None:
    with pytest.raises(
        ConfigError,
        match=r"the terms of GBPUSD lack quote, price_step, size_step, min_size, contract_size; add \[instruments.GBPUSD\]",
    ):
        resolve_instrument("GBPUSD", None, None)


@pytest.mark.parametrize(
    ("symbol", "like", "terms"),
    [
        # 1 lot of a currency pair is 100,000 units of its base; a point is the fifth digit, in yen the third.
        ("GBPUSD.x", "fx_major", ("GBP", "USD", 1e-5, 100_000.0)),
        ("USDJPYm", "fx_jpy", ("USD", "JPY", 1e-3, 100_000.0)),
        ("XAUUSD", "metal", ("XAU", "USD", 0.01, 100.0)),
        ("BTCUSD", "crypto", ("BTC", "USD", 0.01, 1.0)),
    ],
)
def test_like_takes_the_currencies_from_the_symbol(symbol: str, like: str, terms: tuple[object, ...]) -> None:
    found = resolve_instrument(symbol, None, InstrumentTable(like=like))

    assert terms == (found.base, found.quote, found.price_step, found.contract_size)


@pytest.mark.parametrize(
    ("symbol", "like"), [("AAPL", "stock"), ("US500", "index"), ("BTCUSDT", "crypto"), ("DAX40", "fx_major")]
)
def test_currency_that_cannot_be_told_from_the_symbol_is_asked_for(symbol: str, like: str) -> None:
    with pytest.raises(ConfigError, match=f"the terms of {symbol} lack quote; add"):
        resolve_instrument(symbol, None, InstrumentTable(like=like))

    assert "USD" == resolve_instrument(symbol, None, InstrumentTable(like=like, quote="USD")).quote


@pytest.mark.parametrize(("symbol", "like", "right"), [("USDJPY", "fx_major", "fx_jpy"), ("EURUSD", "fx_jpy", "fx_major")])
def test_price_step_of_yen_pairs_is_not_mixed_up(symbol: str, like: str, right: str) -> None:
    with pytest.raises(ConfigError, match=f'{symbol} is quoted in .* the price step of {like} is wrong; write like = "{right}"'):
        resolve_instrument(symbol, None, InstrumentTable(like=like))


def test_every_shipped_set_makes_an_instrument() -> None:
    for name in LIKE:
        symbol = "USDJPY" if name == "fx_jpy" else "EURUSD"
        found = resolve_instrument(symbol, None, InstrumentTable(like=name, quote="USD" if name in ("stock", "index") else None))

        assert 0 < found.min_size < found.max_size
        assert math.isclose(found.min_size, round(found.min_size / found.size_step) * found.size_step)


def test_terms_that_contradict_what_the_connector_says_are_refused() -> None:
    known = Instrument(symbol="X", quote="EUR", price_step=0.5, size_step=1, min_size=1, max_size=5)

    with pytest.raises(ConfigError, match=r"instruments.X: min_size of 'X' must lie in 0..max_size"):
        resolve_instrument("X", known, InstrumentTable(min_size=9))
