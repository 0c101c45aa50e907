"""A file of secrets: names can be read, values only with a pass-phrase or a key.

Every value is encrypted with a random key of its own (AES-256-GCM), which is kept encrypted with the key of the vault; see
docs/secrets.md. A vault has one key, and two while it is changed from one to another. The file is four lines: what it is, its
content as JSON, an HMAC-SHA256 over both, and a checksum, which tells a damaged file from a wrong pass-phrase.

What this cannot do: an old copy of the whole file passes for the new one, lengths of values can be seen, and Python cannot
promise to wipe a value from memory.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import re
import secrets
import stat
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from herald.clock import Clock, WallClock
from herald.errors import SecretError, WaitTimeout
from herald.utils.durable import sync_folder
from herald.utils.file_lock import FileLock
from herald.utils.redaction import protect

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

__all__ = [
    "Kdf",
    "SecretInfo",
    "Vault",
    "VaultKey",
    "has_argon2id",
    "make_key_file",
    "parse_key",
    "read_key_file",
    "read_private",
]

Kdf = Literal["argon2id", "scrypt", "key"]
"""How the key of a vault is made: of a pass-phrase in two ways, or of a key file."""

_MAGIC = b"herald-vault 1\n"
_MAC, _SUM = b"hmac ", b"sha256 "
_DIGEST = 64
"""Hexadecimal digits of a SHA-256."""
_KEY, _NONCE, _TAG, _SALT = 32, 12, 16, 16
"""Bytes. A key of AES-256, and what NIST SP 800-38D recommends for GCM."""
_WRAPPED = _NONCE + _KEY + _TAG
_LARGEST = 16_000_000
"""Bytes of a vault; a thousand secrets of a kilobyte are a tenth of it."""
_LONGEST = 65_536
"""Bytes of one secret."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")
_COSTS: dict[Kdf, tuple[int, int, int]] = {"argon2id": (65_536, 3, 4), "scrypt": (2**17, 8, 1), "key": (0, 0, 0)}
"""Of new vaults: the second choice of RFC 9106 (KiB, passes, lanes), and the least N, r and p of OWASP's password storage cheat
sheet; 64 and 128 MiB, and less than a second."""
_LEAST = _COSTS | {"argon2id": (19_456, 2, 1)}
"""The same cheat sheet's least; a file that asks for less was edited."""
_MOST: dict[Kdf, tuple[int, int, int]] = {"argon2id": (2**19, 16, 16), "scrypt": (2**19, 16, 4), "key": (0, 0, 0)}
_MOST_MEMORY = 2**29
"""Bytes. What a file may ask for, so that an edited one cannot use up the memory before its HMAC is checked."""
_WAIT_SECONDS = 10.0


class SecretInfo(msgspec.Struct, frozen=True):
    """What may be told about a secret.

    Attributes:
        name: What ``secret:NAME`` says.
        version: 1 at first, one more with every change.
        changed: When it was set, nanoseconds UTC.
        expires: When it should have been replaced, nanoseconds UTC; None if never.
    """

    name: str
    version: int
    changed: int
    expires: int | None


class _Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key that opens the vault."""

    id: str
    kdf: Kdf
    salt: bytes
    n: int
    """N of scrypt; KiB of Argon2id. All three are 0 for a key file."""
    r: int
    """Size of scrypt's blocks; passes of Argon2id."""
    p: int
    """Lanes, of both."""
    made: int
    seal: bytes
    """The key of the HMAC, encrypted."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One secret."""

    version: int
    changed: int
    expires: int | None
    wraps: dict[str, bytes]
    """Its own key, encrypted with the key of each slot, by slot."""
    data: bytes


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vault: str
    """At random, so that nothing can be moved here from another vault."""
    revision: int
    slots: tuple[_Slot, ...]
    entries: dict[str, _Entry]


