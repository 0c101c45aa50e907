"""Numbers of traces follow from names, and two state folders have different ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from herald.utils.traces import SEED_NAME, family_of, make_seed, read_seed, span_id, trace_id


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("trend-000017", "trend-000017"),
        ("trend-000017.sl", "trend-000017"),
        ("trend-000017.2.tp", "trend-000017"),
        ("manual_main-1000000", "manual_main-1000000"),
        ("trend:EURUSD.sl", "trend:EURUSD.sl"),
        ("", ""),
    ],
)
def test_an_order_belongs_to_the_one_that_it_is_named_after(name: str, family: str) -> None:
    assert family == family_of(name)


def test_numbers_follow_from_seed_and_name_and_differ_otherwise() -> None:
    traces = {trace_id(seed, f"trend-{number:06}") for seed in ("a", "b") for number in range(500)}
    spans = {span_id("a", f"trend-{number:06}", step) for number in range(500) for step in ("order", "risk")}

    assert (1_000, 1_000) == (len(traces), len(spans))
    assert trace_id("a", "trend-000001") == trace_id("a", "trend-000001.sl")
    assert {32} == {len(one) for one in traces}
    assert {16} == {len(one) for one in spans}


def test_a_state_folder_has_one_seed_for_ever(tmp_path: Path) -> None:
    folder = tmp_path / "state"

    before = read_seed(folder)
    made = make_seed(folder, 1)

    assert "" == before
    assert made == make_seed(folder, 2) == read_seed(folder)
    assert made != make_seed(tmp_path / "other", 1)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"../../x", b"0123456789ABCDEF"])
def test_a_damaged_seed_is_none_and_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SEED_NAME).write_bytes(content)

    assert "" == read_seed(tmp_path)
    assert make_seed(tmp_path, 1) == read_seed(tmp_path) != ""


def test_a_folder_that_cannot_be_written_has_no_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("read-only")))

    assert "" == make_seed(tmp_path, 1)
