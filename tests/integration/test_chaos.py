"""A rehearsed bad day on the paper example: what it says, that it leaves the user's account alone, and that it can fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import herald.research.chaos as chaos_module
from herald.cli.chaos import chaos
from herald.live.orders import Desk

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return two weeks of the paper example, a minute of the script long."""
    text = (ROOT / "examples" / "paper.toml").read_text(encoding="utf-8")
    text = text.replace('"data/', f'"{(ROOT / "examples" / "data").as_posix()}/').replace(
        "speed        = 172_800", "end = 2021-02-15\nspeed = 20_000"
    )
    file = tmp_path / "paper.toml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chaos_module, "_AGAIN_SECONDS", 5.0)
    return file


def rehearse(file: Path, script: str, *words: str) -> Result:
    return CliRunner().invoke(chaos, [str(file), "--script", script, "--pace", "40", "--json", *words])


def test_a_day_of_dropped_sessions_loses_and_doubles_nothing(paper: Path, tmp_path: Path) -> None:
    done = rehearse(paper, "session_drops")
    told: dict[str, Any] = json.loads(done.stdout)

    assert (0, True) == (done.exit_code, told["passed"])
    assert ([], [], 0, []) == (told["orders"]["lost"], told["orders"]["doubled"], told["orders"]["unknown"], told["findings"])
    assert "down" in {one["kind"] for one in told["faults"]}
    assert told["disconnects"] >= 1
    assert min(told["ready_seconds"]) > 1.0
    assert told["fills"] > 3
    assert not (tmp_path / "paper-state").exists()


def test_noisy_news_are_taken_once_and_completely(paper: Path) -> None:
    good = json.loads(rehearse(paper, "outages", "--for", "59").stdout)  # nothing happens in its first minute
    noisy = json.loads(rehearse(paper, "noisy").stdout)

    assert [] == good["faults"]
    assert {"duplicate", "reorder"} <= {one["kind"] for one in noisy["faults"]}
    assert (True, True) == (good["passed"], noisy["passed"])


def test_the_layers_of_the_file_stand_before_the_faults(paper: Path) -> None:
    text = paper.read_text(encoding="utf-8")
    assert "middleware   = []" in text
    paper.write_text(
        text.replace("middleware   = []", 'middleware = [{ use = "retry" }, { use = "circuit_breaker" }]'), encoding="utf-8"
    )

    told = json.loads(rehearse(paper, "transient").stdout)

    assert told["passed"]
    assert told["retries"] > 0


def test_the_table_says_what_was_asked_what_failed_and_how_it_ended(paper: Path) -> None:
    done = CliRunner().invoke(chaos, [str(paper), "--script", "noisy", "--pace", "40"])

    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line and not line.startswith(" ")}
    assert 0 == done.exit_code
    assert {"script", "asked", "hit", "failed", "recovered", "orders", "fills", "lost", "doubled", "passed:"} <= set(lines)


def test_executions_that_are_not_told_apart_fail_the_rehearsal(paper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Desk.fill
    first: list[Desk] = []

    def forgetful(self: Desk, table: str, one: Any) -> bool:
        first.append(self)
        if self is first[0]:  # and not the start afterwards, which has to make do with what it finds
            self._seen.clear()
        return take(self, table, one)

    monkeypatch.setattr(Desk, "fill", forgetful)

    done = rehearse(paper, "noisy")

    assert 1 == done.exit_code
    assert json.loads(done.stdout)["orders"]["doubled"]


def test_executions_that_are_dropped_fail_the_rehearsal(paper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Desk.fill
    monkeypatch.setattr(Desk, "fill", lambda self, table, one: not one.id.endswith("2") and take(self, table, one))

    done = rehearse(paper, "transient")

    assert 1 == done.exit_code
    assert json.loads(done.stdout)["orders"]["lost"]
