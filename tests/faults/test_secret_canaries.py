"""No secret shows, wherever a component goes wrong and whatever it says then; see secret_canaries.py."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.faults.secret_canaries import COUNT, Wrong, core, leaks, paths, run, run_all, secret, traces

QUICK = ("risk.denial:denial", "connector.account:cause", "source.get:SecretError")
"""A journal, an error with another one behind it, and one before there is a run."""
SAMPLE = 20
"""Of the ways, in the long part: some seventy seconds on two slow cores."""


def test_there_are_as_many_ways_as_were_promised() -> None:
    assert COUNT >= 50
    assert len(set(paths())) >= 200
    assert set(QUICK) <= set(map(str, paths()))


def test_what_is_looked_for_is_found_in_every_form(tmp_path: Path) -> None:
    text = secret(7)
    forms = [text, repr(text), json.dumps(json.dumps(text)), text.encode().hex()]
    forms += [base64.b64encode(bytes(before) + text.encode()).decode() for before in range(3)]
    for number, form in enumerate(forms):
        (tmp_path / f"{number}.txt").write_text(f"said {form}!", encoding="utf-8")

    found = leaks(tmp_path, traces())

    assert [f"{number}.txt: secret 7" for number in range(len(forms))] == [one.partition(" as ")[0] for one in found]
    assert core(7) in text.encode()


@pytest.mark.parametrize("path", QUICK)
def test_no_secret_shows(path: str, tmp_path: Path, clean_env: dict[str, str]) -> None:
    reached, found = run(tmp_path / "one", Wrong(*path.split(":")), clean_env)

    assert reached
    assert [] == found


def test_a_plugin_that_leaks_on_purpose_is_caught(tmp_path: Path, clean_env: dict[str, str]) -> None:
    _, found = run(tmp_path / "one", Wrong("strategy.on_start", "plain"), clean_env)

    expected = {f"0/plain.txt: secret {number}" for number in range(COUNT)}
    assert expected == {one.partition(" as ")[0] for one in found}


@pytest.mark.long
def test_without_redaction_the_same_run_leaks_into_every_place(tmp_path: Path, clean_env: dict[str, str]) -> None:
    _, found = run(tmp_path / "one", Wrong("strategy.on_quote", "deaf"), clean_env)

    places = {one.partition(":")[0].rpartition("/")[2] for one in found}
    assert {"terminal.txt", "herald.log", "audit.log", "failures.txt", "manifest.json"} <= places


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_no_secret_shows_in_any_way(tmp_path: Path, clean_env: dict[str, str]) -> None:
    """A sample, to stay below two minutes: the list is so mixed that its first part has something of everything.

    All of it takes half an hour on two slow cores and is for a release: ``python tests/faults/secret_canaries.py --folder FOLDER``.
    """
    missed, found = [], []
    for path, reached, leaked in run_all(tmp_path, paths()[:SAMPLE], clean_env):
        missed += [] if reached else [str(path)]
        found += [f"{path}: {one}" for one in leaked]

    assert [] == found
    assert [] == missed
