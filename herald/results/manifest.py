"""The manifest of a run folder: what was run, on which data, by which versions."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from herald.clock import format_time
from herald.model import BarSeries, Instrument, Timeframe
from herald.results.bars import hash_bars
from herald.results.run import RunResult
from herald.utils._process import installed_version

__all__ = ["SCHEMA", "RunPlan", "RunPlugin", "hash_config", "hash_file", "make_manifest", "plain_json"]

SCHEMA = 1
"""Version of the folder's layout; it changes when a reader of the old one would be wrong about the new one."""


class RunPlugin(Protocol):
    """A plugin that took part; `herald.host.plan.Origin` is one."""

    @property
    def plugin(self) -> str:
        """Its name."""

    @property
    def distribution(self) -> str:
        """Who ships it."""

    @property
    def version(self) -> str:
        """Of the distribution; empty for a local plugin."""


class RunPlan(Protocol):
    """What a manifest keeps of a plan; `herald.host.plan.Plan` is one."""

    @property
    def source(self) -> str:
        """The config file, as the user named it."""

    @property
    def seed(self) -> int:
        """Of all random numbers."""

    @property
    def plugins(self) -> Sequence[RunPlugin]:
        """The plugins that took part."""

    def to_dict(self) -> Mapping[str, Any]:
        """Return the resolved configuration, without secrets, ready for JSON."""


def make_manifest(plan: RunPlan, result: RunResult, run: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest.

    Everything but ``run`` is the same for two runs of one configuration by the same versions.

    Args:
        plan: What was asked for.
        result: What came of it.
        run: What differs between two runs of one configuration: name, times, command.
        files: SHA-256 of every other file of the folder, by name.
    """
    config = plan.to_dict()
    return {
        "schema": SCHEMA,
        "run": dict(run),
        "status": result.status,
        "errors": list(result.errors),
        "failures": [
            {"strategy": failure.strategy, "time": format_time(failure.time), "error": failure.error}
            for failure in result.failures
        ],
        "mode": result.mode,
        "seed": plan.seed,
        "account": {
            "currency": result.currency,
            "cash": result.cash,
            "leverage": result.leverage,
            "end": {name: _finite(value) for name, value in result.account.items()},
        },
        "positions": [
            {"strategy": strategy, "opened": format_time(held.opened)}
            | {name: _finite(getattr(held, name)) for name in ("symbol", "size", "average_price", "realized")}
            for strategy, held in result.positions
        ],
        "config": config,
        "config_sha256": hash_config(config),
        "data": [_describe(bars) for bars in result.market.values()],
        "instruments": {symbol: _terms(instrument) for symbol, instrument in result.instruments.items()},
        "versions": {
            "herald": installed_version("herald-trading"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "platform": platform.platform(),
            "plugins": [{"plugin": one.plugin, "distribution": one.distribution, "version": one.version} for one in plan.plugins],
        },
        "counts": {
            "orders": len(result.orders),
            "fills": len(result.fills),
            "trades": len(result.trades),
            "equity": len(result.equity.time),
            "notes": len(result.notes),
        },
        "files": dict(files),
    }


def hash_config(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a configuration, independent of the order of its keys."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain_json(value: object) -> str:
    """Return *value* as JSON that every reader accepts, keys in their own order, ending in a line feed."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _describe(bars: BarSeries) -> dict[str, Any]:
    n = len(bars)
    return {
        "symbol": bars.symbol,
        "timeframe": str(Timeframe(bars.span // 1_000_000_000)),
        "span": bars.span,
        "rows": n,
        "first": format_time(int(bars.time[0])) if n else None,
        "last": format_time(int(bars.time[-1])) if n else None,
        "sha256": hash_bars(bars),
    }


def _terms(instrument: Instrument) -> dict[str, Any]:
    return {name: _finite(getattr(instrument, name)) for name in instrument.__struct_fields__}


def _finite(value: Any) -> Any:
    """Return *value* without NumPy's type, or None where it is a number that JSON does not have."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
