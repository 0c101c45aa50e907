"""Fixtures of the control server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.plugins.control.world import World


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., World]:
    """Return what makes a server in this process."""
    return lambda **settings: World(tmp_path, **settings)


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    """Return a server with the settings that hold unless stated."""
    return make()
