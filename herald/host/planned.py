"""What a config chose, checked: the parts of a run and the Plan that holds them; a Plan prints itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import SecretStr

from herald.components import Component, Settings
from herald.contracts import (
    AuditTrail,
    Cache,
    Connector,
    DataFormat,
    ExitRule,
    Journal,
    MetricsStore,
    Middleware,
    Observer,
    RiskCheck,
    SecretSource,
    Service,
    Sizer,
    Strategy,
)
from herald.host.encrypted import ENCRYPTED, Section
from herald.host.hookspecs import API_VERSION
from herald.host.registry import Origin
from herald.host.tables import BacktestTable, HeraldConfig, Raw
from herald.model import Timeframe
from herald.utils.redaction import MASK, is_secret_name, redact_values

__all__ = ["Plan", "Planned", "PlannedStrategy"]

T = TypeVar("T")
_COMPONENTS = {
    "connectors",
    "caches",
    "journal",
    "metrics",
    "audit",
    "strategies",
    "risk",
    "risk_profile",
    "exits",
    "observers",
    "secrets",
    "services",
}
"""Tables of the config that components fill."""


@dataclass(frozen=True, slots=True)
class Planned(Generic[T]):
    """A component that the config chose.

    Attributes:
        name: The instance, such as ``connectors.main`` or ``risk[0]``.
        use: Full name of the component.
        kind: connector, middleware, cache, strategy, sizer, risk, exit, observer or format.
        component: The record its plugin yielded.
        settings: Its table, checked.
        origin: Where it comes from.
    """

    name: str
    use: str
    kind: str
    component: Component[T]
    settings: Settings
    origin: Origin
    section: Section | None = None
    """What of its table stood encrypted."""

    @property
    def hidden(self) -> frozenset[str]:
        """Keys of the settings that are shown nowhere."""
        return frozenset() if self.section is None else self.section.keys


@dataclass(frozen=True, slots=True)
class PlannedStrategy:
    """A strategy with what it is to run with.

    Attributes:
        name: Key of its table.
        part: The strategy itself.
        connector: Table of its connector.
        symbols: What it trades, in order.
        timeframes: Its series; the first is the base.
        exits: Its exit rules, in order.
        risk: Its own risk checks, asked after the global ones.
        sizing: Its sizer, or None.
    """

    name: str
    part: Planned[Strategy[Any]]
    connector: str
    symbols: tuple[str, ...]
    timeframes: tuple[Timeframe, ...]
    exits: tuple[Planned[ExitRule], ...] = ()
    risk: tuple[Planned[RiskCheck], ...] = ()
    sizing: Planned[Sizer] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run needs to know, checked; nothing is built yet.

    Attributes:
        source: The config file, as the user named it.
        base: Its folder; relative paths start there.
        config: The host's own tables.
        mode: What is run, after the command had its say.
        seed: Of all random numbers.
        connectors: By table name.
        strategies: The enabled ones, in file order.
        risk: Global risk checks, in order.
        observers: In order.
        formats: Every data format of the loaded plugins, by full name.
        plugins: The loaded plugins.
    """

    source: str
    base: str
    config: HeraldConfig
    mode: str
    seed: int
    connectors: Mapping[str, Planned[Connector]]
    strategies: tuple[PlannedStrategy, ...]
    risk: tuple[Planned[RiskCheck], ...]
    observers: tuple[Planned[Observer], ...]
    formats: Mapping[str, Planned[DataFormat]]
    plugins: tuple[Origin, ...]
    chosen_formats: Mapping[str, str] = field(default_factory=dict)
    """Full name of the one data format that a connector's table names, by connector."""
    middleware: Mapping[str, tuple[Planned[Middleware], ...]] = field(default_factory=dict)
    """The layers around each connector, outermost first."""
    caches: Mapping[str, Planned[Cache]] = field(default_factory=dict)
    """By table name."""
    journal: Planned[Journal] | None = None
    """Of a paper or live run; None in a backtest."""
    audit: Planned[AuditTrail] | None = None
    """Of a paper or live run whose file asks for it or is a live one."""
    paces: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """(poll_seconds, account_seconds) of every connector, by table name."""
    exits: tuple[Planned[ExitRule], ...] = ()
    """Those of the file, which strategies without their own have, and positions that are adopted."""
    secrets: tuple[Planned[SecretSource], ...] = ()
    """Sources of secrets, in the order in which they are asked."""
    services: tuple[Planned[Service], ...] = ()
    """Of a paper or live run, in order."""
    metrics: Planned[MetricsStore] | None = None
    """Of a file with ``[metrics]``."""

    def chosen(self, kind: str) -> Sequence[Planned[Any]]:
        """Return the components of one kind, in file order."""
        everything: list[Planned[Any]] = [*self.connectors.values(), *self.caches.values(), *self.risk, *self.observers]
        for layers in self.middleware.values():
            everything += layers
        everything += self.secrets
        everything += self.services
        everything += [one for one in (self.journal, self.metrics, self.audit) if one is not None]
        for strategy in self.strategies:
            everything += [strategy.part, *strategy.exits, *strategy.risk]
            everything += [strategy.sizing] if strategy.sizing is not None else []
        return [part for part in everything if part.kind == kind]

    def layers(self, connector: str) -> Sequence[Planned[Middleware]]:
        """Return the middleware of a connector, outermost first."""
        return self.middleware.get(connector, ())

    def feeds(self, connector: str) -> Sequence[tuple[str, Timeframe]]:
        """Return the (symbol, time frame) pairs that strategies take from a connector, in file order."""
        pairs = (
            (symbol, timeframe)
            for strategy in self.strategies
            if strategy.connector == connector
            for symbol in strategy.symbols
            for timeframe in strategy.timeframes
        )
        return list(dict.fromkeys(pairs))

    def describe(self) -> str:
        """Return the plan as text, for people."""
        return "\n".join(_describe(self))

    def to_dict(self) -> Raw:
        """Return the resolved configuration, without secrets, ready for JSON."""
        config = self.config.model_dump(
            mode="json",
            exclude=_COMPONENTS,
        )
        config["herald"]["mode"] = self.mode
        return config | {
            "connectors": {name: _table(part) | self._extras(name) for name, part in self.connectors.items()},
            "caches": {name: _table(part) for name, part in self.caches.items()},
            "journal": None if self.journal is None else _table(self.journal),
            "metrics": None if self.metrics is None else _table(self.metrics),
            "audit": None if self.audit is None else _table(self.audit),
            "strategies": {
                strategy.name: _table(strategy.part)
                | {
                    "connector": strategy.connector,
                    "symbols": list(strategy.symbols),
                    "timeframe": [str(timeframe) for timeframe in strategy.timeframes],
                    "exits": [_entry(part) for part in strategy.exits],
                    "risk": [_entry(part) for part in strategy.risk],
                    "sizing": None if strategy.sizing is None else _table(strategy.sizing),
                }
                for strategy in self.strategies
            },
            "risk": [_entry(part) for part in self.risk],
            "observers": [_entry(part) for part in self.observers],
            "secrets": [_entry(part) for part in self.secrets],
            "services": [_entry(part) for part in self.services],
        }

    def _extras(self, connector: str) -> Raw:
        """Return what the table of a connector says besides the connector's own settings."""
        name, layers = self.chosen_formats.get(connector), self.layers(connector)
        return ({} if name is None else {"format": name}) | ({"middleware": [_entry(part) for part in layers]} if layers else {})


