"""The name of an order at the broker: short enough for any comment field, the same after every restart, checkable.

A tag is 16 characters of base32 (80 bits of a hash) and two that check them. Two runs with different journals never
make the same tag, and the same order of the same journal always has the same one.
"""

from __future__ import annotations

import base64
import hashlib
import zlib

__all__ = ["client_tag", "is_client_tag"]

_LENGTH = 16
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def client_tag(journal_id: str, account: str, order_id: str) -> str:
    """Return the tag of an order, 18 characters of ``a-z`` and ``2-7``.

    Args:
        journal_id: Of the journal that keeps the order.
        account: Number of the account.
        order_id: The request's id, unique in that journal.
    """
    data = "\0".join((journal_id, account, order_id)).encode()
    body = base64.b32encode(hashlib.blake2b(data, digest_size=10).digest()).decode().lower()
    return body + _check(body)


def is_client_tag(text: str) -> bool:
    """Return whether *text* is a tag that some Herald made; one changed letter is noticed 1,023 times in 1,024."""
    return len(text) == _LENGTH + 2 and text[_LENGTH:] == _check(text[:_LENGTH])


def _check(body: str) -> str:
    number = zlib.crc32(body.encode())
    return _LETTERS[number & 31] + _LETTERS[number >> 5 & 31]
