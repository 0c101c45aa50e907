"""Take secrets from variables of the environment, as containers and continuous integration hand them over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from pydantic import Field

from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import SecretSource

__all__ = ["Environment", "EnvironmentSettings", "herald_secret_sources"]


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


@hookimpl
def herald_secret_sources() -> Iterable[Component[SecretSource]]:
    """Offer the environment."""
    yield component("environment", EnvironmentSettings, Environment, "Secrets from variables: HERALD_SECRET_NAME.")
