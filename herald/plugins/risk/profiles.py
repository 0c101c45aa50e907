"""Three sets of limits to start from, and what runs with orders must have.

The three hold only limits that mean the same on any account and instrument: fractions and counts, no lots and no amounts. A
config names one and replaces single entries; see ``[risk_profile]``. ``essential`` is what every paper and live run has,
unless an entry of the config takes the place of one; ``live`` adds what nobody can choose but the user: its entries without
settings are errors of the config until a ``[[risk]]`` entry states them.
"""

from __future__ import annotations

from typing import Any

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


# Cheap and decisive ones first: what is refused for good reason need not be valued.
_ESSENTIAL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("risk.mode_lock", {}),
    ("risk.trading_state", {}),
    ("risk.standing", {}),
    ("risk.ready", {}),
    ("risk.tradable", {}),
    ("risk.valid_terms", {}),
    ("risk.reduce_only", {}),
    ("risk.stale_price", {}),
    ("risk.duplicate_order", {}),
    ("risk.price_collar", {"fraction": 0.05}),  # the loosest of RELIABILITY's 1 to 5 %
    ("risk.max_orders_per_parent", {}),
    (
        "risk.max_orders_per_minute",
        {
            "limit": 120,
            "per_second": 20,
            "per_day": 10_000,
            # Every order may be changed and withdrawn once, and more than that is no plan.
            "messages_per_second": 60,
            "messages_per_minute": 360,
            "messages_per_day": 30_000,
        },
    ),
    ("risk.order_to_fill_ratio", {}),
    ("risk.repeated_execution", {}),
    ("risk.consecutive_losses", {"limit": 10}),
    ("risk.self_cross", {}),
    ("risk.max_open_orders", {"limit": 100}),
    ("risk.max_open_positions", {"limit": 25}),
    # 30:1 is what ESMA allows private clients at most (decision (EU) 2018/796).
    ("risk.max_exposure", {"total_fraction": 30.0}),
    ("risk.free_margin", {}),
    ("risk.working_notional", {}),
)
_TO_STATE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("risk.max_order_size", {}),
    ("risk.max_daily_loss", {}),
    ("risk.max_drawdown", {}),
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
    RiskProfile("essential", "What every paper and live run has: state, terms, prices, rates, repeats, margin.", _ESSENTIAL),
    RiskProfile(
        "live", "The same, and limits that the config must state: order size, daily loss, drawdown.", (*_ESSENTIAL, *_TO_STATE)
    ),
)
