"""Three sets of limits to start from.

They hold only limits that mean the same on any account and instrument: fractions and counts, no lots and no
amounts. A config names one and replaces single entries; see ``[risk_profile]``.
"""

from __future__ import annotations

from herald.contracts import RiskProfile

__all__ = ["PROFILES"]


def _profile(
    name: str,
    summary: str,
    *,
    symbol: float,
    total: float,
    positions: int,
    orders: int,
    daily_loss: float,
    drawdown: float,
    collar: float,
    per_minute: int,
) -> RiskProfile:
    return RiskProfile(
        name,
        summary,
        (
            ("risk.price_collar", {"fraction": collar}),
            ("risk.max_orders_per_minute", {"limit": per_minute}),
            ("risk.max_open_orders", {"limit": orders}),
            ("risk.max_open_positions", {"limit": positions}),
            ("risk.max_exposure", {"symbol_fraction": symbol, "total_fraction": total}),
            ("risk.max_daily_loss", {"fraction": daily_loss}),
            ("risk.max_drawdown", {"fraction": drawdown}),
        ),
    )


PROFILES: tuple[RiskProfile, ...] = (
    _profile(
        "conservative",
        "No borrowed money; stops a day at 1 % and a run at 5 %.",
        symbol=0.5,
        total=1.0,
        positions=4,
        orders=10,
        daily_loss=0.01,
        drawdown=0.05,
        collar=0.02,
        per_minute=10,
    ),
    _profile(
        "balanced",
        "Up to five times the equity in the market; stops a day at 2 % and a run at 10 %.",
        symbol=2.0,
        total=5.0,
        positions=10,
        orders=30,
        daily_loss=0.02,
        drawdown=0.10,
        collar=0.05,
        per_minute=30,
    ),
    _profile(
        "aggressive",
        "Up to fifteen times the equity in the market; stops a day at 5 % and a run at 25 %.",
        symbol=5.0,
        total=15.0,
        positions=25,
        orders=100,
        daily_loss=0.05,
        drawdown=0.25,
        collar=0.10,
        per_minute=120,
    ),
)
