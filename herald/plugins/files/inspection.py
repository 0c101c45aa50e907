"""A file looked at from all sides: its span, its gaps, every defect, and what is odd without being wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from herald.clock import SECOND, format_time
from herald.contracts import DataFormat, Defect
from herald.errors import DataError
from herald.model import Timeframe
from herald.plugins.files.checks import runs
from herald.plugins.files.reading import Reader
from herald.plugins.files.refusal import Unreadable
from herald.plugins.files.settings import FilesSettings
from herald.plugins.files.table import Table

__all__ = ["Extent", "Inspection", "as_json", "inspect_file"]

_FLAT_RUN = 10
"""So many rows in a row without any movement are mentioned."""
_JUMP = 0.2
"""A close this far (as a fraction) from the one before is mentioned, unless the symbol often moves so."""
_USUAL = 20.0
"""A jump is also at least this many median moves."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What a file has of one symbol.

    Attributes:
        symbol: Empty where the file does not state it.
        rows: Bars, those with defects included.
        timeframe: Length of a bar, or None where it cannot be told.
        start: Start of the first bar, nanoseconds UTC by the zone asked for.
        end: End of the last bar.
        gaps: Places where at least one bar is missing, week-ends included.
        longest_gap: Time without a bar at the longest of them, nanoseconds.
        longest_gap_at: Start of the last bar before it, or 0 where there is none.
    """

    symbol: str
    rows: int
    timeframe: Timeframe | None
    start: int
    end: int
    gaps: int
    longest_gap: int
    longest_gap_at: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything found out about one file.

    Attributes:
        path: The file.
        format: Full name of the format that read it; empty where none did.
        extents: One a symbol.
        defects: What cannot be right, in row order; a run refuses these.
        warnings: What is odd and may be right: flat stretches, ghost rows, jumps.
    """

    path: Path
    format: str
    extents: tuple[Extent, ...]
    defects: tuple[Defect, ...]
    warnings: tuple[Defect, ...]

    def counts(self) -> dict[str, int]:
        """Return how many defects there are of each code, the most frequent first."""
        return dict(Counter(defect.code for defect in self.defects).most_common())


def inspect_file(path: Path, settings: FilesSettings, formats: Mapping[str, DataFormat] | None = None) -> Inspection:
    """Return what *path* holds and what is wrong with it; a file that cannot be read is a defect too."""
    try:
        reading = Reader(settings, formats or {}, None).read(path)
    except Unreadable as error:
        return Inspection(path, "", (), (error.defect,), ())
    except DataError as error:
        return Inspection(path, "", (), (Defect(0, "unreadable", str(error), "see the message"),), ())
    warnings = sorted((each for table in reading.tables for each in _oddities(table)), key=lambda each: each.row)
    return Inspection(path, reading.format, tuple(map(_extent, reading.tables)), reading.defects, tuple(warnings))


def _extent(table: Table) -> Extent:
    frame = Timeframe(table.span // SECOND) if table.span else None
    steps = np.diff(np.sort(table.wall))
    holes = np.flatnonzero(steps > table.span) if table.span else np.empty(0, dtype=np.int64)
    longest = int(holes[np.argmax(steps[holes])]) if len(holes) else -1
    return Extent(
        symbol=table.symbol,
        rows=len(table),
        timeframe=frame,
        start=int(table.start.min()),
        end=int(table.start.max()) + table.span,
        gaps=len(holes),
        longest_gap=int(steps[longest]) - table.span if longest >= 0 else 0,
        longest_gap_at=int(np.sort(table.start)[longest]) if longest >= 0 else 0,
    )


def _oddities(table: Table) -> list[Defect]:
    found: list[Defect] = []
    flat = (table.high == table.low) & (table.open == table.close) & (table.open == table.high)
    same = flat[1:] & flat[:-1] & (table.close[1:] == table.close[:-1])
    for begin, end in runs(same):
        if end - begin + 1 >= _FLAT_RUN:
            text = f"{end - begin + 1} rows up to row {int(table.row[end])} do not move from {float(table.close[begin])!r}"
            found.append(Defect(int(table.row[begin]), "flat_run", text, "check whether the market was open"))
    if table.volume is not None and bool((table.volume > 0).any()):
        for begin, end in runs(flat & (table.volume == 0)):
            count = end - begin
            text = f"{count} row{'' if count == 1 else 's'} up to row {int(table.row[end - 1])} without movement or volume"
            found.append(Defect(int(table.row[begin]), "ghost_rows", text, "remove rows in which nothing was traded"))
    found.extend(_jumps(table))
    return found


def _jumps(table: Table) -> list[Defect]:
    with np.errstate(all="ignore"):
        moves = np.abs(table.close[1:] / table.close[:-1] - 1)
    usual = moves[np.isfinite(moves)]
    if len(usual) == 0:
        return []
    limit = max(_JUMP, _USUAL * float(np.median(usual)))
    return [
        Defect(
            int(table.row[index + 1]),
            "jump",
            f"close goes from {float(table.close[index])!r} to {float(table.close[index + 1])!r}",
            "check for a split that was not adjusted for, or a wrong price",
        )
        for index in np.flatnonzero(np.isfinite(moves) & (moves > limit)).tolist()
    ]


def as_json(inspection: Inspection) -> dict[str, object]:
    """Return an inspection as plain values."""
    return {
        "file": str(inspection.path),
        "format": inspection.format,
        "symbols": [
            {
                "symbol": each.symbol,
                "rows": each.rows,
                "timeframe": None if each.timeframe is None else str(each.timeframe),
                "start": format_time(each.start),
                "end": format_time(each.end),
                "gaps": each.gaps,
                "longest_gap_seconds": each.longest_gap / SECOND,
                "longest_gap_at": format_time(each.longest_gap_at) if each.gaps else None,
            }
            for each in inspection.extents
        ],
        "counts": inspection.counts(),
        "defects": [_plain(each) for each in inspection.defects],
        "warnings": [_plain(each) for each in inspection.warnings],
    }


def _plain(defect: Defect) -> dict[str, object]:
    return {"row": defect.row, "code": defect.code, "text": defect.text, "remedy": defect.remedy}
