"""Play history as if it happened now, so that a paper run can be tried without a broker.

The bars come from another connector of the config, which only has history. At speed 0 the next moment follows as soon
as the engine has dealt with the last one, and time is the time of the bars: the run is a backtest by the live machinery.
At any other speed the bars come with the pace of a clock that runs so many times faster than the one on the wall; time is
that of the bars all the same. In a backtest the connector is nothing but its source.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from herald.clock import SECOND, format_time, parse_time
from herald.components import Component, Services, Settings, component, hookimpl
from herald.contracts import Capabilities, Connector, HistoryConnector, PlanView, Problem
from herald.errors import DataError, NotConnected
from herald.model import BarSeries, DataEnded, Event, Instrument, Moment, Quote, Timeframe

__all__ = ["Replay", "ReplaySettings", "herald_connectors", "herald_validate"]


class _Moment(int):
    """Nanoseconds UTC that a plan prints as the date that they are."""

    def __str__(self) -> str:
        return format_time(self)


def _moment(value: object) -> int | None:
    """Turn a date of the file into nanoseconds UTC."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return _Moment(value)
    text = value.isoformat() if isinstance(value, datetime | date) else value
    try:
        return _Moment(parse_time(text))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise ValueError(f"{value!r} is no date; write 2024-01-31 or 2024-01-31T12:00:00Z") from None


class ReplaySettings(Settings):
    """Settings of `Replay`."""

    source: str
    """Table of the connector whose history is played."""
    speed: float = Field(default=0.0, ge=0)
    """Seconds of the data in one second; 0 plays as fast as the engine can follow."""
    start: Annotated[Any, BeforeValidator(_moment)] = None
    """Date or date-time at which it begins (UTC unless stated); what lies before it is history. From the first bar if not set."""
    end: Annotated[Any, BeforeValidator(_moment)] = None
    """Date or date-time at which it ends; with the last bar where it is not set."""
    bars: int | None = Field(default=None, ge=1)
    """Most moments to play."""


class Replay(HistoryConnector):
    """Delivers the bars of another connector one moment after the other."""

    def __init__(self, settings: ReplaySettings, services: Services) -> None:
        """Take the source; nothing is read before `subscribe`."""
        self._settings = settings
        self._services = services
        self._source: Connector = services.connector(settings.source)
        self._table = services.name.rpartition(".")[2]
        self._is_open = False
        self._ahead: deque[Moment] | None = None
        # A plain number from here on: it becomes the time of everything that is played and recorded.
        self._start, self._end = (None if one is None else int(one) for one in (settings.start, settings.end))
        self._now = self._start or 0
        self._began: tuple[float, int] | None = None
        self._has_ended = False
        self._known = 0

    def connect(self) -> None:
        """Connect the source."""
        self._source.connect()
        self._is_open = True

    def disconnect(self) -> None:
        """Disconnect the source; what was not played yet is kept for the next connection."""
        self._source.disconnect()
        self._is_open = False

    def ping(self) -> None:
        """Return if connected.

        Raises:
            NotConnected: It is not.
        """
        if not self._is_open:
            raise NotConnected("the replay is not connected; call connect() first")

    def capabilities(self) -> Capabilities:
        """Return: history, and prices that come by themselves."""
        return Capabilities(history=True, streaming=True, lockstep=True, starts_at=self._start or 0)

    def instruments(self) -> Sequence[Instrument]:
        """Return the terms that the source knows."""
        return self._source.instruments()

    def bars(self, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> BarSeries:
        """Return the bars of the source; once something is played, up to that time: the future is not there yet."""
        limit = end
        if self._ahead is None:
            self._known = max(self._known, 0 if end is None else end)  # what is history already is not played again
        else:
            limit = self._now if end is None else min(end, self._now)
        return self._source.bars(symbol, timeframe, start, limit)

    def quote(self, symbol: str) -> Quote:
        """Return the close of the last bar that was played, as a quote without a spread."""
        self.ping()
        finest = min((one for one in self._feeds if one[0] == symbol), key=lambda one: one[1].span, default=None)
        series = None if finest is None else self.bars(symbol, finest[1], self._now - 30 * finest[1].span, None)
        if series is None or not len(series):
            raise DataError(f"nothing of {symbol!r} was played yet; subscribe to it, and poll")
        price = float(series.close[-1])
        return Quote(symbol, int(series.time[-1]), price, price)

    _feeds: tuple[tuple[str, Timeframe], ...] = ()

    def subscribe(self, feeds: Sequence[tuple[str, Timeframe | None]]) -> None:
        """Read the bars of *feeds* and put them in the order of their time.

        Raises:
            DataError: There are none in the stretch that the settings state.
        """
        if self._ahead is not None:
            return  # a connection that was lost and made again goes on where it was
        self._feeds = tuple((symbol, timeframe) for symbol, timeframe in feeds if timeframe is not None)
        moments: dict[int, list[Any]] = {}
        for symbol, timeframe in self._feeds:
            series = self._source.bars(symbol, timeframe, self._start, self._end)
            for index in range(len(series)):
                bar = series.bar(index)
                moments.setdefault(bar.time, []).append(bar)
        if not moments:
            names = ", ".join(symbol for symbol, _ in self._feeds)
            raise DataError(f"there is nothing of {names} to play between start and end; change the settings of the replay")
        times = [time for time in sorted(moments)[: self._settings.bars] if time > self._known]
        self._ahead = deque(Moment(time, tuple(moments[time])) for time in times)

    def poll(self) -> Sequence[Event]:
        """Return the next moment if its time has come; at the end `DataEnded`, once."""
        self.ping()
        if self._ahead is None:
            return ()
        if not self._ahead:
            if self._has_ended:
                return ()
            self._has_ended = True
            return (DataEnded(self._now, self._table),)
        if self._ahead[0].time > self._until(self._ahead[0].time):
            return ()
        moment = self._ahead.popleft()
        self._now = moment.time
        return (moment,)

    def _until(self, first: int) -> int:
        """Return up to which time of the data moments have come, nanoseconds UTC."""
        if self._settings.speed == 0:
            return first
        real = self._services.clock.monotonic()
        if self._began is None:
            self._began = real, first
        since, data = self._began
        return data + round((real - since) * self._settings.speed * SECOND)


@hookimpl
def herald_connectors() -> Iterable[Component[Connector]]:
    """Offer the connector."""
    yield component("replay", ReplaySettings, Replay, "Play the history of another connector as if it happened now.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Refuse a source that is not there or is the replay itself, and a stretch without length."""
    connectors = {one.name.partition(".")[2]: one for one in plan.chosen("connector")}
    for table, one in connectors.items():
        if one.use != "replay":
            continue
        settings = one.settings
        if settings.source not in connectors:
            known = ", ".join(name for name in connectors if name != table) or "none"
            yield Problem(f"{one.name}.source", f"no connector is named {settings.source!r}", f"there are: {known}")
        elif connectors[settings.source].use == "replay":
            yield Problem(f"{one.name}.source", f"{settings.source} plays history itself", "name a connector that has history")
        if settings.start is not None and settings.end is not None and settings.start >= settings.end:
            yield Problem(f"{one.name}.start", "is not before end", "change one of them")
        if plan.mode == "live":
            yield Problem(one.name, "history cannot be traded with real money", "use paper mode, or a broker's connector")
