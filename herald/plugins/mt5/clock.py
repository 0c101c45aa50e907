"""The clock of a broker's server, which stamps everything and which the package never tells.

Every time that MetaTrader 5 hands out is the server's wall clock, written as if it were UTC. Most servers run seven hours ahead
of New York, so that a trading day ends at their midnight; they change with New York's daylight saving. Others follow the
European dates, or never change. The difference to UTC is measured on fresh ticks; the rules behind it are those of a zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from herald.clock import HOUR, MINUTE, SECOND
from herald.model import IntArray

__all__ = ["CANDIDATES", "MOST_AHEAD", "ServerClock", "ServerZone", "measure_offset", "parse_zone", "recognise"]

MOST_AHEAD = 14 * HOUR
"""No clock of the world is further from UTC than this, nanoseconds."""
_QUARTER = 15 * MINUTE
_FRESH = 90 * SECOND
"""A tick that is further from a quarter of an hour than this was not new when it was asked for."""


class ServerZone:
    """Rules of daylight saving, and hours on top of them.

    Attributes:
        name: As the setting ``server_zone`` writes it.
    """

    def __init__(self, name: str, zone: ZoneInfo | None, ahead: int = 0) -> None:
        """Follow *zone* (no rules for None), *ahead* nanoseconds on top."""
        self.name = name
        self._zone = zone
        self._ahead = ahead

    @property
    def text(self) -> str:
        """Return the zone as `herald.model.instrument.server_zone` reads it."""
        name = "UTC" if self._zone is None else str(self._zone)
        minutes = abs(self._ahead) // MINUTE
        ahead = f"{'-' if self._ahead < 0 else '+'}{minutes // 60}" + (f":{minutes % 60:02}" if minutes % 60 else "")
        return name + ahead if minutes else name

    def offset(self, moment: int) -> int:
        """Return how far the server's clock is ahead of UTC at *moment* (nanoseconds UTC), nanoseconds."""
        if self._zone is None:
            return self._ahead
        shown = datetime.fromtimestamp(moment // SECOND, UTC).astimezone(self._zone).utcoffset() or timedelta()
        return round(shown.total_seconds()) * SECOND + self._ahead


def parse_zone(text: str) -> ServerZone:
    """Return the zone that *text* names: ``ny+7``, an IANA zone, or a fixed difference such as ``+02:00``.

    Raises:
        ValueError: It names none.
    """
    low = text.strip().lower()
    match = re.fullmatch(r"ny\s*([+-]\d{1,2})", low)
    if match:
        return ServerZone(f"ny{int(match[1]):+d}", ZoneInfo("America/New_York"), int(match[1]) * HOUR)
    match = re.fullmatch(r"(?:utc)?([+-])(\d{1,2})(?::?(\d\d))?", low)
    if match:
        ahead = (int(match[2]) * HOUR + int(match[3] or 0) * MINUTE) * (1 if match[1] == "+" else -1)
        if abs(ahead) <= MOST_AHEAD:
            return ServerZone(f"{match[1]}{int(match[2]):02}:{match[3] or '00'}", None, ahead)
    try:
        return ServerZone(text, ZoneInfo(text.strip()))
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f'{text!r} is no zone; write "auto", "ny+7", an IANA zone such as Europe/Athens, or "+02:00"') from error


CANDIDATES = (
    parse_zone("ny+7"),
    parse_zone("Europe/Athens"),
    parse_zone("Europe/London"),
    parse_zone("UTC"),
)
"""Rules that servers are known to follow, the most common first (brokers' notices)."""


def measure_offset(stamps: Iterable[int], now: int) -> int | None:
    """Return how far the server's clock is ahead of UTC, nanoseconds; None where no tick is fresh or they disagree.

    Args:
        stamps: Of the last ticks of several symbols, on the server's clock, nanoseconds as if UTC.
        now: The time, nanoseconds UTC.
    """
    found = set()
    for stamp in stamps:
        ahead = stamp - now
        rounded = round(ahead / _QUARTER) * _QUARTER
        # A fresh tick is a little old, never young: the rest is the age of the tick and the difference of the two clocks.
        if -_FRESH <= ahead - rounded <= 5 * SECOND and abs(rounded) <= MOST_AHEAD:
            found.add(rounded)
    return found.pop() if len(found) == 1 else None


