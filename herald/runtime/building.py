"""Build the parts of a run: components with their services, strategies with what belongs to them, the series they need."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from platformdirs import user_cache_dir

from herald.clock import Clock, WallClock
from herald.components import Settings
from herald.contracts import (
    Cache,
    Connector,
    ExitRule,
    MetricsStore,
    NoMetrics,
    Operation,
    RiskCheck,
    Services,
    Sizer,
    Strategy,
)
from herald.engine.context import ExitContext, StrategyContext
from herald.engine.engine import Engine, Runner
from herald.engine.exits import Watch
from herald.engine.feed import Feed
from herald.engine.market import route
from herald.engine.risk import Gate, View
from herald.errors import ConfigError, HeraldError, NotSupported, Problem
from herald.host.instruments import resolve_instrument
from herald.host.plan import Plan, Planned, PlannedStrategy
from herald.host.secrets import SecretKeeper
from herald.live.chain import GuardedConnector
from herald.model import (
    Event,
    Instrument,
    Timeframe,
)
from herald.simulator.costs import Costs

__all__ = ["Builder", "Outlet", "StrategySetup", "costs_of", "enlist", "misfit", "seeded", "series_of", "setup_of"]


@dataclass(frozen=True, slots=True)
class StrategySetup:
    """A strategy and what it is to run with.

    Attributes:
        name: Names its orders and its book.
        strategy: The instance.
        symbols: What it trades, in order.
        timeframes: Its series; the first is the one ``ctx.closes`` means.
        sizer: Sizes its requests that state none.
        checks: (instance name, risk check), in order.
        exits: (instance name, exit rule), in order.
        random: Its own random numbers.
    """

    name: str
    strategy: Strategy[Any]
    symbols: tuple[str, ...]
    timeframes: tuple[Timeframe, ...]
    sizer: Sizer | None = None
    checks: tuple[tuple[str, RiskCheck], ...] = ()
    exits: tuple[tuple[str, ExitRule], ...] = ()
    random: random.Random | None = None


class Outlet:
    """Where components put their events: kept until there is an engine, handed to its observers from then on."""

    def __init__(self) -> None:
        """Keep events at first."""
        self._kept: list[Event] = []
        self._receive: Callable[[Event], None] = self._kept.append

    def emit(self, event: Event) -> None:
        """Take an event from any component."""
        self._receive(event)

    def attach(self, receive: Callable[[Event], None]) -> None:
        """Hand everything kept so far, and all that follows, to *receive*."""
        self._receive = receive
        kept, self._kept = self._kept, []
        for event in kept:
            receive(event)


class Builder:
    """Builds the components of a plan, each with services of its own.

    Connectors and their layers get the clock of the machine in every mode: what they wait for happens in real time,
    also while they fetch the history of a backtest.

    Attributes:
        metrics: What every component counts with; None where nothing is measured.
    """

    def __init__(
        self, plan: Plan, clock: Clock, emit: Callable[[Event], None], world: Clock | None = None, *, is_measured: bool = True
    ) -> None:
        """Build for *plan*; *clock* is the run's, *world* that of connectors and layers.

        Unless *is_measured*, nothing is measured whatever the plan says.
        """
        self._plan = plan
        self._clock = clock
        self._world = world or WallClock()
        self._emit = emit
        self._folder = user_cache_dir("herald", appauthor=False)
        self._caches: dict[str, Cache] = {}
        self._secrets = SecretKeeper(plan.source, plan.secrets, lambda part, own: self._make(part, own, {}, self._world))
        self.metrics: MetricsStore | None = None
        if plan.metrics is not None and is_measured:
            self.metrics = self(plan.metrics, clock=self._world)
        self._formats = {name: self(part) for name, part in plan.formats.items()}

    def __call__(
        self, part: Planned[Any], formats: Mapping[str, Any] = MappingProxyType({}), *, clock: Clock | None = None
    ) -> Any:
        """Return an instance of *part*.

        Raises:
            ConfigError: It cannot be built, or a secret that its settings name is nowhere to be found.
        """
        return self._make(part, self._secrets.resolved(part.name, part.settings), formats, clock)

    def _make(self, part: Planned[Any], settings: Settings, formats: Mapping[str, Any], clock: Clock | None) -> Any:
        plan = self._plan
        services = Services(
            part.name,
            clock or self._clock,
            seeded(plan.seed, part.name),
            self._emit,
            plan.base,
            self._folder,
            formats,
            self.metrics or NoMetrics(),
            cache=self.cache,
            connector=self.connector if part.kind == "connector" else _not_for_others,
            state=plan.config.live.state,
        )
        try:
            built = part.component.build(settings, services)
        except ConfigError as error:  # a component does not know the name of the file that it stands in
            raise ConfigError(plan.source, error.problems) from error
        except HeraldError:
            raise
        except (Exception, SystemExit) as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(plan.source, [Problem(part.name, f"{part.use} cannot be built: {text}")]) from error
        wrong = misfit(part.kind, built)
        if wrong:
            what = f"build of {part.use} [{part.origin}] made a {type(built).__name__} that {wrong}"
            raise ConfigError(plan.source, [Problem(part.name, what, "report it to the plugin's author, or mend the plugin")])
        return built

    def cache(self, name: str) -> Cache:
        """Return the cache called *name*, the same one to everybody.

        Raises:
            ConfigError: The config has no such cache.
        """
        if name not in self._caches:
            part = self._plan.caches.get(name)
            if part is None:
                known = ", ".join(self._plan.caches) or "none"
                problem = Problem("caches", f"no cache is named {name!r}; there are: {known}", f"add [caches.{name}]")
                raise ConfigError(self._plan.source, [problem])
            self._caches[name] = self(part, clock=self._world)
        return self._caches[name]

    def connector(self, name: str, world: Clock | None = None) -> Connector:
        """Return the connector called *name* inside its layers; *world* replaces the clock they wait on."""
        plan, clock = self._plan, world or self._world
        only = plan.chosen_formats.get(name)
        formats = self._formats if only is None else {only: self._formats[only]}
        part = plan.connectors[name]
        connector: Connector = self(part, formats, clock=clock)
        layers = [self(layer, clock=clock) for layer in plan.layers(name)]
        return GuardedConnector(part.name, connector, layers) if layers else connector


def _not_for_others(name: str) -> Connector:
    """Refuse: whoever holds a connector holds its password, so only connectors build on connectors."""
    raise NotSupported(f"connector {name!r} is for connectors that build on it; a strategy trades through its context")


_METHODS: dict[str, tuple[str, ...]] = {
    "connector": (*(one.method for one in Operation), "disconnect", "capabilities"),
    "cache": ("get", "set", "delete", "clear"),
    "exit": ("check",),
    "format": ("claims", "parse"),
    "journal": ("append", "read", "snapshot", "latest", "close"),
    "metrics": ("counter", "gauge", "histogram", "observe", "close", "expose"),
    "middleware": ("__call__",),
    "observer": ("observe", "close"),
    "risk": ("check",),
    "secret source": ("get", "place"),
    "service": ("start", "stop"),
    "sizer": ("size",),
    "strategy": ("warmup", "on_start", "on_bar", "on_quote", "on_order", "on_fill", "on_timer", "on_stop"),
}
"""What a component of each kind must have; see `herald.contracts`."""


def misfit(kind: str, built: object) -> str:
    """Return why *built* cannot be a component of *kind*, behind "a NAME that"; empty where it can."""
    if kind == "strategy" and not isinstance(built, Strategy):
        return "is no herald.Strategy; let its class inherit from it"
    for name in _METHODS.get(kind, ()):
        method = getattr(built, name, None)
        if not callable(method):
            return f"has no method {name}()"
        if kind == "journal" and name == "read":
            continue  # it yields the records
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            hint = "; herald.bridge() makes a connector of an async one" if kind == "connector" else ""
            return f"has an async {name}(), which would never run; write a plain function{hint}"
        if inspect.isgeneratorfunction(method):
            return f"yields in {name}(), which would never run; write a plain function"
    if kind == "risk" and not isinstance(getattr(built, "exempts_reductions", None), bool):
        return "does not say whether it spares reductions; state exempts_reductions = True or False"
    if kind in ("observer", "metrics"):
        events = getattr(built, "events", None)
        if not isinstance(events, tuple | list) or not all(isinstance(one, type) for one in events):
            return f"lists the events {events!r}; state events = (Fill, ...), a tuple of types"
    return ""


def seeded(seed: int, name: str) -> random.Random:
    """Return a generator that depends on *seed* and *name* only, the same in every process."""
    return random.Random(f"{seed}:{name}")


def setup_of(
    planned: PlannedStrategy, checks: Sequence[Planned[RiskCheck]], build: Callable[[Planned[Any]], Any], seed: int
) -> StrategySetup:
    """Build a strategy and what it is to run with; *checks* are the global ones."""
    return StrategySetup(
        name=planned.name,
        strategy=build(planned.part),
        symbols=planned.symbols,
        timeframes=planned.timeframes,
        sizer=build(planned.sizing) if planned.sizing is not None else None,
        checks=tuple((part.name, build(part)) for part in (*checks, *planned.risk)),
        exits=tuple((part.name, build(part)) for part in planned.exits),
        random=seeded(seed, f"{planned.part.name}.context"),
    )


def costs_of(plan: Plan) -> Costs:
    """Return what trades cost by the file."""
    terms = plan.config.backtest.costs.model_dump()
    return Costs(spread_data=terms.pop("spread") == "data", **terms)


def enlist(
    engine: Engine, setup: StrategySetup, instruments: Mapping[str, Instrument], feeds: Sequence[Feed], view: View
) -> None:
    """Put a strategy with its books, gate and exits into the engine."""
    books = {symbol: engine.ledger.add(setup.name, instruments[symbol]) for symbol in setup.symbols}
    spans = [timeframe.span for timeframe in setup.timeframes]
    mine = {(f.symbol, f.span): f for f in feeds if f.symbol in books and f.span in spans}
    generator = setup.random or seeded(0, setup.name)
    bound = engine, setup.name, books, mine, spans[0], generator
    gate = Gate(setup.checks, view)
    engine.add(Runner(setup.name, setup.strategy, StrategyContext(*bound), books, tuple(mine.values()), setup.sizer, gate))
    if setup.exits:
        engine.exits.watches.append(Watch(setup.name, ExitContext(*bound), tuple(books.values()), list(setup.exits)))


def series_of(
    plan: Plan, connectors: Mapping[str, Connector], currency: str
) -> tuple[dict[tuple[str, Timeframe], str], dict[str, Instrument]]:
    """Return the connector of every series that a run needs, and the terms of every symbol that is known.

    Args:
        plan: Of the run.
        connectors: Connected, by table.
        currency: Of the account.

    Returns:
        Table by (symbol, time frame), those of the strategies first, then those that convert currencies.

    Raises:
        ConfigError: A symbol is taken from two connectors, lacks a term, or its currency cannot be converted.
    """
    config = plan.config
    wanted: dict[tuple[str, Timeframe], str] = {}
    source: dict[str, str] = {}
    for name in connectors:
        for symbol, timeframe in plan.feeds(name):
            if source.setdefault(symbol, name) != name:
                what = f"{symbol} is taken from connectors {source[symbol]!r} and {name!r}"
                raise ConfigError(plan.source, [Problem("strategies", what, "a run trades each symbol on one connector")])
            wanted[symbol, timeframe] = name
    instruments = _terms(plan, connectors, source)
    legs: dict[str, str] = {}
    for symbol in source:
        try:
            path = route(instruments[symbol].quote, currency, instruments, config.conversions.symbols)
        except ConfigError as error:
            raise ConfigError(plan.source, error.problems) from None
        for leg, _ in path:
            legs.setdefault(leg, source[symbol])
    for leg, name in legs.items():
        if leg not in source:
            finest = min(timeframe for (_, timeframe), owner in wanted.items() if owner == name)
            wanted[leg, finest] = name
    return wanted, instruments


def _terms(plan: Plan, connectors: Mapping[str, Connector], traded: Iterable[str]) -> dict[str, Instrument]:
    """Return the terms of every symbol that is *traded* or may convert a currency.

    Raises:
        ConfigError: A symbol lacks a term that money needs.
    """
    config = plan.config
    terms: dict[str, Instrument] = {}
    for connector in connectors.values():
        for instrument in connector.instruments():
            terms.setdefault(instrument.symbol, instrument)
    instruments: dict[str, Instrument] = {}
    problems: list[Problem] = []
    for symbol in dict.fromkeys([*traded, *config.conversions.symbols.values()]):
        try:
            instruments[symbol] = resolve_instrument(symbol, terms.get(symbol), config.instruments.get(symbol))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(plan.source, problems)
    for symbol in dict.fromkeys([*config.instruments, *terms]):
        if symbol not in instruments:
            try:
                instruments[symbol] = resolve_instrument(symbol, terms.get(symbol), config.instruments.get(symbol))
            except ConfigError:
                continue  # not traded: it only cannot serve as a conversion
    return instruments