class VaultKey:
    """A pass-phrase or a key that opens vaults; it is never shown."""

    def __init__(self, kdf: Kdf, material: bytes) -> None:
        """Use `from_passphrase` or `from_bytes`."""
        self.kdf = kdf
        """How it opens a vault that is made with it; a pass-phrase opens those of the other kind as well."""
        self._material = material
        self._derived: dict[tuple[Kdf, bytes, int, int, int], bytes] = {}

    @classmethod
    def from_passphrase(cls, text: str, kdf: Literal["argon2id", "scrypt"] | None = None) -> VaultKey:
        """Return the key that a person types; the same letters count as the same, however they were composed.

        Args:
            text: What is typed.
            kdf: How new vaults make a key of it: Argon2id where this machine has it, unless stated.

        Raises:
            SecretError: It is empty, or this machine does not have that *kdf*.
        """
        if not text:
            raise SecretError("the pass-phrase is empty; give one")
        if kdf == "argon2id" and not has_argon2id():
            raise SecretError(f"{_NO_ARGON2ID}; take scrypt, or {_WITH_ARGON2ID}")
        material = unicodedata.normalize("NFKC", text).encode("utf-8", "surrogatepass")
        return cls(kdf or ("argon2id" if has_argon2id() else "scrypt"), material)

    @classmethod
    def from_bytes(cls, key: bytes) -> VaultKey:
        """Return the key that *key*, 32 random bytes, is.

        Raises:
            SecretError: It has another length.
        """
        if len(key) != _KEY:
            raise SecretError(f"a key of a vault has {_KEY} bytes, not {len(key)}; make one: herald secrets init --key-file FILE")
        return cls("key", key)

    def __repr__(self) -> str:
        """Return what kind it is."""
        return f"VaultKey({self.kdf})"

    def __reduce__(self) -> str:
        """Refuse to be pickled."""
        raise SecretError("a key of a vault is not written anywhere")

    def opens(self, kdf: Kdf) -> bool:
        """Return whether it is of the kind, pass-phrase or key, that a vault with this *kdf* is opened with."""
        return (self.kdf == "key") == (kdf == "key")

    def derive(self, kdf: Kdf, salt: bytes, n: int, r: int, p: int) -> bytes:
        """Return the 32 bytes that encrypt in one vault; of a pass-phrase slow at first, remembered afterwards.

        Raises:
            SecretError: It takes Argon2id, which this machine does not have.
        """
        place = kdf, salt, n, r, p
        if place not in self._derived:
            if kdf == "scrypt":
                memory = 128 * r * (n + p + 2) + 2**20
                self._derived[place] = hashlib.scrypt(self._material, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=_KEY)
            elif kdf == "argon2id":
                self._derived[place] = _argon2id(salt, n, r, p).derive(self._material)
            else:  # it is random already: one step of HKDF (RFC 5869) makes it this vault's
                self._derived[place] = hmac.digest(self._material, b"herald-vault 1 key\0" + salt, "sha256")
        return self._derived[place]


_NO_ARGON2ID = "this machine's build of cryptography has no Argon2id"
_WITH_ARGON2ID = "install one with OpenSSL 3.2 or later"


def has_argon2id() -> bool:
    """Return whether this machine can make keys with Argon2id."""
    try:
        _argon2id(bytes(_SALT), *_COSTS["argon2id"])
    except SecretError:
        return False
    return True


def _argon2id(salt: bytes, memory: int, passes: int, lanes: int) -> Argon2id:
    """Return the key derivation of RFC 9106, which takes its *memory*, KiB, when it is used."""
    try:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        return Argon2id(salt=salt, length=_KEY, iterations=passes, lanes=lanes, memory_cost=memory)
    except (ImportError, UnsupportedAlgorithm) as error:
        raise SecretError(f"{_NO_ARGON2ID}; {_WITH_ARGON2ID}") from error


