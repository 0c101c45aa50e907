"""Makers of market data and of the small things components are built with."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from herald.clock import Clock, parse_time
from herald.contracts import Cache, DataFormat, Metrics, NoMetrics, Services
from herald.model import BarSeries, Event, Instrument, Timeframe
from herald.testing.clock import FakeClock

__all__ = ["make_bars", "make_instrument", "make_services", "make_walk"]


def make_bars(
    rows: Sequence[float] | Sequence[Sequence[float]],
    *,
    symbol: str = "TEST",
    timeframe: str | Timeframe = "1h",
    start: str | int = "2024-01-01",
    spread: float | None = None,
) -> BarSeries:
    """Return bars without gaps in time.

    Args:
        rows: Closing prices: each bar opens at the close before it (the first at its own) and reaches no further
            than open and close. Or rows of ``(open, high, low, close)`` or ``(open, high, low, close, volume)``.
        symbol: The instrument.
        timeframe: Such as ``1h``.
        start: **Start** of the first bar, ISO 8601 or nanoseconds UTC.
        spread: Ask minus bid of every bar, quote currency per unit; None for a series without spreads.

    Raises:
        ValueError: A row has neither four nor five numbers, or its high is not the highest or its low not the lowest.
    """
    frame = Timeframe.parse(timeframe) if isinstance(timeframe, str) else timeframe
    first = parse_time(start) if isinstance(start, str) else start
    full: list[tuple[float, ...]] = []
    for index, row in enumerate(rows):
        if isinstance(row, Sequence):
            full.append(_row(index, row))
        else:
            close = float(cast(float, row))
            opened = full[-1][3] if full else close
            full.append((opened, max(opened, close), min(opened, close), close, math.nan))
    columns = np.array(full, dtype=np.float64).reshape(len(full), 5).T
    time = first + frame.span * np.arange(1, len(full) + 1, dtype=np.int64)
    spreads = None if spread is None else np.full(len(full), spread)
    opens, highs, lows, closes, volumes = columns
    return BarSeries(symbol, frame.span, time, opens, highs, lows, closes, volumes, spreads)


def _row(index: int, row: Sequence[float]) -> tuple[float, ...]:
    if len(row) not in (4, 5):
        raise ValueError(f"row {index} has {len(row)} numbers; write open, high, low, close and perhaps volume")
    opened, high, low, close = row[:4]
    if high < max(opened, close, low) or low > min(opened, close):
        raise ValueError(f"row {index} {tuple(row)!r} has a high that is not the highest or a low that is not the lowest")
    return (*map(float, row), math.nan)[:5]


def make_walk(
    n: int,
    *,
    seed: int = 1,
    symbol: str = "TEST",
    timeframe: str | Timeframe = "1h",
    start: str | int = "2024-01-01",
    price: float = 100.0,
    volatility: float = 0.01,
) -> BarSeries:
    """Return *n* bars of a random walk: the same for the same arguments on every machine.

    Args:
        n: Bars.
        seed: Chooses the walk, together with *symbol*.
        symbol: The instrument.
        timeframe: Such as ``1h``.
        start: Start of the first bar.
        price: First opening price, quote currency per unit.
        volatility: Standard deviation of the logarithm of a bar's return, dimensionless.
    """
    draw = random.Random(f"{seed}:{symbol}")
    rows = []
    for _ in range(n):
        opened = price
        price = opened * math.exp(draw.gauss(0.0, volatility))
        reach = abs(draw.gauss(0.0, volatility / 2))
        high, low = max(opened, price) * (1 + reach), min(opened, price) / (1 + abs(draw.gauss(0.0, volatility / 2)))
        rows.append((opened, high, low, price, float(draw.randrange(100, 1000))))
    return make_bars(rows, symbol=symbol, timeframe=timeframe, start=start)


def make_instrument(
    symbol: str = "TEST",
    *,
    base: str = "",
    quote: str = "USD",
    price_step: float = 0.00001,
    size_step: float = 0.01,
    min_size: float = 0.01,
    max_size: float = math.inf,
    contract_size: float = 1.0,
) -> Instrument:
    """Return terms that get in no test's way: one lot is one unit, quoted in the account's currency."""
    return Instrument(
        symbol=symbol,
        base=base,
        quote=quote,
        price_step=price_step,
        size_step=size_step,
        min_size=min_size,
        max_size=max_size,
        contract_size=contract_size,
    )


def make_services(
    name: str = "test",
    *,
    clock: Clock | None = None,
    seed: int = 0,
    emit: Callable[[Event], None] | None = None,
    base: str = ".",
    cache_folder: str = ".herald-cache",
    formats: Mapping[str, DataFormat] | None = None,
    caches: Mapping[str, Cache] | None = None,
    metrics: Metrics | None = None,
) -> Services:
    """Return what a component is built with; *emit* receives its events, which are dropped otherwise, *metrics* its counts."""
    known = dict(caches or {})
    return Services(
        name,
        FakeClock() if clock is None else clock,
        random.Random(f"{seed}:{name}"),
        emit if emit is not None else _drop,
        base,
        cache_folder,
        formats or {},
        metrics or NoMetrics(),
        cache=known.__getitem__,
    )


def _drop(event: Event) -> None:
    """Take no note of *event*."""
