"""The rules of a source of secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from herald.components import Component, Settings
from herald.contracts import SecretSource
from herald.errors import SecretError
from herald.testing.market import make_services

__all__ = ["SecretSourceContract"]


class SecretSourceContract:
    """Subclass it as ``TestX`` and set what is checked; a fixture of your own puts `known` where the source finds it.

    Attributes:
        component: What the plugin offers.
        settings: Its settings.
        known: Secrets that the source has, by name; one of several lines and letters beyond ASCII among them.
    """

    component: ClassVar[Component[SecretSource]]
    settings: ClassVar[Settings]
    known: ClassVar[Mapping[str, str]]

    can_close: ClassVar[bool] = True
    """Whether there is a way in which its place cannot be used."""
    base = "."
    """Folder of the config."""

    def source(self) -> SecretSource:
        """Return a fresh source."""
        return self.component.build(self.settings, make_services("secrets[0]", base=self.base))

    def close(self) -> None:
        """Make the place unusable, as a locked or missing one is."""
        raise NotImplementedError("say how the place becomes unusable, or set `can_close` to False")

    def test_it_gives_what_it_has_as_it_is(self) -> None:
        """Every secret of `known` comes back letter by letter, each time and from a fresh source."""
        source = self.source()

        assert self.known, "give secrets that the source has, in `known`"
        for _ in range(2):
            assert dict(self.known) == {name: source.get(name) for name in self.known}
        assert dict(self.known) == {name: self.source().get(name) for name in self.known}

    def test_what_it_has_not_is_none(self) -> None:
        """A name that it does not know is None, and no error, so that the next source is asked."""
        source = self.source()

        assert "no_such_secret" not in self.known
        assert source.get("no_such_secret") is None

    def test_a_place_is_one_line_without_the_value(self) -> None:
        """``place`` tells a person where to look, in one line, and gives nothing away."""
        source = self.source()
        for name, value in self.known.items():
            source.get(name)
            place = source.place(name)

            assert place.strip()
            assert len(place.splitlines()) == 1
            assert value not in place

    def test_it_shows_nothing(self) -> None:
        """Neither its ``repr`` nor its settings hold a value."""
        source = self.source()
        for name, value in self.known.items():
            source.get(name)

            assert value not in repr(source) + str(source) + repr(self.settings) + self.settings.model_dump_json()

    def test_building_touches_nothing(self) -> None:
        """A source is built although its place cannot be used; only ``get`` fails, with one line of SecretError."""
        if not self.can_close:
            assert type(self).close is SecretSourceContract.close
            return
        self.close()
        source = self.source()

        with pytest.raises(SecretError) as caught:
            source.get(next(iter(self.known)))

        assert len(str(caught.value).splitlines()) == 1
        assert not any(value in str(caught.value) for value in self.known.values())
