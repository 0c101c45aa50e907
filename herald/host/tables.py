"""Herald's own tables of the config file, each a model; components' tables stay raw here."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from herald.clock import DAY, parse_time
from herald.components import Numbers
from herald.model.instrument import server_zone, week_windows

__all__ = [
    "AccountTable",
    "BacktestTable",
    "ConversionTable",
    "CostTable",
    "HeraldConfig",
    "HeraldTable",
    "InstrumentTable",
    "LiveTable",
    "PluginTable",
    "Raw",
]

Raw = dict[str, Any]


class Table(Numbers):
    """Base of the host's own tables."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class HeraldTable(Table):
    """``[herald]``: the run as a whole."""

    api: Literal[1] = 1
    """Major version of Herald's API that the file is written for."""
    mode: Literal["backtest", "paper", "live"] = "backtest"
    """Over history, on live prices with simulated money, or with real money."""
    seed: int = 0
    """Seed of every random number in the run."""
    on_stop: Literal["leave", "cancel", "flatten"] = "cancel"
    """What happens to open orders (and, with flatten, positions) at the end."""


class PluginTable(Table):
    """``[plugins]``: where plugins come from besides the installed ones."""

    paths: list[str] = Field(default_factory=list)
    """Folders whose ``*.py`` files and packages are plugins under their own names; relative to the config file."""
    load: list[str] = Field(default_factory=list)
    """Plugins to load although no table uses them."""
    accept: list[str] = Field(default_factory=list)
    """Warnings of plugins that are accepted, by their name."""
    lock: str = "plugins.lock"
    """The file that says which plugins are trusted, relative to the config; `herald plugins lock` writes it."""
    lock_key: str | None = None
    """Public key, ``ed25519:...``, that must have signed the lock; `herald plugins key` makes one."""
    require_lock: bool | None = None
    """Whether only locked plugins are imported: unless stated in live mode alone; false is refused for real money."""


class AccountTable(Table):
    """``[account]``: the simulated account."""

    currency: str = Field(default="USD", pattern=r"^[A-Z]{3,5}$")
    """Currency of every amount in the results."""
    mode: Literal["netting", "hedging"] = "netting"
    """Whether positions of one symbol are added up for the margin."""
    leverage: float = Field(default=30.0, ge=1)
    """Notional that one unit of margin carries."""


class InstrumentTable(Table):
    """``[instruments.SYMBOL]``: terms of a symbol; they override what the connector says."""

    like: str | None = None
    """A shipped set of terms to start from, such as fx_major."""
    base: str | None = None
    """Currency that is bought; empty where it has none."""
    quote: str | None = None
    """Currency in which the price is stated."""
    price_step: float | None = Field(default=None, gt=0)
    """Smallest change of the price ("point")."""
    size_step: float | None = Field(default=None, gt=0)
    """Smallest change of the size, lots."""
    min_size: float | None = Field(default=None, ge=0)
    """Smallest order, lots."""
    max_size: float | None = Field(default=None, gt=0)
    """Largest order, lots."""
    contract_size: float | None = Field(default=None, gt=0)
    """Units in one lot."""
    margin: float | None = Field(default=None, ge=0)
    """Fixed margin of one lot, quote currency; 0 where the leverage decides."""
    stops_level: float | None = Field(default=None, ge=0)
    """Least distance of pending and protective prices from the market, price steps."""
    freeze_level: float | None = Field(default=None, ge=0)
    """An order this near to the market cannot be changed, price steps."""
    swap_long: float | None = None
    """Interest on one long lot a night, in the unit of swap_mode; negative where it costs."""
    swap_short: float | None = None
    """The same for a short lot."""
    swap_mode: (
        Literal["none", "points", "base", "margin", "account", "interest_current", "interest_open", "reopen_close", "reopen_bid"]
        | None
    ) = None
    """Unit of both."""
    triple_swap_day: Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] | None = None
    """Night that counts three times."""
    swap_zone: str | None = None
    """Zone whose midnight ends a night: an IANA name, with hours on top where the server is ahead: America/New_York+7."""
    commission: float | None = Field(default=None, ge=0)
    """Of the broker, for one lot and side, account currency."""
    sessions: list[str] | None = None
    """When it can be traded: ``"Mon 00:05-Fri 22:00"``, ``"Mon-Fri 09:30-16:00"`` or ``"01:00-24:00"``; [] for always."""
    session_zone: str | None = None
    """IANA name of the zone whose clocks the sessions follow, such as Europe/London."""
    trade_mode: Literal["full", "long_only", "short_only", "close_only", "disabled"] | None = None
    """Which requests the broker takes at all."""

    @model_validator(mode="after")
    def _has_sizes(self) -> Self:
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise ValueError(f"min_size ({self.min_size:g}) is above max_size ({self.max_size:g}); change one of them")
        return self

    @field_validator("sessions")
    @classmethod
    def _has_windows(cls, windows: list[str] | None) -> list[str] | None:
        week_windows(windows or ())
        return windows

    @field_validator("swap_zone")
    @classmethod
    def _has_server(cls, name: str | None) -> str | None:
        server_zone(name or "UTC")
        return name

    @field_validator("session_zone")
    @classmethod
    def _has_zone(cls, name: str | None) -> str | None:
        try:
            ZoneInfo(name or "UTC")
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {name!r}; write an IANA name, such as UTC or America/New_York") from error
        return name


