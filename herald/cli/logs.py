"""``herald logs``: show, filter and follow what the log of a config has written, also into files that were rotated since."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import click

from herald.clock import DAY, HOUR, MINUTE, SECOND, WallClock, parse_time
from herald.errors import ConfigError, NotFound, Problem

__all__ = ["logs"]

_PAUSE_SECONDS = 0.25
_RETRY_SECONDS = 0.01
_TRIES = 100
_TEXT = re.compile(r"(\S+Z) ([A-Z]+) +(.*)", re.DOTALL)
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")


class _Line(NamedTuple):
    """One line of a log.

    Attributes:
        time: Nanoseconds UTC; 0 where it states none.
        level: Such as ``INFO``; empty where it states none.
        text: As it stands in the file.
        fields: Of a line in JSON; None of others.
    """

    time: int
    level: str
    text: str
    fields: dict[str, Any] | None


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("--level", type=click.Choice(_LEVELS, case_sensitive=False), help="Nothing below this level.")
@click.option("--since", metavar="TIME", help="Nothing before this time: 15m, 2h, 1d ago, or 2024-03-01T10:15.")
@click.option("--lines", "-n", type=click.IntRange(min=1), metavar="N", help="The last N lines only.")
@click.option("--order", metavar="ID", help="What concerns this order and its protection; of JSON logs only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def logs(
    file: Path, follow: bool, level: str | None, since: str | None, lines: int | None, order: str | None, as_json: bool
) -> None:
    """Show what the log of FILE has written, rotated files included. It is read from disk; no run need be there.

    Times are those of the events: of recorded data, those of the data.
    """
    paths = _log_files(file)
    least = 0 if level is None else _LEVELS.index(level.upper())
    begin = None if since is None else _since(since)

    def wanted(line: _Line) -> bool:
        if line.level and line.level in _LEVELS and _LEVELS.index(line.level) < least:
            return False
        if begin is not None and line.time < begin:
            return False
        return order is None or _concerns(line, order)

    tails = [_Tail(path) for path in paths]
    if not follow and not any(tail.exists() for tail in tails):
        raise NotFound(f"there is no log yet: {', '.join(map(str, paths))}; it begins with the first line that a run writes")
    shown = [line for tail in tails for line in tail.read() if wanted(line)]
    if len(tails) > 1:
        shown.sort(key=lambda line: line.time)
    for line in shown if lines is None else deque(shown, maxlen=lines):
        _show(line, as_json)
    clock = WallClock()
    while follow:
        sys.stdout.flush()
        clock.sleep(_PAUSE_SECONDS)
        for line in sorted((one for tail in tails for one in tail.read()), key=lambda one: one.time if len(tails) > 1 else 0):
            if wanted(line):
                _show(line, as_json)


# --- which files ----------------------------------------------------------------------------------


def _log_files(file: Path) -> list[Path]:
    """Return the files of every log observer of the config *file*; it need not be a config that could run.

    Raises:
        NotFound: There is no such file.
        ConfigError: It is no TOML, or writes no log to a file.
    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8")).get("observers", [])
    except FileNotFoundError:
        raise NotFound(f"there is no config {str(file)!r}; name the config of a run") from None
    except OSError as error:
        raise NotFound(f"the config {str(file)!r} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), [Problem("", f"it is no TOML: {error}")]) from error
    tables = tables if isinstance(tables, list) else []
    mine = [one for one in tables if isinstance(one, dict) and one.get("use") in ("log", "log.log")]
    named = [one["file"] for one in mine if isinstance(one.get("file"), str) and one["file"]]
    if not named:
        what = "the log is not written to a file" if mine else "there is no log"
        hint = 'add [[observers]] with use = "log" and file = "state/herald.log"'
        raise ConfigError(str(file), [Problem("observers", what, hint)])
    base = file.resolve().parent
    return list(dict.fromkeys(base / one for one in named))


def _since(text: str) -> int:
    """Return the time that ``--since`` states, nanoseconds UTC."""
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return WallClock().now() - round(float(ago[1]) * _UNITS[ago[2]])
    try:
        return parse_time(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time; write 15m, 2h or 1d, or 2024-03-01T10:15", param_hint="--since") from None


class _Tail:
    """Reads a log from where it stopped the last time, from one file to the one that took its name after it was rotated.

    No file stays open between two readings: Windows would not let the run rename it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0  # of the file that is being read, and how much of it has been
        self._offset = 0
        self._done: tuple[int, str, int] = (0, "", 0)  # the last rotated file that has been read, as `_rotated` sorts them

    def exists(self) -> bool:
        """Return whether there is anything."""
        return self._path.is_file() or bool(self._rotated())

    def read(self) -> Iterator[_Line]:
        """Yield the whole lines since the last time, all of them the first time."""
        tries = 0
        while tries < _TRIES:
            # In this order: a file that is rotated between the two is found in the list.
            current = _number(self._path)
            rotated = self._rotated()
            left = [(key, one) for key, one in rotated if key > self._done]
            if left:
                key, old = left[0]
                mine = next(((key, one) for key, one in left if _number(one) == self._number), None)
                if mine is not None:
                    key, old = mine
                offset = self._offset if mine is not None else 0
                yield from _parsed(_bytes(old, offset)[0])
                self._done, self._number, self._offset = key, 0, 0
                continue
            if not current:
                return
            offset = self._offset if current == self._number else 0
            data, found = _bytes(self._path, offset)
            if data is None and found == current:  # it is shorter than before: somebody emptied it
                data, found = _bytes(self._path, 0)
                offset = 0
            if found != current or data is None:
                tries += 1  # it was rotated just now, or nobody may read it
                WallClock().sleep(_RETRY_SECONDS)
                continue
            end = data.rfind(b"\n") + 1
            self._number, self._offset = current, offset + end
            yield from _parsed(data[:end])
            return
        raise NotFound(f"the log {str(self._path)!r} cannot be read; look at its permissions")

    def _rotated(self) -> list[tuple[tuple[int, str, int], Path]]:
        """Return the files that this one was before, oldest first: ``herald.2024-03-01_00-00-00_000000.log``.

        Their names tell the hour of the machine's zone, which comes twice in autumn; when they were last written does not.
        """
        stem, ending = re.escape(self._path.stem), re.escape(self._path.suffix)
        name = re.compile(rf"{stem}\.(\d{{4}}-\d\d-\d\d_\d\d-\d\d-\d\d_\d+)(?:\.(\d+))?{ending}")
        found = []
        with suppress(OSError):
            for one in self._path.parent.iterdir():
                match = name.fullmatch(one.name)
                if match:
                    with suppress(OSError):  # old files are deleted
                        found.append(((one.stat().st_mtime_ns, match[1], int(match[2] or 0)), one))
        return sorted(found)


def _number(path: Path) -> int:
    """Return what tells a file from the one that has its name later; 0 where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _bytes(path: Path, offset: int) -> tuple[bytes | None, int]:
    """Return what stands in a file behind *offset*, None where it is shorter than that, and the file's number."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size < offset:
                return None, status.st_ino
            file.seek(offset)
            return file.read(), status.st_ino
    except OSError:  # it is being rotated, or there is none
        return None, 0


# --- lines ----------------------------------------------------------------------------------------


def _parsed(data: bytes | None) -> Iterator[_Line]:
    before = _Line(0, "", "", None)
    for raw in (data or b"").split(b"\n"):
        if raw.strip():
            before = _line(raw.decode("utf-8", "replace").rstrip("\r"), before)
            yield before


def _line(text: str, before: _Line) -> _Line:
    """Return a line; one that states neither time nor level belongs to the one *before* it."""
    if text.startswith("{"):
        with suppress(ValueError):
            fields = json.loads(text)
            if isinstance(fields, dict) and isinstance(fields.get("at"), str):
                return _Line(_time(fields["at"]), str(fields.get("level", "")), text, fields)
    found = _TEXT.fullmatch(text)
    if found is None or not (time := _time(found[1])):
        return _Line(before.time, before.level, text, None)
    return _Line(time, found[2], text, None)


def _time(text: str) -> int:
    try:
        # Nanoseconds are more than a time of day of Python's can hold.
        return parse_time(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return 0


def _concerns(line: _Line, order: str) -> bool:
    from herald.utils.traces import family_of

    if line.fields is None:
        return False
    stated = str(line.fields.get("order", ""))
    return stated == order or family_of(stated) == order


def _show(line: _Line, as_json: bool) -> None:
    from herald.plugins.log import line_of

    if as_json:
        text = line.text
        if line.fields is None:
            found = _TEXT.fullmatch(text)
            told = {"at": found[1], "level": found[2], "line": found[3]} if found else {"level": line.level, "line": text}
            text = json.dumps(told, ensure_ascii=False)
    elif line.fields is not None:
        rest = {name: value for name, value in line.fields.items() if name not in ("at", "level", "event")}
        text = f"{line.fields['at']} {line.level: <8} {line_of(str(line.fields.get('event', '')), rest)}"
    else:
        text = line.text
    click.echo(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text))
