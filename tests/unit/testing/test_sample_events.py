"""The sample events leave out no type."""

from __future__ import annotations

from herald import model
from herald.model import Moment, SystemEvent
from herald.testing import sample_events


def test_there_is_one_event_of_every_type_an_observer_may_list() -> None:
    system = {kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, SystemEvent)}
    expected = (system - {SystemEvent}) | {model.Bar, model.Quote, model.Order, model.OrderStep, model.Fill, model.Account}

    kinds = [type(event) for event in sample_events()]

    assert expected == set(kinds)
    assert len(kinds) == len(set(kinds))
    assert Moment not in kinds  # the engine takes those apart before anybody hears of them
