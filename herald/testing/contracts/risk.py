"""The rules of a risk check."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from herald.components import Component, Settings
from herald.contracts import Denial, RiskCheck
from herald.model import OrderRequest
from herald.testing.market import make_services
from herald.testing.views import FakeRiskView

__all__ = ["RiskCheckContract"]


class RiskCheckContract:
    """Subclass it as ``TestX`` and set what is checked.

    Attributes:
        component: What the plugin offers.
        settings: Its settings.
        allowed: Requests that pass under `view`.
        refused: Requests that do not pass under `bad_view`.
        words: For a check that compares no numbers: what it may have found, such as ``HALTED``; its texts name one of them.
    """

    component: ClassVar[Component[RiskCheck]]
    settings: ClassVar[Settings]
    allowed: ClassVar[Sequence[OrderRequest]]
    refused: ClassVar[Sequence[OrderRequest]]
    words: ClassVar[Sequence[str]] = ()

    def view(self) -> FakeRiskView:
        """Return the account that the requests meet; override it for another one."""
        return FakeRiskView()

    def bad_view(self) -> FakeRiskView:
        """Return the account that the refused requests meet; the same one, unless the check looks at the account."""
        return self.view()

    def check(self) -> RiskCheck:
        """Return a fresh check."""
        return self.component.build(self.settings, make_services("risk[0]"))

    def _refusals(self) -> list[Denial]:
        check, view = self.check(), self.bad_view()
        answers = [check.check(request, view) for request in self.refused]
        return [answer for answer in answers if answer is not None]

    def test_it_refuses_what_it_should_and_nothing_else(self) -> None:
        """Every request of `refused` is refused and every one of `allowed` passes; there is at least one of each."""
        check, view = self.check(), self.view()

        assert self.allowed, "give requests that pass, in `allowed`"
        assert self.refused, "give requests that are refused, in `refused`"
        assert [None] * len(self.allowed) == [check.check(request, view) for request in self.allowed]
        assert len(self.refused) == len(self._refusals())

    def test_it_is_pure(self) -> None:
        """The same request and the same view get the same answer, from the same check and from a fresh one."""
        requests = [*self.allowed, *self.refused]
        for make in (self.view, self.bad_view):
            check, view = self.check(), make()

            first = [check.check(request, view) for request in requests]
            again = [check.check(request, view) for request in reversed(requests)][::-1]
            fresh = [self.check().check(request, make()) for request in requests]

            assert first == again
            assert first == fresh

    def test_it_changes_nothing(self) -> None:
        """Positions, orders, prices and settings are as before after it was asked."""
        settings = self.settings.model_dump()
        for view in (self.view(), self.bad_view()):
            before = copy.deepcopy(vars(view), memo=_uncopied(view))

            check = self.check()
            for request in [*self.allowed, *self.refused]:
                check.check(request, view)

            assert _comparable(before) == _comparable(vars(view))
        assert settings == self.settings.model_dump()

    def test_its_code_is_a_stable_word(self) -> None:
        """A denial's code is the component's name or a word of the same form: users filter and alert by it."""
        for denial in self._refusals():
            assert re.fullmatch(r"[a-z][a-z0-9_]*", denial.code), denial

    def test_its_text_names_the_limit_and_the_value(self) -> None:
        """A denial's text is one line and holds two numbers at least, what was found and what is allowed, or one of `words`."""
        for denial in self._refusals():
            assert "\n" not in denial.text
            if any(word in denial.text for word in self.words):
                continue
            assert len(re.findall(r"\d+(?:\.\d+)?", denial.text)) >= 2, denial.text

    def test_it_says_whether_reductions_pass(self) -> None:
        """``exempts_reductions`` is stated, as a bool."""
        assert isinstance(self.check().exempts_reductions, bool)

    def test_its_settings_survive_json(self) -> None:
        """The settings written as JSON and read again are equal."""
        assert type(self.settings).model_validate_json(self.settings.model_dump_json()) == self.settings


def _uncopied(view: FakeRiskView) -> dict[int, Any]:
    """Return a deepcopy memo that shares the series: they are read-only."""
    return {id(series): series for series in view.series.values()}


def _comparable(values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* with each series as its identity: arrays have no plain equality."""
    return values | {"series": {symbol: id(series) for symbol, series in values["series"].items()}}
