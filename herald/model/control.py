"""What a person may ask of a run, what comes of it, and how the run looks from outside: plain values, ready to be sent."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from herald.model.account import Account
from herald.model.market import Bar
from herald.model.order import Order

__all__ = [
    "Act",
    "AmendOrder",
    "Charted",
    "ClosePosition",
    "ConnectorState",
    "Done",
    "Holding",
    "Line",
    "PlaceOrder",
    "PlanInfo",
    "Reconcile",
    "Reload",
    "ResumeTrading",
    "RunState",
    "ScopeState",
    "Series",
    "StopTrading",
    "StrategyState",
    "Usage",
    "WithdrawOrder",
]


# --- acts -----------------------------------------------------------------------------------------


class PlaceOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="act", tag="place", forbid_unknown_fields=True):
    """Place an order in the book of the person, through the same checks as a strategy's.

    Attributes:
        symbol: What to trade; one that the run trades.
        side: Direction.
        size: Lots, > 0.
        limit: Limit price, quote currency per unit.
        stop: Stop price.
        stop_loss: Price of the protective stop.
        take_profit: Price of the target.
        reduce_only: Never opens, adds to or turns the position of that book.
        tag: Free text.
    """

    symbol: str
    side: Literal["buy", "sell"]
    size: float
    limit: float | None = None
    stop: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    reduce_only: bool = False
    tag: str = ""


class AmendOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="act", tag="amend", forbid_unknown_fields=True):
    """Change the terms of a working order; what is None stays.

    Attributes:
        order: Its id.
        size: Lots, > 0.
        limit: Limit price, quote currency per unit.
        stop: Stop price.
        stop_loss: Price of the protective stop to place when it fills.
        take_profit: Price of the target to place when it fills.
    """

    order: str
    size: float | None = None
    limit: float | None = None
    stop: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None


class WithdrawOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="act", tag="withdraw", forbid_unknown_fields=True):
    """Withdraw the working order with the id *order*."""

    order: str


class ClosePosition(msgspec.Struct, frozen=True, kw_only=True, tag_field="act", tag="close", forbid_unknown_fields=True):
    """Close what a book holds, at market.

    Attributes:
        strategy: The book.
        symbol: The instrument.
        share: Part of it, > 0 and <= 1; rounded to the instrument's step.
    """

    strategy: str
    symbol: str
    share: float = 1.0


class StopTrading(msgspec.Struct, frozen=True, kw_only=True, tag_field="act", tag="stop", forbid_unknown_fields=True):
    """Let less pass from now on, until somebody resumes: pause, kill and flatten are all this.

    Attributes:
        scope: ``account``, ``strategy:NAME`` or ``symbol:NAME``.
        state: ``REDUCING`` lets only reductions pass, ``HALTED`` nothing.
        cancel_all: Withdraw the working orders of the scope; with HALTED.
        flatten: Close its positions, too; with HALTED.
        exits: Requests that only reduce still pass; with HALTED.
    """

    scope: str = "account"
    state: Literal["REDUCING", "HALTED"] = "HALTED"
    cancel_all: bool = False
    flatten: bool = False
    exits: bool = False


class ResumeTrading(msgspec.Struct, frozen=True, kw_only=True, tag_field="act", tag="resume", forbid_unknown_fields=True):
    """Lift what holds for *scope*, wholly or down to *state*."""

    scope: str = "account"
    state: Literal["ACTIVE", "REDUCING"] = "ACTIVE"


class Reconcile(msgspec.Struct, frozen=True, kw_only=True, tag_field="act", tag="reconcile", forbid_unknown_fields=True):
    """Compare every account with the books, now."""


class Reload(msgspec.Struct, frozen=True, kw_only=True, tag_field="act", tag="reload", forbid_unknown_fields=True):
    """Read the file again: services whose settings changed start anew; what else changed needs another start and is named."""


Act: TypeAlias = PlaceOrder | AmendOrder | WithdrawOrder | ClosePosition | StopTrading | ResumeTrading | Reconcile | Reload
"""What may be asked."""


class Done(msgspec.Struct, frozen=True):
    """What came of an act.

    Attributes:
        ok: Whether it is done, or on its way where a broker must do its part.
        code: Stable code of a refusal; empty otherwise.
        text: What happened, in words.
        order: Id of the order that it made or concerns; empty for none.
    """

    ok: bool
    code: str = ""
    text: str = ""
    order: str = ""


# --- how a run looks ------------------------------------------------------------------------------


class ScopeState(msgspec.Struct, frozen=True):
    """What holds for a scope that is not ACTIVE.

    Attributes:
        scope: ``account``, ``strategy:NAME`` or ``symbol:NAME``.
        state: REDUCING or HALTED.
        who: Who said so.
        why: The reason given.
        time: Since when, nanoseconds UTC.
        pending: Orders or positions that it wants gone are still there.
    """

    scope: str
    state: str
    who: str
    why: str
    time: int
    pending: bool = False


class Holding(msgspec.Struct, frozen=True):
    """A position as one book holds it.

    Attributes:
        strategy: The book.
        symbol: The instrument.
        size: Lots, signed.
        average_price: Mean entry price, quote currency per unit.
        price: At which it would be closed now, the same; NaN where there is none.
        profit: If it were closed now, before fees, account currency; NaN where it cannot be valued.
        opened: When it last left flat, nanoseconds UTC.
        stop_loss: Price of the protective stop that works for it; None for none.
        take_profit: Price of the target that works for it; None for none.
    """

    strategy: str
    symbol: str
    size: float
    average_price: float
    price: float
    profit: float
    opened: int
    stop_loss: float | None = None
    take_profit: float | None = None


class StrategyState(msgspec.Struct, frozen=True):
    """One strategy of a run.

    Attributes:
        name: In the config.
        use: Its plugin's component; empty for the book of a person or of others.
        symbols: What it trades.
        timeframes: Its series.
        state: What passes for it: ACTIVE, REDUCING or HALTED.
        warm: Whether it has bars enough to decide.
        failed: Why it was stopped; empty while it runs.
        orders: Requests so far.
        trades: Closed trades so far, those of earlier runs included.
        realized: Their profit after fees, account currency.
        exits: Its exit rules.
    """

    name: str
    use: str
    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    state: str
    warm: bool
    failed: str = ""
    orders: int = 0
    trades: int = 0
    realized: float = 0.0
    exits: tuple[str, ...] = ()


class ConnectorState(msgspec.Struct, frozen=True):
    """One connector of a run.

    Attributes:
        name: In the config.
        use: Its plugin's component.
        ready: Connected, and compared with the books.
        account: As last stated.
        health: What its layers last told, by layer.
        backlog: Jobs that wait for its worker.
        busy_seconds: How long the call under way has taken; 0 where there is none.
        clock_skew: Broker's clock minus ours, seconds.
    """

    name: str
    use: str
    ready: bool
    account: Account
    health: dict[str, str] = {}
    backlog: int = 0
    busy_seconds: float = 0.0
    clock_skew: float = 0.0


class Usage(msgspec.Struct, frozen=True):
    """How much of a limit is used.

    Attributes:
        name: The risk check, with its strategy where it is one's own.
        text: What is limited, with its unit.
        used: Now.
        limit: At which entries are refused.
    """

    name: str
    text: str
    used: float
    limit: float


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands at one moment.

    Attributes:
        time: When, nanoseconds UTC; the run's own clock.
        started: When it began to trade; 0 before.
        mode: ``paper`` or ``live``.
        source: The config file, as the user named it.
        currency: Of every amount.
        balance: Deposits plus realised profit less fees, of all accounts.
        equity: Balance plus open profit.
        peak: Highest equity so far.
        margin_used: Held back for open positions.
        margin_free: Equity less that.
        trading: What passes for the account: ACTIVE, REDUCING or HALTED.
        scopes: Every scope that is not ACTIVE.
        positions: Every open position, by book.
        orders: Every working order.
        strategies: In config order.
        connectors: In config order.
        limits: Limits and how much of them is used.
        unresolved: Orders of which nobody knows whether the broker has them.
        journal: Whether intents can be kept.
        disk_free: Bytes left where the journal is.
        external: Lots that no book explains, by ``CONNECTOR SYMBOL``.
    """

    time: int
    started: int
    mode: str
    source: str
    currency: str
    balance: float
    equity: float
    peak: float
    margin_used: float
    margin_free: float
    trading: str
    scopes: tuple[ScopeState, ...] = ()
    positions: tuple[Holding, ...] = ()
    orders: tuple[Order, ...] = ()
    strategies: tuple[StrategyState, ...] = ()
    connectors: tuple[ConnectorState, ...] = ()
    limits: tuple[Usage, ...] = ()
    unresolved: tuple[str, ...] = ()
    journal: bool = True
    disk_free: float = 0.0
    external: dict[str, float] = {}


