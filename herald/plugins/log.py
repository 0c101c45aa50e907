"""Write what happens to the log: one line an event, its values as fields.

Only this module imports loguru, and only when the first line is written. Herald adds no sink by itself: lines go
where the program that runs it sends them, and to ``file`` where one is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import Field, field_validator

from herald import model
from herald.clock import format_time
from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Observer
from herald.model import Event, SystemEvent, gravity
from herald.utils.redaction import redact_values
from herald.utils.traces import read_seed, trace_id

__all__ = ["LEVELS", "Log", "LogSettings", "herald_observers", "line_of"]

LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "SUCCESS": 25, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
"""How much each level matters."""
_TEXT, _JSON = "{extra[at]} {level: <8} {extra[line]}", "{extra[json]}"
_FREQUENT = (model.Bar, model.Quote, model.Account, model.Timer, model.OrderStep)
"""What only somebody who looks for a fault wants to see."""
_ROTATION = re.compile(r"[0-9.]+ ?[KMG]?B|[0-9]+ (minute|hour|day|week|month)s?|[0-9]{2}:[0-9]{2}")


def _event_names() -> tuple[str, ...]:
    """Return what `LogSettings.events` may hold."""
    system = [name for name, kind in vars(model).items() if isinstance(kind, type) and issubclass(kind, SystemEvent)]
    return ("Bar", "Quote", "Order", "Fill", "Account", "OrderStep", *sorted(system))


class LogSettings(Settings):
    """Settings of `Log`."""

    events: tuple[str, ...] = ("Fill", "SystemEvent")
    """Names of the events to write, such as ``Order`` or ``OrderDenied``; ``SystemEvent`` stands for all about the run."""
    level: str = "INFO"
    """Lowest level that is written: TRACE, DEBUG, INFO, WARNING or ERROR."""
    file: str | None = None
    """A file to write to as well, such as ``state/herald.log``; relative to the config. `herald logs` shows it."""
    format: Literal["text", "json"] = "text"
    """How lines of the file look: for people, or one JSON object a line, with the order, its strategy and its trace."""
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
        if level.upper() not in LEVELS:
            raise ValueError(f"unknown level {level!r}; there are {', '.join(LEVELS)}")
        return level.upper()


class Log:
    """Writes one line an event, as grave as `herald.model.gravity` says; bars, quotes, accounts and timers are for debugging."""

    def __init__(self, settings: LogSettings, services: Services) -> None:
        """Keep the settings; nothing is opened before the first line."""
        self.events: tuple[type, ...] = tuple(getattr(model, name) for name in settings.events)
        self._settings = settings
        self._services = services
        self._least = LEVELS[settings.level]
        self._log: Any = None
        self._sink: int | None = None
        self._is_closed = False
        self._seed: str | None = None
        self._encode = msgspec.json.Encoder().encode

    def observe(self, event: Event) -> None:
        """Write *event* where its level is high enough."""
        level = _level(event)
        if LEVELS[level] < self._least:
            return
        if self._log is None:
            self._log = self._open()
        name = type(event).__name__
        fields = redact_values(_fields(event))
        line = line_of(name, fields)
        extra: dict[str, object] = {"event": name, "line": line, **fields, **self._belongings(event)}
        if self._settings.format == "json":
            told = {key: value for key, value in extra.items() if key not in ("at", "line")}
            extra["json"] = self._encode({"at": fields["at"], "level": level, **told}).decode()
        # The time in front is that of the event: in a backtest the clock on the wall says nothing.
        # The text is passed without arguments, so braces in a strategy's note stay as they are.
        self._log.bind(**extra).log(level, f"{fields['at']} {line}")

    def close(self) -> None:
        """Close the file, if there is one; a second call does nothing."""
        self._is_closed = True
        if self._sink is not None:
            self._log.remove(self._sink)
            self._sink = None

    def _belongings(self, event: Event) -> dict[str, object]:
        """Return what an event belongs to: its order, strategy and trace."""
        if isinstance(event, model.Fill):
            order, strategy = event.order_id, event.order_id.rpartition("-")[0]
        elif isinstance(event, model.Order | model.OrderStep):
            order, strategy = event.request.id, event.request.strategy
        elif isinstance(event, model.OrderDenied):
            order, strategy = event.order.id, event.order.request.strategy
        else:
            return {}
        if self._seed is None:  # whoever traces has made it by now; without one the numbers still tell orders apart
            self._seed = read_seed(Path(self._services.base, self._services.state).resolve())
        return {"order": order, "strategy": strategy, "trace_id": trace_id(self._seed, order)}

    def _open(self) -> Any:
        from loguru import logger

        if self._settings.file is not None and not self._is_closed:
            marker = self._services.name
            self._sink = logger.add(
                Path(self._services.base) / self._settings.file,
                level=self._settings.level,
                format=_JSON if self._settings.format == "json" else _TEXT,
                filter=lambda record: record["extra"].get("log") == marker,
                rotation=self._settings.rotation,
                retention=self._settings.retention,
                encoding="utf-8",
                opener=lambda path, flags: os.open(path, flags, 0o600),  # it tells what the account holds
                colorize=False,
                backtrace=False,
                diagnose=False,  # it would print the values of local variables, passwords among them
                enqueue=False,  # its queue has no bound and costs ten times the line
            )
        return logger.bind(log=self._services.name)  # no field of an event has that name


def _level(event: Event) -> str:
    """Return how much *event* matters."""
    return "DEBUG" if isinstance(event, _FREQUENT) else gravity(event)


def _fields(event: Event) -> Mapping[str, object]:
    """Return the values of *event* that belong on its line, ``at`` first."""
    at = {"at": format_time(event.time)}
    if isinstance(event, model.Fill):
        names = ("symbol", "side", "size", "price", "fee")
        return at | {"order": event.order_id} | {name: _plain(getattr(event, name)) for name in names}
    if isinstance(event, model.Order):
        return at | _order_fields(event)
    if isinstance(event, model.OrderDenied):
        return at | _order_fields(event.order)
    if isinstance(event, model.OrderStep):
        return at | {"step": event.step, **_request_fields(event.request)}
    skipped = ("time", "traceback")
    return at | {name: _plain(getattr(event, name)) for name in event.__struct_fields__ if name not in skipped}


def _request_fields(request: model.OrderRequest, status: str = "") -> dict[str, object]:
    prices = {"limit": request.limit, "stop": request.stop, "stop_loss": request.stop_loss, "take_profit": request.take_profit}
    fields: dict[str, object] = {
        "order": request.id,
        "symbol": request.symbol,
        "side": _plain(request.side),
        "size": request.size,
        "type": str(request.type),
    }
    fields |= {"status": status} if status else {}
    fields |= {name: price for name, price in prices.items() if price is not None}
    return fields | ({"tag": request.tag} if request.tag else {})


def _order_fields(order: model.Order) -> dict[str, object]:
    fields = _request_fields(order.request, str(order.status))
    fields |= {name: text for name, text in (("code", order.code), ("reason", order.reason)) if text}
    if order.filled:
        fields |= {"filled": order.filled, "average_price": order.average_price}
    return fields


def _plain(value: object) -> object:
    """Return *value* as text where its own form is not for people."""
    if isinstance(value, model.Side):
        return value.name.lower()
    return value if isinstance(value, int | float) else " ".join(str(value).split())


def line_of(name: str, fields: Mapping[str, object]) -> str:
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
