"""Settings of the MetaTrader 5 connector."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from herald.components import Settings
from herald.plugins.mt5.clock import parse_zone

__all__ = ["MT5Settings"]


class MT5Settings(Settings):
    """Settings of `MT5Connector`."""

    login: int | None = Field(None, gt=0)
    """Number of the account; the one that the terminal is logged in to where it is not stated."""
    password: SecretStr | None = None
    """Of the account; the terminal's saved one where it is not stated."""
    server: str | None = None
    """The broker's server, as the terminal's login window shows it."""
    path: str | None = None
    """The terminal's ``terminal64.exe``; needed where several are installed."""
    portable: bool = False
    """The terminal keeps its data beside itself."""
    address: str | None = None
    """Where a terminal process is served (`herald mt5 serve`), ``host:port``; without it Herald starts one of its own."""
    token: SecretStr | None = None
    """What the served process was started with."""
    python: tuple[str, ...] = ()
    """The Python that has the package, as a command, such as ``["wine", "python.exe"]``; this one where it is not stated."""
    module: str = "MetaTrader5"
    """Has the functions; ``herald.testing.mt5.terminal`` is a simulated terminal, ``mt5linux`` and ``siliconmetatrader5`` are
    bridges that run already."""
    module_options: dict[str, Any] = Field(default_factory=dict)
    """For a module that takes options; see the page on the simulated terminal."""
    symbols: tuple[str, ...] = ()
    """Symbols to offer; those that strategies name are found without it."""
    suffix: str = ""
    """What the broker appends to every name: with ``.r`` the symbol EURUSD is the broker's EURUSD.r."""
    names: dict[str, str] = Field(default_factory=dict)
    """The broker's name of single symbols, such as ``{ GOLD = "XAUUSD.r" }``."""
    server_zone: str = "auto"
    """The server's clock: measured (``auto``), ``ny+7``, an IANA zone, or a fixed ``+02:00``."""
    magic: int = Field(0, ge=0, lt=2**20)
    """Marks the orders of this run; the lower 32 bits of the magic number that the broker keeps belong to the order."""
    deviation_points: int = Field(20, ge=0)
    """Largest difference to the asked price, points, on servers that take one."""
    slippage_points: int | None = Field(None, ge=0)
    """Largest difference between the price last seen and the one at sending, points, over all tries; none checks nothing."""
    requotes: int = Field(2, ge=0, le=10)
    """So often a market order is sent anew at a new price after a requote, within *slippage_points*."""
    order_check: bool = True
    """Have the terminal check every order before it is sent."""
    timeout_seconds: float = Field(10.0, gt=0)
    """Longest time of a call; a terminal that takes longer is taken for hung, and its process is killed."""
    history_timeout_seconds: float = Field(60.0, gt=0)
    """The same for a call that may have to download history."""
    settle_seconds: float = Field(60.0, gt=0)
    """An order that is not found so long after it was sent was not taken; longer than any that was ever late."""
    connect_seconds: float = Field(60.0, gt=0)
    """Longest time for the terminal to start and log in."""
    tick_seconds: float = Field(5.0, gt=0)
    """How long to wait for the first tick of a symbol that was not in the Market Watch."""

    @field_validator("server_zone")
    @classmethod
    def _zone(cls, text: str) -> str:
        if text != "auto":
            parse_zone(text)
        return text

    @model_validator(mode="after")
    def _place(self) -> Self:
        if self.address is not None:
            host, _, port = self.address.rpartition(":")
            if not (host and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65_536):
                raise ValueError(f"address {self.address!r} is none; write host:port, such as 127.0.0.1:5005")
            if self.token is None:
                raise ValueError(
                    'token is missing; a served terminal process answers only who knows it: write token = "secret:mt5_token"'
                )
        if self.password is not None and self.login is None:
            raise ValueError("password is stated without login; state both, or neither")
        return self
