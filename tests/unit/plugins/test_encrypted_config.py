"""The vault as a source of secrets: what opens it, and what each way of not opening it says."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from herald.clock import WallClock
from herald.components import Services
from herald.errors import SecretError
from herald.plugins.encrypted_config import EncryptedConfig, EncryptedConfigSettings
from herald.utils.vault import Vault, VaultKey, make_key_file

pytestmark = pytest.mark.usefixtures("cheap_keys")
posix = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")


def source(folder: Path, **terms: Any) -> EncryptedConfig:
    services = Services("secrets[0]", WallClock(), random.Random(0), base=str(folder))
    return EncryptedConfig(EncryptedConfigSettings(**terms), services)


def private(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_key_file_opens_it(tmp_path: Path) -> None:
    Vault.create(tmp_path / "herald.vault", make_key_file(tmp_path / "key")).set("a", "secret-1")

    found = source(tmp_path, key_file="key")

    assert ("secret-1", None, "herald.vault") == (found.get("a"), found.get("b"), found.place("a"))


@pytest.mark.parametrize("way", ["passphrase", "passphrase_file", "credential"])
def test_a_pass_phrase_opens_it_wherever_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    Vault.create(tmp_path / "v", VaultKey.from_passphrase("secret phrase")).set("a", "secret-1")
    private(tmp_path / "phrase", "secret phrase\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    stated: Any = SecretStr("secret phrase") if way == "passphrase" else "phrase"

    assert "secret-1" == source(tmp_path, file="v", **{way: stated}).get("a")


@posix
def test_a_credential_may_be_a_key_lent_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Vault.create(tmp_path / "v", make_key_file(tmp_path / "key")).set("a", "secret-1")
    (tmp_path / "key").chmod(0o440)  # systemd lets its owner in by a list, which shows as the group
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert "secret-1" == source(tmp_path, file="v", credential="key").get("a")
    (tmp_path / "key").chmod(0o444)
    with pytest.raises(SecretError, match="others may read the credential"):
        source(tmp_path, file="v", credential="key").get("a")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(SecretError, match="there are no credentials of systemd"):
        source(tmp_path, file="v", credential="key").get("a")


@posix
def test_what_others_may_read_opens_nothing(tmp_path: Path) -> None:
    private(tmp_path / "phrase", "secret phrase").chmod(0o644)

    with pytest.raises(SecretError, match="others may read the pass-phrase file"):
        source(tmp_path, passphrase_file="phrase").get("a")
    (tmp_path / "phrase").chmod(0o600)
    (tmp_path / "phrase").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError, match="is not text in UTF-8"):
        source(tmp_path, passphrase_file="phrase").get("a")


@pytest.mark.parametrize("terms", [{}, {"key_file": "a", "passphrase_file": "b"}, {"key_file": "a", "credential": "../b"}])
def test_one_thing_opens_it(terms: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"takes one of passphrase, .*state what opens the vault|should match pattern"):
        EncryptedConfigSettings(**terms)  # type: ignore[arg-type]


def test_nothing_is_touched_until_it_is_asked(tmp_path: Path) -> None:
    found = source(tmp_path, key_file="none")

    with pytest.raises(SecretError, match="the key file .* is not there"):
        found.get("a")
