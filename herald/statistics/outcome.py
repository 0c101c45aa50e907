"""What a summary needs to know of a run; `herald.results.RunResult` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from herald.model import BarSeries, Fill, FloatArray, Instrument, IntArray, Order, Position, Trade

__all__ = ["Curve", "Outcome"]


class Curve(Protocol):
    """The account at every moment; see `herald.results.EquityCurve`."""

    @property
    def time(self) -> IntArray:
        """Moments, nanoseconds UTC, increasing."""

    @property
    def equity(self) -> FloatArray:
        """Balance plus open profit and gathered swap."""

    @property
    def balance(self) -> FloatArray:
        """Starting cash plus realised profit and paid swap less fees."""

    @property
    def exposure(self) -> FloatArray:
        """Sum of the absolute notional of all positions."""


class Outcome(Protocol):
    """A finished run; the words are those of `herald.results.RunResult`."""

    @property
    def currency(self) -> str:
        """Account currency."""

    @property
    def cash(self) -> float:
        """Starting balance."""

    @property
    def leverage(self) -> float:
        """Of the account."""

    @property
    def orders(self) -> Sequence[Order]:
        """Every order in its last state."""

    @property
    def fills(self) -> Sequence[Fill]:
        """Every execution."""

    @property
    def trades(self) -> Sequence[Trade]:
        """Closed round trips, by exit."""

    @property
    def equity(self) -> Curve:
        """The account over time."""

    @property
    def positions(self) -> Sequence[tuple[str, Position]]:
        """(strategy, position) still open."""

    @property
    def market(self) -> Mapping[str, BarSeries]:
        """The finest series of every symbol."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Terms of every symbol."""
