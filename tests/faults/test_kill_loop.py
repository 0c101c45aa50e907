"""The ordinary live run, killed anywhere: nothing is lost, nothing is sent twice - and a loop that would notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from herald.live.crashpoints import POINTS

LOOP = Path(__file__).with_name("kill_loop.py")

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the loop forks a process for every round"),
    pytest.mark.slow,
]


def loop(folder: Path, env: dict[str, str], *options: str) -> tuple[int, dict[str, Any]]:
    """Run the script; return its exit code and verdict."""
    command = [sys.executable, str(LOOP), "--json", *options]
    done = subprocess.run(
        command, cwd=folder, env=env | {"TMPDIR": str(folder)}, capture_output=True, encoding="utf-8", check=False
    )

    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def wrong(verdict: dict[str, Any]) -> list[str]:
    return [line for name in ("lost", "duplicates", "unresolved", "troubles") for line in verdict[name]]


@pytest.mark.parametrize(
    "options",
    [
        ("--idempotent", "--mode", "netting"),
        pytest.param(("--no-idempotency", "--mode", "hedging", "--seed", "1"), marks=pytest.mark.long),
    ],
    ids=" ".join,
)
def test_a_run_that_is_killed_anywhere_loses_nothing_and_sends_nothing_twice(
    tmp_path: Path, clean_env: dict[str, str], options: tuple[str, ...]
) -> None:
    code, verdict = loop(tmp_path, clean_env, "--kills", "60", "--lanes", "2", *options)

    assert [] == wrong(verdict)
    assert 0 == code
    assert verdict["kills"] >= 60
    assert set() == POINTS.keys() - verdict["hits"].keys(), "every point must have been died at"
    assert verdict["filled"] > 60, "a loop without trades proves nothing"


@pytest.mark.long
@pytest.mark.parametrize(
    ("bug", "options", "column"),
    [
        ("send_before_commit", ("--points", "before_commit", "--random-share", "0"), "lost"),
        ("no_settle_window", ("--no-idempotency", "--points", "after_write", "--random-share", "0"), "duplicates"),
        ("repeat_on_timeout", ("--no-idempotency", "--points", "after_outcome"), "duplicates"),
        ("fills_twice", (), "duplicates"),
    ],
)
def test_the_loop_catches_a_planted_bug(
    tmp_path: Path, clean_env: dict[str, str], bug: str, options: tuple[str, ...], column: str
) -> None:
    kills = "40" if bug == "no_settle_window" else "25"  # only a death in the middle of an exit shows that one

    for seed in ("0", "1", "2"):  # where a death falls is chance, and so few kills may miss; three times as many must not
        code, verdict = loop(tmp_path, clean_env, "--kills", kills, "--seed", seed, "--bug", bug, *options)
        if code == 0 and verdict[column]:
            break

    assert 0 == code
    assert verdict[column], verdict
