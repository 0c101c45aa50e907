"""Connectors over the whole way, and what they ask of the package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from herald.clock import Clock
from herald.plugins.mt5.client import TerminalClient
from herald.plugins.mt5.connector import MT5Connector
from tests.unit.plugins.mt5.trading import Calls, Make, made


@pytest.fixture
def make() -> Iterator[Make]:
    connectors = []

    def make(options: dict[str, Any] | None = None, clock: Clock | None = None, **settings: Any) -> MT5Connector:
        connectors.append(made(settings, options or {}, clock))
        return connectors[-1]

    yield make
    for one in connectors:
        one.disconnect()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Return what is asked of the package from here on: name, arguments, keywords."""
    asked: Calls = []
    call = TerminalClient.call

    def spy(client: TerminalClient, name: str, *args: Any, seconds: float, **named: Any) -> Any:
        asked.append((name, args, named))
        return call(client, name, *args, seconds=seconds, **named)

    monkeypatch.setattr(TerminalClient, "call", spy)
    return asked
