"""The command line: what its verbs print, how they end, what a plugin may add, and what Ctrl-C leaves behind."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from herald.cli import exit_code, main
from herald.errors import ConfigError, DataError, HeraldError, NotFound, PluginError
from herald.host.discovery import discover

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
CONFIG = """
[connectors.main]
use = "synthetic"
prices = { EURUSD = 1.1 }
start = 2024-01-01
end = 2024-02-01

[strategies.trend]
use = "strategies.sma_cross"
symbols = ["EURUSD"]
timeframe = "1h"
"""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def herald(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run the command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        output = capsys.readouterr()
        return int(stop.value.code or 0), output.out, output.err

    return call


def write(text: str = CONFIG) -> str:
    Path("h.toml").write_text(dedent(text), encoding="utf-8")
    return "h.toml"


def announce(site: Path, monkeypatch: pytest.MonkeyPatch, entry: str, **modules: str) -> None:
    """Put a fake installed distribution ``stranger`` on the path."""
    info = site / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")
    for name, source in modules.items():
        (site / f"{name}.py").write_text(dedent(source), encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))


# --- help, version, exit codes


def test_help_lists_every_verb_and_the_exit_codes(herald: Command) -> None:
    code, out, _ = herald("--help")

    assert 0 == code
    for word in ("backtest", "check", "config", "data", "demo", "new", "plan", "plugins", "report", "runs", "130 interrupted"):
        assert word in " ".join(out.split())


def test_every_verb_has_help(herald: Command) -> None:
    for verb in ("backtest", "check", "config", "data", "demo", "new", "plan", "plugins", "report", "runs"):
        code, out, _ = herald(verb, "--help")

        assert (0, True) == (code, out.startswith(f"Usage: herald {verb}"))


def test_version(herald: Command) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert (0, f"herald {project['version']}\n", "") == herald("--version")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x"), 2),
        (ConfigError("f", []), 4),
        (PluginError("x"), 4),
        (DataError("x"), 1),
        (HeraldError("x"), 1),
        (RuntimeError("x"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert code == exit_code(error)


def test_traceback_shows_where_an_error_came_from(herald: Command) -> None:
    code, _, err = herald("check", "none.toml")
    shown_code, _, shown = herald("--traceback", "check", "none.toml")

    assert 2 == code == shown_code
    assert "Traceback" not in err
    assert "Traceback" in shown
    assert err.strip() in shown


# --- plugins


def test_plugins_list_as_json_is_what_metadata_says(herald: Command) -> None:
    code, out, _ = herald("plugins", "list", "--json")

    rows = {row["name"]: row for row in json.loads(out)}
    assert 0 == code
    assert [one.name for one in discover()] == list(rows)
    assert {"distribution": "herald-trading", "api": 1, "module": "herald.plugins.files"}.items() <= rows["files"].items()
    assert "offers" not in rows["files"]


def test_plugins_list_can_load_them_and_say_what_they_offer(herald: Command) -> None:
    _, out, _ = herald("plugins", "list", "--load", "--json")

    rows = {row["name"]: row["offers"] for row in json.loads(out)}
    assert "strategy strategies.sma_cross" in rows["strategies"]
    assert "connector synthetic" in rows["synthetic"]


def test_plugins_list_for_people_names_plugin_and_distribution(herald: Command) -> None:
    code, out, _ = herald("plugins", "list")

    (line,) = [line for line in out.splitlines() if line.startswith("strategies")]
    assert 0 == code
    assert ["strategies", "herald-trading"] == line.split()[:2]


def test_a_broken_plugin_is_listed_and_does_not_hide_the_others(
    herald: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(tmp_path / "site", monkeypatch, "[herald.v1]\nwreck = stranger_wreck\n", stranger_wreck="raise OSError('no card')\n")

    code, out, _ = herald("plugins", "list", "--load", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    checked, _, _ = herald("plugins", "check", "--json")

    assert 0 == code
    assert "no card" in rows["wreck"]["error"]
    assert rows["risk"]["offers"]
    assert 4 == checked


def test_plugins_show_describes_settings(herald: Command) -> None:
    _, out, _ = herald("plugins", "show", "strategies", "--json")
    code, text, _ = herald("plugins", "show", "strategies")

    components = {one["name"]: one for one in json.loads(out)["components"]}
    assert "strategy" == components["strategies.sma_cross"]["kind"]
    assert {"fast", "slow"} <= set(components["strategies.sma_cross"]["settings"]["properties"])
    assert 0 == code
    assert "strategies.sma_cross (strategy)" in text


def test_plugins_show_of_an_unknown_name_suggests_the_nearest(herald: Command) -> None:
    code, _, err = herald("plugins", "show", "strategy")

    assert 2 == code
    assert "did you mean strategies?" in err


def test_plugins_check_passes_the_built_ins(herald: Command) -> None:
    own = [one.name for one in discover() if one.distribution == "herald-trading"]

    code, out, _ = herald("plugins", "check", *own, "--json")

    assert (0, dict.fromkeys(own)) == (code, json.loads(out))


# --- verbs of plugins


def test_a_plugin_adds_a_verb_that_is_imported_when_it_is_used(
    herald: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        import click

        @click.command()
        @click.argument("name")
        def greet(name):
            click.echo(f"hello {name}")
    """
    announce(tmp_path / "site", monkeypatch, "[herald.v1.commands]\ngreet = stranger_verbs:greet\n", stranger_verbs=source)
    monkeypatch.delitem(sys.modules, "stranger_verbs", raising=False)

    _, listed, _ = herald("--help")
    before = "stranger_verbs" in sys.modules

    assert "Added by stranger." in listed
    assert not before
    assert (0, "hello world\n", "") == herald("greet", "world")