def _table(part: Planned[Any]) -> Raw:
    head = {"use": part.use} | ({} if part.section is None else {ENCRYPTED: part.section.name})
    shown = part.settings.model_dump(mode="json")
    return head | redact_values(shown) | {key: MASK for key in shown if key in part.hidden}


def _entry(part: Planned[Any]) -> Raw:
    """Return the table of a list entry, with the name that the file gave it, if it did."""
    return _table(part) | ({} if part.name.endswith("]") else {"name": part.name.rpartition(".")[2]})


def _shown(part: Planned[Any], *, all_keys: bool = False) -> list[str]:
    """Return the settings that the file states, or all of them, as ``key=value`` in the order of the model."""
    head = [] if part.section is None else [f"{ENCRYPTED}={part.section.name}"]
    return head + _stated(part.settings, part.hidden, all_keys=all_keys)


def _stated(settings: Settings, hidden: Collection[str] = (), *, all_keys: bool = False) -> list[str]:
    keys = [key for key in type(settings).model_fields if all_keys or key in settings.model_fields_set]
    return [f"{key}={MASK if key in hidden else _text(getattr(settings, key), key)}" for key in keys]


def _text(value: object, key: str = "") -> str:
    if isinstance(value, SecretStr) or (isinstance(value, str) and is_secret_name(key)):
        return MASK
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}={_text(one, str(name))}" for name, one in value.items()) + "}"
    if isinstance(value, Settings):
        return "{" + ", ".join(_stated(value)) + "}"
    return str(value)


