"""What is forbidden in Herald's source because it has cost others money: a small rule set, and the places it waives.

ruff's S rules (those of bandit) hold as well; here stands what they do not know: which room may do a thing at all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "herald"
PLACES = ("herald", "plugins_contrib", "examples")
SOURCES = sorted(path for folder in PLACES for path in (ROOT / folder).rglob("*.py") if "build" not in path.parts)

Rule = Callable[[ast.AST, dict[str, str]], str]

UNSAFE_MODULES = {
    "pickle": "runs code from the data; msgspec reads values",
    "cPickle": "as pickle",
    "_pickle": "as pickle",
    "dill": "as pickle",
    "cloudpickle": "as pickle",
    "joblib": "as pickle",
    "shelve": "is pickle inside",
    "marshal": "crashes on bytes that it did not write",
    "rpyc": "runs code for whoever reaches the port",
    "telnetlib": "says everything in the clear",
    "ftplib": "says everything in the clear",
    "xml": "follows entities; nothing here reads XML",
    "yaml": "there is no YAML here; TOML and JSON are read",
    "logging": "goes around plugins/log.py, where secrets are blotted out",
    "imp": "is gone from Python",
}
UNSAFE_CALLS = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "makes text runnable",
    "__import__": "imports what the plugin lock has not seen; importlib.import_module in host/imports.py",
    "os.system": "goes through a shell",
    "os.popen": "goes through a shell",
    "subprocess.getoutput": "goes through a shell",
    "subprocess.getstatusoutput": "goes through a shell",
    "tempfile.mktemp": "names a file that somebody else can make first",
    "ssl._create_unverified_context": "believes every certificate",
    "hashlib.md5": "is broken",
    "hashlib.sha1": "is broken",
    "numpy.load": "reads pickles where allow_pickle says so; with allow_pickle=False it is allowed",
    "pandas.read_pickle": "is pickle",
    "importlib.import_module": "imports a name that comes from somewhere",
    "random.SystemRandom": "is chance that no seed repeats",
}
WAIVED = {
    ("herald/engine/backtest.py", "exec"): "weaves the loop from lines of its own; nothing of a user's gets in",
    ("herald/engine/backtest.py", "compile"): "the same",
    ("herald/host/imports.py", "importlib.import_module"): "the one place where a plugin is imported, after the lock was asked",
    ("herald/cli/__init__.py", "importlib.import_module"): "verbs: Herald's own from a table, a plugin's when a person names it",
    ("herald/__init__.py", "importlib.import_module"): "the lazy face: names from a table",
    ("herald/utils/__init__.py", "importlib.import_module"): "the lazy face: names from a table",
    ("herald/testing/__init__.py", "importlib.import_module"): "the lazy face: names from a table",
    ("herald/utils/audit_log.py", "isdigit; isdecimal says what int takes"): "of bytes, where it means 0 to 9",
    ("herald/plugins/control/guard.py", "isdigit; isdecimal says what int takes"): "the same",
    ("herald/plugins/mt5/server.py", "importlib.import_module"): "MetaTrader5, or the stand-in that the command line names",
}
"""(file, what): why it may stand there."""


def aliases(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                names[one.asname or one.name.partition(".")[0]] = one.name if one.asname else one.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return names


def full_name(node: ast.AST, names: dict[str, str]) -> str:
    """Return the dotted name that an expression stands for; empty where it is none."""
    if isinstance(node, ast.Attribute):
        inner = full_name(node.value, names)
        return f"{inner}.{node.attr}" if inner else ""
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def keyword(node: ast.Call, name: str) -> object:
    """Return the constant that a keyword of a call has; None where it has none."""
    for one in node.keywords:
        if one.arg == name:
            return one.value.value if isinstance(one.value, ast.Constant) else ...
    return None


def no_unsafe_module(node: ast.AST, names: dict[str, str]) -> str:
    imported: list[str] = []
    if isinstance(node, ast.Import):
        imported = [one.name for one in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        imported = [node.module]
    return next((one.partition(".")[0] for one in imported if one.partition(".")[0] in UNSAFE_MODULES), "")


def no_unsafe_call(node: ast.AST, names: dict[str, str]) -> str:
    if not isinstance(node, ast.Call):
        return ""
    name = full_name(node.func, names)
    if name == "numpy.load" and keyword(node, "allow_pickle") is False:
        return ""
    if name in ("hashlib.md5", "hashlib.sha1") and keyword(node, "usedforsecurity") is False:
        return ""
    return name if name in UNSAFE_CALLS else ""


def no_shell(node: ast.AST, names: dict[str, str]) -> str:
    return "shell=True" if isinstance(node, ast.Call) and keyword(node, "shell") not in (None, False) else ""


def no_open_address(node: ast.AST, names: dict[str, str]) -> str:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return "0.0.0.0" if is_text and node.value in ("0.0.0.0", "::", "[::]") else ""


def no_unverified_tls(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Call) and keyword(node, "verify") is False:
        return "verify=False"
    is_off = isinstance(node, ast.Attribute) and node.attr == "CERT_NONE"
    return "CERT_NONE" if is_off else ""


def no_loose_logger(node: ast.AST, names: dict[str, str]) -> str:
    """A sink of loguru shows the values of variables unless told otherwise."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add"):
        return ""
    is_sink = full_name(node.func.value, names).rpartition(".")[2] in ("logger", "log", "_log")
    is_tight = keyword(node, "diagnose") is False and keyword(node, "backtrace") is False
    return "logger.add without diagnose=False, backtrace=False" if is_sink and not is_tight else ""


