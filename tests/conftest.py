"""What every test stands on: a home of its own, no configuration from the machine."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from herald.utils import redaction


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give loops of minutes a quarter of an hour before they count as hung, unless they state their own time."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep variables such as HERALD_BACKTEST__CASH of the developer's shell, and the user's cache, out of the tests."""
    for name in [name for name in os.environ if name.upper().startswith("HERALD_")]:
        monkeypatch.delenv(name)
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("XDG_STATE_HOME", str(cache.with_name("state")))


@pytest.fixture(autouse=True)
def _no_secrets_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after every test which secrets it loaded; for the process of a user they are protected up to its end."""
    monkeypatch.setattr(redaction, "_forms", ())


@pytest.fixture
def cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make keys of pass-phrases with next to no memory and time instead of a second's worth; the costs asked for still count."""
    from cryptography.hazmat.primitives.kdf import argon2

    scrypt, argon2id = hashlib.scrypt, argon2.Argon2id

    def cheap_scrypt(password: bytes, **options: Any) -> bytes:
        salt = options["salt"] + repr((options["n"], options["r"], options["p"])).encode()
        return scrypt(password, salt=salt, n=2, r=1, p=1, dklen=32)

    def cheap_argon2id(**options: Any) -> Any:
        salt = options["salt"] + repr((options["iterations"], options["lanes"], options["memory_cost"])).encode()
        return argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=8)

    monkeypatch.setattr(hashlib, "scrypt", cheap_scrypt)
    monkeypatch.setattr(argon2, "Argon2id", cheap_argon2id)


@pytest.fixture
def clean_env() -> dict[str, str]:
    """Return an environment for a child process: without PYTHONPATH and this run's pytest, terminal width fixed, UTF-8."""
    # A child that runs pytest must not write over the report that PYTEST_ADDOPTS asks of this run.
    hidden = ("PYTHONPATH", "PYTHONHASHSEED", "PYTEST_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return env | {"PYTHONUTF8": "1", "COLUMNS": "120", "NO_COLOR": "1"}
