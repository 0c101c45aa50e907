"""What a trade costs in the simulator: slippage on the price, commission on the account.

The spread is not here: bars are bid prices, and a buyer pays bid plus spread (rule C1 of the fill rules).
"""

from __future__ import annotations

from dataclasses import dataclass

from herald.model import Instrument

__all__ = ["Costs"]


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost terms of a backtest.

    Attributes:
        spread_points: Fixed spread, in price steps; used unless *spread_data*.
        spread_data: Take the spread from the data's own column instead.
        commission_per_lot: Account currency per lot and side.
        commission_per_unit: Account currency per unit (lots times contract size) and side.
        commission_fraction: Fraction of the notional, per side.
        commission_minimum: Least commission of one order, account currency.
        slippage_points: Adverse change of the price, in price steps.
        slippage_range: Adverse change as a fraction of the bar's high minus low.
        slippage_impact: Adverse change as a fraction of the price, times the square of the order's
            share of the bar's volume.
    """

    spread_points: float = 0.0
    spread_data: bool = False
    commission_per_lot: float = 0.0
    commission_per_unit: float = 0.0
    commission_fraction: float = 0.0
    commission_minimum: float = 0.0
    slippage_points: float = 0.0
    slippage_range: float = 0.0
    slippage_impact: float = 0.0

    @property
    def has_slippage(self) -> bool:
        """Return whether prices slip at all."""
        return bool(self.slippage_points or self.slippage_range or self.slippage_impact)

    @property
    def has_commission(self) -> bool:
        """Return whether there is any commission."""
        return bool(self.commission_per_lot or self.commission_per_unit or self.commission_fraction or self.commission_minimum)

    @property
    def needs_volume(self) -> bool:
        """Return whether a bar without a known volume cannot be priced."""
        return self.slippage_impact > 0

    def slip(self, price: float, size: float, reach: float, volume: float, instrument: Instrument) -> float:
        """Return how far the price moves against the order, quote currency per unit, >= 0.

        Args:
            price: Price before slippage.
            size: Lots of this fill.
            reach: High minus low of the bar.
            volume: Volume of the bar, units of the instrument.
            instrument: Terms of the symbol.

        Source:
            The square law is the one of zipline's ``VolumeShareSlippage``: impact grows with the square of
            the share of the volume.
        """
        distance = self.slippage_points * instrument.price_step + self.slippage_range * reach
        if self.slippage_impact:
            share = min(size * instrument.contract_size / volume, 1.0) if volume > 0 else 1.0
            distance += price * self.slippage_impact * share * share
        return distance

    def commission(self, size: float, price: float, rate: float, instrument: Instrument) -> float:
        """Return the commission of an order of *size* lots filled at *price*, account currency.

        Args:
            size: Lots filled so far by the whole order.
            price: Quote currency per unit.
            rate: Account currency per unit of quote currency.
            instrument: Terms of the symbol.
        """
        units = size * instrument.contract_size
        amount = self.commission_per_lot * size + self.commission_per_unit * units
        if self.commission_fraction:
            amount += self.commission_fraction * units * price * rate
        return max(amount, self.commission_minimum)
