"""Finished runs in a folder, as the dashboard lists them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Runs"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}\Z")
_MOST = 200


class Runs:
    """Looks into the folder of runs; it reads files only that lie in a run's own folder."""

    def __init__(self, folder: Path) -> None:
        """Look into *folder*, which need not be there."""
        self._folder = folder

    def listed(self) -> bytes:
        """Return the newest runs with what their manifests say, as JSON."""
        try:
            names = sorted((one.name for one in self._folder.iterdir() if one.is_dir() and _NAME.match(one.name)), reverse=True)
        except OSError:
            names = []
        return msgspec.json.encode({"runs": [self._told(name) for name in names[:_MOST]]})

    def _told(self, name: str) -> dict[str, Any]:
        folder = self._folder / name
        told: dict[str, Any] = {"name": name, "report": (folder / "report.html").is_file()}
        for file, keys in (
            ("manifest.json", ("mode", "status")),
            ("statistics.json", ("total_return", "max_drawdown", "total_trades")),
        ):
            try:
                found = json.loads((folder / file).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(found, dict):
                told |= {key: found[key] for key in keys if isinstance(found.get(key), str | int | float)}
        return told

    def report(self, name: str) -> bytes | None:
        """Return the report of the run *name*; None where there is none."""
        if not _NAME.match(name):
            return None
        path = self._folder / name / "report.html"
        try:
            if path.is_symlink() or not path.resolve().is_relative_to(self._folder.resolve()):
                return None
            return path.read_bytes()
        except OSError:
            return None