def no_loguru_elsewhere(node: ast.AST, names: dict[str, str]) -> str:
    imported = [one.name for one in node.names] if isinstance(node, ast.Import) else []
    imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return "loguru" if any(one.partition(".")[0] == "loguru" for one in imported) else ""


def no_digits_that_int_refuses(node: ast.AST, names: dict[str, str]) -> str:
    """``"²".isdigit()`` is true, and ``int("²")`` an error that nobody expects."""
    is_it = isinstance(node, ast.Attribute) and node.attr in ("isdigit", "isnumeric")
    return "isdigit; isdecimal says what int takes" if is_it else ""


RULES: tuple[Rule, ...] = (
    no_digits_that_int_refuses,
    no_unsafe_module,
    no_unsafe_call,
    no_shell,
    no_open_address,
    no_unverified_tls,
    no_loose_logger,
    no_loguru_elsewhere,
)


def findings(source: str) -> Iterator[tuple[int, str]]:
    tree = ast.parse(source)
    names = aliases(tree)
    for node in ast.walk(tree):
        for rule in RULES:
            what = rule(node, names)
            if what:
                yield getattr(node, "lineno", 0), what


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import xml.etree.ElementTree as et",
        "import yaml\nyaml.load(x)",
        "import logging\nlogging.getLogger()",
        "import rpyc",
        "eval('1')",
        "exec('1')",
        "compile(a, b, 'exec')",
        "import os\nos.system('ls')",
        "from os import popen\npopen('ls')",
        "import subprocess as s\ns.run('ls', shell=True)",
        "import subprocess\nsubprocess.run('ls', shell=flag)",
        "import tempfile\ntempfile.mktemp()",
        "import hashlib\nhashlib.md5(b'')",
        "import numpy as np\nnp.load(f)",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
        "import importlib\nimportlib.import_module(n)",
        "bind('0.0.0.0')",
        "bind('::')",
        "get(url, verify=False)",
        "import ssl\nc.verify_mode = ssl.CERT_NONE",
        "from loguru import logger",
        "text.isdigit() and int(text)",
        "logger.add(f, diagnose=True, backtrace=False)",
        "logger.add(f)",
    ],
)
def test_the_search_finds(line: str) -> None:
    assert list(findings(line))


@pytest.mark.parametrize(
    "line",
    [
        "import numpy as np\nnp.load(f, allow_pickle=False)",
        "import hashlib\nhashlib.sha256(b'')",
        "import subprocess\nsubprocess.run(['ls'])",
        "import subprocess\nsubprocess.run(['ls'], shell=False)",
        "bind('127.0.0.1')",
        "names.add(f)",
        "logger.add(f, diagnose=False, backtrace=False)",
        "def compile_plan(x): ...\ncompile_plan(1)",
        "model.eval()",
    ],
)
def test_the_search_allows(line: str) -> None:
    assert [] == list(findings(line))


def test_nothing_forbidden_stands_in_the_source() -> None:
    found, used = [], set()
    for path in SOURCES:
        place = path.relative_to(ROOT).as_posix()
        for line, what in findings(path.read_text(encoding="utf-8")):
            if place == "herald/plugins/log.py" and what == "loguru":
                continue  # the factory
            if (place, what) in WAIVED:
                used.add((place, what))
                continue
            reason = UNSAFE_MODULES.get(what) or UNSAFE_CALLS.get(what, "")
            found.append(f"{place}:{line}: {what} {reason}".rstrip())

    assert [] == found, "\n".join(found)
    assert set(WAIVED) == used, "waivers that waive nothing"


def test_every_waiver_of_a_security_rule_gives_its_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT).as_posix()}:{number}"
        for folder in (*PLACES, ".ci")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"#\s*noqa: [A-Z0-9, ]*\bS\d+", line) and not re.search(r"#\s*noqa: [A-Z0-9, ]+ - \w", line)
    ]

    assert [] == bare


def test_no_rule_of_bandit_is_switched_off_for_the_package() -> None:
    import tomllib

    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    off = [one for one in lint["ignore"] if re.fullmatch(r"S\d*", one)]
    files = {name: [one for one in codes if re.fullmatch(r"S\d*", one)] for name, codes in lint["per-file-ignores"].items()}

    assert "S" in lint["select"]
    assert ["S311"] == off  # random numbers are seeded simulation; keys come from the cryptography library
    assert {"herald/testing/**": ["S101"]} == {
        name: codes for name, codes in files.items() if codes and name.startswith("herald")
    }
