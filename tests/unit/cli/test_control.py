"""Stopping, resuming and looking from the command line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import herald.cli
from herald.cli import main
from herald.cli.control import state_folder
from herald.clock import WallClock
from herald.live._files import FileLock
from herald.live.state import ACCOUNT, STATE_NAME, StateFile, TradingState

Run = Callable[..., tuple[int, str, str]]

CONFIG = """
[strategies.trend]
use = "strategies.sma_cross"
symbols = ["EURUSD", "GBPUSD"]
timeframe = "1h"
"""


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    for verb in ("halt", "resume", "state", "supervise"):
        monkeypatch.setitem(herald.cli._VERBS, verb, (f"herald.cli.control:{verb}", ""))
    Path("run.toml").write_text(CONFIG, encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        output = capfd.readouterr()
        return int(stop.value.code or 0), output.out, output.err

    return call


@pytest.fixture
def trading(tmp_path: Path) -> Callable[[], StateFile]:
    """Return the state as the run sees it."""
    return lambda: StateFile(tmp_path / "state", WallClock())


def test_halt_stops_the_account_and_says_so(run: Run, trading: Callable[[], StateFile]) -> None:
    code, out, err = run("halt", "run.toml", "--why", "fat finger")

    assert (0, "") == (code, err)
    assert out.startswith("account is HALTED (generation 1) since 2")
    assert out.endswith(": fat finger\n")
    assert trading().effective("trend", "EURUSD") is TradingState.HALTED
    assert trading().read().scopes[ACCOUNT].who.startswith("command")


@pytest.mark.parametrize(
    ("option", "scope"), [(("--strategy", "trend"), "strategy:trend"), (("--symbol", "GBPUSD"), "symbol:GBPUSD")]
)
def test_halt_stops_one_strategy_or_symbol(
    run: Run, trading: Callable[[], StateFile], option: tuple[str, str], scope: str
) -> None:
    code, out, _ = run("halt", "run.toml", *option, "--cancel", "--why", "because")

    assert (0, {scope}) == (code, set(trading().read().scopes))
    assert "the run carries out the rest, or the next one if none is running\n" in out
    assert trading().read().scopes[scope].cancel_all


def test_halt_flattens_and_lets_exits_pass_where_asked(run: Run, trading: Callable[[], StateFile]) -> None:
    run("halt", "run.toml", "--flatten", "--exits", "--why", "because")

    change = trading().read().scopes[ACCOUNT]
    assert (True, True, True) == (change.cancel_all, change.flatten, change.exits)


def test_halt_of_new_orders_only_is_reducing(run: Run, trading: Callable[[], StateFile]) -> None:
    assert run("halt", "run.toml", "--new-only", "--why", "news")[1].startswith("account is REDUCING (generation 1)")
    assert trading().effective("trend", "EURUSD") is TradingState.REDUCING


def test_halt_twice_changes_nothing_and_says_so(run: Run) -> None:
    run("halt", "run.toml", "--why", "first")

    code, out, _ = run("halt", "run.toml", "--why", "second")

    assert 0 == code
    assert out.endswith(": first; nothing changed\n")


def test_halt_works_where_the_state_is_locked(run: Run, tmp_path: Path, trading: Callable[[], StateFile]) -> None:
    run("halt", "run.toml", "--symbol", "EURUSD", "--why", "because")
    with FileLock(tmp_path / "state" / f"{STATE_NAME}.lock") as lock:
        assert lock.try_acquire()

        code, out, _ = run("halt", "run.toml", "--why", "the run hangs in the middle of a write")

    assert 0 == code
    assert "account is HALTED" in out
    assert "in the middle of a write" in (tmp_path / "state" / "HALT").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("halt", "run.toml"), "Missing option '--why'"),
        (("halt", "run.toml", "--why", " "), "it must not be empty"),
        (("halt", "--why", "x"), "name a config or, with --state, its state folder"),
        (("halt", "run.toml", "--state", ".", "--why", "x"), "one of the two"),
        (("halt", "run.toml", "--strategy", "trend", "--symbol", "EURUSD", "--why", "x"), "one at a time"),
        (("halt", "run.toml", "--new-only", "--cancel", "--why", "x"), "--new-only does not go with"),
        (("halt", "run.toml", "--strategy", "trnd", "--why", "x"), "trades no strategy 'trnd'; did you mean trend?"),
        (("halt", "run.toml", "--symbol", "GBPUDS", "--why", "x"), "trades no symbol 'GBPUDS'; did you mean GBPUSD?"),
        (("halt", "run.toml", "--symbol", "XX", "--why", "x"), "there are: EURUSD, GBPUSD (with --state any name is taken)"),
        (("halt", "none.toml", "--why", "x"), "there is no config 'none.toml'"),
        (("halt", "--state", "sta", "--why", "x"), "there is no state folder 'sta'; check the path"),
        (("resume", "run.toml"), "Missing option '--why'"),
        (("supervise", "--", "herald", "paper"), "the command names no config"),
        (("supervise", "--hang-seconds", "0", "--", "herald", "paper", "run.toml"), "hang_seconds must be a number above 0"),
        (("supervise", "--", "herald", "paper", "none.toml"), "there is no config 'none.toml'"),
        (("supervise", "--", "no-such-program", "run.toml"), "'no-such-program' cannot be started"),
    ],
)
def test_a_call_that_would_stop_nothing_is_refused_with_2(run: Run, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = run(*arguments)

    assert (2, "") == (code, out)
    assert words in err
    assert not Path("state", STATE_NAME).exists()


def test_a_broken_config_says_how_to_halt_all_the_same(run: Run) -> None:
    Path("run.toml").write_text("[", encoding="utf-8")
    Path("state").mkdir()

    code, _, err = run("halt", "run.toml", "--why", "x")

    assert 4 == code
    assert "name the state folder with --state" in err
    assert 0 == run("halt", "--state", "state", "--why", "x")[0]


def test_resume_lifts_and_tells_what_still_holds(run: Run, trading: Callable[[], StateFile]) -> None:
    run("halt", "run.toml", "--why", "a")
    run("halt", "run.toml", "--strategy", "trend", "--why", "b")

    _, first, _ = run("resume", "run.toml", "--strategy", "trend", "--why", "repaired")
    _, second, _ = run("resume", "run.toml", "--reduce-only", "--why", "half way")
    _, third, _ = run("resume", "run.toml", "--why", "all well")

    assert "strategy:trend is ACTIVE (generation 3)" == first.splitlines()[0]
    assert first.splitlines()[1].startswith("account is HALTED")
    assert second.startswith("account is REDUCING (generation 4)")
    assert "account is ACTIVE (generation 5)\n" == third
    assert {} == trading().read().scopes


def test_resume_is_refused_while_the_flag_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "HALT").touch()

    code, _, err = run("resume", "run.toml", "--why", "x")

    assert 1 == code
    assert "delete it, then resume" in err


def test_state_of_a_config_that_never_ran_is_active_and_makes_nothing(run: Run) -> None:
    assert (0, "generation 0; everything is ACTIVE\n", "") == run("state", "run.toml")
    assert not Path("state").exists()


def test_state_shows_who_stopped_what_and_why(run: Run) -> None:
    run("halt", "run.toml", "--symbol", "EURUSD", "--flatten", "--why", "[spread] gone mad")
    run("resume", "run.toml", "--why", "nothing was stopped")

    _, out, _ = run("state", "run.toml")
    _, with_history, _ = run("state", "--state", "state", "--history")

    assert "symbol:EURUSD" in out
    assert "[spread] gone mad" in out
    assert "cancel, flatten" in out
    assert "nothing was stopped" not in out
    assert "nothing was stopped" in with_history


def test_state_as_json_is_one_document_with_the_history(run: Run) -> None:
    run("halt", "run.toml", "--cancel", "--why", "a")

    code, out, err = run("state", "run.toml", "--json")

    document = json.loads(out)
    assert (0, "", 1, "") == (code, err, document["generation"], document["trouble"])
    (change,) = document["scopes"]
    assert [change] == document["history"]
    assert ("account", "HALTED", "a", True, False) == (
        change["scope"],
        change["state"],
        change["why"],
        change["cancel_all"],
        change["done"],
    )


def test_state_of_a_damaged_file_is_halted_and_says_why(run: Run) -> None:
    run("halt", "run.toml", "--symbol", "EURUSD", "--why", "a")
    path = Path("state", STATE_NAME)
    path.write_bytes(path.read_bytes()[:-1])

    document = json.loads(run("state", "run.toml", "--json")[1])

    assert "does not match its checksum" in document["trouble"]
    assert [("account", "HALTED")] == [(one["scope"], one["state"]) for one in document["scopes"]]


def test_the_state_folder_is_where_the_config_says_unless_the_environment_does(tmp_path: Path) -> None:
    plain, other = tmp_path / "a.toml", tmp_path / "b.toml"
    plain.write_text(CONFIG, encoding="utf-8")
    other.write_text('[live]\nstate = "var/x"\n', encoding="utf-8")

    assert [tmp_path / "state", tmp_path / "var" / "x", tmp_path / "y"] == [
        state_folder(plain, {}),
        state_folder(other, {}),
        state_folder(other, {"HERALD_LIVE__STATE": "y"}),
    ]


@pytest.mark.parametrize("text", ["live = 3", "[live]\nstate = 7", '[live]\nstate = " "'])
def test_a_state_folder_that_is_none_is_a_mistake_in_the_config(run: Run, text: str) -> None:
    Path("run.toml").write_text(text, encoding="utf-8")

    code, _, err = run("state", "run.toml")

    assert 4 == code
    assert "live.state" in err


def test_supervise_runs_the_command_and_ends_with_its_code(run: Run) -> None:
    Path("child.py").write_text(
        "import os, sys; print(os.environ['HERALD_HEARTBEAT']); sys.exit(int(sys.argv[2]))", encoding="utf-8"
    )

    code, out, err = run("supervise", "--", sys.executable, "child.py", "run.toml", "4")

    assert 4 == code
    assert os.path.isabs(out.strip())
    assert "state" in out
    assert "herald supervise: started process " in err


def test_supervise_takes_this_herald_for_the_word(run: Run) -> None:
    code, out, _ = run("supervise", "--", "herald", "check", "run.toml", "--json")

    assert 4 == code  # the config names no connector; a program that is not found would give 2
    assert json.loads(out)["problems"]