class PlanInfo(msgspec.Struct, frozen=True):
    """What is run.

    Attributes:
        resolved: The whole configuration, without secrets.
        text: The same for people.
        plugins: ``name``, ``distribution``, ``version`` and ``place`` of every loaded plugin.
    """

    resolved: dict[str, Any]
    text: str
    plugins: tuple[dict[str, str], ...] = ()


class Line(msgspec.Struct, frozen=True):
    """One output of an indicator over a series.

    Attributes:
        name: Such as ``sma(20)``.
        values: One a bar, NaN while it warms up; the last ones, as many as the series has.
    """

    name: str
    values: list[float]


class Charted(msgspec.Struct, frozen=True):
    """A bar that ended, with the indicators over its series as they were then; what a subscription gives for a bar.

    Attributes:
        bar: The bar.
        timeframe: Such as ``15m``.
        lines: Value of every indicator by name, as in `Series`; NaN while it warms up.
    """

    bar: Bar
    timeframe: str
    lines: dict[str, float] = {}


class Series(msgspec.Struct, frozen=True):
    """The last bars of a symbol, for a chart; every column is as long as *time*.

    Attributes:
        symbol: The instrument.
        timeframe: Such as ``15m``.
        digits: Decimals of a price.
        time: Ends of the bars, nanoseconds UTC.
        open: Quote currency per unit, as the three that follow.
        high: Highest.
        low: Lowest.
        close: Last.
        volume: As the source counts it.
        lines: Indicators that strategies keep over it.
    """

    symbol: str
    timeframe: str
    digits: int
    time: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    lines: tuple[Line, ...] = ()
