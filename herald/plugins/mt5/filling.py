"""Which filling policy an order is sent with: what the symbol has, tried in the order of what is meant.

The symbol tells a mask (1 fill or kill, 2 immediate or cancel, 4 book or cancel), a request wants a number (0, 1, 2 return, 3),
and which of them a server takes depends on how it executes (MQL5 book, "Filling policies").
"""

from __future__ import annotations

from collections.abc import Sequence

from herald.model import OrderType, TimeInForce

__all__ = ["FOK", "IOC", "RETURN", "policies"]

FOK, IOC, RETURN = 0, 1, 2
_REQUEST, _INSTANT, _MARKET, _EXCHANGE = range(4)


def policies(mask: int, execution: int, kind: OrderType, time_in_force: TimeInForce) -> Sequence[int]:
    """Return the policies to try, the best first.

    Args:
        mask: ``SymbolInfo.filling_mode``.
        execution: ``SymbolInfo.trade_exemode``.
        kind: Of the order.
        time_in_force: FOK means all or nothing and nothing else; IOC what there is; the others leave it to the symbol.
    """
    if kind is not OrderType.MARKET:
        return (RETURN, *_flagged(mask))
    if time_in_force is TimeInForce.FOK:
        return (FOK,)
    if time_in_force is TimeInForce.IOC:
        return (IOC, *((RETURN,) if execution == _EXCHANGE else ()))
    if execution in (_REQUEST, _INSTANT):
        return (FOK, *[one for one in _flagged(mask) if one != FOK])
    found = list(_flagged(mask))
    if execution == _EXCHANGE:
        found.append(RETURN)
    # A mask that says nothing: servers that forget it are found out by trying.
    return found or (FOK, IOC, RETURN)


def _flagged(mask: int) -> tuple[int, ...]:
    return (*((FOK,) if mask & 1 else ()), *((IOC,) if mask & 2 else ()))
