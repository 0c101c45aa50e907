"""A chain of hashes: each covers its record and all before it, so that none can be changed, moved, added or left out unseen.

Only the end can be cut off without a trace. Whoever must notice that too notes the last hash elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol, Self

__all__ = ["HashChain"]


class _Digest(Protocol):
    def copy(self) -> Self: ...

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class HashChain:
    """Links numbered records.

    Without a key the chain shows accidents, and changes by those who do not know how it is made. With a key it shows
    changes by everybody who does not have the key.
    """

    def __init__(self, digest: _Digest) -> None:
        """Link with *digest*, a hash object that has been fed nothing yet; it is only copied."""
        self._empty = digest

    @classmethod
    def plain(cls, person: bytes, size: int = 16) -> HashChain:
        """Return a chain without a key: BLAKE2b of *size* bytes, different for every *person* (16 bytes at most)."""
        return cls(hashlib.blake2b(digest_size=size, person=person))

    @classmethod
    def keyed(cls, key: bytes) -> HashChain:
        """Return a chain that only those can make who have *key*: HMAC-SHA256 (RFC 2104).

        Raises:
            ValueError: The key has fewer than 16 bytes.
        """
        if len(key) < 16:
            raise ValueError(f"the key has {len(key)} bytes; use 32")
        return cls(hmac.new(key, digestmod="sha256"))

    def start(self, name: bytes) -> bytes:
        """Return what the hash of record 1 builds on; chains of different *name* never share it."""
        digest = self._empty.copy()
        digest.update(name)
        return digest.digest()

    def link(self, previous: bytes, number: int, body: bytes) -> bytes:
        """Return the hash of record *number*, which covers every record before it through *previous*."""
        digest = self._empty.copy()
        digest.update(previous + number.to_bytes(8, "big") + body)
        return digest.digest()
