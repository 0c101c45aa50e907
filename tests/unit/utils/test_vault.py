"""The vault: nothing can be read or changed without its key, and nothing is lost, whenever a change is interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf import argon2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herald.errors import SecretError
from herald.testing import FakeClock
from herald.utils import vault as module
from herald.utils.file_lock import FileLock
from herald.utils.vault import Vault, VaultKey, make_key_file, read_key_file, read_private

KEY = bytes(range(32))
VALUES = {"mt5_password": "wrong-horse", "api.key": "secret ünï\n", "Z": "x"}

posix = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")


@pytest.fixture(autouse=True)
def _cheap(request: pytest.FixtureRequest) -> None:
    """Take no second for each key, except where the cost itself is looked at."""
    if "costs_an_attacker" not in request.node.name and "as_its_authors_do" not in request.node.name:
        request.getfixturevalue("cheap_keys")


def without_argon2id(patch: pytest.MonkeyPatch, *, is_old: bool = False) -> None:
    """Be a machine whose cryptography is linked to a library without it, or is too old to know it."""

    def refuse(**options: Any) -> None:
        raise UnsupportedAlgorithm("This version of OpenSSL does not support argon2id")

    if is_old:
        patch.delattr(argon2, "Argon2id")
    else:
        patch.setattr(argon2, "Argon2id", refuse)


def key_of(kdf: str, phrase: str = "secret-phrase") -> VaultKey:
    if kdf == "key":
        return VaultKey.from_bytes(KEY)
    return VaultKey.from_passphrase(phrase, "argon2id" if kdf == "argon2id" else "scrypt")


KDFS = ("key", "scrypt", "argon2id")


def filled(path: Path, key: VaultKey) -> Vault:
    vault = Vault.create(path, key, FakeClock(5))
    vault.update(VALUES)
    return vault


def contents(vault: Vault) -> dict[str, str]:
    return {name: vault.get(name) for name in vault.names()}


def resummed(data: bytes) -> bytes:
    """Return what somebody makes of a changed file who knows how the checksum is computed, and has no key."""
    lines = data[: -len("sha256 ") - 65]
    return lines + b"sha256 " + hashlib.sha256(lines).hexdigest().encode() + b"\n"


@pytest.mark.parametrize("kdf", KDFS)
def test_what_was_kept_is_read_by_whoever_has_the_key(tmp_path: Path, kdf: str) -> None:
    filled(tmp_path / "v", key_of(kdf))

    again = Vault(tmp_path / "v", key_of(kdf))

    assert [kdf] == [one for _, one, _ in again.keys]

    assert VALUES == contents(again)
    assert ["Z", "api.key", "mt5_password"] == again.names()
    assert "Z" in again
    assert "z" not in again
    data = (tmp_path / "v").read_bytes()
    assert [False] * 3 == [value.encode() in data for value in ("wrong-horse", "secret ünï", "secret-phrase")]
    assert b"mt5_password" in data


def test_a_change_counts_and_tells_when(tmp_path: Path) -> None:
    clock = FakeClock(7)
    vault = Vault.create(tmp_path / "v", VaultKey.from_bytes(KEY), clock)
    vault.set("a", "1")
    before = (tmp_path / "v").read_bytes()

    vault.set("a", "1", expires=99)

    info = vault.info("a")
    assert (2, clock.now(), 99) == (info.version, info.changed, info.expires)
    assert before != (tmp_path / "v").read_bytes()
    vault.remove("a")
    with pytest.raises(SecretError, match="has no secret 'a'; herald secrets list"):
        vault.get("a")
    with pytest.raises(SecretError, match="has no secret 'a'"):
        vault.remove("a")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("", "x", "is no name"),
        ("1a", "x", "is no name"),
        ("a b", "x", "is no name"),
        ("a" * 129, "x", "is no name"),
        ("a", "", "the value of a is empty"),
        ("a", "x" * 65_537, "has 65537 bytes"),
        ("a", "\ud800", "is not text in UTF-8"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_changes_nothing(tmp_path: Path, name: str, value: str, message: str) -> None:
    vault = filled(tmp_path / "v", VaultKey.from_bytes(KEY))
    before = (tmp_path / "v").read_bytes()

    with pytest.raises(SecretError, match=message):
        vault.update({"good": "x", name: value})

    assert before == (tmp_path / "v").read_bytes()


def test_a_vault_is_never_overwritten(tmp_path: Path) -> None:
    filled(tmp_path / "v", VaultKey.from_bytes(KEY))

    with pytest.raises(SecretError, match="never overwritten"):
        Vault.create(tmp_path / "v", VaultKey.from_bytes(KEY))


# --- who may open it


@pytest.mark.parametrize("kdf", ["scrypt", "argon2id"])
def test_a_wrong_key_is_told_from_a_damaged_file(tmp_path: Path, kdf: str) -> None:
    filled(tmp_path / "v", key_of(kdf))

    with pytest.raises(SecretError, match="cannot be opened: the pass-phrase or key is not the right one"):
        Vault(tmp_path / "v", VaultKey.from_passphrase("secret-phrasE"))
    with pytest.raises(SecretError, match="it is opened with a pass-phrase"):
        Vault(tmp_path / "v", VaultKey.from_bytes(KEY))
    with pytest.raises(SecretError, match="it is opened with a pass-phrase"):
        Vault(tmp_path / "v")


def test_letters_count_however_they_are_composed(tmp_path: Path) -> None:
    filled(tmp_path / "v", VaultKey.from_passphrase("secret-\u00e9"))

    assert VALUES == contents(Vault(tmp_path / "v", VaultKey.from_passphrase("secret-e\u0301")))


def test_a_key_shows_nothing_and_goes_nowhere() -> None:
    key = VaultKey.from_passphrase("secret-phrase")

    assert "VaultKey(argon2id)" == repr(key) == str(key)
    with pytest.raises(SecretError, match="not written anywhere"):
        pickle.dumps(key)
    with pytest.raises(SecretError, match="the pass-phrase is empty"):
        VaultKey.from_passphrase("")
    with pytest.raises(SecretError, match="32 bytes, not 31"):
        VaultKey.from_bytes(KEY[1:])


def test_a_pass_phrase_costs_an_attacker_a_second_and_the_owner_one_too(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    genuine, slow = hashlib.scrypt, argon2.Argon2id

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.hashlib, "scrypt", lambda password, **options: asked.append(options) or genuine(password, **options))
        patch.setattr(argon2, "Argon2id", lambda **options: asked.append(options) or slow(**options))
        for kdf in ("scrypt", "argon2id"):
            key = key_of(kdf)
            asked.clear()
            Vault.create(tmp_path / kdf, key)
            Vault(tmp_path / kdf, key)  # derived once: the vault was made a moment ago

            assert [COSTS[kdf]] == [{name: value for name, value in one.items() if name in COSTS[kdf]} for one in asked]

    assert b'"n":131072,"r":8,"p":1' in (tmp_path / "scrypt").read_bytes()
    assert b'"n":65536,"r":3,"p":4' in (tmp_path / "argon2id").read_bytes()


COSTS = {
    "scrypt": {"n": 131_072, "r": 8, "p": 1, "dklen": 32},
    "argon2id": {"memory_cost": 65_536, "iterations": 3, "lanes": 4, "length": 32},
}
"""RELIABILITY: what OWASP accepts at least of scrypt, and the second choice of RFC 9106."""


def test_argon2id_makes_keys_as_its_authors_do() -> None:
    # test.c of the reference implementation: version 0x13, t=2, m=2^16, p=1.
    found = VaultKey.from_passphrase("password").derive("argon2id", b"somesalt", 65_536, 2, 1)

    assert "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7" == found.hex()


@pytest.mark.parametrize("is_old", [False, True], ids=["library without it", "too old"])
def test_without_argon2id_scrypt_is_the_choice_and_its_vaults_are_refused_in_one_line(tmp_path: Path, is_old: bool) -> None:
    vault = filled(tmp_path / "v", key_of("argon2id"))
    with_both = filled(tmp_path / "w", key_of("scrypt", "secret-old"))
    with_both.add_key(key_of("argon2id"))

    with pytest.MonkeyPatch.context() as patch:
        without_argon2id(patch, is_old=is_old)
        key = VaultKey.from_passphrase("secret-phrase")
        with pytest.raises(SecretError, match="has no Argon2id; take scrypt, or install one with OpenSSL 3.2 or later$"):
            VaultKey.from_passphrase("secret-phrase", "argon2id")
        with pytest.raises(SecretError, match=r"the vault .* cannot be opened: .* has no Argon2id; install one") as caught:
            Vault(vault.path, key)
        filled(tmp_path / "new", key)
        found = contents(Vault(with_both.path, VaultKey.from_passphrase("secret-old")))

    assert 1 == len(str(caught.value).splitlines())
    assert ["scrypt"] == [kdf for _, kdf, _ in Vault(tmp_path / "new", key_of("argon2id")).keys]  # old ones still open
    assert VALUES == contents(Vault(tmp_path / "new", key_of("argon2id"))) == found


# --- what happened to the file


@pytest.mark.parametrize("repaired", [False, True], ids=["as it is", "checksum mended"])
@pytest.mark.parametrize("kdf", KDFS)
def test_every_flipped_bit_is_found(tmp_path: Path, kdf: str, repaired: bool) -> None:
    key = key_of(kdf)
    path = tmp_path / "v"
    vault = Vault.create(path, key)
    vault.set("a", "x")
    data = path.read_bytes()
    unseen, flips = [], 0
    end = len(data) - 72 if repaired else len(data)  # a mended checksum undoes its own flips

    for position in range(end):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            try:
                read(resummed(bytes(changed)) if repaired else bytes(changed), vault, key)
                unseen.append((position, bit))
            except SecretError:
                flips += 1

    assert [] == unseen
    assert 8 * end == flips > 4_000


def read(data: bytes, vault: Vault, key: VaultKey) -> None:
    """Open *data* as if it stood in the file of *vault*, without the time that a disk takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_private", lambda path, what, most: data)
        Vault(vault.path, key)


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize("kdf", ["key", "argon2id"])
def test_every_way_to_cut_it_off_is_found(tmp_path: Path, kdf: str, repaired: bool) -> None:
    key = key_of(kdf)
    vault = filled(tmp_path / "v", key)
    data = vault.path.read_bytes()

    for length in range(len(data)):
        with pytest.raises(SecretError, match="damaged"):
            read(resummed(data[:length]) if repaired else data[:length], vault, key)


