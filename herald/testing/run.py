"""Run one strategy through the real engine and the real simulator, and keep what it asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from herald.contracts import ExitRule, Observer, RiskCheck, Sizer, Strategy
from herald.model import BarSeries, Fill, FloatArray, Instrument, Order, OrderStatus, Timeframe, Trade
from herald.results import RunResult
from herald.runtime import StrategySetup, simulate
from herald.simulator.broker import FillRules
from herald.simulator.costs import Costs
from herald.testing.market import make_instrument, make_services

__all__ = ["Asked", "StrategyRun", "Target", "run_strategy"]


@dataclass(frozen=True, slots=True)
class Target:
    """One call of ``ctx.target``.

    Attributes:
        strategy: Who called.
        symbol: The instrument.
        size: Lots, signed, as stated.
        time: When, nanoseconds UTC.
    """

    strategy: str
    symbol: str
    size: float
    time: int


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing a strategy asked of its context.

    Attributes:
        time: When, nanoseconds UTC.
        method: ``buy``, ``sell``, ``target``, ``close``, ``cancel``, ``modify`` or ``at``.
        arguments: In order; an order stands as its id.
        keywords: Sorted by name.
    """

    time: int
    method: str
    arguments: tuple[object, ...]
    keywords: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class StrategyRun:
    """What `run_strategy` returns.

    Attributes:
        targets: Every call of ``ctx.target``, in order.
        asked: Every request of every kind, in order, without those of ``on_stop``.
        result: The whole result, as the command line would keep it.
    """

    targets: tuple[Target, ...]
    asked: tuple[Asked, ...]
    result: RunResult

    @property
    def status(self) -> str:
        """``completed``, or ``failed`` where the strategy raised."""
        return self.result.status

    @property
    def orders(self) -> tuple[Order, ...]:
        """Every order in its last state, in the order of the requests, denied ones included."""
        return self.result.orders

    @property
    def denials(self) -> tuple[Order, ...]:
        """The orders that were refused before they were sent; ``code`` and ``reason`` say why."""
        return tuple(order for order in self.result.orders if order.status is OrderStatus.DENIED)

    @property
    def fills(self) -> tuple[Fill, ...]:
        """Every execution, in order."""
        return self.result.fills

    @property
    def trades(self) -> tuple[Trade, ...]:
        """Closed round trips, by exit."""
        return self.result.trades

    @property
    def equity(self) -> FloatArray:
        """The account's value at the end of every bar, shape (n,), account currency."""
        return self.result.equity.equity


