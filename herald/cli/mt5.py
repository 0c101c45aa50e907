"""Commands for MetaTrader 5: ``herald mt5 ...``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from herald.errors import NotFound

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from herald.plugins.mt5.connector import MT5Connector
    from herald.plugins.mt5.inspection import Report

__all__ = ["mt5"]


@click.group()
def mt5() -> None:
    """Work with MetaTrader 5."""


@mt5.command(short_help="Turn a .set file into the settings of a strategy.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.set")
@click.option("--strategy", "use", required=True, metavar="NAME", help="Whose settings, as `use` names it in a config.")
@click.option("--table", default=None, help="Name of the strategy's table; else the strategy's own name.")
@click.option("--map", "names", multiple=True, metavar="INPUT=SETTING", help="Give an input to a setting; to none with INPUT=.")
@click.option("--value", "values", multiple=True, metavar="SETTING=TEXT", help="Say a setting's value in place of the file.")
@click.option("--zone", default=None, metavar="ZONE", help="Clock of the broker's server, for inputs that are times.")
@click.option(
    "--plugins", "paths", multiple=True, metavar="FOLDER", type=click.Path(path_type=Path), help="Folder of plugins of your own."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inputs(
    file: Path,
    use: str,
    table: str | None,
    names: tuple[str, ...],
    values: tuple[str, ...],
    zone: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Print the inputs saved in FILE.set as a [strategies.NAME] table for a config file.

    Inputs that the strategy has no setting for are named on standard error, one a line.
    """
    from herald.host.discovery import discover
    from herald.host.registry import Registry
    from herald.plugins.mt5.inputs import import_inputs, read_inputs, toml_table

    component = Registry(discover(paths)).find("strategy", use)
    settings = component.component.settings
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {str(file)!r}; MetaTrader 5 saves presets in MQL5/Presets and MQL5/Profiles") from error
    found = import_inputs(
        read_inputs(data, file.name),
        settings,
        file.name,
        names=_pairs(names, "--map"),
        values=_pairs(values, "--value"),
        zone=_zone(zone),
    )
    for line in found.unused:
        click.echo(line, err=True)
    if as_json:
        document = {
            "strategy": component.full_name,
            "settings": {name: _plain(value) for name, value in found.values.items()},
            "inputs": {name: one.name for name, one in found.sources.items()},
            "optimised": {name: [each.start, each.step, each.stop] for name, each in found.sweeps.items()},
            "unused": list(found.unused),
            "defaults": list(found.defaults),
        }
        click.echo(json.dumps(document, indent=2))
    else:
        name = table or component.component.name
        if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
            raise click.BadParameter(f"{name!r} cannot name a table; use letters, digits, - and _", param_hint="--table")
        click.echo(toml_table(found, name, component.full_name, file.name), nl=False)


