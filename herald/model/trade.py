"""A finished round trip, as reports and statistics see it."""

from __future__ import annotations

import msgspec

from herald.model.order import Side

__all__ = ["Trade"]


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A closed (part of a) position: one closing fill against the average entry price of its book.

    Attributes:
        strategy: The book.
        symbol: The instrument.
        side: BUY for a long trade.
        size: Lots closed, > 0.
        entry_time: When the position left flat, nanoseconds UTC.
        entry_price: Average entry price, quote currency per unit.
        exit_time: Time of the closing fill.
        exit_price: Price of the closing fill.
        gross: Profit before fees and swap, account currency.
        fees: This part's share of the entry fees plus the exit fee, account currency.
        entry_order: Id of the order that opened the position.
        exit_order: Id of the order that closed this part.
        entry_tag: Tag of the former.
        exit_tag: Tag of the latter: why it was closed.
        swap: Interest that this part gathered overnight, account currency; negative where it cost.
    """

    strategy: str
    symbol: str
    side: Side
    size: float
    entry_time: int
    entry_price: float
    exit_time: int
    exit_price: float
    gross: float
    fees: float
    entry_order: str
    exit_order: str
    entry_tag: str = ""
    exit_tag: str = ""
    swap: float = 0.0

    @property
    def net(self) -> float:
        """Return the profit after fees and swap, account currency."""
        return self.gross - self.fees + self.swap
