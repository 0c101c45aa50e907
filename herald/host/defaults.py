"""What a config need not say, from ``defaults.toml``: names of plugins stand there, as data, and nowhere in the core."""

from __future__ import annotations

import tomllib
from importlib.resources import files

__all__ = ["ALWAYS", "USUAL"]

_TABLES = tomllib.loads((files("herald.host") / "defaults.toml").read_text(encoding="utf-8"))
ALWAYS = _TABLES["every_run"]
"""Of every run."""
USUAL = _TABLES["paper_and_live"]
"""Of a run with orders."""
