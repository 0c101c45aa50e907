"""Fixtures for authors of plugins; pytest loads this module at every start, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

__all__ = ["clock", "market"]

# Failing rules shall show the values, as the author's own tests do.
pytest.register_assert_rewrite("herald.testing.contracts")


@pytest.fixture
def clock() -> Any:
    """Return a `herald.testing.FakeClock`: it stands still until ``clock.advance(seconds)``."""
    from herald.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture
def market() -> Callable[..., Any]:
    """Return `herald.testing.make_walk`: ``market(500, seed=3)`` makes 500 bars of a random walk."""
    from herald.testing.market import make_walk

    return make_walk
