"""What the server knows of the run: kept current by its news, bounded, and turned into JSON once for all readers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import msgspec

from herald.model import Charted, Fill, Order, OrderStatus, Quote, RunState
from herald.plugins.control.settings import ControlSettings
from herald.plugins.control.wire import Begin, News, Said

__all__ = ["Hub", "ReadModel"]

_POINTS = 4_000
_LAGGING = 200
"""Messages that wait for one stream; a reader that is further behind is sent away, and asks for everything anew."""
_encode = msgspec.json.Encoder().encode


class Chart(msgspec.Struct):
    """The last bars of a series, one row a bar: time, open, high, low, close, volume, then the indicators."""

    symbol: str
    timeframe: str
    digits: int
    lines: list[str]
    rows: deque[list[float | int | None]]


class Hub:
    """Hands every message to every open stream, and never waits for one."""

    def __init__(self, most: int) -> None:
        """Allow *most* streams."""
        self.most = most
        self._streams: set[asyncio.Queue[bytes | None]] = set()

    def __len__(self) -> int:
        """Return how many streams are open."""
        return len(self._streams)

    def join(self) -> asyncio.Queue[bytes | None] | None:
        """Return a new stream's queue; None where there are too many."""
        if len(self._streams) >= self.most:
            return None
        stream: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streams.add(stream)
        return stream

    def leave(self, stream: asyncio.Queue[bytes | None]) -> None:
        """Close a stream."""
        self._streams.discard(stream)

    def tell(self, message: bytes) -> None:
        """Put *message* into every stream; one that lags is ended by a None."""
        for stream in list(self._streams):
            if stream.qsize() >= _LAGGING:
                self._streams.discard(stream)
                while not stream.empty():
                    stream.get_nowait()
                stream.put_nowait(None)
            else:
                stream.put_nowait(message)

    def end(self) -> None:
        """End every stream."""
        for stream in list(self._streams):
            stream.put_nowait(None)
        self._streams.clear()


