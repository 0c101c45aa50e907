"""The run folder: written whole or not at all, read back, found by name."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from herald.clock import SECOND, Clock, WallClock, format_time
from herald.errors import DataError, NotFound
from herald.model import BarSeries, Fill, Instrument, Note, Order, Trade
from herald.results import tables
from herald.results.bars import read_bars, write_bars
from herald.results.manifest import SCHEMA, RunPlan, hash_config, hash_file, make_manifest, plain_json
from herald.results.run import EquityCurve, RunResult
from herald.statistics import Statistic, summary
from herald.utils.redaction import redact, redact_values

__all__ = ["MANIFEST", "StoredRun", "find_run", "list_runs", "load_run", "write_run"]

MANIFEST = "manifest.json"
_SECTIONS = {
    **dict.fromkeys(("run", "account", "config", "instruments", "versions", "files"), dict),
    **dict.fromkeys(("errors", "data"), list),
    **dict.fromkeys(("status", "mode", "config_sha256"), str),
    "seed": int,
}
"""What readers of a manifest rely on, and what it is in JSON."""
_KNOWN = 3
"""How many runs a message about an unknown one names."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run folder, opened; tables are read when they are asked for.

    Attributes:
        folder: Where it is.
        manifest: What was run, on which data, by which versions.
        statistics: See `herald.statistics.summary`.
    """

    folder: Path
    manifest: Mapping[str, Any]
    statistics: Mapping[str, Statistic]

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return self.folder.name

    def orders(self) -> tuple[Order, ...]:
        """Read every order in its last state; raises `DataError` or `NotFound` where the table is damaged or missing."""
        return tables.read_orders(self.folder / "orders.csv")

    def fills(self) -> tuple[Fill, ...]:
        """Read every execution; raises as `orders`."""
        return tables.read_fills(self.folder / "fills.csv")

    def trades(self) -> tuple[Trade, ...]:
        """Read every closed round trip; raises as `orders`."""
        return tables.read_trades(self.folder / "trades.csv")

    def notes(self) -> tuple[Note, ...]:
        """Read the lines that strategies wrote; raises as `orders`."""
        return tables.read_notes(self.folder / "notes.csv")

    def equity(self) -> EquityCurve:
        """Read the account at every moment; raises as `orders`."""
        return tables.read_equity(self.folder / "equity.csv")

    def market(self) -> dict[str, BarSeries]:
        """Read the bars of every symbol as they were traded; raises as `orders`."""
        return read_bars(self.folder / "bars.npz", [(each["symbol"], each["span"]) for each in self.manifest["data"]])

    def instruments(self) -> dict[str, Instrument]:
        """Return the terms of every symbol."""
        found = {}
        for symbol, terms in self.manifest["instruments"].items():
            stated = {name: value for name, value in terms.items() if value is not None}
            found[symbol] = msgspec.convert(stated, Instrument)
        return found


def write_run(
    root: Path,
    plan: RunPlan,
    result: RunResult,
    command: Sequence[str],
    *,
    clock: Clock | None = None,
    started: int | None = None,
) -> Path:
    """Write everything a run produced into a new folder under *root*.

    The folder appears under its name when it is complete: a crash leaves at most a folder that begins with a dot.
    Two runs of one configuration by the same versions write the same bytes; only the ``run`` section of the
    manifest (name, times, command) tells them apart.

    Args:
        root: Folder of all runs; made where it is missing.
        plan: What was asked for.
        result: What came of it; a failed or interrupted run is kept like any other.
        command: The command line, word by word.
        clock: Tells when the run is written; the clock of the machine unless given.
        started: When it was started, nanoseconds UTC; None where it is not known.

    Returns:
        The new folder: ``YYYYMMDD-HHMMSS-NAME-HASH``, time in UTC, NAME from the config file, HASH from its content.

    Raises:
        DataError: The folder cannot be written.
    """
    now = (clock or WallClock()).now()
    stem = _name(plan, now)
    try:
        root.mkdir(parents=True, exist_ok=True)
        partial = _claim(root, stem)
        try:
            files = _write_tables(partial, result)
            run = {
                "name": stem,
                "written": format_time(now),
                "started": None if started is None else format_time(started),
                "duration_seconds": None if started is None else (now - started) / SECOND,
                "command": list(command),
                "source": plan.source,
            }
            folder = _publish(partial, root, stem, lambda name: make_manifest(plan, result, run | {"name": name}, files))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise DataError(
            f"the run cannot be written to {root}: {error.strerror or error}; free it or choose another folder"
        ) from error
    return folder


def load_run(folder: Path) -> StoredRun:
    """Open a run folder.

    Raises:
        NotFound: It is no run folder.
        DataError: Its manifest or statistics cannot be read, or a later Herald wrote it.
    """
    manifest = _read_json(folder / MANIFEST, f"{folder} is no run folder: it has no {MANIFEST}; name one of `herald runs list`")
    schema = manifest.get("schema")
    if schema != SCHEMA:
        raise DataError(f"{folder / MANIFEST} has schema {schema!r}, this Herald reads {SCHEMA}; use the version that wrote it")
    for name, kind in _SECTIONS.items():
        if not isinstance(manifest.get(name), kind):
            raise DataError(f"{folder / MANIFEST} is damaged: {name!r} is missing or no {kind.__name__}; run the backtest again")
    statistics = _read_json(folder / "statistics.json", f"{folder} has no statistics.json; run the backtest again")
    return StoredRun(folder, manifest, statistics)


def list_runs(root: Path) -> list[Path]:
    """Return the run folders under *root*, newest first; none where *root* does not exist."""
    if not root.is_dir():
        return []
    found = [each for each in root.iterdir() if not each.name.startswith(".") and (each / MANIFEST).is_file()]
    # Two runs can end in the same second: then the file system knows the order.
    return sorted(found, key=lambda each: (each.name[:15], (each / MANIFEST).stat().st_mtime_ns, each.name), reverse=True)


def find_run(root: Path, text: str) -> Path:
    """Return the run folder that *text* means.

    Args:
        root: Folder of all runs.
        text: The path of a folder, a run's name, the beginning of exactly one name, or ``last``.

    Raises:
        NotFound: There is none, or more than one.
    """
    runs = list_runs(root)
    if text == "last":
        if runs:
            return runs[0]
        raise NotFound(f"there is no run in {root}; run `herald backtest FILE` or name another folder with --root")
    path = Path(text)
    if (path / MANIFEST).is_file():
        return path
    names = {each.name: each for each in runs}
    if text in names:
        return names[text]
    fitting = [each for name, each in names.items() if text and name.startswith(text)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        some = ", ".join(each.name for each in fitting[:3])
        raise NotFound(f"{text!r} is the beginning of {len(fitting)} runs in {root} ({some} ...); write more of the name")
    if not runs:
        raise NotFound(f"no run {text!r} in {root}, which has no runs; run `herald backtest FILE` or name another with --root")
    some = ", ".join(each.name for each in runs[:_KNOWN]) + (f" and {len(runs) - _KNOWN} more" if len(runs) > _KNOWN else "")
    raise NotFound(f"no run {text!r} in {root}; there is {some}: write a name, the beginning of one, or `last`")


def _name(plan: RunPlan, now: int) -> str:
    stamp = datetime.fromtimestamp(now // SECOND, UTC).strftime("%Y%m%d-%H%M%S")
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", Path(plan.source).stem).strip("-")[:40] or "run"
    return f"{stamp}-{stem}-{hash_config(plan.to_dict())[:4]}"


def _claim(root: Path, stem: str) -> Path:
    """Make a folder that is not there yet."""
    for attempt in range(1_000):
        partial = root / f".{stem}-{attempt}.partial"
        try:
            partial.mkdir()
        except FileExistsError:
            continue
        return partial
    raise FileExistsError(0, f"a thousand unfinished folders begin with .{stem}")


def _publish(partial: Path, root: Path, stem: str, manifest: Callable[[str], dict[str, Any]]) -> Path:
    """Write the manifest last and give the folder its name, with a number behind it where the name is taken."""
    number = 1
    while True:
        name = stem if number == 1 else f"{stem}-{number}"
        number += 1
        folder = root / name
        if folder.exists():
            continue
        _write_text(partial / MANIFEST, plain_json(redact_values(manifest(name))))
        try:
            return partial.rename(folder)
        except OSError:
            if not folder.exists():
                raise


def _write_tables(folder: Path, result: RunResult) -> dict[str, str]:
    """Write every file but the manifest; return their hashes by name."""
    tables.write_orders(folder / "orders.csv", result.orders)
    tables.write_fills(folder / "fills.csv", result.fills)
    tables.write_trades(folder / "trades.csv", result.trades)
    tables.write_equity(folder / "equity.csv", result.equity)
    tables.write_notes(folder / "notes.csv", result.notes)
    _write_text(folder / "statistics.json", plain_json(summary(result)))
    write_bars(folder / "bars.npz", result.market)
    if result.failures:
        text = "\n".join(f"{format_time(each.time)} {each.strategy}\n{each.traceback}" for each in result.failures)
        _write_text(folder / "failures.txt", redact(text))
    return {path.name: hash_file(path) for path in sorted(folder.iterdir())}


def _write_text(path: Path, text: str) -> None:
    # A command line may hold bytes that are no UTF-8; JSON reads their escapes back as they were.
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _read_json(path: Path, missing: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(missing) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; run the backtest again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no table; run the backtest again")
    return value
