"""Checks of what happens again and again: duplicates, children of one decision, orders without fills, fills without a person."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, field_validator, model_validator

from herald.clock import SECOND, format_time, parse_time
from herald.components import Services, Settings
from herald.contracts import Denial, RiskView
from herald.model import Fill, OrderRequest
from herald.plugins.risk._past import Growing, strategy_of

__all__ = [
    "DuplicateOrder",
    "DuplicateSettings",
    "MaxOrdersPerParent",
    "OrderToFillRatio",
    "ParentSettings",
    "RatioSettings",
    "RepeatedExecution",
    "RepeatedSettings",
]


def _sent(view: RiskView, time: int) -> Sequence[tuple[int, OrderRequest]]:
    return view.requests_since(time)


def _filled(view: RiskView, time: int) -> Sequence[Fill]:
    return view.fills_since(time)


def _sent_at(one: tuple[int, OrderRequest]) -> int:
    return one[0]


def _filled_at(fill: Fill) -> int:
    return fill.time


_LARGE = 1_000


def _terms(one: OrderRequest) -> tuple[object, ...]:
    return one.strategy, one.symbol, one.side, one.size, one.type, one.limit, one.stop


class DuplicateSettings(Settings):
    """Settings of `DuplicateOrder`."""

    seconds: float = Field(2.0, gt=0)
    """How long a second order on the same terms is taken for the first one sent again."""


class DuplicateOrder:
    """Refuses an order on the terms of one just sent, and an id that was ever used."""

    exempts_reductions = False

    def __init__(self, settings: DuplicateSettings, services: Services) -> None:
        """Keep the window."""
        self._span = round(settings.seconds * SECOND)
        self._past: Growing[tuple[int, OrderRequest]] = Growing(_sent, _sent_at)
        self._ids: dict[str, int] = {}
        # The last order on each terms; what left the window is thrown out where the table has become large.
        self._recent: dict[tuple[object, ...], tuple[int, OrderRequest]] = {}

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the same was asked for before; a change of a working order is no duplicate of it."""
        ids = self._ids
        anew, news = self._past.news(view)
        if anew:
            ids.clear()
            self._recent.clear()
        for sent in news:
            ids[sent[1].id] = sent[0]
            self._recent[_terms(sent[1])] = sent
        used = ids.get(request.id)
        if used is not None:
            for order in view.working(request.strategy, request.symbol):
                if order.request.id == request.id:
                    return None
            text = f"the id {request.id!r} was used at {format_time(used)}; an intent is sent once"
            return Denial("duplicate_order", text)
        recent, since = self._recent, view.now - self._span
        if len(recent) > _LARGE:
            self._recent = recent = {terms: sent for terms, sent in recent.items() if sent[0] > since}
        found = recent.get(_terms(request))
        if found is None or found[0] <= since:
            return None
        time, one = found
        ago = f"{(view.now - time) / SECOND:g} s after {one.id}; the limit is {self._span / SECOND:g} s"
        what = f"{request.side.name} {request.size:.10g} {request.symbol} of {request.strategy!r}"
        return Denial("duplicate_order", f"{what} is asked for again {ago}")


class ParentSettings(Settings):
    """Settings of `MaxOrdersPerParent`."""

    limit: int = Field(20, ge=1)
    """Most orders that one strategy sends in one symbol because of one event: one bar, one quote, one timer."""
    per_tag: int | None = Field(None, ge=1)
    """Most orders of one strategy and symbol with the same tag, for strategies that name a large order so and slice it."""
    tag_seconds: float = Field(86_400.0, gt=0)
    """How long a tag means the same large order, seconds."""


