"""Who stands in the records."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from herald.host.audit import account_name, operator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows tells users another way")


@pytest.mark.parametrize("text", ["4294967295", "", "nonsense"])
def test_a_process_that_nobody_logged_in_for_is_its_accounts(text: str, tmp_path: Path) -> None:
    (tmp_path / "loginuid").write_text(text, encoding="ascii")

    assert account_name(tmp_path / "nothing") == account_name(tmp_path / "loginuid")
    assert " as " not in account_name(tmp_path / "nothing")


def test_who_came_by_sudo_is_named_with_whom_he_became(tmp_path: Path) -> None:
    (tmp_path / "loginuid").write_text("54321", encoding="ascii")

    assert f"user 54321 as {account_name(tmp_path / 'nothing')}" == account_name(tmp_path / "loginuid")


def test_an_operator_is_an_account_and_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")

    assert f"{account_name()} (process {os.getpid()})" == operator()
    assert "somebody-else" not in operator()
