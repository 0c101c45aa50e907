"""What can be traded, in which steps, when, and what one lot of it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

__all__ = ["Instrument", "SwapMode", "TradeMode", "server_zone", "week_windows"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES
_NAME = "|".join(_DAYS)
_AHEAD = re.compile(r"(.+)([+-])(\d\d?)(?::([0-5]\d))?")
_MOST_AHEAD_SECONDS = 14 * 3_600
"""No clock of the world is further from UTC."""
_WINDOW = re.compile(rf"(?:({_NAME})(?:-({_NAME}))? )?(\d\d):(\d\d)-(?:({_NAME}) )?(\d\d):(\d\d)")


class TradeMode(StrEnum):
    """Which requests a broker takes in a symbol."""

    FULL = "full"
    """All."""
    LONG_ONLY = "long_only"
    """Long positions, and what closes positions."""
    SHORT_ONLY = "short_only"
    """Short positions, and what closes positions."""
    CLOSE_ONLY = "close_only"
    """What closes positions."""
    DISABLED = "disabled"
    """None."""


class SwapMode(StrEnum):
    """The unit of `Instrument.swap_long` and `Instrument.swap_short`, for one lot and night.

    Source:
        MetaTrader 5 Help, "Contract Specification"; the names of MQL5's ``ENUM_SYMBOL_SWAP_MODE``.
    """

    NONE = "none"
    """There is no swap."""
    POINTS = "points"
    """Price steps."""
    BASE = "base"
    """Base currency."""
    MARGIN = "margin"
    """Currency of the margin."""
    ACCOUNT = "account"
    """Account currency."""
    INTEREST_CURRENT = "interest_current"
    """Percent a year of the price at the time of the swap."""
    INTEREST_OPEN = "interest_open"
    """Percent a year of the entry price."""
    REOPEN_CLOSE = "reopen_close"
    """Positions are closed and opened again at the close, moved by so many price steps."""
    REOPEN_BID = "reopen_bid"
    """The same at the bid."""


def server_zone(text: str) -> tuple[ZoneInfo, int]:
    """Return the zone whose clocks a server follows, and how far it is ahead of them, seconds.

    Args:
        text: An IANA name, with hours on top where the server is ahead: ``Europe/Athens``, ``America/New_York+7``, ``UTC+5:30``.

    Raises:
        ValueError: It names no zone.
    """
    zone = _zone(text)
    if zone is not None:
        return zone, 0
    match = _AHEAD.fullmatch(text)
    zone = None if match is None else _zone(match[1])
    seconds = 0 if match is None else int(match[3]) * 3_600 + int(match[4] or 0) * 60
    if match is None or zone is None or seconds > _MOST_AHEAD_SECONDS:
        raise ValueError(f"{text!r} is no server's zone; write an IANA name, with hours on top if need be: America/New_York+7")
    return zone, -seconds if match[2] == "-" else seconds


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def week_windows(texts: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Return when, in a week, the windows that *texts* state are open.

    Args:
        texts: Each ``Mon 00:05-Fri 22:00`` (one window), ``Mon-Fri 09:30-16:00`` (one a day), ``Wed 14:00-14:30``, or
            ``22:55-23:10`` (every day). An end at or before its beginning lies on the next day or in the next week.

    Returns:
        (start, end) in minutes since Monday 00:00 on the clocks of whoever wrote them, the end not included; in order,
        without overlaps, none beyond the week.

    Raises:
        ValueError: A text is no such window.
    """
    parts: list[tuple[int, int]] = []
    for text in texts:
        for start, length in _stretches(text):
            end = start + length
            parts.append((start, min(end, _WEEK_MINUTES)))
            if end > _WEEK_MINUTES:
                parts.append((0, end - _WEEK_MINUTES))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(parts):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return tuple(merged)


def _stretches(text: str) -> list[tuple[int, int]]:
    """Return (start, length) in minutes of each window that one text states."""
    match = _WINDOW.fullmatch(text) if isinstance(text, str) else None
    if match is None or (match[2] and match[5]):
        raise ValueError(f"{text!r} is no weekly window; write 'Mon 00:05-Fri 22:00', 'Mon-Fri 09:30-16:00' or '22:55-23:10'")
    opened, closed = _minute(text, match[3], match[4]), _minute(text, match[6], match[7])
    if match[1] is None and match[5] is not None:
        raise ValueError(f"{text!r} names the day of its end only; write 'Mon 22:00-{match[5]} {match[6]}:{match[7]}'")
    if match[5] is not None:
        first = _DAYS.index(match[1]) * _DAY_MINUTES + opened
        length = (_DAYS.index(match[5]) * _DAY_MINUTES + closed - first) % _WEEK_MINUTES
        return [(first, length or _WEEK_MINUTES)]
    if opened == closed:
        raise ValueError(f"{text!r} is over when it begins; write 00:00-24:00 for a whole day")
    length = closed - opened if closed > opened else closed - opened + _DAY_MINUTES
    days = range(7)
    if match[1] is not None:
        first = _DAYS.index(match[1])
        last = first if match[2] is None else _DAYS.index(match[2])
        days = range(first, last + 1 if last >= first else last + 8)
    return [(day % 7 * _DAY_MINUTES + opened, length) for day in days]


