"""Take secrets from the key ring of the operating system: macOS Keychain, Windows Credential Locker, Secret Service, KWallet."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import Field

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import PlanView, Problem, SecretSource
from herald.errors import SecretError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

__all__ = ["Keyring", "KeyringSettings", "herald_secret_sources", "herald_validate"]

_LEAST_PRIORITY = 1
"""What the package calls a recommended backend; below are those that keep values as plain text, or nowhere."""


class KeyringSettings(Settings):
    """Settings of `Keyring`."""

    service: str = Field(default="herald", min_length=1)
    """Under which name the key ring keeps them: ``keyring set herald mt5_password`` is ``secret:mt5_password``."""


class Keyring:
    """Asks the key ring of whoever runs Herald; nothing is asked before the first secret is needed."""

    def __init__(self, settings: KeyringSettings, services: Services) -> None:
        """Name the service; the package is not even imported."""
        self._service = settings.service
        self._rings: list[KeyringBackend] | None = None

    def get(self, name: str) -> str | None:
        """Return the value of *name*; None where the key ring has none.

        Raises:
            SecretError: There is no key ring, it is one that protects nothing, or it stays locked.
        """
        if self._rings is None:
            self._rings = _rings()
        from keyring.errors import KeyringError

        for ring in self._rings:
            try:
                found = ring.get_password(self._service, name)
            except (KeyringError, OSError, RuntimeError) as error:
                what = " ".join(str(error).split()) or type(error).__name__
                raise SecretError(f"the key ring {_called(ring)} gives nothing away: {what}; unlock it") from error
            if found:
                return found
        return None

    def place(self, name: str) -> str:
        """Return the entry."""
        return f"{self._service}/{name}"


def _rings() -> list[KeyringBackend]:
    """Return the key rings of this machine that protect what they keep, best first."""
    try:
        import keyring
    except ImportError:
        raise SecretError("it needs keyring, which is not installed; pip install 'herald-trading[keyring]'") from None
    chosen = keyring.get_keyring()
    among: Iterable[KeyringBackend] = getattr(chosen, "backends", (chosen,))
    rings = [one for one in among if one.priority >= _LEAST_PRIORITY]
    if not rings:
        what = f"{_called(chosen)} is none that protects anything"
        hint = "log in where there is one, or use encrypted_config with a key file"
        raise SecretError(f"there is no key ring on this machine: {what}; {hint}")
    return rings


def _called(ring: KeyringBackend) -> str:
    kind = type(ring)
    return f"{kind.__module__.removeprefix('keyring.backends.')}.{kind.__qualname__}"


@hookimpl
def herald_secret_sources() -> Iterable[Component[SecretSource]]:
    """Offer the key ring."""
    yield component("keyring", KeyringSettings, Keyring, "Secrets from the key ring of the operating system.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Report a source whose package is not there."""
    mine = [part for part in plan.chosen("secret source") if isinstance(part.settings, KeyringSettings)]
    if mine and find_spec("keyring") is None:
        yield Problem(mine[0].name, "needs keyring, which is not installed", "pip install 'herald-trading[keyring]'")
