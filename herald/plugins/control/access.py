"""Who may do what: API keys, roles, sessions, and how often anybody may ask.

A key is random, shown once, and kept as the SHA-256 of its secret: with 256 bits there is nothing to guess, so a slow hash
would protect nothing and make every request wait (OWASP ASVS 5.0, 6.5.2). A key that does not exist costs the same work as
one that does.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from herald.errors import HeraldError
from herald.utils.durable import replace_file
from herald.utils.rate_limiter import RateLimiterRegistry, TokenBucketRateLimiter

__all__ = ["KEYS_NAME", "ROLES", "SCOPES", "AccessError", "Caller", "Gatekeeper", "Key", "KeyFile", "Sessions", "make_key"]

KEYS_NAME = "control-keys.json"
"""The file in the state folder."""

SCOPES = {
    "read": "see the account, positions, orders, strategies, logs and runs",
    "metrics": "scrape the metrics",
    "orders": "place and change orders",
    "reduce": "withdraw orders and close positions",
    "strategies": "pause and resume strategies",
    "reconcile": "have the accounts compared with the books",
    "kill": "stop trading and close everything",
    "kill:reset": "let trading go on after a stop",
    "admin": "read settings again",
}
"""Everything that may be allowed, and what it means."""

ROLES: Mapping[str, frozenset[str]] = {
    "metrics": frozenset({"metrics"}),
    "viewer": frozenset({"read", "metrics"}),
    "trader": frozenset({"read", "metrics", "orders", "reduce", "strategies", "reconcile"}),
    "risk": frozenset({"read", "metrics", "reduce", "strategies", "reconcile", "kill", "kill:reset"}),
    "admin": frozenset(SCOPES),
}
"""What each role may do; whatever is not named is denied."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET = 43
"""Characters: 62 to the power of 43 is more than 2 to the power of 256."""
_IDLE_SECONDS, _LONGEST_SECONDS = 1_800.0, 43_200.0
_MOST_SESSIONS = 1_000
_FAILURES_A_MINUTE = 10


class AccessError(HeraldError):
    """A request is refused.

    Attributes:
        status: Of HTTP.
        code: Stable code.
        after: Seconds after which it may be tried again; 0 where that is not the trouble.
    """

    def __init__(self, status: int, code: str, text: str, after: float = 0.0) -> None:
        """Keep what the answer needs."""
        self.status = status
        self.code = code
        self.after = after
        super().__init__(text)


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One API key, without its secret.

    Attributes:
        id: Eight characters; part of the key.
        name: Who uses it; stands in the audit log.
        role: One of `ROLES`.
        hash: SHA-256 of the secret, hexadecimal.
        created: Nanoseconds UTC.
        expires: The same; 0 for never.
        networks: From where it may be used, such as ``10.0.0.0/8``; empty for anywhere.
        revoked: When it was taken back, nanoseconds UTC; 0 where it was not.
    """

    id: str
    name: str
    role: str
    hash: str
    created: int
    expires: int = 0
    networks: tuple[str, ...] = ()
    revoked: int = 0


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as far as it is known.

    Attributes:
        id: Of the key, or of the session's key.
        name: Of the key.
        role: Of the key.
        scopes: What it may do.
    """

    id: str
    name: str
    role: str
    scopes: frozenset[str]


def make_key(kind: str) -> tuple[str, str, str]:
    """Return a new key as it is shown once, its id, and the hash of its secret.

    Args:
        kind: ``live`` where real money is at stake, ``test`` otherwise; a person sees it at the key.
    """
    name = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET))
    body = f"hrld_{kind}_{name}_{secret}"
    return f"{body}_{zlib.crc32(body.encode()):08x}", name, hashlib.sha256(secret.encode()).hexdigest()


def _parse(text: str) -> tuple[str, str] | None:
    """Return (id, secret) of a key; None where it is none, which its checksum tells."""
    body, _, checksum = text.rpartition("_")
    parts = body.split("_")
    if len(text) > 100 or len(parts) != 4 or parts[0] != "hrld" or not text.isascii():
        return None
    if not hmac.compare_digest(f"{zlib.crc32(body.encode()):08x}", checksum):
        return None
    return parts[2], parts[3]


