"""``herald paper`` and ``herald live``: run until told to stop, with a live view of what goes on."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herald.clock import SECOND, WallClock, format_time
from herald.errors import ConfigError, Problem
from herald.host.plan import load_plan
from herald.utils._hardening import hardened, looseness

if TYPE_CHECKING:
    from rich.console import RenderableType

    from herald.model import Order
    from herald.results import RunResult
    from herald.runtime.live import LiveRun

__all__ = ["live", "paper", "reconcile"]

_INTERRUPTED = 130
_NEWS = 8
"""Lines of news in the live view."""
_STAMP = len("2024-01-31T12:00:00Z")


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
    loose = looseness(Path(plan.base, plan.config.live.state))
    if loose and any(plan.config.live.pin(one.connector)[2] for one in plan.strategies):
        click.echo(f"herald: {loose}", err=True)
    with hardened():
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
    last: list[LiveRun] = []
    with Live(console=Console(highlight=False), auto_refresh=False, transient=False) as screen:

        def show(run: LiveRun) -> None:
            nonlocal told
            fresh = run.news(told)
            told += len(fresh)
            for line in fresh:  # the same again and again is one line with its last time
                if news and news[-1][_STAMP:] == line[_STAMP:]:
                    news.pop()
                news.append(line)
            screen.update(_picture(run, news), refresh=True)
            last[:] = [run]

        yield show
        if last:  # as it ended, not as it was a second before
            show(last[0])


def _picture(run: LiveRun, news: deque[str]) -> RenderableType:
    """Draw the account, what is held and what works, how everything stands, and the news."""
    from rich.console import Group
    from rich.markup import escape
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.text import Text

    account, ledger = run.account(), run.engine.ledger
    head = (
        f"[bold]{format_time(run.engine.now // SECOND * SECOND)}[/]   equity [bold]{account.equity:,.2f}[/] {account.currency}   "
        f"balance {account.balance:,.2f}   margin free {account.margin_free:,.2f}"
    )
    parts: list[RenderableType] = [Text.from_markup(head), "", _positions(run), ""]
    working = [order for book in ledger.books.values() for order in book.working.values()]
    if working:
        parts += [_orders(working), ""]
    state = run.state.effective("", "")
    tint = _TINTS[str(state.value)]
    done = f"{len(ledger.fills)} fills, {len(ledger.trades)} trades closed"
    parts.append(Text.from_markup(f"[{tint}]{state.value}[/]   {_health(run)}   {done}"))
    for one in run.state.trading.scopes.values():
        text = f"{one.scope} is {one.state} since {format_time(one.time // SECOND * SECOND)} by {one.who}: {one.why}"
        parts.append(Text.from_markup(f"[{_TINTS[str(one.state.value)]}]{escape(text)}[/]"))
    if news:
        parts += ["", Text("\n".join(news), style="dim", overflow="ellipsis", no_wrap=True)]
    title = f"herald {run.plan.mode} · {escape(run.plan.source)}"
    # Room on the right: the terminal echoes ^C behind the last line, and one that wraps would shift the picture.
    return Padding(Panel(Group(*parts), title=title, title_align="left", border_style="dim"), (0, 3, 0, 0))


_TINTS = {"ACTIVE": "green", "REDUCING": "yellow", "HALTED": "red"}
_SHOWN = 6
"""Working orders in the live view."""


def _positions(run: LiveRun) -> RenderableType:
    """Draw a row for every book."""
    from rich.table import Table
    from rich.text import Text

    engine, market = run.engine, run.market
    stopped = {runner.name for runner in engine.runners if runner.failed}
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("strategy", ratio=3)
    table.add_column("symbol", ratio=2)
    for name in ("price", "position", "entry", "profit"):
        table.add_column(name, justify="right", ratio=2)
    table.add_column("orders", justify="right", min_width=6)
    for book in engine.ledger.books.values():
        price = market.bid(book.symbol) if book.size >= 0 else market.ask(book.symbol)
        profit = book.position.unrealized(price, book.instrument) * (market.rate(book.symbol) if market.converts else 1.0)
        tint = "green" if profit > 0 else "red" if profit < 0 else ""
        table.add_row(
            Text(f"{book.strategy} (stopped)", style="red") if book.strategy in stopped else book.strategy,
            book.symbol,
            f"{price:.10g}",
            f"{book.size:+g}" if book.size else "flat",
            f"{book.average_price:.6g}" if book.size else "",
            Text(f"{profit:+,.2f}", style=tint) if book.size else "",
            str(len(book.working) or ""),
        )
    return table


def _orders(working: Sequence[Order]) -> RenderableType:
    """Draw the newest working orders."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for name, ratio in (("order", 3), ("symbol", 2)):
        table.add_column(name, ratio=ratio)
    for name in ("side", "size", "type", "at", "status"):
        table.add_column(name, justify="right", ratio=2)
    for order in sorted(working, key=lambda one: one.time)[-_SHOWN:]:
        request = order.request
        price = request.stop if request.limit is None else request.limit
        at = "market" if price is None else f"{price:.10g}"
        status = f"[red]{order.status}[/]" if str(order.status) == "unknown" else str(order.status)
        row = (request.id, request.symbol, request.side.name.lower(), f"{order.remaining:g}", str(request.type), at, status)
        table.add_row(*row)
    if len(working) > _SHOWN:
        table.add_row(f"and {len(working) - _SHOWN} more")
    return table


def _health(run: LiveRun) -> str:
    """Return how connectors, journal, disk and clocks stand, as markup."""
    from rich.markup import escape

    words = []
    for table, worker in run.workers.items():
        state = "[green]ready[/]" if table in run.reconciler.ready else "[yellow]being compared[/]"
        state = state if worker.is_connected else "[red]not connected[/]" if worker.is_alive else "[dim]ended[/]"
        told = [one for name, one in run.health.items() if name.startswith(f"connectors.{table}") and one not in _QUIET]
        words.append(f"{table} {state}" + "".join(f" [red]{escape(one)}[/]" for one in told))
    standing = run.standing
    words.append("journal [green]ok[/]" if standing.journal else "[red]journal cannot be written[/]")
    if math.isfinite(standing.disk_free):
        words.append(f"{standing.disk_free / 1e9:.0f} GB free" if standing.disk_free > 1e9 else "[red]disk nearly full[/]")
    if standing.clock_skew:
        words.append(f"[yellow]clocks differ by {standing.clock_skew:.1f} s[/]")
    if not standing.pinned:
        words.append("[red]another account[/]")
    return " · ".join(words)


_QUIET = ("healthy", "CLOSED", "")
"""States of layers that need no word."""
