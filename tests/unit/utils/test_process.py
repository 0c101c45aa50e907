"""The memory that this process holds."""

from __future__ import annotations

import numpy as np

from herald.utils._process import resident_bytes


def test_what_is_touched_is_resident() -> None:
    before = resident_bytes()
    block = np.ones(8_000_000)  # 64 MB, written to
    after = resident_bytes()

    assert before is not None
    assert after is not None
    assert 40e6 < after - before < 100e6
    assert block[0] == 1.0