def _minute(text: str, hour: str, minute: str) -> int:
    """Return the minute of the day; 24:00 is the end of it."""
    value = int(hour) * 60 + int(minute)
    if int(minute) > 59 or value > _DAY_MINUTES:
        raise ValueError(f"{hour}:{minute} in {text!r} is no time of day; write 00:00 to 24:00")
    return value


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """The terms of one symbol.

    Attributes:
        symbol: The broker's name for it.
        base: What is bought, such as ``GBP``; empty where it has no currency.
        quote: The currency in which the price is stated, such as ``USD``.
        price_step: Smallest change of the price ("point"), quote currency per unit, > 0.
        size_step: Smallest change of the size, lots, > 0.
        min_size: Smallest order, lots.
        max_size: Largest order, lots.
        contract_size: Units in one lot, > 0.
        margin: Fixed initial margin of one lot, quote currency; 0 where the account's leverage decides.
        stops_level: Least distance of pending and protective prices from the market, price steps; 0 for none.
        freeze_level: An order whose price is this near to the market cannot be changed, price steps; 0 for none.
        swap_long: Interest on one long lot a night in the unit of *swap_mode*; negative where it costs.
        swap_short: The same for a short lot.
        swap_mode: The unit of both.
        triple_swap_day: Night that counts three times, ``Mon`` to ``Sun``.
        swap_zone: Clocks at whose midnight a night ends, as `server_zone` reads it.
        commission: Of the broker, for one lot and side, account currency, >= 0.
        sessions: When it can be traded, in a week, as `week_windows` reads it; empty for always.
        session_zone: IANA name of the zone whose clocks *sessions* follow.
        trade_mode: Which requests the broker takes at all.
    """

    symbol: str
    base: str = ""
    quote: str
    price_step: float
    size_step: float
    min_size: float
    max_size: float = math.inf
    contract_size: float = 1.0
    margin: float = 0.0
    stops_level: float = 0.0
    freeze_level: float = 0.0
    swap_long: float = 0.0
    swap_short: float = 0.0
    swap_mode: SwapMode = SwapMode.NONE
    triple_swap_day: str = "Wed"
    swap_zone: str = "UTC"
    commission: float = 0.0
    sessions: tuple[str, ...] = ()
    session_zone: str = "UTC"
    trade_mode: TradeMode = TradeMode.FULL

    def __post_init__(self) -> None:
        for name in ("price_step", "size_step", "contract_size"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} of {self.symbol!r} must be positive and finite, not {value!r}")
        if not 0 <= self.min_size <= self.max_size:
            raise ValueError(f"min_size of {self.symbol!r} must lie in 0..max_size, not {self.min_size!r}")
        for name in ("stops_level", "freeze_level", "commission"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} of {self.symbol!r} must be at least 0 and finite, not {value!r}")
        for name in ("swap_long", "swap_short"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"{name} of {self.symbol!r} must be finite, not {value!r}")
        if self.triple_swap_day not in _DAYS:
            raise ValueError(
                f"triple_swap_day of {self.symbol!r} must be one of {', '.join(_DAYS)}, not {self.triple_swap_day!r}"
            )
        if self.swap_zone != "UTC":
            try:
                server_zone(self.swap_zone)
            except ValueError as error:
                raise ValueError(f"swap_zone of {self.symbol!r}: {error}") from None
        self._settle("swap_mode", SwapMode)
        self._settle("trade_mode", TradeMode)
        if self.sessions or self.session_zone != "UTC":
            self._check_sessions()

    def _settle(self, name: str, kind: type[StrEnum]) -> None:
        """Turn a word, as a file holds it, into the member that it names."""
        value = getattr(self, name)
        if type(value) is not kind:
            try:
                msgspec.structs.force_setattr(self, name, kind(value))
            except ValueError:
                raise ValueError(f"{name} of {self.symbol!r} must be one of {', '.join(kind)}, not {value!r}") from None

    def _check_sessions(self) -> None:
        stated: object = self.sessions
        if isinstance(stated, str):
            raise ValueError(f"sessions of {self.symbol!r} must be a list of windows, not {stated!r}")
        if type(stated) is not tuple:  # a list, as a file holds it
            msgspec.structs.force_setattr(self, "sessions", tuple(self.sessions))
        try:
            week_windows(self.sessions)
        except ValueError as error:
            raise ValueError(f"sessions of {self.symbol!r}: {error}") from None
        try:
            ZoneInfo(self.session_zone)
        except (KeyError, ValueError, OSError):
            what = f"session_zone of {self.symbol!r} must be an IANA name, such as America/New_York, not {self.session_zone!r}"
            raise ValueError(what) from None

    def round_price(self, price: float) -> float:
        """Return *price* at the nearest step, free of binary dust (1.23456, never 1.2345600000000001)."""
        return round(round(price / self.price_step) * self.price_step, 10)

    def round_size(self, size: float) -> float:
        """Return *size* rounded toward zero to a whole number of steps; it may be 0.

        A size within a billionth of the next step counts as that step, so that ``0.3`` stays ``0.3``
        although ``0.3 / 0.1`` is a little under 3.
        """
        steps = size / self.size_step
        count = int(steps + math.copysign(1e-9 * (1 + abs(steps)), steps))
        parts = self.steps_per_lot
        return count / parts if parts else round(count * self.size_step, 10)

    @property
    def steps_per_lot(self) -> int:
        """Return how many steps make one lot; 0 where that is no whole number.

        Dividing a count by it gives the nearest double to the decimal size, without binary dust.
        """
        inverse = 1 / self.size_step
        whole = round(inverse)
        return whole if whole and abs(inverse - whole) <= 1e-9 * whole else 0
