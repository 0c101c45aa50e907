"""What is held and what it is worth."""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from herald.model.instrument import Instrument

__all__ = ["Account", "AccountMode", "Position"]


class AccountMode(StrEnum):
    """How a broker keeps several trades in one symbol."""

    NETTING = "netting"
    """One position a symbol; trades add up."""
    HEDGING = "hedging"
    """One position a trade; long and short may be open together."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """What one book holds of one symbol.

    Attributes:
        symbol: The instrument.
        size: Lots, signed: positive is long; 0 is flat.
        average_price: Mean entry price, quote currency per unit; NaN when flat.
        realized: Profit of what was closed so far, quote currency, before fees.
        opened: When it last left flat, nanoseconds UTC; 0 when flat.
        tickets: The broker's tickets behind it.
    """

    symbol: str
    size: float = 0.0
    average_price: float = math.nan
    realized: float = 0.0
    opened: int = 0
    tickets: tuple[str, ...] = ()

    def unrealized(self, price: float, instrument: Instrument) -> float:
        """Return the profit if it were closed at *price*, quote currency, before fees."""
        if self.size == 0:
            return 0.0
        return (price - self.average_price) * self.size * instrument.contract_size


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an account, as its broker states it.

    Attributes:
        id: The broker's account number.
        server: The broker's server.
        real: Whether real money is at stake.
        currency: In which every amount here is stated.
        mode: Netting or hedging.
        balance: Deposits plus realised profit less fees.
        equity: Balance plus open profit and *swap*.
        margin_used: Held back for open positions.
        margin_free: Equity less *margin_used*.
        leverage: Notional that one unit of margin carries, >= 1.
        time: When this was true, nanoseconds UTC.
        swap: Interest that open positions have gathered, where the broker states it; it becomes balance when they close.
    """

    id: str
    server: str
    real: bool
    currency: str
    mode: AccountMode
    balance: float
    equity: float
    margin_used: float
    margin_free: float
    leverage: float
    time: int
    swap: float = 0.0
