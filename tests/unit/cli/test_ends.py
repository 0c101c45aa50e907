"""How the command ends when something is wrong: one line, the right code, and JSON where it was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pytest

import herald.cli
from herald.cli import main

Run = Callable[..., tuple[int, str, str]]

GOOD = """
[connectors.main]
use = "synthetic"
prices = { EURUSD = 1.1 }

[strategies.trend]
use = "strategies.sma_cross"
symbols = ["EURUSD"]
timeframe = "1h"
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        output = capsys.readouterr()
        return int(stop.value.code or 0), output.out, output.err

    return call


@pytest.fixture
def announce(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str, Mapping[str, str]], None]:
    """Put a fake installed distribution on the path: its name, its entry points, its modules."""

    def call(name: str, entries: str, modules: Mapping[str, str]) -> None:
        info = tmp_path / f"site-{name}" / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(entries, encoding="utf-8")
        for module, source in modules.items():
            (info.parent / f"{module}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(str(info.parent))

    return call


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let ``herald runs`` raise."""

    def call(error: BaseException) -> None:
        @click.command()
        def runs() -> None:
            raise error

        monkeypatch.setattr(herald.cli, "_load", lambda value: runs)

    return call


def test_misspelt_verb_gets_the_nearest(run: Run) -> None:
    code, out, err = run("bactest", "x.toml")

    assert (2, "") == (code, out)
    assert err.endswith("Error: No such command 'bactest'; did you mean backtest?\n")


def test_verb_that_is_like_none_is_just_unknown(run: Run) -> None:
    _, _, err = run("qqqq")

    assert "No such command 'qqqq'" in err
    assert "did you mean" not in err


def test_error_of_the_system_is_one_line_with_path_and_remedy(run: Run, raising: Callable[[BaseException], None]) -> None:
    raising(PermissionError(13, "Permission denied", "locked/file.csv"))

    assert (
        1,
        "",
        "herald: 'locked/file.csv': Permission denied; check the path, its permissions and the space left\n",
    ) == run("runs")


def test_error_nobody_expected_is_one_line_that_asks_for_a_report(run: Run, raising: Callable[[BaseException], None]) -> None:
    raising(KeyError("two\nlines"))

    code, _, err = run("runs")

    assert (1, 1) == (code, err.count("\n"))
    assert err.startswith("herald: unexpected KeyError: ")
    assert "herald --traceback" in err


def test_traceback_is_shown_when_a_variable_asks_for_it(
    run: Run, raising: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(KeyError("x"))
    monkeypatch.setenv("HERALD_TRACEBACK", "1")

    assert "Traceback (most recent call last)" in run("runs")[2]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupt_ends_with_130(run: Run, raising: Callable[[BaseException], None], error: BaseException) -> None:
    raising(error)

    code, out, err = run("runs")

    assert (130, "", "herald: interrupted") == (code, out, err.strip())


def test_check_as_json_is_one_document_with_every_problem(run: Run) -> None:
    Path("h.toml").write_text(GOOD.replace("prices", "pricse").replace('"1h"', '"1x"'), encoding="utf-8")

    code, out, err = run("check", "h.toml", "--json")

    document = json.loads(out)
    assert (4, "", "h.toml", []) == (code, err, document["file"], document["plugins"])
    assert [
        {"where": "connectors.main.pricse", "what": "unknown key of synthetic", "hint": "did you mean prices?"},
        "strategies.trend.timeframe",
    ] == [document["problems"][0], document["problems"][1]["where"]]


def test_check_counts_in_good_english(run: Run) -> None:
    Path("h.toml").write_text(GOOD, encoding="utf-8")

    assert (0, "h.toml: no problems; 1 strategy, 2 plugins\n", "") == run("check", "h.toml")


def test_new_as_json_lists_what_was_written(run: Run) -> None:
    code, out, _ = run("new", "strategy", "owl", "--json")

    document = json.loads(out)
    assert (0, "herald-owl") == (code, document["folder"])
    assert all(Path(name).is_file() for name in document["files"])
    assert "herald-owl/tests/test_owl.py" in document["files"]


VERB = "import click\n@click.command()\ndef verb():\n    click.echo('hello')\n"


def test_verb_that_two_plugins_claim_names_both(run: Run, announce: Callable[..., None]) -> None:
    announce("first", "[herald.v1.commands]\ngreet = verb_a:verb\n", {"verb_a": VERB})
    announce("other", "[herald.v1.commands]\ngreet = verb_b:verb\n", {"verb_b": VERB})

    code, out, err = run("greet")

    assert (4, "") == (code, out)
    assert "verb name 'greet' is claimed by" in err
    assert "first 1.0" in err
    assert "other 1.0" in err
    assert 0 == run("--help")[0]


def test_verb_that_ends_the_process_on_import_is_an_error(run: Run, announce: Callable[..., None]) -> None:
    announce("leaver", "[herald.v1.commands]\nleave = verb_leaver:verb\n", {"verb_leaver": "raise SystemExit(0)\n"})

    code, _, err = run("leave")

    assert 4 == code
    assert "verb 'leave' of leaver cannot be loaded: SystemExit: 0" in err


def test_plugins_check_looks_at_verbs_too(run: Run, announce: Callable[..., None]) -> None:
    entries = "[herald.v1.commands]\ngreet = verb_good:verb\nruns = verb_good:verb\nodd = verb_good:nothing\n"
    announce("mixed", entries, {"verb_good": VERB})

    code, out, _ = run("plugins", "check", "--json")

    found = json.loads(out)
    assert (4, None) == (code, found["verb greet"])
    assert "verb 'runs' of mixed 1.0 is Herald's own and stays so; the plugin must choose another name" == found["verb runs"]
    assert "AttributeError" in found["verb odd"]


def test_what_a_stranger_wrote_is_shown_as_it_is(run: Run, announce: Callable[..., None]) -> None:
    source = '''
from herald import Settings, component, hookimpl

class S(Settings):
    path: str = "[bold]x[/bold]"
    """Folder below [backtest], see [red]docs[/red]."""

@hookimpl
def herald_observers():
    yield component("odd", S, lambda settings, services: None, "Writes [backtest] and [/nothing].")
'''
    announce("odd", "[herald.v1]\nodd = plugin_odd\n", {"plugin_odd": source})

    code, out, _ = run("plugins", "show", "odd")

    text = " ".join(out.split())
    assert 0 == code
    assert "Writes [backtest] and [/nothing]." in text
    assert "'[bold]x[/bold]'" in text
    assert "Folder below [backtest], see [red]docs[/red]." in text


def test_lines_fit_into_80_columns(run: Run) -> None:
    for command in (("plugins", "list"), ("plugins", "list", "--load"), ("plugins", "show", "risk"), ("--help",)):
        _, out, _ = run(*command)

        assert [] == [line for line in out.splitlines() if len(line.rstrip()) > 80], command


def test_plugins_show_lists_risk_profiles(run: Run) -> None:
    _, out, _ = run("plugins", "show", "risk", "--json")
    _, text, _ = run("plugins", "show", "risk")

    profiles = {profile["name"]: profile for profile in json.loads(out)["profiles"]}
    assert {f"risk.{name}" for name in ("conservative", "balanced", "aggressive", "essential", "live")} == set(profiles)
    assert all(check["use"].startswith("risk.") for profile in profiles.values() for check in profile["checks"])
    assert "risk.balanced (risk profile)" in text


def test_damaged_metadata_is_said_and_hides_nothing(run: Run, announce: Callable[..., None]) -> None:
    announce("ragged", "[herald.v1]\nno equals sign\n", {})

    code, out, err = run("plugins", "list", "--json")

    assert 0 == code
    assert "risk" in {row["name"] for row in json.loads(out)}
    assert "herald: the entry points of ragged cannot be read; install it again\n" == err


def test_schema_knows_heralds_own_keys(run: Run) -> None:
    _, out, _ = run("config", "schema")

    schema = json.loads(out)
    strategy = schema["$defs"]["use.strategy"]
    assert {"$ref": "#/$defs/use.strategy"} == schema["properties"]["strategies"]["additionalProperties"]
    assert ["use", "symbols", "timeframe"] == strategy["required"]
    assert {"connector", "symbols", "timeframe", "exits", "risk", "sizing", "enabled", "use", "encrypted"} == set(
        strategy["properties"]
    )
    assert "strategies.sma_cross" in strategy["properties"]["use"]["examples"]
