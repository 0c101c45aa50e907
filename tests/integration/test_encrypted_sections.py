"""Tables of a config that stand encrypted: a whole run in which everybody tells what was in them, and nothing of it is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from herald.host.plan import load_plan
from herald.utils import redaction
from herald.utils.vault import Vault, make_key_file

PLUGIN = """
import os
import sys

import numpy as np
from pydantic import SecretStr

from herald import HistoryConnector, Instrument, Settings, Strategy, component, hookimpl
from herald.errors import ConnectorError
from herald.model import BarSeries
from herald.utils import redaction


class Login(Settings):
    server: str
    number: int
    password: SecretStr
    proxy: dict[str, str] = {}
    symbols: tuple[str, ...] = ()
    style: str = "plain"


def told(settings):
    words = [settings.server, *settings.proxy.values(), settings.password.get_secret_value(), *settings.symbols]
    return " ".join([*words, repr(settings), settings.model_dump_json()])


class Prices(HistoryConnector):
    def __init__(self, settings, services):
        self.settings = settings
        if os.environ.get("DEAF"):  # the planted fault: as if nothing had been remembered
            redaction._forms = ()
        print("out", told(settings))
        print("err", told(settings), file=sys.stderr)

    def instruments(self):
        return [Instrument(symbol="EURUSD", quote="USD", price_step=0.01, size_step=0.01, min_size=0.01)]

    def bars(self, symbol, timeframe, start, end):
        n = 50
        time = (np.arange(n) + 1) * timeframe.span
        price = 10 + np.arange(n) % 7
        column = price.astype(float)
        return BarSeries("EURUSD", timeframe.span, time.astype(np.int64), column, column, column, column, column)


class Idea(Settings):
    formula: str
    size: float = 0.1


class Teller(Strategy):
    def warmup(self):
        return 1

    seen = 0

    def on_bar(self, bar, ctx):
        self.seen += 1
        ctx.log(told_of(self.settings))
        ctx.buy(bar.symbol, 0.1, tag=self.settings.formula)
        if self.seen > 10:
            raise ValueError(told_of(self.settings))


def told_of(settings):
    return settings.formula + repr(settings)


@hookimpl
def herald_connectors():
    yield component("prices", Login, Prices)


@hookimpl
def herald_strategies():
    yield component("teller", Idea, Teller)
