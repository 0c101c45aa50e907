"""What the commands of the journal and of the audit log have in common."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["is_table", "noted_hash"]


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


def noted_hash(text: str | None, digits: int, source: str) -> tuple[int, str] | None:
    """Return the number and the hash that ``--expect`` states as ``NUMBER:HASH``, None where it is not given.

    Args:
        text: What was given.
        digits: Of the hash.
        source: What to do to get a right one.

    Raises:
        click.UsageError: It is none.
    """
    if text is None:
        return None
    number, colon, digest = text.partition(":")
    if not (number.isdecimal() and len(number) < 19 and colon and len(digest) == digits):
        raise click.UsageError(f"--expect {text!r} is no NUMBER:HASH; {source}")
    return int(number), digest