class ConversionTable(Numbers):
    """``[conversions]``: which symbol turns a currency into the account's, by currency, and how old its price may be."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, str] = Field(init=False)

    max_age_seconds: float = Field(default=604_800.0, gt=0, le=3e9)
    """A request that needs an older price is denied."""

    @property
    def symbols(self) -> dict[str, str]:
        """Return symbol by currency."""
        return dict(self.__pydantic_extra__ or {})


class CostTable(Table):
    """``[backtest] costs``: what trades cost; see the fill rules C1 to C4."""

    spread: Literal["fixed", "data"] = "fixed"
    """``data`` takes the spread of each bar from the data instead of spread_points."""
    spread_points: float = Field(default=0.0, ge=0)
    """Fixed spread, price steps."""
    commission_per_lot: float = Field(default=0.0, ge=0)
    """Account currency per lot and side."""
    commission_per_unit: float = Field(default=0.0, ge=0)
    """Account currency per unit and side."""
    commission_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the notional, per side."""
    commission_minimum: float = Field(default=0.0, ge=0)
    """Least commission of one order, account currency."""
    slippage_points: float = Field(default=0.0, ge=0)
    """Adverse change of market and stop fills, price steps."""
    slippage_range: float = Field(default=0.0, ge=0)
    """The same as a fraction of the bar's high minus low."""
    slippage_impact: float = Field(default=0.0, ge=0)
    """The same as a fraction of the price, times the square of the order's share of the bar's volume."""

    @model_validator(mode="after")
    def _has_one_spread(self) -> Self:
        if self.spread == "data" and self.spread_points:
            points = f"spread_points = {self.spread_points:g}"
            raise ValueError(f'spread = "data" takes the spread of each bar, and {points} would not count; leave one of them out')
        return self


_YEARS = range(1678, 2262)
"""Whole years that nanoseconds since 1970 in 64 bits can tell."""


def _moment(value: object) -> date:
    """Turn an ISO text into a date or date-time, so that files, environment and TOML dates all work."""
    moment = _parsed(value) if isinstance(value, str) else value
    if not isinstance(moment, date):
        raise ValueError(f"{value!r} is no date; write 2024-01-31 or 2024-01-31T12:00:00Z")
    if moment.year not in _YEARS:
        raise ValueError(f"{value} is out of range; write a year from {_YEARS[0]} to {_YEARS[-1]}")
    return moment


def _parsed(text: str) -> date | None:
    for parse in (date.fromisoformat, datetime.fromisoformat):
        try:
            return parse(text)
        except ValueError:
            continue
    return None


class BacktestTable(Table):
    """``[backtest]``: the stretch of history, the money and the assumptions."""

    start: Annotated[Any, BeforeValidator(_moment)] = None
    """First time that counts (date or date-time, UTC unless stated); bars before it only warm up."""
    end: Annotated[Any, BeforeValidator(_moment)] = None
    """Last time that counts; a bare date includes the whole day."""
    cash: float = Field(default=10_000.0, gt=0)
    """Starting balance, account currency."""
    intrabar: Literal["worse", "better", "ohlc", "nearest"] = "worse"
    """What is assumed of the way inside a bar; see the fill rules F6, F8 and F9."""
    participation: float | None = Field(default=None, gt=0, le=1)
    """Largest share of a bar's volume that one bar fills; none for no limit."""
    costs: CostTable = Field(default_factory=CostTable)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start_at is not None and self.end_at is not None and self.start_at >= self.end_at:
            raise ValueError(f"start ({self.start}) is not before end ({self.end}); change one of them")
        return self

    @property
    def start_at(self) -> int | None:
        """Return `start` in nanoseconds UTC, or None."""
        return None if self.start is None else _at(self.start)

    @property
    def end_at(self) -> int | None:
        """Return `end` in nanoseconds UTC, or None; the end of the day for a bare date."""
        if self.end is None:
            return None
        return _at(self.end) if isinstance(self.end, datetime) else _at(self.end) + DAY


