"""What holds where nobody said anything: each row is a default that must be the safe one."""

from __future__ import annotations

import inspect
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from herald.cli.live import live
from herald.components import Services
from herald.errors import ConfigError, HeraldError
from herald.host.defaults import USUAL
from herald.host.discovery import discover
from herald.host.hookspecs import COLLECTED
from herald.host.lock import new_key
from herald.host.plan import load_plan
from herald.host.registry import Registry
from herald.host.tables import HeraldConfig, HeraldTable, LiveTable, PluginTable
from herald.live.state import StateFile, Trading, TradingState
from herald.plugins.audit import Audit, AuditSettings
from herald.plugins.journal import JournalSettings
from herald.plugins.log import LogSettings
from herald.plugins.simbroker import SimBrokerSettings
from herald.testing import FakeClock
from herald.testing.simbroker.server import Server

ROOT = Path(__file__).resolve().parent.parent
CONFIG = """
[herald]
mode = "{mode}"
[plugins]
{plugins}
[connectors.main]
use     = "simbroker"
address = "127.0.0.1:1"
[strategies.trend]
use       = "sma_cross"
symbols   = ["EURUSD"]
timeframe = "1h"
{more}
"""
PINNED = '[live]\naccount = "1"\nserver = "S"\nreal = {real}\n'
LIMITS = (
    '[[risk]]\nuse = "risk.max_order_size"\nlots = 1.0\n[[risk]]\nuse = "risk.max_daily_loss"\nfraction = 0.02\n'
    '[[risk]]\nuse = "risk.max_drawdown"\nfraction = 0.1\n'
)
ON_POSIX = os.name != "nt"


def refusal(folder: Path, mode: str = "live", plugins: str = "", more: str = "", command: str | None = None) -> str:
    """Return why a config is refused; empty where it is not."""
    file = folder / "h.toml"
    file.write_text(CONFIG.format(mode=mode, plugins=plugins, more=more), encoding="utf-8")
    try:
        load_plan(file, environ={"HERALD_CONNECTORS__MAIN__TOKEN": "t" * 16}, mode=command)
    except ConfigError as error:
        return str(error)
    return ""


def planned(folder: Path, mode: str, more: str = "") -> str:
    file = folder / "h.toml"
    file.write_text(CONFIG.format(mode=mode, plugins="require_lock = false", more=more), encoding="utf-8")
    return load_plan(file, environ={"HERALD_CONNECTORS__MAIN__TOKEN": "very-secret-token"}).describe()


def settings_fields() -> Iterator[tuple[str, str, object, object]]:
    """Yield (component, key, annotation, default) of every setting of every built-in."""
    registry = Registry(discover())
    for found in discover():
        if found.distribution == "herald-trading":
            registry.load(found.name)
    for kind in COLLECTED.values():
        for one in registry.of_kind(kind):
            if one.origin.distribution == "herald-trading":
                for key, field in one.component.settings.model_fields.items():
                    yield one.full_name, key, field.annotation, None if field.is_required() else field.get_default()


def secret_like() -> list[str]:
    """Return settings that by their name hold a secret and by their type would show it."""
    name = re.compile(r"(^|_)(password|passwd|secret|token|key|pin|credentials?)$")
    found = [f"{use}.{key}" for use, key, kind, _ in settings_fields() if name.search(key) and "SecretStr" not in str(kind)]
    # It names a credential that systemd hands over, and is none itself.
    return [one for one in found if one.rpartition("encrypted_config.")[2] != "credential"]


def secrets_with_a_default() -> list[str]:
    return [f"{use}.{key}" for use, key, kind, default in settings_fields() if "SecretStr" in str(kind) and default is not None]


def listens(folder: Path, host: str) -> bool:
    from herald.testing.simbroker import make_terms

    try:
        Server(make_terms(folder / "book.sqlite"), folder / "book.sqlite", host=host)
    except ValueError:
        return False
    return True


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def audited(folder: Path) -> Path:
    audit = Audit(AuditSettings(), Services("audit", FakeClock(), random.Random(1), base=str(folder), state="s"))
    audit.record("a", "b", "c")
    audit.close()
    return folder / "s"


def stopped(folder: Path) -> Path:
    StateFile(folder, FakeClock()).set("account", TradingState.HALTED, "a", "b")
    return folder / "trading-state"


def lost_state(folder: Path) -> Trading:
    path = stopped(folder)
    path.unlink()
    return StateFile(folder, FakeClock()).read()


def traceback_of(folder: Path) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("HERALD_")}
    command = [sys.executable, "-m", "herald", "check", str(folder / "no.toml")]
    return subprocess.run(command, env=env, capture_output=True, encoding="utf-8", check=False).stderr


def private_key(folder: Path) -> Path:
    new_key(folder / "key.pem")
    return folder / "key.pem"


def option(name: str) -> object:
    return live.make_context("live", ["live.toml"]).params[name]