def recognise(offset: int, now: int) -> ServerZone:
    """Return the rules that a server with this difference to UTC most likely follows; a fixed one where none fit.

    Args:
        offset: As measured, nanoseconds.
        now: When it was measured, nanoseconds UTC.
    """
    for zone in CANDIDATES:
        if zone.offset(now) == offset:
            return zone
    sign = "+" if offset >= 0 else "-"
    hours, minutes = divmod(abs(offset) // MINUTE, 60)
    return parse_zone(f"{sign}{hours:02}:{minutes:02}")


class ServerClock:
    """Turns the server's times into UTC and back.

    Attributes:
        zone: Rules in use; None until they are known.
        is_sure: Whether a measurement agrees with them.
        trouble: Why they are not trusted; empty where they are.
    """

    def __init__(self, setting: str) -> None:
        """Follow what ``server_zone`` says; ``auto`` waits for a measurement."""
        self.zone = None if setting == "auto" else parse_zone(setting)
        self.is_sure = False
        self.trouble = "the server's clock was not compared yet"
        self._setting = setting

    def learn(self, stamps: Iterable[int], now: int) -> None:
        """Compare the rules with the last ticks of several symbols; see `measure_offset`."""
        offset = measure_offset(stamps, now)
        if offset is None:
            if self.zone is None:
                what = "no symbol has a fresh tick, so the server's clock cannot be determined"
                self.trouble = f'{what}; wait for the market to open, or write server_zone = "ny+7"'
            elif not self.is_sure:
                self.trouble = ""  # the file says it; the first fresh tick compares
            return
        if self.zone is None or (self._setting == "auto" and self.zone.offset(now) != offset and not self.is_sure):
            self.zone = recognise(offset, now)
        expected = self.zone.offset(now)
        if expected == offset:
            self.is_sure, self.trouble = True, ""
            return
        self.is_sure = False
        shown, said = offset / HOUR, expected / HOUR
        what = f"the server's clock is {shown:+g} h from UTC, and {self.zone.name} makes it {said:+g} h"
        self.trouble = f"{what}; correct server_zone"

    def to_utc(self, shown: int) -> int:
        """Return the moment, nanoseconds UTC, at which the server's clock shows *shown*, nanoseconds as if UTC."""
        zone = self._zone()
        first = shown - zone.offset(shown)
        return shown - zone.offset(shown - zone.offset(first))

    def to_utc_many(self, shown: IntArray) -> IntArray:
        """Return the same for times in order, shape (n,)."""
        if not len(shown):
            return shown
        utc = shown.copy()
        # Between two looks a day apart the difference changes once at most; where it does not, one number serves.
        day = 24 * HOUR
        edges = np.searchsorted(shown, np.arange(int(shown[0]), int(shown[-1]) + day, day))
        for begin, end in zip(edges, np.append(edges[1:], len(shown)), strict=True):
            if begin == end:
                continue
            low, high = int(shown[begin]), int(shown[end - 1])
            if low - self.to_utc(low) == high - self.to_utc(high):
                utc[begin:end] -= low - self.to_utc(low)
            else:
                utc[begin:end] = [self.to_utc(int(one)) for one in shown[begin:end]]
        return utc

    def to_server(self, moment: int) -> int:
        """Return what the server's clock shows at *moment* (nanoseconds UTC), nanoseconds as if UTC."""
        return moment + self._zone().offset(moment)

    def shown_at_least(self, moment: int) -> int:
        """Return what the server's clock shows at *moment*, or less where its zone is not certain; nanoseconds as if UTC."""
        return self.to_server(moment) if self.is_sure else moment - MOST_AHEAD

    def _zone(self) -> ServerZone:
        if self.zone is None:
            raise ValueError(self.trouble)
        return self.zone
