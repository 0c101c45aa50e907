"""The plugin lock as a file: what may be imported, file by file, and a signature over it; see `herald.host.trust`."""

from __future__ import annotations

import base64
import binascii
import os
import stat
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from herald.errors import NotFound, PluginError
from herald.host.lookalike import canonical
from herald.utils.durable import replace_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "LOCK_NAME",
    "Lock",
    "Locked",
    "check_signature",
    "lock_bytes",
    "new_key",
    "public_text",
    "read_key",
    "read_lock",
    "signature_of",
    "write_lock",
]

LOCK_NAME = "plugins.lock"
_FORMAT = 1
_PUBLIC = "ed25519:"
_LARGEST = 50_000_000
"""Bytes; a lock of a hundred large distributions has a tenth of it."""


class Locked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One distribution, or one local plugin, as it was when somebody decided to trust it.

    Attributes:
        name: Of the distribution; of a local plugin its own.
        version: Of the distribution; empty for a local plugin.
        kind: ``wheel``; ``editable`` for one that is imported from its source; ``local`` for one of ``[plugins] paths``.
        entry_points: Module by plugin name.
        record: SHA-256 of the distribution's RECORD, hex; empty where it has none.
        files: SHA-256 by path, hex; relative to the folder of the installation or of the local plugin.
    """

    name: str
    version: str
    kind: Literal["wheel", "editable", "local"]
    entry_points: dict[str, str]
    record: str
    files: dict[str, str]

    @property
    def key(self) -> tuple[bool, str]:
        """Return what it is found by."""
        return self.kind == "local", canonical(self.name)


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole lock.

    Attributes:
        format: Of the file.
        python: ``3.11``; compiled parts of a distribution differ from one to another.
        platform: Such as ``linux-x86_64``.
        distributions: Sorted.
    """

    format: int = _FORMAT
    python: str = ""
    platform: str = ""
    distributions: tuple[Locked, ...] = ()

    @classmethod
    def here(cls, distributions: Sequence[Locked]) -> Lock:
        """Return a lock of *distributions* for this machine."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        ordered = sorted(distributions, key=lambda one: one.key)
        return cls(python=python, platform=sysconfig.get_platform(), distributions=tuple(ordered))

    def find(self, key: tuple[bool, str]) -> Locked | None:
        """Return the entry with that `Locked.key`, or None."""
        return next((one for one in self.distributions if one.key == key), None)

    def elsewhere(self) -> str:
        """Return where the lock was made, if not on a machine like this one; empty otherwise."""
        here = Lock.here(())
        if (self.python, self.platform) == (here.python, here.platform):
            return ""
        return f"it was made for Python {self.python} on {self.platform}, this is Python {here.python} on {here.platform}"


def read_lock(path: Path) -> tuple[Lock, bytes]:
    """Return the lock in *path*, and its bytes for `check_signature`.

    Raises:
        NotFound: There is none.
        PluginError: It is no lock, of a newer Herald, or everybody may write to it.
    """
    name = str(path)
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no {name!r}") from None
    except OSError as error:
        raise PluginError(f"{name!r} cannot be read: {error.strerror or error}; check its permissions") from error
    if os.name != "nt" and stat.S_IMODE(found.st_mode) & 0o002:
        raise PluginError(f"{name!r} may be written by everybody on this machine; chmod o-w it, then look at what it says")
    try:
        lock = msgspec.json.decode(data, type=Lock)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PluginError(f"{name!r} is no plugin lock: {error}; make it again: herald plugins lock") from error
    if lock.format != _FORMAT or len(data) > _LARGEST:
        raise PluginError(f"{name!r} has format {lock.format}, and this Herald reads {_FORMAT}; update Herald, or make it again")
    return lock, data


def lock_bytes(lock: Lock) -> bytes:
    """Return *lock* as its file has it."""
    return msgspec.json.format(msgspec.json.encode(lock, order="deterministic"), indent=1) + b"\n"


def write_lock(path: Path, lock: Lock, key: Ed25519PrivateKey | None = None) -> None:
    """Write *lock* to *path*, in full or not at all, and its signature beside it; an old signature does not stay.

    Raises:
        OSError: It cannot be written; what was there still is.
    """
    data = lock_bytes(lock)
    seal = signature_of(path)
    if key is None:
        seal.unlink(missing_ok=True)
    else:
        replace_file(seal, base64.b64encode(key.sign(data)) + b"\n", 0o644)
    replace_file(path, data, 0o644)


# --- signatures -----------------------------------------------------------------------------------


def signature_of(path: Path) -> Path:
    """Return the file with the signature over the lock *path*."""
    return path.with_name(path.name + ".sig")


def new_key(path: Path) -> str:
    """Write a new private key to *path*, for its owner alone, and return the public key as ``lock_key`` states it.

    Raises:
        PluginError: There is such a file already.
        OSError: It cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except FileExistsError:
        raise PluginError(f"{str(path)!r} is there already, and a key is never overwritten; name another file") from None
    with open(descriptor, "wb") as file:
        file.write(key.private_bytes(*form))
    return public_text(key)


def read_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in *path*.

    Raises:
        NotFound: There is none.
        PluginError: It is no Ed25519 key, or others may read it.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found, data = os.stat(path), path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no key {str(path)!r}; make one: herald plugins key {path}") from None
    if os.name != "nt" and stat.S_IMODE(found.st_mode) & 0o077:
        raise PluginError(f"others may read the private key {str(path)!r}; chmod 600 it, or better make a new one")
    try:
        key = load_pem_private_key(data, None)
    except Exception as error:  # the library raises ValueError, TypeError and classes of its own
        raise PluginError(f"{str(path)!r} holds no private key: {type(error).__name__}; make one: herald plugins key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PluginError(f"{str(path)!r} holds a key of another kind; make one: herald plugins key")
    return key


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public half of *key* as ``lock_key`` of ``[plugins]`` states it."""
    return _PUBLIC + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def check_signature(path: Path, data: bytes, public: str) -> None:
    """Make sure that the owner of *public* signed *data*, the bytes of the lock *path*.

    Raises:
        PluginError: Nobody or somebody else signed it, or *public* is no key.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    kind, raw = public[: len(_PUBLIC)], public[len(_PUBLIC) :]
    try:
        if kind != _PUBLIC:
            raise ValueError(public)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(raw, validate=True))
    except (ValueError, binascii.Error) as error:
        raise PluginError(f"lock_key {public!r} is no public key; write what `herald plugins key` printed") from error
    seal = signature_of(path)
    try:
        signature = base64.b64decode(seal.read_bytes().strip(), validate=True)
    except FileNotFoundError:
        raise PluginError(f"{str(path)!r} is not signed, and the config asks for it; herald plugins lock --key FILE") from None
    except (OSError, ValueError) as error:
        raise PluginError(f"the signature {str(seal)!r} cannot be read; sign again: herald plugins lock --key FILE") from error
    try:
        key.verify(signature, data)
    except InvalidSignature:
        what = "the lock was changed after it was signed, or another key signed it"
        raise PluginError(f"the signature of {str(path)!r} is wrong: {what}; find out who changed it") from None
