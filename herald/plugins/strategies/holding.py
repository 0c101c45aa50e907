"""What the strategies of this package have in common: how they come to hold a position."""

from __future__ import annotations

from herald.contracts import Context

__all__ = ["hold"]


def hold(ctx: Context, symbol: str, side: int, size: float | None) -> None:
    """Ask for a position in *symbol*: long (1), short (-1) or none (0), with market orders.

    Args:
        ctx: The strategy's context.
        symbol: The instrument.
        side: 1, -1 or 0.
        size: Lots; None leaves a position that is on that side already as it is, whatever its size, and otherwise
            closes what is held and lets the configured sizer choose the size of the new position.
    """
    if size is not None:
        ctx.target(symbol, side * size)
        return
    unfinished = any(not order.request.parent for order in ctx.orders(symbol))  # a stop or target of a position may wait
    if side and ctx.position(symbol).size * side > 0 and not unfinished:
        return
    ctx.close(symbol)
    if side > 0:
        ctx.buy(symbol)
    elif side < 0:
        ctx.sell(symbol)