class Vault:
    """An open vault; every change is on disk, whole, before the method returns.

    Several processes may use one vault: whoever changes it holds its lock and reads it anew first.
    """

    def __init__(self, path: Path, *keys: VaultKey, clock: Clock | None = None) -> None:
        """Open the vault at *path* with whichever of *keys* fits.

        Raises:
            SecretError: There is none, others may read it, it is damaged, or no key fits.
        """
        self.path = path
        self._keys = keys
        self._clock = clock or WallClock()
        self._body, self._open, self._mac_key = self._read()

    @classmethod
    def create(cls, path: Path, key: VaultKey, clock: Clock | None = None) -> Vault:
        """Write an empty vault to *path*, for its owner alone, and open it.

        Raises:
            SecretError: There is a file already, or it cannot be written.
        """
        clock = clock or WallClock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SecretError(f"the folder of the vault {str(path)!r} cannot be made: {error.strerror or error}") from error
        with _locked(path, clock):
            if os.path.lexists(path):
                raise SecretError(f"{str(path)!r} is there already, and a vault is never overwritten; name another file")
            body = _Body(secrets.token_hex(16), 1, (), {})
            mac_key = secrets.token_bytes(_KEY)
            body = msgspec.structs.replace(body, slots=(_new_slot(body.vault, key, mac_key, clock.now()),))
            _write(path, _encode(body, mac_key))
        return cls(path, key, clock=clock)

    # --- reading ----------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        """Return whether there is a secret called *name*."""
        return name in self._body.entries

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self._body.entries)

    def info(self, name: str) -> SecretInfo:
        """Return what may be told about a secret.

        Raises:
            SecretError: There is none of that name.
        """
        entry = self._entry(name)
        return SecretInfo(name, entry.version, entry.changed, entry.expires)

    def get(self, name: str) -> str:
        """Return a secret.

        Raises:
            SecretError: There is none of that name, or it was tampered with.
        """
        entry = self._entry(name)
        key = self._unwrap(name, entry)
        return _decrypt(key, entry.data, _bound("value", self._body.vault, name, entry.version), self.path).decode()

    @property
    def keys(self) -> tuple[tuple[str, Kdf, int], ...]:
        """(id, how it is made, when that was in nanoseconds UTC) of every key that opens the vault, oldest first."""
        return tuple((one.id, one.kdf, one.made) for one in self._body.slots)

    @property
    def opened_by(self) -> tuple[str, ...]:
        """The ids of the keys in hand."""
        return tuple(self._open)

    # --- changing ---------------------------------------------------------------------------------

    def set(self, name: str, value: str, expires: int | None = None) -> None:
        """Keep *value* under *name*, in place of what was there.

        Args:
            name: Letters, digits, ``_``, ``.`` and ``-``, a letter first.
            value: At most 64 KiB of text.
            expires: When it should have been replaced, nanoseconds UTC.

        Raises:
            SecretError: It is no name or no value, only one of two keys is in hand, or the vault cannot be written.
        """
        self.update({name: value}, expires)

    def update(self, values: dict[str, str], expires: int | None = None) -> None:
        """Keep all *values*, by name, or none; see `set`."""
        for name, value in values.items():
            if not _NAME.fullmatch(name):
                raise SecretError(f"{name!r} is no name of a secret; use letters, digits, _ . and -, a letter first, at most 128")
            if not value:
                raise SecretError(f"the value of {name} is empty; give one, or: herald secrets remove {name}")
            try:
                size = len(value.encode())
            except UnicodeEncodeError:
                raise SecretError(f"the value of {name} is not text in UTF-8") from None
            if size > _LONGEST:
                raise SecretError(f"the value of {name} has {size} bytes; at most {_LONGEST} are kept")

        def change(body: _Body) -> _Body:
            if len(self._open) < len(body.slots):
                what = "its key is being changed, and a new value needs both the old key and the new one"
                raise SecretError(f"the vault {str(self.path)!r} cannot take values: {what}; herald secrets rotate --finish")
            entries = dict(body.entries)
            for name, value in values.items():
                version = entries[name].version + 1 if name in entries else 1
                key = secrets.token_bytes(_KEY)
                wraps = {one: _wrap(kek, key, body.vault, one, name, version) for one, kek in self._open.items()}
                data = _encrypt(key, value.encode(), _bound("value", body.vault, name, version))
                entries[name] = _Entry(version, self._clock.now(), expires, wraps, data)
            return msgspec.structs.replace(body, entries=dict(sorted(entries.items())))

        self._change(change)

    def remove(self, name: str) -> None:
        """Forget a secret.

        Raises:
            SecretError: There is none of that name, or the vault cannot be written.
        """

        def change(body: _Body) -> _Body:
            self._entry(name)
            return msgspec.structs.replace(body, entries={one: entry for one, entry in body.entries.items() if one != name})

        self._change(change)

    def add_key(self, key: VaultKey) -> str:
        """Let *key* open the vault as well, and return its id; values are not written anew, only their keys.

        Raises:
            SecretError: Two keys open it already, or the vault cannot be written.
        """
        added = ""

        def change(body: _Body) -> _Body:
            nonlocal added
            if len(body.slots) > 1:
                raise SecretError(f"two keys open the vault {str(self.path)!r} already; first: herald secrets rotate --finish")
            slot = _new_slot(body.vault, key, self._mac_key, self._clock.now())
            kek = _derived(key, slot)
            entries = {}
            for name, entry in body.entries.items():
                wrap = _wrap(kek, self._unwrap(name, entry), body.vault, slot.id, name, entry.version)
                entries[name] = msgspec.structs.replace(entry, wraps=entry.wraps | {slot.id: wrap})
            self._open[slot.id] = kek
            self._keys += (key,)
            added = slot.id
            return msgspec.structs.replace(body, slots=(*body.slots, slot), entries=entries)

        self._change(change)
        return added

    def retire_keys(self) -> tuple[str, ...]:
        """Let nothing but the newest key open the vault, and return the ids of those that no longer do.

        Raises:
            SecretError: The newest key is not in hand, or the vault cannot be written.
        """
        retired: tuple[str, ...] = ()

        def change(body: _Body) -> _Body:
            nonlocal retired
            *old, newest = body.slots
            if newest.id not in self._open:
                raise SecretError(f"the newest key of the vault {str(self.path)!r} is not in hand; open it with that one")
            retired = tuple(one.id for one in old)
            # Who had an old key knew what the HMAC is made with as well.
            self._mac_key = secrets.token_bytes(_KEY)
            self._open = {newest.id: self._open[newest.id]}
            seal = _encrypt(self._open[newest.id], self._mac_key, _slot_bound(body.vault, newest))
            slot = msgspec.structs.replace(newest, seal=seal)
            entries = {
                name: msgspec.structs.replace(entry, wraps={newest.id: entry.wraps[newest.id]})
                for name, entry in body.entries.items()
            }
            return msgspec.structs.replace(body, slots=(slot,), entries=entries)

        self._change(change)
        return retired

    # --- inside -----------------------------------------------------------------------------------

    def _entry(self, name: str) -> _Entry:
        entry = self._body.entries.get(name)
        if entry is None:
            raise SecretError(f"the vault {str(self.path)!r} has no secret {name!r}; herald secrets list")
        return entry

    def _unwrap(self, name: str, entry: _Entry) -> bytes:
        slot, kek = next(iter(self._open.items()))
        return _decrypt(kek, entry.wraps[slot], _bound("key", self._body.vault, slot, name, entry.version), self.path)

    def _change(self, change: Callable[[_Body], _Body]) -> None:
        with _locked(self.path, self._clock):
            self._body, self._open, self._mac_key = self._read(every=True)
            try:
                body = change(self._body)
                body = msgspec.structs.replace(body, revision=body.revision + 1)
                data = _encode(body, self._mac_key)
                if len(data) > _LARGEST:
                    raise SecretError(f"the vault {str(self.path)!r} would be larger than {_LARGEST} bytes; remove some")
                _write(self.path, data)
            except BaseException:
                # Whatever is on disk now is whole, the old one or the new one; what is in memory must be the same.
                with contextlib.suppress(SecretError):
                    self._body, self._open, self._mac_key = self._read()
                raise
            self._body = body

    def _read(self, *, every: bool = False) -> tuple[_Body, dict[str, bytes], bytes]:
        """Return the content, what each key in hand encrypts with, by slot, and the key of the HMAC.

        Unless *every* slot is tried, a pass-phrase is tried only until it fits once: each takes its second.
        """
        data = read_private(self.path, "vault", _LARGEST)
        body, signed, mac = _parse(data, self.path)
        opened: dict[str, bytes] = {}
        mac_key, lacking = b"", ""
        for key in self._keys:
            for slot in body.slots:
                if slot.id in opened or not key.opens(slot.kdf):
                    continue
                try:
                    kek = _derived(key, slot)
                    mac_key = AESGCM(kek).decrypt(slot.seal[:_NONCE], slot.seal[_NONCE:], _slot_bound(body.vault, slot))
                except SecretError as error:
                    lacking = str(error)
                    continue
                except InvalidTag:
                    continue
                opened[slot.id] = kek
                if not every:
                    break
        if not opened:
            needs = " or ".join(sorted({"a key file" if one.kdf == "key" else "a pass-phrase" for one in body.slots}))
            fits = any(key.opens(slot.kdf) for key in self._keys for slot in body.slots)
            what = "the pass-phrase or key is not the right one" if fits else f"it is opened with {needs}"
            raise SecretError(f"the vault {str(self.path)!r} cannot be opened: {lacking or what}")
        if not hmac.compare_digest(hmac.digest(mac_key, signed, "sha256"), mac):
            raise _damaged(self.path, "it was changed by somebody without its key")
        return body, opened, mac_key


