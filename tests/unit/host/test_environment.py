"""Variables set single keys above the file, are compared without case, and are named in what goes wrong."""

from __future__ import annotations

from typing import Any

import pytest

from herald.host.environment import overlay


def table() -> dict[str, Any]:
    return {
        "strategies": {"Trend": {"use": "mine", "symbols": ["EURUSD"], "length": 3}},
        "backtest": {"cash": 1.0, "costs": {"spread_points": 12}},
        "risk": [{"use": "risk.max_position"}],
    }


def test_one_key_is_set_and_the_rest_is_left_alone() -> None:
    raw = table()

    problems, variables = overlay(raw, {"HERALD_BACKTEST__COSTS__COMMISSION_PER_LOT": "3.5", "PATH": "/bin"})

    assert {"spread_points": 12, "commission_per_lot": "3.5"} == raw["backtest"]["costs"]
    assert 1.0 == raw["backtest"]["cash"]
    assert ([], {"backtest.costs.commission_per_lot": "HERALD_BACKTEST__COSTS__COMMISSION_PER_LOT"}) == (problems, variables)


def test_names_of_the_file_are_found_without_case() -> None:
    raw = table()

    overlay(raw, {"HERALD_STRATEGIES__TREND__LENGTH": "9"})

    assert ["Trend"] == list(raw["strategies"])
    assert "9" == raw["strategies"]["Trend"]["length"]


def test_new_symbols_and_currencies_stay_as_written_and_other_names_become_small() -> None:
    raw: dict[str, Any] = {}

    overlay(
        raw,
        {
            "HERALD_INSTRUMENTS__EURUSD__LIKE": "fx_major",
            "HERALD_CONVERSIONS__JPY": "USDJPY",
            "HERALD_CONNECTORS__MAIN__PATH": "x.csv",
        },
    )

    assert {"EURUSD": {"like": "fx_major"}} == raw["instruments"]
    assert {"JPY": "USDJPY"} == raw["conversions"]
    assert {"main": {"path": "x.csv"}} == raw["connectors"]


def test_lists_and_tables_are_json_and_tables_are_merged() -> None:
    raw = table()

    overlay(
        raw,
        {
            "HERALD_STRATEGIES__TREND__SYMBOLS": '["GBPUSD", "USDJPY"]',
            "HERALD_BACKTEST": '{"cash": 5, "costs": {"slippage_points": 1}}',
            "HERALD_RISK": "[]",
        },
    )

    assert ["GBPUSD", "USDJPY"] == raw["strategies"]["Trend"]["symbols"]
    assert {"cash": 5, "costs": {"spread_points": 12, "slippage_points": 1}} == raw["backtest"]
    assert [] == raw["risk"]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HERALD_BACKTST__CASH", "5", "HERALD_BACKTST__CASH: there is no table backtst; did you mean HERALD_BACKTEST__...?"),
        ("HERALD_QQQ__CASH", "5", "HERALD_QQQ__CASH: there is no table qqq; there are: herald, plugins,"),
        (
            "HERALD_RISK",
            "[x",
            'HERALD_RISK: is not valid JSON: Expecting value: line 1 column 2 (char 1); write it like ["EURUSD"',
        ),
        (
            "HERALD_RISK__0__LIMIT",
            "1",
            "HERALD_RISK__0__LIMIT: risk is not a table, its entries cannot be set one by one; set it as",
        ),
        ("HERALD_BACKTEST__CASH__X", "1", "HERALD_BACKTEST__CASH__X: backtest.cash is not a table"),
    ],
)
def test_variable_that_sets_nothing_is_a_problem(variable: str, value: str, words: str) -> None:
    problems, variables = overlay(table(), {variable: value})

    assert [True] == [str(problem).startswith(words) for problem in problems], problems
    assert {} == variables


def test_a_variable_that_sets_a_table_is_told_of_by_its_keys() -> None:
    _, variables = overlay(table(), {"HERALD_BACKTEST": '{"cash": 2, "costs": {"spread_points": 1}}'})

    assert dict.fromkeys(["backtest.cash", "backtest.costs.spread_points"], "HERALD_BACKTEST") == variables


def test_variables_that_are_no_settings_are_left_alone() -> None:
    raw = table()

    assert ([], {}) == overlay(raw, {"HERALD_TRACEBACK": "1", "HERALD_": "x", "NOT_HERALD_BACKTEST__CASH": "5"})
    assert table() == raw


def test_one_underscore_between_table_and_key_is_a_mistake_and_not_silence() -> None:
    raw = table()

    problems, variables = overlay(raw, {"HERALD_BACKTEST_CASH": "5", "HERALD_HEARTBEAT": "x", "HERALD_TRACEBACK": "1"})

    assert [
        "HERALD_BACKTEST_CASH: is no setting: two underscores stand between a table and its key; "
        "did you mean HERALD_BACKTEST__CASH?"
    ] == [str(problem) for problem in problems]
    assert ({}, 1.0) == (variables, raw["backtest"]["cash"])
