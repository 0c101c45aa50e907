"""What the tests of the genuine package share."""

from __future__ import annotations

import os

import pytest

from tests.mt5.genuine.harness import GenuineMissing, require_genuine


@pytest.fixture(scope="session")
def genuine() -> None:
    """Demand the genuine package; its absence is a failure where CI is set."""
    try:
        require_genuine()
    except GenuineMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
