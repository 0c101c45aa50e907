"""The error of a file that cannot be read at all, which is also a defect."""

from __future__ import annotations

from herald.contracts import Defect
from herald.errors import DataError

__all__ = ["Unreadable", "refuse", "sentence"]


class Unreadable(DataError):
    """A file from which no bars can be read.

    Attributes:
        defect: Why, with the line.
    """

    def __init__(self, defect: Defect) -> None:
        """Keep the defect; the text is its one line."""
        self.defect = defect
        super().__init__(sentence(defect))


def refuse(row: int, code: str, text: str, remedy: str) -> Unreadable:
    """Return the error to raise."""
    return Unreadable(Defect(row, code, text, remedy))


def sentence(defect: Defect) -> str:
    """Return a defect as part of a line, such as ``row 17: high 1.05 is below low 1.06; correct the row``."""
    place = f"row {defect.row}: " if defect.row else ""
    return f"{place}{defect.text}; {defect.remedy}"
