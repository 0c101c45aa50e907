"""The audit trail of a config, opened by a command that does something privileged outside a run."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from herald.clock import Clock
from herald.components import Services
from herald.contracts import AuditTrail
from herald.errors import AuditError, ConfigError, NotFound, Problem
from herald.host.config import read_config
from herald.host.defaults import USUAL
from herald.host.discovery import discover
from herald.host.parts import Parts
from herald.host.registry import Registry
from herald.host.rules import HOST_WORDS
from herald.host.secrets import keeper_of, misplaced
from herald.host.trust import Trust, open_lock
from herald.host.uses import needs_lock

__all__ = ["MARKER", "account_name", "audited_by", "mark_audited", "open_trail", "operator"]

MARKER = "audited-by"
"""File in a state folder that names the config whose audit trail records what is done there."""
_NOBODY = 2**32 - 1
"""What Linux says of a process that nobody logged in for, such as a service."""


def operator() -> str:
    """Return who runs this process, for a record."""
    return f"{account_name()} (process {os.getpid()})"


if sys.platform == "win32":

    def account_name() -> str:
        """Return whose process it is."""
        try:
            return os.getlogin()
        except OSError:  # a service has none
            return "nobody who is logged in"

else:

    def account_name(login: Path = Path("/proc/self/loginuid")) -> str:
        """Return whose process it is, as the system knows it: variables such as USER say what somebody wants them to.

        Linux remembers in *login* who logged in, through `sudo` and `su`; where that is somebody else, both are named.
        """
        number = os.geteuid()
        try:
            person = int(login.read_text(encoding="ascii"))
        except (OSError, ValueError):  # another system
            person = _NOBODY
        own = _name_of(number)
        return own if person in (number, _NOBODY) else f"{_name_of(person)} as {own}"

    def _name_of(number: int) -> str:
        import pwd

        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:  # a container without a name for the user
            return f"user {number}"


def open_trail(
    file: Path, clock: Clock, environ: Mapping[str, str] | None = None, trust: Trust | None = None
) -> AuditTrail | None:
    """Return the audit trail of the config *file*; None where it has none.

    Args:
        file: The config.
        clock: Stamps what is recorded.
        environ: The environment; that of the process if None.
        trust: Decides what may be imported for it; the plugin lock of the config if None.

    Raises:
        AuditError: Its table is wrong.
        ConfigError: The file is no TOML, or a secret that the table names is nowhere to be found.
        NotFound: There is no such file, or no plugin lock where one is needed.
        PluginError: Its plugin cannot be used, or is not the one in the lock.
    """
    read = read_config(file, environ)
    config = read.config
    if not config.is_audited:
        return None
    base = file.resolve().parent
    catalog = discover([folder for one in config.plugins.paths if (folder := base / Path(one).expanduser()).is_dir()])
    if trust is None and needs_lock(config, config.herald.mode):
        trust = open_lock(base / config.plugins.lock, config.plugins.lock_key, catalog)
    registry = Registry(catalog, trust)
    table = {"use": USUAL["audit"]} | (config.audit or {})
    part = registry.find("audit", str(table["use"])).component
    try:
        settings = part.settings.model_validate({key: one for key, one in table.items() if key not in HOST_WORDS["audit"]})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise AuditError(f"{str(file)!r}: audit.{'.'.join(map(str, first['loc']))}: {first['msg']}; correct it") from error
    services = Services("audit", clock, random.Random(0), base=str(base), state=config.live.state)
    problems: list[Problem] = []
    sources = Parts(registry, problems, read.variables).ordered("secret source", "secrets", config.secrets)
    problems += misplaced(settings, "audit", read.variables)
    if problems:
        raise ConfigError(str(file), problems)
    trail: AuditTrail = part.build(keeper_of(str(file), sources, str(base)).resolved("audit", settings), services)
    return trail


def mark_audited(folder: Path, source: str) -> None:
    """Note in the state folder *folder* that the config *source* records what is done there.

    Raises:
        OSError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(f"{Path(source).resolve()}\n", encoding="utf-8")


def audited_by(folder: Path) -> Path | None:
    """Return the config that records what is done in the state folder *folder*; None where none does.

    Raises:
        NotFound: The note cannot be read.
    """
    try:
        return Path((folder / MARKER).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(
            f"{str(folder / MARKER)!r} cannot be read: {error}; name the config instead of its state folder"
        ) from error
