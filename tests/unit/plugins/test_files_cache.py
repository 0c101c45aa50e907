"""What was read once is mapped, never trusted blindly, and never in the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from herald.contracts import Defect, ParsedBars
from herald.plugins.files.cache import ParsedCache


def parsed(**changes: object) -> ParsedBars:
    column = np.array([1.5, 2.5, 3.5])
    terms: dict[str, object] = {
        "symbol": "X",
        "row": np.array([2, 3, 5], dtype=np.int64),
        "start": np.array([10, 20, 30], dtype=np.int64),
        "open": column,
        "high": column + 1,
        "low": column - 1,
        "close": column,
        "spread": column * 2,
        "spread_points": True,
        **changes,
    }
    return ParsedBars(**terms)  # type: ignore[arg-type]


def stored(folder: Path) -> Path:
    (path,) = folder.glob("*.bars")
    return path


def test_what_was_stored_comes_back_read_only(tmp_path: Path) -> None:
    cache = ParsedCache(tmp_path / "new" / "folder")
    cache.store("key", parsed(symbols=np.array(["B", "A", "B"])))

    back = cache.load("key")

    assert back is not None
    assert ([2, 3, 5], [10, 20, 30], [1.5, 2.5, 3.5]) == (back.row.tolist(), back.start.tolist(), back.open.tolist())
    assert ("X", True, False, None) == (back.symbol, back.spread_points, back.zoned, back.volume)
    assert ["B", "A", "B"] == back.symbols.tolist()
    assert not back.open.flags.writeable


def test_unknown_key_is_nothing(tmp_path: Path) -> None:
    assert ParsedCache(tmp_path).load("key") is None


def test_file_with_defects_is_not_kept(tmp_path: Path) -> None:
    cache = ParsedCache(tmp_path)
    cache.store("key", parsed(defects=(Defect(1, "x", "y", "z"),)))

    assert cache.load("key") is None


@pytest.mark.parametrize("place", [0, 20, 65_536, -1])
def test_one_wrong_byte_anywhere_makes_it_worthless(tmp_path: Path, place: int) -> None:
    cache = ParsedCache(tmp_path)
    cache.store("key", parsed())
    path = stored(tmp_path)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))

    assert cache.load("key") is None


@pytest.mark.parametrize("keep", [0, 10, 65_536, 65_600])
def test_shortened_file_is_worthless(tmp_path: Path, keep: int) -> None:
    cache = ParsedCache(tmp_path)
    cache.store("key", parsed())
    path = stored(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])

    assert cache.load("key") is None


def test_damaged_file_is_made_again(tmp_path: Path) -> None:
    cache = ParsedCache(tmp_path)
    cache.store("key", parsed())
    stored(tmp_path).write_bytes(b"rubbish")

    cache.store("key", parsed())

    assert cache.load("key") is not None


def test_file_of_another_key_is_not_taken(tmp_path: Path) -> None:
    cache = ParsedCache(tmp_path)
    cache.store("key", parsed())
    stored(tmp_path).rename(tmp_path / "other.bars")

    assert cache.load("other") is None


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    ParsedCache(tmp_path).store("key", parsed())

    assert ["key.bars"] == [path.name for path in tmp_path.iterdir()]
