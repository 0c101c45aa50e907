"""``encrypted = "NAME"``: where it may stand, how it is filled in, and that no message repeats what was in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from herald.cli.config import schema_of
from herald.components import Settings
from herald.errors import ConfigError
from herald.host.encrypted import protect_section
from herald.host.plan import Plan, load_plan
from herald.utils import redaction

PLUGIN = """
from typing import Annotated

from pydantic import AfterValidator, SecretStr, model_validator

from herald import HistoryConnector, Settings, component, hookimpl


def checked(text):
    if text.startswith("bad"):
        raise ValueError(f"{text!r} is no address")
    if text.startswith("odd"):
        raise RuntimeError(f"{text} surprised me")
    return text


class Login(Settings):
    address: Annotated[str, AfterValidator(checked)]
    token: SecretStr | None = None
    number: int = 1
    either: int | list[int] = 1
    proxy: dict[str, int] = {}

    @model_validator(mode="after")
    def _fits(self):
        if self.number == 13:
            raise ValueError(f"{self.address} and {self.number} do not fit")
        return self


class Prices(HistoryConnector):
    def __init__(self, settings, services):
        self.settings = settings


@hookimpl
def herald_connectors():
    yield component("prices", Login, Prices)
"""
FILE = """
[plugins]
paths = ["plugins"]
[[secrets]]
use = "environment"
[connectors.main]
use = "login.prices"
encrypted = "broker"
[strategies.s]
use = "strategies.sma_cross"
symbols = ["EURUSD"]
timeframe = "1h"
"""


def planned(folder: Path, text: str = FILE, **secrets: str) -> Plan:
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "login.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "herald.toml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in secrets.items():
            patch.setenv(f"HERALD_SECRET_{name.upper()}", value)
        return load_plan(folder / "herald.toml", environ={})


def refused(folder: Path, text: str = FILE, **secrets: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        planned(folder, text, **secrets)
    return [str(one) for one in caught.value.problems]


def test_settings_come_from_the_secret_and_host_words_from_the_file(tmp_path: Path) -> None:
    plan = planned(tmp_path, broker='address = "Kq7"\ntoken = "Kq7"\nnumber = "5"\nproxy = { a = 1 }')

    part = plan.connectors["main"]
    assert {"address": "Kq7", "number": 5, "proxy": {"a": 1}} == part.settings.model_dump(include={"address", "number", "proxy"})
    assert {"address", "token", "number", "proxy"} == part.hidden
    assert {"use": "login.prices", "encrypted": "broker"} == plan.config.connectors["main"]
    assert "Kq7" not in plan.describe() + json.dumps(plan.to_dict())


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (
            "address = Kq7",
            "connectors.main.encrypted: the secret 'broker', which should be a table in TOML, is no valid TOML at line 1, ",
        ),
        ('address = "Kq7', "is no valid TOML at end of document; herald secrets set broker --section"),
        ("# Kq7", "should be a table in TOML, is empty; herald secrets set broker --section"),
        ('address = "Kq7"\npoll_seconds = 9', "the secret 'broker' states poll_seconds, which is shown and may not be encrypted"),
        ('address = "Kq7"\nuse = "Kq7"', "states use, which is shown and may not be encrypted"),
        ('address = "Kq7"\nencrypted = "Kq7"', "states encrypted, which"),
        ('adress = "Kq7"', "connectors.main.adress: unknown key of login.prices; did you mean address?"),
        ('token = "Kq7"', "connectors.main.address: is missing; state it"),
        ('address = "bad Kq7"', "connectors.main.address: is refused by the settings of login.prices, and more may not be told"),
        ('address = "odd Kq7"', "cannot be checked: RuntimeError; report it to the plugin's author"),
        (
            'address = "Kq7"\nnumber = 13',
            "connectors.main: is refused by the settings of login.prices, and more may not be told of what ",
        ),
        (
            'address = "x"\nnumber = "Kq7"',
            "connectors.main.number: input should be a valid integer, unable to parse string as an integer",
        ),
        ('address = "x"\neither = "Kq7"', "connectors.main.either: input should be a valid integer"),
        ('address = "x"\nproxy = { a = "Kq7" }', "connectors.main.proxy.a: input should be a valid integer"),
        ('address = "secret:not a name"', "connectors.main.address: takes no secret"),
    ],
)
def test_what_is_wrong_in_it_names_the_key_and_no_value(tmp_path: Path, secret: str, expected: str) -> None:
    told = refused(tmp_path, broker=secret)

    assert [True] == [expected in one for one in told if expected in one]
    assert [] == [one for one in told if "Kq7" in one or "13 do" in one or len(one.splitlines()) > 1]


def test_the_names_of_tables_are_no_secrets(tmp_path: Path) -> None:
    planned(tmp_path, FILE.replace("connectors.main", "connectors.primary"), broker='address = "primary"\ntoken = "Kq7 zorro"')

    assert "primary" == redaction.redact("primary")
    assert "***" == redaction.redact("Kq7 zorro")


def test_a_hint_says_how_to_see_what_may_not_be_told(tmp_path: Path) -> None:
    assert "; herald secrets get broker --reveal" in refused(tmp_path, broker='address = "bad Kq7"')[0]


def test_a_key_in_both_places_is_refused(tmp_path: Path) -> None:
    text = FILE.replace('encrypted = "broker"', 'encrypted = "broker"\nnumber = 3')

    told = refused(tmp_path, text, broker='address = "Kq7"\nnumber = 5')

    assert ["connectors.main.number: stands here and in the secret 'broker'; take one out"] == told


def test_a_missing_one_names_the_key_and_the_sources(tmp_path: Path) -> None:
    expected = (
        "connectors.main.encrypted: secret 'broker' is in none of the sources asked: environment (HERALD_SECRET_BROKER); "
        "herald secrets set broker --section"
    )

    assert [expected] == refused(tmp_path)
    assert (
        "has no source to be asked for; add [[secrets]]"
        in refused(tmp_path, FILE.replace('[[secrets]]\nuse = "environment"', ""))[0]
    )


@pytest.mark.parametrize("stated", ["5", "[]", '"secret:broker"', '"a b"', "{ a = 1 }"])
def test_it_takes_the_name_of_a_secret(tmp_path: Path, stated: str) -> None:
    told = refused(tmp_path, FILE.replace('"broker"', stated))

    assert [
        'connectors.main.encrypted: names no secret; write encrypted = "NAME", and: herald secrets set NAME --section'
    ] == told


def test_every_table_of_a_component_may_stand_encrypted(tmp_path: Path) -> None:
    text = FILE.replace(
        'timeframe = "1h"', 'timeframe = "1h"\nencrypted = "idea"\nsizing = { use = "sizing.fixed", encrypted = "size" }'
    )
    text += """
    [[connectors.main.middleware]]
    use = "retry"
    encrypted = "layer"
    [[risk]]
    use = "risk.max_position"
    encrypted = "limit"
    name = "mine"
    [[observers]]
    use = "log"
    encrypted = "log"
    [[exits]]
    use = "exits.time_based"
    encrypted = "exit"
    """
    plan = planned(
        tmp_path, text, broker='address = "x"', idea="fast = 3\nslow = 9", size="size = 0.5", layer="max_retries = 2", limit="limit = 7",
        log='file = "there.log"', exit="max_bars = 8"
    )  # fmt: skip

    (strategy,) = plan.strategies
    (layer,), (observer,), (check,) = plan.layers("main"), plan.observers, plan.risk
    assert {"max_retries": 2} == layer.settings.model_dump(include={"max_retries"})
    assert ("there.log", 7.0, "risk.mine") == (
        observer.settings.model_dump()["file"],
        check.settings.model_dump()["limit"],
        check.name,
    )
    assert (3, 9) == tuple(strategy.part.settings.model_dump()[key] for key in ("fast", "slow"))
    assert strategy.sizing is not None
    assert 0.5 == strategy.sizing.settings.model_dump()["size"]
    shown = plan.describe()
    assert "retry(encrypted=layer, max_retries=***)" in shown
    assert "risk.max_position(encrypted=limit, limit=***)" in shown
    assert "observer log(encrypted=log, file=***)" in shown
    assert "encrypted=idea fast=*** slow=***" in shown
    assert "sizing sizing.fixed(encrypted=size, size=***)" in shown


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('[[secrets]]\nuse = "keyring"\nencrypted = "broker"', "secrets[1].encrypted: unknown key of keyring"),
        ('[backtest]\nencrypted = "broker"', "backtest.encrypted: unknown key"),
        ('[live]\nencrypted = "broker"', "live.encrypted: unknown key"),
        ('[herald]\nmode = "paper"\n[audit]\nencrypted = "broker"', "audit.encrypted: unknown key of audit"),
    ],
)
def test_what_says_what_a_run_is_stays_readable(tmp_path: Path, table: str, expected: str) -> None:
    told = refused(tmp_path, FILE + table, broker='address = "x"')

    assert [True] == [one.startswith(expected) for one in told if expected in one]


def test_no_plugin_but_the_sources_is_imported_before(tmp_path: Path) -> None:
    assert "connectors.main.encrypted" in refused(tmp_path, FILE.replace("login.prices", "broken.prices"))[0]


def test_what_a_table_hides_is_found_again_but_for_words_that_records_need() -> None:
    class Deep(Settings):
        host: str = "Kq7.example"

    class Hidden(Settings):
        path: Path = Path("Kq7/data")
        address: str = "127.0.0.1:7500"
        words: tuple[str, ...] = ("Kq7-one", "EURUSD", "OrderDenied", "market_closed", "2024-01-31", "12:30:00", "1234567.5")
        style: Literal["loudest", "quietest"] = "loudest"
        maybe: Literal["loudest"] | None = "loudest"
        number: int = 7_315_927
        flag: bool = True
        deep: dict[str, Deep] = {"a": Deep()}
        plain: str = "readable to everybody"
        token: SecretStr = SecretStr("secret:broker_token")

    keys = frozenset(Hidden.model_fields) - {"plain"}
    protect_section(Hidden(), keys, frozenset({"EURUSD"}))

    hidden = ["Kq7/data", "127.0.0.1:7500", "Kq7-one", "Kq7.example"]
    kept = ["EURUSD", "OrderDenied", "2024-01-31", "12:30:00", "1234567.5", "loudest", "7315927", "True", "readable to everybody"]
    assert ["***"] * len(hidden) == [redaction.redact(one) for one in hidden]
    assert kept == [redaction.redact(one) for one in kept]


def test_an_editor_does_not_miss_what_stands_encrypted() -> None:
    schema: dict[str, Any] = schema_of(plugins=True)["$defs"]["use.connector"]

    assert "string" == schema["properties"]["encrypted"]["type"]
    rules = [one for one in schema["allOf"] if one["if"]["properties"]["use"]["const"] == "simbroker"]
    assert [False, True] == ["required" in one["then"] for one in rules]
    assert {"required": ["encrypted"]} == rules[1]["if"]["not"]
