from __future__ import annotations

from typing import Any

import pytest

from herald.contracts import Call, Capabilities, Handler, HistoryConnector, Operation
from herald.errors import AmbiguousError, ConnectorError, RejectedError, TransientError
from herald.live.chain import GuardedConnector, compose
from herald.model import OrderRequest, Side, Timeframe

REQUEST = OrderRequest("trend-000001", "trend", "EURUSD", Side.BUY, 0.1)
H1 = Timeframe(3_600)


class Told(HistoryConnector):
    """A connector that does what it is told and remembers what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        methods = {one.method for one in Operation}
        if name not in methods:
            return object.__getattribute__(self, name)

        def method(*args: Any) -> Any:
            self.asked.append((name, args))
            answer = self.answers.get(name)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return method


def passing(log: list[str], name: str) -> Any:
    def layer(call: Call, proceed: Handler) -> object:
        log.append(f"{name} in {call.operation.method}")
        answer = proceed(call)
        log.append(f"{name} out")
        return answer

    return layer


def test_the_first_layer_is_entered_first() -> None:
    log: list[str] = []
    handler = compose([passing(log, "a"), passing(log, "b")], lambda call: "answer")

    answer = handler(Call(Operation.PING))

    assert "answer" == answer
    assert ["a in ping", "b in ping", "b out", "a out"] == log


def test_without_layers_the_innermost_handler_stands_alone() -> None:
    def innermost(call: Call) -> object:
        return call

    assert innermost is compose([], innermost)


def test_every_method_goes_down_the_chain_with_its_arguments_and_brings_its_answer_back() -> None:
    calls: list[Call] = []

    def layer(call: Call, proceed: Handler) -> object:
        calls.append(call)
        return proceed(call)

    told = Told(quote="a quote", submit="42", bars="bars", poll=["event"], fills=("fill",))
    guarded = GuardedConnector("connectors.main", told, [layer])

    guarded.connect()
    guarded.ping()
    guarded.account()
    guarded.positions()
    guarded.open_orders()
    guarded.instruments()
    guarded.subscribe([("EURUSD", H1)])
    assert "a quote" == guarded.quote("EURUSD")
    assert "bars" == guarded.bars("EURUSD", H1, None, 5)
    assert "42" == guarded.submit(REQUEST)
    guarded.modify("42", REQUEST)
    guarded.cancel("42")
    guarded.find("tag", 7)
    assert ("fill",) == guarded.fills(7)
    assert ("event",) == guarded.poll()

    assert set(Operation) == {call.operation for call in calls}
    assert [(call.operation.method, call.args) for call in calls] == told.asked


def test_a_layer_can_answer_without_the_connector() -> None:
    told = Told()
    guarded = GuardedConnector("connectors.main", told, [lambda call, proceed: "kept"])

    assert "kept" == guarded.quote("EURUSD")
    assert [] == told.asked


def test_disconnecting_passes_no_layer_and_capabilities_ask_nobody() -> None:
    def refuses(call: Call, proceed: Handler) -> object:
        raise TransientError("no")

    class Plain(HistoryConnector):
        is_open = True

        def disconnect(self) -> None:
            self.is_open = False

    plain = Plain()
    guarded = GuardedConnector("connectors.main", plain, [refuses])

    guarded.disconnect()

    assert not plain.is_open
    assert Capabilities(history=True) == guarded.capabilities()


def test_the_answer_to_a_poll_is_a_tuple_built_inside_every_layer() -> None:
    seen: list[object] = []

    def layer(call: Call, proceed: Handler) -> object:
        answer = proceed(call)
        seen.append(answer)
        return answer

    guarded = GuardedConnector("connectors.main", Told(poll=iter(["a", "b"])), [layer])

    assert ("a", "b") == guarded.poll()
    assert [("a", "b")] == seen


def test_a_poll_that_fails_while_it_is_built_fails_inside_the_layers() -> None:
    def broken() -> Any:
        yield "a"
        raise TransientError("cut off")

    caught: list[str] = []

    def layer(call: Call, proceed: Handler) -> object:
        try:
            return proceed(call)
        except TransientError as error:
            caught.append(str(error))
            return ()

    assert () == GuardedConnector("connectors.main", Told(poll=broken()), [layer]).poll()
    assert ["cut off"] == caught


@pytest.mark.parametrize("error", [TransientError("later"), RejectedError("10", "no"), AmbiguousError("who knows")])
def test_errors_of_heralds_own_pass_as_they_are(error: ConnectorError) -> None:
    guarded = GuardedConnector("connectors.main", Told(submit=error))

    with pytest.raises(type(error)) as caught:
        guarded.submit(REQUEST)

    assert error is caught.value


@pytest.mark.parametrize("method", ["submit", "modify"])
def test_any_other_error_of_an_order_leaves_its_fate_unknown(method: str) -> None:
    guarded = GuardedConnector("connectors.main", Told(**{method: KeyError("retcode")}))
    arguments = (REQUEST,) if method == "submit" else ("42", REQUEST)

    with pytest.raises(AmbiguousError, match=r"connectors\.main: .* raised KeyError: 'retcode'; whether") as caught:
        getattr(guarded, method)(*arguments)

    assert isinstance(caught.value.__cause__, KeyError)


def test_any_other_error_of_a_question_is_a_fault_of_the_connector_that_nobody_repeats() -> None:
    guarded = GuardedConnector("connectors.main", Told(quote=ZeroDivisionError("division by zero")))

    with pytest.raises(ConnectorError, match="ZeroDivisionError: division by zero; report it") as caught:
        guarded.quote("EURUSD")

    assert not isinstance(caught.value, TransientError)


def test_ctrl_c_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        GuardedConnector("connectors.main", Told(submit=KeyboardInterrupt())).submit(REQUEST)


def test_ticks_reach_what_is_inside_the_layer_and_the_innermost_comes_first() -> None:
    log: list[str] = []

    class Ticking:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, call: Call, proceed: Handler) -> object:
            log.append(f"{self.name} passes {call.operation.method}")
            return proceed(call)

        def tick(self, proceed: Handler) -> None:
            log.append(f"{self.name} ticks")
            proceed(Call(Operation.PING))

    told = Told()
    guarded = GuardedConnector("connectors.main", told, [Ticking("outer"), passing([], "plain"), Ticking("inner")])

    guarded.tick()

    assert ["inner ticks", "outer ticks", "inner passes ping"] == log
    assert [("ping", ()), ("ping", ())] == told.asked


def test_orders_are_not_repeatable_and_only_prices_and_terms_may_be_kept() -> None:
    assert {Operation.SUBMIT, Operation.MODIFY} == {one for one in Operation if not one.repeatable}
    assert {Operation.INSTRUMENTS, Operation.QUOTE, Operation.BARS} == {one for one in Operation if one.cacheable}
    assert len({one.method for one in Operation}) == len(Operation)


def test_urgent_is_what_can_only_make_the_account_safer() -> None:
    closing = OrderRequest("trend-000002", "trend", "EURUSD", Side.SELL, 0.1, reduce_only=True)

    assert Call(Operation.CANCEL, ("42",)).is_urgent
    assert Call(Operation.SUBMIT, (closing,)).is_urgent
    assert not Call(Operation.SUBMIT, (REQUEST,)).is_urgent
    assert not Call(Operation.POLL).is_urgent