ROWS: dict[str, Callable[[Path], bool]] = {
    # --- money
    "a file that names no mode is a backtest": lambda d: HeraldTable().mode == "backtest",
    "no account is assumed": lambda d: LiveTable().account is None,
    "no server is assumed": lambda d: LiveTable().server is None,
    "neither real money nor a demo is assumed": lambda d: LiveTable().real is None,
    "a live file without its account is refused": lambda d: "live.account: is missing" in refusal(d),
    "a live file without its server is refused": lambda d: "live.server: is missing" in refusal(d),
    "a live file that does not say whether it is real money is refused": lambda d: "live.real: is missing" in refusal(d),
    "a command cannot raise the mode of a file": lambda d: "not raise it" in refusal(d, "paper", command="live"),
    "no account is confirmed": lambda d: not option("confirm"),
    "a real account is not taken for a demo": lambda d: not option("demo_only"),
    "positions of others only shrink": lambda d: LiveTable().external == "refuse",
    "a run that ends withdraws its orders": lambda d: HeraldTable().on_stop == "cancel",
    "paper runs have the essential checks": lambda d: USUAL["risk_profile"]["paper"] == "risk.essential",
    "live runs have the checks of live runs": lambda d: USUAL["risk_profile"]["live"] == "risk.live",
    "a live run must state how much one order may be": lambda d: (
        "max_order_size" in refusal(d, plugins="require_lock = false", more=PINNED.format(real="false"))
    ),
    "calls are repeated, counted and limited": lambda d: {"retry", "circuit_breaker", "rate_limiter"} <= set(USUAL["middleware"]),
    "no faults are injected": lambda d: "faults" not in str(USUAL),
    "a state that is lost is a halt": lambda d: lost_state(d).effective("", "") is TradingState.HALTED,
    "a halt lets nothing through": lambda d: StateFile(stopped(d).parent, FakeClock()).read().scopes["account"].exits is False,
    # --- plugins
    "a live run imports locked plugins only": lambda d: (
        "plugins.lock: there is no" in refusal(d, more=PINNED.format(real="false"))
    ),
    "real money cannot do without the lock": lambda d: (
        "plugins.require_lock: is false where real money"
        in refusal(d, plugins="require_lock = false", more=PINNED.format(real="true"))
    ),
    "no folder of plugins is searched": lambda d: PluginTable().paths == [] and PluginTable().load == [],
    "no warning of a plugin is accepted": lambda d: PluginTable().accept == [],
    # --- records
    "the journal survives a loss of power": lambda d: JournalSettings().synchronous == "full",
    "a live file is audited": lambda d: HeraldConfig.model_validate({"herald": {"mode": "live"}}).is_audited,
    "real money cannot do without the audit log": lambda d: (
        "audit.enabled: is false where real money"
        in refusal(d, plugins="require_lock = false", more=PINNED.format(real="true") + "[audit]\nenabled = false\n")
        or "plugins.lock" in refusal(d, more=PINNED.format(real="true") + "[audit]\nenabled = false\n")
    ),
    "the audit log is its owner's": lambda d: mode_of(audited(d) / "audit.log") == 0o600 or not ON_POSIX,
    "the key of the audit log is its owner's": lambda d: mode_of(audited(d) / "audit.key") == 0o600 or not ON_POSIX,
    "the trading state is its owner's": lambda d: mode_of(stopped(d)) == 0o600 or not ON_POSIX,
    "a key that signs locks is its owner's": lambda d: mode_of(private_key(d)) == 0o600 or not ON_POSIX,
    # --- secrets
    "no secret has a default": lambda d: secrets_with_a_default() == [],
    "no secret is kept as plain text in settings": lambda d: secret_like() == [],
    "a plan does not show secrets": lambda d: "very-secret-token" not in planned(d, "paper") and "***" in planned(d, "paper"),
    "a connection needs its token": lambda d: SimBrokerSettings.model_fields["token"].is_required(),
    "settings do not print a secret": lambda d: "abcdef" not in repr(SimBrokerSettings(address="a:1", token=SecretStr("abcdef"))),
    # --- network and output
    "the simulated broker serves this machine": lambda d: inspect.signature(Server).parameters["host"].default == "127.0.0.1",
    "the simulated broker refuses other addresses": lambda d: not listens(d, "0.0.0.0"),
    "no log is written to a file": lambda d: LogSettings().file is None,
    "an error shows no traceback": lambda d: "Traceback" not in traceback_of(d) and traceback_of(d).count("\n") == 1,
}


@pytest.mark.parametrize("row", ROWS)
def test_the_default_is_the_safe_one(row: str, tmp_path: Path) -> None:
    assert ROWS[row](tmp_path)


def test_the_table_has_its_thirty_rows() -> None:
    assert len(ROWS) >= 30


def test_a_config_that_says_nothing_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "h.toml").write_text("", encoding="utf-8")

    with pytest.raises(HeraldError, match="no strategy is configured"):
        load_plan(tmp_path / "h.toml", environ={})
