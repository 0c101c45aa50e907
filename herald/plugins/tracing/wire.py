"""What the run and its exporter say to each other."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["Begin", "Span", "Spans", "Told", "decode_down", "decode_up", "encode"]


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """The first message to an exporter; see `TracingSettings`.

    Attributes:
        resource: What describes the run, by OpenTelemetry's names.
    """

    endpoint: str
    headers: dict[str, str]
    certificate: str | None
    timeout_seconds: float
    queue: int
    resource: dict[str, str]


class Span(msgspec.Struct, frozen=True):
    """One stage of an order.

    Attributes:
        trace: Number of the trace, 32 hexadecimal digits.
        id: Of the span, 16 hexadecimal digits.
        parent: Of the span that it belongs to; empty for none.
        name: Of the stage.
        begin: Nanoseconds UTC.
        end: The same, not before *begin*.
        error: Why it failed; empty where it did not.
        attributes: What there is to know of it.
    """

    trace: str
    id: str
    parent: str
    name: str
    begin: int
    end: int
    error: str
    attributes: dict[str, str | float]


class Spans(msgspec.Struct, frozen=True, tag="spans"):
    """Stages that are over."""

    spans: list[Span]


class Told(msgspec.Struct, frozen=True, tag="told"):
    """Whether the collector takes what it is sent; told when that changes."""

    is_well: bool


_ENCODER: Final = msgspec.msgpack.Encoder()
_DOWN: Final = msgspec.msgpack.Decoder(Begin | Spans)
_UP: Final = msgspec.msgpack.Decoder(Told)


def encode(message: Begin | Spans | Told) -> bytes:
    """Return *message* as a frame."""
    return _ENCODER.encode(message)


def decode_down(frame: bytes) -> Begin | Spans:
    """Return what the run says.

    Raises:
        msgspec.DecodeError: It is no such message.
    """
    message: Begin | Spans = _DOWN.decode(frame)
    return message


def decode_up(frame: bytes) -> Told:
    """Return what the exporter says.

    Raises:
        msgspec.DecodeError: It is no such message.
    """
    message: Told = _UP.decode(frame)
    return message