def test_a_broken_verb_breaks_nothing_but_itself(herald: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = "[herald.v1.commands]\nwreck = stranger_broken:verb\nodd = stranger_odd:verb\n"
    announce(
        tmp_path / "site",
        monkeypatch,
        entry,
        stranger_broken="raise RuntimeError('no disk')\n",
        stranger_odd="verb = 'no command'\n",
    )

    code, listed, _ = herald("--help")
    wrecked, _, wreck = herald("wreck")
    odd_code, _, odd = herald("odd")

    assert 0 == code
    assert "wreck" in listed
    assert (4, 4) == (wrecked, odd_code)
    assert "verb 'wreck' of stranger cannot be loaded: RuntimeError: no disk" in wreck
    assert "not a click command" in odd
    assert "Traceback" not in wreck + odd
    assert 0 == herald("plugins", "list")[0]


def test_a_plugin_cannot_replace_a_verb_of_herald(herald: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    announce(tmp_path / "site", monkeypatch, "[herald.v1.commands]\nplugins = stranger_none:verb\n")

    code, out, _ = herald("plugins", "list")

    assert 0 == code
    assert "herald-trading" in out


# --- check, plan, config


def test_check_says_that_nothing_is_wrong(herald: Command) -> None:
    code, out, err = herald("check", write())
    _, found, _ = herald("check", "h.toml", "--json")

    assert (0, "") == (code, err)
    assert "no problems" in out
    assert ("h.toml", []) == (json.loads(found)["file"], json.loads(found)["problems"])


def test_check_lists_every_mistake_in_the_order_of_the_file(herald: Command) -> None:
    text = CONFIG.replace("prices", "pricse").replace("sma_cross", "sma_kross").replace('"1h"', '"1x"')

    code, _, err = herald("check", write(text))

    assert 4 == code
    places = [err.index(word) for word in ("pricse", "sma_kross", "1x")]
    assert sorted(places) == places
    assert "did you mean prices?" in err


def test_plan_shows_what_would_run_and_runs_nothing(herald: Command) -> None:
    code, out, _ = herald("plan", write())
    _, dumped, _ = herald("plan", "h.toml", "--json")

    assert 0 == code
    assert "strategy trend = strategies.sma_cross [herald-trading" in out
    assert "strategies.sma_cross" == json.loads(dumped)["strategies"]["trend"]["use"]
    assert ["h.toml"] == [path.name for path in Path().iterdir() if path.name != "site"]


def test_config_show_applies_the_environment(herald: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERALD_BACKTEST__CASH", "555")

    code, out, _ = herald("config", "show", write())

    assert (0, 555.0) == (code, json.loads(out)["backtest"]["cash"])


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "herald", "config", "schema"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    return dict(json.loads(done.stdout))


def test_config_schema_resolves_every_reference(schema: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, Mapping):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [one for inner in node.values() for one in references(inner)]
        return [one for inner in node for one in references(inner)] if isinstance(node, list) else []

    found = references(schema)

    assert "https://json-schema.org/draft/2020-12/schema" == schema["$schema"]
    assert found
    assert set() == {one.removeprefix("#/$defs/") for one in found} - set(schema["$defs"])


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.toml")))
def test_config_schema_accepts_the_examples(schema: dict[str, Any], name: str) -> None:
    assert [] == complaints(read(EXAMPLES / name), schema, schema)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("fast      = 10", 'fast = "ten"', "$.strategies.trend.fast"),
        ('use    = "files"', "", "$.connectors.main"),
        ("slippage_points = 1", 'slippage_points = "much"', "$.backtest.costs.slippage_points"),
        ("[herald]", "[heradl]\n[herald]", "$.heradl"),
        ("limit = 0.2", "limit = -1.0", "$.risk[0].limit"),
    ],
)
def test_config_schema_refuses(schema: dict[str, Any], old: str, new: str, place: str, tmp_path: Path) -> None:
    text = (EXAMPLES / "sma_cross.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "bad.toml").write_text(text.replace(old, new, 1), encoding="utf-8")

    assert [place] == sorted({where for where, _ in complaints(read(tmp_path / "bad.toml"), schema, schema)})


def read(path: Path) -> Any:
    def plain(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: plain(value) for key, value in node.items()}
        if isinstance(node, list):
            return [plain(one) for one in node]
        return node.isoformat() if isinstance(node, date) else node

    return plain(tomllib.loads(path.read_text(encoding="utf-8")))


TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
}


def complaints(value: Any, rule: Any, whole: Mapping[str, Any], where: str = "$") -> list[tuple[str, str]]:
    """Return what the JSON Schema *rule* finds wrong with *value*: the keywords that Herald's schema uses."""
    if rule is True or rule == {}:
        return []
    if rule is False:
        return [(where, "not allowed")]
    found: list[tuple[str, str]] = []
    if "$ref" in rule:
        found += complaints(value, whole["$defs"][rule["$ref"].removeprefix("#/$defs/")], whole, where)
    if "type" in rule and not TYPES[rule["type"]](value):
        return [*found, (where, f"not of type {rule['type']}")]
    if "const" in rule and value != rule["const"]:
        found.append((where, f"not {rule['const']!r}"))
    if "enum" in rule and value not in rule["enum"]:
        found.append((where, f"not one of {rule['enum']!r}"))
    for one in rule.get("allOf", ()):
        found += complaints(value, one, whole, where)
    for word in ("anyOf", "oneOf"):
        if word in rule and all(complaints(value, one, whole, where) for one in rule[word]):
            found.append((where, f"nothing of {word} fits"))
    if "if" in rule and not complaints(value, rule["if"], whole, where):
        found += complaints(value, rule.get("then", True), whole, where)
    if isinstance(value, int | float):
        bounds = {
            "minimum": lambda bound: value >= bound,
            "exclusiveMinimum": lambda bound: value > bound,
            "maximum": lambda bound: value <= bound,
            "exclusiveMaximum": lambda bound: value < bound,
        }
        found += [(where, f"{word} {rule[word]}") for word, holds in bounds.items() if word in rule and not holds(rule[word])]
    if isinstance(value, dict):
        found += [(where, f"lacks {key}") for key in rule.get("required", ()) if key not in value]
        for key, inner in value.items():
            one = rule.get("properties", {}).get(key, rule.get("additionalProperties", True))
            found += complaints(inner, one, whole, f"{where}.{key}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += complaints(inner, rule.get("items", True), whole, f"{where}[{index}]")
    return found


# --- new


def test_new_strategy_writes_a_package(herald: Command) -> None:
    code, out, _ = herald("new", "strategy", "night_owl")

    folder = Path("herald-night-owl")
    assert 0 == code
    assert "herald-night-owl" in out
    assert {"pyproject.toml", "README.md", "herald_night_owl.py", "example.toml", "tests"} == {
        one.name for one in folder.iterdir()
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"night_owl": "herald_night_owl"} == project["entry-points"]["herald.v1"]
    assert "class NightOwl(Strategy[NightOwlSettings])" in (folder / "herald_night_owl.py").read_text(encoding="utf-8")
    assert "$" not in "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.*") if path.is_file())


