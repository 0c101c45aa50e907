"""``herald halt``, ``resume``, ``state``, ``supervise`` and short forms: stop trading, go on, look, and watch a run."""

from __future__ import annotations

import difflib
import json
import os
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herald.errors import AuditError, ConfigError, HeraldError, NotFound, Problem

if TYPE_CHECKING:
    from herald.contracts import AuditTrail
    from herald.host.trust import Trust
    from herald.live.state import Change, StateFile, Trading
    from herald.live.supervise import StopLevel

__all__ = [
    "file_of",
    "flatten",
    "halt",
    "kill",
    "pause",
    "rearm",
    "reason",
    "recorded",
    "recorded_unless",
    "resume",
    "state",
    "state_folder",
    "supervise",
]

_VARIABLE = "HERALD_LIVE__STATE"


def state_folder(file: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the state folder of the config *file*: ``state`` of ``[live]``, by default ``state`` beside the file.

    Raises:
        NotFound: There is no such file.
        ConfigError: It is no TOML, or the folder is no text.
    """
    table = _raw(file).get("live", {})
    text = environment.get(_VARIABLE) or (table.get("state", "state") if isinstance(table, dict) else table)
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(str(file), [Problem("live.state", f"{text!r} is no folder", 'write state = "state" below [live]')])
    return file.resolve().parent / text


def _raw(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no config {str(file)!r}; name a config, or a state folder with --state") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), [Problem("", f"it is no TOML: {error}", "name the state folder with --state")]) from error


def reason(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the reason that a person gave.

    Raises:
        click.BadParameter: It is empty.
    """
    if not value.strip():
        raise click.BadParameter("it must not be empty: people read it when they ask why nothing trades")
    return value


def file_of(command: Any) -> Any:
    """Give *command* the argument FILE, a config."""
    return click.argument("file", type=click.Path(dir_okay=False, path_type=Path))(command)


def _place(command: Any) -> Any:
    for option in (
        click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path)),
        click.option(
            "--state",
            "folder",
            type=click.Path(file_okay=False, path_type=Path),
            help="The state folder itself, where there is no config or it is broken.",
        ),
    ):
        command = option(command)
    return command


def _scoped(command: Any) -> Any:
    for option in (
        click.option("--strategy", metavar="NAME", help="This strategy only."),
        click.option("--symbol", metavar="NAME", help="This symbol only."),
        click.option("--why", required=True, callback=reason, metavar="TEXT", help="The reason; it is kept."),
    ):
        command = option(command)
    return command


@click.command()
@_place
@_scoped
@click.option("--new-only", is_flag=True, help="Do not halt: let cancels and requests pass that only reduce.")
@click.option("--cancel", is_flag=True, help="Withdraw the working orders, too.")
@click.option("--flatten", is_flag=True, help="Withdraw the working orders and close the positions, too.")
@click.option("--exits", is_flag=True, help="Let requests pass that only reduce.")
def halt(
    file: Path | None,
    folder: Path | None,
    strategy: str | None,
    symbol: str | None,
    why: str,
    new_only: bool,
    cancel: bool,
    flatten: bool,
    exits: bool,
) -> None:
    """Stop the trading of FILE: the account, a strategy or a symbol. It stays stopped until `herald resume`.

    It holds for the run that is going on and for later ones. Without options nothing is sent but cancels; what works
    at the broker stays there.
    """
    if new_only and (cancel or flatten or exits):
        raise click.UsageError("--new-only does not go with --cancel, --flatten or --exits")
    _halt(file, folder, strategy, symbol, why, new_only=new_only, cancel=cancel, flatten=flatten, exits=exits)


