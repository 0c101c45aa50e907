"""Whatever a user gets wrong ends in one clear line and an exit code: the installed command, in a process of its own."""

from __future__ import annotations

import copy
import os
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any, Protocol

import pytest
from click.testing import CliRunner

from tests.forks import Forks

CONFIG = """
[herald]
api = 1
[plugins]
paths = ["mine"]
[connectors.main]
use = "files"
path = "prices.csv"
symbol = "EURUSD"
[instruments.EURUSD]
like = "fx_major"
[strategies.trend]
use = "sitter"
symbols = ["EURUSD"]
timeframe = "1h"
[[risk]]
use = "risk.max_position"
limit = 1.0
[backtest]
cash = 10000.0
"""

SITTER = """
from herald import Settings, Strategy, component, hookimpl
class SitterSettings(Settings):
    length: int = 3
class Sitter(Strategy):
    pass
@hookimpl
def herald_strategies():
    yield component("sitter", SitterSettings, Sitter, "Does nothing.")
"""

HEAD = "time,open,high,low,close,volume\n"
ROWS = "".join(f"2024-03-01 {hour:02}:00,1.10,1.20,1.00,1.10,7\n" for hour in range(8))


def row(number: int, text: str) -> str:
    """Return good prices with line *number* (1 is the header) replaced."""
    lines = (HEAD + ROWS).splitlines(keepends=True)
    lines[number - 1] = text + "\n"
    return "".join(lines)


def plugin(body: str) -> str:
    return SITTER.replace("class Sitter(Strategy):\n    pass", "class Sitter(Strategy):\n" + body)


B, C, P = "backtest h.toml --out runs --no-report", "check h.toml", "plan h.toml"