def test_new_strategy_does_not_overwrite(herald: Command) -> None:
    herald("new", "strategy", "owl")
    kept = Path("herald-owl/herald_owl.py")
    kept.write_text("mine", encoding="utf-8")

    code, _, err = herald("new", "strategy", "owl")

    assert 4 == code
    assert "herald-owl exists already" in " ".join(err.replace(":", " ").split())
    assert "mine" == kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["Owl", "9owl", "my-owl", "class", "a b", "../owl"])
def test_new_strategy_refuses_names_that_python_cannot_import(herald: Command, name: str) -> None:
    code, _, err = herald("new", "strategy", name)

    assert 4 == code
    assert "cannot name a plugin" in err
    assert [] == list(Path().glob("herald-*"))


# --- runs


def test_backtest_as_json_prints_one_document_and_writes_the_folder(herald: Command) -> None:
    code, out, err = herald("backtest", write(), "--json", "--no-report")

    outcome = json.loads(out)
    assert (0, "") == (code, err)
    assert ("completed", None) == (outcome["status"], outcome["report"])
    assert "manifest.json" in {path.name for path in Path(outcome["folder"]).iterdir()}


def test_quiet_prints_nothing(herald: Command) -> None:
    assert (0, "", "") == herald("backtest", write(), "--quiet", "--no-report")


