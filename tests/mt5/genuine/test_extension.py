"""The genuine package at a stand-in terminal: what it asks, what it makes of the answers, and what it says of faults."""

from __future__ import annotations

import ast
import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.mt5.fixed import FixedTerminal, record
from tests.mt5.genuine.harness import Pipe, evaluate, pipe
from tests.mt5.standin import Faults, StandIn

pytestmark = [pytest.mark.mt5_genuine, pytest.mark.usefixtures("genuine")]

LISTED = "repr([each._asdict() for each in {}])"


class Terminal:
    """A stand-in behind a pipe, and the module behind the stand-in."""

    def __init__(self, standin: StandIn, module: FixedTerminal, opened: Pipe) -> None:
        self.standin, self.module, self.opened = standin, module, opened

    def ask(self, *exprs: str) -> list[dict[str, Any]]:
        """Connect and return the answers to what is asked then."""
        first, *rest = evaluate([f"mt5.initialize({self.opened.path!r}, timeout=300)", *exprs])
        assert ("True", [1, "Success"]) == (first["value"], first["last_error"])
        return rest


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    module = FixedTerminal()
    standin = StandIn(module)
    with pipe(standin) as opened:
        yield Terminal(standin, module, opened)
    standin.close()
    assert [] == standin.failures


def values(answer: dict[str, Any]) -> Any:
    return ast.literal_eval(ast.literal_eval(answer["value"]))


def test_every_field_of_every_record_arrives_as_it_was_sent(terminal: Terminal) -> None:
    asked = {
        "mt5.terminal_info()": [record("TerminalInfo", 1)],
        "mt5.account_info()": [record("AccountInfo", 1)],
        "mt5.symbol_info('EURUSD')": [record("SymbolInfo", 9, name="EURUSD")],
        "mt5.symbol_info_tick('EURUSD')": [record("Tick", 1)],
        "mt5.symbols_get('*')": [record("SymbolInfo", seed, name=f"S{seed}") for seed in range(3)],
        "mt5.market_book_get('EURUSD')": [record("BookInfo", seed) for seed in range(4)],
        "mt5.positions_get()": [record("TradePosition", seed) for seed in range(2)],
        "mt5.orders_get(symbol='EURUSD')": [record("TradeOrder", seed) for seed in range(2)],
        "mt5.history_deals_get(A, B)": [record("TradeDeal", seed) for seed in range(2)],
        "mt5.history_orders_get(ticket=5)": [record("TradeOrder", 0)],
    }
    exprs = [
        LISTED.format(expr if expr.rpartition(".")[2].partition("(")[0].endswith("get") or "history" in expr else f"[{expr}]")
        for expr in asked
    ]

    found = terminal.ask(*exprs)

    for expr, answer in zip(asked, found, strict=True):
        assert [vars(each) for each in asked[expr]] == values(answer), expr


def test_a_request_arrives_with_every_field_and_comes_back_inside_the_result(terminal: Terminal) -> None:
    request: dict[str, Any] = vars(record("TradeRequest", 3, symbol="EURUSD", comment="€" * 29))

    sent, checked, inner = terminal.ask(
        f"repr(mt5.order_send({request!r})._asdict() | {{'request': None}})",
        f"repr(mt5.order_check({request!r})._asdict() | {{'request': None}})",
        f"repr(mt5.order_send({request!r}).request._asdict())",
    )

    assert [request] * 3 == terminal.module.requests
    assert vars(record("OrderSendResult", 1)) | {"request": None} == values(sent)
    assert vars(record("OrderCheckResult", 1)) | {"request": None} == values(checked)
    assert request == values(inner)


def test_bars_and_ticks_are_read_only_records_with_the_bytes_that_were_sent(terminal: Terminal) -> None:
    rates, ticks, none = terminal.ask(
        "mt5.copy_rates_from_pos('EURUSD', 1, 0, 5).tobytes().hex()",
        "mt5.copy_ticks_from('EURUSD', A, 3, mt5.COPY_TICKS_ALL).tobytes().hex()",
        "mt5.copy_rates_from('EURUSD', 1, B, 5)",
    )

    assert terminal.module.copy_rates_from_pos().tobytes().hex() == ast.literal_eval(rates["value"])
    assert terminal.module.copy_ticks_from().tobytes().hex() == ast.literal_eval(ticks["value"])
    assert none["kind"].startswith("ndarray")
    assert none["kind"].endswith("60 1 False")