def _describe(plan: Plan) -> Iterable[str]:
    yield f"plan of {plan.source} ({plan.mode}, api {API_VERSION})"
    for name, part in plan.connectors.items():
        chosen = plan.chosen_formats.get(name)
        shown = [*_shown(part), *([f"format={chosen}"] if chosen else [])]
        yield f"connector {name} = {part.use} [{part.origin}]   {' '.join(shown)}".rstrip()
        if plan.layers(name):
            yield "    " + " > ".join([*(_called(layer) for layer in plan.layers(name)), part.use])
    for name, cache in plan.caches.items():
        yield f"cache {name} = {_called(cache)} [{cache.origin}]"
    for strategy in plan.strategies:
        frames = ",".join(str(timeframe) for timeframe in strategy.timeframes)
        takes = f"{strategy.connector} {','.join(strategy.symbols)} {frames}"
        one = strategy.part
        yield f"strategy {strategy.name} = {one.use} [{one.origin}]   {takes}   {' '.join(_shown(one, all_keys=True))}"
        if strategy.sizing is not None:
            yield f"    sizing {_called(strategy.sizing)}"
        if strategy.exits:
            yield from _chain("    exits  ", strategy.exits)
        if strategy.risk:
            yield from _chain("    risk   ", strategy.risk)
    if plan.risk:
        yield from _chain("risk     ", plan.risk)
    if plan.journal is not None:
        yield f"journal  {_called(plan.journal)} [{plan.journal.origin}]"
    if plan.metrics is not None:
        yield f"metrics  {_called(plan.metrics)} [{plan.metrics.origin}]"
    if plan.audit is not None:
        yield f"audit    {_called(plan.audit)} [{plan.audit.origin}]"
    if plan.secrets:
        yield from _chain("secrets  ", plan.secrets)
    for observer in plan.observers:
        yield f"observer {_called(observer)} [{observer.origin}]"
    if plan.mode != "backtest":
        for service in plan.services:
            yield f"service  {_called(service)} [{service.origin}]"
    account, backtest, live = plan.config.account, plan.config.backtest, plan.config.live
    if plan.mode == "live":
        for number, server, real in dict.fromkeys(live.pin(strategy.connector) for strategy in plan.strategies):
            kind = "real money" if real else "demo"
            yield f"account  {number} on {server}, {kind}; positions of others: {live.external}; state in {live.state}"
        return
    yield f"account  {backtest.cash:,.2f} {account.currency}, {account.mode}, leverage {account.leverage:g}"
    if plan.mode == "paper":
        yield f"paper    on live prices, intrabar {backtest.intrabar}, {_costs(backtest)}; state in {live.state}"
        return
    bounds = f"{backtest.start or 'the first bar'} to {backtest.end or 'the last bar'}"
    yield f"backtest {bounds}, intrabar {backtest.intrabar}, {_costs(backtest)}"


def _costs(backtest: BacktestTable) -> str:
    stated = backtest.costs.model_dump(exclude_defaults=True).items()
    return "costs: " + (", ".join(f"{key} {value}" for key, value in stated) or "none")


_WIDTH = 118
"""Columns of a printed plan; a longer list of checks or exits goes on in the next line, below its first."""


def _chain(head: str, parts: Sequence[Planned[Any]]) -> Iterable[str]:
    """Yield *parts* in their order behind *head*, on as many lines as they need."""
    line, empty = head, True
    for part in parts:
        word = _called(part) if empty else f" > {_called(part)}"
        if not empty and len(line) + len(word) > _WIDTH:
            yield line
            line = " " * (len(head) - 2)
            word = f"> {_called(part)}"
        line, empty = line + word, False
    yield line


def _called(part: Planned[Any]) -> str:
    shown = ", ".join(_shown(part))
    return f"{part.use}({shown})" if shown else part.use
