"""``herald chaos``: rehearse a bad day on paper, and say whether anything was lost or doubled."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from herald.host.plan import load_plan

if TYPE_CHECKING:
    from herald.research.chaos import ChaosReport

__all__ = ["chaos"]


@click.command()
@click.argument("file", type=click.Path())
@click.option("--script", required=True, metavar="NAME", help="The day to rehearse: transient, session_drops, outages or noisy.")
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Stop after so many seconds of the script; recorded data may end it sooner.",
)
@click.option("--seed", type=int, help="Of the faults; the file's own unless given.")
@click.option(
    "--pace",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds of the script in one of the wall's; 20 on recorded data, else 1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def chaos(file: str, script: str, seconds: float, seed: int | None, pace: float | None, as_json: bool) -> None:
    """Run FILE on paper while its broker stumbles by a script; exit with 1 if anything was lost or doubled.

    The run has an account and a journal of its own for as long as it lasts.
    """
    from herald.plugins.faults import SCRIPTS

    if script not in SCRIPTS:
        raise click.BadParameter(f"there is no script {script!r}; there are {', '.join(sorted(SCRIPTS))}", param_hint="--script")
    plan = load_plan(file, mode="paper")
    from herald.research.chaos import rehearse

    report = rehearse(plan, script, seconds=seconds, seed=seed, pace=pace)
    click.echo(json.dumps(_plain(report), indent=2) if as_json else _table(report))
    if not report.is_good:
        raise click.exceptions.Exit(1)


def _plain(report: ChaosReport) -> dict[str, object]:
    import msgspec

    values: dict[str, object] = msgspec.structs.asdict(report)
    values["faults"] = [{"kind": k, "operation": o, "calls": n} for (k, o), n in sorted(report.faults.items())]
    values["failed"] = [{"operation": o, "error": e, "calls": n} for (o, e), n in sorted(report.failed.items())]
    return values | {"orders": msgspec.structs.asdict(report.orders), "passed": report.is_good}


def _table(report: ChaosReport) -> str:
    orders, ready = report.orders, report.ready_seconds
    again = f"READY again after {statistics.median(ready):.1f} s (median), {ready[-1]:.1f} s (longest)" if ready else ""
    lines = [
        f"script     {report.script}, {report.seconds:.0f} s of it at {report.pace:g} a second, seed {report.seed}",
        f"asked      {sum(report.asked.values())} calls: {_list(sorted(report.asked.items()))}",
        f"hit        {sum(report.faults.values())} calls" + _rows(report.faults),
        f"failed     {sum(report.failed.values())} calls, to Herald, in spite of the layers" + _rows(report.failed),
        f"recovered  {report.retries} retries, {report.circuit_openings} circuit openings, {report.disconnects} disconnects",
    ]
    if again:
        lines.append(f"           {again}")
    denied = f"; denied: {_list(sorted(report.denied.items()))}" if report.denied else ""
    lines += [
        f"orders     {orders.intended} intended, {report.sent} came to the broker, {orders.known} known to it, "
        f"{orders.unknown} in doubt, {orders.abandoned} given up{denied}",
        f"fills      {report.fills}",
        f"lost       {len(orders.lost)}",
        *(f"           {line}" for line in orders.lost),
        f"doubled    {len(orders.doubled)}",
        *(f"           {line}" for line in orders.doubled),
        *(f"finding    {line}" for line in report.findings),
        "passed: journal and broker agree" if report.is_good else "FAILED: journal and broker do not agree, or the run failed",
    ]
    return "\n".join(lines)


def _list(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name}" for name, count in pairs) or "none"


def _rows(counts: Mapping[tuple[str, str], int]) -> str:
    return "".join(f"\n           {count:6d}  {first:14s} {second}" for (first, second), count in sorted(counts.items()))