def test_arguments_arrive_as_they_were_given(terminal: Terminal) -> None:
    start, end = (int(dt.datetime(2024, month, 1, tzinfo=dt.UTC).timestamp()) for month in (1, 2))

    terminal.ask(
        "mt5.copy_rates_range('EURUSD', mt5.TIMEFRAME_H4, A, B)", "mt5.copy_ticks_range('€', A, 1704067200.9, 3)",
        "mt5.history_orders_total(A, B)", "mt5.history_deals_get(position=2**64-1)", "mt5.symbol_select('EURUSD', False)",
        "mt5.order_calc_margin(1, 'EURUSD', 0.1, 1.1)", "mt5.order_calc_profit(0, 'EURUSD', 0.1, 1.1, 1.2)",
        "mt5.login(7, 'secret', 'Demo')",
    )  # fmt: skip

    assert [
        ("copy_rates_range", "EURUSD", 16388, start, end),
        ("copy_ticks_range", "€", start, start, 3),
        ("history_orders_total", start, end),
        ("TradeDeal", {"position": 2**64 - 1}),
        ("symbol_select", "EURUSD", False),
        ("order_calc_margin", 1, "EURUSD", 0.1, 1.1),
        ("order_calc_profit", 0, "EURUSD", 0.1, 1.1, 1.2),
        ("login", 7, "secret", "Demo"),
    ] == terminal.module.calls


def test_what_is_not_there_is_empty_or_an_error(terminal: Terminal) -> None:
    gone, info, book = terminal.ask("mt5.positions_get(ticket=404)", "mt5.symbol_info('nope')", "mt5.market_book_add('nope')")

    assert ("tuple of []", [1, "Success"]) == (gone["kind"], gone["last_error"])
    assert ("NoneType", [-4, "Terminal: Not found"]) == (info["kind"], info["last_error"])
    assert ("False", [1, "Success"]) == (book["value"], book["last_error"])


@pytest.mark.parametrize(("state", "code"), [(1, -10005), (3, -6)])
def test_a_terminal_that_is_not_ready_is_told_from_one_that_refuses_the_login(state: int, code: int) -> None:
    standin = StandIn(FixedTerminal(), Faults(state=state))
    with pipe(standin) as opened:
        (answer,) = evaluate([f"mt5.initialize({opened.path!r}, timeout=300)"])
    standin.close()

    assert ("False", code) == (answer["value"], answer["last_error"][0])


def test_a_terminal_that_dies_ends_the_connection_whether_the_order_was_carried_out_or_not(terminal: Terminal) -> None:
    terminal.standin.faults.die_after = {"order_send"}
    lost, after = terminal.ask("mt5.order_send(GOOD)", "mt5.account_info()")

    assert [-10002, "IPC recv failed"] == lost["last_error"]
    assert [-10004, "No IPC connection"] == after["last_error"]
    assert 1 == len(terminal.module.requests)

    terminal.standin.faults.die_before, terminal.standin.faults.die_after = {"order_send"}, set()
    (before,) = terminal.ask("mt5.order_send(GOOD)")

    assert [-10002, "IPC recv failed"] == before["last_error"]
    assert 1 == len(terminal.module.requests)


def test_a_switched_off_api_has_a_code_of_its_own(terminal: Terminal) -> None:
    terminal.standin.faults.status = {"order_send": -8}

    (answer,) = terminal.ask("mt5.order_send(GOOD)")

    assert ("NoneType", -8) == (answer["kind"], answer["last_error"][0])


def test_a_slow_call_holds_every_thread_of_its_process(terminal: Terminal) -> None:
    # Rule 2 of the notes on the package: the interpreter is not released while the terminal thinks.
    terminal.standin.faults.slow = {"symbols_total": 0.5}
    count = "exec('import threading,time\\nc=[]\\nthreading.Thread(target=lambda:[(c.append(1),time.sleep(.01)) for _ in range(300)],daemon=True).start()\\n', globals())"

    began = time.monotonic()
    *_, before, total, after = terminal.ask(count, "__import__('time').sleep(.1)", "len(c)", "mt5.symbols_total()", "len(c)")

    assert "12345" == total["value"]
    assert time.monotonic() - began >= 0.5
    assert int(after["value"]) - int(before["value"]) <= 3
