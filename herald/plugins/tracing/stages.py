"""Turn what happens to orders into spans: from the signal through the checks, the journal and the broker to the last fill.

::

    order                    signal ------------------------------------------------------> end
      risk                   signal ---> passed, or denied with its code
      intent                             ---> kept in the journal, and with the worker
      acknowledgement                         -----------> accepted, rejected or in doubt
      fill                                                 ---------> each execution
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from herald.clock import MINUTE, SECOND
from herald.model import Event, Fill, Order, OrderDenied, OrderRequest, OrderStatus, OrderStep
from herald.plugins.tracing.wire import Span
from herald.utils.redaction import redact
from herald.utils.traces import family_of, span_id, trace_id

__all__ = ["Stages"]

_MOST = 10_000
"""Orders that are followed at a time; the oldest is let go."""
_LONGEST_SIGNAL = MINUTE
"""An event that is older when it is acted on, or younger, says nothing of how long that took: its clock is another's."""
_AWAITED = 5 * SECOND
"""How long a filled order is kept open for its last execution."""
_LONGEST = 500
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_WORKS = frozenset({OrderStatus.PENDING, OrderStatus.SENT, OrderStatus.ACCEPTED, OrderStatus.PARTIAL, OrderStatus.UNKNOWN})
_BAD = frozenset({OrderStatus.REJECTED, OrderStatus.DENIED, OrderStatus.UNKNOWN, OrderStatus.ABANDONED})


class _Open(msgspec.Struct):
    """An order that is followed: where it stands, and when that began."""

    request: OrderRequest
    span: str
    parent: str
    begin: int
    last: int
    is_acknowledged: bool = False
    fills: int = 0
    steps: int = 0
    order: Order | None = None
    closing: int = 0  # when it was filled; 0 before


