"""Take secrets from an encrypted file that `herald secrets` writes; see herald.utils.vault and docs/secrets.md."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, SecretStr, model_validator

from herald.clock import Clock
from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import SecretSource
from herald.errors import SecretError
from herald.utils.redaction import protect

if TYPE_CHECKING:
    from herald.utils.vault import Vault, VaultKey

__all__ = ["EncryptedConfig", "EncryptedConfigSettings", "herald_secret_sources"]


class EncryptedConfigSettings(Settings):
    """Settings of `EncryptedConfig`: the vault, and one thing that opens it."""

    file: str = Field(default="herald.vault", min_length=1)
    """The vault, relative to the config."""
    passphrase: SecretStr | None = None
    """What opens it, as ``secret:NAME`` from a source that stands above this one."""
    passphrase_file: str | None = None
    """A file with the pass-phrase, for its owner alone, relative to the config."""
    key_file: str | None = None
    """A file with a key, for its owner alone, relative to the config; `herald secrets init --key-file` makes one."""
    credential: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+$")
    """A credential of systemd (``LoadCredential=NAME:...``) that holds a pass-phrase or a key."""

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        stated = [one for one in (self.passphrase, self.passphrase_file, self.key_file, self.credential) if one is not None]
        if len(stated) != 1:
            names = "passphrase, passphrase_file, key_file and credential"
            raise ValueError(f"takes one of {names}, not {len(stated) or 'none'}; state what opens the vault")
        return self


class EncryptedConfig:
    """Opens a vault when it is first asked, and keeps it open."""

    def __init__(self, settings: EncryptedConfigSettings, services: Services) -> None:
        """Name the file; nothing is touched yet."""
        self._settings = settings
        self._base = Path(services.base)
        self._clock: Clock = services.clock
        self._vault: Vault | None = None

    @property
    def path(self) -> Path:
        """The vault."""
        return self._base / Path(self._settings.file).expanduser()

    def keys(self) -> tuple[VaultKey, ...]:
        """Return what the settings say opens the vault.

        Raises:
            SecretError: It cannot be read.
        """
        from herald.utils.vault import VaultKey, parse_key, read_key_file, read_private

        settings = self._settings
        if settings.passphrase is not None:
            return (VaultKey.from_passphrase(settings.passphrase.get_secret_value()),)
        if settings.key_file is not None:
            return (read_key_file(self._base / Path(settings.key_file).expanduser()),)
        if settings.passphrase_file is not None:
            path = self._base / Path(settings.passphrase_file).expanduser()
            return (VaultKey.from_passphrase(_line(read_private(path, "pass-phrase file"), path)),)
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SecretError("there are no credentials of systemd: start Herald as a service, or state key_file instead")
        path = Path(folder, str(settings.credential))
        data = read_private(path, "credential", is_lent=True)
        keys = [VaultKey.from_passphrase(_line(data, path))]
        with suppress(SecretError):  # a pass-phrase, then
            keys.append(parse_key(data, path))
        return tuple(keys)

    def get(self, name: str) -> str | None:
        """Return the value of *name*; None where the vault has none.

        Raises:
            SecretError: The vault cannot be opened.
        """
        from herald.utils.vault import Vault

        if self._vault is None:
            self._vault = Vault(self.path, *self.keys(), clock=self._clock)
        return self._vault.get(name) if name in self._vault else None

    def place(self, name: str) -> str:
        """Return the vault."""
        return self._settings.file


def _line(data: bytes, path: Path) -> str:
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretError(f"{str(path)!r} is not text in UTF-8; write the pass-phrase into it") from None
    protect(text)
    return text


@hookimpl
def herald_secret_sources() -> Iterable[Component[SecretSource]]:
    """Offer the vault."""
    yield component("encrypted_config", EncryptedConfigSettings, EncryptedConfig, "Secrets from an encrypted file.")
