"""What can be traded, in which steps, and what one lot of it is."""

from __future__ import annotations

import math

import msgspec

__all__ = ["Instrument"]


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """The terms of one symbol.

    Attributes:
        symbol: The broker's name for it.
        base: What is bought, such as ``GBP``; empty where it has no currency.
        quote: The currency in which the price is stated, such as ``USD``.
        price_step: Smallest change of the price ("point"), quote currency per unit, > 0.
        size_step: Smallest change of the size, lots, > 0.
        min_size: Smallest order, lots.
        max_size: Largest order, lots.
        contract_size: Units in one lot, > 0.
        margin: Fixed initial margin of one lot, quote currency; 0 where the account's leverage decides.
    """

    symbol: str
    base: str = ""
    quote: str
    price_step: float
    size_step: float
    min_size: float
    max_size: float = math.inf
    contract_size: float = 1.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("price_step", "size_step", "contract_size"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} of {self.symbol!r} must be positive and finite, not {value!r}")
        if not 0 <= self.min_size <= self.max_size:
            raise ValueError(f"min_size of {self.symbol!r} must lie in 0..max_size, not {self.min_size!r}")

    def round_price(self, price: float) -> float:
        """Return *price* at the nearest step, free of binary dust (1.23456, never 1.2345600000000001)."""
        return round(round(price / self.price_step) * self.price_step, 10)

    def round_size(self, size: float) -> float:
        """Return *size* rounded toward zero to a whole number of steps; it may be 0.

        A size within a billionth of the next step counts as that step, so that ``0.3`` stays ``0.3``
        although ``0.3 / 0.1`` is a little under 3.
        """
        steps = size / self.size_step
        count = int(steps + math.copysign(1e-9 * (1 + abs(steps)), steps))
        parts = self.steps_per_lot
        return count / parts if parts else round(count * self.size_step, 10)

    @property
    def steps_per_lot(self) -> int:
        """Return how many steps make one lot; 0 where that is no whole number.

        Dividing a count by it gives the nearest double to the decimal size, without binary dust.
        """
        inverse = 1 / self.size_step
        whole = round(inverse)
        return whole if whole and abs(inverse - whole) <= 1e-9 * whole else 0
