"""Prices that a seeded random walk makes: any symbol, any length, the same for everyone, no file needed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from herald.clock import DAY, SECOND, format_time, parse_time
from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Connector, HistoryConnector, PlanView
from herald.errors import DataError, Problem
from herald.model import BarSeries, Instrument, IntArray, Timeframe

__all__ = ["SyntheticConnector", "SyntheticSettings", "walk"]

_PRICES = {"EURUSD": 1.1, "GBPUSD": 1.3, "USDJPY": 110.0, "XAUUSD": 1800.0, "BTCUSD": 30_000.0}
_METALS = {"XAU": 100.0, "XAG": 5_000.0}
"""Ounces in a lot, as is common at retail brokers."""
_COINS = ("BTC", "ETH", "LTC", "XRP")
_LOT = 100_000.0


def _timeframe(text: str) -> str:
    return str(Timeframe.parse(text))


class SyntheticSettings(Settings):
    """A random walk without memory."""

    prices: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=lambda: dict(_PRICES), min_length=1)
    """First price of each symbol on offer, quote currency per unit."""
    volatility: float = Field(default=0.0002, ge=0, lt=1)
    """Standard deviation of the log return of one base bar, as a fraction."""
    drift: float = Field(default=0.0, gt=-1, lt=1)
    """Mean log return of one base bar, as a fraction."""
    timeframe: Annotated[str, AfterValidator(_timeframe)] = "1m"
    """Base bar; longer time frames are made of it, shorter ones are refused."""
    start: date | datetime = date(2020, 1, 1)
    """Where the walk begins, UTC; nothing is known before."""
    end: date | datetime = date(2021, 1, 1)
    """Where it ends if nobody asks for more, UTC."""
    seed: int | None = Field(default=None, ge=0)
    """Fixes the walk; none takes it from the run's own seed."""
    weekdays_only: bool = True
    """No bars on Saturday and Sunday, UTC."""
    spread_points: float = Field(default=0.0, ge=0)
    """Ask minus bid in price steps; 0 for data without a spread."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if _nanoseconds(self.start) >= _nanoseconds(self.end):
            raise ValueError("start must be before end")
        return self


class SyntheticConnector(HistoryConnector):
    """Deterministic in (seed, symbol): the same bar is the same in whatever range or time frame it is asked for."""

    def __init__(self, settings: SyntheticSettings, services: Services) -> None:
        """Draw the seed from the run where the settings give none."""
        self._settings = settings
        self._seed = services.random.getrandbits(63) if settings.seed is None else settings.seed
        self._base = Timeframe.parse(settings.timeframe)
        self._begin = _nanoseconds(settings.start)
        self._made: dict[str, tuple[int, BarSeries]] = {}

    def instruments(self) -> Sequence[Instrument]:
        """Return usual terms for every symbol on offer."""
        return tuple(_instrument(symbol, price) for symbol, price in self._settings.prices.items())

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the finished bars that end in ``(start, end]``, nanoseconds UTC; None is the span of the settings.

        Raises:
            DataError: The symbol is not on offer, the time frame is no multiple of the base, or *end* is before the walk.
        """
        if symbol not in self._settings.prices:
            there = ", ".join(self._settings.prices)
            raise DataError(f"no symbol {symbol!r} in the synthetic market; there are: {there}; add it to prices")
        if timeframe.span % self._base.span:
            raise DataError(f"no {timeframe} bars of {symbol!r}: they are made of {self._base} bars; ask for a multiple of that")
        last = _nanoseconds(self._settings.end) if end is None else end
        if last <= self._begin:
            raise DataError(f"no bars of {symbol!r} before {format_time(self._begin)}, where the walk begins; set start earlier")
        base = self._base_bars(symbol, last)
        series = base if timeframe == self._base else base.resample(timeframe)
        return series.between(start, last)

    def _base_bars(self, symbol: str, last: int) -> BarSeries:
        until, made = self._made.get(symbol, (0, None))
        if made is None or until < last:
            made = self._make(symbol, last)
            self._made[symbol] = (last, made)
        return made

    def _make(self, symbol: str, until: int) -> BarSeries:
        settings, span = self._settings, self._base.span
        begin = self._begin + (-self._begin) % span
        ends = np.arange(begin + span, until + 1, span, dtype=np.int64)
        if settings.weekdays_only and span <= DAY:
            ends = ends[_weekday(ends - span) < 5]
        step = _price_step(settings.prices[symbol])
        price, seed = settings.prices[symbol], (self._seed, symbol)
        open_, high, low, close, volume = walk(len(ends), price, settings.volatility, settings.drift, step, seed)
        spread = np.full(len(ends), settings.spread_points * step) if settings.spread_points else None
        return BarSeries(symbol, span, ends, open_, high, low, close, volume, spread)


