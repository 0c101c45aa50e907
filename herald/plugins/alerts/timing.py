"""When a text goes out: the same again is counted, and quiet hours hold back what can wait."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from zoneinfo import ZoneInfo

import msgspec

from herald.clock import SECOND
from herald.plugins.alerts.settings import QuietSettings

__all__ = ["QuietHours", "Repeats", "Window"]


class QuietHours:
    """Hours of each day, on the clocks of a zone."""

    def __init__(self, settings: QuietSettings) -> None:
        """Keep them."""
        self._begin = time_of_day.fromisoformat(settings.begin)
        self._end = time_of_day.fromisoformat(settings.end)
        self._zone = ZoneInfo(settings.zone)

    def until(self, now: int) -> int:
        """Return when the quiet hours around *now* end, nanoseconds UTC; *now* itself where there are none."""
        there = datetime.fromtimestamp(now // SECOND, UTC).astimezone(self._zone)
        clock, begin, end = there.time(), self._begin, self._end
        is_quiet = begin <= clock < end if begin < end else clock >= begin or clock < end
        if not is_quiet:
            return now
        day = there.date() + timedelta(days=1 if clock >= end else 0)
        over = datetime.combine(day, end, self._zone)
        return round(over.timestamp()) * SECOND


class Window(msgspec.Struct):
    """A while in which the same again is counted instead of told.

    Attributes:
        until: Its end, nanoseconds UTC.
        text: What was last found.
        count: How often since it was told.
        entry: What was told, for whoever tells the count.
    """

    until: int
    text: str
    entry: dict[str, str]
    count: int = 0


class Repeats:
    """Counts what is found again within a while after it was told.

    Attributes:
        windows: The whiles that are not over, by what they are about.
    """

    def __init__(self, seconds: float) -> None:
        """Count for *seconds*."""
        self.windows: dict[str, Window] = {}
        self._length = round(seconds * SECOND)

    def is_new(self, key: str, text: str, entry: dict[str, str], now: int) -> bool:
        """Return whether *key* is to be told now; it is counted otherwise."""
        window = self.windows.get(key)
        if window is None:
            self.windows[key] = Window(now + self._length, text, entry)
            return True
        window.count += 1
        window.text = text
        return False

    def over(self, now: int) -> Iterator[tuple[Window, int]]:
        """Yield every while that is over and in which something was counted, with its count; it begins anew."""
        for key, window in list(self.windows.items()):
            # A clock that was set back must not silence anything for longer than it would.
            if not window.until - self._length <= now < window.until:
                if not window.count:
                    del self.windows[key]
                    continue
                count, window.count, window.until = window.count, 0, now + self._length
                yield window, count

    def extend(self, window: Window, count: int, until: int) -> None:
        """Go on counting until *until*, as if *window* were not over."""
        window.count, window.until = count, until
