"""What passes between a run and its control server; see herald.utils.child for how."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from herald.model import Act, Charted, Done, Fill, Order, Quote, RunState, Series
from herald.plugins.control.access import Key

__all__ = ["Answer", "Ask", "Begin", "Down", "News", "Said", "Up", "WantMetrics", "decode_down", "decode_up", "encode"]


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first message to every new server.

    Attributes:
        options: `ControlSettings`, as plain values.
        local: The key of whoever owns the state folder.
        keys: Path of the file of keys.
        runs: Folder of runs.
        version: Of Herald.
        plan: The resolved configuration without secrets.
        plan_text: The same for people.
        plugins: Distribution, version and file of everything that is loaded.
        series: The last bars of every series.
        fills: Of the run so far, oldest first.
        state: How the run stands.
    """

    options: dict[str, Any]
    local: Key
    keys: str
    runs: str
    version: str
    plan: dict[str, Any]
    plan_text: str
    plugins: list[dict[str, str]]
    series: list[Series]
    fills: list[Fill]
    state: RunState


class Said(msgspec.Struct, frozen=True):
    """One line of the run's log.

    Attributes:
        time: Nanoseconds UTC.
        level: INFO, WARNING or ERROR.
        kind: Of event, such as ``Fill``.
        text: One line.
    """

    time: int
    level: str
    kind: str
    text: str


class News(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """What happened within the last moment.

    Attributes:
        state: How the run stands, where that was put together anew.
        quotes: The last of every symbol that changed.
        bars: Those that ended.
        orders: Those that changed, oldest first.
        fills: Oldest first.
        said: Lines for the log.
        lost: Events that were dropped since the start because the server was too slow.
    """

    state: RunState | None = None
    quotes: list[Quote] = []
    bars: list[Charted] = []
    orders: list[Order] = []
    fills: list[Fill] = []
    said: list[Said] = []
    lost: int = 0


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What came of an `Ask`, or of a `WantMetrics`.

    Attributes:
        number: Of the question.
        done: Of an act.
        body: Of metrics.
    """

    number: int
    done: Done | None = None
    body: bytes = b""


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Do an act.

    Attributes:
        number: For the answer.
        act: What.
        who: In whose name.
        why: The reason.
    """

    number: int
    act: Act
    who: str
    why: str


class WantMetrics(msgspec.Struct, frozen=True, tag=True):
    """Send every metric."""

    number: int


class Up(msgspec.Struct, frozen=True, tag=True):
    """The server listens at *address*, or cannot because of *trouble*."""

    address: str
    trouble: str = ""


Down: TypeAlias = Begin | News | Answer
"""From the run."""
_Said: TypeAlias = Ask | WantMetrics | Up

encode = msgspec.msgpack.Encoder().encode
decode_down = msgspec.msgpack.Decoder(Down).decode
decode_up = msgspec.msgpack.Decoder(_Said).decode
