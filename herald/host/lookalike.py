"""Names that are made to be mistaken for others: the same letters in other alphabets, or a slip of the finger away."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["canonical", "looks_like"]

_CONFUSABLE = str.maketrans(
    {
        **dict(zip("0135$|", "olessl", strict=True)),
        **dict(zip("авсԁеһіјӏкмоԛрѕтуԝхьг", "abcdehijlkmoqpstywxbr", strict=True)),  # Cyrillic
        **dict(zip("αβγεικνορτυχω", "abyeiknoptuxw", strict=True)),  # Greek
    }
)
"""Letters that look like Latin ones in most fonts; a short choice from Unicode's list of confusables (UTS 39)."""
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_ONE_SLIP = 5
"""Letters from which names that differ in one are taken for alike; shorter ones are too often near to each other."""
_TWO_SLIPS = 9


def canonical(name: str) -> str:
    """Return *name* as package indexes compare names: small letters, one ``-`` for every separator (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def looks_like(name: str, known: Iterable[str]) -> str:
    """Return which of the *known* names *name* could be mistaken for and why; empty where it is one of them, or like none."""
    known = list(known)
    if canonical(name) in {canonical(one) for one in known}:
        return ""
    shape = _skeleton(name)
    for one in sorted(known):
        other = _skeleton(one)
        if shape == other:
            return f"{one!r}: it only differs in characters that look alike"
        slips = _slips(shape, other, 2)
        if slips <= (2 if min(len(shape), len(other)) >= _TWO_SLIPS else 1 if min(len(shape), len(other)) >= _ONE_SLIP else 0):
            return f"{one!r}: it is {'one letter' if slips == 1 else 'two letters'} away"
    return ""


def _skeleton(name: str) -> str:
    """Return what the eye sees of a name."""
    text = unicodedata.normalize("NFKC", name).casefold().translate(_CONFUSABLE)
    text = "".join(one for one in unicodedata.normalize("NFKD", text) if one.isalnum())
    for pair, single in _PAIRS:
        text = text.replace(pair, single)
    return text


def _slips(one: str, other: str, most: int) -> int:
    """Return how many letters to insert, delete, replace or swap with a neighbour; *most* + 1 where there are more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, left in enumerate(one, 1):
        line = [row]
        for column, right in enumerate(other, 1):
            cost = min(last[column] + 1, line[-1] + 1, last[column - 1] + (left != right))
            if row > 1 and column > 1 and left == other[column - 2] and one[row - 2] == right:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        before, last = last, line
    return min(last[-1], most + 1)
