"""Commands in processes of their own that need not import Herald first: forked from one that has, and has done nothing else.

Where the system cannot fork they are started the usual way.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Forks"]

ROOT = Path(__file__).resolve().parents[1]


class Forks:
    """Runs `herald` commands with every warning an error, as many as are asked for, one after the other."""

    def __init__(self, folder: Path) -> None:
        """Keep what the commands print in *folder* until it is read."""
        self._folder = folder
        self._server: subprocess.Popen[str] | None = None

    def run(self, words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Return how ``herald WORDS`` ended in *cwd* with the environment *env*, and what it printed."""
        command = [sys.executable, "-W", "error", "-m", "herald", *words]
        if not hasattr(os, "fork"):
            return subprocess.run(
                command, cwd=cwd, env=dict(env), capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
            )
        out, err = self._folder / "out", self._folder / "err"
        job = {"words": list(words), "cwd": str(cwd), "env": dict(env), "out": str(out), "err": str(err)}
        told = self._asked(json.dumps(job))
        return subprocess.CompletedProcess(command, int(told), out.read_text("utf-8"), err.read_text("utf-8"))

    def close(self) -> None:
        """End the process that is forked from."""
        if self._server is not None:
            self._server.communicate()

    def _asked(self, line: str) -> str:
        if self._server is None:
            command = [sys.executable, "-W", "error", "-m", "tests.forks"]
            env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
            self._server = subprocess.Popen(
                command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()


def _serve() -> None:
    """Fork for every line of standard input, and print how it ended."""
    import herald.cli

    for module in pkgutil.iter_modules(herald.cli.__path__, "herald.cli."):
        importlib.import_module(module.name)
    for name in ("herald.runtime.backtest", "herald.plugins.files.connector", "herald.statistics", "herald.report"):
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(job: dict[str, Any]) -> None:
    """Do what ``python -m herald`` does; never returns."""
    for number, name in ((1, job["out"]), (2, job["err"])):
        opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    more = [one for one in job["env"].get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[:1] = [job["cwd"], *more]
    sys.argv = ["herald", *job["words"]]
    code = 1
    try:
        runpy.run_module("herald", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