class Stages:
    """Follows the orders of a run."""

    def __init__(self, seed: str, sample: float) -> None:
        """Number spans after *seed*, and follow about the part *sample* of the orders."""
        self._seed = seed
        self._sample = sample
        self._open: dict[str, _Open] = {}

    def take(self, at: int, event: Event) -> list[Span]:
        """Return the stages that *event*, heard at *at* (nanoseconds UTC), brings to an end."""
        match event:
            case OrderStep(request=request):
                found = self._step(at, event) if self._follows(request.id) else ()
            case OrderDenied(order=order):
                found = self._denied(at, event) if self._follows(order.id) else ()
            case Order():
                found = self._order(at, event) if self._follows(event.id) else ()
            case Fill():
                found = self._fill(at, event) if self._follows(event.order_id) else ()
            case _:
                found = ()
        return list(found)

    def settle(self, at: int) -> list[Span]:
        """Return the ends of filled orders whose last execution was not told in time."""
        late = [name for name, one in self._open.items() if one.closing and at - one.closing >= _AWAITED]
        return [span for name in late for span in self._end(name, self._open[name].closing)]

    def close(self, at: int) -> list[Span]:
        """Return the ends of all that is still open, because the run ends."""
        return [span for name in list(self._open) for span in self._end(name, max(at, self._open[name].begin))]

    # --- events -----------------------------------------------------------------------------------

    def _step(self, at: int, event: OrderStep) -> Iterator[Span]:
        request = event.request
        one = self._open.get(request.id)
        if event.step == "intended":
            if one is None:
                one = self._begin(request, event.time, at)
                yield self._stage(one, "risk", at, outcome="passed")
            else:  # it never reached the broker and is sent again
                one.is_acknowledged = False
                one.last = at
        elif one is not None and not one.is_acknowledged:
            yield self._stage(one, "intent", at)

    def _denied(self, at: int, event: OrderDenied) -> Iterator[Span]:
        order = event.order
        one = self._open.get(order.id)
        why = self._why(order)
        if one is None:
            one = self._begin(order.request, event.time, at)
            yield self._stage(one, "risk", at, why, outcome="denied", code=order.code)
        elif one.is_acknowledged:  # what was denied is a change of it; it works as before
            yield self._point(one, "change denied", at, why, code=order.code)
            return
        else:
            yield self._stage(one, "intent", at, why, code=order.code)
        one.order = order
        yield from self._end(order.id, at)

    def _order(self, at: int, order: Order) -> Iterator[Span]:
        one = self._open.get(order.id)
        status = order.status
        if one is None:
            if status not in _WORKS:
                return
            one = self._resume(order.request, at)
        before, one.order, one.request = one.order, order, order.request
        if not one.is_acknowledged and status not in (OrderStatus.PENDING, OrderStatus.SENT):
            one.is_acknowledged = status is not OrderStatus.UNKNOWN
            error = self._why(order) if status in _BAD else ""
            yield self._stage(one, "acknowledgement", at, error, status=str(status), code=order.code, broker_id=order.broker_id)
        elif before is not None and before.request != order.request and status in _WORKS:
            yield self._point(one, "change", at)
        elif status in (OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.ABANDONED):
            error = self._why(order) if status in _BAD else ""
            yield self._point(one, str(status), at, error, code=order.code)
        if status is OrderStatus.FILLED:
            one.closing = at  # its execution is told next
        elif status not in _WORKS:
            yield from self._end(order.id, at)

    def _fill(self, at: int, fill: Fill) -> Iterator[Span]:
        one = self._open.get(fill.order_id)
        told: dict[str, Any] = {"size": fill.size, "price": fill.price, "fee": fill.fee, "fill": fill.id}
        if one is None:  # of an order that had ended, or that an earlier run sent
            whole = span_id(self._seed, fill.order_id, "order")
            number = span_id(self._seed, fill.order_id, f"late fill {fill.id}")
            told |= {"order": fill.order_id, "symbol": fill.symbol, "side": fill.side.name.lower()}
            attributes = {f"herald.{key}": _plain(value) for key, value in told.items()}
            yield Span(trace_id(self._seed, fill.order_id), number, whole, "fill", at, at, "", attributes)
            return
        one.fills += 1
        yield self._stage(one, "fill", at, **told)
        if one.closing:
            yield from self._end(fill.order_id, at)

    # --- spans ------------------------------------------------------------------------------------

    def _follows(self, name: str) -> bool:
        return self._sample >= 1 or int(trace_id(self._seed, name)[:8], 16) < self._sample * 2**32

    def _begin(self, request: OrderRequest, signal: int, at: int) -> _Open:
        """Follow a new order; *signal* is the time of what it answers."""
        begin = signal if 0 <= at - signal <= _LONGEST_SIGNAL else at
        family = family_of(request.id)
        parent = "" if family == request.id else span_id(self._seed, family, "order")
        return self._follow(_Open(request, span_id(self._seed, request.id, "order"), parent, begin, begin))

    def _resume(self, request: OrderRequest, at: int) -> _Open:
        """Follow an order that an earlier run sent, or that the broker made of another one, such as its protection."""
        parent = span_id(self._seed, family_of(request.id), "order")
        return self._follow(_Open(request, span_id(self._seed, request.id, f"resumed {at}"), parent, at, at, True))

    def _follow(self, one: _Open) -> _Open:
        if len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        self._open[one.request.id] = one
        return one

    def _stage(self, one: _Open, name: str, at: int, error: str = "", **more: str | float) -> Span:
        """Return what lies between the last stage and *at*."""
        begin, one.last = one.last, max(at, one.last)
        return self._span(one, name, begin, one.last, error, more)

    def _point(self, one: _Open, name: str, at: int, error: str = "", **more: str | float) -> Span:
        return self._span(one, name, at, at, error, more)

    def _span(self, one: _Open, name: str, begin: int, end: int, error: str, more: dict[str, Any]) -> Span:
        one.steps += 1
        number = span_id(self._seed, one.request.id, f"{one.span} {one.steps}")
        attributes = _attributes(one.request) | {f"herald.{key}": _plain(value) for key, value in more.items() if value != ""}
        return Span(trace_id(self._seed, one.request.id), number, one.span, name, begin, end, error, attributes)

    def _end(self, name: str, at: int) -> Iterator[Span]:
        """End the span of the whole order."""
        one = self._open.pop(name)
        attributes, order, error = _attributes(one.request), one.order, ""
        attributes["herald.fills"] = one.fills
        if order is not None:
            attributes["herald.status"] = str(order.status)
            if order.filled:
                attributes |= {"herald.filled": order.filled, "herald.average_price": order.average_price}
            if order.code:
                attributes["herald.code"] = order.code
            error = self._why(order) if order.status in _BAD else ""
        end = max(at, one.last)
        yield Span(trace_id(self._seed, name), one.span, one.parent, "order", one.begin, end, error, attributes)

    @staticmethod
    def _why(order: Order) -> str:
        return str(_plain(f"{order.code}: {order.reason}".removeprefix(": "))) or str(order.status)


def _attributes(request: OrderRequest) -> dict[str, str | float]:
    stated: dict[str, Any] = {
        "order": request.id,
        "strategy": request.strategy,
        "symbol": request.symbol,
        "side": request.side.name.lower(),
        "size": request.size,
        "type": str(request.type),
        "limit": request.limit,
        "stop": request.stop,
        "stop_loss": request.stop_loss,
        "take_profit": request.take_profit,
        "tag": request.tag,
    }
    return {f"herald.{name}": _plain(value) for name, value in stated.items() if value not in (None, "")}


def _plain(value: Any) -> str | float:
    """Return a number as it is, and a text on one line, without secrets, and not too long."""
    if isinstance(value, int | float):
        return value
    return " ".join(_CONTROLS.sub(" ", redact(str(value))).split())[:_LONGEST]
