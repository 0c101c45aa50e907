"""Programs under Wine: the Windows Python, and a terminal's pipe that leads to a `tests.mt5.standin.StandIn`."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.mt5.standin import StandIn
from tests.mt5.wine.setup import FOUND, folder, probe, python_command, wine_environment

__all__ = ["HERE", "MT5", "WineMissing", "evaluate", "pipe", "require_wine", "spawn", "wine_path"]

HERE = Path(__file__).parent
MT5 = HERE.parent
# Asked for when the tests are collected: fixtures hide the machine's own variables from the tests.
ROOT = folder()
_NUMBERS = itertools.count(1)


class WineMissing(Exception):
    """The set-up is not there."""


def require_wine() -> None:
    """Raise `WineMissing` with the remedy unless the genuine package answers."""
    if (found := probe(ROOT)) != FOUND:
        raise WineMissing(f"no genuine MetaTrader5 under Wine ({found}); run python tests/mt5/wine/setup.py --install")


def wine_path(path: Path) -> str:
    """Return a path of this machine as a Windows program sees it."""
    return "Z:" + str(path.absolute()).replace("/", "\\")


def spawn(arguments: Sequence[str], **env: str) -> subprocess.Popen[bytes]:
    """Start the Windows Python; its output streams are pipes, its input is empty."""
    return subprocess.Popen(
        [*python_command(ROOT), *arguments],
        env=wine_environment(ROOT) | env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def evaluate(exprs: Sequence[str], module: str = "MetaTrader5", seconds: float = 120.0) -> list[dict[str, Any]]:
    """Return the genuine package's answers, all from one process."""
    done = subprocess.run(
        [*python_command(ROOT), wine_path(MT5 / "evaluate.py"), module],
        env=wine_environment(ROOT), input=json.dumps(list(exprs)).encode(), capture_output=True, timeout=seconds, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"the Windows Python ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


class Pipe:
    """A terminal's pipe that is open.

    Attributes:
        path: What ``MetaTrader5.initialize`` has to be given to come here; nothing is there.
    """

    def __init__(self, path: str, process: subprocess.Popen[bytes]) -> None:
        self.path = path
        self._process = process

    def kill(self) -> None:
        """End the terminal at once."""
        self._process.kill()
        self._process.wait(10)


@contextmanager
def pipe(standin: StandIn) -> Iterator[Pipe]:
    """Open a pipe of its own to *standin*."""
    path = f"C:\\herald\\{os.getpid()}\\{next(_NUMBERS)}\\terminal64.exe"
    process = spawn([wine_path(HERE / "pipe.py"), path, standin.address])
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline().strip() != b"listening":
            raise AssertionError(f"the pipe does not open: {process.stderr.read().decode(errors='replace')[-500:]}")
        yield Pipe(path, process)
    finally:
        process.kill()
        process.communicate()
