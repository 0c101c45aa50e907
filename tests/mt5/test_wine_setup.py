"""The set-up under Wine says in one line why there is none."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Wine is not for Windows", allow_module_level=True)

from tests.mt5.wine import setup


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERALD_MT5_WINE", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["setup.py"])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def test_another_processor_is_told_apart_from_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")

    assert setup.NOT_HERE == setup.main()
    assert "this needs Linux on x86-64, here is linux on aarch64\n" == capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "words"), [([], "call with --install"), (["--install"], "there is no apt-get")])
def test_a_machine_without_wine_is_told_what_to_do(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["setup.py", *arguments])

    assert 1 == setup.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("MetaTrader5 under Wine cannot be set up: wine is not installed")
    assert words in line


def test_a_file_with_another_hash_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "numpy.whl").write_bytes(b"something else")

    assert setup.find(tmp_path, setup.PINNED["numpy==1.26.4"]) is None


def test_the_probe_says_what_is_missing(tmp_path: Path) -> None:
    assert "wine is not on the PATH" == setup.probe(tmp_path)
    wine = tmp_path / "wine"
    wine.write_text("#!/bin/sh\necho something else\n")
    wine.chmod(0o755)

    assert f"{tmp_path / 'home'} is not set up" == setup.probe(setup.folder())
    assert setup.FOUND != setup.probe(setup.folder())


def test_programs_under_wine_see_no_display_and_the_prefix_of_the_set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")

    env = setup.wine_environment(tmp_path)

    assert str(tmp_path / "prefix") == env["WINEPREFIX"]
    assert not {"DISPLAY", "PYTHONPATH"} & set(env)
