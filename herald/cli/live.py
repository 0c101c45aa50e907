"""``herald paper`` and ``herald live``: run until told to stop, with a live view of what goes on."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herald.clock import WallClock, format_time
from herald.errors import ConfigError, Problem
from herald.host.plan import load_plan

if TYPE_CHECKING:
    from rich.console import RenderableType

    from herald.results import RunResult
    from herald.runtime.live import LiveRun

__all__ = ["live", "paper", "reconcile"]

_INTERRUPTED = 130
_NEWS = 8
"""Lines of news in the live view."""


def _options(command: Any) -> Any:
    for option in (
        click.argument("file", type=click.Path()),
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default="runs",
            show_default=True,
            help="Folder that gets the run's folder.",
        ),
        click.option("--for", "seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds."),
        click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON."),
        click.option("--quiet", is_flag=True, help="Print nothing but errors."),
        click.option("--no-report", is_flag=True, help="Leave the HTML report out; `herald report` can write it later."),
    ):
        command = option(command)
    return command


@click.command()
@_options
def paper(file: str, out: Path, seconds: float | None, as_json: bool, quiet: bool, no_report: bool) -> None:
    """Run FILE on live prices with simulated money, until Ctrl-C or the end of recorded data."""
    _run(file, "paper", out, seconds, as_json=as_json, quiet=quiet, report=not no_report, demo_only=False)


@click.command()
@_options
@click.option(
    "--confirm",
    metavar="ACCOUNT",
    multiple=True,
    help="Number of the account that may be traded; of several, each.",
)
@click.option("--demo-only", is_flag=True, help="Refuse an account with real money.")
def live(
    file: str,
    out: Path,
    seconds: float | None,
    as_json: bool,
    quiet: bool,
    no_report: bool,
    confirm: tuple[str, ...],
    demo_only: bool,
) -> None:
    """Run FILE with the money of its account, until Ctrl-C.

    The file must say mode = "live" and name the account in [live]; --confirm must repeat its number. A demo account needs
    --demo-only instead.
    """
    plan = load_plan(file, mode="live")
    stated = {str(plan.config.live.pin(one.connector)[0]): None for one in plan.strategies}
    if not demo_only and set(confirm) != set(stated):
        said = " and ".join(map(repr, confirm)) or "nothing"
        what = f"the file trades account {' and '.join(map(repr, stated))}, --confirm says {said}"
        hint = f"repeat the number: {' '.join(f'--confirm {number}' for number in stated)}, or use --demo-only"
        raise ConfigError(file, [Problem("live.account", what, hint)])
    _run(file, "live", out, seconds, as_json=as_json, quiet=quiet, report=not no_report, demo_only=demo_only)


@click.command()
@click.argument("file", type=click.Path())
@click.option("--dry-run", is_flag=True, help="Write nothing to the journal.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def reconcile(file: str, dry_run: bool, as_json: bool) -> None:
    """Compare the account of FILE with its journal, now; nothing is traded.

    A run that is under way does the same by itself every minute, and keeps others from its account.
    """
    plan = load_plan(file)
    if plan.mode == "backtest":
        hint = 'write mode = "paper" or "live"'
        raise ConfigError(file, [Problem("herald.mode", "a backtest has no account to compare with", hint)])
    from herald.runtime.live import LiveRun, Task

    run = LiveRun(plan, task=Task.RECONCILE, dry=dry_run)
    result = run.run(lambda: False)
    findings = run.findings()
    held = [f"{position.size:+g} {position.symbol} ({strategy})" for strategy, position in result.positions]
    if as_json:
        outcome = {"status": result.status, "errors": list(result.errors), "findings": findings, "positions": held}
        click.echo(json.dumps(outcome | {"new_fills": len(result.fills)}, indent=2))
    else:
        click.echo(f"positions  {', '.join(held) or 'none'}")
        click.echo(f"news       {len(result.fills)} fills that the journal did not know")
        for one in findings:
            click.echo(f"finding    {one}")
        if not findings and not result.errors:
            click.echo("the account agrees with the journal")
    for error in result.errors:
        click.echo(f"herald: {error}", err=True)
    if findings or result.errors:
        raise click.exceptions.Exit(1)


def _run(
    file: str, mode: str, out: Path, seconds: float | None, *, as_json: bool, quiet: bool, report: bool, demo_only: bool
) -> None:
    clock = WallClock()
    started = clock.now()
    plan = load_plan(file, mode=mode)
    from herald.results import write_run
    from herald.runtime.live import LiveRun
    from herald.statistics import summary

    if not quiet and not as_json:
        click.echo(plan.describe() + "\n")
    end = None if seconds is None else clock.monotonic() + seconds
    with _stopping() as stopped, _view(shown=not quiet and not as_json and sys.stdout.isatty()) as show:
        run = LiveRun(plan, demo_only=demo_only, tick=show)
        result = run.run(lambda: stopped.is_set() or (end is not None and clock.monotonic() >= end))
    folder = write_run(out, plan, result, ["herald", *sys.argv[1:]], clock=clock, started=started)
    page: Path | None = None
    if report and len(result.equity.time):
        from herald.report import write_report

        page = write_report(folder)
    numbers = summary(result) if len(result.equity.time) else {}
    if as_json:
        outcome = {
            "status": result.status,
            "errors": list(result.errors),
            "folder": str(folder),
            "report": None if page is None else str(page),
            "orders": len(result.orders),
            "fills": len(result.fills),
            "account": dict(result.account),
            "statistics": numbers,
        }
        click.echo(json.dumps(outcome, indent=2))
    elif not quiet:
        _summarise(result)
        click.echo(f"\nresults  {folder}" + ("" if page is None else f"\nreport   {page}"))
    for error in result.errors:
        click.echo(f"herald: {error}", err=True)
    if result.status == "failed":
        raise click.exceptions.Exit(1)
    if result.status == "interrupted" and end is None:
        click.echo("herald: stopped; its state is kept, and the next run goes on from it", err=True)
        raise click.exceptions.Exit(_INTERRUPTED)


def _summarise(result: RunResult) -> None:
    held = ", ".join(f"{position.size:+g} {position.symbol} ({strategy})" for strategy, position in result.positions) or "none"
    click.echo(f"{len(result.orders)} orders, {len(result.fills)} fills, {len(result.trades)} trades closed; open: {held}")
    click.echo(f"equity {result.account['equity']:,.2f} {result.currency}, balance {result.account['balance']:,.2f}")


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C, SIGTERM or Ctrl-Break into a request to stop in order; a second one ends the process."""
    stopped = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)
    before = {number: signal.getsignal(number) for number in numbers}

    def stop(number: int, frame: object) -> None:
        stopped.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- the live view --------------------------------------------------------------------------------


