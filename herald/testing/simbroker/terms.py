"""What a simulated broker is told when it starts, and the faults that it can be told at any time."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

__all__ = ["FAULT_KINDS", "OPERATIONS", "Fault", "FaultKind", "Symbol", "Terms"]

FaultKind = Literal[
    "ack_after_fill",
    "altered_tag",
    "duplicate_event",
    "execution_delay",
    "fill_after_cancel",
    "garbage",
    "half_frame",
    "hang",
    "late_event",
    "lost_event",
    "lost_reply",
    "misaddressed",
    "ok",
    "partial",
    "partial_cancel",
    "refuse",
    "reject_later",
    "reordered_event",
    "reply_delay",
    "reset",
    "slow_drip",
    "unlisted",
    "wrong_id",
]
FAULT_KINDS: tuple[str, ...] = FaultKind.__args__  # type: ignore[attr-defined]
"""Every kind of fault."""

OPERATIONS = (
    "hello",
    "ping",
    "instruments",
    "account",
    "positions",
    "orders",
    "find",
    "deals",
    "quote",
    "bars",
    "poll",
    "submit",
    "modify",
    "cancel",
)
"""Every operation of a trading client; see `herald.testing.simbroker`."""

_EVENTS = ("duplicate_event", "late_event", "lost_event", "reordered_event")
_NATURAL: dict[str, tuple[str, ...]] = {
    "ack_after_fill": ("submit",),
    "altered_tag": ("submit",),
    "fill_after_cancel": ("cancel",),
    "partial": ("submit",),
    "partial_cancel": ("cancel",),
    "reject_later": ("submit",),
    "unlisted": ("find", "orders"),
    "wrong_id": ("submit",),
}
"""Operations that a kind makes sense for, where that is not all of them."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to misbehave.

    ====================  ===========================================================================================
    ``ok``                Nothing; takes a turn in a script.
    ``reply_delay``       The request is executed at once and answered after *seconds*.
    ``execution_delay``   The request is executed after *seconds*, whether its client is still there or not.
    ``lost_reply``        The request is executed and never answered.
    ``hang``              Neither executed nor answered: accepted, then silent.
    ``refuse``            Answered with *code* and *text*; of ``hello``: the login is refused.
    ``reset``             Executed; instead of the answer the connection is reset.
    ``garbage``           Executed; the answer is bytes that mean nothing.
    ``half_frame``        Executed; half of the answer arrives, then the connection ends.
    ``slow_drip``         Executed; the answer comes byte by byte, one every *seconds*.
    ``misaddressed``      Executed; the answer names another request.
    ``wrong_id``          The answer to ``submit`` names an order that does not exist.
    ``altered_tag``       The broker shows the client tag cut to *length*, or *text* in its place.
    ``partial``           *share* of the order trades at first, the rest *seconds* later.
    ``reject_later``      The order is accepted and refused *seconds* later, untraded.
    ``ack_after_fill``    The execution is told before the order is.
    ``fill_after_cancel``  A cancel succeeds, and *seconds* later *share* of the order trades all the same.
    ``partial_cancel``    *share* of the order trades in the moment of its cancel.
    ``duplicate_event``   What the operation tells is told twice.
    ``late_event``        It is told *seconds* later.
    ``reordered_event``   It is told after what happens next.
    ``lost_event``        It is never told; only questions find out.
    ``unlisted``          ``find`` and ``orders`` do not know the orders yet that are younger than *seconds*.
    ====================  ===========================================================================================

    Attributes:
        kind: See the table.
        operations: Requests that it hits; those the kind makes sense for where none is named. News of the market's own
            making (a stop that triggers) is hit by event faults that name no operation.
        chance: Share of those that are hit, drawn from the broker's seed.
        skip: This many are let through first.
        times: Most that are hit; None for no bound.
        seconds: See the table.
        jitter_seconds: Added to *seconds*, drawn evenly from 0 to this.
        after_seconds: It begins so long after it was set.
        lasts_seconds: And lasts so long; None for ever.
        code: Of a refusal.
        text: Words of a refusal, or the tag in its place.
        share: Part of an order, in (0, 1].
        length: Characters that are left of a tag.
    """

    kind: FaultKind
    operations: tuple[str, ...] = ()
    chance: float = 1.0
    skip: int = 0
    times: int | None = None
    seconds: float = 0.0
    jitter_seconds: float = 0.0
    after_seconds: float = 0.0
    lasts_seconds: float | None = None
    code: str = "refused"
    text: str = ""
    share: float = 0.5
    length: int | None = None

    def __post_init__(self) -> None:
        for name in self.operations:
            if name not in OPERATIONS:
                raise ValueError(f"operations of {self.kind!r} has {name!r}; there are {', '.join(OPERATIONS)}")
        for name in ("seconds", "jitter_seconds", "after_seconds", "skip"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} of {self.kind!r} must be 0 or more and finite, not {value!r}")
        for name in ("chance", "share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} of {self.kind!r} must lie in (0, 1], not {getattr(self, name)!r}")
        for name in ("times", "lasts_seconds", "length"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} of {self.kind!r} must be 0 or more, not {value!r}")

    @property
    def is_of_events(self) -> bool:
        """Return whether it spoils what is told, not what is answered."""
        return self.kind in _EVENTS

    def concerns(self, operation: str) -> bool:
        """Return whether it can hit *operation*; the empty name stands for what the market does by itself."""
        if self.operations:
            return operation in self.operations
        natural = _NATURAL.get(self.kind)
        if natural is not None:
            return operation in natural
        # A login is refused or delayed only where that is said: a script for orders must not keep its client out.
        return operation != "hello" and (operation != "" or self.is_of_events)


class Symbol(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An instrument of the broker.

    Attributes:
        symbol: Its name.
        base: What is bought; empty where that is no currency.
        quote: Currency of the price.
        price: First bid.
        digits: Decimals of a price; its step is the last of them.
        contract_size: Units in one lot.
        size_step: Smallest change of a size, and the smallest size, lots.
        max_size: Largest size, lots.
        volatility: Standard deviation of a tick's log return.
        spread_points: Ask minus bid in price steps.
    """

    symbol: str
    base: str = ""
    quote: str = "USD"
    price: float
    digits: int
    contract_size: float = 100_000.0
    size_step: float = 0.01
    max_size: float = 100.0
    volatility: float = 0.00002
    spread_points: int = 10

    def __post_init__(self) -> None:
        for name in ("price", "contract_size", "size_step", "max_size"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} of {self.symbol!r} must be positive and finite, not {getattr(self, name)!r}")
        if not (0 <= self.volatility < 1 and 0 <= self.digits <= 8 and self.spread_points >= 0):
            raise ValueError(f"volatility, digits or spread_points of {self.symbol!r} is out of its range")


