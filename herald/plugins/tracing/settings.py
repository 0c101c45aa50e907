"""Settings of the traces."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from herald.components import Settings

__all__ = ["TracingSettings"]


class TracingSettings(Settings):
    """Settings of `Tracing`."""

    endpoint: str = "http://127.0.0.1:4318/v1/traces"
    """Where the collector takes traces over OTLP/HTTP."""
    headers: dict[str, SecretStr] | None = None
    """Headers of each request, such as ``Authorization = "secret:collector"``."""
    certificate: str | None = None
    """PEM file of the authority that signed the collector's certificate; relative to the config file."""
    service_name: str = Field("herald", min_length=1, max_length=100)
    """Under which name the traces stand in the collector."""
    sample: float = Field(1.0, gt=0, le=1)
    """Part of the orders that are traced; which ones follows from their names."""
    queue: int = Field(10_000, ge=100, le=1_000_000)
    """Steps and spans that wait at most; beyond that they are dropped and counted."""
    timeout_seconds: float = Field(10.0, gt=0, le=120)
    """How long one request to the collector may take, with its repetitions."""

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, text: str) -> str:
        try:
            parts = urlsplit(text)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:  # a port that is no number
            is_address = False
        if not is_address:
            raise ValueError('it is no address of a collector; write one such as "http://127.0.0.1:4318/v1/traces"')
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                'it holds a password, which everybody can read; write headers = { Authorization = "secret:collector" }'
            )
        return text

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, SecretStr] | None) -> dict[str, SecretStr] | None:
        for name in headers or ():
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"{name!r} is no name of a header; use letters, digits and -")
        return headers
