"""Record every privileged act and order decision; see herald.utils.audit_log and docs/audit.md.

What a person or a part of Herald does with a privilege is on disk before it is done. What the engine decides about orders
is in the journal before it is sent, and here within a second.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from herald import model
from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import AuditTrail
from herald.errors import AuditError, NotSupported
from herald.model import Event, Order, OrderRequest
from herald.utils.audit_log import AuditLog, Row, read_audit_key

__all__ = ["Audit", "AuditSettings", "herald_audit_trails", "make_key"]

_MOST = 256
"""Order decisions that wait to be written together."""
_MOST_OWED = 100_000
"""Order decisions that wait for a log that cannot be written; those beyond are counted."""


class AuditSettings(Settings):
    """Settings of `Audit`."""

    file: str = Field(default="audit.log", min_length=1)
    """The log; relative to the state folder of ``[live]``."""
    heads: str = Field(default="audit.heads", min_length=1)
    """Where the head of the log is noted, relative to the state folder; best on another disk or machine."""
    syslog: bool = False
    """Whether the head is noted in the system's log as well; not on Windows."""
    key_file: str = Field(default="audit.key", min_length=1)
    """The key, relative to the state folder; it is made where there is neither a key nor a log yet."""
    key: SecretStr | None = None
    """The key itself, 64 hexadecimal digits, as a secret instead of a file."""
    seal_seconds: float = Field(default=60.0, gt=0)
    """How often the head is noted while records come."""
    seal_records: int = Field(default=1_000, ge=1)
    """After how many records it is noted at the latest."""
    rotate_bytes: int = Field(default=67_108_864, ge=65_536)
    """Size at which a new file begins; old ones are never deleted."""

    @field_validator("syslog")
    @classmethod
    def _has_syslog(cls, is_asked: bool) -> bool:
        if is_asked and sys.platform == "win32":
            raise ValueError("Windows has no such log; remove it, and give heads a place on another machine")
        return is_asked


class Audit:
    """Writes an audit log, which is opened when it is first used.

    Attributes:
        events: What of a run is recorded.
    """

    events: tuple[type, ...] = (
        model.Order,
        model.Fill,
        model.OrderDenied,
        model.RunStarted,
        model.RunStopped,
        model.StateChanged,
        model.StrategyFailed,
        model.ObserverMuted,
        model.Alert,
    )

    def __init__(self, settings: AuditSettings, services: Services) -> None:
        """Name the files; nothing is touched yet."""
        self._settings = settings
        self._clock = services.clock
        self._folder = Path(services.base, services.state).resolve()
        self._log: AuditLog | None = None
        self._waiting: list[Row] = []
        self._mutex = threading.Lock()  # the engine writes what it decides, services what they are asked for
        self._lost = 0
        self._trouble = ""
        self._told = 0

    @property
    def places(self) -> tuple[Path, Path, Path]:
        """The log, the file of its key, and the file in which its heads are noted."""
        settings = self._settings
        return self._folder / settings.file, self._folder / settings.key_file, self._folder / settings.heads

    @property
    def trouble(self) -> str:
        """Why order decisions cannot be recorded at present; empty where they can."""
        return self._trouble

    @property
    def doubt(self) -> str:
        """Why the head cannot be noted elsewhere at present; empty where it can."""
        return "" if self._log is None else self._log.seal_trouble

    def record(self, who: str, act: str, what: str, why: str = "", result: str = "") -> None:
        """Keep a privileged act, so that it survives a loss of power when this returns.

        Raises:
            AuditError: It cannot be kept; then the act must not happen.
        """
        self._flush(((self._clock.now(), who, act, what, why, result),), durable=True)

    def observe(self, event: Event) -> None:
        """Take note of a decision about an order, or of what happened to the run."""
        told = _told(event)
        if told is None:
            return
        if len(self._waiting) < _MOST_OWED:
            self._waiting.append((self._clock.now(), *told))
        else:
            self._lost += 1
        if len(self._waiting) % _MOST == 0:
            self.tick()

    def tick(self) -> None:
        """Write what waits, and note the head elsewhere where it is time to; failures stand in `trouble` and `doubt`."""
        try:
            if self._waiting:
                self._flush((), durable=False)
            if self._log is not None:
                self._log.tick()
                self._tell()
        except AuditError as error:
            self._trouble = str(error)

    def close(self) -> None:
        """Write what waits, note the head elsewhere and close."""
        self.tick()
        if self._log is not None:
            self._log.close()
            self._tell()

    # --- inside -----------------------------------------------------------------------------------

    def _flush(self, rows: tuple[Row, ...], *, durable: bool) -> None:
        with self._mutex:
            self._write(rows, durable=durable)

    def _write(self, rows: tuple[Row, ...], *, durable: bool) -> None:
        if self._log is None:
            self._log = self._open()
        waiting = list(self._waiting)
        if self._lost:
            lost = f"{self._lost} order decisions"
            waiting.append((self._clock.now(), "herald", "audit.gap", lost, "the log could not be written", "lost here"))
        self._log.extend([*waiting, *rows], durable=durable)
        del self._waiting[: len(waiting) - bool(self._lost)]
        self._lost = 0
        self._trouble = ""

    def _open(self) -> AuditLog:
        settings = self._settings
        path, key_file, heads = self.places
        return AuditLog(
            path,
            self._key(path, key_file),
            self._clock,
            heads=heads,
            seal_seconds=settings.seal_seconds,
            seal_records=settings.seal_records,
            rotate_bytes=settings.rotate_bytes,
        )

    def _key(self, log: Path, path: Path) -> bytes:
        stated = self._settings.key
        if stated is not None:
            try:
                key = bytes.fromhex(stated.get_secret_value().strip())
            except ValueError:
                key = b""
            if len(key) != 32:
                raise AuditError("the key of the audit log is not 64 hexadecimal digits; make one: herald audit key")
            return key
        try:
            return read_audit_key(path)
        except FileNotFoundError:
            if log.exists():
                raise AuditError(f"the key {str(path)!r} of the audit log is gone; bring it back, or begin a new log") from None
        except OSError as error:
            raise AuditError(f"the key {str(path)!r} of the audit log cannot be read: {error.strerror or error}") from error
        return make_key(path)

    def _tell(self) -> None:
        """Say the head to the system's log, where the settings ask for it and it has moved."""
        if not self._settings.syslog or self._log is None:
            return
        number, digest = self._log.head
        if number > self._told and not self._log.seal_trouble:
            _say(f"herald audit {self._log.path} {number}:{digest}")
            self._told = number