def read_private(path: Path, what: str, most: int = 10_000, *, is_lent: bool = False) -> bytes:
    """Return the content of a file that nobody but its owner may read.

    Args:
        path: The file.
        what: What it is, for messages, such as "key file".
        most: Bytes.
        is_lent: The system made it, as systemd does: it may belong to root, and to a group that lets its owner in.

    Raises:
        SecretError: There is none, it is a link, others may read or replace it, or it is too large.
    """
    name = f"the {what} {str(path)!r}"
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise SecretError(f"{name} is no file; correct the path")
            data = file.read(most + 1)
        folder = os.stat(path.parent)
    except FileNotFoundError:
        raise SecretError(f"{name} is not there; correct the path") from None
    except OSError as error:
        told = "it is a link; name the file itself" if error.errno == errno.ELOOP else error.strerror or str(error)
        raise SecretError(f"{name} cannot be read: {told}") from error
    if sys.platform != "win32":
        if stat.S_IMODE(found.st_mode) & (0o007 if is_lent else 0o077):
            raise SecretError(f"others may read {name}; chmod 600 it, and replace what is in it if they could have read it")
        if found.st_uid != os.geteuid() and not is_lent:
            raise SecretError(f"{name} belongs to another user; chown it to the one that runs Herald")
        if folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX:
            raise SecretError(f"others may replace {name}; chmod 700 its folder {str(path.parent)!r}")
    if len(data) > most:
        raise SecretError(f"{name} is larger than {most} bytes; it is none")
    return data