"""

FILE = """
[plugins]
paths = ["plugins"]
[[secrets]]
use = "encrypted_config"
key_file = "key"
[connectors.main]
use = "telling.prices"
encrypted = "broker"
style = "loud and clear"
[strategies.mine]
use = "telling.teller"
symbols = ["EURUSD"]
timeframe = "1h"
encrypted = "idea"
[[observers]]
use = "log"
file = "run.log"
events = ["Order", "Fill", "SystemEvent"]
"""

BROKER = """
server = "Kq7-Hidden-Server"
number = 7315927
password = "Kq7-hidden-password"
symbols = ["EURUSD"]
proxy = { host = "Kq7.proxy.example:81", "user name" = "Kq7 user, said \\"zebrawood\\"" }
"""
IDEA = 'formula = "Kq7: buy low, sell high"\n'
SECRETS = (b"Kq7", b"hidden-password", b"buy low", b"proxy.example", b"zebrawood")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "telling.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "herald.toml").write_text(FILE, encoding="utf-8")
    Vault.create(tmp_path / "herald.vault", make_key_file(tmp_path / "key")).update({"broker": BROKER, "idea": IDEA})
    return tmp_path


def run(folder: Path, env: dict[str, str], *words: str) -> bytes:
    """Return all that a command left behind."""
    done = subprocess.run([sys.executable, "-m", "herald", *words], cwd=folder, env=env, capture_output=True, check=False)
    given = {"herald.vault", "telling.py", "herald.toml", "key"}
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in given and path.suffix != ".pyc"]
    return b"\n".join([done.stdout, done.stderr, *(path.read_bytes() for path in files)])


def test_a_run_leaves_nothing_of_an_encrypted_table_behind(folder: Path, clean_env: dict[str, str]) -> None:
    left = run(folder, clean_env, "backtest", "herald.toml")

    assert [] == [one for one in SECRETS if one in left]
    manifest = json.loads(next((folder / "runs").glob("*/manifest.json")).read_text(encoding="utf-8"))
    assert 1 == len(manifest["failures"])  # it told all in its last words
    assert list((folder / "runs").glob("*/report.html"))
    assert b"StrategyFailed" in (folder / "run.log").read_bytes()
    assert b"***" in next((folder / "runs").glob("*/notes.csv")).read_bytes()
    main, mine = manifest["config"]["connectors"]["main"], manifest["config"]["strategies"]["mine"]
    hidden = {"server": "***", "number": "***", "password": "***", "proxy": "***", "symbols": "***"}
    assert {"use": "telling.prices", "encrypted": "broker", "style": "loud and clear"} | hidden == main
    assert ("***", 0.1, ["EURUSD"]) == (mine["formula"], mine["size"], mine["symbols"])
    # What the run trades is not taken out of its records, although it stood in the table as well.
    assert b"EURUSD" in next((folder / "runs").glob("*/fills.csv")).read_bytes()
    # And the reader above would have seen it.
    deaf = run(folder, clean_env | {"DEAF": "1"}, "backtest", "herald.toml")
    assert [] == [one for one in SECRETS if one not in deaf]


def test_a_plan_shows_where_they_are_and_not_what_is_in_them(folder: Path) -> None:
    plan = load_plan(folder / "herald.toml", environ={})

    shown = plan.describe() + json.dumps(plan.to_dict()) + repr(plan.config)

    assert "encrypted=broker server=*** number=*** password=***" in plan.describe()
    assert [] == [one for one in (*SECRETS, b"7315927") if one.decode() in shown]
    assert "Kq7-Hidden-Server" == plan.connectors["main"].settings.model_dump()["server"]
    assert "*** ***" == redaction.redact("Kq7-Hidden-Server Kq7.proxy.example:81")
    assert "EURUSD loud and clear 7315927" == redaction.redact("EURUSD loud and clear 7315927")


EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "paper.toml"
PARTS = {
    "history": 'path = "{data}/GBPUSD_H1_2021.csv"\nsymbol = "GBPUSD"\nzone = "Europe/Athens"\n',
    "main": 'source = "history"\nstart = 2021-02-01\nend = 2021-{end}\n',
    "exit": "atr = 3.0\n",
    "trend": "size = 0.1\n",
}
PAPER = """
[herald]
mode = "paper"
on_stop = "leave"
[connectors.history]
use = "files"
{history}
[connectors.main]
use = "replay"
poll_seconds = 0.02
middleware = []
{main}
[instruments.GBPUSD]
like = "fx_major"
[strategies.trend]
use = "strategies.sma_cross"
connector = "main"
symbols = ["GBPUSD"]
timeframe = "1h"
{trend}
[[exits]]
use = "exits.trailing_stop"
{exit}
[risk_profile]
use = "risk.balanced"
[[secrets]]
use = "encrypted_config"
key_file = "key"
[backtest]
costs = {{ spread_points = 12 }}
"""


@pytest.mark.long
def test_a_paper_run_that_is_started_again_trades_as_if_it_were_written(tmp_path: Path, clean_env: dict[str, str]) -> None:
    vault = Vault.create(tmp_path / "herald.vault", make_key_file(tmp_path / "key"))
    (tmp_path / "plain").mkdir()
    ends: dict[str, list[dict[str, Any]]] = {"herald.toml": [], "plain/herald.toml": []}
    for end in ("02-15", "03-01"):
        parts = {name: text.format(data=EXAMPLE.with_name("data").as_posix(), end=end) for name, text in PARTS.items()}
        vault.update(parts)
        (tmp_path / "plain/herald.toml").write_text(PAPER.format(**parts), encoding="utf-8")
        hidden = {name: f'encrypted = "{name}"' for name in parts}
        (tmp_path / "herald.toml").write_text(PAPER.format(**hidden), encoding="utf-8")
        for file, found in ends.items():
            done = subprocess.run(
                [sys.executable, "-m", "herald", "paper", Path(file).name, "--json"],
                cwd=(tmp_path / file).parent, env=clean_env, capture_output=True, encoding="utf-8", check=True,
            )  # fmt: skip
            outcome = json.loads(done.stdout)
            found.append({name: outcome[name] for name in ("status", "errors", "orders", "fills", "account")})

    first, second = ends["herald.toml"]
    assert ("completed", []) == (second["status"], second["errors"])
    assert min(first["fills"], second["fills"]) > 3
    assert ends["plain/herald.toml"] == [first, second]
    left = [path for path in tmp_path.rglob("*") if path.is_file() and "plain" not in path.parts and path.name != "herald.vault"]
    assert any(path.name == "journal.sqlite" for path in left)
    assert [] == [path for path in left if b"GBPUSD_H1_2021" in (data := path.read_bytes()) or b"Europe/Athens" in data]