if sys.platform == "win32":

    def _say(text: str) -> None:
        raise NotSupported("Windows has no syslog; remove syslog from [audit]")

else:

    def _say(text: str) -> None:
        import syslog

        syslog.syslog(syslog.LOG_AUTH | syslog.LOG_NOTICE, text)


def make_key(path: Path) -> bytes:
    """Write a new key to *path*, for its owner alone, and return it.

    Raises:
        AuditError: It cannot be written, or there is a file already.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = AESGCM.generate_key(bit_length=256)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise AuditError(f"{str(path)!r} is there already, and a key is never overwritten; name another file") from None
    except OSError as error:
        raise AuditError(f"the key {str(path)!r} cannot be written: {error.strerror or error}") from error
    return key


def _told(event: Event) -> tuple[str, str, str, str, str] | None:
    """Return what is recorded of *event*: who, act, what, why and result."""
    match event:
        case Order(request=request):
            act = f"order.{str(event.status).lower()}"
            return request.strategy, act, _asked(request), request.tag, _came(event)
        case model.OrderDenied(order=order):
            request = order.request
            return request.strategy, "order.denied", _asked(request), request.tag, f"{order.code}: {order.reason}"
        case model.Fill():
            what = f"{event.side.name} {event.size:g} {event.symbol} at {event.price:.10g}, fee {event.fee:g}"
            return "broker", "fill", f"{event.order_id}: {what}", "", event.id
        case model.StateChanged():
            return event.who, f"state.{event.state.lower()}", event.scope, event.why, "seen by the run"
        case model.RunStarted():
            return "herald", "run.trades", event.mode, "", ""
        case model.RunStopped():
            return "herald", "run.stopped", "", "", event.status
        case model.StrategyFailed():
            return "herald", "strategy.stopped", event.strategy, event.error, ""
        case model.ObserverMuted():
            return "herald", "observer.muted", event.observer, event.error, ""
        case model.Alert():
            return "herald", "alert", event.code, event.text, ""
        case _:
            return None


def _asked(request: OrderRequest) -> str:
    """Return what was asked for, on one line."""
    prices = {"limit": request.limit, "stop": request.stop, "stop loss": request.stop_loss, "take profit": request.take_profit}
    stated = "".join(f" {name} {price:.10g}" for name, price in prices.items() if price is not None)
    reducing = " reduce only" if request.reduce_only else ""
    return f"{request.id}: {request.side.name} {request.size:g} {request.symbol} {request.type}{stated}{reducing}"


def _came(order: Order) -> str:
    parts = (
        order.broker_id and f"broker {order.broker_id}",
        order.filled and f"filled {order.filled:g}",
        order.code,
        order.reason,
    )
    return ", ".join(str(part) for part in parts if part)


@hookimpl
def herald_audit_trails() -> Iterable[Component[AuditTrail]]:
    """Offer the audit log."""
    build: Callable[[AuditSettings, Services], AuditTrail] = Audit
    yield component("audit", AuditSettings, build, "Who did what, in a file that shows later changes.")
