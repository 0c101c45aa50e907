"""Frames of the simulated broker's protocol; the protocol itself is described in `herald.testing.simbroker`."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

__all__ = ["MAX_FRAME", "VERSION", "FrameError", "Frames", "decode", "encode", "length_prefixed"]

VERSION = 1
"""Of the protocol; a client that states another is turned away."""
MAX_FRAME = 1 << 20
"""Most bytes of a frame's body."""
_HEAD = struct.Struct(">I")


class FrameError(ValueError):
    """What arrived is no frame of this protocol."""


class Frames:
    """Cuts a stream of bytes into bodies of frames."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """Refuse bodies of more than *limit* bytes."""
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies that are complete by *data*.

        Raises:
            FrameError: A frame states a length beyond the limit, or none.
        """
        buffer = self._buffer
        buffer += data
        bodies = []
        while len(buffer) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(buffer)
            if not 0 < length <= self.limit:
                raise FrameError(f"a frame of {length} bytes; 1 to {self.limit} are allowed")
            end = _HEAD.size + length
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[_HEAD.size : end]))
            del buffer[:end]
        return bodies


def encode(message: Any) -> bytes:
    """Return the frame of *message*: length and JSON.

    Raises:
        FrameError: It is too long.
    """
    body = msgspec.json.encode(message)
    if len(body) > MAX_FRAME:
        raise FrameError(f"a message of {len(body)} bytes; {MAX_FRAME} are allowed")
    return _HEAD.pack(len(body)) + body


def decode(body: bytes) -> list[Any]:
    """Return the message of a frame, an array.

    Raises:
        FrameError: It is no JSON array.
    """
    try:
        message = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameError(f"a frame that is no JSON: {error}") from None
    if not isinstance(message, list):
        raise FrameError(f"a frame that is no array but {type(message).__name__}")
    return message


def length_prefixed(buffer: bytearray) -> int:
    """Return how many bytes the first frame of *buffer* has, 0 while that is not known; see `FaultProxy`."""
    if len(buffer) < _HEAD.size:
        return 0
    (length,) = _HEAD.unpack_from(buffer)
    return _HEAD.size + int(length)
