"""``herald backtest`` and ``herald demo``: run over history, keep the results, say how it went."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herald.clock import Clock, WallClock
from herald.host.plan import load_plan

if TYPE_CHECKING:
    from herald.results import RunResult
    from herald.runtime import Progress

__all__ = ["backtest", "demo"]

_INTERRUPTED = 130

_SHOWN = (
    "final_equity",
    "total_return",
    "cagr",
    "sharpe",
    "max_drawdown",
    "total_trades",
    "win_rate",
    "profit_factor",
    "commissions",
)


def _options(command: Any) -> Any:
    for option in (
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default="runs",
            show_default=True,
            help="Folder that gets the run's folder.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON."),
        click.option("--quiet", is_flag=True, help="Print nothing but errors."),
        click.option("--no-report", is_flag=True, help="Leave the HTML report out; `herald report` can write it later."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("file", type=click.Path())
@_options
def backtest(file: str, out: Path, as_json: bool, quiet: bool, no_report: bool) -> None:
    """Run FILE over history and write a folder with its results."""
    _run(file, out, as_json=as_json, quiet=quiet, report=not no_report)


@click.command()
@_options
def demo(out: Path, as_json: bool, quiet: bool, no_report: bool) -> None:
    """Backtest the bundled data: nine years of real GBPUSD hours, and a report worth looking at."""
    with as_file(files("herald") / "demo") as folder:
        _run(str(folder / "demo.toml"), out, as_json=as_json, quiet=quiet, report=not no_report)


def _run(file: str, out: Path, *, as_json: bool, quiet: bool, report: bool) -> None:
    clock = WallClock()
    started, begun = clock.now(), clock.monotonic()
    plan = load_plan(file, mode="backtest")
    from herald.results import write_run
    from herald.runtime import run_backtest
    from herald.statistics import summary

    if not quiet and not as_json:
        click.echo(plan.describe() + "\n")
    with _progress(clock, shown=not quiet and sys.stderr.isatty()) as progress:
        result = run_backtest(plan, progress)
    folder = write_run(out, plan, result, ["herald", *sys.argv[1:]], clock=clock, started=started)
    page: Path | None = None
    if report and len(result.equity.time):
        from herald.report import write_report

        page = write_report(folder)
    numbers = summary(result)
    seconds = clock.monotonic() - begun
    if as_json:
        outcome = {
            "status": result.status,
            "errors": list(result.errors),
            "folder": str(folder),
            "report": None if page is None else str(page),
            "statistics": numbers,
        }
        click.echo(json.dumps(outcome, indent=2))
    elif not quiet:
        _print(numbers, result, seconds)
        click.echo(f"\nresults  {folder}" + ("" if page is None else f"\nreport   {page}"))
    for error in result.errors:
        click.echo(f"herald: {error}", err=True)
    if result.status == "interrupted":
        click.echo(f"herald: interrupted; partial results kept in {folder}", err=True)
        raise click.exceptions.Exit(_INTERRUPTED)
    if result.status != "completed":
        click.echo(f"herald: the run failed; what it did until then is kept in {folder}", err=True)
        raise click.exceptions.Exit(1)


def _print(numbers: Mapping[str, Any], result: RunResult, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    from herald.statistics import LABELS, display

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for key in _SHOWN:
        table.add_row(LABELS[key].label, display(key, numbers[key]))
    console = Console(highlight=False)
    console.print(table)
    refused = Counter(order.code for order in result.orders if order.code)
    if refused:
        causes = ", ".join(f"{code} {count:,}" for code, count in refused.most_common())
        console.print(f"\n[yellow]{refused.total():,} of {len(result.orders):,} orders were refused:[/yellow] {causes}")
    console.print(f"\n[dim]{len(result.equity.time):,} moments in {seconds:.1f} s[/dim]")


@contextmanager
def _progress(clock: Clock, *, shown: bool) -> Iterator[Progress | None]:
    """Show a progress bar on a terminal, once the run has taken a second."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("running"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    begun = clock.monotonic()
    task = bar.add_task("run", total=1.0)
    started = False

    def advance(fraction: float) -> None:
        nonlocal started
        if not started and clock.monotonic() - begun > 1:
            bar.start()
            started = True
        if started:
            bar.update(task, completed=fraction)

    try:
        yield advance
    finally:
        if started:
            bar.stop()