def walk(
    n: int, price: float, volatility: float, drift: float, step: float, seed: tuple[int, str]
) -> tuple[NDArray[np.float64], ...]:
    """Return open, high, low, close and volume of a geometric random walk, each of shape (n,).

    A bar opens where the one before closed. Between open and close the price is a Brownian bridge, whose highest and
    lowest points are drawn from their exact distributions (one independently of the other).

    Args:
        n: Bars.
        price: First open, > 0.
        volatility: Standard deviation of a bar's log return.
        drift: Mean of a bar's log return.
        step: Prices are whole multiples of it.
        seed: Number and name; equal seeds make equal bars, and a longer walk begins with the shorter one.

    Source:
        Maximum of a Brownian bridge: P. Glasserman, "Monte Carlo Methods in Financial Engineering", 2003, section 6.4.
    """
    name = int.from_bytes(hashlib.sha256(seed[1].encode()).digest()[:8], "big")
    # A stream for each quantity: so a longer walk draws the same numbers for its first bars.
    moves, tops, floors, ticks = (np.random.default_rng(part) for part in np.random.SeedSequence([seed[0], name]).spawn(4))
    change = drift + volatility * moves.standard_normal(n)
    level = np.concatenate(([0.0], np.cumsum(change)))
    open_, close = level[:-1], level[1:]
    spread = 2.0 * volatility**2
    high = open_ + (change + np.sqrt(change**2 + spread * tops.standard_exponential(n))) / 2
    low = open_ + (change - np.sqrt(change**2 + spread * floors.standard_exponential(n))) / 2
    digits = max(0, round(-math.log10(step)))
    prices = (np.maximum(np.round(price * np.exp(column), digits), step) for column in (open_, high, low, close))
    return (*prices, np.floor(20 + 180 * ticks.random(n)))


def _weekday(times: IntArray) -> IntArray:
    return (times // DAY + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday


def _nanoseconds(moment: date | datetime) -> int:
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return parse_time(moment.isoformat())


def _price_step(price: float) -> float:
    # Six significant digits, five decimals at most: 1.10000, 110.000, 1800.00.
    return float(10.0 ** -min(5, max(0, 5 - math.floor(math.log10(price)))))


def _instrument(symbol: str, price: float) -> Instrument:
    is_pair = len(symbol) == 6 and symbol.isalpha()
    base, quote = (symbol[:3], symbol[3:]) if is_pair else ("", "USD")
    size = _METALS.get(base, 1.0 if base in _COINS else _LOT) if is_pair else 1.0
    return Instrument(
        symbol=symbol,
        base=base,
        quote=quote,
        price_step=_price_step(price),
        size_step=0.01,
        min_size=0.01,
        max_size=100.0,
        contract_size=size,
    )


@hookimpl
def herald_connectors() -> Iterable[Component[Connector]]:
    """Offer the connector."""
    yield component("synthetic", SyntheticSettings, SyntheticConnector, "A seeded random walk; needs no data.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Report symbols and time frames that the walk does not have."""
    for planned in plan.chosen("connector"):
        settings = planned.settings
        if not isinstance(settings, SyntheticSettings):
            continue
        for symbol, timeframe in plan.feeds(planned.name.removeprefix("connectors.")):
            if symbol not in settings.prices:
                there = ", ".join(settings.prices)
                yield Problem(f"{planned.name}.prices", f"no symbol {symbol!r}; there are: {there}", f"add {symbol} with a price")
            if timeframe.seconds * SECOND % Timeframe.parse(settings.timeframe).span:
                what = f"bars of {settings.timeframe} do not make bars of {timeframe}"
                yield Problem(f"{planned.name}.timeframe", what, "set a base that divides it")
