"""The filling policy: what the symbol's mask and its execution allow, in the order of what is meant."""

from __future__ import annotations

import pytest

from herald.model import OrderType, TimeInForce
from herald.plugins.mt5.filling import FOK, IOC, RETURN, policies

REQUEST, INSTANT, MARKET, EXCHANGE = range(4)


@pytest.mark.parametrize(
    ("mask", "execution", "expected"),
    [
        (1, MARKET, [FOK]),
        (2, MARKET, [IOC]),  # the mask's 2 is the enum's 1
        (3, MARKET, [FOK, IOC]),
        (0, MARKET, [FOK, IOC, RETURN]),
        (0, EXCHANGE, [RETURN]),
        (2, EXCHANGE, [IOC, RETURN]),
        (0, INSTANT, [FOK]),
        (3, REQUEST, [FOK, IOC]),
    ],
)
def test_a_market_order_takes_what_the_symbol_has(mask: int, execution: int, expected: list[int]) -> None:
    assert expected == list(policies(mask, execution, OrderType.MARKET, TimeInForce.GTC))


@pytest.mark.parametrize("execution", [REQUEST, INSTANT, MARKET, EXCHANGE])
def test_all_or_nothing_is_never_weakened(execution: int) -> None:
    assert [FOK] == list(policies(2, execution, OrderType.MARKET, TimeInForce.FOK))


def test_a_waiting_order_keeps_its_rest() -> None:
    assert RETURN == policies(3, MARKET, OrderType.LIMIT, TimeInForce.GTC)[0]
