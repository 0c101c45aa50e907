"""The rules of an exit rule."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from herald.components import Component, Settings
from herald.contracts import Close, ExitRule, Protect
from herald.model import Position, Quote
from herald.testing.exits import ExitStand
from herald.testing.market import make_services, make_walk

__all__ = ["ExitRuleContract"]


class ExitRuleContract:
    """Subclass it as ``TestX`` and set what is checked.

    Attributes:
        component: What the plugin offers.
        settings: Settings under which it answers within `length` bars of a walk of 1 % a bar around 100.
        stop: Distance of a protective stop order that works while the rule is asked, quote currency; 0 for none.
    """

    component: ClassVar[Component[ExitRule]]
    settings: ClassVar[Settings]
    length: ClassVar[int] = 150
    stop: ClassVar[float] = 0.0

    def rule(self) -> ExitRule:
        """Return a fresh rule."""
        return self.component.build(self.settings, make_services("exits[0]"))

    def _answers(self, side: int, rule: ExitRule | None = None, seed: int = 1) -> list[Close | Protect | None]:
        """Return what it answers to a position of 1 lot that is held through a walk, whatever it answers."""
        stand = ExitStand(self.rule() if rule is None else rule)
        walk = make_walk(30 + self.length, seed=seed)
        for index in range(30):
            stand.show(walk.bar(index))
        price = float(walk.open[30])
        stand.hold(float(side), price)
        if self.stop:
            stand.protect(price - side * self.stop)
        return [stand.show(walk.bar(index)) for index in range(30, len(walk))]

    def test_it_answers(self) -> None:
        """It closes or protects a long or a short position within `length` bars; otherwise nothing here is tested."""
        assert any(self._answers(1)) or any(self._answers(-1)), "no answer; use other settings or a larger length"

    def test_answers_are_well_formed(self) -> None:
        """A reason is a word; a share lies in (0, 1]; a level is a price."""
        for answer in [*self._answers(1), *self._answers(-1)]:
            if isinstance(answer, Close):
                assert answer.reason
                assert 0 < answer.share <= 1
            elif isinstance(answer, Protect):
                levels = [level for level in (answer.stop_loss, answer.take_profit) if level is not None]
                assert answer.reason
                assert levels
                assert all(level > 0 for level in levels)

    def test_a_stop_never_loosens(self) -> None:
        """As long as the position is the same, a stop moves only in its favour."""
        for side in (1, -1):
            stops = [a.stop_loss for a in self._answers(side) if isinstance(a, Protect) and a.stop_loss is not None]
            assert all(side * (after - before) >= 0 for before, after in pairwise(stops))

    def test_the_same_bars_get_the_same_answers(self) -> None:
        """Two fresh rules agree."""
        assert self._answers(1) == self._answers(1)
        assert self._answers(-1) == self._answers(-1)

    def test_a_new_position_starts_afresh(self) -> None:
        """What it remembers of one position does not touch the next one in the same symbol."""
        rule = self.rule()
        stand = ExitStand(rule)
        first = make_walk(40, seed=2)
        second = make_walk(40, seed=3)
        stand.hold(1.0, float(first.open[0]))
        for index in range(40):
            stand.show(first.bar(index))
        fresh = ExitStand(self.rule(), start=stand.now)
        shown = make_walk(40, seed=3, start=stand.now)
        for one in (stand, fresh):
            one.hold(-1.0, float(second.open[0]))
            if self.stop:
                one.protect(float(second.open[0]) + self.stop)
        if self._needs_history():
            return  # the two stands have seen different bars, so their ranges differ

        assert [fresh.show(shown.bar(i)) for i in range(40)] == [stand.show(shown.bar(i)) for i in range(40)]

    def _needs_history(self) -> bool:
        return getattr(self.settings, "atr", None) is not None

    def test_quotes_are_taken(self) -> None:
        """It may be asked on a quote, and does not fail."""
        stand = ExitStand(self.rule())
        stand.bar(100.0)
        quote = Quote("TEST", stand.now + 1, 99.9, 100.1)

        answer = stand.rule.check(Position("TEST", 1.0, 100.0, 0.0, stand.now), quote, stand.context)

        assert answer is None or isinstance(answer, Close | Protect)

    def test_its_settings_survive_json(self) -> None:
        """The settings written as JSON and read again are equal."""
        assert type(self.settings).model_validate_json(self.settings.model_dump_json()) == self.settings
