"""The simulated terminal answers as the genuine package does: names, and generated arguments that nobody recorded."""

from __future__ import annotations

import ast
import json
from collections import Counter
from typing import Any

import pytest

import herald.testing.mt5.terminal as terminal
from tests.mt5 import variations
from tests.mt5.genuine.harness import MT5, evaluate, evaluate_simulated, pipe
from tests.mt5.standin import StandIn

pytestmark = [pytest.mark.mt5_genuine, pytest.mark.usefixtures("genuine")]

RECORDED = frozenset(vector["expr"] for vector in json.loads((MT5 / "vectors.json").read_text(encoding="utf-8"))["vectors"])
COUNT = 2_000
"""Variations without a connection, and as many with one; the demand is 500."""
STILL = {
    "start": 1_772_452_800.0,  # Monday, 2 March 2026, noon UTC
    "time_scale": 1e-9,
    "history_days": 1.0,
    "symbols": [
        {"name": "EURUSD", "currency_base": "EUR", "price": 1.1, "volatility": 0.0},
        {"name": "GBPUSD", "currency_base": "GBP", "price": 1.3, "volatility": 0.0},
    ],
}
"""A simulated terminal whose clock and prices stand, so that two of them that are asked the same hold the same."""
CONSTANTS = "repr(sorted((name, value) for name, value in vars(mt5).items() if name.isupper() and type(value) is int))"
FIELDS = "repr([(name, each.n_fields, each.n_sequence_fields, each.n_unnamed_fields, each.__match_args__) for name in sorted(vars(mt5)) for each in [vars(mt5)[name]] if getattr(each, 'n_fields', 0)])"


def compared(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what has to agree: the value and its kind, or the exception and its cause, and both parts of last_error."""
    keys = ("expr", "kind", "whole", "raises", "cause", "last_error")
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


@pytest.mark.parametrize("seed", [1])
def test_arguments_with_a_connection_get_the_same_answers_to_the_last_field(seed: int) -> None:
    # The genuine package asks one simulated terminal through its pipe; the other one is asked directly.
    exprs = variations.connected(COUNT, seed, RECORDED)
    terminal.configure(STILL)
    assert terminal.initialize()
    standin = StandIn(terminal)
    with pipe(standin) as opened:
        genuine = evaluate([f"mt5.initialize({opened.path!r})", *exprs])[1:]
    standin.close()
    terminal.shutdown()

    simulated = evaluate_simulated(["mt5.initialize()", *exprs], STILL)[1:]

    assert [] == standin.failures
    found = differences(genuine, simulated)
    assert not found, f"{len(found)} of {len(exprs)} differ:\n" + "\n".join(found[:20])
    kinds = Counter(each.get("kind", each.get("raises", "")).partition("(")[0].partition(" ")[0] for each in genuine)
    assert min(kinds[kind] for kind in ("OrderSendResult", "OrderCheckResult", "ndarray", "tuple", "SystemError", "int")) >= 20
    print(f"{len(exprs)} generated argument variations with a connection: 0 differences")
