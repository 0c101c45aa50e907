"""Rules that hold the house together, checked on the source and on running processes."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import herald
from herald.host.config import HeraldConfig
from herald.host.discovery import discover
from herald.host.hookspecs import COLLECTED, HeraldHooks
from herald.host.registry import Registry
from herald.model import OrderRequest
from herald.statistics import LABELS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "herald"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "static" not in path.parts)
MODULES = [name for _, name, _ in pkgutil.walk_packages([str(PACKAGE)], "herald.") if not name.endswith("__main__")]
CORE = (
    "clock",
    "components",
    "contracts",
    "engine",
    "errors",
    "host",
    "live",
    "model",
    "results",
    "runtime",
    "simulator",
    "statistics",
)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def sorting(name: str) -> tuple[int, str]:
    """Return the order of ``__all__``: constants, then classes, then functions, each by name (ruff's RUF022)."""
    bare = name.lstrip("_")
    return (0 if bare.isupper() else 1 if name[:1].isupper() or name.startswith("__") else 2, name)


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT).as_posix()}:{getattr(node, 'lineno', 0)}"


# --- plugins


def test_every_built_in_plugin_is_an_entry_point_and_every_entry_point_a_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    announced = project["project"]["entry-points"]["herald.v1"]
    present = {one.name for one in pkgutil.iter_modules([str(PACKAGE / "plugins")]) if not one.name.startswith("_")}

    assert {name: f"herald.plugins.{name}" for name in sorted(present)} == announced
    assert sorted(announced) == list(announced)


def test_the_installed_entry_points_are_those_of_the_checkout() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = {one.name: one.value for one in discover() if one.distribution == "herald-trading"}

    assert project["project"]["entry-points"]["herald.v1"] == installed, "install the checkout again: pip install -e ."


def test_the_core_names_no_built_in_plugin() -> None:
    registry = Registry(discover())
    own = [one.name for one in discover() if one.distribution == "herald-trading"]
    for name in own:
        registry.load(name)
    full = {one.full_name for kind in COLLECTED.values() for one in registry.of_kind(kind) if one.origin.plugin in own}
    # Words of Herald's own that plugins happen to share: tables of the config, kinds, fields of a request, statistics;
    # "files" is also a part of the manifest, "fixed" a kind of spread, "cache", "audit" and "metrics" kinds of component,
    # "environment" what the process was given.
    words = {*HeraldConfig.model_fields, *COLLECTED.values(), *OrderRequest.__struct_fields__, *LABELS, "log", "sizing"}
    full -= {"files", "cache", "audit", "metrics", "environment"}
    names = full | {"synthetic", *({name.rpartition(".")[2] for name in full} - words - {"files", "fixed"})}
    found = [
        f"{place(path, node)}: {node.value!r}"
        for path in SOURCES
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in CORE
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]

    assert {"sma_cross", "max_position", "risk.max_position", "exits.stop_loss"} <= names
    assert [] == sorted(found), "\n".join(found)


# --- public names


@pytest.mark.parametrize("name", ["herald", *[one for one in MODULES if "._" not in one]])
def test_a_public_module_says_what_it_is_and_lists_its_names_sorted(name: str) -> None:
    module = importlib.import_module(name)

    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    own = [
        one
        for one, value in vars(module).items()
        if not one.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and getattr(value, "__module__", "") == name
    ]
    stated = getattr(module, "__all__", None)
    if stated is None:
        assert [] == own, f"{name} has public names and no __all__"
        return
    assert sorted(stated, key=sorting) == list(stated), f"{name}.__all__ is not sorted"
    assert len(set(stated)) == len(stated)
    assert [] == [one for one in stated if not hasattr(module, one)]
    assert [] == [one for one in stated if one.startswith("_") and one != "__version__"]


@pytest.mark.parametrize("name", ["herald", *[one for one in MODULES if "._" not in one]])
def test_every_public_class_and_function_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    public = {one: getattr(module, one) for one in getattr(module, "__all__", ())}
    own = {
        one: value
        for one, value in public.items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == name
    }
    bare = [one for one, value in own.items() if not (value.__doc__ or "").strip()]
    for one, value in own.items():
        if inspect.isclass(value):
            bare += [
                f"{one}.{member}"
                for member, function in vars(value).items()
                if not member.startswith("_") and inspect.isfunction(function) and not inspect.getdoc(getattr(value, member))
            ]

    assert [] == bare


