"""What waits survives: a killed process, half a line, a full disk; and it is bounded."""

from __future__ import annotations

import os
import random
import stat
import sys
from pathlib import Path

import pytest

from herald.plugins.alerts.outbox import OUTBOX_NAME, Notice, Outbox


def opened(folder: Path, *targets: str, size: int = 100) -> Outbox:
    box = Outbox(folder / OUTBOX_NAME, size)
    box.open(targets or ("phone", "mail"))
    return box


def waiting(box: Outbox) -> list[tuple[int, tuple[str, ...]]]:
    return [(one.id, one.targets) for one in box.due(10**30)]


def test_a_text_waits_until_its_last_target_has_it(tmp_path: Path) -> None:
    box = opened(tmp_path)
    first = box.add("info", "title", "body", 0, ("phone", "mail"))

    box.sent(first.id, "phone")
    halfway = waiting(box)
    box.sent(first.id, "mail")
    box.sent(first.id, "mail")

    assert [(1, ("mail",))] == halfway
    assert [] == waiting(box)
    assert 0 == box.count()


def test_nothing_is_due_before_its_time(tmp_path: Path) -> None:
    box = opened(tmp_path)
    box.add("info", "later", "", 100, ("phone",))
    box.add("critical", "now", "", 50, ("phone",))

    assert ["now"] == [one.title for one in box.due(99)]
    assert ["later", "now"] == [one.title for one in box.due(100)]


def test_what_waits_survives_a_process_that_is_killed(tmp_path: Path) -> None:
    killed = opened(tmp_path)
    for number in range(3):
        killed.add("warning", f"title {number}", "line\nline", 0, ("phone", "mail"))
    killed.sent(1, "phone")
    killed.sent(1, "mail")
    killed.sent(2, "phone")
    killed.remember({"rules": {"0 loss": {"day": 5}}})
    # No close: the next one finds the file as it is.

    box = opened(tmp_path)

    assert [(2, ("mail",)), (3, ("phone", "mail"))] == waiting(box)
    assert {"rules": {"0 loss": {"day": 5}}} == box.memory
    assert 4 == box.add("info", "t", "b", 0, ("phone",)).id


def test_half_a_line_costs_nothing_but_itself(tmp_path: Path) -> None:
    box = opened(tmp_path)
    for number in range(3):
        box.add("warning", f"title {number}", "", 0, ("phone",))
    box.close()
    file = tmp_path / OUTBOX_NAME
    file.write_bytes(file.read_bytes()[:-10])

    again = opened(tmp_path)

    assert [1, 2] == [one for one, _ in waiting(again)]
    assert 1 == again.damaged
    again.close()
    assert 0 == opened(tmp_path).damaged  # it was written anew


@pytest.mark.parametrize("seed", range(20))
def test_a_file_cut_or_altered_anywhere_never_fails_and_keeps_whole_lines(tmp_path: Path, seed: int) -> None:
    box = opened(tmp_path)
    for number in range(5):
        box.add("warning", f"title {number}", "body", 0, ("phone",))
    box.close()
    file = tmp_path / OUTBOX_NAME
    data, chance = bytearray(file.read_bytes()), random.Random(seed)
    data[chance.randrange(len(data))] = chance.randrange(256)
    file.write_bytes(data)

    again = opened(tmp_path)

    assert 3 <= again.count() <= 5  # a byte may be one that ends or joins two lines
    again.add("info", "t", "b", 0, ("phone",))


def test_a_target_that_is_gone_from_the_config_keeps_nothing_waiting(tmp_path: Path) -> None:
    box = opened(tmp_path)
    box.add("info", "t", "b", 0, ("phone", "mail"))
    box.add("info", "t", "b", 0, ("phone",))
    box.close()

    assert [(1, ("mail",))] == waiting(opened(tmp_path, "mail"))


def test_too_many_drop_the_least_grave_and_oldest_and_are_counted(tmp_path: Path) -> None:
    box = opened(tmp_path, size=3)
    for severity in ("critical", "info", "info", "warning", "critical"):
        box.add(severity, severity, "", 0, ("phone",))

    assert [("critical", 1), ("warning", 4), ("critical", 5)] == [(one.severity, one.id) for one in box.due(0)]
    assert 2 == box.dropped
    assert [1, 4, 5] == [one for one, _ in waiting(opened(tmp_path))]


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    box = opened(tmp_path)
    box.add("critical", "stays", "", 0, ("phone",))
    largest = 0
    for _ in range(5_000):
        box.sent(box.add("info", "t", "b", 0, ("mail",)).id, "mail")
        largest = max(largest, (tmp_path / OUTBOX_NAME).stat().st_size) if box.count() else largest

    assert largest < 200_000
    assert ["stays"] == [one.title for one in opened(tmp_path).due(0)]


def test_memory_is_written_only_where_it_changed(tmp_path: Path) -> None:
    box = opened(tmp_path)
    memory = {"rules": {"0 loss": {"day": 1}}}
    box.remember(memory)
    size = (tmp_path / OUTBOX_NAME).stat().st_size

    box.remember(memory)
    same = (tmp_path / OUTBOX_NAME).stat().st_size
    memory["rules"]["0 loss"]["day"] = 2
    box.remember(memory)

    assert size == same
    assert (tmp_path / OUTBOX_NAME).stat().st_size > size


def test_a_full_disk_is_told_and_keeps_no_text_from_being_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = opened(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        box.add("critical", "during", "", 0, ("phone",))
        trouble = box.trouble

    box.add("critical", "after", "", 0, ("phone",))

    assert "alerts.outbox cannot be written: No space left on device" == trouble
    assert "" == box.trouble
    assert ["during", "after"] == [one.title for one in box.due(0)]
    assert ["during", "after"] == [one.title for one in opened(tmp_path).due(0)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_only_its_owner_may_read_what_waits(tmp_path: Path) -> None:
    opened(tmp_path).add("info", "t", "b", 0, ("phone",))

    assert 0o600 == stat.S_IMODE((tmp_path / OUTBOX_NAME).stat().st_mode)


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file", encoding="utf-8")

    with pytest.raises(OSError, match="state"):
        Outbox(tmp_path / "state" / OUTBOX_NAME, 10).open(("phone",))


def test_a_notice_is_a_value() -> None:
    assert Notice(1, "info", "t", "b", 0, ("x",)) == Notice(1, "info", "t", "b", 0, ("x",))
