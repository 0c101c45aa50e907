"""What a simulated terminal is told: the account, the symbols, the broker's habits, and what goes wrong."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["Fault", "Options", "Symbol"]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to misbehave.

    =================  =========================================================================================
    ``code``           The call is not executed and fails with *code* in ``last_error``: one of the package's own.
    ``lost``           The call is executed, then fails with *code* (-10002 unless stated): its answer is lost.
    ``retcode``        ``order_send`` and ``order_check`` are refused with *code*, one of ``TRADE_RETCODE_*``.
    ``lost_retcode``   ``order_send`` is executed and answered with *code* (10012 unless stated).
    ``slow``           The call answers after *seconds*; nothing else in the process runs meanwhile.
    ``die``            The process ends at once, before the call is executed.
    ``die_after``      The process ends after the call was executed and before it is answered.
    ``late_history``   Deals and orders of the history show up *seconds* after they happened.
    ``stale``          No new price since the fault began.
    ``comment``        Order comments are cut to *length* characters, or replaced by *text* where that is stated.
    ``partial``        At most *share* of a market order trades.
    ``button``         The Algo Trading button is off.
    ``api``            The terminal's option that blocks the Python API is on.
    ``offline``        The terminal has no connection to the trade server.
    ``account``        The terminal is logged in to account *code*, whoever did that.
    ``investor``       The broker does not let the account trade: an investor password, or a closed account.
    ``no_programs``    The broker does not let programs trade on the account.
    =================  =========================================================================================

    Attributes:
        kind: See the table.
        calls: Functions that it hits; all where none is named.
        code: See the table.
        seconds: See the table.
        times: Most calls that are hit; None for no bound.
        skip: So many calls are let through first.
        share: See the table.
        text: See the table.
        length: See the table.
    """

    kind: Literal[
        "code",
        "lost",
        "retcode",
        "lost_retcode",
        "slow",
        "die",
        "die_after",
        "late_history",
        "stale",
        "comment",
        "partial",
        "button",
        "api",
        "offline",
        "account",
        "investor",
        "no_programs",
    ]
    calls: tuple[str, ...] = ()
    code: int = 0
    seconds: float = 0.0
    times: int | None = None
    skip: int = 0
    share: float = 0.5
    text: str | None = None
    length: int | None = None


