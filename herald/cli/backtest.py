"""``herald backtest`` and ``herald demo``: run over history, keep the results, say how it went."""

from __future__ import annotations

import json
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herald.clock import Clock, WallClock
from herald.errors import PluginError
from herald.host.plan import load_plan

if TYPE_CHECKING:
    from herald.host.plan import Plan
    from herald.results import RunResult
    from herald.runtime import Progress

__all__ = ["backtest", "demo"]

_INTERRUPTED = 130
_LONG = 400
"""Letters of an error on screen; the whole of it is in the run's folder."""
_SLOW = 200_000
"""Moments from which writing the results takes a second, too."""

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
    "swaps",
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
    # Standard output belongs to the outcome: what plugins print must not end up in the middle of a JSON document.
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        plan = load_plan(file, mode="backtest")
    from herald.results import write_run
    from herald.statistics import summary

    if not quiet and not as_json:
        click.echo(plan.describe() + "\n")
    with _progress(clock, shown=not quiet and sys.stderr.isatty()) as bar:
        with redirect_stdout(sys.stderr if as_json else sys.stdout):
            result = _simulate(plan, bar)
        if result.status == "interrupted" and not quiet:
            click.echo("herald: interrupted; writing what was done until now, Ctrl-C again gives it up", err=True)
        if bar and len(result.equity.time) >= _SLOW:
            bar.say("writing results")
        with _sheltered() as interrupted:
            folder = write_run(out, plan, result, ["herald", *sys.argv[1:]], clock=clock, started=started)
        page: Path | None = None
        if report and len(result.equity.time) and not interrupted.is_set():
            from herald.report import write_report

            if bar and len(result.equity.time) >= _SLOW:
                bar.say("writing report")
            try:
                page = write_report(folder)
            except KeyboardInterrupt:
                interrupted.set()
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
        click.echo(f"herald: {_line(error)}", err=True)
    if result.status == "interrupted":
        click.echo(f"herald: interrupted; partial results kept in {folder}", err=True)
        raise click.exceptions.Exit(_INTERRUPTED)
    if result.status != "completed":
        click.echo(f"herald: the run failed; what it did until then is kept in {folder}", err=True)
        raise click.exceptions.Exit(1)
    if interrupted.is_set():
        click.echo(f"herald: interrupted after the run; its results are whole and kept in {folder}, without a report", err=True)
        raise click.exceptions.Exit(_INTERRUPTED)


def _simulate(plan: Plan, progress: Progress | None) -> RunResult:
    """Run the backtest; a strategy that ends the process ends in an error, not in silence and code 0.

    Raises:
        PluginError: Something called `sys.exit`.
    """
    from herald.runtime import run_backtest

    try:
        return run_backtest(plan, progress)
    except SystemExit as stop:
        last = traceback.extract_tb(stop.__traceback__)[-1]
        raise PluginError(
            f"{Path(last.filename).name}, line {last.lineno}, ended the process (SystemExit: {stop.code}) in the middle of the "
            "run, and nothing of it is kept; raise an exception there instead: it stops one strategy, and the run is kept"
        ) from stop


def _line(text: str) -> str:
    """Return an error as one line that a terminal shows whole."""
    line = " ".join(text.split())
    return line if len(line) <= _LONG else f"{line[: _LONG - 100]} ... {line[-95:]}"


@contextmanager
def _sheltered() -> Iterator[threading.Event]:
    """Put off the first Ctrl-C until what is done inside is done; the second one gives it up."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.getsignal(signal.SIGINT)

    def wait(number: int, frame: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, wait)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _print(numbers: Mapping[str, Any], result: RunResult, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    from herald.statistics import LABELS, display

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for key in _SHOWN:
        if key == "swaps" and not numbers[key]:
            continue  # most instruments state none
        table.add_row(LABELS[key].label, display(key, numbers[key]))
    console = Console(highlight=False)
    console.print(table)
    refused = Counter(order.code for order in result.orders if order.code)
    if refused:
        causes = ", ".join(f"{code} {count:,}" for code, count in refused.most_common())
        console.print(f"\n[yellow]{refused.total():,} of {len(result.orders):,} orders were refused:[/yellow] {causes}")
    if not result.orders:
        console.print("\n[yellow]no order was placed:[/yellow] does the warm-up of the strategy fit into the data?")
    console.print(f"\n[dim]{len(result.equity.time):,} moments in {seconds:.1f} s[/dim]")


class _Bar:
    """A progress bar that appears once a second has passed."""

    def __init__(self, clock: Clock) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._clock = clock
        self._begun = clock.monotonic()
        self._task = self._bar.add_task("running", total=1.0)
        self._is_shown = False

    def __call__(self, fraction: float) -> None:
        """Show how much of the run is done, 0 to 1."""
        if not self._is_shown and self._clock.monotonic() - self._begun > 1:
            self._show()
        if self._is_shown:
            self._bar.update(self._task, completed=fraction)

    def say(self, what: str) -> None:
        """Show that something of unknown length goes on."""
        if not self._is_shown:
            self._show()
        self._bar.update(self._task, description=what, total=None)

    def _show(self) -> None:
        self._bar.start()
        self._is_shown = True

    def stop(self) -> None:
        """Take it away."""
        if self._is_shown:
            self._bar.stop()


@contextmanager
def _progress(clock: Clock, *, shown: bool) -> Iterator[_Bar | None]:
    """Show a progress bar on a terminal, once the run has taken a second."""
    if not shown:
        yield None
        return
    bar = _Bar(clock)
    try:
        yield bar
    finally:
        bar.stop()
