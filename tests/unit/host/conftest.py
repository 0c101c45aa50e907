"""Fake installed distributions: a module and a ``*.dist-info`` folder on ``sys.path``, as metadata really looks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., None]

STRATEGY = """
    from herald import Settings, Strategy, component, hookimpl

    class S(Settings):
        length: int = 20
        size: float = 0.1

    class X(Strategy):
        pass

    @hookimpl
    def herald_strategies():
        yield component("{name}", S, X, "A strategy.")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution with one plugin; ``source`` is the module's text."""
    count = 0

    def call(
        plugin: str,
        source: str | None = None,
        *,
        dist: str = "",
        version: str = "1.2",
        group: str = "herald.v1",
        module: str = "",
    ) -> None:
        nonlocal count
        count += 1
        dist, module = dist or f"dist-{plugin}", module or f"mod_{plugin}_{count}"
        site = tmp_path / f"site{count}"
        info = site / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{group}]\n{plugin} = {module}\n", encoding="utf-8")
        text = dedent(STRATEGY.format(name=plugin) if source is None else source)
        (site / (module.partition(":")[0] + ".py")).write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(site))

    yield call
    for name in [name for name in sys.modules if name.startswith(("mod_", "herald_local_"))]:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a config file."""

    def call(text: str) -> Path:
        path = tmp_path / "herald.toml"
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return call
