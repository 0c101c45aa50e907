"""The values that every part of Herald exchanges; none of them does anything."""

from herald.model.account import Account, AccountMode, Position
from herald.model.events import (
    Event,
    Moment,
    Note,
    ObserverMuted,
    OrderDenied,
    RunStarted,
    RunStopped,
    StrategyFailed,
    SystemEvent,
    Timer,
)
from herald.model.instrument import Instrument
from herald.model.market import Bar, BarSeries, FloatArray, IntArray, Quote, Timeframe
from herald.model.order import Fill, Order, OrderRequest, OrderStatus, OrderType, Side, TimeInForce
from herald.model.trade import Trade

__all__ = [
    "Account",
    "AccountMode",
    "Bar",
    "BarSeries",
    "Event",
    "Fill",
    "FloatArray",
    "Instrument",
    "IntArray",
    "Moment",
    "Note",
    "ObserverMuted",
    "Order",
    "OrderDenied",
    "OrderRequest",
    "OrderStatus",
    "OrderType",
    "Position",
    "Quote",
    "RunStarted",
    "RunStopped",
    "Side",
    "StrategyFailed",
    "SystemEvent",
    "TimeInForce",
    "Timeframe",
    "Timer",
    "Trade",
]
