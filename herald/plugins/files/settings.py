"""What a config may say about files of prices."""

from __future__ import annotations

import zoneinfo
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from herald.components import Settings
from herald.model import Timeframe

__all__ = ["FilesSettings", "FormatSettings", "TextSettings", "ZoneStep"]


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}; write an IANA name such as UTC or Europe/Athens") from error
    return name


def _timeframe(text: str) -> str:
    return str(Timeframe.parse(text))


ZoneName = Annotated[str, AfterValidator(_zone)]
TimeframeText = Annotated[str, AfterValidator(_timeframe)]


class ZoneStep(Settings):
    """One stretch of a file's clock."""

    zone: ZoneName
    """IANA name, such as ``Europe/Berlin``."""
    until: datetime | date | None = None
    """Wall-clock time of the file at which the next step begins; none for the last step."""


class TextSettings(Settings):
    """How a text file writes its columns; empty means: find out, and refuse what is ambiguous."""

    columns: dict[str, str | int] = Field(default_factory=dict)
    """Where a field is: its name in the header, or its position (1 is the first) in a file without one."""
    separator: Annotated[str, Field(max_length=1)] = ""
    """Character between columns."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of numbers."""
    date_format: str = ""
    """How dates are written, as for ``strptime``: ``%d/%m/%Y`` or ``%d/%m/%Y %H:%M``."""

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        known = ("time", "date", "symbol", "open", "high", "low", "close", "volume", "spread")
        for field, place in self.columns.items():
            if field not in known:
                raise ValueError(f"columns has no field {field!r}; there are: {', '.join(known)}")
            if isinstance(place, int) and place < 1:
                raise ValueError(f"columns.{field} is a position and counts from 1, not {place}")
        return self


class FormatSettings(Settings):
    """A format that has nothing to set."""


class FilesSettings(TextSettings):
    """Bars from files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = ""
    """A file, a folder, or a pattern with ``{symbol}`` and perhaps ``{timeframe}`` or ``*``."""
    paths: dict[str, str] = Field(default_factory=dict)
    """A file, folder or pattern for each symbol."""
    symbol: str = ""
    """The symbol of a file that does not state it."""
    timeframe: TimeframeText | None = None
    """Length of the files' bars; none to take the most common spacing."""
    zone: ZoneName | tuple[ZoneStep, ...] = "UTC"
    """Zone of the files' clock, or a list of steps where that clock was moved."""
    label: Literal["start", "end"] = "start"
    """Which end of a bar its time states."""
    defects: Literal["refuse", "drop"] = "refuse"
    """What to do about bad rows: refuse the file, or leave them out and say how many."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.path) == bool(self.paths):
            raise ValueError("say where the files are: either path or paths")
        if self.paths and self.symbol:
            raise ValueError("symbol goes with path; paths names the symbols already")
        if isinstance(self.zone, tuple):
            ends = [step.until for step in self.zone]
            if not ends or ends[-1] is not None or None in ends[:-1]:
                raise ValueError("every step of zone but the last needs until, and the last has none")
            moments = [wall_time(end) for end in ends if end is not None]
            if moments != sorted(set(moments)):
                raise ValueError("the steps of zone must be in order of time")
        return self


def wall_time(moment: datetime | date) -> datetime:
    """Return a date or date-time of the file's clock as a date-time without a zone."""
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=None)
    return datetime(moment.year, moment.month, moment.day)