def read_key_file(path: Path) -> VaultKey:
    """Return the key in the file *path*: 64 hexadecimal digits, for its owner alone.

    Raises:
        SecretError: It is no key, or others may read it.
    """
    return parse_key(read_private(path, "key file"), path)


def parse_key(data: bytes, path: Path) -> VaultKey:
    """Return the key that *data*, the content of *path*, is.

    Raises:
        SecretError: It is not 64 hexadecimal digits.
    """
    text = data.strip()
    if not re.fullmatch(rb"[0-9a-fA-F]{64}", text):
        raise SecretError(f"{str(path)!r} holds no key: 64 hexadecimal digits; make one: herald secrets init --key-file FILE")
    protect(text.decode())
    return VaultKey.from_bytes(bytes.fromhex(text.decode()))


def make_key_file(path: Path) -> VaultKey:
    """Write a new key to *path*, for its owner alone, and return it.

    Raises:
        SecretError: There is a file already, or it cannot be written.
    """
    key = secrets.token_bytes(_KEY)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except FileExistsError:
        raise SecretError(f"{str(path)!r} is there already, and a key is never overwritten; name another file") from None
    except OSError as error:
        raise SecretError(f"the key file {str(path)!r} cannot be written: {error.strerror or error}") from error
    return VaultKey.from_bytes(key)


# --- the file -------------------------------------------------------------------------------------


def _encode(body: _Body, mac_key: bytes) -> bytes:
    signed = _MAGIC + msgspec.json.encode(body) + b"\n"
    lines = signed + _MAC + hmac.digest(mac_key, signed, "sha256").hex().encode() + b"\n"
    return lines + _SUM + hashlib.sha256(lines).hexdigest().encode() + b"\n"


