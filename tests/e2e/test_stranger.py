"""Strangers are strangers: both wheels in a new environment, outside the checkout, beside a plugin that nobody named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.timeout(900)]

CONFIG = """
[connectors.main]
use = "synthetic"
prices = { EURUSD = 1.1 }
start = 2024-01-01
end = 2024-02-01

[strategies.trend]
use = "sma"
symbols = ["EURUSD"]
timeframe = "1h"
"""


def unavailable(what: str, detail: str) -> NoReturn:
    """Without a package index nothing can be built; CI must not look away."""
    text = f"{what} is not possible here (no package index?): {' '.join(detail.split())[-300:]}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


@dataclass(frozen=True)
class Environment:
    """A new virtual environment, and a folder outside the checkout to work in."""

    bin: Path
    work: Path
    wheels: Path
    trace: Path

    def run(self, *command: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment as a user would: no PYTHONPATH, not in the checkout."""
        hidden = ("PYTHON", "VIRTUAL_ENV", "PYTEST_", "COV_", "HERALD_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        env |= {"PYTHONUTF8": "1", "CANARY": str(self.trace), "PATH": f"{self.bin}{os.pathsep}{env.get('PATH', '')}"}
        return subprocess.run(
            [str(self.bin / command[0]), *map(str, command[1:])],
            cwd=folder or self.work,
            env=env,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    def output(self, *command: str | Path, folder: Path | None = None) -> str:
        """Run a command that must succeed and return its standard output."""
        done = self.run(*command, folder=folder)
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout


def make_canary(wheels: Path) -> None:
    """Write a wheel with a plugin that leaves a trace when it is imported."""
    source = """
        import os
        from pathlib import Path

        Path(os.environ["CANARY"]).write_text("imported", encoding="utf-8")
    """
    info = "herald_canary-0.1.dist-info"
    files = {
        "herald_canary.py": dedent(source),
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: herald-canary\nVersion: 0.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[herald.v1]\ncanary = herald_canary\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheels / "herald_canary-0.1-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheels of Herald and of the contributed plugin, and make the canary's."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, ROOT / "plugins_contrib" / "herald-sma"):
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(project)]
        built = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", cwd=folder, check=False)
        if built.returncode:
            unavailable(f"building a wheel of {project.name}", built.stderr)
    make_canary(folder)
    return folder


@pytest.fixture(scope="module")
def stranger(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Install the three wheels, and pytest for the package test, into a new environment."""
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder / "venv", with_pip=True)
    work = folder / "work"
    work.mkdir()
    new = Environment(folder / "venv" / ("Scripts" if os.name == "nt" else "bin"), work, wheels, folder / "canary.txt")
    packages: Sequence[Path] = sorted(wheels.glob("*.whl"))
    done = new.run("python", "-m", "pip", "install", "--quiet", *packages, "pytest>=9")
    if done.returncode:
        unavailable("installing into a new environment", done.stderr)
    return new


def test_the_wheel_holds_what_it_needs_and_nothing_of_the_checkout(wheels: Path) -> None:
    (wheel,) = wheels.glob("herald_trading-*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.partition("/")[0] for name in names}
    assert {"herald"} == {top for top in tops if not top.endswith(".dist-info")}
    wanted = ("herald/py.typed", "herald/demo/demo.toml", "herald/demo/LICENSE-DATA", "herald/cli/templates/module.py.txt")
    assert set(wanted) <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert [] == [name for name in names if "__pycache__" in name or name.startswith(("tests/", "docs/"))]


def test_herald_comes_from_the_environment_and_finds_all_three(stranger: Environment) -> None:
    where = Path(stranger.output("python", "-c", "import herald; print(herald.__file__)").strip())
    print(where)

    assert where.resolve().is_relative_to(stranger.bin.parent.resolve())
    assert not where.resolve().is_relative_to(ROOT)
    found = {row["name"]: row["distribution"] for row in json.loads(stranger.output("herald", "plugins", "list", "--json"))}
    assert ("herald-sma", "herald-canary", "herald-trading") == tuple(found[name] for name in ("sma", "canary", "files"))
    assert not stranger.trace.exists()


def test_the_demo_runs_from_the_wheel(stranger: Environment) -> None:
    outcome = json.loads(stranger.output("herald", "demo", "--json", "--no-report"))

    assert "completed" == outcome["status"]
    assert outcome["statistics"]["total_trades"] > 100
    assert Path(outcome["folder"]).resolve().is_relative_to(stranger.work.resolve()) or not Path(outcome["folder"]).is_absolute()
    assert not stranger.trace.exists()


def test_a_config_that_names_the_foreign_strategy_runs_it_and_imports_nobody_else(stranger: Environment) -> None:
    (stranger.work / "h.toml").write_text(CONFIG, encoding="utf-8")

    outcome = json.loads(stranger.output("herald", "backtest", "h.toml", "--json", "--no-report"))

    manifest = json.loads((stranger.work / outcome["folder"] / "manifest.json").read_text(encoding="utf-8"))
    assert "completed" == outcome["status"] == manifest["status"]
    assert outcome["statistics"]["total_trades"] > 10
    assert "herald-sma" in json.dumps(manifest)
    assert "canary" not in json.dumps(manifest)
    assert not stranger.trace.exists()


def test_the_canary_would_have_sung(stranger: Environment) -> None:
    """The proof of silence is worth something only if the canary can sing."""
    try:
        done = stranger.run("herald", "plugins", "check", "canary")

        assert 0 == done.returncode, done.stderr
        assert "imported" == stranger.trace.read_text(encoding="utf-8")
    finally:
        stranger.trace.unlink(missing_ok=True)


def test_the_skeleton_of_a_strategy_installs_passes_its_tests_and_runs(stranger: Environment) -> None:
    stranger.output("herald", "new", "strategy", "fresh")
    package = stranger.work / "herald-fresh"
    done = stranger.run("python", "-m", "pip", "install", "--quiet", "--no-deps", package)
    if done.returncode:
        unavailable("building the new package", done.stderr)

    tests = stranger.output("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", folder=package)
    outcome = json.loads(stranger.output("herald", "backtest", "herald-fresh/example.toml", "--json", "--no-report"))

    assert " passed" in tests
    assert "failed" not in tests
    assert "completed" == outcome["status"]
    assert outcome["statistics"]["total_trades"] > 10
