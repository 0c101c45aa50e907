"""Variables of the environment as a source of secrets."""

from __future__ import annotations

import random

import pytest
from pydantic import ValidationError

from herald.clock import WallClock
from herald.components import Services
from herald.plugins.environment import Environment, EnvironmentSettings

SERVICES = Services("secrets[0]", WallClock(), random.Random(0))


@pytest.mark.parametrize(
    ("name", "variable"), [("mt5_password", "MT5_PASSWORD"), ("api.key", "API_KEY"), ("Main-2", "MAIN_2"), ("é", "_")]
)
def test_a_secret_is_in_the_variable_of_its_name(monkeypatch: pytest.MonkeyPatch, name: str, variable: str) -> None:
    source = Environment(EnvironmentSettings(), SERVICES)
    monkeypatch.delenv(f"HERALD_SECRET_{variable}", raising=False)
    missing = source.get(name)
    monkeypatch.setenv(f"HERALD_SECRET_{variable}", "")
    empty = source.get(name)
    monkeypatch.setenv(f"HERALD_SECRET_{variable}", "secret-x")

    assert (None, None, "secret-x", f"HERALD_SECRET_{variable}") == (missing, empty, source.get(name), source.place(name))


def test_the_prefix_can_be_another_and_must_be_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE_A", "secret-x")

    assert "secret-x" == Environment(EnvironmentSettings(prefix="MINE_"), SERVICES).get("a")
    with pytest.raises(ValidationError):
        EnvironmentSettings(prefix="A=")
