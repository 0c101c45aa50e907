"""Two runs side by side: what differs in configuration, data, versions and outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from herald.results.folder import StoredRun
from herald.statistics import LABELS, Statistic

__all__ = ["Change", "Comparison", "compare_runs"]


@dataclass(frozen=True, slots=True)
class Change:
    """One value that two runs do not share; None is a value that is not there.

    Attributes:
        key: Dotted path of the value, such as ``strategies.trend.fast``.
        first: In the first run.
        second: In the second run.
    """

    key: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two runs share and what not.

    Attributes:
        config: Settings that differ.
        data: Series that differ, by symbol and time frame; the values are their hashes.
        versions: Versions that differ.
        files: Result files whose bytes differ, the statistics among them.
        statistics: (key, first, second, second less first) of every statistic; the difference is None where one side
            is no finite number.
    """

    config: tuple[Change, ...]
    data: tuple[Change, ...]
    versions: tuple[Change, ...]
    files: tuple[str, ...]
    statistics: tuple[tuple[str, Statistic, Statistic, float | None], ...]

    @property
    def is_equal(self) -> bool:
        """Return whether both runs produced the same bytes."""
        return not self.files


def compare_runs(first: StoredRun, second: StoredRun) -> Comparison:
    """Compare two runs.

    Args:
        first: The run to compare with.
        second: The other; differences are *second* less *first*.
    """
    one, two = first.manifest, second.manifest
    hashes = one["files"], two["files"]
    return Comparison(
        config=_changes(_flat(one["config"]), _flat(two["config"])),
        data=_changes(_series(one), _series(two)),
        versions=_changes(_versions(one), _versions(two)),
        files=tuple(name for name in sorted({*hashes[0], *hashes[1]}) if hashes[0].get(name) != hashes[1].get(name)),
        statistics=tuple(
            (key, a, b, _difference(a, b)) for key in LABELS for a, b in [(first.statistics.get(key), second.statistics.get(key))]
        ),
    )


def _difference(first: Statistic, second: Statistic) -> float | None:
    if isinstance(first, str | None) or isinstance(second, str | None):
        return None
    return second - first


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Change, ...]:
    keys = dict.fromkeys([*first, *second])
    return tuple(Change(key, first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key))


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of nested tables and lists by their dotted path."""
    pairs: list[tuple[str, Any]]
    if isinstance(value, Mapping):
        pairs = [(f"{path}.{key}" if path else str(key), each) for key, each in value.items()]
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        pairs = [(f"{path}[{index}]", each) for index, each in enumerate(value)]
    else:
        return {path: value}
    leaves: dict[str, Any] = {}
    for name, each in pairs:
        leaves |= _flat(each, name)
    return leaves


def _series(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {f"{each['symbol']} {each['timeframe']}": each["sha256"] for each in manifest["data"]}


def _versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    versions = manifest["versions"]
    plain = {name: text for name, text in versions.items() if name != "plugins"}
    return plain | {
        f"plugins.{each['plugin']}": f"{each['distribution']} {each['version']}".strip() for each in versions["plugins"]
    }