def _halt(
    file: Path | None,
    folder: Path | None,
    strategy: str | None,
    symbol: str | None,
    why: str,
    *,
    new_only: bool = False,
    cancel: bool = False,
    flatten: bool = False,
    exits: bool = False,
    as_json: bool = False,
) -> None:
    """Make a scope stricter, and record it."""
    from herald.live.state import ACCOUNT, TradingState

    found, scope = _open(file, folder, strategy, symbol, make=True)
    before, who = found.check(), _who()
    if new_only:
        found.set(scope, TradingState.REDUCING, who, why)
    elif scope == ACCOUNT:
        found.halt_account(who, why, cancel_all=cancel, flatten=flatten, exits=exits)
    else:
        found.set(scope, TradingState.HALTED, who, why, cancel_all=cancel, flatten=flatten, exits=exits)
    trading = found.read()
    if not as_json:
        click.echo(f"{_line(trading, scope)}{'' if trading.generation != before else '; nothing changed'}")
    options = {"new-only": new_only, "cancel": cancel, "flatten": flatten, "exits": exits}
    said = " ".join(["halt", *(f"--{name}" for name, is_set in options.items() if is_set)])
    _record_stop(found.folder, file, said, scope, why)
    if as_json:
        click.echo(json.dumps(_as_json(trading.scopes[scope]), indent=2))
    elif any(one.scope == scope for one in trading.pending()):
        click.echo("the run carries out the rest, or the next one if none is running")


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_place
@_scoped
@_json_option
def pause(file: Path | None, folder: Path | None, strategy: str | None, symbol: str | None, why: str, as_json: bool) -> None:
    """Let nothing pass but what only reduces; exits go on. The short form of `herald halt --new-only`."""
    _halt(file, folder, strategy, symbol, why, new_only=True, as_json=as_json)


@click.command()
@_place
@_scoped
@_json_option
def kill(file: Path | None, folder: Path | None, strategy: str | None, symbol: str | None, why: str, as_json: bool) -> None:
    """Stop trading and withdraw every working order. The short form of `herald halt --cancel`."""
    _halt(file, folder, strategy, symbol, why, cancel=True, as_json=as_json)


@click.command()
@_place
@_scoped
@_json_option
def flatten(file: Path | None, folder: Path | None, strategy: str | None, symbol: str | None, why: str, as_json: bool) -> None:
    """Stop trading, withdraw every working order and close every position. The short form of `herald halt --flatten`."""
    _halt(file, folder, strategy, symbol, why, flatten=True, as_json=as_json)


@click.command()
@_place
@click.option("--why", required=True, callback=reason, metavar="TEXT", help="The reason; it is kept.")
@_json_option
def rearm(file: Path | None, folder: Path | None, why: str, as_json: bool) -> None:
    """Let the account trade again after a stop. The short form of `herald resume` without a scope."""
    _resume(file, folder, None, None, why, as_json=as_json)


@click.command()
@_place
@_scoped
@click.option("--reduce-only", is_flag=True, help="Not wholly: let pass what only reduces.")
@_json_option
def resume(
    file: Path | None, folder: Path | None, strategy: str | None, symbol: str | None, why: str, reduce_only: bool, as_json: bool
) -> None:
    """Lift what `herald halt`, a file HALT, the watchdog or the run itself has stopped in FILE."""
    _resume(file, folder, strategy, symbol, why, reduce_only=reduce_only, as_json=as_json)


def _resume(
    file: Path | None,
    folder: Path | None,
    strategy: str | None,
    symbol: str | None,
    why: str,
    *,
    reduce_only: bool = False,
    as_json: bool = False,
) -> None:
    """Make a scope less strict, after that is recorded."""
    from herald.live.state import ACCOUNT, TradingState

    found, scope = _open(file, folder, strategy, symbol, make=True)
    with recorded(found.folder, file, "resume --reduce-only" if reduce_only else "resume", scope, why):
        found.resume(scope, _who(), why, TradingState.REDUCING if reduce_only else TradingState.ACTIVE)
    trading = found.read()
    if as_json:
        click.echo(json.dumps(_as_json(trading.history[-1]), indent=2))
        return
    click.echo(_line(trading, scope))
    if scope != ACCOUNT and ACCOUNT in trading.scopes:
        click.echo(_line(trading, ACCOUNT))


