"""Windows programs, on Windows itself or under Wine: a Python with the genuine MetaTrader5 package, and a terminal's pipe
that leads to a `tests.mt5.standin.StandIn`.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.mt5.standin import StandIn

__all__ = [
    "MT5",
    "GenuineMissing",
    "Pipe",
    "environment",
    "evaluate",
    "pipe",
    "python",
    "require_genuine",
    "spawn",
    "windows_path",
]

HERE = Path(__file__).parent
MT5 = HERE.parent
_NUMBERS = itertools.count(1)

if sys.platform == "win32":

    def python() -> list[str]:
        """Return the Python that has the genuine package, as a command."""
        return [sys.executable]

    def environment() -> dict[str, str]:
        """Return the variables for it."""
        return dict(os.environ)

    def windows_path(path: Path) -> str:
        """Return a path as a Windows program sees it."""
        return str(path.absolute())

    def require_genuine() -> None:
        """Raise `GenuineMissing` with the remedy unless the genuine package is there."""
        try:
            import MetaTrader5  # noqa: F401
        except ImportError as error:
            raise GenuineMissing(f"no genuine MetaTrader5 ({error}); run pip install MetaTrader5") from error
else:
    from tests.mt5.wine.setup import FOUND, folder, probe, python_command, wine_environment

    # Asked for when the tests are collected: fixtures hide the machine's own variables from the tests.
    _ROOT = folder()

    def python() -> list[str]:
        """Return the Python that has the genuine package, as a command; its three streams must not be a terminal."""
        return python_command(_ROOT)

    def environment() -> dict[str, str]:
        """Return the variables for it."""
        return wine_environment(_ROOT)

    def windows_path(path: Path) -> str:
        """Return a path of this machine as a Windows program sees it."""
        return "Z:" + str(path.absolute()).replace("/", "\\")

    def require_genuine() -> None:
        """Raise `GenuineMissing` with the remedy unless the genuine package is there."""
        if (found := probe(_ROOT)) != FOUND:
            raise GenuineMissing(f"no genuine MetaTrader5 under Wine ({found}); run python tests/mt5/wine/setup.py --install")


class GenuineMissing(Exception):
    """The genuine package is not there."""


def spawn(arguments: Sequence[str], **env: str) -> subprocess.Popen[bytes]:
    """Start the Windows Python; its output streams are pipes, its input is empty."""
    return subprocess.Popen(
        [*python(), *arguments],
        env=environment() | env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def evaluate(exprs: Sequence[str], seconds: float = 120.0) -> list[dict[str, Any]]:
    """Return the genuine package's answers, all from one process."""
    return _evaluate([*python(), windows_path(MT5 / "evaluate.py"), "MetaTrader5"], environment(), exprs, seconds)


def evaluate_simulated(exprs: Sequence[str], options: dict[str, Any], seconds: float = 120.0) -> list[dict[str, Any]]:
    """Return the simulated terminal's answers, all from one process."""
    command = [sys.executable, str(MT5 / "evaluate.py"), "herald.testing.mt5.terminal", json.dumps(options)]
    return _evaluate(command, dict(os.environ), exprs, seconds)


def _evaluate(command: Sequence[str], env: dict[str, str], exprs: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    done = subprocess.run(
        command, env=env, input=json.dumps(list(exprs)).encode(), capture_output=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise AssertionError(f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
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
    process = spawn([windows_path(HERE / "pipe.py"), path, standin.address])
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline().strip() != b"listening":
            raise AssertionError(f"the pipe does not open: {process.stderr.read().decode(errors='replace')[-500:]}")
        yield Pipe(path, process)
    finally:
        process.kill()
        process.communicate()
