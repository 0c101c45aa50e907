"""Close a position because of the time: held long enough, the day is over, the week is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from herald.clock import SECOND, day_start, next_day_start
from herald.components import Services, Settings
from herald.contracts import Close, Context, Protect
from herald.errors import DataError
from herald.model import Bar, Position, Quote, Timeframe
from herald.plugins.exits.memory import Memory

__all__ = ["TimeBased", "TimeBasedSettings"]

_FRIDAY = 4  # datetime.weekday()
_SATURDAY = 5


class TimeBasedSettings(Settings):
    """Settings of `TimeBased`; state at least one of *max_bars*, *max_hold*, *end_of_day* and *friday_close*."""

    max_bars: int | None = Field(None, ge=1)
    """Bars of the strategy's first time frame that end while the position is open."""
    max_hold: str | None = None
    """Longest time, a count and a unit: ``90m``, ``12h``, ``2d``, ``1w``."""
    end_of_day: int | None = Field(None, ge=0, le=23)
    """Hour on the clocks of *zone* at which what was opened before is closed."""
    friday_close: int | None = Field(None, ge=0, le=23)
    """Hour of Friday on the clocks of *zone* from which on, until Saturday is over, nothing is held."""
    zone: str = "UTC"
    """IANA name of the zone, such as ``America/New_York``."""

    @field_validator("zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {name!r}; write an IANA name, such as UTC or America/New_York") from error
        return name

    @field_validator("max_hold")
    @classmethod
    def _is_duration(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                Timeframe.parse(text)
            except ValueError as error:
                raise ValueError(f"unknown duration {text!r}; write a count and a unit, such as 90m, 12h, 2d or 1w") from error
        return text

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if all(value is None for value in (self.max_bars, self.max_hold, self.end_of_day, self.friday_close)):
            raise ValueError("no time is given; set max_bars, max_hold, end_of_day or friday_close")
        return self


class _Term:
    """When one position is due; None until it was worked out."""

    __slots__ = ("at", "span")

    def __init__(self) -> None:
        self.at: int | None = None
        self.span = 0


class TimeBased:
    """Closes a position at the end of the first bar at or after its time; it fills on the bar after.

    So an hour at which the market shuts is too late: with hourly bars, state the hour before.
    """

    def __init__(self, settings: TimeBasedSettings, services: Services) -> None:
        """Keep the limits."""
        self._settings = settings
        self._zone = ZoneInfo(settings.zone)
        self._hold = None if settings.max_hold is None else Timeframe.parse(settings.max_hold).span
        self._terms: Memory[_Term] = Memory(_Term)

    def check(self, position: Position, event: Bar | Quote, ctx: Context) -> Close | Protect | None:
        """Return a close where the position's time is up."""
        if not isinstance(event, Bar):
            return None
        term = self._terms.of(position)
        if term.at is None:
            term.at = self._deadline(position.opened)
        if event.time >= term.at or self._has_seen_enough(position, event, ctx, term):
            return Close("time_based")
        return None

    def _deadline(self, opened: int) -> int:
        """Return when a position that was opened then is due at the latest, nanoseconds UTC."""
        settings = self._settings
        times = [2**63 - 1]
        if self._hold is not None:
            times.append(opened + self._hold)
        if settings.end_of_day is not None:
            times.append(next_day_start(opened, settings.end_of_day, self._zone))
        if settings.friday_close is not None:
            times.append(self._week_end(opened, settings.friday_close))
        return min(times)

    def _week_end(self, opened: int, hour: int) -> int:
        """Return the first Friday's *hour* after *opened*, or *opened* itself where that lies in a closing window."""
        if self._weekday(opened) in (_FRIDAY, _SATURDAY) and self._weekday(day_start(opened, hour, self._zone)) >= _FRIDAY:
            return opened
        at = next_day_start(opened, hour, self._zone)
        while self._weekday(at) != _FRIDAY:
            at = next_day_start(at, hour, self._zone)
        return at

    def _weekday(self, at: int) -> int:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=at // SECOND)
        return moment.astimezone(self._zone).weekday()

    def _has_seen_enough(self, position: Position, bar: Bar, ctx: Context, term: _Term) -> bool:
        """Return whether *max_bars* bars of the first time frame have ended since the entry."""
        count = self._settings.max_bars
        if count is None:
            return False
        symbol = position.symbol
        try:
            if not term.span:
                term.span = ctx.bars(symbol, 1).span
            # That many bars take at least that long: most bars need no look at the history.
            if bar.time - position.opened <= (count - 1) * term.span:
                return False
            return int(ctx.bars(symbol, count).time[0]) > position.opened
        except DataError:
            return False  # fewer bars than that are known at all
