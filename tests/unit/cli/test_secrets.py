"""``herald secrets``: values come in without being seen, and only --reveal lets one out."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from keyring.backends.fail import Keyring as NoRing

from herald.cli import herald
from herald.cli import secrets as module
from herald.clock import format_time
from herald.errors import ConfigError, HeraldError, SecretError
from herald.utils import vault as vault_module
from herald.utils.vault import Vault, read_key_file

pytestmark = pytest.mark.usefixtures("cheap_keys")
posix = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o077)
    yield
    os.umask(before)


def run(*arguments: str, typed: str = "", terminal: bool = False) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_is_terminal", lambda: terminal)
        return CliRunner().invoke(herald, ["secrets", *arguments], input=typed)


def refused(*arguments: str, typed: str = "", terminal: bool = False) -> str:
    result = run(*arguments, typed=typed, terminal=terminal)
    assert 0 != result.exit_code
    if isinstance(result.exception, HeraldError):
        assert 1 == len(str(result.exception).splitlines())
        return str(result.exception)
    assert isinstance(result.exception, SystemExit)
    return result.output


KEY = ("--key-file", "key")


def make(**values: str) -> None:
    assert 0 == run("init", *KEY).exit_code
    for name, value in values.items():
        assert 0 == run("set", name, *KEY, typed=value + "\n").exit_code


def test_a_value_goes_in_unseen_and_comes_out_on_demand() -> None:
    make(mt5_password="secret-1")

    shown = run("list", *KEY).output + run("doctor", *KEY).output

    assert "mt5_password  version 1, set 2" in shown
    assert "secret-1" not in shown
    assert "only shown with --reveal" in refused("get", "mt5_password", *KEY)
    assert "secret-1\n" == run("get", "mt5_password", "--reveal", *KEY).output
    assert b"secret-1" not in Path("herald.vault").read_bytes()


def test_a_person_is_asked_without_echo() -> None:
    phrase = "secret of many words"
    assert 0 == run("init", typed=f"{phrase}\n{phrase}\n", terminal=True).exit_code

    kept = run("set", "a", typed=f"{phrase}\nsecret-1\nsecret-1\n", terminal=True)

    assert (0, False) == (kept.exit_code, "secret" in kept.output.replace("herald secrets", ""))
    assert "secret-1\n" in run("get", "a", "--reveal", typed=f"{phrase}\n", terminal=True).output
    assert "not the right one" in refused("list", typed="wrong\n", terminal=True)
    assert "take at least 12" in refused("init", "--vault", "w", typed="short\nshort\n", terminal=True)
    assert "there is nobody to ask; state --passphrase-file or --key-file" in refused("list")
    assert not Path("w").exists()


def test_a_value_is_no_argument() -> None:
    make()

    assert "unexpected extra argument" in refused("set", "a", "secret-1", *KEY)


def test_what_is_not_there_is_said() -> None:
    assert "there is no vault 'herald.vault'; name it with --vault, or make it: herald secrets init" in refused("list", *KEY)
    make()
    assert "never overwritten" in refused("init", *KEY)
    assert "has no secret 'a'" in refused("remove", "a", *KEY)
    assert "the value of a is empty" in refused("set", "a", *KEY)
    assert "--expires" in refused("set", "a", "--expires", "soon", *KEY, typed="x")
    assert "the vault is empty" in run("list", *KEY).output


def test_removed_is_gone() -> None:
    make(a="secret-1", b="secret-2")

    assert 0 == run("remove", "a", *KEY).exit_code

    assert ["b"] == Vault(Path("herald.vault"), read_key_file(Path("key"))).names()


def test_the_key_is_changed_in_two_steps() -> None:
    make(a="secret-1")
    Path("phrase").write_text("secret of many words\n")
    new = ("--passphrase-file", "phrase")

    assert "both keys open it now" in run("rotate", "--new-passphrase-file", "phrase", *KEY).output

    doctor = run("doctor", *KEY)
    assert (1, True) == (doctor.exit_code, "two keys open the vault" in doctor.output)
    assert "needs both the old key and the new one" in refused("set", "b", *KEY, typed="secret-2")
    assert 0 == run("set", "b", *KEY, *new, typed="secret-2").exit_code
    assert "two keys open the vault" in refused("rotate", "--new-key-file", "third", *KEY)
    assert not Path("third").exists()
    assert "the newest key" in refused("rotate", "--finish", *KEY)
    assert "the old key opens it no longer" in run("rotate", "--finish", *new).output
    assert "there was nothing to finish" in run("rotate", "--finish", *new).output
    assert "it is opened with a pass-phrase" in refused("list", *KEY)
    assert ("secret-1\n", "secret-2\n") == tuple(run("get", one, "--reveal", *new).output for one in "ab")


def test_one_chooses_how_a_key_is_made_of_a_pass_phrase_and_the_doctor_shows_it() -> None:
    Path("phrase").write_text("secret of many words\n")
    mine = ("--passphrase-file", "phrase")
    assert 0 == run("init", "--kdf", "scrypt", *mine).exit_code
    run("set", "a", *mine, typed="secret-1")
    before = run("doctor", *mine).output

    assert 0 == run("rotate", "--kdf", "argon2id", "--new-passphrase-file", "phrase", *mine).exit_code
    both = run("doctor", *mine).output
    assert "the old key opens it no longer" in run("rotate", "--finish", *mine).output

    after = run("doctor", *mine).output
    kinds = [("(scrypt)" in text, "(argon2id)" in text) for text in (before, both, after)]
    assert [(True, False), (True, True), (False, True)] == kinds
    assert "secret-1\n" == run("get", "a", "--reveal", *mine).output
    assert 0 == run("init", "--vault", "w", *mine).exit_code
    assert "a pass-phrase (argon2id)" in run("doctor", "--vault", "w", *mine).output
    assert "--kdf is for a pass-phrase" in refused("init", "--vault", "x", "--kdf", "scrypt", *KEY)
    assert "--finish takes no new key" in refused("rotate", "--finish", "--kdf", "scrypt", *mine)
    assert not Path("x").exists()
    assert not Path("key").exists()


def test_the_doctor_warns_of_what_expires() -> None:
    make()
    run("set", "old", "--expires", "2020-01-31", *KEY, typed="x")
    run("set", "new", "--expires", "2200-01-31", *KEY, typed="x")

    found = run("doctor", *KEY)

    assert (1, 1) == (found.exit_code, found.output.count("to do"))
    assert "old expired on 2020-01-31; herald secrets set old" in found.output


def test_a_dotenv_file_is_taken_as_a_whole() -> None:
    make(token="secret-0")
    lines = ["# broker", "", "export MT5_PASSWORD='secret #1'", 'API_KEY = "secret-2" # mine', "plain=secret-3 # note", "EMPTY="]
    Path(".env").write_text("\n".join(lines))

    told = run("import", ".env", *KEY).output

    vault = Vault(Path("herald.vault"), read_key_file(Path("key")))
    found = {name: vault.get(name) for name in vault.names()}
    assert {"token": "secret-0", "mt5_password": "secret #1", "api_key": "secret-2", "plain": "secret-3"} == found
    assert 'write "secret:api_key" in the config' in told
    assert "secret-" not in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nsecret-x", "line 2: it is not NAME=VALUE"),
        ("A='secret-x", "line 1: its quotes do not end"),
        ('A="secret\\nx"', "hold a backslash"),
        ("A=secret-x\na=secret-y", "line 2: a is there twice"),
        ("NEW=1\nTOKEN=secret-x", "token: there already; --replace replaces"),
    ],
)
def test_a_dotenv_file_that_cannot_be_taken_changes_nothing(text: str, message: str) -> None:
    make(token="secret-0")
    Path(".env").write_text(text)
    before = Path("herald.vault").read_bytes()

    told = refused("import", ".env", *KEY)

    assert message in told
    assert "secret-x" not in told
    assert before == Path("herald.vault").read_bytes()
    assert "there is no file 'none'" in refused("import", "none", *KEY)


NEW = ("--new-key-file", "other")
AUDITED = '[herald]\nmode = "backtest"\n\n[audit]\n'


def acts() -> list[tuple[str, str, str]]:
    """Return (act, what, result) of every record of the audit log that makes one."""
    found = [json.loads(line) for line in Path("state/audit.log").read_text(encoding="utf-8").splitlines()]
    return [(one["act"], one["what"], one["result"]) for one in found if str(one.get("act", "")).startswith("secrets.")]


def test_an_export_is_a_vault_with_a_key_of_its_own() -> None:
    make(a="secret-1", c="secret-3")
    assert 0 == run("set", "b", "--expires", "2099-01-31", *KEY, typed="secret-2").exit_code

    whole = run("export", "all.vault", *NEW, *KEY)
    part = run("export", "part.vault", "a", "--new-key-file", "third", *KEY)

    assert (0, 0, "3 secrets are in all.vault") == (whole.exit_code, part.exit_code, whole.output.partition(",")[0])
    copy = Vault(Path("all.vault"), read_key_file(Path("other")))
    assert {"a": "secret-1", "b": "secret-2", "c": "secret-3"} == {name: copy.get(name) for name in copy.names()}
    assert "2099-01-31" == format_time(copy.info("b").expires or 0)[:10]
    assert ["a"] == Vault(Path("part.vault"), read_key_file(Path("third"))).names()
    assert "not the right one" in refused("list", "--vault", "all.vault", *KEY)
    assert "never overwritten" in refused("export", "all.vault", "--new-key-file", "fourth", *KEY)
    assert "has no secret 'nothing'" in refused("export", "new.vault", "nothing", "--new-key-file", "fourth", *KEY)
    assert not Path("new.vault").exists()
    assert not Path("fourth").exists()


def test_every_change_and_every_look_is_recorded_where_the_config_asks_for_it() -> None:
    Path("herald.toml").write_text(AUDITED, encoding="utf-8")
    Path(".env").write_text("C=secret-3\n", encoding="utf-8")
    make(a="secret-1")
    for words in (
        ("import", ".env"),
        ("get", "a", "--reveal"),
        ("export", "copy.vault", *NEW),
        ("remove", "a"),
        ("rotate", "--new-key-file", "second"),
        ("rotate", "--finish", "--key-file", "second"),
    ):
        result = run(*words, *KEY)
        assert 0 == result.exit_code, result.output
    refused("remove", "nothing", "--key-file", "second")

    done = [(act.removeprefix("secrets."), what) for act, what, result in acts() if result == "done"]
    expected = [("init", "herald.vault"), ("set", "herald.vault: a"), ("import", "herald.vault: c")]
    expected += [
        ("get", "herald.vault: a"),
        ("export", "herald.vault: to copy.vault: a, c"),
        ("remove", "herald.vault: a"),
        ("rotate", "herald.vault"),
    ]
    assert [*expected, ("rotate", "herald.vault: finish")] == done
    assert ("secrets.remove", "herald.vault: nothing", "asked") == acts()[-2]
    assert acts()[-1][2].startswith("failed: the vault 'herald.vault' has no secret 'nothing'")
    assert "secret-" not in Path("state/audit.log").read_text(encoding="utf-8")


def test_what_cannot_be_recorded_is_not_done_unless_one_says_so() -> None:
    make()
    Path("herald.toml").write_text(AUDITED + 'key = "secret:audit_key"\n[[secrets]]\nuse = "environment"\n', encoding="utf-8")

    told = refused("set", "audit_key", *KEY, typed="ab" * 32)

    assert "nothing was done, for it cannot be recorded" in told
    assert "--unrecorded" in told
    assert [] == Vault(Path("herald.vault"), read_key_file(Path("key"))).names()
    assert "for it cannot be recorded" in refused("get", "audit_key", "--reveal", *KEY)
    assert "this is not recorded" in run("set", "audit_key", "--unrecorded", *KEY, typed="ab" * 32).output
    assert ["audit_key"] == Vault(Path("herald.vault"), read_key_file(Path("key"))).names()


def test_the_doctor_of_a_config_says_who_answers_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    make(token="secret-1", spare="secret-2")
    Path("day.toml").write_text(
        """
