"""Format ``mt5``: bars exported by MetaTrader 5, ``<DATE> <TIME> <OPEN> <HIGH> <LOW> <CLOSE> <TICKVOL> <VOL> <SPREAD>``.

Times are the server's wall clock, which the file never names; the spread is in points; volume is the count of ticks.
"""

from __future__ import annotations

from herald.components import Services
from herald.contracts import ParsedBars
from herald.plugins.files.delimited import Layout, find_separator, read_rows, split_line
from herald.plugins.files.names import find_fields
from herald.plugins.files.refusal import refuse
from herald.plugins.files.settings import FormatSettings
from herald.plugins.files.unpack import decode

__all__ = ["Mt5Format"]


class Mt5Format:
    """Reads bar exports of MetaTrader 5."""

    def __init__(self, settings: FormatSettings | None = None, services: Services | None = None) -> None:
        """There is nothing to set."""

    def claims(self, name: str, head: str) -> bool:
        """Return whether the first line has MetaTrader's names in angle brackets."""
        return head.replace("\x00", "").lstrip("\ufeff\ufffd").lstrip().upper().startswith("<DATE>")

    def parse(self, name: str, data: bytes) -> ParsedBars:
        """Return what the file holds; see `herald.contracts.DataFormat`."""
        lines = decode(data).rstrip("\n").split("\n")
        if not lines[0].strip():
            raise refuse(0, "empty_file", "is empty", "export the data again")
        if not lines[0].strip().upper().startswith("<DATE>"):
            raise refuse(1, "not_mt5", "does not begin with <DATE>", 'it is no MetaTrader 5 export; try format = "files.csv"')
        separator = find_separator(lines, "")
        header = split_line(lines[0], separator)
        return read_rows(lines, Layout(separator, find_fields(header, {}), len(header), spread_points=True))