# name: (command, files that differ, exit code, words that the error output must hold)
CASES: dict[str, tuple[str, dict[str, str], int, tuple[str, ...]]] = {
    # --- the command itself
    "no such verb": ("bactest h.toml", {}, 2, ("No such command 'bactest'",)),
    "no argument": ("backtest", {}, 2, ("Missing argument 'FILE'",)),
    "unknown option": ("backtest h.toml --fast", {}, 2, ("No such option", "--fast")),
    "no such file": ("check nope.toml", {}, 2, ("there is no file 'nope.toml'", "name a config")),
    "a folder as file": ("check mine", {}, 2, ("'mine' is a folder", "name a config file")),
    "no such plugin to show": ("plugins show filez", {}, 2, ("plugin 'filez' is not installed", "did you mean files?")),
    "no such run": ("runs show nope --root runs", {}, 2, ("nope",)),
    "no such run to report": ("report nope --root runs", {}, 2, ("nope",)),
    "no such data file": ("data check nope.csv", {}, 2, ("nope.csv",)),
    "bad name for a new strategy": ("new strategy Bad-Name", {}, 4, ("'Bad-Name' cannot name a plugin", "small letters")),
    # --- the file
    "empty file": (C, {"h.toml": ""}, 4, ("strategies", "no strategy is configured", "add [strategies.NAME]")),
    "not TOML": (C, {"h.toml": "[herald\napi = 1"}, 4, ("h.toml", "not valid TOML", "line 1")),
    "not TOML later": (C, {"h.toml": CONFIG + "x = = 1"}, 4, ("not valid TOML", "line 21")),
    "key twice": (C, {"h.toml": CONFIG + "cash = 1.0"}, 4, ("not valid TOML", "Cannot overwrite")),
    "not UTF-8": (C, {"h.toml": "\udcff"}, 4, ("not UTF-8 text", "save the file as UTF-8")),
    "unknown table": (C, {"h.toml": CONFIG + "[strategy.x]"}, 4, ("strategy: unknown table", "did you mean strategies?")),
    "wrong api": (C, {"h.toml": CONFIG.replace("api = 1", "api = 2")}, 4, ("herald.api", "should be 1", "2")),
    "wrong mode": (C, {"h.toml": CONFIG.replace("api = 1", 'mode = "test"')}, 4, ("herald.mode", "'backtest'", "'test'")),
    "live mode": (B, {"h.toml": CONFIG.replace("api = 1", 'mode = "live"')}, 0, ()),
    "live mode without a pinned account": (
        C,
        {"h.toml": CONFIG.replace("api = 1", 'mode = "live"')},
        4,
        ("live.account: is missing", "live.server: is missing", "live.real: is missing", "and no other"),
    ),
    "negative cash": (C, {"h.toml": CONFIG.replace("10000.0", "-1.0")}, 4, ("backtest.cash", "greater than 0", "-1.0")),
    "cash as text": (C, {"h.toml": CONFIG.replace("10000.0", '"much"')}, 4, ("backtest.cash", "valid number", "'much'")),
    "misspelt cost": (
        C,
        {"h.toml": CONFIG + "costs = { spread_point = 1 }"},
        4,
        ("backtest.costs.spread_point", "did you mean spread_points?"),
    ),
    "negative cost": (
        C,
        {"h.toml": CONFIG + "costs = { spread_points = -1 }"},
        4,
        ("backtest.costs.spread_points", "greater than or equal to 0"),
    ),
    "no date": (C, {"h.toml": CONFIG + 'start = "soon"'}, 4, ("backtest.start", "'soon' is no date", "write 2024-01-31")),
    "leverage below 1": (
        C,
        {"h.toml": CONFIG + "[account]\nleverage = 0.5"},
        4,
        ("account.leverage", "greater than or equal to 1"),
    ),
    "currency in small letters": (C, {"h.toml": CONFIG + '[account]\ncurrency = "usd"'}, 4, ("account.currency", "'usd'")),
    "unknown like": (
        C,
        {"h.toml": CONFIG.replace("fx_major", "fx_mayor")},
        4,
        ("instruments.EURUSD.like", "did you mean fx_major?"),
    ),
    "end before start": (
        C,
        {"h.toml": CONFIG + "start = 2024-03-02\nend = 2024-03-01"},
        4,
        ("backtest: start (2024-03-02) is not before end (2024-03-01)", "change one of them"),
    ),
    "year that no clock here can tell": (
        B,
        {"h.toml": CONFIG + "end = 9999-12-31"},
        4,
        ("backtest.end: 9999-12-31 is out of range", "from 1678 to 2261"),
    ),
    "table where a list belongs": (
        C,
        {"h.toml": CONFIG.replace("[[risk]]", "[risk]")},
        4,
        ("risk: must be a list", "[[headings]]"),
    ),
    "text where a table belongs": (C, {"h.toml": 'account = "USD"' + CONFIG}, 4, ("account: must be a table", "[heading]")),
    "smallest size above the largest": (
        C,
        {"h.toml": CONFIG.replace('"fx_major"', '"fx_major"\nmin_size = 5\nmax_size = 1')},
        4,
        ("instruments.EURUSD", "min_size (5) is above max_size (1)"),
    ),
    "price step of a yen pair": (
        C,
        {"h.toml": CONFIG + '[instruments.USDJPY]\nlike = "fx_major"'},
        4,
        ("instruments.USDJPY.like", "quoted in JPY", 'write like = "fx_jpy"'),
    ),
    "two entries of one name": (
        C,
        {
            "h.toml": CONFIG
            + '[[risk]]\nuse = "max_position"\nlimit = 1\nname = "a"\n[[risk]]\nuse = "max_position"\nlimit = 2\nname = "a"'
        },
        4,
        ("risk[2].name: a is used twice in risk", "choose another"),
    ),
    "every strategy switched off": (
        C,
        {"h.toml": CONFIG.replace("timeframe", "enabled = false\ntimeframe")},
        4,
        ("strategies: every strategy has enabled = false", "enable one"),
    ),
    # --- components
    "unknown connector component": (
        C,
        {"h.toml": CONFIG.replace('"files"', '"filez"')},
        4,
        ("connectors.main.use", "filez", "did you mean files?"),
    ),
    "connector without use": (C, {"h.toml": CONFIG.replace('use = "files"', "")}, 4, ("connectors.main", "use is missing")),
    "unknown key of a connector": (
        C,
        {"h.toml": CONFIG.replace("symbol = ", "simbol = ")},
        4,
        ("connectors.main.simbol", "unknown key of files", "did you mean symbol?"),
    ),
    "unknown strategy": (
        C,
        {"h.toml": CONFIG.replace('"sitter"', '"siter"')},
        4,
        ("strategies.trend.use", "siter", "did you mean sitter?"),
    ),
    "unknown key of a strategy": (
        C,
        {"h.toml": CONFIG.replace("timeframe", "lenght = 3\ntimeframe")},
        4,
        ("strategies.trend.lenght", "did you mean length?"),
    ),
    "setting of the wrong type": (
        C,
        {"h.toml": CONFIG.replace("timeframe", 'length = "x"\ntimeframe')},
        4,
        ("strategies.trend.length", "valid integer", "'x'"),
    ),
    "connector that is not there": (
        C,
        {"h.toml": CONFIG.replace("timeframe", 'connector = "man"\ntimeframe')},
        4,
        ("strategies.trend.connector", '"man"', "did you mean main?"),
    ),
    "no symbols": (
        C,
        {"h.toml": CONFIG.replace('["EURUSD"]', "[]")},
        4,
        ("strategies.trend.symbols", 'write symbols = ["EURUSD"]'),
    ),
    "symbols as text": (
        C,
        {"h.toml": CONFIG.replace('["EURUSD"]', '"EURUSD"')},
        4,
        ("strategies.trend.symbols", "must be a list"),
    ),
    "bad time frame": (
        C,
        {"h.toml": CONFIG.replace('"1h"', '"hourly"')},
        4,
        ("strategies.trend.timeframe", "unknown time frame 'hourly'", "15m"),
    ),
    "unknown risk check": (
        C,
        {"h.toml": CONFIG.replace("max_position", "max_positon")},
        4,
        ("risk[0].use", "did you mean risk.max_position?"),
    ),
    "risk check without its limit": (
        C,
        {"h.toml": CONFIG.replace("limit = 1.0", "")},
        4,
        ("risk[0]", "no limit is given; set limit"),
    ),
    "unknown exit": (C, {"h.toml": CONFIG + '[[exits]]\nuse = "exits.stop"'}, 4, ("exits[0].use", "exits.stop_loss")),
    "exit with impossible settings": (C, {"h.toml": CONFIG + '[[exits]]\nuse = "exits.stop_loss"'}, 4, ("exits[0]",)),
    "unknown profile": (
        C,
        {"h.toml": CONFIG + '[risk_profile]\nuse = "risk.brave"'},
        4,
        ("risk_profile.use", "risk.brave", "risk.balanced"),
    ),
    "unknown sizer": (
        C,
        {"h.toml": CONFIG.replace("timeframe", 'sizing = { use = "sizing.fix" }\ntimeframe')},
        4,
        ("strategies.trend.sizing.use", "did you mean sizing.fixed?"),
    ),
    "unknown observer": (C, {"h.toml": CONFIG + '[[observers]]\nuse = "logg"'}, 4, ("observers[0].use", "did you mean log?")),
    "unknown format": (
        C,
        {"h.toml": CONFIG.replace("symbol = ", 'format = "files.mt6"\nsymbol = ')},
        4,
        ("connectors.main.format", "files.mt5"),
    ),
    "no such plugin folder": (
        C,
        {"h.toml": CONFIG.replace('["mine"]', '["yours"]')},
        4,
        ("plugins.paths", "yours is not a folder"),
    ),
    "plugin to load not installed": (
        C,
        {"h.toml": CONFIG.replace("[plugins]", '[plugins]\nload = ["nope"]')},
        4,
        ("plugins.load[0]", "'nope' is not installed"),
    ),
    # --- plugins
    "plugin that fails on import": (
        C,
        {"mine/sitter.py": "import nowhere"},
        4,
        ("'sitter'", "cannot be imported", "No module named 'nowhere'"),
    ),
    "plugin with a syntax error": (C, {"mine/sitter.py": "def ("}, 4, ("'sitter'", "cannot be imported", "SyntaxError")),
    "plugin without components": (
        C,
        {"mine/sitter.py": ""},
        4,
        ("plugin 'sitter' has no strategy 'sitter'", "no strategy at all"),
    ),
    "plugin that wraps a hook": (
        C,
        {"mine/sitter.py": SITTER.replace("@hookimpl", "@hookimpl(wrapper=True)")},
        4,
        ("is a wrapper", "cannot be wrapped"),
    ),
    "plugin with a default in a hook": (
        C,
        {"mine/sitter.py": SITTER.replace("herald_strategies()", "herald_strategies(x=1)")},
        4,
        ("'x' a default", "remove it"),
    ),
    "plugin with an unknown hook": (
        C,
        {"mine/sitter.py": SITTER.replace("herald_strategies", "herald_strategy")},
        4,
        ("unknown hook herald_strategy", "did you mean herald_strategies?"),
    ),
    "plugin that ends the process": (
        C,
        {"mine/sitter.py": "raise SystemExit(0)"},
        4,
        ("'sitter'", "cannot be imported", "SystemExit: 0"),
    ),
    "plugin that forgot the mark": (
        C,
        {"mine/sitter.py": SITTER.replace("@hookimpl\n", "")},
        4,
        ("herald_strategies is not marked", "write @hookimpl above it"),
    ),
    "plugin that asks for what no hook gives": (
        C,
        {"mine/sitter.py": SITTER.replace("herald_strategies()", "herald_strategies(plan)")},
        4,
        ("herald_strategies asks for 'plan'", "remove it"),
    ),
    "plugin with settings of its own kind": (
        C,
        {"mine/sitter.py": SITTER.replace('"sitter", SitterSettings', '"sitter", dict')},
        4,
        ("the settings of 'sitter' are no class derived from herald.Settings",),
    ),
    "plugin that takes a word of Herald's": (
        C,
        {"mine/sitter.py": SITTER.replace("length: int", "symbols: int")},
        4,
        ("use symbols, Herald's own key of a strategy", "rename it"),
    ),
    "plugin for another API": (
        C,
        {
            "h.toml": CONFIG.replace('"sitter"', '"late"'),
            "site/late-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: late\nVersion: 1.0\n",
            "site/late-1.0.dist-info/entry_points.txt": "[herald.v2]\nlate = late\n",
        },
        4,
        ("strategies.trend.use", "'late' of late 1.0 speaks API 2; this Herald speaks 1; upgrade herald-trading"),
    ),
    "two distributions with one name": (
        C,
        {
            "h.toml": CONFIG.replace('"sitter"', '"twin"'),
            "site/one-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: one\nVersion: 1.0\n",
            "site/one-1.0.dist-info/entry_points.txt": "[herald.v1]\ntwin = one\n",
            "site/two-2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: two\nVersion: 2.0\n",
            "site/two-2.0.dist-info/entry_points.txt": "[herald.v1]\ntwin = two\n",
        },
        4,
        ("strategies.trend.use", "'twin' is claimed by", "one 1.0", "two 2.0", "uninstall one of them"),
    ),
    "local plugin with a name that is taken": (
        C,
        {"mine/risk.py": SITTER.replace("sitter", "risk")},
        4,
        ("'risk' is claimed by", "herald-trading", "risk.py"),
    ),
    # --- data
    "data file missing": (B, {"h.toml": CONFIG.replace("prices.csv", "price.csv")}, 1, ("price.csv",)),
    "data empty": (B, {"prices.csv": ""}, 1, ("prices.csv", "empty")),
    "data header only": (B, {"prices.csv": HEAD}, 1, ("prices.csv",)),
    "data ragged header": (B, {"prices.csv": HEAD + ROWS.replace(",7\n", ",7,9\n")}, 1, ("prices.csv", "row 2")),
    "data text in a number": (
        B,
        {"prices.csv": row(4, "2024-03-01 02:00,1.10,abc,1.00,1.10,7")},
        1,
        ("prices.csv", "row 4", "abc", "herald data check"),
    ),
    "data times go back": (B, {"prices.csv": row(5, "2024-02-01 03:00,1.10,1.20,1.00,1.10,7")}, 1, ("prices.csv", "row 5")),
    "data times repeat": (B, {"prices.csv": row(5, "2024-03-01 02:00,1.10,1.20,1.00,1.10,7")}, 1, ("prices.csv", "row 5")),
    "data high below low": (B, {"prices.csv": row(6, "2024-03-01 04:00,1.10,0.90,1.00,1.10,7")}, 1, ("prices.csv", "row 6")),
    "data not a number": (B, {"prices.csv": row(6, "2024-03-01 04:00,1.10,1.20,NaN,1.10,7")}, 1, ("prices.csv", "row 6")),
    "data lost decimal point": (B, {"prices.csv": row(6, "2024-03-01 04:00,110,120,100,110,7")}, 1, ("prices.csv", "row 6")),
    "data negative price": (B, {"prices.csv": row(6, "2024-03-01 04:00,1.10,1.20,-1.00,1.10,7")}, 1, ("prices.csv", "row 6")),
    "data of another symbol": (
        B,
        {"h.toml": CONFIG.replace('["EURUSD"]', '["GBPUSD"]')},
        4,
        ("connectors.main.symbol", "'EURUSD'", "'GBPUSD'"),
    ),
    "dates outside the data": (
        B,
        {"h.toml": CONFIG + "start = 2030-01-01"},
        1,
        ("no bars from 2030-01-01", "2024-03-01", "change [backtest] start or end"),
    ),
    "instrument without terms": (
        B,
        {"h.toml": CONFIG.replace('like = "fx_major"', 'quote = "USD"')},
        4,
        ("instruments.EURUSD", "lack price_step", "like"),
    ),
    "missing conversion": (
        B,
        {"h.toml": CONFIG.replace('"fx_major"', '"fx_major"\nquote = "JPY"')},
        4,
        ("conversions.JPY", "no instrument converts JPY", "USD"),
    ),
    "spread of the data that has none": (
        B,
        {"h.toml": CONFIG + 'costs = { spread = "data" }'},
        1,
        ("no spread column", "spread_points"),
    ),
    # --- strategies
    "strategy that raises on a bar": (
        B,
        {"mine/sitter.py": plugin("    def on_bar(self, bar, ctx):\n        1 / 0")},
        1,
        ("strategy 'trend' was stopped", "ZeroDivisionError", "sitter.py, line"),
    ),
    "strategy that raises at the start": (
        B,
        {"mine/sitter.py": plugin("    def on_start(self, ctx):\n        ctx.closes('EURUSD', 5)")},
        1,
        ("asks for 5 bars", "return more from warmup()"),
    ),
    "strategy that trades what it does not list": (
        B,
        {"mine/sitter.py": plugin("    def on_bar(self, bar, ctx):\n        ctx.buy('GBPUSD', 1)")},
        1,
        ("does not trade 'GBPUSD'", "add it to its symbols"),
    ),
    # --- more of each kind
    "misspelt verb of a group": ("runs lst", {}, 2, ("No such command 'lst'", "list")),
    "verb of a group that is none": ("data frobnicate", {}, 2, ("No such command 'frobnicate'",)),
    "too many arguments": ("demo x", {}, 2, ("unexpected extra argument",)),
    "one run to compare": ("runs compare last", {}, 2, ("Missing argument 'SECOND'",)),
    "results into a file": ("backtest h.toml --out prices.csv", {}, 2, ("'prices.csv' is a file",)),
    "name of an installed plugin for a new one": ("new strategy risk", {}, 4, ("'risk'", "herald-trading", "choose another")),
    "keyword as a name": ("new strategy class", {}, 4, ("'class' cannot name a plugin",)),
    "zone on the command line": ("data check prices.csv --zone Mars", {}, 2, ("--zone", "'Mars'", "Europe/Athens")),
    "defects on the command line": (
        "data show prices.csv",
        {"prices.csv": "x\n"},
        1,
        (),
    ),
    "cash that is no number at all": (C, {"h.toml": CONFIG.replace("10000.0", "nan")}, 4, ("backtest.cash", "finite number")),
    "endless leverage": (C, {"h.toml": CONFIG + "[account]\nleverage = inf"}, 4, ("account.leverage", "finite number")),
    "unknown account mode": (C, {"h.toml": CONFIG + '[account]\nmode = "hedge"'}, 4, ("account.mode", "'hedging'", "'hedge'")),
    "seed with a fraction": (C, {"h.toml": CONFIG.replace("api = 1", "seed = 1.5")}, 4, ("herald.seed", "integer", "1.5")),
    "unknown end of a run": (C, {"h.toml": CONFIG.replace("api = 1", 'on_stop = "sell"')}, 4, ("herald.on_stop", "'flatten'")),
    "unknown way inside a bar": (C, {"h.toml": CONFIG + 'intrabar = "worst"'}, 4, ("backtest.intrabar", "'worse'", "'worst'")),
    "more than the whole volume": (C, {"h.toml": CONFIG + "participation = 2.0"}, 4, ("backtest.participation", "equal to 1")),
    "costs as text": (C, {"h.toml": CONFIG + 'costs = "low"'}, 4, ("backtest.costs", "must be a table")),
    "a time as a date": (C, {"h.toml": CONFIG + "start = 10:00:00"}, 4, ("backtest.start", "no date", "2024-01-31")),
    "limit below zero": (C, {"h.toml": CONFIG.replace("limit = 1.0", "limit = -1.0")}, 4, ("risk[0].limit", "greater than 0")),
    "time frame as a number": (C, {"h.toml": CONFIG.replace('"1h"', "60")}, 4, ("trend.timeframe", "60", 'timeframe = "1h"')),
    "time frame of no length": (C, {"h.toml": CONFIG.replace('"1h"', '"0m"')}, 4, ("unknown time frame '0m'",)),
    "a symbol twice": (
        C,
        {"h.toml": CONFIG.replace('["EURUSD"]', '["EURUSD", "EURUSD"]')},
        4,
        ("strategies.trend.symbols", "EURUSD is listed twice"),
    ),
    "symbol in small letters": (C, {"h.toml": CONFIG.replace('["EURUSD"]', '["eurusd"]')}, 4, ("'EURUSD'", "'eurusd'")),
    "strategy with a name that orders cannot have": (
        C,
        {"h.toml": CONFIG.replace("strategies.trend", 'strategies."a b"')},
        4,
        ("'a b' is no strategy name", "letters, digits and _"),
    ),
    "zone of the data misspelt": (
        C,
        {"h.toml": CONFIG.replace("symbol = ", 'zone = "Europe/Athen"\nsymbol = ')},
        4,
        ("connectors.main.zone", "unknown time zone 'Europe/Athen'", "Europe/Athens"),
    ),
    "path and paths": (
        C,
        {"h.toml": CONFIG.replace("symbol = ", 'paths = { EURUSD = "p.csv" }\nsymbol = ')},
        4,
        ("connectors.main", "either path or paths"),
    ),
    "price step below zero": (
        C,
        {"h.toml": CONFIG.replace('"fx_major"', '"fx_major"\nprice_step = -1')},
        4,
        ("instruments.EURUSD.price_step", "greater than 0"),
    ),
    "UTF-16": (C, {"h.toml": "\udcff\udcfea\x00"}, 4, ("not UTF-8 text at byte 0",)),
    "plugin whose hook gives nothing": (
        C,
        {"mine/sitter.py": SITTER.replace("yield component", "return None\n    yield component").replace("yield c", "#")},
        4,
        ("herald_strategies raised TypeError", "yield what it offers"),
    ),
    "plugin with a name of a component that is none": (
        C,
        {"mine/sitter.py": SITTER.replace('component("sitter"', 'component("Sitter X"')},
        4,
        ("'Sitter X' is no component name", "small letters"),
    ),
    "plugin that offers one name twice": (
        C,
        {"mine/sitter.py": SITTER + '    yield component("sitter", SitterSettings, Sitter, "Again.")\n'},
        4,
        ("strategy 'sitter' is offered by", "rename one of them"),
    ),
    "setting that must be stated": (
        C,
        {"mine/sitter.py": SITTER.replace("int = 3", "int")},
        4,
        ("strategies.trend.length: is missing; state it",),
    ),
    "validation that raises": (
        C,
        {"mine/sitter.py": SITTER + "@hookimpl\ndef herald_validate(plan):\n    raise RuntimeError('x')\n"},
        4,
        ("plugins.sitter", "herald_validate raised RuntimeError: x"),
    ),
    "component that cannot be built": (
        B,
        {"mine/sitter.py": plugin("    def __init__(self, settings, services):\n        raise RuntimeError('no')")},
        4,
        ("strategies.trend", "cannot be built", "RuntimeError: no"),
    ),
    "strategy that ends the process": (
        B,
        {"mine/sitter.py": plugin("    def on_bar(self, bar, ctx):\n        raise SystemExit(0)")},
        1,
        ("strategy 'trend' was stopped", "SystemExit: 0 (sitter.py, line 7)"),
    ),
    "strategy that raises many lines": (
        B,
        {"mine/sitter.py": plugin("    def on_bar(self, bar, ctx):\n        raise ValueError('a\\nb')")},
        1,
        ("ValueError: a b (sitter.py, line 7)",),
    ),
    "strategy that raises when it is filled": (
        B,
        {
            "mine/sitter.py": plugin(
                "    def on_bar(self, bar, ctx):\n        ctx.buy('EURUSD', 0.1)\n    def on_fill(self, fill, ctx):\n        1 / 0"
            )
        },
        1,
        ("strategy 'trend' was stopped at 2024-03-01T02:00:00Z", "ZeroDivisionError", "sitter.py, line 9"),
    ),
    "strategy that alters a bar": (
        B,
        {"mine/sitter.py": plugin("    def on_bar(self, bar, ctx):\n        bar.close = 1.0")},
        1,
        ("strategy 'trend' was stopped", "immutable"),
    ),
    "strategy that alters history": (
        B,
        {"mine/sitter.py": plugin("    def on_bar(self, bar, ctx):\n        ctx.closes('EURUSD', 1)[0] = 1.0")},
        1,
        ("strategy 'trend' was stopped", "read-only"),
    ),
    "finer bars than there are": (
        B,
        {"h.toml": CONFIG.replace('"1h"', '"15m"')},
        1,
        ("no file of 'EURUSD' makes bars of 15m", "there are 1h"),
    ),
    "end before the data": (B, {"h.toml": CONFIG + "end = 2020-01-01"}, 1, ("no bars of 'EURUSD'", "2024-03-01")),
    "data without a header": (B, {"prices.csv": ROWS}, 1, ("prices.csv row 1", "no header", "time,open,high,low,close,volume")),
    "data without a price": (
        B,
        {"prices.csv": HEAD.replace("low", "lo") + ROWS},
        1,
        ("no column for low", 'columns = { low = "..." }'),
    ),
    "data with a column twice": (
        B,
        {"prices.csv": HEAD.replace("volume", "open") + ROWS},
        1,
        ("2 columns are called 'open'", "rename"),
    ),
    "data of German numbers": (
        B,
        {"prices.csv": (HEAD + ROWS).replace(",", ";").replace(".", ",")},
        1,
        ("prices.csv row 2", "'1,10' is not a number", 'decimal = ","'),
    ),
    "data with days or months first": (
        B,
        {"prices.csv": HEAD + "".join(f"03/0{day}/2024,1.1,1.2,1.0,1.1,7\n" for day in range(1, 9))},
        1,
        ("day/month or month/day", "date_format"),
    ),
    "data with a day that never was": (
        B,
        {"prices.csv": row(4, "2024-02-30 02:00,1.10,1.20,1.00,1.10,7")},
        1,
        ("prices.csv row 4", "'2024-02-30 02:00' is not a time"),
    ),
    "data with an empty price": (B, {"prices.csv": row(4, "2024-03-01 02:00,1.10,,1.00,1.10,7")}, 1, ("row 4", "high is empty")),
    "data with an endless price": (
        B,
        {"prices.csv": row(4, "2024-03-01 02:00,1.10,inf,1.00,1.10,7")},
        1,
        ("row 4", "high is infinite"),
    ),
    "data with a volume below zero": (
        B,
        {"prices.csv": row(4, "2024-03-01 02:00,1.10,1.20,1.00,1.10,-7")},
        1,
        ("row 4", "volume -7 is no volume"),
    ),
    "data that ends in a remark": (
        B,
        {"prices.csv": HEAD + ROWS + "Downloaded today\n"},
        1,
        ("row 10", "has 1 cell where 6 belong"),
    ),
    "data that is a web page": (B, {"prices.csv": "<!DOCTYPE html>\n<html></html>\n"}, 1, ("no header", "<!DOCTYPE html>")),
    "data with a line without end": (
        B,
        {"prices.csv": HEAD + "x" * 200_000 + "\n" + ROWS},
        1,
        ("the header has 6 names and row 2 has 1 cell",),
    ),
    "data that is no text": (B, {"prices.csv": "\x00\x01\x02" * 50}, 1, ("no format reads this file", "export it as CSV")),
    "data that only pretends to be compressed": (
        B,
        {"h.toml": CONFIG.replace("prices.csv", "p.csv.gz"), "p.csv.gz": "\x1f\udc8b\x08broken"},
        1,
        ("cannot be decompressed", "fetch or compress the file again"),
    ),
    "data that only pretends to be Parquet": (
        B,
        {"h.toml": CONFIG.replace("prices.csv", "p.parquet"), "p.parquet": "hello"},
        1,
        ("p.parquet", "Parquet"),
    ),
    "data of one bar": (B, {"prices.csv": HEAD + ROWS.splitlines()[0] + "\n"}, 1, ("too few rows", 'timeframe = "1h"')),
    "hour that the zone skipped": (
        B,
        {
            "h.toml": CONFIG.replace("symbol = ", 'zone = "Europe/Athens"\nsymbol = '),
            "prices.csv": HEAD + ROWS.replace("2024-03-01", "2024-03-31"),
        },
        1,
        ("row 5", "does not exist in the file's zone", "state the zone"),
    ),
}


