"""Settings of the alerts: whom to tell, what of, and when to be quiet."""

from __future__ import annotations

import re
from datetime import time
from typing import Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from herald.components import Settings

__all__ = ["DEFAULT_RULES", "KINDS", "AlertsSettings", "QuietSettings", "RuleSettings", "Severity", "minute_of_week"]

Severity = Literal["info", "warning", "critical"]

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKEND = ("fri 16:50", "sun 17:15")  # currencies rest from Friday 17:00 to Sunday 17:00 in New York, and begin slowly

KINDS: Final[dict[str, dict[str, Any]]] = {
    "alert": {"codes": (), "except_codes": ()},
    "crash_loop": {"count": 3, "within_seconds": 600.0},
    "denials": {"count": 5, "within_seconds": 60.0},
    "disconnected": {"after_seconds": 0.0},
    "drawdown": {"fraction": None},
    "loss": {"fraction": None, "hour": 0, "zone": "UTC"},
    "order_unknown": {},
    "run": {},
    "stale_data": {"after_seconds": 300.0, "closed": _WEEKEND, "zone": "America/New_York"},
    "state_changed": {},
    "strategy_failed": {},
    "summary": {"at": None, "zone": "UTC"},
    "unhealthy": {},
}
"""Kinds of rules, with the keys that each takes besides ``severity`` and ``targets``; None where it must be stated."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:  # no such zone, or a name that can be none
        raise ValueError(f"unknown time zone {name!r}; write an IANA name, such as UTC or America/New_York") from error
    return name


def _known_time(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise ValueError(f'{text!r} is no time of day; write hours and minutes, such as "22:00"')
    return text


def minute_of_week(text: str) -> int:
    """Return the minutes from Monday 00:00 to a time such as ``fri 16:50``.

    Raises:
        ValueError: It is no such time.
    """
    day, _, clock = text.strip().lower().partition(" ")
    if day not in _DAYS or not _CLOCK.fullmatch(clock.strip()):
        raise ValueError(f'{text!r} is no time of a week; write a day and a time, such as "fri 16:50"')
    at = time.fromisoformat(clock.strip())
    return _DAYS.index(day) * 1440 + at.hour * 60 + at.minute


class RuleSettings(Settings):
    """One rule: what to tell of, how grave it is, and whom to tell. Which keys a rule takes depends on its kind."""

    when: Literal[
        "alert",
        "crash_loop",
        "denials",
        "disconnected",
        "drawdown",
        "loss",
        "order_unknown",
        "run",
        "stale_data",
        "state_changed",
        "strategy_failed",
        "summary",
        "unhealthy",
    ]
    """What to tell of."""
    severity: Severity | None = None
    """How grave it is; what is ``critical`` passes quiet hours. Each kind has a sensible one of its own."""
    targets: tuple[str, ...] = ()
    """Names of the targets to tell; all where none is named."""
    fraction: float | None = Field(None, gt=0, lt=1)
    """``loss``: part of the day's first equity. ``drawdown``: part of the highest equity."""
    hour: int | None = Field(None, ge=0, le=23)
    """``loss``: when a day begins, on the clocks of *zone*; 0 unless given."""
    count: int | None = Field(None, ge=1, le=100_000)
    """``denials``: so many of one strategy (5). ``crash_loop``: so many starts without an orderly end before (3)."""
    within_seconds: float | None = Field(None, gt=0)
    """In which time: ``denials`` 60, ``crash_loop`` 600."""
    after_seconds: float | None = Field(None, ge=0)
    """How long it must last: ``disconnected`` 0, ``stale_data`` 300."""
    closed: tuple[str, ...] | None = None
    """``stale_data``: from and to when, each week, no prices are expected; ``[]`` for a market that never closes."""
    at: str | None = None
    """``summary``: time of day, such as ``22:00``, on the clocks of *zone*."""
    zone: str | None = None
    """IANA name of the zone, such as ``Europe/Berlin``; UTC unless given, for ``closed`` that of New York."""
    codes: tuple[str, ...] | None = None
    """``alert``: only those with one of these codes; all where none is named."""
    except_codes: tuple[str, ...] | None = None
    """``alert``: not those with one of these codes."""

    @field_validator("zone")
    @classmethod
    def _zone(cls, name: str | None) -> str | None:
        return None if name is None else _known_zone(name)

    @field_validator("at")
    @classmethod
    def _at(cls, text: str | None) -> str | None:
        return None if text is None else _known_time(text)

    @field_validator("closed")
    @classmethod
    def _closed(cls, texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if texts:
            if len(texts) != 2:
                raise ValueError(f'{list(texts)!r} is no stretch of a week; write two times, such as ["fri 16:50", "sun 17:15"]')
            if minute_of_week(texts[0]) == minute_of_week(texts[1]):
                raise ValueError(f"{list(texts)!r} is the whole week or nothing of it; write [] for a market that never closes")
        return texts

    @model_validator(mode="after")
    def _fits(self) -> Self:
        takes = KINDS[self.when]
        stated = {name for name in self.model_fields_set if getattr(self, name) is not None}
        strange = sorted(stated - {"when", "severity", "targets", *takes})
        if strange:
            known = ", ".join(["severity", "targets", *takes])
            raise ValueError(f"a rule {self.when!r} takes no {strange[0]}; it takes {known}")
        for name, default in takes.items():
            if default is None and getattr(self, name) is None:
                example = 'at = "22:00"' if name == "at" else f"{name} = 0.05"
                raise ValueError(f"a rule {self.when!r} needs {name}; write {example}")
        return self

    def value(self, name: str) -> Any:
        """Return what is stated for the key *name*, or what holds where nothing is."""
        stated = getattr(self, name)
        return KINDS[self.when][name] if stated is None else stated


DEFAULT_RULES = tuple(RuleSettings(when=kind) for kind, keys in KINDS.items() if None not in keys.values())
"""What is told of where the config names no rules: everything that needs no figure."""


class QuietSettings(Settings):
    """Hours in which only what is critical is told; the rest follows at their end."""

    begin: str
    """Time of day, such as ``22:00``."""
    end: str
    """Time of day, such as ``07:00``, on the next day where it is before *begin*."""
    zone: str
    """IANA name of the zone, such as ``Europe/Berlin``."""

    @field_validator("begin", "end")
    @classmethod
    def _times(cls, text: str) -> str:
        return _known_time(text)

    @field_validator("zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        return _known_zone(name)

    @model_validator(mode="after")
    def _is_no_day(self) -> Self:
        if self.begin == self.end:
            raise ValueError(f"quiet hours from {self.begin} to {self.end} are no hours or all; write two different times")
        return self


class AlertsSettings(Settings):
    """Settings of `Alerts`."""

    targets: dict[str, SecretStr] = Field(min_length=1)
    """Whom to tell: a name of your choice, and the secret that holds its address as apprise writes it."""
    rules: tuple[RuleSettings, ...] = Field(DEFAULT_RULES, min_length=1)
    """What to tell of, one table each; everything that needs no figure where none is named. See docs/alerts.md."""
    quiet: QuietSettings | None = None
    """Hours in which only what is critical is told."""
    repeat_seconds: float = Field(600.0, ge=1.0)
    """The same again within so long is counted, and told once with the count when the time is over."""
    label: str = Field("", max_length=60)
    """What every text begins with, such as the name of the machine; ``Herald`` unless given."""
    queue: int = Field(10_000, ge=10, le=1_000_000)
    """How many texts wait at most for targets that cannot be reached; beyond that the least grave and oldest is dropped."""
    retry_seconds: float = Field(1.0, gt=0)
    """Wait before a text that failed is tried again; doubled each time."""
    longest_retry_seconds: float = Field(60.0, gt=0)
    """Longest such wait."""

    @field_validator("targets")
    @classmethod
    def _names(cls, targets: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name in targets:
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name):
                raise ValueError(f"{name!r} is no name of a target; use small letters, digits, - and _")
        return targets

    @model_validator(mode="after")
    def _known_targets(self) -> Self:
        for number, rule in enumerate(self.rules):
            for name in rule.targets:
                if name not in self.targets:
                    known = ", ".join(self.targets)
                    raise ValueError(f"rule {number} ({rule.when}) names the target {name!r}; there are: {known}")
        if self.retry_seconds > self.longest_retry_seconds:
            raise ValueError("retry_seconds is longer than longest_retry_seconds; make it shorter")
        return self
