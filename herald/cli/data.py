"""Commands about files of prices: ``herald data check`` and ``herald data show``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herald.errors import NotFound

if TYPE_CHECKING:
    from herald.plugins.files.inspection import Extent, Inspection
    from herald.plugins.files.settings import FilesSettings

__all__ = ["data"]

_DIRTY = 1


class _WrongOption(click.ClickException):
    """An option's value cannot be used; one line says so, without the usage around it."""

    exit_code = 2


@click.group()
def data() -> None:
    """Look at files of prices before a run uses them."""


def _reading_options(command: Any) -> Any:
    # The same words as in a connector's table, for files that need them.
    for option in (
        click.option("--zone", default="UTC", show_default=True, help="Zone of the file's clock, such as Europe/Athens."),
        click.option("--timeframe", default=None, help="Length of a bar, where its spacing does not tell."),
        click.option("--date-format", default="", help="How dates are written, such as %d/%m/%Y."),
        click.option("--decimal", type=click.Choice([".", ","]), default=".", show_default=True, help="Decimal mark."),
        click.option("--separator", default="", help="Character between columns."),
        click.option("--json", "as_json_", is_flag=True, help="Print JSON."),
    ):
        command = option(command)
    return command


@data.command(short_help="List every defect of files.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_reading_options
def check(files: tuple[str, ...], as_json_: bool, **terms: Any) -> None:
    """List every defect of FILE...; exit 0 if there is none, 1 if there are some, 2 if a file is missing."""
    from herald.plugins.files.inspection import as_json

    found = _inspect(files, terms)
    if as_json_:
        click.echo(json.dumps([as_json(each) for each in found], indent=2))
    else:
        for each in found:
            _print_check(each)
    _end(found)


@data.command(short_help="Print what files hold.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_reading_options
def show(files: tuple[str, ...], as_json_: bool, **terms: Any) -> None:
    """Print what FILE... hold: symbols, time frame, span and gaps; exit 1 if one cannot be read."""
    from herald.plugins.files.inspection import as_json

    found = _inspect(files, terms)
    if as_json_:
        short = ("file", "format", "symbols")
        click.echo(json.dumps([{key: as_json(each)[key] for key in short} for each in found], indent=2))
    else:
        for each in found:
            click.echo(f"{each.path}  {each.format or 'unreadable: ' + each.defects[0].text}")
            for extent in each.extents:
                click.echo(f"  {_extent_line(extent)}")
    _end([each for each in found if not each.format])


def _end(found: Sequence[Inspection]) -> None:
    """End with code 1 where a file has a defect."""
    if any(each.defects for each in found):
        raise click.exceptions.Exit(_DIRTY)


def _inspect(files: tuple[str, ...], terms: dict[str, Any]) -> list[Inspection]:
    from herald.plugins.files.inspection import inspect_file

    paths = [Path(name) for name in files]
    for path in paths:
        if not path.is_file():
            raise NotFound(f"{path} does not exist or is no file; correct the path")
    return [inspect_file(path, _settings(path, terms)) for path in paths]


def _settings(path: Path, terms: dict[str, Any]) -> FilesSettings:
    from pydantic import ValidationError

    from herald.plugins.files.settings import FilesSettings

    try:
        return FilesSettings.model_validate({"path": str(path), **terms})
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "options"
        raise _WrongOption(f"{option}: {str(first['msg']).removeprefix('Value error, ')}") from error


def _print_check(found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    click.echo(f"{found.path}" + (f"  ({found.format})" if found.format else ""))
    for extent in found.extents:
        click.echo(f"  {_extent_line(extent)}")
    for title, rows in (("defects", found.defects), ("worth a look", found.warnings)):
        if not rows:
            continue
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("row", justify="right", no_wrap=True)
        table.add_column("code", no_wrap=True)
        table.add_column("what", overflow="fold")
        table.add_column("what to do", overflow="fold")
        for each in rows:
            table.add_row(str(each.row or "-"), each.code, each.text, each.remedy)
        console.print(table)
    if found.defects:
        counts = ", ".join(f"{count} {code}" for code, count in found.counts().items())
        total = len(found.defects)
        click.echo(f"{total} defect{'' if total == 1 else 's'}: {counts}")
    else:
        odd = len(found.warnings)
        click.echo("clean" + (f"; {odd} thing{'' if odd == 1 else 's'} worth a look" if odd else ""))


def _extent_line(extent: Extent) -> str:
    from datetime import timedelta

    from herald.clock import SECOND, format_time

    name = f"{extent.symbol}: " if extent.symbol else ""
    frame = str(extent.timeframe) if extent.timeframe else "of unknown length"
    gaps = "no gaps"
    if extent.gaps:
        longest = timedelta(seconds=extent.longest_gap // SECOND)
        gaps = f"{extent.gaps} gaps, longest {longest} after {format_time(extent.longest_gap_at)}"
    return f"{name}{extent.rows} bars {frame}, {format_time(extent.start)} to {format_time(extent.end)}, {gaps}"
