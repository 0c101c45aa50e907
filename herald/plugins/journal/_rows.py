"""Records as bytes, the columns by which they are found, and the chain of hashes that holds them together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from herald.errors import JournalError
from herald.model import CancelIntended, Intended, ModifyIntended, OrderChanged, Record, Traded
from herald.model import record as records
from herald.utils.hash_chain import HashChain
from herald.utils.redaction import redact, redact_packed

__all__ = ["KINDS", "Columns", "chain_start", "columns", "decode", "encode", "link"]

KINDS: dict[type, str] = {
    kind: name
    for name, kind in sorted(vars(records).items())
    if isinstance(kind, type) and issubclass(kind, records.RecordBase) and kind is not records.RecordBase
}
"""Name of every kind of record by its type; the name is also the tag in the bytes."""

_encoder = msgspec.msgpack.Encoder(enc_hook=lambda value: _plain(value))
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Record)
_chain = HashChain.plain(b"herald-journal")


def _plain(value: object) -> object:
    """Return a number of another library, such as numpy, as Python's own."""
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    raise TypeError(f"{type(value).__name__} {value!r} cannot be kept")


def encode(record: Record) -> bytes:
    """Return *record* as MessagePack, without secrets, after making sure that it can be read again.

    Raises:
        ValueError: It is no record, or one of its values is not what its field says.
    """
    if type(record) not in KINDS:
        raise ValueError(f"{type(record).__name__} is no kind of record; there are {', '.join(KINDS.values())}")
    try:
        body = redact_packed(_encoder.encode(record))
        _decoder.decode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{type(record).__name__} cannot be kept: {error}") from error
    return body


def decode(body: bytes, number: int, path: Path) -> Record:
    """Return the record in *body*.

    Raises:
        JournalError: This version of Herald does not know it.
    """
    try:
        record: Record = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(
            f"record {number} of journal {str(path)!r} cannot be read: {error}; it is of a newer Herald: update this one"
        ) from error
    return record


class Columns(NamedTuple):
    """What a record is found by; a function of the record alone.

    Attributes:
        kind: Name of its type.
        time: Nanoseconds UTC.
        order_id: Of the order it is about, or None.
        client_tag: That order's name at the broker, or None.
    """

    kind: str
    time: int
    order_id: str | None
    client_tag: str | None


def columns(record: Record) -> Columns:
    """Return the columns of *record*."""
    kind = type(record)
    order_id, client_tag = _NAMES[kind](record) if kind in _NAMES else ("", "")
    return Columns(KINDS[kind], record.time, redact(order_id) or None, redact(client_tag) or None)


# A table, not a chain of questions: this is paid for every record that is written or verified.
_NAMES: dict[type, Callable[[Any], tuple[str, str]]] = {
    Intended: lambda record: (record.request.id, record.request.client_tag),
    ModifyIntended: lambda record: (record.request.id, record.request.client_tag),
    OrderChanged: lambda record: (record.order.request.id, record.order.request.client_tag),
    Traded: lambda record: (record.fill.order_id, ""),
    CancelIntended: lambda record: (record.order_id, ""),
}


def chain_start(journal_id: str) -> bytes:
    """Return what the hash of record 1 builds on; two journals never share it."""
    return _chain.start(journal_id.encode())


link = _chain.link
"""The hash of a record from the one before it, its number and its body; 16 bytes."""
