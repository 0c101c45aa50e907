"""Written dates and times to nanoseconds; the order of day and month is proven by the file or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import numpy as np

from herald.clock import DAY, HOUR, MINUTE, SECOND
from herald.model import IntArray
from herald.plugins.files.refusal import refuse

__all__ = ["BAD", "Stamps", "read_stamps"]

BAD = -(2**62)
"""Stands for a time that cannot be read."""

_ORDINAL = date(1970, 1, 1).toordinal()
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_YEAR_FIRST = re.compile(r"(\d{4})([-./]?)(\d{1,2})\2(\d{1,2})")
_YEAR_LAST = re.compile(r"(\d{1,2})([-./])(\d{1,2})\2(\d{4}|\d{2})")
_NAMED = re.compile(r"(\d{1,2})[- ./]?([A-Za-z]{3})[A-Za-z]*[- ./,]*(\d{4}|\d{2})")
_TIME = re.compile(
    r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*([AaPp][Mm])?\s*(Z|UTC|GMT)?\s*([+-]\d{2}:?\d{2})?|(\d{2})(\d{2})(?:(\d{2})(\d{3})?)?"
)
_LONGEST_NUMBER = 64
"""Characters of a count from 1970; what is longer is none."""
# Each unit covers the years 1973 to 5138 and none of another's.
_EPOCHS = ((10**8, SECOND), (10**11, 1_000_000), (10**14, 1_000), (10**17, 1))


class Stamps(NamedTuple):
    """Times of a column, nanoseconds; `BAD` where unreadable.

    Attributes:
        time: Shape (n,); of the file's clock, or UTC where *zoned*.
        zoned: The times state their distance from UTC.
    """

    time: IntArray
    zoned: bool


class _Memo(dict[str, int]):
    # A file repeats its dates and its times of day, so each is read once.
    def __init__(self, read: Callable[[str], int]) -> None:
        self._read = read

    def __missing__(self, text: str) -> int:
        value = self[text] = self._read(text)
        return value


def read_stamps(dates: Sequence[str], times: Sequence[str] | None, date_format: str, first_row: int) -> Stamps:
    """Return the times that a file's columns state.

    Args:
        dates: Cells with the date and perhaps the time of day, or numbers that count from 1970; n >= 1.
        times: Cells with the time of day, or None.
        date_format: As for ``strptime``; empty to find out.
        first_row: Line of the first cell, for messages.

    Raises:
        DataError: Days and months cannot be told apart.
    """
    sample = next((text for text in dates if re.match(r"\s*\d", text)), dates[0]).strip()
    counts = len(sample) <= _LONGEST_NUMBER and re.fullmatch(r"-?\d+(\.\d+)?", sample)
    if times is None and not date_format and counts and not _is_compact(sample):
        return Stamps(_from_epoch(dates, sample), zoned=False)
    if date_format:
        return _by_format(dates, times, date_format)
    if times is None:
        dates, times = _split(dates, sample)
    days = _Memo(_day_reader(dates, first_row))
    day = np.array([days[text] for text in dates], dtype=np.int64)
    if times is None:
        return Stamps(np.where(day == BAD, BAD, day * DAY), zoned=False)
    return _with_clock(day, times)


def _with_clock(day: IntArray, times: Sequence[str]) -> Stamps:
    offsets: dict[str, bool] = {}
    clock = _Memo(lambda text: _read_clock(text, offsets))
    rest = np.array([clock[text] for text in times], dtype=np.int64)
    bad = (day == BAD) | (rest == BAD)
    zoned = any(offsets.values())
    if zoned and not all(offsets.values()):  # a time without a zone among times with one cannot be placed
        bad |= np.array([not offsets.get(text, False) for text in times])
    return Stamps(np.where(bad, BAD, day * DAY + rest), zoned)


def _is_compact(text: str) -> bool:
    # 8, 12, 14 or 17 digits that begin with a plausible year, month and day are a date written without marks.
    if len(text) not in (8, 12, 14, 17) or not text.isdecimal():
        return False
    return 1900 <= int(text[:4]) <= 2100 and 1 <= int(text[4:6]) <= 12 and 1 <= int(text[6:8]) <= 31


def _split(dates: Sequence[str], sample: str) -> tuple[Sequence[str], Sequence[str] | None]:
    if _is_compact(sample) and len(sample) > 8:
        return [text.strip()[:8] for text in dates], [text.strip()[8:] for text in dates]
    mark = "T" if re.match(r"\d[\d./-]*T\d", sample) else " "
    if mark not in sample or not (":" in sample or re.match(r"\d{8} \d{4}", sample)):
        return dates, None
    parts = [text.strip().partition(mark) for text in dates]
    return [part[0] for part in parts], [part[2] for part in parts]


def _from_epoch(cells: Sequence[str], sample: str) -> IntArray:
    # One unit for the whole column, told by the size of the first number; MetaTrader counts wall-clock time, so no zone.
    low, unit = next((each for each in reversed(_EPOCHS) if int(float(sample)) >= each[0]), (0, 0))

    def read(text: str) -> int:
        whole, _, fraction = text.strip().partition(".")
        if not unit or not whole.isdecimal() or (fraction and not fraction.isdecimal()) or len(text) > _LONGEST_NUMBER:
            return BAD
        if not low <= int(whole) < low * 1_000:
            return BAD
        at = int(whole) * unit + (int(int(fraction) * unit / 10 ** len(fraction)) if fraction else 0)
        return at if at < 2**63 else BAD

    return np.array([read(cell) for cell in cells], dtype=np.int64)


def _day_reader(dates: Sequence[str], first_row: int) -> Callable[[str], int]:
    numeric = [match for match in map(_YEAR_LAST.fullmatch, {text.strip() for text in dates}) if match]
    day_first = any(int(match[1]) > 12 for match in numeric)
    month_first = any(int(match[3]) > 12 for match in numeric)
    if numeric and day_first == month_first:
        sample = next(text.strip() for text in dates if _YEAR_LAST.fullmatch(text.strip()))
        both = "both orders of day and month occur" if day_first else f"{sample!r} may be day/month or month/day"
        raise refuse(first_row, "ambiguous_date", both, 'say which with date_format = "%d/%m/%Y" or "%m/%d/%Y"')

    def read(text: str) -> int:
        text = text.strip()
        if match := _YEAR_FIRST.fullmatch(text):
            return _day(int(match[1]), int(match[3]), int(match[4]))
        if match := _YEAR_LAST.fullmatch(text):
            day, month = (match[1], match[3]) if day_first else (match[3], match[1])
            return _day(_full_year(match[4]), int(month), int(day))
        if match := _NAMED.fullmatch(text):
            return _day(_full_year(match[3]), _MONTHS.get(match[2].lower(), 0), int(match[1]))
        return BAD

    return read


def _full_year(text: str) -> int:
    year = int(text)
    return year if len(text) == 4 else year + (2000 if year < 69 else 1900)  # POSIX: 69-99 are 1969-1999


def _day(year: int, month: int, day: int) -> int:
    try:
        return date(year, month, day).toordinal() - _ORDINAL
    except ValueError:
        return BAD


def _read_clock(text: str, offsets: dict[str, bool]) -> int:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return BAD
    if match[8] is not None:
        hour, minute, second, nanos = int(match[8]), int(match[9]), int(match[10] or 0), int(match[11] or 0) * 1_000_000
    else:
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        nanos = int((match[4] or "0").ljust(9, "0"))
    if match[5]:
        if not 1 <= hour <= 12:
            return BAD
        hour = hour % 12 + (12 if match[5].lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return BAD
    shift = 0
    if match[7]:
        digits = match[7].replace(":", "")
        shift = int(digits[0] + "1") * (int(digits[1:3]) * HOUR + int(digits[3:]) * MINUTE)
    offsets[text] = bool(match[6] or match[7])
    return hour * HOUR + minute * MINUTE + second * SECOND + nanos - shift


def _by_format(dates: Sequence[str], times: Sequence[str] | None, date_format: str) -> Stamps:
    # A format of day and time is split at its first blank, so that dates and times of day are each read once.
    day_format, _, clock_format = date_format.strip().partition(" ")
    if times is None and (clock_format or (" " in dates[0].strip() and "%H" not in day_format)):
        parts = [text.strip().partition(" ") for text in dates]
        dates, times = [part[0] for part in parts], [part[2] for part in parts]
    days = _Memo(lambda text: _by_strptime(text, day_format, datetime(1970, 1, 1)))
    day = np.array([days[text] for text in dates], dtype=np.int64)
    if times is None:
        return Stamps(day, zoned=False)
    if not clock_format:
        return _with_clock(np.where(day == BAD, BAD, day // DAY), times)
    clock = _Memo(lambda text: _by_strptime(text, clock_format, datetime(1900, 1, 1)))
    rest = np.array([clock[text] for text in times], dtype=np.int64)
    return Stamps(np.where((day == BAD) | (rest == BAD), BAD, day + rest), zoned=False)


def _by_strptime(text: str, pattern: str, origin: datetime) -> int:
    try:
        delta: timedelta = datetime.strptime(text.strip(), pattern).replace(tzinfo=None) - origin
    except ValueError:
        return BAD
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1_000
