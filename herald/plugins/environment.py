"""Take secrets from what starts Herald: variables, as containers hand them over, and credentials of a systemd service."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import SecretSource
from herald.errors import SecretError

__all__ = ["Credentials", "CredentialsSettings", "Environment", "EnvironmentSettings", "herald_secret_sources"]

_LONGEST = 65_536
"""Bytes of one credential."""


class EnvironmentSettings(Settings):
    """Settings of `Environment`."""

    prefix: str = Field(default="HERALD_SECRET_", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """How the variables begin: ``secret:mt5_password`` is in HERALD_SECRET_MT5_PASSWORD."""


class Environment:
    """Reads one variable for each secret; an empty one counts as missing."""

    def __init__(self, settings: EnvironmentSettings, services: Services) -> None:
        """Take the prefix."""
        self._prefix = settings.prefix

    def get(self, name: str) -> str | None:
        """Return the value of the variable of *name*; None where it is not set."""
        return os.environ.get(self._variable(name)) or None

    def place(self, name: str) -> str:
        """Return the variable in which *name* is looked for."""
        return self._variable(name)

    def _variable(self, name: str) -> str:
        return self._prefix + re.sub(r"[^A-Z0-9]", "_", name.upper())


class CredentialsSettings(Settings):
    """Settings of `Credentials`."""

    prefix: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]*$")
    """How the names of the credentials begin: with ``herald.``, ``secret:token`` is the credential ``herald.token``."""


class Credentials:
    """Reads one file for each secret from the folder that systemd makes for the service: ``LoadCredentialEncrypted=NAME``."""

    def __init__(self, settings: CredentialsSettings, services: Services) -> None:
        """Take the prefix."""
        self._prefix = settings.prefix

    def get(self, name: str) -> str | None:
        """Return the credential *name* without the end of its last line; None where the service has none of that name.

        Raises:
            SecretError: There are no credentials at all, others may read it, or it is no text.
        """
        from herald.utils.vault import read_private

        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SecretError("there are no credentials of systemd: start Herald as a service that has some")
        path = Path(folder, self._prefix + name)
        if not os.path.lexists(path):
            return None
        try:
            text = read_private(path, "credential", _LONGEST, is_lent=True).decode()
        except UnicodeDecodeError:
            raise SecretError(f"the credential {str(path)!r} is not text in UTF-8; write the secret into it") from None
        return text.removesuffix("\n").removesuffix("\r") or None

    def place(self, name: str) -> str:
        """Return the credential."""
        return f"credential {self._prefix}{name}"


@hookimpl
def herald_secret_sources() -> Iterable[Component[SecretSource]]:
    """Offer variables and credentials."""
    yield component("environment", EnvironmentSettings, Environment, "Secrets from variables: HERALD_SECRET_NAME.")
    yield component("credentials", CredentialsSettings, Credentials, "Secrets from credentials of the systemd service.")
