"""The rules of a layer around a connector."""

from __future__ import annotations

import threading
from typing import ClassVar

import pytest

from herald.components import Component, Settings
from herald.contracts import Call, Handler, Middleware, Operation
from herald.errors import AmbiguousError, ConnectorError, NotSent, RejectedError, TransientError
from herald.live.chain import compose
from herald.model import OrderRequest, Side
from herald.testing.clock import FakeClock
from herald.testing.market import make_services

__all__ = ["MiddlewareContract"]

_REQUEST = OrderRequest("contract-000001", "contract", "TEST", Side.BUY, 1.0)
_CALLS = (
    Call(Operation.PING),
    Call(Operation.ACCOUNT),
    Call(Operation.POLL),
    Call(Operation.QUOTE, ("TEST",)),
    Call(Operation.SUBMIT, (_REQUEST,)),
    Call(Operation.CANCEL, ("1",)),
)


class MiddlewareContract:
    """Subclass it as ``TestX``.

    Attributes:
        component: What the plugin yields.
        settings: Settings under which it lets ordinary calls pass.
    """

    component: ClassVar[Component[Middleware]]
    settings: ClassVar[Settings]

    def _build(self, clock: FakeClock | None = None) -> Middleware:
        return self.component.build(self.settings, make_services("connectors.main.middleware[0]", clock=clock or FakeClock()))

    @pytest.mark.parametrize("call", _CALLS, ids=lambda call: call.operation.method)
    def test_an_answer_passes_unchanged(self, call: Call) -> None:
        """What the connector answers reaches the caller as the same object."""
        answer = object()

        assert answer is self._build()(call, lambda _: answer)

    @pytest.mark.parametrize("call", _CALLS, ids=lambda call: call.operation.method)
    def test_the_call_reaches_the_inside_as_it_is(self, call: Call) -> None:
        """The layer hands on the operation and the arguments that it was given."""
        seen: list[Call] = []

        self._build()(call, lambda given: seen.append(given))

        assert [call] == seen

    def test_an_error_that_is_not_heralds_passes(self) -> None:
        """An exception outside `herald.errors` comes out as the same object, after one call."""
        failure, calls = KeyError("not of this house"), []

        def inner(call: Call) -> object:
            calls.append(call)
            raise failure

        with pytest.raises(KeyError) as caught:
            self._build()(Call(Operation.ACCOUNT), inner)

        assert failure is caught.value
        assert len(calls) == 1

    def test_a_refusal_passes_and_is_not_repeated(self) -> None:
        """The broker's no is an answer; nobody asks again."""
        calls: list[Call] = []

        with pytest.raises(RejectedError, match="no money"):
            self._build()(Call(Operation.SUBMIT, (_REQUEST,)), _failing(RejectedError("10019", "no money"), calls))

        assert len(calls) == 1

    @pytest.mark.parametrize("operation", [Operation.SUBMIT, Operation.MODIFY])
    @pytest.mark.parametrize("error", [AmbiguousError("no reply"), TransientError("busy"), RejectedError("1", "no")])
    def test_an_order_is_sent_once_unless_it_provably_never_left(self, operation: Operation, error: Exception) -> None:
        """SUBMIT and MODIFY are repeated after `NotSent` only."""
        calls: list[Call] = []

        with pytest.raises(type(error)):
            self._build()(Call(operation, (_REQUEST,)), _failing(error, calls))

        assert len(calls) == 1

    def test_not_sent_comes_out_as_what_it_is(self) -> None:
        """However often it is tried, the end of an order that never left is `NotSent`."""
        with pytest.raises(NotSent):
            self._build()(Call(Operation.SUBMIT, (_REQUEST,)), _failing(NotSent("refused"), []))

    def test_ctrl_c_passes_at_once(self) -> None:
        """``KeyboardInterrupt`` is nobody's business."""
        calls: list[Call] = []

        with pytest.raises(KeyboardInterrupt):
            self._build()(Call(Operation.PING), _failing(KeyboardInterrupt(), calls))

        assert len(calls) == 1

    def test_it_waits_on_its_own_clock_only(self) -> None:
        """Time passes only on ``services.clock``: a day of waiting takes a test no time."""
        clock = FakeClock()
        layer = self._build(clock)
        done = threading.Event()

        def run() -> None:
            for _ in range(20):
                try:
                    layer(Call(Operation.ACCOUNT), _failing(TransientError("busy"), []))
                except Exception:
                    clock.advance(3_600)
            done.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        assert done.wait(20), "the layer waits on another clock than services.clock"

    def test_two_chains_share_nothing(self) -> None:
        """Failures of one connector do not touch another that has the same layer."""
        mine, other = self._build(), self._build()
        for _ in range(20):
            with pytest.raises(ConnectorError):
                mine(Call(Operation.ACCOUNT), _failing(TransientError("down"), []))

        assert other(Call(Operation.ACCOUNT), lambda call: "fine") == "fine"

    def test_a_tick_needs_no_call_before_it(self) -> None:
        """``tick``, where there is one, may come first, and again."""
        layer = self._build()
        tick = getattr(layer, "tick", None)
        if tick is None:
            return

        tick(lambda call: None)
        tick(lambda call: None)

    def test_it_works_inside_a_chain(self) -> None:
        """`compose` nests it like any other."""
        handler: Handler = compose([self._build(), self._build()], lambda call: call.operation)

        assert Operation.PING is handler(Call(Operation.PING))


def _failing(error: BaseException, calls: list[Call]) -> Handler:
    """Return an inside that raises *error* and notes the call."""

    def inner(call: Call) -> object:
        calls.append(call)
        raise error

    return inner
