"""A chain of hashes: each covers its record and all before it, so that none can be changed, moved, added or left out unseen.

Only the end can be cut off without a trace. Whoever must notice that too notes the last hash elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

__all__ = ["HashChain"]

_BLOCK = 64
"""Bytes that SHA-256 takes at a time; RFC 2104 pads the key to so many."""


class HashChain:
    """Links numbered records.

    Without a key the chain shows accidents, and changes by those who do not know how it is made. With a key it shows
    changes by everybody who does not have the key.
    """

    def __init__(self, digest: Callable[[bytes], bytes]) -> None:
        """Link with *digest*, a hash function."""
        self._digest = digest

    @classmethod
    def plain(cls, person: bytes, size: int = 16) -> HashChain:
        """Return a chain without a key: BLAKE2b of *size* bytes, different for every *person* (16 bytes at most)."""
        empty = hashlib.blake2b(digest_size=size, person=person)

        def digest(data: bytes) -> bytes:
            one = empty.copy()  # cheaper than to prepare a new one
            one.update(data)
            return one.digest()

        return cls(digest)

    @classmethod
    def keyed(cls, key: bytes) -> HashChain:
        """Return a chain that only those can make who have *key*: HMAC-SHA256 (RFC 2104).

        Raises:
            ValueError: The key has fewer than 16 bytes.
        """
        if len(key) < 16:
            raise ValueError(f"the key has {len(key)} bytes; use 32")
        if len(key) > _BLOCK:
            key = hashlib.sha256(key).digest()
        padded = key.ljust(_BLOCK, b"\0")
        inside = hashlib.sha256(bytes(one ^ 0x36 for one in padded))
        outside = hashlib.sha256(bytes(one ^ 0x5C for one in padded))

        def digest(data: bytes) -> bytes:
            inner, outer = inside.copy(), outside.copy()  # half the price of the function of the standard library
            inner.update(data)
            outer.update(inner.digest())
            return outer.digest()

        return cls(digest)

    def start(self, name: bytes) -> bytes:
        """Return what the hash of record 1 builds on; chains of different *name* never share it."""
        return self._digest(name)

    def link(self, previous: bytes, number: int, body: bytes) -> bytes:
        """Return the hash of record *number*, which covers every record before it through *previous*."""
        return self._digest(previous + number.to_bytes(8, "big") + body)
