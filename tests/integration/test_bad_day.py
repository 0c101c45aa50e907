"""A run through a spoilt connector: the layers mend what can be mended, and the result is that of a good day."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "bad_day.toml"


def outcome(file: Path, folder: Path, env: dict[str, str]) -> tuple[dict[str, object], str]:
    command = [sys.executable, "-m", "herald", "backtest", str(file), "--out", str(folder), "--json", "--no-report"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", check=False)

    assert "Traceback" not in done.stderr
    return (json.loads(done.stdout) if done.stdout else {}), done.stderr


def variant(folder: Path, *changes: tuple[str, str]) -> Path:
    text = EXAMPLE.read_text(encoding="utf-8").replace('"data/', f'"{(ROOT / "examples" / "data").as_posix()}/')
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = folder / "day.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_bad_day_ends_like_a_good_one_and_tells_what_it_mended(tmp_path: Path, clean_env: dict[str, str]) -> None:
    good, _ = outcome(variant(tmp_path, ("calls = 2 }", "calls = 2, after_seconds = 1e9 }")), tmp_path, clean_env)

    bad, told = outcome(variant(tmp_path), tmp_path, clean_env)

    assert ("completed", "completed") == (good["status"], bad["status"])
    assert good["statistics"] == bad["statistics"]
    assert 2 == len(re.findall("FaultInjected", told))
    assert ["1", "2"] == re.findall(r"CallRepeated.*attempt=(\d)", told)


def test_a_fault_that_outlasts_the_repetitions_ends_the_run_in_one_line(tmp_path: Path, clean_env: dict[str, str]) -> None:
    file = variant(
        tmp_path, ("calls = 2 }", "calls = 50 }"), ("initial_delay = 0.05", "initial_delay = 0.001\nmax_retries   = 2")
    )

    result, told = outcome(file, tmp_path, clean_env)

    assert {} == result
    assert "herald: rehearsal: the connection was reset to bars" in told.splitlines()[-1]


def test_more_failures_than_the_threshold_open_the_circuit(tmp_path: Path, clean_env: dict[str, str]) -> None:
    file = variant(
        tmp_path,
        ("calls = 2 }", "calls = 50 }"),
        ("initial_delay = 0.05", "initial_delay = 0.001"),
        ("failure_threshold = 5", "failure_threshold = 2"),
    )

    _, told = outcome(file, tmp_path, clean_env)

    assert re.search(r"herald: circuit breaker 'connectors\.main\.middleware\[3\]' is OPEN; retry in \d+", told.splitlines()[-1])
