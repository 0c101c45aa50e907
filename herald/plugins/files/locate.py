"""Which files may hold a symbol, by what the config says and what the files are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from herald.errors import DataError
from herald.model import Timeframe
from herald.plugins.files.settings import FilesSettings

__all__ = ["Candidate", "find_files", "is_pattern", "names_symbol"]

_SUFFIXES = (".csv", ".txt", ".tsv", ".parquet")
_WRAPPED = ("", ".gz", ".bz2", ".xz", ".zip")
# Coarsest first, so that a pattern with {timeframe} finds the nearest finer file.
_FRAMES = (
    *("1w", "1d", "12h", "8h", "6h", "4h", "3h", "2h", "1h"),
    *("30m", "20m", "15m", "12m", "10m", "6m", "5m", "4m", "3m", "2m", "1m"),
    *("30s", "15s", "10s", "5s", "1s"),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to look into.

    Attributes:
        path: The file.
        certain: The config or the file's name says that it holds the symbol; otherwise its content must.
    """

    path: Path
    certain: bool


def is_pattern(path: str) -> bool:
    """Return whether *path* names several files by ``{symbol}``, ``{timeframe}`` or wildcards."""
    return any(mark in path for mark in ("{symbol}", "{timeframe}", "*", "?"))


def names_symbol(name: str, symbol: str) -> bool:
    """Return whether a file's name says that it holds *symbol*: ``GBPUSD_H1.csv``, ``ADA-BTC.csv``, ``EURUSD60.csv``."""
    parts = [re.escape(part) for part in re.split(r"[^A-Za-z0-9]+", symbol) if part]
    joined = r"[^A-Za-z0-9]?".join(parts)
    minutes = r"(\d{1,5})?"  # MetaTrader 4 writes EURUSD60.csv
    pattern = rf"(?<![A-Za-z0-9]){joined}{minutes}(?![A-Za-z0-9])"
    return bool(parts) and re.search(pattern, name, re.IGNORECASE) is not None


def find_files(settings: FilesSettings, base: Path, symbol: str, timeframe: Timeframe) -> list[Candidate]:
    """Return the files that may hold *symbol*, those that surely do first, each group by name.

    Raises:
        DataError: A path does not exist, or nothing fits a pattern.
    """
    if settings.paths:
        if symbol not in settings.paths:
            raise DataError(f"no file for symbol {symbol!r}; paths has: {', '.join(settings.paths)}")
        return [Candidate(each.path, certain=True) for each in _expand(settings.paths[symbol], base, symbol, timeframe)]
    found = _expand(settings.path, base, symbol, timeframe)
    if "{symbol}" in settings.path:
        return [Candidate(each.path, certain=True) for each in found]
    if settings.symbol:
        return [Candidate(each.path, certain=symbol == settings.symbol) for each in found]
    marked = [Candidate(each.path, certain=names_symbol(each.path.name, symbol)) for each in found]
    return sorted(marked, key=lambda each: (not each.certain, each.path.name))


def _expand(text: str, base: Path, symbol: str, timeframe: Timeframe) -> Sequence[Candidate]:
    if not is_pattern(text):
        path = base / Path(text).expanduser()
        if path.is_dir():
            files = [Candidate(each, certain=False) for each in sorted(path.iterdir()) if _is_data(each)]
            if not files:
                raise DataError(f"{path} holds no data file ({', '.join(_SUFFIXES)}, also compressed); name another folder")
            return files
        if not path.is_file():
            raise DataError(f"{path} does not exist; correct the path (it starts from the folder of the config)")
        return [Candidate(path, certain=False)]
    named = text.replace("{symbol}", re.sub(r"[/\\]", "_", symbol))
    known = dict.fromkeys((timeframe, *map(Timeframe.parse, _FRAMES)))
    frames = [frame for frame in known if timeframe.seconds % frame.seconds == 0]
    tries = list(dict.fromkeys(named.replace("{timeframe}", way) for frame in frames for way in _spellings(frame)))
    for attempt in tries:
        path = base / Path(attempt).expanduser()
        if "*" in attempt or "?" in attempt:
            anchor = Path(path.anchor)
            found = [each for each in sorted(anchor.glob(str(path.relative_to(anchor)))) if each.is_file()]
        else:
            found = [path] if path.is_file() else []
        if found:
            return [Candidate(each, certain=False) for each in found]
    raise DataError(f"no file fits {text!r} for symbol {symbol!r} and {timeframe} or finer; looked for {tries[0]!r} in {base}")


def _is_data(path: Path) -> bool:
    name = path.name.lower()
    return path.is_file() and any(name.endswith(suffix + wrap) for suffix in _SUFFIXES for wrap in _WRAPPED)


def _spellings(frame: Timeframe) -> list[str]:
    text = str(frame)
    metatrader = f"{text[-1]}{text[:-1]}".upper()
    minutes = [str(frame.seconds // 60)] if frame.seconds % 60 == 0 else []
    return [text, metatrader, metatrader.lower(), text.upper(), *minutes]