[[secrets]]
use = "environment"
[[secrets]]
use = "encrypted_config"
key_file = "key"
[connectors.main]
use = "simbroker"
address = "127.0.0.1:7500"
token = "secret:token"
[connectors.other]
use = "simbroker"
address = "127.0.0.1:7501"
token = "secret:nowhere"
[strategies.s]
use = "strategies.sma_cross"
connector = "main"
symbols = ["EURUSD"]
timeframe = "1h"
[audit]
""",
        encoding="utf-8",
    )

    first = run("doctor", "day.toml")
    monkeypatch.setenv("HERALD_SECRET_TOKEN", "secret-3")
    monkeypatch.setenv("HERALD_SECRET_NOWHERE", "secret-4")
    second = run("doctor", "day.toml")
    Path("key").unlink()
    third = run("doctor", "day.toml")

    assert 1 == first.exit_code, first.output
    assert "token, for connectors.main.token\n  environment (HERALD_SECRET_TOKEN): no\n" in first.output
    assert "encrypted_config (herald.vault): answers" in first.output
    assert "to do: herald secrets set nowhere" in first.output
    assert "2 needed, 1 without an answer" in first.output
    assert 0 == second.exit_code
    assert "(HERALD_SECRET_TOKEN): answers\n  encrypted_config (herald.vault): has it, too" in second.output
    assert "encrypted_config: the key file" in third.output
    assert "secret-" not in first.output + second.output + third.output


def test_a_table_is_kept_as_it_was_written_or_is_asked_for_key_by_key() -> None:
    make()
    text = 'address = "127.0.0.1:7500"\ntoken = "secret-1"\ntimeout_seconds = 3\n'
    typed = 'address\nsecret:1\nsecret:1\nno key\naddress\ntoken\nsecret "1"\nsecret "1"\nlist\n[1, 2]\n[1, 2]\n\n'

    assert 0 == run("set", "broker", "--section", *KEY, typed=text).exit_code
    asked = run("set", "asked", "--section", *KEY, typed=typed, terminal=True)

    vault = Vault(Path("herald.vault"), read_key_file(Path("key")))
    assert text.rstrip("\n") == vault.get("broker")
    assert {"address": "secret:1", "token": 'secret "1"', "list": [1, 2]} == tomllib.loads(vault.get("asked"))
    assert ("'no key' is no key" in asked.output, "'address' is there already" in asked.output) == (True, True)
    assert "secret" not in asked.output.replace("herald secrets", "")


@pytest.mark.parametrize(
    ("typed", "what"),
    [
        ("token = secret-x", "what should be the table broker is no valid TOML at line 1, column 9"),
        ('token = "secret-x', "is no valid TOML at end of document"),
        ("# secret-x", "the table broker is empty"),
        ("a = " + "[" * 5_000, "nested too deeply|is no valid TOML"),
    ],
)
def test_what_is_no_table_is_not_kept_and_not_repeated(typed: str, what: str) -> None:
    make()

    told = refused("set", "broker", "--section", *KEY, typed=typed)

    assert re.search(what, told)
    assert "nothing was kept" in told
    assert "secret-x" not in told
    assert [] == Vault(Path("herald.vault"), read_key_file(Path("key"))).names()


PLANNED = """
[[secrets]]
use = "environment"
[[secrets]]
use = "encrypted_config"
key_file = "key"
[connectors.main]
use = "simbroker"
address = "127.0.0.1:7500"
token = "secret:token"
[connectors.other]
use = "simbroker"
encrypted = "broker"
[strategies.s]
use = "strategies.sma_cross"
connector = "main"
symbols = ["EURUSD"]
timeframe = "1h"
"""


def test_a_plan_says_which_source_has_each_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    make(token="secret-1", broker='address = "127.0.0.1:7501"\ntoken = "secret:nowhere"')
    Path("day.toml").write_text(PLANNED, encoding="utf-8")

    def plan(*words: str) -> str:
        result = CliRunner().invoke(herald, ["plan", "day.toml", *words])
        assert 0 == result.exit_code, result.output
        return result.output

    text, answers = plan(), json.loads(plan("--json"))["answers"]
    monkeypatch.setenv("HERALD_SECRET_TOKEN", "secret-3")
    monkeypatch.setenv("HERALD_SECRET_BROKER", 'address = "127.0.0.1:7501"\ntoken = "secret:nowhere"')
    Path("key").unlink()
    without = plan()

    assert "\nsecret   token, for connectors.main.token: encrypted_config (herald.vault)\n" in text
    assert "\nsecret   broker, for connectors.other.encrypted: encrypted_config (herald.vault)\n" in text
    lacking = "environment (HERALD_SECRET_NOWHERE), encrypted_config (herald.vault)"
    assert f"\nsecret   nowhere, for connectors.other.token: no source has it: {lacking}\n" in text
    assert [("token", True), ("broker", True), ("nowhere", False)] == [
        (one["secret"], one["answers"] is not None) for one in answers
    ]
    assert lacking == ", ".join(answers[2]["asked"])
    assert "\nsecret   token, for connectors.main.token: environment (HERALD_SECRET_TOKEN)\n" in without
    lacking = "environment (HERALD_SECRET_NOWHERE), encrypted_config: the key file"
    assert f"\nsecret   nowhere, for connectors.other.token: no source has it: {lacking}" in without
    assert "secret-" not in text + without
    assert "7501" not in text + without


def cut(text: bytes) -> bytes:
    return text[:300]


def edited(text: bytes) -> bytes:
    return text.replace(b'"token"', b'"tokem"')


def emptied(text: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (cut, "is damaged: it was cut off, edited, or the disk is failing; bring back a copy"),
        (edited, "is damaged: it was cut off, edited, or the disk is failing; bring back a copy"),
        (emptied, "is damaged: it does not begin as a vault does; bring back a copy"),
        ("key", "cannot be opened: the pass-phrase or key is not the right one"),
        pytest.param("mode", "; chmod 600 it, and replace what is in it if they could have read it", marks=posix),
        (
            "keyring",
            "there is no key ring on this machine: fail.Keyring is none that protects anything; log in where there is one, or use "
            "encrypted_config with a key file",
        ),
        (
            "missing",
            "is in none of the sources asked: environment (HERALD_SECRET_TOKEN), encrypted_config (herald.vault); "
            "herald secrets set token",
        ),
        (
            "literal",
            'is a secret in plain text, which everybody who gets the file can read; write "secret:main_token", and: herald',
        ),
    ],
    ids=lambda one: one if isinstance(one, str) and " " not in one else getattr(one, "__name__", ""),
)
def test_what_goes_wrong_with_secrets_ends_a_run_in_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, harm: Any, what: str
) -> None:
    make(token="secret-horse")
    text, vault = (
        PLANNED.replace('encrypted = "broker"', 'address = "127.0.0.1:7501"\ntoken = "secret:token"'),
        Path("herald.vault"),
    )
    if callable(harm):
        vault.write_bytes(harm(vault.read_bytes()))
    elif harm == "key":
        Path("key").write_text("ab" * 32)
    elif harm == "mode":
        vault.chmod(0o644)
    elif harm == "keyring":
        monkeypatch.setattr("keyring.get_keyring", NoRing)
        text = text.replace('use = "encrypted_config"\nkey_file = "key"', 'use = "keyring"')
    elif harm == "missing":
        run("remove", "token", *KEY)
    else:
        text = text.replace(
            'address = "127.0.0.1:7500"\ntoken = "secret:token"', 'address = "127.0.0.1:7500"\ntoken = "secret-horse"'
        )
    Path("day.toml").write_text(text, encoding="utf-8")
    before = {path: path.read_bytes() for path in Path().rglob("*")}

    result = CliRunner().invoke(herald, ["backtest", "day.toml"])

    assert isinstance(result.exception, ConfigError)
    (problem,) = result.exception.problems
    told = str(problem)
    assert what in told
    assert told.startswith(
        "connectors.main.token: " if harm in ("missing", "literal") else "secrets[1]: secret 'token', which connec"
    )
    assert "secret-horse" not in str(result.exception) + result.output
    assert before == {path: path.read_bytes() for path in Path().rglob("*")}


@pytest.mark.parametrize(
    "words",
    [
        ("init", "--vault", "file/v", "--key-file", "new"),
        ("export", "file/v", "--new-key-file", "new", *KEY),
        ("rotate", "--new-key-file", "new", *KEY),
    ],
    ids=lambda words: words[0],
)
def test_a_key_for_which_no_vault_came_about_does_not_stay(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    make(a="secret-1")
    Path("file").write_text("not a folder")
    if words[0] == "rotate":
        monkeypatch.setattr(vault_module, "_write", no_space)
    before = Path("herald.vault").read_bytes()

    told = refused(*words)

    assert re.search("cannot be made|cannot be changed|No space left", told)
    assert not Path("new").exists()
    assert before == Path("herald.vault").read_bytes()


def no_space(path: Path, data: bytes) -> None:
    raise SecretError(f"the vault {str(path)!r} cannot be written: No space left on device; nothing is lost")


def test_a_key_that_opens_the_vault_stays_whatever_happens_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    make(a="secret-1")
    genuine = vault_module._write

    def late(path: Path, data: bytes) -> None:
        genuine(path, data)
        no_space(path, data)

    monkeypatch.setattr(vault_module, "_write", late)
    refused("rotate", "--new-key-file", "new", *KEY)

    assert "secret-1" == Vault(Path("herald.vault"), read_key_file(Path("new"))).get("a")