class KeyFile:
    """The keys of one state folder; every change by anybody is noticed with the next question."""

    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        """Read *path* when asked; *now* tells nanoseconds UTC."""
        self.path = path
        self._now = now
        self._seen: tuple[int, int] | None = (-1, -1)
        self._keys: dict[str, Key] = {}

    def keys(self) -> Sequence[Key]:
        """Return every key, oldest first.

        Raises:
            AccessError: The file cannot be used; then nobody gets in.
        """
        return list(self._read().values())

    def find(self, name: str) -> Key | None:
        """Return the key with the id *name*."""
        return self._read().get(name)

    def add(self, name: str, role: str, kind: str, seconds: float | None = None, networks: Sequence[str] = ()) -> tuple[str, Key]:
        """Make a key and return it as it is shown once, and as it is kept.

        Raises:
            AccessError: The role or a network is none, or the file cannot be written.
        """
        if role not in ROLES:
            raise AccessError(422, "unknown_role", f"there is no role {role!r}; there are: {', '.join(ROLES)}")
        for network in networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise AccessError(422, "invalid_network", f"{network!r} is no network: {error}; write 10.0.0.0/8") from error
        text, own, digest = make_key(kind)
        created = self._now()
        key = Key(own, name, role, digest, created, 0 if seconds is None else created + round(seconds * 1e9), tuple(networks))
        self._write({**self._read(), own: key})
        return text, key

    def revoke(self, which: str) -> Key:
        """Take the key with the id or name *which* back.

        Raises:
            AccessError: There is none, or several have the name.
        """
        keys = self._read()
        found = [one for one in keys.values() if which in (one.id, one.name) and not one.revoked]
        if len(found) != 1:
            what = f"there is no key {which!r} in use" if not found else f"{len(found)} keys are called {which!r}; give the id"
            raise AccessError(404, "unknown_key", f"{what}; see herald control keys list")
        key = msgspec.structs.replace(found[0], revoked=self._now())
        self._write({**keys, key.id: key})
        return key

    def _read(self) -> dict[str, Key]:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            self._seen, self._keys = None, {}
            return self._keys
        seen = found.st_mtime_ns, found.st_size
        if seen != self._seen:
            if sys.platform != "win32" and (found.st_mode & 0o077 or found.st_uid not in (os.geteuid(), 0)):
                what = f"{str(self.path)!r} is not for its owner alone: chmod 600 it"
                raise AccessError(503, "keys_exposed", what)
            try:
                listed = msgspec.json.decode(self.path.read_bytes(), type=list[Key])
            except (OSError, ValueError) as error:
                raise AccessError(503, "keys_unreadable", f"{str(self.path)!r} cannot be read: {error}") from error
            self._seen, self._keys = seen, {one.id: one for one in listed}
        return self._keys

    def _write(self, keys: Mapping[str, Key]) -> None:
        text = json.dumps([msgspec.to_builtins(one) for one in keys.values()], indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, text.encode() + b"\n")
        except OSError as error:
            raise AccessError(503, "keys_unwritable", f"{str(self.path)!r} cannot be written: {error.strerror}") from error


class _Session(msgspec.Struct):
    caller: Caller
    csrf: str
    key_hash: str
    began: float
    seen: float


class Sessions:
    """Who is logged in to the dashboard; they end with the server."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Start with nobody."""
        self._monotonic = monotonic
        self._sessions: dict[str, _Session] = {}

    def begin(self, caller: Caller, key_hash: str) -> tuple[str, str]:
        """Return (token of the cookie, token against forged requests) of a new session."""
        now = self._monotonic()
        self._sessions = {name: one for name, one in self._sessions.items() if not self._is_over(one, now)}
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        # Only the hash is kept: whoever reads the memory of the process cannot use a session.
        self._sessions[_digest(token)] = _Session(caller, csrf, key_hash, now, now)
        return token, csrf

    def find(self, token: str) -> tuple[Caller, str, str] | None:
        """Return (caller, token against forged requests, hash of its key) of a session that goes on."""
        session = self._sessions.get(_digest(token))
        now = self._monotonic()
        if session is None or self._is_over(session, now):
            return None
        session.seen = now
        return session.caller, session.csrf, session.key_hash

    def end(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(token), None)

    @staticmethod
    def _is_over(session: _Session, now: float) -> bool:
        return now - session.seen > _IDLE_SECONDS or now - session.began > _LONGEST_SECONDS