def test_a_strategy_that_raises_fails_the_run_and_keeps_what_was_done(herald: Command) -> None:
    local("raise ValueError('cannot divide')")

    code, out, err = herald("backtest", "h.toml", "--json", "--no-report")

    outcome = json.loads(out)
    assert (1, "failed") == (code, outcome["status"])
    assert "strategy 'trend' was stopped at" in err
    assert "cannot divide" in err
    assert Path(outcome["folder"]).is_dir()


# --- Ctrl-C

MINUTES = 31 * 24 * 60


def local(action: str, head: str = "") -> None:
    """Write a config whose strategy does *action* at bar 300 of a month of minutes."""
    source = f"""
        import signal, sys
        {head}
        from herald import Settings, Strategy, component, hookimpl

        class S(Settings):
            pass

        class Stopper(Strategy):
            def on_start(self, ctx):
                self.count = 0

            def on_bar(self, bar, ctx):
                self.count += 1
                if self.count == 10:
                    ctx.buy(bar.symbol, 0.1)
                if self.count == 300:
                    {action}

        @hookimpl
        def herald_strategies():
            yield component("stopper", S, Stopper, "Stops.")
    """
    Path("mine").mkdir()
    Path("mine/stopper.py").write_text(dedent(source), encoding="utf-8")
    write(CONFIG.replace("strategies.sma_cross", "stopper").replace('"1h"', '"1m"') + '[plugins]\npaths = ["mine"]\n')