def test_the_real_file_is_looked_at(tmp_path: Path) -> None:
    key = VaultKey.from_bytes(KEY)
    vault = filled(tmp_path / "v", key)
    vault.path.write_bytes(vault.path.read_bytes().replace(b"mt5_password", b"mt5_passw0rd"))

    with pytest.raises(SecretError, match="damaged: it was cut off, edited, or the disk is failing; bring back a copy"):
        Vault(vault.path, key)
    vault.path.write_bytes(resummed(vault.path.read_bytes()))
    with pytest.raises(SecretError, match="damaged: it was changed by somebody without its key"):
        Vault(vault.path, key)
    vault.path.write_bytes(b"herald-vault 2\n{}")
    with pytest.raises(SecretError, match="another version of Herald"):
        Vault(vault.path, key)


def test_values_cannot_be_moved_within_a_vault_or_between_two(tmp_path: Path) -> None:
    key = VaultKey.from_bytes(KEY)
    vault, other = filled(tmp_path / "v", key), filled(tmp_path / "w", key)

    def forged(entries: dict[str, Any]) -> None:
        body = msgspec.structs.replace(vault._body, entries=entries)
        with pytest.raises(SecretError, match="not what was encrypted for this place"):
            read_all(module._encode(body, vault._mac_key), vault, key)

    mine = vault._body.entries
    forged({**mine, "Z": mine["api.key"]})
    forged({**mine, "Z": msgspec.structs.replace(mine["Z"], version=2)})
    forged({**mine, "Z": msgspec.structs.replace(mine["Z"], data=mine["api.key"].data)})
    slot = vault.keys[0][0]
    foreign = msgspec.structs.replace(other._body.entries["Z"], wraps={slot: other._body.entries["Z"].wraps[other.keys[0][0]]})
    forged({**mine, "Z": foreign})


