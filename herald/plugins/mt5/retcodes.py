"""What the trade server's answers mean for an order: done, refused, or nobody knows.

Success is a closed set; a code that nobody has heard of counts as unknown, never as success and never as a refusal.

Source: MQL5 documentation, "Return Codes of the Trade Server"; classes by what has happened to the request.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["RETCODES", "Retcode", "explain", "is_requote", "is_success", "is_unknown", "name_of"]


class Retcode(NamedTuple):
    """A code.

    Attributes:
        name: Stable name, as the denial of an order shows it.
        text: What it means and what to do.
    """

    name: str
    text: str


RETCODES: dict[int, Retcode] = {
    10004: Retcode("requote", "the price moved; the strategy decides anew"),
    10006: Retcode("rejected", "the server refused the request"),
    10007: Retcode("cancelled_by_dealer", "the dealer cancelled the request"),
    10008: Retcode("placed", "accepted, not executed yet"),
    10009: Retcode("done", "executed"),
    10010: Retcode("done_partial", "executed in part"),
    10011: Retcode("error", "an error while the request was worked on; what became of it is not known"),
    10012: Retcode("timeout", "the request took too long; what became of it is not known"),
    10013: Retcode("invalid_request", "the request contradicts itself"),
    10014: Retcode("invalid_volume", "the volume is below the minimum, above the maximum or off the step"),
    10015: Retcode("invalid_price", "the price is on the wrong side of the market, too near to it or off the step"),
    10016: Retcode("invalid_stops", "stop loss or take profit is on the wrong side or too near"),
    10017: Retcode("trade_disabled", "the account or the symbol may not be traded"),
    10018: Retcode("market_closed", "the market is closed; wait for the session"),
    10019: Retcode("no_money", "the free margin is too small; make the order smaller"),
    10020: Retcode("price_changed", "the price changed; the strategy decides anew"),
    10021: Retcode("no_prices", "the server has no price for the symbol now; wait for its market to open"),
    10022: Retcode("invalid_expiration", "the time at which the order would end is not one the server takes"),
    10023: Retcode("order_changed", "the order changed meanwhile"),
    10024: Retcode("too_many_requests", "requests came too fast; make the rate limiter slower"),
    10025: Retcode("no_changes", "the order has these terms already"),
    10026: Retcode("autotrading_off_server", "the server forbids automated trading on this account; ask the broker"),
    10027: Retcode("autotrading_off", "the Algo Trading button of the terminal is off; press it"),
    10028: Retcode("locked", "the request is being worked on already"),
    10029: Retcode("frozen", "the order is too near to its price to be changed"),
    10030: Retcode("invalid_filling", "the symbol does not have this filling policy"),
    10031: Retcode("no_connection", "the terminal has no connection to the trade server"),
    10032: Retcode("only_real", "that is allowed on real accounts only"),
    10033: Retcode("limit_orders", "there are as many pending orders as the server allows"),
    10034: Retcode("limit_volume", "orders and positions of the symbol have reached the server's limit"),
    10035: Retcode("invalid_order", "there is no such order, or not of this type"),
    10036: Retcode("position_closed", "the position is closed already"),
    10038: Retcode("invalid_close_volume", "more was to be closed than there is"),
    10039: Retcode("close_under_way", "the position is being closed already"),
    10040: Retcode("limit_positions", "there are as many positions as the server allows"),
    10041: Retcode("rejected_pending", "the pending order was activated and refused"),
    10042: Retcode("long_only", "only long positions are allowed"),
    10043: Retcode("short_only", "only short positions are allowed"),
    10044: Retcode("close_only", "only closing is allowed"),
    10045: Retcode("fifo_close", "positions must be closed oldest first"),
    10046: Retcode("hedge_prohibited", "opposite positions in one symbol are not allowed"),
}
"""Every code that the server is known to give."""

_SUCCESS = frozenset({10008, 10009, 10010})
_UNKNOWN = frozenset({10011, 10012})
_REQUOTE = frozenset({10004, 10020, 10021})


def is_success(code: int) -> bool:
    """Return whether the request was taken: executed, executed in part, or placed."""
    return code in _SUCCESS


def is_unknown(code: int, order: int) -> bool:
    """Return whether nobody can tell from *code* what became of the request.

    Args:
        code: Of the answer.
        order: Ticket in the answer; a request that has one may have been taken although the connection is gone.
    """
    return code in _UNKNOWN or (code == 10031 and order != 0) or code not in RETCODES


def is_requote(code: int) -> bool:
    """Return whether the request was refused because of its price, and another price may do."""
    return code in _REQUOTE


def name_of(code: int) -> str:
    """Return the stable name of a code."""
    known = RETCODES.get(code)
    return known.name if known is not None else f"retcode_{code}"


def explain(code: int, comment: str) -> str:
    """Return a line that says what the server answered."""
    known = RETCODES.get(code)
    text = known.text if known is not None else "a code that Herald does not know"
    return f"the trade server answered {code} ({comment or text}): {text}"
