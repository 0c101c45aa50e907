"""Running one strategy: the real engine and simulator, and everything it asked for."""

from __future__ import annotations

from typing import Any

import pytest

from herald.components import Settings
from herald.contracts import Context, Denial, RiskView, Strategy
from herald.model import Bar, Order, OrderRequest, OrderStatus
from herald.testing import Asked, Target, make_bars, make_instrument, run_strategy


class MeanSettings(Settings):
    length: int = 3
    size: float = 0.1


class Mean(Strategy[MeanSettings]):
    """The example of the documentation."""

    def warmup(self) -> int:
        return self.settings.length

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        mean = ctx.closes(bar.symbol, self.settings.length).mean()
        ctx.target(bar.symbol, self.settings.size if bar.close > mean else 0.0)


class Nothing(Settings):
    pass


class Buyer(Strategy[Nothing]):
    """Buys one lot on the first bar and hears what happens."""

    def on_start(self, ctx: Context) -> None:
        self.heard: list[str] = []
        ctx.at(0, "begin")

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not self.heard:
            order = ctx.buy(bar.symbol, 1.0, tag="entry")
            self.heard.append(str(order.status))

    def on_order(self, order: Order, ctx: Context) -> None:
        self.heard.append(str(order.status))


class Broken(Strategy[Nothing]):
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        raise RuntimeError("no idea what to do")


class Refusing:
    exempts_reductions = False

    def check(self, request: OrderRequest, view: RiskView) -> Denial | None:
        return Denial("never", "1 order is above the limit of 0")


class Half:
    def size(self, intent: Any, view: Any) -> float:
        return 0.5


class AskingForASize(Strategy[Nothing]):
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if ctx.position(bar.symbol).size == 0:
            ctx.buy(bar.symbol)


def test_every_target_is_recorded() -> None:
    result = run_strategy(Mean, MeanSettings(length=3), make_bars([10, 11, 12, 9]))

    assert [0.1, 0.0] == [target.size for target in result.targets]


def test_a_target_says_who_what_and_when() -> None:
    bars = make_bars([10, 11, 12], symbol="GBPUSD")

    result = run_strategy(Mean, MeanSettings(), bars, name="trend")

    assert (Target("trend", "GBPUSD", 0.1, int(bars.time[-1])),) == result.targets


def test_orders_fill_on_the_open_of_the_next_bar() -> None:
    bars = make_bars([(10, 10, 10, 10), (11, 12, 11, 12), (12, 12, 12, 12)])

    result = run_strategy(Buyer, Nothing(), bars, on_stop="leave")

    (fill,) = result.fills
    assert (1.0, 11.0) == (fill.size, fill.price)
    assert int(bars.time[0]) == fill.time
    assert [10_000.0, 10_001.0, 10_001.0] == result.equity.tolist()
    assert [OrderStatus.FILLED] == [order.status for order in result.orders]
    assert result.status == "completed"


def test_everything_asked_is_recorded_in_order_with_its_time() -> None:
    bars = make_bars([10, 11])

    result = run_strategy(Buyer, Nothing(), bars)

    assert [
        Asked(int(bars.time[0]), "at", (0, "begin"), ()),
        Asked(int(bars.time[0]), "buy", ("TEST", 1.0), (("tag", "entry"),)),
    ] == list(result.asked)


def test_an_instance_may_be_run_and_looked_at() -> None:
    from herald.testing import make_services

    buyer = Buyer(Nothing(), make_services())

    run_strategy(buyer, None, make_bars([10, 11, 12]))

    assert ["pending", "accepted", "filled"] == buyer.heard


def test_round_trips_become_trades() -> None:
    result = run_strategy(Mean, MeanSettings(), make_bars([10, 11, 12, 9, 9, 9]))

    (trade,) = result.trades
    assert (0.1, 12.0, 9.0) == (trade.size, trade.entry_price, trade.exit_price)
    assert trade.net == pytest.approx(-0.3)


def test_denied_orders_are_listed_with_the_reason() -> None:
    result = run_strategy(Buyer, Nothing(), make_bars([10, 11]), checks=[Refusing()])

    assert [("never", "1 order is above the limit of 0")] == [(order.code, order.reason) for order in result.denials]
    assert result.fills == ()


def test_a_sizer_sizes_what_states_no_size() -> None:
    result = run_strategy(AskingForASize, Nothing(), make_bars([10, 11, 12]), sizer=Half())

    assert [0.5] == [fill.size for fill in result.fills]


def test_a_strategy_that_raises_fails_the_test_with_its_traceback() -> None:
    with pytest.raises(
        AssertionError, match=r"(?s)'test' raised RuntimeError: no idea what to do.*Traceback.*raise RuntimeError"
    ):
        run_strategy(Broken, Nothing(), make_bars([10]))


def test_a_strategy_may_fail_when_that_is_the_test() -> None:
    result = run_strategy(Broken, Nothing(), make_bars([10]), may_fail=True)

    assert result.status == "failed"
    assert ["RuntimeError: no idea what to do"] == [failure.error.split(" (")[0] for failure in result.result.failures]


def test_several_symbols_and_their_terms() -> None:
    bars = [make_bars([10, 11, 12, 13], symbol="A"), make_bars([20, 21, 22, 23], symbol="B")]

    result = run_strategy(Mean, MeanSettings(size=1.26), bars, instruments=[make_instrument("B", size_step=0.5)])

    assert {"A": 1.26, "B": 1.0} == {fill.symbol: fill.size for fill in result.fills}


def test_history_before_the_start_is_not_traded() -> None:
    bars = make_bars([10, 11, 12, 13, 14])

    result = run_strategy(Mean, MeanSettings(), bars, start=int(bars.time[2]))

    assert [int(bars.time[3]), int(bars.time[4])] == [target.time for target in result.targets]