def read_all(data: bytes, vault: Vault, key: VaultKey) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_private", lambda path, what, most: data)
        contents(Vault(vault.path, key))


@pytest.mark.parametrize(
    ("kdf", "costs"),
    [
        *(("scrypt", one) for one in [(2**16, 8, 1), (2**20, 8, 1), (2**17, 4, 1), (2**17, 8, 0), (2**17 + 1, 8, 1)]),
        *(("scrypt", one) for one in [(2**17, 8, 99), (2**19, 16, 1), (2**17, 2**30, 1), (-(2**17), -8, 1)]),
        *(("argon2id", one) for one in [(19_455, 3, 4), (65_536, 1, 4), (65_536, 3, 0), (2**19 + 1, 3, 4), (2**31, 3, 4)]),
        *(("argon2id", one) for one in [(65_536, 17, 4), (65_536, 2**31, 4), (65_536, 3, 17), (0, 0, 0), (-65_536, 3, 4)]),
        *(("key", one) for one in [(65_536, 3, 4), (2**17, 8, 1), (0, 0, 1)]),
    ],
)
def test_a_file_can_ask_neither_for_too_little_work_nor_for_all_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kdf: str, costs: tuple[int, int, int]
) -> None:
    key = key_of(kdf)
    vault = filled(tmp_path / "v", key)
    slot = msgspec.structs.replace(vault._body.slots[0], n=costs[0], r=costs[1], p=costs[2])
    edited = module._encode(msgspec.structs.replace(vault._body, slots=(slot,)), vault._mac_key)
    monkeypatch.setattr(VaultKey, "derive", lambda *asked: pytest.fail("work was begun"))

    with pytest.raises(SecretError, match="it was edited"):
        read(edited, vault, key)


