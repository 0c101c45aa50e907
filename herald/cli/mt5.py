"""Commands for MetaTrader 5: ``herald mt5 ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from herald.errors import NotFound

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

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
