"""What ``herald mt5 doctor`` looks at: how far a connection comes, and what works on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from herald.clock import HOUR
from herald.errors import ConfigError, HeraldError
from herald.model import Timeframe
from herald.plugins.mt5.connector import MT5Connector

__all__ = ["Line", "Report", "examine"]


class Line(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        name: What.
        state: ``ok``, ``failed``, ``warning`` or ``skipped``.
        text: What was found, and what to do where that is needed.
    """

    name: str
    state: str
    text: str = ""


class Report(msgspec.Struct):
    """Everything that was looked at.

    Attributes:
        connector: Name of the table.
        sections: Lines by heading.
    """

    connector: str
    sections: dict[str, list[Line]]

    @property
    def is_healthy(self) -> bool:
        """Return whether nothing failed and nothing was left out."""
        return all(one.state in ("ok", "warning") for lines in self.sections.values() for one in lines)

    def as_json(self) -> dict[str, Any]:
        """Return it for a program."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told | {"healthy": self.is_healthy}


def examine(name: str, connector: MT5Connector) -> Report:
    """Connect stage by stage and look at everything that trading needs; nothing is traded."""
    report = Report(name, {"connection": []})
    stages = report.sections["connection"]
    is_broken = False
    for stage, work in connector.stages():
        if is_broken:
            stages.append(Line(stage, "skipped"))
            continue
        found = _tried(work)
        is_broken = found is not None
        if stage == "clock" and not is_broken and connector.server_clock.trouble:
            stages.append(Line(stage, "warning", "reached, and in doubt; see below"))
            continue
        stages.append(Line(stage, "ok" if found is None else "failed", found or ""))
    if is_broken:
        return report
    versions = connector.versions()
    report.sections["versions"] = [
        Line("terminal", "ok", f"build {versions['build']}"),
        Line("package", "ok", f"{versions['module']} {versions['package']}"),
        Line("python", "ok", f"{versions['python']} on {versions['platform']}, process {versions['pid']}"),
    ]
    account = connector.account()
    kind = "REAL MONEY" if account.real else "demo"
    report.sections["account"] = [
        Line("number", "ok", f"{account.id} at {account.server}, {kind}, {account.mode}, leverage {account.leverage:g}"),
        Line("money", "ok", f"{account.equity:,.2f} {account.currency} equity, {account.margin_free:,.2f} free"),
    ]
    flags = connector.permissions()
    report.sections["permission"] = [Line(flag, "failed" if remedy else "ok", remedy) for flag, remedy in flags.items()]
    report.sections["clock"] = [_clock(connector)]
    report.sections["what works"] = _works(connector)
    return report


def _tried(work: Callable[[], object]) -> str | None:
    """Return what was wrong as one line; None where nothing was."""
    try:
        work()
    except ConfigError as error:
        return "; ".join(part for one in error.problems for part in (one.what, one.hint) if part)
    except HeraldError as error:
        return " ".join(str(error).split())
    return None


def _clock(connector: MT5Connector) -> Line:
    clock = connector.server_clock
    if clock.zone is None:
        return Line("server", "failed", clock.trouble)
    ahead = clock.zone.offset(connector.account().time) / HOUR
    text = f"{clock.zone.name}, {ahead:+g} h from UTC now"
    if clock.trouble:
        return Line("server", "failed", f"{text}: {clock.trouble}")
    if not clock.is_sure:
        return Line("server", "warning", f"{text}, as the file says; no fresh tick to compare it with")
    return Line("server", "ok", f"{text}, as fresh ticks say")


def _works(connector: MT5Connector) -> list[Line]:
    lines = []
    known = connector.instruments()[:1]
    if not known:
        return [Line("symbols", "failed", "the Market Watch is empty and no symbols are named; write symbols = [...]")]
    symbol = known[0].symbol
    now = connector.account().time

    def quote() -> str:
        found = connector.quote(symbol)
        age = (now - found.time) / 1e9
        return f"{symbol} {found.bid:g} / {found.ask:g}, {max(age, 0.0):.0f} s old"

    def bars() -> str:
        found = connector.bars(symbol, Timeframe(60), now - 24 * HOUR, None)
        return f"{len(found)} finished one-minute bars of the last day"

    def history() -> str:
        return f"{len(connector.fills(now - 30 * 24 * HOUR))} executions in thirty days"

    def working() -> str:
        return f"{len(connector.open_orders())} working orders, {len(connector.positions())} positions"

    def check() -> str:
        refused = connector.would_trade(symbol)
        if refused:
            raise HeraldError(refused)
        return f"the terminal would take the smallest order in {symbol} (nothing was sent)"

    for name, work in (("quote", quote), ("bars", bars), ("history", history), ("orders", working), ("order check", check)):
        told: list[str] = []

        def note(work: Callable[[], str] = work, told: list[str] = told) -> None:
            told.append(work())

        wrong = _tried(note)
        lines.append(Line(name, "ok" if wrong is None else "failed", told[0] if wrong is None else wrong))
    return lines
