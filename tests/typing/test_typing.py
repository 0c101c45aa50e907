"""What the types promise to the author of a plugin: right code passes mypy --strict, a mismatch is reported."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "tests" / "typing" / "strategy_plugin.py"

MISMATCHES = {
    "settings of another strategy": (
        'component("typed", TypedSettings, Typed',
        'component("typed", Nothing, Typed',
        "component",
    ),
    "a component of another kind": (
        "def herald_strategies() -> Iterable[Component[Strategy[Any]]]:",
        "def herald_strategies() -> Iterable[Component[RiskCheck]]:",
        "RiskCheck",
    ),
    "a check that gives a yes": ("-> Denial | None:", "-> bool:", "Never"),
    "a setting that does not exist": ("self.settings.length), ctx", "self.settings.lenght), ctx", "lenght"),
    "a callback with another event": ("def on_bar(self, bar: Bar,", "def on_bar(self, bar: Fill,", "on_bar"),
}


def mypy(folder: Path, sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what mypy --strict says of each source, from one run."""
    beside = Path(sys.executable).with_name("mypy")
    command = str(beside) if beside.exists() else shutil.which("mypy")
    if command is None:
        pytest.skip("mypy is not installed (pip install --group lint): the types are not checked")
    files = {f"plugin_{number}.py": name for number, name in enumerate(sources)}
    for file, name in files.items():
        (folder / file).write_text(sources[name], encoding="utf-8")
    done = subprocess.run(
        [
            command,
            "--strict",
            *("--config-file", str(ROOT / "pyproject.toml")),
            *("--cache-dir", str(folder / "cache")),
            *(str(folder / file) for file in files),
        ],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert f"checked {len(files)} source files" in done.stdout, done.stdout + done.stderr
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    return {name: [line for line in errors if file in line.partition(": error: ")[0]] for file, name in files.items()}


@pytest.mark.slow
def test_a_plugin_with_a_mismatch_is_reported_and_one_without_is_not(tmp_path: Path) -> None:
    source = PLUGIN.read_text(encoding="utf-8")
    assert [] == [name for name, (old, _, _) in MISMATCHES.items() if source.count(old) != 1]
    changed = {name: source.replace(old, new) for name, (old, new, _) in MISMATCHES.items()}

    said = mypy(tmp_path, {"as it is": source, **changed})

    assert [] == said.pop("as it is")
    for name, errors in said.items():
        assert any(MISMATCHES[name][2] in error for error in errors), f"{name}: {errors}"


def test_the_typed_plugin_also_runs() -> None:
    run = runpy.run_path(str(PLUGIN))["run"]

    # The mean of three closes is known at the third bar: 12 > 11, so it buys at the next open; the last bar has no next one.
    assert [0.1] == run()
