"""What the run and its sender say to each other."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["Beat", "Begin", "Deliver", "Down", "Failed", "Ready", "Sent", "Up", "decode_down", "decode_up", "encode"]


class Begin(msgspec.Struct, frozen=True, tag="begin", tag_field="is"):
    """The first message to a sender.

    Attributes:
        targets: Address by name; secrets, which only ever pass through the pipe.
        retry_seconds: First wait before a text is tried again.
        longest_retry_seconds: Longest.
    """

    targets: dict[str, str]
    retry_seconds: float
    longest_retry_seconds: float


class Deliver(msgspec.Struct, frozen=True, tag="deliver", tag_field="is"):
    """Send a text to a target.

    Attributes:
        id: Of the text.
        target: Name.
        severity: ``info``, ``warning`` or ``critical``.
        title: A few words.
        body: The rest.
        once: Try once, and say what came of it.
    """

    id: int
    target: str
    severity: str
    title: str
    body: str
    once: bool = False


class Ready(msgspec.Struct, frozen=True, tag="ready", tag_field="is"):
    """The sender knows its targets; *problems* says of some why they are none."""

    problems: dict[str, str]


class Sent(msgspec.Struct, frozen=True, tag="sent", tag_field="is"):
    """A target has a text."""

    id: int
    target: str


class Failed(msgspec.Struct, frozen=True, tag="failed", tag_field="is"):
    """A text could not be sent; it is tried again unless it was to be tried once.

    Attributes:
        id: Of the text.
        target: Name.
        why: One line.
        attempts: So far.
    """

    id: int
    target: str
    why: str
    attempts: int


class Beat(msgspec.Struct, frozen=True, tag="beat", tag_field="is"):
    """The sender lives."""


Down = Begin | Deliver
Up = Ready | Sent | Failed | Beat

_ENCODER: Final = msgspec.json.Encoder()
_DOWN: Final = msgspec.json.Decoder(Down)
_UP: Final = msgspec.json.Decoder(Up)


def encode(message: Down | Up) -> bytes:
    """Return *message* as a frame."""
    return _ENCODER.encode(message)


def decode_down(frame: bytes) -> Down:
    """Return what the run says.

    Raises:
        msgspec.DecodeError: It is no such message.
    """
    message: Down = _DOWN.decode(frame)
    return message


def decode_up(frame: bytes) -> Up:
    """Return what the sender says.

    Raises:
        msgspec.DecodeError: It is no such message.
    """
    message: Up = _UP.decode(frame)
    return message