class Symbol(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An instrument of the broker; the names are those of ``SymbolInfo`` where it has them.

    Attributes:
        name: As the broker spells it.
        currency_base: What is bought.
        currency_profit: Currency of the price.
        price: First bid.
        digits: Decimals of a price.
        trade_tick_size: Step of a price; 0 for one point.
        trade_contract_size: Units in a lot.
        volume_min: Smallest order, lots.
        volume_max: Largest order.
        volume_step: Step from *volume_min* on.
        volume_limit: Most lots on one side, positions and orders together; 0 for no limit.
        spread: Points.
        trade_stops_level: Least distance of levels and pending prices from the market, points.
        trade_freeze_level: Within this distance of its price nothing is changed, points.
        trade_exemode: 0 request, 1 instant, 2 market, 3 exchange.
        trade_mode: 0 disabled, 1 long only, 2 short only, 3 close only, 4 full.
        filling_mode: Mask: 1 FOK, 2 IOC, 4 BOC.
        expiration_mode: Mask: 1 GTC, 2 day, 4 till a time, 8 till a day.
        swap_mode: 0 none, 1 points, 2 base currency, 3 margin currency, 4 account currency, 5 percent a year of the price,
            6 percent a year of the entry price, 7 and 8 points (the position stays).
        swap_long: A night, in the unit of *swap_mode*.
        swap_short: The same of a short position.
        swap_rollover3days: Day whose night counts three times, 0 is Sunday.
        volatility: Standard deviation of a tick's log return.
        liquidity: Lots that trade at once; 0 for no bound.
        sessions: Per day of the week, 0 is Sunday: pairs of minutes of the server's day in which it trades; empty for always.
        first_tick_seconds: So long after it was selected the first tick shows.
        selected: It is in the Market Watch from the start.
    """

    name: str
    currency_base: str = ""
    currency_profit: str = "USD"
    price: float = 1.0
    digits: int = 5
    trade_tick_size: float = 0.0
    trade_contract_size: float = 100_000.0
    volume_min: float = 0.01
    volume_max: float = 100.0
    volume_step: float = 0.01
    volume_limit: float = 0.0
    spread: int = 10
    trade_stops_level: int = 0
    trade_freeze_level: int = 0
    trade_exemode: int = 2
    trade_mode: int = 4
    filling_mode: int = 3
    expiration_mode: int = 15
    swap_mode: Annotated[int, msgspec.Meta(ge=0, le=8)] = 1
    swap_long: float = -6.5
    swap_short: float = 1.2
    swap_rollover3days: int = 3
    volatility: float = 0.000_02
    liquidity: float = 0.0
    sessions: dict[str, tuple[tuple[int, int], ...]] = {}
    first_tick_seconds: float = 0.0
    selected: bool = True

    @property
    def point(self) -> float:
        """Return the last decimal of a price."""
        return 10.0**-self.digits


_SYMBOLS = (
    Symbol(name="EURUSD", currency_base="EUR", price=1.1),
    Symbol(name="GBPUSD", currency_base="GBP", price=1.3),
    Symbol(name="USDJPY", currency_base="USD", currency_profit="JPY", price=150.0, digits=3, selected=False),
    Symbol(
        name="XAUUSD", currency_base="XAU", price=1_800.0, digits=2, trade_contract_size=100.0, spread=20, trade_stops_level=10
    ),
)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A terminal and the one account it knows.

    Attributes:
        path: Of ``terminal64.exe``; ``initialize`` takes it or no path at all.
        login: Number of the account.
        password: Of the account.
        server: Of the account.
        otp: The account wants a one-time password.
        trade_mode: 0 demo, 1 contest, 2 real.
        margin_mode: ``netting``, ``exchange`` or ``hedging``.
        fifo_close: Positions must be closed oldest first.
        balance: At the start of a new book.
        currency: Of the account.
        leverage: Notional that one unit of margin carries.
        commission: Of one lot on each side, account currency.
        margin_so_call: Margin call, percent.
        margin_so_so: Stop-out, percent.
        server_zone: The server's clock: an IANA zone, or ``ny+7`` for New York's daylight rules seven hours ahead.
        symbols: What can be traded.
        maxbars: Bars of a symbol and time frame that the terminal hands out.
        seed: Of the prices.
        tick_seconds: From one price to the next.
        history_days: Prices begin so long before a new book does.
        book: File of the broker's book; it outlives the terminal. In memory where none is stated.
        control: JSON file with a list of faults, read again whenever it changes.
        faults: Set from the start.
        start: When the clock begins, seconds since 1970 UTC; the machine's clock where none is stated.
        time_scale: Seconds of the terminal in one of the machine's.
    """

    path: str = r"C:\Program Files\Simulated Terminal\terminal64.exe"
    login: int = 1001
    password: str = "secret"  # noqa: S105 - of an account that does not exist
    server: str = "Sim-Demo"
    otp: bool = False
    trade_mode: int = 0
    margin_mode: Literal["netting", "exchange", "hedging"] = "hedging"
    fifo_close: bool = False
    balance: float = 100_000.0
    currency: str = "USD"
    leverage: int = 100
    commission: float = 3.5
    margin_so_call: float = 100.0
    margin_so_so: float = 50.0
    server_zone: str = "ny+7"
    symbols: tuple[Symbol, ...] = _SYMBOLS
    maxbars: int = 100_000
    seed: int = 0
    tick_seconds: float = 1.0
    history_days: float = 1.0
    book: str | None = None
    control: str | None = None
    faults: tuple[Fault, ...] = ()
    start: float | None = None
    time_scale: float = 1.0
