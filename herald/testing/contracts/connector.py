"""The rules of a connector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from herald.contracts import Connector
from herald.errors import HeraldError, NotSupported
from herald.model import BarSeries, OrderRequest, Side, Timeframe

__all__ = ["ConnectorContract"]

_COLUMNS = ("time", "open", "high", "low", "close", "volume")


class ConnectorContract:
    """Subclass it as ``TestX`` and override `connector`; it must have history.

    Attributes:
        symbol: A symbol it has bars of, at least ten.
        timeframe: Their time frame.
    """

    symbol: ClassVar[str]
    timeframe: ClassVar[str] = "1h"

    @pytest.fixture
    def connector(self) -> Connector:
        """Return a connector that is not connected yet."""
        raise pytest.UsageError(f"{type(self).__name__} must override the fixture `connector`")

    def _bars(self, connector: Connector, start: int | None = None, end: int | None = None) -> BarSeries:
        connector.connect()
        return connector.bars(self.symbol, Timeframe.parse(self.timeframe), start, end)

    def test_connecting_twice_is_harmless(self, connector: Connector) -> None:
        """``connect`` and ``disconnect`` may be called twice, and a connector can be connected again."""
        connector.connect()
        connector.connect()
        connector.ping()
        connector.disconnect()
        connector.disconnect()

        assert len(self._bars(connector)) >= 10

    def test_it_says_that_it_has_history(self, connector: Connector) -> None:
        """``capabilities()`` says what the rest of this suite relies on."""
        assert connector.capabilities().history

    def test_bars_are_of_what_was_asked_for(self, connector: Connector) -> None:
        """Symbol and span are those of the request."""
        bars = self._bars(connector)

        assert self.symbol == bars.symbol
        assert Timeframe.parse(self.timeframe).span == bars.span

    def test_bars_strictly_increase(self, connector: Connector) -> None:
        """Each bar ends later than the one before, by its span at least."""
        time = self._bars(connector).time

        assert len(time) >= 10
        assert bool((time[1:] - time[:-1] >= Timeframe.parse(self.timeframe).span).all())

    def test_prices_make_sense(self, connector: Connector) -> None:
        """High is the highest, low the lowest, and every price is positive and finite."""
        bars = self._bars(connector)

        assert bool((bars.low > 0).all())
        assert bool((bars.high < float("inf")).all())
        for column in (bars.open, bars.close):
            assert bool((bars.low <= column).all())
            assert bool((column <= bars.high).all())

    def test_bars_lie_in_the_range_asked_for(self, connector: Connector) -> None:
        """Bars end in ``(start, end]``: the start is excluded, the end included, and nothing between is missing."""
        full = self._bars(connector)
        start, end = int(full.time[2]), int(full.time[-3])

        part = self._bars(connector, start, end)

        assert full.between(start, end).time.tolist() == part.time.tolist()
        assert full.between(start, end).close.tolist() == part.close.tolist()

    def test_an_unfinished_bar_is_not_delivered(self, connector: Connector) -> None:
        """A bar that ends one nanosecond after the end asked for is left out."""
        full = self._bars(connector)

        part = self._bars(connector, None, int(full.time[-1]) - 1)

        assert full.time[:-1].tolist() == part.time.tolist()

    def test_columns_are_read_only(self, connector: Connector) -> None:
        """Nobody can change prices for the others."""
        bars = self._bars(connector)

        assert [False] * len(_COLUMNS) == [getattr(bars, name).flags.writeable for name in _COLUMNS]

    def test_asking_twice_gives_the_same(self, connector: Connector) -> None:
        """History does not change between two questions."""
        first, second = self._bars(connector), self._bars(connector)

        for name in _COLUMNS:
            assert getattr(first, name).tobytes() == getattr(second, name).tobytes()

    def test_an_unknown_symbol_is_an_error(self, connector: Connector) -> None:
        """Asking for what it does not have raises an error of Herald's that names it; it is never an empty answer."""
        connector.connect()

        with pytest.raises(HeraldError, match="NO_SUCH_SYMBOL"):
            connector.bars("NO_SUCH_SYMBOL", Timeframe.parse(self.timeframe), None, None)

    def test_symbols_are_listed_once(self, connector: Connector) -> None:
        """``instruments()`` names no symbol twice."""
        connector.connect()
        symbols = [instrument.symbol for instrument in connector.instruments()]

        assert sorted(set(symbols)) == sorted(symbols)

    @pytest.mark.parametrize(
        "method",
        ["account", "positions", "open_orders", "submit", "modify", "cancel", "find", "fills", "quote", "subscribe", "poll"],
    )
    def test_what_it_cannot_do_is_refused(self, connector: Connector, method: str) -> None:
        """What ``capabilities()`` does not state raises `NotSupported`; what it states does not."""
        connector.connect()
        can = connector.capabilities()
        is_stated = can.streaming if method in ("quote", "subscribe", "poll") else can.trading
        arguments: dict[str, tuple[Any, ...]] = {
            "submit": (OrderRequest("contract-000001", "contract", self.symbol, Side.BUY, 1.0),),
            "modify": ("no-such-order", OrderRequest("contract-000001", "contract", self.symbol, Side.BUY, 1.0)),
            "cancel": ("no-such-order",),
            "find": ("contract-000001", 0),
            "fills": (0,),
            "quote": (self.symbol,),
            "subscribe": ([(self.symbol, Timeframe.parse(self.timeframe))],),
        }
        call: Callable[..., object] = getattr(connector, method)

        if not is_stated:
            with pytest.raises(NotSupported):
                call(*arguments.get(method, ()))
        elif method not in ("submit", "modify"):  # these would trade; the suite of a broker's connector tests them
            call(*arguments.get(method, ()))
