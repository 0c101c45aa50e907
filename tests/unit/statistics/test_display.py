"""Numbers as people read them."""

from __future__ import annotations

import pytest

from herald.statistics import Statistic, display
from herald.statistics.display import display_seconds


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("total_return", 0.12345, "12.35 %"),
        ("total_return", -0.00001, "0.00 %"),
        ("final_equity", 1234567.891, "1,234,567.89"),
        ("total_trades", 1234, "1,234"),
        ("sharpe", 1.23456, "1.2346"),
        ("profit_factor", "inf", "∞"),
        ("sharpe", None, "-"),
        ("symbols", "info", "info"),
        ("start", "2024-01-01T10:00:00Z", "2024-01-01 10:00:00"),
        ("duration_seconds", 93_600.0, "1 d 2 h"),
        ("something_else", 2.5, "2.5000"),
    ],
)
def test_each_unit_has_its_form(key: str, value: Statistic, expected: str) -> None:
    assert expected == display(key, value)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_661, "1 h 1 min"), (86_400, "1 d"), (86_401, "1 d"), (-3_600, "-1 h")],
)
def test_a_length_of_time_is_told_by_its_two_largest_units(seconds: float, expected: str) -> None:
    assert expected == display_seconds(seconds)