@click.command()
@_place
@click.option("--history", is_flag=True, help="Show the last hundred changes, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the history.")
def state(file: Path | None, folder: Path | None, history: bool, as_json: bool) -> None:
    """Show what FILE may trade: what is stopped, since when, by whom and why."""
    found, _ = _open(file, folder, None, None, make=False)
    trading = found.read()
    if as_json:
        document = {
            "folder": str(found.folder),
            "generation": trading.generation,
            "trouble": trading.trouble,
            "scopes": [_as_json(one) for _, one in sorted(trading.scopes.items())],
            "history": [_as_json(one) for one in trading.history],
        }
        click.echo(json.dumps(document, indent=2))
        return
    if trading.scopes:
        click.echo(f"generation {trading.generation}; what is not listed is ACTIVE")
        _print([one for _, one in sorted(trading.scopes.items())])
    else:
        click.echo(f"generation {trading.generation}; everything is ACTIVE")
    if history and trading.history:
        click.echo("\nchanges, oldest first")
        _print(trading.history)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--state",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The state folder, where the command names no config.",
)
@click.option("--hang-seconds", default=10.0, show_default=True, help="Silence that means: it hangs.")
@click.option("--start-seconds", default=60.0, show_default=True, help="Silence before the first sign of life.")
@click.option("--grace-seconds", default=30.0, show_default=True, help="Patience after a signal was passed on.")
@click.option(
    "--on-hang",
    type=click.Choice(["restart", "halt", "flatten"]),
    default="restart",
    show_default=True,
    help="After a run that hangs was killed.",
)
@click.option("--crashes", default=5, show_default=True, help="So many failures in --window-seconds end the watch.")
@click.option("--window-seconds", default=600.0, show_default=True, help="See --crashes.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def supervise(folder: Path | None, on_hang: str, command: tuple[str, ...], **limits: float) -> None:
    """Run COMMAND, start it again after a crash, and kill it when it hangs: `herald supervise -- herald paper FILE`.

    A run that ends in order ends the watch with the same code; so does one that is configured wrongly. A crash loop
    halts the account. Signals are passed on.
    """
    import random

    from herald.clock import WallClock
    from herald.live.state import StateFile
    from herald.live.supervise import HEARTBEAT, OnHang, ProcessChild, Supervisor, Watch

    config = next((one for one in command if one.lower().endswith(".toml")), None)
    if folder is not None:
        place = folder
    elif config is not None:
        place = state_folder(Path(config))
    else:
        raise click.UsageError("the command names no config (a .toml file); name the state folder with --state")
    try:
        watch = Watch(on_hang=OnHang(on_hang), crashes=int(limits.pop("crashes")), **limits)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    line = _program(command)
    clock = WallClock()

    def start(heartbeat: Path) -> ProcessChild:
        return ProcessChild(line, {**os.environ, HEARTBEAT: str(heartbeat.resolve())})

    watchdog = Supervisor(
        start,
        StateFile(place, clock),
        watch,
        clock,
        random.Random(),
        act=None if config is None else _stopper(config, command),
        tell=lambda text: click.echo(f"herald supervise: {text}", err=True),
        record=lambda *row: _record(place, None if config is None else Path(config), "supervisor, ", *row),
        source=config or str(folder),
    )
    began = clock.now()
    with _Signals(watchdog.stop):
        code = watchdog.run()
    _tell_of_halt(place, config, began)
    raise click.exceptions.Exit(code)


def _tell_of_halt(folder: Path, config: str | None, began: int) -> None:
    """Send the alert of a halt by the watchdog: the run that does so otherwise is gone."""
    from herald.clock import WallClock
    from herald.live.state import ACCOUNT, StateFile

    halt = StateFile(folder, WallClock()).read().scopes.get(ACCOUNT)
    if config is None or halt is None or halt.who != "watchdog" or halt.time < began:
        return
    from herald.cli.alerts import tell_of_halt

    try:
        told = tell_of_halt(Path(config), halt)
    except (HeraldError, OSError) as error:  # it has stopped, and the exit code says why
        told = f"no alert was sent: {' '.join(str(error).split())}"
    if told:
        click.echo(f"herald supervise: {told}", err=True)


def _stopper(config: str, command: Sequence[str]) -> Callable[[StopLevel], str]:
    """Return what carries out a stop in place of a run that was killed: through the same journal, gate and connectors."""

    def act(level: StopLevel) -> str:
        from herald.host.plan import load_plan
        from herald.live.supervise import StopLevel
        from herald.runtime.live import LiveRun, Task

        mode = "live" if "live" in command else "paper"
        task = Task.FLATTEN if level is StopLevel.FLATTEN else Task.CANCEL
        run = LiveRun(load_plan(config, mode=mode), demo_only="--demo-only" in command, task=task, holds_lease=True)
        result = run.run(lambda: False)
        if result.errors:
            raise HeraldError("; ".join(result.errors))
        done = "orders withdrawn and positions closed" if task is Task.FLATTEN else "orders withdrawn"
        return f"{done}; {len(result.fills)} fills"

    return act


class _Signals:
    """Hands the signals that ask a program to end to *stop*, and puts things back afterwards."""

    def __init__(self, stop: Callable[[int], None]) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None:
                self._before[number] = signal.signal(number, lambda got, frame: self._stop(got))

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)