_SYMBOLS = (
    Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5),
    Symbol(symbol="GBPUSD", base="GBP", price=1.3, digits=5),
    Symbol(symbol="XAUUSD", base="XAU", price=1_800.0, digits=2, contract_size=100.0, spread_points=20),
)


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The broker and its one account.

    Attributes:
        token: What a trading client says at ``hello``.
        control_token: What the control says there.
        account: Number of the account.
        server: Name of the server.
        real: Whether it claims that real money is at stake.
        currency: Of the account; the quote currency of every symbol, or one that a symbol converts.
        mode: ``hedging`` or ``netting``.
        balance: At the start of a new book.
        leverage: Notional that one unit of margin carries.
        commission: Of one lot on each side, account currency.
        idempotent: A second request with a client tag that is known is answered with what came of the first.
        settle_seconds: What it promises: an order that is not listed after so long was not accepted.
        tag_length: Longest client tag that it takes.
        seed: Of prices and faults.
        tick_seconds: From one price to the next.
        history_days: Prices begin so long before a new book does.
        symbols: What can be traded.
        faults: Set from the start.
    """

    token: str
    control_token: str
    account: str = "1001"
    server: str = "Sim-Demo"
    real: bool = False
    currency: str = "USD"
    mode: Literal["hedging", "netting"] = "hedging"
    balance: float = 100_000.0
    leverage: float = 100.0
    commission: float = 0.0
    idempotent: bool = False
    settle_seconds: float = 1.0
    tag_length: int = 32
    seed: int = 0
    tick_seconds: float = 1.0
    history_days: float = 1.0
    symbols: tuple[Symbol, ...] = _SYMBOLS
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if not self.token or self.token == self.control_token:
            raise ValueError("token must not be empty and must differ from control_token: who trades may not control")
        for name in ("balance", "leverage", "tick_seconds", "history_days"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)!r}")
        if not (self.commission >= 0 and self.settle_seconds >= 0 and self.tag_length >= 1):
            raise ValueError("commission and settle_seconds must be 0 or more, tag_length 1 or more")
        names, own = [one.symbol for one in self.symbols], self.currency
        if not names or len(set(names)) != len(names):
            raise ValueError(f"symbols must name at least one and none twice, not {names!r}")
        for one in self.symbols:
            if one.quote != own and not {one.quote + own, own + one.quote} & set(names):
                raise ValueError(f"no symbol converts {one.quote} of {one.symbol!r} into {own}; add {one.quote}{own}")
