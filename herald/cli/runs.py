"""``herald runs``: list, show and compare what earlier runs left behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from herald.results import Comparison, StoredRun

__all__ = ["runs"]

_LISTED = {"total_return": "return", "sharpe": "sharpe", "max_drawdown": "drawdown", "total_trades": "trades"}
"""Statistics in the list of runs, and their short headings."""
_WIDE = 110
"""Columns from which the list has room for strategies and symbols."""


def _options(command: Any) -> Any:
    for option in (
        click.option(
            "--root",
            type=click.Path(file_okay=False, path_type=Path),
            default="runs",
            show_default=True,
            help="Folder of all runs.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ):
        command = option(command)
    return command


@click.group()
def runs() -> None:
    """List, show and compare runs. A run is named by its path, its name, the beginning of it, or `last`."""


@runs.command("list")
@_options
def list_(root: Path, as_json: bool) -> None:
    """List the runs in a folder, newest first."""
    from herald.errors import HeraldError
    from herald.results import list_runs, load_run

    rows: list[dict[str, Any]] = []
    for folder in list_runs(root):
        try:
            run = load_run(folder)
            rows.append(_line(run))
        except HeraldError as error:
            rows.append({"run": folder.name, "status": "unreadable", "error": str(error)})
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        _print_list(rows)
    else:
        click.echo(f"no run in {root}; run `herald backtest FILE`, or name another folder with --root")


@runs.command()
@click.argument("run")
@click.option("--mt5", "as_mt5", is_flag=True, help="Show the statistics as the MetaTrader 5 tester does: its names, its order.")
@_options
def show(run: str, as_mt5: bool, root: Path, as_json: bool) -> None:
    """Show the statistics and the origin of RUN."""
    from herald.results import find_run, load_run
    from herald.statistics import mt5_report

    stored = load_run(find_run(root, run))
    if as_json:
        whole: dict[str, Any] = {"folder": str(stored.folder), "manifest": stored.manifest, "statistics": stored.statistics}
        if as_mt5:
            whole["mt5"] = {line.name: text for line, text in mt5_report(stored.statistics)}
        click.echo(json.dumps(whole, indent=2))
    else:
        _print_run(stored, as_mt5)


@runs.command()
@click.argument("first")
@click.argument("second")
@click.option("--all", "everything", is_flag=True, help="Show statistics that are equal, too.")
@_options
def compare(first: str, second: str, everything: bool, root: Path, as_json: bool) -> None:
    """Compare two runs: configuration, data, versions and statistics."""
    from herald.results import compare_runs, find_run, load_run

    one, two = load_run(find_run(root, first)), load_run(find_run(root, second))
    comparison = compare_runs(one, two)
    if as_json:
        click.echo(json.dumps(_as_json(one, two, comparison), indent=2))
    else:
        _print_comparison(one, two, comparison, everything)


def _line(run: StoredRun) -> dict[str, Any]:
    manifest = run.manifest
    return {
        "run": run.name,
        "status": manifest["status"],
        "mode": manifest["mode"],
        "written": manifest["run"].get("written"),
        "strategies": list(manifest["config"].get("strategies", {})),
        "symbols": [each["symbol"] for each in manifest["data"]],
        "statistics": {key: run.statistics.get(key) for key in _LISTED},
    }


def _print_list(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from herald.statistics import display

    console = _console()
    is_wide = console.width >= _WIDE
    table = Table(box=None, header_style="bold", pad_edge=False)
    # Folded, not cut: a name that is cut cannot be copied into the next command.
    table.add_column("run", overflow="fold")
    table.add_column("status", no_wrap=True)
    for heading in _LISTED.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("strategies", "symbols") if is_wide else ():
        table.add_column(heading, overflow="fold")
    for row in rows:
        numbers = (display(key, row["statistics"][key]) if "statistics" in row else "" for key in _LISTED)
        origin = (_some(row.get("strategies", ())), _some(row.get("symbols", ()))) if is_wide else ()
        table.add_row(escape(row["run"]), row["status"], *numbers, *map(escape, origin))
    console.print(table)
    for row in rows:
        if "error" in row:
            click.echo(f"{row['run']}: {row['error']}", err=True)


def _print_run(run: StoredRun, as_mt5: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from herald.statistics import GROUPS, LABELS, display, mt5_report

    console = _console()
    manifest = run.manifest
    console.print(f"[bold]{escape(run.name)}[/bold]  {manifest['status']}, {manifest['mode']}, seed {manifest['seed']}")
    click.echo(f"folder   {run.folder}")
    click.echo(f"config   {manifest['run']['source']}  sha256 {manifest['config_sha256'][:16]}")
    for each in manifest["data"]:
        click.echo(f"data     {each['symbol']} {each['timeframe']}  sha256 {each['sha256'][:16]}")
        click.echo(f"         {each['rows']:,} bars" + (f", {each['first']} to {each['last']}" if each["rows"] else ""))
    for error in manifest["errors"]:
        click.echo(f"error    {error}")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for line, text in mt5_report(run.statistics) if as_mt5 else ():
        table.add_row(line.name, escape(text))
    for group in () if as_mt5 else GROUPS:
        table.add_row()
        table.add_row(f"[bold not dim]{group}[/bold not dim]")
        for key, label in LABELS.items():
            if label.group == group:
                table.add_row(label.label, escape(display(key, run.statistics.get(key))))
    console.print(table)


def _as_json(one: StoredRun, two: StoredRun, comparison: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "first": one.name,
        "second": two.name,
        "equal": comparison.is_equal,
        "config": [asdict(change) for change in comparison.config],
        "data": [asdict(change) for change in comparison.data],
        "versions": [asdict(change) for change in comparison.versions],
        "files": list(comparison.files),
        "statistics": {
            key: {"first": first, "second": second, "difference": difference}
            for key, first, second, difference in comparison.statistics
        },
    }


def _print_comparison(one: StoredRun, two: StoredRun, comparison: Comparison, everything: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from herald.statistics import LABELS, display

    click.echo(f"first    {one.name}\nsecond   {two.name}")
    for title, changes in (("config", comparison.config), ("data", comparison.data), ("versions", comparison.versions)):
        click.echo(f"{title:<8} {'the same' if not changes else ''}".rstrip())
        for change in changes:
            click.echo(f"  {change.key}: {_short(change.first)} -> {_short(change.second)}")
    if comparison.is_equal:
        click.echo("results  the same to the byte")
        if not everything:
            return
    else:
        click.echo(fill(f"results  differ in {', '.join(comparison.files)}", 80, subsequent_indent=" " * 9))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for heading in ("first", "second", "difference"):
        table.add_column(heading, justify="right")
    shown = {key for key, first, second, _ in comparison.statistics if everything or first != second}
    shown |= {_head(key) for key in shown}
    for key, first, second, difference in comparison.statistics:
        if key in shown:
            texts = (display(key, first), display(key, second), "" if difference is None else display(key, difference))
            table.add_row(LABELS[key].label, *map(escape, texts))
    _console().print(table)


def _head(key: str) -> str:
    """Return the statistic that a label such as ``... of its peak`` goes on from; *key* where it stands alone."""
    from herald.statistics import LABELS

    keys = list(LABELS)
    at = keys.index(key)
    while LABELS[keys[at]].label.startswith("..."):
        at -= 1
    return keys[at]


def _console() -> Console:
    """Return a console as wide as the terminal; a pipe or a file takes wide lines."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _some(names: Sequence[str]) -> str:
    """Return the first three names and how many more there are."""
    return ", ".join(names[:3]) + (f" +{len(names) - 3}" if len(names) > 3 else "")


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    text = value if isinstance(value, str) and value else json.dumps(value)
    return text[:16] + "..." if len(text) == 64 and text.isalnum() else text
