"""Notice what somebody must be told: each rule looks at what happens and at how the run stands, and says what it found."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from herald.clock import SECOND, day_start, format_time
from herald.model import (
    Alert,
    Charted,
    CircuitChanged,
    Connected,
    DataEnded,
    Disconnected,
    Event,
    Fill,
    HealthChanged,
    ObserverMuted,
    Order,
    OrderDenied,
    OrderStatus,
    Quote,
    RunStarted,
    RunState,
    RunStopped,
    StateChanged,
    StrategyFailed,
    Timeframe,
)
from herald.plugins.alerts.settings import RuleSettings, Severity, minute_of_week

__all__ = ["Found", "Rule", "make_rules"]

_GRAVE_CODES = frozenset(
    {
        "account_mismatch",
        "audit_unavailable",
        "journal_unavailable",
        "order_duplicated",
        "position_mismatch",
        "state_unreadable",
        "stop_incomplete",
        "trade_taken_back",
        "unknown_orders",
    }
)
"""Codes of `Alert` after which nobody should sleep on."""
_TOLD_ELSEWHERE = {"order_abandoned": "order_unknown", "order_unknown": "order_unknown"}
"""Codes of `Alert` that say what another kind of rule says, and that kind."""
_LISTED = 5


@dataclass(frozen=True, slots=True)
class Found:
    """Something to tell.

    Attributes:
        key: What it is about; the same within a while is counted instead of told again.
        severity: How grave it is, unless the rule's settings say otherwise.
        title: A few words.
        text: The rest, on one line.
        time: When it happened, nanoseconds UTC; 0 for now.
        ends: It says that something is over.
    """

    key: str
    severity: Severity
    title: str
    text: str
    time: int = 0
    ends: bool = False


class Rule:
    """Base of the rules: finds nothing.

    Attributes:
        memory: What it must know after a restart; plain JSON values.
    """

    def __init__(self, settings: RuleSettings) -> None:
        """Keep the settings."""
        self.settings = settings
        self.memory: dict[str, Any] = {}

    def begin(self, now: int) -> Iterable[Found]:
        """Return what there is to tell of when the run starts; *now* is nanoseconds UTC, as in the others."""
        return ()

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        """Return what is to tell of *event*, heard at *seconds* of a clock that never goes back."""
        return ()

    def look(self, state: RunState, now: int, seconds: float) -> Iterable[Found]:
        """Return what is to tell of how the run stands; asked about once a second."""
        return ()


def make_rules(settings: Sequence[RuleSettings]) -> list[Rule]:
    """Return the rules that *settings* describe."""
    kinds: set[str] = {rule.when for rule in settings}
    return [_AlertCode(one, kinds) if one.when == "alert" else _KINDS[one.when](one) for one in settings]


class _Loss(Rule):
    """The equity fell too far since the day began."""

    def look(self, state: RunState, now: int, seconds: float) -> Iterable[Found]:
        if not (math.isfinite(state.equity) and state.equity > 0 and state.started):
            return
        zone = ZoneInfo(self.settings.value("zone"))
        day = day_start(state.time, self.settings.value("hour"), zone)
        memory = self.memory
        if memory.get("day") != day:
            memory.update(day=day, first=state.equity, told=False)
        first, fraction = memory["first"], self.settings.value("fraction")
        loss = first - state.equity
        if not memory["told"] and loss >= fraction * first:
            memory["told"] = True
            text = (
                f"equity {state.equity:,.2f} {state.currency} is {loss:,.2f} ({loss / first:.1%}) below "
                f"the {first:,.2f} with which the day began at {format_time(day)}; the limit is {fraction:.1%}"
            )
            yield Found(f"loss {day} {fraction}", "critical", "loss of the day", text, state.time)


class _Drawdown(Rule):
    """The equity fell too far from its highest; told again only after it has recovered by half."""

    def look(self, state: RunState, now: int, seconds: float) -> Iterable[Found]:
        if not (math.isfinite(state.equity) and math.isfinite(state.peak) and state.peak > 0 and state.started):
            return
        fraction = self.settings.value("fraction")
        loss = state.peak - state.equity
        fall = loss / state.peak
        if fall < fraction / 2:
            self.memory["told"] = False
        elif loss >= fraction * state.peak and not self.memory.get("told"):
            self.memory["told"] = True
            text = (
                f"equity {state.equity:,.2f} {state.currency} is {fall:.1%} below its highest, {state.peak:,.2f}; "
                f"the limit is {fraction:.1%}"
            )
            yield Found(f"drawdown {fraction}", "critical", "drawdown", text, state.time)


class _Disconnected(Rule):
    """A connector lost its connection, and when it is back."""

    def __init__(self, settings: RuleSettings) -> None:
        super().__init__(settings)
        self._lost: dict[str, tuple[float, Disconnected]] = {}
        self._told: set[str] = set()

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if isinstance(event, Disconnected):
            if event.connector not in self._told:
                self._lost.setdefault(event.connector, (seconds, event))
            yield from self._due(seconds)
        elif isinstance(event, Connected):
            self._lost.pop(event.connector, None)
            if event.connector in self._told:
                self._told.discard(event.connector)
                text = f"connector {event.connector} is connected again and compared with the books"
                yield Found(f"disconnected {event.connector}", "info", "connected again", text, event.time, ends=True)

    def look(self, state: RunState, now: int, seconds: float) -> Iterable[Found]:
        return self._due(seconds)

    def _due(self, seconds: float) -> Iterator[Found]:
        after = self.settings.value("after_seconds")
        for connector, (since, event) in list(self._lost.items()):
            if seconds - since >= after:
                del self._lost[connector]
                self._told.add(connector)
                text = f"connector {connector}: {event.text}; nothing that adds to a position is sent until it is back"
                yield Found(f"disconnected {connector}", "warning", "disconnected", text, event.time)


class _OrderUnknown(Rule):
    """An order of which nobody knows whether the broker has it, or that was given up."""

    def __init__(self, settings: RuleSettings) -> None:
        super().__init__(settings)
        self._in_doubt: set[str] = set()
        self._looked = False

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if not isinstance(event, Order):
            return
        if event.status is OrderStatus.UNKNOWN:
            if event.id not in self._in_doubt:
                self._in_doubt.add(event.id)
                text = f"{_order(event)} may or may not be at the broker: {event.reason}"
                yield Found(f"order unknown {event.id}", "critical", "order in doubt", text, event.time)
        elif event.status is OrderStatus.ABANDONED:
            self._in_doubt.discard(event.id)
            text = (
                f"{_order(event)} was given up and may yet turn up; its symbol is blocked until somebody resumes: {event.reason}"
            )
            yield Found(f"order abandoned {event.id}", "critical", "order given up", text, event.time)
        elif event.id in self._in_doubt:
            self._in_doubt.discard(event.id)
            text = f"{_order(event)} is {event.status} now"
            yield Found(f"order unknown {event.id}", "info", "order found", text, event.time, ends=True)

    def look(self, state: RunState, now: int, seconds: float) -> Iterable[Found]:
        if self._looked:
            return
        self._looked = True
        left = [name for name in state.unresolved if name not in self._in_doubt]  # an earlier run left them so
        if left:
            self._in_doubt.update(left)
            text = f"an earlier run left in doubt whether the broker has {_several(left)}"
            yield Found("orders unknown", "critical", "orders in doubt", text, state.time)


class _StaleData(Rule):
    """A symbol has had no price for too long, although its connector stands and its market is open."""

    def __init__(self, settings: RuleSettings) -> None:
        super().__init__(settings)
        self._last: dict[str, float] = {}
        self._quoted: set[str] = set()
        self._told: set[str] = set()
        self._is_over = False
        closed = settings.value("closed")
        self._closed = tuple(minute_of_week(one) for one in closed) if closed else None
        self._zone = ZoneInfo(settings.value("zone"))

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if isinstance(event, DataEnded):
            self._is_over = True
        elif isinstance(event, Quote | Charted):
            symbol, time = (event.symbol, event.time) if isinstance(event, Quote) else (event.bar.symbol, event.bar.time)
            self._last[symbol] = seconds
            if isinstance(event, Quote):
                self._quoted.add(symbol)
            if symbol in self._told:
                self._told.discard(symbol)
                text = f"{symbol} has prices again"
                yield Found(f"stale {symbol}", "info", "prices again", text, time, ends=True)

    def look(self, state: RunState, now: int, seconds: float) -> Iterable[Found]:
        if self._is_over or not state.started:
            return
        spans: dict[str, float] = {}
        for strategy in state.strategies:
            span = min((Timeframe.parse(one).span / SECOND for one in strategy.timeframes), default=0.0)
            for symbol in strategy.symbols:
                spans[symbol] = min(span, spans.get(symbol, math.inf))
        if self._rests(now) or not all(one.ready for one in state.connectors):
            self._last = dict.fromkeys(spans, seconds)  # the time without prices begins when they could come
            return
        after = self.settings.value("after_seconds")
        for symbol, span in spans.items():
            silent = seconds - self._last.setdefault(symbol, seconds)
            # A symbol that only has bars says nothing between two of them.
            limit = after if symbol in self._quoted else max(after, 2 * span)
            if silent >= limit and symbol not in self._told:
                self._told.add(symbol)
                text = f"{symbol} has had no price for {silent:,.0f} s, although its connector is ready"
                yield Found(f"stale {symbol}", "warning", "no prices", text, state.time)

    def _rests(self, now: int) -> bool:
        if self._closed is None:
            return False
        there = datetime.fromtimestamp(now // SECOND, UTC).astimezone(self._zone)
        minute = there.weekday() * 1440 + there.hour * 60 + there.minute
        begin, end = self._closed
        return begin <= minute < end if begin < end else minute >= begin or minute < end


class _Denials(Rule):
    """Many requests of one strategy were refused within a short time."""

    def __init__(self, settings: RuleSettings) -> None:
        super().__init__(settings)
        self._recent: dict[str, deque[tuple[float, str]]] = {}

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if not isinstance(event, OrderDenied):
            return
        order, within = event.order, self.settings.value("within_seconds")
        strategy = order.request.strategy
        recent = self._recent.setdefault(strategy, deque())
        recent.append((seconds, order.code))
        while recent and seconds - recent[0][0] > within:
            recent.popleft()
        if len(recent) < self.settings.value("count"):
            return
        codes = ", ".join(f"{code} {count} times" for code, count in Counter(code for _, code in recent).most_common(_LISTED))
        text = f"{len(recent)} requests of strategy {strategy} were refused within {within:g} s: {codes}; last: {order.reason}"
        recent.clear()
        yield Found(f"denials {strategy}", "warning", "many refusals", text, event.time)


class _CrashLoop(Rule):
    """The run was started again and again without an orderly end, or the watchdog halted the account."""

    def __init__(self, settings: RuleSettings) -> None:
        super().__init__(settings)
        self._told: set[tuple[str, int]] = set()

    def begin(self, now: int) -> Iterable[Found]:
        within = round(self.settings.value("within_seconds") * SECOND)
        recent = [at for at in self.memory.get("starts", ()) if now - within <= at <= now]
        if not self.memory.get("crashed", False):
            recent = []  # the last run ended in order
        if len(recent) >= self.settings.value("count"):
            text = f"this is start {len(recent) + 1} within {within / SECOND:,.0f} s; those before ended without an orderly end"
            yield Found("crash loop", "critical", "crash loop", text, now)
        self.memory.update(starts=[*recent, now], crashed=True)

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if isinstance(event, RunStopped) and event.status != "failed":
            self.memory.update(starts=[], crashed=False)
        return ()

    def look(self, state: RunState, now: int, seconds: float) -> Iterable[Found]:
        for one in state.scopes:
            if one.who == "watchdog" and one.state == "HALTED" and (one.scope, one.time) not in self._told:
                self._told.add((one.scope, one.time))
                yield self._halted(one.scope, one.why, one.time)

    def _halted(self, scope: str, why: str, time: int) -> Found:
        text = f"the watchdog halted {scope}: {why}; it stays so until somebody resumes"
        return Found(f"watchdog {scope}", "critical", "halted by the watchdog", text, time)


class _StrategyFailed(Rule):
    """A strategy raised and was stopped."""

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if isinstance(event, StrategyFailed):
            text = f"strategy {event.strategy} was stopped: {event.error}"
            yield Found(f"strategy {event.strategy}", "critical", "strategy stopped", text, event.time)


class _StateChanged(Rule):
    """Somebody changed what may be traded."""

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if isinstance(event, StateChanged):
            grave: dict[str, Severity] = {"HALTED": "critical", "ACTIVE": "info"}
            text = f"{event.scope} is {event.state} by {event.who}: {event.why}"
            severity = grave.get(event.state, "warning")
            yield Found(f"state {event.scope} {event.state}", severity, f"trading {event.state}", text, event.time)


class _Unhealthy(Rule):
    """A connector, a layer or a helper is not well, a circuit is open; and when that is over."""

    _WELL = frozenset({"healthy", "CLOSED", "HALF_OPEN"})

    def __init__(self, settings: RuleSettings) -> None:
        super().__init__(settings)
        self._ill: set[str] = set()

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if not isinstance(event, HealthChanged | CircuitChanged):
            return
        more = f": {event.text}" if isinstance(event, HealthChanged) and event.text else ""
        state = event.state.lower().replace("_", " ")
        if event.state not in self._WELL:
            self._ill.add(event.name)
            text = f"{event.name} is {state}{more}"
            yield Found(f"health {event.name} {event.state}", "warning", f"{state}", text, event.time)
        elif event.name in self._ill and event.state != "HALF_OPEN":
            self._ill.discard(event.name)
            yield Found(f"health {event.name}", "info", f"{state} again", f"{event.name} is {state}{more}", event.time, ends=True)


class _AlertCode(Rule):
    """The run itself calls a person."""

    def __init__(self, settings: RuleSettings, kinds: set[str]) -> None:
        super().__init__(settings)
        self._only = frozenset(settings.value("codes"))
        told_elsewhere = {code for code, kind in _TOLD_ELSEWHERE.items() if kind in kinds}
        self._except = frozenset(settings.value("except_codes")) | (told_elsewhere - self._only)

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if isinstance(event, ObserverMuted):
            code, text = "observer_muted", f"observer {event.observer} failed too often and is no longer called: {event.error}"
        elif isinstance(event, Alert):
            code, text = event.code, event.text
        else:
            return
        if code in self._except or (self._only and code not in self._only):
            return
        severity: Severity = "critical" if code in _GRAVE_CODES else "warning"
        yield Found(f"alert {code} {text[:200]}", severity, code.replace("_", " "), text, event.time)


class _Run(Rule):
    """The run began to trade, or ended."""

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        if isinstance(event, RunStarted):
            yield Found("run started", "info", "run started", f"the {event.mode} run trades", event.time)
        elif isinstance(event, RunStopped):
            severity: Severity = "critical" if event.status == "failed" else "info"
            text = f"the run ended: {event.status}"
            yield Found(f"run ended {event.status}", severity, f"run {event.status}", text, event.time)


class _Summary(Rule):
    """Once a day: how the account stands, and what happened since the last time."""

    def __init__(self, settings: RuleSettings) -> None:
        super().__init__(settings)
        self._zone = ZoneInfo(settings.value("zone"))
        self._counts: Counter[str] = Counter()

    def hear(self, event: Event | Charted, seconds: float) -> Iterable[Found]:
        for kind, name in (
            (Fill, "fills"),
            (OrderDenied, "denials"),
            (Disconnected, "disconnects"),
            (StrategyFailed, "failures"),
        ):
            if isinstance(event, kind):
                self._counts[name] += 1
        return ()

    def look(self, state: RunState, now: int, seconds: float) -> Iterable[Found]:
        if not state.started:
            return
        there = datetime.fromtimestamp(now // SECOND, UTC).astimezone(self._zone)
        today, memory = there.date().isoformat(), self.memory
        is_time = there.strftime("%H:%M") >= self.settings.value("at")
        if "told" not in memory:  # the first day counts from where it began
            memory.update(told=today if is_time else "", equity=state.equity)
        if not is_time or memory["told"] >= today:
            return
        before = memory["equity"]
        memory.update(told=today, equity=state.equity)
        counts, self._counts = self._counts, Counter()
        yield Found(f"summary {today}", "info", f"summary of {today}", _summary(state, before, counts), now)


_COUNTED: Final[dict[type, str]] = {
    Fill: "fills",
    OrderDenied: "denials",
    Disconnected: "disconnects",
    StrategyFailed: "failures",
}


def _summary(state: RunState, before: float, counts: Mapping[str, int]) -> str:
    change = state.equity - before
    held = [f"{one.strategy} {one.size:+g} {one.symbol} ({one.profit:+,.2f})" for one in state.positions]
    parts = [
        f"equity {state.equity:,.2f} {state.currency} ({change:+,.2f} since the last summary), balance {state.balance:,.2f}",
        f"trading {state.trading}",
        f"positions: {_several(held) if held else 'none'}",
        f"working orders: {len(state.orders)}",
        ", ".join(f"{counts.get(name, 0)} {name}" for name in _COUNTED.values()),
    ]
    if state.unresolved:
        parts.append(f"in doubt: {_several(list(state.unresolved))}")
    return "; ".join(parts)


def _several(names: Sequence[str]) -> str:
    """Return some of *names*, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _order(order: Order) -> str:
    request = order.request
    return f"order {request.id} ({request.side.name} {request.size:g} {request.symbol})"


_KINDS: Final[dict[str, type[Rule]]] = {
    "crash_loop": _CrashLoop,
    "denials": _Denials,
    "disconnected": _Disconnected,
    "drawdown": _Drawdown,
    "loss": _Loss,
    "order_unknown": _OrderUnknown,
    "run": _Run,
    "stale_data": _StaleData,
    "state_changed": _StateChanged,
    "strategy_failed": _StrategyFailed,
    "summary": _Summary,
    "unhealthy": _Unhealthy,
}