def _at(moment: date) -> int:
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(), UTC)
    return parse_time(moment.isoformat())


class PinTable(Table):
    """``[live.accounts.NAME]``: the account of one connector, where a run trades several."""

    account: str
    """Number of the account; any other is refused."""
    server: str
    """The broker's server; any other is refused."""
    real: bool
    """Whether real money is at stake there; the other kind is refused."""


class LiveTable(Table):
    """``[live]``: a paper or live run."""

    state: str = "state"
    """Folder of everything that must survive a restart; relative to the config file."""
    account: str | None = None
    """Number of the account; live mode needs it, and refuses any other."""
    server: str | None = None
    """The broker's server; live mode needs it, and refuses any other."""
    real: bool | None = None
    """Whether real money is at stake; live mode needs it, and refuses the other kind."""
    accounts: dict[str, PinTable] = Field(default_factory=dict)
    """The accounts of single connectors, by the names of their tables; the three keys above hold for the others."""
    external: Literal["ignore", "adopt", "refuse"] = "refuse"
    """What to do about positions that Herald did not open: leave them alone, put them under the exits, or only reduce."""
    bar_grace_seconds: float = Field(default=2.0, ge=0)
    """How long bars of one time wait for those of other symbols."""
    warmup_bars: int = Field(default=1_000, ge=0)
    """Bars of history to fetch for every series before the start."""
    connect_seconds: float = Field(default=30.0, gt=0)
    """How long the first connection may take."""
    request_seconds: float = Field(default=10.0, gt=0)
    """How long an order may wait to be sent before it is denied."""
    reconcile_seconds: float = Field(default=60.0, gt=0)
    """Between two comparisons of the account with the books."""
    stall_seconds: float = Field(default=30.0, gt=0)
    """A call of a connector that takes longer is reported, and nothing that adds to a position is sent meanwhile."""
    stop_seconds: float = Field(default=10.0, gt=0)
    """How long stopping waits for cancels and closing orders."""

    def pin(self, connector: str) -> tuple[str | None, str | None, bool | None]:
        """Return account, server and whether real money is at stake, as stated for *connector*."""
        own = self.accounts.get(connector, self)
        return own.account, own.server, own.real


class HeraldConfig(Table):
    """A whole configuration: the host's tables typed, the components' tables as they stand."""

    @property
    def is_audited(self) -> bool:
        """Return whether what is done with this file is recorded: where it says so, and in any case in a live one."""
        stated = self.audit
        return self.herald.mode == "live" if stated is None else stated.get("enabled", True) is not False

    herald: HeraldTable = Field(default_factory=HeraldTable)
    plugins: PluginTable = Field(default_factory=PluginTable)
    secrets: list[Raw] = Field(default_factory=list)
    """Sources that are asked for ``secret:NAME``, in order; the first answer wins."""
    account: AccountTable = Field(default_factory=AccountTable)
    instruments: dict[str, InstrumentTable] = Field(default_factory=dict)
    conversions: ConversionTable = Field(default_factory=ConversionTable)
    connectors: dict[str, Raw] = Field(default_factory=dict)
    """One table a connector; ``use`` names the component, the rest are its settings."""
    caches: dict[str, Raw] = Field(default_factory=dict)
    """One table a cache that layers may share by its name."""
    strategies: dict[str, Raw] = Field(default_factory=dict)
    """One table a strategy."""
    risk_profile: Raw = Field(default_factory=dict)
    """``use`` names a list of risk checks to start from."""
    risk: list[Raw] = Field(default_factory=list)
    """Risk checks, in the order in which they are asked."""
    exits: list[Raw] = Field(default_factory=list)
    """Exit rules of every strategy that has none of its own, in order."""
    observers: list[Raw] = Field(default_factory=list)
    """Observers, in order."""
    services: list[Raw] = Field(default_factory=list)
    """What looks at a paper or live run from outside, or steers it, in order."""
    journal: Raw = Field(default_factory=dict)
    """``use`` names the journal of a paper or live run; the rest are its settings."""
    metrics: Raw | None = None
    """What the run measures is kept where there is this table, even an empty one; ``use`` names another store."""
    audit: Raw | None = None
    """Of a run with orders: who did what. A live file has it unless ``enabled = false``, which is refused for real money."""
    backtest: BacktestTable = Field(default_factory=BacktestTable)
    live: LiveTable = Field(default_factory=LiveTable)
