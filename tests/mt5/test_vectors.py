"""The simulated terminal gives every answer that was recorded from the genuine package, in one process and in their order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VECTORS: list[dict[str, Any]] = json.loads((HERE / "vectors.json").read_text(encoding="utf-8"))["vectors"]


def test_the_simulated_terminal_gives_every_recorded_answer(clean_env: dict[str, str]) -> None:
    exprs = json.dumps([vector["expr"] for vector in VECTORS])
    command = [sys.executable, str(HERE / "evaluate.py"), "herald.testing.mt5.terminal"]
    done = subprocess.run(command, input=exprs, env=clean_env, capture_output=True, encoding="utf-8", check=False)

    assert 0 == done.returncode, done.stderr
    answers = json.loads(done.stdout)
    assert len(VECTORS) == 379 == len(answers)
    keys = ("expr", "raises", "message", "cause", "last_error")
    wrong = [
        (vector, answer)
        for vector, answer in zip(VECTORS, answers, strict=True)
        if any(vector.get(key) != answer.get(key) for key in keys)
        or vector.get("result_type") != (answer["kind"].split(" ")[0] if "kind" in answer else None)
    ]
    assert not wrong