@pytest.mark.parametrize("costs", [(19_456, 2, 1), (2**19, 16, 16)])
def test_other_costs_within_the_bounds_are_of_vaults_made_elsewhere(tmp_path: Path, costs: tuple[int, int, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module._COSTS, "argon2id", costs)
        filled(tmp_path / "v", key_of("argon2id"))

    assert VALUES == contents(Vault(tmp_path / "v", key_of("argon2id")))


@pytest.mark.parametrize("kdf", ["scrypt", "argon2id"])
def test_one_kind_of_key_does_not_pass_for_the_other(tmp_path: Path, kdf: str) -> None:
    key = key_of(kdf)
    vault = filled(tmp_path / "v", key)
    other = "argon2id" if kdf == "scrypt" else "scrypt"
    n, r, p = module._COSTS[other]  # type: ignore[index]
    slot = msgspec.structs.replace(vault._body.slots[0], kdf=other, n=n, r=r, p=p)

    with pytest.raises(SecretError, match="the pass-phrase or key is not the right one"):
        read(module._encode(msgspec.structs.replace(vault._body, slots=(slot,)), vault._mac_key), vault, key)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=300), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr).map(str.encode)
    )
)
def test_the_parser_says_no_in_one_line_whatever_it_reads(body: bytes) -> None:
    signed = module._MAGIC + body + b"\n"
    wholes = (body, signed, resummed(signed + b"hmac " + b"0" * 64 + b"\n" + b"sha256 " + b"0" * 64 + b"\n"))

    for data in wholes:
        with pytest.raises(SecretError) as caught:
            module._parse(data, Path("v"))
        assert 1 == len(str(caught.value).splitlines())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_edited_file_is_never_opened(tmp_path: Path, data: st.DataObject) -> None:
    key = VaultKey.from_bytes(KEY)
    vault = Vault(tmp_path / "v", key) if (tmp_path / "v").exists() else filled(tmp_path / "v", key)
    whole = vault.path.read_bytes()
    begin = data.draw(st.integers(0, len(whole) - 73))
    end = data.draw(st.integers(begin, len(whole) - 73))
    changed = resummed(whole[:begin] + data.draw(st.binary(max_size=30)) + whole[end:])

    if changed != whole:
        with pytest.raises(SecretError):
            read(changed, vault, key)


# --- who else may read it


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602, 0o660, 0o610])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    key = VaultKey.from_bytes(KEY)
    vault = filled(tmp_path / "v", key)
    vault.path.chmod(mode)

    with pytest.raises(SecretError, match="others may read the vault .* chmod 600 it"):
        Vault(vault.path, key)


@posix
def test_files_and_folders_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        filled(tmp_path / "new" / "v", make_key_file(tmp_path / "new" / "key"))
    finally:
        os.umask(before)

    modes = {path.name: path.stat().st_mode & 0o777 for path in [tmp_path / "new", *(tmp_path / "new").iterdir()]}
    assert {"new": 0o700, "v": 0o600, "v.lock": 0o600, "key": 0o600} == modes