# --- time, chance, output

BANNED = {
    "time": {"time", "time_ns", "sleep", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "gmtime"},
    "datetime": {"now", "utcnow", "today", "utcfromtimestamp"},
    "uuid": {"uuid1", "uuid4"},
    "os": {"urandom", "chdir"},
    "secrets": {"token_hex", "token_bytes", "token_urlsafe", "choice", "randbelow"},
}


def aliases(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for: local name -> dotted name."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                names[one.asname or one.name.partition(".")[0]] = one.name if one.asname else one.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return names


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def banned_uses(source: str) -> list[tuple[int, str]]:
    """Return every use (a call, or a function handed on) of the wall clock, of unseeded chance, or of print."""
    tree = ast.parse(source)
    known = aliases(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "input"}:
            found.append((node.lineno, node.func.id))
        if isinstance(node, ast.Call) and dotted(node.func).endswith("default_rng") and not (node.args or node.keywords):
            found.append((node.lineno, "default_rng without a seed"))
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        text = dotted(node)
        head, _, rest = text.partition(".")
        if head not in known:
            continue
        full = known[head] + ("." + rest if rest else "")
        module, _, last = full.rpartition(".")
        root = full.partition(".")[0]
        is_chance = (module == "random" and last[:1].islower()) or (
            module == "numpy.random" and last[:1].islower() and last != "default_rng"
        )
        if is_chance or full == "random.SystemRandom" or (root in BANNED and last in BANNED[root]):
            found.append((node.lineno, full))
    return found


@pytest.mark.parametrize(
    "line",
    [
        "import time; time.time()",
        "import time as t; t.sleep(1)",
        "from time import time_ns; time_ns()",
        "from datetime import datetime; datetime.now()",
        "import datetime; datetime.datetime.utcnow()",
        "import random; random.random()",
        "from random import shuffle; shuffle([])",
        "import numpy as np; np.random.normal()",
        "import numpy as np; np.random.default_rng()",
        "from uuid import uuid4; uuid4()",
        "def f(sleep=__import__): ...\nimport time\ndef g(sleep=time.sleep): ...",
        "print(1)",
    ],
)
def test_the_search_for_banned_calls_finds(line: str) -> None:
    assert banned_uses(line)


@pytest.mark.parametrize(
    "line", ["import random; random.Random(1).random()", "import numpy as np; np.random.default_rng(7).normal()"]
)
def test_the_search_for_banned_calls_allows(line: str) -> None:
    assert [] == banned_uses(line)


def test_only_the_clock_reads_time_and_nobody_draws_unseeded_or_prints() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {what}"
        for path in SOURCES
        if path != PACKAGE / "clock.py"
        for line, what in banned_uses(path.read_text(encoding="utf-8"))
        # The mechanisms of utils work without the framework: real seconds are their defaults, and only those.
        if not (path.parent == PACKAGE / "utils" and what in {"time", "time.monotonic", "time.sleep"})
        # server.py runs without Herald; and what proves that one knows a secret must not be seeded.
        and not (path == PACKAGE / "plugins/mt5/server.py" and what in {"time", "time.monotonic", "time.sleep"})
        and not (path.parent == PACKAGE / "plugins/mt5" and what == "secrets.token_hex")
        and not (path == PACKAGE / "plugins/control/access.py" and what in {"secrets.choice", "secrets.token_urlsafe"})
        and not (path == PACKAGE / "utils/vault.py" and what in {"secrets.token_hex", "secrets.token_bytes"})
    ]

    assert [] == found


# --- hooks


def hooks() -> Iterator[tuple[str, Any]]:
    for name, spec in vars(HeraldHooks).items():
        if name.startswith("herald_"):
            yield name, spec