def _program(command: Sequence[str]) -> list[str]:
    """Return *command* with this very Herald for the word ``herald``, wherever the search path leads."""
    # -P: what lies in the current folder, such as a msgspec.py, is not imported in place of what is installed.
    return [sys.executable, "-P", "-m", "herald", *command[1:]] if command[0] == "herald" else list(command)


def _open(
    file: Path | None, folder: Path | None, strategy: str | None, symbol: str | None, *, make: bool
) -> tuple[StateFile, str]:
    """Return the state file and the scope that the options name."""
    from herald.clock import WallClock
    from herald.live.state import StateFile, scope_of

    if strategy is not None and symbol is not None:
        raise click.UsageError("--strategy and --symbol are two scopes; give one at a time")
    if file is not None and folder is None:
        place = state_folder(file)
        _check_names(file, strategy, symbol)
    elif folder is not None and file is None:
        # A folder that is made for a misspelt name would stop nothing and say that it did.
        if not folder.is_dir():
            raise NotFound(f"there is no state folder {str(folder)!r}; check the path")
        place = folder
    else:
        raise click.UsageError("name a config or, with --state, its state folder; one of the two")
    if make:
        place.mkdir(parents=True, exist_ok=True)
    return StateFile(place, WallClock()), scope_of(strategy, symbol)


def _check_names(file: Path, strategy: str | None, symbol: str | None) -> None:
    """Refuse a strategy or symbol that the config does not know: to halt a misspelt one would stop nothing."""
    tables = _raw(file).get("strategies", {})
    tables = {name: one for name, one in tables.items() if isinstance(one, dict)} if isinstance(tables, dict) else {}
    symbols = [each for one in tables.values() for each in one.get("symbols", ()) if isinstance(each, str)]
    for kind, name, known in (("strategy", strategy, list(tables)), ("symbol", symbol, symbols)):
        if name is not None and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(set(known))) or 'none'}"
            raise NotFound(f"{str(file)!r} trades no {kind} {name!r}; {hint} (with --state any name is taken)")


def _trail(folder: Path, file: Path | None, trust: Trust | None = None) -> AuditTrail | None:
    """Return the audit trail for what is done in the state folder *folder*."""
    from herald.clock import WallClock
    from herald.host.audit import audited_by, open_trail

    source = file or audited_by(folder)
    if source is None:
        if (folder / "audit.log").exists():  # the note was taken away, or no run has left one yet
            raise AuditError(f"{str(folder)!r} has an audit log, and nothing says which config it belongs to; name the config")
        return None
    if file is None and not source.exists():
        raise AuditError(f"what is done in {str(folder)!r} is recorded by {str(source)!r}, which is not there; name the config")
    return open_trail(source, WallClock(), trust=trust)