class Gatekeeper:
    """Turns a key or a session into a `Caller`, or refuses."""

    def __init__(
        self,
        keys: KeyFile,
        sessions: Sessions,
        *,
        local: Key | None,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        requests_per_minute: int,
        is_open: bool = False,
    ) -> None:
        """Ask these.

        Args:
            keys: Of the state folder.
            sessions: Of the dashboard.
            local: The key of whoever owns the state folder, made anew for every run.
            now: Tells nanoseconds UTC.
            monotonic: Tells seconds.
            requests_per_minute: Of one key.
            is_open: Other machines reach the server: then a key is good only where it names the networks of who has it.
        """
        self._is_open = is_open
        self._keys = keys
        self.sessions = sessions
        self._local = local
        self._now = now
        self._rates = RateLimiterRegistry(
            lambda key: TokenBucketRateLimiter(requests_per_minute / 60.0, requests_per_minute, clock=monotonic), max_size=4_096
        )
        self._failures = RateLimiterRegistry(
            lambda key: TokenBucketRateLimiter(_FAILURES_A_MINUTE / 60.0, _FAILURES_A_MINUTE, clock=monotonic), max_size=4_096
        )

    def by_key(self, text: str, address: str) -> tuple[Caller, str]:
        """Return who has the key *text*, and the hash of its secret.

        Raises:
            AccessError: 401 for a key that is not good, 403 from elsewhere than it may be used, 429 after too many bad ones.
        """
        wait = self._failures.get(address).wait_time()
        if wait > 0:
            raise AccessError(429, "too_many_failures", "too many keys that are not good came from there; wait", wait)
        parsed = _parse(text)
        name, secret = parsed or ("", "")
        key = self._local if self._local is not None and self._local.id == name else self._keys.find(name)
        # The same work for a key that there is not: how long the answer takes must not tell which ids there are.
        given = hashlib.sha256(secret.encode()).hexdigest()
        is_right = hmac.compare_digest(given, key.hash if key is not None else "0" * 64)
        if key is None or not is_right:
            self._failures.allow_request(address)
            raise AccessError(401, "wrong_key", "the key is not good; make one: herald control keys add")
        if key.revoked:
            raise AccessError(401, "revoked_key", f"the key {key.id} was taken back; make another")
        if key.expires and self._now() >= key.expires:
            raise AccessError(401, "expired_key", f"the key {key.id} has expired; make another")
        self._check_place(key, address)
        return Caller(key.id, key.name, key.role, ROLES.get(key.role, frozenset())), key.hash

    def _check_place(self, key: Key, address: str) -> None:
        if key.networks and not _is_within(address, key.networks):
            raise AccessError(403, "wrong_network", f"the key {key.id} may not be used from there")
        if self._is_open and not key.networks and key is not self._local:
            what = f"the key {key.id} names no network, and other machines reach this server"
            raise AccessError(403, "unbound_key", f"{what}; make another: herald control keys add --from NETWORK")

    def by_session(self, token: str, address: str) -> tuple[Caller, str]:
        """Return who is logged in, and the token that a request which changes something must repeat.

        Raises:
            AccessError: 401 where the session is over, or its key is not good any more; 403 from elsewhere than it may be used.
        """
        found = self.sessions.find(token)
        if found is not None:
            caller, csrf, key_hash = found
            is_local = self._local is not None and self._local.id == caller.id
            key = self._local if is_local else self._keys.find(caller.id)
            if key is not None and key.hash == key_hash and not key.revoked and not (key.expires and self._now() >= key.expires):
                self._check_place(key, address)
                return caller, csrf
        raise AccessError(401, "logged_out", "the session is over; log in again")

    def count(self, caller: Caller) -> None:
        """Count one request.

        Raises:
            AccessError: 429 where the key asks too often.
        """
        limiter = self._rates.get(caller.id)
        if not limiter.allow_request():
            wait = limiter.wait_time()
            raise AccessError(429, "too_many_requests", f"the key {caller.id} asks too often; wait", max(wait, 0.001))


def _is_within(address: str, networks: Sequence[str]) -> bool:
    try:
        own = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(own in ipaddress.ip_network(network) for network in networks)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