def run_strategy(
    strategy: type[Strategy[Any]] | Strategy[Any],
    settings: Any,
    bars: BarSeries | Sequence[BarSeries],
    *,
    name: str = "test",
    instruments: Sequence[Instrument] = (),
    sizer: Sizer | None = None,
    checks: Sequence[RiskCheck] = (),
    exits: Sequence[ExitRule] = (),
    observers: Mapping[str, Observer] | None = None,
    cash: float = 10_000.0,
    currency: str = "USD",
    leverage: float = 30.0,
    costs: Costs | None = None,
    rules: FillRules | None = None,
    start: int | None = None,
    on_stop: str = "cancel",
    seed: int = 0,
    may_fail: bool = False,
) -> StrategyRun:
    """Run one strategy over bars in memory.

    Args:
        strategy: The class, or an instance that is built already (then *settings* are not used).
        settings: Its settings.
        bars: One series or several; a symbol with several time frames trades on the finest.
        name: Of the strategy.
        instruments: Terms of the symbols; `make_instrument` stands in for those that are missing.
        sizer: Sizes requests that state none.
        checks: Risk checks, in order.
        exits: Exit rules, in order.
        observers: By name.
        cash: Starting balance, account currency.
        currency: Of the account.
        leverage: Of the account, >= 1.
        costs: What trades cost; nothing unless given.
        rules: What is assumed inside a bar.
        start: Bars that end at or before are history only, nanoseconds UTC.
        on_stop: ``leave``, ``cancel`` or ``flatten`` what is open at the end.
        seed: Of the strategy's random numbers.
        may_fail: Return a failed run instead of raising.

    Returns:
        What it asked for and what came of it.

    Raises:
        AssertionError: The strategy or an exit rule raised; the message holds its traceback.
    """
    series = [bars] if isinstance(bars, BarSeries) else list(bars)
    symbols = tuple(dict.fromkeys(one.symbol for one in series))
    spans = tuple(dict.fromkeys(one.span for one in series))
    terms = {symbol: make_instrument(symbol, quote=currency) for symbol in symbols}
    terms |= {instrument.symbol: instrument for instrument in instruments}
    if isinstance(strategy, type):
        strategy = strategy(settings, make_services(f"strategies.{name}", seed=seed))
    record = _Record(name)
    setup = StrategySetup(
        name=name,
        strategy=_recorded(strategy, record),
        symbols=symbols,
        timeframes=tuple(Timeframe(span // 1_000_000_000) for span in spans),
        sizer=sizer,
        checks=tuple((f"risk[{index}]", check) for index, check in enumerate(checks)),
        exits=tuple((f"exits[{index}]", rule) for index, rule in enumerate(exits)),
        random=random.Random(f"{seed}:{name}"),
    )
    result = simulate(
        [setup],
        series,
        terms,
        cash=cash,
        currency=currency,
        leverage=leverage,
        costs=costs,
        rules=rules,
        start=start,
        on_stop=on_stop,
        observers=observers,
    )
    if result.failures and not may_fail:
        failure = result.failures[0]
        raise AssertionError(f"strategy {failure.strategy!r} raised {failure.error}\n{failure.traceback}")
    return StrategyRun(tuple(record.targets), tuple(record.asked), result)


class _Record:
    """What one strategy asked for."""

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy
        self.targets: list[Target] = []
        self.asked: list[Asked] = []

    def take(self, time: int, method: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        """Keep one call."""
        plain = tuple(_plain(argument) for argument in arguments)
        named = tuple((key, _plain(value)) for key, value in sorted(keywords.items()))
        self.asked.append(Asked(time, method, plain, named))
        if method == "target":
            stated = dict(zip(("symbol", "size", "tag"), arguments, strict=False)) | dict(keywords)
            self.targets.append(Target(self.strategy, stated["symbol"], float(stated["size"]), time))


def _plain(value: Any) -> object:
    return value.id if isinstance(value, Order) else value


class _RecordingContext:
    """Hands everything on to the engine's context and keeps the requests."""

    def __init__(self, context: Any, record: _Record) -> None:
        self._context = context
        self._record = record

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._context, name)
        if name not in _REQUESTS:
            return member

        def ask(*arguments: Any, **keywords: Any) -> Any:
            self._record.take(self._context.now, name, arguments, keywords)
            return member(*arguments, **keywords)

        return ask


_REQUESTS = frozenset({"at", "buy", "cancel", "close", "modify", "sell", "target"})
_CALLBACKS = ("on_bar", "on_quote", "on_order", "on_fill", "on_timer")


def _recorded(inner: Strategy[Any], record: _Record) -> Strategy[Any]:
    """Return a strategy that does what *inner* does and keeps its requests.

    It overrides exactly what *inner* overrides: the engine does not call what a strategy left alone.
    """
    contexts: dict[int, _RecordingContext] = {}

    def wrapped(context: Any) -> Any:
        return contexts.setdefault(id(context), _RecordingContext(context, record))

    def forward(method: str) -> Callable[..., None]:
        target = getattr(inner, method)
        return lambda _, event, context: target(event, wrapped(context))

    members: dict[str, Any] = {
        method: forward(method) for method in _CALLBACKS if getattr(type(inner), method) is not getattr(Strategy, method)
    }
    members["warmup"] = lambda _: inner.warmup()
    members["on_start"] = lambda _, context: inner.on_start(wrapped(context))
    members["on_stop"] = lambda _, context: inner.on_stop(context)
    recorded: Strategy[Any] = type("Recorded", (Strategy,), members)(
        getattr(inner, "settings", None), getattr(inner, "services", None)
    )
    return recorded
