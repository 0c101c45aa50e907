"""From a config file to a Plan, or to every mistake in it at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

from herald.contracts import AuditTrail, ExitRule, MetricsStore, Middleware, Sizer
from herald.errors import ConfigError, NotFound, PluginError, Problem
from herald.host.config import ReadConfig, read_config
from herald.host.defaults import ALWAYS, USUAL
from herald.host.discovery import Catalog, discover
from herald.host.encrypted import is_encrypted, reveal
from herald.host.instruments import resolve_instrument
from herald.host.parts import Parts, plugin_problem
from herald.host.planned import Plan, Planned, PlannedStrategy
from herald.host.problems import in_file_order
from herald.host.registry import Origin, Registry
from herald.host.secrets import keeper_of
from herald.host.tables import Raw
from herald.host.trust import open_lock
from herald.host.uses import named_plugins, needs_lock, uses
from herald.model import Timeframe

__all__ = ["EXTERNAL", "MANUAL", "Origin", "Plan", "Planned", "PlannedStrategy", "load_plan"]

_MODES = ("backtest", "paper", "live")
EXTERNAL = "external"
"""Name of the books of positions that somebody else opened."""
MANUAL = "manual"
"""Name of the books of what a person trades beside the strategies."""


def load_plan(path: Path | str, *, environ: Mapping[str, str] | None = None, mode: str | None = None) -> Plan:
    """Read, load and check everything that a config file names.

    Args:
        path: The file.
        environ: Variables above the file; those of the process if None.
        mode: What the command asks for; it may lower the file's mode, never raise it.

    Raises:
        NotFound: There is no such file.
        ConfigError: Every mistake there is, in file order.
    """
    path = Path(path)
    return _Planner(str(path), path.resolve().parent, read_config(path, environ)).plan(mode)


class _Planner:
    """Gathers problems while it makes a plan."""

    def __init__(self, source: str, base: Path, read: ReadConfig) -> None:
        self.source = source
        self.base = base
        self.read = read
        self.config = read.config
        self.problems = list(read.problems)
        self.catalog = self._catalog()
        self.registry = Registry(self.catalog)
        self.parts = Parts(self.registry, self.problems, self.read.variables, self.read.raw)

    def plan(self, mode: str | None) -> Plan:
        """Return the plan, or raise with every problem."""
        mode = self._mode(mode)
        self._trust(mode)
        self._reveal()
        config, parts = self.config, self.parts
        self._load()
        trades = mode != "backtest"
        connectors = parts.tables("connector", "connectors", config.connectors)
        middleware = self._middleware(trades)
        caches = parts.tables("cache", "caches", config.caches)
        chosen_formats = self._formats()
        essential = USUAL["risk_profile"][mode] if trades else ""
        risk = parts.entries("risk", "risk", parts.with_profile(config.risk, config.risk_profile, essential))
        exits = parts.ordered("exit", "exits", config.exits)
        strategies = self._strategies(exits)
        if mode == "live" and config.live.external == "adopt":
            self._check_adoption(exits)
        self._check_services()
        observers = parts.ordered("observer", "observers", config.observers)
        self._instruments()
        names = [one.full_name for one in self.registry.of_kind("format")]
        formats = {name: parts.part("format", f"formats.{name}", {"use": name}) for name in names}
        self._raise()
        plan = Plan(
            self.source,
            str(self.base),
            self.read.config,
            mode,
            config.herald.seed,
            connectors,
            strategies,
            risk,
            observers,
            {name: part for name, part in formats.items() if part is not None},
            self.registry.origins,
            chosen_formats,
            middleware,
            caches,
            parts.part("journal", "journal", {"use": USUAL["journal"]} | config.journal) if trades else None,
            self._audit(mode),
            {name: self._pace(name, table) for name, table in config.connectors.items()},
            exits,
            parts.ordered("secret source", "secrets", config.secrets),
            parts.ordered("service", "services", config.services),
            metrics=self._metrics(),
        )
        accepted = config.plugins.accept
        found = self.registry.validate(plan)
        self.problems += [problem for problem in found if not any(f"({name})" in problem.what for name in accepted)]
        self._raise()
        return plan

    def _raise(self) -> None:
        if self.problems:
            told = [self._with_variable(problem) for problem in self.problems]
            raise ConfigError(self.source, in_file_order(told, self.read.raw))

    def _with_variable(self, problem: Problem) -> Problem:
        """Say which variable set the key, so that nobody looks for it in the file."""
        for place, variable in self.read.variables.items():
            if re.match(re.escape(place) + r"($|[.\[])", problem.where):
                return replace(problem, what=f"{problem.what} (set by {variable})")
        return problem

    def _mode(self, asked: str | None) -> str:
        stated = self.config.herald.mode
        mode = asked or stated
        if _MODES.index(mode) > _MODES.index(stated):
            what = f'the file says "{stated}"; a command may lower that, not raise it to "{mode}"'
            self.problems.append(Problem("herald.mode", what, "change the file"))
        if mode == "live":
            live, connectors = self.config.live, self.config.connectors
            for name in live.accounts.keys() - connectors.keys():
                hint = f"name one of: {', '.join(connectors)}"
                self.problems.append(Problem(f"live.accounts.{name}", "there is no such connector", hint))
            for key in ("account", "server", "real"):
                if getattr(live, key) is None and not (connectors and connectors.keys() <= live.accounts.keys()):
                    what = "is missing: a live run trades the account that the file names, and no other"
                    self.problems.append(Problem(f"live.{key}", what, f"state it; `herald paper` runs without {key}"))
        return mode

    def _trust(self, mode: str) -> None:
        """Have every import compared with the plugin lock, where the mode or the file asks for it; before any import."""
        plugins = self.config.plugins
        if not needs_lock(self.config, mode):
            return
        if plugins.require_lock is False:
            what = "is false where real money is at stake: what is imported there must be what somebody locked"
            self.problems.append(Problem("plugins.require_lock", what, f"remove it; herald plugins lock {self.source}"))
        try:
            self.registry.trust = trust = open_lock(self.base / plugins.lock, plugins.lock_key, self.catalog)
            refused = trust.refused(named_plugins(self.config, self.catalog))
            if not refused:
                return
            self.problems += [plugin_problem("plugins.lock", error) for error in refused]
        except NotFound as error:
            what = f"{error}: in {mode} mode only plugins that stand in a lock are imported"
            self.problems.append(Problem("plugins.lock", what, f"see what is installed, then: herald plugins lock {self.source}"))
        except PluginError as error:
            self.problems.append(plugin_problem("plugins.lock", error))
        self._raise()

    def _reveal(self) -> None:
        """Fill in the tables that stand encrypted, before any plugin but the sources of secrets is imported."""
        if not is_encrypted(self.config):
            return
        sources = self.parts.ordered("secret source", "secrets", self.config.secrets)
        keeper = keeper_of(self.source, sources, str(self.base))
        self.config, self.parts.sections, wrong = reveal(
            self.config, lambda name, place: keeper.ask(name, place, hint=f"herald secrets set {name} --section")
        )
        if wrong:  # of a table that is not whole, everything else would seem to be missing
            self.problems += wrong
            self._raise()

    def _audit(self, mode: str) -> Planned[AuditTrail] | None:
        """Return the audit trail of a run with orders, where its file has one."""
        table = self.config.audit or {}
        enabled = table.get("enabled", True)
        if not isinstance(enabled, bool):
            self.problems.append(Problem("audit.enabled", f"must be true or false, not {enabled!r}", "remove the line"))
        pins = [self.config.live.pin(name)[2] for name in self.config.connectors]
        if mode == "live" and any(pins) and enabled is False:
            what = "is false where real money is at stake: who did what there must be recorded"
            self.problems.append(Problem("audit.enabled", what, "remove the line"))
        if mode == "backtest" or not self.config.is_audited:
            return None
        return self.parts.part("audit", "audit", {"use": USUAL["audit"]} | table)

    def _metrics(self) -> Planned[MetricsStore] | None:
        """Return the store of what the run measures, where its file has one."""
        table = self.config.metrics
        return None if table is None else self.parts.part("metrics", "metrics", {"use": ALWAYS["metrics"]} | table)

    def _middleware(self, trades: bool) -> dict[str, tuple[Planned[Middleware], ...]]:
        """Return the layers of every connector: those it states, or in a run with orders the usual ones."""
        layers = {}
        measuring = [] if self.config.metrics is None else USUAL["measuring"]
        for name, table in self.config.connectors.items():
            usual = [{"use": use} for use in [*measuring, *USUAL["middleware"]]] if trades else []
            stated = table.get("middleware", usual)
            if stated:
                layers[name] = self.parts.ordered("middleware", f"connectors.{name}.middleware", stated)
        return layers

    def _pace(self, name: str, table: Raw) -> tuple[float, float]:
        """Return (poll_seconds, account_seconds) of a connector."""
        stated = []
        for key, default in (("poll_seconds", 0.25), ("account_seconds", 5.0)):
            value = table.get(key, default)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                what = f"must be a number of seconds above 0, not {value!r}"
                self.problems.append(Problem(f"connectors.{name}.{key}", what, f"write {key} = {default}"))
                value = default
            stated.append(float(value))
        return stated[0], stated[1]

    # --- plugins ----------------------------------------------------------------------------------

    def _catalog(self) -> Catalog:
        folders = []
        for index, stated in enumerate(self.config.plugins.paths):
            folder = self.base / Path(stated).expanduser()
            if folder.is_dir():
                folders.append(folder)
            else:
                hint = "name a folder that holds plugin files"
                self.problems.append(Problem(f"plugins.paths[{index}]", f"{folder} is not a folder", hint))
        return discover(folders)

    def _load(self) -> None:
        """Load every plugin that the file names, before names are resolved, so that their order changes nothing."""
        for index, name in enumerate(self.config.plugins.load):
            try:
                self.registry.load(name)
            except PluginError as error:
                self.problems.append(plugin_problem(f"plugins.load[{index}]", error))
        for use in uses(self.config):
            plugin = use.partition(".")[0]
            if plugin in self.catalog:
                try:
                    self.registry.load(plugin)
                except PluginError:
                    continue  # reported where the name stands; the registry remembers

    def _formats(self) -> dict[str, str]:
        chosen = {}
        for name, table in self.config.connectors.items():
            use = table.get("format")
            if use is None:
                continue
            where = f"connectors.{name}.format"
            if not isinstance(use, str):
                self.problems.append(Problem(where, f"must be a name, not {use!r}", 'write format = "files.csv"'))
                continue
            try:
                chosen[name] = self.registry.find("format", use).full_name
            except PluginError as error:
                self.problems.append(plugin_problem(where, error))
        return chosen

    def _check_adoption(self, exits: tuple[Planned[ExitRule], ...]) -> None:
        """Positions of others are adopted under the exits of the file, in books with a name of their own."""
        if not exits:
            what = '"adopt" puts positions of others under the exits of the file, and it has none'
            self.problems.append(Problem("live.external", what, 'add [[exits]], or write external = "refuse"'))
        for name in self.config.strategies:
            if name == EXTERNAL or name.startswith(f"{EXTERNAL}_"):
                what = f"{name!r} is the name under which positions of others are adopted"
                self.problems.append(Problem(f"strategies.{name}", what, "choose another"))

    def _check_services(self) -> None:
        """What a person trades through a service has books with a name of their own."""
        for name in self.config.strategies:
            if self.config.services and (name == MANUAL or name.startswith(f"{MANUAL}_")):
                what = f"{name!r} is the name of the books of what a person trades through a service"
                self.problems.append(Problem(f"strategies.{name}", what, "choose another"))

    # --- strategies -------------------------------------------------------------------------------

    def _strategies(self, exits: tuple[Planned[ExitRule], ...]) -> tuple[PlannedStrategy, ...]:
        tables = self.config.strategies
        if not tables and not self.read.raw.get("strategies"):
            near = difflib.get_close_matches("strategies", self.read.raw, 1)
            hint = f"did you mean [strategies.NAME]? there is [{near[0]}]" if near else "add [strategies.NAME]"
            self.problems.append(Problem("strategies", "no strategy is configured", hint))
        if tables and all(self._enabled(name, table, note=False) is False for name, table in tables.items()):
            self.problems.append(Problem("strategies", "every strategy has enabled = false", "enable one"))
        planned = [self._strategy(name, table, exits) for name, table in tables.items()]
        return tuple(one for one in planned if one is not None)

    def _strategy(self, name: str, table: Raw, exits: tuple[Planned[ExitRule], ...]) -> PlannedStrategy | None:
        where = f"strategies.{name}"
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            hint = "use letters, digits and _; it names the orders"
            self.problems.append(Problem(where, f"{name!r} is no strategy name", hint))
        part = self.parts.part("strategy", where, table)
        connector = self._connector(where, table)
        symbols = self._symbols(where, table)
        timeframes = self._timeframes(where, table)
        if "exits" in table:
            exits = self.parts.ordered("exit", f"{where}.exits", table["exits"])
        risk = self.parts.ordered("risk", f"{where}.risk", table.get("risk", []))
        sizing = self._sizing(where, table)
        enabled = self._enabled(name, table)
        if part is None or not enabled:
            return None
        return PlannedStrategy(name, part, connector, symbols, timeframes, exits, risk, sizing)

    def _sizing(self, where: str, table: Raw) -> Planned[Sizer] | None:
        if "sizing" not in table:
            return None
        if isinstance(table["sizing"], Mapping):
            return self.parts.part("sizer", f"{where}.sizing", table["sizing"])
        hint = 'write sizing = { use = "sizing.fixed", size = 0.1 }'
        self.problems.append(Problem(f"{where}.sizing", "must be a table", hint))
        return None

    def _enabled(self, name: str, table: Raw, *, note: bool = True) -> bool:
        stated = table.get("enabled", True)
        words = {"true": True, "false": False}  # a variable of the environment is text
        value = words.get(stated.lower()) if isinstance(stated, str) else stated
        if isinstance(value, bool):
            return value
        if note:
            what = f"must be true or false, not {stated!r}"
            self.problems.append(Problem(f"strategies.{name}.enabled", what, "write enabled = false to leave it out"))
        return True

    def _connector(self, where: str, table: Raw) -> str:
        names = list(self.config.connectors)
        stated = table.get("connector")
        known = ", ".join(names) or "none; add [connectors.NAME]"
        if stated is None:
            if len(names) == 1:
                return names[0]
            self.problems.append(Problem(f"{where}.connector", "is missing", f"there are: {known}"))
            return ""
        if stated not in names:
            near = difflib.get_close_matches(str(stated), names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {known}"
            self.problems.append(Problem(f"{where}.connector", f'no connector is named "{stated}"', hint))
        return str(stated)

    def _symbols(self, where: str, table: Raw) -> tuple[str, ...]:
        symbols = table.get("symbols")
        place = f"{where}.symbols"
        if not _is_names(symbols):
            what = "is missing" if symbols is None else f"must be a list of names, not {symbols!r}"
            self.problems.append(Problem(place, what, 'write symbols = ["EURUSD"]'))
            return ()
        twice = sorted({one for one in symbols if symbols.count(one) > 1})
        if twice:
            self.problems.append(Problem(place, f"{', '.join(twice)} is listed twice", "list each symbol once"))
        return tuple(dict.fromkeys(symbols))

    def _timeframes(self, where: str, table: Raw) -> tuple[Timeframe, ...]:
        stated = table.get("timeframe")
        place = f"{where}.timeframe"
        texts = stated if isinstance(stated, list) else [stated]
        if not _is_names(texts):
            what = "is missing" if stated is None else f"must be a time frame or a list of them, not {stated!r}"
            self.problems.append(Problem(place, what, 'write timeframe = "1h"'))
            return ()
        try:
            frames = [Timeframe.parse(text) for text in texts]
            twice = sorted({str(one) for one in frames if frames.count(one) > 1})
            if twice:
                self.problems.append(Problem(place, f"{', '.join(twice)} is listed twice", "list each time frame once"))
            return tuple(dict.fromkeys(frames))
        except ValueError as error:
            self.problems.append(Problem(place, *str(error).split("; ", 1)))
            return ()

    def _instruments(self) -> None:
        """Find contradictions in the stated terms; whether they are enough shows when the connector has spoken."""
        for symbol, table in self.config.instruments.items():
            try:
                resolve_instrument(symbol, None, table)
            except ConfigError as error:
                self.problems += [problem for problem in error.problems if " lack " not in problem.what]


def _is_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) and one for one in value)
