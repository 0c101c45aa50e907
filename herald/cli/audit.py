"""``herald audit verify | show | export | key``: look into an audit log, and check that nobody changed it."""

from __future__ import annotations

import csv
import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herald.cli._export import is_table, noted_hash
from herald.clock import WallClock, format_time, parse_time
from herald.errors import AuditError, NotFound

if TYPE_CHECKING:
    from herald.utils.audit_log import AuditRecord

__all__ = ["audit"]

_CHANGED = 1
_NAMED = 5
"""Lines that a message names."""
_FIELDS = ("number", "time", "who", "act", "what", "why", "result")


@click.group()
def audit() -> None:
    """Check, show or export an audit log: FILE is the log, such as state/audit.log, or the config whose log it is."""


_file = click.argument("file", type=click.Path(path_type=Path))
_path = click.Path(path_type=Path)


@audit.command()
@_file
@click.option("--key-file", type=_path, help="The key; beside the log, or as the config says, unless given.")
@click.option("--heads", type=_path, help="Where the heads are noted; beside the log, or as the config says, unless given.")
@click.option(
    "--expect", metavar="NUMBER:HASH", help="A record and its hash, as somebody noted them: a report, the system's log."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(file: Path, key_file: Path | None, heads: Path | None, expect: str | None, as_json: bool) -> None:
    """Check every record of FILE, and its end against what was noted elsewhere. Exit code 1: it was changed."""
    from herald.utils.audit_log import read_audit, read_audit_key, segments, verify_audit

    log, known_key, known_heads = _places(file)
    noted = noted_hash(expect, 64, "take it as `herald audit verify` printed it")
    try:
        key = read_audit_key(key_file or known_key)
    except FileNotFoundError:
        raise NotFound(f"there is no key {str(key_file or known_key)!r}; name it with --key-file") from None
    found = verify_audit(log, key, heads or known_heads, noted)
    if as_json:
        names = type(found).__struct_fields__
        click.echo(json.dumps({"log": str(log)} | {name: getattr(found, name) for name in names}, indent=2))
    else:
        since = next((f", since {format_time(one.time)[:19]}Z" for one in read_audit(log)), "") if segments(log) else ""
        click.echo(f"records  {found.records}, number {found.first} to {found.head}{since}")
        click.echo(f"head     {found.head}:{found.hash}")
        after = max(found.head - found.sealed, 0)
        click.echo(f"noted    up to record {found.sealed}; the {after} after it could be cut off unseen")
        if (heads or known_heads).resolve().parent == log.resolve().parent:
            click.echo("         beside the log: who can put back an older copy of both is not found out; see docs/audit.md")
        if found.torn:
            click.echo(f"torn     {found.torn} writes were cut short by a crash; each is noted in the log")
        click.echo("the log is what was written" if not found.problem else f"CHANGED  {found.problem}")
    if found.problem:
        raise click.exceptions.Exit(_CHANGED)


@audit.command()
@_file
@click.option("--who", help="Only what this person or part did; a part of the name is enough.")
@click.option("--act", help="Only acts that begin with this, such as resume or order.denied.")
@click.option("--since", help="Only records since a time, such as 2024-03-01 or 2024-03-01T10:15Z.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="Most records, the last; 0 for all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, who: str | None, act: str | None, since: str | None, limit: int, as_json: bool) -> None:
    """Show the last records of FILE, oldest first. Whether they are what was written, only `verify` tells."""
    try:
        start = None if since is None else parse_time(since)
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from error
    fitting = (
        one
        for one in _records(file)
        if (who is None or who in one.who) and (act is None or one.act.startswith(act)) and (start is None or one.time >= start)
    )
    rows = list(deque(fitting, maxlen=limit or None))
    if as_json:
        click.echo(json.dumps([_as_json(one) for one in rows], indent=2, ensure_ascii=False))
        return
    for one in rows:
        why = f" ({one.why})" if one.why else ""
        came = f": {one.result}" if one.result else ""
        line = f"{one.number:>6}  {format_time(one.time)[:19]}Z  {one.who}  {one.act}  {one.what}{why}{came}"
        click.echo("".join(sign if sign.isprintable() else "?" for sign in line))  # what a stranger wrote moves no cursor
    click.echo(f"{len(rows)} records" if rows else "no record fits")


@audit.command()
@_file
@click.option("--out", type=_path, required=True, help="The file to write: NAME.jsonl or NAME.csv.")
def export(file: Path, out: Path) -> None:
    """Write every record of FILE to a text file, one a line."""
    as_table = is_table(out)
    count = 0
    left_out: list[str] = []
    partial = out.with_name(out.name + ".partial")
    records = _records(file, left_out)
    with open(partial, "w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, _FIELDS, lineterminator="\n")
        if as_table:
            table.writeheader()
        for one in records:
            row = _as_json(one)
            if as_table:
                table.writerow({name: _cell(value) for name, value in row.items()})
            else:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    os.replace(partial, out)
    click.echo(f"{count} records to {out}; whether they are what was written, herald audit verify tells")
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        click.echo(f"herald: left out, for it is no record: {'; '.join(left_out[:_NAMED])}{more}", err=True)


@audit.command("key", short_help="Make a key.")
@click.argument("path", type=_path)
def key(path: Path) -> None:
    """Write a new key to PATH, for its owner alone."""
    from herald.plugins.audit import make_key

    make_key(path)
    click.echo(f"a new key is in {path}; name it with key_file in [audit], and keep a copy where the log is checked")


# --- inside ---------------------------------------------------------------------------------------


def _records(file: Path, left_out: list[str] | None = None) -> Iterator[AuditRecord]:
    from herald.utils.audit_log import read_audit, segments

    log = _places(file)[0]
    if not segments(log):
        raise AuditError(f"there is no audit log {str(log)!r}; correct the path")
    return read_audit(log, left_out)


def _places(file: Path) -> tuple[Path, Path, Path]:
    """Return the log, its key and its heads: what a config says, or what lies beside a log."""
    if file.suffix.lower() != ".toml":
        return file, file.with_name("audit.key"), file.with_name("audit.heads")
    from herald.host.audit import open_trail

    trail: Any = open_trail(file, WallClock())
    if trail is None:
        raise NotFound(f"{str(file)!r} has no audit log: it is no live file and has no [audit]; name a log")
    places = getattr(trail, "places", None)
    if places is None:
        raise AuditError(f"the audit trail of {str(file)!r} is none of Herald's; its own tools check it")
    log, key_file, heads = places
    return log, key_file, heads


def _as_json(one: AuditRecord) -> dict[str, object]:
    return {name: getattr(one, name) for name in _FIELDS} | {"time": format_time(one.time)}


def _cell(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
