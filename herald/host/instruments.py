"""Terms of symbols: what the config states, over a shipped set of terms, over what the connector says."""

from __future__ import annotations

import difflib
from typing import Any

from herald.errors import ConfigError, Problem
from herald.host.tables import InstrumentTable
from herald.model import Instrument

__all__ = ["LIKE", "resolve_instrument"]

LIKE: dict[str, dict[str, Any]] = {
    # Contract of 100,000 units of the base currency in lots of a hundredth, five digits (three against the yen):
    # what retail MetaTrader accounts offer (MetaTrader 5 Help, "Contract Specification").
    "fx_major": {"price_step": 0.00001, "size_step": 0.01, "min_size": 0.01, "max_size": 100.0, "contract_size": 100_000.0},
    "fx_jpy": {"price_step": 0.001, "size_step": 0.01, "min_size": 0.01, "max_size": 100.0, "contract_size": 100_000.0},
    # Spot gold: 100 troy ounces, the size of the COMEX GC contract, quoted in cents.
    "metal": {"price_step": 0.01, "size_step": 0.01, "min_size": 0.01, "max_size": 50.0, "contract_size": 100.0},
    # Whole shares in cents: SEC Rule 612 (17 CFR 242.612) sets the cent for shares of a dollar and more.
    "stock": {"base": "", "price_step": 0.01, "size_step": 1.0, "min_size": 1.0, "contract_size": 1.0},
    # One unit of the index a lot, in tenths: the usual form of an index CFD.
    "index": {"base": "", "price_step": 0.1, "size_step": 0.1, "min_size": 0.1, "contract_size": 1.0},
    # Spot pair of a coin against a dollar: Binance's BTCUSDT steps (its public exchangeInfo, 2024).
    "crypto": {"price_step": 0.01, "size_step": 0.00001, "min_size": 0.00001, "contract_size": 1.0},
}
"""Sets of terms for ``like``; base and quote of the currency pairs come from the six letters of the symbol."""

_YEN = {"fx_major": False, "fx_jpy": True}
"""Sets that are right for prices in yen only, or for all others."""

_REQUIRED = ("quote", "price_step", "size_step", "min_size", "contract_size")


def resolve_instrument(symbol: str, terms: Instrument | None, table: InstrumentTable | None) -> Instrument:
    """Return the terms of *symbol*.

    Args:
        symbol: The instrument.
        terms: What its connector knows, or None.
        table: ``[instruments.SYMBOL]``, or None.

    Raises:
        ConfigError: A term that money needs is known nowhere, or the terms contradict each other.
    """
    values: dict[str, Any] = {}
    if terms is not None:
        values = {name: getattr(terms, name) for name in terms.__struct_fields__ if name != "symbol"}
    where = f"instruments.{symbol}"
    if table is not None:
        if table.like is not None:
            values |= _like(symbol, table.like, where)
        values |= {name: value for name, value in table.model_dump(exclude={"like"}).items() if value is not None}
    missing = [name for name in _REQUIRED if name not in values]
    if missing:
        others = ", ".join(sorted(set(LIKE) - {"fx_major"}))
        hint = f'add [instruments.{symbol}] with them, or with like = "fx_major" (also: {others})'
        raise ConfigError("instruments", [Problem(where, f"the terms of {symbol} lack {', '.join(missing)}", hint)])
    try:
        return Instrument(symbol=symbol, **values)
    except ValueError as error:
        raise ConfigError("instruments", [Problem(where, str(error), "mend the terms")]) from None


def _like(symbol: str, name: str, where: str) -> dict[str, Any]:
    if name not in LIKE:
        near = difflib.get_close_matches(name, LIKE, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(LIKE))}"
        raise ConfigError("instruments", [Problem(f"{where}.like", f"no shipped terms are called {name!r}", hint)])
    values = dict(LIKE[name])
    # A coin's name may have more letters than three ("BTCUSDT"), so there only six letters are clear.
    letters = symbol[:6] if name != "crypto" else symbol
    if "base" not in values and len(letters) == 6 and letters.isalpha():
        values |= {"base": letters[:3].upper(), "quote": letters[3:].upper()}
    if name in _YEN and "quote" in values and (values["quote"] == "JPY") != _YEN[name]:
        right = next(other for other, yen in _YEN.items() if yen != _YEN[name])
        what = f"{symbol} is quoted in {values['quote']}, where the price step of {name} is wrong"
        raise ConfigError("instruments", [Problem(f"{where}.like", what, f'write like = "{right}"')])
    return values
