"""What a live run gives up while it holds secrets; tried in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from herald.utils._hardening import hardened, looseness

PROGRAM = """
import os, resource, sys
from pathlib import Path
from herald.utils._hardening import hardened

def seen():
    Path(sys.argv[1]).unlink(missing_ok=True)
    Path(sys.argv[1]).write_text("x")
    import ctypes
    dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == "linux" else -1
    print(oct(os.stat(sys.argv[1]).st_mode & 0o777), resource.getrlimit(resource.RLIMIT_CORE)[0], dumpable)

os.umask(0o022)
soft = min(4096, resource.getrlimit(resource.RLIMIT_CORE)[1]) if resource.getrlimit(resource.RLIMIT_CORE)[1] >= 0 else 4096
resource.setrlimit(resource.RLIMIT_CORE, (soft, resource.getrlimit(resource.RLIMIT_CORE)[1]))
print(soft)
seen()
with hardened():
    seen()
seen()
"""


def test_it_changes_nothing_where_the_system_knows_no_such_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    before = os.umask(0o022)
    os.umask(before)

    with hardened():
        during = os.umask(before)

    assert before == during


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_files_are_private_and_no_dump_is_written_until_the_run_is_over(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "file")], capture_output=True, encoding="utf-8", check=True
    )

    soft, *rest = done.stdout.splitlines()
    dumpable = ("1", "0") if sys.platform == "linux" else ("-1", "-1")
    outside, inside = f"0o644 {soft} {dumpable[0]}", f"0o600 0 {dumpable[1]}"
    assert [outside, inside, outside] == rest


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_folder_that_others_may_use_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    answers = [looseness(folder)]
    folder.mkdir()
    for mode in (0o700, 0o750, 0o777):
        folder.chmod(mode)
        answers.append(looseness(folder))

    said = f"the state folder {str(folder)!r}; chmod 700 it"
    assert ["", "", f"others may read {said}", f"others may write into {said}"] == answers