def test_every_hook_is_documented_under_its_exact_signature() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8"), re.MULTILINE)
    signatures = [
        f"{name}({', '.join(one for one in inspect.signature(spec).parameters if one != 'self')})" for name, spec in hooks()
    ]

    assert signatures == headings


def test_no_hook_has_a_default_or_a_star() -> None:
    parameters = [one for _, spec in hooks() for one in inspect.signature(spec).parameters.values()]

    assert [] == [one for one in parameters if one.default is not one.empty or one.kind is not one.POSITIONAL_OR_KEYWORD]


def test_every_name_that_looks_like_a_hook_has_a_specification() -> None:
    known = {name for name, _ in hooks()}
    folders = [PACKAGE / "plugins", ROOT / "plugins_contrib", ROOT / "examples"]
    written = {
        node.name
        for folder in folders
        for path in folder.rglob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("herald_")
    }

    assert written
    assert written <= known


def test_the_api_version_that_discovery_looks_for_is_the_one_of_the_hooks() -> None:
    from herald.host import discovery

    assert herald.API_VERSION == discovery._OWN_API


# --- what a process loads


def loaded(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after *code*."""
    program = f"{code}\nimport json, sys\nsys.stdout = sys.__stdout__\nprint(json.dumps(sorted({{n.partition('.')[0] for n in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", cwd=ROOT, check=False)

    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_loads_neither_numpy_nor_pydantic() -> None:
    modules = loaded(
        "from herald.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0, end.code"
    )

    assert "click" in modules
    assert set() == modules & {"numpy", "pydantic", "pydantic_settings", "rich", "loguru", "duckdb", "pandas", "asyncio"}


def test_import_herald_loads_nothing_heavy() -> None:
    modules = loaded("import herald")

    assert "herald" in modules
    assert set() == modules & {"numpy", "pydantic", "pandas", "rich", "asyncio", "pluggy", "click", "duckdb", "loguru"}


def test_every_everyday_name_without_pandas_or_rich() -> None:
    modules = loaded("import herald\nfor name in herald.__all__:\n    getattr(herald, name)")

    assert {"numpy", "pydantic"} <= modules
    assert set() == modules & {"pandas", "rich", "duckdb", "loguru", "click", "pytest", "matplotlib"}


def test_a_backtest_loads_only_the_plugins_that_its_config_names() -> None:
    code = "from herald import load_plan, run_backtest\nrun_backtest(load_plan('examples/own_strategy.toml'))\n"
    check = "import sys\nprint(*sorted(n for n in sys.modules if n.startswith('herald.plugins.') and n.count('.') == 2))"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, encoding="utf-8", cwd=ROOT, check=True)

    assert ["herald.plugins.files"] == done.stdout.split()


# --- while a run runs


WATCHED = """
import json, sys, threading
from herald import load_plan, run_backtest

calls, threads = [], []

def count(frame, event, argument):
    if event == "call" and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "pluggy":
        calls.append(frame.f_code.co_name)

def watched(action):
    calls.clear()
    sys.setprofile(count)
    try:
        return action(), list(calls)
    finally:
        sys.setprofile(None)

start = threading.Thread.start
threading.Thread.start = lambda thread: (threads.append(thread.name), start(thread))[1]
plan, planning = watched(lambda: load_plan(sys.argv[1]))
result, running = watched(lambda: run_backtest(plan))
print(json.dumps([result.status, len(result.fills), planning, running, threads]))
"""


def test_no_pluggy_call_and_no_thread_between_start_and_stop() -> None:
    # In a process of its own: pytest uses pluggy, too.
    command = [sys.executable, "-c", WATCHED, str(ROOT / "examples" / "own_strategy.toml")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr

    status, fills, while_planning, while_running, threads = json.loads(done.stdout)

    assert "register" in while_planning  # the count counts
    assert ("completed", [], []) == (status, while_running, threads)
    assert fills > 20


# --- the import contract


def test_the_floors_hold() -> None:
    beside = Path(sys.executable).with_name("lint-imports")
    command = str(beside) if beside.exists() else shutil.which("lint-imports")
    if command is None:
        pytest.skip("lint-imports is not installed (pip install --group lint): the import contract is not checked")
    done = subprocess.run([command], cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
