"""The rules of an observer."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from herald.components import Component, Settings
from herald.contracts import Observer
from herald.model import Account, Bar, Event, Fill, Order, Quote, SystemEvent
from herald.testing.events import sample_events
from herald.testing.market import make_services

__all__ = ["ObserverContract"]

_KINDS = (Bar, Quote, Order, Fill, Account, SystemEvent)


class ObserverContract:
    """Subclass it as ``TestX``; set `component` and `settings`, or override `observer`."""

    component: ClassVar[Component[Observer]]
    settings: ClassVar[Settings]

    def observer(self) -> Observer:
        """Return a fresh observer; override it where it needs more than settings, such as a folder."""
        return self.component.build(self.settings, make_services("observers[0]"))

    def test_it_lists_event_types(self) -> None:
        """``events`` is a tuple of event types, at least one."""
        events = self.observer().events

        assert isinstance(events, tuple)
        assert events
        assert all(issubclass(kind, _KINDS) for kind in events)

    def test_it_survives_every_type_it_lists(self) -> None:
        """An event of every type it lists, and of every type below, is taken without an error."""
        observer = self.observer()
        wanted = [event for event in sample_events() if isinstance(event, observer.events)]

        for event in wanted:
            observer.observe(event)
        observer.close()

        assert wanted, "no sample event is of a type it lists"

    def test_it_changes_no_event(self) -> None:
        """An event is the same after it was observed."""
        observer = self.observer()
        for event in sample_events():
            if isinstance(event, observer.events):
                before = _encoded(event)
                observer.observe(event)
                assert before == _encoded(event)
        observer.close()

    def test_closing_twice_is_harmless(self) -> None:
        """``close`` may be called twice, and without any event before it."""
        observer = self.observer()

        observer.close()
        observer.close()

        assert observer.events

    def test_its_settings_survive_json(self) -> None:
        """The settings written as JSON and read again are equal."""
        settings = self.settings
        assert type(settings).model_validate_json(settings.model_dump_json()) == settings


def _encoded(event: Event) -> bytes:
    return msgspec.msgpack.encode(event)
