"""Commands about journals: ``herald journal show | export | verify | compact``, ``herald backup``, ``herald restore``."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from herald.cli._export import is_table, noted_hash

if TYPE_CHECKING:
    from herald.model import Record
    from herald.plugins.journal import JournalFile, Verified

__all__ = ["backup", "journal", "restore"]

_FILE = click.Path(path_type=Path)
_DAMAGED = 1
_WIDE = 110
"""Columns from which the table has room for whole times."""


@click.group()
def journal() -> None:
    """Look into a journal, which may be in use: FILE is its file, such as state/journal.sqlite."""


@journal.command()
@click.argument("file", type=_FILE)
@click.option("--kind", "kinds", multiple=True, help="Only records of this kind, such as Intended; may be repeated.")
@click.option("--order", default=None, help="Only records of this order: its id, or its name at the broker.")
@click.option("--since", default=None, help="Only records since a time, such as 2024-03-01 or 2024-03-01T10:15Z.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="Most records, the last; 0 for all.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def show(file: Path, kinds: tuple[str, ...], order: str | None, since: str | None, limit: int, json_: bool) -> None:
    """Show the last records of FILE, oldest first."""
    with _opened(file) as found:
        try:
            rows = found.find(kinds=kinds, order=order, since=_time(since), limit=limit or None)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        if json_:
            from herald.plugins.journal.text import as_json

            click.echo(json.dumps([as_json(number, record) for number, record in rows], indent=2, ensure_ascii=False))
            return
        meta = found.meta
        if rows:
            _print_records(rows)
        what = "no record fits" if not rows else f"{len(rows)} of {meta.head - meta.base}"
        click.echo(f"{what}; records {_span(meta.base, meta.head)}, {meta.role} {meta.id}")


@journal.command()
@click.argument("file", type=_FILE)
@click.option("--out", type=_FILE, required=True, help="The file to write: NAME.jsonl or NAME.csv.")
def export(file: Path, out: Path) -> None:
    """Write every record of FILE to a text file, one a line; of a damaged file those before the damage."""
    from herald.errors import JournalError
    from herald.plugins.journal.text import ROW, as_json, as_row

    as_table = is_table(out)
    count, failure = 0, None
    partial = out.with_name(out.name + ".partial")
    with _opened(file) as found, open(partial, "w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, ROW, lineterminator="\n")
        if as_table:
            table.writeheader()
        try:
            for number, record in found.read():
                if as_table:
                    table.writerow(as_row(number, record))
                else:
                    stream.write(json.dumps(as_json(number, record), ensure_ascii=False) + "\n")
                count += 1
        except JournalError as error:
            failure = error
    os.replace(partial, out)
    if failure is not None:
        raise JournalError(f"{failure}; the {count} records before it are in {str(out)!r}") from failure
    click.echo(f"{count} records to {out}")


@journal.command()
@click.argument("file", type=_FILE)
@click.option("--expect", default=None, metavar="NUMBER:HASH", help="A record and its hash, as `verify` printed them before.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def verify(file: Path, expect: str | None, json_: bool) -> None:
    """Check every record, hash, column, snapshot and index of FILE; exit 0 if all are right, 1 if not, 2 if it is missing."""
    from herald.plugins.journal import verify as check

    found = check(_present(file), noted_hash(expect, 32, "copy it from an earlier `herald journal verify`"))
    if json_:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
    else:
        for problem in found.problems:
            click.echo(problem)
        click.echo(_verdict(found))
    raise SystemExit(_DAMAGED if found.problems else 0)


@journal.command()
@click.argument("file", type=_FILE)
@click.option(
    "--keep-after", type=click.IntRange(min=0), default=None, help="Last record to move; up to the snapshot unless given."
)
@click.option("--delete", is_flag=True, help="Delete the records instead of moving them to an archive beside FILE.")
def compact(file: Path, keep_after: int | None, delete: bool) -> None:
    """Move the records that a snapshot stands for out of FILE, which must not be in use."""
    from random import Random

    from herald.cli.control import recorded
    from herald.clock import WallClock
    from herald.contracts import Services
    from herald.plugins.journal import JournalSettings, SqliteJournal

    path = _present(file)
    settings = JournalSettings(file=str(path.absolute()), reserve_bytes=0)
    store = SqliteJournal(settings, Services("journal", WallClock(), Random(0)))
    try:
        before = store.first
        with recorded(path.parent, None, "journal.compact --delete" if delete else "journal.compact", str(path), "by hand"):
            archive = store.compact(keep_after, keep_archive=not delete)
        moved = store.first - before
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    finally:
        store.close()
    if not moved:
        click.echo("nothing to move: no snapshot covers a record that is still here")
    else:
        click.echo(f"{moved} records {'deleted' if archive is None else f'to {archive}'}")


@click.command()
@click.argument("file", type=_FILE)
@click.argument("target", type=_FILE)
def backup(file: Path, target: Path) -> None:
    """Copy the journal FILE, which may be in use, to the file or folder TARGET, and check the copy."""
    from herald.plugins.journal import backup as copy

    found = copy(_present(file), target)
    click.echo(f"backup to {found.path}")
    click.echo(_verdict(found))


@click.command()
@click.argument("source", type=_FILE)
@click.argument("target", type=_FILE)
def restore(source: Path, target: Path) -> None:
    """Put the backup SOURCE in the place of the journal TARGET, which must not be in use; what was there is renamed."""
    from herald.cli.control import recorded
    from herald.plugins.journal import restore as put_back

    _present(source)
    folder = target if target.is_dir() else target.parent
    with recorded(folder, None, "journal.restore", f"{source} to {target}", "by hand"):
        found, replaced = put_back(source, target)
    click.echo(f"restored {target}")
    if replaced is not None:
        click.echo(f"what was there is now {replaced}")
    click.echo(_verdict(found))
    click.echo("what happened after the backup is not in it: the next run asks the broker, and only reduces until that fits")


# --- arguments


def _present(file: Path) -> Path:
    from herald.errors import NotFound

    if not file.exists():
        raise NotFound(f"there is no file {str(file)!r}; correct the path")
    return file


def _opened(file: Path) -> JournalFile:
    from herald.plugins.journal import JournalFile

    return JournalFile(_present(file))


def _time(text: str | None) -> int | None:
    from herald.clock import parse_time

    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise click.UsageError(f"--since {text!r} is no time; write 2024-03-01 or 2024-03-01T10:15Z") from error


# --- output


def _verdict(found: Verified) -> str:
    if found.problems:
        count = len(found.problems)
        return f"DAMAGED: {count} problem{'' if count == 1 else 's'}; restore a backup with `herald restore BACKUP {found.path}`"
    records = f"{found.count} records {_span(found.first - 1, found.last)}" if found.count else "no records"
    shots = f"{found.snapshots} snapshot{'' if found.snapshots == 1 else 's'}"
    return f"whole: {records}, {shots}, {found.role} {found.id}\nhead {found.last}:{found.head_hash}"


def _span(base: int, head: int) -> str:
    return "none" if head <= base else f"{base + 1} to {head}"


def _print_records(rows: Iterable[tuple[int, Record]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from herald.clock import format_time
    from herald.plugins.journal.text import describe

    console = Console(highlight=False)
    is_wide = console.width >= _WIDE
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("number", justify="right", no_wrap=True)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("what", overflow="fold")
    for number, record in rows:
        # To the millisecond where there is room, else to the second: the order is in the number.
        at = format_time(record.time).rstrip("Z").replace("T", " ")[: 23 if is_wide else 19]
        table.add_row(str(number), at, type(record).__name__, escape(describe(record)))
    console.print(table)
