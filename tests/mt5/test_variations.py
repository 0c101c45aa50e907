"""The argument variations: many, different, none of the recorded ones, the same every time, some right and some wrong."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mt5.variations import NAMED, NOTHING, ORDERS, POSITIONAL, connected, unconnected

RECORDED = frozenset(
    vector["expr"] for vector in json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))["vectors"]
)
FUNCTIONS = {*POSITIONAL, *NAMED, *ORDERS, *NOTHING}


@pytest.mark.parametrize("make", [unconnected, connected])
def test_variations_are_new_different_and_repeatable(make: Callable[[int, int, frozenset[str]], list[str]]) -> None:
    found = make(1500, 5, RECORDED)

    assert 1500 == len(set(found))
    assert not RECORDED & set(found)
    assert found == make(1500, 5, RECORDED)
    assert found != make(1500, 6, RECORDED)
    for expr in found:
        compile(expr, expr, "eval")


def test_every_function_is_called_often() -> None:
    count = Counter(re.match(r"mt5\.(\w+)", expr)[1] for expr in unconnected(1500, 5, RECORDED))  # type: ignore[index]

    assert FUNCTIONS | {"Buy", "Sell", "Close"} == set(count)
    assert min(count[name] for name in FUNCTIONS - {*NOTHING, "symbols_get"}) >= 10
    assert 379 == len(RECORDED)
