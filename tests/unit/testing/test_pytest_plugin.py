"""What every pytest run in an environment with Herald loads."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from herald.clock import SECOND


def test_clock_fixture_stands_still_until_it_is_moved(clock: Any) -> None:
    before = clock.now()

    clock.advance(30)

    assert clock.now() - before == 30 * SECOND


def test_market_fixture_makes_bars(market: Any) -> None:
    assert len(market(12, seed=3)) == 12


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import herald.testing.pytest_plugin;"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "['herald']" == output.strip()


def test_every_public_name_of_the_kit_can_be_imported() -> None:
    import herald.testing

    assert sorted(herald.testing.__all__) == herald.testing.__all__
    assert set(herald.testing._MODULES) == set(herald.testing.__all__)
    assert set(dir(herald.testing)) == set(herald.testing.__all__)
    for name in herald.testing.__all__:
        assert getattr(herald.testing, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    import herald.testing

    with pytest.raises(AttributeError, match=r"module 'herald\.testing' has no attribute 'make_money'"):
        herald.testing.make_money