def _parse(data: bytes, path: Path) -> tuple[_Body, bytes, bytes]:
    """Return the content of a vault, the bytes that its HMAC covers, and the HMAC.

    Raises:
        SecretError: It is not, byte for byte, what some version of a vault looks like.
    """
    if not data.startswith(_MAGIC):
        if re.match(rb"herald-vault [0-9]+\n", data):
            raise SecretError(f"the vault {str(path)!r} is of another version of Herald; use that one")
        raise _damaged(path, "it does not begin as a vault does")
    lines, checksum = data[: -len(_SUM) - _DIGEST - 1], data[-len(_SUM) - _DIGEST - 1 :]
    if checksum != _SUM + hashlib.sha256(lines).hexdigest().encode() + b"\n":
        raise _damaged(path, "it was cut off, edited, or the disk is failing")
    signed, mac = lines[: -len(_MAC) - _DIGEST - 1], lines[-len(_MAC) - _DIGEST - 1 :]
    digits = mac[len(_MAC) : -1]
    if not (mac.startswith(_MAC) and mac.endswith(b"\n") and re.fullmatch(rb"[0-9a-f]{64}", digits)):
        raise _damaged(path, "it was edited")
    text = signed[len(_MAGIC) : -1]
    try:
        body = msgspec.json.decode(text, type=_Body)
        is_same = signed == _MAGIC + msgspec.json.encode(body) + b"\n"
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise _damaged(path, "it was edited") from None
    if not is_same or not _is_sound(body):
        raise _damaged(path, "it was edited")
    return body, signed, bytes.fromhex(digits.decode())


def _is_sound(body: _Body) -> bool:
    """Return whether a content is one that a vault can have."""
    ids = [slot.id for slot in body.slots]
    if not (1 <= len(ids) <= 2 and len(set(ids)) == len(ids)):
        return False
    for slot in body.slots:
        if len(slot.salt) != _SALT or len(slot.seal) != _WRAPPED:
            return False
        costs = zip(_LEAST[slot.kdf], (slot.n, slot.r, slot.p), _MOST[slot.kdf], strict=True)
        if not all(least <= cost <= most for least, cost, most in costs):
            return False
        if slot.kdf == "scrypt" and (slot.n.bit_count() != 1 or 128 * slot.n * slot.r > _MOST_MEMORY):
            return False
    return all(
        _NAME.fullmatch(name) is not None
        and entry.version >= 1
        and list(entry.wraps) == ids
        and all(len(wrap) == _WRAPPED for wrap in entry.wraps.values())
        and len(entry.data) > _NONCE + _TAG
        for name, entry in body.entries.items()
    )


def _damaged(path: Path, what: str) -> SecretError:
    return SecretError(f"the vault {str(path)!r} is damaged: {what}; bring back a copy")


@contextlib.contextmanager
def _locked(path: Path, clock: Clock) -> Iterator[None]:
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(clock, _WAIT_SECONDS)
    except WaitTimeout as error:
        raise SecretError(f"the vault is in use: {error}") from error
    except OSError as error:
        raise SecretError(f"the vault {str(path)!r} cannot be changed: {error.strerror or error}") from error
    with lock:
        yield


def _write(path: Path, data: bytes) -> None:
    """Replace *path* by *data*; hold its lock. Whenever this is interrupted, the old file or the new one is there, whole."""
    partial = path.with_name(path.name + ".tmp")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)  # of somebody who was interrupted
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        raise SecretError(f"the vault {str(path)!r} cannot be written: {error.strerror or error}; nothing is lost") from error


# --- keys -----------------------------------------------------------------------------------------


def _new_slot(vault: str, key: VaultKey, mac_key: bytes, now: int) -> _Slot:
    slot = _Slot(secrets.token_hex(8), key.kdf, secrets.token_bytes(_SALT), *_COSTS[key.kdf], now, b"")
    kek = _derived(key, slot)
    return msgspec.structs.replace(slot, seal=_encrypt(kek, mac_key, _slot_bound(vault, slot)))


def _derived(key: VaultKey, slot: _Slot) -> bytes:
    return key.derive(slot.kdf, slot.salt, slot.n, slot.r, slot.p)


def _slot_bound(vault: str, slot: _Slot) -> bytes:
    return _bound("slot", vault, slot.id, slot.kdf, slot.salt.hex(), slot.n, slot.r, slot.p, slot.made)


def _bound(*parts: str | int) -> bytes:
    """Return the associated data: what a ciphertext belongs to, so that it cannot be moved elsewhere."""
    return msgspec.json.encode(("herald-vault 1", *parts))


def _wrap(kek: bytes, key: bytes, vault: str, slot: str, name: str, version: int) -> bytes:
    return _encrypt(kek, key, _bound("key", vault, slot, name, version))


def _encrypt(key: bytes, data: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, bound)


def _decrypt(key: bytes, data: bytes, bound: bytes, path: Path) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], bound)
    except InvalidTag:
        raise _damaged(path, "a value in it is not what was encrypted for this place") from None