@contextmanager
def _view(*, shown: bool) -> Iterator[Callable[[LiveRun], None] | None]:
    """Show a table that is drawn anew about once a second; nothing where there is no terminal."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.live import Live

    news: deque[str] = deque(maxlen=_NEWS)
    told = 0
    with Live(console=Console(highlight=False), auto_refresh=False, transient=False) as screen:

        def show(run: LiveRun) -> None:
            nonlocal told
            fresh = run.news(told)
            told += len(fresh)
            news.extend(fresh)
            screen.update(_picture(run, news), refresh=True)

        yield show


def _picture(run: LiveRun, news: deque[str]) -> RenderableType:
    """Draw prices, positions, working orders, the account and the news."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    engine, market = run.engine, run.market
    account = run.account()
    state = run.state.effective("", "")
    books = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for name, where in (
        ("strategy", "left"),
        ("symbol", "left"),
        ("price", "right"),
        ("position", "right"),
        ("entry", "right"),
        ("profit", "right"),
        ("orders", "right"),
    ):
        books.add_column(name, justify=where)  # type: ignore[arg-type]
    for book in engine.ledger.books.values():
        price = market.bid(book.symbol) if book.size >= 0 else market.ask(book.symbol)
        profit = book.position.unrealized(price, book.instrument) * (market.rate(book.symbol) if market.converts else 1.0)
        tint = "green" if profit > 0 else "red" if profit < 0 else ""
        books.add_row(
            book.strategy,
            book.symbol,
            f"{price:.10g}",
            f"{book.size:+g}" if book.size else "flat",
            f"{book.average_price:.6g}" if book.size else "",
            Text(f"{profit:+,.2f}", style=tint) if book.size else "",
            str(len(book.working) or ""),
        )
    ready = run.reconciler.ready
    health = " · ".join(f"{table} {'[green]ready' if table in ready else '[red]not ready'}[/]" for table in run.workers)
    head = (
        f"[bold]{format_time(engine.now)}[/]   equity [bold]{account.equity:,.2f}[/] {account.currency}   "
        f"balance {account.balance:,.2f}   margin free {account.margin_free:,.2f}"
    )
    tint = {"ACTIVE": "green", "REDUCING": "yellow", "HALTED": "red"}[str(state.value)]
    foot = f"[{tint}]{state.value}[/]   {health}   {len(engine.ledger.fills)} fills, {len(engine.ledger.trades)} trades closed"
    parts: list[RenderableType] = [Text.from_markup(head), "", books, "", Text.from_markup(foot)]
    if news:
        parts += ["", Text("\n".join(news), style="dim")]
    return Panel(Group(*parts), title=f"herald {run.plan.mode} · {run.plan.source}", title_align="left", border_style="dim")
