"""The key ring of the operating system as a source of secrets, and the machine that has none."""

from __future__ import annotations

import sys

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoRing
from keyring.backends.null import Keyring as NullRing
from keyring.errors import KeyringLocked

from herald.components import Services
from herald.errors import SecretError
from herald.plugins.keyring import Keyring, KeyringSettings, herald_secret_sources
from herald.testing.contracts.secret_source import SecretSourceContract
from herald.testing.market import make_services

KNOWN = {"mt5_login": "Kq7ZvWj3Xu", "key": "one\ntwo ä"}


class Ring(KeyringBackend):
    """A key ring in memory."""

    priority = 5

    def __init__(self, values: dict[str, str], *, locked: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values, self.locked = values, locked

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("Failed to unlock\nthe collection!")
        return self.values.get(username) if service == "herald" else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError


class Plain(Ring):
    """One that keeps values as plain text says so by its priority."""

    priority = 0.5  # type: ignore[assignment]


class Chain(Ring):
    """Several at once, as the package chooses them where it finds more than one."""

    priority = 10

    def __init__(self, *backends: KeyringBackend) -> None:
        super().__init__({})
        self.backends = backends


def services() -> Services:
    return make_services("secrets[0]")


def use(monkeypatch: pytest.MonkeyPatch, ring: KeyringBackend) -> None:
    monkeypatch.setattr(keyring, "get_keyring", lambda: ring)


class TestKeyring(SecretSourceContract):
    component = next(iter(herald_secret_sources()))
    settings = KeyringSettings()
    known = KNOWN

    @pytest.fixture(autouse=True)
    def _ring(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ring = Ring(KNOWN)
        use(monkeypatch, self.ring)

    def close(self) -> None:
        self.ring.locked = True


@pytest.mark.parametrize("ring", [NoRing(), NullRing(), Plain(KNOWN), Chain(), Chain(Plain(KNOWN))])  # type: ignore[no-untyped-call]
def test_a_machine_without_one_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, ring: KeyringBackend) -> None:
    use(monkeypatch, ring)

    with pytest.raises(SecretError, match=r"no key ring on this machine: .* use encrypted_config with a key file$") as caught:
        Keyring(KeyringSettings(), services()).get("mt5_login")

    assert 1 == len(str(caught.value).splitlines())


def test_of_several_only_those_that_protect_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Chain(Plain({"a": "plain"}), Ring({"b": "first"}), Ring({"b": "second", "c": "third"})))
    source = Keyring(KeyringSettings(), services())

    assert [None, "first", "third"] == [source.get(name) for name in "abc"]


def test_one_that_stays_locked_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Ring(KNOWN, locked=True))

    with pytest.raises(SecretError, match=r"gives nothing away: Failed to unlock the collection!; unlock it$"):
        Keyring(KeyringSettings(), services()).get("mt5_login")


def test_another_service_has_other_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Ring(KNOWN))
    source = Keyring(KeyringSettings(service="other"), services())

    assert (None, "other/key") == (source.get("key"), source.place("key"))


def test_without_the_package_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(SecretError, match=r"pip install 'herald-trading\[keyring\]'"):
        Keyring(KeyringSettings(), services()).get("key")