class ReadModel:
    """The state of the run as this process knows it.

    Attributes:
        state: As last told.
        begin: What the run said at the start.
        hub: The open streams.
        seen: When the run was last heard, seconds of the monotonic clock.
        lost: Events of the run that never came here.
    """

    def __init__(self, begin: Begin, settings: ControlSettings, monotonic: Callable[[], float]) -> None:
        """Take over what the run said at the start."""
        self.begin = begin
        self.state: RunState = begin.state
        self.hub = Hub(settings.streams)
        self.seen = monotonic()
        self.lost = 0
        self._monotonic = monotonic
        self._settings = settings
        self._version = 0
        self._cache: dict[str, tuple[int, bytes]] = {}
        self._fills: deque[Fill] = deque(begin.fills, settings.kept_fills)
        self._ended: OrderedDict[str, Order] = OrderedDict()
        self._lines: deque[tuple[int, Said]] = deque(maxlen=settings.kept_lines)
        self._number = 0
        self._quotes: dict[str, Quote] = {}
        self._equity: list[tuple[int, float, float]] = []
        self._charts: dict[tuple[str, str], Chart] = {}
        for one in begin.series:
            columns = [one.time, one.open, one.high, one.low, one.close, one.volume, *(line.values for line in one.lines)]
            rows = deque((list(row) for row in zip(*columns, strict=True)), settings.chart_bars)
            names = [line.name for line in one.lines]
            self._charts[one.symbol, one.timeframe] = Chart(one.symbol, one.timeframe, one.digits, names, rows)
        self._note_equity(begin.state)

    # --- news -------------------------------------------------------------------------------------

    def take(self, news: News) -> None:
        """Take over what happened, and tell every stream."""
        self.seen = self._monotonic()
        self.lost = news.lost
        self._version += 1
        told: dict[str, Any] = {}
        if news.state is not None:
            self.state = news.state
            self._note_equity(news.state)
            told["state"] = news.state
        if news.quotes:
            self._quotes.update({one.symbol: one for one in news.quotes})
            told["quotes"] = [[one.symbol, one.time, one.bid, one.ask] for one in news.quotes]
        if news.bars:
            told["bars"] = [row for one in news.bars if (row := self._add_bar(one)) is not None]
        for order in news.orders:
            if not order.is_working:
                self._ended[order.id] = order
                self._ended.move_to_end(order.id)
                while len(self._ended) > self._settings.kept_orders:
                    self._ended.popitem(last=False)
            else:
                self._ended.pop(order.id, None)
        if news.orders:
            told["orders"] = news.orders
        if news.fills:
            self._fills.extend(news.fills)
            told["fills"] = news.fills
        if news.said:
            lines = []
            for said in news.said:
                self._number += 1
                self._lines.append((self._number, said))
                lines.append({"number": self._number, **msgspec.structs.asdict(said)})
            told["log"] = lines
        if len(self.hub):
            self.hub.tell(_encode(told))

    def _add_bar(self, new: Charted) -> dict[str, Any] | None:
        bar = new.bar
        chart = self._charts.get((bar.symbol, new.timeframe))
        if chart is None:
            return None
        for name in new.lines:
            if name not in chart.lines:  # a strategy asked for it after the start
                chart.lines.append(name)
                for row in chart.rows:
                    row.append(None)
        values = [new.lines.get(name) for name in chart.lines]
        row = [bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume, *values]
        if chart.rows and chart.rows[-1][0] == bar.time:
            chart.rows.pop()
        chart.rows.append(row)
        return {"symbol": chart.symbol, "timeframe": chart.timeframe, "row": row, "lines": chart.lines}

    def _note_equity(self, state: RunState) -> None:
        points = self._equity
        while points and points[-1][0] >= state.time:  # a clock may be set back, and a chart takes time in one direction only
            points.pop()
        points.append((state.time, state.equity, state.balance))
        if len(points) > _POINTS:  # older ones further apart, so that a long run stays in view and in memory
            self._equity = points[: len(points) // 2 : 2] + points[len(points) // 2 :]

    # --- questions --------------------------------------------------------------------------------

    def is_fresh(self, seconds: float) -> bool:
        """Return whether the run was heard within the last *seconds*."""
        return self._monotonic() - self.seen <= seconds

    @property
    def is_ready(self) -> bool:
        """Return whether the run trades: heard of, every connector ready, the journal writable, nothing halted."""
        state = self.state
        connectors = all(one.ready for one in state.connectors)
        return self.is_fresh(5.0) and state.started > 0 and connectors and state.journal and state.trading == "ACTIVE"

    def json(self, what: str) -> bytes:
        """Return one part as JSON; made once for every change.

        Args:
            what: state, account, positions, orders, strategies, connectors, limits, equity, quotes, plan or plugins.
        """
        version, body = self._cache.get(what, (-1, b""))
        if version != self._version:
            body = _encode(self._part(what))
            self._cache[what] = self._version, body
        return body

    def _part(self, what: str) -> Any:
        state = self.state
        match what:
            case "state":
                return state
            case "account":
                names = ("time", "currency", "balance", "equity", "peak", "margin_used", "margin_free", "trading")
                return {name: getattr(state, name) for name in names} | {"accounts": [one.account for one in state.connectors]}
            case "positions" | "orders" | "strategies" | "connectors" | "limits":
                return {what: getattr(state, what)}
            case "equity":
                return {"columns": ["time", "equity", "balance"], "rows": self._equity}
            case "quotes":
                return {"quotes": list(self._quotes.values())}
            case "plan":
                return {"text": self.begin.plan_text, "resolved": self.begin.plan}
            case "plugins":
                return {"plugins": self.begin.plugins}
        raise KeyError(what)

    def ended_orders(self, limit: int) -> bytes:
        """Return the last *limit* orders that are at an end, as JSON."""
        return _encode({"orders": list(self._ended.values())[-limit:]})

    def order(self, name: str) -> bytes | None:
        """Return the order with the id *name* as JSON; None where it is not known here."""
        found = next((one for one in self.state.orders if one.id == name), None) or self._ended.get(name)
        return None if found is None else _encode(found)

    def order_status(self, name: str) -> OrderStatus | None:
        """Return how far the order *name* got, as far as it is known here."""
        ended = self._ended.get(name)
        return None if ended is None else ended.status

    def fills(self, limit: int, symbol: str | None) -> bytes:
        """Return the last *limit* fills as JSON, of one symbol or all."""
        found = [one for one in self._fills if symbol is None or one.symbol == symbol]
        return _encode({"fills": found[-limit:]})

    def log(self, after: int, level: str, limit: int) -> bytes:
        """Return the last *limit* lines of the log behind number *after*, as JSON; *level* is the least."""
        wanted = {"INFO": ("INFO", "WARNING", "ERROR"), "WARNING": ("WARNING", "ERROR"), "ERROR": ("ERROR",)}[level]
        found = [
            {"number": number, **msgspec.structs.asdict(one)}
            for number, one in self._lines
            if number > after and one.level in wanted
        ]
        return _encode({"lines": found[-limit:]})

    def charts(self) -> bytes:
        """Return which series there are, as JSON."""
        listed = [
            {"symbol": one.symbol, "timeframe": one.timeframe, "digits": one.digits, "bars": len(one.rows), "lines": one.lines}
            for one in self._charts.values()
        ]
        return _encode({"series": listed})

    def chart(self, symbol: str, timeframe: str | None, bars: int) -> bytes | None:
        """Return the last *bars* bars of a series as JSON; None where there is no such series."""
        for (name, frame), chart in self._charts.items():
            if name == symbol and timeframe in (None, frame):
                rows = list(chart.rows)[-bars:]
                columns = ["time", "open", "high", "low", "close", "volume"]
                told = {"symbol": name, "timeframe": frame, "digits": chart.digits, "columns": columns, "lines": chart.lines}
                return _encode(told | {"rows": rows})
        return None