@mt5.command(short_help="Find out how far a connection comes, and what works.")
@click.argument("file", type=click.Path())
@click.option("--connector", "table", metavar="NAME", help="Of the config's connectors; the only one that is mt5 without it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(file: str, table: str | None, as_json: bool) -> None:
    """Connect as FILE says, stage by stage, and tell what is wrong; nothing is traded."""
    from herald.plugins.mt5.inspection import examine

    with _connector(file, table) as (name, connector):
        report = examine(name, connector)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print_report(report)
    if not report.is_healthy:
        raise click.exceptions.Exit(1)


@mt5.command(short_help="List the broker's symbols.")
@click.argument("file", type=click.Path())
@click.argument("pattern", default="*")
@click.option("--connector", "table", metavar="NAME", help="Of the config's connectors; the only one that is mt5 without it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def symbols(file: str, pattern: str, table: str | None, as_json: bool) -> None:
    """List the symbols of FILE's broker that PATTERN lets through, such as *USD* or EUR*,!EURUSD."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from herald.model.instrument import SwapMode

    with _connector(file, table) as (_, connector):
        connector.connect()
        found = connector.listed(pattern)
    if as_json:
        click.echo(json.dumps([{key: getattr(one, key) for key in _SHOWN} for one in found], indent=2))
        return
    if not found:
        raise NotFound(f"the broker has no symbol like {pattern!r}; * stands for anything, and upper and lower case differ")
    units = dict(enumerate(SwapMode))  # its words stand in the order of ENUM_SYMBOL_SWAP_MODE
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for heading in _HEADINGS:
        shown.add_column(heading, justify="left" if heading in _WORDS else "right")
    for one in found:
        numbers = (
            one.trade_contract_size,
            one.volume_min,
            one.volume_max,
            one.volume_step,
            one.spread,
            one.swap_long,
            one.swap_short,
        )
        texts = [f"{number:g}" for number in numbers]
        swap = (units.get(one.swap_mode, str(one.swap_mode)), _DAYS.get(one.swap_rollover3days, "-"))
        watched = "yes" if one.visible else "no"
        shown.add_row(escape(one.name), escape(one.currency_profit), str(one.digits), *texts, *swap, watched)
    Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(shown)


_HEADINGS = (
    *("symbol", "quote", "digits", "lot", "lots from", "to", "step", "spread"),
    *("swap long", "short", "in", "triple", "watched"),
)
_WORDS = frozenset({"symbol", "quote", "in", "triple", "watched"})
"""Columns that hold words."""
_DAYS = dict(enumerate(("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")))
_SHOWN = (
    "name",
    "currency_base",
    "currency_profit",
    "digits",
    "trade_contract_size",
    "volume_min",
    "volume_max",
    "volume_step",
    "spread",
    "swap_long",
    "swap_short",
    "swap_mode",
    "swap_rollover3days",
    "trade_mode",
    "trade_exemode",
    "filling_mode",
    "trade_stops_level",
    "trade_freeze_level",
    "visible",
    "path",
)


@mt5.command(short_help="Serve the terminal of this machine to Herald on another one.")
@click.option("--listen", default="127.0.0.1:5005", show_default=True, metavar="HOST:PORT", help="Where to serve.")
@click.option("--allow-remote", is_flag=True, help="Listen where other machines reach it, unencrypted; better use a tunnel.")
@click.option(
    "--token-file",
    required=True,
    type=click.Path(path_type=Path),
    help="Has the token; a missing file is made with one.",
)
@click.option("--python", "python", default="", metavar="COMMAND", help="The Python that has the package; this one without it.")
@click.option("--module", default="MetaTrader5", show_default=True, help="With the functions of MetaTrader5.")
@click.option("--module-options", default="{}", metavar="JSON", help="For a module that takes options.")
def serve(listen: str, allow_remote: bool, token_file: Path, python: str, module: str, module_options: str) -> None:
    """Run the terminal process, and start it again whenever it ends or hangs, until Ctrl-C."""
    import shlex
    import signal
    import threading

    from herald.clock import WallClock
    from herald.plugins.mt5.relay import serve_forever, token_of

    try:
        options = json.loads(module_options)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write a JSON object", param_hint="--module-options") from error
    if not isinstance(options, dict):
        raise click.BadParameter("write a JSON object, such as {}", param_hint="--module-options")
    try:  # a backslash is part of a path on Windows, and an escape elsewhere
        command = [part.strip('"') for part in shlex.split(python, posix=sys.platform != "win32")]
    except ValueError as error:
        raise click.BadParameter(f"{python!r}: {error}", param_hint="--python") from error
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, lambda *_: stop.set())
    serve_forever(
        listen=listen,
        allow_remote=allow_remote,
        token=token_of(token_file),
        python=command,
        module=module,
        options=options,
        stop=stop,
        clock=WallClock(),
        tell=lambda text: click.echo(f"herald mt5 serve: {text}"),
    )


@contextmanager
def _connector(file: str, table: str | None) -> Iterator[tuple[str, MT5Connector]]:
    """Build the connector of *file* without its layers, and leave it disconnected."""
    from herald.clock import WallClock
    from herald.host.plan import load_plan
    from herald.plugins.mt5.connector import MT5Connector
    from herald.runtime.building import Builder

    plan = load_plan(file, mode="backtest")
    known = [name for name, part in plan.connectors.items() if part.use == "mt5"]
    if table is None and len(known) == 1:
        table = known[0]
    if table not in known:
        what = (
            f'{file!r} has no connector {table!r} with use = "mt5"' if table else f"{file!r} has {len(known)} connectors of mt5"
        )
        raise NotFound(f"{what}; name one with --connector: {', '.join(known) or 'there is none'}")
    clock = WallClock()
    connector = Builder(plan, clock, lambda event: None, clock)(plan.connectors[table], {}, clock=clock)
    if not isinstance(connector, MT5Connector):
        raise NotFound(f"connector {table!r} is {type(connector).__name__}, not the one of MetaTrader 5")
    try:
        yield table, connector
    finally:
        connector.disconnect()


def _print_report(report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    marks = {"ok": "[green]ok[/]", "failed": "[bold red]failed[/]", "warning": "[yellow]look[/]", "skipped": "[dim]-[/]"}
    for title, lines in report.sections.items():
        console.print(f"[bold]{title}[/]")
        shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        shown.add_column(min_width=22)
        shown.add_column(min_width=6)
        shown.add_column(overflow="fold")
        for one in lines:
            shown.add_row(f"  {escape(one.name)}", marks[one.state], escape(one.text))
        console.print(shown)
    console.print("[green]healthy[/]" if report.is_healthy else "[bold red]not healthy[/]: see above")


def _pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    found = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
        found[name] = value
    return found


def _zone(name: str | None) -> ZoneInfo | None:
    from zoneinfo import ZoneInfo

    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise click.BadParameter(f"{name!r} is no time zone; name one such as Europe/Athens", param_hint="--zone") from error


def _plain(value: object) -> object:
    """Return a value as JSON has it."""
    from enum import Enum

    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if isinstance(value, bool | int | float | str) else str(value)
