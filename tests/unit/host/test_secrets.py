"""``secret:NAME``: asked for when a component is built, from sources in their order, and shown by nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from herald.clock import WallClock
from herald.components import Services, Settings, component
from herald.contracts import SecretSource
from herald.errors import ConfigError, Problem, SecretError
from herald.host.audit import open_trail
from herald.host.discovery import discover
from herald.host.plan import load_plan
from herald.host.planned import Planned
from herald.host.registry import Origin, Registry
from herald.host.secrets import SecretKeeper, misplaced
from herald.runtime.building import Builder
from herald.utils.audit_log import verify_audit
from herald.utils.vault import Vault, VaultKey

ORIGIN = Origin("mine", "mine", "1")


def planned(name: str, use: str, kind: str, made: Any, settings: Settings, origin: Origin) -> Planned[SecretSource]:
    return Planned(name, use, kind, made, settings, origin)


class Inner(Settings):
    token: SecretStr | None = None


class Login(Settings):
    user: str = "anna"
    password: SecretStr = SecretStr("secret:mt5_password")
    inner: Inner = Inner()
    spare: tuple[SecretStr, ...] = ()
    by_name: dict[str, SecretStr] = {}


class Fixed:
    """Answers from a dict, and counts."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.asked: list[str] = []

    def get(self, name: str) -> str | None:
        self.asked.append(name)
        if self.values.get(name) == "!":
            raise SecretError("the safe is shut; open it")
        return self.values.get(name)

    def place(self, name: str) -> str:
        return f"box {name}"


def keeper(*sources: Fixed, settings: Settings | None = None) -> SecretKeeper:
    made = settings or Settings()
    parts = [
        planned(f"secrets[{index}]", f"s{index}", "secret source", component("s", Settings, made_of(one)), made, ORIGIN)
        for index, one in enumerate(sources)
    ]
    return SecretKeeper("herald.toml", parts, lambda part, own: part.component.build(own, services()))


def made_of(source: Fixed) -> Any:
    return lambda settings, services: source


def services(base: Path = Path()) -> Services:
    return Services("secrets[0]", WallClock(), random.Random(0), base=str(base))


def problem(keeper: SecretKeeper, settings: Settings) -> Problem:
    with pytest.raises(ConfigError) as caught:
        keeper.resolved("connectors.main", settings)
    (one,) = caught.value.problems
    return one


def test_the_first_answer_wins_and_later_sources_are_not_asked() -> None:
    first, second, third = Fixed(), Fixed(mt5_password="secret-a"), Fixed(mt5_password="secret-b")

    found = keeper(first, second, third).resolved("connectors.main", Login())

    assert isinstance(found, Login)
    assert ("anna", "secret-a") == (found.user, found.password.get_secret_value())
    assert (["mt5_password"], ["mt5_password"], []) == (first.asked, second.asked, third.asked)
    assert "secret-a" not in repr(found) + found.model_dump_json()
    assert "secret:mt5_password" == Login().password.get_secret_value()


def test_secrets_deep_inside_are_found_and_the_rest_stays() -> None:
    settings = Login(
        password=SecretStr("literal"),
        inner=Inner(token=SecretStr("secret:a")),
        spare=(SecretStr("x"), SecretStr("secret:b")),
        by_name={"k": SecretStr("secret:c")},
    )

    found = keeper(Fixed(a="1", b="2", c="3")).resolved("connectors.main", settings)

    assert isinstance(found, Login)
    assert found.inner.token is not None
    assert ("literal", "1") == (found.password.get_secret_value(), found.inner.token.get_secret_value())
    assert ["x", "2"] == [one.get_secret_value() for one in found.spare]
    assert "3" == found.by_name["k"].get_secret_value()


def test_settings_without_secrets_ask_nobody() -> None:
    source, settings = Fixed(), Login(password=SecretStr("literal"))

    assert settings is keeper(source).resolved("connectors.main", settings)
    assert [] == source.asked


def test_a_missing_secret_names_the_key_and_the_sources() -> None:
    expected = (
        "connectors.main.password: secret 'mt5_password' is in none of the sources asked: s0 (box mt5_password), "
        "s1 (box mt5_password); herald secrets set mt5_password"
    )

    assert expected == str(problem(keeper(Fixed(), Fixed()), Login()))
    assert "has no source to be asked for; add [[secrets]]" in str(problem(keeper(), Login()))


def test_a_source_that_fails_ends_the_search() -> None:
    second = Fixed(mt5_password="secret-b")

    found = problem(keeper(Fixed(mt5_password="!"), second), Login())

    expected = (
        "secrets[0]: secret 'mt5_password', which connectors.main.password needs, cannot be asked for: the safe is shut; open it"
    )
    assert expected == str(found)
    assert [] == second.asked


