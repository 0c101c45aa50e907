"""The genuine package answers as it did when its answers were written down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.mt5.genuine.harness import MT5, evaluate

pytestmark = [pytest.mark.mt5_genuine, pytest.mark.usefixtures("genuine")]

VECTORS: list[dict[str, Any]] = json.loads((MT5 / "vectors.json").read_text(encoding="utf-8"))["vectors"]


def test_every_recorded_answer_is_given_again() -> None:
    answers = evaluate([vector["expr"] for vector in VECTORS])

    keys = ("expr", "raises", "cause", "last_error")
    recorded = [{key: vector.get(key) for key in keys} for vector in VECTORS]
    assert recorded == [{key: each.get(key) for key in keys} for each in answers]
    kinds = [vector.get("result_type") for vector in VECTORS]
    assert kinds == [each["kind"].split(" ")[0] if "kind" in each else None for each in answers]
    assert len(VECTORS) == 379
