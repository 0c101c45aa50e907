"""Settings of the control server."""

from __future__ import annotations

import ipaddress
from typing import Self

from pydantic import Field, model_validator

from herald.components import Settings

__all__ = ["ControlSettings"]


class ControlSettings(Settings):
    """Settings of `ControlService`."""

    host: str = "127.0.0.1"
    """Address to listen at. Anything but this machine's own needs a certificate."""
    port: int = Field(default=8787, ge=0, le=65_535)
    """Port to listen at; 0 takes a free one, which ``control.json`` in the state folder names."""
    certificate_file: str | None = None
    """PEM file of the certificate and its chain; relative to the config file."""
    key_file: str | None = None
    """PEM file of its private key; the same."""
    names: list[str] = Field(default_factory=list)
    """Host names under which a browser may reach the server, besides its address and ``localhost``; others are refused."""
    dashboard: bool = True
    """Whether the dashboard is served beside the interface for programs."""
    open_metrics: bool = False
    """Whether ``/metrics`` needs no key; for a scraper on this machine that cannot send one."""
    requests_per_minute: int = Field(default=6_000, ge=1)
    """Of one key; beyond that it is told to wait."""
    streams: int = Field(default=50, ge=1, le=1_000)
    """Open streams of all callers together; further ones are refused."""
    body_bytes: int = Field(default=65_536, ge=1_024, le=1_048_576)
    """Largest body of a request."""
    updates_per_second: float = Field(default=10.0, gt=0, le=50)
    """How often news are sent to the server and its streams."""
    chart_bars: int = Field(default=1_000, ge=1, le=20_000)
    """Bars of each series that the server keeps for charts."""
    kept_fills: int = Field(default=2_000, ge=1, le=100_000)
    """Fills that the server keeps, the last ones."""
    kept_orders: int = Field(default=2_000, ge=1, le=100_000)
    """Ended orders that the server keeps, the last ones."""
    kept_lines: int = Field(default=2_000, ge=1, le=100_000)
    """Lines of the log that the server keeps, the last ones."""
    queue: int = Field(default=10_000, ge=100)
    """Events that wait for the server at most; beyond that the oldest are dropped and counted."""
    runs: str = "runs"
    """Folder of finished runs, relative to the config file."""

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        return ipaddress.ip_address(self.host).is_loopback

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        try:
            local = self.is_local
        except ValueError:
            raise ValueError(f"host {self.host!r} is no address; write one such as 127.0.0.1, or localhost") from None
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together; state both, or neither")
        if not local and self.certificate_file is None:
            raise ValueError(
                f"host {self.host} can be reached from other machines, and keys would cross the network in the clear; "
                "state certificate_file and key_file, or listen at 127.0.0.1 and put a proxy with TLS in front"
            )
        if not local and self.open_metrics:
            raise ValueError(f"open_metrics would show the account to everybody who reaches {self.host}; give the scraper a key")
        return self