def test_a_source_that_breaks_is_named_with_what_it_was_asked() -> None:
    class Broken(Fixed):
        def get(self, name: str) -> str | None:
            raise KeyError("no\nsafe")

    kept = keeper(Broken())
    expected = (
        "secrets[0]: secret 'mt5_password', which connectors.main.password needs, cannot be asked for: "
        "the source failed with KeyError: 'no\\nsafe'"
    )

    assert expected == str(problem(kept, Login()))
    assert [("s0", "the source failed with KeyError: 'no\\nsafe'")] == list(kept.survey("mt5_password"))


def test_what_opens_a_source_comes_from_one_above_it() -> None:
    first = Fixed(opens="secret-a")
    found: list[Settings] = []

    def build(part: Planned[SecretSource], own: Settings) -> SecretSource:
        found.append(own)
        return first if part.name == "secrets[0]" else Fixed(mt5_password="secret-b")

    def parts(*settings: Settings) -> list[Planned[SecretSource]]:
        made = component("s", Settings, made_of(first))
        return [Planned(f"secrets[{i}]", f"s{i}", "secret source", made, one, ORIGIN) for i, one in enumerate(settings)]

    opener = Inner(token=SecretStr("secret:opens"))
    SecretKeeper("f", parts(Settings(), opener), build).resolved("connectors.main", Login())

    assert isinstance(found[1], Inner)
    assert found[1].token == SecretStr("secret-a")
    # It cannot be opened with what is in itself, or below it.
    told = problem(SecretKeeper("f", parts(opener, Settings()), build), Login())
    assert "secrets[0].token: secret 'opens' has no source to be asked for" in str(told)


def test_a_secret_in_a_key_that_would_show_it_is_a_mistake() -> None:
    settings = Login(user="secret:user", password=SecretStr("secret:not a name"), by_name={"k": SecretStr("secret:fine")})

    told = [str(one) for one in misplaced(settings, "connectors.main")]

    assert [
        "connectors.main.user: takes no secret: its value is shown in plans and logs; write the value itself",
        'connectors.main.password: names no secret; write "secret:NAME", with letters, digits, _ . and -',
    ] == told


@pytest.mark.parametrize("name", ["environment", "encrypted_config"])
def test_the_sources_are_plugins(name: str) -> None:
    assert name == Registry(discover()).find("secret source", name).full_name


# --- from a file to a component

RUN = """
[[secrets]]
use = "environment"
[[secrets]]
use = "encrypted_config"
passphrase = "secret:vault"
[connectors.main]
use = "simbroker"
address = "127.0.0.1:9"
token = "secret:broker.token"
[strategies.trend]
use = "strategies.sma_cross"
connector = "main"
symbols = ["EURUSD"]
timeframe = "H1"
fast = 5
slow = 20
"""


def test_a_plan_asks_nobody_and_the_component_gets_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "herald.toml"
    file.write_text(RUN, encoding="utf-8")
    plan = load_plan(file, environ={})
    shown = plan.describe() + json.dumps(plan.to_dict())
    assert "secrets  environment > encrypted_config" in shown
    builder = Builder(plan, WallClock(), lambda event: None)
    with pytest.raises(ConfigError, match=r"secrets\[1\].passphrase: secret 'vault' is in none of .*HERALD_SECRET_VAULT"):
        builder(plan.connectors["main"])
    monkeypatch.setenv("HERALD_SECRET_VAULT", "wrong-phrase")
    with pytest.raises(ConfigError, match=r"the vault .* is not there; correct the path"):
        builder(plan.connectors["main"])
    Vault.create(tmp_path / "herald.vault", VaultKey.from_passphrase("wrong-phrase")).set("broker.token", "secret-token")
    connector = Builder(plan, WallClock(), lambda event: None)(plan.connectors["main"])
    assert "secret-token" == connector._settings.token.get_secret_value()
    assert "secret-token" not in repr(vars(connector))
    assert "secret-token" not in plan.describe() + json.dumps(plan.to_dict()) + repr(plan)


def test_the_audit_trail_that_a_command_opens_gets_its_key_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "herald.toml"
    file.write_text('[audit]\nkey = "secret:audit"\n[[secrets]]\nuse = "environment"\n', encoding="utf-8")
    monkeypatch.setenv("HERALD_SECRET_AUDIT", "ab" * 32)

    trail = open_trail(file, WallClock(), {})
    assert trail is not None
    trail.record("anna", "resume", "account")
    trail.close()

    assert verify_audit(tmp_path / "state" / "audit.log", b"\xab" * 32, tmp_path / "state" / "audit.heads").problem == ""
    monkeypatch.delenv("HERALD_SECRET_AUDIT")
    with pytest.raises(ConfigError, match=r"audit.key: secret 'audit' is in none of the sources asked: environment"):
        open_trail(file, WallClock(), {})