@contextmanager
def recorded(folder: Path, file: Path | None, act: str, scope: str, why: str, trust: Trust | None = None) -> Iterator[None]:
    """Let something be done only after it is recorded, and record what came of it.

    *trust* decides about the plugin that records; the lock of the config where it is None.
    """
    from herald.host.audit import operator

    trail = _trail(folder, file, trust)
    if trail is None:
        yield
        return
    who = operator()
    try:
        trail.record(who, act, scope, why, "asked")
        try:
            yield
        except Exception as error:
            with suppress(AuditError):
                trail.record(who, act, scope, why, f"failed: {error}")
            raise
        try:
            trail.record(who, act, scope, why, "done")
        except AuditError as error:
            click.echo(f"herald: it is done, and its end is not recorded: {error}", err=True)
    finally:
        trail.close()


@contextmanager
def recorded_unless(unrecorded: bool, hint: str, recording: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Let something be done within *recording*, a call of `recorded`; with *unrecorded* also where that cannot be opened.

    Raises:
        AuditError: It cannot be opened; *hint* says when *unrecorded* is in place.
    """
    started = False
    try:
        with recording():
            started = True
            yield
        return
    except HeraldError as error:
        if started:
            raise
        told = f"{error.source}: {error.problems[0]}" if isinstance(error, ConfigError) else str(error)
        if not unrecorded:
            raise AuditError(f"nothing was done, for it cannot be recorded: {told}; --unrecorded {hint}") from error
        click.echo(f"herald: this is not recorded: {told}", err=True)
    yield


def _record(folder: Path, file: Path | None, who: str, act: str, what: str, why: str, result: str) -> None:
    """Record what is done already, where there is an audit log for it; *who* stands before whose process it was."""
    from herald.host.audit import operator

    trail = _trail(folder, file)
    if trail is not None:
        try:
            trail.record(f"{who}{operator()}", act, what, why, result)
        finally:
            trail.close()


def _record_stop(folder: Path, file: Path | None, act: str, scope: str, why: str) -> None:
    """Record a stop after it is done: nothing, not even a broken record, may stand in its way."""
    try:
        _record(folder, file, "", act, scope, why, "done")
    except Exception as error:  # whatever it is, trading has stopped, and that is what was asked for
        click.echo(f"herald: it is done, and it is not in the audit log: {' '.join(str(error).split())}", err=True)


def _who() -> str:
    from herald.host.audit import account_name

    return f"command ({account_name()})"


def _line(trading: Trading, scope: str) -> str:
    from herald.clock import format_time

    holds = trading.scopes.get(scope)
    if holds is None:
        return f"{scope} is ACTIVE (generation {trading.generation})"
    since = f"since {format_time(holds.time)} by {holds.who}: {holds.why}"
    return f"{scope} is {holds.state} (generation {trading.generation}) {since}"


def _as_json(change: Change) -> dict[str, Any]:
    from herald.clock import format_time

    return {
        "generation": change.generation,
        "time": format_time(change.time),
        "scope": change.scope,
        "state": change.state.value,
        "who": change.who,
        "why": change.why,
        "cancel_all": change.cancel_all,
        "flatten": change.flatten,
        "exits": change.exits,
        "done": change.done,
    }


def _print(changes: Sequence[Change]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from herald.clock import SECOND, format_time

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("scope", "state", "since", "by", "why", "asked for"):
        table.add_column(heading, overflow="fold")
    for one in changes:
        asked = [
            word for word, is_asked in (("cancel", one.cancel_all), ("flatten", one.flatten), ("exits", one.exits)) if is_asked
        ]
        text = ", ".join(asked) + (" (done)" if one.done else "")
        since = format_time(one.time // SECOND * SECOND)
        table.add_row(escape(one.scope), one.state.value, since, escape(one.who), escape(one.why), text)
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