@posix
def test_links_folders_and_foreign_places_are_refused(tmp_path: Path) -> None:
    key = VaultKey.from_bytes(KEY)
    filled(tmp_path / "in" / "v", key)
    (tmp_path / "link").symlink_to(tmp_path / "in" / "v")

    with pytest.raises(SecretError, match="it is a link"):
        Vault(tmp_path / "link", key)
    with pytest.raises(SecretError, match="is no file|cannot be read"):
        Vault(tmp_path / "in", key)
    with pytest.raises(SecretError, match="the vault .* is not there; correct the path"):
        Vault(tmp_path / "none", key)
    (tmp_path / "in").chmod(0o777)
    with pytest.raises(SecretError, match="others may replace the vault"):
        Vault(tmp_path / "in" / "v", key)


@posix
def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "v", VaultKey.from_bytes(KEY))
    monkeypatch.setattr(module.os, "geteuid", lambda: 4_321)

    with pytest.raises(SecretError, match="belongs to another user"):
        Vault(tmp_path / "v", VaultKey.from_bytes(KEY))


def test_a_key_file_is_made_once_and_read_back(tmp_path: Path) -> None:
    filled(tmp_path / "v", make_key_file(tmp_path / "key"))

    assert VALUES == contents(Vault(tmp_path / "v", read_key_file(tmp_path / "key")))
    with pytest.raises(SecretError, match="never overwritten"):
        make_key_file(tmp_path / "key")
    (tmp_path / "key").write_text("12 34")
    with pytest.raises(SecretError, match="holds no key: 64 hexadecimal digits"):
        read_key_file(tmp_path / "key")
    (tmp_path / "key").write_text("0" * 20_000)
    with pytest.raises(SecretError, match="is larger than 10000 bytes"):
        read_private(tmp_path / "key", "key file")


# --- changing the key


def test_two_keys_are_valid_while_the_key_changes(tmp_path: Path) -> None:
    old, new = VaultKey.from_passphrase("secret-old"), VaultKey.from_passphrase("secret-new")
    vault = filled(tmp_path / "v", old)
    values = {name: entry.data for name, entry in vault._body.entries.items()}

    vault.add_key(new)

    assert VALUES == contents(Vault(vault.path, old)) == contents(Vault(vault.path, new))
    with pytest.raises(SecretError, match="needs both the old key and the new one; herald secrets rotate --finish"):
        Vault(vault.path, old).set("more", "x")
    Vault(vault.path, old, new).set("more", "x")
    assert "x" == Vault(vault.path, old).get("more") == Vault(vault.path, new).get("more")
    with pytest.raises(SecretError, match="two keys open the vault"):
        Vault(vault.path, new).add_key(VaultKey.from_bytes(KEY))
    with pytest.raises(SecretError, match="the newest key of the vault .* is not in hand"):
        Vault(vault.path, old).retire_keys()

    retired = Vault(vault.path, new).retire_keys()

    assert 1 == len(retired)
    assert VALUES | {"more": "x"} == contents(Vault(vault.path, new))
    with pytest.raises(SecretError, match="not the right one"):
        Vault(vault.path, old)
    last = Vault(vault.path, new)
    assert values == {name: last._body.entries[name].data for name in values}  # no value was encrypted anew


def test_the_same_pass_phrase_gets_another_kind_of_key(tmp_path: Path) -> None:
    vault = filled(tmp_path / "v", key_of("scrypt"))

    vault.add_key(key_of("argon2id"))
    again = Vault(vault.path, key_of("argon2id"))
    again.set("more", "x")
    again.retire_keys()

    assert ["argon2id"] == [kdf for _, kdf, _ in again.keys]
    assert VALUES | {"more": "x"} == contents(Vault(vault.path, key_of("scrypt")))


def test_who_had_the_old_key_cannot_forge_the_new_vault(tmp_path: Path) -> None:
    old, new = VaultKey.from_bytes(KEY), VaultKey.from_bytes(KEY[::-1])
    vault = filled(tmp_path / "v", old)
    known = vault._mac_key
    vault.add_key(new)
    vault.retire_keys()

    forged = module._encode(msgspec.structs.replace(vault._body, entries={}), known)

    with pytest.raises(SecretError, match="changed by somebody without its key"):
        read(forged, vault, new)


