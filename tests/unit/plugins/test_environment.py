"""Variables of the environment as a source of secrets."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from herald.clock import WallClock
from herald.components import Services
from herald.errors import SecretError
from herald.plugins.environment import (
    Credentials,
    CredentialsSettings,
    Environment,
    EnvironmentSettings,
    herald_secret_sources,
)
from herald.testing.contracts.secret_source import SecretSourceContract

KNOWN = {"mt5_login": "Kq7ZvWj3Xu", "key": "one\ntwo ä"}
SERVICES = Services("secrets[0]", WallClock(), random.Random(0))


@pytest.mark.parametrize(
    ("name", "variable"), [("mt5_password", "MT5_PASSWORD"), ("api.key", "API_KEY"), ("Main-2", "MAIN_2"), ("é", "_")]
)
def test_a_secret_is_in_the_variable_of_its_name(monkeypatch: pytest.MonkeyPatch, name: str, variable: str) -> None:
    source = Environment(EnvironmentSettings(), SERVICES)
    monkeypatch.delenv(f"HERALD_SECRET_{variable}", raising=False)
    missing = source.get(name)
    monkeypatch.setenv(f"HERALD_SECRET_{variable}", "")
    empty = source.get(name)
    monkeypatch.setenv(f"HERALD_SECRET_{variable}", "secret-x")

    assert (None, None, "secret-x", f"HERALD_SECRET_{variable}") == (missing, empty, source.get(name), source.place(name))


def test_the_prefix_can_be_another_and_must_be_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE_A", "secret-x")

    assert "secret-x" == Environment(EnvironmentSettings(prefix="MINE_"), SERVICES).get("a")
    with pytest.raises(ValidationError):
        EnvironmentSettings(prefix="A=")


class TestEnvironment(SecretSourceContract):
    component, _ = herald_secret_sources()
    settings = EnvironmentSettings()
    known = KNOWN
    can_close = False

    @pytest.fixture(autouse=True)
    def _variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in KNOWN.items():
            monkeypatch.setenv(f"HERALD_SECRET_{name.upper()}", value)


class TestCredentials(SecretSourceContract):
    _, component = herald_secret_sources()
    settings = CredentialsSettings(prefix="herald.")
    known = KNOWN

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tmp_path.chmod(0o700)
        for name, value in KNOWN.items():
            file = tmp_path / f"herald.{name}"
            file.write_bytes(value.encode() + b"\n")
            file.chmod(0o400)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        self.monkeypatch = monkeypatch

    def close(self) -> None:
        self.monkeypatch.delenv("CREDENTIALS_DIRECTORY")


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_credential_that_everybody_may_read_or_that_is_no_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name, body, mode in (("open", b"secret-x", 0o444), ("raw", b"\xff\xfe", 0o400), ("void", b"\n", 0o400)):
        (tmp_path / name).write_bytes(body)
        (tmp_path / name).chmod(mode)
    source = Credentials(CredentialsSettings(), SERVICES)

    with pytest.raises(SecretError, match="others may read the credential"):
        source.get("open")
    with pytest.raises(SecretError, match="is not text in UTF-8"):
        source.get("raw")
    assert source.get("void") is None