# name: (environment, words): what a variable may get wrong
VARIABLES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "unknown table": ({"HERALD_CONECTORS__MAIN__PATH": "x"}, ("HERALD_CONECTORS__MAIN__PATH", "HERALD_CONNECTORS__")),
    "unknown key": ({"HERALD_BACKTEST__CAHS": "5"}, ("set by HERALD_BACKTEST__CAHS", "did you mean cash?")),
    "wrong type": ({"HERALD_BACKTEST__CASH": "much"}, ("backtest.cash", "'much' (set by HERALD_BACKTEST__CASH)")),
    "nothing": ({"HERALD_BACKTEST__CASH": ""}, ("backtest.cash", "'' (set by HERALD_BACKTEST__CASH)")),
    "text where a table belongs": ({"HERALD_CONNECTORS__MAIN": "x"}, ("connectors.main", "set by HERALD_CONNECTORS__MAIN")),
    "an entry of a list": ({"HERALD_RISK__0__LIMIT": "2"}, ("HERALD_RISK__0__LIMIT", "risk is not a table", "in JSON")),
    "text where a list belongs": (
        {"HERALD_STRATEGIES__TREND__SYMBOLS": "EURUSD"},
        ("strategies.trend.symbols", "set by HERALD_STRATEGIES__TREND__SYMBOLS"),
    ),
    "a list that does not end": (
        {"HERALD_STRATEGIES__TREND__SYMBOLS": '["EURUSD"'},
        ("is not valid JSON", '["EURUSD", "GBPUSD"]'),
    ),
    "a word in other letters": ({"HERALD_HERALD__MODE": "Live"}, ("herald.mode", "'Live' (set by HERALD_HERALD__MODE)")),
    "terms that are not shipped": (
        {"HERALD_INSTRUMENTS__EURUSD__LIKE": "fx_majr"},
        ("instruments.EURUSD.like", "did you mean fx_major?"),
    ),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitter.py").write_text(SITTER, encoding="utf-8")
    (tmp_path / "h.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "prices.csv").write_text(HEAD + ROWS, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with closing(Forks(tmp_path_factory.mktemp("forks"))) as made:
        yield made


class Run(Protocol):
    """The installed command, in a process of its own."""

    def __call__(self, command: str, variables: Mapping[str, str] = ..., /) -> subprocess.CompletedProcess[str]:
        """Return how it ended, and what it printed."""


@pytest.fixture
def herald(project: Path, forks: Forks) -> Run:
    """Return what runs a command in the project."""

    def run(command: str, variables: Mapping[str, str] = MappingProxyType({}), /) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HERALD_")}
        environment |= {
            "PYTHONPATH": str(project / "site"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "XDG_CACHE_HOME": str(project / "cache"),
            "PYTHONIOENCODING": "utf-8",
            **variables,
        }
        return forks.run(command.split(), project, environment)

    return run


@pytest.mark.parametrize("name", CASES)
def test_bad_input_ends_in_a_clear_line(project: Path, herald: Run, name: str) -> None:
    command, changes, code, words = CASES[name]
    for file, text in changes.items():
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_bytes(dedent(text).encode("utf-8", "surrogateescape"))

    done = herald(command)

    assert code == done.returncode, done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    for line in done.stderr.splitlines():
        assert len(line) < 600


@pytest.mark.parametrize("name", VARIABLES)
def test_bad_variable_ends_in_a_clear_line(herald: Run, name: str) -> None:
    variables, words = VARIABLES[name]

    done = herald(C, variables)

    assert (4, "") == (done.returncode, done.stdout), done.stderr
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr


def test_good_project_is_good(herald: Run) -> None:
    assert 0 == herald(C).returncode
    assert 0 == herald(B).returncode


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


def test_five_mistakes_are_listed_one_a_line(project: Path, herald: Run) -> None:
    text = CONFIG.replace("api = 1", "apy = 1").replace("symbol = ", "simbol = ").replace('"1h"', '"1 h"')
    text = text.replace("limit = 1.0", 'limit = "x"').replace("cash", "cahs")
    (project / "h.toml").write_text(text, encoding="utf-8")

    done = herald(C)

    lines = done.stderr.splitlines()
    assert "herald: h.toml: 5 problems" == lines[0]
    assert ["herald.apy", "connectors.main.simbol", "strategies.trend.timeframe", "risk[0].limit", "backtest.cahs"] == [
        line.strip().split(":")[0] for line in lines[1:]
    ]


def test_failed_run_keeps_its_results_and_says_where(project: Path, herald: Run) -> None:
    (project / "mine" / "sitter.py").write_text(
        plugin("    def on_bar(self, bar, ctx):\n        ctx.buy('EURUSD', 0.1) if bar.time % 7_200_000_000_000 else 1 / 0"),
        encoding="utf-8",
    )

    done = herald(B)

    (folder,) = (project / "runs").iterdir()
    assert 1 == done.returncode
    assert f"kept in {Path('runs') / folder.name}" in done.stderr
    assert "failed" in (folder / "manifest.json").read_text(encoding="utf-8")


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, (*path, index))


def _mutants(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in _places(data):
        for what in ("drop", "retype", "nest", "misspell"):
            mutant = copy.deepcopy(data)
            holder: Any = mutant
            for part in path[:-1]:
                holder = holder[part]
            last = path[-1]
            if what == "drop":
                del holder[last]
            elif what == "retype":
                holder[last] = [1] if isinstance(holder[last], str) else "text"
            elif what == "nest":
                holder[last] = {"a": 1}
            elif isinstance(last, str):
                holder[f"{last}x"] = holder.pop(last)
            else:
                continue
            yield f"{what} {path}", mutant


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {_toml(inner)}' for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


# Everything a config can say: keys of several kinds, lists of tables, tables in lists.
MORE = """
start = 2024-03-01
end = 2024-03-02
costs = { spread_points = 1.0, spread = "fixed" }
[account]
currency = "USD"
mode = "netting"
[conversions]
max_age_seconds = 3600.0
[connectors.other]
use = "files"
path = "prices.csv"
format = "files.csv"
symbol = "GBPUSD"
zone = [{ zone = "Europe/Berlin", until = 2014-11-22 }, { zone = "Europe/Athens" }]
columns = { time = "time", open = 2 }
[instruments.GBPUSD]
base = "GBP"
quote = "USD"
price_step = 0.00001
size_step = 0.01
min_size = 0.01
contract_size = 100000.0
[strategies.second]
use = "strategies.sma_cross"
connector = "other"
symbols = ["GBPUSD"]
timeframe = ["1h", "4h"]
fast = 2
slow = 5
enabled = true
sizing = { use = "sizing.percent_risk", fraction = 0.01 }
exits = [{ use = "exits.profit_target", levels = [{ points = 50.0, share = 0.5 }] }]
risk = [{ use = "risk.max_position", limit = 2.0, name = "own" }]
[risk_profile]
use = "risk.balanced"
[[exits]]
use = "exits.trailing_stop"
atr = 3.0
[[observers]]
use = "log"
level = "ERROR"
"""


@pytest.mark.long
def test_config_mutated_at_every_place_is_refused_with_its_place_or_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from herald.cli import exit_code
    from herald.cli.plan import check
    from herald.errors import ConfigError, HeraldError
    from herald.host.plan import load_plan
    from herald.runtime import run_backtest

    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
    monkeypatch.chdir(project)
    text = CONFIG.replace("timeframe", 'connector = "main"\ntimeframe') + MORE
    Path("h.toml").write_text(text, encoding="utf-8")
    unchanged = CliRunner().invoke(check, ["h.toml"])
    assert 0 == unchanged.exit_code, unchanged.exception
    data = tomllib.loads(text)
    count = wrong = completed = 0
    for name, mutant in _mutants(data):
        Path("h.toml").write_text("".join(f'"{key}" = {_toml(value)}\n' for key, value in mutant.items()), encoding="utf-8")
        result = CliRunner().invoke(check, ["h.toml"])
        count += 1
        if result.exception is not None:
            wrong += 1
            assert isinstance(result.exception, ConfigError), (name, result.exception)
            assert 4 == exit_code(result.exception)
            for problem in result.exception.problems:
                assert problem.where, name
                assert not set("\n()") & set(problem.where), (name, problem)  # a place in the file, nothing of Python
            continue
        # What the check lets through runs, or is refused for what only its data can tell.
        with suppress(HeraldError):
            assert "completed" == run_backtest(load_plan("h.toml", mode="backtest")).status, name
            completed += 1
    assert count > 300
    assert wrong > count / 2
    assert completed > 30