class MaxOrdersPerParent:
    """Limits the children of one decision, so that a loop that never sees its own orders ends.

    Source:
        SEC, Release 34-70694 (Knight Capital, 2013): 212 parent orders became millions of child orders, because what had
        been filled was not told to the code that made children.
    """

    exempts_reductions = True

    def __init__(self, settings: ParentSettings, services: Services) -> None:
        """Keep the limits."""
        self._limit = settings.limit
        self._per_tag = settings.per_tag
        self._span = round(settings.tag_seconds * SECOND)
        self._past: Growing[tuple[int, OrderRequest]] = Growing(_sent, _sent_at)
        self._tags: dict[tuple[str, str, str], deque[int]] = {}

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the parent has children enough."""
        now, strategy = view.now, request.strategy
        if view.orders_since(now) >= self._limit:
            symbol = request.symbol
            count = sum(1 for _, one in view.requests_since(now) if one.strategy == strategy and one.symbol == symbol)
            if count >= self._limit:
                what = f"{strategy!r} sent {count} orders in {symbol} because of one event, at {format_time(now)}"
                return Denial("max_orders_per_parent", f"{what}; the limit is {self._limit}")
        if self._per_tag is not None and request.tag:
            count = self._tagged(request, view)
            if count >= self._per_tag:
                what = f"{count} orders of {strategy!r} in {request.symbol} have the tag {request.tag!r}"
                text = f"{what}; the limit is {self._per_tag}"
                return Denial("max_orders_per_parent", text)
        return None

    def _tagged(self, request: OrderRequest, view: RiskView) -> int:
        anew, news = self._past.news(view)
        if anew:
            self._tags.clear()
        for time, one in news:
            if one.tag:
                self._tags.setdefault((one.strategy, one.symbol, one.tag), deque()).append(time)
        times = self._tags.get((request.strategy, request.symbol, request.tag))
        if times is None:
            return 0
        while times and times[0] <= view.now - self._span:
            times.popleft()
        return len(times)


class RatioSettings(Settings):
    """Settings of `OrderToFillRatio`."""

    ratio: float = Field(50.0, ge=1)
    """Most orders for one fill, over all strategies."""
    message_ratio: float | None = Field(None, ge=1)
    """Most messages for one fill: orders, changes and withdrawals together; a trailing stop makes many changes."""
    min_orders: int = Field(200, ge=1)
    """With fewer orders (for *message_ratio*: messages) than this in the window nothing is refused."""
    window_seconds: float = Field(86_400.0, gt=0)
    """How far back orders and fills are counted, seconds."""


class OrderToFillRatio:
    """Refuses orders while far more are sent than filled: the sign of a loop of orders that lead to nothing."""

    exempts_reductions = True

    def __init__(self, settings: RatioSettings, services: Services) -> None:
        """Keep the limits."""
        self._ratio = settings.ratio
        self._message_ratio = settings.message_ratio
        self._least = settings.min_orders
        self._span = round(settings.window_seconds * SECOND)
        self._past: Growing[Fill] = Growing(_filled, _filled_at)
        self._times: deque[int] = deque()

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the ratio has reached the limit."""
        since = view.now - self._span + 1
        orders = view.orders_since(since)
        messages = orders if self._message_ratio is None else view.messages_since(since)
        if orders < self._least and messages < self._least:
            return None
        times = self._times
        anew, news = self._past.news(view)
        if anew:
            times.clear()
        times.extend(fill.time for fill in news)
        while times and times[0] < since:
            times.popleft()
        fills = max(len(times), 1)
        if orders >= self._least and orders >= self._ratio * fills:
            what, limit = f"{orders} orders", self._ratio
        elif self._message_ratio is not None and messages >= self._least and messages >= self._message_ratio * fills:
            what, limit = f"{messages} orders, changes and withdrawals", self._message_ratio
        else:
            return None
        text = f"{what} led to {len(times)} fills in {self._span / SECOND:g} s; the limit is {limit:g} for one fill"
        return Denial("order_to_fill_ratio", text)


class RepeatedSettings(Settings):
    """Settings of `RepeatedExecution`."""

    executions: int = Field(10, ge=2)
    """So many orders of one strategy in one symbol, filled wholly or in part ..."""
    seconds: float = Field(60.0, gt=0)
    """... within so many seconds disable the strategy."""
    since: str = ""
    """Executions before this time (ISO 8601, UTC unless stated) do not count: a person who has looked into it writes it."""

    @field_validator("since")
    @classmethod
    def _is_time(cls, text: str) -> str:
        if text:
            try:
                parse_time(text)
            except ValueError as error:
                raise ValueError(f"{text!r} is no time; write 2024-03-08T13:40Z") from error
        return text

    @model_validator(mode="after")
    def _in_reach(self) -> Self:
        if self.seconds * SECOND >= 2**62:
            raise ValueError(f"seconds of {self.seconds:g} is no window; write 60")
        return self


class RepeatedExecution:
    """Disables a strategy that trades faster than anybody watches, until a person enables it again.

    Nothing is latched here: what was executed stays executed. Once so many executions of a strategy lie within *seconds*,
    they do so for ever, and the strategy's entries are refused for ever, whatever happens after. Only a person takes executions
    out of the count: by resuming the strategy, or by *since* in the file. The fills of one order are one execution.

    Source:
        Commission Delegated Regulation (EU) 2017/589 (RTS 6), Article 15(3): repeated automated execution throttles.
    """

    exempts_reductions = True

    def __init__(self, settings: RepeatedSettings, services: Services) -> None:
        """Keep the limits."""
        self._limit = settings.executions
        self._span = round(settings.seconds * SECOND)
        self._floor = parse_time(settings.since) if settings.since else 0
        self._past: Growing[Fill] = Growing(_filled, _filled_at)
        self._recent: dict[tuple[str, str], deque[int]] = {}
        self._orders: dict[str, None] = {}
        self._disabled: dict[str, int] = {}
        self._touched: Mapping[str, int] = {}

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        """Return a denial where the strategy's executions have ever been too many in too short a time."""
        touched = view.standing.touched
        if touched != self._touched:  # what counts has changed: everything is counted again
            self._touched = dict(touched)
            self._past = Growing(_filled, _filled_at)
        anew, news = self._past.news(view, self._floor)
        if anew:
            self._recent.clear()
            self._orders.clear()
            self._disabled.clear()
        for fill in news:
            self._count(fill)
        disabled = self._disabled.get(request.strategy)
        if disabled is None:
            return None
        what = f"{request.strategy!r} had {self._limit} executions in {self._span / SECOND:g} s at {format_time(disabled)}"
        return Denial("repeated_execution", f"{what}; it is disabled until a person resumes it by herald resume --strategy")

    def _count(self, fill: Fill) -> None:
        strategy = strategy_of(fill.order_id)
        if fill.order_id in self._orders or fill.time <= self._touched.get(strategy, 0):
            return
        self._orders[fill.order_id] = None
        recent = self._recent.setdefault((strategy, fill.symbol), deque(maxlen=self._limit))
        recent.append(fill.time)
        if len(recent) == self._limit and fill.time - recent[0] < self._span:
            self._disabled.setdefault(strategy, fill.time)
