"""``herald report``: write the HTML report of a run again, or for the first time."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["report"]


@click.command()
@click.argument("run")
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default="runs",
    show_default=True,
    help="Folder of all runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def report(run: str, root: Path, as_json: bool) -> None:
    """Write report.html into the folder of RUN: a path, a name, the beginning of one, or `last`."""
    from herald.report import write_report
    from herald.results import find_run

    folder = find_run(root, run)
    page = write_report(folder)
    click.echo(json.dumps({"run": folder.name, "report": str(page)}, indent=2) if as_json else str(page))
