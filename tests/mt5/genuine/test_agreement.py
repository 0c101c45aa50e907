"""The simulated terminal answers as the genuine package does: names, and generated arguments that nobody recorded."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from tests.mt5 import variations
from tests.mt5.genuine.harness import MT5, evaluate, evaluate_simulated

pytestmark = [pytest.mark.mt5_genuine, pytest.mark.usefixtures("genuine")]

RECORDED = frozenset(vector["expr"] for vector in json.loads((MT5 / "vectors.json").read_text(encoding="utf-8"))["vectors"])
COUNT = 2_000
"""Variations without a connection, and as many with one; the demand is 500."""
CONSTANTS = "repr(sorted((name, value) for name, value in vars(mt5).items() if name.isupper() and type(value) is int))"
FIELDS = "repr([(name, each.n_fields, each.n_sequence_fields, each.n_unnamed_fields, each.__match_args__) for name in sorted(vars(mt5)) for each in [vars(mt5)[name]] if getattr(each, 'n_fields', 0)])"


def compared(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what has to agree: kind of value or exception and cause, plain values, code and text of last_error."""
    keys = ("expr", "kind", "value", "raises", "cause", "last_error")
    return [{key: each.get(key) for key in keys} for each in answers]


def told(answers: list[dict[str, Any]]) -> Any:
    """Return the Python value that the only answer is the repr of."""
    (answer,) = answers
    return ast.literal_eval(ast.literal_eval(answer["value"]))


def differences(genuine: list[dict[str, Any]], simulated: list[dict[str, Any]]) -> list[str]:
    return [
        f"{one}\n    simulated {other}" for one, other in zip(compared(genuine), compared(simulated), strict=True) if one != other
    ]


def test_the_simulated_terminal_has_the_constants_of_the_package() -> None:
    constants = told(evaluate([CONSTANTS]))
    names = [name for name, _ in constants]

    assert len(constants) == 223
    assert constants == told(evaluate_simulated([f"repr([(name, getattr(mt5, name)) for name in {names!r}])"], {}))


def test_the_results_of_the_simulated_terminal_have_the_fields_of_the_package() -> None:
    fields = told(evaluate([FIELDS]))

    assert len(fields) == 11
    assert fields == told(evaluate_simulated([FIELDS], {}))


def test_the_simulated_terminal_has_every_function_of_the_package() -> None:
    names = told(evaluate(["repr(sorted(name for name, each in vars(mt5).items() if callable(each) and name[0] != '_'))"]))

    assert len(names) == 46
    assert [] == told(evaluate_simulated([f"repr([name for name in {names!r} if not callable(getattr(mt5, name, None))])"], {}))


@pytest.mark.parametrize("seed", [1])
def test_arguments_without_a_connection_get_the_same_answers(seed: int) -> None:
    exprs = variations.unconnected(COUNT, seed, RECORDED)

    found = differences(evaluate(exprs), evaluate_simulated(exprs, {}))

    assert not found, f"{len(found)} of {len(exprs)} differ:\n" + "\n".join(found[:20])
    print(f"{len(exprs)} generated argument variations without a connection: 0 differences")
