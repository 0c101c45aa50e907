"""What commands that write records to a text file have in common."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["is_table"]


def is_table(out: Path) -> bool:
    """Return whether *out* is to be a table (.csv) and not lines of JSON (.jsonl).

    Raises:
        click.UsageError: It is to be neither, or it is there already.
    """
    ending = out.suffix.lower()
    if ending not in (".csv", ".jsonl"):
        raise click.UsageError(f"--out {str(out)!r} has no known ending; name a .jsonl or .csv file")
    if out.exists():
        raise click.UsageError(f"{str(out)!r} is there already and is not overwritten; name another file, or delete it")
    return ending == ".csv"
