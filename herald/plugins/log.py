"""Write what happens to the log: one line an event, its values as fields.

Only this module imports loguru, and only when the first line is written. Herald adds no sink by itself: lines go
where the program that runs it sends them, and to ``file`` where one is set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from herald import model
from herald.clock import format_time
from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Observer
from herald.model import Event, OrderStatus, SystemEvent
from herald.utils.redaction import redact_values

__all__ = ["Log", "LogSettings", "herald_observers"]

_LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "SUCCESS": 25, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_FORMAT = "{extra[at]} {level: <8} {extra[line]}"
_ROTATION = re.compile(r"[0-9.]+ ?[KMG]?B|[0-9]+ (minute|hour|day|week|month)s?|[0-9]{2}:[0-9]{2}")


def _event_names() -> tuple[str, ...]:
    """Return what `LogSettings.events` may hold."""
    system = [name for name, kind in vars(model).items() if isinstance(kind, type) and issubclass(kind, SystemEvent)]
    return ("Bar", "Quote", "Order", "Fill", "Account", *sorted(system))


class LogSettings(Settings):
    """Settings of `Log`."""

    events: tuple[str, ...] = ("Fill", "SystemEvent")
    """Names of the events to write, such as ``Order`` or ``OrderDenied``; ``SystemEvent`` stands for all about the run."""
    level: str = "INFO"
    """Lowest level that is written: TRACE, DEBUG, INFO, WARNING or ERROR."""
    file: str | None = None
    """A file to write to as well; relative to the config."""
    rotation: str | None = None
    """When to begin a new file, such as ``10 MB``, ``1 day`` or ``00:00``; never where it is not set."""
    retention: int | None = Field(None, ge=1)
    """How many old files to keep; all where it is not set."""

    @field_validator("events")
    @classmethod
    def _known_events(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = _event_names()
        for name in names:
            if name not in known:
                raise ValueError(f"unknown event {name!r}; there are {', '.join(known)}")
        return names

    @field_validator("rotation")
    @classmethod
    def _known_rotation(cls, text: str | None) -> str | None:
        if text is not None and not _ROTATION.fullmatch(text):
            raise ValueError(f"unknown rotation {text!r}; write a size, a time or an hour, such as 10 MB, 1 day or 00:00")
        return text

    @field_validator("level")
    @classmethod
    def _known_level(cls, level: str) -> str:
        if level.upper() not in _LEVELS:
            raise ValueError(f"unknown level {level!r}; there are {', '.join(_LEVELS)}")
        return level.upper()


class Log:
    """Writes one line an event.

    Refused orders, strategies that were stopped and muted observers are warnings or errors; bars, quotes, accounts
    and timers are for debugging; everything else is for information.
    """

    def __init__(self, settings: LogSettings, services: Services) -> None:
        """Keep the settings; nothing is opened before the first line."""
        self.events: tuple[type, ...] = tuple(getattr(model, name) for name in settings.events)
        self._settings = settings
        self._services = services
        self._least = _LEVELS[settings.level]
        self._log: Any = None
        self._sink: int | None = None
        self._is_closed = False

    def observe(self, event: Event) -> None:
        """Write *event* where its level is high enough."""
        level = _level(event)
        if _LEVELS[level] < self._least:
            return
        if self._log is None:
            self._log = self._open()
        fields = redact_values(_fields(event))
        line = _line(type(event).__name__, fields)
        # The time in front is that of the event: in a backtest the clock on the wall says nothing.
        # The text is passed without arguments, so braces in a strategy's note stay as they are.
        self._log.bind(event=type(event).__name__, line=line, **fields).log(level, f"{fields['at']} {line}")

    def close(self) -> None:
        """Close the file, if there is one; a second call does nothing."""
        self._is_closed = True
        if self._sink is not None:
            self._log.remove(self._sink)
            self._sink = None

    def _open(self) -> Any:
        from loguru import logger

        if self._settings.file is not None and not self._is_closed:
            marker = self._services.name
            self._sink = logger.add(
                Path(self._services.base) / self._settings.file,
                level=self._settings.level,
                format=_FORMAT,
                filter=lambda record: record["extra"].get("observer") == marker,
                rotation=self._settings.rotation,
                retention=self._settings.retention,
                encoding="utf-8",
                colorize=False,
                backtrace=False,
                diagnose=False,  # it would print the values of local variables, passwords among them
                enqueue=False,  # its queue has no bound and costs ten times the line
            )
        return logger.bind(observer=self._services.name)


def _level(event: Event) -> str:
    """Return how much *event* matters."""
    if isinstance(event, model.StrategyFailed):
        return "ERROR"
    if isinstance(event, model.OrderDenied | model.ObserverMuted):
        return "WARNING"
    if isinstance(event, model.RunStopped):
        return "INFO" if event.status == "completed" else "ERROR"
    if isinstance(event, model.Order):
        return "WARNING" if event.status in (OrderStatus.REJECTED, OrderStatus.UNKNOWN) else "INFO"
    if isinstance(event, model.Bar | model.Quote | model.Account | model.Timer):
        return "DEBUG"
    return "INFO"


def _fields(event: Event) -> Mapping[str, object]:
    """Return the values of *event* that belong on its line, ``at`` first."""
    at = {"at": format_time(event.time)}
    if isinstance(event, model.Fill):
        names = ("order_id", "symbol", "side", "size", "price", "fee")
        return at | {name: _plain(getattr(event, name)) for name in names}
    if isinstance(event, model.Order):
        return at | _order_fields(event)
    if isinstance(event, model.OrderDenied):
        return at | _order_fields(event.order)
    skipped = ("time", "traceback")
    return at | {name: _plain(getattr(event, name)) for name in event.__struct_fields__ if name not in skipped}


def _order_fields(order: model.Order) -> dict[str, object]:
    request = order.request
    prices = {"limit": request.limit, "stop": request.stop, "stop_loss": request.stop_loss, "take_profit": request.take_profit}
    fields: dict[str, object] = {
        "order": request.id,
        "symbol": request.symbol,
        "side": _plain(request.side),
        "size": request.size,
        "type": str(request.type),
        "status": str(order.status),
    }
    fields |= {name: price for name, price in prices.items() if price is not None}
    fields |= {name: text for name, text in (("tag", request.tag), ("code", order.code), ("reason", order.reason)) if text}
    if order.filled:
        fields |= {"filled": order.filled, "average_price": order.average_price}
    return fields


def _plain(value: object) -> object:
    """Return *value* as text where its own form is not for people."""
    if isinstance(value, model.Side):
        return value.name.lower()
    return value if isinstance(value, int | float) else " ".join(str(value).split())


def _line(name: str, fields: Mapping[str, object]) -> str:
    """Return ``name key=value ...`` on one line; the time stands in the field ``at``."""
    parts = [name]
    for key, value in fields.items():
        if key != "at":
            text = f"{value:.10g}" if isinstance(value, float) else str(value)
            parts.append(f'{key}="{text}"' if " " in text or not text else f"{key}={text}")
    return " ".join(parts)


@hookimpl
def herald_observers() -> Iterable[Component[Observer]]:
    """Offer the log."""
    build: Callable[[LogSettings, Services], Observer] = Log
    yield component("log", LogSettings, build, "One line an event, to the log and to a file.")