def stopped(code: int, err: str) -> None:
    """Check what an interrupted run leaves behind."""
    (folder,) = Path("runs").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    with (folder / "equity.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "fills.csv").open(encoding="utf-8", newline="") as file:
        fills = list(csv.DictReader(file))

    assert 130 == code, err
    assert "interrupted; partial results kept in" in err
    assert "Traceback" not in err
    assert "interrupted" == manifest["status"]
    assert 300 <= len(rows) < MINUTES
    assert "trend-000001" == fills[0]["order_id"]
    assert (folder / "statistics.json").is_file()


def test_an_interrupt_inside_a_run_keeps_what_was_done_and_says_so(herald: Command) -> None:
    local("signal.raise_signal(signal.SIGINT)")
    before = signal.getsignal(signal.SIGINT)

    code, _, err = herald("backtest", "h.toml", "--no-report")

    stopped(code, err)
    assert before is signal.getsignal(signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single child process")
def test_ctrl_c_from_outside_keeps_what_was_done_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_env: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # The strategy says that it runs and waits, so the signal always arrives in the middle of the run.
    local("print('running', flush=True); sys.stdin.readline()")
    command = [sys.executable, "-m", "herald", "backtest", "h.toml", "--no-report", "--quiet"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", env=clean_env) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate("go on\n", timeout=60)

    assert "running\n" == said, err
    stopped(process.returncode, err)


def test_ctrl_c_while_the_results_are_written_loses_nothing(herald: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import herald.results as results

    real = results.write_run

    def pressed(*arguments: Any, **options: Any) -> Path:
        signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(results, "write_run", pressed)
    before = signal.getsignal(signal.SIGINT)

    code, _, err = herald("backtest", write(), "--quiet")

    (folder,) = Path("runs").iterdir()
    assert 130 == code
    assert f"interrupted after the run; its results are whole and kept in {folder}, without a report" in err
    assert "completed" == json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["status"]
    assert not (folder / "report.html").exists()
    assert before is signal.getsignal(signal.SIGINT)


def test_second_ctrl_c_while_the_results_are_written_gives_them_up(herald: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import herald.results as results

    real = results.write_run

    def pressed(*arguments: Any, **options: Any) -> Path:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(results, "write_run", pressed)

    code, _, err = herald("backtest", write(), "--quiet")

    assert (130, "herald: interrupted") == (code, err.strip())
    assert [] == list(Path("runs").glob("2*"))


def test_ctrl_c_while_the_report_is_drawn_says_where_the_results_are(herald: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import herald.report as herald_report

    def pressed(folder: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(herald_report, "write_report", pressed)

    code, _, err = herald("backtest", write(), "--quiet")

    (folder,) = Path("runs").iterdir()
    assert 130 == code
    assert f"kept in {folder}, without a report" in err


# --- what plugins do to the command


def test_strategy_that_ends_the_process_is_an_error_and_not_a_success(herald: Command) -> None:
    local("sys.exit(0)")

    code, _, err = herald("backtest", "h.toml", "--quiet")

    assert 1 == code
    assert "was stopped at " in err
    assert "SystemExit: 0 (stopper.py, line 18)" in err


def test_what_a_strategy_prints_is_not_in_the_json(herald: Command) -> None:
    local("print('hello')", head="print('imported')")

    code, out, err = herald("backtest", "h.toml", "--json", "--no-report")

    assert (0, "completed") == (code, json.loads(out)["status"])
    assert "hello\n" in err
    assert "imported\n" in err


@pytest.mark.parametrize("verb", ["check", "plan"])
def test_what_a_plugin_prints_on_import_is_not_in_the_answer(herald: Command, verb: str) -> None:
    local("pass", head="print('imported')")

    code, out, err = herald(verb, "h.toml", "--json")

    assert (0, dict, "imported\n") == (code, type(json.loads(out)), err)


def test_error_of_many_lines_is_told_in_one_that_is_not_endless(herald: Command) -> None:
    local("raise ValueError('first\\n' + 'x' * 5000 + '\\nlast')")

    code, _, err = herald("backtest", "h.toml", "--quiet")

    line = err.splitlines()[0]
    assert 1 == code
    assert "ValueError: first xxx" in line
    assert line.endswith("x last (stopper.py, line 18)")
    assert len(line) < 450
    assert 2 == len(err.splitlines())


def test_run_without_an_order_says_so(herald: Command) -> None:
    _, out, _ = herald("backtest", write(CONFIG.replace('"1h"', '"1d"')), "--no-report")

    assert "no order was placed: does the warm-up of the strategy fit into the data?" in out


def test_new_plugin_cannot_take_the_name_of_an_installed_one(herald: Command) -> None:
    code, _, err = herald("new", "strategy", "files")

    assert 4 == code
    assert "'files' is the name of a plugin of herald-trading" in err
    assert not Path("herald-files").exists()


def test_schema_takes_the_word_that_every_verb_takes(herald: Command) -> None:
    code, out, _ = herald("config", "schema", "--no-plugins", "--json")

    assert (0, "Herald configuration") == (code, json.loads(out)["title"])


def test_data_that_cannot_be_read_is_shown_with_code_1(herald: Command) -> None:
    Path("prices.csv").write_text("x\n", encoding="utf-8")

    code, out, _ = herald("data", "show", "prices.csv")

    assert 1 == code
    assert "prices.csv  unreadable: the file has no header" in out


def test_an_interrupt_while_herald_is_imported_ends_without_a_traceback() -> None:
    code = """
import sys


class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "herald.host.discovery":
            raise KeyboardInterrupt


sys.meta_path.insert(0, Interrupting())
import herald.cli
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (130, "") == (done.returncode, done.stderr)


def test_an_interrupt_before_the_first_verb_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("herald.cli._main", interrupted)
    with pytest.raises(SystemExit) as stop:
        main([])

    assert 130 == stop.value.code
