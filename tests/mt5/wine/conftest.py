"""What the tests under Wine share."""

from __future__ import annotations

import os

import pytest

from tests.mt5.wine.harness import WineMissing, require_wine


@pytest.fixture(scope="session")
def wine() -> None:
    """Demand the genuine package under Wine; its absence is a failure where CI is set."""
    try:
        require_wine()
    except WineMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