class Killed(BaseException):
    """What a kill looks like from inside: no handler of an Exception sees it."""


def begin(vault: Vault) -> None:
    vault.add_key(VaultKey.from_bytes(KEY[::-1]))


def finish(vault: Vault) -> None:
    vault.retire_keys()


def keep(vault: Vault) -> None:
    vault.set("Z", "y")


STEPS = ("unlink", "open", "fsync", "replace", "close")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("act", [begin, finish, keep], ids=lambda act: act.__name__)
def test_a_kill_at_any_step_of_a_change_loses_nothing(tmp_path: Path, act: Callable[[Vault], None], after: bool) -> None:
    old, new = VaultKey.from_bytes(KEY), VaultKey.from_bytes(KEY[::-1])
    kills = 0
    for number in range(100):
        path = tmp_path / f"{number}" / "v"
        vault = filled(path, old)
        if act is finish:
            vault.add_key(new)
        if killed(lambda vault=vault: act(vault), number, after=after):  # type: ignore[misc]
            kills += 1
        else:
            break
        found = opened(path, old, new)
        assert contents(found) in ([VALUES, VALUES | {"Z": "y"}] if act is keep else [VALUES])
        # And work goes on from there.
        with_both = Vault(path, old, new)
        with_both.set("next", "1")
        assert "1" == opened(path, old, new).get("next")
    else:
        pytest.fail("the change never came to its end")

    assert kills >= 6  # every call that touches the disk, once


def opened(path: Path, old: VaultKey, new: VaultKey) -> Vault:
    try:
        return Vault(path, old)
    except SecretError:
        return Vault(path, new)


def killed(action: Callable[[], None], number: int, *, after: bool) -> bool:
    """Return whether *action* was killed at call *number* of the operating system."""
    calls, close = 0, os.close
    with pytest.MonkeyPatch.context() as patch:

        def watched(genuine: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls - 1 != number:
                    return genuine(*arguments, **options)
                if after or genuine is close:  # the system closes what a killed process had open, and frees its locks
                    with contextlib.suppress(OSError):
                        genuine(*arguments, **options)
                raise Killed

            return call

        for step in STEPS:
            patch.setattr(os, step, watched(getattr(os, step)))
        try:
            action()
        except Killed:
            return True
        return False


_LOOP = """
import sys
from pathlib import Path
from herald.utils.vault import Vault, VaultKey
path, keys = Path(sys.argv[1]), [VaultKey.from_bytes(bytes(range(32))), VaultKey.from_bytes(bytes(range(32))[::-1])]
print("ready", flush=True)
while True:
    for key in keys:
        vault = Vault(path, *keys)
        if len(vault.keys) == 1:
            vault.add_key(key)
        vault.retire_keys()
"""


@pytest.mark.long
@posix
def test_five_hundred_kills_during_rotation_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "v"
    old, new = VaultKey.from_bytes(KEY), VaultKey.from_bytes(KEY[::-1])
    filled(path, old)
    generator = random.Random(3)
    for _ in range(500):
        process = subprocess.Popen([sys.executable, "-c", _LOOP, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(generator.random() * 0.01)
        process.kill()
        process.communicate()
        assert VALUES == contents(opened(path, old, new))


def test_a_full_disk_is_one_line_and_leaves_the_vault_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = filled(tmp_path / "v", VaultKey.from_bytes(KEY))
    before = vault.path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SecretError, match="cannot be written: No space left on device; nothing is lost"):
            vault.set("Z", "y")

    assert before == vault.path.read_bytes()
    assert VALUES == contents(vault)


def test_changes_of_others_are_kept_and_one_changes_at_a_time(tmp_path: Path) -> None:
    key = VaultKey.from_bytes(KEY)
    one = filled(tmp_path / "v", key)
    other = Vault(one.path, key, clock=FakeClock(0))
    one.set("from_one", "1")
    other.set("from_other", "2")

    assert VALUES | {"from_one": "1", "from_other": "2"} == contents(Vault(one.path, key))
    with FileLock(tmp_path / "v.lock") as lock:
        assert lock.try_acquire()
        with pytest.raises(SecretError, match="the vault is in use"):
            other.set("Z", "y")


def test_import_herald_does_not_load_the_vault() -> None:
    program = "import sys, herald, herald.utils, herald.cli; print([m for m in sys.modules if m.startswith('cryptography')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
