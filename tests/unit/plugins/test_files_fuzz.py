"""Whatever a file contains, the answer is bars, defects or one line: never another exception."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herald.plugins.files import FilesSettings
from herald.plugins.files.inspection import inspect_file
from herald.plugins.files.unpack import unpack

_SOUND = "\n".join(
    ["time,open,high,low,close,volume", *(f"2024-03-01 {hour:02d}:00,1.1,1.3,1.0,1.2,{hour + 1}" for hour in range(12))]
)
_PIECES = st.sampled_from(
    [
        "",
        ",",
        ";",
        "\t",
        "\n",
        '"',
        "x",
        "-",
        "0",
        "9999999999",
        "nan",
        "inf",
        "1e400",
        "1_0",
        "\ufeff",
        "\x00",
        "<DATE>",
        "T",
        " ",
        "é",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.tuples(st.integers(0, len(_SOUND)), st.integers(0, 12), _PIECES), max_size=6))
def test_mutilated_csv_is_read_or_refused(tmp_path: Path, cuts: list[tuple[int, int, str]]) -> None:
    text = _SOUND
    for place, length, piece in cuts:
        text = text[:place] + piece + text[place + length :]
    path = tmp_path / "prices.csv"
    path.write_bytes(text.encode())

    found = inspect_file(path, FilesSettings(path=str(path)))

    assert found.extents or found.defects
    assert all("\n" not in defect.text for defect in found.defects)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"", b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\x00", b"PK\x03\x04", b"PAR1", b"\xff\xfe", b"<DATE>\t"]),
    rest=st.binary(max_size=200),
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, start: bytes, rest: bytes) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(start + rest)

    found = inspect_file(path, FilesSettings(path=str(path)))

    assert found.extents or found.defects


def zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prices.csv", data)
    return packed.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zipped])
def test_a_file_that_unpacks_to_far_more_than_prices_do_is_refused(
    pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("herald.plugins.files.unpack._ALWAYS", 100_000)
    path = tmp_path / "prices.csv.gz"
    path.write_bytes(pack(b"0" * 2_000_000))

    found = inspect_file(path, FilesSettings(path=str(path)))

    assert any("unpacks to more than" in defect.text for defect in found.defects)
    assert _SOUND.encode() == unpack("prices.csv", pack(_SOUND.encode()))[1]
