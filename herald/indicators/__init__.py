"""Indicators in two forms with equal results: ``update(bar)`` for a stream, ``compute(series)`` for columns."""

from herald.indicators.averages import Ema, Sma, Vwap, Wma
from herald.indicators.base import Indicator
from herald.indicators.channels import Bollinger, Donchian, Supertrend
from herald.indicators.oscillators import Macd, Rsi, Stochastic
from herald.indicators.ranges import Adx, Atr

__all__ = [
    "Adx",
    "Atr",
    "Bollinger",
    "Donchian",
    "Ema",
    "Indicator",
    "Macd",
    "Rsi",
    "Sma",
    "Stochastic",
    "Supertrend",
    "Vwap",
    "Wma",
]
