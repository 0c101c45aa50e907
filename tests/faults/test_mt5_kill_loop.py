"""Herald, its terminal process and the terminal, killed in turn: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LOOP = Path(__file__).with_name("mt5_kill_loop.py")


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the loop looks for processes in /proc")
@pytest.mark.parametrize("mode", ["hedging", "netting"])
def test_what_dies_beside_an_order_loses_nothing_and_sends_nothing_twice(
    tmp_path: Path, clean_env: dict[str, str], mode: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(LOOP), "--json", "--kills", "30", "--mode", mode],
        cwd=tmp_path, env=clean_env | {"TMPDIR": str(tmp_path)}, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip

    assert done.stdout, done.stderr
    verdict = json.loads(done.stdout)
    assert [] == [line for name in ("lost", "duplicates", "unresolved", "troubles") for line in verdict[name]]
    assert 0 == done.returncode
    assert verdict["kills"] >= 30
    assert {"herald", "server", "terminal before", "terminal after", "answer lost"} == set(verdict["hits"])
    assert verdict["filled"] > 60, "a loop without trades proves nothing"
    assert verdict["unknown"] == verdict["told"]
    assert not {"unknown", "pending", "sent"} & set(verdict["became"])
