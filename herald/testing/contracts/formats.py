"""The rules of a data format."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from herald.components import Component, Settings
from herald.contracts import DataFormat
from herald.errors import DataError
from herald.testing.market import make_services

__all__ = ["DataFormatContract"]

_PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


class DataFormatContract:
    """Subclass it as ``TestX`` and set what is checked.

    Attributes:
        component: What the plugin offers.
        settings: Its settings.
        name: A file name of this kind.
        count: Bars in `data()`, at least two.
    """

    component: ClassVar[Component[DataFormat]]
    settings: ClassVar[Settings]
    name: ClassVar[str]
    count: ClassVar[int]

    def data(self) -> bytes:
        """Return a good file of this kind."""
        raise pytest.UsageError(f"{type(self).__name__} must override data()")

    def format(self) -> DataFormat:
        """Return a fresh reader."""
        return self.component.build(self.settings, make_services("formats"))

    def test_it_claims_its_own_files(self) -> None:
        """Name and first characters of a good file are enough to know it."""
        head = self.data()[:4096].decode("utf-8", errors="replace")

        assert self.format().claims(self.name, head)

    def test_it_claims_no_picture(self) -> None:
        """A file of another kind is left to others."""
        assert not self.format().claims("holiday.png", _PICTURE.decode("utf-8", errors="replace"))

    def test_it_reads_every_bar(self) -> None:
        """All columns have one value a bar, rows count upwards, and nothing is reported as a defect."""
        parsed = self.format().parse(self.name, self.data())

        columns = (parsed.row, parsed.start, parsed.open, parsed.high, parsed.low, parsed.close)
        assert [self.count] * len(columns) == [len(column) for column in columns]
        assert bool((np.diff(np.asarray(parsed.row)) > 0).all())
        assert parsed.defects == ()
        assert all(len(column) == self.count for column in (parsed.volume, parsed.spread) if column is not None)

    def test_it_reads_the_same_twice(self) -> None:
        """Reading depends on the file only."""
        first, second = (self.format().parse(self.name, self.data()) for _ in range(2))

        for column in ("start", "open", "high", "low", "close"):
            assert np.asarray(getattr(first, column)).tobytes() == np.asarray(getattr(second, column)).tobytes()

    def test_an_empty_file_is_an_error(self) -> None:
        """An empty file raises `DataError`."""
        with pytest.raises(DataError):
            self.format().parse(self.name, b"")

    def test_garbage_is_an_error_or_a_defect(self) -> None:
        """A file that is not of this kind never gives bars without a word."""
        try:
            parsed = self.format().parse(self.name, _PICTURE)
        except DataError as error:
            assert str(error)
            return
        assert parsed.defects
